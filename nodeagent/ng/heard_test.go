package ng

import (
	"net"
	"regexp"
	"testing"
	"time"
)

// A real rtpengine tells when a side was last heard: its own packets count, those of the other side do not, and one that has put the call on
// hold is marked, until it takes it back.
func TestHeard_EachSideForItself(t *testing.T) {
	c, ctx := startRTPEngine(t), t.Context()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	port := regexp.MustCompile(`m=audio (\d+)`)
	send := func(command, more string) string {
		t.Helper()
		answer, err := c.Call(ctx, command, map[string]any{"call-id": "heard", "from-tag": "f", "to-tag": "t", "sdp": sdp + more})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := answer["sdp"].(string)
		return port.FindStringSubmatch(body)[1]
	}
	send("offer", "")
	at := send("answer", "") // where f sends
	held := func(tag string) bool {
		t.Helper()
		_, held, err := c.Heard(ctx, "heard", tag)
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	if held("f") || held("t") {
		t.Error("a call in which both talk counts as held")
	}
	first, _, _ := c.Heard(ctx, "heard", "t")
	to, err := net.ResolveUDPAddr("udp", "127.0.0.1:"+at)
	if err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0x80, 0, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9}, make([]byte, 160)...)
	began := time.Now()
	for end := began.Add(10 * time.Second); ; {
		if _, err := conn.WriteTo(packet, to); err != nil {
			t.Fatal(err)
		}
		last, _, err := c.Heard(ctx, "heard", "f")
		if err != nil {
			t.Fatal(err)
		}
		if last.After(began) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("packets of f since %v, it was heard at %v", began, last)
		}
		// sleep: packets come every 20 ms, and rtpengine counts seconds
		time.Sleep(20 * time.Millisecond)
	}
	if last, _, err := c.Heard(ctx, "heard", "t"); err != nil || !last.Equal(first) {
		t.Errorf("t has sent nothing, it was heard at %v and at %v, %v", first, last, err)
	}
	send("offer", "a=sendonly\r\n")
	send("answer", "a=recvonly\r\n")
	if !held("f") {
		t.Error("f has put the call on hold")
	}
	send("offer", "a=sendrecv\r\n")
	send("answer", "")
	if held("f") {
		t.Error("f has taken the call back")
	}
	if last, held, err := c.Heard(ctx, "no such call", "f"); err != nil || held || !last.IsZero() {
		t.Errorf("no such call: %v %v %v", last, held, err)
	}
}

package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
	"github.com/sipio/sipio/test/phone"
)

// hostileSDPs are what a phone may write into its SDP and rtpengine 10.5.3.5 ends by, is silent about, or gives all its ports for
// (docs/edge.md, SDP).
var hostileSDPs = map[string]func(sdp string) string{
	"a key with an MKI of 256 bytes": longMKI,
	"the same behind a byte 0":       func(sdp string) string { return longMKI(sdp + "a=x\x00\r\n") },
	"one format many times": func(sdp string) string {
		sdp = regexp.MustCompile(`(m=audio \d+ \S+) .*`).ReplaceAllString(sdp, "${1}"+strings.Repeat(" 0", 60)+"\r")
		return sdp + "a=fmtp:0 " + strings.Repeat("x", 4000) + "\r\n"
	},
	"one format many times, otherwise written": func(sdp string) string {
		sdp = regexp.MustCompile(`(m=audio \d+ \S+) .*`).ReplaceAllString(sdp, "${1}"+strings.Repeat(" 0 00 000 -0", 12)+"\r")
		return sdp + "a=fmtp:0 " + strings.Repeat("x", 4000) + "\r\n"
	},
	"more media than ports":       func(sdp string) string { return sdp + strings.Repeat("m=audio 4000 RTP/AVP 0\r\n", 400) },
	"more ports than a phone has": func(sdp string) string { return strings.Replace(sdp, " RTP/AVP", "/10 RTP/AVP", 1) },
	"60 kB":                       func(sdp string) string { return sdp + "a=x:" + strings.Repeat("y", 60000) + "\r\n" },
	"a rate of no codec":          func(sdp string) string { return sdp + "a=rtpmap:8 PCMA/8002147483648\r\n" },
	"a packet of 24 days":         func(sdp string) string { return sdp + "a=ptime:2147483647\r\n" },
}

func longMKI(sdp string) string {
	return strings.Replace(sdp, "RTP/AVP", "RTP/SAVP", 1) + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|1:256\r\n"
}

func TestMediaEnd_HostileSDPs(t *testing.T) {
	// Proves that SDPs which end or silence the relay do not reach it: those of a caller, and of a phone in its call, are refused, that
	// of a phone that answers is taken out. The relay is the same process all along, and others talk.
	e := start(t, edge.Options{Config: acme})
	ctx := within(t, 60*time.Second)
	var write atomic.Pointer[func(string) string]
	hostile := func(c *phone.Config) {
		c.WriteSDP = func(sdp []byte) []byte {
			if f := write.Load(); f != nil {
				return []byte((*f)(string(sdp)))
			}
			return sdp
		}
	}
	mallory, bob := registered(t, e, "1001", hostile), registered(t, e, "1002")
	up, _ := connect(t, ctx, mallory, bob, "1002")
	for name, f := range hostileSDPs {
		write.Store(&f)
		if err := refused(t, ctx, mallory, "1002", 488, 480, 413, 503); err.Code != 488 {
			t.Errorf("%s: a call is answered %v", name, err)
		}
		var status *phone.StatusError
		if err := up.Hold(ctx); !errors.As(err, &status) || status.Code != 488 {
			t.Errorf("%s: a re-INVITE is answered %v", name, err)
		}
		called := answering(ctx, mallory)
		if _, err := bob.Call(ctx, "1001"); err == nil || !strings.Contains(err.Error(), "no audio") {
			t.Errorf("%s: the SDP of an answer gave %v", name, err)
		}
		<-called
		if !e.RTPEngine.Alive() {
			t.Fatalf("%s: rtpengine has ended\n%s", name, e.RTPEngine.Tail(5))
		}
	}
	write.Store(nil)
	hangUp(t, ctx, e, up, up)
	converse(t, ctx, e, mallory, bob, "1002")
}

func TestMediaEnd_ShortSRTCP(t *testing.T) {
	// Proves that RTCP of any length that a stranger sends to the ports of a browser's call ends neither the relay nor the call
	// (deploy/mend/rtpengine.c).
	e := start(t, edge.Options{Config: acme})
	ctx := within(t, 30*time.Second)
	browser, bob := registered(t, e, "1011", func(c *phone.Config) { c.Transport, c.WebRTC = "wss", true }), registered(t, e, "1002")
	a, b := connect(t, ctx, browser, bob, "1002")
	talk(t, ctx, a, b)
	stranger, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66)})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	ports := portsOf(t, e, a.CallID())
	for size := 1; size < 64; size++ {
		for pt := byte(200); pt < 208; pt++ {
			packet := append([]byte{0x80, pt, 0, byte(size / 4)}, bytes.Repeat([]byte{0xff}, size)...)
			for _, port := range ports {
				_, _ = stranger.WriteToUDP(packet, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			}
		}
		if size%4 == 0 { // too many at once would close the port (docs/edge.md, RTP)
			allRead(t, ctx, ports)
		}
	}
	talk(t, ctx, a, b)
	if !e.RTPEngine.Alive() {
		t.Fatalf("rtpengine has ended\n%s", e.RTPEngine.Tail(5))
	}
	hangUp(t, ctx, e, a, b)
}

// allRead waits until nothing waits at these UDP ports.
func allRead(t *testing.T, ctx context.Context, ports []int) {
	t.Helper()
	eventually(t, ctx, "the relay to read its ports", func() error {
		table, err := os.ReadFile("/proc/net/udp")
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line) // sl, local address and port, remote ones, state, tx_queue and rx_queue …, in hexadecimal
			_, local, _ := strings.Cut(f[1], ":")
			_, waits, _ := strings.Cut(f[4], ":")
			if port, err := strconv.ParseUint(local, 16, 16); err == nil && waits != "00000000" && slices.Contains(ports, int(port)) {
				return fmt.Errorf("%s bytes wait at port %d", waits, port)
			}
		}
		return err
	})
}

func TestMediaEnd_BurstClosesNoPort(t *testing.T) {
	// Proves that bursts of a stranger to every port of a call, of which rtpengine would give the ports up, leave the call as it was.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 1)
	ctx := within(t, 60*time.Second)
	office := g.net.Join(t, "10.9.0.50/24", "10.9.0.51/24")
	alice, bob := g.phoneIn(office, "10.9.0.50", "1001"), g.phoneIn(office, "10.9.0.51", "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	talk(t, ctx, a, b)
	stranger, err := g.net.Join(t, "10.9.0.60/24").ListenUDP("10.9.0.60:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for range 3 {
		for _, port := range portsOf(t, g.Edge, a.CallID()) {
			for range 5000 {
				_, _ = stranger.WriteToUDP(make([]byte, 13), &net.UDPAddr{IP: net.ParseIP(guardIP), Port: port})
			}
		}
	}
	talk(t, ctx, a, b)
	hangUp(t, ctx, g.Edge, a, b)
}

// portsOf are the relay's ports of a call.
func portsOf(t *testing.T, e *edge.Edge, callID string) (ports []int) {
	t.Helper()
	for _, m := range regexp.MustCompile(`10:local porti(\d+)e`).FindAllStringSubmatch(asked(t, e, callID), -1) {
		port, _ := strconv.Atoi(m[1])
		ports = append(ports, port)
	}
	return ports
}

// asked is what the relay says of a call.
func asked(t *testing.T, e *edge.Edge, callID string) string {
	t.Helper()
	answer, err := e.NGCommand(fmt.Sprintf("d7:call-id%d:%s7:command5:querye", len(callID), callID))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

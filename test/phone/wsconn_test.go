package phone

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Proves pings with a payload are answered below the SIP stack, which sees data frames only, binary ones as text; and
// that a frame written in pieces leaves in one.
func TestWSConn_AnswersPingsAndPassesData(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	deadline := time.Now().Add(30 * time.Second)
	near.SetDeadline(deadline)
	far.SetDeadline(deadline)
	c := &wsConn{Conn: near, in: bufio.NewReader(near)}

	go func() {
		io.WriteString(far, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
		ws.WriteFrame(far, ws.NewPingFrame([]byte("are you there")))
	}()
	handshake := make([]byte, len("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"))
	if _, err := io.ReadFull(c, handshake); err != nil {
		t.Fatal(err)
	}
	got := make(chan ws.Frame, 1)
	go func() {
		f, err := ws.ReadFrame(c)
		if err != nil {
			t.Error(err)
		}
		got <- f
	}()
	pong, err := ws.ReadFrame(far)
	if err != nil || pong.Header.OpCode != ws.OpPong || string(ws.UnmaskFrame(pong).Payload) != "are you there" {
		t.Fatalf("pong %+v, %v", pong, err)
	}
	if err := ws.WriteFrame(far, ws.NewBinaryFrame([]byte("OPTIONS"))); err != nil {
		t.Fatal(err)
	}
	if f := <-got; f.Header.OpCode != ws.OpText || string(f.Payload) != "OPTIONS" {
		t.Errorf("data frame %+v", f)
	}

	c.requested = true
	written := make(chan error, 1)
	go func() { written <- ws.WriteFrame(c, ws.MaskFrame(ws.NewTextFrame([]byte("SIP/2.0 200 OK")))) }()
	one := make([]byte, 256)
	n, err := far.Read(one)
	if err != nil || !wholeFrame(one[:n]) {
		t.Errorf("the first write has %d bytes, %v: not a whole frame", n, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

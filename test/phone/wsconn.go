package phone

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/gobwas/ws"
)

// wsDialer makes the WebSocket connections of a phone: opened by local, in its TLS configuration, with the
// subprotocol sip and an Origin as a browser has. sipgo's own reader loses its place in the stream at a ping with
// a payload (Kamailio sends such), so pings are answered below it.
func wsDialer(local net.Dialer, origin string, config *tls.Config) ws.Dialer {
	return ws.Dialer{
		Protocols: []string{"sip"},
		TLSConfig: config,
		Header:    ws.HandshakeHeaderHTTP(http.Header{"Origin": {origin}}),
		NetDial:   local.DialContext,
		WrapConn:  func(c net.Conn) net.Conn { return &wsConn{Conn: c, in: bufio.NewReader(c)} },
	}
}

// maxFrame bounds a WebSocket frame in either direction; SIP messages are far smaller.
const maxFrame = 1 << 18

// wsConn passes the HTTP handshake through, then hands on data frames only: pings are answered, pongs dropped.
type wsConn struct {
	net.Conn
	in       *bufio.Reader
	upgraded bool         // the blank line after the handshake response was read
	ready    bytes.Buffer // bytes for the next Read

	mu        sync.Mutex
	requested bool // the blank line after the handshake request was written
	out       []byte
}

func (c *wsConn) Read(b []byte) (int, error) {
	for c.ready.Len() == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	return c.ready.Read(b)
}

func (c *wsConn) fill() error {
	if !c.upgraded {
		line, err := c.in.ReadSlice('\n')
		c.ready.Write(line)
		c.upgraded = len(bytes.TrimSpace(line)) == 0
		return err
	}
	header, err := ws.ReadHeader(c.in)
	if err != nil {
		return err
	}
	if header.Length > maxFrame {
		return ws.ErrHeaderLengthUnexpected
	}
	payload := make([]byte, header.Length)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return err
	}
	switch header.OpCode {
	case ws.OpPing:
		return c.pong(payload)
	case ws.OpPong:
		return nil
	case ws.OpClose:
		return io.EOF
	}
	if header.OpCode == ws.OpBinary {
		header.OpCode = ws.OpText // sipgo passes over binary frames, which RFC 7118 allows
	}
	if err := ws.WriteHeader(&c.ready, header); err != nil {
		return err
	}
	c.ready.Write(payload)
	return nil
}

func (c *wsConn) pong(payload []byte) error {
	frame, err := ws.CompileFrame(ws.MaskFrameInPlace(ws.NewPongFrame(payload)))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.Conn.Write(frame)
	return err
}

// Write holds back a frame until all of it is there, because the stack above writes header and payload apart and
// a pong must not come between them.
func (c *wsConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, b...)
	size := len(c.out)
	if !c.requested {
		c.requested = bytes.HasSuffix(c.out, []byte("\r\n\r\n"))
	} else if !wholeFrame(c.out) && size <= maxFrame {
		return len(b), nil
	}
	_, err := c.Conn.Write(c.out)
	c.out = c.out[:0]
	return len(b), err
}

func wholeFrame(b []byte) bool {
	r := bytes.NewReader(b)
	header, err := ws.ReadHeader(r)
	return err == nil && int64(r.Len()) >= header.Length
}

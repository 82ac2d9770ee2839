package scenario

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// wire sends exact SIP messages over one connection of any transport and reads what comes back.
type wire struct {
	transport string
	local     string
	conn      net.Conn
	read      func() ([]byte, error)
	write     func([]byte) error
}

var transports = []string{"udp", "tcp", "tls", "wss"}

func dialWire(t *testing.T, e *edge.Edge, transport string) *wire {
	t.Helper()
	w := &wire{transport: transport}
	var err error
	insecure := &tls.Config{InsecureSkipVerify: true} // the node's certificate is self-signed
	switch transport {
	case "udp":
		if w.conn, err = net.Dial("udp", e.SIP); err == nil {
			w.read = func() ([]byte, error) {
				buf := make([]byte, 64<<10)
				n, err := w.conn.Read(buf)
				return buf[:n], err
			}
		}
	case "tcp":
		w.conn, err = net.Dial("tcp", e.SIP)
	case "tls":
		w.conn, err = tls.Dial("tcp", e.TLS, insecure)
	case "wss":
		d := ws.Dialer{Protocols: []string{"sip"}, TLSConfig: insecure, Timeout: 5 * time.Second}
		if w.conn, _, _, err = d.Dial(context.Background(), "wss://"+e.WSS+"/"); err == nil {
			w.read = func() ([]byte, error) { return wsutil.ReadServerText(w.conn) }
			w.write = func(b []byte) error { return wsutil.WriteClientText(w.conn, b) }
		}
	}
	if err != nil {
		t.Fatalf("connect over %s: %v", transport, err)
	}
	t.Cleanup(func() { w.conn.Close() })
	w.local = w.conn.LocalAddr().String()
	if w.write == nil {
		w.write = func(b []byte) error { _, err := w.conn.Write(b); return err }
	}
	if w.read == nil {
		r := bufio.NewReader(w.conn)
		w.read = func() ([]byte, error) { return readStream(r) }
	}
	return w
}

// readStream reads one message from a byte stream by its Content-Length.
func readStream(r *bufio.Reader) ([]byte, error) {
	var head strings.Builder
	size := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		head.WriteString(line)
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			if size, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return nil, err
			}
		}
		if line == "\r\n" && head.Len() > 2 {
			body := make([]byte, size)
			_, err := io.ReadFull(r, body)
			return append([]byte(head.String()), body...), err
		}
	}
}

// exchange sends a request and returns its final response.
func (w *wire) exchange(t *testing.T, message string) *phone.RawMessage {
	t.Helper()
	if err := w.write([]byte(message)); err != nil {
		t.Fatalf("send over %s: %v", w.transport, err)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		b, err := w.read()
		if err != nil {
			t.Fatalf("no answer over %s to\n%s\n%v", w.transport, message, err)
		}
		if m, err := phone.ParseRaw(b); err == nil && m.Code >= 200 {
			return m
		}
	}
}

// register is one REGISTER as it goes over the wire.
type register struct {
	user, domain  string
	callID        string
	cseq          int
	expires       int
	contact       string // "" = of this connection
	authorization string
}

var branches int

func (w *wire) message(r register) string {
	branches++
	host, via := w.local, map[string]string{"udp": "UDP", "tcp": "TCP", "tls": "TLS", "wss": "WSS"}[w.transport]
	contact := r.contact
	if contact == "" {
		contact = fmt.Sprintf("<sip:%s@%s;transport=%s>", r.user, host, map[bool]string{true: "ws", false: w.transport}[w.transport == "wss"])
	}
	auth := ""
	if r.authorization != "" {
		auth = "Authorization: " + r.authorization + "\r\n"
	}
	return fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bKreg%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@%s>;tag=t%s\r\nTo: <sip:%s@%s>\r\nCall-ID: %s\r\nCSeq: %d REGISTER\r\nContact: %s\r\nExpires: %d\r\n%sContent-Length: 0\r\n\r\n",
		r.domain, via, host, branches, r.user, r.domain, r.callID, r.user, r.domain, r.callID, r.cseq, contact, r.expires, auth)
}

// challenged sends r without credentials and returns the challenge.
func (w *wire) challenged(t *testing.T, r register) phone.Challenge {
	t.Helper()
	r.authorization = ""
	m := w.exchange(t, w.message(r))
	if m.Code != 401 {
		t.Fatalf("REGISTER without credentials: %s, want 401", m.StartLine)
	}
	c, err := m.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

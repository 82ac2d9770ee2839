package kamailio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/kam"
)

// carrier is the other end of requests that Kamailio sends of its own.
type carrier struct {
	conn net.PacketConn
	addr string
}

func newCarrier(t *testing.T) *carrier {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &carrier{conn, conn.LocalAddr().String()}
}

// next reads a request and answers it with a code and more header lines; code 0 does not answer.
func (c *carrier) next(t *testing.T, code int, more string) (lines []string, from string) {
	t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 8192)
	n, peer, err := c.conn.ReadFrom(buf)
	if err != nil {
		t.Error(err)
		return nil, ""
	}
	head, _, _ := strings.Cut(string(buf[:n]), "\r\n\r\n")
	lines = strings.Split(head, "\r\n")
	if code == 0 {
		return lines, peer.String()
	}
	reply := fmt.Sprintf("SIP/2.0 %d Said\r\n", code)
	for _, l := range lines[1:] {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "Via", "From", "Call-ID", "CSeq":
			reply += l + "\r\n"
		case "To":
			reply += l + ";tag=carrier\r\n"
		}
	}
	if _, err := c.conn.WriteTo([]byte(reply+more+"Content-Length: 0\r\n\r\n"), peer); err != nil {
		t.Error(err)
	}
	return lines, peer.String()
}

func newUAC(t *testing.T, s *site) *kam.UAC {
	t.Helper()
	client, err := kam.Open(s.KamailioSocket, filepath.Join(t.TempDir(), "u"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return kam.NewUAC(client)
}

// A REGISTER by RPC leaves from Kamailio's own address with the Call-ID, CSeq, both Contacts and the Authorization that it
// was given; its 401 comes back with every challenge, in order and whole, and says where it came from.
func TestUAC_RegistersFromKamailiosAddress(t *testing.T) {
	u, c := newUAC(t, shared), newCarrier(t)
	id := kam.NewCallID()
	challenge := `Digest realm="carrier.test", nonce="a\"b,=", algorithm=SHA-256, qop="auth"`
	got := make(chan []string, 2)
	go func() {
		lines, from := c.next(t, 401, "WWW-Authenticate: "+challenge+"\r\nWWW-Authenticate: Digest realm=\"carrier.test\", nonce=\"2\"\r\n")
		got <- append(lines, "from "+from)
		lines, from = c.next(t, 200, "Contact: <sip:4930@192.0.2.1>;expires=60\r\n")
		got <- append(lines, "from "+from)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	contacts := "Contact: <sip:4930@192.0.2.1>;expires=600\r\nContact: <sip:4930@192.0.2.2>;expires=0\r\nExpires: 600\r\n"
	r := kam.Request{Method: "REGISTER", URI: "sip:carrier.test", NextHop: "sip:" + c.addr + ";transport=udp", From: "sip:4930@carrier.test", To: "sip:4930@carrier.test",
		CallID: id, CSeq: 41, Headers: contacts}
	answer, err := u.Send(ctx, r)
	if err != nil || answer.Code != 401 || answer.Source != c.addr || len(answer.All("WWW-Authenticate")) != 2 || answer.Get("WWW-Authenticate") != challenge {
		t.Fatalf("challenged: %+v, %v", answer, err)
	}
	r.CSeq, r.Headers = 42, contacts+"Authorization: Digest username=\"4930\", realm=\"carrier.test\", nonce=\"2\", uri=\"sip:carrier.test\", response=\"0\"\r\n"
	if answer, err = u.Send(ctx, r); err != nil || answer.Code != 200 || answer.Get("Contact") != "<sip:4930@192.0.2.1>;expires=60" {
		t.Fatalf("accepted: %+v, %v", answer, err)
	}
	for i, cseq := range []string{"41", "42"} {
		lines := <-got
		for _, want := range []string{"REGISTER sip:carrier.test SIP/2.0", "To: <sip:4930@carrier.test>", "Call-ID: " + id, "CSeq: " + cseq + " REGISTER", "Contact: <sip:4930@192.0.2.1>;expires=600",
			"Contact: <sip:4930@192.0.2.2>;expires=0", "Expires: 600", "from " + shared.SIP} {
			if !slices.Contains(lines, want) {
				t.Errorf("request %d has no %q:\n%s", i, want, strings.Join(lines, "\n"))
			}
		}
		if n := countLines(lines, "Authorization:"); n != i {
			t.Errorf("request %d has %d Authorization headers", i, n)
		}
		if n := countLines(lines, "Call-ID:"); n != 1 {
			t.Errorf("request %d has %d Call-IDs", i, n)
		}
	}
}

func countLines(lines []string, prefix string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// OPTIONS by RPC to several at the same time are answered each by its own, whatever the order; one that nobody answers
// keeps nobody waiting.
func TestUAC_PingsManyAtOnce(t *testing.T) {
	u := newUAC(t, shared)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	type result struct {
		n    int
		got  kam.Response
		err  error
		addr string
	}
	results := make(chan result, 6)
	send := func(ctx context.Context, n int, addr string) {
		got, err := u.Send(ctx, kam.Request{Method: "OPTIONS", URI: "sip:carrier.test", NextHop: "sip:" + addr, From: "sip:keepalive@sipio.invalid", To: "sip:carrier.test",
			CallID: kam.NewCallID(), CSeq: 1})
		results <- result{n, got, err, addr}
	}
	silent := newCarrier(t)
	short, giveUp := context.WithCancel(ctx)
	go send(short, 0, silent.addr)
	silent.next(t, 0, "")
	for n := 1; n < 6; n++ {
		c := newCarrier(t)
		go send(ctx, n, c.addr)
		go c.next(t, 400+n, "")
	}
	for range 5 {
		if r := <-results; r.n == 0 || r.err != nil || r.got.Code != 400+r.n || r.got.Source != r.addr {
			t.Errorf("%+v", r)
		}
	}
	giveUp()
	if r := <-results; !errors.Is(r.err, kam.ErrNoAnswer) {
		t.Errorf("the silent one: %+v", r)
	}
	if _, err := u.Send(ctx, kam.Request{Method: "OPTIONS", URI: "sip:x", NextHop: "sip:127.0.0.1:1;transport=tls;x=\"", From: "sip:a@x", To: "sip:x", CallID: kam.NewCallID()}); err == nil {
		t.Error("a hop that is no URI was taken")
	}
}

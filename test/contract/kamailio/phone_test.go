package kamailio

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/sipio/sipio/test/phone"
)

// message is a received message and when it came.
type message struct {
	*phone.RawMessage
	at  time.Time
	raw string
}

// cseq is the number and method of a message's CSeq.
func (m *message) cseq() (n, method string) {
	n, method, _ = strings.Cut(m.Header("CSeq"), " ")
	return n, method
}

// set is a phone whose every message the test writes. What arrives waits in its inbox; repetitions over UDP
// are counted and kept out of it.
type set struct {
	t         *testing.T
	site      *site
	user      string
	transport string
	local     string // host:port of its end
	away      string // host:port that it says in Contact, when that is another: it is behind a NAT
	conn      net.Conn
	read      func() ([]byte, error)
	write     func([]byte) error
	regCSeq   int // of the last REGISTER

	writing sync.Mutex // a frame of WSS is two writes
	mu      sync.Mutex
	inbox   []*message
	seen    map[string]int // by raw text
	arrived chan struct{}  // closed and renewed with each message
	closed  bool           // the other side closed the connection
}

// newSet connects a phone; nothing is sent.
func newSet(t *testing.T, s *site, transport, user string) *set {
	t.Helper()
	return newSetAt(t, s, transport, user, "")
}

// newSetAt does the same from an address of this machine; over UDP and TCP only.
func newSetAt(t *testing.T, s *site, transport, user, local string) *set {
	t.Helper()
	p := &set{t: t, site: s, user: user, transport: transport, local: local, seen: map[string]int{}, arrived: make(chan struct{})}
	if err := p.dial(); err != nil {
		t.Fatalf("connect over %s: %v", transport, err)
	}
	t.Cleanup(func() { p.conn.Close() })
	p.local = p.conn.LocalAddr().String()
	if p.write == nil {
		p.write = func(b []byte) error { _, err := p.conn.Write(b); return err }
	}
	if p.read == nil {
		r := bufio.NewReader(p.conn)
		p.read = func() ([]byte, error) { return readStream(r) }
	}
	go p.listen()
	return p
}

func (p *set) dial() (err error) {
	insecure := &tls.Config{InsecureSkipVerify: true} // the node's certificate is self-signed
	switch p.transport {
	case "udp":
		var d net.Dialer
		if p.local != "" {
			if d.LocalAddr, err = net.ResolveUDPAddr("udp", p.local); err != nil {
				return err
			}
		}
		p.conn, err = d.Dial("udp", p.site.SIP)
		p.read = func() ([]byte, error) {
			buf := make([]byte, 64<<10)
			n, err := p.conn.Read(buf)
			return buf[:n], err
		}
	case "tcp":
		var d net.Dialer
		if p.local != "" {
			if d.LocalAddr, err = net.ResolveTCPAddr("tcp", p.local); err != nil {
				return err
			}
		}
		p.conn, err = d.Dial("tcp", p.site.SIP)
	case "tls":
		p.conn, err = tls.Dial("tcp", p.site.TLS, insecure)
	case "wss":
		d := ws.Dialer{Protocols: []string{"sip"}, TLSConfig: insecure, Timeout: 5 * time.Second}
		p.conn, _, _, err = d.Dial(context.Background(), "wss://"+p.site.WSS+"/")
		p.read = func() ([]byte, error) { return wsutil.ReadServerText(p.conn) }
		p.write = func(b []byte) error { return wsutil.WriteClientText(p.conn, b) }
	default:
		err = fmt.Errorf("no transport %q", p.transport)
	}
	return err
}

// readStream reads one message from a byte stream by its Content-Length; lone CRLFs are keep-alives.
func readStream(r *bufio.Reader) ([]byte, error) {
	var head strings.Builder
	size := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line == "\r\n" && head.Len() == 0 {
			continue
		}
		head.WriteString(line)
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			if size, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return nil, err
			}
		}
		if line == "\r\n" {
			body := make([]byte, size)
			_, err := io.ReadFull(r, body)
			return append([]byte(head.String()), body...), err
		}
	}
}

func (p *set) listen() {
	for {
		b, err := p.read()
		if ne, ok := err.(*net.OpError); ok && p.transport == "udp" && strings.Contains(ne.Error(), "refused") {
			continue // Kamailio is being restarted
		}
		if err != nil {
			p.mu.Lock()
			p.closed = true
			p.mu.Unlock()
			return
		}
		m, err := phone.ParseRaw(b)
		if err != nil {
			continue // keep-alives
		}
		if m.Method == "OPTIONS" {
			_ = p.put(p.response(m, 200, "OK", "", "")) // the test may be hanging up just now
			continue
		}
		p.mu.Lock()
		p.seen[string(b)]++
		if p.seen[string(b)] == 1 {
			p.inbox = append(p.inbox, &message{m, time.Now(), string(b)})
		}
		close(p.arrived)
		p.arrived = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *set) send(text string) {
	p.t.Helper()
	if err := p.put(text); err != nil {
		p.t.Errorf("send over %s: %v", p.transport, err)
	}
}

func (p *set) put(text string) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.write([]byte(text))
}

// patience is how long a message may take that must come.
const patience = 30 * time.Second

// expect waits for the first message in the inbox for which match holds and takes it out.
func (p *set) expect(what string, match func(*message) bool) *message {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		for i, m := range p.inbox {
			if match(m) {
				p.inbox = append(p.inbox[:i:i], p.inbox[i+1:]...)
				p.mu.Unlock()
				return m
			}
		}
		arrived := p.arrived
		p.mu.Unlock()
		select {
		case <-arrived:
		case <-timeout:
			p.t.Fatalf("%s: %s did not come; there is %v", p.user, what, p.waiting())
		}
	}
}

// take takes the first request of that method out of the inbox, nil when there is none.
func (p *set) take(method string) *message {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.inbox {
		if m.Method == method {
			p.inbox = append(p.inbox[:i:i], p.inbox[i+1:]...)
			return m
		}
	}
	return nil
}

// waiting are the start lines in the inbox.
func (p *set) waiting() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, m := range p.inbox {
		lines = append(lines, m.StartLine)
	}
	return lines
}

// copies is how often exactly this message was received.
func (p *set) copies(m *message) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[m.raw]
}

// request waits for a request of that method.
func (p *set) request(method string) *message {
	p.t.Helper()
	return p.expect(method, func(m *message) bool { return m.Method == method })
}

// final waits for the final response to the request of that Call-ID and CSeq.
func (p *set) final(callID, cseq string) *message {
	p.t.Helper()
	return p.expect("final response to "+cseq, func(m *message) bool {
		return m.Code >= 200 && m.Header("Call-ID") == callID && m.Header("CSeq") == cseq
	})
}

// quiet fails when a request waits in the inbox.
func (p *set) quiet() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.inbox {
		if m.Method != "" {
			p.t.Errorf("%s got what it should not:\n%s", p.user, m.raw)
		}
	}
}

var serial atomic.Int64

// id is a text that was never used before.
func id(prefix string) string {
	return fmt.Sprintf("%s%x-%d", prefix, time.Now().UnixNano()&0xffffff, serial.Add(1))
}

func (p *set) via() string {
	return fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bK%s;rport", strings.ToUpper(p.transport), p.local, id("b"))
}

// contact is where the phone says it is reached.
func (p *set) contact() string {
	transport := p.transport
	if transport == "wss" {
		transport = "ws"
	}
	return fmt.Sprintf("sip:%s@%s;transport=%s", p.user, cmp.Or(p.away, p.local), transport)
}

// response answers a request; more are whole header lines.
func (p *set) response(req *phone.RawMessage, code int, reason, more, body string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", code, reason)
	for _, h := range req.Headers {
		switch strings.ToLower(h.Name) {
		case "via", "record-route", "from", "call-id", "cseq":
			fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
		case "to":
			tag := ""
			if code > 100 && !strings.Contains(h.Value, ";tag=") {
				tag = ";tag=t-" + p.user
			}
			fmt.Fprintf(&b, "To: %s%s\r\n", h.Value, tag)
		}
	}
	fmt.Fprintf(&b, "Contact: <%s>\r\n%sContent-Length: %d\r\n\r\n%s", p.contact(), more, len(body), body)
	return b.String()
}

func (p *set) reply(req *message, code int, reason string) {
	p.t.Helper()
	p.send(p.response(req.RawMessage, code, reason, "", ""))
}

// challenged sends a request without credentials and returns the challenge; build writes the request with the
// given CSeq number and credentials.
func (p *set) challenged(callID string, cseq int, method string, build func(cseq int, credentials string) string) phone.Challenge {
	p.t.Helper()
	p.send(build(cseq, ""))
	m := p.final(callID, fmt.Sprintf("%d %s", cseq, method))
	c, err := m.Challenge()
	if err != nil {
		p.t.Fatalf("%s: %v", m.StartLine, err)
	}
	return c
}

// registration is one REGISTER as the test wants it; what is empty takes the usual value.
type registration struct {
	callID, contact, expires, more string
}

// register registers with credentials that the door believes, and returns the final response.
func (p *set) register(r registration) *message {
	p.t.Helper()
	if r.callID == "" {
		r.callID = id("reg")
	}
	if r.contact == "" {
		r.contact = "<" + p.contact() + ">"
	}
	if r.expires == "" {
		r.expires = "600"
	}
	build := func(cseq int, credentials string) string {
		return fmt.Sprintf("REGISTER sip:acme.test SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: <sip:%s@acme.test>;tag=f\r\n"+
			"To: <sip:%s@acme.test>\r\nCall-ID: %s\r\nCSeq: %d REGISTER\r\nContact: %s\r\nExpires: %s\r\nUser-Agent: set & more\r\n%s%sContent-Length: 0\r\n\r\n",
			p.via(), p.user, p.user, r.callID, cseq, r.contact, r.expires, r.more, credentials)
	}
	cseq := p.regCSeq + 1
	p.regCSeq += 2
	c := p.challenged(r.callID, cseq, "REGISTER", build)
	p.send(build(cseq+1, "Authorization: "+c.Answer(p.user, "x", "REGISTER", "sip:acme.test").Header()+"\r\n"))
	return p.final(r.callID, fmt.Sprintf("%d REGISTER", cseq+1))
}

// registered is a phone whose contact Kamailio knows.
func registered(t *testing.T, s *site, transport, user string) *set {
	t.Helper()
	p := newSet(t, s, transport, user)
	if m := p.register(registration{}); m.Code != 200 {
		t.Fatalf("register %s: %s", user, m.StartLine)
	}
	return p
}

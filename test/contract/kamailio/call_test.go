package kamailio

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/test/phone"
)

// outgoing is a call that a set makes. Its fields are the INVITE's; the test may change them before dial.
type outgoing struct {
	*set
	callID, fromTag string
	ruri            string
	from, to        string // From without its tag, To
	vias            string // more Via lines below the phone's own
	more            string // more header lines
	body            string
	maxForwards     int
	noQOP           bool // answer the challenge as RFC 2069 does

	invite string // as sent with credentials
	branch string // Via of that INVITE
}

// newCall is a call from p to a user of its domain; nothing is sent.
func (p *set) newCall(target string) *outgoing {
	return &outgoing{set: p, callID: id("call"), fromTag: id("f"), ruri: "sip:" + target + "@acme.test",
		from: "<sip:" + p.user + "@acme.test>", to: "<sip:" + target + "@acme.test>", maxForwards: 70}
}

// dial sends the INVITE, answers the challenge, and waits for nothing.
func (c *outgoing) dial() *outgoing {
	c.t.Helper()
	c.prepare()
	c.send(c.invite)
	return c
}

// prepare gets a challenge and writes the INVITE that answers it.
func (c *outgoing) prepare() {
	c.t.Helper()
	ch := c.challenged(c.callID, 1, "INVITE", c.write)
	c.ack(1, c.branch, c.to+";tag=x")
	if c.noQOP {
		ch.QOP = nil
	}
	c.invite = c.write(2, "Proxy-Authorization: "+ch.Answer(c.user, "x", "INVITE", c.ruri).Header()+"\r\n")
}

func (c *outgoing) write(cseq int, credentials string) string {
	c.branch = c.via()
	typ := ""
	if c.body != "" {
		typ = "Content-Type: application/sdp\r\n"
	}
	return fmt.Sprintf("INVITE %s SIP/2.0\r\nVia: %s\r\n%sMax-Forwards: %d\r\nFrom: %s;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\n"+
		"CSeq: %d INVITE\r\nContact: <%s>\r\n%s%s%sContent-Length: %d\r\n\r\n%s",
		c.ruri, c.branch, c.vias, c.maxForwards, c.from, c.fromTag, c.to, c.callID, cseq, c.contact(), c.more, credentials, typ, len(c.body), c.body)
}

// ack confirms a final response that is no 2xx, in the INVITE's own transaction.
func (c *outgoing) ack(cseq int, via, to string) {
	c.t.Helper()
	c.send(fmt.Sprintf("ACK %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d ACK\r\nContent-Length: 0\r\n\r\n",
		c.ruri, via, c.from, c.fromTag, to, c.callID, cseq))
}

// result waits for the final response and acknowledges it when it is a refusal.
func (c *outgoing) result() *message {
	c.t.Helper()
	m := c.final(c.callID, "2 INVITE")
	if m.Code >= 300 {
		c.ack(2, c.branch, m.Header("To"))
	}
	return m
}

// refused waits for the final response and fails unless it is code.
func (c *outgoing) refused(code int) *message {
	c.t.Helper()
	m := c.result()
	if m.Code != code {
		c.t.Fatalf("the call ended with %s, want %d", m.StartLine, code)
	}
	return m
}

func (c *outgoing) cancel() {
	c.t.Helper()
	c.send(fmt.Sprintf("CANCEL %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 2 CANCEL\r\nContent-Length: 0\r\n\r\n",
		c.ruri, c.branch, c.from, c.fromTag, c.to, c.callID))
	if m := c.final(c.callID, "2 CANCEL"); m.Code != 200 {
		c.t.Errorf("CANCEL: %s", m.StartLine)
	}
}

// leg is one end of a call that is up: everything a request within it needs.
type leg struct {
	*set
	callID, from, to, target string // from and to with their tags
	routes                   []string
	cseq                     int
}

// answer answers an INVITE and returns the callee's leg once the caller has acknowledged.
func (p *set) answer(invite *message, body string) *leg {
	p.t.Helper()
	typ := ""
	if body != "" {
		typ = "Content-Type: application/sdp\r\n"
	}
	ok := p.response(invite.RawMessage, 200, "OK", typ, body)
	p.send(ok)
	own, err := phone.ParseRaw([]byte(ok))
	if err != nil {
		p.t.Fatal(err)
	}
	return &leg{set: p, callID: invite.Header("Call-ID"), from: own.Header("To"), to: own.Header("From"),
		target: nameAddr(invite.Header("Contact")), routes: recordRoutes(invite), cseq: 100}
}

// up waits for the 200, acknowledges it and returns the caller's leg.
func (c *outgoing) up() *leg {
	c.t.Helper()
	ok := c.final(c.callID, "2 INVITE")
	if ok.Code != 200 {
		c.t.Fatalf("the call was not answered: %s", ok.StartLine)
	}
	routes := recordRoutes(ok)
	for i, j := 0, len(routes)-1; i < j; i, j = i+1, j-1 {
		routes[i], routes[j] = routes[j], routes[i]
	}
	l := &leg{set: c.set, callID: c.callID, from: ok.Header("From"), to: ok.Header("To"), target: nameAddr(ok.Header("Contact")), routes: routes, cseq: 2}
	l.send(l.write("ACK", 2, ""))
	return l
}

func recordRoutes(m *message) []string {
	var all []string
	for _, v := range m.All("Record-Route") {
		for r := range strings.SplitSeq(v, ",") {
			all = append(all, strings.TrimSpace(r))
		}
	}
	return all
}

func nameAddr(header string) string {
	_, uri, _ := strings.Cut(header, "<")
	uri, _, _ = strings.Cut(uri, ">")
	return uri
}

// write is a request within the call.
func (l *leg) write(method string, cseq int, more string) string {
	routes := ""
	for _, r := range l.routes {
		routes += "Route: " + r + "\r\n"
	}
	body := ""
	if head, b, ok := strings.Cut(more, "\r\n\r\n"); ok {
		more, body = head+"\r\n", b
	}
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: %s\r\n%sMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <%s>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, l.target, l.via(), routes, l.from, l.to, l.callID, cseq, method, l.contact(), more, len(body), body)
}

// ask sends a request within the call and returns the CSeq by which its response is known; more are whole
// header lines, and a body after an empty one.
func (l *leg) ask(method, more string) (cseq string) {
	l.t.Helper()
	l.cseq++
	l.send(l.write(method, l.cseq, more))
	return fmt.Sprintf("%d %s", l.cseq, method)
}

// asks sends a request within the call and returns its final response.
func (l *leg) asks(method, more string) *message {
	l.t.Helper()
	return l.final(l.callID, l.ask(method, more))
}

// connect brings a call up: a dials b's user by a directive that rings b alone.
func connect(t *testing.T, s *site, a, b *set) (caller, callee *leg, invite *message) {
	t.Helper()
	s.door.obey(a.user, ring(to(1, b.user)))
	return talk(a.newCall(b.user), b)
}

// talk dials a call that b answers.
func talk(c *outgoing, b *set) (caller, callee *leg, invite *message) {
	c.t.Helper()
	c.dial()
	invite = b.request("INVITE")
	callee = b.answer(invite, "")
	caller = c.up()
	b.request("ACK")
	return caller, callee, invite
}

// hangUp ends a call by l; the other end is told.
func hangUp(t *testing.T, l, other *leg) {
	t.Helper()
	cseq := l.ask("BYE", "")
	other.reply(other.request("BYE"), 200, "OK")
	if m := l.final(l.callID, cseq); m.Code != 200 {
		t.Errorf("BYE: %s", m.StartLine)
	}
}

package kamailio

import (
	"fmt"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/netns"
	"github.com/sipio/sipio/test/phone"
)

// knock sends a REGISTER or INVITE of user with whole header lines and returns what comes back.
func (p *sender) knock(method, user, lines string) *phone.RawMessage {
	p.t.Helper()
	_, err := fmt.Fprintf(p.conn, "%s sip:100@acme.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@acme.test>;tag=f\r\nTo: <sip:%[4]s@acme.test>\r\n"+
		"Call-ID: %[5]s\r\nCSeq: 1 %[1]s\r\nContact: <sip:x@%[2]s>\r\n%[6]sContent-Length: 0\r\n\r\n", method, p.conn.LocalAddr(), id("b"), user, id("c"), lines)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	for {
		n, err := p.conn.Read(buf)
		if err != nil {
			p.t.Fatalf("%s hears nothing: %v", p.ip, err)
		}
		if m, err := phone.ParseRaw(buf[:n]); err == nil && m.Code >= 200 {
			return m
		}
	}
}

// given is the challenge that a request without credentials gets.
func (p *sender) given(method, user string) phone.Challenge {
	p.t.Helper()
	c, err := p.knock(method, user, "").Challenge()
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// with is the header line that answers a challenge for the nc-th time.
func with(c phone.Challenge, name, user, method string, nc uint32) string {
	cred := c.Answer(user, "x", method, "sip:acme.test")
	if cred.QOP != "" {
		cred.NC = nc
	}
	return name + ": " + cred.Header() + "\r\n"
}

// A nonce is good for the source that was given it, an IPv4 address or the /64 of an IPv6 one, for REGISTER and INVITE, with qop and without. From
// elsewhere nobody judges the credentials: there is another challenge, which says stale.
func TestNonce_IsBoundToItsSource(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	for _, c := range []struct {
		method, header string
		code           int
		at, near, away string
		qop            bool
	}{
		{"REGISTER", "Authorization", 401, "10.99.0.20", "10.99.0.20", "10.99.0.21", true},
		{"REGISTER", "Authorization", 401, "10.99.0.20", "10.99.0.20", "10.99.0.21", false},
		{"REGISTER", "Authorization", 401, "10.99.0.20", "10.99.0.20", "127.0.0.1", true}, // protected, and so never counted
		{"REGISTER", "Authorization", 401, "fd99:0:0:1::7", "fd99:0:0:1::8", "fd99:0:0:2::7", true},
		{"INVITE", "Proxy-Authorization", 407, "10.99.0.20", "10.99.0.20", "10.99.0.21", true},
		{"INVITE", "Proxy-Authorization", 407, "fd99:0:0:1::7", "fd99:0:0:1::8", "fd99:0:0:2::7", true},
	} {
		name := user("nonce")
		s.door.disbelieve(name)
		challenge := s.from(t, c.at).given(c.method, name)
		if !c.qop {
			challenge.QOP = nil
		}
		m := s.from(t, c.away).knock(c.method, name, with(challenge, c.header, name, c.method, 1))
		if again, err := m.Challenge(); m.Code != c.code || err != nil || !again.Stale || again.Nonce == challenge.Nonce {
			t.Errorf("%s with the nonce of %s from %s: %s, %+v (%v)", c.method, c.at, c.away, m.StartLine, again, err)
		}
		if n := len(s.door.asked(api.PathAuth, name)) + len(s.door.asked(api.PathRoute, name)); n != 0 {
			t.Errorf("%s with the nonce of %s from %s was judged", c.method, c.at, c.away)
		}
		if !c.qop { // it is used up
			challenge = s.from(t, c.at).given(c.method, name)
			challenge.QOP = nil
		}
		if m := s.from(t, c.near).knock(c.method, name, with(challenge, c.header, name, c.method, 2)); m.Code != 403 {
			t.Errorf("%s with the nonce of %s from %s: %s", c.method, c.at, c.near, m.StartLine)
		}
	}
}

// What is judged is what the brain is asked about: a good nonce of one's own does not carry the credentials of another one in.
func TestNonce_OfTheCredentialsThatAreAskedAbout(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	name := user("nonce")
	p := s.from(t, "10.99.0.20")
	own, used := p.given("REGISTER", name), p.given("REGISTER", name)
	if m := p.knock("REGISTER", name, with(used, "Authorization", name, "REGISTER", 1)); m.Code != 200 {
		t.Fatal(m.StartLine)
	}
	for i, lines := range []string{
		with(used, "Proxy-Authorization", name, "REGISTER", 1) + with(own, "Authorization", name, "REGISTER", 1),
		with(own, "Authorization", name, "REGISTER", 2) + with(used, "Proxy-Authorization", name, "REGISTER", 1),
	} {
		if m := p.knock("REGISTER", name, lines); m.Code != 401 {
			t.Errorf("%d: a nonce that was used is taken beside a good one: %s", i, m.StartLine)
		}
	}
	if n := len(s.door.asked(api.PathAuth, name)); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

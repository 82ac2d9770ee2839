package kamailio

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

var signature = regexp.MustCompile(`cs=([0-9a-f]+)`)

// A request that claims to be within a call is relayed only with this edge's signature of that very call: without
// a route, unsigned, with a forged signature, with one of another call or another edge it is refused, and neither
// phone hears of it. The call goes on.
func TestInDialog_OnlyASignedRequestIsRelayed(t *testing.T) {
	t.Parallel()
	other := startSite(t, edge.Options{Children: 2}, nil)
	c, d := registered(t, other, "udp", user("c")), registered(t, other, "udp", user("d"))
	foreign, _, _ := connect(t, other, c, d)

	a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "udp", user("b"))
	caller, callee, _ := connect(t, shared, a, b)
	mallory, victim := registered(t, shared, "udp", user("m")), registered(t, shared, "udp", user("v"))
	second, victimLeg, _ := connect(t, shared, mallory, victim)

	own := caller.routes
	at := func(sig string) []string { return []string{"<sip:" + shared.SIP + ";lr;ct=Tok42;cs=" + sig + ">"} }
	for _, try := range []struct {
		name   string
		routes []string
		callID string
		code   int
	}{
		{"no route", nil, caller.callID, 481},
		{"unsigned", []string{"<sip:" + shared.SIP + ";lr>"}, caller.callID, 403},
		{"empty signature", at(""), caller.callID, 403},
		{"forged", at(strings.Repeat("0", 24)), caller.callID, 403},
		{"cut short", at(signature.FindStringSubmatch(own[0])[1][:23]), caller.callID, 403},
		{"no token", []string{strings.Replace(own[0], "ct=Tok42;", "", 1)}, caller.callID, 403},
		{"another token", []string{strings.Replace(own[0], "ct=Tok42", "ct=Tok43", 1)}, caller.callID, 403},
		{"another account", []string{strings.Replace(own[0], "ca=acme", "ca=evil", 1)}, caller.callID, 403},
		{"another beginning", []string{strings.Replace(own[0], "cb=1", "cb=2", 1)}, caller.callID, 403},
		{"of another call", second.routes, caller.callID, 403},
		{"in a call of its own", own, id("made-up"), 403},
		{"of another edge", []string{strings.Replace(foreign.routes[0], other.SIP, shared.SIP, 1)}, foreign.callID, 403},
		{"three times", []string{own[0], own[0], own[0]}, caller.callID, 403},
		{"another edge first", append([]string{foreign.routes[0]}, own...), caller.callID, 403},
	} {
		for _, method := range []string{"BYE", "INVITE", "MESSAGE"} {
			l := *caller
			l.set, l.callID, l.routes, l.cseq = mallory, try.callID, try.routes, 50
			m := l.asks(method, "")
			if m.Code != try.code {
				t.Errorf("%s, %s: %s, want %d", try.name, method, m.StartLine, try.code)
			}
			if method == "INVITE" {
				l.send(l.write("ACK", l.cseq, ""))
			}
		}
	}
	// What is over cannot be revived: its signature still is right, but nobody knows the call any more.
	old := *second
	hangUp(t, second, victimLeg)
	shared.door.expectEvent(t, api.EventDialogEnd, "call_id", second.callID) // behind all that the forged ones may have made
	eventually(t, "the ended call to be forgotten", func() error {
		if m := old.asks("MESSAGE", ""); m.Code != 481 {
			victim.take("MESSAGE")
			return fmt.Errorf("MESSAGE: %s", m.StartLine)
		}
		return nil
	})
	for _, p := range []*set{a, b, victim, c, d} {
		p.quiet()
	}
	if ended := shared.door.told(func(e event) bool {
		return e.Get("type") == api.EventDialogEnd && e.Get("call_id") == caller.callID
	}); len(ended) != 0 {
		t.Errorf("a forged BYE ended the call for the brain: %v", ended)
	}
	hangUp(t, callee, caller)
}

// Kamailio is killed and started again in a call: the BYE still finds its way, each side's, and is reported as
// dialog.end with the call's token; after the restart too a forged one is refused.
func TestInDialog_ByeAfterARestartIsRelayedAndReported(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 2}, nil)
	for _, side := range []string{"caller", "callee"} {
		a, b := registered(t, s, "udp", user("a")), registered(t, s, "udp", user("b"))
		s.door.obey(a.user, ring(stamped(to(1, b.user))))
		caller, callee, _ := talk(a.newCall(b.user), b)
		before := s.door.expectEvent(t, api.EventDialogStart, "call_id", caller.callID)
		if err := s.Kamailio.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.StartKamailio(context.Background()); err != nil {
			t.Fatal(err)
		}
		forged := *caller
		forged.routes = []string{signature.ReplaceAllString(caller.routes[0], "cs="+strings.Repeat("1", 24))}
		if m := forged.asks("BYE", ""); m.Code != 403 {
			t.Errorf("forged BYE: %s", m.StartLine)
		}
		caller.cseq++
		if side == "caller" {
			hangUp(t, caller, callee)
		} else {
			hangUp(t, callee, caller)
		}
		e := s.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
		expectFields(t, e, api.EventDialogEnd, map[string]string{"account_id": "acme", "call_id": caller.callID, "token": "Tok42"})
		if e.boot == before.boot {
			t.Error("the events after the restart have the boot of those before")
		}
	}
}

// What phones say within a call reaches the other side, from both, with its body; OPTIONS is answered.
func TestInDialog_MethodsFromBothSides(t *testing.T) {
	t.Parallel()
	a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "tcp", user("b"))
	caller, callee, _ := connect(t, shared, a, b)
	for _, ends := range [][2]*leg{{caller, callee}, {callee, caller}} {
		from, other := ends[0], ends[1]
		for _, method := range []string{"INFO", "NOTIFY", "UPDATE", "PRACK", "OPTIONS"} {
			if method == "OPTIONS" {
				if m := from.asks(method, ""); m.Code != 200 {
					t.Errorf("OPTIONS within the call: %s", m.StartLine)
				}
				continue
			}
			cseq := from.ask(method, "Content-Type: text/plain\r\n\r\nhello")
			m := other.request(method)
			if string(m.Body) != "hello" {
				t.Errorf("%s arrives with body %q", method, m.Body)
			}
			other.reply(m, 200, "OK")
			if m := from.final(from.callID, cseq); m.Code != 200 {
				t.Errorf("%s: %s", method, m.StartLine)
			}
		}
		reinvite(from, other)
		other.quiet()
	}
	hangUp(t, caller, callee)
}

// The SDP of a call, of its answer and of a re-INVITE from each side names rtpengine's address, not a phone's.
func TestInDialog_SDPAlwaysNamesTheRelay(t *testing.T) {
	t.Parallel()
	a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "udp", user("b"))
	shared.door.obey(a.user, ring(to(1, b.user)))
	call := a.newCall(b.user)
	call.body = sdp(30000)
	call.dial()
	invite := b.request("INVITE")
	relayed(t, shared, invite)
	callee := b.answer(invite, sdp(30002))
	ok := a.expect("200", func(m *message) bool { return m.Code == 200 })
	relayed(t, shared, ok)
	a.mu.Lock()
	a.inbox = append(a.inbox, ok)
	a.mu.Unlock()
	caller := call.up()
	b.request("ACK")
	for i, ends := range [][2]*leg{{caller, callee}, {callee, caller}} {
		from, other := ends[0], ends[1]
		cseq := from.ask("INVITE", "Content-Type: application/sdp\r\n\r\n"+sdp(30010+4*i))
		m := other.request("INVITE")
		relayed(t, shared, m)
		other.send(other.response(m.RawMessage, 200, "OK", "Content-Type: application/sdp\r\n", sdp(30012+4*i)))
		relayed(t, shared, from.final(from.callID, cseq))
		from.send(from.write("ACK", from.cseq, ""))
		other.request("ACK")
	}
	hangUp(t, caller, callee)
	eventually(t, "rtpengine to let go", func() error {
		ids, err := shared.MediaSessions()
		if err == nil && strings.Contains(strings.Join(ids, " "), call.callID) {
			err = fmt.Errorf("still relaying %v", ids)
		}
		return err
	})
}

func sdp(port int) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n", port)
}

// relayed fails unless the SDP of a message names one of rtpengine's ports, and no address of a phone.
func relayed(t *testing.T, s *site, m *message) {
	t.Helper()
	var port int
	_, media, _ := strings.Cut(string(m.Body), "m=audio ")
	if _, err := fmt.Sscan(media, &port); err != nil || port < s.RTPMin || port > s.RTPMax || strings.Contains(string(m.Body), "192.0.2.7") {
		t.Errorf("%s has an SDP that is not the relay's:\n%s", m.StartLine, m.Body)
	}
}

// Out of a call: OPTIONS is 200, REFER 603, SUBSCRIBE, PUBLISH, MESSAGE and what nobody knows 405 with Allow; nothing is
// asked at the door. Max-Forwards 0 is 483, a Call-ID of 300 bytes 400, at the limit of 255 it works.
func TestInDialog_OutOfACall(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("a"))
	for method, code := range map[string]int{"OPTIONS": 200, "REFER": 603, "SUBSCRIBE": 405, "PUBLISH": 405, "MESSAGE": 405, "INFO": 405, "UPDATE": 405, "BYE": 405, "FOO": 405} {
		m := a.alone(method, id("x"), 70)
		if m.Code != code || code == 405 && !strings.Contains(m.Header("Allow"), "INVITE") {
			t.Errorf("%s: %s with Allow %q, want %d", method, m.StartLine, m.Header("Allow"), code)
		}
	}
	for _, method := range []string{"INVITE", "REGISTER", "OPTIONS", "MESSAGE"} {
		if m := a.alone(method, id("x"), 0); m.Code != 483 {
			t.Errorf("%s with Max-Forwards 0: %s, want 483", method, m.StartLine)
		}
		if m := a.alone(method, id(strings.Repeat("x", 300)), 70); m.Code != 400 {
			t.Errorf("%s with a Call-ID of 300 bytes: %s, want 400", method, m.StartLine)
		}
	}
	long := id("y")
	if m := a.alone("OPTIONS", long+strings.Repeat("y", 255-len(long)), 70); m.Code != 200 {
		t.Errorf("Call-ID of 255 bytes: %s", m.StartLine)
	}
	if n := len(shared.door.asked(api.PathRoute, a.user)); n != 0 {
		t.Errorf("the door was asked %d times", n)
	}
}

// alone sends a request outside a call, without credentials, and returns its final response.
func (p *set) alone(method, callID string, maxForwards int) *message {
	p.t.Helper()
	p.send(fmt.Sprintf("%s sip:100@acme.test SIP/2.0\r\nVia: %s\r\nMax-Forwards: %d\r\nFrom: <sip:%s@acme.test>;tag=f\r\nTo: <sip:100@acme.test>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 %s\r\nContact: <%s>\r\nContent-Length: 0\r\n\r\n", method, p.via(), maxForwards, p.user, callID, method, p.contact()))
	return p.final(callID, "1 "+method)
}

// A phone that registers Kamailio itself as its contact makes the call come back: the caller gets a final answer
// soon, the door is asked once, and Kamailio answers on.
func TestInDialog_SpiralEnds(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp"} {
		a, b := newSet(t, shared, "udp", user("a")), newSet(t, shared, "udp", user("loop"))
		if m := b.register(registration{contact: fmt.Sprintf("<sip:%s@%s;transport=%s>", b.user, shared.SIP, transport)}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
		shared.door.obey(a.user, ring(to(1, b.user)))
		a.newCall(b.user).dial().refused(480)
		only(t, shared.door.asked(api.PathRoute, a.user))
	}
	if m := newSet(t, shared, "udp", user("a")).alone("OPTIONS", id("x"), 70); m.Code != 200 {
		t.Error(m.StartLine)
	}
}

package kamailio

import (
	"slices"
	"strconv"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// ringing brings a call to a trunk that has challenged it and has got the answer, with nothing said to that yet.
func ringing(t *testing.T, transport string, later ...api.Directive) (call *outgoing, trunk *set, invite *message) {
	t.Helper()
	a, trunk := newSet(t, shared, "udp", user("caller")), registered(t, shared, transport, user("ta"))
	first, again := over(trunk, "ta"), answering(trunk, "ta", "n1")
	for _, r := range []*api.Route{&first, &again} {
		r.Trunk.Lookup = "sip:" + trunk.user + "@acme.test"
		r.URI = "sip:+4930123@peer.invalid"
	}
	shared.door.plan(a.user, append([]api.Directive{outward(first), outward(again)}, later...)...)
	call = a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	trunk.challenge(trunk.request("INVITE"), 401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\"\r\n")
	return call, trunk, trunk.request("INVITE")
}

// numbered fails unless a request has that CSeq, in the transaction of the INVITE.
func numbered(t *testing.T, m, invite *message, want string) {
	t.Helper()
	if n, _ := m.cseq(); n != want || m.Header("Via") != invite.All("Via")[0] {
		t.Errorf("%s has CSeq %s and Via %s, want %s and %s", m.StartLine, n, m.Header("Via"), want, invite.All("Via")[0])
	}
	clean(t, m)
}

// What belongs to the raised INVITE has its number and its transaction: the ACK to a refusal, and CANCEL; over UDP, TCP
// and TLS. The caller hears of its own.
func TestOutDigest_RefusalAndCancelBelongToTheRaisedRequest(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			call, trunk, invite := ringing(t, transport, reject(486, "Busy Here", 0))
			if invite.StartLine != "INVITE sip:+4930123@"+trunk.local+";transport="+transport+" SIP/2.0" {
				t.Errorf("a peer that registers is called as %s", invite.StartLine)
			}
			trunk.send(trunk.response(invite.RawMessage, 486, "Busy Here", "", ""))
			numbered(t, trunk.request("ACK"), invite, "3")
			call.refused(486)

			call, trunk, invite = ringing(t, transport)
			trunk.reply(invite, 180, "Ringing")
			call.expect("180", func(m *message) bool { return m.Code == 180 })
			call.cancel()
			cancel := trunk.request("CANCEL")
			numbered(t, cancel, invite, "3")
			trunk.reply(cancel, 200, "OK")
			trunk.send(trunk.response(invite.RawMessage, 487, "Request Terminated", "", ""))
			numbered(t, trunk.request("ACK"), invite, "3")
			call.refused(487)
			trunk.quiet()
		})
	}
}

// A re-INVITE of the caller that the trunk refuses is acknowledged by the edge, with the raised number.
func TestOutDigest_RefusedReinviteIsAcknowledgedAsRaised(t *testing.T) {
	t.Parallel()
	call, trunk, invite := ringing(t, "udp")
	callee := trunk.answer(invite, sdp(40002))
	caller := call.up()
	trunk.request("ACK")
	caller.ask("INVITE", "Content-Type: application/sdp\r\n\r\n"+sdp(40004))
	again := trunk.request("INVITE")
	trunk.send(trunk.response(again.RawMessage, 488, "Not Acceptable Here", "", ""))
	numbered(t, trunk.request("ACK"), again, "4")
	if m := caller.final(call.callID, "3 INVITE"); m.Code != 488 {
		t.Errorf("re-INVITE: %s", m.StartLine)
	}
	hangUp(t, callee, caller)
}

// Each answered challenge of a call raises the number once more, whichever trunk it is, and attempts without one keep it:
// the call that comes up has one distance between its sides, with a phone as well.
func TestOutDigest_TheNumberOnlyRises(t *testing.T) {
	t.Parallel()
	a, b := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b"))
	first, second := newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
	shared.door.plan(a.user, outward(over(first, "ta")), outward(answering(first, "ta", "n1")),
		outward(over(second, "tb")), outward(answering(second, "tb", "n2")), ring(to(1, b.user)))
	call := a.newCall("+4930123").dial()
	expect := func(p *set, want string) *message {
		t.Helper()
		invite := p.request("INVITE")
		if n, _ := invite.cseq(); n != want {
			t.Errorf("%s gets CSeq %s, want %s", p.user, n, want)
		}
		return invite
	}
	challenge := "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n"
	first.challenge(expect(first, "2"), 407, challenge)
	first.reject(expect(first, "3"), 503)
	second.challenge(expect(second, "3"), 407, challenge)
	second.reject(expect(second, "4"), 404)
	asked := laterThan(t, shared, a.user, 4)
	hears(t, asked[1], map[string]string{"failed_code": "503", "trunk": "ta", "tried": "ta", "answered": "1", "challenge": ""})
	hears(t, asked[2], map[string]string{"failed_code": "407", "trunk": "tb", "tried": "ta,tb", "answered": "0"})
	hears(t, asked[3], map[string]string{"failed_code": "404", "trunk": "tb", "tried": "ta,tb", "answered": "1"})
	callee := b.answer(expect(b, "4"), "")
	caller := call.up()
	if n, _ := b.request("ACK").cseq(); n != "4" {
		t.Errorf("ACK has CSeq %s", n)
	}
	if e := shared.door.expectEvent(t, api.EventDialogStart, "call_id", call.callID); e.Get("trunk") != "" {
		t.Errorf("dialog.start says %v", e)
	}
	within(t, caller, callee, "INFO", 2)
	within(t, caller, callee, "BYE", 2)
}

// A call that has lasted as long as the last directive allows is ended by the edge: its BYE to the trunk is not behind
// what the trunk has seen, and the caller's is the trunk's.
func TestOutDigest_TimeoutByeIsInOrder(t *testing.T) {
	t.Parallel()
	a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
	short := outward(answering(trunk, "ta", "n1"))
	short.Call.MaxDurationSec = 4 // Kamailio counts in whole seconds, and there is to be an INFO before
	shared.door.plan(a.user, outward(over(trunk, "ta")), short)
	call := a.newCall("+4930123").dial()
	trunk.challenge(trunk.request("INVITE"), 407, "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\"\r\n")
	trunk.answer(trunk.request("INVITE"), "")
	caller := call.up()
	trunk.request("ACK")
	within(t, caller, &leg{set: trunk}, "INFO", 1)
	bye := trunk.request("BYE")
	if n, _ := bye.cseq(); n != "5" {
		t.Errorf("the edge's BYE has CSeq %s behind an INFO of 4", n)
	}
	clean(t, bye)
	trunk.reply(bye, 200, "OK")
	a.reply(a.request("BYE"), 200, "OK")
	e := shared.door.expectEvent(t, api.EventDialogEnd, "call_id", call.callID)
	if e.Get("trunk") != "ta" {
		t.Errorf("dialog.end says %v", e)
	}
	// The answer was the BYE's: while an INVITE that nobody answers goes on being repeated, the BYE does not.
	b, deaf := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "tb")
	shared.door.plan(b.user, outward(over(deaf, "tb")), reject(404, "Not Found", 0))
	call = b.newCall("+4930123").dial()
	invite := deaf.request("INVITE")
	eventually(t, "a repetition", func() error { return more(deaf.copies(invite), 1) })
	had := trunk.copies(bye)
	eventually(t, "another one", func() error { return more(deaf.copies(invite), 2) })
	if got := trunk.copies(bye); got != had {
		t.Errorf("the BYE came %d times, %d of them after its answer", got, got-had)
	}
	deaf.reject(invite, 404)
	call.refused(404)
}

// PRACK names the INVITE that it belongs to by the number that the trunk knows, as does what follows; its own is one more as well.
func TestOutDigest_PrackNamesTheRaisedRequest(t *testing.T) {
	t.Parallel()
	call, trunk, invite := ringing(t, "udp")
	trunk.send(trunk.response(invite.RawMessage, 183, "Progress", "Require: 100rel\r\nRSeq: 7\r\n", ""))
	m := call.expect("183", func(m *message) bool { return m.Code == 183 })
	routes := recordRoutes(m)
	slices.Reverse(routes)
	early := &leg{set: call.set, callID: call.callID, from: m.Header("From"), to: m.Header("To"), target: nameAddr(m.Header("Contact")), routes: routes, cseq: 2}
	for given, want := range map[string]string{"7 2 INVITE": "7 3 INVITE", "8  \t2 INVITE": "8 3 INVITE", "7 2": "7 2"} {
		cseq := early.ask("PRACK", "RAck: "+given+"\r\n")
		p := trunk.request("PRACK")
		if n, _ := p.cseq(); n != strconv.Itoa(early.cseq+1) || !slices.Equal(p.All("RAck"), []string{want}) {
			t.Errorf("RAck: %s arrives as %q, with CSeq %s", given, p.All("RAck"), p.Header("CSeq"))
		}
		clean(t, p)
		trunk.reply(p, 200, "OK")
		call.final(call.callID, cseq)
	}
	callee := trunk.answer(invite, "")
	caller := call.up()
	caller.cseq = early.cseq
	trunk.request("ACK")
	within(t, caller, callee, "UPDATE", 1)
	hangUp(t, callee, caller)
}

// A number that gets a digit more on its way out comes back as it was.
func TestOutDigest_NineBecomesTen(t *testing.T) {
	t.Parallel()
	call, trunk, invite := ringing(t, "udp")
	callee := trunk.answer(invite, "")
	caller := call.up()
	trunk.request("ACK")
	for range 9 {
		within(t, caller, callee, "INFO", 1)
	}
	if caller.cseq != 11 {
		t.Fatalf("CSeq %d", caller.cseq)
	}
	hangUp(t, callee, caller)
}

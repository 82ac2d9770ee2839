package kamailio

import (
	"strings"
	"testing"
)

// A trunk is called as the directive says: nothing of the domain and the name that the phone has dialed reaches it, in any request of the call, and the
// phone goes on seeing what it dialed, in every answer and in what the trunk sends; so it is with the trunk that follows, with one whose challenge is
// answered, with a call that is given up, and with a phone that follows a trunk.
func TestOutTo_EachSideSeesItsOwn(t *testing.T) {
	t.Parallel()
	const dialed = `"Mum" <sip:0304444@secret.test;user=phone>`
	plainTo := func(m *message, name, want string) {
		t.Helper()
		got, _, _ := strings.Cut(m.Header(name), ";tag=")
		if want != dialed || !strings.HasPrefix(got, "\"") { // within a call the module leaves display names alone
			got, want = got[strings.Index(got, "<"):], want[strings.Index(want, "<"):]
		}
		if got != want || strings.Contains(m.raw, "secret") && !strings.Contains(want, "secret") {
			t.Errorf("%s has %s %s, want %s\n%s", m.StartLine, name, got, want, m.raw)
		}
	}
	start := func(a *set) *outgoing {
		call := a.newCall("+4930123")
		call.to, call.body = dialed, sdp(40000)
		return call.dial()
	}
	a, first, second, b := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb"), registered(t, shared, "udp", user("b"))
	toFirst, toSecond := "<sip:+4930123@ta.test>", "<sip:+4930123@tb.test>"
	shared.door.plan(a.user, outward(over(first, "ta")), outward(over(second, "tb")), outward(answering(second, "tb", "n1")))
	call := start(a)
	invite := first.request("INVITE")
	plainTo(invite, "To", toFirst)
	first.send(first.response(invite.RawMessage, 503, "Full", "", ""))
	plainTo(first.request("ACK"), "To", toFirst)
	invite = second.request("INVITE")
	plainTo(invite, "To", toSecond)
	second.challenge(invite, 407, nonce("n1"))
	invite = second.request("INVITE")
	plainTo(invite, "To", toSecond)
	second.reply(invite, 180, "Ringing")
	plainTo(a.expect("180", func(m *message) bool { return m.Code == 180 }), "To", dialed)
	callee := second.answer(invite, sdp(40002))
	caller := call.up()
	if got, _, _ := strings.Cut(caller.to, ";tag="); got != dialed {
		t.Errorf("the caller's call goes to %s", got)
	}
	plainTo(second.request("ACK"), "To", toSecond)
	cseq := caller.ask("INFO", "")
	info := second.request("INFO")
	plainTo(info, "To", toSecond)
	second.reply(info, 200, "OK")
	plainTo(a.final(call.callID, cseq), "To", dialed)
	cseq = callee.ask("INFO", "")
	info = a.request("INFO")
	plainTo(info, "From", dialed)
	a.reply(info, 200, "OK")
	plainTo(second.final(call.callID, cseq), "From", toSecond)
	hangUp(t, caller, callee)

	shared.door.plan(a.user, outward(over(first, "ta")))
	call = start(a)
	invite = first.request("INVITE")
	first.reply(invite, 180, "Ringing")
	a.expect("180", func(m *message) bool { return m.Code == 180 })
	call.cancel()
	cancel := first.request("CANCEL")
	plainTo(cancel, "To", toFirst)
	first.reply(cancel, 200, "OK")
	first.reject(invite, 487)
	call.ended(487)

	shared.door.plan(a.user, outward(over(first, "ta")), ring(to(1, b.user)))
	call = start(a)
	first.reject(first.request("INVITE"), 503)
	invite = b.request("INVITE")
	plainTo(invite, "To", dialed)
	callee = b.answer(invite, sdp(40002))
	caller = call.up()
	b.request("ACK")
	cseq = caller.ask("INFO", "")
	info = b.request("INFO")
	if strings.Contains(info.raw, "ta.test") {
		t.Errorf("the phone gets\n%s", info.raw)
	}
	b.reply(info, 200, "OK")
	plainTo(a.final(call.callID, cseq), "To", dialed)
	hangUp(t, caller, callee)
}

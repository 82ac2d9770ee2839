package kamailio

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// nonces are the challenges of a trunk inside a call, as it writes them.
func nonce(n string) string { return "Proxy-Authenticate: Digest realm=\"r\", nonce=\"" + n + "\"\r\n" }

// proves has the door answer the challenges of a user's calls: the answer repeats what was asked.
func (d *door) proves(user string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.challenge[user] = func(w http.ResponseWriter, r *http.Request) {
		asked := d.asked(api.PathChallenge, user)
		q := asked[len(asked)-1].form
		_, nonce, _ := strings.Cut(q.Get("challenge"), `nonce="`)
		nonce, _, _ = strings.Cut(nonce, `"`)
		says(api.ChallengeReply{Action: api.ActionAccept, Answer: fmt.Sprintf("Proxy-Authorization: Digest nonce=%q, uri=%q, response=%q\r\n", nonce, q.Get("uri"), q.Get("method"))})(w, r)
	}
}

// outside brings a call up that goes out over a trunk, which has challenged its INVITE or not.
func outside(t *testing.T, challenged bool) (caller, callee *leg) {
	t.Helper()
	a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
	shared.door.plan(a.user, outward(over(trunk, "ta")), outward(answering(trunk, "ta", "n1")))
	shared.door.proves(a.user)
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	invite := trunk.request("INVITE")
	if challenged {
		trunk.challenge(invite, 407, nonce("n1"))
		invite = trunk.request("INVITE")
	}
	callee = trunk.answer(invite, sdp(40002))
	caller = call.up()
	trunk.request("ACK")
	return caller, callee
}

// proved sends a request within the call that the trunk challenges, and takes with the answer; it returns how much more than the caller's
// its number is.
func proved(t *testing.T, caller, callee *leg, method, n string, code, raised int) {
	t.Helper()
	more, body := "", ""
	if method == "INVITE" || method == "UPDATE" {
		more, body = "Content-Type: application/sdp\r\n\r\n"+sdp(40000), sdp(40002)
	}
	cseq := caller.ask(method, more)
	first := callee.request(method)
	numberedAs(t, first, caller.cseq+raised-1)
	challenge := nonce(n)
	if code == 401 {
		challenge = strings.Replace(challenge, "Proxy", "WWW", 1)
	}
	callee.send(callee.response(first.RawMessage, code, "Prove", challenge, ""))
	if method == "INVITE" {
		numberedAs(t, callee.request("ACK"), caller.cseq+raised-1)
	}
	again := callee.request(method)
	numberedAs(t, again, caller.cseq+raised)
	uri := strings.Fields(again.StartLine)[1]
	if want := fmt.Sprintf("Digest nonce=%q, uri=%q, response=%q", n, uri, method); again.Header("Proxy-Authorization") != want {
		t.Errorf("%s is proved by %s, want %s", method, again.Header("Proxy-Authorization"), want)
	}
	if again.Header("To") != first.Header("To") || again.Header("From") != first.Header("From") || again.StartLine != first.StartLine || len(again.All("Route")) != len(first.All("Route")) ||
		again.Header("Contact") != first.Header("Contact") {
		t.Errorf("the answer goes elsewhere:\n%s\n%s", first.raw, again.raw)
	}
	if body != "" {
		relayed(t, shared, again)
	}
	typ := ""
	if body != "" {
		typ = "Content-Type: application/sdp\r\n"
	}
	callee.send(callee.response(again.RawMessage, 200, "OK", typ, body))
	ok := caller.final(caller.callID, cseq)
	if ok.Code != 200 {
		t.Errorf("%s: the caller gets %s", method, ok.StartLine)
	}
	if method == "INVITE" {
		relayed(t, shared, ok)
		caller.send(caller.write("ACK", caller.cseq, ""))
		numberedAs(t, callee.request("ACK"), caller.cseq+raised)
	}
}

// numberedAs fails unless a request has that CSeq number, and shows nothing of the edge's.
func numberedAs(t *testing.T, m *message, want int) {
	t.Helper()
	if n, _ := m.cseq(); n != strconv.Itoa(want) {
		t.Errorf("%s has CSeq %s, want %d", m.StartLine, n, want)
	}
	clean(t, m)
}

// A trunk may challenge any request inside a call, 401 or 407: each gets its answer once more with a number of one more, in the same
// place, and from then on all that the caller sends counts one more, ACK too. The caller sees its own numbers and no challenge, and what
// the trunk sends keeps the trunk's.
func TestProve_ChallengesInsideACall(t *testing.T) {
	t.Parallel()
	for _, challenged := range []bool{false, true} {
		t.Run(fmt.Sprint(challenged), func(t *testing.T) {
			t.Parallel()
			caller, callee := outside(t, challenged)
			raised := 0
			if challenged {
				raised = 1
			}
			within(t, caller, callee, "INFO", raised)
			proved(t, caller, callee, "INVITE", "n2", 407, raised+1)
			within(t, caller, callee, "INFO", raised+1)
			within(t, callee, caller, "INVITE", 0)
			within(t, callee, caller, "INFO", 0)
			proved(t, caller, callee, "UPDATE", "n3", 401, raised+2)
			within(t, caller, callee, "INVITE", raised+2)
			proved(t, caller, callee, "BYE", "n4", 407, raised+3)
			if e := shared.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID); e.Get("trunk") != "ta" {
				t.Errorf("dialog.end says %v", e)
			}
			asked := shared.door.asked(api.PathChallenge, caller.user)
			if len(asked) != 3 {
				t.Fatalf("the door was asked %d times", len(asked))
			}
			hears(t, asked[0].form, map[string]string{"account_id": "acme", "trunk": "ta", "method": "INVITE", "answered": "0", "challenge": `Proxy-Authenticate: Digest realm="r", nonce="n2"` + "\n", "call_id": caller.callID})
			hears(t, asked[1].form, map[string]string{"challenge": `WWW-Authenticate: Digest realm="r", nonce="n3"` + "\n", "method": "UPDATE"})
		})
	}
}

// A call that the trunk ends after it has challenged goes as any: its BYE is its own.
func TestProve_TheTrunkHangsUp(t *testing.T) {
	t.Parallel()
	caller, callee := outside(t, false)
	proved(t, caller, callee, "INVITE", "n2", 407, 1)
	hangUp(t, callee, caller)
	shared.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
}

// When nobody answers a challenge, or the trunk does not take the answer, the caller is not asked for a password: its re-INVITE is 488, so that
// its session stays, other requests are 403, and the call goes on.
func TestProve_WithoutAnAnswerTheCallGoesOn(t *testing.T) {
	t.Parallel()
	caller, callee := outside(t, false)
	shared.door.mu.Lock()
	delete(shared.door.challenge, caller.user)
	shared.door.mu.Unlock()
	for method, code := range map[string]int{"INVITE": 488, "INFO": 403} {
		cseq := caller.ask(method, "")
		m := callee.request(method)
		callee.send(callee.response(m.RawMessage, 407, "Prove", nonce("n"), ""))
		got := caller.final(caller.callID, cseq)
		if got.Code != code || len(got.All("Proxy-Authenticate")) != 0 {
			t.Errorf("%s: the caller gets\n%s", method, got.raw)
		}
		if method == "INVITE" {
			callee.request("ACK")
			caller.send(caller.write("ACK", caller.cseq, "")) // of the refusal: it stays at the edge
		}
	}
	within(t, caller, callee, "INFO", 0)

	shared.door.proves(caller.user)
	cseq := caller.ask("INFO", "")
	for raised := range 3 { // it says each time that the answer is not right
		m := callee.request("INFO")
		numberedAs(t, m, caller.cseq+raised)
		callee.send(callee.response(m.RawMessage, 407, "Prove", nonce("n"), ""))
	}
	if got := caller.final(caller.callID, cseq); got.Code != 403 {
		t.Errorf("the caller gets %s", got.StartLine)
	}
	within(t, caller, callee, "INFO", 2)
	hangUp(t, caller, callee)
}

// A request that overtakes one that is being challenged has its own number, and the answer to the challenge a higher one than both; each
// INVITE is acknowledged by the number that it got.
func TestProve_RequestsThatCrossKeepTheirNumbers(t *testing.T) {
	t.Parallel()
	caller, callee := outside(t, false)
	invited := caller.ask("INVITE", "")
	number := caller.cseq
	first := callee.request("INVITE")
	numberedAs(t, first, 3)
	within(t, caller, callee, "INFO", 0) // it is 4
	callee.send(callee.response(first.RawMessage, 407, "Prove", nonce("n"), ""))
	again := callee.request("INVITE")
	numberedAs(t, again, 5)
	callee.request("ACK")
	callee.send(callee.response(again.RawMessage, 200, "OK", "", ""))
	caller.final(caller.callID, invited)
	caller.send(caller.write("ACK", number, ""))
	numberedAs(t, callee.request("ACK"), 5)
	within(t, caller, callee, "INFO", 1)
	proved(t, caller, callee, "INFO", "n", 407, 2)
	caller.send(caller.write("ACK", number, "X-Late: 1\r\n"))
	numberedAs(t, callee.request("ACK"), 5)
	hangUp(t, callee, caller)
}

// A re-INVITE that is given up while it is proved is taken back with the number that the trunk knows.
func TestProve_GivenUp(t *testing.T) {
	t.Parallel()
	caller, callee := outside(t, false)
	caller.cseq++
	invite := caller.write("INVITE", caller.cseq, "")
	caller.send(invite)
	first := callee.request("INVITE")
	callee.send(callee.response(first.RawMessage, 407, "Prove", nonce("n"), ""))
	callee.request("ACK")
	again := callee.request("INVITE")
	numberedAs(t, again, 4)
	callee.reply(again, 180, "Ringing")
	caller.expect("180", func(m *message) bool { return m.Code == 180 })
	caller.send(strings.ReplaceAll(invite, "INVITE", "CANCEL"))
	cancel := callee.request("CANCEL")
	numbered(t, cancel, again, "4")
	callee.reply(cancel, 200, "OK")
	callee.send(callee.response(again.RawMessage, 487, "Request Terminated", "", ""))
	numbered(t, callee.request("ACK"), again, "4")
	if got := caller.final(caller.callID, "3 INVITE"); got.Code != 487 {
		t.Errorf("the caller gets %s", got.StartLine)
	}
	within(t, caller, callee, "INFO", 1)
	hangUp(t, caller, callee)
}

package kamailio

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// over is a step over a trunk that is at p: its identity and its header are of this attempt alone.
func over(p *set, id string) api.Route {
	return api.Route{Step: 1, URI: "sip:+4930123@" + p.local, FrInvTimer: 20000, Trunk: &api.RouteTrunk{
		ID: id, FrTimer: 4000, ToTrunk: "replace-origin replace-session-connection RTP/AVP ICE=remove",
		Headers: "P-Asserted-Identity: <sip:+49301@" + id + ".test>\r\nX-" + id + ": 1\r\n",
		To:      "sip:+4930123@" + id + ".test",
		From:    &api.NameAddr{Display: `"` + id + `"`, URI: "sip:+49301@" + id + ".test"},
	}}
}

// outward is a directive of one attempt.
func outward(r api.Route) api.Directive {
	d := ring(r)
	d.Call.Direction, d.Call.At, d.Call.Hops = "out", "number/+4930123", 3
	d.Call.From, d.Call.To = "1001", "+4930123"
	if r.Trunk != nil {
		d.Call.Trunk = r.Trunk.ID
	}
	return d
}

// plan answers the questions of a user's call one after the other; the last answer is repeated.
func (d *door) plan(user string, directives ...api.Directive) {
	n := 0
	d.onRoute(user, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		directive := directives[min(n, len(directives)-1)]
		n++
		d.mu.Unlock()
		says(api.RouteReply{RTJSON: directive})(w, r)
	})
}

// laterThan returns the questions of a user after the first, whose form each of them repeats byte for byte.
func laterThan(t *testing.T, s *site, user string, n int) []url.Values {
	t.Helper()
	eventually(t, "the questions", func() error { return more(len(s.door.asked(api.PathRoute, user)), n) })
	asked := s.door.asked(api.PathRoute, user)
	if len(asked) != n+1 {
		t.Fatalf("the door was asked %d times, want %d", len(asked), n+1)
	}
	var out []url.Values
	for _, q := range asked[1:] {
		rest, same := strings.CutPrefix(q.body, asked[0].body)
		if !same {
			t.Errorf("a later question does not begin with the first:\n%s\n%s", q.body, asked[0].body)
		}
		form, err := url.ParseQuery(strings.TrimPrefix(rest, "&"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, form)
	}
	return out
}

// hears fails unless values are those of a question.
func hears(t *testing.T, form url.Values, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if form.Get(name) != value || len(form[name]) != 1 {
			t.Errorf("the question has %s %q, want %q", name, form[name], value)
		}
	}
}

// shown fails unless an INVITE shows what trunk id may see, and nothing of another attempt or of the caller's; of what P- headers there
// are, P-Asserted-Identity and those named.
func shown(t *testing.T, invite *message, id string, private ...string) {
	t.Helper()
	if got := invite.All("P-Asserted-Identity"); len(got) != 1 || got[0] != "<sip:+49301@"+id+".test>" {
		t.Errorf("%s sees P-Asserted-Identity %q", id, got)
	}
	if from := plain(invite.Header("From")); !strings.HasPrefix(from, `"`+id+`"<sip:+49301@`+id+`.test>`) {
		t.Errorf("%s sees the caller as %s", id, from)
	}
	if to := plain(invite.Header("To")); !strings.HasPrefix(to, "<sip:+4930123@"+id+".test>") {
		t.Errorf("%s is called as %s", id, to)
	}
	for _, h := range invite.Headers {
		name := strings.ToLower(h.Name)
		known := h.Name == "P-Asserted-Identity" || slices.Contains(private, h.Name)
		if strings.HasPrefix(name, "x-") && name != "x-"+id || strings.HasPrefix(name, "p-") && !known || strings.HasSuffix(name, "authorization") || name == "privacy" {
			t.Errorf("%s sees %s: %s", id, h.Name, h.Value)
		}
	}
	if strings.Contains(invite.raw, "forged") {
		t.Errorf("%s sees what a phone made up:\n%s", id, invite.raw)
	}
}

// A trunk that fails is followed by another question: the first one's form, byte for byte, and what became of it. The next
// attempt shows its own identity and headers and none of the last one's, the INVITE's number is the caller's, and the
// events name the trunk that answered.
func TestOut_FailureAsksWhatFollows(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("caller"))
	first, second := newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
	one, two := outward(over(first, "ta")), outward(over(second, "tb"))
	two.Call.To, two.Call.Attempt = "+49 30&x", 66
	shared.door.plan(a.user, one, two)
	call := a.newCall("+4930123")
	call.body, call.more = sdp(40000), forged+"Privacy: id\r\nP-K-CSeq-Auth: 77\r\n"
	call.dial()
	invite := first.request("INVITE")
	if want := "INVITE sip:+4930123@" + first.local + " SIP/2.0"; invite.StartLine != want {
		t.Errorf("%s, want %s", invite.StartLine, want)
	}
	shown(t, invite, "ta")
	relayed(t, shared, invite)
	first.reject(invite, 503)
	invite = second.request("INVITE")
	shown(t, invite, "tb")
	relayed(t, shared, invite)
	if n, _ := invite.cseq(); n != "2" {
		t.Errorf("the second attempt has CSeq %s, want the caller's", n)
	}
	q := laterThan(t, shared, a.user, 1)[0]
	hears(t, q, map[string]string{"at": "number/+4930123", "failed_code": "503", "trunk": "ta", "tried": "ta", "answered": "0", "hops": "3", "challenge": ""})
	callee := second.answer(invite, sdp(40002))
	caller := call.up()
	if caller.from != call.from+";tag="+call.fromTag {
		t.Errorf("the caller sees itself as %s", caller.from)
	}
	second.request("ACK")
	e := shared.door.expectEvent(t, api.EventDialogStart, "call_id", call.callID)
	if e.Get("trunk") != "tb" || e.Get("to") != "+49 30&x" || e.Get("attempt") != "66" {
		t.Errorf("dialog.start says %v", e)
	}
	cseq := caller.ask("INFO", "")
	info := second.request("INFO")
	if !strings.Contains(info.Header("From"), "<sip:+49301@tb.test>") {
		t.Errorf("INFO comes from %s", info.Header("From"))
	}
	second.reply(info, 200, "OK")
	a.final(call.callID, cseq)
	hangUp(t, callee, caller)
	if e := shared.door.expectEvent(t, api.EventDialogEnd, "call_id", call.callID); e.Get("trunk") != "tb" {
		t.Errorf("dialog.end says %v", e)
	}
	first.quiet()
}

// answering is over with a line that answers a challenge.
func answering(p *set, id, nonce string) api.Route {
	r := over(p, id)
	r.Trunk.Answer = `Proxy-Authorization: Digest username="u", nonce="` + nonce + `", response="0"` + "\r\n"
	return r
}

// challenge refuses an INVITE with challenges and takes the ACK.
func (p *set) challenge(invite *message, code int, lines string) *message {
	p.t.Helper()
	p.send(p.response(invite.RawMessage, code, "Prove", lines, ""))
	return p.request("ACK")
}

// within sends a request within a call, which the other end answers; both see the numbers of their own side.
func within(t *testing.T, from, to *leg, method string, raised int) {
	t.Helper()
	cseq := from.ask(method, "")
	m := to.request(method)
	if n, _ := m.cseq(); n != strconv.Itoa(from.cseq+raised) {
		t.Errorf("%s %d arrives with CSeq %s, want %d more", method, from.cseq, n, raised)
	}
	to.reply(m, 200, "OK")
	if ok := from.final(from.callID, cseq); ok.Code != 200 {
		t.Errorf("%s: %s", method, ok.StartLine)
	}
	if method == "INVITE" {
		from.send(from.write("ACK", from.cseq, ""))
		ack := to.request("ACK")
		if n, _ := ack.cseq(); n != strconv.Itoa(from.cseq+raised) {
			t.Errorf("the ACK to INVITE %d arrives with CSeq %s, want %d more", from.cseq, n, raised)
		}
	}
}

// clean fails when a message shows how CSeq is raised.
func clean(t *testing.T, m *message) {
	t.Helper()
	if strings.Contains(m.raw, "P-K-") {
		t.Errorf("a message shows the edge's own header:\n%s", m.raw)
	}
}

// A trunk that challenges gets the INVITE again with the answer and a CSeq of one more, and the challenges reach the
// door whole. From then on its side of the call counts one more than the caller's: in ACK, INFO, re-INVITE and BYE of
// the caller; the caller sees its own numbers in every answer, and what the trunk sends keeps the trunk's.
func TestOut_AnsweredChallengeRaisesCSeq(t *testing.T) {
	t.Parallel()
	for _, ends := range []string{"caller", "callee"} {
		t.Run(ends, func(t *testing.T) {
			t.Parallel()
			a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
			shared.door.plan(a.user, outward(over(trunk, "ta")), outward(answering(trunk, "ta", "n1")))
			call := a.newCall("+4930123")
			call.body = sdp(40000)
			call.dial()
			invite := trunk.request("INVITE")
			lines := "Proxy-Authenticate: Digest realm=\"a & b\", nonce=\"n1\", algorithm=SHA-256\r\nProxy-Authenticate: Digest realm=\"a & b\", nonce=\"n1\"\r\nWWW-Authenticate: Digest realm=\"w\", nonce=\"n2\"\r\n"
			ack := trunk.challenge(invite, 407, lines)
			if n, _ := ack.cseq(); n != "2" {
				t.Errorf("the challenge is acknowledged with CSeq %s", n)
			}
			again := trunk.request("INVITE")
			q := laterThan(t, shared, a.user, 1)[0]
			hears(t, q, map[string]string{"failed_code": "407", "trunk": "ta", "tried": "ta", "answered": "0"})
			for _, c := range []string{`Proxy-Authenticate: Digest realm="a & b", nonce="n1", algorithm=SHA-256`, `Proxy-Authenticate: Digest realm="a & b", nonce="n1"`, `WWW-Authenticate: Digest realm="w", nonce="n2"`} {
				if !strings.Contains(q.Get("challenge")+"\n", c+"\n") {
					t.Errorf("the challenges arrive as %q, without %s", q.Get("challenge"), c)
				}
			}
			if n, _ := again.cseq(); n != "3" || !strings.Contains(again.Header("Proxy-Authorization"), `nonce="n1"`) || again.Header("Via") == invite.Header("Via") {
				t.Errorf("the answer arrives as\n%s", again.raw)
			}
			clean(t, again)
			trunk.reply(again, 180, "Ringing")
			a.expect("180", func(m *message) bool { return m.Code == 180 && m.Header("CSeq") == "2 INVITE" })
			callee := trunk.answer(again, sdp(40002))
			caller := call.up()
			ack = trunk.request("ACK")
			if n, _ := ack.cseq(); n != "3" {
				t.Errorf("the 200 is acknowledged with CSeq %s, want 3", n)
			}
			clean(t, ack)
			within(t, caller, callee, "INFO", 1)
			within(t, caller, callee, "INVITE", 1)
			within(t, callee, caller, "INFO", 0)
			within(t, callee, caller, "INVITE", 0)
			within(t, caller, callee, "UPDATE", 1)
			if ends == "caller" {
				within(t, caller, callee, "BYE", 1)
			} else {
				within(t, callee, caller, "BYE", 0)
			}
			shared.door.expectEvent(t, api.EventDialogEnd, "call_id", call.callID)
		})
	}
}

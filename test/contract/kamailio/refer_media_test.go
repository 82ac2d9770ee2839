package kamailio

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// A REFER in a call with the media server on one side never reaches it, and the brain carries out what is for it to do. One site
// serves all of it: only one phone can be the media server.
func TestRefer_BesideTheMediaServer(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	s.trunks(t, "1 127.0.0.9")
	media := newSetAt(t, s, "udp", "media", s.MediaSIP)
	for _, check := range []func(*testing.T, *site, *set){ofWhomItHasAnswered, isTheBrainsToDo, saysWhoseDeviceHasAnswered, isTurnedAway, isForWhoHasAnswered, isForTheFirst, isAcceptedBeforeItsBYE} {
		check(t, s, media)
	}
}

// Who has called where the media server answers is asked about as such, so that the log has the reason; a trunk and the media
// server itself are not asked about at all. Even an answer that lets it pass does not bring it further.
func ofWhomItHasAnswered(t *testing.T, s *site, media *set) {
	a, trunk := registered(t, s, "udp", user("caller")), newSetAt(t, s, "udp", user("trunk"), addressOf("127.0.0.9"))
	for _, from := range []*set{a, trunk} {
		s.door.obey(from.user, ring(answered(1)))
		call := from.newCall("400")
		if from == trunk {
			call.open()
		} else {
			call.dial()
		}
		callee := media.answer(media.request("INVITE"), "")
		caller := call.up()
		media.request("ACK")
		want := map[bool]int{true: 503, false: 603}[from == a]
		if m := caller.asks("REFER", "Refer-To: <sip:1002@acme.test>\r\n"); m.Code != want {
			t.Errorf("REFER of %s: %s, want %d", from.user, m.StartLine, want)
		}
		if m := callee.asks("REFER", "Refer-To: <sip:1002@acme.test>\r\n"); m.Code != 603 {
			t.Errorf("REFER of the media server: %s", m.StartLine)
		}
		media.quiet()
		hangUp(t, caller, callee)
	}
	sameValues(t, only(t, s.door.asked(api.PathRefer, a.user)), map[string]string{"side": api.ReferCaller, "call": "", "dial": "", "aor": "", "account_id": "acme"})
	for _, asked := range append(s.door.asked(api.PathRefer, trunk.user), s.door.asked(api.PathRefer, "leg")...) {
		t.Errorf("asked: %s", asked.body)
	}
}

// ringsTwo is a leg of the media server to two phones, as to a ring group, of which the second answers.
func ringsTwo(t *testing.T, s *site, media *set) (first, second *set, from, answering *leg, lost *message) {
	t.Helper()
	first, second = registered(t, s, "udp", user("b")), registered(t, s, "tcp", user("b"))
	media.user = user("from")
	s.door.obey(media.user, ring(to(1, first.user), to(1, second.user)))
	call := media.newCall("leg")
	call.more = "X-Sipio-Call: Parent1\r\nX-Sipio-Account: acme\r\nX-Sipio-Dial: ring_group/rg=1\r\n"
	call.open()
	lost = first.request("INVITE")
	first.reply(lost, 180, "Ringing")
	media.expect("180", func(m *message) bool { return m.Code == 180 })
	answering = second.answer(second.request("INVITE"), "")
	from = call.up()
	second.request("ACK")
	first.reply(first.request("CANCEL"), 200, "OK")
	first.reject(lost, 487)
	return first, second, from, answering, lost
}

// The phone that has answered a leg of the media server asks for a transfer: the brain hears by what the edge knows whose call it is,
// whom the leg was for and whose phone has answered, whatever From says. The brain does it: the phone hears 202, once however
// often it asks with the same request, with Refer-Sub where it can do without progress, and the media server hears nothing.
func isTheBrainsToDo(t *testing.T, s *site, media *set) {
	_, second, from, callee, _ := ringsTwo(t, s, media)
	s.door.onRefer("leg", says(api.ReferReply{Action: api.ActionDone}))
	for _, sub := range []string{"", "Refer-Sub: false\r\n", "Refer-Sub: true\r\n"} {
		before := len(s.door.asked(api.PathRefer, "leg"))
		cseq := callee.ask("REFER", "Refer-To: <sip:1003@acme.test>\r\nX-Sipio-Call: forged\r\nX-Sipio-Dial: agent/forged\r\n"+sub)
		m := callee.final(callee.callID, cseq)
		want := ""
		if strings.Contains(sub, "false") {
			want = "false"
		}
		if m.Code != 202 || m.Header("Refer-Sub") != want || m.Header("Contact") != "<"+callee.target+">" {
			t.Errorf("%q is answered\n%s", sub, m.raw)
		}
		q := only(t, s.door.asked(api.PathRefer, "leg")[before:])
		sameValues(t, q, map[string]string{"side": api.ReferCallee, "call": "Parent1", "dial": "ring_group/rg=1", "aor": "sip:" + second.user + "@acme.test",
			"account_id": "acme", "token": "Tok42", "refer_to": "sip:1003@acme.test"})
		sameFields(t, q, api.ReferRequest{}, "sender") // that is said of two phones
	}
	media.quiet()
	hangUp(t, from, callee)
}

// Whose device has answered is known whichever of a step it is, and in whichever step.
func saysWhoseDeviceHasAnswered(t *testing.T, s *site, media *set) {
	one, two, three := registered(t, s, "udp", user("b")), registered(t, s, "udp", user("b")), registered(t, s, "udp", user("b"))
	again := newSet(t, s, "udp", one.user) // a second phone of the same device
	again.register(registration{})
	s.door.onRefer("leg", says(api.ReferReply{Action: api.ActionDone}))
	first := to(1, one.user)
	first.Busy = 2
	for _, answers := range []*set{one, again, two, three} {
		media.user = user("from")
		s.door.obey(media.user, ring(first, to(1, two.user), to(2, three.user)))
		call := media.newCall("leg")
		call.more = "X-Sipio-Call: Parent1\r\nX-Sipio-Account: acme\r\nX-Sipio-Dial: extension/e1\r\n"
		call.open()
		var callee *leg
		for _, p := range []*set{one, again, two} {
			if p != answers {
				p.reject(p.request("INVITE"), 486)
			}
		}
		callee = answers.answer(answers.request("INVITE"), "")
		from := call.up()
		answers.request("ACK")
		before := len(s.door.asked(api.PathRefer, "leg"))
		if m := callee.asks("REFER", "Refer-To: <sip:1003@acme.test>\r\n"); m.Code != 202 {
			t.Errorf("%s: %s", answers.user, m.StartLine)
		}
		sameValues(t, only(t, s.door.asked(api.PathRefer, "leg")[before:]), map[string]string{"aor": "sip:" + answers.user + "@acme.test", "dial": "extension/e1"})
		hangUp(t, from, callee)
	}
}

// What the brain does not do is refused as it says, also a word that is only for two phones; the media server hears nothing, and
// the talk goes on.
func isTurnedAway(t *testing.T, s *site, media *set) {
	_, _, from, callee, _ := ringsTwo(t, s, media)
	no := func(code int) http.HandlerFunc {
		return says(api.ReferReply{Action: api.ActionReject, Refusal: api.Refusal{SIPCode: code, Reason: "No", RetryAfterSec: 2 * (code % 100 / 3), Why: "a secret"}})
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   int
	}{
		"declined": {no(603), 603}, "cannot say": {no(503), 503}, "no brain": {saysBody(502, ""), 503},
		"passes": {says(api.ReferReply{Action: api.ActionAccept}), 503}, "nonsense": {saysBody(200, "[]"), 503},
	} {
		s.door.onRefer("leg", c.answer)
		if m := callee.asks("REFER", "Refer-To: <sip:x@acme.test>\r\n"); m.Code != c.code || strings.Contains(m.raw, "secret") {
			t.Errorf("%s: want %d\n%s", name, c.code, m.raw)
		}
	}
	if m := callee.asks("REFER", ""); m.Code != 603 {
		t.Errorf("without Refer-To: %s", m.StartLine)
	}
	media.quiet()
	hangUp(t, from, callee)
}

// Nobody else passes for the phone that has answered: the one that has rung beside it and knows the signed route, who has no tag or
// the media server's. Nor does the media server send a REFER.
func isForWhoHasAnswered(t *testing.T, s *site, media *set) {
	first, _, from, callee, lost := ringsTwo(t, s, media)
	s.door.onRefer("leg", says(api.ReferReply{Action: api.ActionDone}))
	before := len(s.door.asked(api.PathRefer, "leg"))
	own := callee.from[:strings.Index(callee.from, "tag=")]
	for name, tag := range map[string]string{"its own tag": own + "tag=rang-too", "no tag": strings.TrimSuffix(own, ";"), "the media server's tag": callee.to} {
		l := leg{set: first, callID: callee.callID, from: tag, to: callee.to, target: callee.target, routes: recordRoutes(lost), cseq: 100}
		if m := l.asks("REFER", "Refer-To: <sip:1003@acme.test>\r\n"); m.Code != 603 && m.Code != 481 {
			t.Errorf("the other phone with %s: %s", name, m.StartLine)
		}
	}
	if m := from.asks("REFER", "Refer-To: <sip:1003@acme.test>\r\n"); m.Code != 603 {
		t.Errorf("the media server: %s", m.StartLine)
	}
	for _, asked := range slices.Concat(s.door.asked(api.PathRefer, "leg")[before:], s.door.asked(api.PathRefer, media.user)) {
		t.Errorf("asked: %s", asked.body)
	}
	media.quiet()
	hangUp(t, from, callee)
}

// Two phones answer a leg at once: the transfer key is that of the first, under his own name, and not of the second.
func isForTheFirst(t *testing.T, s *site, media *set) {
	first, second := registered(t, s, "udp", user("b")), registered(t, s, "udp", user("b"))
	media.user = user("from")
	s.door.onRefer("leg", says(api.ReferReply{Action: api.ActionDone}))
	s.door.obey(media.user, ring(to(1, first.user), to(1, second.user)))
	call := media.newCall("leg")
	call.more = "X-Sipio-Call: Parent1\r\nX-Sipio-Account: acme\r\nX-Sipio-Dial: ring_group/rg=1\r\n"
	call.open()
	late := second.request("INVITE")
	callee := first.answer(first.request("INVITE"), "")
	from := call.up()
	first.request("ACK")
	loser := second.answer(late, "")
	media.expect("the second answer", func(m *message) bool { return m.Code == 200 && strings.Contains(m.Header("To"), "t-"+second.user) })
	before := len(s.door.asked(api.PathRefer, "leg"))
	if m := loser.asks("REFER", "Refer-To: <sip:1003@acme.test>\r\n"); m.Code != 603 && m.Code != 481 {
		t.Errorf("the second to answer: %s", m.StartLine)
	}
	if m := callee.asks("REFER", "Refer-To: <sip:1003@acme.test>\r\n"); m.Code != 202 {
		t.Errorf("the first to answer: %s", m.StartLine)
	}
	sameValues(t, only(t, s.door.asked(api.PathRefer, "leg")[before:]), map[string]string{"aor": "sip:" + first.user + "@acme.test"})
	hangUp(t, from, callee)
}

// The BYE by which the media server parts the two comes while the brain is still answering: the phone hears first that its transfer
// is accepted. A request that is sent again meanwhile is not asked about again.
func isAcceptedBeforeItsBYE(t *testing.T, s *site, media *set) {
	_, second, from, callee, _ := ringsTwo(t, s, media)
	asked, answer := make(chan struct{}, 4), make(chan struct{})
	s.door.onRefer("leg", func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		says(api.ReferReply{Action: api.ActionDone})(w, r)
	})
	cseq := callee.ask("REFER", "Refer-To: <sip:1003@acme.test>\r\n")
	<-asked
	bye := from.ask("BYE", "")
	second.quiet()
	close(answer)
	if m := second.expect("the answer or the BYE", func(m *message) bool {
		_, method := m.cseq()
		return method == "BYE" || method == "REFER"
	}); m.Code != 202 {
		t.Errorf("first comes %s", m.StartLine)
	} else if got := m.Header("CSeq"); got != cseq {
		t.Errorf("CSeq %s, want %s", got, cseq)
	}
	second.reply(second.request("BYE"), 200, "OK")
	if m := from.final(from.callID, bye); m.Code != 200 {
		t.Errorf("BYE: %s", m.StartLine)
	}
	if len(asked) != 0 {
		t.Error("asked again")
	}
}

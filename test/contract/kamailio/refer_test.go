package kamailio

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// onRefer says how the questions about REFERs of one user are answered.
func (d *door) onRefer(user string, answer http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refer[user] = answer
}

// A REFER between two phones is asked about and passes from both sides as it is, once however often it is sent; so do its
// answer and the NOTIFYs that tell of the progress, the other way. It leaves without anything that only the platform says.
func TestRefer_PassesBetweenTwoPhones(t *testing.T) {
	t.Parallel()
	a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "tcp", user("b"))
	caller, callee, _ := connect(t, shared, a, b)
	const target = "sip:1003@acme.test?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2"
	for _, ends := range [][2]*leg{{caller, callee}, {callee, caller}} {
		from, other := ends[0], ends[1]
		cseq := from.ask("REFER", "Refer-To: <"+target+">\r\nReferred-By: <sip:x@acme.test>\r\nP-Asserted-Identity: <sip:boss@acme.test>\r\n")
		m := other.request("REFER")
		if m.Header("Refer-To") != "<"+target+">" || m.Header("Referred-By") != "<sip:x@acme.test>" || m.Header("P-Asserted-Identity") != "" {
			t.Errorf("the REFER arrives as\n%s", m.raw)
		}
		other.reply(m, 202, "Accepted")
		if m := from.final(from.callID, cseq); m.Code != 202 {
			t.Errorf("REFER: %s", m.StartLine)
		}
		asked := shared.door.asked(api.PathRefer, from.user)
		if len(asked) == 0 {
			t.Fatal("the door was not asked")
		}
		form := asked[len(asked)-1].form
		for name, want := range map[string]string{"account_id": "acme", "token": "Tok42", "refer_to": target, "call_id": from.callID, "method": "REFER"} {
			if form.Get(name) != want {
				t.Errorf("asked with %s=%q, want %q", name, form.Get(name), want)
			}
		}
		cseq = other.ask("NOTIFY", "Event: refer\r\nSubscription-State: terminated\r\nContent-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK")
		notify := from.request("NOTIFY")
		if string(notify.Body) != "SIP/2.0 200 OK" {
			t.Errorf("the NOTIFY says %q", notify.Body)
		}
		from.reply(notify, 200, "OK")
		if m := other.final(other.callID, cseq); m.Code != 200 {
			t.Errorf("NOTIFY: %s", m.StartLine)
		}
	}
	hangUp(t, caller, callee)
}

// What was asked about is what the other phone gets: one Refer-To and nothing beside it, however often, in whatever form
// and with whatever around it the phone wrote it; what Kamailio cannot read is declined.
func TestRefer_OnlyWhatWasAskedAboutPasses(t *testing.T) {
	t.Parallel()
	a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "udp", user("b"))
	caller, callee, _ := connect(t, shared, a, b)
	const uri, good, evil = "sip:1003@acme.test", "<sip:1003@acme.test>", "<sip:+1900@evil.test>"
	for _, row := range []struct{ headers, asked string }{
		{"Refer-To: " + good + "\r\nr: " + evil, uri}, {"r: " + good + "\r\nRefer-To: " + evil, uri}, {"r: " + good, uri}, {"Refer-To : " + good + "\r\nr:" + evil, uri},
		{"refer-to: " + good + "\r\nREFER-TO: " + evil + "\r\nR : " + evil + "\r\nRefer-To: tel:+1900", uri}, {"Refer-To:\r\n " + good + "\r\nr:\r\n\t" + evil, uri},
		{"Refer-To: Carol " + good, uri}, {`Refer-To: "` + evil + `, \"" ` + good, uri}, {"Refer-To: " + good + ";maddr=evil.test;method=BYE", uri},
		{"Refer-To: " + uri, uri}, {"Refer-To: " + uri + ";maddr=evil.test", uri}, {"Refer-To: " + uri + "?X=1", uri + "?X=1"}, {"Refer-To: <" + uri + ";maddr=x>", uri + ";maddr=x"},
		{"Refer-To: " + uri + ", " + evil, "sip:+1900@evil.test"},
		{"Refer-To: " + good + ", " + evil, ""}, {"Refer-To: " + good + ",\r\n " + evil, ""}, {"Refer-To: " + good + " " + evil, ""}, {"Refer-To: \r\nr: " + good, ""}, {"Refer-To: <sip:x@y\r\nr: " + good, ""},
	} {
		before := len(shared.door.asked(api.PathRefer, a.user))
		if row.asked == "" {
			if m := caller.asks("REFER", row.headers+"\r\n"); m.Code != 603 {
				t.Errorf("%q: %s", row.headers, m.StartLine)
			}
			callee.quiet()
			continue
		}
		cseq := caller.ask("REFER", row.headers+"\r\n")
		m := callee.request("REFER")
		asked := shared.door.asked(api.PathRefer, a.user)[before:]
		if len(asked) != 1 || asked[0].form.Get("refer_to") != row.asked {
			t.Errorf("%q: asked %+v", row.headers, asked)
		}
		if got := append(m.All("Refer-To"), m.All("r")...); !slices.Equal(got, []string{"<" + row.asked + ">"}) {
			t.Errorf("%q passes as %q", row.headers, got)
		}
		callee.reply(m, 202, "Accepted")
		caller.final(caller.callID, cseq)
	}
	hangUp(t, caller, callee)
}

// What the brain declines is declined, without an answer of a brain the phone is to try again; the other phone hears
// nothing, and the call goes on.
func TestRefer_IsTurnedAway(t *testing.T) {
	t.Parallel()
	a, b := registered(t, shared, "udp", user("a")), registered(t, shared, "udp", user("b"))
	caller, callee, _ := connect(t, shared, a, b)
	no := says(api.ReferReply{Action: api.ActionReject, Refusal: api.Refusal{SIPCode: 603, Reason: "Decline", Why: "a secret"}})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   int
	}{
		"declined": {no, 603}, "no brain": {saysBody(502, ""), 503}, "nonsense": {saysBody(200, "[]"), 503}, "another action": {saysBody(200, `{"action":"proxy"}`), 503},
	} {
		shared.door.onRefer(a.user, c.answer)
		m := caller.asks("REFER", "Refer-To: <sip:x@acme.test>\r\n")
		if m.Code != c.code || strings.Contains(m.raw, "secret") || (c.code == 503) != (m.Header("Retry-After") != "") {
			t.Errorf("%s: want %d\n%s", name, c.code, m.raw)
		}
	}
	if m := caller.asks("REFER", ""); m.Code < 400 || m.Code == 503 {
		t.Errorf("without Refer-To: %s", m.StartLine)
	}
	callee.quiet()
	hangUp(t, caller, callee)
}

// A phone that was sent to another says by whom and which call it takes over; a trunk does not, whatever form it writes,
// nor does the media server hear of a call to be taken over or joined. Nobody vouches for himself (Identity).
func TestRefer_TheNewCallSaysWhatItReplaces(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	s.trunks(t, "1 127.0.0.9")
	media := newSetAt(t, s, "udp", "media", s.MediaSIP)
	b := registered(t, s, "udp", user("b"))
	const more = "Replaces: x@y;to-tag=1;from-tag=2\r\nReferred-By: <sip:1002@acme.test>\r\nb: <sip:1002@acme.test>\r\nB : <sip:1002@acme.test>\r\n" +
		"Join: x@y;to-tag=1;from-tag=2\r\nIdentity: x;info=<https://x>\r\ny: x;info=<https://x>\r\nY : x;info=<https://x>\r\n"
	check := func(what string, invite *message, calls, by bool) {
		t.Helper()
		for name, want := range map[string]bool{"Replaces": calls, "Join": calls, "Referred-By": by, "b": by, "Identity": false, "y": false} {
			if got := invite.Header(name) != ""; got != want {
				t.Errorf("%s: %s %v\n%s", what, name, got, invite.raw)
			}
		}
		hears := b
		if what == "to the media server" {
			hears = media
		}
		hears.reject(invite, 486)
	}
	a := newSet(t, s, "udp", user("caller"))
	s.door.obey(a.user, ring(to(1, b.user)))
	call := a.newCall(b.user)
	call.more = more
	call.dial()
	check("to a phone", b.request("INVITE"), true, true)
	c := newSet(t, s, "udp", user("caller"))
	s.door.obey(c.user, ring(answered(1)))
	call = c.newCall("400")
	call.more = more
	call.dial()
	check("to the media server", media.request("INVITE"), false, true)
	trunk := newSetAt(t, s, "udp", user("trunk"), addressOf("127.0.0.9"))
	s.door.obey(trunk.user, ring(to(1, b.user)))
	call = trunk.newCall(b.user)
	call.more = more
	trunk.send(call.write(1, ""))
	check("of a trunk", b.request("INVITE"), false, false)
}

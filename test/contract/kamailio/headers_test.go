package kamailio

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// stamped is a route with the caller's identity as the brain writes it.
func stamped(r api.Route) api.Route {
	r.Headers = &api.RouteHeaders{From: &api.NameAddr{Display: `"Bob \"Bobby\" O'Neil é"`, URI: "sip:1002@acme.test"},
		Extra: "P-Asserted-Identity: <sip:1002@acme.test>\r\nX-Sipio-Call: Tok42\r\n"}
	return r
}

// The called phone sees the From of the directive, quotes and all; the caller sees its own From in every reply and
// its own tag; and so do both in requests within the call, whoever sends them.
func TestHeaders_FromIsReplacedForTheCalledAndRestoredForTheCaller(t *testing.T) {
	t.Parallel()
	a, b := registered(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b"))
	shared.door.obey(a.user, ring(stamped(to(1, b.user))))
	call := a.newCall(b.user)
	call.from = `"The \"President\"" <sip:` + a.user + `@acme.test>`
	call.dial()
	invite := b.request("INVITE")
	stamp := `"Bob \"Bobby\" O'Neil é" <sip:1002@acme.test>;tag=` + call.fromTag
	sees := func(what, got, want string) {
		t.Helper()
		if plain(got) != plain(want) {
			t.Errorf("%s\n%s, want\n%s", what, got, want)
		}
	}
	sees("the called phone sees the caller as", invite.Header("From"), stamp)
	b.reply(invite, 180, "Ringing")
	own := call.from + ";tag=" + call.fromTag
	sees("the caller sees itself in 180 as", a.expect("180", func(m *message) bool { return m.Code == 180 }).Header("From"), own)
	callee := b.answer(invite, "")
	caller := call.up()
	sees("the caller sees itself in 200 as", caller.from, own)
	// Within the call the address is that of the directive; the name is what the phone writes.
	stamp, own = address(stamp), address(own)
	sees("ACK comes from", address(b.request("ACK").Header("From")), stamp)

	cseq := caller.ask("INFO", "")
	info := b.request("INFO")
	sees("the caller's INFO comes from", address(info.Header("From")), stamp)
	b.reply(info, 200, "OK")
	sees("its reply says", address(a.final(call.callID, cseq).Header("From")), own)

	cseq = callee.ask("INFO", "")
	info = a.request("INFO")
	sees("the callee's INFO goes to", address(info.Header("To")), own)
	a.reply(info, 200, "OK")
	sees("its reply says", address(b.final(call.callID, cseq).Header("To")), stamp)
	hangUp(t, callee, caller)
}

// address is a From or To without the display name.
func address(header string) string { return header[strings.LastIndex(header, "<"):] }

// plain takes the spaces out of a header that mean nothing.
func plain(header string) string { return strings.ReplaceAll(header, `" <`, `"<`) }

// headers.extra is in the INVITE once, in the first step, after a fail-over, and in each branch of a fork.
func TestHeaders_ExtraIsThereOnceAfterFailOver(t *testing.T) {
	t.Parallel()
	a := newSet(t, shared, "udp", user("caller"))
	first, second := registered(t, shared, "udp", user("1st")), registered(t, shared, "udp", user("2nd"))
	twin := registered(t, shared, "tcp", second.user)
	one, two, three := stamped(to(1, first.user)), stamped(to(3, second.user)), to(2, user("nobody"))
	one.Noanswer, three.Noanswer = 2, 3
	shared.door.obey(a.user, ring(one, stamped(three), two))
	call := a.newCall("x").dial()
	check := func(invite *message) {
		t.Helper()
		for name, want := range map[string]string{"P-Asserted-Identity": "<sip:1002@acme.test>", "X-Sipio-Call": "Tok42"} {
			if got := invite.All(name); !slices.Equal(got, []string{want}) {
				t.Errorf("%s is %q, want it once: %q", name, got, want)
			}
		}
		if got := invite.All("From"); len(got) != 1 || !strings.Contains(got[0], "Bobby") {
			t.Errorf("From is %q", got)
		}
	}
	invite := first.request("INVITE")
	check(invite)
	first.reject(invite, 480)
	for _, p := range []*set{second, twin} {
		invite := p.request("INVITE")
		check(invite)
		p.reject(invite, 480)
	}
	call.refused(480)
}

// What a phone may not say of itself does not reach the other, in the first INVITE and within the call; what is
// nobody's secret does. Credentials stay at the edge.
func TestHeaders_AssertionsOfPhonesAreRemoved(t *testing.T) {
	t.Parallel()
	a, b := registered(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b"))
	shared.door.obey(a.user, ring(to(1, b.user)))
	lies := "P-Asserted-Identity: <sip:boss@acme.test>\r\nP-Preferred-Identity: <sip:boss@acme.test>\r\nremote-party-id: <sip:boss@acme.test>\r\n" +
		"X-Sipio-Call: forged\r\nx-sipio-anything: forged\r\nP-Asserted-Identity: \"twice\" <tel:+1>\r\nSubject: hello\r\n"
	check := func(m *message) {
		t.Helper()
		for _, h := range m.Headers {
			name := strings.ToLower(h.Name)
			if strings.HasPrefix(name, "p-") || strings.HasPrefix(name, "x-sipio") || name == "remote-party-id" || name == "proxy-authorization" {
				t.Errorf("%s lets through %s: %s", m.StartLine, h.Name, h.Value)
			}
		}
		if m.Header("Subject") != "hello" {
			t.Errorf("%s lost its Subject", m.StartLine)
		}
	}
	call := a.newCall(b.user)
	call.more = lies + "Alert-Info: <http://198.51.100.1/auto>\r\nAnswer-Mode: Auto\r\nDiversion: <sip:boss@acme.test>\r\n" +
		"Authorization: Digest username=\"a\", realm=\"other\", nonce=\"n\", uri=\"sip:x\", response=\"r\"\r\n"
	call.dial()
	invite := b.request("INVITE")
	check(invite)
	for _, name := range []string{"Alert-Info", "Answer-Mode", "Diversion", "Authorization"} {
		if got := invite.All(name); len(got) != 0 {
			t.Errorf("INVITE lets through %s: %q", name, got)
		}
	}
	b.send(b.response(invite.RawMessage, 180, "Ringing", lies, ""))
	check(a.expect("180", func(m *message) bool { return m.Code == 180 }))
	callee := b.answer(invite, "")
	caller := call.up()
	cseq := callee.ask("INFO", lies)
	info := a.request("INFO")
	check(info)
	a.reply(info, 200, "OK")
	b.final(call.callID, cseq)
	hangUp(t, caller, callee)
}

// A phone that writes a Route of its own into an INVITE chooses nothing: the call goes where the directive says,
// and the route's host hears nothing.
func TestHeaders_RouteOfAPhoneIsIgnored(t *testing.T) {
	t.Parallel()
	a, b, elsewhere := newSet(t, shared, "udp", user("caller")), registered(t, shared, "udp", user("b")), newSet(t, shared, "udp", user("else"))
	shared.door.obey(a.user, ring(to(1, b.user)))
	for _, route := range []string{
		"Route: <sip:" + elsewhere.local + ";lr>\r\n",
		"Route: <sip:" + shared.SIP + ";lr>, <sip:" + elsewhere.local + ";lr>\r\n",
		"Route: <sip:" + shared.SIP + ";lr>\r\nRoute: <sip:" + elsewhere.local + ";lr>\r\n",
		"Route: <sip:" + elsewhere.local + ">\r\n",
	} {
		call := a.newCall(b.user)
		call.more = route
		call.dial()
		invite := b.request("INVITE")
		if got := invite.All("Route"); len(got) != 0 {
			t.Errorf("the called phone gets Route %q", got)
		}
		b.reject(invite, 486)
		call.refused(486)
		elsewhere.quiet()
	}
}

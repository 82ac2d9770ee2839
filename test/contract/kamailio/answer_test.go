package kamailio

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// answered is a route that the platform answers.
func answered(step int) api.Route {
	return api.Route{Step: step, App: "flow/flow_1", Vars: "YT0xJmI9JTI2eA", FrInvTimer: 15000}
}

// answeringSite is a site of one test's own, with the media server that its calls go to: only one can have its port.
func answeringSite(t *testing.T) (*site, *set) {
	t.Helper()
	s := startSite(t, edge.Options{Children: 4}, nil)
	return s, newSetAt(t, s, "udp", "media", s.MediaSIP)
}

// forged are headers by which a phone would pass for the platform.
const forged = "X-Sipio-Call: forged\r\nX-Sipio-Account: forged\r\nX-Sipio-App: conference/forged\r\nx-sipio-vars: forged\r\nX-SIPIO-DIAL: user/forged\r\n"

// about fails unless a request is about the call that answered and ring describe, and has nothing of a phone's making.
func about(t *testing.T, m *message) {
	t.Helper()
	for name, want := range map[string]string{api.HeaderCall: "Tok42", api.HeaderAccount: "acme", api.HeaderApp: "flow/flow_1", api.HeaderVars: "YT0xJmI9JTI2eA"} {
		if got := m.All(name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want it once: %q", name, got, want)
		}
	}
	if got := m.All(api.HeaderDial); len(got) != 0 || strings.Contains(m.raw, "forged") {
		t.Errorf("the media server hears what a phone made up:\n%s", m.raw)
	}
}

// A call that the platform answers goes to the media server, under a URI of its own, with the four headers once and
// none of the phone's, and with SDP that leads to the relay; so does its answer. Requests within the call pass both
// ways, without the platform's headers, and a re-INVITE's SDP through the relay too.
func TestAnswer_CallGoesToTheMediaServer(t *testing.T) {
	t.Parallel()
	s, media := answeringSite(t)
	a := registered(t, s, "udp", user("caller"))
	s.door.obey(a.user, ring(answered(1)))
	call := a.newCall("400")
	call.body, call.more = sdp(40000), forged
	call.dial()
	invite := media.request("INVITE")
	about(t, invite)
	if want := "INVITE sip:call@" + s.MediaSIP + " SIP/2.0"; invite.StartLine != want {
		t.Errorf("%s, want %s", invite.StartLine, want)
	}
	relayed(t, s, invite)
	callee := media.answer(invite, sdp(40002))
	ok := a.expect("200", func(m *message) bool { return m.Code == 200 && m.Header("CSeq") == "2 INVITE" })
	relayed(t, s, ok)
	a.mu.Lock()
	a.inbox = append(a.inbox, ok)
	a.mu.Unlock()
	caller := call.up()
	media.request("ACK")
	for _, ends := range [][2]*leg{{caller, callee}, {callee, caller}} {
		from, other := ends[0], ends[1]
		cseq := from.ask("INFO", forged+"Content-Type: application/dtmf-relay\r\n\r\nSignal=5")
		info := other.request("INFO")
		if string(info.Body) != "Signal=5" || strings.Contains(info.raw, "forged") {
			t.Errorf("INFO arrives as\n%s", info.raw)
		}
		other.reply(info, 200, "OK")
		from.final(from.callID, cseq)
		again := from.ask("INVITE", "Content-Type: application/sdp\r\n\r\n"+sdp(40004))
		m := other.request("INVITE")
		relayed(t, s, m)
		other.send(other.response(m.RawMessage, 200, "OK", "Content-Type: application/sdp\r\n", sdp(40006)))
		relayed(t, s, from.final(from.callID, again))
		from.send(from.write("ACK", from.cseq, ""))
		other.request("ACK")
	}
	hangUp(t, callee, caller)
	media.quiet()
}

// The platform answers after ringing too: by the exit of no answer and by that of busy. The caller hears nothing of
// the refusal, and the headers are there once; he may give up before the media server answers.
func TestAnswer_AfterRinging(t *testing.T) {
	t.Parallel()
	s, media := answeringSite(t)
	b := registered(t, s, "udp", user("b"))
	one := stamped(to(1, b.user))
	one.Headers.Extra = ""
	one.Noanswer, one.Busy = 2, 3
	last := answered(3)
	last.Headers = one.Headers
	for code, routes := range map[int][]api.Route{480: {one, answered(2)}, 486: {one, to(2, "nobody"), last}} {
		a := newSet(t, s, "udp", user("caller"))
		s.door.obey(a.user, ring(routes...))
		call := a.newCall(b.user)
		call.body, call.more = sdp(40000), forged
		call.dial()
		b.reject(b.request("INVITE"), code)
		invite := media.request("INVITE")
		about(t, invite)
		relayed(t, s, invite)
		if !strings.Contains(invite.Header("From"), "Bobby") {
			t.Errorf("after %d the media server sees %s", code, invite.Header("From"))
		}
		callee := media.answer(invite, "")
		hangUp(t, call.up(), callee)

		again := a.newCall(b.user).dial()
		b.reject(b.request("INVITE"), code)
		invite = media.request("INVITE")
		media.reply(invite, 180, "Ringing")
		a.expect("180", func(m *message) bool { return m.Code == 180 })
		again.cancel()
		media.reply(media.request("CANCEL"), 200, "OK")
		media.reject(invite, 487)
		again.refused(487)
	}
}

// What the caller is told when the media server refuses: its code as it stands, but a failure of its own (5xx, 408)
// is 503 with Retry-After; and the brain is told the same. Nothing else rings.
func TestAnswer_RefusalTellsTheCaller(t *testing.T) {
	t.Parallel()
	s, media := answeringSite(t)
	for _, c := range [][2]int{{486, 486}, {404, 404}, {480, 480}, {603, 603}, {600, 600}, {403, 403}, {410, 410}, {433, 433}, {488, 488},
		{408, 503}, {500, 503}, {502, 503}, {503, 503}, {504, 503}} {
		a := newSet(t, s, "udp", user("caller"))
		s.door.obey(a.user, ring(answered(1)))
		call := a.newCall("400").dial()
		media.reject(media.request("INVITE"), c[0])
		m := call.refused(c[1])
		if (c[1] == 503) != (m.Header("Retry-After") != "") || len(m.All("Retry-After")) > 1 {
			t.Errorf("%d: %s with Retry-After %q", c[0], m.StartLine, m.All("Retry-After"))
		}
		if e := s.door.expectEvent(t, api.EventDialogFailed, "call_id", call.callID); e.Get("sip_code") != fmt.Sprint(c[1]) {
			t.Errorf("%d: dialog.failed says %v", c[0], e)
		}
		a.quiet()
	}
}

// A media server that is away is 503 with Retry-After after SILENT_MS, as the first step and after ringing; so is one
// that rings and never answers, after the step's time.
func TestAnswer_MediaServerAwayIs503(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil) // nobody has the media server's port
	b := registered(t, s, "udp", user("b"))
	first := to(1, b.user)
	first.Noanswer = 2
	for name, routes := range map[string][]api.Route{"first": {answered(1)}, "after ringing": {first, answered(2)}} {
		a := newSet(t, s, "udp", user("caller"))
		s.door.obey(a.user, ring(routes...))
		call := a.newCall("400").dial()
		began := time.Now()
		if len(routes) > 1 {
			b.reject(b.request("INVITE"), 480)
			began = time.Now()
		}
		m := call.refused(503)
		if took := m.at.Sub(began); m.Header("Retry-After") == "" || took > silentMS*time.Millisecond+2*time.Second {
			t.Errorf("%s: %s with Retry-After %q after %v", name, m.StartLine, m.Header("Retry-After"), took)
		}
	}
	media := newSetAt(t, s, "udp", "media", s.MediaSIP)
	a := newSet(t, s, "udp", user("caller"))
	slow := answered(1)
	slow.FrInvTimer = 1000
	s.door.obey(a.user, ring(slow))
	call := a.newCall("400").dial()
	invite := media.request("INVITE")
	media.reply(invite, 180, "Ringing")
	media.reply(media.request("CANCEL"), 200, "OK")
	media.reject(invite, 487)
	if m := call.refused(503); m.Header("Retry-After") == "" {
		t.Errorf("%s without Retry-After", m.StartLine)
	}
}

// An INVITE from the media server's address is not challenged: the question says so, with the account and whom the
// leg is for. The phone rings without any of the platform's headers, and requests pass both ways.
func TestLeg_IsAskedForAndRingsAPhone(t *testing.T) {
	t.Parallel()
	s, media := answeringSite(t)
	b := registered(t, s, "udp", user("b"))
	media.user = user("from")
	s.door.obey(media.user, ring(to(1, b.user)))
	call := media.newCall("leg")
	call.body = sdp(40000)
	call.more = "X-Sipio-Call: Parent1\r\nX-Sipio-Account: acc & 1\r\nX-Sipio-Dial: ring_group/rg=1\r\nX-Sipio-Caller: us&1\r\nX-Sipio-Called: 4930100\r\nX-Sipio-Sent-On: 2\r\nX-Sipio-App: x\r\nX-Sipio-Vars: y\r\nP-Asserted-Identity: <sip:boss@acme.test>\r\n"
	call.open()
	invite := b.request("INVITE")
	q := only(t, s.door.asked(api.PathRoute, media.user))
	sameFields(t, q, api.RouteRequest{}, notOfLegs...)
	sameValues(t, q, map[string]string{"peer": "media", "account_id": "acc & 1", "dial": "ring_group/rg=1", "caller_user_id": "us&1", "called": "4930100", "diverted": "2", "auth_username": "", "source_ip": "127.0.0.1", "ruri_user": "leg"})
	if lower := strings.ToLower(invite.raw); strings.Contains(lower, "x-sipio") || strings.Contains(lower, "boss") {
		t.Errorf("the phone hears what is not for it:\n%s", invite.raw)
	}
	relayed(t, s, invite)
	callee := b.answer(invite, sdp(40002))
	caller := call.up()
	b.request("ACK")
	for _, ends := range [][2]*leg{{caller, callee}, {callee, caller}} {
		cseq := ends[0].ask("INFO", forged+"Content-Type: text/plain\r\n\r\nhello")
		info := ends[1].request("INFO")
		if string(info.Body) != "hello" || strings.Contains(info.raw, "forged") {
			t.Errorf("INFO arrives as\n%s", info.raw)
		}
		ends[1].reply(info, 200, "OK")
		ends[0].final(call.callID, cseq)
	}
	hangUp(t, callee, caller)

	// Refused by the brain: the media server gets the code.
	media.user = user("refused")
	s.door.obey(media.user, reject(404, "Not Found", 0))
	media.newCall("leg").open().refused(404)
	// Busy: 486 reaches it as it stands.
	media.user = user("busy")
	s.door.obey(media.user, ring(to(1, b.user)))
	busy := media.newCall("leg").open()
	b.reject(b.request("INVITE"), 486)
	busy.refused(486)
}

// Nobody else passes for the media server: another port of its address, its address over TCP, and a phone with its
// headers are challenged; what they are asked about says nothing of a leg, and no header of theirs reaches a phone.
func TestLeg_OnlyTheMediaServerMakesOne(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "tcp", "tls"} {
		a, b := newSet(t, shared, transport, user("caller")), registered(t, shared, "udp", user("b"))
		shared.door.obey(a.user, ring(to(1, b.user)))
		call := a.newCall(b.user)
		call.more = forged
		call.dial() // fails unless there is a challenge
		invite := b.request("INVITE")
		if strings.Contains(invite.raw, "forged") {
			t.Errorf("%s: the phone hears\n%s", transport, invite.raw)
		}
		b.reject(invite, 486)
		call.refused(486)
		q := only(t, shared.door.asked(api.PathRoute, a.user))
		sameFields(t, q, api.RouteRequest{}, notOfPhones...)
		if strings.Contains(q.body, "forged") {
			t.Errorf("%s: the question is %s", transport, q.body)
		}
	}
}

// open sends the INVITE without credentials and waits for nothing.
func (c *outgoing) open() *outgoing {
	c.t.Helper()
	c.invite = c.write(2, "")
	c.send(c.invite)
	return c
}

// unchallenged tells whether an INVITE of p gets past the challenge.
func unchallenged(p *set) bool {
	p.t.Helper()
	p.site.door.obey(p.user, reject(404, "Not Found", 0))
	code := p.newCall("4930100").open().result().Code
	if code != 404 && code != 407 {
		p.t.Errorf("INVITE from %s: %d", p.local, code)
	}
	return code == 404
}

// addressOf is a free port of an address of this machine.
func addressOf(ip string) string { return net.JoinHostPort(ip, "0") }

package kamailio

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// claims are headers by which a phone or a trunk would say who it is or who pays; forged in each.
const claims = "P-Charge-Info: <sip:forged@ta.test>\r\nP-Asserted-Service: forged\r\np-charging-vector: icid-value=forged\r\nP-Served-User: <sip:forged@x>\r\n" +
	"CHARGE: <sip:forged@x>\r\nP-K-CSeq-Auth: 99\r\nP-Preferred-Identity: <sip:forged@x>\r\nRemote-Party-ID: <sip:forged@x>\r\nX-Sipio-Call: forged\r\n"

// traits are what a phone says of itself.
const traits = "User-Agent: own-phone 1.2\r\nSubject: own\r\ns: own\r\nOrganization: own\r\nServer: own-phone\r\n"

// clear fails when a message shows a claim, or, with hidden, a trait; about media everybody may speak, though not in a BYE,
// which passes with what it needs.
func clear(t *testing.T, m *message, hidden bool, stamped ...string) {
	t.Helper()
	for _, h := range m.Headers {
		if name := strings.ToLower(h.Name); strings.HasPrefix(name, "p-") && name != "p-early-media" && !slices.Contains(stamped, h.Name) {
			t.Errorf("%s shows %s: %s", m.StartLine, h.Name, h.Value)
		}
	}
	if strings.Contains(m.raw, "forged") || strings.Contains(m.raw, "own") == hidden || m.Header("P-Early-Media") == "" && m.Method != "BYE" {
		t.Errorf("traits hidden: want %v\n%s", hidden, m.raw)
	}
}

// Nobody's claims pass, in the INVITE, within the call, and in answers, either way; what the platform writes does. A trunk never hears
// what a phone says of itself, whether it is called or calls; a phone hears what a trunk says.
func TestOutHide_ClaimsAndTraits(t *testing.T) {
	t.Parallel()
	const more = claims + traits + "P-Early-Media: supported\r\n"
	exchange := func(t *testing.T, from, to *leg, method string, toTrunk bool) {
		t.Helper()
		cseq := from.ask(method, more)
		m := to.request(method)
		clear(t, m, toTrunk)
		to.send(to.response(m.RawMessage, 200, "OK", more, ""))
		clear(t, from.final(from.callID, cseq), !toTrunk)
	}
	within := func(t *testing.T, phone, trunk *leg) {
		t.Helper()
		for _, method := range []string{"INFO", "UPDATE", "BYE"} {
			if method != "BYE" {
				exchange(t, trunk, phone, method, false)
			}
			exchange(t, phone, trunk, method, true)
		}
	}
	t.Run("trunk is called", func(t *testing.T) {
		t.Parallel()
		a, trunk := newSet(t, shared, "udp", user("caller")), newSet(t, shared, "udp", "ta")
		r := over(trunk, "ta")
		r.Trunk.Headers += "P-Charge-Info: <sip:mine@ta.test>\r\n"
		shared.door.plan(a.user, outward(r))
		call := a.newCall("+4930123")
		call.more = more + "Replaces: x@y;to-tag=1;from-tag=2\r\nJoin: x\r\nReferred-By: <sip:own@x>\r\nb: <sip:own@x>\r\n"
		call.dial()
		invite := trunk.request("INVITE")
		clear(t, invite, true, "P-Asserted-Identity", "P-Charge-Info")
		shown(t, invite, "ta", "P-Charge-Info", "P-Early-Media")
		if got := invite.All("P-Charge-Info"); len(got) != 1 || invite.Header("Replaces")+invite.Header("Join") != "" {
			t.Errorf("the trunk gets\n%s", invite.raw)
		}
		trunk.send(trunk.response(invite.RawMessage, 180, "Ringing", more, ""))
		clear(t, a.expect("180", func(m *message) bool { return m.Code == 180 }), false)
		callee := trunk.answer(invite, "")
		caller := call.up()
		trunk.request("ACK")
		within(t, caller, callee)
	})
	for _, how := range []string{"address", "digest"} {
		t.Run("trunk calls, known by "+how, func(t *testing.T) {
			t.Parallel()
			s := startSite(t, edge.Options{Children: 4}, nil)
			s.trunks(t, "1 127.0.0.9")
			b, trunk := registered(t, s, "udp", user("b")), newSet(t, s, "udp", user("trunk"))
			if how == "address" {
				trunk = newSetAt(t, s, "udp", user("trunk"), addressOf("127.0.0.9"))
			}
			s.door.obey(trunk.user, inward(b))
			call := trunk.newCall("+4930100")
			call.more = more
			if how == "address" {
				call.open()
			} else {
				call.dial()
			}
			invite := b.request("INVITE")
			clear(t, invite, false)
			b.send(b.response(invite.RawMessage, 180, "Ringing", more, ""))
			clear(t, trunk.expect("180", func(m *message) bool { return m.Code == 180 }), true)
			callee := b.answer(invite, "")
			caller := call.up()
			b.request("ACK")
			within(t, callee, caller)
		})
	}
}

// inward is the directive for a trunk's call to b's phones.
func inward(b *set) api.Directive {
	d := ring(to(1, b.user))
	d.Call.Direction, d.Call.Trunk, d.Call.Caller = "in", "ta", api.CallerTrunk
	return d
}

// A caller who is challenged may be a trunk as well as a phone: what it brings along is asked with the digest, when there is some. What
// the brain takes for a trunk's call takes over no other.
func TestOutHide_DigestCallIsAskedForWithItsPast(t *testing.T) {
	t.Parallel()
	trunk, b := newSet(t, shared, "udp", user("trunk")), registered(t, shared, "udp", user("b"))
	shared.door.obey(trunk.user, inward(b))
	call := trunk.newCall("+4930100")
	call.more = "P-Asserted-Identity: <sip:+4940777@carrier.test>\r\nP-Called-Party-ID: \"Main, line\" <sip:+4930100@b.test;user=phone>;x=y\r\nIdentity: ab.cd.ef\r\nDiversion: <sip:1@a.test>\r\nHistory-Info: <sip:1@a.test>;index=1\r\n" +
		"Replaces: x@y;to-tag=1;from-tag=2\r\nJoin: x\r\nReferred-By: <sip:1@x>\r\nb: <sip:1@x>\r\n"
	call.dial()
	invite := b.request("INVITE")
	for _, name := range []string{"Identity", "Diversion", "History-Info", "Replaces", "Join", "Referred-By", "b", "P-Asserted-Identity", "P-Called-Party-ID"} {
		if got := invite.All(name); len(got) != 0 {
			t.Errorf("the phone gets %s %q", name, got)
		}
	}
	q := only(t, shared.door.asked(api.PathRoute, trunk.user))
	sameFields(t, q, api.RouteRequest{}, append([]string{"peer"}, notOfTrunks...)...)
	sameValues(t, q, map[string]string{"asserted": "+4940777", "called_party": "+4930100", "identity": "ab.cd.ef", "diversion": "<sip:1@a.test>", "diverted": "2"})
	b.reject(invite, 486)
	call.refused(486)
}

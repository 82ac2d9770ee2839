package kamailio

import (
	"strings"
	"testing"
)

// RFC 5626 over TCP and TLS: REGISTER with instance and reg-id is answered with Require: outbound and Flow-Timer, and a
// call goes down that connection, though the contact names an address where nobody listens; so does BYE.
func TestOutbound_CallGoesDownTheRegisteredFlow(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			a, b := registered(t, shared, "udp", user("a")), newSet(t, shared, transport, user("flow"))
			m := b.register(registration{more: "Supported: outbound, path\r\n",
				contact: `<sip:` + b.user + `@192.0.2.9:5060;transport=` + transport + `;ob>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-` + "AABBCCDDEEFF" + `>";reg-id=1`})
			if m.Code != 200 || !strings.Contains(m.Header("Require"), "outbound") || m.Header("Flow-Timer") == "" {
				t.Fatalf("%s with Require %q and Flow-Timer %q", m.StartLine, m.Header("Require"), m.Header("Flow-Timer"))
			}
			caller, callee, _ := connect(t, shared, a, b)
			hangUp(t, caller, callee)
		})
	}
}

// The same instance registers again over a new connection (its router forgot the old one): the new flow replaces the
// old one, and a call rings once, on the new connection.
func TestOutbound_NewFlowOfAnInstanceReplacesTheOld(t *testing.T) {
	t.Parallel()
	a, old := newSet(t, shared, "udp", user("a")), newSet(t, shared, "tcp", user("flow"))
	fresh := newSet(t, shared, "tcp", old.user)
	for _, p := range []*set{old, fresh} {
		m := p.register(registration{more: "Supported: outbound, path\r\n", callID: id("reg"),
			contact: `<` + p.contact() + `;ob>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000000000002>";reg-id=1`})
		if m.Code != 200 {
			t.Fatal(m.StartLine)
		}
	}
	shared.door.obey(a.user, ring(to(1, old.user)))
	call := a.newCall(old.user).dial()
	fresh.reject(fresh.request("INVITE"), 486)
	call.refused(486)
	old.quiet()
}

// A phone that writes a Path header into its REGISTER: the path is not kept. It gets no Path back, and a call goes
// straight to the contact; the host of the path hears nothing.
func TestOutbound_PathOfAPhoneIsIgnored(t *testing.T) {
	t.Parallel()
	a, b, proxy := newSet(t, shared, "udp", user("a")), newSet(t, shared, "udp", user("b")), newSet(t, shared, "udp", user("path"))
	m := b.register(registration{more: "Supported: path\r\nPath: <sip:" + proxy.local + ";lr>\r\n"})
	if m.Code != 200 || m.Header("Path") != "" {
		t.Fatalf("%s with Path %q", m.StartLine, m.Header("Path"))
	}
	shared.door.obey(a.user, ring(to(1, b.user)))
	call := a.newCall(b.user).dial()
	invite := b.request("INVITE")
	if routes := invite.All("Route"); len(routes) != 0 {
		t.Errorf("the INVITE has Route %q", routes)
	}
	b.reject(invite, 486)
	call.refused(486)
	proxy.quiet()
}

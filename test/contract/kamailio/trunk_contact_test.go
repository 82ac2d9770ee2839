package kamailio

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// covered is a Contact that names the edge alone.
var covered = regexp.MustCompile(`^<sip:anonymous@127\.0\.0\.1;cx=[0-9a-f]{24}[A-Za-z0-9+/]+-{0,2}>$`)

// isCovered fails unless a message has one Contact, which says nothing of the phone, and returns its URI.
func isCovered(t *testing.T, m *message) string {
	t.Helper()
	if all := m.All("Contact"); len(all) != 1 || !covered.MatchString(all[0]) || len(m.All("m")) != 0 {
		t.Errorf("%s has Contact %q, m %q", m.StartLine, all, m.All("m"))
	}
	return nameAddr(m.Header("Contact"))
}

// hidesAndIsFound has two legs say all that is said within a call, both ways: what l says shows nothing of where it is, and reaches it
// all the same.
func hidesAndIsFound(t *testing.T, l, other *leg) {
	t.Helper()
	home := l.contact()
	for _, method := range []string{"INVITE", "UPDATE", "INFO", "NOTIFY"} {
		cseq := l.ask(method, "")
		m := other.request(method)
		if uri := isCovered(t, m); uri != other.target {
			t.Errorf("%s changes the Contact to %s, it was %s", method, uri, other.target)
		}
		other.reply(m, 200, "OK")
		if ok := l.final(l.callID, cseq); nameAddr(ok.Header("Contact")) != other.contact() {
			t.Errorf("%s is answered with Contact %s", method, ok.Header("Contact"))
		}
		acknowledge(t, method, l, other)

		cseq = other.ask(method, "")
		m = l.request(method)
		if m.StartLine != method+" "+home+" SIP/2.0" {
			t.Errorf("the phone gets %q, its Contact is %s", m.StartLine, home)
		}
		if method == "INVITE" {
			l.reply(m, 180, "Ringing")
			isCovered(t, other.expect("180", func(m *message) bool { return m.Code == 180 && m.Header("CSeq") == cseq }))
		}
		l.reply(m, 200, "OK")
		if uri := isCovered(t, other.final(l.callID, cseq)); method != "INFO" && method != "NOTIFY" && uri != other.target {
			t.Errorf("the answer to %s changes the Contact to %s, it was %s", method, uri, other.target)
		}
		acknowledge(t, method, other, l)
	}
}

// acknowledge sends ACK for a re-INVITE that was taken.
func acknowledge(t *testing.T, method string, from, to *leg) {
	t.Helper()
	if method == "INVITE" {
		from.send(from.write("ACK", from.cseq, ""))
		to.request("ACK")
	}
}

// behindNAT has a phone say Contact of its home network, which leads nowhere from here.
func behindNAT(p *set) { p.away = "192.168.77.2:5062" }

// Contact of whoever talks over a trunk names this edge and nobody, whether he withholds his number or not, in all that he says; what
// the trunk sends there reaches him, over each transport and from behind a NAT, and its request line is his own Contact.
func TestContact_TrunkLearnsNothingOfThePhone(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "nat", "tcp", "tls", "wss"} {
		t.Run(transport+" calls", func(t *testing.T) {
			t.Parallel()
			a, trunk := contactSet(t, shared, transport, user("caller")), newSet(t, shared, "udp", "ta")
			shared.door.plan(a.user, outward(over(trunk, "ta")))
			call := a.newCall("+4930123").dial()
			invite := trunk.request("INVITE")
			isCovered(t, invite)
			callee := trunk.answer(invite, "")
			caller := call.up()
			trunk.request("ACK")
			hidesAndIsFound(t, caller, callee)
			hangUp(t, callee, caller)
		})
	}
}

// contactSet is a phone that is behind a NAT when the transport is nat; nothing is sent.
func contactSet(t *testing.T, s *site, transport, user string) *set {
	t.Helper()
	if transport != "nat" {
		return newSet(t, s, transport, user)
	}
	p := newSet(t, s, "udp", user)
	behindNAT(p)
	return p
}

// A phone that a trunk calls is hidden from it as well.
func TestContact_TrunkLearnsNothingOfThePhoneItCalls(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "nat", "wss"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			b, trunk := contactSet(t, shared, transport, user("b")), newSet(t, shared, "udp", user("trunk"))
			if m := b.register(registration{}); m.Code != 200 {
				t.Fatal(m.StartLine)
			}
			shared.door.obey(trunk.user, inward(b))
			call := trunk.newCall("+4930100").dial()
			callee := b.answer(b.request("INVITE"), "")
			caller := call.up()
			b.request("ACK")
			if !covered.MatchString("<" + caller.target + ">") {
				t.Errorf("the trunk sees Contact %s", caller.target)
			}
			hidesAndIsFound(t, callee, caller)
			hangUp(t, caller, callee)
		})
	}
}

// A phone is not told by Contact who calls when From does not tell. Another call's it sees as it stands.
func TestContact_PhoneLearnsNothingOfWhoWithholdsHisNumber(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"udp", "nat", "wss"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			a, b := contactSet(t, shared, transport, user("a")), registered(t, shared, "udp", user("b"))
			r := to(1, b.user)
			r.Headers = &api.RouteHeaders{From: &api.NameAddr{Display: `"Anonymous"`, URI: "sip:anonymous@anonymous.invalid"}}
			shared.door.obey(a.user, ring(r))
			caller, callee, invite := talk(a.newCall(b.user), b)
			isCovered(t, invite)
			hidesAndIsFound(t, caller, callee)
			hangUp(t, callee, caller)

			_, _, invite = connect(t, shared, a, b)
			if got := nameAddr(invite.Header("Contact")); !strings.HasPrefix(got, a.contact()) {
				t.Errorf("who withholds nothing has Contact %s", got)
			}
		})
	}
}

// Phones have rung before the trunk is called, and a trunk before another one: each trunk sees the covered Contact, the phone the caller's
// own.
func TestContact_EachAttemptIsCovered(t *testing.T) {
	t.Parallel()
	a, b := contactSet(t, shared, "nat", user("caller")), registered(t, shared, "udp", user("b"))
	first, second := newSet(t, shared, "udp", "ta"), newSet(t, shared, "udp", "tb")
	phones, out := to(1, b.user), over(first, "ta")
	phones.Noanswer, phones.Busy, out.Step = 2, 2, 2
	d := outward(phones)
	d.Routes = append(d.Routes, out)
	shared.door.plan(a.user, d, outward(over(second, "tb")))
	call := a.newCall("+4930123").dial()
	invite := b.request("INVITE")
	if got := nameAddr(invite.Header("Contact")); !strings.HasPrefix(got, a.contact()+";alias=127.0.0.1~") {
		t.Errorf("the phone sees Contact %s", got)
	}
	b.reject(invite, 486)
	invite = first.request("INVITE")
	isCovered(t, invite)
	first.reject(invite, 503)
	invite = second.request("INVITE")
	isCovered(t, invite)
	callee := second.answer(invite, "")
	caller := call.up()
	second.request("ACK")
	hidesAndIsFound(t, caller, callee)
	hangUp(t, callee, caller)
}

// What has been covered is opened in its call alone, and only as it was written; and still when Kamailio has been started anew.
func TestContact_OpensInItsCallAlone(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 2}, nil)
	a, trunk := contactSet(t, s, "nat", user("caller")), newSet(t, s, "udp", "ta")
	s.door.plan(a.user, outward(over(trunk, "ta")))
	up := func() (caller, callee *leg) {
		call := a.newCall("+4930123").dial()
		callee = trunk.answer(trunk.request("INVITE"), "")
		caller = call.up()
		trunk.request("ACK")
		return caller, callee
	}
	_, other := up()
	caller, callee := up()
	if other.target == callee.target {
		t.Error("two calls of a phone can be told to be one phone's")
	}
	head, _, _ := strings.Cut(callee.target, ";cx=")
	seal, text := callee.target[len(head)+4:][:24], callee.target[len(head)+28:]
	first := "A"
	if text[:1] == first {
		first = "B"
	}
	for name, target := range map[string]string{
		"another call's": other.target, "cut short": callee.target[:len(callee.target)-8], "only a seal": head + ";cx=" + seal,
		"another text": head + ";cx=" + seal + first + text[1:], "another seal": head + ";cx=" + strings.Repeat("0", 24) + text,
	} {
		forged := *callee
		forged.target = target
		if m := forged.asks("BYE", ""); m.Code != 481 {
			t.Errorf("%s: %s, want 481", name, m.StartLine)
		}
		callee.cseq++
	}
	a.quiet()
	if err := s.Kamailio.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.StartKamailio(context.Background()); err != nil {
		t.Fatal(err)
	}
	hangUp(t, callee, caller)
}

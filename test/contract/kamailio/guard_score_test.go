package kamailio

import (
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/netns"
)

// disbelieved is how a brain answers credentials that it does not believe, whatever they name.
var disbelieved = api.Refusal{SIPCode: 403, Reason: "Forbidden", Guard: api.OffenceAuthFail}

// disbelieve has the door believe no credentials of user.
func (d *door) disbelieve(user string) {
	d.onAuth(user, says(api.AuthReply{Action: api.ActionReject, Refusal: disbelieved}))
	d.onRoute(user, says(api.RouteReply{RTJSON: api.Directive{Action: api.ActionReject, Version: api.Version, Refusal: disbelieved}}))
}

// at is a phone at an address.
func at(t *testing.T, s *site, ip, user string) *set {
	t.Helper()
	return newSetAt(t, s, "udp", user, ip+":0")
}

// What an address does that nobody knows is counted in a window, told once when it reaches its limit, and answered all the same: a ban is
// for the brain to say. Each kind has its own limit, which RPC changes; 0 is none.
func TestGuard_ScoreIsToldOnceAtItsLimit(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	for name, limit := range map[string]int{"challenge": 5, "source": 3, "authfail": 4} {
		s.rpc(t, "htable.seti", "guardcfg", name, limit)
	}
	offence := map[string]string{"type": "offence", "tier": "score", "known": "0", "term": "0"}
	for i, c := range []struct {
		kind, count string
		r           request
		code        int
	}{
		{"challenge", "5", request{method: "REGISTER"}, 401},
		{"challenge", "5", request{method: "INVITE", user: "100"}, 407},
		{"source", "3", request{method: "INVITE", user: "+4930100200"}, 407},
		{"source", "3", request{method: "INVITE", user: "0097259123456"}, 407},
	} {
		p := s.from(t, fmt.Sprintf("10.99.0.%d", 10+i))
		for range 12 {
			p.send(c.r)
			if code := p.code(); code != c.code {
				t.Fatalf("%+v: %d, want %d", c.r, code, c.code)
			}
		}
		want := maps.Clone(offence)
		want["addr"], want["kind"], want["count"] = p.ip, c.kind, c.count
		s.door.expectLine(t, want)
		if got := s.linesOf(t, p.ip); len(got) != 1 {
			t.Errorf("%s: %d lines: %v", c.kind, len(got), got)
		}
	}
	// Wrong passwords, by REGISTER and by INVITE; a well-behaved phone is challenged each time, which must not count for more.
	s.rpc(t, "htable.seti", "guardcfg", "challenge", 0)
	s.rpc(t, "htable.seti", "guardcfg", "aorfail", 0)
	p := at(t, s, "10.99.0.50", user("wrong"))
	s.door.disbelieve(p.user)
	for range 3 {
		if m := p.register(registration{}); m.Code != 403 {
			t.Fatal(m.StartLine)
		}
		p.newCall("100").dial().refused(403)
	}
	want := maps.Clone(offence)
	want["addr"], want["kind"], want["count"] = "10.99.0.50", "authfail", "4"
	s.door.expectLine(t, want)
	if got := s.linesOf(t, "10.99.0.50"); len(got) != 1 {
		t.Errorf("%d lines: %v", len(got), got)
	}
}

// The window begins with the first offence and ends by itself, however the address goes on; then it is told again.
func TestGuard_WindowEnds(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 10000\n")
	s.rpc(t, "htable.seti", "guardcfg", "window", 1)
	s.rpc(t, "htable.seti", "guardcfg", "challenge", 3)
	p := s.from(t, "10.99.0.10")
	eventually(t, "the address to be told three times", func() error {
		for range 4 {
			p.send(request{method: "REGISTER"})
			p.code()
		}
		if n := len(s.door.guardLines(p.ip)); n < 3 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	lines := s.door.guardLines(p.ip)
	for _, line := range lines {
		if line.Get("count") != "3" {
			t.Errorf("%v", line)
		}
	}
	// Slow ones never reach it: each finds the window of the one before over, and begins its own.
	slow := s.from(t, "10.99.0.11")
	for range 4 {
		slow.send(request{method: "REGISTER"})
		slow.code()
		if value, _ := s.stored(t, "score", slow.ip+"::challenge"); value != "1" && value != "" { // it may be over
			t.Errorf("one in its window counts as %q", value)
		}
		eventually(t, "the window to end", func() error {
			// By Kamailio's clock, which is a tick behind ours.
			if value, left := s.stored(t, "score", slow.ip+"::challenge"); value != "" {
				return fmt.Errorf("%s for %d s", value, left)
			}
			return nil
		})
	}
	if got := s.linesOf(t, slow.ip); len(got) != 0 {
		t.Errorf("told of the slow one: %v", got)
	}
}

// An address from which a device has authenticated, by REGISTER or INVITE, is known: it is told once in ten minutes, what it did before is
// forgotten, and it is never banned. A signature from there is dropped, and what is too much; both are told once. What the door says when
// no brain answers makes nobody known.
func TestGuard_KnownIsNeverBanned(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 20\n")
	s.rpc(t, "htable.seti", "guardcfg", "challenge", 5)
	p, scan := at(t, s, "10.99.0.10", user("known")), s.from(t, "10.99.0.10")
	for range 3 { // four challenges each would be too many
		for range 3 {
			scan.send(request{method: "REGISTER"})
			scan.code()
		}
		if m := p.register(registration{}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
	}
	s.door.expectLine(t, map[string]string{"type": "known", "addr": "10.99.0.10", "aor": "sip:" + p.user + "@acme.test"})
	if got := s.linesOf(t, "10.99.0.10"); len(got) != 1 {
		t.Errorf("%d lines: %v", len(got), got)
	}
	for range 5 {
		scan.send(request{agent: "friendly-scanner"})
	}
	scan.silent(s)
	scan.answered()
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.10", "tier": "ua", "kind": "scanner", "known": "1", "term": "0"})
	for range 100 {
		scan.send(request{})
	}
	n := 0
	for scan.hears() {
		n++
	}
	if n < 10 || n > 80 { // two spans of two seconds, when the border falls in between
		t.Errorf("%d of 100 requests at once are answered, want 40 in two seconds", n)
	}
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.10", "tier": "pike", "kind": "requests", "count": "40", "known": "1", "term": "0"})
	eventually(t, "the next two seconds", func() error {
		if scan.send(request{}); scan.hears() {
			return nil
		}
		return fmt.Errorf("%s is dropped", scan.ip)
	})
	if m := p.register(registration{}); m.Code != 200 {
		t.Fatal(m.StartLine)
	}
	if tier, _ := s.stored(t, "ipban", "10.99.0.10"); tier != "" || len(s.linesOf(t, "10.99.0.10")) != 3 {
		t.Errorf("banned by %q, told by %v", tier, s.door.guardLines("10.99.0.10"))
	}

	caller := at(t, s, "10.99.0.20", user("caller"))
	s.door.onRoute(caller.user, says(api.RouteReply{RTJSON: api.Directive{Action: api.ActionReject, Version: api.Version, AccountID: "acme", Refusal: api.Refusal{SIPCode: 404, Reason: "Not Found"}}}))
	s.rpc(t, "htable.seti", "guardcfg", "unknown", 2)
	for range 4 {
		caller.newCall("555").dial().refused(404)
	}
	s.door.expectLine(t, map[string]string{"type": "known", "addr": "10.99.0.20", "aor": "sip:" + caller.user + "@acme.test"})
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.20", "tier": "score", "kind": "unknown", "count": "2", "known": "1", "term": "0"})

	for i, answer := range []http.HandlerFunc{
		saysBody(500, "{}"), saysBody(200, `{}`),
		says(api.RouteReply{RTJSON: api.Directive{Action: api.ActionReject, Refusal: api.Refusal{SIPCode: 503}}}), says(api.AuthReply{Action: api.ActionReject, Refusal: api.Refusal{SIPCode: 503}}),
	} {
		ip := fmt.Sprintf("10.99.0.%d", 30+i)
		lost := at(t, s, ip, user("lost"))
		s.door.onRoute(lost.user, answer)
		s.door.onAuth(lost.user, answer)
		lost.newCall("100").dial().result()
		lost.register(registration{})
		if known, _ := s.stored(t, "known", ip); known != "" {
			t.Errorf("%d: known by an answer of no brain", i)
		}
	}
}

// An account name under attack is slowed: 503 with Retry-After, without asking, the same for one that does not exist. Where its device has authenticated in the
// last hour it goes on; so does every other name. Any other address has one try. After a minute it is over.
func TestGuard_AccountUnderAttackIsSlowed(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	s.rpc(t, "htable.seti", "guardcfg", "aorfail", 5)
	victim, nobody := user("victim"), user("nobody")
	owner := at(t, s, "10.99.0.10", victim)
	if m := owner.register(registration{}); m.Code != 200 {
		t.Fatal(m.StartLine)
	}
	for _, name := range []string{victim, nobody} {
		s.door.disbelieve(name)
		for i := range 5 {
			if m := at(t, s, fmt.Sprintf("10.99.0.%d", 20+i), name).register(registration{}); m.Code != 403 {
				t.Fatal(m.StartLine)
			}
		}
		late := at(t, s, "10.99.0.40", name)
		if m := late.register(registration{}); m.Code != 403 {
			t.Errorf("%s: the one try of a new address: %s", name, m.StartLine)
		}
		asked := len(s.door.asked(api.PathAuth, name)) + len(s.door.asked(api.PathRoute, name))
		for _, m := range []*message{late.register(registration{}), late.newCall("100").dial().result()} {
			if m.Code != 503 || m.Header("Retry-After") != "30" {
				t.Errorf("%s: %s with Retry-After %q", name, m.StartLine, m.Header("Retry-After"))
			}
		}
		if n := len(s.door.asked(api.PathAuth, name)) + len(s.door.asked(api.PathRoute, name)); n != asked {
			t.Errorf("%s: the door was asked %d times for a slowed name", name, n-asked)
		}
	}
	s.door.onAuth(victim, nil)
	if m := owner.register(registration{}); m.Code != 200 {
		t.Errorf("the owner is slowed: %s", m.StartLine)
	}
	if m := at(t, s, "10.99.0.20", user("other")).register(registration{}); m.Code != 200 {
		t.Errorf("another name is slowed: %s", m.StartLine)
	}
	if _, left := s.stored(t, "aorfail", victim+"@acme.test"); left <= 0 || left > 60 {
		t.Errorf("it is slowed for %d s more", left)
	}
}

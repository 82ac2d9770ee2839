package kamailio

import (
	"fmt"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/netns"
)

// However many addresses guess at one name, no more than twice the limit are judged in a minute: as many as the limit by whoever comes, then the
// first of each address. The address of its own device goes on. What was right, or what nobody has judged, does not count.
func TestGuard_GuessesAtANameAreBounded(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	s.rpc(t, "htable.seti", "guardcfg", "aorfail", 5)
	victim := user("victim")
	owner := at(t, s, "10.99.0.10", victim)
	s.door.onAuth(victim, says(api.AuthReply{Action: api.ActionReject, Refusal: api.Refusal{SIPCode: 503}}))
	for range 12 {
		if m := at(t, s, "10.99.0.12", victim).register(registration{}); m.Code != 503 || m.Header("Retry-After") == "30" {
			t.Fatalf("without a brain: %s", m.StartLine)
		}
	}
	s.door.onAuth(victim, nil)
	for range 12 {
		if m := owner.register(registration{}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
	}
	before := len(s.door.asked(api.PathAuth, victim))
	s.door.disbelieve(victim)
	for i := range 30 {
		code := at(t, s, fmt.Sprintf("10.99.0.%d", 20+i), victim).register(registration{}).Code
		if want := map[bool]int{true: 403, false: 503}[i < 10]; code != want {
			t.Errorf("guess %d: %d, want %d", i, code, want)
		}
	}
	if n := len(s.door.asked(api.PathAuth, victim)) - before; n != 10 {
		t.Errorf("%d guesses were judged, want 10", n)
	}
	s.door.onAuth(victim, nil)
	if m := owner.register(registration{}); m.Code != 200 {
		t.Errorf("the owner: %s", m.StartLine)
	}
}

// From the address of a phone somebody guesses at the names of others: behind its limit they are answered 503 there and nobody is asked, for five
// minutes; it is told. The phones that are at home there go on, also one with a wrong password, which counts for nothing; so do all others elsewhere.
func TestGuard_SprayingFromAKnownAddressIsSlowed(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 10000\n")
	s.rpc(t, "htable.seti", "guardcfg", "spray", 8)
	home, other := at(t, s, "10.99.0.10", user("home")), at(t, s, "10.99.0.10", user("other"))
	for _, p := range []*set{home, other} {
		if m := p.register(registration{}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
	}
	s.door.disbelieve(other.user)
	for range 10 {
		if m := other.register(registration{}); m.Code != 403 {
			t.Fatalf("a phone of the address with a wrong password: %s", m.StartLine)
		}
	}
	for i := range 20 {
		name := user("sprayed")
		s.door.disbelieve(name)
		p := at(t, s, "10.99.0.10", name)
		var m *message
		if i%2 == 0 {
			m = p.register(registration{})
		} else {
			m = p.newCall("100").dial().result()
		}
		if want := map[bool]int{true: 403, false: 503}[i < 8]; m.Code != want {
			t.Errorf("guess %d: %s, want %d", i, m.StartLine, want)
		}
		if n := len(s.door.asked(api.PathAuth, name)) + len(s.door.asked(api.PathRoute, name)); i >= 8 && n != 0 {
			t.Errorf("guess %d was judged", i)
		}
	}
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.10", "tier": "score", "kind": "spray", "count": "8", "known": "1", "term": "0"})
	if _, left := s.stored(t, "score", "10.99.0.10::spray"); left < 280 || left > 300 {
		t.Errorf("slowed for %d s, want five minutes", left)
	}
	if m := home.register(registration{}); m.Code != 200 {
		t.Errorf("the phone that is at home: %s", m.StartLine)
	}
	s.door.onAuth(other.user, nil)
	if m := other.register(registration{}); m.Code != 200 {
		t.Errorf("the other one, with the right password: %s", m.StartLine)
	}
	if m := at(t, s, "10.99.0.11", user("elsewhere")).register(registration{}); m.Code != 200 {
		t.Errorf("another address: %s", m.StartLine)
	}
	s.rpc(t, "htable.setxs", "allow", "10.99.0.10", "1", 60)
	if m := at(t, s, "10.99.0.10", user("new")).register(registration{}); m.Code != 200 {
		t.Errorf("in its grace: %s", m.StartLine)
	}
}

// Whoever guesses slowly counts by the hour. An unknown address is told each time, a known one has no more guesses at foreign names.
func TestGuard_SlowGuessesCountByTheHour(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 10000\n")
	for name, limit := range map[string]int{"authfail": 1000, "aorfail": 0, "spray": 1000, "hourfail": 6} {
		s.rpc(t, "htable.seti", "guardcfg", name, limit)
	}
	guess := func(ip string) int {
		name := user("slow")
		s.door.disbelieve(name)
		return at(t, s, ip, name).register(registration{}).Code
	}
	for i := range 12 {
		if code := guess("10.99.0.20"); code != 403 {
			t.Fatalf("guess %d: %d", i, code)
		}
		if i == 3 {
			if _, left := s.stored(t, "hour", "10.99.0.20"); left < 3500 || left > 3600 {
				t.Errorf("the hour ends in %d s", left)
			}
		}
	}
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.20", "tier": "score", "kind": "authfail", "count": "6", "known": "0", "term": "0"})
	if got := s.linesOf(t, "10.99.0.20"); len(got) != 2 {
		t.Errorf("%d lines: %v", len(got), got)
	}
	home := at(t, s, "10.99.0.10", user("home"))
	for range 3 {
		if m := home.register(registration{}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
	}
	for i := range 8 {
		if code, want := guess("10.99.0.10"), map[bool]int{true: 403, false: 503}[i < 6]; code != want {
			t.Errorf("guess %d of the known address: %d, want %d", i, code, want)
		}
	}
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.10", "tier": "score", "kind": "spray", "count": "6", "known": "1", "term": "0"})
	if m := home.register(registration{}); m.Code != 200 {
		t.Errorf("the phone that is at home: %s", m.StartLine)
	}
}

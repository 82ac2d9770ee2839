package kamailio

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/netns"
)

// The owner of a name under attack gets through from an address that is new here, and goes on from there.
func TestGuard_OwnerOfANameUnderAttackGetsThrough(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	victim := user("victim")
	s.rpc(t, "htable.seti", "aorfail", victim+"@acme.test", 10)
	owner := at(t, s, "10.99.0.10", victim)
	for range 3 {
		if m := owner.register(registration{}); m.Code != 200 {
			t.Fatal(m.StartLine)
		}
	}
	if value, left := s.stored(t, "aortry", victim+"@acme.test::10.99.0.10"); value != "1" || left < 50 || left > 60 {
		t.Errorf("its tries are counted as %q for %d s", value, left)
	}
}

// What was counted in a window that is over, and was not cleared away yet, neither counts on nor keeps the next window from counting.
func TestGuard_CountsAnewBehindAWindow(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSiteWith(t, func(_, content string) string {
		return strings.ReplaceAll(content, `modparam("htable", "timer_interval", 10)`, `modparam("htable", "timer_interval", 3600)`)
	})
	s.rpc(t, "htable.seti", "guardcfg", "aorfail", 3)
	s.rpc(t, "htable.seti", "guardcfg", "authfail", 3)
	s.rpc(t, "htable.seti", "guardcfg", "window", 0) // as no policy has it: a minute
	victim := user("victim")
	name := victim + "@acme.test"
	s.door.disbelieve(victim)
	for _, entry := range [][2]string{{"aorfail", name}, {"score", "10.99.0.20::authfail"}, {"aortry", name + "::10.99.0.20"}} {
		s.rpc(t, "htable.seti", entry[0], entry[1], 3)
		s.rpc(t, "htable.setex", entry[0], entry[1], 1)
		eventually(t, "the window to end", func() error {
			if value, _ := s.stored(t, entry[0], entry[1]); value != "" {
				return fmt.Errorf("%s has %s", entry[0], value)
			}
			return nil
		})
	}
	p := at(t, s, "10.99.0.20", victim)
	var codes []int
	for range 5 {
		codes = append(codes, p.register(registration{}).Code)
	}
	if got := fmt.Sprint(codes); got != "[403 403 403 403 503]" { // three, and one try
		t.Errorf("wrong passwords are answered %s", got)
	}
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.20", "kind": api.OffenceAuthFail, "count": "3"})
	for _, entry := range [][2]string{{"aorfail", name}, {"score", "10.99.0.20::authfail"}, {"aortry", name + "::10.99.0.20"}} {
		if value, left := s.stored(t, entry[0], entry[1]); left < 50 || left > 60 {
			t.Errorf("%s has %s for %d s", entry[0], value, left)
		}
	}
}

// Challenges that are answered do not count, whatever comes of it: the phones of an office that register all at once while no brain is there
// are not told of. A phone that answers none is, whoever else answers.
func TestGuard_AnsweredChallengesDoNotCount(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "#!define PIKE_DENSITY 10000\n")
	s.rpc(t, "htable.seti", "guardcfg", "challenge", 5)
	s.rpc(t, "htable.seti", "guardcfg", "source", 5)
	answers := func(ip string) {
		for range 12 {
			p := at(t, s, ip, user("office"))
			s.door.onAuth(p.user, saysBody(503, "{}"))
			s.door.onRoute(p.user, saysBody(503, "{}"))
			if m := p.register(registration{}); m.Code != 503 {
				t.Fatal(m.StartLine)
			}
			for _, target := range []string{"100", "+4930100200"} {
				p.newCall(target).dial().result()
			}
		}
	}
	answers("10.99.0.70")
	if got := s.linesOf(t, "10.99.0.70"); len(got) != 0 {
		t.Errorf("told of phones that answer: %v", got)
	}
	for kind := range map[string]bool{"challenge": true, "source": true} {
		if value, _ := s.stored(t, "score", "10.99.0.70::"+kind); value != "0" {
			t.Errorf("%s of phones that answer is %q", kind, value)
		}
	}
	silent := s.from(t, "10.99.0.70")
	for range 7 {
		silent.send(request{method: "REGISTER"})
		silent.code()
	}
	s.door.expectLine(t, map[string]string{"type": "offence", "addr": "10.99.0.70", "kind": "challenge", "count": "5"})
	answers("10.99.0.70")
	silent.send(request{method: "REGISTER"})
	silent.code()
	if got := s.linesOf(t, "10.99.0.70"); len(got) != 1 {
		t.Errorf("told %d times in a window: %v", len(got), got)
	}
}

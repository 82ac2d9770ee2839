package kamailio

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/test/netns"
)

// looked at too. A ban that has ended by itself is over, and the node's terms are as the policy says.
func TestGuard_PolicyChangesByRPC(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	old := s.from(t, "10.99.0.10")
	for _, r := range []request{{agent: "Acme Probe 3"}, {callID: "zz-Probe-7"}, {from: "<sip:Trunk.Probe@x.test>"}} {
		old.send(r)
		if code := old.code(); code != 200 {
			t.Errorf("%+v: %d", r, code)
		}
	}
	s.rpc(t, "htable.flush", "uasig")
	for i, mark := range []string{"acme probe", "call-id:zz-probe", "from:trunk.probe@x"} {
		s.rpc(t, "htable.sets", "uasig", fmt.Sprint(i), mark)
	}
	s.rpc(t, "htable.seti", "guardcfg", "ua_term", 2)
	for i, r := range []request{{agent: "Acme Probe 3"}, {callID: "zz-Probe-7"}, {from: "<sip:Trunk.Probe@x.test>"}} {
		p := s.from(t, fmt.Sprintf("10.99.0.%d", 20+i))
		eventually(t, "the new list", func() error {
			p.send(r)
			if !p.hears() {
				return nil
			}
			return fmt.Errorf("%+v is answered", r)
		})
		s.door.expectLine(t, map[string]string{"type": "offence", "addr": p.ip, "kind": "scanner", "term": "2"})
		eventually(t, "the ban to end", func() error {
			if p.send(request{}); p.hears() {
				return nil
			}
			return fmt.Errorf("%s is banned", p.ip)
		})
	}
	old.send(request{agent: "friendly-scanner"})
	if code := old.code(); code != 200 {
		t.Errorf("a sender that is no longer on the list: %d", code)
	}
	s.rpc(t, "htable.seti", "guardcfg", "ua_term", 0)
	p := s.from(t, "10.99.0.30")
	p.sendsAndHearsNothing(s, request{agent: "acme probe"})
	if tier, left := s.stored(t, "ipban", p.ip); tier != "ua" || left < 280 || left > 300 {
		t.Errorf("a ban without a term is %q for %d s, want five minutes", tier, left)
	}
}

// A ban by RPC of any tier holds for its term. Replaced by a longer word it has none, until it is given one again.
func TestGuard_BanByRPC(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	p := s.from(t, "10.99.0.10")
	s.rpc(t, "htable.setxs", "ipban", p.ip, "ua", 600)
	p.dropped(s)
	s.rpc(t, "htable.setxs", "ipban", p.ip, "operator", 1000)
	if tier, left := s.stored(t, "ipban", p.ip); tier != "operator" || left != -1 {
		t.Errorf("%s for %d s: Kamailio has been mended, see docs/edge.md", tier, left)
	}
	s.rpc(t, "htable.setex", "ipban", p.ip, 1000)
	if tier, left := s.stored(t, "ipban", p.ip); tier != "operator" || left < 980 || left > 1000 {
		t.Errorf("%s for %d s, want operator for 1000", tier, left)
	}
	p.dropped(s)
	six := s.from(t, "fd99:0:0:1::7")
	six.answered()
	s.rpc(t, "htable.setxs", "ipban", "fd99:0:0:1::/64", "nft", 1000)
	six.dropped(s)
	s.from(t, "fd99:0:0:2::7").answered()
}

// What Kamailio begins with is the brain's own list, and what it counts by are the brain's own limits.
func TestGuard_BeginsWithTheBrainsPolicy(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSite(t, "")
	var got []string
	for i := 0; ; i++ {
		mark, _ := s.stored(t, "uasig", fmt.Sprint(i))
		if mark == "" {
			break
		}
		got = append(got, mark)
	}
	if slices.Sort(got); !slices.Equal(got, guard.Signatures(nil)) {
		t.Errorf("signatures %q, want %q", got, guard.Signatures(nil))
	}
	p := guard.NewPolicy(nil, nil)
	for name, want := range map[string]int{"window": p.ScoreWindowSec, "authfail": p.AuthFailMax, "challenge": p.ChallengeMax, "unknown": p.UnknownMax,
		"source": p.SourceMax, "aorfail": p.AORFailMax, "spray": p.SprayMax, "hourfail": p.AuthFailHourMax, "ua_term": p.UATermSec, "pike_term": p.PikeTermSec} {
		if value, _ := s.stored(t, "guardcfg", name); value != fmt.Sprint(want) {
			t.Errorf("%s is %s, want %d", name, value, want)
		}
	}
}

// With little memory left nothing is counted or banned any more, so that forged addresses cannot fill it; a signature is not answered all the same.
func TestGuard_AddsNothingWhenMemoryRunsShort(t *testing.T) {
	if netns.Reexec(t) {
		return
	}
	s := guardedSiteWith(t, func(path, content string) string {
		return strings.ReplaceAll(content, "< $stat(total_size) / 4", "< $stat(total_size) * 2")
	})
	eventually(t, "the look at memory", func() error {
		var full struct {
			Value any `json:"value"`
		}
		if err := s.ask(t, &full, "pv.shvGet", "full"); err != nil {
			return err
		}
		if fmt.Sprint(full.Value) != "1" {
			return fmt.Errorf("full is %v", full.Value)
		}
		return nil
	})
	s.rpc(t, "htable.seti", "guardcfg", "challenge", 3)
	p := s.from(t, "10.99.0.10")
	p.sendsAndHearsNothing(s, request{agent: "friendly-scanner"})
	for range 6 {
		p.send(request{method: "REGISTER"})
		if code := p.code(); code != 401 {
			t.Fatal(code)
		}
	}
	for _, entry := range [][2]string{{"ipban", p.ip}, {"score", p.ip + "::challenge"}} {
		if value, _ := s.stored(t, entry[0], entry[1]); value != "" {
			t.Errorf("%s has %s", entry[0], value)
		}
	}
}

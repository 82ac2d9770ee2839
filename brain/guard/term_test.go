package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const (
	start = int64(1_800_000_000_000)
	node1 = "edge1"
)

func kindOf(tier string) string {
	return map[string]string{api.TierNft: api.OffenceFlood, api.TierPike: api.OffenceRequests, api.TierUA: api.OffenceScanner, api.TierScore: api.OffenceAuthFail}[tier]
}

// does applies an op and reads the reply.
func does(t testing.TB, m *Machine, nowMS int64, o *Op) Reply {
	t.Helper()
	data, _, err := m.Apply(nowMS, AppendOp(nil, o))
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	y, err := ReadReply(data)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// offends tells of one offence at edge1 and returns what is decided about it, which is last.
func offends(t testing.TB, m *Machine, nowMS int64, o Offence) Decision {
	t.Helper()
	if o.Kind == "" {
		o.Kind = kindOf(o.Tier)
	}
	y := does(t, m, nowMS, &Op{Kind: Report, Node: node1, Share: ShareAll, Offences: []Offence{o}})
	return y.Decisions[len(y.Decisions)-1]
}

func by(tier, addr string) Offence { return Offence{Offence: api.Offence{Addr: addr, Tier: tier}} }

// Each row is the bans of one address, each of which begins an hour after the last has ended: how long they last.
func TestTerms_EscalateAsWritten(t *testing.T) {
	for _, row := range []struct {
		name, tiers, terms string
	}{
		{"a scanner", "ua", "1h"},
		{"a flood of requests", "pike", "5m"},
		{"a score", "score", "5m"},
		{"a flood of packets", "nft", "1h"},
		{"requests, again and again", "pike pike pike pike pike pike pike pike", "5m 1h 2h 4h 8h 16h 24h 24h"},
		{"a scanner, again and again", "ua ua ua ua", "1h 1h 2h 4h"},
		{"scores, again and again", "score score score", "5m 1h 2h"},
		{"packets, again and again: the first is of the long ones", "nft nft nft nft nft nft nft", "1h 2h 4h 8h 16h 24h 24h"},
		{"a repeat is a long one whatever its tier", "pike ua score nft", "5m 1h 2h 4h"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, now := New(), start
			terms := strings.Fields(row.terms)
			for i, tier := range strings.Fields(row.tiers) {
				want, err := time.ParseDuration(terms[i])
				if err != nil {
					t.Fatal(err)
				}
				d := offends(t, m, now, by(tier, "192.0.2.1"))
				if got := ms(d.UntilMS - now); d.Action != api.GuardBan || got != want {
					t.Fatalf("ban %d: %s for %s, want %s (%s)", i+1, d.Action, got, want, d.Why)
				}
				now = d.UntilMS + time.Hour.Milliseconds()
			}
		})
	}
}

// Four bans, the last of which would be followed by one of 8 h; then some time without an offence, and the next two bans.
func TestTerms_DecayAsWritten(t *testing.T) {
	for _, row := range []struct {
		pause       time.Duration
		first, next time.Duration
		before      int
	}{
		{23 * time.Hour, 8 * time.Hour, 16 * time.Hour, 4},
		{24 * time.Hour, 2 * time.Hour, 4 * time.Hour, 2}, // still a repeat, of half as many
		{24*time.Hour + time.Minute, 5 * time.Minute, 2 * time.Hour, 2},
		{48 * time.Hour, 5 * time.Minute, time.Hour, 1},
		{72 * time.Hour, 5 * time.Minute, time.Hour, 0},
	} {
		t.Run(row.pause.String(), func(t *testing.T) {
			m, now := New(), start
			var last Decision
			for range 4 { // 5 min, 1 h, 2 h, 4 h: four bans, three of them long
				last = offends(t, m, now, by(api.TierPike, "192.0.2.1"))
				now = last.UntilMS + 1000
			}
			now = last.UntilMS + row.pause.Milliseconds()
			list, err := m.page(now, &Question{Addr: "192.0.2.1"})
			if err != nil || list.About.Count != row.before {
				t.Fatalf("count %d, want %d, %v", list.About.Count, row.before, err)
			}
			first := offends(t, m, now, by(api.TierPike, "192.0.2.1"))
			if got := ms(first.UntilMS - now); got != row.first {
				t.Errorf("the first ban lasts %s, want %s: %s", got, row.first, first.Why)
			}
			next := offends(t, m, first.UntilMS+1000, by(api.TierPike, "192.0.2.1"))
			if got := ms(next.UntilMS - first.UntilMS - 1000); got != row.next {
				t.Errorf("the next ban lasts %s, want %s: %s", got, row.next, next.Why)
			}
		})
	}
}

// A ban does not wear off while it lasts: whoever is banned for a day cannot offend.
func TestTerms_BannedTimeDoesNotDecay(t *testing.T) {
	m, now := New(), start
	var d Decision
	for range 12 {
		d = offends(t, m, now, by(api.TierNft, "192.0.2.1"))
		now = d.UntilMS + 1000
	}
	if got := ms(d.UntilMS - (now - 1000 - MaxTerm.Milliseconds())); got != MaxTerm {
		t.Errorf("the twelfth ban lasts %s", got)
	}
	if !strings.Contains(d.Why, "24 h") || !strings.Contains(d.Why, "11 before") {
		t.Errorf("why: %s", d.Why)
	}
}

// Proves how a length of time is written, row by row.
func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 s", time.Hour: "1 h", 5 * time.Minute: "5 min", 90*time.Minute + time.Second: "1 h 30 min 1 s"} {
		if got := span(d); got != want {
			t.Errorf("%s: %q, want %q", fmt.Sprint(d), got, want)
		}
	}
}

// Every number of a policy counts: 0 would be no limit, or no end, at a node.
func TestNewPolicy_HasNoZero(t *testing.T) {
	p := NewPolicy(nil, nil)
	for i, n := range []int{p.ScoreWindowSec, p.AuthFailMax, p.ChallengeMax, p.UnknownMax, p.SourceMax, p.AORFailMax, p.AuthFailHourMax, p.SprayMax, p.UATermSec, p.PikeTermSec, p.ScoreTermSec, p.NftTermSec} {
		if n < 1 {
			t.Errorf("number %d is %d", i, n)
		}
	}
}

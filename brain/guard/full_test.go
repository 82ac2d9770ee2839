package guard

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// fill puts bans of a tier into what room the book has.
func fill(m *Machine, tier string, endMS int64) {
	for i := 0; m.bans.len() < MaxBans; i++ {
		key, _ := KeyOf(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		m.bans.put(key, endMS, &ban{tier: tier, kind: kindOf(tier), why: "a test", fromMS: start, shared: true})
	}
}

// A book that forged signatures have filled bans guessers as ever: the next forged one drives nobody out, is banned by its node alone, and
// comes to no more when the node lists it. Who was banned before is recorded all the same. What an operator has banned stays, though it
// ends first.
func TestFull_SignaturesDriveNobodyOut(t *testing.T) {
	m := New()
	does(t, m, start, &Op{Kind: Report, Node: node1, Share: ShareAll, Offences: []Offence{{Offence: api.Offence{Addr: "192.0.2.1", Tier: api.TierPike, Kind: api.OffenceRequests}}}})
	later := start + 6*minute // that one is over
	does(t, m, start, &Op{Kind: Add, Addr: "192.0.2.9", Why: "fraud", Who: "anna", ForSec: 60 * 60 * 24})
	does(t, m, start, &Op{Kind: Add, Addr: "192.0.2.10", Why: "fraud", Who: "anna", ForSec: 7 * 60})
	fill(m, api.TierUA, later+30*minute)
	offends := func(addr, tier string, o Offence) []Decision {
		o.Addr, o.Tier, o.Kind = addr, tier, kindOf(tier)
		return does(t, m, later, &Op{Kind: Report, Node: node1, Share: ShareAll, Offences: []Offence{o}}).Decisions
	}
	offends("192.0.2.65", api.TierUA, Offence{}) // in the place of what is over
	if got := offends("192.0.2.66", api.TierScore, Offence{}); len(got) != 2 || got[1].Addr != "192.0.2.66" || !got[1].Everyone || got[0].Action != api.GuardLift {
		t.Fatalf("a guesser: %+v", got)
	}
	got := offends("192.0.2.67", api.TierUA, Offence{})
	if len(got) != 1 || got[0].Action != api.GuardBan || got[0].Everyone || got[0].UntilMS != later+60*minute || got[0].Addr != "192.0.2.67" {
		t.Errorf("a forged one: %+v", got)
	}
	if got := offends("192.0.2.67", api.TierUA, Offence{Offence: api.Offence{UntilMS: later + 50*minute}, Listed: true}); len(got) != 1 || got[0].Action != "" {
		t.Errorf("the same, listed: %+v", got)
	}
	if bannedAt(t, m, later, "192.0.2.66") == nil || bannedAt(t, m, later, "192.0.2.67") != nil {
		t.Error("the guesser is not banned, or the forged one is recorded")
	}
	if got := offends("192.0.2.1", api.TierUA, Offence{}); !got[len(got)-1].Everyone || bannedAt(t, m, later, "192.0.2.1") == nil {
		t.Errorf("a repeat: %+v", got)
	}
	for _, tier := range []string{api.TierPike, api.TierNft} {
		for i := range 4 {
			offends(fmt.Sprintf("192.0.3.%d", len(tier)*10+i), tier, Offence{})
		}
	}
	if m.bans.len() != MaxBans || bannedAt(t, m, later, "192.0.2.9") == nil || bannedAt(t, m, later, "192.0.2.10") == nil {
		t.Error("what an operator has banned is gone")
	}
	c := compared(t, m, later, node1, []api.ActiveBan{{Addr: "192.0.2.68", Tier: api.TierUA, UntilMS: later + 30*minute}, {Addr: "192.0.2.69", Tier: api.TierPike, UntilMS: later + 4*minute}})
	if len(c.Unknown) != 1 || c.Unknown[0].Addr != "192.0.2.69" {
		t.Errorf("to be recorded: %+v", c.Unknown)
	}
}

// A book of bans by hand alone takes no more of them, and a flood is banned by its node alone.
func TestFull_OfBansByHand(t *testing.T) {
	m := New()
	fill(m, api.TierOperator, start+60*minute)
	if y := does(t, m, start, &Op{Kind: Add, Addr: "192.0.2.1", Why: "fraud", Who: "anna", ForSec: 3600}); y.Refused == "" || len(y.Decisions) != 0 {
		t.Errorf("%+v", y)
	}
	if y := does(t, m, start, &Op{Kind: Add, Addr: "10.0.0.1", Why: "again", Who: "anna", ForSec: 3600}); y.Refused != "" || y.Ban == nil {
		t.Errorf("one that is there: %+v", y)
	}
	y := does(t, m, start, &Op{Kind: Report, Node: node1, Share: ShareAll, Offences: []Offence{{Offence: api.Offence{Addr: "192.0.2.1", Tier: api.TierPike, Kind: api.OffenceRequests}}}})
	if len(y.Decisions) != 1 || y.Decisions[0].Action != api.GuardBan || y.Decisions[0].Everyone || m.bans.len() != MaxBans {
		t.Errorf("%+v, %d bans", y.Decisions, m.bans.len())
	}
}

// inBook is how many bans of each rank the book has, and of which address the first to end is.
func inBook(m *Machine) (n [ranks]int, first [ranks]*entry[*ban]) {
	for _, e := range m.bans.byKey {
		r := e.of.rank()
		n[r]++
		if first[r] == nil || m.bans.ends[r].before(e, first[r]) {
			first[r] = e
		}
	}
	return n, first
}

// However the book was filled and whatever is reported then, who goes for a new ban is never worth more than it, is the first to end of the
// least worth, and what an operator has banned stays. So no number of forged senders drives out what took a connection, an answered challenge or
// a second ban; the seed is printed.
func TestRandom_TheWeakestMakesRoom(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			m, at := New(), 0
			share := []int{rng.IntN(100), rng.IntN(100)} // per cent that are proven, and that are by hand
			for i := range MaxBans {
				key, _ := KeyOf(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
				b := &ban{tier: tiers[1+rng.IntN(4)], why: "a test", fromMS: start, shared: true, proven: rng.IntN(100) < share[0]}
				if rng.IntN(100) < share[1] && seed > 2 {
					b.tier = api.TierOperator
				}
				m.bans.put(key, start+minute+rng.Int64N(60*minute), b)
			}
			before, first := inBook(m)
			for range 40 {
				at++
				tier := tiers[1+rng.IntN(4)]
				o := Offence{Offence: api.Offence{Addr: fmt.Sprintf("172.16.%d.%d", at>>8, at&255), Tier: tier, Kind: kindOf(tier), Proven: rng.IntN(3) == 0}}
				if tier == api.TierScore && rng.IntN(2) == 0 {
					o.Kind = api.OffenceChallenge
				}
				own := rankForgeable
				if o.Proven || o.Kind == api.OffenceAuthFail {
					own = rankProven
				}
				if rng.IntN(10) == 0 { // by hand
					does(t, m, start, &Op{Kind: Add, Addr: o.Addr, Why: "fraud", Who: "anna", ForSec: 3600})
					own = rankByHand
				} else {
					does(t, m, start, &Op{Kind: Report, Node: node1, Share: ShareAll, Offences: []Offence{o}})
				}
				least := 0
				for least < rankByHand && before[least] == 0 {
					least++
				}
				want := before
				if least <= min(own, rankProven) && (own > rankForgeable || tier != api.TierUA) {
					want[least]--
					want[own]++
					if gone := first[least].key; m.bans.get(gone) != nil {
						t.Fatalf("%s, which ends first of rank %d, is still there after %+v", gone, least, o)
					}
				}
				now, next := inBook(m)
				if now != want || m.bans.len() != MaxBans {
					t.Fatalf("of each rank %v, want %v, were %v, after %+v", now, want, before, o)
				}
				before, first = now, next
			}
			again, err := Restore(m.AppendSnapshot(nil))
			if err != nil {
				t.Fatal(err)
			}
			was, _ := inBook(m)
			if is, _ := inBook(again); is != was {
				t.Errorf("of each rank %v, restored %v", was, is)
			}
		})
	}
}

// A hundred thousand and more forged senders, each of them at the limits of packets and requests, cost no ban that was earned over a connection, with
// answered challenges, by a repeat or by what came over TCP during the ban, though all of them end first.
func TestFull_ForgedSendersOutliveNobodyWhoIsReal(t *testing.T) {
	m, at := New(), 0
	tell := func(nowMS int64, addr, tier string, proven bool) {
		t.Helper()
		does(t, m, nowMS, &Op{Kind: Report, Node: node1, Share: ShareAll, Offences: []Offence{{Offence: api.Offence{Addr: addr, Tier: tier, Kind: kindOf(tier), Proven: proven}}}})
	}
	tell(start, "192.0.2.1", api.TierPike, false)
	later := start + 6*minute
	tell(later-1000, "192.0.2.5", api.TierPike, false)
	tell(later-500, "192.0.2.1", api.TierPike, false) // again
	tell(later-500, "192.0.2.2", api.TierPike, true)  // over TCP
	tell(later-500, "192.0.2.3", api.TierScore, false)
	tell(later-500, "192.0.2.4", api.TierPike, false)
	tell(later-500, "192.0.2.4", api.TierPike, true) // over TCP while it is banned
	crowd(t, m, later, &at, api.TierNft, MaxBans/2)
	crowd(t, m, later, &at, api.TierPike, MaxBans)
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"} {
		if bannedAt(t, m, later, addr) == nil {
			t.Errorf("%s is no longer banned", addr)
		}
	}
	if bannedAt(t, m, later, "192.0.2.5") != nil || m.bans.len() != MaxBans {
		t.Errorf("a forgeable one stays in a book of %d", m.bans.len())
	}
}

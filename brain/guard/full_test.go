package guard

import (
	"fmt"
	"slices"
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

// The entry that ends first of those that may go is found behind any number that may not.
func TestBook_FirstOf(t *testing.T) {
	b := newBook[bool]()
	if b.firstOf(func(bool) bool { return true }) != nil {
		t.Error("an empty book has a first one")
	}
	var ends []int64
	for i := range 500 {
		key, _ := KeyOf(fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
		goes, end := i%3 == 0, int64(i*7919%1009)
		b.put(key, end, goes)
		if goes {
			ends = append(ends, end)
		}
	}
	slices.Sort(ends)
	for _, end := range ends {
		e := b.firstOf(func(goes bool) bool { return goes })
		if e == nil || e.endMS != end {
			t.Fatalf("%+v, want one that ends at %d", e, end)
		}
		b.remove(e)
	}
	if e := b.firstOf(func(goes bool) bool { return goes }); e != nil {
		t.Errorf("%+v is left", e)
	}
}

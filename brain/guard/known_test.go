package guard

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// An address from which a device was believed is not banned for what any node tells of it, for an hour and more; a ban of it ends everywhere.
func TestKnown_IsKnownToAll(t *testing.T) {
	m := New()
	flood := Offence{Offence: api.Offence{Addr: "192.0.2.1", Tier: api.TierNft, Kind: api.OffenceFlood, UntilMS: start + 60*minute}}
	if d := offends(t, m, start, flood); d.Action != api.GuardBan {
		t.Fatalf("%+v", d)
	}
	y := does(t, m, start+1, &Op{Kind: Known, Nets: []string{"192.0.2.1", "2001:db8::1"}})
	if len(y.Decisions) != 1 || y.Decisions[0].Action != api.GuardLift || !y.Decisions[0].Everyone {
		t.Fatalf("%+v", y)
	}
	again, err := Restore(m.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int64]string{start + 2: api.GuardLift, start + 60*minute: api.GuardLift, start + KnownFor.Milliseconds() + 2: api.GuardBan} {
		flood.TimeMS, flood.UntilMS = at, at+60*minute
		other, _ := Restore(again.AppendSnapshot(nil))
		if d := offends(t, other, at, flood); d.Action != want {
			t.Errorf("%s after it was known: %+v", ms(at-start), d)
		}
	}
	list, err := again.page(start+2, &Question{Addr: "2001:db8::9"})
	if err != nil || list.About.Protected != whyKnown {
		t.Errorf("%+v, %v", list.About, err)
	}
	older := New().AppendSnapshot(nil)
	if _, err := Restore(older[:len(older)-1]); err != nil {
		t.Errorf("the snapshot of a brain that kept none: %v", err)
	}
}

// A brain forgets the oldest of too many, and takes no more at once than a report has.
func TestKnown_IsBounded(t *testing.T) {
	m := New()
	for n := range MaxKnown + 2 {
		does(t, m, start+int64(n), &Op{Kind: Known, Nets: []string{fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)}})
	}
	if m.known.len() != MaxKnown || m.known.first().key.Addr().String() != "10.0.0.2" {
		t.Errorf("%d, the first is %s", m.known.len(), m.known.first().key)
	}
	if _, err := ReadOp(AppendOp(nil, &Op{Kind: Known, Nets: make([]string, api.MaxGuardOffences+1)})); err == nil {
		t.Error("too many at once are taken")
	}
	before := m.AppendSnapshot(nil)
	if _, changed, err := m.Apply(start+MaxKnown+2, AppendOp(nil, &Op{Kind: Known, Nets: []string{"10.0.1.0"}})); changed || err != nil || !bytes.Equal(before, m.AppendSnapshot(nil)) {
		t.Errorf("what is known already is written down again: %v", err)
	}
}

// That an address is known is one node's word: it frees the address there, and ends that a ban of others is shared, but not what they caught by themselves.
func TestKnown_OneNodesWordHoldsThere(t *testing.T) {
	m := New()
	scan := Offence{Offence: api.Offence{Addr: "192.0.2.1", Tier: api.TierUA, Kind: api.OffenceScanner, UntilMS: start + 60*minute}}
	does(t, m, start, &Op{Kind: Report, Node: "edge1", Share: ShareAll, Offences: []Offence{scan}})
	scan.Known = true
	y := does(t, m, start, &Op{Kind: Report, Node: "edge2", Share: ShareAll, Offences: []Offence{scan}})
	if len(y.Decisions) != 2 || !y.Decisions[0].Everyone || y.Decisions[0].Action != api.GuardLift || y.Decisions[1].Action != api.GuardBan || fmt.Sprint(y.Decisions[1].Only) != "[edge1]" {
		t.Fatalf("%+v", y.Decisions)
	}
	key, _ := KeyOf("192.0.2.1")
	if e := m.bans.get(key); e == nil || !e.of.at("edge1") || e.of.at("edge2") || e.of.at("edge3") {
		t.Fatalf("the ban is %+v", e)
	}
	does(t, m, start, &Op{Kind: Report, Node: "edge1", Share: ShareAll, Offences: []Offence{scan}}) // who caught it takes it back
	if m.bans.get(key) != nil {
		t.Error("the ban of a node that knows the address goes on")
	}
}

// A node that lists a ban which is another's does not end it there.
func TestKnown_AListEndsNobodysBan(t *testing.T) {
	m := New()
	guess := Offence{Offence: api.Offence{Addr: "192.0.2.1", Tier: api.TierScore, Kind: api.OffenceAuthFail}}
	does(t, m, start, &Op{Kind: Report, Node: "edge1", Share: ShareNone, Offences: []Offence{guess}})
	guess.Listed, guess.UntilMS = true, start+time.Hour.Milliseconds()
	y := does(t, m, start, &Op{Kind: Report, Node: "edge2", Share: ShareNone, Offences: []Offence{guess}})
	if len(y.Decisions) != 1 || y.Decisions[0].Action != api.GuardLift || y.Decisions[0].Everyone || m.bans.len() != 1 {
		t.Errorf("%+v, %d bans", y.Decisions, m.bans.len())
	}
}

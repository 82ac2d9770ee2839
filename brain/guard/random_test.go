package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

func read[T any](t testing.TB, data []byte, v T) T {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// world is the guard with the configuration around it, and what came to pass.
type world struct {
	*rand.Rand
	m      *Machine
	nowMS  int64
	nets   []Net // of the configuration
	known  map[netip.Prefix]int64
	record []record
	said   string // the last thing that came to pass
}

type record struct {
	nowMS int64
	op    []byte
}

// pool is few addresses, so that things happen to the same ones: also such as share a /64, and IPv4 written as IPv6.
func (w *world) addr() string {
	n := w.IntN(12)
	switch w.IntN(4) {
	case 0:
		return fmt.Sprintf("2001:db8:0:%x::%x", n%4, 1+w.IntN(9))
	case 1:
		return fmt.Sprintf("::ffff:192.0.2.%d", n)
	}
	return fmt.Sprintf("192.0.2.%d", n)
}

func (w *world) net() netip.Prefix {
	addr := netip.MustParseAddr(w.addr()).Unmap()
	bits := []int{32, 31, 30, 28}
	if addr.Is6() {
		bits = []int{128, 64, 63, 80}
	}
	return netip.PrefixFrom(addr, bits[w.IntN(len(bits))]).Masked()
}

func (w *world) offences() []Offence {
	list := make([]Offence, 1+w.IntN(4))
	shields := NewNets(w.nets)
	for i := range list {
		tier := tiers[1+w.IntN(4)]
		o := Offence{Offence: api.Offence{Addr: w.addr(), Tier: tier, Kind: kindOf(tier), Count: w.IntN(100), Known: w.IntN(8) == 0, Evidence: "evidence"}, Listed: w.IntN(10) == 0}
		key, _ := KeyOf(o.Addr)
		o.Shield = shields.Shield(key)
		if w.IntN(2) == 0 {
			o.TimeMS = w.nowMS - w.Int64N(3*minute)
		}
		if w.IntN(20) == 0 {
			o.TimeMS = w.nowMS - w.Int64N(48*60*minute)
		}
		if w.IntN(2) == 0 || o.Listed {
			o.UntilMS = w.nowMS + w.Int64N(60*minute)
		}
		list[i] = o
	}
	return list
}

// next is what happens next: an op, or a change of the configuration with the op that follows from it.
func (w *world) next() *Op {
	switch w.IntN(13) {
	case 12:
		addr := w.addr()
		key, _ := KeyOf(addr)
		w.known[key] = w.nowMS + KnownFor.Milliseconds() - knownAgain.Milliseconds()
		return &Op{Kind: Known, Nets: []string{addr}}
	case 0:
		return &Op{Kind: Lift, Addr: w.addr(), Who: "anna"}
	case 1:
		addr := w.addr()
		key, _ := KeyOf(addr)
		return &Op{Kind: Add, Addr: addr, Why: "fraud", Who: "anna", ForSec: 1 + w.Int64N(40*24*3600)%api.MaxBanForSec, Shield: NewNets(w.nets).Shield(key)}
	case 2:
		return &Op{Kind: Allow, Addr: w.net().String(), Why: "office", Who: "anna", ForSec: w.Int64N(2) * w.Int64N(7200)}
	case 3:
		return &Op{Kind: Disallow, Addr: w.net().String(), Who: "anna"}
	case 4: // a trunk or a node comes, its bans end
		n := Net{w.net(), []string{"trunk", "node", "operator"}[w.IntN(3)]}
		w.nets = append(w.nets, n)
		return &Op{Kind: Protect, Nets: []string{n.Prefix.String()}, Why: n.What}
	case 5: // one goes
		if len(w.nets) > 0 {
			w.nets = slices.Delete(w.nets, 0, 1)
		}
		return &Op{Kind: Policy, Digest: fmt.Sprint(len(w.nets))}
	case 6:
		if op := w.m.Due(w.nowMS); op != nil {
			return &Op{Kind: Expire}
		}
	}
	return &Op{Kind: Report, Node: fmt.Sprintf("edge%d", w.IntN(3)), Share: Shares[w.IntN(3)], Offences: w.offences()}
}

// check holds the guard to what must always be true.
func (w *world) check(t *testing.T) {
	t.Helper()
	protected := NewNets(w.nets)
	for key, e := range w.m.bans.byKey {
		if e.endMS <= w.nowMS {
			continue
		}
		for _, shield := range []string{protected.Shield(key), w.m.listed(key)} {
			if shield != "" {
				t.Fatalf("%s is banned, and protected: %s, after %s", Name(key), shield, w.said)
			}
		}
		if off := w.m.offenders.get(key); e.of.tier != api.TierOperator && off != nil && off.of.graceMS > w.nowMS {
			t.Fatalf("%s is banned in its grace, after %s", Name(key), w.said)
		}
		if w.known[key] > w.nowMS && e.of.tier != api.TierOperator {
			t.Fatalf("%s is banned, and known, after %s", Name(key), w.said)
		}
		if term := ms(e.endMS - w.nowMS); term > MaxTerm && e.of.tier != api.TierOperator {
			t.Fatalf("%s is banned for %s, after %s", Name(key), term, w.said)
		}
		if e.of.why == "" {
			t.Fatalf("nobody can tell why %s is banned, after %s", Name(key), w.said)
		}
	}
	for key, e := range w.m.offenders.byKey {
		if o := e.of; o.count < 0 || o.long < 0 || o.long > o.count+1 || e.endMS > w.nowMS+40*24*60*minute {
			t.Fatalf("%s: %+v until %d, after %s", Name(key), o, e.endMS, w.said)
		}
	}
}

// step does one thing and holds each decision of it to who may be banned.
func (w *world) step(t *testing.T) {
	t.Helper()
	w.nowMS += []int64{0, 10, 1000, 30_000, 10 * minute, 3 * 60 * minute, 25 * 60 * minute}[w.IntN(7)]
	o := w.next()
	op := AppendOp(nil, o)
	text, _ := json.Marshal(o)
	w.said = string(text)
	before := w.m.AppendSnapshot(nil)
	data, changed, err := w.m.Apply(w.nowMS, op)
	if err != nil {
		t.Fatalf("%s: %v", w.said, err)
	}
	if after := w.m.AppendSnapshot(nil); !changed && !bytes.Equal(before, after) {
		t.Fatalf("%s has changed the guard, and says that it has not", w.said)
	}
	if changed {
		w.record = append(w.record, record{w.nowMS, op})
	}
	for _, d := range read(t, data, Reply{}).Decisions {
		key, err := KeyOf(d.Addr)
		if err != nil || d.Why == "" {
			t.Fatalf("%+v: %v, after %s", d, err, w.said)
		}
		if d.Action == api.GuardBan && (NewNets(w.nets).Shield(key) != "" || d.UntilMS <= w.nowMS) {
			t.Fatalf("%+v is ordered after %s", d, w.said)
		}
	}
	w.check(t)
}

// No sequence of reports, lifts, bans by hand, changes of the allow list and of the configuration, and time bans an address that is
// protected or has grace, or that is known, whichever node saw it; what the journal would hold leads to the same guard, and so does a snapshot. The seed is printed.
func TestRandom_NeverBansWhoIsProtected(t *testing.T) {
	for seed := range uint64(60) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), m: New(), nowMS: start, known: map[netip.Prefix]int64{}}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			for i := range 400 {
				w.step(t)
				if i == 200 {
					again, err := Restore(w.m.AppendSnapshot(nil))
					if err != nil {
						t.Fatal(err)
					}
					w.m = again
				}
			}
			replayed := New()
			for _, r := range w.record {
				if _, _, err := replayed.Apply(r.nowMS, r.op); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(replayed.AppendSnapshot(nil), w.m.AppendSnapshot(nil)) {
				t.Error("the journal leads to another guard")
			}
		})
	}
}

// crowd reports offences of so many addresses that were not there before, and returns what was decided.
func crowd(t *testing.T, m *Machine, nowMS int64, at *int, tier string, n int) (decided []Decision) {
	t.Helper()
	for n > 0 {
		op := &Op{Kind: Report, Node: node1, Share: ShareAll}
		for ; n > 0 && len(op.Offences) < api.MaxGuardOffences; n-- {
			*at++
			addr := fmt.Sprintf("10.%d.%d.%d", *at>>16, *at>>8&255, *at&255)
			op.Offences = append(op.Offences, Offence{Offence: api.Offence{Addr: addr, Tier: tier, Kind: kindOf(tier)}})
		}
		decided = append(decided, does(t, m, nowMS, op).Decisions...)
	}
	return decided
}

func lifts(decided []Decision) (n int) {
	for _, d := range decided {
		if d.Action == api.GuardLift {
			n++
		}
	}
	return n
}

// A hundred thousand bans are kept, of more those that end first go; the nodes are told.
func TestBounds(t *testing.T) {
	m, at := New(), 0
	if lifts(crowd(t, m, start, &at, api.TierPike, MaxBans/2)) > 0 || lifts(crowd(t, m, start, &at, api.TierUA, MaxBans/2)) > 0 {
		t.Fatal("lifted before it is full")
	}
	if got := lifts(crowd(t, m, start, &at, api.TierNft, 1000)); got != 1000 || m.bans.len() != MaxBans || m.offenders.len() != MaxOffenders {
		t.Fatalf("%d lifted, %d bans, %d offenders", got, m.bans.len(), m.offenders.len())
	}
	if bannedAt(t, m, start, "10.0.0.1") != nil || bannedAt(t, m, start, fmt.Sprintf("10.%d.%d.%d", at>>16, at>>8&255, at&255)) == nil {
		t.Error("not the one that ends first has gone")
	}
	if again, err := Restore(m.AppendSnapshot(nil)); err != nil || !bytes.Equal(again.AppendSnapshot(nil), m.AppendSnapshot(nil)) {
		t.Errorf("a full guard cannot be restored: %v", err)
	}
	does(t, m, start, &Op{Kind: Protect, Nets: []string{"10.0.0.0/8"}})
	if m.bans.len() != 0 {
		t.Errorf("%d bans", m.bans.len())
	}
	for i := range MaxAllowed + 1 {
		y := does(t, m, start, &Op{Kind: Allow, Addr: fmt.Sprintf("172.16.%d.%d", i>>8, i&255)})
		if (y.Refused != "") != (i == MaxAllowed) {
			t.Fatalf("entry %d: %+v", i, y)
		}
	}
}

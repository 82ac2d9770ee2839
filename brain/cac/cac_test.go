package cac

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sipio/sipio/brain/pack"
)

// call makes a call with takes written kind/id/limit.
func call(token string, takes ...Take) Call {
	return Call{Token: token, CallID: "c" + token, Node: "n1", AskedMS: 5, Takes: takes}
}

// Proves that each dimension refuses at its limit and is the one named, in the order given; that a call which is
// refused takes nothing; and that the same dimension twice needs two places.
func TestAdmit_NamesTheDimensionWithoutRoom(t *testing.T) {
	for kind := In; kind <= TrunkRate; kind++ {
		l := New()
		free, limited := Take{Kind: Node, ID: "other", Limit: 100}, Take{Kind: kind, ID: "x", Limit: 2}
		for i := range 2 {
			if v := l.Admit(1, call(fmt.Sprint(i), free, limited)); !v.Admitted || v.Repeated {
				t.Fatalf("%v, call %d: %+v", kind, i, v)
			}
		}
		v := l.Admit(1, call("2", free, limited, Take{Kind: User, ID: "also full", Limit: 0}))
		if v.Admitted || v.Kind != kind || v.ID != "x" || v.Limit != 2 || v.Used != 2 {
			t.Errorf("%v: %+v", kind, v)
		}
		if u := l.Usage(); len(u) != 2 || u[0].Used != 2 || u[1].Used != 2 {
			t.Errorf("%v: the refused call took something: %+v", kind, u)
		}
	}
	l := New()
	twice := Take{Kind: User, ID: "self", Limit: 1}
	if v := l.Admit(1, call("1", twice, twice)); v.Admitted || v.Kind != User || v.Used != 1 || len(l.Usage()) != 0 {
		t.Errorf("a call to oneself took one place of two: %+v", v)
	}
	if v := l.Admit(1, call("1", twice)); !v.Admitted {
		t.Errorf("%+v", v)
	}
}

// Proves the life of a token: asked again it has the same place; released it gives back what it took, once;
// it is not admitted again for Remember, and then it is.
func TestAdmit_ATokenHasOnePlace(t *testing.T) {
	l, one := New(), Take{Kind: In, Limit: 5}
	for i := range 3 {
		if v := l.Admit(1, call("a", one)); !v.Admitted || v.Repeated != (i > 0) {
			t.Fatalf("%d: %+v", i, v)
		}
	}
	l.Admit(1, call("b", one))
	if !l.Release(2, "a") || l.Release(2, "a") || l.Release(2, "unknown") {
		t.Fatal("released otherwise than once")
	}
	if u := l.Usage(); len(u) != 1 || u[0].Used != 1 {
		t.Fatalf("%+v", u)
	}
	end := 2 + Remember.Milliseconds()
	for _, token := range []string{"a", "unknown"} {
		if v := l.Admit(end-1, call(token, one)); v.Admitted || v.Kind != 0 || v.Limit != 0 {
			t.Errorf("%s came back: %+v", token, v)
		}
	}
	for _, token := range []string{"a", "unknown"} {
		if v := l.Admit(end, call(token, one)); !v.Admitted {
			t.Errorf("%s is remembered too long: %+v", token, v)
		}
	}
}

// Proves that an emergency call is admitted against every limit and counted in all of them.
func TestAdmit_EmergencyAlwaysPasses(t *testing.T) {
	l := New()
	w := Window{Kind: Limit, ID: "lim_1", Max: 1, PeriodMS: 1000, Hard: true}
	full := call("a", Take{Kind: Out, Limit: 1})
	full.Windows = []Window{w}
	l.Admit(1, full)
	full.Token, full.Emergency = "b", true
	if v := l.Admit(1, full); !v.Admitted {
		t.Fatalf("%+v", v)
	}
	if u := l.Usage(); u[0].Used != 2 || l.Windows(1, w) != 2 {
		t.Fatalf("not counted: %+v, window %d", u, l.Windows(1, w))
	}
	l.Release(1, "b")
	if v := l.Admit(1, full); !v.Admitted || v.Repeated {
		t.Fatalf("asked again after its release: %+v", v)
	}
	full.Token, full.Emergency, full.Windows = "c", false, nil
	if v := l.Admit(1, full); v.Admitted || v.Used != 2 || v.Limit != 1 {
		t.Fatalf("%+v", v)
	}
}

// Proves that a hard window allows Max in any period, exactly: it refuses until the first of them is a whole period
// ago, says when that is, and neither a release nor a refused call changes its count. A soft one reports.
func TestAdmit_WindowsSlide(t *testing.T) {
	l, n := New(), 0
	w := Window{Kind: TrunkRate, ID: "trk", Max: 2, PeriodMS: 1000, Hard: true}
	ask := func(now int64, w Window) Verdict {
		n++
		c := call(fmt.Sprint(n))
		c.Windows = []Window{w, w} // twice counts once
		v := l.Admit(now, c)
		l.Release(now, c.Token)
		return v
	}
	for _, row := range []struct{ now, retry int64 }{{1000, 0}, {1400, 0}, {1400, 600}, {1999, 1}, {2000, 0}, {2001, 399}, {2400, 0}, {2999, 1}, {9000, 0}} {
		v := ask(row.now, w)
		if v.Admitted != (row.retry == 0) || v.RetryMS != row.retry || !v.Admitted && (v.Kind != TrunkRate || v.ID != "trk" || v.Used != 2 || v.Limit != 2) {
			t.Fatalf("at %d: %+v, want to wait %d", row.now, v, row.retry)
		}
	}
	w.Hard, w.ID = false, "soft"
	for i := range 4 {
		if v := ask(9000, w); !v.Admitted || (len(v.Soft) > 0) != (i >= 2) {
			t.Fatalf("soft, call %d: %+v", i, v)
		}
	}
	if got := l.Windows(9000, w); got != 4 {
		t.Fatalf("the soft window counts %d", got)
	}
}

// Proves that a window admits as an oracle does that looks at every admission of the past: random times, many seeds.
func TestAdmit_WindowsAreExact(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		l, now := New(), int64(1_000_000)
		var past []int64
		w := Window{Kind: Limit, ID: "w", Max: 1 + rng.IntN(20), PeriodMS: 1 + rng.Int64N(500), Hard: true}
		for i := range 500 {
			now += rng.Int64N(40)
			if rng.IntN(50) == 0 {
				l.Sweep(now)
			}
			count := 0
			for _, at := range past {
				if at > now-w.PeriodMS {
					count++
				}
			}
			c := call(fmt.Sprint(i))
			c.Windows = []Window{w}
			v := l.Admit(now, c)
			if v.Admitted != (count < w.Max) || !v.Admitted && v.Used != count {
				t.Fatalf("seed %d, call %d: %+v, %d of %d counted", seed, i, v, count, w.Max)
			}
			if v.Admitted {
				past = append(past, now)
			}
		}
	}
}

// Proves that a clock set back by hours neither refuses for hours nor forgets what is taken.
func TestAdmit_ClockSetBack(t *testing.T) {
	l, hour := New(), int64(3_600_000)
	w := Window{Kind: Limit, ID: "w", Max: 1, PeriodMS: 1000, Hard: true}
	c := call("a", Take{Kind: In, Limit: 2})
	c.Windows = []Window{w}
	l.Admit(5*hour, c)
	l.Release(5*hour, "b")
	c.Token = "c"
	if v := l.Admit(hour, c); !v.Admitted {
		t.Fatalf("refused by what has not been yet: %+v", v)
	}
	if u := l.Usage(); u[0].Used != 2 {
		t.Fatalf("%+v", u)
	}
	if over, _ := l.Over(hour, "b"); !over {
		t.Fatal("the released token was forgotten")
	}
	if over, _ := l.Over(hour+Remember.Milliseconds(), "b"); over {
		t.Fatal("the released token is remembered for hours")
	}
}

// Proves leases: they run out in order and not before, a renewed one later, all anew after Resume; and that a call
// whose lease ran out may be adopted while one that ended may not.
func TestLease(t *testing.T) {
	l, lease := New(), Lease.Milliseconds()
	for i, token := range []string{"a", "b", "c"} {
		l.Admit(int64(1000*i), call(token, Take{Kind: In, Limit: 1000}))
	}
	if due, ok := l.LeaseDue(); !ok || due != lease || len(l.Lapsed(lease-1, 10)) != 0 {
		t.Fatalf("first lease ends at %d", due)
	}
	if !l.Renew("a", lease+1500) || l.Renew("nobody", 1) {
		t.Fatal("renewed otherwise")
	}
	if got := l.Lapsed(lease+9999, 10); !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Fatalf("%v", got)
	}
	if got := l.Lapsed(lease+9999, 2); !slices.Equal(got, []string{"b", "a"}) {
		t.Fatalf("%v", got)
	}
	l.Resume(50_000)
	if due, _ := l.LeaseDue(); due != 50_000+lease || !slices.Equal(l.Lapsed(due, 10), []string{"a", "b", "c"}) {
		t.Fatalf("resumed, the first lease ends at %d", due)
	}
	l.Lapse(60_000, "a")
	l.Release(60_000, "b")
	if !l.Adopt(60_001, call("a")) || l.Adopt(60_001, call("a")) || l.Adopt(60_001, call("b")) || !l.Adopt(60_001, call("new")) {
		t.Fatal("adopted otherwise")
	}
	l.Lapse(60_002, "a")
	l.Release(60_003, "a")
	if l.Adopt(60_004, call("a")) {
		t.Fatal("adopted after its end was told")
	}
}

// Proves the bound of slots, and that emergency calls have room beyond it.
func TestAdmit_IsBounded(t *testing.T) {
	l := New()
	for i := range MaxSlots {
		l.Admit(1, call(fmt.Sprint(i)))
	}
	if v := l.Admit(1, call("more")); v.Admitted || v.Kind != 0 || v.Limit != MaxSlots || l.Adopt(1, call("more")) {
		t.Fatalf("%+v", v)
	}
	sos := call("sos")
	if sos.Emergency = true; !l.Admit(1, sos).Admitted {
		t.Fatal("an emergency call was refused")
	}
	for i := range MaxSlots {
		l.Release(1, fmt.Sprint(i))
	}
	for i := range maxEnded {
		l.Release(2, fmt.Sprint("x", i))
	}
	if len(l.ended) > maxEnded+1 || l.Len() != 1 {
		t.Fatalf("%d remembered, %d slots", len(l.ended), l.Len())
	}
}

// Proves that random stories keep the books right, end in a ledger that is restored from its snapshot, and
// that nothing is left when all is released and time has gone on.
func TestLedger_KeepsItsBooks(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		l, now := New(), int64(1_000_000)
		for range 300 {
			now += rng.Int64N(20_000)
			step(l, rng, now)
			books(t, l)
		}
		data := l.AppendSnapshot(nil)
		r := pack.NewReader(data)
		again, err := Restore(r)
		if err != nil || r.End() != nil {
			t.Fatalf("seed %d: %v %v", seed, err, r.Err())
		}
		books(t, again)
		if !bytes.Equal(again.AppendSnapshot(nil), data) {
			t.Fatalf("seed %d: restored otherwise", seed)
		}
		for _, s := range again.Slots() {
			again.Release(now, s.Token)
		}
		for range 1000 {
			if due, ok := again.SweepDue(); ok {
				again.Sweep(due)
			}
		}
		if !again.Empty() || len(again.Usage()) != 0 {
			t.Fatalf("seed %d: something is left: %+v", seed, again.Usage())
		}
	}
}

func step(l *Ledger, rng *rand.Rand, now int64) {
	c := call(fmt.Sprint(rng.IntN(30)))
	for range rng.IntN(4) {
		c.Takes = append(c.Takes, Take{Kind: In + Kind(rng.IntN(8)), ID: fmt.Sprint(rng.IntN(2)), Limit: rng.IntN(4)})
	}
	if rng.IntN(3) == 0 {
		c.Windows = []Window{{Kind: Limit, ID: fmt.Sprint(rng.IntN(3)), Max: 3, PeriodMS: 60_000, Hard: rng.IntN(2) == 0}}
	}
	c.Emergency = rng.IntN(10) == 0
	switch rng.IntN(11) {
	case 8, 9, 10:
		s := Swap{Token: c.Token, Attempt: 1 + rng.IntN(6), Emergency: rng.IntN(20) == 0, Add: c.Takes, Windows: c.Windows}
		if held, ok := l.Slot(c.Token); ok && len(held.Takes) > 0 {
			s.Drop = []Take{held.Takes[rng.IntN(len(held.Takes))], {Kind: Trunk, ID: "0"}}
		}
		l.Swap(now, s)
	case 0, 1, 2:
		l.Admit(now, c)
	case 3:
		l.Adopt(now, c)
	case 4:
		l.Lapse(now, c.Token)
	case 5:
		l.Renew(c.Token, now+Lease.Milliseconds())
	case 6:
		l.Sweep(now - rng.Int64N(200_000))
	default:
		l.Release(now, c.Token)
	}
}

// books holds a ledger to itself: usage is the sum of what the slots take, and every list is whole.
func books(t *testing.T, l *Ledger) {
	t.Helper()
	used := map[name]int{}
	for token, s := range l.slots {
		if s.token != token {
			t.Fatalf("slot %s under %s", s.token, token)
		}
		if _, over := l.ended[token]; over {
			t.Fatalf("slot %s is remembered as released", token)
		}
		for _, take := range s.takes {
			used[take.name]++
		}
	}
	for n, d := range l.dims {
		if d.used != used[n] || d.used <= 0 || d.name != n {
			t.Fatalf("%v: %d used, the slots take %d", n, d.used, used[n])
		}
	}
	listed, entries, admitted := 0, 0, 0
	for c := range l.Places() {
		if admitted++; l.slots[c.Token] == nil {
			t.Fatalf("%s is listed and has no place", c.Token)
		}
	}
	for s := l.leases.first; s != nil; s = s.next {
		listed++
		if s.next != nil && (s.next.prev != s || s.next.leaseMS < s.leaseMS) || s.next == nil && l.leases.last != s {
			t.Fatalf("the list of leases is broken at %s", s.token)
		}
	}
	for n, w := range l.windows {
		if entries += w.times.len(); !slices.IsSorted(w.times.live()) || w.times.len() == 0 {
			t.Fatalf("window %v: %v", n, w.times.live())
		}
	}
	if listed != len(l.slots) || admitted != len(l.slots) || len(used) != len(l.dims) || entries != l.entries || l.order.len() < len(l.ended) {
		t.Fatalf("%d leases, %d dimensions, %d entries, %d endings", listed, len(l.dims), l.entries, l.order.len())
	}
}

// Restores any bytes. Proves that no snapshot makes Restore panic, and that what it takes has right books
// and writes a snapshot that is taken again.
func FuzzRestore(f *testing.F) {
	l := New()
	c := call("a", Take{Kind: In, Limit: 1}, Take{Kind: User, ID: "u"})
	c.Windows = []Window{{Kind: Limit, ID: "w", Max: 1, PeriodMS: 1000}}
	l.Admit(1, c)
	l.Swap(2, Swap{Token: "a", Attempt: 3, Drop: []Take{{Kind: In}}, Add: []Take{{Kind: Trunk, ID: "t", Limit: 1}}})
	l.Release(2, "b")
	f.Add(l.AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Restore(pack.NewReader(data))
		if err != nil {
			return
		}
		books(t, l)
		first := l.AppendSnapshot(nil)
		again, err := Restore(pack.NewReader(first))
		if err != nil || !bytes.Equal(again.AppendSnapshot(nil), first) {
			t.Fatalf("%v: % x", err, first)
		}
	})
}

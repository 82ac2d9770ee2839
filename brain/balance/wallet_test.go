package balance

import (
	"fmt"
	"testing"
	"time"
)

const t0 = int64(1_800_000_000_000)

var minute = Terms{10_000, 60_000, 60, 60} // 0.01 to connect, 0.06 a minute

// do applies an op at a time, and holds the wallet to its books.
func do(t testing.TB, m *Machine, at int64, o *Op) Reply {
	t.Helper()
	reply, _, err := m.Apply(at, AppendOp(nil, o))
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	y, err := ReadReply(reply)
	if err != nil {
		t.Fatal(err)
	}
	check(t, m)
	return y
}

// check holds the books: the movements come to the balance, the holds to what is held, nothing is over its bounds.
func check(t testing.TB, m *Machine) {
	t.Helper()
	sum, held := m.opening.Micros, int64(0)
	for after := int64(0); ; {
		p := m.Statement(after, 7)
		if p.OpeningMicros != sum {
			t.Fatalf("a page opens with %d, want %d", p.OpeningMicros, sum)
		}
		for _, v := range p.Movements {
			if sum += v.Micros; v.AfterMicros != sum {
				t.Fatalf("movement %d leaves %d, want %d", v.Seq, v.AfterMicros, sum)
			}
		}
		if after = p.Next; p.ClosingMicros != sum {
			t.Fatalf("a page closes with %d, want %d", p.ClosingMicros, sum)
		}
		if !p.More {
			break
		}
	}
	for id, h := range m.holds {
		if held += h.micros; h.id != id || h.micros != h.terms.Charge(h.sec*1000) || m.calls.byID[id] != nil {
			t.Fatalf("hold %+v", h)
		}
	}
	if b := m.Balance(); sum != b.BalanceMicros || held != b.HeldMicros || b.AvailableMicros != sum+b.LimitMicros-held {
		t.Fatalf("%+v, the movements come to %d, the holds to %d", b, sum, held)
	}
	if len(m.leases)+len(m.over) != len(m.holds) || len(m.calls.byID) > 2*m.calls.most || len(m.hands.byID) > 2*m.hands.most || len(m.moves)-m.head > MaxMovements {
		t.Fatal("a list is not as long as it may be")
	}
}

func take(id string, sec, most int64) *Op {
	return &Op{Kind: Hold, ID: id, AskedMS: t0, CallID: "c" + id, To: "4930", Prefix: "49", Terms: &minute, Sec: sec, MostSec: most}
}

func settle(id string, talkMS int64) *Op {
	return &Op{Kind: Settle, ID: id, AskedMS: t0, CallID: "c" + id, To: "4930", Prefix: "49", Terms: &minute, TalkMS: talkMS}
}

func release(id string) *Op {
	return &Op{Kind: Release, ID: id, AskedMS: t0, CallID: "c" + id, Terms: &minute}
}

func topup(id string, micros int64) *Op {
	return &Op{Kind: TopUp, ID: id, AskedMS: t0, Micros: micros, Text: "by hand"}
}

// Tells the life of a wallet step by step, with every answer worked out by hand.
func TestMachine_Story(t *testing.T) {
	m := New("acc_1")
	for i, row := range []struct {
		op   *Op
		want Reply
	}{
		{take("a", 0, 3600), Reply{Why: WhyMoney}},
		{topup("t1", 200_000), Reply{Done: true, BalanceMicros: 200_000, AvailableMicros: 200_000}},
		{topup("t1", 200_000), Reply{Done: true, Repeated: true, BalanceMicros: 200_000, AvailableMicros: 200_000}},
		{topup("t1", 200_001), Reply{Why: WhyConflict, BalanceMicros: 200_000, AvailableMicros: 200_000}},
		// a minute is 70,000; all would pay for three: 10,000 + 180,000
		{take("a", 0, 3600), Reply{Done: true, HeldSec: 60, MoneySec: 180, HeldMicros: 70_000, BalanceMicros: 200_000, AvailableMicros: 130_000}},
		{take("a", 0, 3600), Reply{Done: true, Repeated: true, HeldSec: 60, MoneySec: 180, HeldMicros: 70_000, BalanceMicros: 200_000, AvailableMicros: 130_000}},
		{take("b", 90, 3600), Reply{Done: true, HeldSec: 120, MoneySec: 120, HeldMicros: 130_000, BalanceMicros: 200_000}},
		{take("c", 0, 3600), Reply{Why: WhyMoney, BalanceMicros: 200_000}},
		{&Op{Kind: Extend, ID: "a", Sec: 61, Answered: true}, Reply{Why: WhyMoney, HeldSec: 60, MoneySec: 60, HeldMicros: 70_000, BalanceMicros: 200_000}},
		{&Op{Kind: Extend, ID: "z", Sec: 61}, Reply{Why: WhyUnknown, BalanceMicros: 200_000}},
		{release("b"), Reply{Done: true, BalanceMicros: 200_000, AvailableMicros: 130_000}},
		{&Op{Kind: Extend, ID: "a", Sec: 61, TalkMS: 50_000}, Reply{Done: true, HeldSec: 120, MoneySec: 180, HeldMicros: 130_000, BalanceMicros: 200_000, AvailableMicros: 70_000}},
		// 130.5 s: three minutes, of which two are held
		{settle("a", 130_500), Reply{Done: true, ChargedMicros: 190_000, BeyondMicros: 60_000, BalanceMicros: 10_000, AvailableMicros: 10_000}},
		{settle("a", 130_500), Reply{Done: true, Repeated: true, ChargedMicros: 190_000, BalanceMicros: 10_000, AvailableMicros: 10_000}},
		{release("a"), Reply{Done: true, Repeated: true, ChargedMicros: 190_000, BalanceMicros: 10_000, AvailableMicros: 10_000}},
		{take("a", 0, 3600), Reply{Why: WhyOver, ChargedMicros: 190_000, BalanceMicros: 10_000, AvailableMicros: 10_000}},
		{&Op{Kind: Limit, ID: "l1", AskedMS: t0, Micros: 60_000}, Reply{Done: true, BalanceMicros: 10_000, AvailableMicros: 70_000}},
		{take("d", 60, 30), Reply{Done: true, HeldSec: 30, MoneySec: 30, HeldMicros: 70_000, BalanceMicros: 10_000}},
		{settle("d", 61_000), Reply{Done: true, ChargedMicros: 130_000, BeyondMicros: 60_000, BalanceMicros: -120_000, AvailableMicros: -60_000}},
		{take("e", 0, 60), Reply{Why: WhyMoney, BalanceMicros: -120_000, AvailableMicros: -60_000}},
		// released as unanswered, settled all the same: the answer wins
		{settle("b", 1), Reply{Done: true, ChargedMicros: 70_000, BalanceMicros: -190_000, AvailableMicros: -130_000}},
		// never held: charged by what it brings, once
		{settle("f", 0), Reply{Done: true, ChargedMicros: 70_000, BeyondMicros: 70_000, BalanceMicros: -260_000, AvailableMicros: -200_000}},
		{settle("f", 0), Reply{Done: true, Repeated: true, ChargedMicros: 70_000, BalanceMicros: -260_000, AvailableMicros: -200_000}},
		// released before its hold arrives: it holds nothing any more
		{release("g"), Reply{Done: true, BalanceMicros: -260_000, AvailableMicros: -200_000}},
		{take("g", 0, 60), Reply{Why: WhyOver, BalanceMicros: -260_000, AvailableMicros: -200_000}},
		{&Op{Kind: Adjust, ID: "j", AskedMS: t0, Micros: -MaxMicros}, Reply{Why: WhyBound, BalanceMicros: -260_000, AvailableMicros: -200_000}},
		{&Op{Kind: Adjust, ID: "j", AskedMS: t0, Micros: 260_000}, Reply{Done: true, AvailableMicros: 60_000}},
		{&Op{Kind: Limit, ID: "l0", AskedMS: t0 - 1, Micros: 1}, Reply{Why: WhyStale, AvailableMicros: 60_000}},
	} {
		if got := do(t, m, t0+int64(i), row.op); got != row.want {
			t.Errorf("step %d, %s %s:\n%+v, want\n%+v", i, row.op.Kind, row.op.ID, got, row.want)
		}
	}
}

// Proves that what costs nothing is held even below the limit, and takes nothing.
func TestMachine_AFreeCallNeedsNoMoney(t *testing.T) {
	m, free := New("acc_1"), Terms{0, 0, 60, 60}
	do(t, m, t0, &Op{Kind: Adjust, ID: "j", AskedMS: t0, Micros: -5})
	o := take("a", 0, 3600)
	o.Terms = &free
	if y := do(t, m, t0, o); !y.Done || y.MoneySec != 3600 || y.HeldMicros != 0 {
		t.Errorf("%+v", y)
	}
}

// Proves that nothing is done twice, however late: what is forgotten, by age or by number, is refused as stale; and that what
// comes from the future waits.
func TestMachine_WhatIsForgottenIsNotDoneAgain(t *testing.T) {
	m := New("acc_1")
	late := t0 + Remember.Milliseconds() + 1
	do(t, m, t0, settle("a", 1000))
	do(t, m, late, &Op{Kind: Settle, ID: "b", AskedMS: late, Terms: &minute, TalkMS: 1000})
	if m.calls.byID["a"] != nil {
		t.Fatal("it is remembered for ever")
	}
	for _, o := range []*Op{settle("a", 1000), take("a", 0, 60)} {
		if y := do(t, m, late, o); y.Why != WhyStale {
			t.Errorf("%s by age: %+v", o.Kind, y)
		}
	}
	if y := do(t, m, late, release("a")); !y.Done || !y.Repeated {
		t.Errorf("release: %+v", y)
	}
	m.calls.most = 3
	for i := range int64(5) {
		do(t, m, late+9, &Op{Kind: Settle, ID: fmt.Sprint("n", i), AskedMS: late + 1 + i, Terms: &minute})
	}
	if y := do(t, m, late+9, &Op{Kind: Settle, ID: "n1", AskedMS: late + 2, Terms: &minute}); y.Why != WhyStale || len(m.calls.byID) != 3 {
		t.Errorf("by number: %+v", y)
	}
	for _, o := range []*Op{settle("f", 1), take("f", 0, 60), release("f"), topup("f", 1)} {
		if o.AskedMS = late + 60_001; do(t, m, late, o).Why != WhyClock {
			t.Errorf("%s of the future is done", o.Kind)
		}
	}
}

// Proves the rule of leases: silence alone releases nothing; over and silent does, charging the talk that was heard of; and a
// settle that comes after that charges the difference, up or down.
func TestMachine_OnlyWhoIsOverExpires(t *testing.T) {
	m := New("acc_1")
	do(t, m, t0, topup("t", 10_000_000))
	for _, id := range []string{"a", "b", "c"} {
		do(t, m, t0, take(id, 60, 3600))
	}
	do(t, m, t0, &Op{Kind: Extend, ID: "b", Answered: true, TalkMS: 61_000, Sec: 300})
	day := t0 + 24*time.Hour.Milliseconds()
	if ids := m.Doubtful(day, 2); len(ids) != 2 || len(m.Doubtful(day, 9)) != 1 || len(m.Doubtful(day, 9)) != 0 || len(m.Doubtful(day+Pause.Milliseconds(), 9)) != 3 {
		t.Fatalf("doubtful: %v", ids)
	}
	if op := m.Due(day); op != nil || len(m.holds) != 3 {
		t.Fatal("silence ended a hold")
	}
	for _, id := range []string{"a", "b", "c"} {
		m.Over(day, id)
	}
	m.Renew(day, "c") // it was heard of after all
	at, ok := m.Deadline()
	if !ok || at != day+Lease.Milliseconds() || m.Due(at-1) != nil {
		t.Fatalf("due at %d", at)
	}
	reply, changed, err := m.Apply(at, m.Due(at))
	if err != nil || !changed || len(reply) == 0 || len(m.holds) != 1 || m.Due(at) != nil {
		t.Fatalf("%v, %d holds", err, len(m.holds))
	}
	if b := do(t, m, at, topup("t", 10_000_000)).BalanceMicros; b != 10_000_000-130_000 {
		t.Fatalf("%d after 61 s of b", b)
	}
	for _, row := range []struct {
		id                    string
		talkMS, charged, left int64
	}{{"b", 180_001, 250_000, 10_000_000 - 250_000}, {"b", 1, 250_000, 10_000_000 - 250_000}, {"a", 1, 70_000, 10_000_000 - 320_000}} {
		if y := do(t, m, at, settle(row.id, row.talkMS)); y.ChargedMicros != row.charged || y.BalanceMicros != row.left {
			t.Errorf("%s: %+v", row.id, y)
		}
	}
	m.Over(at, "c")
	m.Resume(at)
	if _, ok := m.Deadline(); ok {
		t.Error("who took over knows who is over")
	}
}

// Proves that what is folded, by number and by age, changes no sum, and that pages go on behind it.
func TestMachine_FoldedMovementsKeepTheSums(t *testing.T) {
	m := New("acc_1")
	for i := range int64(MaxMovements + 100) {
		m.move(Movement{Kind: TopUp, ID: "x", TimeMS: t0 + i, Micros: i})
	}
	m.fold(t0 + MaxMovements + 100)
	check(t, m)
	first := m.Statement(0, 1)
	if first.Folded != 100 || first.Movements[0].Seq != 101 || first.OpeningMicros != 99*100/2 {
		t.Fatalf("%+v", first)
	}
	at := m.Since(t0 + 1000)
	if p := m.Statement(at, 2); p.Movements[0].TimeMS != t0+1000 || p.Next != at+2 || !p.More {
		t.Errorf("%+v", p)
	}
	balance := m.balanceMicros
	do(t, m, t0+200+Window.Milliseconds(), &Op{Kind: TopUp, ID: "y", AskedMS: t0, Micros: 1})
	if p := m.Statement(0, 1); p.Folded != 201 || m.balanceMicros != balance+1 {
		t.Errorf("%+v", p)
	}
	if p := m.Statement(1<<40, 1); len(p.Movements) != 0 || p.OpeningMicros != m.balanceMicros || p.More {
		t.Errorf("behind the end: %+v", p)
	}
}

// Proves that holds are bounded, and that no sum leaves its bounds.
func TestMachine_IsBounded(t *testing.T) {
	m := New("acc_1")
	m.limitMicros = MaxMicros
	for i := range MaxHolds {
		m.holds[fmt.Sprint(i)] = &hold0
	}
	if reply, _, _ := m.Apply(t0, AppendOp(nil, take("a", 0, 60))); true {
		if y, _ := ReadReply(reply); y.Why != WhyFull {
			t.Errorf("%+v", y)
		}
	}
	m = New("acc_1")
	dear := Terms{MaxPriceMicros, MaxPriceMicros, 60, 60}
	for i := 0; ; i++ {
		o := settle(fmt.Sprint(i), MaxTalkMS)
		if o.Terms = &dear; do(t, m, t0, o).Why == WhyBound {
			break
		}
	}
	if m.balanceMicros < floor || m.balanceMicros > floor/2 {
		t.Errorf("it ends at %d", m.balanceMicros)
	}
	if y := do(t, m, t0, topup("t", MaxMicros)); !y.Done {
		t.Errorf("%+v", y)
	}
}

var hold0 hold

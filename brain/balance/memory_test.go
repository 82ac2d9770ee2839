package balance

import (
	"bytes"
	"fmt"
	"testing"
)

// asked is an op of a token, asked for at a time.
func asked(o *Op, at int64) *Op {
	o.AskedMS = at
	return o
}

// Lets a node whose clock is a minute ahead end more calls than are remembered. Proves that nobody whose clock is right is too old by
// that, that none of them is charged twice, and that all the same they are forgotten once their time has come.
func TestMachine_AClockAheadMakesNobodyTooOld(t *testing.T) {
	m, ahead := New("acc_1"), t0+MaxAhead.Milliseconds()
	m.calls.most, m.hands.most = 3, 3
	do(t, m, t0, asked(topup("t", 10_000_000), t0-1))
	for i := range 4 {
		if y := do(t, m, t0, asked(settle(fmt.Sprint("n", i), 1000), ahead)); y.ChargedMicros != 70_000 {
			t.Fatalf("ahead: %+v", y)
		}
		do(t, m, t0, asked(topup(fmt.Sprint("p", i), 1), ahead))
	}
	if y := do(t, m, t0, asked(take("a", 60, 60), t0)); !y.Done {
		t.Errorf("a hold: %+v", y)
	}
	if y := do(t, m, t0, settle("b", 1000)); !y.Done || y.ChargedMicros != 70_000 {
		t.Errorf("a settle without a hold: %+v", y)
	}
	if y := do(t, m, t0, topup("u", 1)); !y.Done {
		t.Errorf("a top-up: %+v", y)
	}
	for _, at := range []int64{t0, ahead, ahead + 1000} {
		if m.calls.horizonMS > at || m.hands.horizonMS > at {
			t.Errorf("the horizon is %d and %d after now", m.calls.horizonMS-at, m.hands.horizonMS-at)
		}
		before := m.Balance().BalanceMicros
		for i := range 4 {
			y := do(t, m, at, asked(settle(fmt.Sprint("n", i), 1000), ahead))
			z := do(t, m, at, asked(topup(fmt.Sprint("p", i), 1), ahead))
			if !y.Repeated && y.Why != WhyStale || !z.Repeated && z.Why != WhyStale || y.BalanceMicros != before || z.BalanceMicros != before {
				t.Errorf("again: %+v, %+v", y, z)
			}
		}
		do(t, m, at, asked(settle(fmt.Sprint("x", at), 1000), at))
		do(t, m, at, asked(topup(fmt.Sprint("y", at), 1), at))
	}
	if len(m.calls.byID) != 3 || len(m.hands.byID) != 3 {
		t.Errorf("%d calls and %d others are remembered", len(m.calls.byID), len(m.hands.byID))
	}
}

// Proves that what is remembered beyond the number is bounded too: an end is put off, changes nothing, and is done when there is room.
func TestMachine_AnEndIsPutOffWhileTheMemoryIsFull(t *testing.T) {
	m, ahead := New("acc_1"), t0+MaxAhead.Milliseconds()
	m.calls.most, m.hands.most = 3, 3
	do(t, m, t0, asked(topup("t", 10_000_000), t0-1))
	do(t, m, t0, take("a", 60, 60))
	do(t, m, t0, take("over", 60, 60))
	for i := range 6 {
		do(t, m, t0, asked(settle(fmt.Sprint("n", i), 1000), ahead))
		do(t, m, t0+1, asked(topup(fmt.Sprint("p", i), 1), ahead))
	}
	before := m.AppendSnapshot(nil)
	for _, o := range []*Op{settle("a", 1000), release("a"), settle("z", 1000), topup("z", 1)} {
		if y := do(t, m, t0+1, o); y.Why != WhyFull {
			t.Errorf("%s %s: %+v", o.Kind, o.ID, y)
		}
	}
	do(t, m, t0+1, &Op{Kind: Expire, IDs: []string{"over"}})
	if !bytes.Equal(m.AppendSnapshot(nil), before) {
		t.Error("what is put off changes something")
	}
	if y := do(t, m, ahead, settle("a", 1000)); y.ChargedMicros != 70_000 || len(m.calls.byID) != 3 {
		t.Errorf("when there is room: %+v", y)
	}
}

// Proves that a wallet which remembers as many as it may is restored.
func TestRestore_AFullMemory(t *testing.T) {
	m := New("acc_1")
	for i := range 2 * MaxEnded {
		m.calls.remember(&ended{id: fmt.Sprint(i), callID: "c", kind: Settle, timeMS: t0, askedMS: t0 + 1})
	}
	data := m.AppendSnapshot(nil)
	again, err := Restore("acc_1", data)
	if err != nil || !bytes.Equal(again.AppendSnapshot(nil), data) {
		t.Fatalf("restored otherwise: %v", err)
	}
}

// Proves that a call does nothing to another that has its token, while it is held, released or settled, also after a restore.
func TestMachine_AnotherCallOfATokenChangesNothing(t *testing.T) {
	m := New("acc_1")
	do(t, m, t0, asked(topup("t", 10_000_000), t0-1))
	for _, own := range []*Op{take("a", 60, 60), release("a"), settle("a", 1000)} {
		if y := do(t, m, t0, own); !y.Done {
			t.Fatalf("%s: %+v", own.Kind, y)
		}
		before := m.AppendSnapshot(nil)
		var err error
		if m, err = Restore("acc_1", before); err != nil {
			t.Fatal(err)
		}
		for _, other := range []*Op{settle("a", 99_000), release("a"), {Kind: Release, ID: "a", AskedMS: t0, Terms: &minute, Answered: true, TalkMS: 99_000}} {
			other.CallID = "another"
			if y := do(t, m, t0, other); y.Why != WhyConflict || y.ChargedMicros != 0 {
				t.Errorf("%s after %s: %+v", other.Kind, own.Kind, y)
			}
		}
		if !bytes.Equal(m.AppendSnapshot(nil), before) {
			t.Errorf("after %s another call changes something", own.Kind)
		}
	}
}

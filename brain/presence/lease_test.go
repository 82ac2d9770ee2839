package presence

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// asked is the lease after a node has asked for it.
func asked(t *testing.T, m *Machine, now int64, node string, a LeaseAsk) (api.TrunkLease, bool) {
	t.Helper()
	a.TrunkID = "trk_1"
	if a.Contact == "" {
		a.Contact = "sip:x@" + node
	}
	reply, changed, err := m.Apply(now, AppendLease(nil, node, []LeaseAsk{a}))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ReadLeases(reply)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return list[0], changed
}

// Proves the life of a lease: the first to ask has it, renewing keeps it, another gets it when it is over or given back,
// with a higher fence and the Contacts that he has to remove; who registered tells where.
func TestLease_GoesToOneNodeAtATime(t *testing.T) {
	m := New("acc_1")
	a, _ := asked(t, m, 1000, "a", LeaseAsk{})
	if a.Node != "a" || a.Fence == 0 || a.LeaseMS != TrunkLeaseMS || len(a.Old) != 0 {
		t.Fatalf("first: %+v", a)
	}
	if b, changed := asked(t, m, 3999, "b", LeaseAsk{}); b.Node != "a" || changed {
		t.Errorf("within the lease: %+v, changed %v", b, changed)
	}
	if again, _ := asked(t, m, 3999, "a", LeaseAsk{Fence: a.Fence, Target: "192.0.2.9:5060", ExpiresMS: 99}); again.Fence != a.Fence || again.Target != "192.0.2.9:5060" || again.ExpiresMS != 99 {
		t.Errorf("renewed: %+v", again)
	}
	if b, _ := asked(t, m, 6998, "b", LeaseAsk{}); b.Node != "a" || b.Target != "192.0.2.9:5060" {
		t.Errorf("renewed for its whole time: %+v", b)
	}
	b, _ := asked(t, m, 6999, "b", LeaseAsk{})
	if b.Node != "b" || b.Fence <= a.Fence || !slices.Equal(b.Old, []string{"sip:x@a"}) || b.Target != "192.0.2.9:5060" {
		t.Errorf("after its end: %+v", b)
	}
	if late, changed := asked(t, m, 7000, "a", LeaseAsk{Fence: a.Fence, Target: "elsewhere:1"}); late.Node != "b" || late.Target != "192.0.2.9:5060" || changed {
		t.Errorf("what a former holder says counts: %+v", late)
	}
	if kept, _ := asked(t, m, 7000, "b", LeaseAsk{Fence: b.Fence}); len(kept.Old) != 1 {
		t.Errorf("before it is registered: %+v", kept)
	}
	if done, _ := asked(t, m, 7001, "b", LeaseAsk{Fence: b.Fence, Target: "192.0.2.8:5060"}); len(done.Old) != 0 || done.Target != "192.0.2.8:5060" {
		t.Errorf("registered: %+v", done)
	}
	if _, changed := asked(t, m, 7002, "a", LeaseAsk{Fence: b.Fence, Release: true}); changed {
		t.Error("a lease was given back by somebody else")
	}
	asked(t, m, 7002, "b", LeaseAsk{Fence: b.Fence, Release: true})
	if c, _ := asked(t, m, 7002, "c", LeaseAsk{}); c.Node != "c" || c.Fence <= b.Fence || !slices.Equal(c.Old, []string{"sip:x@b"}) || c.Target != "192.0.2.8:5060" {
		t.Errorf("given back: %+v", c)
	}
	c2, _ := asked(t, m, 7003, "c", LeaseAsk{})
	if c2.Node != "c" || len(c2.Old) != 1 {
		t.Errorf("a holder who began anew: %+v", c2)
	}
	asked(t, m, 7003, "c", LeaseAsk{Fence: c2.Fence, Release: true, Forget: true})
	if m.Empty() {
		t.Error("a lease was forgotten with a Contact that nobody has removed")
	}
	d, _ := asked(t, m, 7004, "d", LeaseAsk{})
	if !slices.Equal(d.Old, []string{"sip:x@b", "sip:x@c"}) {
		t.Errorf("after it was to be forgotten: %+v", d)
	}
	asked(t, m, 7005, "d", LeaseAsk{Fence: d.Fence, Target: "192.0.2.8:5060"})
	asked(t, m, 7006, "d", LeaseAsk{Fence: d.Fence, Release: true, Forget: true})
	if !m.Empty() {
		t.Error("a forgotten lease is kept")
	}
}

// Proves that the leases of trunks that are gone keep no room: those given back and those of holders who are gone, as
// soon as their registrations have run out; never one that is held, or that still stands.
func TestLease_MakesRoom(t *testing.T) {
	m := New("acc_1")
	one := func(now int64, a LeaseAsk) api.TrunkLease {
		a.Contact = "sip:a@b"
		reply, _, err := m.Apply(now, AppendLease(nil, "n1", []LeaseAsk{a}))
		list, readErr := ReadLeases(reply)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		return list[0]
	}
	for i := range MaxLeases {
		id := fmt.Sprint("trk_", i)
		l := one(1000, LeaseAsk{TrunkID: id})
		switch i % 4 {
		case 0: // given back, still registered for a while
			one(1001, LeaseAsk{TrunkID: id, Fence: l.Fence, Target: "t:1", ExpiresMS: 60_000})
			one(1002, LeaseAsk{TrunkID: id, Fence: l.Fence, Release: true})
		case 1: // given back, never registered
			one(1002, LeaseAsk{TrunkID: id, Fence: l.Fence, Release: true})
		case 2: // its holder is gone, and it stands for a while
			one(1001, LeaseAsk{TrunkID: id, Fence: l.Fence, Target: "t:1", ExpiresMS: 60_000})
		} // the others are held
	}
	for _, c := range []struct {
		now  int64
		kept int
	}{{2000, MaxLeases * 3 / 4}, {4500, MaxLeases / 2}, {60_000, 0}} {
		for i := 0; len(m.leases) < MaxLeases; i++ { // full again
			one(c.now-1, LeaseAsk{TrunkID: fmt.Sprint("trk_", c.now, "_", i)})
		}
		if l := one(c.now, LeaseAsk{TrunkID: fmt.Sprint("trk_new", c.now)}); l.Node != "n1" {
			t.Errorf("at %d there is no room: %+v", c.now, l)
		}
		kept := 0
		for i := range MaxLeases {
			if m.leases[fmt.Sprint("trk_", i)] != nil {
				kept++
			}
		}
		if kept != c.kept {
			t.Errorf("at %d %d of the first leases are kept, want %d", c.now, kept, c.kept)
		}
	}
}

// Proves that the list of leases says what is left of each.
func TestLeases_SayWhatIsLeft(t *testing.T) {
	m := New("acc_1")
	l, _ := asked(t, m, 1000, "a", LeaseAsk{})
	for _, c := range []struct{ now, left int64 }{{1000, TrunkLeaseMS}, {3999, 1}, {4000, 0}, {900_000, 0}, {0, TrunkLeaseMS}} {
		if got := m.Leases(c.now)[0].LeaseMS; int64(got) != c.left {
			t.Errorf("at %d: %d ms, want %d", c.now, got, c.left)
		}
	}
	asked(t, m, 1001, "a", LeaseAsk{Fence: l.Fence, Release: true})
	if got := m.Leases(1001)[0].LeaseMS; got != 0 {
		t.Errorf("given back: %d ms", got)
	}
}

// Proves over random asks of nodes whose requests take a while, with brains that take over and whose clocks are up to 10 s off: in the order of
// the journal a fence belongs to one node, and a node that counts its lease from when it asked never believes in it
// while another has it. The journal alone, replayed, makes the same machine.
func TestLease_HasNeverTwoHolders(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		m, replay := New("acc_1"), New("acc_1")
		believes := map[string]int64{} // until when each node holds it, by its own count
		fences := map[string]int64{}
		owner := map[int64]string{}
		real, skew, last := int64(100_000), int64(0), int64(0) // nodes count in real time, brains by clocks of their own
		for step := range 400 {
			real += r.Int64N(1500)
			if r.IntN(40) == 0 { // another brain takes over
				skew = r.Int64N(20_000) - 10_000
				var err error
				if m, err = Restore("acc_1", m.AppendSnapshot(nil)); err != nil {
					t.Fatal(err)
				}
				m.Resume(real + skew)
			}
			now := real + skew
			node := string(rune('a' + r.IntN(4)))
			a := LeaseAsk{TrunkID: "trk_1", Contact: "sip:x@" + node, Fence: fences[node]}
			switch r.IntN(12) {
			case 0:
				a.Fence = 0
			case 1:
				a.Release = true
			case 2:
				a.Target = "t:1"
			}
			delay := r.Int64N(400) // between the node's asking and the machine's answering
			op := AppendLease(nil, node, []LeaseAsk{a})
			reply, changed, err := m.Apply(now, op)
			if err != nil {
				t.Fatal(err)
			}
			if changed {
				if _, _, err := replay.Apply(now, op); err != nil {
					t.Fatal(err)
				}
			}
			list, _ := ReadLeases(reply)
			l := list[0]
			if l.Node != node {
				fences[node], believes[node] = 0, 0
				continue
			}
			for other, until := range believes {
				if other != node && until > real {
					t.Fatalf("seed %d, step %d: at %d %s has it, and %s until %d", seed, step, real, node, other, until)
				}
			}
			if was := owner[l.Fence]; was != "" && was != node || l.Fence < last {
				t.Fatalf("seed %d, step %d: fence %d of %s was %q's, the last was %d", seed, step, l.Fence, node, was, last)
			}
			owner[l.Fence], last = node, l.Fence
			fences[node], believes[node] = l.Fence, real-delay+int64(l.LeaseMS)
		}
		for _, mm := range []*Machine{m, replay} { // what Resume adds is not in the journal
			for _, l := range mm.leases {
				l.untilMS = 0
			}
		}
		if !bytes.Equal(m.AppendSnapshot(nil), replay.AppendSnapshot(nil)) {
			t.Fatalf("seed %d: the journal makes another machine", seed)
		}
	}
}

// Proves that leases go through a snapshot, and that one of the layout before them is read.
func TestLease_IsInSnapshots(t *testing.T) {
	m := New("acc_1")
	for i := range 3 {
		asked(t, m, int64(1000+i*5000), fmt.Sprint("n", i), LeaseAsk{})
	}
	again, err := Restore("acc_1", m.AppendSnapshot(nil))
	if err != nil || fmt.Sprint(again.Leases(0)) != fmt.Sprint(m.Leases(0)) || len(again.Leases(0)[0].Old) != 2 {
		t.Errorf("%v: %+v, want %+v", err, again.Leases(0), m.Leases(0))
	}
}

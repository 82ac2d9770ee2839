package acd

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
)

// told is a desk in the middle of a random story, with the ops that were done.
func told(seed uint64, acts int) (d *Desk, s *story) {
	s = &story{rng: rand.New(rand.NewPCG(seed, 5)), now: base}
	d = New()
	for range acts {
		reply, _ := s.next(d)(d)
		s.heard(d, reply)
	}
	return d, s
}

// Proves that after a change of hands offers are ordered again, with the same ids and fences, that leases have at least
// ten seconds from then on, and that a talk stays as it is.
func TestResume_GivesOffersAgain(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna", "ben", "carl")})
	o.join("talks")
	o.talk("anna/talks")
	o.pass(1)
	o.join("rings")
	o.join("claimed")
	o.claim("carl/claimed")
	was := o.offers["ben/rings"]
	d, err := Restore(o.d.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	o.pass(0)
	o.d, o.now = d, o.now+3_600_000
	o.want("")
	d.Resume(o.now)
	orders := d.Orders()
	if len(orders) != 1 || orders[0].ID != "dispatch-"+was.ReservationID || orders[0].Offer.Fence != was.Fence || orders[0].Node != "n1" ||
		orders[0].UntilMS != o.now+10_000 {
		t.Fatalf("%+v", orders)
	}
	o.pass(9.9)
	o.want("")
	if o.confirm("carl/claimed") != "granted" || o.claim("ben/rings") != "granted" {
		t.Fatal("verdicts after the change of hands")
	}
}

// Proves that a damaged snapshot is refused with an error, or is a desk that works: cut at every byte, with a byte more,
// with each byte changed.
func TestRestore_RefusesDamage(t *testing.T) {
	d, s := told(3, 120)
	data := d.AppendSnapshot(nil)
	if _, err := Restore(append(bytes.Clone(data), 0)); err == nil {
		t.Error("a snapshot with a byte more was taken")
	}
	for i := range data {
		if _, err := Restore(data[:i]); err == nil {
			t.Errorf("cut at byte %d: taken", i)
		}
		for _, flip := range []byte{1, 0x80, 0xff} {
			damaged := bytes.Clone(data)
			damaged[i] ^= flip
			if r, err := Restore(damaged); err == nil {
				works(t, r, s.now)
			}
		}
	}
}

// works lets a desk do everything that it has to do by itself.
func works(t *testing.T, d *Desk, now int64) {
	t.Helper()
	first := d.AppendSnapshot(nil)
	if again, err := Restore(first); err != nil || !bytes.Equal(again.AppendSnapshot(nil), first) {
		t.Fatalf("restored again: %v", err)
	}
	d.Resume(now)
	for range 10 {
		now += 7000
		d.Expire(now, d.Lapsed(now, 10))
	}
	d.Queues(now, 0, 0, true)
	d.Agents(now, 0, 0)
	if _, err := Restore(d.AppendSnapshot(nil)); err != nil {
		t.Fatalf("what it became is refused: %v", err)
	}
}

// Proves that every op can be read by people and written again, byte for byte, through JSON too.
func TestDescribe_IsExact(t *testing.T) {
	s := &story{rng: rand.New(rand.NewPCG(1, 1)), now: base}
	setup := s.setup()
	for setup.Queues[0].SkillRelax == nil {
		setup = s.setup()
	}
	for _, op := range [][]byte{
		AppendSetup(nil, setup),
		AppendJoin(nil, &Join{EntryID: "e", Token: "t", CallID: "c", Node: "n", QueueID: "q", Priority: 3, Skills: []Skill{{"a", 1}}, CallerNumber: "1",
			CallerName: "x", Label: "l", ExitNoAgents: true, SinceMS: 5, CallbackFence: 6}, 7),
		AppendLeave(nil, "e", "t", LeftOption), AppendClaim(nil, "r", 1), AppendConfirm(nil, "r", 2), AppendMiss(nil, "r", 3, MissBusy),
		AppendAgent(nil, &AgentOp{"u", ActionBreak, "lunch", "q"}, 9), AppendCallback(nil, &Callback{"e", "t", "+491", 3, 4, 5, 6}),
		AppendMove(nil, "e", 2), AppendSend(nil, "e"), AppendSent(nil, "e"),
	} {
		o, err := Describe(op)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var read Op
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if again, err := AppendOp(nil, &read); err != nil || !bytes.Equal(again, op) || !reflect.DeepEqual(read.Kind, o.Kind) {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := Describe(op[:len(op)-1]); err == nil {
			t.Errorf("%s: cut off, and read", o.Kind)
		}
	}
	if _, err := AppendOp(nil, &Op{Kind: "join"}); err == nil {
		t.Error("a join without a caller")
	}
}

// Applies any bytes to a desk in the middle of its work. Proves that nothing makes it panic, that what cannot be read
// changes nothing, and that books are right after what can.
func FuzzApply(f *testing.F) {
	for _, op := range [][]byte{AppendSetup(nil, &Setup{Version: 99, Queues: []Queue{lineup(RingAll)}, Agents: staff("q", "a0", "a1")}),
		AppendJoin(nil, &Join{EntryID: "e", QueueID: "q0", Skills: []Skill{{"tax", 2}}}, 1), AppendLeave(nil, "e3", "", LeftAnswered),
		AppendClaim(nil, "1", 1), AppendConfirm(nil, "", 0), AppendMiss(nil, "zz", 5, MissFailed),
		AppendAgent(nil, &AgentOp{"a1", ActionAvailable, "", ""}, 0), AppendCallback(nil, &Callback{EntryID: "e3", Number: "1", Tries: 1, WindowMS: 60_000}),
		AppendJoin(nil, &Join{EntryID: "e4", QueueID: "q0", CallbackFence: 7}, 1), AppendMove(nil, "e3", 1), AppendSend(nil, "e3"), AppendSent(nil, "e3"), nil} {
		f.Add(int64(5000), op)
	}
	middle, s := told(3, 150)
	snapshot := middle.AppendSnapshot(nil)
	f.Fuzz(func(t *testing.T, later int64, op []byte) {
		d, err := Restore(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		d.Resume(s.now)
		_, changed, err := d.Apply(s.now+later%1_000_000, op)
		if after := d.AppendSnapshot(nil); (err != nil || !changed) && !bytes.Equal(after, snapshot) {
			t.Fatal("it changed all the same")
		}
		books(t, d)
	})
}

// Restores any bytes. Proves that no snapshot makes a desk panic.
func FuzzRestore(f *testing.F) {
	d, s := told(3, 60)
	f.Add(d.AppendSnapshot(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := Restore(data); err == nil {
			works(t, d, s.now)
		}
	})
}

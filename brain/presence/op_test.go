package presence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

// everyOp is one op of each kind, with every field set.
func everyOp() map[string][]byte {
	a := admission("t1", "c1", "n1")
	a.Emergency = true
	a.Windows = []cac.Window{{Kind: cac.Limit, ID: "lim_1", Max: 3, PeriodMS: 60_000, Hard: true}, {Kind: cac.TrunkRate, ID: "trk_1", Max: 9, PeriodMS: 1000}}
	ev := Event{UserID: "u1", DeviceID: "d1", Takes: a.Takes, Event: api.Event{Seq: 7, TimeMS: 8, Type: api.EventDialogStart, AccountID: "acc_1", AOR: aor,
		Contact: "sip:1@x", ExpiresS: 60, SourceIP: "192.0.2.1", Transport: "udp", UserAgent: "é", CallID: "c1", Token: "t1", From: "1", To: "2", SIPCode: 486}}
	return map[string][]byte{
		"admit":   AppendAdmit(nil, &a),
		"swap":    AppendSwap(nil, &cac.Swap{Token: "t1", Attempt: 34, Emergency: true, Drop: a.Takes, Add: []cac.Take{{Kind: cac.Trunk, ID: "trk_1", Limit: 2}}, Windows: a.Windows}),
		"events":  AppendEvents(nil, "n1", []Event{ev, {}}),
		"release": AppendRelease(nil, []string{"t1", "t2"}, WhyReset),
		"agent":   appendAgent(nil),
		"expire":  appendExpire(nil, []string{"t1"}, []string{"r1", "r2"}),
		"acd":     AppendACD(nil, acd.AppendJoin(nil, &acd.Join{EntryID: "e1", Token: "t1", CallID: "c1", Node: "n1", QueueID: "q1", CallerName: "é", SinceMS: 5}, 1)),
		"lease":   AppendLease(nil, "n1", []LeaseAsk{{TrunkID: "trk_1", Contact: "sip:1@192.0.2.1", Fence: 3, Target: "192.0.2.9:5060", ExpiresMS: 5, LastError: "é", Release: true, Forget: true}}),
		"report":  appendReport(nil, "n1", []string{"t1"}, []Dialog{{Token: "t9", CallID: "c9", From: "1", To: "2", SinceMS: 3, Takes: a.Takes}}),
	}
}

// Proves that every op says its kind, goes through JSON unchanged, and is refused when it is cut or has a byte more,
// without a change to the machine.
func TestOp_IsReadExactly(t *testing.T) {
	m := New("acc_1")
	empty := m.AppendSnapshot(nil)
	for name, op := range everyOp() {
		what, err := Describe(op)
		if err != nil || what.(*Op).Kind != name {
			t.Fatalf("%s: %+v, %v", name, what, err)
		}
		text, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := OpFromJSON(text); err != nil || !bytes.Equal(again, op) {
			t.Errorf("%s: %v\n% x through %s\n% x", name, err, op, text, again)
		}
		for i := range op {
			if name == "expire" && i == len(appendTokens([]byte{kindExpire}, []string{"t1"})) {
				continue // as it was written before there were queues
			}
			if _, _, err := m.Apply(nowMS, op[:i]); err == nil {
				t.Errorf("%s cut at byte %d was applied", name, i)
			}
		}
		if _, _, err := m.Apply(nowMS, append(bytes.Clone(op), 0)); err == nil {
			t.Errorf("%s with a byte more was applied", name)
		}
	}
	if !bytes.Equal(m.AppendSnapshot(nil), empty) {
		t.Error("a refused op changed the machine")
	}
}

// Proves that an op without its name, with a garbled one, or numbers out of range is refused.
func TestApply_RefusesWhatMeansNothing(t *testing.T) {
	nameless, garbled, early, oddTake, oddWindow := admission("", "c", "n"), admission("t", "\xff", "n"), admission("t", "c", "n"), admission("t", "c", "n"), admission("t", "c", "n")
	early.AskedMS = -1
	oddTake.Takes = []cac.Take{{Kind: 99}}
	oddWindow.Windows = []cac.Window{{Kind: cac.Limit, Max: -1}}
	ops := [][]byte{nil, {0}, {4}, {99}, AppendACD(nil, nil), AppendACD(nil, []byte{99}), appendExpire(nil, nil, []string{"\xff"}),
		AppendRelease(nil, []string{"\xff"}, WhyReset), appendReport(nil, "n", nil, []Dialog{{CallID: "c"}}), AppendEvents(nil, "n", []Event{{Takes: []cac.Take{{Kind: 0}}}})}
	good := cac.Swap{Token: "t", Attempt: 1}
	for _, spoil := range []func(s *cac.Swap){func(s *cac.Swap) { s.Token = "" }, func(s *cac.Swap) { s.Token = "\xff" }, func(s *cac.Swap) { s.Attempt = 0 },
		func(s *cac.Swap) { s.Attempt = -1 }, func(s *cac.Swap) { s.Attempt = cac.MaxAttempt + 1 }, func(s *cac.Swap) { s.Drop = oddTake.Takes },
		func(s *cac.Swap) { s.Add = oddTake.Takes }, func(s *cac.Swap) { s.Windows = oddWindow.Windows }} {
		s := good
		spoil(&s)
		ops = append(ops, AppendSwap(nil, &s))
	}
	for _, a := range []Admit{nameless, garbled, early, oddTake, oddWindow} {
		ops = append(ops, AppendAdmit(nil, &a))
	}
	for i, op := range ops {
		if _, changed, err := New("acc_1").Apply(nowMS, op); err == nil || changed {
			t.Errorf("op %d was applied: % x", i, op)
		}
	}
}

// Reads any bytes as an op. Proves that none makes a machine panic or breaks its books, and that what can be read
// is written again the same, by itself and, with valid texts, through JSON.
func FuzzOp(f *testing.F) {
	for _, op := range everyOp() {
		f.Add(op)
	}
	f.Fuzz(func(t *testing.T, op []byte) {
		m := New("acc_1")
		_, changed, err := m.Apply(nowMS, op)
		check(t, m)
		what, told := Describe(op)
		if (err == nil) != (told == nil) || err != nil && changed {
			t.Fatalf("applied: %v, described: %v", err, told)
		}
		if err != nil {
			return
		}
		text, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(op) && !validOp(what.(*Op)) {
			return
		}
		again, err := OpFromJSON(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		second, err := Describe(again)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(second); err != nil || !bytes.Equal(twice, text) {
			t.Fatalf("%v\n%s\nthen\n%s", err, text, twice)
		}
	})
}

// Applies any bytes as a row of ops, each with its length before it, with time going on. Proves that no story breaks the
// books, that its machine is restored from its snapshot as it is, and that a damaged snapshot is refused or has right books.
func FuzzMachine(f *testing.F) {
	var story []byte
	every := everyOp()
	for _, name := range kindNames[1:] {
		story = pack.AppendBytes(story, every[name])
	}
	story = pack.AppendBytes(story, AppendACD(nil, acd.AppendSetup(nil, helpDesk)))
	f.Add(story, uint16(9))
	f.Fuzz(func(t *testing.T, story []byte, damage uint16) {
		m, r, now := New("acc_1"), pack.NewReader(story), nowMS
		for r.Rest() > 0 && r.Err() == nil {
			_, _, _ = m.Apply(now, r.Bytes()) // what is no op is refused, which FuzzOp proves
			now += 1000
		}
		check(t, m)
		data := m.AppendSnapshot(nil)
		again, err := Restore("acc_1", data)
		if err != nil {
			t.Fatal(err)
		}
		check(t, again)
		if !bytes.Equal(again.AppendSnapshot(nil), data) {
			t.Fatal("restored otherwise")
		}
		data[int(damage)%len(data)] ^= byte(damage >> 8)
		if damaged, err := Restore("acc_1", data); err == nil {
			check(t, damaged)
		}
	})
}

// validOp tells whether JSON can hold the texts of an op.
func validOp(o *Op) bool {
	if o.Swap != nil && !utf8.ValidString(fmt.Sprint(*o.Swap)) {
		return false
	}
	if o.ACD != nil {
		return false // its numbers are no UTF-8 either: FuzzOp has looked at the whole
	}
	return utf8.ValidString(fmt.Sprintf("%v %v %v %v", o.Why, o.Node, o.Events, o.Adopt)) && (o.Admit == nil || utf8.ValidString(fmt.Sprint(*o.Admit)))
}

// Reads any bytes as a verdict and as a count. Proves that nothing panics, and that a verdict that is read is written again the same.
func FuzzReply(f *testing.F) {
	f.Add(appendVerdict(nil, &cac.Verdict{Kind: cac.User, ID: "u1", Limit: 3, Used: 3, RetryMS: 9, Soft: []cac.Window{{Kind: cac.Limit, ID: "w", Max: 1, PeriodMS: 5}}}))
	f.Add(appendVerdict(nil, &cac.Verdict{Admitted: true, Repeated: true, Held: []cac.Take{{Kind: cac.Trunk, ID: "trk_1", Limit: 2}}}))
	f.Fuzz(func(t *testing.T, reply []byte) {
		_, _ = ReadReleased(reply)
		v, err := ReadVerdict(reply)
		if err != nil {
			return
		}
		if again, err := ReadVerdict(appendVerdict(nil, &v)); err != nil || fmt.Sprint(again) != fmt.Sprint(v) {
			t.Fatalf("%v: %+v, then %+v", err, v, again)
		}
	})
}

// logged is an op as a journal keeps it.
type logged struct {
	at int64
	op []byte
}

// randomOp makes an op of a story, on few names so that they meet.
func randomOp(rng *rand.Rand, m *Machine, now int64, offers []acd.Offer) []byte {
	n := rng.IntN(8)
	token, callID, node := fmt.Sprint("t", n), fmt.Sprint("c", n%5), fmt.Sprint("n", n%2)
	user := fmt.Sprint("u", rng.IntN(3))
	edge := max(1, now-rng.Int64N(20_000))
	switch rng.IntN(9) {
	case 8:
		return AppendSwap(nil, &cac.Swap{Token: token, Attempt: 1 + rng.IntN(5), Emergency: rng.IntN(20) == 0, Drop: []cac.Take{{Kind: cac.Trunk, ID: fmt.Sprint("k", rng.IntN(3))}},
			Add:     []cac.Take{{Kind: cac.Trunk, ID: fmt.Sprint("k", rng.IntN(3)), Limit: 2}},
			Windows: []cac.Window{{Kind: cac.TrunkRate, ID: "k", Max: 2, PeriodMS: 10_000, Hard: rng.IntN(2) == 0}}})
	case 0, 1:
		a := admission(token, callID, node)
		a.AskedMS, a.Emergency, a.CallerUser = edge, rng.IntN(9) == 0, user
		a.Windows = []cac.Window{{Kind: cac.Limit, ID: "w", Max: 4, PeriodMS: 60_000, Hard: rng.IntN(2) == 0}}
		return AppendAdmit(nil, &a)
	case 2, 3, 4:
		var evs []Event
		for range 1 + rng.IntN(4) {
			ev := api.Event{TimeMS: max(1, now-rng.Int64N(20_000)), AOR: fmt.Sprint("sip:", n%2), Contact: []string{"a", "b", "*"}[rng.IntN(3)], ExpiresS: rng.IntN(120),
				CallID: callID, Token: []string{token, token, ""}[rng.IntN(3)]}
			ev.Type = []string{api.EventContactSaved, api.EventContactSaved, api.EventContactRemoved, api.EventDialogStart, api.EventDialogStart, api.EventDialogEnd,
				api.EventDialogFailed}[rng.IntN(7)]
			evs = append(evs, Event{Event: ev, UserID: user, Takes: []cac.Take{{Kind: cac.User, ID: user}}})
		}
		return AppendEvents(nil, node, evs)
	case 5, 6:
		return AppendACD(nil, randomACD(rng, user, offers))
	}
	r := Report{Node: node, Boot: "b", Seq: now, BootMS: 1, TakenMS: now}
	for i := range rng.IntN(4) {
		r.Dialogs = append(r.Dialogs, Dialog{Token: fmt.Sprint("t", i), CallID: fmt.Sprint("c", i), SinceMS: edge})
	}
	if op := m.Observe(now, &r); op != nil {
		return op
	}
	return AppendRelease(nil, []string{token}, WhyReset)
}

// randomACD makes an op of the queues, on few names too.
func randomACD(rng *rand.Rand, user string, offers []acd.Offer) []byte {
	entry := fmt.Sprint("e", rng.IntN(8))
	var of acd.Offer
	if len(offers) > 0 {
		of = offers[max(0, len(offers)-1-rng.IntN(4))]
	}
	switch rng.IntN(9) {
	case 0:
		return acd.AppendSetup(nil, helpDesk)
	case 1, 2:
		return acd.AppendJoin(nil, &acd.Join{EntryID: entry, Token: "t" + entry, Node: "n1", QueueID: "q1", Priority: rng.IntN(3)}, 1)
	case 3:
		return acd.AppendLeave(nil, entry, "", acd.LeftAbandoned)
	case 4:
		return acd.AppendClaim(nil, of.ReservationID, of.Fence)
	case 5:
		return acd.AppendConfirm(nil, of.ReservationID, of.Fence)
	case 6:
		return acd.AppendMiss(nil, of.ReservationID, of.Fence, acd.MissBusy)
	}
	action := []string{acd.ActionLogin, acd.ActionLogin, acd.ActionAvailable, acd.ActionBreak, acd.ActionLogout}[rng.IntN(5)]
	return acd.AppendAgent(nil, &acd.AgentOp{UserID: user, Action: action}, 1)
}

// Proves determinism: a random story's ops, those alone that said they changed something, replayed into an empty machine
// and into one restored from a snapshot in the middle, end in the same bytes; the books are right after every
// op, and an op that said it changed nothing changed nothing. A failure names its seed.
func TestMachine_ReplayIsTheSame(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 5))
		m, now := New("acc_1"), int64(1_000_000)
		m.Watch(true)
		var journal []logged
		var middle []byte
		at := 0
		var offers []acd.Offer
		for i := range 250 {
			now += rng.Int64N(8_000) - 500
			op := m.Due(now)
			if op == nil {
				op = randomOp(rng, m, now, offers)
			}
			before := m.AppendSnapshot(nil)
			if _, changed := do(t, m, now, op); changed {
				journal = append(journal, logged{now, op})
			} else if !bytes.Equal(before, m.AppendSnapshot(nil)) {
				t.Fatalf("seed %d, op %d changed something and did not say so: % x", seed, i, op)
			}
			check(t, m)
			for _, o := range m.Effects().Orders {
				offers = append(offers, o.Offer)
			}
			if i == 120 {
				middle, at = m.AppendSnapshot(nil), len(journal)
			}
		}
		want := m.AppendSnapshot(nil)
		restored, err := Restore("acc_1", middle)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		restored.Resume(now)
		fresh := New("acc_1")
		for i, l := range journal {
			do(t, fresh, l.at, l.op)
			if i >= at {
				do(t, restored, l.at, l.op)
			}
		}
		if !bytes.Equal(fresh.AppendSnapshot(nil), want) || !bytes.Equal(restored.AppendSnapshot(nil), want) {
			t.Fatalf("seed %d: replayed otherwise", seed)
		}
		check(t, restored)
		checkDeltas(t, m)
		emptyOut(t, restored, now)
	}
}

// checkDeltas holds that the last delta of each user says what the machine says.
func checkDeltas(t *testing.T, m *Machine) {
	t.Helper()
	last := map[string]api.Delta{}
	for _, d := range m.Deltas() {
		if d.Type == api.DeltaAgent {
			last[d.UserID] = d
		}
	}
	for _, u := range m.Presence(0).Users {
		d, told := last[u.UserID]
		if !told && !u.Reachable && u.Bucket == acd.BucketOffline {
			continue // an agent who never came
		}
		if d.Bucket != u.Bucket || d.Reachable != u.Reachable || d.State != u.State || d.Status != u.Status {
			t.Fatalf("last told of %s: %+v, it is %+v", u.UserID, d, u)
		}
	}
	if len(m.Deltas()) != 0 {
		t.Fatal("deltas were told twice")
	}
}

// emptyOut sends the agents home, takes the queues away and lets time run out, after which nothing must be left.
func emptyOut(t *testing.T, m *Machine, now int64) {
	t.Helper()
	for i := range 8 {
		do(t, m, now, AppendACD(nil, acd.AppendLeave(nil, fmt.Sprint("e", i), "", acd.LeftAbandoned)))
	}
	for _, a := range helpDesk.Agents {
		do(t, m, now, AppendACD(nil, acd.AppendAgent(nil, &acd.AgentOp{UserID: a.UserID, Action: acd.ActionLogout}, 0)))
	}
	do(t, m, now, AppendACD(nil, acd.AppendSetup(nil, &acd.Setup{Version: 2})))
	runOut(t, m)
	if !m.Empty() {
		t.Fatalf("something is left: %+v", m.Counts())
	}
}

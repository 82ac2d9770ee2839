package session

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// menu begins a call in the menu of flow_1.
func menu(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	if r := s.start("flow/flow_1", map[string]string{"caller_number": "4930333"}); r.Seq != 1 || r.Command != api.CommandGather {
		t.Fatalf("the menu begins with %+v", r)
	}
	return s
}

func digit(d string) map[string]string { return map[string]string{"digits": d} }

func TestSession_OneOutcomeAdvancesOnce(t *testing.T) {
	// Proves exactly-once by the seq: the outcome again, an older one and a later one all get the current command, and none
	// leaves a record.
	s := menu(t)
	first := s.question(api.OutcomeDigits, digit("1"))
	want := s.outcome(api.OutcomeDigits, digit("1"))
	if want.Seq != 2 || want.Command != api.CommandPlay {
		t.Fatalf("digit 1 leads to %+v", want)
	}
	old := s.question(api.OutcomeTimeout, nil)
	old.Seq = 1
	late := s.question(api.OutcomeDone, nil)
	late.Seq = 3
	ask := s.question("", nil)
	for name, q := range map[string]*api.FlowRequest{"again": first, "old": old, "late": late, "asks": ask} {
		op, r := s.m.Decide(s.now, s.env, &Request{Flow: q})
		r.Trace, want.Trace = nil, nil
		if op != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%s: a record %v and %+v; want none and %+v", name, op != nil, r, want)
		}
	}
}

func TestSession_AHangupCountsWhicheverCommandItCameWith(t *testing.T) {
	// Proves that the end of the channel is taken with an older seq, and with none, but not from before this channel.
	for seq, want := range map[int64]string{0: api.CommandNoop, 1: api.CommandNoop, 2: api.CommandNoop, 3: api.CommandRecord} {
		s := newStage(t)
		s.start("voicemail/vm_2", nil)
		s.outcome(api.OutcomeDone, nil)
		q := s.question(api.OutcomeHangup, nil)
		q.Seq = seq
		if r := s.ask(&Request{Flow: q}); r.Command != want {
			t.Errorf("seq %d: %s; want %s", seq, r.Command, want)
		}
	}
}

func TestSession_AnotherChannelOfTheCallBeginsAnew(t *testing.T) {
	// Proves that a call which went on to another target gets a session of its own with rising seqs, that the first one is told
	// as ended, and that the first channel's late hang-up does not end the second.
	s := newStage(t)
	s.start("conference/conf_pin", nil)
	s.outcome(api.OutcomeTimeout, nil)
	q := s.question("", nil)
	q.Start = &api.FlowStart{TargetKind: "voicemail", TargetID: "vm_2", Channel: "ch-2"}
	r := s.ask(&Request{Flow: q})
	if r.Seq != 3 || r.Command != api.CommandPlay || len(r.Effects) != 1 || r.Effects[0].Kind != EffectEnded {
		t.Fatalf("the second channel gets %+v", r)
	}
	late := s.question(api.OutcomeHangup, nil)
	late.Seq = 2
	if again := s.ask(&Request{Flow: late}); again.Command != api.CommandPlay {
		t.Errorf("a late hang-up of the first channel leads to %s", again.Command)
	}
}

func TestSession_UnknownWithoutAStart(t *testing.T) {
	// Proves that nothing but a start begins a session, and that what is out of bounds is refused with the reason.
	s := newStage(t)
	for name, req := range map[string]*Request{"an outcome": {Flow: s.question(api.OutcomeDone, nil)}, "a question": {Flow: s.question("", nil)},
		"a result": {Result: &Result{}}, "nothing": {}} {
		if op, r := s.m.Decide(s.now, s.env, req); op != nil || !r.Unknown {
			t.Errorf("%s gets %+v", name, r)
		}
	}
	many := map[string]string{}
	for i := range MaxVars + 1 {
		many[strconv.Itoa(i)] = ""
	}
	for want, vars := range map[string]map[string]string{"65 entries": many, "longer than 4096": {"a": strings.Repeat("a", MaxValue+1)}} {
		q := s.question("", nil)
		q.Start = &api.FlowStart{TargetKind: "flow", TargetID: "flow_1", Vars: vars}
		if op, r := s.m.Decide(s.now, s.env, &Request{Flow: q}); op != nil || !strings.Contains(r.Refused, want) {
			t.Errorf("%s: refused with %q", want, r.Refused)
		}
	}
}

func TestSession_LiveCallKeepsItsVersion(t *testing.T) {
	// Proves that a call goes on with the graph it began with after another one was published and after the flow is gone, also
	// when its machine was read from a journal, while a new call gets the new graph.
	s := menu(t)
	s.flows["flow_1"] = published(t, "flow_1", 4, strings.ReplaceAll(menuGraph, "VERSION", "four"))
	for _, m := range []*Machine{s.m, s.twin} {
		delete(s.flows, "flow_2")
		q := s.question(api.OutcomeTimeout, nil)
		_, r := m.Decide(s.now, s.env, &Request{Flow: q})
		if len(r.Sounds) == 0 || !strings.Contains(fmt.Sprint(r.Sounds), "three") {
			t.Errorf("the call that began with version 3 hears %v", r.Sounds)
		}
	}
	s.flows["flow_2"] = published(t, "flow_2", 1, `{"start":"in","nodes":[{"id":"in","data":{"kind":"entry"}},{"id":"go","data":{"kind":"transfer","destKind":"flow","destId":"flow_1"}}],
		"edges":[{"source":"in","target":"go"}]}`)
	if r := s.outcome(api.OutcomeDigits, digit("5")); !strings.Contains(fmt.Sprint(r.Sounds), "three") {
		t.Errorf("back in the flow the call hears %v", r.Sounds)
	}
	s.call()
	if r := s.start("flow/flow_1", nil); !strings.Contains(fmt.Sprint(r.Sounds), "four") {
		t.Errorf("a new call hears %v", r.Sounds)
	}
}

func TestSession_EndsWithItsLease(t *testing.T) {
	// Proves that a session ends when no node has named it for the lease, not a millisecond earlier, that naming it helps, that
	// its end is told until somebody confirms it, and that it is forgotten an hour later, or after a day without a confirmation.
	s := menu(t)
	lease := int64(api.SessionLeaseSec) * 1000
	s.m.Renew(s.now + 5000)
	at, ok := s.m.Deadline()
	if !ok || at != s.now+5000+lease {
		t.Fatalf("deadline %d %v; want %d", at, ok, s.now+5000+lease)
	}
	if s.m.Due(at-1) != nil || s.m.Late(at-1) {
		t.Fatal("it ended early")
	}
	s.now = at
	s.apply(s.m.Due(at))
	if !s.m.Late(at) {
		t.Error("nobody is told of its end at once")
	}
	r := s.ask(&Request{})
	if !r.Over || len(r.Effects) != 1 || r.Effects[0].Why != "lease" {
		t.Fatalf("it says %+v", r)
	}
	if at, _ := s.m.Deadline(); at != s.now+effectsMS {
		t.Errorf("unconfirmed it is kept until %d; want %d", at, s.now+effectsMS)
	}
	s.ask(&Request{Done: r.Turn})
	if at, _ := s.m.Deadline(); at != s.now+lapsedMS || s.m.Late(s.now+lapsedMS) {
		t.Errorf("confirmed it is kept until %d; want %d", at, s.now+lapsedMS)
	}
	s.now += lapsedMS
	s.apply(s.m.Due(s.now))
	if !s.m.Empty() || !s.twin.Empty() {
		t.Error("it is not forgotten")
	}
}

func TestSession_LeaseBeginsAnewWithAnotherOwner(t *testing.T) {
	// Proves that a restored machine does not end before its node could speak.
	s := menu(t)
	m, err := Restore(s.m.id, s.m.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	later := s.now + 3600_000
	m.Resume(later)
	if m.Due(later) != nil || m.Due(later+leaseMS-1) != nil || m.Due(later+leaseMS) == nil {
		t.Error("the lease does not begin with the owner")
	}
}

func TestSession_StateThatGrowsTooLargeEndsTheCall(t *testing.T) {
	// Proves that the bound of an image ends the call with a reason, with the next seq, instead of a record beyond it.
	s := newStage(t)
	vars := map[string]string{}
	for i := range MaxVars {
		vars[fmt.Sprintf("v%02d", i)] = strings.Repeat("x", MaxValue)
	}
	r := s.start("conference/conf_open", vars)
	if r.Command != api.CommandHangup || r.Seq != 1 || !strings.Contains(r.Params.Reason, "bytes of state") {
		t.Errorf("it says %+v", r)
	}
}

func TestSession_TargetsDoNotGoOnForEver(t *testing.T) {
	// Proves the bound on targets one after the other: a user whose calls go to a flow that sends them back to him.
	s := newStage(t)
	s.flows["flow_2"] = published(t, "flow_2", 1, `{"start":"in","nodes":[{"id":"in","data":{"kind":"entry"}},{"id":"go","data":{"kind":"transfer","destKind":"user","destId":"us_2"}}],
		"edges":[{"source":"in","target":"go"}]}`)
	s.env.Account.Users["us_2"].FwdBusyDestKind, s.env.Account.Users["us_2"].FwdBusyDestID = "flow", "flow_2"
	r := s.start("user/us_2", nil)
	dials := 0
	for ; r.Command == api.CommandDial && dials < 100; dials++ {
		r = s.outcome(api.OutcomeBusy, nil)
	}
	if r.Command != api.CommandHangup || dials > MaxHops {
		t.Errorf("after %d dials it says %s", dials, r.Command)
	}
}

// Proves by seeds that no sequence of outcomes breaks what must hold: the seq rises by one, an effect has one id and
// comes once, replay and snapshot give the same machine, a record is bounded, and every call that hangs up is over.
func TestSession_RandomCallsKeepTheInvariants(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { randomCall(t, seed) })
	}
}

func randomCall(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 4))
	s := newStage(t)
	targets := []string{"flow/flow_1", "flow/flow_circle", "voicemail/vm_1", "voicemail/vm_2", "voicemail/vm_full", "conference/conf_pin",
		"conference/conf_open", "conference/conf_mod", "user/us_2", "user/us_3", "hangup/", "flow/none", "/",
		"queue/q_sales", "queue/q_plain", "queue/q_tape", "queue/q_shut", "queue/", "flow/flow_line", "flow/flow_night"}
	vars := []map[string]string{{}, {"action": "retrieve", "caller_user_id": "us_1"}, {"record": "1", "caller_number": "49\u00e9"},
		{"action": "agent_login", "caller_user_id": "us_1"}}
	outcomes := []string{api.OutcomeDone, api.OutcomeDigit, api.OutcomeDigits, api.OutcomeDigits, api.OutcomeTimeout, api.OutcomeAnswered,
		api.OutcomeBusy, api.OutcomeNoAnswer, api.OutcomeFailed, api.OutcomeRecorded, api.OutcomeLeft, api.OutcomeEnded, api.OutcomeDenied, api.OutcomeExit, "nonsense"}
	exits := []string{acd.ExitTimeout, acd.ExitNoAgents, acd.ExitQueueFull, acd.ExitEWT, acd.LeftFailed, ""}
	digits := []string{"1", "2", "3", "4", "5", "6", "0", "#", "1234", "1111", "9999", "77", ""}
	s.start(targets[rnd.IntN(len(targets))], vars[rnd.IntN(len(vars))])
	for range 60 {
		if s.m.over {
			break
		}
		data := digit(digits[rnd.IntN(len(digits))])
		data["digit"], data["exit"] = data["digits"], exits[rnd.IntN(len(exits))]
		if rnd.IntN(2) == 0 {
			data["duration_ms"], data["bytes"] = strconv.Itoa(rnd.IntN(3000)), strconv.Itoa(rnd.IntN(5000))
		}
		if rnd.IntN(50) == 0 {
			s.lapse()
		}
		switch {
		case s.last.Enqueue != nil && rnd.IntN(3) == 0:
			s.answered(api.OutcomeExit, data)
		case s.last.Need != nil && s.last.Need.Agent != nil && rnd.IntN(4) > 0:
			s.answered([]string{api.OutcomeDone, api.OutcomeDenied}[rnd.IntN(2)], data)
		case s.last.Need != nil && rnd.IntN(4) > 0:
			s.answered([]string{"success", "error", "timeout"}[rnd.IntN(3)], map[string]string{"status": "200", "body": `{"name":"x"}`})
		case rnd.IntN(40) == 0:
			s.outcome([]string{api.OutcomeHangup, api.OutcomeLost}[rnd.IntN(2)], data)
		case rnd.IntN(10) == 0:
			q := s.question(outcomes[rnd.IntN(len(outcomes))], data)
			q.Seq += int64(rnd.IntN(4) - 2)
			if q.Seq >= 0 && q.Seq != s.last.Seq {
				before := slices.Clone(s.m.image)
				lapsed := s.last.Over
				if s.ask(&Request{Flow: q}); string(before) != string(s.m.image) && !lapsed {
					t.Fatalf("an outcome of seq %d has moved it", q.Seq)
				}
			}
		default:
			s.outcome(outcomes[rnd.IntN(len(outcomes))], data)
		}
	}
	if s.m.endMS == 0 || !s.m.over {
		s.outcome(api.OutcomeHangup, nil)
	}
	if s.last.Need != nil {
		s.answered("error", nil)
	}
	if !s.last.Over || s.last.Command != api.CommandNoop {
		t.Fatalf("after the hang-up it says %+v", s.last)
	}
}

func TestLocks_SurviveASnapshotAndForget(t *testing.T) {
	// Proves the lock at its edges: five within the time lock and four do not, it opens after the time, slow mistakes never lock,
	// a snapshot keeps it, and what is over leaves nothing behind.
	l := NewLocks()
	wrong := func(at int64) {
		if _, _, err := l.Apply(at, WrongOp("box")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(LockWrong - 1) {
		wrong(i)
	}
	if l.Locked(10, "box") {
		t.Error("four lock")
	}
	wrong(10)
	again, err := RestoreLocks(l.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Locks{l, again} {
		if !l.Locked(10, "box") || !l.Locked(10+LockMS-1, "box") || l.Locked(10+LockMS, "box") || l.Locked(10, "other") {
			t.Error("five do not lock for the time")
		}
	}
	if op := l.Due(10 + LockMS - 1); op != nil {
		t.Error("due early")
	}
	if _, _, err := l.Apply(10+LockMS, l.Due(10+LockMS)); err != nil || !l.Empty() {
		t.Errorf("it is not forgotten: %v", err)
	}
	for i := range int64(20) {
		wrong(1e9 + i*(LockMS/(LockWrong-1)))
		if l.Locked(1e9+i*(LockMS/(LockWrong-1)), "box") {
			t.Fatal("slow mistakes lock")
		}
	}
}

// FuzzReadRequest proves that no question breaks the reader or the machine: it is refused, or it holds to the bounds and gets
// a reply.
func FuzzReadRequest(f *testing.F) {
	f.Add([]byte(`{"flow":{"account_id":"acc_1","token":"t","node":"n","seq":0,"start":{"target_kind":"flow","target_id":"flow_1","channel":"c"}}}`))
	f.Add([]byte(`{"flow":{"account_id":"acc_1","token":"t","node":"n","seq":1,"outcome":"digits","data":{"digits":"1"}},"checked":{"turn":1,"match":9}}`))
	f.Add([]byte(`{"result":{"turn":1,"outcome":"success","data":{"body":"{}"}},"done":3}`))
	s := newStage(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		req, err := ReadRequest(text)
		if err != nil {
			return
		}
		m := New("acc_1/call/x")
		for range 3 {
			op, _ := m.Decide(beginMS, s.env, req)
			if op == nil {
				return
			}
			if _, _, err := m.Apply(beginMS, op); err != nil {
				t.Fatal(err)
			}
			if len(m.image) > MaxState {
				t.Fatalf("an image of %d bytes", len(m.image))
			}
		}
	})
}

// FuzzApply proves that no bytes break the reading of records and snapshots.
func FuzzApply(f *testing.F) {
	s := newStage(f)
	s.start("flow/flow_1", nil)
	f.Add(s.m.AppendSnapshot(nil))
	f.Add(forget())
	f.Fuzz(func(t *testing.T, op []byte) {
		if _, err := Restore("x", op); err != nil {
			return
		}
		if _, err := Describe(op); err != nil {
			t.Errorf("it can be restored and not described: %v", err)
		}
		_, _ = RestoreLocks(op)
	})
}

func TestSession_RecordingOfARoomIsToldByWhoeverLeavesLast(t *testing.T) {
	// Proves that a recording is told with its own key, which in a conference is that of the member who came first, and
	// that what is no recording of the account is not.
	for key, told := range map[string]bool{"acc_1/rec/2026-03-02/first.wav": true, "acc_2/rec/2026-03-02/first.wav": false, "acc_1/vm/vm_1/m.wav": false, "": false} {
		s := newStage(t)
		if r := s.start("conference/conf_open", nil); r.Command != api.CommandConference || r.Params.Key != "" {
			t.Fatalf("%+v", r)
		}
		q := s.question(api.OutcomeHangup, map[string]string{"key": key, "bytes": "16000", "duration_ms": "1000"})
		r := s.ask(&Request{Flow: q})
		i := slices.IndexFunc(r.Effects, func(e Effect) bool { return e.Kind == EffectRecordingStored })
		if (i >= 0) != told || told && (r.Effects[i].Recording.Key != key || r.Effects[i].Recording.DurationMS != 1000) {
			t.Errorf("%q: %+v", key, r.Effects)
		}
	}
}

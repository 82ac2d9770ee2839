package presence

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// helpDesk is one queue, q1, which u0, u1 and u2 serve. A login makes them ready.
var helpDesk = &acd.Setup{Version: 1,
	Queues: []acd.Queue{{ID: "q1", Name: "help", Strategy: acd.LongestIdle, RingMS: 20_000, MaxQueued: -1, ServiceLevelMS: 20_000, EWTAHTMS: 60_000}},
	Agents: []acd.Agent{helper("u0"), helper("u1"), helper("u2")}}

func helper(id string) acd.Agent {
	return acd.Agent{UserID: id, AutoReady: true, AutoQueueLogin: true, Memberships: []acd.Membership{{QueueID: "q1", Tier: 1, Mode: acd.ModeStatic}}}
}

// act does what an agent wants, which must not be refused.
func act(t testing.TB, m *Machine, now int64, user, action string) {
	t.Helper()
	reply, _ := do(t, m, now, AppendACD(nil, acd.AppendAgent(nil, &acd.AgentOp{UserID: user, Action: action}, 1)))
	if why, stale, err := acd.ReadAgent(reply); err != nil || stale || why != "" {
		t.Fatalf("%s %s: %q, stale %v, %v", user, action, why, stale, err)
	}
}

// join asks for the place of a caller.
func join(t testing.TB, m *Machine, now int64, entry string) acd.Joined {
	t.Helper()
	j := &acd.Join{EntryID: entry, Token: "tok" + entry, CallID: "call" + entry, Node: "n1", QueueID: "q1", CallerNumber: "4930123"}
	reply, _ := do(t, m, now, AppendACD(nil, acd.AppendJoin(nil, j, 1)))
	joined, stale, err := acd.ReadJoined(reply)
	if err != nil || stale {
		t.Fatalf("join %s: stale %v, %v", entry, stale, err)
	}
	return joined
}

// ordered prints the orders that came since it was asked last.
func ordered(m *Machine) string {
	var out []string
	for _, o := range m.Effects().Orders {
		text := fmt.Sprintf("%s %s", o.Kind, o.EntryID)
		if o.Offer.UserID != "" {
			text += " " + o.Offer.UserID
		}
		if o.Why != "" {
			text += " " + o.Why
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// staffed is a machine with the help desk, u1 signed in, and a caller, e1, who waits.
func staffed(t testing.TB) *Machine {
	t.Helper()
	m := New("acc_1")
	do(t, m, nowMS, AppendACD(nil, acd.AppendSetup(nil, helpDesk)))
	act(t, m, nowMS, "u1", acd.ActionLogin)
	if j := join(t, m, nowMS, "e1"); j.Outcome != "" || len(j.Offers) > 0 || j.Position != 1 {
		t.Fatalf("%+v", j)
	}
	m.Effects()
	return m
}

// mine is an event about a call of u1, of which no admission is known.
func mine(sec int64, typ, token string) Event {
	ev := Event{Event: event(sec, typ, token, "c"+token)}
	ev.Takes = admission(token, "c"+token, "n1").Takes
	return ev
}

// Proves that the queues hear of registrations and calls in the step that brought them: each row is a story, an event a
// line, and what is ordered by that step alone.
func TestQueues_HearOfPhonesInTheSameStep(t *testing.T) {
	contact := func(m *Machine, sec int64, ev api.Event) {
		do(t, m, nowMS+sec*1000, AppendEvents(nil, "n1", []Event{{Event: ev, UserID: "u1"}}))
	}
	call := func(m *Machine, sec int64, typ, token string) {
		do(t, m, nowMS+sec*1000, AppendEvents(nil, "n1", []Event{mine(sec, typ, token)}))
	}
	ring := func(m *Machine) { contact(m, 1, saved(1, "a", 3600)) }
	type step struct {
		do   func(m *Machine)
		want string
	}
	rows := map[string][]step{
		"registers": {{ring, "dispatch e1 u1"}},
		"unregisters while it rings": {{ring, "dispatch e1 u1"}, {func(m *Machine) { contact(m, 2, removed(2, "a")) }, "rescind e1 u1 agent_gone"},
			{func(m *Machine) { contact(m, 3, saved(3, "a", 3600)) }, "dispatch e1 u1"}},
		"the registration ends while it rings": {{func(m *Machine) { contact(m, 1, saved(1, "a", 70)) }, "dispatch e1 u1"},
			{func(m *Machine) { do(t, m, 71_000, m.Due(71_000)) }, "rescind e1 u1 agent_gone"}},
		"takes a call of its own while it rings": {{ring, "dispatch e1 u1"}, {func(m *Machine) { call(m, 2, api.EventDialogStart, "t1") }, "rescind e1 u1 agent_gone"},
			{func(m *Machine) { call(m, 9, api.EventDialogEnd, "t1") }, "dispatch e1 u1"}},
		"registers during a call of its own": {{func(m *Machine) { call(m, 2, api.EventDialogStart, "t1") }, ""}, {ring, ""},
			{func(m *Machine) { call(m, 9, api.EventDialogEnd, "t1") }, "dispatch e1 u1"}},
		"one call is followed by another in the same step": {{func(m *Machine) { call(m, 2, api.EventDialogStart, "t1") }, ""}, {ring, ""},
			{func(m *Machine) {
				do(t, m, nowMS+9000, AppendEvents(nil, "n1", []Event{mine(9, api.EventDialogEnd, "t1"), mine(9, api.EventDialogStart, "t2")}))
			}, ""}},
	}
	for name, steps := range rows {
		m := staffed(t)
		for i, s := range steps {
			s.do(m)
			check(t, m)
			if got := ordered(m); got != s.want {
				t.Errorf("%s, step %d: ordered %q, want %q", name, i, got, s.want)
			}
		}
	}
}

// Proves that what a replay would order is not ordered, and that after it the offers that hold are given again under the
// same id, whether the machine came from a snapshot or from the ops.
func TestQueues_OrdersAreGivenAgainAfterARestart(t *testing.T) {
	m := staffed(t)
	phone := AppendEvents(nil, "n1", []Event{{Event: saved(1, "a", 3600), UserID: "u1"}})
	do(t, m, nowMS, phone)
	first := m.Effects().Orders
	if len(first) != 1 || first[0].Kind != acd.OrderDispatch || first[0].Token != "toke1" || first[0].CallerNumber != "4930123" {
		t.Fatalf("%+v", first)
	}
	r, err := Restore("acc_1", m.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := ordered(r); got != "" {
		t.Fatalf("before Resume: %s", got)
	}
	r.Resume(nowMS + 1000)
	again := r.Effects().Orders
	if len(again) != 1 || again[0].ID != first[0].ID || again[0].Offer.Fence != first[0].Offer.Fence {
		t.Fatalf("after the restart %+v, before %+v", again, first)
	}
	claim := AppendACD(nil, acd.AppendClaim(nil, again[0].Offer.ReservationID, again[0].Offer.Fence))
	reply, changed := do(t, r, nowMS+2000, claim)
	if v, err := acd.ReadVerdict(reply); err != nil || !v.Granted || !changed {
		t.Fatalf("%+v %v", v, err)
	}
	if u := r.show("u1"); u.State != acd.StateOffering && u.State != acd.StateInCall {
		t.Fatalf("%+v", u)
	}
}

// Proves that a reservation whose lease ran out is freed by the op of Due, and that a replay of that op does the same.
func TestQueues_LeasesRunOutByAnOp(t *testing.T) {
	m := staffed(t)
	do(t, m, nowMS, AppendEvents(nil, "n1", []Event{{Event: saved(1, "a", 3600), UserID: "u1"}}))
	m.Effects()
	before := m.AppendSnapshot(nil)
	at, ok := m.Deadline()
	if want := nowMS + 20_000 + acd.GraceMS; !ok || at != want {
		t.Fatalf("deadline %d %v, want %d", at, ok, want)
	}
	op := m.Due(at)
	what, err := Describe(op)
	if err != nil || len(what.(*Op).Lapsed) != 1 {
		t.Fatalf("%+v %v", what, err)
	}
	do(t, m, at, op)
	if got := ordered(m); !strings.HasPrefix(got, "rescind e1 u1 lease") {
		t.Fatalf("%s", got)
	}
	if next, _ := m.Deadline(); next == at {
		t.Fatal("the deadline does not move")
	}
	r, err := Restore("acc_1", before)
	if err != nil {
		t.Fatal(err)
	}
	if do(t, r, at, op); !bytes.Equal(r.AppendSnapshot(nil), m.AppendSnapshot(nil)) {
		t.Fatal("replayed otherwise")
	}
}

// Proves what the stream tells of queues and agents, and the answers to questions about them.
func TestQueues_AreShown(t *testing.T) {
	m := staffed(t)
	m.Watch(true)
	do(t, m, nowMS, AppendEvents(nil, "n1", []Event{{Event: saved(1, "a", 3600), UserID: "u1"}}))
	var told []string
	tellAll := func() string {
		told = nil
		for _, d := range m.Deltas() {
			if d.Type == api.DeltaAgent || d.Type == api.DeltaQueue {
				told = append(told, strings.TrimSpace(fmt.Sprintf("%s %s%s %s %s%s", d.Type, d.UserID, d.QueueID, d.EntryID, d.Bucket, d.Why)))
			}
		}
		return strings.Join(told, ", ")
	}
	if got := tellAll(); got != "agent u1q1 e1 ring" {
		t.Errorf("an offer: %s", got)
	}
	do(t, m, nowMS+1000, AppendACD(nil, acd.AppendLeave(nil, "e1", "", acd.LeftAbandoned)))
	if got := tellAll(); got != "agent u1  ready, queue q1 e1 abandoned" {
		t.Errorf("the caller has gone: %s", got)
	}
	if e := m.Effects(); len(e.Records) != 1 || e.Records[0].EntryID != "e1" || e.Records[0].Outcome != acd.LeftAbandoned {
		t.Errorf("records %+v", e.Records)
	}
	for question, want := range map[string]string{
		`{"what":"desk"}`:             `{"version":1}`,
		`{"what":"queues","id":"q9"}`: `{"version":1}`,
		`{"what":"agents","id":"u1"}`: `"user_id":"u1","status":"available","state":"waiting","reachable":true,"bucket":"ready"`,
		`{"what":"queues"}`:           `"queue_id":"q1","name":"help","waiting":0`,
		`{"what":"presence"}`:         `{"user_id":"u1","reachable":true,"calls":0,"status":"available","state":"waiting","bucket":"ready"}`,
	} {
		if got, err := m.Query(nowMS+2000, []byte(question)); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %s %v, want %s", question, got, err, want)
		}
	}
}

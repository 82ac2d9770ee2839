package queue

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

func anna(entry string) *acd.Join {
	return &acd.Join{EntryID: entry, Token: "tok" + entry, CallID: "call", Node: "n", QueueID: "q_1", CallerNumber: "4930123", CallerName: "Anna", Label: "VIP"}
}

func mustAct(t *testing.T, q *Queues, user, action string) {
	t.Helper()
	if why, err := q.Act(t.Context(), "acc_1", api.AgentRequest{UserID: user, Action: action}); err != nil || why != "" {
		t.Fatalf("%s %s: %q %v", user, action, why, err)
	}
}

// The setup says all that brain/acd decides by: times in milliseconds, no bound where none is configured, agents alone,
// sorted; what is configured beyond the bounds of brain/acd is left out.
func TestSetup_SaysWhatIsConfigured(t *testing.T) {
	r, most, longest := rows(), 5, 600
	r.Queues = append(r.Queues, brain.Queue{ID: "q_0", Name: "desk", Strategy: "ring_all", AgentRingTimeoutSec: 10, MaxWaitSec: 300, WrapUpSec: 15, MaxNoAnswer: 2, MaxQueued: &most,
		EWTThresholdSec: &longest, EWTAHTSec: 60, TierEscalationSec: 30, PriorityAgeSec: 20, StickySec: 3600, ServiceLevelSec: 10, AnnouncePosition: true, AnnounceEWT: true,
		AnnounceFirstSec: 15, AnnounceIntervalSec: 30, NoAgentsDestKind: brain.DestHangup, SkillRelax: []brain.SkillRelax{{AfterSec: 5, Skill: "french", LowerBy: 1}, {AfterSec: 9, Drop: true}}})
	r.Assignments = append(r.Assignments, brain.AgentQueueAssignment{QueueID: "q_0", UserID: "us_2", TierLevel: 3, Position: 4, Mode: "mandatory"})
	r.Users = append(r.Users, brain.SIPUser{ID: "us_4", IsAgent: true, Status: brain.StatusDisabled})
	skills := []acd.Skill{{Name: "billing", Level: 1}, {Name: "french", Level: 3}}
	want := &acd.Setup{Version: 7, Queues: []acd.Queue{
		{ID: "q_0", Name: "desk", Strategy: acd.RingAll, RingMS: 10_000, MaxWaitMS: 300_000, WrapUpMS: 15_000, MaxNoAnswer: 2, MaxQueued: 5, EWTThresholdMS: 600_000, EWTAHTMS: 60_000,
			TierEscalationMS: 30_000, PriorityAgeMS: 20_000, StickyMS: 3_600_000, ServiceLevelMS: 10_000, Announce: true, AnnounceEWT: true, AnnounceFirstMS: 15_000, AnnounceEveryMS: 30_000,
			ExitNoAgents: true, SkillRelax: []acd.Relax{{AfterMS: 5000, Skill: "french", LowerBy: 1}, {AfterMS: 9000, Drop: true}}},
		{ID: "q_1", Name: "sales", Strategy: acd.LongestIdle, RingMS: 20_000, MaxQueued: -1, EWTAHTMS: 240_000, ServiceLevelMS: 20_000},
	}, Agents: []acd.Agent{
		{UserID: "us_1", AutoReady: true, AutoQueueLogin: true, Skills: skills, Memberships: []acd.Membership{{QueueID: "q_1", Tier: 1, Mode: acd.ModeStatic}}},
		{UserID: "us_2", AutoReady: true, AutoQueueLogin: true, Skills: skills, Memberships: []acd.Membership{{QueueID: "q_0", Tier: 3, Position: 4, Mode: acd.ModeMandatory}, {QueueID: "q_1", Tier: 1, Mode: acd.ModeStatic}}},
	}}
	if got := setup(brain.NewAccountConfig(7, r)); !reflect.DeepEqual(got, want) {
		t.Errorf("\n%+v\nwant\n%+v", got, want)
	}
}

// The desk gets the setup once, with the first op that rests on it, and again only when queues or agents are others: other
// changes of the account are none to it.
func TestQueues_TellTheDeskOfTheConfigurationOnce(t *testing.T) {
	q, d, o := newQueues(t, nil)
	join := func(entry, want string) {
		t.Helper()
		if _, _, err := q.Join(t.Context(), "acc_1", anna(entry)); err != nil {
			t.Fatal(err)
		}
		if got := d.was(); got != want {
			t.Errorf("%s: asked %q, want %q", entry, got, want)
		}
	}
	join("e1", "join setup join")
	join("e2", "join")
	o.acct = brain.NewAccountConfig(8, rows()) // a message in a mailbox, perhaps
	join("e3", "join")
	r := rows()
	r.Queues[0].WrapUpSec = 5
	o.acct = brain.NewAccountConfig(9, r)
	join("e4", "join setup join")
	mustAct(t, q, "us_1", "login")
	if got := d.was(); got != "agent" {
		t.Errorf("asked %q", got)
	}
	other := New(d, func() brain.Directory { return o }, post{}, sounds{}, q.log) // a brain that began later
	t.Cleanup(other.Close)
	if _, err := other.States(t.Context(), "acc_1", "", 0, 0, false); err != nil || d.was() != "" {
		t.Errorf("the desk was told of what it has: %v", err)
	}
}

// Where an account has neither queues nor agents, the desk is forgotten as soon as it knows, and what is asked of it is
// answered all the same.
func TestQueues_AnAccountWithoutQueues(t *testing.T) {
	q, d, o := newQueues(t, nil)
	r := rows()
	r.Queues, r.Assignments, r.Options = nil, nil, nil
	for i := range r.Users {
		r.Users[i].IsAgent = false
	}
	o.acct = brain.NewAccountConfig(8, r)
	if why, err := q.Act(t.Context(), "acc_1", api.AgentRequest{UserID: "us_1", Action: acd.ActionLogin}); err != nil || why != acd.WhyNoAgent {
		t.Errorf("%q %v", why, err)
	}
	if joined, _, err := q.Join(t.Context(), "acc_1", anna("e1")); err != nil || joined.Outcome == "" {
		t.Errorf("%+v %v", joined, err)
	}
	if states, err := q.States(t.Context(), "acc_1", "", 0, 0, false); err != nil || len(states) != 0 {
		t.Errorf("%+v %v", states, err)
	}
	if !d.m.Empty() {
		t.Error("something is left")
	}
}

// A desk in use is told of a change at once; one that was never used is left alone.
func TestQueues_FollowTheConfiguration(t *testing.T) {
	q, d, o := newQueues(t, nil)
	change := []brain.Change{{Op: brain.OpUpdate, Resource: &brain.Queue{ID: "q_1", AccountID: "acc_1"}}, {Op: brain.OpDelete, Before: &brain.SIPUser{ID: "us_9", AccountID: "acc_1"}},
		{Op: brain.OpCreate, Resource: &brain.Extension{ID: "ext_1", AccountID: "acc_9"}}}
	followed := func() string {
		t.Helper()
		q.Changed(change)
		if n := len(q.changed); n != 1 {
			t.Fatalf("%d accounts to be told", n)
		}
		if err := q.refresh(t.Context(), <-q.changed); err != nil {
			t.Fatal(err)
		}
		return d.was()
	}
	if got := followed(); got != "" {
		t.Errorf("a desk that is not used: %q", got)
	}
	mustAct(t, q, "us_1", "login")
	d.was()
	if got := followed(); got != "" {
		t.Errorf("nothing is new: %q", got)
	}
	r := rows()
	r.Users[0].IsAgent = false
	o.acct = brain.NewAccountConfig(8, r)
	if got := followed(); got != "setup" {
		t.Errorf("after a change: %q", got)
	}
	if why, err := q.Act(t.Context(), "acc_1", api.AgentRequest{UserID: "us_1", Action: "available"}); err != nil || why != acd.WhyNoAgent {
		t.Errorf("%q %v", why, err)
	}
}

// A caller who finds an agent ready gets him with his place, and what the agent's node needs to know; an agent who becomes
// ready later is ordered, with the same.
func TestQueues_WhatANodeIsTold(t *testing.T) {
	node := newEdge(t, nil)
	q, d, o := newQueues(t, map[string]*edge{"n": node})
	d.effect = q.Effects
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d.register(t, "us_1")
	d.register(t, "us_2")
	mustAct(t, q, "us_1", "login")
	joined, ring, err := q.Join(t.Context(), "acc_1", anna("e1"))
	if err != nil || joined.Outcome != "" || len(ring) != 1 {
		t.Fatalf("%+v %+v %v", joined, ring, err)
	}
	again, twice, err := q.Join(t.Context(), "acc_1", anna("e1"))
	if err != nil || !reflect.DeepEqual(again, joined) || len(twice) != 1 || twice[0].ReservationID != ring[0].ReservationID {
		t.Errorf("asked again: %+v %+v %v", again, twice, err)
	}
	check := func(what string, got api.Dispatch, user, token string) {
		t.Helper()
		if got.LeaseMS <= 20_000 || got.LeaseMS > 25_000 || got.Fence == 0 || got.ReservationID == "" {
			t.Errorf("%s: %+v", what, got)
		}
		want := api.Dispatch{ReservationID: got.ReservationID, Fence: got.Fence, LeaseMS: got.LeaseMS, UserID: user, RingMS: 20_000, Confirm: true,
			Whisper: []api.MediaRef{{Key: "mf_1/"}}, CallerNumber: "4930123", CallerName: "VIP Anna", RecordKey: got.RecordKey}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		if key := got.RecordKey; !strings.HasPrefix(key, "acc_1/rec/") || !strings.HasSuffix(key, "/"+token+"-"+got.ReservationID+".wav") {
			t.Errorf("%s: recording %s", what, key)
		}
	}
	check("with the place", ring[0], "us_1", "toke1")
	if _, ring, err := q.Join(t.Context(), "acc_1", anna("e2")); err != nil || len(ring) != 0 {
		t.Fatalf("%+v %v", ring, err)
	}
	mustAct(t, q, "us_2", "login")
	until(t, q, "queue_orders_done", 1)
	check("ordered", *node.ops[0].Dispatch, "us_2", "toke2")
	if op := node.ops[0]; op.Kind != api.OpDispatch || op.EntryID != "e2" || op.Token != "toke2" || op.ID != "dispatch-"+op.Dispatch.ReservationID {
		t.Errorf("%+v", op)
	}

	q.Now = func() time.Time { return now }
	late := &acd.Order{QueueID: "q_1", Token: "a/../b", Offer: acd.Offer{ReservationID: "r", RingMS: 20_000, UntilMS: now.UnixMilli() + 3000}}
	o.acct.Queues["q_1"].AgentConfirm = false
	q.sounds = sounds{missing: "mf_1"}
	if got, want := q.dispatch(t.Context(), o.acct, late), (api.Dispatch{ReservationID: "r", RingMS: 3000, LeaseMS: 3000, RecordKey: "acc_1/rec/2026-03-01/a_.._b-r.wav"}); got.RecordKey != "acc_1/rec/2026-03-01/a____b-r.wav" ||
		got.RingMS != want.RingMS || got.LeaseMS != want.LeaseMS || got.Whisper != nil || got.Confirm {
		t.Errorf("%+v", got)
	}
	o.acct.Queues["q_1"].Record = false
	if got := q.dispatch(t.Context(), o.acct, late); !got.Release || got.RecordKey != "" {
		t.Errorf("not recorded: %+v", got)
	}
	if got := q.dispatch(t.Context(), o.acct, &acd.Order{QueueID: "q_gone", Offer: acd.Offer{UserID: "us_1"}}); got.UserID != "us_1" || !got.Release {
		t.Errorf("the queue was deleted: %+v", got)
	}
}

// A caller's place is spoken as one number, figure by figure where nobody can speak it, and not at all where half of it
// would be missing.
func TestQueues_SayThePlace(t *testing.T) {
	for missing, want := range map[string]string{
		"": "position-you-are-number say:12", "say:": "position-you-are-number digit-1 digit-2", "position": "",
	} {
		node := newEdge(t, nil)
		q, _, _ := newQueues(t, map[string]*edge{"n": node})
		q.sounds = sounds{missing: missing}
		told := order(acd.OrderPosition, "n", "e1", 12)
		told.EWTMS = -1
		q.Effects("acc_1", orders(told))
		until(t, q, "queue_orders_done", 1)
		var heard []string
		for _, op := range node.ops {
			for _, f := range op.Files {
				heard = append(heard, strings.TrimSuffix(f.Key, "/"))
			}
		}
		if got := strings.Join(heard, " "); got != want || (want == "") != (len(node.ops) == 0) {
			t.Errorf("without %q: %q in %d ops, want %q", missing, got, len(node.ops), want)
		}
	}
}

// The expected wait is said behind the place, in minutes begun, where the desk knows it and it is not too long to be of use.
func TestQueues_SayTheExpectedWait(t *testing.T) {
	const place, wait = "position-you-are-number say:2", " position-expected-minutes say:"
	for ewtMS, want := range map[int64]string{
		-1: place, 0: place + wait + "1", 60_000: place + wait + "1", 60_001: place + wait + "2", 120 * 60_000: place + wait + "120", 120*60_000 + 1: place,
	} {
		q, _, o := newQueues(t, nil)
		q.sounds = sounds{}
		var heard []string
		for _, f := range q.place(t.Context(), o.acct, &acd.Order{QueueID: "q_1", Position: 2, EWTMS: ewtMS}) {
			heard = append(heard, strings.TrimSuffix(f.Key, "/"))
		}
		if got := strings.Join(heard, " "); got != want {
			t.Errorf("%d ms: %q, want %q", ewtMS, got, want)
		}
	}
}

// A claim, its repetition, a confirm and what comes too late are answered by the desk; when it cannot be asked the error says
// so.
func TestQueues_ClaimConfirmMiss(t *testing.T) {
	q, d, _ := newQueues(t, nil)
	d.register(t, "us_1")
	mustAct(t, q, "us_1", "login")
	_, ring, err := q.Join(t.Context(), "acc_1", anna("e1"))
	if err != nil || len(ring) != 1 {
		t.Fatalf("%+v %v", ring, err)
	}
	c := &api.Claim{AccountID: "acc_1", ReservationID: ring[0].ReservationID, Fence: ring[0].Fence, Cause: acd.MissBusy}
	old := *c
	old.Fence--
	if r, err := q.Claim(t.Context(), &old); err != nil || r.Granted || r.Why != acd.WhyFence {
		t.Errorf("an old fence: %+v %v", r, err)
	}
	for range 2 {
		if r, err := q.Claim(t.Context(), c); err != nil || !r.Granted {
			t.Errorf("claim: %+v %v", r, err)
		}
	}
	if r, err := q.Confirm(t.Context(), c); err != nil || !r.Granted {
		t.Errorf("confirm: %+v %v", r, err)
	}
	if r, err := q.Miss(t.Context(), c); err != nil || r.Granted {
		t.Errorf("a miss of a talk: %+v %v", r, err)
	}
	if err := q.Leave(t.Context(), "acc_1", "e1", "", acd.LeftAnswered); err != nil {
		t.Error(err)
	}
	list, err := q.Agents(t.Context(), "acc_1", "us_1", 0, 0)
	if err != nil || len(list) != 1 || list[0].Username != "1us_1" || list[0].Name != "Agent us_1" || list[0].State != acd.StateWaiting {
		t.Errorf("%+v %v", list, err)
	}
	d.fail = brain.Errorf(brain.EUnavailable, "no owner")
	if _, err := q.Claim(t.Context(), c); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("%v", err)
	}
	if _, _, err := q.Join(t.Context(), "acc_1", anna("e2")); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("%v", err)
	}
	if _, _, err := q.Join(t.Context(), "acc_9", anna("e2")); brain.CodeOf(err) != brain.ENotFound {
		t.Errorf("an account that does not exist: %v", err)
	}
}

// A record is written with all that it says.
func TestQueues_WriteRecords(t *testing.T) {
	q, _, _ := newQueues(t, nil)
	var log bytes.Buffer
	q.log = slog.New(slog.NewTextHandler(&log, nil))
	q.Effects("acc_1", presence.Effects{Records: []acd.Record{{EntryID: "e1", QueueID: "q_1", Token: "t1", CallID: "c1", CallerNumber: "4930123", CallerName: "Anna", Label: "VIP",
		Outcome: acd.LeftAnswered, EnqueuedMS: 1, ConnectedMS: 2, EndMS: 3, UserID: "us_1", WrapUpMS: 4, Priority: 5, Misses: 6}}})
	q.writeRecord(new(<-q.records))
	for _, part := range []string{`msg="queue record"`, "account=acc_1 queue=q_1 entry=e1 token=t1 call_id=c1 caller_number=4930123 caller_name=Anna label=VIP",
		"outcome=answered short=false priority=5 misses=6 enqueued_ms=1 connected_ms=2 end_ms=3 user=us_1 wrap_up_ms=4"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%s is missing in %s", part, log.String())
		}
	}
}

// The setup of one account is made while that of another is being made, which may take long.
func TestSetups_OfOneAccountDoNotWaitForAnother(t *testing.T) {
	q, _, o := newQueues(t, nil)
	large := q.setups.slot("acc_large")
	large.mu.Lock()
	defer large.mu.Unlock()
	made := make(chan *madeSetup, 1)
	go func() { made <- q.setups.of(o.acct) }()
	select {
	case m := <-made:
		if again := q.setups.of(o.acct); again != m {
			t.Error("it is made twice")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
}

// gone is a directory without accounts, of a later revision.
type gone struct{ brain.Directory }

func (gone) ByAccount(string) *brain.AccountConfig { return nil }
func (gone) Version() int64                        { return 9 }

// When an account is deleted its desk loses its queues and agents, so that nothing of it is kept for ever; a desk that was
// never used is left alone.
func TestQueues_ADeletedAccountLeavesNothing(t *testing.T) {
	q, d, o := newQueues(t, nil)
	for _, used := range []bool{false, true} {
		q.directory = func() brain.Directory { return o }
		if used {
			mustAct(t, q, "us_1", "login")
		}
		d.was()
		q.directory = func() brain.Directory { return gone{} }
		q.Changed([]brain.Change{{Op: brain.OpDelete, Before: &brain.Account{ID: "acc_1"}}})
		if len(q.changed) != 1 {
			t.Fatal("nobody is told")
		}
		if err := q.refresh(t.Context(), <-q.changed); err != nil {
			t.Fatal(err)
		}
		if asked := d.was(); (asked == "setup") != used {
			t.Errorf("used %v: asked %q", used, asked)
		}
		desk, err := q.desks.Ask(t.Context(), "acc_1", presence.Question{What: "agents"})
		if err != nil || len(desk.Agents) != 0 {
			t.Errorf("used %v: it has %+v, %v", used, desk.Agents, err)
		}
	}
}

// An agent whom a join gave and no reply takes along is ordered, as the desk would order him; one whose time is over when the
// reply is made goes back.
func TestQueues_RingWhomNoReplyTakesAlong(t *testing.T) {
	node := newEdge(t, nil)
	q, d, _ := newQueues(t, map[string]*edge{"n": node})
	d.register(t, "us_1")
	mustAct(t, q, "us_1", "login")
	joined, ring, err := q.Join(t.Context(), "acc_1", anna("e1"))
	if err != nil || len(ring) != 1 {
		t.Fatalf("%+v %v", ring, err)
	}
	q.Ring("acc_1", anna("e1"), joined.Offers)
	node.hears(t, "dispatch e1")
	until(t, q, "queue_orders_done", 1)
	op := node.ops[0]
	op.Dispatch.LeaseMS = ring[0].LeaseMS
	if op.ID != "dispatch-"+ring[0].ReservationID || op.Token != "toke1" || !reflect.DeepEqual(*op.Dispatch, ring[0]) {
		t.Errorf("%+v, want %+v", op.Dispatch, ring[0])
	}
	d.was()
	q.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if _, ring, err := q.Join(t.Context(), "acc_1", anna("e1")); err != nil || len(ring) != 0 {
		t.Errorf("too late: %+v %v", ring, err)
	}
	q.push.all.Wait()
	if got := d.was(); got != "join miss" {
		t.Errorf("asked %q", got)
	}
}

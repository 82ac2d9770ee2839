package actor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// clock is the time of a host under test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rooms is an account with a conference behind a PIN and a mailbox.
func rooms(id string) *brain.AccountConfig {
	return brain.NewAccountConfig(1, brain.AccountRows{
		Account:     brain.Account{ID: id, Name: id},
		Conferences: []brain.Conference{{ID: "conf_1", AccountID: id, PINHash: "right"}},
		Voicemails:  []brain.Voicemail{{ID: "vm_1", AccountID: id, QuotaMB: 10, MaxMessageSec: 60}},
	})
}

// newAnswering makes a host with real machines on a store, owning every shard under an epoch.
func newAnswering(t *testing.T, s *store, c *clock, epoch uint64) (*Host, *Sessions) {
	t.Helper()
	h := NewHost(s.open)
	h.Now = c.Now
	h.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	h.Env = func(accountID string) *session.Env {
		switch accountID {
		case "acc_none":
			return nil
		case "acc_panic":
			return &session.Env{}
		}
		return &session.Env{Account: rooms(accountID)}
	}
	own(t, h, epoch)
	t.Cleanup(func() { closeHost(h) })
	return h, &Sessions{Live: &Live{Host: h}}
}

func begin(accountID, token, target string) *session.Request {
	return &session.Request{Flow: &api.FlowRequest{AccountID: accountID, Token: token, Node: "edge1",
		Start: &api.FlowStart{TargetKind: target, TargetID: map[string]string{"voicemail": "vm_1", "conference": "conf_1"}[target], Channel: "ch"}}}
}

func report(accountID, token string, seq int64, outcome string, data map[string]string) *session.Request {
	return &session.Request{Flow: &api.FlowRequest{AccountID: accountID, Token: token, Node: "edge1", Seq: seq, Outcome: outcome, Data: data}}
}

func step(t *testing.T, s *Sessions, req *session.Request) session.Reply {
	t.Helper()
	reply, err := s.Step(t.Context(), req.Flow.AccountID, req.Flow.Token, req)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestSessions_TheSameStepAtOnceAdvancesOnce(t *testing.T) {
	// Proves exactly-once under concurrency: of three equal reports at the same time one advances, all three get the same command.
	_, s := newAnswering(t, &store{}, &clock{now: time.Now()}, 1)
	step(t, s, begin("acc_1", "t", "voicemail"))
	var all sync.WaitGroup
	replies := make([]session.Reply, 3)
	errs := make([]error, 3)
	for i := range replies {
		all.Go(func() {
			replies[i], errs[i] = s.Step(t.Context(), "acc_1", "t", report("acc_1", "t", 1, api.OutcomeDone, nil))
		})
	}
	all.Wait()
	for i, r := range replies {
		if errs[i] != nil || r.Seq != 2 || r.Command != api.CommandRecord || r.Params.Key != replies[0].Params.Key {
			t.Errorf("%d: %v, seq %d %s %s", i, errs[i], r.Seq, r.Command, r.Params.Key)
		}
	}
}

func TestSessions_GoOnWithTheSameCommandAfterAKill(t *testing.T) {
	// Proves that what was answered survives: another host on the same journal, without a word of the first, gives the same
	// command to the same report, for calls and for locks. The first host is not closed: it was killed.
	s, c := &store{}, &clock{now: time.Now()}
	_, before := newAnswering(t, s, c, 1)
	step(t, before, begin("acc_1", "t", "voicemail"))
	want := step(t, before, report("acc_1", "t", 1, api.OutcomeDone, nil))
	for seq := range int64(2) {
		wrongPIN(t, before, fmt.Sprintf("w%d", seq), 3)
	}
	_, after := newAnswering(t, s, c, 2)
	for name, req := range map[string]*session.Request{"the report again": report("acc_1", "t", 1, api.OutcomeDone, nil), "a question": report("acc_1", "t", 0, "", nil)} {
		if got := step(t, after, req); got.Seq != want.Seq || got.Params.Key != want.Params.Key || got.Command != api.CommandRecord {
			t.Errorf("%s gets seq %d %s; want %d %s", name, got.Seq, got.Command, want.Seq, want.Command)
		}
	}
	if r := step(t, after, begin("acc_1", "late", "conference")); len(r.Sounds) == 0 || r.Sounds[0].Prompt != "pin-locked" {
		t.Errorf("after the kill the conference takes PINs again: %+v", r)
	}
}

// wrongPIN begins a call and gives so many wrong PINs.
func wrongPIN(t *testing.T, s *Sessions, token string, times int64) {
	t.Helper()
	r := step(t, s, begin("acc_1", token, "conference"))
	for range times {
		if r.Command != api.CommandGather {
			return
		}
		q := report("acc_1", token, r.Seq, api.OutcomeDigits, map[string]string{"digits": "1"})
		if r = step(t, s, q); r.Need == nil {
			continue
		}
		q.Checked = &session.Checked{Turn: r.Turn, Match: -1}
		r = step(t, s, q)
	}
}

func TestSessions_WrongPINsCountOverCalls(t *testing.T) {
	// Proves the lock in the shard: five wrong PINs over two calls lock the conference for every call, and ten minutes open it.
	c := &clock{now: time.Now()}
	_, s := newAnswering(t, &store{}, c, 1)
	wrongPIN(t, s, "a", 3)
	if r := step(t, s, begin("acc_1", "b", "conference")); r.Command != api.CommandGather {
		t.Fatalf("three wrong ones lock already: %s", r.Command)
	}
	wrongPIN(t, s, "c", 2)
	if r := step(t, s, begin("acc_1", "d", "conference")); r.Command != api.CommandPlay || r.Sounds[0].Prompt != "pin-locked" {
		t.Errorf("five wrong ones do not lock: %+v", r)
	}
	if r := step(t, s, begin("acc_2", "d", "conference")); r.Command != api.CommandGather {
		t.Errorf("another account is locked too: %+v", r)
	}
	c.forward(10 * time.Minute)
	if r := step(t, s, begin("acc_1", "e", "conference")); r.Command != api.CommandGather {
		t.Errorf("after ten minutes: %+v", r)
	}
}

func TestSessions_LeaseIsRenewedAndEnds(t *testing.T) {
	// Proves that a call whose node names it lives on, one that nobody names ends and is listed as late, once confirmed it is not,
	// and that it is forgotten in the end.
	c := &clock{now: time.Now()}
	h, s := newAnswering(t, &store{}, c, 1)
	for _, token := range []string{"named", "silent"} {
		step(t, s, begin("acc_1", token, "voicemail"))
	}
	for range 3 {
		c.forward(api.SessionLeaseSec * time.Second / 2)
		if err := s.Renew(t.Context(), []api.AliveCall{{AccountID: "acc_1", Token: "named"}, {AccountID: "acc_1", Token: "nobody"}}); err != nil {
			t.Fatal(err)
		}
	}
	late := s.Late(t.Context())
	if !slices.Equal(late, []api.AliveCall{{AccountID: "acc_1", Token: "silent"}}) {
		t.Fatalf("late are %v", late)
	}
	if r := step(t, s, report("acc_1", "named", 0, "", nil)); r.Over {
		t.Error("the named call has ended")
	}
	r, err := s.Step(t.Context(), "acc_1", "silent", &session.Request{})
	if err != nil || !r.Over || len(r.Effects) != 1 {
		t.Fatalf("the silent call says %+v, %v", r, err)
	}
	if _, err := s.Step(t.Context(), "acc_1", "silent", &session.Request{Done: r.Turn}); err != nil {
		t.Fatal(err)
	}
	c.forward(api.SessionLeaseSec * time.Second / 2)
	if late := s.Late(t.Context()); len(late) > 0 {
		t.Errorf("still late: %v", late)
	}
	c.forward(time.Hour)                                                                                        // a node that was cut off may still come back until then
	if late := s.Late(t.Context()); slices.Contains(late, api.AliveCall{AccountID: "acc_1", Token: "silent"}) { // named has lapsed too by now
		t.Errorf("late again: %v", late)
	}
	if r, err := s.Step(t.Context(), "acc_1", "silent", &session.Request{}); err != nil || !r.Unknown {
		t.Errorf("it is not forgotten: %+v, %v", r, err)
	}
	if ids, err := s.Live.IDs(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("calls are listed as accounts: %v, %v", ids, err)
	}
	h.Close(t.Context())
}

func TestSessions_AStepThatFailsCostsItsQuestionOnly(t *testing.T) {
	// Proves that a panic of a decision is an error of that question, that an unknown account is forbidden, a bad question refused,
	// and that the shard goes on with what it had.
	h, s := newAnswering(t, &store{}, &clock{now: time.Now()}, 1)
	step(t, s, begin("acc_1", "t", "voicemail"))
	if _, err := s.Step(t.Context(), "acc_panic", "t", begin("acc_panic", "t", "voicemail")); brain.CodeOf(err) != brain.EInternal {
		t.Errorf("a panic gives %v", err)
	}
	if _, err := s.Step(t.Context(), "acc_none", "t", begin("acc_none", "t", "voicemail")); brain.CodeOf(err) != brain.EForbidden {
		t.Errorf("an unknown account gives %v", err)
	}
	if answer, err := h.stepped(t.Context(), brain.CallObject("acc_1", "t"), []byte("{")); err != nil || !strings.Contains(string(answer), `"refused"`) {
		t.Errorf("a bad question gives %s, %v", answer, err)
	}
	if !h.Owned(brain.ShardOf("acc_panic")) {
		t.Error("the shard has gone")
	}
	if r := step(t, s, report("acc_1", "t", 1, api.OutcomeDone, nil)); r.Seq != 2 {
		t.Errorf("the other call is at %d", r.Seq)
	}
}

func TestSessions_FillNoShard(t *testing.T) {
	// Proves the bound on calls of a shard: beyond it a call is refused as unavailable, the account itself is still served, and
	// room that becomes free is used.
	c := &clock{now: time.Now()}
	h, s := newAnswering(t, &store{}, c, 1)
	n := brain.ShardOf("acc_1")
	if _, err := h.look(t.Context(), n, func(s *shard) []byte { s.calls = maxCalls; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Step(t.Context(), "acc_1", "t", begin("acc_1", "t", "voicemail")); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("beyond the bound: %v", err)
	}
	if _, err := h.Query(t.Context(), "acc_1", askCalls); err != nil {
		t.Errorf("the account: %v", err)
	}
	if _, err := h.look(t.Context(), n, func(s *shard) []byte { s.calls = maxCalls - 1; return nil }); err != nil {
		t.Fatal(err)
	}
	if r := step(t, s, begin("acc_1", "t", "voicemail")); r.Seq != 1 {
		t.Errorf("within the bound: %+v", r)
	}
}

func TestSessions_AreReachedAtTheOwner(t *testing.T) {
	// Proves that a brain without the shard passes steps and renewals on to the owner, whose environment decides, and that without
	// an owner the answer is unavailable.
	c := &clock{now: time.Now()}
	_, owner := newAnswering(t, &store{}, c, 1)
	gone := false
	other := &Sessions{Live: &Live{Host: NewHost((&store{}).open), IsNoOwner: func(err error) bool { return errors.Is(err, errGone) }}}
	other.Live.Ask = func(ctx context.Context, shard int, msg []byte) ([]byte, error) {
		if gone {
			return nil, errGone
		}
		return owner.Live.Answer(ctx, shard, msg), nil
	}
	if r := step(t, other, begin("acc_1", "t", "voicemail")); r.Seq != 1 || r.Command != api.CommandPlay {
		t.Fatalf("passed on: %+v", r)
	}
	c.forward(50 * time.Second)
	if err := other.Renew(t.Context(), []api.AliveCall{{AccountID: "acc_1", Token: "t"}}); err != nil {
		t.Fatal(err)
	}
	c.forward(50 * time.Second)
	if r := step(t, other, report("acc_1", "t", 1, api.OutcomeDone, nil)); r.Seq != 2 || r.Over {
		t.Errorf("it was not renewed: %+v", r)
	}
	if _, err := other.Step(t.Context(), "acc_none", "t", begin("acc_none", "t", "voicemail")); err == nil {
		t.Error("an unknown account at the owner is no error")
	}
	gone = true
	if _, err := other.Step(t.Context(), "acc_1", "t", report("acc_1", "t", 0, "", nil)); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("without an owner: %v", err)
	}
	if err := other.Renew(t.Context(), []api.AliveCall{{AccountID: "acc_1", Token: "t"}}); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("renewed without an owner: %v", err)
	}
}

var errGone = errors.New("gone")

func TestSessions_SurviveASnapshot(t *testing.T) {
	// Proves that calls and locks come back from a snapshot of the shard, beside the account's presence.
	s, c := &store{}, &clock{now: time.Now()}
	h, before := newAnswering(t, s, c, 1)
	wrongPIN(t, before, "a", 3)
	wrongPIN(t, before, "b", 2)
	for i := range partingRecords {
		step(t, before, begin("acc_1", fmt.Sprint("t", i), "voicemail"))
	}
	h.HandOver(t.Context(), brain.ShardOf("acc_1"))
	if j := s.shards[brain.ShardOf("acc_1")].msgs; len(j) == 0 || !j[0].first {
		t.Fatal("no snapshot was left")
	}
	_, after := newAnswering(t, s, c, 2)
	for i := range partingRecords {
		if r := step(t, after, report("acc_1", fmt.Sprint("t", i), 1, api.OutcomeDone, nil)); r.Seq != 2 || r.Command != api.CommandRecord {
			t.Fatalf("call %d goes on with %+v", i, r)
		}
	}
	if r := step(t, after, begin("acc_1", "late", "conference")); r.Command != api.CommandPlay {
		t.Errorf("the lock is gone: %+v", r)
	}
}

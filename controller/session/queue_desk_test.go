package session

import (
	"context"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// served is the real queues of the account acc_1, with one agent, us_1.
type served struct {
	mu   sync.Mutex
	desk *acd.Desk
	now  func() int64
}

func newServed(t *testing.T, now func() int64) *served {
	t.Helper()
	s := &served{desk: acd.New(), now: now}
	s.do(t, acd.AppendSetup(nil, &acd.Setup{Version: 1, Queues: []acd.Queue{{ID: "q_1", Name: "sales", Strategy: acd.LongestIdle, RingMS: 20_000, MaxQueued: -1, EWTAHTMS: 240_000}},
		Agents: []acd.Agent{{UserID: "us_1", AutoReady: true, AutoQueueLogin: true, Memberships: []acd.Membership{{QueueID: "q_1", Tier: 1, Mode: acd.ModeStatic}}}}}))
	s.desk.Signal(now(), "us_1", true, 0)
	return s
}

func (s *served) do(t *testing.T, op []byte) []byte {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	reply, _, err := s.desk.Apply(s.now(), op)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func (s *served) Join(_ context.Context, _ string, j *acd.Join) (acd.Joined, []api.Dispatch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply, _, err := s.desk.Apply(s.now(), acd.AppendJoin(nil, j, 1))
	if err != nil {
		return acd.Joined{}, nil, err
	}
	joined, _, err := acd.ReadJoined(reply)
	var rings []api.Dispatch
	for _, o := range joined.Offers {
		rings = append(rings, api.Dispatch{ReservationID: o.ReservationID, Fence: o.Fence, UserID: o.UserID})
	}
	return joined, rings, err
}

func (s *served) Leave(_ context.Context, _, entryID, token, outcome string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, err := s.desk.Apply(s.now(), acd.AppendLeave(nil, entryID, token, outcome))
	return err
}

func (s *served) Callback(_ context.Context, _ string, c *acd.Callback) (string, error) {
	v, err := s.verdict(acd.AppendCallback(nil, c))
	return v.Why, err
}

func (s *served) Miss(_ context.Context, c *api.Claim) (api.ClaimReply, error) {
	v, err := s.verdict(acd.AppendMiss(nil, c.ReservationID, c.Fence, c.Cause))
	return api.ClaimReply{Granted: v.Granted, Why: v.Why}, err
}

func (s *served) verdict(op []byte) (acd.Verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply, _, err := s.desk.Apply(s.now(), op)
	if err != nil {
		return acd.Verdict{}, err
	}
	return acd.ReadVerdict(reply)
}

func (s *served) Ring(string, *acd.Join, []acd.Offer) {}

// callers counts who waits and who is served, and all who ever came.
func (s *served) callers() (waiting, talking int, offered int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.desk.Queues(s.now(), 0, s.now()+1, false)[0]
	return q.Waiting, q.Served, q.Figures.Offered
}

func (d *desk) lapse(t *testing.T) {
	t.Helper()
	m := d.owner.machines[brain.CallObject("acc_1", "t")]
	d.owner.nowMS, _ = m.Deadline()
	if _, _, err := m.Apply(d.owner.nowMS, m.Due(d.owner.nowMS)); err != nil {
		t.Fatal(err)
	}
	d.Sweep(t.Context())
}

func TestQueues_WithTheRealDesk(t *testing.T) {
	// Proves against the real queues: a caller is in the queue once however often his node asks; the agent is in the very first reply; a
	// call that lapses while it waits comes back as who has waited since then; one that lapses in its talk goes on talking when its node
	// comes back, and no exit ends it.
	d := newDesk(t, nil)
	s := newServed(t, func() int64 { return d.owner.nowMS })
	d.Queues = s
	d.say(t, start("queue", "q_1", nil))
	for range 2 {
		d.say(t, start("queue", "q_1", nil))
	}
	if waiting, _, offered := s.callers(); waiting != 1 || offered != 1 {
		t.Fatalf("%d wait, %d came", waiting, offered)
	}
	d.lapse(t)
	if waiting, _, _ := s.callers(); waiting != 0 {
		t.Errorf("%d wait of those who lapsed", waiting)
	}
	s.do(t, acd.AppendAgent(nil, &acd.AgentOp{UserID: "us_1", Action: "login"}, 1))
	r := d.say(t, again())
	if len(r.Params.Dispatches) != 1 || r.Params.Dispatches[0].UserID != "us_1" {
		t.Fatalf("it comes back with %+v", r)
	}
	if since := s.desk.Queues(d.owner.nowMS, 0, 0, true)[0].Entries[0].EnqueuedMS; since != 1_800_000_000_000 {
		t.Errorf("it waits since %d", since)
	}
	for _, op := range [][]byte{acd.AppendClaim(nil, r.Params.Dispatches[0].ReservationID, r.Params.Dispatches[0].Fence),
		acd.AppendConfirm(nil, r.Params.Dispatches[0].ReservationID, r.Params.Dispatches[0].Fence)} {
		if v, err := acd.ReadVerdict(s.do(t, op)); err != nil || !v.Granted {
			t.Fatalf("the talk: %+v, %v", v, err)
		}
	}
	d.lapse(t)
	if r := d.say(t, again()); r.Command != api.CommandEnqueue || len(r.Params.Dispatches) != 0 {
		t.Errorf("in the talk its node hears %+v", r)
	}
	if r := d.say(t, ended(r.Seq, api.OutcomeAnswered, map[string]string{"talk_ms": "90000"})); r.Command != api.CommandHangup {
		t.Errorf("after the talk: %+v", r)
	}
	if waiting, talking, _ := s.callers(); waiting != 0 || talking != 0 {
		t.Errorf("%d wait, %d talk", waiting, talking)
	}
}

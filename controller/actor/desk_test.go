package actor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// helpDesk is one queue, q1, which the user 1001 of acc_1 serves.
var helpDesk = &acd.Setup{Version: 1, Queues: []acd.Queue{{ID: "q1", Strategy: acd.LongestIdle, RingMS: 20_000, MaxQueued: -1}},
	Agents: []acd.Agent{{UserID: "us_1001acc_1", AutoReady: true, AutoQueueLogin: true, Memberships: []acd.Membership{{QueueID: "q1", Tier: 1, Mode: acd.ModeStatic}}}}}

// ordersOf collects the orders of a host.
func ordersOf(h *Host) func() []acd.Order {
	var mu sync.Mutex
	var all []acd.Order
	h.Effects = func(_ string, e presence.Effects) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, e.Orders...)
	}
	return func() []acd.Order {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// first waits for an order.
func first(t *testing.T, orders func() []acd.Order) acd.Order {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(orders()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was ordered")
		}
	}
	return orders()[0]
}

// Queues are reached from a brain that does not own their account: a caller waits, the agent's phone registers, and the
// owner orders the agent to be rung. The brain that owns the account next gives the order again under its id, and the
// claim of the agent holds there. Questions are answered the same everywhere.
func TestDesks_AreServedByTheOwner(t *testing.T) {
	s := &store{}
	owner, other := newPresence(t, s, 0), newPresence(t, &store{}, 0)
	ordered := ordersOf(owner.Live.Host)
	own(t, owner.Live.Host, 1)
	passOn(other, owner)
	desks := &Desks{Live: other.Live}
	do := func(op []byte) []byte {
		t.Helper()
		reply, err := desks.Do(t.Context(), "acc_1", op)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	join := acd.AppendJoin(nil, &acd.Join{EntryID: "e1", Token: "t1", Node: "n1", QueueID: "q1"}, 1)
	if _, stale, err := acd.ReadJoined(do(join)); err != nil || !stale {
		t.Fatalf("a desk without a setup: stale %v, %v", stale, err)
	}
	do(acd.AppendSetup(nil, helpDesk))
	do(acd.AppendAgent(nil, &acd.AgentOp{UserID: "us_1001acc_1", Action: acd.ActionLogin}, 1))
	if j, stale, err := acd.ReadJoined(do(join)); err != nil || stale || j.Outcome != "" || j.Position != 1 {
		t.Fatalf("%+v %v %v", j, stale, err)
	}
	saved := api.Event{Type: api.EventContactSaved, AccountID: "acc_1", AOR: "sip:1001@acc_1.test", Contact: "sip:1@h", ExpiresS: 600}
	if _, err := other.Deliver(t.Context(), newOffices(1), events("n1", saved)); err != nil {
		t.Fatal(err)
	}
	o := first(t, ordered)
	if o.Kind != acd.OrderDispatch || o.EntryID != "e1" || o.Node != "n1" || o.Offer.UserID != "us_1001acc_1" {
		t.Fatalf("%+v", o)
	}
	for what, want := range map[string]int{"queues": 1, "agents": 1, "desk": 0} {
		d, err := desks.Ask(t.Context(), "acc_1", presence.Question{What: what})
		if err != nil || d.Version != 1 || len(d.Queues)+len(d.Agents) != want {
			t.Errorf("%s: %+v %v", what, d, err)
		}
	}
	if _, err := desks.Do(t.Context(), "acc_1", []byte{99}); err == nil || !strings.Contains(err.Error(), "op") {
		t.Errorf("what is no op: %v", err)
	}

	closeHost(owner.Live.Host)
	next := newPresence(t, s, 0)
	again := ordersOf(next.Live.Host)
	own(t, next.Live.Host, 2)
	passOn(other, next)
	if got := first(t, again); got.ID != o.ID || got.Offer.Fence != o.Offer.Fence || len(ordered()) != 1 {
		t.Errorf("after the restart %+v, before %+v", got, o)
	}
	if v, err := acd.ReadVerdict(do(acd.AppendClaim(nil, o.Offer.ReservationID, o.Offer.Fence))); err != nil || !v.Granted {
		t.Errorf("%+v %v", v, err)
	}
}

// An account whose queues and agents are too large to be written down is told so, by the brain that is asked already, and
// goes on with what it has: it does not cost its shard.
func TestDesks_RefuseWhatIsTooLarge(t *testing.T) {
	owner, other := newPresence(t, &store{}, 0), newPresence(t, &store{}, 0)
	own(t, owner.Live.Host, 1)
	defer closeHost(owner.Live.Host)
	passOn(other, owner)
	name := strings.Repeat("n", 60)
	large := &acd.Setup{Version: 2, Queues: helpDesk.Queues}
	for i := range acd.MaxAgents {
		a := acd.Agent{UserID: fmt.Sprint("u", i)}
		for k := range 8 {
			a.Skills = append(a.Skills, acd.Skill{Name: fmt.Sprint(name, k), Level: 1})
		}
		large.Agents = append(large.Agents, a)
	}
	for _, p := range []*Presence{owner, other} {
		desks := &Desks{Live: p.Live}
		if _, err := desks.Do(t.Context(), "acc_1", acd.AppendSetup(nil, helpDesk)); err != nil {
			t.Fatal(err)
		}
		if _, err := desks.Do(t.Context(), "acc_1", acd.AppendSetup(nil, large)); brain.CodeOf(err) != brain.EInvalid || !strings.Contains(err.Error(), "acc_1") {
			t.Errorf("%v", err)
		}
		if d, err := desks.Ask(t.Context(), "acc_1", presence.Question{What: "desk"}); err != nil || d.Version != 1 {
			t.Errorf("%+v %v", d, err)
		}
	}
}

// passOn makes a brain pass on what it does not own.
func passOn(other, owner *Presence) {
	other.Live.IsNoOwner = func(error) bool { return false }
	other.Live.Ask = func(ctx context.Context, shard int, data []byte) ([]byte, error) {
		return owner.Live.Answer(ctx, shard, data), nil
	}
}

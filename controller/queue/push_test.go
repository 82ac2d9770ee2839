package queue

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// held makes an answer that waits until it is let go, or the asker goes.
func held() (answer func(r *http.Request, op *api.Op, times int) (int, string), let func()) {
	gate := make(chan struct{})
	return func(r *http.Request, _ *api.Op, _ int) (int, string) {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		return http.StatusOK, ""
	}, func() { close(gate) }
}

// An order to a node that does not answer delays none to another node, nor one about another caller at the same node;
// orders about one caller come one after the other, in their order.
func TestPush_ASlowNodeDelaysNobodyElse(t *testing.T) {
	wait, let := held()
	slow := newEdge(t, func(r *http.Request, op *api.Op, times int) (int, string) {
		if op.EntryID == "e1" {
			return wait(r, op, times)
		}
		return http.StatusOK, ""
	})
	quick := newEdge(t, nil)
	q, _, _ := newQueues(t, map[string]*edge{"slow": slow, "quick": quick})
	q.Effects("acc_1", orders(order(acd.OrderDispatch, "slow", "e1", 1), order(acd.OrderPosition, "slow", "e1", 2)))
	slow.hears(t, "dispatch e1")
	q.Effects("acc_1", orders(order(acd.OrderDispatch, "quick", "e2", 1), order(acd.OrderDispatch, "slow", "e3", 1)))
	quick.hears(t, "dispatch e2")
	slow.hears(t, "dispatch e3")
	until(t, q, "queue_orders_done", 2)
	slow.silent(t)
	let()
	slow.hears(t, "position e1")
	until(t, q, "queue_orders_done", 4)
}

// A node that cannot answer is told again under the same id until it does; the lease that it hears shrinks meanwhile.
func TestPush_TriesAgainWithTheSameID(t *testing.T) {
	node := newEdge(t, func(_ *http.Request, _ *api.Op, times int) (int, string) {
		if times < 3 {
			return http.StatusServiceUnavailable, ""
		}
		return http.StatusOK, ""
	})
	q, d, _ := newQueues(t, map[string]*edge{"n": node})
	q.Effects("acc_1", orders(order(acd.OrderDispatch, "n", "e1", 1)))
	until(t, q, "queue_orders_done", 1)
	if len(node.ops) != 3 || node.ops[0].ID != node.ops[2].ID || node.ops[2].Dispatch.LeaseMS >= node.ops[0].Dispatch.LeaseMS {
		t.Errorf("%+v", node.ops)
	}
	if got := d.was(); got != "" || q.Counts()["queue_orders_again"] != 2 {
		t.Errorf("asked %q, %v", got, q.Counts())
	}
}

// What becomes of an order that a node does not take: a dispatch is a miss of nobody's fault, told once; the desk sees to
// the rest by itself.
func TestPush_WhatANodeDoesNotTake(t *testing.T) {
	refuse := func(*http.Request, *api.Op, int) (int, string) { return http.StatusOK, "no such caller" }
	broken := func(*http.Request, *api.Op, int) (int, string) { return http.StatusInternalServerError, "" }
	silent, _ := held()
	rows := map[string]struct {
		answer func(*http.Request, *api.Op, int) (int, string)
		node   string
		kind   string
		lastMS int64
		asked  string
		count  string
	}{
		"a dispatch is refused":           {refuse, "n", acd.OrderDispatch, 9000, "miss", "queue_orders_refused"},
		"a dispatch finds no answer":      {silent, "n", acd.OrderDispatch, 300, "miss", "queue_orders_late"},
		"a dispatch finds a broken node":  {broken, "n", acd.OrderDispatch, 300, "miss", "queue_orders_late"},
		"a dispatch is late already":      {nil, "n", acd.OrderDispatch, -1, "miss", "queue_orders_late"},
		"the node is not registered":      {nil, "nowhere", acd.OrderDispatch, 9000, "miss", "queue_orders_refused"},
		"the node cannot be reached ever": {nil, "bare", acd.OrderDispatch, 9000, "miss", "queue_orders_refused"},
		"a position is refused":           {refuse, "n", acd.OrderPosition, 9000, "", "queue_orders_refused"},
		"a position finds no answer":      {silent, "n", acd.OrderPosition, 300, "", "queue_orders_late"},
		"an exit is refused":              {refuse, "n", acd.OrderExit, 9000, "", "queue_orders_refused"},
		"a rescind is refused":            {refuse, "n", acd.OrderRescind, 9000, "", "queue_orders_refused"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, d, _ := newQueues(t, map[string]*edge{"n": newEdge(t, row.answer)})
			o := order(row.kind, row.node, "e1", 1)
			o.UntilMS = time.Now().UnixMilli() + row.lastMS
			q.Effects("acc_1", orders(o))
			until(t, q, row.count, 1)
			q.push.all.Wait()
			if got := d.was(); got != row.asked || q.Counts()["queue_orders_done"] != 0 {
				t.Errorf("asked %q, want %q; %v", got, row.asked, q.Counts())
			}
		})
	}
}

// A dispatch that is taken back before it left is not sent, nor its rescind; one that the node may have is not tried again,
// and its rescind follows. Neither is a miss.
func TestPush_WhatIsTakenBackIsNotTriedAgain(t *testing.T) {
	wait, let := held()
	node := newEdge(t, func(r *http.Request, op *api.Op, times int) (int, string) {
		switch {
		case op.Kind == api.OpPosition:
			return wait(r, op, times)
		case op.Kind == api.OpDispatch && op.EntryID == "e2":
			return http.StatusServiceUnavailable, ""
		}
		return http.StatusOK, ""
	})
	q, d, _ := newQueues(t, map[string]*edge{"n": node})
	q.Effects("acc_1", orders(order(acd.OrderPosition, "n", "e1", 9)))
	node.hears(t, "position e1")
	q.Effects("acc_1", orders(order(acd.OrderDispatch, "n", "e1", 1), order(acd.OrderRescind, "n", "e1", 1), order(acd.OrderExit, "n", "e1", 2)))
	let()
	node.hears(t, "exit e1")

	q.Effects("acc_1", orders(order(acd.OrderDispatch, "n", "e2", 1)))
	node.hears(t, "dispatch e2")
	q.Effects("acc_1", orders(order(acd.OrderRescind, "n", "e2", 1)))
	for got := ""; got != "rescind e2"; {
		select {
		case got = <-node.came:
		case <-time.After(10 * time.Second):
			t.Fatal("no rescind came")
		}
	}
	q.push.all.Wait()
	node.silent(t)
	if got := d.was(); got != "" {
		t.Errorf("asked %q", got)
	}
}

// An order that is given again while it is on its way is one order.
func TestPush_TheSameOrderIsOnItsWayOnce(t *testing.T) {
	wait, let := held()
	node := newEdge(t, wait)
	q, _, _ := newQueues(t, map[string]*edge{"n": node})
	for range 3 {
		q.Effects("acc_1", orders(order(acd.OrderExit, "n", "e1", 1)))
	}
	node.hears(t, "exit e1")
	q.Effects("acc_1", orders(order(acd.OrderExit, "n", "e1", 1)))
	let()
	q.push.all.Wait()
	node.silent(t)
	q.Effects("acc_1", orders(order(acd.OrderExit, "n", "e1", 1))) // given again later: it is told again
	node.hears(t, "exit e1")
	until(t, q, "queue_orders_done", 2)
}

// An exit has another id each time it is given: one is on its way at a time, and one that was refused is told again.
func TestPush_OneExitIsOnItsWay(t *testing.T) {
	wait, let := held()
	node := newEdge(t, func(r *http.Request, op *api.Op, times int) (int, string) {
		status, _ := wait(r, op, times)
		return status, api.NoSuchCaller
	})
	q, _, _ := newQueues(t, map[string]*edge{"n": node})
	q.Effects("acc_1", orders(order(acd.OrderExit, "n", "e1", 1)))
	node.hears(t, "exit e1")
	q.Effects("acc_1", orders(order(acd.OrderExit, "n", "e1", 2)))
	let()
	q.push.all.Wait()
	node.silent(t)
	q.Effects("acc_1", orders(order(acd.OrderExit, "n", "e1", 3)))
	node.hears(t, "exit e1")
	until(t, q, "queue_orders_refused", 2)
	if node.ops[0].ID == node.ops[1].ID {
		t.Errorf("both times %s", node.ops[0].ID)
	}
}

// Agents who are rung for one caller are rung at the same time, so many that others have room; one is let go as soon as the
// order about him is done, and an exit goes after all of them.
func TestPush_AgentsOfOneCallerAreRungAtOnce(t *testing.T) {
	first, let := held()
	others, letOthers := held()
	node := newEdge(t, func(r *http.Request, op *api.Op, times int) (int, string) {
		switch {
		case op.Kind != api.OpDispatch:
			return http.StatusOK, ""
		case op.Dispatch.Fence == 1:
			return first(r, op, times)
		}
		return others(r, op, times)
	})
	q, _, _ := newQueues(t, map[string]*edge{"n": node})
	for n := range maxRinging + 1 {
		q.Effects("acc_1", orders(order(acd.OrderDispatch, "n", "e1", n+1)))
	}
	for range maxRinging {
		node.hears(t, "dispatch e1")
	}
	q.Effects("acc_1", orders(order(acd.OrderRescind, "n", "e1", 1), order(acd.OrderRescind, "n", "e1", maxRinging+1), order(acd.OrderExit, "n", "e1", 1),
		order(acd.OrderDispatch, "n", "e2", 1)))
	node.hears(t, "dispatch e2") // what is about another caller has not waited
	node.silent(t)
	let()
	node.hears(t, "rescind e1") // and the one that never left is not heard of
	until(t, q, "queue_orders_done", 3)
	node.silent(t)
	letOthers()
	node.hears(t, "exit e1")
	q.push.all.Wait()
	node.silent(t)
}

// A node that may have taken a dispatch, and whose answers do not come, is told to let the agent go: nobody waits for him.
func TestPush_WhatMayRingIsTakenBack(t *testing.T) {
	node := newEdge(t, func(_ *http.Request, op *api.Op, _ int) (int, string) {
		if op.Kind == api.OpDispatch {
			return http.StatusServiceUnavailable, ""
		}
		return http.StatusOK, ""
	})
	q, d, _ := newQueues(t, map[string]*edge{"n": node})
	o := order(acd.OrderDispatch, "n", "e1", 1)
	o.UntilMS = time.Now().UnixMilli() + 3000 // the node hears of it before, on a slow machine too
	q.Effects("acc_1", orders(o))
	until(t, q, "queue_orders_done", 1)
	q.push.all.Wait()
	last := node.ops[len(node.ops)-1]
	if last.Kind != api.OpRescind || last.Dispatch.ReservationID != o.Offer.ReservationID || last.ID == o.ID || d.was() != "miss" {
		t.Errorf("the last it heard is %+v", last)
	}
}

// An agent whose reservation has no time left is not rung, however long the order is good for.
func TestPush_NobodyIsRungTooLate(t *testing.T) {
	node := newEdge(t, nil)
	q, d, _ := newQueues(t, map[string]*edge{"n": node})
	o := order(acd.OrderDispatch, "n", "e1", 1)
	o.Offer.UntilMS = time.Now().UnixMilli() - 1
	q.Effects("acc_1", orders(o))
	until(t, q, "queue_orders_refused", 1)
	q.push.all.Wait()
	node.silent(t)
	if got := d.was(); got != "miss" {
		t.Errorf("asked %q", got)
	}
}

// callers are sessions that all say the same.
type callers struct {
	waits bool
	err   error
}

func (c callers) Waits(_ context.Context, accountID, token, entryID string) (bool, error) {
	return c.waits && accountID == "acc_1" && token == "tok"+entryID, c.err
}

// A caller whom his node does not have leaves when his session does not have the place either; one whose session has it
// will be there in a moment.
func TestPush_AGhostLeaves(t *testing.T) {
	away := brain.Errorf(brain.EUnavailable, "later")
	for name, row := range map[string]struct {
		kind, refusal string
		callers       callers
		asked         string
	}{
		"a dispatch for a ghost":          {acd.OrderDispatch, api.NoSuchCaller, callers{}, "leave"},
		"an exit of a ghost":              {acd.OrderExit, api.NoSuchCaller, callers{}, "leave"},
		"a position of a ghost":           {acd.OrderPosition, api.NoSuchCaller, callers{}, ""},
		"a dispatch before he is there":   {acd.OrderDispatch, api.NoSuchCaller, callers{waits: true}, "miss"},
		"an exit before he is there":      {acd.OrderExit, api.NoSuchCaller, callers{waits: true}, ""},
		"a dispatch, nobody can be asked": {acd.OrderDispatch, api.NoSuchCaller, callers{err: away}, "miss"},
		"a dispatch, he is served":        {acd.OrderDispatch, "the caller is with an agent", callers{}, "miss"},
	} {
		refuse := func(*http.Request, *api.Op, int) (int, string) { return http.StatusOK, row.refusal }
		q, d, _ := newQueues(t, map[string]*edge{"n": newEdge(t, refuse)})
		q.Callers = row.callers
		q.Effects("acc_1", orders(order(row.kind, "n", "e1", 1)))
		until(t, q, "queue_orders_refused", 1)
		q.push.all.Wait()
		if got := d.was(); got != row.asked {
			t.Errorf("%s: asked %q, want %q", name, got, row.asked)
		}
	}
}

// A late refusal of an order for the call that somebody has ended, who keeps his place, does not cost him the place.
func TestPush_AGhostWhoKeepsHisPlaceStays(t *testing.T) {
	for _, kind := range []string{acd.OrderDispatch, acd.OrderExit} {
		refuse := func(*http.Request, *api.Op, int) (int, string) { return http.StatusOK, api.NoSuchCaller }
		q, _, _ := newQueues(t, map[string]*edge{"n": newEdge(t, refuse)})
		q.Callers = callers{}
		j := anna("e1")
		j.Token = "toke1"
		if _, _, err := q.Join(t.Context(), "acc_1", j); err != nil {
			t.Fatal(err)
		}
		if why, err := q.Callback(t.Context(), "acc_1", &acd.Callback{EntryID: "e1", Token: "toke1", Number: "1us_3", Tries: 1, WindowMS: 60_000}); why != "" || err != nil {
			t.Fatal(why, err)
		}
		q.Effects("acc_1", orders(order(kind, "n", "e1", 1)))
		until(t, q, "queue_orders_refused", 1)
		q.push.all.Wait()
		states, err := q.States(t.Context(), "acc_1", "", 0, 0, true)
		if err != nil || len(states) == 0 || len(states[0].Entries) != 1 || !states[0].Entries[0].Callback {
			t.Errorf("%s: %+v, %v", kind, states, err)
		}
	}
}

// A node that takes nothing fills its own lane: orders beyond the bound are dropped and counted, and another node hears
// its own at once. Closing does not wait for the node.
func TestPush_IsBoundedANode(t *testing.T) {
	wait, _ := held()
	stuck, quick := newEdge(t, wait), newEdge(t, nil)
	q, _, _ := newQueues(t, map[string]*edge{"stuck": stuck, "quick": quick})
	var many []acd.Order
	for n := range maxOrders + 5 {
		many = append(many, order(acd.OrderDispatch, "stuck", "e"+strings.Repeat("x", n%7), n))
	}
	q.Effects("acc_1", orders(many...))
	if n := q.Counts()["queue_orders_dropped"]; n != 5 {
		t.Errorf("%d dropped", n)
	}
	q.Effects("acc_1", orders(order(acd.OrderDispatch, "quick", "e1", 1)))
	quick.hears(t, "dispatch e1")
	began := time.Now()
	q.Close()
	if took := time.Since(began); took > 4*time.Second { // a try of an op lasts 5 s
		t.Errorf("closing took %v", took)
	}
	q.Effects("acc_1", orders(order(acd.OrderDispatch, "quick", "e2", 1)))
	quick.silent(t)
}

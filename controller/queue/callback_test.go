package queue

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// Nodes lists those of the office, by name.
func (o *office) Nodes() (list []*brain.Node) {
	for _, name := range slices.Sorted(maps.Keys(o.nodes)) {
		list = append(list, o.nodes[name])
	}
	return list
}

// toCall is the order to call somebody back who was at a node.
func toCall(node string) acd.Order {
	o := order(acd.OrderCallback, node, "e1", 7)
	o.CallerNumber, o.CallerName, o.Label = "1us_3", "Zoe", "vip"
	return o
}

// Which nodes are asked to call somebody back, and when the desk hears that none does. Each row names the node that he was at,
// what the nodes answer and who is asked, in order.
func TestCallback_OneNodeCalls(t *testing.T) {
	const ok, no, mute = "ok", "no", "mute" // mute: takes it and does not answer
	for _, c := range []struct {
		what, at string
		nodes    map[string]string
		state    map[string]string
		asked    string
		failed   bool
	}{
		{what: "his own", at: "b", nodes: map[string]string{"a": ok, "b": ok}, asked: "b"},
		{what: "his own, which takes no new calls", at: "b", nodes: map[string]string{"a": ok, "b": ok}, state: map[string]string{"b": "draining"}, asked: "b"},
		{what: "another, when his refuses", at: "b", nodes: map[string]string{"a": ok, "b": no}, asked: "b a"},
		{what: "another, when his is lost", at: "b", nodes: map[string]string{"a": ok, "b": ok}, state: map[string]string{"b": "lost"}, asked: "a"},
		{what: "another, when his is not known", at: "z", nodes: map[string]string{"a": ok, "b": ok}, asked: "a"},
		{what: "another, when his cannot be told", at: "bare", nodes: map[string]string{"a": ok}, asked: "a"},
		{what: "none that drains but his own", at: "z", nodes: map[string]string{"a": ok, "b": ok}, state: map[string]string{"a": "draining"}, asked: "b"},
		{what: "three at most", at: "a", nodes: map[string]string{"a": no, "b": no, "c": no, "d": ok}, asked: "a b c", failed: true},
		{what: "none there is", at: "z", failed: true},
		{what: "no other, when his may be calling", at: "b", nodes: map[string]string{"a": ok, "b": mute}, asked: "b"},
	} {
		t.Run(c.what, func(t *testing.T) {
			edges := map[string]*edge{}
			came := make(chan string, 100)
			for name, how := range c.nodes {
				edges[name] = newEdge(t, func(r *http.Request, op *api.Op, times int) (int, string) {
					if times == 1 {
						came <- name
					}
					if how == mute {
						<-r.Context().Done()
					}
					return http.StatusOK, map[string]string{no: "not here"}[how]
				})
			}
			q, d, o := newQueues(t, edges)
			for name, state := range c.state {
				o.nodes[name].State = state
			}
			told := toCall(c.at)
			if strings.Contains(c.asked, "b") && c.nodes["b"] == mute {
				told.UntilMS = time.Now().Add(3 * time.Second).UnixMilli() // he is asked before, on a slow machine too
			}
			q.Effects("acc_1", orders(told))
			switch {
			case c.failed:
				until(t, q, "queue_misses", 1)
			case c.nodes[c.at] == mute:
				until(t, q, "queue_orders_late", 1)
			default:
				until(t, q, "queue_orders_done", 1)
			}
			q.push.all.Wait()
			missed := strings.Contains(d.was(), "miss")
			var asked []string
			for range strings.Fields(c.asked) { // a node that is mute may note it later
				select {
				case name := <-came:
					asked = append(asked, name)
				case <-time.After(10 * time.Second):
				}
			}
			for len(came) > 0 {
				asked = append(asked, <-came)
			}
			if got := strings.Join(asked, " "); got != c.asked || missed != c.failed {
				t.Errorf("asked %q, want %q; a miss %v, want %v", got, c.asked, missed, c.failed)
			}
		})
	}
}

// A node whose machine is gone does not keep anybody from being called: nothing was told it.
func TestCallback_AnotherNodeCallsWhenNothingListens(t *testing.T) {
	there := newEdge(t, nil)
	gone := newEdge(t, nil)
	q, _, _ := newQueues(t, map[string]*edge{"a": there, "b": gone})
	gone.Close()
	q.Effects("acc_1", orders(toCall("b")))
	there.hears(t, "callback e1")
}

// What a node hears of a callback: each time how much of the order's time is left, with a number of the queue that his phone shows.
func TestCallback_WhatANodeIsTold(t *testing.T) {
	node := newEdge(t, func(_ *http.Request, _ *api.Op, times int) (int, string) {
		if times < 3 {
			return http.StatusServiceUnavailable, ""
		}
		return http.StatusOK, ""
	})
	q, _, o := newQueues(t, map[string]*edge{"n": node})
	r := rows()
	leads := func(digits, action string, status brain.Status) brain.Extension {
		return brain.Extension{ID: "ext_" + digits, Digits: digits, Status: status, DestKind: brain.DestQueue, DestID: "q_1", DestXform: brain.Vars{"action": action}}
	}
	r.Extensions = []brain.Extension{leads("8", "", brain.StatusActive), leads("7", "", brain.StatusActive), leads("5", "queue_join", brain.StatusActive), leads("6", "", brain.StatusDisabled)}
	o.acct = brain.NewAccountConfig(8, r)
	told := toCall("n")
	q.Effects("acc_1", orders(told))
	until(t, q, "queue_orders_done", 1)
	want := api.CallbackCall{AccountID: "acc_1", ReservationID: "re17", Fence: 7, QueueID: "q_1", Number: "1us_3", AcceptMS: acd.AcceptMS,
		Label: "vip", CallerName: "Zoe", FromNumber: "7", FromName: "sales"}
	if len(node.ops) != 3 {
		t.Fatalf("%d orders", len(node.ops))
	}
	left := int64(10_000)
	for _, op := range node.ops {
		if op.Callback.RingMS <= 0 || op.Callback.RingMS > left {
			t.Errorf("%d ms are left after %d", op.Callback.RingMS, left)
		}
		left, op.Callback.RingMS = op.Callback.RingMS, 0
		if op.Kind != api.OpCallback || op.ID != told.ID || op.Token != told.Token || op.EntryID != "e1" || *op.Callback != want {
			t.Errorf("%+v %+v", op, op.Callback)
		}
	}
	r.Extensions, r.DIDs = nil, []brain.DID{{ID: "did_2", E164: "4930200", Status: brain.StatusActive, DestKind: brain.DestQueue, DestID: "q_1"},
		{ID: "did_1", E164: "4930100", Status: brain.StatusActive, DestKind: brain.DestQueue, DestID: "q_1"}}
	if got := reachedBy(brain.NewAccountConfig(9, r), "q_1"); got != "4930100" {
		t.Errorf("without an extension: %q", got)
	}
}

// A caller who waits is called back, however often the desk is told; one who has no place is not.
func TestCallback_TheDeskSaysWhoIsCalled(t *testing.T) {
	q, d, _ := newQueues(t, nil)
	if _, _, err := q.Join(t.Context(), "acc_1", anna("e1")); err != nil {
		t.Fatal(err)
	}
	for entry, want := range map[string]string{"e1": "", "e9": acd.WhyUnknown} {
		for range 2 {
			if why, err := q.Callback(t.Context(), "acc_1", &acd.Callback{EntryID: entry, Number: "1us_3", Tries: 1, WindowMS: 60_000}); err != nil || why != want {
				t.Errorf("%s: %q %v", entry, why, err)
			}
		}
	}
	d.fail = brain.Errorf(brain.EUnavailable, "away")
	if _, err := q.Callback(t.Context(), "acc_1", &acd.Callback{EntryID: "e1", Number: "1us_3", Tries: 1}); brain.CodeOf(err) != brain.EUnavailable {
		t.Error(err)
	}
}

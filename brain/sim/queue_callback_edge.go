package sim

import (
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

// back is the truth about somebody who has hung up to be called: his telephone, and what has become of it.
type back struct {
	caller  *caller // as he called
	ask     acd.Callback
	from    int64 // when he hung up
	live    int   // calls that ring at his, or that he has taken
	failed  int   // calls that he did not take, and the desk knows it
	missed  int64 // when the last of them ended …
	fence   int64 // … and its fence
	over    bool  // the desk has written that he is not called any more
	settled bool  // he has taken a call
	asking  bool  // the desk has not said yet that he keeps his place
	broken  bool  // nobody can call him
}

// clocks is how much two brains' clocks may differ.
const clocks = 4 * second

// backCall is a call that a node makes to him.
type backCall struct {
	back  *back
	order acd.Order
	node  *station
	over  bool
}

// press has a caller who waits hang up and keep his place.
func (w *lobby) press(c *caller) {
	if c.over || c.joining || !c.waits() || !w.stormy {
		return
	}
	c.over = true
	w.part(c)
	b := &back{caller: c, from: w.now, asking: true, broken: w.bad(5), ask: acd.Callback{EntryID: c.ask.EntryID, Token: c.ask.Token, Number: fmt.Sprint("+48", w.rng.IntN(20)),
		Tries: 1 + w.rng.IntN(3), DelayMS: w.some(80, 1, 8*second), RetryMS: w.between(second, 30*second), WindowMS: w.between(10*second, 2*minute)}}
	w.backs[b.ask.EntryID] = b
	if b.broken { // until there are too many faults
		b.ask.RetryMS, b.ask.WindowMS = w.between(second, 15*second), 5*minute
	}
	ask := b.ask
	w.ask(&queueOp{kind: opKeep, back: &ask}, func(reply []byte) {
		b.asking = false
		v, err := acd.ReadVerdict(reply)
		switch {
		case err != nil:
			w.broken("the reply to a callback is not read: %w", err)
		case v.Granted:
		case w.backs[b.ask.EntryID] != b:
		default: // an agent has answered, or his place is gone
			delete(w.backs, b.ask.EntryID)
			w.leave(c, acd.LeftAbandoned)
		}
	})
}

// part takes a caller from its node, with the telephones that ring for him.
func (w *lobby) part(c *caller) {
	c.node.callers = slices.DeleteFunc(c.node.callers, func(o *caller) bool { return o == c })
	w.hush(c)
}

// ghost has the call of an order leave that its node does not have, unless its session says that it waits, or has yet to say
// that he keeps his place. That word comes late.
func (w *lobby) ghost(o acd.Order) bool {
	c := w.entries[o.EntryID]
	if b := w.backs[o.EntryID]; b != nil && b.asking && b.ask.Token == o.Token || c != nil && c.ask.Token == o.Token && !c.over {
		return false
	}
	if o.Kind != acd.OrderDispatch && o.Kind != acd.OrderExit || !w.bad(50) {
		return false
	}
	w.after(w.between(0, minute), func() { w.ask(&queueOp{kind: opLeave, entry: o.EntryID, token: o.Token, outcome: acd.LeftFailed}, nil) })
	return true
}

// callBack has a node call somebody: that of the order, or another one that is there. The same order again does nothing.
func (w *lobby) callBack(o acd.Order) {
	b := w.backs[o.EntryID]
	if w.dialed[o.Offer.ReservationID] || b == nil || w.now > o.UntilMS+clocks {
		return
	}
	at := slices.IndexFunc(w.nodes, func(n *station) bool { return n.up && n.name == o.Node })
	if at < 0 {
		at = slices.IndexFunc(w.nodes, func(n *station) bool { return n.up })
	}
	w.dialed[o.Offer.ReservationID] = true
	if at < 0 || b.broken || w.bad(5) { // nobody can make it
		w.miss(o.Offer, acd.MissFailed)
		return
	}
	switch {
	case b.over:
		w.broken("%s is called when that is over", o.EntryID)
	case b.settled:
		w.broken("%s is called and has taken a call", o.EntryID)
	case b.live > 0:
		w.broken("%s is called while another call to him is under way", o.EntryID)
	case b.failed >= b.ask.Tries:
		w.broken("%s is called for the %dth time, of %d", o.EntryID, b.failed+1, b.ask.Tries)
	case w.now < b.from+b.ask.DelayMS-clocks || o.Offer.Fence > b.fence && b.fence > 0 && w.now < b.missed+b.ask.RetryMS-clocks:
		w.broken("%s is called too soon", o.EntryID)
	}
	w.ring(&backCall{back: b, order: o, node: w.nodes[at]})
}

// ring lets his telephone ring: he takes the call and wants it, or does not, or nobody ever hears of it.
func (w *lobby) ring(call *backCall) {
	call.back.live++
	call.node.backCalls = append(call.node.backCalls, call)
	left := max(second, min(acd.CallbackMS, call.order.UntilMS-w.now))
	switch after := w.between(100, left); w.rng.IntN(8) {
	case 0:
		w.after(left, func() { w.inVain(call, acd.MissCaller) })
	case 1:
		w.after(min(after, second), func() { w.inVain(call, acd.MissCaller) }) // busy
	case 2:
		w.after(min(after, second), func() { w.inVain(call, acd.MissFailed) })
	case 3: // he answers, and presses nothing
		w.after(after+w.between(second, acd.AcceptMS/2), func() { w.inVain(call, acd.MissCaller) })
	case 4:
		if w.stormy { // it ends, and nobody hears why
			w.after(after, func() { w.endCall(call) })
			return
		}
		fallthrough
	default:
		w.after(min(after, 8*second)+w.between(second, 5*second), func() { w.accept(call) })
	}
}

func (w *lobby) endCall(call *backCall) {
	call.over = true
	call.back.live--
	call.node.backCalls = slices.DeleteFunc(call.node.backCalls, func(o *backCall) bool { return o == call })
}

// inVain ends a call that he did not take, and has it told.
func (w *lobby) inVain(call *backCall, cause string) {
	if call.over {
		return
	}
	w.endCall(call)
	b, o, at := call.back, call.order.Offer, w.now
	w.ask(&queueOp{kind: opMiss, reservation: o.ReservationID, fence: o.Fence, cause: cause}, func(reply []byte) {
		if v, err := acd.ReadVerdict(reply); err == nil && v.Granted && cause == acd.MissCaller {
			b.failed++
			b.missed, b.fence = at, o.Fence
		}
		if w.bad(20) { // a call that nobody has joins
			w.after(w.between(0, minute), func() { w.ask(w.arrival(call), nil) })
		}
	})
	w.forge(opMiss, o)
}

// arrival is the join of a call that he has taken.
func (w *lobby) arrival(call *backCall) *queueOp {
	o := call.order
	return &queueOp{kind: opJoin, version: w.setup.Version, join: &acd.Join{EntryID: o.EntryID, Token: o.Token, CallID: "back" + o.Token, Node: call.node.name,
		QueueID: o.QueueID, CallerNumber: call.back.caller.ask.CallerNumber, CallbackFence: o.Offer.Fence}}
}

// accept makes the call his: he is a caller as any other, if the desk still knows that it calls him.
func (w *lobby) accept(call *backCall) {
	if call.over {
		return
	}
	b := call.back
	c := &caller{node: call.node, ask: *w.arrival(call).join, rings: map[string]*ring{}, joining: true}
	w.ask(w.arrival(call), func(reply []byte) {
		joined, _, err := acd.ReadJoined(reply)
		switch {
		case err != nil:
			w.broken("the reply to a join is not read: %w", err)
			return
		case call.over: // its node died: nobody is there
			if joined.Outcome == "" {
				b.settled = true
				delete(w.backs, c.ask.EntryID)
				w.after(w.between(second, 30*second), func() { w.leave(c, acd.LeftFailed) })
			}
			return
		case joined.Outcome == acd.LeftFailed: // the place is not his
			w.endCall(call)
			return
		}
		w.endCall(call)
		b.settled = true
		delete(w.backs, c.ask.EntryID)
		w.entries[c.ask.EntryID] = c
		c.node.callers = append(c.node.callers, c)
		c.joining, c.joined = false, true
		w.after(w.between(second, minute), func() { w.hangUp(c) })
		if w.chance(30) {
			w.after(w.between(second, 20*second), func() { w.press(c) })
		}
		if joined.Outcome != "" {
			w.depart(c, joined.Outcome)
			return
		}
		for _, offer := range joined.Offers {
			w.dispatch(c, offer)
		}
	})
}

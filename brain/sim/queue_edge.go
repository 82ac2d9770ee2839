package sim

import (
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

// station is a node with its callers.
type station struct {
	name      string
	up        bool
	callers   []*caller
	backCalls []*backCall // to those who have hung up
}

// caller is the truth about a call that was sent into a queue.
type caller struct {
	node    *station
	ask     acd.Join
	joined  bool // it has heard that it has a place
	joining bool // it is asking for one
	over    bool // it left the queue, or hung up
	rings   map[string]*ring
	talk    *ring
}

// ring is an agent's telephone that rings, or talks, for a caller.
type ring struct {
	caller   *caller
	offer    acd.Offer
	person   *person
	answered bool
	over     bool
}

func (c *caller) waits() bool { return !c.over && c.joined && c.talk == nil }

// arrivals makes callers.
func (w *lobby) arrivals() {
	if !w.stormy {
		return
	}
	id, node := w.callers, w.nodes[w.rng.IntN(len(w.nodes))]
	if w.callers++; node.up && len(w.entries) < 400 {
		c := &caller{node: node, rings: map[string]*ring{}}
		c.ask = acd.Join{EntryID: fmt.Sprintf("tok%d-1", id), Token: fmt.Sprint("tok", id), CallID: fmt.Sprint("call", id), Node: node.name,
			QueueID: w.someQueue(), Priority: int(w.some(40, 0, 20)), ExitNoAgents: w.chance(10),
			CallerNumber: fmt.Sprint("+49", w.rng.IntN(12)), CallerName: "somebody"}
		if w.chance(40) {
			c.ask.Skills = w.someSkills(40, 4)
		}
		if w.chance(5) {
			c.ask.SinceMS = w.now - w.between(0, 30*second)
		}
		w.entries[c.ask.EntryID] = c
		node.callers = append(node.callers, c)
		w.join(c)
		w.after(w.between(second, 3*minute), func() { w.hangUp(c) })
		if w.chance(30) {
			w.after(w.between(second, 30*second), func() { w.press(c) })
		}
	}
	pause := w.between(1, 2*w.rush)
	if w.chance(5) {
		pause = w.between(10*second, 40*second)
	}
	w.after(pause, w.arrivals)
}

// join asks for a caller's place, or how it stands.
func (w *lobby) join(c *caller) {
	if c.joining || c.over {
		return
	}
	c.joining = true
	j := c.ask
	w.ask(&queueOp{kind: opJoin, join: &j, version: w.setup.Version}, func(reply []byte) {
		joined, _, err := acd.ReadJoined(reply)
		if err != nil {
			w.broken("the reply to a join is not read: %w", err)
		}
		c.joining, c.joined = false, true
		if c.over { // it hung up meanwhile
			w.leave(c, acd.LeftAbandoned)
			return
		}
		if joined.Outcome != "" {
			w.depart(c, joined.Outcome)
			return
		}
		for _, o := range joined.Offers {
			w.dispatch(c, o)
		}
	})
}

// depart ends a caller's time in the queue at the edge, and has it told.
func (w *lobby) depart(c *caller, outcome string) {
	if c.over {
		return
	}
	c.over = true
	w.part(c)
	if c.talk != nil {
		c.talk.person.busy, c.talk = nil, nil
		outcome = acd.LeftAnswered
	}
	if c.joining && w.chance(50) {
		return // the session goes on when it has its answer
	}
	w.after(w.between(1, 100), func() { w.leave(c, outcome) })
}

// leave tells the desk, until it has heard.
func (w *lobby) leave(c *caller, outcome string) {
	w.ask(&queueOp{kind: opLeave, entry: c.ask.EntryID, token: c.ask.Token, outcome: outcome}, func([]byte) {
		if outcome == acd.LeftFailed && c.node.up && w.bad(50) { // the session goes on: it enters again
			c.over, c.rings = false, map[string]*ring{}
			c.node.callers = append(c.node.callers, c)
			w.join(c)
			w.after(w.between(second, minute), func() { w.hangUp(c) })
			return
		}
		if w.entries[c.ask.EntryID] == c {
			delete(w.entries, c.ask.EntryID)
		}
	})
}

// hush stops the telephones that ring for a caller.
func (w *lobby) hush(c *caller) {
	for _, r := range c.rings {
		w.stop(r)
	}
}

func (w *lobby) stop(r *ring) {
	if r.over || r.caller.talk == r {
		return
	}
	if r.over = true; r.person.busy == r {
		r.person.busy = nil
	}
}

// hangUp ends a call from the caller's side, by a key that leads elsewhere, or by a fault.
func (w *lobby) hangUp(c *caller) {
	switch {
	case c.over:
	case c.talk != nil: // the talk has its own end
		w.after(w.between(second, 10*second), func() { w.hangUp(c) })
		if w.chance(30) {
			w.depart(c, acd.LeftAnswered)
		}
	case w.bad(15):
		w.depart(c, acd.LeftFailed)
	case w.chance(15):
		w.depart(c, acd.LeftOption)
	default:
		w.depart(c, acd.LeftAbandoned)
	}
}

// killNode ends a node with all its calls. Nobody tells of them until their sessions are given up.
func (w *lobby) killNode(n *station) {
	n.up = false
	for _, c := range n.callers {
		c.over = true
		w.hush(c)
		if c.talk != nil {
			c.talk.person.busy, c.talk = nil, nil
		}
		w.after(w.between(second, 90*second), func() {
			if c.joined {
				w.leave(c, acd.LeftFailed)
			}
		})
	}
	n.callers = nil
	for _, call := range slices.Clone(n.backCalls) {
		w.endCall(call)
	}
	w.after(w.between(5*second, minute), func() { n.up = true })
}

// deliver brings an order to its node: some never come, some late, some twice.
func (w *lobby) deliver(o acd.Order) {
	if w.bad(5) {
		return
	}
	delay := w.between(1, 30)
	if w.bad(5) {
		delay = w.between(100, 20*second)
	}
	w.after(delay, func() { w.carryOut(o) })
	if w.bad(5) {
		w.after(delay+w.between(0, 10*second), func() { w.carryOut(o) })
	}
}

func (w *lobby) carryOut(o acd.Order) {
	if o.Kind == acd.OrderCallback {
		w.callBack(o)
		return
	}
	c := w.entries[o.EntryID]
	if c == nil || c.over || c.talk != nil {
		if w.ghost(o) {
			return
		}
		if o.Kind == acd.OrderDispatch && w.chance(50) { // no such caller
			w.miss(o.Offer, acd.MissFailed)
		}
		return
	}
	switch o.Kind {
	case acd.OrderDispatch:
		w.dispatch(c, o.Offer)
	case acd.OrderRescind:
		if r := c.rings[o.Offer.ReservationID]; r != nil {
			w.stop(r)
		}
	case acd.OrderExit:
		if !c.joining {
			w.depart(c, o.Outcome)
		}
	}
}

// dispatch rings an agent for a caller. The same again does nothing.
func (w *lobby) dispatch(c *caller, o acd.Offer) {
	if c.rings[o.ReservationID] != nil || c.over || c.talk != nil {
		return
	}
	r := &ring{caller: c, offer: o, person: w.byID[o.UserID]}
	c.rings[o.ReservationID] = r
	after, throw := w.between(100, 8*second), int64(w.rng.IntN(100))
	switch {
	case w.bad(3): // nobody ever hears of it again
	case !r.person.reachable && w.chance(80):
		w.after(w.between(10, second), func() { w.missed(r, acd.MissUnreachable) })
	case r.person.busy != nil || r.person.calls > 0:
		w.after(w.between(10, second), func() { w.missed(r, acd.MissBusy) })
	case throw < w.answers:
		w.after(after, func() { w.pickUp(r) })
	case throw%4 == 0:
		w.after(after, func() { w.missed(r, acd.MissDeclined) })
	case throw%4 == 1:
		w.after(w.between(10, second), func() { w.missed(r, acd.MissUnreachable) })
	case throw%4 == 2:
		w.after(w.between(10, second), func() { w.missed(r, acd.MissFailed) })
	default:
		w.after(o.RingMS, func() { w.missed(r, acd.MissNoAnswer) })
	}
}

func (w *lobby) missed(r *ring, cause string) {
	if r.over {
		return
	}
	w.stop(r)
	w.miss(r.offer, cause)
}

func (w *lobby) miss(o acd.Offer, cause string) {
	w.ask(&queueOp{kind: opMiss, reservation: o.ReservationID, fence: o.Fence, cause: cause}, nil)
	w.forge(opMiss, o)
}

// pickUp is an agent who answers: the claim, then the bridge.
func (w *lobby) pickUp(r *ring) {
	if r.over {
		return
	}
	if r.person.busy != nil {
		w.missed(r, acd.MissBusy)
		return
	}
	r.answered, r.person.busy = true, r
	w.forge(opClaim, r.offer)
	w.ask(&queueOp{kind: opClaim, reservation: r.offer.ReservationID, fence: r.offer.Fence}, func(reply []byte) {
		v, err := acd.ReadVerdict(reply)
		c := r.caller
		switch {
		case err != nil:
			w.broken("the reply to a claim is not read: %w", err)
		case r.over:
		case !v.Granted || c.talk != nil || c.over:
			w.stop(r)
		case w.bad(4): // the bridge does not come about
			w.missed(r, acd.MissFailed)
		case w.bad(8): // it does and breaks while the node is cut off: its confirm comes when both may have others
			w.stop(r)
			w.after(w.between(10*second, 40*second), func() {
				w.ask(&queueOp{kind: opConfirm, reservation: r.offer.ReservationID, fence: r.offer.Fence}, nil)
			})
		default:
			w.bridge(r)
		}
	})
}

// bridge lets two talk, and tells of it until that is heard; when it does not hold the talk is ended.
func (w *lobby) bridge(r *ring) {
	c := r.caller
	c.talk = r
	w.after(w.between(second, 40*second), func() {
		if c.talk == r {
			w.depart(c, acd.LeftAnswered)
		}
	})
	w.forge(opConfirm, r.offer)
	op := &queueOp{kind: opConfirm, reservation: r.offer.ReservationID, fence: r.offer.Fence}
	delay := w.between(1, 300)
	if w.bad(5) {
		delay = w.between(5*second, 30*second)
	}
	w.after(delay, func() {
		w.ask(op, func(reply []byte) {
			v, err := acd.ReadVerdict(reply)
			if err != nil {
				w.broken("the reply to a confirm is not read: %w", err)
			}
			if !v.Granted && c.talk == r {
				c.talk, r.over, r.person.busy = nil, true, nil
			}
		})
	})
}

// forge sends what nobody should: the right thing again and late, or with a fence of another time.
func (w *lobby) forge(kind int, o acd.Offer) {
	if !w.bad(12) {
		return
	}
	op := &queueOp{kind: kind, reservation: o.ReservationID, fence: o.Fence, cause: acd.MissNoAnswer}
	if w.chance(60) {
		op.fence = []int64{0, -1, o.Fence - 1, o.Fence + 1, o.Fence - 256}[w.rng.IntN(5)]
		op.kind = []int{opClaim, opConfirm, opMiss}[w.rng.IntN(3)]
	}
	w.after(w.between(0, minute), func() { w.ask(op, nil) })
}

// ask brings an op to the brain until its reply is heard. Requests and replies are lost, come late, and come twice.
func (w *lobby) ask(op *queueOp, heard func(reply []byte)) {
	answered := false
	var try func()
	send := func() {
		if h := w.brain; h != nil {
			h.do(op, func(reply []byte) {
				if w.bad(4) {
					return
				}
				w.after(w.between(1, 20), func() {
					if answered {
						return
					}
					if answered = true; heard != nil {
						heard(reply)
					}
				})
			})
		}
	}
	try = func() {
		if answered {
			return
		}
		if !w.bad(4) {
			w.after(w.between(1, 20), func() {
				if !answered {
					send()
				}
			})
		}
		w.after(w.between(second, 3*second), try)
	}
	try()
	if w.bad(4) && op.kind != opJoin {
		w.after(w.between(0, minute), send)
	}
}

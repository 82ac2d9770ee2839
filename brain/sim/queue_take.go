package sim

import (
	"cmp"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

// take brings an op to the books, and holds what the desk showed for it to them. All that the op does by itself comes
// first; then the desk brings together who fits.
func (b *queueBooks) take(at int64, op *queueOp, s *seen) {
	if op.kind == opResume {
		b.resume(at, s.orders)
		return
	}
	if idle := op.kind == opSignal && (b.agents[op.user] == nil || b.signals[op.user] == signal{op.reachable, op.calls}); idle || !s.changed {
		defer func(last int64) { b.now = last }(b.now) // the desk's clock stands still when nothing changes
	}
	b.now = max(b.now, at) // and it does not follow one that is set back
	b.rescind, b.due, b.all, b.allFor, b.written = map[string]string{}, map[string]bool{}, nil, "", nil
	var offers []acd.Offer
	switch op.kind {
	case opSetup:
		b.takeSetup(op, s)
	case opJoin:
		offers = b.takeJoin(op, s)
	case opLeave:
		b.takeLeave(op, s)
	case opKeep:
		b.takeKeep(op, s)
	case opMove:
		b.takeMove(op, s)
	case opSend:
		b.takeSend(op, s)
	case opClaim, opConfirm, opMiss:
		b.takeVerdict(op, s)
	case opAgent:
		b.takeAgent(op, s)
	case opSignal:
		b.takeSignal(op)
	case opExpire:
		b.takeExpire(at, op)
	}
	b.pace()
	for _, o := range offers {
		b.offer(b.entries[op.join.EntryID], o)
	}
	b.takeOrders(s.orders)
	b.checkAll()
	b.checkRecords(s.records)
	b.checkChanges(s.changes)
	b.retire()
	b.checkRest(op.kind == opExpire)
}

// pace holds the callers whose last agent refused at once when all have been tried: the next round would be as short.
func (b *queueBooks) pace() {
	for _, e := range b.order {
		if !e.quick || !b.free(e) {
			continue
		}
		e.quick = false
		if some := b.candidates(e); len(some) > 0 && e.skipped[some[0].id] {
			b.hold(e)
		}
	}
}

func (b *queueBooks) hold(e *bookEntry) {
	if e.held && e.heldUntil > b.now {
		return
	}
	most := int64(acd.HoldMostMS)
	if e.back != nil {
		most = max(most, e.back.retry)
	}
	e.held, e.holdMS = true, min(max(acd.HoldFirstMS, 2*e.holdMS), most)
	e.heldUntil = b.now + e.holdMS
}

// takeLeave ends an entry that lives and is that call's. One that never came is over before; everything else is nothing.
func (b *queueBooks) takeLeave(op *queueOp, s *seen) {
	id, outcome := op.entry, op.outcome
	e := b.entries[id]
	if e != nil && op.token != "" && (e.back != nil || e.Token != op.token) {
		b.unchanged(s, "a leave of a call that has not the place")
		return
	}
	if e == nil {
		if _, over := b.left[id]; over {
			b.unchanged(s, "a leave of an entry that is over")
			return
		}
		if b.left[id] = (bookLeft{outcome: outcome, since: b.now, at: b.now}); !s.changed || len(s.orders)+len(s.changes)+len(s.records) > 0 {
			b.wrong("a leave of %s, who never came: changed %v, %v %v %v", id, s.changed, s.orders, s.changes, s.records)
		}
		return
	}
	q := b.queues[e.QueueID]
	if o := e.talk; o != nil && o.state == offerClaimed && outcome == acd.LeftAnswered { // the confirm was lost
		b.connect(o, e, b.agents[o.UserID])
	}
	r := e.record(b.now)
	switch {
	case e.connected != 0:
		r.Outcome, r.UserID, r.WrapUpMS = acd.LeftAnswered, e.user, q.WrapUpMS
	case e.state == entryLeaving && e.leaving == acd.LeftSent && (outcome == acd.LeftAnswered || outcome == acd.LeftFailed):
		r.Outcome = acd.LeftSent
	case outcome == acd.LeftAnswered:
		r.Outcome = acd.LeftFailed
	default:
		r.Outcome = outcome
	}
	r.Short = r.Outcome == acd.LeftAbandoned && b.now-e.SinceMS < acd.ShortAbandon
	for _, o := range b.ringing(e) {
		if o.state == offerServed {
			b.endTalk(b.agents[o.UserID], o, e, q)
			continue
		}
		b.drop(o, acd.WhyCallerGone)
	}
	b.remove(e, r.Outcome)
	b.expectRecord(r)
	b.closeQueue(q)
}

// record is what is written of an entry that ends now, but for how.
func (e *bookEntry) record(now int64) acd.Record {
	return acd.Record{EntryID: e.EntryID, QueueID: e.QueueID, Token: e.Token, CallID: e.CallID, CallerNumber: e.CallerNumber, CallerName: e.CallerName,
		Label: e.Label, EnqueuedMS: e.SinceMS, ConnectedMS: e.connected, EndMS: now, Priority: e.Priority, Misses: e.misses, Callback: e.kept}
}

// endTalk ends what an agent has with a caller who has left: wrap-up, or free at once.
func (b *queueBooks) endTalk(a *bookAgent, o *bookOffer, e *bookEntry, q *bookQueue) {
	talk := b.now - e.connected
	o.state, o.why = offerOver, acd.WhyCallerGone
	a.talkMS += talk
	if q.StickyMS > 0 {
		q.served[e.CallerNumber] = bookSticky{a.id, b.now}
	}
	b.idle(a)
	if q.WrapUpMS == 0 || a.status == acd.StatusOffline || a.cfg == nil {
		q.handled(talk)
		return
	}
	a.state, a.queue, a.lastTalk, a.wrapFrom, a.wrapUntil = acd.StateWrapUp, q.ID, talk, b.now, b.now+q.WrapUpMS
}

// handled takes a talk with its wrap-up into the mean.
func (q *bookQueue) handled(ms int64) {
	if q.aht != 0 {
		ms = q.aht + (ms-q.aht)/8
	}
	q.aht = max(1, ms)
}

// wrapped ends a wrap-up.
func (b *queueBooks) wrapped(a *bookAgent) {
	if q := b.queues[a.queue]; q != nil {
		q.handled(a.lastTalk + b.now - a.wrapFrom)
	}
	b.idle(a)
}

func (b *queueBooks) idle(a *bookAgent) {
	a.state, a.queue, a.offer, a.wrapUntil, a.since = acd.StateWaiting, "", nil, 0, b.now
}

// drop takes an offer back: its node must hear why, its agent is free, its caller waits on.
func (b *queueBooks) drop(o *bookOffer, why string) {
	b.end(o, why)
	b.rescind[o.ReservationID] = why
}

// end frees both sides of an offer. An agent that was rung keeps the time since when it was idle.
func (b *queueBooks) end(o *bookOffer, why string) {
	o.state, o.why = offerOver, why
	if a := b.agents[o.UserID]; a.offer == o {
		a.state, a.queue, a.offer = acd.StateWaiting, "", nil
	}
	if e := b.entries[o.entry]; e != nil {
		if e.talk == o {
			e.talk = nil
		}
		if e.state == entryRings && len(b.ringing(e)) == 0 {
			e.state, e.view, e.held = entryWaits, b.now, e.held && e.heldUntil > b.now
		}
	}
}

// takeExpire does what is due: leases that ran out, wrap-ups that end, and callers whose tier or needs change.
func (b *queueBooks) takeExpire(at int64, op *queueOp) {
	for _, id := range op.lapsed {
		o := b.offers[id]
		if o == nil || o.state == offerOver || o.state == offerServed || o.lease > at {
			b.wrong("%s lapses at %d: %+v", id, at, o)
			return
		}
		switch o.state {
		case offerCalls:
			b.end(o, acd.WhyLease)
			b.inVain(b.entries[o.entry], acd.MissCaller)
			continue
		case offerClaimed:
			b.end(o, acd.WhyLease)
			o.late = true
		default:
			b.missed(o, acd.MissNoAnswer)
		}
		b.rescind[id] = acd.WhyLease
	}
	var done []*bookAgent
	for _, a := range b.staff {
		if o := a.offer; o != nil && o.state != offerServed && o.lease <= at {
			b.wrong("the lease of %s for %s is over for %d ms and does not lapse", o.UserID, o.entry, at-o.lease)
		}
		if a.state == acd.StateWrapUp && a.wrapUntil <= b.now {
			done = append(done, a)
		}
	}
	slices.SortStableFunc(done, func(x, y *bookAgent) int { return cmp.Compare(x.wrapUntil, y.wrapUntil) })
	for _, a := range done {
		b.wrapped(a)
	}
	for _, e := range b.order {
		if e.state == entryTalks || e.state == entryLeaving {
			continue
		}
		if e.announce <= b.now {
			b.announce(e)
		}
		if e.back != nil {
			b.takeEnds(e)
			continue
		}
		if e.state == entryWaits && b.entryDue(e) <= b.now {
			e.held, e.view = e.held && e.heldUntil > b.now, b.now
		}
	}
}

// announce has a place told if it is another one, and says when to look again.
func (b *queueBooks) announce(e *bookEntry) {
	q := b.queues[e.QueueID]
	b.due[e.EntryID] = q.Announce
	if !q.Announce || q.AnnounceEveryMS == 0 {
		e.announce = never
		return
	}
	for e.announce <= b.now {
		e.announce += q.AnnounceEveryMS
	}
}

const never = int64(1) << 62

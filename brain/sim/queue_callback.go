package sim

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/sipio/sipio/brain/acd"
)

// bookBack is what is expected of somebody who has hung up and keeps his place.
type bookBack struct {
	number string
	left   int // so often he may still be called
	faults int // of the platform in a row
	retry  int64
	end    int64 // of its window
	until  int64 // the call that is made to him is given up
}

// takeKeep expects the reply to one who hangs up and keeps his place, and follows it.
func (b *queueBooks) takeKeep(op *queueOp, s *seen) {
	v, err := acd.ReadVerdict(s.reply)
	if err != nil {
		b.wrong("the reply to a callback is not read: %w", err)
		return
	}
	c, e := op.back, b.entries[op.back.EntryID]
	switch {
	case e == nil:
		b.refused(v, s, acd.WhyUnknown)
		return
	case e.back != nil || c.Token != e.Token:
		b.granted(v, "repeated callback")
		b.unchanged(s, "a repeated callback")
		return
	case e.talk != nil:
		b.refused(v, s, acd.WhyLost)
		return
	case e.state == entryLeaving && e.leaving == acd.LeftSent:
		b.refused(v, s, acd.WhyLeaving)
		return
	case !b.queues[e.QueueID].known:
		if v.Granted {
			b.wrong("%s keeps a place in a queue that is not there", e.EntryID)
		}
		b.over(e, acd.LeftFailed)
		return
	}
	for _, other := range b.order {
		if other.back != nil && other.QueueID == e.QueueID && other.back.number == c.Number {
			b.refused(v, s, acd.WhyCallback)
			return
		}
	}
	b.granted(v, "callback")
	for _, o := range b.ringing(e) {
		b.drop(o, acd.WhyCallerGone)
	}
	e.back = &bookBack{number: c.Number, left: c.Tries, retry: c.RetryMS, end: b.now + c.WindowMS}
	e.state, e.leaving, e.kept, e.called, e.quick, e.announce = entryWaits, "", true, 0, false, never
	e.held, e.holdMS, e.heldUntil = true, 0, b.now+c.DelayMS
	b.await(e)
}

// await lets somebody who has hung up wait until he may be called, unless that is over.
func (b *queueBooks) await(e *bookEntry) {
	e.state, e.view, e.held = entryWaits, b.now, e.held && e.heldUntil > b.now
	switch {
	case !b.queues[e.QueueID].known:
		b.over(e, acd.LeftFailed)
	case e.back.end <= b.now:
		b.over(e, acd.LeftCallbackExpired)
	}
}

// over expects the record of somebody who has hung up and is not called any more.
func (b *queueBooks) over(e *bookEntry, outcome string) {
	r := e.record(b.now)
	r.Outcome = outcome
	b.remove(e, outcome)
	b.expectRecord(r)
	b.closeQueue(b.queues[e.QueueID])
}

// remove takes an entry out of the books.
func (b *queueBooks) remove(e *bookEntry, outcome string) {
	delete(b.entries, e.EntryID)
	b.order = slices.Delete(slices.Clone(b.order), b.place(e.EntryID), b.place(e.EntryID)+1)
	left := bookLeft{outcome: outcome, since: e.SinceMS, at: b.now}
	if e.rank != ownRank(e.Priority, e.SinceMS) {
		left.rank = &e.rank
	}
	if e.back == nil {
		left.called = e.called
	}
	b.left[e.EntryID] = left
}

// call finds the order to call somebody right by every rule of an offer, and follows it.
func (b *queueBooks) call(e *bookEntry, o acd.Order) {
	q, a := b.queues[e.QueueID], b.agents[o.Offer.UserID]
	const whole = acd.CallbackMS + acd.AcceptMS + acd.GraceMS
	switch {
	case e.back == nil:
		b.wrong("%s is called and has not hung up", e.EntryID)
	case o.ID != "callback-"+o.Offer.ReservationID || o.Token != "cb"+o.Offer.ReservationID || o.CallerNumber != e.back.number || o.UntilMS != b.now+acd.CallbackMS:
		b.wrong("the order to call %s given at %d is not right: %+v", e.EntryID, b.now, o)
	case o.Offer.RingMS != q.RingMS || o.Offer.UntilMS != b.now+whole:
		b.wrong("the lease of %+v given at %d is not right", o.Offer, b.now)
	default:
		b.mayBe(e, o.Offer, a)
	}
	if b.fault != nil {
		return
	}
	offer := &bookOffer{Offer: o.Offer, entry: e.EntryID, queue: e.QueueID, state: offerCalls, full: o.Offer.UntilMS, lease: o.Offer.UntilMS}
	b.offers[o.Offer.ReservationID], b.fence = offer, o.Offer.Fence
	e.state, e.called, e.back.until = entryCalled, o.Offer.Fence, b.now+whole
	a.state, a.queue, a.offer, a.turns[e.QueueID] = acd.StateOffering, e.QueueID, offer, o.Offer.Fence
}

// mayBe holds who is offered to whom, under which fence.
func (b *queueBooks) mayBe(e *bookEntry, o acd.Offer, a *bookAgent) {
	switch {
	case b.offers[o.ReservationID] != nil:
		b.wrong("%s is given out twice", o.ReservationID)
	case o.Fence <= b.fence || o.ReservationID != strconv.FormatInt(o.Fence, 36):
		b.wrong("the fence %d of %s comes after %d", o.Fence, o.ReservationID, b.fence)
	case a == nil || !b.serves(a, e.QueueID):
		b.wrong("%s is for %s and may not: %+v", o.UserID, e.EntryID, a)
	case !b.free(e) && !b.all[a.id]:
		b.wrong("%s is for %s, who is not to be offered: %s until %d", o.UserID, e.EntryID, e.state, e.heldUntil)
	case a.membership(e.QueueID).Tier > b.openTo(e):
		b.wrong("%s is for %s, to whom tier %d is not open", o.UserID, e.EntryID, a.membership(e.QueueID).Tier)
	case !b.skilled(a, e):
		b.wrong("%s is for %s, who needs %v", o.UserID, e.EntryID, b.needs(e))
	default:
		b.chosen(e, a)
	}
}

// takeBack expects the reply to the call that was made to somebody, by which his place is that call's.
func (b *queueBooks) takeBack(e *bookEntry, j *acd.Join, got acd.Joined) []acd.Offer {
	q := b.queues[e.QueueID]
	if !q.known {
		if got.Outcome != acd.LeftFailed {
			b.wrong("%s has taken the call, his queue is gone, and he is told %q", e.EntryID, got.Outcome)
		}
		b.over(e, acd.LeftFailed)
		return nil
	}
	e.Token, e.CallID, e.Node, e.back, e.joined, e.held, e.holdMS, e.spoken = j.Token, j.CallID, j.Node, nil, b.now, false, 0, 0
	if q.Announce {
		e.announce = b.now + q.AnnounceFirstMS
	}
	for _, o := range b.ringing(e) {
		o.state, o.UntilMS = offerRings, b.now+o.RingMS+acd.GraceMS
		o.full, o.lease, e.state = o.UntilMS, o.UntilMS, entryRings
		b.sum(o.UserID).offered++
		b.stands(e, got)
		return nil
	}
	e.state, e.view = entryWaits, b.now
	want := ""
	if b.abandoned(e) {
		want = acd.ExitNoAgents
	} else {
		b.told(e, got, len(got.Offers) > 0)
	}
	if got.Outcome != want {
		b.wrong("%s has taken the call and is told %q, not %q", e.EntryID, got.Outcome, want)
	}
	return got.Offers
}

// withdraw takes an agent out of what it is offered. The call that is made to somebody goes on without it.
func (b *queueBooks) withdraw(a *bookAgent) {
	switch o := a.offer; {
	case o == nil:
	case o.state == offerRings:
		b.drop(o, acd.WhyAgentGone)
	case o.state == offerCalls:
		b.end(o, acd.WhyAgentGone)
	}
}

// inVain ends a call that was made to somebody: one of his tries, or the platform's fault.
func (b *queueBooks) inVain(e *bookEntry, cause string) {
	if cause == acd.MissFailed {
		if e.back.faults++; e.back.faults == acd.MostFaults {
			b.over(e, acd.LeftCallbackFailed)
			return
		}
		b.hold(e)
		b.await(e)
		return
	}
	e.back.faults = 0
	if e.back.left--; e.back.left == 0 {
		b.over(e, acd.LeftCallbackFailed)
		return
	}
	b.restAnew(e)
}

// restAnew lets somebody rest as long as between two tries.
func (b *queueBooks) restAnew(e *bookEntry) {
	e.held, e.holdMS, e.heldUntil = true, 0, b.now+e.back.retry
	b.await(e)
}

// takeLateMiss: whose agent has gone meanwhile is told to have been called in vain; or whose time was over, which was a try.
// False when that changes nothing.
func (b *queueBooks) takeLateMiss(o *bookOffer, cause string) bool {
	e := b.entries[o.entry]
	if e == nil || e.back == nil || e.called != o.Fence {
		return false
	}
	e.called, o.miss = 0, true
	switch {
	case e.state == entryCalled:
		b.inVain(e, cause)
	case cause != acd.MissFailed:
		b.restAnew(e)
	}
	return true
}

// takeEnds does what is due of those who have hung up.
func (b *queueBooks) takeEnds(e *bookEntry) {
	switch {
	case e.state == entryCalled && b.entryDue(e) <= b.now:
		b.inVain(e, acd.MissCaller)
	case e.state == entryWaits && b.entryDue(e) <= b.now:
		b.await(e)
	}
}

// checkRecords: the op wrote these records, and no other.
func (b *queueBooks) checkRecords(records []acd.Record) {
	got, want := slices.Clone(records), b.written
	for _, list := range [][]acd.Record{got, want} {
		slices.SortFunc(list, func(x, y acd.Record) int { return cmp.Compare(x.EntryID, y.EntryID) })
	}
	if !slices.Equal(got, want) {
		b.wrong("the records should be %+v, written are %+v", want, got)
	}
}

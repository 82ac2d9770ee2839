package sim

import (
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

// takeJoin expects the reply to a join, and enters who is new. It gives the offers of an instant connection.
func (b *queueBooks) takeJoin(op *queueOp, s *seen) []acd.Offer {
	got, stale, err := acd.ReadJoined(s.reply)
	if err != nil {
		b.wrong("the reply to a join is not read: %w", err)
		return nil
	}
	if stale != (op.version > b.version) {
		b.wrong("a join is stale %v with setup %d of %d", stale, b.version, op.version)
	}
	left, wasHere := b.left[op.join.EntryID]
	switch e := b.entries[op.join.EntryID]; {
	case stale:
		b.unchanged(s, "a stale join")
	case e != nil && e.back != nil && op.join.CallbackFence != 0 && op.join.CallbackFence == e.called:
		return b.takeBack(e, op.join, got)
	case e != nil && op.join.CallbackFence != e.called && (e.back == nil || op.join.CallbackFence != 0), !wasHere && e == nil && op.join.CallbackFence != 0:
		if b.unchanged(s, "a join of a call that is not his"); got.Outcome != acd.LeftFailed || len(got.Offers) > 0 {
			b.wrong("a call that is not his joins for %s and is told %+v", op.join.EntryID, got)
		}
	case e != nil:
		b.unchanged(s, "a repeated join")
		b.stands(e, got)
	case wasHere && (left.outcome != acd.LeftFailed || left.called != op.join.CallbackFence):
		b.unchanged(s, "a join of one who has left")
		if got.Outcome != left.outcome {
			b.wrong("%s left by %s and is told %q", op.join.EntryID, left.outcome, got.Outcome)
		}
	default:
		since := b.now
		if op.join.SinceMS != 0 {
			since = min(b.now, op.join.SinceMS)
		}
		if wasHere {
			since = min(since, left.since)
		}
		return b.enter(*op.join, since, left.rank, got, s)
	}
	return nil
}

// stands: a join again is told the place, and who is being rung.
func (b *queueBooks) stands(e *bookEntry, got acd.Joined) {
	if got.Outcome != e.leaving {
		b.wrong("%s stands as %q and is told %q", e.EntryID, e.leaving, got.Outcome)
	}
	rings := b.ringing(e)
	rings = slices.DeleteFunc(rings, func(o *bookOffer) bool { return o.state != offerRings })
	if len(rings) != len(got.Offers) {
		b.wrong("%s has %d offers and is told %d", e.EntryID, len(rings), len(got.Offers))
		return
	}
	for i, o := range rings {
		if g := got.Offers[i]; g != o.Offer {
			b.wrong("%s has the offer %+v and is told %+v", e.EntryID, o.Offer, g)
		}
	}
	if e.state == entryWaits || e.state == entryRings || e.state == entryCalled {
		b.told(e, got, len(b.ringing(e)) > 0)
	}
}

// told finds the place and the expected wait right; who is rung for expects none.
func (b *queueBooks) told(e *bookEntry, got acd.Joined, rung bool) {
	place, ewt := b.position(e), int64(0)
	if !rung {
		ewt = b.ewt(b.queues[e.QueueID], place-1)
	}
	if got.Position != place || got.EWTMS != ewt {
		b.wrong("%s is told place %d and %d ms, it is %d and %d ms", e.EntryID, got.Position, got.EWTMS, place, ewt)
	}
}

// enter expects a new entry to be turned away or taken.
func (b *queueBooks) enter(j acd.Join, since int64, rank *bookRank, got acd.Joined, s *seen) []acd.Offer {
	j.SinceMS = since
	q := b.queues[j.QueueID]
	if q == nil || !q.known {
		if b.unchanged(s, "a join of a queue that is not there"); got.Outcome != acd.LeftFailed {
			b.wrong("%s joins a queue that is not there and is told %q", j.EntryID, got.Outcome)
		}
		return nil
	}
	e := &bookEntry{Join: j, joined: b.now, view: b.now, state: entryWaits, skipped: map[string]bool{}, announce: never, kept: j.CallbackFence != 0, called: j.CallbackFence}
	if e.rank = ownRank(j.Priority, since); rank != nil {
		e.rank = *rank
	}
	r := e.record(b.now)
	late := q.MaxWaitMS > 0 && b.now >= e.patienceFrom()+q.MaxWaitMS // it keeps a place whose time is over: an order to leave follows
	if r.Outcome = b.turnedAway(e, q); r.Outcome != got.Outcome && !(r.Outcome == "" && late && got.Outcome == acd.ExitTimeout) {
		b.wrong("%s should be turned away by %q and is told %q", j.EntryID, r.Outcome, got.Outcome)
		return nil
	}
	if r.Outcome != "" {
		b.left[j.EntryID] = bookLeft{r.Outcome, since, b.now, e.called, rank}
		b.expectRecord(r)
		return nil
	}
	delete(b.left, j.EntryID)
	b.entries[j.EntryID] = e
	b.order = slices.Insert(b.order, b.place(j.EntryID), e)
	if q.Announce {
		e.announce = b.now + q.AnnounceFirstMS
	}
	if !late {
		b.told(e, got, len(got.Offers) > 0)
	}
	return got.Offers
}

// turnedAway is by which exit an entry does not come in.
func (b *queueBooks) turnedAway(e *bookEntry, q *bookQueue) string {
	waiting := 0
	for _, o := range b.order {
		if o.QueueID == q.ID && (o.state == entryWaits || o.state == entryRings || o.state == entryCalled) {
			waiting++
		}
	}
	if q.MaxQueued >= 0 && waiting >= q.MaxQueued {
		return acd.ExitQueueFull
	}
	if ewt := b.ewt(q, b.position(e)-1); q.EWTThresholdMS > 0 && ewt > q.EWTThresholdMS && len(b.candidates(e)) == 0 {
		return acd.ExitEWT
	}
	if b.abandoned(e) {
		return acd.ExitNoAgents
	}
	return ""
}

// abandoned: nobody is there, and the entry does not wait for that.
func (b *queueBooks) abandoned(e *bookEntry) bool {
	return e.back == nil && (e.ExitNoAgents || b.queues[e.QueueID].ExitNoAgents) && b.openTo(e) < 0
}

// takeOrders finds each order right, in turn, and follows it.
func (b *queueBooks) takeOrders(orders []acd.Order) {
	for _, o := range orders {
		e := b.entries[o.EntryID]
		switch {
		case o.Kind == acd.OrderRescind:
			if why, told := b.rescind[o.Offer.ReservationID]; !told || why != o.Why {
				b.wrong("%s is told to stop ringing for %s because of %s, it should be %q", o.Offer.UserID, o.EntryID, o.Why, why)
			}
			delete(b.rescind, o.Offer.ReservationID)
		case e == nil:
			b.wrong("an order %s for %s, who has left", o.Kind, o.EntryID)
			return
		case o.Node != e.Node || o.Token != e.Token && o.Kind != acd.OrderCallback || o.QueueID != e.QueueID:
			b.wrong("an order %s for %s goes astray: %+v", o.Kind, o.EntryID, o)
		case o.Kind == acd.OrderDispatch:
			if o.ID != "dispatch-"+o.Offer.ReservationID {
				b.wrong("a dispatch is called %s", o.ID)
			}
			b.offer(e, o.Offer)
		case o.Kind == acd.OrderCallback:
			b.call(e, o)
		case o.Kind == acd.OrderExit:
			b.exit(e, o.Outcome)
		case o.Kind == acd.OrderPosition:
			b.speak(e, o)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.due)) {
		if e := b.entries[id]; b.due[id] && e.state == entryWaits && e.spoken != b.position(e) {
			b.wrong("%s does not hear that the place is %d now and not %d", id, b.position(e), e.spoken)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.rescind)) {
		b.wrong("%s must hear to stop ringing for %s because of %s", b.offers[id].UserID, b.offers[id].entry, b.rescind[id])
	}
}

// offer finds an offer right by every rule, and follows it.
func (b *queueBooks) offer(e *bookEntry, o acd.Offer) {
	q, a := b.queues[e.QueueID], b.agents[o.UserID]
	switch {
	case e.back != nil:
		b.wrong("%s rings for %s, who has hung up", o.UserID, e.EntryID)
	case o.RingMS != q.RingMS || o.UntilMS != b.now+q.RingMS+acd.GraceMS:
		b.wrong("the lease of %+v given at %d is not right", o, b.now)
	default:
		b.mayBe(e, o, a)
	}
	if b.fault != nil {
		return
	}
	offer := &bookOffer{Offer: o, entry: e.EntryID, queue: e.QueueID, state: offerRings, full: o.UntilMS, lease: o.UntilMS}
	b.sum(a.id).offered++
	b.offers[o.ReservationID], b.fence = offer, o.Fence
	e.state = entryRings
	a.state, a.queue, a.offer, a.turns[e.QueueID] = acd.StateOffering, e.QueueID, offer, o.Fence
}

// chosen holds the choice to the rules from both sides: this caller for the agent, and this agent for the caller. Who
// rings with others for a caller was chosen with the first of them.
func (b *queueBooks) chosen(e *bookEntry, a *bookAgent) {
	if b.allFor == e.EntryID && b.all[a.id] {
		delete(b.all, a.id)
		return
	}
	b.checkAll()
	some := b.candidates(e)
	if !slices.Contains(some, a) {
		b.wrong("%s rings for %s again before the others were tried", a.id, e.EntryID)
		return
	}
	best, alone := b.bestAgents(e, some)
	if !slices.Contains(best, a) {
		b.wrong("%s rings for %s, it should be %s", a.id, e.EntryID, best[0].id)
	}
	fresh, tried := b.able(e)
	if q := b.queues[e.QueueID]; q.Strategy != acd.RingAll || alone || e.back != nil {
		if entry := b.bestEntry(a, false); entry != e && !b.circle(a) {
			b.wrong("%s rings for %s, it should be for %s", a.id, e.EntryID, entry.EntryID)
		}
	} else { // one for whom he is next is enough: even one who was tried, and has the others ring
		if !slices.ContainsFunc(append(fresh, tried...), func(other *bookAgent) bool { return b.bestEntry(other, true) == e }) {
			b.wrong("%s is rung for by all, and is next for none of them", e.EntryID)
		}
		b.all, b.allFor = map[string]bool{}, e.EntryID
		for _, other := range best {
			b.all[other.id] = true
		}
		delete(b.all, a.id)
	}
	if len(fresh) == 0 { // everybody was tried: from the beginning
		clear(e.skipped)
	}
}

// circle: what an agent prefers, and who that caller prefers, and so on, comes to no two who prefer each other. Then the
// caller's choice alone counts. Where chance chooses among several it may be any of them.
func (b *queueBooks) circle(a *bookAgent) bool {
	passed, left := map[*bookAgent]bool{}, map[*bookAgent]bool{}
	var comesBack func(a *bookAgent) bool
	comesBack = func(a *bookAgent) bool {
		if passed[a] || left[a] {
			return !left[a]
		}
		passed[a] = true
		defer func() { left[a] = true }()
		e := b.bestEntry(a, true)
		if e == nil {
			return false
		}
		best, alone := b.bestAgents(e, b.candidates(e))
		if b.queues[e.QueueID].Strategy == acd.RingAll && e.back == nil && !alone {
			return false
		}
		return slices.ContainsFunc(best, func(next *bookAgent) bool { return next != a && comesBack(next) })
	}
	return comesBack(a)
}

// checkAll: all who should ring together do.
func (b *queueBooks) checkAll() {
	for _, user := range slices.Sorted(maps.Keys(b.all)) {
		b.wrong("%s should ring for %s with the others", user, b.allFor)
	}
	b.all = nil
}

// exit finds the order to leave right.
func (b *queueBooks) exit(e *bookEntry, outcome string) {
	q := b.queues[e.QueueID]
	switch {
	case e.state == entryLeaving && e.leaving == outcome: // again
	case e.state != entryWaits:
		b.wrong("%s is told to leave by %s and is %s", e.EntryID, outcome, e.state)
	case outcome == acd.ExitTimeout && q.MaxWaitMS > 0 && e.back == nil && b.now >= e.patienceFrom()+q.MaxWaitMS:
	case outcome == acd.ExitNoAgents && b.abandoned(e):
	case outcome == acd.LeftFailed && !q.known:
	default:
		b.wrong("%s is told to leave by %s after %d ms", e.EntryID, outcome, b.now-e.SinceMS)
	}
	e.state, e.leaving = entryLeaving, outcome
}

// speak finds an announcement right: the place as it is, and another one than the last.
func (b *queueBooks) speak(e *bookEntry, o acd.Order) {
	q := b.queues[e.QueueID]
	want, ewt := b.position(e), int64(-1)
	if q.AnnounceEWT {
		ewt = b.ewt(q, want-1)
	}
	if e.state != entryWaits || !q.Announce || o.Position != want || o.EWTMS != ewt || e.spoken == want || !b.due[e.EntryID] {
		b.wrong("%s (%s) hears place %d and %d ms after %d; it is %d and %d ms", e.EntryID, e.state, o.Position, o.EWTMS, e.spoken, want, ewt)
	}
	e.spoken = o.Position
}

// resume expects that a new brain gives again what lives: every offer that rings, and perhaps exits.
func (b *queueBooks) resume(at int64, orders []acd.Order) {
	given := map[string]bool{}
	for _, o := range orders {
		offer := b.offers[o.Offer.ReservationID]
		switch {
		case o.Kind == acd.OrderExit && b.entries[o.EntryID] != nil && b.entries[o.EntryID].leaving == o.Outcome:
		case o.Kind == acd.OrderCallback && offer != nil && offer.state == offerCalls && o.ID == "callback-"+o.Offer.ReservationID && offer.Fence == o.Offer.Fence && o.UntilMS > at:
			given[o.Offer.ReservationID] = true
		case o.Kind != acd.OrderDispatch || offer == nil || offer.state != offerRings || o.ID != "dispatch-"+o.Offer.ReservationID || offer.Fence != o.Offer.Fence:
			b.wrong("a new brain gives the order %+v", o)
		default:
			given[o.Offer.ReservationID] = true
		}
	}
	for _, a := range b.staff {
		o := a.offer
		if o == nil || o.state == offerServed {
			continue
		}
		useful := o.state == offerRings || o.state == offerCalls && o.full-acd.AcceptMS-acd.GraceMS > at
		if useful && !given[o.ReservationID] {
			b.wrong("a new brain forgets to have %s ring for %s", a.id, o.entry)
		}
		o.lease = max(o.full, at+10*second)
		if o.state == offerRings {
			o.UntilMS = o.lease
		}
	}
}

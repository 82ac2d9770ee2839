package acd

import "strconv"

// States of a reservation. From claimed on it is the entry's only one.
const (
	offered = iota + 1
	claimed
	served
	calling // its entry is called back, and nobody is rung yet
)

// reservation is an agent and a caller who are meant for each other.
type reservation struct {
	id     string
	fence  int64
	state  int
	agent  *agent
	entry  *entry
	ringMS int64
	atMS   int64 // of its state
	alarm  alarm // the end of its lease: volatile
}

func reservationID(fence int64) string { return strconv.FormatInt(fence, 36) }

func (r *reservation) offer() Offer {
	return Offer{ReservationID: r.id, Fence: r.fence, UserID: r.agent.id, RingMS: r.ringMS, UntilMS: r.alarm.atMS}
}

// leaseMS is how long it lives in its state.
func (r *reservation) leaseMS() int64 {
	switch r.state {
	case claimed:
		return ConfirmMS
	case calling:
		return callingMS
	}
	return r.ringMS + GraceMS
}

// find looks a reservation up. With neither a live nor a past one, why says why not.
func (d *Desk) find(id string, fence int64) (r *reservation, past *pastReservation, why string) {
	n, err := strconv.ParseInt(id, 36, 64)
	if err != nil || reservationID(n) != id {
		return nil, nil, WhyUnknown
	}
	r, past = d.reserved[n], d.pastReservations.known[n]
	switch {
	case r == nil && past == nil:
		return nil, nil, WhyUnknown
	case n != fence:
		return nil, nil, WhyFence
	}
	return r, past, ""
}

// reserve offers a caller to an agent who waits for calls; one who has hung up is called first.
func (d *Desk) reserve(e *entry, m *member) {
	a := m.agent
	d.touch(a)
	d.unready(a)
	d.fence = d.nextFence()
	m.rungAt = d.fence
	r := &reservation{id: reservationID(d.fence), fence: d.fence, agent: a, entry: e, ringMS: e.queue.RingMS, atMS: d.nowMS}
	r.alarm.reservation = r
	d.reserved[r.fence] = r
	e.offers = append(e.offers, r)
	a.state, a.reservation = StateOffering, r
	if r.state, e.state = offered, entryOffering; e.callback != nil {
		r.state, e.state = calling, entryCalling
		e.called, e.callback.untilMS = r.fence, d.nowMS+callingMS
	}
	d.leases.set(&r.alarm, d.nowMS+r.leaseMS())
	switch {
	case r.state == calling:
		d.order(Order{Kind: OrderCallback}, r)
		return
	case e != d.joining:
		d.order(Order{Kind: OrderDispatch}, r)
	}
	d.countOffer(a)
}

// countOffer counts an agent who is rung.
func (d *Desk) countOffer(a *agent) {
	a.figures.at(d.nowMS).Offered++
	d.counts(d.nowMS)
}

// release ends a reservation that did not become a talk, with why a later claim is lost. Its agent waits again; its
// caller too, unless he is offered to others still.
func (d *Desk) release(r *reservation, why string) {
	d.part(r, why)
	if e := r.entry; len(e.offers) == 0 && (e.state == entryOffering || e.state == entryClaimed) {
		d.open(e)
	}
}

// part takes a reservation from its agent and its entry.
func (d *Desk) part(r *reservation, why string) *pastReservation {
	a, e := r.agent, r.entry
	d.touch(a)
	a.state, a.reservation = StateWaiting, nil
	e.drop(r)
	d.leases.set(&r.alarm, never)
	delete(d.reserved, r.fence)
	p := &pastReservation{fence: r.fence, why: why, claimed: r.state == claimed, userID: a.id, entryID: e.id, overMS: d.nowMS}
	d.pastReservations.add(p.fence, p)
	return p
}

// claim gives the caller to the agent who has answered, and frees the others.
func (d *Desk) claim(id string, fence int64) (reply []byte, changed bool) {
	r, past, why := d.find(id, fence)
	switch {
	case past != nil:
		return appendVerdict(nil, Verdict{Why: past.why}), false
	case r == nil:
		return appendVerdict(nil, Verdict{Why: why}), false
	case r.state == calling: // nobody was rung by it
		return appendVerdict(nil, Verdict{Why: WhyUnknown}), false
	case r.state == offered:
		d.grant(r)
		changed = true
	}
	return appendVerdict(nil, Verdict{Granted: true}), changed
}

// grant makes an offer the only one of its entry.
func (d *Desk) grant(r *reservation) {
	e := r.entry
	d.outbid(e, r)
	r.state, r.atMS = claimed, d.nowMS
	e.state, e.holdMS, e.quick = entryClaimed, 0, false
	d.leases.set(&r.alarm, d.nowMS+ConfirmMS)
	d.wake(e)
}

// outbid takes an entry back from all who are rung for it but the one who has it.
func (d *Desk) outbid(e *entry, by *reservation) {
	for i := 0; i < len(e.offers); {
		r := e.offers[i]
		if r == by {
			i++
			continue
		}
		d.order(Order{Kind: OrderRescind, Why: WhyLost}, r)
		d.part(r, WhyLost)
	}
}

// confirm says that agent and caller talk. One that comes after its lease ran out is granted unless either of them has
// answered, or been answered by, somebody else.
func (d *Desk) confirm(id string, fence int64) (reply []byte, changed bool) {
	r, past, why := d.find(id, fence)
	switch {
	case past != nil:
		if changed = d.revive(past); !changed {
			return appendVerdict(nil, Verdict{Why: past.why}), false
		}
	case r == nil:
		return appendVerdict(nil, Verdict{Why: why}), false
	case r.state == calling:
		return appendVerdict(nil, Verdict{Why: WhyUnknown}), false
	case r.state == served:
	default:
		if changed = true; r.state == offered {
			d.grant(r)
		}
		d.serve(r)
	}
	return appendVerdict(nil, Verdict{Granted: true}), changed
}

// revive makes a talk of a claimed reservation whose lease ran out: the two have been talking since before it did.
// What either was offered in the meantime is taken back, and the caller need not leave any more. One who has hung up since
// does not talk.
func (d *Desk) revive(p *pastReservation) bool {
	e, a := d.entries[p.entryID], d.agents[p.userID]
	if p.why != WhyLease || !p.claimed || e == nil || a == nil || e.taken() || a.taken() || e.callback != nil || p.fence < e.called {
		return false
	}
	delete(d.pastReservations.known, p.fence)
	d.outbid(e, nil)
	d.withdraw(a)
	d.shut(e)
	d.touch(a)
	e.outcome = ""
	r := &reservation{id: reservationID(p.fence), fence: p.fence, agent: a, entry: e, ringMS: e.queue.RingMS}
	r.alarm.reservation = r
	d.reserved[r.fence] = r
	e.offers = append(e.offers, r)
	a.reservation = r
	d.serve(r)
	return true
}

// taken tells whether an entry has an agent who has answered.
func (e *entry) taken() bool { return e.state == entryClaimed || e.state == entryServed }

// taken tells whether an agent has answered a call of a queue, or wraps one up.
func (a *agent) taken() bool {
	return a.state != StateWaiting && (a.reservation == nil || a.reservation.state == claimed || a.reservation.state == served)
}

// serve begins the talk.
func (d *Desk) serve(r *reservation) {
	a, e, q := r.agent, r.entry, r.entry.queue
	d.touch(a)
	r.state, r.atMS, e.connectedMS = served, d.nowMS, d.nowMS
	e.servedBy = a.id
	a.state, a.misses = StateInCall, 0
	a.handled++
	e.state = entryServed
	q.displace(e)
	q.served++
	d.leases.set(&r.alarm, never)
	d.wake(e)
	wait := e.wait(d.nowMS)
	for _, f := range [...]*Figures{q.figures.at(d.nowMS), a.figures.at(d.nowMS)} {
		f.Answered++
		f.WaitMS += wait
		if wait <= q.ServiceLevelMS {
			f.InLevel++
		}
	}
	q.figures.at(d.nowMS).waited(wait)
	d.counts(d.nowMS)
}

// miss says that an agent was not reached, or of a callback that its call was in vain.
func (d *Desk) miss(id string, fence int64, cause string) (reply []byte, changed bool) {
	r, past, why := d.find(id, fence)
	switch {
	case past != nil:
		changed = d.lateMiss(past, cause)
		return appendVerdict(nil, Verdict{Granted: past.missed, Why: missedWhy(past)}), changed
	case r == nil:
		return appendVerdict(nil, Verdict{Why: why}), false
	case r.state == served:
		return appendVerdict(nil, Verdict{Why: WhyLost}), false // they talk
	case r.state == calling:
		d.part(r, WhyLease).missed = true
		r.entry.called = 0
		d.unanswered(r.entry, cause)
		return appendVerdict(nil, Verdict{Granted: true}), true
	case cause == MissCaller: // he has taken the call
		return appendVerdict(nil, Verdict{Why: WhyLost}), false
	}
	d.missed(r, cause).missed = true
	return appendVerdict(nil, Verdict{Granted: true}), true
}

func missedWhy(p *pastReservation) string {
	if p.missed {
		return ""
	}
	return p.why
}

// missed ends a reservation whose agent was not reached.
func (d *Desk) missed(r *reservation, cause string) *pastReservation {
	a, e, q := r.agent, r.entry, r.entry.queue
	p := d.part(r, WhyLease)
	p.claimed = false // nothing to be confirmed any more
	switch cause {
	case MissNoAnswer, MissBusy, MissDeclined:
		a.figures.at(d.nowMS).Missed++
		d.counts(d.nowMS)
		a.misses++
		e.misses++
		if q.MaxNoAnswer > 0 && a.misses >= q.MaxNoAnswer && a.status == StatusAvailable {
			a.status, a.reason = StatusOnBreak, ReasonMissedCalls
		}
		e.skip(a)
	case MissUnreachable:
		e.skip(a)
	default:
		d.hold(e)
	}
	e.quick = cause == MissBusy || cause == MissDeclined || cause == MissUnreachable
	if len(e.offers) == 0 {
		d.open(e)
	}
	return p
}

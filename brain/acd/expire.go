package acd

import (
	"cmp"
	"slices"
	"strconv"
)

// resumeMS is how long a lease has at least after the desk changed hands: a node must be able to speak first.
const resumeMS = 10_000

// Lapsed lists the reservations whose lease has run out, at most as many as said, first those that ran out first.
func (d *Desk) Lapsed(nowMS int64, most int) []string {
	due := d.leases.due(nowMS, 0, nil)
	slices.SortFunc(due, func(a, b *alarm) int {
		return cmp.Or(cmp.Compare(a.atMS, b.atMS), cmp.Compare(a.reservation.fence, b.reservation.fence))
	})
	out := make([]string, 0, min(len(due), most))
	for _, a := range due[:min(len(due), most)] {
		out = append(out, a.reservation.id)
	}
	return out
}

// Expire does everything that is due at a time: it ends the reservations that lapsed, wrap-ups and waits, opens
// tiers, relaxes skills, tells positions and forgets.
func (d *Desk) Expire(nowMS int64, lapsed []string) {
	d.begin(nowMS)
	for _, id := range lapsed {
		if fence, err := strconv.ParseInt(id, 36, 64); err == nil && d.reserved[fence] != nil && d.reserved[fence].state != served {
			d.lapse(d.reserved[fence])
		}
	}
	for len(d.alarms) > 0 && d.alarms[0].atMS <= d.nowMS {
		if a := d.alarms[0]; a.agent != nil {
			d.wrapped(a.agent)
		} else {
			d.due(a.entry)
		}
	}
	if d.counted != 0 && number(d.nowMS)-d.counted > Intervals {
		d.counted = 0
		for _, q := range d.queues {
			q.figures = nil
		}
		for _, a := range d.agents {
			a.figures = nil
		}
	}
	d.end(true)
}

// Deadline is when Lapsed or Expire has something to do next, in epoch milliseconds; false when never.
func (d *Desk) Deadline() (ms int64, ok bool) {
	ms = never
	if len(d.alarms) > 0 {
		ms = d.alarms[0].atMS
	}
	if len(d.leases) > 0 {
		ms = min(ms, d.leases[0].atMS)
	}
	if m := &d.pastEntries; m.head < len(m.order) {
		ms = min(ms, m.order[m.head].overMS+RememberMS+slackMS)
	}
	if m := &d.pastReservations; m.head < len(m.order) {
		ms = min(ms, m.order[m.head].overMS+RememberMS+slackMS)
	}
	if s := d.sticky.first; s != nil {
		ms = min(ms, d.stickyEnd(s)+slackMS)
	}
	if d.counted != 0 {
		ms = min(ms, (d.counted+Intervals+1)*IntervalMS+slackMS)
	}
	return ms, ms != never
}

// stickyEnd is when it is of no use any more.
func (d *Desk) stickyEnd(s *sticky) int64 {
	if q := d.queues[s.queueID]; q != nil {
		return s.whenMS + q.StickyMS
	}
	return 0
}

// Resume is to be called after Restore and replay: leases have some time again, from now on there are orders, and
// those that no node may have got are given again.
func (d *Desk) Resume(nowMS int64) {
	d.live = true
	for _, r := range d.reservations() {
		if r.state == served {
			continue
		}
		d.leases.set(&r.alarm, max(r.atMS+r.leaseMS(), nowMS+resumeMS))
		switch {
		case r.state == offered:
			d.order(Order{Kind: OrderDispatch}, r)
		case r.state == calling && r.atMS+CallbackMS > nowMS:
			d.order(Order{Kind: OrderCallback}, r)
		}
	}
}

// reservations lists those that live, by fence.
func (d *Desk) reservations() []*reservation {
	out := make([]*reservation, 0, len(d.reserved))
	for _, r := range d.reserved {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *reservation) int { return cmp.Compare(a.fence, b.fence) })
	return out
}

// lapse ends a reservation of which nobody told in time. An offer counts as a miss, a call that was made to somebody as one
// of his tries: it may have rung. It may still join as long as no other one was made.
func (d *Desk) lapse(r *reservation) {
	if r.state == calling {
		d.part(r, WhyLease)
		d.unanswered(r.entry, MissCaller)
		return
	}
	d.order(Order{Kind: OrderRescind, Why: WhyLease}, r)
	if r.state == offered {
		d.missed(r, MissNoAnswer)
		return
	}
	d.release(r, WhyLease)
}

// due does what is due of an entry, and sets its next alarm.
func (d *Desk) due(e *entry) {
	if e.state == entryLeaving {
		e.exitMS = d.nowMS + ExitAgainMS
		d.orderExit(e)
		d.wake(e)
		return
	}
	if e.state == entryCalling { // its agent has gone, and nothing was heard
		d.unanswered(e, MissCaller)
		return
	}
	if e.announceMS <= d.nowMS {
		d.announce(e)
	}
	q := e.queue
	switch {
	case e.state != entryWaiting:
	case e.endMS() <= d.nowMS:
		d.exit(e, e.atEnd())
	case e.held && e.holdUntilMS <= d.nowMS:
		d.open(e)
	case !e.held && (q.stage(e.wait(d.nowMS)) != e.stage || e.sinceMS+nextRelax(q.SkillRelax, e.wait(e.viewMS)) <= d.nowMS):
		d.shut(e)
		d.classify(e)
	}
	d.wake(e)
}

// announce notes that a position is to be told, when it is clear who is left in the line, and when to look next.
func (d *Desk) announce(e *entry) {
	q := e.queue
	if !q.Announce || q.AnnounceEveryMS == 0 {
		e.announceMS = never
	} else {
		e.announceMS += q.AnnounceEveryMS * (1 + (d.nowMS-e.announceMS)/q.AnnounceEveryMS)
	}
	if q.Announce {
		d.speak = append(d.speak, e)
	}
}

// speakUp orders the positions that are due of those who still wait, where they have changed.
func (d *Desk) speakUp() {
	for _, e := range d.speak {
		if e.state != entryWaiting {
			continue
		}
		if n := e.queue.position(e, d.nowMS); n != e.spoken {
			e.spoken = n
			d.orderPosition(e, n)
		}
	}
	clear(d.speak)
	d.speak = d.speak[:0]
}

package sim

import (
	"github.com/sipio/sipio/brain/acd"
)

// takeVerdict expects the reply to a claim, confirm or miss, and what follows from one that holds.
func (b *queueBooks) takeVerdict(op *queueOp, s *seen) {
	v, err := acd.ReadVerdict(s.reply)
	if err != nil {
		b.wrong("a verdict is not read: %w", err)
		return
	}
	o := b.offers[op.reservation]
	switch {
	case o == nil:
		b.refused(v, s, acd.WhyUnknown)
	case o.Fence != op.fence:
		b.refused(v, s, acd.WhyFence)
	case o.state == offerCalls && op.kind != opMiss:
		b.refused(v, s, acd.WhyUnknown)
	case op.kind == opClaim:
		b.takeClaim(o, v, s)
	case op.kind == opConfirm:
		b.takeConfirm(o, v, s)
	default:
		b.takeMiss(o, op.cause, v, s)
	}
}

// refused: the verdict is this no, and nothing has changed by it.
func (b *queueBooks) refused(v acd.Verdict, s *seen, why string) {
	if v.Granted || v.Why != why {
		b.wrong("a verdict is %v, not a refusal because of %s", v, why)
	}
	b.unchanged(s, "a refusal because of "+why)
}

func (b *queueBooks) unchanged(s *seen, what string) {
	if s.changed || len(s.orders)+len(s.changes)+len(s.records) > 0 {
		b.wrong("%s changed something: %v %v %v", what, s.orders, s.changes, s.records)
	}
}

func (b *queueBooks) granted(v acd.Verdict, what string) {
	if !v.Granted || v.Why != "" {
		b.wrong("a %s is refused because of %s", what, v.Why)
	}
}

func (b *queueBooks) takeClaim(o *bookOffer, v acd.Verdict, s *seen) {
	switch o.state {
	case offerOver:
		b.refused(v, s, o.why)
	case offerClaimed, offerServed: // once more
		b.granted(v, "repeated claim")
		b.unchanged(s, "a repeated claim")
	default:
		b.granted(v, "claim")
		b.grant(o)
	}
}

// grant gives the caller to the agent who has answered. The others that ring hear that they have lost.
func (b *queueBooks) grant(o *bookOffer) {
	e := b.entries[o.entry]
	if e.talk != nil {
		b.wrong("%s is granted to %s and to %s", e.EntryID, e.talk.UserID, o.UserID)
	}
	e.talk, e.holdMS, e.quick, o.state = o, 0, false, offerClaimed
	o.full, o.lease = b.now+acd.ConfirmMS, b.now+acd.ConfirmMS
	for _, other := range b.ringing(e) {
		if other != o {
			b.drop(other, acd.WhyLost)
		}
	}
}

func (b *queueBooks) takeConfirm(o *bookOffer, v acd.Verdict, s *seen) {
	e, a := b.entries[o.entry], b.agents[o.UserID]
	switch {
	case o.state == offerServed:
		b.granted(v, "repeated confirm")
		b.unchanged(s, "a repeated confirm")
	case o.state == offerClaimed:
		b.granted(v, "confirm")
		b.connect(o, e, a)
	case o.state == offerOver && o.late && e != nil && e.talk == nil && e.back == nil && o.Fence >= e.called && a != nil && a.untaken():
		b.granted(v, "late confirm of two whom nobody else has")
		for _, other := range b.ringing(e) {
			b.drop(other, acd.WhyLost)
		}
		b.withdraw(a)
		b.connect(o, e, a)
	case o.state == offerOver:
		b.refused(v, s, o.why)
	default: // the claim was left out
		b.granted(v, "confirm of an offer")
		b.grant(o)
		b.connect(o, e, a)
	}
}

// untaken: the agent has answered nobody.
func (a *bookAgent) untaken() bool {
	return a.state == acd.StateWaiting || a.offer != nil && (a.offer.state == offerRings || a.offer.state == offerCalls)
}

func (b *queueBooks) connect(o *bookOffer, e *bookEntry, a *bookAgent) {
	o.state, o.why, o.late, e.talk, e.state, e.leaving, e.connected, e.user = offerServed, "", false, o, entryTalks, "", b.now, o.UserID
	a.state, a.queue, a.offer, a.misses = acd.StateInCall, o.queue, o, 0
	a.calls++
}

// takeMiss ends an offer that came to nothing.
func (b *queueBooks) takeMiss(o *bookOffer, cause string, v acd.Verdict, s *seen) {
	switch {
	case o.miss:
		b.granted(v, "repeated miss")
		b.unchanged(s, "a repeated miss")
	case o.state == offerOver && b.takeLateMiss(o, cause):
		b.granted(v, "miss of a call")
	case o.state == offerOver:
		b.refused(v, s, o.why)
	case o.state == offerServed || o.state != offerCalls && cause == acd.MissCaller:
		b.refused(v, s, acd.WhyLost)
	case o.state == offerCalls:
		b.granted(v, "miss of a call")
		b.end(o, acd.WhyLease)
		e := b.entries[o.entry]
		o.miss, e.called = true, 0
		b.inVain(e, cause)
	default:
		b.granted(v, "miss")
		b.missed(o, cause)
		o.miss = true
	}
}

// missed ends an offer and counts it: towards a break, towards who is next, or as the platform's own fault.
func (b *queueBooks) missed(o *bookOffer, cause string) {
	e, a, q := b.entries[o.entry], b.agents[o.UserID], b.queues[o.queue]
	if cause == acd.MissFailed {
		b.hold(e)
	}
	b.end(o, acd.WhyLease)
	e.quick = cause == acd.MissBusy || cause == acd.MissDeclined || cause == acd.MissUnreachable
	if cause == acd.MissFailed {
		return
	}
	e.skipped[o.UserID] = true
	if cause == acd.MissUnreachable {
		return
	}
	e.misses++
	b.sum(a.id).missed++
	if a.misses++; q.MaxNoAnswer > 0 && a.misses >= q.MaxNoAnswer && a.status == acd.StatusAvailable {
		a.status, a.reason = acd.StatusOnBreak, acd.ReasonMissedCalls
	}
}

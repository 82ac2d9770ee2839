package sim

import (
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// bucket is what people look at of an agent.
func (b *queueBooks) bucket(a *bookAgent) string {
	s, signed := a.signal, false
	for _, m := range a.members {
		signed = signed || a.signed[m.QueueID]
	}
	for _, try := range []struct {
		holds  bool
		bucket string
	}{{s.calls > 0, acd.BucketExtCall}, {a.state == acd.StateInCall, acd.BucketInCall}, {a.status == acd.StatusOffline, acd.BucketOffline},
		{!s.reachable, acd.BucketUnreachable}, {a.state == acd.StateOffering, acd.BucketRing}, {a.status == acd.StatusOnBreak, acd.BucketPaused},
		{a.state == acd.StateWrapUp, acd.BucketWrapUp}, {!signed, acd.BucketIdle}} {
		if try.holds {
			return try.bucket
		}
	}
	return acd.BucketReady
}

// checkChanges: each change is one, and the last of an agent is what the agent is.
func (b *queueBooks) checkChanges(changes []acd.Change) {
	for _, c := range changes {
		a := b.agents[c.UserID]
		if a == nil {
			b.wrong("a change of %s, who is no agent", c.UserID)
			return
		}
		same := c
		same.TimeMS = a.last.TimeMS
		if same == a.last || c.TimeMS != b.now {
			b.wrong("a change of %s at %d is none: %+v", c.UserID, b.now, c)
		}
		b.spend(a, c.TimeMS)
		a.last = c
	}
	for _, a := range b.staff {
		now := acd.Change{TimeMS: a.last.TimeMS, UserID: a.id, Status: a.status, Reason: a.reason, State: a.state, Bucket: b.bucket(a), QueueID: a.queue}
		if a.offer != nil {
			now.EntryID = a.offer.entry
		}
		if a.last != now {
			b.wrong("%s is %+v and was told to be %+v", a.id, now, a.last)
		}
	}
}

// expectRecord: the op ends an entry, and writes this of it.
func (b *queueBooks) expectRecord(want acd.Record) {
	b.written = append(b.written, want)
	b.ended[want.EntryID]++
	b.count(want)
}

// checkRest: nobody waits while somebody who may serve him is idle, nothing that is due is left, nobody is had twice.
func (b *queueBooks) checkRest(expired bool) {
	granted := map[string]string{}
	for _, a := range b.staff {
		o := a.offer
		if o == nil || o.state == offerRings {
			continue
		}
		if other := granted[o.entry]; other != "" {
			b.wrong("%s has both %s and %s", o.entry, other, a.id)
		}
		granted[o.entry] = a.id
	}
	for _, e := range b.order {
		if b.free(e) {
			if some := b.candidates(e); len(some) > 0 {
				b.wrong("%s waits in %s while %s is idle", e.EntryID, e.QueueID, some[0].id)
			}
		}
		if due := b.entryDue(e); expired && due <= b.now {
			b.wrong("%s waits for what was due at %d", e.EntryID, due)
		}
		if e.state == entryWaits && b.abandoned(e) {
			b.wrong("%s waits in %s where nobody is", e.EntryID, e.QueueID)
		}
	}
}

// patienceFrom is what the time counts from that a caller waits at most: whoever was called back begins anew.
func (e *bookEntry) patienceFrom() int64 {
	if e.kept {
		return e.joined
	}
	return e.SinceMS
}

// entryDue is when something changes for an entry that waits: its time is over, or its hold, another tier opens to it,
// or it needs less.
func (b *queueBooks) entryDue(e *bookEntry) int64 {
	q, at := b.queues[e.QueueID], never
	switch {
	case e.state == entryCalled && len(b.ringing(e)) == 0:
		return e.back.until
	case e.state != entryWaits:
		return at
	case e.back != nil:
		at = e.back.end
	case q.MaxWaitMS > 0:
		at = e.patienceFrom() + q.MaxWaitMS
	}
	if e.held {
		return min(at, e.heldUntil)
	}
	wait := max(0, e.view-e.SinceMS)
	if esc := q.TierEscalationMS; esc > 0 && wait/esc < 3 { // there are three tiers
		at = min(at, e.SinceMS+(wait/esc+1)*esc)
	}
	for _, x := range q.SkillRelax {
		if x.AfterMS > wait && len(e.Skills) > 0 {
			at = min(at, e.SinceMS+x.AfterMS)
		}
	}
	return at
}

// look holds what the desk shows to the books.
func (h *host) look() {
	if h.books.fault == nil {
		for _, a := range h.books.staff {
			h.books.view(h.desk, a)
		}
		if h.w.events%16 == 0 {
			for _, q := range h.desk.Queues(h.now(), 0, 0, true) {
				h.books.line(q, h.now())
			}
		}
	}
	if h.books.fault != nil {
		h.w.broken("%w", h.books.fault)
	}
}

func (b *queueBooks) view(d Desk, a *bookAgent) {
	v, ok := d.Agent(a.id)
	if !ok || (v.Status != a.status || v.Reason != a.reason || v.State != a.state || v.Bucket != a.last.Bucket) {
		b.wrong("%s is shown as %+v, %v, and is %s %s %s %s", a.id, v, ok, a.status, a.reason, a.state, a.last.Bucket)
	}
}

// line holds the list of a queue's callers: who is in it, in which order and state.
func (b *queueBooks) line(shown api.QueueState, now int64) {
	defer func(last int64) { b.now = last }(b.now)
	b.now = max(b.now, now)
	inside := 0
	for _, e := range b.entries {
		if e.QueueID == shown.QueueID {
			inside++
		}
	}
	if inside != len(shown.Entries) {
		b.wrong("%s has %d callers and shows %d", shown.QueueID, inside, len(shown.Entries))
	}
	for _, c := range shown.Entries {
		e := b.entries[c.EntryID]
		if e == nil {
			b.wrong("%s shows %s, who has left", shown.QueueID, c.EntryID)
			return
		}
		place := 0
		if e.state == entryWaits || e.state == entryRings || e.state == entryCalled {
			place = b.position(e)
		}
		if c.State != e.state || c.Callback != (e.back != nil) || c.Position != place || c.EnqueuedMS != e.SinceMS {
			b.wrong("%s is shown as %+v and is %s at place %d", c.EntryID, c, e.state, place)
		}
	}
}

// checkSettled: after the calm nobody waits, rings or talks, and each entry that came was written down once.
func (h *host) checkSettled() {
	b := h.books
	for _, e := range b.order {
		h.w.broken("in the calm %s is still %s", e.EntryID, e.state)
	}
	for _, a := range b.staff {
		if a.state != acd.StateWaiting {
			h.w.broken("in the calm %s is still %s", a.id, a.state)
		}
	}
	for _, q := range h.desk.Queues(h.now(), begin-minute, h.now(), true) {
		if q.Waiting+q.Served+len(q.Entries) > 0 {
			h.w.broken("in the calm %s shows %+v", q.QueueID, q)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.ended)) {
		if got, lost := h.w.records[id], h.w.lost[id]; got+lost != b.ended[id] {
			h.w.broken("%s has ended %d times: %d records, %d lost", id, b.ended[id], got, lost)
		}
	}
	h.checkFigures()
}

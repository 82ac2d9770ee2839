package balance

import (
	"time"

	"github.com/sipio/sipio/brain/pack"
)

// end does settle and release. A settle is the last word. A release is not: it charges the talk that was heard of if the call
// is known to have been answered, else nothing, and a settle that comes after it, or after the hold expired, charges the
// difference. Without a hold the op's own terms count.
func (m *Machine) end(nowMS int64, o *Op) (Reply, bool) {
	final := o.Kind == Settle
	if e := m.calls.byID[o.ID]; e != nil {
		return m.again(nowMS, o, e)
	}
	h := m.holds[o.ID]
	switch {
	case h != nil && h.callID != o.CallID:
		return Reply{Why: WhyConflict}, false
	case m.calls.full(nowMS):
		return Reply{Why: WhyFull}, false
	}
	if h == nil {
		why := m.calls.timely(nowMS, o.AskedMS)
		switch {
		case why == WhyClock, why != "" && (final || o.Answered):
			return Reply{Why: why}, false
		case why != "":
			return Reply{Done: true, Repeated: true}, false // too old to be held any more
		}
		h = &hold{id: o.ID, callID: o.CallID, to: o.To, prefix: o.Prefix, terms: *o.Terms, askedMS: o.AskedMS, index: -1}
		pack.Own(&h.id, &h.callID, &h.to, &h.prefix)
	}
	talk := o.TalkMS
	if !final {
		talk = max(talk, h.talkMS)
	}
	answered := final || o.Answered || h.answered
	if answered && !m.bears(h.terms.Charge(talk)) {
		return Reply{Why: WhyBound}, false
	}
	charged := m.close(nowMS, h, answered, talk, final)
	return Reply{Done: true, ChargedMicros: charged, BeyondMicros: max(0, charged-h.micros)}, true
}

// again hears of a call that is remembered as over.
func (m *Machine) again(nowMS int64, o *Op, e *ended) (Reply, bool) {
	if e.callID != o.CallID {
		return Reply{Why: WhyConflict}, false
	}
	done := Reply{Done: true, Repeated: true, ChargedMicros: e.micros}
	if e.was == nil || o.Kind == Release && !o.Answered {
		return done, false
	}
	h, charge := e.was, e.was.terms.Charge(o.TalkMS)
	if o.Kind == Release && h.answered && o.TalkMS <= h.talkMS {
		return done, false
	}
	if !m.bears(charge - e.micros) {
		return Reply{Why: WhyBound}, false
	}
	m.charge(nowMS, h, o.TalkMS, charge-e.micros)
	h.answered, h.talkMS, e.micros = true, o.TalkMS, charge
	if o.Kind == Settle {
		e.was = nil
	}
	return Reply{Done: true, ChargedMicros: charge, BeyondMicros: max(0, charge-h.micros)}, true
}

// close ends a hold and charges the call if it was answered. final: its talk is known for good.
func (m *Machine) close(nowMS int64, h *hold, answered bool, talkMS int64, final bool) (charged int64) {
	if m.holds[h.id] == h {
		delete(m.holds, h.id)
		m.heldMicros -= h.micros
	}
	m.unlease(h)
	if answered {
		charged = h.terms.Charge(talkMS)
		m.charge(nowMS, h, talkMS, charged)
	}
	e := &ended{id: h.id, callID: h.callID, kind: Settle, timeMS: nowMS, askedMS: h.askedMS, micros: charged}
	if !final {
		h.answered, h.talkMS, e.was = answered, talkMS, h
	}
	m.calls.remember(e)
	return charged
}

// charge writes the movement of a call; one that cost nothing has one too.
func (m *Machine) charge(nowMS int64, h *hold, talkMS, micros int64) {
	m.move(Movement{TimeMS: nowMS, Kind: Settle, ID: h.id, CallID: h.callID, To: h.to, Prefix: h.prefix, TalkMS: talkMS,
		BilledSec: h.terms.BilledSec(talkMS), Micros: -micros})
}

// ended is the memory of an op by hand, or of a call that is over.
type ended struct {
	id, callID, kind string
	timeMS           int64 // when it was done here
	askedMS          int64
	micros           int64 // as asked by hand, or charged for the call in all
	was              *hold // of a call whose talk is not known for good
	next             *ended
}

// memory keeps what was done, oldest first, so that it is not done again. It forgets by age and by number, and then
// knows how young an op must be to be surely none of the forgotten. What was asked for in the future is not forgotten before its
// time has come: else everybody whose clock is right would be too old. So for at most MaxAhead it may keep up to twice the number.
type memory struct {
	byID        map[string]*ended
	first, last *ended
	most        int
	keep        time.Duration
	horizonMS   int64 // the latest askedMS of what was forgotten; -1 while nothing was
}

func newMemory(most int, keep time.Duration) memory {
	return memory{byID: map[string]*ended{}, most: most, keep: keep, horizonMS: -1}
}

// timely tells why an op that is not remembered must not be done; "" when it may.
func (m *memory) timely(nowMS, askedMS int64) string {
	switch {
	case askedMS <= m.horizonMS:
		return WhyStale
	case askedMS > nowMS+MaxAhead.Milliseconds():
		return WhyClock
	}
	return ""
}

// full tells whether nothing more can be remembered until the oldest is no longer of the future.
func (m *memory) full(nowMS int64) bool { return len(m.byID) >= 2*m.most && m.first.askedMS > nowMS }

func (m *memory) remember(e *ended) {
	m.byID[e.id] = e
	if m.last == nil {
		m.first = e
	} else {
		m.last.next = e
	}
	m.last = e
}

func (m *memory) forget(nowMS int64) {
	for e := m.first; e != nil && e.askedMS <= nowMS && (len(m.byID) > m.most || e.timeMS+m.keep.Milliseconds() <= nowMS); e = m.first {
		m.horizonMS = max(m.horizonMS, e.askedMS)
		delete(m.byID, e.id)
		if m.first = e.next; m.first == nil {
			m.last = nil
		}
	}
}

func (m *memory) blank() bool { return m.first == nil && m.horizonMS < 0 }

package acd

import (
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/pack"
)

// exit tells an entry to leave. One who has hung up need not be told.
func (d *Desk) exit(e *entry, outcome string) {
	if e.callback != nil {
		d.remove(e, outcome)
		return
	}
	d.shut(e)
	e.queue.displace(e)
	e.state, e.outcome, e.exitMS = entryLeaving, outcome, d.nowMS+ExitAgainMS
	d.orderExit(e)
	d.wake(e)
}

// leavesAlone tells whether an entry does not wait where nobody is signed in and reachable.
func (e *entry) leavesAlone() bool {
	return e.callback == nil && (e.queue.ExitNoAgents || e.exitNoAgents)
}

// endMS is when an entry waits no longer, never = there is no such time; atEnd is how it leaves then. Who was called back
// does not pay with his patience for the time in which he had hung up.
func (e *entry) endMS() int64 {
	most := e.queue.MaxWaitMS
	switch {
	case e.callback != nil:
		return e.callback.endMS
	case most == 0:
		return never
	case e.kept:
		return e.joinedMS + most
	}
	return e.sinceMS + most
}

func (e *entry) atEnd() string {
	if e.callback != nil {
		return LeftCallbackExpired
	}
	return ExitTimeout
}

// desert lets those leave who do not want to wait for nobody.
func (d *Desk) desert(q *queue) {
	for _, e := range q.inLine() {
		if e.state == entryWaiting && e.leavesAlone() {
			d.exit(e, ExitNoAgents)
		}
	}
}

// inLine lists who has a place, by priority and wait.
func (q *queue) inLine() []*entry {
	out := make([]*entry, 0, q.waiting)
	for _, l := range slices.Backward(q.lines) {
		l.each(func(e *entry) bool {
			out = append(out, e)
			return true
		})
	}
	return out
}

// leave ends an entry, whatever its state. The word of a call, which may come late, ends only its own place.
func (d *Desk) leave(entryID, token, outcome string) bool {
	e := d.entries[entryID]
	switch {
	case e == nil:
		return d.leftBefore(entryID, outcome)
	case token != "" && (e.callback != nil || e.token != token):
		return false
	}
	if outcome == LeftAnswered && e.state == entryClaimed {
		d.serve(e.offers[0]) // the confirm was lost
	}
	switch {
	case e.state == entryServed:
		outcome = LeftAnswered
	case e.sent() && !known(outcome): // that holds, also when his session comes back after a lapse
		outcome = LeftSent
	case !known(outcome):
		outcome = LeftFailed
	}
	d.remove(e, outcome)
	return true
}

// remove ends an entry, and frees its agents.
func (d *Desk) remove(e *entry, outcome string) {
	talk := e.state == entryServed
	d.shut(e)
	e.queue.displace(e)
	for len(e.offers) > 0 {
		r := e.offers[0]
		if r.state == offered || r.state == claimed {
			d.order(Order{Kind: OrderRescind, Why: WhyCallerGone}, r)
		}
		d.part(r, WhyCallerGone)
		if talk {
			d.hungUp(r.agent, e)
		}
	}
	e.state = entryOver
	delete(d.entries, e.id)
	d.unback(e)
	d.alarms.set(&e.alarm, never)
	d.over(e, outcome)
	if q := e.queue; q.leaves() {
		delete(d.queues, q.ID)
	}
}

// leftBefore remembers that somebody has left who has no place: a join that was under way before comes to none.
func (d *Desk) leftBefore(entryID, outcome string) bool {
	if entryID == "" || d.pastEntries.known[entryID] != nil {
		return false
	}
	if outcome != LeftAnswered && !known(outcome) {
		outcome = LeftFailed
	}
	pack.Own(&entryID, &outcome)
	d.rememberEntry(&pastEntry{id: entryID, outcome: outcome, sinceMS: d.nowMS})
	return true
}

// known tells whether an entry that was not served can leave so.
func known(outcome string) bool {
	switch outcome {
	case LeftAbandoned, LeftOption, LeftSent, ExitTimeout, ExitNoAgents, ExitQueueFull, ExitEWT:
		return true
	}
	return false
}

// hungUp ends an agent's talk: now it wraps up, if the queue wants it and the agent is there.
func (d *Desk) hungUp(a *agent, e *entry) {
	q, talk := e.queue, d.nowMS-e.connectedMS
	q.figures.at(d.nowMS).TalkMS += talk
	q.served--
	a.talkMS += talk
	a.idleMS = d.nowMS
	if e.number != "" && q.StickyMS > 0 {
		d.sticky.set(stickyKey{q.ID, e.number}, a.id, d.nowMS)
	}
	switch {
	case q.WrapUpMS == 0 || a.status == StatusOffline:
		q.handled(talk)
	default:
		a.state, a.wrapQueue, a.wrapFromMS, a.wrapEndMS, a.lastTalkMS = StateWrapUp, q.ID, d.nowMS, d.nowMS+q.WrapUpMS, talk
		d.alarms.set(&a.alarm, a.wrapEndMS)
	}
}

// over writes down how an entry ended.
func (d *Desk) over(e *entry, outcome string) {
	q := e.queue
	wait := e.wait(d.nowMS)
	f := q.figures.at(d.nowMS)
	short := outcome == LeftAbandoned && wait < ShortAbandon
	switch outcome {
	case LeftAbandoned:
		f.Abandoned++
		if short {
			f.ShortAbandoned++
		}
	case ExitTimeout:
		f.TimedOut++
	case ExitNoAgents, ExitQueueFull, ExitEWT:
		f.Overflowed++
	case LeftOption:
		f.OptionOut++
	case LeftSent:
		f.Sent++
	case LeftCallbackFailed, LeftCallbackExpired:
		f.CallbackFailed++
	}
	d.counts(d.nowMS)
	past := &pastEntry{id: e.id, outcome: outcome, sinceMS: e.sinceMS, moved: e.moved()}
	if past.moved {
		past.rank = e.rank
	}
	if e.callback == nil {
		past.called = e.called
	}
	if outcome == LeftSent {
		past.token = strings.Clone(e.token)
	}
	d.rememberEntry(past)
	r := Record{EntryID: e.id, QueueID: q.ID, Token: e.token, CallID: e.callID, CallerNumber: e.number, CallerName: e.name, Label: e.label,
		Outcome: outcome, Short: short, EnqueuedMS: e.sinceMS, ConnectedMS: e.connectedMS, EndMS: d.nowMS, Priority: e.priority, Misses: e.misses,
		Callback: e.kept}
	switch {
	case outcome == LeftAnswered:
		r.UserID, r.WrapUpMS = e.servedBy, q.WrapUpMS
	case e.callback == nil:
		f.waited(wait)
	}
	d.record(r)
}

// waited takes a wait into the longest one.
func (f *Figures) waited(ms int64) { f.LongestWaitMS = max(f.LongestWaitMS, ms) }

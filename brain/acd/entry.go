package acd

import (
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/pack"
)

// States of an entry.
const (
	entryWaiting  = iota + 1
	entryOffering // at least one agent is being rung
	entryClaimed  // an agent has answered
	entryServed
	entryLeaving // it was told to leave, and is offered nobody
)

// entryNames are the states as api.QueueCaller has them.
var entryNames = [...]string{"", "waiting", "offering", "offering", "in_call", "leaving"}

// entry is a caller's place in a queue.
type entry struct {
	id, token, callID, node string
	number, name, label     string
	queue                   *queue
	priority                int
	skills                  []Skill // needed at first, sorted
	exitNoAgents            bool    // beside the queue's own
	sinceMS                 int64   // what its wait counts from
	joinedMS                int64

	state       int
	offers      []*reservation // those that live, of whatever state
	skipped     []string       // agents who were tried in vain
	quick       bool           // the last one refused without ringing for its time
	misses      int
	held        bool // the platform failed: no offers until holdUntilMS
	holdMS      int64
	holdUntilMS int64
	viewMS      int64 // when its stage and needs were looked at
	announceMS  int64 // when its position is looked at next; never = no more
	spoken      int   // the last position ordered
	connectedMS int64
	servedBy    string
	outcome     string // leaving
	exitMS      int64  // leaving: when it is told again

	// Found again.
	stage int
	needs []Skill
	class *class // when it may be offered
	spot  node[*entry]
	place node[*entry]
	alarm alarm
}

func (e *entry) wait(nowMS int64) int64 { return max(0, nowMS-e.sinceMS) }

func (e *entry) skip(a *agent) {
	if !slices.Contains(e.skipped, a.id) {
		e.skipped = append(e.skipped, a.id)
	}
}

func (e *entry) drop(r *reservation) {
	if i := slices.Index(e.offers, r); i >= 0 {
		e.offers = slices.Delete(e.offers, i, i+1)
	}
}

// look finds the stage and the needs of an entry at its viewMS.
func (e *entry) look() {
	wait := e.wait(e.viewMS)
	e.stage, e.needs = e.queue.stage(wait), relaxed(e.skills, e.queue.SkillRelax, wait)
}

// join gives a caller a place, or tells how the one stands that he has.
func (d *Desk) join(j *Join, setupVersion int64) (reply []byte, changed bool) {
	if d.version < setupVersion {
		return appendJoined(nil, nil, true), false
	}
	if e := d.entries[j.EntryID]; e != nil {
		return appendJoined(nil, d.stands(e), false), false
	}
	since := d.nowMS
	if j.SinceMS > 0 {
		since = min(since, j.SinceMS)
	}
	if past := d.pastEntries.known[j.EntryID]; past != nil {
		if past.outcome != LeftFailed {
			return appendJoined(nil, &Joined{Outcome: past.outcome, EWTMS: -1}, false), false
		}
		since = min(since, past.sinceMS)
	}
	q := d.queues[j.QueueID]
	if q == nil || q.gone || j.EntryID == "" {
		return appendJoined(nil, &Joined{Outcome: LeftFailed, EWTMS: -1}, false), false
	}
	e := d.newEntry(q, j, since)
	q.figures.at(d.nowMS).Offered++
	d.counts(d.nowMS)
	delete(d.pastEntries.known, e.id)
	if exit := d.refuse(e); exit != "" {
		d.over(e, exit)
		return appendJoined(nil, &Joined{Outcome: exit, EWTMS: -1}, false), true
	}
	d.entries[e.id] = e
	q.entries++
	q.place(e)
	d.joining = e
	d.open(e)
	return nil, true // the reply follows when it is clear who takes the call
}

func (d *Desk) newEntry(q *queue, j *Join, sinceMS int64) *entry {
	e := &entry{id: j.EntryID, token: j.Token, callID: j.CallID, node: j.Node, number: j.CallerNumber, name: cut(j.CallerName), label: cut(j.Label),
		queue: q, priority: min(max(0, j.Priority), 100), skills: sortSkills(j.Skills), exitNoAgents: j.ExitNoAgents, sinceMS: sinceMS,
		joinedMS: d.nowMS, viewMS: d.nowMS, announceMS: never}
	pack.Own(&e.id, &e.token, &e.callID, &e.node, &e.number, &e.name, &e.label)
	for i := range e.skills {
		e.skills[i].Name = strings.Clone(e.skills[i].Name)
	}
	if q.Announce {
		e.announceMS = d.nowMS + q.AnnounceFirstMS
	}
	e.alarm.entry = e
	e.look()
	return e
}

// refuse gives the exit of a caller who is not let in, "" for one who is. Whoever is offered at once expects no wait.
func (d *Desk) refuse(e *entry) string {
	q := e.queue
	switch {
	case len(d.entries) >= MaxEntries || q.MaxQueued >= 0 && q.waiting >= q.MaxQueued:
		return ExitQueueFull
	case q.EWTThresholdMS > 0 && q.ewt(q.position(e, d.nowMS)-1) > q.EWTThresholdMS && !d.atOnce(e):
		return ExitEWT
	case q.present == 0 && (q.ExitNoAgents || e.exitNoAgents):
		return ExitNoAgents
	}
	return ""
}

// atOnce tells whether there is an agent for an entry now.
func (d *Desk) atOnce(e *entry) bool {
	m, _ := d.bestAgent(e)
	return m != nil
}

// stands tells how an entry stands.
func (d *Desk) stands(e *entry) *Joined {
	j := &Joined{EWTMS: -1}
	switch e.state {
	case entryServed:
		return j
	case entryLeaving:
		j.Outcome = e.outcome
		return j
	}
	j.Position = e.queue.position(e, d.nowMS)
	j.EWTMS = e.queue.ewt(j.Position - 1)
	for _, r := range e.offers {
		j.EWTMS = 0
		if r.state == offered {
			j.Offers = append(j.Offers, r.offer())
		}
	}
	return j
}

// open lets an entry wait: it may be offered, unless its time is over or it is held.
func (d *Desk) open(e *entry) {
	q := e.queue
	e.state = entryWaiting
	switch {
	case q.gone:
		d.exit(e, LeftFailed)
	case q.MaxWaitMS > 0 && e.wait(d.nowMS) >= q.MaxWaitMS:
		d.exit(e, ExitTimeout)
	case q.present == 0 && (q.ExitNoAgents || e.exitNoAgents):
		d.exit(e, ExitNoAgents)
	default:
		if e.held = e.held && e.holdUntilMS > d.nowMS; !e.held {
			d.classify(e)
		}
		d.wake(e)
	}
}

// classify puts a waiting entry among those that suit the same agents.
func (d *Desk) classify(e *entry) {
	e.viewMS = d.nowMS
	e.look()
	d.enclass(e)
	d.opened = append(d.opened, e)
}

func (d *Desk) enclass(e *entry) {
	c := e.queue.classOf(kind{e.priority, e.stage, needsName(e.needs)}, e.needs)
	c.insert(&e.spot, e)
	e.class = c
}

// shut takes an entry out of those that may be offered.
func (d *Desk) shut(e *entry) {
	c := e.class
	if c == nil {
		return
	}
	e.class = nil
	if c.remove(&e.spot); c.len() == 0 {
		e.queue.dropClass(c)
	}
}

// hold lets an entry rest: first for a moment, then longer and longer.
func (d *Desk) hold(e *entry) {
	if e.held && e.holdUntilMS > d.nowMS {
		return
	}
	e.held, e.holdMS = true, min(max(HoldFirstMS, 2*e.holdMS), HoldMostMS)
	e.holdUntilMS = d.nowMS + e.holdMS
}

// exit tells an entry to leave.
func (d *Desk) exit(e *entry, outcome string) {
	d.shut(e)
	e.queue.displace(e)
	e.state, e.outcome, e.exitMS = entryLeaving, outcome, d.nowMS+ExitAgainMS
	d.orderExit(e)
	d.wake(e)
}

// desert lets those leave who do not want to wait for nobody.
func (d *Desk) desert(q *queue) {
	for _, e := range q.inLine() {
		if e.state == entryWaiting && (q.ExitNoAgents || e.exitNoAgents) {
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

// leave ends an entry, whatever its state.
func (d *Desk) leave(entryID, outcome string) bool {
	e := d.entries[entryID]
	if e == nil {
		return d.leftBefore(entryID, outcome)
	}
	if outcome == LeftAnswered && e.state == entryClaimed {
		d.serve(e.offers[0]) // the confirm was lost
	}
	talk := e.state == entryServed
	switch {
	case talk:
		outcome = LeftAnswered
	case !known(outcome):
		outcome = LeftFailed
	}
	d.shut(e)
	e.queue.displace(e)
	for len(e.offers) > 0 {
		r := e.offers[0]
		if !talk {
			d.order(Order{Kind: OrderRescind, Why: WhyCallerGone}, r)
		}
		d.part(r, WhyCallerGone)
		if talk {
			d.hungUp(r.agent, e)
		}
	}
	delete(d.entries, e.id)
	d.alarms.set(&e.alarm, never)
	d.over(e, outcome)
	if q := e.queue; q.leaves() {
		delete(d.queues, q.ID)
	}
	return true
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
	d.rememberEntry(entryID, outcome, d.nowMS)
	return true
}

// known tells whether an entry that was not served can leave so.
func known(outcome string) bool {
	switch outcome {
	case LeftAbandoned, LeftOption, ExitTimeout, ExitNoAgents, ExitQueueFull, ExitEWT:
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
	}
	d.counts(d.nowMS)
	d.rememberEntry(e.id, outcome, e.sinceMS)
	r := Record{EntryID: e.id, QueueID: q.ID, Token: e.token, CallID: e.callID, CallerNumber: e.number, CallerName: e.name, Label: e.label,
		Outcome: outcome, Short: short, EnqueuedMS: e.sinceMS, ConnectedMS: e.connectedMS, EndMS: d.nowMS, Priority: e.priority, Misses: e.misses}
	if outcome == LeftAnswered {
		r.UserID, r.WrapUpMS = e.servedBy, q.WrapUpMS
	} else {
		f.waited(wait)
	}
	d.record(r)
}

// waited takes a wait into the longest one.
func (f *Figures) waited(ms int64) { f.LongestWaitMS = max(f.LongestWaitMS, ms) }

// wake sets the alarm of an entry to what is due of it first. It depends on the entry alone, not on the time.
func (d *Desk) wake(e *entry) {
	d.alarms.set(&e.alarm, e.next())
}

func (e *entry) next() int64 {
	q := e.queue
	switch e.state {
	case entryServed:
		return never
	case entryLeaving:
		return e.exitMS
	}
	next := e.announceMS
	if e.state != entryWaiting {
		return next
	}
	if q.MaxWaitMS > 0 {
		next = min(next, e.sinceMS+q.MaxWaitMS)
	}
	if e.held {
		return min(next, e.holdUntilMS)
	}
	if q.TierEscalationMS > 0 && e.stage < len(q.tiers) {
		next = min(next, e.sinceMS+int64(e.stage)*q.TierEscalationMS)
	}
	if len(e.needs) > 0 {
		next = min(next, e.sinceMS+nextRelax(q.SkillRelax, e.wait(e.viewMS)))
	}
	return next
}

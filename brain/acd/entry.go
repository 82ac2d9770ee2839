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
	entryCalling // it is a callback, and its number is called
	entryOver
)

// entryNames are the states as api.QueueCaller has them.
var entryNames = [...]string{"", "waiting", "offering", "offering", "in_call", "leaving", "calling"}

// entry is a caller's place in a queue.
type entry struct {
	id, token, callID, node string
	number, name, label     string
	queue                   *queue
	priority                int
	rank                    rank    // what its place rests on
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

	callback *callback // of one who has hung up; nil = his call is there
	called   int64     // fence of the call made to him that may join, or has joined; 0 = none
	kept     bool      // it was a callback at some time

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
		return d.rejoin(e, j)
	}
	since := d.nowMS
	if j.SinceMS > 0 {
		since = min(since, j.SinceMS)
	}
	past := d.pastEntries.known[j.EntryID]
	if past != nil {
		if past.outcome != LeftFailed || past.called != j.CallbackFence {
			return appendJoined(nil, &Joined{Outcome: past.outcome, EWTMS: -1}, false), false
		}
		since = min(since, past.sinceMS)
	}
	q := d.queues[j.QueueID]
	if q == nil || q.gone || j.EntryID == "" || past == nil && j.CallbackFence != 0 {
		return appendJoined(nil, &Joined{Outcome: LeftFailed, EWTMS: -1}, false), false
	}
	e := d.newEntry(q, j, since)
	if past != nil && past.moved {
		e.rank = past.rank
	}
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
		joinedMS: d.nowMS, viewMS: d.nowMS, announceMS: never, called: j.CallbackFence, kept: j.CallbackFence != 0}
	pack.Own(&e.id, &e.token, &e.callID, &e.node, &e.number, &e.name, &e.label)
	for i := range e.skills {
		e.skills[i].Name = strings.Clone(e.skills[i].Name)
	}
	if q.Announce {
		e.announceMS = d.nowMS + q.AnnounceFirstMS
	}
	e.rank = e.natural()
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
	case q.present == 0 && e.leavesAlone():
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
	case e.endMS() <= d.nowMS:
		d.exit(e, e.atEnd())
	case q.present == 0 && e.leavesAlone():
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
	c := e.queue.classOf(kind{e.rank.priority, e.stage, needsName(e.needs)}, e.needs)
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

// hold lets an entry rest: first for a moment, then longer and longer. For one who has hung up that may be as long as between
// his tries.
func (d *Desk) hold(e *entry) {
	if e.held && e.holdUntilMS > d.nowMS {
		return
	}
	most := int64(HoldMostMS)
	if e.callback != nil {
		most = max(most, e.callback.retryMS)
	}
	e.held, e.holdMS = true, min(max(HoldFirstMS, 2*e.holdMS), most)
	e.holdUntilMS = d.nowMS + e.holdMS
}

// wake sets the alarm of an entry to what is due of it first. It depends on the entry alone, not on the time.
func (d *Desk) wake(e *entry) {
	d.alarms.set(&e.alarm, e.next())
}

func (e *entry) next() int64 {
	q := e.queue
	switch e.state {
	case entryServed, entryOver:
		return never
	case entryLeaving:
		return e.exitMS
	case entryCalling:
		if len(e.offers) > 0 {
			return never // its lease ends it
		}
		return e.callback.untilMS
	}
	next := e.announceMS
	if e.state != entryWaiting {
		return next
	}
	if next = min(next, e.endMS()); e.held {
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

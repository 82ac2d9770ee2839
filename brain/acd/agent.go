package acd

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/pack"
)

// agent is a user who serves queues.
type agent struct {
	id          string
	conf        Agent // its skills are sorted, its memberships are members
	gone        bool  // no longer in the setup: it stays until its talk is over
	members     []*member
	status      string
	reason      string
	state       string
	signal                   // of its user
	reservation *reservation // it is rung for, or talks by it

	idleMS  int64 // since it became available, or its last talk, wrap-up or own call ended
	misses  int   // in a row
	handled int64 // talks since its login, of all queues
	talkMS  int64 // of those

	wrapQueue             string // of the talk that is wrapped up; "" = none
	wrapFromMS, wrapEndMS int64
	lastTalkMS            int64

	shown     Change // the last one made, without its time
	sinceMS   int64  // of its bucket
	figures   history
	spell     spell // what its time counts as …
	countedMS int64 // … since

	// Found again.
	alarm   alarm
	touched bool
	ready   bool // it stands among those who wait for calls
}

// member is an agent's membership in a queue.
type member struct {
	Membership
	agent  *agent
	queue  *queue
	signed bool
	rungAt int64 // fence of its last offer in this queue

	// Found again.
	present, staffed bool  // counted in the queue
	key              int64 // its place among the ready of its tier, by the strategy
	spot             node[*member]
}

func newAgent(id string) *agent {
	a := &agent{id: id, status: StatusOffline, state: StateWaiting}
	a.shown = Change{UserID: id, Status: StatusOffline, State: StateWaiting, Bucket: BucketOffline}
	a.alarm.agent = a
	return a
}

// memberBefore orders the ready members of a tier: by the strategy's key, then position, then id.
func memberBefore(a, b *member) bool {
	switch {
	case a.key != b.key:
		return a.key < b.key
	case a.Position != b.Position:
		return a.Position < b.Position
	}
	return a.agent.id < b.agent.id
}

// memberOrder is that in which an agent looks for callers: by tier, then queue.
func memberOrder(a, b *member) int {
	return cmp.Or(cmp.Compare(a.Tier, b.Tier), strings.Compare(a.QueueID, b.QueueID))
}

// rank is the key of a member by its queue's strategy.
func (m *member) rank() int64 {
	switch m.queue.Strategy {
	case RoundRobin:
		return m.rungAt
	case FewestCalls:
		return m.agent.handled
	case LeastTalkTime:
		return m.agent.talkMS
	case TopDown, RingAll, Random:
		return 0
	}
	return m.agent.idleMS
}

func (a *agent) member(queueID string) *member {
	for _, m := range a.members {
		if m.QueueID == queueID {
			return m
		}
	}
	return nil
}

// waits tells whether the agent may be offered calls of the queues that it is signed in to.
func (a *agent) waits() bool {
	return a.status == StatusAvailable && a.state == StateWaiting && a.reachable && a.calls == 0 && !a.gone
}

func (a *agent) signedIn() bool {
	return slices.ContainsFunc(a.members, func(m *member) bool { return m.signed })
}

// bucket is what people look at, the first that holds.
func (a *agent) bucket() string {
	switch {
	case a.calls > 0:
		return BucketExtCall
	case a.state == StateInCall:
		return BucketInCall
	case a.status == StatusOffline:
		return BucketOffline
	case !a.reachable:
		return BucketUnreachable
	case a.state == StateOffering:
		return BucketRing
	case a.status == StatusOnBreak:
		return BucketPaused
	case a.state == StateWrapUp:
		return BucketWrapUp
	case !a.signedIn():
		return BucketIdle
	}
	return BucketReady
}

// spells tells what the agent's time counts as: talk, wrap-up, breaks and waiting exclude each other, and all are
// part of its time signed in.
func (a *agent) spells(bucket string) spell {
	s := spell{talk: a.state == StateInCall, wrap: a.state == StateWrapUp, ready: bucket == BucketReady}
	s.onBreak = a.status == StatusOnBreak && a.state != StateInCall && a.state != StateWrapUp
	s.signed = a.status != StatusOffline || s.talk || s.wrap
	return s
}

// touch is to be called before an agent changes: it counts the time until now, and takes the agent out of those who
// wait for calls until the change is complete.
func (d *Desk) touch(a *agent) {
	if a.touched {
		return
	}
	a.touched = true
	d.touched = append(d.touched, a)
	d.count(a)
	d.unready(a)
}

func (d *Desk) count(a *agent) {
	if a.spell != (spell{}) && a.countedMS < d.nowMS {
		a.figures.spend(a.spell, a.countedMS, d.nowMS)
		d.counts(d.nowMS)
	}
	a.countedMS = d.nowMS
}

// counts notes that there are figures of a time.
func (d *Desk) counts(ms int64) { d.counted = max(d.counted, number(ms)) }

func (d *Desk) unready(a *agent) {
	if !a.ready {
		return
	}
	a.ready = false
	for _, m := range a.members {
		if m.spot.in {
			m.queue.tier(m.Tier).ready.remove(&m.spot)
		}
	}
}

// settle takes in the agents that were touched: who is there, who waits for calls.
func (d *Desk) settle() {
	for _, a := range d.touched {
		for _, m := range a.members {
			d.recount(m)
		}
		if a.waits() {
			d.makeReady(a)
			d.freed = append(d.freed, a)
		}
	}
	for i := 0; i < len(d.shaken); i++ {
		if q := d.shaken[i]; q.present == 0 {
			d.desert(q)
		}
	}
}

func (d *Desk) makeReady(a *agent) {
	if a.ready {
		return
	}
	a.ready = true
	for _, m := range a.members {
		if m.signed {
			m.key = m.rank()
			m.queue.tier(m.Tier).ready.insert(&m.spot, m)
		}
	}
}

// recount counts a member in its queue as it now is.
func (d *Desk) recount(m *member) {
	present := m.signed && m.agent.reachable && !m.agent.gone
	staffed := m.signed && m.agent.status == StatusAvailable && !m.agent.gone
	if m.staffed != staffed {
		m.staffed = staffed
		m.queue.staffed += step(staffed)
	}
	if m.present == present {
		return
	}
	m.present = present
	t := m.queue.tier(m.Tier)
	m.queue.present += step(present)
	if t.present += step(present); t.present == 0 || t.present == 1 && present {
		d.shake(m.queue)
	}
}

func step(up bool) int {
	if up {
		return 1
	}
	return -1
}

// shake notes that other agents may be open to the callers of a queue.
func (d *Desk) shake(q *queue) {
	if !q.shaken {
		q.shaken = true
		d.shaken = append(d.shaken, q)
	}
}

// Signal takes what presence knows of a user: whether a device is registered, and how many calls there are beside
// those of queues. To be called whenever that changes, inside the op that changes it.
func (d *Desk) Signal(nowMS int64, userID string, reachable bool, calls int) {
	s := signal{reachable, calls}
	a := d.agents[userID]
	if a == nil || a.signal == s {
		d.keepSignal(a, userID, s)
		return
	}
	d.begin(nowMS)
	d.touch(a)
	if a.calls > 0 && calls == 0 {
		a.idleMS = d.nowMS
	}
	a.signal = s
	if !reachable || calls > 0 {
		d.withdraw(a)
	}
	d.end(true)
}

// keepSignal remembers what is known of somebody who may become an agent.
func (d *Desk) keepSignal(a *agent, userID string, s signal) {
	switch {
	case a != nil:
	case s == signal{}:
		delete(d.signals, userID)
	default:
		pack.Own(&userID)
		d.signals[userID] = s
	}
}

// withdraw takes an agent out of an offer that it cannot take any more; a talk goes on, and so does the call to somebody
// for whom it was reserved.
func (d *Desk) withdraw(a *agent) {
	switch r := a.reservation; {
	case r == nil:
	case r.state == offered:
		d.order(Order{Kind: OrderRescind, Why: WhyAgentGone}, r)
		d.release(r, WhyAgentGone)
	case r.state == calling:
		d.part(r, WhyAgentGone)
		d.wake(r.entry)
	}
}

package acd

import "strings"

// toleranceMS is how far the clock may go back before what it said is no longer believed.
const toleranceMS = 60_000

// Desk is all queues and agents of one account. It is not safe for concurrent use: one actor owns it.
//
// What Apply, Signal and Expire change is a function of what they were given, and of nothing else: those that changed
// something, done again in their order, make the same desk. The ends of leases are not part of it: Lapsed turns
// them into what Expire is given.
//
// After each of them no caller waits who could be offered to an agent, and no agent for whom there is a caller. So
// only what has just changed is looked at: a freed agent looks for a caller in the order in which they are
// served, a caller for an agent by the strategy of the queue.
type Desk struct {
	version int64
	clockMS int64 // of the last change
	fence   int64 // the last one given

	queues   map[string]*queue
	agents   map[string]*agent
	signals  map[string]signal // of users who are no agents (yet)
	entries  map[string]*entry
	backs    map[backKey]*entry     // those that are called back
	reserved map[int64]*reservation // by fence

	pastEntries      memory[string, pastEntry]
	pastReservations memory[int64, pastReservation]
	sticky           stickies
	counted          int64 // the last quarter hour with figures

	alarms alarms // of entries and agents
	leases alarms // volatile

	// Of the change that is under way.
	nowMS   int64
	shifted bool     // the clock was set back
	touched []*agent // those that may have changed
	freed   []*agent // those that wait for calls since
	opened  []*entry // those that may be offered since
	shaken  []*queue // those in which another tier is open, or nobody is there any more
	speak   []*entry // those whose position is due
	joining *entry   // its offers are in the reply
	scans   int64    // numbers the looks through a queue
	effects
}

// signal is what presence knows of a user.
type signal struct {
	reachable bool
	calls     int // beside those of queues
}

// New makes a desk without queues. It is live: there are orders from the beginning.
func New() *Desk {
	d := &Desk{queues: map[string]*queue{}, agents: map[string]*agent{}, signals: map[string]signal{}, entries: map[string]*entry{},
		backs: map[backKey]*entry{}, reserved: map[int64]*reservation{}}
	d.pastEntries.known, d.pastReservations.known = map[string]*pastEntry{}, map[int64]*pastReservation{}
	d.sticky.known = map[stickyKey]*sticky{}
	d.live = true
	return d
}

// Apply does an op at a time, epoch milliseconds. The reply belongs to the op. With changed false the op need not be
// written down: without it the desk would be the same. An error means that the op cannot be read; nothing changed.
func (d *Desk) Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error) {
	var o Op
	if err := o.read(op); err != nil {
		return nil, false, err
	}
	d.begin(nowMS)
	switch op[0] {
	case kindSetup:
		changed = d.setup(o.Setup)
	case kindJoin:
		reply, changed = d.join(o.Join, o.SetupVersion)
	case kindLeave:
		changed = d.leave(o.EntryID, o.Token, o.Outcome)
	case kindClaim:
		reply, changed = d.claim(o.ReservationID, o.Fence)
	case kindConfirm:
		reply, changed = d.confirm(o.ReservationID, o.Fence)
	case kindMiss:
		reply, changed = d.miss(o.ReservationID, o.Fence, o.Cause)
	case kindAgent:
		reply, changed = d.wish(o.Agent, o.SetupVersion)
	case kindCallback:
		reply, changed = d.keep(o.Callback)
	case kindMove:
		reply, changed = d.move(o.EntryID, o.Place)
	case kindSend:
		reply, changed = d.send(o.EntryID, o.Look)
	}
	changed = d.end(changed)
	if e := d.joining; e != nil {
		d.joining, reply = nil, appendJoined(nil, d.stands(e), false)
	}
	return reply, changed, nil
}

// begin takes the time of what follows. The clock never goes back, unless it was set back by so much that it must
// have been wrong before: then everything is moved back with it.
func (d *Desk) begin(nowMS int64) {
	d.nowMS = min(max(0, nowMS), maxTimeMS)
	switch back := d.clockMS - d.nowMS; {
	case back > toleranceMS:
		d.shift(-back)
		d.shifted = true
	case back > 0:
		d.nowMS = d.clockMS
	}
}

// end brings together whoever fits since begin, and makes the change known.
func (d *Desk) end(changed bool) bool {
	if changed = changed || d.shifted; !changed {
		return false
	}
	d.shifted = false
	d.clockMS = d.nowMS
	d.settle()
	d.match()
	d.speakUp()
	d.publish()
	d.forget()
	return true
}

// nextFence gives the fence of the next reservation: later than every one before, and than what an owner could
// have given out whose last changes were lost.
func (d *Desk) nextFence() int64 { return max(d.fence+1, d.nowMS<<8) }

// Version is that of the setup; 0 = none yet.
func (d *Desk) Version() int64 { return d.version }

// Empty tells whether nothing is worth keeping: no setup, no caller, and no memory or figures still of use.
func (d *Desk) Empty() bool {
	return len(d.queues) == 0 && len(d.agents) == 0 && len(d.entries) == 0 && len(d.pastEntries.known) == 0 &&
		len(d.pastReservations.known) == 0 && d.sticky.first == nil && d.counted == 0
}

// cut shortens a text that only people read, and makes it valid UTF-8.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

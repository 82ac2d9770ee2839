package acd

import "github.com/sipio/sipio/brain/pack"

// callingMS is how long a call to somebody who keeps his place may take until it has joined, or it was told why not.
const callingMS = CallbackMS + AcceptMS + GraceMS

// callback is why somebody who has hung up has a place: he is called when it is his turn. Until that call has joined
// nothing is told him, and no exit of the queue is his.
type callback struct {
	number  string
	tries   int // so often he is called …
	tried   int // … and was, in vain
	faults  int // of the platform, since
	retryMS int64
	endMS   int64 // later he is not called any more
	untilMS int64 // calling: later nothing is heard of that call
}

// backKey is a number that a queue calls back: it has one place there, however often it calls.
type backKey struct{ queueID, number string }

func (e *entry) backKey() backKey { return backKey{e.queue.ID, e.callback.number} }

// unback forgets that an entry is called back.
func (d *Desk) unback(e *entry) {
	if e.callback != nil {
		delete(d.backs, e.backKey())
	}
}

// keep lets a caller who waits hang up and have his place. Who was told to leave at the same moment keeps it too, but for one
// who is sent elsewhere.
func (d *Desk) keep(c *Callback) (reply []byte, changed bool) {
	e := d.entries[c.EntryID]
	switch {
	case e == nil:
		return appendVerdict(nil, Verdict{Why: WhyUnknown}), false
	case e.callback != nil || c.Token != "" && c.Token != e.token: // once more
		return appendVerdict(nil, Verdict{Granted: true}), false
	case e.taken():
		return appendVerdict(nil, Verdict{Why: WhyLost}), false
	case e.sent():
		return appendVerdict(nil, Verdict{Why: WhyLeaving}), false
	case e.queue.gone:
		d.remove(e, LeftFailed)
		return appendVerdict(nil, Verdict{Why: WhyUnknown}), true
	case d.backs[backKey{e.queue.ID, c.Number}] != nil:
		return appendVerdict(nil, Verdict{Why: WhyCallback}), false
	}
	d.shut(e)
	d.callOff(e)
	if e.state == entryLeaving {
		e.outcome = ""
		e.queue.place(e)
	}
	e.callback = &callback{number: c.Number, tries: c.Tries, retryMS: c.RetryMS, endMS: d.nowMS + c.WindowMS}
	pack.Own(&e.callback.number)
	d.backs[e.backKey()] = e
	e.kept, e.called, e.quick, e.announceMS = true, 0, false, never
	d.rest(e, c.DelayMS)
	d.open(e)
	return appendVerdict(nil, Verdict{Granted: true}), true
}

// rest lets an entry wait so long before it is offered, whatever was before.
func (d *Desk) rest(e *entry, ms int64) {
	e.held, e.holdMS, e.holdUntilMS = true, 0, d.nowMS+ms
}

// rejoin answers a join of an entry that lives: of the call that has the place how it stands, and that of the call that was
// made to somebody who keeps his place gets it. Any other call is not his (any more).
func (d *Desk) rejoin(e *entry, j *Join) (reply []byte, changed bool) {
	his := j.CallbackFence == e.called
	switch {
	case e.callback == nil && his, e.callback != nil && j.CallbackFence == 0:
		return appendJoined(nil, d.stands(e), false), false
	case e.callback == nil || !his:
		return appendJoined(nil, &Joined{Outcome: LeftFailed, EWTMS: -1}, false), false
	case e.queue.gone: // it ends here: nobody has to leave who is told that he has no place
		d.remove(e, LeftFailed)
		return appendJoined(nil, &Joined{Outcome: LeftFailed, EWTMS: -1}, false), true
	}
	d.arrive(e, j)
	d.joining = e
	return nil, true // the reply follows when it is clear who takes the call
}

// arrive makes the call that was made to somebody his: from now on he is a caller as any other. The agent who was reserved
// for him is to be rung; when that one has gone he waits, and his patience begins anew.
func (d *Desk) arrive(e *entry, j *Join) {
	e.token, e.callID, e.node = j.Token, j.CallID, j.Node
	pack.Own(&e.token, &e.callID, &e.node)
	d.unback(e)
	e.callback, e.held, e.holdMS, e.spoken, e.joinedMS = nil, false, 0, 0, d.nowMS
	if q := e.queue; q.Announce {
		e.announceMS = d.nowMS + q.AnnounceFirstMS
	}
	r := d.reserved[e.called]
	if r == nil {
		d.shut(e)
		d.open(e)
		return
	}
	r.state, r.atMS, e.state = offered, d.nowMS, entryOffering
	d.leases.set(&r.alarm, d.nowMS+r.leaseMS())
	d.countOffer(r.agent)
	d.wake(e)
}

// unanswered ends a call that was made to somebody and did not become his. Whatever its cause that was one of his
// tries; but a fault of the platform is none, and he waits longer from one to the next, until there are too many in a row.
func (d *Desk) unanswered(e *entry, cause string) {
	d.shut(e)
	c := e.callback
	if cause == MissFailed {
		c.faults++
	} else {
		c.tried++
		c.faults = 0
	}
	switch {
	case c.tried >= c.tries, c.faults >= MostFaults:
		d.remove(e, LeftCallbackFailed)
		return
	case cause == MissFailed:
		d.hold(e)
	default:
		d.rest(e, c.retryMS)
	}
	d.open(e)
}

// lateMiss takes why a call was in vain whose agent has gone meanwhile, or whose time was over before anybody said so: then
// it has counted as a try, and one that he did not take lets him rest from now on. False when that is no news.
func (d *Desk) lateMiss(p *pastReservation, cause string) bool {
	e := d.entries[p.entryID]
	if e == nil || e.callback == nil || e.called != p.fence {
		return false
	}
	e.called, p.missed = 0, true
	switch {
	case e.state == entryCalling:
		d.unanswered(e, cause)
	case cause != MissFailed:
		d.shut(e)
		d.rest(e, e.callback.retryMS)
		d.open(e)
	}
	return true
}

// times lists the points in time of a callback.
func (c *callback) times() [2]*int64 { return [...]*int64{&c.endMS, &c.untilMS} }

func (c *callback) append(b []byte) []byte {
	if b = pack.AppendBool(b, c != nil); c == nil {
		return b
	}
	b = pack.AppendInt(pack.AppendInt(pack.AppendText(b, c.number), int64(c.tries)), int64(c.tried))
	b = pack.AppendInt(b, int64(c.faults))
	for _, v := range [...]int64{c.retryMS, c.endMS, c.untilMS} {
		b = pack.AppendInt(b, v)
	}
	return b
}

// restoreCallback reads what append wrote; ok is false when that cannot be.
func restoreCallback(r *pack.Reader) (c *callback, ok bool) {
	if !r.Bool() {
		return nil, true
	}
	c = &callback{number: r.Text(), tries: readSmall(r), tried: readSmall(r), faults: readSmall(r), retryMS: readMS(r), endMS: r.Int(), untilMS: r.Int()}
	pack.Own(&c.number)
	ok = len(c.number) >= 1 && len(c.number) <= maxNumber && c.tries >= 1 && c.tries <= maxTries && c.tried >= 0 && c.tried < c.tries &&
		c.faults >= 0 && c.faults < MostFaults
	for _, t := range c.times() {
		ok = ok && *t >= -maxTimeMS && *t <= 2*maxTimeMS
	}
	return c, ok
}

package acd

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

// errSnapshot: a snapshot that no desk wrote.
var errSnapshot = errors.New("not a desk's snapshot")

// Restore makes the desk of a snapshot, also of one in the form before. One that is cut off, contradicts itself or breaks a bound is refused. Before
// it is used, Resume; until then it makes no orders, changes or records.
func Restore(snapshot []byte) (*Desk, error) {
	d := New()
	d.live = false
	r := pack.NewReader(snapshot)
	form := r.Uint()
	if form != snapshotVersion && form != snapshotUnmoved {
		return nil, fmt.Errorf("version %d, neither %d nor %d: %w", form, snapshotVersion, snapshotUnmoved, errSnapshot)
	}
	d.version, d.clockMS, d.fence, d.counted = r.Int(), readTime(r), r.Int(), r.Int()
	if d.version < 0 || d.fence < 0 || d.fence > maxFence || d.counted < 0 || d.counted > number(maxTimeMS) {
		return nil, fmt.Errorf("version, fence or figures: %w", errSnapshot)
	}
	for _, part := range [...]func(r *pack.Reader, form uint64) error{d.restoreQueues, d.restoreAgents, d.restoreEntries, d.restoreReservations,
		d.restoreSignals, d.restoreMemory} {
		if err := part(r, form); err != nil {
			return nil, err
		}
		if r.Err() != nil {
			return nil, r.Err()
		}
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	d.found()
	return d, nil
}

// maxFence leaves room above the last time there is.
const maxFence = maxTimeMS<<8 + 1<<40

// found rebuilds what is found again, and counts everybody.
func (d *Desk) found() {
	d.nowMS = d.clockMS
	d.rebuild()
	for _, id := range slices.Sorted(maps.Keys(d.agents)) {
		a := d.agents[id]
		for _, m := range a.members {
			d.recount(m)
		}
		if a.waits() {
			d.makeReady(a)
		}
		a.shown = a.view()
		a.spell = a.spells(a.shown.Bucket)
		if a.state == StateWrapUp {
			d.alarms.set(&a.alarm, a.wrapEndMS)
		}
	}
	for _, q := range d.shaken {
		q.shaken = false
	}
	d.shaken = nil
	for _, id := range slices.Sorted(maps.Keys(d.entries)) {
		d.wake(d.entries[id])
	}
	for _, r := range d.reservations() {
		if r.state != served {
			d.leases.set(&r.alarm, r.atMS+r.leaseMS())
		}
	}
}

func (d *Desk) restoreQueues(r *pack.Reader, form uint64) error {
	var one pack.Reader
	for range r.Count(2 * MaxQueues) {
		one.Reset(r.Bytes())
		q := newQueue(readQueue(&one))
		q.gone, q.ahtMS = one.Bool(), one.Int()
		q.figures.read(&one, form)
		if err := one.End(); err != nil {
			return fmt.Errorf("queue %q: %w", q.ID, err)
		}
		if q.ID == "" || d.queues[q.ID] != nil || !q.figures.right() || q.ahtMS < 0 || q.ahtMS > maxTimeMS {
			return fmt.Errorf("queue %q is nameless, there twice or has wrong figures: %w", q.ID, errSnapshot)
		}
		q.Queue.own()
		d.queues[q.ID] = q
	}
	return nil
}

// right tells whether quarter hours are in order and their sums are none below 0.
func (h history) right() bool {
	for i := range h {
		if h[i].number < 0 || h[i].number > number(maxTimeMS) || i > 0 && h[i].number <= h[i-1].number {
			return false
		}
		for _, v := range h[i].sums() {
			if *v < 0 || *v > maxSum {
				return false
			}
		}
	}
	return true
}

// maxSum is far from any overflow.
const maxSum = int64(1) << 60

func (d *Desk) restoreAgents(r *pack.Reader, form uint64) error {
	var one pack.Reader
	for range r.Count(2 * MaxAgents) {
		one.Reset(r.Bytes())
		conf := readAgent(&one)
		conf.own()
		a := newAgent(conf.UserID)
		if err := d.restoreAgent(a, &conf, &one, form); err != nil {
			return fmt.Errorf("agent %q: %w", a.id, err)
		}
		d.agents[a.id] = a
	}
	return nil
}

func (d *Desk) restoreAgent(a *agent, conf *Agent, r *pack.Reader, form uint64) error {
	for _, ms := range conf.Memberships {
		if d.queues[ms.QueueID] == nil || a.member(ms.QueueID) != nil {
			return fmt.Errorf("queue %q: %w", ms.QueueID, errSnapshot)
		}
		a.members = append(a.members, &member{Membership: ms, agent: a, signed: r.Bool(), rungAt: r.Int()})
	}
	a.conf = *conf
	a.conf.Memberships = nil
	a.status, a.reason, a.state, a.wrapQueue = r.Text(), r.Text(), r.Text(), r.Text()
	pack.Own(&a.status, &a.reason, &a.state, &a.wrapQueue)
	a.gone, a.reachable, a.calls, a.misses = r.Bool(), r.Bool(), readSmall(r), readSmall(r)
	for _, v := range a.numbers() {
		*v = r.Int()
		if *v < -maxTimeMS || *v > maxSum {
			return errSnapshot
		}
	}
	a.figures.read(r, form)
	if err := r.End(); err != nil {
		return err
	}
	if a.id == "" || d.agents[a.id] != nil || !a.figures.right() || a.countedMS > d.clockMS || !slices.IsSortedFunc(a.members, memberOrder) ||
		!slices.Contains([]string{StatusOffline, StatusAvailable, StatusOnBreak}, a.status) {
		return errSnapshot
	}
	return nil
}

func (d *Desk) restoreEntries(r *pack.Reader, form uint64) error {
	var one pack.Reader
	for range r.Count(MaxEntries) {
		one.Reset(r.Bytes())
		e := &entry{}
		if err := d.restoreEntry(e, &one, form); err != nil {
			return fmt.Errorf("entry %q: %w", e.id, err)
		}
		d.entries[e.id] = e
		if e.callback == nil {
			continue
		}
		if d.backs[e.backKey()] != nil {
			return fmt.Errorf("entry %q: its number is called back for another one: %w", e.id, errSnapshot)
		}
		d.backs[e.backKey()] = e
	}
	return nil
}

func (d *Desk) restoreEntry(e *entry, r *pack.Reader, form uint64) error {
	e.alarm.entry = e
	for _, s := range e.texts() {
		*s = r.Text()
	}
	e.queue = d.queues[r.Text()]
	e.skills = readSkills(r)
	for range r.Count(MaxAgents) {
		e.skipped = append(e.skipped, r.Text())
	}
	e.priority, e.state, e.misses, e.spoken = readSmall(r), readSmall(r), readSmall(r), readSmall(r)
	e.exitNoAgents, e.quick, e.held, e.kept = r.Bool(), r.Bool(), r.Bool(), r.Bool()
	for _, v := range e.times() {
		*v = r.Int()
		if *v < -maxTimeMS || *v > 2*maxTimeMS && *v != never {
			return errSnapshot
		}
	}
	e.called = r.Int()
	stood, moved, right := restoreRank(r, form)
	if e.rank = e.natural(); moved {
		right = right && stood != e.rank
		e.rank = stood
	}
	c, ok := restoreCallback(r)
	if e.callback = c; !ok || !right {
		return errSnapshot
	}
	if err := r.End(); err != nil {
		return err
	}
	if e.called < 0 || e.called > d.fence || c != nil && !e.kept {
		return errSnapshot
	}
	if e.id == "" || d.entries[e.id] != nil || e.queue == nil || e.state < entryWaiting || e.state >= entryOver || e.priority < 0 ||
		e.priority > 100 || e.sinceMS > e.viewMS || e.viewMS > d.clockMS || e.connectedMS > d.clockMS {
		return errSnapshot
	}
	return nil
}

func (d *Desk) restoreReservations(r *pack.Reader, _ uint64) error {
	var last int64
	for range r.Count(MaxEntries * maxRing) {
		x := &reservation{fence: r.Int(), state: readSmall(r)}
		x.agent, x.entry = d.agents[string(r.Bytes())], d.entries[string(r.Bytes())]
		x.ringMS, x.atMS = readMS(r), readTime(r)
		x.id = reservationID(x.fence)
		x.alarm.reservation = x
		if r.Err() != nil {
			return r.Err()
		}
		if x.fence <= last || x.fence > d.fence || x.state < offered || x.state > calling || x.agent == nil || x.entry == nil ||
			x.agent.reservation != nil || x.atMS > d.clockMS {
			return fmt.Errorf("reservation %q: %w", x.id, errSnapshot)
		}
		last = x.fence
		x.agent.reservation = x
		x.entry.offers = append(x.entry.offers, x)
		d.reserved[x.fence] = x
	}
	return nil
}

func (d *Desk) restoreSignals(r *pack.Reader, _ uint64) error {
	for range r.Count(1 << 20) {
		id, s := string(r.Bytes()), signal{r.Bool(), readSmall(r)}
		if _, twice := d.signals[id]; twice || d.agents[id] != nil {
			return fmt.Errorf("signals of %q are there twice: %w", id, errSnapshot)
		}
		d.signals[id] = s
	}
	return nil
}

func (d *Desk) restoreMemory(r *pack.Reader, form uint64) error {
	for range r.Count(maxPast + 1) {
		p := &pastEntry{id: string(r.Bytes()), outcome: string(r.Bytes()), sinceMS: r.Int(), overMS: r.Int(), called: r.Int()}
		var right bool
		p.rank, p.moved, right = restoreRank(r, form)
		if form != snapshotUnmoved {
			p.token = string(r.Bytes())
		}
		if !right || d.pastEntries.known[p.id] != nil || d.entries[p.id] != nil || !inTime(p.sinceMS, p.overMS) {
			return fmt.Errorf("past entry %q: %w", p.id, errSnapshot)
		}
		d.pastEntries.add(p.id, p)
	}
	for range r.Count(maxPast + 1) {
		p := &pastReservation{fence: r.Int(), why: string(r.Bytes()), claimed: r.Bool(), missed: r.Bool(), userID: string(r.Bytes()),
			entryID: string(r.Bytes()), overMS: r.Int()}
		if d.pastReservations.known[p.fence] != nil || d.reserved[p.fence] != nil || !inTime(p.overMS) || p.fence > d.fence {
			return fmt.Errorf("past reservation %d: %w", p.fence, errSnapshot)
		}
		d.pastReservations.add(p.fence, p)
	}
	for range r.Count(maxSticky) {
		k := stickyKey{string(r.Bytes()), string(r.Bytes())}
		userID, whenMS := string(r.Bytes()), r.Int()
		if d.sticky.known[k] != nil || !inTime(whenMS) {
			return fmt.Errorf("caller %q of queue %q is there twice: %w", k.number, k.queueID, errSnapshot)
		}
		d.sticky.set(k, userID, whenMS)
	}
	return nil
}

func inTime(times ...int64) bool {
	return !slices.ContainsFunc(times, func(ms int64) bool { return ms < -maxTimeMS || ms > maxTimeMS })
}

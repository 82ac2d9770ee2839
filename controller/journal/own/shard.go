package own

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// A step is what this member does with a shard.
type step uint8

const (
	idling    step = iota
	claiming       // a job writes the record and loads the shard
	owned          // served
	releasing      // a job stops serving it
)

// A shard as this member knows it.
type shard struct {
	step   step
	epoch  uint64 // while owned or releasing
	record record // the last one known
	free   time.Duration
	keep   time.Duration // not handed over before this moment
	retry  time.Duration // not claimed before this moment
	fails  int           // of Acquire, in a row
	heard  time.Duration // when the record changed last
	asked  time.Duration // when Doubt last read the record
}

// A view is what decisions about shards are made from.
type view struct {
	now       time.Duration
	name, inc string
	solo      bool
	able      []string // brains that can own shards, this one included
	settled   []string // those of them that a live owner hands over to
	dead      map[string]bool
}

// A move is what to do about a shard now.
type move uint8

const (
	stay move = iota
	claim
	yield // hand over to the first in rank
)

// ownerless says whether nobody can be serving the shard of a record.
func (v *view) ownerless(r record) bool {
	return r.seq == 0 || r.Released || v.dead[r.Inc] || (v.solo && r.Inc != v.inc)
}

// decide says what this member does about shard i, and since when the shard has had no owner (0: it has one).
func (v *view) decide(i int, s *shard) (m move, free time.Duration) {
	if v.ownerless(s.record) {
		free = s.free
		if free == 0 {
			free = v.now
		}
	}
	switch {
	case s.step == owned && v.now >= s.keep && Rank(i, v.settled)[0] != v.name:
		return yield, 0
	case s.step != idling || v.now < s.retry:
		return stay, free
	case s.record.of(v.name, v.inc):
		return claim, 0 // a claim landed that was thought lost
	case free == 0:
		return stay, 0
	}
	place := slices.Index(Rank(i, v.able), v.name)
	if place >= 0 && v.now >= free+time.Duration(place)*patience {
		return claim, free
	}
	return stay, free
}

// ownerless says so by what is known now. Under mu.
func (m *Member) ownerless(r record) bool {
	return (&view{inc: m.inc, solo: m.solo(), dead: m.dead}).ownerless(r)
}

// watchLoop looks at the shards whenever something changed, and every tick.
func (m *Member) watchLoop() {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
		}
		m.look()
	}
}

// look makes the moves that are due.
func (m *Member) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checkLease()
	if m.phase == lapsed && m.busy == 0 {
		m.bear()
	}
	if m.phase != up || !m.Serving() || m.closed {
		return
	}
	if !m.solo() {
		for _, inc := range m.suspects() {
			m.loops.Go(func() { m.vote(inc) })
		}
	}
	v := m.view()
	for i := range m.shards {
		s := &m.shards[i]
		var next move
		if next, s.free = v.decide(i, s); next == claim {
			s.keep = 0
			if Rank(i, v.able)[0] != m.cfg.Name {
				s.keep = v.now + hold
			}
			m.begin(i, claiming, m.claim)
		} else if next == yield {
			m.begin(i, releasing, m.handOver)
		}
	}
}

// view is the present one. Under mu.
func (m *Member) view() *view {
	v := &view{
		now: m.now(), name: m.cfg.Name, inc: m.inc, solo: m.solo(), dead: m.dead,
		able: []string{m.cfg.Name}, settled: []string{m.cfg.Name},
	}
	for _, s := range m.seen {
		if s.able > 0 && v.now-s.heard < Suspect && !slices.Contains(v.able, s.name) {
			v.able = append(v.able, s.name)
		}
		if s.able > 0 && v.now-s.able >= Settle && v.now-s.heard < 3*Beat && !slices.Contains(v.settled, s.name) {
			v.settled = append(v.settled, s.name)
		}
	}
	return v
}

// begin starts a job on a shard. The job ends with done. Under mu.
func (m *Member) begin(i int, next step, job func(i int)) {
	m.shards[i].step = next
	m.busy++
	go job(i)
}

// done ends a job: the shard is in the given step now. Under mu.
func (m *Member) done(i int, next step) {
	m.shards[i].step = next
	m.busy--
	if m.busy == 0 && m.phase == leaving && !m.closed {
		close(m.calm)
	}
	nudge(m.wake)
}

// claim writes this incarnation into the record of a shard and loads the shard.
func (m *Member) claim(i int) {
	m.ins <- struct{}{}
	defer func() { <-m.ins }()
	m.mu.Lock()
	term := m.term // no other begins while this job is at work
	m.mu.Unlock()
	epoch := m.win(term, i)
	if epoch == 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.done(i, idling)
		return
	}
	ctx, cancel := context.WithTimeout(term, AcquireLimit)
	err := m.cfg.Acquire(ctx, i, epoch)
	cancel()

	m.mu.Lock()
	s := &m.shards[i]
	if err == nil && term.Err() == nil && s.record.seq == epoch && m.phase == up {
		s.epoch, s.fails = epoch, 0
		m.done(i, owned)
		m.mu.Unlock()
		return
	}
	if err != nil && term.Err() == nil {
		s.retry = m.now() + min(time.Second<<min(s.fails, 10), maxBackoff)
		s.fails++
		m.cfg.Log.Error("a shard cannot be loaded; it is given back", "shard", i, "epoch", epoch, "tries", s.fails, "error", err)
	}
	s.step, s.epoch = releasing, epoch
	m.mu.Unlock()
	m.release(i)
	m.giveBack(i, epoch)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done(i, idling)
}

// win writes the record until it stands, and returns its sequence; 0 when the shard is somebody else's, or the term ended.
// After anything but a clear success the stream's leader is asked: a write that timed out may have landed.
func (m *Member) win(term context.Context, i int) uint64 {
	m.mu.Lock()
	last, inc := m.shards[i].record, m.inc
	taken := !last.of(m.cfg.Name, inc) && !m.ownerless(last) // while this job waited for its turn
	m.mu.Unlock()
	if taken {
		return 0
	}
	mine := record{Name: m.cfg.Name, Inc: inc}
	for pause := 10 * time.Millisecond; term.Err() == nil; pause = min(2*pause, maxPause) {
		var err error
		if !last.of(m.cfg.Name, inc) {
			var seq uint64
			if seq, err = m.write(term, i, last.seq, mine); err == nil {
				mine.seq = seq
				m.learn(i, mine, false)
				return seq
			}
		}
		got, readErr := m.read(term, i)
		if readErr == nil {
			m.learn(i, got, refused(err))
			if got.of(m.cfg.Name, inc) {
				return got.seq
			}
			if !m.claimable(got) {
				return 0 // somebody else was quicker
			}
			last = got
		} else if err == nil {
			err = readErr
		}
		if term.Err() == nil && err != nil && !raced(err) {
			m.complain("the owner of a shard cannot be written; trying again", err)
		}
		if !refused(err) && !wait(term, pause+rand.N(pause)) {
			break
		}
	}
	return 0
}

// claimable says whether nobody can be serving the shard of a record.
func (m *Member) claimable(r record) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ownerless(r)
}

// handOver stops serving a shard and writes that it is free, so that its first rank claims it.
func (m *Member) handOver(i int) {
	m.mu.Lock()
	epoch := m.shards[i].epoch
	m.mu.Unlock()
	m.release(i)
	m.giveBack(i, epoch)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done(i, idling)
}

// drop stops serving a shard that is another's already, or will be.
func (m *Member) drop(i int) {
	m.release(i)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done(i, idling)
}

func (m *Member) release(i int) {
	m.outs <- struct{}{}
	defer func() { <-m.outs }()
	m.cfg.Release(i)
}

// giveBack writes that the shard of an epoch is free, until that stands, somebody else has it, or the majority is lost.
func (m *Member) giveBack(i int, epoch uint64) {
	m.mu.Lock()
	r, ctx := m.shards[i].record, m.tenure
	m.mu.Unlock()
	free := record{Name: r.Name, Inc: r.Inc, Released: true}
	for pause := 10 * time.Millisecond; ctx.Err() == nil && !m.cfg.NC.IsClosed() && r.seq == epoch && !r.Released; pause = min(2*pause, maxPause) {
		seq, err := m.write(ctx, i, epoch, free)
		if err == nil {
			free.seq = seq
			m.learn(i, free, false)
			return
		}
		if got, readErr := m.read(ctx, i); readErr == nil {
			m.learn(i, got, refused(err))
			r = got
		}
		if r.seq == epoch && !wait(ctx, pause+rand.N(pause)) {
			return
		}
	}
}

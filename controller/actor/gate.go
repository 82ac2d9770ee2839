package actor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/presence"
)

// gated is the part of a request that its asker and its shard share.
type gated struct {
	applied   atomic.Bool // reply and err can be read
	committed atomic.Bool // the journal holds it
	hurry     atomic.Bool // the asker no longer waits for the journal
	failed    atomic.Pointer[error]
	done      chan struct{} // room for one: nobody who signals ever waits
}

func (r *request) signal() {
	select {
	case r.done <- struct{}{}:
	default:
	}
}

// applyDone tells that the machine has answered; the asker hears of it only when it is in a hurry.
func (r *request) applyDone() {
	r.applied.Store(true)
	if r.class == ClassSoft || r.hurry.Load() {
		r.signal()
	}
}

func (r *request) commit() {
	r.committed.Store(true)
	r.signal()
}

// fail ends a request that will never be committed.
func (r *request) fail(err error) {
	r.failed.Store(&err)
	r.signal()
}

// timers are used again, one at a time: each request needs one, and few of them ever ring.
type timers struct{ sync.Pool }

func (p *timers) start(wait time.Duration) *time.Timer {
	if t, ok := p.Get().(*time.Timer); ok {
		t.Reset(wait)
		return t
	}
	return time.NewTimer(wait)
}

func (p *timers) stop(t *time.Timer) {
	t.Stop()
	p.Put(t)
}

// patience is how long an answer waits for the journal; 0 = as long as its asker does.
func (c Class) patience() time.Duration {
	switch c {
	case ClassStep:
		return StepWait
	case ClassAdmission:
		return AdmissionWait
	}
	return 0
}

// wait returns the answer as soon as the request's class allows.
func (r *request) wait(ctx context.Context, t *timers) (Reply, error) {
	var patience <-chan time.Time
	if wait := r.class.patience(); wait > 0 {
		timer := t.start(wait)
		defer t.stop(timer)
		patience = timer.C
	}
	for {
		select {
		case <-r.done:
			return r.result()
		case <-ctx.Done():
			return Reply{}, brain.Errorf(brain.EUnavailable, "no answer of %s in time: %s", r.id, context.Cause(ctx))
		case <-patience:
			if r.class == ClassStep {
				return Reply{}, brain.Errorf(brain.EUnavailable, "the journal did not acknowledge within %v", StepWait)
			}
			patience = nil
			r.hurry.Store(true)
			if r.applied.Load() {
				return r.result()
			}
		}
	}
}

func (r *request) result() (Reply, error) {
	if failed := r.failed.Load(); failed != nil {
		return Reply{}, *failed
	}
	if r.err != nil {
		return Reply{}, r.err
	}
	return Reply{Data: r.reply, Unlogged: !r.committed.Load()}, nil
}

// effect is what one live object wants done outside.
type effect struct {
	id string
	presence.Effects
	tasks []balance.Task // of a wallet
}

// batch is one message of the journal: records with the requests and the effects that wait for them, or a part of a
// snapshot.
type batch struct {
	data        []byte
	waiting     []*request
	effects     []effect
	part        bool
	first, last bool
}

// gate keeps what has been applied and is not yet in the journal, in order. The shard's loop puts in, its
// committer takes out.
type gate struct {
	mu      sync.Mutex
	batches []*batch
	parts   []*batch // of a snapshot whose first part is in batches or written: they go between the batches
	flying  bool     // the committer is writing one
	pending int      // requests in batches and in flight
	failed  error
	perform func(effect)  // tells of an effect that the journal vouches for
	more    chan struct{} // room for one: something to write
	room    chan struct{} // room for one: something was written
}

func newGate(perform func(effect)) *gate {
	return &gate{perform: perform, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put hands over records and the requests and effects that wait for them. Without records and with nothing before them
// they are released at once.
func (g *gate) put(data []byte, waiting []*request, effects []effect) {
	g.mu.Lock()
	switch {
	case g.failed != nil:
		err := g.failed
		g.mu.Unlock()
		for _, r := range waiting {
			r.fail(err)
		}
		return
	case len(data) == 0 && len(g.batches) == 0 && !g.flying:
		g.mu.Unlock()
		for _, r := range waiting {
			r.commit()
		}
		for _, e := range effects {
			g.perform(e)
		}
		return
	}
	g.pending += len(waiting)
	last := len(g.batches) - 1
	if last < 0 || g.batches[last].part || len(g.batches[last].data)+len(data) > maxBatch {
		g.batches = append(g.batches, &batch{})
		last++
	}
	b := g.batches[last]
	b.data, b.waiting, b.effects = append(b.data, data...), append(b.waiting, waiting...), append(b.effects, effects...)
	g.mu.Unlock()
	nudge(g.more)
}

// putSnapshot hands over a snapshot of everything put so far.
func (g *gate) putSnapshot(data []byte) {
	var parts []*batch
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), partSize)
		parts = append(parts, &batch{part: true, first: first, data: data[:n]})
		data = data[n:]
	}
	parts[len(parts)-1].last = true
	g.mu.Lock()
	g.batches, g.parts = append(g.batches, parts[0]), parts[1:]
	g.mu.Unlock()
	nudge(g.more)
}

// snapshotting tells whether a snapshot is still being written.
func (g *gate) snapshotting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.parts) > 0 {
		return true
	}
	for _, b := range g.batches {
		if b.part {
			return true
		}
	}
	return false
}

// next takes out what is to be written next; nil when there is nothing. Parts of a snapshot alternate with
// records once the first part, which marks its place, is out.
func (g *gate) next(afterPart bool) *batch {
	g.mu.Lock()
	defer g.mu.Unlock()
	firstOut := true
	for _, b := range g.batches {
		firstOut = firstOut && !b.first
	}
	var b *batch
	switch {
	case len(g.parts) > 0 && firstOut && (!afterPart || len(g.batches) == 0):
		b, g.parts = g.parts[0], g.parts[1:]
	case len(g.batches) > 0:
		b = g.batches[0]
		g.batches[0] = nil
		g.batches = g.batches[1:]
	}
	g.flying = b != nil
	return b
}

// written releases the requests and the effects of a batch.
func (g *gate) written(b *batch) {
	for _, r := range b.waiting {
		r.commit()
	}
	for _, e := range b.effects {
		g.perform(e)
	}
	g.mu.Lock()
	g.pending -= len(b.waiting)
	g.flying = false
	g.mu.Unlock()
	nudge(g.room)
}

// fail ends everything that waits, and all that is put later. Effects are void with their records.
func (g *gate) fail(b *batch, err error) {
	g.mu.Lock()
	g.failed = err
	all := g.batches
	g.batches, g.parts, g.flying, g.pending = nil, nil, false, 0
	g.mu.Unlock()
	if b != nil {
		all = append(all, b)
	}
	for _, b := range all {
		for _, r := range b.waiting {
			r.fail(err)
		}
	}
	nudge(g.room)
}

// full tells whether the journal is so far behind that nothing more may be applied.
func (g *gate) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pending >= maxPending || len(g.batches) > 16 && g.failed == nil
}

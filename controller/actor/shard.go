package actor

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/pack"
)

// shard runs the actors of one shard in one goroutine, and their group commit in another.
type shard struct {
	host  *Host
	n     int
	epoch uint64
	log   Log
	gate  *gate
	wake  chan struct{}
	stop  context.CancelFunc // of the write under way
	over  chan struct{}      // closed when both goroutines have ended

	mu      sync.Mutex // guards what is below
	queue   []*request
	waiting map[string]int // of queue, by actor
	control []func()
	closing bool
	parting bool // the next owner is waiting: leave it a snapshot

	// Touched by the loop only, and before it starts.
	objects map[string]*object
	calls   int // of objects
	due     dueHeap
	lastMS  int64
	records int // since the last snapshot
	written int // their bytes
	weight  int // bytes of the last snapshot

	// What was applied and is not handed over yet, all of it in the order in which it was applied.
	out     []byte     // records; its room is used again
	done    []*request // that wait for them
	effects []effect   // that may leave once they are written
}

func newShard(h *Host, n int, epoch uint64) *shard {
	perform := func(e effect) {
		if len(e.tasks) > 0 {
			h.Tasks(e.id, e.tasks)
			return
		}
		h.Effects(e.id, e.Effects)
	}
	return &shard{host: h, n: n, epoch: epoch, gate: newGate(perform), wake: make(chan struct{}, 1), over: make(chan struct{}),
		waiting: map[string]int{}, objects: map[string]*object{}}
}

// load builds the machines from the journal and takes the shard over.
func (s *shard) load(ctx context.Context) error {
	var snap []byte
	log, err := s.host.Open(ctx, s.n, s.epoch,
		func(part []byte, last bool) error {
			if snap = append(snap, part...); !last {
				return nil
			}
			defer func() { snap = nil }()
			return s.restore(snap)
		},
		s.replay)
	if err != nil {
		return err
	}
	s.log = log
	now := s.now()
	for _, o := range s.objects {
		o.machine.Effects() // of the past: what still holds is given again
		o.machine.Resume(now)
		s.collect(o)
		s.settle(o)
	}
	if len(s.effects) > 0 {
		nudge(s.wake) // they leave with the loop's first pass: this brain serves the shard then
	}
	return nil
}

// restore reads a snapshot of the whole shard.
func (s *shard) restore(data []byte) error {
	clear(s.objects)
	s.due, s.calls, s.records, s.written, s.weight = nil, 0, 0, 0, len(data)
	return EachState(data, func(id string, state []byte) error {
		m, err := s.host.Restore(id, state)
		if err != nil {
			return fmt.Errorf("snapshot of shard %d: %w", s.n, err)
		}
		s.put(id, m)
		return nil
	})
}

// replay applies one message of the journal.
func (s *shard) replay(data []byte) error {
	s.written += len(data)
	return EachRecord(data, func(id string, nowMS int64, op []byte) error {
		s.lastMS = max(s.lastMS, nowMS)
		s.records++
		o := s.object(id)
		if o == nil {
			return fmt.Errorf("more than %d actors in shard %d", maxActors, s.n)
		}
		if _, _, err := o.machine.Apply(nowMS, op); err != nil {
			return fmt.Errorf("replay shard %d, %s: %w", s.n, id, err)
		}
		s.settle(o)
		return nil
	})
}

// submit puts a request into its actor's mailbox.
func (s *shard) submit(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return ErrNoOwner
	case s.waiting[r.id] >= MailboxSize:
		return brain.Errorf(brain.EUnavailable, "the mailbox of %s is full", r.id)
	case len(s.queue) >= queueSize:
		return brain.Errorf(brain.EUnavailable, "shard %d is overloaded", s.n)
	}
	s.queue = append(s.queue, r)
	s.waiting[r.id]++
	nudge(s.wake)
	return nil
}

// do runs f in the loop, after what is queued; dropped when too many wait: for what comes again by itself.
func (s *shard) do(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.control) >= controlSize {
		return false
	}
	s.control = append(s.control, f)
	nudge(s.wake)
	return true
}

func (s *shard) take(spare []*request) (reqs []*request, control []func(), closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reqs, s.queue = s.queue, spare[:0]
	control, s.control = s.control, nil
	clear(s.waiting)
	return reqs, control, s.closing
}

// run is the loop. It ends when the shard is closed and everything taken is applied, or on a fault.
func (s *shard) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var spare []*request
	for {
		s.arm(timer)
		select {
		case <-s.wake:
		case <-timer.C:
		}
		for s.gate.full() {
			<-s.gate.room
		}
		reqs, control, closing := s.take(spare)
		if !s.pass(reqs, control) {
			return
		}
		clear(reqs)
		spare = reqs
		if closing {
			s.part()
			return
		}
	}
}

func (s *shard) arm(timer *time.Timer) {
	wait := time.Hour
	if len(s.due) > 0 {
		wait = max(0, time.Duration(s.due[0].dueMS-s.host.Now().UnixMilli())*time.Millisecond)
	}
	timer.Reset(wait)
}

// object returns the actor of an id, making it; nil when there is no room.
func (s *shard) object(id string) *object {
	o := s.objects[id]
	if o != nil || len(s.objects) >= maxActors {
		return o
	}
	if _, call := brain.IsCallObject(id); call && s.calls >= maxCalls {
		return nil
	}
	return s.put(id, s.host.New(id))
}

func (s *shard) put(id string, m Machine) *object {
	o := &object{id: id, machine: m, index: -1}
	s.objects[id] = o
	if _, call := brain.IsCallObject(id); call {
		s.calls++
	}
	return o
}

// settle sets the actor's alarm anew, or forgets an actor that holds nothing.
func (s *shard) settle(o *object) {
	if o.machine.Empty() && o.feed == nil {
		if o.index >= 0 {
			heap.Remove(&s.due, o.index)
		}
		if s.objects[o.id] == o {
			delete(s.objects, o.id)
			if _, call := brain.IsCallObject(o.id); call {
				s.calls--
			}
		}
		return
	}
	at, ok := o.deadline()
	switch {
	case !ok && o.index >= 0:
		heap.Remove(&s.due, o.index)
	case ok && o.index < 0:
		o.dueMS = at
		heap.Push(&s.due, o)
	case ok && o.dueMS != at:
		o.dueMS = at
		heap.Fix(&s.due, o.index)
	}
}

// snapshot hands over a snapshot when enough was written since the last one: as much as that one has, so that a shard with
// a hundred thousand calls does not spend its time on snapshots.
func (s *shard) snapshot() {
	if s.records >= s.host.SnapshotEvery && s.written >= s.weight && !s.gate.snapshotting() {
		s.putSnapshot()
	}
}

// partingRecords is how many records the next owner is left to replay: fewer than are read one by one.
const partingRecords = 32

// part leaves a snapshot to the next owner when it would have much to replay, and nobody is served meanwhile.
func (s *shard) part() {
	s.mu.Lock()
	parting := s.parting
	s.mu.Unlock()
	if parting && s.records > partingRecords && !s.gate.snapshotting() {
		s.putSnapshot()
	}
}

func (s *shard) putSnapshot() {
	b := make([]byte, 0, s.weight*5/4)
	for id, o := range s.objects {
		b = pack.AppendNested(pack.AppendText(b, id), o.machine.AppendSnapshot)
	}
	s.records, s.written, s.weight = 0, 0, len(b)
	s.gate.putSnapshot(b)
}

// close takes no more requests; those in the queue are still applied.
func (s *shard) close(parting bool) {
	s.mu.Lock()
	s.closing = true
	s.parting = s.parting || parting
	s.mu.Unlock()
	nudge(s.wake)
}

// refuseRest ends what came in after the loop had ended.
func (s *shard) refuseRest() {
	s.mu.Lock()
	s.closing = true
	rest := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, r := range rest {
		r.fail(ErrNoOwner)
	}
}

package actor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/pack"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/session"
)

// Host runs the actors of the shards that this brain owns. Set the fields before the first Acquire.
type Host struct {
	Open          OpenLog
	New           func(id string) Machine
	Restore       func(id string, snapshot []byte) (Machine, error)
	Now           func() time.Time
	Log           *slog.Logger
	SnapshotEvery int                                      // records of a shard between two snapshots
	Serving       func(shard int, epoch uint64) bool       // this brain may answer for the shard without writing
	OnLost        func(shard int, epoch uint64, err error) // a shard ended by itself: replaced (fenced) or broken
	Publish       func(id string, delta []byte)            // one change of a watched account, best effort
	Env           func(accountID string) *session.Env      // what sessions see of the configuration now; nil = no such account

	// Effects takes what a live object wants done, never before the journal holds what led to it, and of one shard in the
	// order of its journal. It must not wait: the shard's writes stand still meanwhile. What a lost shard had not written is
	// never given out. The next owner gives again what still holds, told or not, see Machine.Resume: the same may come twice.
	Effects func(id string, e presence.Effects)
	// Tasks takes, in the same way, what the wallet of an account wants done. id is brain.WalletObject of the account.
	Tasks func(id string, tasks []balance.Task)

	shards [brain.Shards]atomic.Pointer[shard]
	timers timers
	mu     sync.Mutex // guards taking
	taking [brain.Shards]bool
}

// NewHost makes a host of the machines of brain/presence and brain/session with the defaults of production.
func NewHost(open OpenLog) *Host {
	return &Host{
		Open:          open,
		New:           newMachine,
		Restore:       restoreMachine,
		Now:           time.Now,
		Log:           slog.Default(),
		SnapshotEvery: 10_000,
		Serving:       func(int, uint64) bool { return true },
		OnLost:        func(int, uint64, error) {},
		Publish:       func(string, []byte) {},
		Env:           func(string) *session.Env { return nil },
		Effects:       func(string, presence.Effects) {},
		Tasks:         func(string, []balance.Task) {},
	}
}

// Acquire reads a shard's journal, takes it over with the epoch and begins to serve it.
func (h *Host) Acquire(ctx context.Context, n int, epoch uint64) error {
	h.mu.Lock()
	if h.taking[n] || h.shards[n].Load() != nil {
		h.mu.Unlock()
		return fmt.Errorf("shard %d is already owned here", n)
	}
	h.taking[n] = true
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.taking[n] = false
		h.mu.Unlock()
	}()
	s := newShard(h, n, epoch)
	if err := s.load(ctx); err != nil {
		return err
	}
	h.shards[n].Store(s)
	s.start()
	return nil
}

// start runs the shard's two goroutines until it ends.
func (s *shard) start() {
	loopOver := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		defer close(loopOver)
		s.run()
		s.host.shards[s.n].CompareAndSwap(s, nil)
		s.refuseRest()
	}()
	go func() {
		defer close(s.over)
		defer s.log.Close()
		defer cancel()
		s.commitAll(ctx, loopOver)
		<-loopOver
	}()
}

// Release stops serving a shard: what was taken is applied and written first, for as long as ctx allows.
func (h *Host) Release(ctx context.Context, n int) { h.release(ctx, n, false) }

// HandOver is Release for an owner that may still write: it leaves a snapshot behind, so that the next owner has little
// to replay and serves at once.
func (h *Host) HandOver(ctx context.Context, n int) { h.release(ctx, n, true) }

func (h *Host) release(ctx context.Context, n int, parting bool) {
	s := h.shards[n].Load()
	if s == nil {
		return
	}
	s.close(parting)
	select {
	case <-s.over:
	case <-ctx.Done():
		s.stop()
		<-s.over
	}
}

// Close releases every shard.
func (h *Host) Close(ctx context.Context) {
	var all sync.WaitGroup
	for n := range h.shards {
		all.Go(func() { h.Release(ctx, n) })
	}
	all.Wait()
}

// forget is told by a shard that it has ended by itself.
func (h *Host) forget(s *shard, err error) {
	if h.shards[s.n].CompareAndSwap(s, nil) {
		go h.OnLost(s.n, s.epoch, err)
	}
}

// Owned tells whether a shard is served here.
func (h *Host) Owned(n int) bool { return h.shards[n].Load() != nil }

// Do runs one operation on the machine of id and returns its answer when the class allows. It fails with
// ErrNoOwner when the shard is not served here, with brain.EUnavailable when a mailbox is full, the journal does
// not acknowledge in time or ctx ends; the operation may then still take effect. brain.EInvalid: it is larger than MaxOp.
func (h *Host) Do(ctx context.Context, id string, class Class, op []byte) (Reply, error) {
	if err := checkOp(id, op); err != nil {
		return Reply{}, err
	}
	return h.send(ctx, &request{id: id, class: class, op: op})
}

// Query asks the machine of id without changing it. The answer leaves when everything that it may have seen
// is in the journal, and never from a brain that may have been replaced.
func (h *Host) Query(ctx context.Context, id string, question []byte) ([]byte, error) {
	reply, err := h.send(ctx, &request{id: id, class: ClassStep, ask: func(_ *shard, o *object, now int64) ([]byte, error) {
		return o.machine.Query(now, question)
	}})
	return reply.Data, err
}

// send puts a request before its machine. What the journal does not vouch for leaves only while this brain may
// still answer for the shard.
func (h *Host) send(ctx context.Context, r *request) (Reply, error) {
	s := h.shards[brain.ShardOfObject(r.id)].Load()
	if s == nil {
		return Reply{}, ErrNoOwner
	}
	r.done = make(chan struct{}, 1)
	if err := s.submit(r); err != nil {
		return Reply{}, err
	}
	reply, err := r.wait(ctx, &h.timers)
	if err == nil && (reply.Unlogged || !r.changed) && !h.Serving(s.n, s.epoch) {
		return Reply{}, ErrNoOwner
	}
	return reply, err
}

// Observe shows a node's complete dialog report to every actor served here; of is its dialogs by account. A
// shard too busy to look misses it: the next report says it again.
func (h *Host) Observe(base presence.Report, of map[string][]presence.Dialog) {
	for n := range h.shards {
		if s := h.shards[n].Load(); s != nil {
			s.do(func() { s.observe(base, of) })
		}
	}
}

// ids lists the accounts of a shard served here, each as a text of brain/pack.
func (h *Host) ids(ctx context.Context, n int) ([]byte, error) {
	return h.look(ctx, n, func(s *shard) []byte {
		var b []byte
		for id := range s.objects {
			if !strings.Contains(id, "/") { // a node, a call, locks
				b = pack.AppendText(b, id)
			}
		}
		return b
	})
}

// look runs f in the loop of a shard served here.
func (h *Host) look(ctx context.Context, n int, f func(s *shard) []byte) ([]byte, error) {
	s := h.shards[n].Load()
	if s == nil {
		return nil, ErrNoOwner
	}
	answer := make(chan []byte, 1)
	if !s.do(func() { answer <- f(s) }) {
		return nil, brain.Errorf(brain.EUnavailable, "shard %d is busy", n)
	}
	select {
	case b := <-answer:
		return b, nil
	case <-s.over:
		return nil, ErrNoOwner
	case <-ctx.Done():
		return nil, brain.Errorf(brain.EUnavailable, "shard %d does not answer: %s", n, context.Cause(ctx))
	}
}

// Package own says which brain owns which shard of the accounts, among several brains on one NATS cluster.
//
// The owner of a shard is the last record of subject own.<shard> in the stream OWN. A record is written by
// compare-and-set on that subject; its sequence in the stream is the epoch of the ownership, and only grows.
//
// An owner may answer only while it is Serving: while a majority of the brains acknowledged a heartbeat that it sent
// less than Trust ago, by its own monotonic clock. When that lapses, the incarnation is over for good: the member gives up
// all shards and goes on as a new incarnation. So a record may be overwritten as soon as a majority of the brains says,
// within a moment, that it acknowledged nothing of its incarnation for Suspect, which is longer than Trust. Nobody else
// takes a shard from an incarnation; a live owner hands over by itself.
//
// What is durable is fenced once more, by the compare-and-set chain of the journal; this package keeps the answers from
// memory honest, and finds an owner soon.
package own

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

const (
	// Beat is the time between two heartbeats.
	Beat = 200 * time.Millisecond
	// Trust is how long an acknowledged heartbeat carries, counted from when it was sent.
	Trust = 1200 * time.Millisecond
	// Suspect is how long an incarnation must have been silent before it can be declared dead. It is longer than Trust
	// by more than the time a vote takes (voteWindow): who is declared dead knew it before.
	Suspect = 1500 * time.Millisecond
	// Settle is how long a brain must have been able to own before a live owner hands a shard over to it.
	Settle = time.Second
	// Move is how long a shard may be on its way after its owner changed, before it counts as not served by anybody. A
	// busy machine takes a good part of it to load one; who asks waits no longer than its own patience.
	Move = time.Second
	// AcquireLimit is how long Config.Acquire may take.
	AcquireLimit = 30 * time.Second

	voteWindow = 200 * time.Millisecond
	tick       = 50 * time.Millisecond
	patience   = time.Second      // what each later rank waits longer for an ownerless shard
	hold       = time.Minute      // how long a shard taken out of turn is kept: its first rank failed it a moment ago
	parallel   = 8                // shards claimed, and shards released, at once
	maxBackoff = 30 * time.Second // between two tries to acquire a shard
)

// Config is what a member needs. NC, JS, Name, Peers, Acquire and Release are required.
type Config struct {
	NC       *nats.Conn          // best a connection of its own: heartbeats should not queue behind other traffic
	JS       jetstream.JetStream // on the same cluster
	Name     string              // of this brain; stable over restarts, one of Peers
	Peers    []string            // the names of all brains of the cluster, this one included; majority is counted over them
	Replicas int                 // of stream OWN: 1 on one server (default), 3 on a cluster
	Log      *slog.Logger        // default: slog.Default()

	// Acquire loads a shard and begins to serve it under an epoch. It is called without a lock, up to 8 shards at once.
	// Its context ends when the shard must not be served any more. With an error the shard is given back.
	Acquire func(ctx context.Context, shard int, epoch uint64) error
	// Release stops serving a shard and writes out what waits; it returns when that is done. It is also called when the
	// shard was lost, and must bear being called for a shard that is not served any more.
	Release func(shard int)
}

// A phase of a member's life.
type phase uint8

const (
	up      phase = iota // takes part
	lapsed               // lost its majority, and still releases shards
	leaving              // hands everything over
)

// Member is one brain's part in owning the shards.
type Member struct {
	cfg    Config
	need   int // how many of Peers are a majority
	start  time.Time
	stream jetstream.Stream
	inbox  string

	// until is the moment (nanoseconds since start) up to which a majority stands behind this incarnation.
	// 0: nobody does. Written under mu.
	until atomic.Int64

	ctx      context.Context // of the member's loops; ends with Leave
	stop     context.CancelFunc
	loops    sync.WaitGroup
	ins      chan struct{} // a place for each claim at work
	outs     chan struct{} // a place for each release at work
	wake     chan struct{} // look at the shards now
	pulse    chan struct{} // send a heartbeat now
	resweep  chan struct{} // read all records now
	subs     []*nats.Subscription
	lastFail atomic.Int64 // when a fault of the stream was last logged

	mu      sync.Mutex
	phase   phase
	closed  bool
	busy    int           // shards that a job works on
	calm    chan struct{} // closed when the member leaves and no job is at work
	inc     string        // this incarnation
	lease   lease
	tenure  context.Context // ends with the majority: what the incarnation may write
	lapse   context.CancelFunc
	term    context.Context // ends with the tenure, and when the member leaves: what it may claim
	endTerm context.CancelFunc
	seen    map[string]*sighting // of other incarnations, by incarnation
	dead    map[string]bool      // incarnations that can never serve again
	voting  map[string]bool      // incarnations a vote is under way about
	strange map[string]bool      // names already complained of
	shards  [brain.Shards]shard
}

// Join makes this brain a member. It creates the stream when it is missing, reads who owns what, and returns; shards come
// and go through Acquire and Release from then on. ctx bounds the joining only. An error means that the configuration is
// wrong, or that the cluster did not answer until ctx ended.
func Join(ctx context.Context, cfg Config) (*Member, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Member{
		cfg: cfg, need: len(cfg.Peers)/2 + 1, start: time.Now(), inbox: nats.NewInbox(), inc: rand.Text(),
		ins: make(chan struct{}, parallel), outs: make(chan struct{}, parallel),
		wake: make(chan struct{}, 1), pulse: make(chan struct{}, 1), resweep: make(chan struct{}, 1), calm: make(chan struct{}),
		seen: map[string]*sighting{}, dead: map[string]bool{}, voting: map[string]bool{}, strange: map[string]bool{},
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.newTerm()
	if err := m.open(ctx); err != nil {
		m.close()
		return nil, fmt.Errorf("join the cluster as %s: %w", cfg.Name, err)
	}
	if m.solo() {
		m.until.Store(math.MaxInt64)
	}
	for _, loop := range []func(){m.beatLoop, m.sweepLoop, m.watchLoop} {
		m.loops.Go(loop)
	}
	return m, nil
}

func (c *Config) check() error {
	c.Peers = slices.Compact(slices.Sorted(slices.Values(c.Peers)))
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	switch {
	case c.NC == nil || c.JS == nil || c.Acquire == nil || c.Release == nil:
		return brain.Errorf(brain.EInvalid, "owning shards needs a connection, JetStream, Acquire and Release")
	case len(c.Peers) > maxPeers:
		return brain.Errorf(brain.EInvalid, "%d brains: at most %d make a cluster", len(c.Peers), maxPeers)
	case !slices.Contains(c.Peers, c.Name):
		return brain.Errorf(brain.EInvalid, "this brain's name %q is not among the brains of the cluster %q", c.Name, c.Peers)
	}
	for _, name := range c.Peers {
		if name == "" || len(name) > maxName {
			return brain.Errorf(brain.EInvalid, "name of a brain %q: 1 to %d bytes", name, maxName)
		}
	}
	return nil
}

// open does what can fail in joining: stream, subscriptions, first reading of all records.
func (m *Member) open(ctx context.Context) error {
	if err := m.openStream(ctx); err != nil {
		return err
	}
	if err := m.listen(); err != nil {
		return err
	}
	return m.readAll(ctx)
}

// listen subscribes to what the other brains say, and to the records as they are written.
func (m *Member) listen() error {
	for subject, hear := range map[string]nats.MsgHandler{
		subjectBeat: m.hearBeat, subjectBye: m.hearBye, subjectAsk: m.hearAsk, m.inbox: m.hearAck, hintPrefix + "*": m.hearHint,
	} {
		sub, err := m.cfg.NC.Subscribe(subject, hear)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		m.subs = append(m.subs, sub)
		if err := sub.SetPendingLimits(4096, 4<<20); err != nil {
			return fmt.Errorf("bound what waits of %s: %w", subject, err)
		}
	}
	return nil
}

// Leave hands every shard over and says good-bye, so that the others take them at once. It returns an error when ctx
// ended before all was handed over; the member is gone nevertheless, and its shards are found by the others' suspicion.
func (m *Member) Leave(ctx context.Context) error {
	m.mu.Lock()
	if m.phase == leaving {
		m.mu.Unlock()
		return nil
	}
	m.phase = leaving
	m.endTerm()
	for i := range m.shards {
		if m.shards[i].step == owned {
			m.begin(i, releasing, m.handOver)
		}
	}
	if m.busy == 0 {
		close(m.calm)
	}
	m.mu.Unlock()
	nudge(m.pulse) // the others hear that this member takes no more shards

	err := m.settle(ctx)
	m.mu.Lock()
	m.closed = true
	m.until.Store(0)
	inc := m.inc
	m.mu.Unlock()
	if err == nil {
		m.say(subjectBye, "", notice{Name: m.cfg.Name, Inc: inc})
		if flushErr := m.cfg.NC.FlushWithContext(ctx); flushErr != nil {
			err = fmt.Errorf("say good-bye: %w", flushErr)
		}
	}
	m.close()
	return err
}

// settle waits until no shard is served or being worked on.
func (m *Member) settle(ctx context.Context) error {
	select {
	case <-m.calm:
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := 0
	for i := range m.shards {
		if s := &m.shards[i]; s.step != idling || s.record.of(m.cfg.Name, m.inc) {
			rest++
		}
	}
	if rest > 0 {
		return fmt.Errorf("%d shards were not handed over; the other brains take them in %v", rest, Suspect)
	}
	return nil
}

// close ends the loops and subscriptions.
func (m *Member) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	for _, sub := range m.subs {
		_ = sub.Unsubscribe() // fails only on a closed connection, where nothing is left to unsubscribe
	}
	m.loops.Wait()
}

// newTerm makes the contexts of an incarnation. Under mu.
func (m *Member) newTerm() {
	m.tenure, m.lapse = context.WithCancel(m.ctx)
	m.term, m.endTerm = context.WithCancel(m.tenure)
}

// now is the monotonic time since the member started. It goes on while the process is stopped.
func (m *Member) now() time.Duration { return time.Since(m.start) }

// solo: the only brain there is needs nobody's consent.
func (m *Member) solo() bool { return len(m.cfg.Peers) == 1 }

// nudge wakes a loop; one nudge that waits is enough.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package controller

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/journal"
	"github.com/sipio/sipio/controller/journal/own"
)

const (
	journalFolder = "journal"
	// releaseTime is how long a shard that is handed over may take to write what it has applied.
	releaseTime = 3 * time.Second
	// joinTime bounds the first contact with the journal.
	joinTime = time.Minute
	// subjectReport carries dialog reports to every brain, subjectDelta the changes of a watched account.
	subjectReport = "report"
	subjectDelta  = "delta."
)

// live is the live state of this brain: the journal, the shards it owns, and the way to those it does not.
type live struct {
	bus      *journal.Bus
	host     *actor.Host
	presence *actor.Presence
	member   atomic.Pointer[own.Member]
	log      *slog.Logger
	stops    []func()

	mu     sync.Mutex           // guards serves
	serves [brain.Shards]func() // end the answering of what other brains pass on
}

// journalConfig is how this brain reaches its journal.
func journalConfig(cfg Config, log *slog.Logger) journal.Config {
	c := journal.Config{AcceptLoss: cfg.AcceptLoss, NodeListen: cfg.NodeListen, Log: log}
	if len(cfg.BusURLs) == 0 {
		c.Dir = filepath.Join(cfg.DataDir, journalFolder)
		return c
	}
	c.URLs, c.CredsFile, c.CAFile = cfg.BusURLs, cfg.BusCredsFile, cfg.BusCAFile
	return c
}

// openLive opens everything but ownership: join begins to own.
func openLive(bus *journal.Bus, store *config.Store, log *slog.Logger, cluster bool) (*live, error) {
	l := &live{bus: bus, log: log}
	l.host = actor.NewHost(l.openLog)
	l.host.Log = log
	l.host.Publish = func(id string, delta []byte) { _ = bus.Publish(subjectDelta+id, delta) } // watchers notice a gap
	l.presence = &actor.Presence{Live: &actor.Live{Host: l.host}, SubscribeTo: l.subscribe}
	if !cluster {
		return l, nil
	}
	l.presence.Live.Ask = l.ask
	l.presence.Live.IsNoOwner = func(err error) bool {
		return errors.Is(err, journal.ErrNoOwner) || errors.Is(err, journal.ErrCutOff)
	}
	l.presence.Broadcast = func(report []byte) error { return bus.Publish(subjectReport, deflate(report)) }
	stop, err := bus.Subscribe(subjectReport, func(data []byte) {
		report, err := inflate(data)
		if err == nil {
			err = l.presence.Reported(store.Directory(), report)
		}
		if err != nil {
			log.Warn("a dialog report of another brain cannot be read", "err", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen for dialog reports: %w", err)
	}
	l.stops = append(l.stops, stop)
	return l, nil
}

// openLog opens one shard's journal for the actors.
func (l *live) openLog(ctx context.Context, shard int, epoch uint64, snapshot func([]byte, bool) error, record func([]byte) error) (actor.Log, error) {
	return l.bus.Shard(ctx, shard, epoch, journal.Loader{
		Snapshot: snapshot,
		Record:   func(_ uint64, data []byte) error { return record(data) },
	})
}

// subscribe delivers the deltas of an account, whichever brain serves it.
func (l *live) subscribe(id string, fn func(api.Numbered)) (stop func(), err error) {
	return l.bus.Subscribe(subjectDelta+id, func(data []byte) {
		if d, err := actor.ReadDelta(data); err == nil {
			fn(d)
		}
	})
}

const (
	askPause      = 10 * time.Millisecond  // between two tries to ask the owner of a shard
	reconnectTime = 200 * time.Millisecond // within which a connection to another NATS server is usually there
)

// ask passes a question on to the owner of a shard. While the shard is on its way from one brain to another, or this
// brain on its way to another NATS server, it is asked again, for a moment; a shard that nobody serves for longer is
// told at once.
func (l *live) ask(ctx context.Context, shard int, data []byte) ([]byte, error) {
	m := l.member.Load()
	if m == nil {
		return nil, journal.ErrNoOwner
	}
	began := time.Now()
	for {
		err := journal.ErrNoOwner
		if owner, epoch := m.Owner(shard); owner != "" {
			var reply []byte
			if reply, err = l.bus.Ask(ctx, shard, epoch, data); !l.presence.Live.IsNoOwner(err) {
				return reply, err
			}
		}
		if errors.Is(err, journal.ErrCutOff) {
			if time.Since(began) > reconnectTime {
				return nil, err
			}
		} else if m.Doubt(shard); !m.Moving(shard) {
			return nil, err
		}
		select {
		case <-time.After(askPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// join makes this brain an owner of shards. Alone it returns once it serves all of them.
func (l *live) join(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	l.host.Serving = func(shard int, epoch uint64) bool {
		m := l.member.Load()
		return m != nil && m.Serves(shard, epoch)
	}
	l.host.OnLost = func(shard int, epoch uint64, _ error) {
		if m := l.member.Load(); m != nil {
			m.Lost(shard, epoch)
		}
	}
	beats, err := l.bus.Dial()
	if err != nil {
		return err
	}
	l.stops = append(l.stops, beats.Close)
	var first atomic.Pointer[error]
	m, err := own.Join(ctx, own.Config{
		NC: beats, JS: l.bus.JetStream(), Name: cfg.Name, Peers: cfg.peers(), Replicas: l.bus.Replicas(), Log: l.log,
		Acquire: func(ctx context.Context, shard int, epoch uint64) error {
			err := l.acquire(ctx, shard, epoch)
			if err != nil {
				first.CompareAndSwap(nil, &err)
			}
			return err
		},
		Release: l.release,
	})
	if err != nil {
		return err
	}
	l.member.Store(m)
	if len(cfg.peers()) > 1 {
		return nil
	}
	return l.untilOwned(ctx, &first)
}

// acquire serves a shard, to this brain's own questions and to those passed on.
func (l *live) acquire(ctx context.Context, shard int, epoch uint64) error {
	if err := l.host.Acquire(ctx, shard, epoch); err != nil {
		return fmt.Errorf("take shard %d: %w", shard, err)
	}
	stop, err := l.bus.Serve(shard, epoch, func(ctx context.Context, data []byte) []byte {
		return l.presence.Live.Answer(ctx, shard, data)
	})
	if err != nil {
		l.release(shard)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serves[shard] = stop
	return nil
}

func (l *live) release(shard int) {
	l.mu.Lock()
	stop := l.serves[shard]
	l.serves[shard] = nil
	l.mu.Unlock()
	if stop != nil {
		stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	if m := l.member.Load(); m != nil && m.Serving() {
		l.host.HandOver(ctx, shard)
		return
	}
	l.host.Release(ctx, shard)
}

// untilOwned waits until every shard is served. A shard that cannot be opened, as a damaged journal, ends it:
// better no brain than one that forgot calls and says nothing.
func (l *live) untilOwned(ctx context.Context, failed *atomic.Pointer[error]) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := failed.Load(); err != nil {
			return *err
		}
		owned := 0
		for n := range brain.Shards {
			if l.host.Owned(n) {
				owned++
			}
		}
		if owned == brain.Shards {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("own the shards: %d of %d in time: %w", owned, brain.Shards, context.Cause(ctx))
		}
	}
}

// close hands everything over and closes the journal.
func (l *live) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*releaseTime)
	defer cancel()
	if m := l.member.Load(); m != nil {
		if err := m.Leave(ctx); err != nil {
			l.log.Warn("leaving the cluster", "err", err)
		}
	}
	l.host.Close(ctx)
	for _, stop := range l.stops {
		stop()
	}
	if err := l.bus.Close(); err != nil {
		l.log.Warn("closing the journal", "err", err)
	}
}

// deflate makes a large report fit a message; small ones go as they are, after a mark.
func deflate(data []byte) []byte {
	if len(data) < 256<<10 {
		return append([]byte{0}, data...)
	}
	var b bytes.Buffer
	b.WriteByte(1)
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		panic(err) // only for a level that does not exist
	}
	_, _ = w.Write(data) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

func inflate(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("nothing in it")
	}
	if data[0] == 0 {
		return data[1:], nil
	}
	r := flate.NewReader(bytes.NewReader(data[1:]))
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, api.MaxReport))
}

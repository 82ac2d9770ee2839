// Package journal is the only door of NATS. It keeps what the machines decided (a log a shard, each append a
// compare-and-set on the shard's last sequence), the change log of the configuration and the steering keys,
// and it carries questions and news between brains. The store is a JetStream server inside the process, or a
// cluster of them (`sipio-brain bus`).
package journal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrFenced means that another owner has written: this log can never write again. Nothing of the append is stored.
	ErrFenced = errors.New("the shard was taken over")
	// ErrUnknown means that the append may be stored or not. The log is of no more use: open the shard again and look.
	ErrUnknown = errors.New("whether it was written is unknown")
	// ErrNoOwner means that nobody serves the shard now. Nothing was asked of anybody.
	ErrNoOwner = errors.New("no brain owns the shard")
	// ErrCutOff means that this brain has no connection to the NATS cluster now. Nothing was asked of anybody.
	ErrCutOff = errors.New("no connection to the NATS cluster")
	// ErrStale means that the change log has moved on past the version that the change was made for. Nothing is stored.
	ErrStale = errors.New("the change log has moved on")
	// ErrDamaged means that acknowledged messages are missing or altered. The text says which, and what to do.
	ErrDamaged = errors.New("the journal is damaged")
	// ErrTrimmed means that the change log begins after the version asked for: load a snapshot first.
	ErrTrimmed = errors.New("the change log begins later")
	// ErrMode means that a folder holds the store of another mode of operation: one machine, or a member of a cluster.
	ErrMode = errors.New("the folder belongs to another mode")
)

// MaxPayload is what one message may hold, in bytes, and MaxRecord what of it is the caller's.
const (
	MaxPayload = 8 << 20
	MaxRecord  = MaxPayload - 16<<10
)

// Config of a Bus. Set Dir for the store inside the process, or URLs for a cluster.
type Config struct {
	Dir        string   // of the store inside the process; belongs to this process alone
	URLs       []string // of the cluster: nats://host:4222 or tls://host:4222
	CredsFile  string   // first line "name password", or a NATS .creds file; "" = none
	CAFile     string   // PEM, who signed the cluster's certificates; "" = the system's
	Replicas   int      // of each stream; 0 = 1 inside the process, 3 in a cluster
	Streams    int      // how many streams share the 64 shards, set when the store is made; 0 = 4
	AcceptLoss bool     // go on past damage, after a warning that says what is lost
	LeafURLs   []string // of the cluster's leafnode port, for Migrate only: nats-leaf://host:7422
	NodeListen string   // host:port where nodes connect to the server inside the process, see AdmitNodes; "" = nowhere
	NodeTLS    *tls.Config
	Log        *slog.Logger
}

// withDefaults also says what cannot be.
func (c Config) withDefaults() (Config, error) {
	if (c.Dir == "") == (len(c.URLs) == 0) {
		return c, errors.New("journal: set a folder or the URLs of a cluster, one of the two")
	}
	if c.Replicas == 0 {
		c.Replicas = 1
		if len(c.URLs) > 0 {
			c.Replicas = 3
		}
	}
	if c.Dir == "" && c.NodeListen != "" {
		return c, errors.New("journal: nodes connect to the server inside a process, not to a cluster")
	}
	if c.Dir != "" && c.Replicas != 1 {
		return c, fmt.Errorf("journal: %d replicas need a cluster; inside the process there is one", c.Replicas)
	}
	if c.Streams == 0 {
		c.Streams = 4
	}
	if c.Streams < 1 || c.Streams > 64 {
		return c, fmt.Errorf("journal: %d streams for 64 shards: 1 to 64", c.Streams)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c, nil
}

// Bus is an open store and the connection to it. Its methods may be called at the same time.
type Bus struct {
	cfg     Config
	log     *slog.Logger
	folder  *folder // nil in a cluster
	marks   *marks  // nil in a cluster
	srv     *server.Server
	nc      *nats.Conn
	js      jetstream.JetStream
	streams []jetstream.Stream // JOURNAL_0 …
	config  configStream
	nodes   nodeDoor
	posts
	stop    context.CancelFunc
	closing sync.Once
	closed  error
}

// Open opens the store, or makes it. It fails with ErrMode, before anything of the store is touched, when the
// folder belongs to a cluster, and when another process has it open.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	b := &Bus{cfg: cfg, log: cfg.Log, stop: stop}
	b.nodes.log = cfg.Log
	if err := b.open(ctx); err != nil {
		_ = b.Close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	b.posts = newPosts(life, b.nc, b.log)
	return b, nil
}

func (b *Bus) open(ctx context.Context) (err error) {
	if b.cfg.Dir != "" {
		if err := b.embed(); err != nil {
			return err
		}
	}
	if b.nc, err = connect(b.cfg, b.srv); err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(apiTimeout)); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	return b.makeStreams(ctx)
}

// Close stops what was served, and the store when it is inside the process. Logs are of no use afterwards.
func (b *Bus) Close() error {
	b.closing.Do(func() {
		b.stop()
		if b.nc != nil {
			b.nc.Close()
		}
		if b.srv != nil {
			b.srv.Shutdown()
			b.srv.WaitForShutdown()
		}
		if b.marks != nil {
			b.closed = errors.Join(b.closed, b.marks.Close())
		}
		if b.folder != nil {
			b.closed = errors.Join(b.closed, b.folder.Close())
		}
	})
	return b.closed
}

// Dial opens another connection to the store, which the caller closes: heartbeats must not queue behind other traffic.
func (b *Bus) Dial() (*nats.Conn, error) { return connect(b.cfg, b.srv) }

// JetStream is the store, for the part that decides who owns which shard (journal/own).
func (b *Bus) JetStream() jetstream.JetStream { return b.js }

// Replicas is how many copies each stream has.
func (b *Bus) Replicas() int { return b.cfg.Replicas }

// Times of talking to the store.
const (
	apiTimeout     = 5 * time.Second // one question to the store
	publishTimeout = 2 * time.Second // one attempt to write; then it is looked whether it arrived
	maxPause       = 100 * time.Millisecond
)

// pause waits before the next attempt: 1 ms, doubled each time, at most maxPause. False: ctx has ended.
func pause(ctx context.Context, try int) bool {
	wait := maxPause
	if try < 7 {
		wait = min(time.Millisecond<<try, maxPause)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

package own

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The test binary plays three parts: the tests, a nats-server of a cluster, and a brain that can be stopped by a signal.
func TestMain(m *testing.M) {
	switch os.Getenv("OWN_TEST_ROLE") {
	case "bus":
		os.Exit(playBus())
	case "brain":
		os.Exit(playBrain())
	}
	code := m.Run()
	shared.stop()
	doomed.stop()
	os.Exit(code)
}

func dial(user string, urls ...string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(strings.Join(urls, ","), nats.UserInfo(user, "t"), nats.MaxReconnects(-1), nats.DontRandomize(),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true), nats.Timeout(2*time.Second))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

// A span is a time during which a brain certainly served a shard: it did at some moment not before From0 and not after
// From1, and at another one not before To0. Nanoseconds of the machine's clock.
type span struct {
	Brain             string
	Shard             int
	Epoch             uint64
	From0, From1, To0 int64
	AcquiredAt        int64
}

// A desk is what a brain serves: the actors' side of the contract.
type desk struct {
	name string

	mu       sync.Mutex
	m        *Member
	held     map[int]*span
	spans    []*span
	released map[int]int64 // when last
	fenced   int           // looks at a shard that was held but not to be answered for, and shards dropped for that reason
	fail     func(shard int) error
}

func newDesk(name string) *desk {
	return &desk{name: name, held: map[int]*span{}, released: map[int]int64{}}
}

func (d *desk) acquire(_ context.Context, shard int, epoch uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail(shard); err != nil {
			return err
		}
	}
	d.held[shard] = &span{Brain: d.name, Shard: shard, Epoch: epoch, AcquiredAt: time.Now().UnixNano()}
	d.spans = append(d.spans, d.held[shard])
	return nil
}

func (d *desk) release(shard int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, shard)
	if d.m != nil && !d.m.Serving() {
		d.fenced++
	}
	d.released[shard] = time.Now().UnixNano()
}

// probe asks, again and again, whether each held shard may be answered for.
func (d *desk) probe(ctx context.Context) {
	timer := time.NewTicker(time.Millisecond)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		d.mu.Lock()
		for _, s := range d.held {
			before := time.Now().UnixNano()
			if d.m == nil || !d.m.Serving() {
				d.fenced++
				continue
			}
			if s.From0 == 0 {
				s.From0, s.From1 = before, time.Now().UnixNano()
			}
			s.To0 = before
		}
		d.mu.Unlock()
	}
}

func (d *desk) log() (spans []span, fenced int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.spans {
		if s.From0 > 0 {
			spans = append(spans, *s)
		}
	}
	return spans, d.fenced
}

type testBrain struct {
	*desk
	nc  *nats.Conn
	m   *Member
	end context.CancelFunc
}

var peers = []string{"anna", "bert", "cleo"}

func quiet() *slog.Logger {
	if os.Getenv("OWN_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

// joinAs makes a brain a member, by way of the given servers. wrap may change the configuration.
func joinAs(t testing.TB, name, user string, urls []string, wrap func(*Config)) *testBrain {
	t.Helper()
	nc, js, err := dial(user, urls...)
	if err != nil {
		t.Fatal(err)
	}
	b := &testBrain{desk: newDesk(name), nc: nc}
	cfg := Config{NC: nc, JS: js, Name: name, Peers: peers, Replicas: 3, Log: quiet().With("brain", name), Acquire: b.acquire, Release: b.release}
	if wrap != nil {
		wrap(&cfg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if b.m, err = Join(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.desk.m = b.m
	b.mu.Unlock()
	probing, end := context.WithCancel(context.Background())
	go b.probe(probing)
	b.end = end
	t.Cleanup(func() {
		end()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = b.m.Leave(ctx) // some tests leave it without a connection
		nc.Close()
	})
	return b
}

// trio is three brains, each on its own server, sharing the shards.
func trio(t testing.TB, user string, urls []string) []*testBrain {
	t.Helper()
	out := make([]*testBrain, len(peers))
	var all sync.WaitGroup
	for i, name := range peers {
		all.Go(func() { out[i] = joinAs(t, name, user, slices.Concat(urls[i:], urls[:i]), nil) })
	}
	all.Wait()
	waitShared(t, slow, out...)
	return out
}

// slow is how long brains may take to come to their shares: where a claim took more than patience, the next in rank took the shard, and keeps it for
// hold.
const slow = hold + 30*time.Second

// waitShared waits until each of the brains serves exactly the shards in which it ranks first.
func waitShared(t testing.TB, limit time.Duration, brains ...*testBrain) {
	t.Helper()
	var names []string
	for _, b := range brains {
		names = append(names, b.name)
	}
	eventually(t, limit, "each brain serves what it ranks first in", func() error {
		for _, b := range brains {
			for shard := range shards {
				first := Rank(shard, names)[0] == b.name
				if epoch := b.m.Epoch(shard); (epoch > 0) != first || first && !b.m.Serves(shard, epoch) {
					return fmt.Errorf("%s, shard %d: epoch %d, first in rank: %t, serving: %t", b.name, shard, epoch, first, b.m.Serving())
				}
			}
		}
		return nil
	})
}

func eventually(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("not within %v: %s: %v", limit, what, err)
}

// standstill sends from one server to another all the time, and returns a function that tells the longest time in which nothing came: one
// near Trust is that of a machine that stops, and costs a lease.
func standstill(t testing.TB, user, from, to string) func() time.Duration {
	t.Helper()
	out, _, err := dial(user, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	in, _, err := dial(user, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	var mu sync.Mutex
	last, longest := time.Now(), time.Duration(0)
	look := func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		longest = max(longest, time.Since(last))
		return longest
	}
	if _, err := in.Subscribe("standstill", func(*nats.Msg) {
		look()
		mu.Lock()
		last = time.Now()
		mu.Unlock()
	}); err != nil || in.Flush() != nil {
		t.Fatal(err)
	}
	go func() {
		for out.Publish("standstill", nil) == nil {
			time.Sleep(20 * time.Millisecond) // sleep: between two messages
		}
	}()
	return look
}

// fenced is how often the brains had a shard that they were not to answer for.
func fenced(brains ...*testBrain) (all int) {
	for _, b := range brains {
		_, n := b.log()
		all += n
	}
	return all
}

// checkOneOwner fails when two ownerships of one shard overlapped, or a shard was served under one epoch by two brains.
func checkOneOwner(t testing.TB, spans []span) {
	t.Helper()
	slices.SortFunc(spans, func(a, b span) int {
		if a.Shard != b.Shard {
			return a.Shard - b.Shard
		}
		return int(int64(a.Epoch) - int64(b.Epoch))
	})
	if len(spans) == 0 {
		t.Fatal("no brain ever served a shard: the test proves nothing")
	}
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if a.Shard != b.Shard {
			continue
		}
		if a.Epoch == b.Epoch {
			t.Errorf("shard %d was served twice under epoch %d: by %s and %s", a.Shard, a.Epoch, a.Brain, b.Brain)
		} else if a.To0 > b.From1 {
			t.Errorf("shard %d: %s (epoch %d) still served %v after %s (epoch %d) did", a.Shard, a.Brain, a.Epoch, time.Duration(a.To0-b.From1), b.Brain, b.Epoch)
		}
	}
}

func allSpans(brains ...*testBrain) (out []span) {
	for _, b := range brains {
		spans, _ := b.log()
		out = append(out, spans...)
	}
	return out
}

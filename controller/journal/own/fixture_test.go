package own

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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

// --- a cluster of three nats-servers, each a process

type busSpec struct {
	Name, Dir            string
	ClientPort, PeerPort int
	PeerPorts            []int
}

type bus struct {
	spec  busSpec
	child *exec.Cmd
}

type cluster struct {
	once    sync.Once
	err     error
	dir     string
	buses   []*bus
	mu      sync.Mutex
	account int
}

var (
	shared cluster // by all tests, each in its own account
	doomed cluster // of the one test that kills a server
)

const accounts = 40

// playBus is a nats-server until its standard input ends.
func playBus() int {
	var spec busSpec
	if err := json.Unmarshal([]byte(os.Getenv("OWN_TEST_SPEC")), &spec); err != nil {
		return 1
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, "server_name: %s\nlisten: 127.0.0.1:%d\n", spec.Name, spec.ClientPort)
	fmt.Fprintf(&conf, "jetstream { store_dir: %q, sync_interval: always, max_file: 100GB, max_mem: 1GB }\n", spec.Dir)
	fmt.Fprintf(&conf, "cluster { name: own, listen: 127.0.0.1:%d, pool_size: -1, routes: [", spec.PeerPort)
	for i, p := range spec.PeerPorts {
		fmt.Fprintf(&conf, "%s \"nats://127.0.0.1:%d\"", strings.Repeat(",", min(i, 1)), p)
	}
	conf.WriteString(" ] }\naccounts {\n SYS { users: [ {user: sys, password: sys} ] }\n")
	for i := range accounts {
		fmt.Fprintf(&conf, " T%d { jetstream: enabled, users: [ {user: t%d, password: t} ] }\n", i, i)
	}
	conf.WriteString("}\nsystem_account: SYS\n")
	file := filepath.Join(filepath.Dir(spec.Dir), spec.Name+".conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		return 1
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return 0
}

func (c *cluster) start() error {
	dir, err := os.MkdirTemp("", "own")
	if err != nil {
		return err
	}
	c.dir = dir
	ports, err := freePorts(6)
	if err != nil {
		return err
	}
	for i := range 3 {
		name := fmt.Sprintf("bus%d", i)
		c.buses = append(c.buses, &bus{spec: busSpec{
			Name: name, Dir: filepath.Join(dir, name), ClientPort: ports[i], PeerPort: ports[3+i], PeerPorts: ports[3:],
		}})
	}
	for _, b := range c.buses {
		if err := b.start(); err != nil {
			return err
		}
	}
	return nil
}

// freePorts are ports nobody listens on. All are held until the last is found, so none comes twice.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (b *bus) start() error {
	spec, err := json.Marshal(b.spec)
	if err != nil {
		return err
	}
	b.child = exec.Command(os.Args[0])
	b.child.Env = append(os.Environ(), "OWN_TEST_ROLE=bus", "OWN_TEST_SPEC="+string(spec))
	b.child.Stderr = os.Stderr
	if _, err := b.child.StdinPipe(); err != nil { // ends with this process
		return err
	}
	out, err := b.child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.child.Start(); err != nil {
		return err
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		return fmt.Errorf("%s did not start: %w", b.spec.Name, err)
	}
	return nil
}

func (b *bus) kill() {
	_ = b.child.Process.Kill()
	_ = b.child.Wait()
}

func (c *cluster) stop() {
	for _, b := range c.buses {
		if b.child != nil {
			b.kill()
		}
	}
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

// newAccount is a part of the cluster that no other test sees, with the URLs of its servers.
func (c *cluster) newAccount(t testing.TB) (user string, urls []string) {
	t.Helper()
	c.once.Do(func() { c.err = c.start() })
	if c.err != nil {
		t.Fatal(c.err)
	}
	c.mu.Lock()
	user = fmt.Sprintf("t%d", c.account)
	c.account++
	c.mu.Unlock()
	for _, b := range c.buses {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", b.spec.ClientPort))
	}
	return user, urls
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

// --- a brain in this process

// A span is a time during which a brain certainly served a shard: it did at some moment not before From0 and not after
// From1, and at another one not before To0. Nanoseconds of the machine's clock.
type span struct {
	Brain               string
	Shard               int
	Epoch               uint64
	From0, From1, To0   int64
	AcquiredAt, Reached int64
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
	waitShared(t, 15*time.Second, out...)
	return out
}

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

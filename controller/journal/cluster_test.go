package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testCluster is three servers on loopback, each with a folder of its own.
type testCluster struct {
	members []BusConfig
	stop    [3]context.CancelFunc
	done    [3]chan error
}

// lastPort is the last that freePort has looked at. The ephemeral ports begin behind all of them: there a connection of anybody may have a
// port again before its server listens. Those of package own are before.
var lastPort = 5500 + rand.IntN(2000)

func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		lastPort++
		at := fmt.Sprintf("127.0.0.1:%d", lastPort)
		if l, err := net.Listen("tcp", at); err == nil {
			_ = l.Close()
			return at
		}
	}
	t.Fatal("no port is free")
	return ""
}

func startCluster(t *testing.T) *testCluster {
	t.Helper()
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte("brain pass-word-17\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &testCluster{}
	var routes []string
	for range 3 {
		routes = append(routes, freePort(t))
	}
	for i := range 3 {
		c.members = append(c.members, BusConfig{
			Name: fmt.Sprintf("m%d", i), Dir: filepath.Join(dir, fmt.Sprint(i)), ClusterName: "test", ClientListen: freePort(t),
			ClusterListen: routes[i], Routes: routes, LeafListen: freePort(t), UserFile: users, Log: quiet,
		})
	}
	for i := range c.members {
		c.start(t, i)
	}
	t.Cleanup(func() {
		for i := range c.members {
			c.stop[i]()
		}
		for i := range c.members {
			<-c.done[i]
		}
	})
	return c
}

func (c *testCluster) start(t *testing.T, i int) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan struct{})
	cfg := c.members[i]
	cfg.Ready = func() { close(ready) }
	c.stop[i], c.done[i] = stop, make(chan error, 1)
	done := c.done[i]
	go func() { defer close(done); done <- RunBus(ctx, cfg) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
}

func (c *testCluster) config() Config {
	cfg := Config{CredsFile: c.members[0].UserFile, Log: quiet}
	for _, m := range c.members {
		cfg.URLs = append(cfg.URLs, "nats://"+m.ClientListen)
		cfg.LeafURLs = append(cfg.LeafURLs, "nats-leaf://"+m.LeafListen)
	}
	return cfg
}

func (c *testCluster) open(t *testing.T) *Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	b, err := Open(ctx, c.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// TestAsk_SaysThatItCannotAsk proves that a brain without a connection hears at once, and each time, that nothing was asked:
// it then judges by itself, as where nobody owns the shard.
func TestAsk_SaysThatItCannotAsk(t *testing.T) {
	c := startCluster(t)
	b := c.open(t)
	for i := range c.members {
		c.stop[i]()
		if err := <-c.done[i]; err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return !b.nc.IsConnected() })
	for range 100 {
		if _, err := b.Ask(t.Context(), 4, 7, nil); !errors.Is(err, ErrCutOff) {
			t.Fatalf("asked without a connection: %v", err)
		}
	}
}

// TestMigrate_MovesAStoreIntoACluster proves that after a migration a cluster of three holds every record, change, snapshot and
// key of the store of one machine with the same sequences, that logs go on and fence as before, and that the old folder and
// a second migration are refused.
func TestMigrate_MovesAStoreIntoACluster(t *testing.T) {
	dir := t.TempDir()
	b := openSolo(t, dir)
	changes, err := b.ChangeLog(t.Context(), 41)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	l, _ := openShard(t, b, 0, 7)
	other, _ := openShard(t, b, 4, 7)
	for i := range 300 {
		appendAll(t, l, fmt.Sprint(i))
		appendAll(t, other, "x")
		if i >= 200 {
			want = append(want, "r:"+fmt.Sprint(i))
		}
		if i == 199 {
			if err := l.AppendSnapshot(t.Context(), []byte("snap"), true, true); err != nil {
				t.Fatal(err)
			}
		}
		if err := changes.Append(t.Context(), int64(40+i), []byte("change")); err != nil {
			t.Fatal(err)
		}
	}
	last := l.Seq()
	l.Close()
	if err := errors.Join(b.PutKey(t.Context(), "k", []byte("v"), time.Hour), b.PutSnapshot(t.Context(), 300, strings.NewReader("copy"))); err != nil {
		t.Fatal(err)
	}
	cluster := startCluster(t)
	if err := Migrate(t.Context(), Config{Dir: dir, Log: quiet}, cluster.config(), func(string) {}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("while the brain runs: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var steps []string
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	begun := time.Now()
	if err := Migrate(ctx, Config{Dir: dir, Log: quiet}, cluster.config(), func(s string) { steps = append(steps, s) }); err != nil {
		t.Fatalf("%v after %v", err, steps)
	}
	t.Logf("migrated in %s: %d steps", time.Since(begun), len(steps))
	if _, err := Open(t.Context(), Config{Dir: dir, Log: quiet}); !errors.Is(err, ErrMode) {
		t.Errorf("the old folder opened: %v", err)
	}
	now := cluster.open(t)
	if l, got := openShard(t, now, 0, 8); got != "S:snap "+strings.Join(want, " ") || l.Seq() <= last {
		t.Errorf("read %d bytes, sequence %d after %d", len(got), l.Seq(), last)
	}
	if _, err := now.Shard(t.Context(), 0, 7, (&reader{}).loader()); !errors.Is(err, ErrFenced) {
		t.Errorf("an old epoch: %v", err)
	}
	changes, err = now.ChangeLog(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := changes.Read(t.Context(), 41, 0, func(int64, []byte) error { n++; return nil }); err != nil || n != 300 {
		t.Errorf("%d changes, %v", n, err)
	}
	if err := changes.Append(t.Context(), 339, nil); !errors.Is(err, ErrStale) {
		t.Errorf("behind a version that has passed: %v", err)
	}
	if err := changes.Append(t.Context(), 340, []byte("next")); err != nil {
		t.Error(err)
	}
	if v, err := now.Key(t.Context(), "k"); err != nil || string(v) != "v" {
		t.Errorf("key %q, %v", v, err)
	}
	if v, rc, err := now.Snapshot(t.Context()); err != nil || v != 300 || rc.Close() != nil {
		t.Errorf("snapshot %d, %v", v, err)
	}
	if err := Migrate(t.Context(), Config{Dir: dir, Log: quiet}, cluster.config(), func(string) {}); !errors.Is(err, ErrMode) {
		t.Errorf("a second time: %v", err)
	}
}

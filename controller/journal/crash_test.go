package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// crashDir names, for the child process of TestShard_KillLosesNothingAcknowledged, the folder of the store.
const crashDir = "SIPIO_JOURNAL_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		appendForEver(dir)
	}
	os.Exit(m.Run())
}

// appendForEver appends to two shards, with a snapshot now and then, and prints each acknowledged number, until it is killed.
func appendForEver(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	b, err := Open(ctx, Config{Dir: dir, Log: quiet})
	fail(err)
	n := 0
	none := Loader{Snapshot: func(part []byte, _ bool) error { _, err := fmt.Sscan(string(part), &n); return err },
		Record: func(_ uint64, data []byte) error { _, err := fmt.Sscan(string(data), &n); return err }}
	noise, err := b.Shard(ctx, 4, 1, Loader{Snapshot: none.Snapshot, Record: func(uint64, []byte) error { return nil }})
	fail(err)
	l, err := b.Shard(ctx, 0, 1, none)
	fail(err)
	for {
		n++
		fail(l.Append(ctx, fmt.Appendf(nil, "%d", n)))
		fmt.Println(n)
		fail(noise.Append(ctx, make([]byte, 500)))
		if n%40 == 0 {
			fail(l.AppendSnapshot(ctx, fmt.Appendf(nil, "%d", n), true, true))
		}
	}
}

// TestShard_KillLosesNothingAcknowledged proves that what a process was told is stored is there after kill -9, six times over:
// the child prints what was acknowledged, the parent kills it at an arbitrary moment and reads the store.
func TestShard_KillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := 0
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			if _, err := fmt.Sscan(lines.Text(), &acked); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			if i == 60+13*round {
				_ = cmd.Process.Kill() // and read on: what was printed before counts
			}
		}
		_ = cmd.Wait()
		b := openSolo(t, dir)
		got, count := 0, 0
		next := func(data []byte) error {
			before := got
			_, err := fmt.Sscan(string(data), &got)
			if before != 0 && got != before+1 {
				t.Errorf("record %d stands behind %d", got, before)
			}
			count++
			return err
		}
		_, err = b.Shard(t.Context(), 0, 1, Loader{Snapshot: func(p []byte, _ bool) error { return next(p) }, Record: func(_ uint64, d []byte) error { return next(d) }})
		if err != nil || got < acked || got > acked+1 {
			t.Fatalf("round %d: acknowledged %d, read up to %d (%d), %v", round, acked, got, count, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLog_OutlivesTheServerThatLeads proves that a log in a cluster of three goes on, by itself and without a lost or a double
// record, while the server that leads its stream stops and comes back, twice.
func TestLog_OutlivesTheServerThatLeads(t *testing.T) {
	c := startCluster(t)
	b := c.open(t)
	l, _ := openShard(t, b, 0, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n, worst := 0, time.Duration(0)
	write := func(count int) {
		t.Helper()
		for range count {
			at := time.Now()
			if err := l.Append(ctx, fmt.Appendf(nil, "%d", n)); err != nil {
				t.Fatal(err)
			}
			n, worst = n+1, max(worst, time.Since(at))
		}
	}
	for range 2 {
		write(200)
		leader := 0
		waitFor(t, func() bool { // there may be an election
			info, err := b.streams[0].Info(ctx)
			if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
				return false
			}
			leader = int(info.Cluster.Leader[1] - '0')
			return true
		})
		c.stop[leader]()
		write(200)
		if err := <-c.done[leader]; err != nil {
			t.Fatal(err)
		}
		write(200)
		c.start(t, leader)
	}
	t.Logf("%d records, the longest append took %s", n, worst)
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("r:%d", i))
	}
	if _, got := openShard(t, b, 0, 2); got != strings.Join(want, " ") {
		t.Errorf("read %d bytes of %d", len(got), len(strings.Join(want, " ")))
	}
	if err := l.Append(ctx, nil); !errors.Is(err, ErrFenced) {
		t.Errorf("the old log: %v", err)
	}
}

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

// backend is what a Bus and a Memory have in common: everything.
type backend interface {
	Shard(ctx context.Context, shard int, epoch uint64, load Loader) (*Log, error)
	Serve(shard int, epoch uint64, fn func(ctx context.Context, data []byte) []byte) (stop func(), err error)
	Ask(ctx context.Context, shard int, epoch uint64, data []byte) ([]byte, error)
	Publish(subject string, data []byte) error
	Subscribe(subject string, fn func(data []byte)) (stop func(), err error)
	ChangeLog(ctx context.Context, firstVersion int64) (*ChangeLog, error)
	PutSnapshot(ctx context.Context, version int64, r io.Reader) error
	Snapshot(ctx context.Context) (version int64, rc io.ReadCloser, err error)
	PutKey(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Key(ctx context.Context, key string) ([]byte, error)
	DropKey(ctx context.Context, key string) error
	Stat(ctx context.Context) ([]ShardStat, error)
	Dump(ctx context.Context, shard int, fn func(Entry) error) error
	Close() error
}

var quiet = slog.New(slog.DiscardHandler)

func openSolo(t testing.TB, dir string) *Bus {
	t.Helper()
	b, err := Open(t.Context(), Config{Dir: dir, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// onBoth runs a test on a Memory and on a Bus with its store inside the process.
func onBoth(t *testing.T, test func(t *testing.T, b backend)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		m := NewMemory()
		m.Log = quiet
		test(t, m)
	})
	t.Run("embedded", func(t *testing.T) { test(t, openSolo(t, t.TempDir())) })
}

// reader keeps what a Loader was given, as words: "s:part", "S:last part", "r:record".
type reader struct{ got []string }

func (r *reader) loader() Loader {
	return Loader{
		Snapshot: func(part []byte, last bool) error {
			sign := "s:"
			if last {
				sign = "S:"
			}
			r.got = append(r.got, sign+string(part))
			return nil
		},
		Record: func(_ uint64, data []byte) error {
			r.got = append(r.got, "r:"+string(data))
			return nil
		},
	}
}

func openShard(t testing.TB, b backend, shard int, epoch uint64) (*Log, string) {
	t.Helper()
	r := &reader{}
	l, err := b.Shard(t.Context(), shard, epoch, r.loader())
	if err != nil {
		t.Fatal(err)
	}
	return l, strings.Join(r.got, " ")
}

func appendAll(t testing.TB, l *Log, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := l.Append(t.Context(), []byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestShard_ReadsBackWhatWasAppended(t *testing.T) {
	// Proves that records come back in order and to their own shard only, few (read one by one) and many (read in bulk).
	onBoth(t, func(t *testing.T, b backend) {
		l, got := openShard(t, b, 3, 1)
		if got != "" {
			t.Errorf("a new shard holds %q", got)
		}
		other, _ := openShard(t, b, 7, 1) // in the same stream
		var want []string
		for i := range 3 * shortRead {
			rec := fmt.Sprint(i)
			appendAll(t, l, rec)
			appendAll(t, other, "other"+rec)
			want = append(want, "r:"+rec)
			if i == 1 {
				if _, got := openShard(t, b, 3, 1); got != strings.Join(want, " ") {
					t.Errorf("two records: got %q", got)
				}
				l, _ = openShard(t, b, 3, 1)
			}
		}
		if l.Epoch() != 1 || l.Seq() == 0 {
			t.Errorf("epoch %d, seq %d", l.Epoch(), l.Seq())
		}
		l, got = openShard(t, b, 3, 2)
		if got != strings.Join(want, " ") {
			t.Errorf("got %q", got)
		}
		appendAll(t, l, "big"+strings.Repeat("x", MaxRecord-3))
		if _, got = openShard(t, b, 3, 2); len(got) < MaxRecord {
			t.Errorf("the biggest record came back as %d bytes", len(got))
		}
		if err := l.Append(t.Context(), make([]byte, MaxRecord+1)); brain.CodeOf(err) != brain.EInvalid {
			t.Errorf("a record that is too big: %v", err)
		}
	})
}

func TestShard_NewOwnerFencesTheOld(t *testing.T) {
	// Proves that after a takeover the old owner's append fails with ErrFenced for ever, and that an owner with a lower
	// epoch cannot even open.
	onBoth(t, func(t *testing.T, b backend) {
		old, _ := openShard(t, b, 0, 5)
		appendAll(t, old, "a")
		now, got := openShard(t, b, 0, 6)
		if got != "r:a" {
			t.Errorf("the new owner read %q", got)
		}
		for range 2 {
			if err := old.Append(t.Context(), []byte("late")); !errors.Is(err, ErrFenced) || errors.Is(err, ErrUnknown) {
				t.Errorf("the old owner wrote: %v", err)
			}
		}
		appendAll(t, now, "b")
		if _, err := b.Shard(t.Context(), 0, 5, (&reader{}).loader()); !errors.Is(err, ErrFenced) {
			t.Errorf("epoch 5 after epoch 6: %v", err)
		}
		if _, got = openShard(t, b, 0, 7); got != "r:a r:b" {
			t.Errorf("read %q", got)
		}
	})
}

func TestLog_SnapshotTakesThePlaceOfWhatWasBefore(t *testing.T) {
	// Proves that a complete snapshot is restored first, then the records between and behind its parts; that an incomplete
	// one is passed over; and that the old messages are deleted from the store.
	onBoth(t, func(t *testing.T, b backend) {
		l, _ := openShard(t, b, 1, 1)
		part := func(text string, first, last bool) {
			t.Helper()
			if err := l.AppendSnapshot(t.Context(), []byte(text), first, last); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.AppendSnapshot(t.Context(), nil, false, true); err == nil {
			t.Error("a last part without a first was taken")
		}
		appendAll(t, l, "1", "2")
		part("dropped", true, false)
		appendAll(t, l, "3")
		var got string
		if l, got = openShard(t, b, 1, 2); got != "r:1 r:2 r:3" {
			t.Errorf("with half a snapshot: %q", got)
		}
		part("x", true, false)
		appendAll(t, l, "4")
		part("y", false, false)
		appendAll(t, l, "5")
		part("z", false, true)
		appendAll(t, l, "6")
		l.Close()
		stats, err := b.Stat(t.Context())
		if err != nil || stats[1].Messages != 6 || stats[1].Snapshot == 0 || stats[1].Damage != "" || stats[1].Epoch != 2 {
			t.Errorf("stat %+v, %v", stats[1], err)
		}
		if l, got = openShard(t, b, 1, 3); got != "s:x s:y S:z r:4 r:5 r:6" {
			t.Errorf("with a snapshot: %q", got)
		}
		part("begun", true, false)
		if l, got = openShard(t, b, 1, 4); got != "s:x s:y S:z r:4 r:5 r:6" {
			t.Errorf("with half a second snapshot: %q", got)
		}
		part("whole", true, true)
		if _, got = openShard(t, b, 1, 5); got != "S:whole" {
			t.Errorf("with a second snapshot: %q", got)
		}
	})
}

func TestDump_ShowsEveryMessage(t *testing.T) {
	// Proves that a dump shows records, takeovers and parts in order with their chain.
	onBoth(t, func(t *testing.T, b backend) {
		l, _ := openShard(t, b, 2, 9)
		appendAll(t, l, "a")
		if err := l.AppendSnapshot(t.Context(), []byte("p"), true, false); err != nil {
			t.Fatal(err)
		}
		var got []string
		prev := uint64(0)
		err := b.Dump(t.Context(), 2, func(e Entry) error {
			if e.Prev != prev || e.Epoch != 9 || e.TimeMS == 0 || e.Damage != "" {
				t.Errorf("entry %+v behind %d", e, prev)
			}
			prev = e.Seq
			got = append(got, e.Kind+":"+string(e.Data))
			return nil
		})
		if want := []string{"takeover:", "record:a", "snapshot:p"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("dump %v, %v", got, err)
		}
	})
}

func TestAsk_ReachesTheOwner(t *testing.T) {
	// Proves that a question reaches the one who serves the shard, that a shard nobody serves says so at once, also one
	// that is served under another epoch only, and after stop, and that an owner with 256 questions under way refuses more and answers again when one is done.
	onBoth(t, func(t *testing.T, b backend) {
		if _, err := b.Ask(t.Context(), 4, 7, nil); !errors.Is(err, ErrNoOwner) {
			t.Errorf("nobody serves: %v", err)
		}
		hold := make(chan struct{})
		var under atomic.Int32
		stop, err := b.Serve(4, 7, func(_ context.Context, data []byte) []byte {
			if string(data) == "wait" {
				under.Add(1)
				<-hold
			}
			return append([]byte("re "), data...)
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Ask(t.Context(), 4, 7, []byte("q")); err != nil || string(got) != "re q" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := b.Ask(t.Context(), 5, 7, nil); !errors.Is(err, ErrNoOwner) {
			t.Errorf("another shard: %v", err)
		}
		if _, err := b.Ask(t.Context(), 4, 8, nil); !errors.Is(err, ErrNoOwner) {
			t.Errorf("another epoch: %v", err)
		}
		var wg sync.WaitGroup
		for range maxServed {
			wg.Go(func() {
				if _, err := b.Ask(t.Context(), 4, 7, []byte("wait")); err != nil {
					t.Errorf("one of 256: %v", err)
				}
			})
		}
		waitFor(t, func() bool { return under.Load() == maxServed })
		if _, err := b.Ask(t.Context(), 4, 7, []byte("q")); brain.CodeOf(err) != brain.EUnavailable {
			t.Errorf("the 257th: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		close(hold)
		wg.Wait()
		if _, err := b.Ask(t.Context(), 4, 7, []byte("q")); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		stop()
		stop()
		if _, err := b.Ask(ctx, 4, 7, nil); !errors.Is(err, ErrNoOwner) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after stop: %v", err)
		}
		waitFor(t, func() bool { _, err := b.Ask(t.Context(), 4, 7, nil); return errors.Is(err, ErrNoOwner) })
	})
}

// waitFor polls until ok, at most ten seconds.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited ten seconds in vain")
		}
	}
}

func TestSubscribe_HearsWhatIsPublished(t *testing.T) {
	// Proves that news reach a listener by subject and wildcard, in order, and none after stop.
	onBoth(t, func(t *testing.T, b backend) {
		heard := make(chan string, 10)
		stop, err := b.Subscribe("report.*", func(data []byte) { heard <- string(data) })
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][2]string{{"report.n1", "a"}, {"delta.x", "no"}, {"report.n2", "b"}} {
			if err := b.Publish(p[0], []byte(p[1])); err != nil {
				t.Fatal(err)
			}
		}
		if x, y := <-heard, <-heard; x != "a" || y != "b" {
			t.Errorf("heard %q %q", x, y)
		}
		stop()
		stop()
		_ = b.Publish("report.n1", []byte("late"))
		select {
		case x := <-heard:
			t.Errorf("heard %q after stop", x)
		case <-time.After(20 * time.Millisecond):
		}
	})
}

func TestKey_LivesAsLongAsItWasGiven(t *testing.T) {
	// Proves that a key can be set again with a new life, expires after it, and stays without one; on the real clock, as the store's is.
	onBoth(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		put := func(key, value string, ttl time.Duration) {
			t.Helper()
			if err := b.PutKey(ctx, key, []byte(value), ttl); err != nil {
				t.Fatal(err)
			}
		}
		put("call.a", "1", 0)
		began := time.Now()
		put("call.a", "2", time.Second)
		put("call.b", "3", 0)
		if v, err := b.Key(ctx, "call.a"); (err != nil || string(v) != "2") && time.Since(began) < time.Second {
			t.Errorf("call.a: %q, %v", v, err)
		}
		waitFor(t, func() bool { _, err := b.Key(ctx, "call.a"); return brain.CodeOf(err) == brain.ENotFound })
		if v, err := b.Key(ctx, "call.b"); err != nil || string(v) != "3" {
			t.Errorf("call.b: %q, %v", v, err)
		}
		if err := errors.Join(b.DropKey(ctx, "call.b"), b.DropKey(ctx, "call.c")); err != nil {
			t.Error(err)
		}
		if _, err := b.Key(ctx, "call.b"); brain.CodeOf(err) != brain.ENotFound {
			t.Errorf("call.b after drop: %v", err)
		}
		for _, bad := range []string{"", "a b", ".a", "a..b", "a.>", "*"} {
			if err := b.PutKey(ctx, bad, nil, 0); brain.CodeOf(err) != brain.EInvalid {
				t.Errorf("key %q: %v", bad, err)
			}
		}
	})
}

func TestSnapshot_OfTheConfigurationIsTheNewest(t *testing.T) {
	// Proves that a copy larger than a message comes back whole with its version, and that an older one does not replace it.
	onBoth(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		if _, _, err := b.Snapshot(ctx); brain.CodeOf(err) != brain.ENotFound {
			t.Errorf("none yet: %v", err)
		}
		big := bytes.Repeat([]byte("sipio"), 2<<20)
		for _, p := range []struct {
			version int64
			data    []byte
		}{{3, []byte("three")}, {7, big}, {5, []byte("five")}} {
			if err := b.PutSnapshot(ctx, p.version, bytes.NewReader(p.data)); err != nil {
				t.Fatal(err)
			}
		}
		version, rc, err := b.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err = errors.Join(err, rc.Close()); err != nil || version != 7 || !bytes.Equal(got, big) {
			t.Errorf("version %d, %d bytes, %v", version, len(got), err)
		}
	})
}

package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain"
)

var errInjected = errors.New("injected")

func memory(t *testing.T) *Memory {
	t.Helper()
	m := NewMemory()
	m.Log = quiet
	return m
}

func TestLog_LostAcknowledgementIsNoDoubleRecord(t *testing.T) {
	// Proves that an append whose answers are lost, or that was not stored at first, ends as exactly one record: the log
	// looks before it writes again. A seed decides which of 400 attempts fail, and how.
	m := memory(t)
	l, _ := openShard(t, m, 0, 1)
	dice := rand.New(rand.NewPCG(1, 2))
	m.Fail = func(what, _ string) error {
		if what != "purge" && dice.IntN(3) == 0 {
			return fmt.Errorf("%s: %w", what, errInjected)
		}
		return nil
	}
	var want []string
	for i := range 100 {
		appendAll(t, l, fmt.Sprint(i))
		want = append(want, "r:"+fmt.Sprint(i))
	}
	m.Fail = nil
	if _, got := openShard(t, m, 0, 2); got != strings.Join(want, " ") {
		t.Errorf("got %s", got)
	}
}

func TestLog_SaysWhatIsUnknown(t *testing.T) {
	// Proves the three ends of an append that is given up: nothing sent is EUnavailable and may be repeated; a lost
	// answer is ErrUnknown and closes the log; the same, when another owner wrote behind it, is a success.
	m := memory(t)
	l, _ := openShard(t, m, 0, 1)
	try := func(fail func(what, subject string) error) error {
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		failed := 0
		m.Fail = func(what, subject string) error {
			err := fail(what, subject)
			if err != nil {
				failed++
			}
			if failed == 3 { // after more than one try
				giveUp()
			}
			return err
		}
		defer func() { m.Fail = nil }()
		return l.Append(ctx, []byte("a"))
	}
	deaf := func(what, _ string) error { return map[bool]error{true: errInjected}[what != "publish"] }
	if err := try(func(string, string) error { return errInjected }); brain.CodeOf(err) != brain.EUnavailable || errors.Is(err, ErrUnknown) {
		t.Errorf("nothing sent: %v", err)
	}
	appendAll(t, l, "b")
	if err := try(deaf); !errors.Is(err, ErrUnknown) || errors.Is(err, ErrFenced) {
		t.Errorf("answer lost: %v", err)
	}
	if err := l.Append(t.Context(), []byte("c")); !errors.Is(err, ErrUnknown) {
		t.Errorf("after an unknown end: %v", err)
	}
	l, got := openShard(t, m, 0, 2)
	if got != "r:b r:a" {
		t.Errorf("read %q", got)
	}
	taken := false
	m.Fail = func(what, _ string) error {
		if what == "ack" && !taken {
			taken = true
			openShard(t, m, 0, 3)
			return errInjected
		}
		return nil
	}
	if err := l.Append(t.Context(), []byte("d")); err != nil {
		t.Errorf("stored, and then taken over: %v", err)
	}
	if err := l.Append(t.Context(), []byte("e")); !errors.Is(err, ErrFenced) {
		t.Errorf("the next: %v", err)
	}
	if _, got = openShard(t, m, 0, 4); got != "r:b r:a r:d" {
		t.Errorf("read %q", got)
	}
}

func TestLog_HasOneCommitter(t *testing.T) {
	// Proves that a second append at the same time is refused and writes nothing.
	m := memory(t)
	l, _ := openShard(t, m, 0, 1)
	under, hold := make(chan struct{}), make(chan struct{})
	m.Fail = func(what, _ string) error {
		if what == "publish" {
			close(under)
			<-hold
		}
		return nil
	}
	done := make(chan error)
	go func() { done <- l.Append(t.Context(), []byte("a")) }()
	<-under
	if err := l.Append(t.Context(), []byte("b")); brain.CodeOf(err) != brain.EInternal {
		t.Errorf("the second: %v", err)
	}
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	m.Fail = nil
	if _, got := openShard(t, m, 0, 1); got != "r:a" {
		t.Errorf("read %q", got)
	}
}

func TestShard_RacingOwnersLoseNothing(t *testing.T) {
	// Proves that of owners that take one shard from each other while they write and snapshot, every acknowledged record
	// is read by the last one, once and in the order of its writer: each record counts up per writer.
	onBoth(t, func(t *testing.T, b backend) {
		var mu sync.Mutex
		epoch := uint64(0)
		acked := map[uint64]uint64{}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					mu.Lock()
					epoch++
					mine := epoch
					mu.Unlock()
					sum := map[uint64]uint64{} // by writer, the highest number
					l, err := b.Shard(t.Context(), 9, mine, sumLoader(t, sum))
					if err != nil {
						if !errors.Is(err, ErrFenced) {
							t.Error(err)
						}
						continue
					}
					writeUntilFenced(t, l, mine, sum, func(n uint64) {
						mu.Lock()
						acked[mine] = n
						mu.Unlock()
					})
				}
			})
		}
		wg.Wait()
		sum := map[uint64]uint64{}
		if _, err := b.Shard(t.Context(), 9, epoch+1, sumLoader(t, sum)); err != nil {
			t.Fatal(err)
		}
		for writer, n := range acked {
			if sum[writer] < n {
				t.Errorf("of writer %d %d records were acknowledged and %d read", writer, n, sum[writer])
			}
		}
	})
}

// sumLoader reads records of two numbers, the writer and its count, and a snapshot that is a row of such.
func sumLoader(t *testing.T, sum map[uint64]uint64) Loader {
	return Loader{
		Snapshot: func(part []byte, _ bool) error {
			for ; len(part) >= 16; part = part[16:] {
				sum[binary.BigEndian.Uint64(part)] = binary.BigEndian.Uint64(part[8:])
			}
			return nil
		},
		Record: func(_ uint64, data []byte) error {
			w, n := binary.BigEndian.Uint64(data), binary.BigEndian.Uint64(data[8:])
			if sum[w]+1 != n {
				t.Errorf("writer %d: record %d behind %d", w, n, sum[w])
			}
			sum[w] = n
			return nil
		},
	}
}

func writeUntilFenced(t *testing.T, l *Log, mine uint64, sum map[uint64]uint64, acked func(n uint64)) {
	for n := uint64(1); n <= 40; n++ {
		err := l.Append(t.Context(), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, mine), n))
		if err == nil && n%16 == 0 {
			sum[mine] = n
			var snap []byte
			for w, c := range sum {
				snap = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(snap, w), c)
			}
			acked(n)
			err = l.AppendSnapshot(t.Context(), snap, true, true)
		}
		if err != nil {
			if !errors.Is(err, ErrFenced) {
				t.Error(err)
			}
			return
		}
		acked(n)
	}
}

func TestChangeLog_IsOneLineOfVersions(t *testing.T) {
	// Proves that versions begin where they were told to and have no gaps with four writers at once, that a writer who
	// is behind hears ErrStale and writes nothing, and that a follower gets every change, once and in order.
	onBoth(t, func(t *testing.T, b backend) {
		ctx := t.Context()
		if _, err := b.ChangeLog(ctx, 0); brain.CodeOf(err) != brain.EInvalid {
			t.Errorf("first version 0: %v", err)
		}
		c, err := b.ChangeLog(ctx, 100)
		if err != nil {
			t.Fatal(err)
		}
		if last, err := c.Last(ctx); err != nil || last != 99 {
			t.Errorf("last of an empty log: %d, %v", last, err)
		}
		following, stop := context.WithCancel(ctx)
		var followed []int64
		done := make(chan error)
		go func() {
			done <- c.Follow(following, 100, func(v int64, data []byte) error {
				followed = append(followed, v)
				if v == 219 {
					stop()
				}
				return nil
			})
		}()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { appendChanges(t, b, 30) })
		}
		wg.Wait()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for i, v := range followed {
			if v != int64(100+i) {
				t.Fatalf("followed %v", followed)
			}
		}
		if len(followed) != 120 {
			t.Errorf("followed %d changes", len(followed))
		}
		n := 0
		if err := c.Read(ctx, 150, 160, func(int64, []byte) error { n++; return nil }); err != nil || n != 11 {
			t.Errorf("read %d, %v", n, err)
		}
		if err := c.Read(ctx, 99, 0, func(int64, []byte) error { return nil }); !errors.Is(err, ErrTrimmed) {
			t.Errorf("from before its beginning: %v", err)
		}
		if err := c.Read(ctx, 110, 0, func(int64, []byte) error { return errInjected }); !errors.Is(err, errInjected) {
			t.Errorf("an error of the reader: %v", err)
		}
	})
}

// appendChanges appends n changes, each behind the last one there is.
func appendChanges(t *testing.T, b backend, n int) {
	c, err := b.ChangeLog(t.Context(), 1)
	if err != nil {
		t.Error(err)
		return
	}
	for n > 0 {
		last, err := c.Last(t.Context())
		if err == nil {
			err = c.Append(t.Context(), last, []byte("change"))
		}
		switch {
		case err == nil:
			n--
		case !errors.Is(err, ErrStale):
			t.Error(err)
			return
		}
	}
}

func TestOpen_RefusesTheWrongMode(t *testing.T) {
	// Proves that a folder is opened by one process at a time and in its own mode only, that a store without a marker is
	// nobody's, and that nothing in the folder changes when it is refused.
	dir := t.TempDir()
	b := openSolo(t, dir)
	l, _ := openShard(t, b, 0, 1)
	appendAll(t, l, "kept")
	if _, err := Open(t.Context(), Config{Dir: dir, Log: quiet}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("twice: %v", err)
	}
	_ = b.Close()
	member := BusConfig{Name: "m", Dir: dir, ClusterName: "c", ClientListen: "127.0.0.1:0", ClusterListen: "127.0.0.1:0", Log: quiet}
	if err := RunBus(t.Context(), member); !errors.Is(err, ErrMode) || !strings.Contains(err.Error(), "sipio cluster migrate") {
		t.Errorf("as a cluster: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "mode")); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{RunBus(t.Context(), member), func() error { _, err := Open(t.Context(), Config{Dir: dir, Log: quiet}); return err }()} {
		if !errors.Is(err, ErrMode) {
			t.Errorf("without a marker: %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "mode"), []byte("solo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, got := openShard(t, openSolo(t, dir), 0, 2); got != "r:kept" {
		t.Errorf("read %q", got)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "mode"), []byte("cluster c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: other, Log: quiet}); !errors.Is(err, ErrMode) {
		t.Errorf("a cluster's folder as one machine's: %v", err)
	}
	for _, bad := range []BusConfig{{}, {Name: "m", Dir: other, ClusterName: "c", ClientListen: "0.0.0.0:4222", ClusterListen: "127.0.0.1:0", Log: quiet}} {
		if err := RunBus(t.Context(), bad); err == nil || errors.Is(err, ErrMode) {
			t.Errorf("config %+v: %v", bad, err)
		}
	}
}

func FuzzUnseal(f *testing.F) {
	// Proves that no bytes make the reader of messages panic, and that what it takes is what seal makes of it.
	f.Add(envelope{kind: kindSnapshot, first: true, epoch: 3, prev: 7, nonce: 9, generation: 4}.seal([]byte("data")))
	f.Add([]byte("SJ"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		e, data, err := unseal(msg)
		if err != nil {
			return
		}
		again, same, err := unseal(e.seal(data))
		if err != nil || again != e || string(same) != string(data) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

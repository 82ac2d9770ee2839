package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// memLog is a change log in memory that keeps the contract of Log. Its hooks make it fail.
type memLog struct {
	mu      sync.Mutex
	before  int64 // version before the first message
	list    [][]byte
	changed chan struct{} // closed and renewed by each Append

	onAppend func(version int64, data []byte) (keep bool, err error) // instead of keeping the message
	down     bool                                                    // nothing can be read
	stale    int                                                     // appends that were refused
}

var errLog = errors.New("the log is away")

func newMemLog() *memLog { return &memLog{changed: make(chan struct{})} }

func (l *memLog) last() int64 { return l.before + int64(len(l.list)) }

func (l *memLog) Append(_ context.Context, after int64, data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after != l.last() {
		l.stale++
		return errors.New("wrong last sequence")
	}
	keep, err := true, error(nil)
	if l.onAppend != nil {
		keep, err = l.onAppend(after+1, data)
	}
	if keep {
		l.keep(data)
	}
	return err
}

func (l *memLog) keep(data []byte) {
	l.list = append(l.list, slices.Clone(data))
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *memLog) Last(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, errLog
	}
	return l.last(), nil
}

func (l *memLog) Read(_ context.Context, from, to int64, fn func(int64, []byte) error) error {
	l.mu.Lock()
	list, before, down := slices.Clone(l.list), l.before, l.down
	l.mu.Unlock()
	if down {
		return errLog
	}
	if from <= before {
		return fmt.Errorf("%w: it begins after %d", ErrBehind, before)
	}
	for i, data := range list {
		if v := before + 1 + int64(i); v >= from && v <= to {
			if err := fn(v, data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *memLog) Follow(ctx context.Context, from int64, fn func(int64, []byte) error) error {
	for {
		l.mu.Lock()
		to, changed := l.last(), l.changed
		l.mu.Unlock()
		if err := l.Read(ctx, from, to, fn); err != nil {
			return err
		}
		from = max(from, to+1)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// forget drops the messages up to a version, as a log of bounded size does.
func (l *memLog) forget(upTo int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.before = l.list[upTo-l.before:], upTo
}

// joined is a new store on the log.
func joined(t testing.TB, log Log) *Store {
	t.Helper()
	s := openStore(t)
	if err := s.Replicate(context.Background(), log); err != nil {
		t.Fatal(err)
	}
	return s
}

func level(t testing.TB, stores ...*Store) {
	t.Helper()
	for _, s := range stores {
		if err := s.Level(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// wantEqual brings the stores level and compares them: digests, what decisions see, and what the files have.
func wantEqual(t testing.TB, stores ...*Store) {
	t.Helper()
	level(t, stores...)
	version, sum, err := stores[0].Digest(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	seen := dump(t, stores[0])
	for i, s := range stores {
		for _, where := range []string{"memory", "file"} {
			if v, got, err := s.Digest(context.Background()); v != version || got != sum || err != nil {
				t.Errorf("store %d in %s: version %d digest %s, %v; want %d %s", i, where, v, got, err, version, sum)
			}
			if got := dump(t, s); got != seen {
				t.Errorf("store %d in %s:\n%s\nwant:\n%s", i, where, got, seen)
			}
			if err := s.reload(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

package actor

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// bulky is a tally with a snapshot of a thousand bytes and more.
type bulky struct{ *tally }

func (m bulky) AppendSnapshot(b []byte) []byte {
	return append(m.tally.AppendSnapshot(b), bytes.Repeat([]byte{0}, 1000)...)
}

func restoreBulky(id string, snap []byte) (Machine, error) {
	m, err := restoreTally(id, snap[:len(snap)-1000])
	if err != nil {
		return nil, err
	}
	return bulky{m.(*tally)}, nil
}

// snapshotCounter counts the snapshots that went into a log.
type snapshotCounter struct {
	Log
	n *atomic.Int64
}

func (l snapshotCounter) AppendSnapshot(ctx context.Context, part []byte, first, last bool) error {
	if last {
		l.n.Add(1)
	}
	return l.Log.AppendSnapshot(ctx, part, first, last)
}

// The first snapshot comes after SnapshotEvery records, the next one not before the records behind it have as many bytes
// as it has: a record here has ten, the snapshot a thousand. After a restart the same holds.
func TestHost_SnapshotsAreAsRareAsTheyAreLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		var snapshots atomic.Int64
		begin := func(epoch uint64) *Host {
			h := NewHost(func(ctx context.Context, shard int, epoch uint64, snapshot func([]byte, bool) error, record func([]byte) error) (Log, error) {
				l, err := s.open(ctx, shard, epoch, snapshot, record)
				return snapshotCounter{l, &snapshots}, err
			})
			h.New, h.Restore = func(string) Machine { return bulky{&tally{}} }, restoreBulky
			h.Log, h.SnapshotEvery = quiet(), 5
			own(t, h, epoch)
			return h
		}
		h := begin(1)
		after := func(ops int, want int64) {
			t.Helper()
			for range ops {
				if _, err := h.Do(t.Context(), "a", ClassStep, []byte{1}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // a snapshot that was begun is written
			}
			if got := snapshots.Load(); got != want {
				t.Errorf("%d snapshots, want %d", got, want)
			}
		}
		after(4, 0)
		after(1, 1)
		after(50, 1)
		closeHost(h)
		h = begin(2)
		defer func() { closeHost(h) }()
		after(40, 1)
		after(20, 2)
		after(90, 2)
	})
}

// Package state holds proofs of the live state as a whole: machines, actors and journal together. What a test
// believes of them it counts by itself, outside.
package state

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/journal"
)

var quiet = slog.New(slog.DiscardHandler)

// shardLogs is what a journal must offer here: that of NATS and the one in memory do.
type shardLogs interface {
	Shard(ctx context.Context, shard int, epoch uint64, load journal.Loader) (*journal.Log, error)
}

// logsOf lets actors open the logs of a journal.
func logsOf(j shardLogs) actor.OpenLog {
	return func(ctx context.Context, shard int, epoch uint64, snapshot func([]byte, bool) error, record func([]byte) error) (actor.Log, error) {
		l, err := j.Shard(ctx, shard, epoch, journal.Loader{
			Snapshot: snapshot,
			Record:   func(_ uint64, data []byte) error { return record(data) },
		})
		if err != nil {
			return nil, err
		}
		return l, nil
	}
}

func embedded(t *testing.T) *journal.Bus {
	t.Helper()
	bus, err := journal.Open(t.Context(), journal.Config{Dir: t.TempDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close() })
	return bus
}

func inMemory() *journal.Memory {
	m := journal.NewMemory()
	m.Log = quiet
	return m
}

// owner is a host that owns every shard of a journal under an epoch. snapshotEvery is in records of a shard, 0 = as in production.
func owner(t *testing.T, j shardLogs, epoch uint64, now func() time.Time, snapshotEvery int) *actor.Host {
	t.Helper()
	h := actor.NewHost(logsOf(j))
	h.Log, h.Now = quiet, now
	if snapshotEvery > 0 {
		h.SnapshotEvery = snapshotEvery
	}
	h.OnLost = func(shard int, _ uint64, err error) { t.Errorf("shard %d was lost: %v", shard, err) }
	var takers sync.WaitGroup
	for n := range brain.Shards {
		takers.Go(func() {
			if err := h.Acquire(t.Context(), n, epoch); err != nil {
				t.Errorf("take shard %d: %v", n, err)
			}
		})
	}
	if takers.Wait(); t.Failed() {
		t.FailNow()
	}
	return h
}

func shut(h *actor.Host) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h.Close(ctx)
}

// nodes is a configuration of nodes alone, with what each of them can carry. Ends of calls are taken without
// anything else.
type nodes map[string]int

func (nodes) ByDomain(string) *brain.AccountConfig  { return nil }
func (nodes) ByAccount(string) *brain.AccountConfig { return nil }
func (n nodes) ActiveNodes() int                    { return len(n) }
func (nodes) Version() int64                        { return 1 }
func (n nodes) NodeByName(name string) *brain.Node {
	return &brain.Node{Name: name, Capacity: n[name]}
}

func (nodes) ByDID(string) (*brain.AccountConfig, *brain.DID)               { return nil, nil }
func (nodes) TrunkBySource(string) (*brain.AccountConfig, *brain.SIPTrunk)  { return nil, nil }
func (nodes) TrunkByTLSName(string) (*brain.AccountConfig, *brain.SIPTrunk) { return nil, nil }
func (nodes) TrunkSources() []string                                        { return nil }
func (nodes) Nodes() []*brain.Node                                          { return nil }

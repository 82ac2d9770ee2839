package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/session"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/journal"
)

// operator answers what operators ask of the installation.
type operator struct {
	name  string
	live  *live
	store *config.Store
}

// Cluster is what this brain knows of the others and of who owns what.
func (o *operator) Cluster(ctx context.Context) (api.ClusterState, error) {
	m := o.live.member.Load()
	if m == nil {
		return api.ClusterState{}, brain.Errorf(brain.EUnavailable, "this brain has not joined yet")
	}
	state := api.ClusterState{Name: o.name}
	var err error
	if state.ConfigVersion, state.ConfigDigest, err = o.store.Digest(ctx); err != nil {
		return api.ClusterState{}, err
	}
	for _, b := range m.Members() {
		state.Brains = append(state.Brains, api.BrainSeen{Name: b.Name, Live: b.Live, SilentMS: b.Silent.Milliseconds(), Shards: b.Shards})
	}
	for n := range brain.Shards {
		owner, epoch := m.Owner(n)
		state.Shards = append(state.Shards, api.ShardSeen{Shard: n, Owner: owner, Epoch: epoch})
	}
	return state, nil
}

// Journal says what each shard's journal holds.
func (o *operator) Journal(ctx context.Context) (api.JournalState, error) {
	stats, err := o.live.bus.Stat(ctx)
	if err != nil {
		return api.JournalState{}, err
	}
	state := api.JournalState{Shards: make([]api.ShardJournal, len(stats))}
	for i, s := range stats {
		state.Shards[i] = api.ShardJournal(s)
	}
	return state, nil
}

// Dump gives fn every record of a shard, from its newest snapshot on, in order.
func (o *operator) Dump(ctx context.Context, shard int, fn func(api.JournalRecord) error) error {
	var snapshot []byte
	return o.live.bus.Dump(ctx, shard, func(e journal.Entry) error {
		at := api.JournalRecord{Shard: shard, Seq: e.Seq, Epoch: e.Epoch, Damage: e.Damage}
		switch {
		case e.Damage != "":
			return fn(at)
		case e.Kind == "snapshot":
			if e.First {
				snapshot = nil
			}
			if snapshot = append(snapshot, e.Data...); !e.Last {
				return nil
			}
			return dumpSnapshot(snapshot, at, fn)
		case e.Kind == "record":
			return actor.EachRecord(e.Data, func(id string, nowMS int64, op []byte) error {
				at.ID, at.TimeMS = id, nowMS
				described, err := describe(id, op)
				if err != nil {
					return fmt.Errorf("shard %d, message %d: %w", shard, e.Seq, err)
				}
				if at.Op, err = json.Marshal(described); err != nil {
					return fmt.Errorf("shard %d, message %d: %w", shard, e.Seq, err)
				}
				return fn(at)
			})
		}
		return nil
	})
}

// describe reads an op of a live object for people.
func describe(id string, op []byte) (any, error) {
	if _, ok := brain.IsCallObject(id); ok {
		return session.Describe(op)
	}
	if brain.IsLocksObject(id) {
		return session.DescribeWrong(op)
	}
	if _, ok := brain.IsWalletObject(id); ok {
		return balance.DescribePayer(op)
	}
	if id == brain.GuardObject {
		return guard.Describe(op)
	}
	return presence.Describe(op)
}

func dumpSnapshot(data []byte, at api.JournalRecord, fn func(api.JournalRecord) error) error {
	return actor.EachState(data, func(id string, state []byte) error {
		at.ID, at.Snapshot = id, state
		return fn(at)
	})
}

// keepSnapshot leaves a copy of the configuration for brains that are new, when the change log does not reach back
// to its beginning and there is none yet.
func keepSnapshot(ctx context.Context, bus *journal.Bus, store *config.Store) error {
	if store.Directory().Version() == 0 {
		return nil
	}
	_, old, err := bus.Snapshot(ctx)
	if err == nil {
		return old.Close()
	}
	if brain.CodeOf(err) != brain.ENotFound {
		return err
	}
	r, w := io.Pipe()
	go func() {
		_, err := store.WriteSnapshot(ctx, w)
		w.CloseWithError(err)
	}()
	err = bus.PutSnapshot(ctx, store.Directory().Version(), r)
	return errors.Join(err, r.Close())
}

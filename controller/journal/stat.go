package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/sipio/sipio/brain"
)

// ShardStat says what the log of one shard holds.
type ShardStat struct {
	Shard    int    `json:"shard"`
	First    uint64 `json:"first"` // sequence of its first message, 0 when it is empty
	Last     uint64 `json:"last"`
	Messages int    `json:"messages"`
	Bytes    int64  `json:"bytes"`            // of data, without what the store adds
	Epoch    uint64 `json:"epoch"`            // of the last message
	Snapshot uint64 `json:"snapshot"`         // sequence of the last part of the last complete snapshot, 0 when there is none
	Damage   string `json:"damage,omitempty"` // what is missing or altered, in words
}

// Entry is one message of a log.
type Entry struct {
	Seq        uint64 `json:"seq"`
	TimeMS     int64  `json:"time_ms"` // when the store took it
	Kind       string `json:"kind"`    // record, snapshot, takeover, change
	Epoch      uint64 `json:"epoch"`
	Prev       uint64 `json:"prev"`
	Generation uint64 `json:"generation,omitempty"` // of a snapshot
	First      bool   `json:"first,omitempty"`
	Last       bool   `json:"last,omitempty"`
	Data       []byte `json:"data"`
	Damage     string `json:"damage,omitempty"` // why Data is not to be trusted
}

// Stat reads all logs through and says what they hold: an operator's question, not one for every second.
func (b *Bus) Stat(ctx context.Context) ([]ShardStat, error) {
	return statAll(ctx, func(shard int) line { return b.shardLine(shard) })
}

// Dump gives fn every message of a shard's log, damaged ones too, and changes nothing. An error of fn ends it.
func (b *Bus) Dump(ctx context.Context, shard int, fn func(Entry) error) error {
	if err := checkShard(shard); err != nil {
		return err
	}
	return dump(ctx, b.shardLine(shard), fn)
}

func statAll(ctx context.Context, lineOf func(shard int) line) ([]ShardStat, error) {
	stats := make([]ShardStat, brain.Shards)
	for shard := range stats {
		s, err := statOf(ctx, lineOf(shard))
		if err != nil {
			return nil, fmt.Errorf("read shard %d: %w", shard, err)
		}
		s.Shard = shard
		stats[shard] = s
	}
	return stats, nil
}

func statOf(ctx context.Context, l line) (s ShardStat, err error) {
	h := &history{open: -1}
	err = walk(ctx, l, func(got entry) error {
		if s.First == 0 {
			s.First = got.seq
		}
		s.Last = got.seq
		s.Messages++
		s.Bytes += int64(len(got.msg))
		h.add(got, true)
		if n := len(h.entries); n > 0 {
			h.entries[n-1].data = nil // counted; only the shape matters from here on
			s.Epoch = h.entries[n-1].epoch
		}
		return nil
	})
	s.Snapshot = h.restart
	s.Damage = describe(append(h.old, h.faults...))
	return s, err
}

func dump(ctx context.Context, l line, fn func(Entry) error) error {
	return walk(ctx, l, func(got entry) error {
		e, data, err := unseal(got.msg)
		if err != nil {
			return fn(Entry{Seq: got.seq, TimeMS: got.timeMS, Data: got.msg, Damage: err.Error()})
		}
		return fn(Entry{
			Seq: got.seq, TimeMS: got.timeMS, Kind: e.kind.String(), Epoch: e.epoch, Prev: e.prev, Generation: e.generation,
			First: e.first, Last: e.last, Data: data,
		})
	})
}

// walk reads a line from its beginning to its end.
func walk(ctx context.Context, l line, fn func(entry) error) error {
	var at uint64
	var stop error
	visit := func(got entry) error {
		if got.seq <= at {
			return nil
		}
		at = got.seq
		stop = fn(got)
		return stop
	}
	_ = l.bulk(ctx, 0, visit)
	for stop == nil {
		got, err := l.next(ctx, at+1)
		if errors.Is(err, errNone) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = visit(got)
	}
	return stop
}

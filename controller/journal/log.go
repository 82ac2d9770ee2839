package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/sipio/sipio/brain"
)

// Log is the journal of one shard, open for its owner. One caller at a time appends, and waits for the answer:
// with one message under way the order of the log is the order of the calls.
type Log struct {
	shard  int
	epoch  uint64
	line   line
	log    *slog.Logger
	onMark func(seq uint64) // told each acknowledged sequence

	busy   atomic.Bool // an append is under way; it alone uses what follows
	prev   uint64
	nonce  uint64
	parts  envelope // of the snapshot under way: generation and first; zero = none
	start  uint64   // sequence of its first part
	fault  error    // why the log can write no more
	seq    atomic.Uint64
	purges sync.WaitGroup
}

// errMisuse is a fault of the caller: nothing was written.
var errMisuse = brain.Errorf(brain.EInternal, "two appends to one shard at once: a log has one committer")

// Epoch is that of the owner that opened the log.
func (l *Log) Epoch() uint64 { return l.epoch }

// Seq is the sequence of the last acknowledged message.
func (l *Log) Seq() uint64 { return l.seq.Load() }

// Close ends the use of the log. What is under way ends by its own context.
func (l *Log) Close() { l.purges.Wait() }

// Append writes data, at most MaxRecord bytes, and returns when it is stored for good. It tries until ctx ends.
// ErrFenced: another owner has written, data is not stored. ErrUnknown: data may be stored or not. After either the
// log takes nothing more; open the shard again. brain.EUnavailable: data is not stored, and may be appended again.
func (l *Log) Append(ctx context.Context, data []byte) error {
	return l.append(ctx, envelope{kind: kindRecord}, data)
}

// AppendSnapshot writes a part of a snapshot: of the state as of the moment of the first part, whatever is appended
// between the parts. Parts come in order, first and last marked; one that begins anew drops one that was under way.
// After the last part the log before the first is deleted. Errors are those of Append.
func (l *Log) AppendSnapshot(ctx context.Context, part []byte, first, last bool) error {
	e := envelope{kind: kindSnapshot, first: first, last: last}
	return l.append(ctx, e, part)
}

func (l *Log) append(ctx context.Context, e envelope, data []byte) error {
	if !l.busy.CompareAndSwap(false, true) {
		return errMisuse
	}
	defer l.busy.Store(false)
	if l.fault != nil {
		return l.fault
	}
	if e.kind == kindSnapshot {
		switch {
		case e.first:
			l.parts = envelope{kind: kindSnapshot, generation: l.nonce + 1}
		case l.parts.kind == 0:
			return brain.Errorf(brain.EInternal, "a part of a snapshot of shard %d without its first part", l.shard)
		}
		e.generation = l.parts.generation
	}
	seq, err := l.put(ctx, e, data)
	if err != nil {
		return err
	}
	if e.kind == kindSnapshot {
		l.stored(e, seq)
	}
	return nil
}

// put writes a message behind the last one.
func (l *Log) put(ctx context.Context, e envelope, data []byte) (uint64, error) {
	l.nonce++
	e.epoch, e.prev, e.nonce = l.epoch, l.prev, l.nonce
	seq, err := write(ctx, l.line, e, data)
	if err != nil {
		err = fmt.Errorf("append to shard %d: %w", l.shard, err)
		if errors.Is(err, ErrFenced) || errors.Is(err, ErrUnknown) || errors.Is(err, ErrDamaged) {
			l.fault = err
		}
		return 0, err
	}
	l.prev = seq
	l.seq.Store(seq)
	l.onMark(seq)
	return seq, nil
}

// stored goes on after a part: behind the last one the log before the first is dropped.
func (l *Log) stored(e envelope, seq uint64) {
	if e.first {
		l.start = seq
	}
	if e.last {
		l.parts = envelope{}
		l.purge(l.start)
	}
}

// purge deletes what a snapshot has made superfluous, beside the appends. Should it fail, the next one does it.
func (l *Log) purge(before uint64) {
	l.purges.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), apiTimeout)
		defer cancel()
		if err := l.line.purge(ctx, before); err != nil {
			l.log.Warn("old journal not deleted, the next snapshot will", "shard", l.shard, "before", before, "err", err)
		}
	})
}

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

// changeNews is told after each change, so that the others need not wait for their next look.
const changeNews = "cfg.news"

// lookEvery is how often Follow looks by itself: the news may be lost.
const lookEvery = 500 * time.Millisecond

// news is what a change log needs of a Bus or a Memory beside its line.
type news interface {
	Publish(subject string, data []byte) error
	Subscribe(subject string, fn func(data []byte)) (stop func(), err error)
}

// ChangeLog is the log of the configuration's changes. The sequence of a change is the version that it makes.
type ChangeLog struct {
	line line
	news news
	log  *slog.Logger
	mu   sync.Mutex // one append at a time, here; other brains are held off by the sequence
}

func newChangeLog(l line, n news, log *slog.Logger) *ChangeLog {
	return &ChangeLog{line: l, news: n, log: log}
}

// configStream is the CONFIG stream once it was opened.
type configStream struct {
	mu     sync.Mutex
	stream jetstream.Stream
}

func errFirstVersion(v int64) error {
	return brain.Errorf(brain.EInvalid, "a change log cannot begin with version %d: 1 is the first", v)
}

// ChangeLog opens the change log. One that is not there yet is made, and its first change will be firstVersion, at
// least 1; of one that is there firstVersion is not looked at.
func (b *Bus) ChangeLog(ctx context.Context, firstVersion int64) (*ChangeLog, error) {
	b.config.mu.Lock()
	defer b.config.mu.Unlock()
	if b.config.stream == nil {
		if firstVersion < 1 {
			return nil, errFirstVersion(firstVersion)
		}
		cfg := b.streamConfig(changeStream)
		cfg.Subjects, cfg.FirstSeq = []string{changeSubject}, uint64(firstVersion)
		s, err := b.makeStream(ctx, cfg)
		if err != nil {
			return nil, err
		}
		b.config.stream = s
	}
	l := &streamLine{bus: b, stream: b.config.stream, subject: changeSubject, whole: true}
	return newChangeLog(l, b, b.log), nil
}

// Append writes the change that makes version after+1. ErrStale: the log is past after, nothing is written; read what is
// new, and decide again. ErrUnknown: ctx ended before it was clear whether it is written; read on from after+1 to know.
func (c *ChangeLog) Append(ctx context.Context, after int64, data []byte) error {
	if after < 0 {
		return brain.Errorf(brain.EInvalid, "no version %d", after)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	seq, err := write(ctx, c.line, envelope{kind: kindChange, prev: uint64(after), nonce: newNonce()}, data)
	switch {
	case errors.Is(err, ErrUnknown):
		return fmt.Errorf("append to the change log: %w", err)
	case errors.Is(err, ErrFenced):
		return fmt.Errorf("append to the change log behind version %d: %w", after, ErrStale)
	case err != nil:
		return fmt.Errorf("append to the change log: %w", err)
	case seq != uint64(after)+1:
		return fmt.Errorf("append to the change log: %w: version %d was stored as %d", ErrDamaged, after+1, seq)
	}
	_ = c.news.Publish(changeNews, nil) // a hint only
	return nil
}

// Last is the newest version in the log. Of a log without changes it is the one before the first.
func (c *ChangeLog) Last(ctx context.Context) (int64, error) {
	seq, err := c.line.last(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the change log: %w", err)
	}
	return int64(seq), nil
}

// Read gives fn the changes from one version to another, both included, in order and without gaps; to = 0 means the
// newest. ErrTrimmed: the log begins after from. ErrDamaged: one that should be there is not. An error of fn ends it.
func (c *ChangeLog) Read(ctx context.Context, from, to int64, fn func(version int64, data []byte) error) error {
	_, err := c.read(ctx, from, to, fn)
	return err
}

// read also says which version comes next.
func (c *ChangeLog) read(ctx context.Context, from, to int64, fn func(version int64, data []byte) error) (int64, error) {
	last, err := c.Last(ctx)
	if err != nil {
		return from, err
	}
	if to <= 0 || to > last {
		to = last
	}
	v := max(from, 1)
	give := func(e entry) error {
		env, data, err := unseal(e.msg)
		if err != nil || env.kind != kindChange {
			return fmt.Errorf("%w: change log, version %d: %v", ErrDamaged, v, err)
		}
		if err := fn(v, data); err != nil {
			return fmt.Errorf("apply version %d of the change log: %w", v, err)
		}
		v++
		return nil
	}
	if to-v > shortRead {
		var stop error
		_ = c.line.bulk(ctx, uint64(v), func(e entry) error {
			if e.seq != uint64(v) || v > to {
				return errNone
			}
			stop = give(e)
			return stop
		})
		if stop != nil {
			return v, stop
		}
	}
	for v <= to {
		e, err := c.line.next(ctx, uint64(v))
		if err != nil && !errors.Is(err, errNone) {
			return v, fmt.Errorf("read the change log: %w", err)
		}
		if err != nil || e.seq != uint64(v) {
			return v, c.gap(ctx, v, last)
		}
		if err := give(e); err != nil {
			return v, err
		}
	}
	return v, nil
}

// gap says why a version is not there.
func (c *ChangeLog) gap(ctx context.Context, v, last int64) error {
	first, err := c.line.next(ctx, 0)
	if errors.Is(err, errNone) || err == nil && first.seq > uint64(v) {
		return fmt.Errorf("%w: version %d is not in it any more, or never was; load a snapshot of the configuration", ErrTrimmed, v)
	}
	if err != nil {
		return fmt.Errorf("read the change log: %w", err)
	}
	return fmt.Errorf("%w: the change log is missing version %d (its newest is %d)", ErrDamaged, v, last)
}

// Follow gives fn the changes from a version on, in order and without gaps, and then each new one, until ctx ends (its
// error is returned). A store that cannot be reached is waited for. ErrTrimmed, ErrDamaged and errors of fn end it.
func (c *ChangeLog) Follow(ctx context.Context, from int64, fn func(version int64, data []byte) error) error {
	wake := make(chan struct{}, 1)
	stop, err := c.news.Subscribe(changeNews, func([]byte) {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	away := false
	for {
		from, err = c.read(ctx, from, 0, fn)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !unreachable(err):
			return err
		case err != nil && !away:
			c.log.Warn("change log cannot be read, waiting for it", "err", err)
		case err == nil && away:
			c.log.Info("change log is read again")
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-ticker.C:
		}
	}
}

// unreachable: the error passes when the store is back.
func unreachable(err error) bool { return brain.CodeOf(err) == brain.EUnavailable || notReady(err) }

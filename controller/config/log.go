package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sipio/sipio/brain"
)

// Log is the change log that the brains of an installation share: message N is the change set that made
// version N of the configuration. The order in it is the order of the changes, for everybody.
type Log interface {
	// Append adds a message when the newest one is after, as version after+1. On any error the store
	// reads at after+1 to find out whether its own message got in, another one, or none.
	Append(ctx context.Context, after int64, data []byte) error
	// Last is the newest version; of an empty log the one before its first. It must not lag behind an
	// Append that has returned anywhere.
	Last(ctx context.Context) (int64, error)
	// Read calls fn for the messages from version from to version to, in order, as far as there are any
	// yet. ErrBehind: the log begins after from. An error of fn ends it and is returned.
	Read(ctx context.Context, from, to int64, fn func(version int64, data []byte) error) error
	// Follow calls fn for every message from version from on, in order, until ctx ends or fn fails.
	// ErrBehind: as for Read.
	Follow(ctx context.Context, from int64, fn func(version int64, data []byte) error) error
}

// ErrBehind says that the log begins after the version that is wanted of it. From Replicate and Follow: it
// no longer has the changes that the file lacks; LoadSnapshot, then Open and Replicate again.
var ErrBehind = errors.New("the change log no longer has the changes that this configuration lacks: it needs a snapshot of another brain")

// ErrDiffers says that the file and the log are not of one configuration. Nothing is changed then; what
// to do is the operator's decision and stands in the text of the error.
var ErrDiffers = errors.New("the configuration file and the change log do not belong together")

// errOvertaken: another brain's change has the version that was wanted.
var errOvertaken = errors.New("overtaken by another brain's change")

// errUnpublished: the log did not take the change, or did not say so.
var errUnpublished = brain.Errorf(brain.EUnavailable, "the change log did not confirm the change; if it is in there after all, it takes effect later")

// errUnwritten: the change is in the log, but this brain's file could not take it. It is replayed.
var errUnwritten = brain.Errorf(brain.EUnavailable, "the change is in the change log, but not in this brain's file yet: it takes effect here as soon as the file can be written")

// Bounds of waiting for the log while a caller waits for a change.
const (
	logTimeout   = 10 * time.Second // of one question, or of one message
	catchTimeout = 30 * time.Second // of reading what other brains have changed
)

// Replicate attaches the change log: it brings the file level with it, and from then on every change
// goes through it before it is made. Call it once, before the store is used, then run Follow.
//
// When the log is empty and begins right after the file's version, a first message is appended that
// holds the digest of this configuration, so that a file with another one cannot join. Errors:
// ErrBehind, ErrDiffers, EUnavailable when the log cannot be read.
func (s *Store) Replicate(ctx context.Context, log Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log != nil {
		return errors.New("the configuration has a change log already")
	}
	s.log = log
	if err := s.join(ctx); err != nil {
		s.log = nil
		return fmt.Errorf("join the change log: %w", err)
	}
	return nil
}

// join compares the file with the log, and makes it level.
func (s *Store) join(ctx context.Context) error {
	known, err := s.sameLineage(ctx)
	if err != nil {
		return err
	}
	for range maxAttempts {
		version := s.state.Load().version
		if err := s.replay(ctx); err != nil {
			return err
		}
		if known || version == 0 || s.state.Load().version > version {
			return nil // a message that says what the log began with has been compared on the way
		}
		if err := s.anchor(ctx); !errors.Is(err, errOvertaken) {
			return err
		}
	}
	return brain.Errorf(brain.EUnavailable, "the change log moves on faster than it can be followed")
}

// sameLineage compares the file's newest revision with the log's message of that version. It says
// whether there is such a message.
func (s *Store) sameLineage(ctx context.Context) (known bool, err error) {
	version := s.state.Load().version
	if version == 0 {
		return false, nil
	}
	list, err := revisions(ctx, s.db, 1)
	if err != nil || len(list) == 0 {
		return false, fmt.Errorf("read the newest revision: %w", err)
	}
	err = s.read(ctx, version, version, func(_ int64, data []byte) error {
		known = true
		e, err := readEntry(version, data)
		if err != nil {
			return err
		}
		if e.revision() != list[0] {
			return differs("revision %d is %q of %s in the file, %q of %s in the log", version, list[0].Summary, list[0].Actor, e.Summary, e.Actor)
		}
		return nil
	})
	if errors.Is(err, ErrBehind) {
		return false, nil // it begins after the file's version, at once or because older messages are gone
	}
	return known, err
}

// anchor appends the message that the log of an existing file begins with.
func (s *Store) anchor(ctx context.Context) error {
	base := s.state.Load()
	sum, err := base.digest()
	if err != nil {
		return err
	}
	rev := brain.Revision{Version: base.version + 1, TimeMS: s.now().UnixMilli(), Actor: "change log", Summary: "the change log begins"}
	ctx = context.WithoutCancel(ctx)
	publish, err := s.publication(ctx, newEntry(rev, nil, sum))
	if err != nil {
		return err
	}
	if err := writeRevision(ctx, s.db, rev, nil, publish); err != nil {
		return err
	}
	s.state.Store(newDraft(base).build(rev.Version, nil))
	return nil
}

// differs makes an ErrDiffers with what to do.
func differs(format string, args ...any) error {
	return fmt.Errorf("%w: %s; to go on with the log, move the file away and start again; to go on with the file, begin a new log after its version",
		ErrDiffers, fmt.Sprintf(format, args...))
}

// read reads messages. A fault of the log itself is EUnavailable; one of fn is returned as it is.
func (s *Store) read(ctx context.Context, from, to int64, fn func(version int64, data []byte) error) error {
	var fault error
	err := s.log.Read(ctx, from, to, func(version int64, data []byte) error {
		fault = fn(version, data)
		return fault
	})
	if fault != nil {
		return fault
	}
	return unread(err)
}

func unread(err error) error {
	if err == nil || errors.Is(err, ErrBehind) {
		return err
	}
	return fmt.Errorf("%w: %w", brain.Errorf(brain.EUnavailable, "the change log cannot be read"), err)
}

// Level brings the store level with every change that any brain has acknowledged. Without a change log
// it does nothing. EUnavailable: the log cannot be read.
func (s *Store) Level(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catchUp(ctx)
}

func (s *Store) catchUp(ctx context.Context) error {
	if s.log == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, catchTimeout)
	defer cancel()
	return s.replay(ctx)
}

// replay applies what the log has and the file has not.
func (s *Store) replay(ctx context.Context) error {
	last, err := s.log.Last(ctx)
	if err != nil {
		return unread(err)
	}
	version := s.state.Load().version
	switch {
	case last == version:
		return nil
	case last < version:
		return differs("the file has version %d, the log ends at %d: it has lost changes, or the file was changed without it", version, last)
	}
	if err := s.read(ctx, version+1, last, func(version int64, data []byte) error { return s.take(ctx, version, data) }); err != nil {
		return err
	}
	if got := s.state.Load().version; got < last {
		return fmt.Errorf("%w: it has version %d, the log goes on after %d", ErrBehind, got, last)
	}
	return nil
}

// Follow applies the changes of other brains as they come, each in one transaction with its version, and
// swaps the snapshot. It returns when ctx ends, or with what kept it from going on; it may be called
// again then.
func (s *Store) Follow(ctx context.Context) error {
	s.mu.Lock()
	log := s.log
	s.mu.Unlock()
	if log == nil {
		return errors.New("the configuration has no change log to follow")
	}
	return log.Follow(ctx, s.state.Load().version+1, func(version int64, data []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.take(ctx, version, data)
	})
}

// take applies one message of the log. A version that the file has already is passed over.
func (s *Store) take(ctx context.Context, version int64, data []byte) error {
	base := s.state.Load()
	if version <= base.version {
		return nil
	}
	if version != base.version+1 {
		return fmt.Errorf("%w: it has version %d, the log goes on at %d", ErrBehind, base.version, version)
	}
	e, err := readEntry(version, data)
	if err != nil {
		return err
	}
	if e.Digest != "" {
		if sum, err := base.digest(); err != nil || sum != e.Digest {
			return errors.Join(differs("at version %d the configuration is not the one that the log began with", base.version), err)
		}
	}
	ops, err := e.ops(base)
	if err != nil {
		return err
	}
	d := newDraft(base)
	for _, o := range ops {
		o.apply(d)
	}
	next := d.build(version, nil)
	if err := writeRevision(WithPeer(context.WithoutCancel(ctx), e.Peer), s.db, e.revision(), ops, nil); err != nil {
		return fmt.Errorf("write version %d of the change log: %w", version, classify(err))
	}
	s.state.Store(next)
	return nil
}

// publication returns what appends a change set to the log: nil without one.
func (s *Store) publication(ctx context.Context, e *entry) (func() error, error) {
	if s.log == nil {
		return nil, nil
	}
	data, err := writeEntry(e)
	if err != nil {
		return nil, err
	}
	return func() error { return s.publish(ctx, e.Version, data) }, nil
}

// publish appends a message. Only the log knows whether an append that failed got in after all, so it is asked.
func (s *Store) publish(ctx context.Context, version int64, data []byte) error {
	appending, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	err := s.log.Append(appending, version-1, data)
	if err == nil {
		return nil
	}
	reading, done := context.WithTimeout(ctx, logTimeout)
	defer done()
	mine, taken := false, false
	readErr := s.log.Read(reading, version, version, func(_ int64, got []byte) error {
		taken, mine = true, bytes.Equal(got, data)
		return nil
	})
	switch {
	case mine:
		return nil
	case taken:
		return errOvertaken
	}
	return fmt.Errorf("%w: %w", errUnpublished, errors.Join(err, readErr))
}

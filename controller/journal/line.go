package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sipio/sipio/brain"
)

// line is one fenced sequence of messages: a shard's log, or the change log. There are two: of JetStream and of Memory.
type line interface {
	// publish stores a message behind the message prev, once. wrongLast and errNotSent: this attempt
	// stored nothing. Any other error: it may have.
	publish(ctx context.Context, prev uint64, msg []byte) (seq uint64, err error)
	// next is the first message at or after seq as the leader of the store has it; errNone: there is none.
	next(ctx context.Context, seq uint64) (entry, error)
	// last is the sequence of the last message as the leader has it, 0 when there never was one.
	last(ctx context.Context) (uint64, error)
	// bulk reads the messages at or after seq quickly, in order, and may end early or miss some.
	bulk(ctx context.Context, seq uint64, fn func(entry) error) error
	// purge deletes the messages before seq.
	purge(ctx context.Context, seq uint64) error
}

// entry is a stored message.
type entry struct {
	seq    uint64
	timeMS int64 // when the store took it, by the clock of its machine
	msg    []byte
}

// wrongLast: another message is last, that with sequence seq (0 when the store does not say).
type wrongLast struct {
	seq uint64
	err error
}

func (w wrongLast) Error() string { return fmt.Sprintf("another message is last: %v", w.err) }

// What else a line says. See its methods.
var (
	errNotSent = errors.New("not stored")
	errNone    = errors.New("no message")
)

// write puts a message behind prev and tries again until ctx ends, looking each time whether an attempt without an
// answer arrived after all. Errors: ErrFenced (another message stands there), ErrUnknown (it may be stored),
// both (another stands there, and what was before it is gone), brain.EUnavailable (nothing is stored).
func write(ctx context.Context, l line, e envelope, data []byte) (uint64, error) {
	if len(data) > MaxRecord {
		return 0, brain.Errorf(brain.EInvalid, "%d bytes are more than a message of the journal may hold (%d)", len(data), MaxRecord)
	}
	msg := e.seal(data)
	doubt := false // an attempt went out and got no answer
	for try := 0; ; try++ {
		seq, err := publishOnce(ctx, l, e.prev, msg)
		if err == nil {
			return seq, nil
		}
		_, wrong := errors.AsType[wrongLast](err)
		doubt = doubt || !wrong && !errors.Is(err, errNotSent)
		if wrong || doubt {
			seq, found, lookErr := look(ctx, l, e, doubt)
			if found {
				return seq, nil
			}
			if lookErr != nil {
				return 0, fmt.Errorf("%w (%w)", lookErr, err)
			}
		}
		if !pause(ctx, try) {
			return 0, given(doubt, err)
		}
	}
}

func publishOnce(ctx context.Context, l line, prev uint64, msg []byte) (uint64, error) {
	once, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	return l.publish(once, prev, msg)
}

// given is the error of a write that was given up.
func given(doubt bool, err error) error {
	if doubt {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return brain.Errorf(brain.EUnavailable, "the journal takes nothing now: %v", err)
}

// look finds out what stands behind e.prev: e itself (found), nothing that can be seen (not found, no error: go on
// trying), or another's message (ErrFenced).
func look(ctx context.Context, l line, e envelope, doubt bool) (seq uint64, found bool, err error) {
	got, err := l.next(ctx, e.prev+1)
	if errors.Is(err, errNone) {
		if last, err := l.last(ctx); err == nil && last < e.prev {
			return 0, false, fmt.Errorf("%w: the store ends at sequence %d, before %d that it had acknowledged", ErrDamaged, last, e.prev)
		}
		return 0, false, nil
	}
	if err != nil {
		return 0, false, nil // the store does not answer now; the next attempt will tell
	}
	there, _, err := unseal(got.msg)
	switch {
	case err == nil && there == e:
		return got.seq, true, nil
	case err == nil && there.prev == e.prev:
		return 0, false, fmt.Errorf("%w: epoch %d wrote sequence %d", ErrFenced, there.epoch, got.seq)
	case doubt:
		return 0, false, fmt.Errorf("%w, and %w: sequence %d stands there, what was before it is gone", ErrFenced, ErrUnknown, got.seq)
	}
	return 0, false, fmt.Errorf("%w: sequence %d stands there", ErrFenced, got.seq)
}

// newNonce begins a row of nonces that nobody else uses.
func newNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

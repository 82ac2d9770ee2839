package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sipio/sipio/brain"
)

const (
	auditStream  = "AUDIT"
	auditSubject = "audit"
	// maxAuditMessages bounds the stream: the brains have taken over what it drops, unless one was away for as many entries.
	maxAuditMessages = 100_000
	// MaxAuditMessage is the largest message of the audit log, in bytes.
	MaxAuditMessage = 64 << 10
)

// AuditLog carries messages from each brain to all, in one order. Nobody is fenced from it: who writes does not decide anything.
type AuditLog struct {
	bus  *Bus
	line *streamLine
}

// AuditLog opens the audit log, and makes it when it is not there.
func (b *Bus) AuditLog(ctx context.Context) (*AuditLog, error) {
	cfg := b.streamConfig(auditStream)
	cfg.Subjects, cfg.MaxMsgs, cfg.Discard, cfg.MaxMsgSize = []string{auditSubject}, maxAuditMessages, jetstream.DiscardOld, MaxAuditMessage
	s, err := b.makeStream(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &AuditLog{bus: b, line: &streamLine{bus: b, stream: s, subject: auditSubject, whole: true}}, nil
}

// Append adds a message and returns when it is stored for good; it tries until ctx ends. On an error it may be stored, and it may
// be stored twice: readers know a message again. EInvalid: it is too long.
func (a *AuditLog) Append(ctx context.Context, data []byte) error {
	if len(data) > MaxAuditMessage {
		return brain.Errorf(brain.EInvalid, "%d bytes are more than a message of the audit log may hold (%d)", len(data), MaxAuditMessage)
	}
	for try := 0; ; try++ {
		once, cancel := context.WithTimeout(ctx, publishTimeout)
		_, err := a.bus.js.PublishMsg(once, &nats.Msg{Subject: auditSubject, Data: data}, jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return nil
		}
		if !notReady(err) || !pause(ctx, try) {
			return fmt.Errorf("append to the audit log: %w", err)
		}
	}
}

// Last is the number of the newest message, 0 when there never was one.
func (a *AuditLog) Last(ctx context.Context) (int64, error) {
	seq, err := a.line.last(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the audit log: %w", err)
	}
	return int64(seq), nil
}

// Read gives fn the messages behind a number, in order; those that the log has dropped are left out. An error of fn ends it.
func (a *AuditLog) Read(ctx context.Context, after int64, fn func(seq int64, data []byte) error) error {
	last, err := a.Last(ctx)
	if err != nil {
		return err
	}
	at := uint64(max(after, 0)) + 1
	var stop error
	if last-after > shortRead {
		if first, err := a.line.next(ctx, at); err == nil {
			at = first.seq
		}
		_ = a.line.bulk(ctx, at, func(e entry) error {
			if e.seq != at {
				return errNone // something was left out: it is asked for below
			}
			if stop = fn(int64(e.seq), e.msg); stop == nil {
				at = e.seq + 1
			}
			return stop
		})
	}
	for stop == nil && at <= uint64(last) {
		e, err := a.line.next(ctx, at)
		if errors.Is(err, errNone) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		stop, at = fn(int64(e.seq), e.msg), e.seq+1
	}
	return stop
}

package spool

import (
	"context"
	"errors"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Retrying of a delivery, and when a batch is given up because the brain will never take it.
const (
	retryFirst  = 100 * time.Millisecond
	retryMost   = 5 * time.Second
	maxRefusals = 5 // answers "this batch is malformed", or "taken" below what was sent
)

// ErrRefused wraps an error of a post that trying again will not mend: the brain says the batch is
// malformed. A brain that is away, or does not know this node yet, is any other error.
var ErrRefused = errors.New("brain refused the batch")

// Post delivers the JSON of one api.EventBatch to the brain.
type Post func(ctx context.Context, batch []byte) (api.EventReply, error)

// Forward delivers the spool in order until ctx ends, waiting out a brain that is away.
func (s *Spool) Forward(ctx context.Context, post Post) {
	delay, refusals := retryFirst, 0
	for {
		r, err := s.next()
		if err == nil && r == nil {
			select {
			case <-ctx.Done():
				return
			case <-s.wake:
				continue
			}
		}
		if err == nil {
			err = deliver(ctx, r, post)
		}
		if errors.Is(err, ErrRefused) {
			if refusals++; refusals >= maxRefusals {
				s.giveUp(r, err)
				err = nil
			}
		}
		if err == nil && r != nil {
			err = s.done(r)
			refusals = 0
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			delay = retryFirst
			continue
		}
		s.opt.Log.Warn("events wait for the brain", "error", err, "retry_in", delay, "waiting", s.Stats().Events)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		delay = min(2*delay, retryMost)
	}
}

// errBehind is a reply that does not cover the batch.
var errBehind = errors.New("brain has not taken the whole batch")

func deliver(ctx context.Context, r *record, post Post) error {
	got, err := post(ctx, r.payload)
	switch {
	case err != nil:
		return err
	case got.LastSeq < r.lastSeq:
		return errors.Join(ErrRefused, errBehind)
	}
	return nil
}

// giveUp counts and logs a batch that the brain will never take, so that it does not hold up the
// others for ever.
func (s *Spool) giveUp(r *record, why error) {
	s.mu.Lock()
	s.dropped += int64(r.events)
	s.mu.Unlock()
	s.opt.Log.Error("events dropped: the brain does not take them", "events", r.events, "last_seq", r.lastSeq, "error", why)
}

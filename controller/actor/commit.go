package actor

import (
	"context"
	"errors"

	"github.com/sipio/sipio/brain"
)

// commitAll is the committer: it writes one message after the other until the loop has ended and everything
// is written, ctx ends, or the log fails.
func (s *shard) commitAll(ctx context.Context, loopOver <-chan struct{}) {
	afterPart, over := false, false
	for {
		b := s.gate.next(afterPart)
		if b == nil && over {
			return
		}
		if b == nil {
			select {
			case <-s.gate.more:
				continue
			case <-loopOver: // nothing is put any more; what was put last may still be there
				over = true
				continue
			case <-ctx.Done():
				s.gate.fail(nil, ErrNoOwner)
				return
			}
		}
		if err := s.write(ctx, b); err != nil {
			s.lost(b, err)
			return
		}
		afterPart = b.part
		s.gate.written(b)
	}
}

func (s *shard) write(ctx context.Context, b *batch) error {
	switch {
	case b.part:
		return s.log.AppendSnapshot(ctx, b.data, b.first, b.last)
	case len(b.data) == 0:
		return nil
	}
	return s.log.Append(ctx, b.data)
}

// lost ends the shard after its log refused: everything not acknowledged is void.
func (s *shard) lost(b *batch, err error) {
	if !errors.Is(err, context.Canceled) {
		s.host.Log.Warn("shard lost", "shard", s.n, "epoch", s.epoch, "err", err)
	}
	s.gate.fail(b, brain.Errorf(brain.EUnavailable, "shard %d has another owner", s.n))
	s.host.forget(s, err)
	s.close(false) // last: a loop that ends takes the shard out of the host by itself, and nobody would hear of the loss
}

// broken ends the shard after a fault of a machine; what was acknowledged stays, the rest is read again.
func (s *shard) broken(err error) {
	s.close(false)
	s.host.forget(s, err)
}

package config

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
)

// proposal is what is to be made of a state: a checked draft, and the ops that lead to it.
type proposal struct {
	draft *draft
	ops   []op
	why   string // what the summary of the revision begins with
	only  bool   // only looked at, not done
}

// maxAttempts bounds how often a change is prepared anew because another brain was faster.
const maxAttempts = 100

// write brings the store level with the change log, asks for a proposal and makes it a revision. When
// another brain has changed the configuration in between, all of it is done again.
func (s *Store) write(ctx context.Context, actor string, propose func(base *state) (proposal, error)) (int64, error) {
	s.turn.begin(ctx, s)
	defer s.turn.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	for range maxAttempts {
		if err := s.catchUp(ctx); err != nil {
			return 0, err
		}
		base := s.state.Load()
		p, err := propose(base)
		if err != nil {
			return 0, err
		}
		if p.only || len(p.ops) == 0 {
			return base.version, nil
		}
		began := time.Now()
		version, err := s.commit(ctx, actor, p)
		s.turn.took = time.Since(began)
		if !errors.Is(err, errOvertaken) {
			return version, err
		}
	}
	return 0, brain.Errorf(brain.EConflict, "the configuration was changed meanwhile, %d times in a row: try again", maxAttempts)
}

// pause makes the changes of one brain follow each other with gaps: without them another brain, which has to take each
// of them over before it can make its own, is always too late.
type pause struct {
	mu   sync.Mutex
	took time.Duration // by the last commit
	over time.Time     // when the last change was
}

// Gaps between the changes of one brain.
const (
	gapCommits = 3 // commits long: taking a change over, and making one
	longestGap = 100 * time.Millisecond
)

// begin waits for the turn of a change, and where there is a change log for the gap before it.
func (p *pause) begin(ctx context.Context, s *Store) {
	p.mu.Lock()
	s.mu.Lock()
	alone := s.log == nil
	s.mu.Unlock()
	if gap := time.Until(p.over.Add(min(gapCommits*p.took, longestGap))); gap > 0 && !alone {
		select {
		case <-time.After(gap):
		case <-ctx.Done():
		}
	}
}

func (p *pause) end() {
	p.over = time.Now()
	p.mu.Unlock()
}

// commit makes a proposal the next revision and swaps the snapshot. With a change log the change set is
// appended while the transaction holds all of its rows: what the tables refuse never gets into the log,
// and what is in the log but, for a crash, not in the file is replayed at the next start. A fault leaves
// the file as it was; the snapshot is read anew, so that the two never differ.
func (s *Store) commit(ctx context.Context, actor string, p proposal) (int64, error) {
	base := s.state.Load()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	ctx = context.WithoutCancel(ctx) // a commit that is cut short would be neither done nor undone
	rev := brain.Revision{Version: base.version + 1, TimeMS: s.now().UnixMilli(), Actor: actor, Summary: p.why + summary(p.draft, p.ops)}
	message := newEntry(rev, p.ops, "")
	message.Peer = peerOf(ctx)
	publish, err := s.publication(ctx, message)
	if err != nil {
		return 0, err
	}
	next := p.draft.build(rev.Version, nil)
	published := false
	if append := publish; append != nil {
		publish = func() error {
			err := append()
			published = err == nil
			return err
		}
	}
	err = writeRevision(ctx, s.db, rev, p.ops, publish)
	if err == nil {
		s.state.Store(next)
		s.tell(actor, p.ops)
		return rev.Version, nil
	}
	if errors.Is(err, errOvertaken) || errors.Is(err, errUnpublished) {
		return 0, err
	}
	if published {
		err = fmt.Errorf("%w: %w", errUnwritten, err)
	}
	err = classify(fmt.Errorf("write revision %d: %w", rev.Version, err))
	if again := s.reload(ctx); again != nil {
		return 0, fmt.Errorf("%w; then reload: %w", err, again)
	}
	return 0, err
}

// tell hands to Changed what was changed.
func (s *Store) tell(actor string, ops []op) {
	if s.Changed == nil {
		return
	}
	changes := make([]brain.Change, len(ops))
	for i, o := range ops {
		changes[i] = brain.Change{Op: o.kind, Resource: o.after, Before: o.before}
	}
	s.Changed(actor, changes)
}

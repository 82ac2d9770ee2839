package scenario

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// What may happen to a call in a queue: the do of a happening.

func callerHangsUp(t *testing.T, ctx context.Context, s *stage) {
	t.Helper()
	leaveAll(t, ctx, s.caller)
}

func agentHangsUp(t *testing.T, ctx context.Context, s *stage) {
	t.Helper()
	leaveAll(t, ctx, s.agent)
}

func declines(code int, reason string) func(t *testing.T, ctx context.Context, s *stage) {
	return func(t *testing.T, _ context.Context, s *stage) {
		t.Helper()
		if err := s.ring.Reject(code, reason); err != nil {
			t.Fatal(err)
		}
	}
}

func letsItRing(t *testing.T, ctx context.Context, s *stage) {
	t.Helper()
	s.stopped(t, ctx)
}

func unregisters(t *testing.T, ctx context.Context, s *stage) {
	t.Helper()
	if resp, err := s.carla.Unregister(ctx); err != nil || resp.Code != 200 {
		t.Fatal(resp, err)
	}
	eventually(t, ctx, "the agent not to be reachable", func() error {
		var reply api.AgentList
		s.n.get(t, ctx, api.PathAgents, &reply)
		for _, a := range reply.Agents {
			if a.Username == carla && a.Reachable {
				return fmt.Errorf("%+v", a)
			}
		}
		return nil
	})
}

func nodeDies(t *testing.T, ctx context.Context, s *stage) {
	t.Helper()
	if err := s.n.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.n.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
	if s.behind == nil {
		return
	}
	// Who waits and is not there yet is passed over for a moment.
	eventually(t, ctx, "the next node agent to have both callers", func() error {
		h, err := survivalOf(s.n.Edge)
		if err == nil && h.Steps["command"].Count < 2 {
			err = fmt.Errorf("it has begun %+v", h.Steps)
		}
		return err
	})
}

func brainDies(t *testing.T, ctx context.Context, s *stage) {
	t.Helper()
	withoutBrain(func(*testing.T, context.Context, *stage) {})(t, ctx, s)
}

// brainDiesLongAgo lets so much time pass that the brain gives up orders which no node takes.
func brainDiesLongAgo(t *testing.T, ctx context.Context, s *stage) {
	t.Helper()
	brainDies(t, ctx, s)
	deadFor(ctx, 6*time.Second)
}

// withoutBrain has something happen while the brain is dead.
func withoutBrain(do func(*testing.T, context.Context, *stage)) func(*testing.T, context.Context, *stage) {
	return func(t *testing.T, ctx context.Context, s *stage) {
		t.Helper()
		if err := s.n.Brain.Kill(); err != nil {
			t.Fatal(err)
		}
		s.gate.lose()
		do(t, ctx, s)
		s.brainIsBack(t, ctx)
	}
}

func (s *stage) brainIsBack(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := s.n.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
}

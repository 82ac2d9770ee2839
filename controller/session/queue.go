package session

import (
	"context"
	"log/slog"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// Queues gives callers their places.
type Queues interface {
	// Join asks for a place, and gives the agents who are to be rung at once. Asked again it says how the place stands.
	// brain.EUnavailable: again later.
	Join(ctx context.Context, accountID string, j *acd.Join) (acd.Joined, []api.Dispatch, error)
	// Leave gives the place of a call back, at least once. One that it does not have (any more) is no error.
	Leave(ctx context.Context, accountID, entryID, token, outcome string) error
	// Callback has a caller keep his place while he hangs up, at least once. why: he cannot.
	Callback(ctx context.Context, accountID string, c *acd.Callback) (why string, err error)
	// Miss says that somebody who was called back did not take the call, at least once.
	Miss(ctx context.Context, c *api.Claim) (api.ClaimReply, error)
	// Ring has the agents rung whom a Join gave, when no reply takes them to the node. It does not wait.
	Ring(accountID string, j *acd.Join, offers []acd.Offer)
}

// Agents does what agents want who dial a feature code.
type Agents interface {
	// Act returns why it was refused, "" when it was done. brain.EUnavailable: again later.
	Act(ctx context.Context, accountID string, req api.AgentRequest) (why string, err error)
}

// join asks for the place that a caller needs before his node hears the command. next is the question with which the
// session goes on otherwise; nil: he has his place.
func (c *Calls) join(ctx context.Context, f *api.FlowRequest, reply *session.Reply) (rings []api.Dispatch, next *session.Request, err error) {
	exit := acd.LeftFailed
	if c.Queues == nil {
		err = errNobody
	} else {
		var joined acd.Joined
		joined, rings, err = c.Queues.Join(ctx, f.AccountID, reply.Enqueue)
		exit = joined.Outcome
	}
	switch {
	case err != nil && (brain.CodeOf(err) == brain.EUnavailable || ctx.Err() != nil):
		return nil, nil, brain.Errorf(brain.EUnavailable, "join queue %s: %s", reply.Enqueue.QueueID, err)
	case err != nil:
		c.faults.Add(1)
		c.Log.LogAttrs(ctx, slog.LevelError, "a caller gets no place in his queue", slog.String("account", f.AccountID),
			slog.String("call_id", reply.CallID), slog.String("queue", reply.Enqueue.QueueID), slog.Any("err", err))
		exit = acd.LeftFailed
	case exit == "":
		still, err := c.still(ctx, f, reply.Enqueue.EntryID)
		if err != nil || !still {
			return nil, &session.Request{}, err
		}
		return rings, nil, nil
	case exit == acd.LeftAnswered: // the session had lapsed, and he talks to his agent: his node tells when that is over
		return nil, nil, nil
	}
	return nil, &session.Request{Result: &session.Result{Turn: reply.Turn, Outcome: api.OutcomeExit, Data: map[string]string{"exit": exit}}}, nil
}

// still tells whether a caller who has just got a place waits in it. One who went elsewhere meanwhile gave it back before
// he had it: it is given back here, so that he may have it again. Who hears what belongs to a key of his keeps it, and who
// has hung up to be called.
func (c *Calls) still(ctx context.Context, f *api.FlowRequest, entryID string) (bool, error) {
	now, err := c.Owner.Step(ctx, f.AccountID, f.Token, &session.Request{})
	if err != nil || has(&now, entryID) {
		return err == nil && now.Enqueue != nil, err
	}
	if err := c.Queues.Leave(ctx, f.AccountID, entryID, f.Token, acd.LeftFailed); err != nil {
		return false, brain.Errorf(brain.EUnavailable, "leave a queue: %s", err)
	}
	return false, nil
}

// has tells whether a session has a place in a queue: also after its end, until the desk has heard that he keeps it.
func has(now *session.Reply, entryID string) bool {
	return now.Entry == entryID || slices.ContainsFunc(now.Effects, func(e session.Effect) bool {
		return e.Kind == session.EffectQueueCallback && e.EntryID == entryID
	})
}

// Waits tells whether a caller's session has that place in a queue, also while he hears what belongs to a key of his, and
// until the desk has heard that he is to be called. It does not keep the session. brain.EUnavailable: ask again later.
func (c *Calls) Waits(ctx context.Context, accountID, token, entryID string) (bool, error) {
	now, err := c.Owner.Step(ctx, accountID, token, &session.Request{})
	return err == nil && has(&now, entryID), err
}

// calledBack has the desk call a caller back. When it cannot, an agent has answered for him, his place is gone or his number is
// called for another one: he has hung up, and that is all.
func (c *Calls) calledBack(ctx context.Context, accountID string, reply *session.Reply, e *session.Effect) error {
	why, err := c.Queues.Callback(ctx, accountID, e.Callback)
	if err == nil && why != "" {
		c.Log.LogAttrs(ctx, slog.LevelWarn, "a caller is not called back", slog.String("account", accountID), slog.String("call_id", reply.CallID),
			slog.String("entry", e.EntryID), slog.String("why", why))
		return c.Queues.Leave(ctx, accountID, e.EntryID, reply.Token, acd.LeftAbandoned)
	}
	return err
}

// missed tells the desk of a callback that was not taken. One that the desk gave up before is no error.
func (c *Calls) missed(ctx context.Context, accountID string, claim api.Claim) error {
	claim.AccountID = accountID
	_, err := c.Queues.Miss(ctx, &claim)
	return err
}

// rejoin asks for a place again that was given back for a call which had lapsed, when its node has come back
// meanwhile.
func (c *Calls) rejoin(ctx context.Context, accountID string, now *session.Reply, performed []session.Effect) {
	if now.Enqueue == nil || c.Queues == nil {
		return
	}
	for i := range performed {
		if e := &performed[i]; e.Kind == session.EffectQueueLeft && e.EntryID == now.Enqueue.EntryID {
			joined, _, err := c.Queues.Join(ctx, accountID, now.Enqueue)
			c.Queues.Ring(accountID, now.Enqueue, joined.Offers)
			if err != nil {
				c.Log.LogAttrs(ctx, slog.LevelWarn, "a caller who came back gets his place with the next word of his node", slog.String("account", accountID),
					slog.String("call_id", now.CallID), slog.Any("err", err))
			}
			return
		}
	}
}

// act does what an agent wants and makes the question that brings the session the result.
func (c *Calls) act(ctx context.Context, f *api.FlowRequest, reply *session.Reply) (*session.Request, error) {
	result := &session.Result{Turn: reply.Turn, Outcome: api.OutcomeDone}
	why, err := "", error(errNobody)
	if c.Agents != nil {
		why, err = c.Agents.Act(ctx, f.AccountID, *reply.Need.Agent)
	}
	switch {
	case err != nil && (brain.CodeOf(err) == brain.EUnavailable || ctx.Err() != nil):
		return nil, brain.Errorf(brain.EUnavailable, "%s of agent %s: %s", reply.Need.Agent.Action, reply.Need.Agent.UserID, err)
	case err != nil:
		c.faults.Add(1)
		c.Log.LogAttrs(ctx, slog.LevelError, "an agent's code was not carried out", slog.String("account", f.AccountID),
			slog.String("call_id", reply.CallID), slog.String("action", reply.Need.Agent.Action), slog.Any("err", err))
		why = "it could not be carried out"
	}
	if why != "" {
		result.Outcome, result.Data = api.OutcomeDenied, map[string]string{"reason": why}
	}
	return &session.Request{Result: result}, nil
}

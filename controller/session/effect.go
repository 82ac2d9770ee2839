package session

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/session"
)

// idempotencyKey names an HTTP call of a session: the same each time the call is made again.
func idempotencyKey(r *session.Reply) string {
	return r.Token + "-" + strconv.FormatInt(r.Turn, 10)
}

// perform does the effects of a reply, in their order. Only what can be done later is an error: the whole question
// comes again then, and with it the effects.
func (c *Calls) perform(ctx context.Context, accountID, token string, reply *session.Reply) error {
	for i := range reply.Effects {
		e := &reply.Effects[i]
		err := c.effect(ctx, accountID, reply, e)
		switch {
		case err == nil:
			c.effects.Add(1)
		case !hopeless(err) || ctx.Err() != nil:
			return brain.Errorf(brain.EUnavailable, "%s %s: %s", e.Kind, e.ID, err)
		default:
			c.faults.Add(1)
			c.Log.LogAttrs(ctx, slog.LevelError, "given up: what a call left to be done", slog.String("account", accountID),
				slog.String("call_id", reply.CallID), slog.String("effect", e.Kind), slog.String("id", e.ID), slog.Any("err", err))
		}
	}
	if reply.Over && len(reply.Effects) > 0 {
		// Unsaid, they are performed once more by whoever finds them.
		if now, err := c.Owner.Step(ctx, accountID, token, &session.Request{Done: reply.Turn}); err == nil {
			c.rejoin(ctx, accountID, &now, reply.Effects)
		}
	}
	return nil
}

// hopeless tells an error that doing it again will not mend; any other may be a fault of the moment.
func hopeless(err error) bool {
	switch brain.CodeOf(err) {
	case brain.EInvalid, brain.EForbidden, brain.ENotFound, brain.EConflict:
		return true
	}
	return errors.Is(err, errNobody)
}

var errNobody = errors.New("nothing is set up for it")

func (c *Calls) effect(ctx context.Context, accountID string, reply *session.Reply, e *session.Effect) error {
	switch e.Kind {
	case session.EffectMessageStored, session.EffectMessageRead, session.EffectMessageDeleted:
		return c.message(ctx, accountID, e)
	case session.EffectNotify:
		if c.Notifier == nil {
			return errNobody
		}
		return c.Notifier.Notify(ctx, e.Message)
	case session.EffectRecordingStored:
		if c.Recordings == nil {
			return errNobody
		}
		return c.Recordings.Store(ctx, accountID, e.Recording)
	case session.EffectTag:
		c.Log.LogAttrs(ctx, slog.LevelDebug, "call tagged", slog.String("account", accountID), slog.String("call_id", reply.CallID),
			slog.String("label", e.Label), slog.String("value", e.Value))
		if c.Tagged != nil {
			c.Tagged(accountID, reply.CallID, e.Label, e.Value)
		}
		return nil
	case session.EffectQueueLeft, session.EffectQueueCallback, session.EffectQueueMissed:
		return c.place(ctx, accountID, reply, e)
	case session.EffectQueueWebhook:
		return c.webhook(ctx, accountID, reply, e)
	case session.EffectEnded:
		c.ended.Add(1)
		c.Log.LogAttrs(ctx, slog.LevelInfo, "answered call ended", slog.String("account", accountID), slog.String("token", reply.Token),
			slog.String("call_id", reply.CallID), slog.String("node", reply.Node), slog.String("why", e.Why))
		return nil
	}
	return errors.New("an effect that nobody knows")
}

// place says what becomes of a caller's place in a queue.
func (c *Calls) place(ctx context.Context, accountID string, reply *session.Reply, e *session.Effect) error {
	switch {
	case c.Queues == nil:
		return errNobody
	case e.Kind == session.EffectQueueCallback:
		return c.calledBack(ctx, accountID, reply, e)
	case e.Kind == session.EffectQueueMissed:
		return c.missed(ctx, accountID, *e.Missed)
	}
	return c.Queues.Leave(ctx, accountID, e.EntryID, reply.Token, e.Outcome)
}

func (c *Calls) message(ctx context.Context, accountID string, e *session.Effect) error {
	switch {
	case c.Messages == nil:
		return errNobody
	case e.Kind == session.EffectMessageStored:
		return c.Messages.Store(ctx, e.Message)
	case e.Kind == session.EffectMessageRead:
		return c.Messages.MarkRead(ctx, accountID, e.MessageID)
	}
	return c.Messages.Delete(ctx, e.Message)
}

// Run finishes what calls left behind that ended without anybody to ask for their last step: a node that died, a
// brain that was killed between the journal and the effect. It returns when ctx ends.
func (c *Calls) Run(ctx context.Context) {
	tick := time.NewTicker(lateEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.Sweep(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// Sweep performs the effects of every late call once. What cannot be done now is late the next time as well.
func (c *Calls) Sweep(ctx context.Context) {
	for _, call := range c.Owner.Late(ctx) {
		reply, err := c.Owner.Step(ctx, call.AccountID, call.Token, &session.Request{})
		if err == nil {
			err = c.perform(ctx, call.AccountID, call.Token, &reply)
		}
		if err != nil && ctx.Err() == nil {
			c.Log.LogAttrs(ctx, slog.LevelWarn, "a call that is over waits for its effects", slog.String("account", call.AccountID),
				slog.String("token", call.Token), slog.Any("err", err))
		}
	}
}

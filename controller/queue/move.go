package queue

import (
	"cmp"
	"context"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// Sessions knows the sessions of callers.
type Sessions interface {
	// Step asks a call's session. brain.EUnavailable: ask again later.
	Step(ctx context.Context, accountID, token string, req *session.Request) (session.Reply, error)
}

// unmoved says in a sentence why a caller can be neither moved nor sent.
var unmoved = map[string]string{
	acd.WhyLost:    "caller %s is with an agent",
	acd.WhyLeaving: "caller %s leaves the queue already",
	acd.WhyHungUp:  "caller %s has hung up and is to be called: there is no call to send",
}

// denied is the error of a refusal by the desk; nil when there is none.
func denied(entryID, why string) error {
	switch {
	case why == "":
		return nil
	case unmoved[why] != "":
		return brain.Errorf(brain.EConflict, unmoved[why], entryID)
	}
	return brain.Errorf(brain.ENotFound, "there is no caller %q in a queue", entryID)
}

// Move puts a caller who waits at another place of his queue. ENotFound: there is no such caller; EConflict: he is with an agent, or
// leaves. EUnavailable: the same again later.
func (q *Queues) Move(ctx context.Context, accountID string, req *api.MoveRequest) (api.MoveReply, error) {
	queueID, c, err := q.caller(ctx, accountID, req.EntryID, req.Token)
	if err != nil {
		return api.MoveReply{}, err
	}
	reply, err := q.desks.Do(ctx, accountID, acd.AppendMove(nil, c.EntryID, req.Place))
	if err != nil {
		return api.MoveReply{}, err
	}
	place, why, err := acd.ReadMoved(reply)
	if err == nil {
		err = denied(c.EntryID, why)
	}
	if err != nil {
		return api.MoveReply{}, err
	}
	return api.MoveReply{EntryID: c.EntryID, QueueID: queueID, Place: place}, nil
}

// Send ends the waiting of a caller and has his call go elsewhere. His session is told first where: it goes there once his node has
// heard from the desk that he leaves, which the desk repeats until he has. It is asked again then: of two who send him to different
// targets one is refused. Errors are as those of Move, and EInvalid for a target that is none.
func (q *Queues) Send(ctx context.Context, accountID string, req *api.SendRequest) (reply api.SendReply, err error) {
	acct, err := q.account(accountID)
	if err != nil {
		return reply, err
	}
	queueID, c, err := q.caller(ctx, accountID, req.EntryID, req.Token)
	gone := brain.CodeOf(err) == brain.ENotFound
	if err != nil && !gone {
		return reply, err
	}
	target, fault := session.SendTarget(acct, queueID, req.Target)
	switch {
	case fault != nil:
		return reply, fault
	case gone:
		return q.sentBefore(ctx, accountID, req, target, err)
	case c.Callback:
		return reply, denied(c.EntryID, acd.WhyHungUp)
	case c.State == "in_call":
		return reply, denied(c.EntryID, acd.WhyLost)
	}
	ask := session.Send{EntryID: c.EntryID, Target: target}
	if _, err = q.step(ctx, accountID, c.Token, ask); err != nil {
		return reply, err
	}
	v, err := q.verdict(ctx, accountID, acd.AppendSend(nil, c.EntryID))
	if err != nil {
		return reply, err
	}
	if !v.Granted {
		q.withdraw(ctx, accountID, c.Token, ask, v.Why)
		return reply, denied(c.EntryID, v.Why)
	}
	if _, err = q.step(ctx, accountID, c.Token, ask); err != nil {
		return reply, err
	}
	return sendReply(c.EntryID, c.Token, target), nil
}

// withdraw takes a send back from the session when its caller stays where he is. Best effort: without the desk's word it goes nowhere.
func (q *Queues) withdraw(ctx context.Context, accountID, token string, ask session.Send, why string) {
	if why != acd.WhyLost && why != acd.WhyHungUp {
		return
	}
	ask.Withdraw = true
	if _, err := q.step(ctx, accountID, token, ask); err != nil {
		q.log.Debug("a send that the desk refused is not taken back", "account", accountID, "entry", ask.EntryID, "err", err)
	}
}

// sentBefore answers a send again whose caller has left by it; otherwise by the error that he is in no queue.
func (q *Queues) sentBefore(ctx context.Context, accountID string, req *api.SendRequest, target brain.RouteTarget, none error) (api.SendReply, error) {
	token, err := q.sentBy(ctx, accountID, req)
	switch {
	case err != nil:
		return api.SendReply{}, err
	case token == "":
		return api.SendReply{}, none
	}
	said, err := q.step(ctx, accountID, token, session.Send{EntryID: req.EntryID, Target: target, Look: true})
	switch {
	case brain.CodeOf(err) == brain.ENotFound, err == nil && !said.Done:
		return api.SendReply{}, none
	case err != nil:
		return api.SendReply{}, err
	}
	return sendReply(said.EntryID, token, target), nil
}

// sentBy names the call that was sent. Who was called back has left by another one than asked for his place: the desk knows it.
func (q *Queues) sentBy(ctx context.Context, accountID string, req *api.SendRequest) (token string, err error) {
	if req.EntryID == "" {
		return req.Token, nil
	}
	reply, err := q.desks.Do(ctx, accountID, acd.AppendSent(nil, req.EntryID))
	if err != nil {
		return "", err
	}
	v, err := acd.ReadVerdict(reply)
	return cmp.Or(v.Token, req.Token, session.EntryToken(req.EntryID)), err
}

func sendReply(entryID, token string, target brain.RouteTarget) api.SendReply {
	return api.SendReply{EntryID: entryID, Token: token, Target: api.TransferTarget{Kind: string(target.Kind), ID: target.ID}}
}

// step tells the session of a caller where he is sent. What it refuses is an error.
func (q *Queues) step(ctx context.Context, accountID, token string, ask session.Send) (session.Sent, error) {
	if q.Sessions == nil {
		return session.Sent{}, brain.Errorf(brain.EUnavailable, "no session can be asked here")
	}
	now, err := q.Sessions.Step(ctx, accountID, token, &session.Request{Send: &ask})
	switch {
	case err != nil:
		return session.Sent{}, err
	case now.Sent == nil:
		return session.Sent{}, brain.Errorf(brain.ENotFound, "the call of caller %s is over", ask.EntryID)
	case now.Sent.Code != "":
		return session.Sent{}, brain.Errorf(now.Sent.Code, "%s", now.Sent.Why)
	}
	return *now.Sent, nil
}

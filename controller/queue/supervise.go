package queue

import (
	"cmp"
	"context"
	"crypto/rand"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// superviseKinds are the kinds of op of the modes, with what a queue has to allow for them.
var superviseKinds = map[string]struct {
	op     string
	allows func(q *brain.Queue) bool
}{
	api.OpListen:      {api.OpListen, func(q *brain.Queue) bool { return q.AllowListen }},
	api.OpWhisper:     {api.OpWhisper, func(q *brain.Queue) bool { return q.AllowWhisper }},
	api.OpBarge:       {api.OpBarge, func(q *brain.Queue) bool { return q.AllowBarge }},
	api.SuperviseStop: {api.OpLeave, func(*brain.Queue) bool { return true }},
}

// Supervise has the node of a talk bring a supervisor into it, change who hears him, or let him go. EInvalid and ENotFound: no
// such mode, user or caller; EForbidden: the queue does not allow it; EConflict: the caller is not with an agent, or the node
// refuses. EUnavailable: the same again later.
func (q *Queues) Supervise(ctx context.Context, accountID string, req *api.SuperviseRequest) (api.SuperviseReply, error) {
	kind, known := superviseKinds[req.Mode]
	if !known {
		return api.SuperviseReply{}, brain.Errorf(brain.EInvalid, "there is no mode %q", req.Mode)
	}
	acct, err := q.account(accountID)
	if err != nil {
		return api.SuperviseReply{}, err
	}
	user := supervisor(acct, req.UserID)
	if user == nil {
		return api.SuperviseReply{}, brain.Errorf(brain.ENotFound, "there is no user %q", req.UserID)
	}
	queueID, caller, err := q.caller(ctx, accountID, req.EntryID, "")
	if err != nil {
		return api.SuperviseReply{}, err
	}
	conf := acct.Queues[queueID]
	switch {
	case conf == nil:
		return api.SuperviseReply{}, brain.Errorf(brain.ENotFound, "the queue of caller %s is deleted", req.EntryID)
	case !kind.allows(conf):
		return api.SuperviseReply{}, brain.Errorf(brain.EForbidden, "queue %s does not allow supervisors to %s (allow_%s)", conf.Name, req.Mode, req.Mode)
	case caller.State != "in_call":
		return api.SuperviseReply{}, brain.Errorf(brain.EConflict, "caller %s is not with an agent, but %s", req.EntryID, caller.State)
	case caller.UserID == user.ID:
		return api.SuperviseReply{}, brain.Errorf(brain.EConflict, "user %s is the agent of that talk", user.Username)
	}
	op := api.Op{ID: "sup-" + rand.Text(), Kind: kind.op, Token: caller.Token, EntryID: req.EntryID, UserID: user.ID}
	return api.SuperviseReply{EntryID: req.EntryID, UserID: user.ID, Mode: req.Mode, Node: caller.Node}, q.tell(ctx, caller.Node, op)
}

// supervisor is an active user, by id or username.
func supervisor(acct *brain.AccountConfig, name string) *brain.SIPUser {
	user := acct.Users[name]
	if user == nil {
		user = acct.UserByName[name]
	}
	if user == nil || user.Status != brain.StatusActive {
		return nil
	}
	return user
}

// caller finds somebody who is in a queue of the account, by his place or else by his call.
func (q *Queues) caller(ctx context.Context, accountID, entryID, token string) (queueID string, c api.QueueCaller, err error) {
	states, err := q.States(ctx, accountID, "", 0, 0, true)
	if err != nil {
		return "", c, err
	}
	for i := range states {
		for j := range states[i].Entries {
			if e := &states[i].Entries[j]; e.EntryID == entryID || entryID == "" && e.Token == token {
				return states[i].QueueID, *e, nil
			}
		}
	}
	return "", c, brain.Errorf(brain.ENotFound, "there is no caller %q in a queue", cmp.Or(entryID, token))
}

// tell has a node carry out an op, once. What it refuses is a conflict.
func (q *Queues) tell(ctx context.Context, node string, op api.Op) error {
	n := q.directory().NodeByName(node)
	if n == nil {
		return brain.Errorf(brain.EConflict, "node %q, which has the talk, is not known", node)
	}
	reply, err := q.nodes.Push(ctx, n, op)
	switch {
	case err != nil:
		return err
	case !reply.OK:
		return brain.Errorf(brain.EConflict, "node %s: %s", node, reply.Error)
	}
	return nil
}

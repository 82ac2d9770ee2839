package session

import (
	"cmp"
	"context"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// refusals of a node are conflicts: asked again it says the same until somebody does something.
var refusals = []string{api.NobodyTalks, api.NobodyAsked, api.AskedAlready, api.NotAnswered, api.AskedGone}

// Attended does one step of an attended transfer: every mode of a request but blind. An error is as with Blind; the session keeps
// nothing, so that after brain.EUnavailable the same request is safe, and says how far it is.
func (t *Transfers) Attended(ctx context.Context, accountID string, req *api.TransferRequest) (reply api.TransferReply, err error) {
	acct, from, err := t.asker(accountID, req.FromUserID)
	if err != nil {
		return reply, err
	}
	ask := session.Consult{FromUserID: from.ID, Mode: req.Mode}
	if req.Mode == api.TransferAttended {
		if ask.Target, err = session.ConsultTarget(acct, from, req.Target); err != nil {
			return reply, err
		}
	}
	now, serves, err := t.find(ctx, accountID, from.ID, req)
	if err != nil {
		return reply, err
	}
	ask.Serves = serves
	if now, err = t.step(ctx, accountID, now.Token, &session.Request{Consult: &ask}); err != nil {
		return reply, err
	}
	reply = api.TransferReply{Token: now.Token, FromUserID: from.ID, Target: named(ask.Target), Mode: req.Mode}
	if now.Transfer.Seq == 0 { // completed a moment ago
		return reply, nil
	}
	reply.State, err = t.carry(ctx, acct, from, &now, &ask)
	return reply, err
}

// carry has the node of the call do a step, and returns the state that it answers.
func (t *Transfers) carry(ctx context.Context, acct *brain.AccountConfig, from *brain.SIPUser, now *session.Reply, ask *session.Consult) (string, error) {
	n := t.Directory().NodeByName(now.Node)
	if n == nil {
		return "", brain.Errorf(brain.EUnavailable, "node %s of the call is not registered", now.Node)
	}
	op := api.Op{Token: now.Token, Seq: now.Transfer.Seq}
	switch ask.Mode {
	case api.TransferAttended:
		op.Kind, op.Consult = api.OpConsult, t.consult(ctx, acct, from, now, ask)
	case api.TransferThreeWay:
		op.Kind = api.OpThreeWay
	case api.TransferCancel:
		op.Kind = api.OpReturn
	case api.TransferComplete:
		op.Kind = api.OpComplete
	default:
		return "", brain.Errorf(brain.EInvalid, "there is no mode %q", ask.Mode)
	}
	done, err := t.push(ctx, n, op)
	switch {
	case brain.CodeOf(err) == brain.EInvalid:
		return "", brain.Errorf(brain.EConflict, "%s", err)
	case err != nil || done.OK:
		return done.State, err
	case slices.Contains(refusals, done.Error):
		return "", brain.Errorf(brain.EConflict, "%s", advised(done.Error))
	}
	return "", brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, done.Error)
}

// consult is what the node needs to ask somebody: his phone shows who asks, as on a call inside the account. The caller hears what
// his queue plays; a sound that cannot be found is left out.
func (t *Transfers) consult(ctx context.Context, acct *brain.AccountConfig, from *brain.SIPUser, now *session.Reply, ask *session.Consult) *api.Consult {
	c := &api.Consult{DestKind: string(ask.Target.Kind), DestID: ask.Target.ID, UserID: from.ID, Number: from.Username, Name: cmp.Or(from.DisplayName, from.Username)}
	if m := now.Transfer.Music; m != (brain.Sound{}) && t.Sounds != nil {
		if refs, err := t.Sounds.Resolve(ctx, acct, m); err == nil {
			c.Music = refs[:min(1, len(refs))]
		}
	}
	return c
}

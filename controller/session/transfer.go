package session

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// Desk knows whom agents serve.
type Desk interface {
	// Agents lists the agents of an account, or one of them.
	Agents(ctx context.Context, accountID, userID string, fromMS, toMS int64) ([]api.AgentState, error)
}

// Live knows the calls that are up.
type Live interface {
	Calls(ctx context.Context, accountID string) ([]api.Call, error)
}

// Nodes carries out ops on the nodes.
type Nodes interface {
	// Push has a node carry out an op. brain.EUnavailable: again, with the same id; brain.EInvalid: it cannot be asked at all.
	Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error)
}

// Transfers sends callers elsewhere who talk to somebody. The session is told first: when the two are parted, by the node
// or by themselves, it goes on with the target.
type Transfers struct {
	Owner     Owner
	Directory func() brain.Directory
	Desk      Desk
	Live      Live
	Nodes     Nodes
}

// pushTries is how often a node is told that does not answer.
const pushTries = 2

// Blind transfers a caller. An error is a brain.Error whose code and field say what is wrong; after brain.EUnavailable the talk
// goes on, or the transfer happens, and the same request is safe.
func (t *Transfers) Blind(ctx context.Context, accountID string, req *api.TransferRequest) (reply api.TransferReply, err error) {
	dir := t.Directory()
	acct := dir.ByAccount(accountID)
	if acct == nil {
		return reply, brain.Errorf(brain.ENotFound, "there is no account %s", accountID)
	}
	from := acct.Users[req.FromUserID]
	if from == nil {
		from = acct.UserByName[req.FromUserID]
	}
	if from == nil {
		return reply, &brain.Error{Code: brain.ENotFound, Fields: []brain.FieldError{{Path: "from_user_id", Text: "the account has no such user"}}}
	}
	target, err := session.TransferTarget(acct, from, req.Target)
	if err != nil {
		return reply, err
	}
	now, err := t.find(ctx, accountID, req)
	if err != nil {
		return reply, err
	}
	ask := session.Transfer{FromUserID: from.ID, Target: target}
	if now.Entry != "" {
		if ask.Serves, err = t.serves(ctx, accountID, from.ID, now.Entry); err != nil {
			return reply, err
		}
	}
	if now, err = t.Owner.Step(ctx, accountID, now.Token, &session.Request{Transfer: &ask}); err != nil {
		return reply, err
	}
	switch done := now.Transfer; {
	case done == nil:
		return reply, brain.Errorf(brain.ENotFound, "the call is over")
	case done.Code != "":
		return reply, brain.Errorf(done.Code, "%s", done.Why)
	case done.Seq != 0:
		if err := t.part(ctx, accountID, &now, ask); err != nil {
			return reply, err
		}
	}
	return api.TransferReply{Token: now.Token, FromUserID: from.ID, Target: api.TransferTarget{Kind: string(target.Kind), ID: target.ID}}, nil
}

// find looks the session of the call up.
func (t *Transfers) find(ctx context.Context, accountID string, req *api.TransferRequest) (session.Reply, error) {
	token, live := req.Token, false
	calls, err := t.Live.Calls(ctx, accountID)
	if err != nil {
		return session.Reply{}, err
	}
	for i := range calls {
		if c := &calls[i]; req.Token != "" && c.Token == req.Token || req.CallID != "" && c.CallID == req.CallID {
			token, live = c.Token, true
		}
	}
	if token == "" {
		return session.Reply{}, brain.Errorf(brain.ENotFound, "the account has no such live call")
	}
	now, err := t.Owner.Step(ctx, accountID, token, &session.Request{})
	switch {
	case err != nil:
		return now, err
	case !now.Unknown && now.Token != "":
		return now, nil
	case live:
		return now, brain.Errorf(brain.EConflict, "the two phones are connected directly: transfer by the phone")
	}
	return now, brain.Errorf(brain.ENotFound, "the account has no such live call")
}

// serves tells whether a user talks as an agent to the caller of that place.
func (t *Transfers) serves(ctx context.Context, accountID, userID, entryID string) (bool, error) {
	list, err := t.Desk.Agents(ctx, accountID, userID, 0, 0)
	if err != nil {
		return false, err
	}
	for i := range list {
		if a := &list[i]; a.UserID == userID {
			return a.EntryID == entryID && a.State == acd.StateInCall, nil
		}
	}
	return false, nil
}

// part has the node hang the other side up. A node that finds nobody there has parted nobody: the session is told to
// forget the transfer. When the node does not say, it may have done it: then the session keeps it for its time.
func (t *Transfers) part(ctx context.Context, accountID string, now *session.Reply, ask session.Transfer) error {
	n := t.Directory().NodeByName(now.Node)
	if n == nil {
		return t.withdraw(ctx, accountID, now.Token, ask, "node "+now.Node+" of the call is not registered")
	}
	op := api.Op{ID: "transfer_" + strings.ToLower(rand.Text()), Kind: api.OpTransfer, Token: now.Token, Seq: now.Transfer.Seq}
	for try := 1; ; try++ {
		done, err := t.Nodes.Push(ctx, n, op)
		switch {
		case err == nil && done.OK:
			return nil
		case brain.CodeOf(err) == brain.EInvalid:
			return t.withdraw(ctx, accountID, now.Token, ask, err.Error())
		case err == nil && done.Error == api.NobodyTalks:
			return t.withdraw(ctx, accountID, now.Token, ask, api.NobodyTalks)
		case err == nil:
			return brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, done.Error)
		case try == pushTries || ctx.Err() != nil:
			return err
		}
	}
}

// withdraw has the session forget a transfer that cannot come about, and says why. A session that cannot be told forgets it
// by itself.
func (t *Transfers) withdraw(ctx context.Context, accountID, token string, ask session.Transfer, why string) error {
	ask.Withdraw = true
	if _, err := t.Owner.Step(ctx, accountID, token, &session.Request{Transfer: &ask}); err != nil {
		return err
	}
	return brain.Errorf(brain.EConflict, "%s", why)
}

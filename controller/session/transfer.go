package session

import (
	"cmp"
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
	Sounds    Sounds // nil: a caller hears the platform's music while somebody else is asked
}

// pushTries is how often a node is told that does not answer.
const pushTries = 2

// Blind transfers a caller. An error is a brain.Error whose code and field say what is wrong; after brain.EUnavailable the talk
// goes on, or the transfer happens, and the same request is safe.
func (t *Transfers) Blind(ctx context.Context, accountID string, req *api.TransferRequest) (reply api.TransferReply, err error) {
	acct, from, err := t.asker(accountID, req.FromUserID)
	if err != nil {
		return reply, err
	}
	target, err := session.TransferTarget(acct, from, req.Target)
	if err != nil {
		return reply, err
	}
	now, serves, err := t.find(ctx, accountID, from.ID, req)
	if err != nil {
		return reply, err
	}
	ask := session.Transfer{FromUserID: from.ID, Serves: serves, Target: target}
	if now, err = t.step(ctx, accountID, now.Token, &session.Request{Transfer: &ask}); err != nil {
		return reply, err
	}
	if now.Transfer.Seq != 0 {
		if err := t.part(ctx, accountID, &now, ask, req.LegID); err != nil {
			return reply, err
		}
	}
	return api.TransferReply{Token: now.Token, FromUserID: from.ID, Target: named(target), Mode: api.TransferBlind}, nil
}

// asker finds who transfers, by id or name.
func (t *Transfers) asker(accountID, userID string) (*brain.AccountConfig, *brain.SIPUser, error) {
	acct := t.Directory().ByAccount(accountID)
	if acct == nil {
		return nil, nil, brain.Errorf(brain.ENotFound, "there is no account %s", accountID)
	}
	if from := cmp.Or(acct.Users[userID], acct.UserByName[userID]); from != nil {
		return acct, from, nil
	}
	return nil, nil, &brain.Error{Code: brain.ENotFound, Fields: []brain.FieldError{{Path: "from_user_id", Text: "the account has no such user"}}}
}

// step asks the session about a transfer. What it refuses is an error that says what to do.
func (t *Transfers) step(ctx context.Context, accountID, token string, req *session.Request) (session.Reply, error) {
	now, err := t.Owner.Step(ctx, accountID, token, req)
	switch {
	case err != nil:
		return now, err
	case now.Transfer == nil:
		return now, brain.Errorf(brain.ENotFound, "the call is over")
	case now.Transfer.Code == brain.EInvalid:
		return now, &brain.Error{Code: brain.EInvalid, Fields: []brain.FieldError{{Path: "target.id", Text: now.Transfer.Why}}}
	case now.Transfer.Code != "":
		return now, brain.Errorf(now.Transfer.Code, "%s", advised(now.Transfer.Why))
	}
	return now, nil
}

// remedies are what to do about a refusal that does not say so itself.
var remedies = map[string]string{
	api.NobodyTalks: "transfer him when somebody has answered him",
	api.NobodyAsked: "ask somebody first, with mode attended",
	api.AskedGone:   "mode attended once more rings him again",
	api.NotAnswered: "mode attended again says how far that is, cancel lets him go",
}

// advised is a refusal with what to do about it.
func advised(why string) string {
	if remedy := remedies[why]; remedy != "" {
		return why + ": " + remedy
	}
	return why
}

func named(target brain.RouteTarget) api.TransferTarget {
	return api.TransferTarget{Kind: string(target.Kind), ID: target.ID}
}

// find looks the session of the call up, and whether a user serves its caller as an agent.
func (t *Transfers) find(ctx context.Context, accountID, userID string, req *api.TransferRequest) (now session.Reply, serves bool, err error) {
	token, live := req.Token, false
	calls, err := t.Live.Calls(ctx, accountID)
	if err != nil {
		return now, false, err
	}
	for i := range calls {
		if c := &calls[i]; req.Token != "" && c.Token == req.Token || req.CallID != "" && c.CallID == req.CallID {
			token, live = c.Token, true
		}
	}
	if token == "" {
		return now, false, errNoSuchCall
	}
	now, err = t.Owner.Step(ctx, accountID, token, &session.Request{})
	switch there := !now.Unknown && now.Token != ""; {
	case err != nil:
		return now, false, err
	case there && now.Entry != "":
		serves, err = t.serves(ctx, accountID, userID, now.Entry)
		return now, serves, err
	case there:
		return now, false, nil
	case live:
		return now, false, brain.Errorf(brain.EConflict, "the two phones are connected directly: transfer by the phone")
	}
	return now, false, errNoSuchCall
}

var errNoSuchCall = brain.Errorf(brain.ENotFound, "the account has no such live call: GET /calls lists them")

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
// forget the transfer. legID is of who must be hung up, if not of anybody whom the caller talks to. When the node does not say, it may have done it: then the session keeps it for its time.
func (t *Transfers) part(ctx context.Context, accountID string, now *session.Reply, ask session.Transfer, legID string) error {
	n := t.Directory().NodeByName(now.Node)
	if n == nil {
		return t.withdraw(ctx, accountID, now.Token, ask, "node "+now.Node+" of the call is not registered")
	}
	done, err := t.push(ctx, n, api.Op{Kind: api.OpTransfer, Token: now.Token, Seq: now.Transfer.Seq, LegID: legID})
	switch {
	case brain.CodeOf(err) == brain.EInvalid:
		return t.withdraw(ctx, accountID, now.Token, ask, err.Error())
	case err != nil || done.OK:
		return err
	case done.Error == api.NobodyTalks:
		return t.withdraw(ctx, accountID, now.Token, ask, advised(done.Error))
	}
	return brain.Errorf(brain.EUnavailable, "node %s: %s", n.Name, done.Error)
}

// push has the node of a call do something, under one id however often it is told.
func (t *Transfers) push(ctx context.Context, n *brain.Node, op api.Op) (done api.OpReply, err error) {
	op.ID = op.Kind + "_" + strings.ToLower(rand.Text())
	for try := 1; ; try++ {
		done, err = t.Nodes.Push(ctx, n, op)
		if err == nil || brain.CodeOf(err) == brain.EInvalid || try == pushTries || ctx.Err() != nil {
			return done, err
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

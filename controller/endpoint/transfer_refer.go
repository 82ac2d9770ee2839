package endpoint

import (
	"context"
	"net/http"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
)

// partWithin bounds a transfer that a phone has asked for: less than the silence after which a node takes its brain for frozen,
// and asks it nothing about calls for a while.
const partWithin = 200 * time.Millisecond

// refer answers POST /refer: may a phone send the other side of its call elsewhere? Where the media server has the call, it is
// done here.
func (s *Server) refer(r *http.Request, key brain.APIKey, transfers Transfers) (any, error) {
	began := time.Now()
	var req api.ReferRequest
	if err := decode(r, &referFields, &req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	dir := s.Config.Directory()
	acct := dir.ByAccount(req.AccountID)
	if acct == nil {
		return &api.ReferReply{Action: api.ActionReject, Refusal: forbidden("there is no account " + quote(req.AccountID))}, nil
	}
	var reply api.ReferReply
	if req.Side == "" {
		reply = route.Refer(dir, acct, &req, func() (from, to string) { return s.parties(r.Context(), &req) })
	} else {
		reply = referLeg(r.Context(), dir, acct, &req, transfers)
	}
	s.logRefer(r.Context(), &req, &reply, began)
	return &reply, nil
}

// parties tells of whom to whom an answered call is, by its signed token; "" when that is not known.
func (s *Server) parties(ctx context.Context, req *api.ReferRequest) (from, to string) {
	ctx, cancel := context.WithTimeout(ctx, partWithin)
	defer cancel()
	calls, err := s.Presence.Calls(ctx, req.AccountID)
	if err != nil {
		s.Log.Debug("nobody can say whose call a transfer is of", "account", req.AccountID, "call_id", req.CallID, "err", err)
	}
	for i := range calls {
		if c := &calls[i]; req.Token != "" && c.Token == req.Token && c.CallID == req.CallID {
			return c.From, c.To
		}
	}
	return "", ""
}

// referLeg does what a phone wants that talks to a caller by way of the media server.
func referLeg(ctx context.Context, dir brain.Directory, acct *brain.AccountConfig, req *api.ReferRequest, transfers Transfers) api.ReferReply {
	ask, refused := route.ReferLeg(dir, acct, req)
	if refused != nil {
		return *refused
	}
	if err := checkTransfer(ask); err != nil {
		return route.Referred(acct, brain.Errorf(brain.EInvalid, "%v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, partWithin)
	defer cancel()
	_, err := transfers.Blind(ctx, acct.Account.ID, ask)
	return route.Referred(acct, err)
}

// logRefer writes the line of a phone's transfer.
func (s *Server) logRefer(ctx context.Context, req *api.ReferRequest, rep *api.ReferReply, began time.Time) {
	if level, wanted := s.decisionLevel(ctx); wanted {
		s.logDecision(ctx, level, began, decision{"refer", rep.AccountID, req.FromUser + "@" + req.FromDomain, req.ReferTo, rep.Action, rep.Refusal,
			req.CallID, req.SourceIP})
	}
}

// referFields are the fields of the question, as Kamailio writes it. Of the digest it has none: the route of the call is signed.
var referFields = newFieldSet(
	originFields(func(r *api.ReferRequest) *api.Origin { return &r.Origin }),
	[]field[api.ReferRequest]{
		text("from_user", func(r *api.ReferRequest) *string { return &r.FromUser }),
		text("from_domain", func(r *api.ReferRequest) *string { return &r.FromDomain }),
		text("to_user", func(r *api.ReferRequest) *string { return &r.ToUser }),
		text("to_domain", func(r *api.ReferRequest) *string { return &r.ToDomain }),
		id("account_id", func(r *api.ReferRequest) *string { return &r.AccountID }),
		id("token", func(r *api.ReferRequest) *string { return &r.Token }),
		text("refer_to", func(r *api.ReferRequest) *string { return &r.ReferTo }),
		id("side", func(r *api.ReferRequest) *string { return &r.Side }),
		id("sender", func(r *api.ReferRequest) *string { return &r.Sender }),
		id("call", func(r *api.ReferRequest) *string { return &r.Call }),
		id("dial", func(r *api.ReferRequest) *string { return &r.Dial }),
		text("aor", func(r *api.ReferRequest) *string { return &r.AOR }),
	})

package endpoint

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
)

// Transfers sends callers elsewhere who talk to somebody.
type Transfers interface {
	// Blind parts a caller from the one he talks to and brings him to the target. A brain.Error says why not by its code and,
	// where one of the request is to blame, by its field. brain.EUnavailable: the same request again.
	Blind(ctx context.Context, accountID string, req *api.TransferRequest) (api.TransferReply, error)
}

// RegisterTransfers puts POST /transfer and /refer on a mux.
func (s *Server) RegisterTransfers(mux *http.ServeMux, transfers Transfers) {
	mux.Handle(api.PathTransfer, s.gate(http.MethodPost, forCallsWrite, func(r *http.Request, key brain.APIKey) (any, error) {
		return s.transfer(r, key, transfers)
	}))
	mux.Handle(api.PathRefer, s.gate(http.MethodPost, forNodes, s.refer))
}

// transfer answers POST /transfer.
func (s *Server) transfer(r *http.Request, key brain.APIKey, transfers Transfers) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	var req api.TransferRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if err := checkTransfer(&req); err != nil {
		return nil, err
	}
	reply, err := transfers.Blind(r.Context(), id, &req)
	if err != nil {
		return nil, transferFault(err)
	}
	s.Log.Info("call transferred", "account", id, "key", key.ID, "key_name", key.Name, "token", reply.Token, "from_user", reply.FromUserID,
		"target", reply.Target.Kind+"/"+reply.Target.ID)
	return &reply, nil
}

func checkTransfer(req *api.TransferRequest) error {
	for _, f := range [...]struct{ name, value string }{{"token", req.Token}, {"call_id", req.CallID}, {"from_user_id", req.FromUserID},
		{"target.kind", req.Target.Kind}, {"target.id", req.Target.ID}} {
		if err := checkText(f.name, f.value, maxID); err != nil {
			return err
		}
	}
	switch {
	case (req.Token == "") == (req.CallID == ""):
		return badField(countBadType, "token", "give either token or call_id")
	case strings.Contains(req.Token, "/"): // the object would be another one
		return badField(countBadType, "token", "is no token of a call")
	case req.FromUserID == "":
		return badField(countBadType, "from_user_id", "is missing")
	case req.Target.ID == "":
		return badField(countBadType, "target.id", "is missing")
	case req.Mode != api.TransferBlind:
		return badField(countBadType, "mode", "must be %s", api.TransferBlind)
	}
	return nil
}

// transferFault gives the refusal of a transfer its status.
func transferFault(err error) error {
	status := map[brain.Code]int{brain.EInvalid: http.StatusBadRequest, brain.ENotFound: http.StatusNotFound, brain.EForbidden: http.StatusForbidden,
		brain.EConflict: http.StatusConflict}[brain.CodeOf(err)]
	refused, ok := errors.AsType[*brain.Error](err)
	switch {
	case status == 0 || !ok:
		return err
	case len(refused.Fields) > 0:
		return badField(countBadType, refused.Fields[0].Path, "%s", refused.Fields[0].Text).with(status)
	}
	return badBody(status, countBadType, "%s", refused.Text)
}

// refer answers POST /refer: may a phone send the other phone of its call elsewhere?
func (s *Server) refer(r *http.Request, _ brain.APIKey) (any, error) {
	began := time.Now()
	var req api.ReferRequest
	if err := decode(r, &referFields, &req); err != nil {
		return nil, err
	}
	acct := s.Config.Directory().ByAccount(req.AccountID)
	if acct == nil {
		return &api.ReferReply{Action: api.ActionReject, Refusal: forbidden("there is no account " + quote(req.AccountID))}, nil
	}
	reply := route.Refer(s.Config.Directory(), acct, &req)
	s.logRefer(r.Context(), &req, &reply, began)
	return &reply, nil
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
	})

package endpoint

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Transfers sends callers elsewhere who talk to somebody.
type Transfers interface {
	// Blind parts a caller from the one he talks to and brings him to the target. A brain.Error says why not by its code and,
	// where one of the request is to blame, by its field. brain.EUnavailable: the same request again.
	Blind(ctx context.Context, accountID string, req *api.TransferRequest) (api.TransferReply, error)
	// Attended does one step of a transfer in which the target is asked first: each of the other modes. Errors are those of Blind.
	Attended(ctx context.Context, accountID string, req *api.TransferRequest) (api.TransferReply, error)
}

// RegisterTransfers puts POST /transfer and /refer on a mux.
func (s *Server) RegisterTransfers(mux Mux, transfers Transfers) {
	mux.Handle(api.PathTransfer, s.gate(http.MethodPost, forCallsWrite, func(r *http.Request, key brain.APIKey) (any, error) {
		return s.transfer(r, key, transfers)
	}))
	mux.Handle(api.PathRefer, s.gate(http.MethodPost, forNodes, func(r *http.Request, key brain.APIKey) (any, error) {
		return s.refer(r, key, transfers)
	}))
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
	do := transfers.Attended
	if req.Mode == api.TransferBlind {
		do = transfers.Blind
	}
	reply, err := do(r.Context(), id, &req)
	if err != nil {
		return nil, transferFault(err)
	}
	s.Log.Info("transfer of a call", "account", id, "key", key.ID, "key_name", key.Name, "token", reply.Token, "from_user", reply.FromUserID,
		"mode", reply.Mode, "target", reply.Target.Kind+"/"+reply.Target.ID, "state", reply.State)
	return &reply, nil
}

func checkTransfer(req *api.TransferRequest) error {
	asks := req.Mode == api.TransferBlind || req.Mode == api.TransferAttended
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
	case !asks && !slices.Contains([]string{api.TransferComplete, api.TransferCancel, api.TransferThreeWay}, req.Mode):
		return badField(countBadType, "mode", "must be blind, attended, complete, cancel or 3way")
	case !asks && req.Target != (api.TransferTarget{}):
		return badField(countBadType, "target", "must be absent with mode %s: it is about whom mode attended has asked", req.Mode)
	case asks && req.Target.ID == "":
		return badField(countBadType, "target.id", "is missing: mode %s needs whom the caller gets", req.Mode)
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

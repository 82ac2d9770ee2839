package endpoint

import (
	"log/slog"
	"net/http"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
)

// challenge answers POST /challenge: a trunk wants a digest inside a call that goes out over it.
func (s *Server) challenge(r *http.Request, key brain.APIKey) (any, error) {
	var req api.ChallengeRequest
	if err := decode(r, &challengeFields, &req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	acct := s.Config.Directory().ByAccount(req.AccountID)
	reply := &api.ChallengeReply{Action: api.ActionReject, AccountID: req.AccountID}
	t, why := route.ChallengedInCall(acct, &req)
	if t != nil {
		line, err := s.answer(acct, t, &proof{req.Challenge, req.Method, req.URI})
		if err == nil {
			reply.Action, reply.Answer = api.ActionAccept, line
			return reply, nil
		}
		why = err.Error()
	}
	reply.Refusal = forbidden(why)
	s.Log.LogAttrs(r.Context(), slog.LevelWarn, "a trunk's challenge inside a call is not answered", slog.String("account", req.AccountID),
		slog.String("trunk", req.Trunk), slog.String("method", req.Method), slog.String("call_id", req.CallID), slog.String("err", why))
	return reply, nil
}

// challengeFields are the fields of the question, as Kamailio writes it.
var challengeFields = newFieldSet(
	originFields(func(r *api.ChallengeRequest) *api.Origin { return &r.Origin }),
	[]field[api.ChallengeRequest]{
		text("from_user", func(r *api.ChallengeRequest) *string { return &r.FromUser }),
		text("from_domain", func(r *api.ChallengeRequest) *string { return &r.FromDomain }),
		text("to_user", func(r *api.ChallengeRequest) *string { return &r.ToUser }),
		text("to_domain", func(r *api.ChallengeRequest) *string { return &r.ToDomain }),
		id("account_id", func(r *api.ChallengeRequest) *string { return &r.AccountID }),
		id("trunk", func(r *api.ChallengeRequest) *string { return &r.Trunk }),
		text("uri", func(r *api.ChallengeRequest) *string { return &r.URI }),
		{name: "challenge", max: maxText, lines: true, loose: true, text: func(r *api.ChallengeRequest) *string { return &r.Challenge }},
		{name: "answered", max: maxCount, num: func(r *api.ChallengeRequest) *int { return &r.Answered }},
	})

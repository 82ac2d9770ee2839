package endpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
	"github.com/sipio/sipio/brain/route"
)

// decide asks the decision, and puts the digest into an attempt that answers a trunk's challenge. One that cannot be answered
// is a failure of the trunk like others.
func (s *Server) decide(ctx context.Context, dir brain.Directory, caller *route.Caller, req *api.RouteRequest) api.Directive {
	d := route.Decide(dir, *caller, *req)
	t := route.Challenged(*caller, req)
	if t == nil || len(d.Routes) == 0 || d.Routes[0].Trunk == nil || d.Routes[0].Trunk.ID != t.ID {
		return d
	}
	line, err := s.answer(caller.Account, t, &proof{req.Challenge, req.Method, d.Routes[0].URI})
	if err == nil {
		d.Routes[0].Trunk.Answer = line
		return d
	}
	s.Log.LogAttrs(ctx, slog.LevelWarn, "a trunk's challenge is not answered", slog.String("account", d.AccountID),
		slog.String("trunk", t.ID), slog.String("call_id", req.CallID), slog.String("err", err.Error()))
	caller.Unanswered = true
	return route.Decide(dir, *caller, *req)
}

// proof is what a trunk wants proved: its challenges, one a line, to a request.
type proof struct{ challenge, method, uri string }

// answer is the header line that answers the challenge of a question.
func (s *Server) answer(acct *brain.AccountConfig, t *brain.SIPTrunk, of *proof) (string, error) {
	if s.Password == nil {
		return "", errors.New("no secret can be opened")
	}
	password, err := s.Password(acct, t.AuthSecretRef)
	if err != nil {
		return "", err
	}
	return auth.Answer(strings.Split(of.challenge, "\n"), of.method, of.uri, t.AuthUsername, password, t.Realm, rand.Text())
}

// outside does what a directive that goes over a trunk needs beside its place: it is paid for, unless it is a call for help, and
// signed. One that comes back from a trunk gives its money back. The events of the call say which directive they are of, so that
// nobody pays for a number when somebody else has answered.
func (s *Server) outside(ctx context.Context, dir brain.Directory, caller *route.Caller, req *api.RouteRequest, d api.Directive) (api.Directive, error) {
	attempt := route.Attempt(caller, req, &d)
	if d.Call != nil && attempt > 1 {
		d.Call.Attempt = attempt
	}
	if route.Leaving(caller.Account, &d) == nil {
		if req.Trunk != "" {
			s.drop(ctx, caller.Account, req, attempt)
		}
		return d, nil
	}
	if !route.Emergency(caller, req) && d.Call.Direction == brain.DirectionOut { // what goes to a PBX costs nothing
		if refusal := s.hold(ctx, caller.Account, &d, req, attempt); refusal != nil {
			return s.instead(ctx, dir, caller, req, &d, refusal)
		}
	}
	s.sign(ctx, caller, &d)
	return d, nil
}

// instead is what becomes of a call that nobody pays for: its forward overflows, as if the trunk had failed. Else it is refused, and what
// it took of the limits is given back once that is sure. Only the account's own phones are told that there is no money.
func (s *Server) instead(ctx context.Context, dir brain.Directory, caller *route.Caller, req *api.RouteRequest, d, refusal *api.Directive) (api.Directive, error) {
	if caller.User == nil {
		refusal.Reason = api.Reason(refusal.SIPCode)
	}
	next := *req
	route.Failed(&next, d, 0)
	caller.Stay = true
	to, err := s.admitted(ctx, dir, caller, &next, refusal)
	if to.Action == api.ActionProxy {
		return to, err
	}
	if refusal.SIPCode == 503 { // nobody could say: another brain that was asked the same may have said yes meanwhile
		return to, err
	}
	if _, err := s.Presence.Reset(ctx, d.AccountID, []string{d.Call.Token}); err != nil {
		s.Log.Debug("the place of a refused call stays until its lease runs out", "account", d.AccountID, "err", err)
	}
	return to, err
}

// TrunkCalls are the attempts of calls over a trunk since the process began.
type TrunkCalls struct {
	Attempts int64 `json:"attempts"`
	Failed   int64 `json:"failed"` // without a 2xx; a challenge counts, its answer is another attempt
}

// maxTrunkCalls bounds the trunks that are counted.
const maxTrunkCalls = 10_000

// attempts counts calls by trunk.
type attempts struct {
	mu sync.Mutex
	of map[string]TrunkCalls
}

func (a *attempts) add(id string, more TrunkCalls) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, known := a.of[id]
	if !known && len(a.of) >= maxTrunkCalls {
		return
	}
	if a.of == nil {
		a.of = map[string]TrunkCalls{}
	}
	a.of[id] = TrunkCalls{n.Attempts + more.Attempts, n.Failed + more.Failed}
}

// all is nil when nothing was counted.
func (a *attempts) all() map[string]TrunkCalls {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.of)
}

// noteAttempt counts what has become of an attempt over a trunk and that another one begins, and writes a line of that: code is
// what the one before came to, 0 for the first, targets where it was tried when it had several, tried the trunks before. A trunk that is named must be one of the account's:
// nothing else is counted.
func (s *Server) noteAttempt(ctx context.Context, req *api.RouteRequest, d *api.Directive) {
	next := ""
	if len(d.Routes) > 0 && d.Routes[0].Trunk != nil {
		next = d.Routes[0].Trunk.ID
	}
	acct := s.Config.Directory().ByAccount(d.AccountID)
	if acct == nil || next == "" && req.Trunk == "" {
		return
	}
	if acct.Trunks[req.Trunk] != nil {
		s.attempts.add(req.Trunk, TrunkCalls{Failed: 1})
	}
	at := req.At
	if next != "" {
		s.attempts.add(next, TrunkCalls{Attempts: 1})
		at = d.Call.At
	}
	if level, wanted := s.decisionLevel(ctx); wanted {
		s.Log.LogAttrs(ctx, level, "trunk attempt", slog.String("call_id", req.CallID), slog.String("account", d.AccountID),
			slog.String("trunk", next), slog.Int("code", req.FailedCode), slog.String("at", at), slog.String("tried", req.Tried), slog.String("targets", req.Targets))
	}
}

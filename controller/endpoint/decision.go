package endpoint

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// countAuth and countRoute count a decision by its outcome.
func (s *Server) countAuth(rep *api.AuthReply) {
	if rep.Action == api.ActionAccept {
		s.counts.add(countAuthAccepted)
	} else {
		s.counts.add(countAuthRefused)
	}
}

func (s *Server) countRoute(d *api.Directive) {
	if d.Action == api.ActionProxy {
		s.counts.add(countRouteProxied)
	} else {
		s.counts.add(countRouteRefused)
	}
}

// logAuth writes the line of a registration's decision.
func (s *Server) logAuth(ctx context.Context, req *api.AuthRequest, rep *api.AuthReply, began time.Time) {
	if level, wanted := s.decisionLevel(ctx); wanted {
		s.logDecision(ctx, level, began, decision{"auth", rep.AccountID, req.FromUser + "@" + req.FromDomain,
			req.ToUser + "@" + req.ToDomain, rep.Action, rep.Refusal, req.CallID, req.SourceIP})
	}
}

// logRoute writes the line of a call's decision.
func (s *Server) logRoute(ctx context.Context, req *api.RouteRequest, d *api.Directive, began time.Time) {
	if level, wanted := s.decisionLevel(ctx); wanted {
		s.logDecision(ctx, level, began, decision{"route", d.AccountID, req.FromUser + "@" + req.FromDomain,
			cmp.Or(req.RURIUser, req.ToUser) + "@" + cmp.Or(req.RURIDomain, req.ToDomain), d.Action, d.Refusal, req.CallID, req.SourceIP})
	}
}

// decisionLevel is the level of decisions in the log, and whether anybody reads it.
func (s *Server) decisionLevel(ctx context.Context) (slog.Level, bool) {
	level := slog.LevelDebug
	if s.LogDecisions {
		level = slog.LevelInfo
	}
	return level, s.Log.Enabled(ctx, level)
}

// decision is what the log tells of one decision. It holds nothing of the digest but its verdict.
type decision struct {
	what, account, from, to, outcome string
	refusal                          api.Refusal
	callID, sourceIP                 string
}

func (s *Server) logDecision(ctx context.Context, level slog.Level, began time.Time, d decision) {
	s.Log.LogAttrs(ctx, level, "decision", slog.String("what", d.what), slog.String("account", d.account),
		slog.String("from", d.from), slog.String("to", d.to), slog.String("outcome", d.outcome),
		slog.Int("sip_code", d.refusal.SIPCode), slog.String("why", d.refusal.Why), slog.String("call_id", d.callID),
		slog.String("source", d.sourceIP), slog.Int64("took_us", time.Since(began).Microseconds()))
}

package endpoint

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/route"
)

// route answers POST /route: who calls, and where does the call go.
func (s *Server) route(r *http.Request, key brain.APIKey) (any, error) {
	began := time.Now()
	var req api.RouteRequest
	if err := decode(r, &routeFields, &req); err != nil {
		return nil, err
	}
	if err := s.speaksFor(r, key, &req.Node); err != nil {
		return nil, err
	}
	d, err := s.direct(r.Context(), s.Config.Directory(), &req)
	if err != nil {
		return nil, err
	}
	s.countRoute(&d)
	s.noteAttempt(r.Context(), &req, &d)
	s.logRoute(r.Context(), &req, &d, began)
	return &api.RouteReply{RTJSON: d}, nil
}

// direct decides a call, or what follows a failure in it, and admits what was decided. A caller who is not known gets the same
// refusal whatever was dialed.
func (s *Server) direct(ctx context.Context, dir brain.Directory, req *api.RouteRequest) (api.Directive, error) {
	caller, why := s.caller(dir, req)
	if why != "" {
		refusal := disbelieved(why)
		switch {
		case req.Peer == api.PeerTrunkTLS && req.At == "":
			refusal = challenged(why)
		case req.Peer != "":
			refusal = forbidden(why)
		}
		return api.Directive{Action: api.ActionReject, Version: api.Version, ConfigVersion: dir.Version(), Refusal: refusal}, nil
	}
	route.Meant(&caller, req)
	if refusal := s.verify(ctx, &caller, req); refusal != nil {
		return api.Directive{Action: api.ActionReject, Version: api.Version, AccountID: caller.Account.Account.ID,
			ConfigVersion: caller.Account.Version, Refusal: *refusal}, nil
	}
	return s.admitted(ctx, dir, &caller, req, nil)
}

// admitted decides a call of a caller who is known, and admits what was decided. What has no room is decided again without it: a
// trunk without a channel is not tried, a callee without a line is busy, and a call that may not leave overflows. refused is what
// is answered when it goes nowhere else, nil for what the decision says.
func (s *Server) admitted(ctx context.Context, dir brain.Directory, caller *route.Caller, req *api.RouteRequest, refused *api.Directive) (api.Directive, error) {
	var decided *api.Directive // before, and left alone for the trunk that the call holds
	for {
		d := s.decide(ctx, dir, caller, req)
		switch {
		case d.Action != api.ActionProxy && decided != nil:
			return s.outside(ctx, dir, caller, req, *decided)
		case d.Action != api.ActionProxy && refused != nil:
			return *refused, nil
		case d.Action != api.ActionProxy:
			return d, nil
		}
		callee := route.Callee(*caller, req)
		if caller.Busy != "" {
			callee = nil
		}
		v, err := s.place(ctx, dir, caller, callee, req, &d)
		switch {
		case v.Repeated && holdsAnother(caller, v, &d):
			decided = &d
			caller.Full = append(caller.Full, d.Routes[0].Trunk.ID)
		case v.Repeated && !caller.Stay && holdsNoWayOut(caller, v, &d):
			caller.Stay = true
		case v.Admitted:
			if refused != nil {
				d.Why = refused.Why + "; " + d.Why
			}
			return s.outside(ctx, dir, caller, req, d)
		case brain.CodeOf(err) == brain.EUnavailable:
			return route.Unavailable(caller.Account, err.Error()), nil
		case err != nil:
			return d, err
		case without(caller, callee, v, &d):
		case refused != nil:
			return *refused, nil
		default:
			refusal := route.Refused(caller.Account, v)
			if v.Kind == 0 || route.Leaving(caller.Account, &d) == nil {
				return refusal, nil
			}
			refused, caller.Stay = &refusal, true
		}
	}
}

// holdsAnother says whether a question was asked before and got a channel of another trunk then than it would now: the call is
// to go over that one. The trunk that it came in by is not meant.
func holdsAnother(caller *route.Caller, v cac.Verdict, d *api.Directive) bool {
	t, others := route.Leaving(caller.Account, d), 0
	if t == nil {
		return false
	}
	for _, held := range v.Held {
		switch {
		case held.Kind != cac.Trunk:
		case held.ID == t.ID:
			return false
		case caller.Trunk == nil || held.ID != caller.Trunk.ID:
			others++
		}
	}
	return others > 0
}

// holdsNoWayOut says whether a question was asked before and the call was kept inside then, though it could leave now.
func holdsNoWayOut(caller *route.Caller, v cac.Verdict, d *api.Directive) bool {
	return route.Leaving(caller.Account, d) != nil && d.Call.Direction == brain.DirectionOut && len(v.Held) > 0 &&
		!slices.ContainsFunc(v.Held, func(t cac.Take) bool { return t.Kind == cac.Out })
}

// without has what admission found no room for left out of the next decision. False: the call cannot do without it.
func without(caller *route.Caller, callee *brain.SIPUser, v cac.Verdict, d *api.Directive) bool {
	switch t := route.Leaving(caller.Account, d); {
	case (v.Kind == cac.Trunk || v.Kind == cac.TrunkRate) && t != nil && v.ID == t.ID:
		caller.Full = append(caller.Full, t.ID)
		return true
	case v.Kind == cac.User && callee != nil && v.ID == callee.ID && callee != caller.User:
		caller.Busy = callee.ID
		return true
	}
	return false
}

// caller finds out who calls: by the digest, or, for what the edge knows by its address or its certificate, by that. why
// is set when nobody is known.
func (s *Server) caller(dir brain.Directory, req *api.RouteRequest) (caller route.Caller, why string) {
	caller.NowMS, caller.Prices = s.Now().UnixMilli(), s.Prices
	switch req.Peer {
	case api.PeerMedia:
		caller.Account, caller.Media = dir.ByAccount(req.AccountID), true
		if caller.Account == nil {
			return caller, "a leg of account " + strconv.QuoteToASCII(req.AccountID) + ", which is not known"
		}
		return caller, ""
	case api.PeerTrunk:
		caller.Account, caller.Trunk = dir.TrunkBySource(req.SourceIP)
		switch {
		case caller.Trunk == nil:
			return caller, "no trunk has the address " + req.SourceIP
		case caller.Trunk.Wholesale():
			caller.Account, caller.Trunk = route.Shared(dir, caller.Account, caller.Trunk, req)
		case !caller.Trunk.In():
			return caller, "trunk " + caller.Trunk.Name + " is for calls to outside only"
		}
		return caller, ""
	case api.PeerTrunkTLS:
		caller.Account, caller.Trunk = dir.TrunkByTLSName(req.TLSName)
		if caller.Trunk == nil {
			return caller, "no trunk has the certificate's name " + strconv.QuoteToASCII(req.TLSName)
		}
		return caller, ""
	}
	res := auth.Check(dir, req.Method, auth.Digest(req.Digest))
	if !res.OK {
		return s.callingTrunk(dir, caller, req, res.Why)
	}
	caller.Account, caller.User, caller.Device = res.Account, res.User, res.Device
	return caller, ""
}

// callingTrunk is a caller who is no device: a trunk that is known by its digest, or nobody. noDevice is why. Everybody whom
// auth.Check refuses is looked for here too, so that all refusals cost the same.
func (s *Server) callingTrunk(dir brain.Directory, caller route.Caller, req *api.RouteRequest, noDevice string) (route.Caller, string) {
	if s.Password == nil {
		return caller, noDevice
	}
	acct, trunk, why := auth.CheckTrunk(dir, req.Method, auth.Digest(req.Digest), s.Password)
	switch {
	case why == auth.WhyUnknownTrunk || why == auth.WhyUnknownDomain: // what kept the device away says more
		return caller, noDevice
	case why != "":
		return caller, why
	}
	caller.Account, caller.Trunk = acct, trunk
	return caller, ""
}

// place asks for everything that the call takes by a directive. An emergency call goes on whatever the answer is. callee is nil
// when the call rings no single user.
func (s *Server) place(ctx context.Context, dir brain.Directory, caller *route.Caller, callee *brain.SIPUser, req *api.RouteRequest, d *api.Directive) (v cac.Verdict, err error) {
	if req.At == "" {
		v, err = s.admitCall(ctx, dir, caller, callee, req, d)
	} else {
		v, err = s.swap(ctx, dir, caller, callee, req, d)
	}
	for _, w := range v.Soft {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "a call_limit that only warns is passed", slog.String("account", d.AccountID), slog.String("limit", limitName(caller.Account, w.ID)),
			slog.Int("max_count", w.Max), slog.String("call_id", req.CallID), slog.String("from", d.Call.From), slog.String("to", d.Call.To))
	}
	if !v.Admitted && route.Emergency(caller, req) {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "an emergency call goes out without a place", slog.String("account", d.AccountID),
			slog.String("call_id", req.CallID), slog.Any("err", err))
		return cac.Verdict{Admitted: true}, nil
	}
	return v, err
}

// limitName is a call_limit as an operator knows it.
func limitName(acct *brain.AccountConfig, id string) string {
	for _, l := range acct.Limits {
		if l.ID == id {
			return l.Name
		}
	}
	return id
}

// swap asks for what a later directive of a call changes in its places.
func (s *Server) swap(ctx context.Context, dir brain.Directory, caller *route.Caller, callee *brain.SIPUser, req *api.RouteRequest, d *api.Directive) (cac.Verdict, error) {
	change, changes := route.Change(caller, callee, req, d)
	if !changes {
		return cac.Verdict{Admitted: true, Repeated: true}, nil
	}
	return s.Presence.Swap(ctx, d.AccountID, presence.Swap{Swap: change, Node: req.Node,
		Policy: caller.Account.Account.AdmissionPolicy, Nodes: dir.ActiveNodes()})
}

// admitCall asks for everything the call takes. callee is nil when the call rings no single user.
func (s *Server) admitCall(ctx context.Context, dir brain.Directory, caller *route.Caller, callee *brain.SIPUser, req *api.RouteRequest, d *api.Directive) (cac.Verdict, error) {
	takes, windows := route.Needs(caller, callee, req, d)
	a := presence.Admission{AccountID: d.AccountID, Policy: caller.Account.Account.AdmissionPolicy, Nodes: dir.ActiveNodes()}
	a.Call = presence.Admit{
		Call: cac.Call{Token: d.Call.Token, CallID: req.CallID, Node: req.Node, AskedMS: req.TimeMS,
			Emergency: route.Emergency(caller, req), Takes: takes, Windows: windows},
		From: d.Call.From, To: d.Call.To,
	}
	if caller.User != nil {
		a.Call.CallerUser = caller.User.ID
	}
	if callee != nil && !route.AgentLeg(caller, req) {
		a.Call.CalleeUser = callee.ID
	}
	if n := dir.NodeByName(req.Node); n != nil && !caller.Media {
		a.NodeCapacity = n.Capacity
	}
	return s.Presence.Admit(ctx, &a)
}

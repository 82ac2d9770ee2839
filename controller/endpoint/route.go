package endpoint

import (
	"context"
	"net/http"
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
func (s *Server) route(r *http.Request, _ brain.APIKey) (any, error) {
	began := time.Now()
	var req api.RouteRequest
	if err := decode(r, &routeFields, &req); err != nil {
		return nil, err
	}
	d, err := s.direct(r.Context(), s.Config.Directory(), &req)
	if err != nil {
		return nil, err
	}
	s.countRoute(&d)
	s.logRoute(r.Context(), &req, &d, began)
	return &api.RouteReply{RTJSON: d}, nil
}

// direct decides a call and admits it. A caller who is not known gets the same refusal whatever was dialed.
func (s *Server) direct(ctx context.Context, dir brain.Directory, req *api.RouteRequest) (api.Directive, error) {
	caller, why := s.caller(dir, req)
	if why != "" {
		return api.Directive{Action: api.ActionReject, Version: api.Version, ConfigVersion: dir.Version(),
			Refusal: forbidden(why)}, nil
	}
	d := route.Decide(dir, caller, *req)
	if d.Action != api.ActionProxy {
		return d, nil
	}
	callee := route.Callee(caller, req)
	v, err := s.admitCall(ctx, dir, &caller, callee, req, &d)
	if err == nil && !v.Admitted && v.Kind == cac.User && callee != nil && v.ID == callee.ID && callee != caller.User {
		// No line of the callee is free: the call goes where it goes when he is busy.
		caller.Busy = callee.ID
		if d = route.Decide(dir, caller, *req); d.Action != api.ActionProxy {
			return d, nil
		}
		v, err = s.admitCall(ctx, dir, &caller, nil, req, &d)
	}
	switch {
	case brain.CodeOf(err) == brain.EUnavailable:
		return route.Unavailable(caller.Account, err.Error()), nil
	case err != nil:
		return d, err
	case !v.Admitted:
		return route.Refused(caller.Account, v), nil
	}
	return d, nil
}

// caller finds out who calls: by the digest, or, for what the edge knows by its address, by that. why is set when
// nobody is known.
func (s *Server) caller(dir brain.Directory, req *api.RouteRequest) (caller route.Caller, why string) {
	caller.NowMS = s.Now().UnixMilli()
	switch req.Peer {
	case api.PeerMedia:
		caller.Account, caller.Media = dir.ByAccount(req.AccountID), true
		if caller.Account == nil {
			return caller, "a leg of account " + strconv.QuoteToASCII(req.AccountID) + ", which is not known"
		}
		return caller, ""
	case api.PeerTrunk:
		caller.Account, caller.Trunk = dir.TrunkBySource(req.SourceIP)
		if caller.Trunk == nil {
			return caller, "no trunk has the address " + req.SourceIP
		}
		return caller, ""
	}
	res := auth.Check(dir, req.Method, auth.Digest(req.Digest))
	if !res.OK {
		return caller, res.Why
	}
	caller.Account, caller.User, caller.Device = res.Account, res.User, res.Device
	return caller, ""
}

// admitCall asks for everything the call takes. callee is nil when the call rings no single user.
func (s *Server) admitCall(ctx context.Context, dir brain.Directory, caller *route.Caller, callee *brain.SIPUser, req *api.RouteRequest, d *api.Directive) (cac.Verdict, error) {
	a := presence.Admission{AccountID: d.AccountID, Policy: caller.Account.Account.AdmissionPolicy, Nodes: dir.ActiveNodes()}
	a.Call = presence.Admit{
		Call: cac.Call{Token: d.Call.Token, CallID: req.CallID, Node: req.Node, AskedMS: req.TimeMS,
			Takes: route.Takes(caller, callee, req), Windows: route.Windows(caller, callee, req)},
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

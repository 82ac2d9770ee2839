package door

import (
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// wholeHelp tells whether an emergency number has attempts, each over a trunk.
func wholeHelp(h *api.SurvivalHelp) bool {
	return h.Number != "" && h.At != "" && len(h.Routes) > 0 && !slices.ContainsFunc(h.Routes, func(r api.Route) bool {
		return r.Step != 1 || r.Trunk == nil || r.Trunk.ID == "" || r.URI == ""
	})
}

// calledForHelp is the emergency number that a question is about: one that was dialed, under whatever domain, or whose last attempt has
// failed. nil: it is about something else.
func (a *keptAccount) calledForHelp(q *api.RouteRequest) *api.SurvivalHelp {
	for i := range a.Help {
		if h := &a.Help[i]; q.At == h.At || q.At == "" && q.RURIUser == h.Number {
			return h
		}
	}
	return nil
}

// help sends a call for help over the next trunk that was not tried; those that do not answer the node come last. d is the directive so
// far. Nothing is admitted and nothing paid: so it is with a brain, too.
func (a *keptAccount) help(h *api.SurvivalHelp, q *api.RouteRequest, caller *api.SurvivalCaller, d api.Directive) (api.RouteReply, decided) {
	d.AccountID = a.AccountID
	r := nextForHelp(h.Routes, q)
	if r == nil {
		d.Action = api.ActionReject
		d.Refusal = api.Refusal{SIPCode: 503, Reason: api.Reason(503), Why: whySurvival + ", and no trunk is left"}
		return api.RouteReply{RTJSON: d}, decided{account: a.AccountID, aor: caller.AOR, code: 503}
	}
	d.Action, d.Routing, d.Media, d.Why = api.ActionProxy, "parallel", a.Media, whySurvival
	d.Call = &api.CallInfo{Direction: "out", From: caller.Username, To: h.Number, At: h.At, Trunk: r.Trunk.ID, MaxDurationSec: a.MaxDurationSec, Token: q.Token()}
	trunk := *r.Trunk
	for _, s := range caller.Shown {
		if s.TrunkID == trunk.ID {
			trunk.From, trunk.Headers = s.From, s.Headers
		}
	}
	one := *r
	if at := hint(q.Via, trunk.ID); at != "" && trunk.Lookup == "" {
		trunk.DstURI = "sip:" + at + transportOf(r.URI)
	}
	one.Trunk = &trunk
	d.Routes = []api.Route{one}
	return api.RouteReply{RTJSON: d}, decided{account: a.AccountID, aor: caller.AOR, token: d.Call.Token}
}

// nextForHelp is the next attempt, nil when there is none.
func nextForHelp(routes []api.Route, q *api.RouteRequest) (next *api.Route) {
	tried, down := strings.Split(q.Tried, ","), strings.Split(q.Down, ",")
	for i := range routes {
		switch id := routes[i].Trunk.ID; {
		case slices.Contains(tried, id):
		case !slices.Contains(down, id):
			return &routes[i]
		case next == nil:
			next = &routes[i]
		}
	}
	return next
}

// hint is the address that a list of ID=ADDRESS has for a trunk, "" for none.
func hint(hints, id string) string {
	for pair := range strings.SplitSeq(hints, ",") {
		if name, at, ok := strings.Cut(pair, "="); ok && name == id {
			return at
		}
	}
	return ""
}

// transportOf is the parameter of a URI that names its transport, "" for UDP.
func transportOf(uri string) string {
	if i := strings.Index(uri, ";transport="); i >= 0 {
		return uri[i:]
	}
	return ""
}

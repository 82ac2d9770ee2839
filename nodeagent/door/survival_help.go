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
		if h := &a.Help[i]; q.At == h.At || q.At == "" && (strings.TrimPrefix(q.RURIUser, "+") == h.Number || h.SOS && api.SOS(q.RURI)) {
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
	if at, _ := hint(q.Via, trunk.ID); at != "" && trunk.Lookup == "" {
		through(&trunk, strings.Split(at, "|"), transportOf(r.URI))
	}
	one.Trunk = &trunk
	d.Routes = []api.Route{one}
	return api.RouteReply{RTJSON: d}, decided{account: a.AccountID, aor: caller.AOR, token: d.Call.Token}
}

// nextForHelp is the next attempt, nil when there is none.
func nextForHelp(routes []api.Route, q *api.RouteRequest) (next *api.Route) {
	tried, down := strings.Split(q.Tried, ","), strings.Split(q.Down, ",")
	for i := range routes {
		id := routes[i].Trunk.ID
		at, told := hint(q.Via, id)
		switch {
		case slices.Contains(tried, id), told && at == "":
		case !slices.Contains(down, id):
			return &routes[i]
		case next == nil:
			next = &routes[i]
		}
	}
	return next
}

// hint is what a list of ID=ADDRESS|ADDRESS… has for a trunk; told and "": its name leads nowhere.
func hint(hints, id string) (at string, told bool) {
	for pair := range strings.SplitSeq(hints, ",") {
		if name, at, ok := strings.Cut(pair, "="); ok && name == id {
			return at, true
		}
	}
	return "", false
}

// through has an attempt tried at targets, one after the other, as a brain would (brain/route/target.go).
func through(t *api.RouteTrunk, targets []string, transport string) {
	n := min(len(targets), 4, max(1, t.FrTimer/500))
	for i, at := range targets[:n] {
		targets[i] = "sip:" + at + transport
	}
	t.DstURI, t.Next, t.FrTimer = targets[0], strings.Join(targets[1:n], "|"), t.FrTimer/n
}

// transportOf is the parameter of a URI that names its transport, "" for UDP.
func transportOf(uri string) string {
	if i := strings.Index(uri, ";transport="); i >= 0 {
		return uri[i:]
	}
	return ""
}

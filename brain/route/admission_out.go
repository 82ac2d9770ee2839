package route

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// trunkRateMS is the length of the window that max_cps counts in.
const trunkRateMS = 1000

// maxQuestions is more than the questions of one At can be: what Attempt counts in.
const maxQuestions = 32

// Leaving is the trunk that a directive sends the call over, nil when it goes nowhere outside.
func Leaving(acct *brain.AccountConfig, d *api.Directive) *brain.SIPTrunk {
	if len(d.Routes) == 0 || d.Routes[0].Trunk == nil {
		return nil
	}
	return acct.Trunks[d.Routes[0].Trunk.ID]
}

// Needs lists what the first directive of a call takes and counts for. A call to outside is one of the account's calls out,
// instead of one inside, and one of its trunk's. callee may be nil.
func Needs(caller *Caller, callee *brain.SIPUser, req *api.RouteRequest, d *api.Directive) (takes []cac.Take, windows []cac.Window) {
	takes = Takes(caller, callee, req)
	t := Leaving(caller.Account, d)
	switch {
	case t == nil && recordsOutside(d):
		return takes, nil
	case t == nil:
		return takes, Windows(caller, callee, req)
	case d.Call.Direction != brain.DirectionOut: // to a PBX
		return append(takes, outTakes(caller, t)[1:]...), append(Windows(caller, callee, req), rateWindow(t)...)
	case caller.direction(req) == brain.DirectionIn:
		windows = Windows(caller, nil, req)
	}
	takes = slices.DeleteFunc(takes, func(t cac.Take) bool { return t.Kind == cac.Internal })
	for _, w := range outWindows(caller, req, t, d) {
		if !slices.Contains(windows, w) { // of a limit of any direction: the call comes in and goes out
			windows = append(windows, w)
		}
	}
	return append(takes, outTakes(caller, t)...), windows
}

// recordsOutside says whether a directive has the media server call a number outside, to record it: what the call counts for, its leg
// counts, as if the phone had called over the trunk.
func recordsOutside(d *api.Directive) bool {
	return len(d.Routes) > 0 && strings.HasPrefix(d.Routes[0].App, string(destPSTN)+"/")
}

func outTakes(caller *Caller, t *brain.SIPTrunk) []cac.Take {
	return []cac.Take{{Kind: cac.Out, Limit: caller.Account.Account.MaxOut}, {Kind: cac.Trunk, ID: t.ID, Limit: t.MaxChannels}}
}

// outWindows are those of a call that begins to go out: the account's limits of such calls, and the trunk's own.
func outWindows(caller *Caller, req *api.RouteRequest, t *brain.SIPTrunk, d *api.Directive) []cac.Window {
	windows := limits(caller, req, brain.DirectionOut, "", d.Call.To)
	windows = slices.DeleteFunc(windows, func(w cac.Window) bool { return countedBefore(caller, req, w.ID) })
	return append(windows, rateWindow(t)...)
}

// countedBefore tells whether the call has been counted in a limit of any direction when it leaves: by its first question, when phones
// have rung since, or, when it is a leg of the media server, by that of the call which the leg belongs to. A leg for a recorded call to
// outside counts by itself (recordsOutside), and so does one to whom somebody transfers the caller: that is another call.
func countedBefore(caller *Caller, req *api.RouteRequest, id string) bool {
	from, number := maker(caller, req), req.RURIUser
	switch kind, _, _ := strings.Cut(req.Dial, "/"); {
	case caller.Media && !callsBack(caller, req):
		if kind == string(destPSTN) || kind == string(destTransfer) {
			return false
		}
		number = req.Called
	case req.At == "":
		return false
	case caller.Trunk != nil:
		number = cmp.Or(Called(caller.Account, number), number)
	}
	return slices.ContainsFunc(caller.Account.Limits, func(l *brain.CallLimit) bool {
		return l.ID == id && l.Direction == brain.DirectionAny && l.Matches(brain.DirectionAny, from, "", number)
	})
}

func rateWindow(t *brain.SIPTrunk) []cac.Window {
	if t.MaxCPS <= 0 {
		return nil
	}
	return []cac.Window{{Kind: cac.TrunkRate, ID: t.ID, Max: t.MaxCPS, PeriodMS: trunkRateMS, Hard: true}}
}

// Change is what a later directive of a call changes in its places. callee is whom it rings by itself, nil for nobody. False: it
// changes nothing, as when the attempt over a trunk is only repeated.
func Change(caller *Caller, callee *brain.SIPUser, req *api.RouteRequest, d *api.Directive) (s cac.Swap, changes bool) {
	acct, next := caller.Account, Leaving(caller.Account, d)
	if repeats(caller, req, d) {
		return s, false
	}
	s = cac.Swap{Token: d.Call.Token, Attempt: Attempt(caller, req, d), Emergency: Emergency(caller, req)}
	switch {
	case req.Trunk != "" && next != nil: // the next trunk of the same call
		s.Drop, s.Add = tried(caller, req), outTakes(caller, next)[1:]
		s.Windows = rateWindow(next)
	case next != nil && d.Call.Direction != brain.DirectionOut: // phones have rung, and a PBX is next
		s.Drop = slices.DeleteFunc(rang(caller, req), func(t cac.Take) bool { return t.Kind == cac.Internal })
		s.Add, s.Windows = outTakes(caller, next)[1:], rateWindow(next)
	case next != nil: // phones have rung, and the call leaves
		s.Drop, s.Add = rang(caller, req), outTakes(caller, next)
		s.Windows = outWindows(caller, req, next, d)
	case req.Trunk != "": // it comes back to the account
		s.Drop = append(tried(caller, req), cac.Take{Kind: cac.Out})
		s.Add = ringsNow(caller, callee)
		if caller.direction(req) == brain.DirectionInternal && !caller.Media {
			s.Add = append(s.Add, cac.Take{Kind: cac.Internal, Limit: acct.Account.MaxInternal})
		}
	default:
		s.Drop, s.Add = rang(caller, req), ringsNow(caller, callee)
		if caller.direction(req) == brain.DirectionInternal && !caller.Media {
			s.Add = append(s.Add, cac.Take{Kind: cac.Internal, Limit: acct.Account.MaxInternal})
		}
	}
	return s, true
}

// repeats tells whether a directive is the attempt once more that its question is about, with the answer to the trunk's challenge.
func repeats(caller *Caller, req *api.RouteRequest, d *api.Directive) bool {
	next := Leaving(caller.Account, d)
	return next != nil && next.ID == req.Trunk && Challenged(*caller, req) != nil
}

// Attempt numbers the directives of a call from 1 on: it rises with each question, and stays for one that only repeats an attempt.
func Attempt(caller *Caller, req *api.RouteRequest, d *api.Directive) int {
	n := req.Hops*maxQuestions + 1
	if req.Tried != "" {
		n += min(1+strings.Count(req.Tried, ","), maxQuestions-2)
	}
	if repeats(caller, req, d) {
		n--
	}
	return n
}

// tried is what the attempts have taken: a channel of the last trunk, and of those before it, should an answer have been lost that
// gave one back. What is not held is passed over. The channel of the trunk that the call came in by stays.
func tried(caller *Caller, req *api.RouteRequest) []cac.Take {
	takes := []cac.Take{{Kind: cac.Trunk, ID: req.Trunk}}
	for id := range strings.SplitSeq(req.Tried, ",") {
		if id != "" && id != req.Trunk && (caller.Trunk == nil || id != caller.Trunk.ID) && len(takes) < maxQuestions {
			takes = append(takes, cac.Take{Kind: cac.Trunk, ID: id})
		}
	}
	return takes
}

// rang is what the phones took that have rung before: whom the call was for, or whom an earlier forward overflowed to, and its place
// inside the account. What is not held is passed over.
func rang(caller *Caller, req *api.RouteRequest) (takes []cac.Take) {
	first := *req
	first.At = ""
	users := []*brain.SIPUser{Callee(*caller, &first)}
	for _, id := range slices.Sorted(maps.Keys(caller.Account.Forwards)) {
		if len(users) < maxQuestions && overflowsTo(caller, id, req) {
			first.At = string(brain.DestForward) + "/" + id
			users = append(users, Callee(*caller, &first))
		}
	}
	for i, u := range users {
		if u != nil && u != caller.User && !slices.Contains(users[:i], u) {
			takes = append(takes, cac.Take{Kind: cac.User, ID: u.ID})
		}
	}
	return append(takes, cac.Take{Kind: cac.Internal})
}

// overflowsTo tells whether the phones that a forward overflows to lead to the step that the question is about.
func overflowsTo(caller *Caller, forwardID string, req *api.RouteRequest) bool {
	f := caller.Account.Forwards[forwardID]
	if f.OverflowDestKind != brain.DestUser && f.OverflowDestKind != brain.DestExtension {
		return false
	}
	p := plan{acct: caller.Account, caller: *caller, req: req, hops: make([]hop, 0, 2)}
	p.lead(f.Overflow(), noHop)
	return slices.ContainsFunc(p.routes, func(r api.Route) bool { return r.Ask == req.At })
}

func ringsNow(caller *Caller, callee *brain.SIPUser) []cac.Take {
	if callee == nil || callee == caller.User {
		return nil
	}
	return []cac.Take{{Kind: cac.User, ID: callee.ID, Limit: callee.MaxSimultaneous}}
}

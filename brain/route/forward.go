package route

import (
	"slices"
	"strconv"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// maxDiverted is how often a call may have been sent on before it came here, to be sent on once more.
const maxDiverted = 4

// forward sends the call on to a number outside. What nothing has rung before goes out at once; behind phones it is a step that
// asks, so that what goes out is decided, admitted and paid for when it does.
func (p *plan) forward(f *brain.Forward, chain int) outcome {
	switch {
	case p.offline:
		return outcome{code: 503}
	case p.diversions() > maxDiverted:
		p.say(": diverted ", strconv.Itoa(p.diversions()), " times already")
		return outcome{code: 482}
	case f.Waits() && p.steps > 0 && !p.caller.Media:
		return p.askAt(brain.RouteTarget{Kind: brain.DestForward, ID: f.ID}, chain)
	case !p.takes(f):
		return p.leaves(f, "is for "+string(f.Trigger)+" alone", causeCode(p.cause))
	case p.confirms(f) || p.recorded(nil):
		return p.served(f, chain)
	}
	e164, why := number.Normalize(p.acct.Account.Country, f.Number)
	if why != "" {
		return p.overflow(f, "calls "+strconv.QuoteToASCII(f.Number)+", which "+string(why), 404)
	}
	if round := p.leadsBack(f, e164); round != "" {
		return p.overflow(f, round, 482)
	}
	if p.steps > 0 {
		return p.askAt(brain.RouteTarget{Kind: brain.DestForward, ID: f.ID}, chain)
	}
	p.say(" → ")
	o := &outward{kind: brain.DestForward, number: e164, forward: f, hops: p.base + p.depth(chain)}
	if code := p.send(o); code != 0 {
		return p.overflow(f, "", code)
	}
	return outcome{step: p.steps, code: 480}
}

// takes tells whether a forward takes the call after what has become of it. Who has the media server call it by its own name says so himself.
func (p *plan) takes(f *brain.Forward) bool {
	return f.Takes(p.cause) || p.caller.Media && p.cause == ""
}

// causeOf is what a final response means for the forwards that follow. 430 is the edge's for phones that have said nothing at all.
func causeOf(code int) brain.Trigger {
	switch code {
	case 0:
		return ""
	case 486, 600, 603:
		return brain.TriggerBusy
	case 480, 487:
		return brain.TriggerNoAnswer
	}
	return brain.TriggerUnreachable
}

// causeCode is how a call ends of which that has become.
func causeCode(cause brain.Trigger) int {
	if cause == brain.TriggerBusy {
		return 486
	}
	return 480
}

// leadsBack says why a forward must not call a number: it is the one that was called, or another of the account that leads to the same
// forward without ringing anybody, so that the call would go round through the network. "": it may.
func (p *plan) leadsBack(f *brain.Forward, e164 string) string {
	if did := p.did(); did != nil && did.E164 == e164 {
		return "calls +" + e164 + ", the number that was called"
	}
	target := p.activeDID(e164)
	for range brain.MaxHops {
		switch target.Kind {
		case brain.DestForward:
			next := p.acct.Forwards[target.ID]
			if next == f {
				return "calls +" + e164 + ", which leads here again"
			}
			if next == nil || next.Confirm {
				return ""
			}
			further, why := number.Normalize(p.acct.Account.Country, next.Number)
			if why != "" {
				return ""
			}
			target = p.activeDID(further)
		case brain.DestExtension:
			e := p.acct.ExtensionByID[target.ID]
			if e == nil || e.Status != brain.StatusActive {
				return ""
			}
			target, _ = p.byHours(e.ScheduleID, e.Dest(), e.ClosedDest(), e.HolidayDest())
		case brain.DestUser:
			u := p.acct.Users[target.ID]
			if u == nil {
				return ""
			}
			target = p.past(u)
		case brain.DestRingGroup:
			g := p.acct.RingGroups[target.ID]
			if g == nil || p.closed(g.ScheduleID) == "" && p.ringsSomebody(g) {
				return ""
			}
			target = g.Overflow()
		default:
			return ""
		}
	}
	return ""
}

// past is where the calls of a user go without ringing him, unset when he is rung.
func (p *plan) past(u *brain.SIPUser) brain.RouteTarget {
	switch {
	case u.Status != brain.StatusActive:
		return brain.RouteTarget{}
	case u.FwdAlways().IsSet():
		return u.FwdAlways()
	case u.DND:
		return u.FwdBusy()
	case len(p.rung(nil, u)) == 0:
		return u.FwdNoanswer()
	}
	return brain.RouteTarget{}
}

// ringsSomebody tells whether a call to a group rings one of its members.
func (p *plan) ringsSomebody(g *brain.RingGroup) bool {
	return slices.ContainsFunc(g.Members, func(m brain.RingGroupMember) bool {
		u := p.acct.Users[m.UserID]
		return u != nil && u.Status == brain.StatusActive && !u.DND && len(p.rung(nil, u)) > 0
	})
}

// activeDID is where a number of the account leads now, unset for others.
func (p *plan) activeDID(e164 string) brain.RouteTarget {
	did := p.acct.DIDByE164[e164]
	if did == nil || did.Status != brain.StatusActive {
		return brain.RouteTarget{}
	}
	target := did.Dest()
	if !target.IsSet() {
		target = p.acct.Account.DIDDefault()
	}
	target, _ = p.byHours(did.ScheduleID, target, did.ClosedDest(), did.HolidayDest())
	return target
}

// confirms tells whether somebody must ask who answers there. The leg for which the media server does that goes out.
func (p *plan) confirms(f *brain.Forward) bool {
	return f.Confirm && !(p.caller.Media && p.req.Dial == string(brain.DestForward)+"/"+f.ID)
}

// served is a forward that the media server calls: its callee must press 1 to take the call, or it is recorded. The media server goes on
// with what it can answer itself of the overflow. The rest are steps of the directive.
func (p *plan) served(f *brain.Forward, chain int) outcome {
	if p.caller.Media {
		return p.dead("asks who answers, and a leg cannot")
	}
	begin := p.app
	if p.recorded(nil) {
		begin = p.record
	}
	out := begin(brain.RouteTarget{Kind: brain.DestForward, ID: f.ID})
	if out.step != 0 {
		if f.Confirm {
			p.say(", which asks for key 1")
		}
		p.leave(out.step, chain, way{"overflow", f.Overflow()}, way{"overflow", f.Overflow()})
	}
	return out
}

// overflow leaves a forward that nobody takes. A leg of the media server ends: what follows is the flow's to say.
func (p *plan) overflow(f *brain.Forward, why string, code int) outcome {
	p.cause = causeOf(code)
	return p.leaves(f, why, code)
}

// leaves goes to the overflow of a forward, whatever has become of the call.
func (p *plan) leaves(f *brain.Forward, why string, code int) outcome {
	exit := f.Overflow()
	if p.caller.Media {
		exit = brain.RouteTarget{}
	}
	return p.orElse(why, "overflow", exit, code)
}

// askAt adds a step that asks again when it is reached.
func (p *plan) askAt(target brain.RouteTarget, chain int) outcome {
	if !p.room() {
		return outcome{code: 480}
	}
	p.steps++
	p.routes = append(p.routes, api.Route{Step: p.steps, Ask: string(target.Kind) + "/" + target.ID})
	p.asked = max(p.asked, p.depth(chain))
	p.say(", step ", strconv.Itoa(p.steps), " asks again")
	return outcome{step: p.steps, code: 480}
}

// depth is how many targets a chain has been through.
func (p *plan) depth(chain int) (n int) {
	for ; chain != noHop; chain = p.hops[chain].prev {
		n++
	}
	return n
}

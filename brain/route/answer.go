package route

import (
	"cmp"
	"maps"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/schedule"
)

// answerMS is how long a call may be with the media server before it is answered: a recorded call is not until the
// callee answers. That nobody takes the call is found sooner: by SILENT_MS of the edge, and by the guard of the
// media server's dialplan after 8 seconds. Kamailio ends early dialogs after 300 s.
const answerMS = 290_000

// answered adds the step that hands the call to the node's media server, and with it to a session. It is the last
// step of its chain: what follows is the session's to say.
func (p *plan) answered(target brain.RouteTarget) outcome {
	if why := p.lacks(target); why != "" {
		return p.dead(why)
	}
	return p.app(target)
}

// lacks says why the platform cannot answer as a target says, "" when it can.
func (p *plan) lacks(t brain.RouteTarget) string {
	there := false
	switch t.Kind {
	case brain.DestFlow:
		f := p.acct.Flows[t.ID]
		if f != nil && f.Version == 0 {
			return "was never published"
		}
		there = f != nil
	case brain.DestVoicemail:
		if t.ID == "" && p.vars[brain.VarAction] != brain.ActionRetrieve {
			return "is for listening only"
		}
		there = t.ID == "" || p.acct.Voicemails[t.ID] != nil
	case brain.DestQueue:
		action := p.vars[brain.VarAction]
		switch {
		case brain.IsQueueAction(action) && p.caller.User == nil && !p.offline:
			return "is for phones of the account"
		case t.ID == "" && !brain.IsAgentAction(action):
			return "names no queue"
		}
		there = t.ID == "" || p.acct.Queues[t.ID] != nil
	case brain.DestConference:
		there = p.acct.Conferences[t.ID] != nil
	}
	if !there {
		return "does not exist"
	}
	return ""
}

// app adds the step itself.
func (p *plan) app(target brain.RouteTarget) outcome {
	switch {
	case p.caller.Media && (target.Kind != brain.DestVoicemail || callsBack(&p.caller, p.req)): // nor does a mailbox want to be called back
		return p.dead("is not for a leg of an answered call") // flows that call each other for ever
	case p.offline:
		return outcome{code: 503}
	case !p.room():
		return outcome{code: 480}
	}
	p.steps++
	p.routes = append(p.routes, api.Route{Step: p.steps, App: string(target.Kind) + "/" + target.ID,
		Vars: form(p.handed()), FrInvTimer: answerMS, Headers: p.headers})
	p.say(", answered by the platform")
	return outcome{step: p.steps, code: 480}
}

// recorded tells whether a call to u must be recorded, by his policy or the caller's. u is nil for a group. The leg
// of a call that is recorded already is not.
func (p *plan) recorded(u *brain.SIPUser) bool {
	if p.caller.Media || p.offline {
		return false
	}
	if c := p.caller.User; c != nil && c.RecordPolicy.Outbound() {
		return true
	}
	return u != nil && u.RecordPolicy.Inbound()
}

// record has the media server call the target, so that it hears both sides.
func (p *plan) record(target brain.RouteTarget) outcome {
	p.say(", recorded")
	before := p.vars
	p.hand(brain.Vars{"record": "1"})
	out := p.app(target)
	p.vars = before
	return out
}

// recordOutside has the media server call a number outside, so that it hears both sides. What would not go out is refused at once.
func (p *plan) recordOutside(o *outward) int {
	_, code, why := p.lines(o)
	p.say(o.spoken(), ": ", why)
	if code != 0 {
		return code
	}
	p.headers = p.identity(p.req)
	if out := p.record(brain.RouteTarget{Kind: destPSTN, ID: "+" + o.number}); out.step == 0 {
		return out.code
	}
	return 0
}

// extension follows an extension: by the hours it keeps, with what it hands on.
func (p *plan) extension(e *brain.Extension) outcome {
	if e.Status != brain.StatusActive {
		return p.dead("is disabled")
	}
	next, via := p.byHours(e.ScheduleID, e.Dest(), e.ClosedDest(), e.HolidayDest())
	if !next.IsSet() {
		return p.dead("leads nowhere" + when(via))
	}
	p.hand(e.DestXform)
	return outcome{next: next, via: via}
}

// hand adds what a route hands to what comes next.
func (p *plan) hand(vars brain.Vars) {
	if len(vars) == 0 {
		return
	}
	more := make(brain.Vars, len(p.vars)+len(vars))
	maps.Copy(more, p.vars)
	maps.Copy(more, vars)
	p.vars = more
}

// byHours chooses among the targets of a number by its schedule.
func (p *plan) byHours(scheduleID string, open, closed, holiday brain.RouteTarget) (target brain.RouteTarget, via string) {
	switch p.state(scheduleID) {
	case schedule.Holiday:
		if holiday.IsSet() {
			return holiday, "holiday"
		}
		return closed, "holiday"
	case schedule.Closed:
		return closed, "closed"
	}
	return open, ""
}

// when adds the hours to a reason, "" for those in which a place is open.
func when(via string) string {
	if via == "" {
		return ""
	}
	return ", " + via
}

// closed says why a place is not open now, "" when it is.
func (p *plan) closed(scheduleID string) string {
	switch p.state(scheduleID) {
	case schedule.Holiday:
		return "has a holiday"
	case schedule.Closed:
		return "is closed"
	}
	return ""
}

// state is what a schedule says now. A node without a brain keeps its plan for as long as that lasts: for it every
// place is open, as one whose schedule cannot be read is.
func (p *plan) state(scheduleID string) schedule.Status {
	s := p.acct.Schedules[scheduleID]
	if s == nil || p.offline {
		return schedule.Open
	}
	return schedule.State(s, p.acct.Zone(scheduleID), p.caller.NowMS)
}

// inbound finds the number of the account that a trunk's call is for.
func (p *plan) inbound(req *api.RouteRequest) destination {
	number, did := called(p.acct, req.RURIUser)
	switch {
	case did == nil && p.caller.Trunk.Role == brain.RolePBX:
		return p.anywhere(req.RURIUser)
	case did == nil:
		return destination{code: 404, why: "no number " + cmp.Or(number, "that can be read") + " in the account of trunk " + p.caller.Trunk.Name}
	case did.Status != brain.StatusActive:
		return destination{code: 404, why: "number " + number + " is " + string(did.Status)}
	case !did.AllowAnonymous && p.shown(req) == "":
		return destination{code: 433, why: "number " + number + " takes no anonymous calls"}
	}
	target := did.Dest()
	if !target.IsSet() {
		target = p.acct.Account.DIDDefault()
	}
	target, via := p.byHours(did.ScheduleID, target, did.ClosedDest(), did.HolidayDest())
	if !target.IsSet() {
		return destination{code: 480, why: "number " + number + " leads nowhere" + when(via)}
	}
	p.hand(brain.Vars{"did_label": did.Label})
	p.hand(did.DestXform)
	if via != "" {
		p.say(via, ": ")
	}
	return destination{number: number, target: target}
}

package route

import (
	"cmp"
	"slices"

	"github.com/sipio/sipio/brain"
)

// ringUser rings the devices of a user, or leaves by the exit that his settings name: fwd_always before
// do-not-disturb before ringing. Nobody there to ring is the same as nobody answering.
func (p *plan) ringUser(u *brain.SIPUser, chain int) outcome {
	switch {
	case u.Status != brain.StatusActive:
		return p.dead("is disabled")
	case u.FwdAlways().IsSet():
		return outcome{next: u.FwdAlways(), via: "fwd_always"}
	case u.DND:
		p.cause = brain.TriggerBusy
		return p.orElse("has dnd", "fwd_busy", u.FwdBusy(), 486)
	case u.ID == p.caller.Busy:
		p.cause = brain.TriggerBusy
		return p.orElse("has no free line", "fwd_busy", u.FwdBusy(), 486)
	}
	if p.recorded(u) {
		return p.record(brain.RouteTarget{Kind: brain.DestUser, ID: u.ID})
	}
	p.devices = p.rung(p.devices[:0], u)
	if len(p.devices) == 0 {
		p.cause = brain.TriggerUnreachable
		return p.orElse("has no device to ring", "fwd_noanswer", u.FwdNoanswer(), 480)
	}
	p.ends = append(p.ends[:0], len(p.devices))
	if u.RingStrategy == brain.RingSequential {
		p.ends = p.ends[:0]
		for i := range p.devices {
			p.ends = append(p.ends, i+1)
		}
	}
	first, last := p.hunt(u.RingTimeoutSec)
	if first != 0 {
		p.leave(last, chain, way{"fwd_busy", u.FwdBusy()}, way{"fwd_noanswer", u.FwdNoanswer()})
	}
	return outcome{step: first, code: 480}
}

// agentRingSec is how long a leg to an agent or a supervisor may ring: the media server ends it sooner.
const agentRingSec = 300

// ringAgent rings the devices of an agent for a caller in a queue, all at once (specific: the first) because the queue
// says how long it takes. Whether he wants the call, the queue knows: do-not-disturb and forwards are not looked at. So it
// rings a supervisor, who asked for it.
func (p *plan) ringAgent(u *brain.SIPUser) outcome {
	switch {
	case u.Status != brain.StatusActive:
		return p.dead("is disabled")
	case u.ID == p.caller.Busy:
		p.say(" has no free line")
		return outcome{code: 486}
	}
	p.devices = p.rung(p.devices[:0], u)
	if len(p.devices) == 0 {
		return p.dead("has no device to ring")
	}
	return outcome{step: p.step(p.devices, agentRingSec), code: 480}
}

// ringGroup rings the members of a group, all at once or one after the other, each with the devices that
// a call to him would ring, all together. Members with do-not-disturb and disabled ones are passed over;
// their forwards are not followed.
func (p *plan) ringGroup(g *brain.RingGroup, chain int) outcome {
	if why := p.closed(g.ScheduleID); why != "" {
		return p.orElse(why, "overflow", g.Overflow(), 480)
	}
	if p.recorded(nil) {
		return p.record(brain.RouteTarget{Kind: brain.DestRingGroup, ID: g.ID})
	}
	members, sequential := g.Members, g.Strategy == brain.RingSequential
	if sequential {
		members = slices.Clone(members)
		slices.SortStableFunc(members, func(a, b brain.RingGroupMember) int { return cmp.Compare(a.Order, b.Order) })
	}
	p.devices, p.ends = p.devices[:0], p.ends[:0]
	for _, m := range members {
		u := p.acct.Users[m.UserID]
		if u == nil || u.Status != brain.StatusActive || u.DND {
			continue
		}
		before := len(p.devices)
		p.devices = p.rung(p.devices, u)
		if sequential && len(p.devices) > before {
			p.ends = append(p.ends, len(p.devices))
		}
	}
	if len(p.devices) == 0 {
		p.cause = brain.TriggerUnreachable
		return p.orElse("has nobody to ring", "overflow", g.Overflow(), 480)
	}
	if !sequential {
		p.ends = append(p.ends, len(p.devices))
	}
	first, last := p.hunt(g.RingTimeoutSec)
	if first != 0 {
		p.leave(last, chain, way{"overflow", g.Overflow()}, way{"overflow", g.Overflow()})
	}
	return outcome{step: first, code: 480}
}

// hunt rings plan.devices, in as many steps as plan.ends has parts, one after the other. It returns the
// first and the last step, 0 when there is no room left. Busy and noanswer of each go on to the next, so
// the outcome of a hunt is that of its last step, even when an earlier one was busy.
func (p *plan) hunt(sec int) (first, last int) {
	from := 0
	for _, end := range p.ends {
		step := p.step(p.devices[from:end], sec)
		if step == 0 {
			break
		}
		if first == 0 {
			first = step
		} else {
			p.link(last, true, true, step)
		}
		from, last = end, step
	}
	return first, last
}

// rung appends the devices that a call to the user rings, in ring order: active ones with ring_on_fork,
// or the only active one whatever its ring_on_fork; for strategy specific the first of them. The calling
// device is left out last: a user who calls himself from that first device rings nothing.
func (p *plan) rung(dst []*brain.SIPDevice, u *brain.SIPUser) []*brain.SIPDevice {
	all := p.acct.DevicesByUser[u.ID]
	active := 0
	for _, d := range all {
		if d.Status == brain.StatusActive {
			active++
		}
	}
	for _, d := range all {
		if d.Status != brain.StatusActive || !d.RingOnFork && active > 1 {
			continue
		}
		if p.caller.Device == nil || d.ID != p.caller.Device.ID {
			dst = append(dst, d)
		}
		if u.RingStrategy == brain.RingSpecific {
			break
		}
	}
	return dst
}

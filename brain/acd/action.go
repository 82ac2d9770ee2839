package acd

import "github.com/sipio/sipio/brain/pack"

// wish does what an agent wants.
func (d *Desk) wish(o *AgentOp, setupVersion int64) (reply []byte, changed bool) {
	if d.version < setupVersion {
		return appendDone(nil, "", true), false
	}
	a := d.agents[o.UserID]
	if a == nil || a.gone {
		return appendDone(nil, WhyNoAgent, false), false
	}
	why := ""
	switch o.Action {
	case ActionLogin:
		changed = d.login(a)
	case ActionLogout:
		changed = d.logout(a)
	case ActionAvailable:
		changed = d.available(a)
	case ActionBreak:
		changed = d.takeBreak(a, o.Reason)
	case ActionWrapUpEnd:
		if changed = a.state == StateWrapUp; changed {
			d.wrapped(a)
		}
	case ActionJoin, ActionLeave:
		why, changed = d.sign(a, o.QueueID, o.Action == ActionJoin)
	default:
		why = WhyNoAction
	}
	return appendDone(nil, why, false), changed
}

func (d *Desk) login(a *agent) bool {
	if a.status != StatusOffline {
		return false
	}
	d.touch(a)
	a.status, a.reason = StatusOnBreak, ReasonLogin
	if a.conf.AutoReady {
		a.status, a.reason = StatusAvailable, ""
	}
	a.misses, a.handled, a.talkMS, a.idleMS = 0, 0, 0, d.nowMS
	for _, m := range a.members {
		m.signed = a.conf.AutoQueueLogin && m.automatic()
	}
	return true
}

// automatic tells whether login signs in to the queue.
func (m *member) automatic() bool { return m.Mode == ModeStatic || m.Mode == ModeMandatory }

func (d *Desk) logout(a *agent) bool {
	if a.status == StatusOffline {
		return false
	}
	d.touch(a)
	a.status, a.reason = StatusOffline, ""
	for _, m := range a.members {
		m.signed = false
	}
	d.withdraw(a)
	if a.state == StateWrapUp {
		d.wrapped(a)
	}
	return true
}

func (d *Desk) available(a *agent) bool {
	if a.status == StatusAvailable {
		return false
	}
	d.login(a)
	d.touch(a)
	a.status, a.reason, a.misses, a.idleMS = StatusAvailable, "", 0, d.nowMS
	return true
}

func (d *Desk) takeBreak(a *agent, reason string) bool {
	if reason = cut(reason); a.status == StatusOnBreak && a.reason == reason {
		return false
	}
	pack.Own(&reason)
	d.login(a)
	d.touch(a)
	a.status, a.reason = StatusOnBreak, reason
	return true
}

// sign signs an agent in to a queue, or out of it.
func (d *Desk) sign(a *agent, queueID string, in bool) (why string, changed bool) {
	m := a.member(queueID)
	switch {
	case m == nil:
		return WhyNoMember, false
	case !in && m.Mode == ModeMandatory:
		return WhyMandatory, false
	}
	if in {
		changed = d.login(a)
	}
	if m.signed == in {
		return "", changed
	}
	d.touch(a)
	if m.signed = in; !in && a.reservation != nil && a.reservation.entry.queue == m.queue {
		d.withdraw(a)
	}
	return "", true
}

// wrapped ends a wrap-up: the agent waits again.
func (d *Desk) wrapped(a *agent) {
	d.touch(a)
	ms := d.nowMS - a.wrapFromMS
	if q := d.queues[a.wrapQueue]; q != nil {
		q.figures.at(d.nowMS).WrapMS += ms
		d.counts(d.nowMS)
		q.handled(a.lastTalkMS + ms)
	}
	a.state, a.wrapQueue, a.wrapFromMS, a.wrapEndMS, a.lastTalkMS, a.idleMS = StateWaiting, "", 0, 0, 0, d.nowMS
	d.alarms.set(&a.alarm, never)
}

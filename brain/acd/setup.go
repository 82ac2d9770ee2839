package acd

import (
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/pack"
)

// setup takes what the configuration says, unless the desk has it or a later one. Callers and talks stay as they
// are: who waits in a queue that is gone is told to leave, who is rung by a queue that he serves no more is freed.
func (d *Desk) setup(s *Setup) bool {
	if s.Version <= d.version {
		return false
	}
	d.version = s.Version
	for _, id := range slices.Sorted(maps.Keys(d.agents)) {
		d.touch(d.agents[id])
	}
	d.setQueues(s.Queues)
	d.setAgents(s.Agents)
	for _, id := range slices.Sorted(maps.Keys(d.entries)) {
		e := d.entries[id]
		e.viewMS = d.nowMS
		if e.queue.gone && e.state == entryWaiting {
			d.exit(e, LeftFailed)
		}
	}
	d.rebuild()
	for _, id := range slices.Sorted(maps.Keys(d.entries)) {
		d.wake(d.entries[id])
	}
	for _, id := range slices.Sorted(maps.Keys(d.queues)) {
		d.shake(d.queues[id])
	}
	return true
}

func (d *Desk) setQueues(confs []Queue) {
	stay := make(map[string]bool, len(confs))
	for i := range confs {
		conf := confs[i]
		if conf.ID == "" || stay[conf.ID] {
			continue
		}
		conf.own()
		stay[conf.ID] = true
		if q := d.queues[conf.ID]; q != nil {
			q.Queue, q.gone = conf, false
		} else {
			d.queues[conf.ID] = newQueue(conf)
		}
	}
	for id, q := range d.queues {
		if stay[id] {
			continue
		}
		if q.gone = true; q.entries == 0 {
			delete(d.queues, id)
		}
	}
}

func (q *Queue) own() {
	pack.Own(&q.ID, &q.Name, &q.Strategy)
	for i := range q.SkillRelax {
		q.SkillRelax[i].Skill = strings.Clone(q.SkillRelax[i].Skill)
	}
}

func (d *Desk) setAgents(confs []Agent) {
	stay := make(map[string]bool, len(confs))
	for i := range confs {
		conf := &confs[i]
		if conf.UserID == "" || stay[conf.UserID] {
			continue
		}
		conf.own()
		stay[conf.UserID] = true
		a := d.agents[conf.UserID]
		if a == nil {
			a = newAgent(conf.UserID)
			a.signal, a.sinceMS = d.signals[a.id], d.nowMS
			delete(d.signals, a.id)
			d.agents[a.id] = a
			d.touch(a)
		}
		a.gone = false
		d.setAgent(a, conf)
	}
	for _, id := range slices.Sorted(maps.Keys(d.agents)) {
		if !stay[id] {
			d.dismiss(d.agents[id])
		}
	}
}

func (a *Agent) own() {
	a.UserID = strings.Clone(a.UserID)
	for i := range a.Skills {
		a.Skills[i].Name = strings.Clone(a.Skills[i].Name)
	}
	for i := range a.Memberships {
		pack.Own(&a.Memberships[i].QueueID, &a.Memberships[i].Mode)
	}
}

// setAgent gives an agent its memberships; those it had stay signed in. A new one is signed in to as by login.
func (d *Desk) setAgent(a *agent, conf *Agent) {
	before := a.members
	a.conf, a.members = *conf, nil
	a.conf.Memberships, a.conf.Skills = nil, sortSkills(conf.Skills)
	for _, ms := range conf.Memberships {
		if q := d.queues[ms.QueueID]; q == nil || q.gone || a.member(ms.QueueID) != nil {
			continue
		}
		m := &member{Membership: ms, agent: a}
		m.signed = a.status != StatusOffline && a.conf.AutoQueueLogin && m.automatic()
		for _, old := range before {
			if old.QueueID == ms.QueueID {
				m.signed, m.rungAt = old.signed, old.rungAt
			}
		}
		a.members = append(a.members, m)
	}
	slices.SortFunc(a.members, memberOrder)
	if r := a.reservation; r != nil {
		if m := a.member(r.entry.queue.ID); m == nil || !m.signed {
			d.withdraw(a)
		}
	}
}

// dismiss takes somebody who is no agent any more out of everything but a talk.
func (d *Desk) dismiss(a *agent) {
	d.logout(a)
	a.members, a.gone = nil, true
}

// retire forgets a dismissed agent.
func (d *Desk) retire(a *agent) {
	delete(d.agents, a.id)
	d.alarms.set(&a.alarm, never)
	d.keepSignal(nil, a.id, a.signal)
}

// rebuild finds again what follows from queues, agents and entries, but for the counts of agents: those are settled.
func (d *Desk) rebuild() {
	for _, q := range d.queues {
		q.reset()
	}
	for _, id := range slices.Sorted(maps.Keys(d.agents)) {
		for _, m := range d.agents[id].members {
			m.queue = d.queues[m.QueueID]
			m.present, m.staffed, m.spot = false, false, node[*member]{}
			m.queue.tier(m.Tier)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.entries)) {
		e := d.entries[id]
		e.class, e.spot, e.place = nil, node[*entry]{}, node[*entry]{}
		e.queue.entries++
		switch e.state {
		case entryServed:
			e.queue.served++
		case entryLeaving:
		default:
			e.queue.place(e)
			if e.look(); e.state == entryWaiting && !e.held {
				d.enclass(e)
			}
		}
	}
}

// shift moves everything in time, after the clock was set back by as much. Alarms keep their order.
func (d *Desk) shift(ms int64) {
	d.clockMS += ms
	for _, e := range d.entries {
		for _, t := range [...]*int64{&e.sinceMS, &e.rank.sinceMS, &e.joinedMS, &e.holdUntilMS, &e.viewMS, &e.connectedMS, &e.exitMS} {
			move(t, ms)
		}
		if e.announceMS != never {
			e.announceMS += ms
		}
		if e.callback != nil {
			for _, t := range e.callback.times() {
				move(t, ms)
			}
		}
	}
	for _, a := range d.agents {
		ready := a.ready
		d.unready(a)
		for _, t := range [...]*int64{&a.idleMS, &a.wrapFromMS, &a.wrapEndMS, &a.countedMS, &a.sinceMS} {
			move(t, ms)
		}
		if ready {
			d.makeReady(a)
		}
	}
	for _, list := range []alarms{d.alarms, d.leases} {
		for _, a := range list {
			a.atMS += ms
		}
	}
	for _, r := range d.reserved {
		r.atMS += ms
	}
	for _, p := range d.pastEntries.order[d.pastEntries.head:] {
		p.sinceMS, p.overMS = p.sinceMS+ms, p.overMS+ms
		if p.moved {
			p.rank.sinceMS += ms
		}
	}
	for _, p := range d.pastReservations.order[d.pastReservations.head:] {
		p.overMS += ms
	}
	for s := d.sticky.first; s != nil; s = s.next {
		s.whenMS += ms
	}
}

// move moves a time; 0 is none.
func move(t *int64, ms int64) {
	if *t != 0 {
		*t += ms
	}
}

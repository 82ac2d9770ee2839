package acd

import "slices"

// match brings together all who fit: only those who have just come free, may be offered since, or see other agents can.
func (d *Desk) match() {
	for _, e := range d.opened {
		d.pace(e)
	}
	for _, a := range d.freed {
		for a.ready && d.pair(a) {
		}
	}
	for _, q := range d.shaken {
		q.shaken = false
		d.lookThrough(q)
	}
	for _, e := range d.opened {
		for e.class != nil {
			m, _ := d.bestAgent(e)
			if m == nil || !d.pair(m.agent) {
				break
			}
		}
	}
	clear(d.opened)
	clear(d.freed)
	clear(d.shaken)
	d.opened, d.freed, d.shaken = d.opened[:0], d.freed[:0], d.shaken[:0]
}

// pace holds an entry whose last agent refused at once when all were tried: the next round would be as short, and
// the next, as fast as messages travel.
func (d *Desk) pace(e *entry) {
	if !e.quick || e.class == nil {
		return
	}
	e.quick = false
	if _, tried := d.bestAgent(e); tried {
		d.shut(e)
		d.hold(e)
		d.wake(e)
	}
}

// pair finds an agent's caller and offers him, unless that caller has a better agent who has no better
// caller. False when there is nobody for the agent.
func (d *Desk) pair(a *agent) bool {
	const most = 8 // preferences may go round in a circle: then the caller's choice alone counts
	for round := 0; ; round++ {
		e, own := d.bestEntry(a)
		if e == nil {
			return false
		}
		if e.queue.Strategy == RingAll && e.callback == nil && d.stickyAgent(e) == nil {
			d.ring(e)
			return true
		}
		m, tried := d.bestAgent(e)
		if m == own || round == most {
			d.offer(e, m, tried)
			return true
		}
		a = m.agent
	}
}

// offer reserves one agent for an entry. When all were tried a new round begins.
func (d *Desk) offer(e *entry, m *member, tried bool) {
	if tried {
		e.skipped = e.skipped[:0]
	}
	d.shut(e)
	d.reserve(e, m)
	d.wake(e)
}

// bestEntry is who is next for an agent who waits: by tier over all its queues, then as callers are served.
func (d *Desk) bestEntry(a *agent) (best *entry, by *member) {
	for _, m := range a.members {
		if best != nil && m.Tier > by.Tier {
			break
		}
		if !m.signed {
			continue
		}
		for _, c := range m.queue.classes {
			if e := c.first(); m.Tier <= m.queue.openTo(c.stage) && can(a.conf.Skills, c.skills) && (best == nil || ahead(e, best, d.nowMS)) {
				best, by = e, m
			}
		}
	}
	return best, by
}

// bestAgent is who is next for an entry; nil when nobody waits for it. tried: all who do were tried in vain.
func (d *Desk) bestAgent(e *entry) (best *member, tried bool) {
	if m := d.stickyAgent(e); m != nil {
		return m, false
	}
	open := e.queue.openTo(e.stage)
	for _, t := range e.queue.tiers {
		if t.level > open {
			break
		}
		d.inOrder(e, t, func(m *member) bool {
			switch {
			case !can(m.agent.conf.Skills, e.needs):
				return true
			case slices.Contains(e.skipped, m.agent.id):
				if best == nil {
					best, tried = m, true
				}
				return true
			}
			best, tried = m, false
			return false
		})
		if best != nil && !tried {
			break
		}
	}
	return best, tried
}

// inOrder visits the ready agents of a tier as the strategy has them.
func (d *Desk) inOrder(e *entry, t *tier, visit func(*member) bool) {
	n := t.ready.len()
	if e.queue.Strategy != Random || n == 0 {
		t.ready.each(visit)
		return
	}
	from := int(dice(e.id, d.nextFence()) % uint64(n))
	for i := range n {
		if !visit(t.ready.at((from + i) % n)) {
			return
		}
	}
}

// dice is a number that nobody can foresee and everybody can compute again (FNV-1a of the entry, mixed with the fence).
func dice(entryID string, fence int64) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(entryID) {
		h = (h ^ uint64(entryID[i])) * 1099511628211
	}
	return mix(h ^ uint64(fence))
}

// stickyAgent is who served the caller's number last in this queue, if it is not too long ago and the agent waits for
// calls in an open tier and was not tried yet.
func (d *Desk) stickyAgent(e *entry) *member {
	q := e.queue
	if q.StickyMS == 0 || e.number == "" {
		return nil
	}
	s := d.sticky.known[stickyKey{q.ID, e.number}]
	if s == nil || s.whenMS+q.StickyMS <= d.nowMS {
		return nil
	}
	a := d.agents[s.userID]
	if a == nil || !a.ready || !can(a.conf.Skills, e.needs) || slices.Contains(e.skipped, a.id) {
		return nil
	}
	if m := a.member(q.ID); m != nil && m.signed && m.Tier <= q.openTo(e.stage) {
		return m
	}
	return nil
}

// ring offers an entry to everybody at once. A sticky agent is rung alone at first, as one of other strategies is.
func (d *Desk) ring(e *entry) {
	fresh, tried := d.everybody(e)
	if len(fresh) == 0 {
		fresh, e.skipped = tried, e.skipped[:0]
	}
	d.shut(e)
	for _, m := range fresh {
		d.reserve(e, m)
	}
	d.wake(e)
}

// everybody lists who can be rung for an entry, lower tiers first: those who were not tried, and those who were; of
// each at most maxRing.
func (d *Desk) everybody(e *entry) (fresh, tried []*member) {
	open := e.queue.openTo(e.stage)
	for _, t := range e.queue.tiers {
		if t.level > open || len(fresh) == maxRing {
			break
		}
		t.ready.each(func(m *member) bool {
			switch {
			case !can(m.agent.conf.Skills, e.needs):
			case !slices.Contains(e.skipped, m.agent.id):
				fresh = append(fresh, m)
			case len(tried) < maxRing:
				tried = append(tried, m)
			}
			return len(fresh) < maxRing
		})
	}
	return fresh, tried
}

// lookThrough offers the entries of a queue, in the order in which they are served, to agents who were not open
// to them before. Where nobody is found for the first of a class, nobody is for the rest.
func (d *Desk) lookThrough(q *queue) {
	d.scans++
	for {
		var next *entry
		for _, c := range q.classes {
			if e := c.first(); c.scan != d.scans && (next == nil || ahead(e, next, d.nowMS)) {
				next = e
			}
		}
		if next == nil {
			return
		}
		m, _ := d.bestAgent(next)
		if m == nil || !d.pair(m.agent) {
			next.class.scan = d.scans
		}
	}
}

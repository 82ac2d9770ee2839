package sim

import (
	"cmp"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

// These are the rules of who may serve whom, and who comes first, each looked up from the beginning whenever it is asked.

// needs is what an entry still needs after its wait.
func (b *queueBooks) needs(e *bookEntry) []acd.Skill {
	var list []acd.Skill
	for _, s := range e.Skills {
		for _, x := range b.queues[e.QueueID].SkillRelax {
			switch {
			case x.AfterMS > max(0, e.view-e.SinceMS) || x.Skill != "" && x.Skill != s.Name:
			case x.Drop:
				s.Level = 0
			default:
				s.Level -= x.LowerBy
			}
		}
		if s.Level > 0 {
			list = append(list, s)
		}
	}
	return list
}

func (b *queueBooks) skilled(a *bookAgent, e *bookEntry) bool {
	for _, need := range b.needs(e) {
		if !slices.ContainsFunc(a.cfg.Skills, func(s acd.Skill) bool { return s.Name == need.Name && s.Level >= need.Level }) {
			return false
		}
	}
	return true
}

// serves: the agent may be asked for the queue at this moment.
func (b *queueBooks) serves(a *bookAgent, queue string) bool {
	s := a.signal
	return a.cfg != nil && a.status == acd.StatusAvailable && a.state == acd.StateWaiting && s.reachable && s.calls == 0 &&
		a.signed[queue] && a.membership(queue) != nil
}

// present: the agent is signed in to the queue and can be reached.
func (b *queueBooks) present(a *bookAgent, queue string) bool {
	return a.cfg != nil && a.status != acd.StatusOffline && a.signal.reachable && a.signed[queue] && a.membership(queue) != nil
}

// openTo is the highest tier that is open to an entry; -1 when nobody is there at all.
func (b *queueBooks) openTo(e *bookEntry) int {
	var room [32]int
	tiers := room[:0]
	for _, a := range b.staff {
		if b.present(a, e.QueueID) {
			tiers = append(tiers, a.membership(e.QueueID).Tier)
		}
	}
	slices.Sort(tiers)
	tiers = slices.Compact(tiers)
	if len(tiers) == 0 {
		return -1
	}
	further := int64(0)
	if q := b.queues[e.QueueID]; q.TierEscalationMS > 0 {
		further = max(0, e.view-e.SinceMS) / q.TierEscalationMS
	}
	return tiers[min(further, int64(len(tiers)-1))]
}

// able are those who may be rung for an entry: those who were not tried yet, and those who were.
func (b *queueBooks) able(e *bookEntry) (fresh, tried []*bookAgent) {
	if !slices.ContainsFunc(b.staff, func(a *bookAgent) bool { return b.serves(a, e.QueueID) }) {
		return nil, nil
	}
	open := b.openTo(e)
	for _, a := range b.staff {
		switch {
		case !b.serves(a, e.QueueID) || a.membership(e.QueueID).Tier > open || !b.skilled(a, e):
		case e.skipped[a.id]:
			tried = append(tried, a)
		default:
			fresh = append(fresh, a)
		}
	}
	return fresh, tried
}

// candidates are those of them whose turn it is: who was tried only when there is nobody else.
func (b *queueBooks) candidates(e *bookEntry) []*bookAgent {
	fresh, tried := b.able(e)
	if len(fresh) == 0 {
		return tried
	}
	return fresh
}

// free: the entry may be offered at this moment.
func (b *queueBooks) free(e *bookEntry) bool {
	return e.state == entryWaits && !e.held
}

// bestAgents is who of some is next for an entry by the rules of its queue: one, or with chance any of several, or all
// of them together. alone tells that the last agent of the caller goes first.
func (b *queueBooks) bestAgents(e *bookEntry, some []*bookAgent) (best []*bookAgent, alone bool) {
	q := b.queues[e.QueueID]
	if last, known := q.served[e.CallerNumber]; known && q.StickyMS > 0 && b.now < last.at+q.StickyMS && !e.skipped[last.user] {
		for _, a := range some {
			if a.id == last.user {
				return []*bookAgent{a}, true
			}
		}
	}
	tier := func(a *bookAgent) int { return a.membership(q.ID).Tier }
	inTier := func(x, y *bookAgent) int { return cmp.Compare(tier(x), tier(y)) }
	place := func(x, y *bookAgent) int {
		return cmp.Or(cmp.Compare(x.membership(q.ID).Position, y.membership(q.ID).Position), cmp.Compare(x.id, y.id))
	}
	if q.Strategy == acd.RingAll {
		best = slices.Clone(some)
		slices.SortFunc(best, func(x, y *bookAgent) int { return cmp.Or(inTier(x, y), place(x, y)) })
		if e.back != nil { // one is enough to call somebody
			return best[:1], false
		}
		return best[:min(len(best), 50)], false
	}
	lowest := tier(slices.MinFunc(some, inTier))
	for _, a := range some {
		if tier(a) == lowest {
			best = append(best, a)
		}
	}
	if q.Strategy == acd.Random {
		return best, false
	}
	return []*bookAgent{slices.MinFunc(best, func(x, y *bookAgent) int {
		switch q.Strategy {
		case acd.LongestIdle:
			return cmp.Or(cmp.Compare(x.since, y.since), place(x, y))
		case acd.RoundRobin:
			return cmp.Or(cmp.Compare(x.turns[q.ID], y.turns[q.ID]), place(x, y))
		case acd.FewestCalls:
			return cmp.Or(cmp.Compare(x.calls, y.calls), place(x, y))
		case acd.LeastTalkTime:
			return cmp.Or(cmp.Compare(x.talkMS, y.talkMS), place(x, y))
		}
		return place(x, y)
	})}, false
}

// level is the priority of an entry with what its wait is worth, by its rank.
func (b *queueBooks) level(e *bookEntry) int64 {
	level := int64(e.rank.priority)
	if age := b.queues[e.QueueID].PriorityAgeMS; age > 0 {
		level += max(0, b.now-e.rank.since) / age
	}
	return level
}

// ahead orders entries by priority and age, then by their wait, then by id.
func (b *queueBooks) ahead(x, y *bookEntry) int {
	return cmp.Or(cmp.Compare(b.level(y), b.level(x)), cmp.Compare(x.rank.since, y.rank.since), cmp.Compare(x.rank.order, y.rank.order),
		cmp.Compare(x.EntryID, y.EntryID))
}

// bestEntry is whom of all callers an agent would serve next; nil = nobody. With again also those are looked at for
// whom others come first, because the agent was tried.
func (b *queueBooks) bestEntry(a *bookAgent, again bool) *bookEntry {
	var best *bookEntry
	for _, e := range b.order {
		if !b.free(e) || !b.serves(a, e.QueueID) {
			continue
		}
		if fresh, tried := b.able(e); !slices.Contains(fresh, a) && !((again || len(fresh) == 0) && slices.Contains(tried, a)) {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(a.membership(e.QueueID).Tier, a.membership(best.QueueID).Tier), b.ahead(e, best)) < 0 {
			best = e
		}
	}
	return best
}

// position is the place of an entry among those of its queue who wait or are rung for.
func (b *queueBooks) position(e *bookEntry) int {
	place := 1
	for _, o := range b.order {
		if o != e && o.QueueID == e.QueueID && o.state != entryTalks && o.state != entryLeaving && b.ahead(o, e) < 0 {
			place++
		}
	}
	return place
}

// ewt is the expected wait behind so many callers; -1 = unknown.
func (b *queueBooks) ewt(q *bookQueue, before int) int64 {
	staff := int64(0)
	for _, a := range b.staff {
		if a.cfg != nil && a.status == acd.StatusAvailable && a.signed[q.ID] && a.membership(q.ID) != nil {
			staff++
		}
	}
	if staff == 0 {
		return -1
	}
	aht := q.aht
	if aht == 0 {
		aht = q.EWTAHTMS
	}
	return (int64(before+1)*aht + staff - 1) / staff
}

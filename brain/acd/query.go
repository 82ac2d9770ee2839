package acd

import (
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// AgentView is an agent as the presence of its user shows it.
type AgentView struct {
	Status, Reason string
	State, Bucket  string
	SinceMS        int64  // of the bucket
	QueueID        string // offering, in_call, wrap_up
	EntryID        string // offering, in_call
}

// Agent shows one agent; false when the user is none.
func (d *Desk) Agent(userID string) (AgentView, bool) {
	a := d.agents[userID]
	if a == nil {
		return AgentView{}, false
	}
	c := a.shown
	return AgentView{Status: c.Status, Reason: c.Reason, State: c.State, Bucket: c.Bucket, SinceMS: a.sinceMS, QueueID: c.QueueID, EntryID: c.EntryID}, true
}

// Queues shows the queues by id, with figures of the quarter hours that two times touch (0 = the last 24 hours), and
// on demand with who is in them. It changes nothing.
func (d *Desk) Queues(nowMS, fromMS, toMS int64, entries bool) []api.QueueState {
	nowMS = max(nowMS, d.clockMS)
	first, last := span(nowMS, fromMS, toMS)
	callers := map[*queue][]*entry{}
	if entries {
		for _, e := range d.entries {
			callers[e.queue] = append(callers[e.queue], e)
		}
	}
	signed := d.signed()
	out := make([]api.QueueState, 0, len(d.queues))
	for _, id := range slices.Sorted(maps.Keys(d.queues)) {
		q := d.queues[id]
		sum := q.figures.sum(first, last)
		s := api.QueueState{QueueID: id, Name: q.Name, Waiting: q.waiting, Served: q.served, EWTMS: q.ewt(q.waiting),
			LongestMS: q.longest(nowMS), Figures: sum.shown(false)}
		s.AgentsSigned = signed[q]
		for _, t := range q.tiers {
			s.AgentsReady += t.ready.len()
		}
		s.Entries = q.callers(callers[q], nowMS)
		out = append(out, s)
	}
	return out
}

// signed counts the agents who are signed in to each queue.
func (d *Desk) signed() map[*queue]int {
	n := make(map[*queue]int, len(d.queues))
	for _, a := range d.agents {
		for _, m := range a.members {
			if m.signed {
				n[m.queue]++
			}
		}
	}
	return n
}

// phase orders entries by what they do: those in line come first.
func (e *entry) phase() int {
	if e.place.in {
		return 0
	}
	return e.state
}

// callers shows entries: those in line as they would be served, then those who talk, then those who leave.
func (q *queue) callers(list []*entry, nowMS int64) []api.QueueCaller {
	slices.SortFunc(list, func(a, b *entry) int {
		switch x, y := a.phase(), b.phase(); {
		case x != y:
			return x - y
		case ahead(a, b, nowMS):
			return -1
		}
		return 1
	})
	var out []api.QueueCaller
	for i, e := range list {
		c := api.QueueCaller{EntryID: e.id, Token: e.token, Node: e.node, CallerNumber: e.number, CallerName: e.name, State: entryNames[e.state],
			Callback: e.callback != nil, Priority: e.priority, EnqueuedMS: e.sinceMS}
		if e.place.in {
			c.Position = i + 1
		}
		if len(e.offers) > 0 {
			c.UserID = e.offers[0].agent.id
		}
		out = append(out, c)
	}
	return out
}

// Agents shows the agents by id, with figures as Queues has them. It changes nothing.
func (d *Desk) Agents(nowMS, fromMS, toMS int64) []api.AgentState {
	nowMS = max(nowMS, d.clockMS)
	first, last := span(nowMS, fromMS, toMS)
	out := make([]api.AgentState, 0, len(d.agents))
	for _, id := range slices.Sorted(maps.Keys(d.agents)) {
		a := d.agents[id]
		sum := a.figures.sum(first, last)
		if from, to := max(a.countedMS, first*IntervalMS), min(nowMS, (last+1)*IntervalMS); from < to {
			a.spell.add(&sum, to-from) // of what goes on
		}
		c := a.shown
		s := api.AgentState{UserID: id, Status: c.Status, Reason: c.Reason, State: c.State, Reachable: a.reachable, Bucket: c.Bucket,
			SinceMS: a.sinceMS, Queues: []string{}, QueueID: c.QueueID, EntryID: c.EntryID, Figures: sum.shown(true)}
		for _, m := range a.members {
			if m.signed {
				s.Queues = append(s.Queues, m.QueueID)
			}
		}
		slices.SortFunc(s.Queues, strings.Compare)
		out = append(out, s)
	}
	return out
}

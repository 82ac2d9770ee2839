package sim

import (
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

var (
	strategies = []string{acd.LongestIdle, acd.RoundRobin, acd.RingAll, acd.TopDown, acd.FewestCalls, acd.LeastTalkTime, acd.Random}
	skillNames = []string{"french", "german", "gold"}
)

// person is the truth about an agent and the one telephone that it has.
type person struct {
	id        string
	reachable bool
	calls     int // of its own
	told      bool
	busy      *ring // what it has taken off the hook for
	ready     bool  // as it wants
}

// newSetup makes queues and agents at random.
func (w *lobby) newSetup() *acd.Setup {
	s := &acd.Setup{Version: 1}
	for i := range 1 + w.rng.IntN(5) {
		s.Queues = append(s.Queues, w.newQueue(fmt.Sprint("q", i)))
	}
	n := 1 + w.rng.IntN(6)
	if w.chance(30) {
		n = 1 + w.rng.IntN(30)
	}
	for i := range n {
		p := &person{id: fmt.Sprintf("u%02d", i)}
		w.people, w.byID[p.id] = append(w.people, p), p
		s.Agents = append(s.Agents, w.newAgent(p.id, s.Queues))
	}
	return s
}

// someQueue is one of the configuration, or one that nobody knows.
func (w *lobby) someQueue() string {
	if w.chance(3) {
		return "q404"
	}
	return w.setup.Queues[w.rng.IntN(len(w.setup.Queues))].ID
}

// some is a random number from low to high in percent of the cases, else 0.
func (w *lobby) some(percent int, low, high int64) int64 {
	if !w.chance(percent) {
		return 0
	}
	return w.between(low, high)
}

func (w *lobby) newQueue(id string) acd.Queue {
	q := acd.Queue{ID: id, Name: "queue " + id, Strategy: strategies[w.rng.IntN(len(strategies))], RingMS: w.between(3, 20) * second,
		MaxWaitMS: w.some(40, 10*second, 2*minute), WrapUpMS: w.some(50, second, 20*second), MaxNoAnswer: int(w.some(50, 1, 3)), MaxQueued: -1,
		EWTThresholdMS: w.some(15, 10*second, 5*minute), EWTAHTMS: w.between(5*second, minute), TierEscalationMS: w.some(60, second, 20*second),
		PriorityAgeMS: w.some(50, 2*second, 30*second), StickyMS: w.some(40, minute, 10*minute), ServiceLevelMS: 20 * second,
		Announce: w.chance(50), AnnounceEWT: w.chance(50), AnnounceFirstMS: w.between(0, 15*second), AnnounceEveryMS: w.some(70, 5*second, 30*second),
		ExitNoAgents: w.chance(20)}
	if w.chance(20) {
		q.MaxQueued = w.rng.IntN(6)
	}
	if w.chance(15) {
		q.Strategy = acd.RingAll
	}
	for range w.some(50, 1, 3) {
		x := acd.Relax{AfterMS: w.between(1, 40) * second, LowerBy: 1 + w.rng.IntN(3), Drop: w.chance(30)}
		if w.chance(60) {
			x.Skill = skillNames[w.rng.IntN(len(skillNames))]
		}
		q.SkillRelax = append(q.SkillRelax, x)
	}
	return q
}

func (w *lobby) newAgent(id string, queues []acd.Queue) acd.Agent {
	a := acd.Agent{UserID: id, AutoReady: w.chance(60), AutoQueueLogin: w.chance(80), Skills: w.someSkills(60, 5)}
	modes := []string{acd.ModeStatic, acd.ModeStatic, acd.ModeMandatory, acd.ModeSelf, acd.ModeSupervised}
	for i := range queues {
		if w.chance(70) {
			a.Memberships = append(a.Memberships, acd.Membership{QueueID: queues[i].ID, Tier: 1 + w.rng.IntN(3), Position: w.rng.IntN(3), Mode: modes[w.rng.IntN(len(modes))]})
		}
	}
	return a
}

// someSkills has each skill in percent of the cases.
func (w *lobby) someSkills(percent, most int) []acd.Skill {
	var skills []acd.Skill
	for _, name := range skillNames {
		if w.chance(percent) {
			skills = append(skills, acd.Skill{Name: name, Level: 1 + w.rng.IntN(most)})
		}
	}
	return skills
}

// reconfigure changes the configuration now and then. The desk hears of it by the next that asks.
func (w *lobby) reconfigure() {
	if !w.stormy {
		return
	}
	s := &acd.Setup{Version: w.setup.Version + 1, Queues: slices.Clone(w.setup.Queues), Agents: slices.Clone(w.setup.Agents)}
	switch q, a := w.rng.IntN(len(s.Queues)), w.rng.IntN(len(s.Agents)); w.rng.IntN(6) {
	case 0, 1:
		sticky := s.Queues[q].StickyMS // who was forgotten meanwhile would depend on others
		s.Queues[q] = w.newQueue(s.Queues[q].ID)
		s.Queues[q].StickyMS = sticky
	case 2, 3:
		s.Agents[a] = w.newAgent(s.Agents[a].UserID, s.Queues)
	case 4: // an agent less, or one that comes back
		if p := w.people[w.rng.IntN(len(w.people))]; !slices.ContainsFunc(s.Agents, func(a acd.Agent) bool { return a.UserID == p.id }) {
			s.Agents = append(s.Agents, w.newAgent(p.id, s.Queues))
		} else if len(s.Agents) > 1 {
			s.Agents = slices.Delete(s.Agents, a, a+1)
		}
	case 5: // a queue less, or a new one
		if len(s.Queues) == 1 || w.chance(50) {
			s.Queues = append(s.Queues, w.newQueue(fmt.Sprint("q", 100+s.Version)))
		} else {
			s.Queues = slices.Delete(s.Queues, q, q+1)
		}
	}
	old := w.setup
	w.setup = s
	w.after(w.between(1, 5*second), func() { w.ask(&queueOp{kind: opSetup, setup: s}, nil) })
	if w.chance(30) {
		w.after(w.between(1, minute), func() { w.ask(&queueOp{kind: opSetup, setup: old}, nil) })
	}
	w.after(w.between(20*second, 2*minute), w.reconfigure)
}

// live lets an agent do what people do, for ever. In the calm that is only to come back to work.
func (w *lobby) live(p *person) {
	throw := w.rng.IntN(100)
	switch {
	case !w.stormy:
	case w.chance(w.zeal):
		w.work(p)
	case throw < 12:
		w.register(p, !p.reachable)
	case throw < 24 && p.calls == 0 && p.busy == nil:
		w.ownCall(p)
	case throw < 30:
		p.ready = false
		w.wish(p, acd.ActionLogout, "")
	case throw < 40:
		p.ready = false
		w.wish(p, acd.ActionBreak, "")
	case throw < 50:
		w.wish(p, acd.ActionWrapUpEnd, "")
	case throw < 58:
		w.wish(p, acd.ActionJoin, w.someQueue())
	case throw < 64:
		w.wish(p, acd.ActionLeave, w.someQueue())
	case throw < 66:
		w.wish(p, "dance", "")
	default:
		w.work(p)
	}
	w.after(w.between(second, 40*second), func() { w.live(p) })
}

// work brings an agent back: its telephone, and what it wants.
func (w *lobby) work(p *person) {
	if !p.reachable {
		w.register(p, true)
	}
	if w.chance(20) {
		w.wish(p, acd.ActionLogin, "")
	}
	if p.ready && !w.chance(10) { // it may be on a break that the desk gave
		return
	}
	p.ready = true
	w.wish(p, acd.ActionAvailable, "")
}

func (w *lobby) register(p *person, reachable bool) {
	p.reachable = reachable
	w.tellSignal(p)
}

func (w *lobby) ownCall(p *person) {
	p.calls++
	w.tellSignal(p)
	w.after(w.between(second, 20*second), func() {
		p.calls--
		w.tellSignal(p)
	})
}

// tellSignal tells the desk how it is with a telephone, until it has heard the latest.
func (w *lobby) tellSignal(p *person) {
	reachable, calls := p.reachable, p.calls
	op := &queueOp{kind: opSignal, user: p.id, reachable: reachable, calls: calls}
	if h := w.brain; h != nil {
		h.do(op, func([]byte) {})
	}
	w.after(w.between(3*second, 5*second), func() {
		if h := w.brain; h == nil || h.books.signals[p.id] != (signal{p.reachable, p.calls}) {
			w.tellSignal(p)
		}
	})
}

// wish tells what an agent wants.
func (w *lobby) wish(p *person, action, queue string) {
	if action == acd.ActionAvailable && w.chance(50) {
		for _, q := range w.setup.Queues {
			w.wish(p, acd.ActionJoin, q.ID)
		}
	}
	reason := ""
	if action == acd.ActionBreak {
		reason = "lunch"
	}
	w.ask(&queueOp{kind: opAgent, agent: &acd.AgentOp{UserID: p.id, Action: action, Reason: reason, QueueID: queue}, version: w.setup.Version}, nil)
}

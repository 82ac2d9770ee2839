package sim

import "github.com/sipio/sipio/brain/acd"

// takeSignal: an agent without a telephone, or with a call of its own, rings no more. Who talks talks on.
func (b *queueBooks) takeSignal(op *queueOp) {
	was, a := b.signals[op.user], b.agents[op.user]
	b.signals[op.user] = signal{op.reachable, op.calls}
	if a != nil {
		a.signal = b.signals[op.user]
	}
	if a != nil && was.calls > 0 && op.calls == 0 {
		a.since = b.now
	}
	if a != nil && (!op.reachable || op.calls > 0) {
		b.withdraw(a)
	}
}

// takeAgent expects the reply to a wish, and follows it.
func (b *queueBooks) takeAgent(op *queueOp, s *seen) {
	why, stale, err := acd.ReadAgent(s.reply)
	if err != nil {
		b.wrong("the reply to a wish is not read: %w", err)
	}
	if stale != (op.version > b.version) {
		b.wrong("a wish is stale %v with setup %d of %d", stale, b.version, op.version)
	}
	if stale {
		b.unchanged(s, "a stale wish")
		return
	}
	w := op.agent
	a := b.agents[w.UserID]
	want := ""
	switch {
	case a == nil || a.cfg == nil:
		want = acd.WhyNoAgent
	default:
		want = b.wish(a, w)
	}
	if why != want {
		b.wrong("%s of %s is refused %q, not %q", w.Action, w.UserID, why, want)
	}
}

// wish does what an agent wants, or tells why not.
func (b *queueBooks) wish(a *bookAgent, w *acd.AgentOp) string {
	switch w.Action {
	case acd.ActionLogin:
		b.login(a)
	case acd.ActionLogout:
		b.logout(a)
	case acd.ActionAvailable:
		b.login(a)
		if a.status != acd.StatusAvailable {
			a.misses, a.since = 0, b.now
		}
		a.status, a.reason = acd.StatusAvailable, ""
	case acd.ActionBreak:
		b.login(a)
		a.status, a.reason = acd.StatusOnBreak, w.Reason
	case acd.ActionWrapUpEnd:
		if a.state == acd.StateWrapUp {
			b.wrapped(a)
		}
	case acd.ActionJoin, acd.ActionLeave:
		m := a.membership(w.QueueID)
		switch {
		case m == nil:
			return acd.WhyNoMember
		case w.Action == acd.ActionJoin:
			b.login(a)
			a.signed[w.QueueID] = true
		case m.Mode == acd.ModeMandatory:
			return acd.WhyMandatory
		default:
			delete(a.signed, w.QueueID)
			if a.offer != nil && a.offer.queue == w.QueueID {
				b.withdraw(a)
			}
		}
	default:
		return acd.WhyNoAction
	}
	return ""
}

func (a *bookAgent) membership(queue string) *acd.Membership {
	for i := range a.members {
		if a.members[i].QueueID == queue {
			return &a.members[i]
		}
	}
	return nil
}

func (b *queueBooks) login(a *bookAgent) {
	if a.status != acd.StatusOffline {
		return
	}
	a.status, a.reason, a.signed = acd.StatusOnBreak, acd.ReasonLogin, map[string]bool{}
	a.misses, a.calls, a.talkMS, a.since = 0, 0, 0, b.now
	if a.cfg.AutoReady {
		a.status, a.reason = acd.StatusAvailable, ""
	}
	if a.cfg.AutoQueueLogin {
		for _, m := range a.members {
			if m.Mode == acd.ModeStatic || m.Mode == acd.ModeMandatory {
				a.signed[m.QueueID] = true
			}
		}
	}
}

func (b *queueBooks) logout(a *bookAgent) {
	a.status, a.reason, a.signed = acd.StatusOffline, "", map[string]bool{}
	b.withdraw(a)
	if a.state == acd.StateWrapUp {
		b.wrapped(a)
	}
}

// takeSetup follows a newer configuration.
func (b *queueBooks) takeSetup(op *queueOp, s *seen) {
	if op.setup.Version <= b.version {
		b.unchanged(s, "an old configuration")
		return
	}
	b.version = op.setup.Version
	b.setQueues(op.setup.Queues)
	stay := map[string]bool{}
	for i := range op.setup.Agents {
		cfg := &op.setup.Agents[i]
		if stay[cfg.UserID] = true; b.agents[cfg.UserID] == nil {
			b.agents[cfg.UserID] = &bookAgent{id: cfg.UserID, status: acd.StatusOffline, state: acd.StateWaiting, signal: b.signals[cfg.UserID]}
			b.agents[cfg.UserID].last = acd.Change{UserID: cfg.UserID, Status: acd.StatusOffline, State: acd.StateWaiting, Bucket: acd.BucketOffline}
		}
		b.setAgent(b.agents[cfg.UserID], cfg)
	}
	b.sort()
	for _, a := range b.staff {
		if !stay[a.id] {
			b.logout(a)
			a.cfg, a.members = nil, nil
		}
	}
	for _, e := range b.order {
		if e.view = b.now; b.queues[e.QueueID].known || e.talk != nil {
			continue
		}
		if e.back != nil && e.state == entryWaits {
			b.over(e, acd.LeftFailed)
			continue
		}
		for _, o := range b.ringing(e) { // its queue is gone: it will be told to leave
			b.drop(o, acd.WhyCallerGone)
		}
	}
}

func (b *queueBooks) setQueues(confs []acd.Queue) {
	for _, q := range b.queues {
		q.known = false
	}
	for _, cfg := range confs {
		if b.queues[cfg.ID] == nil {
			b.queues[cfg.ID] = &bookQueue{served: map[string]bookSticky{}}
		}
		q := b.queues[cfg.ID]
		q.Queue, q.known = cfg, true
	}
	for _, q := range b.queues {
		b.closeQueue(q)
	}
}

// closeQueue forgets a queue that is not there any more once its last caller has left.
func (b *queueBooks) closeQueue(q *bookQueue) {
	if q.known {
		return
	}
	for _, e := range b.order {
		if e.QueueID == q.ID {
			return
		}
	}
	delete(b.queues, q.ID)
	delete(b.sums, q.ID)
}

// setAgent gives an agent its memberships of queues that are there. Those it had stay as they were, a new one is signed
// in to as by login.
func (b *queueBooks) setAgent(a *bookAgent, cfg *acd.Agent) {
	signed, turns := a.signed, a.turns
	had := map[string]bool{}
	for _, m := range a.members {
		had[m.QueueID] = true
	}
	a.cfg, a.members, a.signed, a.turns = cfg, nil, map[string]bool{}, map[string]int64{}
	for _, m := range cfg.Memberships {
		if q := b.queues[m.QueueID]; q == nil || !q.known {
			continue
		}
		a.members, a.turns[m.QueueID] = append(a.members, m), turns[m.QueueID]
		if automatic := a.status != acd.StatusOffline && cfg.AutoQueueLogin && (m.Mode == acd.ModeStatic || m.Mode == acd.ModeMandatory); had[m.QueueID] && signed[m.QueueID] || !had[m.QueueID] && automatic {
			a.signed[m.QueueID] = true
		}
	}
	if a.offer != nil && !a.signed[a.offer.queue] {
		b.withdraw(a)
	}
}

// retire forgets those who are no agents any more, once they have no talk.
func (b *queueBooks) retire() {
	for _, a := range b.staff {
		if a.cfg == nil && a.offer == nil {
			delete(b.agents, a.id)
			delete(b.sums, a.id)
			b.sort()
		}
	}
}

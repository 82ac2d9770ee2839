package queue

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/presence"
)

// setup is what the configuration says of an account's queues and agents, sorted by id, as brain/acd wants it.
func setup(acct *brain.AccountConfig) *acd.Setup {
	s := &acd.Setup{Version: acct.Version}
	serves := map[string][]acd.Membership{}
	for _, id := range first(acct.Queues, acd.MaxQueues) {
		s.Queues = append(s.Queues, queueSetup(acct.Queues[id]))
		for _, a := range acct.QueueAgents[id] {
			serves[a.UserID] = append(serves[a.UserID], acd.Membership{QueueID: id, Tier: a.TierLevel, Position: a.Position, Mode: a.Mode})
		}
	}
	agents := maps.Clone(acct.Users)
	maps.DeleteFunc(agents, func(_ string, u *brain.SIPUser) bool { return !u.IsAgent || u.Status != brain.StatusActive })
	for _, id := range first(agents, acd.MaxAgents) {
		u := agents[id]
		a := acd.Agent{UserID: id, AutoReady: u.AutoReadyOnLogin, AutoQueueLogin: u.AutoQueueLogin, Memberships: serves[id]}
		for _, name := range slices.Sorted(maps.Keys(u.Skills)) {
			a.Skills = append(a.Skills, acd.Skill{Name: name, Level: u.Skills[name]})
		}
		s.Agents = append(s.Agents, a)
	}
	return s
}

// first gives the first ids of a map, sorted. More than the bounds of brain/acd are not served.
func first[V any](of map[string]V, most int) []string {
	ids := slices.Sorted(maps.Keys(of))
	return ids[:min(len(ids), most)]
}

func queueSetup(c *brain.Queue) acd.Queue {
	const sec = 1000
	q := acd.Queue{
		ID: c.ID, Name: c.Name, Strategy: c.Strategy, MaxNoAnswer: c.MaxNoAnswer, MaxQueued: -1,
		RingMS: int64(c.AgentRingTimeoutSec) * sec, MaxWaitMS: int64(c.MaxWaitSec) * sec, WrapUpMS: int64(c.WrapUpSec) * sec,
		EWTAHTMS: int64(c.EWTAHTSec) * sec, TierEscalationMS: int64(c.TierEscalationSec) * sec, PriorityAgeMS: int64(c.PriorityAgeSec) * sec,
		StickyMS: int64(c.StickySec) * sec, ServiceLevelMS: int64(c.ServiceLevelSec) * sec,
		Announce: c.AnnouncePosition, AnnounceEWT: c.AnnounceEWT,
		AnnounceFirstMS: int64(c.AnnounceFirstSec) * sec, AnnounceEveryMS: int64(c.AnnounceIntervalSec) * sec,
		ExitNoAgents: c.NoAgentsDestKind != "",
	}
	if c.MaxQueued != nil {
		q.MaxQueued = *c.MaxQueued
	}
	if c.EWTThresholdSec != nil {
		q.EWTThresholdMS = int64(*c.EWTThresholdSec) * sec
	}
	for _, r := range c.SkillRelax {
		q.SkillRelax = append(q.SkillRelax, acd.Relax{AfterMS: int64(r.AfterSec) * sec, Skill: r.Skill, LowerBy: r.LowerBy, Drop: r.Drop})
	}
	return q
}

// setups keeps the setup of accounts, so that a configuration that changed elsewhere (every new message of a mailbox is a
// change) is no new one to the queues: it would be journalled each time.
type setups struct {
	mu   sync.Mutex
	made map[string]*accountSetup // by account
}

// accountSetup is the setup of one account. It is made under a lock of its own: that of a large account takes a while, and
// the callers of others go on.
type accountSetup struct {
	mu  sync.Mutex
	now *madeSetup // nil = none was made yet
}

type madeSetup struct {
	from    *brain.AccountConfig // the newest it was looked at for
	version int64                // of the configuration that brought it
	op      []byte               // tells the desk of it
	nobody  bool                 // no queue, no agent
}

// of gives the setup that an account's configuration makes.
func (s *setups) of(acct *brain.AccountConfig) *madeSetup {
	slot := s.slot(acct.Account.ID)
	slot.mu.Lock()
	defer slot.mu.Unlock()
	old := slot.now
	if old != nil && (old.from == acct || old.from.Version > acct.Version) {
		return old
	}
	now := setup(acct)
	m := &madeSetup{from: acct, version: now.Version, nobody: len(now.Queues) == 0 && len(now.Agents) == 0}
	if old != nil {
		now.Version = old.version
		if m.op = acd.AppendSetup(nil, now); bytes.Equal(m.op, old.op) {
			m.version = old.version
			slot.now = m
			return m
		}
		now.Version = m.version
	}
	m.op = acd.AppendSetup(nil, now)
	slot.now = m
	return m
}

func (s *setups) slot(accountID string) *accountSetup {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil {
		s.made = map[string]*accountSetup{}
	}
	if s.made[accountID] == nil {
		s.made[accountID] = &accountSetup{}
	}
	return s.made[accountID]
}

// forget drops what is kept of an account.
func (s *setups) forget(accountID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.made, accountID)
}

// maxTries bounds how often an op is asked again with a newer setup.
const maxTries = 3

// current runs an op that rests on the configuration: a desk whose setup is older gets ours first.
func (q *Queues) current(ctx context.Context, acct *brain.AccountConfig, op func(version int64) []byte, read func(reply []byte) (stale bool, err error)) error {
	s := q.setups.of(acct)
	version := s.version
	for range maxTries {
		reply, err := q.desks.Do(ctx, acct.Account.ID, op(version))
		if err != nil {
			return err
		}
		if stale, err := read(reply); err != nil || !stale {
			return err
		}
		if _, err := q.desks.Do(ctx, acct.Account.ID, s.op); err != nil {
			return err
		}
		if s.nobody { // and that they are none: a desk without queues and agents is forgotten at once
			version = 0
		}
	}
	return brain.Errorf(brain.EUnavailable, "the queues of account %s do not take the configuration", acct.Account.ID)
}

// ask asks about queues or agents as they are configured now.
func (q *Queues) ask(ctx context.Context, acct *brain.AccountConfig, question presence.Question) (presence.Desk, error) {
	desk, err := q.desks.Ask(ctx, acct.Account.ID, question)
	s := q.setups.of(acct)
	if err != nil || desk.Version >= s.version || s.nobody && desk.Version == 0 {
		return desk, err
	}
	if _, err := q.desks.Do(ctx, acct.Account.ID, s.op); err != nil {
		return desk, err
	}
	return q.desks.Ask(ctx, acct.Account.ID, question)
}

// maxChanged bounds the accounts whose change waits to be told. A desk that is not told learns with the next caller.
const maxChanged = 4096

// Changed takes note of what this brain has changed in the configuration. It does not wait.
func (q *Queues) Changed(changes []brain.Change) {
	told := map[string]bool{}
	tell := func(id string) {
		if told[id] {
			return
		}
		told[id] = true
		select {
		case q.changed <- id:
		default:
		}
	}
	for _, c := range changes {
		row := c.Resource
		if row == nil {
			row = c.Before
		}
		switch row.ResourceKind() {
		case brain.KindAccount:
			if c.Op == brain.OpDelete {
				q.setups.forget(row.ResourceID())
				tell(row.ResourceID())
			}
		case brain.KindQueue, brain.KindAgentQueueAssignment, brain.KindSIPUser:
			tell(row.OwnerID())
		}
	}
}

// follow tells the queues in use of what has changed.
func (q *Queues) follow(ctx context.Context) {
	for {
		select {
		case id := <-q.changed:
			if err := q.refresh(ctx, id); err != nil && ctx.Err() == nil {
				q.log.Warn("queues were not told of a change: they learn of it with the next caller", "account", id, "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// refresh gives the newest setup to a desk that has one. That of an account which was deleted gets one without queues and
// agents, so that nothing of it stays.
func (q *Queues) refresh(ctx context.Context, accountID string) error {
	desk, err := q.desks.Ask(ctx, accountID, presence.Question{What: "desk"})
	dir := q.directory()
	acct := dir.ByAccount(accountID)
	if acct == nil {
		if err == nil && desk.Version > 0 {
			_, err = q.desks.Do(ctx, accountID, acd.AppendSetup(nil, &acd.Setup{Version: max(desk.Version+1, dir.Version())}))
		}
		return err
	}
	if s := q.setups.of(acct); err == nil && desk.Version > 0 && desk.Version < s.version {
		_, err = q.desks.Do(ctx, accountID, s.op)
	}
	return err
}

package acd

import (
	"fmt"

	"github.com/sipio/sipio/brain/pack"
)

// appendSetup packs each queue and agent by itself, so that what lives long does not keep the rest.
func appendSetup(b []byte, s *Setup) []byte {
	b = pack.AppendUint(pack.AppendInt(b, s.Version), uint64(len(s.Queues)))
	var one []byte
	for i := range s.Queues {
		one = appendQueue(one[:0], &s.Queues[i])
		b = pack.AppendBytes(b, one)
	}
	b = pack.AppendUint(b, uint64(len(s.Agents)))
	for i := range s.Agents {
		one = appendAgent(one[:0], &s.Agents[i])
		b = pack.AppendBytes(b, one)
	}
	return b
}

func appendQueue(b []byte, q *Queue) []byte {
	b = pack.AppendText(pack.AppendText(pack.AppendText(b, q.ID), q.Name), q.Strategy)
	for _, v := range [...]int64{q.RingMS, q.MaxWaitMS, q.WrapUpMS, int64(q.MaxNoAnswer), int64(q.MaxQueued), q.EWTThresholdMS, q.EWTAHTMS,
		q.TierEscalationMS, q.PriorityAgeMS, q.StickyMS, q.ServiceLevelMS, q.AnnounceFirstMS, q.AnnounceEveryMS} {
		b = pack.AppendInt(b, v)
	}
	for _, v := range [...]bool{q.Announce, q.AnnounceEWT, q.ExitNoAgents} {
		b = pack.AppendBool(b, v)
	}
	b = pack.AppendUint(b, uint64(len(q.SkillRelax)))
	for _, x := range q.SkillRelax {
		b = pack.AppendInt(pack.AppendText(pack.AppendInt(b, x.AfterMS), x.Skill), int64(x.LowerBy))
		b = pack.AppendBool(b, x.Drop)
	}
	return b
}

func appendAgent(b []byte, a *Agent) []byte {
	b = pack.AppendBool(pack.AppendBool(pack.AppendText(b, a.UserID), a.AutoReady), a.AutoQueueLogin)
	b = pack.AppendUint(appendSkills(b, a.Skills), uint64(len(a.Memberships)))
	for _, m := range a.Memberships {
		b = pack.AppendInt(pack.AppendInt(pack.AppendText(b, m.QueueID), int64(m.Tier)), int64(m.Position))
		b = pack.AppendText(b, m.Mode)
	}
	return b
}

func readSetup(r *pack.Reader) (*Setup, error) {
	s := &Setup{Version: r.Int()}
	var one pack.Reader
	for range r.Count(MaxQueues) {
		one.Reset(r.Bytes())
		q := readQueue(&one)
		if err := one.End(); err != nil {
			return nil, fmt.Errorf("queue %q: %w", q.ID, err)
		}
		s.Queues = append(s.Queues, q)
	}
	for range r.Count(MaxAgents) {
		one.Reset(r.Bytes())
		a := readAgent(&one)
		if err := one.End(); err != nil {
			return nil, fmt.Errorf("agent %q: %w", a.UserID, err)
		}
		s.Agents = append(s.Agents, a)
	}
	return s, nil
}

func readQueue(r *pack.Reader) Queue {
	q := Queue{ID: r.Text(), Name: r.Text(), Strategy: r.Text()}
	for _, v := range [...]*int64{&q.RingMS, &q.MaxWaitMS, &q.WrapUpMS} {
		*v = readMS(r)
	}
	q.MaxNoAnswer, q.MaxQueued = readSmall(r), readSmall(r)
	for _, v := range [...]*int64{&q.EWTThresholdMS, &q.EWTAHTMS, &q.TierEscalationMS, &q.PriorityAgeMS, &q.StickyMS, &q.ServiceLevelMS,
		&q.AnnounceFirstMS, &q.AnnounceEveryMS} {
		*v = readMS(r)
	}
	for _, v := range [...]*bool{&q.Announce, &q.AnnounceEWT, &q.ExitNoAgents} {
		*v = r.Bool()
	}
	for range r.Count(maxRelax) {
		q.SkillRelax = append(q.SkillRelax, Relax{AfterMS: readMS(r), Skill: r.Text(), LowerBy: readSmall(r), Drop: r.Bool()})
	}
	return q
}

func readAgent(r *pack.Reader) Agent {
	a := Agent{UserID: r.Text(), AutoReady: r.Bool(), AutoQueueLogin: r.Bool(), Skills: readSkills(r)}
	for range r.Count(maxMemberships) {
		a.Memberships = append(a.Memberships, Membership{QueueID: r.Text(), Tier: readSmall(r), Position: readSmall(r), Mode: r.Text()})
	}
	return a
}

// readMS reads a span of time: none below 0, and none beyond ten years.
func readMS(r *pack.Reader) int64 { return min(max(0, r.Int()), maxSpanMS) }

// readSmall reads a number that fits into 31 bits; below 0 is -1.
func readSmall(r *pack.Reader) int { return int(min(max(-1, r.Int()), 1<<31-1)) }

// readTime reads a time in epoch milliseconds, none before the epoch and none that could overflow.
func readTime(r *pack.Reader) int64 { return min(max(0, r.Int()), maxTimeMS) }

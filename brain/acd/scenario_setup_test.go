package acd_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain/acd"
)

func (s *stage) queue(words []string) error {
	q := acd.Queue{ID: words[0], Name: words[0], Strategy: acd.LongestIdle, RingMS: 20_000, MaxQueued: -1, EWTAHTMS: 60_000, ServiceLevelMS: 20_000}
	times := map[string]*int64{"ring": &q.RingMS, "max-wait": &q.MaxWaitMS, "wrap-up": &q.WrapUpMS, "ewt-threshold": &q.EWTThresholdMS, "handling-time": &q.EWTAHTMS,
		"tier-escalation": &q.TierEscalationMS, "priority-age": &q.PriorityAgeMS, "sticky": &q.StickyMS, "announce-first": &q.AnnounceFirstMS, "announce-every": &q.AnnounceEveryMS}
	counts := map[string]*int{"max-no-answer": &q.MaxNoAnswer, "max-queued": &q.MaxQueued}
	flags := map[string]*bool{"announce": &q.Announce, "announce-wait": &q.AnnounceEWT, "exit-no-agents": &q.ExitNoAgents}
	for i := 1; i < len(words); i++ {
		word, value := words[i], ""
		if flags[word] != nil {
			*flags[word] = true
			continue
		}
		if i++; i < len(words) {
			value = words[i]
		}
		n, err := strconv.Atoi(value)
		switch {
		case word == "strategy":
			q.Strategy, err = value, nil
		case word == "relax":
			var x acd.Relax
			x, err = relax(value)
			q.SkillRelax = append(q.SkillRelax, x)
		case times[word] != nil:
			*times[word] = int64(n) * 1000
		case counts[word] != nil:
			*counts[word] = n
		default:
			return fmt.Errorf("%s is no property of a queue", word)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", word, value, err)
		}
	}
	s.setup.Queues = append(s.setup.Queues, q)
	return nil
}

// relax reads 20:french:-2, 20:all:-1 or 40:french:drop.
func relax(value string) (x acd.Relax, err error) {
	parts := strings.Split(value, ":")
	if len(parts) != 3 {
		return x, fmt.Errorf("is not AFTER:SKILL:-LEVELS")
	}
	sec, err := strconv.Atoi(parts[0])
	if err != nil {
		return x, err
	}
	if x.AfterMS, x.Drop = int64(sec)*1000, parts[2] == "drop"; !x.Drop {
		x.LowerBy, err = strconv.Atoi(strings.TrimPrefix(parts[2], "-"))
	}
	if x.Skill = parts[1]; x.Skill == "all" {
		x.Skill = ""
	}
	return x, err
}

func skills(value string) (list []acd.Skill, err error) {
	for _, one := range strings.Split(value, ",") {
		name, level, _ := strings.Cut(one, ":")
		n, err := strconv.Atoi(level)
		if err != nil {
			return nil, err
		}
		list = append(list, acd.Skill{Name: name, Level: n})
	}
	return list, nil
}

func (s *stage) agent(words []string) (err error) {
	a := acd.Agent{UserID: words[0], AutoReady: true, AutoQueueLogin: true}
	for i := 1; i+1 < len(words); i += 2 {
		switch words[i] {
		case "skills":
			if a.Skills, err = skills(words[i+1]); err != nil {
				return err
			}
		case "queues":
			for _, one := range strings.Split(words[i+1], ",") {
				parts := append(strings.Split(one, "/"), "0")
				tier, err := strconv.Atoi(parts[1])
				if err != nil {
					return err
				}
				position, err := strconv.Atoi(parts[2])
				if err != nil {
					return err
				}
				a.Memberships = append(a.Memberships, acd.Membership{QueueID: parts[0], Tier: tier, Position: position, Mode: acd.ModeStatic})
			}
		default:
			return fmt.Errorf("%s is no property of an agent", words[i])
		}
	}
	s.setup.Agents = append(s.setup.Agents, a)
	return nil
}

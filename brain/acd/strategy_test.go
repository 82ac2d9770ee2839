package acd

import (
	"fmt"
	"strings"
	"testing"
)

// Proves each strategy by who is rung for six callers who come one after the other, each served for a time of his
// own: three agents, anna is position 1.
func TestStrategy_ChoosesTheAgent(t *testing.T) {
	rows := []struct{ strategy, want string }{
		{LongestIdle, "anna ben carl anna ben carl"},
		{RoundRobin, "anna ben carl anna ben carl"},
		{TopDown, "anna anna anna anna anna anna"},
		{FewestCalls, "anna ben carl anna ben carl"},
		{LeastTalkTime, "anna ben carl carl carl ben"}, // 60, 50, then carl until his 60 pass the 50 of ben
		{RingAll, "anna+ben+carl anna+ben+carl anna+ben+carl anna+ben+carl anna+ben+carl anna+ben+carl"},
	}
	for _, row := range rows {
		o := open(t, &Setup{Queues: []Queue{lineup(row.strategy)}, Agents: staff("q", "anna", "ben", "carl")})
		var got []string
		for i, talk := range []float64{60, 50, 10, 30, 20, 5} {
			id := fmt.Sprint(i)
			who := o.join(id)
			got = append(got, who)
			first, _, _ := strings.Cut(who, "+")
			o.talk(first + "/" + id)
			o.pass(talk)
			o.leave(id, LeftAnswered)
		}
		if s := strings.Join(got, " "); s != row.want {
			t.Errorf("%s: %s, want %s", row.strategy, s, row.want)
		}
	}
}

// Proves that random always gives the same agent for the same entry at the same fence, and in time every one.
func TestStrategy_RandomIsFairAndRepeatable(t *testing.T) {
	var first string
	for range 2 {
		o := open(t, &Setup{Queues: []Queue{lineup(Random)}, Agents: staff("q", "anna", "ben", "carl")})
		o.quick = true
		n := map[string]int{}
		var all []string
		for i := range 300 {
			id := fmt.Sprint(i)
			who := o.join(id)
			n[who]++
			all = append(all, who)
			o.leave(id, LeftAbandoned)
		}
		for _, id := range []string{"anna", "ben", "carl"} {
			if n[id] < 70 {
				t.Fatalf("%s was rung %d times of 300", id, n[id])
			}
		}
		if s := strings.Join(all, " "); first == "" {
			first = s
		} else if s != first {
			t.Fatal("the same story was told otherwise")
		}
	}
}

// tiered gives agents of one queue their tiers.
func tiered(agents []Agent, tiers ...int) []Agent {
	for i, tier := range tiers {
		agents[i].Memberships[0].Tier = tier
	}
	return agents
}

// Proves when a tier opens: the lowest with somebody who is there at once, each further one after the time, or with 0 only
// when nobody of the lower ones is there.
func TestTiers_Open(t *testing.T) {
	q := lineup(LongestIdle)
	q.TierEscalationMS = 10_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: tiered(staff("q", "anna", "ben", "carl"), 1, 3, 7)})
	o.agent("anna", ActionBreak, "lunch")
	if s := o.join("x"); s != "1" {
		t.Fatalf("anna is signed in: tier 3 is closed to x, got %s", s)
	}
	o.pass(9)
	o.want("")
	o.pass(1)
	o.want("ben rings for x")
	o.miss("ben/x", MissNoAnswer)
	o.want("ben rings for x") // nobody else is open to x
	o.pass(10)
	o.want("") // rings still
	o.miss("ben/x", MissNoAnswer)
	o.want("carl rings for x")
	o.leave("x", LeftAbandoned)

	q.TierEscalationMS = 0
	o = open(t, &Setup{Queues: []Queue{q}, Agents: tiered(staff("q", "anna", "ben", "carl"), 1, 3, 3)})
	o.agent("anna", ActionBreak, "lunch")
	if s := o.join("x"); s != "1" {
		t.Fatal(s)
	}
	o.pass(100)
	o.want("")
	o.signal("anna", false, 0)
	o.want("ben rings for x")
	if s := o.join("y"); s != "carl" {
		t.Fatal(s)
	}
}

// Proves who a freed agent takes: his lower tier first, then priority with age, then the wait, then the id.
func TestFreedAgent_TakesTheNextCaller(t *testing.T) {
	a, b := lineup(LongestIdle), lineup(LongestIdle)
	b.ID, b.PriorityAgeMS = "b", 10_000
	agent := staff("q", "anna")
	agent[0].Memberships = append(agent[0].Memberships, Membership{"b", 2, 1, ModeStatic})
	o := open(t, &Setup{Queues: []Queue{a, b}, Agents: agent})
	inB := func(priority int) func(*Join) { return func(j *Join) { j.QueueID, j.Priority = "b", priority } }
	o.join("busy")
	o.talk("anna/busy")
	o.join("b0", inB(0)) // at 0 s
	o.pass(15)
	o.join("b2", inB(2)) // at 15 s
	o.join("b1", inB(1))
	o.join("b1a", inB(1))
	o.pass(6) // levels at 21 s: b0 2, b2 2, b1 1
	o.join("q9")
	last := "busy"
	for _, next := range []string{"q9", "b0", "b2", "b1", "b1a"} {
		o.leave(last, LeftAnswered)
		o.want("anna rings for " + next)
		o.talk("anna/" + next)
		last = next
	}
}

// Proves that a caller who needs skills gets who has them, that needs fall with the wait, one step after the other,
// and that he keeps nobody from serving others.
func TestSkills_AreNeededUntilTheyRelax(t *testing.T) {
	q := lineup(LongestIdle)
	q.SkillRelax = []Relax{{AfterMS: 10_000, Skill: "french", LowerBy: 2}, {AfterMS: 20_000, Skill: "tax", Drop: true}, {AfterMS: 30_000, Drop: true}}
	agents := staff("q", "anna", "ben")
	agents[0].Skills = []Skill{{"french", 2}}
	needs := func(s ...Skill) func(*Join) { return func(j *Join) { j.Skills = s } }
	rows := []struct {
		needs []Skill
		after float64 // -1 = at once
		who   string
	}{
		{nil, -1, "anna"},
		{[]Skill{{"french", 2}}, -1, "anna"},
		{[]Skill{{"french", 1}, {"french", 2}}, -1, "anna"},
		{[]Skill{{"french", 4}}, 10, "anna"},
		{[]Skill{{"french", 5}}, 30, "anna"},
		{[]Skill{{"french", 4}, {"tax", 1}}, 20, "anna"},
		{[]Skill{{"tax", 5}}, 20, "anna"},
		{[]Skill{{"golf", 1}}, 30, "anna"},
	}
	for _, row := range rows {
		o := open(t, &Setup{Queues: []Queue{q}, Agents: agents})
		who := o.join("x", needs(row.needs...))
		if row.after > 0 {
			o.pass(row.after - 0.1)
			o.want("")
			o.pass(0.1)
			o.want(row.who + " rings for x")
		} else if who != row.who {
			t.Errorf("%v: %s", row.needs, who)
		}
	}
	o := open(t, &Setup{Queues: []Queue{q}, Agents: agents})
	o.join("x", needs(Skill{"golf", 1}))
	if s := o.join("y"); s != "anna" {
		t.Fatal(s)
	}
	if s := o.join("z"); s != "ben" {
		t.Fatal(s)
	}
}

// Proves that no more than fifty agents ring for a caller, over all tiers that are open, so that the reply to the join is
// one that can be read; and that those of the lower tiers ring first.
func TestRingAll_AtMostFifty(t *testing.T) {
	q := lineup(RingAll)
	q.TierEscalationMS = 1000
	for _, first := range []int{30, 50, 60} {
		s := &Setup{Queues: []Queue{q}}
		for i := range 90 {
			a := staff("q", fmt.Sprintf("a%02d", i))[0]
			if i >= first {
				a.Memberships[0].Tier = 2 + i%3
			}
			s.Agents = append(s.Agents, a)
		}
		o := open(t, s)
		who := o.join("x", func(j *Join) { j.SinceMS = o.now - 60_000 })
		if n := strings.Count(who, "+") + 1; n != 50 || !strings.HasPrefix(who, "a00+") || !strings.Contains(who, fmt.Sprintf("a%02d", min(first, 50)-1)) {
			t.Fatalf("%d in the first tier: %d agents: %s", first, n, who)
		}
	}
}

// Proves that the agent who served a number last is preferred for the time of the queue, if he is eligible, and
// that a ring-all queue rings him alone first.
func TestSticky_PrefersWhoServedTheNumberLast(t *testing.T) {
	q := lineup(TopDown)
	q.StickyMS = 60_000
	number := func(j *Join) { j.CallerNumber = "+4912" }
	for _, strategy := range []string{TopDown, RingAll} {
		q.Strategy = strategy
		o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben", "carl")})
		o.join("first", number)
		if strategy == TopDown {
			o.claim("anna/first")
			o.miss("anna/first", MissDeclined)
			o.orders()
		}
		o.talk("ben/first")
		o.orders()
		o.pass(100)
		o.leave("first", LeftAnswered)
		o.pass(59)
		if s := o.join("second", number); s != "ben" {
			t.Fatalf("%s: %s", strategy, s)
		}
		if s := o.join("other"); strings.Contains(s, "ben") {
			t.Fatal(s)
		}
		o.leave("other", LeftAbandoned)
		o.orders()
		o.miss("ben/second", MissNoAnswer)
		if got := o.orders(); !strings.HasPrefix(got, "anna rings for second") || strings.Contains(got, "ben") {
			t.Fatalf("%s: %s", strategy, got)
		}
		o.leave("second", LeftAbandoned)
		o.pass(2)
		if s := o.join("third", number); s == "ben" {
			t.Fatalf("%s: after a minute still %s", strategy, s)
		}
	}
}

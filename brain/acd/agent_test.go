package acd

import (
	"strings"
	"testing"
)

// Proves what each action does to status, reason and queues, by agents that differ in what login does for them.
func TestAgent_Actions(t *testing.T) {
	agents := []Agent{{UserID: "auto", AutoReady: true, AutoQueueLogin: true}, {UserID: "hand"}}
	for i := range agents {
		agents[i].Memberships = []Membership{{"s", 1, 1, ModeStatic}, {"m", 1, 1, ModeMandatory}, {"f", 1, 1, ModeSelf}}
	}
	s := &Setup{Version: 1, Agents: agents}
	for _, id := range []string{"s", "m", "f", "other"} {
		s.Queues = append(s.Queues, Queue{ID: id, MaxQueued: -1})
	}
	rows := []struct {
		who, does string // actions one after the other, "action queue-or-reason"
		why       string
		want      string // status, reason, bucket, queues
	}{
		{"auto", "login", "", "available  ready m s"},
		{"hand", "login", "", "on_break login paused"},
		{"hand", "available", "", "available  idle"},
		{"hand", "break lunch", "", "on_break lunch paused"},
		{"auto", "break lunch", "", "on_break lunch paused m s"},
		{"auto", "break lunch,break tea", "", "on_break tea paused m s"},
		{"auto", "break lunch,available", "", "available  ready m s"},
		{"auto", "login,logout", "", "offline  offline"},
		{"auto", "logout", "", "offline  offline"},
		{"auto", "login,queue_join f", "", "available  ready f m s"},
		{"auto", "login,queue_leave s", "", "available  ready m"},
		{"auto", "login,queue_leave m", WhyMandatory, "available  ready m s"},
		{"auto", "login,queue_leave other", WhyNoMember, "available  ready m s"},
		{"auto", "queue_join nowhere", WhyNoMember, "offline  offline"},
		{"hand", "queue_join s", "", "on_break login paused s"},
		{"hand", "queue_join s,available", "", "available  ready s"},
		{"hand", "queue_join s,logout,login", "", "on_break login paused"},
		{"auto", "login,wrapup_end", "", "available  ready m s"},
		{"auto", "dance", WhyNoAction, "offline  offline"},
	}
	for _, row := range rows {
		o := open(t, &Setup{Queues: s.Queues, Agents: nil})
		o.signal("auto", true, 0) // told before they are agents
		o.signal("hand", true, 0)
		o.apply(AppendSetup(nil, &Setup{Version: 2, Queues: s.Queues, Agents: agents}))
		why := ""
		for _, does := range strings.Split(row.does, ",") {
			action, more, _ := strings.Cut(does, " ")
			why = o.agent(row.who, action, more)
		}
		got := o.d.Agents(o.now, 0, 0)[map[string]int{"auto": 0, "hand": 1}[row.who]]
		words := strings.TrimSpace(strings.Join(append([]string{got.Status, got.Reason, got.Bucket}, got.Queues...), " "))
		if words != row.want || why != row.why {
			t.Errorf("%s, %s: %q %q, want %q %q", row.who, row.does, words, why, row.want, row.why)
		}
	}
	o := open(t, s)
	if o.agent("stranger", ActionLogin) != WhyNoAgent {
		t.Error("a stranger signs in")
	}
}

// Proves that an op that rests on a later setup than the desk has does nothing and says so, and that an older setup
// changes nothing.
func TestSetup_StaleIsTold(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup("")}, Agents: staff("q", "anna")})
	if _, stale, err := ReadJoined(o.apply(AppendJoin(nil, &Join{EntryID: "x", QueueID: "q"}, 2))); !stale || err != nil {
		t.Error("a join")
	}
	if _, stale, err := ReadAgent(o.apply(AppendAgent(nil, &AgentOp{UserID: "anna", Action: ActionLogout}, 2))); !stale || err != nil {
		t.Error("an agent")
	}
	o.apply(AppendSetup(nil, &Setup{Version: 1}))
	if o.show("anna") != "available waiting ready" || o.d.Version() != 1 || len(o.d.Queues(o.now, 0, 0, true)) != 1 {
		t.Error("the same version again did something")
	}
}

// Proves what a new setup does to those who are there: callers of a queue that is gone exit, agents of another tier
// or skill are found at once, new memberships are signed in to as by login, and others stay.
func TestSetup_Changes(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(""), {ID: "old", MaxQueued: -1, RingMS: 1000}}, Agents: staff("q", "anna")})
	o.join("x", func(j *Join) { j.Skills = []Skill{{"french", 1}} })
	o.join("gone", func(j *Join) { j.QueueID = "old" })
	next := &Setup{Version: 2, Queues: []Queue{lineup("")}, Agents: staff("q", "anna", "ben")}
	next.Agents[0].Skills = []Skill{{"french", 1}}
	o.apply(AppendSetup(nil, next))
	o.want("gone exits: failed, anna rings for x")
	if got := o.d.Queues(o.now, 0, 0, true); len(got) != 2 || got[1].Entries[0].State != "leaving" && got[0].Entries[0].State != "leaving" {
		t.Fatalf("%+v", got)
	}
	o.leave("gone", LeftFailed)
	if got := o.d.Queues(o.now, 0, 0, true); len(got) != 1 {
		t.Fatalf("a queue without callers that is in no setup: %+v", got)
	}
	if o.show("ben") != "offline waiting offline" {
		t.Fatal(o.show("ben"))
	}
	o.signal("ben", true, 0)
	o.agent("ben", ActionLogin)
	o.leave("x", LeftAbandoned)
	next.Version, next.Queues = 3, append(next.Queues, Queue{ID: "p", MaxQueued: -1})
	next.Agents[1].Memberships = append(next.Agents[1].Memberships, Membership{"p", 2, 1, ModeStatic})
	o.agent("anna", ActionBreak, "")
	o.apply(AppendSetup(nil, next))
	if got := o.join("y", func(j *Join) { j.QueueID = "p" }); got != "ben" {
		t.Fatal(got)
	}
}

// Proves that positions are told when they are due, only to who waits and only when they changed, with the
// expected wait if the queue wants it.
func TestPosition_IsToldWhenItChanged(t *testing.T) {
	q := lineup(LongestIdle)
	q.Announce, q.AnnounceEWT, q.AnnounceFirstMS, q.AnnounceEveryMS, q.EWTAHTMS = true, true, 15_000, 30_000, 60_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
	o.join("busy")
	o.talk("anna/busy")
	o.join("x")
	o.join("y")
	o.join("vip", func(j *Join) { j.Priority = 1 })
	o.pass(14.9)
	o.want("")
	o.pass(0.1)
	o.want("vip is 1 for 60 s, x is 2 for 120 s, y is 3 for 180 s")
	o.pass(30)
	o.want("")
	o.leave("busy", LeftAnswered) // after 45 s: the history says so
	o.want("anna rings for vip")
	o.pass(24)
	o.want("") // the lease runs out at 70 s
	o.talk("anna/vip")
	o.pass(6)
	o.want("x is 1 for 45 s, y is 2 for 90 s")
	q.AnnounceEveryMS = 0
	o = open(t, &Setup{Queues: []Queue{q}})
	o.join("x")
	o.join("y")
	o.pass(15)
	o.want("x is 1, y is 2")
	o.leave("x", LeftAbandoned)
	o.pass(100)
	o.want("")
}

// Proves the figures of queues and agents over two quarter hours, and that a period takes in those it touches.
func TestFigures(t *testing.T) {
	q := lineup(LongestIdle)
	q.WrapUpMS, q.ServiceLevelMS = 10_000, 5_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
	o.join("a")
	o.pass(10) // rings
	o.talk("anna/a")
	o.join("b")
	o.pass(3)
	o.leave("b", LeftAbandoned)
	o.join("c")
	o.pass(7)
	o.leave("c", LeftAbandoned)
	o.pass(10)
	o.leave("a", LeftAnswered) // talked for 20 s
	o.pass(870)                // wraps up for 10 s, waits for 860 s, until the next quarter hour begins
	o.join("d")
	o.miss("anna/d", MissNoAnswer)
	o.orders()
	o.talk("anna/d")
	o.pass(40)
	o.leave("d", LeftAnswered)
	o.agent("anna", ActionBreak, "") // ends no wrap-up
	o.pass(30)
	row := o.d.Queues(o.now, 0, 0, false)[0].Figures
	if row.Offered != 4 || row.Answered != 2 || row.Abandoned != 2 || row.ShortAbandon != 1 || *row.AbandonRate != 0.5 ||
		*row.ASAMS != 5000 || *row.AHTMS != 40_000 || *row.ServiceLevel != 0.25 || row.Occupancy != nil {
		t.Errorf("queue: %+v", row)
	}
	me := o.d.Agents(o.now, 0, 0)[0].Figures
	if busy := 80.0; me.Answered != 2 || me.Missed != 1 || me.Offered != 3 || *me.Occupancy != busy/(busy+860) || *me.Utilization != busy/970 {
		t.Errorf("agent: %+v, occupancy %v, utilization %v", me, *me.Occupancy, *me.Utilization)
	}
	if got := o.d.Queues(o.now, base, base+IntervalMS, false)[0].Figures; got.Offered != 3 || got.Answered != 1 {
		t.Errorf("the first quarter hour: %+v", got)
	}
	if got := o.d.Agents(o.now, base+IntervalMS, o.now+IntervalMS)[0].Figures; got.Answered != 1 || *got.Utilization != 50.0/70 {
		t.Errorf("the second: %+v", got)
	}
	if got := o.d.Queues(o.now, base-5*IntervalMS, base-1, false)[0].Figures; got.Offered != 0 || got.ASAMS != nil {
		t.Errorf("before: %+v", got)
	}
	o.agent("anna", ActionLogout)
	o.pass(2 * 24 * 3600)
	if got := o.d.Queues(o.now, base, o.now, false)[0].Figures; got.Offered == 0 || o.d.Empty() {
		t.Error("two days are kept")
	}
	o.pass(3600)
	if o.d.Empty() {
		t.Error("the setup is forgotten")
	}
	o.apply(AppendSetup(nil, &Setup{Version: 9}))
	if !o.d.Empty() || len(o.d.entries)+len(o.d.pastEntries.known)+len(o.d.pastReservations.known) > 0 {
		t.Error("there is something left after two days")
	}
	if at, ok := o.d.Deadline(); ok {
		t.Errorf("it has a deadline %d", at)
	}
}

// Proves what is shown of a queue: callers in the order in which they are served, then talks, then who leaves.
func TestQueues_ShowTheLine(t *testing.T) {
	q := lineup(LongestIdle)
	q.MaxWaitMS = 60_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben")})
	o.join("talks")
	o.talk("anna/talks")
	o.agent("ben", ActionBreak, "")
	o.join("leaves")
	o.pass(50)
	o.join("second")
	o.join("first", func(j *Join) { j.Priority = 5 })
	o.pass(10)
	o.agent("ben", ActionAvailable)
	got := o.d.Queues(o.now+1000, 0, 0, true)[0]
	if got.Waiting != 2 || got.Served != 1 || got.LongestMS != 11_000 || got.AgentsSigned != 2 || got.AgentsReady != 0 || got.EWTMS != 3*240_000/2 {
		t.Errorf("%+v", got)
	}
	var words []string
	for _, c := range got.Entries {
		words = append(words, c.EntryID+" "+c.State+" "+string(rune('0'+c.Position))+" "+c.UserID)
	}
	if s := strings.Join(words, ", "); s != "first offering 1 ben, second waiting 2 , talks in_call 0 anna, leaves leaving 0 " {
		t.Error(s)
	}
}

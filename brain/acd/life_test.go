package acd

import (
	"reflect"
	"testing"
)

// Proves the way of a call from join to wrap-up: states, buckets, changes and the record.
func TestLife_FromJoinToWrapUp(t *testing.T) {
	q := lineup(LongestIdle)
	q.WrapUpMS = 30_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
	o.changes = nil
	steps := []struct {
		do   func()
		show string
	}{
		{func() {}, "available waiting ready"},
		{func() { o.join("x") }, "available offering ring"},
		{func() { o.pass(5); o.claim("anna/x") }, "available offering ring"},
		{func() { o.pass(1); o.confirm("anna/x") }, "available in_call incall"},
		{func() { o.pass(60); o.leave("x", LeftAbandoned) }, "available wrap_up wrapup"},
		{func() { o.pass(29.9) }, "available wrap_up wrapup"},
		{func() { o.pass(0.1) }, "available waiting ready"},
	}
	for i, s := range steps {
		if s.do(); o.show("anna") != s.show {
			t.Fatalf("step %d: %s, want %s", i, o.show("anna"), s.show)
		}
	}
	o.want("") // an instant connect is in the reply to the join
	want := Record{EntryID: "x", QueueID: "q", Token: "tx", CallID: "cx", CallerNumber: "+49x", Outcome: LeftAnswered, EnqueuedMS: base,
		ConnectedMS: base + 6000, EndMS: base + 66_000, UserID: "anna", WrapUpMS: 30_000}
	if len(o.records) != 1 || o.records[0] != want {
		t.Fatalf("%+v", o.records)
	}
	at := func(s int64, state, bucket, queue, entry string) Change {
		return Change{base + s*1000, "anna", StatusAvailable, "", state, bucket, queue, entry}
	}
	if want := []Change{at(0, StateOffering, BucketRing, "q", "x"), at(6, StateInCall, BucketInCall, "q", "x"), at(66, StateWrapUp, BucketWrapUp, "q", ""),
		at(96, StateWaiting, BucketReady, "", "")}; !reflect.DeepEqual(o.changes, want) {
		t.Fatalf("%+v", o.changes)
	}
}

// Proves the exits at join, in their order: nothing is entered but the figures and a record, and the same join again
// is answered alike.
func TestJoin_Exits(t *testing.T) {
	rows := []struct {
		name   string
		change func(*Queue, *Agent)
		before int // callers who wait already
		want   string
	}{
		{"room", func(q *Queue, _ *Agent) { q.MaxQueued = 3 }, 2, "3"},
		{"full", func(q *Queue, _ *Agent) { q.MaxQueued = 2 }, 2, "exit queue_full"},
		{"short wait", func(q *Queue, _ *Agent) { q.EWTThresholdMS = 720_000 }, 2, "3"},
		{"long wait", func(q *Queue, _ *Agent) { q.EWTThresholdMS = 719_999 }, 2, "exit ewt"},
		{"unknown wait is not long", func(q *Queue, a *Agent) { q.EWTThresholdMS, a.AutoReady = 1, false }, 2, "3"},
		{"nobody, and callers wait", func(_ *Queue, a *Agent) { a.AutoReady = false }, 2, "3"},
		{"nobody", func(q *Queue, a *Agent) { a.AutoReady, q.ExitNoAgents = false, true }, 0, "exit no_agents"},
	}
	for _, row := range rows {
		q, agents := lineup(LongestIdle), staff("q", "anna")
		row.change(&q, &agents[0])
		o := open(t, &Setup{Queues: []Queue{q}, Agents: agents})
		if agents[0].AutoReady {
			o.join("busy")
			o.talk("anna/busy")
		}
		for i := range row.before {
			o.join(string(rune('a' + i)))
		}
		for range 2 {
			if got := o.join("x"); got != row.want {
				t.Errorf("%s: %s, want %s", row.name, got, row.want)
			}
		}
		if o.orders(); len(row.want) > 1 && (len(o.records) != 1 || "exit "+o.records[0].Outcome != row.want) {
			t.Errorf("%s: records %+v", row.name, o.records)
		}
	}
	o := open(t, &Setup{Queues: []Queue{lineup("")}})
	elsewhere := func(j *Join) { j.QueueID = "nowhere" }
	if got := o.join("x", elsewhere); got != "exit failed" {
		t.Error(got)
	}
	q := lineup("")
	q.EWTThresholdMS = 1
	if o = open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")}); o.join("x") != "anna" {
		t.Error("a caller for whom an agent waits expects no wait")
	}
}

// Proves the exits while waiting: by the time when no agent is being rung, and when the last agent goes; the exit is told
// again until the entry has left, and nobody is offered meanwhile.
func TestWaiting_Exits(t *testing.T) {
	q := lineup(LongestIdle)
	q.MaxWaitMS = 30_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
	o.agent("anna", ActionBreak, "lunch")
	o.join("x")
	o.pass(25)
	o.agent("anna", ActionAvailable)
	o.want("anna rings for x")
	o.pass(10)
	o.want("")
	o.miss("anna/x", MissNoAnswer)
	o.want("x exits: timeout")
	o.pass(4)
	o.want("x exits: timeout, x exits: timeout")
	if got := o.join("x"); got != "exit timeout" {
		t.Fatal(got)
	}
	o.leave("x", ExitTimeout)
	o.pass(10)
	o.want("")

	q.MaxWaitMS = 0
	o = open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben")})
	o.agent("anna", ActionBreak, "")
	o.agent("ben", ActionBreak, "")
	o.join("stays")
	o.join("goes", func(j *Join) { j.ExitNoAgents = true })
	o.agent("ben", ActionLogout)
	o.want("")
	o.signal("anna", false, 0)
	o.want("goes exits: no_agents")
	o.signal("anna", true, 0)
	o.agent("anna", ActionAvailable)
	o.want("anna rings for stays")
}

// Proves what each cause of a miss does: skipped callers come back when all were tried, misses in a row end in a break,
// a failure of the platform holds the caller longer and longer and is nobody's fault.
func TestMiss_ByCause(t *testing.T) {
	q := lineup(TopDown)
	q.MaxNoAnswer = 2
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben")})
	o.join("x")
	if o.miss("anna/x", MissNoAnswer) != "granted" || o.miss("anna/x", MissNoAnswer) != "granted" {
		t.Fatal("a miss told twice")
	}
	o.want("ben rings for x")
	o.miss("ben/x", MissUnreachable)
	o.want("") // all were tried, and ben refused at once: a moment's rest
	o.pass(0.5)
	o.want("anna rings for x")
	o.miss("anna/x", MissBusy)
	if s := o.show("anna"); s != "on_break waiting paused" {
		t.Fatal(s)
	}
	o.want("ben rings for x")
	o.miss("ben/x", MissFailed)
	o.want("")
	o.pass(0.9)
	o.want("")
	o.pass(0.1)
	o.want("ben rings for x")
	o.miss("ben/x", MissFailed)
	o.pass(1.9)
	o.want("")
	o.pass(0.1)
	o.want("ben rings for x")
	if s := o.show("ben"); s != "available offering ring" {
		t.Fatalf("none of ben's misses counts: %s", s)
	}
	o.talk("ben/x")
	o.agent("anna", ActionAvailable)
	o.join("y")
	o.miss("anna/y", MissDeclined)
	o.want("") // ben talks: nobody else is left
	o.pass(0.5)
	o.want("anna rings for y")
	o.talk("anna/y")
	o.leave("y", LeftAnswered)
	o.join("z")
	o.miss("anna/z", MissDeclined)
	if s := o.show("anna"); s != "available waiting ready" {
		t.Fatalf("a talk ends the row of misses: %s", s)
	}
}

// Proves a ring-all queue: everybody rings, the first claim wins, the others stop and are free at once, no miss; and
// when nobody answers all are tried again.
func TestRingAll_TheFirstClaimWins(t *testing.T) {
	q := lineup(RingAll)
	q.MaxNoAnswer = 1
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben", "carl")})
	o.join("x")
	o.join("y")
	if o.claim("ben/x") != "granted" || o.claim("anna/x") != WhyLost || o.claim("ben/x") != "granted" {
		t.Fatal("claims")
	}
	o.want("anna stops for x: lost, carl stops for x: lost, anna rings for y, carl rings for y")
	if o.confirm("carl/x") != WhyLost || o.confirm("ben/x") != "granted" || o.miss("ben/x", MissBusy) != WhyLost {
		t.Fatal("confirms")
	}
	o.leave("y", LeftAbandoned)
	o.want("anna stops for y: caller_gone, carl stops for y: caller_gone")
	if o.show("anna") != "available waiting ready" || o.claim("anna/y") != WhyCallerGone {
		t.Fatal(o.show("anna"))
	}

	many := make([]string, 60)
	for i := range many {
		many[i] = string(rune('A' + i))
	}
	o = open(t, &Setup{Queues: []Queue{lineup(RingAll)}, Agents: staff("q", many...)})
	o.join("x")
	if n := len(o.offers); n != 50 {
		t.Fatalf("%d ring", n)
	}
}

// Proves what ends an offer without fault of the agent's or caller's: both are free at once, no miss is counted.
func TestOffer_EndsWithTheAgent(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(*office)
		show string
	}{
		{"registration lost", func(o *office) { o.signal("anna", false, 0) }, "available waiting unreachable"},
		{"own call", func(o *office) { o.signal("anna", true, 1) }, "available waiting extcall"},
		{"logout", func(o *office) { o.agent("anna", ActionLogout) }, "offline waiting offline"},
		{"left the queue", func(o *office) { o.agent("anna", ActionLeave, "q") }, "available waiting idle"},
		{"no agent any more", func(o *office) {
			o.apply(AppendSetup(nil, &Setup{Version: 2, Queues: []Queue{lineup(TopDown)}, Agents: staff("q", "ben")}))
		}, "none"},
	} {
		q := lineup(TopDown)
		q.MaxNoAnswer, q.WrapUpMS = 1, 10_000
		o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben")})
		o.join("x")
		row.do(o)
		o.want("anna stops for x: agent_gone, ben rings for x")
		if s := o.show("anna"); s != row.show || o.claim("anna/x") != WhyAgentGone {
			t.Errorf("%s: %s", row.name, s)
		}
	}
}

// Proves that a talk goes on whatever becomes of its agent, and what he is afterwards.
func TestTalk_GoesOnWithoutTheAgentsSignals(t *testing.T) {
	for _, row := range []struct {
		name         string
		do           func(*office)
		during, then string
	}{
		{"registration lost", func(o *office) { o.signal("anna", false, 0) }, "available in_call incall", "available wrap_up unreachable"},
		{"own call", func(o *office) { o.signal("anna", true, 1) }, "available in_call extcall", "available wrap_up extcall"},
		{"break", func(o *office) { o.agent("anna", ActionBreak, "lunch") }, "on_break in_call incall", "on_break wrap_up paused"},
		{"logout", func(o *office) { o.agent("anna", ActionLogout) }, "offline in_call incall", "offline waiting offline"},
		{"no agent any more", func(o *office) {
			o.apply(AppendSetup(nil, &Setup{Version: 2, Queues: []Queue{lineup(TopDown)}}))
		}, "offline in_call incall", "none"},
		{"no queue any more", func(o *office) {
			o.apply(AppendSetup(nil, &Setup{Version: 2, Agents: staff("p", "anna")}))
		}, "available in_call incall", "available wrap_up wrapup"},
	} {
		q := lineup(TopDown)
		q.WrapUpMS = 10_000
		o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
		o.join("x")
		o.claim("anna/x")
		row.do(o)
		if o.confirm("anna/x") != "granted" || o.show("anna") != row.during {
			t.Errorf("%s: during %s", row.name, o.show("anna"))
		}
		o.want("")
		o.leave("x", LeftAbandoned)
		if s := o.show("anna"); s != row.then && !(row.name == "no agent any more" && s == "none") {
			t.Errorf("%s: then %s, want %s", row.name, s, row.then)
		}
		if o.orders(); len(o.records) != 1 || o.records[0].Outcome != LeftAnswered || o.records[0].UserID != "anna" {
			t.Errorf("%s: %+v", row.name, o.records)
		}
	}
}

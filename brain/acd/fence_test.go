package acd

import (
	"bytes"
	"strconv"
	"testing"
)

// Proves that fences rise strictly, also when the clock stands still or goes back, and that the id follows from the fence.
func TestFence_Rises(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	o.quick = true
	var last int64
	for i := range 1000 {
		if i == 500 {
			o.now -= 3_600_000
		}
		id := strconv.Itoa(i)
		o.join(id)
		x := o.offers["anna/"+id]
		if x.Fence <= last || x.ReservationID != strconv.FormatInt(x.Fence, 36) {
			t.Fatalf("%+v after %d", x, last)
		}
		last = x.Fence
		o.leave(id, LeftAbandoned)
	}
}

// Proves that an old or wrong fence changes nothing, whenever it comes and however often.
func TestFence_AnOldOneChangesNothing(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	o.join("x")
	old := o.offers["anna/x"]
	o.miss("anna/x", MissNoAnswer)
	o.want("anna rings for x")
	now := o.offers["anna/x"]
	before := o.d.AppendSnapshot(nil)
	for range 3 {
		for _, row := range []struct {
			id    string
			fence int64
			why   string
		}{
			{old.ReservationID, old.Fence, WhyLease},
			{now.ReservationID, old.Fence, WhyFence},
			{old.ReservationID, now.Fence, WhyFence},
			{now.ReservationID, now.Fence + 1, WhyFence},
			{"+" + now.ReservationID, now.Fence, WhyUnknown},
			{"zzz", 46655, WhyUnknown},
			{"", 0, WhyUnknown},
		} {
			if got := o.verdict(AppendClaim(nil, row.id, row.fence)); got != row.why {
				t.Errorf("claim %q %d: %s, want %s", row.id, row.fence, got, row.why)
			}
			if got := o.verdict(AppendConfirm(nil, row.id, row.fence)); got != row.why {
				t.Errorf("confirm %q %d: %s, want %s", row.id, row.fence, got, row.why)
			}
			if got := o.verdict(AppendMiss(nil, row.id, row.fence, MissBusy)); got != row.why && row.fence != old.Fence {
				t.Errorf("miss %q %d: %s, want %s", row.id, row.fence, got, row.why)
			}
		}
	}
	if !bytes.Equal(o.d.AppendSnapshot(nil), before) {
		t.Fatal("something changed")
	}
	o.pass(600)
	o.leave("x", LeftAbandoned)
	o.pass(600)
	if got := o.verdict(AppendClaim(nil, old.ReservationID, old.Fence)); got != WhyUnknown {
		t.Fatalf("long afterwards: %s", got)
	}
}

// Proves leases: an offer nobody claims frees both, counts as a miss and keeps place and age; a claim nobody
// confirms frees both and is no miss; a confirm that comes late is granted.
func TestLease_RunsOut(t *testing.T) {
	q := lineup(TopDown)
	q.MaxNoAnswer = 2
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
	o.join("x")
	o.pass(1)
	o.join("y")
	o.pass(23.9)
	o.want("")
	o.pass(0.1)
	o.want("anna stops for x: lease, anna rings for x") // x keeps its place before y
	if o.claim("anna/x") != "granted" {
		t.Fatal("claim")
	}
	o.pass(15)
	o.want("anna stops for x: lease, anna rings for x")
	if got := o.show("anna"); got != "available offering ring" {
		t.Fatalf("one miss only: %s", got)
	}
	o.claim("anna/x")
	o.agent("anna", ActionBreak, "") // so that she is not rung again when the claim runs out
	o.pass(15)
	o.want("anna stops for x: lease")
	if o.claim("anna/x") != WhyLease {
		t.Fatal("a late claim")
	}
	if o.confirm("anna/x") != "granted" || o.show("anna") != "on_break in_call incall" || o.confirm("anna/x") != "granted" {
		t.Fatal("a late confirm while both are free")
	}
}

// Proves that a confirm that comes after its lease ran out makes the talk, whatever the two were offered since: those
// offers are taken back, and a caller who was told to leave is not told again. Only who has somebody else by then is refused.
func TestLease_ALateConfirm(t *testing.T) {
	for _, row := range []struct {
		name  string
		since func(o *office) // after the claim of anna/x ran out
		ends  string          // what is ordered by the confirm; "" = it is refused
	}{
		{"they are offered to each other", func(o *office) { o.want("anna stops for x: lease, anna rings for x") }, "anna stops for x: lost"},
		{"they are offered to others", func(o *office) {
			o.orders()
			o.miss("anna/x", MissBusy)
			o.join("y")
			o.agent("ben", ActionLogin)
			o.pass(1)
			o.want("ben rings for x")
			if o.show("anna") != "available offering ring" || o.show("ben") != "available offering ring" {
				o.t.Fatal("the two are not offered")
			}
		}, "ben stops for x: lost, anna stops for y: agent_gone, ben rings for y"},
		{"the caller was told to leave", func(o *office) {
			o.agent("anna", ActionLogout)
			o.pass(2)
			o.want("anna stops for x: lease, anna rings for x, anna stops for x: agent_gone, x exits: no_agents, x exits: no_agents")
		}, "nothing"},
		{"the caller has another agent", func(o *office) {
			o.orders()
			o.miss("anna/x", MissBusy)
			o.agent("ben", ActionLogin)
			o.pass(1)
			o.want("ben rings for x")
			o.claim("ben/x")
		}, ""},
		{"the agent has another caller", func(o *office) {
			o.agent("anna", ActionLogout)
			o.agent("anna", ActionLogin)
			o.join("y")
			o.orders()
			o.talk("anna/y")
		}, ""},
		{"the agent wraps up with another caller", func(o *office) {
			o.agent("anna", ActionLogout)
			o.agent("anna", ActionLogin)
			o.join("y")
			o.orders()
			o.talk("anna/y")
			o.leave("y", LeftAnswered)
		}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			q := lineup(TopDown)
			q.ExitNoAgents, q.WrapUpMS = true, 60_000
			o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben")})
			o.agent("ben", ActionLogout)
			o.join("x")
			o.claim("anna/x")
			late := o.offers["anna/x"]
			o.pass(15)
			row.since(o)
			o.orders()
			want, why := row.ends, "granted"
			if want == "" {
				why = WhyLease
			} else if want == "nothing" {
				want = ""
			}
			for range 2 {
				if got := o.verdict(AppendConfirm(nil, late.ReservationID, late.Fence)); got != why {
					t.Fatalf("%s, want %s", got, why)
				}
				o.want(want)
				want = ""
			}
			if why != "granted" {
				return
			}
			if v, _ := o.d.Agent("anna"); v.State != StateInCall || v.EntryID != "x" {
				t.Fatalf("%+v", v)
			}
			if got := o.join("x"); got != "0" {
				t.Fatalf("asked how he stands while he talks: %s", got)
			}
			o.leave("x", LeftAnswered)
			if o.orders(); len(o.records) != 1 || o.records[0].Outcome != LeftAnswered || o.records[0].UserID != "anna" {
				t.Fatalf("%+v", o.records)
			}
		})
	}
}

// Proves that a caller who left gets nobody, and that whoever claims or confirms then is told so; that leaving twice changes
// nothing; and that one who left because his node failed is entered again in his place, others not.
func TestRejoin(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(TopDown)}, Agents: staff("q", "anna")})
	o.join("busy")
	o.talk("anna/busy")
	o.join("x")
	o.pass(10)
	o.join("y")
	if o.join("x") != "1" || o.join("y") != "2" {
		t.Fatal("positions")
	}
	o.leave("x", LeftFailed)
	before := o.d.AppendSnapshot(nil)
	o.leave("x", LeftAbandoned)
	if !bytes.Equal(before, o.d.AppendSnapshot(nil)) {
		t.Fatal("left twice")
	}
	o.pass(10)
	if got := o.join("x"); got != "1" {
		t.Fatalf("x comes back as %s", got)
	}
	o.leave("x", LeftAbandoned)
	if got := o.join("x"); got != "exit "+LeftAbandoned {
		t.Fatal(got)
	}
	o.leave("busy", LeftAnswered)
	o.want("anna rings for y")
	if got := o.join("y"); got != "anna" {
		t.Fatalf("asked again: %s", got)
	}
	o.claim("anna/y")
	o.leave("y", LeftAbandoned)
	o.want("anna stops for y: caller_gone")
	if o.confirm("anna/y") != WhyCallerGone || o.show("anna") != "available waiting ready" {
		t.Fatal("confirm")
	}
	if o.orders(); len(o.records) != 4 || o.records[0].Outcome != LeftFailed || o.records[1].EnqueuedMS != base || o.records[3].Short {
		t.Fatalf("%+v", o.records)
	}
}

// Proves that a leave that comes before its join is remembered, in snapshots too: the join then has its outcome instead of
// a place in which nobody waits; one whose node failed may come back; and that it is forgotten in time.
func TestLeave_BeforeTheJoin(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(TopDown)}, Agents: staff("q", "anna")})
	o.leave("", LeftAbandoned)
	for outcome, then := range map[string]string{LeftAbandoned: "exit abandoned", LeftOption: "exit option", LeftAnswered: "exit answered",
		ExitTimeout: "exit timeout", LeftFailed: "anna", "strange": "anna"} {
		o.leave(outcome, outcome)
		d, err := Restore(o.d.AppendSnapshot(nil))
		if err != nil {
			t.Fatal(err)
		}
		d.Resume(o.now)
		o.d = d
		before := d.AppendSnapshot(nil)
		if o.leave(outcome, LeftOption); !bytes.Equal(before, d.AppendSnapshot(nil)) {
			t.Fatal("left twice")
		}
		if got := o.join(outcome); got != then {
			t.Fatalf("%s: %s, want %s", outcome, got, then)
		}
		o.leave(outcome, LeftAbandoned)
		o.orders()
	}
	if len(o.records) != 2 {
		t.Fatalf("records of who never came: %+v", o.records)
	}
	o.leave("later", LeftAbandoned)
	if o.pass(400); len(o.d.pastEntries.known) > 0 {
		t.Fatalf("%d are not forgotten", len(o.d.pastEntries.known))
	}
	if got := o.join("later"); got != "anna" {
		t.Fatalf("long afterwards: %s", got)
	}
}

// Proves that an exit that is told again is another order: a node answers one that it has refused as it did before.
func TestExit_IsAnotherOrderEachTime(t *testing.T) {
	q := lineup(TopDown)
	q.ExitNoAgents = true
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
	o.agent("anna", ActionBreak)
	o.join("x")
	o.agent("anna", ActionLogout)
	o.pass(9)
	orders, seen := o.d.Orders(), map[string]bool{}
	for _, x := range orders {
		if x.Kind != OrderExit || seen[x.ID] {
			t.Fatalf("%+v", orders)
		}
		seen[x.ID] = true
	}
	if len(orders) != 5 {
		t.Fatalf("%d times", len(orders))
	}
}

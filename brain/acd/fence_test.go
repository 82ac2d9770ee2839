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
// confirms frees both and is no miss; a confirm that comes late is granted while both are free, and only then.
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
	o.leave("x", LeftAnswered)
	o.agent("anna", ActionAvailable)
	o.want("anna rings for y")
	o.claim("anna/y")
	late := o.offers["anna/y"]
	o.pass(15)
	o.want("anna stops for y: lease, anna rings for y")
	if got := o.verdict(AppendConfirm(nil, late.ReservationID, late.Fence)); got != WhyLease {
		t.Fatalf("a late confirm while she rings for him anew: %s", got)
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
	o.leave("nobody", LeftAbandoned)
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

package acd

import (
	"errors"
	"testing"
)

// Proves that a platform that fails each call to somebody does not call for ever: he rests longer and longer, up to the time
// between his tries, and after so many faults in a row he has left. A call that he does not take begins the count anew.
func TestCallback_FaultsAreBounded(t *testing.T) {
	const hours = 4 * 3600
	for name, row := range map[string]struct {
		fault  int // each so many-th call is a fault, 0 = none, the others he does not take
		tries  int
		orders int
	}{
		"all fail":         {fault: 1, tries: 2, orders: MostFaults},
		"every second one": {fault: 2, tries: 3, orders: 6},
		"none":             {tries: 2, orders: 2},
	} {
		o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
		o.agent("anna", ActionBreak)
		o.join("x")
		o.keep("x", func(c *Callback) { c.Tries, c.WindowMS = row.tries, hours*1000 })
		o.agent("anna", ActionAvailable)
		orders, last, rest := 0, int64(0), int64(0)
		for s := 0; s < hours && len(o.d.entries) > 0; s++ {
			o.pass(1)
			for _, x := range o.d.Orders() {
				if x.Kind != OrderCallback {
					continue
				}
				orders++
				rest, last = o.now-last, o.now
				cause := MissCaller
				if row.fault > 0 && orders%row.fault == 1%row.fault {
					cause = MissFailed
				}
				o.verdict(AppendMiss(nil, x.Offer.ReservationID, x.Offer.Fence, cause))
			}
		}
		if r := o.last(); orders != row.orders || r.Outcome != LeftCallbackFailed {
			t.Errorf("%s: %d orders, %+v", name, orders, r)
		}
		if rest > 61_000 || rest < 59_000 && row.fault != 2 {
			t.Errorf("%s: the last call came %d ms after the one before", name, rest)
		}
	}
}

// Proves that a call of which nobody said what became of it is a try, whether its lease ran out or its agent had gone; that
// what is heard of it later is no second one and lets him rest anew; and that it does not join then.
func TestCallback_NothingHeardIsATry(t *testing.T) {
	for _, agentGoes := range []bool{false, true} {
		o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
		o.agent("anna", ActionBreak)
		o.join("x")
		o.keep("x", func(c *Callback) { c.Tries = 3 })
		o.pass(5)
		o.agent("anna", ActionAvailable)
		calls := []Order{o.call("x")}
		hear := func(seconds float64) {
			t.Helper()
			o.pass(seconds)
			for _, x := range o.d.Orders() {
				if x.Kind == OrderCallback {
					calls = append(calls, x)
				}
			}
		}
		if agentGoes {
			o.agent("anna", ActionBreak)
			o.agent("anna", ActionAvailable)
		}
		if hear(55 + 59); len(calls) != 1 {
			t.Fatalf("agent goes %v: %d calls within the rest", agentGoes, len(calls))
		}
		late := AppendMiss(nil, calls[0].Offer.ReservationID, calls[0].Offer.Fence, MissCaller)
		if got := o.verdict(late); got != "granted" {
			t.Fatalf("agent goes %v: it was in vain: %s", agentGoes, got)
		}
		if got := o.back(calls[0]); got != "exit failed" {
			t.Fatalf("agent goes %v: it joins all the same: %s", agentGoes, got)
		}
		if hear(59); len(calls) != 1 {
			t.Fatalf("agent goes %v: he does not rest anew", agentGoes)
		}
		if hear(1 + 55 + 60 + 55); len(calls) != 3 || o.last().Outcome != LeftCallbackFailed {
			t.Fatalf("agent goes %v: %d calls, %+v", agentGoes, len(calls), o.records)
		}
	}
}

// Proves that a number has one place in a queue for which it is called, also after a restore; and another one as soon as that
// one is a caller's again, or over.
func TestCallback_OneForANumber(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle), {ID: "q2", Strategy: LongestIdle, RingMS: 20_000, MaxQueued: -1}}, Agents: staff("q", "anna")})
	o.agent("anna", ActionBreak)
	for _, id := range []string{"x", "y", "z"} {
		o.join(id)
	}
	o.join("w", func(j *Join) { j.QueueID = "q2" })
	same := func(c *Callback) { c.Number = "+49800" }
	if a, b, c, d, e := o.keep("x", same), o.keep("y", same), o.keep("z"), o.keep("x", same), o.keep("w", same); a != "granted" || b != WhyCallback || c != "granted" || d != "granted" || e != "granted" {
		t.Fatalf("the first %s, the same number %s, another %s, the first again %s, in another queue %s", a, b, c, d, e)
	}
	restored, err := Restore(o.d.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	restored.Resume(o.now)
	restored.entries["z"].callback.number = "+49800"
	if _, err := Restore(restored.AppendSnapshot(nil)); !errors.Is(err, errSnapshot) {
		t.Fatalf("a snapshot in which a number is called back for two: %v", err)
	}
	restored.entries["z"].callback.number = "+49z"
	o.d = restored
	if got := o.keep("y", same); got != WhyCallback {
		t.Fatalf("after a restore: %s", got)
	}
	o.pass(5)
	o.orders()
	o.agent("anna", ActionAvailable)
	x := o.call("x")
	o.agent("anna", ActionBreak)
	o.back(x)
	if got := o.keep("y", same); got != "granted" {
		t.Fatalf("the other one is a caller again: %s", got)
	}
	if got := o.keep("x", same, func(c *Callback) { c.Token = x.Token }); got != WhyCallback {
		t.Fatalf("he is called for y: %s", got)
	}
	o.leave("y", LeftAbandoned)
	if got := o.keep("x", same, func(c *Callback) { c.Token = x.Token }); got != "granted" {
		t.Fatalf("that one is over: %s", got)
	}
}

// Proves that the word of a call, which may come late, ends the place of that call alone: not one that is kept, nor that of
// the call which was made for him. The latter's own does, also when his queue is gone.
func TestLeave_OfOneCall(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	left := func(token string) bool {
		t.Helper()
		_, changed, err := o.d.Apply(o.now, AppendLeave(nil, "x", token, LeftFailed))
		if err != nil {
			t.Fatal(err)
		}
		books(t, o.d)
		if changed != (o.d.entries["x"] == nil) {
			t.Fatalf("left by %q: %v", token, changed)
		}
		return changed
	}
	o.agent("anna", ActionBreak)
	o.join("x")
	if left("strange") {
		t.Fatal("a strange call")
	}
	o.keep("x", func(c *Callback) { c.DelayMS = 0 })
	if left("tx") {
		t.Fatal("he has hung up and keeps it")
	}
	o.agent("anna", ActionAvailable)
	x := o.call("x")
	if left("tx") || left(x.Token) {
		t.Fatal("he is called")
	}
	o.back(x)
	if left("tx") {
		t.Fatal("it is the new call's")
	}
	o.apply(AppendSetup(nil, &Setup{Version: 2, Agents: staff("q", "anna")}))
	if !left(x.Token) || len(o.d.queues) != 0 {
		t.Fatal("the new call is gone, as is its queue")
	}
}

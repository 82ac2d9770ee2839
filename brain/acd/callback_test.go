package acd

import (
	"errors"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/pack"
)

// callback has somebody hang up and keep his place, or tells what became of a call that was made to one.
func (s *story) callback() act {
	if len(s.entries) == 0 {
		return s.join()
	}
	if len(s.calls) == 0 || s.rng.IntN(3) == 0 {
		id := s.entries[len(s.entries)-1-s.rng.IntN(min(6, len(s.entries)))]
		return s.op(AppendCallback(nil, &Callback{EntryID: id, Token: s.pick("", "t", "strange"), Number: "7", Tries: 1 + s.rng.IntN(3), DelayMS: s.rng.Int64N(3000),
			RetryMS: s.rng.Int64N(5000), WindowMS: 1 + s.rng.Int64N(120_000)}))
	}
	o := s.calls[len(s.calls)-1-s.rng.IntN(min(4, len(s.calls)))]
	if s.rng.IntN(20) == 0 {
		o.Offer.Fence++
	}
	if s.rng.IntN(2) == 0 {
		return s.op(AppendMiss(nil, o.Offer.ReservationID, o.Offer.Fence, s.pick(MissCaller, MissCaller, MissFailed, MissBusy)))
	}
	return s.op(AppendJoin(nil, &Join{EntryID: o.EntryID, Token: o.Token, CallID: "back", Node: "n", QueueID: o.QueueID, CallbackFence: o.Offer.Fence}, s.version))
}

// call is the last order to call somebody back.
func (o *office) call(id string) (last Order) {
	o.t.Helper()
	orders := o.d.Orders()
	for _, x := range orders {
		if x.Kind == OrderCallback && x.EntryID == id {
			last = x
		}
	}
	if last.EntryID == "" {
		o.t.Fatalf("%s is not called: %+v", id, orders)
	}
	return last
}

func (o *office) keep(id string, more ...func(*Callback)) string {
	o.t.Helper()
	c := &Callback{EntryID: id, Token: "t" + id, Number: "+49" + id, Tries: 2, DelayMS: 3000, RetryMS: 60_000, WindowMS: 600_000}
	for _, m := range more {
		m(c)
	}
	return o.verdict(AppendCallback(nil, c))
}

// back has the call of an order join.
func (o *office) back(x Order) string {
	o.t.Helper()
	return o.join(x.EntryID, func(j *Join) { j.Token, j.CallID, j.Node, j.CallbackFence = x.Token, "back", "n2", x.Offer.Fence })
}

// Proves what an order to call somebody says: the number, the call to be made, the node of the first call, until when, and
// that another brain gives the same one again only as long as it is of use.
func TestCallback_Order(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	o.agent("anna", ActionBreak)
	o.join("x", func(j *Join) { j.CallerName, j.Label = "Xaver", "VIP" })
	o.keep("x")
	o.pass(10)
	o.agent("anna", ActionAvailable)
	x := o.call("x")
	want := Order{ID: "callback-" + x.Offer.ReservationID, Kind: OrderCallback, EntryID: "x", Token: "cb" + x.Offer.ReservationID, Node: "n1", QueueID: "q", Offer: x.Offer,
		UntilMS: o.now + CallbackMS, CallerNumber: "+49x", CallerName: "Xaver", Label: "VIP"}
	if x != want || x.Offer.UserID != "anna" || x.Offer.UntilMS != o.now+CallbackMS+AcceptMS+GraceMS {
		t.Fatalf("%+v\nwant\n%+v", x, want)
	}
	for _, row := range []struct {
		laterMS int64
		orders  int
	}{{0, 1}, {CallbackMS - 1, 1}, {CallbackMS, 0}} {
		d, err := Restore(o.d.AppendSnapshot(nil))
		if err != nil {
			t.Fatal(err)
		}
		d.Resume(o.now + row.laterMS)
		if got := d.Orders(); len(got) != row.orders || row.orders == 1 && (got[0].ID != x.ID || got[0].Token != x.Token || got[0].UntilMS != x.UntilMS || got[0].CallerNumber != x.CallerNumber) {
			t.Errorf("%d ms later: %+v", row.laterMS, got)
		}
	}
}

// Proves who may keep his place: whoever waits, is rung for, or was just told to leave; not who has an agent, or is gone. The
// same again changes nothing, nor does that of a call that has the place no more.
func TestCallback_WhoMayKeepHisPlace(t *testing.T) {
	q := lineup(LongestIdle)
	q.MaxWaitMS = 30_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna", "ben")})
	o.join("rings")
	o.join("talks")
	o.join("waits")
	o.claim("ben/talks")
	if got := o.keep("talks"); got != WhyLost {
		t.Errorf("with an agent who has answered: %s", got)
	}
	o.confirm("ben/talks")
	if a, b, c := o.keep("talks"), o.keep("nobody"), o.keep("waits"); a != WhyLost || b != WhyUnknown || c != "granted" {
		t.Errorf("who talks %s, nobody %s, who waits %s", a, b, c)
	}
	o.orders()
	o.agent("anna", ActionBreak)
	if got := o.keep("rings"); got != "granted" {
		t.Errorf("who is rung for: %s", got)
	}
	o.want("anna stops for rings: caller_gone")
	for range 2 {
		if _, changed, _ := o.d.Apply(o.now, AppendCallback(nil, &Callback{EntryID: "rings", Token: "trings", Number: "9", Tries: 9})); changed {
			t.Error("the same again changes something")
		}
	}
	o.pass(1)
	o.join("late")
	o.pass(30)
	o.want("late exits: timeout")
	if got := o.keep("late"); got != "granted" {
		t.Errorf("who was told to leave: %s", got)
	}
	o.pass(10)
	o.want("")
	o.agent("anna", ActionAvailable)
	x := o.call("rings")
	if got := o.back(x); got != "anna" {
		t.Fatalf("the call joins: %s", got)
	}
	if got := o.keep("rings"); got != "granted" || o.show("anna") != "available offering ring" {
		t.Errorf("what the first call asked, late: %s", got)
	}
	if got := o.keep("rings", func(c *Callback) { c.Token = x.Token }); got != "granted" {
		t.Errorf("he hangs up once more: %s", got)
	}
	o.want("anna stops for rings: caller_gone, callback")
}

// Proves that only the call that was made last joins, that it may as long as nobody said it was in vain, also after its
// time while no other one is made, and that the same join again is told the same.
func TestCallback_OnlyTheLastCallJoins(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	o.join("x")
	o.keep("x", func(c *Callback) { c.Tries = 3 })
	o.pass(5)
	first := o.call("x")
	if a, b := o.verdict(AppendClaim(nil, first.Offer.ReservationID, first.Offer.Fence)), o.verdict(AppendConfirm(nil, first.Offer.ReservationID, first.Offer.Fence)); a != WhyUnknown || b != WhyUnknown {
		t.Fatalf("nobody rings, and a claim is %s, a confirm %s", a, b)
	}
	if got := o.join("x"); got != "1" {
		t.Fatalf("the first call asks again: %s", got)
	}
	if got := o.verdict(AppendMiss(nil, first.Offer.ReservationID, first.Offer.Fence, MissCaller)); got != "granted" {
		t.Fatal(got)
	}
	if got := o.back(first); got != "exit failed" {
		t.Fatalf("a call that was in vain joins: %s", got)
	}
	o.agent("anna", ActionBreak)
	o.pass(60)
	o.agent("anna", ActionAvailable)
	second := o.call("x")
	if got := o.back(first); got != "exit failed" {
		t.Fatalf("an old call joins: %s", got)
	}
	o.agent("anna", ActionBreak)
	o.pass(55) // the lease
	if v, _ := o.d.Agent("anna"); v.State != StateWaiting {
		t.Fatalf("%+v", v)
	}
	if got := o.back(second); got != "1" {
		t.Fatalf("a call that comes late, and no other was made: %s", got)
	}
	o.agent("anna", ActionAvailable)
	o.want("anna rings for x")
	if got := o.back(second); got != "anna" {
		t.Fatalf("once more: %s", got)
	}
	if a, b := o.join("x"), o.verdict(AppendMiss(nil, second.Offer.ReservationID, second.Offer.Fence, MissCaller)); a != "exit failed" || b != WhyLease {
		t.Fatalf("the first call asks: %s; he has taken the call, and has not: %s", a, b)
	}
	o.talk("anna/x")
	o.leave("x", LeftAnswered)
	if r := o.last(); !r.Callback || r.Outcome != LeftAnswered || r.Token != second.Token || r.CallID != "back" || r.UserID != "anna" {
		t.Fatalf("%+v", r)
	}
}

func (o *office) last() Record {
	o.t.Helper()
	o.orders()
	if len(o.records) == 0 {
		o.t.Fatal("no record")
	}
	return o.records[len(o.records)-1]
}

// Proves that a confirm that comes late does not connect an agent with somebody who has hung up since, nor with the call
// that was made to him later.
func TestCallback_IsNotRevived(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	o.join("x")
	old := o.offers["anna/x"]
	confirm := AppendConfirm(nil, old.ReservationID, old.Fence)
	o.claim("anna/x")
	o.agent("anna", ActionBreak)
	o.pass(15)
	o.keep("x")
	if got := o.verdict(confirm); got != WhyLease {
		t.Fatalf("he has hung up: %s", got)
	}
	o.pass(5)
	o.orders()
	o.agent("anna", ActionAvailable)
	x := o.call("x")
	o.agent("anna", ActionBreak)
	o.back(x)
	o.agent("anna", ActionLogout)
	if got := o.verdict(confirm); got != WhyLease {
		t.Fatalf("he is another call by now: %s", got)
	}
}

// Proves that who was called back and finds no agent waits as long as the queue lets callers wait, from then on; and that he
// hears his place.
func TestCallback_PatienceBeginsAnew(t *testing.T) {
	q := lineup(LongestIdle)
	q.MaxWaitMS, q.Announce, q.AnnounceFirstMS = 40_000, true, 10_000
	o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
	o.agent("anna", ActionBreak)
	o.join("x")
	o.keep("x")
	o.pass(100)
	o.want("")
	o.agent("anna", ActionAvailable)
	x := o.call("x")
	o.agent("anna", ActionLogout)
	o.pass(20)
	if got := o.back(x); got != "1" {
		t.Fatalf("%s", got)
	}
	o.pass(39)
	o.want("x is 1")
	o.pass(1)
	o.want("x exits: timeout")
	o.leave("x", ExitTimeout)
	if r := o.last(); !r.Callback || r.EndMS-r.EnqueuedMS != 160_000 {
		t.Fatalf("%+v", r)
	}
}

// Proves that somebody who has hung up does not wait for a queue that is gone: his place is over when no call to him is
// under way, or when that is over.
func TestCallback_OfAQueueThatIsGone(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	o.join("called")
	o.join("waits")
	o.keep("called", func(c *Callback) { c.DelayMS = 0 })
	o.keep("waits")
	x := o.call("called")
	o.apply(AppendSetup(nil, &Setup{Version: 2, Agents: staff("q", "anna")}))
	if r := o.last(); len(o.records) != 1 || r.EntryID != "waits" || r.Outcome != LeftFailed {
		t.Fatalf("%+v", o.records)
	}
	if got := o.verdict(AppendMiss(nil, x.Offer.ReservationID, x.Offer.Fence, MissCaller)); got != "granted" {
		t.Fatal(got)
	}
	if r := o.last(); len(o.records) != 2 || r.EntryID != "called" || r.Outcome != LeftFailed || len(o.d.queues) != 0 {
		t.Fatalf("%+v, %d queues", o.records, len(o.d.queues))
	}
	if got := o.back(x); got != "exit failed" {
		t.Fatalf("it is over, and joins: %s", got)
	}
}

// Proves what the list of a queue shows of somebody who has hung up, and how figures count him.
func TestCallback_ShownAndCounted(t *testing.T) {
	o := open(t, &Setup{Queues: []Queue{lineup(LongestIdle)}, Agents: staff("q", "anna")})
	o.join("x")
	o.keep("x", func(c *Callback) { c.Tries = 1 })
	o.join("y")
	shown := func() string {
		var out []string
		for _, c := range o.d.Queues(o.now, 0, 0, true)[0].Entries {
			out = append(out, strings.Join([]string{c.EntryID, c.State, c.UserID, map[bool]string{true: "callback"}[c.Callback]}, " "))
		}
		return strings.Join(out, ", ")
	}
	if got := shown(); got != "x waiting  callback, y offering anna " {
		t.Fatal(got)
	}
	o.pass(5)
	o.talk("anna/y")
	o.leave("y", LeftAnswered)
	if got := shown(); got != "x calling anna callback" {
		t.Fatal(got)
	}
	x := o.call("x")
	o.verdict(AppendMiss(nil, x.Offer.ReservationID, x.Offer.Fence, MissCaller))
	f, a := o.d.Queues(o.now, 0, 0, false)[0].Figures, o.d.Agents(o.now, 0, 0)[0].Figures
	if f.Offered != 2 || f.Answered != 1 || f.CallbackFailed != 1 || f.Abandoned != 0 || a.Offered != 2 || a.Missed != 0 || o.show("anna") != "available waiting ready" {
		t.Fatalf("%+v %+v", f, a)
	}
}

// Proves that a callback without a number, or out of its bounds, is refused and that spans of time are cut to what is real.
func TestCallback_Bounds(t *testing.T) {
	for _, c := range []Callback{{EntryID: "e", Tries: 1}, {EntryID: "e", Number: strings.Repeat("1", 65), Tries: 1}, {EntryID: "e", Number: "1"},
		{EntryID: "e", Number: "1", Tries: 11}, {EntryID: "e", Number: "1\xff", Tries: 1}, {EntryID: strings.Repeat("e", 1025), Number: "1", Tries: 1},
		{EntryID: "e", Token: strings.Repeat("t", 1025), Number: "1", Tries: 1}} {
		if _, _, err := New().Apply(base, AppendCallback(nil, &c)); !errors.Is(err, errOp) || !errors.Is(err, pack.ErrRange) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	o, err := Describe(AppendCallback(nil, &Callback{EntryID: "e", Number: "1", Tries: 10, DelayMS: -1, RetryMS: 1 << 60, WindowMS: 1 << 62}))
	if err != nil || o.Callback.DelayMS != 0 || o.Callback.RetryMS != maxSpanMS || o.Callback.WindowMS != maxSpanMS {
		t.Errorf("%+v %v", o, err)
	}
}

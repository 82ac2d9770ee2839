package acd

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// base is the time at which the tests begin, epoch milliseconds, at the beginning of a quarter hour.
const base = int64(1_800_000_000_000) - 1_800_000_000_000%IntervalMS

// office is a desk as the tests speak to it. It notes what comes out, times in seconds since base.
type office struct {
	t       testing.TB
	d       *Desk
	now     int64
	quick   bool             // books are not held after each step
	offers  map[string]Offer // live ones, by "agent/entry"
	records []Record
	changes []Change
}

// open makes an office with a setup. Agents are signed in and available if their setup says so.
func open(t testing.TB, s *Setup) *office {
	o := &office{t: t, d: New(), now: base, offers: map[string]Offer{}}
	s.Version = 1
	for i := range s.Agents {
		o.d.Signal(o.now, s.Agents[i].UserID, true, 0)
	}
	o.apply(AppendSetup(nil, s))
	for i := range s.Agents {
		if s.Agents[i].AutoReady {
			o.agent(s.Agents[i].UserID, ActionLogin)
		}
	}
	o.orders()
	return o
}

// staff makes agents who serve one queue in tier 1 at positions from 1.
func staff(queue string, ids ...string) []Agent {
	var out []Agent
	for i, id := range ids {
		out = append(out, Agent{UserID: id, AutoReady: true, AutoQueueLogin: true,
			Memberships: []Membership{{QueueID: queue, Tier: 1, Position: i + 1, Mode: ModeStatic}}})
	}
	return out
}

// lineup is a queue with usual values.
func lineup(strategy string) Queue {
	return Queue{ID: "q", Name: "Sales", Strategy: strategy, RingMS: 20_000, MaxQueued: -1, EWTAHTMS: 240_000, ServiceLevelMS: 20_000}
}

func (o *office) apply(op []byte) []byte {
	o.t.Helper()
	reply, _, err := o.d.Apply(o.now, op)
	if err != nil {
		o.t.Fatal(err)
	}
	if !o.quick {
		books(o.t, o.d)
	}
	return reply
}

// orders gives what was ordered, in words, and keeps the offers.
func (o *office) orders() string {
	var out []string
	for _, x := range o.d.Orders() {
		what := x.Kind
		switch x.Kind {
		case OrderDispatch:
			what = x.Offer.UserID + " rings for " + x.EntryID
			o.offers[x.Offer.UserID+"/"+x.EntryID] = x.Offer
		case OrderRescind:
			what = x.Offer.UserID + " stops for " + x.EntryID + ": " + x.Why
		case OrderPosition:
			what = fmt.Sprintf("%s is %d", x.EntryID, x.Position)
			if x.EWTMS >= 0 {
				what += fmt.Sprintf(" for %d s", x.EWTMS/1000)
			}
		case OrderExit:
			what = x.EntryID + " exits: " + x.Outcome
		}
		out = append(out, what)
	}
	o.records = append(o.records, o.d.Records()...)
	o.changes = append(o.changes, o.d.Changes()...)
	return strings.Join(out, ", ")
}

// want compares what was ordered since the last look.
func (o *office) want(what string) {
	o.t.Helper()
	if got := o.orders(); got != what {
		o.t.Fatalf("after %d s: ordered %q, want %q", (o.now-base)/1000, got, what)
	}
}

// join joins queue q with what else is said, and gives how the entry stands: "anna+ben", "2", or "exit queue_full".
func (o *office) join(id string, more ...func(*Join)) string {
	o.t.Helper()
	j := &Join{EntryID: id, Token: "t" + id, CallID: "c" + id, Node: "n1", QueueID: "q", CallerNumber: "+49" + id}
	for _, m := range more {
		m(j)
	}
	got, stale, err := ReadJoined(o.apply(AppendJoin(nil, j, 1)))
	if err != nil || stale {
		o.t.Fatal(err, stale)
	}
	if got.Outcome != "" {
		return "exit " + got.Outcome
	}
	var who []string
	for _, x := range got.Offers {
		who = append(who, x.UserID)
		o.offers[x.UserID+"/"+id] = x
	}
	if len(who) == 0 {
		return fmt.Sprint(got.Position)
	}
	return strings.Join(who, "+")
}

func (o *office) agent(id, action string, more ...string) string {
	o.t.Helper()
	a := &AgentOp{UserID: id, Action: action}
	for _, m := range more {
		a.QueueID, a.Reason = m, m
	}
	why, stale, err := ReadAgent(o.apply(AppendAgent(nil, a, 1)))
	if err != nil || stale {
		o.t.Fatal(err, stale)
	}
	return why
}

func (o *office) verdict(op []byte) string {
	o.t.Helper()
	v, err := ReadVerdict(o.apply(op))
	if err != nil || v.Granted != (v.Why == "") {
		o.t.Fatalf("%v %+v", err, v)
	}
	if v.Granted {
		return "granted"
	}
	return v.Why
}

// claim, confirm and miss speak of the last offer of "agent/entry".
func (o *office) claim(who string) string {
	o.t.Helper()
	return o.verdict(AppendClaim(nil, o.offers[who].ReservationID, o.offers[who].Fence))
}

func (o *office) confirm(who string) string {
	o.t.Helper()
	return o.verdict(AppendConfirm(nil, o.offers[who].ReservationID, o.offers[who].Fence))
}

func (o *office) miss(who, cause string) string {
	o.t.Helper()
	return o.verdict(AppendMiss(nil, o.offers[who].ReservationID, o.offers[who].Fence, cause))
}

func (o *office) talk(who string) {
	o.t.Helper()
	if c, f := o.claim(who), o.confirm(who); c != "granted" || f != "granted" {
		o.t.Fatalf("%s: claim %s, confirm %s", who, c, f)
	}
}

func (o *office) leave(id, outcome string) {
	o.t.Helper()
	o.apply(AppendLeave(nil, id, "", outcome))
}

func (o *office) signal(id string, reachable bool, calls int) {
	o.t.Helper()
	o.d.Signal(o.now, id, reachable, calls)
	books(o.t, o.d)
}

// pass lets seconds pass, with everything that is due at its time.
func (o *office) pass(seconds float64) {
	o.t.Helper()
	end := o.now + int64(seconds*1000)
	for {
		at, ok := o.d.Deadline()
		if !ok || at > end {
			break
		}
		o.now = max(o.now, at)
		o.d.Expire(o.now, o.d.Lapsed(o.now, 100))
		books(o.t, o.d)
		if next, ok := o.d.Deadline(); ok && next <= at {
			o.t.Fatalf("at %d the deadline stays", at)
		}
	}
	o.now = end
}

// show gives an agent as "status state bucket".
func (o *office) show(id string) string {
	v, ok := o.d.Agent(id)
	if !ok {
		return "none"
	}
	return v.Status + " " + v.State + " " + v.Bucket
}

// books holds a desk to what it says of itself: what is found again from its snapshot is what it has, and no caller
// waits for whom an agent waits.
func books(t testing.TB, d *Desk) {
	t.Helper()
	data := d.AppendSnapshot(nil)
	r, err := Restore(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.AppendSnapshot(nil), data) {
		t.Fatal("restored, it writes another snapshot")
	}
	if a, b := inside(d), inside(r); a != b {
		t.Fatalf("found again:\n%s\nit had:\n%s", b, a)
	}
	for _, e := range d.entries {
		n := 1
		for _, o := range d.entries {
			if o.queue == e.queue && o.place.in && ahead(o, e, d.clockMS) {
				n++
			}
		}
		if got := e.queue.position(e, d.clockMS); got != n {
			t.Fatalf("%s is told position %d, there are %d before it", e.id, got, n-1)
		}
		if e.class != nil {
			if m, _ := d.bestAgent(e); m != nil {
				t.Fatalf("%s waits, and so does %s", e.id, m.agent.id)
			}
		}
	}
	for _, a := range d.agents {
		if e, _ := d.bestEntry(a); a.ready && e != nil {
			t.Fatalf("%s waits, and so does %s", a.id, e.id)
		}
		if a.ready != a.waits() || a.touched {
			t.Fatalf("%s: ready %v", a.id, a.ready)
		}
	}
	if len(d.opened)+len(d.freed)+len(d.shaken)+len(d.touched)+len(d.speak) > 0 || d.joining != nil {
		t.Fatal("a change is still under way")
	}
	heaps(t, d)
}

func heaps(t testing.TB, d *Desk) {
	t.Helper()
	for _, h := range []alarms{d.alarms, d.leases} {
		for i, a := range h {
			if a.place != i+1 || i > 0 && a.before(h[(i-1)/2]) {
				t.Fatalf("heap out of order at %d", i)
			}
		}
	}
}

// inside writes down what is found again.
func inside(d *Desk) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(d.queues)) {
		q := d.queues[id]
		fmt.Fprintln(&b, id, q.present, q.staffed, q.waiting, q.served, q.entries)
		for _, t := range q.tiers {
			fmt.Fprintln(&b, " tier", t.level, t.present, listed(&t.ready, func(m *member) string { return fmt.Sprint(m.agent.id, m.key) }))
		}
		for _, c := range q.classes {
			fmt.Fprintln(&b, " class", c.kind, c.skills, listed(&c.tree, func(e *entry) string { return e.id }))
		}
		for _, l := range q.lines {
			if l.len() > 0 {
				fmt.Fprintln(&b, " line", l.priority, listed(&l.tree, func(e *entry) string { return e.id }))
			}
		}
	}
	list := slices.Clone(d.alarms)
	slices.SortFunc(list, func(a, b *alarm) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for _, a := range list {
		if a.agent != nil {
			fmt.Fprintln(&b, "alarm", a.atMS, a.agent.id)
		} else {
			fmt.Fprintln(&b, "alarm", a.atMS, a.entry.id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.agents)) {
		a := d.agents[id]
		fmt.Fprintln(&b, id, a.shown, a.spell, a.ready)
	}
	fmt.Fprintln(&b, len(d.pastEntries.known), len(d.pastReservations.known), len(d.leases))
	return b.String()
}

func listed[T any](t *tree[T], name func(T) string) []string {
	var out []string
	t.each(func(x T) bool {
		out = append(out, name(x))
		return true
	})
	if len(out) != t.len() {
		panic("a tree counts wrong")
	}
	return out
}

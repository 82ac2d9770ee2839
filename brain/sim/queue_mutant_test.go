package sim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/acd"
)

// Proves that the simulator of queues sees faults planted into the production code, one place each, by playing 200
// seeds of each.
func TestMutantQueues_PlantedInTheProductionCode(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator anew for each mutant")
	}
	for _, mutant := range []struct{ name, file, from, to string }{
		{"a claim of any fence is granted", "reservation.go", "	case n != fence:\n		return nil, nil, WhyFence\n", ""},
		{"a fence is given twice", "desk.go", "max(d.fence+1, d.nowMS<<8)", "max(d.fence, d.nowMS<<8)"},
		{"a lease that ran out frees nobody", "expire.go", "for _, id := range lapsed {", "for _, id := range lapsed[:0] {"},
		{"an agent who missed is not skipped", "entry.go", "e.skipped = append(e.skipped, a.id)", "_ = append(e.skipped, a.id)"},
		{"every tier is open", "queue.go", "if level = t.level; stage <= 1 {", "if level = t.level; false {"},
		{"an agent looks at no tier", "match.go", "if best != nil && m.Tier > by.Tier {", "if best != nil && m.Tier < 0 {"},
		{"who only rang wraps up", "leave.go", "		if talk {\n			d.hungUp(", "		if talk || true {\n			d.hungUp("},
		{"a failed dispatch costs the place", "reservation.go", "	default:\n		d.hold(e)\n", "	default:\n		e.sinceMS = d.nowMS\n		d.hold(e)\n"},
		{"a claim takes nobody else away", "reservation.go", "	d.outbid(e, r)\n", ""},
		{"a late confirm is granted to whom it likes", "reservation.go", "e.taken() || a.taken()", "a.taken()"},
		{"a late confirm is granted by whom it likes", "reservation.go", "e.taken() || a.taken()", "e.taken()"},
		{"a late confirm is granted to those who wait alone", "reservation.go", "e.taken() || a.taken()", "e.state != entryWaiting || a.state != StateWaiting"},
		{"who talks is rung for others", "reservation.go", "	d.outbid(e, nil)\n	d.withdraw(a)\n", "	d.outbid(e, nil)\n	if a.reservation != nil {\n		d.release(a.reservation, WhyAgentGone)\n	}\n"},
		{"who leaves before joining has a place", "leave.go", "return d.leftBefore(entryID, outcome)", "return false"},
		{"a talk does not end the misses", "reservation.go", "a.state, a.misses = StateInCall, 0", "a.state = StateInCall"},
		{"a place is told again and again", "expire.go", "n != e.spoken {", "n > 0 {"},
		{"an agent whose telephone is gone rings on", "agent.go", "	if !reachable || calls > 0 {", "	if calls > 0 {"},
		{"a break does not end being staff", "agent.go", "m.signed && m.agent.status == StatusAvailable", "m.signed && m.agent.status != StatusOffline"},
		{"a snapshot forgets who was skipped", "snapshot.go", "	for _, id := range e.skipped {\n", "	for _, id := range make([]string, len(e.skipped)) {\n"},
		{"tries of a callback are not counted", "callback.go", "		c.tried++\n", ""},
		{"faults of the platform are not counted", "callback.go", "		c.faults++\n", ""},
		{"tries do not end the faults in a row", "callback.go", "		c.faults = 0\n", ""},
		{"a call of which nothing is heard is no try", "expire.go", "		d.part(r, WhyLease)\n		d.unanswered(r.entry, MissCaller)\n", "		d.part(r, WhyLease)\n		d.unanswered(r.entry, MissFailed)\n"},
		{"the late word of a call ends a place that is kept", "leave.go", "e.callback != nil || e.token != token", "e.token != token"},
		{"the late word of a call ends another call's place", "leave.go", "e.callback != nil || e.token != token", "e.callback != nil"},
		{"a number is called back for many places", "callback.go", "	case d.backs[backKey{e.queue.ID, c.Number}] != nil:\n", "	case false:\n"},
		{"a number is called back no more", "callback.go", "	d.unback(e)\n", ""},
		{"an agent is not freed when a callback is not taken", "reservation.go", "		d.part(r, WhyLease).missed = true\n		r.entry.called = 0\n", "		r.entry.called = 0\n"},
		{"the call of an old fence joins", "callback.go", "case e.callback == nil || !his:", "case e.callback == nil:"},
		{"who is called is called again when the agent goes", "agent.go", "		d.part(r, WhyAgentGone)\n		d.wake(r.entry)\n", "		d.part(r, WhyAgentGone)\n		d.unanswered(r.entry, MissFailed)\n"},
		{"why a call was in vain is not heard after its agent went", "callback.go", "e.called != p.fence {", "e.called != p.fence || true {"},
		{"somebody is called before his line is free", "callback.go", "d.rest(e, c.DelayMS)", "d.rest(e, 0)"},
		{"all agents are kept for one callback", "match.go", "e.queue.Strategy == RingAll && e.callback == nil", "e.queue.Strategy == RingAll"},
		{"a snapshot forgets who is called", "snapshot.go", "pack.AppendInt(b, e.called)", "pack.AppendInt(b, 0)"},
		{"who moves up stands behind", "move.go", "	if to < from {\n", "	if false {\n"},
		{"those of one rank are not numbered", "move.go", "		o.rank.order = int64(i + 1)\n", "		_, _ = i, o\n"},
		{"a snapshot forgets who was moved", "snapshot.go", "appendRank(pack.AppendInt(b, e.called), e.rank, e.moved())", "appendRank(pack.AppendInt(b, e.called), e.rank, false)"},
		{"who was moved and comes back stands where he was", "entry.go", "	if past != nil && past.moved {\n", "	if false {\n"},
		{"who is sent elsewhere is rung for", "move.go", "	d.callOff(e)\n	d.exit(e, LeftSent)\n", "	d.exit(e, LeftSent)\n"},
		{"two records of one entry", "leave.go", "	d.record(r)\n", "	d.record(r)\n	d.record(r)\n"},
	} {
		t.Run(mutant.name, func(t *testing.T) {
			out := playMutant(t, "TestSimQueues", "../acd/"+mutant.file, mutant.from, mutant.to)
			at := strings.Index(out, "seed ")
			if at < 0 {
				t.Fatalf("no seed of 200 finds it:\n%s", out)
			}
			t.Log(strings.SplitN(out[at:], "\n", 2)[0])
		})
	}
}

// deaf never hears that a lease has run out, loud gives each order twice.
type (
	deaf struct{ Desk }
	loud struct{ Desk }
)

func (d deaf) Lapsed(int64, int) []string { return nil }

func (d loud) Orders() []acd.Order {
	orders := d.Desk.Orders()
	return append(orders, orders...)
}

// Proves that what goes wrong around a desk is seen as well, and that a run is a function of its seed: both runs of
// a broken world find the same fault at the same step.
func TestMutantQueues_AroundTheDesk(t *testing.T) {
	for name, wrap := range map[string]func(Desk) Desk{
		"leases never lapse": func(d Desk) Desk { return deaf{d} },
		"orders come twice":  func(d Desk) Desk { return loud{d} },
	} {
		t.Run(name, func(t *testing.T) {
			found := 0
			for seed := range uint64(20) {
				_, first := RunQueues(seed, QueueOptions{Wrap: wrap})
				_, second := RunQueues(seed, QueueOptions{Wrap: wrap})
				if fmt.Sprint(first) != fmt.Sprint(second) {
					t.Fatalf("%v, then %v", first, second)
				}
				if first != nil {
					found++
				}
			}
			if found < 15 {
				t.Fatalf("%d seeds of 20 find it", found)
			}
		})
	}
}

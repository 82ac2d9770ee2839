package sim

import (
	"fmt"
	"testing"

	"github.com/sipio/sipio/brain/acd"
)

// Faults that TestSimQueues finds.
var queueFaults = []fault{
	{"a claim of any fence is granted", "acd/reservation.go", "	case n != fence:\n		return nil, nil, WhyFence\n", ""},
	{"a fence is given twice", "acd/desk.go", "max(d.fence+1, d.nowMS<<8)", "max(d.fence, d.nowMS<<8)"},
	{"a lease that ran out frees nobody", "acd/expire.go", "for _, id := range lapsed {", "for _, id := range lapsed[:0] {"},
	{"an agent who missed is not skipped", "acd/entry.go", "e.skipped = append(e.skipped, a.id)", "_ = append(e.skipped, a.id)"},
	{"every tier is open", "acd/queue.go", "if level = t.level; stage <= 1 {", "if level = t.level; false {"},
	{"an agent looks at no tier", "acd/match.go", "if best != nil && m.Tier > by.Tier {", "if best != nil && m.Tier < 0 {"},
	{"who only rang wraps up", "acd/leave.go", "		if talk {\n			d.hungUp(", "		if talk || true {\n			d.hungUp("},
	{"a failed dispatch costs the place", "acd/reservation.go", "	default:\n		d.hold(e)\n", "	default:\n		e.sinceMS = d.nowMS\n		d.hold(e)\n"},
	{"a claim takes nobody else away", "acd/reservation.go", "	d.outbid(e, r)\n", ""},
	{"a late confirm is granted to whom it likes", "acd/reservation.go", "e.taken() || a.taken()", "a.taken()"},
	{"a late confirm is granted by whom it likes", "acd/reservation.go", "e.taken() || a.taken()", "e.taken()"},
	{"a late confirm is granted to those who wait alone", "acd/reservation.go", "e.taken() || a.taken()", "e.state != entryWaiting || a.state != StateWaiting"},
	{"who talks is rung for others", "acd/reservation.go", "	d.outbid(e, nil)\n	d.withdraw(a)\n", "	d.outbid(e, nil)\n	if a.reservation != nil {\n		d.release(a.reservation, WhyAgentGone)\n	}\n"},
	{"who leaves before joining has a place", "acd/leave.go", "return d.leftBefore(entryID, outcome)", "return false"},
	{"a talk does not end the misses", "acd/reservation.go", "a.state, a.misses = StateInCall, 0", "a.state = StateInCall"},
	{"a place is told again and again", "acd/expire.go", "n != e.spoken {", "n > 0 {"},
	{"an agent whose telephone is gone rings on", "acd/agent.go", "	if !reachable || calls > 0 {", "	if calls > 0 {"},
	{"a break does not end being staff", "acd/agent.go", "m.signed && m.agent.status == StatusAvailable", "m.signed && m.agent.status != StatusOffline"},
	{"a snapshot forgets who was skipped", "acd/snapshot.go", "	for _, id := range e.skipped {\n", "	for _, id := range make([]string, len(e.skipped)) {\n"},
	{"tries of a callback are not counted", "acd/callback.go", "		c.tried++\n", ""},
	{"faults of the platform are not counted", "acd/callback.go", "		c.faults++\n", ""},
	{"tries do not end the faults in a row", "acd/callback.go", "		c.faults = 0\n", ""},
	{"a call of which nothing is heard is no try", "acd/expire.go", "		d.part(r, WhyLease)\n		d.unanswered(r.entry, MissCaller)\n", "		d.part(r, WhyLease)\n		d.unanswered(r.entry, MissFailed)\n"},
	{"the late word of a call ends a place that is kept", "acd/leave.go", "e.callback != nil || e.token != token", "e.token != token"},
	{"the late word of a call ends another call's place", "acd/leave.go", "e.callback != nil || e.token != token", "e.callback != nil"},
	{"a number is called back for many places", "acd/callback.go", "	case d.backs[backKey{e.queue.ID, c.Number}] != nil:\n", "	case false:\n"},
	{"a number is called back no more", "acd/callback.go", "	d.unback(e)\n", ""},
	{"an agent is not freed when a callback is not taken", "acd/reservation.go", "		d.part(r, WhyLease).missed = true\n		r.entry.called = 0\n", "		r.entry.called = 0\n"},
	{"the call of an old fence joins", "acd/callback.go", "case e.callback == nil || !his:", "case e.callback == nil:"},
	{"who is called is called again when the agent goes", "acd/agent.go", "		d.part(r, WhyAgentGone)\n		d.wake(r.entry)\n", "		d.part(r, WhyAgentGone)\n		d.unanswered(r.entry, MissFailed)\n"},
	{"why a call was in vain is not heard after its agent went", "acd/callback.go", "e.called != p.fence {", "e.called != p.fence || true {"},
	{"somebody is called before his line is free", "acd/callback.go", "d.rest(e, c.DelayMS)", "d.rest(e, 0)"},
	{"all agents are kept for one callback", "acd/match.go", "e.queue.Strategy == RingAll && e.callback == nil", "e.queue.Strategy == RingAll"},
	{"a snapshot forgets who is called", "acd/snapshot.go", "pack.AppendInt(b, e.called)", "pack.AppendInt(b, 0)"},
	{"who moves up stands behind", "acd/move.go", "	if to < from {\n", "	if false {\n"},
	{"those of one rank are not numbered", "acd/move.go", "		o.rank.order = int64(i + 1)\n", "		_, _ = i, o\n"},
	{"a snapshot forgets who was moved", "acd/snapshot.go", "appendRank(pack.AppendInt(b, e.called), e.rank, e.moved())", "appendRank(pack.AppendInt(b, e.called), e.rank, false)"},
	{"who was moved and comes back stands where he was", "acd/entry.go", "	if past != nil && past.moved {\n", "	if false {\n"},
	{"who is sent elsewhere is rung for", "acd/move.go", "	d.callOff(e)\n	d.exit(e, LeftSent)\n", "	d.exit(e, LeftSent)\n"},
	{"two records of one entry", "acd/leave.go", "	d.record(r)\n", "	d.record(r)\n	d.record(r)\n"},
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

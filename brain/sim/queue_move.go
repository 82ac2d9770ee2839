package sim

import (
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/acd"
)

// bookRank is what is expected that the place of an entry rests on.
type bookRank struct {
	priority int
	since    int64
	order    int // among those who stand by the same priority and time
}

func ownRank(priority int, since int64) bookRank { return bookRank{priority: priority, since: since} }

// takeMove expects the reply to a supervisor who moves somebody, and follows it: he stands where he was put, and everybody else
// as before.
func (b *queueBooks) takeMove(op *queueOp, s *seen) {
	place, why, err := acd.ReadMoved(s.reply)
	e, want := b.entries[op.entry], ""
	switch {
	case err != nil:
		b.wrong("the reply to a move is not read: %w", err)
		return
	case e == nil:
		want = acd.WhyUnknown
	case e.talk != nil:
		want = acd.WhyLost
	case e.state == entryLeaving:
		want = acd.WhyLeaving
	}
	if want != "" {
		if b.unchanged(s, "a move that is refused"); why != want || place != 0 {
			b.wrong("%s is moved and told %q, place %d; it should be refused as %q", op.entry, why, place, want)
		}
		return
	}
	was := b.inLine(e.QueueID)
	to := min(op.place, len(was))
	if b.position(e) == to {
		b.unchanged(s, "a move to where he stands")
	} else {
		b.put(e, was, to)
	}
	rest := func(list []*bookEntry) []*bookEntry {
		return slices.DeleteFunc(slices.Clone(list), func(o *bookEntry) bool { return o == e })
	}
	if is := b.inLine(e.QueueID); b.position(e) != to || !slices.Equal(rest(is), rest(was)) {
		b.wrong("the books have moved %s to place %d, not %d, or others", e.EntryID, b.position(e), to)
	}
	if why != "" || place != to || len(s.orders)+len(s.records) > 0 {
		b.wrong("%s is moved to %d and told place %d, %q: %v %v", e.EntryID, to, place, why, s.orders, s.records)
	}
}

// put gives an entry the rank of who stands at a place, and numbers all of that rank.
func (b *queueBooks) put(e *bookEntry, line []*bookEntry, to int) {
	mate := line[to-1] // when he moves down as when he moves up
	after := b.position(e) < to
	e.rank = mate.rank
	n := 0
	number := func(o *bookEntry) {
		n++
		o.rank.order = n
	}
	for _, o := range line {
		if o == e || o.rank.priority != mate.rank.priority || o.rank.since != mate.rank.since {
			continue
		}
		if o == mate && !after {
			number(e)
		}
		if number(o); o == mate && after {
			number(e)
		}
	}
}

// inLine lists who has a place in a queue, as they would be served.
func (b *queueBooks) inLine(queue string) []*bookEntry {
	var list []*bookEntry
	for _, e := range b.order {
		if e.QueueID == queue && e.state != entryTalks && e.state != entryLeaving {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, b.ahead)
	return list
}

// takeSend expects the reply to a supervisor who sends somebody elsewhere, and follows it.
func (b *queueBooks) takeSend(op *queueOp, s *seen) {
	v, err := acd.ReadVerdict(s.reply)
	e := b.entries[op.entry]
	switch {
	case err != nil:
		b.wrong("the reply to a send is not read: %w", err)
	case e == nil && b.left[op.entry].outcome == acd.LeftSent, e != nil && e.state == entryLeaving && e.leaving == acd.LeftSent:
		b.granted(v, "repeated send")
		b.unchanged(s, "a repeated send")
	case e == nil:
		b.refused(v, s, acd.WhyUnknown)
	case e.talk != nil:
		b.refused(v, s, acd.WhyLost)
	case e.state == entryLeaving:
		b.refused(v, s, acd.WhyLeaving)
	case e.back != nil:
		b.refused(v, s, acd.WhyHungUp)
	default:
		b.granted(v, "send")
		for _, o := range b.ringing(e) {
			b.drop(o, acd.WhyCallerGone)
		}
		e.state, e.leaving = entryLeaving, acd.LeftSent
		if !slices.ContainsFunc(s.orders, func(o acd.Order) bool { return o.Kind == acd.OrderExit && o.EntryID == e.EntryID }) {
			b.wrong("%s is sent elsewhere and not told to leave", e.EntryID)
		}
	}
}

// boss is a supervisor who moves callers, and sends some elsewhere, as long as the storm lasts.
func (w *lobby) boss() {
	if !w.stormy {
		return
	}
	known := slices.Sorted(maps.Keys(w.entries))
	if known = append(known, slices.Sorted(maps.Keys(w.backs))...); len(known) > 0 {
		op := &queueOp{kind: opMove, entry: known[w.rng.IntN(len(known))], place: 1 + w.rng.IntN(4)}
		if w.chance(15) {
			op = &queueOp{kind: opSend, entry: op.entry}
		}
		w.ask(op, nil)
	}
	w.after(w.between(100, 12*second), w.boss)
}

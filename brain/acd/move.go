package acd

import (
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

// rank is what an entry's place in its line rests on: its own priority and wait, until a supervisor moves it.
type rank struct {
	priority int
	sinceMS  int64
	order    int64 // among those of the same priority and time, from 1; 0 = nobody was moved among them
}

// natural is the rank of an entry that nobody has moved.
func (e *entry) natural() rank { return rank{e.priority, e.sinceMS, 0} }

// moved tells whether that is not its rank any more.
func (e *entry) moved() bool { return e.rank != e.natural() }

func (r rank) beside(o rank) bool { return r.priority == o.priority && r.sinceMS == o.sinceMS }

// move puts somebody who has a place in line at another one, 1 = next; beyond the end it is the last. He gets the rank of who
// stands there, and goes before him when he moves up, behind him when he moves down: so he is served as if he had come when that
// one came, whatever their priorities and however long both wait from then on. Who rings for whom stays as it is.
func (d *Desk) move(entryID string, place int) (reply []byte, changed bool) {
	e := d.entries[entryID]
	switch {
	case e == nil:
		return appendMoved(nil, 0, WhyUnknown), false
	case e.taken():
		return appendMoved(nil, 0, WhyLost), false
	case e.state == entryLeaving:
		return appendMoved(nil, 0, WhyLeaving), false
	}
	line := e.queue.inOrder(d.nowMS)
	from, to := slices.Index(line, e), min(place, len(line))-1
	if from == to {
		return appendMoved(nil, to+1, ""), false
	}
	others := slices.Delete(line, from, from+1)
	mate := others[max(0, to-1)]
	if to < from {
		mate = others[to]
	}
	d.rerank(e, mate, others, to)
	return appendMoved(nil, to+1, ""), true
}

// inOrder lists who has a place, as they would be served.
func (q *queue) inOrder(nowMS int64) []*entry {
	list := q.inLine()
	slices.SortFunc(list, func(a, b *entry) int {
		if ahead(a, b, nowMS) {
			return -1
		}
		return 1
	})
	return list
}

// rerank gives an entry the rank of its mate, at an index among the others in line. Those of that rank are numbered anew, in
// the order in which they stand.
func (d *Desk) rerank(e, mate *entry, others []*entry, at int) {
	low, high := at, at
	for low > 0 && others[low-1].rank.beside(mate.rank) {
		low--
	}
	for high < len(others) && others[high].rank.beside(mate.rank) {
		high++
	}
	offered := e.class != nil
	d.shut(e)
	e.queue.displace(e)
	e.rank = mate.rank
	for i, o := range slices.Insert(slices.Clone(others[low:high]), at-low, e) {
		o.rank.order = int64(i + 1)
	}
	e.queue.place(e)
	if offered {
		d.enclass(e)
	}
}

// sent tells whether an entry was told to leave by a send.
func (e *entry) sent() bool { return e.state == entryLeaving && e.outcome == LeftSent }

// send tells somebody who waits to leave: his call gets elsewhere. Who rings for him does so no more. With look it only tells
// whether he has left so.
func (d *Desk) send(entryID string, look bool) (reply []byte, changed bool) {
	e, past := d.entries[entryID], d.pastEntries.known[entryID]
	switch {
	case e == nil && past != nil && past.outcome == LeftSent: // once more
		return appendVerdict(nil, Verdict{Granted: true, Token: past.token}), false
	case e == nil || look:
		return appendVerdict(nil, Verdict{Why: WhyUnknown}), false
	case e.sent(): // once more
		return appendVerdict(nil, Verdict{Granted: true}), false
	case e.taken():
		return appendVerdict(nil, Verdict{Why: WhyLost}), false
	case e.state == entryLeaving:
		return appendVerdict(nil, Verdict{Why: WhyLeaving}), false
	case e.callback != nil:
		return appendVerdict(nil, Verdict{Why: WhyHungUp}), false
	}
	d.callOff(e)
	d.exit(e, LeftSent)
	return appendVerdict(nil, Verdict{Granted: true}), true
}

// callOff takes all who are rung for an entry back.
func (d *Desk) callOff(e *entry) {
	for len(e.offers) > 0 {
		d.order(Order{Kind: OrderRescind, Why: WhyCallerGone}, e.offers[0])
		d.part(e.offers[0], WhyCallerGone)
	}
}

// appendRank writes a rank that was moved, and otherwise that it was not.
func appendRank(b []byte, r rank, moved bool) []byte {
	if b = pack.AppendBool(b, moved); !moved {
		return b
	}
	return pack.AppendInt(pack.AppendInt(pack.AppendInt(b, int64(r.priority)), r.sinceMS), r.order)
}

// restoreRank reads what appendRank wrote, nothing in a form that had no ranks; ok is false when that cannot be.
func restoreRank(r *pack.Reader, form uint64) (out rank, moved, ok bool) {
	if form == snapshotUnmoved || !r.Bool() {
		return out, false, true
	}
	out = rank{readSmall(r), r.Int(), r.Int()}
	return out, true, out.priority >= 0 && out.priority <= 100 && out.sinceMS >= -maxTimeMS && out.sinceMS <= maxTimeMS &&
		out.order >= 0 && out.order <= MaxEntries
}

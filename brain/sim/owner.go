package sim

import (
	"bytes"

	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// journal is what survives every brain: messages in a chain, each appended only behind the one its writer knows.
type journal struct {
	messages  int64
	stalled   int64 // until this true time nothing is written
	entries   []entry
	admitted  [][]admission // by account, as far as written
	rates     [][]admission // by account and trunk, as the next
	attempts  map[string]int
	snapshots []snapshot // by account
}

type entry struct {
	account int
	at      int64
	op      []byte
}

// snapshot holds all entries before from.
type snapshot struct {
	data []byte
	from int
}

// admission is one that windows count.
type admission struct {
	at        int64
	emergency bool
}

// owner is a brain that believes it owns the accounts.
type owner struct {
	w        *world
	n        int
	skew     int64
	expects  int64 // messages of the journal as it knows it
	dead     bool
	machines []*presence.Machine
	books    []*books // what the model expects, by account

	pending  []entry
	gate     []func() // answers that wait for the journal
	planned  bool     // a commit is
	commits  int
	admitted [][]admission
	rates    [][]admission
}

// takeOver makes a new owner. The one before goes on for a while without knowing.
func (w *world) takeOver() {
	j := &w.journal
	if j.stalled > w.now { // it cannot write that it took over
		w.after(j.stalled-w.now, func() {
			if w.owner == nil {
				w.takeOver()
			}
		})
		return
	}
	w.stale = w.owner
	j.messages++
	w.owners++
	o := &owner{w: w, n: w.owners, skew: w.between(-5*second, 5*second), expects: j.messages,
		admitted: copied(j.admitted, len(w.accounts)), rates: copied(j.rates, len(w.accounts)*len(w.accounts[0].trunks))}
	for _, a := range w.accounts {
		m := w.replay(a)
		m.Resume(o.now())
		o.machines = append(o.machines, m)
		o.books = append(o.books, newBooks(m, o.now(), j.attempts))
		o.remember(a)
	}
	w.owner = o
	w.after(w.between(second, 10*second), func() {
		if w.stale != nil && w.owner == o {
			w.stale = nil
		}
	})
}

// replay makes the machine of an account from what is written.
func (w *world) replay(a *account) *presence.Machine {
	snap := w.journal.snapshots[a.index]
	m := presence.New(a.id)
	if snap.data != nil {
		var err error
		if m, err = presence.Restore(a.id, snap.data); err != nil {
			w.broken("a snapshot is not restored: %w", err)
			m = presence.New(a.id)
		}
	}
	for _, e := range w.journal.entries[snap.from:] {
		if e.account != a.index {
			continue
		}
		if _, _, err := m.Apply(e.at, e.op); err != nil {
			w.broken("a written op is not replayed: %w", err)
		}
	}
	return m
}

// crash kills the owner with all that it had not written. Another one follows.
func (w *world) crash() {
	if w.owner == nil || !w.stormy {
		return
	}
	w.owner.dead = true
	w.owner = nil
	w.after(w.between(100, 5*second), func() {
		if w.owner == nil {
			w.takeOver()
		}
	})
}

// someOwner is the brain that is reached: mostly the owner, sometimes one that was replaced and does not know; nil is none.
func (w *world) someOwner() *owner {
	if w.stale != nil && !w.stale.dead && w.chance(40) {
		return w.stale
	}
	return w.owner
}

func (o *owner) now() int64 { return o.w.now + o.skew }

// ask does the admission of a call. Its answer leaves when it is written, and rarely before: unlogged.
func (o *owner) ask(c *call) {
	w := o.w
	unlogged := o == w.owner && w.now < w.journal.stalled && w.bad(70)
	send := func(reply []byte) {
		v, err := presence.ReadVerdict(reply)
		if err != nil {
			w.broken("a verdict is not read: %w", err)
		}
		w.after(w.between(1, 50), func() { w.answer(c, v, !unlogged) })
	}
	op := presence.AppendAdmit(nil, &c.Admit)
	if unlogged {
		if reply := o.do(c.account, op, nil); reply != nil {
			w.after(25, func() { send(reply) })
		}
		return
	}
	o.do(c.account, op, send)
}

// do applies an op and plans its writing; done hears the reply once everything so far is written.
func (o *owner) do(a *account, op []byte, done func(reply []byte)) []byte {
	if o.dead {
		return nil
	}
	m := o.machines[a.index]
	reply, changed, err := m.Apply(o.now(), op)
	if err != nil {
		o.w.broken("an op is refused: %w", err)
		return nil
	}
	o.check(a, op, reply, changed)
	if changed {
		o.pending = append(o.pending, entry{a.index, o.now(), op})
	}
	if done != nil {
		o.gate = append(o.gate, func() { done(reply) })
	}
	if !o.planned {
		o.planned = true
		o.w.after(o.w.between(1, 8), o.commit)
	}
	return reply
}

// commit writes what is pending behind what the owner knows. When somebody else wrote meanwhile the owner is
// fenced: nothing of it is written, no answer leaves.
func (o *owner) commit() {
	j := &o.w.journal
	if o.planned = false; o.dead {
		return
	}
	if wait := j.stalled - o.w.now; wait > 0 {
		o.planned = true
		o.w.after(wait, o.commit)
		return
	}
	if j.messages != o.expects && o.w.opt.Mutant != MutantFence {
		o.dead = true
		return
	}
	j.messages++
	o.expects = j.messages
	j.entries = append(j.entries, o.pending...)
	j.admitted, j.rates, j.attempts = copied(o.admitted, len(o.admitted)), copied(o.rates, len(o.rates)), o.attempts()
	touched := -1
	if len(o.pending) > 0 {
		touched = o.pending[0].account
	}
	o.pending = nil
	gate := o.gate
	o.gate = nil
	for _, leave := range gate {
		leave()
	}
	if o.commits++; touched >= 0 && o.commits%4 == 0 {
		o.compare(o.w.accounts[touched])
	}
}

// compare holds that what is written is what the owner knows, and keeps a snapshot now and then.
func (o *owner) compare(a *account) {
	if len(o.pending) > 0 {
		return // answers that left made the edge act at once
	}
	live := o.machines[a.index].AppendSnapshot(nil)
	if !bytes.Equal(o.w.replay(a).AppendSnapshot(nil), live) {
		o.w.broken("owner %d: the journal of %s replays to another machine than the live one", o.n, a.id)
	}
	if o.commits%32 == 0 && o == o.w.owner {
		o.w.journal.snapshots[a.index] = snapshot{live, len(o.w.journal.entries)}
	}
}

// tickLoop gives every brain its deadlines.
func (w *world) tickLoop() {
	for _, o := range []*owner{w.owner, w.stale} {
		if o == nil || o.dead {
			continue
		}
		for _, a := range w.accounts {
			if op := o.machines[a.index].Due(o.now()); op != nil {
				o.do(a, op, nil)
			}
			if w.steps%4 == 0 {
				o.checkLeases(a)
			}
		}
	}
	w.after(second, w.tickLoop)
}

// observe gives a node's report to the machine, and holds the machine to the two-report rule.
func (o *owner) observe(a *account, n *node, r *presence.Report) {
	if o.dead {
		return
	}
	m, b := o.machines[a.index], o.books[a.index]
	fresh, gone := b.hear(o, r)
	op := m.Observe(o.now(), r)
	if !fresh && op != nil {
		o.w.broken("owner %d: a stale report of %s (boot %s, number %d) was acted on", o.n, n.name, r.Boot, r.Seq)
	}
	if op != nil {
		o.do(a, op, nil)
	}
	for _, token := range gone {
		if b.slots[token] != nil {
			o.w.broken("owner %d: %s is absent from two reports of %s and keeps its place", o.n, token, n.name)
		}
	}
}

// count tells how many admissions a window holds at a time.
func count(list []admission, at int64, w cac.Window) int {
	n := 0
	for _, a := range list {
		if a.at > at-w.PeriodMS && a.at <= at {
			n++
		}
	}
	return n
}

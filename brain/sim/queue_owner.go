package sim

import (
	"bytes"

	"github.com/sipio/sipio/brain/acd"
)

// Kinds of a queueOp.
const (
	opSetup = iota
	opJoin
	opLeave
	opClaim
	opConfirm
	opMiss
	opAgent
	opSignal
	opExpire
	opKeep
	opMove
	opSend
	opResume // a new brain: the books alone must know of it again, leases are not written
)

// queueOp is what a desk is told; which fields are set depends on kind.
type queueOp struct {
	kind           int
	setup          *acd.Setup
	join           *acd.Join
	agent          *acd.AgentOp
	version        int64  // join, agent
	entry, outcome string // leave; entry: move, send
	place          int    // move
	token          string // leave
	reservation    string // claim, confirm, miss
	fence          int64
	cause          string        // miss
	back           *acd.Callback // keep
	user           string        // signal
	reachable      bool
	calls          int
	lapsed         []string // expire
}

// seen is what a desk showed for one op.
type seen struct {
	reply   []byte
	changed bool
	orders  []acd.Order
	changes []acd.Change
	records []acd.Record
}

// queueLog is what survives every brain: the ops that were written, with what the desk showed for them, and a snapshot
// of the desk and of the books at the same place.
type queueLog struct {
	entries  []loggedOp
	snapshot []byte
	books    *queueBooks
}

type loggedOp struct {
	at   int64
	op   *queueOp
	seen *seen
}

// host is a brain that has the desk.
type host struct {
	w     *lobby
	skew  int64
	dead  bool
	desk  Desk
	books *queueBooks

	pending []loggedOp
	orders  []acd.Order // to be handed out with what is written
	records []acd.Record
	gate    []func()
	planned bool // a commit is
	commits int
	tickAt  int64 // true time of the next tick; 0 when there is none
}

func (h *host) now() int64 { return h.w.now + h.skew }

// takeOver makes the desk anew from what is written.
func (w *lobby) takeOver() {
	if w.log.books == nil {
		w.log.books = newQueueBooks()
	}
	w.brains++
	h := &host{w: w, skew: w.between(-2*second, 2*second), desk: w.replayQueues(), books: w.log.books.clone()}
	for _, e := range w.log.entries {
		h.books.take(e.at, e.op, e.seen)
	}
	w.brain = h
	h.desk.Resume(h.now())
	resumed := loggedOp{h.now(), &queueOp{kind: opResume}, &seen{orders: h.desk.Orders()}}
	h.books.take(resumed.at, resumed.op, resumed.seen)
	w.log.entries, h.orders = append(w.log.entries, resumed), resumed.seen.orders
	h.look()
	h.planned = true
	w.after(1, h.commit)
	if w.brains == 1 {
		h.do(&queueOp{kind: opSetup, setup: w.setup}, nil)
	}
	h.plan()
}

// replayQueues makes a desk from the snapshot and the ops written since.
func (w *lobby) replayQueues() Desk {
	d := acd.New()
	if w.log.snapshot != nil {
		var err error
		if d, err = acd.Restore(w.log.snapshot); err != nil {
			w.broken("a snapshot is not restored: %w", err)
			d = acd.New()
		}
	}
	var desk Desk = d
	if w.opt.Wrap != nil {
		desk = w.opt.Wrap(d)
	}
	for _, e := range w.log.entries {
		if _, _, err := e.op.apply(desk, e.at); err != nil {
			w.broken("a written op is not replayed: %w", err)
		}
	}
	if n := len(desk.Orders()) + len(desk.Changes()) + len(desk.Records()); n > 0 && w.log.snapshot != nil {
		w.broken("a replay made %d effects", n)
	}
	return desk
}

// apply brings an op to a desk.
func (op *queueOp) apply(d Desk, at int64) (reply []byte, changed bool, err error) {
	var b []byte
	switch op.kind {
	case opSignal:
		d.Signal(at, op.user, op.reachable, op.calls)
		return nil, true, nil
	case opExpire:
		d.Expire(at, op.lapsed)
		return nil, true, nil
	case opResume:
		return nil, false, nil
	case opSetup:
		b = acd.AppendSetup(nil, op.setup)
	case opJoin:
		b = acd.AppendJoin(nil, op.join, op.version)
	case opLeave:
		b = acd.AppendLeave(nil, op.entry, op.token, op.outcome)
	case opKeep:
		b = acd.AppendCallback(nil, op.back)
	case opMove:
		b = acd.AppendMove(nil, op.entry, op.place)
	case opSend:
		b = acd.AppendSend(nil, op.entry)
	case opClaim:
		b = acd.AppendClaim(nil, op.reservation, op.fence)
	case opConfirm:
		b = acd.AppendConfirm(nil, op.reservation, op.fence)
	case opMiss:
		b = acd.AppendMiss(nil, op.reservation, op.fence, op.cause)
	case opAgent:
		b = acd.AppendAgent(nil, op.agent, op.version)
	}
	return d.Apply(at, b)
}

// do brings an op to the desk and holds the desk to the books; done hears the reply when the op is written.
func (h *host) do(op *queueOp, done func(reply []byte)) {
	if h.dead || h.w.fault != nil {
		return
	}
	h.w.events++
	s := &seen{}
	var err error
	if s.reply, s.changed, err = op.apply(h.desk, h.now()); err != nil {
		h.w.broken("an op is refused: %w", err)
		return
	}
	s.orders, s.changes, s.records = h.desk.Orders(), h.desk.Changes(), h.desk.Records()
	h.books.take(h.now(), op, s)
	h.look()
	if s.changed {
		h.pending = append(h.pending, loggedOp{h.now(), op, s})
		h.orders, h.records = append(h.orders, s.orders...), append(h.records, s.records...)
	}
	if op.stale(s.reply) { // the configuration is brought, and the question asked again
		h.do(&queueOp{kind: opSetup, setup: h.w.setup}, nil)
		h.do(op, done)
		return
	}
	if done != nil {
		h.gate = append(h.gate, func() { done(s.reply) })
	}
	if !h.planned {
		h.planned = true
		h.w.after(h.w.between(0, 8), h.commit)
	}
	h.plan()
}

// stale: the desk wants a newer configuration first.
func (op *queueOp) stale(reply []byte) (stale bool) {
	switch op.kind {
	case opJoin:
		_, stale, _ = acd.ReadJoined(reply)
	case opAgent:
		_, stale, _ = acd.ReadAgent(reply)
	}
	return stale
}

// commit writes what is pending; then what waited for it leaves.
func (h *host) commit() {
	if h.planned = false; h.dead {
		return
	}
	w := h.w
	w.log.entries = append(w.log.entries, h.pending...)
	gate, orders, records := h.gate, h.orders, h.records
	h.pending, h.gate, h.orders, h.records = nil, nil, nil, nil
	if w.bad(1) { // it dies between the two
		for _, r := range records {
			w.lost[r.EntryID]++
		}
		w.crash()
		return
	}
	for _, r := range records {
		if b := w.backs[r.EntryID]; b != nil {
			b.over = true
		}
		w.records[r.EntryID]++
	}
	for _, o := range orders {
		w.deliver(o)
	}
	if h.commits++; h.commits%96 == 0 {
		h.compare()
	}
	for _, leave := range gate {
		leave()
	}
}

// compare holds that what is written is the desk that lives, and keeps a snapshot.
func (h *host) compare() {
	live := h.desk.AppendSnapshot(nil)
	if !bytes.Equal(h.w.replayQueues().AppendSnapshot(nil), live) {
		h.w.broken("what is written replays to another desk than the live one")
	}
	h.w.log = queueLog{snapshot: live, books: h.books.clone()}
}

// plan has the desk woken at its deadline, now and then too late.
func (h *host) plan() {
	due, ok := h.desk.Deadline()
	if !ok || h.dead {
		return
	}
	at := max(due-h.skew, h.w.now)
	if h.w.bad(15) {
		at += h.w.between(1, second)
	}
	if h.tickAt != 0 && h.tickAt <= at {
		return
	}
	h.tickAt = at
	h.w.after(at-h.w.now, func() { h.tick(at) })
}

func (h *host) tick(at int64) {
	if h.dead || h.tickAt != at {
		return
	}
	h.tickAt = 0
	if due, ok := h.desk.Deadline(); ok && due <= h.now() {
		h.do(&queueOp{kind: opExpire, lapsed: h.desk.Lapsed(h.now(), 100)}, nil)
		if due, ok := h.desk.Deadline(); ok && due <= h.now() {
			h.w.broken("after all that was due at %d the desk is due at %d", h.now(), due)
		}
	}
	h.plan()
}

// crash kills the brain with all that it had not written and not handed out. Another one follows.
func (w *lobby) crash() {
	if w.brain == nil {
		return
	}
	w.brain.dead = true
	w.brain = nil
	w.after(w.between(100, 5*second), w.takeOver)
}

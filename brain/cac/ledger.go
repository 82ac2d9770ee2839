package cac

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

type name struct {
	kind Kind
	id   string
}

func (n name) compare(o name) int {
	return cmp.Or(cmp.Compare(n.kind, o.kind), strings.Compare(n.id, o.id))
}

// dimension is there as long as somebody takes it.
type dimension struct {
	name
	used, limit int
}

type taken struct {
	*dimension
	limit int
}

type slot struct {
	token, callID, node string
	askedMS, admittedMS int64
	emergency           bool
	takes               []taken
	attempt             int // of the last swap granted

	before, after *slot // in order of admission

	leaseMS    int64 // volatile, as the list by it
	prev, next *slot
}

// Ledger is the admission of one account. It is not safe for concurrent use: one actor owns it.
//
// Everything but the leases is a function of the calls made to Admit, Swap, Adopt, Release, Lapse and Sweep with
// what they were given, so it can be made again from a record of those that changed something. Leases
// are volatile: Renew and Resume may be called at any time and change nothing else.
type Ledger struct {
	slots   map[string]*slot
	oldest  *slot // in order of admission
	newest  *slot
	dims    map[name]*dimension
	windows map[name]*window
	ended   map[string]ended
	order   queue[ending] // of ended, oldest first; a token that came back leaves a stale entry

	endings   uint64 // counts what was pushed to order
	clockMS   int64  // latest time that changed something
	entries   int    // in all windows
	windowDue int64  // no window is empty before; 0 when there is none
	leases    list
	found     []*dimension // of the call that is looked at; its room is used again
}

// ended is the memory of a released token.
type ended struct {
	timeMS int64
	lapsed bool   // by its lease: nobody said that the call was over
	n      uint64 // of its entry in order
}

type ending struct {
	token  string
	timeMS int64
	n      uint64
}

// New makes an empty ledger.
func New() *Ledger {
	return &Ledger{slots: map[string]*slot{}, dims: map[name]*dimension{}, windows: map[name]*window{}, ended: map[string]ended{}}
}

// at is the time that counts: the clock never goes back, unless it was set back by so much that it must
// have been wrong before.
func (l *Ledger) at(nowMS int64) int64 {
	if nowMS < l.clockMS && l.clockMS-nowMS <= tolerance.Milliseconds() {
		return l.clockMS
	}
	return nowMS
}

// tick begins a change and gives its time. After the clock was set back it brings what lies in the future to the present.
func (l *Ledger) tick(nowMS int64) int64 {
	now := l.at(nowMS)
	if now < l.clockMS {
		l.setBack(now)
	}
	l.clockMS = now
	l.forget(now)
	return now
}

func (l *Ledger) setBack(now int64) {
	for n, w := range l.windows {
		for w.times.len() > 0 && w.times.back() > now {
			w.times.popBack()
			l.entries--
		}
		if w.times.len() == 0 {
			delete(l.windows, n)
		}
	}
	for i := range l.order.live() {
		e := &l.order.live()[i]
		e.timeMS = min(e.timeMS, now)
		if known, ok := l.ended[e.token]; ok && known.n == e.n {
			l.ended[e.token] = ended{e.timeMS, known.lapsed, e.n}
		}
	}
}

// Admit gives a call its places at nowMS, or none. The same token again gets the same place and takes
// nothing. Takes are tested in their order, then windows in theirs. An emergency call passes everything but the
// room of the ledger itself, its own release too: better a place too many than such a call refused.
func (l *Ledger) Admit(nowMS int64, c Call) Verdict {
	if s := l.slots[c.Token]; s != nil {
		return Verdict{Admitted: true, Repeated: true, Held: s.held()}
	}
	now := l.at(nowMS)
	if _, over := l.memory(now, c.Token); over && !c.Emergency {
		return Verdict{}
	}
	room := MaxSlots
	if c.Emergency {
		room += MaxEmergency
	}
	if len(l.slots) >= room {
		return Verdict{Limit: room, Used: len(l.slots)}
	}
	v := Verdict{Admitted: true}
	l.look(c.Takes)
	if !c.Emergency {
		if v = l.test(now, c.Takes, c.Windows, nil); !v.Admitted {
			return v
		}
	}
	now = l.tick(nowMS)
	if c.Emergency {
		delete(l.ended, c.Token)
	}
	l.enter(now, &c)
	return v
}

// look finds the dimensions of takes; nil where nobody takes one yet.
func (l *Ledger) look(takes []Take) {
	l.found = l.found[:0]
	for _, t := range takes {
		l.found = append(l.found, l.dims[name{t.Kind, t.ID}])
	}
}

// Adopt takes up a call that is known to be up, beyond every limit; windows do not count it. False when the token
// has its place, ended lately, or there is no room. A token whose lease alone ran out may be adopted.
func (l *Ledger) Adopt(nowMS int64, c Call) bool {
	if c.Windows = nil; !l.Adoptable(nowMS, c.Token) {
		return false
	}
	now := l.tick(nowMS)
	delete(l.ended, c.Token)
	l.look(c.Takes)
	l.enter(now, &c)
	return true
}

// Adoptable tells whether Adopt would take up a token.
func (l *Ledger) Adoptable(nowMS int64, token string) bool {
	if l.slots[token] != nil || len(l.slots) >= MaxSlots {
		return false
	}
	e, over := l.memory(l.at(nowMS), token)
	return !over || e.lapsed
}

// Has tells whether a token has its place.
func (l *Ledger) Has(token string) bool { return l.slots[token] != nil }

// Len is how many calls have their place.
func (l *Ledger) Len() int { return len(l.slots) }

// test looks for the first dimension without room, in what look found; places in gone count as free. The same dimension
// twice in a call needs two places.
func (l *Ledger) test(now int64, takes []Take, windows []Window, gone []taken) Verdict {
	for i, t := range takes {
		if t.Limit <= 0 {
			continue
		}
		used := 0
		if d := l.found[i]; d != nil {
			used = d.used
		}
		for _, before := range takes[:i] {
			if before.Kind == t.Kind && before.ID == t.ID {
				used++
			}
		}
		for _, free := range gone {
			if free.dimension == l.found[i] {
				used--
			}
		}
		if used >= t.Limit {
			return Verdict{Kind: t.Kind, ID: t.ID, Limit: t.Limit, Used: used}
		}
	}
	v := Verdict{Admitted: true}
	for _, w := range windows {
		over, refusal := l.full(now, w)
		switch {
		case over && w.Hard:
			return refusal
		case over:
			v.Soft = append(v.Soft, w)
		}
	}
	return v
}

// enter takes everything a call needs, in what look found. It keeps nothing of c's slices.
func (l *Ledger) enter(now int64, c *Call) {
	s := &slot{askedMS: c.AskedMS, admittedMS: now, emergency: c.Emergency, takes: make([]taken, len(c.Takes))}
	s.token, s.callID, s.node = c.Token, c.CallID, c.Node
	l.take(s.takes, c.Takes)
	l.countAll(now, c.Windows)
	s.leaseMS = now + Lease.Milliseconds()
	l.keep(s)
}

// take takes a place in each dimension, in what look found, and notes it in into, which is as long.
func (l *Ledger) take(into []taken, takes []Take) {
	for i, t := range takes {
		d := l.found[i]
		if d == nil {
			d = l.begin(name{t.Kind, t.ID})
		}
		d.used++
		d.limit = max(0, t.Limit)
		into[i] = taken{d, d.limit}
	}
}

// keep puts a slot into its lists, drop takes it out.
func (l *Ledger) keep(s *slot) {
	l.slots[s.token] = s
	l.leases.insert(s)
	if s.before = l.newest; s.before == nil {
		l.oldest = s
	} else {
		s.before.after = s
	}
	l.newest = s
}

func (l *Ledger) drop(s *slot) {
	delete(l.slots, s.token)
	l.leases.remove(s)
	if s.before == nil {
		l.oldest = s.after
	} else {
		s.before.after = s.after
	}
	if s.after == nil {
		l.newest = s.before
	} else {
		s.after.before = s.before
	}
	s.before, s.after = nil, nil
}

// begin makes a dimension, unless the same call just did.
func (l *Ledger) begin(n name) *dimension {
	d := l.dims[n]
	if d == nil {
		n.id = strings.Clone(n.id)
		d = &dimension{name: n}
		l.dims[n] = d
	}
	return d
}

func (l *Ledger) giveBack(d *dimension) {
	if d.used--; d.used == 0 {
		delete(l.dims, d.name)
	}
}

// Usage lists every dimension that is taken, by kind, then id.
func (l *Ledger) Usage() []Usage {
	out := make([]Usage, 0, len(l.dims))
	for _, d := range l.sortedDims() {
		out = append(out, Usage{d.kind, d.id, d.used, d.limit})
	}
	return out
}

func (l *Ledger) sortedDims() []*dimension {
	out := make([]*dimension, 0, len(l.dims))
	for _, d := range l.dims {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *dimension) int { return a.compare(b.name) })
	return out
}

// Slots lists the calls that have their place, by token.
func (l *Ledger) Slots() []Slot {
	out := make([]Slot, 0, len(l.slots))
	for _, s := range l.sortedSlots() {
		out = append(out, s.public())
	}
	return out
}

// Places are the calls that have their place, without takes and windows, in order of admission.
func (l *Ledger) Places() iter.Seq[Call] {
	return func(yield func(Call) bool) {
		for s := l.oldest; s != nil; s = s.after {
			if !yield(Call{Token: s.token, CallID: s.callID, Node: s.node, AskedMS: s.askedMS, Emergency: s.emergency}) {
				return
			}
		}
	}
}

// Slot gives the slot of a token, false when it has none.
func (l *Ledger) Slot(token string) (Slot, bool) {
	if s := l.slots[token]; s != nil {
		return s.public(), true
	}
	return Slot{}, false
}

func (s *slot) public() Slot {
	return Slot{Call: Call{Token: s.token, CallID: s.callID, Node: s.node, AskedMS: s.askedMS, Emergency: s.emergency, Takes: s.held()},
		Attempt: s.attempt, AdmittedMS: s.admittedMS, LeaseMS: s.leaseMS}
}

func (s *slot) held() []Take {
	out := make([]Take, len(s.takes))
	for i, t := range s.takes {
		out[i] = Take{t.kind, t.id, t.limit}
	}
	return out
}

func (l *Ledger) sortedSlots() []*slot {
	out := make([]*slot, 0, len(l.slots))
	for _, s := range l.slots {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *slot) int { return strings.Compare(a.token, b.token) })
	return out
}

// Package cac decides whether there is room for another call, and keeps the books of the calls there
// are. One Ledger holds one account; one step tests and takes every dimension of a call, or none.
package cac

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is a dimension of admission. Account dimensions are told apart by the direction of the call.
type Kind uint8

// The dimensions. Limit and TrunkRate are windows, the others count calls that are up.
const (
	In        Kind = iota + 1 // calls of the account that came in
	Out                       // calls of the account that go out
	Internal                  // calls inside the account
	Dialer                    // calls of the account made by a dialer
	User                      // calls of a user, by its id
	DID                       // calls of a number
	Trunk                     // channels of a trunk
	Node                      // calls of the account at a node
	Limit                     // a call_limit: admissions in its period
	TrunkRate                 // admissions of a trunk in a second
)

var kindNames = [...]string{"", "in", "out", "internal", "dialer", "user", "did", "trunk", "node", "limit", "trunk_rate"}

// String is the name of the dimension in the API; "" for none.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// KindOf is the dimension of a name of the API; 0 when there is none.
func KindOf(name string) Kind { return Kind(max(0, slices.Index(kindNames[:], name))) }

// MarshalText writes the name of the dimension.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the name of a dimension, "" for none.
func (k *Kind) UnmarshalText(text []byte) error {
	if *k = KindOf(string(text)); *k == 0 && len(text) > 0 {
		return fmt.Errorf("no dimension of admission is named %q", text)
	}
	return nil
}

// Valid tells whether k is a dimension.
func (k Kind) Valid() bool { return k >= In && k <= TrunkRate }

const (
	// Lease is how long a slot lives after its admission or the last report that listed its call. Longer
	// than a node may be unseen for a moment, shorter than an account may suffer from a call that is not there.
	Lease = 5 * time.Minute
	// Remember is how long a token that was released is not admitted again: longer than any question is repeated.
	Remember = 5 * time.Minute
	// MaxSlots bounds the calls of a ledger. Emergency calls may pass it by MaxEmergency.
	MaxSlots = 100_000
	// MaxEmergency is the room kept for emergency calls beyond MaxSlots.
	MaxEmergency = 10_000
	// MaxWindows bounds the windows with admissions in them.
	MaxWindows = 10_000
	// MaxEntries bounds the admissions remembered in all windows together: 16 MB.
	MaxEntries = 2_000_000
	// MaxPerWindow bounds the admissions remembered of one window, and so what a window may allow.
	MaxPerWindow = 10_000
	// MaxTakes bounds the takes, and the windows, of one call.
	MaxTakes = 64

	maxEnded = 200_000
	// tolerance is how far the clock may go back before what it said is no longer believed.
	tolerance = time.Minute
	// slack is how long what is no longer needed may lie before it is swept out.
	slack = time.Minute
)

// Take is a place in one dimension; Limit 0 means counted only.
type Take struct {
	Kind  Kind   `json:"kind"`
	ID    string `json:"id,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// Window allows at most Max admissions in any PeriodMS milliseconds. A soft window refuses nothing: it is
// reported. Without a Max or a period it is not looked at. Refused calls do not count.
type Window struct {
	Kind     Kind   `json:"kind"`
	ID       string `json:"id,omitempty"`
	Max      int    `json:"max"`
	PeriodMS int64  `json:"period_ms"`
	Hard     bool   `json:"hard,omitempty"`
}

// Call is what asks for admission. Token names it for good; AskedMS is the clock of its node, in epoch
// milliseconds, when it asked. An emergency call is counted and never refused.
type Call struct {
	Token     string   `json:"token"`
	CallID    string   `json:"call_id"`
	Node      string   `json:"node"`
	AskedMS   int64    `json:"asked_ms"`
	Emergency bool     `json:"emergency,omitempty"`
	Takes     []Take   `json:"takes,omitempty"`
	Windows   []Window `json:"windows,omitempty"`
}

// Verdict is the answer to a call. A refusal names the first dimension without room, its Limit and how
// much of it is Used, and for windows after how many milliseconds it frees. Kind 0 with Limit 0: the token was
// released lately. Kind 0 with a Limit: the ledger itself is full. Repeated: the token had its place already.
type Verdict struct {
	Admitted bool     `json:"admitted"`
	Repeated bool     `json:"repeated,omitempty"`
	Kind     Kind     `json:"kind,omitempty"`
	ID       string   `json:"id,omitempty"`
	Limit    int      `json:"limit,omitempty"`
	Used     int      `json:"used,omitempty"`
	RetryMS  int64    `json:"retry_ms,omitempty"`
	Soft     []Window `json:"soft,omitempty"` // soft windows that had been full
}

// Usage is how much of a dimension is taken. Limit is that of the last admission which took it.
type Usage struct {
	Kind        Kind
	ID          string
	Used, Limit int
}

// Slot is a call that has its place. LeaseMS is when it is given up unless renewed, in epoch milliseconds.
type Slot struct {
	Call
	AdmittedMS, LeaseMS int64
}

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

	leaseMS    int64 // volatile, as the list by it
	prev, next *slot
}

// Ledger is the admission of one account. It is not safe for concurrent use: one actor owns it.
//
// Everything but the leases is a function of the calls made to Admit, Adopt, Release, Lapse and Sweep with
// what they were given, so it can be made again from a record of those that changed something. Leases
// are volatile: Renew and Resume may be called at any time and change nothing else.
type Ledger struct {
	slots   map[string]*slot
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
// nothing. Takes are tested in their order, then windows in theirs.
func (l *Ledger) Admit(nowMS int64, c Call) Verdict {
	if l.slots[c.Token] != nil {
		return Verdict{Admitted: true, Repeated: true}
	}
	now := l.at(nowMS)
	if _, over := l.memory(now, c.Token); over {
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
	l.look(&c)
	if !c.Emergency {
		if v = l.test(now, &c); !v.Admitted {
			return v
		}
	}
	l.enter(l.tick(nowMS), &c)
	return v
}

// look finds the dimensions that a call takes; nil where nobody takes one yet.
func (l *Ledger) look(c *Call) {
	l.found = l.found[:0]
	for _, t := range c.Takes {
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
	l.look(&c)
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

// Release gives back exactly what a call took and remembers its token, an unknown one too, as its admission may
// come later. It tells whether the token had a place; windows keep their count. Once more it does nothing.
func (l *Ledger) Release(nowMS int64, token string) bool { return l.release(nowMS, token, false) }

// Lapse is Release because the lease ran out: should the call show up again, it may be adopted.
func (l *Ledger) Lapse(nowMS int64, token string) bool { return l.release(nowMS, token, true) }

func (l *Ledger) release(nowMS int64, token string, lapsed bool) bool {
	s := l.slots[token]
	if s == nil {
		if known, over := l.memory(l.at(nowMS), token); over {
			known.lapsed = known.lapsed && lapsed
			l.ended[token] = known
			return false
		}
	}
	now := l.tick(nowMS)
	if s != nil {
		for _, t := range s.takes {
			l.giveBack(t.dimension)
		}
		delete(l.slots, token)
		l.leases.remove(s)
	}
	l.remember(strings.Clone(token), ended{timeMS: now, lapsed: lapsed && s != nil})
	return s != nil
}

func (l *Ledger) remember(token string, e ended) {
	l.endings++
	e.n = l.endings
	l.ended[token] = e
	l.order.push(ending{token, e.timeMS, e.n})
}

// Over tells whether a token is remembered as released at nowMS, lapsed whether by its lease alone.
func (l *Ledger) Over(nowMS int64, token string) (over, lapsed bool) {
	e, over := l.memory(l.at(nowMS), token)
	return over, e.lapsed
}

func (l *Ledger) memory(now int64, token string) (ended, bool) {
	e, known := l.ended[token]
	return e, known && now < e.timeMS+Remember.Milliseconds() && e.timeMS <= now+tolerance.Milliseconds()
}

// test looks for the first dimension without room, in what look found. The same dimension twice in a call needs two places.
func (l *Ledger) test(now int64, c *Call) Verdict {
	for i, t := range c.Takes {
		if t.Limit <= 0 {
			continue
		}
		used := 0
		if d := l.found[i]; d != nil {
			used = d.used
		}
		for _, before := range c.Takes[:i] {
			if before.Kind == t.Kind && before.ID == t.ID {
				used++
			}
		}
		if used >= t.Limit {
			return Verdict{Kind: t.Kind, ID: t.ID, Limit: t.Limit, Used: used}
		}
	}
	v := Verdict{Admitted: true}
	for _, w := range c.Windows {
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
	for i, t := range c.Takes {
		d := l.found[i]
		if d == nil {
			d = l.begin(name{t.Kind, t.ID})
		}
		d.used++
		d.limit = max(0, t.Limit)
		s.takes[i] = taken{d, d.limit}
	}
	for i, w := range c.Windows {
		if !named(c.Windows[:i], w) {
			l.count(now, w)
		}
	}
	l.slots[s.token] = s
	s.leaseMS = now + Lease.Milliseconds()
	l.leases.insert(s)
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

// Slot gives the slot of a token, false when it has none.
func (l *Ledger) Slot(token string) (Slot, bool) {
	if s := l.slots[token]; s != nil {
		return s.public(), true
	}
	return Slot{}, false
}

func (s *slot) public() Slot {
	out := Slot{Call: Call{Token: s.token, CallID: s.callID, Node: s.node, AskedMS: s.askedMS, Emergency: s.emergency,
		Takes: make([]Take, len(s.takes))}, AdmittedMS: s.admittedMS, LeaseMS: s.leaseMS}
	for i, t := range s.takes {
		out.Takes[i] = Take{t.kind, t.id, t.limit}
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

// Place gives the call of a token without its takes and windows; false when it has no place.
func (l *Ledger) Place(token string) (Call, bool) {
	s := l.slots[token]
	if s == nil {
		return Call{}, false
	}
	return Call{Token: s.token, CallID: s.callID, Node: s.node, AskedMS: s.askedMS, Emergency: s.emergency}, true
}

package balance

import (
	"fmt"

	"github.com/sipio/sipio/brain/pack"
)

// Machine is the wallet of one account, in its one currency. It is not safe for concurrent use: one actor owns it.
//
// What Apply changes is a function of the ops and times it was given, and of nothing else. Leases, and which calls are
// over, are not part of it: they are volatile, and Due turns them into an op.
type Machine struct {
	account       string
	balanceMicros int64
	limitMicros   int64
	limitMS       int64 // when the limit was asked for

	holds      map[string]*hold
	heldMicros int64 // by all of them
	calls      memory
	hands      memory

	opening opening
	moves   []Movement // since the opening; those before head are gone
	head    int

	leases, over leaseHeap // volatile
}

// hold is money that is reserved for a call.
type hold struct {
	id, callID, to, prefix string
	terms                  Terms
	askedMS                int64
	sec, mostSec           int64 // paid for, and how long it may last
	micros                 int64
	answered               bool
	talkMS                 int64 // heard of so far

	leaseMS int64 // volatile, as the next
	over    bool
	index   int
}

// New makes the empty wallet of an account.
func New(accountID string) *Machine {
	return &Machine{account: accountID, holds: map[string]*hold{}, calls: newMemory(MaxEnded, Remember), hands: newMemory(MaxHands, Window)}
}

// Apply does an op at a time, epoch milliseconds; the reply is read by ReadReply. With changed false the op need not be written down:
// without it the wallet would be the same. An error means that the op cannot be read; nothing changed.
func (m *Machine) Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error) {
	o, err := ReadOp(op)
	if err != nil {
		return nil, false, err
	}
	nowMS = max(0, min(nowMS, maxTimeMS))
	var y Reply
	switch o.Kind {
	case Hold:
		y, changed = m.hold(nowMS, o)
	case Extend:
		y, changed = m.extend(nowMS, o)
	case Settle, Release:
		y, changed = m.end(nowMS, o)
	case TopUp, Adjust, Limit:
		y, changed = m.byHand(nowMS, o)
	case Expire:
		for _, id := range o.IDs {
			if h := m.holds[id]; h != nil && m.bears(h.terms.Charge(h.talkMS)) && !m.calls.full(nowMS) {
				m.close(nowMS, h, h.answered, h.talkMS, false)
				changed = true
			}
		}
	}
	if changed {
		m.calls.forget(nowMS)
		m.hands.forget(nowMS)
		m.fold(nowMS)
	}
	y.BalanceMicros, y.AvailableMicros = m.balanceMicros, m.available()
	return appendReply(nil, &y), changed, nil
}

// available is what holds may take; below zero when the credit limit is passed.
func (m *Machine) available() int64 { return m.balanceMicros + m.limitMicros - m.heldMicros }

// bears tells whether the balance stays in its bounds with a charge.
func (m *Machine) bears(micros int64) bool { return m.balanceMicros-micros >= floor }

// hold reserves money for a call.
func (m *Machine) hold(nowMS int64, o *Op) (Reply, bool) {
	if h := m.holds[o.ID]; h != nil {
		if h.callID != o.CallID {
			return Reply{Why: WhyConflict}, false
		}
		return m.held(h, Reply{Done: true, Repeated: true}), false
	}
	if e := m.calls.byID[o.ID]; e != nil {
		return Reply{Why: WhyOver, ChargedMicros: e.micros}, false
	}
	if why := m.calls.timely(nowMS, o.AskedMS); why != "" {
		return Reply{Why: why}, false
	}
	if len(m.holds) >= MaxHolds {
		return Reply{Why: WhyFull}, false
	}
	want := min(o.MostSec, max(o.Sec, int64(o.Terms.FirstSec)))
	sec := o.Terms.Affords(m.available(), want)
	if sec == 0 {
		return Reply{Why: WhyMoney}, false
	}
	h := &hold{id: o.ID, callID: o.CallID, to: o.To, prefix: o.Prefix, terms: *o.Terms, askedMS: o.AskedMS, mostSec: o.MostSec, index: -1}
	pack.Own(&h.id, &h.callID, &h.to, &h.prefix)
	m.holds[h.id] = h
	m.reserve(h, sec)
	m.word(nowMS, h)
	return m.held(h, Reply{Done: true}), true
}

// reserve makes a hold pay for so many seconds, and those that cost no more.
func (m *Machine) reserve(h *hold, sec int64) {
	micros := h.terms.Charge(sec * 1000)
	m.heldMicros += micros - h.micros
	h.sec, h.micros = h.terms.reach(sec, h.mostSec), micros
}

// held fills in what a hold has.
func (m *Machine) held(h *hold, y Reply) Reply {
	y.HeldSec, y.HeldMicros = h.sec, h.micros
	y.MoneySec = max(h.sec, h.terms.Affords(m.available()+h.micros, h.mostSec))
	return y
}

// extend reserves more for a call, as much as there is. It is done when all that it wants is paid for; it never gives back.
func (m *Machine) extend(nowMS int64, o *Op) (Reply, bool) {
	h := m.holds[o.ID]
	switch {
	case h == nil && m.calls.byID[o.ID] != nil:
		return Reply{Why: WhyOver, ChargedMicros: m.calls.byID[o.ID].micros}, false
	case h == nil:
		return Reply{Why: WhyUnknown}, false
	}
	changed := false
	if (o.Answered || o.TalkMS > 0) && (!h.answered || o.TalkMS > h.talkMS) {
		h.answered, h.talkMS, changed = true, max(h.talkMS, o.TalkMS), true
	}
	want := min(o.Sec, h.mostSec)
	if want > h.sec {
		if sec := h.terms.Affords(m.available()+h.micros, want); sec > h.sec {
			m.reserve(h, sec)
			changed = true
		}
	}
	m.word(nowMS, h)
	y := Reply{Done: h.sec >= want}
	if !y.Done {
		y.Why = WhyMoney
	}
	return m.held(h, y), changed
}

// byHand does what people do. A limit that was asked for before the one in force changes nothing.
func (m *Machine) byHand(nowMS int64, o *Op) (Reply, bool) {
	if e := m.hands.byID[o.ID]; e != nil {
		if e.kind != o.Kind || e.micros != o.Micros {
			return Reply{Why: WhyConflict}, false
		}
		return Reply{Done: true, Repeated: true}, false
	}
	if why := m.hands.timely(nowMS, o.AskedMS); why != "" {
		return Reply{Why: why}, false
	}
	if m.hands.full(nowMS) {
		return Reply{Why: WhyFull}, false
	}
	id, text := o.ID, o.Text
	pack.Own(&id, &text)
	switch sum := m.balanceMicros + o.Micros; {
	case o.Kind == Limit && o.AskedMS < m.limitMS:
		return Reply{Why: WhyStale}, false
	case o.Kind == Limit:
		m.limitMicros, m.limitMS = o.Micros, o.AskedMS
	case o.Micros > 0 && sum > MaxMicros || o.Micros < 0 && sum < -MaxMicros:
		return Reply{Why: WhyBound}, false
	default:
		m.move(Movement{TimeMS: nowMS, Kind: o.Kind, ID: id, Micros: o.Micros, Text: text})
	}
	m.hands.remember(&ended{id: id, kind: o.Kind, timeMS: nowMS, askedMS: o.AskedMS, micros: o.Micros})
	return Reply{Done: true}, true
}

// AccountID is whose wallet it is.
func (m *Machine) AccountID() string { return m.account }

// Empty tells whether nothing is worth keeping: no money ever moved, nothing is held or remembered.
func (m *Machine) Empty() bool {
	return m.opening.Seq == 0 && len(m.moves) == m.head && len(m.holds) == 0 && m.limitMS == 0 && m.limitMicros == 0 &&
		m.calls.blank() && m.hands.blank()
}

// Describe reads an op for people: an *Op, which encodes to JSON. OpFromJSON is the way back.
func Describe(op []byte) (any, error) {
	o, err := ReadOp(op)
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	return o, nil
}

package balance

import (
	"cmp"
	"slices"
	"strings"
)

// Movement is one change of the balance, of either sign. The number is its place among all of the wallet, from 1 on.
type Movement struct {
	Seq    int64  `json:"seq"`
	TimeMS int64  `json:"time_ms"` // of the wallet's owner
	Kind   string `json:"kind"`    // settle, topup, adjust
	ID     string `json:"id"`      // the call's token, or the id of what was done by hand
	Micros int64  `json:"micros"`  // below zero it was charged

	CallID    string `json:"call_id,omitempty"`
	To        string `json:"to,omitempty"`
	Prefix    string `json:"prefix,omitempty"`
	TalkMS    int64  `json:"talk_ms,omitempty"`
	BilledSec int64  `json:"billed_sec,omitempty"`
	Text      string `json:"text,omitempty"`

	AfterMicros int64 `json:"after_micros"` // the balance with it
}

// opening is the sum of the movements up to a number, which are not listed any more.
type opening struct{ Seq, Micros int64 }

// move adds a movement, and changes the balance by it and by nothing else.
func (m *Machine) move(v Movement) {
	m.balanceMicros += v.Micros
	v.Seq, v.AfterMicros = m.seq()+1, m.balanceMicros
	m.moves = append(m.moves, v)
}

// seq is the number of the last movement.
func (m *Machine) seq() int64 { return m.opening.Seq + int64(len(m.moves)-m.head) }

// fold takes movements that are too old or too many into the opening balance.
func (m *Machine) fold(nowMS int64) {
	for m.head < len(m.moves) {
		v := &m.moves[m.head]
		if len(m.moves)-m.head <= MaxMovements && v.TimeMS+Window.Milliseconds() > nowMS {
			break
		}
		m.opening = opening{v.Seq, m.opening.Micros + v.Micros}
		*v = Movement{}
		m.head++
	}
	if m.head > 64 && m.head > len(m.moves)/2 {
		m.moves = append(make([]Movement, 0, len(m.moves)-m.head+64), m.moves[m.head:]...)
		m.head = 0
	}
}

// Page is a part of a statement. OpeningMicros is the balance before its first movement, ClosingMicros with its last.
type Page struct {
	OpeningMicros int64      `json:"opening_micros"`
	Movements     []Movement `json:"movements"`
	ClosingMicros int64      `json:"closing_micros"`
	Next          int64      `json:"next"` // the number to ask for the next page with
	More          bool       `json:"more"`
	Folded        int64      `json:"folded"` // so many movements of the wallet are only in the opening balance
}

// Statement lists at most limit movements, or MaxPage, behind a number: 0 begins with the first that is still there.
func (m *Machine) Statement(after int64, limit int) Page {
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	live := m.moves[m.head:]
	from := int(max(0, min(after-m.opening.Seq, int64(len(live)))))
	to := min(from+limit, len(live))
	p := Page{OpeningMicros: m.opening.Micros, Movements: slices.Clone(live[from:to]), Next: m.opening.Seq + int64(to), More: to < len(live), Folded: m.opening.Seq}
	if from > 0 {
		p.OpeningMicros = live[from-1].AfterMicros
	}
	p.ClosingMicros = p.OpeningMicros
	if to > from {
		p.ClosingMicros = live[to-1].AfterMicros
	}
	return p
}

// Since is the number to ask for a statement with that begins at a time, epoch milliseconds.
func (m *Machine) Since(ms int64) int64 {
	live := m.moves[m.head:]
	at := slices.IndexFunc(live, func(v Movement) bool { return v.TimeMS >= ms }) // the owner's clock may have gone back
	if at < 0 {
		at = len(live)
	}
	return m.opening.Seq + int64(at)
}

// Held is a hold, for people and for whoever compares it with the calls there are.
type Held struct {
	ID       string `json:"id"`
	CallID   string `json:"call_id"`
	To       string `json:"to"`
	Prefix   string `json:"prefix"`
	AskedMS  int64  `json:"asked_ms"`
	Sec      int64  `json:"sec"` // paid for
	Micros   int64  `json:"micros"`
	Answered bool   `json:"answered"`
	LeaseMS  int64  `json:"lease_ms"`
	Over     bool   `json:"over"`
}

// Balance is what a wallet has.
type Balance struct {
	AccountID       string `json:"account_id"`
	BalanceMicros   int64  `json:"balance_micros"`
	HeldMicros      int64  `json:"held_micros"`
	LimitMicros     int64  `json:"limit_micros"`
	AvailableMicros int64  `json:"available_micros"`
	Calls           int    `json:"calls"` // with a hold
	Movements       int64  `json:"movements"`
}

// Balance tells what there is.
func (m *Machine) Balance() Balance {
	return Balance{m.account, m.balanceMicros, m.heldMicros, m.limitMicros, m.available(), len(m.holds), m.seq()}
}

// Holds lists the holds, oldest call first, then by id.
func (m *Machine) Holds() []Held {
	list := make([]Held, 0, len(m.holds))
	for _, h := range m.holds {
		list = append(list, Held{h.id, h.callID, h.to, h.prefix, h.askedMS, h.sec, h.micros, h.answered, h.leaseMS, h.over})
	}
	slices.SortFunc(list, func(a, b Held) int { return cmp.Or(cmp.Compare(a.AskedMS, b.AskedMS), strings.Compare(a.ID, b.ID)) })
	return list
}

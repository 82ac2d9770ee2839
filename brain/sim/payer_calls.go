package sim

import (
	"fmt"
	"strings"

	"github.com/sipio/sipio/brain/balance"
)

// outing is the truth about a call that may go outside.
type outing struct {
	till  *till
	token string
	skew  int64 // of its node's clock
	story []string

	attempt    int64  // of the directive that it goes by
	to         string // the number that rings or talks; "" = somebody inside
	paidFor    string // the number that money was asked for last
	limitSec   int64  // 0 = as long as it likes
	answeredMS int64  // true time, 0 = it was not
	talkMS     int64  // once it is over
	over       bool
	heardMS    int64 // when its answer was taken by its wallet
	silentTo   int64 // nothing is heard of its node until then
	toldToEnd  bool
	blind      bool // a word that was wrong or late has taken its hold
	vague      bool // the word of its end is lost for good
}

// mostSec is the longest that a call may last.
const mostSec = 600

// String tells what happened to a call.
func (c *outing) String() string { return strings.Join(c.story, ", ") }

func (c *outing) note(format string, args ...any) {
	c.story = append(c.story, fmt.Sprintf("%d: ", c.till.m.now-begin)+fmt.Sprintf(format, args...))
}

func (t *till) rate(number string) balance.Rate {
	r, _ := rateOf(t.rates, number, 0)
	return r
}

// cost is the least and the most that a level may have paid for a call in the end.
func (c *outing) cost(t *till) (bounds [2]int64) {
	if c.answeredMS == 0 || c.to == "" {
		return bounds
	}
	micros := cost(t.rate(c.to).Terms, c.talkMS)
	if c.vague {
		return [2]int64{0, micros}
	}
	return [2]int64{micros, micros}
}

func (m *market) dial(t *till) {
	c := &outing{till: t, token: fmt.Sprint("tok", len(m.calls)), skew: m.between(-50*second, 50*second)}
	m.calls = append(m.calls, c)
	m.byToken[c.token] = c
	if m.chance(15) {
		c.silentTo = m.now + m.between(minute, 8*minute)
	}
	m.next(c, m.chance(20))
}

// next is a question of the call's edge: it rings somebody inside, or a number.
func (m *market) next(c *outing, inside bool) {
	if c.over {
		return
	}
	if c.attempt++; m.chance(20) {
		c.attempt += m.between(1, 40)
	}
	if inside {
		m.miss(c)
		c.to, c.limitSec = "", 0
		c.note("attempt %d rings inside", c.attempt)
		m.ring(c)
		return
	}
	if c.to = fmt.Sprint(m.between(1, 3), "55"); c.paidFor != "" && m.chance(40) {
		c.to = c.paidFor // another trunk for the same number, or the same number again
	}
	c.paidFor = c.to
	m.pay(c)
}

// miss gives the money of the number before back. Sometimes nobody can do it; sometimes it comes late, and twice.
func (m *market) miss(c *outing) {
	word := balance.AppendWords(nil, []balance.Word{{Token: c.token, CallID: c.token, Kind: balance.WordMissed, Attempt: c.attempt}})
	if c.paidFor == "" || m.bad(20) {
		return
	}
	c.till.do(word, nil)
	if m.bad(20) {
		m.after(m.between(second, 2*minute), func() { c.till.do(word, nil) })
	}
}

// pay asks for money, and waits no longer than an edge does.
func (m *market) pay(c *outing) {
	attempt := c.attempt
	p := &balance.Payment{Token: c.token, CallID: c.token, Node: "n1", To: c.to, AskedMS: m.now + c.skew, Attempt: attempt, Sec: 60, MostSec: mostSec + 1}
	for t := c.till; t != nil; t = t.above {
		p.Levels = append(p.Levels, balance.Level{AccountID: t.id, Currency: "EUR", Rate: t.rate(c.to)})
	}
	op, heard := balance.AppendPayment(nil, p), false
	var said func(paid balance.Paid)
	said = func(paid balance.Paid) {
		switch {
		case heard || c.over || c.attempt != attempt:
		case paid.State == balance.Waiting:
			m.order(c.till, paid.Chain, paid.Order, said)
		default:
			heard = true
			m.directed(c, paid)
		}
	}
	c.till.do(op, m.paid(said))
	if m.bad(10) {
		m.after(m.between(10, 3*minute), func() { c.till.do(op, m.paid(said)) })
	}
	m.after(800, func() {
		if !heard && !c.over && c.attempt == attempt {
			heard = true
			c.note("attempt %d hears nothing", attempt)
			m.fail(c)
		}
	})
}

// directed is what the edge does with the answer.
func (m *market) directed(c *outing, paid balance.Paid) {
	c.note("attempt %d to %s: %s %s %d s", c.attempt, c.to, paid.State, paid.Why, paid.HeldSec)
	switch {
	case paid.State == balance.Granted:
		if c.limitSec = mostSec; paid.HeldSec <= mostSec && paid.MoneySec <= paid.HeldSec {
			c.limitSec = max(1, paid.HeldSec-1)
		}
		m.ring(c)
	case m.chance(50):
		m.next(c, true)
	default:
		m.fail(c)
	}
}

// ring has a call answered, go on or fail.
func (m *market) ring(c *outing) {
	attempt := c.attempt
	m.after(m.between(500, 15*second), func() {
		switch {
		case c.over || c.attempt != attempt:
		case m.chance(60):
			m.answer(c)
		case len(c.story) < 12 && m.chance(60):
			m.next(c, m.chance(50))
		default:
			m.fail(c)
		}
	})
}

// answer begins a talk. Sometimes a word comes that an attempt before it has failed; sometimes an operator takes its place away.
func (m *market) answer(c *outing) {
	c.answeredMS = m.now
	c.note("attempt %d of %q answers", c.attempt, c.to)
	m.tell(c, balance.WordAnswered, m.now, func() { c.heardMS = m.now })
	if c.attempt > 1 && m.bad(15) {
		c.blind = true
		m.after(max(0, c.silentTo-m.now)+m.between(0, 20*second), func() { m.say(c, balance.Word{Kind: balance.WordFailed, TimeMS: c.answeredMS - 300 + c.skew}, nil) })
	}
	if m.chance(15) {
		m.after(m.between(second, minute), func() {
			if !c.over {
				c.note("reset")
				m.lost(c)
			}
		})
	}
	ends := m.between(0, 3*minute)
	if m.chance(20) {
		ends = m.between(5*minute, 15*minute)
	}
	if c.limitSec > 0 {
		ends = min(ends, c.limitSec*second+m.between(0, second))
	}
	m.after(ends, func() { m.hangUp(c) })
}

func (m *market) fail(c *outing) {
	if c.over = true; c.attempt > 0 {
		m.tell(c, balance.WordFailed, m.now, nil)
	}
}

// hangUp ends a talk. The word of it is lost for good now and then.
func (m *market) hangUp(c *outing) {
	if c.over || c.answeredMS == 0 {
		return
	}
	c.over, c.talkMS = true, m.now-c.answeredMS
	c.note("ends after %d ms", c.talkMS)
	if m.bad(5) {
		c.vague = true
		return
	}
	m.tell(c, balance.WordEnded, m.now, nil)
}

// tell has a word reach the wallet, once it is heard of its node again, in whatever order; it comes again until it is taken, and late copies of it.
func (m *market) tell(c *outing, kind string, atMS int64, taken func()) {
	word := balance.Word{Kind: kind, TimeMS: atMS + c.skew, Attempt: c.attempt}
	delay := max(0, c.silentTo-m.now)
	if m.bad(15) {
		delay += m.between(100, 30*second)
	}
	if m.bad(10) {
		m.after(delay+m.between(second, 2*minute), func() { m.say(c, word, nil) })
	}
	m.after(delay, func() { m.say(c, word, taken) })
}

// say tells a word again until it is taken.
func (m *market) say(c *outing, word balance.Word, taken func()) {
	word.Token, word.CallID = c.token, c.token
	done := false
	c.till.do(balance.AppendWords(nil, []balance.Word{word}), func([]byte) {
		if !done {
			if done = true; taken != nil {
				taken()
			}
		}
	})
	m.after(m.between(200, 2*second), func() {
		if !done || m.bad(5) {
			m.say(c, word, taken)
		}
	})
}

// checkLive holds a live talk outside to what is held for it at its own wallet: it is paid for, or told to end.
func (m *market) checkLive(c *outing) {
	if c.over || c.to == "" || c.heardMS == 0 || c.blind || c.toldToEnd || c.till.down || m.now-c.heardMS < 30*second {
		return
	}
	talked := (m.now - c.answeredMS) / second
	for _, h := range c.till.payer.Wallet().Holds() {
		if token, _, _ := strings.Cut(h.ID, "."); token == c.token && h.Sec >= min(talked-4*tick/second, mostSec) {
			return
		}
	}
	m.broken("%s talks for %d s and is not paid for: %s; %+v", c.token, talked, c, c.till.payer.Wallet().Holds())
}

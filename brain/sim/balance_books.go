package sim

import (
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain/balance"
)

// moneyBooks is what the model expects of one wallet, in its own words: it shares no code with what it checks.
type moneyBooks struct {
	p              *purse
	balance, limit int64
	held           map[string]int64
	heldSum        int64
	sec            map[string]int64         // that a hold pays for
	terms          map[string]balance.Terms // as pinned by the hold
	known          map[string]int64         // talk that was heard of; not there: not answered as far as is known
	charged        map[string]int64         // of calls that are over
	settled        map[string]bool          // of them those whose talk is known for good
	hands          map[string]bool
}

func newMoneyBooks(p *purse) *moneyBooks {
	return &moneyBooks{p: p, held: map[string]int64{}, sec: map[string]int64{}, terms: map[string]balance.Terms{}, known: map[string]int64{}, charged: map[string]int64{},
		settled: map[string]bool{}, hands: map[string]bool{}}
}

// cost is what a call costs, by counting its intervals.
func cost(t balance.Terms, talkMS int64) int64 {
	sec := int64(t.FirstSec)
	for sec*1000 < talkMS {
		sec += int64(t.NextSec)
	}
	micros := t.PerMinuteMicros * sec / 60
	if t.PerMinuteMicros*sec%60 != 0 {
		micros++
	}
	return t.ConnectMicros + micros
}

// rateOf is the rate of a number, by looking at all of them.
func rateOf(rates []balance.Rate, number string, atSec int64) (best balance.Rate, ok bool) {
	for _, r := range rates {
		if !strings.HasPrefix(number, r.Prefix) || r.EffectiveFrom > atSec {
			continue
		}
		if !ok || len(r.Prefix) > len(best.Prefix) || len(r.Prefix) == len(best.Prefix) && r.EffectiveFrom > best.EffectiveFrom {
			best, ok = r, true
		}
	}
	return best, ok
}

// heard holds the answer to an op to the books, and writes it into them.
func (m *moneyBooks) heard(op []byte, y balance.Reply, changed bool) {
	o, err := balance.ReadOp(op)
	if err != nil {
		m.p.b.broken("an applied op is not read: %w", err)
		return
	}
	if changed {
		m.change(o, y)
	} else if y.Done && !y.Repeated && o.Kind != balance.Extend {
		m.broken(o, "was done and changed nothing")
	}
	if y.Why == balance.WhyMoney && o.Kind == balance.Hold && cost(*o.Terms, 0) <= m.available() {
		m.broken(o, "was refused with money for it")
	}
	if y.BalanceMicros != m.balance || y.AvailableMicros != m.available() {
		m.broken(o, "leaves %d, available %d, want %d and %d", y.BalanceMicros, y.AvailableMicros, m.balance, m.available())
	}
}

func (m *moneyBooks) available() int64 { return m.balance + m.limit - m.heldSum }

func (m *moneyBooks) broken(o *balance.Op, format string, args ...any) {
	m.p.b.broken(m.p.id+": "+o.Kind+" "+o.ID+" "+format, args...)
}

func (m *moneyBooks) change(o *balance.Op, y balance.Reply) {
	switch o.Kind {
	case balance.Hold:
		if _, over := m.charged[o.ID]; over {
			m.broken(o, "holds money for a call that is over")
		}
		m.terms[o.ID] = *o.Terms
		m.take(o, y)
	case balance.Extend:
		if o.Answered {
			m.known[o.ID] = max(m.known[o.ID], o.TalkMS)
		}
		m.take(o, y)
	case balance.Settle, balance.Release:
		m.end(o, y)
	case balance.Expire:
		for _, id := range o.IDs {
			if c := m.p.b.byToken[id]; !c.over {
				m.broken(o, "ends the hold of %s, which is up", id)
			}
			m.charge(id, false, 0)
		}
	case balance.Limit:
		m.limit = o.Micros
	default:
		if m.hands[o.ID] {
			m.broken(o, "is done twice")
		}
		m.balance += o.Micros
	}
	if o.Kind == balance.Limit || o.Kind == balance.TopUp || o.Kind == balance.Adjust {
		m.hands[o.ID] = true
	}
}

// take writes down what a call holds now: never what there is not.
func (m *moneyBooks) take(o *balance.Op, y balance.Reply) {
	before := m.held[o.ID]
	m.held[o.ID], m.sec[o.ID] = cost(m.terms[o.ID], y.HeldSec*1000), y.HeldSec
	m.heldSum += m.held[o.ID] - before
	if m.held[o.ID] != y.HeldMicros || y.MoneySec < y.HeldSec {
		m.broken(o, "holds %d for %d s, want %d", y.HeldMicros, y.HeldSec, m.held[o.ID])
	}
	if m.held[o.ID] > before && m.available() < 0 {
		m.broken(o, "takes the balance below the limit by %d", -m.available())
	}
}

func (m *moneyBooks) end(o *balance.Op, y balance.Reply) {
	final := o.Kind == balance.Settle
	if _, pinned := m.terms[o.ID]; !pinned {
		m.terms[o.ID] = *o.Terms
	}
	if m.settled[o.ID] {
		m.broken(o, "changes a call that is settled")
	}
	if o.Answered {
		m.known[o.ID] = max(m.known[o.ID], o.TalkMS)
	}
	m.charge(o.ID, final, o.TalkMS)
	if y.ChargedMicros != m.charged[o.ID] {
		m.broken(o, "charges %d, want %d", y.ChargedMicros, m.charged[o.ID])
	}
}

// charge ends what a call holds and charges what it has not paid yet.
func (m *moneyBooks) charge(id string, final bool, talkMS int64) {
	m.heldSum -= m.held[id]
	delete(m.held, id)
	micros := int64(0)
	if known, answered := m.known[id]; final {
		micros = cost(m.terms[id], talkMS)
	} else if answered {
		micros = cost(m.terms[id], known)
	}
	m.balance -= micros - m.charged[id]
	m.charged[id], m.settled[id] = micros, final
}

// compare holds the statement and the holds of a wallet to the books: the movements come to the balance, and those of a call to
// what it was charged.
func (m *moneyBooks) compare(w *balance.Machine) {
	sum, calls := int64(0), map[string]int64{}
	for after, more := int64(0), true; more; {
		page := w.Statement(after, 100)
		if page.OpeningMicros != sum {
			m.p.b.broken("%s: a page opens with %d, want %d", m.p.id, page.OpeningMicros, sum)
		}
		for _, v := range page.Movements {
			if sum += v.Micros; v.Kind == balance.Settle {
				calls[v.ID] -= v.Micros
			}
		}
		after, more = page.Next, page.More
	}
	b := w.Balance()
	if sum != b.BalanceMicros || sum != m.balance {
		m.p.b.broken("%s: the movements come to %d, the balance is %d, want %d", m.p.id, sum, b.BalanceMicros, m.balance)
	}
	for _, id := range slices.Sorted(maps.Keys(m.charged)) {
		if calls[id] != m.charged[id] {
			m.p.b.broken("%s: the movements of %s come to %d, it was charged %d", m.p.id, id, calls[id], m.charged[id])
		}
	}
	held := map[string]int64{}
	for _, h := range w.Holds() {
		held[h.ID] = h.Micros
	}
	if !maps.Equal(held, m.held) {
		m.p.b.broken("%s: it holds %v, want %v", m.p.id, held, m.held)
	}
}

// checkEnd holds the end to the truth: every answered call was charged to each level once, by its rate; nothing is held.
func (b *bank) checkEnd() {
	for _, p := range b.purses {
		p.books.compare(p.money)
		if n := len(p.money.Holds()); n > 0 {
			b.broken("in the calm %s holds money for %d calls", p.id, n)
		}
		for _, token := range slices.Sorted(maps.Keys(p.chains)) {
			if ch := p.chains[token]; !ch.Closed() || len(ch.Unpaid()) > 0 {
				b.broken("in the calm the chain of %s is open, or not paid by %v", token, ch.Unpaid())
			}
		}
	}
	for _, h := range b.hands {
		if want := h.why == ""; !h.done || h.to.books.hands[h.op.ID] != want {
			b.broken("%s %s was answered %v %q", h.op.Kind, h.op.ID, h.done, h.why)
		}
	}
	for _, c := range b.talks {
		for p := c.purse; p != nil; p = p.above {
			b.checkTalk(c, p)
		}
	}
}

// checkTalk holds what one level paid for a call to the truth: when the edge lost its end, to what it had told before.
func (b *bank) checkTalk(c *talk, p *purse) {
	charged := p.books.charged[c.token]
	rate, _ := rateOf(p.rates, c.to, c.askedMS/1000)
	switch {
	case !c.over:
		b.broken("%s never ends", c.token)
	case c.answeredMS == 0 && charged != 0:
		b.broken("%s was not answered, and %s paid %d", c.token, p.id, charged)
	case c.answeredMS == 0:
	case c.vague:
		if least := cost(rate.Terms, c.heard); c.heard >= 0 && charged < least || charged > cost(rate.Terms, c.said) {
			b.broken("%s told of %d to %d ms, and %s paid %d, not %d or more", c.token, c.heard, c.said, p.id, charged, least)
		}
	case charged != cost(rate.Terms, c.talkMS):
		b.broken("%s talked %d ms, and %s paid %d, not %d", c.token, c.talkMS, p.id, charged, cost(rate.Terms, c.talkMS))
	}
}

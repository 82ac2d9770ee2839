package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/balance"
)

// purse is the live object of an account: its wallet, and the chains of its own calls, with the journal that survives its owners.
type purse struct {
	b     *bank
	id    string
	above *purse // its reseller; nil is the platform
	rates []balance.Rate
	plan  *balance.Plan // what it is charged by

	log      []moneyEntry
	snapshot []byte // of the wallet, with all entries before from
	from     int

	skew    int64
	down    bool
	life    int
	money   *balance.Machine
	chains  map[string]*balance.Chain
	turns   map[string]int // of a chain: which order was given last, so that only it is repeated
	books   *moneyBooks
	pending []moneyEntry
	gate    []func()
	planned bool
	commits int
}

// moneyEntry is an op of the wallet with its reply, or the image of a chain.
type moneyEntry struct {
	at        int64
	op, reply []byte
	token     string
	image     []byte
}

func newPurse(b *bank, i int, above *purse) *purse {
	p := &purse{b: b, id: fmt.Sprint("acc_", i), above: above, chains: map[string]*balance.Chain{}, turns: map[string]int{}}
	for _, prefix := range []string{"1", "2", "21", "211", "22", "3", "33"} {
		for n := range b.between(1, 2) {
			p.rates = append(p.rates, balance.Rate{Prefix: prefix, EffectiveFrom: begin/1000 - 100 + n*b.between(100, 500), Terms: balance.Terms{
				ConnectMicros: b.between(0, 1) * b.between(0, 30_000), PerMinuteMicros: b.between(0, 9) * b.between(1, 20_001),
				FirstSec: int32([]int{1, 6, 30, 60}[b.rng.IntN(4)]), NextSec: int32([]int{1, 6, 60}[b.rng.IntN(3)])}})
		}
	}
	var err error
	if p.plan, err = balance.NewPlan("EUR", p.rates); err != nil {
		b.broken("a plan is refused: %w", err)
	}
	p.money, p.books = balance.New(p.id), newMoneyBooks(p)
	return p
}

func (p *purse) clock() int64 { return p.b.now + p.skew }

// do applies an op and plans its writing; done hears the answer once everything so far is written.
func (p *purse) do(op []byte, done func(balance.Reply)) {
	if p.down {
		return
	}
	p.b.ops++
	reply, changed, err := p.money.Apply(p.clock(), op)
	if err != nil {
		p.b.broken("%s refuses an op: %w", p.id, err)
		return
	}
	y, err := balance.ReadReply(reply)
	if err != nil {
		p.b.broken("%s: a reply is not read: %w", p.id, err)
	}
	p.books.heard(op, y, changed)
	if changed {
		p.pending = append(p.pending, moneyEntry{at: p.clock(), op: op, reply: reply})
	}
	if done != nil {
		p.written(func() { done(y) })
	}
	p.soon()
}

// keep plans the writing of a chain's image.
func (p *purse) keep(c *talk) {
	p.pending = append(p.pending, moneyEntry{token: c.token, image: p.chains[c.token].AppendImage(nil)})
	p.soon()
}

// written does something once everything so far is written; never if the owner dies before.
func (p *purse) written(do func()) {
	p.gate = append(p.gate, do)
	p.soon()
}

func (p *purse) soon() {
	if !p.planned {
		p.planned = true
		life := p.life
		p.b.after(p.b.between(1, 8), func() {
			if p.life == life && !p.down {
				p.commit()
			}
		})
	}
}

func (p *purse) commit() {
	p.planned = false
	p.log = append(p.log, p.pending...)
	p.pending = nil
	if p.commits++; p.commits%150 == 0 {
		live := p.money.AppendSnapshot(nil)
		if m := p.replay(); !bytes.Equal(m.AppendSnapshot(nil), live) {
			p.b.broken("%s: the journal replays to another wallet", p.id)
		}
		p.books.compare(p.money)
		if p.commits%300 == 0 {
			p.snapshot, p.from = live, len(p.log)
		}
	}
	gate := p.gate
	p.gate = nil
	for _, leave := range gate {
		leave()
	}
}

// replay makes the wallet from what is written.
func (p *purse) replay() *balance.Machine {
	m := balance.New(p.id)
	if p.snapshot != nil {
		var err error
		if m, err = balance.Restore(p.id, p.snapshot); err != nil {
			p.b.broken("%s: a snapshot is not restored: %w", p.id, err)
			return balance.New(p.id)
		}
	}
	for _, e := range p.log[p.from:] {
		if e.op == nil {
			continue
		}
		reply, changed, err := m.Apply(e.at, e.op)
		if err != nil || !changed || !bytes.Equal(reply, e.reply) {
			p.b.broken("%s: a written op is answered otherwise (changed %v): %v", p.id, changed, err)
		}
	}
	return m
}

// crash kills the owner with all that it had not written. Another follows.
func (p *purse) crash() {
	if p.down {
		return
	}
	p.down, p.planned, p.pending, p.gate = true, false, nil, nil
	p.life++
	p.b.after(p.b.between(100, 5*second), p.revive)
}

// revive takes over: a chain that had granted nothing is ended, for nobody was told anything; the others go on.
func (p *purse) revive() {
	p.down, p.skew = false, p.b.between(-5*second, 5*second)
	p.money = p.replay()
	p.money.Resume(p.clock())
	p.chains, p.books = map[string]*balance.Chain{}, newMoneyBooks(p)
	images := map[string][]byte{}
	for _, e := range p.log {
		if e.op == nil {
			images[e.token] = e.image
			continue
		}
		y, err := balance.ReadReply(e.reply)
		if err != nil {
			p.b.broken("%s: a written reply is not read: %w", p.id, err)
		}
		p.books.heard(e.op, y, true)
	}
	for _, token := range slices.Sorted(maps.Keys(images)) {
		ch, err := balance.RestoreChain(images[token])
		if err != nil {
			p.b.broken("%s: an image is not restored: %w", p.id, err)
			return
		}
		c := p.b.byToken[token]
		p.chains[token] = ch
		if _, ok := ch.Granted(); !ok && ch.End(false, 0) {
			p.keep(c)
		}
		p.drive(c)
	}
}

// drive gives the order that a chain wants given, once the chain is written, and again until it is answered.
func (p *purse) drive(c *talk) {
	o, some := p.chains[c.token].Next()
	if !some {
		return
	}
	p.turns[c.token]++
	turn, life := p.turns[c.token], p.life
	p.written(func() {
		p.b.order(c, o)
		p.b.after(p.b.between(second, 3*second), func() {
			if p.life == life && !p.down && p.turns[c.token] == turn {
				p.drive(c)
			}
		})
	})
}

// order takes an order to the wallet and its answer back: some are lost, some come late or once more.
func (b *bank) order(c *talk, o balance.Order) {
	deliver := func() {
		b.byID[o.AccountID].do(o.Op, func(y balance.Reply) {
			if !b.bad(6) {
				b.after(b.between(1, 40), func() { c.purse.answer(c, o, y) })
			}
		})
	}
	if b.bad(8) {
		b.after(b.between(second, 4*minute), deliver)
	}
	if !b.bad(6) {
		b.after(b.between(1, 40), deliver)
	}
}

// answer takes the answer to an order.
func (p *purse) answer(c *talk, o balance.Order, y balance.Reply) {
	ch := p.chains[c.token]
	if p.down || ch == nil || !ch.Heard(o, y) {
		return
	}
	p.keep(c)
	p.tellEdge(c)
	p.drive(c)
}

// tellEdge tells the edge what became of a call, once it is written.
func (p *purse) tellEdge(c *talk) {
	ch := p.chains[c.token]
	sec, ok := ch.Granted()
	if !ok && ch.Refused() == "" {
		return
	}
	if ok && sec <= 0 {
		p.b.broken("%s is granted no time at all", c.token)
	}
	for q := p; q != nil && ok; q = q.above {
		if _, over := q.books.charged[c.token]; !over && q.books.sec[c.token] < sec {
			p.b.broken("%s is granted %d s, and %s holds money for %d", c.token, sec, q.id, q.books.sec[c.token])
		}
	}
	p.written(func() { p.b.after(p.b.between(1, 50), func() { p.b.edge(c, sec, ok) }) })
}

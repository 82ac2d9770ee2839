package sim

import (
	"fmt"

	"github.com/sipio/sipio/brain/balance"
)

// BalanceOptions of a run.
type BalanceOptions struct {
	Calls int // that are made while there are faults; 0 means DefaultCalls. Then follows a calm, in which all must be paid
}

// DefaultCalls are those of one run.
const DefaultCalls = 500

// RunBalance plays calls that cost money from one seed: accounts, their resellers and what is above, each with a wallet in an object of
// its own, price lists of which some rates begin meanwhile, and everything that goes wrong between them. An error names the seed, the
// step and what does not hold. ops is how many operations the wallets had.
func RunBalance(seed uint64, opt BalanceOptions) (ops int, err error) {
	if opt.Calls == 0 {
		opt.Calls = DefaultCalls
	}
	b := newBank(seed)
	b.after(1, func() { b.traffic(opt.Calls) })
	for b.stormy && b.fault == nil {
		b.step()
	}
	b.calm()
	if b.fault != nil {
		return b.ops, fmt.Errorf("seed %d, step %d, at %d ms: %w", seed, b.steps, b.now-begin, b.fault)
	}
	return b.ops, nil
}

// bank is a world of money: purses, and the calls that are made.
type bank struct {
	stage
	purses  []*purse
	byID    map[string]*purse
	talks   []*talk
	byToken map[string]*talk
	hands   []*hand
	ops     int
}

// newBank makes a platform with two resellers, one of them below the other, and customers of each.
func newBank(seed uint64) *bank {
	b := &bank{stage: newStage(seed, 0x6d), byID: map[string]*purse{}, byToken: map[string]*talk{}}
	var top, middle *purse
	for i, above := range []func() *purse{func() *purse { return nil }, func() *purse { return top }, func() *purse { return top },
		func() *purse { return middle }, func() *purse { return middle }, func() *purse { return nil }} {
		p := newPurse(b, i, above())
		switch i {
		case 0:
			top = p
		case 1:
			middle = p
		}
		b.purses = append(b.purses, p)
		b.byID[p.id] = p
		b.byHand(p, balance.Limit, b.between(0, 3)*200_000)
		b.byHand(p, balance.TopUp, b.between(1, 8)*1_000_000)
	}
	b.after(tick, b.tickLoop)
	b.after(b.between(5*second, 20*second), b.trouble)
	return b
}

// tick is how often owners look at their deadlines, in milliseconds.
const tick = 5 * second

// traffic makes calls, and things by hand, until there were enough.
func (b *bank) traffic(left int) {
	if left == 0 {
		b.stormy = false
		return
	}
	b.dial(b.purses[2+b.rng.IntN(len(b.purses)-2)])
	if b.chance(6) {
		p := b.purses[b.rng.IntN(len(b.purses))]
		switch {
		case b.chance(70):
			b.byHand(p, balance.TopUp, b.between(1, 12_000_000))
		case b.chance(60):
			b.byHand(p, balance.Adjust, -b.between(1, 400_000))
		default:
			b.byHand(p, balance.Limit, b.between(0, 600_000))
		}
	}
	b.after(b.between(100, 2*second), func() { b.traffic(left - 1) })
}

// hand is something that an operator does: again and again, until he has the answer.
type hand struct {
	op   balance.Op
	to   *purse
	done bool
	why  string
}

func (b *bank) byHand(p *purse, kind string, micros int64) {
	h := &hand{op: balance.Op{Kind: kind, ID: fmt.Sprint("hand", len(b.hands)), AskedMS: b.now, Micros: micros}, to: p}
	b.hands = append(b.hands, h)
	b.hand(h)
}

func (b *bank) hand(h *hand) {
	op := balance.AppendOp(nil, &h.op)
	send := func() {
		h.to.do(op, func(y balance.Reply) {
			if !b.bad(10) && !h.done {
				h.done, h.why = true, y.Why
			}
		})
	}
	if b.bad(10) {
		b.after(b.between(second, 3*minute), send) // a copy comes late
	}
	send()
	b.after(b.between(500, 4*second), func() {
		if !h.done {
			b.hand(h)
		}
	})
}

// trouble kills an owner now and then, as long as the storm lasts.
func (b *bank) trouble() {
	if b.stormy {
		b.purses[b.rng.IntN(len(b.purses))].crash()
		b.after(b.between(5*second, 40*second), b.trouble)
	}
}

// tickLoop gives every owner its deadline, and asks the owner of a call about a hold that nobody has heard of for long.
func (b *bank) tickLoop() {
	for _, p := range b.purses {
		if p.down {
			continue
		}
		if op := p.money.Due(p.clock()); op != nil {
			p.do(op, nil)
		}
		for _, token := range p.money.Doubtful(p.clock(), 100) {
			c := b.byToken[token]
			if c.purse.down {
				continue
			}
			if ch := c.purse.chains[token]; ch == nil || ch.Closed() {
				p.money.Over(p.clock(), token)
			} else {
				p.money.Renew(p.clock(), token)
			}
		}
	}
	b.after(tick, b.tickLoop)
}

// calm ends every fault, waits for what is on its way, and holds the end.
func (b *bank) calm() {
	if b.fault == nil {
		b.playFor(30 * minute)
	}
	if b.fault == nil {
		b.checkEnd()
	}
}

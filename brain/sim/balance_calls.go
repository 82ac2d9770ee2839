package sim

import (
	"fmt"

	"github.com/sipio/sipio/brain/balance"
)

// talk is the truth about a call that costs money.
type talk struct {
	token, to string
	purse     *purse // whose call it is
	askedMS   int64  // by the clock of its node

	told, over bool
	limitSec   int64 // how long it may last, as the edge was told
	answeredMS int64 // true time; 0 while it is not
	endsMS     int64 // when its people have said everything
	lateMS     int64 // by which its timer is late
	talkMS     int64 // in all, once it is over

	said, heard int64 // how much talk the edge has told of, and how much of that was acknowledged; -1 is not even the answer
	silent      bool  // nothing is heard of it for longer than a lease
	vague       bool  // the edge lost its end: only what it said before is known
}

// levels are those who pay for a call; nil when somebody has no rate for it.
func (c *talk) levels() []balance.Level {
	var list []balance.Level
	for p := c.purse; p != nil; p = p.above {
		l, ok, err := balance.LevelFor(p.id, "EUR", p.plan, c.to, c.askedMS/1000)
		if err != nil {
			p.b.broken("a level is refused: %w", err)
		}
		if !ok {
			return nil
		}
		list = append(list, l)
	}
	return list
}

// chain is the chain of a call, begun if need be; nil when nobody can pay for it.
func (p *purse) chain(c *talk) *balance.Chain {
	if ch := p.chains[c.token]; ch != nil {
		return ch
	}
	levels := c.levels()
	if levels == nil {
		return nil
	}
	ch, err := balance.NewChain(balance.Pay{Token: c.token, CallID: "call-" + c.token, To: c.to, AskedMS: c.askedMS, Sec: 60, MostSec: 600, Levels: levels})
	if err != nil {
		p.b.broken("a chain is refused: %w", err)
		return nil
	}
	p.chains[c.token] = ch
	p.keep(c)
	return ch
}

// dial begins a call: the edge asks, perhaps more than once, and gives up after two seconds.
func (b *bank) dial(p *purse) {
	c := &talk{token: fmt.Sprint("tok", len(b.talks)), to: fmt.Sprint(b.between(1, 3), b.between(1, 4), b.between(1, 4), "5555"), purse: p,
		askedMS: b.now + b.between(-90*second, 90*second), said: -1, heard: -1}
	b.talks = append(b.talks, c)
	b.byToken[c.token] = c
	b.after(b.between(1, 50), func() { b.ask(c) })
	if b.chance(25) {
		b.after(b.between(1, 3*second), func() { b.ask(c) })
	}
	b.after(2*second, func() {
		if !c.told {
			c.told, c.over = true, true
			b.tell(c, b.unanswered, nil)
		}
	})
}

func (b *bank) ask(c *talk) {
	if c.purse.down {
		return
	}
	if c.purse.chain(c) == nil {
		b.edge(c, 0, false)
		return
	}
	c.purse.tellEdge(c)
	c.purse.drive(c)
}

// edge hears how long a call may last, or that it may not be.
func (b *bank) edge(c *talk, sec int64, ok bool) {
	switch {
	case c.over:
	case c.told:
		c.limitSec = max(c.limitSec, sec)
	case !ok:
		c.told, c.over = true, true
	default:
		c.told, c.limitSec, c.lateMS = true, sec, b.between(0, 2*second)
		b.after(b.between(second, 20*second), func() { b.pickUp(c) })
	}
}

// pickUp answers a call, or nobody does.
func (b *bank) pickUp(c *talk) {
	if b.chance(30) {
		c.over = true
		b.end(c)
		return
	}
	c.answeredMS, c.endsMS = b.now, b.now+b.between(0, 4*minute)
	if b.chance(5) {
		c.endsMS = b.now // at once
	} else if b.chance(5) {
		c.silent, c.endsMS = true, b.now+b.between(6*minute, 9*minute)
	}
	b.talkOn(c)
	b.hangUp(c)
}

// talkOn tells that a call was answered, and of its talk every now and then, and asks for the money of the next minutes.
func (b *bank) talkOn(c *talk) {
	if c.over {
		return
	}
	talked, more, pause := b.now-c.answeredMS, int64(90), b.between(25*second, 45*second)
	if c.silent {
		more, pause = 590, 9*minute
	}
	c.said = max(c.said, talked)
	b.tell(c, func(ch *balance.Chain) bool { return ch.Answered(talked, talked/1000+more) }, func() { c.heard = max(c.heard, talked) })
	b.after(pause, func() { b.talkOn(c) })
}

// hangUp ends a call when its people are done, or its money is.
func (b *bank) hangUp(c *talk) {
	at := min(c.endsMS, c.answeredMS+c.limitSec*1000+c.lateMS)
	if b.now < at {
		b.after(at-b.now, func() { b.hangUp(c) })
		return
	}
	c.over, c.talkMS = true, b.now-c.answeredMS
	b.end(c)
}

// end tells the end of a call. Sometimes its node dies with the word of it, for good or for long: then two reports say that it is
// over, and no more.
func (b *bank) end(c *talk) {
	word, delay := b.unanswered, int64(0)
	if c.answeredMS != 0 {
		word = func(ch *balance.Chain) bool { return ch.End(true, c.talkMS) }
	}
	if b.chance(50) { // whoever knows calls tells the wallets as well
		for p := c.purse; p != nil; p = p.above {
			b.after(b.between(second, 15*second), func() {
				if !p.down {
					p.money.Over(p.clock(), c.token)
				}
			})
		}
	}
	switch {
	case b.bad(4):
		c.vague = true
		b.after(b.between(0, 30*second), func() { b.tell(c, b.unanswered, nil) })
		return
	case b.bad(6):
		b.after(30*second, func() { b.tell(c, b.unanswered, nil) })
		delay = b.between(minute, 8*minute)
	case b.bad(10):
		delay = b.between(5*minute, 9*minute) // longer than a lease
	}
	b.after(delay, func() { b.tell(c, word, nil) })
}

func (b *bank) unanswered(ch *balance.Chain) bool { return ch.End(false, 0) }

// tell takes a word of the edge to the call's owner, again until it is acknowledged; now and then a copy comes late.
func (b *bank) tell(c *talk, word func(*balance.Chain) bool, acknowledged func()) {
	p, done := c.purse, false
	say := func() {
		if p.down {
			return
		}
		if ch := p.chain(c); ch != nil && word(ch) {
			p.keep(c)
			p.drive(c)
		}
		p.written(func() {
			if !b.bad(10) && !done {
				if done = true; acknowledged != nil {
					acknowledged()
				}
			}
		})
	}
	if b.bad(6) {
		b.after(b.between(second, 3*minute), say)
	}
	var again func()
	again = func() {
		if say(); !done {
			b.after(b.between(200, 4*second), func() {
				if !done {
					again()
				}
			})
		}
	}
	again()
}

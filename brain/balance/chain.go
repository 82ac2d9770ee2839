package balance

import (
	"bytes"
	"errors"
	"slices"
)

// MaxLevels bounds a chain of resellers.
const MaxLevels = 8

// Level is one wallet that pays for a call: the account, and its rate, which is that of the plan its parent gave it.
type Level struct {
	AccountID string `json:"account_id"`
	Currency  string `json:"currency"`
	Rate      Rate   `json:"rate"`
}

// Pay is a call that is to be paid for at every level: first by the account that makes it, by the plan of its reseller, last by
// the account right below the platform, by the platform's plan.
type Pay struct {
	Token, CallID, To string
	AskedMS           int64
	Sec, MostSec      int64 // to reserve at first, and the longest the call may last
	Levels            []Level
}

// Chain pays for one call at several wallets, which live in different objects and cannot change in one step. It is a state and
// no more: an owner, the live object of the call, keeps its image in the journal.
//
// First money is reserved at each level in order, the account's own first; the call is allowed when all have granted, for
// the seconds of the level that granted fewest. A refusal, or a call that ends meanwhile, releases every level that
// was asked. At the end every level is settled, by its own rate. What makes it exactly once is not the chain but the wallets: each
// order is an op of the call's token, so it may be given any number of times, also again after a crash, and also
// when its answer was lost. So the rule for the owner is short: write the image down after each change, then give the order of
// Next, again after a pause of a second or more until Heard takes its answer. After a crash nobody has told the caller anything while the chain was still
// reserving: End(false, 0), then Next. An order of which nobody knows whether it was given is released too, which
// also keeps a late copy of it from ever holding money.
//
// An end that was told as not answered is opened again by any word that the call was answered, of its end or of its talk, which was
// late: the wallets charge what they did not charge.
type Chain struct {
	Pay
	phase    phase
	at       int     // reserving, extending: whose turn it is
	held     []int64 // seconds, by level
	gone     []bool  // ending: levels that are done
	touched  int     // ending: levels that were asked for anything
	answered bool    // known to have been
	talkMS   int64   // heard of; when final, in all
	final    bool    // ending: the talk is known for good
	want     int64   // extending
	why      string
	unpaid   []bool // levels that refused to be settled
}

type phase uint8

const (
	reserving phase = iota + 1
	granted
	extending
	ending
)

// Order is an op for the wallet of an account. It comes back with its answer.
type Order struct {
	Kind      string
	Level     int
	AccountID string
	Op        []byte
}

// Errors of NewChain.
var (
	ErrLevels   = errors.New("a chain of wallets has 1 to 8 levels, each another account")
	ErrCurrency = errors.New("the plan is in another currency than the wallet that pays by it")
)

// NewChain begins to reserve. A level whose account or rate is no right one is an error.
func NewChain(p Pay) (*Chain, error) {
	if len(p.Levels) == 0 || len(p.Levels) > MaxLevels {
		return nil, ErrLevels
	}
	for i, l := range p.Levels {
		if l.AccountID == "" || !texts(maxField, l.AccountID, l.Currency) || slices.ContainsFunc(p.Levels[:i], func(o Level) bool { return o.AccountID == l.AccountID }) {
			return nil, ErrLevels
		}
		if err := l.Rate.Check(); err != nil {
			return nil, err
		}
	}
	p.Levels = slices.Clone(p.Levels)
	n := len(p.Levels)
	c := &Chain{Pay: p, phase: reserving, held: make([]int64, n), gone: make([]bool, n), unpaid: make([]bool, n)}
	return c, c.op(Hold, 0).check()
}

// LevelFor makes the level of an account from the plan that its parent gave it. False when the plan has no rate for the number;
// ErrCurrency when the plan is of another currency than the account.
func LevelFor(accountID, currency string, plan *Plan, number string, atSec int64) (Level, bool, error) {
	if plan.Currency != currency {
		return Level{}, false, ErrCurrency
	}
	rate, ok := plan.Lookup(number, atSec)
	return Level{accountID, currency, rate}, ok, nil
}

// Next is the order that is to be given now, the same until it is answered. False when nothing is to be done.
func (c *Chain) Next() (Order, bool) {
	kind, level := "", c.at
	switch c.phase {
	case reserving:
		kind = Hold
	case extending:
		kind = Extend
	case ending:
		if kind = Release; c.final {
			kind = Settle
		}
		level = slices.Index(c.gone[:c.touched], false)
	}
	if kind == "" || level < 0 {
		return Order{}, false
	}
	return Order{kind, level, c.Levels[level].AccountID, AppendOp(nil, c.op(kind, level))}, true
}

// op is the op of a level.
func (c *Chain) op(kind string, level int) *Op {
	o := &Op{Kind: kind, ID: c.Token, AskedMS: c.AskedMS}
	switch kind {
	case Hold, Settle, Release:
		rate := &c.Levels[level].Rate
		o.CallID, o.To, o.Prefix, o.Terms = c.CallID, c.To, rate.Prefix, &rate.Terms
		if kind == Hold {
			o.MostSec, o.Sec = c.MostSec, c.fewest(c.Sec, level)
			break
		}
		o.Answered, o.TalkMS = c.answered, c.talkMS
	case Extend:
		o.Sec, o.Answered, o.TalkMS = c.fewest(c.want, level), true, c.talkMS
	}
	return o
}

// fewest is what is wanted, or less when a level before has less: nobody reserves for seconds that another does not pay.
func (c *Chain) fewest(sec int64, level int) int64 {
	for _, held := range c.held[:level] {
		sec = min(sec, held)
	}
	return sec
}

// Heard takes the answer to an order. It tells whether the chain is another: an answer to an order that is not the one of Next, to
// the byte, is late and changes nothing. It may be that to a release which did not know of the answer yet.
func (c *Chain) Heard(o Order, y Reply) bool {
	next, some := c.Next()
	if !some || o.Level != next.Level || !bytes.Equal(o.Op, next.Op) {
		return false
	}
	level := o.Level
	switch c.phase {
	case reserving:
		if !y.Done {
			c.why = y.Why
			c.finish(false, 0)
			return true
		}
		c.held[level] = y.HeldSec
		if c.at++; c.at == len(c.Levels) {
			c.phase = granted
		}
	case extending:
		c.held[level] = max(c.held[level], y.HeldSec)
		if c.at++; c.at == len(c.Levels) { // a level with less money asks those above for less
			c.phase = granted
		}
	case ending:
		if y.Why == WhyFull || y.Why == WhyClock && c.answered {
			return false // once more, when there is room again, or the clocks agree
		}
		// Not answered, and of the future: nothing is to be paid and nothing is held, for its hold was of the future too. A late copy of
		// the hold runs out by its lease. A conflict: another call has the token there, nothing of this one is held.
		c.gone[level], c.unpaid[level] = true, !y.Done
	}
	return true
}

// Granted tells how many seconds every level pays for, from the answer on. False while it is not known, and once the call
// is refused or over.
func (c *Chain) Granted() (sec int64, ok bool) {
	if c.phase != granted && c.phase != extending {
		return 0, false
	}
	return c.fewest(c.MostSec, len(c.Levels)), true
}

// Refused tells why the call was not granted; "" when no level refused. It is known at once, before all is released.
func (c *Chain) Refused() string { return c.why }

// Answered tells that the call was answered and has talked for so long, and asks every level to pay for so many seconds in all.
// Granted tells what came of it. It changes nothing before the grant, and after an end that was told as answered. One as not may have
// passed this word by, as when it had to be repeated: then every level is told, and asked for no more seconds.
func (c *Chain) Answered(talkMS, sec int64) bool {
	talkMS = min(talkMS, MaxTalkMS)
	if c.phase == ending && !c.final && (!c.answered || talkMS > c.talkMS) {
		c.answered, c.talkMS = true, max(c.talkMS, talkMS)
		c.finish(false, 0)
		return true
	}
	if c.phase != granted && c.phase != extending {
		return false
	}
	short := c.phase == granted && min(sec, c.MostSec) > c.fewest(c.MostSec, len(c.Levels)) // there may be more by now
	if c.answered && talkMS <= c.talkMS && sec <= c.want && !short {
		return false
	}
	c.answered = true
	c.talkMS, c.want = max(c.talkMS, talkMS), max(c.want, min(sec, c.MostSec))
	c.phase, c.at = extending, 0
	return true
}

// End tells that the call is over, and how long it talked if it is known to have been answered. Not answered means that nobody knows
// of it: what Answered told counts then, or tells yet. An end that is told again changes nothing, but for one as answered after one as not.
func (c *Chain) End(answered bool, talkMS int64) bool {
	if c.phase == ending && (!answered || c.final) {
		return false
	}
	c.finish(answered, talkMS)
	return true
}

// finish begins the end: of the levels that were asked for something, or of all when there is something to pay.
func (c *Chain) finish(final bool, talkMS int64) {
	if c.touched = len(c.Levels); c.phase == reserving && !final {
		c.touched = c.at + 1
	}
	if final {
		c.answered, c.talkMS = true, max(0, min(talkMS, MaxTalkMS))
	}
	c.phase, c.final = ending, final
	clear(c.gone)
	clear(c.unpaid)
}

// Closed tells whether all is done and the chain may be forgotten: after as long as its end may still be corrected.
func (c *Chain) Closed() bool {
	return c.phase == ending && !slices.Contains(c.gone[:c.touched], false)
}

// Unpaid lists the accounts that could not be settled, for operators: their wallets had forgotten whether they were, or
// know another call by this token.
func (c *Chain) Unpaid() []string {
	var ids []string
	for i, l := range c.Levels {
		if c.answered && c.unpaid[i] {
			ids = append(ids, l.AccountID)
		}
	}
	return ids
}

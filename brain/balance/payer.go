package balance

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// GrantWait is how long a call may wait for the wallets of resellers. Whoever asked has given up long before; what was
	// reserved is given back.
	GrantWait = 10 * time.Second
	// ExtendBefore is how long before a hold runs out more is asked for; of a hold of less than twice that, half of it.
	ExtendBefore = time.Minute
	// EndLead is how much earlier than its money a call ends: an edge counts whole seconds and is late by a part of one, and no second
	// that nobody paid for shall be talked.
	EndLead = time.Second
	// StartWait is how long the end of an answered call waits for the word of its answer, which a node may tell later. Then
	// the shortest talk there is counts, until the word comes. So long, too, a call is remembered that was told to have failed.
	StartWait = 5 * time.Minute

	missedFor  = time.Hour       // a call that goes on without the number it was paid for is remembered: longer than phones ring one after the other
	retryAfter = time.Second     // until a wallet that had no room for the moment is asked again
	again      = 2 * time.Second // until a task that nobody has confirmed is given again
	seldom     = time.Minute     // the most that a node is left alone which was told to end a call: each pause is twice the one before
)

// Payer is the wallet of an account and the calls of the account that are being paid for: the owner of their chains. All that a call needs
// of the account's own wallet is done in the step that wants it, so a call that is paid for by one account alone takes one op to be
// held and one to be settled. The wallets of resellers are other objects: what they are to do is a task, given until it is answered.
//
// It learns of calls by words, which may come twice, late and in any order. What it does is a function of its ops and their
// times; a repeated task is not part of that. It is not safe for concurrent use: one actor owns it.
type Payer struct {
	wallet *Machine
	bills  map[string]*bill // by token
	due    billHeap
	tasks  []Task // to be taken
}

// bill is one call that is paid for.
type bill struct {
	token, callID, node string
	attempt             int64    // the highest of the questions that were for its number, or that told of its miss
	tries               int64    // chains that were begun
	heardMS             int64    // when it was asked for, by our clock
	skewMS              int64    // our clock beyond the node's, as far as that question tells
	answeredMS, endedMS int64    // by the node's clock; 0 = not known
	startMS             int64    // of the talk, by our clock
	waitMS              int64    // the end waits for the answer until then; 0 = it does not
	stepSec             int64    // asked for at once
	moneySec            int64    // how long it could last when it was granted
	triedSec            int64    // held when more was asked for last
	triedMS             int64    // when that was
	ending              bool     // the node is told to end it
	missed              bool     // the number called last was not reached: the call goes on and costs nothing, unless another is called
	retryMS             int64    // an order that the account's own wallet had no room for is given again then; 0 = there is none
	forgetMS            int64    // then it is forgotten; 0 = as soon as all is done
	chain               *Chain   // of the number that is called now
	old                 []*Chain // of numbers that were called before: they end

	againMS int64 // volatile: tasks are given again then; 0 = none
	ends    int   // volatile: how often its node was told to end it
	dueMS   int64 // in the heap, as the next
	index   int
}

// Task is something to be done outside. It may leave once the journal holds what led to it, and comes again until it is answered.
type Task struct {
	Kind   string
	Token  string
	CallID string
	Node   string   // TaskEnd
	Again  bool     // TaskEnd: it was given before, and the call is not known to be over
	Chain  string   // TaskOrder: whose order, for Answer
	Order  Order    // TaskOrder
	Unpaid []string // TaskUnpaid
}

// Kinds of a task.
const (
	TaskOrder  = "order"  // for the wallet of another account; what that says is told by an op of AppendAnswer
	TaskEnd    = "end"    // the money of the call is over: its node is to end it. It comes ever more seldom, until the call is known to be over
	TaskUnpaid = "unpaid" // for operators: these accounts could not be charged. It needs no answer; after a crash it may come twice
)

// NewPayer makes the empty wallet of an account that pays for no call.
func NewPayer(accountID string) *Payer {
	return &Payer{wallet: New(accountID), bills: map[string]*bill{}}
}

// Apply does an op at a time, epoch milliseconds: one of AppendOp, whose reply is a Reply; one of AppendPayment or AppendAnswer,
// whose reply is a Paid; or one of AppendWords. With changed false the op need not be written down. An error means that it cannot be
// read; nothing changed.
func (p *Payer) Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error) {
	nowMS = max(0, min(nowMS, maxTimeMS))
	o, err := readPayerOp(op)
	if err != nil {
		return nil, false, err
	}
	switch {
	case o == nil:
		return p.wallet.Apply(nowMS, op)
	case o.Payment != nil:
		var paid Paid
		paid, changed = p.pay(nowMS, o.Payment)
		reply = appendPaid(nil, &paid)
	case o.Answer != nil:
		var paid Paid
		paid, changed = p.answer(nowMS, o.Answer)
		reply = appendPaid(nil, &paid)
	case o.Words != nil:
		for i := range o.Words {
			if p.word(nowMS, &o.Words[i]) {
				changed = true
			}
		}
	default:
		changed = p.tick(nowMS)
	}
	return reply, changed, nil
}

// pay begins to pay for a call, or says what has come of it already. Another number under the same token, in a later question, ends
// what was held for the one before: it was not reached. In a question that is not later it is a conflict, and so it is once the call was
// answered: nobody is told that a number is paid for by the money of another.
func (p *Payer) pay(nowMS int64, o *Payment) (Paid, bool) {
	b := p.bills[o.Token]
	switch {
	case b == nil && len(p.bills) >= MaxHolds:
		return Paid{State: Refused, Why: WhyFull}, false
	case b == nil:
		b = &bill{token: strings.Clone(o.Token), callID: strings.Clone(o.CallID), node: strings.Clone(o.Node), heardMS: nowMS, index: -1}
		if o.AskedMS > 0 {
			b.skewMS = nowMS - o.AskedMS
		}
	case b.callID != o.CallID:
		return Paid{State: Refused, Why: WhyConflict}, false
	case o.Attempt <= b.attempt || b.answeredMS != 0 || b.endedMS != 0:
		if b.chain.To != o.To {
			return Paid{State: Refused, Why: WhyConflict}, false
		}
		return b.paid(), false
	case b.chain.To == o.To && !b.over():
		b.attempt = o.Attempt
		return b.paid(), true
	}
	next, err := NewChain(Pay{Token: b.name(), CallID: b.callID, To: o.To, AskedMS: nowMS, Sec: o.Sec, MostSec: o.MostSec, Levels: o.Levels})
	if err != nil {
		return Paid{State: Refused, Why: WhyConflict}, false
	}
	fresh := b.chain == nil
	if !fresh {
		b.chain.End(false, 0)
		b.old = append(b.old, b.chain)
	}
	next, _ = RestoreChain(next.AppendImage(nil)) // with texts of its own: those of an op keep the op
	b.chain, b.attempt, b.stepSec, b.moneySec, b.tries = next, o.Attempt, o.Sec, o.MostSec, b.tries+1
	b.node, b.missed, b.forgetMS = strings.Clone(o.Node), false, 0
	p.advance(nowMS, b)
	if fresh && b.chain.Refused() != "" && b.chain.touched == 1 && p.own(b.chain.Levels[0].AccountID) {
		return Paid{State: Refused, Why: b.chain.Refused()}, false // nobody holds anything: there is nothing to remember
	}
	p.bills[b.token] = b
	paid := b.paid()
	p.keep(nowMS, b)
	return paid, true
}

func (p *Payer) own(accountID string) bool { return accountID == p.wallet.account }

// name is what the next chain of a call is called at the wallets: its token, and a number from the second on.
func (b *bill) name() string {
	if b.tries == 0 {
		return b.token
	}
	return fmt.Sprintf("%s.%d", b.token, b.tries+1)
}

func (b *bill) over() bool { return b.chain.phase == ending }

// chains lists all of a call's, the one that counts last.
func (b *bill) chains() []*Chain { return append(b.old[:len(b.old):len(b.old)], b.chain) }

// advance gives the orders of a call that are for the account's own wallet, as far as they go.
func (p *Payer) advance(nowMS int64, b *bill) {
	b.retryMS = 0
	for _, c := range b.chains() {
		for {
			o, ok := c.Next()
			if !ok || !p.own(o.AccountID) {
				break
			}
			if o.Kind == Release && c.why != "" && o.Level == c.at && !c.answered {
				c.gone[o.Level] = true // refused by this very wallet a moment ago: it holds nothing
				continue
			}
			reply, _, err := p.wallet.Apply(nowMS, o.Op)
			if err != nil {
				panic(fmt.Sprintf("own op %s of call %s: %v", o.Kind, b.token, err))
			}
			if y, _ := ReadReply(reply); !p.heard(b, c, o, y) {
				b.retryMS = nowMS + retryAfter.Milliseconds()
				break
			}
		}
	}
}

// heard takes a wallet's answer.
func (p *Payer) heard(b *bill, c *Chain, o Order, y Reply) bool {
	if !c.Heard(o, y) {
		return false
	}
	if o.Kind == Hold && y.Done && c == b.chain {
		b.moneySec = min(b.moneySec, y.MoneySec)
	}
	if c.Closed() && len(c.Unpaid()) > 0 {
		p.tasks = append(p.tasks, b.unpaid(c))
	}
	return true
}

func (b *bill) unpaid(c *Chain) Task {
	return Task{Kind: TaskUnpaid, Token: b.token, CallID: b.callID, Unpaid: c.Unpaid()}
}

// answer takes what the wallet of another account has said to an order.
func (p *Payer) answer(nowMS int64, o *Answer) (Paid, bool) {
	token, _, _ := strings.Cut(o.Chain, ".")
	b := p.bills[token]
	if b == nil {
		return Paid{State: Refused, Why: WhyUnknown}, false
	}
	changed := false
	for _, c := range b.chains() {
		if c.Token == o.Chain && o.Level < len(c.Levels) {
			changed = p.heard(b, c, Order{o.Kind, o.Level, c.Levels[o.Level].AccountID, o.Op}, o.Reply)
		}
	}
	if changed {
		p.advance(nowMS, b)
	}
	paid := b.paid()
	p.keep(nowMS, b)
	return paid, changed
}

// paid says how it stands.
func (b *bill) paid() Paid {
	if sec, ok := b.chain.Granted(); ok {
		return Paid{State: Granted, HeldSec: sec, MoneySec: b.moneySec, MostSec: b.chain.MostSec}
	}
	if b.over() {
		return Paid{State: Refused, Why: cmp.Or(b.chain.Refused(), WhyOver)}
	}
	paid := Paid{State: Waiting, Chain: b.chain.Token}
	paid.Order, _ = b.chain.Next()
	return paid
}

// keep forgets a call that is done with, or sets its alarm anew. One that somebody could not be charged for stays a while: operators are told
// again when this owner dies.
func (p *Payer) keep(nowMS int64, b *bill) {
	b.old = slices.DeleteFunc(b.old, (*Chain).Closed)
	if b.done() && b.forgetMS == 0 && len(b.chain.Unpaid()) > 0 {
		b.forgetMS = nowMS + StartWait.Milliseconds()
	}
	if b.done() && b.waitMS == 0 && (b.forgetMS == 0 || b.forgetMS <= nowMS) {
		delete(p.bills, b.token)
		if b.index >= 0 {
			heap.Remove(&p.due, b.index)
		}
		return
	}
	b.againMS = 0 // something is another: what there is to do now does not wait
	p.remind(nowMS, b)
}

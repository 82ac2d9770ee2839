package balance

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/sipio/sipio/brain/pack"
)

// Kinds of a payer's own ops, apart from those of a wallet.
const (
	kindPayment = 32 + iota
	kindAnswer
	kindOldWords // without attempts: read, so that old journals can be
	kindTick     // made by Due
	kindWords
)

// MaxWords bounds the words of one op.
const MaxWords = 100_000

// Payment is a call that is to be paid for. The levels are those of Pay.
type Payment struct {
	Token   string  `json:"token"`
	CallID  string  `json:"call_id"`
	Node    string  `json:"node"`     // who ends the call when its money is over
	To      string  `json:"to"`       // E.164 without +
	AskedMS int64   `json:"asked_ms"` // epoch milliseconds by the node's clock; 0 = not known
	Attempt int64   `json:"attempt"`  // rises with each question of the call
	Sec     int64   `json:"sec"`      // to hold at first, and again each time
	MostSec int64   `json:"most_sec"` // the longest the call may last
	Levels  []Level `json:"levels"`
}

// Answer is what the wallet of another account has said to the order of a chain.
type Answer struct {
	Chain string `json:"chain"`
	Level int    `json:"level"`
	Kind  string `json:"kind"`
	Op    []byte `json:"op"` // of the order
	Reply Reply  `json:"reply"`
}

// Word is what was heard of a call, at its node's clock.
type Word struct {
	Token   string `json:"token"`
	CallID  string `json:"call_id,omitempty"` // "" = by the token alone
	Kind    string `json:"kind"`
	TimeMS  int64  `json:"time_ms"`           // WordGone, WordUp: when it was last known to be up, 0 = not known
	Attempt int64  `json:"attempt,omitempty"` // Payment.Attempt of the question that the edge went by, 0 = not known; WordMissed: of the one that told
}

// Kinds of a word.
const (
	WordAnswered = "answered"
	WordEnded    = "ended"  // after an answer
	WordFailed   = "failed" // without an answer
	WordGone     = "gone"   // it is there no more, and nobody told of its end
	WordMissed   = "missed" // the number that was called last was not reached, and the call goes on without it
	WordUp       = "up"     // it was up at that time, and may be yet
)

var wordKinds = [...]string{"", WordAnswered, WordEnded, WordFailed, WordGone, WordMissed, WordUp}

// States of Paid.
const (
	Waiting = "waiting" // the order is to be given, its answer to be told
	Granted = "granted"
	Refused = "refused"
)

var states = [...]string{"", Waiting, Granted, Refused}

// Paid says how a payment stands.
type Paid struct {
	State    string
	Why      string // refused: one of the Why values
	Text     string // refused: why in words, for operators; not part of its bytes
	HeldSec  int64  // granted: paid for, from the answer on
	MoneySec int64  // granted: how long it could last if no other call took money
	MostSec  int64  // granted: the longest that was asked for
	Chain    string // waiting: for Answer
	Order    Order  // waiting
}

// AppendPayment appends the op that begins to pay for a call, and says how it stands when it has begun already. Its reply is a Paid.
func AppendPayment(b []byte, o *Payment) []byte {
	b = append(b, kindPayment)
	for _, s := range [...]string{o.Token, o.CallID, o.Node, o.To} {
		b = pack.AppendText(b, s)
	}
	for _, v := range [...]int64{o.AskedMS, o.Attempt, o.Sec, o.MostSec} {
		b = pack.AppendInt(b, v)
	}
	b = pack.AppendUint(b, uint64(len(o.Levels)))
	for i := range o.Levels {
		b = o.Levels[i].append(b)
	}
	return b
}

func (l *Level) append(b []byte) []byte {
	b = pack.AppendText(pack.AppendText(pack.AppendText(b, l.AccountID), l.Currency), l.Rate.Prefix)
	return pack.AppendInt(appendTerms(b, l.Rate.Terms), l.Rate.EffectiveFrom)
}

func readLevel(r *pack.Reader) Level {
	return Level{r.Text(), r.Text(), Rate{r.Text(), *readTerms(r), r.Int()}}
}

// AppendAnswer appends the op that tells what a wallet said to an order. Its reply is a Paid.
func AppendAnswer(b []byte, o *Answer) []byte {
	b = pack.AppendUint(pack.AppendText(append(b, kindAnswer), o.Chain), uint64(o.Level))
	return pack.AppendNested(pack.AppendBytes(pack.AppendText(b, o.Kind), o.Op), func(b []byte) []byte { return appendReply(b, &o.Reply) })
}

// AppendWords appends the op that tells what was heard of calls.
func AppendWords(b []byte, words []Word) []byte {
	b = pack.AppendUint(append(b, kindWords), uint64(len(words)))
	for i := range words {
		w := &words[i]
		b = append(pack.AppendText(pack.AppendText(b, w.Token), w.CallID), codeOf(wordKinds[:], w.Kind))
		b = pack.AppendInt(pack.AppendInt(b, w.TimeMS), w.Attempt)
	}
	return b
}

func codeOf(names []string, name string) byte {
	for i, n := range names {
		if n == name {
			return byte(i)
		}
	}
	return 0
}

// nameOf is the name of a code; "" for none.
func nameOf(names []string, code uint64) string {
	if code < uint64(len(names)) {
		return names[code]
	}
	return ""
}

// payerOp is an op of a payer's own as read: one of the three, or a tick.
type payerOp struct {
	Op      string   `json:"op"` // pay, answer, words, tick
	Payment *Payment `json:"payment,omitempty"`
	Answer  *Answer  `json:"answer,omitempty"`
	Words   []Word   `json:"words,omitempty"`
}

// readPayerOp reads an op of a payer's own; nil for one of the wallet's.
func readPayerOp(b []byte) (*payerOp, error) {
	if len(b) == 0 || b[0] < kindPayment || b[0] > kindWords {
		return nil, nil
	}
	r := pack.NewReader(b[1:])
	o := &payerOp{Op: [...]string{"pay", "answer", "words", "tick", "words"}[b[0]-kindPayment]}
	good := true
	switch b[0] {
	case kindPayment:
		p := &Payment{Token: r.Text(), CallID: r.Text(), Node: r.Text(), To: r.Text(), AskedMS: r.Int(), Attempt: r.Int(), Sec: r.Int(), MostSec: r.Int()}
		for range r.Count(MaxLevels) {
			p.Levels = append(p.Levels, readLevel(r))
		}
		good = p.Token != "" && inTime(p.AskedMS) && texts(maxField/2, p.Token, p.CallID, p.Node, p.To)
		o.Payment = p
	case kindAnswer:
		a := &Answer{Chain: r.Text(), Level: int(min(r.Uint(), MaxLevels)), Kind: r.Text(), Op: r.Bytes()}
		reply, err := ReadReply(r.Bytes())
		if err != nil && r.Err() == nil {
			return nil, err
		}
		a.Reply, o.Answer = reply, a
	case kindOldWords, kindWords:
		o.Words = []Word{}
		for range r.Count(MaxWords) {
			w := Word{Token: r.Text(), CallID: r.Text(), Kind: nameOf(wordKinds[:], r.Uint()), TimeMS: r.Int()}
			if b[0] == kindWords {
				w.Attempt = r.Int()
			}
			good = good && w.Kind != "" && inTime(w.TimeMS)
			o.Words = append(o.Words, w)
		}
	}
	err := r.End()
	if err == nil && !good {
		err = errFields
	}
	if err != nil {
		return nil, fmt.Errorf("read an op %s: %w", o.Op, err)
	}
	return o, nil
}

// DescribePayer reads an op of a payer for people; it encodes to JSON.
func DescribePayer(op []byte) (any, error) {
	o, err := readPayerOp(op)
	if err != nil || o != nil {
		return o, err
	}
	return Describe(op)
}

func appendPaid(b []byte, p *Paid) []byte {
	b = append(b, codeOf(states[:], p.State), codeOf(whys[:], p.Why))
	b = pack.AppendInt(pack.AppendInt(pack.AppendInt(b, p.HeldSec), p.MoneySec), p.MostSec)
	b = pack.AppendText(pack.AppendText(pack.AppendText(b, p.Chain), p.Order.Kind), p.Order.AccountID)
	return pack.AppendBytes(pack.AppendUint(b, uint64(p.Order.Level)), p.Order.Op)
}

var errPaid = errors.New("not the reply to a payment")

// ReadPaid reads the reply to an op of AppendPayment or AppendAnswer.
func ReadPaid(reply []byte) (Paid, error) {
	r := pack.NewReader(reply)
	p := Paid{State: nameOf(states[:], r.Uint()), Why: nameOf(whys[:], r.Uint()), HeldSec: r.Int(), MoneySec: r.Int(), MostSec: r.Int(), Chain: r.Text()}
	p.Order = Order{Kind: r.Text(), AccountID: r.Text(), Level: int(min(r.Uint(), MaxLevels)), Op: r.Bytes()}
	if err := r.End(); err != nil || p.State == "" {
		return Paid{}, cmp.Or(err, errPaid)
	}
	return p, nil
}

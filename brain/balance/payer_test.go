package balance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// purse is a payer with what survives it: a snapshot and the ops behind it.
type purse struct {
	t        *testing.T
	id       string
	payer    *Payer
	snapshot []byte
	ops      []timed
}

type timed struct {
	ms int64
	op []byte
}

func newPurse(t *testing.T, id string) *purse { return &purse{t: t, id: id, payer: NewPayer(id)} }

// apply does an op as an actor does it: what changed something is written down.
func (p *purse) apply(now int64, op []byte) []byte {
	p.t.Helper()
	reply, changed, err := p.payer.Apply(now, op)
	if err != nil {
		p.t.Fatal(err)
	}
	if changed {
		p.ops = append(p.ops, timed{now, bytes.Clone(op)})
	}
	return reply
}

// crash makes the payer anew from what is written, and proves that it is the same.
func (p *purse) crash(now int64) {
	p.t.Helper()
	was := p.payer.AppendSnapshot(nil)
	next := NewPayer(p.id)
	if p.snapshot != nil {
		var err error
		if next, err = RestorePayer(p.id, p.snapshot); err != nil {
			p.t.Fatal(err)
		}
	}
	for _, o := range p.ops {
		if _, changed, err := next.Apply(o.ms, o.op); err != nil || !changed {
			p.t.Fatalf("replay: changed %v, %v", changed, err)
		}
	}
	if is := next.AppendSnapshot(nil); !bytes.Equal(was, is) {
		p.t.Fatalf("%s is another after its replay:\n%+v\n%+v", p.id, p.payer.wallet.Balance(), next.wallet.Balance())
	}
	if p.payer = next; len(p.ops) > 50 {
		p.snapshot, p.ops = was, nil
	}
	p.payer.Resume(now)
}

// wake runs the alarms that are due.
func (p *purse) wake(now int64) {
	p.t.Helper()
	for range 100 {
		at, ok := p.payer.Deadline()
		if !ok || at > now {
			return
		}
		if op := p.payer.Due(now); op != nil {
			p.apply(now, op)
		}
		for _, d := range p.payer.Doubtful(now) {
			p.payer.Renew(now, d.Token)
		}
	}
	p.t.Fatal("the deadline does not move")
}

func (p *purse) pay(now int64, o Payment) Paid {
	p.t.Helper()
	paid, err := ReadPaid(p.apply(now, AppendPayment(nil, &o)))
	if err != nil {
		p.t.Fatal(err)
	}
	return paid
}

func (p *purse) heard(now int64, kind string, atMS int64) {
	p.t.Helper()
	p.apply(now, AppendWords(nil, []Word{{Token: "tok", CallID: "call", Kind: kind, TimeMS: atMS}}))
}

func (p *purse) topup(now, micros int64) {
	p.t.Helper()
	p.apply(now, AppendOp(nil, &Op{Kind: TopUp, ID: fmt.Sprint("t", now, micros), AskedMS: now, Micros: micros}))
}

func (p *purse) kinds() (kinds []string) {
	for _, task := range p.payer.Tasks() {
		kinds = append(kinds, task.Kind)
	}
	return kinds
}

// second costs 10,000 a second.
var second = Terms{0, 600_000, 1, 1}

func payment(terms Terms) Payment {
	return Payment{Token: "tok", CallID: "call", Node: "n1", To: "4930", AskedMS: t0 - 20, Attempt: 1, Sec: 60, MostSec: 3600,
		Levels: []Level{{"acc_1", "EUR", Rate{"49", terms, 0}}}}
}

// Proves that a call of one account takes one op to be held and one to be settled, and that whatever comes twice, late or in another
// order charges the same, once: its rating by the node's own clock.
func TestPayer_AnyOrderOfWordsChargesTheTalk(t *testing.T) {
	const answered, ended = t0 + 5_000 + 7_200_000, t0 + 12_345 + 7_200_000 // a node whose clock is two hours ahead
	type word struct {
		kind string
		at   int64
	}
	for name, words := range map[string][]word{
		"in order":        {{WordAnswered, answered}, {WordEnded, ended}},
		"each twice":      {{WordAnswered, answered}, {WordAnswered, answered}, {WordEnded, ended}, {WordEnded, ended}},
		"the end first":   {{WordEnded, ended}, {WordAnswered, answered}},
		"gone, then told": {{WordAnswered, answered}, {WordGone, answered + 3000}, {WordEnded, ended}, {WordAnswered, answered}},
		"all late":        {{WordGone, 0}, {WordAnswered, answered}, {WordEnded, ended}},
	} {
		p := newPurse(t, "acc_1")
		p.topup(t0, 1_000_000)
		if paid := p.pay(t0, payment(second)); paid.State != Granted || paid.HeldSec != 60 || paid.MoneySec != 100 {
			t.Fatalf("%s: %+v", name, paid)
		}
		if paid := p.pay(t0+1, payment(second)); paid.State != Granted || paid.HeldSec != 60 {
			t.Fatalf("%s, again: %+v", name, paid)
		}
		if len(p.ops) != 2 {
			t.Fatalf("%s: %d ops for a top-up and a hold that was asked for twice", name, len(p.ops))
		}
		for _, w := range words {
			p.heard(t0+20_000, w.kind, w.at)
			p.crash(t0 + 20_000)
		}
		if b := p.payer.wallet.Balance(); b.BalanceMicros != 920_000 || // 7,345 ms
			b.HeldMicros != 0 {
			t.Errorf("%s: %+v", name, b)
		}
		if p.payer.Len() != 0 {
			t.Errorf("%s: the call is remembered", name)
		}
	}
}

// Proves what becomes of a hold while a call talks: more is held a minute before it runs out, the talk is told; when there is no more, the node
// is told to end the call a second before its money is over, until it is heard to be; money that comes just before keeps it up.
func TestPayer_ACallEndsWithItsMoney(t *testing.T) {
	p := newPurse(t, "acc_1")
	p.topup(t0, 900_000) // 90 s, 60 of them at first
	paid := p.pay(t0, payment(second))
	if paid.HeldSec != 60 || paid.MoneySec != 90 {
		t.Fatalf("%+v", paid)
	}
	p.heard(t0+1000, WordAnswered, t0+980) // its clock is 20 ms behind
	at := func(sec float64) int64 { return t0 + 1000 + int64(sec*1000) }
	steps := []struct {
		sec   float64
		held  int64
		tasks string
	}{{29.9, 60, "[]"}, {30, 90, "[]"}, {44.9, 90, "[]"}, {45, 90, "[]"}, {88.9, 90, "[]"}, {89, 90, "[end]"}, {90, 90, "[]"}, {91, 90, "[end]"}}
	for _, s := range steps {
		p.wake(at(s.sec))
		if got := fmt.Sprint(p.kinds()); got != s.tasks || p.payer.wallet.Holds()[0].Sec != s.held {
			t.Errorf("after %v s: %d s are held, tasks %s; want %d, %s", s.sec, p.payer.wallet.Holds()[0].Sec, got, s.held, s.tasks)
		}
	}
	p.crash(at(91.5))
	if got := fmt.Sprint(p.kinds()); got != "[end]" {
		t.Errorf("after a crash: %s", got)
	}
	p.heard(at(92), WordEnded, t0+980+89_900)
	p.wake(at(100))
	if b := p.payer.wallet.Balance(); b.BalanceMicros != 0 || b.HeldMicros != 0 || len(p.kinds()) != 0 {
		t.Errorf("%+v, tasks %v", b, p.kinds())
	}

	p = newPurse(t, "acc_1")
	p.topup(t0, 600_000)
	p.pay(t0, payment(second))
	p.heard(t0+1000, WordAnswered, t0+980)
	p.wake(at(58))
	p.topup(at(58.9), 300_000)
	p.wake(at(59))
	if got := fmt.Sprint(p.kinds()); got != "[]" || p.payer.wallet.Holds()[0].Sec != 90 {
		t.Errorf("after a top-up: %s, %+v", got, p.payer.wallet.Holds())
	}
}

// Proves that a call that is refused leaves nothing behind, that another number in a later question of the same call is held at its own
// rate in place of the first, and that an earlier question that comes late does not take that back: it is a conflict, as is another number in the
// same question, for what is held pays for the second number alone.
func TestPayer_AnotherNumberOfTheSameCall(t *testing.T) {
	p := newPurse(t, "acc_1")
	if paid := p.pay(t0, payment(second)); paid.State != Refused || paid.Why != WhyMoney || len(p.ops) != 0 || !p.payer.Empty() {
		t.Fatalf("without money: %+v, %d ops", paid, len(p.ops))
	}
	p.topup(t0, 1_000_000)
	first, other := payment(second), payment(minute)
	other.To, other.Attempt = "44", 34
	p.pay(t0, first)
	if paid := p.pay(t0+10, other); paid.State != Granted || paid.HeldSec != 60 {
		t.Fatalf("%+v", paid)
	}
	same := other
	same.To = "33"
	for name, late := range map[string]Payment{"late": first, "the same question": same} {
		if paid := p.pay(t0+20, late); paid.State != Refused || paid.Why != WhyConflict {
			t.Fatalf("%s: %+v", name, paid)
		}
	}
	if paid := p.pay(t0+20, other); paid.State != Granted {
		t.Fatalf("again: %+v", paid)
	}
	if holds := p.payer.wallet.Holds(); len(holds) != 1 || holds[0].To != "44" || holds[0].Micros != 70_000 {
		t.Fatalf("%+v", holds)
	}
	p.crash(t0 + 30)
	p.heard(t0+30, WordAnswered, t0+30)
	p.heard(t0+40, WordEnded, t0+40)
	moves := p.payer.wallet.Statement(0, 0).Movements
	if len(moves) != 2 || moves[1].To != "44" || moves[1].Micros != -70_000 || p.payer.Len() != 0 {
		t.Errorf("%+v", moves)
	}
}

// Proves that a call which goes on without the number it was paid for costs nothing, whatever is told of it, over crashes; that another
// number may be paid for yet, the same one too, and is charged; and that a word that comes after an answer, or twice, changes nothing.
func TestPayer_ANumberThatWasNotReached(t *testing.T) {
	second2 := payment(second)
	second2.Attempt = 66
	for name, c := range map[string]struct {
		words []string
		again bool
		want  int64
	}{
		"overflow answers":         {[]string{WordMissed, WordAnswered, WordEnded}, false, 1_000_000},
		"overflow fails":           {[]string{WordMissed, WordFailed}, false, 1_000_000},
		"told twice":               {[]string{WordMissed, WordMissed, WordAnswered, WordEnded}, false, 1_000_000},
		"nobody tells":             {[]string{WordMissed, WordGone}, false, 1_000_000},
		"the end first":            {[]string{WordMissed, WordEnded, WordAnswered}, false, 1_000_000},
		"the number again":         {[]string{WordMissed}, true, 900_000},
		"too late to be so":        {[]string{WordAnswered, WordMissed, WordEnded}, false, 900_000},
		"too late, then once more": {[]string{WordAnswered, WordMissed, WordEnded, WordMissed}, false, 900_000},
	} {
		p := newPurse(t, "acc_1")
		p.topup(t0, 1_000_000)
		p.pay(t0, payment(second))
		at := map[string]int64{WordAnswered: t0 + 10_000, WordEnded: t0 + 20_000}
		for _, w := range c.words {
			p.heard(t0+20_000, w, at[w])
			p.crash(t0 + 20_000)
			if w == WordMissed && c.want == 1_000_000 && p.payer.wallet.Balance().HeldMicros != 0 {
				t.Errorf("%s: %+v", name, p.payer.wallet.Balance())
			}
		}
		if c.again {
			if late := p.pay(t0+21_000, payment(second)); late.State != Refused {
				t.Errorf("%s: the first question late: %+v", name, late)
			}
			if paid := p.pay(t0+21_000, second2); paid.State != Granted || paid.HeldSec != 60 {
				t.Errorf("%s: %+v", name, paid)
			}
			p.crash(t0 + 21_000)
			p.heard(t0+22_000, WordAnswered, at[WordAnswered])
			p.heard(t0+23_000, WordEnded, at[WordEnded])
		}
		if b := p.payer.wallet.Balance(); b.BalanceMicros != c.want || b.HeldMicros != 0 || p.payer.Len() != 0 {
			t.Errorf("%s: %+v, %d calls", name, b, p.payer.Len())
		}
	}
	p := newPurse(t, "acc_1")
	p.topup(t0, 1_000_000)
	p.pay(t0, payment(second))
	p.heard(t0, WordMissed, 0)
	if p.wake(t0 + missedFor.Milliseconds()); p.payer.Len() != 0 {
		t.Error("a call of which nobody tells any more is remembered")
	}
}

// market is payers that pay each other's calls, and the orders on their way between them.
type market struct {
	t      *testing.T
	rand   *rand.Rand
	now    int64
	purses map[string]*purse
	tasks  []errand
}

type errand struct {
	of   string
	task Task
}

// carry gives an order to its wallet, and tells the answer; either may be lost, and each may come twice.
func (m *market) carry(of string, chain string, o Order) (told Paid) {
	for range 1 + m.rand.IntN(2) {
		reply := m.purses[o.AccountID].apply(m.now, o.Op)
		if m.rand.IntN(5) == 0 {
			continue
		}
		y, err := ReadReply(reply)
		if err != nil {
			m.t.Fatal(err)
		}
		if told, err = ReadPaid(m.purses[of].apply(m.now, AppendAnswer(nil, &Answer{chain, o.Level, o.Kind, o.Op, y}))); err != nil {
			m.t.Fatal(err)
		}
	}
	return told
}

// step lets time pass, wakes everybody, carries some of what there is to do, and has somebody crash.
func (m *market) step(ms int64) {
	m.now += ms
	for _, id := range []string{"acc_1", "acc_2", "acc_3"} {
		p := m.purses[id]
		p.wake(m.now)
		for _, task := range p.payer.Tasks() {
			m.tasks = append(m.tasks, errand{id, task})
		}
		if m.rand.IntN(6) == 0 {
			p.crash(m.now)
		}
	}
	m.rand.Shuffle(len(m.tasks), func(i, k int) { m.tasks[i], m.tasks[k] = m.tasks[k], m.tasks[i] })
	for n := len(m.tasks); n > m.rand.IntN(3); n-- {
		e := m.tasks[0]
		if m.tasks = m.tasks[1:]; e.task.Kind == TaskOrder {
			m.carry(e.of, e.task.Chain, e.task.Order)
		}
	}
}

// Plays calls of a customer, his reseller and that one's reseller, with lost and repeated orders, words in any order, and crashes of every
// owner. Proves that at the end each call was charged at each level by its own rate exactly once, and nothing is held.
func TestPayer_EveryLevelIsChargedOnceOverCrashes(t *testing.T) {
	for seed := range uint64(60) {
		m := &market{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: t0, purses: map[string]*purse{}}
		rates := []Terms{minute, second, wholesale}
		var levels []Level
		for i, id := range []string{"acc_1", "acc_2", "acc_3"} {
			m.purses[id] = newPurse(t, id)
			m.purses[id].topup(t0, 100_000_000)
			levels = append(levels, Level{id, "EUR", Rate{"49", rates[i], 0}})
		}
		want := []int64{100_000_000, 100_000_000, 100_000_000}
		for n := range 40 {
			token := fmt.Sprint("tok", n)
			o := Payment{Token: token, CallID: token, Node: "n1", To: "49", AskedMS: m.now, Attempt: 1, Sec: 60, MostSec: 3600, Levels: levels[:1+m.rand.IntN(3)]}
			paid := m.purses["acc_1"].pay(m.now, o)
			for tries := 0; paid.State == Waiting && tries < 3; tries++ {
				if next := m.carry("acc_1", paid.Chain, paid.Order); next.State != "" {
					paid = next
				}
				m.step(int64(m.rand.IntN(500)))
			}
			answered := m.now + 100
			words := []Word{{Token: token, CallID: token, Kind: WordFailed, TimeMS: answered}}
			if paid.State == Granted && m.rand.IntN(3) > 0 {
				talk := int64(m.rand.IntN(200_000))
				words = []Word{{Token: token, CallID: token, Kind: WordAnswered, TimeMS: answered}, {Token: token, CallID: token, Kind: WordEnded, TimeMS: answered + talk}}
				for i, l := range o.Levels {
					want[i] -= l.Rate.Charge(talk)
				}
				m.step(talk / 2)
				m.step(talk/2 + 200)
			}
			words = append(words, words[m.rand.IntN(len(words))])
			m.rand.Shuffle(len(words), func(i, k int) { words[i], words[k] = words[k], words[i] })
			for i := range words {
				m.purses["acc_1"].apply(m.now, AppendWords(nil, words[i:i+1]))
				m.step(int64(m.rand.IntN(2000)))
			}
		}
		for range 200 {
			m.step(3 * time.Second.Milliseconds()) // calls that have failed are forgotten by then
		}
		for i, id := range []string{"acc_1", "acc_2", "acc_3"} {
			p := m.purses[id].payer
			if b := p.wallet.Balance(); b.BalanceMicros != want[i] || b.HeldMicros != 0 || p.Len() != 0 {
				t.Fatalf("seed %d, %s: %+v, %d calls; want %d", seed, id, b, p.Len(), want[i])
			}
			check(t, p.wallet)
		}
	}
}

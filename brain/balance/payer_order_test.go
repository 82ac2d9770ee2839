package balance

import (
	"fmt"
	"testing"
	"time"
)

// told takes a word of a question.
func (p *purse) told(now int64, kind string, atMS, attempt int64) {
	p.t.Helper()
	p.apply(now, AppendWords(nil, []Word{{Token: "tok", CallID: "call", Kind: kind, TimeMS: atMS, Attempt: attempt}}))
}

// funded is a payer with 100 units of money that pays for a call, 60 s at first.
func funded(t *testing.T) *purse {
	p := newPurse(t, "acc_1")
	p.topup(t0, 100_000_000)
	if paid := p.pay(t0, payment(second)); paid.State != Granted {
		t.Fatalf("%+v", paid)
	}
	return p
}

func (p *purse) charged() int64 { return 100_000_000 - p.payer.wallet.Balance().BalanceMicros }

// Proves that a call which is told to have failed holds nothing, that an answer and an end that come after that are charged once, over crashes,
// and that it is forgotten when none comes.
func TestPayer_AFailureThatWasOfAnotherAttempt(t *testing.T) {
	for name, words := range map[string][]string{
		"failed first": {WordFailed, WordAnswered, WordEnded}, "twice": {WordFailed, WordFailed, WordAnswered, WordFailed, WordEnded},
		"in any order": {WordFailed, WordEnded, WordAnswered}, "the end is told by itself": {WordFailed, WordAnswered, WordEnded, WordEnded},
	} {
		p := funded(t)
		at := map[string]int64{WordAnswered: t0 + 1000, WordEnded: t0 + 8345, WordFailed: t0 + 20}
		for i, w := range words {
			p.told(t0+10_000+int64(i), w, at[w], 1)
			if held := p.payer.wallet.Balance().HeldMicros; held != 0 {
				t.Errorf("%s: after %s %d are held", name, w, held)
			}
			p.crash(t0 + 10_000 + int64(i))
		}
		p.wake(t0 + 20_000 + StartWait.Milliseconds())
		if p.charged() != 80_000 || p.payer.Len() != 0 {
			t.Errorf("%s: %d was charged, %d calls", name, p.charged(), p.payer.Len())
		}
	}
	p := funded(t)
	p.told(t0, WordFailed, t0, 1)
	if p.wake(t0 + StartWait.Milliseconds()); p.payer.Len() != 0 || p.charged() != 0 {
		t.Errorf("%d calls are remembered, %d was charged", p.payer.Len(), p.charged())
	}
}

// Proves that words go by the question that they are about: one of a miss that comes late, when another number is paid for already, takes
// nothing from that; and when one was lost, an answer of a later question than was paid for is somebody's inside, and costs nothing.
func TestPayer_WordsGoByTheirQuestion(t *testing.T) {
	p := funded(t)
	p.told(t0+10, WordMissed, 0, 2)
	again := payment(second)
	again.Attempt = 34
	if paid := p.pay(t0+20, again); paid.State != Granted {
		t.Fatalf("%+v", paid)
	}
	p.told(t0+30, WordMissed, 0, 2)
	if p.payer.wallet.Balance().HeldMicros == 0 {
		t.Error("a late word of the first miss has ended what pays for the second")
	}
	p.told(t0+40, WordAnswered, t0+1000, 34)
	p.told(t0+50, WordEnded, t0+2000, 34)
	if p.charged() != 10_000 {
		t.Errorf("%d was charged", p.charged())
	}

	p = funded(t) // the word of the miss is lost, and the number is called again
	again.Attempt = 3
	p.pay(t0+10, again)
	p.crash(t0 + 10)
	p.told(t0+20, WordMissed, 0, 2)
	if p.payer.wallet.Balance().HeldMicros == 0 {
		t.Error("a late word has ended what pays for the later question")
	}

	for name, words := range map[string][]string{
		"in order": {WordAnswered, WordEnded}, "the end first": {WordEnded, WordAnswered}, "twice": {WordAnswered, WordAnswered, WordEnded, WordEnded}, "failed": {WordFailed},
	} {
		p := funded(t)
		at := map[string]int64{WordAnswered: t0 + 1000, WordEnded: t0 + 8345, WordFailed: t0 + 20}
		for _, w := range words {
			p.told(t0+10_000, w, at[w], 2)
			p.crash(t0 + 10_000)
		}
		if b := p.payer.wallet.Balance(); p.charged() != 0 || b.HeldMicros != 0 || p.payer.Len() != 0 {
			t.Errorf("%s: %+v, %d calls", name, b, p.payer.Len())
		}
	}
}

// Proves that a call of which nobody tells is held and extended, and given up only when its edge has long ended it by itself; what was told of its
// talk is charged then, and a word of its end charges the rest.
func TestPayer_ASilentCallIsHeldAsLongAsItMayLast(t *testing.T) {
	p := funded(t)
	p.told(t0+1000, WordAnswered, t0+980, 1)
	at := func(d time.Duration) int64 { return t0 + 1000 + d.Milliseconds() }
	p.wake(at(50 * time.Minute))
	p.told(at(50*time.Minute), WordUp, t0+980+40*60_000, 0)
	p.crash(at(50 * time.Minute))
	p.wake(at(time.Hour + StartWait - time.Second))
	if holds := p.payer.wallet.Holds(); len(holds) != 1 || holds[0].Sec != 3600 || p.charged() != 0 {
		t.Fatalf("%+v, %d was charged", holds, p.charged())
	}
	p.wake(at(time.Hour + StartWait + time.Second))
	if len(p.payer.wallet.Holds()) != 0 || p.charged() != 2400*10_000 {
		t.Errorf("%+v, %d was charged", p.payer.wallet.Holds(), p.charged())
	}
	p.told(at(2*time.Hour), WordEnded, t0+980+3500_000, 1)
	if p.charged() != 3500*10_000 {
		t.Errorf("%d was charged", p.charged())
	}
	p = funded(t)
	if p.wake(t0 + (time.Hour + StartWait).Milliseconds() + 1000); len(p.payer.wallet.Holds()) != 0 {
		t.Error("a call that nobody ever told of is held for good")
	}
}

// Proves that a node which does not end a call is told again ever more seldom, up to once a minute, until the call is known to be over, that a top-up
// does not take it back, and that all but the first are marked.
func TestPayer_TheOrderToEndComesEverMoreSeldom(t *testing.T) {
	p := newPurse(t, "acc_1")
	p.topup(t0, 600_000)
	p.pay(t0, payment(second))
	p.told(t0, WordAnswered, t0-20, 1)
	var at []int64
	for now := t0; now < t0+400_000; now += 500 {
		p.wake(now)
		for _, task := range p.payer.Tasks() {
			if task.Kind != TaskEnd || task.Again != (len(at) > 0) {
				t.Errorf("%d: %+v", now, task)
			}
			at = append(at, (now-t0)/1000)
		}
		if len(at) == 1 && now == t0+60_000 {
			p.topup(now, 5_000_000)
		}
	}
	if got, want := fmt.Sprint(at), "[59 61 65 73 89 121 181 241 301 361]"; got != want {
		t.Errorf("told at %s, want %s", got, want)
	}
	p.told(t0+400_000, WordEnded, t0+90_000, 1)
	if p.wake(t0 + 800_000); len(p.payer.Tasks()) != 0 {
		t.Error("it is told after the end")
	}
}

// Proves that operators hear of a call that somebody could not be charged for, once, and once more when the brain dies right after.
func TestPayer_UnpaidIsToldAgainAfterACrash(t *testing.T) {
	p, other := newPurse(t, "acc_1"), newPurse(t, "acc_2")
	p.topup(t0, 1_000_000)
	other.topup(t0, 1_000_000)
	o := payment(second)
	o.Levels = append(o.Levels, Level{"acc_2", "EUR", Rate{"49", second, 0}})
	m := &market{t: t, now: t0, purses: map[string]*purse{"acc_1": p, "acc_2": other}}
	paid := p.pay(t0, o)
	say := func(chain string, o Order, y Reply) {
		p.apply(m.now, AppendAnswer(nil, &Answer{chain, o.Level, o.Kind, o.Op, y}))
	}
	say(paid.Chain, paid.Order, Reply{Done: true, HeldSec: 60, MoneySec: 60})
	p.told(t0, WordAnswered, t0+1000, 1)
	p.told(t0, WordEnded, t0+2000, 1)
	for _, task := range p.payer.Tasks() {
		if task.Order.Kind == Settle {
			say(task.Chain, task.Order, Reply{Why: WhyConflict})
		}
	}
	if got := fmt.Sprint(p.kinds()); got != "[unpaid]" {
		t.Fatalf("tasks %s", got)
	}
	p.wake(t0 + 10_000)
	if got := p.kinds(); len(got) != 0 {
		t.Errorf("again: %s", got)
	}
	p.crash(t0 + 11_000)
	if got := fmt.Sprint(p.kinds()); got != "[unpaid]" {
		t.Errorf("after a crash: %s", got)
	}
	if p.wake(t0 + 11_000 + StartWait.Milliseconds()); p.payer.Len() != 0 {
		t.Error("it is remembered for good")
	}
}

// Proves that a top-up which is repeated counts once as long as the statement shows it, and is refused afterwards: it never counts twice.
func TestMachine_ATopUpIsNeverBookedTwice(t *testing.T) {
	m := New("acc_1")
	first := &Op{Kind: TopUp, ID: "invoice", AskedMS: t0, Micros: 5}
	do(t, m, t0, first)
	for _, days := range []int{91, 93, 400} {
		now := t0 + int64(days)*24*3600*1000
		do(t, m, now, asked(topup(fmt.Sprint("other", days), 1), now))
		y := do(t, m, now+1, first)
		if repeated := days < 92; y.Repeated != repeated || (y.Why == WhyStale) == repeated {
			t.Errorf("after %d days: %+v", days, y)
		}
		later := *first
		later.AskedMS = now
		if y := do(t, m, now+1, &later); days < 92 && !y.Repeated {
			t.Errorf("under another time, after %d days: %+v", days, y)
		}
	}
}

// Proves that a call which somebody inside has answered costs nothing though the word of it comes again while a reseller has not yet heard that
// the number was missed.
func TestPayer_AnAnswerInsideComesAgain(t *testing.T) {
	p := newPurse(t, "acc_1")
	p.topup(t0, 1_000_000)
	o := payment(second)
	o.Levels = append(o.Levels, Level{"acc_2", "EUR", Rate{"49", second, 0}})
	paid := p.pay(t0, o)
	p.apply(t0, AppendAnswer(nil, &Answer{paid.Chain, paid.Order.Level, Hold, paid.Order.Op, Reply{Done: true, HeldSec: 60, MoneySec: 60}}))
	for i, kind := range []string{WordMissed, WordAnswered, WordAnswered, WordEnded, WordAnswered, WordEnded} {
		p.told(t0+int64(i), kind, t0+1000*int64(i), 2)
		p.crash(t0 + int64(i))
		for _, task := range p.payer.Tasks() {
			if task.Order.Kind != Release {
				t.Fatalf("%s: %+v", kind, task)
			}
			if o, err := ReadOp(task.Order.Op); err != nil || o.Answered {
				t.Fatalf("%s: %+v %v", kind, o, err)
			}
		}
	}
	if b := p.payer.wallet.Balance(); b.BalanceMicros != 1_000_000 {
		t.Errorf("%+v", b)
	}
}

// Proves that a call whose answer is told late, when its hold has long run out, is not told to end before its reseller could say whether there is more, and
// that it is when he says nothing.
func TestPayer_ALateAnswerWaitsForTheReseller(t *testing.T) {
	for _, says := range []bool{true, false} {
		p := newPurse(t, "acc_1")
		p.topup(t0, 100_000_000)
		o := payment(second)
		o.Levels = append(o.Levels, Level{"acc_2", "EUR", Rate{"49", second, 0}})
		paid := p.pay(t0, o)
		p.apply(t0, AppendAnswer(nil, &Answer{paid.Chain, 1, Hold, paid.Order.Op, Reply{Done: true, HeldSec: 60, MoneySec: 600}}))
		now := t0 + 300_000
		p.told(now, WordAnswered, t0+1000, 1)
		for ; now < t0+305_000; now += 100 {
			p.wake(now)
			for _, task := range p.payer.Tasks() {
				if task.Kind == TaskEnd {
					t.Fatalf("it is told to end after %d ms", now-t0)
				}
				if op, err := ReadOp(task.Order.Op); err == nil && says {
					held := max(60, op.Sec)
					p.apply(now, AppendAnswer(nil, &Answer{task.Chain, 1, Extend, task.Order.Op, Reply{Done: true, HeldSec: held, MoneySec: 600}}))
				}
			}
			p.crash(now)
		}
		p.wake(t0 + 311_000)
		ends := 0
		for _, task := range p.payer.Tasks() {
			if task.Kind == TaskEnd && !task.Again {
				ends++
			}
		}
		if (ends == 1) == says || ends > 1 {
			t.Errorf("says %v: told to end %d times", says, ends)
		}
	}
}

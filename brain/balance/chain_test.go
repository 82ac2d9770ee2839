package balance

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

var wholesale = Terms{0, 30_000, 1, 1}

// pay is a call of acc_child, customer of acc_reseller.
func pay() Pay {
	return Pay{Token: "tok", CallID: "call", To: "4930", AskedMS: t0, Sec: 60, MostSec: 3600, Levels: []Level{
		{"acc_child", "EUR", Rate{"49", minute, 0}}, {"acc_reseller", "EUR", Rate{"4", wholesale, 0}}, {"acc_top", "EUR", Rate{"4", wholesale, 0}}}}
}

// shop is a chain, its wallets, and what survives its owner.
type shop struct {
	t       *testing.T
	chain   *Chain
	image   []byte
	wallets map[string]*Machine
	crashAt int // the step after which the owner dies; steps are counted down
	again   bool
	crashed bool
}

func newShop(t *testing.T, money ...int64) *shop {
	s := &shop{t: t, wallets: map[string]*Machine{}, crashAt: -1}
	p := pay()
	for i, l := range p.Levels {
		s.wallets[l.AccountID] = New(l.AccountID)
		if money[i] > 0 {
			do(t, s.wallets[l.AccountID], t0, topup("t", money[i]))
		}
	}
	var err error
	if s.chain, err = NewChain(p); err != nil {
		t.Fatal(err)
	}
	s.keep()
	return s
}

// heard takes an answer to an order of a kind, as it would be given now.
func heard(c *Chain, kind string, level int, y Reply) bool {
	return c.Heard(Order{kind, level, c.Levels[level].AccountID, AppendOp(nil, c.op(kind, level))}, y)
}

// keep writes the image down.
func (s *shop) keep() { s.image = s.chain.AppendImage(nil) }

// step counts down to the crash. A crash leaves what is written; an owner that had told nobody anything ends the call.
func (s *shop) step() bool {
	if s.crashAt--; s.crashAt != -1 {
		return false
	}
	c, err := RestoreChain(s.image)
	if err != nil || !bytes.Equal(c.AppendImage(nil), s.image) {
		s.t.Fatalf("restored otherwise: %v", err)
	}
	s.chain, s.crashed = c, true
	if _, ok := c.Granted(); !ok {
		c.End(false, 0)
	}
	s.keep()
	return true
}

// run gives orders until there are none: each answer may be lost with the owner, after the order or before it is written that it came.
func (s *shop) run() {
	for range 100 {
		o, some := s.chain.Next()
		if !some {
			return
		}
		if s.step() {
			continue
		}
		reply, _, err := s.wallets[o.AccountID].Apply(t0, o.Op)
		if err != nil {
			s.t.Fatal(err)
		}
		if s.step() {
			continue
		}
		y, err := ReadReply(reply)
		if err != nil {
			s.t.Fatal(err)
		}
		if s.chain.Heard(o, y); s.step() {
			continue
		}
		s.keep()
	}
	s.t.Fatal("it never ends")
}

// check holds the end: every wallet charged once for the talk, or none was; nothing is held.
func (s *shop) check(talkMS int64, answered bool, money ...int64) {
	s.t.Helper()
	if !s.chain.Closed() {
		s.t.Error("the chain is not closed")
	}
	for i, l := range pay().Levels {
		m := s.wallets[l.AccountID]
		check(s.t, m)
		want := money[i]
		if answered {
			want -= l.Rate.Charge(talkMS)
		}
		if b := m.Balance(); b.BalanceMicros != want || b.HeldMicros != 0 {
			s.t.Errorf("%s has %d, want %d, and %d held", l.AccountID, b.BalanceMicros, want, b.HeldMicros)
		}
	}
}

// Proves the two steps without trouble: the seconds are those of the poorest level, and each pays by its own rate.
func TestChain_EveryLevelPaysByItsOwnRate(t *testing.T) {
	money := []int64{1_000_000, 40_000, 1_000_000} // the reseller has 80 s
	s := newShop(t, money...)
	s.run()
	if sec, ok := s.chain.Granted(); !ok || sec != 60 {
		t.Fatalf("granted %d s", sec)
	}
	s.chain.Answered(1000, 120)
	s.run()
	if sec, ok := s.chain.Granted(); !ok || sec != 80 {
		t.Fatalf("extended to %d s", sec)
	}
	if h := s.wallets["acc_top"].Balance().HeldMicros; h != 40_000 {
		t.Errorf("the top holds %d for seconds that the reseller does not pay", h)
	}
	s.chain.End(true, 79_000)
	s.run()
	s.check(79_000, true, money...)
	if s.chain.End(true, 5) || s.chain.End(false, 0) || len(s.chain.Unpaid()) != 0 {
		t.Error("an end told again changes something")
	}
}

// Proves that a refusal at any level gives back what those before it hold, and says why.
func TestChain_ARefusalReleasesEveryLevel(t *testing.T) {
	for poor := range 3 {
		money := []int64{1_000_000, 1_000_000, 1_000_000}
		money[poor] = 100
		s := newShop(t, money...)
		s.run()
		if _, ok := s.chain.Granted(); ok || s.chain.Refused() != WhyMoney {
			t.Errorf("level %d: %q", poor, s.chain.Refused())
		}
		s.check(0, false, money...)
	}
}

// Kills the owner after every single step of calls that are granted, refused, cancelled and answered, and lets another go on from what
// was written. Proves that in the end every level has paid once, or none, and nothing is held.
func TestChain_CrashAtEachStep(t *testing.T) {
	rich := []int64{1_000_000, 1_000_000, 1_000_000}
	for _, story := range []struct {
		name     string
		money    []int64
		answered bool
	}{{"answered", rich, true}, {"not answered", rich, false}, {"refused", []int64{1_000_000, 1_000_000, 100}, true}} {
		t.Run(story.name, func(t *testing.T) {
			crashes := 0
			for at := range 100 {
				s := newShop(t, story.money...)
				s.crashAt = at
				s.run()
				_, up := s.chain.Granted()
				if up && story.answered {
					s.chain.Answered(1000, 120)
					s.keep()
					s.run()
				}
				answered := up && story.answered
				s.chain.End(answered, 100_000)
				s.keep()
				s.run()
				s.check(100_000, answered, story.money...)
				if t.Failed() {
					t.Fatalf("crash after step %d", at)
				}
				if !s.crashed {
					break
				}
				crashes++
			}
			if crashes < 9 || crashes == 100 {
				t.Errorf("%d crashes", crashes)
			}
		})
	}
}

// Proves that a word of an answer after an end without one is charged, that one known to be answered whose end nobody can tell pays
// what was heard of, and that late answers to earlier orders change nothing.
func TestChain_LateWords(t *testing.T) {
	money := []int64{1_000_000, 1_000_000, 1_000_000}
	s := newShop(t, money...)
	s.run()
	s.chain.End(false, 0)
	s.run()
	s.check(0, false, money...)
	if !s.chain.End(true, 61_000) || heard(s.chain, Release, 0, Reply{Done: true}) || heard(s.chain, Hold, 0, Reply{Done: true}) {
		t.Error("a late answer is taken, or a late end is not")
	}
	s.run()
	s.check(61_000, true, money...)

	s = newShop(t, money...)
	s.run()
	s.chain.Answered(61_000, 120)
	s.chain.End(false, 0) // before any extend was given
	s.run()
	s.check(61_000, true, money...)
	s.chain.End(true, 130_000)
	s.run()
	s.check(130_000, true, money...)
	if o, some := s.chain.Next(); some {
		t.Errorf("%+v after the end", o)
	}
}

// Proves that a wallet which has forgotten the call is told of to operators, and a clock that is ahead is waited for.
func TestChain_WhoCannotBeSettledIsTold(t *testing.T) {
	c, err := NewChain(pay())
	if err != nil {
		t.Fatal(err)
	}
	c.End(true, 1000)
	if heard(c, Settle, 0, Reply{Why: WhyClock}) || !heard(c, Settle, 0, Reply{Why: WhyStale}) || !heard(c, Settle, 1, Reply{Done: true}) || !heard(c, Settle, 2, Reply{Done: true}) {
		t.Fatal("an answer is not taken as it should")
	}
	if got := fmt.Sprint(c.Unpaid(), c.Closed()); got != "[acc_child] true" {
		t.Error(got)
	}
}

// Proves which chains are refused.
func TestNewChain_Refuses(t *testing.T) {
	for name, spoil := range map[string]func(*Pay){
		"none": func(p *Pay) { p.Levels = nil }, "many": func(p *Pay) { p.Levels = make([]Level, MaxLevels+1) },
		"twice": func(p *Pay) { p.Levels[2].AccountID = "acc_child" }, "nameless": func(p *Pay) { p.Levels[1].AccountID = "" },
		"rate": func(p *Pay) { p.Levels[1].Rate.FirstSec = 0 }, "token": func(p *Pay) { p.Token = "" }, "no time": func(p *Pay) { p.MostSec = 0 },
	} {
		p := pay()
		spoil(&p)
		if _, err := NewChain(p); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	plan, err := NewPlan("EUR", []Rate{{"49", minute, 0}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := LevelFor("a", "USD", plan, "4930", 1); !errors.Is(err, ErrCurrency) {
		t.Errorf("another currency: %v", err)
	}
	if l, ok, err := LevelFor("a", "EUR", plan, "4930", 1); err != nil || !ok || l.Rate.Prefix != "49" {
		t.Errorf("%+v, %v, %v", l, ok, err)
	}
	if _, ok, _ := LevelFor("a", "EUR", plan, "33", 1); ok {
		t.Error("a number without a rate has one")
	}
}

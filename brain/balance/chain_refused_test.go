package balance

import "testing"

// Proves that a call which comes with the token of another is refused, ends, and leaves what the other holds; that one pays as if alone.
func TestChain_AnotherCallOfTheToken(t *testing.T) {
	money := []int64{1_000_000, 1_000_000, 1_000_000}
	s := newShop(t, money...)
	s.run()
	p := pay()
	p.CallID = "another"
	c, err := NewChain(p)
	if err != nil {
		t.Fatal(err)
	}
	second := &shop{t: t, chain: c, wallets: s.wallets, crashAt: -1}
	second.run()
	if second.chain.Refused() != WhyConflict || !second.chain.Closed() {
		t.Errorf("refused by %q, closed %v", second.chain.Refused(), second.chain.Closed())
	}
	for id, m := range s.wallets {
		if m.Balance().Calls != 1 {
			t.Errorf("%s holds nothing any more", id)
		}
	}
	s.chain.End(true, 61_000)
	s.run()
	s.check(61_000, true, money...)
	second.chain.End(true, 1000) // it talked all the same: nobody can charge it, and operators are told
	second.run()
	s.check(61_000, true, money...)
	if got := len(second.chain.Unpaid()); got != 3 || !second.chain.Closed() {
		t.Errorf("%d are unpaid", got)
	}
}

// Proves that the end of a call that pays waits for a clock that is ahead, one that does not pay ends at once however far it is, and
// both wait for room.
func TestChain_AClockAheadKeepsNoChainForNothing(t *testing.T) {
	c, err := NewChain(pay())
	if err != nil {
		t.Fatal(err)
	}
	if !heard(c, Hold, 0, Reply{Why: WhyClock}) || heard(c, Release, 0, Reply{Why: WhyFull}) || !heard(c, Release, 0, Reply{Why: WhyClock}) || !c.Closed() {
		t.Error("what holds nothing waits, or does not wait for room")
	}
	c.End(true, 1000)
	if heard(c, Settle, 0, Reply{Why: WhyFull}) || heard(c, Settle, 0, Reply{Why: WhyClock}) || c.Closed() {
		t.Error("what is to be paid does not wait")
	}
}

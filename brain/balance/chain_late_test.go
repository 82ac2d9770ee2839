package balance

import "testing"

// Proves that the word that a call was answered counts though an end as not answered came before it, at every level, once, and with its
// last talk; that an answer to a release which did not know of it is not taken for one that did; and that the end still corrects it.
func TestChain_AnsweredIsToldAfterTheEnd(t *testing.T) {
	for name, when := range map[string]struct{ granted, released bool }{
		"after the releases": {true, true}, "before them": {true, false}, "of a chain that had granted nothing": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			money := []int64{1_000_000, 1_000_000, 1_000_000}
			s := newShop(t, money...)
			if when.granted {
				s.run()
			}
			s.chain.End(false, 0)
			unknowing, _ := s.chain.Next()
			if when.released {
				s.run()
				s.check(0, false, money...)
			}
			for _, talkMS := range []int64{0, 61_000} {
				if !s.chain.Answered(talkMS, talkMS/1000+90) || s.chain.Answered(talkMS, 3600) || s.chain.Closed() {
					t.Fatalf("the word of %d ms is not heard, or twice", talkMS)
				}
				if s.chain.Heard(unknowing, Reply{Done: true}) {
					t.Error("a late answer counts as told")
				}
				unknowing, _ = s.chain.Next()
				s.keep()
				s.crashAt = 0 // the image keeps it
				s.run()
				s.check(talkMS, true, money...)
			}
			if s.chain.Answered(60_000, 150) || s.chain.End(false, 0) || !s.chain.Closed() {
				t.Error("less, or no more, opens it again")
			}
			s.chain.End(true, 30_000)
			s.run()
			if s.check(30_000, true, money...); s.chain.Answered(90_000, 90) {
				t.Error("the talk is known for good, and yet another counts")
			}
		})
	}
}

// Proves that no repeated word opens a chain again when the talk is beyond the bound.
func TestChain_ALateWordBeyondTheBound(t *testing.T) {
	s := newShop(t, 1_000_000, 1_000_000, 1_000_000)
	s.run()
	s.chain.End(false, 0)
	if !s.chain.Answered(MaxTalkMS+1, 0) || s.chain.Answered(MaxTalkMS+2, 0) || s.chain.talkMS != MaxTalkMS {
		t.Errorf("%d ms are told", s.chain.talkMS)
	}
}

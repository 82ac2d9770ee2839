package acd_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain/acd"
)

// keep has somebody who waits hang up and keep his place: "asks for a callback", with tries, retry, window, delay or at and
// what they are to be.
func (s *stage) keep(number, what string) error {
	more, ok := strings.CutPrefix(what, "asks for a callback")
	if !ok {
		return fmt.Errorf("callers do not ask for that")
	}
	c := &acd.Callback{EntryID: s.entries[number].EntryID, Token: s.entries[number].Token, Number: number, Tries: 3, DelayMS: 5_000, RetryMS: 300_000, WindowMS: 14_400_000}
	times := map[string]*int64{"retry": &c.RetryMS, "window": &c.WindowMS, "delay": &c.DelayMS}
	words := strings.Fields(more)
	for i := 0; i+1 < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i+1], 10, 64)
		switch {
		case words[i] == "at":
			c.Number = words[i+1]
		case err != nil:
			return err
		case words[i] == "tries":
			c.Tries = int(n)
		case times[words[i]] != nil:
			*times[words[i]] = n * 1000
		default:
			return fmt.Errorf("%s is no property of a callback", words[i])
		}
	}
	return s.apply(acd.AppendCallback(nil, c), s.answer(number, "hangs up and keeps the place"))
}

// called is what becomes of the latest call to somebody.
func (s *stage) called(number, what string) error {
	o, ok := s.calls[number]
	if !ok {
		return fmt.Errorf("nobody has called %s", number)
	}
	switch what {
	case "takes the call": // and has pressed 1
		j := *s.entries[number]
		j.Token, j.CallID, j.CallbackFence = o.Token, "callback"+number, o.Offer.Fence
		s.entries[number] = &j
		return s.ask(number)
	case "does not take the call":
		return s.apply(acd.AppendMiss(nil, o.Offer.ReservationID, o.Offer.Fence, acd.MissCaller), nil)
	case "never gets the call": // the platform could not make it
		return s.apply(acd.AppendMiss(nil, o.Offer.ReservationID, o.Offer.Fence, acd.MissFailed), nil)
	}
	return fmt.Errorf("nobody does that with a call")
}

// answer writes down what a caller got.
func (s *stage) answer(number, done string) func(reply []byte) error {
	return func(reply []byte) error {
		v, err := acd.ReadVerdict(reply)
		if v.Granted {
			s.say("%s %s", number, done)
		} else {
			s.say("%s cannot: %s", number, v.Why)
		}
		return err
	}
}

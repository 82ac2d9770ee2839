package session

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// wishing begins a call of user 102 that waits in the queue with callbacks, and presses a key.
func wishing(t *testing.T, key string) *stage {
	t.Helper()
	s := newStage(t)
	s.start("queue/q_call", map[string]string{"caller_number": "102", "direction": "internal"})
	s.outcome(api.OutcomeDone, nil)
	s.outcome(api.OutcomeDigit, map[string]string{"digit": key})
	return s
}

// of tells what is to be done about places, by kind, cause or number.
func of(r Reply) (list string) {
	for _, e := range r.Effects {
		switch {
		case e.Callback != nil:
			list += e.Kind + " " + e.Callback.Number + ", "
		case e.Missed != nil:
			list += e.Kind + " " + e.Missed.Cause + ", "
		case e.EntryID != "":
			list += e.Kind + " " + e.Outcome + ", "
		}
	}
	return strings.TrimSuffix(list, ", ")
}

func TestCallback_LapsedItStaysAgreed(t *testing.T) {
	// Proves that a caller who had heard that he is called back, and whose node was cut off then, is called back, and that his end tells it
	// no second time once that was done.
	s := wishing(t, "0")
	at, _ := s.m.Deadline()
	s.now = at
	s.apply(s.m.Due(at))
	r := s.ask(&Request{})
	if of(r) != "queue_callback 102" || r.Entry != "" {
		t.Fatalf("lapsed: %s, place %q", of(r), r.Entry)
	}
	s.ask(&Request{Done: r.Turn})
	if r := s.outcome(api.OutcomeHangup, nil); of(r) != "" || !r.Over {
		t.Errorf("hung up: %s, over %v", of(r), r.Over)
	}
}

func TestCallback_LapsedBeforeItIsAgreedHeWaitsOn(t *testing.T) {
	// Proves that a caller whose place may have been given back while he was asked for a number is not told that he keeps it: he has his
	// place first, with its age, and may press the key again.
	s := wishing(t, "1")
	s.lapse()
	r := s.outcome(api.OutcomeDigits, map[string]string{"digits": "1"})
	if r.Enqueue == nil || r.Enqueue.SinceMS == 0 || of(r) != "" {
		t.Fatalf("he goes on with %+v, %s", r.Enqueue, of(r))
	}
	s.outcome(api.OutcomeDigit, map[string]string{"digit": "0"})
	if r := s.outcome(api.OutcomeDone, nil); of(r) != "queue_callback 102" {
		t.Errorf("the second time: %s", of(r))
	}
}

func TestCallback_LapsedBeforeItIsTakenItIsMissed(t *testing.T) {
	// Proves that the agent of a callback is let go when its node was cut off before the caller pressed 1, and that his key then ends the
	// call without a word about a place that is not his any more.
	s := newStage(t)
	s.start("queue/q_call", map[string]string{VarCallbackEntry: "tok9-1", VarCallbackReservation: "r7", VarCallbackFence: "7"})
	at, _ := s.m.Deadline()
	s.now = at
	s.apply(s.m.Due(at))
	if r := s.ask(&Request{}); of(r) != "queue_missed failed" {
		t.Fatalf("lapsed: %s", of(r))
	} else {
		s.ask(&Request{Done: r.Turn})
	}
	if r := s.outcome(api.OutcomeDigits, map[string]string{"digits": "1"}); r.Command != api.CommandHangup || of(r) != "" {
		t.Errorf("the key: %s, %s", r.Command, of(r))
	}
}

func TestCallback_ANumberThatIsGoneIsAskedForAgain(t *testing.T) {
	// Proves that the number is judged by the configuration as it is when it is given, and that a queue that is gone ends the call.
	s := wishing(t, "1")
	s.outcome(api.OutcomeDigits, map[string]string{"digits": "2"})
	delete(s.env.Account.UserByName, "103")
	if r := s.outcome(api.OutcomeDigits, map[string]string{"digits": "103"}); len(r.Sounds) != 2 || r.Sounds[0].Prompt != promptInvalid {
		t.Errorf("it says %+v", r.Sounds)
	}
	delete(s.env.Account.Queues, "q_call")
	s.outcome(api.OutcomeTimeout, nil)
	if r := s.outcome(api.OutcomeTimeout, nil); r.Command != api.CommandHangup || of(r) != "queue_left failed" {
		t.Errorf("without the queue: %s, %s", r.Command, of(r))
	}
}

func TestCallback_LapsedWhenItWasTakenItHasItsPlaceAgain(t *testing.T) {
	// Proves that a caller who was called back, and whose node was cut off then, asks for the very place that the callback gave him.
	s := newStage(t)
	s.start("queue/q_call", map[string]string{VarCallbackEntry: "tok9-1", VarCallbackReservation: "r7", VarCallbackFence: "7"})
	s.outcome(api.OutcomeDigits, map[string]string{"digits": "1"})
	s.lapse()
	if r := s.ask(&Request{Flow: s.question("", nil)}); r.Enqueue == nil || r.Enqueue.EntryID != "tok9-1" || r.Enqueue.CallbackFence != 7 || r.Enqueue.SinceMS == 0 {
		t.Errorf("it asks for %+v", r.Enqueue)
	}
}

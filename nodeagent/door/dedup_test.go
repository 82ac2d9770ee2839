package door

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// curl repeats a POST whose connection died: the repetition under way, and the one shortly after,
// share one question to the brain; after rememberFor it is a new question.
func TestDoor_RepeatedPostIsOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{delay: 50 * time.Millisecond}
		d := startDoor(t, b)
		const body = "call_id=a&cseq=7&branch=z9"
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if got, _ := askBody(t, d, api.PathAuth, body); got.Action != api.ActionAccept {
					t.Errorf("repetition got %+v", got)
				}
			})
		}
		wg.Wait()
		askBody(t, d, api.PathAuth, body)
		if b.asked.Load() != 1 {
			t.Errorf("brain was asked %d times, want once", b.asked.Load())
		}
		askBody(t, d, api.PathRoute, body)
		if b.asked.Load() != 2 {
			t.Error("another path with the same body must be its own question")
		}
		time.Sleep(rememberFor + time.Second)
		askBody(t, d, api.PathAuth, body)
		if b.asked.Load() != 3 {
			t.Errorf("brain was asked %d times, want a third after the answer was forgotten", b.asked.Load())
		}
	})
}

// The three names come from the network. A request that copies another's Call-ID, CSeq and branch
// but differs anywhere else, in its credentials say, is never given the other's answer.
func TestDoor_SameIdentifiersWithOtherCredentialsAreAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{}
		d := startDoor(t, b)
		askBody(t, d, api.PathAuth, "call_id=a&cseq=7&branch=z9&auth_response=good")
		askBody(t, d, api.PathAuth, "call_id=a&cseq=7&branch=z9&auth_response=stolen")
		if b.asked.Load() != 2 {
			t.Errorf("brain was asked %d times, want 2", b.asked.Load())
		}
	})
}

// A question without the three names is asked every time, and a fallback is never remembered.
func TestDoor_RemembersOnlyNamedQuestionsThatWereDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{}
		d := startDoor(t, b)
		askBody(t, d, api.PathAuth, "call_id=a&cseq=7&xbranch=z9")
		askBody(t, d, api.PathAuth, "call_id=a&cseq=7&xbranch=z9")
		if b.asked.Load() != 2 {
			t.Errorf("nameless question was asked %d times, want 2", b.asked.Load())
		}
		b.set(func(f *fakeBrain) { f.status = 500 })
		askBody(t, d, api.PathAuth, "call_id=b&cseq=7&branch=z9")
		b.set(func(f *fakeBrain) { f.status = 200 })
		if got, _ := askBody(t, d, api.PathAuth, "call_id=b&cseq=7&branch=z9"); got.Action != api.ActionAccept {
			t.Errorf("fallback was remembered: %+v", got)
		}
	})
}

// The memory of answers never holds more than its bound.
func TestMemory_IsBounded(t *testing.T) {
	m, now := newMemory(), time.Now()
	for i := range 3 * rememberMax {
		e, first := m.begin(uint64(i), now)
		if !first {
			t.Fatalf("key %d is known already", i)
		}
		m.finish(e, reply{}, true, now)
	}
	if len(m.entries) != rememberMax || m.count != rememberMax {
		t.Errorf("memory holds %d entries and %d in the ring, want %d", len(m.entries), m.count, rememberMax)
	}
	m.begin(1<<40, now.Add(rememberFor+1))
	if len(m.entries) != 1 {
		t.Errorf("%d entries left after they expired, want only the new one", len(m.entries))
	}
}

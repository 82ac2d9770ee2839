package door

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// With two brains the second is asked when the first is silent for HedgeAfter; its answer wins and
// the first's exchange is cut.
func TestDoor_HedgeAsksTheNextBrainAndCutsTheSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &fakeBrain{delay: 400 * time.Millisecond}, &fakeBrain{delay: 10 * time.Millisecond}
		d := startDoor(t, slow, quick)
		got, took := ask(t, d, api.PathAuth)
		if got.Action != api.ActionAccept || took != d.cfg.HedgeAfter+10*time.Millisecond {
			t.Errorf("answer %+v after %v, want the second brain's after %v", got, took, d.cfg.HedgeAfter+10*time.Millisecond)
		}
		synctest.Wait()
		if slow.cut.Load() != 1 {
			t.Error("the slower brain's exchange was not cut")
		}
	})
}

// A preferred brain that answers in time is the only one asked.
func TestDoor_HedgeLeavesTheSecondBrainAloneWhileTheFirstIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &fakeBrain{delay: 50 * time.Millisecond}, &fakeBrain{}
		d := startDoor(t, first, second)
		for range 5 {
			ask(t, d, api.PathAuth)
		}
		if first.asked.Load() != 5 || second.asked.Load() != 0 {
			t.Errorf("asked %d and %d times, want 5 and 0", first.asked.Load(), second.asked.Load())
		}
	})
}

// A frozen preferred brain must not cost every question the hedge time for ever, although each of
// its exchanges is cut before the stall time: the silence adds up and opens its breaker.
func TestDoor_HedgedSilenceAddsUpToAnOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frozen, quick := &fakeBrain{frozen: true}, &fakeBrain{}
		d := startDoor(t, frozen, quick)
		for range 4 {
			if got, _ := ask(t, d, api.PathAuth); got.Action != api.ActionAccept {
				t.Errorf("answer %+v, want the second brain's", got)
			}
			time.Sleep(time.Second)
		}
		if !d.brains[0].open.Load() {
			t.Fatal("breaker of the frozen brain is closed")
		}
		if _, took := ask(t, d, api.PathAuth); took != 0 {
			t.Errorf("with the frozen brain's breaker open the second took %v", took)
		}
	})
}

// A failing or refused first brain makes the door ask the second at once.
func TestDoor_HedgeGoesOnAtOnceWhenABrainFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, first := range []*fakeBrain{{status: 500}, {err: errUnreachable}, {err: errors.New("reset")}} {
			d := startDoor(t, first, &fakeBrain{})
			if got, took := ask(t, d, api.PathAuth); got.Action != api.ActionAccept || took != 0 {
				t.Errorf("answer %+v after %v, want the second brain's at once", got, took)
			}
		}
	})
}

// When no brain decides, the hedged question ends at the deadline like any other.
func TestDoor_HedgeEndsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDoor(t, &fakeBrain{frozen: true}, &fakeBrain{frozen: true})
		got, took := ask(t, d, api.PathAuth)
		wantFallback(t, got)
		if took > d.cfg.Deadline+2*watchInterval {
			t.Errorf("took %v", took)
		}
	})
}

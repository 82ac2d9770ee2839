package door

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// A frozen brain takes questions and never answers: the first waits one stall time, everything in
// flight is answered with it, and whoever comes later is answered at once without touching the brain.
func TestDoor_FrozenBrainCostsOneStallTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{frozen: true}
		d := startDoor(t, b)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				start := time.Now()
				got, took := ask(t, d, api.PathAuth)
				wantFallback(t, got)
				if limit := d.cfg.StallAfter + 2*watchInterval; took > limit {
					t.Errorf("question %d from %v waited %v, limit %v", i, start, took, limit)
				}
			})
		}
		wg.Wait()
		asked := b.asked.Load()
		got, took := ask(t, d, api.PathRoute)
		wantFallback(t, got)
		if took != 0 || b.asked.Load() != asked {
			t.Errorf("with an open breaker the answer took %v and the brain was asked %d times more", took, b.asked.Load()-asked)
		}
		if s := d.Stats(); s.Brains[0].Opened != 1 || !s.Brains[0].Open || s.Fallbacks != 9 {
			t.Errorf("stats %+v, want one opening and 9 fallbacks", s)
		}
	})
}

// The breaker closes by the probe alone, within a probe interval of the brain's thaw, and the next
// question is decided again.
func TestDoor_RecoversWhenTheBrainThaws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{frozen: true}
		d := startDoor(t, b)
		ask(t, d, api.PathAuth)
		time.Sleep(3 * time.Second)
		if !d.brains[0].open.Load() {
			t.Fatal("breaker closed on a frozen brain")
		}
		b.set(func(f *fakeBrain) { f.frozen = false })
		time.Sleep(2 * probeInterval)
		got, _ := ask(t, d, api.PathAuth)
		if got.Action != api.ActionAccept || d.brains[0].open.Load() {
			t.Errorf("after the thaw: %+v, open %v", got, d.brains[0].open.Load())
		}
	})
}

// A brain that refuses connections opens the breaker with the first question, without any wait.
func TestDoor_RefusedConnectionOpensTheBreakerAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{err: fmt.Errorf("%w: connection refused", errUnreachable)}
		d := startDoor(t, b)
		for range 3 {
			got, took := ask(t, d, api.PathRoute)
			wantFallback(t, got)
			if took != 0 {
				t.Errorf("a refused connection cost %v", took)
			}
		}
		if b.asked.Load() != 1 {
			t.Errorf("brain was tried %d times, want once", b.asked.Load())
		}
	})
}

// A slow brain that keeps answering others is no frozen brain: its late questions end at their own
// deadline, and the breaker stays closed.
func TestDoor_SlowQuestionEndsAtItsDeadlineWhileOthersAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{delay: time.Minute}
		d := startDoor(t, b)
		done := make(chan struct{})
		go func() {
			defer close(done)
			got, took := ask(t, d, api.PathAuth)
			wantFallback(t, got)
			if took < d.cfg.Deadline || took > d.cfg.Deadline+2*watchInterval {
				t.Errorf("late question answered after %v, want the deadline %v", took, d.cfg.Deadline)
			}
		}()
		synctest.Wait()
		b.set(func(f *fakeBrain) { f.delay = 150 * time.Millisecond })
		for range 6 {
			if got, _ := ask(t, d, api.PathAuth); got.Action != api.ActionAccept {
				t.Errorf("answer %+v from a slow brain, want its decision", got)
			}
		}
		<-done
		if d.Stats().Brains[0].Opened != 0 {
			t.Error("breaker opened on a brain that answers")
		}
	})
}

// A brain's 500 and a brain's 400 become SIP refusals of their own kind; neither opens the breaker.
func TestDoor_BrainFaultsBecomeRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBrain{status: 500}
		d := startDoor(t, b)
		got, _ := ask(t, d, api.PathRoute)
		wantFallback(t, got)
		b.set(func(f *fakeBrain) { f.status = 400 })
		got, _ = ask(t, d, api.PathRoute)
		if got.Action != api.ActionReject || got.SIPCode != 400 || got.Reason != "Bad Request" {
			t.Errorf("brain's 400 became %+v, want reject 400", got)
		}
		if s := d.Stats(); s.Brains[0].Opened != 0 || s.BrainFaults != 2 {
			t.Errorf("stats %+v, want two faults and no opening", s)
		}
	})
}

// With MaxInFlight questions under way four more wait until the brain has caught its breath; any other one gets the fallback after
// bulkheadWait, so that some of Kamailio's workers are always free.
func TestDoor_BulkheadTurnsTheThirteenthAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		brain := &fakeBrain{delay: patientWait - time.Millisecond}
		d := startDoor(t, brain)
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				if got, _ := ask(t, d, api.PathAuth); got.Action != api.ActionAccept {
					t.Errorf("one of the first twelve got %+v", got)
				}
			})
		}
		time.Sleep(bulkheadWait + time.Millisecond) // the bubble's clock: four are patient now
		got, took := ask(t, d, api.PathAuth)
		wantFallback(t, got)
		if took != bulkheadWait {
			t.Errorf("thirteenth waited %v, want %v", took, bulkheadWait)
		}
		wg.Wait()
		if got, _ := ask(t, d, api.PathAuth); got.Action != api.ActionAccept {
			t.Errorf("places were not given back: %+v", got)
		}
		if s := d.Stats(); s.BulkheadFull != 1 {
			t.Errorf("stats %+v, want one turned away", s)
		}
	})
}

// A watchdog that woke late (the process was stopped, the machine was asleep) must not blame the
// brain for the silence it slept through.
func TestBrain_LateWatchdogDoesNotBlameTheBrain(t *testing.T) {
	b := &brain{client: &fakeBrain{}, stallAfter: 250 * time.Millisecond, log: slog.New(slog.DiscardHandler), ctx: t.Context()}
	start := time.Now()
	if err := b.begin(&exchange{question: question{deadline: start.Add(time.Minute)}}); err != nil {
		t.Fatal(err)
	}
	b.watch(start.Add(10*time.Second), 10*time.Second)
	if b.open.Load() {
		t.Error("breaker opened although the watchdog itself was late")
	}
	b.watch(start.Add(10*time.Second+300*time.Millisecond), 0)
	if !b.open.Load() {
		t.Error("breaker stayed closed after a stall in plain sight")
	}
}

package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// fakeBrain is a brain without a wire: it answers after delay, with status and body, or fails.
type fakeBrain struct {
	mu     sync.Mutex
	delay  time.Duration
	frozen bool // never answers, health neither
	err    error
	status int
	asked  atomic.Int64
	cut    atomic.Int64
}

const accepted = `{"action":"accept"}`

func (f *fakeBrain) set(change func(*fakeBrain)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeBrain) now() (delay time.Duration, frozen bool, status int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status == 0 {
		f.status = 200
	}
	return f.delay, f.frozen, f.status, f.err
}

func (f *fakeBrain) ask(x *exchange) (answer, error) {
	f.asked.Add(1)
	delay, frozen, status, err := f.now()
	if err != nil {
		return answer{}, err
	}
	if frozen {
		delay = time.Hour
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := x.attach(cancelCutter(cancel)); err != nil {
		return answer{}, err
	}
	select {
	case <-ctx.Done():
		f.cut.Add(1)
		return answer{}, ctx.Err()
	case <-time.After(delay):
		return answer{status, []byte(accepted)}, nil
	}
}

func (f *fakeBrain) health(ctx context.Context) error {
	_, frozen, _, err := f.now()
	if frozen {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (f *fakeBrain) close() {}

// startDoor makes a door over fake brains with its watchdog running, for a synctest bubble.
func startDoor(t *testing.T, brains ...*fakeBrain) *Door {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Log = slog.New(slog.DiscardHandler)
	var clients []client
	for i, b := range brains {
		cfg.Brains = append(cfg.Brains, fmt.Sprintf("brain-%d", i))
		clients = append(clients, b)
	}
	d, err := newDoor(cfg, clients)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done; d.stop() })
	return d
}

var nextCall atomic.Int64

// ask puts one question of its own to the door and returns the directive and how long it took.
func ask(t *testing.T, d *Door, path string) (api.Directive, time.Duration) {
	t.Helper()
	return askBody(t, d, path, fmt.Sprintf("call_id=c%d&cseq=1&branch=b", nextCall.Add(1)))
}

func askBody(t *testing.T, d *Door, path, body string) (api.Directive, time.Duration) {
	t.Helper()
	start := time.Now()
	rep := d.decision(&request{received: start, path: path, body: []byte(body)})
	if rep.status != 200 {
		t.Errorf("HTTP status %d, want 200: Kamailio reads the directive, never the status", rep.status)
	}
	var route api.RouteReply
	var err error
	if path == api.PathRoute && strings.Contains(string(rep.body), "rtjson") {
		err = json.Unmarshal(rep.body, &route)
	} else {
		err = json.Unmarshal(rep.body, &route.RTJSON)
	}
	if err != nil {
		t.Errorf("answer %q: %v", rep.body, err)
	}
	return route.RTJSON, time.Since(start)
}

func wantFallback(t *testing.T, got api.Directive) {
	t.Helper()
	if got.Action != api.ActionReject || got.SIPCode != 503 || got.RetryAfterSec != 2 || !strings.HasPrefix(got.Why, "brain unreachable: ") {
		t.Errorf("answer %+v, want the 503 fallback with Retry-After 2", got)
	}
}

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

// With MaxInFlight questions under way a further one waits 5 ms for a place, then gets the fallback,
// so that some of Kamailio's workers are always free.
func TestDoor_BulkheadTurnsTheNinthAwayIn5ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := startDoor(t, &fakeBrain{delay: 100 * time.Millisecond})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if got, _ := ask(t, d, api.PathAuth); got.Action != api.ActionAccept {
					t.Errorf("one of the first eight got %+v", got)
				}
			})
		}
		synctest.Wait()
		got, took := ask(t, d, api.PathAuth)
		wantFallback(t, got)
		if took != bulkheadWait {
			t.Errorf("ninth waited %v, want %v", took, bulkheadWait)
		}
		wg.Wait()
		if got, _ := ask(t, d, api.PathAuth); got.Action != api.ActionAccept {
			t.Errorf("places were not given back: %+v", got)
		}
	})
}

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

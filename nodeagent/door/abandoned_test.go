package door

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// heldSpool keeps what it is given, and gives nothing back while it is stuck.
type heldSpool struct {
	mu     sync.Mutex
	stuck  chan struct{}
	events []api.Event
	boots  []string
}

func (s *heldSpool) Append(node, boot string, events []api.Event) (int64, []api.Event, error) {
	if s.stuck != nil {
		<-s.stuck
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, events...)
	s.boots = append(s.boots, node+" "+boot)
	return events[len(events)-1].Seq, events, nil
}

// abandoning is a door over one brain that spools to s.
func abandoning(t *testing.T, s *heldSpool, b *fakeBrain) *Door {
	t.Helper()
	d := startDoor(t, b)
	d.given.spool = s
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.given.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

const asked = "node=edge1&cseq=2&branch=b&from_user=o%27neil&from_domain=acme.test&call_id="

// A /route question that a brain had and did not decide, because it froze or failed, becomes one event that
// names its call; what no brain had, what is no call, and what a brain decided becomes none.
func TestAbandoned_TellsOfQuestionsTheBrainHad(t *testing.T) {
	for name, c := range map[string]struct {
		brain      *fakeBrain
		path, body string
		want       int
	}{
		"frozen brain":            {&fakeBrain{frozen: true}, api.PathRoute, asked + "c%201", 1},
		"brain that failed":       {&fakeBrain{status: 500}, api.PathRoute, asked + "c%201", 1},
		"connection lost":         {&fakeBrain{err: errors.New("reset")}, api.PathRoute, asked + "c%201", 1},
		"no connection":           {&fakeBrain{err: fmt.Errorf("%w: refused", errUnreachable)}, api.PathRoute, asked + "c%201", 0},
		"brain that decided":      {&fakeBrain{}, api.PathRoute, asked + "c%201", 0},
		"brain that refused":      {&fakeBrain{status: 400}, api.PathRoute, asked + "c%201", 0},
		"registration":            {&fakeBrain{frozen: true}, api.PathAuth, asked + "c%201", 0},
		"question without a call": {&fakeBrain{frozen: true}, api.PathRoute, asked, 0},
		"question without a node": {&fakeBrain{frozen: true}, api.PathRoute, "call_id=c", 0},
		"no form":                 {&fakeBrain{frozen: true}, api.PathRoute, asked + "c%zz", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &heldSpool{}
				began := time.Now()
				d := abandoning(t, s, c.brain)
				boot := "edge1 door-" + fmt.Sprint(began.UnixMilli())
				askBody(t, d, c.path, c.body)
				synctest.Wait()
				if len(s.events) != c.want {
					t.Fatalf("events %+v, want %d", s.events, c.want)
				}
				if c.want == 0 {
					return
				}
				want := api.Event{Seq: 1, TimeMS: time.Now().UnixMilli(), Type: api.EventDialogFailed, CallID: "c 1", AOR: "sip:o'neil@acme.test", SIPCode: 503}
				if s.events[0] != want || s.boots[0] != boot {
					t.Errorf("%s: %+v, want %s: %+v", s.boots[0], s.events[0], boot, want)
				}
			})
		})
	}
}

// A question that never came to a brain, because every breaker is open or all places are taken, is no event.
func TestAbandoned_LeavesOutWhatNobodyWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &heldSpool{}
		d := abandoning(t, s, &fakeBrain{frozen: true})
		askBody(t, d, api.PathRoute, asked+"first")
		askBody(t, d, api.PathRoute, asked+"second") // the breaker is open
		synctest.Wait()
		if len(s.events) != 1 || s.events[0].CallID != "first" {
			t.Errorf("events %+v, want the first call alone", s.events)
		}
	})
}

// A spool that is stuck delays no answer; what is more than the bound is counted, what is not comes numbered
// without a gap.
func TestAbandoned_NeverWaitsForTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &heldSpool{stuck: make(chan struct{})}
		d := abandoning(t, s, &fakeBrain{status: 500})
		for i := range maxAbandoned + 10 {
			if _, took := askBody(t, d, api.PathRoute, fmt.Sprint(asked, i)); took > 0 {
				t.Fatalf("question %d waited %v", i, took)
			}
			synctest.Wait()
		}
		if lost := d.Stats().AbandonedLost; lost != 9 { // one is with the spool
			t.Errorf("%d lost, want 9", lost)
		}
		close(s.stuck)
		synctest.Wait()
		seqs := make([]int64, len(s.events))
		for i, ev := range s.events {
			seqs[i] = ev.Seq
		}
		if len(seqs) != maxAbandoned+1 || seqs[len(seqs)-1] != int64(len(seqs)) || !slices.IsSorted(seqs) {
			t.Errorf("%d events, the last is %d", len(seqs), seqs[len(seqs)-1])
		}
	})
}

package ng

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// engine is an rtpengine in memory.
type engine struct {
	mu      sync.Mutex
	created map[string]time.Time
	deleted []string
	err     error
}

func (e *engine) Query(_ context.Context, callID string) (Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.created[callID]
	if e.err == nil && !ok {
		return Session{}, ErrUnknownCall
	}
	return Session{at}, e.err
}

func (e *engine) Delete(_ context.Context, callID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deleted = append(e.deleted, callID)
	delete(e.created, callID)
	return nil
}

func (e *engine) create(callID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.created[callID] = time.Now()
}

func (e *engine) gone() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.deleted
}

func ended(callID string) []api.Event {
	return []api.Event{{Type: api.EventDialogEnd, CallID: callID, TimeMS: time.Now().UnixMilli()}}
}

// reap runs a Reaper in a bubble for a while after setup and returns what was deleted.
func reap(t *testing.T, d *dialogList, e *engine, setup func(*Reaper)) []string {
	t.Helper()
	r := NewReaper(d, e, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	setup(r)
	time.Sleep(time.Minute)
	cancel()
	<-done
	return e.gone()
}

// A session is deleted when its call's end was heard, Kamailio lists no dialog of it, and more than
// reapAfter has passed; not a moment earlier.
func TestReaper_DeletesTheSessionOfAnEndedCall(t *testing.T) {
	for _, kind := range []string{api.EventDialogEnd, api.EventDialogFailed} {
		synctest.Test(t, func(t *testing.T) {
			e := &engine{created: map[string]time.Time{"a": time.Now()}}
			time.Sleep(time.Minute)
			got := reap(t, &dialogList{}, e, func(r *Reaper) {
				r.Note([]api.Event{{Type: kind, CallID: "a", TimeMS: time.Now().UnixMilli()}})
				time.Sleep(reapAfter)
				if len(e.gone()) != 0 {
					t.Errorf("deleted %v after, want it later", reapAfter)
				}
			})
			if len(got) != 1 || got[0] != "a" {
				t.Errorf("after %s deleted %q, want a", kind, got)
			}
		})
	}
}

// Nothing is deleted without positive knowledge: no end heard, a dialog still listed, a session made
// after the end, the call begun again, or a daemon that does not answer.
func TestReaper_NeverDeletesWithoutPositiveKnowledge(t *testing.T) {
	for name, row := range map[string]struct {
		dialogs *dialogList
		err     error
		setup   func(*Reaper, *engine)
	}{
		"no end was heard":  {setup: func(r *Reaper, _ *engine) { r.Note(ended("other")) }},
		"other event":       {setup: func(r *Reaper, _ *engine) { r.Note([]api.Event{{Type: api.EventContactExpired, CallID: "a"}}) }},
		"dialog is listed":  {dialogs: &dialogList{calls: map[string]bool{"a": true}}, setup: func(r *Reaper, _ *engine) { r.Note(ended("a")) }},
		"kamailio is away":  {dialogs: &dialogList{err: errors.New("away")}, setup: func(r *Reaper, _ *engine) { r.Note(ended("a")) }},
		"rtpengine is away": {err: errors.New("away"), setup: func(r *Reaper, _ *engine) { r.Note(ended("a")) }},
		"begun again": {setup: func(r *Reaper, _ *engine) {
			r.Note(ended("a"))
			r.Note([]api.Event{{Type: api.EventDialogStart, CallID: "a"}})
		}},
		"session is newer than the end": {setup: func(r *Reaper, e *engine) {
			r.Note(ended("a"))
			time.Sleep(time.Second)
			e.create("a")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &engine{created: map[string]time.Time{"a": time.Now()}, err: row.err}
				time.Sleep(time.Minute)
				if got := reap(t, cmp.Or(row.dialogs, &dialogList{}), e, func(r *Reaper) { row.setup(r, e) }); len(got) != 0 {
					t.Errorf("deleted %q", got)
				}
			})
		})
	}
}

// A dialog that lingers in Kamailio is looked at again: the session goes once the dialog has gone,
// and a call that lingers for ever is forgotten.
func TestReaper_LooksAgainWhileTheDialogLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{created: map[string]time.Time{"a": time.Now(), "b": time.Now()}}
		d := &dialogList{calls: map[string]bool{"a": true, "b": true}}
		var reaper *Reaper
		got := reap(t, d, e, func(r *Reaper) {
			reaper = r
			r.Note(ended("a"))
			r.Note(ended("b"))
			time.Sleep(30 * time.Second)
			d.drop("a")
			time.Sleep(reapGiveUp)
		})
		if len(got) != 1 || got[0] != "a" {
			t.Errorf("deleted %q, want a alone", got)
		}
		if len(reaper.ended) != 0 || len(reaper.order) != 0 {
			t.Errorf("%d calls are still remembered", len(reaper.ended))
		}
	})
}

// The memory of ended calls is bounded, and repeated ends of one call do not break that.
func TestReaper_MemoryIsBounded(t *testing.T) {
	r := NewReaper(&dialogList{}, &engine{}, slog.New(slog.DiscardHandler))
	for i := range 3 * reapMost {
		r.Note(ended(callName(i)))
		r.Note(ended("same"))
	}
	if len(r.ended) > reapMost || len(r.order) > reapMost {
		t.Errorf("%d calls, %d in order; limit %d", len(r.ended), len(r.order), reapMost)
	}
}

// Against a real rtpengine: the leaked session goes, the one whose call lives stays.
func TestReaper_AgainstARealRTPEngine(t *testing.T) {
	c := startRTPEngine(t)
	offer(t, c, "over")
	offer(t, c, "alive")
	r := NewReaper(&dialogList{calls: map[string]bool{"alive": true}}, c, slog.New(slog.DiscardHandler))
	long := time.Now().Add(-time.Minute)
	for _, id := range []string{"over", "alive"} {
		r.remember(endedCall{callID: id, end: time.Now(), heard: long})
	}
	r.look(t.Context())
	ids, err := c.List(t.Context(), 10)
	if err != nil || len(ids) != 1 || ids[0] != "alive" || r.Reaped() != 1 {
		t.Errorf("sessions left %q, %v; reaped %d", ids, err, r.Reaped())
	}
}

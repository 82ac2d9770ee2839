// Package actor gives each live object one goroutine of its own. A machine (pure state, see brain/)
// is only ever touched by its actor, one event after the other, so it needs no lock and its checks
// and changes are one step. Nothing is journalled yet: what an actor knows is lost with the process.
package actor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/sipio/sipio/brain"
)

// MailboxSize is how many events may wait for one actor. More are refused at once with
// brain.EUnavailable: a queue that grows answers everybody too late.
const MailboxSize = 256

// Actor owns one machine M. Only the actor's goroutine calls into the machine.
type Actor[M any] struct {
	mailbox chan event[M]
	stop    <-chan struct{}
	name    string
}

// event is a piece of work for the machine, and where its end is told.
type event[M any] struct {
	apply func(M)
	done  chan error // room for one, so the actor never waits for its asker
}

// start begins the actor's goroutine, which ends when stop is closed.
func start[M any](name string, machine M, stop <-chan struct{}, running *sync.WaitGroup) *Actor[M] {
	a := &Actor[M]{mailbox: make(chan event[M], MailboxSize), stop: stop, name: name}
	running.Go(func() { a.run(machine) })
	return a
}

func (a *Actor[M]) run(machine M) {
	for {
		select {
		case ev := <-a.mailbox:
			ev.done <- a.apply(machine, ev.apply)
		case <-a.stop:
			return
		}
	}
}

// apply runs one event. A panic is a fault of one machine on one event and must not take the calls
// of every other account with it: it is logged here and answered as brain.EInternal.
func (a *Actor[M]) apply(machine M, f func(M)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("machine panicked", "actor", a.name, "panic", p, "stack", string(debug.Stack()))
			err = brain.Errorf(brain.EInternal, "the machine of %s failed", a.name)
		}
	}()
	f(machine)
	return nil
}

// Do runs f on the machine after everything that waits before it, and returns when it has run.
// It fails with brain.EUnavailable when the mailbox is full or the actor has stopped; f then never
// runs. When ctx ends first Do returns its error while f may still run: f must not write to
// anything its caller goes on to read after an error.
func (a *Actor[M]) Do(ctx context.Context, f func(M)) error {
	ev := event[M]{apply: f, done: make(chan error, 1)}
	select {
	case <-a.stop:
		return brain.Errorf(brain.EUnavailable, "%s is stopping", a.name)
	default:
	}
	select {
	case a.mailbox <- ev:
	default:
		return brain.Errorf(brain.EUnavailable, "the mailbox of %s is full", a.name)
	}
	select {
	case err := <-ev.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", a.name, context.Cause(ctx))
	case <-a.stop:
		return brain.Errorf(brain.EUnavailable, "%s is stopping", a.name)
	}
}

// Set is the actors of one kind by the id of what they own, made when first spoken to.
type Set[M any] struct {
	kind  string
	limit int
	make  func(id string) M

	mu      sync.RWMutex // guards actors and closed; never held while a machine works
	actors  map[string]*Actor[M]
	closed  bool
	stop    chan struct{}
	running sync.WaitGroup
}

// NewSet makes an empty set. kind is for messages, limit bounds the number of actors, and newMachine
// makes the machine of an id when it is first needed.
func NewSet[M any](kind string, limit int, newMachine func(id string) M) *Set[M] {
	return &Set[M]{kind: kind, limit: limit, make: newMachine,
		actors: make(map[string]*Actor[M]), stop: make(chan struct{})}
}

// Do runs f on the machine of id as Actor.Do does, making the actor when there is none.
func (s *Set[M]) Do(ctx context.Context, id string, f func(M)) error {
	a, err := s.actor(id)
	if err != nil {
		return err
	}
	return a.Do(ctx, f)
}

// DoIfKnown runs f only when id has an actor already, and reports whether it has.
func (s *Set[M]) DoIfKnown(ctx context.Context, id string, f func(M)) (bool, error) {
	s.mu.RLock()
	a := s.actors[id]
	s.mu.RUnlock()
	if a == nil {
		return false, nil
	}
	return true, a.Do(ctx, f)
}

// IDs lists every id that has an actor, sorted.
func (s *Set[M]) IDs() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.actors))
}

// Close stops every actor after the event it is at, and waits for them. What still waits in a
// mailbox is not applied; its asker gets brain.EUnavailable.
func (s *Set[M]) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (s *Set[M]) actor(id string) (*Actor[M], error) {
	s.mu.RLock()
	a := s.actors[id]
	s.mu.RUnlock()
	if a != nil {
		return a, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch a = s.actors[id]; {
	case a != nil:
		return a, nil
	case s.closed:
		return nil, brain.Errorf(brain.EUnavailable, "%s %s is stopping", s.kind, id)
	case len(s.actors) >= s.limit:
		return nil, brain.Errorf(brain.EUnavailable, "no room for another %s than the %d there are", s.kind, s.limit)
	}
	a = start(s.kind+" "+id, s.make(id), s.stop, &s.running)
	s.actors[id] = a
	return a, nil
}

package actor

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sipio/sipio/brain"
)

// tally is a machine that would be corrupted, and caught by the race detector, if two goroutines touched it.
type tally struct{ n int }

// Many askers at once change one machine without a lock and nothing is lost: only its actor touches it.
func TestActor_AppliesOneEventAtATime(t *testing.T) {
	set := NewSet("tally", 10, func(string) *tally { return &tally{} })
	defer set.Close()
	var askers sync.WaitGroup
	for range 50 {
		askers.Go(func() {
			for range 100 {
				if err := set.Do(t.Context(), "a", func(m *tally) { m.n++ }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	askers.Wait()
	got := 0
	if err := set.Do(t.Context(), "a", func(m *tally) { got = m.n }); err != nil || got != 5000 {
		t.Errorf("%d of 5000 applied, %v", got, err)
	}
}

// While its machine is busy an actor takes exactly MailboxSize events and refuses the next at once with
// EUnavailable; what it took it applies in order. The bubble shows when every asker waits.
func TestActor_RefusesWhenItsMailboxIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := NewSet("list", 10, func(string) *[]int { return &[]int{} })
		busy := make(chan struct{})
		go set.Do(t.Context(), "a", func(*[]int) { <-busy })
		synctest.Wait()
		for i := range MailboxSize {
			go set.Do(t.Context(), "a", func(m *[]int) { *m = append(*m, i) })
			synctest.Wait()
		}
		if err := set.Do(t.Context(), "a", func(*[]int) { t.Error("applied a refused event") }); brain.CodeOf(err) != brain.EUnavailable {
			t.Errorf("the mailbox was full, got %v", err)
		}
		if err := set.Do(t.Context(), "b", func(*[]int) {}); err != nil {
			t.Errorf("another actor must not suffer: %v", err)
		}
		close(busy)
		synctest.Wait()
		var got []int
		if err := set.Do(t.Context(), "a", func(m *[]int) { got = *m }); err != nil || len(got) != MailboxSize {
			t.Fatalf("%d applied, %v", len(got), err)
		}
		for i, v := range got {
			if i != v {
				t.Fatalf("event %d came as number %d", v, i)
			}
		}
		set.Close()
	})
}

// An asker that gives up gets its context's error; the actor goes on.
func TestActor_GoesOnWhenItsAskerLeaves(t *testing.T) {
	set := NewSet("tally", 10, func(string) *tally { return &tally{} })
	defer set.Close()
	busy, begun := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- set.Do(ctx, "a", func(m *tally) { close(begun); <-busy; m.n = 7 }) }()
	<-begun
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(busy)
	got := 0
	if err := set.Do(t.Context(), "a", func(m *tally) { got = m.n }); err != nil || got != 7 {
		t.Errorf("%d, %v", got, err)
	}
}

// A machine that panics on one event fails that event with EInternal and takes the next.
func TestActor_SurvivesAPanicOfItsMachine(t *testing.T) {
	set := NewSet("tally", 10, func(string) *tally { return &tally{} })
	defer set.Close()
	if err := set.Do(t.Context(), "a", func(*tally) { panic("bad event") }); brain.CodeOf(err) != brain.EInternal {
		t.Errorf("got %v", err)
	}
	if err := set.Do(t.Context(), "a", func(*tally) {}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The number of actors is bounded, and a closed set refuses at once, known id or not.
func TestSet_BoundsItsActorsAndRefusesWhenClosed(t *testing.T) {
	set := NewSet("tally", 3, func(string) *tally { return &tally{} })
	for i := range 3 {
		if err := set.Do(t.Context(), strconv.Itoa(i), func(*tally) {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Do(t.Context(), "3", func(*tally) {}); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("a fourth of three: %v", err)
	}
	set.Close()
	set.Close()
	for _, id := range []string{"0", "new"} {
		if err := set.Do(t.Context(), id, func(*tally) { t.Error("applied after the end") }); brain.CodeOf(err) != brain.EUnavailable {
			t.Errorf("%s after the end: %v", id, err)
		}
	}
}

package v1

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Proves that a crowd of strangers who wait keeps nobody waiting who logged in from his address before: he is next, and has room in a line of his own;
// that one address has no more than its share of the strangers' line; and that a turn which was not had is nobody's loss.
func TestLoginGate_ACrowdDoesNotKeepOutWhoWasHereBefore(t *testing.T) {
	g := &loginGate{place: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	g.known.set("192.0.2.9 ann@acme.test", time.Now())
	busy, _, err := g.enter(t.Context(), "198.51.100.0", "x@acme.test")
	if err != nil {
		t.Fatal(err)
	}
	type turn struct {
		who   string
		leave func(bool)
	}
	turns, gone := make(chan turn), make(chan error, 100)
	crowd, giveUp := context.WithCancel(t.Context())
	join := func(ctx context.Context, from, email string) {
		leave, wait, err := g.enter(ctx, from, email)
		if err != nil || wait > 0 {
			gone <- err
			return
		}
		turns <- turn{email, leave}
	}
	for i := range 40 { // three of each address
		go join(crowd, fmt.Sprintf("198.51.100.%d", 1+i/3), fmt.Sprintf("user%d@acme.test", i))
	}
	for range 40 / 3 {
		if err := <-gone; !errors.Is(err, errCrowd) {
			t.Fatalf("the third of an address: %v", err)
		}
	}
	for i := range 20 {
		go join(crowd, fmt.Sprintf("203.0.113.%d", i), fmt.Sprintf("other%d@acme.test", i))
	}
	for range 20 - (maxWaiting - (40 - 40/3)) {
		if err := <-gone; !errors.Is(err, errCrowd) {
			t.Fatalf("behind a full line: %v", err)
		}
	}
	go join(t.Context(), "192.0.2.9", "ann@acme.test")
	for deadline := time.Now().Add(5 * time.Second); len(ownOf(g)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("who was here before does not get into his line")
		}
	}
	busy(false)
	next := <-turns
	if next.who != "ann@acme.test" {
		t.Errorf("the next one is %s", next.who)
	}
	next.leave(true)
	for range 3 {
		next = <-turns
		next.leave(false)
	}
	giveUp()
	for range maxWaiting - 3 {
		select {
		case <-gone:
		case next := <-turns:
			next.leave(false)
		}
	}
	leave, _, err := g.enter(t.Context(), "198.51.100.200", "late@acme.test")
	if err != nil || len(g.strangers.of) != 0 || g.strangers.all != 0 {
		t.Fatalf("%v; the line still has %d", err, g.strangers.all)
	}
	leave(false)
}

// ownOf is who waits in the line of those who were here before.
func ownOf(g *loginGate) map[string]int {
	g.own.mu.Lock()
	defer g.own.mu.Unlock()
	of := map[string]int{}
	for from, n := range g.own.of {
		of[from] = n
	}
	return of
}

package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Probing of a brain whose breaker is open, and the grain of the watchdog.
const (
	probeInterval = 200 * time.Millisecond
	probeTimeout  = 150 * time.Millisecond
	watchInterval = 20 * time.Millisecond
)

// errUnreachable marks a brain that could not be connected to: its breaker opens at once.
var errUnreachable = errors.New("brain unreachable")

// client carries questions to one brain over a wire.
type client interface {
	// ask blocks until the answer, a fault, or the abort of the exchange.
	ask(x *exchange) (answer, error)
	// health asks GET /health; nil means the brain answered 200.
	health(ctx context.Context) error
	// close lets go of kept connections.
	close()
}

// brain is one place to ask, with its circuit breaker. The breaker opens when the brain refuses
// connections, or when questions wait and nothing at all has come back for stallAfter (a frozen
// process keeps its sockets open). While it is open nobody waits: a background probe alone touches
// the brain and closes the breaker on the first health answer.
type brain struct {
	name       string
	client     client
	stallAfter time.Duration
	log        *slog.Logger
	opened     atomic.Int64 // times the breaker opened
	open       atomic.Bool

	mu        sync.Mutex
	stopped   bool
	flights   []*exchange
	quiet     time.Duration // silence so far: time with questions waiting and nothing coming back
	quietFrom time.Time     // since when more of it adds up; meaningful while flights is not empty
	openedAt  time.Time
	probing   sync.WaitGroup
	ctx       context.Context // lives as long as the door: bounds the probe
}

// ask carries one question to this brain. deadline and breaker abort it through the watchdog.
func (b *brain) ask(x *exchange) (answer, error) {
	if err := b.begin(x); err != nil {
		return answer{}, err
	}
	got, err := b.client.ask(x)
	if x.reached != nil && !errors.Is(err, errUnreachable) {
		x.reached.Store(true)
	}
	b.end(x, err == nil)
	if err == nil {
		return got, nil
	}
	if cause := x.aborted(); cause != nil {
		return answer{}, cause
	}
	if errors.Is(err, errUnreachable) {
		b.trip(err.Error())
	}
	return answer{}, err
}

func (b *brain) begin(x *exchange) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stopped:
		return errStopping
	case b.open.Load():
		return errOpen
	}
	if len(b.flights) == 0 {
		b.quietFrom = time.Now()
	}
	x.place = len(b.flights)
	b.flights = append(b.flights, x)
	return nil
}

func (b *brain) end(x *exchange, replied bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.flights) - 1
	moved := b.flights[last]
	b.flights[x.place], moved.place = moved, x.place
	b.flights[last] = nil
	b.flights = b.flights[:last]
	switch {
	case replied:
		b.quiet, b.quietFrom = 0, time.Now()
	case last == 0: // cut, for example because a faster brain answered: the silence still counts
		b.quiet += time.Since(b.quietFrom)
	}
}

// watch is the watchdog's look at this brain: it ends exchanges past their deadline and trips the
// breaker on silence. late is how much later than planned the watchdog woke: this process was not
// running then, so the brain is given that time again.
func (b *brain) watch(now time.Time, late time.Duration) {
	b.mu.Lock()
	var expired []*exchange
	for _, x := range b.flights {
		if !x.deadline.After(now) {
			expired = append(expired, x)
		}
	}
	if late > 2*watchInterval {
		b.quiet, b.quietFrom = 0, now
	}
	stalled := len(b.flights) > 0 && b.quiet+now.Sub(b.quietFrom) >= b.stallAfter
	b.mu.Unlock()
	if stalled {
		b.trip(fmt.Sprintf("no reply for %v", b.stallAfter))
	}
	for _, x := range expired {
		x.abort(errDeadline)
	}
}

// trip opens the breaker, ends every exchange under way and starts the probe.
func (b *brain) trip(why string) {
	b.mu.Lock()
	if b.stopped || b.open.Load() {
		b.mu.Unlock()
		return
	}
	b.open.Store(true)
	b.opened.Add(1)
	b.openedAt = time.Now()
	flights := append([]*exchange(nil), b.flights...)
	b.probing.Add(1)
	b.mu.Unlock()
	for _, x := range flights {
		x.abort(errOpen)
	}
	b.log.Warn("breaker opened: decisions get the fallback", "brain", b.name, "why", why, "in_flight", len(flights))
	go b.probe()
}

// probe asks for health until it gets it, then closes the breaker.
func (b *brain) probe() {
	defer b.probing.Done()
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(b.ctx, probeTimeout)
		err := b.client.health(ctx)
		cancel()
		if err == nil {
			break
		}
	}
	b.mu.Lock()
	b.quiet = 0
	b.open.Store(false)
	openFor := time.Since(b.openedAt)
	b.mu.Unlock()
	b.log.Info("breaker closed: the brain answers again", "brain", b.name, "open_for", openFor.Round(time.Millisecond))
}

// stop ends what is under way and waits for the probe. The door's context must be done.
func (b *brain) stop() {
	b.mu.Lock()
	b.stopped = true
	flights := append([]*exchange(nil), b.flights...)
	b.mu.Unlock()
	for _, x := range flights {
		x.abort(errStopping)
	}
	b.probing.Wait()
	b.client.close()
}

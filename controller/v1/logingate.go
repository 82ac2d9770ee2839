package v1

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How logins are slowed. Tokens are spent by every try, whatever becomes of it: who succeeds needs no more for 12 hours.
const (
	addressTries = 20                 // at once from one address
	addressEvery = 3 * time.Second    // then one
	emailTries   = 10                 // at once for one email, whether there is such a user or not
	emailEvery   = 10 * time.Second   // then one
	knownFor     = 7 * 24 * time.Hour // an address from which a user logged in is not kept waiting for what others try
	maxKnown     = 10_000             // pairs of address and email
	maxWaiting   = 32                 // logins that wait for their turn, of users who logged in from there before and of all others
	fromOne      = 2                  // of them, from one address
	auditEvery   = time.Minute        // entries of failed logins: one an address,
	auditAtMost  = 60                 // and so many altogether
	slowestTurn  = 10 * time.Second   // longest wait for a turn
)

// loginGate slows logins down. One password is hashed at a time: hashes are costly on purpose, and calls have PINs to check. Who logged in from
// his address before waits in a line of his own, whose first has at most one of the other line before him.
type loginGate struct {
	addresses, emails limiters
	returning         limiters      // by pair
	place             chan struct{} // has room for one
	turn              chan struct{} // the same: of strangers one at a time waits for place, and has it
	own, strangers    line
	known             marks
	failed            limiters // entries of the audit log, by address
	failedAll         limiters
}

var errCrowd = errors.New("too many logins at once")

// enter waits for a turn. wait > 0: not now, come back after it. leave must be called, with whether the login was one.
func (g *loginGate) enter(ctx context.Context, from, email string) (leave func(ok bool), wait time.Duration, err error) {
	pair := from + " " + email
	in, turns := &g.strangers, []chan struct{}{g.turn, g.place}
	if g.known.has(pair, time.Now()) {
		in, turns = &g.own, turns[1:]
		wait = g.returning.take(pair, rate.Every(addressEvery), addressTries)
	} else if wait = g.addresses.take(from, rate.Every(addressEvery), addressTries); wait == 0 {
		wait = g.emails.take(email, rate.Every(emailEvery), emailTries)
	}
	if wait > 0 {
		return nil, wait, nil
	}
	if !in.join(from) {
		return nil, time.Second, errCrowd
	}
	defer in.leave(from)
	timer := time.NewTimer(slowestTurn)
	defer timer.Stop()
	for i, turn := range turns {
		select {
		case turn <- struct{}{}:
			continue
		case <-timer.C:
			err = errCrowd
		case <-ctx.Done():
			err = ctx.Err()
		}
		for _, had := range turns[:i] {
			<-had
		}
		return nil, time.Second, err
	}
	return func(ok bool) {
		for _, had := range turns {
			<-had
		}
		if ok {
			g.known.set(pair, time.Now())
		}
	}, 0, nil
}

// line is who waits for a turn. The zero value is empty.
type line struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by address
}

// join tells whether there is room for one more of an address.
func (l *line) join(from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxWaiting || l.of[from] >= fromOne {
		return false
	}
	if l.of == nil {
		l.of = map[string]int{}
	}
	l.all++
	l.of[from]++
	return true
}

func (l *line) leave(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.of[from]--; l.of[from] == 0 {
		delete(l.of, from)
	}
}

// due says whether a failed login is to have an entry in the audit log.
func (g *loginGate) due(from string) bool {
	return g.failed.take(from, rate.Every(auditEvery), 1) == 0 && g.failedAll.take("", rate.Every(auditEvery/auditAtMost), auditAtMost) == 0
}

// marks is a bounded set of texts, each for knownFor. The zero value is empty.
type marks struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (m *marks) has(text string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.at[text]
	return ok && now.Sub(at) < knownFor
}

func (m *marks) set(text string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[string]time.Time{}
	}
	for other := range m.at {
		if len(m.at) < maxKnown {
			break
		}
		delete(m.at, other) // whichever: who is forgotten is only as slow as everybody
	}
	m.at[text] = now
}

package stir

import (
	"crypto/sha256"
	"time"

	"github.com/sipio/sipio/brain/stir"
)

const (
	maxPassed  = 1 << 15          // calls, about 10 MB
	keepPassed = 10 * time.Minute // longer than a caller hears it ring
)

// passed remembers the results of calls that passed. It is for one goroutine; times must not go back.
type passed struct {
	limit   int
	results map[[sha256.Size]byte]stir.Result
	queue   []expiry // in the order in which they expire
}

type expiry struct {
	name  [sha256.Size]byte
	until time.Time
}

func newPassed(limit int) passed {
	return passed{limit: limit, results: map[[sha256.Size]byte]stir.Result{}}
}

func (p *passed) get(name [sha256.Size]byte, now time.Time) (stir.Result, bool) {
	for len(p.queue) > 0 && !now.Before(p.queue[0].until) {
		p.forget()
	}
	result, ok := p.results[name]
	return result, ok
}

// add remembers a result; the oldest goes when there is no room.
func (p *passed) add(name [sha256.Size]byte, result stir.Result, now time.Time) {
	if _, ok := p.results[name]; ok {
		return
	}
	if len(p.queue) == p.limit {
		p.forget()
	}
	p.results[name] = result
	p.queue = append(p.queue, expiry{name, now.Add(keepPassed)})
}

func (p *passed) forget() {
	delete(p.results, p.queue[0].name)
	p.queue = p.queue[1:]
}

package stir

import (
	"crypto/sha256"
	"time"
)

// Replay remembers the tokens of calls for as long as they are fresh. It is for one goroutine; times come in and must not
// go back.
type Replay struct {
	// Dropped counts tokens that were forgotten too early because the memory was full.
	Dropped int

	limit int
	calls map[[sha256.Size]byte][sha256.Size]byte // mark → digest of the id of the call that had it first
	queue []remembered                            // in the order in which they expire
}

type remembered struct {
	mark  [sha256.Size]byte
	until time.Time
}

// NewReplay makes a memory of at most limit tokens, about 150 bytes each; beyond it the oldest is forgotten.
func NewReplay(limit int) *Replay {
	return &Replay{limit: max(1, limit), calls: map[[sha256.Size]byte][sha256.Size]byte{}}
}

// Len is the number of tokens that are remembered.
func (r *Replay) Len() int { return len(r.calls) }

// Seen tells whether another call has had the token before, and remembers it for keep otherwise. A call that has no id is
// another one each time.
func (r *Replay) Seen(mark [sha256.Size]byte, callID string, now time.Time, keep time.Duration) bool {
	for len(r.queue) > 0 && !now.Before(r.queue[0].until) {
		r.forget()
	}
	call := sha256.Sum256([]byte(callID)) // so that an entry has one size whatever the id
	if first, ok := r.calls[mark]; ok {
		return callID == "" || first != call
	}
	if len(r.queue) == r.limit {
		r.forget()
		r.Dropped++
	}
	r.calls[mark] = call
	r.queue = append(r.queue, remembered{mark: mark, until: now.Add(keep)})
	return false
}

func (r *Replay) forget() {
	delete(r.calls, r.queue[0].mark)
	r.queue = r.queue[1:]
}

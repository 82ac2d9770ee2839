package esl

import "sync"

// queue is the bounded way from the reader to Next. The reader never waits for whom it serves: when
// the queue is full the oldest events go, and one marker at their place says how many.
type queue struct {
	maxEvents, maxBytes int
	more                chan struct{} // one token: there is something to take

	mu    sync.Mutex
	ring  []entry // grown as needed, at most maxEvents long
	head  int
	count int
	bytes int
	lost  int // dropped at the front since the last marker was taken
}

func newQueue(maxEvents, maxBytes int) *queue {
	return &queue{maxEvents: maxEvents, maxBytes: maxBytes, more: make(chan struct{}, 1)}
}

type entry struct {
	event *Event
	bytes int // that it holds, roughly
}

// put adds an event, or a marker of events that could not be read.
func (q *queue) put(e *Event) {
	size := e.size()
	q.mu.Lock()
	for q.count > 0 && (q.count >= q.maxEvents || q.bytes+size > q.maxBytes) {
		dropped := q.shift()
		q.lost += max(1, dropped.lost)
	}
	if q.count == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.count)%len(q.ring)] = entry{e, size}
	q.count++
	q.bytes += size
	q.mu.Unlock()
	q.wake()
}

// take returns the marker of what was dropped, else the oldest event, else nil.
func (q *queue) take() *Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	var e *Event
	switch {
	case q.lost > 0:
		e = &Event{lost: q.lost}
		q.lost = 0
	case q.count > 0:
		e = q.shift()
	}
	return e
}

func (q *queue) shift() *Event {
	out := q.ring[q.head]
	q.ring[q.head] = entry{}
	q.head = (q.head + 1) % len(q.ring)
	q.count--
	q.bytes -= out.bytes
	return out.event
}

func (q *queue) grow() {
	const least = 16
	ring := make([]entry, min(max(least, 2*len(q.ring)), q.maxEvents))
	for i := range q.count {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

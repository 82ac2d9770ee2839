package cac

import (
	"cmp"
	"slices"
)

// list holds slots by the end of their lease. Leases are all as long, so a renewed one belongs at the end, or near it.
type list struct{ first, last *slot }

func (l *list) insert(s *slot) {
	after := l.last
	for after != nil && after.leaseMS > s.leaseMS {
		after = after.prev
	}
	s.prev = after
	if after == nil {
		s.next, l.first = l.first, s
	} else {
		s.next, after.next = after.next, s
	}
	if s.next == nil {
		l.last = s
	} else {
		s.next.prev = s
	}
}

func (l *list) remove(s *slot) {
	if s.prev == nil {
		l.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
}

// Renew lets the lease of a token run until untilMS, epoch milliseconds. False when it has no place.
func (l *Ledger) Renew(token string, untilMS int64) bool {
	s := l.slots[token]
	if s == nil {
		return false
	}
	if s.leaseMS != untilMS {
		l.leases.remove(s)
		s.leaseMS = untilMS
		l.leases.insert(s)
	}
	return true
}

// Resume begins every lease anew: whoever takes over a ledger must hear of the calls before it gives one up.
func (l *Ledger) Resume(nowMS int64) {
	for s := l.leases.first; s != nil; s = s.next {
		s.leaseMS = nowMS + Lease.Milliseconds()
	}
}

// Lapsed lists the tokens whose lease has run out at nowMS, at most as many as said, first those that ran out first.
func (l *Ledger) Lapsed(nowMS int64, most int) []string {
	var due []*slot
	for s := l.leases.first; s != nil && s.leaseMS <= nowMS && len(due) < most; s = s.next {
		due = append(due, s)
	}
	slices.SortFunc(due, func(a, b *slot) int {
		return cmp.Or(cmp.Compare(a.leaseMS, b.leaseMS), cmp.Compare(a.token, b.token))
	})
	out := make([]string, 0, len(due))
	for _, s := range due {
		out = append(out, s.token)
	}
	return out
}

// LeaseDue is when the first lease runs out; false when there is no slot.
func (l *Ledger) LeaseDue() (ms int64, ok bool) {
	if l.leases.first == nil {
		return 0, false
	}
	return l.leases.first.leaseMS, true
}

// queue is a first-in first-out of values that gives its room back.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int  { return len(q.items) - q.head }
func (q *queue[T]) live() []T { return q.items[q.head:] }
func (q *queue[T]) front() T  { return q.items[q.head] }
func (q *queue[T]) back() T   { return q.items[len(q.items)-1] }
func (q *queue[T]) push(v T)  { q.items = append(q.items, v) }
func (q *queue[T]) popBack()  { q.items = q.items[:len(q.items)-1] }
func (q *queue[T]) pop() {
	var none T
	q.items[q.head] = none
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	if q.head > 64 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
		if cap(q.items) > 4*n+64 {
			q.items = append(make([]T, 0, 2*n), q.items...)
		}
	}
}

package guard

import (
	"container/heap"
	"maps"
	"net/netip"
	"slices"
)

// Ranks of what is kept: of a full book the lowest goes first.
const (
	rankForgeable = iota
	rankProven
	rankByHand
	ranks
)

// entry is one address of a book, and until when it is kept.
type entry[T any] struct {
	key   netip.Prefix
	endMS int64
	rank  int
	index int // in the heap of its rank
	of    T
}

// book is what is kept of addresses, each until its own time.
type book[T any] struct {
	byKey  map[netip.Prefix]*entry[T]
	ends   [ranks]ends[T]
	rankOf func(T) int // nil: all are of one
}

func newBook[T any](rankOf func(T) int) book[T] {
	return book[T]{byKey: map[netip.Prefix]*entry[T]{}, rankOf: rankOf}
}

func (b *book[T]) len() int { return len(b.byKey) }

func (b *book[T]) get(key netip.Prefix) *entry[T] { return b.byKey[key] }

// put keeps something of a key until a time; what was kept of it before is gone.
func (b *book[T]) put(key netip.Prefix, endMS int64, of T) *entry[T] {
	if e := b.byKey[key]; e != nil {
		e.of = of
		b.keep(e, endMS)
		return e
	}
	e := &entry[T]{key: key, endMS: endMS, of: of}
	b.byKey[key] = e
	b.push(e)
	return e
}

func (b *book[T]) push(e *entry[T]) {
	if b.rankOf != nil {
		e.rank = b.rankOf(e.of)
	}
	heap.Push(&b.ends[e.rank], e)
}

// keep gives an entry another end, and the rank that it has now.
func (b *book[T]) keep(e *entry[T], endMS int64) {
	heap.Remove(&b.ends[e.rank], e.index)
	e.endMS = endMS
	b.push(e)
}

func (b *book[T]) remove(e *entry[T]) {
	heap.Remove(&b.ends[e.rank], e.index)
	delete(b.byKey, e.key)
}

// first is the entry that ends first, nil of an empty book.
func (b *book[T]) first() (first *entry[T]) {
	for rank := range ranks {
		if h := b.ends[rank]; len(h) > 0 && (first == nil || h.before(h[0], first)) {
			first = h[0]
		}
	}
	return first
}

// weakest is the entry that makes room for one of a rank: of the lowest rank that there is, and not above that one, the one that ends first.
// nil when there is none.
func (b *book[T]) weakest(rank int) *entry[T] {
	for r := range rank + 1 {
		if h := b.ends[r]; len(h) > 0 {
			return h[0]
		}
	}
	return nil
}

// expire removes what has ended and tells whether there was anything.
func (b *book[T]) expire(nowMS int64) (any bool) {
	for e := b.first(); e != nil && e.endMS <= nowMS; e = b.first() {
		b.remove(e)
		any = true
	}
	return any
}

// keys are all of them, in the order of lists.
func (b *book[T]) keys() []netip.Prefix {
	return slices.SortedFunc(maps.Keys(b.byKey), compareKeys)
}

// ends orders entries by their end, then by key, so that the same ops always forget the same.
type ends[T any] []*entry[T]

func (h ends[T]) Len() int           { return len(h) }
func (h ends[T]) Less(i, j int) bool { return h.before(h[i], h[j]) }

func (h ends[T]) before(a, b *entry[T]) bool {
	if a.endMS != b.endMS {
		return a.endMS < b.endMS
	}
	return compareKeys(a.key, b.key) < 0
}

func (h ends[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap only.
func (h *ends[T]) Push(x any) {
	e := x.(*entry[T])
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop takes the last off.
func (h *ends[T]) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

package guard

import (
	"container/heap"
	"maps"
	"net/netip"
	"slices"
)

// entry is one address of a book, and until when it is kept.
type entry[T any] struct {
	key   netip.Prefix
	endMS int64
	index int // in the heap
	of    T
}

// book is what is kept of addresses, each until its own time.
type book[T any] struct {
	byKey map[netip.Prefix]*entry[T]
	ends  ends[T]
}

func newBook[T any]() book[T] { return book[T]{byKey: map[netip.Prefix]*entry[T]{}} }

func (b *book[T]) len() int { return len(b.ends) }

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
	heap.Push(&b.ends, e)
	return e
}

// keep gives an entry another end.
func (b *book[T]) keep(e *entry[T], endMS int64) {
	e.endMS = endMS
	heap.Fix(&b.ends, e.index)
}

func (b *book[T]) remove(e *entry[T]) {
	heap.Remove(&b.ends, e.index)
	delete(b.byKey, e.key)
}

// first is the entry that ends first, nil of an empty book.
func (b *book[T]) first() *entry[T] {
	if len(b.ends) == 0 {
		return nil
	}
	return b.ends[0]
}

// firstOf is the entry that ends first of those for which ok holds, nil when it holds for none. It looks at the ones for which it does not
// that end earlier, and at no more.
func (b *book[T]) firstOf(ok func(T) bool) (first *entry[T]) {
	var look func(i int)
	look = func(i int) {
		switch {
		case i >= len(b.ends) || first != nil && !b.ends.before(b.ends[i], first):
		case ok(b.ends[i].of):
			first = b.ends[i]
		default:
			look(2*i + 1)
			look(2*i + 2)
		}
	}
	look(0)
	return first
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

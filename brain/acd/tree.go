package acd

// node is an item's place in a tree; it is part of the item, so that coming and going needs no memory.
type node[T any] struct {
	left, right *node[T]
	size        int
	rank        uint64 // heap order: a parent's is not below its children's
	item        T
	in          bool
}

// tree holds items in order and counts them: insert, remove, count and at take O(log n). Its shape depends on the order
// of insertion, what it answers does not.
type tree[T any] struct {
	root *node[T]
	less func(a, b T) bool
	seed uint64
}

func (t *tree[T]) len() int { return t.root.count() }

func (n *node[T]) count() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *node[T]) sum() *node[T] {
	n.size = 1 + n.left.count() + n.right.count()
	return n
}

// insert puts an item in, by its node.
func (t *tree[T]) insert(n *node[T], item T) {
	t.seed++
	*n = node[T]{size: 1, rank: mix(t.seed), item: item, in: true}
	t.root = t.put(t.root, n)
}

func (t *tree[T]) put(at, n *node[T]) *node[T] {
	switch {
	case at == nil:
		return n
	case n.rank > at.rank:
		n.left, n.right = t.split(at, n.item)
		return n.sum()
	case t.less(n.item, at.item):
		at.left = t.put(at.left, n)
	default:
		at.right = t.put(at.right, n)
	}
	return at.sum()
}

// split parts the items below one from the rest.
func (t *tree[T]) split(at *node[T], item T) (low, high *node[T]) {
	if at == nil {
		return nil, nil
	}
	if t.less(at.item, item) {
		at.right, high = t.split(at.right, item)
		return at.sum(), high
	}
	low, at.left = t.split(at.left, item)
	return low, at.sum()
}

// remove takes an item out by its node, if it is in.
func (t *tree[T]) remove(n *node[T]) {
	if !n.in {
		return
	}
	t.root = t.take(t.root, n)
	var none T
	n.left, n.right, n.item, n.in = nil, nil, none, false
}

func (t *tree[T]) take(at, n *node[T]) *node[T] {
	switch {
	case at == n:
		return join(at.left, at.right)
	case t.less(n.item, at.item):
		at.left = t.take(at.left, n)
	default:
		at.right = t.take(at.right, n)
	}
	return at.sum()
}

func join[T any](low, high *node[T]) *node[T] {
	switch {
	case low == nil:
		return high
	case high == nil:
		return low
	case low.rank > high.rank:
		low.right = join(low.right, high)
		return low.sum()
	}
	high.left = join(low, high.left)
	return high.sum()
}

// first is the lowest item; the zero value when there is none.
func (t *tree[T]) first() (item T) {
	for n := t.root; n != nil; n = n.left {
		item = n.item
	}
	return item
}

// at is the item with so many before it.
func (t *tree[T]) at(i int) (item T) {
	for n := t.root; n != nil; {
		switch before := n.left.count(); {
		case i < before:
			n = n.left
		case i == before:
			return n.item
		default:
			i, n = i-before-1, n.right
		}
	}
	return item
}

// count is how many items are before a border: before must hold for a beginning of the order.
func (t *tree[T]) count(before func(T) bool) (n int) {
	for at := t.root; at != nil; {
		if before(at.item) {
			n += at.left.count() + 1
			at = at.right
		} else {
			at = at.left
		}
	}
	return n
}

// each visits the items in order until visit says false.
func (t *tree[T]) each(visit func(T) bool) { t.root.each(visit) }

func (n *node[T]) each(visit func(T) bool) bool {
	return n == nil || n.left.each(visit) && visit(n.item) && n.right.each(visit)
}

// mix spreads the bits of a number (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

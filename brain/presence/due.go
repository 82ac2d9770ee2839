package presence

import "container/heap"

// dueHeap orders records by dueMS. Each record knows its place, so that a refreshed contact moves instead
// of leaving a dead entry behind.
type dueHeap []*record

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].dueMS < h[j].dueMS }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap only; use push and remove.
func (h *dueHeap) Push(x any) {
	r := x.(*record)
	r.index = len(*h)
	*h = append(*h, r)
}

// Pop takes the last record off.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	r.index = -1
	return r
}

func (h *dueHeap) push(r *record) { heap.Push(h, r) }

// remove takes a record out, if it is in.
func (h *dueHeap) remove(r *record) {
	if r.index >= 0 {
		heap.Remove(h, r.index)
	}
}

package actor

// dueHeap orders actors by their alarms.
type dueHeap []*object

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].dueMS < h[j].dueMS }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap only.
func (h *dueHeap) Push(x any) {
	o := x.(*object)
	o.index = len(*h)
	*h = append(*h, o)
}

// Pop takes the last off.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	o := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	o.index = -1
	return o
}

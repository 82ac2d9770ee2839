package presence

import "container/heap"

// dueHeap orders records by dueMS, then key. Each record knows its place, so that a refreshed contact moves
// instead of leaving a dead entry behind.
type dueHeap []*record

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].dueMS != h[j].dueMS {
		return h[i].dueMS < h[j].dueMS
	}
	return h[i].compare(h[j].key) < 0
}
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

// moved puts a record in its place after its dueMS changed.
func (h *dueHeap) moved(r *record) { heap.Fix(h, r.index) }

// remove takes a record out, if it is in.
func (h *dueHeap) remove(r *record) {
	if r.index >= 0 {
		heap.Remove(h, r.index)
	}
}

// Due gives the op that brings to an end what is over at a time: contacts that expired, calls whose lease or
// whole time ran out, memories, and whatever the queues have an alarm for. It is to be written down and applied at the same time; nil when there is none.
func (m *Machine) Due(nowMS int64) (op []byte) {
	if at, ok := m.Deadline(); !ok || nowMS < at {
		return nil
	}
	return appendExpire(nil, fit(m.ledger.Lapsed(nowMS, MaxTokens)), fit(m.desk.Lapsed(nowMS, MaxTokens)))
}

// Deadline is when Due has something to give next, in epoch milliseconds; false when never. It moves
// with every Apply and Observe.
func (m *Machine) Deadline() (ms int64, ok bool) {
	earliest := func(at int64) {
		if !ok || at < ms {
			ms, ok = at, true
		}
	}
	if len(m.due) > 0 {
		earliest(m.due[0].dueMS)
	}
	if len(m.past) > 0 {
		earliest(m.past[0].dueMS + slack.Milliseconds())
	}
	if at, some := m.ledger.LeaseDue(); some {
		earliest(at)
	}
	if at, some := m.ledger.SweepDue(); some {
		earliest(at)
	}
	if at, some := m.desk.Deadline(); some {
		earliest(at)
	}
	return ms, ok
}

// expire does the op of Due: tokens are calls whose lease ran out, lapsed reservations of queues. A refresh that was only
// late brings its contact up again. The queues come last: nobody is chosen whose registration has just ended.
func (m *Machine) expire(nowMS int64, tokens, lapsed []string) {
	for _, token := range tokens {
		m.free(nowMS, token, WhyLease)
	}
	for len(m.due) > 0 && m.due[0].dueMS <= nowMS {
		r := m.due[0]
		if r.call != nil {
			m.hangUp(nowMS, r, WhyLease)
			continue
		}
		m.end(r.key, r, "", r.timeMS, r.dueMS+Remember.Milliseconds())
	}
	m.ledger.Sweep(nowMS)
	m.tellDesk(nowMS)
	m.desk.Expire(nowMS, lapsed)
}

// forgetPast drops the memories of contacts and calls whose time is over.
func (m *Machine) forgetPast(nowMS int64) {
	for len(m.past) > 0 && m.past[0].dueMS <= nowMS {
		m.forget(m.past[0])
	}
}

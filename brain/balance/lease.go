package balance

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// word notes that something was heard of a call: it is not over, and its lease begins anew.
func (m *Machine) word(nowMS int64, h *hold) { m.lease(h, nowMS+Lease.Milliseconds(), false) }

// lease puts a hold in its place.
func (m *Machine) lease(h *hold, untilMS int64, over bool) {
	m.unlease(h)
	h.leaseMS, h.over = untilMS, over
	if over {
		heap.Push(&m.over, h)
	} else {
		heap.Push(&m.leases, h)
	}
}

func (m *Machine) unlease(h *hold) {
	switch {
	case h.index < 0:
	case h.over:
		heap.Remove(&m.over, h.index)
	default:
		heap.Remove(&m.leases, h.index)
	}
}

// Renew tells that a call is up, at nowMS. False when it has no hold.
func (m *Machine) Renew(nowMS int64, id string) bool {
	h := m.holds[id]
	if h != nil {
		m.word(nowMS, h)
	}
	return h != nil
}

// Over tells that a call is positively over: its end was heard of, or two complete reports of its node do not list it. Never that
// nothing was heard. False when it has no hold. Once more it changes nothing; any later word of the call takes it back.
func (m *Machine) Over(nowMS int64, id string) bool {
	h := m.holds[id]
	if h != nil && !h.over {
		m.lease(h, nowMS+Lease.Milliseconds(), true)
	}
	return h != nil
}

// Doubtful lists calls whose lease has run out and of which nobody knows that they are over, at most as many as said. Whoever
// knows calls is to be asked, and answers by Renew or Over. They are not named again for a Pause, and keep their hold.
func (m *Machine) Doubtful(nowMS int64, most int) []string {
	var ids []string
	for len(m.leases) > 0 && m.leases[0].leaseMS <= nowMS && len(ids) < most {
		h := m.leases[0]
		ids = append(ids, h.id)
		m.lease(h, nowMS+Pause.Milliseconds(), false)
	}
	return ids
}

// Due gives the op that ends the holds of calls that are over and were not settled in time. It is to be written down and applied
// at the same time; nil when there is none.
func (m *Machine) Due(nowMS int64) []byte {
	if len(m.over) == 0 || m.over[0].leaseMS > nowMS {
		return nil
	}
	var due []*hold
	for _, h := range m.over {
		if h.leaseMS <= nowMS {
			due = append(due, h)
		}
	}
	slices.SortFunc(due, func(a, b *hold) int { return cmp.Or(cmp.Compare(a.leaseMS, b.leaseMS), strings.Compare(a.id, b.id)) })
	o := Op{Kind: Expire}
	for _, h := range due[:min(len(due), MaxExpire)] {
		o.IDs = append(o.IDs, h.id)
	}
	return AppendOp(nil, &o)
}

// Deadline is when Due has something to give next, in epoch milliseconds; false when never.
func (m *Machine) Deadline() (ms int64, ok bool) {
	if len(m.over) == 0 {
		return 0, false
	}
	return m.over[0].leaseMS, true
}

// Resume is to be called after Restore and replay: all leases begin anew, and who is over must be told again.
func (m *Machine) Resume(nowMS int64) {
	m.leases, m.over = m.leases[:0], m.over[:0]
	for _, h := range m.holds {
		h.leaseMS, h.over, h.index = nowMS+Lease.Milliseconds(), false, len(m.leases)
		m.leases = append(m.leases, h)
	}
	heap.Init(&m.leases)
}

// leaseHeap orders holds by the end of their lease, then by id. Each knows its place.
type leaseHeap []*hold

func (l leaseHeap) Len() int { return len(l) }
func (l leaseHeap) Less(i, j int) bool {
	return l[i].leaseMS < l[j].leaseMS || l[i].leaseMS == l[j].leaseMS && l[i].id < l[j].id
}
func (l leaseHeap) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

// Push and Pop are for container/heap.
func (l *leaseHeap) Push(x any) {
	h := x.(*hold)
	h.index = len(*l)
	*l = append(*l, h)
}

// Pop takes the last off.
func (l *leaseHeap) Pop() any {
	last := len(*l) - 1
	h := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	h.index = -1
	return h
}

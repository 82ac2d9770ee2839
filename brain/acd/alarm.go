package acd

import "container/heap"

// alarm is the next time at which something is due of an entry or an agent, or a reservation's lease.
type alarm struct {
	atMS  int64
	place int // in its heap, from 1; 0 = in none

	entry       *entry // one of the three
	agent       *agent
	reservation *reservation
}

func (a *alarm) before(b *alarm) bool {
	if a.atMS != b.atMS {
		return a.atMS < b.atMS
	}
	switch {
	case a.reservation != nil:
		return a.reservation.fence < b.reservation.fence
	case a.entry != nil && b.entry != nil:
		return a.entry.id < b.entry.id
	case a.agent != nil && b.agent != nil:
		return a.agent.id < b.agent.id
	}
	return a.agent != nil // agents come free before callers give up
}

// alarms is a heap of them: agents and entries in one, reservations in another.
type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].before(h[j]) }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

// Push and Pop are for container/heap only; use set.
func (h *alarms) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.place = len(*h)
}

// Pop takes the last one off.
func (h *alarms) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	a.place = 0
	return a
}

// set moves an alarm to a time; never = none.
func (h *alarms) set(a *alarm, atMS int64) {
	switch {
	case atMS == never && a.place > 0:
		heap.Remove(h, a.place-1)
	case atMS == never:
	case a.place == 0:
		a.atMS = atMS
		heap.Push(h, a)
	case a.atMS != atMS:
		a.atMS = atMS
		heap.Fix(h, a.place-1)
	}
}

// due appends the alarms up to a time, in no order, and visits nothing else.
func (h alarms) due(nowMS int64, from int, out []*alarm) []*alarm {
	if from >= len(h) || h[from].atMS > nowMS {
		return out
	}
	out = append(out, h[from])
	return h.due(nowMS, 2*from+2, h.due(nowMS, 2*from+1, out))
}

// never is the time of no alarm.
const never = int64(1) << 62

package acd

// Bounds of what is remembered; the oldest goes first.
const (
	maxPast   = 50_000 // reservations, and as many entries, that are over
	maxSticky = 20_000
	slackMS   = 60_000 // how long what is no longer needed may lie
)

// pastEntry is a place that was given up, or will not be taken.
type pastEntry struct {
	id, outcome     string
	sinceMS, overMS int64
	called          int64  // fence of the call made to him that had the place; 0 = he had called
	rank            rank   // by which he stood …
	moved           bool   // … when it was not his own
	token           string // of the call that was sent elsewhere
}

// pastReservation is a reservation that is over. A claimed one whose lease ran out may still be confirmed.
type pastReservation struct {
	fence           int64
	why             string
	claimed, missed bool
	userID, entryID string
	overMS          int64
}

// memory is a first-in first-out of what is over, found by its key. What came back to life is taken out of
// known and stays behind in order.
type memory[K comparable, T any] struct {
	known map[K]*T
	order []*T
	head  int
}

func (m *memory[K, T]) add(key K, t *T) {
	m.known[key] = t
	m.order = append(m.order, t)
}

// pop forgets the oldest.
func (m *memory[K, T]) pop(key K) {
	if m.known[key] == m.order[m.head] {
		delete(m.known, key)
	}
	m.order[m.head] = nil
	if m.head++; m.head > 64 && m.head > len(m.order)/2 {
		n := copy(m.order, m.order[m.head:])
		clear(m.order[n:])
		m.order, m.head = m.order[:n], 0
	}
}

// live lists what is known, oldest first.
func (m *memory[K, T]) live(key func(*T) K) []*T {
	out := make([]*T, 0, len(m.known))
	for _, t := range m.order[m.head:] {
		if m.known[key(t)] == t {
			out = append(out, t)
		}
	}
	return out
}

func (p *pastEntry) key() string      { return p.id }
func (p *pastReservation) key() int64 { return p.fence }

// stickyKey is a caller's number in a queue.
type stickyKey struct{ queueID, number string }

// sticky is who served a number last.
type sticky struct {
	stickyKey
	userID     string
	whenMS     int64
	prev, next *sticky
}

// stickies is a list of them, the oldest first.
type stickies struct {
	known       map[stickyKey]*sticky
	first, last *sticky
}

func (l *stickies) set(k stickyKey, userID string, whenMS int64) {
	s := l.known[k]
	if s == nil {
		s = &sticky{stickyKey: k}
		l.known[k] = s
	} else {
		l.unlink(s)
	}
	s.userID, s.whenMS = userID, whenMS
	if s.prev = l.last; s.prev == nil {
		l.first = s
	} else {
		s.prev.next = s
	}
	if l.last = s; len(l.known) > maxSticky {
		l.drop(l.first)
	}
}

func (l *stickies) unlink(s *sticky) {
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

func (l *stickies) drop(s *sticky) {
	l.unlink(s)
	delete(l.known, s.stickyKey)
}

// rememberEntry keeps how an entry ended.
func (d *Desk) rememberEntry(p *pastEntry) {
	p.overMS = d.nowMS
	d.pastEntries.add(p.id, p)
}

// forget drops what is remembered beyond its time or bound.
func (d *Desk) forget() {
	keep := func(overMS int64, known int) bool { return known <= maxPast && overMS+RememberMS > d.nowMS }
	for m := &d.pastEntries; m.head < len(m.order); {
		p := m.order[m.head]
		if m.known[p.id] == p && keep(p.overMS, len(m.known)) {
			break
		}
		m.pop(p.id)
	}
	for m := &d.pastReservations; m.head < len(m.order); {
		p := m.order[m.head]
		if m.known[p.fence] == p && keep(p.overMS, len(m.known)) {
			break
		}
		m.pop(p.fence)
	}
	for s := d.sticky.first; s != nil; s = d.sticky.first {
		if d.stickyEnd(s) > d.nowMS {
			break
		}
		d.sticky.drop(s)
	}
}

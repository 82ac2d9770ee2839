package cac

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

// errSnapshot: a snapshot that no ledger wrote.
var errSnapshot = errors.New("not a ledger's snapshot")

// AppendSnapshot writes the ledger without its leases. Ledgers that went through the same changes write the same bytes.
func (l *Ledger) AppendSnapshot(b []byte) []byte {
	b = pack.AppendInt(b, l.clockMS)
	dims := l.sortedDims()
	index := make(map[*dimension]uint64, len(dims))
	b = pack.AppendUint(b, uint64(len(dims)))
	for i, d := range dims {
		index[d] = uint64(i)
		b = pack.AppendText(pack.AppendUint(b, uint64(d.kind)), d.id)
		b = pack.AppendUint(b, uint64(d.limit))
	}
	b = pack.AppendUint(b, uint64(len(l.slots)))
	var one []byte
	for s := l.oldest; s != nil; s = s.after {
		one = pack.AppendText(pack.AppendText(pack.AppendText(one[:0], s.token), s.callID), s.node)
		one = pack.AppendBool(pack.AppendInt(pack.AppendInt(one, s.askedMS), s.admittedMS), s.emergency)
		one = pack.AppendUint(one, uint64(len(s.takes)))
		for _, t := range s.takes {
			one = pack.AppendUint(pack.AppendUint(one, index[t.dimension]), uint64(t.limit))
		}
		b = pack.AppendBytes(b, pack.AppendUint(one, uint64(s.attempt)))
	}
	return l.appendWindows(l.appendEnded(b))
}

func (l *Ledger) appendEnded(b []byte) []byte {
	b = pack.AppendUint(b, uint64(len(l.ended)))
	for _, e := range l.order.live() {
		known, ok := l.ended[e.token]
		if !ok || known.n != e.n {
			continue
		}
		b = pack.AppendBool(pack.AppendInt(pack.AppendText(b, e.token), e.timeMS), known.lapsed)
	}
	return b
}

func (l *Ledger) appendWindows(b []byte) []byte {
	b = pack.AppendUint(b, uint64(len(l.windows)))
	for _, n := range slices.SortedFunc(maps.Keys(l.windows), name.compare) {
		w := l.windows[n]
		b = pack.AppendText(pack.AppendUint(b, uint64(n.kind)), n.id)
		b = pack.AppendUint(pack.AppendInt(b, w.periodMS), uint64(w.times.len()))
		var last int64
		for _, ms := range w.times.live() {
			b = pack.AppendInt(b, ms-last)
			last = ms
		}
	}
	return b
}

// Restore makes the ledger whose snapshot r gives next. Its leases have run out: call Resume.
func Restore(r *pack.Reader) (*Ledger, error) {
	l := New()
	l.clockMS = r.Int()
	dims, err := l.restoreDims(r)
	if err != nil {
		return nil, err
	}
	var one pack.Reader
	count := r.Count(MaxSlots + MaxEmergency)
	l.slots = make(map[string]*slot, count)
	for range count {
		one.Reset(r.Bytes())
		if err := l.restoreSlot(&one, dims); err != nil {
			return nil, err
		}
	}
	for _, d := range dims {
		if d.used == 0 {
			return nil, fmt.Errorf("dimension %v %q is taken by nobody: %w", d.kind, d.id, errSnapshot)
		}
	}
	if err := l.restoreEnded(r); err != nil {
		return nil, err
	}
	if err := l.restoreWindows(r); err != nil {
		return nil, err
	}
	l.windowDue = l.firstEmpty()
	return l, r.Err()
}

func (l *Ledger) restoreDims(r *pack.Reader) ([]*dimension, error) {
	dims := make([]*dimension, 0, 16)
	for range r.Count((MaxSlots + MaxEmergency) * MaxTakes) {
		d := &dimension{name: readName(r), limit: int(r.Uint())}
		if r.Err() != nil {
			return nil, r.Err()
		}
		if !d.kind.Valid() || d.limit < 0 || l.dims[d.name] != nil {
			return nil, fmt.Errorf("dimension %d %q: %w", d.kind, d.id, errSnapshot)
		}
		l.dims[d.name] = d
		dims = append(dims, d)
	}
	return dims, nil
}

func readName(r *pack.Reader) name {
	kind := r.Uint()
	if kind > uint64(TrunkRate) {
		kind = 0
	}
	return name{Kind(kind), string(r.Bytes())}
}

func (l *Ledger) restoreSlot(r *pack.Reader, dims []*dimension) error {
	s := &slot{token: r.Text(), callID: r.Text(), node: r.Text(), askedMS: r.Int(), admittedMS: r.Int(), emergency: r.Bool()}
	s.takes = make([]taken, r.Count(MaxTakes))
	for i := range s.takes {
		at, limit := r.Uint(), int(r.Uint())
		if at >= uint64(len(dims)) || limit < 0 {
			return fmt.Errorf("slot %q takes dimension %d of %d: %w", s.token, at, len(dims), errSnapshot)
		}
		s.takes[i] = taken{dims[at], limit}
		dims[at].used++
	}
	if r.Rest() > 0 { // a slot that was written before there were swaps ends here
		attempt := r.Uint()
		if attempt > MaxAttempt {
			return fmt.Errorf("slot %q is at attempt %d: %w", s.token, attempt, errSnapshot)
		}
		s.attempt = int(attempt)
	}
	if err := r.End(); err != nil {
		return fmt.Errorf("slot %q: %w", s.token, err)
	}
	before := len(l.slots)
	if l.keep(s); s.token == "" || len(l.slots) == before {
		return fmt.Errorf("slot %q is nameless or there twice: %w", s.token, errSnapshot)
	}
	return nil
}

func (l *Ledger) restoreEnded(r *pack.Reader) error {
	for range r.Count(maxEnded + 1) {
		token, e := string(r.Bytes()), ended{timeMS: r.Int(), lapsed: r.Bool()}
		if _, twice := l.ended[token]; twice || r.Err() == nil && l.slots[token] != nil {
			return fmt.Errorf("released token %q is there twice: %w", token, errSnapshot)
		}
		l.remember(token, e)
	}
	return r.Err()
}

func (l *Ledger) restoreWindows(r *pack.Reader) error {
	for range r.Count(MaxWindows) {
		n, w := readName(r), &window{periodMS: r.Int()}
		var last int64
		count := r.Count(MaxPerWindow)
		for i := range count {
			step := r.Int()
			if last += step; i > 0 && step < 0 {
				return fmt.Errorf("window %v %q goes back in time: %w", n.kind, n.id, errSnapshot)
			}
			w.times.push(last)
		}
		if r.Err() != nil {
			return r.Err()
		}
		l.entries += count
		if !n.kind.Valid() || l.windows[n] != nil || count == 0 || w.periodMS <= 0 || l.entries > MaxEntries {
			return fmt.Errorf("window %d %q with %d admissions: %w", n.kind, n.id, count, errSnapshot)
		}
		l.windows[n] = w
	}
	return nil
}

package state

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sipio/sipio/brain/cac"
)

// place is one dimension of one live object, as the test itself counts it. A call counts in sure from the moment its
// asker knows that it is in until it asks to end it, in maybe from the question until the end is acknowledged:
// whatever the brain counts lies between the two at every moment.
type place struct {
	name        string
	limit       int64
	sure, maybe atomic.Int64
	entries     atomic.Int64 // into maybe, so far
	refusals    atomic.Int64
}

// takeKey names a place: account (or live object), dimension, id.
type takeKey struct {
	object string
	kind   cac.Kind
	id     string
}

// faults collects what was found wrong, some of each sort.
type faults struct {
	mu    sync.Mutex
	total map[string]int // by format
	texts []string
}

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total == nil {
		f.total = map[string]int{}
	}
	if f.total[format]++; f.total[format] <= 3 {
		f.texts = append(f.texts, fmt.Sprintf(format, args...))
	}
}

// books are kept beside the brain: by every caller, of what it itself was told.
type books struct {
	places map[takeKey]*place // made before the callers start
	faults faults

	mu       sync.Mutex
	admitted map[string][]span // of each account with a window
}

// span is when an admission happened, as far as can be told from outside: by the clock of the test.
type span struct{ from, to int64 }

func newBooks() *books {
	return &books{places: map[takeKey]*place{}, admitted: map[string][]span{}}
}

func (b *books) limit(object string, t cac.Take) {
	k := takeKey{object, t.Kind, t.ID}
	if b.places[k] == nil {
		b.places[k] = &place{name: fmt.Sprintf("%s %v %s", object, t.Kind, t.ID), limit: int64(t.Limit)}
	}
}

// ask begins a question: the call may count from now on.
func (b *books) ask(places []*place) (sight []int64) {
	sight = make([]int64, len(places))
	for i, p := range places {
		entries := p.entries.Add(1)
		sight[i] = p.maybe.Add(1) - entries
	}
	return sight
}

// in is told that a call was admitted.
func (b *books) in(places []*place) {
	for _, p := range places {
		if n := p.sure.Add(1); n > p.limit {
			b.faults.add("%s: %d calls are in, %d are allowed", p.name, n, p.limit)
		}
	}
}

// leave comes before a question to end a call, gone after its answer, or after a refusal.
func (b *books) leave(places []*place) {
	for _, p := range places {
		p.sure.Add(-1)
	}
}

func (b *books) gone(places []*place) {
	for _, p := range places {
		p.maybe.Add(-1)
	}
}

// refused tests a refusal for want of a place: sight is what ask returned. However the moments fell, never more calls
// could have been in than those that might have been when the question was asked, and those that came since.
func (b *books) refused(p *place, sight int64, v cac.Verdict) {
	p.refusals.Add(1)
	most := sight + p.entries.Load() - 1 // without the asker itself
	switch {
	case int64(v.Limit) != p.limit || v.Used < v.Limit:
		b.faults.add("%s refuses with %d of %d used, the limit is %d", p.name, v.Used, v.Limit, p.limit)
	case most < p.limit:
		b.faults.add("%s refuses as full (%d) when at most %d calls could be in", p.name, p.limit, most)
	}
}

func (b *books) admission(account string, s span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.admitted[account] = append(b.admitted[account], s)
}

// judgeWindows looks for a period with more admissions surely in it than the window allows.
func (b *books) judgeWindows(w cac.Window) {
	for account, spans := range b.admitted {
		slices.SortFunc(spans, func(a, b span) int { return int(a.from - b.from) })
		for i, first := range spans {
			n := 0
			for _, s := range spans[i:] {
				if s.from >= first.from+w.PeriodMS {
					break
				}
				if s.to < first.from+w.PeriodMS {
					n++
				}
			}
			if n > w.Max {
				b.faults.add("%s: %d admissions in %d ms from %d on, %d are allowed", account, n, w.PeriodMS, first.from, w.Max)
			}
		}
	}
}

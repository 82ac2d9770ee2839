package nodeagent

import (
	"slices"
	"sync"
	"time"
)

// StepTimes says how long the steps of answered calls take, of the last ones of each kind.
type StepTimes struct {
	Count int64   `json:"count"` // since the start
	P50MS float64 `json:"p50_ms"`
	P99MS float64 `json:"p99_ms"`
}

// keptTimes is how many durations of a kind are remembered.
const keptTimes = 2048

// times remembers durations by the name of what took them.
type times struct {
	mu   sync.Mutex
	kept map[string]*ring
}

// ring holds the last durations of one kind.
type ring struct {
	count int64
	last  []time.Duration
}

func (t *times) observe(step string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.kept[step]
	if r == nil {
		r = &ring{}
		if t.kept == nil {
			t.kept = map[string]*ring{}
		}
		t.kept[step] = r
	}
	if len(r.last) < keptTimes {
		r.last = append(r.last, took)
	} else {
		r.last[r.count%keptTimes] = took
	}
	r.count++
}

// show sums up what is remembered.
func (t *times) show() map[string]StepTimes {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]StepTimes, len(t.kept))
	for step, r := range t.kept {
		sorted := slices.Sorted(slices.Values(r.last))
		at := func(p float64) float64 {
			return float64(sorted[int(p*float64(len(sorted)-1))].Microseconds()) / 1000
		}
		out[step] = StepTimes{Count: r.count, P50MS: at(0.5), P99MS: at(0.99)}
	}
	return out
}

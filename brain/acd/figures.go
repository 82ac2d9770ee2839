package acd

import (
	"slices"

	"github.com/sipio/sipio/brain/api"
)

// interval is the sums of one quarter hour, by its number since the epoch.
type interval struct {
	number int64
	Figures
}

// history is the sums of a queue or an agent, oldest first; at most Intervals.
type history []interval

func number(ms int64) int64 { return max(0, ms) / IntervalMS }

// at is the quarter hour of a time, made when it is not there.
func (h *history) at(ms int64) *Figures {
	n, list := number(ms), *h
	i := len(list)
	for i > 0 && list[i-1].number > n {
		i--
	}
	if i == 0 || list[i-1].number != n {
		list = slices.Insert(list, i, interval{number: n})
		i++
	}
	old := 0
	for list[len(list)-1].number-list[old].number >= Intervals {
		old++
	}
	if i <= old { // older than all that is kept: counted with the oldest
		i = old + 1
	}
	*h = slices.Delete(list, 0, old)
	return &(*h)[i-1-old].Figures
}

// spell is what an agent's time counts as.
type spell struct{ signed, ready, onBreak, talk, wrap bool }

func (s spell) add(f *Figures, ms int64) {
	for _, part := range [...]struct {
		on  bool
		sum *int64
	}{{s.signed, &f.SignedMS}, {s.ready, &f.ReadyMS}, {s.onBreak, &f.BreakMS}, {s.talk, &f.TalkMS}, {s.wrap, &f.WrapMS}} {
		if part.on {
			*part.sum += ms
		}
	}
}

// spend counts a time as s, each quarter hour its part.
func (h *history) spend(s spell, fromMS, toMS int64) {
	if s == (spell{}) {
		return
	}
	for fromMS = max(fromMS, 0, toMS-Intervals*IntervalMS); fromMS < toMS; {
		end := min(toMS, (number(fromMS)+1)*IntervalMS)
		s.add(h.at(fromMS), end-fromMS)
		fromMS = end
	}
}

// span is the quarter hours that two times touch; 0 = the last 24 hours.
func span(nowMS, fromMS, toMS int64) (first, last int64) {
	if toMS <= 0 {
		toMS = nowMS
	}
	if fromMS <= 0 {
		fromMS = toMS - 24*3600*1000
	}
	return number(fromMS), number(max(fromMS, toMS-1))
}

func (h history) sum(first, last int64) (sum Figures) {
	for i := range h {
		if n := h[i].number; first <= n && n <= last {
			sum.add(&h[i].Figures)
		}
	}
	return sum
}

func (f *Figures) add(o *Figures) {
	to, from := f.sums(), o.sums()
	for i := range to {
		*to[i] += *from[i]
	}
	f.LongestWaitMS = max(f.LongestWaitMS, o.LongestWaitMS)
}

// sums lists the fields that add up, in the order in which a snapshot has them.
func (f *Figures) sums() [17]*int64 {
	return [...]*int64{&f.Offered, &f.Answered, &f.Abandoned, &f.ShortAbandoned, &f.TimedOut, &f.Overflowed, &f.OptionOut, &f.InLevel,
		&f.WaitMS, &f.TalkMS, &f.WrapMS, &f.Missed, &f.SignedMS, &f.ReadyMS, &f.BreakMS, &f.CallbackFailed, &f.Sent}
}

// shown makes the ratios of a queue's sums, or an agent's.
func (f *Figures) shown(agent bool) api.Figures {
	out := api.Figures{Offered: f.Offered, Answered: f.Answered, Abandoned: f.Abandoned, ShortAbandon: f.ShortAbandoned, TimedOut: f.TimedOut,
		Overflowed: f.Overflowed, OptionOut: f.OptionOut, CallbackFailed: f.CallbackFailed, Sent: f.Sent, Missed: f.Missed,
		ASAMS: ratio(f.WaitMS, f.Answered), AHTMS: ratio(f.TalkMS+f.WrapMS, f.Answered)}
	if agent {
		busy := f.TalkMS + f.WrapMS
		out.Occupancy, out.Utilization = ratio(busy, busy+f.ReadyMS), ratio(busy, f.SignedMS)
		return out
	}
	out.AbandonRate, out.ServiceLevel = ratio(f.Abandoned, f.Offered), ratio(f.InLevel, f.Offered)
	return out
}

// ratio is nil when nothing is known.
func ratio(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	r := float64(part) / float64(whole)
	return &r
}

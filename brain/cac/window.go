package cac

import "slices"

// window is the admissions that a window still counts, oldest first.
type window struct {
	times    queue[int64]
	periodMS int64 // as of the last admission
}

func named(before []Window, w Window) bool {
	return slices.ContainsFunc(before, func(o Window) bool { return o.Kind == w.Kind && o.ID == w.ID })
}

// full tells whether a window has no room at a time, with the refusal to give then.
func (l *Ledger) full(now int64, w Window) (bool, Verdict) {
	if w.Max <= 0 || w.PeriodMS <= 0 {
		return false, Verdict{}
	}
	most := min(w.Max, MaxPerWindow)
	known := l.windows[name{w.Kind, w.ID}]
	if known == nil {
		if len(l.windows) >= MaxWindows || l.entries >= MaxEntries {
			return true, Verdict{Limit: MaxWindows, Used: len(l.windows), RetryMS: slack.Milliseconds()}
		}
		return false, Verdict{}
	}
	times := known.inForce(now, w.PeriodMS)
	if len(times) >= most {
		frees := times[len(times)-most] + w.PeriodMS
		return true, Verdict{Kind: w.Kind, ID: w.ID, Limit: most, Used: len(times), RetryMS: max(1, frees-now)}
	}
	if l.entries >= MaxEntries {
		return true, Verdict{Limit: MaxEntries, Used: l.entries, RetryMS: slack.Milliseconds()}
	}
	return false, Verdict{}
}

// inForce is the part of the admissions that lie within the period before now.
func (w *window) inForce(now, periodMS int64) []int64 {
	times := w.times.live()
	from, found := slices.BinarySearch(times, now-periodMS)
	for found && from < len(times) && times[from] == now-periodMS {
		from++ // a whole period ago frees its place
	}
	to := len(times)
	for to > from && times[to-1] > now+tolerance.Milliseconds() {
		to-- // of a clock that was set back since
	}
	return times[from:to]
}

// countAll adds an admission to each window that is named, once.
func (l *Ledger) countAll(now int64, windows []Window) {
	for i, w := range windows {
		if !named(windows[:i], w) {
			l.count(now, w)
		}
	}
}

// count adds an admission to a window, as far as there is room.
func (l *Ledger) count(now int64, w Window) {
	if w.Max <= 0 || w.PeriodMS <= 0 {
		return
	}
	n := name{w.Kind, w.ID}
	known := l.windows[n]
	if known == nil {
		if len(l.windows) >= MaxWindows || l.entries >= MaxEntries {
			return
		}
		known = &window{}
		l.windows[n] = known
	}
	known.periodMS = w.PeriodMS
	l.trim(known, now)
	if known.times.len() >= MaxPerWindow {
		known.times.pop()
		l.entries--
	}
	if l.entries < MaxEntries {
		known.times.push(now)
		l.entries++
	}
	if due := now + w.PeriodMS; l.windowDue == 0 || due < l.windowDue {
		l.windowDue = due
	}
}

// trim drops the admissions of a window that no longer count.
func (l *Ledger) trim(w *window, now int64) {
	for w.times.len() > 0 && w.times.front() <= now-w.periodMS {
		w.times.pop()
		l.entries--
	}
}

// Windows tells how many admissions a window counts at nowMS.
func (l *Ledger) Windows(nowMS int64, w Window) int {
	if known := l.windows[name{w.Kind, w.ID}]; known != nil {
		return len(known.inForce(l.at(nowMS), w.PeriodMS))
	}
	return 0
}

// Sweep drops what is no longer in force at nowMS. Nothing else that a ledger answers is changed by it.
func (l *Ledger) Sweep(nowMS int64) {
	now := l.tick(nowMS)
	for n, w := range l.windows {
		if l.trim(w, now); w.times.len() == 0 {
			delete(l.windows, n)
		}
	}
	l.windowDue = l.firstEmpty()
}

// firstEmpty is when the first of the windows will count nothing; 0 without windows.
func (l *Ledger) firstEmpty() int64 {
	var due int64
	for _, w := range l.windows {
		if end := w.times.back() + w.periodMS; due == 0 || end < due {
			due = end
		}
	}
	return due
}

// SweepDue is when Sweep has something to do: some time after it is no longer in force, so that it is rare.
// False when never.
func (l *Ledger) SweepDue() (ms int64, ok bool) {
	if l.order.len() > 0 {
		ms, ok = l.order.front().timeMS+Remember.Milliseconds(), true
	}
	if l.windowDue != 0 && (!ok || l.windowDue < ms) {
		ms, ok = l.windowDue, true
	}
	return ms + slack.Milliseconds(), ok
}

// Empty tells whether nothing is worth keeping: no slot, no memory, no window.
func (l *Ledger) Empty() bool {
	return len(l.slots) == 0 && len(l.ended) == 0 && len(l.windows) == 0
}

package cac

import "strings"

// Release gives back exactly what a call took and remembers its token, an unknown one too, as its admission may
// come later. It tells whether the token had a place; windows keep their count. Once more it does nothing.
func (l *Ledger) Release(nowMS int64, token string) bool { return l.release(nowMS, token, false) }

// Lapse is Release because the lease ran out: should the call show up again, it may be adopted.
func (l *Ledger) Lapse(nowMS int64, token string) bool { return l.release(nowMS, token, true) }

func (l *Ledger) release(nowMS int64, token string, lapsed bool) bool {
	s := l.slots[token]
	if s == nil {
		if known, over := l.memory(l.at(nowMS), token); over {
			known.lapsed = known.lapsed && lapsed
			l.ended[token] = known
			return false
		}
	}
	now := l.tick(nowMS)
	if s != nil {
		for _, t := range s.takes {
			l.giveBack(t.dimension)
		}
		l.drop(s)
	}
	l.remember(strings.Clone(token), ended{timeMS: now, lapsed: lapsed && s != nil})
	return s != nil
}

func (l *Ledger) remember(token string, e ended) {
	l.endings++
	e.n = l.endings
	l.ended[token] = e
	l.order.push(ending{token, e.timeMS, e.n})
}

// Over tells whether a token is remembered as released at nowMS, lapsed whether by its lease alone.
func (l *Ledger) Over(nowMS int64, token string) (over, lapsed bool) {
	e, over := l.memory(l.at(nowMS), token)
	return over, e.lapsed
}

func (l *Ledger) memory(now int64, token string) (ended, bool) {
	e, known := l.ended[token]
	return e, known && now < e.timeMS+Remember.Milliseconds() && e.timeMS <= now+tolerance.Milliseconds()
}

// forget drops the memories of tokens that are too old or too many.
func (l *Ledger) forget(now int64) {
	for l.order.len() > 0 {
		e := l.order.front()
		known, ok := l.ended[e.token]
		stale := !ok || known.n != e.n
		if !stale && now < e.timeMS+Remember.Milliseconds() && len(l.ended) <= maxEnded {
			return
		}
		l.order.pop()
		if !stale {
			delete(l.ended, e.token)
		}
	}
}

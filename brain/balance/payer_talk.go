package balance

// word takes one word about a call. Calls that nobody pays for are passed by.
func (p *Payer) word(nowMS int64, w *Word) bool {
	b := p.bills[w.Token]
	if b == nil || w.CallID != "" && w.CallID != b.callID {
		return false
	}
	var changed bool
	switch {
	case w.Kind == WordMissed:
		changed = p.missed(nowMS, b)
	case b.missed: // whatever has become of it, nobody outside was talked to
		b.missed, b.forgetMS, changed = false, 0, true
	default:
		changed = p.told(nowMS, b, w)
	}
	if changed {
		p.advance(nowMS, b)
		p.keep(nowMS, b)
	}
	return changed
}

// told takes a word about a call whose number outside is what it is about.
func (p *Payer) told(nowMS int64, b *bill, w *Word) (changed bool) {
	switch w.Kind {
	case WordAnswered:
		changed = p.answered(nowMS, b, w.TimeMS)
	case WordEnded:
		changed = p.ended(nowMS, b, w.TimeMS)
	case WordFailed:
		if b.answeredMS != 0 {
			changed = p.ended(nowMS, b, w.TimeMS)
		} else {
			changed = b.chain.End(false, 0) || b.forgetMS != 0
			b.forgetMS = 0
		}
	case WordGone:
		changed = p.vanished(nowMS, b, w.TimeMS)
	}
	return changed
}

// missed gives back what is held for the number called last. The call is remembered: an answer that comes is not that number's, and another
// number may be paid for yet.
func (p *Payer) missed(nowMS int64, b *bill) bool {
	if b.missed || b.answeredMS != 0 || b.endedMS != 0 || b.forgetMS != 0 {
		return false
	}
	b.chain.End(false, 0)
	b.missed, b.forgetMS = true, nowMS+missedFor.Milliseconds()
	return true
}

// answered notes when the talk began. An end that waits for it is settled.
func (p *Payer) answered(nowMS int64, b *bill, atMS int64) bool {
	if b.answeredMS != 0 || atMS <= 0 {
		return false
	}
	b.answeredMS = atMS
	b.startMS = max(b.heardMS, min(nowMS, atMS+b.skewMS))
	if b.endedMS != 0 {
		p.charge(b)
		return true
	}
	b.chain.Answered(0, 0)
	return true
}

// ended settles the call when the word of its answer is there, else waits for that.
func (p *Payer) ended(nowMS int64, b *bill, atMS int64) bool {
	if b.endedMS != 0 || atMS <= 0 {
		return false
	}
	b.endedMS = atMS
	if b.answeredMS != 0 {
		p.charge(b)
	} else {
		b.waitMS = nowMS + StartWait.Milliseconds()
	}
	return true
}

// charge settles: both times are the node's own, so its clock need not be right.
func (p *Payer) charge(b *bill) {
	b.chain.End(true, max(0, b.endedMS-b.answeredMS))
	b.waitMS, b.forgetMS = 0, 0
}

// vanished ends a call of which nobody knows how it ended. What it is known to have talked is charged; a word of its end that
// comes yet, within a day, charges the rest.
func (p *Payer) vanished(nowMS int64, b *bill, seenMS int64) bool {
	if b.over() || b.endedMS != 0 {
		return false
	}
	if b.answeredMS != 0 {
		b.chain.Answered(max(0, seenMS-b.answeredMS), 0)
	}
	b.chain.End(false, 0)
	b.forgetMS = nowMS + Remember.Milliseconds()
	return true
}

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
		changed = p.missed(nowMS, b, w.Attempt)
	case w.Kind == WordUp:
		changed = b.answeredMS != 0 && !b.over() && b.chain.Answered(max(0, w.TimeMS-b.answeredMS), 0)
	case b.missed || w.Attempt > b.attempt && b.answeredMS == 0 && b.endedMS == 0: // whatever has become of it, nobody outside was talked to
		changed = b.chain.End(false, 0) || !b.missed || b.forgetMS != 0
		b.missed, b.forgetMS = true, 0 // once all wallets have heard
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
func (p *Payer) told(nowMS int64, b *bill, w *Word) bool {
	switch {
	case w.Kind == WordAnswered:
		return p.answered(nowMS, b, w.TimeMS)
	case w.Kind == WordEnded:
		return p.ended(nowMS, b, w.TimeMS)
	case w.Kind == WordFailed && b.answeredMS == 0:
		return p.failed(nowMS, b)
	case w.Kind == WordFailed: // what was before the answer was of another attempt
		return w.TimeMS > b.answeredMS && p.ended(nowMS, b, w.TimeMS)
	}
	return p.vanished(nowMS, b, w.TimeMS)
}

// failed gives back what is held. The call is remembered for a while: words come in any order, and it may be of an attempt before the one that
// was answered.
func (p *Payer) failed(nowMS int64, b *bill) bool {
	if b.over() {
		return false
	}
	b.chain.End(false, 0)
	b.forgetMS = nowMS + StartWait.Milliseconds()
	return true
}

// missed gives back what is held for the number called last. The call is remembered: an answer that comes is not that number's, and another
// number may be paid for yet. A word of a question that is not later than the number's own is late: it was of a number before. Without a question, 0,
// it counts.
func (p *Payer) missed(nowMS int64, b *bill, attempt int64) bool {
	if b.missed || b.answeredMS != 0 || b.endedMS != 0 || b.forgetMS != 0 || attempt != 0 && attempt <= b.attempt {
		return false
	}
	b.chain.End(false, 0)
	b.missed, b.attempt, b.forgetMS = true, max(b.attempt, attempt), nowMS+missedFor.Milliseconds()
	return true
}

// answered notes when the talk began. An end that waits for it is settled.
func (p *Payer) answered(nowMS int64, b *bill, atMS int64) bool {
	if b.answeredMS != 0 || atMS <= 0 {
		return false
	}
	b.answeredMS = atMS
	b.startMS = max(b.heardMS, min(nowMS, atMS+b.skewMS))
	if b.forgetMS != 0 { // it was told to be over: its end is waited for
		b.forgetMS = nowMS + Remember.Milliseconds()
	}
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

package sim

// Faults that TestSimPayer finds.
var payerFaults = []fault{
	{"a call that failed is forgotten at once", "balance/payer_talk.go", "	b.chain.End(false, 0)\n	b.forgetMS = nowMS + StartWait.Milliseconds()", "	b.chain.End(false, 0)"},
	{"a late word of a miss counts", "balance/payer_talk.go", "|| attempt != 0 && attempt <= b.attempt", ""},
	{"an answer of somebody inside is the number's", "balance/payer_talk.go", "|| w.Attempt > b.attempt && b.answeredMS == 0 && b.endedMS == 0", ""},
	{"a failure before the answer ends the call", "balance/payer_talk.go", "return w.TimeMS > b.answeredMS && p.ended(", "return p.ended("},
	{"a question for the number again is not noted", "balance/payer.go", "		b.attempt = o.Attempt\n		return b.paid(), true", "		return b.paid(), false"},
	{"an operator's hand ends a call", "balance/payer_talk.go", "	case w.Kind == WordUp:\n		changed = ", "	case w.Kind == WordUp:\n		changed = p.vanished(nowMS, b, w.TimeMS) || "},
	{"a call is not extended", "balance/payer_alarm.go", "	b.chain.Answered(0, max(sec, (nowMS-b.startMS)/1000)+b.stepSec)\n", ""},
	{"a call without money is not ended", "balance/payer_alarm.go", "		b.ending = now <= sec\n", "		_ = now\n"},
	{"a task is given once", "balance/payer_alarm.go", "	case b.againMS <= nowMS:\n", "	case b.againMS == 0:\n"},
	{"a call that vanished is charged what was heard, for good", "balance/payer_talk.go", "	b.chain.End(false, 0)\n	b.forgetMS = nowMS + Remember.Milliseconds()", "	b.chain.End(true, max(0, seenMS-b.answeredMS))\n	b.forgetMS = nowMS + Remember.Milliseconds()"},
	{"a snapshot forgets which number was missed", "balance/payer_image.go", "b.ending, b.missed = r.Bool(), r.Bool()", "b.ending, b.missed = r.Bool(), r.Bool() && false"},
}

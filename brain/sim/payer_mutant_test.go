package sim

import (
	"strings"
	"testing"
)

// Proves that the simulator of payers sees faults planted into the production code, one place each, by playing 200 seeds of each.
func TestMutantPayer_PlantedInTheProductionCode(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator anew for each mutant")
	}
	for _, mutant := range []struct{ name, file, from, to string }{
		{"a call that failed is forgotten at once", "payer_talk.go", "	b.chain.End(false, 0)\n	b.forgetMS = nowMS + StartWait.Milliseconds()", "	b.chain.End(false, 0)"},
		{"a late word of a miss counts", "payer_talk.go", "|| attempt != 0 && attempt <= b.attempt", ""},
		{"an answer of somebody inside is the number's", "payer_talk.go", "|| w.Attempt > b.attempt && b.answeredMS == 0 && b.endedMS == 0", ""},
		{"a failure before the answer ends the call", "payer_talk.go", "return w.TimeMS > b.answeredMS && p.ended(", "return p.ended("},
		{"a question for the number again is not noted", "payer.go", "		b.attempt = o.Attempt\n		return b.paid(), true", "		return b.paid(), false"},
		{"an operator's hand ends a call", "payer_talk.go", "	case w.Kind == WordUp:\n		changed = ", "	case w.Kind == WordUp:\n		changed = p.vanished(nowMS, b, w.TimeMS) || "},
		{"a call is not extended", "payer_alarm.go", "	b.chain.Answered(0, max(sec, (nowMS-b.startMS)/1000)+b.stepSec)\n", ""},
		{"a call without money is not ended", "payer_alarm.go", "		b.ending = now <= sec\n", "		_ = now\n"},
		{"a task is given once", "payer_alarm.go", "	case b.againMS <= nowMS:\n", "	case b.againMS == 0:\n"},
		{"a call that vanished is charged what was heard, for good", "payer_talk.go", "	b.chain.End(false, 0)\n	b.forgetMS = nowMS + Remember.Milliseconds()", "	b.chain.End(true, max(0, seenMS-b.answeredMS))\n	b.forgetMS = nowMS + Remember.Milliseconds()"},
		{"a snapshot forgets which number was missed", "payer_image.go", "b.ending, b.missed = r.Bool(), r.Bool()", "b.ending, b.missed = r.Bool(), r.Bool() && false"},
	} {
		t.Run(mutant.name, func(t *testing.T) {
			out := playMutant(t, "TestSimPayer", "../balance/"+mutant.file, mutant.from, mutant.to)
			at := strings.Index(out, "seed ")
			if at < 0 {
				t.Fatalf("no seed of 200 finds it:\n%s", out)
			}
			t.Log(strings.SplitN(out[at:], "\n", 2)[0])
		})
	}
}

package guard

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// FirstTerm is how long the first ban of a tier lasts. 0: the tier bans nobody by itself.
func FirstTerm(tier string) time.Duration {
	switch tier {
	case api.TierNft, api.TierUA:
		return time.Hour
	case api.TierPike, api.TierScore:
		return 5 * time.Minute
	}
	return 0
}

// Term is how long a ban lasts: of a tier, after so many long ones; repeat says that the last ban ended at most RepeatWithin ago.
func Term(tier string, repeat bool, long int) time.Duration {
	if !repeat {
		return FirstTerm(tier)
	}
	return min(MaxTerm, LongTerm<<min(max(long, 0), 5))
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// decayed is what is left of a count some time after the end of the last ban.
func decayed(count int, since time.Duration) int {
	return count >> min(63, max(0, since)/RepeatWithin)
}

// remembered is how long a count is kept: until nothing is left of it.
func remembered(count int) time.Duration {
	return RepeatWithin * time.Duration(max(1, bits.Len(uint(count))))
}

// words says what an address did.
func words(kind string) string {
	switch kind {
	case api.OffenceFlood:
		return "flood of packets"
	case api.OffenceRequests:
		return "flood of SIP requests"
	case api.OffenceScanner:
		return "signature of a scanner"
	case api.OffenceAuthFail:
		return "wrong passwords"
	case api.OffenceSpray:
		return "wrong passwords for names of others"
	case api.OffenceChallenge:
		return "challenges left unanswered"
	case api.OffenceUnknown:
		return "calls to unknown numbers"
	case api.OffenceSource:
		return "calls of an address that is no trunk and no device"
	}
	return "offence"
}

// whyBan says why a ban lasts as long as it does; before is how many there were.
func whyBan(kind string, repeat bool, before int, term time.Duration) string {
	if !repeat {
		return fmt.Sprintf("%s: %s", words(kind), span(term))
	}
	return fmt.Sprintf("%s, repeated within %s of the last ban (%d before): %s", words(kind), span(RepeatWithin), before, span(term))
}

// span writes a length of time as people do: 5 min, 1 h, 1 h 30 min.
func span(d time.Duration) string {
	h, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	text := ""
	for _, part := range [...]struct {
		n    time.Duration
		unit string
	}{{h, "h"}, {m, "min"}, {s, "s"}} {
		if part.n > 0 {
			if text != "" {
				text += " "
			}
			text += fmt.Sprintf("%d %s", part.n, part.unit)
		}
	}
	if text == "" {
		return "0 s"
	}
	return text
}

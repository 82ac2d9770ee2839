// Package balance is money: what a call costs (Terms, Plan), what an account has (Machine), and how a call of a
// reseller's customer is paid at every level at once (Chain).
//
// # Rating
//
// All amounts are whole micro-units of one currency in an int64; there is no float. An answered call is billed for
// whole intervals: the first as soon as it was answered, be it for no time at all, then a next one for each that
// has begun. Talk is measured in milliseconds and never rounded before: 60,001 ms at 60/60 are 120 seconds, 60,000 ms are
// 60. The price is the connect fee plus per_minute × billed seconds / 60, rounded up once, to the whole micro-unit.
// A call that was not answered costs nothing, no connect fee either.
//
// The rate of a number is that of the longest prefix that has one in force: for a prefix the latest whose
// effective_from is not after the question. A prefix whose first rate lies in the future does not count yet.
//
// # Wallet
//
// Balance is the sum of all movements; holds are not movements, they lower what is available:
// balance + credit limit - held. A hold or an extend never takes what is not available, so by them balance - held never
// falls below -limit. It says two things: HeldSec is paid for, and the call must end there unless it is extended;
// MoneySec is how long it could last if no other call took money. The rate of the hold is the rate of the call, to its end.
//
// A settle charges the rating of the talk, exactly, whatever was held. What is beyond the hold (a timer that was late, an
// edge that could not end the call) is charged as well and told as BeyondMicros: the balance may then be below the limit,
// and nothing is held until there is money again. So may an adjust, and a limit that is lowered; neither ends a call.
// A call that costs nothing is held even then: it lowers nothing. Emergency calls are not brought here at all.
//
// Everything about a call goes by its token, and by the time it was asked for, the same in all its operations.
// What ended is remembered by its token, at most MaxEnded of them; of what is forgotten only the latest time is kept, and
// an operation that is not younger is refused as stale. So nothing is charged twice, however late it is repeated, and memory is bounded.
//
// # Leases
//
// Silence does not prove that a call is over. A lease that runs out therefore releases nothing: the hold is named by
// Doubtful, and whoever knows calls is asked. Only when the call is positively over (Over: its dialog ended, two complete
// reports do not list it) and the lease has run out, which leaves the settle time to arrive, Due gives the op that
// ends the hold: it charges the talk that was heard of if the call was known to be answered, else nothing.
// A settle that comes after that charges the difference.
package balance

import (
	"errors"
	"time"
	"unicode/utf8"
)

// Bounds of one wallet. What lies beyond is refused with a reason.
const (
	MaxHolds     = 100_000
	MaxEnded     = 200_000 // calls that are remembered as over; twice as many while the oldest of them lies in the future
	MaxHands     = 10_000  // top-ups, adjustments and limits that are remembered; twice as many likewise
	MaxMovements = 50_000  // those before are folded into the opening balance
	MaxPage      = 1000    // movements of one page of a statement
	MaxExpire    = 10_000  // holds of one op of Due

	// MaxMicros bounds a top-up, an adjustment, a limit and what they may make of the balance: 10^10 units.
	MaxMicros = int64(10_000_000_000_000_000)
	// MaxPriceMicros bounds the connect fee and the price of a minute: 10^6 units.
	MaxPriceMicros = int64(1_000_000_000_000)
	// MaxIntervalSec bounds both intervals of a rate.
	MaxIntervalSec = 3600
	// MaxTalkMS bounds the talk that a settle may tell of: a week, far above what the edge lets a call last.
	MaxTalkMS = int64(7 * 24 * 3600 * 1000)

	maxSec    = MaxTalkMS / 1000
	maxField  = 1024              // bytes of a token, call id or number
	maxText   = 256               // bytes of a note
	maxTimeMS = int64(1) << 46    // the year 4199: far from any overflow
	floor     = -(int64(1) << 61) // no charge takes a balance below: 10^12 units, and no sum overflows
)

const (
	// Lease is how long a hold is left alone after the last word of its call.
	Lease = 5 * time.Minute
	// Pause is how long a doubtful hold is not named again.
	Pause = time.Minute
	// Remember is how long a call that ended is remembered: as long as a node's spool may keep the word of it.
	Remember = 24 * time.Hour
	// Window is how long a movement stays in the statement by itself, and what was done by hand is remembered.
	Window = 92 * 24 * time.Hour
	// MaxAhead is how far the asker's clock may be ahead. Beyond it the answer is WhyClock, to be tried again later. It is also how long
	// at most a call is remembered beyond MaxEnded, so it is short.
	MaxAhead = time.Minute
)

// Why an operation was refused.
const (
	WhyMoney    = "money"    // not enough for the first interval, or for all the seconds that an extend wants
	WhyOver     = "over"     // the call has ended already
	WhyUnknown  = "unknown"  // extend: there is no such hold
	WhyStale    = "stale"    // older than what is remembered: nobody can tell any more whether it was done
	WhyClock    = "clock"    // its time lies in the future
	WhyConflict = "conflict" // the id stands for something else
	WhyFull     = "full"     // MaxHolds; of an end: for a moment no more can be remembered, to be tried again
	WhyBound    = "bound"    // the balance would leave its bounds
)

var whys = [...]string{"", WhyMoney, WhyOver, WhyUnknown, WhyStale, WhyClock, WhyConflict, WhyFull, WhyBound}

var errFields = errors.New("a name is missing, too long or garbled, or a number is out of range")

// texts tests what becomes a key or is kept as it is.
func texts(most int, fields ...string) bool {
	for _, s := range fields {
		if len(s) > most || !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

func inTime(ms int64) bool { return ms >= 0 && ms <= maxTimeMS }

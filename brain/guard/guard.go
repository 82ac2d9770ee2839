// Package guard decides which addresses the edge bans: who may be banned at all, for how long, and at which nodes. A node
// catches and acts at once by the policy that it was given (api.GuardPolicy); each offence then comes here, and what is
// decided here stands.
//
// # Who is never banned
//
// Loopback, whatever the configuration protects (trunks, nodes, networks of operators: it comes with the op, see Shield),
// the allow list, an address from which a device has authenticated within the hour at whichever node (a brain that believed the device
// says so by an op Known), and for Grace an address that was lifted. That a node says so with the offence is that node's word: it frees the
// address there, and where it is banned for no other reason than that nodes share bans; what other nodes caught by themselves stays.
// An IPv6 offender counts and is banned as its /64, so whatever overlaps that is not banned either.
//
// # Terms
//
// The first ban lasts as long as its tier has it (FirstTerm). A ban that begins at most a day after the end of the last one is a
// repeat: LongTerm, doubled with each such ban, at most MaxTerm. A first ban of TierNft is the first of that row. Who is banned cannot
// offend, so what counts as a day without an offence begins with the end of the ban: each halves the count. A lifted ban does not count.
//
// An offence during a ban makes it no repeat; it lasts until its own first term is over, if that is later. An offence of before the end
// of the last ban belongs to that ban, however late it is told.
//
// # Who enforces a ban
//
// By the share of the policy every node (ShareAll), every node once it is a repeat (ShareRepeat), or only the nodes that caught the
// address (ShareNone). What an operator bans is every node's. A lift is every node's and of every tier.
package guard

import (
	"errors"
	"time"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// Bounds. A book that is full forgets what one forged sender could have brought about before what he could not (see ban.rank), of these whatever ends
// first, and nothing that an operator has banned. It takes no such ban of TierUA: the node that caught that one enforces it alone. The allow list takes no more.
const (
	MaxBans      = 100_000
	MaxOffenders = 100_000
	MaxAllowed   = 10_000
	MaxKnown     = 100_000 // of more, those whose time ends first go
	MaxNodes     = 64      // that enforce a ban which is not shared; caught by more, it is

	MaxTimeMS = int64(1) << 46 // epoch milliseconds, the year 4199: far from any overflow

	maxField = 256     // bytes of a name, a note, a reason
	maxCount = 1 << 20 // of offences, bans
)

const (
	// LongTerm is the ban of a repeat at first.
	LongTerm = time.Hour
	// MaxTerm is the longest ban that the guard makes by itself: an address may be somebody else's the next day.
	MaxTerm = 24 * time.Hour
	// RepeatWithin is how long after the end of a ban the next one is a repeat; it is also what halves the count.
	RepeatWithin = 24 * time.Hour
	// Grace is how long a lifted address is not banned again by the guard: whoever still sends gets the time to stop.
	Grace = time.Minute
	// KnownFor is how long an address is not banned after a device was believed there: the hour of the nodes, and what a report may be late.
	KnownFor = 70 * time.Minute
	// knownAgain is by how much its end has to move to be written down.
	knownAgain = 10 * time.Minute
	// Fresh is how old an offence may be to count as of now: what a report takes on its way, and clocks that differ.
	Fresh = time.Minute
	// Slack is by how much the end of a ban at a node may differ from ours before it is corrected.
	Slack = 5 * time.Second
)

// Shares: which nodes enforce a ban.
const (
	ShareAll    = "all"
	ShareRepeat = "repeat"
	ShareNone   = "none"
)

// Shares lists them, the default first.
var Shares = []string{ShareAll, ShareRepeat, ShareNone}

var (
	tiers = [...]string{"", api.TierNft, api.TierPike, api.TierUA, api.TierScore, api.TierOperator}
	kinds = [...]string{"", api.OffenceFlood, api.OffenceRequests, api.OffenceScanner, api.OffenceAuthFail, api.OffenceChallenge,
		api.OffenceUnknown, api.OffenceSource, api.OffenceSpray}
)

var errFields = errors.New("a name is missing, too long or garbled, or a number is out of range")

// texts tests what is kept as it is.
func texts(fields ...string) bool {
	for _, s := range fields {
		if len(s) > maxField || !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

func inTime(ms int64) bool { return ms >= 0 && ms <= MaxTimeMS }

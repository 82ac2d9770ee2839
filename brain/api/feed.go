package api

import (
	"strconv"
	"strings"
)

// Numbered is one delta of a feed with its id, see DeltaID.
type Numbered struct {
	ID   string
	Data []byte // JSON of Delta
}

// Watched is what a watcher of an account's live state gets: what followed the delta it knew, or, when that
// one is not known any more, the whole state and the id it stands at.
type Watched struct {
	ID     string     // of the newest delta
	State  []byte     // JSON of PresenceState; nil when Deltas follow on what the watcher knew
	Deltas []Numbered // oldest first
}

// DeltaID names one delta of a feed: the epoch of the owner that saw it, and its number there.
func DeltaID(epoch, n uint64) string {
	return strconv.FormatUint(epoch, 10) + "." + strconv.FormatUint(n, 10)
}

// ParseDeltaID is the reverse of DeltaID.
func ParseDeltaID(id string) (epoch, n uint64, ok bool) {
	e, num, ok := strings.Cut(id, ".")
	epoch, err1 := strconv.ParseUint(e, 10, 64)
	n, err2 := strconv.ParseUint(num, 10, 64)
	return epoch, n, ok && err1 == nil && err2 == nil
}

// NextDeltaID is the id after id in the feed of the same owner, "" when id is none.
func NextDeltaID(id string) string {
	if epoch, n, ok := ParseDeltaID(id); ok {
		return DeltaID(epoch, n+1)
	}
	return ""
}

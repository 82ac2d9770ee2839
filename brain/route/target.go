package route

import (
	"strings"

	"github.com/sipio/sipio/brain/api"
)

const (
	// maxTargets bounds the targets of a trunk that are tried in one attempt.
	maxTargets = 4
	// minTargetMS is the least time that one of several targets has to say anything: over UDP it has been sent the request twice
	// then (timer A, RFC 3261 section 17.1.1.2).
	minTargetMS = 500
)

// attempt is a step over a trunk, as it is made.
type attempt struct{ *api.RouteTrunk }

// through has the attempt tried at targets, one after the other (RFC 3263 section 4.3). They share the time that the trunk may be
// silent; so many are tried as that is enough for.
func (a attempt) through(targets []string, transport string) {
	n := min(len(targets), maxTargets, max(1, a.FrTimer/minTargetMS))
	if n == 0 {
		return
	}
	hops := make([]string, n)
	for i := range hops {
		hops[i] = "sip:" + targets[i] + transport
	}
	a.DstURI, a.Next, a.FrTimer = hops[0], strings.Join(hops[1:], "|"), a.FrTimer/n
}

// via lists where the calls of a trunk go, each HOST:PORT: where it took the registration, or what its proxy's name leads to; told and
// none: the name leads nowhere. What cannot be used is left out.
func via(hints, id string) (targets []string, told bool) {
	for pair := range strings.SplitSeq(hints, ",") {
		name, list, _ := strings.Cut(pair, "=")
		if name != id {
			continue
		}
		if list == "" {
			return nil, true
		}
		for at := range strings.SplitSeq(list, "|") {
			if hostport(at) {
				targets = append(targets, at)
			}
		}
		return targets, len(targets) > 0
	}
	return nil, false
}

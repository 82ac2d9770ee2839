// Package trunk looks after the trunks of a node: it pings them by OPTIONS, and when this node holds the lease of a
// trunk it registers us there. Requests leave through Kamailio, so that they come from its address.
package trunk

import (
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Hysteresis of a trunk's state.
const (
	badAnswers  = 2 // failures in a row that make a trunk down
	goodAnswers = 2 // answers in a row that make it up again
)

// downFor is how long a trunk without pings stays down after a call to it failed: nothing else would tell that it is
// back.
const downFor = 30 * time.Second

// health is what is known of a trunk's answering. It is a machine: times come in with what happened.
type health struct {
	state   string
	sinceMS int64
	bad     int   // failures in a row while it is up
	good    int   // answers in a row while it is down
	untilMS int64 // when a trunk without pings that is down becomes unknown; 0 = no call has made it so
}

func newHealth(nowMS int64) health { return health{state: api.TrunkUnknown, sinceMS: nowMS} }

// alive tells whether a final answer shows that somebody is there. 408 and 503 show that nobody is: the one is made when
// nothing came, the other says so. Any other, also 403, 404 and 405, is the trunk's own word.
func alive(code int) bool { return code >= 200 && code != 408 && code != 503 }

// heard takes what became of a ping, or of a call: the first decides, then it takes some in a row.
func (h *health) heard(nowMS int64, ok bool) {
	switch {
	case h.state == api.TrunkUnknown && ok:
		h.turn(nowMS, api.TrunkUp)
	case h.state == api.TrunkUnknown:
		h.turn(nowMS, api.TrunkDown)
	case h.state == api.TrunkUp && ok:
		h.bad = 0
	case h.state == api.TrunkUp:
		if h.bad++; h.bad >= badAnswers {
			h.turn(nowMS, api.TrunkDown)
		}
	case ok:
		if h.good++; h.good >= goodAnswers {
			h.turn(nowMS, api.TrunkUp)
		}
	default:
		h.good = 0
	}
}

// failed takes a call that failed at a trunk without pings.
func (h *health) failed(nowMS int64) {
	if h.state != api.TrunkDown {
		h.turn(nowMS, api.TrunkDown)
	}
	h.untilMS = nowMS + downFor.Milliseconds()
}

// expire ends what failed began. A trunk that is down and that no pings will find up again, because they were switched
// off or an operator's was the only one, has its end from now on.
func (h *health) expire(nowMS int64, pinged bool) {
	switch {
	case h.untilMS == 0 && !pinged:
		h.untilMS = nowMS + downFor.Milliseconds()
	case h.untilMS != 0 && nowMS >= h.untilMS:
		h.turn(nowMS, api.TrunkUnknown)
	}
}

func (h *health) turn(nowMS int64, state string) { *h = health{state: state, sinceMS: nowMS} }

package own

import (
	"slices"
	"time"
)

// A lease is what the acknowledgements of one incarnation's heartbeats amount to. All times are those of the member's
// own monotonic clock.
type lease struct {
	seq   uint64                   // of the last heartbeat
	sent  [64]time.Duration        // when the last heartbeats were sent, by sequence
	acked map[string]time.Duration // by peer: when the newest heartbeat that it acknowledged was sent
}

// beat numbers a heartbeat that is sent now.
func (l *lease) beat(now time.Duration) uint64 {
	l.seq++
	l.sent[l.seq%uint64(len(l.sent))] = now
	return l.seq
}

// ack takes a peer's acknowledgement of heartbeat seq. One of an unknown or long gone heartbeat counts for nothing.
func (l *lease) ack(peer string, seq uint64) {
	if seq == 0 || seq > l.seq || l.seq-seq >= uint64(len(l.sent)) {
		return
	}
	if l.acked == nil {
		l.acked = map[string]time.Duration{}
	}
	l.acked[peer] = max(l.acked[peer], l.sent[seq%uint64(len(l.sent))])
}

// until is the moment up to which a majority of need brains, the member included, stands behind it; 0 for never.
func (l *lease) until(need int) time.Duration {
	others := need - 1
	if others < 1 || len(l.acked) < others {
		return 0
	}
	sent := make([]time.Duration, 0, len(l.acked))
	for _, at := range l.acked {
		sent = append(sent, at)
	}
	slices.Sort(sent)
	return sent[len(sent)-others] + Trust
}

package acd

import (
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/pack"
)

// Versions of the form of a snapshot.
const (
	snapshotVersion = 4 // what is written
	snapshotUnmoved = 3 // is read too: nobody was moved, and nobody sent elsewhere
)

// AppendSnapshot writes the desk without the ends of its leases. Desks that went through the same changes write the
// same bytes.
func (d *Desk) AppendSnapshot(b []byte) []byte {
	b = slices.Grow(b, 64*(len(d.pastEntries.known)+len(d.pastReservations.known)+len(d.sticky.known))+256*(len(d.entries)+len(d.agents))) // about
	b = pack.AppendUint(b, snapshotVersion)
	for _, v := range [...]int64{d.version, d.clockMS, d.fence, d.counted} {
		b = pack.AppendInt(b, v)
	}
	var one []byte
	b = pack.AppendUint(b, uint64(len(d.queues)))
	for _, id := range slices.Sorted(maps.Keys(d.queues)) {
		q := d.queues[id]
		one = pack.AppendInt(pack.AppendBool(appendQueue(one[:0], &q.Queue), q.gone), q.ahtMS)
		b = pack.AppendBytes(b, q.figures.append(one))
	}
	b = pack.AppendUint(b, uint64(len(d.agents)))
	for _, id := range slices.Sorted(maps.Keys(d.agents)) {
		one = d.agents[id].append(one[:0])
		b = pack.AppendBytes(b, one)
	}
	b = pack.AppendUint(b, uint64(len(d.entries)))
	for _, id := range slices.Sorted(maps.Keys(d.entries)) {
		one = d.entries[id].append(one[:0])
		b = pack.AppendBytes(b, one)
	}
	b = pack.AppendUint(b, uint64(len(d.reserved)))
	for _, r := range d.reservations() {
		b = pack.AppendInt(pack.AppendInt(b, r.fence), int64(r.state))
		b = pack.AppendText(pack.AppendText(b, r.agent.id), r.entry.id)
		b = pack.AppendInt(pack.AppendInt(b, r.ringMS), r.atMS)
	}
	return d.appendMemory(b)
}

func (d *Desk) appendMemory(b []byte) []byte {
	b = pack.AppendUint(b, uint64(len(d.signals)))
	for _, id := range slices.Sorted(maps.Keys(d.signals)) {
		s := d.signals[id]
		b = pack.AppendInt(pack.AppendBool(pack.AppendText(b, id), s.reachable), int64(s.calls))
	}
	entries := d.pastEntries.live((*pastEntry).key)
	b = pack.AppendUint(b, uint64(len(entries)))
	for _, p := range entries {
		b = pack.AppendInt(pack.AppendInt(pack.AppendText(pack.AppendText(b, p.id), p.outcome), p.sinceMS), p.overMS)
		b = pack.AppendText(appendRank(pack.AppendInt(b, p.called), p.rank, p.moved), p.token)
	}
	reservations := d.pastReservations.live((*pastReservation).key)
	b = pack.AppendUint(b, uint64(len(reservations)))
	for _, p := range reservations {
		b = pack.AppendBool(pack.AppendBool(pack.AppendText(pack.AppendInt(b, p.fence), p.why), p.claimed), p.missed)
		b = pack.AppendInt(pack.AppendText(pack.AppendText(b, p.userID), p.entryID), p.overMS)
	}
	b = pack.AppendUint(b, uint64(len(d.sticky.known)))
	for s := d.sticky.first; s != nil; s = s.next {
		b = pack.AppendInt(pack.AppendText(pack.AppendText(pack.AppendText(b, s.queueID), s.number), s.userID), s.whenMS)
	}
	return b
}

func (h history) append(b []byte) []byte {
	b = pack.AppendUint(b, uint64(len(h)))
	for i := range h {
		b = pack.AppendInt(b, h[i].number)
		for _, v := range h[i].sums() {
			b = pack.AppendInt(b, *v)
		}
		b = pack.AppendInt(b, h[i].LongestWaitMS)
	}
	return b
}

// read reads what append wrote. Before anybody was sent elsewhere, the last sum was none.
func (h *history) read(r *pack.Reader, form uint64) {
	for range r.Count(Intervals) {
		i := interval{number: r.Int()}
		sums := i.sums()
		n := len(sums)
		if form == snapshotUnmoved {
			n--
		}
		for _, v := range sums[:n] {
			*v = r.Int()
		}
		i.LongestWaitMS = r.Int()
		*h = append(*h, i)
	}
}

// numbers lists what a snapshot has of an agent beside its texts and flags.
func (a *agent) numbers() [8]*int64 {
	return [...]*int64{&a.idleMS, &a.handled, &a.talkMS, &a.wrapFromMS, &a.wrapEndMS, &a.lastTalkMS, &a.sinceMS, &a.countedMS}
}

func (a *agent) append(b []byte) []byte {
	conf := a.conf
	conf.UserID, conf.Memberships = a.id, nil
	for _, m := range a.members {
		conf.Memberships = append(conf.Memberships, m.Membership)
	}
	b = appendAgent(b, &conf)
	for _, m := range a.members {
		b = pack.AppendInt(pack.AppendBool(b, m.signed), m.rungAt)
	}
	for _, s := range [...]string{a.status, a.reason, a.state, a.wrapQueue} {
		b = pack.AppendText(b, s)
	}
	b = pack.AppendInt(pack.AppendBool(pack.AppendBool(b, a.gone), a.reachable), int64(a.calls))
	b = pack.AppendInt(b, int64(a.misses))
	for _, v := range a.numbers() {
		b = pack.AppendInt(b, *v)
	}
	return a.figures.append(b)
}

func (e *entry) times() [8]*int64 {
	return [...]*int64{&e.sinceMS, &e.joinedMS, &e.holdMS, &e.holdUntilMS, &e.viewMS, &e.announceMS, &e.connectedMS, &e.exitMS}
}

func (e *entry) texts() [9]*string {
	return [...]*string{&e.id, &e.token, &e.callID, &e.node, &e.number, &e.name, &e.label, &e.servedBy, &e.outcome}
}

func (e *entry) append(b []byte) []byte {
	for _, s := range e.texts() {
		b = pack.AppendText(b, *s)
	}
	b = pack.AppendText(b, e.queue.ID)
	b = appendSkills(b, e.skills)
	b = pack.AppendUint(b, uint64(len(e.skipped)))
	for _, id := range e.skipped {
		b = pack.AppendText(b, id)
	}
	for _, v := range [...]int{e.priority, e.state, e.misses, e.spoken} {
		b = pack.AppendInt(b, int64(v))
	}
	for _, v := range [...]bool{e.exitNoAgents, e.quick, e.held, e.kept} {
		b = pack.AppendBool(b, v)
	}
	for _, v := range e.times() {
		b = pack.AppendInt(b, *v)
	}
	return e.callback.append(appendRank(pack.AppendInt(b, e.called), e.rank, e.moved()))
}

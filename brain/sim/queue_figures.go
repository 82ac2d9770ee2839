package sim

import (
	"fmt"
	"math"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// sums is what a queue's or an agent's figures must come from: records and changes, added up one by one.
type sums struct {
	offered, answered, abandoned, short, timedOut, overflowed, option, missed, inLevel, called, sent int64
	waitMS, talkMS, wrapMS, signedMS, readyMS                                                        int64
}

func (b *queueBooks) sum(id string) *sums {
	if b.sums[id] == nil {
		b.sums[id] = &sums{}
	}
	return b.sums[id]
}

// count adds the record of an entry that is over.
func (b *queueBooks) count(r acd.Record) {
	if b.queues[r.QueueID] == nil {
		return
	}
	q := b.sum(r.QueueID)
	q.offered++
	switch r.Outcome {
	case acd.LeftAnswered:
	case acd.LeftAbandoned:
		q.abandoned++
		if r.Short {
			q.short++
		}
	case acd.ExitTimeout:
		q.timedOut++
	case acd.ExitQueueFull, acd.ExitEWT, acd.ExitNoAgents:
		q.overflowed++
	case acd.LeftOption:
		q.option++
	case acd.LeftSent:
		q.sent++
	case acd.LeftCallbackFailed, acd.LeftCallbackExpired:
		q.called++
	}
	if r.ConnectedMS == 0 {
		return
	}
	for _, s := range []*sums{q, b.sum(r.UserID)} {
		s.answered++
		s.waitMS += r.ConnectedMS - r.EnqueuedMS
		s.talkMS += r.EndMS - r.ConnectedMS
	}
	if r.ConnectedMS-r.EnqueuedMS <= b.queues[r.QueueID].ServiceLevelMS {
		q.inLevel++
	}
}

// spend adds what an agent has done since its last change.
func (b *queueBooks) spend(a *bookAgent, until int64) {
	ms, s, was := until-a.last.TimeMS, b.sum(a.id), a.last
	if was.TimeMS == 0 {
		return
	}
	if was.State == acd.StateWrapUp {
		s.wrapMS += ms
		if b.queues[was.QueueID] != nil {
			b.sum(was.QueueID).wrapMS += ms
		}
	}
	if was.Bucket == acd.BucketReady {
		s.readyMS += ms
	}
	if was.Status != acd.StatusOffline || was.State == acd.StateInCall || was.State == acd.StateWrapUp {
		s.signedMS += ms
	}
}

// checkFigures holds the figures of the whole run to the sums, when nobody is in a queue any more.
func (h *host) checkFigures() {
	b := h.books.clone()
	for _, q := range h.desk.Queues(h.now(), begin-minute, h.now(), false) {
		s, f := b.sum(q.QueueID), q.Figures
		h.compareFigures(q.QueueID, f, api.Figures{Offered: s.offered, Answered: s.answered, Abandoned: s.abandoned, ShortAbandon: s.short, TimedOut: s.timedOut,
			Overflowed: s.overflowed, OptionOut: s.option, CallbackFailed: s.called, Sent: s.sent, AbandonRate: part(s.abandoned, s.offered), ServiceLevel: part(s.inLevel, s.offered),
			ASAMS: part(s.waitMS, s.answered), AHTMS: part(s.talkMS+s.wrapMS, s.answered)})
	}
	for _, v := range h.desk.Agents(h.now(), begin-minute, h.now()) {
		a := b.agents[v.UserID]
		if a == nil {
			h.w.broken("%s is shown and is no agent", v.UserID)
			return
		}
		b.spend(a, h.now())
		s, f := b.sum(a.id), v.Figures
		busy := s.talkMS + s.wrapMS
		h.compareFigures(a.id, f, api.Figures{Offered: s.offered, Answered: s.answered, Missed: s.missed, ASAMS: part(s.waitMS, s.answered),
			AHTMS: part(busy, s.answered), Occupancy: part(busy, busy+s.readyMS), Utilization: part(busy, s.signedMS)})
		if f.Occupancy != nil && f.Utilization != nil && *f.Utilization > *f.Occupancy {
			h.w.broken("%s is used %v and occupied %v", a.id, *f.Utilization, *f.Occupancy)
		}
	}
}

// part is a ratio; nil when nothing is known.
func part(some, all int64) *float64 {
	if all == 0 {
		return nil
	}
	r := float64(some) / float64(all)
	return &r
}

func (h *host) compareFigures(id string, got, want api.Figures) {
	ratios := func(f *api.Figures) []*float64 {
		list := []*float64{f.AbandonRate, f.ASAMS, f.AHTMS, f.ServiceLevel, f.Occupancy, f.Utilization}
		f.AbandonRate, f.ASAMS, f.AHTMS, f.ServiceLevel, f.Occupancy, f.Utilization = nil, nil, nil, nil, nil, nil
		return list
	}
	text := fmt.Sprintf("the figures of %s", id)
	theirs, ours := ratios(&got), ratios(&want)
	if got != want {
		h.w.broken("%s are %+v, the records and changes make %+v", text, got, want)
	}
	for i := range ours {
		switch a, b := theirs[i], ours[i]; {
		case a == nil && b == nil:
		case a == nil || b == nil || math.Abs(*a-*b) > 1e-9*max(1, *b):
			h.w.broken("%s: ratio %d is %v, the records and changes make %v", text, i, show(a), show(b))
		}
	}
}

func show(r *float64) any {
	if r == nil {
		return "unknown"
	}
	return *r
}

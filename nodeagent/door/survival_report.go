package door

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of the reports of survival answers.
const (
	reportEvery   = time.Second // how often reports are put into the spool
	tallyFor      = time.Minute // the first answer to an AOR is reported at once, the others of this time as one
	maxReports    = 4096        // waiting for the spool
	maxTallies    = 4096        // AORs counted at a time
	reportBatch   = 200         // events of one record in the spool
	maxReportText = 200         // bytes of a foreign text in a report
)

// reports turns survival answers into events for the brain. An answer never waits for the disk: its report is
// in memory for up to reportEvery, and is lost when the node agent is killed within that time.
type reports struct {
	*reportQueue
	node, boot string
	spool      Spool
	log        *slog.Logger
}

type reportQueue struct {
	full    logLimit // complaints that the spool does not take reports
	mu      sync.Mutex
	seq     int64
	waiting []api.Event
	tallies map[tallyKey]*tally
	dropped int64
}

// tallyKey is what repeated answers have in common: a phone that registers again, a guesser of passwords.
type tallyKey struct {
	aor  string
	code int
}

// tally counts the answers since the one that was reported.
type tally struct {
	since time.Time
	last  api.Event // of the answers counted; Count is how many
}

// newReports begins a boot of its own: these events are numbered apart from Kamailio's.
func newReports(node string, spool Spool, log *slog.Logger, now time.Time) reports {
	return reports{&reportQueue{tallies: map[tallyKey]*tally{}}, node, fmt.Sprintf("survival-%d", now.UnixMilli()), spool, log}
}

// note takes down one answer. Every call that was let through is reported by itself; registrations and
// refusals of one AOR are reported once, and then as a count every tallyFor.
func (r *reports) note(now time.Time, q *api.RouteRequest, done decided) {
	ev := api.Event{TimeMS: now.UnixMilli(), Type: api.EventSurvival, AccountID: done.account, AOR: reportText(done.aor),
		SourceIP: reportText(q.SourceIP), Transport: reportText(q.Transport), CallID: reportText(q.CallID), Token: done.token,
		From: reportText(q.FromUser + "@" + q.FromDomain), SIPCode: done.code}
	if q.RURIUser != "" {
		ev.To = reportText(q.RURIUser)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if done.token != "" {
		r.add(ev)
		return
	}
	key := tallyKey{ev.AOR, done.code}
	if t := r.tallies[key]; t != nil {
		ev.Count = t.last.Count + 1
		t.last = ev
		return
	}
	if len(r.tallies) >= maxTallies {
		r.dropped++
		return
	}
	r.tallies[key] = &tally{since: now}
	r.add(ev)
}

// add numbers an event and lets it wait; r.mu is held.
func (r *reports) add(ev api.Event) {
	if len(r.waiting) >= maxReports {
		r.dropped += int64(max(ev.Count, 1))
		return
	}
	r.seq++
	ev.Seq = r.seq
	r.waiting = append(r.waiting, ev)
}

// sum closes the tallies that are older than age and reports what they counted.
func (r *reports) sum(now time.Time, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, t := range r.tallies {
		if now.Sub(t.since) < age {
			continue
		}
		delete(r.tallies, key)
		if t.last.Count > 0 {
			r.add(t.last)
		}
	}
}

// run puts reports into the spool until ctx ends, and what is left then.
func (r *reports) run(ctx context.Context) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.sum(time.Now(), 0)
			r.flush()
			return
		case now := <-tick.C:
			r.sum(now, tallyFor)
			r.flush()
		}
	}
}

// flush hands over what waits. What the spool does not take waits on.
func (r *reports) flush() {
	r.mu.Lock()
	batch := r.waiting
	r.mu.Unlock()
	taken := 0
	for taken < len(batch) && r.spool != nil {
		part := batch[taken:min(taken+reportBatch, len(batch))]
		if _, _, err := r.spool.Append(r.node, r.boot, part); err != nil {
			r.full.warn(r.log, "reports of survival answers wait", "error", err, "waiting", len(batch)-taken)
			break
		}
		taken += len(part)
	}
	if taken == 0 {
		return
	}
	r.mu.Lock()
	r.waiting = append([]api.Event(nil), r.waiting[taken:]...)
	r.mu.Unlock()
}

// counts returns how many reports wait and how many answers were never reported.
func (r *reports) counts() (waiting int, dropped int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting), r.dropped
}

// reportText bounds a foreign text and keeps what the brain would refuse an event for out of it.
func reportText(s string) string {
	if len(s) > maxReportText {
		s = s[:maxReportText]
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
}

// Package dialogs tells the brain, again and again, which calls live on this node: Kamailio's complete list
// of dialogs, and the calls of an earlier Kamailio whose media sessions still live.
package dialogs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of the reporter.
const (
	share     = 5             // a round may take one part in so many of the time; else the next comes later
	maxKnown  = 100_000       // calls remembered of this Kamailio, and of earlier ones
	maxLooks  = 500           // orphans whose media session is looked for in one round
	orphanAge = 5 * time.Hour // no call lives longer (kamailio-cfg, IN_DIALOG)
)

// Kamailio is asked for its dialogs.
type Kamailio interface {
	// Boot returns the name of Kamailio's present life, as in its events, and the epoch second it began in.
	Boot(ctx context.Context) (name string, sec int64, err error)
	// Dialogs returns every dialog that lives throughout the call, or an error; never a shorter list.
	Dialogs(ctx context.Context) ([]api.Dialog, error)
}

// Media is asked for the media session of a call.
type Media interface {
	// HasSession reports whether one lives. An error means that nothing is known.
	HasSession(ctx context.Context, callID string) (bool, error)
}

// Config is what a Reporter needs.
type Config struct {
	Node     string        // name of this node
	Interval time.Duration // between the beginnings of two reports
	Kamailio Kamailio
	Media    Media
	Post     func(ctx context.Context, report api.DialogReport) error // to a brain that takes it
	Log      *slog.Logger
}

// Stats are the counters of a Reporter since its start.
type Stats struct {
	Reports int64 `json:"reports"` // taken by a brain
	Faults  int64 `json:"faults"`  // rounds without one
	Dialogs int64 `json:"dialogs"` // in the last report
	Orphans int64 `json:"orphans"` // of them of an earlier Kamailio
	TookMS  int64 `json:"took_ms"` // to make the last list, milliseconds
}

// Reporter makes the reports of one node. Create it with New, feed it with Note, run it with Run.
type Reporter struct {
	cfg     Config
	seq     int64 // of the last report; Run's alone
	failing bool  // the last round made no report; Run's alone

	mu      sync.Mutex
	boot    string                 // Kamailio's life that live belongs to, "" before the first list
	live    map[string]known       // by token: the last list, and what was heard of since
	orphans map[string]*api.Dialog // by token: calls of earlier lives
	queue   []*api.Dialog          // the longest not looked at first; one counts only while orphans holds it

	reports, faults, dialogs, lost, took atomic.Int64
}

// known is a live call and when it was last heard of.
type known struct {
	api.Dialog
	heard time.Time
}

// New makes a Reporter. The sequence numbers of its reports begin at its start in milliseconds, so that they
// are higher than those of any earlier one.
func New(cfg Config) *Reporter {
	return &Reporter{cfg: cfg, seq: time.Now().UnixMilli() - 1, live: map[string]known{}, orphans: map[string]*api.Dialog{}}
}

// Stats returns the counters.
func (r *Reporter) Stats() Stats {
	return Stats{Reports: r.reports.Load(), Faults: r.faults.Load(), Dialogs: r.dialogs.Load(), Orphans: r.lost.Load(), TookMS: r.took.Load()}
}

// Note takes the events that passed the door: calls that begin between two lists are known when Kamailio dies,
// and a call that was told to be over is listed no more. It never blocks on the network.
func (r *Reporter) Note(events []api.Event) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		if ev.Token == "" {
			continue
		}
		switch ev.Type {
		case api.EventDialogStart:
			if len(r.live) < maxKnown && ev.AccountID != "" && ev.CallID != "" {
				d := api.Dialog{AccountID: ev.AccountID, Token: ev.Token, CallID: ev.CallID, From: ev.From, To: ev.To, SinceMS: ev.TimeMS}
				r.live[ev.Token] = known{d, now}
			}
		case api.EventDialogEnd, api.EventDialogFailed:
			delete(r.live, ev.Token)
			delete(r.orphans, ev.Token)
		}
	}
}

// Run reports until ctx ends: every Interval, or less often when a list takes more than its share of time.
func (r *Reporter) Run(ctx context.Context) {
	timer := time.NewTimer(r.cfg.Interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		took, err := r.round(ctx, began)
		if ctx.Err() != nil {
			return
		}
		r.turn(err)
		timer.Reset(max(r.cfg.Interval, share*took) - time.Since(began))
	}
}

// turn counts and logs what became of a round; of several alike only the first is logged.
func (r *Reporter) turn(err error) {
	switch {
	case err != nil:
		r.faults.Add(1)
		if !r.failing {
			r.cfg.Log.Warn("live dialogs are not reported", "error", err)
		}
	default:
		r.reports.Add(1)
		if r.failing {
			r.cfg.Log.Info("live dialogs are reported again", "dialogs", r.dialogs.Load())
		}
	}
	r.failing = err != nil
}

// round makes one report and posts it. took is how long the list took, without the post.
func (r *Reporter) round(ctx context.Context, began time.Time) (took time.Duration, err error) {
	report, err := r.list(ctx, began)
	took = time.Since(began)
	r.took.Store(took.Milliseconds())
	if err != nil {
		return took, err
	}
	r.seq++
	report.Seq = r.seq
	if err := r.cfg.Post(ctx, report); err != nil {
		return took, fmt.Errorf("no brain takes the report: %w", err)
	}
	r.dialogs.Store(int64(report.Count))
	return took, nil
}

// list makes a report of what lives now, or an error when that cannot be said in full.
func (r *Reporter) list(ctx context.Context, began time.Time) (api.DialogReport, error) {
	boot, sec, err := r.cfg.Kamailio.Boot(ctx)
	if err != nil {
		return api.DialogReport{}, err
	}
	listed, err := r.cfg.Kamailio.Dialogs(ctx)
	if err != nil {
		return api.DialogReport{}, err
	}
	after, _, err := r.cfg.Kamailio.Boot(ctx)
	switch {
	case err != nil:
		return api.DialogReport{}, err
	case after != boot:
		return api.DialogReport{}, errors.New("kamailio was restarted while its dialogs were listed")
	}
	r.learn(boot, listed, began)
	r.look(ctx, began)
	all := append(listed, r.survivors()...)
	return api.DialogReport{
		Node: r.cfg.Node, Boot: boot,
		// The end of that second: a call that was asked for in it may have been an earlier Kamailio's.
		BootMS:  (sec + 1) * 1000,
		TakenMS: began.UnixMilli(), Count: len(all), Dialogs: all,
	}, nil
}

// Calls returns the calls of this Kamailio that are known to be up, in no order.
func (r *Reporter) Calls() []api.Dialog {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]api.Dialog, 0, len(r.live))
	for _, k := range r.live {
		list = append(list, k.Dialog)
	}
	return list
}

// learn takes a complete list that was begun at began. With a new boot all that was known of the one before
// becomes orphans, unless Kamailio lists it.
func (r *Reporter) learn(boot string, listed []api.Dialog, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.live
	r.live = make(map[string]known, len(listed))
	for _, d := range listed {
		r.live[d.Token] = known{d, began}
		delete(r.orphans, d.Token)
	}
	restarted := r.boot != "" && r.boot != boot
	for token, k := range was {
		if _, ok := r.live[token]; ok {
			continue
		}
		switch {
		case restarted:
			r.adopt(k.Dialog)
		case !k.heard.Before(began): // began while the list was made
			r.live[token] = k
		}
	}
	r.boot = boot
}

// adopt makes a call of an earlier Kamailio an orphan.
func (r *Reporter) adopt(d api.Dialog) {
	if _, ok := r.orphans[d.Token]; ok || len(r.orphans) >= maxKnown {
		return
	}
	r.orphans[d.Token] = &d
	r.queue = append(r.queue, &d)
}

// look asks for the media sessions of the orphans that waited longest, and forgets those that have none.
// When rtpengine does not answer nothing is known, and nothing forgotten.
func (r *Reporter) look(ctx context.Context, now time.Time) {
	for _, d := range r.due() {
		lives := now.Sub(time.UnixMilli(d.SinceMS)) < orphanAge
		if lives {
			var err error
			if lives, err = r.cfg.Media.HasSession(ctx, d.CallID); err != nil {
				r.cfg.Log.Debug("media sessions of an earlier Kamailio's calls cannot be looked for", "error", err)
				return
			}
		}
		if !lives {
			r.mu.Lock()
			delete(r.orphans, d.Token)
			r.mu.Unlock()
		}
	}
}

// due returns the orphans to look for and puts them at the back of the queue.
func (r *Reporter) due() []*api.Dialog {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*api.Dialog
	rest := make([]*api.Dialog, 0, len(r.orphans))
	for _, d := range r.queue {
		switch {
		case r.orphans[d.Token] != d: // over
		case len(due) < maxLooks:
			due = append(due, d)
		default:
			rest = append(rest, d)
		}
	}
	r.queue = append(rest, due...)
	return due
}

// survivors are the orphans that live as far as is known.
func (r *Reporter) survivors() []api.Dialog {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]api.Dialog, 0, len(r.orphans))
	for _, d := range r.queue {
		if r.orphans[d.Token] == d {
			all = append(all, *d)
		}
	}
	r.lost.Store(int64(len(all)))
	return all
}

package ng

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of the reaper.
const (
	reapAfter    = 5 * time.Second  // after the end of a call Kamailio's own delete had its time
	reapInterval = 2 * time.Second  // between looks
	reapGiveUp   = 10 * time.Minute // a call whose dialog is still listed by then is forgotten
	reapMost     = 10_000           // ended calls remembered; past it the oldest are forgotten
	reapPerLook  = 200              // calls examined in one look
)

// Dialogs says whether Kamailio still lists a dialog of a Call-ID, in whatever state.
type Dialogs interface {
	HasDialog(ctx context.Context, callID string) (bool, error)
}

// Sessions is what the reaper needs of rtpengine.
type Sessions interface {
	Query(ctx context.Context, callID string) (Session, error)
	Delete(ctx context.Context, callID string) error
}

// Reaper deletes media sessions that outlived their call. It acts only on what it knows: the end of
// that very call was reported, Kamailio lists no dialog of it any more, and the session was made
// before the end. A call it never heard of is never touched, however dead it looks: after a crash of
// Kamailio its dialogs are gone while people go on talking.
type Reaper struct {
	dialogs  Dialogs
	sessions Sessions
	log      *slog.Logger
	reaped   atomic.Int64

	mu    sync.Mutex
	ended map[string]endedCall // by Call-ID
	order []endedCall          // longest not examined first; an entry counts only while ended holds it
}

// endedCall is the end of one call.
type endedCall struct {
	callID string
	end    time.Time // when it ended, by the event
	heard  time.Time // when the event passed the door
}

// NewReaper makes a Reaper; feed it with Note and run it with Run.
func NewReaper(dialogs Dialogs, sessions Sessions, log *slog.Logger) *Reaper {
	return &Reaper{dialogs: dialogs, sessions: sessions, log: log, ended: map[string]endedCall{}}
}

// Reaped returns how many sessions were deleted since start.
func (r *Reaper) Reaped() int64 { return r.reaped.Load() }

// Note takes the events that passed the door. It never blocks on the network.
func (r *Reaper) Note(events []api.Event) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		if ev.CallID == "" || !utf8.ValidString(ev.CallID) { // JSON-RPC cannot ask about such bytes
			continue
		}
		switch ev.Type {
		case api.EventDialogStart: // the same Call-ID lives again
			delete(r.ended, ev.CallID)
		case api.EventDialogEnd, api.EventDialogFailed:
			end := now
			if t := time.UnixMilli(ev.TimeMS); ev.TimeMS > 0 && t.Before(now) {
				end = t
			}
			r.remember(endedCall{ev.CallID, end, now})
		}
	}
}

func (r *Reaper) remember(call endedCall) {
	r.ended[call.callID] = call
	r.order = append(r.order, call)
	for len(r.order) > reapMost {
		r.forget(r.order[0])
		r.order = r.order[1:]
	}
}

// forget drops a call, unless it has ended again since.
func (r *Reaper) forget(call endedCall) {
	if r.ended[call.callID] == call {
		delete(r.ended, call.callID)
	}
}

// Run looks at the ended calls until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	tick := time.NewTicker(reapInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.look(ctx)
		}
	}
}

// look examines the calls that are due. It stops at the first daemon that does not answer: nothing
// is known then, so nothing is done.
func (r *Reaper) look(ctx context.Context) {
	for _, call := range r.due(time.Now()) {
		over, err := r.examine(ctx, call)
		if err != nil {
			r.log.Debug("media sessions cannot be checked now", "error", err)
			return
		}
		if over {
			r.settle(call)
		}
	}
}

// due returns the calls to examine and puts them at the back, behind those that wait longer.
func (r *Reaper) due(now time.Time) []endedCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []endedCall
	rest := r.order[:0]
	for _, call := range r.order {
		switch age := now.Sub(call.heard); {
		case r.ended[call.callID] != call: // dealt with, or lives again
		case age > reapGiveUp:
			r.forget(call)
		case age > reapAfter && len(due) < reapPerLook:
			due = append(due, call)
		default:
			rest = append(rest, call)
		}
	}
	clear(r.order[len(rest):])
	r.order = append(rest, due...)
	return due
}

// settle forgets a call that is dealt with.
func (r *Reaper) settle(call endedCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(call)
}

// examine deletes the session of one call when all conditions hold, and reports whether there is
// nothing left to do about the call.
func (r *Reaper) examine(ctx context.Context, call endedCall) (over bool, err error) {
	session, err := r.sessions.Query(ctx, call.callID)
	switch {
	case errors.Is(err, ErrUnknownCall):
		return true, nil
	case err != nil:
		return false, err
	case session.Created.After(call.end): // another call with the same Call-ID
		return true, nil
	}
	alive, err := r.dialogs.HasDialog(ctx, call.callID)
	if err != nil || alive {
		return false, err
	}
	if err := r.sessions.Delete(ctx, call.callID); err != nil && !errors.Is(err, ErrUnknownCall) {
		return false, err
	}
	r.reaped.Add(1)
	r.log.Info("media session of an ended call deleted", "call_id", call.callID, "ended_ago", time.Since(call.end).Round(time.Second))
	return true, nil
}

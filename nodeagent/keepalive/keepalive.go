// Package keepalive ends calls whose caller is gone: he sends no media, and does not answer when he is asked inside the call.
package keepalive

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a Watcher.
const (
	Least = 5 * time.Second // of Config.After, so that a round is not shorter than a second

	rounds  = 5               // in Config.After
	strikes = 4               // questions in a row without an answer
	denials = 2               // answers in a row that say that there is no such call
	maxAsk  = 7 * time.Second // Kamailio itself gives up after five
	atOnce  = 64              // questions under way
)

// ErrNoAnswer says that a caller did not answer.
var ErrNoAnswer = errors.New("no answer")

// Call is a call that is up.
type Call struct {
	Token, CallID string
	Since         time.Time
}

// Caller is the caller of a call.
type Caller interface {
	// Tag is his side's name at the relay.
	Tag() string
	// Trunk: he is a carrier or a PBX. Some never answer such a question: silence proves nothing, but a denial does.
	Trunk() bool
	// Ask asks him inside the call; code is what he answers. ErrNoAnswer: nothing in time. Another error: nobody knows.
	Ask(ctx context.Context) (code int, err error)
	// End ends the call on both sides.
	End(ctx context.Context) error
}

// Config is what a Watcher needs.
type Config struct {
	After time.Duration // without a sign of a caller; his call is ended then. At least Least
	Calls func() []Call
	// Caller finds a call's caller; nil when it is over or he needs no watching. An error: nobody knows.
	Caller func(ctx context.Context, c Call) (Caller, error)
	// Heard is when the last packet came from a side of a call, zero when that is not known; held: it is on hold. An error: nobody knows.
	Heard func(ctx context.Context, callID, tag string) (last time.Time, held bool, err error)
	Log   *slog.Logger
}

// Watcher watches the callers of one node.
type Watcher struct {
	cfg   Config
	ended atomic.Int64
	known map[string]*watched // by token; Run's alone
}

// watched is a caller as he was found.
type watched struct {
	heard          time.Time // the last sign of him, or when he was first looked at
	silent, denied int       // questions in a row

	over bool // he is gone, and his call was ended: it is listed for a moment longer

	caller Caller // in this round, as the next
	held   bool
	code   int
	err    error
}

// New makes a Watcher.
func New(cfg Config) *Watcher { return &Watcher{cfg: cfg, known: map[string]*watched{}} }

// Ended returns how many calls were ended.
func (w *Watcher) Ended() int64 { return w.ended.Load() }

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(w.cfg.After / rounds)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.round(ctx)
		}
	}
}

// round looks at every call, asks the callers that nothing was heard of, and ends the calls of those who are gone.
func (w *Watcher) round(ctx context.Context) {
	before := w.known
	w.known = map[string]*watched{}
	quiet := map[Call]*watched{}
	for _, c := range w.cfg.Calls() {
		s := before[c.Token]
		if s == nil {
			s = &watched{heard: time.Now()}
		}
		w.known[c.Token] = s
		if s.over || time.Since(c.Since) < w.cfg.After/rounds || ctx.Err() != nil {
			continue
		}
		if w.quiet(ctx, c, s) {
			quiet[c] = s
		}
	}
	w.ask(ctx, quiet)
	for c, s := range quiet {
		w.judge(ctx, c, s)
	}
}

// quiet says whether a caller is to be asked. What nobody can tell counts for him.
func (w *Watcher) quiet(ctx context.Context, c Call, s *watched) bool {
	caller, err := w.cfg.Caller(ctx, c)
	if err != nil || caller == nil {
		s.sign(time.Now())
		return false
	}
	last, held, err := w.cfg.Heard(ctx, c.CallID, caller.Tag())
	if err != nil {
		last = time.Now()
	}
	if last.After(s.heard) {
		s.sign(last)
	}
	s.caller, s.held = caller, held
	return time.Since(s.heard) >= w.cfg.After/rounds
}

// sign takes a sign of life.
func (s *watched) sign(at time.Time) { s.heard, s.silent, s.denied = at, 0, 0 }

// ask asks all of them, atOnce at a time.
func (w *Watcher) ask(ctx context.Context, quiet map[Call]*watched) {
	var asking sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for _, s := range quiet {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(ctx, min(maxAsk, w.cfg.After/rounds))
			defer cancel()
			s.code, s.err = s.caller.Ask(ctx)
		})
	}
	asking.Wait()
}

// judge takes what has come of a question. Who is on hold sends nothing, and may have another address meanwhile: like a trunk's, his
// silence is no proof.
func (w *Watcher) judge(ctx context.Context, c Call, s *watched) {
	switch unanswered := errors.Is(s.err, ErrNoAnswer) || s.err == nil && s.code == 408; {
	case ctx.Err() != nil:
		return
	case unanswered && !s.held && !s.caller.Trunk():
		s.silent++
	case unanswered:
		return
	case s.err == nil && s.code == 481:
		s.denied++
	default: // 405 and 501 too: whoever answers is there
		s.sign(time.Now())
		return
	}
	if s.denied < denials && (s.silent < strikes || time.Since(s.heard) < w.cfg.After) {
		return
	}
	if last, _, err := w.cfg.Heard(ctx, c.CallID, s.caller.Tag()); err != nil || last.After(s.heard) {
		return
	}
	if err := s.caller.End(ctx); err != nil {
		w.cfg.Log.Warn("a call whose caller is gone cannot be ended", "call_id", c.CallID, "error", err)
		return
	}
	s.over = true
	w.ended.Add(1)
	w.cfg.Log.Info("a call is ended, its caller is gone", "call_id", c.CallID, "token", c.Token, "last_sign", s.heard, "knows_no_call", s.denied >= denials)
}

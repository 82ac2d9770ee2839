// Package door is the loopback HTTP server that Kamailio asks. It passes each question to the brain
// and bounds what Kamailio must never suffer: an answer comes within the deadline or is a fallback,
// a brain that is frozen or away costs nobody more than one stall time, and a question that curl
// repeats is asked once. Events are taken into a spool and acknowledged from there.
package door

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// How long a question waits for a place when MaxInFlight are under way. Each waits bulkheadWait: long enough for a burst at a
// healthy brain, short enough that Kamailio's spare workers stay free while the brain is frozen. Half as many as are under way may wait
// patientWait, which outlasts a brain that stood still for a moment: a slow write to its disk refuses no call.
const (
	bulkheadWait = 50 * time.Millisecond
	patientWait  = 200 * time.Millisecond
)

// Config is what a Door needs. DefaultConfig fills everything but Brains.
type Config struct {
	Brains        []string      // URLs, the preferred first: http on loopback, https elsewhere
	Key           string        // node key, sent as a bearer token; "" sends none
	TLS           *tls.Config   // for https brains; nil uses the system's roots
	Deadline      time.Duration // a decision is answered by then; Kamailio's curl gives up after 1 s
	StallAfter    time.Duration // silence after which a brain counts as frozen
	MaxInFlight   int           // questions at the brain at once; half as many wait for it: Kamailio must have more workers than both
	HedgeAfter    time.Duration // silence after which the next brain is asked too
	RetryAfterSec int           // Retry-After of a fallback, seconds
	Spool         Spool         // takes events; nil refuses them with 503
	Survival      Survival      // what is answered without a brain; the zero value is nothing
	OnEvents      func([]api.Event)
	Guard         func(lines []byte) error // takes what Kamailio's guard tells, and never waits; nil = this node has none
	Trunks        Trunks
	Log           *slog.Logger
}

// DefaultConfig returns the bounds that fit Kamailio's one-second curl timeout.
func DefaultConfig() Config {
	return Config{
		Deadline: 800 * time.Millisecond, StallAfter: 250 * time.Millisecond, MaxInFlight: 8,
		HedgeAfter: 100 * time.Millisecond, RetryAfterSec: 2, Log: slog.Default(),
	}
}

// Spool keeps events until the brain has them. It is declared here because the door alone uses it.
type Spool interface {
	// Append stores the events of a boot durably and returns the highest sequence number it holds of
	// that boot and which of the events were new.
	Append(node, boot string, events []api.Event) (lastSeq int64, fresh []api.Event, err error)
}

// Stats are the counters of a Door since its start.
type Stats struct {
	Decisions     int64       `json:"decisions"`       // questions from Kamailio
	Fallbacks     int64       `json:"fallbacks"`       // of them answered 503 because no brain decided
	Repeated      int64       `json:"repeated"`        // of them answered with a repeated question's answer
	BulkheadFull  int64       `json:"bulkhead_full"`   // fallbacks because MaxInFlight were under way
	Hedged        int64       `json:"hedged"`          // questions asked of a second brain
	BrainFaults   int64       `json:"brain_faults"`    // answers of a brain that were no decision
	Events        int64       `json:"events"`          // events taken into the spool
	AbandonedLost int64       `json:"abandoned_lost"`  // questions given up on at a brain, of which it could not be told
	EventLinesBad int64       `json:"event_lines_bad"` // event lines dropped as malformed
	Brains        []BrainStat `json:"brains"`

	Survival *SurvivalStats `json:"survival,omitempty"` // absent when it is switched off
}

// BrainStat is one brain's breaker.
type BrainStat struct {
	Name   string `json:"name"`
	Open   bool   `json:"open"`
	Opened int64  `json:"opened"` // times the breaker opened
}

// Door answers Kamailio. Create it with New, run it with Serve.
type Door struct {
	cfg      Config
	brains   []*brain
	places   chan struct{}
	patient  chan struct{} // held by those who wait for a place longer than the others
	memory   *memory
	survival *survival  // nil when it is switched off
	given    *abandoned // questions given up on
	cancel   context.CancelFunc

	decisions, fallbacks, repeated, bulkheadFull, hedged, faults, events, badLines atomic.Int64
	refusals, faultLog, eventLog                                                   logLimit
}

// New checks the configuration and makes a Door. It connects to nothing yet.
func New(cfg Config) (*Door, error) {
	if len(cfg.Brains) == 0 {
		return nil, errors.New("door: no brain URL")
	}
	if strings.ContainsFunc(cfg.Key, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("door: the node key holds characters that no header can carry")
	}
	clients := make([]client, len(cfg.Brains))
	for i, u := range cfg.Brains {
		c, err := newClient(u, cfg.Key, cfg.TLS, max(cfg.MaxInFlight, 1), cfg.StallAfter)
		if err != nil {
			return nil, fmt.Errorf("door: %w", err)
		}
		clients[i] = c
	}
	return newDoor(cfg, clients)
}

func newDoor(cfg Config, clients []client) (*Door, error) {
	if cfg.Deadline <= 0 || cfg.StallAfter <= 0 || cfg.HedgeAfter <= 0 || cfg.MaxInFlight < 1 || cfg.MaxInFlight > 1024 {
		return nil, errors.New("door: Deadline, StallAfter and HedgeAfter must be positive, MaxInFlight 1 to 1024")
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Door{cfg: cfg, places: make(chan struct{}, cfg.MaxInFlight), patient: make(chan struct{}, cfg.MaxInFlight/2), memory: newMemory(), cancel: cancel}
	d.survival = newSurvival(cfg.Survival, cfg.Key, cfg.Spool, cfg.Log)
	d.given = newAbandoned(cfg.Spool, cfg.Log, time.Now())
	for i, c := range clients {
		d.brains = append(d.brains, &brain{
			name: cfg.Brains[i], client: c, stallAfter: cfg.StallAfter, log: cfg.Log, ctx: ctx,
		})
	}
	return d, nil
}

// Serve answers on ln until ctx ends, then finishes what is under way. ln must be a loopback
// listener: the door has no authentication of its own.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	host, _, err := net.SplitHostPort(ln.Addr().String())
	if err != nil || !isLoopback(host) {
		_ = ln.Close()
		return fmt.Errorf("door: %v is not a loopback address", ln.Addr())
	}
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var behind sync.WaitGroup
	behind.Go(func() { d.watch(watching) })
	behind.Go(func() { d.given.run(watching) })
	if d.survival != nil {
		behind.Go(func() { d.survival.run(watching) })
	}
	err = newServer(d.cfg.Log, d.endpoints()...).serve(ctx, ln, d.cfg.Deadline)
	stopWatching()
	behind.Wait()
	d.stop()
	return err
}

func (d *Door) endpoints() []endpoint {
	return []endpoint{
		{api.PathAuth, http.MethodPost, api.MaxBody, d.decision},
		{api.PathRoute, http.MethodPost, api.MaxBody, d.decision},
		{api.PathRefer, http.MethodPost, api.MaxBody, d.decision},
		{api.PathChallenge, http.MethodPost, api.MaxBody, d.decision},
		{api.PathPresenceEvent, http.MethodPost, maxEventBody, d.presenceEvent},
		{pathGuard, http.MethodPost, maxGuardBody, d.guard},
		{api.PathHealth, http.MethodGet, 0, d.health},
	}
}

// watch is the one timer of every deadline and of the breakers.
func (d *Door) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		for _, b := range d.brains {
			b.watch(now, now.Sub(last)-watchInterval)
		}
		last = now
	}
}

func (d *Door) stop() {
	d.cancel()
	for _, b := range d.brains {
		b.stop()
	}
}

// decision answers /auth, /route, /refer and /challenge.
func (d *Door) decision(req *request) reply {
	d.decisions.Add(1)
	q := question{req.path, string(req.contentType), req.body, req.received.Add(d.cfg.Deadline), new(atomic.Bool)}
	key, ok := d.memory.key(q.path, q.body)
	if !ok {
		answer, _ := d.decide(d.cfg.Trunks.hinted(q))
		return answer
	}
	e, first := d.memory.begin(key, req.received)
	if !first {
		d.repeated.Add(1)
		return d.memory.wait(e)
	}
	d.cfg.Trunks.heard(&q)
	answer, decided := d.decide(d.cfg.Trunks.hinted(q))
	d.memory.finish(e, answer, decided, time.Now())
	return answer
}

// decide asks the brains and reports whether one of them decided.
func (d *Door) decide(q question) (reply, bool) {
	got, err := d.admitted(q)
	switch {
	case errors.Is(err, errBulkhead):
		return d.fallback(q.path, err.Error()), false
	case err != nil:
		return d.undecided(q, err.Error())
	case got.status == http.StatusBadRequest:
		d.faults.Add(1)
		d.faultLog.warn(d.cfg.Log, "brain refused a question as malformed", "path", q.path, "answer", clip(got.body))
		return refuse(q.path, api.Refusal{SIPCode: 400, Reason: "Bad Request", Why: "brain: " + clip(got.body)}), false
	case got.status != http.StatusOK || !isObject(got.body):
		d.faults.Add(1)
		d.faultLog.warn(d.cfg.Log, "brain did not decide", "path", q.path, "status", got.status, "answer", clip(got.body))
		if got.status < http.StatusInternalServerError { // it turned this node away: that is no outage
			return d.fallback(q.path, fmt.Sprintf("brain answered %d", got.status)), false
		}
		return d.undecided(q, fmt.Sprintf("brain answered %d", got.status))
	}
	d.survival.saw(&q, got.body)
	return reply{http.StatusOK, got.body}, true
}

var errBulkhead = errors.New("too many decisions in flight")

// admitted takes a place in the bulkhead and asks.
func (d *Door) admitted(q question) (answer, error) {
	if d.allOpen() { // at once: not even a wait for a place
		return answer{}, errOpen
	}
	select {
	case d.places <- struct{}{}:
	default:
		if !d.waitForPlace() {
			d.bulkheadFull.Add(1)
			return answer{}, errBulkhead
		}
	}
	defer func() { <-d.places }()
	if len(d.brains) == 1 {
		return d.brains[0].ask(&exchange{question: q})
	}
	return d.hedge(q)
}

func (d *Door) waitForPlace() bool {
	if d.placeWithin(bulkheadWait) {
		return true
	}
	select {
	case d.patient <- struct{}{}:
		defer func() { <-d.patient }()
		return d.placeWithin(patientWait - bulkheadWait)
	default:
		return false
	}
}

func (d *Door) placeWithin(wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case d.places <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

func (d *Door) allOpen() bool {
	for _, b := range d.brains {
		if !b.open.Load() {
			return false
		}
	}
	return true
}

// undecided answers a question that no brain decided: by survival, whose word counts as a decision, else by
// the fallback.
func (d *Door) undecided(q question, why string) (reply, bool) {
	answer, call, ok := d.survival.answer(&q)
	if !call { // one that goes on has the token by which a brain may have admitted it, and tells of its own end
		d.given.note(&q, time.Now())
	}
	if ok {
		return answer, true
	}
	return d.fallback(q.path, why), false
}

// fallback is the answer when no brain decided in time.
func (d *Door) fallback(path, why string) reply {
	d.fallbacks.Add(1)
	d.refusals.warn(d.cfg.Log, "decision answered by fallback", "path", path, "why", why)
	return refuse(path, api.Refusal{
		SIPCode: 503, Reason: "Service Unavailable", RetryAfterSec: d.cfg.RetryAfterSec, Why: "brain unreachable: " + why,
	})
}

func (d *Door) health(*request) reply {
	return reply{http.StatusOK, fmt.Appendf(nil, `{"status":"ok","brain_reachable":%t}`, !d.allOpen())}
}

// Stats returns the counters.
func (d *Door) Stats() Stats {
	s := Stats{
		Decisions: d.decisions.Load(), Fallbacks: d.fallbacks.Load(), Repeated: d.repeated.Load(),
		BulkheadFull: d.bulkheadFull.Load(), Hedged: d.hedged.Load(), BrainFaults: d.faults.Load(),
		Events: d.events.Load(), EventLinesBad: d.badLines.Load(), AbandonedLost: d.given.lost.Load(),
	}
	s.Survival = d.survival.stats()
	for _, b := range d.brains {
		s.Brains = append(s.Brains, BrainStat{b.name, b.open.Load(), b.opened.Load()})
	}
	return s
}

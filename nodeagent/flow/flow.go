// Package flow carries out what the brain commands for each call of the node's media server: it plays,
// collects digits, dials, records, joins conferences and hangs up, and tells the brain what became of it.
// It decides nothing.
//
// One Run serves one call, over the event socket that FreeSWITCH opens for it. Every command can begin
// anew, so an agent that was restarted asks for the current command and starts it again; that nothing
// happens twice is the brain's doing, by the command's seq.
package flow

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Event is one event of FreeSWITCH (nodeagent/esl.Event).
type Event interface {
	Get(name string) string      // first value of a header, "" when absent
	Variable(name string) string // of the channel
	Name() string                // Event-Name
	Subclass() string            // Event-Subclass, of a CUSTOM event
	UUID() string                // Unique-ID
	Lost() int                   // above 0: not an event, so many were dropped here
}

// Channel is the event socket of one call: an outbound connection of FreeSWITCH, mode `async full`.
type Channel interface {
	Next(ctx context.Context) (Event, error)                  // in order; an error is the end of the connection, or of ctx
	Send(ctx context.Context, command string) error           // linger, myevents, event plain …
	API(ctx context.Context, command string) (string, error)  // an -ERR is an error
	Execute(ctx context.Context, app, arg, uuid string) error // uuid comes back as Application-UUID
	Follow(ctx context.Context, app, arg, uuid string) error  // Execute that waits for the one before that came by Follow (event-lock)
}

// Switch is the inbound connection to the same FreeSWITCH, for what belongs to no call.
type Switch interface {
	API(ctx context.Context, command string) (string, error) // an error while FreeSWITCH is away
	Job(ctx context.Context, command string) (string, error) // the same for what takes long: nobody waits behind it
}

// Brain answers what to do next. An error is a brain that cannot be reached, or does not answer.
type Brain interface {
	Flow(ctx context.Context, req api.FlowRequest) (api.FlowReply, error)
	Alive(ctx context.Context, alive api.FlowAlive) error
}

// Desk is the brain's desk of queues: it says whether a caller and an agent who answered may talk, and is told what became
// of it. An error is a brain that cannot be reached, or does not answer.
type Desk interface {
	Claim(ctx context.Context, c api.Claim) (api.ClaimReply, error)
	Confirm(ctx context.Context, c api.Claim) (api.ClaimReply, error)
	Miss(ctx context.Context, c api.Claim) (api.ClaimReply, error)
}

// Media is the node's copy of the media store. Fetch returns a file whose content is the ref's; its path holds
// no space and none of FreeSWITCH's separators. Store brings a file into the store, and may take it away. When ctx ends before it is
// there, the reference returned beside the error is good: it gets there later. After any other error it does not.
type Media interface {
	Fetch(ctx context.Context, ref api.MediaRef) (path string, err error)
	Store(ctx context.Context, key, file string) (api.MediaRef, error)
}

// Edge ends a dialog of Kamailio's, so that the phone gets a BYE. A dialog that is not there is no error.
type Edge interface {
	EndDialog(ctx context.Context, callID string) error
}

// Config is what Calls needs. Log, Observe, MaxCalls and SilenceThreshold may be left out; without Desk or Listen no
// queue is served.
type Config struct {
	Node   string // name of this node
	Listen string // where FreeSWITCH brings its calls to: host:port of this agent
	Proxy  string // Kamailio as FreeSWITCH dials it: 127.0.0.1:5060
	Dir    string // folder where FreeSWITCH writes recordings; it and the agent can write there
	Brain  Brain
	Desk   Desk
	Media  Media
	Edge   Edge
	Switch Switch
	Log    *slog.Logger

	// Observe is told how long a step took: digit (from the event of the digit that ended a command to the
	// first order of the next), command (from the brain's answer to the first order), brain (a question), claim (a
	// question to the desk), bridge (from its answer to the talk).
	Observe func(step string, took time.Duration)

	MaxCalls         int // at once; 0 = 4000
	SilenceThreshold int // mean amplitude of 16 bit samples below which a recording hears silence; 0 = 200
}

// Times of the contract with the brain.
const (
	aliveEvery    = 10 * time.Second
	sweepEvery    = 5 * time.Second
	sweepFirst    = time.Second
	orphanAfter   = 30 * time.Second // a channel that nobody serves
	brainPatience = 30 * time.Second // a caller waits for a brain
	brainTimeout  = 10 * time.Second // one question; an http step of a flow takes up to 5 s of it
	orderTimeout  = 5 * time.Second  // FreeSWITCH answers an order
	settleTimeout = 5 * time.Second  // FreeSWITCH closes a file, or tells the end of a call
	storeTimeout  = 30 * time.Second // a recording reaches the store, or its queue on disk
)

// Calls are the calls of this node's media server.
type Calls struct {
	cfg   Config
	log   *slog.Logger
	rooms rooms

	mu        sync.Mutex
	live      map[string]*call       // by channel
	entries   map[string]*entry      // of callers in queues, by id
	rescinded map[string][]string    // reservations, by the id of a caller who is not here yet
	legs      map[string]*leg        // of agents, by channel, until they talk
	spies     map[string]*spy        // supervisors who listen, by channel
	asked     map[string]*asked      // who is asked to take a caller, by the caller's channel
	gone      map[string]askedBefore // who was asked to take a caller and has gone, by the caller's channel
	strays    map[string]time.Time   // legs of nobody, by channel, since when
	away      bool                   // the brain could not be told of the calls that live here
	orphans   map[string]orphan      // by channel
	parting   map[string]orphan      // by channel: they have ended, and are being told
	callbacks map[string]*callback   // by channel, until they are answered or were in vain
	back      map[string]bool        // channels of all of them, also of those that have ended
	waiting   int                    // reports that wait for a brain for long

	partings sync.WaitGroup // of orphans that have ended
}

// New makes Calls without any call.
func New(cfg Config) *Calls {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, time.Duration) {}
	}
	if cfg.MaxCalls == 0 {
		cfg.MaxCalls = 4000
	}
	if cfg.SilenceThreshold == 0 {
		cfg.SilenceThreshold = 200
	}
	return &Calls{cfg: cfg, log: cfg.Log, live: map[string]*call{}, entries: map[string]*entry{}, rescinded: map[string][]string{}, legs: map[string]*leg{}, spies: map[string]*spy{}, asked: map[string]*asked{}, gone: map[string]askedBefore{}, strays: map[string]time.Time{}, orphans: map[string]orphan{}, parting: map[string]orphan{}, callbacks: map[string]*callback{}, back: map[string]bool{}, rooms: rooms{byName: map[string]*room{}}}
}

// Count returns how many calls are served.
func (c *Calls) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.live)
}

// add enters a call. A runner of the same channel is replaced, and leaves off before add returns: its connection has
// ended, or the caller has come back from a talk. It is false when there are too many calls.
func (c *Calls) add(ctx context.Context, k *call) bool {
	c.mu.Lock()
	old := c.live[k.uuid]
	if old == nil && len(c.live) >= c.cfg.MaxCalls {
		c.mu.Unlock()
		return false
	}
	c.live[k.uuid] = k
	delete(c.orphans, k.uuid)
	c.mu.Unlock()
	if old == nil {
		return true
	}
	old.replace()
	limit := time.NewTimer(settleTimeout)
	defer limit.Stop()
	select {
	case <-old.done:
	case <-limit.C:
		k.log.Warn("the runner before this one does not leave off")
	case <-ctx.Done():
	}
	return true
}

// remove takes a call out, unless another runner has it by now.
func (c *Calls) remove(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live[k.uuid] == k {
		delete(c.live, k.uuid)
	}
}

// taken says whether another runner serves the channel of k by now.
func (c *Calls) taken(k *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	other := c.live[k.uuid]
	return other != nil && other != k
}

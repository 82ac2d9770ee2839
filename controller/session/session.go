// Package session carries the calls that the platform answers: it takes a node agent's question to the call's
// session, does what the session wants done beside the call, and turns the sounds of its command into objects of
// the media store. What to do is decided in brain/session; nothing is decided here.
package session

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// Owner reaches the sessions, wherever they are served.
type Owner interface {
	// Step asks a call's session. brain.EUnavailable: ask again later.
	Step(ctx context.Context, accountID, token string, req *session.Request) (session.Reply, error)
	// Renew says that a node still has these calls.
	Renew(ctx context.Context, calls []api.AliveCall) error
	// Late lists calls served here that are over and left effects behind.
	Late(ctx context.Context) []api.AliveCall
}

// Messages keeps the messages of mailboxes. Each is asked at least once: doing it again is no error.
// brain.EUnavailable: again later; any other error is given up and logged.
type Messages interface {
	Store(ctx context.Context, msg *brain.VoicemailMessage) error
	MarkRead(ctx context.Context, accountID, id string) error
	// Delete removes the message and its sound.
	Delete(ctx context.Context, msg *brain.VoicemailMessage) error
}

// Notifier tells of a new message: lamps, mail, a request to the operator's server. It must not wait for them. A
// message of the same id may be told of again.
type Notifier interface {
	Notify(ctx context.Context, msg *brain.VoicemailMessage) error
}

// Recordings keeps what is known of recordings. Errors are those of Messages.
type Recordings interface {
	Store(ctx context.Context, accountID string, rec *session.Recording) error
}

// Sounds turns a sound into objects of the media store: one, or those of a playlist.
type Sounds interface {
	Resolve(ctx context.Context, acct *brain.AccountConfig, s brain.Sound) ([]api.MediaRef, error)
}

// Bounds of one question.
const (
	questionTime = 25 * time.Second // everything; longer than a flow's slowest http steps, shorter than an agent's patience
	maxNeeds     = 16               // http calls, PINs, places in queues one after the other
	maxFlights   = 1 << 14          // questions on their way
	lateEvery    = 5 * time.Second
)

// Calls answers /flow and /flow/alive. Set the fields before the first question; nil parts are not called, and what
// they would have done is logged as given up.
type Calls struct {
	Owner      Owner
	Directory  func() brain.Directory
	Messages   Messages
	Notifier   Notifier
	Recordings Recordings
	Sounds     Sounds
	Queues     Queues
	Agents     Agents
	CheckPIN   func(hash, digits string) bool
	HTTP       *Client
	Tagged     func(accountID, callID, label, value string) // tags of a call, at least once; nil = logged only
	Log        *slog.Logger

	graphs graphs

	mu      sync.Mutex // guards what follows
	flights map[flight]*landing
	telling map[string]bool // webhooks on their way, by effect id

	steps, repeated, faults, httpCalls, effects, ended atomic.Int64
}

// Counts are totals since the process began, by name.
func (c *Calls) Counts() map[string]int64 {
	return map[string]int64{"flow_steps": c.steps.Load(), "flow_steps_joined": c.repeated.Load(), "flow_faults": c.faults.Load(),
		"flow_http_calls": c.httpCalls.Load(), "flow_effects": c.effects.Load(), "sessions_ended": c.ended.Load()}
}

// flight names a question: the same one again while it is on its way joins it.
type flight struct {
	account, token, outcome, channel string
	seq                              int64
}

// landing is where those who joined wait.
type landing struct {
	done  chan struct{}
	reply api.FlowReply
	err   error
}

// Flow answers a node agent's question. brain.ENotFound: there is no such session, and the question does not begin
// one; brain.EInvalid: it is out of bounds; brain.EForbidden: there is no such account; brain.EUnavailable: the same
// question again later.
func (c *Calls) Flow(ctx context.Context, req *api.FlowRequest) (api.FlowReply, error) {
	key := flight{account: req.AccountID, token: req.Token, outcome: req.Outcome, seq: req.Seq}
	if req.Start != nil {
		key.channel = req.Start.Channel
	}
	c.mu.Lock()
	l := c.flights[key]
	switch {
	case l != nil:
		c.repeated.Add(1)
	case len(c.flights) >= maxFlights:
		c.mu.Unlock()
		return api.FlowReply{}, brain.Errorf(brain.EUnavailable, "%d questions are on their way", maxFlights)
	default:
		if c.flights == nil {
			c.flights = map[flight]*landing{}
		}
		l = &landing{done: make(chan struct{})}
		c.flights[key] = l
		go c.fly(context.WithoutCancel(ctx), key, l, req)
	}
	c.mu.Unlock()
	select {
	case <-l.done:
		return l.reply, l.err
	case <-ctx.Done():
		return api.FlowReply{}, brain.Errorf(brain.EUnavailable, "the asker has gone: %s", context.Cause(ctx))
	}
}

// fly answers a question to its end, even when the asker goes: he will ask again, and then it is done.
func (c *Calls) fly(ctx context.Context, key flight, l *landing, req *api.FlowRequest) {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			c.faults.Add(1)
			c.Log.Error("answering a node agent failed", "call_id", req.CallID, "panic", p)
			l.err = brain.Errorf(brain.EInternal, "answering failed")
		}
		c.mu.Lock()
		delete(c.flights, key)
		c.mu.Unlock()
		close(l.done)
	}()
	l.reply, l.err = c.answer(ctx, req)
}

// Alive renews the sessions of a node's calls.
func (c *Calls) Alive(ctx context.Context, alive *api.FlowAlive) error {
	return c.Owner.Renew(ctx, alive.Calls)
}

// answer is the loop: ask the owner, do what it wants done, until it says a command.
func (c *Calls) answer(ctx context.Context, f *api.FlowRequest) (api.FlowReply, error) {
	c.steps.Add(1)
	req := &session.Request{Flow: f}
	for range maxNeeds {
		reply, err := c.Owner.Step(ctx, f.AccountID, f.Token, req)
		switch {
		case err != nil:
			return api.FlowReply{}, err
		case reply.Unknown:
			return api.FlowReply{}, brain.Errorf(brain.ENotFound, "there is no session of this call")
		case reply.Refused != "":
			return api.FlowReply{}, brain.Errorf(brain.EInvalid, "%s", reply.Refused)
		}
		c.logStep(ctx, f, &reply)
		if err := c.perform(ctx, f.AccountID, f.Token, &reply); err != nil {
			return api.FlowReply{}, err
		}
		switch {
		case reply.Need != nil:
			req, err = c.meet(ctx, f, &reply)
		case reply.Enqueue != nil:
			reply.Params.Dispatches, req, err = c.join(ctx, f, &reply)
		default:
			req = nil
		}
		switch {
		case err != nil:
			return api.FlowReply{}, err
		case req == nil:
			return c.command(ctx, f, &reply), nil
		}
	}
	return api.FlowReply{}, brain.Errorf(brain.EUnavailable, "the call waits for more than %d things one after the other", maxNeeds)
}

// meet does what the session needs and makes the question that brings it the result.
func (c *Calls) meet(ctx context.Context, f *api.FlowRequest, reply *session.Reply) (*session.Request, error) {
	switch need := reply.Need; {
	case need.PIN != nil:
		checked := &session.Checked{Turn: reply.Turn, Match: -1}
		for i, hash := range need.PIN.Hashes {
			if c.CheckPIN != nil && c.CheckPIN(hash, need.PIN.Digits) {
				checked.Match = i
				break
			}
		}
		return &session.Request{Flow: f, Checked: checked}, nil
	case need.Agent != nil:
		return c.act(ctx, f, reply)
	case need.HTTP != nil:
		c.httpCalls.Add(1)
		outcome, data := c.HTTP.Do(ctx, need.HTTP, f.AccountID, idempotencyKey(reply))
		if ctx.Err() != nil { // ours, not the flow's time: the step is asked again
			return nil, brain.Errorf(brain.EUnavailable, "no time is left for a step of the flow")
		}
		return &session.Request{Result: &session.Result{Turn: reply.Turn, Outcome: outcome, Data: data}}, nil
	}
	return nil, brain.Errorf(brain.EInternal, "a session needs what nobody knows")
}

// command gives the command its files. A sound that cannot be found is left out: the call goes on without it.
func (c *Calls) command(ctx context.Context, f *api.FlowRequest, reply *session.Reply) api.FlowReply {
	out := api.FlowReply{Seq: reply.Seq, Command: reply.Command, Params: reply.Params}
	if len(reply.Sounds) == 0 {
		return out
	}
	acct := c.Directory().ByAccount(f.AccountID)
	for _, sound := range reply.Sounds {
		if acct == nil || c.Sounds == nil {
			break
		}
		refs, err := c.Sounds.Resolve(ctx, acct, sound)
		if err != nil {
			c.faults.Add(1)
			c.Log.LogAttrs(ctx, slog.LevelWarn, "a sound is left out", slog.String("account", f.AccountID), slog.String("call_id", reply.CallID),
				slog.String("media", sound.MediaID), slog.String("playlist", sound.PlaylistID), slog.String("prompt", sound.Prompt), slog.Any("err", err))
			continue
		}
		out.Params.Files = append(out.Params.Files, refs...)
	}
	return out
}

// logStep writes down what a step did. Outcomes' data are not in it: they may be digits of a secret.
func (c *Calls) logStep(ctx context.Context, f *api.FlowRequest, reply *session.Reply) {
	if !c.Log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	call := slog.Group("call", slog.String("account", f.AccountID), slog.String("token", f.Token), slog.String("call_id", reply.CallID))
	for _, t := range reply.Trace {
		c.Log.LogAttrs(ctx, slog.LevelDebug, "session step", call, slog.String("flow", t.Flow), slog.Int64("version", t.Version), slog.String("step", t.Step),
			slog.String("kind", t.Kind), slog.String("outcome", t.Outcome), slog.Any("changed", t.Changed), slog.String("note", t.Note))
	}
	c.Log.LogAttrs(ctx, slog.LevelDebug, "session command", call, slog.String("outcome", f.Outcome), slog.Int64("seq", reply.Seq), slog.String("command", reply.Command))
}

package flow

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// maxVars bounds the variables that a call brings.
const maxVars = 64

// notGiven is how FreeSWITCH's uuid_getvar says that a variable is not set.
const notGiven = "_undef_"

// call is one call being served. Its fields belong to the goroutine of Run, but for those behind mu.
type call struct {
	of  *Calls
	ch  Channel
	log *slog.Logger

	uuid, account, token, callID string
	number, name                 string // of the caller, as the phone wrote them
	start                        api.FlowStart
	laws                         string // of G.711: the caller's, and the other one
	inBand                       bool   // the caller's phone sends its digits as tones
	before                       Event  // what the channel knew when it came, if an agent had it before; nil once used
	begun                        bool   // the brain has a session for it
	known                        bool   // what the channel does is this agent's doing
	early                        bool   // early media is open

	events   chan arrival
	answered bool
	gone     bool // the caller hung up, or the channel cannot be there any more
	closed   bool // the connection has ended
	stopping bool // this process ends
	gap      bool // events were lost
	cause    string
	keys     keypad
	from     time.Time // when what the next order answers came: a digit, or the brain's reply
	fromKey  bool
	ended    map[string]Event // applications that have ended and that somebody waits for
	stopped  map[string]Event // recordings that have ended
	leg      string           // Call-ID of the leg that a dial makes
	bridged  time.Time
	seat     seat            // in a conference
	kicked   <-chan struct{} // something has come for a caller in a queue

	mayAsk    bool         // somebody may be asked to take the caller, since before he came
	consulted *consultNote // who was asked and waits for the caller, until it is told

	replace func()        // another runner has the channel now
	done    chan struct{} // this one has left off
	legs    sync.WaitGroup

	mu        sync.Mutex
	rec       recording
	message   string                             // file that record writes
	released  string                             // leg of the agent with whom the caller exchanges his media directly
	takenBack func()                             // called when it is taken back
	watchers  int                                // supervisors for whom the media of the talk stays here
	spied     []string                           // Call-IDs of their dialogs
	unheld    chan struct{}                      // the media may go again; has room
	aside     func(do func(ctx context.Context)) // begins something beside his talk; nil: he is in none
}

// arrival is an event with the time it came, or the end of the connection.
type arrival struct {
	event Event
	at    time.Time
	err   error
}

// Run serves one call until it has ended, its connection was lost or ctx ends. connect is what FreeSWITCH told
// with the connection. It hangs up calls that the brain ended and those that no brain answered for; it leaves all
// others alone. The leg of an agent who has answered is given to whom it was made for.
func (c *Calls) Run(ctx context.Context, ch Channel, connect Event) {
	if strings.HasPrefix(connect.UUID(), legPrefix) {
		c.attend(ctx, ch, connect)
		return
	}
	k := newCall(c, ch, connect)
	if k.account == "" || k.token == "" || k.start.TargetKind == "" {
		k.log.Warn("a call without account, token or target is refused", "app", connect.Variable("sip_h_"+api.HeaderApp))
		k.kill(ctx, "CALL_REJECTED")
		k.unserved(ctx)
		return
	}
	serving, replace := context.WithCancel(ctx)
	defer replace()
	k.replace = replace
	if !c.add(ctx, k) {
		k.log.Error("a call is refused: this node serves as many as it may", "limit", c.cfg.MaxCalls)
		k.kill(ctx, "SWITCH_CONGESTION")
		k.unserved(ctx)
		return
	}
	k.run(serving)
	c.remove(k)
	switch {
	case !c.taken(k):
		if !k.stopping && (!k.closed || k.cause != "") { // its end is known
			k.unserved(ctx)
		}
	case !k.closed:
		k.keepOpen(ctx)
	}
}

// run serves the call, and leaves off with everything that it began.
func (k *call) run(ctx context.Context) {
	defer close(k.done)
	var reader sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	reader.Go(func() { k.read(ctx) })
	defer func() { stop(); reader.Wait(); k.legs.Wait() }()
	if err := k.prepare(ctx); err != nil {
		k.log.Warn("a call could not be taken over", "error", err)
		k.closed, k.gone = true, true // read on in lost: it asks whether the channel is there
	}
	k.serve(ctx)
}

// keepOpen holds the connection of a call that came back over another one, until FreeSWITCH closes it: were it closed
// from here, FreeSWITCH would break off what the other one plays in that moment.
func (k *call) keepOpen(ctx context.Context) {
	if err := k.order(ctx, func(ctx context.Context) error { return k.ch.Send(ctx, "noevents") }); err != nil {
		return
	}
	for {
		if _, err := k.ch.Next(ctx); err != nil {
			return
		}
	}
}

func newCall(c *Calls, ch Channel, connect Event) *call {
	header := func(name string) string { return connect.Variable("sip_h_" + name) }
	kind, id, _ := strings.Cut(header(api.HeaderApp), "/")
	k := &call{
		of: c, ch: ch, uuid: connect.UUID(), account: header(api.HeaderAccount), token: header(api.HeaderCall),
		callID: connect.Variable("sip_call_id"), answered: connect.Get("Answer-State") == "answered",
		number: connect.Get("Caller-Caller-ID-Number"), name: connect.Get("Caller-Caller-ID-Name"),
		start:  api.FlowStart{TargetKind: kind, TargetID: id, Vars: formVars(header(api.HeaderVars)), Channel: connect.UUID()},
		events: make(chan arrival), ended: map[string]Event{}, stopped: map[string]Event{},
		mayAsk: connect.Variable(consultVariable) != "", done: make(chan struct{}), unheld: make(chan struct{}, 1),
	}
	sdp := connect.Variable("switch_r_sdp")
	k.laws = callersLaw(sdp)
	k.inBand = sdp != "" && !strings.Contains(sdp, "telephone-event") && connect.Variable("sipio_inband") == ""
	if connect.Variable(markVariable) != "" {
		k.before, k.begun = connect, true
	}
	if k.isBack() { // the channel tells what he was called from
		k.number, k.name = k.start.Vars["caller_number"], k.start.Vars["caller_name"]
	}
	if file, key, ok := strings.Cut(connect.Variable(recordingVariable), "|"); ok {
		k.rec = recording{file: file, key: key}
	}
	k.log = c.log.With("call", k.token, "account", k.account, "channel", k.uuid)
	return k
}

// formVars reads the variables of a route. What is wrong in them is left out: the call comes first.
func formVars(coded string) map[string]string {
	if len(coded) > api.MaxVars {
		return nil
	}
	form, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil {
		return nil
	}
	values, _ := url.ParseQuery(string(form)) // with what it could read
	vars := map[string]string{}
	for name := range values {
		if len(vars) < maxVars {
			vars[name] = values.Get(name)
		}
	}
	return vars
}

// read takes events as they come. While the call is busy they wait in the connection's queue, which is bounded.
func (k *call) read(ctx context.Context) {
	for {
		event, err := k.ch.Next(ctx)
		select {
		case k.events <- arrival{event, time.Now(), err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// prepare takes the call over: no guard of the dialplan ends it any more, and its events come. Timestamps of RTP are
// FreeSWITCH's own: those of the other phone, which it passes on while it records, begin anywhere, and a phone may
// take what comes then for very late and play nothing.
func (k *call) prepare(ctx context.Context) error {
	k.deleteGuard(ctx)
	for _, command := range []string{"linger 5", "myevents", "event plain RECORD_STOP CUSTOM conference::maintenance"} {
		if err := k.order(ctx, func(ctx context.Context) error { return k.ch.Send(ctx, command) }); err != nil {
			return err
		}
	}
	if k.mayAsk { // a talk is over
		k.consultEnds(ctx)
	}
	return k.set(ctx, "socket_resume=true", "playback_terminators=none", "RECORD_STEREO=true", "record_waste_resources=true",
		"hangup_after_bridge=false", "continue_on_fail=true", "rtp_rewrite_timestamps=true", "sip_copy_custom_headers=false")
}

// deleteGuard takes the dialplan's guard away, which would end a call that is well served. After a take-over there may
// be none: FreeSWITCH says so.
func (k *call) deleteGuard(ctx context.Context) {
	for tries := 1; ; tries++ {
		_, err := k.api(ctx, "sched_del "+k.uuid)
		switch {
		case err == nil || isRefusal(err):
			return
		case tries == guardTries || ctx.Err() != nil:
			k.log.Warn("the guard of a call may still be there", "error", err)
			return
		}
	}
}

// isRefusal tells an answer of FreeSWITCH's, which will not change, from none.
func isRefusal(err error) bool {
	var refusal interface{ Reason() string } // esl.CommandError
	return errors.As(err, &refusal)
}

// guardTries is how often the guard is tried to be deleted.
const guardTries = 3

// order gives FreeSWITCH an order, within its time.
func (k *call) order(ctx context.Context, give func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	return give(ctx)
}

func (k *call) api(ctx context.Context, command string) (body string, err error) {
	err = k.order(ctx, func(ctx context.Context) error {
		body, err = k.ch.API(ctx, command)
		return err
	})
	return strings.TrimSpace(body), err
}

// set sets variables of the channel, each NAME=VALUE without a semicolon. It is done when it returns; an order to do it
// could be swept away by the next breakOff.
func (k *call) set(ctx context.Context, variables ...string) error {
	_, err := k.api(ctx, "uuid_setvar_multi "+k.uuid+" "+strings.Join(variables, ";"))
	return err
}

// execute starts an application of FreeSWITCH's. The first one after a digit or a reply is timed.
func (k *call) execute(ctx context.Context, app, arg, uuid string) error {
	err := k.order(ctx, func(ctx context.Context) error { return k.ch.Execute(ctx, app, arg, uuid) })
	k.observe()
	return err
}

func (k *call) observe() {
	if k.from.IsZero() {
		return
	}
	step := "command"
	if k.fromKey {
		step = "digit"
	}
	k.of.cfg.Observe(step, time.Since(k.from))
	k.from, k.fromKey = time.Time{}, false
}

// kill ends the channel.
func (k *call) kill(ctx context.Context, cause string) {
	if _, err := k.api(ctx, "uuid_kill "+k.uuid+" "+cause); err != nil && !k.gone {
		k.log.Warn("the channel could not be hung up", "cause", cause, "error", err)
	}
}

// newID names an application for its events.
func newID() string { return strings.ToLower(rand.Text()) }

// begin starts an application under a name of its own and has its end noted.
func (k *call) begin(ctx context.Context, app, arg string) (id string, err error) {
	id = newID()
	k.ended[id] = nil
	if err := k.execute(ctx, app, arg, id); err != nil {
		delete(k.ended, id)
		return "", err
	}
	return id, nil
}

// over returns the last event of an application that has ended, once.
func (k *call) over(id string) (Event, bool) {
	e := k.ended[id]
	if e == nil {
		return nil, false
	}
	delete(k.ended, id)
	return e, true
}

// breakOff ends what is heard, and what is queued behind it.
func (k *call) breakOff(ctx context.Context) error {
	_, err := k.api(ctx, "uuid_break "+k.uuid+" all")
	return err
}

package flow

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// fakeDesk grants what it is told to, and remembers what it was asked.
type fakeDesk struct {
	mu    sync.Mutex
	log   []string
	why   string        // of claims that are not granted
	takes time.Duration // a claim
	away  time.Time     // until then no brain answers
}

// set says why claims are not granted, "" = they are, and how long they take.
func (d *fakeDesk) set(why string, takes time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.why, d.takes = why, takes
}

func (d *fakeDesk) awayFor(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = time.Now().Add(t)
}

func (d *fakeDesk) asked(ctx context.Context, what string, c api.Claim, takes time.Duration) (api.ClaimReply, error) {
	d.mu.Lock()
	away, why := time.Now().Before(d.away), d.why
	d.mu.Unlock()
	if away {
		return api.ClaimReply{}, errAway
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return api.ClaimReply{}, ctx.Err()
	}
	line := strings.TrimSpace(what + " " + c.ReservationID + " " + c.Cause)
	if c.AccountID != "acc" || c.Fence != 7 {
		line += fmt.Sprintf(" %+v", c)
	}
	if what != "claim" {
		why = ""
	}
	if why != "" {
		line += " " + why
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, line)
	return api.ClaimReply{Granted: why == "", Why: why}, nil
}

func (d *fakeDesk) Claim(ctx context.Context, c api.Claim) (api.ClaimReply, error) {
	d.mu.Lock()
	takes := d.takes
	d.mu.Unlock()
	return d.asked(ctx, "claim", c, takes)
}

func (d *fakeDesk) Confirm(ctx context.Context, c api.Claim) (api.ClaimReply, error) {
	return d.asked(ctx, "confirm", c, 0)
}

func (d *fakeDesk) Miss(ctx context.Context, c api.Claim) (api.ClaimReply, error) {
	return d.asked(ctx, "miss", c, 0)
}

func (d *fakeDesk) heard() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.log, ", ")
}

// fakeAgent is one agent's leg: dialed, and then what the test has it do.
type fakeAgent struct {
	in     *queueNode
	uuid   string
	result chan error // of the originate
	fs     *fakeSwitch
	vars   map[string]string
	up     bool
	ended  string // how, by whoever ended it
}

// queueNode is a node with a caller in a queue and agents.
type queueNode struct {
	*node
	desk *fakeDesk
	ctx  context.Context

	mu     sync.Mutex
	agents map[string]*fakeAgent // by reservation
	line   *fakeSwitch           // the caller's connection now
	noBond bool                  // uuid_bridge says success, and nothing comes of it
	mute   bool                  // the event of a bridge is lost
	served sync.WaitGroup
	acts   sync.WaitGroup
	bonded *fakeAgent

	refusals map[string]string // of offers in a call, by what a channel's name begins with
}

var uuidOf = regexp.MustCompile(`origination_uuid=(leg-([a-z0-9]+)-[a-z0-9]+);`)

func newQueueNode(t *testing.T, p api.CommandParams) *queueNode {
	p.EntryID, p.Loops = "e1", -1
	n := &queueNode{node: newNode(t, command(api.CommandEnqueue, p)), desk: &fakeDesk{}, agents: map[string]*fakeAgent{}}
	n.cfg.Desk, n.cfg.Listen = n.desk, "127.0.0.1:8484"
	n.line = n.fs
	delete(n.fs.lasts, "playback") // music
	n.fs.lasts["playback "+keyTone] = 200 * time.Millisecond
	n.fs.jobs, n.fs.agents = n.originate, n.aboutAgent
	n.fs.vars[readCodec] = "PCMA"
	n.fs.bridge, n.fs.offered = n.bridge, n.offered
	return n
}

// call serves the caller until he has gone, with whatever connections he comes back by.
func (n *queueNode) call(ctx context.Context) {
	n.ctx = ctx
	n.Run(ctx, n.fs, connect(nil))
	n.acts.Wait()
	n.served.Wait()
}

// during is what happens while the call is served.
func (n *queueNode) during(d time.Duration, do func()) {
	n.acts.Add(1)
	during(d, func() { defer n.acts.Done(); do() })
}

func (n *queueNode) originate(command string) (string, error) {
	m := uuidOf.FindStringSubmatch(command)
	a := &fakeAgent{in: n, uuid: m[1], result: make(chan error, 1), vars: map[string]string{}}
	n.mu.Lock()
	if old := n.agents[m[2]]; old != nil && old.ended == "" {
		n.mu.Unlock()
		return "", refusal{"DESTINATION_OUT_OF_ORDER"}
	}
	n.agents[m[2]] = a
	n.mu.Unlock()
	return "+OK " + a.uuid, <-a.result
}

func (n *queueNode) agent(reservation string) *fakeAgent {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.agents[reservation]
	if a == nil {
		n.t.Errorf("nobody is rung for %s; orders\n%s", reservation, n.fs.orders())
		a = &fakeAgent{in: n, result: make(chan error, 1)}
	}
	return a
}

// answers is the agent taking the call: FreeSWITCH brings the leg.
func (a *fakeAgent) answers() {
	a.result <- nil
	a.in.mu.Lock()
	a.up = true
	a.vars["endpoint_disposition"] = "ANSWER"
	a.fs = newSwitch(a.in.t)
	a.fs.uuid = a.uuid
	delete(a.fs.lasts, "playback") // a long whisper
	a.fs.lasts["playback "+keyTone] = 200 * time.Millisecond
	a.in.mu.Unlock()
	e := event{"Unique-ID": a.uuid, "Answer-State": "answered", "variable_read_codec": "PCMA"}
	a.in.served.Go(func() { a.in.Run(a.in.ctx, a.fs, e) })
}

// goes is the end of a leg that nobody here is told of.
func (a *fakeAgent) goes() {
	a.in.mu.Lock()
	defer a.in.mu.Unlock()
	a.ended = "NORMAL_CLEARING"
}

func (a *fakeAgent) variable(name, value string) {
	a.in.mu.Lock()
	defer a.in.mu.Unlock()
	a.vars[name] = value
}

// refuses is a leg that fails.
func (a *fakeAgent) refuses(cause string) {
	a.in.mu.Lock()
	a.ended = cause
	a.in.mu.Unlock()
	a.result <- refusal{cause}
}

// hangsUp ends an answered leg, and the talk if there is one: the caller comes back to an agent.
func (a *fakeAgent) hangsUp() {
	n := a.in
	n.mu.Lock()
	a.ended = "NORMAL_CLEARING"
	talked := n.bonded == a
	n.mu.Unlock()
	a.fs.hangup("NORMAL_CLEARING")
	if talked {
		n.comeBack()
	}
}

// comeBack brings the caller over a new connection, as the dialplan does after a talk or an agent's death.
func (n *queueNode) comeBack() {
	line := newSwitch(n.t)
	if n.Count() > 0 { // the runner of it lives
		line.old = n.caller()
	}
	n.fs.mu.Lock()
	line.vars, line.agents, line.jobs, line.bridge, line.offered, line.fails = n.fs.vars, n.fs.agents, n.fs.jobs, n.fs.bridge, n.fs.offered, n.fs.fails
	line.lasts = n.fs.lasts
	delete(line.lasts, "playback")
	more := map[string]string{"Answer-State": "answered", "variable_sipio_begun": n.fs.vars[markVariable], "variable_sipio_consult": n.fs.vars[consultVariable], "variable_sipio_recording": n.fs.vars[recordingVariable]}
	n.fs.mu.Unlock()
	n.mu.Lock()
	n.line, n.bonded = line, nil
	ctx := n.ctx
	n.mu.Unlock()
	n.served.Go(func() { n.Run(ctx, line, connect(more)) })
}

// offered is a phone's answer to an offer in its call: the other side's channel tells of it.
func (n *queueNode) offered(channel string) {
	refusal := n.refusals[channel[:4]]
	if channel == n.fs.uuid {
		n.agent("r1").variable(statusOf, refusal)
		return
	}
	n.fs.variable(statusOf, refusal)
}

// bridge is uuid_bridge of the caller.
func (n *queueNode) bridge(leg string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.agents {
		if a.uuid != leg || !a.up || a.ended != "" {
			continue
		}
		line := n.line
		line.stop()
		if n.noBond {
			return "+OK", nil
		}
		n.bonded = a
		time.AfterFunc(40*time.Millisecond, func() {
			n.mu.Lock()
			gone, mute := a.ended != "", n.mute
			n.mu.Unlock()
			if gone {
				return
			}
			n.fs.mu.Lock()
			n.fs.vars[lastBridgeTo] = leg
			n.fs.mu.Unlock()
			if !mute {
				line.emit("CHANNEL_BRIDGE", nil)
			}
		})
		return "+OK", nil
	}
	return "", refusal{"Invalid uuid"}
}

// aboutAgent is what FreeSWITCH answers about an agent's channel.
func (n *queueNode) aboutAgent(command string) (string, error) {
	words := strings.Fields(command)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.agents {
		if a.uuid != words[1] {
			continue
		}
		switch words[0] {
		case "uuid_exists":
			return fmt.Sprint(a.ended == ""), nil
		case "uuid_kill":
			if a.ended != "" {
				return "", refusal{"No such channel!"}
			}
			a.ended = "killed " + words[2]
			if a.up {
				go a.fs.hangup(words[2])
			} else {
				a.result <- refusal{words[2]}
			}
		case "uuid_break":
			go a.fs.stop()
		case "uuid_setvar":
			a.vars[words[2]] = strings.Join(words[3:], " ")
		case "uuid_getvar":
			if v := a.vars[words[2]]; v != "" {
				return v, nil
			}
			return notGiven, nil
		}
		return "+OK", nil
	}
	if words[0] == "uuid_exists" {
		return "false", nil
	}
	return "", refusal{"No such channel!"}
}

// caller is what the caller's phone does now.
func (n *queueNode) caller() *fakeSwitch {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.line
}

// hangsUpNow is the caller hanging up: FreeSWITCH ends the agent's leg too, if they talk.
func (n *queueNode) hangsUpNow() {
	n.mu.Lock()
	a := n.bonded
	with := a != nil && a.ended == ""
	if with {
		a.ended = "with the caller"
	}
	n.mu.Unlock()
	n.caller().hangup("NORMAL_CLEARING")
	if with {
		a.fs.hangup("NORMAL_CLEARING")
	}
}

// told sums up what the desk, the agent and the brain saw.
func (n *queueNode) told() string {
	agent := "not rung"
	if a := n.agents["r1"]; a != nil {
		agent = a.ended
		if agent == "" {
			agent = "up"
		}
	}
	outcomes := strings.FieldsFunc(n.brain.outcomes(), func(r rune) bool { return r == '\n' }) // without mere questions
	return n.desk.heard() + " | " + agent + " | " + strings.Join(outcomes, ", ")
}

func dispatch(reservation string, more ...func(*api.Dispatch)) api.Dispatch {
	d := api.Dispatch{ReservationID: reservation, Fence: 7, UserID: "us_1", RingMS: 20_000, LeaseMS: 25_000}
	for _, m := range more {
		m(&d)
	}
	return d
}

// op gives an order about the caller.
func (n *queueNode) op(kind string, op api.Op) error {
	op.Kind, op.Token, op.EntryID = kind, "tok", "e1"
	var err error
	switch kind {
	case api.OpDispatch:
		_, err = n.Dispatch(n.t.Context(), op)
	case api.OpRescind:
		_, err = n.Rescind(n.t.Context(), op)
	case api.OpPosition:
		_, err = n.Position(n.t.Context(), op)
	case api.OpExit:
		_, err = n.Exit(n.t.Context(), op)
	}
	return err
}

func (n *queueNode) rings(d api.Dispatch) {
	if err := n.op(api.OpDispatch, api.Op{Dispatch: &d}); err != nil {
		n.t.Errorf("dispatch: %v", err)
	}
	synctest.Wait()
}

// variables are what the caller's channel tells.
func (n *queueNode) variables() map[string]string {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	return maps.Clone(n.fs.vars)
}

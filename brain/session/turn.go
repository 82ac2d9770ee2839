package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// maxEntries bounds the applications that one question runs through without a command: flows that go in circles.
const maxEntries = 16

// maxRefused bounds the places that a call is refused without a command.
const maxRefused = 8

// maxEffects bounds what waits to be performed.
const maxEffects = 64

// maxKept bounds what is performed yet of a call whose state has become too large.
const maxKept = 8

// turn is one step on its way: a copy of the image, changed until it says what comes next.
type turn struct {
	m   *Machine
	env *Env
	now int64
	im  image

	checked *Checked  // the PIN of this question
	check   *PINCheck // must be answered first; nothing else has changed
	flows   []*Flow   // entered in this turn
	trace   []Trace
	wrong   string
	said    *Transferred
	sent    *Sent
	revived bool // the session had lapsed: its effects may not have been performed
	unsaid  bool // nor those of a reply that may not have left
	entries int
}

// turn begins a change. The effects of the turn before were performed when its reply left. While a result is waited
// for none has left yet; nor need it have when the call's end is told of an older command.
func (t *turn) turn() {
	t.im.Turn++
	if !t.im.waits() && !t.revived && !t.unsaid {
		t.im.Effects = nil
	}
}

// op writes the image down. One that is too large ends the call instead.
func (t *turn) op() []byte {
	text := t.text()
	if len(text) > MaxState {
		t.im.Effects = few(t.im.Effects)
		t.close(acd.LeftFailed)
		t.im.Flow, t.im.HTTP, t.im.Agent, t.im.Then, t.im.Sounds, t.im.Vars = nil, nil, nil, nil, nil, nil
		why := fmt.Sprintf("the call needs %d bytes of state; at most %d", len(text), MaxState)
		if t.im.Over || t.im.Gone {
			t.overNow(why)
		} else {
			t.im.Seq-- // the command that did not fit was never said
			t.end(flow.End{Why: why, Cause: causeFailure})
		}
		text = t.text()
	}
	return appendImage(make([]byte, 0, len(text)+64), text, t.im.Over, len(t.im.Effects) > 0, t.im.EndMS, t.flows)
}

// few keeps the first maxKept effects, and all that say what becomes of places: nothing else tells the queue that the caller is gone.
func few(effects []Effect) (kept []Effect) {
	for i := range effects {
		if i < maxKept || slices.Contains([]string{EffectQueueLeft, EffectQueueCallback, EffectQueueMissed}, effects[i].Kind) {
			kept = append(kept, effects[i])
		}
	}
	return kept
}

func (t *turn) text() []byte {
	text, err := json.Marshal(&t.im)
	if err != nil {
		panic(fmt.Sprintf("image of %s: %v", t.m.id, err)) // our own type: texts, numbers, maps of texts
	}
	return text
}

// reply says what the image says.
func (t *turn) reply() Reply {
	im := &t.im
	r := Reply{Seq: im.Seq, Turn: im.Turn, Token: im.Token, CallID: im.CallID, Node: im.Node, Effects: im.Effects,
		Over: im.EndMS != 0, Trace: t.trace, Wrong: t.wrong, Transfer: t.said, Sent: t.sent}
	if im.App != nil && im.App.Enqueue != nil && !r.Over { // a lapsed one has given it back
		r.Entry = im.App.Enqueue.Entry
	}
	if im.HTTP != nil {
		r.Need = &Need{HTTP: im.HTTP}
		return r
	}
	if im.Agent != nil {
		r.Need = &Need{Agent: im.Agent}
		return r
	}
	r.Command, r.Params, r.Sounds = im.Command, im.Params, im.Sounds
	if im.App != nil && im.App.Enqueue != nil {
		r.Enqueue = im.App.Enqueue.join(t)
	}
	return r
}

// close takes the application away that runs. A caller in a queue leaves it by the outcome.
func (t *turn) close(left string) {
	if a := t.im.App; a != nil && a.Enqueue != nil {
		a.Enqueue.left(t, left)
	}
	t.im.App = nil
}

// command is the next thing that the node agent does.
func (t *turn) command(name string, p api.CommandParams, sounds ...brain.Sound) {
	im := &t.im
	if im.Gone { // nobody hears it
		t.overNow(im.Why)
		return
	}
	im.Seq++
	im.Command, im.Params, im.Sounds = name, p, sounds
}

// FreeSWITCH's names of causes.
const (
	causeNormal  = "NORMAL_CLEARING"
	causeFailure = "NORMAL_TEMPORARY_FAILURE"
)

// end hangs up, or ends the session of a caller who has gone.
func (t *turn) end(e flow.End) {
	im := &t.im
	if e.Why != "" && !im.Gone {
		im.Why = e.Why
	}
	if im.Gone {
		t.overNow(im.Why)
		return
	}
	t.close(acd.LeftFailed)
	im.Ending, im.Flow, im.HTTP, im.Agent = true, nil, nil, nil
	if e.Cause == "" {
		e.Cause = causeNormal
	}
	t.command(api.CommandHangup, api.CommandParams{Cause: e.Cause, SIPCode: e.SIPCode, Reason: e.Why})
}

// overNow ends the session.
func (t *turn) overNow(why string) {
	im := &t.im
	if im.Over {
		return
	}
	im.Over, im.EndMS, im.Why = true, t.now, why
	im.Seq++
	im.Command, im.Params, im.Sounds = api.CommandNoop, api.CommandParams{}, nil
	t.close(acd.LeftAbandoned)
	im.Flow, im.HTTP, im.Agent, im.Then = nil, nil, nil, nil
	t.effect(Effect{Kind: EffectEnded, Why: why})
}

// effect puts something to be done beside the call on the list.
func (t *turn) effect(e Effect) {
	if len(t.im.Effects) >= maxEffects && e.Kind == EffectTag {
		t.note("", "too many tags at once: dropped")
		return
	}
	e.ID = t.effectID()
	t.im.Effects = append(t.im.Effects, e)
}

func (t *turn) effectID() string {
	return t.im.Token + "-" + strconv.FormatInt(t.im.Turn, 10) + "-" + strconv.Itoa(len(t.im.Effects))
}

// note leaves a line for operators.
func (t *turn) note(kind, text string) {
	t.trace = append(t.trace, Trace{Kind: kind, Note: text})
}

// enter sends the call to a route target. returns: what comes out of it goes back to the flow.
func (t *turn) enter(target brain.RouteTarget, vars map[string]string, returns bool) {
	im := &t.im
	if t.entries++; t.entries > maxEntries {
		t.end(flow.End{Why: "the call goes in circles without a word to the caller", Cause: causeFailure})
		return
	}
	if !returns {
		im.Flow = nil
		if im.Hops++; im.Hops > MaxHops {
			t.end(flow.End{Why: fmt.Sprintf("more than %d targets one after the other", MaxHops), Cause: causeFailure})
			return
		}
	}
	t.close(acd.LeftFailed)
	all := t.vars(vars)
	t.note(string(target.Kind), "begins: "+string(target.Kind)+"/"+target.ID)
	switch target.Kind {
	case brain.DestFlow:
		t.start(target.ID, all)
	case brain.DestVoicemail:
		if all["action"] == "retrieve" {
			t.run(&running{Returns: returns, Mailbox: &mailbox{}}).Mailbox.begin(t, target.ID, all)
			return
		}
		t.run(&running{Returns: returns, Leave: &leave{}}).Leave.begin(t, target.ID, all)
	case brain.DestConference:
		t.run(&running{Returns: returns, Conference: &conference{}}).Conference.begin(t, target.ID, all)
	case brain.DestQueue:
		if _, is := codes[all[brain.VarAction]]; is && !returns {
			t.run(&running{Agent: &agentCode{}}).Agent.begin(t, target.ID, all)
			return
		}
		t.run(&running{Returns: returns, Enqueue: &enqueue{}}).Enqueue.begin(t, target.ID, all)
	case brain.DestUser, brain.DestExtension, brain.DestRingGroup, brain.DestForward, brain.DestTrunk, destPSTN:
		t.run(&running{Returns: returns, Dial: &dial{}}).Dial.begin(t, target, all)
	case brain.DestHangup:
		code, _ := strconv.Atoi(target.ID) // "" is 0: by the cause
		t.end(flow.End{SIPCode: code, Why: "the target is hangup"})
	default:
		t.end(flow.End{Why: "there is no target of kind " + string(target.Kind), SIPCode: 404, Cause: "NO_ROUTE_DESTINATION"})
	}
}

func (t *turn) run(a *running) *running {
	t.im.App = a
	return a
}

// vars is what the route knows and, over it, what the step hands on. Of too many the last by name are left out.
func (t *turn) vars(more map[string]string) map[string]string {
	all := maps.Clone(t.im.Vars)
	if all == nil {
		all = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		if _, known := all[name]; known || len(all) < MaxVars {
			all[name] = more[name]
		}
	}
	return all
}

// application gives an outcome to the application that runs.
func (t *turn) application(in flow.Input) {
	a := t.im.App
	switch {
	case a.Leave != nil:
		a.Leave.input(t, in)
	case a.Mailbox != nil:
		a.Mailbox.input(t, in)
	case a.Conference != nil:
		a.Conference.input(t, in)
	case a.Dial != nil:
		a.Dial.input(t, in)
	case a.Enqueue != nil:
		a.Enqueue.input(t, in)
	case a.Agent != nil:
		a.Agent.input(t, in)
	case a.Refer != nil:
		a.Refer.input(t, in)
	default:
		t.end(flow.End{Why: "nothing runs", Cause: causeFailure})
	}
}

// finish ends an application: back to its flow, or the call is over as e says.
func (t *turn) finish(outcome string, e flow.End) {
	im := &t.im
	back := im.App != nil && im.App.Returns && im.Flow != nil
	t.close(acd.LeftFailed)
	if !back {
		t.end(e)
		return
	}
	if t.entries++; t.entries > maxEntries {
		t.end(flow.End{Why: "the flow goes in circles without a word to the caller", Cause: causeFailure})
		return
	}
	t.step(flow.Input{Outcome: outcome})
}

// recorded puts a recording of the call on the list, when the outcome of a command brought one. Its key need not be
// the command's: the last member of a conference brings the recording that the first began, and operators record too.
func (t *turn) recorded(data map[string]string) {
	key, size := data["key"], number(data["bytes"])
	if size <= 0 || !strings.HasPrefix(key, t.env.Account.Account.ID+"/rec/") {
		return
	}
	t.effect(Effect{Kind: EffectRecordingStored, Recording: &Recording{Key: key, Bytes: size, SHA256: data["sha256"],
		DurationMS: number(data["duration_ms"]), CallID: t.im.CallID, Token: t.im.Token}})
}

// recordingKey names the next recording of the call: by the call id, which is the caller's choice, the token, which is
// not, and a number from the second on.
func (t *turn) recordingKey() string {
	t.im.Recordings++
	name := strings.TrimPrefix(KeyPart(t.im.CallID)+"-"+KeyPart(t.im.Token), "-")
	if n := t.im.Recordings; n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return t.env.Account.Account.ID + "/rec/" + t.local().Format(time.DateOnly) + "/" + name + ".wav"
}

func (t *turn) local() time.Time {
	zone := t.env.Zone
	if zone == nil {
		zone = time.UTC
	}
	return time.UnixMilli(t.now).In(zone)
}

// KeyPart makes a foreign text a part of an object's key: letters, digits, - and _, at most 128 of them.
func KeyPart(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 128)]
}

// number reads a figure of an outcome; 0 for what is none, or below 0, or absurd.
func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n
}

func prompt(id string) brain.Sound { return brain.Sound{Prompt: id} }

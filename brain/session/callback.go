package session

import (
	"maps"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// What a caller does who wants to be called back, or was.
const (
	stateChoose = "choose" // says whether at the number he calls from
	stateNumber = "number" // gives a number
	stateCheck  = "check"  // hears it
	stateAgreed = "agreed" // hears that he is called: nothing takes that back, not his hanging up either
	stateAccept = "accept" // was called, and is to press 1
)

// How a number is asked for.
const (
	callbackRounds  = 3 // then he waits on
	minNumber       = 3 // digits
	maxNumber       = 20
	numberFirstMS   = 8000
	numberBetweenMS = 4000
	// callbackDelayMS is from the end of his call until his phone may ring: its line must be free.
	callbackDelayMS = 5_000
	// acceptFirstMS is what he has for his key once he has heard what it is for; all of it takes at most acd.AcceptMS.
	acceptFirstMS = acd.AcceptMS / 2
)

// Variables of a call that the platform makes to somebody who keeps his place.
const (
	VarCallbackEntry       = "callback_entry"
	VarCallbackReservation = "callback_reservation"
	VarCallbackFence       = "callback_fence"
)

// wish is that a caller wants to be called back, until he has said at which number.
type wish struct {
	Call   acd.Callback `json:"call"`
	Own    string       `json:"own,omitempty"`    // number he calls from; "" = nobody can be called there
	Prompt string       `json:"prompt,omitempty"` // media file that he hears at the end; "" = the platform's
	Rounds int          `json:"rounds,omitempty"` // questions so far
	Lapsed bool         `json:"lapsed,omitempty"` // his place may have been given back meanwhile
}

// calledBack says of which callback a call is.
type calledBack struct {
	ReservationID string `json:"reservation_id"`
	Fence         int64  `json:"fence"`
}

// callBack begins to ask for the number. He has his place all the while.
func (e *enqueue) callBack(t *turn, o *brain.InQueueOption) {
	e.Wish = &wish{Prompt: o.PromptMediaID, Call: acd.Callback{EntryID: e.Entry, Token: t.im.Token, Tries: o.CallbackTries, DelayMS: callbackDelayMS,
		RetryMS: int64(o.CallbackRetrySec) * 1000, WindowMS: int64(o.CallbackWindowSec) * 1000}}
	if t.im.Vars["direction"] == "internal" && t.callable(e.Number) { // what a trunk says of a caller may be made up
		e.Wish.Own = e.Number
	}
	switch {
	case e.Wish.Own == "":
		e.ask(t, stateNumber)
	case o.CallbackAsk:
		e.ask(t, stateChoose)
	default:
		e.agree(t, e.Wish.Own)
	}
}

// callable tells whether somebody's phone rings at a number now: a user's, or a group's. What the platform itself answers
// takes no callback.
func (t *turn) callable(number string) bool {
	acct := t.env.Account
	target := acct.Dialed(number)
	for range MaxHops {
		next := brain.RouteTarget{}
		if e := acct.ExtensionByID[target.ID]; target.Kind == brain.DestExtension && e != nil {
			next, _ = t.leads(e)
		} else if u := acct.Users[target.ID]; target.Kind == brain.DestUser && u != nil {
			next = u.FwdAlways()
		}
		if !next.IsSet() {
			break
		}
		target = next
	}
	return target.Kind == brain.DestUser || target.Kind == brain.DestRingGroup
}

// ask puts the question of a state, with what is said before it. Who was asked often enough waits on.
func (e *enqueue) ask(t *turn, state string, before ...brain.Sound) {
	w := e.Wish
	if state != stateCheck {
		w.Rounds++
	}
	if w.Rounds > callbackRounds {
		t.note("queue", "no number to be called back at")
		e.Wish = nil
		e.wait(t)
		return
	}
	e.State = state
	p := api.CommandParams{MinDigits: 1, MaxDigits: 1, BargeIn: allKeys, TimeoutMS: numberFirstMS}
	switch state {
	case stateChoose:
		before = append(before, e.prompt(t, "callback-choose"))
	case stateNumber:
		p.MinDigits, p.MaxDigits, p.Terminators, p.InterDigitMS = minNumber, maxNumber, "#", numberBetweenMS
		before = append(before, e.prompt(t, "callback-number"))
	case stateCheck:
		before = append(before, e.prompt(t, "callback-we-call"))
		for _, digit := range w.Call.Number {
			before = append(before, e.prompt(t, "digit-"+string(digit)))
		}
		before = append(before, e.prompt(t, "callback-is-right"))
	}
	t.command(api.CommandGather, p, before...)
}

// asked takes an answer.
func (e *enqueue) asked(t *turn, in flow.Input) {
	w, digits := e.Wish, in.Data["digits"]
	if in.Outcome != api.OutcomeDigits {
		digits = ""
	}
	switch {
	case e.State == stateAgreed:
		t.end(flow.End{Why: "he is called back"})
	case e.State == stateChoose && digits == "1":
		e.agree(t, w.Own)
	case e.State == stateChoose && digits == "2":
		w.Rounds = 0
		e.ask(t, stateNumber)
	case e.State == stateChoose:
		e.ask(t, stateChoose)
	case e.State == stateNumber && len(digits) <= maxNumber && strings.Trim(digits, "0123456789") == "" && t.callable(digits):
		w.Call.Number = digits
		e.ask(t, stateCheck)
	case e.State == stateNumber:
		e.ask(t, stateNumber, e.prompt(t, promptInvalid))
	case digits == "1":
		e.agree(t, w.Call.Number)
	default:
		e.ask(t, stateNumber)
	}
}

// agree tells him that he is called. What follows ends the call: with that, or when he hangs up before, the place is one
// that he keeps (left).
func (e *enqueue) agree(t *turn, number string) {
	w := e.Wish
	if w.Lapsed || e.sends(t) { // the place is asked for again first
		t.note("queue", "he may have lost his place or be sent elsewhere meanwhile, and waits on")
		e.Wish = nil
		e.wait(t)
		return
	}
	t.note("queue", "he is called back")
	w.Call.Number, e.State = number, stateAgreed
	t.im.Flow, t.im.App.Returns = nil, false // the flow has no more say
	sound := e.prompt(t, "callback-confirmed")
	if w.Prompt != "" {
		sound = brain.Sound{MediaID: w.Prompt, Language: sound.Language}
	}
	t.command(api.CommandPlay, api.CommandParams{}, sound)
}

// prompt is one of the platform's in the queue's language.
func (e *enqueue) prompt(t *turn, id string) brain.Sound {
	sound := prompt(id)
	if q := t.env.Account.Queues[e.ID]; q != nil {
		sound.Language = q.Language
	}
	return sound
}

// isCalled tells whether the call is one that the platform makes to somebody who keeps his place, and notes whose. That is
// so once: what follows in the same call is a caller's own.
func (e *enqueue) isCalled(t *turn, vars map[string]string) bool {
	fence, err := strconv.ParseInt(vars[VarCallbackFence], 10, 64)
	if err != nil || fence <= 0 || vars[VarCallbackEntry] == "" {
		return false
	}
	e.Called = &calledBack{ReservationID: vars[VarCallbackReservation], Fence: fence}
	e.Entry, e.SinceMS = vars[VarCallbackEntry], t.now
	t.im.Vars = maps.Clone(t.im.Vars)
	for _, name := range []string{VarCallbackEntry, VarCallbackReservation, VarCallbackFence} {
		delete(t.im.Vars, name)
	}
	return true
}

// accept asks whether it is he who was to be called: not his mailbox, nor somebody else who knows nothing of it.
func (e *enqueue) accept(t *turn, q *brain.Queue) {
	e.State = stateAccept
	sounds := []brain.Sound{e.prompt(t, "callback-press-one")}
	if q.Record && t.env.Account.Account.RecordConsent {
		sounds = append([]brain.Sound{e.prompt(t, "recording-consent")}, sounds...)
	}
	t.command(api.CommandGather, api.CommandParams{MinDigits: 1, MaxDigits: 1, BargeIn: allKeys, TimeoutMS: acceptFirstMS}, sounds...)
}

// accepted takes his key. With 1 he is a caller like any other, in his place.
func (e *enqueue) accepted(t *turn, in flow.Input) {
	switch {
	case e.Entry == "": // the call lapsed, and its agent is somebody else's
		t.end(flow.End{Why: "the callback took too long", Cause: causeFailure})
	case in.Outcome == api.OutcomeDigits && in.Data["digits"] == "1":
		e.wait(t)
	case in.Outcome == api.OutcomeFailed:
		e.left(t, acd.LeftFailed)
		t.end(flow.End{Why: "the callback failed: " + clip(in.Data["reason"]), Cause: causeFailure})
	default:
		e.left(t, acd.LeftAbandoned)
		t.end(flow.End{Why: "the callback was not taken"})
	}
}

// missed is what the desk is told of a callback that was not taken.
func (e *enqueue) missed(outcome string) *api.Claim {
	cause := acd.MissCaller
	if outcome == acd.LeftFailed {
		cause = acd.MissFailed
	}
	return &api.Claim{ReservationID: e.Called.ReservationID, Fence: e.Called.Fence, Cause: cause}
}

package session

import (
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
	telephone "github.com/sipio/sipio/brain/number"
)

// ringMS is how long a dialed target may ring at most. The directive of the leg says how long each of its devices
// does, and ends it earlier.
const ringMS = 300_000

// confirmKey takes a call at a forward that asks who answers, so that no mailbox takes it.
const confirmKey = "1"

// dial calls a user, extension, ring group, forward or number outside for the caller, recorded when the route says so. The leg gets a
// directive of its own, as an internal call or one to outside. Of the exits of a user who is busy or does not answer, and of a
// forward that nobody takes, those that the platform itself answers are taken here: voicemail, flow, conference, queue, hangup,
// forward, trunk. The others are steps of the directive, while that goes on behind it.
type dial struct {
	Kind brain.DestKind `json:"kind"`
	ID   string         `json:"id"`
}

func (d *dial) begin(t *turn, target brain.RouteTarget, vars map[string]string) {
	d.Kind, d.ID = target.Kind, target.ID
	if !d.known(t) {
		t.finish(api.OutcomeFailed, flow.End{SIPCode: 404, Cause: "UNALLOCATED_NUMBER", Why: "there is no " + string(target.Kind) + " " + target.ID})
		return
	}
	t.dialed(api.CommandParams{DestKind: string(d.Kind), DestID: d.ID, TimeoutMS: ringMS}, vars["record"] == "1")
}

// dialed calls somebody, recorded when that is asked for or the called user's policy. Where the account wants it,
// the caller hears so first.
func (t *turn) dialed(p api.CommandParams, record bool) {
	if f := t.confirms(&p); f != nil {
		p.DestKind, p.DestID, p.ConfirmKey = string(brain.DestForward), f.ID, confirmKey
	}
	if record || t.policy(p) {
		p.Key = t.recordingKey()
	}
	if p.Key == "" || !t.env.Account.Account.RecordConsent {
		t.call(p)
		return
	}
	t.im.Then = &p
	t.command(api.CommandPlay, api.CommandParams{NoAnswer: true}, prompt("recording-consent"))
}

// call is the command that calls somebody, with what he hears before he takes the call.
func (t *turn) call(p api.CommandParams) {
	if p.ConfirmKey == "" {
		t.command(api.CommandDial, p)
		return
	}
	t.command(api.CommandDial, p, prompt("confirm-accept"))
}

// confirms is the forward that asks who answers to which a call leads now, nil for any other call. It has to be dialed by its
// own name: no other leg gets there.
func (t *turn) confirms(p *api.CommandParams) *brain.Forward {
	acct := t.env.Account
	target := brain.RouteTarget{Kind: brain.DestKind(p.DestKind), ID: p.DestID}
	if target.Kind == destNumber {
		target = acct.Dialed(target.ID)
	}
	for range MaxHops {
		u, e := acct.Users[target.ID], acct.ExtensionByID[target.ID]
		switch {
		case p.Join != "":
			return nil
		case target.Kind == brain.DestExtension && e != nil && e.Status == brain.StatusActive:
			target, _ = t.leads(e)
		case target.Kind == brain.DestUser && u != nil && u.Status == brain.StatusActive:
			target = u.FwdAlways()
		case target.Kind == brain.DestForward && acct.Forwards[target.ID] != nil && acct.Forwards[target.ID].Confirm:
			return acct.Forwards[target.ID]
		default:
			return nil
		}
	}
	return nil
}

// policy tells whether calls to a user are recorded, or those to outside of the user who sends the caller there.
func (t *turn) policy(p api.CommandParams) bool {
	acct := t.env.Account
	if from, _, _ := strings.Cut(p.DestID, "/"); p.DestKind == api.DestTransfer {
		return acct.Users[from] != nil && acct.Users[from].RecordPolicy.Outbound()
	}
	u := acct.Users[p.DestID]
	return p.DestKind == string(brain.DestUser) && u != nil && u.RecordPolicy.Inbound()
}

func (d *dial) known(t *turn) bool {
	acct := t.env.Account
	switch d.Kind {
	case brain.DestUser:
		return acct.Users[d.ID] != nil
	case brain.DestExtension:
		return acct.ExtensionByID[d.ID] != nil
	case brain.DestForward:
		return acct.Forwards[d.ID] != nil
	case brain.DestTrunk:
		return acct.Trunks[d.ID] != nil
	case destPSTN:
		return telephone.ValidE164(strings.TrimPrefix(d.ID, "+"))
	}
	return acct.RingGroups[d.ID] != nil
}

func (d *dial) input(t *turn, in flow.Input) {
	t.recorded(in.Data)
	switch in.Outcome {
	case api.OutcomeAnswered:
		if t.passedOn(in.Data) {
			return
		}
		t.finish(in.Outcome, flow.End{Why: "the called side hung up"})
	case api.OutcomeBusy:
		d.exit(t, in.Outcome, flow.End{SIPCode: 486, Cause: "USER_BUSY", Why: "busy"})
	case api.OutcomeNoAnswer:
		d.exit(t, in.Outcome, flow.End{SIPCode: 480, Cause: "NO_ANSWER", Why: "no answer"})
	default:
		code := number(in.Data["sip_code"])
		if code < 400 || code > 699 {
			code = 480
		}
		end := flow.End{SIPCode: code, Cause: causeFailure, Why: "the leg failed: " + clip(in.Data["reason"])}
		if d.Kind == brain.DestForward { // whatever a number outside says, its calls go to the overflow
			d.exit(t, api.OutcomeFailed, end)
			return
		}
		t.finish(api.OutcomeFailed, end)
	}
}

// exit takes the target's way out, or ends.
func (d *dial) exit(t *turn, outcome string, e flow.End) {
	if t.im.App.Returns { // the flow decides
		t.finish(outcome, e)
		return
	}
	out := t.taken(d.forward(t, outcome), outcome)
	switch out.Kind {
	case brain.DestVoicemail, brain.DestFlow, brain.DestConference, brain.DestQueue, brain.DestHangup, brain.DestForward, brain.DestTrunk:
		t.enter(out, nil, false)
		return
	case brain.DestUser, brain.DestExtension, brain.DestRingGroup:
		if d.Kind == brain.DestForward && !t.im.directed() {
			t.enter(out, nil, false)
			return
		}
	}
	t.finish(outcome, e)
}

// taken goes past forwards that do not take a call of which this has become. A phone that nobody reaches looks here like one that nobody
// answers.
func (t *turn) taken(out brain.RouteTarget, outcome string) brain.RouteTarget {
	cause := brain.TriggerNoAnswer
	switch outcome {
	case api.OutcomeBusy:
		cause = brain.TriggerBusy
	case api.OutcomeFailed:
		cause = brain.TriggerUnreachable
	}
	for range MaxHops {
		f := t.env.Account.Forwards[out.ID]
		if out.Kind != brain.DestForward || f == nil || f.Takes(cause) {
			return out
		}
		out = f.Overflow()
	}
	return brain.RouteTarget{}
}

// directed tells whether the call is with the first target that its directive named: the directive goes on when it is refused.
func (im *image) directed() bool { return im.Hops == 1 && im.Transfer == nil && im.Sent == nil }

// forward is where the target's calls go after an outcome.
func (d *dial) forward(t *turn, outcome string) brain.RouteTarget {
	acct := t.env.Account
	target := brain.RouteTarget{Kind: d.Kind, ID: d.ID}
	for range MaxHops {
		e := acct.ExtensionByID[target.ID]
		if target.Kind != brain.DestExtension || e == nil {
			break
		}
		target = e.Dest()
	}
	switch u, g, f := acct.Users[target.ID], acct.RingGroups[target.ID], acct.Forwards[target.ID]; {
	case target.Kind == brain.DestForward && f != nil:
		return f.Overflow()
	case target.Kind == brain.DestRingGroup && g != nil:
		return g.Overflow()
	case target.Kind == brain.DestUser && u != nil && outcome == api.OutcomeBusy:
		return u.FwdBusy()
	case target.Kind == brain.DestUser && u != nil:
		return u.FwdNoanswer()
	}
	return brain.RouteTarget{}
}

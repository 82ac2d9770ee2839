package flow

import (
	"maps"
	"strconv"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Outcome of the application voicemail that the api has no constant for: the box takes no more.
const outcomeFull = "full"

// voicemail: mailboxId. The session runs the application.
//
// Outcomes: recorded, full; hangup (the caller hung up in it), whose steps are like those of entry's hangup and run
// before them. recorded and full without an edge end the flow.
type voicemail struct{ id string }

func readVoicemail(f *fields) action {
	return voicemail{f.requiredRef("mailboxId", brain.KindVoicemail)}
}

func (voicemail) exits() []exit {
	return []exit{{name: api.OutcomeRecorded}, {name: outcomeFull}, {name: hangupHandle}}
}

func (v voicemail) begin(w *walk, _ *step) move {
	return w.app(brain.RouteTarget{Kind: brain.DestVoicemail, ID: v.id}, nil, true)
}

func (voicemail) result(_ *walk, _ *step, in Input) move { return leave(in.Outcome) }

// record: maxSec (300), silenceSec (0 = no), beep (true), saveAs (variable that gets the object's key).
//
// Outcomes: default; hangup (the caller hung up in it; what he said is kept), as voicemail's. default without an
// edge ends the flow. What could not be recorded leaves by default, with the variable empty.
type record struct {
	params api.CommandParams
	saveAs string
}

func readRecord(f *fields) action {
	return &record{api.CommandParams{MaxMS: 1000 * f.number("maxSec", 300, 1, 3600), SilenceMS: 1000 * f.number("silenceSec", 0, 0, 60),
		Beep: f.boolean("beep", true), Terminators: "#"}, f.variable("saveAs")}
}

func (r *record) exits() []exit { return []exit{{name: defaultOutcome}, {name: hangupHandle}} }

func (r *record) begin(w *walk, _ *step) move { return w.command(api.CommandRecord, r.params) }

func (r *record) result(w *walk, _ *step, in Input) move {
	if r.saveAs != "" {
		w.set(r.saveAs, in.Data["key"], false)
	}
	return leave(defaultOutcome)
}

// conference: conferenceId, role (member or moderator, member). The session runs the application.
//
// Outcomes: left, ended, denied (everything else). Each without an edge ends the flow.
type conference struct{ id, role string }

func readConference(f *fields) action {
	return conference{f.requiredRef("conferenceId", brain.KindConference), f.oneOf("role", "member", "member", "moderator")}
}

func (conference) exits() []exit {
	return []exit{{name: api.OutcomeLeft}, {name: api.OutcomeEnded}, {name: api.OutcomeDenied}}
}

func (c conference) begin(w *walk, _ *step) move {
	return w.app(brain.RouteTarget{Kind: brain.DestConference, ID: c.id}, map[string]string{"role": c.role}, true)
}

func (conference) result(_ *walk, _ *step, in Input) move {
	if in.Outcome == api.OutcomeLeft || in.Outcome == api.OutcomeEnded {
		return leave(in.Outcome)
	}
	return leave(api.OutcomeDenied)
}

// inner is the step flow: flowId, vars {variable: template}, set before the inner flow begins. Both flows have the
// same variables. At most MaxFrames flows are inside each other.
//
// Outcomes: how the inner flow's end is labelled: the parameter end of the step it ends at, else that step's last
// outcome. One without an edge ends the outer flow as well.
type inner struct {
	id   string
	vars map[string]template
}

func readFlow(f *fields) action {
	return &inner{f.requiredRef("flowId", brain.KindCallFlow), f.templates("vars", MaxVars, badVariable)}
}

func (i *inner) exits() []exit { return nil }

func (i *inner) begin(w *walk, st *step) move {
	w.assign(i.vars)
	w.note(st, "", "goes into flow "+quote(i.id))
	w.push(i.id)
	return goOn
}

// transfer: destKind (user, extension, ring_group, queue, flow, voicemail, conference, hangup) and destId, for hangup
// sipCode (480). The call leaves this flow for good, and takes the variables that are no secrets along.
type transfer struct{ target brain.RouteTarget }

func readTransfer(f *fields) action {
	kind := f.oneOf("destKind", "", "user", "extension", "ring_group", "queue", "flow", "voicemail", "conference", "hangup")
	if kind == string(brain.DestHangup) {
		code := f.number("sipCode", 480, 400, 699)
		return transfer{brain.RouteTarget{Kind: brain.DestHangup, ID: strconv.Itoa(code)}}
	}
	return transfer{brain.RouteTarget{Kind: brain.DestKind(kind), ID: f.requiredRef("destId", destKinds[kind])}}
}

func (transfer) exits() []exit { return nil }

func (t transfer) begin(w *walk, _ *step) move {
	vars := maps.Clone(w.s.Vars)
	for _, name := range w.s.Secret {
		delete(vars, name)
	}
	w.s.Done, w.s.Frames = true, nil
	return w.app(t.target, vars, false)
}

// hangup: cause (FreeSWITCH's name, NORMAL_CLEARING), sipCode (400 to 699, for a call not answered yet; by the
// cause when absent). Ends the call, from within an inner flow too.
type hangup struct {
	cause string
	code  int
}

// hangupCauses are those that a caller can be told.
var hangupCauses = []string{causeNormal, causeBusy, causeNoAnswer, causeTemporary, "CALL_REJECTED", "UNALLOCATED_NUMBER",
	"NO_ROUTE_DESTINATION", "SWITCH_CONGESTION", "SERVICE_UNAVAILABLE", "NO_USER_RESPONSE", "SUBSCRIBER_ABSENT", "OUTGOING_CALL_BARRED", "INCOMING_CALL_BARRED"}

func readHangup(f *fields) action {
	h := hangup{cause: f.oneOf("cause", causeNormal, hangupCauses...)}
	if h.code = f.number("sipCode", 0, 0, 699); h.code != 0 && h.code < 400 {
		f.wrong("sipCode", "must be from 400 to 699, not %d", h.code)
	}
	return h
}

func (hangup) exits() []exit { return nil }

func (h hangup) begin(w *walk, st *step) move {
	return w.end(End{Cause: h.cause, SIPCode: h.code, Why: "the flow hung up at " + quote(st.id)})
}

// goneHandle is the outcome whose edge leads to steps that run after the caller hung up; false when a kind has none.
func goneHandle(kind string) (handle string, ok bool) {
	switch kind {
	case "entry", "voicemail", "record":
		return hangupHandle, true
	case "enqueue":
		return outcomeAbandoned, true
	}
	return "", false
}

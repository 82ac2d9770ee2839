package flow

import (
	"maps"
	"slices"
	"strconv"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Causes of FreeSWITCH that flows end calls with.
const (
	causeNormal    = "NORMAL_CLEARING"
	causeBusy      = "USER_BUSY"
	causeNoAnswer  = "NO_ANSWER"
	causeTemporary = "NORMAL_TEMPORARY_FAILURE"
)

// dial: destKind (user, extension or number), destId of the user or extension, number (template) otherwise,
// timeoutSec (25), callerId and callerName (templates; the caller's own when empty), record (false).
//
// Outcomes: answered (the other side has hung up since), busy, no_answer, failed. Each without an edge ends the
// flow; the outermost one hangs up with NORMAL_CLEARING, USER_BUSY, NO_ANSWER or NORMAL_TEMPORARY_FAILURE.
type dial struct {
	kind, id             string
	number               template
	callerID, callerName template
	timeoutMS            int
	record               bool
}

func readDial(f *fields) action {
	d := &dial{kind: f.oneOf("destKind", "", "user", "extension", "number"), timeoutMS: 1000 * f.number("timeoutSec", 25, 1, 300),
		callerID: f.template("callerId"), callerName: f.template("callerName"), record: f.boolean("record", false)}
	if d.kind != "number" {
		d.id = f.requiredRef("destId", destKinds[d.kind])
		return d
	}
	if d.number = f.template("number"); len(d.number) == 0 {
		f.wrong("number", "is required")
	}
	return d
}

func (d *dial) exits() []exit {
	return []exit{{name: api.OutcomeAnswered}, {name: api.OutcomeBusy, cause: causeBusy},
		{name: api.OutcomeNoAnswer, cause: causeNoAnswer}, {name: api.OutcomeFailed, cause: causeTemporary}}
}

func (d *dial) begin(w *walk, st *step) move {
	id := d.id
	if d.kind == "number" {
		if id = keep(d.number.render(w.value, nil), "+"+allDigits); id == "" {
			w.note(st, "", "there is no number to dial")
			return leave(api.OutcomeFailed)
		}
	}
	m := w.command(api.CommandDial, api.CommandParams{DestKind: d.kind, DestID: id, TimeoutMS: d.timeoutMS,
		CallerNumber: escapeHeader(d.callerID.render(w.public, nil)), CallerName: escapeHeader(d.callerName.render(w.public, nil))})
	w.out.Command.Record = d.record
	return m
}

func (d *dial) result(_ *walk, _ *step, in Input) move {
	switch in.Outcome {
	case api.OutcomeAnswered, api.OutcomeBusy, api.OutcomeNoAnswer:
		return leave(in.Outcome)
	}
	return leave(api.OutcomeFailed)
}

// ringGroup: ringGroupId. How long it rings is the group's.
//
// Outcomes: answered, no_answer (busy and failed as well). Each without an edge ends the flow, as dial's.
type ringGroup struct{ id string }

func readRingGroup(f *fields) action {
	return ringGroup{f.requiredRef("ringGroupId", brain.KindRingGroup)}
}

func (ringGroup) exits() []exit {
	return []exit{{name: api.OutcomeAnswered}, {name: api.OutcomeNoAnswer, cause: causeNoAnswer}}
}

func (r ringGroup) begin(w *walk, _ *step) move {
	return w.command(api.CommandDial, api.CommandParams{DestKind: "ring_group", DestID: r.id})
}

func (ringGroup) result(_ *walk, _ *step, in Input) move {
	return leave(answeredOr(in, api.OutcomeNoAnswer))
}

func answeredOr(in Input, otherwise string) string {
	if in.Outcome == api.OutcomeAnswered {
		return in.Outcome
	}
	return otherwise
}

// forward: forwardId.
//
// Outcomes: answered, overflow (everything else). Each without an edge ends the flow, as dial's.
type forward struct{ id string }

const outcomeOverflow = "overflow"

func readForward(f *fields) action { return forward{f.requiredRef("forwardId", brain.KindForward)} }

func (forward) exits() []exit {
	return []exit{{name: api.OutcomeAnswered}, {name: outcomeOverflow, cause: causeNoAnswer}}
}

func (x forward) begin(w *walk, _ *step) move {
	return w.command(api.CommandDial, api.CommandParams{DestKind: "forward", DestID: x.id})
}

func (forward) result(_ *walk, _ *step, in Input) move { return leave(answeredOr(in, outcomeOverflow)) }

// enqueue: queueId, priority (0 to 100, 0), skills {skill: least level 1 to 5}, label (template). The session runs the
// application.
//
// Outcomes: answered (the agent or the caller has ended the talk), timeout, no_agents, queue_full, ewt, option:x (only
// with an edge of its own: the queue's own option applies otherwise). What is none of them counts as no_agents. Each
// without an edge ends the flow. With an edge for no_agents the caller does not wait while nobody is there. abandoned:
// the caller hung up before an agent had him; its steps are like those of entry's hangup and run before them.
type enqueue struct {
	id   string
	vars map[string]string
	name template
}

const (
	outcomeNoAgents  = "no_agents"
	outcomeAbandoned = "abandoned"
	optionPrefix     = "option:" // and the key
)

var queueExits = []string{api.OutcomeAnswered, outcomeTimeout, outcomeNoAgents, "queue_full", "ewt"}

func readEnqueue(f *fields) action {
	e := &enqueue{id: f.requiredRef("queueId", brain.KindQueue), name: f.template("label")}
	e.vars = map[string]string{"priority": strconv.Itoa(f.number("priority", 0, 0, 100))}
	var skills map[string]int
	f.take("skills", &skills, "an object of levels")
	if len(skills) > 20 {
		f.wrong("skills", "has %d entries, more than 20", len(skills))
	}
	for _, skill := range slices.Sorted(maps.Keys(skills)) {
		if level := skills[skill]; level < 1 || level > 5 || !variableName.MatchString(skill) {
			f.wrong("skills", "%s must be a name, with a level from 1 to 5", quote(skill))
		}
		e.vars["skill:"+skill] = strconv.Itoa(skills[skill])
	}
	return e
}

func (e *enqueue) exits() []exit {
	out := []exit{{name: outcomeAbandoned}}
	for _, name := range queueExits {
		x := exit{name: name, cause: causeNoAnswer}
		if name == api.OutcomeAnswered {
			x.cause = ""
		}
		out = append(out, x)
	}
	for i := range len(allDigits) {
		out = append(out, exit{name: optionPrefix + allDigits[i:i+1], or: outcomeTimeout})
	}
	return out
}

func (e *enqueue) begin(w *walk, _ *step) move {
	vars := maps.Clone(e.vars)
	if label := e.name.render(w.shown, nil); label != "" {
		vars["label"] = label
	}
	return w.app(brain.RouteTarget{Kind: brain.DestQueue, ID: e.id}, vars, true)
}

func (e *enqueue) result(_ *walk, _ *step, in Input) move {
	for _, x := range e.exits() {
		if x.name == in.Outcome && x.name != outcomeAbandoned {
			return leave(in.Outcome)
		}
	}
	return leave(outcomeNoAgents)
}

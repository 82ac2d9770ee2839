package flow

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// move is what an action did: left by an outcome, asked for something (wait), or changed the frames itself (goOn).
type move struct {
	outcome string
	how     int
}

var (
	wait = move{how: 1}
	goOn = move{how: 2}
)

func leave(outcome string) move { return move{outcome: outcome} }

// walk is one call of Start or Step.
type walk struct {
	env     Env
	s       *State
	now     int64
	out     Output
	entered map[Frame]*Graph  // flows entered in this walk: Env need not have them pinned yet
	changed map[string]string // variables since the step was entered
	full    bool              // a variable found no room
	bytes   int               // of all variables in State's JSON; 0 = not counted yet
}

func newWalk(env Env, s *State, nowMS int64) *walk {
	return &walk{env: env, s: s, now: nowMS}
}

// run enters steps until one asks for something.
func (w *walk) run() Output {
	for w.out.End == nil && !w.asked() {
		st := w.current()
		if st == nil {
			break
		}
		w.s.Logic++
		if limit := w.limit(); w.s.Logic > limit {
			w.end(End{Cause: causeTemporary, Why: "more than " + strconv.Itoa(limit) + " steps in a row without the caller, at step " + quote(st.id)})
			break
		}
		w.s.Tries = Tries{}
		w.trace(st, Trace{})
		if w.s.Gone != 0 && !kindByName(st.kind).afterGone {
			w.note(st, "", "cannot run after the caller hung up")
			w.nextGone()
			continue
		}
		if w.follow(st, st.act.begin(w, st)) {
			break
		}
	}
	return w.out
}

func (w *walk) limit() int {
	if w.s.Gone != 0 {
		return MaxHangupSteps
	}
	return MaxLogic
}

func (w *walk) asked() bool {
	return w.out.Command != nil || w.out.HTTP != nil || w.out.App != nil
}

// current is the step the call is at; nil, with the call ended, when its graph is gone.
func (w *walk) current() *step {
	if len(w.s.Frames) == 0 {
		w.end(End{Cause: causeNormal, Why: "the flow is over"})
		return nil
	}
	f := w.s.Frames[len(w.s.Frames)-1]
	if g := w.graph(f); g != nil {
		if i, ok := g.byID[f.Step]; ok {
			return g.steps[i]
		}
	}
	w.end(End{Cause: causeTemporary, Why: "version " + strconv.FormatInt(f.Version, 10) + " of flow " + quote(f.Flow) + " is gone, with step " + quote(f.Step)})
	return nil
}

func (w *walk) graph(f Frame) *Graph {
	f.Step = ""
	if g := w.entered[f]; g != nil {
		return g
	}
	return w.env.Pinned(f.Flow, f.Version)
}

// push enters a flow at its entry step.
func (w *walk) push(id string) {
	g, version := w.env.Flow(id)
	switch {
	case g == nil:
		w.end(End{Cause: causeTemporary, Why: "flow " + quote(id) + " is not published"})
		return
	case len(w.s.Frames) >= MaxFrames:
		w.end(End{Cause: causeTemporary, Why: "more than " + strconv.Itoa(MaxFrames) + " flows are inside each other, at flow " + quote(id)})
		return
	}
	if w.entered == nil {
		w.entered = map[Frame]*Graph{}
	}
	w.entered[Frame{Flow: id, Version: version}] = g
	w.s.Frames = append(w.s.Frames, Frame{id, version, g.steps[g.start].id})
}

// follow does what an action wants; true when there is nothing more to run.
func (w *walk) follow(st *step, m move) bool {
	switch {
	case w.full && w.out.End == nil:
		w.end(End{Cause: causeTemporary, Why: "the variables of the call are too many or too long, at step " + quote(st.id)})
		return true
	case m.how == wait.how:
		return true
	case m.how == goOn.how:
		return w.out.End != nil
	}
	w.depart(st, m.outcome)
	return w.out.End != nil
}

// depart leaves a step, and the flows that end with it.
func (w *walk) depart(st *step, outcome string) {
	for {
		w.trace(st, Trace{Outcome: outcome})
		if to, ok := st.target(outcome); ok {
			f := &w.s.Frames[len(w.s.Frames)-1]
			f.Step = w.graph(*f).steps[to].id
			return
		}
		if w.s.Gone != 0 {
			w.nextGone()
			return
		}
		x := exitOf(st.act, outcome)
		label := cmpOr(st.end, outcome)
		if len(w.s.Frames) <= 1 {
			w.end(End{Cause: cmpOr(x.cause, causeNormal), Why: "the flow ended at step " + quote(st.id) + " by " + quote(outcome)})
			return
		}
		w.s.Frames = w.s.Frames[:len(w.s.Frames)-1]
		if st = w.current(); st == nil {
			return
		}
		outcome = label
	}
}

// target is where an outcome leads: its own edge, the edge of the outcome that stands for it, the edge without one.
func (st *step) target(outcome string) (int, bool) {
	for name := outcome; name != ""; name = exitOf(st.act, name).or {
		if to, ok := st.next[name]; ok {
			return to, true
		}
		if to, ok := st.next[""]; ok && outcome != hangupHandle {
			return to, true
		}
	}
	return 0, false
}

// exitOf is the exit of a name; what a step does not know ends the flow as a failure, but an inner flow's labels.
func exitOf(act action, name string) exit {
	exits := act.exits()
	for _, x := range exits {
		if x.name == name || x.name == "match:*" && isMatch(name) {
			return x
		}
	}
	if _, isFlow := act.(*inner); isFlow {
		return exit{name: name}
	}
	return exit{name: name, cause: causeTemporary}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// hangup begins what runs after the caller hung up: in the innermost flow first.
func (w *walk) hangup(in Input) {
	w.s.Logic = 0
	st := w.current()
	if st == nil {
		return
	}
	if r, ok := st.act.(*record); ok {
		r.result(w, st, in) // what he said is kept
	}
	handle, has := goneHandle(st.kind)
	outcome := in.Outcome
	switch {
	case handle != outcomeAbandoned:
	case in.Data["talk_ms"] == "": // nobody has talked to him
		outcome = handle
	default:
		has = false
	}
	w.trace(st, Trace{Outcome: outcome})
	if to, ok := st.next[handle]; ok && has {
		w.s.Gone = GoneAtStep
		w.goTo(to)
		return
	}
	w.goneAtFlow()
}

// nextGone is called when the steps after a hang-up end: those of entry's hangup follow, then the outer flow's.
func (w *walk) nextGone() {
	if w.s.Gone == GoneAtFlow {
		w.s.Frames = w.s.Frames[:len(w.s.Frames)-1]
	}
	w.goneAtFlow()
}

// goneAtFlow goes to the hangup steps of the innermost flow that has some, or ends the call.
func (w *walk) goneAtFlow() {
	w.s.Gone = GoneAtFlow
	for n := len(w.s.Frames); n > 0; n-- {
		w.s.Frames = w.s.Frames[:n]
		if g := w.graph(w.s.Frames[n-1]); g != nil && g.onHang >= 0 {
			w.trace(g.steps[g.start], Trace{Outcome: hangupHandle})
			w.goTo(g.onHang)
			return
		}
	}
	w.end(End{Cause: causeNormal, Why: "the caller hung up"})
}

func (w *walk) goTo(index int) {
	f := &w.s.Frames[len(w.s.Frames)-1]
	f.Step = w.graph(*f).steps[index].id
}

// command asks the node agent for something.
func (w *walk) command(name string, params api.CommandParams, sounds ...brain.Sound) move {
	w.out.Command = &Command{Name: name, Params: params, Sounds: sounds}
	return wait
}

// app hands the call to the session.
func (w *walk) app(target brain.RouteTarget, vars map[string]string, returns bool) move {
	w.out.App = &App{Target: target, Vars: vars, Returns: returns}
	return wait
}

// end ends the call: nothing else is asked for.
func (w *walk) end(e End) move {
	w.s.Done, w.s.Frames = true, nil
	w.out.Command, w.out.HTTP, w.out.App, w.out.End = nil, nil, nil, &e
	return wait
}

// value is a variable, "" when there is none. now, where no variable has the name, is the moment in epoch seconds.
func (w *walk) value(name string) string {
	v, there := w.s.Vars[name]
	if !there && name == "now" {
		return strconv.FormatInt(w.now/1000, 10)
	}
	return v
}

// public is a variable that may be spoken; shown is one that may be read.
func (w *walk) public(name string) string {
	if w.isSecret(name) {
		return ""
	}
	return w.value(name)
}

func (w *walk) shown(name string) string {
	if w.isSecret(name) {
		return masked
	}
	return w.value(name)
}

func (w *walk) isSecret(name string) bool { return slices.Contains(w.s.Secret, name) }

// set gives a variable its value. One that finds no room ends the call.
func (w *walk) set(name, value string, secret bool) {
	value = clean(value)
	if w.bytes == 0 {
		for other, v := range w.s.Vars {
			w.bytes += size(other, v)
		}
	}
	old, there := w.s.Vars[name]
	total := w.bytes + size(name, value)
	if there {
		total -= size(name, old)
	}
	if total > maxStateBytes || !there && len(w.s.Vars) >= MaxVars {
		w.full = true
		return
	}
	w.bytes = total
	if w.s.Vars == nil {
		w.s.Vars = map[string]string{}
	}
	w.s.Vars[name] = value
	w.s.Secret = slices.DeleteFunc(w.s.Secret, func(n string) bool { return n == name })
	if secret {
		w.s.Secret = append(w.s.Secret, name)
		slices.Sort(w.s.Secret)
	}
	if w.changed == nil {
		w.changed = map[string]string{}
	}
	w.changed[name] = cut(w.shown(name), 256)
}

// trace writes a line about a step.
func (w *walk) trace(st *step, t Trace) {
	if len(w.s.Frames) == 0 {
		return
	}
	f := w.s.Frames[len(w.s.Frames)-1]
	t.Flow, t.Version, t.Step, t.Kind, t.AtMS = f.Flow, f.Version, st.id, st.kind, w.now
	t.Outcome = cut(t.Outcome, maxHandle)
	if c, ok := st.act.(*choice); ok && strings.HasPrefix(t.Outcome, "case:") && slices.ContainsFunc(c.value.names(), w.isSecret) {
		t.Outcome = "case:" + masked
	}
	if (t.Outcome != "" || t.Note != "") && len(w.changed) > 0 {
		t.Changed, w.changed = maps.Clone(w.changed), nil
	}
	w.out.Trace = append(w.out.Trace, t)
}

func (w *walk) note(st *step, outcome, text string) {
	w.trace(st, Trace{Outcome: outcome, Note: text})
}

package flow

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Env is what the interpreter asks of the configuration, this moment.
type Env interface {
	// Flow returns the published graph of a flow and its version; nil when there is none.
	Flow(id string) (*Graph, int64)
	// Pinned returns the very graph that a live call runs; nil when it is gone.
	Pinned(id string, version int64) *Graph
	// Hours is InHours, OutOfHours or Holiday; anything else counts as InHours.
	Hours(scheduleID string) string
}

// State is one call in its flow, between two commands: less than 64 KiB as JSON. The graphs are not in it: Env.Pinned
// finds them by Frames.
type State struct {
	Frames []Frame           `json:"frames,omitempty"` // the innermost flow is the last
	Vars   map[string]string `json:"vars,omitempty"`
	Secret []string          `json:"secret,omitempty"` // names of variables that are never shown, sorted
	Tries  Tries             `json:"tries,omitzero"`   // of the step the call is in
	Logic  int               `json:"logic,omitempty"`  // steps since the caller was last heard of
	Gone   Gone              `json:"gone,omitempty"`   // the caller hung up
	Done   bool              `json:"done,omitempty"`   // the flow is over: the call ended, or was transferred
}

// Gone says which steps run after the caller hung up; 0 = he is there.
type Gone int

const (
	GoneAtStep Gone = 1 // those of the hangup edge of the step he was in
	GoneAtFlow Gone = 2 // those of the hangup edge of the innermost flow's entry
)

// Frame is a flow the call is in, and where.
type Frame struct {
	Flow    string `json:"flow"`
	Version int64  `json:"version"`
	Step    string `json:"step"`
}

// Tries counts what a menu or a collect has heard.
type Tries struct {
	Wrong  int `json:"wrong,omitempty"`
	Silent int `json:"silent,omitempty"`
}

// Input is what became of the last Output: an outcome of api.FlowRequest, of an App, or HTTPSuccess, HTTPError or
// HTTPTimeout with status and body. api.OutcomeHangup and api.OutcomeLost are taken at any time.
type Input struct {
	Outcome string
	Data    map[string]string
}

// Output is what is to be done. Exactly one of the first four is set.
type Output struct {
	Command *Command
	HTTP    *HTTPCall
	App     *App
	End     *End
	Trace   []Trace
	Tags    []Tag
}

// Command is carried out by the node agent.
type Command struct {
	Name   string            // a Command constant of api
	Params api.CommandParams // without Files, and without Key: the session knows both
	Sounds []brain.Sound     // become Params.Files, one after the other
	Record bool              // dial: the session names the object of the recording in Params.Key
}

// HTTPCall is a request that the session makes and whose answer is the next Input.
type HTTPCall struct {
	Method    string
	URL       string
	Headers   map[string]string
	Body      string
	TimeoutMS int
	SecretRef string // names the credential that the session adds; "" = none
	Secret    bool   // a secret of the caller is in it: do not log it
}

// App is something the session runs in the flow's place.
type App struct {
	Target  brain.RouteTarget
	Vars    map[string]string
	Returns bool // its outcome comes back as Input; false: the call has left the flow
}

// End is the end of the call.
type End struct {
	Cause   string // FreeSWITCH's name
	SIPCode int    // for a call not answered yet; 0 = by Cause
	Why     string // for operators
}

// Trace is a step that was entered (Outcome and Note empty), left (Outcome) or that says something of itself (Note).
type Trace struct {
	Flow    string            `json:"flow"`
	Version int64             `json:"version"`
	Step    string            `json:"step"`
	Kind    string            `json:"kind"`
	Outcome string            `json:"outcome,omitempty"`
	Note    string            `json:"note,omitempty"`
	AtMS    int64             `json:"at_ms"`
	Changed map[string]string `json:"changed,omitempty"` // variables that changed since the step was entered; secrets masked, long ones cut
}

// Tag goes to the call record.
type Tag struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Start begins a flow. vars is what the route knows; names that are none, and what is more than MaxVars or too long
// in all, are left out, in the order of the names from the last. nowMS is epoch milliseconds.
func Start(env Env, flowID string, vars map[string]string, nowMS int64) (State, Output) {
	s := State{Vars: make(map[string]string, len(vars))}
	w := newWalk(env, &s, nowMS)
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if variableName.MatchString(name) {
			w.set(name, vars[name], false)
		}
	}
	w.full, w.changed = false, nil
	w.push(flowID)
	return s, w.run()
}

// Leads tells whether the step that the call is in has an edge of its own for an outcome.
func (s *State) Leads(env Env, outcome string) bool {
	if len(s.Frames) == 0 {
		return false
	}
	f := s.Frames[len(s.Frames)-1]
	g := env.Pinned(f.Flow, f.Version)
	if g == nil {
		return false
	}
	i, there := g.byID[f.Step]
	if !there {
		return false
	}
	_, leads := g.steps[i].next[outcome]
	return leads
}

// Step goes on with what became of the last Output. It advances each time it is called: that an outcome counts once
// is the session's to see to.
func (s *State) Step(env Env, in Input, nowMS int64) Output {
	w := newWalk(env, s, nowMS)
	lost := in.Outcome == api.OutcomeHangup || in.Outcome == api.OutcomeLost
	switch {
	case s.Done:
		w.end(End{Cause: causeNormal, Why: "the flow is over"})
		return w.out
	case lost && s.Gone == 0:
		w.hangup(in)
		return w.run()
	}
	st := w.current()
	if st == nil {
		return w.out
	}
	act, ok := st.act.(waiter)
	if !ok {
		w.end(End{Cause: causeTemporary, Why: "step " + quote(st.id) + " waits for nothing, and got " + quote(in.Outcome)})
		return w.out
	}
	if _, isHTTP := act.(*httpStep); !isHTTP {
		s.Logic = 0
	}
	if w.follow(st, act.result(w, st, in)) {
		return w.out
	}
	return w.run()
}

// size is what a variable takes of a State, in bytes of JSON.
func size(name, value string) int {
	text, err := json.Marshal(value)
	if err != nil {
		return len(value)
	}
	return len(name) + len(text) + len(`"":,`)
}

// clean is a value as it is kept: UTF-8, at most MaxValue bytes.
func clean(value string) string {
	return strings.ToValidUTF8(cut(value, MaxValue), "�")
}

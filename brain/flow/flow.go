// Package flow holds call flows: the graph that an account draws, compiled and checked, and the interpreter that
// walks a call through it, one command at a time. The interpreter reads no clock and reaches for nothing: what it
// needs comes in, what it wants done goes out, and the same inputs give the same outputs.
package flow

import (
	"regexp"

	"github.com/sipio/sipio/brain"
)

// Bounds of a graph and of a walk.
const (
	MaxSteps       = 500       // steps of a graph
	MaxEdges       = 2000      // edges of a graph
	MaxData        = 32 << 10  // bytes of one step's data
	MaxFrames      = 8         // flows inside flows
	MaxLogic       = 100       // steps in a row that need nothing of the caller; then the call ends, with a reason
	MaxHangupSteps = 10        // steps that run after the caller hung up
	MaxVars        = 64        // variables of a call
	MaxValue       = 4 << 10   // bytes of a variable or of any text a template makes; longer is cut
	MaxHTTPMS      = 5000      // longest wait for an answer of an http step, in milliseconds
	MaxBody        = 64 << 10  // bytes of an http answer that are looked at; a longer one is an error
	maxStateBytes  = 40 << 10  // of all variables as JSON, so that a State stays below 64 KiB
	maxID          = 64        // bytes of the id of a step
	maxHandle      = 80        // bytes of an edge's outcome
	hangupHandle   = "hangup"  // outcome of the entry step: the caller hung up
	defaultOutcome = "default" // outcome of a step that has but one
	masked         = "***"     // stands for a secret in traces and tags
)

// Graph is a flow that calls can run: compiled by Compile, never changed, shared by all calls.
type Graph struct {
	start  int
	steps  []*step
	byID   map[string]int
	refs   []reference
	onHang int // index of the first step after the caller hung up; -1 = none
}

// step is one compiled vertex.
type step struct {
	id    string
	index int // in Graph.steps and in the nodes of the source
	kind  string
	act   action
	end   string         // how the flow's end is labelled when it ends here; "" = by the outcome
	next  map[string]int // by outcome; "" = any that has no edge of its own
}

// action is what a step does: one type for each kind of the table.
type action interface {
	// exits lists the outcomes the step can have.
	exits() []exit
	// begin is called when the call enters the step: it leaves at once, or asks for something.
	begin(w *walk, st *step) move
}

// waiter is an action that asks for something; result takes what became of it.
type waiter interface {
	action
	result(w *walk, st *step, in Input) move
}

// exit is one outcome of a step, and what happens when no edge leads on from it: with Needed the graph is
// refused, else the outcome Or is tried, else the flow ends.
type exit struct {
	name   string
	needed bool
	or     string
	cause  string // hang-up cause when the outermost flow ends here; "" = NORMAL_CLEARING
}

// reference is a mention of a resource.
type reference struct {
	path string
	kind brain.Kind
	id   string
}

// Refs says which resources the account has.
type Refs interface {
	// Exists is asked with brain.KindCallFlow, KindRingGroup, KindTimeSchedule, KindMediaFile, KindMediaPlaylist,
	// KindVoicemail, KindConference, KindSIPUser, KindExtension, KindQueue, and KindForward.
	Exists(kind brain.Kind, id string) bool
}

// CheckRefs lists the references to resources that are not there, in the order of the graph.
func (g *Graph) CheckRefs(r Refs) []brain.FieldError {
	var out []brain.FieldError
	for _, ref := range g.refs {
		if !r.Exists(ref.kind, ref.id) {
			out = append(out, brain.FieldError{Path: ref.path, Text: "no " + string(ref.kind) + " " + quote(ref.id) + " in the account"})
		}
	}
	return out
}

// Refs calls visit for each mention of a resource, in the order of the graph.
func (g *Graph) Refs(visit func(path string, kind brain.Kind, id string)) {
	for _, ref := range g.refs {
		visit(ref.path, ref.kind, ref.id)
	}
}

// Steps counts the steps of the graph.
func (g *Graph) Steps() int { return len(g.steps) }

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

package session

import (
	"encoding/json"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// graphs is what the interpreter sees of the configuration: for a call that is up, the versions it began with.
type graphs struct{ t *turn }

// Flow gives the version that the call keeps, else the one published now, which it keeps from then on.
func (g graphs) Flow(id string) (*flow.Graph, int64) {
	t := g.t
	if f := t.pinned(id, 0); f != nil {
		return f.compiled(), f.Version
	}
	if t.env.Flow == nil {
		return nil, 0
	}
	f := t.env.Flow(id)
	if f == nil || f.Graph == nil {
		return nil, 0
	}
	size := len(f.Source)
	for _, known := range [2][]*Flow{t.m.flows, t.flows} {
		for _, k := range known {
			size += len(k.Source)
		}
	}
	if len(t.m.flows)+len(t.flows) >= MaxFlows || size > MaxGraphs {
		t.note("flow", "the call has entered too many flows to enter "+id)
		return nil, 0
	}
	t.flows = append(t.flows, f)
	return f.Graph, f.Version
}

// Pinned gives a version that the call keeps.
func (g graphs) Pinned(id string, version int64) *flow.Graph {
	if f := g.t.pinned(id, version); f != nil {
		return f.compiled()
	}
	return nil
}

// Hours says how a schedule stands; without one it is open.
func (g graphs) Hours(scheduleID string) string {
	if g.t.env.Hours == nil {
		return "in_hours"
	}
	return g.t.env.Hours(scheduleID, g.t.now)
}

func (t *turn) pinned(id string, version int64) *Flow {
	if f := pinned(t.m.flows, id, version); f != nil {
		return f
	}
	return pinned(t.flows, id, version)
}

// compiled gives the graph; one that came from a journal is compiled when it is first needed. What it says was
// published once, so it compiles.
func (f *Flow) compiled() *flow.Graph {
	if f.Graph == nil {
		var g brain.FlowGraph
		if json.Unmarshal(f.Source, &g) != nil {
			return nil
		}
		f.Graph, _ = flow.Compile(g)
	}
	return f.Graph
}

// start runs a flow from its entry.
func (t *turn) start(id string, vars map[string]string) {
	state, out := flow.Start(graphs{t}, id, vars, t.now)
	t.im.Flow = &state
	t.output(out)
}

// step gives an outcome to the flow.
func (t *turn) step(in flow.Input) {
	if t.im.Flow == nil {
		t.end(flow.End{Why: "no flow runs"})
		return
	}
	t.output(t.im.Flow.Step(graphs{t}, in, t.now))
}

// output does what the interpreter wants.
func (t *turn) output(out flow.Output) {
	for _, line := range out.Trace {
		t.trace = append(t.trace, Trace{Flow: line.Flow, Version: line.Version, Step: line.Step, Kind: line.Kind,
			Outcome: line.Outcome, Changed: line.Changed, Note: line.Note})
	}
	for _, tag := range out.Tags {
		t.effect(Effect{Kind: EffectTag, Label: tag.Label, Value: tag.Value})
	}
	switch {
	case out.End != nil:
		t.end(*out.End)
	case t.im.Gone && out.HTTP == nil: // nobody hears a command, and nobody can be sent on
		t.overNow(t.im.Why)
	case out.HTTP != nil:
		t.im.HTTP = out.HTTP
	case out.App != nil:
		t.enter(out.App.Target, out.App.Vars, out.App.Returns)
	case out.Command != nil:
		t.flowCommand(*out.Command)
	default:
		t.end(flow.End{Why: "the flow says nothing", Cause: causeFailure})
	}
}

// flowCommand gives a command of a flow the names that only the session knows.
func (t *turn) flowCommand(c flow.Command) {
	switch c.Name {
	case api.CommandRecord:
		c.Params.Key = t.recordingKey()
	case api.CommandDial:
		t.dialed(c.Params, c.Record)
		return
	}
	t.command(c.Name, c.Params, c.Sounds...)
}

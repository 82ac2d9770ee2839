package config

import (
	"fmt"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/flow"
)

// eachGraphReference calls visit for each reference inside a graph, which visit may rewrite.
func eachGraphReference(g *brain.FlowGraph, visit func(path string, kind brain.Kind, ref *string)) {
	flow.EachRef(g, func(path string, kind brain.Kind, id string) string {
		visit(path, kind, &id)
		return id
	})
}

// checkGraph compiles the graph of a flow. A draft may be as incomplete as it likes as long as it is empty.
func checkGraph(f *brain.CallFlow) []brain.RowError {
	if f.Status == brain.StatusDraft && len(f.Graph.Nodes) == 0 {
		return nil
	}
	_, mistakes := flow.Compile(f.Graph)
	faults := make([]brain.RowError, len(mistakes))
	for i, m := range mistakes {
		faults[i] = brain.RowError{Resource: f, FieldError: m}
	}
	return faults
}

// checkFlows wants what the flows of an account refer to to be there: in the graph that is drawn and in the one
// that calls run. Flows that do not change are looked at only when something of the account goes.
func checkFlows(d *draft, ops []op, owner string) []brain.RowError {
	changed, goes := make(map[string]bool), false
	for _, o := range ops {
		if r := o.resource(); r.OwnerID() == owner {
			goes = goes || o.after == nil
			changed[r.ResourceID()] = true
		}
	}
	var faults []brain.RowError
	for _, r := range d.rows(brain.KindCallFlow, owner) {
		f := r.(*brain.CallFlow)
		if !goes && !changed[f.ID] {
			continue
		}
		faults = append(faults, dangling(d, f, f.Graph, "graph")...)
		if !f.LiveGraph.Equal(f.Graph) {
			faults = append(faults, dangling(d, f, f.LiveGraph, "live_graph")...)
		}
	}
	return faults
}

// dangling lists the references of a graph to what is not there.
func dangling(d *draft, f *brain.CallFlow, g brain.FlowGraph, name string) []brain.RowError {
	var faults []brain.RowError
	g = g.Clone()
	eachGraphReference(&g, func(path string, kind brain.Kind, id *string) {
		if fields[kind] != nil && d.get(kind, f.AccountID, *id) != nil {
			return
		}
		text := fmt.Sprintf("no %s %q in the account", kind, cut(*id))
		path = name + strings.TrimPrefix(path, "graph")
		faults = append(faults, brain.RowError{Resource: f, FieldError: brain.FieldError{Path: path, Text: text}, MissingKind: kind, Missing: *id})
	})
	return faults
}

package flow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
)

// Compile reads a graph and says what is wrong with it, each mistake by its path; none = the graph can run.
// References are CheckRefs'. The Graph is nil when there are mistakes.
func Compile(src brain.FlowGraph) (*Graph, []brain.FieldError) {
	m := &mistakes{}
	switch {
	case len(src.Nodes) == 0:
		m.add("graph.nodes", "at least an entry step is required")
	case len(src.Nodes) > MaxSteps:
		m.add("graph.nodes", "has %d steps, more than %d", len(src.Nodes), MaxSteps)
	case len(src.Edges) > MaxEdges:
		m.add("graph.edges", "has %d edges, more than %d", len(src.Edges), MaxEdges)
	}
	if len(m.list) > 0 {
		return nil, m.list
	}
	g := &Graph{start: -1, onHang: -1, byID: make(map[string]int, len(src.Nodes))}
	for i, n := range src.Nodes {
		g.steps = append(g.steps, g.compileStep(m, i, n))
	}
	g.findStart(m, src.Start)
	if len(m.list) > 0 { // edges of steps that cannot be read say nothing
		return nil, m.list
	}
	handles := g.compileEdges(m, src.Edges)
	for i, st := range g.steps {
		if l, ok := st.act.(linker); ok {
			l.link(m, func(handle string) string { return edgePath(handles[i][handle], "sourceHandle") }, sortedHandles(st))
		}
	}
	if len(m.list) == 0 {
		g.check(m)
	}
	if len(m.list) > 0 {
		return nil, m.list
	}
	return g, nil
}

func nodePath(i int, rest string) string { return fmt.Sprintf("graph.nodes[%d].%s", i, rest) }
func edgePath(i int, rest string) string { return fmt.Sprintf("graph.edges[%d].%s", i, rest) }

func (g *Graph) compileStep(m *mistakes, i int, n brain.FlowStep) *step {
	st := &step{id: n.ID, index: i, next: map[string]int{}}
	if n.ID == "" || len(n.ID) > maxID || !printable(n.ID) {
		m.add(nodePath(i, "id"), "must be 1 to %d bytes of UTF-8 without control characters", maxID)
	}
	if first, taken := g.byID[n.ID]; taken {
		m.add(nodePath(i, "id"), "%s is taken by nodes[%d]", quote(n.ID), first)
	} else {
		g.byID[n.ID] = i
	}
	if len(n.Data) > MaxData {
		m.add(nodePath(i, "data"), "has %d bytes, more than %d", len(n.Data), MaxData)
		return st
	}
	f := object(m, nodePath(i, "data"), n.Data)
	if f == nil {
		return st
	}
	name := f.required("kind", maxName)
	k := kindByName(name)
	if k == nil {
		if name != "" {
			f.wrong("kind", "%s is not a kind of step", quote(name))
		}
		return st
	}
	st.kind = k.name
	st.end = f.text("end", maxName)
	if k.name != "tag" && k.name != "enqueue" {
		f.text("label", maxText) // an editor's caption
	}
	f.text("note", maxText)
	st.act = k.read(f)
	f.rest(k.name)
	g.refs = append(g.refs, f.refs...)
	return st
}

// findStart wants exactly one entry step, and start to be it.
func (g *Graph) findStart(m *mistakes, start string) {
	for i, st := range g.steps {
		if st.kind != "entry" {
			continue
		}
		if g.start >= 0 {
			m.add(nodePath(i, "data.kind"), "nodes[%d] is the entry step already", g.start)
			continue
		}
		g.start = i
	}
	switch {
	case g.start < 0:
		m.add("graph.nodes", "has no entry step")
	case start != "" && start != g.steps[g.start].id:
		m.add("graph.start", "must be the entry step, %s, not %s", quote(g.steps[g.start].id), quote(start))
	}
}

// compileEdges returns, for each step, which edge each outcome has.
func (g *Graph) compileEdges(m *mistakes, edges []brain.FlowEdge) []map[string]int {
	handles := make([]map[string]int, len(g.steps))
	for i := range handles {
		handles[i] = map[string]int{}
	}
	for i, e := range edges {
		from, known := g.byID[e.Source]
		to, there := g.byID[e.Target]
		switch {
		case !known:
			m.add(edgePath(i, "source"), "no step %s", quote(e.Source))
			continue
		case !there:
			m.add(edgePath(i, "target"), "no step %s", quote(e.Target))
			continue
		case to == g.start:
			m.add(edgePath(i, "target"), "the entry step is where a flow begins, and nowhere else")
		}
		st := g.steps[from]
		if fault := st.badHandle(e.SourceHandle); fault != "" {
			m.add(edgePath(i, "sourceHandle"), "%s", fault)
			continue
		}
		if first, taken := handles[from][e.SourceHandle]; taken {
			m.add(edgePath(i, "sourceHandle"), "edges[%d] leads on from %s already", first, quote(e.SourceHandle))
			continue
		}
		handles[from][e.SourceHandle], st.next[e.SourceHandle] = i, to
	}
	return handles
}

// badHandle says why a step cannot end that way.
func (st *step) badHandle(handle string) string {
	_, isFlow := st.act.(*inner)
	exits := st.act.exits()
	switch {
	case !isFlow && len(exits) == 0:
		return "nothing follows a step of kind " + st.kind
	case len(handle) > maxHandle || !printable(handle):
		return fmt.Sprintf("must be at most %d bytes of UTF-8 without control characters", maxHandle)
	case handle == "":
		return ""
	case isFlow && handle != hangupHandle:
		return ""
	}
	for _, x := range exits {
		if x.name == handle || x.name == "match:*" && isMatch(handle) {
			return ""
		}
	}
	return quote(handle) + " is not an outcome of " + st.kind
}

func sortedHandles(st *step) []string {
	var out []string
	for h := range st.next {
		out = append(out, h)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// check looks at the graph as a whole.
func (g *Graph) check(m *mistakes) {
	if to, ok := g.steps[g.start].next[hangupHandle]; ok {
		g.onHang = to
	}
	normal, gone := g.reach()
	for i, st := range g.steps {
		switch {
		case !normal[i] && !gone[i]:
			m.add(nodePath(i, "id"), "no way leads to step %s", quote(st.id))
			continue
		case gone[i] && !kindByName(st.kind).afterGone:
			m.add(nodePath(i, "data.kind"), "%s cannot run after the caller hung up: only http, tag, set and condition can", st.kind)
		}
		if !normal[i] {
			continue
		}
		for _, x := range st.act.exits() {
			if _, ok := st.target(x.name); x.needed && !ok {
				m.add(nodePath(i, "id"), "step %s (%s) needs an edge for %s", quote(st.id), st.kind, quote(x.name))
			}
		}
	}
	g.checkLoops(m)
}

// reach says which steps can be reached while the caller is there, and which after he hung up.
func (g *Graph) reach() (normal, gone []bool) {
	normal, gone = make([]bool, len(g.steps)), make([]bool, len(g.steps))
	g.spread(normal, g.start, false)
	for i, st := range g.steps {
		handle, has := goneHandle(st.kind)
		if to, ok := st.next[handle]; ok && has && normal[i] {
			g.spread(gone, to, true)
		}
	}
	return normal, gone
}

// spread marks what can be reached from a step. Edges of a hang-up are taken only after the caller hung up.
func (g *Graph) spread(seen []bool, from int, gone bool) {
	for todo := []int{from}; len(todo) > 0; {
		st := g.steps[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		if seen[st.index] {
			continue
		}
		seen[st.index] = true
		goneBy, has := goneHandle(st.kind)
		for handle, to := range st.next {
			if gone || !has || handle != goneBy {
				todo = append(todo, to)
			}
		}
	}
}

// checkLoops finds loops that nobody outside can end: made of logic steps only.
func (g *Graph) checkLoops(m *mistakes) {
	const (
		unseen = iota
		open
		closed
	)
	mark := make([]int, len(g.steps))
	var visit func(i int)
	visit = func(i int) {
		mark[i] = open
		st := g.steps[i]
		for _, handle := range sortedHandles(st) {
			switch to := st.next[handle]; {
			case !kindByName(g.steps[to].kind).logic:
			case mark[to] == open:
				m.add(nodePath(to, "id"), "step %s comes back to itself through steps that need nothing of the caller: the call would never end", quote(g.steps[to].id))
			case mark[to] == unseen:
				visit(to)
			}
		}
		mark[i] = closed
	}
	for i, st := range g.steps {
		if mark[i] == unseen && kindByName(st.kind).logic {
			visit(i)
		}
	}
}

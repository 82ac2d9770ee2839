package brain

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// Clone returns a deep copy of the graph.
func (g FlowGraph) Clone() FlowGraph {
	g.Nodes, g.Edges = slices.Clone(g.Nodes), slices.Clone(g.Edges)
	for i := range g.Nodes {
		g.Nodes[i].Position, g.Nodes[i].Data = bytes.Clone(g.Nodes[i].Position), bytes.Clone(g.Nodes[i].Data)
	}
	return g
}

// Equal says whether two graphs are the same to the letter, positions of the editor included. Both must
// have passed ApplyDefaults.
func (g FlowGraph) Equal(other FlowGraph) bool { return reflect.DeepEqual(g, other) }

// normalize gives the graph its one spelling: no empty lists, JSON without spaces and with sorted keys.
// Text that is no JSON stays for Validate to tell of.
func (g *FlowGraph) normalize() {
	if len(g.Nodes) == 0 {
		g.Nodes = nil
	}
	if len(g.Edges) == 0 {
		g.Edges = nil
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		n.Position, n.Data = canonical(n.Position), canonical(n.Data)
	}
}

// canonical writes JSON with sorted keys and one spelling of numbers; null and nothing are nil.
func canonical(raw json.RawMessage) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil || d.InputOffset() != int64(len(bytes.TrimRight(raw, " \t\r\n"))) {
		if len(raw) == 0 {
			return nil
		}
		return raw
	}
	if value == nil {
		return nil
	}
	text, err := json.Marshal(plainNumbers(value))
	if err != nil {
		return raw
	}
	return text
}

// plainNumbers makes integers of 64 bits of the numbers that are such, and floats of all others.
func plainNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if n, err := v.Float64(); err == nil {
			return n + 0 // no negative zero
		}
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = plainNumbers(v[key])
		}
	}
	return value
}

// depth is how deep JSON nests; the text must be valid.
func depth(raw json.RawMessage) int {
	deepest, now, text := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch b := raw[i]; {
		case text && b == '\\':
			i++
		case b == '"':
			text = !text
		case text:
		case b == '{' || b == '[':
			now++
			deepest = max(deepest, now)
		case b == '}' || b == ']':
			now--
		}
	}
	return deepest
}

// Publish makes the flow what it becomes when it is stored over before (nil for a new one): LiveGraph and
// Version stay, and only a published graph that differs from the one that runs takes its place and raises
// Version by one. What the caller wrote into the two fields does not count.
func (f *CallFlow) Publish(before *CallFlow) {
	f.Version, f.LiveGraph = 0, FlowGraph{}
	if before != nil {
		f.Version, f.LiveGraph = before.Version, before.LiveGraph.Clone()
	}
	if f.Status == StatusPublished && !f.Graph.Equal(f.LiveGraph) {
		f.LiveGraph = f.Graph.Clone()
		f.Version++
	}
}

package flow

import (
	"bytes"
	"encoding/json"

	"github.com/sipio/sipio/brain"
)

// EachRef calls visit for each mention of a resource in a graph as it is drawn, compiled or not, and writes what
// visit returns in its place: YAML names resources by name, the graph by id. What is no step of a known kind is
// passed over; all bytes of the data but the ids stay as they are.
func EachRef(g *brain.FlowGraph, visit func(path string, kind brain.Kind, id string) string) {
	for i := range g.Nodes {
		data := g.Nodes[i].Data
		var fields map[string]json.RawMessage
		if len(data) > MaxData || json.Unmarshal(data, &fields) != nil || kindByName(textField(fields, "kind")) == nil {
			continue
		}
		for _, ref := range referenceFields {
			data = replaceID(data, fields, ref.field, func(id string) string { return visit(nodePath(i, "data."+ref.field), ref.kind, id) })
		}
		if kind := destKinds[textField(fields, "destKind")]; kind != "" {
			data = replaceID(data, fields, "destId", func(id string) string { return visit(nodePath(i, "data.destId"), kind, id) })
		}
		g.Nodes[i].Data = data
	}
}

func textField(fields map[string]json.RawMessage, name string) string {
	var s string
	if json.Unmarshal(fields[name], &s) != nil {
		return ""
	}
	return s
}

// replaceID asks for another id of a field that has one, and returns the data with it.
func replaceID(data json.RawMessage, fields map[string]json.RawMessage, name string, other func(id string) string) json.RawMessage {
	id := textField(fields, name)
	if id == "" {
		return data
	}
	renamed := other(id)
	if renamed == id {
		return data
	}
	start, end := member(data, name)
	value, err := json.Marshal(renamed)
	if start < 0 || err != nil {
		return data
	}
	return bytes.Join([][]byte{data[:start], value, data[end:]}, nil)
}

// member finds the value of the last member of an object that has the name, in bytes; -1 when there is none. The
// last counts, as it does for json.Unmarshal.
func member(data []byte, name string) (start, end int) {
	start, end = -1, -1
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return -1, -1
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return -1, -1
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return -1, -1
		}
		if key == name {
			end = int(dec.InputOffset())
			start = end - len(value)
		}
	}
	return start, end
}

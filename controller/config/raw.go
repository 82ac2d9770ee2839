package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/sipio/sipio/brain"
)

var (
	graphType = reflect.TypeFor[brain.FlowGraph]()
	rawType   = reflect.TypeFor[json.RawMessage]()
)

// maxDepth bounds how deep free-form data nests.
const maxDepth = 32

// raw reads a value of any form, as the steps of flows have it, into JSON. It tells what JSON cannot say.
func (p *decoding) raw(n *yaml.Node, v reflect.Value, path string) {
	before := len(p.f.mistakes.list)
	value := p.free(n, path, 0)
	text, err := json.Marshal(value)
	if len(p.f.mistakes.list) > before {
		return
	}
	if err != nil {
		p.add(path, n.Line, "cannot be written as JSON: %v", err)
		return
	}
	v.SetBytes(text)
}

func (p *decoding) free(n *yaml.Node, path string, depth int) any {
	if depth > maxDepth {
		p.add(path, n.Line, "nests deeper than %d", maxDepth)
		return nil
	}
	p.doc.lines[path] = n.Line
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		p.wrong(n, path, "a value")
	case n.Kind == yaml.SequenceNode && len(n.Content) > maxItems:
		p.add(path, n.Line, "has %d items, more than %d", len(n.Content), maxItems)
	case n.Kind == yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = p.free(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
		return list
	case n.Kind == yaml.MappingNode:
		object := make(map[string]any, len(n.Content)/2)
		for key, value := range p.mapping(n, path) {
			object[key] = p.free(value, path+"."+key, depth+1)
		}
		return object
	case n.Kind == yaml.ScalarNode:
		return p.freeScalar(n, path)
	}
	return nil
}

func (p *decoding) freeScalar(n *yaml.Node, path string) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b
		}
	case "!!int":
		if number, err := strconv.ParseInt(n.Value, 0, 64); err == nil && n.Value == strconv.FormatInt(number, 10) {
			return number
		}
		p.add(path, n.Line, "write %s as a decimal number, or in quotes", strconv.Quote(cut(n.Value)))
		return nil
	case "!!float":
		number, err := strconv.ParseFloat(n.Value, 64)
		if err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
			return number
		}
		p.add(path, n.Line, "%s is no number that JSON knows", strconv.Quote(cut(n.Value)))
		return nil
	}
	return n.Value
}

// byName fills a map of texts or numbers.
func (p *decoding) byName(n *yaml.Node, v reflect.Value, path string) {
	keys := p.mapping(n, path)
	m := reflect.MakeMapWithSize(v.Type(), len(keys))
	for _, key := range sortedKeys(keys) {
		value := reflect.New(v.Type().Elem()).Elem()
		p.doc.lines[path+"."+key] = keys[key].Line
		p.value(keys[key], value, path+"."+key)
		m.SetMapIndex(reflect.ValueOf(key), value)
	}
	if m.Len() > 0 {
		v.Set(m)
	}
}

// namesIn are the keys of such a map, sorted.
func namesIn(m reflect.Value) []string {
	names := make([]string, 0, m.Len())
	for _, key := range m.MapKeys() {
		names = append(names, key.String())
	}
	slices.Sort(names)
	return names
}

// jsonNode writes JSON as YAML, with the keys in its order: sorted.
func jsonNode(raw json.RawMessage) *yaml.Node {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return scalar("!!str", string(raw))
	}
	return freeNode(value)
}

func freeNode(value any) *yaml.Node {
	switch v := value.(type) {
	case nil:
		return scalar("!!null", "null")
	case bool:
		return scalar("!!bool", strconv.FormatBool(v))
	case json.Number:
		if number, err := strconv.ParseInt(v.String(), 10, 64); err == nil && strconv.FormatInt(number, 10) == v.String() {
			return scalar("!!int", v.String())
		}
		return scalar("!!float", v.String())
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range v {
			n.Content = append(n.Content, freeNode(item))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, key := range sortedKeys(v) {
			put(n, key, freeNode(v[key]))
		}
		return n
	}
	return scalar("!!str", fmt.Sprint(value))
}

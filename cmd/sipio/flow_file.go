package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sipio/sipio/brain"
)

const (
	flowDashes  = "--------\n"
	mainFlow    = "main"  // name of a graph that has none
	maxFlowFile = 4 << 20 // bytes
	maxFlowNest = 32      // how deep the data of a step may nest
)

// flowSource is what a file of flows says.
type flowSource struct {
	file               string
	flows              []namedFlow // at least one; the first is the one that is drawn and played
	bare               bool        // a graph alone, not documents with an account
	golden             bool        // with events and what is expected
	head, events, want string
}

type namedFlow struct {
	name  string
	graph brain.FlowGraph
}

// readFlows reads a graph, documents of kind call_flow, or a golden file. Documents of other kinds are passed over.
func readFlows(file string, stdin io.Reader) (*flowSource, error) {
	text, err := readFlowFile(file, stdin)
	if err != nil {
		return nil, err
	}
	s := &flowSource{file: file, head: text}
	if parts := splitGolden(strings.ReplaceAll(text, "\r\n", "\n")); parts[1] != "" || parts[2] != "" {
		s.golden, s.head, s.events, s.want = true, parts[0], parts[1], parts[2]
	}
	name := mainFlow
	for i, section := range strings.Split("\n"+s.head, "\n== ") {
		if i > 0 {
			name, section, _ = strings.Cut(section, "\n")
		}
		if err := s.add(strings.TrimSpace(name), section); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(s.flows) == 0 {
		return nil, fmt.Errorf("%s has no graph and no document of kind call_flow", file)
	}
	return s, nil
}

// splitGolden divides a text at the first two lines of dashes; what is not there is "".
func splitGolden(text string) (parts [3]string) {
	n, start, at := 0, 0, 0
	for line := range strings.Lines(text) {
		at += len(line)
		if n < 2 && strings.TrimRight(line, "\n") == strings.TrimRight(flowDashes, "\n") {
			parts[n], start = text[start:at-len(line)], at
			n++
		}
	}
	parts[n] = text[start:]
	return parts
}

func readFlowFile(file string, stdin io.Reader) (string, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read the flow: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFlowFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", file, err)
	case len(text) > maxFlowFile:
		return "", fmt.Errorf("%s is longer than %d MiB", file, maxFlowFile>>20)
	}
	return string(bytes.TrimPrefix(text, []byte("\ufeff"))), nil
}

// add reads one section: a graph, or YAML documents.
func (s *flowSource) add(name, text string) error {
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		value, err := plain(&n, 0)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if err := s.addDocument(name, raw); err != nil {
			return err
		}
	}
}

func (s *flowSource) addDocument(name string, raw []byte) error {
	var doc struct {
		Kind string          `json:"kind"`
		Name string          `json:"name"`
		Spec brain.CallFlow  `json:"spec"`
		Node json.RawMessage `json:"nodes"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	switch {
	case doc.Kind == string(brain.KindCallFlow):
		s.flows = append(s.flows, namedFlow{doc.Name, doc.Spec.Graph})
	case doc.Kind == "" && doc.Node != nil:
		var g brain.FlowGraph
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&g); err != nil {
			return err
		}
		s.bare, s.flows = true, append(s.flows, namedFlow{name, g})
	}
	return nil
}

// plain turns YAML into what JSON can say: no aliases, no dates, keys that are text.
func plain(n *yaml.Node, depth int) (any, error) {
	if depth > maxFlowNest {
		return nil, fmt.Errorf("line %d: nests deeper than %d", n.Line, maxFlowNest)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return plain(n.Content[0], depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if list[i], err = plain(item, depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.MappingNode:
		object := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if _, twice := object[key.Value]; twice || key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key that is there twice, or is no text", key.Line)
			}
			value, err := plain(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			object[key.Value] = value
		}
		return object, nil
	case yaml.ScalarNode:
		return plainScalar(n)
	}
	return nil, fmt.Errorf("line %d: anchors and aliases are not taken", n.Line)
}

func plainScalar(n *yaml.Node) (any, error) {
	var value any
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
		if err := n.Decode(&value); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
		return value, nil
	}
	return n.Value, nil
}

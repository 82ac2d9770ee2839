package flow

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of a JSON path.
const (
	maxPath     = 256
	maxSegments = 16
	maxIndex    = 9999
)

// jsonPath is the part of JSONPath (RFC 9535) that names one value: $, then .name, ["name"] and [number].
// $ alone is the whole answer.
type jsonPath []segment

type segment struct {
	name  string
	index int // -1 = name
}

func parsePath(src string) (jsonPath, error) {
	rest, ok := strings.CutPrefix(src, "$")
	if !ok || len(src) > maxPath {
		return nil, fmt.Errorf("%s is not a path such as $.a.b[0].c", quote(src))
	}
	path := jsonPath{}
	for rest != "" {
		var seg segment
		var err error
		seg, rest, err = parseSegment(rest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quote(src), err)
		}
		if path = append(path, seg); len(path) > maxSegments {
			return nil, fmt.Errorf("%s has more than %d segments", quote(src), maxSegments)
		}
	}
	return path, nil
}

// parseSegment reads the first segment of a path that is not empty.
func parseSegment(s string) (seg segment, rest string, err error) {
	if s[0] == '.' {
		end := strings.IndexAny(s[1:], ".[")
		if end < 0 {
			end = len(s) - 1
		}
		name := s[1 : 1+end]
		if name == "" || strings.ContainsAny(name, "*?@$()\"' ]") {
			return seg, "", fmt.Errorf("%s is not a plain name", quote(name))
		}
		return segment{name, -1}, s[1+end:], nil
	}
	if strings.HasPrefix(s, `["`) {
		name, after, found := strings.Cut(s[2:], `"]`)
		if !found || name == "" {
			return seg, "", fmt.Errorf(`[" is not closed by "]`)
		}
		return segment{name, -1}, after, nil
	}
	if s[0] == '[' {
		number, after, found := strings.Cut(s[1:], "]")
		n, err := strconv.Atoi(number)
		if !found || err != nil || n < 0 || n > maxIndex {
			return seg, "", fmt.Errorf("[ is not followed by a number up to %d and ]", maxIndex)
		}
		return segment{"", n}, after, nil
	}
	return seg, "", fmt.Errorf("%s follows where . or [ should", quote(s[:1]))
}

// find returns the value as text: strings as they are, numbers and true/false as JSON writes them, null and
// what is not there as "", lists and objects as compact JSON.
func (p jsonPath) find(doc any) string {
	for _, seg := range p {
		switch v := doc.(type) {
		case map[string]any:
			if seg.index >= 0 {
				return ""
			}
			doc = v[seg.name]
		case []any:
			if seg.index < 0 || seg.index >= len(v) {
				return ""
			}
			doc = v[seg.index]
		default:
			return ""
		}
	}
	switch v := doc.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return ""
	}
	return string(text)
}

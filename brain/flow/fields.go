package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sipio/sipio/brain"
)

// Bounds of parameters.
const (
	maxName    = 64
	maxText    = 4 << 10
	maxRegex   = 200
	maxList    = 100
	maxHeaders = 20
)

// mistakes gathers what is wrong with a graph, all at once.
type mistakes struct{ list []brain.FieldError }

func (m *mistakes) add(path, format string, args ...any) {
	if len(m.list) < maxList {
		m.list = append(m.list, brain.FieldError{Path: path, Text: fmt.Sprintf(format, args...)})
	}
}

// fields reads the parameters of one step. Each reader takes its field; what is left at the end is unknown.
type fields struct {
	*mistakes
	path string // of the object, without the dot
	raw  map[string]json.RawMessage
	refs []reference
}

// object begins to read a JSON object; nil when it is none.
func object(m *mistakes, path string, data json.RawMessage) *fields {
	f := &fields{mistakes: m, path: path}
	if err := json.Unmarshal(data, &f.raw); err != nil || f.raw == nil {
		m.add(path, "is not a JSON object")
		return nil
	}
	return f
}

func (f *fields) wrong(name, format string, args ...any) {
	f.add(f.path+"."+name, format, args...)
}

// take removes a field and decodes it into value; false when it is absent, null or of another type.
func (f *fields) take(name string, value any, what string) bool {
	raw, there := f.raw[name]
	delete(f.raw, name)
	if !there || string(bytes.TrimSpace(raw)) == "null" {
		return false
	}
	if err := json.Unmarshal(raw, value); err != nil {
		f.wrong(name, "is not %s", what)
		return false
	}
	return true
}

// rest complains of every field that nobody took.
func (f *fields) rest(kind string) {
	for _, name := range slices.Sorted(maps.Keys(f.raw)) {
		f.wrong(cut(name, maxName), "is not a parameter of %s", kind)
	}
}

// text reads a string of at most limit bytes on one line.
func (f *fields) text(name string, limit int) string {
	var s string
	f.take(name, &s, "a string")
	if len(s) > limit || !printable(s) {
		f.wrong(name, "must be at most %d bytes of UTF-8 without control characters", limit)
	}
	return s
}

func (f *fields) required(name string, limit int) string {
	s := f.text(name, limit)
	if s == "" {
		f.wrong(name, "is required")
	}
	return s
}

// number reads a whole number, otherwise when it is absent; low ≤ n ≤ high.
func (f *fields) number(name string, otherwise, low, high int) int {
	n := otherwise
	f.take(name, &n, "a whole number")
	if n < low || n > high {
		f.wrong(name, "must be from %d to %d, not %d", low, high, n)
	}
	return n
}

func (f *fields) boolean(name string, otherwise bool) bool {
	b := otherwise
	f.take(name, &b, "true or false")
	return b
}

func (f *fields) oneOf(name, otherwise string, allowed ...string) string {
	s := f.text(name, maxName)
	if s == "" {
		s = otherwise
	}
	if !slices.Contains(allowed, s) {
		f.wrong(name, "must be one of %s, not %s", strings.Join(allowed, ", "), quote(s))
	}
	return s
}

// template reads a text with variables in it; more than one line is allowed.
func (f *fields) template(name string) template {
	var s string
	f.take(name, &s, "a string")
	return f.parse(name, s)
}

func (f *fields) parse(name, src string) template {
	t, err := parseTemplate(src)
	if err != nil {
		f.wrong(name, "%v", err)
	}
	return t
}

// templates reads an object of templates whose names all pass the check.
func (f *fields) templates(name string, limit int, check func(string) string) map[string]template {
	src := f.strings(name, limit)
	out := make(map[string]template, len(src))
	for _, key := range slices.Sorted(maps.Keys(src)) {
		if fault := check(key); fault != "" {
			f.wrong(name, "%s %s", quote(key), fault)
			continue
		}
		out[key] = f.parse(name+"."+key, src[key])
	}
	return out
}

func (f *fields) strings(name string, limit int) map[string]string {
	var src map[string]string
	f.take(name, &src, "an object of strings")
	if len(src) > limit {
		f.wrong(name, "has %d entries, more than %d", len(src), limit)
		return nil
	}
	return src
}

// ref reads the id of a resource of a kind, "" when there is none.
func (f *fields) ref(name string, kind brain.Kind) string {
	id := f.text(name, maxID)
	if id != "" {
		f.refs = append(f.refs, reference{f.path + "." + name, kind, id})
	}
	return id
}

func (f *fields) requiredRef(name string, kind brain.Kind) string {
	id := f.ref(name, kind)
	if id == "" {
		f.wrong(name, "is required")
	}
	return id
}

// variable reads the name of a variable that the step sets.
func (f *fields) variable(name string) string {
	s := f.text(name, maxName)
	if fault := badVariable(s); s != "" && fault != "" {
		f.wrong(name, "%s %s", quote(s), fault)
	}
	return s
}

// regex reads a regular expression (RE2: its work grows with the text only).
func (f *fields) regex(name, before, after string) *regexp.Regexp {
	src := f.text(name, maxRegex)
	if src == "" {
		return nil
	}
	re, err := regexp.Compile(before + src + after)
	if err != nil {
		f.wrong(name, "is not a regular expression: %v", err)
	}
	return re
}

func badVariable(name string) string {
	if !variableName.MatchString(name) {
		return "is not the name of a variable: a letter or _, then letters, digits, _ . -, at most 64"
	}
	return ""
}

// printable says whether the text is UTF-8 and stays on its line wherever it is written.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp)
	})
}

// list reads a list of objects, 1 to maxList when it is there.
func (f *fields) list(name string, read func(item *fields)) {
	var items []json.RawMessage
	if !f.take(name, &items, "a list") {
		return
	}
	if len(items) == 0 || len(items) > maxList {
		f.wrong(name, "must be 1 to %d", maxList)
		return
	}
	for i, raw := range items {
		if item := object(f.mistakes, fmt.Sprintf("%s.%s[%d]", f.path, name, i), raw); item != nil {
			read(item)
		}
	}
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/sipio/sipio/brain"
)

// Limits of a declarative document. Anchors and aliases are refused altogether, so that a small file
// cannot stand for a huge one.
const (
	MaxDocumentBytes = 8 << 20
	MaxDocuments     = 200_000
	maxMistakes      = 1000 // listed; a file with more is wrong in a way that a list does not help with
)

// declared is the kinds that a document may declare. API keys are not: their secret is shown once.
var declared = []brain.Kind{brain.KindAccount, brain.KindSIPDomain, brain.KindNode, brain.KindSIPUser,
	brain.KindSIPDevice, brain.KindRingGroup, brain.KindExtension}

// document is one resource as a file declares it. References in the resource are names until resolved.
type document struct {
	kind          brain.Kind
	account, name string
	line          int
	lines         map[string]int // by path below spec, and of account and name
	resource      brain.Resource
}

// place is how a mistake in the document is called: the document and the path in it.
func (d *document) place(path string) string { return fmt.Sprintf("%s %q: %s", d.kind, d.name, path) }

// fieldPlace is the place and the line of a field of the resource.
func (d *document) fieldPlace(field string) (place string, line int) {
	if isName(d.kind, field) {
		return d.place("name"), d.lineOf("name")
	}
	return d.place("spec." + field), d.lineOf("spec." + field)
}

// lineOf is the line of a path, or of the nearest thing around it that is written down.
func (d *document) lineOf(path string) int {
	for path != "" {
		if line := d.lines[path]; line > 0 {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.line
}

// file is what parsing a text gives: documents, and mistakes.
type file struct {
	docs     []*document
	mistakes mistakes
}

// mistakes gathers what is wrong, one mistake a place.
type mistakes struct {
	list []brain.FieldError
	told map[string]bool
}

func (m *mistakes) add(place string, line int, format string, args ...any) {
	key := place + "\x00" + strconv.Itoa(line)
	if m.told[key] || len(m.list) > maxMistakes {
		return
	}
	if m.told == nil {
		m.told = make(map[string]bool)
	}
	m.told[key] = true
	text := fmt.Sprintf(format, args...)
	if len(m.list) == maxMistakes {
		place, line, text = "file", 0, fmt.Sprintf("has more than %d mistakes; the others are not listed", maxMistakes)
	}
	m.list = append(m.list, brain.FieldError{Path: place, Line: line, Text: text})
}

// sorted returns the mistakes in the order of the lines, those without a line last.
func (m *mistakes) sorted() []brain.FieldError {
	slices.SortStableFunc(m.list, func(a, b brain.FieldError) int {
		return int(uint(a.Line-1)>>1) - int(uint(b.Line-1)>>1)
	})
	return m.list
}

// parse reads YAML documents. Each stretch between two lines of "---" is read by itself, so that a
// mistake in the syntax of one does not hide the others.
func parse(text []byte) *file {
	f := &file{}
	switch {
	case len(text) > MaxDocumentBytes:
		f.mistakes.add("file", 0, "has %d bytes, more than %d", len(text), MaxDocumentBytes)
		return f
	case !utf8.Valid(text):
		f.mistakes.add("file", 0, "is not UTF-8")
		return f
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	for start, line := 0, 0; start < len(text); {
		end := nextDocument(text, start)
		f.stretch(text[start:end], line)
		line += bytes.Count(text[start:end], []byte("\n"))
		start = end
		if len(f.docs) > MaxDocuments {
			f.mistakes.add("file", 0, "has more than %d documents", MaxDocuments)
			return f
		}
	}
	return f
}

// nextDocument finds the next line of "---" after the one at start. YAML allows one in column 0
// nowhere but between documents, not even in a block scalar.
func nextDocument(text []byte, start int) int {
	for at := start; ; {
		i := bytes.Index(text[at:], []byte("\n---"))
		if i < 0 {
			return len(text)
		}
		at += i + 1
		if after := at + 3; after == len(text) || bytes.IndexByte([]byte(" \t\r\n"), text[after]) >= 0 {
			return at
		}
	}
}

func (f *file) stretch(text []byte, lineOffset int) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var n yaml.Node
		err := decoder.Decode(&n)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			f.syntax(err, lineOffset)
			return
		}
		if len(n.Content) == 1 {
			shift(&n, lineOffset)
			f.top(n.Content[0])
		}
	}
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax tells a mistake of YAML itself, with the line in the file instead of that in the stretch.
func (f *file) syntax(err error, lineOffset int) {
	text, line := err.Error(), 1
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if m[1] != "" {
			line, _ = strconv.Atoi(m[1])
		}
	}
	if strings.Contains(text, "anchor") || strings.Contains(text, "alias") {
		text += " (write a value that begins with * or & in quotes)"
	}
	f.mistakes.add("yaml", line+lineOffset, "%s", text)
}

func shift(n *yaml.Node, lines int) {
	n.Line += lines
	for _, c := range n.Content {
		shift(c, lines)
	}
}

// top takes a document: one resource, or a list of them.
func (f *file) top(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		f.document(n)
		return
	}
	for _, item := range n.Content {
		f.document(item)
		if len(f.docs) > MaxDocuments {
			return
		}
	}
}

func (f *file) document(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // nothing but comments
	}
	d := &document{line: n.Line, lines: make(map[string]int)}
	p := &decoding{f: f, doc: d}
	keys := p.mapping(n, "document")
	d.kind = brain.Kind(p.required(keys, "kind"))
	if d.kind == "" {
		return
	}
	if !slices.Contains(declared, d.kind) {
		f.mistakes.add("kind", keys["kind"].Line, "%q is none of %s", string(d.kind), kindList())
		return
	}
	d.name = p.required(keys, "name")
	platform := d.kind == brain.KindAccount || d.kind == brain.KindNode
	switch {
	case !platform:
		d.account = p.required(keys, "account")
	case keys["account"] != nil:
		p.add("account", keys["account"].Line, "%s belongs to no account", d.kind)
	}
	for key, value := range keys {
		d.lines[key] = value.Line
		if !slices.Contains([]string{"kind", "account", "name", "spec"}, key) {
			p.add(key, value.Line, "is unknown: a document has kind, account, name and spec")
		}
	}
	d.resource = brain.NewResource(d.kind)
	setName(d.resource, d.name)
	if spec := keys["spec"]; spec != nil && spec.Tag != "!!null" {
		p.structure(spec, reflect.ValueOf(d.resource).Elem(), "spec")
	}
	if d.name != "" && (platform || d.account != "") {
		f.docs = append(f.docs, d)
	}
}

func kindList() string {
	names := make([]string, len(declared))
	for i, k := range declared {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// decoding reads one document.
type decoding struct {
	f   *file
	doc *document
}

func (p *decoding) add(path string, line int, format string, args ...any) {
	place := path
	if p.doc.kind != "" {
		place = p.doc.place(path)
	}
	p.f.mistakes.add(place, line, format, args...)
}

// mapping returns the values of a mapping by their keys, nil when it is none. Keys written twice are told.
func (p *decoding) mapping(n *yaml.Node, path string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode || n.Anchor != "" {
		p.wrong(n, path, "fields with values")
		return nil
	}
	m := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "":
			p.wrong(key, path, "names of fields as keys")
		case m[key.Value] != nil:
			p.add(below(path, key.Value), key.Line, "is given twice")
		default:
			m[key.Value] = value
			if value.Kind != yaml.ScalarNode || value.Style == 0 {
				value.Line = min(value.Line, max(key.Line, 1))
			}
		}
	}
	return m
}

func below(path, key string) string {
	if path == "document" {
		return key
	}
	return path + "." + key
}

// wrong tells that a node is not of the type wanted.
func (p *decoding) wrong(n *yaml.Node, path, want string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		p.add(path, n.Line, "anchors and aliases are refused; write a value that begins with * or & in quotes")
		return
	}
	got := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}[n.Kind]
	if n.Kind == yaml.ScalarNode {
		got = strconv.Quote(cut(n.Value))
	}
	p.add(path, n.Line, "must be %s, not %s", want, got)
}

func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// required returns a string that every document must have, "" after telling that it has not.
func (p *decoding) required(keys map[string]*yaml.Node, key string) string {
	n := keys[key]
	if n == nil {
		if keys != nil {
			p.add(key, p.doc.line, "is required")
		}
		return ""
	}
	before := len(p.f.mistakes.list)
	value := ""
	p.value(n, reflect.ValueOf(&value).Elem(), key)
	if value == "" && len(p.f.mistakes.list) == before {
		p.add(key, n.Line, "is required")
	}
	return value
}

// structure fills a struct from a mapping.
func (p *decoding) structure(n *yaml.Node, v reflect.Value, path string) {
	known := make(map[string]reflect.Value, v.NumField())
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		known[name] = v.Field(i)
	}
	top := path == "spec"
	keys := p.mapping(n, path)
	for i := 0; keys != nil && i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		value := keys[name]
		if value != n.Content[i+1] {
			continue // written twice, or no name
		}
		target, ok := known[name]
		p.doc.lines[path+"."+name] = value.Line
		switch {
		case !ok || name == "-" || top && (name == "id" || name == "account_id"):
			p.add(path+"."+name, value.Line, "is no field of %s", p.doc.kind)
		case top && isName(p.doc.kind, name):
			p.add(path+"."+name, value.Line, "is given by the document's name")
		default:
			p.value(value, target, path+"."+name)
		}
	}
}

// value fills one field. Where text is wanted a whole number will do as it is written, because
// extension numbers look like one.
func (p *decoding) value(n *yaml.Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		p.structure(n, v, path)
		return
	case reflect.Slice:
		p.list(n, v, path)
		return
	case reflect.Pointer:
		text := ""
		p.value(n, reflect.ValueOf(&text).Elem(), path)
		if text != "" {
			v.Set(reflect.ValueOf(&text))
		}
		return
	}
	if n.Kind != yaml.ScalarNode || n.Anchor != "" {
		p.wrong(n, path, map[reflect.Kind]string{reflect.String: "text", reflect.Int: "a whole number", reflect.Bool: "true or false"}[v.Kind()])
		return
	}
	tag := n.ShortTag()
	switch v.Kind() {
	case reflect.String:
		if tag != "!!str" && tag != "!!int" {
			p.wrong(n, path, "text (in quotes)")
			return
		}
		v.SetString(n.Value)
	case reflect.Int:
		number, err := strconv.Atoi(n.Value)
		if tag != "!!int" || err != nil {
			p.wrong(n, path, "a whole number")
			return
		}
		v.SetInt(int64(number))
	case reflect.Bool:
		if tag != "!!bool" {
			p.wrong(n, path, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	}
}

// maxItems bounds every list of a resource before its own limit is looked at.
const maxItems = 1000

func (p *decoding) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode || n.Anchor != "" {
		p.wrong(n, path, "a list")
		return
	}
	if len(n.Content) > maxItems {
		p.add(path, n.Line, "has %d items, more than %d", len(n.Content), maxItems)
		return
	}
	for i, item := range n.Content {
		element := reflect.New(v.Type().Elem()).Elem()
		at := fmt.Sprintf("%s[%d]", path, i)
		p.doc.lines[at] = item.Line
		p.value(item, element, at)
		v.Set(reflect.Append(v, element))
	}
}

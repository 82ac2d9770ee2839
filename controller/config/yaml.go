package config

import (
	"bytes"
	"cmp"
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

// declared is the kinds that a document may declare. API keys are not: their secret is shown once. Messages of
// mailboxes are not: the platform makes them.
var declared = []brain.Kind{brain.KindAccount, brain.KindSIPDomain, brain.KindNode, brain.KindRatePlan, brain.KindConsoleUser, brain.KindTimeSchedule, brain.KindMediaFile,
	brain.KindMediaPlaylist, brain.KindVoicemail, brain.KindConference, brain.KindSIPUser, brain.KindSIPDevice, brain.KindRingGroup,
	brain.KindQueue, brain.KindAgentQueueAssignment, brain.KindInQueueOption, brain.KindCallFlow, brain.KindExtension, brain.KindDID, brain.KindSecret,
	brain.KindSIPTrunk, brain.KindOutboundRoute, brain.KindForward, brain.KindCallLimit}

// document is one resource as a file declares it:
//
//	kind: sip_device
//	account: acme            # absent for account and node, and for a rate_plan or console_user of the platform
//	name: 1001@acme.test     # the name people use: domain, username, auth_username@realm, digits, e164, email, queue/username, queue/digit, name
//	spec:                    # the other fields, named as in JSON; what is left out has its default
//	  user_id: "1001"        # a reference is the name of the resource, in the same account
//	  password: secret
//
// References in the resource are names until they are resolved.
type document struct {
	kind          brain.Kind
	account, name string
	line          int
	lines         map[string]int // by path below spec, and of account and name
	resource      brain.Resource
}

// place is how a mistake in the document is called: the document and the path in it.
func (d *document) place(path string) string {
	return fmt.Sprintf("%s %q: %s", d.kind, cut(d.name), path)
}

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
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
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
	for start, line, stretches := 0, 0, 0; start < len(text); stretches++ {
		end := nextDocument(text, start)
		f.stretch(text[start:end], line)
		line += bytes.Count(text[start:end], []byte("\n"))
		start = end
		if max(len(f.docs), stretches) > MaxDocuments {
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
			f.syntax(err, text, lineOffset)
			return
		}
		if len(n.Content) == 1 {
			shift(&n, lineOffset)
			f.top(n.Content[0])
		}
	}
}

var (
	syntaxLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	parserFault  = regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key|',' or)`)
	unknownAlias = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntax tells a mistake of YAML itself, with the line in the file instead of that in the stretch. The
// library counts lines from 0 in faults of its parser, from 1 in those of its scanner, and gives none
// for the first line and for unknown anchors.
func (f *file) syntax(err error, stretch []byte, lineOffset int) {
	text, line := err.Error(), 1
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
			if parserFault.MatchString(text) {
				line++
			}
		}
	}
	line = min(line, 1+bytes.Count(bytes.TrimRight(stretch, "\n"), []byte("\n"))) // not the end of the file
	m := unknownAlias.FindStringSubmatch(text)
	text = cut(text)
	if m != nil {
		text += " (write a value that begins with * in quotes)"
		if i := bytes.Index(stretch, []byte("*"+m[1])); i > 0 {
			line += bytes.Count(stretch[:i], []byte("\n"))
		}
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
		f.mistakes.add("kind", keys["kind"].Line, "%q is none of %s", cut(string(d.kind)), kindList())
		return
	}
	d.name = p.required(keys, "name")
	platform := d.kind == brain.KindAccount || d.kind == brain.KindNode
	switch {
	case maybePlatform(d.kind) && keys["account"] == nil:
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
	if form := nameForm[d.kind]; d.name != "" && !strings.Contains(d.name, form.separator) {
		p.add("name", keys["name"].Line, "must be %s, not %q", form.text, cut(d.name))
	}
	d.resource = brain.NewResource(d.kind)
	setName(d.resource, d.name)
	if spec := keys["spec"]; spec != nil && spec.Tag != "!!null" {
		p.structure(spec, reflect.ValueOf(d.resource).Elem(), "spec")
	}
	if d.name != "" {
		f.docs = append(f.docs, d)
	}
}

// nameForm says how names look that have two parts.
var nameForm = map[brain.Kind]struct{ separator, text string }{
	brain.KindSIPDevice:            {"@", "auth_username@realm"},
	brain.KindAgentQueueAssignment: {"/", "queue/username"},
	brain.KindInQueueOption:        {"/", "queue/digit"},
}

func kindList() string {
	names := make([]string, len(declared))
	for i, k := range declared {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/pin"
	"github.com/sipio/sipio/controller/secret"
)

// baseDocument is what a reader has gone through before any other: its examples are applied first.
const baseDocument = "docs/operating.md"

// fragmentMark is the comment by which a block says that it is a part of a file and is not to be applied as it stands.
const fragmentMark = "# a part:"

// block is a fenced block of a document, or the here document in one that makes a YAML file.
type block struct {
	doc  string
	line int // of its first line, from 1
	yaml bool
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.doc, b.line) }

var (
	hereDocument = regexp.MustCompile(`<<'([A-Z]+)'`)
	secretSet    = regexp.MustCompile(`sipio secret set (\S+) --account ([a-z0-9-]+)`)
	configLine   = regexp.MustCompile(`(?m)^[-{ ]*kind: `)
)

// blocksOf returns the fenced blocks of a document, in order.
func blocksOf(doc, text string) []block {
	var out []block
	var b *block // the block that the line is in
	end := ""    // line that ends it
	for i, line := range strings.Split(text, "\n") {
		switch here := hereDocument.FindStringSubmatch(line); {
		case b == nil && strings.HasPrefix(line, "```"):
			b, end = &block{doc: doc, line: i + 2, yaml: strings.TrimPrefix(line, "```") == "yaml"}, "```"
		case b == nil:
		case line == end:
			out = append(out, *b)
			if b = nil; end != "```" {
				b, end = &block{doc: doc, line: i + 2}, "```"
			}
		case end == "```" && !b.yaml && here != nil && strings.Contains(line, "yaml"):
			out = append(out, *b)
			b, end = &block{doc: doc, line: i + 2, yaml: true}, here[1]
		default:
			b.text += line + "\n"
		}
	}
	return out
}

// documents are all that are written by hand for operators, the base first.
func documents(t *testing.T) []string {
	root := filepath.Dir(testFolder(t))
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(found) < 10 {
		t.Fatalf("documents: %v %v", found, err)
	}
	list := []string{baseDocument, "README.md", "ansible/README.md"}
	for _, path := range found {
		if doc := "docs/" + filepath.Base(path); doc != baseDocument && doc != "docs/cli.md" && doc != "docs/protocol.md" {
			list = append(list, doc)
		}
	}
	return list
}

func readDocument(t *testing.T, doc string) string {
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(testFolder(t)), doc))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestDocs_ExamplesApplyAsPrinted(t *testing.T) {
	// Proves that a reader may apply every example of configuration as it is printed, in the order of its document: each YAML block
	// is applied to a real store that has gone through docs/operating.md, and none may take away what an earlier one has set
	// without saying so. A block that is not to be applied says that it is a part.
	base := blocksOf(baseDocument, readDocument(t, baseDocument))
	found := 0
	for _, doc := range documents(t) {
		found += strings.Count(readDocument(t, doc), "\nkind: ")
		t.Run(doc, func(t *testing.T) {
			blocks := blocksOf(doc, readDocument(t, doc))
			if !slices.ContainsFunc(blocks, func(b block) bool { return configLine.MatchString(b.text) }) {
				return
			}
			if doc != baseDocument {
				blocks = slices.Concat(base, blocks)
			}
			store := exampleStore(t)
			for _, b := range blocks {
				example(t, store, b)
			}
		})
	}
	if found < 40 {
		t.Errorf("only %d resources are in the examples: are the documents still read?", found)
	}
}

// example applies a block, if it is configuration, or sets the secrets that its commands set.
func example(t *testing.T, store *config.Store, b block) {
	for _, set := range secretSet.FindAllStringSubmatch(b.text, -1) {
		doc := fmt.Sprintf("{kind: secret, account: %s, name: %s, spec: {value: given by hand}}", set[2], set[1])
		if _, _, err := store.Apply(t.Context(), "reader", []byte(doc), brain.ApplyOptions{}); err != nil {
			t.Fatalf("%s: secret %s: %v", b, set[1], err)
		}
	}
	switch {
	case !b.yaml && configLine.MatchString(b.text):
		t.Errorf("%s: configuration stands in a block that is not marked ```yaml, or runs together with something else", b)
		return
	case !b.yaml || strings.Contains(b.text, fragmentMark):
		return
	}
	plan, _, err := store.Apply(t.Context(), "reader", []byte(b.text), brain.ApplyOptions{})
	if err != nil {
		t.Errorf("%s cannot be applied (a part of a file says so with a line %q): %v", b, fragmentMark, err)
		return
	}
	for _, item := range plan.Items {
		for _, f := range item.Fields {
			field := f.Field[strings.LastIndex(f.Field, ".")+1:] // skills.french
			if f.Old != "" && !regexp.MustCompile(`\b`+regexp.QuoteMeta(field)+`:`).MatchString(b.text) {
				t.Errorf("%s takes %s of %s %s away, %s → %s, and does not say so", b, f.Field, item.Kind, item.Name, f.Old, f.New)
			}
		}
	}
}

// exampleStore is the configuration of a brain that was just started, with keys to seal secrets.
func exampleStore(t *testing.T) *config.Store {
	dir := t.TempDir()
	store, err := config.Open(t.Context(), filepath.Join(dir, "config.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	box, err := secret.Open(filepath.Join(dir, "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	store.Secrets = config.Sealer{Seal: box.Seal, Open: box.Open}
	store.PINs = config.PINs{Seal: pin.Seal, Check: pin.Check}
	return store
}

var (
	commandHead = regexp.MustCompile("(?m)^## (sipio[a-z -]*)$")
	spokenOf    = regexp.MustCompile("`((?:bin/)?sipio [^`]*)`")
	typed       = regexp.MustCompile(`(?:^|[|;&(] *|bin/)sipio (\S[^|;&>)#]*)`)
	usedFlag    = regexp.MustCompile(`(?:^|[ \[])(--[a-z][a-z0-9-]*)`)
)

// commands are the sections of docs/cli.md by command; what stands before the first is "".
func commandSections(t *testing.T) map[string]string {
	text := readDocument(t, "docs/cli.md")
	out := map[string]string{}
	at, name := 0, ""
	for _, m := range commandHead.FindAllStringSubmatchIndex(text, -1) {
		out[name] = text[at:m[0]]
		at, name = m[1], text[m[2]:m[3]]
	}
	out[name] = text[at:]
	return out
}

func TestDocs_CommandsAreThere(t *testing.T) {
	// Proves that every command of sipio in the documents, in a block or in a sentence, is one of docs/cli.md with flags that it has. A
	// sentence may name a group of commands, such as sipio ban, alone.
	sections := commandSections(t)
	seen := 0
	check := func(where, words string, mayBeGroup bool) {
		seen++
		if problem := commandProblem(sections, words, mayBeGroup); problem != "" {
			t.Errorf("%s: sipio %s: %s", where, strings.TrimSpace(words), problem)
		}
	}
	for _, doc := range documents(t) {
		text := readDocument(t, doc)
		for _, b := range blocksOf(doc, text) {
			for i, line := range strings.Split(b.text, "\n") {
				for _, m := range typed.FindAllStringSubmatch(line, -1) {
					check(fmt.Sprintf("%s:%d", doc, b.line+i), m[1], false)
				}
			}
		}
		for i, line := range strings.Split(text, "\n") {
			for _, m := range spokenOf.FindAllStringSubmatch(line, -1) {
				check(fmt.Sprintf("%s:%d", doc, i+1), strings.SplitN(m[1], "sipio ", 2)[1], true)
			}
		}
	}
	if seen < 150 {
		t.Errorf("only %d commands were found: do the patterns still work?", seen)
	}
}

// commandProblem says what is wrong with the words after sipio, "" when nothing is.
func commandProblem(sections map[string]string, words string, mayBeGroup bool) string {
	name, section, group := "sipio", "", true
	for _, word := range strings.Fields(words) {
		word, _, _ = strings.Cut(word, "|") // list|show
		next := name + " " + word
		if _, leaf := sections[next]; leaf {
			name, section, group = next, sections[next], false
			break
		}
		if !isGroup(sections, next) {
			break
		}
		name = next
	}
	if group && (!mayBeGroup || name == "sipio" || len(strings.Fields(name)) != len(strings.Fields(words))+1) {
		return "no such command in docs/cli.md"
	}
	for _, m := range usedFlag.FindAllStringSubmatch(words, -1) {
		if !strings.Contains(section, "`"+m[1]+"`") && !strings.Contains(sections[""], "`"+m[1]+"`") {
			return "it has no flag " + m[1]
		}
	}
	return ""
}

func isGroup(sections map[string]string, name string) bool {
	for command := range sections {
		if strings.HasPrefix(command, name+" ") {
			return true
		}
	}
	return false
}

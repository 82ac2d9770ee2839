package test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"text/template"
)

var update = flag.Bool("update", false, "rewrite docs/protocol.md to what the code says now")

const (
	protocolDoc      = "docs/protocol.md"
	protocolTemplate = "testdata/protocol.md.tmpl"
)

func TestProtocol_TheDocumentIsFresh(t *testing.T) {
	// Proves that docs/protocol.md says what the code does: its tables are made from the Go types of the wire,
	// its examples are exchanges with the real endpoints and the real door, made anew here.
	root := filepath.Dir(testFolder(t))
	wire := parseWire(t, filepath.Join(root, "brain"), filepath.Join(root, "brain", "api"), filepath.Join(root, "controller", "endpoint"))
	examples := protocolExamples(t)
	page, err := template.New(filepath.Base(protocolTemplate)).Funcs(template.FuncMap{
		"fields": wire.fields, "doc": wire.doc, "consts": wire.consts, "value": wire.value,
		"example": func(name string) (string, error) {
			if examples[name] == "" {
				return "", fmt.Errorf("no example is called %q", name)
			}
			return examples[name], nil
		},
		"answer": func(name string) (string, error) { // without the question
			_, answer, ok := strings.Cut(examples[name], "→")
			if !ok {
				return "", fmt.Errorf("no example is called %q", name)
			}
			return "→" + answer, nil
		},
	}).ParseFiles(filepath.Join(testFolder(t), protocolTemplate))
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := page.Execute(&want, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, protocolDoc)
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want.Bytes()) {
		t.Errorf("%s is stale, from %q on: go test ./test -run TestProtocol -update", protocolDoc, firstDifference(string(have), want.String()))
	}
}

// firstDifference is the line of want at which two texts part.
func firstDifference(have, want string) string {
	lines := strings.Split(have, "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(lines) || lines[i] != line {
			return line
		}
	}
	return "the end"
}

// wireTypes are the declarations that make the protocol, by name.
type wireTypes struct {
	structs  map[string]*ast.StructType
	comments map[string]string
	constant []constant
}

// constant is one exported constant: its name, its literal and its comment.
type constant struct{ name, value, comment string }

// parseWire reads the exported types and constants of packages.
func parseWire(t *testing.T, dirs ...string) *wireTypes {
	t.Helper()
	w := &wireTypes{structs: map[string]*ast.StructType{}, comments: map[string]string{}}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no Go files in %s (%v)", dir, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				if gen, ok := decl.(*ast.GenDecl); ok {
					w.take(gen)
				}
			}
		}
	}
	return w
}

func (w *wireTypes) take(gen *ast.GenDecl) {
	for _, spec := range gen.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if st, ok := s.Type.(*ast.StructType); ok && s.Name.IsExported() {
				w.structs[s.Name.Name], w.comments[s.Name.Name] = st, flat(gen.Doc)
			}
		case *ast.ValueSpec:
			if lit, ok := literal(s); ok && gen.Tok == token.CONST && s.Names[0].IsExported() {
				w.constant = append(w.constant, constant{s.Names[0].Name, lit, flat(s.Comment)})
			}
		}
	}
}

func literal(s *ast.ValueSpec) (string, bool) {
	if len(s.Values) != 1 {
		return "", false
	}
	lit, ok := s.Values[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	if text, err := strconv.Unquote(lit.Value); err == nil {
		return text, true
	}
	return lit.Value, true
}

// flat is a comment in one line.
func flat(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// doc is what a type says of itself.
func (w *wireTypes) doc(name string) (string, error) {
	if w.comments[name] == "" {
		return "", fmt.Errorf("type %s has no comment", name)
	}
	return w.comments[name], nil
}

// value is the literal of a constant.
func (w *wireTypes) value(name string) (string, error) {
	for _, c := range w.constant {
		if c.name == name {
			return c.value, nil
		}
	}
	return "", fmt.Errorf("no constant is called %s", name)
}

// consts is a table of the constants whose names begin with prefix.
func (w *wireTypes) consts(prefix string) (string, error) {
	var b strings.Builder
	b.WriteString("| value | meaning |\n|---|---|\n")
	n := b.Len()
	for _, c := range w.constant {
		if strings.HasPrefix(c.name, prefix) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", c.value, cell(c.comment))
		}
	}
	if b.Len() == n {
		return "", fmt.Errorf("no constant begins with %s", prefix)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// fields is a table of a struct's fields as JSON has them. An embedded struct is one row that names it.
func (w *wireTypes) fields(name string) (string, error) {
	st := w.structs[name]
	if st == nil {
		return "", fmt.Errorf("no type is called %s", name)
	}
	var b strings.Builder
	b.WriteString("| field | type | |\n|---|---|---|\n")
	for _, f := range st.Fields.List {
		if len(f.Names) == 0 {
			embedded := w.jsonType(f.Type)
			fmt.Fprintf(&b, "| … | | and the fields of %s |\n", embedded)
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			return "", fmt.Errorf("%s.%s: %w", name, f.Names[0], err)
		}
		jsonName, options, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		kind := w.jsonType(f.Type)
		if strings.Contains(options, "omitempty") {
			kind += ", optional"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", jsonName, kind, cell(flat(f.Comment)))
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// jsonType is a Go type in the words of JSON; a struct is called by its name.
func (w *wireTypes) jsonType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return w.jsonType(e.X)
	case *ast.SelectorExpr:
		return w.jsonType(e.Sel)
	case *ast.ArrayType:
		return "array of " + w.jsonType(e.Elt)
	case *ast.MapType:
		return "object of " + w.jsonType(e.Value)
	case *ast.Ident:
		switch e.Name {
		case "int", "int64":
			return "number"
		case "bool":
			return "boolean"
		}
		if w.structs[e.Name] == nil {
			return "string" // or a type made of one
		}
		return e.Name
	}
	return "?"
}

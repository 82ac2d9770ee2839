package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fault is one place of a file below brain, where from stands once, inside a function: to is what is planted there.
type fault struct{ name, file, from, to string }

// faultVariable of the environment names the fault that is in force in a build of plantAll.
const faultVariable = "SIPIO_PLANTED_FAULT"

// plantAll builds the tests of this package with all faults in it (go test -overlay) and returns the binary. The function that a fault is in
// is there twice, as it is and with the fault, and begins with a switch to the other.
func plantAll(t *testing.T, faults []fault) (binary string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]*planted{}
	for i, f := range faults {
		if slices.ContainsFunc(faults[:i], func(o fault) bool { return o.name == f.name }) {
			t.Fatalf("two faults are called %q", f.name)
		}
		p := files[f.file]
		if p == nil {
			source, err := os.ReadFile(filepath.Join("..", f.file))
			if err != nil {
				t.Fatal(err)
			}
			p = &planted{source: string(source)}
			files[f.file] = p
		}
		if err := p.plant(fmt.Sprintf("Planted%d", i), f); err != nil {
			t.Fatalf("%s: %s: %v", f.name, f.file, err)
		}
	}
	replace := map[string]string{}
	put := func(path, text string) {
		path, err := filepath.Abs(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		if replace[path] != "" { // of another file of the folder
			return
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, p := range files {
		put(path, p.text())
		folder := filepath.Dir(path)
		put(folder+"/planted_fault.go", fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar plantedFault = os.Getenv(%q)\n", filepath.Base(folder), faultVariable))
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// planted is a file with its faults.
type planted struct {
	source   string
	copies   []string // functions with a fault
	switches []insert
}

type insert struct {
	at   int // byte of source
	text string
}

// plant adds a fault; suffix is for the name of the function that has it.
func (p *planted) plant(suffix string, f fault) error {
	if strings.Count(p.source, f.from) != 1 {
		return fmt.Errorf("%q is not there once: the fault is of another version", f.from)
	}
	at := strings.Index(p.source, f.from)
	mutated := strings.Replace(p.source, f.from, f.to, 1)
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, f.file, mutated, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	offset := func(pos token.Pos) int { return files.Position(pos).Offset }
	for _, decl := range parsed.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || at <= offset(fn.Body.Lbrace) || at+len(f.to) > offset(fn.End()) {
			continue
		}
		call, err := callOf(fn, fn.Name.Name+suffix)
		if err != nil {
			return err
		}
		p.copies = append(p.copies, mutated[offset(fn.Pos()):offset(fn.Name.End())]+suffix+mutated[offset(fn.Name.End()):offset(fn.End())])
		p.switches = append(p.switches, insert{offset(fn.Body.Lbrace) + 1, fmt.Sprintf("\nif plantedFault == %q {\n%s\n}\n", f.name, call)})
		return nil
	}
	return fmt.Errorf("%q is in no function", f.from)
}

// callOf writes the call by which fn hands over to a function of that name with the same parameters.
func callOf(fn *ast.FuncDecl, name string) (string, error) {
	names := func(list *ast.FieldList) (all []string, err error) {
		for _, field := range list.List {
			for _, n := range field.Names {
				all = append(all, n.Name)
			}
			if len(field.Names) == 0 || slices.Contains(all, "_") {
				return nil, fmt.Errorf("%s has parameters without a name", fn.Name.Name)
			}
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				all[len(all)-1] += "..."
			}
		}
		return all, nil
	}
	args, err := names(fn.Type.Params)
	if err != nil {
		return "", err
	}
	if fn.Recv != nil {
		receiver, err := names(fn.Recv)
		if err != nil {
			return "", err
		}
		name = receiver[0] + "." + name
	}
	call := name + "(" + strings.Join(args, ", ") + ")"
	if fn.Type.Results == nil {
		return call + "\nreturn", nil
	}
	return "return " + call, nil
}

// text is the file with its faults in it.
func (p *planted) text() string {
	slices.SortStableFunc(p.switches, func(a, b insert) int { return cmp.Compare(a.at, b.at) })
	var b strings.Builder
	from := 0
	for _, s := range p.switches {
		b.WriteString(p.source[from:s.at] + s.text)
		from = s.at
	}
	return b.String() + p.source[from:] + "\n" + strings.Join(p.copies, "\n\n") + "\n"
}

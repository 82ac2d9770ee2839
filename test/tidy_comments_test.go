package test

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strings"
)

// --- comments

// interfaceMethods are known to every reader; a comment on them would repeat the name.
var interfaceMethods = []string{"Error", "String", "Unwrap", "Is", "As", "Close", "ServeHTTP", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "MarshalYAML", "UnmarshalYAML", "Len", "Less", "Swap"}

// commentFindings lists packages and exported names without a comment. A constant of a commented type
// of the same package is explained by the type, a method by the interface of its package that asks for
// it, and a function directly below an explained one (no blank line) by that one.
func commentFindings(files []goFile) []string {
	byDir := map[string][]goFile{}
	for _, f := range files {
		if !f.isTest() && !ast.IsGenerated(f.ast) {
			byDir[f.dir()] = append(byDir[f.dir()], f)
		}
	}
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		if !slices.ContainsFunc(byDir[dir], func(f goFile) bool { return f.ast.Doc != nil }) {
			out = append(out, dir+": no package comment: say in a sentence what the package is for")
		}
		explained := explainedNames(byDir[dir])
		for _, f := range byDir[dir] {
			out = append(out, undocumented(f, explained)...)
		}
	}
	return out
}

// explainedNames returns the commented types of a package, and the methods of its interfaces.
func explainedNames(files []goFile) map[string]bool {
	names := map[string]bool{}
	for _, f := range files {
		for _, decl := range f.ast.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				ts := spec.(*ast.TypeSpec)
				if gen.Doc != nil || ts.Doc != nil || ts.Comment != nil {
					names[ts.Name.Name] = true
				}
				if iface, ok := ts.Type.(*ast.InterfaceType); ok {
					for _, m := range iface.Methods.List {
						for _, n := range m.Names {
							names["method "+n.Name] = true
						}
					}
				}
			}
		}
	}
	return names
}

func undocumented(f goFile, explained map[string]bool) []string {
	var out []string
	add := func(name *ast.Ident) {
		out = append(out, f.at(name.Pos())+": exported "+name.Name+" has no comment that says why it is there")
	}
	lastLine, lastHadDoc := 0, false
	for _, decl := range f.ast.Decls {
		line := f.fset.Position(decl.Pos()).Line
		switch d := decl.(type) {
		case *ast.FuncDecl:
			shared := lastHadDoc && line == lastLine+1
			lastHadDoc = d.Doc != nil || shared || isKnownMethod(d, explained)
			if d.Name.IsExported() && receiverIsExported(d) && !lastHadDoc {
				add(d.Name)
			}
		case *ast.GenDecl:
			lastHadDoc = d.Doc != nil
			for _, name := range undocumentedSpecs(d, explained) {
				add(name)
			}
		}
		lastLine = f.fset.Position(decl.End()).Line
	}
	return out
}

func receiverIsExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func isKnownMethod(d *ast.FuncDecl, explained map[string]bool) bool {
	return d.Recv != nil && (explained["method "+d.Name.Name] || slices.Contains(interfaceMethods, d.Name.Name))
}

func undocumentedSpecs(d *ast.GenDecl, explained map[string]bool) []*ast.Ident {
	if d.Doc != nil {
		return nil
	}
	var out []*ast.Ident
	constType := ""
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && s.Comment == nil {
				out = append(out, s.Name)
			}
		case *ast.ValueSpec:
			if id, ok := s.Type.(*ast.Ident); ok {
				constType = id.Name
			} else if s.Values != nil {
				constType = ""
			}
			if s.Doc != nil || s.Comment != nil || (d.Tok == token.CONST && explained[constType]) {
				continue
			}
			for _, n := range s.Names {
				if n.IsExported() {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

// --- lengths

// Bounds of lengthFindings. 70 lines and 400-line files are where to stop and think; here it fails.
const (
	maxFuncLines = 100
	maxFileLines = 600
)

// measure is the length of a file or a function in lines.
type measure struct {
	lines int
	where string
}

func measures(files []goFile) (funcs, whole []measure) {
	for _, f := range files {
		if ast.IsGenerated(f.ast) {
			continue
		}
		if !strings.HasSuffix(f.path, "_test.go") {
			whole = append(whole, measure{strings.Count(f.src, "\n"), f.path})
		}
		for _, decl := range f.ast.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok {
				lines := f.fset.Position(d.End()).Line - f.fset.Position(d.Pos()).Line + 1
				funcs = append(funcs, measure{lines, f.at(d.Pos()) + " " + d.Name.Name})
			}
		}
	}
	for _, list := range [][]measure{funcs, whole} {
		slices.SortStableFunc(list, func(a, b measure) int { return b.lines - a.lines })
	}
	return funcs, whole
}

// longest prints the n longest functions and files.
func longest(files []goFile, n int) string {
	funcs, whole := measures(files)
	var b strings.Builder
	for _, list := range [][]measure{funcs, whole} {
		for _, m := range list[:min(n, len(list))] {
			fmt.Fprintf(&b, "%5d %s\n", m.lines, m.where)
		}
	}
	return b.String()
}

// lengthFindings lists functions and files past the bounds. Generated files are exempt, test files as a whole too.
func lengthFindings(files []goFile) []string {
	var out []string
	funcs, whole := measures(files)
	for _, m := range funcs {
		if m.lines > maxFuncLines {
			out = append(out, fmt.Sprintf("%s has %d lines, more than %d: what are the two things that it does?", m.where, m.lines, maxFuncLines))
		}
	}
	for _, m := range whole {
		if m.lines > maxFileLines {
			out = append(out, fmt.Sprintf("%s has %d lines, more than %d: which of its nouns deserves its own file?", m.where, m.lines, maxFileLines))
		}
	}
	return out
}

package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/sipio/sipio"

// goFile is one parsed Go file.
type goFile struct {
	path string // from the root of the repository, with slashes
	src  string
	fset *token.FileSet
	ast  *ast.File
}

func (f goFile) dir() string { return path.Dir(f.path) }

// isTest says whether the file never ends up in a program: a _test.go file, or anything below test/.
func (f goFile) isTest() bool {
	return strings.HasSuffix(f.path, "_test.go") || within(f.path, "test")
}

func (f goFile) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", f.path, f.fset.Position(pos).Line)
}

// imports calls visit for each import: its path, and the name it has in this file.
func (f goFile) imports(visit func(pos token.Pos, path, name string)) {
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(p)
		if p == "math/rand/v2" {
			name = "rand"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		visit(spec.Pos(), p, name)
	}
}

// uses calls visit for each mention of an exported name of a package: time.Now, called or not.
func (f goFile) uses(pkg string, visit func(pos token.Pos, name string)) {
	local := map[string]bool{}
	f.imports(func(_ token.Pos, p, name string) {
		if p == pkg {
			local[name] = true
		}
	})
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && local[id.Name] {
				visit(sel.Pos(), sel.Sel.Name)
			}
		}
		return true
	})
}

// parseGo parses sources (path → text) in the order of their paths.
func parseGo(sources map[string]string) ([]goFile, error) {
	var files []goFile
	for _, p := range slices.Sorted(maps.Keys(sources)) {
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, p, sources[p], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", p, err)
		}
		files = append(files, goFile{path: p, src: sources[p], fset: fset, ast: tree})
	}
	return files, nil
}

// within says whether a path is a folder or below it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func withinAny(p string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return within(p, f) })
}

// --- who may import what

var (
	brainLeaves    = []string{"brain/auth", "brain/schedule", "brain/acd", "brain/cac", "brain/flow", "brain/balance", "brain/guard", "brain/stir", "brain/number", "brain/doctor"}
	brainComposers = []string{"brain/route", "brain/presence", "brain/session"}
)

// commands says what each command may import of this module.
var commands = map[string][]string{
	"cmd/sipio":       {"controller", "brain", "nodeagent"}, // it writes the tunnel's file, and its doctor reads the settings of both processes as they do
	"cmd/sipio-brain": {"controller"},
	"cmd/sipio-node":  {"nodeagent"},
}

// layerFindings lists the imports inside the module that the tree does not allow. Test files are held
// to the same rules: a test that needs more than its own part belongs below test/.
func layerFindings(files []goFile) []string {
	var out []string
	for _, f := range files {
		f.imports(func(pos token.Pos, p, _ string) {
			if !within(p, module) {
				return
			}
			to := strings.TrimPrefix(strings.TrimPrefix(p, module), "/")
			if broken := brokenRule(f.dir(), to); broken != "" {
				out = append(out, fmt.Sprintf("%s: %s imports %s: %s", f.at(pos), f.dir(), to, broken))
			}
		})
	}
	return out
}

// brokenRule says which rule forbids that package from imports package to, "" when it is allowed.
func brokenRule(from, to string) string {
	switch {
	case within(from, "test"):
		return ""
	case within(to, "test"):
		return "nobody imports test"
	case from == to:
		return "" // the external test package of a folder
	case within(to, "cmd"):
		return "a command is imported by nobody"
	case within(from, "cloudflared") || within(to, "cloudflared"):
		return unless(within(from, "cloudflared") && within(to, "cloudflared"), "cloudflared is a module of its own: it imports nothing of the others, and nobody imports it")
	}
	switch top, _, below := strings.Cut(from, "/"); {
	case from == "internal/keyfile" || from == "internal/setting":
		return unless(from == "internal/keyfile" && to == "brain", "what all processes share imports nothing of ours; keyfile its rule, of brain")
	case (to == "internal/keyfile" || to == "internal/setting") && (top == "controller" || top == "nodeagent" || commands[from] != nil):
		return "" // what an operator sets, and the files of keys that he names, are the same to all processes
	case top == "brain":
		return brokenBrainRule(from, to)
	case top == "controller" && below:
		own := strings.Join(strings.Split(from, "/")[:2], "/")
		return unless(withinAny(to, "brain", own), "controller/X imports only brain/...; controller wires what X needs, by an interface that X declares")
	case top == "controller":
		return unless(withinAny(to, "brain", "controller"), "controller imports only brain and controller")
	case top == "nodeagent" && below:
		own := strings.Join(strings.Split(from, "/")[:2], "/")
		return unless(to == "brain" || to == "brain/api" || within(to, own), "nodeagent/X imports only brain and brain/api; nodeagent wires what X needs, by an interface that X declares")
	case top == "nodeagent":
		return unless(to == "brain" || to == "brain/api" || within(to, "nodeagent"), "nodeagent imports only brain, brain/api and nodeagent")
	case commands[from] != nil:
		return unless(withinAny(to, commands[from]...), "a command imports only its process: "+strings.Join(commands[from], ", "))
	}
	return "no rule for this folder yet: decide where it belongs, and write it into test/tidy_rules_test.go"
}

func brokenBrainRule(from, to string) string {
	switch {
	case from == "brain":
		return "brain holds the nouns and imports nothing of this module"
	case from == "brain/pack" || from == "brain/lcr":
		return "brain/pack knows bytes, brain/lcr prefixes: they import nothing of this module"
	case to == "brain/pack" || to == "brain/lcr":
		return "" // the binary form is everybody's, and so is the table of prefixes
	case from == "brain/api":
		return unless(to == "brain", "brain/api imports only brain")
	case slices.Contains(brainLeaves, from):
		return unless(to == "brain" || to == "brain/api", "a leaf of brain imports only brain and brain/api; route, presence and session compose the leaves")
	case slices.Contains(brainComposers, from):
		return unless(to == "brain" || to == "brain/api" || slices.Contains(brainLeaves, to), "route, presence and session import only brain, brain/api and the leaves")
	case from == "brain/sim":
		return unless(within(to, "brain"), "brain/sim drives the brain and imports nothing else")
	}
	return "no rule for this part of brain yet: leaf or composer? Write it into test/tidy_rules_test.go"
}

func unless(allowed bool, rule string) string {
	if allowed {
		return ""
	}
	return rule
}

// --- pure brain

var (
	impurePackages = []string{"net", "os", "database", "log", "sync", "syscall", "runtime", "context", "crypto/rand", "unsafe", "embed", "plugin"}
	clockNames     = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}
	seededNames    = []string{"New", "NewSource", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "Source64", "PCG", "ChaCha8", "Zipf"}
)

// purePart of net is values alone: addresses and networks, read from text.
const purePart = "net/netip"

// pureModules are modules that the brain may use, each in one package: no network, no file, no clock in what it calls. The
// dial plans of the world are a table that nobody should write again.
var pureModules = map[string]string{"github.com/nyaruka/phonenumbers": "brain/number"}

// purityFindings lists what makes a package of the brain impure. Its tests may do what they like.
func purityFindings(files []goFile) []string {
	var out []string
	for _, f := range files {
		if !within(f.path, "brain") || f.isTest() {
			continue
		}
		add := func(pos token.Pos, text string) { out = append(out, f.at(pos)+": brain is pure: "+text) }
		f.imports(func(pos token.Pos, p, name string) {
			if withinAny(p, impurePackages...) && p != purePart {
				add(pos, "it must not import "+p)
			}
			if isThirdParty(p) && pureModules[p] != f.dir() {
				add(pos, "it needs no module but this one, not "+p)
			}
			if name == "." {
				add(pos, "a dot import hides what is used")
			}
		})
		f.uses("time", func(pos token.Pos, name string) {
			if slices.Contains(clockNames, name) {
				add(pos, "time."+name+" reads a clock; the time comes in with the question")
			}
		})
		for _, pkg := range []string{"math/rand", "math/rand/v2"} {
			f.uses(pkg, func(pos token.Pos, name string) {
				if !slices.Contains(seededNames, name) {
					add(pos, "rand."+name+" is seeded by nobody; a generator comes in with the question")
				}
			})
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				add(g.Pos(), "it starts no goroutine")
			}
			return true
		})
	}
	return out
}

// --- one door a module

// doors says which folders may import a module (by the prefix of its path). Tests below test/ may import any of them.
var doors = map[string][]string{
	"github.com/mattn/go-sqlite3":       {"controller/config"},
	"github.com/pressly/goose":          {"controller/config"},
	"go.yaml.in/yaml":                   {"controller/config", "cmd/sipio", "nodeagent/tunnel"}, // the store, files of flows offline, cloudflared's file
	"github.com/oklog/ulid":             {"controller/config"},
	"github.com/danielgtaylor/huma":     {"controller/v1"},
	"golang.org/x/time":                 {"controller/v1"},
	"golang.org/x/crypto":               {"controller/pin"},
	"github.com/golang-jwt/jwt":         {"controller/token"},
	"github.com/tink-crypto/tink-go":    {"controller/secret"},
	"gocloud.dev":                       {"controller/media"},
	"github.com/johannesboyne/gofakes3": {"controller/media"}, // its tests
	"github.com/percipia/eslgo":         {},                   // independent peers of the event socket, in tests
	"github.com/fiorix/go-eventsocket":  {},
	"github.com/nyaruka/phonenumbers":   {"brain/number"}, // tables and pure functions, see pureModules
	"github.com/spf13/cobra":            {"cmd"},
	"github.com/spf13/pflag":            {"cmd"},
	"github.com/coreos/go-systemd":      {"cmd"},
	"github.com/nats-io":                {"controller/journal", "nodeagent/bus"},
	"github.com/anishathalye/porcupine": {}, // checks histories, in tests
	"golang.org/x/sys":                  {}, // network namespaces, in tests
	"github.com/google/nftables":        {"nodeagent/ban"},
	"github.com/mdlayher/netlink":       {"nodeagent/ban"}, // its sockets
	"github.com/emiago/sipgo":           {},
	"github.com/pion":                   {},
	"github.com/icholy/digest":          {},
	"github.com/gobwas/ws":              {},
	"github.com/cloudflare/cloudflared": {"cloudflared"}, // this and the next three in a module of their own
	"gopkg.in/yaml.v3":                  {"cloudflared"},
	"golang.org/x/net":                  {"cloudflared"},
	"github.com/google/uuid":            {"cloudflared"},
}

// doorFindings lists the imports of a module elsewhere than through its door.
func doorFindings(files []goFile) []string {
	var out []string
	for _, f := range files {
		f.imports(func(pos token.Pos, p, _ string) {
			if !isThirdParty(p) {
				return
			}
			if text := brokenDoor(f.dir(), p); text != "" {
				out = append(out, f.at(pos)+": "+text)
			}
		})
	}
	return out
}

func brokenDoor(from, imported string) string {
	for _, mod := range slices.Sorted(maps.Keys(doors)) {
		if !within(imported, mod) {
			continue
		}
		if withinAny(from, doors[mod]...) || within(from, "test") {
			return ""
		}
		where := "below test/"
		if len(doors[mod]) > 0 {
			where = "in " + strings.Join(doors[mod], ", ")
		}
		return fmt.Sprintf("%s imports %s, whose door is %s: call that package instead", from, imported, where)
	}
	return fmt.Sprintf("%s imports %s, a module without a door: do without it, or give it one in the table of test/tidy_rules_test.go", from, imported)
}

// isThirdParty: the first element of a module's path has a dot, no package of the standard library has.
func isThirdParty(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".") && !within(p, module)
}

// --- names and words

var emptyNames = regexp.MustCompile(`^(handlers?|managers?|services?|utils?|utilit(y|ies)|commons?|helpers?|models?|types?)(_test)?$`)

// packageNameFindings lists packages, and folders of packages, whose name says nothing.
func packageNameFindings(files []goFile) []string {
	seen := map[string]bool{}
	for _, f := range files {
		for _, name := range append(strings.Split(f.dir(), "/"), f.ast.Name.Name) {
			if emptyNames.MatchString(name) {
				seen[fmt.Sprintf("%s: package name %q says nothing: name the thing of the trade", f.dir(), name)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

var machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9_.*}/-])/(work|root|Users|home/[a-z]+)/`)

// machinePathFindings lists absolute paths of a developer's machine in any text file.
func machinePathFindings(texts map[string]string) []string {
	return matchingLines(texts, "", machinePath, "names a path of a developer's machine")
}

var marker = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// markerFindings lists the markers of unfinished work in Go files.
func markerFindings(texts map[string]string) []string {
	return matchingLines(texts, ".go", marker, "leaves work for later: do it, or open an issue")
}

func matchingLines(texts map[string]string, suffix string, re *regexp.Regexp, fault string) []string {
	var out []string
	for _, p := range slices.Sorted(maps.Keys(texts)) {
		if !strings.HasSuffix(p, suffix) {
			continue
		}
		for i, line := range strings.Split(texts[p], "\n") {
			if found := re.FindString(line); found != "" {
				out = append(out, fmt.Sprintf("%s:%d: %q %s", p, i+1, found, fault))
			}
		}
	}
	return out
}

// --- tests

// sleepers are the files outside tests that may sleep, and why. A wait for an event never belongs here.
var sleepers = map[string]string{}

// sleepFindings lists calls of time.Sleep that nothing justifies. In tests three things do: the fake clock of a
// synctest bubble, the pace of a loop that begins with `for deadline :=`, and a comment that gives the reason.
func sleepFindings(files []goFile) []string {
	var out []string
	for _, f := range files {
		reasons := deadlineLoops(f)
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if strings.Contains(c.Text, "sleep:") {
					reasons[f.fset.Position(c.End()).Line] = true
				}
			}
		}
		f.uses("time", func(pos token.Pos, name string) {
			line := f.fset.Position(pos).Line
			switch {
			case name != "Sleep":
			case !f.isTest() && sleepers[f.path] == "":
				out = append(out, f.at(pos)+": time.Sleep: wait for the event, with a timer and a context")
			case f.isTest() && !fakeClock(f) && !reasons[line] && !reasons[line-1]:
				out = append(out, f.at(pos)+": time.Sleep in a test: wait for the event with a deadline, or say why not in a comment that begins with sleep:")
			}
		})
	}
	return out
}

// deadlineLoops are the lines of the loops that poll until a deadline.
func deadlineLoops(f goFile) map[int]bool {
	lines := map[int]bool{}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		loop, ok := n.(*ast.ForStmt)
		if !ok {
			return true
		}
		init, ok := loop.Init.(*ast.AssignStmt)
		if !ok || len(init.Lhs) == 0 {
			return true
		}
		if id, ok := init.Lhs[0].(*ast.Ident); ok && id.Name == "deadline" {
			for l := f.fset.Position(loop.Pos()).Line; l <= f.fset.Position(loop.End()).Line; l++ {
				lines[l] = true
			}
		}
		return true
	})
	return lines
}

func fakeClock(f goFile) bool {
	found := false
	f.imports(func(_ token.Pos, path, _ string) { found = found || path == "testing/synctest" })
	return found
}

// testCommentFindings lists tests and fuzz targets that do not begin with a comment.
func testCommentFindings(files []goFile) []string {
	var out []string
	for _, f := range files {
		if !strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Recv != nil || d.Name.Name == "TestMain" || !isTestName(d.Name.Name) {
				continue
			}
			if d.Doc == nil && !beginsWithComment(f, d.Body) {
				out = append(out, f.at(d.Pos())+": "+d.Name.Name+" does not begin with a comment that says what it proves and how")
			}
		}
	}
	return out
}

func isTestName(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")
}

func beginsWithComment(f goFile, body *ast.BlockStmt) bool {
	first := body.End()
	if len(body.List) > 0 {
		first = body.List[0].Pos()
	}
	return slices.ContainsFunc(f.ast.Comments, func(c *ast.CommentGroup) bool {
		return c.Pos() > body.Lbrace && c.Pos() < first
	})
}

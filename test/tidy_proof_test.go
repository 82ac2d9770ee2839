package test

import (
	"strings"
	"testing"
)

// goSource makes the parsed files of a tiny repository from pairs of path and text.
func goSource(t *testing.T, pairs ...string) []goFile {
	t.Helper()
	sources := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		sources[pairs[i]] = pairs[i+1]
	}
	files, err := parseGo(sources)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// expect fails unless there are exactly as many findings as texts, each holding its text, in order.
func expect(t *testing.T, findings []string, texts ...string) {
	t.Helper()
	ok := len(findings) == len(texts)
	for i := 0; ok && i < len(texts); i++ {
		ok = strings.Contains(findings[i], texts[i])
	}
	if !ok {
		t.Errorf("found\n  %s\nwant\n  %s", strings.Join(findings, "\n  "), strings.Join(texts, "\n  "))
	}
}

func TestTidyRule_LayersAreKept(t *testing.T) {
	// Proves that the rule of layers tells right from wrong, edge by edge of the tree.
	for _, c := range []struct{ from, to, broken string }{
		{"brain/cac", "brain", ""},
		{"brain/cac", "brain/acd", "a leaf of brain"},
		{"brain/cac", "brain/pack", ""},
		{"brain/presence", "brain/pack", ""},
		{"brain/pack", "brain", "knows bytes"},
		{"brain/cac", "brain/route", "a leaf of brain"},
		{"brain/route", "brain/auth", ""},
		{"brain/route", "brain/api", ""},
		{"brain/route", "brain/presence", "the leaves"},
		{"brain/route", "controller", "the leaves"},
		{"brain/sim", "brain/presence", ""},
		{"brain/sim", "controller/actor", "brain/sim"},
		{"brain", "brain/api", "holds the nouns"},
		{"brain/api", "brain", ""},
		{"brain/weather", "brain", "no rule for this part of brain"},
		{"controller/v1", "brain/route", ""},
		{"controller/v1", "controller/v1", ""},
		{"controller/v1", "controller/config", "controller/X imports only brain"},
		{"controller/v1", "nodeagent", "controller/X imports only brain"},
		{"controller/config/rows", "controller/config", ""},
		{"controller", "controller/config", ""},
		{"controller", "nodeagent", "controller imports only"},
		{"nodeagent/door", "brain/api", ""},
		{"nodeagent/door", "brain/auth", "nodeagent/X imports only brain"},
		{"nodeagent/door", "nodeagent/kam", "nodeagent/X imports only brain"},
		{"nodeagent", "nodeagent/kam", ""},
		{"nodeagent", "controller/client", "nodeagent imports only"},
		{"cmd/sipio", "controller/client", ""},
		{"cmd/sipio", "brain/route", ""},
		{"cmd/sipio", "controller", ""},
		{"cmd/sipio", "nodeagent", ""},
		{"cmd/sipio", "nodeagent/tunnel", ""},
		{"cloudflared/sipio-tunnel-check", "cloudflared", ""},
		{"cloudflared", "brain/api", "a module of its own"},
		{"nodeagent/tunnel", "cloudflared", "a module of its own"},
		{"cmd/sipio-brain", "controller", ""},
		{"cmd/sipio-brain", "nodeagent", "a command imports only its process"},
		{"cmd/sipio-node", "nodeagent", ""},
		{"internal/keyfile", "brain", ""},
		{"internal/keyfile", "brain/api", "imports nothing of ours"},
		{"internal/setting", "brain", "imports nothing of ours"},
		{"controller", "internal/setting", ""},
		{"cmd/sipio-node", "internal/setting", ""},
		{"nodeagent", "internal/keyfile", ""},
		{"controller/stir", "internal/keyfile", ""},
		{"cmd/sipio", "internal/keyfile", ""},
		{"brain/doctor", "internal/keyfile", "a leaf of brain"},
		{"controller", "cmd/sipio", "imported by nobody"},
		{"controller", "test/fsim", "nobody imports test"},
		{"test/edge", "test/fsim", ""},
		{"test/edge", "controller", ""},
		{"tools", "brain", "no rule for this folder"},
	} {
		got := brokenRule(c.from, c.to)
		if (c.broken == "") != (got == "") || !strings.Contains(got, c.broken) {
			t.Errorf("%s imports %s: got %q, want %q", c.from, c.to, got, c.broken)
		}
	}
	bad := goSource(t, "controller/v1/v1_test.go", `package v1_test; import _ "github.com/sipio/sipio/controller/config"`)
	expect(t, layerFindings(bad), "controller/v1/v1_test.go:1: controller/v1 imports controller/config")
}

func TestTidyRule_ImpureBrainIsFound(t *testing.T) {
	// Proves that each way to be impure is found, also under another name or uncalled, and that pure code and tests pass.
	bad := goSource(t, "brain/cac/cac.go", `package cac
import (
	"net/http"
	"sync/atomic"
	. "strings"
	clock "time"
	"math/rand/v2"
	"golang.org/x/time/rate"
)
var now = clock.Now
func f() { go f(); rand.IntN(3) }
`)
	expect(t, purityFindings(bad), "must not import net/http", "must not import sync/atomic", "dot import",
		"needs no module", "time.Now reads a clock", "rand.IntN", "no goroutine")
	good := goSource(t,
		"brain/cac/cac.go", `package cac
import ("math/rand/v2"; "time")
func f(r *rand.Rand, t time.Time) time.Duration { return t.Sub(t.Add(time.Second * time.Duration(r.IntN(3)))) }`,
		"brain/cac/cac_test.go", `package cac; import _ "os"`,
		"controller/actor/actor.go", `package actor; import _ "sync"`)
	expect(t, purityFindings(good))
}

func TestTidyRule_AModuleBesideItsDoorIsFound(t *testing.T) {
	// Proves that a module is refused elsewhere than through its door, and one without a door everywhere.
	bad := goSource(t,
		"controller/v1/v1.go", `package v1; import (_ "github.com/mattn/go-sqlite3"; _ "github.com/danielgtaylor/huma/v2/adapters/humago")`,
		"nodeagent/door/door.go", `package door; import _ "github.com/pion/rtp"`,
		"test/edge/edge.go", `package edge; import (_ "github.com/pion/rtp"; _ "example.org/left-pad")`)
	expect(t, doorFindings(bad), "go-sqlite3, whose door is in controller/config", "whose door is below test/", "a module without a door")
}

func TestTidyRule_BrokenKamailioRoutesAreFound(t *testing.T) {
	// Proves the rule on a small configuration: what is wrong is found, what only looks wrong (comments, event routes, disarming) is not.
	good := map[string]string{
		kamailioRoot: `#!KAMAILIO
#!define WITH_X # a "quote
include_file "route/a.cfg"
import_file "/etc/sipio/node.cfg"
modparam("rtimer", "exec", "timer=t;route=POST")
request_route { route(A); /* route(GONE); */ } # it's route(GONE)
`,
		"kamailio-cfg/route/a.cfg": `route[A] { t_on_failure("F"); t_on_branch("B"); t_on_reply("R"); t_on_branch_failure("x"); xlog("# no comment"); t_on_failure("0"); }
failure_route[F] { } branch_route[B] { } onreply_route[R] { } event_route[tm:branch-failure:x] { }
route[POST] { } event_route[dialog:end] { } // route(GONE)
`,
	}
	expect(t, kamailioFindings(good))

	bad := map[string]string{
		kamailioRoot:                   "include_file \"route/a.cfg\"\nrequest_route {\n route(GONE); route(F); route($var(x)); t_on_reply(\"R\"); }",
		"kamailio-cfg/route/a.cfg":     "failure_route[F] { }\nmodparam(\"rtimer\", \"exec\", \"timer=t;route=POST\")",
		"kamailio-cfg/route/alone.cfg": "route[GONE] { }",
	}
	expect(t, kamailioFindings(bad), "kamailio.cfg:3: a route name made at run time", "alone.cfg: kamailio-cfg/kamailio.cfg does not include it",
		"onreply_route[R] is called and defined nowhere", "kamailio.cfg:3: route[F] is called and defined nowhere", "kamailio.cfg:3: route[GONE] is called",
		"a.cfg:2: route[POST] is called", "a.cfg:1: failure_route[F] is defined and called by nobody")
}

func TestTidyRule_MissingCommentsAreFound(t *testing.T) {
	// Proves that exported names need a comment, and which ones are explained by their neighbours.
	bad := goSource(t, "brain/x.go", `package brain
type Bare struct{}
func (Bare) Ring() {}
func Loud() {}
const Loose = 1
var Count, hidden = 1, 2
`)
	expect(t, commentFindings(bad), "no package comment", "exported Bare", "exported Ring", "exported Loud", "exported Loose", "exported Count")
	good := goSource(t, "brain/x.go", `// Package brain thinks.
package brain
// Kind is a kind.
type Kind string
const (
	KindA Kind = "a"
	KindB Kind = "b"
	Max = 3 // hops
)
// Ringer rings.
type Ringer interface { Ring() }
func (Kind) Ring() {}
func (Kind) String() string { return "" }
func (Kind) Beside() {}
// One and Two are numbers.
func One() {}
func Two() {}
func quiet() {}
type hidden struct{}
func (*hidden) Loud() {}
`, "test/x.go", "package test\nfunc Loud() {}", "brain/gen.go", "// Code generated by gen. DO NOT EDIT.\n\npackage brain\nfunc Loud() {}")
	expect(t, commentFindings(good))
}

func TestTidyRule_LongCodeIsFound(t *testing.T) {
	// Proves both bounds on the line beside them, and the exemptions.
	body := func(lines int) string { return "func f() {" + strings.Repeat("\n", lines-1) + "}\n" }
	expect(t, lengthFindings(goSource(t, "a/a.go", "package a\n"+body(maxFuncLines))))
	expect(t, lengthFindings(goSource(t, "a/a.go", "package a\n"+body(maxFuncLines+1))), "f has 101 lines")
	blank := func(lines int) string { return "package a" + strings.Repeat("\n", lines) }
	expect(t, lengthFindings(goSource(t, "a/a.go", blank(maxFileLines), "a/a_test.go", blank(maxFileLines+1))))
	expect(t, lengthFindings(goSource(t, "a/a.go", blank(maxFileLines+1))), "a/a.go has 601 lines")
	expect(t, lengthFindings(goSource(t, "a/a.go", "// Code generated by gen. DO NOT EDIT.\n\n"+blank(maxFileLines+1))))
}

func TestTidyRule_EmptyPackageNamesAreFound(t *testing.T) {
	// Proves that the name is judged in the package clause and in each folder of the path, and as a whole word only.
	bad := goSource(t, "controller/util/x.go", "package x", "controller/y/y.go", "package handlers", "brain/types/acd/acd.go", "package acd")
	expect(t, packageNameFindings(bad), `"types"`, `"util"`, `"handlers"`)
	expect(t, packageNameFindings(goSource(t, "controller/utility_meter/x.go", "package meter", "cmd/sipio/main.go", "package main")))
}

func TestTidyRule_MachinePathsAreFound(t *testing.T) {
	// Proves that a checkout's path is found in any file, and that other absolute paths and URLs pass.
	expect(t, machinePathFindings(map[string]string{"docs/a.md": "see\n`/wo" + "rk/main`", "Makefile": "GO=/ro" + "ot/go/bin", "x.go": `"/home` + `/ann/x"`}),
		"Makefile:1", "docs/a.md:2", "x.go:1")
	expect(t, machinePathFindings(map[string]string{"a.md": "/etc/sipio/ https://example.org/wo" + "rk/x $HOME/wo" + "rk/x /home" + "/*/ /var/lib/sipio"}))
}

func TestTidyRule_MarkersAreFound(t *testing.T) {
	// Proves that markers are found as whole words, in Go files only.
	expect(t, markerFindings(map[string]string{"a.go": "// TO" + "DO: later\n// FIX" + "ME\n// XX" + "X", "a.md": "TO" + "DO"}), "a.go:1", "a.go:2", "a.go:3")
	expect(t, markerFindings(map[string]string{"a.go": "// a mktemp pattern: XX" + "XXXX"}))
}

func TestTidyRule_SleepsAreFound(t *testing.T) {
	// Proves that a sleep is found in code always, and in tests unless a comment beside it gives the reason.
	src := `package a
import "time"
func f() {
	time.Sleep(1)
	// sleep: the phone is silent on purpose
	time.Sleep(1)
	time.Sleep(1) // sleep: likewise
	for deadline := time.Now(); ready(); time.Sleep(1) {
		time.Sleep(1)
	}
}
`
	expect(t, sleepFindings(goSource(t, "a/a.go", src)), "a/a.go:4", "a/a.go:6", "a/a.go:7", "a/a.go:8", "a/a.go:9")
	expect(t, sleepFindings(goSource(t, "a/a_test.go", src)), "a/a_test.go:4")
	expect(t, sleepFindings(goSource(t, "test/edge/phone.go", src)), "test/edge/phone.go:4")
	expect(t, sleepFindings(goSource(t, "a/b_test.go", strings.Replace(src, "\"time\"", "(\"testing/synctest\"; \"time\")", 1))))
}

func TestTidyRule_SilentTestsAreFound(t *testing.T) {
	// Proves that a test without a comment before its first statement is found, and both places of a comment are taken.
	expect(t, testCommentFindings(goSource(t, "a/a_test.go", `package a
func TestSilent(t *T) { x() // too late
}
func FuzzEmpty(f *F) {}
`)), "TestSilent", "FuzzEmpty")
	expect(t, testCommentFindings(goSource(t, "a/a_test.go", `package a
// TestAbove proves it.
func TestAbove(t *T) { x() }
func TestInside(t *T) {
	// Proves it.
	x()
}
func TestMain(m *M) {}
func helper() {}
`)))
}

package flow

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

var update = flag.Bool("update", false, "rewrite what the golden files expect")

const dashes = "--------\n"

// golden is one file of testdata: remarks, the graph (and others after lines of "== ID"), a line of dashes, events, a
// line of dashes, what is expected.
type golden struct {
	name, head, events, want string
	flows                    map[string]brain.FlowGraph
}

func readGoldens(t testing.TB) []golden {
	t.Helper()
	files, err := filepath.Glob("testdata/*.flow")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	var out []golden
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(string(text), dashes, 3)
		if len(parts) < 2 {
			t.Fatalf("%s has no line of dashes", file)
		}
		g := golden{name: strings.TrimSuffix(filepath.Base(file), ".flow"), head: parts[0], events: parts[1], flows: map[string]brain.FlowGraph{}}
		if len(parts) == 3 {
			g.want = parts[2]
		}
		id := "main"
		for i, section := range strings.Split("\n"+parts[0], "\n== ") {
			if i > 0 {
				id, section, _ = strings.Cut(section, "\n")
			}
			g.flows[id] = parseGraph(t, file, section)
		}
		out = append(out, g)
	}
	return out
}

func parseGraph(t testing.TB, file, text string) brain.FlowGraph {
	t.Helper()
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	var graph brain.FlowGraph
	if err := json.Unmarshal([]byte(strings.Join(lines, "\n")), &graph); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return graph
}

// stage compiles the flows of a golden file; mistakes are the text to be expected.
func (g golden) stage() (stage *Stage, mistakes string) {
	stage = &Stage{Flows: map[string]*Graph{}}
	for id, src := range g.flows {
		compiled, errs := Compile(src)
		for _, e := range errs {
			mistakes += e.String() + "\n"
		}
		stage.Flows[id] = compiled
	}
	return stage, mistakes
}

// checkOutput holds an Output to what each one promises.
func checkOutput(t testing.TB, out Output) {
	t.Helper()
	asked := 0
	for _, is := range []bool{out.Command != nil, out.HTTP != nil, out.App != nil, out.End != nil} {
		if is {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("%d things are wanted at once: %+v", asked, out)
	}
}

// Proves each step and each outcome against a file that a telephony person can read. `go test ./brain/flow -update`
// rewrites what is expected; the diff is then the review.
func TestFlow_GoldenScripts(t *testing.T) {
	for _, g := range readGoldens(t) {
		t.Run(g.name, func(t *testing.T) {
			stage, got := g.stage()
			if got == "" {
				script, err := ParseScript(g.events)
				if err != nil {
					t.Fatal(err)
				}
				if got, err = stage.Run("main", script, func(o Output) { checkOutput(t, o) }); err != nil {
					t.Fatal(err)
				}
			}
			if *update {
				text := g.head + dashes + g.events + dashes + got
				if err := os.WriteFile(filepath.Join("testdata", g.name+".flow"), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != g.want {
				t.Errorf("got\n%s\nwant\n%s", got, g.want)
			}
		})
	}
}

// Proves that no outcome of any step is without a golden file: it plays all of them, notes by which outcome each kind
// of step was left, and compares with what the kinds say they have.
func TestFlow_GoldenScriptsCoverEveryOutcome(t *testing.T) {
	left := map[string]bool{}
	want := map[string]bool{}
	for _, g := range readGoldens(t) {
		stage, mistakes := g.stage()
		if mistakes != "" {
			continue
		}
		script, err := ParseScript(g.events)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stage.Run("main", script, func(o Output) {
			for _, tr := range o.Trace {
				left[tr.Kind+" "+family(tr.Outcome)] = left[tr.Kind+" "+family(tr.Outcome)] || tr.Note == ""
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, compiled := range stage.Flows {
			for _, st := range compiled.steps {
				want[st.kind+" "] = true // was entered
				for _, x := range st.act.exits() {
					want[st.kind+" "+family(x.name)] = true
				}
			}
		}
	}
	for _, k := range kinds {
		want[k.name+" "] = true
	}
	want["flow timeout"] = true // an inner flow's label that is an outcome, and one that its step names
	want["flow paid"] = true
	for pair := range want {
		if !left[pair] {
			kind, outcome, _ := strings.Cut(pair, " ")
			t.Errorf("no golden file shows %s leaving by %q", kind, outcome)
		}
	}
}

// family is an outcome without the digits it is about.
func family(outcome string) string {
	if name, _, ok := strings.Cut(outcome, ":"); ok {
		return name + ":"
	}
	return outcome
}

// Proves that EachRef finds in a drawn graph what Compile finds in it, that another id is written and compiles, and
// that nothing else of the data changes.
func TestEachRef_FindsWhatCompileFinds(t *testing.T) {
	total := 0
	for _, g := range readGoldens(t) {
		for id, src := range g.flows {
			compiled, errs := Compile(src)
			if errs != nil {
				continue
			}
			var inGraph, drawn []string
			compiled.Refs(func(path string, kind brain.Kind, id string) { inGraph = append(inGraph, fmt.Sprint(path, kind, id)) })
			src.Nodes = slices.Clone(src.Nodes)
			before := compact(t, src)
			EachRef(&src, func(path string, kind brain.Kind, id string) string {
				drawn = append(drawn, fmt.Sprint(path, kind, id))
				return "renamed \"" + id
			})
			slices.Sort(inGraph)
			slices.Sort(drawn)
			if !slices.Equal(inGraph, drawn) {
				t.Errorf("%s %s: compiled %q, drawn %q", g.name, id, inGraph, drawn)
			}
			total += len(drawn)
			again, errs := Compile(src)
			if errs != nil {
				t.Fatalf("%s: %v", g.name, errs)
			}
			if wrong := again.CheckRefs(only("renamed \"")); len(wrong) > 0 {
				t.Errorf("%s: not renamed: %v", g.name, wrong)
			}
			EachRef(&src, func(_ string, _ brain.Kind, id string) string { return strings.TrimPrefix(id, "renamed \"") })
			if after := compact(t, src); after != before {
				t.Errorf("%s: %s became %s", g.name, before, after)
			}
		}
	}
	if total < 10 {
		t.Errorf("only %d references in all golden files", total)
	}
}

func compact(t *testing.T, g brain.FlowGraph) string {
	t.Helper()
	var out strings.Builder
	for _, n := range g.Nodes {
		out.Write(n.Data)
	}
	return out.String()
}

// only knows the ids that begin so.
type only string

func (o only) Exists(_ brain.Kind, id string) bool { return strings.HasPrefix(id, string(o)) }

// Proves that a script with a line nobody can play is refused by name and line, so that a misspelt event is no test.
func TestParseScript_RefusesWhatItDoesNotKnow(t *testing.T) {
	for text, want := range map[string]string{
		"call\nhangupp": `event line 2: "hangupp" is no event`, "digits 1 2 =": "no name before", "call ann": `"ann" is not name=value`, "at noon": "event line 1: parsing time",
		"hours s maybe": "hours wants", "http": "http wants a status", "http 99": "http wants a status", "recorded key": `"key" is not name=value`,
		strings.Repeat("done\n", MaxScript+1): "more than 10000 events", "# nothing\n\n": "", "outcome odd x=1": "",
	} {
		_, err := ParseScript(text)
		if got := fmt.Sprint(err); (want == "") != (err == nil) || want != "" && !strings.Contains(got, want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

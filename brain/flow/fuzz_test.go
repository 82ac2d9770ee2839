package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

const maxState = 64 << 10

// samples is data of steps that a graph can be made of, with variables that grow.
var samples = []string{
	`{"kind": "play", "audioId": "a", "bargeIn": true}`, `{"kind": "say", "text": "{{ a }}{{ b }}"}`,
	`{"kind": "menu", "maxDigits": 4, "promptText": "{{ a }}"}`, `{"kind": "collect", "variable": "a", "secret": true}`, `{"kind": "collect", "variable": "b", "regex": "1.*"}`,
	`{"kind": "condition", "any": [{"left": "{{ a }}", "op": "lt", "right": "{{ b }}"}, {"left": "{{ a }}", "op": "matches", "right": "(a|b)*"}]}`,
	`{"kind": "switch", "value": "{{ a }}", "cases": ["1", "2"]}`, `{"kind": "timeCondition", "scheduleId": "s"}`,
	`{"kind": "set", "assignments": {"a": "{{ b }}{{ b }}x", "b": "{{ a }}{{ a }}\u0001<"}}`,
	`{"kind": "set", "assignments": {"c": "{{ a }}{{ raw }}", "d": "{{ c }}{{ c }}", "e": "{{ d }}{{ d }}", "f": "{{ e }}", "g": "{{ e }}"}}`,
	`{"kind": "http", "method": "POST", "url": "https://x.example/{{ a }}", "body": "{{ b }}", "saveAs": {"raw": "$", "a": "$.a"}}`,
	`{"kind": "dial", "destKind": "number", "number": "{{ a }}"}`, `{"kind": "dial", "destKind": "user", "destId": "u"}`, `{"kind": "ringGroup", "ringGroupId": "r"}`,
	`{"kind": "forward", "forwardId": "f"}`, `{"kind": "enqueue", "queueId": "q", "label": "{{ a }}"}`, `{"kind": "voicemail", "mailboxId": "v"}`,
	`{"kind": "record", "saveAs": "a"}`, `{"kind": "conference", "conferenceId": "c"}`, `{"kind": "flow", "flowId": "main", "vars": {"x": "{{ x }}{{ a }}y"}}`,
	`{"kind": "flow", "flowId": "other", "end": "1"}`, `{"kind": "transfer", "destKind": "flow", "destId": "f"}`, `{"kind": "tag", "label": "l", "value": "{{ a }}"}`, `{"kind": "hangup"}`,
}

// randomGraph draws a graph that often compiles: steps of samples, an edge for most outcomes.
func randomGraph(r *rand.Rand) brain.FlowGraph {
	g := brain.FlowGraph{Nodes: []brain.FlowStep{{ID: "in", Data: json.RawMessage(`{"kind": "entry"}`)}}}
	n := 1 + r.IntN(8)
	for i := range n {
		g.Nodes = append(g.Nodes, brain.FlowStep{ID: fmt.Sprint(i), Data: json.RawMessage(samples[r.IntN(len(samples))])})
	}
	g.Edges = append(g.Edges, brain.FlowEdge{Source: "in", Target: "0"})
	if r.IntN(3) == 0 {
		g.Edges = append(g.Edges, brain.FlowEdge{Source: "in", SourceHandle: "hangup", Target: fmt.Sprint(r.IntN(n))})
	}
	probe := &Graph{byID: map[string]int{}}
	for i, node := range g.Nodes[1:] {
		st := probe.compileStep(&mistakes{}, i+1, node)
		if st.act == nil {
			continue
		}
		exits := st.act.exits()
		if st.kind == "flow" {
			exits = []exit{{name: ""}}
		}
		for k, x := range exits {
			to := r.IntN(n)
			if k == 0 && i+1 < n {
				to = i + 1 // so that most steps can be reached
			} else if !x.needed && r.IntN(3) == 0 {
				continue
			}
			g.Edges = append(g.Edges, brain.FlowEdge{Source: node.ID, SourceHandle: strings.ReplaceAll(x.name, "match:*", "match:12"), Target: fmt.Sprint(to)})
		}
	}
	return g
}

var randomOutcomes = []string{"done", "digit", "digits", "timeout", "answered", "busy", "no_answer", "failed", "recorded", "left", "ended", "denied",
	"full", "success", "error", "no_agents", "option:1", "", "nonsense", "success", "digits", "done", "hangup", "lost"}

func randomInput(r *rand.Rand) Input {
	in := Input{Outcome: randomOutcomes[r.IntN(len(randomOutcomes))], Data: map[string]string{"status": "200", "key": strings.Repeat("k", r.IntN(9000))}}
	if r.IntN(20) > 0 && (in.Outcome == "hangup" || in.Outcome == "lost") {
		in.Outcome = "done"
	}
	in.Data["digits"] = []string{"", "1", "12", "#", "123456789012345678901234567890", "x"}[r.IntN(6)]
	in.Data["digit"] = in.Data["digits"]
	in.Data["body"] = []string{"", "{", `{"a": "` + strings.Repeat("\u00e4<", r.IntN(5000)) + `"}`, `[1]`, strings.Repeat("[", 20000)}[r.IntN(5)]
	return in
}

// walkAtRandom plays a random flow with random inputs, and says how often it was asked what next.
func walkAtRandom(t testing.TB, seed uint64) int {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	stage := &Stage{Flows: map[string]*Graph{}, hours: map[string]string{"s": []string{InHours, OutOfHours, Holiday, "", "?"}[r.IntN(5)]}}
	for _, id := range []string{"main", "other"} {
		g, errs := Compile(randomGraph(r))
		if (g == nil) == (len(errs) == 0) {
			t.Fatalf("seed %d: a graph %t and %d mistakes", seed, g != nil, len(errs))
		}
		if g != nil {
			stage.Flows[id] = g
		}
	}
	vars := map[string]string{}
	for i := range r.IntN(80) {
		vars[fmt.Sprint("var", i)] = strings.Repeat("\xff\x01", r.IntN(300))
	}
	s, out := Start(stage, "main", vars, 1)
	for n := 0; ; n++ {
		checkOutput(t, out)
		text, err := json.Marshal(s)
		if err != nil || len(text) > maxState {
			t.Fatalf("seed %d: a state of %d bytes: %v", seed, len(text), err)
		}
		if out.End != nil && !s.Done || out.App != nil && !out.App.Returns && !s.Done || len(out.Trace) > 3*MaxLogic+10 {
			t.Fatalf("seed %d: %+v, %d lines of trace", seed, s, len(out.Trace))
		}
		if t.Failed() || s.Done || n == 40 {
			return n
		}
		in := randomInput(r)
		var twin State
		if err := json.Unmarshal(text, &twin); err != nil {
			t.Fatal(err)
		}
		again := twin.Step(stage, in, int64(n))
		out = s.Step(stage, in, int64(n))
		if !reflect.DeepEqual(out, again) || !reflect.DeepEqual(mustJSON(t, s), mustJSON(t, twin)) {
			t.Fatalf("seed %d: the same step twice:\n%+v\n%+v", seed, out, again)
		}
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Proves by seeds that no flow and no outcome make the interpreter panic, loop, want two things at once, or grow its
// state beyond its bound, and that a state read back from JSON goes on just as the one in memory does.
func TestStep_HoldsForRandomFlows(t *testing.T) {
	steps, long := 0, 0
	for seed := range uint64(300) {
		n := walkAtRandom(t, seed)
		steps += n
		if n >= 5 {
			long++
		}
	}
	t.Logf("%d steps, %d long", steps, long)
	if steps < 800 || long < 25 {
		t.Errorf("only %d steps in all and %d calls of five or more: the flows say too little", steps, long)
	}
}

// FuzzStep is the same with seeds that the fuzzer chooses.
func FuzzStep(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { walkAtRandom(t, seed) })
}

// FuzzCompile proves that no graph makes Compile, EachRef or Mermaid panic, that it either compiles or has mistakes,
// and that one which compiles can be walked.
func FuzzCompile(f *testing.F) {
	for _, g := range readGoldens(f) {
		for _, src := range g.flows {
			text, err := json.Marshal(src)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var src brain.FlowGraph
		if json.Unmarshal(text, &src) != nil {
			return
		}
		g, errs := Compile(src)
		if (g == nil) == (len(errs) == 0) {
			t.Fatalf("a graph %t and %d mistakes", g != nil, len(errs))
		}
		EachRef(&src, func(_ string, _ brain.Kind, id string) string { return id + "\"x" })
		if g == nil {
			return
		}
		if strings.Count(Mermaid(g), "\n") < g.Steps() {
			t.Error("the drawing has fewer lines than the graph steps")
		}
		stage := &Stage{Flows: map[string]*Graph{"main": g}}
		s, out := Start(stage, "main", nil, 1)
		for i := 0; i < 10 && out.End == nil; i++ {
			checkOutput(t, out)
			out = s.Step(stage, Input{Outcome: randomOutcomes[i], Data: map[string]string{"digits": "1"}}, 1)
		}
	})
}

// FuzzScript proves that no script makes the player panic, and that what it plays is bounded.
func FuzzScript(f *testing.F) {
	for _, g := range readGoldens(f) {
		f.Add(g.events)
	}
	g, errs := Compile(after(`{"kind": "menu"}`, "s - bye"))
	if errs != nil {
		f.Fatal(errs)
	}
	f.Fuzz(func(t *testing.T, text string) {
		script, err := ParseScript(text)
		if err != nil || len(script) > 100 {
			return
		}
		stage := &Stage{Flows: map[string]*Graph{"main": g}}
		_, _ = stage.Run("main", script, func(o Output) { checkOutput(t, o) })
	})
}

// FuzzTemplate proves that no template and no value make rendering panic or exceed its bound.
func FuzzTemplate(f *testing.F) {
	f.Add(`{{ a | default:"x" | date:"YYYY" }}`, "2026-01-01")
	f.Fuzz(func(t *testing.T, src, value string) {
		tpl, err := parseTemplate(src)
		if err != nil {
			return
		}
		for _, escape := range []func(string) string{nil, escapeURL, escapeJSON, escapeHeader} {
			if text := tpl.render(func(string) string { return value }, escape); len(text) > MaxValue {
				t.Errorf("%d bytes", len(text))
			}
		}
	})
}

// FuzzPath proves that no path and no answer make the search panic.
func FuzzPath(f *testing.F) {
	f.Add("$.a[0]", []byte(`{"a": [1]}`))
	f.Fuzz(func(t *testing.T, src string, body []byte) {
		p, err := parsePath(src)
		if doc, ok := parseBody(string(bytes.TrimSpace(body))); err == nil && ok {
			p.find(doc)
		}
	})
}

// BenchmarkStep measures one round of a menu: the caller presses an unknown digit, the menu asks again.
func BenchmarkStep(b *testing.B) {
	g, errs := Compile(after(`{"kind": "menu", "maxFailures": 10, "promptText": "Hello {{ caller_name }}, press one."}`, "s digit:1 bye"))
	if errs != nil {
		b.Fatal(errs)
	}
	stage := &Stage{Flows: map[string]*Graph{"main": g}}
	fresh, _ := Start(stage, "main", map[string]string{"caller_name": "Ann"}, 1)
	b.ReportAllocs()
	for b.Loop() {
		s := fresh
		if out := s.Step(stage, Input{Outcome: "digits", Data: map[string]string{"digits": "5"}}, 2); out.Command == nil {
			b.Fatal("no command")
		}
	}
}

package flow

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// draw makes a graph from steps written "id {data}" and edges written "from outcome to", the outcome left out with -.
func draw(steps, edges []string) brain.FlowGraph {
	var g brain.FlowGraph
	for _, s := range steps {
		id, data, _ := strings.Cut(s, " ")
		g.Nodes = append(g.Nodes, brain.FlowStep{ID: id, Data: json.RawMessage(data)})
	}
	for _, e := range edges {
		f := strings.Fields(e)
		g.Edges = append(g.Edges, brain.FlowEdge{Source: f[0], Target: f[2], SourceHandle: strings.TrimPrefix(f[1], "-")})
	}
	return g
}

// after puts one step behind an entry.
func after(data string, edges ...string) brain.FlowGraph {
	return draw([]string{`in {"kind": "entry"}`, "s " + data, `bye {"kind": "hangup"}`}, append([]string{"in - s"}, edges...))
}

func TestCompile_SaysWhatIsWrongAndWhere(t *testing.T) {
	// Proves each rule of a graph on one that breaks it: the path and the words of the first mistake.
	steps := func(s ...string) []string { return append([]string{`in {"kind": "entry"}`}, s...) }
	long := strings.Repeat("x", maxID+1)
	for _, c := range []struct {
		graph      brain.FlowGraph
		path, text string
	}{
		{brain.FlowGraph{}, "graph.nodes", "at least an entry step"},
		{brain.FlowGraph{Nodes: make([]brain.FlowStep, MaxSteps+1)}, "graph.nodes", "501 steps"},
		{brain.FlowGraph{Nodes: make([]brain.FlowStep, 1), Edges: make([]brain.FlowEdge, MaxEdges+1)}, "graph.edges", "2001 edges"},
		{draw([]string{`a {"kind": "hangup"}`}, nil), "graph.nodes", "no entry step"},
		{draw(steps(`b {"kind": "entry"}`), nil), "graph.nodes[1].data.kind", "entry step already"},
		{brain.FlowGraph{Start: "x", Nodes: draw(steps(), nil).Nodes}, "graph.start", `must be the entry step, "in"`},
		{draw(steps(long+` {"kind": "hangup"}`), nil), "graph.nodes[1].id", "1 to 64 bytes"},
		{draw(steps(`in {"kind": "hangup"}`), nil), "graph.nodes[1].id", "taken by nodes[0]"},
		{draw(steps(`s {"kind": "hangup", "note": "`+strings.Repeat("x", MaxData)+`"}`), nil), "graph.nodes[1].data", "more than 32768"},
		{draw(steps(`s [1]`), nil), "graph.nodes[1].data", "not a JSON object"},
		{draw(steps(`s null`), nil), "graph.nodes[1].data", "not a JSON object"},
		{draw(steps(`s {}`), nil), "graph.nodes[1].data.kind", "is required"},
		{draw(steps(`s {"kind": "dance"}`), nil), "graph.nodes[1].data.kind", `"dance" is not a kind of step`},
		{after(`{"kind": "hangup", "colour": "red"}`), "graph.nodes[1].data.colour", "not a parameter of hangup"},
		{after(`{"kind": "hangup", "Cause": "USER_BUSY"}`), "graph.nodes[1].data.Cause", "not a parameter of hangup"},
		{draw(steps(`s {"kind": "hangup"}`), []string{"x - s"}), "graph.edges[0].source", `no step "x"`},
		{draw(steps(`s {"kind": "hangup"}`), []string{"in - x"}), "graph.edges[0].target", `no step "x"`},
		{after(`{"kind": "tag", "label": "a"}`, "s - in"), "graph.edges[1].target", "the entry step is where a flow begins"},
		{after(`{"kind": "hangup"}`, "s - bye"), "graph.edges[1].sourceHandle", "nothing follows a step of kind hangup"},
		{after(`{"kind": "tag", "label": "a"}`, "s maybe bye"), "graph.edges[1].sourceHandle", `"maybe" is not an outcome of tag`},
		{after(`{"kind": "tag", "label": "a"}`, "s - bye", "s - bye"), "graph.edges[2].sourceHandle", "edges[1] leads on"},
		{after(`{"kind": "menu", "minDigits": 2}`, "s digit:1 bye"), "graph.edges[1].sourceHandle", "not an outcome of menu"},
		{after(`{"kind": "menu"}`, "s match:123 bye"), "graph.edges[1].sourceHandle", "never happens: the menu takes 1 to 1 digits"},
		{after(`{"kind": "menu", "maxDigits": 3}`, "s match:12x bye"), "graph.edges[1].sourceHandle", "never happens"},
		{after(`{"kind": "switch", "value": "a", "cases": ["x"]}`, "s default bye", "s case:y bye"), "graph.edges[2].sourceHandle", "not an outcome of switch"},
		{draw(steps(`s {"kind": "hangup"}`), nil), "graph.nodes[0].id", `needs an edge for "default"`},
		{after(`{"kind": "hangup"}`), "graph.nodes[2].id", "no way leads to step"},
		{after(`{"kind": "condition", "all": [{"left": "a", "op": "empty"}]}`, "s true bye"), "graph.nodes[1].id", `needs an edge for "false"`},
		{after(`{"kind": "timeCondition", "scheduleId": "x"}`, "s in_hours bye"), "graph.nodes[1].id", `needs an edge for "out_of_hours"`},
		{after(`{"kind": "switch", "value": "a", "cases": ["x"]}`, "s case:x bye"), "graph.nodes[1].id", `needs an edge for "default"`},
		{draw(steps(`a {"kind": "tag", "label": "x"}`, `b {"kind": "http", "url": "https://x.example/"}`), []string{"in - a", "a - b", "b success a"}), "graph.nodes[1].id", "comes back to itself"},
		{draw(steps(`a {"kind": "set", "assignments": {"x": ""}}`), []string{"in - a", "a - a"}), "graph.nodes[1].id", "comes back to itself"},
		{after(`{"kind": "hangup"}`, "in hangup bye"), "graph.nodes[2].data.kind", "hangup cannot run after the caller hung up"},
		{draw(steps(`r {"kind": "record"}`, `t {"kind": "tag", "label": "x"}`, `p {"kind": "say", "text": "x"}`), []string{"in - r", "r hangup t", "t - p"}), "graph.nodes[3].data.kind", "say cannot run after"},
		{draw(steps(`q {"kind": "enqueue", "queueId": "q"}`, `p {"kind": "say", "text": "x"}`), []string{"in - q", "q abandoned p"}), "graph.nodes[2].data.kind", "say cannot run after"},
	} {
		g, errs := Compile(c.graph)
		if g != nil || len(errs) == 0 || errs[0].Path != c.path || !strings.Contains(errs[0].Text, c.text) {
			t.Errorf("want %s: %s, got %v", c.path, c.text, errs)
		}
	}
}

// wrongParameters is steps with one mistake each: the field and the words that tell it.
var wrongParameters = []struct{ data, field, text string }{
	{`{"kind": "play"}`, "audioId", "either audioId or playlistId"},
	{`{"kind": "play", "audioId": "a", "playlistId": "b"}`, "audioId", "either"},
	{`{"kind": "play", "audioId": "a", "loops": 0}`, "loops", "-1 for ever"},
	{`{"kind": "play", "audioId": "a", "loops": 101}`, "loops", "from -1 to 100"},
	{`{"kind": "play", "audioId": "a", "loops": 1.5}`, "loops", "not a whole number"},
	{`{"kind": "play", "audioId": "a", "bargeIn": "yes"}`, "bargeIn", "true or false"},
	{`{"kind": "play", "audioId": 7}`, "audioId", "not a string"},
	{`{"kind": "say"}`, "text", "is required"},
	{`{"kind": "say", "text": "{{ a"}`, "text", "has no }}"},
	{`{"kind": "say", "text": "x", "language": "` + strings.Repeat("x", 36) + `"}`, "language", "at most 35"},
	{`{"kind": "menu", "maxDigits": 41}`, "maxDigits", "from 1 to 40"},
	{`{"kind": "menu", "minDigits": 3, "maxDigits": 2}`, "maxDigits", "less than minDigits"},
	{`{"kind": "menu", "terminators": "x"}`, "terminators", "must be digits"},
	{`{"kind": "menu", "timeoutSec": 61}`, "timeoutSec", "from 1 to 60"},
	{`{"kind": "menu", "interDigitTimeoutSec": 0}`, "interDigitTimeoutSec", "from 1 to 30"},
	{`{"kind": "menu", "maxFailures": 11}`, "maxFailures", "from 1 to 10"},
	{`{"kind": "menu", "maxTimeouts": 0}`, "maxTimeouts", "from 1 to 10"},
	{`{"kind": "menu", "promptAudioId": "a", "promptText": "b"}`, "promptText", "beside promptAudioId"},
	{`{"kind": "menu", "repromptText": "b"}`, "promptText", "where there is a reprompt"},
	{`{"kind": "menu", "terminator": "#"}`, "terminator", "not a parameter of menu"},
	{`{"kind": "collect"}`, "variable", "is required"},
	{`{"kind": "collect", "variable": "1x"}`, "variable", "not the name of a variable"},
	{`{"kind": "collect", "variable": "a", "regex": "("}`, "regex", "not a regular expression"},
	{`{"kind": "collect", "variable": "a", "regex": "` + strings.Repeat("a", 201) + `"}`, "regex", "at most 200"},
	{`{"kind": "collect", "variable": "a", "regex": "(a{999}){999}"}`, "regex", "not a regular expression"},
	{`{"kind": "collect", "variable": "a", "maxTries": 11}`, "maxTries", "from 1 to 10"},
	{`{"kind": "condition"}`, "all", "either all or any"},
	{`{"kind": "condition", "all": []}`, "all", "1 to 100"},
	{`{"kind": "condition", "all": [{"left": "a", "op": "like"}]}`, "all[0].op", "must be one of"},
	{`{"kind": "condition", "any": [{"left": "a", "op": "matches", "right": "["}]}`, "any[0].right", "not a regular expression"},
	{`{"kind": "condition", "any": [{"left": "a", "op": "empty", "right": "b"}]}`, "any[0].right", "not a parameter"},
	{`{"kind": "switch", "value": "a"}`, "cases", "1 to 100"},
	{`{"kind": "switch", "value": "a", "cases": ["a", "a"]}`, "cases", "twice"},
	{`{"kind": "timeCondition"}`, "scheduleId", "is required"},
	{`{"kind": "set"}`, "assignments", "at least one"},
	{`{"kind": "set", "assignments": {"a b": "x"}}`, "assignments", "not the name of a variable"},
	{`{"kind": "set", "assignments": {"a": "{{ b | rot13 }}"}}`, "assignments.a", "not a filter"},
	{`{"kind": "http"}`, "url", "is required"},
	{`{"kind": "http", "url": "http://x.example/"}`, "url", "must begin with https://"},
	{`{"kind": "http", "url": "https://{{ host }}/"}`, "url", "a host without variables"},
	{`{"kind": "http", "url": "https://x.example{{ path }}"}`, "url", "a host without variables"},
	{`{"kind": "http", "url": "https:///x"}`, "url", "a host without variables"},
	{`{"kind": "http", "url": "https://u@x.example/"}`, "url", "is not a host"},
	{`{"kind": "http", "url": "https://x.example/a b"}`, "url", "no URL has"},
	{`{"kind": "http", "url": "https://x.example/", "timeoutMs": 5001}`, "timeoutMs", "from 100 to 5000"},
	{`{"kind": "http", "url": "https://x.example/", "method": "TRACE"}`, "method", "must be one of"},
	{`{"kind": "http", "url": "https://x.example/", "body": "x"}`, "body", "not for GET"},
	{`{"kind": "http", "url": "https://x.example/", "headers": {"Host": "y"}}`, "headers", "written by the platform"},
	{`{"kind": "http", "url": "https://x.example/", "headers": {"a b": "y"}}`, "headers", "not the name of a header"},
	{`{"kind": "http", "url": "https://x.example/", "headers": {"x-a": "1", "X-A": "2"}}`, "headers", "twice"},
	{`{"kind": "http", "url": "https://x.example/", "saveAs": {"a": "b"}}`, "saveAs.a", "not a path"},
	{`{"kind": "http", "url": "https://x.example/", "saveAs": {"a": "$.*"}}`, "saveAs.a", "not a plain name"},
	{`{"kind": "http", "url": "https://x.example/", "saveAs": {"a": 1}}`, "saveAs", "object of strings"},
	{`{"kind": "dial"}`, "destKind", "must be one of user, extension, number"},
	{`{"kind": "dial", "destKind": "user"}`, "destId", "is required"},
	{`{"kind": "dial", "destKind": "number"}`, "number", "is required"},
	{`{"kind": "dial", "destKind": "number", "number": "1", "destId": "us_1"}`, "destId", "not a parameter"},
	{`{"kind": "dial", "destKind": "user", "destId": "a", "timeoutSec": 301}`, "timeoutSec", "from 1 to 300"},
	{`{"kind": "ringGroup"}`, "ringGroupId", "is required"},
	{`{"kind": "forward"}`, "forwardId", "is required"},
	{`{"kind": "enqueue"}`, "queueId", "is required"},
	{`{"kind": "enqueue", "queueId": "q", "priority": 101}`, "priority", "from 0 to 100"},
	{`{"kind": "enqueue", "queueId": "q", "skills": {"french": 6}}`, "skills", "from 1 to 5"},
	{`{"kind": "voicemail"}`, "mailboxId", "is required"},
	{`{"kind": "record", "maxSec": 3601}`, "maxSec", "from 1 to 3600"},
	{`{"kind": "record", "silenceSec": 61}`, "silenceSec", "from 0 to 60"},
	{`{"kind": "conference"}`, "conferenceId", "is required"},
	{`{"kind": "conference", "conferenceId": "c", "role": "king"}`, "role", "member, moderator"},
	{`{"kind": "flow"}`, "flowId", "is required"},
	{`{"kind": "transfer", "destKind": "trunk", "destId": "t"}`, "destKind", "must be one of"},
	{`{"kind": "transfer", "destKind": "hangup", "sipCode": 200}`, "sipCode", "from 400 to 699"},
	{`{"kind": "tag"}`, "label", "is required"},
	{`{"kind": "hangup", "cause": "BECAUSE"}`, "cause", "must be one of"},
	{`{"kind": "hangup", "sipCode": 200}`, "sipCode", "from 400 to 699"},
	{`{"kind": "hangup", "end": "a\nb"}`, "end", "control characters"},
	{`{"kind": "entry", "trigger": "moon"}`, "trigger", "must be one of"},
}

func TestCompile_ChecksEveryParameter(t *testing.T) {
	// Proves the bounds of parameters, one wrong at a time.
	for _, c := range wrongParameters {
		_, errs := Compile(after(c.data))
		found := false
		for _, e := range errs {
			found = found || e.Path == "graph.nodes[1].data."+c.field && strings.Contains(e.Text, c.text)
		}
		if !found {
			t.Errorf("%s: want %s: %s, got %v", c.data, c.field, c.text, errs)
		}
	}
}

func TestCompile_TellsAllMistakesButNotEndlessly(t *testing.T) {
	// Proves that several mistakes are told at once, and that a graph of nothing but mistakes gives a bounded list.
	_, errs := Compile(after(`{"kind": "menu", "maxDigits": 99, "maxFailures": 99, "x": 1}`))
	if len(errs) != 3 {
		t.Errorf("%d mistakes: %v", len(errs), errs)
	}
	g := brain.FlowGraph{}
	for i := range MaxSteps {
		g.Nodes = append(g.Nodes, brain.FlowStep{ID: fmt.Sprint(i), Data: json.RawMessage(`{"kind": "?"}`)})
	}
	if _, errs := Compile(g); len(errs) != maxList {
		t.Errorf("%d mistakes of a graph of mistakes", len(errs))
	}
}

func TestCheckRefs_NamesWhatIsMissing(t *testing.T) {
	// Proves that a reference is asked for by its kind, and that the missing one is told by its path.
	g, errs := Compile(after(`{"kind": "play", "audioId": "media_1"}`, "s - bye"))
	if errs != nil {
		t.Fatal(errs)
	}
	if wrong := g.CheckRefs(only("media_")); wrong != nil {
		t.Errorf("what is there: %v", wrong)
	}
	wrong := g.CheckRefs(only("nothing"))
	if len(wrong) != 1 || wrong[0].Path != "graph.nodes[1].data.audioId" || wrong[0].Text != `no media_file "media_1" in the account` {
		t.Errorf("%v", wrong)
	}
}

func TestMermaid_DrawsStepsAndOutcomes(t *testing.T) {
	// Proves the drawing of a small graph as a whole: shapes, outcomes, an outcome that goes another's way, and quotes
	// in a name that could end the text.
	g, errs := Compile(draw([]string{`in {"kind": "entry"}`, `"day" {"kind": "timeCondition", "scheduleId": "s"}`, `bye {"kind": "hangup"}`, `say {"kind": "say", "text": "x"}`},
		[]string{"in - \"day\"", "\"day\" in_hours say", "\"day\" out_of_hours bye"}))
	if errs != nil {
		t.Fatal(errs)
	}
	want := `flowchart TD
    n0(["in<br/>entry"])
    n1{"#34;day#34;<br/>timeCondition"}
    n2(["bye<br/>hangup"])
    n3["say<br/>say"]
    n0 --> n1
    n1 -->|"in_hours"| n3
    n1 -->|"out_of_hours"| n2
    n1 -.->|"holiday"| n2
`
	if got := Mermaid(g); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

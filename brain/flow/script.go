package flow

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// MaxScript bounds a script in lines.
const MaxScript = 10_000

// Script is what happens to calls, for trying a flow without any: one line an event.
//
//	call caller_number=4930123 name="Ann Lee"    a call begins, with these variables; the first such line may be left out
//	at 2026-03-02T09:00:00Z                      the time of the next event; each takes a second
//	hours sch_1 holiday                          what a schedule says from here on: in_hours, out_of_hours, holiday
//	digits 12                                    any outcome of a command or an application; digits, digit and timeout
//	timeout                                      may be followed by digits, all of them by name=value
//	recorded key=acc/rec/1.wav
//	http 200 {"a": 1}                            the answer to an http step: a status and a body, error, or timeout
//	hangup                                       the caller hangs up
//	outcome strange                              any outcome, also one that nobody knows
//	# text                                       a remark
type Script []Line

// Line is one line of a script.
type Line struct {
	Text  string            // as it was written
	Word  string            // the first word
	Arg   string            // what follows of hours and at
	Input Input             // of an outcome
	Vars  map[string]string // of call
}

// ParseScript reads a script; the error names the line.
func ParseScript(text string) (Script, error) {
	var s Script
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		l, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("event line %d: %w", n+1, err)
		}
		if s = append(s, l); len(s) > MaxScript {
			return nil, fmt.Errorf("event line %d: more than %d events", n+1, MaxScript)
		}
	}
	return s, nil
}

func parseLine(line string) (l Line, err error) {
	l.Text = line
	word, rest, _ := strings.Cut(line, " ")
	l.Word, rest = word, strings.TrimSpace(rest)
	switch word {
	case "call":
		l.Vars, err = parsePairs(rest, "")
		return l, err
	case "at":
		l.Arg = rest
		_, err = time.Parse(time.RFC3339, rest)
		return l, err
	case "hours":
		l.Arg = rest
		if f := strings.Fields(rest); len(f) != 2 || !slices.Contains([]string{InHours, OutOfHours, Holiday}, f[1]) {
			err = fmt.Errorf("hours wants a schedule and one of in_hours, out_of_hours, holiday")
		}
		return l, err
	case "http":
		l.Input, err = parseAnswer(rest)
		return l, err
	}
	if word == "outcome" {
		word, rest, _ = strings.Cut(rest, " ")
	} else if !slices.Contains(scriptOutcomes, word) && !strings.HasPrefix(word, "option:") {
		return l, fmt.Errorf("%s is no event that calls have; outcome %s would play it all the same", quote(word), cut(word, maxName))
	}
	bare := map[string]string{"digits": "digits", "timeout": "digits", "digit": "digit"}[word]
	data, err := parsePairs(rest, bare)
	l.Input = Input{Outcome: word, Data: data}
	return l, err
}

// scriptOutcomes is what may stand for itself: a misspelt one is told, not played.
var scriptOutcomes = append([]string{api.OutcomeDone, api.OutcomeDigit, api.OutcomeDigits, api.OutcomeTimeout, api.OutcomeAnswered, api.OutcomeBusy,
	api.OutcomeNoAnswer, api.OutcomeFailed, api.OutcomeRecorded, api.OutcomeLeft, api.OutcomeEnded, api.OutcomeDenied, api.OutcomeHangup,
	api.OutcomeLost, outcomeFull}, queueExits...)

// parseAnswer reads what follows http.
func parseAnswer(s string) (Input, error) {
	status, body, _ := strings.Cut(s, " ")
	if status == HTTPTimeout || status == HTTPError {
		return Input{Outcome: status}, nil
	}
	code, err := strconv.Atoi(status)
	if err != nil || code < 100 || code > 599 {
		return Input{}, fmt.Errorf("http wants a status, error or timeout, not %s", quote(status))
	}
	in := Input{Outcome: HTTPError, Data: map[string]string{"status": status, "body": body}}
	if code >= 200 && code < 300 {
		in.Outcome = HTTPSuccess
	}
	return in, nil
}

// parsePairs reads name=value, the value in double quotes when it has spaces; a word alone is the value of bare.
func parsePairs(s, bare string) (map[string]string, error) {
	out := map[string]string{}
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		end := strings.IndexAny(s, "= ")
		if end == 0 {
			return nil, fmt.Errorf("%s has no name before the =", quote(s))
		}
		if end < 0 || s[end] == ' ' {
			if end < 0 {
				end = len(s)
			}
			if bare == "" {
				return nil, fmt.Errorf("%s is not name=value", quote(s[:end]))
			}
			out[bare], s = s[:end], s[end:]
			continue
		}
		name, rest := s[:end], s[end+1:]
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			if out[name], err = strconv.Unquote(quoted); err != nil {
				return nil, err
			}
			s = rest[len(quoted):]
			continue
		}
		out[name], s, _ = strings.Cut(rest, " ")
	}
	return out, nil
}

// Stage is what a script runs on: flows by id, all of version 1, and what schedules say. An unknown schedule is open.
type Stage struct {
	Flows map[string]*Graph
	hours map[string]string
}

func (s *Stage) Flow(id string) (*Graph, int64) { return s.Flows[id], 1 }

func (s *Stage) Pinned(id string, _ int64) *Graph { return s.Flows[id] }

func (s *Stage) Hours(id string) string { return s.hours[id] }

// scriptStart is when scripts begin that do not say: 2026-01-05, a Monday, 09:00 UTC.
const scriptStart = 1_767_603_600_000

// Run plays the script on a flow and writes what happened: each event after >, below it the steps with two spaces in
// front, then what the flow wants done. State passes through JSON between events, as it does in a session. visit is
// shown each Output; nil = nobody.
func (s *Stage) Run(flowID string, script Script, visit func(Output)) (string, error) {
	r := run{stage: s, flow: flowID, now: scriptStart, visit: visit}
	s.hours = map[string]string{}
	first := slices.IndexFunc(script, func(l Line) bool { return l.Word != "at" && l.Word != "hours" })
	if first < 0 {
		first = len(script)
	}
	if first == len(script) || script[first].Word != "call" {
		script = slices.Insert(slices.Clone(script), first, Line{Text: "call", Word: "call"})
	}
	for _, l := range script {
		if err := r.line(l); err != nil {
			return r.b.String(), fmt.Errorf("%s: %w", l.Text, err)
		}
	}
	return r.b.String(), nil
}

// run is a script being played.
type run struct {
	stage *Stage
	flow  string
	now   int64
	call  *State
	visit func(Output)
	b     strings.Builder
}

func (r *run) line(l Line) error {
	switch l.Word {
	case "at":
		at, err := time.Parse(time.RFC3339, l.Arg)
		r.now = at.UnixMilli()
		return err
	case "hours":
		id, state, _ := strings.Cut(l.Arg, " ")
		r.stage.hours[id] = strings.TrimSpace(state)
		return nil
	}
	fmt.Fprintf(&r.b, "> %s\n", l.Text)
	var out Output
	switch {
	case l.Word == "call":
		var state State
		state, out = Start(r.stage, r.flow, l.Vars, r.now)
		r.call = &state
	case r.call == nil:
		return fmt.Errorf("no call has begun")
	default:
		out = r.call.Step(r.stage, l.Input, r.now)
	}
	r.now += 1000
	r.b.WriteString(outputText(r.flow, out))
	if r.visit != nil {
		r.visit(out)
	}
	text, err := json.Marshal(r.call)
	if err != nil {
		return err
	}
	r.call = &State{}
	return json.Unmarshal(text, r.call)
}

// outputText writes an Output as a person reads it.
func outputText(main string, out Output) string {
	var b strings.Builder
	for _, t := range out.Trace {
		b.WriteString("  " + traceText(main, t) + "\n")
	}
	for _, t := range out.Tags {
		fmt.Fprintf(&b, "tag %s=%s\n", t.Label, quote(t.Value))
	}
	switch {
	case out.Command != nil:
		b.WriteString(commandText(out.Command))
	case out.HTTP != nil:
		b.WriteString(httpText(out.HTTP))
	case out.App != nil:
		fmt.Fprintf(&b, "%s %s/%s%s", map[bool]string{true: "run", false: "transfer to"}[out.App.Returns], out.App.Target.Kind, out.App.Target.ID, pairsText(out.App.Vars))
	case out.End != nil:
		fmt.Fprintf(&b, "end %s", out.End.Cause)
		if out.End.SIPCode != 0 {
			fmt.Fprintf(&b, " %d", out.End.SIPCode)
		}
		b.WriteString(": " + out.End.Why)
	}
	return b.String() + "\n"
}

func traceText(main string, t Trace) string {
	text := t.Step
	if t.Flow != main {
		text = t.Flow + "/" + text
	}
	if t.Outcome == "" && t.Note == "" {
		return text + " (" + t.Kind + ")"
	}
	if t.Outcome != "" {
		text += " → " + t.Outcome
	}
	if t.Note != "" {
		text += ", " + t.Note
	}
	return text + pairsText(t.Changed)
}

func commandText(c *Command) string {
	params := c.Params
	raw, err := json.Marshal(params)
	if err != nil {
		return c.Name
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return c.Name
	}
	text := c.Name
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text += " " + name + "=" + pairText(fields[name])
	}
	if c.Name == api.CommandDial && c.Record {
		text += " record"
	}
	for _, s := range c.Sounds {
		text += "\n    hear " + soundText(s)
	}
	return text
}

func pairText(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func soundText(s brain.Sound) string {
	text := ""
	for _, p := range [][2]string{{"file", s.MediaID}, {"playlist", s.PlaylistID}, {"prompt", s.Prompt}, {"key", s.Key}} {
		if p[1] != "" {
			text += p[0] + " " + p[1]
		}
	}
	if s.Text != "" {
		text += "the words " + quote(s.Text)
	}
	for _, p := range [][2]string{{"language", s.Language}, {"voice", s.Voice}} {
		if p[1] != "" {
			text += ", " + p[0] + " " + p[1]
		}
	}
	return text
}

func httpText(h *HTTPCall) string {
	text := fmt.Sprintf("http %s %s within %d ms", h.Method, h.URL, h.TimeoutMS)
	if h.SecretRef != "" {
		text += ", secret " + h.SecretRef
	}
	if h.Secret {
		text += ", not to be logged"
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		text += "\n    " + name + ": " + h.Headers[name]
	}
	if h.Body != "" {
		text += "\n    " + h.Body
	}
	return text
}

func pairsText(pairs map[string]string) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		text += " " + name + "=" + quote(pairs[name])
	}
	return text
}

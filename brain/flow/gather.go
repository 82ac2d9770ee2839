package flow

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

const maxGather = 40 // digits

// prompts is what menu and collect say and how long they wait: promptAudioId or promptText, repromptAudioId or
// repromptText (after a try without digits; else the prompt again), invalidAudioId or invalidText (after wrong
// digits, before the prompt of the next try; else the platform's "invalid"), language, voice, timeoutSec (5),
// interDigitTimeoutSec (3), bargeIn (true).
type prompts struct {
	prompt, reprompt, invalid spoken
	language, voice           string
	timeoutMS, interDigitMS   int
	bargeIn                   bool
	min, max                  int
	terminators               string
}

// spoken is a file or a text, neither when mediaID and text are empty.
type spoken struct {
	mediaID string
	text    template
}

func (s spoken) empty() bool { return s.mediaID == "" && len(s.text) == 0 }

func readSpoken(f *fields, name string) spoken {
	s := spoken{f.ref(name+"AudioId", brain.KindMediaFile), f.template(name + "Text")}
	if s.mediaID != "" && len(s.text) > 0 {
		f.wrong(name+"Text", "is set beside %sAudioId", name)
	}
	return s
}

func readPrompts(f *fields, maxDefault int, terminatorField string) prompts {
	p := prompts{
		prompt: readSpoken(f, "prompt"), reprompt: readSpoken(f, "reprompt"), invalid: readSpoken(f, "invalid"),
		language: f.text("language", 35), voice: f.text("voice", maxName),
		timeoutMS: 1000 * f.number("timeoutSec", 5, 1, 60), interDigitMS: 1000 * f.number("interDigitTimeoutSec", 3, 1, 30),
		bargeIn: f.boolean("bargeIn", true),
	}
	p.min = f.number("minDigits", 1, 1, maxGather)
	p.max = f.number("maxDigits", max(p.min, maxDefault), 1, maxGather)
	if p.max < p.min {
		f.wrong("maxDigits", "is %d, less than minDigits, %d", p.max, p.min)
	}
	p.terminators = "#"
	f.take(terminatorField, &p.terminators, "a string")
	if len(p.terminators) > len(allDigits) || strings.Trim(p.terminators, allDigits) != "" {
		f.wrong(terminatorField, "must be digits of %s", allDigits)
	}
	if p.prompt.empty() && !p.reprompt.empty() {
		f.wrong("promptText", "is required where there is a reprompt")
	}
	return p
}

// gather asks once more, with what is to be said on this try.
func (p *prompts) gather(w *walk, after string, secret bool) move {
	params := api.CommandParams{MinDigits: p.min, MaxDigits: p.max, Terminators: p.terminators,
		TimeoutMS: p.timeoutMS, InterDigitMS: p.interDigitMS, Secret: secret}
	if p.bargeIn {
		params.BargeIn = allDigits
	}
	var sounds []brain.Sound
	again := p.prompt
	switch {
	case after == outcomeInvalid && p.invalid.empty():
		sounds = append(sounds, brain.Sound{Prompt: "invalid", Language: p.language})
	case after == outcomeInvalid:
		sounds = p.add(w, sounds, p.invalid)
	}
	if after != "" && !p.reprompt.empty() {
		again = p.reprompt
	}
	return w.command(api.CommandGather, params, p.add(w, sounds, again)...)
}

func (p *prompts) add(w *walk, sounds []brain.Sound, s spoken) []brain.Sound {
	if s.mediaID != "" {
		return append(sounds, brain.Sound{MediaID: s.mediaID})
	}
	if text := s.text.render(w.public, nil); strings.TrimSpace(text) != "" {
		return append(sounds, brain.Sound{Text: text, Language: p.language, Voice: p.voice})
	}
	return sounds
}

// Outcomes of both.
const (
	outcomeTimeout = "timeout"
	outcomeInvalid = "invalid"
)

// entered is what the caller pressed, and the outcome of the try when that is nothing that could be judged: no
// digit at all is a timeout, too few are invalid.
func (p *prompts) entered(in Input) (digits, fault string) {
	digits = keep(in.Data["digits"], allDigits)
	switch {
	case digits == "" || in.Outcome != api.OutcomeDigits && in.Outcome != api.OutcomeTimeout:
		return "", outcomeTimeout
	case in.Outcome == api.OutcomeTimeout, len(digits) < p.min, len(digits) > p.max:
		return digits, outcomeInvalid
	}
	return digits, ""
}

// menu: the prompts, minDigits (1), maxDigits (minDigits), terminators ("#"), maxFailures (3), maxTimeouts (3).
//
// Outcomes: digit:x for one digit, match:xyz for several, timeout, invalid. Digits that no edge is for are invalid.
// After an invalid try, or one without digits, the menu asks again; at the maxFailures-th invalid try it is left by
// invalid, at the maxTimeouts-th silent one by timeout; both end the flow when no edge is there. A digit that an
// edge is for ends no entry: it is taken out of the terminators.
type menu struct {
	prompts
	maxFailures, maxTimeouts int
}

func readMenu(f *fields) action {
	m := &menu{prompts: readPrompts(f, 1, "terminators")}
	m.maxFailures, m.maxTimeouts = f.number("maxFailures", 3, 1, 10), f.number("maxTimeouts", 3, 1, 10)
	return m
}

func (m *menu) exits() []exit {
	out := []exit{{name: outcomeTimeout}, {name: outcomeInvalid}}
	if m.min == 1 {
		for _, d := range strings.Split(allDigits, "") {
			out = append(out, exit{name: "digit:" + d, or: outcomeInvalid})
		}
	}
	return append(out, exit{name: "match:*", or: outcomeInvalid})
}

// link takes the digits that edges are for out of the terminators, and looks at the lengths of match edges.
func (m *menu) link(f *mistakes, path func(handle string) string, handles []string) {
	for _, h := range handles {
		digits, isMatch := strings.CutPrefix(h, "match:")
		if d, ok := strings.CutPrefix(h, "digit:"); ok {
			digits = d
		}
		if !isMatch && digits == h {
			continue
		}
		m.terminators = strings.Map(func(r rune) rune {
			if strings.ContainsRune(digits, r) {
				return -1
			}
			return r
		}, m.terminators)
		if isMatch && (strings.Trim(digits, allDigits) != "" || len(digits) < m.min || len(digits) > m.max) {
			f.add(path(h), "%s never happens: the menu takes %d to %d digits", quote(h), m.min, m.max)
		}
	}
}

func (m *menu) begin(w *walk, _ *step) move { return m.gather(w, "", false) }

func (m *menu) result(w *walk, st *step, in Input) move {
	digits, fault := m.entered(in)
	if fault == "" {
		if outcome, ok := m.chosen(st, digits); ok {
			return leave(outcome)
		}
		fault = outcomeInvalid
	}
	t := &w.s.Tries
	if fault == outcomeTimeout {
		t.Silent++
	} else {
		t.Wrong++
	}
	if t.Silent >= m.maxTimeouts || t.Wrong >= m.maxFailures {
		return leave(fault)
	}
	w.note(st, fault, fmt.Sprintf("asks again: %d of %d wrong, %d of %d without an answer", t.Wrong, m.maxFailures, t.Silent, m.maxTimeouts))
	return m.gather(w, fault, false)
}

// chosen is the outcome that stands for the digits, if an edge leads on from it.
func (m *menu) chosen(st *step, digits string) (outcome string, ok bool) {
	outcome = "match:" + digits
	if _, ok := st.next[outcome]; ok {
		return outcome, true
	}
	if len(digits) == 1 {
		outcome = "digit:" + digits
	}
	_, own := st.next[outcome]
	_, any := st.next[""]
	return outcome, own || any
}

// isMatch says whether an edge is for several digits of a menu.
func isMatch(handle string) bool {
	digits, ok := strings.CutPrefix(handle, "match:")
	return ok && digits != ""
}

// collect: variable, the prompts, minDigits (1), maxDigits (20), terminator ("#"), regex (of the whole entry),
// maxTries (3), secret (false).
//
// Outcomes: default with the digits in the variable; timeout and invalid after maxTries, by what the last try was;
// both end the flow when no edge is there. A secret entry is masked in traces and tags and never spoken, and so is
// what is made of it.
type collect struct {
	prompts
	variable string
	regex    *regexp.Regexp
	maxTries int
	secret   bool
}

func readCollect(f *fields) action {
	c := &collect{variable: f.variable("variable"), prompts: readPrompts(f, 20, "terminator"), regex: f.regex("regex", "^(?:", ")$")}
	if c.variable == "" {
		f.wrong("variable", "is required")
	}
	c.maxTries, c.secret = f.number("maxTries", 3, 1, 10), f.boolean("secret", false)
	return c
}

func (c *collect) exits() []exit {
	return []exit{{name: defaultOutcome}, {name: outcomeTimeout}, {name: outcomeInvalid}}
}

func (c *collect) begin(w *walk, _ *step) move { return c.gather(w, "", c.secret) }

func (c *collect) result(w *walk, st *step, in Input) move {
	digits, fault := c.entered(in)
	if fault == "" && c.regex != nil && !c.regex.MatchString(digits) {
		fault = outcomeInvalid
	}
	if fault == "" {
		w.set(c.variable, digits, c.secret)
		return leave(defaultOutcome)
	}
	t := &w.s.Tries
	if t.Wrong++; t.Wrong >= c.maxTries {
		return leave(fault)
	}
	w.note(st, fault, fmt.Sprintf("asks again: try %d of %d", t.Wrong+1, c.maxTries))
	return c.gather(w, fault, c.secret)
}

// linker is an action that has to know its edges.
type linker interface {
	link(m *mistakes, path func(handle string) string, handles []string)
}

package flow

import (
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
)

// entry: trigger (inbound, internal or api, for the reader only). The one step a flow begins with.
//
// Outcomes: default (needs an edge); hangup, whose steps run after the caller hung up: http, tag, set and condition
// alone, at most MaxHangupSteps.
type entry struct{}

func readEntry(f *fields) action {
	f.oneOf("trigger", "inbound", "inbound", "internal", "api")
	return entry{}
}

func (entry) exits() []exit {
	return []exit{{name: defaultOutcome, needed: true}, {name: hangupHandle}}
}
func (entry) begin(*walk, *step) move { return leave(defaultOutcome) }

// condition: all or any of {left, op, right}; left and right are templates, right of matches is a regular
// expression (RE2).
//
// Outcomes: true, false; both need an edge, save after the caller hung up, where the way ends without one.
type condition struct {
	any  bool
	list []comparison
}

func readCondition(f *fields) action {
	_, all := f.raw["all"]
	_, any := f.raw["any"]
	if all == any {
		f.wrong("all", "either all or any is required")
	}
	c := &condition{any: any && !all}
	for _, name := range []string{"all", "any"} {
		f.list(name, func(item *fields) {
			cmp := comparison{left: item.template("left"), op: item.oneOf("op", "", comparisonOps...)}
			switch cmp.op {
			case "matches":
				if cmp.re = item.regex("right", "", ""); cmp.re == nil {
					item.wrong("right", "is required: a regular expression")
				}
			case "empty":
			default:
				cmp.right = item.template("right")
			}
			item.rest("a comparison by " + cut(cmp.op, maxName))
			c.list = append(c.list, cmp)
		})
	}
	return c
}

func (c *condition) exits() []exit {
	return []exit{{name: "true", needed: true}, {name: "false", needed: true}}
}

func (c *condition) begin(w *walk, _ *step) move {
	holds := func(x comparison) bool { return x.holds(w.value) }
	if c.any && slices.ContainsFunc(c.list, holds) ||
		!c.any && !slices.ContainsFunc(c.list, func(x comparison) bool { return !holds(x) }) {
		return leave("true")
	}
	return leave("false")
}

// choice is the step switch: value (template), cases (list of texts).
//
// Outcomes: case:x, which without an edge is as default; default, which needs an edge.
type choice struct {
	value template
	cases []string
}

func readSwitch(f *fields) action {
	c := &choice{value: f.template("value")}
	f.take("cases", &c.cases, "a list of strings")
	if len(c.cases) == 0 || len(c.cases) > maxList {
		f.wrong("cases", "must be 1 to %d", maxList)
	}
	for i, text := range c.cases {
		if len(text) > maxName || !printable(text) || slices.Contains(c.cases[:i], text) {
			f.wrong("cases", "%s is there twice, or longer than %d bytes, or not on one line", quote(text), maxName)
		}
	}
	return c
}

func (c *choice) exits() []exit {
	out := []exit{{name: defaultOutcome, needed: true}}
	for _, text := range c.cases {
		out = append(out, exit{name: "case:" + text, or: defaultOutcome})
	}
	return out
}

func (c *choice) begin(w *walk, _ *step) move {
	if v := c.value.render(w.value, nil); slices.Contains(c.cases, v) {
		return leave("case:" + v)
	}
	return leave(defaultOutcome)
}

// Hours of a schedule, as Env tells them, and outcomes of a timeCondition.
const (
	InHours    = "in_hours"
	OutOfHours = "out_of_hours"
	Holiday    = "holiday"
)

// timeCondition: scheduleId.
//
// Outcomes: in_hours, out_of_hours (both need an edge); holiday, which without an edge is as out_of_hours.
type timeCondition struct{ schedule string }

func readTimeCondition(f *fields) action {
	return timeCondition{f.requiredRef("scheduleId", brain.KindTimeSchedule)}
}

func (timeCondition) exits() []exit {
	return []exit{{name: InHours, needed: true}, {name: OutOfHours, needed: true}, {name: Holiday, or: OutOfHours}}
}

func (t timeCondition) begin(w *walk, _ *step) move {
	switch h := w.env.Hours(t.schedule); h {
	case OutOfHours, Holiday:
		return leave(h)
	}
	return leave(InHours) // a schedule that nobody knows is open
}

// set: assignments {variable: template}. All templates see the variables as they were before the step.
//
// Outcome: default, which without an edge ends the flow.
type set struct{ assignments map[string]template }

func readSet(f *fields) action {
	s := &set{f.templates("assignments", MaxVars, badVariable)}
	if len(s.assignments) == 0 {
		f.wrong("assignments", "at least one is required")
	}
	return s
}

func (s *set) exits() []exit { return []exit{{name: defaultOutcome}} }

func (s *set) begin(w *walk, _ *step) move {
	w.assign(s.assignments)
	return leave(defaultOutcome)
}

// assign renders all of the templates before it sets any; what is made of a secret is secret.
func (w *walk) assign(list map[string]template) {
	type assignment struct {
		name, value string
		secret      bool
	}
	var made []assignment
	for _, name := range slices.Sorted(maps.Keys(list)) {
		t := list[name]
		made = append(made, assignment{name, t.render(w.value, nil), slices.ContainsFunc(t.names(), w.isSecret)})
	}
	for _, a := range made {
		w.set(a.name, a.value, a.secret)
	}
}

// tag: label, value (template): goes to the call record. A secret is masked.
//
// Outcome: default, which without an edge ends the flow.
type tag struct {
	label string
	value template
}

func readTag(f *fields) action {
	t := &tag{f.text("label", maxName), f.template("value")}
	if strings.TrimSpace(t.label) == "" {
		f.wrong("label", "is required")
	}
	return t
}

func (t *tag) exits() []exit { return []exit{{name: defaultOutcome}} }

func (t *tag) begin(w *walk, _ *step) move {
	w.out.Tags = append(w.out.Tags, Tag{t.label, t.value.render(w.shown, nil)})
	return leave(defaultOutcome)
}

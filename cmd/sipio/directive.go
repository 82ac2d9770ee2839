package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// writeDirective tells a directive to a person: what happens, step by step, and why.
func writeDirective(w io.Writer, from, to string, d api.Directive) {
	if d.Action != api.ActionProxy {
		fmt.Fprintf(w, "%s dials %s: refused with %d %s\nwhy: %s\n", from, to, d.SIPCode, d.Reason, d.Why)
		return
	}
	fmt.Fprintf(w, "%s dials %s: %s call, at most %s\n", from, to, d.Call.Direction, time.Duration(d.Call.MaxDurationSec)*time.Second)
	shown := 0
	for i, r := range d.Routes {
		if r.Step == shown {
			continue // told with the first route of its step
		}
		shown = r.Step
		writeStep(w, r, d.Routes[i:])
	}
	if h := d.Routes[0].Headers; h != nil && h.From != nil {
		fmt.Fprintf(w, "From becomes: %s <%s>\n", h.From.Display, h.From.URI)
	}
	fmt.Fprintf(w, "why: %s\n", d.Why)
}

// writeStep tells one step: rest begins with its first route, whose timer and exits are the step's.
func writeStep(w io.Writer, first api.Route, rest []api.Route) {
	if first.App != "" {
		fmt.Fprintf(w, "  step %d: the platform answers: %s\n", first.Step, first.App)
		return
	}
	if first.URI == "" {
		fmt.Fprintf(w, "  step %d: answer %d\n", first.Step, first.SIPCode)
		return
	}
	var rung []string
	for _, r := range rest {
		if r.Step != first.Step {
			break
		}
		rung = append(rung, r.URI)
	}
	fmt.Fprintf(w, "  step %d: ring %s for %s\n", first.Step, strings.Join(rung, ", "), time.Duration(first.FrInvTimer)*time.Millisecond)
	fmt.Fprintf(w, "          busy: %s · no answer: %s\n", exit(first.Busy, 486), exit(first.Noanswer, 480))
}

// exit says where a step that failed goes on; step 0 ends the call with the code.
func exit(step, code int) string {
	if step == 0 {
		return fmt.Sprintf("the call ends with %d", code)
	}
	return fmt.Sprintf("step %d", step)
}

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/route"
)

// writeDirective tells a directive to a person: what happens, step by step, and why.
func writeDirective(w io.Writer, acct *brain.AccountConfig, from, to string, d api.Directive) {
	if d.Action != api.ActionProxy {
		fmt.Fprintf(w, "%s dials %s: refused with %d %s\nwhy: %s\n", from, to, d.SIPCode, d.Reason, d.Why)
		return
	}
	fmt.Fprintf(w, "%s dials %s: %s call, at most %s\n", from, to, d.Call.Direction, time.Duration(d.Call.MaxDurationSec)*time.Second)
	writeSteps(w, acct, d)
	fmt.Fprintf(w, "why: %s\n", d.Why)
}

// writeSteps tells every step of a directive.
func writeSteps(w io.Writer, acct *brain.AccountConfig, d api.Directive) {
	shown := 0
	for i, r := range d.Routes {
		if r.Step == shown {
			continue // told with the first route of its step
		}
		shown = r.Step
		writeStep(w, acct, r, d.Routes[i:])
	}
	if h := d.Routes[0].Headers; h != nil && h.From != nil {
		fmt.Fprintf(w, "From becomes: %s <%s>\n", h.From.Display, h.From.URI)
	}
}

// writeWalks tells what follows a directive: where the call goes from each step that asks again, and when trunk after trunk fails.
func writeWalks(w io.Writer, dir brain.Directory, caller route.Caller, req api.RouteRequest, d api.Directive) {
	for _, r := range d.Routes {
		switch {
		case r.Trunk != nil:
			writeWalk(w, caller.Account, route.Walk(dir, caller, req, 503)[1:])
		case r.Ask != "":
			later := req
			route.Reached(&later, &d, r.Step, 480)
			fmt.Fprintf(w, "when step %d is reached:\n", r.Step)
			all := route.Walk(dir, caller, later, 503)
			writeNext(w, caller.Account, all[0])
			writeWalk(w, caller.Account, all[1:])
		}
	}
}

func writeWalk(w io.Writer, acct *brain.AccountConfig, all []api.Directive) {
	for _, d := range all {
		fmt.Fprintln(w, "when that trunk answers 503:")
		writeNext(w, acct, d)
	}
}

// writeNext tells a later directive of a call.
func writeNext(w io.Writer, acct *brain.AccountConfig, d api.Directive) {
	if d.Action != api.ActionProxy {
		fmt.Fprintf(w, "  the call ends with %d %s\n", d.SIPCode, d.Reason)
	} else {
		writeSteps(w, acct, d)
	}
	fmt.Fprintf(w, "why: %s\n", d.Why)
}

// writeAttempt tells an attempt over a trunk: where it goes, who is shown, and the headers that it gets.
func writeAttempt(w io.Writer, acct *brain.AccountConfig, r api.Route) {
	t, name := r.Trunk, r.Trunk.ID
	if trunk := acct.Trunks[t.ID]; trunk != nil {
		name = trunk.Name
	}
	fmt.Fprintf(w, "  step %d: over trunk %s to %s for %s, silent for at most %s\n", r.Step, name, r.URI,
		time.Duration(r.FrInvTimer)*time.Millisecond, time.Duration(t.FrTimer)*time.Millisecond)
	for _, s := range []struct{ name, value string }{{"next hop", t.DstURI}, {"registered here as", t.Lookup}} {
		if s.value != "" {
			fmt.Fprintf(w, "          %s %s\n", s.name, s.value)
		}
	}
	fmt.Fprintf(w, "          From: %s <%s>\n", t.From.Display, t.From.URI)
	for line := range strings.SplitSeq(strings.TrimSuffix(t.Headers, "\r\n"), "\r\n") {
		if line != "" {
			fmt.Fprintf(w, "          %s\n", line)
		}
	}
}

// writeStep tells one step: rest begins with its first route, whose timer and exits are the step's.
func writeStep(w io.Writer, acct *brain.AccountConfig, first api.Route, rest []api.Route) {
	if first.App != "" {
		fmt.Fprintf(w, "  step %d: the platform answers: %s\n", first.Step, first.App)
		return
	}
	if first.Trunk != nil {
		writeAttempt(w, acct, first)
		return
	}
	if first.Ask != "" {
		fmt.Fprintf(w, "  step %d: what follows is decided when it is reached: %s\n", first.Step, first.Ask)
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

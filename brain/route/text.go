package route

import (
	"fmt"
	"strings"

	"github.com/sipio/sipio/brain/api"
)

// Text writes a directive for people: `sipio route try` prints it and the golden files hold it. Programs
// read the JSON. Texts that a phone had a hand in are quoted when they would not print as they are.
func Text(d api.Directive) string {
	var b strings.Builder
	if d.Action == api.ActionProxy {
		textProxy(&b, &d)
	} else {
		fmt.Fprintf(&b, "%s %d %s\n", d.Action, d.SIPCode, safe(d.Reason))
		if d.RetryAfterSec > 0 {
			fmt.Fprintf(&b, "  retry after %d s\n", d.RetryAfterSec)
		}
	}
	if d.Why != "" {
		fmt.Fprintf(&b, "why: %s\n", safe(d.Why))
	}
	return b.String()
}

func textProxy(b *strings.Builder, d *api.Directive) {
	fmt.Fprintf(b, "%s %s\n", d.Action, d.Routing)
	if c := d.Call; c != nil {
		fmt.Fprintf(b, "call %s %s → %s, at most %d s, token %s\n", safe(c.Direction), safe(c.From), safe(c.To), c.MaxDurationSec, safe(c.Token))
	}
	if len(d.Routes) > 0 && d.Routes[0].Headers != nil && d.Routes[0].Headers.From != nil {
		fmt.Fprintf(b, "From is %s <%s>\n", safe(d.Routes[0].Headers.From.Display), safe(d.Routes[0].Headers.From.URI))
	}
	step := 0
	for i := range d.Routes {
		r := &d.Routes[i]
		if r.App != "" {
			textApp(b, r)
			continue
		}
		if r.Trunk != nil {
			textTrunk(b, d.Call, r)
			continue
		}
		if r.Ask != "" {
			fmt.Fprintf(b, "step %d: asks again, at %s\n", r.Step, safe(r.Ask))
			continue
		}
		if r.SIPCode != 0 {
			fmt.Fprintf(b, "step %d: answer %d %s\n", r.Step, r.SIPCode, Reason(r.SIPCode))
			continue
		}
		if r.Step != step {
			fmt.Fprintf(b, "step %d: ring %g s, then busy %s, noanswer %s\n", r.Step, float64(r.FrInvTimer)/1000, after(r.Busy, 486), after(r.Noanswer, 480))
		}
		step = r.Step
		fmt.Fprintf(b, "  %s\n", safe(r.URI))
	}
}

// textTrunk writes an attempt over a trunk, and what it is asked with when it fails.
func textTrunk(b *strings.Builder, c *api.CallInfo, r *api.Route) {
	t, progress := r.Trunk, ""
	if t.ProgressMS > 0 {
		progress = fmt.Sprintf("until it rings %g s, ", float64(t.ProgressMS)/1000)
	}
	fmt.Fprintf(b, "step %d: over trunk %s to %s, silent for at most %g s, %sring %g s\n", r.Step, safe(t.ID), safe(r.URI), float64(t.FrTimer)/1000, progress, float64(r.FrInvTimer)/1000)
	for _, s := range []struct{ name, value string }{{"next hop", t.DstURI}, {"registered as", t.Lookup}, {"media", strings.TrimPrefix(t.ToTrunk, flagsToRTP)}} {
		if s.value != "" {
			fmt.Fprintf(b, "  %s: %s\n", s.name, safe(strings.TrimSpace(s.value)))
		}
	}
	fmt.Fprintf(b, "  From: %s <%s>\n", safe(t.From.Display), safe(t.From.URI))
	fmt.Fprintf(b, "  To: <%s>\n", safe(t.To))
	for line := range strings.SplitSeq(strings.TrimSuffix(t.Headers, "\r\n"), "\r\n") {
		if line != "" {
			fmt.Fprintf(b, "  %s\n", safe(line))
		}
	}
	if c != nil {
		fmt.Fprintf(b, "  asked again at %s, hops %d, attestation %s\n", safe(c.At), c.Hops, c.Attestation)
	}
}

// textApp writes a step that the platform answers, with the variables it gets.
func textApp(b *strings.Builder, r *api.Route) {
	then := ""
	if r.Noanswer != 0 {
		then = fmt.Sprintf(", not taken → step %d", r.Noanswer)
	}
	fmt.Fprintf(b, "step %d: the platform answers within %g s%s: %s\n", r.Step, float64(r.FrInvTimer)/1000, then, safe(r.App))
	for _, pair := range pairs(r.Vars) {
		fmt.Fprintf(b, "  %s\n", safe(pair))
	}
}

// after says where an exit goes; code is what ends the call when it goes nowhere.
func after(step, code int) string {
	if step == 0 {
		return fmt.Sprintf("ends with %d", code)
	}
	return fmt.Sprintf("→ step %d", step)
}

// safe is s as it is when it prints, otherwise quoted.
func safe(s string) string {
	if printable(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

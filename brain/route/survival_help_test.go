package route

import (
	"slices"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves that a node without a brain tries for an emergency number what Decide and what follows would, with the same identity, but for the
// order: trunks with a password come last.
func TestSurvival_CallsForHelpAsDecideDoes(t *testing.T) {
	o := newCompany()
	acct, dir := o.config()
	kept, _ := Survival(acct, []string{"110", "112"})
	if len(kept.Help) != 2 || kept.Help[1].Number != "112" || kept.Help[1].At != "emergency/112" {
		t.Fatalf("%+v", kept.Help)
	}
	for _, device := range []string{"1001-desk", "1002-desk"} {
		var want, got []string
		req, caller := invite("112", "acme.example"), callerOf(acct, device)
		req.FromUser = caller.User.Username
		shown := map[string]api.RouteTrunk{}
		for d := Decide(dir, caller, req); d.Action == api.ActionProxy; d = Decide(dir, caller, req) {
			r := d.Routes[0]
			want, shown[r.Trunk.ID] = append(want, r.Trunk.ID+" "+r.URI), *r.Trunk
			Failed(&req, &d, 503)
		}
		i := slices.IndexFunc(kept.Callers, func(c api.SurvivalCaller) bool { return c.AuthUsername == device })
		for _, r := range kept.Help[1].Routes {
			got = append(got, r.Trunk.ID+" "+r.URI)
			from, headers := r.Trunk.From, r.Trunk.Headers
			for _, s := range kept.Callers[i].Shown {
				if s.TrunkID == r.Trunk.ID {
					from, headers = s.From, s.Headers
				}
			}
			if w := shown[r.Trunk.ID]; w.From == nil || *from != *w.From || headers != w.Headers {
				t.Errorf("%s over %s: %+v %q, want %+v %q", device, r.Trunk.ID, from, headers, w.From, w.Headers)
			}
		}
		slices.Sort(want)
		if last := got[len(got)-1]; acct.Trunks["trk_alpha"].AuthSecretRef == "" || last[:9] != "trk_alpha" {
			t.Errorf("%s: %v, want the trunk with a password last", device, got)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", device, got, want)
		}
	}
	if kept.Callers[0].Shown == nil || len(kept.Numbers) == 0 {
		t.Errorf("%+v", kept.Callers[0])
	}
}

// Proves that calls for help go on where other calls wait for the brain, and that there are none without a trunk.
func TestSurvival_HelpWithoutNumbers(t *testing.T) {
	o := newCompany()
	o.Account.AdmissionPolicy = brain.AdmissionClosed
	acct, _ := o.config()
	if kept, _ := Survival(acct, []string{"112"}); len(kept.Help) != 1 || len(kept.Help[0].Routes) == 0 || kept.Numbers != nil {
		t.Errorf("%+v", kept)
	}
	o.AccountRows.Trunks = nil
	acct, _ = o.config()
	if kept, _ := Survival(acct, []string{"112"}); kept.Help != nil {
		t.Errorf("%+v", kept.Help)
	}
}

package route

import (
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves how long each attempt waits until it rings: as the trunk says, a call for help 5 s at most, and the last trunk of one, or one that may
// not ring longer anyway, as long as it may ring; so it is of what a node does alone.
func TestOver_WaitsForProgress(t *testing.T) {
	o := newCompany()
	o.way("trk_alpha").ProgressMS, o.way("trk_beta").ProgressMS = 3000, 20_000
	acct, dir := o.config()
	for dialed, want := range map[string]map[string]int{"0405551234": {"trk_alpha": 3000, "trk_beta": 20_000}, "112": {"trk_alpha": 3000, "trk_beta": 5000, "trk_whole": 5000}} {
		req, caller, got, last := invite(dialed, "acme.example"), callerOf(acct, "1001-desk"), 0, 0
		for d := Decide(dir, caller, req); d.Action == api.ActionProxy; d = Decide(dir, caller, req) {
			r := d.Routes[0]
			last = r.Trunk.ProgressMS
			if last != want[r.Trunk.ID] && (dialed != "112" || last != 0) {
				t.Errorf("%s over %s waits %d ms, want %d", dialed, r.Trunk.ID, last, want[r.Trunk.ID])
			}
			got++
			Failed(&req, &d, 408)
		}
		if got < 2 || (last == 0) != (dialed == "112") {
			t.Errorf("%s: %d attempts, the last one waits %d ms", dialed, got, last)
		}
	}
	kept, _ := Survival(acct, []string{"112"})
	for i, r := range kept.Help[0].Routes {
		if last := i == len(kept.Help[0].Routes)-1; (r.Trunk.ProgressMS == 0) != last || r.Trunk.ProgressMS > 5000 {
			t.Errorf("attempt %d of a node alone waits %d ms", i, r.Trunk.ProgressMS)
		}
	}
	p := &plan{acct: acct, caller: callerOf(acct, "1001-desk"), req: &api.RouteRequest{}}
	fwd := &outward{kind: destNumber, number: "49405551234", forward: &brain.Forward{ID: "fwd_1", TimeoutSec: 10}}
	if r, why := p.over(fwd, line{trunk: o.way("trk_beta")}); why != "" || r.Trunk.ProgressMS != 0 || r.FrInvTimer != 10_000 {
		t.Errorf("a forward that rings 10 s: %+v %s", r, why)
	}
}

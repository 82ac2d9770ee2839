package route

import (
	"fmt"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves who is believed what he says of a caller: a trunk, whether it is known by its address or by its digest, and never a phone.
func TestDecide_TrunksAreBelievedWhateverTheyAreKnownBy(t *testing.T) {
	o := newCompany()
	o.leads("forward fwd_cell")
	acct, dir := o.config()
	says := func(req *api.RouteRequest) {
		req.Asserted, req.Diversion, req.Diverted, req.Identity = "+4989777", "<sip:+49301@x>;counter=3", 1, "x"
	}
	req, caller := fromTrunk(acct, "+4930100")
	says(&req)
	for _, peer := range []string{api.PeerTrunk, ""} {
		req.Peer = peer
		if d := Decide(dir, caller, req); d.Routes[0].Trunk == nil || d.Call.From != "+4989777" || d.Routes[0].Trunk.Headers[:len("Diversion: <sip:+4930100@alpha.example>;reason=unconditional;counter=4")] !=
			"Diversion: <sip:+4930100@alpha.example>;reason=unconditional;counter=4" {
			t.Errorf("a trunk as peer %q: %s", peer, Text(d))
		}
	}
	always(o.user("1002"), "forward fwd_cell")
	acct, dir = o.config()
	plain, caller, _ := outFrom("1002", func(o *office) { always(o.user("1002"), "forward fwd_cell") })
	caller.Account = acct
	loud := plain
	says(&loud)
	loud.Diverted = 50
	if quiet, got := Text(Decide(dir, caller, plain)), Text(Decide(dir, caller, loud)); got != quiet {
		t.Errorf("a phone says:\n%s\nwant\n%s", got, quiet)
	}
}

// Proves that a second forward gives back the place of the user to whom the first one overflowed, and that of no one else.
func TestChange_GivesBackWhomAnEarlierForwardRang(t *testing.T) {
	req, caller, dir := outFrom("1002", func(o *office) {
		always(o.user("1002"), "forward fwd_cell")
		noanswer(o.user("1005"), "forward fwd_work")
		o.Forwards = append(o.Forwards, brain.Forward{ID: "fwd_other", Name: "other", Number: "0401", OverflowDestKind: brain.DestUser, OverflowDestID: "us_1003"},
			brain.Forward{ID: "fwd_ext", Name: "ext", Number: "0401", OverflowDestKind: brain.DestExtension, OverflowDestID: "ext_300"})
	})
	d := Decide(dir, caller, req)
	Failed(&req, &d, 404)
	d = Decide(dir, caller, req)
	swap, _ := Change(&caller, Callee(caller, &req), &req, &d)
	if got := fmt.Sprint(swap.Add); len(d.Routes) != 2 || d.Routes[1].Ask != "forward/fwd_work" || got != "[{user us_1005 0} {internal  0}]" {
		t.Fatalf("%s\nadds %s", Text(d), got)
	}
	Reached(&req, &d, 2, 408)
	d = Decide(dir, caller, req)
	swap, _ = Change(&caller, nil, &req, &d)
	if got := fmt.Sprint(swap.Drop); Leaving(caller.Account, &d) == nil || got != "[{user us_1005 0} {internal  0}]" {
		t.Errorf("drops %s\n%s", got, Text(d))
	}
}

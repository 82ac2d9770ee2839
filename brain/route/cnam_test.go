package route

import (
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves whose name a trunk is shown: the caller's own where the rules give him one, else that of the number that is shown, if the
// account vouches for the number; nobody's when the caller withholds his; and that no name breaks out of From.
func TestIdentify_ANumberIsShownWithItsName(t *testing.T) {
	anonymous := `"Anonymous" <sip:anonymous@anonymous.invalid>`
	toWork := func(o *office) { o.leads("forward fwd_work") }
	for _, c := range []struct {
		outScenario
		want string
	}{
		{outScenario{scenario: scenario{name: "his own name goes before", dial: "0405551234"}}, `"Alice Acme" <sip:+4930101@alpha.example>`},
		{outScenario{scenario: scenario{name: "his own number without a name", dial: "0405551234", change: func(o *office) { o.user("1001").OutCIDName = "" }}},
			`"Acme Sales" <sip:+4930101@alpha.example>`},
		{outScenario{scenario: scenario{name: "the account's number", dial: "0405551234", device: "1002-desk"}}, `"Acme GmbH" <sip:+4930100@alpha.example>`},
		{outScenario{scenario: scenario{name: "a number without a name", dial: "0405551234", device: "1002-desk", change: func(o *office) { o.DIDs[0].CNAM = "" }}},
			`"+4930100" <sip:+4930100@alpha.example>`},
		{outScenario{scenario: scenario{name: "a trunk with from_user", dial: "0405551234", device: "1002-desk", change: func(o *office) { o.way("trk_alpha").FromUser = "a" }}},
			`"Acme GmbH" <sip:a@alpha.example>`},
		{outScenario{scenario: scenario{name: "a name of traps", dial: "0405551234", device: "1002-desk", change: func(o *office) { o.DIDs[0].CNAM = "A\r\nX: \"y\"\u202e" }}},
			`"AX: \"y\"" <sip:+4930100@alpha.example>`},
		{outScenario{scenario: scenario{name: "withheld", dial: "0405551234", device: "1002-desk", from: func(r *api.RouteRequest) { r.Privacy = "id" }}}, anonymous},
		{outScenario{scenario: scenario{name: "a call for help", dial: "112", device: "1002-desk", from: func(r *api.RouteRequest) { r.Privacy = "id" }}},
			`"Acme GmbH" <sip:030100@beta.example>`},
		{outScenario{pbx: true, scenario: scenario{name: "a PBX with a name", dial: "0405551234"}}, `"Extension 7" <sip:+4930101@alpha.example>`},
		{outScenario{pbx: true, scenario: scenario{name: "a PBX that repeats the number", dial: "0405551234", from: func(r *api.RouteRequest) { r.FromName = `"+4930101"` }}},
			`"Acme Sales" <sip:+4930101@alpha.example>`},
		{outScenario{pbx: true, scenario: scenario{name: "a PBX to a PBX", dial: "7777", from: func(r *api.RouteRequest) { r.FromName = "" },
			change: func(o *office) { o.way("trk_alpha").Role = brain.RolePBX; o.extension("7777").DestID = "trk_alpha" }}}, `"+4930101" <sip:+4930101@alpha.example>`},
		{outScenario{scenario: scenario{trunk: true, name: "sent on as the number called", dial: "+4930100", change: toWork}}, `"Acme GmbH" <sip:+4930100@alpha.example>`},
		{outScenario{scenario: scenario{trunk: true, name: "sent on, withheld", dial: "+4930100", change: toWork, from: func(r *api.RouteRequest) { r.Privacy = "user" }}}, anonymous},
		{outScenario{scenario: scenario{trunk: true, name: "a stranger with a number of ours", dial: "+4930100", change: func(o *office) { o.leads("forward fwd_cell") },
			from: func(r *api.RouteRequest) { r.FromUser, r.FromName = "+4930101", "" }}}, `"+4930101" <sip:+4930101@alpha.example>`},
		{outScenario{scenario: scenario{name: "a leg for nobody known", leg: "number/+49405551234"}}, `"Acme GmbH" <sip:+4930100@alpha.example>`},
	} {
		change := c.change
		c.change = func(o *office) {
			o.DIDs[0].CNAM, o.DIDs[len(o.DIDs)-1].CNAM = "Acme GmbH", "Acme Sales"
			if change != nil {
				change(o)
			}
		}
		req, caller, dir := c.first()
		d := Decide(dir, caller, req)
		if len(d.Routes) == 0 || d.Routes[0].Trunk == nil {
			t.Errorf("%s: it does not go out\n%s", c.name, Text(d))
			continue
		}
		if from := d.Routes[0].Trunk.From; from.Display+" <"+from.URI+">" != c.want {
			t.Errorf("%s: %s <%s>, want %s", c.name, from.Display, from.URI, c.want)
		}
	}
}

package route

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Proves which numbers an account may call: of the countries that it names, else of its own alone; satellites and networks of no
// country only by name; and that calls for help need no country.
func TestDecide_CallsTheCountriesOfTheAccountAlone(t *testing.T) {
	const de, fr, jamaica, us, satellite = "0405551234", "+33142685300", "+18765551234", "+12125551234", "+881612345678"
	for _, c := range []struct {
		country string
		list    string
		dial    string
		passes  bool
	}{
		{"DE", "", de, true}, {"DE", "", fr, false}, {"DE", "", us, false}, {"DE", "", satellite, false}, {"DE", "", "112", true},
		{"DE", "FR", de, false}, {"DE", "FR", fr, true}, {"DE", "DE FR", de, true},
		{"DE", "US", us, true}, {"DE", "US", jamaica, false}, {"DE", "JM", jamaica, true}, {"DE", "JM", us, false},
		{"DE", "*", fr, true}, {"DE", "*", jamaica, true}, {"DE", "*", satellite, false}, {"DE", "* 001", satellite, true}, {"DE", "001", satellite, true}, {"DE", "001", de, false},
		{"", "", fr, false}, {"", "FR", fr, true}, {"", "*", fr, true}, {"", "", "112", true}, {"DE", "FR", "112", true},
	} {
		req, caller, dir := outFrom(c.dial, func(o *office) {
			o.Account.Country, o.Account.OutboundCountries = c.country, strings.Fields(c.list)
		})
		d := Decide(dir, caller, req)
		if (d.Action == api.ActionProxy) != c.passes || !c.passes && (d.SIPCode != 403 || !strings.Contains(d.Why, "is not called")) {
			t.Errorf("%+v:\n%s", c, Text(d))
		}
	}
}

// Proves that no way to outside leads past the list: what phones and PBXs dial, forwards at once and behind phones, members of groups,
// recorded calls, callbacks, transfers, the legs of flows, and REFER.
func TestDecide_NoWayLeadsPastTheCountries(t *testing.T) {
	const abroad = "+18765551234"
	change := func(o *office) {
		o.forward("fwd_cell").Number, o.forward("fwd_cell").OverflowDestKind = abroad, ""
		o.forward("fwd_cell").OverflowDestID = ""
	}
	leg := func(dial string) func(o *office, r *api.RouteRequest, c *Caller) {
		return func(_ *office, r *api.RouteRequest, c *Caller) {
			r.Dial, *c = dial, Caller{Account: c.Account, Media: true}
		}
	}
	for name, set := range map[string]func(o *office, r *api.RouteRequest, c *Caller){
		"dialed": func(_ *office, r *api.RouteRequest, _ *Caller) { r.RURIUser = abroad },
		"dialed by a PBX": func(_ *office, r *api.RouteRequest, c *Caller) {
			r.RURIUser = abroad
			c.User, c.Device, c.Trunk = nil, nil, c.Account.Trunks["trk_pbx"]
		},
		"again":   func(_ *office, r *api.RouteRequest, _ *Caller) { r.At = "number/" + abroad },
		"forward": func(o *office, r *api.RouteRequest, _ *Caller) { r.RURIUser = "1003" },
		"forward behind phones": func(o *office, r *api.RouteRequest, _ *Caller) {
			r.RURIUser, r.At, r.Hops, r.FailedCode = "1002", "forward/fwd_cell", 1, 480
		},
		"leg to a forward": leg("forward/fwd_cell"),
		"callback":         leg("number/" + abroad),
		"recorded":         leg("pstn/" + abroad),
		"transfer":         leg("transfer/us_1002/" + abroad),
	} {
		o := newCompany()
		change(o)
		always(o.user("1003"), "forward fwd_cell")
		noanswer(o.user("1002"), "forward fwd_cell")
		acct, dir := o.config()
		req, caller := invite("1002", "acme.example"), callerOf(acct, "1001-desk")
		set(o, &req, &caller)
		if d := Decide(dir, caller, req); d.Action != api.ActionReject || !strings.Contains(d.Why, "a number of JM is not called") {
			t.Errorf("%s:\n%s", name, Text(d))
		}
		acct.Account.OutboundCountries = []string{brain.AnyCountry}
		if d := Decide(dir, caller, req); d.Action != api.ActionProxy || d.Routes[0].Trunk == nil {
			t.Errorf("%s, allowed:\n%s", name, Text(d))
		}
	}
	o := newCompany()
	o.user("1001").AllowPSTNBlindTransfer = true
	acct, dir := o.config()
	refer := api.ReferRequest{FromUser: "1001", FromDomain: "acme.example", ReferTo: "sip:" + abroad + "@acme.example", Sender: api.ReferCaller}
	if reply := Refer(dir, acct, &refer, func() (string, string) { return "1001", "1002" }); reply.Action != api.ActionReject || !strings.Contains(reply.Why, "JM is not called") {
		t.Errorf("REFER: %+v", reply)
	}
}

package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// toTrunk has number 4930100 of a company lead to a trunk.
func toTrunk(id string) func(o *office) {
	return func(o *office) {
		for i := range o.DIDs {
			if d := &o.DIDs[i]; d.E164 == "4930100" {
				d.DestKind, d.DestID, d.ScheduleID = brain.DestTrunk, id, ""
			}
		}
	}
}

// Proves that a number of the account leads to a PBX: with the number called, the caller as he came, as a call from outside that takes a
// channel of each trunk and nothing of the calls out; that what is dialed leads there as it was dialed, by a phone with its extension;
// and that a call does not go back to the PBX that it comes from.
func TestDecide_ANumberLeadsToAPBX(t *testing.T) {
	for _, c := range []struct {
		name, from, uri, shows, direction string
		code                              int
		change                            func(o *office)
	}{
		{name: "carrier", from: "+4930100", uri: "sip:+4930100@acme.example", shows: "+4940555123", direction: brain.DirectionIn},
		{name: "phone", uri: "sip:7777@acme.example", shows: "1001", direction: brain.DirectionInternal},
		{name: "national", from: "+4930100", uri: "sip:030100@acme.example", shows: "040555123", direction: brain.DirectionIn,
			change: func(o *office) { o.way("trk_pbx").NumberFormat = brain.FormatNational }},
		{name: "at a proxy", from: "+4930100", uri: "sip:+4930100@192.0.2.9:5080", direction: brain.DirectionIn, shows: "+4940555123",
			change: func(o *office) {
				o.way("trk_pbx").InboundAuth, o.way("trk_pbx").Proxy = brain.InboundIP, "192.0.2.9:5080"
			}},
		{name: "back again", from: "pbx", code: 482},
		{name: "disabled", from: "+4930100", code: 480, change: func(o *office) { o.way("trk_pbx").Status = brain.StatusDisabled }},
		{name: "to a carrier", from: "+4930100", uri: "sip:030100@beta.example:5070;transport=tcp", direction: brain.DirectionOut,
			change: toTrunk("trk_beta")},
		{name: "to a carrier in another country", from: "+4930100", code: 403,
			change: func(o *office) { toTrunk("trk_beta")(o); o.Account.OutboundCountries = []string{"FR"} }},
		{name: "an extension to a carrier", code: 404, change: func(o *office) { o.extension("7777").DestID = "trk_beta" }},
	} {
		o := newCompany()
		toTrunk("trk_pbx")(o)
		if c.change != nil {
			c.change(o)
		}
		acct, dir := o.config()
		req, caller := invite("7777", "acme.example"), callerOf(acct, "1001-desk")
		switch c.from {
		case "":
		case "pbx":
			req, caller = fromPBX(acct, "+4930100")
		default:
			req, caller = fromTrunk(acct, c.from)
			req.FromUser, req.Asserted, req.Privacy = "+4940555123", "", ""
		}
		d := Decide(dir, caller, req)
		if c.code != 0 {
			if d.Action != api.ActionReject || d.SIPCode != c.code {
				t.Errorf("%s:\n%s", c.name, Text(d))
			}
			continue
		}
		if d.Action != api.ActionProxy || len(d.Routes) != 1 || d.Routes[0].URI != c.uri || d.Call.Direction != c.direction ||
			c.shows != "" && !strings.HasPrefix(d.Routes[0].Trunk.From.URI, "sip:"+c.shows+"@") {
			t.Errorf("%s: %+v\n%s", c.name, d.Call, Text(d))
			continue
		}
		takes, _ := Needs(&caller, nil, &req, &d)
		out := slices.ContainsFunc(takes, func(t cac.Take) bool { return t.Kind == cac.Out })
		if channel := slices.Contains(takes, cac.Take{Kind: cac.Trunk, ID: d.Call.Trunk}); out != (c.direction == brain.DirectionOut) || !channel && c.direction != brain.DirectionOut {
			t.Errorf("%s takes %+v", c.name, takes)
		}
		Failed(&req, &d, 486)
		if again := Decide(dir, caller, req); again.Action != api.ActionReject || again.SIPCode != 486 {
			t.Errorf("%s, busy:\n%s", c.name, Text(again))
		}
	}
}

// Proves that a PBX behind phones is reached by a question of its own, which changes the phone's line into a channel, and that a leg of
// the media server gets there with the number that its call was for.
func TestDecide_APBXBehindPhones(t *testing.T) {
	o := newCompany()
	noanswer(o.user("1002"), "trunk trk_pbx")
	acct, dir := o.config()
	req, caller := invite("1002", "acme.example"), callerOf(acct, "1001-desk")
	d := Decide(dir, caller, req)
	if len(d.Routes) != 2 || d.Routes[1].Ask != "trunk/trk_pbx" {
		t.Fatal(Text(d))
	}
	Reached(&req, &d, 2, 408)
	d = Decide(dir, caller, req)
	if d.Action != api.ActionProxy || d.Routes[0].URI != "sip:1002@acme.example" || d.Routes[0].Trunk.Lookup != "sip:pbx1@acme.example" || d.Call.Direction != brain.DirectionInternal {
		t.Fatal(Text(d))
	}
	change, _ := Change(&caller, nil, &req, &d)
	if got := fmt.Sprint(change.Drop, change.Add); got != fmt.Sprint([]cac.Take{{Kind: cac.User, ID: "us_1002"}}, []cac.Take{{Kind: cac.Trunk, ID: "trk_pbx"}}) {
		t.Error(got)
	}
	leg := invite("leg", "acme.example")
	leg.Dial, leg.Called, leg.FromUser = "trunk/trk_pbx", "4930100", "+4940555123"
	if d = Decide(dir, Caller{Account: acct, Media: true}, leg); d.Action != api.ActionProxy || d.Routes[0].URI != "sip:+4930100@acme.example" {
		t.Error(Text(d))
	}
	o.user("1001").RecordPolicy = brain.RecordAll
	acct, dir = o.config()
	if d = Decide(dir, callerOf(acct, "1001-desk"), invite("7777", "acme.example")); d.Action != api.ActionProxy || d.Routes[0].App != "trunk/trk_pbx" {
		t.Error(Text(d))
	}
}

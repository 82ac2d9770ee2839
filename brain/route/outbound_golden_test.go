package route

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// outScenario is a scenario of the company whose call goes outside: what each attempt, or step that asks, comes to, one after
// the other.
type outScenario struct {
	scenario
	pbx    bool // the call comes from the PBX
	codes  []int
	caller func(*Caller)
	asks   int // the step that the walk over phones reaches first; 0: the call goes out at once
}

var outScenarios = []outScenario{
	// Where a number goes.
	{scenario: scenario{name: "longest-prefix", about: "a German number leaves over Alpha, then Beta", dial: "040 555-1234"}, codes: []int{503, 500}},
	{scenario: scenario{name: "international", about: "no route takes France: the wholesale carrier does", dial: "+33142685300"}, codes: []int{503}},
	{scenario: scenario{name: "blocked", about: "premium numbers are blocked", dial: "09005123456"}},
	{scenario: scenario{name: "longer-than-blocked", about: "a longer prefix is not blocked by a shorter one", dial: "09001123456"}},
	{scenario: scenario{name: "least-cost", about: "the UK in office hours: the cheaper Beta first", dial: "0044 20 7946 0000"}},
	{scenario: scenario{name: "route-closed", about: "at night that route is not there", dial: "0044 20 7946 0000", at: "2026-11-23 22:00"}},
	{scenario: scenario{name: "down-last", about: "Alpha does not answer this node and comes last", dial: "0405551234",
		from: func(r *api.RouteRequest) { r.Down = "trk_other,trk_alpha" }}, codes: []int{503}},
	{scenario: scenario{name: "all-down", about: "all are down: they are tried all the same, in their order", dial: "0405551234",
		from: func(r *api.RouteRequest) { r.Down = "trk_beta,trk_alpha" }}},
	{scenario: scenario{name: "trunk-full", about: "Alpha has no channel free", dial: "0405551234"}, caller: func(c *Caller) { c.Full = []string{"trk_alpha"} }},
	{scenario: scenario{name: "all-full", about: "no trunk has a channel free", dial: "0405551234"},
		caller: func(c *Caller) { c.Full = []string{"trk_alpha", "trk_beta"} }},
	{scenario: scenario{name: "disabled-trunks", about: "a route whose trunks are disabled takes the number and has no way", dial: "0405551234",
		change: func(o *office) {
			o.way("trk_alpha").Status, o.way("trk_beta").Direction = brain.StatusDisabled, brain.TrunkInbound
		}}},
	{scenario: scenario{name: "no-way", about: "nobody takes the number", dial: "+33142685300", change: func(o *office) { o.way("trk_whole").Status = brain.StatusDisabled }}},
	{scenario: scenario{name: "short-code", about: "a short code of the country is no number", dial: "116117"}},
	{scenario: scenario{name: "no-area-code", about: "a number of the own town lacks its area code", dial: "5551234"}},
	{scenario: scenario{name: "via", about: "the registration at Alpha went to another host", dial: "0405551234",
		from: func(r *api.RouteRequest) { r.Via = "trk_x=1.2.3.4:5,trk_alpha=192.0.2.44:5062" }}},
	{scenario: scenario{name: "via-broken", about: "a hint that is no address is not followed", dial: "0405551234",
		from: func(r *api.RouteRequest) { r.Via = "trk_alpha=x>\r\nEvil: 1" }}},
	{scenario: scenario{name: "to-registered", about: "a PBX that registers here is called by its AOR", dial: "0405551234",
		change: func(o *office) { o.wayOut("germany").Trunks = []brain.OutboundChoice{{TrunkID: "trk_pbx"}} }}},

	// Numbers as trunks want them.
	{scenario: scenario{name: "rules-of-route", about: "the route strips 49, puts 0 before, and Beta adds its own", dial: "0405551234",
		change: func(o *office) {
			r := o.wayOut("germany")
			r.Strip, r.Prefix, r.Trunks = 2, "0", []brain.OutboundChoice{{TrunkID: "trk_beta"}}
			o.way("trk_beta").Prefix = "*31#"
		}}},
	{scenario: scenario{name: "rules-of-trunk", about: "Alpha takes +49 off", dial: "0405551234", change: func(o *office) { o.way("trk_alpha").Strip = 2 }}},
	{scenario: scenario{name: "rules-too-much", about: "nothing is left of the number: the next trunk takes it", dial: "0405551234",
		change: func(o *office) { o.way("trk_alpha").Strip = 15 }}},
	{scenario: scenario{name: "national-abroad", about: "Beta gets numbers abroad with 00", dial: "+442079460000"}},
	{scenario: scenario{name: "media-rules", about: "Beta wants PCMA, then G722, with keys", dial: "+442079460000",
		change: func(o *office) {
			o.way("trk_beta").Codecs, o.way("trk_beta").SRTP = []string{"PCMA", "G722"}, brain.SRTPRequired
		}}},

	// Who is shown.
	{scenario: scenario{name: "cid-trunk", about: "Bob has no number: Beta's is shown", dial: "+442079460000", device: "1002-desk"}},
	{scenario: scenario{name: "cid-account", about: "Bob over Alpha: the account's is shown", dial: "0405551234", device: "1002-desk"}},
	{scenario: scenario{name: "cid-not-owned", about: "Alice's number is not the account's: the account's is shown", dial: "0405551234",
		change: func(o *office) { o.user("1001").OutCIDNumber = "49891234567" }}},
	{scenario: scenario{name: "cid-none", about: "nobody has a number", dial: "0405551234", device: "1002-desk",
		change: func(o *office) { o.Account.DefaultCIDNumber, o.way("trk_alpha").CIDNumber = "", "49891234567" }}},
	{scenario: scenario{name: "cid-withheld", about: "Alice withholds her number; Beta is trusted with it, Alpha is not", dial: "0044 20 7946 0000",
		from: func(r *api.RouteRequest) { r.Privacy = "id;critical" }}, codes: []int{503}},
	{scenario: scenario{name: "cid-anonymous", about: "From is anonymous", dial: "0405551234", from: func(r *api.RouteRequest) { r.FromUser, r.FromDomain = "anonymous", "anonymous.invalid" }}},
	{scenario: scenario{name: "cid-from-user", about: "Alpha wants its own name in From, the number stands beside", dial: "0405551234",
		change: func(o *office) { o.way("trk_alpha").FromUser = "acme-1>" }}},
	{scenario: scenario{name: "cid-subaccount", about: "the wholesale carrier is told whom it charges", dial: "+33142685300"}},
	{scenario: scenario{name: "cid-name-traps", about: "a name full of traps", dial: "0405551234", change: func(o *office) { o.user("1001").OutCIDName = "A\r\nX: \"y\"\\ \u202e" }}},

	// PBXs.
	{scenario: scenario{name: "pbx-outside", about: "the PBX calls outside with a number of the account", dial: "0405551234"}, pbx: true},
	{scenario: scenario{name: "pbx-foreign-number", about: "the PBX shows a number that is not ours: it is replaced", dial: "0405551234",
		from: func(r *api.RouteRequest) { r.FromUser = "+4989123456" }}, pbx: true},
	{scenario: scenario{name: "pbx-extension", about: "the PBX calls extension 300", dial: "300"}, pbx: true},
	{scenario: scenario{name: "pbx-number", about: "the PBX calls a number of the account", dial: "+4930100", change: func(o *office) { o.leads("user us_1002") }}, pbx: true},
	{scenario: scenario{name: "pbx-emergency", about: "the PBX calls for help", dial: "112"}, pbx: true},
	{scenario: scenario{name: "carrier-no-hairpin", about: "a carrier cannot call outside", dial: "+49405551234", trunk: true}},

	// Emergency.
	{scenario: scenario{name: "emergency", about: "112 goes by the emergency route, then over whatever there is", dial: "112"}, codes: []int{403, 503}},
	{scenario: scenario{name: "emergency-extension", about: "extension 110 does not hide the police", dial: "110",
		change: func(o *office) { o.extension("300").Digits = "110" }}},
	{scenario: scenario{name: "emergency-anonymous", about: "who calls for help is shown", dial: "112", from: func(r *api.RouteRequest) { r.FromUser, r.Privacy = "anonymous", "id" }}},
	{scenario: scenario{name: "emergency-route-of-account", about: "the account names its route", dial: "112", change: func(o *office) { o.Account.EmergencyRouteID = "route_de" }}},
	{scenario: scenario{name: "emergency-suspended", about: "also while the account is suspended", dial: "112", change: func(o *office) { o.Account.Status = brain.StatusSuspended }}},
	{scenario: scenario{name: "emergency-suspended-off", about: "unless the account says no", dial: "112",
		change: func(o *office) { o.Account.Status, o.Account.EmergencySuspended = brain.StatusSuspended, false }}},
	{scenario: scenario{name: "suspended", about: "nothing else goes out then", dial: "0405551234", change: func(o *office) { o.Account.Status = brain.StatusSuspended }}},

	// What a trunk answers.
	{scenario: scenario{name: "answer-busy", about: "busy is busy", dial: "0405551234"}, codes: []int{486}},
	{scenario: scenario{name: "answer-unknown", about: "the number does not exist", dial: "0405551234"}, codes: []int{404}},
	{scenario: scenario{name: "answer-fail-code", about: "603 of Alpha goes on to Beta, whose 603 is the end", dial: "0405551234"}, codes: []int{603, 603}},
	{scenario: scenario{name: "answer-silent", about: "neither says anything", dial: "0405551234"}, codes: []int{408, 408}},
	{scenario: scenario{name: "answer-redirect", about: "a redirection is not followed", dial: "0405551234"}, codes: []int{302}},
	{scenario: scenario{name: "answer-forbidden", about: "403 is not tried elsewhere", dial: "0405551234"}, codes: []int{403}},
	{scenario: scenario{name: "answer-challenge-empty", about: "a 401 without a challenge goes on, and is never passed on", dial: "0405551234"}, codes: []int{401, 407}},

	// Forwards.
	{scenario: scenario{name: "forward-did", about: "Main leads to a mobile: the caller is shown, and who sent him on", dial: "+4930100", trunk: true,
		change: func(o *office) { o.leads("forward fwd_cell") }}, codes: []int{503, 480}},
	{scenario: scenario{name: "forward-anonymous", about: "an anonymous caller stays so", dial: "+4930100", trunk: true,
		from:   func(r *api.RouteRequest) { r.FromUser, r.Asserted = "anonymous", "+49891234567" },
		change: func(o *office) { o.leads("forward fwd_cell") }}, codes: []int{503}},
	{scenario: scenario{name: "forward-shows-did", about: "the number that was called is shown", dial: "+4930100", trunk: true,
		change: func(o *office) { o.leads("forward fwd_work") }}, codes: []int{486}},
	{scenario: scenario{name: "forward-custom", about: "a number of the account is shown", dial: "+4930100", trunk: true,
		change: func(o *office) {
			o.leads("forward fwd_work")
			o.forward("fwd_work").CIDMode, o.forward("fwd_work").CIDNumber = brain.CIDCustom, "4930101"
		}}},
	{scenario: scenario{name: "forward-always", about: "Bob's calls go to his mobile, Alice's number is shown", dial: "1002", change: func(o *office) { always(o.user("1002"), "forward fwd_cell") }}, codes: []int{486}},
	{scenario: scenario{name: "forward-noanswer", about: "Bob does not answer; then his mobile, then Eve", dial: "1002",
		change: func(o *office) { noanswer(o.user("1002"), "forward fwd_cell") }}, asks: 2, codes: []int{480, 503, 600}},
	{scenario: scenario{name: "forward-busy", about: "Bob is busy", dial: "+4930100", trunk: true,
		change: func(o *office) { o.leads("user us_1002"); busy(o.user("1002"), "forward fwd_work") }}, asks: 2, codes: []int{486, 600}},
	{scenario: scenario{name: "forward-chain", about: "a forward overflows to another one", dial: "1002",
		change: func(o *office) {
			always(o.user("1002"), "forward fwd_cell")
			o.forward("fwd_cell").OverflowDestKind, o.forward("fwd_cell").OverflowDestID = brain.DestForward, "fwd_work"
		}}, codes: []int{404, 503, 486}},
	{scenario: scenario{name: "forward-loop", about: "a forward that overflows to itself ends", dial: "1002",
		change: func(o *office) {
			always(o.user("1002"), "forward fwd_cell")
			o.forward("fwd_cell").OverflowDestKind, o.forward("fwd_cell").OverflowDestID = brain.DestForward, "fwd_cell"
		}}, codes: []int{404}},
	{scenario: scenario{name: "forward-ping-pong", about: "two forwards that overflow to each other end at the bound of hops", dial: "1002",
		change: func(o *office) {
			always(o.user("1002"), "forward fwd_cell")
			o.forward("fwd_cell").OverflowDestKind, o.forward("fwd_cell").OverflowDestID = brain.DestForward, "fwd_work"
			o.forward("fwd_work").OverflowDestKind, o.forward("fwd_work").OverflowDestID = brain.DestForward, "fwd_cell"
		}}, codes: []int{404, 404, 404, 404, 404, 404, 404}},
	{scenario: scenario{name: "forward-diverted-too-often", about: "the call has been sent on five times before", dial: "+4930100", trunk: true,
		from: func(r *api.RouteRequest) { r.Diverted = 6 }, change: func(o *office) { o.leads("forward fwd_cell") }}},
	{scenario: scenario{name: "forward-diverted-four-times", about: "both headers say the same four times: it is sent on, and says so", dial: "+4930100", trunk: true,
		from: func(r *api.RouteRequest) {
			r.Diverted, r.Diversion = 2+5, "<sip:+49301@x>;reason=unconditional;counter=3, <sip:+49302@x>;reason=user-busy"
		}, change: func(o *office) { o.leads("forward fwd_cell") }}},
	{scenario: scenario{name: "forward-to-itself", about: "the forward calls the number that was called: overflow", dial: "+4930100", trunk: true,
		change: func(o *office) { o.leads("forward fwd_cell"); o.forward("fwd_cell").Number = "030 100" }}},
	{scenario: scenario{name: "forward-to-itself-asked", about: "nor is it called when phones rang before", dial: "+4930100", trunk: true,
		from:   func(r *api.RouteRequest) { r.At, r.FailedCode, r.Hops = "forward/fwd_cell", 408, 2 },
		change: func(o *office) { o.leads("user us_1002"); o.forward("fwd_cell").Number = "030 100" }}},
	{scenario: scenario{name: "forward-in-a-circle", about: "a phone's call: the forward calls a number of the account that leads to it by two others", dial: "1002",
		change: func(o *office) {
			o.forward("fwd_cell").Number, o.forward("fwd_work").Number = "030 100", "030 102"
			o.leads("extension ext_300")
			always(o.user("1002"), "forward fwd_work")
			o.DIDs = append(o.DIDs, brain.DID{ID: "did_102", E164: "4930102", Status: brain.StatusActive, DestKind: brain.DestForward, DestID: "fwd_cell"})
		}}},
	{scenario: scenario{name: "forward-by-a-number", about: "a forward may call a number of the account that rings a phone", dial: "1002",
		change: func(o *office) {
			always(o.user("1002"), "forward fwd_cell")
			o.forward("fwd_cell").Number = "030 100"
			o.leads("user us_1003")
		}}},
	{scenario: scenario{name: "forward-not-paid", about: "the account may not call outside now: overflow, but not of a call for help", dial: "1002",
		change: func(o *office) { always(o.user("1002"), "forward fwd_cell") }}, caller: func(c *Caller) { c.Stay = true }},
	{scenario: scenario{name: "help-not-paid", about: "no limit holds up a call for help", dial: "112"}, caller: func(c *Caller) { c.Stay = true }},
	{scenario: scenario{name: "prefix-for-plus", about: "a prefix takes the + of the trunk's format with it", dial: "0405551234",
		change: func(o *office) { o.way("trk_alpha").Prefix = "9" }}},
	{scenario: scenario{name: "forward-blocked", about: "the number is blocked: overflow", dial: "1002",
		change: func(o *office) {
			always(o.user("1002"), "forward fwd_cell")
			o.forward("fwd_cell").Number = "0900 5123456"
		}}},
	{scenario: scenario{name: "forward-emergency", about: "nobody is forwarded to 112", dial: "1002",
		change: func(o *office) { always(o.user("1002"), "forward fwd_work"); o.forward("fwd_work").Number = "112" }}},
	{scenario: scenario{name: "forward-confirm", about: "a forward that asks who answers", dial: "1002",
		change: func(o *office) { always(o.user("1002"), "forward fwd_work"); o.forward("fwd_work").Confirm = true }}},
	{scenario: scenario{name: "forward-confirm-noanswer", about: "Bob does not answer; then his mobile is asked, and Eve rings when nobody takes it there", dial: "+4930100", trunk: true,
		change: func(o *office) {
			o.leads("user us_1002")
			noanswer(o.user("1002"), "forward fwd_cell")
			o.forward("fwd_cell").Confirm = true
		}}},
	{scenario: scenario{name: "forward-confirm-sent-on", about: "what asks there is told how often the call was sent on", dial: "+4930100", trunk: true,
		from:   func(r *api.RouteRequest) { r.Diverted = 4 },
		change: func(o *office) { o.leads("forward fwd_cell"); o.forward("fwd_cell").Confirm = true }}},
	{scenario: scenario{name: "forward-confirm-asked", about: "the forward was set to ask while phones rang", dial: "+4930100", trunk: true,
		from:   func(r *api.RouteRequest) { r.At, r.FailedCode, r.Hops = "forward/fwd_cell", 480, 2 },
		change: func(o *office) { o.leads("user us_1002"); o.forward("fwd_cell").Confirm = true }}},
	{scenario: scenario{name: "forward-confirm-diverted-too-often", about: "nor is it asked there", dial: "+4930100", trunk: true,
		from:   func(r *api.RouteRequest) { r.Diverted = 6 },
		change: func(o *office) { o.leads("forward fwd_cell"); o.forward("fwd_cell").Confirm = true }}},

	// Legs of the media server.
	{scenario: scenario{name: "leg-number", about: "a flow calls outside for a caller from outside: the account's number is shown", leg: "number/+49405551234"}, codes: []int{486}},
	{scenario: scenario{name: "leg-number-of-user", about: "for Alice, hers is", leg: "number/+49405551234", from: func(r *api.RouteRequest) { r.FromUser, r.CallerUserID = "1001", "us_1001" }}},
	{scenario: scenario{name: "leg-number-of-impostor", about: "for a caller from outside who calls himself 1001, the account's", leg: "number/+49405551234",
		from: func(r *api.RouteRequest) { r.FromUser = "1001" }}},
	{scenario: scenario{name: "leg-number-of-stranger", about: "for a user whom the account does not have, the account's", leg: "number/+49405551234",
		from: func(r *api.RouteRequest) { r.FromUser, r.CallerUserID = "1001", "us_9" }}},
	{scenario: scenario{name: "leg-forward-owned-number", about: "a caller from outside with a number of the account is shown, and nobody vouches for it", leg: "forward/fwd_cell",
		from: func(r *api.RouteRequest) { r.FromUser = "+4930101" }}},
	{scenario: scenario{name: "leg-forward-did", about: "the leg to a forward that shows the number called", leg: "forward/fwd_work",
		from: func(r *api.RouteRequest) { r.Called = "4930101" }}},
	{scenario: scenario{name: "leg-forward-sent-on", about: "the leg of a call that was sent on three times before tells the next one", leg: "forward/fwd_work",
		from: func(r *api.RouteRequest) { r.Called, r.Diverted = "4930100", 3 }}},
	{scenario: scenario{name: "leg-forward-confirm", about: "the leg for which the media server asks goes out, and on to the next trunk", leg: "forward/fwd_cell",
		change: func(o *office) { o.forward("fwd_cell").Confirm = true }}, codes: []int{503, 486}},
	{scenario: scenario{name: "leg-user-confirm", about: "no other leg gets past the question", leg: "user/us_1002",
		change: func(o *office) { always(o.user("1002"), "forward fwd_cell"); o.forward("fwd_cell").Confirm = true }}},
	{scenario: scenario{name: "leg-transfer", about: "Bob sends a caller from outside on: the caller is shown, and the account's number as who sends him", leg: "transfer/us_1002/+49405551234",
		from: func(r *api.RouteRequest) { r.Called, r.Diverted = "4930100", 1 }}, codes: []int{503, 486}},
	{scenario: scenario{name: "leg-transfer-of-user", about: "Bob sends Alice on, who withholds her number", leg: "transfer/us_1002/+49405551234",
		from: func(r *api.RouteRequest) { r.FromUser, r.CallerUserID, r.Privacy = "1001", "us_1001", "id" }}},
	{scenario: scenario{name: "leg-transfer-by-user-with-number", about: "Alice sends him on: hers is who sends him", leg: "transfer/us_1001/+49405551234"}},
	{scenario: scenario{name: "leg-transfer-blocked", about: "nobody is sent to premium numbers", leg: "transfer/us_1002/+499005123456"}},
	{scenario: scenario{name: "leg-transfer-help", about: "nor is a call for help a transfer", leg: "transfer/us_1002/112"}},
	{scenario: scenario{name: "leg-transfer-disabled", about: "nor by a user who is disabled meanwhile", leg: "transfer/us_1002/+49405551234",
		change: func(o *office) { o.user("1002").Status = brain.StatusDisabled }}},
	{scenario: scenario{name: "leg-transfer-nobody", about: "nor by nobody", leg: "transfer/+49405551234"}},
	{scenario: scenario{name: "leg-pstn", about: "Alice's recorded call leaves with her number", leg: "pstn/+49405551234",
		from: func(r *api.RouteRequest) { r.FromUser, r.CallerUserID = "1001", "us_1001" }}, codes: []int{503, 404}},
	{scenario: scenario{name: "record-outside", about: "what Alice dials outside is recorded", dial: "0405551234", change: recordsAlice}},
	{scenario: scenario{name: "record-outside-withheld", about: "and withheld all the same", dial: "0405551234", change: recordsAlice,
		from: func(r *api.RouteRequest) { r.Privacy = "id" }}},
	{scenario: scenario{name: "record-outside-blocked", about: "what may not go out is refused at once", dial: "09005123456", change: recordsAlice}},
	{scenario: scenario{name: "record-outside-help", about: "a call for help is not recorded", dial: "112", change: recordsAlice}},
	{scenario: scenario{name: "record-forward", about: "Alice's calls to Bob's mobile are recorded, and overflow", dial: "1002",
		change: func(o *office) { recordsAlice(o); always(o.user("1002"), "forward fwd_cell") }}},
	{scenario: scenario{name: "leg-forward", about: "a flow sends a caller on; its overflow is the flow's to say", leg: "forward/fwd_cell"}, codes: []int{486}},
}

func recordsAlice(o *office) { o.user("1001").RecordPolicy = brain.RecordOutbound }

// first is the first question of the scenario.
func (s *outScenario) first() (api.RouteRequest, Caller, brain.Directory) {
	o := newCompany()
	if s.change != nil {
		s.change(o)
	}
	acct, dir := o.config()
	device := s.device
	if device == "" {
		device = "1001-desk"
	}
	req, caller := invite(s.dial, "acme.example"), callerOf(acct, device)
	switch {
	case s.pbx:
		req, caller = fromPBX(acct, s.dial)
	case s.trunk:
		req, caller = fromTrunk(acct, s.dial)
	case s.leg != "":
		req, caller = fromMedia(acct, s.leg)
	default:
		req.FromUser, req.FromName = caller.User.Username, caller.User.DisplayName
	}
	caller.NowMS = berlin(s.at)
	if s.from != nil {
		s.from(&req)
	}
	if s.caller != nil {
		s.caller(&caller)
	}
	return req, caller, dir
}

// play asks the scenario's questions and writes what is answered.
func (s *outScenario) play(t *testing.T) string {
	t.Helper()
	req, caller, dir := s.first()
	who := "device "
	switch {
	case caller.Trunk != nil:
		who = "trunk " + caller.Trunk.Name
	case caller.Media:
		who = "leg for " + safe(req.Dial)
	default:
		who += caller.Device.AuthUsername
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\nINVITE sip:%s@%s\nfrom %q <sip:%s@%s>, %s\n", s.about, req.RURIUser, req.RURIDomain, req.FromName, safe(req.FromUser), req.FromDomain, who)
	step := s.asks
	for i := 0; ; i++ {
		d := Decide(dir, caller, req)
		if again := Decide(dir, caller, req); !reflect.DeepEqual(d, again) {
			t.Fatalf("asked twice\n%s\n%s", Text(d), Text(again))
		}
		checkOut(t, caller.Account, &d)
		b.WriteString("--------\n" + Text(d))
		if i == len(s.codes) {
			return b.String()
		}
		if step != 0 {
			Reached(&req, &d, step, s.codes[i])
			step = 0
		} else if len(d.Routes) == 0 || d.Routes[0].Trunk == nil {
			t.Fatalf("there is no attempt that %d answers\n%s", s.codes[i], b.String())
		} else {
			Failed(&req, &d, s.codes[i])
		}
		fmt.Fprintf(&b, "--------\n# %d at %s, tried %s\n", s.codes[i], req.At, req.Tried)
	}
}

// checkOut holds a directive that goes outside to what every one promises, and every other to checkDirective.
func checkOut(t testing.TB, acct *brain.AccountConfig, d *api.Directive) {
	t.Helper()
	if len(d.Routes) == 0 || d.Routes[0].Trunk == nil {
		checkDirective(t, acct, *d)
		return
	}
	r, c := &d.Routes[0], d.Call
	fail := func(what string) {
		t.Helper()
		t.Fatalf("%s\n%s", what, Text(*d))
	}
	trunk := acct.Trunks[r.Trunk.ID]
	switch {
	case len(d.Routes) != 1 || r.Step != 1 || r.Busy != 0 || r.Noanswer != 0 || r.App != "" || r.Ask != "" || r.SIPCode != 0 || r.Headers != nil || d.Routing != "parallel":
		fail("more than one attempt")
	case trunk == nil || !trunk.Out() || c.Trunk != trunk.ID:
		fail("a trunk that carries no calls out")
	case c.Direction != brain.DirectionOut || c.At == "" || strings.Trim(c.At, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/+*#.-") != "" || c.Hops > brain.MaxHops || len(c.Attestation) != 1:
		fail("what the edge remembers")
	case r.FrInvTimer <= 0 || r.Trunk.FrTimer <= 0 || r.Trunk.From == nil || r.Trunk.Answer != "" || d.Media == nil || d.Why == "":
		fail("something is missing")
	}
	for _, s := range []string{r.URI, r.Trunk.DstURI, r.Trunk.Lookup, r.Trunk.From.URI, r.Trunk.From.Display, r.Trunk.ToTrunk, c.At} {
		if !printable(s) || strings.ContainsAny(s, "<>") && s != r.Trunk.From.Display {
			fail("unsafe " + s)
		}
	}
	if h := r.Trunk.Headers; h != "" {
		for line := range strings.SplitSeq(strings.TrimSuffix(h, "\r\n"), "\r\n") {
			name, _, _ := strings.Cut(line, ": ")
			if !printable(line) || !strings.Contains(" Privacy P-Asserted-Identity Diversion History-Info P-Charge-Info ", " "+name+" ") || !strings.HasSuffix(h, "\r\n") {
				fail("unsafe header " + line)
			}
		}
	}
}

// Proves each rule of calls to outside against a file that a telephony person can read: who calls what, then by turns what is
// decided and what the trunk answers. `go test ./brain/route -update` rewrites the files; the diff is then the review.
func TestDecide_GoldenCallsToOutside(t *testing.T) {
	known := map[string]bool{}
	for _, s := range outScenarios {
		file := filepath.Join("testdata", "out", s.name+".txt")
		known[file] = true
		t.Run(s.name, func(t *testing.T) {
			got := s.play(t)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
	files, err := filepath.Glob("testdata/out/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[f] {
			t.Errorf("%s belongs to no scenario", f)
		}
	}
}

package route

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// limited is the platform's office with a limit of every kind.
func limited() *office {
	o := newPlatform()
	o.Account.MaxIn, o.Account.MaxInternal = 20, 40
	o.did().MaxChannels = 5
	for i := range o.Users {
		o.Users[i].MaxSimultaneous = i + 1 // Alice 1, Bob 2, Carol 3, Dave 4, Eve 5
	}
	return o
}

// Proves whose line a call takes: the user's whom the target, or a chain of extensions by its hours, rings by itself;
// nobody's when he is not rung, when a group or the platform answers, or when his call is recorded, in which case the
// leg takes it.
func TestCallee_IsWhomTheCallRingsByItself(t *testing.T) {
	for _, c := range []struct {
		name, dial string
		trunk      bool
		leg, at    string
		change     func(o *office)
		want       string
	}{
		{name: "user", dial: "1002", want: "us_1002"},
		{name: "extension", dial: "300", want: "us_1002"},
		{name: "extension by night", dial: "300", at: "2026-11-23 22:00", change: extensionHours("user us_1005", ""), want: "us_1005"},
		{name: "extension by night, to the mailbox", dial: "300", at: "2026-11-23 22:00", change: extensionHours("voicemail vm_reception", "")},
		{name: "extensions in a circle", dial: "300", change: func(o *office) { e := o.extension("300"); e.DestKind, e.DestID = dest("extension ext_300") }},
		{name: "extension disabled", dial: "300", change: func(o *office) { o.extension("300").Status = brain.StatusDisabled }},
		{name: "group", dial: "200"},
		{name: "flow", dial: "400"},
		{name: "nobody", dial: "1999"},
		{name: "dnd", dial: "1002", change: func(o *office) { o.user("1002").DND = true }},
		{name: "forwarded", dial: "1002", change: func(o *office) { always(o.user("1002"), "user us_1005") }},
		{name: "recorded", dial: "1002", change: func(o *office) { o.user("1002").RecordPolicy = brain.RecordInbound }},
		{name: "recorded for the caller", dial: "1002", change: func(o *office) { o.user("1001").RecordPolicy = brain.RecordAll }},
		{name: "number", dial: "+4930100", trunk: true, change: func(o *office) { o.leads("user us_1002") }, want: "us_1002"},
		{name: "number to extension", dial: "4930100", trunk: true, change: func(o *office) { o.leads("extension ext_300") }, want: "us_1002"},
		{name: "number closed", dial: "4930100", trunk: true, at: "2026-11-22 10:00",
			change: func(o *office) { o.leads("user us_1002"); o.keeps("sch_hours", "user us_1005", "") }, want: "us_1005"},
		{name: "number disabled", dial: "4930100", trunk: true, change: func(o *office) { o.leads("user us_1002"); o.did().Status = brain.StatusDisabled }},
		{name: "number to flow", dial: "4930100", trunk: true},
		{name: "leg", leg: "user/us_1002", change: func(o *office) { o.user("1002").RecordPolicy = brain.RecordAll }, want: "us_1002"},
		{name: "leg to extension", leg: "extension/ext_300", want: "us_1002"},
		{name: "leg to group", leg: "ring_group/rg_sales"},
		{name: "leg to nobody", leg: "user/us_9"},
		{name: "leg to an agent", leg: "agent/us_1002", change: func(o *office) { o.user("1002").DND = true; always(o.user("1002"), "user us_1005") }, want: "us_1002"},
		{name: "leg to a disabled agent", leg: "agent/us_1002", change: func(o *office) { o.user("1002").Status = brain.StatusDisabled }},
		{name: "leg to a supervisor", leg: "supervisor/us_1002", change: func(o *office) { o.user("1002").DND = true; always(o.user("1002"), "user us_1005") }, want: "us_1002"},
		{name: "leg to a disabled supervisor", leg: "supervisor/us_1002", change: func(o *office) { o.user("1002").Status = brain.StatusDisabled }},
		{name: "called back", leg: "number/1002", want: "us_1002"},
		{name: "called back, an extension", leg: "number/300", want: "us_1002"},
		{name: "called back, nobody", leg: "number/1999"},
		{name: "queue", dial: "403"},
	} {
		s := scenario{office: limited, dial: c.dial, trunk: c.trunk, leg: c.leg, at: c.at, change: c.change}
		req, caller, _ := s.decide()
		got := ""
		if u := Callee(caller, &req); u != nil {
			got = u.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Proves what a call takes and in which order it is tested, from outside, inside and for a leg; and that a call to
// oneself takes one line.
func TestTakes_ByWhereTheCallComesFrom(t *testing.T) {
	for _, c := range []struct {
		name, dial string
		trunk      bool
		leg        string
		change     func(o *office)
		want       string
	}{
		{name: "inside", dial: "1002", want: "[internal /40 user us_1001/1 user us_1002/2]"},
		{name: "inside to the platform", dial: "400", want: "[internal /40 user us_1001/1]"},
		{name: "inside, recorded", dial: "1002", change: func(o *office) { o.user("1002").RecordPolicy = brain.RecordAll }, want: "[internal /40 user us_1001/1]"},
		{name: "to oneself", dial: "1001", want: "[internal /40 user us_1001/1]"},
		{name: "outside", dial: "+4930100", trunk: true, want: "[in /20 did did_main/5 trunk trk_carrier/30]"},
		{name: "outside to a user", dial: "004930100", trunk: true, change: func(o *office) { o.leads("user us_1003") },
			want: "[in /20 did did_main/5 trunk trk_carrier/30 user us_1003/3]"},
		{name: "outside, unknown number", dial: "49", trunk: true, want: "[in /20 trunk trk_carrier/30]"},
		{name: "leg", leg: "user/us_1002", want: "[user us_1002/2]"},
		{name: "leg to a group", leg: "ring_group/rg_sales", want: "[]"},
		{name: "leg to an agent", leg: "agent/us_1002", want: "[user us_1002/2]"},
		{name: "leg to a supervisor", leg: "supervisor/us_1002", want: "[user us_1002/2]"},
		{name: "called back", leg: "number/1002", want: "[internal /40 user us_1002/2]"},
	} {
		s := scenario{office: limited, dial: c.dial, trunk: c.trunk, leg: c.leg, change: c.change}
		req, caller, _ := s.decide()
		if got := takes(Takes(&caller, Callee(caller, &req), &req)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Proves that only a leg of the media server is one to an agent: what a phone or a trunk sends with it does not count.
func TestAgentLeg_IsALegOfTheMediaServer(t *testing.T) {
	for _, c := range []struct {
		media bool
		dial  string
		want  bool
	}{
		{true, "agent/us_1", true}, {true, "agent/", true}, {true, "agent", false}, {true, "user/us_1", false}, {true, "supervisor/us_1", false}, {true, "", false}, {false, "agent/us_1", false},
	} {
		if got := AgentLeg(&Caller{Media: c.media}, &api.RouteRequest{Dial: c.dial}); got != c.want {
			t.Errorf("media %v, for %q: %v", c.media, c.dial, got)
		}
	}
}

// takes writes what a call takes: "[in /20]".
func takes(list []cac.Take) string {
	words := make([]string, 0, len(list))
	for _, t := range list {
		words = append(words, fmt.Sprintf("%s %s/%d", t.Kind, t.ID, t.Limit))
	}
	return fmt.Sprint(words)
}

// Proves what a call takes that nobody remembers admitting: by both its ends it is one from outside to a number, one
// between users, or a leg, which takes a line of the called only.
func TestAdopted_ByBothEnds(t *testing.T) {
	acct, _ := limited().config()
	for ends, want := range map[[2]string]string{
		{"1001", "1002"}:         "[internal /40 user us_1001/1 user us_1002/2]",
		{"1001", "300"}:          "[internal /40 user us_1001/1 user us_1002/2]",
		{"1001", "200"}:          "[internal /40 user us_1001/1]",
		{"1001", "gone"}:         "[internal /40 user us_1001/1]",
		{"+4940555", "4930100"}:  "[in /20 did did_main/5]",
		{"anonymous", "4930100"}: "[in /20 did did_main/5]",
		{"+4940555", "1002"}:     "[user us_1002/2]",
		{"+4940555", "Sales"}:    "[]",
		{"", ""}:                 "[]",
	} {
		if got := takes(Adopted(acct, ends[0], ends[1], "")); got != want {
			t.Errorf("%s → %s: %s, want %s", ends[0], ends[1], got, want)
		}
	}
}

// Proves that a call from a trunk counts for its calls a second, whether phones ring or it goes out again; and a phone's for none.
func TestNeeds_ATrunksCallsASecondCountBothWays(t *testing.T) {
	o := newCompany()
	o.way("trk_alpha").MaxCPS, o.way("trk_beta").MaxCPS = 5, 9
	for target, want := range map[string][]cac.Window{
		"user us_1002":     {{Kind: cac.TrunkRate, ID: "trk_alpha", Max: 5, PeriodMS: 1000, Hard: true}},
		"forward fwd_work": {{Kind: cac.TrunkRate, ID: "trk_alpha", Max: 5, PeriodMS: 1000, Hard: true}, {Kind: cac.TrunkRate, ID: "trk_beta", Max: 9, PeriodMS: 1000, Hard: true}},
	} {
		o.DIDs[0].DestKind, o.DIDs[0].DestID = dest(target)
		o.DIDs[0].ScheduleID = ""
		o.wayOut("germany").Trunks = []brain.OutboundChoice{{TrunkID: "trk_beta"}}
		acct, dir := o.config()
		req, caller := fromTrunk(acct, "+"+o.DIDs[0].E164)
		caller.Trunk = acct.Trunks["trk_alpha"]
		d := Decide(dir, caller, req)
		if _, got := Needs(&caller, Callee(caller, &req), &req, &d); !slices.Equal(got, want) {
			t.Errorf("%s: %+v\n%s", target, got, Text(d))
		}
	}
	acct, dir := o.config()
	req, caller := invite("1002", "acme.example"), callerOf(acct, "1001-desk")
	d := Decide(dir, caller, req)
	if _, got := Needs(&caller, nil, &req, &d); len(got) != 0 {
		t.Errorf("a phone: %+v", got)
	}
}

// Proves which call_limits a call counts for: those of the account, of either user and of the number dialed, by
// direction; a number from outside however it is spelled; a leg for none.
func TestWindows_ByDirectionUserAndNumber(t *testing.T) {
	o := limited()
	limit := func(id string, scope brain.LimitScope, scopeID, pattern, direction string) {
		o.Limits = append(o.Limits, brain.CallLimit{ID: id, ScopeKind: scope, ScopeID: scopeID, NumberPattern: pattern,
			Direction: direction, PeriodSec: 60, MaxCount: 3, Hard: true})
	}
	limit("a-any", brain.LimitAccount, "", "", brain.DirectionAny)
	limit("b-in", brain.LimitAccount, "", "", brain.DirectionIn)
	limit("c-internal", brain.LimitAccount, "", "", brain.DirectionInternal)
	limit("d-alice", brain.LimitUser, "us_1001", "", brain.DirectionAny)
	limit("e-bob", brain.LimitUser, "us_1002", "", brain.DirectionAny)
	limit("f-number", brain.LimitNumber, "", "4930*", brain.DirectionAny)
	for _, c := range []struct {
		dial  string
		trunk bool
		leg   string
		want  string
	}{
		{dial: "1002", want: "[a-any c-internal d-alice e-bob]"},
		{dial: "1003", want: "[a-any c-internal d-alice]"},
		{dial: "+4930100", trunk: true, want: "[a-any b-in e-bob f-number]"},
		{dial: "004930100", trunk: true, want: "[a-any b-in e-bob f-number]"},
		{dial: "4940100", trunk: true, want: "[a-any b-in]"},
		{leg: "user/us_1002", want: "[]"},
		{leg: "supervisor/us_1002", want: "[]"},
	} {
		s := scenario{office: func() *office { return o }, dial: c.dial, trunk: c.trunk, leg: c.leg, change: func(o *office) { o.leads("user us_1002") }}
		req, caller, _ := s.decide()
		ids := []string{}
		for _, w := range Windows(&caller, Callee(caller, &req), &req) {
			ids = append(ids, w.ID)
			if w.Kind != cac.Limit || w.Max != 3 || w.PeriodMS != 60000 || !w.Hard {
				t.Errorf("%s: %+v", c.dial, w)
			}
		}
		if got := fmt.Sprint(ids); got != c.want {
			t.Errorf("%s%s: %s, want %s", c.dial, c.leg, got, c.want)
		}
	}
}

// Proves what a caller hears when there is no room, by the dimension that is full, and that operators are told which
// one and how full it is.
func TestRefused_CodeAndReasonByDimension(t *testing.T) {
	acct, _ := limited().config()
	for _, c := range []struct {
		kind  cac.Kind
		id    string
		retry int64
		code  int
		after int
		why   string
	}{
		{cac.In, "", 0, 480, 0, "admission: in has 3 of 3"},
		{cac.Internal, "", 0, 480, 0, "admission: internal has 3 of 3"},
		{cac.User, "us_1002", 0, 486, 0, "admission: user us_1002 has 3 of 3"},
		{cac.DID, "did_main", 0, 486, 0, "admission: did did_main has 3 of 3"},
		{cac.Trunk, "trk_carrier", 0, 480, 0, "admission: trunk trk_carrier has 3 of 3"},
		{cac.Node, "edge-1", 0, 503, 1, "admission: node edge-1 has 3 of 3"},
		{cac.Limit, "lim_1", 1001, 480, 2, "admission: limit lim_1 has 3 of 3"},
		{0, "", 0, 480, 0, "admission: the call is over already"},
	} {
		v := cac.Verdict{Kind: c.kind, ID: c.id, Limit: 3, Used: 3, RetryMS: c.retry}
		d := Refused(acct, v)
		checkDirective(t, acct, d)
		if d.SIPCode != c.code || d.RetryAfterSec != c.after || d.Why != c.why || d.AccountID != "acc_acme" {
			t.Errorf("%s: %s", c.kind, Text(d))
		}
	}
	if d := Unavailable(acct, "x"); d.SIPCode != 503 || d.RetryAfterSec != 1 || d.Why != "admission: x" {
		t.Errorf("%s", Text(d))
	}
}

// Proves that a user without a free line is treated as busy wherever the call meets him: his phones do not ring, his
// busy exit is taken, others are not touched.
func TestDecide_ABusyUserIsNotRung(t *testing.T) {
	o := limited()
	busy(o.user("1002"), "voicemail vm_reception")
	o.leads("user us_1002")
	acct, dir := o.config()
	for name, ask := range map[string]func() (api.RouteRequest, Caller){
		"inside":  func() (api.RouteRequest, Caller) { return invite("1002", "acme.example"), callerOf(acct, "1001-desk") },
		"outside": func() (api.RouteRequest, Caller) { return fromTrunk(acct, "4930100") },
		"leg":     func() (api.RouteRequest, Caller) { return fromMedia(acct, "user/us_1002") },
	} {
		req, caller := ask()
		caller.Busy = "us_1002"
		d := Decide(dir, caller, req)
		checkDirective(t, acct, d)
		if len(d.Routes) != 1 || d.Routes[0].App != "voicemail/vm_reception" {
			t.Errorf("%s: %s", name, Text(d))
		}
		caller.Busy = "us_1003"
		if d := Decide(dir, caller, req); !slices.ContainsFunc(d.Routes, func(r api.Route) bool { return r.URI == "sip:1002-desk@acme.example" }) {
			t.Errorf("%s, another is busy: %s", name, Text(d))
		}
	}
}

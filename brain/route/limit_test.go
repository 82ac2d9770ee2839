package route

import (
	"maps"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// Proves that a user's limit of calls out counts each way in which he calls outside: from his phone, by the media server's leg of a
// call of his that it records, and by sending a caller there; and no call of another.
func TestNeeds_AUsersLimitCountsEveryWayOut(t *testing.T) {
	for name, c := range map[string]struct {
		dial, callerID string // of a leg; "" = the phone
		windows        int
	}{
		"phone":                           {"", "", 1},
		"leg of a call of his":            {"pstn/+49405551234", "us_1001", 1},
		"leg of another's call":           {"pstn/+49405551234", "us_1002", 0},
		"leg of a call from outside":      {"pstn/+49405551234", "", 0},
		"transfer by him":                 {"transfer/us_1001/+49405551234", "", 1},
		"transfer of his call by another": {"transfer/us_1002/+49405551234", "us_1001", 0},
	} {
		o := newCompany()
		o.user("1001").AllowPSTNBlindTransfer, o.user("1002").AllowPSTNBlindTransfer = true, true
		acct, dir := o.config()
		acct.Limits = []*brain.CallLimit{{ID: "lim_alice", ScopeKind: brain.LimitUser, ScopeID: "us_1001", Direction: brain.DirectionOut, PeriodSec: 3600, MaxCount: 3, Hard: true}}
		req, caller := invite("0405551234", "acme.example"), callerOf(acct, "1001-desk")
		if c.dial != "" {
			req, caller = fromMedia(acct, c.dial)
			req.CallerUserID = c.callerID
		}
		d := Decide(dir, caller, req)
		if d.Action != api.ActionProxy || Leaving(acct, &d) == nil {
			t.Errorf("%s: %s", name, Text(d))
			continue
		}
		if _, windows := Needs(&caller, Callee(caller, &req), &req, &d); counted(windows) != c.windows {
			t.Errorf("%s: counts in %+v", name, windows)
		}
	}
}

func counted(windows []cac.Window) (n int) {
	for _, w := range windows {
		if w.Kind == cac.Limit {
			n++
		}
	}
	return n
}

// Proves that a question about a call for help is one only for a number that calls for help.
func TestDecide_ACallForHelpGoesOnToNumbersForHelpAlone(t *testing.T) {
	acct, dir := newCompany().config()
	caller := callerOf(acct, "1001-desk")
	for at, help := range map[string]bool{"emergency/112": true, "emergency/09001234": false, "emergency/0900": false, "emergency/": false, "emergency/1 12": false} {
		req := invite("0405551234", "acme.example")
		req.At = at
		d := Decide(dir, caller, req)
		if Emergency(&caller, &req) != help || (Leaving(acct, &d) != nil) != help || !help && d.SIPCode != 404 {
			t.Errorf("%s: %s", at, Text(d))
		}
	}
}

// Proves that a limit of direction any counts one call once, also when it is recorded, sent on, or goes through the media server as two
// legs: every question of the call is asked, and what each counts is added up.
func TestNeeds_OneCallCountsOnceInALimitOfAnyDirection(t *testing.T) {
	number := func(id, dialed string) (api.RouteRequest, func(*brain.AccountConfig) Caller) {
		return invite(dialed, "acme.example"), func(acct *brain.AccountConfig) Caller { return callerOf(acct, id) }
	}
	for _, c := range []struct {
		name   string
		dialed string         // by Alice's phone; "" = a call from Carrier for 4930100
		office func(*office)  // nil: as it is
		leg    string         // of the media server, for this call; "" = none
		asks   string         // At of the step that is reached later; "" = none
		want   map[string]int // what the whole call counts in
	}{
		{name: "a phone inside", dialed: "1002", want: map[string]int{"any": 1, "internal": 1, "alice": 1, "bob": 1}},
		{name: "a phone inside, recorded", dialed: "1002", office: func(o *office) { o.user("1001").RecordPolicy = brain.RecordAll }, leg: "user/us_1002",
			want: map[string]int{"any": 1, "internal": 1, "alice": 1, "bob": 1}},
		{name: "a number outside", dialed: "0405551234", want: map[string]int{"any": 1, "out": 1, "alice": 1, "hamburg": 1}},
		{name: "a number outside, recorded", dialed: "0405551234", office: func(o *office) { o.user("1001").RecordPolicy = brain.RecordAll }, leg: "pstn/+49405551234",
			want: map[string]int{"any": 1, "out": 1, "alice": 1, "hamburg": 1}},
		{name: "a forward", dialed: "555", want: map[string]int{"any": 1, "out": 1, "alice": 1, "hamburg": 1}},
		{name: "a forward, recorded", dialed: "555", office: func(o *office) { o.user("1001").RecordPolicy = brain.RecordAll }, leg: "forward/fwd_work",
			want: map[string]int{"any": 1, "internal": 1, "out": 1, "alice": 1, "hamburg": 1}},
		{name: "a forward behind a phone", dialed: "1002", office: func(o *office) { noanswer(o.user("1002"), "forward fwd_work") }, asks: "forward/fwd_work",
			want: map[string]int{"any": 1, "internal": 1, "out": 1, "alice": 1, "bob": 1, "hamburg": 1}},
		{name: "from outside to a forward", office: func(o *office) { o.leads("forward fwd_work") }, want: map[string]int{"any": 1, "in": 1, "out": 1, "main": 1, "hamburg": 1}},
		{name: "from outside to a forward that asks", office: func(o *office) { o.leads("forward fwd_work"); o.Forwards[1].Confirm = true }, leg: "forward/fwd_work",
			want: map[string]int{"any": 1, "in": 1, "out": 1, "main": 1, "hamburg": 1}},
		{name: "from outside to a flow that calls a forward", leg: "forward/fwd_work", want: map[string]int{"any": 1, "in": 1, "out": 1, "main": 1, "hamburg": 1}},
		{name: "from outside to a flow that calls a phone, and then a forward", office: func(o *office) { noanswer(o.user("1002"), "forward fwd_work") }, leg: "user/us_1002", asks: "forward/fwd_work",
			want: map[string]int{"any": 1, "in": 1, "out": 1, "main": 1, "hamburg": 1}},
		{name: "from outside to a flow, and sent on by Alice", office: func(o *office) { o.user("1001").AllowPSTNBlindTransfer = true }, leg: "transfer/us_1001/+49405551234",
			want: map[string]int{"any": 2, "in": 1, "out": 1, "alice": 1, "main": 1, "hamburg": 1}},
	} {
		o := newCompany()
		o.Extensions = append(o.Extensions, brain.Extension{ID: "ext_555", Digits: "555", DestKind: brain.DestForward, DestID: "fwd_work", Status: brain.StatusActive})
		if c.office != nil {
			c.office(o)
		}
		acct, dir := o.config()
		limit := func(id string, scope brain.LimitScope, scopeID, pattern, direction string) {
			acct.Limits = append(acct.Limits, &brain.CallLimit{ID: id, ScopeKind: scope, ScopeID: scopeID, NumberPattern: pattern, Direction: direction, PeriodSec: 3600, MaxCount: 3, Hard: true})
		}
		limit("any", brain.LimitAccount, "", "", brain.DirectionAny)
		limit("in", brain.LimitAccount, "", "", brain.DirectionIn)
		limit("out", brain.LimitAccount, "", "", brain.DirectionOut)
		limit("internal", brain.LimitAccount, "", "", brain.DirectionInternal)
		limit("alice", brain.LimitUser, "us_1001", "", brain.DirectionAny)
		limit("bob", brain.LimitUser, "us_1002", "", brain.DirectionAny)
		limit("main", brain.LimitNumber, "", "4930*", brain.DirectionAny)
		limit("hamburg", brain.LimitNumber, "", "4940*", brain.DirectionAny)

		got := map[string]int{}
		add := func(windows []cac.Window) {
			for _, w := range windows {
				if w.Kind == cac.Limit {
					got[w.ID]++
				}
			}
		}
		req, who := number("1001-desk", c.dialed)
		caller := who(acct)
		if c.dialed == "" {
			req, caller = fromTrunk(acct, "+4930100")
		}
		first := Decide(dir, caller, req)
		_, windows := Needs(&caller, Callee(caller, &req), &req, &first)
		add(windows)
		if c.leg != "" {
			by := ""
			if caller.User != nil {
				by = caller.User.ID
			}
			req, caller = fromMedia(acct, c.leg)
			if req.CallerUserID = by; by == "" {
				req.Called = "4930100"
			}
			d := Decide(dir, caller, req)
			if d.Action != api.ActionProxy {
				t.Errorf("%s: %s", c.name, Text(d))
			}
			_, windows = Needs(&caller, Callee(caller, &req), &req, &d)
			add(windows)
		}
		if c.asks != "" {
			req.At, req.Hops = c.asks, 2
			d := Decide(dir, caller, req)
			s, changes := Change(&caller, nil, &req, &d)
			if !changes || Leaving(acct, &d) == nil {
				t.Errorf("%s: %s", c.name, Text(d))
			}
			add(s.Windows)
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: counts in %v, want %v", c.name, got, c.want)
		}
	}
}

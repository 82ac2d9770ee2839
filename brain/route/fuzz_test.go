package route

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// choices draws a configuration from the fuzzer's bytes; when they run out every draw is 0.
type choices []byte

func (c *choices) n(n int) int {
	if len(*c) == 0 {
		return 0
	}
	b := (*c)[0]
	*c = (*c)[1:]
	return int(b) % n
}

func (c *choices) status() brain.Status {
	if c.n(6) == 5 {
		return brain.StatusDisabled
	}
	return brain.StatusActive
}

// dest draws a target: unset, of any kind, now and then one that does not exist.
func (c *choices) dest() (brain.DestKind, string) {
	switch c.n(11) {
	case 0, 1:
		return brain.DestNone, ""
	case 2:
		return brain.DestUser, fmt.Sprint("us_", c.n(9))
	case 3:
		return brain.DestExtension, fmt.Sprint("ext_", c.n(5))
	case 4:
		return brain.DestRingGroup, fmt.Sprint("rg_", c.n(5))
	case 5:
		return brain.DestFlow, fmt.Sprint("flow_", c.n(4))
	case 6:
		return brain.DestVoicemail, []string{"", "vm_0", "vm_1"}[c.n(3)]
	case 7:
		return brain.DestConference, fmt.Sprint("conf_", c.n(2))
	case 8:
		return brain.DestForward, fmt.Sprint("fwd_", c.n(4))
	case 9:
		return brain.DestQueue, []string{"", "q_0", "q_1"}[c.n(3)]
	}
	return brain.DestHangup, []string{"", "486", "603", "999", "x"}[c.n(5)]
}

// vars draws what a route hands on, up to more than fits.
func (c *choices) vars() brain.Vars {
	switch c.n(7) {
	case 6:
		return brain.Vars{brain.VarAction: []string{brain.ActionAgentLogin, brain.ActionQueueLeave}[c.n(2)]}
	case 4:
		return brain.Vars{brain.VarAction: brain.ActionRetrieve}
	case 5:
		return brain.Vars{"a": strings.Repeat("%&=é", c.n(256)), "record": "", "z": "\"x"}
	}
	return nil
}

// hours draws a schedule and targets outside it.
func (c *choices) hours() (id string, closed, holiday brain.RouteTarget) {
	if c.n(3) != 2 {
		return "", closed, holiday
	}
	closed.Kind, closed.ID = c.dest()
	holiday.Kind, holiday.ID = c.dest()
	return fmt.Sprint("sch_", c.n(4)), closed, holiday
}

// policy draws who is recorded.
func (c *choices) policy() brain.RecordPolicy {
	return []brain.RecordPolicy{"", "", brain.RecordNone, brain.RecordInbound, brain.RecordOutbound, brain.RecordAll}[c.n(6)]
}

// platform draws two flows, one of them published, a mailbox, a room, a trunk, schedules for open, closed and a
// holiday, and three numbers.
func (c *choices) platform(rows *brain.AccountRows) {
	rows.Flows = []*brain.CallFlow{{ID: "flow_0", Name: "F0", Version: 1}, {ID: "flow_1", Name: "F1\n"}, {ID: "flow_2", Name: "F2", Version: 9}}
	rows.Voicemails = []brain.Voicemail{{ID: "vm_0", Name: "V"}}
	rows.Conferences = []brain.Conference{{ID: "conf_0", Name: "C"}}
	rows.Queues = []brain.Queue{{ID: "q_0", Name: "Q"}}
	c.outside(rows)
	rows.Schedules = []brain.TimeSchedule{
		{ID: "sch_0", Rules: []brain.ScheduleRule{{Kind: "weekly", DOW: 1, StartTime: "00:00", EndTime: "00:01"}}},
		{ID: "sch_1", Rules: []brain.ScheduleRule{{Kind: "date_range", StartDate: "1960-01-01", EndDate: "2100-01-01", IsClosed: true}}},
		{ID: "sch_2", Rules: []brain.ScheduleRule{{Kind: "?"}}},
	}
	rows.Account.DIDDefaultDestKind, rows.Account.DIDDefaultDestID = c.dest()
	rows.Account.Country = []string{"", "DE", "US", "IT"}[c.n(4)]
	for i := range 3 {
		d := brain.DID{ID: fmt.Sprint("did_", i), E164: []string{"100", "4930101", "14155552671"}[i], Label: strings.Repeat("é", c.n(65)), AllowAnonymous: c.n(2) == 0,
			Status: []brain.Status{brain.StatusActive, brain.StatusActive, brain.StatusDisabled, brain.StatusVirtual}[c.n(4)], DestXform: c.vars()}
		d.DestKind, d.DestID = c.dest()
		id, closed, holiday := c.hours()
		d.ScheduleID, d.ClosedDestKind, d.ClosedDestID = id, closed.Kind, closed.ID
		d.HolidayDestKind, d.HolidayDestID = holiday.Kind, holiday.ID
		rows.DIDs = append(rows.DIDs, d)
	}
}

// outside draws four trunks, the first of them there for calls in, six routes and three forwards.
func (c *choices) outside(rows *brain.AccountRows) {
	for i := range 4 {
		t := brain.SIPTrunk{ID: fmt.Sprint("trk_", i), Name: fmt.Sprint("T", i), Status: c.status(), Direction: []brain.TrunkDirection{"both", "outbound", "inbound"}[c.n(3)],
			Role: []brain.TrunkRole{"carrier", "pbx"}[c.n(2)], Provider: []string{"generic", "carrier"}[c.n(2)], Proxy: []string{"a.example", "[::1]:5060", "", "x>\r\n"}[c.n(4)],
			InboundAuth: []brain.InboundAuth{"ip", "register"}[c.n(2)], AuthUsername: []string{"", "u\"<\r"}[c.n(2)], AuthSecretRef: "s", FromUser: []string{"", "\r\n>"}[c.n(2)],
			FromDomain: []string{"", "f.example", "\r\n"}[c.n(3)], Subaccount: []string{"", "é\r\nX: y"}[c.n(2)], SendsPAI: c.n(2) == 1, CIDNumber: []string{"", "4930101", "1"}[c.n(3)],
			NumberFormat: []brain.NumberFormat{"plus", "e164", "national", ""}[c.n(4)], Strip: c.n(16), Prefix: []string{"", "*#"}[c.n(2)], FailCodes: []int{603, 404}, MaxCPS: c.n(2)}
		rows.Trunks = append(rows.Trunks, t)
	}
	rows.Trunks[0].Status = brain.StatusActive
	for i := range 6 {
		r := brain.OutboundRoute{ID: fmt.Sprint("route_", i), Name: fmt.Sprint("R", i), Status: c.status(), MatchPrefix: []string{"", "49", "1", "4940", "112"}[c.n(5)],
			Blocked: c.n(6) == 5, IsEmergency: c.n(4) == 3, Strategy: []string{"priority", "weight", "least_cost", "?"}[c.n(4)], Strip: c.n(3), Prefix: []string{"", "0"}[c.n(2)]}
		r.ScheduleID, _, _ = c.hours()
		for range c.n(5) {
			r.Trunks = append(r.Trunks, brain.OutboundChoice{TrunkID: fmt.Sprint("trk_", c.n(5)), Priority: c.n(3), Weight: c.n(3), CostMicros: int64(c.n(3))})
		}
		rows.Routes = append(rows.Routes, r)
	}
	for i := range 3 {
		f := brain.Forward{ID: fmt.Sprint("fwd_", i), Name: fmt.Sprint("F", i), Number: []string{"+49405551234", "0151 2345678", "112", "x\r\n"}[c.n(4)], TimeoutSec: c.n(60),
			CIDMode: []string{"passthrough", "did", "custom"}[c.n(3)], CIDNumber: []string{"4930101", "2"}[c.n(2)], Confirm: c.n(5) == 4}
		f.OverflowDestKind, f.OverflowDestID = c.dest()
		rows.Forwards = append(rows.Forwards, f)
	}
	rows.Account.DefaultCIDNumber = []string{"", "4930101"}[c.n(2)]
	rows.Account.EmergencyRouteID = fmt.Sprint("route_", c.n(7))
}

// caller draws who calls, with what the edge knows of him: a phone, the trunk, or the media server.
func (c *choices) caller(acct *brain.AccountConfig, req *api.RouteRequest) Caller {
	caller := Caller{Account: acct, NowMS: int64(c.n(256)) * 3600_000}
	if c.n(4) == 3 {
		caller.Busy = fmt.Sprint("us_", c.n(8))
	}
	switch c.n(4) {
	case 2:
		req.Peer, req.Asserted, caller.Trunk = api.PeerTrunk, req.FromName, acct.Trunks["trk_0"]
	case 3:
		req.Peer, caller.Media = api.PeerMedia, true
		kind, id := c.dest()
		if c.n(4) == 3 {
			kind, id = destNumber, req.RURIUser
		}
		if kind == brain.DestUser && c.n(2) == 1 {
			kind = []brain.DestKind{destAgent, destSupervisor}[c.n(2)]
		}
		req.Dial = string(kind) + "/" + id
	default:
		caller.Device = acct.Devices[fmt.Sprint("dev_", c.n(24))]
		caller.User = acct.Users[caller.Device.UserID]
	}
	return caller
}

// account draws an account of 8 users, 24 devices, 4 extensions, 4 ring groups of up to 30 members, and what
// the platform answers.
func (c *choices) account() *brain.AccountConfig {
	strategies := []brain.RingStrategy{brain.RingSimultaneous, brain.RingSequential, brain.RingSpecific, ""}
	rows := brain.AccountRows{Account: brain.Account{ID: "acc_f", Status: brain.StatusActive}, Domains: []brain.SIPDomain{{Domain: "f.example"}}}
	for i := range 8 {
		u := brain.SIPUser{ID: fmt.Sprint("us_", i), Username: fmt.Sprint(100 + i), DisplayName: strings.Repeat("\"é\n", c.n(40)),
			RingTimeoutSec: c.n(60), RingStrategy: strategies[c.n(4)], Status: c.status(), DND: c.n(5) == 4, RecordPolicy: c.policy()}
		u.FwdBusyDestKind, u.FwdBusyDestID = c.dest()
		u.FwdNoanswerDestKind, u.FwdNoanswerDestID = c.dest()
		if c.n(3) == 2 {
			u.FwdAlwaysDestKind, u.FwdAlwaysDestID = c.dest()
		}
		rows.Users = append(rows.Users, u)
	}
	for i := range 24 {
		rows.Devices = append(rows.Devices, brain.SIPDevice{ID: fmt.Sprint("dev_", i), UserID: fmt.Sprint("us_", c.n(8)), AuthUsername: fmt.Sprint("phone", i),
			Realm: "f.example", RingOrder: c.n(3), RingOnFork: c.n(4) != 3, Status: c.status()})
	}
	for i := range 4 {
		e := brain.Extension{ID: fmt.Sprint("ext_", i), Digits: fmt.Sprint(104 + 2*i), Status: c.status()}
		e.DestKind, e.DestID = c.dest()
		id, closed, holiday := c.hours()
		e.ScheduleID, e.ClosedDestKind, e.ClosedDestID = id, closed.Kind, closed.ID
		e.HolidayDestKind, e.HolidayDestID, e.DestXform = holiday.Kind, holiday.ID, c.vars()
		rows.Extensions = append(rows.Extensions, e)
		g := brain.RingGroup{ID: fmt.Sprint("rg_", i), Name: fmt.Sprint("G", i), Strategy: strategies[c.n(4)], RingTimeoutSec: c.n(60)}
		for range c.n(31) {
			g.Members = append(g.Members, brain.RingGroupMember{UserID: fmt.Sprint("us_", c.n(9)), Order: c.n(3)})
		}
		g.OverflowDestKind, g.OverflowDestID = c.dest()
		g.ScheduleID, _, _ = c.hours()
		rows.RingGroups = append(rows.RingGroups, g)
	}
	c.platform(&rows)
	return brain.NewAccountConfig(1, rows)
}

// walk plays every way a call can go through a directive and counts the steps of the longest, which must
// be finite: steps only lead forward.
func walk(d api.Directive, step int) int {
	longest := 0
	for _, r := range d.Routes {
		if r.Step == step {
			for _, to := range []int{r.Busy, r.Noanswer} {
				if to != 0 {
					longest = max(longest, walk(d, to))
				}
			}
			break
		}
	}
	return longest + 1
}

// playOut plays what follows a directive whose attempts fail, with codes and challenges that are drawn, until nothing is asked
// any more. Every answer keeps its promises, every attempt counts higher than the one before, and the walk ends.
func playOut(t *testing.T, c *choices, dir brain.Directory, caller Caller, req api.RouteRequest, d api.Directive) {
	t.Helper()
	codes, last := []int{503, 408, 401, 407, 404, 486, 603, 302, 600, 699}, 0
	for asked := 0; ; asked++ {
		if asked > 2*maxLines*(brain.MaxHops+1) {
			t.Fatalf("the walk does not end\n%s", Text(d))
		}
		code, ask := codes[c.n(len(codes))], 0
		for _, r := range d.Routes {
			if r.Ask != "" {
				ask = r.Step
			}
		}
		switch {
		case ask != 0:
			Reached(&req, &d, ask, code)
		case len(d.Routes) > 0 && d.Routes[0].Trunk != nil:
			answered := req.Answered + 1
			again := req.Trunk == d.Routes[0].Trunk.ID && req.At == d.Call.At
			Failed(&req, &d, code)
			if req.Challenge = []string{"", "Proxy-Authenticate: Digest realm=\"x\", stale=TRUE"}[c.n(2)]; again {
				req.Answered = answered
			}
		default:
			return
		}
		d = Decide(dir, caller, req)
		checkOut(t, caller.Account, &d)
		if again := Decide(dir, caller, req); !reflect.DeepEqual(d, again) {
			t.Fatalf("asked twice\n%s\n%s", Text(d), Text(again))
		}
		if d.Action != api.ActionProxy {
			return
		}
		if s, changes := Change(&caller, Callee(caller, &req), &req, &d); changes {
			if s.Attempt <= last {
				t.Fatalf("attempt %d after %d\n%s", s.Attempt, last, Text(d))
			}
			last = s.Attempt
		}
	}
}

// Draws configurations and questions from any bytes. Proves that Decide never panics, that what it says
// keeps every promise of checkDirective, rings neither the calling device nor a step without end, leads no leg of
// the media server back to it but for a message, is the same when asked again, and that Text prints it without control characters.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{}, "100", "f.example", "100", "Alice", "call-1")
	f.Add([]byte("a sequence of bytes that makes up a configuration of some sort, long enough for users and phones"), "104", "F.EXAMPLE", "x", "\"A\"", "")
	f.Add([]byte(strings.Repeat("\x03\x09\x14\x1e\x02\x05\x01", 60)), "106", "f.example", "101", "", "c")
	f.Add([]byte(strings.Repeat("\x02\x01\x04\x00\x1f", 90)), "110", "f.example", "\r\n", "\xff", "c")
	f.Add([]byte(strings.Repeat("\x02", 900)), "030101", "f.example", "0405551234", "", "c")
	f.Add([]byte(strings.Repeat("\x08\x01\x00\x05", 300)), "0405551234", "f.example", "anonymous", "", "c")
	f.Add([]byte(strings.Repeat("\x01\x00\x08\x03\x02", 300)), "+49405551234", "f.example", "+4930101", "\"<>\r\n", "c")
	f.Add([]byte(strings.Repeat("\x13\x08\x02", 400)), "112", "f.example", "x", "", "c")
	f.Fuzz(func(t *testing.T, config []byte, dialed, domain, fromUser, fromName, callID string) {
		c := choices(config)
		acct := c.account()
		dir := directory{"f.example": acct}
		req := api.RouteRequest{Origin: api.Origin{CallID: callID}, FromUser: fromUser, FromDomain: domain, FromName: fromName, RURIUser: dialed, RURIDomain: domain}
		caller := c.caller(acct, &req)
		d := Decide(dir, caller, req)
		checkOut(t, acct, &d)
		for _, r := range d.Routes {
			switch kind, _, _ := strings.Cut(r.App, "/"); {
			case caller.Device != nil && r.URI == caller.Device.AOR():
				t.Fatalf("rings the calling device\n%s", Text(d))
			case caller.Media && kind != "" && kind != "voicemail":
				t.Fatalf("a leg of an answered call is answered\n%s", Text(d))
			}
		}
		callee := Callee(caller, &req)
		if d.Action == api.ActionProxy {
			Needs(&caller, callee, &req, &d)
		}
		playOut(t, &c, dir, caller, req, d)
		if d.Action == api.ActionProxy && walk(d, 1) > MaxSteps {
			t.Fatalf("a call goes through too many steps\n%s", Text(d))
		}
		if again := Decide(dir, caller, req); !reflect.DeepEqual(d, again) {
			t.Fatalf("asked twice\n%s\n%s", Text(d), Text(again))
		}
		if text := strings.ReplaceAll(Text(d), "\n", ""); !printable(text) {
			t.Fatalf("does not print: %q", text)
		}
	})
}

// Draws configurations from any bytes. Proves that no plan for a node without a brain needs the platform to answer,
// and that each keeps to the bounds of a directive.
func FuzzSurvival(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat("\x03\x09\x14\x1e\x02\x05\x01", 60)))
	f.Fuzz(func(t *testing.T, config []byte) {
		c := choices(config)
		kept, _ := Survival(c.account(), nil)
		for _, n := range kept.Numbers {
			plans := []api.SurvivalPlan{n.SurvivalPlan}
			for _, own := range n.Own {
				plans = append(plans, own.SurvivalPlan)
			}
			for _, p := range plans {
				if (len(p.Routes) == 0) != (p.SIPCode >= 400 && p.SIPCode <= 699) || len(p.Routes) > MaxRoutes {
					t.Fatalf("%s: code %d with %d routes", n.Number, p.SIPCode, len(p.Routes))
				}
				for _, r := range p.Routes {
					if r.App != "" || r.Vars != "" || r.URI == "" && r.SIPCode == 0 {
						t.Fatalf("%s: %+v", n.Number, r)
					}
				}
			}
		}
	})
}

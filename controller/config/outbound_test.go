package config

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a document of trunks, routes, forwards and secrets leads to ids, inside flows too, that every field of a
// trunk is what it was given, that false and 0 stay what they are where the default is another, and that all of it is
// read back from the file.
func TestApply_ResolvesTheNamesOfCallsToOutside(t *testing.T) {
	s := acmeStore(t)
	check := func(when string) {
		t.Helper()
		c := account(t, s, "acme.test")
		id := c.Account.ID
		gateway, cheap := only[*brain.SIPTrunk](t, s, id, brain.KindSIPTrunk, "gateway"), only[*brain.SIPTrunk](t, s, id, brain.KindSIPTrunk, "cheap")
		want := &brain.SIPTrunk{ID: gateway.ID, AccountID: id, Name: "gateway", Status: "active", Direction: "both", Role: "pbx", Provider: "carrier", InboundAuth: "register",
			Proxy: "[2001:db8::9]:5061", Transport: "tls", DoRegister: true, ExpireSec: 600, AuthUsername: "gw@acme", AuthSecretRef: "gateway password", Realm: "Gate way",
			FromDomain: "gw.test", FromUser: "gw", Subaccount: "acme-1", CIDNumber: "4930999", SendsPAI: true, NumberFormat: "national", Strip: 2, Prefix: "9#", MaxChannels: 4, MaxCPS: 10,
			Codecs: []string{"PCMA", "telephone-event"}, SRTP: "required", SilentMS: 500, ProgressMS: 15000, Stir: "require", SignCalls: true, FailCodes: []int{603, 300}}
		if !reflect.DeepEqual(gateway, want) || c.TrunkByLogin["gw@acme"] == nil || len(c.TrunkByLogin) != 1 {
			t.Errorf("%s: the trunk is %+v", when, gateway)
		}
		carrier := only[*brain.SIPTrunk](t, s, id, brain.KindSIPTrunk, "carrier")
		if carrier.Direction != brain.TrunkInbound || carrier.InboundAuth != brain.InboundIP || carrier.OptionsPingSec != 30 || carrier.SilentMS != 4000 || carrier.ExpireSec != 3600 {
			t.Errorf("%s: defaults: %+v", when, carrier)
		}
		germany := only[*brain.OutboundRoute](t, s, id, brain.KindOutboundRoute, "germany")
		wantRoute := &brain.OutboundRoute{ID: germany.ID, AccountID: id, Name: "germany", Status: "active", MatchPrefix: "49", Strategy: "least_cost", ScheduleID: germany.ScheduleID, Strip: 2, Prefix: "0",
			Trunks: []brain.OutboundChoice{{TrunkID: cheap.ID, CostMicros: 4_000_000_000_000}, {TrunkID: gateway.ID, Priority: 1, Weight: 5, CostMicros: 1500}}}
		if !reflect.DeepEqual(germany, wantRoute) || c.Schedules[germany.ScheduleID] == nil || len(c.OutboundRoutes) != 3 {
			t.Errorf("%s: the route is %+v", when, germany)
		}
		mobile, office := only[*brain.Forward](t, s, id, brain.KindForward, "mobile"), only[*brain.Forward](t, s, id, brain.KindForward, "office")
		if mobile.Overflow().ID != office.ID || !mobile.Confirm || office.TimeoutSec != 30 || office.CIDMode != brain.CIDPassthrough || c.UserByName["1001"].FwdBusy().ID != mobile.ID {
			t.Errorf("%s: the forwards are %+v and %+v", when, mobile, office)
		}
		if a := c.Account; a.EmergencySuspended || a.EmergencyRouteID != only[*brain.OutboundRoute](t, s, id, brain.KindOutboundRoute, "emergency").ID || a.DefaultCIDNumber != "493012346" {
			t.Errorf("%s: the account is %+v", when, a)
		}
		if b := account(t, s, "beta.test"); !b.Account.EmergencySuspended {
			t.Errorf("%s: defaults of an account: %+v", when, b.Account)
		}
		if f := only[*brain.CallFlow](t, s, id, brain.KindCallFlow, "main"); !strings.Contains(string(f.LiveGraph.Nodes[6].Data), `"forwardId":"`+mobile.ID+`"`) {
			t.Errorf("%s: the flow is %s", when, f.LiveGraph.Nodes[6].Data)
		}
		if got := valueOf(t, s, id, "gateway password"); got != "pass: word" || c.Secrets["signing key"] == nil {
			t.Errorf("%s: the secret is %q", when, got)
		}
	}
	check("applied")
	if err := s.reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	check("read back")
}

// Proves that mistakes in trunks, routes, forwards, secrets and the numbers that are shown are told by their line and path.
func TestApply_TellsMistakesOfCallsToOutside(t *testing.T) {
	s := acmeStore(t)
	for doc, part := range map[string]string{
		`{kind: outbound_route, account: acme, name: x, spec: {trunks: [{trunk_id: moon}]}}`:                                           `line 1: outbound_route "x": spec.trunks[0].trunk_id: no sip_trunk "moon" in account "acme"`,
		`{kind: outbound_route, account: acme, name: x, spec: {trunks: [{trunk_id: carrier}]}}`:                                        `line 1: outbound_route "x": spec.trunks[0].trunk_id: the trunk carries no calls to the outside`,
		`{kind: outbound_route, account: acme, name: x, spec: {trunks: [{trunk_id: cheap, cost_micros: 1.5}]}}`:                        `line 1: outbound_route "x": spec.trunks[0].cost_micros: must be a whole number, not "1.5"`,
		`{kind: outbound_route, account: acme, name: x}`:                                                                               `line 1: outbound_route "x": spec.trunks: at least one is required`,
		`{kind: sip_trunk, account: acme, name: x, spec: {auth_secret_ref: moon}}`:                                                     `line 1: sip_trunk "x": spec.auth_secret_ref: no secret "moon" in the account`,
		`{kind: sip_trunk, account: acme, name: x, spec: {inbound_auth: digest, auth_username: "1001", auth_secret_ref: signing key}}`: `line 1: sip_trunk "x": spec.auth_username: "1001" is the auth_username of a device`,
		`{kind: forward, account: acme, name: x, spec: {number: home}}`:                                                                `line 1: forward "x": spec.number: must be a number as it is dialed`,
		`{kind: forward, account: acme, name: x, spec: {number: "1", overflow_dest_kind: forward, overflow_dest_id: moon}}`:            `line 1: forward "x": spec.overflow_dest_id: no forward "moon" in account "acme"`,
		`{kind: sip_user, account: acme, name: "1003", spec: {out_cid_number: "4930888"}}`:                                             `line 1: sip_user "1003": spec.out_cid_number: no did "4930888" in the account`,
		`{kind: account, name: beta, spec: {emergency_route_id: emergency}}`:                                                           `line 1: account "beta": spec.emergency_route_id: no outbound_route "emergency"`,
		`{kind: secret, account: acme, name: x}`:                                                                                       `line 1: secret "x": spec.value: is required for a new secret`,
		`{kind: secret, account: acme, name: x, spec: {value: a, sealed: b}}`:                                                          `line 1: secret "x": spec.value: give either the value or`,
		`{kind: secret, account: acme, name: x, spec: {sealed: YWJj}}`:                                                                 `line 1: secret "x": spec.sealed: was not sealed for this account and name`,
		`{kind: secret, account: acme, name: x, spec: {value: ` + strings.Repeat("a", 16385) + `}}`:                                    `line 1: secret "x": spec.value: must be 1 to 16384 bytes, not 16385`,
	} {
		_, _, err := s.Apply(context.Background(), "test", []byte(doc), brain.ApplyOptions{})
		wantCode(t, err, brain.EInvalid, part)
	}
}

// Proves that nothing goes, nor changes what it is, that calls to the outside need: trunks of routes, secrets of trunks
// and accounts, numbers that are shown, forwards of users and flows, the emergency route.
func TestChange_KeepsWhatCallsToOutsideNeed(t *testing.T) {
	s := acmeStore(t)
	c := account(t, s, "acme.test")
	id := c.Account.ID
	for part, r := range map[string]brain.Resource{
		`by outbound_route "germany" (trunks[0].trunk_id)`: only[*brain.SIPTrunk](t, s, id, brain.KindSIPTrunk, "cheap"),
		`by sip_trunk "gateway" (auth_secret_ref)`:         only[*brain.Secret](t, s, id, brain.KindSecret, "gateway password"),
		`by account "acme" (stir_secret_ref)`:              only[*brain.Secret](t, s, id, brain.KindSecret, "signing key"),
		`by account "acme" (emergency_route_id)`:           only[*brain.OutboundRoute](t, s, id, brain.KindOutboundRoute, "emergency"),
		`by sip_user "1001" (fwd_busy_dest_id)`:            only[*brain.Forward](t, s, id, brain.KindForward, "mobile"),
		`(graph.nodes[6].data.forwardId)`:                  only[*brain.Forward](t, s, id, brain.KindForward, "mobile"),
		`by forward "mobile" (overflow_dest_id)`:           only[*brain.Forward](t, s, id, brain.KindForward, "office"),
		`by sip_user "1001" (out_cid_number)`:              c.DIDByE164["493012346"],
		`by account "acme" (default_cid_number)`:           c.DIDByE164["493012346"],
		`by outbound_route "germany" (schedule_id)`:        only[*brain.TimeSchedule](t, s, id, brain.KindTimeSchedule, "office"),
	} {
		_, err := change(s, brain.OpDelete, r)
		wantCode(t, err, brain.EConflict, part)
	}
	inbound := only[*brain.SIPTrunk](t, s, id, brain.KindSIPTrunk, "cheap")
	inbound.Direction, inbound.InboundACL = brain.TrunkInbound, []string{"203.0.113.77"}
	_, err := change(s, brain.OpUpdate, inbound)
	wantCode(t, err, brain.EConflict, `outbound_route "germany": trunks[0].trunk_id: the trunk carries no calls`)
	plain := only[*brain.OutboundRoute](t, s, id, brain.KindOutboundRoute, "emergency")
	plain.IsEmergency = false
	_, err = change(s, brain.OpUpdate, plain)
	wantCode(t, err, brain.EConflict, `account "acme": emergency_route_id: the route is none for emergency calls`)
	phone := &brain.SIPDevice{AccountID: id, UserID: c.UserByName["1001"].ID, AuthUsername: "gw", Realm: "acme.test", Password: "x"}
	trunk := only[*brain.SIPTrunk](t, s, id, brain.KindSIPTrunk, "gateway")
	trunk.AuthUsername = "gw"
	mustChange(t, s, brain.OpUpdate, trunk)
	_, err = change(s, brain.OpCreate, phone)
	wantCode(t, err, brain.EConflict, `sip_trunk "gateway": auth_username: "gw" is the auth_username of a device`)
}

// Proves that only trunks that are known by their address, and whose calls are taken, are found by it.
func TestTrunkBySource_IsForTrunksKnownByTheirAddress(t *testing.T) {
	s := acmeStore(t)
	trunk := only[*brain.SIPTrunk](t, s, account(t, s, "acme.test").Account.ID, brain.KindSIPTrunk, "cheap")
	trunk.InboundACL = []string{"203.0.113.9"}
	for _, c := range []struct {
		direction brain.TrunkDirection
		auth      brain.InboundAuth
		found     bool
	}{{brain.TrunkOutbound, brain.InboundIP, false}, {brain.TrunkBoth, brain.InboundIP, true}, {brain.TrunkInbound, brain.InboundIP, true}, {brain.TrunkBoth, brain.InboundDigest, false}, {brain.TrunkBoth, brain.InboundRegister, false}} {
		trunk.Direction, trunk.InboundAuth, trunk.AuthUsername, trunk.AuthSecretRef = c.direction, c.auth, "cheap", "signing key"
		if c.direction == brain.TrunkInbound {
			mustApply(t, s, []byte(`[{kind: outbound_route, account: acme, name: germany, spec: {blocked: true}}]`), brain.ApplyOptions{})
		}
		mustChange(t, s, brain.OpUpdate, trunk)
		_, got := s.Directory().TrunkBySource("203.0.113.9")
		listed := strings.Contains(strings.Join(s.Directory().TrunkSources(), " "), "203.0.113.9/32")
		if (got != nil) != c.found || listed != c.found {
			t.Errorf("%s, %s: found %v, listed %v", c.direction, c.auth, got != nil, listed)
		}
	}
}

// Proves that a file from before calls to the outside keeps every trunk, target and key of a queue, that its trunks are
// inbound ones known by their addresses, and that forwards can be led to from everywhere.
func TestOpen_BringsAFileWithoutCallsToOutsideUpToDate(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, fileOf(t, 6,
		`INSERT INTO account (id, name, status, timezone, language, did_default_dest_kind, did_default_dest_id) VALUES ('acc_1', 'acme', 'active', 'UTC', 'en-US', 'queue', 'q_1')`,
		`INSERT INTO sip_user (id, account_id, username, display_name, ring_timeout_sec, ring_strategy, status, dnd, fwd_always_dest_kind, fwd_always_dest_id, fwd_busy_dest_id, fwd_noanswer_dest_id)
			VALUES ('us_1', 'acc_1', '1001', '', 25, 'simultaneous', 'active', 0, 'queue', 'q_1', '', '')`,
		`INSERT INTO sip_trunk VALUES ('tr_1', 'acc_1', 'carrier', 'active', '["192.0.2.1"]', 30)`,
		`INSERT INTO extension (id, account_id, digits, dest_kind, dest_id, status) VALUES ('ext_1', 'acc_1', '600', 'queue', 'q_1', 'active')`,
		`INSERT INTO queue (id, account_id, name, strategy, agent_ring_timeout_sec, max_wait_sec, wrap_up_sec, max_no_answer, tier_escalation_sec, priority_age_sec, sticky_sec, service_level_sec, agent_confirm,
			record, skill_relax, announce_position, announce_ewt, announce_first_sec, announce_interval_sec, ewt_aht_sec, language, moh_mode, moh_media_id, moh_playlist_id, whisper_media_id, schedule_id,
			closed_dest_kind, closed_dest_id, holiday_dest_kind, holiday_dest_id, timeout_dest_kind, timeout_dest_id, no_agents_dest_kind, no_agents_dest_id, queue_full_dest_kind, queue_full_dest_id, ewt_dest_kind, ewt_dest_id)
			VALUES ('q_1', 'acc_1', 'support', 'ring_all', 20, 0, 0, 0, 0, 0, 0, 20, 0, 0, '[]', 0, 0, 15, 30, 240, '', 'stream', '', '', '', '',
			'user', 'us_1', 'hangup', '', 'extension', 'ext_1', 'queue', 'q_1', 'hangup', '486', 'hangup', '480')`,
		`INSERT INTO in_queue_option VALUES ('opt_1', 'acc_1', 'q_1', '1', 'route', 'user', 'us_1', '', 0, '', 4, 310, 4000, 0, 'Bob')`,
		`INSERT INTO change_set VALUES (1, 1000, 'apply', 'create')`))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := s.Directory().ByAccount("acc_1")
	if got := c.Trunks["tr_1"]; !reflect.DeepEqual(got, trunkOf("tr_1", "acc_1", "carrier", "192.0.2.1", 30)) {
		t.Errorf("the trunk is %+v", got)
	}
	if _, trunk := s.Directory().TrunkBySource("192.0.2.1"); trunk == nil {
		t.Error("the trunk is not found by its address")
	}
	a, u, q, o := c.Account, *c.UserByName["1001"], *c.Queues["q_1"], *c.QueueOptions["q_1"]["1"]
	target := func(kind brain.DestKind, id string) brain.RouteTarget { return brain.RouteTarget{Kind: kind, ID: id} }
	queue, bob := target("queue", "q_1"), target("user", "us_1")
	got := []brain.RouteTarget{a.DIDDefault(), u.FwdAlways(), c.Extensions["600"].Dest(), q.Closed(), q.Holiday(), q.Timeout(), q.NoAgents(), q.QueueFull(), q.EWT(), o.Dest()}
	want := []brain.RouteTarget{queue, queue, queue, bob, target("hangup", ""), target("extension", "ext_1"), queue, target("hangup", "486"), target("hangup", "480"), bob}
	if !reflect.DeepEqual(got, want) || !a.EmergencySuspended || o.CallbackTries != 4 || o.CallbackRetrySec != 310 || o.CallbackWindowSec != 4000 || o.CallbackAsk || o.Label != "Bob" {
		t.Errorf("targets %v, want %v; the key is %+v", got, want, o)
	}
	f := &brain.Forward{AccountID: "acc_1", Name: "mobile", Number: "0171 1"}
	mustChange(t, s, brain.OpCreate, f)
	e := *c.Extensions["600"]
	for _, dest := range []struct {
		kind *brain.DestKind
		id   *string
	}{{&a.DIDDefaultDestKind, &a.DIDDefaultDestID}, {&u.FwdAlwaysDestKind, &u.FwdAlwaysDestID}, {&u.FwdBusyDestKind, &u.FwdBusyDestID}, {&u.FwdNoanswerDestKind, &u.FwdNoanswerDestID},
		{&e.DestKind, &e.DestID}, {&e.ClosedDestKind, &e.ClosedDestID}, {&e.HolidayDestKind, &e.HolidayDestID}, {&q.ClosedDestKind, &q.ClosedDestID}, {&q.HolidayDestKind, &q.HolidayDestID},
		{&q.TimeoutDestKind, &q.TimeoutDestID}, {&q.NoAgentsDestKind, &q.NoAgentsDestID}, {&q.QueueFullDestKind, &q.QueueFullDestID}, {&q.EWTDestKind, &q.EWTDestID}, {&o.DestKind, &o.DestID}} {
		*dest.kind, *dest.id = brain.DestForward, f.ID
	}
	g := &brain.RingGroup{AccountID: "acc_1", Name: "g", OverflowDestKind: brain.DestForward, OverflowDestID: f.ID}
	d := &brain.DID{AccountID: "acc_1", E164: "4930", DestKind: brain.DestForward, DestID: f.ID, ClosedDestKind: brain.DestForward, ClosedDestID: f.ID, HolidayDestKind: brain.DestForward, HolidayDestID: f.ID}
	mustChange(t, s, brain.OpUpdate, &a, &u, &e, &q, &o)
	mustChange(t, s, brain.OpCreate, g, d)
	if err := s.reload(ctx); err != nil {
		t.Fatal(err)
	}
	if d := s.Directory().ByAccount("acc_1").DIDByE164["4930"]; d.HolidayDest() != target("forward", f.ID) {
		t.Errorf("read back: %+v", d)
	}
}

// trunkOf is an inbound trunk with every default.
func trunkOf(id, owner, name, network string, channels int) *brain.SIPTrunk {
	t := brain.NewResource(brain.KindSIPTrunk).(*brain.SIPTrunk)
	t.ID, t.AccountID, t.Name, t.InboundACL, t.MaxChannels = id, owner, name, []string{network}, channels
	return t
}

// Proves that the tables of calls to the outside hold their bounds by themselves: rows are written past the checks and
// the file refuses them.
func TestSQLite_BoundsCallsToOutsideByItself(t *testing.T) {
	s := acmeStore(t)
	acme := account(t, s, "acme.test")
	id := acme.Account.ID
	trunk := trunkOf("tr_x", id, "x", "203.0.113.1", 0)
	route := &brain.OutboundRoute{ID: "route_x", AccountID: id, Name: "x", Status: "active", Strategy: "priority", Trunks: []brain.OutboundChoice{{TrunkID: "tr_x"}}}
	forward := &brain.Forward{ID: "fwd_x", AccountID: id, Name: "x", Number: "1", TimeoutSec: 5, CIDMode: "did", Trigger: "busy"}
	secret := &brain.Secret{ID: "sec_x", AccountID: id, Name: "x", Sealed: "a"}
	undo := errors.New("taken, and undone")
	for _, row := range []brain.Resource{trunk, route, forward, secret} {
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 98}, []op{opOf(nil, row)}, func() error { return undo })
		if !errors.Is(err, undo) {
			t.Errorf("a good %s: %v", row.ResourceKind(), err)
		}
	}
	for name, c := range map[string]struct {
		row   brain.Resource
		spoil func(r brain.Resource)
	}{
		"trigger":        {forward, func(r brain.Resource) { r.(*brain.Forward).Trigger = "never" }},
		"direction":      {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).Direction = "up" }},
		"role":           {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).Role = "" }},
		"inbound_auth":   {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).InboundAuth = "key" }},
		"certificate":    {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).InboundAuth = "tls" }},
		"transport":      {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).Transport = "wss" }},
		"number shown":   {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).CIDNumber = "+49" }},
		"prefix":         {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).Prefix = "a" }},
		"expires":        {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).ExpireSec = 59 }},
		"silent":         {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).SilentMS = 0 }},
		"progress":       {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).ProgressMS = 0 }},
		"calls a second": {trunk, func(r brain.Resource) { r.(*brain.SIPTrunk).MaxCPS = -1 }},
		"login twice": {trunk, func(r brain.Resource) {
			r.(*brain.SIPTrunk).InboundAuth, r.(*brain.SIPTrunk).AuthUsername = "digest", "gw@acme"
		}},
		"route name taken":    {route, func(r brain.Resource) { r.(*brain.OutboundRoute).Name = "germany" }},
		"route id":            {route, func(r brain.Resource) { r.(*brain.OutboundRoute).ID = "x_1" }},
		"route of nobody":     {route, func(r brain.Resource) { r.(*brain.OutboundRoute).AccountID = "acc_x" }},
		"route prefix":        {route, func(r brain.Resource) { r.(*brain.OutboundRoute).MatchPrefix = "+49" }},
		"route strategy":      {route, func(r brain.Resource) { r.(*brain.OutboundRoute).Strategy = "best" }},
		"route leads nowhere": {route, func(r brain.Resource) { r.(*brain.OutboundRoute).Trunks = nil }},
		"emergency with hours": {route, func(r brain.Resource) {
			r.(*brain.OutboundRoute).IsEmergency, r.(*brain.OutboundRoute).ScheduleID = true, "sch_1"
		}},
		"emergency blocked": {route, func(r brain.Resource) {
			r.(*brain.OutboundRoute).IsEmergency, r.(*brain.OutboundRoute).Blocked = true, true
		}},
		"forward name taken":    {forward, func(r brain.Resource) { r.(*brain.Forward).Name = "mobile" }},
		"forward id":            {forward, func(r brain.Resource) { r.(*brain.Forward).ID = "x_1" }},
		"forward without":       {forward, func(r brain.Resource) { r.(*brain.Forward).Number = "" }},
		"forward mode":          {forward, func(r brain.Resource) { r.(*brain.Forward).CIDMode = "custom" }},
		"forward rings":         {forward, func(r brain.Resource) { r.(*brain.Forward).TimeoutSec = 4 }},
		"forward target":        {forward, func(r brain.Resource) { r.(*brain.Forward).OverflowDestKind = "trunks" }},
		"secret name taken":     {secret, func(r brain.Resource) { r.(*brain.Secret).Name = "signing key" }},
		"secret without sealed": {secret, func(r brain.Resource) { r.(*brain.Secret).Sealed = "" }},
		"secret id":             {secret, func(r brain.Resource) { r.(*brain.Secret).ID = "x_1" }},
	} {
		bad := brain.Clone(c.row)
		c.spoil(bad)
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 99}, []op{opOf(nil, bad)}, nil)
		if brain.CodeOf(classify(err)) != brain.EConflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, spoil := range map[string]func(a *brain.Account, u *brain.SIPUser){
		"number of the account": func(a *brain.Account, _ *brain.SIPUser) { a.DefaultCIDNumber = "+49" },
		"certificate":           func(a *brain.Account, _ *brain.SIPUser) { a.StirX5U = "http://x" },
		"number of a user":      func(_ *brain.Account, u *brain.SIPUser) { u.OutCIDNumber = "4930a" },
	} {
		a, u := acme.Account, *acme.UserByName["1001"]
		spoil(&a, &u)
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 99}, []op{opOf(&acme.Account, &a), opOf(acme.UserByName["1001"], &u)}, nil)
		if brain.CodeOf(classify(err)) != brain.EConflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

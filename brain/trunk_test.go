package brain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Proves that each bad field of what calls to the outside need is told with its path, and no other field is. Each row
// breaks one valid resource.
func TestValidate_TellsTheFieldOfCallsToOutsideThatIsWrong(t *testing.T) {
	trunk := func(set func(r *SIPTrunk)) func(Resource) { return func(r Resource) { set(r.(*SIPTrunk)) } }
	route := func(set func(r *OutboundRoute)) func(Resource) { return func(r Resource) { set(r.(*OutboundRoute)) } }
	forward := func(set func(r *Forward)) func(Resource) { return func(r Resource) { set(r.(*Forward)) } }
	for i, c := range []struct {
		path string
		kind Kind
		set  func(r Resource)
	}{
		{"default_cid_number", KindAccount, func(r Resource) { r.(*Account).DefaultCIDNumber = "+4930" }},
		{"default_cid_number", KindAccount, func(r Resource) { r.(*Account).DefaultCIDNumber = "030" }},
		{"stir_x5u", KindAccount, func(r Resource) { r.(*Account).StirX5U = "http://acme.test/cert.pem" }},
		{"stir_x5u", KindAccount, func(r Resource) { r.(*Account).StirX5U = "" }},
		{"stir_secret_ref", KindAccount, func(r Resource) { r.(*Account).StirSecretRef = "" }},
		{"out_cid_number", KindSIPUser, func(r Resource) { r.(*SIPUser).OutCIDNumber = strings.Repeat("4", 16) }},
		{"out_cid_name", KindSIPUser, func(r Resource) { r.(*SIPUser).OutCIDName = "a\nb" }},

		{"direction", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Direction = "up" })},
		{"role", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Role = "peer" })},
		{"provider", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Provider = "x" })},
		{"inbound_auth", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.InboundAuth = "key" })},
		{"inbound_acl[0]", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.InboundACL = []string{"carrier.test"} })},
		{"proxy", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Proxy, r.DoRegister = "", false })},
		{"proxy", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Proxy, r.Direction = "", TrunkInbound })},
		{"transport", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Transport = "wss" })},
		{"expire_sec", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.ExpireSec = 59 })},
		{"auth_username", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.AuthUsername = "" })},
		{"auth_username", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.AuthUsername, r.InboundAuth = "", InboundIP })},
		{"auth_username", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.AuthUsername, r.DoRegister = "", false })},
		{"auth_username", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.AuthUsername = `a"b` })},
		{"auth_username", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.AuthUsername = "a!!b" })},
		{"auth_secret_ref", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.AuthSecretRef = "" })},
		{"auth_secret_ref", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.AuthSecretRef = "a\nb" })},
		{"realm", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Realm = `a"` })},
		{"from_domain", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.FromDomain = "a b" })},
		{"from_user", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.FromUser = "a@b" })},
		{"from_user", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.FromUser = "a!!" })},
		{"subaccount", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Subaccount = "a>;b" })},
		{"cid_number", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.CIDNumber = "+49" })},
		{"number_format", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.NumberFormat = "x" })},
		{"strip", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Strip = 16 })},
		{"prefix", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Prefix = "a" })},
		{"max_channels", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.MaxChannels = -1 })},
		{"max_cps", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.MaxCPS = -1 })},
		{"codecs[1]", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Codecs = []string{"PCMA", "a b"} })},
		{"codecs[1]", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Codecs = []string{"PCMA", "pcma"} })},
		{"codecs", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Codecs = numbered(17) })},
		{"srtp", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.SRTP = "dtls" })},
		{"options_ping_sec", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.OptionsPingSec = 3601 })},
		{"silent_ms", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.SilentMS = 499 })},
		{"progress_ms", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.ProgressMS = 999 })},
		{"stir", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.Stir = "on" })},
		{"fail_codes[0]", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.FailCodes[0] = 299 })},
		{"fail_codes[1]", KindSIPTrunk, trunk(func(r *SIPTrunk) { r.FailCodes[1] = 300 })},
		{"fail_codes", KindSIPTrunk, trunk(func(r *SIPTrunk) {
			for i := range 33 {
				r.FailCodes = append(r.FailCodes[:i:i], 400+i)
			}
		})},

		{"match_prefix", KindOutboundRoute, route(func(r *OutboundRoute) { r.MatchPrefix = "+49" })},
		{"match_prefix", KindOutboundRoute, route(func(r *OutboundRoute) { r.MatchPrefix = "030" })},
		{"match_prefix", KindOutboundRoute, route(func(r *OutboundRoute) { r.MatchPrefix += "4" })},
		{"blocked", KindOutboundRoute, route(func(r *OutboundRoute) { r.IsEmergency, r.Blocked, r.ScheduleID = true, true, "" })},
		{"schedule_id", KindOutboundRoute, route(func(r *OutboundRoute) { r.IsEmergency = true })},
		{"strategy", KindOutboundRoute, route(func(r *OutboundRoute) { r.Strategy = "best" })},
		{"trunks", KindOutboundRoute, route(func(r *OutboundRoute) { r.Trunks = nil })},
		{"trunks", KindOutboundRoute, route(func(r *OutboundRoute) {
			r.Trunks = nil
			for _, id := range numbered(17) {
				r.Trunks = append(r.Trunks, OutboundChoice{TrunkID: id})
			}
		})},
		{"trunks[0].trunk_id", KindOutboundRoute, route(func(r *OutboundRoute) { r.Trunks[0].TrunkID = "" })},
		{"trunks[1].trunk_id", KindOutboundRoute, route(func(r *OutboundRoute) { r.Trunks[1].TrunkID = "tr_1" })},
		{"trunks[1].priority", KindOutboundRoute, route(func(r *OutboundRoute) { r.Trunks[1].Priority = 1001 })},
		{"trunks[1].weight", KindOutboundRoute, route(func(r *OutboundRoute) { r.Trunks[1].Weight = -1 })},
		{"trunks[1].cost_micros", KindOutboundRoute, route(func(r *OutboundRoute) { r.Trunks[1].CostMicros = -1 })},
		{"strip", KindOutboundRoute, route(func(r *OutboundRoute) { r.Strip = -1 })},
		{"prefix", KindOutboundRoute, route(func(r *OutboundRoute) { r.Prefix = "0 " })},

		{"number", KindForward, forward(func(r *Forward) { r.Number = "" })},
		{"number", KindForward, forward(func(r *Forward) { r.Number = "+ " })},
		{"number", KindForward, forward(func(r *Forward) { r.Number = "1;x" })},
		{"number", KindForward, forward(func(r *Forward) { r.Number = strings.Repeat("1", 41) })},
		{"timeout_sec", KindForward, forward(func(r *Forward) { r.TimeoutSec = 4 })},
		{"cid_mode", KindForward, forward(func(r *Forward) { r.CIDMode = "x" })},
		{"cid_number", KindForward, forward(func(r *Forward) { r.CIDNumber = "" })},
		{"cid_number", KindForward, forward(func(r *Forward) { r.CIDNumber = "12" })},
		{"overflow_dest_id", KindForward, forward(func(r *Forward) { r.OverflowDestID = "" })},

		{"name", KindSecret, func(r Resource) { r.(*Secret).Name = "" }}, {"sealed", KindSecret, func(r Resource) { r.(*Secret).Sealed = "a b" }},
	} {
		r := valid()[c.kind]
		c.set(r)
		if got := paths(Validate(r)); len(got) != 1 || got[0] != c.path {
			t.Errorf("row %d: %+v: got %v, want %s", i, r, Validate(r), c.path)
		}
	}
}

// Proves that a trunk whose calls nothing would tell from others' is refused, and so is a name of a certificate that nobody looks for.
func TestValidate_RefusesATrunkThatNoCallCanBeKnownBy(t *testing.T) {
	for path, set := range map[string]func(*SIPTrunk){
		"inbound_acl": func(r *SIPTrunk) { r.InboundAuth, r.InboundACL = InboundIP, nil },
		"tls_name":    func(r *SIPTrunk) { r.TLSName = "sbc.carrier.test" },
	} {
		for _, direction := range []TrunkDirection{TrunkInbound, TrunkBoth} {
			r := valid()[KindSIPTrunk].(*SIPTrunk)
			r.Direction = direction
			set(r)
			if got := paths(Validate(r)); len(got) != 1 || got[0] != path {
				t.Errorf("%s: %v", direction, Validate(r))
			}
		}
	}
}

func numbered(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("n", i)
	}
	return list
}

// Proves which trunks and routes may do without what others need.
func TestValidate_WantsOfATrunkOnlyWhatItNeeds(t *testing.T) {
	for name, r := range map[string]Resource{
		"inbound by address, disabled":       &SIPTrunk{Name: "x", Status: StatusDisabled},
		"inbound by address, with a network": &SIPTrunk{Name: "x", InboundACL: []string{"192.0.2.1"}},
		"outbound without a login":           &SIPTrunk{Name: "x", Direction: TrunkOutbound, Proxy: "carrier.test"},
		"both, the peer registers":           &SIPTrunk{Name: "x", Direction: TrunkBoth, InboundAuth: InboundRegister, AuthUsername: "x", AuthSecretRef: "x"},
		"blocked without trunks":             &OutboundRoute{Name: "x", MatchPrefix: "4990", Blocked: true},
		"emergency number that begins with 0": &OutboundRoute{Name: "x", MatchPrefix: "000", IsEmergency: true,
			Trunks: []OutboundChoice{{TrunkID: "tr_1"}}},
		"number that is not shown": &Forward{Name: "x", Number: "112", CIDNumber: "4930"},
	} {
		ApplyDefaults(r)
		if errs := Validate(r); errs != nil {
			t.Errorf("%s: %v", name, errs)
		}
	}
}

// Proves that a trunk that is known by its certificate wants a DNS name, without wildcards, and that the name is kept in lower case.
func TestValidate_WantsTheNameOfACertificate(t *testing.T) {
	for name, want := range map[string]string{"": "tls_name", "*.carrier.test": "tls_name", "a b": "tls_name", "SBC.Carrier.test": ""} {
		r := &SIPTrunk{Name: "x", InboundAuth: InboundTLS, TLSName: name}
		ApplyDefaults(r)
		if got := strings.Join(paths(Validate(r)), " "); got != want || r.TLSName != strings.ToLower(name) {
			t.Errorf("%q is kept as %q, at fault: %q", name, r.TLSName, got)
		}
		if list := Validate(r); strings.Contains(name, "*") && !strings.Contains(list[0].Text, "wildcards match nothing") {
			t.Errorf("%q: %v", name, list)
		}
	}
}

// Proves where calls can be sent to: a host, or a host with a port.
func TestValidate_TakesHostsWithAndWithoutPortAsProxies(t *testing.T) {
	for proxy, want := range map[string]bool{
		"carrier.test": true, "carrier.test:5061": true, "192.0.2.1": true, "192.0.2.1:1": true, "[2001:db8::1]": true, "[2001:db8::1]:65535": true, "CARRIER.test": true,
		"carrier.test:": false, ":5060": false, "carrier.test:0": false, "carrier.test:65536": false, "carrier.test:05060": false, "carrier.test:+5": false, "2001:db8::1": false,
		"[2001:db8::1": false, "sip:carrier.test": false, "carrier.test;transport=tls": false, "a b": false, "192.0.2.256": false, "carrier.test:5060:1": false,
	} {
		r := &SIPTrunk{Name: "x", Direction: TrunkOutbound, Proxy: proxy}
		ApplyDefaults(r)
		if errs := Validate(r); (errs == nil) != want {
			t.Errorf("%q: %v", proxy, errs)
		}
	}
}

// Proves that every broken reference of calls to the outside, every number shown that is not the account's, and every
// name or login used twice is told of the row at fault. Each row breaks one valid account.
func TestValidateAccount_TellsTheRowOfCallsToOutside(t *testing.T) {
	for _, c := range []struct {
		id, path string
		taken    bool
		set      func(a *AccountRows)
	}{
		{"acc_1", "default_cid_number", false, func(a *AccountRows) { a.Account.DefaultCIDNumber = "4932" }},
		{"acc_1", "emergency_route_id", false, func(a *AccountRows) { a.Account.EmergencyRouteID = "route_9" }},
		{"acc_1", "emergency_route_id", false, func(a *AccountRows) { a.Account.EmergencyRouteID = "route_1" }},
		{"acc_1", "stir_secret_ref", false, func(a *AccountRows) { a.Account.StirSecretRef = "sec_1" }},
		{"us_1", "out_cid_number", false, func(a *AccountRows) { a.Users[0].OutCIDNumber = "4932" }},
		{"us_1", "fwd_busy_dest_id", false, func(a *AccountRows) { a.Users[0].FwdBusyDestKind, a.Users[0].FwdBusyDestID = DestForward, "fwd_9" }},
		{"tr_2", "auth_secret_ref", false, func(a *AccountRows) { a.Trunks[1].AuthSecretRef = "sec_1" }},
		{"tr_1", "auth_username", true, func(a *AccountRows) { a.Trunks[0].AuthUsername = "x" }},
		{"tr_2", "auth_username", true, func(a *AccountRows) { a.Trunks[1].InboundAuth, a.Trunks[1].AuthUsername = InboundRegister, "y" }},
		{"route_1", "trunks[1].trunk_id", false, func(a *AccountRows) { a.Routes[0].Trunks[1].TrunkID = "tr_9" }},
		{"route_1", "trunks[0].trunk_id", false, func(a *AccountRows) { a.Trunks[1].Direction = TrunkInbound }},
		{"route_1", "schedule_id", false, func(a *AccountRows) { a.Routes[0].ScheduleID = "sch_9" }},
		{"route_2", "name", true, func(a *AccountRows) { a.Routes[1].Name = "all" }},
		{"route_x", "name", false, func(a *AccountRows) {
			for i := len(a.Routes); i < maxRoutes; i++ {
				a.Routes = append(a.Routes, OutboundRoute{ID: "route_y", Name: fmt.Sprint(i)})
			}
			a.Routes = append(a.Routes, OutboundRoute{ID: "route_x", Name: "one too many"})
		}},
		{"fwd_1", "overflow_dest_id", false, func(a *AccountRows) { a.Forwards[0].OverflowDestID = "us_1" }},
		{"fwd_2", "name", true, func(a *AccountRows) { a.Forwards[1].Name = "mobile" }},
		{"sec_2", "name", true, func(a *AccountRows) { a.Secrets = append(a.Secrets, Secret{ID: "sec_2", Name: "password"}) }},
	} {
		rows := validAccount()
		c.set(&rows)
		errs := ValidateAccount(rows)
		if len(errs) != 1 || errs[0].Resource.ResourceID() != c.id || errs[0].Path != c.path || errs[0].Taken != c.taken {
			t.Errorf("want %s %s, got %+v", c.id, c.path, errs)
		}
	}
}

// Proves that defaults of trunks fill what is empty and leave what is set, 0 where it means something included, and that
// a copy shares no list with its original.
func TestTrunks_HaveDefaultsAndShareNothing(t *testing.T) {
	zero := &SIPTrunk{Proxy: "CARRIER.test", Codecs: []string{}}
	ApplyDefaults(zero)
	fresh := NewResource(KindSIPTrunk).(*SIPTrunk)
	if zero.OptionsPingSec != 0 || zero.Proxy != "carrier.test" || zero.Codecs != nil || fresh.OptionsPingSec != 30 || fresh.Direction != TrunkInbound || fresh.InboundAuth != InboundIP {
		t.Errorf("defaults: %+v and %+v", zero, fresh)
	}
	a := &Account{}
	ApplyDefaults(a)
	if a.EmergencySuspended || !NewResource(KindAccount).(*Account).EmergencySuspended {
		t.Error("emergency_when_suspended has another default")
	}
	trunk, route := valid()[KindSIPTrunk].(*SIPTrunk), valid()[KindOutboundRoute].(*OutboundRoute)
	copied := Clone(trunk).(*SIPTrunk)
	copied.InboundACL[0], copied.Codecs[0], copied.FailCodes[0] = "", "", 0
	Clone(route).(*OutboundRoute).Trunks[0].TrunkID = ""
	if slices.Contains(trunk.InboundACL, "") || slices.Contains(trunk.Codecs, "") || slices.Contains(trunk.FailCodes, 0) || route.Trunks[0].TrunkID == "" {
		t.Error("a change of the copy changed the original")
	}
}

// Proves that no secret shows what it holds, and what a value may be.
func TestSecrets_ShowNothing(t *testing.T) {
	s := &Secret{ID: "sec_1", Name: "x", Value: "hush", Sealed: "aHVzaA=="}
	if got := Redact(s).(*Secret); got.Value != "" || got.Sealed != "" || got.Name != "x" || s.Value == "" {
		t.Errorf("shown as %+v", got)
	}
	if m := TwoSecrets(s); m == nil || m.Path != "value" {
		t.Errorf("both given: %v", m)
	}
	for value, ok := range map[string]bool{"": false, "x": true, "a\nb": true, strings.Repeat("x", 16384): true, strings.Repeat("x", 16385): false} {
		if (CheckSecretValue(value) == "") != ok {
			t.Errorf("%d bytes: %q", len(value), CheckSecretValue(value))
		}
	}
}

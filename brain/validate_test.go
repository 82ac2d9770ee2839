package brain

import (
	"slices"
	"strings"
	"testing"
)

func paths(errs []FieldError) []string {
	var list []string
	for _, e := range errs {
		list = append(list, e.Path)
	}
	return list
}

// phc has the form of an argon2id hash.
const phc = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

// valid returns a resource of each kind that has nothing wrong with it.
func valid() map[Kind]Resource {
	list := map[Kind]Resource{
		KindAccount:   &Account{Name: "Acme & Söhne", DefaultCIDNumber: "4930", EmergencyRouteID: "route_1", StirSecretRef: "key", StirX5U: "https://acme.test/cert.pem"},
		KindSIPDomain: &SIPDomain{Domain: "acme.test"},
		KindSIPUser:   &SIPUser{Username: "1001", DisplayName: "Zoë 日本", FwdBusyDestKind: "hangup", FwdAlwaysDestKind: "user", FwdAlwaysDestID: "us_1", OutCIDNumber: "4930", OutCIDName: "Söhne", IsAgent: true, Skills: Skills{"french": 1, "_a.b-c": 5}},
		KindSIPDevice: &SIPDevice{UserID: "us_1", AuthUsername: "a.b_c+d-e", Realm: "acme.test", Password: "päss word"},
		KindExtension: &Extension{Digits: "*98#", DestKind: "hangup", DestID: "699"},
		KindRingGroup: &RingGroup{Name: "sales", Members: []RingGroupMember{{UserID: "us_1", Order: 1000}}},
		KindNode:      &Node{Name: "edge-1", AgentURL: "http://[::1]:8481", SIPAddresses: []string{"192.0.2.1:5060", "[2001:db8::1]"}},
		KindAPIKey:    &APIKey{Name: "ci", Scopes: []Scope{ScopeConfigRead}, Hash: strings.Repeat("0a", 32)},
		KindCallLimit: &CallLimit{Name: "premium", ScopeKind: LimitNumber, NumberPattern: "+1900?*", PeriodSec: 60, MaxCount: 1},

		KindTimeSchedule: &TimeSchedule{Name: "office", Timezone: "Europe/Berlin", Rules: []ScheduleRule{{Kind: "weekly", DOW: 6, StartTime: "22:00", EndTime: "06:00"},
			{Kind: "date", StartDate: "2028-02-29", IsClosed: true}, {Kind: "date_range", StartDate: "2026-12-24", EndDate: "2026-12-24", EndTime: "24:00"}}},
		KindMediaFile:     &MediaFile{Name: "hello", Text: "one\ntwo", Language: "de-DE", ObjectKey: "acc_1/media/media_1.wav", Format: "wav"},
		KindMediaPlaylist: &MediaPlaylist{Name: "songs", MediaIDs: []string{"media_1", "media_1"}},
		KindVoicemail:     &Voicemail{Name: "box", NotifyEmail: "a.b+c@acme.test", NotifyURL: "https://acme.test/x", PINHash: phc},
		KindConference:    &Conference{Name: "room", PINHash: phc, ModeratorPINHash: phc, MaxMembers: 1000},
		KindCallFlow: &CallFlow{Name: "main", Graph: FlowGraph{Start: "a", Nodes: []FlowStep{{ID: "a", Position: []byte(`{"x": 1}`), Data: []byte(`{"kind": "entry"}`)}},
			Edges: []FlowEdge{{Source: "a", Target: "a"}}}},
		KindDID: &DID{E164: "493012345", Label: "Vertrieb Süd", CNAM: "Acme Süd", DestKind: DestVoicemail, DestXform: Vars{"action": "retrieve", "_x1": ""}, ScheduleID: "sch_1",
			ClosedDestKind: DestFlow, ClosedDestID: "flow_1", HolidayDestKind: DestHangup},
		KindSIPTrunk: &SIPTrunk{Name: "carrier", InboundACL: []string{"192.0.2.0/24", "2001:db8::1"}, MaxChannels: 30, Direction: TrunkBoth, InboundAuth: InboundDigest,
			Proxy: "Carrier.test:5060", AuthUsername: "a@b;c=d", AuthSecretRef: "pass word", Realm: "Acme Telecom", FromDomain: "Acme.test", FromUser: "a.b_c~d!e*f+g=h&i-1", Subaccount: "acme-1",
			CIDNumber: "4930", Strip: 15, Prefix: "00*#+", MaxCPS: 10_000, Codecs: []string{"PCMA", "telephone-event"}, FailCodes: []int{300, 699}, DoRegister: true},
		KindOutboundRoute: &OutboundRoute{Name: "all", MatchPrefix: "491234567890123", Strip: 2, Prefix: "0", ScheduleID: "sch_1",
			Trunks: []OutboundChoice{{TrunkID: "tr_1", Priority: 1000, Weight: 1000, CostMicros: 1 << 40}, {TrunkID: "tr_2"}}},
		KindForward: &Forward{Name: "mobile", Number: "+49 (171) 1-2/3.4*#", CIDMode: CIDCustom, CIDNumber: "4930", OverflowDestKind: DestForward, OverflowDestID: "fwd_2"},
		KindSecret:  &Secret{Name: "pass word", Sealed: "YWJj+/=="},
		KindQueue: &Queue{Name: "support", Strategy: "ring_all", MaxQueued: new(int), EWTThresholdSec: number(300), StickySec: 31_536_000, Language: "de-DE", MOHMode: "file", MOHMediaID: "media_1",
			SkillRelax: []SkillRelax{{AfterSec: 30, LowerBy: 1}, {AfterSec: 60, Skill: "french.v2", Drop: true}}, WhisperMediaID: "media_1", ScheduleID: "sch_1",
			ClosedDestKind: DestVoicemail, ClosedDestID: "vm_1", TimeoutDestKind: DestQueue, TimeoutDestID: "q_2", EWTDestKind: DestHangup},
		KindAgentQueueAssignment: &AgentQueueAssignment{QueueID: "q_1", UserID: "us_1", TierLevel: 100, Position: 100_000, Mode: "mandatory"},
		KindInQueueOption:        &InQueueOption{QueueID: "q_1", Digit: "#", Action: "webhook", WebhookURL: "https://acme.test/hook", StayInQueue: true, PromptMediaID: "media_1", Label: "Rückruf"},
		KindVoicemailMessage:     &VoicemailMessage{VoicemailID: "vm_1", Caller: "+4930", ObjectKey: "acc_1/vm/vm_1/msg_1.wav", SHA256: strings.Repeat("0a", 32)},
	}
	for _, r := range list {
		ApplyDefaults(r)
	}
	return list
}

// Proves that a resource of each kind passes once it has its defaults, so that the refusals below are
// about what they change.
func TestValidate_AcceptsAValidResourceOfEachKind(t *testing.T) {
	for _, k := range Kinds {
		if errs := Validate(valid()[k]); errs != nil {
			t.Errorf("%s: %v", k, errs)
		}
	}
}

// Proves that each bad field is told with its path, and no other field is. Each row breaks one valid
// resource.
func TestValidate_TellsTheFieldThatIsWrong(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, c := range []struct {
		path string
		kind Kind
		set  func(r Resource)
	}{
		{"name", KindAccount, func(r Resource) { r.(*Account).Name = "" }},
		{"name", KindAccount, func(r Resource) { r.(*Account).Name = " x" }},
		{"name", KindAccount, func(r Resource) { r.(*Account).Name = "a\nb" }},
		{"parent_id", KindAccount, func(r Resource) { r.(*Account).ParentID = new(string) }},
		{"status", KindAccount, func(r Resource) { r.(*Account).Status = StatusDisabled }},
		{"timezone", KindAccount, func(r Resource) { r.(*Account).Timezone = "../etc/passwd" }},
		{"timezone", KindAccount, func(r Resource) { r.(*Account).Timezone = "/etc/localtime" }},
		{"language", KindAccount, func(r Resource) { r.(*Account).Language = "en_US" }},
		{"language", KindAccount, func(r Resource) { r.(*Account).Language = "e" }},
		{"domain", KindSIPDomain, func(r Resource) { r.(*SIPDomain).Domain = "a..b" }},
		{"username", KindSIPUser, func(r Resource) { r.(*SIPUser).Username = "" }},
		{"username", KindSIPUser, func(r Resource) { r.(*SIPUser).Username = "1001;x=y" }},
		{"username", KindSIPUser, func(r Resource) { r.(*SIPUser).Username = "ä" }},
		{"username", KindSIPUser, func(r Resource) { r.(*SIPUser).Username = long }},
		{"display_name", KindSIPUser, func(r Resource) { r.(*SIPUser).DisplayName = "a\r\nVia: x" }},
		{"display_name", KindSIPUser, func(r Resource) { r.(*SIPUser).DisplayName = "a\u2028b" }},
		{"display_name", KindSIPUser, func(r Resource) { r.(*SIPUser).DisplayName = "\xff" }},
		{"display_name", KindSIPUser, func(r Resource) { r.(*SIPUser).DisplayName = strings.Repeat("ä", 65) }},
		{"ring_timeout_sec", KindSIPUser, func(r Resource) { r.(*SIPUser).RingTimeoutSec = -1 }},
		{"ring_timeout_sec", KindSIPUser, func(r Resource) { r.(*SIPUser).RingTimeoutSec = 301 }},
		{"ring_strategy", KindSIPUser, func(r Resource) { r.(*SIPUser).RingStrategy = "random" }},
		{"status", KindSIPUser, func(r Resource) { r.(*SIPUser).Status = StatusClosed }},
		{"fwd_always_dest_id", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdAlwaysDestID = "" }},
		{"fwd_always_dest_id", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdAlwaysDestKind = "" }},
		{"fwd_always_dest_kind", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdAlwaysDestKind = "trunks" }},
		{"fwd_busy_dest_id", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdBusyDestID = "399" }},
		{"fwd_busy_dest_id", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdBusyDestID = "700" }},
		{"fwd_busy_dest_id", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdBusyDestID = "+486" }},
		{"fwd_busy_dest_id", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdBusyDestID = "0486" }},
		{"user_id", KindSIPDevice, func(r Resource) { r.(*SIPDevice).UserID = "" }},
		{"auth_username", KindSIPDevice, func(r Resource) { r.(*SIPDevice).AuthUsername = "a@b" }},
		{"realm", KindSIPDevice, func(r Resource) { r.(*SIPDevice).Realm = "Acme.test" }},
		{"password", KindSIPDevice, func(r Resource) { r.(*SIPDevice).Password = "a\x00b" }},
		{"password", KindSIPDevice, func(r Resource) { r.(*SIPDevice).Password = long + long }},
		{"ha1_md5", KindSIPDevice, func(r Resource) { r.(*SIPDevice).HA1MD5 = strings.Repeat("A", 32) }},
		{"ha1_sha256", KindSIPDevice, func(r Resource) { r.(*SIPDevice).HA1SHA256 = strings.Repeat("a", 32) }},
		{"transport", KindSIPDevice, func(r Resource) { r.(*SIPDevice).Transport = "sctp" }},
		{"ring_order", KindSIPDevice, func(r Resource) { r.(*SIPDevice).RingOrder = 1001 }},
		{"digits", KindExtension, func(r Resource) { r.(*Extension).Digits = "6OO" }},
		{"digits", KindExtension, func(r Resource) { r.(*Extension).Digits = strings.Repeat("1", 33) }},
		{"dest_kind", KindExtension, func(r Resource) { r.(*Extension).DestKind, r.(*Extension).DestID = "", "" }},
		{"strategy", KindRingGroup, func(r Resource) { r.(*RingGroup).Strategy = RingSpecific }},
		{"members", KindRingGroup, func(r Resource) { r.(*RingGroup).Members = manyMembers(51) }},
		{"members[0].user_id", KindRingGroup, func(r Resource) { r.(*RingGroup).Members[0].UserID = "" }},
		{"members[0].order", KindRingGroup, func(r Resource) { r.(*RingGroup).Members[0].Order = -1 }},
		{"members[1].user_id", KindRingGroup, func(r Resource) { g := r.(*RingGroup); g.Members = append(g.Members, g.Members[0]) }},
		{"overflow_dest_id", KindRingGroup, func(r Resource) { r.(*RingGroup).OverflowDestID = "us_1" }},
		{"max_in", KindAccount, func(r Resource) { r.(*Account).MaxIn = -1 }},
		{"max_out", KindAccount, func(r Resource) { r.(*Account).MaxOut = 100_001 }},
		{"max_internal", KindAccount, func(r Resource) { r.(*Account).MaxInternal = -1 }},
		{"max_dialer", KindAccount, func(r Resource) { r.(*Account).MaxDialer = -1 }},
		{"country", KindAccount, func(r Resource) { r.(*Account).Country = "DEU" }},
		{"country", KindAccount, func(r Resource) { r.(*Account).Country = "de" }},
		{"country", KindAccount, func(r Resource) { r.(*Account).Country = "Ö" }},
		{"outbound_countries[1]", KindAccount, func(r Resource) { r.(*Account).OutboundCountries = []string{"*", "002"} }},
		{"outbound_countries[0]", KindAccount, func(r Resource) { r.(*Account).OutboundCountries = []string{""} }},
		{"outbound_countries[1]", KindAccount, func(r Resource) { r.(*Account).OutboundCountries = []string{"DE", "DE"} }},
		{"outbound_countries", KindAccount, func(r Resource) { r.(*Account).OutboundCountries = slices.Repeat([]string{"DE"}, 301) }},
		{"admission_policy", KindAccount, func(r Resource) { r.(*Account).AdmissionPolicy = "open" }},
		{"max_simultaneous", KindSIPUser, func(r Resource) { r.(*SIPUser).MaxSimultaneous = -1 }},
		{"capacity", KindNode, func(r Resource) { r.(*Node).Capacity = 100_001 }},
		{"name", KindNode, func(r Resource) { r.(*Node).Name = "a b" }},
		{"agent_url", KindNode, func(r Resource) { r.(*Node).AgentURL = "ftp://x" }},
		{"agent_url", KindNode, func(r Resource) { r.(*Node).AgentURL = "http:///x" }},
		{"agent_url", KindNode, func(r Resource) { r.(*Node).AgentURL = "http://x y" }},
		{"sip_addresses[1]", KindNode, func(r Resource) { r.(*Node).SIPAddresses[1] = "a b" }},
		{"sip_addresses", KindNode, func(r Resource) { r.(*Node).SIPAddresses = slices.Repeat([]string{"x"}, 17) }},
		{"state", KindNode, func(r Resource) { r.(*Node).State = "gone" }},
		{"weight", KindNode, func(r Resource) { r.(*Node).Weight = 1001 }},
		{"scopes", KindAPIKey, func(r Resource) { r.(*APIKey).Scopes = nil }},
		{"scopes[0]", KindAPIKey, func(r Resource) { r.(*APIKey).Scopes[0] = "root" }},
		{"scopes[1]", KindAPIKey, func(r Resource) { k := r.(*APIKey); k.Scopes = append(k.Scopes, k.Scopes[0]) }},
		{"scopes[0]", KindAPIKey, func(r Resource) { k := r.(*APIKey); k.AccountID, k.Scopes[0] = "acc_1", ScopeNode }},
		{"hash", KindAPIKey, func(r Resource) { r.(*APIKey).Hash = "" }},
	} {
		r := valid()[c.kind]
		c.set(r)
		if got := paths(Validate(r)); len(got) != 1 || got[0] != c.path {
			t.Errorf("%s %+v: got %v, want %s", c.kind, r, Validate(r), c.path)
		}
	}
}

func manyMembers(n int) []RingGroupMember {
	list := make([]RingGroupMember, n)
	for i := range list {
		list[i].UserID = strings.Repeat("u", i+1)
	}
	return list
}

// Proves which hosts may be a domain: those that stand in a SIP URI as they are (RFC 3261 section 25.1).
func TestValidate_TakesDNSNamesAndIPAddressesAsDomains(t *testing.T) {
	label := strings.Repeat("a", 63)
	for host, want := range map[string]bool{
		"localhost": true, strings.Repeat("a.", 126) + "a": true, "a.b-c.test": true, "xn--mnchen-3ya.de": true, "1.2.3.com": true, label + ".test": true,
		"192.0.2.1": true, "[::1]": true, "[2001:db8::1]": true, "[1:2:3:4:5:6:7:8]": true, "[::]": true,
		"": false, ".": false, "a.": false, ".a": false, "-a.test": false, "a-.test": false, label + "a.test": false,
		"a b": false, "a_b.test": false, "a@b": false, "a:5060": false, "ä.test": false, "A.test": false, strings.Repeat("a.", 127) + "a": false,
		"1.2.3": false, "1.2.3.256": false, "01.2.3.4": false, "1.2.3.4.5": false, "a.1": false,
		"::1": false, "[::1": false, "[1::2::3]": false, "[12345::]": false, "[1:2]": false, "[fe80::1%eth0]": false, "[1:2:3:4:5:6:7:8:9]": false, "[::A]": false,
	} {
		if got := len(Validate(&SIPDomain{Domain: host})) == 0; got != want {
			t.Errorf("%q: accepted %v, want %v", host, got, want)
		}
	}
}

// Proves that defaults fill what is empty, leave what is set, and keep false and 0 where they mean something.
func TestApplyDefaults_FillsOnlyWhatIsEmpty(t *testing.T) {
	u := &SIPUser{RingTimeoutSec: 7}
	ApplyDefaults(u)
	if u.RingTimeoutSec != 7 || u.Status != StatusActive || u.RingStrategy != RingSimultaneous {
		t.Errorf("user: %+v", u)
	}
	d, n := &SIPDevice{Realm: "ACME.test"}, &Node{}
	ApplyDefaults(d)
	ApplyDefaults(n)
	if d.RingOnFork || d.Transport != "udp" || d.Realm != "acme.test" || n.Weight != 0 {
		t.Errorf("device %+v, node %+v", d, n)
	}
	if !NewResource(KindSIPDevice).(*SIPDevice).RingOnFork || NewResource(KindNode).(*Node).Weight != 100 || !NewResource(KindCallLimit).(*CallLimit).Hard || NewResource("moon") != nil {
		t.Error("NewResource has other defaults")
	}
}

// Proves the digests against md5sum and sha256sum of the user, realm and password of the example in
// RFC 7616 section 3.9.1, and that the password is gone afterwards.
func TestSealPassword_MakesBothDigestsAndForgetsThePassword(t *testing.T) {
	d := &SIPDevice{AuthUsername: "Mufasa", Realm: "http-auth@example.org", Password: "Circle of Life"}
	d.SealPassword()
	if d.Password != "" || d.HA1MD5 != "3d78807defe7de2157e2b0b6573a855f" || d.HA1SHA256 != "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232" {
		t.Errorf("got %+v", d)
	}
	sealed := *d
	d.SealPassword()
	if *d != sealed {
		t.Error("without a password the digests changed")
	}
}

// validAccount is an account without a mistake, with rows of everything.
func validAccount() AccountRows {
	return AccountRows{
		Account: Account{ID: "acc_1", Name: "a", DefaultCIDNumber: "4933", EmergencyRouteID: "route_2", StirSecretRef: "password"},
		Domains: []SIPDomain{{ID: "dom_1", Domain: "a.test", IsPrimary: true}, {ID: "dom_2", Domain: "b.test"}},
		Users: []SIPUser{
			{ID: "us_1", Username: "1001", FwdBusyDestKind: DestUser, FwdBusyDestID: "us_2", FwdAlwaysDestKind: DestHangup, FwdAlwaysDestID: "486", OutCIDNumber: "4930"},
			{ID: "us_2", Username: "1002", FwdNoanswerDestKind: DestRingGroup, FwdNoanswerDestID: "rg_1"},
		},
		Devices:    []SIPDevice{{ID: "dev_1", UserID: "us_1", AuthUsername: "x", Realm: "a.test"}, {ID: "dev_2", UserID: "us_1", AuthUsername: "x", Realm: "b.test"}},
		Extensions: []Extension{{ID: "ext_1", Digits: "1", DestKind: DestExtension, DestID: "ext_2"}, {ID: "ext_2", Digits: "2", DestKind: DestRingGroup, DestID: "rg_1"}},
		RingGroups: []RingGroup{{ID: "rg_1", Name: "g", Members: []RingGroupMember{{UserID: "us_1"}, {UserID: "us_2"}}, OverflowDestKind: DestExtension, OverflowDestID: "ext_1"}},
		Limits: []CallLimit{{ID: "lim_1", Name: "all", ScopeKind: LimitAccount}, {ID: "lim_2", Name: "own", ScopeKind: LimitAccount, ScopeID: "acc_1"},
			{ID: "lim_3", Name: "user", ScopeKind: LimitUser, ScopeID: "us_1"}, {ID: "lim_4", Name: "number", ScopeKind: LimitNumber, NumberPattern: "1*"}},

		Schedules:   []TimeSchedule{{ID: "sch_1", Name: "office"}},
		MediaFiles:  []MediaFile{{ID: "media_1", Name: "hello"}},
		Playlists:   []MediaPlaylist{{ID: "pl_1", Name: "songs", MediaIDs: []string{"media_1"}}},
		Voicemails:  []Voicemail{{ID: "vm_1", Name: "box", GreetingMediaID: "media_1"}},
		Messages:    []*VoicemailMessage{{ID: "msg_1", VoicemailID: "vm_1"}},
		Conferences: []Conference{{ID: "conf_1", Name: "room"}},
		Flows:       []*CallFlow{{ID: "flow_1", Name: "main"}},
		Trunks: []SIPTrunk{{ID: "tr_1", Name: "carrier", Direction: TrunkBoth, InboundAuth: InboundDigest, AuthUsername: "y", AuthSecretRef: "password"},
			{ID: "tr_2", Name: "cheap", Direction: TrunkOutbound, InboundAuth: InboundIP, AuthUsername: "x"}},
		Secrets: []Secret{{ID: "sec_1", Name: "password"}},
		Routes: []OutboundRoute{{ID: "route_1", Name: "all", Trunks: []OutboundChoice{{TrunkID: "tr_2"}, {TrunkID: "tr_1"}}, ScheduleID: "sch_1"},
			{ID: "route_2", Name: "emergency", IsEmergency: true, Trunks: []OutboundChoice{{TrunkID: "tr_1"}}}},
		Forwards: []Forward{{ID: "fwd_1", Name: "mobile", OverflowDestKind: DestForward, OverflowDestID: "fwd_2"}, {ID: "fwd_2", Name: "home", OverflowDestKind: DestUser, OverflowDestID: "us_1"}},
		DIDs: []DID{{ID: "did_1", E164: "4930", DestKind: DestFlow, DestID: "flow_1", ScheduleID: "sch_1", ClosedDestKind: DestVoicemail, ClosedDestID: "vm_1",
			HolidayDestKind: DestConference, HolidayDestID: "conf_1"}, {ID: "did_2", E164: "4931", DestKind: DestVoicemail, DestXform: Vars{"action": "retrieve"}}, {ID: "did_3", E164: "4933", Status: StatusVirtual}},
	}
}

// Proves that every kind of broken reference and every name used twice is told of the row at fault.
// Each row breaks one valid account.
func TestValidateAccount_TellsTheRowAndTheField(t *testing.T) {
	if errs := ValidateAccount(validAccount()); errs != nil {
		t.Fatalf("the valid one: %v", errs)
	}
	for _, c := range []struct {
		id, path string
		taken    bool
		set      func(a *AccountRows)
	}{
		{"us_1", "fwd_busy_dest_id", false, func(a *AccountRows) { a.Users[0].FwdBusyDestID = "us_3" }},
		{"us_1", "fwd_busy_dest_id", false, func(a *AccountRows) { a.Users[0].FwdBusyDestKind = DestExtension }},
		{"us_1", "fwd_always_dest_id", false, func(a *AccountRows) { a.Users[0].FwdAlwaysDestKind = DestUser }},
		{"us_2", "fwd_noanswer_dest_id", false, func(a *AccountRows) { a.Users[1].FwdNoanswerDestID = "us_1" }},
		{"us_2", "username", true, func(a *AccountRows) { a.Users[1].Username = "1001" }},
		{"dev_1", "user_id", false, func(a *AccountRows) { a.Devices[0].UserID = "us_9" }},
		{"dev_1", "realm", false, func(a *AccountRows) { a.Devices[0].Realm = "c.test" }},
		{"dev_2", "auth_username", true, func(a *AccountRows) { a.Devices[1].Realm = "A.test" }},
		{"ext_1", "dest_id", false, func(a *AccountRows) { a.Extensions[0].DestID = "2" }},
		{"ext_2", "digits", true, func(a *AccountRows) { a.Extensions[1].Digits = "1" }},
		{"rg_1", "members[1].user_id", false, func(a *AccountRows) { a.RingGroups[0].Members[1].UserID = "us_9" }},
		{"rg_1", "overflow_dest_id", false, func(a *AccountRows) { a.RingGroups[0].OverflowDestKind = DestUser }},
		{"rg_2", "name", true, func(a *AccountRows) { a.RingGroups = append(a.RingGroups, RingGroup{ID: "rg_2", Name: "g"}) }},
		{"dom_2", "is_primary", false, func(a *AccountRows) { a.Domains[1].IsPrimary = true }},
		{"dom_2", "is_primary", false, func(a *AccountRows) { a.Domains[0].IsPrimary = false }},
		{"lim_1", "scope_id", false, func(a *AccountRows) { a.Limits[0].ScopeID = "acc_2" }},
		{"lim_3", "scope_id", false, func(a *AccountRows) { a.Limits[2].ScopeID = "us_9" }},
		{"lim_2", "name", true, func(a *AccountRows) { a.Limits[1].Name = "all" }},
		{"lim_x", "name", false, func(a *AccountRows) {
			for i := len(a.Limits); i < maxLimits; i++ {
				a.Limits = append(a.Limits, CallLimit{ID: "lim_y", Name: strings.Repeat("y", i), ScopeKind: LimitAccount})
			}
			a.Limits = append(a.Limits, CallLimit{ID: "lim_x", Name: "one too many", ScopeKind: LimitAccount})
		}},
		{"dom_3", "domain", true, func(a *AccountRows) { a.Domains = append(a.Domains, SIPDomain{ID: "dom_3", Domain: "A.test"}) }},
	} {
		rows := validAccount()
		c.set(&rows)
		errs := ValidateAccount(rows)
		if len(errs) != 1 || errs[0].Resource.ResourceID() != c.id || errs[0].Path != c.path || errs[0].Taken != c.taken {
			t.Errorf("want %s %s, got %+v", c.id, c.path, errs)
		}
	}
}

// Proves that a copy shares nothing with its original that could be changed through it.
func TestClone_SharesNothing(t *testing.T) {
	parent := "acc_1"
	a := &Account{ParentID: &parent}
	*Clone(a).(*Account).ParentID = "acc_2"
	g := &RingGroup{Members: []RingGroupMember{{UserID: "us_1"}}}
	Clone(g).(*RingGroup).Members[0].UserID = "us_2"
	n := &Node{SIPAddresses: []string{"a"}}
	Clone(n).(*Node).SIPAddresses[0] = "b"
	k := &APIKey{Scopes: []Scope{ScopeNode}}
	Clone(k).(*APIKey).Scopes[0] = ScopeKeys
	if parent != "acc_1" || g.Members[0].UserID != "us_1" || n.SIPAddresses[0] != "a" || k.Scopes[0] != ScopeNode {
		t.Error("a change of the copy changed the original")
	}
}

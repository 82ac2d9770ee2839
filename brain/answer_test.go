package brain

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// Proves that each bad field of what calls need that the platform answers is told with its path, and no other
// field is. Each row breaks one valid resource.
func TestValidate_TellsTheFieldOfWhatIsAnswered(t *testing.T) {
	for _, c := range []struct {
		path string
		kind Kind
		set  func(r Resource)
	}{
		{"voice_gender", KindAccount, func(r Resource) { r.(*Account).VoiceGender = "robot" }},
		{"cnam", KindDID, func(r Resource) { r.(*DID).CNAM = strings.Repeat("ü", 65) }},
		{"cnam", KindDID, func(r Resource) { r.(*DID).CNAM = "a\r\nb" }},
		{"did_default_dest_id", KindAccount, func(r Resource) { r.(*Account).DIDDefaultDestKind = DestFlow }},
		{"rec_retention_days", KindAccount, func(r Resource) { r.(*Account).RecRetentionDays = -1 }},
		{"record_policy", KindSIPUser, func(r Resource) { r.(*SIPUser).RecordPolicy = "some" }},
		{"voicemail_id", KindSIPUser, func(r Resource) { r.(*SIPUser).VoicemailID = "a\nb" }},
		{"fwd_busy_dest_id", KindSIPUser, func(r Resource) { r.(*SIPUser).FwdBusyDestKind = DestVoicemail }},
		{"dest_id", KindExtension, func(r Resource) { r.(*Extension).DestKind, r.(*Extension).DestID = DestVoicemail, "" }},
		{"closed_dest_kind", KindExtension, func(r Resource) { r.(*Extension).ClosedDestKind = "moon" }},
		{"dest_xform", KindExtension, func(r Resource) { r.(*Extension).DestXform = Vars{"1a": ""} }},
		{"schedule_id", KindRingGroup, func(r Resource) { r.(*RingGroup).ScheduleID = strings.Repeat("x", 65) }},
		{"e164", KindDID, func(r Resource) { r.(*DID).E164 = "+493012345" }},
		{"e164", KindDID, func(r Resource) { r.(*DID).E164 = "03012345" }},
		{"e164", KindDID, func(r Resource) { r.(*DID).E164 = "49" }},
		{"e164", KindDID, func(r Resource) { r.(*DID).E164 = "4930123456789012" }},
		{"label", KindDID, func(r Resource) { r.(*DID).Label = "a\r\nb" }},
		{"status", KindDID, func(r Resource) { r.(*DID).Status = StatusSuspended }},
		{"dest_id", KindDID, func(r Resource) { r.(*DID).DestXform = Vars{"action": "leave"} }},
		{"dest_id", KindDID, func(r Resource) { r.(*DID).DestKind = DestUser }},
		{"dest_xform", KindDID, func(r Resource) { r.(*DID).DestXform["b"] = "a\x00" }},
		{"dest_xform", KindDID, func(r Resource) { r.(*DID).DestXform["b"] = strings.Repeat("x", 1010) }},
		{"dest_xform", KindDID, func(r Resource) { r.(*DID).DestXform["caller_user_id"] = "us_1" }},
		{"dest_xform", KindDID, func(r Resource) { fillVars(r.(*DID).DestXform, 33) }},
		{"max_channels", KindDID, func(r Resource) { r.(*DID).MaxChannels = 100_001 }},
		{"closed_dest_id", KindDID, func(r Resource) { r.(*DID).ClosedDestKind = DestNone }},
		{"holiday_dest_id", KindDID, func(r Resource) { r.(*DID).HolidayDestID = "200" }},
		{"name", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Name = "" }},
		{"timezone", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Timezone = "/x" }},
		{"rules", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules = slices.Repeat([]ScheduleRule{{Kind: "weekly"}}, 401) }},
		{"rules[0].kind", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[0] = ScheduleRule{Kind: "monthly"} }},
		{"rules[0].dow", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[0].DOW = 7 }},
		{"rules[0].start_time", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[0].StartTime = "24:00" }},
		{"rules[0].start_time", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[0].StartTime = "9:00" }},
		{"rules[0].end_time", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[0].EndTime = "24:01" }},
		{"rules[0].start_date", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[0].StartDate = "2026-01-01" }},
		{"rules[1].start_date", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[1].StartDate = "2027-02-29" }},
		{"rules[1].dow", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[1].DOW = 1 }},
		{"rules[1].end_date", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[1].EndDate = "2028-02-29" }},
		{"rules[2].end_date", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[2].EndDate = "2026-12-23" }},
		{"rules[2].end_date", KindTimeSchedule, func(r Resource) { r.(*TimeSchedule).Rules[2].EndDate = "" }},
		{"status", KindCallFlow, func(r Resource) { r.(*CallFlow).Status = StatusActive }},
		{"graph.nodes", KindCallFlow, func(r Resource) { g := &r.(*CallFlow).Graph; g.Nodes = slices.Repeat(g.Nodes, 501) }},
		{"graph.edges", KindCallFlow, func(r Resource) { g := &r.(*CallFlow).Graph; g.Edges = slices.Repeat(g.Edges, 2001) }},
		{"graph.nodes[0].data", KindCallFlow, func(r Resource) { r.(*CallFlow).Graph.Nodes[0].Data = []byte(`[1]`) }},
		{"graph.nodes[0].data", KindCallFlow, func(r Resource) { r.(*CallFlow).Graph.Nodes[0].Data = []byte(`{`) }},
		{"graph.nodes[0].data", KindCallFlow, func(r Resource) { r.(*CallFlow).Graph.Nodes[0].Data = nil }},
		{"graph.nodes[0].data", KindCallFlow, func(r Resource) {
			r.(*CallFlow).Graph.Nodes[0].Data = []byte(`{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`)
		}},
		{"graph.nodes[0].position", KindCallFlow, func(r Resource) { r.(*CallFlow).Graph.Nodes[0].Position = []byte(`x`) }},
		{"graph", KindCallFlow, func(r Resource) { r.(*CallFlow).Graph.Edges[0].ID = strings.Repeat("x", 256<<10) }},
		{"inbound_acl[1]", KindSIPTrunk, func(r Resource) { r.(*SIPTrunk).InboundACL[1] = "carrier.test" }},
		{"inbound_acl", KindSIPTrunk, func(r Resource) { r.(*SIPTrunk).InboundACL = slices.Repeat([]string{"::1"}, 101) }},
		{"status", KindSIPTrunk, func(r Resource) { r.(*SIPTrunk).Status = StatusVirtual }},
		{"quota_mb", KindVoicemail, func(r Resource) { r.(*Voicemail).QuotaMB = 10_001 }},
		{"max_message_sec", KindVoicemail, func(r Resource) { r.(*Voicemail).MaxMessageSec = 4 }},
		{"notify_email", KindVoicemail, func(r Resource) { r.(*Voicemail).NotifyEmail = "a@b@c.test" }},
		{"notify_email", KindVoicemail, func(r Resource) { r.(*Voicemail).NotifyEmail = "a\r\nBcc: x@c.test" }},
		{"notify_url", KindVoicemail, func(r Resource) { r.(*Voicemail).NotifyURL = "http://acme.test/" }},
		{"pin_hash", KindVoicemail, func(r Resource) { r.(*Voicemail).PINHash = "1234" }},
		{"pin_hash", KindVoicemail, func(r Resource) { r.(*Voicemail).PINHash = strings.Replace(phc, "m=19456", "m=19457", 1) }},
		{"pin_hash", KindConference, func(r Resource) { r.(*Conference).PINHash = strings.Replace(phc, "t=2", "t=3", 1) }},
		{"pin_hash", KindConference, func(r Resource) { r.(*Conference).PINHash = strings.Replace(phc, ",p=1", ",p=2", 1) }},
		{"moderator_pin_hash", KindConference, func(r Resource) { r.(*Conference).ModeratorPINHash = phc + "$" }},
		{"max_members", KindConference, func(r Resource) { r.(*Conference).MaxMembers = 1001 }},
		{"kind", KindMediaFile, func(r Resource) { r.(*MediaFile).Kind = "song" }},
		{"text", KindMediaFile, func(r Resource) { r.(*MediaFile).Text = "a\x07" }},
		{"text", KindMediaFile, func(r Resource) { r.(*MediaFile).Text = strings.Repeat("ä", 2001) }},
		{"object_key", KindMediaFile, func(r Resource) { r.(*MediaFile).ObjectKey = "a/../b" }},
		{"format", KindMediaFile, func(r Resource) { r.(*MediaFile).Format = "mp3" }},
		{"bytes", KindMediaFile, func(r Resource) { r.(*MediaFile).Bytes = -1 }},
		{"media_ids", KindMediaPlaylist, func(r Resource) { r.(*MediaPlaylist).MediaIDs = slices.Repeat([]string{"media_1"}, 201) }},
		{"media_ids[1]", KindMediaPlaylist, func(r Resource) { r.(*MediaPlaylist).MediaIDs[1] = "" }},
		{"voicemail_id", KindVoicemailMessage, func(r Resource) { r.(*VoicemailMessage).VoicemailID = "" }},
		{"object_key", KindVoicemailMessage, func(r Resource) { r.(*VoicemailMessage).ObjectKey = "" }},
		{"object_key", KindVoicemailMessage, func(r Resource) { r.(*VoicemailMessage).ObjectKey = "/x" }},
		{"sha256", KindVoicemailMessage, func(r Resource) { r.(*VoicemailMessage).SHA256 = "" }},
		{"duration_ms", KindVoicemailMessage, func(r Resource) { r.(*VoicemailMessage).DurationMS = -1 }},
	} {
		r := valid()[c.kind]
		c.set(r)
		if got := paths(Validate(r)); len(got) != 1 || got[0] != c.path {
			t.Errorf("%s, want %s: got %v", c.kind, c.path, Validate(r))
		}
	}
}

func fillVars(v Vars, n int) {
	for i := range n {
		v[strings.Repeat("a", i+1)] = ""
	}
}

// Proves that every reference to what is not in the account, and every name used twice, is told of the row at
// fault. Each row breaks one valid account.
func TestValidateAccount_TellsTheReferencesOfWhatIsAnswered(t *testing.T) {
	for _, c := range []struct {
		id, path string
		taken    bool
		set      func(a *AccountRows)
	}{
		{"acc_1", "did_default_dest_id", false, func(a *AccountRows) { a.Account.DIDDefaultDestKind, a.Account.DIDDefaultDestID = DestFlow, "flow_9" }},
		{"us_1", "voicemail_id", false, func(a *AccountRows) { a.Users[0].VoicemailID = "vm_9" }},
		{"rg_1", "schedule_id", false, func(a *AccountRows) { a.RingGroups[0].ScheduleID = "sch_9" }},
		{"ext_1", "schedule_id", false, func(a *AccountRows) { a.Extensions[0].ScheduleID = "sch_9" }},
		{"ext_1", "holiday_dest_id", false, func(a *AccountRows) {
			a.Extensions[0].HolidayDestKind, a.Extensions[0].HolidayDestID = DestConference, "vm_1"
		}},
		{"did_1", "dest_id", false, func(a *AccountRows) { a.DIDs[0].DestID = "flow_9" }},
		{"did_1", "closed_dest_id", false, func(a *AccountRows) { a.DIDs[0].ClosedDestID = "vm_9" }},
		{"did_1", "holiday_dest_id", false, func(a *AccountRows) { a.DIDs[0].HolidayDestID = "conf_9" }},
		{"did_1", "schedule_id", false, func(a *AccountRows) { a.DIDs[0].ScheduleID = "flow_1" }},
		{"did_2", "e164", true, func(a *AccountRows) { a.DIDs[1].E164 = "4930" }},
		{"vm_1", "greeting_media_id", false, func(a *AccountRows) { a.Voicemails[0].GreetingMediaID = "pl_1" }},
		{"pl_1", "media_ids[1]", false, func(a *AccountRows) { a.Playlists[0].MediaIDs = []string{"media_1", "media_9"} }},
		{"msg_1", "voicemail_id", false, func(a *AccountRows) { a.Messages[0].VoicemailID = "vm_9" }},
		{"sch_2", "name", true, func(a *AccountRows) { a.Schedules = append(a.Schedules, TimeSchedule{ID: "sch_2", Name: "office"}) }},
		{"flow_2", "name", true, func(a *AccountRows) { a.Flows = append(a.Flows, &CallFlow{ID: "flow_2", Name: "main"}) }},
		{"tr_3", "name", true, func(a *AccountRows) { a.Trunks = append(a.Trunks, SIPTrunk{ID: "tr_3", Name: "carrier"}) }},
		{"conf_2", "name", true, func(a *AccountRows) { a.Conferences = append(a.Conferences, Conference{ID: "conf_2", Name: "room"}) }},
		{"media_2", "name", true, func(a *AccountRows) { a.MediaFiles = append(a.MediaFiles, MediaFile{ID: "media_2", Name: "hello"}) }},
		{"pl_2", "name", true, func(a *AccountRows) { a.Playlists = append(a.Playlists, MediaPlaylist{ID: "pl_2", Name: "songs"}) }},
		{"vm_2", "name", true, func(a *AccountRows) { a.Voicemails = append(a.Voicemails, Voicemail{ID: "vm_2", Name: "box"}) }},
	} {
		rows := validAccount()
		c.set(&rows)
		errs := ValidateAccount(rows)
		if len(errs) != 1 || errs[0].Resource.ResourceID() != c.id || errs[0].Path != c.path || errs[0].Taken != c.taken {
			t.Errorf("want %s %s, got %+v", c.id, c.path, errs)
		}
	}
}

// Proves that a published graph runs and counts only when it is another one than the one that runs, that a draft
// leaves it alone, and that what a writer puts into the store's two fields does not count.
func TestPublish_RaisesTheVersionForAnotherGraphOnly(t *testing.T) {
	graph := func(data string) FlowGraph { return FlowGraph{Nodes: []FlowStep{{ID: "a", Data: []byte(data)}}} }
	var before *CallFlow
	for i, c := range []struct {
		status        Status
		graph         string
		version       int64
		live          string
		writtenByHand int64
	}{
		{StatusDraft, `{"a": 1}`, 0, "", 9},
		{StatusPublished, `{"a":1}`, 1, `{"a":1}`, 0},
		{StatusPublished, `{ "a":1.0 }`, 1, `{"a":1}`, 7},
		{StatusDraft, `{"b":1}`, 1, `{"a":1}`, 0},
		{StatusPublished, `{"b":1}`, 2, `{"b":1}`, 0},
		{StatusPublished, `{"a":1}`, 3, `{"a":1}`, 0},
	} {
		f := &CallFlow{Status: c.status, Graph: graph(c.graph), Version: c.writtenByHand, LiveGraph: graph(`{"x":1}`)}
		ApplyDefaults(f)
		f.Publish(before)
		live := ""
		if len(f.LiveGraph.Nodes) > 0 {
			live = string(f.LiveGraph.Nodes[0].Data)
		}
		if f.Version != c.version || live != c.live {
			t.Errorf("write %d: version %d runs %q, want %d and %q", i, f.Version, live, c.version, c.live)
		}
		before = f
	}
}

// Proves that free-form JSON has one spelling, which is kept however often it is read and written, and that what
// is no JSON stays as it is, to be told.
func TestApplyDefaults_GivesStepsOneSpelling(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : [1.0, 2.50, 1e2, -0.0],  "a": "<é>" } `: `{"a":"\u003cé\u003e","b":[1,2.5,100,0]}`,
		`{"n":9007199254740993}`:                          `{"n":9007199254740993}`,
		`{"n":12345678901234567890}`:                      `{"n":12345678901234567000}`,
		`{"n":1e999}`:                                     `{"n":1e999}`,
		`{"a":1,"a":2}`:                                   `{"a":2}`,
		`null`:                                            ``,
		``:                                                ``,
		`{"a":1} x`:                                       `{"a":1} x`,
		`{`:                                               `{`,
	} {
		f := &CallFlow{Graph: FlowGraph{Nodes: []FlowStep{{Data: []byte(in)}}}}
		ApplyDefaults(f)
		first := string(f.Graph.Nodes[0].Data)
		if json.Valid(f.Graph.Nodes[0].Data) {
			text, err := json.Marshal(f.Graph)
			if err == nil {
				err = json.Unmarshal(text, &f.Graph)
			}
			if err != nil {
				t.Errorf("%q: %v", in, err)
			}
		}
		ApplyDefaults(f)
		if again := string(f.Graph.Nodes[0].Data); first != want || again != want {
			t.Errorf("%q became %q, then %q, want %q", in, first, again, want)
		}
	}
}

// Proves that a number looks free of its lists and maps, and flows of their graphs: a change of a copy changes
// nothing else.
func TestClone_SharesNothingOfWhatIsAnswered(t *testing.T) {
	all := valid()
	did, ext := all[KindDID].(*DID), &Extension{DestXform: Vars{"a": "1"}}
	Clone(did).(*DID).DestXform["action"] = "x"
	Clone(ext).(*Extension).DestXform["a"] = "2"
	Clone(all[KindTimeSchedule]).(*TimeSchedule).Rules[0].DOW = 1
	Clone(all[KindSIPTrunk]).(*SIPTrunk).InboundACL[0] = "x"
	Clone(all[KindMediaPlaylist]).(*MediaPlaylist).MediaIDs[0] = "x"
	f := all[KindCallFlow].(*CallFlow)
	c := Clone(f).(*CallFlow)
	c.Graph.Nodes[0].Data[0], c.Graph.Nodes[0].Position[0], c.Graph.Edges[0].Source = 'x', 'x', "x"
	for _, k := range Kinds {
		if want := valid()[k]; !slices.Equal(mustJSON(t, want), mustJSON(t, all[k])) {
			t.Errorf("a change of the copy changed the %s", k)
		}
	}
	if ext.DestXform["a"] != "1" {
		t.Error("a change of the copy changed the extension")
	}
}

func mustJSON(t *testing.T, r Resource) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Proves that no secret is left in what may be shown of any kind, and that the resource itself keeps it.
func TestRedact_LeavesNoSecret(t *testing.T) {
	box, room := &Voicemail{PIN: "4711", PINHash: phc}, &Conference{PIN: "4711", PINHash: phc, ModeratorPIN: "4711", ModeratorPINHash: phc}
	device := &SIPDevice{Password: "4711", HA1MD5: phc, HA1SHA256: phc}
	for _, r := range []Resource{box, room, device} {
		if text := string(mustJSON(t, Redact(r))); strings.Contains(text, "4711") || strings.Contains(text, "argon2id") {
			t.Errorf("shown as %s", text)
		}
		if text := string(mustJSON(t, r)); !strings.Contains(text, "argon2id") {
			t.Errorf("the %s lost its secret", r.ResourceKind())
		}
	}
	u := &SIPUser{ID: "us_1"}
	if Redact(u) != Resource(u) {
		t.Error("a resource without secrets is another one")
	}
}

// Proves that an account finds its numbers, flows and messages, these by age and then by id, and its zones.
func TestNewAccountConfig_IndexesWhatIsAnswered(t *testing.T) {
	rows := validAccount()
	rows.Account.Timezone = "Europe/Berlin"
	rows.Schedules = append(rows.Schedules, TimeSchedule{ID: "sch_2", Name: "b", Timezone: "Asia/Tokyo"}, TimeSchedule{ID: "sch_3", Name: "c", Timezone: "Not/Loaded"})
	rows.Messages = []*VoicemailMessage{{ID: "msg_3", VoicemailID: "vm_1", CreatedTS: 1}, {ID: "msg_1", VoicemailID: "vm_1", CreatedTS: 2}, {ID: "msg_2", VoicemailID: "vm_1", CreatedTS: 1}, {ID: "msg_4", VoicemailID: "vm_2"}}
	c := NewAccountConfig(1, rows)
	var order []string
	for _, m := range c.MessagesByVoicemail["vm_1"] {
		order = append(order, m.ID)
	}
	if !slices.Equal(order, []string{"msg_2", "msg_3", "msg_1"}) || len(c.MessagesByVoicemail["vm_2"]) != 1 {
		t.Errorf("messages in the order %v", order)
	}
	if c.DIDByE164["4931"] != c.DIDs["did_2"] || c.DIDs["did_2"] == nil || c.Flows["flow_1"] != rows.Flows[0] || c.Schedules["sch_1"] == nil || c.Trunks["tr_1"] == nil ||
		c.Voicemails["vm_1"] == nil || c.Conferences["conf_1"] == nil || c.MediaFiles["media_1"] == nil || c.Playlists["pl_1"] == nil {
		t.Errorf("indexed as %+v", c)
	}
	berlin, tokyo := time.FixedZone("B", 3600), time.FixedZone("T", 9*3600)
	c.Zones = map[string]*time.Location{"Europe/Berlin": berlin, "Asia/Tokyo": tokyo}
	if c.Zone("sch_1") != berlin || c.Zone("") != berlin || c.Zone("sch_2") != tokyo || c.Zone("sch_3") != time.UTC {
		t.Error("a schedule has another zone")
	}
}

// Proves what may be given as a PIN.
func TestCheckPIN_TakesFourToTwelveDigits(t *testing.T) {
	for pin, want := range map[string]bool{"": true, "none": true, "1234": true, "123456789012": true, "123": false, "1234567890123": false, "12a4": false, "None": false, "１２３４": false} {
		if got := CheckPIN(pin) == ""; got != want {
			t.Errorf("%q: taken %v, want %v", pin, got, want)
		}
	}
}

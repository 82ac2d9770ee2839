package route

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the test does not depend on the machine's

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// berlinZone is the zone of the office.
func berlinZone() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}

// berlin reads a local time, in epoch milliseconds; "" is Monday, 2026-11-23 10:00.
func berlin(at string) int64 {
	if at == "" {
		at = "2026-11-23 10:00"
	}
	t, err := time.ParseInLocation("2006-01-02 15:04", at, berlinZone())
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

// newPlatform is the office with what the platform answers: number 4930100 (Main) leads to flow Hello over trunk
// Carrier; extensions 400 flow Hello, 401 mailbox Reception, 402 room Board, 98 one's own mailbox. Schedule hours is
// Monday to Friday 9 to 17, closed on Christmas; broken cannot be read. Flow Later was never published.
func newPlatform() *office {
	o := newOffice()
	o.Account.Timezone = "Europe/Berlin"
	o.Flows = []*brain.CallFlow{
		{ID: "flow_hello", Name: "Hello", Status: brain.StatusPublished, Version: 3},
		{ID: "flow_later", Name: "Later", Status: brain.StatusDraft},
	}
	o.Voicemails = []brain.Voicemail{{ID: "vm_reception", Name: "Reception"}}
	o.Conferences = []brain.Conference{{ID: "conf_board", Name: "Board"}}
	o.Queues = []brain.Queue{{ID: "q_support", Name: "Support", ScheduleID: "sch_hours", ClosedDestKind: brain.DestHangup}}
	o.Trunks = []brain.SIPTrunk{{ID: "trk_carrier", Name: "Carrier", Status: brain.StatusActive, MaxChannels: 30}}
	o.DIDs = []brain.DID{{ID: "did_main", E164: "4930100", Label: "Main", Status: brain.StatusActive, AllowAnonymous: true,
		DestKind: brain.DestFlow, DestID: "flow_hello"}}
	hours := brain.TimeSchedule{ID: "sch_hours", Name: "hours"}
	for day := 1; day <= 5; day++ {
		hours.Rules = append(hours.Rules, brain.ScheduleRule{Kind: "weekly", DOW: day, StartTime: "09:00", EndTime: "17:00"})
	}
	hours.Rules = append(hours.Rules, brain.ScheduleRule{Kind: "date", StartDate: "2026-12-25", IsClosed: true})
	o.Schedules = []brain.TimeSchedule{hours, {ID: "sch_broken", Name: "broken",
		Rules: []brain.ScheduleRule{{Kind: "weekly", DOW: 1, StartTime: "25:00"}}}}
	o.Extensions = append(o.Extensions,
		brain.Extension{ID: "ext_400", Digits: "400", DestKind: brain.DestFlow, DestID: "flow_hello", Status: brain.StatusActive},
		brain.Extension{ID: "ext_401", Digits: "401", DestKind: brain.DestVoicemail, DestID: "vm_reception", Status: brain.StatusActive},
		brain.Extension{ID: "ext_402", Digits: "402", DestKind: brain.DestConference, DestID: "conf_board", Status: brain.StatusActive},
		brain.Extension{ID: "ext_98", Digits: "98", DestKind: brain.DestVoicemail, DestXform: brain.Vars{"action": "retrieve"}, Status: brain.StatusActive},
		brain.Extension{ID: "ext_403", Digits: "403", DestKind: brain.DestQueue, DestID: "q_support", Status: brain.StatusActive},
		brain.Extension{ID: "ext_45", Digits: "*45", DestKind: brain.DestQueue, DestXform: brain.Vars{"action": brain.ActionAgentLogin}, Status: brain.StatusActive})
	return o
}

func (o *office) did() *brain.DID { return &o.DIDs[0] }

// leads sets where the number leads, written as "user us_1003"; "" is nowhere.
func (o *office) leads(to string) { o.did().DestKind, o.did().DestID = dest(to) }

// keeps gives the number hours and where it leads outside them.
func (o *office) keeps(schedule, closed, holiday string) {
	d := o.did()
	d.ScheduleID = schedule
	d.ClosedDestKind, d.ClosedDestID = dest(closed)
	d.HolidayDestKind, d.HolidayDestID = dest(holiday)
}

// fromTrunk is the question of an INVITE that Carrier sends for a number.
func fromTrunk(acct *brain.AccountConfig, number string) (api.RouteRequest, Caller) {
	req := invite(number, "192.0.2.10")
	req.FromUser, req.FromDomain, req.FromName = "+4940555", "carrier.example", "Kunde"
	req.Peer, req.SourceIP = api.PeerTrunk, "198.51.100.7"
	return req, Caller{Account: acct, Trunk: acct.Trunks["trk_carrier"]}
}

// fromMedia is the question of an INVITE that the media server sends for a call of 4940555.
func fromMedia(acct *brain.AccountConfig, dial string) (api.RouteRequest, Caller) {
	req := invite("leg", "127.0.0.1")
	req.FromUser, req.FromDomain, req.FromName = "4940555", "127.0.0.1", "Kunde"
	req.Peer, req.AccountID, req.Dial = api.PeerMedia, acct.Account.ID, dial
	return req, Caller{Account: acct, Media: true}
}

// badApp says what is wrong with a step that the platform answers, "" when nothing is.
func badApp(acct *brain.AccountConfig, r *api.Route) string {
	kind, id, ok := strings.Cut(r.App, "/")
	if r.URI != "" || r.SIPCode != 0 || kind != "forward" && (r.Busy != 0 || r.Noanswer != 0) || r.Busy != r.Noanswer || r.FrInvTimer != answerMS {
		return "the platform answers and more happens"
	}
	known := false
	switch brain.DestKind(kind) {
	case brain.DestFlow:
		known = acct.Flows[id] != nil && acct.Flows[id].Version > 0
	case brain.DestVoicemail:
		known = id == "" || acct.Voicemails[id] != nil
	case brain.DestConference:
		known = acct.Conferences[id] != nil
	case brain.DestQueue:
		known = id == "" || acct.Queues[id] != nil
	case brain.DestUser:
		known = acct.Users[id] != nil
	case brain.DestRingGroup:
		known = acct.RingGroups[id] != nil
	case brain.DestForward:
		known = acct.Forwards[id] != nil
	case destPSTN:
		known = number.ValidE164(strings.TrimPrefix(id, "+"))
	}
	vars, err := varsOf(r)
	switch {
	case !ok || !known:
		return "the account has no application " + r.App
	case err != nil || len(r.Vars) > api.MaxVars:
		return fmt.Sprintf("variables of %d bytes: %v", len(r.Vars), err)
	case (kind == "user" || kind == "ring_group" || kind == "pstn" || kind == "forward" && known && !acct.Forwards[id].Confirm) && vars.Get("record") != "1":
		return "the platform calls somebody and records nothing"
	case kind == "voicemail" && id == "" && vars.Get("action") != "retrieve":
		return "a message for no mailbox"
	}
	return ""
}

// varsOf reads a route's variables with the standard library, as a node agent does.
func varsOf(r *api.Route) (url.Values, error) {
	raw, err := base64.RawURLEncoding.DecodeString(r.Vars)
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(raw))
}

// Proves which spellings of a number a trunk may use: international with + or 00 or neither; and that what is no
// number of 3 to 15 digits is none.
func TestE164_TakesEverySpelling(t *testing.T) {
	for in, want := range map[string]string{
		"4930100": "4930100", "+4930100": "4930100", "004930100": "4930100", "030100": "030100", "112": "112", "+112": "112",
		"123456789012345": "123456789012345", "00123456789012345": "123456789012345",
		"": "", "+": "", "00": "", "12": "", "0012": "", "1234567890123456": "", "+49 30 100": "", "49-30100": "", "4930100;npdi": "",
		"anonymous": "", "++4930100": "", "٤٩٣٠١٠٠": "", "4930100\x00": "", strings.Repeat("1", 1<<16): "",
	} {
		if got := E164(in); got != want {
			t.Errorf("E164(%.20q) = %q, want %q", in, got, want)
		}
	}
}

// Proves that what a route hands on fits into its header whatever it is, and that the platform's own variables are
// the last to be left out: a number with 1024 bytes of variables still tells that the call must be recorded and who
// calls.
func TestForm_KeepsThePlatformsOwnVariablesWhenThereIsNoRoom(t *testing.T) {
	vars := brain.Vars{"record": "1", "action": "retrieve", "caller_number": "+4940555", "caller_user_id": "us_1", "direction": "in"}
	wanted := len(vars)
	for i := range 27 {
		vars[fmt.Sprintf("a%02d", i)] = strings.Repeat("é", 17)
	}
	r := api.Route{Vars: form(vars)}
	got, err := varsOf(&r)
	if err != nil || len(r.Vars) > api.MaxVars || len(r.Vars) < api.MaxVars-200 {
		t.Fatalf("%d bytes: %v", len(r.Vars), err)
	}
	if len(got) <= wanted || len(got) == len(vars) {
		t.Errorf("%d variables of %d: there is nothing to leave out", len(got), len(vars))
	}
	for name := range got {
		if got.Get(name) != vars[name] {
			t.Errorf("%s is %q, want %q", name, got.Get(name), vars[name])
		}
	}
	for _, name := range own {
		if got.Get(name) != vars[name] {
			t.Errorf("%s is %q, want %q", name, got.Get(name), vars[name])
		}
	}
	if form(nil) != "" || form(brain.Vars{"a": ""}) != "" {
		t.Error("variables without a value are written")
	}
}

// Proves that no caller's name brings in a variable: what looks like another one stays within its value, and what
// people are shown of it prints.
func TestForm_ANameBringsInNothing(t *testing.T) {
	acct, dir := newPlatform().config()
	for _, name := range []string{`x&record=1`, `a=b;c=d`, `%26record%3D1`, "\"q\\\"&caller_user_id=us_1001\"", "é%zz%4", "\r\nrecord=1", strings.Repeat("&", 500)} {
		req, caller := fromTrunk(acct, "4930100")
		req.FromName = name
		d := Decide(dir, caller, req)
		checkDirective(t, acct, d)
		got, _ := varsOf(&d.Routes[0])
		if got.Get("caller_name") != sanitize(unquote(name)) || got.Has("record") || got.Has("caller_user_id") || got.Has("c") {
			t.Errorf("%q: %v", name, got)
		}
		if text := strings.ReplaceAll(Text(d), "\n", ""); !printable(text) {
			t.Errorf("%q prints as %q", name, text)
		}
	}
}

// Proves that an account without a domain can be called from outside: the caller's URI is one that parses.
func TestDecide_CallerOfAnAccountWithoutADomain(t *testing.T) {
	o := newPlatform()
	o.Domains = nil
	acct, dir := o.config()
	req, caller := fromTrunk(acct, "4930100")
	if d := Decide(dir, caller, req); d.Action != api.ActionProxy || d.Routes[0].Headers.From.URI != "sip:+4940555@sipio.invalid" {
		t.Errorf("%s", Text(d))
	}
}

// Proves that what one exit hands on is not handed on by the next: the mailbox of an unanswered call leaves a
// message though the exit of busy leads to listening.
func TestDecide_AnExitKeepsItsVariablesToItself(t *testing.T) {
	o := newPlatform()
	busy(o.user("1002"), "extension ext_98")
	noanswer(o.user("1002"), "voicemail vm_reception")
	acct, dir := o.config()
	d := Decide(dir, callerOf(acct, "1001-desk"), invite("1002", "acme.example"))
	checkDirective(t, acct, d)
	if len(d.Routes) != 3 || d.Routes[1].App != "voicemail/" || d.Routes[2].App != "voicemail/vm_reception" {
		t.Fatalf("%s", Text(d))
	}
	listens, _ := varsOf(&d.Routes[1])
	leaves, _ := varsOf(&d.Routes[2])
	if listens.Get("action") != "retrieve" || leaves.Has("action") {
		t.Errorf("%s", Text(d))
	}
}

// Proves what a node without a brain does about what the platform answers: nothing. A number that leads there alone
// is refused with 503, an exit that leads there ends the call, hours are open, nothing is recorded, and what a phone
// answers rings as ever.
func TestSurvival_HasNothingThatThePlatformAnswers(t *testing.T) {
	o := newPlatform()
	noanswer(o.user("1002"), "voicemail vm_reception")
	o.user("1005").RecordPolicy = brain.RecordAll
	o.extension("300").ScheduleID = "sch_hours"
	o.sales().ScheduleID = "sch_hours"
	overflow(o.sales(), "flow flow_hello")
	acct, _ := o.config()
	kept, ok := Survival(acct, nil)
	got := map[string]string{}
	for _, n := range kept.Numbers {
		plan := fmt.Sprint(n.SIPCode)
		for _, r := range n.Routes {
			plan += fmt.Sprintf(" %d %s%s→%d/%d", r.Step, r.URI, r.App, r.Busy, r.Noanswer)
		}
		got[n.Number] = plan
	}
	for number, want := range map[string]string{
		"400": "503", "401": "503", "402": "503", "98": "503",
		"300":  "0 1 sip:1002-desk@acme.example→0/0",
		"1002": "0 1 sip:1002-desk@acme.example→0/0",
		"1005": "0 1 sip:1005-desk@acme.example→0/0",
		"200":  "0 1 sip:1002-desk@acme.example→0/0 1 sip:1003-desk@acme.example→0/0 1 sip:1003-mobile@acme.example→0/0",
	} {
		if got[number] != want {
			t.Errorf("%s: %s, want %s", number, got[number], want)
		}
	}
	if !ok {
		t.Error("the account is not kept")
	}
}

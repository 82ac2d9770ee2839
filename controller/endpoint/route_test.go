package endpoint

import (
	"context"
	"net/url"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// newShop is a bench whose account has trunk Carrier at 198.51.100.7, number 4930100 that rings 1002 on weekdays from
// 9 to 17 UTC and leads to a mailbox else, and number 4930200 that is a conference.
func newShop(t *testing.T, change func(rows *brain.AccountRows)) *bench {
	t.Helper()
	b := newBench(t)
	old := newConfiguration().account
	rows := brain.AccountRows{Account: old.Account, Domains: []brain.SIPDomain{*old.Domains["example.com"]}}
	for _, n := range []string{"1001", "1002"} {
		rows.Users = append(rows.Users, *old.Users["us_"+n])
		rows.Devices = append(rows.Devices, *old.Devices["dev_"+n])
	}
	rows.Trunks = []brain.SIPTrunk{{ID: "trk_1", Name: "Carrier", Status: brain.StatusActive, InboundACL: []string{"198.51.100.7"}}}
	rows.Voicemails = []brain.Voicemail{{ID: "vm_1", Name: "box"}}
	rows.Conferences = []brain.Conference{{ID: "conf_1", Name: "room"}}
	hours := brain.TimeSchedule{ID: "sch_1", Name: "hours"}
	for day := 1; day <= 5; day++ {
		hours.Rules = append(hours.Rules, brain.ScheduleRule{Kind: "weekly", DOW: day, StartTime: "09:00", EndTime: "17:00"})
	}
	rows.Schedules = []brain.TimeSchedule{hours}
	rows.DIDs = []brain.DID{
		{ID: "did_1", E164: "4930100", Status: brain.StatusActive, AllowAnonymous: true, DestKind: brain.DestUser, DestID: "us_1002",
			ScheduleID: "sch_1", ClosedDestKind: brain.DestVoicemail, ClosedDestID: "vm_1"},
		{ID: "did_2", E164: "4930200", Status: brain.StatusActive, AllowAnonymous: true, DestKind: brain.DestConference, DestID: "conf_1"},
	}
	if change != nil {
		change(&rows)
	}
	b.Config = &configuration{brain.NewAccountConfig(7, rows)}
	b.Now = func() time.Time { return time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC) } // a Monday
	return b
}

// trunkQuestion is what the edge asks for call id of Carrier to a number.
func trunkQuestion(id, number string) url.Values {
	return url.Values{"peer": {api.PeerTrunk}, "source_ip": {"198.51.100.7"}, "source_port": {"5060"}, "transport": {"udp"}, "node": {"edge1"},
		"method": {"INVITE"}, "call_id": {id}, "cseq": {"1"}, "branch": {"z9hG4bK" + id}, "from_user": {"+4940555"}, "from_domain": {"carrier.example"},
		"to_user": {number}, "to_domain": {"192.0.2.1"}, "ruri": {"sip:" + number + "@192.0.2.1"}, "ruri_user": {number}, "ruri_domain": {"192.0.2.1"}}
}

// legQuestion is what the edge asks for a leg of a call of the account.
func legQuestion(id, dial string) url.Values {
	v := trunkQuestion(id, "leg")
	v.Set("peer", api.PeerMedia)
	v.Set("source_ip", "127.0.0.1")
	v.Set("account_id", "acc_1")
	v.Set("dial", dial)
	return v
}

// directive asks where a call goes.
func (b *bench) directive(t *testing.T, v url.Values) api.Directive {
	t.Helper()
	w := b.form(api.PathRoute, v)
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return reading[api.RouteReply](t, w).RTJSON
}

// Whoever is not known by his address gets the same refusal, byte for byte but for the operators' why: an address of
// no trunk, though it brings a phone's digest, a leg of an unknown account or of none, and a peer that nobody has
// heard of.
func TestRoute_RefusesAnUnknownTrunkAndAnUnknownLegAlike(t *testing.T) {
	b := newShop(t, nil)
	stranger := inviteQuestion("1001", "secret1001", "4930100")
	stranger.Set("peer", api.PeerTrunk)
	nowhere := trunkQuestion("c", "4930100")
	nowhere.Set("source_ip", "198.51.100.8")
	nobody := trunkQuestion("c", "4930999")
	nobody.Set("source_ip", "not an address")
	other, none, odd := legQuestion("c", "user/us_1002"), legQuestion("c", "user/us_1002"), trunkQuestion("c", "4930100")
	other.Set("account_id", "acc_2")
	none.Del("account_id")
	odd.Set("peer", "friend")
	whys := map[string]bool{}
	for _, v := range []url.Values{stranger, nowhere, nobody, other, none, odd} {
		got := b.directive(t, v)
		whys[got.Why] = true
		got.Why = ""
		if want := (api.Directive{Action: "reject", Version: api.Version, ConfigVersion: 7, Refusal: api.Refusal{SIPCode: 403, Reason: "Forbidden"}}); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v", v, got)
		}
	}
	if len(whys) != 6 || whys[""] {
		t.Errorf("the operator cannot tell refusals apart: %v", whys)
	}
}

// A trunk that is known by its certificate calls without a password from any address. A name that is no trunk's, an empty one
// and one that comes with a phone's digest are to be challenged, each alike; later in a call, where nothing can be asked of
// the caller any more, they are refused.
func TestRoute_KnowsATrunkByItsCertificate(t *testing.T) {
	b := newShop(t, func(rows *brain.AccountRows) {
		rows.Trunks[0].InboundACL, rows.Trunks[0].InboundAuth, rows.Trunks[0].TLSName = nil, brain.InboundTLS, "sbc.carrier.test"
	})
	named := func(v url.Values, name string) url.Values {
		v.Set("peer", api.PeerTrunkTLS)
		v.Set("tls_name", name)
		return v
	}
	got := b.directive(t, named(trunkQuestion("c", "4930100"), "sbc.carrier.test"))
	if got.Action != api.ActionProxy || got.AccountID != "acc_1" || got.Call.Caller != api.CallerTrunk || got.Call.Trunk != "trk_1" {
		t.Errorf("the trunk's call: %+v", got)
	}
	for _, v := range []url.Values{named(trunkQuestion("c", "4930100"), "other.carrier.test"), named(trunkQuestion("c", "4930999"), ""),
		named(inviteQuestion("1001", "secret1001", "4930100"), "other.carrier.test")} {
		got := b.directive(t, v)
		got.Why = ""
		want := api.Directive{Action: "reject", Version: api.Version, ConfigVersion: 7, Refusal: api.Refusal{SIPCode: 407, Reason: "Proxy Authentication Required"}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v", v, got)
		}
	}
	later := named(trunkQuestion("c", "4930100"), "other.carrier.test")
	later.Set("at", "user/us_1002")
	if got := b.directive(t, later); got.SIPCode != 403 || got.Guard != "" {
		t.Errorf("later in a call: %+v", got)
	}
}

// Each dimension that a call from outside takes refuses the next one with a code of its own, and why says which is
// full: the account's incoming calls, the number, the trunk, the node. A user without a free line is busy: the call
// goes on where that leads.
func TestRoute_AdmitsCallsOfATrunkByDimension(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(rows *brain.AccountRows)
		node   string
		code   int
		after  int
		why    string
	}{
		{"in", func(rows *brain.AccountRows) { rows.Account.MaxIn = 1 }, "edge1", 480, 0, "admission: in has 1 of 1"},
		{"did", func(rows *brain.AccountRows) { rows.DIDs[0].MaxChannels = 1 }, "edge1", 486, 0, "admission: did did_1 has 1 of 1"},
		{"trunk", func(rows *brain.AccountRows) { rows.Trunks[0].MaxChannels = 1 }, "edge1", 480, 0, "admission: trunk trk_1 has 1 of 1"},
		{"node", nil, "small", 503, 1, "admission: node small has 1 of 1"},
		{"user", func(rows *brain.AccountRows) { rows.Users[1].MaxSimultaneous = 1 }, "edge1", 486, 0, "4930100 → user 1002 has no free line"},
		{"limit", func(rows *brain.AccountRows) {
			rows.Limits = []brain.CallLimit{{ID: "lim_1", ScopeKind: brain.LimitNumber, NumberPattern: "49301*", Direction: brain.DirectionIn, PeriodSec: 60, MaxCount: 1, Hard: true}}
		}, "edge1", 480, 60, "admission: limit lim_1 has 1 of 1"},
	} {
		b := newShop(t, c.change)
		ask := func(id string) api.Directive {
			v := trunkQuestion(id, "+4930100")
			v.Set("node", c.node)
			return b.directive(t, v)
		}
		if d := ask("c1"); d.Action != api.ActionProxy || d.Call.Direction != "in" || d.Routes[0].URI != "sip:1002@example.com" {
			t.Errorf("%s: first call: %+v", c.name, d)
		}
		if d := ask("c1"); d.Action != api.ActionProxy {
			t.Errorf("%s: the same call again: %+v", c.name, d)
		}
		d := ask("c2")
		if d.Action != api.ActionReject || d.SIPCode != c.code || d.RetryAfterSec != c.after || d.Why != c.why {
			t.Errorf("%s: second call: %d, retry after %d: %s", c.name, d.SIPCode, d.RetryAfterSec, d.Why)
		}
	}
}

// A user without a free line is busy for a call from outside as for any: his busy exit leads to the mailbox, and that
// call takes everything but his line.
func TestRoute_ABusyUserOfANumberLeadsToHisMailbox(t *testing.T) {
	b := newShop(t, func(rows *brain.AccountRows) {
		rows.Account.MaxIn = 3
		rows.Users[1].MaxSimultaneous = 1
		rows.Users[1].FwdBusyDestKind, rows.Users[1].FwdBusyDestID = brain.DestVoicemail, "vm_1"
	})
	for i, want := range []string{"", "voicemail/vm_1", "voicemail/vm_1"} {
		d := b.directive(t, trunkQuestion("c"+strconv.Itoa(i), "4930100"))
		if d.Action != api.ActionProxy || d.Routes[0].App != want {
			t.Errorf("call %d: %+v", i, d)
		}
	}
	if d := b.directive(t, trunkQuestion("c9", "4930100")); d.SIPCode != 480 || d.Why != "admission: in has 3 of 3" {
		t.Errorf("a call too many: %+v", d)
	}
}

// A leg takes a line of whom it rings and nothing else: it passes when the account, the trunk and the node are full,
// since its call has its place already, and is busy when the user has no line left.
func TestRoute_ALegTakesItsCalleesLineOnly(t *testing.T) {
	b := newShop(t, func(rows *brain.AccountRows) {
		rows.Account.MaxIn, rows.Account.MaxInternal = 1, 1
		rows.Users[1].MaxSimultaneous = 1
		rows.Extensions = []brain.Extension{{ID: "ext_1", Digits: "400", Status: brain.StatusActive, DestKind: brain.DestConference, DestID: "conf_1"}}
	})
	full := trunkQuestion("c1", "4930200")
	full.Set("node", "small")
	if d := b.directive(t, full); d.Action != api.ActionProxy || d.Routes[0].App != "conference/conf_1" {
		t.Fatalf("%+v", d)
	}
	if d := b.directive(t, inviteQuestion("1001", "secret1001", "400")); d.Action != api.ActionProxy {
		t.Fatalf("%+v", d)
	}
	leg := func(id string) api.Directive {
		v := legQuestion(id, "user/us_1002")
		v.Set("node", "small")
		return b.directive(t, v)
	}
	if d := leg("l1"); d.Action != api.ActionProxy || d.Routes[0].URI != "sip:1002@example.com" || d.AccountID != "acc_1" {
		t.Errorf("first leg: %+v", d)
	}
	if d := leg("l2"); d.SIPCode != 486 {
		t.Errorf("second leg: %+v", d)
	}
	if d := b.directive(t, legQuestion("l3", "conference/conf_1")); d.SIPCode != 404 {
		t.Errorf("leg to a conference: %+v", d)
	}
}

// Hours follow the brain's clock at the moment of the question, for numbers and extensions.
func TestRoute_HoursFollowTheClock(t *testing.T) {
	b := newShop(t, func(rows *brain.AccountRows) {
		rows.Extensions = []brain.Extension{{ID: "ext_1", Digits: "300", Status: brain.StatusActive, DestKind: brain.DestUser, DestID: "us_1002",
			ScheduleID: "sch_1", ClosedDestKind: brain.DestHangup, ClosedDestID: "603"}}
	})
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		at   time.Duration
		open bool
	}{{8*time.Hour + 59*time.Minute, false}, {9 * time.Hour, true}, {17*time.Hour - time.Millisecond, true}, {17 * time.Hour, false}, {-12 * time.Hour, false}} {
		b.Now = func() time.Time { return monday.Add(c.at) }
		d := b.directive(t, trunkQuestion("c"+strconv.Itoa(i), "4930100"))
		if got := d.Routes[0]; (got.URI == "sip:1002@example.com") != c.open || (got.App == "voicemail/vm_1") == c.open {
			t.Errorf("number at %v: %+v", c.at, d)
		}
		v := inviteQuestion("1001", "secret1001", "300")
		v.Set("call_id", "e"+strconv.Itoa(i))
		if d := b.directive(t, v); (d.Action == api.ActionProxy) != c.open || !c.open && d.SIPCode != 603 {
			t.Errorf("extension at %v: %+v", c.at, d)
		}
	}
}

// living has a state's calls admitted by a machine of the live state.
type living struct {
	*state
	m *presence.Machine
	t *testing.T
}

func (l living) Admit(_ context.Context, a *presence.Admission) (cac.Verdict, error) {
	return presence.ReadVerdict(l.apply(presence.AppendAdmit(nil, &a.Call)))
}

func (l living) Swap(_ context.Context, _ string, s presence.Swap) (cac.Verdict, error) {
	return presence.ReadVerdict(l.apply(presence.AppendSwap(nil, &s.Swap)))
}

func (l living) apply(op []byte) []byte {
	l.t.Helper()
	reply, _, err := l.m.Apply(1000, op)
	if err != nil {
		l.t.Fatal(err)
	}
	return reply
}

// What a leg is to its user: for a queue it is no call of his own, the queue knows what he does; a user called by a flow and a
// supervisor are in a call from the answer to the end, so that no queue offers him a caller meanwhile. Each takes one line and
// has a token of its own, and nothing is left of it.
func TestRoute_WhoseCallALegIs(t *testing.T) {
	for dial, calls := range map[string]int{"agent/us_1002": 0, "user/us_1002": 1, "supervisor/us_1002": 1} {
		b := newShop(t, func(rows *brain.AccountRows) { rows.Users[1].MaxSimultaneous = 1 })
		l := living{b.presence, presence.New("acc_1"), t}
		b.Presence = l
		first := b.directive(t, legQuestion("l1", dial))
		if first.Action != api.ActionProxy || first.Routes[0].URI != "sip:1002@example.com" {
			t.Fatalf("%s: %+v", dial, first)
		}
		if d := b.directive(t, legQuestion("l2", dial)); d.SIPCode != 486 {
			t.Errorf("%s, a second one: %+v", dial, d)
		}
		tell := func(typ string, ms int64) (his int) {
			l.apply(presence.AppendEvents(nil, "edge1", []presence.Event{{Event: api.Event{Type: typ, Token: first.Call.Token, CallID: "l1", TimeMS: ms}}}))
			for _, u := range l.m.Presence(1000).Users {
				his += u.Calls
			}
			return his
		}
		if got := tell(api.EventDialogStart, 1000); got != calls {
			t.Errorf("%s: he is in %d calls, want %d", dial, got, calls)
		}
		if got := tell(api.EventDialogEnd, 2000); got != 0 || len(l.m.CAC().Slots) > 0 {
			t.Errorf("%s: after the end he is in %d calls, slots %v", dial, got, l.m.CAC().Slots)
		}
	}
}

// INVITEs of a phone are as many calls as they are, though it gives them one Call-ID, CSeq and branch: each takes a line and counts
// in the window. The same question again is the same call, until that is up: then nobody asks for it any more.
func TestRoute_InvitesThatLookAlikeAreCallsOfTheirOwn(t *testing.T) {
	b := newShop(t, func(rows *brain.AccountRows) {
		rows.Limits = []brain.CallLimit{{ID: "lim_1", Name: "few", ScopeKind: brain.LimitAccount, Direction: brain.DirectionAny, MaxCount: 2, PeriodSec: 3600, Hard: true}}
	})
	l := living{b.presence, presence.New("acc_1"), t}
	b.Presence = l
	ask := func(transaction string) api.Directive {
		q := inviteQuestion("1001", "secret1001", "1002")
		q.Set("transaction", transaction)
		return b.directive(t, q)
	}
	first, again, second, third := ask("7.1"), ask("7.1"), ask("7.2"), ask("7.3")
	if first.Action != api.ActionProxy || second.Action != api.ActionProxy || first.Call.Token != again.Call.Token || first.Call.Token == second.Call.Token {
		t.Fatalf("%+v\n%+v\n%+v", first.Call, again.Call, second.Call)
	}
	if third.SIPCode != 480 || l.m.Counts().Slots != 2 {
		t.Errorf("a third call, two are allowed: %+v", third)
	}
	l.apply(presence.AppendEvents(nil, "edge1", []presence.Event{{Event: api.Event{Type: api.EventDialogStart, Token: first.Call.Token, CallID: "c1@phone", TimeMS: 1000}}}))
	if d := ask("7.1"); d.Action != api.ActionReject {
		t.Errorf("asked again when it was up: %+v", d)
	}
	if d := ask("7.2"); d.Call == nil || d.Call.Token != second.Call.Token {
		t.Errorf("the other one, which is not up: %+v", d)
	}
}

package endpoint

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/cac"
)

// newWayOut is a shop in Germany that calls out over Alpha, which asks for a password, then Beta.
func newWayOut(t *testing.T, change func(rows *brain.AccountRows)) *bench {
	b := newShop(t, func(rows *brain.AccountRows) {
		rows.Account.Country, rows.Account.DefaultCIDNumber, rows.Account.EmergencySuspended = "DE", "4930100", true
		rows.Trunks = append(rows.Trunks,
			brain.SIPTrunk{ID: "trk_a", Name: "Alpha", Status: brain.StatusActive, Direction: brain.TrunkOutbound, Proxy: "alpha.example", AuthUsername: "shop",
				AuthSecretRef: "alpha", Realm: "alpha", MaxChannels: 1},
			brain.SIPTrunk{ID: "trk_b", Name: "Beta", Status: brain.StatusActive, Direction: brain.TrunkOutbound, Proxy: "beta.example", MaxChannels: 1})
		rows.Routes = []brain.OutboundRoute{{ID: "route_1", Name: "all", Status: brain.StatusActive, Strategy: "priority",
			Trunks: []brain.OutboundChoice{{TrunkID: "trk_a", Priority: 1}, {TrunkID: "trk_b", Priority: 2}}}}
		if change != nil {
			change(rows)
		}
	})
	b.Password = func(_ *brain.AccountConfig, ref string) (string, error) {
		if ref != "alpha" {
			return "", errors.New("no such secret")
		}
		return "opensesame", nil
	}
	return b
}

// dials is the first question of a call of 1001.
func dials(id, number string) url.Values {
	v := inviteQuestion("1001", "secret1001", number)
	v.Set("call_id", id)
	v.Set("method", "INVITE")
	return v
}

// failed is what the edge asks when the trunk of a directive answered code.
func failed(v url.Values, d *api.Directive, code int) {
	id := d.Routes[0].Trunk.ID
	if last := v.Get("tried"); last == "" || !strings.HasSuffix(","+last, ","+id) {
		v.Set("tried", strings.TrimPrefix(last+","+id, ","))
		v.Set("answered", "0")
	}
	v.Set("at", d.Call.At)
	v.Set("hops", strconv.Itoa(d.Call.Hops))
	v.Set("trunk", id)
	v.Set("failed_code", strconv.Itoa(code))
	v.Del("challenge")
}

// used is how much of a dimension the calls of the shop take.
func (b *bench) used(kind cac.Kind, id string) int {
	for _, u := range b.presence.ledger.Usage() {
		if u.Kind == kind && u.ID == id {
			return u.Used
		}
	}
	return 0
}

// Proves a call over two trunks by what it takes: Alpha's challenge is answered, with the password and without a second channel; when
// Alpha fails its channel is given back as Beta's is taken; when Beta fails too the caller hears 503. Each attempt is a line in the
// log, without the password, and counted by trunk.
func TestRoute_FailsOverAndSwapsTheChannel(t *testing.T) {
	b := newWayOut(t, nil)
	var log strings.Builder
	b.Log, b.LogDecisions = slog.New(slog.NewTextHandler(&log, nil)), true
	v := dials("out-1", "0405551234")
	d := b.directive(t, v)
	if d.Call == nil || d.Call.Trunk != "trk_a" || d.Call.Direction != brain.DirectionOut || b.used(cac.Out, "") != 1 || b.used(cac.Trunk, "trk_a") != 1 || b.used(cac.User, "us_1001") != 1 {
		t.Fatalf("%+v", d)
	}
	failed(v, &d, 407)
	v.Set("challenge", "Proxy-Authenticate: Digest realm=\"alpha\", nonce=\"abc\", qop=\"auth\"\nProxy-Authenticate: Digest realm=\"other\", nonce=\"x\"")
	d = b.directive(t, v)
	if d.Call == nil || d.Call.Trunk != "trk_a" || !strings.HasPrefix(d.Routes[0].Trunk.Answer, "Proxy-Authorization: Digest ") || !strings.HasSuffix(d.Routes[0].Trunk.Answer, "\r\n") ||
		!strings.Contains(d.Routes[0].Trunk.Answer, `uri="`+d.Routes[0].URI+`"`) || b.used(cac.Trunk, "trk_a") != 1 {
		t.Fatalf("%+v", d)
	}
	failed(v, &d, 503)
	v.Set("answered", "1")
	d = b.directive(t, v)
	if d.Call == nil || d.Call.Trunk != "trk_b" || d.Routes[0].Trunk.Answer != "" || b.used(cac.Trunk, "trk_a") != 0 || b.used(cac.Trunk, "trk_b") != 1 || b.used(cac.Out, "") != 1 {
		t.Fatalf("%+v", d)
	}
	if again := b.directive(t, v); again.Call.Trunk != "trk_b" || b.used(cac.Trunk, "trk_b") != 1 {
		t.Fatalf("asked twice: %+v", again)
	}
	failed(v, &d, 408)
	if d = b.directive(t, v); d.Action != api.ActionReject || d.SIPCode != 503 {
		t.Fatalf("%+v", d)
	}
	text := log.String()
	if n := strings.Count(text, `msg="trunk attempt"`); n != 5 || strings.Contains(text, "opensesame") || !strings.Contains(text, "tried=trk_a,trk_b") {
		t.Errorf("%d lines\n%s", n, text)
	}
	if a, bb := b.attempts.all()["trk_a"], b.attempts.all()["trk_b"]; a != (TrunkCalls{2, 2 + 1}) || bb != (TrunkCalls{2, 1}) {
		t.Errorf("%+v %+v", a, bb)
	}
}

// Proves that a challenge which cannot be answered is a failure of that trunk alone: of another realm, or with a secret that does
// not open.
func TestRoute_AChallengeThatCannotBeAnsweredGoesOn(t *testing.T) {
	for name, change := range map[string]func(*bench, url.Values){
		"realm": func(_ *bench, v url.Values) {
			v.Set("challenge", `Proxy-Authenticate: Digest realm="evil", nonce="abc"`)
		},
		"text": func(_ *bench, v url.Values) { v.Set("challenge", "nonsense\nmore") },
		"secret": func(b *bench, _ url.Values) {
			b.Password = func(*brain.AccountConfig, string) (string, error) { return "", errors.New("sealed") }
		},
		"none": func(b *bench, _ url.Values) { b.Password = nil },
	} {
		b := newWayOut(t, nil)
		v := dials("out-"+name, "0405551234")
		d := b.directive(t, v)
		failed(v, &d, 407)
		v.Set("challenge", `Proxy-Authenticate: Digest realm="alpha", nonce="abc"`)
		change(b, v)
		if d = b.directive(t, v); d.Call == nil || d.Call.Trunk != "trk_b" || b.used(cac.Trunk, "trk_a") != 0 || b.used(cac.Trunk, "trk_b") != 1 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// Proves that a full trunk is passed over, at first and later; that with all full the call is refused and holds nothing; and that a
// call for help goes out over a full one.
func TestRoute_AFullTrunkIsPassedOver(t *testing.T) {
	b := newWayOut(t, nil)
	first, second, third := dials("out-1", "0405551234"), dials("out-2", "0405551234"), dials("out-3", "0405551234")
	d1, d2, d3 := b.directive(t, first), b.directive(t, second), b.directive(t, third)
	if d1.Call.Trunk != "trk_a" || d2.Call.Trunk != "trk_b" || !strings.Contains(d2.Why, "Alpha full") {
		t.Fatalf("%+v %+v", d1, d2)
	}
	if d3.Action != api.ActionReject || d3.SIPCode != 503 || b.used(cac.Out, "") != 2 {
		t.Errorf("%+v", d3)
	}
	failed(first, &d1, 503) // on to Beta, which is full
	if d := b.directive(t, first); d.Action != api.ActionReject || d.SIPCode != 503 || b.used(cac.Trunk, "trk_a") != 1 {
		t.Errorf("%+v, the channel of the failed attempt stays until the edge tells the end", d)
	}
	if d := b.directive(t, dials("out-4", "112")); d.Call == nil || d.Call.At != "emergency/112" || b.used(cac.Trunk, "trk_a") != 2 {
		t.Errorf("%+v", d)
	}
}

// Proves that a question which is asked twice sends the call over the trunk whose channel it got the first time, though by now
// another one would come first.
func TestRoute_ARepeatedQuestionKeepsItsTrunk(t *testing.T) {
	b := newWayOut(t, nil)
	first, second := dials("out-1", "0405551234"), dials("out-2", "0405551234")
	d1, d2 := b.directive(t, first), b.directive(t, second)
	if d1.Call.Trunk != "trk_a" || d2.Call.Trunk != "trk_b" {
		t.Fatalf("%+v %+v", d1, d2)
	}
	b.presence.ledger.Release(b.Now().UnixMilli(), d1.Call.Token)
	if d := b.directive(t, second); d.Call == nil || d.Call.Trunk != "trk_b" || b.used(cac.Trunk, "trk_a") != 0 || b.used(cac.Trunk, "trk_b") != 1 {
		t.Errorf("%+v", d)
	}
}

// Proves that a call for help goes out while nobody can admit it, also in its later questions, and that any other does not.
func TestRoute_HelpNeedsNoAdmission(t *testing.T) {
	b := newWayOut(t, nil)
	b.presence.fail = &brain.Error{Code: brain.EUnavailable, Text: "nobody owns the account"}
	v := dials("out-1", "112")
	d := b.directive(t, v)
	if d.Call == nil || d.Call.Trunk != "trk_a" {
		t.Fatalf("%+v", d)
	}
	failed(v, &d, 503)
	if d = b.directive(t, v); d.Call == nil || d.Call.Trunk != "trk_b" {
		t.Fatalf("%+v", d)
	}
	if d := b.directive(t, dials("out-2", "0405551234")); d.Action != api.ActionReject || d.SIPCode != 503 {
		t.Errorf("%+v", d)
	}
}

// Proves that a forward behind a phone takes its channel when it is reached, not before, and gives the phone's line back; and that a
// call which is over by then goes nowhere.
func TestRoute_AForwardTakesItsChannelWhenItIsReached(t *testing.T) {
	b := newWayOut(t, func(rows *brain.AccountRows) {
		rows.Forwards = []brain.Forward{{ID: "fwd_1", Name: "cell", Number: "0151 12345678", TimeoutSec: 20}}
		rows.Users[1].FwdNoanswerDestKind, rows.Users[1].FwdNoanswerDestID = brain.DestForward, "fwd_1"
	})
	v := dials("in-1", "1002")
	d := b.directive(t, v)
	if len(d.Routes) != 2 || d.Routes[1].Ask != "forward/fwd_1" || b.used(cac.Out, "") != 0 || b.used(cac.User, "us_1002") != 1 {
		t.Fatalf("%+v", d)
	}
	v.Set("at", d.Routes[1].Ask)
	v.Set("hops", strconv.Itoa(d.Call.Hops))
	v.Set("failed_code", "408")
	out := b.directive(t, v)
	if out.Call == nil || out.Call.Trunk != "trk_a" || out.Call.Token != d.Call.Token || b.used(cac.Out, "") != 1 || b.used(cac.Internal, "") != 0 || b.used(cac.User, "us_1002") != 0 {
		t.Fatalf("%+v", out)
	}
	b.presence.ledger.Release(1000, d.Call.Token)
	failed(v, &out, 503)
	if d = b.directive(t, v); d.Action != api.ActionReject {
		t.Errorf("%+v", d)
	}
}

// overflows is a shop where 1002 forwards to a number outside, which overflows to 1009.
func overflows(rows *brain.AccountRows) {
	rows.Forwards = []brain.Forward{{ID: "fwd_1", Name: "cell", Number: "0151 12345678", TimeoutSec: 20, OverflowDestKind: brain.DestUser, OverflowDestID: "us_1009"}}
	rows.Users = append(rows.Users, brain.SIPUser{ID: "us_1009", Username: "1009", Status: brain.StatusActive})
	rows.Devices = append(rows.Devices, brain.SIPDevice{ID: "dev_1009", UserID: "us_1009", AuthUsername: "1009", Realm: "shop.test", Status: brain.StatusActive, RingOnFork: true})
	rows.Users[1].FwdAlwaysDestKind, rows.Users[1].FwdAlwaysDestID = brain.DestForward, "fwd_1"
}

// inside says why a directive does not ring 1009 inside the account, with the places of such a call.
func (b *bench) inside(d *api.Directive) string {
	switch {
	case d.Action != api.ActionProxy, len(d.Routes) != 1, d.Routes[0].URI != "sip:1009@shop.test", d.Call.Trunk != "":
		return "it does not overflow"
	case b.used(cac.Out, "") != 0, b.used(cac.Trunk, "trk_a") != 0, b.used(cac.Internal, "") != 1, b.used(cac.User, "us_1002") != 0:
		return fmt.Sprintf("it takes %+v", b.presence.ledger.Usage())
	}
	return ""
}

// Proves that a forward which may not go out overflows, by the account's limit as by its money, at once and behind phones, and takes
// the places of a call inside then; and that a call with nowhere else to go hears what refused it.
func TestRoute_AForwardThatMayNotLeaveOverflows(t *testing.T) {
	broke := func(b *bench) *purse {
		p := &purse{paid: balance.Paid{State: balance.Refused, Why: balance.WhyMoney}}
		b.Wallet = p
		return p
	}
	full := func(rows *brain.AccountRows) {
		overflows(rows)
		rows.Limits = []brain.CallLimit{{ID: "lim_1", ScopeKind: brain.LimitAccount, Direction: brain.DirectionOut, MaxCount: 1, PeriodSec: 60, Hard: true}}
	}
	behind := func(rows *brain.AccountRows) {
		rows.Users[1].FwdNoanswerDestKind, rows.Users[1].FwdNoanswerDestID = rows.Users[1].FwdAlwaysDestKind, rows.Users[1].FwdAlwaysDestID
		rows.Users[1].FwdAlwaysDestKind, rows.Users[1].FwdAlwaysDestID = "", ""
	}
	for _, limit := range []bool{true, false} {
		for _, rings := range []bool{true, false} {
			b := newWayOut(t, func(rows *brain.AccountRows) {
				if limit {
					full(rows)
				} else {
					overflows(rows)
				}
				if rings {
					behind(rows)
				}
			})
			if limit {
				b.reachLimit(t)
			} else {
				broke(b)
			}
			v := dials("one", "1002")
			d := b.directive(t, v)
			if rings {
				v.Set("at", d.Routes[1].Ask)
				v.Set("hops", strconv.Itoa(d.Call.Hops))
				v.Set("failed_code", "408")
				d = b.directive(t, v)
			}
			for range 2 { // asked twice
				if why := b.inside(&d); why != "" || !strings.Contains(d.Why, "overflow") {
					t.Errorf("limit %v, rings %v: %s: %+v", limit, rings, why, d)
				}
				d = b.directive(t, v)
			}
		}
	}
	b := newWayOut(t, overflows)
	broke(b)
	v := dials("two", "0405551234")
	var req api.RouteRequest
	if err := routeFields.decodeForm(v.Encode(), &req); err != nil {
		t.Fatal(err)
	}
	if d := b.directive(t, v); d.SIPCode != 403 || d.Reason != "Insufficient Credit" || fmt.Sprint(b.presence.resets) != "[["+req.Token()+"]]" {
		t.Errorf("%+v, released %v", d, b.presence.resets)
	}
	b = newWayOut(t, full)
	b.reachLimit(t)
	if d := b.directive(t, dials("three", "0405551234")); d.SIPCode != 480 || !strings.HasPrefix(d.Why, "admission: ") {
		t.Errorf("%+v", d)
	}
}

// reachLimit makes the only call to outside that a limit of one allows, and ends it.
func (b *bench) reachLimit(t *testing.T) {
	t.Helper()
	d := b.directive(t, dials("first", "0405551234"))
	b.presence.ledger.Release(1000, d.Call.Token)
}

// Proves that who calls from outside is not told that the account has no money.
func TestRoute_ACallerFromOutsideHearsNothingOfMoney(t *testing.T) {
	b := newWayOut(t, func(rows *brain.AccountRows) {
		overflows(rows)
		rows.Forwards[0].OverflowDestKind, rows.Forwards[0].OverflowDestID = "", ""
		rows.DIDs[1].DestKind, rows.DIDs[1].DestID = brain.DestForward, "fwd_1"
	})
	b.Wallet = &purse{paid: balance.Paid{State: balance.Refused, Why: balance.WhyMoney}}
	if d := b.directive(t, trunkQuestion("in-1", "4930200")); d.SIPCode != 403 || d.Reason != "Forbidden" || d.Why != "wallet: money" {
		t.Errorf("%+v", d)
	}
}

// Proves that money of a forward that failed is given back as its overflow rings, under the attempt that the events of the call tell again, so that its
// answer is not charged; not while there is another trunk for the number, nor when the call ends.
func TestRoute_AFailedForwardGivesItsMoneyBack(t *testing.T) {
	b := newWayOut(t, overflows)
	p := &purse{paid: balance.Paid{State: balance.Granted, HeldSec: 60, MoneySec: 99999}}
	b.Wallet = p
	v := dials("one", "1002")
	d := b.directive(t, v)
	failed(v, &d, 503)
	d = b.directive(t, v)
	if d.Call.Trunk != "trk_b" || len(p.asked) != 2 {
		t.Fatalf("%+v, asked %v", d, p.asked)
	}
	failed(v, &d, 404)
	d = b.directive(t, v)
	if why := b.inside(&d); why != "" || len(p.asked) != 3 || p.asked[2] != fmt.Sprintf("drop acc_1 %s one %d", d.Call.Token, d.Call.Attempt) || d.Call.Attempt < 3 {
		t.Errorf("%s %+v, asked %v", why, d, p.asked)
	}
	v = dials("two", "0405551234")
	d = b.directive(t, v)
	failed(v, &d, 404)
	if d = b.directive(t, v); d.Action != api.ActionReject || len(p.asked) != 4 {
		t.Errorf("%+v, asked %v", d, p.asked)
	}
}

// Proves that no call is refused for what names nobody in it: a name with a tab or in another encoding, a header that is folded.
func TestRoute_TextThatNamesNobodyIsMadeClean(t *testing.T) {
	b := newWayOut(t, nil)
	for i, dirty := range []string{"a\tb", "M\xfcller", "x\r\n y", "\x00", "\u0085", "\xff"} {
		for _, field := range []string{"from_name", "user_agent", "diversion", "privacy", "identity", "challenge"} {
			v := dials(fmt.Sprint("sos", i, field), "112")
			v.Set(field, dirty)
			if d := b.directive(t, v); d.Call == nil || d.Call.At != "emergency/112" {
				t.Errorf("%s %q: %+v", field, dirty, d)
			}
			if w := b.ask("POST", api.PathRoute, typeJSON, fmt.Sprintf(`{"call_id":"c",%q:"a\u0009\u0085b"}`, field)); w.Code != 200 {
				t.Errorf("%s in JSON: %d %s", field, w.Code, w.Body)
			}
		}
	}
	var req api.RouteRequest
	v := url.Values{"diversion": {"<sip:1@a>;reason=\r\n\tuser-busy"}, "challenge": {"a: b\r\n c\nd: \xffe"}, "from_name": {"M\xfcller\x7f"}}
	if err := routeFields.decodeForm(v.Encode(), &req); err != nil || req.Diversion != "<sip:1@a>;reason=   user-busy" || req.Challenge != "a: b \n c\nd: e" || req.FromName != "Mller " {
		t.Errorf("%v %q %q %q", err, req.Diversion, req.Challenge, req.FromName)
	}
}

// Proves that a question of more lines than one is taken in its field alone.
func TestRoute_OnlyAChallengeHasLines(t *testing.T) {
	b := newWayOut(t, nil)
	for field, code := range map[string]int{"challenge": 200, "tried": 400, "at": 400} {
		v := dials("lines", "0405551234")
		v.Set(field, "a\nb")
		if w := b.form(api.PathRoute, v); w.Code != code {
			t.Errorf("%s: %d %s", field, w.Code, w.Body)
		}
	}
}

// Proves that attempts are counted for a bounded number of trunks.
func TestAttempts_AreBounded(t *testing.T) {
	var a attempts
	for i := range maxTrunkCalls + 10 {
		a.add(strconv.Itoa(i), TrunkCalls{Attempts: 1})
	}
	a.add("0", TrunkCalls{Failed: 1})
	if all := a.all(); len(all) != maxTrunkCalls || all["0"] != (TrunkCalls{1, 1}) {
		t.Errorf("%d trunks, %+v", len(all), all["0"])
	}
}

// Proves that a PBX is known by its digest: it calls outside with a number of the account, and an extension; with a wrong password it
// hears what an unknown phone hears. An address that belongs to a trunk for calls out alone is nobody's.
func TestRoute_APBXIsKnownByItsDigest(t *testing.T) {
	b := newWayOut(t, func(rows *brain.AccountRows) {
		rows.Trunks[0].Direction = brain.TrunkOutbound
		rows.Trunks = append(rows.Trunks, brain.SIPTrunk{ID: "trk_pbx", Name: "PBX", Status: brain.StatusActive, Direction: brain.TrunkInbound, Role: brain.RolePBX,
			InboundAuth: brain.InboundDigest, AuthUsername: "pbx", AuthSecretRef: "alpha"})
	})
	pbx := func(id, password, number string) url.Values {
		v := inviteQuestion("pbx", password, number)
		v.Set("call_id", id)
		v.Set("from_user", "030200")
		return v
	}
	d := b.directive(t, pbx("p-1", "opensesame", "0405551234"))
	if d.Call == nil || d.Call.Direction != brain.DirectionOut || d.Routes[0].Trunk.From.URI != "sip:+4930200@alpha.example" || b.used(cac.Trunk, "trk_pbx") != 1 {
		t.Errorf("%+v", d)
	}
	if d = b.directive(t, pbx("p-2", "opensesame", "1002")); d.Call == nil || d.Call.Direction != brain.DirectionInternal || d.Routes[0].URI != "sip:1002@example.com" {
		t.Errorf("%+v", d)
	}
	wrong, stranger := b.directive(t, pbx("p-3", "wrong", "1002")), b.directive(t, inviteQuestion("nobody", "wrong", "1002"))
	wrong.Why, stranger.Why = "", ""
	if wrong.SIPCode != 403 || !reflect.DeepEqual(wrong, stranger) {
		t.Errorf("%+v, a stranger %+v", wrong, stranger)
	}
	if d = b.directive(t, trunkQuestion("c-1", "4930100")); d.SIPCode != 403 || !strings.Contains(d.Why, "outside only") {
		t.Errorf("%+v", d)
	}
}

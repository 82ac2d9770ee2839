package endpoint

import (
	"errors"
	"log/slog"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
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
	v := dials("lines", "0405551234")
	v.Set("challenge", "a\rb")
	if w := b.form(api.PathRoute, v); w.Code != 400 {
		t.Errorf("a carriage return: %d", w.Code)
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

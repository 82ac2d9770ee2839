package route

import (
	"errors"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// legRefer is the question about a REFER of whom the media server has called.
func legRefer(dial, aor, to string) *api.ReferRequest {
	return &api.ReferRequest{Origin: api.Origin{CallID: "leg@x"}, AccountID: "acc_acme", FromUser: "boss", ReferTo: to, Side: api.ReferCallee, Call: "tok", Dial: dial, AOR: aor}
}

func TestReferLeg_AsksForTheTransferOfTheCaller(t *testing.T) {
	// Proves who counts as transferring, by whom was called or whose device answered and never by From, to which number, and why
	// everything else is declined.
	o := referable()
	o.user("1004").Status = brain.StatusDisabled
	acct, dir := o.config()
	const to, bobs = "sip:1003@acme.example", "sip:1002-desk@acme.example"
	for _, row := range []struct{ dial, aor, to, from, number, why string }{
		{"agent/us_1002", bobs, to, "us_1002", "1003", ""}, {"user/us_1002", bobs, "SIPS:200@old.acme.example", "us_1002", "200", ""},
		{"user/us_1001", bobs, to, "us_1001", "1003", ""}, {"user/us_1001", "", to, "us_1001", "1003", ""}, // the leg was Alice's to take, also when she forwards
		{"ring_group/rg_sales", "sip:1003-mobile@ACME.example", "sip:%31001@acme.example", "us_1003", "1001", ""}, {"extension/ext_300", bobs, to, "us_1002", "1003", ""},
		{"ring_group/rg_sales", "", to, "", "", "nobody of the account"}, {"ring_group/rg_sales", "sip:2002@other.example", to, "", "", "nobody of the account"},
		{"extension/ext_300", "sip:", to, "", "", "nobody of the account"}, {"extension/ext_300", "bob", to, "", "", "nobody of the account"},
		{"agent/us_9", bobs, to, "", "", "nobody of the account"}, {"agent", bobs, to, "", "", "nobody of the account"}, {"", bobs, to, "", "", "nobody of the account"},
		{"voicemail/vm", bobs, to, "", "", "nobody of the account"}, {"supervisor/us_1001", bobs, to, "", "", "supervisor"}, {"number/1002", bobs, to, "", "", "called this phone back"},
		{"user/us_1004", "", to, "", "", "user 1004 is disabled"},
		{"agent/us_1002", bobs, to + "?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2", "", "", "mode attended"}, {"agent/us_1002", bobs, "tel:1003", "", "", "no SIP URI"},
		{"agent/us_1002", bobs, "sip:1003@elsewhere.example", "", "", "is nobody's"}, {"agent/us_1002", bobs, "sip:2002@other.example", "", "", "another account"},
		{"agent/us_1002", bobs, "sip:4711@acme.example", "", "", `"1002" may not transfer blindly`}, {"agent/us_1005", "", "sip:+4930123456@acme.example", "", "", "no trunk leads outside"},
		{"agent/us_1002", bobs, "sip:1003@acme.example;method=BYE", "", "", "another method"}, {"agent/us_1002", bobs, "", "", "", "no SIP URI"},
	} {
		ask, refused := ReferLeg(dir, acct, legRefer(row.dial, row.aor, row.to))
		switch {
		case row.why == "" && (refused != nil || *ask != api.TransferRequest{Token: "tok", LegID: "leg@x", FromUserID: row.from, Mode: api.TransferBlind,
			Target: api.TransferTarget{Kind: api.TransferNumber, ID: row.number}}):
			t.Errorf("%s at %s to %s: %+v %+v", row.dial, row.aor, row.to, ask, refused)
		case row.why != "" && (ask != nil || refused.Action != api.ActionReject || refused.SIPCode != 603 || !strings.Contains(refused.Why, row.why)):
			t.Errorf("%s at %s to %s: %+v %+v, want %s", row.dial, row.aor, row.to, ask, refused, row.why)
		}
	}
	for why, change := range map[string]func(*api.ReferRequest){
		"only who is on its other side": func(r *api.ReferRequest) { r.Side = api.ReferCaller }, "other side transfers": func(r *api.ReferRequest) { r.Side = "moon" },
		"of no call": func(r *api.ReferRequest) { r.Call = "" },
	} {
		req := legRefer("agent/us_1002", bobs, to)
		change(req)
		if ask, refused := ReferLeg(dir, acct, req); ask != nil || !strings.Contains(refused.Why, why) || refused.SIPCode != 603 {
			t.Errorf("%+v %+v, want %s", ask, refused, why)
		}
	}
	o = referable()
	o.Account.Status = brain.StatusDisabled
	acct, dir = o.config()
	if ask, refused := ReferLeg(dir, acct, legRefer("agent/us_1002", bobs, to)); ask != nil || !strings.Contains(refused.Why, "acc_acme") {
		t.Errorf("of an account that is disabled: %+v %+v", ask, refused)
	}
}

func TestReferred_TellsThePhoneWhatBecameOfIt(t *testing.T) {
	// Proves that what is not allowed is declined, with the reason, and that whatever else failed may be tried again.
	acct, _ := referable().config()
	for _, row := range []struct {
		err    error
		action string
		code   int
	}{
		{nil, api.ActionDone, 0}, {brain.Errorf(brain.EForbidden, "why"), api.ActionReject, 603}, {brain.Errorf(brain.ENotFound, "why"), api.ActionReject, 603},
		{brain.Errorf(brain.EConflict, "why"), api.ActionReject, 603}, {brain.Errorf(brain.EInvalid, "why"), api.ActionReject, 603},
		{brain.Errorf(brain.EUnavailable, "why"), api.ActionReject, 503}, {brain.Errorf(brain.EInternal, "why"), api.ActionReject, 503}, {errors.New("why"), api.ActionReject, 503},
	} {
		got := Referred(acct, row.err)
		if got.Action != row.action || got.SIPCode != row.code || got.AccountID != "acc_acme" || (row.code == 503) != (got.RetryAfterSec > 0) || (row.err != nil) != strings.Contains(got.Why, "why") {
			t.Errorf("%v: %+v", row.err, got)
		}
	}
}

func FuzzReferLeg(f *testing.F) {
	// Proves that whatever an edge or a phone writes is answered, that only blind transfers to what is dialed under a domain of
	// the account are asked for, and only by a user of it.
	for _, seed := range [][3]string{{"agent/us_1002", "sip:1002-desk@acme.example", "sip:1003@acme.example"}, {"ring_group/rg_sales", "sip:1003-mobile@acme.example", "sips:%31001@old.acme.example;ob"},
		{"extension/ext_300", "sip:@", "sip:1002@acme.example?Replaces=a"}, {"/", "@@", "sip:1@2@3;method=BYE?a=b&c"}, {"number/1", "", ""}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	acct, dir := referable().config()
	f.Fuzz(func(t *testing.T, dial, aor, to string) {
		ask, refused := ReferLeg(dir, acct, legRefer(dial, aor, to))
		if (ask == nil) == (refused == nil) || refused != nil && (refused.SIPCode != 603 || refused.Why == "") {
			t.Fatalf("%q %q %q: %+v %+v", dial, aor, to, ask, refused)
		}
		if ask == nil {
			return
		}
		host := strings.ToLower(to)
		if acct.Users[ask.FromUserID] == nil || ask.Token != "tok" || ask.Mode != api.TransferBlind || ask.Target.Kind != api.TransferNumber || !acct.Dialed(ask.Target.ID).IsSet() ||
			!strings.Contains(host, "@acme.example") && !strings.Contains(host, "@old.acme.example") || strings.Contains(host, "replaces") {
			t.Errorf("%q %q %q: %+v", dial, aor, to, ask)
		}
	})
}

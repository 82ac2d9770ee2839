package route

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/cac"
)

// Proves for nine countries that a number in national and in international form, as carriers write it there, leads to the
// same number of the account, and that routing, admission, limits and the adoption of a call that nobody remembers mean
// the same one.
func TestCalled_RoutingAdmissionLimitsAndAdoptionAgree(t *testing.T) {
	for country, spellings := range map[string][]string{
		"DE": {"4930100", "+4930100", "004930100", "030100", "030 100", "01149" + "30100"},
		"FR": {"33142685300", "+33142685300", "0033142685300", "0142685300", "142685300", "+33 (0)1 42 68 53 00"},
		"GB": {"442079460018", "+442079460018", "00442079460018", "02079460018", "2079460018", "+44 (0)20 7946 0018"},
		"US": {"14155552671", "+14155552671", "01114155552671", "4155552671", "+1-415-555-2671"},
		"IT": {"390669812345", "+390669812345", "00390669812345", "0669812345"},
		"ES": {"34912345678", "+34912345678", "0034912345678", "912345678"},
		"RU": {"74951234567", "+74951234567", "81074951234567", "84951234567", "4951234567"},
		"AU": {"61291234567", "+61291234567", "001161291234567", "0291234567", "291234567", "0061291234567"},
		"SG": {"6561234567", "+6561234567", "0016561234567", "61234567", "006561234567"},
	} {
		o := newPlatform()
		in(country, spellings[0])(o)
		o.Account.MaxIn = 20
		o.Limits = []brain.CallLimit{{ID: "lim", ScopeKind: brain.LimitNumber, NumberPattern: spellings[0], Direction: brain.DirectionIn, PeriodSec: 60, MaxCount: 3, Hard: true}}
		acct, dir := o.config()
		for _, dialed := range spellings {
			req, caller := fromTrunk(acct, dialed)
			d := Decide(dir, caller, req)
			checkDirective(t, acct, d)
			if d.Call == nil || d.Call.To != spellings[0] {
				t.Errorf("%s in %s: %s", dialed, country, Text(d))
				continue
			}
			callee := Callee(caller, &req)
			if callee == nil || callee.ID != "us_1002" {
				t.Errorf("%s in %s is for %v", dialed, country, callee)
			}
			if got := takes(Takes(&caller, callee, &req)); !strings.Contains(got, "did did_main/0") {
				t.Errorf("%s in %s takes %s", dialed, country, got)
			}
			if got := Windows(&caller, callee, &req); len(got) != 1 || got[0].Kind != cac.Limit {
				t.Errorf("%s in %s counts for %v", dialed, country, got)
			}
			if got := takes(Adopted(acct, d.Call.From, d.Call.To, "")); got != "[in /20 did did_main/0]" {
				t.Errorf("%s in %s is adopted as %s", dialed, country, got)
			}
		}
	}
}

// Proves that a country changes nothing for what is no number there, for phones of the account and for legs: who calls
// stands as it came.
func TestPresented_LeavesEverybodyElseAlone(t *testing.T) {
	o := newPlatform()
	in("DE", "4930100")(o)
	acct, _ := o.config()
	for _, s := range []string{"214", "+4940555", "+1", "110", "22833", "anna.lee", "*12", "999999999999999999", "+"} {
		req, caller := fromTrunk(acct, "4930100")
		req.FromUser = s
		p := plan{acct: acct, caller: caller, req: &req}
		if got := p.shown(&req); got != s {
			t.Errorf("%s is shown as %s", s, got)
		}
	}
	req, caller := fromMedia(acct, "user/us_1002")
	req.FromUser = "0405551234"
	if got := (&plan{acct: acct, caller: caller}).shown(&req); got != "0405551234" {
		t.Errorf("a leg is from %s", got)
	}
	phone := callerOf(acct, "1001-desk")
	if got := (&plan{acct: acct, caller: phone}).shown(&req); got != "1001" {
		t.Errorf("a phone is %s", got)
	}
}

// BenchmarkNumbers tells what it costs to find the called number and to present the caller's, beside E164, which knows no
// country.
func BenchmarkNumbers(b *testing.B) {
	o := newPlatform()
	in("DE", "4930100")(o)
	acct, _ := o.config()
	b.Run("E164", func(b *testing.B) {
		for b.Loop() {
			_ = acct.DIDByE164[E164("+4930100")]
		}
	})
	for _, dialed := range []string{"+4930100", "4930100", "030100", "03099999999"} {
		b.Run("called/"+dialed, func(b *testing.B) {
			for b.Loop() {
				called(acct, dialed)
			}
		})
	}
	caller := Caller{Account: acct, Trunk: acct.Trunks["trk_carrier"]}
	for _, from := range []string{"+4940555123", "4940555123", "040555123", "214", "33142685300"} {
		b.Run("presented/"+from, func(b *testing.B) {
			for b.Loop() {
				presented(&caller, from)
			}
		})
	}
}

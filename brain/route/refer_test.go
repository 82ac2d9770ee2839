package route

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// referable is the office with a user who may transfer outside.
func referable() *office {
	o := newOffice()
	o.user("1005").AllowPSTNBlindTransfer = true
	o.Account.OutboundCountries = []string{"DE"}
	return o
}

func TestRefer_OnlyWithinTheAccount(t *testing.T) {
	// Proves which targets pass and why each of the others does not; the phone is told the same of all of them.
	acct, dir := referable().config()
	for _, row := range []struct{ from, to, why string }{
		{"1001", "sip:1002@acme.example", ""}, {"1001", "SIP:200@ACME.example:5060;transport=tcp", ""}, {"200", "sips:300@old.acme.example", ""},
		{"1001", "sip:1003@acme.example?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2&Referred-By=sip:1", ""}, {"1001", "sip:%31002@acme.example", ""},
		{"1001", "sip:1002;x=y@acme.example;user=phone;Method=invite;gr=urn:uuid:1;ob", ""}, {"nobody", "sip:1002@acme.example", ""},
		{"1001", "sip:2002@other.example", "belongs to another account"}, {"1001", "sip:1002@elsewhere.example", "is nobody's"}, {"1001", "sip:4711@acme.example", "may not transfer blindly"},
		{"nobody", "sip:+4930123456@acme.example", "may not transfer blindly"}, {"1005", "sip:+4930123456@acme.example", "no trunk leads outside"},
		{"1005", "sip:+4930123456@acme.example?Replaces=x", "no trunk leads outside"}, {"1001", "sip:+4930123456@acme.example?Replaces=x", "may not transfer blindly"}, {"1001", "sip:zoe@acme.example", "no extension and no user"},
		{"1001", "tel:+4930123456", "no SIP URI"}, {"1001", "", "no SIP URI"}, {"1001", "sip:acme.example", "names nobody"}, {"1001", "sip:a@b@acme.example", "names nobody"},
		{"1001", "sip:@acme.example", "nothing was dialed"}, {"1001", "sip:1002@acme.example;method=BYE", "another method"}, {"1001", "sip:1002@acme.example:0", "no port"},
		{"1001", "sip:1002@acme.example?Subject=x", "wants the header"}, {"1001", "sip:1002@acme.example?X-Sipio-Call=1", "wants the header"}, {"1001", "sip:%zz@acme.example", "no extension and no user"},
		{"1001", "sip:1002@acme.example@other.example", "names nobody"}, {"1001", "sip:10%002@acme.example", "control character"}, {"1001", "sip:" + strings.Repeat("1", 65) + "@acme.example", "longer than"},
		{"1001", "sip:1002@acme.example;maddr=elsewhere.example", "wants the parameter"}, {"1001", "sip:1002@acme.example;%6daddr=elsewhere.example", "wants the parameter"}, {"1001", "sip:1002@acme.example;lr", "wants the parameter"},
		{"1001", "sip:1002@acme.example;", "wants the parameter"}, {"1001", "sip:1002@acme.example;gr=%0ax", "control character"}, {"1001", "sip:1002@acme.example;method", "another method"},
		{"1001", "sip:1002@acme.example?Replaces=a%0d%0aX-Evil:%201", "control character"}, {"1001", "sip:1002@acme.example?Replaces=a%0AX-Evil:%201", "control character"}, {"1001", "sip:1002@acme.example?Replaces=a%7f", "control character"},
		{"1001", "sip:1002@acme.example?Replaces=a@elsewhere.example", "an @"}, {"1001", "sip:1002@acme.example?Replaces=a&replaces=b", "twice"}, {"1001", "sip:1002@acme.example?Referred-By=a&Referred-By=b", "twice"},
		{"1001", "sip:1002@acme.example?Join=a", "wants the header"}, {"1001", "sip:1002@acme.example?Replaces=a&", "wants the header"}, {"1001", "sip:1002@acme.example?%52eplaces=a", "wants the header"},
		{"1001", "sip:1002@acme.example?Replaces=a>,<sip:1@elsewhere.example", "no URI has"}, {"1001", "sip:1002@acme.example?Replaces=a b", "no URI has"}, {"1001", "sip:1002@acme.example?Replaces=\"", "no URI has"},
	} {
		got := Refer(dir, acct, &api.ReferRequest{AccountID: "acc_acme", FromUser: row.from, FromDomain: "acme.example", ReferTo: row.to}, func() (string, string) { return "1001", "1005" })
		switch {
		case row.why == "" && (got.Action != api.ActionAccept || got.AccountID != "acc_acme"):
			t.Errorf("%s to %s: %+v", row.from, row.to, got)
		case row.why != "" && (got.Action != api.ActionReject || got.SIPCode != 603 || got.Reason != Reason(603) || !strings.Contains(got.Why, row.why)):
			t.Errorf("%s to %s: %+v, want %s", row.from, row.to, got, row.why)
		}
	}
	o := referable()
	o.Account.Status = brain.StatusDisabled
	acct, dir = o.config()
	if got := Refer(dir, acct, &api.ReferRequest{FromUser: "1001", ReferTo: "sip:1002@acme.example"}, nil); got.Action != api.ActionReject {
		t.Errorf("of an account that is disabled: %+v", got)
	}
}

// Proves that a number outside is reached by a REFER only of a user who may transfer there and whose call it is, as it was admitted; what
// From says alone opens nothing, and nor does a Replaces. Targets inside ask nobody.
func TestRefer_OutsideOnlyByWhoIsInTheCall(t *testing.T) {
	o := newCompany()
	o.user("1002").AllowPSTNBlindTransfer = true
	acct, dir := o.config()
	for _, c := range []struct {
		name, sender, from, to string
		passes                 bool
	}{
		{"the caller", "1002", "1002", "1003", true}, {"who was called", "1002", "1003", "1002", true}, {"who was called by his extension", "300", "1003", "300", true},
		{"somebody else's call", "1002", "1003", "1001", false}, {"a trunk's call", "1002", "+4940555", "4930100", false}, {"a call that is not known", "1002", "", "", false},
		{"who may not", "1001", "1001", "1002", false}, {"nobody", "", "", "", false},
	} {
		for _, headers := range []string{"", "?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2"} {
			req := &api.ReferRequest{FromUser: c.sender, ReferTo: "sip:+49405551234@acme.example" + headers}
			got := Refer(dir, acct, req, func() (string, string) { return c.from, c.to })
			if (got.Action == api.ActionAccept) != c.passes || !c.passes && !strings.Contains(got.Why, "may not transfer blindly") {
				t.Errorf("%s%s: %+v", c.name, headers, got)
			}
			req.ReferTo = "sip:1003@acme.example"
			if got := Refer(dir, acct, req, func() (string, string) { t.Error("asked about a target inside"); return "", "" }); got.Action != api.ActionAccept {
				t.Errorf("%s, inside: %+v", c.name, got)
			}
		}
	}
	if got := Refer(dir, acct, &api.ReferRequest{FromUser: "1002", ReferTo: "sip:+49405551234@acme.example"}, nil); got.Action != api.ActionReject {
		t.Errorf("without the call: %+v", got)
	}
}

func FuzzRefer(f *testing.F) {
	// Proves that whatever a phone writes is answered, and that what passes names somebody under a domain of the account, and no other
	// method or header, parameter that leads elsewhere, or line of its own.
	for _, seed := range []string{"sip:1002@acme.example", "sips:200@old.acme.example:5061;ob?Replaces=a%3Bb", "sip:1002@acme.example;maddr=x?Replaces=a%0d%0ab&Replaces=@", "sip:1@2@3;method=BYE?a=b&c", "sip:%31%zz@[::1]:99"} {
		f.Add(seed)
	}
	acct, dir := referable().config()
	f.Fuzz(func(t *testing.T, to string) {
		got := Refer(dir, acct, &api.ReferRequest{FromUser: "1001", ReferTo: to}, nil)
		lower := strings.ToLower(to)
		uri, _, _ := strings.Cut(lower, "?")
		_, host, _ := strings.Cut(uri, "@")
		if got.Action == api.ActionAccept && (!strings.Contains(lower, "@acme.example") && !strings.Contains(lower, "@old.acme.example") || strings.Contains(lower, ";method=b") || strings.Contains(lower, "x-sipio") ||
			strings.Contains(host, ";maddr") || strings.ContainsAny(unescape(lower), "\r\n\x00<>") || strings.Count(lower, "@") > 1) {
			t.Errorf("%q passes", to)
		}
		if got.Action != api.ActionAccept && got.SIPCode != 603 {
			t.Errorf("%q: %+v", to, got)
		}
	})
}

func TestRefer_TheTagSaysWhoSends(t *testing.T) {
	// Proves that the side that the edge knows decides who may send somebody outside, whatever the phone writes into From.
	o := newCompany()
	o.user("1002").AllowPSTNBlindTransfer = true
	acct, dir := o.config()
	for _, c := range []struct {
		sender, from string
		want         string
	}{
		{api.ReferCaller, "1002", api.ActionReject}, {api.ReferCallee, "1001", api.ActionAccept}, {api.ReferCallee, "1002", api.ActionAccept},
		{"", "1002", api.ActionAccept}, {"", "1001", api.ActionReject}, {"moon", "1001", api.ActionReject},
	} {
		req := &api.ReferRequest{FromUser: c.from, Sender: c.sender, ReferTo: "sip:+49405551234@acme.example"}
		if got := Refer(dir, acct, req, func() (string, string) { return "1001", "1002" }); got.Action != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

package route

import (
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves what number a call is for that comes to the Contact which we have registered at its trunk: that of P-Called-Party-ID, else of
// To, when it is the account's; that other trunks and other users of the URI mean what they say; and that phones have no say in it.
func TestDecide_ACallToOurContactIsForItsNumber(t *testing.T) {
	for _, c := range []struct {
		name, ruri, party, to, want string
		change                      func(o *office)
	}{
		{name: "To", ruri: "acme", to: "+4930100", want: "4930100"},
		{name: "national To", ruri: "acme", to: "030100", want: "4930100"},
		{name: "P-Called-Party-ID", ruri: "acme", party: "+4930100", to: "+4930999", want: "4930100"},
		{name: "To, as that names nobody of ours", ruri: "acme", party: "acme", to: "+4930100", want: "4930100"},
		{name: "nobody's", ruri: "acme", to: "+4930999"},
		{name: "nothing", ruri: "acme", to: "acme"},
		{name: "from_user", ruri: "line%201", to: "+4930100", want: "4930100", change: func(o *office) { o.way("trk_alpha").FromUser = "line 1" }},
		{name: "from_user is what is registered", ruri: "acme", to: "+4930100", change: func(o *office) { o.way("trk_alpha").FromUser = "line1" }},
		{name: "login with a domain", ruri: "acme", to: "+4930100", want: "4930100", change: func(o *office) { o.way("trk_alpha").AuthUsername = "acme@alpha.example" }},
		{name: "the main number as login, called itself", ruri: "4930100", to: "+49305550", want: "4930100", change: func(o *office) { o.way("trk_alpha").AuthUsername = "4930100" }},
		{name: "does not register", ruri: "acme", to: "+4930100", change: func(o *office) { o.way("trk_alpha").DoRegister = false }},
		{name: "another number", ruri: "+4930999", to: "+4930100"},
	} {
		o := newCompany()
		if c.change != nil {
			c.change(o)
		}
		acct, dir := o.config()
		req, caller := fromTrunk(acct, c.ruri)
		caller.Trunk = acct.Trunks["trk_alpha"]
		req.CalledParty, req.ToUser = c.party, c.to
		d := Decide(dir, caller, req)
		if c.want == "" && d.SIPCode != 404 || c.want != "" && (d.Call == nil || d.Call.To != c.want) {
			t.Errorf("%s:\n%s", c.name, Text(d))
		}
		Meant(&caller, &req)
		if again := req; again != func() api.RouteRequest { Meant(&caller, &again); return again }() {
			t.Errorf("%s: a second time changes it", c.name)
		}
		if _, did := called(acct, req.RURIUser); (did != nil) != (c.want != "") {
			t.Errorf("%s: admission would count %q", c.name, req.RURIUser)
		}
	}
	acct, dir := newCompany().config()
	req, caller := invite("acme", "acme.example"), callerOf(acct, "1001-desk")
	req.CalledParty, req.ToUser = "+4930100", "+4930100"
	if d := Decide(dir, caller, req); d.SIPCode != 404 {
		t.Error(Text(d))
	}
}

package route

import (
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves that a phone is not shown who asks for privacy, by any of the ways in which networks write that, though his number stands in
// From and is asserted; that call lists and flows do not have it either; and that a number which takes no anonymous calls refuses him.
func TestDecide_WhoWithholdsHisNumberIsAnonymous(t *testing.T) {
	for _, c := range []struct {
		from, privacy string
		shown         bool
	}{
		{"+4940555123", "", true}, {"+4940555123", "none", true}, {"+4940555123", "session;critical", true},
		{"+4940555123", "id", false}, {"+4940555123", "user", false}, {"+4940555123", "header", false}, {"+4940555123", "user; ID", false},
		{"anonymous", "", false}, {"anonymous", "id", false},
	} {
		for _, allowed := range []bool{true, false} {
			o := newCompany()
			for i := range o.DIDs {
				o.DIDs[i].AllowAnonymous = allowed
			}
			acct, dir := o.config()
			req, caller := fromTrunk(acct, "+4930100")
			req.FromUser, req.FromName, req.Asserted, req.Privacy = c.from, "Carl Caller", "+4940555123", c.privacy
			d := Decide(dir, caller, req)
			switch {
			case !c.shown && !allowed:
				if d.SIPCode != 433 {
					t.Errorf("%+v, refused:\n%s", c, Text(d))
				}
				continue
			case d.Action != api.ActionProxy:
				t.Fatalf("%+v:\n%s", c, Text(d))
			}
			if vars := (&plan{acct: acct, caller: caller, req: &req}).handed(); (vars["caller_name"] == "Carl Caller" && vars["caller_number"] != "") != c.shown {
				t.Errorf("%+v: a flow knows %v", c, vars)
			}
			from, list := d.Routes[0].Headers.From, d.Call.From
			if hidden := from.URI == "sip:anonymous@anonymous.invalid" && from.Display == `"Anonymous"` && list == "anonymous"; hidden == c.shown {
				t.Errorf("%+v: %+v, %s", c, from, list)
			}
		}
	}
}

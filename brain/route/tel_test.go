package route

import (
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves that a request whose URI has no domain, as tel: has none, is for the phone's own account; and that one of help needs neither a
// domain nor a number.
func TestDecide_ANumberWithoutADomainIsDialedInThePhonesOwn(t *testing.T) {
	for _, c := range []struct{ ruri, user, to string }{
		{"tel:+49-40-555-1234", "+49-40-555-1234", "49405551234"}, {"tel:1002;phone-context=acme.example", "1002", "1002"}, {"tel:+112", "+112", "112"},
		{"urn:service:sos", "service", "112"}, {"URN:service:sos.ambulance", "", "112"}, {"tel:", "", ""}, {"urn:service:directory", "service", ""},
	} {
		acct, dir := newCompany().config()
		req := invite(c.user, "")
		req.RURI = c.ruri
		d := Decide(dir, callerOf(acct, "1001-desk"), req)
		if c.to == "" && (d.Action != api.ActionReject || d.SIPCode != 404) || c.to != "" && (d.Call == nil || d.Call.To != c.to) {
			t.Errorf("%s:\n%s", c.ruri, Text(d))
		}
	}
}

package route

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// What became of the Identity of a call from outside is told to the edge, to operators and to the flow that answers; of a call
// where nobody looked nothing is said.
func TestDecide_SaysWhatBecameOfTheCallersIdentity(t *testing.T) {
	acct, _ := newPlatform().config()
	req := api.RouteRequest{FromUser: "+493099", RURIUser: "+4930100", Peer: api.PeerTrunk}
	for _, c := range []struct{ verstat, attest, stirWhy, say string }{
		{"TN-Validation-Passed", "A", "", "; caller TN-Validation-Passed, A"},
		{"TN-Validation-Failed", "", "iat_stale: 90 s", "; caller TN-Validation-Failed, iat_stale: 90 s"},
		{"", "", "", ""},
	} {
		d := Decide(nil, Caller{Account: acct, Trunk: acct.Trunks["trk_carrier"], Verstat: c.verstat, Attest: c.attest, StirWhy: c.stirWhy}, req)
		if d.Call == nil || d.Call.Verstat != c.verstat || d.Call.Attestation != c.attest || !strings.HasSuffix(d.Why, c.say) || c.say == "" && strings.Contains(d.Why, "; caller") {
			t.Fatalf("%+v, %s", d.Call, d.Why)
		}
		raw, err := base64.RawURLEncoding.DecodeString(d.Routes[0].Vars)
		if err != nil {
			t.Fatal(err)
		}
		vars, err := url.ParseQuery(string(raw))
		if err != nil || vars.Get("caller_verstat") != c.verstat || vars.Get("caller_attest") != c.attest {
			t.Errorf("the flow is told %v, %v", vars, err)
		}
	}
}

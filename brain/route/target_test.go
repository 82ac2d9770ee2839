package route

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// Proves where an attempt goes that has several targets: to each in turn, four at most, and so many as the trunk's time is enough for,
// which they share; the time of all together is never more than that. What cannot be a target is left out.
func TestOver_TargetsShareTheTimeOfTheAttempt(t *testing.T) {
	for _, c := range []struct {
		via      string
		silentMS int
		dst      string
		next     string
		each     int
	}{
		{"", 4000, "", "", 4000},
		{"trk_other=192.0.2.1:5060", 4000, "", "", 4000},
		{"trk_beta=192.0.2.1:5070", 4000, "sip:192.0.2.1:5070;transport=tcp", "", 4000},
		{"trk_other=192.0.2.9:1|192.0.2.8:1,trk_beta=192.0.2.1:5070|192.0.2.2:5070", 4000, "sip:192.0.2.1:5070;transport=tcp", "sip:192.0.2.2:5070;transport=tcp", 2000},
		{"trk_beta=1.1.1.1:1|2.2.2.2:2|3.3.3.3:3|4.4.4.4:4|5.5.5.5:5", 4000, "sip:1.1.1.1:1;transport=tcp",
			"sip:2.2.2.2:2;transport=tcp|sip:3.3.3.3:3;transport=tcp|sip:4.4.4.4:4;transport=tcp", 1000},
		{"trk_beta=1.1.1.1:1|2.2.2.2:2|3.3.3.3:3", 1200, "sip:1.1.1.1:1;transport=tcp", "sip:2.2.2.2:2;transport=tcp", 600},
		{"trk_beta=1.1.1.1:1|2.2.2.2:2", 300, "sip:1.1.1.1:1;transport=tcp", "", 300},
		{"trk_beta=1.1.1.1:1|a;b|<x>||[2001:db8::1]:5060", 4000, "sip:1.1.1.1:1;transport=tcp", "sip:[2001:db8::1]:5060;transport=tcp", 2000},
	} {
		t.Run(fmt.Sprint(c.via, c.silentMS), func(t *testing.T) {
			o := newCompany()
			o.way("trk_alpha").Direction, o.way("trk_beta").SilentMS = "inbound", c.silentMS
			acct, dir := o.config()
			req := invite("0405551234", "acme.example")
			req.Via = c.via
			d := Decide(dir, callerOf(acct, "1001-desk"), req)
			if d.Action != api.ActionProxy {
				t.Fatal(Text(d))
			}
			got := d.Routes[0].Trunk
			if got.DstURI != c.dst || got.Next != c.next || got.FrTimer != c.each {
				t.Errorf("to %q, then %q, %d ms each; want %q, %q, %d", got.DstURI, got.Next, got.FrTimer, c.dst, c.next, c.each)
			}
			if d.Routes[0].URI != "sip:0405551234@beta.example:5070;transport=tcp" {
				t.Errorf("called as %s", d.Routes[0].URI)
			}
		})
	}
}

// Proves that a trunk whose name leads nowhere is passed over, with the reason said, and that the call ends when there is no other.
func TestOver_PassesANameThatLeadsNowhere(t *testing.T) {
	o := newCompany()
	acct, dir := o.config()
	req := invite("0405551234", "acme.example")
	req.Via = "trk_alpha="
	d := Decide(dir, callerOf(acct, "1001-desk"), req)
	if d.Action != api.ActionProxy || d.Routes[0].Trunk.ID != "trk_beta" || !strings.Contains(d.Why, "Alpha has a name that is not resolved") {
		t.Errorf("%s", Text(d))
	}
	req.Via = "trk_alpha=,trk_beta="
	if d = Decide(dir, callerOf(acct, "1001-desk"), req); d.Action != api.ActionReject || d.SIPCode != 503 {
		t.Errorf("%s", Text(d))
	}
}

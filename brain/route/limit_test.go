package route

import (
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// Proves that a user's limit of calls out counts each way in which he calls outside: from his phone, by the media server's leg of a
// call of his that it records, and by sending a caller there; and no call of another.
func TestNeeds_AUsersLimitCountsEveryWayOut(t *testing.T) {
	for name, c := range map[string]struct {
		dial, callerID string // of a leg; "" = the phone
		windows        int
	}{
		"phone":                           {"", "", 1},
		"leg of a call of his":            {"pstn/+49405551234", "us_1001", 1},
		"leg of another's call":           {"pstn/+49405551234", "us_1002", 0},
		"leg of a call from outside":      {"pstn/+49405551234", "", 0},
		"transfer by him":                 {"transfer/us_1001/+49405551234", "", 1},
		"transfer of his call by another": {"transfer/us_1002/+49405551234", "us_1001", 0},
	} {
		o := newCompany()
		o.user("1001").AllowPSTNBlindTransfer, o.user("1002").AllowPSTNBlindTransfer = true, true
		acct, dir := o.config()
		acct.Limits = []*brain.CallLimit{{ID: "lim_alice", ScopeKind: brain.LimitUser, ScopeID: "us_1001", Direction: brain.DirectionOut, PeriodSec: 3600, MaxCount: 3, Hard: true}}
		req, caller := invite("0405551234", "acme.example"), callerOf(acct, "1001-desk")
		if c.dial != "" {
			req, caller = fromMedia(acct, c.dial)
			req.CallerUserID = c.callerID
		}
		d := Decide(dir, caller, req)
		if d.Action != api.ActionProxy || Leaving(acct, &d) == nil {
			t.Errorf("%s: %s", name, Text(d))
			continue
		}
		if _, windows := Needs(&caller, Callee(caller, &req), &req, &d); counted(windows) != c.windows {
			t.Errorf("%s: counts in %+v", name, windows)
		}
	}
}

func counted(windows []cac.Window) (n int) {
	for _, w := range windows {
		if w.Kind == cac.Limit {
			n++
		}
	}
	return n
}

// Proves that a question about a call for help is one only for a number that calls for help.
func TestDecide_ACallForHelpGoesOnToNumbersForHelpAlone(t *testing.T) {
	acct, dir := newCompany().config()
	caller := callerOf(acct, "1001-desk")
	for at, help := range map[string]bool{"emergency/112": true, "emergency/09001234": false, "emergency/0900": false, "emergency/": false, "emergency/1 12": false} {
		req := invite("0405551234", "acme.example")
		req.At = at
		d := Decide(dir, caller, req)
		if Emergency(&caller, &req) != help || (Leaving(acct, &d) != nil) != help || !help && d.SIPCode != 404 {
			t.Errorf("%s: %s", at, Text(d))
		}
	}
}

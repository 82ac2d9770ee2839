package route

import (
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// resold is a directory in which the office has resellers above it.
type resold struct {
	brain.Directory
	above map[string]*brain.AccountConfig
}

func (d resold) ByAccount(id string) *brain.AccountConfig { return d.above[id] }

// Proves that a route of an account above blocks the numbers of the one account that it names, while it is in use and by the hours of
// its own account, whatever longer prefix the account itself has, and by every way out; and that nobody is kept from calling for help.
func TestDecide_AResellersRouteBlocksTheAccountItNames(t *testing.T) {
	const hamburg = "0405551234"
	night := []brain.ScheduleRule{{Kind: "weekly", DOW: 1, StartTime: "20:00", EndTime: "23:59"}}
	for _, c := range []struct {
		name  string
		route brain.OutboundRoute
		owner string // of the route: the reseller, or who is above him
		dial  string
		set   func(o *office, r *api.RouteRequest, c *Caller)
		code  int
	}{
		{name: "its number", route: brain.OutboundRoute{MatchPrefix: "4940", CallerAccount: "acc_acme", Blocked: true}, dial: hamburg, code: 403},
		{name: "every number", route: brain.OutboundRoute{CallerAccount: "acc_acme", Blocked: true}, dial: hamburg, code: 403},
		{name: "of him above the reseller", owner: "acc_top", route: brain.OutboundRoute{MatchPrefix: "49", CallerAccount: "acc_acme", Blocked: true}, dial: hamburg, code: 403},
		{name: "a shorter prefix than the account's own", route: brain.OutboundRoute{MatchPrefix: "499", CallerAccount: "acc_acme", Blocked: true}, dial: "09001123456", code: 403},
		{name: "another number", route: brain.OutboundRoute{MatchPrefix: "4930", CallerAccount: "acc_acme", Blocked: true}, dial: hamburg},
		{name: "another account's", route: brain.OutboundRoute{CallerAccount: "acc_other", Blocked: true}, dial: hamburg},
		{name: "the reseller's own", route: brain.OutboundRoute{Blocked: true}, dial: hamburg},
		{name: "disabled", route: brain.OutboundRoute{CallerAccount: "acc_acme", Blocked: true, Status: brain.StatusDisabled}, dial: hamburg},
		{name: "within its hours", route: brain.OutboundRoute{CallerAccount: "acc_acme", Blocked: true, ScheduleID: "sch_night"}, dial: hamburg,
			set: func(_ *office, _ *api.RouteRequest, c *Caller) { c.NowMS = berlin("2026-11-23 22:00") }, code: 403},
		{name: "out of its hours", route: brain.OutboundRoute{CallerAccount: "acc_acme", Blocked: true, ScheduleID: "sch_night"}, dial: hamburg},
		{name: "help", route: brain.OutboundRoute{CallerAccount: "acc_acme", Blocked: true}, dial: "112"},
		{name: "a forward", route: brain.OutboundRoute{MatchPrefix: "4940", CallerAccount: "acc_acme", Blocked: true}, dial: "1002",
			set: func(o *office, _ *api.RouteRequest, _ *Caller) { always(o.user("1002"), "forward fwd_work") }, code: 403},
		{name: "the next trunk", route: brain.OutboundRoute{MatchPrefix: "4940", CallerAccount: "acc_acme", Blocked: true}, dial: hamburg,
			set: func(_ *office, r *api.RouteRequest, _ *Caller) {
				r.At, r.Trunk, r.Tried, r.FailedCode = "number/+49405551234", "trk_alpha", "trk_alpha", 503
			}, code: 403},
		{name: "a carrier by name", route: brain.OutboundRoute{MatchPrefix: "49", CallerAccount: "acc_acme", Blocked: true}, dial: "+4930100",
			set: func(o *office, _ *api.RouteRequest, _ *Caller) {
				o.leads("trunk trk_beta")
			}, code: 403},
	} {
		o := newCompany()
		o.Account.ParentID = &[]string{"acc_mid"}[0]
		r, caller := invite(c.dial, "acme.example"), Caller{}
		if c.set != nil {
			c.set(o, &r, &caller)
		}
		acct, dir := o.config()
		now := caller.NowMS
		if caller = callerOf(acct, "1001-desk"); c.name == "a carrier by name" {
			r, caller = fromTrunk(acct, c.dial)
		}
		caller.NowMS = now
		above := resold{dir, map[string]*brain.AccountConfig{}}
		for _, id := range []string{"acc_mid", "acc_top"} {
			rows := brain.AccountRows{Account: brain.Account{ID: id, Name: id, Timezone: "Europe/Berlin"}, Schedules: []brain.TimeSchedule{{ID: "sch_night", Rules: night}}}
			if id == "acc_mid" {
				rows.Account.ParentID = &[]string{"acc_top"}[0]
			}
			if id == c.owner || c.owner == "" && id == "acc_mid" {
				rows.Routes = []brain.OutboundRoute{c.route}
			}
			above.above[id] = brain.NewAccountConfig(1, rows)
			above.above[id].Zones = map[string]*time.Location{"Europe/Berlin": berlinZone()}
		}
		d := Decide(above, caller, r)
		if c.code == 0 && d.Action != api.ActionProxy || c.code != 0 && (d.SIPCode != c.code || !strings.Contains(d.Why, "of account acc_")) {
			t.Errorf("%s:\n%s", c.name, Text(d))
		}
	}
}

package route

import (
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// How often a call has been sent on is what its Diversions say, counters included, or its History-Info when that is more: the edge has
// counted both together, and the first entry of History-Info is no diversion.
func TestDiversions_CountersAreBelieved(t *testing.T) {
	for _, c := range []struct {
		diversion     string
		counted, want int
	}{
		{"", 0, 0},
		{"", 3, 2},
		{"", 1, 0},
		{"<sip:1@a.test>, <sip:2@a.test>", 5, 2},
		{"<sip:1@a.test>", 5, 3},
		{"<sip:1@a.test>", 1, 1},
		{"<sip:1@a.test>;reason=no-answer;counter=4", 3, 4},
		{"<sip:1@a.test>,<sip:2@a.test>;Counter = 3;privacy=off, <sip:3@a.test>;counter=1", 3, 5},
		{"<sip:1@a.test>;counter=-7", 1, 1},
		{"<sip:1@a.test>;counter=100", 1, 1},
		{"<sip:1@a.test>;counter=x;counter", 1, 1},
	} {
		p := plan{caller: Caller{Trunk: &brain.SIPTrunk{}}, req: &api.RouteRequest{Diversion: c.diversion, Diverted: c.counted}}
		if got := p.diversions(); got != c.want {
			t.Errorf("%q, counted %d: %d, want %d", c.diversion, c.counted, got, c.want)
		}
		if p.caller.Trunk = nil; p.diversions() != 0 {
			t.Errorf("%q is believed of a phone", c.diversion)
		}
	}
}

// A display name is the same whether the edge has taken its quotes off or not.
func TestUnquote_WithAndWithoutQuotes(t *testing.T) {
	for name, want := range map[string]string{
		``: ``, `"`: `"`, `""`: ``, `Bob`: `Bob`, `"Bob"`: `Bob`, `a \"b\" \\`: `a "b" \`, `"a \"b\" \\"`: `a "b" \`, `trailing\`: `trailing\`, `"x\"`: `x\`,
	} {
		if got := unquote(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A forward calls a number of the account that leads back to it though a ring group or a user stands between, when those ring nobody now.
func TestLeadsBack_PastGroupsAndUsersWhoRingNobody(t *testing.T) {
	for name, c := range map[string]struct {
		leads  string
		change func(o *office)
		back   bool
	}{
		"a group that rings":             {"ring_group rg_sales", func(*office) {}, false},
		"a group whose members are away": {"ring_group rg_sales", func(o *office) { o.user("1002").DND, o.user("1003").Status = true, brain.StatusDisabled }, true},
		"a group that is closed": {"ring_group rg_sales", func(o *office) {
			o.sales().ScheduleID = "sch_hours"
		}, true},
		"a group in a user's forward": {"user us_1001", func(o *office) {
			always(o.user("1001"), "ring_group rg_sales")
			o.user("1002").DND, o.user("1003").DND = true, true
		}, true},
		"a user who is not to be disturbed": {"user us_1001", func(o *office) { o.user("1001").DND = true; busy(o.user("1001"), "forward fwd_work") }, true},
		"a user without a phone":            {"user us_1004", func(o *office) { noanswer(o.user("1004"), "forward fwd_work") }, true},
		"a user whose phone rings":          {"user us_1002", func(o *office) { noanswer(o.user("1002"), "forward fwd_work") }, false},
		"a user who is disabled": {"user us_1001", func(o *office) {
			always(o.user("1001"), "forward fwd_work")
			o.user("1001").Status = brain.StatusDisabled
		}, false},
	} {
		o := newCompany()
		o.forward("fwd_work").Number = "+4930100"
		overflow(o.sales(), "forward fwd_work")
		o.leads(c.leads)
		c.change(o)
		acct, _ := o.config()
		p := plan{acct: acct, caller: Caller{Account: acct, NowMS: berlin("2026-11-23 22:00")}, req: &api.RouteRequest{}}
		if why := p.leadsBack(acct.Forwards["fwd_work"], "4930100"); (why != "") != c.back {
			t.Errorf("%s: %q", name, why)
		}
	}
}

package route

import (
	"cmp"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/balance"
)

// Proves that least_cost goes by the trunks' own price lists where they have one: by the longest prefix, at the time of the call, with connect
// fee and intervals; that a trunk without one counts with cost_micros of the route; that one whose list has no price, or cannot be read, comes
// last and is still there; and that other strategies, and calls for help, ask no price list.
func TestOutbound_LeastCostByThePricesOfTrunks(t *testing.T) {
	prices := map[string]*balance.Plan{}
	rate := func(prefix string, connect, minute int64, first int32, from int64) balance.Rate {
		return balance.Rate{Prefix: prefix, Terms: balance.Terms{ConnectMicros: connect, PerMinuteMicros: minute, FirstSec: first, NextSec: first}, EffectiveFrom: from}
	}
	for name, rates := range map[string][]balance.Rate{
		"alpha": {rate("44", 0, 100, 60, 0), rate("4420", 0, 900, 60, 0), rate("4420", 0, 300, 60, 2_000_000_000)},
		"beta":  {rate("44", 0, 500, 60, 0), rate("4479", 0, 10, 600, 0), rate("4478", 450, 10, 60, 0)},
	} {
		plan, err := balance.NewPlan("EUR", rates)
		if err != nil {
			t.Fatal(err)
		}
		prices[name] = plan
	}
	for _, c := range []struct {
		name, dial, alpha, beta string // the price lists they name
		at                      int64
		strategy                string
		want                    string
		why                     string
	}{
		{name: "a short prefix", dial: "+44161", alpha: "alpha", beta: "beta", want: "trk_alpha trk_beta", why: "(Alpha 0.0001, Beta 0.0005)"},
		{name: "a longer one costs more", dial: "+4420", alpha: "alpha", beta: "beta", want: "trk_beta trk_alpha"},
		{name: "until a new price holds", dial: "+4420", alpha: "alpha", beta: "beta", at: 2_000_000_001, want: "trk_alpha trk_beta"},
		{name: "ten minutes at least", dial: "+4479", alpha: "alpha", beta: "beta", want: "trk_alpha trk_beta", why: "Beta 0.0001"},
		{name: "a fee to connect", dial: "+4478", alpha: "alpha", beta: "beta", want: "trk_alpha trk_beta", why: "Beta 0.00046"},
		{name: "the route's cost", dial: "+44161", beta: "beta", want: "trk_beta trk_alpha"},
		{name: "cannot be read", dial: "+44161", alpha: "lost", beta: "beta", want: "trk_beta trk_alpha", why: "Alpha plan lost cannot be read now"},
		{name: "neither", dial: "+44161", alpha: "lost", beta: "lost", want: "trk_alpha trk_beta"},
		{name: "another strategy", dial: "+4420", alpha: "alpha", beta: "beta", strategy: "priority", want: "trk_alpha trk_beta"},
	} {
		req, caller, dir := outFrom(c.dial+"5551234", func(o *office) {
			o.way("trk_alpha").CostPlan, o.way("trk_beta").CostPlan = c.alpha, c.beta
			o.wayOut("uk").ScheduleID = ""
			o.wayOut("uk").Strategy = cmp.Or(c.strategy, "least_cost")
			o.wayOut("uk").Trunks = []brain.OutboundChoice{{TrunkID: "trk_alpha", Priority: 1, CostMicros: 700}, {TrunkID: "trk_beta", Priority: 2, CostMicros: 600}}
		})
		asked := ""
		caller.NowMS = max(c.at, 1_800_000_000) * 1000
		caller.Prices = func(account, name string) *balance.Plan { asked = account; return prices[name] }
		got, why := "", ""
		for range 2 {
			d := Decide(dir, caller, req)
			if why == "" {
				why = d.Why
			}
			if len(d.Routes) == 0 {
				t.Fatalf("%s: %s", c.name, d.Why)
			}
			id := d.Routes[0].Trunk.ID
			got += " " + id
			caller.Full = append(caller.Full, id)
		}
		if got[1:] != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s, want %s with %q\n%s", c.name, got[1:], c.want, c.why, why)
		}
		if wanted := c.strategy == ""; (asked == caller.Account.Account.ID) != wanted {
			t.Errorf("%s: asked of account %q", c.name, asked)
		}
	}
	req, caller, dir := outFrom("112", func(o *office) {
		o.way("trk_beta").CostPlan = "beta"
		o.wayOut("help").Strategy = "least_cost"
	})
	caller.Prices = func(string, string) *balance.Plan { t.Error("a call for help asks what it costs"); return nil }
	if d := Decide(dir, caller, req); len(d.Routes) == 0 {
		t.Error(d.Why)
	}
}

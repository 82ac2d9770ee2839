package route

import (
	"math"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/balance"
)

// noPrice ranks a trunk behind all whose price is known: its carrier may not sell the number at all.
const noPrice = math.MaxInt64

// cost is what a minute to a number over a trunk of a route counts for by least_cost: the price of a talk of that length by the trunk's
// price list, connect fee and intervals included, else what the route says. said is that for operators, "" when no price
// list is asked, as for calls for help, whose number is "".
func (p *plan) cost(t *brain.SIPTrunk, c *brain.OutboundChoice, number string) (micros int64, said string) {
	if t.CostPlan == "" || number == "" {
		return c.CostMicros, ""
	}
	var prices *balance.Plan
	if p.caller.Prices != nil {
		prices = p.caller.Prices(p.acct.Account.ID, t.CostPlan)
	}
	if prices == nil {
		return noPrice, "plan " + t.CostPlan + " cannot be read now"
	}
	rate, ok := prices.Lookup(number, p.caller.NowMS/1000)
	if !ok {
		return noPrice, "plan " + t.CostPlan + " has no price"
	}
	micros = rate.Charge(minuteMS)
	return micros, balance.FormatMicros(micros)
}

const minuteMS = 60_000

// separated is what stands between a list and its next entry.
func separated(list string) string {
	if list == "" {
		return ""
	}
	return ", "
}

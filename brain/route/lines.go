package route

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/lcr"
	"github.com/sipio/sipio/brain/number"
	"github.com/sipio/sipio/brain/schedule"
)

// lines are the trunks for a call, in the order in which they are tried, and why it is these; with a code there are none. Those
// that do not answer the node come last: it may be wrong.
func (p *plan) lines(o *outward) (list []line, code int, why string) {
	switch o.kind {
	case destEmergency:
		list, why = p.linesForHelp(o.number)
	case brain.DestTrunk:
		list, code, why = p.lineTo(o)
	default:
		list, code, why = p.linesFor(o.number)
	}
	if code != 0 {
		return nil, code, why
	}
	list = distinct(list)
	slices.SortStableFunc(list, func(a, b line) int { return cmp.Compare(p.rank(a.trunk), p.rank(b.trunk)) })
	return list[:min(len(list), maxLines)], 0, why
}

// rank is 1 for a trunk that does not answer the node.
func (p *plan) rank(t *brain.SIPTrunk) int {
	if listed(p.req.Down, t.ID) {
		return 1
	}
	return 0
}

// linesFor are the trunks for a number.
func (p *plan) linesFor(e164 string) (list []line, code int, why string) {
	if why = p.uncallable(e164); why != "" {
		return nil, 403, why
	}
	r := p.matched(e164)
	switch {
	case r == nil:
		if list = p.wholesale(nil); len(list) == 0 {
			return nil, 404, "no outbound_route takes it, and there is no trunk of a wholesale carrier"
		}
		return list, 0, "no outbound_route takes it, wholesale carrier"
	case r.Blocked:
		return nil, 403, "outbound_route " + r.Name + " blocks " + cmp.Or(r.MatchPrefix, "every number")
	}
	list, costs := p.linesOf(nil, r, e164)
	why = "outbound_route " + r.Name + " by " + r.Strategy + costs
	if len(list) == 0 {
		return nil, 503, why + ", and none of its trunks carries calls to outside"
	}
	return list, 0, why
}

// uncallable says why the account may not call a number, whatever its own routes say, "" when it may.
func (p *plan) uncallable(e164 string) string {
	return cmp.Or(uncallable(&p.acct.Account, e164), p.barredAbove(e164))
}

// maxResellers bounds the accounts above one; the store takes no longer chain.
const maxResellers = 8

// barredAbove says which route of an account above this one blocks a number for it, "" when none does.
func (p *plan) barredAbove(e164 string) string {
	above := p.acct
	for range maxResellers {
		if p.dir == nil || above.Account.ParentID == nil {
			return ""
		}
		if above = p.dir.ByAccount(*above.Account.ParentID); above == nil {
			return ""
		}
		hours := plan{acct: above, caller: p.caller}
		for _, r := range above.RoutesByCaller[p.acct.Account.ID] {
			if r.Blocked && r.Status != brain.StatusDisabled && strings.HasPrefix(e164, r.MatchPrefix) && hours.state(r.ScheduleID) == schedule.Open {
				return "outbound_route " + r.Name + " of account " + above.Account.Name + " blocks " + cmp.Or(r.MatchPrefix, "every number")
			}
		}
	}
	return ""
}

// uncallable says why an account may not call a number, by the country that it belongs to, "" when it may. Every call to outside passes
// here, by whatever way it goes; calls for help do not.
func uncallable(a *brain.Account, e164 string) string {
	region := number.Region(e164)
	switch {
	case slices.Contains(a.OutboundCountries, region):
		return ""
	case region != brain.NoCountry && slices.Contains(a.OutboundCountries, brain.AnyCountry):
		return ""
	case len(a.OutboundCountries) == 0 && a.Country != "" && region == a.Country:
		return ""
	}
	why := "a number of " + cmp.Or(region, "no country") + " is not called: "
	if region == brain.NoCountry {
		why = "a number of a satellite or a network of no country (" + region + ") is not called: "
	}
	if len(a.OutboundCountries) > 0 {
		return why + "outbound_countries of the account are " + strings.Join(a.OutboundCountries[:min(len(a.OutboundCountries), maxNamed)], " ")
	}
	return why + "the account has no outbound_countries, and its own country is " + cmp.Or(a.Country, "not set")
}

// maxNamed bounds the countries of a reason.
const maxNamed = 16

// matched is the route that takes a number now: the one with the longest prefix; of those with the same prefix one that blocks,
// else the first by name. nil: none.
func (p *plan) matched(e164 string) *brain.OutboundRoute {
	for n := min(len(e164), lcr.MaxDigits); n >= 0; n-- {
		var found *brain.OutboundRoute
		for _, r := range p.acct.RoutesByPrefix[e164[:n]] {
			switch {
			case r.Status == brain.StatusDisabled || p.state(r.ScheduleID) != schedule.Open:
			case r.Blocked:
				return r
			case found == nil:
				found = r
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// linesOf appends the trunks of a route that carry calls to outside, in the order of its strategy. number is what prices are looked up for, ""
// for none; costs are those that were, for operators.
func (p *plan) linesOf(list []line, r *brain.OutboundRoute, number string) (lines []line, costs string) {
	trunks, choices := make([]*brain.SIPTrunk, 0, len(r.Trunks)), make([]lcr.Choice, 0, len(r.Trunks))
	for i := range r.Trunks {
		c := &r.Trunks[i]
		t := p.acct.Trunks[c.TrunkID]
		if t == nil || !t.Out() {
			continue
		}
		choice := lcr.Choice{Priority: c.Priority, Weight: uint32(max(0, c.Weight))}
		if lcr.Strategy(r.Strategy) == lcr.LeastCost {
			micros, said := p.cost(t, c, number)
			if said != "" {
				costs += separated(costs) + t.Name + " " + said
			}
			choice.CostMicros = micros
		}
		trunks, choices = append(trunks, t), append(choices, choice)
	}
	for _, i := range lcr.Order(nil, lcr.Strategy(r.Strategy), choices, lcr.Draw(p.req.Token())) {
		list = append(list, line{trunks[i], r})
	}
	if costs != "" {
		costs = " (" + costs + ")"
	}
	return list, costs
}

// wholesale appends the trunks of a wholesale carrier, by name.
func (p *plan) wholesale(list []line) []line {
	begin := len(list)
	for _, id := range slices.Sorted(maps.Keys(p.acct.Trunks)) {
		if t := p.acct.Trunks[id]; t.Provider == brain.ProviderCarrier && t.Out() {
			list = append(list, line{trunk: t})
		}
	}
	slices.SortStableFunc(list[begin:], func(a, b line) int { return cmp.Compare(a.trunk.Name, b.trunk.Name) })
	return list
}

// distinct keeps the first line of each trunk.
func distinct(list []line) []line {
	kept := list[:0]
	for _, l := range list {
		if !slices.ContainsFunc(kept, func(k line) bool { return k.trunk == l.trunk }) {
			kept = append(kept, l)
		}
	}
	return kept
}

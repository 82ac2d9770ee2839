package route

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/lcr"
	"github.com/sipio/sipio/brain/schedule"
)

// lines are the trunks for a call, in the order in which they are tried, and why it is these; with a code there are none. Those
// that do not answer the node come last: it may be wrong.
func (p *plan) lines(o *outward) (list []line, code int, why string) {
	if o.kind == destEmergency {
		list, why = p.linesForHelp(o.number)
	} else {
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
	why = "outbound_route " + r.Name + " by " + r.Strategy
	if list = p.linesOf(nil, r); len(list) == 0 {
		return nil, 503, why + ", and none of its trunks carries calls to outside"
	}
	return list, 0, why
}

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

// linesOf appends the trunks of a route that carry calls to outside, in the order of its strategy.
func (p *plan) linesOf(list []line, r *brain.OutboundRoute) []line {
	trunks, choices := make([]*brain.SIPTrunk, 0, len(r.Trunks)), make([]lcr.Choice, 0, len(r.Trunks))
	for _, c := range r.Trunks {
		if t := p.acct.Trunks[c.TrunkID]; t != nil && t.Out() {
			trunks = append(trunks, t)
			choices = append(choices, lcr.Choice{Priority: c.Priority, Weight: uint32(max(0, c.Weight)), CostMicros: c.CostMicros})
		}
	}
	for _, i := range lcr.Order(nil, lcr.Strategy(r.Strategy), choices, lcr.Draw(p.req.Token())) {
		list = append(list, line{trunks[i], r})
	}
	return list
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

package endpoint

import "sync/atomic"

// counter names one of the things an operator can see counted in /health.
type counter int

const (
	countAuthAccepted counter = iota
	countAuthRefused
	countRouteProxied
	countRouteRefused
	countEventsTaken
	countEventsBad
	countBadTooLarge
	countBadSlow
	countBadBroken
	countBadEncoding
	countBadControl
	countBadUnknownField
	countBadDuplicate
	countBadType
	countBadTooLong
	countBadSyntax
	countBadMethod
	countBadContentType
	countRefusedAddress
	countRefusedNoKey
	countRefusedScope
	countUnavailable
	countFaults
	countSurvivalAccepted
	countSurvivalRefused
	countRefusedNode
	countersEnd
)

// counterNames are the keys in /health. Past releases' dashboards read them: never rename one.
var counterNames = [countersEnd]string{
	countAuthAccepted:    "auth_accepted",
	countAuthRefused:     "auth_refused",
	countRouteProxied:    "route_proxied",
	countRouteRefused:    "route_refused",
	countEventsTaken:     "events_batches_taken",
	countEventsBad:       "events_dropped_bad",
	countBadTooLarge:     "bad_input_too_large",
	countBadSlow:         "bad_input_slow",
	countBadBroken:       "bad_input_broken_off",
	countBadEncoding:     "bad_input_encoding",
	countBadControl:      "bad_input_control_character",
	countBadUnknownField: "bad_input_unknown_field",
	countBadDuplicate:    "bad_input_duplicate_field",
	countBadType:         "bad_input_wrong_type",
	countBadTooLong:      "bad_input_field_too_long",
	countBadSyntax:       "bad_input_syntax",
	countBadMethod:       "bad_input_method",
	countBadContentType:  "bad_input_content_type",
	countRefusedAddress:  "refused_address",
	countRefusedNoKey:    "refused_no_key",
	countRefusedScope:    "refused_scope",
	countRefusedNode:     "refused_node",
	countUnavailable:     "unavailable",
	countFaults:          "faults",

	countSurvivalAccepted: "survival_accepted",
	countSurvivalRefused:  "survival_refused",
}

// counts are totals since the process began.
type counts [countersEnd]atomic.Int64

func (c *counts) add(which counter) { c[which].Add(1) }

// all returns the totals by name.
func (c *counts) all() map[string]int64 {
	m := make(map[string]int64, len(c))
	for i := range c {
		m[counterNames[i]] = c[i].Load()
	}
	return m
}

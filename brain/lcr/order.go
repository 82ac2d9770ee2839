package lcr

import (
	"cmp"
	"math/bits"
	"slices"
)

// Strategy says in which order the trunks of a route are tried.
type Strategy string

const (
	Priority  Strategy = "priority"   // the lowest priority first; equal ones share the calls by weight
	Weight    Strategy = "weight"     // all share the calls by weight, whatever their priority
	LeastCost Strategy = "least_cost" // the cheapest first; equal costs as by Priority
)

// Choice is what a route says of one of its trunks. Weight is its share of the calls among its equals, as in SRV records
// (RFC 2782): one of 3 is first three times as often as one of 1. One of 0 comes after all that have a weight.
type Choice struct {
	Priority   int
	Weight     uint32
	CostMicros int64 // micro-units of the account's currency a minute
}

// Draw is the luck of a call: the same token gives the same order every time it is asked, on every node.
func Draw(token string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a; mix spreads what differs in the last byte only
	for i := range len(token) {
		h = (h ^ uint64(token[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Order adds to dst the indexes of all choices in the order in which their trunks are tried. Equals without a weight
// stay in the order of the list, and so does everything by a strategy that is none. It takes time in proportion to the
// square of the choices, which the configuration bounds, and allocates only when dst has no room.
func Order(dst []int, strategy Strategy, choices []Choice, draw uint64) []int {
	begin := len(dst)
	for i := range choices {
		dst = append(dst, i)
	}
	order := dst[begin:]
	compare := ranking(strategy)
	if compare == nil {
		return dst
	}
	slices.SortStableFunc(order, func(a, b int) int { return compare(&choices[a], &choices[b]) })
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && compare(&choices[order[from]], &choices[order[to]]) == 0 {
			to++
		}
		draw = share(order[from:to], choices, draw)
		from = to
	}
	return dst
}

// ranking compares two choices by what comes before their weights, nil for what is no strategy.
func ranking(s Strategy) func(a, b *Choice) int {
	switch s {
	case Priority:
		return func(a, b *Choice) int { return cmp.Compare(a.Priority, b.Priority) }
	case LeastCost:
		return func(a, b *Choice) int {
			return cmp.Or(cmp.Compare(a.CostMicros, b.CostMicros), cmp.Compare(a.Priority, b.Priority))
		}
	case Weight:
		return func(*Choice, *Choice) int { return 0 }
	}
	return nil
}

// share draws an order of equals: each place goes to one of those left with the probability of its weight among them.
func share(equals []int, choices []Choice, draw uint64) uint64 {
	total := uint64(0)
	for _, i := range equals {
		total += uint64(choices[i].Weight)
	}
	for place := 0; total > 0; place++ {
		draw += 0x9e3779b97f4a7c15 // the step of SplitMix64
		at, _ := bits.Mul64(mix(draw), total)
		for k := place; ; k++ {
			w := uint64(choices[equals[k]].Weight)
			if at < w {
				total -= w
				taken := equals[k]
				copy(equals[place+1:k+1], equals[place:k])
				equals[place] = taken
				break
			}
			at -= w
		}
	}
	return draw
}

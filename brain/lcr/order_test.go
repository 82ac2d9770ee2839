package lcr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Proves each strategy on trunks whose weights leave nothing to luck: one of each group of equals has all of it.
func TestOrder_ByStrategy(t *testing.T) {
	choices := []Choice{ // priority, weight, cost
		0: {2, 0, 100},
		1: {1, 0, 300},
		2: {1, 9, 200},
		3: {2, 5, 100},
		4: {1, 0, 100},
	}
	for strategy, want := range map[Strategy]string{
		Priority:  "[2 1 4 3 0]", // 2 has the weight of priority 1, then 1 and 4 as listed; 3 before 0
		LeastCost: "[4 3 0 2 1]", // cost 100 by priority: 4, then 3 with the weight and 0; 200, 300
		"":        "[0 1 2 3 4]",
		"cheap":   "[0 1 2 3 4]",
	} {
		for token := range 50 {
			if got := fmt.Sprint(Order(nil, strategy, choices, Draw(fmt.Sprint(token)))); got != want {
				t.Fatalf("%s: %s, want %s", strategy, got, want)
			}
		}
	}
	for token := range 50 {
		got := Order(nil, Weight, choices, Draw(fmt.Sprint(token)))
		if s := fmt.Sprint(got); s != "[2 3 0 1 4]" && s != "[3 2 0 1 4]" {
			t.Fatalf("by weight: %s", s)
		}
	}
}

// Proves for random routes that an order names every trunk once, is the same for the same draw, keeps what stood in the
// slice, and never puts a trunk before one that its strategy prefers.
func TestOrder_IsAPermutationThatKeepsTheRanking(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		choices := make([]Choice, r.IntN(12))
		for i := range choices {
			choices[i] = Choice{r.IntN(3), uint32(r.IntN(4)), int64(r.IntN(3))}
			if r.IntN(20) == 0 {
				choices[i] = Choice{math.MinInt, math.MaxUint32, math.MaxInt64}
			}
		}
		strategy, draw := []Strategy{Priority, Weight, LeastCost, "?"}[r.IntN(4)], r.Uint64()
		got := Order([]int{-1}, strategy, choices, draw)
		if again := Order([]int{-1}, strategy, choices, draw); !slices.Equal(got, again) || got[0] != -1 {
			t.Fatalf("%v, then %v", got, again)
		}
		got = got[1:]
		for i, index := range slices.Sorted(slices.Values(got)) {
			if i != index || len(got) != len(choices) {
				t.Fatalf("%v of %d", got, len(choices))
			}
		}
		for i := 1; i < len(got); i++ {
			a, b := choices[got[i-1]], choices[got[i]]
			if worse(strategy, a, b) {
				t.Fatalf("%s: %+v before %+v in %v of %+v", strategy, a, b, got, choices)
			}
		}
	}
}

// worse tells whether b must come before a, in the words of the documentation.
func worse(s Strategy, a, b Choice) bool {
	samePriority := a.Priority == b.Priority
	switch s {
	case Priority:
		return b.Priority < a.Priority || samePriority && a.Weight == 0 && b.Weight > 0
	case Weight:
		return a.Weight == 0 && b.Weight > 0
	case LeastCost:
		if a.CostMicros != b.CostMicros {
			return b.CostMicros < a.CostMicros
		}
		return b.Priority < a.Priority || samePriority && a.Weight == 0 && b.Weight > 0
	}
	return false
}

// Proves that tokens that differ little share calls by weight: over 60,000 consecutive tokens every order of three
// trunks of 1, 2 and 3 comes up as often as drawing without putting back gives, within four standard deviations.
func TestOrder_SharesByWeight(t *testing.T) {
	const calls = 60_000
	choices := []Choice{{Weight: 1}, {Weight: 2}, {Weight: 3}}
	seen := map[string]int{}
	for i := range calls {
		seen[fmt.Sprint(Order(nil, Weight, choices, Draw(fmt.Sprintf("call%06d", i))))]++
	}
	for order, p := range map[string]float64{"[0 1 2]": 1. / 6 * 2 / 5, "[0 2 1]": 1. / 6 * 3 / 5, "[1 0 2]": 2. / 6 * 1 / 4,
		"[1 2 0]": 2. / 6 * 3 / 4, "[2 0 1]": 3. / 6 * 1 / 3, "[2 1 0]": 3. / 6 * 2 / 3} {
		if off := math.Abs(float64(seen[order])-calls*p) / math.Sqrt(calls*p*(1-p)); off > 4 {
			t.Errorf("%s came up %d times, %.0f expected: %.1f standard deviations", order, seen[order], calls*p, off)
		}
	}
	if len(seen) != 6 {
		t.Errorf("orders: %v", seen)
	}
}

// Proves that an order allocates nothing where there is room for it.
func TestOrder_AllocatesNothing(t *testing.T) {
	choices, room := []Choice{{1, 1, 1}, {1, 2, 1}, {2, 1, 1}}, make([]int, 0, 3)
	if n := testing.AllocsPerRun(100, func() { Order(room, LeastCost, choices, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

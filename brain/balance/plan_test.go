package balance

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naive is Lookup by looking at everything.
func naive(rates []Rate, number string, at int64) (best Rate, ok bool) {
	for _, r := range rates {
		if !strings.HasPrefix(number, r.Prefix) || r.EffectiveFrom > at {
			continue
		}
		if !ok || len(r.Prefix) > len(best.Prefix) || len(r.Prefix) == len(best.Prefix) && r.EffectiveFrom > best.EffectiveFrom {
			best, ok = r, true
		}
	}
	return best, ok
}

// Proves over random plans that Lookup is the longest prefix with a rate in force, and that All gives every rate in order.
func TestPlan_LookupIsTheLongestPrefixInForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var rates []Rate
		seen := map[string]bool{}
		for range rng.IntN(60) {
			r := Rate{digits(rng, 1+rng.IntN(4), 4), Terms{0, rng.Int64N(5), 60, 60}, rng.Int64N(4) * 10}
			if key := fmt.Sprint(r.Prefix, "/", r.EffectiveFrom); !seen[key] {
				seen[key] = true
				rates = append(rates, r)
			}
		}
		p, err := NewPlan("EUR", rates)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			number, at := digits(rng, rng.IntN(8), 4), rng.Int64N(50)-5
			got, some := p.Lookup(number, at)
			if want, ok := naive(rates, number, at); got != want || some != ok {
				t.Fatalf("%s at %d: %v, want %v", number, at, got, want)
			}
		}
		slices.SortFunc(rates, Rate.compare)
		if all := slices.Collect(p.All()); !slices.Equal(all, rates) || p.Len() != len(rates) {
			t.Fatalf("%v\nwant\n%v", all, rates)
		}
	}
}

// Proves the ends: no plan, no rates, numbers that are no digits or too long.
func TestPlan_Ends(t *testing.T) {
	if _, ok := (&Plan{}).Lookup("49", 1); ok {
		t.Error("a plan of nothing has a rate")
	}
	long := strings.Repeat("9", maxPrefix)
	p, err := NewPlan("EUR", []Rate{{"4", Terms{0, 1, 60, 60}, 0}, {long, Terms{0, 2, 60, 60}, 0}})
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]int64{"": 0, "4": 1, "4x": 1, "+4": 0, "4\xff9": 1, long: 2, long + "99": 2, long[1:]: 0} {
		if r, ok := p.Lookup(number, 1); ok != (want != 0) || r.PerMinuteMicros != want {
			t.Errorf("%q: %v", number, r)
		}
	}
}

// Proves that a plan is refused when a rate is wrong, twice there, or one of too many.
func TestNewPlan_Refuses(t *testing.T) {
	good := Rate{"49", Terms{0, 1, 60, 60}, 0}
	var many []Rate
	for i := range int64(MaxPerPrefix + 1) {
		many = append(many, Rate{"49", good.Terms, i})
	}
	for name, row := range map[string]struct {
		rates []Rate
		want  error
	}{
		"wrong": {[]Rate{good, {"x", good.Terms, 0}}, errPrefix}, "twice": {[]Rate{good, good}, ErrTwice},
		"many of one": {many, ErrMany}, "many": {make([]Rate, MaxRates+1), ErrTooMany},
	} {
		if _, err := NewPlan("EUR", row.rates); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewPlan("EUR", many[1:]); err != nil {
		t.Error(err)
	}
}

func digits(rng *rand.Rand, n, of int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(rng.IntN(of))
	}
	return string(b)
}

// worldRates are n rates of distinct prefixes of 3 to 8 digits, a few thousand different terms.
func worldRates(n int) []Rate {
	rng := rand.New(rand.NewPCG(5, 6))
	seen := make(map[string]bool, n)
	rates := make([]Rate, 0, n)
	for len(rates) < n {
		prefix := digits(rng, 3+rng.IntN(6), 10)
		if !seen[prefix] {
			seen[prefix] = true
			rates = append(rates, Rate{prefix, Terms{0, 100 * rng.Int64N(4000), 60, 60}, 1_700_000_000})
		}
	}
	return rates
}

// What a lookup costs in a plan of 1,000 and of 200,000 rates, how long the plan takes to make, and bytes a rate.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1000, 200_000} {
		rates := worldRates(n)
		p, err := NewPlan("EUR", rates)
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(7, 8))
		numbers := make([]string, 4096)
		for i := range numbers {
			numbers[i] = rates[rng.IntN(n)].Prefix + digits(rng, 5, 10)
		}
		b.Run(fmt.Sprint("lookup/", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, ok := p.Lookup(numbers[i%len(numbers)], 1_800_000_000); !ok {
					b.Fatal("no rate")
				}
			}
		})
		b.Run(fmt.Sprint("build/", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := NewPlan("EUR", rates); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/lcr"
)

// lookups is how many numbers are looked up in one round, different ones, so that the processor's caches are used as
// calls would use them. They stand in a row: a call's number is at hand when it is looked up.
const (
	lookups      = 1 << 18
	batch        = 1 << 10 // is timed at once: shorter than a processor is given to somebody else
	numberDigits = 12
)

// BenchmarkRouteLCR looks numbers up in a table of 1,000 prefixes and in one of 200,000, rounds of the two taking turns,
// and tells what each costs to build and to hold. Prefixes are as price lists have them: country codes, areas and ranges
// of mobiles, 1 to 9 digits, most of them 5 to 8.
func BenchmarkRouteLCR(b *testing.B) {
	for b.Loop() { // takes long enough for one pass
		small, large := newList(1_000), newList(lcr.MaxPrefixes)
		for range rounds {
			small.round()
			large.round()
		}
		for _, l := range []*list{small, large} {
			name := fmt.Sprintf("%d-prefixes", len(l.entries))
			slices.Sort(l.took)
			slices.Sort(l.built)
			perLookup := float64(l.took[len(l.took)/2].Nanoseconds()) / batch
			perPrefix := l.held / float64(len(l.entries))
			b.Logf("%7d prefixes: look-up %.1f ns, built in %v, %.1f bytes a prefix, %d of %d numbers found", len(l.entries), perLookup, l.built[len(l.built)/2], perPrefix, l.found, lookups)
			b.ReportMetric(perLookup, name+"-ns/lookup")
			b.ReportMetric(perPrefix, name+"-B/prefix")
			b.ReportMetric(float64(l.built[len(l.built)/2].Microseconds())/1000, name+"-ms/build")
		}
	}
}

// list is a price list and what it costs.
type list struct {
	entries     []lcr.Entry
	numbers     []string
	table       *lcr.Table
	held        float64 // bytes of the heap
	found       int
	took, built []time.Duration
}

func newList(size int) *list {
	random := rand.New(rand.NewPCG(7, uint64(size)))
	seen := map[string]bool{}
	for len(seen) < size {
		seen[prefix(random)] = true
	}
	l := &list{}
	for p := range seen {
		l.entries = append(l.entries, lcr.Entry{Prefix: p, Value: uint32(random.IntN(1 << 20))})
	}
	slices.SortFunc(l.entries, func(a, b lcr.Entry) int { return strings.Compare(a.Prefix, b.Prefix) })
	var text strings.Builder
	for range lookups {
		number := l.entries[random.IntN(size)].Prefix
		if random.IntN(8) == 0 {
			number = prefix(random)
		}
		text.WriteString((number + fmt.Sprintf("%010d", random.Uint64N(1e10)))[:numberDigits])
	}
	for all := text.String(); all != ""; all = all[numberDigits:] {
		l.numbers = append(l.numbers, all[:numberDigits])
	}
	before := heap()
	l.build()
	l.held = heap() - before
	return l
}

// prefix draws one: a country of the 200 there are, and digits that follow.
func prefix(random *rand.Rand) string {
	country := 1 + random.IntN(9)
	if country != 1 && country != 7 {
		country = country*10 + random.IntN(10)
	}
	length := min(1+random.IntN(5), 1+random.IntN(5)) + random.IntN(4)
	return fmt.Sprintf("%d%0*d", country, length, random.IntN(pow10(length)))
}

func pow10(n int) int {
	p := 1
	for range n {
		p *= 10
	}
	return p
}

func (l *list) build() {
	began := time.Now()
	table, err := lcr.Build(l.entries)
	l.built = append(l.built, time.Since(began))
	if err != nil {
		panic(err)
	}
	l.table = table
}

func (l *list) round() {
	l.build()
	l.found = 0
	for some := range slices.Chunk(l.numbers, batch) {
		began := time.Now()
		for _, n := range some {
			if _, _, ok := l.table.Lookup(n); ok {
				l.found++
			}
		}
		l.took = append(l.took, time.Since(began))
	}
}

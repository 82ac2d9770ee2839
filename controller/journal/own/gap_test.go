package own

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkTakeover measures for how long the shards of one of three brains have no owner:
// go test ./controller/journal/own -run '^$' -bench Takeover -benchtime 20x
func BenchmarkTakeover(b *testing.B) {
	for name, go1 := range map[string]func(testing.TB, []*testBrain, int) time.Duration{"crash": crash, "leave": leave} {
		b.Run(name, func(b *testing.B) {
			user, urls := shared.newAccount(b)
			brains := trio(b, user, urls)
			var gaps []time.Duration
			for i := 0; b.Loop(); i++ {
				gaps = append(gaps, go1(b, brains, i%3))
				brains[i%3] = joinAs(b, peers[i%3], user, urls, nil)
				waitShared(b, slow, brains...)
			}
			slices.Sort(gaps)
			b.ReportMetric(float64(gaps[0].Milliseconds()), "min-ms")
			b.ReportMetric(float64(gaps[len(gaps)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(gaps[len(gaps)-1].Milliseconds()), "max-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

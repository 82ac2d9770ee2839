package journal

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

// report adds the median and the 99th percentile of one append, and records a second at 100 records in each.
func report(b *testing.B, times [][]time.Duration) {
	all := slices.Concat(times...)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(100*float64(len(all))/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkAppend(b *testing.B) {
	// Measures appends of 100 records in one message with every write synced: one shard alone, and all 64 at once.
	data := make([]byte, 100*90)
	for _, streams := range []int{1, 4, 16, 64} {
		for _, shards := range []int{1, brain.Shards} {
			b.Run(fmt.Sprintf("streams=%d/shards=%d", streams, shards), func(b *testing.B) {
				bus, err := Open(b.Context(), Config{Dir: b.TempDir(), Streams: streams, Log: quiet})
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = bus.Close() }()
				logs := make([]*Log, shards)
				for i := range logs {
					logs[i], _ = openShard(b, bus, i, 1)
				}
				times := make([][]time.Duration, shards)
				b.ResetTimer()
				var wg sync.WaitGroup
				for i, l := range logs {
					wg.Go(func() {
						for range b.N {
							at := time.Now()
							if err := l.Append(context.Background(), data); err != nil {
								b.Error(err)
								return
							}
							times[i] = append(times[i], time.Since(at))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				report(b, times)
			})
		}
	}
}

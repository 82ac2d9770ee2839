package nodeagent

import (
	"testing"
	"time"
)

// TestTimes_KeepTheLast proves that counts are of everything and percentiles of the last durations only.
func TestTimes_KeepTheLast(t *testing.T) {
	var all times
	for range 10 * keptTimes {
		all.observe("digit", time.Hour)
	}
	for i := range keptTimes {
		all.observe("digit", time.Duration(i)*time.Millisecond)
	}
	got := all.show()["digit"]
	if got.Count != 11*keptTimes || got.P50MS < keptTimes/2-2 || got.P50MS > keptTimes/2+2 || got.P99MS < 0.98*keptTimes || got.P99MS > keptTimes {
		t.Errorf("%+v", got)
	}
}

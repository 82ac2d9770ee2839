package sim

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// Proves over many seeds that movements come to the balance, that no hold takes it below the limit, that a live call is held or told to end, and
// that every talk outside is charged once at each level and nothing else is, see RunPayer. A failure names its seed: -run TestSimPayer -seed N
// -seeds 1 plays it again.
func TestSimPayer(t *testing.T) {
	workers := uint64(runtime.GOMAXPROCS(0))
	var played atomic.Int64
	t.Run("all", func(t *testing.T) {
		for worker := range workers {
			t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
				t.Parallel()
				for i := worker; i < *seeds; i += workers {
					n, err := RunPayer(*firstSeed+i, DefaultPayerCalls)
					if played.Add(int64(n)); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	})
	t.Logf("%d calls, %d ops of wallets", *seeds*DefaultPayerCalls, played.Load())
}

package sim

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// Plays seeds that were red: 548, in which the word that a call was answered came after one that it is over, and was lost.
func TestSimBalance_SeedsThatWereRed(t *testing.T) {
	for _, seed := range []uint64{548} {
		if _, err := RunBalance(seed, BalanceOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// Proves the invariants of money over many seeds, see moneyBooks and checkTalk: 500 calls each, so 100,000 with the usual 200 seeds,
// over accounts, resellers and price lists, with owners that die and orders, answers and words that are lost, late or repeated.
// A failure names its seed: -run TestSimBalance -seed N -seeds 1 plays it again.
func TestSimBalance(t *testing.T) {
	workers := uint64(runtime.GOMAXPROCS(0))
	var played atomic.Int64
	t.Run("all", func(t *testing.T) {
		for worker := range workers {
			t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
				t.Parallel()
				for i := worker; i < *seeds; i += workers {
					n, err := RunBalance(*firstSeed+i, BalanceOptions{})
					if played.Add(int64(n)); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	})
	t.Logf("%d calls, %d ops of wallets", *seeds*DefaultCalls, played.Load())
}

package sim

import (
	"flag"
	"fmt"
	"runtime"
	"testing"
)

var (
	seeds     = flag.Uint64("seeds", 200, "how many seeds TestSim plays")
	firstSeed = flag.Uint64("seed", 1, "the first seed TestSim plays; with -seeds 1 it plays a failure again")
)

// Proves the invariants of check.go over many seeds, each a run of accounts, nodes and brains with every fault there is.
// A failure names its seed: -run TestSim -seed N -seeds 1 plays it again.
func TestSim(t *testing.T) {
	workers := uint64(runtime.GOMAXPROCS(0))
	for worker := range workers {
		t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
			t.Parallel()
			for i := worker; i < *seeds; i += workers {
				if err := Run(*firstSeed+i, Options{}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Proves that a run is a function of its seed: two runs of a broken world find the same fault at the same step.
func TestRun_TheSameSeedPlaysTheSame(t *testing.T) {
	found := 0
	for seed := range uint64(60) {
		first, second := Run(seed, Options{Mutant: MutantFence}), Run(seed, Options{Mutant: MutantFence})
		if fmt.Sprint(first) != fmt.Sprint(second) {
			t.Fatalf("%v, then %v", first, second)
		}
		if first != nil {
			found++
		}
	}
	if found == 0 {
		t.Fatal("no seed of 60 finds that the fence is missing")
	}
	t.Logf("%d seeds of 60 find that the fence is missing", found)
}

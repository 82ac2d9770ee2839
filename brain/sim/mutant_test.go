package sim

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Proves that the simulator sees a missing fence: with an owner that writes on after it was replaced, a seed of the
// first 200 breaks an invariant.
func TestMutant_NoFence(t *testing.T) {
	for seed := range uint64(200) {
		if err := Run(seed, Options{Mutant: MutantFence}); err != nil {
			t.Log(err)
			return
		}
	}
	t.Fatal("no seed of 200 finds that the fence is missing")
}

// Faults that TestSim finds.
var ledgerFaults = []fault{
	{"a place is given back twice", "cac/release.go", "\t\t\tl.giveBack(t.dimension)\n", "\t\t\tl.giveBack(t.dimension)\n\t\t\tl.giveBack(t.dimension)\n"},
	{"a place is taken twice", "cac/ledger.go", "\tif s := l.slots[c.Token]; s != nil {\n\t\treturn Verdict{Admitted: true, Repeated: true, Held: s.held()}\n\t}\n", ""},
	{"a stale report is taken", "presence/report.go", "} else if !s.takes(nowMS, r) {", "} else if false {"},
	{"one report is enough", "presence/report.go", "if twice && r.TakenMS-since >= apart.Milliseconds() {", "if true {"},
	{"what began before Kamailio is judged", "presence/report.go", "c.askedMS < r.BootMS || ", ""},
	{"leases begin in the past after a takeover", "cac/lease.go", "s.leaseMS = nowMS + Lease.Milliseconds()", "s.leaseMS = nowMS + Lease.Milliseconds()/100"},
	{"one call too many", "cac/ledger.go", "if used >= t.Limit {", "if used > t.Limit {"},
	{"one call too many in a window", "cac/window.go", "if len(times) >= most {", "if len(times) > most {"},
	{"a removed contact stays", "presence/presence.go", "return m.contact(node, ev, false)", "return false"},
	{"an ended call is adopted again", "cac/ledger.go", "return !over || e.lapsed", "return !over || e.lapsed || true"},
	{"a swap gives nothing back", "cac/swap.go", "\t\tl.giveBack(t.dimension)\n", "\t\t_ = t\n"},
	{"a swap is done twice", "cac/swap.go", "if c.Attempt <= s.attempt {", "if false {"},
	{"a swap is not tested", "cac/swap.go", "\tif !emergency {\n\t\tif v = l.test(", "\tif false {\n\t\tif v = l.test("},
	{"what a swap drops frees every trunk", "cac/ledger.go", "if free.dimension == l.found[i] {", "if free.dimension != nil {"},
	{"a swap does not count in the rate", "cac/swap.go", "\tl.countAll(now, c.Windows)\n", ""},
	{"an attempt is forgotten by a takeover", "cac/snapshot.go", "pack.AppendUint(one, uint64(s.attempt))", "pack.AppendUint(one, 0)"},
	{"an emergency call's swap is tested", "cac/swap.go", "\tif !emergency {\n\t\tif v = l.test(", "\tif true {\n\t\tif v = l.test("},
}

// Proves that the simulators see faults planted into the production code, one place each, by playing 200 seeds of each. One build
// has them all, see plantAll; with none of them in force it finds nothing.
func TestMutant_PlantedInTheProductionCode(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulators anew")
	}
	groups := []struct {
		test   string
		faults []fault
	}{{"TestSim", ledgerFaults}, {"TestSimQueues", queueFaults}, {"TestSimBalance", balanceFaults}, {"TestSimPayer", payerFaults}}
	var all []fault
	for _, g := range groups {
		all = append(all, g.faults...)
	}
	binary := plantAll(t, all)
	play := func(test, fault string) (out string, err error) {
		cmd := exec.Command(binary, "-test.run", "^"+test+"$", "-test.cpu", "1", "-test.timeout", "10m", "-seeds", "200")
		cmd.Env = append(os.Environ(), faultVariable+"="+fault)
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	for _, g := range groups {
		t.Run(g.test, func(t *testing.T) {
			t.Run("as it is", func(t *testing.T) {
				t.Parallel()
				if out, err := play(g.test, ""); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			})
			for _, f := range g.faults {
				t.Run(f.name, func(t *testing.T) {
					t.Parallel()
					out, err := play(g.test, f.name)
					at := strings.Index(out, "seed ")
					if err == nil || at < 0 {
						t.Fatalf("no seed of 200 finds it:\n%s", out)
					}
					t.Log(strings.SplitN(out[at:], "\n", 2)[0])
				})
			}
		})
	}
}

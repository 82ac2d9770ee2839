package sim

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
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

// Proves that the simulator sees faults planted into the production code, by building it with one line changed
// (go test -overlay) and playing 200 seeds: a place that is given back twice, and a stale report that is taken.
func TestMutant_PlantedInTheProductionCode(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulator anew for each mutant")
	}
	for _, mutant := range []struct{ name, file, from, to string }{
		{"a place is given back twice", "../cac/release.go", "\t\t\tl.giveBack(t.dimension)\n", "\t\t\tl.giveBack(t.dimension)\n\t\t\tl.giveBack(t.dimension)\n"},
		{"a place is taken twice", "../cac/ledger.go", "\tif s := l.slots[c.Token]; s != nil {\n\t\treturn Verdict{Admitted: true, Repeated: true, Held: s.held()}\n\t}\n", ""},
		{"a stale report is taken", "../presence/report.go", "} else if !s.takes(nowMS, r) {", "} else if false {"},
		{"one report is enough", "../presence/report.go", "if twice && r.TakenMS-since >= apart.Milliseconds() {", "if true {"},
		{"what began before Kamailio is judged", "../presence/report.go", "c.askedMS < r.BootMS || ", ""},
		{"leases begin in the past after a takeover", "../cac/lease.go", "s.leaseMS = nowMS + Lease.Milliseconds()", "s.leaseMS = nowMS + Lease.Milliseconds()/100"},
		{"one call too many", "../cac/ledger.go", "if used >= t.Limit {", "if used > t.Limit {"},
		{"one call too many in a window", "../cac/window.go", "if len(times) >= most {", "if len(times) > most {"},
		{"a removed contact stays", "../presence/presence.go", "return m.contact(node, ev, false)", "return false"},
		{"an ended call is adopted again", "../cac/ledger.go", "return !over || e.lapsed", "return !over || e.lapsed || true"},
		{"a swap gives nothing back", "../cac/swap.go", "\t\tl.giveBack(t.dimension)\n", "\t\t_ = t\n"},
		{"a swap is done twice", "../cac/swap.go", "if c.Attempt <= s.attempt {", "if false {"},
		{"a swap is not tested", "../cac/swap.go", "\tif !emergency {\n\t\tif v = l.test(", "\tif false {\n\t\tif v = l.test("},
		{"what a swap drops frees every trunk", "../cac/ledger.go", "if free.dimension == l.found[i] {", "if free.dimension != nil {"},
		{"a swap does not count in the rate", "../cac/swap.go", "\tl.countAll(now, c.Windows)\n", ""},
		{"an attempt is forgotten by a takeover", "../cac/snapshot.go", "pack.AppendUint(one, uint64(s.attempt))", "pack.AppendUint(one, 0)"},
		{"an emergency call's swap is tested", "../cac/swap.go", "\tif !emergency {\n\t\tif v = l.test(", "\tif true {\n\t\tif v = l.test("},
	} {
		t.Run(mutant.name, func(t *testing.T) {
			out := playMutant(t, "TestSim", mutant.file, mutant.from, mutant.to)
			if at := strings.Index(out, "seed "); at >= 0 {
				t.Log(strings.SplitN(out[at:], "\n", 2)[0])
				return
			}
			t.Fatalf("no seed of 200 finds it:\n%s", out)
		})
	}
}

// playMutant plays a test with one place of a file replaced, and gives what it printed.
func playMutant(t *testing.T, test, file, from, to string) string {
	t.Helper()
	file, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), from) != 1 {
		t.Fatalf("%s does not hold %q once: the mutant is of another version", file, from)
	}
	mutated, overlay := filepath.Join(t.TempDir(), "mutant.go"), filepath.Join(t.TempDir(), "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{file: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{mutated: []byte(strings.Replace(string(source), from, to, 1)), overlay: text} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("go", "test", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-count=1", "-run", "^"+test+"$", ".", "-seeds", "200").CombinedOutput()
	if err == nil {
		return "" // every seed passed
	}
	return string(out)
}

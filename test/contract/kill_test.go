package contract

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// large declares an account with many users, none of which is in another generation.
func large(generation int) string {
	var b strings.Builder
	b.WriteString("- {kind: account, name: acme}\n- {kind: sip_domain, account: acme, name: acme.test, spec: {is_primary: true}}\n")
	for i := range 400 {
		user := fmt.Sprintf("%d%03d", generation, i)
		fmt.Fprintf(&b, "- {kind: sip_user, account: acme, name: %q, spec: {display_name: generation %d}}\n", user, generation)
		fmt.Fprintf(&b, "- {kind: sip_device, account: acme, name: %s@acme.test, spec: {user_id: %q, password: %s}}\n", user, user, password)
	}
	return b.String()
}

// The brain is killed in the middle of sipio apply, each time a little later than the time before, from
// the start of the command to past its end. Whenever that is, the brain that is started again holds the
// one file or the other whole, and what the command said was done is there.
func TestApply_KilledBrainHoldsTheOldFileOrTheNew(t *testing.T) {
	t.Parallel()
	const rounds = 12
	e := start(t, edge.Options{})
	ctx := within(t, 4*time.Minute)
	var files, exports [2]string
	var usual time.Duration
	for i := range files {
		files[i] = write(t, e, fmt.Sprintf("generation%d.yaml", i), large(i))
		began := time.Now()
		must(t, e, 0, "apply", "--prune", "-f", files[i])
		usual = time.Since(began)
		exports[i] = must(t, e, 0, "export").out
	}
	is, cut := 1, 0
	for round := range rounds {
		next := 1 - is
		moment := usual*time.Duration(round)/(rounds-2) + rand.N(usual/rounds+1)
		killed := make(chan error, 1)
		time.AfterFunc(moment, func() { killed <- e.Brain.Kill() })
		s := sipio(t, e, "apply", "--prune", "-f", files[next])
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		if err := e.StartBrain(ctx); err != nil {
			t.Fatal(err)
		}
		now := must(t, e, 0, "export").out
		switch {
		case now == exports[next]:
			is = next
		case now != exports[is]:
			t.Fatalf("round %d, killed after %v: neither the old file nor the new:\n%s", round, moment, now)
		case s.code == 0:
			t.Errorf("round %d, killed after %v: acknowledged and lost\n%v", round, moment, s)
		}
		if s.code != 0 {
			cut++
		}
	}
	t.Logf("usually %v; %d of %d rounds were cut off", usual, cut, rounds)
	if cut == 0 {
		t.Error("the brain was never killed before it had answered: nothing was tried")
	}
}

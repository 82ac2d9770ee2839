package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// knownAt has Kamailio know the attacker's address since some time ago.
func (n *node) knownAt(t *testing.T, ago time.Duration) {
	if err := n.TableSetInt(t.Context(), tableKnown, "192.0.2.7", int(time.Now().Add(-ago).Unix())); err != nil {
		t.Fatal(err)
	}
}

func TestGuard_SparesWhoIsKnownHereWhateverAnotherNodeSaw(t *testing.T) {
	// Proves that an order for an address with phones of this node bans nothing and tells the brain so, whether this process has heard
	// of them or Kamailio alone has, that an operator's order is carried out, and that an address is known for its term and no longer.
	for _, heard := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode()
			g := n.start(t, "")
			wait(time.Second)
			if heard {
				take(t, g, "type=known&addr=192.0.2.7&aor=sip:a%40b\n")
			} else {
				n.knownAt(t, 0)
			}
			wait(time.Second)
			o := order(api.TierUA)
			if err := g.Carry(t.Context(), o); !errors.Is(err, errKnown) || len(n.kernel) != 0 || n.get(tableBan, "192.0.2.7") != "" {
				t.Errorf("heard %t: %v, kernel %v, Kamailio %v", heard, err, n.kernel, n.tables[tableBan])
			}
			wait(reportPause)
			if told := n.last().Offences; len(told) != 1 || !told[0].Known || told[0].Tier != api.TierUA || told[0].Kind != api.OffenceScanner || told[0].UntilMS != o.UntilMS {
				t.Errorf("heard %t: told %+v", heard, told)
			}
			if err := g.Carry(t.Context(), order(api.TierOperator)); err != nil || len(n.kernel) != 1 {
				t.Errorf("heard %t, by hand: %v, kernel %v", heard, err, n.kernel)
			}
			if err := g.Carry(t.Context(), api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardLift}); err != nil {
				t.Fatal(err)
			}
			_ = n.TableDelete(t.Context(), tableKnown, "192.0.2.7")
			wait(71 * time.Minute)
			if err := g.Carry(t.Context(), order(api.TierUA)); err != nil || len(n.kernel) != 1 {
				t.Errorf("heard %t, 71 minutes later: %v, kernel %v", heard, err, n.kernel)
			}
		})
	}
}

func TestGuard_FreesAKnownAddressThatTheKernelCaught(t *testing.T) {
	// Proves that a kernel which does not know an address that Kamailio knows is told so, that its ban is undone at once and reaches
	// neither Kamailio nor the memory, and that the brain hears who it was.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := n.start(t, "")
		wait(time.Second)
		n.knownAt(t, time.Minute)
		n.mu.Lock()
		n.kernel[attacker] = Ban{Addr: attacker, Tier: api.TierNft, Left: time.Hour}
		n.caught = []netip.Prefix{attacker}
		n.mu.Unlock()
		wait(lookEvery + reportPause)
		if len(n.kernel) != 0 || !slices.Contains(n.known, attacker) || n.get(tableBan, "192.0.2.7") != "" || len(g.bans) != 0 {
			t.Errorf("kernel %v, known there %v, Kamailio %v, remembered %v", n.kernel, n.known, n.tables[tableBan], g.bans)
		}
		if told := n.last().Offences; len(told) != 1 || !told[0].Known || told[0].UntilMS != 0 {
			t.Errorf("told %+v", told)
		}
	})
}

func TestGuard_LearnsAtStartWhoIsKnown(t *testing.T) {
	// Proves that a new process takes over whom Kamailio knows, into memory and kernel, for the rest of the term, and not who is known
	// no longer.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.tables[tablePolicy] = map[string]string{keyAgent: "1"}
		n.knownAt(t, time.Hour)
		for key, ago := range map[string]time.Duration{"2001:db8:0:0::/64": time.Minute, "192.0.2.8": 2 * time.Hour} {
			_ = n.TableSet(t.Context(), tableKnown, key, fmt.Sprint(float64(time.Now().Add(-ago).Unix())), 0) // as it is listed
		}
		g := n.start(t, "")
		wait(time.Second)
		if len(g.known) != 2 || len(n.known) != 2 || !slices.Contains(n.known, netip.MustParsePrefix("2001:db8::/64")) {
			t.Errorf("remembered %v, in the kernel %v", g.known, n.known)
		}
		_ = n.TableDelete(t.Context(), tableKnown, "192.0.2.7")
		if err := g.Carry(t.Context(), order(api.TierUA)); !errors.Is(err, errKnown) {
			t.Errorf("a ban: %v", err)
		}
		wait(10 * time.Minute)
		if err := g.Carry(t.Context(), order(api.TierUA)); err != nil {
			t.Errorf("a ban 70 minutes behind the last word of it: %v", err)
		}
	})
}

func TestGuard_TellsANewKamailioWhoIsKnown(t *testing.T) {
	// Proves that a new life of Kamailio gets the known addresses back, each with the second of which it was told last, and not those
	// that are over; and that a ban of its own for one of them, made before it knew, is undone.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := n.start(t, "")
		wait(time.Second)
		take(t, g, "type=known&addr=192.0.2.7\n")
		wait(time.Second)
		since := time.Now().Add(-time.Second).Unix()
		n.mu.Lock()
		n.tables = map[string]map[string]string{tableBan: {"192.0.2.7": "ua"}}
		n.mu.Unlock()
		take(t, g, scan)
		wait(2 * time.Second)
		if n.get(tableKnown, "192.0.2.7") != fmt.Sprint(since) || n.get(tableBan, "192.0.2.7") != "" || len(n.kernel) != 0 {
			t.Errorf("Kamailio %v, want %d; kernel %v", n.tables, since, n.kernel)
		}
		if told := slices.Concat(n.last().Offences, n.reports[len(n.reports)-2].Offences); len(told) == 0 || !told[0].Known || told[0].UntilMS != 0 {
			t.Errorf("told %+v", told)
		}
	})
}

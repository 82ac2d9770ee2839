package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/netns"
)

func TestGuard_KnownAtOneNodeIsKnownAtAll(t *testing.T) {
	// Proves that an office whose node is gone is not banned by another one that has never seen it, however its phones begin anew there:
	// whatever that node does by itself ends once the brain has judged, and `sipio ban show` says why.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 2)
	const office = "10.9.0.50"
	ns := g.net.Join(t, office+"/24")
	registered(t, g.second, "1001", inside(ns, office))
	ctx := within(t, 20*time.Second)
	eventually(t, ctx, "the brain's knowledge of the office", func() error {
		if said := g.sipio("ban", "show", office); !strings.Contains(said, "authenticated from there") {
			return fmt.Errorf("sipio ban show: %s", said)
		}
		return nil
	})
	if err := g.second.Kamailio.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := g.second.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	a := g.attacker(ns, office)
	for range 3 {
		for range 50 {
			a.send("REGISTER", "1001", "Phone/1.0")
		}
		a.answers(floodPause * 50)
	}
	eventually(t, within(t, 20*time.Second), "what was told of the office", func() error {
		if said := g.sipio("ban", "list", "--offenders"); !strings.Contains(said, office) {
			return fmt.Errorf("offenders: %s", said)
		}
		return nil
	})
	eventually(t, within(t, 20*time.Second), "the end of what the node has banned", func() error {
		if _, kernel := g.inKernel(g.Edge)[office]; kernel || g.inKamailio(g.Edge, office) != "" || strings.Contains(g.sipio("ban", "list"), office) {
			return fmt.Errorf("%s is banned: kernel %t, Kamailio %q", office, kernel, g.inKamailio(g.Edge, office))
		}
		return nil
	})
}

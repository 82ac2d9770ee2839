package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
)

// sipio runs the command line against the brain; failing is the test's failure.
func (g *guarded) sipio(args ...string) string {
	g.t.Helper()
	bin, err := edge.Binaries()
	if err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.CommandContext(within(g.t, 30*time.Second), filepath.Join(bin, "sipio"), args...)
	cmd.Env = append(os.Environ(), "SIPIO_SERVER="+g.BrainURL, "SIPIO_KEY="+g.AdminKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Errorf("sipio %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// everywhere waits until an address is banned on every node in kernel and Kamailio, or on none.
func (g *guarded) everywhere(addr string, banned bool) {
	g.t.Helper()
	eventually(g.t, g.t.Context(), fmt.Sprintf("%s to be banned everywhere: %t", addr, banned), func() error {
		for i, e := range g.edges() {
			_, kernel := g.inKernel(e)[addr]
			if tier := g.inKamailio(e, addr); kernel != banned || tier != "" != banned {
				return fmt.Errorf("node-%d: kernel %t, Kamailio %q", i+1, kernel, tier)
			}
		}
		return nil
	})
}

func TestGuard_LiftFreesAnAddressOnEveryNode(t *testing.T) {
	// Proves that a ban that one node makes is every node's, that the list says what it is, that `sipio ban lift` comes back when all
	// nodes have it lifted in kernel and Kamailio, within its two seconds, that who still sends is not banned again
	// within the grace time, and that all of it is in the audit log.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 2)
	a := g.newcomer("10.9.0.10")
	a.send("OPTIONS", "1001", "friendly-scanner")
	g.banned(a.addr, api.TierUA)
	g.everywhere(a.addr, true)
	if said := g.sipio("ban", "list"); !containsAll(said, a.addr, api.TierUA, "node-1", "friendly-scanner", "UNTIL", "Z") {
		t.Errorf("sipio ban list:\n%s", said)
	}
	if said := g.sipio("ban", "show", a.addr); !containsAll(said, a.addr, api.TierUA, "every node") {
		t.Errorf("sipio ban show:\n%s", said)
	}
	ctx, stop := context.WithCancel(t.Context())
	sending := make(chan struct{})
	go func() { // it never stops
		defer close(sending)
		for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			a.send("OPTIONS", "1001", "friendly-scanner")
		}
	}()
	said := g.sipio("ban", "lift", a.addr) // its exit status is 1 when a node has not confirmed within two seconds
	for i, e := range g.edges() {
		if _, kernel := g.inKernel(e)[a.addr]; kernel || g.inKamailio(e, a.addr) != "" {
			t.Errorf("node-%d still bans it: kernel %t, Kamailio %q", i+1, kernel, g.inKamailio(e, a.addr))
		}
	}
	if !containsAll(said, "node-1", "node-2", "lifted") {
		t.Errorf("sipio ban lift:\n%s", said)
	}
	before := g.heard()
	eventually(t, t.Context(), "the source that still sends", func() error {
		if n := g.heard() - before; n < 150 {
			return fmt.Errorf("%d requests reach Kamailio", n)
		}
		return nil
	})
	g.everywhere(a.addr, false)
	stop()
	<-sending
	g.spared("a lifted address within its grace time", a.addr)
	g.sipio("ban", "add", a.addr, "--for", "1h", "--why", "test")
	eventually(t, within(t, 10*time.Second), "what was banned and lifted, in sipio audit", func() error {
		if said := g.sipio("audit"); !containsAll(said, "ban.begin", "ban.lift", "ban.add", a.addr) {
			return errors.New(said)
		}
		return nil
	})
}

func TestGuard_BansEndByThemselves(t *testing.T) {
	// Proves that a ban by hand holds on every node for its term and is over then, in kernel, Kamailio and the list, and that a node
	// whose Kamailio or node agent begins anew bans on.
	if netns.Reexec(t) {
		return
	}
	g := guardedEdge(t, 2)
	a := g.newcomer("10.9.0.10")
	g.sipio("ban", "add", a.addr, "--for", "1h", "--why", "test")
	g.everywhere(a.addr, true)
	ctx := within(t, time.Minute)
	for _, e := range g.edges() {
		if err := e.Kamailio.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := e.StartKamailio(ctx); err != nil {
			t.Fatal(err)
		}
		if err := e.Node.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := e.StartNode(ctx); err != nil {
			t.Fatal(err)
		}
	}
	g.everywhere(a.addr, true)
	a.silenced()
	g.sipio("ban", "add", a.addr, "--for", "6s", "--why", "a shorter term in its place")
	g.everywhere(a.addr, true)
	g.everywhere(a.addr, false)
	eventually(t, ctx, "the list to be empty", func() error {
		if tier := g.listed(a.addr); tier != "" {
			return fmt.Errorf("listed as %s", tier)
		}
		return nil
	})
	if a.ask("OPTIONS", "1001") == "" {
		t.Error("no answer after the ban")
	}
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

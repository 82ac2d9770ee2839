package scenario

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// The brain is killed with a call up: the call is still heard, a new one gets 503 with Retry-After in under a
// second (the quickest of three); the brain is started again: the next call works, and nothing else was restarted.
func TestOutage_BrainKilledWithACallUp(t *testing.T) {
	e := start(t, edge.Options{Config: acme, NodeFlags: []string{"--survival=false"}})
	ctx := within(t, 60*time.Second)
	alice, bob := registered(t, e, "1001"), registered(t, e, "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	talk(t, ctx, a, b)
	kamailio, agent := e.Kamailio.PID(), e.Node.PID()

	if err := e.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	talk(t, ctx, a, b)
	var took []time.Duration
	for range 3 {
		began := time.Now()
		status := refused(t, ctx, alice, "1003", 503)
		if took = append(took, time.Since(began)); status.RetryAfter == 0 {
			t.Error("503 without Retry-After")
		}
	}
	if slices.Min(took) > time.Second {
		t.Errorf("503 took %v, want under 1 s", took)
	}

	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	carol := newPhone(t, e, "1009")
	eventually(t, ctx, "the first registration after the outage", func() error { return register200(ctx, carol) })
	up := answering(ctx, carol)
	eventually(t, ctx, "the first call after the outage", func() error {
		c, err := alice.Call(ctx, "1009")
		if err != nil {
			return err
		}
		other, ok := <-up
		if !ok {
			return fmt.Errorf("answered by nobody")
		}
		talk(t, ctx, c, other)
		return c.Bye(ctx)
	})
	talk(t, ctx, a, b)
	if !e.Kamailio.Alive() || e.Kamailio.PID() != kamailio || !e.Node.Alive() || e.Node.PID() != agent {
		t.Error("something else than the brain was restarted")
	}
	hangUp(t, ctx, e, a, b)
	noCalls(t, ctx, e)
}

// The brain is frozen nine times, once for long, while 300 phones a second register. No probe from outside is lost, and in most of the
// freezes none takes 300 ms: a machine that stops for a moment makes one of them slow, an edge whose workers wait for the brain makes all.
// Thawed, the next registration works.
func TestOutage_FrozenBrainDoesNotDeafenTheEdge(t *testing.T) {
	e := start(t, edge.Options{Config: acme, NodeFlags: []string{"--stall-after=250ms"}})
	ctx := within(t, 120*time.Second)
	alice := registered(t, e, "1001")
	flooded := flood(t, e)
	var slowest []time.Duration // of each freeze
	for last := 4 * time.Second; len(slowest) < 9; last = 600 * time.Millisecond {
		eventually(t, ctx, "the brain to decide for the flood", deciding(e))
		if err := e.Brain.Freeze(); err != nil {
			t.Fatal(err)
		}
		slowest = append(slowest, probe(t, e, last))
		if err := e.Brain.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the slowest probe of each freeze: %v", slowest)
	if slices.Sort(slowest); slowest[len(slowest)/2] > 300*time.Millisecond {
		t.Errorf("in most freezes a probe took %v and more, want under 300 ms", slowest[len(slowest)/2])
	}
	select {
	case <-flooded:
		t.Error("the flood ended before the last freeze")
	default:
	}
	eventually(t, ctx, "registration after the thaw", func() error { return register200(ctx, alice) })
}

// flood has 300 phones a second register until the test ends, for a minute at most. That many are refused during a freeze is no matter. What
// it returns is closed when the flood is over.
func flood(t *testing.T, e *edge.Edge) <-chan struct{} {
	t.Helper()
	table := filepath.Join(e.Dir, "users.csv")
	if err := os.WriteFile(table, []byte("SEQUENTIAL\n1002;acme.test;[authentication username=1002 password=secret-1002];1001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	sipp := exec.CommandContext(ctx, "sipp", e.SIP, "-sf", filepath.Join(edge.Root(), "test", "bench", "sipp", "register.xml"),
		"-inf", table, "-i", "127.0.0.1", "-r", "300", "-m", "18000", "-l", "18000", "-nostdin", "-timeout", "60", "-recv_timeout", "4000")
	sipp.Dir = e.Dir
	if err := sipp.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		_ = sipp.Wait() // ends with failed calls: those of the freezes
		close(over)
	}()
	t.Cleanup(func() { end(); <-over })
	return over
}

// deciding makes a condition: the node agent has had a hundred decisions of the brain since, and its breaker is closed.
func deciding(e *edge.Edge) func() error {
	first := int64(-1)
	return func() error {
		h, err := survivalOf(e)
		if err != nil {
			return err
		}
		decided := h.Door.Decisions - h.Door.Fallbacks - h.Door.Survival.Answers
		if first < 0 {
			first = decided
		}
		if decided < first+100 || h.Door.Brains[0].Open {
			return fmt.Errorf("%d decisions, breaker %+v", decided-first, h.Door.Brains[0])
		}
		return nil
	}
}

// probe asks the edge from outside, again 20 ms after each answer, for that long, and returns the slowest answer.
func probe(t *testing.T, e *edge.Edge, last time.Duration) (slowest time.Duration) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for until := time.After(last); ; {
		select {
		case <-until:
			return slowest
		case <-tick.C:
			took, err := e.Options(5 * time.Second)
			if err != nil {
				t.Error(err)
			}
			slowest = max(slowest, took)
		}
	}
}

func register200(ctx context.Context, p *phone.Phone) error {
	resp, err := p.Register(ctx, time.Minute)
	if err == nil && resp.Code != 200 {
		err = fmt.Errorf("%d %s", resp.Code, resp.Reason)
	}
	return err
}

// Kamailio is killed and started again with a call up: the call is heard on, its BYE still finds its way by its
// signed route, the brain learns of the end, and the phones can be called without having registered again.
func TestOutage_CallEndsAfterKamailioRestarted(t *testing.T) {
	e := start(t, edge.Options{Config: acme})
	ctx := within(t, 60*time.Second)
	alice, bob := registered(t, e, "1001"), registered(t, e, "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	talk(t, ctx, a, b)
	eventually(t, ctx, "both contacts to be on disk", func() error {
		out, err := exec.CommandContext(ctx, "sqlite3", filepath.Join(e.Dir, "location.db"), "select count(*) from location").CombinedOutput()
		if err == nil && strings.TrimSpace(string(out)) != "2" {
			err = fmt.Errorf("%s of 2", out)
		}
		return err
	})
	if err := e.Kamailio.Kill(); err != nil {
		t.Fatal(err)
	}
	talk(t, ctx, a, b)
	if err := e.StartKamailio(ctx); err != nil {
		t.Fatal(err)
	}
	if live, err := e.LiveCalls(ctx); err != nil || len(live) != 1 {
		t.Errorf("the brain sees live calls %v (%v), want this one", live, err)
	}
	hangUp(t, ctx, e, a, b)
	noCalls(t, ctx, e)
	// The phones have not registered again: their contacts were kept.
	converse(t, ctx, e, alice, bob, "1002")
}

// noCalls waits until the brain knows of no live call.
func noCalls(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	eventually(t, ctx, "the brain to see no live call", func() error {
		live, err := e.LiveCalls(ctx)
		if err == nil && len(live) > 0 {
			err = fmt.Errorf("it sees %v", live)
		}
		return err
	})
}

// A change of the configuration holds for the next call, with no restart: DND on, password changed, user gone.
func TestConfig_ChangeHoldsForTheNextCall(t *testing.T) {
	e := start(t, edge.Options{Config: acme})
	ctx := within(t, 30*time.Second)
	alice, bob := registered(t, e, "1001"), registered(t, e, "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	hangUp(t, ctx, e, a, b)
	if err := e.Apply(ctx, "kind: sip_user\naccount: acme\nname: \"1002\"\nspec: {dnd: true}\n"); err != nil {
		t.Fatal(err)
	}
	refused(t, ctx, alice, "1002", 486)
	if err := e.Apply(ctx, "kind: sip_device\naccount: acme\nname: 1001@acme.test\nspec: {user_id: \"1001\", password: changed}\n"); err != nil {
		t.Fatal(err)
	}
	refused(t, ctx, alice, "1002", 403)
	if resp, err := alice.Register(ctx, time.Minute); err == nil && resp.Code != 403 {
		t.Errorf("register with the old password: %d, want 403", resp.Code)
	}
}

// start starts an edge for one test.
func start(t *testing.T, opt edge.Options) *edge.Edge {
	t.Helper()
	e, err := edge.Start(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	tails(t, e)
	return e
}

package guard

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func TestGuard_MakesGoodALiftThatKamailioDidNotTake(t *testing.T) {
	// Proves that a lift which failed in Kamailio is made again, its grace with it, also when its table cannot be listed; that it is not
	// adopted as a ban meanwhile, and that a later ban is not undone by it.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := n.start(t, "")
		wait(time.Second)
		if err := g.Carry(t.Context(), order(api.TierNft)); err != nil {
			t.Fatal(err)
		}
		n.hook(func(method, table, _ string) error {
			if method == "delete" && table == tableBan {
				return errDown
			}
			return nil
		})
		if err := g.Carry(t.Context(), api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardLift, GraceSec: 60}); err == nil {
			t.Error("a lift that failed is told as done")
		}
		if active := g.everything(t.Context()); len(active) != 0 {
			t.Errorf("adopted: %v", active)
		}
		n.hook(nil)
		wait(5 * time.Second)
		if n.get(tableBan, "192.0.2.7") != "" || n.get(tableGrace, "192.0.2.7") == "" {
			t.Errorf("Kamailio %v", n.tables)
		}
		if err := g.Carry(t.Context(), order(api.TierOperator)); err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Second)
		if n.get(tableBan, "192.0.2.7") == "" {
			t.Error("the old lift undid a new ban")
		}
	})
}

func TestGuard_ALiftDoesNotWaitForAllBans(t *testing.T) {
	// Proves that a Kamailio which gets thousands of bans again leaves room for a lift: it is carried out between two portions.
	n := newNode()
	var sets, before atomic.Int64
	under := make(chan struct{})
	n.hook(func(method, table, key string) error {
		switch {
		case method == "set" && table == tableBan:
			if before.Load() == 0 {
				time.Sleep(time.Millisecond) // the lift may have to wait for a processor
			}
			if sets.Add(1) == 10 {
				close(under)
			}
		case method == "delete" && key == "192.0.2.7":
			before.CompareAndSwap(0, sets.Load())
		}
		return nil
	})
	const bans = 3000
	n.kernel[attacker] = Ban{Addr: attacker, Tier: api.TierUA, Left: time.Hour}
	for _, b := range many(bans, api.TierUA) {
		n.kernel[b.Addr] = b
	}
	g := n.start(t, "")
	<-under
	if err := g.Carry(t.Context(), api.GuardOrder{Addr: "192.0.2.7", Action: api.GuardLift, GraceSec: 60}); err != nil {
		t.Error(err)
	}
	if before.Load() > bans/2 {
		t.Errorf("the lift came behind %d of %d bans", before.Load(), bans)
	}
	for deadline := time.Now().Add(20 * time.Second); sets.Load() < bans; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d bans are in Kamailio", sets.Load(), bans)
		}
	}
	if n.get(tableBan, "192.0.2.7") != "" {
		t.Error("what was lifted is in Kamailio")
	}
}

func TestGuard_BansDoNotWaitForTheProtectedNetworks(t *testing.T) {
	// Proves that a file of addresses which Kamailio does not read keeps no ban and no policy out, is tried again at growing distances,
	// and is complained of once.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.reply.Policy = &api.GuardPolicy{Version: 7, AuthFailMax: 3}
		n.kernel[attacker] = Ban{Addr: attacker, Tier: api.TierUA, Left: time.Hour}
		tried, log := 0, &bytes.Buffer{}
		g := New(Config{Node: "node-1", Of: unit, KernelTerm: time.Hour, KnownTerm: time.Hour, Kernel: n, Kamailio: n, Post: n.post,
			Protect: func(context.Context, []string) error { tried++; return errors.New("the table is full") },
			Log:     slog.New(slog.NewTextHandler(log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { g.Run(ctx); close(done) }()
		wait(2 * time.Second)
		if n.get(tableBan, "192.0.2.7") == "" || n.get(tablePolicy, "authfail") != "3" {
			t.Errorf("Kamailio %v", n.tables)
		}
		wait(10 * time.Minute)
		cancel()
		<-done
		if tried < 5 || tried > 20 || strings.Count(log.String(), "the table is full") != 1 {
			t.Errorf("tried %d times\n%s", tried, log)
		}
	})
}

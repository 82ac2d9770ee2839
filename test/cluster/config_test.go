package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

// A change made at one brain is seen at the others at once; a brain that was down when changes were made has them when
// it is back; and changes made at all brains at the same time are all made, in one order: the configuration has the
// same digest everywhere. So is the audit log.
func TestConfig_IsTheSameAtEveryBrain(t *testing.T) {
	ctx, run := within(t, 5*time.Minute), thisRun()
	c, _ := brains(t, ctx)
	add := func(b *Brain, name string) {
		t.Helper()
		version, err := apply(ctx, c, b, name)
		if err != nil {
			t.Fatalf("apply at %s: %v", b.Name, err)
		}
		made := time.Now()
		for _, other := range c.Brains {
			if !other.Alive() {
				continue
			}
			eventually(t, ctx, fmt.Sprintf("version %d at %s", version, other.Name), func() error {
				state, err := c.Client(other).Cluster(ctx)
				if err == nil && state.ConfigVersion < version {
					err = fmt.Errorf("it has %d", state.ConfigVersion)
				}
				return err
			})
		}
		if took := time.Since(made); took > 10*time.Second {
			t.Errorf("version %d was everywhere after %v", version, took)
		}
	}
	add(c.Brains[0], "config-1-"+run)
	c.Brains[2].Stop()
	add(c.Brains[0], "config-2-"+run)
	add(c.Brains[1], "config-3-"+run)
	if err := c.StartBrain(ctx, c.Brains[2]); err != nil {
		t.Fatal(err)
	}
	add(c.Brains[2], "config-4-"+run)

	const each = 10
	var all sync.WaitGroup
	for i, b := range c.Brains {
		all.Go(func() {
			for n := range each {
				name := fmt.Sprintf("at-once-%d-%d-%s", i, n, run)
				if _, err := apply(ctx, c, b, name); err != nil {
					t.Errorf("apply %s at %s: %v", name, b.Name, err)
				}
			}
		})
	}
	all.Wait()
	if err := c.Settle(ctx); err != nil { // equal digests are part of it
		t.Fatal(err)
	}
	list, err := c.Client(c.Brains[1]).List(ctx, brain.KindAccount, "")
	if err != nil {
		t.Fatal(err)
	}
	sameAudit(t, ctx, c, 4+each*len(c.Brains))
	names := map[string]bool{}
	for _, r := range list {
		names[r.(*brain.Account).Name] = true
	}
	for i := range c.Brains {
		for n := range each {
			if name := fmt.Sprintf("at-once-%d-%d-%s", i, n, run); !names[name] {
				t.Errorf("%s is missing", name)
			}
		}
	}
}

// sameAudit has a login fail at each brain and compares the audit logs: every change and every login is in all of them, once.
func sameAudit(t *testing.T, ctx context.Context, c *Cluster, changes int) {
	t.Helper()
	for _, b := range c.Brains {
		if _, err := post(ctx, c, b, "/v1/login", "application/json", []byte(`{"email":"nobody@acme.test","password":"wrong horse battery"}`)); err == nil {
			t.Errorf("%s let nobody in", b.Name)
		}
	}
	var want []brain.AuditRow
	for _, b := range c.Brains {
		rows, more, err := c.Client(b).Audit(ctx, brain.AuditQuery{}, 10_000)
		if err != nil || more {
			t.Fatalf("the audit log of %s: %v", b.Name, err)
		}
		if want == nil {
			want = rows
		}
		if !slices.Equal(rows, want) {
			t.Errorf("the audit log of %s has %d entries, that of %s %d", b.Name, len(rows), c.Brains[0].Name, len(want))
		}
	}
	count := map[string]int{}
	for _, r := range want {
		count[r.Action]++
	}
	if count[brain.AuditLoginFailed] < len(c.Brains) || count[brain.AuditConfigChange] < changes {
		t.Errorf("after %d changes and a login at each of %d brains the audit log has %v", changes, len(c.Brains), count)
	}
}

// apply makes an account at a brain, again while it cannot tell whether it was made.
func apply(ctx context.Context, c *Cluster, b *Brain, name string) (version int64, err error) {
	for {
		_, version, err = c.Client(b).Apply(ctx, []byte("- {kind: account, name: "+name+"}\n"), brain.ApplyOptions{})
		if err == nil || brain.CodeOf(err) != brain.EUnavailable {
			return version, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

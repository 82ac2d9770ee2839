package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Two of three brains are stopped without their knowledge. The one that is left serves nothing after two seconds: calls
// of closed accounts are refused, also of those that it owned, their state is not told, and the others' are admitted by
// share. Woken up, all is served again, within the limits. Nothing is merged: the edge's reports of what is up make the
// slots of every account exactly that, whoever admitted it.
func TestMinority_RefusesAndMergesNothing(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	c, accounts := brains(t, ctx)
	clearSlots(t, ctx, c, accounts)
	left := c.Brains[0]
	l := startLoad(ctx, c, accounts, c.Brains[:1], many)
	defer l.end()
	l.ownersSince(t, ctx, time.Now())

	frozen := time.Now()
	freeze(t, c.Brains[1:]...)
	<-time.After(2 * time.Second)
	fenced := time.Now()
	refusesState(t, ctx, c, left, accounts)
	<-time.After(2 * time.Second)
	woken := time.Now()
	thaw(t, c.Brains[1:]...)
	back := l.ownersSince(t, ctx, woken)
	if err := c.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	answers := l.end()
	held(t, accounts, answers)

	refused, last := 0, frozen
	for _, a := range answers {
		switch {
		case !accounts[a.account].closed || a.began.Before(frozen):
		case a.owner() && a.finished.Before(woken):
			last = laterOf(last, a.finished)
			if a.began.After(fenced) {
				t.Errorf("%s is answered %v after the others were stopped: %s", accounts[a.account].name, a.began.Sub(frozen), a.why)
			}
		case a.verdict == away:
			refused++
		}
	}
	var all time.Duration
	for _, at := range back {
		all = max(all, at.Sub(woken))
	}
	t.Logf("the last answer of the minority as an owner came %v after the stop; %d refusals; all served %v after the waking",
		last.Sub(frozen).Round(time.Millisecond), refused, all.Round(time.Millisecond))
	if refused == 0 {
		t.Error("nothing was refused: nothing was tried")
	}
	reported(t, ctx, c, accounts, answers)
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func freeze(t *testing.T, list ...*Brain) {
	t.Helper()
	for _, b := range list {
		if err := b.Freeze(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Thaw() }) // should the test end early
	}
}

func thaw(t *testing.T, list ...*Brain) {
	t.Helper()
	for _, b := range list {
		if err := b.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
}

// refusesState checks that a brain tells of no account what its slots are.
func refusesState(t *testing.T, ctx context.Context, c *Cluster, b *Brain, accounts []account) {
	t.Helper()
	for _, a := range accounts[:2*8] {
		once, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		if state, err := c.Client(b).CAC(once, a.id); err == nil {
			t.Errorf("%s tells of %s, without a majority behind it: %+v", b.Name, a.name, state.Usage)
		}
		cancel()
	}
}

// reported has the edge report, again and again as it does, that of each account the first and the last call admitted are
// up and nothing else, and waits until that is what the slots are. Two reports do not suffice each time: they reach brains
// through different buses, and one that comes after a later one counts for nothing.
func reported(t *testing.T, ctx context.Context, c *Cluster, accounts []account, answers []answer) {
	t.Helper()
	up := map[int]map[string]answer{}
	newest := map[int]answer{}
	for _, a := range answers {
		if a.verdict != admitted {
			continue
		}
		if up[a.account] == nil {
			up[a.account] = map[string]answer{a.token: a}
		}
		newest[a.account] = a
	}
	for i, a := range newest {
		up[i][a.token] = a
	}
	report := api.DialogReport{Node: "node-1", Boot: "kamailio-1", BootMS: time.Now().Add(-time.Hour).UnixMilli()}
	for i, calls := range up {
		for token, a := range calls {
			report.Dialogs = append(report.Dialogs, api.Dialog{AccountID: accounts[i].id, Token: token, CallID: a.callID,
				From: "1001", To: "1002", SinceMS: a.began.Add(-askedAgo).UnixMilli()})
		}
	}
	report.Count = len(report.Dialogs)
	asked := 0
	eventually(t, ctx, "the slots to be what is up", func() error {
		report.TakenMS = time.Now().UnixMilli()
		report.Seq = report.TakenMS
		if err := postJSON(ctx, c, c.Brains[asked%Size], api.PathDialogs, report); err != nil {
			return err
		}
		asked++
		for i, a := range accounts {
			state, err := c.Client(c.Brains[2]).CAC(ctx, a.id)
			if err != nil {
				return err
			}
			var have []string
			for _, s := range state.Slots {
				have = append(have, s.Token)
			}
			slices.Sort(have)
			if want := slices.Sorted(maps.Keys(up[i])); !slices.Equal(have, want) {
				return fmt.Errorf("after %d reports %s has %d slots, %d calls are up: %.100q, want %.100q", asked, a.name, len(have), len(want), have, want)
			}
		}
		return nil
	})
	t.Logf("%d reports until the slots are what is up", asked)
}

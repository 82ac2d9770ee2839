package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// auditLog keeps what is written, unless it fails.
type auditLog struct {
	entries []brain.AuditEntry
	fail    error
}

func (l *auditLog) Audit(_ context.Context, e brain.AuditEntry) error {
	if l.fail == nil {
		l.entries = append(l.entries, e)
	}
	return l.fail
}

func (l *auditLog) of(action string) (list []string) {
	for _, e := range l.entries {
		if e.Action == action {
			list = append(list, e.Object+" "+e.Actor+" "+e.Detail)
		}
	}
	return list
}

// An address from which this brain has believed a device is nobody's to ban: not by the node that has seen it, nor by another, also when the first is gone.
func TestBelieved_IsKnownAtEveryNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.tells(t, api.GuardReport{Node: "edge2", Offences: []api.Offence{offence(api.TierUA, api.OffenceScanner, "192.0.2.1")}})
		for _, addr := range []string{"192.0.2.1", "2001:db8::1", "127.0.0.1", "nonsense"} {
			b.Believed(addr)
			b.Believed(addr)
		}
		if len(b.believed.fresh) != 2 {
			t.Errorf("to be told: %v", b.believed.fresh)
		}
		b.live.fail = brain.Errorf(brain.EUnavailable, "no owner")
		b.tellKnown(t.Context())
		b.live.fail = nil
		b.tellKnown(t.Context())
		b.tellKnown(t.Context())
		synctest.Wait()
		if n := slices.DeleteFunc(slices.Clone(b.live.ops), func(op string) bool { return op != guard.Known }); len(n) != 1 {
			t.Errorf("told %d times", len(n))
		}
		for _, node := range []string{"edge1", "edge2", "edge3"} {
			if w := b.edge.of(node); !strings.HasSuffix(w, "lift 192.0.2.1") {
				t.Errorf("%s: %s", node, w)
			}
		}
		for _, tier := range []string{api.TierNft, api.TierPike, api.TierUA, api.TierScore} {
			for _, addr := range []string{"192.0.2.1", "2001:db8::2"} {
				kind := map[string]string{api.TierNft: api.OffenceFlood, api.TierPike: api.OffenceRequests, api.TierUA: api.OffenceScanner, api.TierScore: api.OffenceChallenge}[tier]
				if got := b.tells(t, api.GuardReport{Node: "edge1", Offences: []api.Offence{offence(tier, kind, addr)}}); len(got.Orders) != 1 || got.Orders[0].Action != api.GuardLift {
					t.Errorf("%s of %s: %+v", tier, addr, got.Orders)
				}
			}
		}
		if list, err := b.List(t.Context(), guard.Question{}); err != nil || len(list.Bans) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// A node that says alone that an address is known frees it for itself. What another has caught goes on there, and nowhere else.
func TestReport_OneNodesKeyFreesItsOwnAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		o := offence(api.TierUA, api.OffenceScanner, "192.0.2.1")
		b.tells(t, api.GuardReport{Node: "edge1", Offences: []api.Offence{o}})
		synctest.Wait()
		o.Known = true
		if got := words(b.tells(t, api.GuardReport{Node: "edge2", Offences: []api.Offence{o}}).Orders); got != "lift 192.0.2.1" {
			t.Errorf("edge2: %s", got)
		}
		synctest.Wait()
		for node, want := range map[string]string{"edge1": "lift 192.0.2.1, ban 192.0.2.1", "edge2": "ban 192.0.2.1", "edge3": "ban 192.0.2.1, lift 192.0.2.1"} {
			if got := b.edge.of(node); got != want {
				t.Errorf("%s: %s", node, got)
			}
		}
	})
}

// One node has so many addresses banned everywhere in a minute. What is beyond is banned where it was caught.
func TestReport_SharesSoManyOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		at := 0
		report := func(node string, n int) int {
			r := api.GuardReport{Node: node}
			for range n {
				at++
				r.Offences = append(r.Offences, offence(api.TierUA, api.OffenceScanner, fmt.Sprintf("100.64.%d.%d", at>>8, at&255)))
			}
			if got := len(b.tells(t, r).Orders); got != n {
				t.Errorf("%s is told of %d", node, got)
			}
			list, err := b.List(t.Context(), guard.Question{Limit: api.MaxBanPage, Node: "edge3"})
			if err != nil {
				t.Fatal(err)
			}
			for list.Next != "" {
				more, err := b.List(t.Context(), guard.Question{Limit: api.MaxBanPage, Node: "edge3", After: list.Next})
				if err != nil {
					t.Fatal(err)
				}
				list.Bans, list.Next = append(list.Bans, more.Bans...), more.Next
			}
			return len(list.Bans)
		}
		if got := [...]int{report("edge1", 900), report("edge1", 300), report("edge2", 50)}; got != [...]int{900, 1000, 1050} {
			t.Errorf("shared are %v", got)
		}
		time.Sleep(time.Minute)
		if got := report("edge1", 10); got != 1060 {
			t.Errorf("a minute later %d", got)
		}
	})
}

// A lift names the nodes that report and cannot be told as not having confirmed; those that are gone it does not.
func TestLift_NamesNodesThatCannotBeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.dir.nodes = b.dir.nodes[:1]
		b.tells(t, api.GuardReport{Node: "edge2", Complete: true})
		for _, want := range []string{"edge1 true, edge2 false", "edge1 true"} {
			reply, err := b.Lift(t.Context(), "anna", "192.0.2.1")
			var said []string
			for _, n := range reply.Nodes {
				said = append(said, fmt.Sprint(n.Node, " ", n.OK))
			}
			if got := strings.Join(said, ", "); err != nil || got != want {
				t.Errorf("%v, %s, not %s", err, got, want)
			}
			time.Sleep(reporting)
		}
	})
}

// Each ban that the guard makes by itself has an entry when it begins and when it ends; of a flood so many a minute, then their number.
func TestDiary_WritesBeginAndEndWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := newBench(), &auditLog{}
		turn := func() { b.diary.write(t.Context(), l, slog.New(slog.DiscardHandler)) }
		pike := func(n int) api.GuardReport {
			var r api.GuardReport
			for i := range n {
				r.Offences = append(r.Offences, offence(api.TierPike, api.OffenceRequests, fmt.Sprintf("192.0.2.%d", i+1)))
			}
			return r
		}
		turn()
		b.tells(t, pike(1))
		b.tells(t, pike(1)) // during the ban
		turn()
		if got := l.of("ban.begin"); len(got) != 1 || !strings.HasPrefix(got[0], "192.0.2.1 node:edge1 tier pike, until 2000-01-01T00:05:00Z, caught by edge1: flood of SIP requests") {
			t.Fatalf("%q", got)
		}
		time.Sleep(5*time.Minute + time.Second)
		turn()
		if got := l.of("ban.end"); len(got) != 1 || got[0] != "192.0.2.1 guard its time is over" {
			t.Fatalf("%q", got)
		}
		b.tells(t, pike(2)) // one is a repeat, an hour
		b.Believed("192.0.2.2")
		b.tellKnown(t.Context())
		if _, err := b.Lift(t.Context(), "anna", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		turn()
		if got := l.of("ban.end"); len(got) != 2 || !strings.HasPrefix(got[1], "192.0.2.2 guard before its time: a device has authenticated") {
			t.Errorf("%q", got)
		}
		turn() // a new minute
		l.entries, l.fail = nil, errors.New("the log is full")
		b.tells(t, pike(200))
		turn()
		l.fail = nil
		for range 3 {
			turn()
			time.Sleep(time.Minute)
		}
		if got := l.of("ban.begin"); len(got) != maxEntries+1 || !strings.Contains(got[maxEntries], "more in about a minute") {
			t.Errorf("%d: %q", len(got), got)
		}
	})
}

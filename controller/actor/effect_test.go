package actor

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/presence"
)

// heard is what a host's effects were.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) on(host *Host) *Host {
	host.Effects = func(id string, e presence.Effects) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, o := range e.Orders {
			h.all = append(h.all, id+" "+o.Kind+" "+o.ID)
		}
	}
	return host
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.all, ", ")
}

// listening makes a host of tallies that tells what it wants done.
func listening(t *testing.T, s *store, epoch uint64) (*Host, *heard) {
	t.Helper()
	h := NewHost(s.open)
	h.New, h.Restore = func(string) Machine { return &tally{} }, restoreTally
	h.Log = quiet()
	told := &heard{}
	told.on(h)
	own(t, h, epoch)
	return h, told
}

// An order never leaves before its record is in the journal: neither that of an operation nor that of an alarm, though
// answers that do not wait for the journal have left. Then they leave in the journal's order.
func TestHost_EffectsWaitForTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h, told := listening(t, s, 1)
		defer closeHost(h)
		back := make(chan struct{})
		s.setHold(back)
		for range 3 {
			if _, err := h.Do(t.Context(), "a", ClassSoft, []byte{opOrder}); err != nil {
				t.Fatal(err)
			}
		}
		if reply, err := h.Do(t.Context(), "a", ClassAdmission, []byte{0}); sum(t, reply, err) != 3*opOrder {
			t.Fatal("the operations were not applied")
		}
		time.Sleep(time.Minute)
		if got := told.String(); got != "" {
			t.Fatalf("left before the journal had it: %s", got)
		}
		s.setHold(nil)
		close(back)
		synctest.Wait()
		if got := told.String(); got != "a first 200, a first 400, a first 600" {
			t.Errorf("%s", got)
		}
	})
}

// What an owner has ordered that was replaced meanwhile is void: its record is not in the journal.
func TestHost_EffectsOfALostShardAreVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		old, told := listening(t, s, 1)
		defer closeHost(old)
		back := make(chan struct{})
		s.setHold(back)
		if _, err := old.Do(t.Context(), "a", ClassSoft, []byte{opOrder}); err != nil {
			t.Fatal(err)
		}
		again, fresh := listening(t, s, 2)
		defer closeHost(again)
		s.setHold(nil)
		close(back)
		synctest.Wait()
		if got := told.String(); got != "" || old.Owned(brain.ShardOf("a")) {
			t.Errorf("a replaced owner ordered %q", got)
		}
		if got := fresh.String(); got != "" {
			t.Errorf("the new owner knows of nothing, and ordered %q", got)
		}
	})
}

// After a restart the machine gives what still holds again, once the shard is served; what the replay came by is not
// ordered a second time, with a snapshot and without.
func TestHost_EffectsAreGivenAgainAfterARestart(t *testing.T) {
	for _, every := range []int{10_000, 1} {
		s := &store{}
		h, told := listening(t, s, 1)
		h.SnapshotEvery = every
		for range 2 {
			if _, err := h.Do(t.Context(), "a", ClassStep, []byte{opOrder}); err != nil {
				t.Fatal(err)
			}
		}
		closeHost(h)
		if got := told.String(); got != "a first 200, a first 400" {
			t.Errorf("%s", got)
		}
		again, fresh := listening(t, s, 2)
		if _, err := again.Do(t.Context(), "a", ClassStep, []byte{0}); err != nil { // its answer comes behind the first pass
			t.Fatal(err)
		}
		closeHost(again)
		if got := fresh.String(); got != "a again 400" {
			t.Errorf("snapshot every %d: after the restart %q", every, got)
		}
	}
}

// A machine that fails in the middle takes its shard down; what was done before it in the same pass is written, and only
// then ordered.
func TestHost_EffectsBeforeAFaultAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h, told := listening(t, s, 1)
		defer closeHost(h)
		release := stall(h, "a")
		for _, op := range []byte{opOrder, 255, opOrder} {
			go func() { _, _ = h.Do(context.Background(), "a", ClassStep, []byte{op}) }()
			synctest.Wait()
		}
		release()
		if got := told.String(); got != "a first 200" {
			t.Errorf("%q", got)
		}
	})
}

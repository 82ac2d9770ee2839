package actor

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/presence"
)

// ask sends an op that waits for the journal as long as it takes, and counts the answer.
func ask(h *Host, id string, op []byte, errs chan<- error) {
	go func() {
		_, err := h.Do(context.Background(), id, ClassMoney, op)
		errs <- err
	}()
	synctest.Wait()
}

// An order does not leave before its record because a dialog report comes in the same pass: whether the report tells the
// machine anything or not.
func TestPass_EffectsWaitForTheJournalBesideAReport(t *testing.T) {
	for name, dialogs := range map[string][]presence.Dialog{"nothing new": nil, "two calls": {{}, {}}} {
		synctest.Test(t, func(t *testing.T) {
			s := &store{}
			h, told := listening(t, s, 1)
			defer closeHost(h)
			release := stall(h, "a")
			back := make(chan struct{})
			s.setHold(back)
			errs := make(chan error, 1)
			ask(h, "a", []byte{opOrder}, errs)
			h.Observe(presence.Report{Node: "n1"}, map[string][]presence.Dialog{"a": dialogs})
			release()
			if got := told.String(); got != "" {
				t.Errorf("%s: left before the journal had it: %s", name, got)
			}
			s.setHold(nil)
			close(back)
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := told.String(); got != "a first 200" {
				t.Errorf("%s: %q", name, got)
			}
		})
	}
}

// What requests, reports and alarms of one pass do is written in the order in which it was done: a replay does the same.
func TestPass_TheJournalHasTheOrderOfApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h, n := newTallies(t, s, 1), brain.ShardOf("a")
		errs := make(chan error, 3)
		ask(h, "a", []byte{254}, errs)
		release := stall(h, "a")
		time.Sleep(2 * time.Second) // the alarm is late
		ask(h, "a", []byte{1}, errs)
		ask(h, "a", []byte{opOrder}, errs)
		for dialogs := range 2 {
			h.Observe(presence.Report{Node: "n1"}, map[string][]presence.Dialog{"a": make([]presence.Dialog, 2+dialogs)})
		}
		sh := h.shards[n].Load()
		release()
		closeHost(h)
		live := sh.objects["a"].machine.(*tally).applied
		if want := []byte{254, 1, opOrder, 2, 3, 253}; !bytes.Equal(live, want) {
			t.Fatalf("applied %v, want %v", live, want)
		}
		again := newTallies(t, s, 2)
		defer closeHost(again)
		if got := again.shards[n].Load().objects["a"].machine.(*tally).applied; !bytes.Equal(got, live) {
			t.Errorf("replayed %v, applied %v", got, live)
		}
	})
}

// calm is a tally without alarms.
type calm struct{ *tally }

func (calm) Due(int64) []byte        { return nil }
func (calm) Deadline() (int64, bool) { return 0, false }

// When a machine fails at an alarm, what another alarm of the same pass has ordered is in the journal.
func TestPass_OrdersOfAlarmsBeforeAFaultAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h, told := listening(t, s, 1)
		defer closeHost(h)
		errs := make(chan error, 2)
		ask(h, "a", []byte{252}, errs)
		time.Sleep(time.Millisecond)
		ask(h, neighbour("a"), []byte{251}, errs)
		release := stall(h, "a")
		time.Sleep(2 * time.Second) // both alarms are late
		release()
		if n := brain.ShardOf("a"); h.Owned(n) {
			t.Fatal("no machine failed")
		} else {
			h.New = func(string) Machine { return calm{&tally{}} } // or the one that failed does so again, maybe before the question
			if err := h.Acquire(t.Context(), n, 2); err != nil {
				t.Fatal(err)
			}
		}
		reply, err := h.Do(t.Context(), "a", ClassStep, []byte{0})
		if got := sum(t, reply, err); got != opOrder || told.String() != "a first 200" && told.String() != "a first 200, a again 200" {
			t.Errorf("the journal has %d, ordered was %q", got, told)
		}
	})
}

// Operations as large as allowed that come at once are written in as many messages as they need, and cost no shard; their
// orders leave in the order of the journal. A larger operation is refused, and costs nothing either.
func TestPass_SplitsWhatTheJournalCannotTakeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h, told := listening(t, s, 1)
		errs := make(chan error, 6)
		release := stall(h, "a")
		small, large := make([]byte, maxBatch-100), make([]byte, MaxOp)
		small[0], large[0] = 1, opOrder
		for _, op := range [][]byte{small, large, large, small, small, large} {
			ask(h, "a", op, errs)
		}
		if _, err := h.Do(t.Context(), "a", ClassStep, append(large, 0)); brain.CodeOf(err) != brain.EInvalid {
			t.Errorf("a byte more than allowed: %v", err)
		}
		release()
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if got := told.String(); got != "a first 201, a first 401, a first 603" {
			t.Errorf("%s", got)
		}
		closeHost(h)
		again := newTallies(t, s, 2)
		defer closeHost(again)
		reply, err := again.Do(t.Context(), "a", ClassStep, []byte{0})
		if got := sum(t, reply, err); got != 603 {
			t.Errorf("after the restart %d of 603", got)
		}
	})
}

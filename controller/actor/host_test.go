package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/presence"
)

// Many askers at once change many machines without a lock and nothing is lost; after a restart from the journal
// every machine holds the same.
func TestHost_AppliesOneOperationAtATimeAndReplays(t *testing.T) { synctest.Test(t, manyAskers) }

func manyAskers(t *testing.T) {
	s := &store{}
	h := newTallies(t, s, 1)
	h.SnapshotEvery = 50
	back := make(chan struct{})
	s.setHold(back) // until all have asked once, so that something can be committed together
	var askers sync.WaitGroup
	for i := range 32 {
		askers.Go(func() {
			for k := range 100 {
				if _, err := h.Do(t.Context(), fmt.Sprintf("acc_%d", (i+k)%7), ClassStep, []byte{1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	synctest.Wait()
	s.setHold(nil)
	close(back)
	askers.Wait()
	total := func(h *Host) (n int64) {
		for i := range 7 {
			reply, err := h.Do(t.Context(), fmt.Sprintf("acc_%d", i), ClassStep, []byte{0})
			n += sum(t, reply, err)
		}
		return n
	}
	if got := total(h); got != 3200 {
		t.Errorf("%d of 3200", got)
	}
	closeHost(h)
	again := newTallies(t, s, 2)
	defer closeHost(again)
	if got := total(again); got != 3200 {
		t.Errorf("after the restart %d of 3200", got)
	}
	if s.appends >= 3200 {
		t.Errorf("%d messages for 3200 operations: nothing was committed together", s.appends)
	}
}

// While the journal does not acknowledge, an admission leaves after 25 ms marked unlogged, a step fails after a
// second, money waits, soft does not; when the journal is back everything is written.
func TestHost_DurabilityClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h := newTallies(t, s, 1)
		defer closeHost(h)
		back := make(chan struct{})
		s.setHold(back)
		began := time.Now()
		reply, err := h.Do(t.Context(), "a", ClassAdmission, []byte{1})
		if n := sum(t, reply, err); n != 1 || !reply.Unlogged || time.Since(began) != AdmissionWait {
			t.Errorf("admission: %d, unlogged %v after %v", n, reply.Unlogged, time.Since(began))
		}
		began = time.Now()
		if _, err := h.Do(t.Context(), "a", ClassStep, []byte{1}); brain.CodeOf(err) != brain.EUnavailable || time.Since(began) != StepWait {
			t.Errorf("step: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if reply, err = h.Do(t.Context(), "a", ClassSoft, []byte{1}); err != nil || time.Since(began) != 0 {
			t.Errorf("soft: %v after %v", err, time.Since(began))
		}
		var paid atomic.Bool
		go func() {
			reply, err := h.Do(context.Background(), "a", ClassMoney, []byte{1})
			if err != nil || reply.Unlogged {
				t.Errorf("money: %v, unlogged %v", err, reply.Unlogged)
			}
			paid.Store(true)
		}()
		time.Sleep(time.Minute)
		if paid.Load() {
			t.Error("money did not wait for the journal")
		}
		s.setHold(nil)
		close(back)
		synctest.Wait()
		if !paid.Load() {
			t.Error("money still waits")
		}
		reply, err = h.Do(t.Context(), "a", ClassStep, []byte{0})
		if n := sum(t, reply, err); n != 4 || reply.Unlogged {
			t.Errorf("%d of 4", n)
		}
	})
}

// A shard whose journal stands still takes what its bounds allow, and refuses the next at once with
// brain.EUnavailable; another shard does not suffer.
func TestHost_RefusesWhenAMailboxIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h := newTallies(t, s, 1)
		defer closeHost(h)
		busy := make(chan struct{})
		sh := h.shards[brain.ShardOf("a")].Load()
		sh.do(func() { <-busy })
		synctest.Wait()
		for range MailboxSize {
			go h.Do(context.Background(), "a", ClassMoney, []byte{1})
			synctest.Wait()
		}
		if _, err := h.Do(t.Context(), "a", ClassMoney, []byte{1}); brain.CodeOf(err) != brain.EUnavailable {
			t.Errorf("the mailbox was full, got %v", err)
		}
		if _, err := h.Do(t.Context(), "b", ClassStep, []byte{1}); err != nil {
			t.Errorf("another actor must not suffer: %v", err)
		}
		close(busy)
		synctest.Wait()
		reply, err := h.Do(t.Context(), "a", ClassStep, []byte{0})
		if n := sum(t, reply, err); n != MailboxSize {
			t.Errorf("%d of %d applied", n, MailboxSize)
		}
	})
}

// An owner that was replaced answers nothing of what it still applied: neither logged nor unlogged, nor a
// question. The new owner has what was acknowledged and no more.
func TestHost_AReplacedOwnerAnswersNothing(t *testing.T) {
	s := &store{}
	old := newTallies(t, s, 1)
	defer closeHost(old)
	lost := make(chan int, brain.Shards)
	old.OnLost = func(shard int, epoch uint64, _ error) { lost <- shard }
	reply, err := old.Do(t.Context(), "a", ClassStep, []byte{7})
	sum(t, reply, err)
	next := newTallies(t, s, 2)
	defer closeHost(next)
	old.Serving = func(int, uint64) bool { return false }
	if _, err := old.Query(t.Context(), "a", nil); !errors.Is(err, ErrNoOwner) {
		t.Errorf("a replaced owner answered a question: %v", err)
	}
	if reply, err := old.Do(t.Context(), "a", ClassStep, []byte{1}); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("a replaced owner acknowledged: %v %v", reply, err)
	}
	if n := <-lost; n != brain.ShardOf("a") {
		t.Errorf("shard %d was lost, want %d", n, brain.ShardOf("a"))
	}
	if _, err := old.Do(t.Context(), "a", ClassStep, []byte{1}); !errors.Is(err, ErrNoOwner) {
		t.Errorf("after the loss: %v", err)
	}
	reply, err = next.Do(t.Context(), "a", ClassStep, []byte{0})
	if n := sum(t, reply, err); n != 7 {
		t.Errorf("the new owner has %d, want 7", n)
	}
}

// A machine that panics takes its shard down, not the process: what was acknowledged before is there again when
// the shard is taken anew.
func TestHost_APanicLosesNothingAcknowledged(t *testing.T) {
	s := &store{}
	h := newTallies(t, s, 1)
	defer closeHost(h)
	lost := make(chan int, 1)
	h.OnLost = func(shard int, _ uint64, _ error) { lost <- shard }
	reply, err := h.Do(t.Context(), "a", ClassStep, []byte{7})
	sum(t, reply, err)
	if _, err := h.Do(t.Context(), "a", ClassStep, []byte{255}); brain.CodeOf(err) != brain.EInternal {
		t.Errorf("panic: %v", err)
	}
	if err := h.Acquire(t.Context(), <-lost, 2); err != nil {
		t.Fatal(err)
	}
	reply, err = h.Do(t.Context(), "a", ClassStep, []byte{1})
	if n := sum(t, reply, err); n != 8 {
		t.Errorf("%d, want 8", n)
	}
}

// An alarm goes off at its time without anybody asking, and what it did is in the journal.
func TestHost_AlarmsGoOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{}
		h := newTallies(t, s, 1)
		reply, err := h.Do(t.Context(), "a", ClassStep, []byte{254})
		sum(t, reply, err)
		time.Sleep(999 * time.Millisecond)
		reply, err = h.Do(t.Context(), "a", ClassStep, []byte{0})
		if n := sum(t, reply, err); n != 0 {
			t.Errorf("the alarm went off early: %d", n)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		closeHost(h)
		again := newTallies(t, s, 2)
		defer closeHost(again)
		reply, err = again.Do(t.Context(), "a", ClassStep, []byte{0})
		if n := sum(t, reply, err); n != 253 {
			t.Errorf("after the alarm %d, want 253", n)
		}
	})
}

// A dialog report reaches every actor, those too that only it tells of, and what they make of it is in the journal.
func TestHost_AReportReachesEveryActor(t *testing.T) {
	s := &store{}
	h := newTallies(t, s, 1)
	reply, err := h.Do(t.Context(), "a", ClassStep, []byte{1})
	sum(t, reply, err)
	h.Observe(presence.Report{Node: "n1"}, map[string][]presence.Dialog{"a": {{}, {}}, "b": {{}}})
	for id, want := range map[string]int64{"a": 3, "b": 1} {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			reply, err := h.Do(t.Context(), id, ClassStep, []byte{0})
			if n := sum(t, reply, err); n == want {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("%s has %d, want %d", id, n, want)
			}
		}
	}
	closeHost(h)
	again := newTallies(t, s, 2)
	defer closeHost(again)
	reply, err = again.Do(t.Context(), "a", ClassStep, []byte{0})
	if n := sum(t, reply, err); n != 3 {
		t.Errorf("after the restart %d, want 3", n)
	}
}

// Releasing a shard writes what was taken first, then refuses; the next owner has it all.
func TestHost_ReleaseWritesWhatWasTaken(t *testing.T) {
	s := &store{}
	h := newTallies(t, s, 1)
	defer closeHost(h)
	var done atomic.Int64
	var askers sync.WaitGroup
	for range 16 {
		askers.Go(func() {
			for range 200 {
				if _, err := h.Do(t.Context(), "a", ClassStep, []byte{1}); err == nil {
					done.Add(1)
				} else if !errors.Is(err, ErrNoOwner) {
					t.Errorf("refused with %v", err)
				}
			}
		})
	}
	for done.Load() == 0 {
	}
	h.Release(t.Context(), brain.ShardOf("a"))
	askers.Wait()
	if err := h.Acquire(t.Context(), brain.ShardOf("a"), 2); err != nil {
		t.Fatal(err)
	}
	reply, err := h.Do(t.Context(), "a", ClassStep, []byte{0})
	if n := sum(t, reply, err); n != done.Load() {
		t.Errorf("%d acknowledged, %d there", done.Load(), n)
	}
}

// An owner that hands a shard over with much in its journal leaves a snapshot, and the next one has nothing to replay;
// with little in it, and on a mere release, it writes nothing more. None of the many hand-overs waits for its deadline.
func TestHost_HandOverLeavesLittleToReplay(t *testing.T) {
	s := &store{}
	h := newTallies(t, s, 1)
	defer closeHost(h)
	n := brain.ShardOf("a")
	all := int64(0)
	for round := range uint64(100) {
		want, done, leave := 1, int64(partingRecords+1), h.HandOver
		switch round % 3 {
		case 1:
			want, done = 1+partingRecords, partingRecords
		case 2:
			want, leave = 2+2*partingRecords, h.Release
		}
		for range done {
			if _, err := h.Do(t.Context(), "a", ClassStep, []byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		all += done
		began := time.Now()
		leave(t.Context(), n)
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("round %d: the shard was left after %v", round, took)
		}
		if got := len(s.shards[n].msgs); got != want {
			t.Fatalf("round %d: %d messages are left, want %d", round, got, want)
		}
		if err := h.Acquire(t.Context(), n, round+2); err != nil {
			t.Fatal(err)
		}
		reply, err := h.Do(t.Context(), "a", ClassStep, []byte{0})
		if got := sum(t, reply, err); got != all {
			t.Fatalf("round %d: the next owner has %d of %d", round, got, all)
		}
	}
}

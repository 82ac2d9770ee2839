package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/journal"
)

const (
	liveCalls    = 100_000
	devices      = 100_000
	wantRecovery = 3 * time.Second
	fillers      = 128
)

// noLog is a journal that keeps nothing, so that only the machines are weighed.
type noLog struct{}

func (noLog) Append(context.Context, []byte) error                     { return nil }
func (noLog) AppendSnapshot(context.Context, []byte, bool, bool) error { return nil }
func (noLog) Close()                                                   {}

func openNone(context.Context, int, uint64, func([]byte, bool) error, func([]byte) error) (actor.Log, error) {
	return noLog{}, nil
}

// fill does n operations on a host; op makes the i-th and says whose it is.
func fill(b *testing.B, h *actor.Host, n int, op func(i int) (id string, op []byte)) {
	b.Helper()
	var all sync.WaitGroup
	for f := range fillers {
		all.Go(func() {
			for i := f; i < n; i += fillers {
				id, data := op(i)
				for deadline := time.Now().Add(30 * time.Second); ; {
					reply, err := h.Do(b.Context(), id, actor.ClassMoney, data)
					if err == nil && !reply.Unlogged {
						break
					}
					if time.Now().After(deadline) || brain.CodeOf(err) != brain.EUnavailable {
						b.Errorf("operation %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	if all.Wait(); b.Failed() {
		b.FailNow()
	}
}

func admitOp(i, accounts int) (string, []byte) {
	a := officeCall(i/500, i, i%accounts)
	return a.AccountID, presence.AppendAdmit(nil, &a.Call)
}

func eventOp(id, node string, ev presence.Event) (string, []byte) {
	ev.AccountID, ev.TimeMS = id, time.Now().UnixMilli()
	return id, presence.AppendEvents(nil, node, []presence.Event{ev})
}

// answerOp says that call i of admitOp was answered.
func answerOp(i, accounts int) (string, []byte) {
	a := officeCall(i/500, i, i%accounts)
	return eventOp(a.AccountID, a.Call.Node, presence.Event{Event: api.Event{Seq: int64(i), Type: api.EventDialogStart,
		CallID: a.Call.CallID, Token: a.Call.Token, From: "1001", To: "1002"}})
}

// deviceOp says that device i has registered.
func deviceOp(i, accounts int) (string, []byte) {
	n := strconv.Itoa(1_000_000 + i)
	return eventOp(accountName(i%accounts), "node-"+strconv.Itoa(i%4), presence.Event{UserID: "usr_01J8ZF" + n, DeviceID: "dev_01J8ZG" + n,
		Event: api.Event{Seq: int64(i), Type: api.EventContactSaved, AOR: "sip:" + n + "@a" + strconv.Itoa(i%accounts) + ".example.com",
			Contact: "sip:" + n + "@192.0.2.10:" + strconv.Itoa(10_000+i%50_000) + ";transport=udp", ExpiresS: 3600,
			SourceIP: "192.0.2.10:5060", Transport: "udp", UserAgent: "Phone 4.2 (build 17)"}})
}

// heap is what is in use after the garbage is gone.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkStateMemory weighs 100,000 answered calls and 100,000 registered devices, over 1,000 accounts and in one: the
// heap in use with them less that without, each.
func BenchmarkStateMemory(b *testing.B) {
	for _, accounts := range []int{1, manyAccounts} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) {
			for b.Loop() {
				h := ownAll(b, actor.NewHost(openNone))
				h.SnapshotEvery = 1 << 30
				empty := heap()
				fill(b, h, liveCalls, func(i int) (string, []byte) { return admitOp(i, accounts) })
				fill(b, h, liveCalls, func(i int) (string, []byte) { return answerOp(i, accounts) })
				withCalls := heap()
				fill(b, h, devices, func(i int) (string, []byte) { return deviceOp(i, accounts) })
				withDevices := heap()
				b.ReportMetric((withCalls-empty)/liveCalls, "B/call")
				b.ReportMetric((withDevices-withCalls)/devices, "B/device")
				if counts := count(b, h, accounts); counts.Calls != liveCalls || counts.Slots != liveCalls || counts.Contacts != devices {
					b.Errorf("weighed %+v", counts)
				}
				shut(h)
			}
		})
	}
}

// BenchmarkStateRecovery takes the time in which a brain that died gets 100,000 live calls back from the journal on disk:
// from opening it until every shard is served. About two thirds of the calls are in snapshots, the rest in the tail
// behind them, at 1,000 accounts and in one. It fails above what is expected.
func BenchmarkStateRecovery(b *testing.B) {
	for _, accounts := range []int{1, manyAccounts} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) {
			for b.Loop() {
				recoverCalls(b, accounts)
			}
		})
	}
}

func recoverCalls(b *testing.B, accounts int) {
	b.Helper()
	dir := b.TempDir()
	bus := openBus(b, journal.Config{Dir: dir})
	h := actor.NewHost(logsOf(bus))
	h.SnapshotEvery = liveCalls * 2 / 3 / min(accounts, brain.Shards)
	ownAll(b, h)
	fill(b, h, liveCalls, func(i int) (string, []byte) { return admitOp(i, accounts) })
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	h.Close(dead) // writes nothing more
	if err := bus.Close(); err != nil {
		b.Fatal(err)
	}

	began := time.Now()
	bus = openBus(b, journal.Config{Dir: dir})
	opened := time.Since(began)
	h = ownAll(b, actor.NewHost(logsOf(bus)))
	took := time.Since(began)
	defer shut(h)
	b.ReportMetric(took.Seconds(), "recovery-s")
	b.ReportMetric(opened.Seconds(), "open-s")
	if counts := count(b, h, accounts); counts.Slots != liveCalls {
		b.Errorf("%d of %d calls are back", counts.Slots, liveCalls)
	}
	if took > wantRecovery {
		b.Errorf("%v, at most %v is expected", took, wantRecovery)
	}
}

// count adds up what the accounts hold.
func count(b *testing.B, h *actor.Host, accounts int) (sum presence.Counts) {
	b.Helper()
	for i := range accounts {
		data, err := h.Query(b.Context(), accountName(i), []byte(`{"what":"counts"}`))
		if err != nil {
			b.Fatal(err)
		}
		var c presence.Counts
		if err := json.Unmarshal(data, &c); err != nil {
			b.Fatal(err)
		}
		sum.Calls, sum.Slots, sum.Contacts = sum.Calls+c.Calls, sum.Slots+c.Slots, sum.Contacts+c.Contacts
	}
	return sum
}

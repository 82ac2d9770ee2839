package presence

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// benchCall is a call as of an office: five dimensions and the users of both ends.
func benchCall(i int) Admit {
	token, node := fmt.Sprintf("b2jk7zqy4xnd5tv%07d", i), fmt.Sprint("node-", i%4)
	caller, callee := fmt.Sprintf("usr_01J8ZC%06d", i%5000), fmt.Sprintf("usr_01J8ZD%06d", i%5000)
	return Admit{From: "1001", To: "1002", CallerUser: caller, CalleeUser: callee, Call: cac.Call{
		Token: token, CallID: fmt.Sprintf("3848276298220188511%08d@192.0.2.10", i), Node: node, AskedMS: int64(i),
		Takes: []cac.Take{{Kind: cac.Internal, Limit: 1 << 20}, {Kind: cac.User, ID: caller, Limit: 1000}, {Kind: cac.User, ID: callee, Limit: 1000},
			{Kind: cac.Trunk, ID: "trk_01J8ZE000001", Limit: 1 << 20}, {Kind: cac.Node, ID: node, Limit: 1 << 20}}}}
}

func filled(n int) *Machine {
	m := New("acc_1")
	for i := range n {
		a := benchCall(i)
		if _, changed, err := m.Apply(1000, AppendAdmit(nil, &a)); err != nil || !changed {
			panic(fmt.Sprint("call ", i, " was not admitted: ", err))
		}
	}
	return m
}

// One admission and its release, as ops, in a machine with 10,000 live calls. Each call is another one, and time
// goes on by 2 ms a call, so that 150,000 ended calls are remembered.
func BenchmarkAdmitRelease(b *testing.B) {
	m := filled(10_000)
	ops := make([][2][]byte, 200_000)
	for i := range ops {
		a := benchCall(10_000 + i)
		ops[i] = [2][]byte{AppendAdmit(nil, &a), AppendRelease(nil, []string{a.Token}, WhyAbandoned)}
	}
	now := int64(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		op := ops[i%len(ops)]
		now += 2
		if _, changed, err := m.Apply(now, op[0]); err != nil || !changed {
			b.Fatalf("call %d: %v", i, err)
		}
		if _, changed, err := m.Apply(now, op[1]); err != nil || !changed {
			b.Fatalf("release %d: %v", i, err)
		}
	}
}

// The yardstick of BenchmarkAdmitRelease: the same five counters in a map under a mutex, and nothing else:
// no token, no repetition, no memory, no op.
func BenchmarkAdmitRelease_MapUnderMutex(b *testing.B) {
	type dimension struct {
		kind cac.Kind
		id   string
	}
	var mu sync.Mutex
	used := map[dimension]int{}
	calls := make([]Admit, 200_000)
	for i := range calls {
		calls[i] = benchCall(10_000 + i)
	}
	for i := range 10_000 {
		for _, t := range benchCall(i).Takes {
			used[dimension{t.Kind, t.ID}]++
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		takes := calls[i%len(calls)].Takes
		mu.Lock()
		for _, t := range takes {
			if used[dimension{t.Kind, t.ID}] >= t.Limit {
				b.Fatal("full")
			}
		}
		for _, t := range takes {
			used[dimension{t.Kind, t.ID}]++
		}
		mu.Unlock()
		mu.Lock()
		for _, t := range takes {
			used[dimension{t.Kind, t.ID}]--
		}
		mu.Unlock()
	}
}

// inUse is how many bytes are in use after make, beyond those before it.
func inUse(make func() *Machine) (bytes uint64, m *Machine) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m = make()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return after.HeapAlloc - before.HeapAlloc, m
}

// Memory of a live call that was answered, and of a registered contact: 100,000 of each.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		calls, m := inUse(func() *Machine {
			m := filled(n)
			for i := range n {
				a := benchCall(i)
				tell(b, m, a.Node, api.Event{Type: api.EventDialogStart, TimeMS: 1000, CallID: a.CallID, Token: a.Token})
			}
			return m
		})
		if c := m.Counts(); c.Calls != n {
			b.Fatalf("%+v", c)
		}
		contacts, m := inUse(func() *Machine {
			m := New("acc_1")
			for i := range n {
				do(b, m, 1000, AppendEvents(nil, "node-1", []Event{{UserID: fmt.Sprintf("usr_01J8ZC%06d", i), DeviceID: fmt.Sprintf("dev_01J8ZC%06d", i),
					Event: api.Event{Type: api.EventContactSaved, TimeMS: 1000, AOR: fmt.Sprintf("sip:%06d@acme.example", i), ExpiresS: 600,
						Contact: fmt.Sprintf("sip:%06d@192.0.2.10:5060;transport=udp", i), SourceIP: "192.0.2.10", Transport: "udp", UserAgent: "Desk phone 1.2.3"}}}))
			}
			return m
		})
		if c := m.Counts(); c.Contacts != n {
			b.Fatalf("%+v", c)
		}
		b.ReportMetric(float64(calls)/n, "B/call")
		b.ReportMetric(float64(contacts)/n, "B/contact")
	}
}

// Snapshot and restore of 100,000 answered calls.
func BenchmarkSnapshot(b *testing.B) {
	m := filled(100_000)
	for i := range 100_000 {
		a := benchCall(i)
		tell(b, m, a.Node, api.Event{Type: api.EventDialogStart, TimeMS: 1000, CallID: a.CallID, Token: a.Token})
	}
	var write, read time.Duration
	size := 0
	for b.Loop() {
		began := time.Now()
		data := m.AppendSnapshot(nil)
		write += time.Since(began)
		size = len(data)
		began = time.Now()
		if _, err := Restore("acc_1", data); err != nil {
			b.Fatal(err)
		}
		read += time.Since(began)
	}
	b.ReportMetric(float64(write.Milliseconds())/float64(b.N), "ms/snapshot")
	b.ReportMetric(float64(read.Milliseconds())/float64(b.N), "ms/restore")
	b.ReportMetric(float64(size)/100_000, "B/call")
}

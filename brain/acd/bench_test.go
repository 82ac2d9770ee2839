package acd

import (
	"fmt"
	"strconv"
	"testing"
)

const benchAgents = 2000

// busyDesk is ten queues with 2,000 agents, each in two of them and talking, and so many callers who wait.
func busyDesk(b *testing.B, waiting int) (*Desk, *benchWork) {
	s := &Setup{Version: 1}
	for i := range 10 {
		s.Queues = append(s.Queues, Queue{ID: fmt.Sprint("que_01J8ZC", i), RingMS: 20_000, MaxQueued: -1, PriorityAgeMS: 60_000, TierEscalationMS: 30_000,
			StickyMS: 3_600_000, Announce: true, AnnounceFirstMS: 15_000, AnnounceEveryMS: 30_000, ServiceLevelMS: 20_000, EWTAHTMS: 240_000})
	}
	for i := range benchAgents {
		s.Agents = append(s.Agents, Agent{UserID: fmt.Sprintf("usr_01J8ZC%06d", i), AutoReady: true, AutoQueueLogin: true, Memberships: []Membership{
			{fmt.Sprint("que_01J8ZC", i%10), 1, i, ModeStatic}, {fmt.Sprint("que_01J8ZC", (i+1)%10), 2, i, ModeStatic}}})
	}
	d := New()
	w := &benchWork{b: b, d: d, now: base}
	w.do(AppendSetup(nil, s))
	for i := range s.Agents {
		d.Signal(w.now, s.Agents[i].UserID, true, 0)
		w.do(AppendAgent(nil, &AgentOp{UserID: s.Agents[i].UserID, Action: ActionLogin}, 1))
	}
	for len(w.talks) < benchAgents {
		w.join()
		for w.takeUp() {
		}
		w.now += 40_000 / benchAgents
	}
	for d.queuesWaiting() < waiting {
		w.join()
	}
	if d.queuesWaiting() != waiting || len(w.talks) != benchAgents {
		b.Fatalf("%d wait, %d talk", d.queuesWaiting(), len(w.talks))
	}
	return d, w
}

func (d *Desk) queuesWaiting() (n int) {
	for _, q := range d.queues {
		n += q.waiting
	}
	return n
}

// benchWork plays the nodes of a desk. Ops are encoded and applied as they come from the wire.
type benchWork struct {
	b      *testing.B
	d      *Desk
	now    int64
	n, ops int
	rung   []Order
	talks  []string // entries
	buf    []byte
}

func (w *benchWork) do(op []byte) []byte {
	w.buf = op
	w.ops++
	reply, changed, err := w.d.Apply(w.now, op)
	if err != nil || !changed {
		w.b.Fatalf("%s: %v, changed %v", kindNames[op[0]], err, changed)
	}
	return reply
}

func (w *benchWork) join() {
	w.n++
	id := "b2jk7zqy4xnd5tv" + strconv.Itoa(w.n) + "-1"
	reply := w.do(AppendJoin(w.buf[:0], &Join{EntryID: id, Token: id[:len(id)-2], CallID: "3848276298220188511@192.0.2.10", Node: "node-1",
		QueueID: "que_01J8ZC" + strconv.Itoa(w.n%10), CallerNumber: "+4930" + strconv.Itoa(w.n%50_000), Priority: w.n % 3}, 1))
	j, _, _ := ReadJoined(reply)
	for _, o := range j.Offers {
		w.rung = append(w.rung, Order{EntryID: id, Offer: o})
	}
}

// takeUp claims and confirms one offer, if there is one.
func (w *benchWork) takeUp() bool {
	for _, o := range w.d.Orders() {
		if o.Kind == OrderDispatch {
			w.rung = append(w.rung, o)
		}
	}
	w.d.Changes()
	w.d.Records()
	if len(w.rung) == 0 {
		return false
	}
	o := w.rung[0]
	w.rung = w.rung[1:]
	w.do(AppendClaim(w.buf[:0], o.Offer.ReservationID, o.Offer.Fence))
	w.do(AppendConfirm(w.buf[:0], o.Offer.ReservationID, o.Offer.Fence))
	w.talks = append(w.talks, o.EntryID)
	return true
}

// One life of a caller in a desk with 2,000 agents who all talk: another one joins, the longest talk ends, so its agent
// is reserved for the caller who is next, claims and confirms. Four ops, one reservation.
func BenchmarkDesk_Cycle(b *testing.B) {
	for _, waiting := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprint(waiting, "_waiting"), func(b *testing.B) {
			_, w := busyDesk(b, waiting)
			b.ReportAllocs()
			from := w.ops
			for b.Loop() {
				w.now++
				w.join()
				w.do(AppendLeave(w.buf[:0], w.talks[0], "", LeftAnswered))
				w.talks = w.talks[1:]
				if !w.takeUp() {
					b.Fatal("nobody was offered")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(w.ops-from), "ns/op-of-the-desk")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cycles/s")
		})
	}
}

// A position told: what an announcement costs by the length of the queue.
func BenchmarkDesk_Position(b *testing.B) {
	for _, waiting := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprint(waiting, "_waiting"), func(b *testing.B) {
			d, w := busyDesk(b, waiting)
			w.join()
			e := d.entries["b2jk7zqy4xnd5tv"+strconv.Itoa(w.n)+"-1"]
			for b.Loop() {
				e.queue.position(e, w.now)
			}
		})
	}
}

// The worst case of skills: 2,000 agents wait for calls, none can what the caller needs, so joining looks at all who are
// open to him; and 10,000 callers wait of 50 sorts, none of which suits the agent who comes free.
func BenchmarkDesk_NobodyCan(b *testing.B) {
	setup := func(b *testing.B) *benchWork {
		s := &Setup{Version: 1, Queues: []Queue{{ID: "q", RingMS: 20_000, MaxQueued: -1}}}
		for i := range benchAgents {
			s.Agents = append(s.Agents, Agent{UserID: fmt.Sprintf("usr_01J8ZC%06d", i), AutoReady: true, AutoQueueLogin: true,
				Skills: []Skill{{"german", 5}, {"tax", 2}}, Memberships: []Membership{{"q", 1, i, ModeStatic}}})
		}
		d := New()
		w := &benchWork{b: b, d: d, now: base}
		w.do(AppendSetup(nil, s))
		for i := range s.Agents {
			d.Signal(w.now, s.Agents[i].UserID, true, 0)
			w.do(AppendAgent(nil, &AgentOp{UserID: s.Agents[i].UserID, Action: ActionLogin}, 1))
		}
		return w
	}
	b.Run("join", func(b *testing.B) {
		w := setup(b)
		for b.Loop() {
			w.now++
			w.do(AppendJoin(nil, &Join{EntryID: "e", QueueID: "q", Skills: []Skill{{"french", 3}}}, 1))
			w.do(AppendLeave(nil, "e", "", LeftFailed))
		}
	})
	b.Run("agent", func(b *testing.B) {
		w := setup(b)
		for i := range 10_000 {
			w.do(AppendJoin(nil, &Join{EntryID: fmt.Sprint("e", i), QueueID: "q", Skills: []Skill{{fmt.Sprint("skill", i%50), 3}}}, 1))
		}
		for b.Loop() {
			w.now++
			w.do(AppendAgent(nil, &AgentOp{UserID: "usr_01J8ZC000007", Action: ActionBreak}, 1))
			w.do(AppendAgent(nil, &AgentOp{UserID: "usr_01J8ZC000007", Action: ActionAvailable}, 1))
		}
	})
}

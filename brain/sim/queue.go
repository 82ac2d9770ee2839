package sim

import (
	"fmt"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// Desk is the production machine of queues as the simulator drives it; *acd.Desk is one.
type Desk interface {
	Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error)
	Signal(nowMS int64, userID string, reachable bool, calls int)
	Lapsed(nowMS int64, most int) []string
	Expire(nowMS int64, lapsed []string)
	Deadline() (ms int64, ok bool)
	Resume(nowMS int64)
	Orders() []acd.Order
	Changes() []acd.Change
	Records() []acd.Record
	Agent(userID string) (acd.AgentView, bool)
	Queues(nowMS, fromMS, toMS int64, entries bool) []api.QueueState
	Agents(nowMS, fromMS, toMS int64) []api.AgentState
	AppendSnapshot(b []byte) []byte
}

// QueueOptions of a run of queues.
type QueueOptions struct {
	Events int             // ops of the desk with faults; 0 means DefaultQueueEvents. Then follows a calm, in which all must come to its end
	Calm   bool            // no supervisor moves callers, as in the worlds of before there were any
	Wrap   func(Desk) Desk // nil, or what is put between the world and each desk: a fault on purpose
}

// DefaultQueueEvents is some ten minutes of a few queues, with several deaths of nodes and brains.
const DefaultQueueEvents = 500

// RunQueues plays one seed of one account's queues: callers, agents, nodes that carry out orders, brains that die. It
// gives how many ops the desks got. An error names the seed, the step and the invariant that does not hold.
func RunQueues(seed uint64, opt QueueOptions) (events int, err error) {
	if opt.Events == 0 {
		opt.Events = DefaultQueueEvents
	}
	w := newLobby(seed, opt)
	for w.events < opt.Events && w.fault == nil {
		w.step()
	}
	w.settle()
	if w.fault != nil {
		return w.events, fmt.Errorf("seed %d, step %d, event %d, at +%d ms: %w", seed, w.steps, w.events, w.now-begin, w.fault)
	}
	return w.events, nil
}

// lobby is an account with its queues: the truth of who waits, rings and talks at the edge, and the brain of the moment.
type lobby struct {
	stage
	opt    QueueOptions
	events int

	setup   *acd.Setup
	people  []*person
	byID    map[string]*person
	nodes   []*station
	entries map[string]*caller // by entry id
	backs   map[string]*back   // by entry id: who has hung up to be called
	dialed  map[string]bool    // by reservation: calls to them that were made
	callers int
	rush    int64 // milliseconds between two callers, about
	answers int64 // percent of rings that an agent takes
	zeal    int   // percent of the moments in which an agent wants to work, and nothing else

	log     queueLog
	brain   *host // nil while there is none
	brains  int
	records map[string]int // by entry id: handed out
	lost    map[string]int // written, and lost with the brain that should have handed them out
}

func newLobby(seed uint64, opt QueueOptions) *lobby {
	w := &lobby{stage: newStage(seed, 0xacd), opt: opt, byID: map[string]*person{}, entries: map[string]*caller{}, backs: map[string]*back{}, dialed: map[string]bool{},
		records: map[string]int{}, lost: map[string]int{}}
	w.setup = w.newSetup()
	for i := range 1 + w.rng.IntN(3) {
		w.nodes = append(w.nodes, &station{name: fmt.Sprint("n", i), up: true})
	}
	w.rush, w.answers, w.zeal = w.between(300, 8*second), w.between(30, 95), int(w.between(0, 95))
	w.takeOver()
	for _, p := range w.people {
		w.after(w.between(1, 10*second), func() { w.live(p) })
	}
	w.after(w.between(1, 10*second), w.arrivals)
	w.after(w.between(5*second, 40*second), w.trouble)
	w.after(w.between(10*second, minute), w.reconfigure)
	if !opt.Calm {
		w.after(w.between(second, 20*second), w.boss)
	}
	return w
}

// trouble makes something fail every now and then, as long as the storm lasts.
func (w *lobby) trouble() {
	if !w.stormy {
		return
	}
	switch n := w.nodes[w.rng.IntN(len(w.nodes))]; w.rng.IntN(4) {
	case 0, 1:
		w.crash()
	case 2:
		w.killNode(n)
	case 3: // the node agent was started anew: its callers ask how they stand
		for _, c := range n.callers {
			if c.waits() {
				w.join(c)
			}
		}
	}
	w.after(w.between(10*second, 90*second), w.trouble)
}

// settle stops every fault. In the calm that follows nobody new calls, whoever waits gives up in the end, whoever talks
// comes to an end: then nothing may be left at the desk.
func (w *lobby) settle() {
	w.stormy = false
	w.playFor(15 * second) // a brain that died is replaced, a request that was lost comes again
	if w.fault == nil && w.brain == nil {
		w.broken("nobody took over")
	}
	for _, n := range w.nodes {
		for _, c := range n.callers {
			w.after(w.between(0, minute), func() { w.hangUp(c) })
		}
	}
	w.playFor(5 * minute) // a node that died is given up, talks and wrap-ups end
	if w.fault == nil {
		w.brain.checkSettled()
	}
}

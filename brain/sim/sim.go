// Package sim plays accounts, nodes and brains against the live state of the brain, with everything that goes
// wrong between them, from one seed. It knows the truth, which is what happens at the edge, and holds the
// production machines to it after every step. It is pure: the same seed always plays the same.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
)

// Options of a run.
type Options struct {
	Events int    // steps with faults; 0 means DefaultEvents. Then follows a calm, in which all must come right
	Mutant string // "" or MutantFence: what is broken on purpose, to see whether the invariants find it
}

// DefaultEvents is some seven minutes of the edge: several restarts of everything, and longer than a lease.
const DefaultEvents = 2000

// MutantFence lets an owner that was replaced write on.
const MutantFence = "fence"

// Run plays one seed. An error names the seed, the step and the invariant that does not hold.
func Run(seed uint64, opt Options) error {
	if opt.Events == 0 {
		opt.Events = DefaultEvents
	}
	w := newWorld(seed, opt)
	w.storm()
	w.settle()
	if w.fault != nil {
		return fmt.Errorf("seed %d, step %d, at %d ms: %w", seed, w.steps, w.now, w.fault)
	}
	return nil
}

const (
	begin        = int64(1_800_000_000_000) // epoch milliseconds at which every run begins
	reportPeriod = 10_000                   // milliseconds between the reports of a node
	second       = 1000
	minute       = 60 * second
)

// stage is what every world stands on: its time, its dice, and what is yet to happen.
type stage struct {
	rng     *rand.Rand
	now     int64 // the true time, epoch milliseconds; nobody's clock
	todo    agenda
	planned int
	steps   int
	stormy  bool
	fault   error
}

func newStage(seed, stream uint64) stage {
	return stage{rng: rand.New(rand.NewPCG(seed, stream)), now: begin, stormy: true}
}

// world is everything there is: the edge with its truth, the journal, and the brains that own it in turn.
type world struct {
	stage
	opt Options

	accounts []*account
	nodes    []*node
	calls    []*call
	byToken  map[string]*call
	journal  journal
	owner    *owner // nil while there is none
	stale    *owner // the one before, as long as it does not know
	owners   int
}

func newWorld(seed uint64, opt Options) *world {
	w := &world{stage: newStage(seed, 0x51), opt: opt, byToken: map[string]*call{}}
	for i := range 2 {
		w.accounts = append(w.accounts, newAccount(i, w.rng))
	}
	w.journal.snapshots = make([]snapshot, len(w.accounts))
	for i := range 3 {
		n := &node{name: fmt.Sprint("n", i), skew: w.between(-90*second, 90*second), seq: 1000, reachable: true}
		w.nodes = append(w.nodes, n)
		n.start(w)
		w.after(w.between(0, reportPeriod), func() { w.reportLoop(n) })
		w.after(w.between(0, second), func() { w.deliverLoop(n) })
	}
	w.takeOver()
	w.after(second, w.tickLoop)
	w.after(1, w.traffic)
	w.after(w.between(5*second, 30*second), w.trouble)
	return w
}

// storm plays until its events are used up.
func (w *world) storm() {
	for w.steps < w.opt.Events && w.fault == nil {
		w.step()
	}
}

// settle stops every fault and holds the end: after two report periods and the margin the places are the calls, but
// for calls that no node can tell of; after the lease of those, all of them.
func (w *world) settle() {
	w.stormy = false
	for _, n := range w.nodes {
		n.reachable = true
	}
	w.playFor(15 * second) // a brain that died is replaced, a journal that stood still goes on
	if w.owner == nil {
		w.broken("nobody took over")
		return
	}
	w.playFor(2*reportPeriod + 15*second)
	if w.fault != nil {
		return
	}
	w.checkPlaces(false)
	w.checkTrunks()
	w.playFor(6 * minute)
	w.checkPlaces(true)
	w.checkPhones()
}

func (s *stage) playFor(ms int64) {
	for end := s.now + ms; s.fault == nil && s.todo[0].at <= end; {
		s.step()
	}
}

func (s *stage) step() {
	next := heap.Pop(&s.todo).(happening)
	s.now = next.at
	s.steps++
	next.do()
}

// after plans something; what is planned for the same time happens in the order it was planned.
func (s *stage) after(ms int64, do func()) {
	s.planned++
	heap.Push(&s.todo, happening{s.now + max(0, ms), s.planned, do})
}

// between is a random number from low to high.
func (s *stage) between(low, high int64) int64 { return low + s.rng.Int64N(high-low+1) }

// chance is true percent times out of a hundred.
func (s *stage) chance(percent int) bool { return s.rng.IntN(100) < percent }

// bad is chance while there is a storm.
func (s *stage) bad(percent int) bool { return s.stormy && s.chance(percent) }

// broken notes that an invariant does not hold. The first one counts.
func (s *stage) broken(format string, args ...any) {
	if s.fault == nil {
		s.fault = fmt.Errorf(format, args...)
	}
}

type happening struct {
	at int64
	n  int
	do func()
}

// agenda is a heap of what will happen.
type agenda []happening

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push and Pop are for container/heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(happening)) }

// Pop takes the last off.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = happening{}
	*a = (*a)[:last]
	return x
}

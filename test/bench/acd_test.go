package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/journal"
)

// What is expected of the queues of one account.
const (
	wantCycles = 20_000 // a second, with the journal on disk
	wantGrowth = 2.0    // of what an event costs, from 1,000 callers who wait to 10,000
)

// patience is how long somebody who has let an agent go waits for the next offer: far longer than it takes.
const patience = 5 * time.Second

// turn is one cycle of a centre where all agents talk: a caller joins, the longest talk ends, so its agent is reserved
// for the caller who is next, claims and confirms. It calls took after each of the four.
func (c *centre) turn(ctx context.Context, took func()) error {
	if err := c.join(ctx); err != nil {
		return err
	}
	took()
	if err := c.desk.leave(ctx, <-c.talks); err != nil {
		return err
	}
	took()
	var r ring
	select {
	case r = <-c.rung: // mostly it is there already
	default:
		select {
		case r = <-c.rung:
		case <-time.After(patience):
			return errors.New("an agent was let go and nobody rung")
		}
	}
	if err := c.takeUp(ctx, r, took); err != nil {
		return err
	}
	c.talks <- r.entry
	return nil
}

// takeUp has an agent answer who is rung.
func (c *centre) takeUp(ctx context.Context, r ring, took func()) error {
	if err := c.desk.claim(ctx, r); err != nil {
		return err
	}
	took()
	if err := c.desk.confirm(ctx, r); err != nil {
		return err
	}
	took()
	return nil
}

// fill lets callers join until all agents talk and so many wait, from several at once where the desk takes that.
func (c *centre) fill(ctx context.Context, waiting, callers int) error {
	var all sync.WaitGroup
	errs := make([]error, callers)
	each := func(n int, do func() error) error {
		for i := range callers {
			all.Go(func() {
				for k := i; k < n && errs[i] == nil; k += callers {
					errs[i] = do()
				}
			})
		}
		all.Wait()
		return errors.Join(errs...)
	}
	none := func() {}
	err := each(agents, func() error {
		if err := c.join(ctx); err != nil {
			return err
		}
		select {
		case r := <-c.rung:
			c.talks <- r.entry
			return c.takeUp(ctx, r, none)
		case <-time.After(patience):
			return errors.New("an agent is free and nobody rung")
		}
	})
	if err == nil {
		err = each(waiting, func() error { return c.join(ctx) })
	}
	if err == nil && (len(c.talks) != agents || len(c.rung) != 0) {
		err = fmt.Errorf("%d talk, %d are rung", len(c.talks), len(c.rung))
	}
	return err
}

// work lets callers make turns for a time, each one after the other and with a context of his own, as requests of nodes have.
func (c *centre) work(b *testing.B, callers int, during time.Duration) (round, float64) {
	b.Helper()
	var all sync.WaitGroup
	times, turns := make([][]time.Duration, callers), make([]int, callers)
	began, cpuBefore := time.Now(), cpuTime(b)
	for i := range callers {
		all.Go(func() {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			at := time.Now()
			took := func() {
				now := time.Now()
				times[i] = append(times[i], now.Sub(at))
				at = now
			}
			for ; at.Sub(began) < during; turns[i]++ {
				if err := c.turn(ctx, took); err != nil {
					b.Errorf("caller %d: %v", i, err)
					return
				}
			}
		})
	}
	if all.Wait(); b.Failed() {
		b.FailNow()
	}
	took, cpu := time.Since(began), cpuTime(b)-cpuBefore
	ops, cycles := slices.Concat(times...), 0
	slices.Sort(ops)
	for _, n := range turns {
		cycles += n
	}
	return round{float64(len(ops)) / took.Seconds(), cpu / time.Duration(cycles), ops[len(ops)/2], ops[len(ops)*99/100]}, float64(cycles) / took.Seconds()
}

// BenchmarkACD_Cycles measures how many callers a second one account serves, 2,000 agents in ten queues and 1,000 callers
// who wait: each cycle is a join, the end of another talk, the reservation that follows from it, its claim and its confirm,
// four operations that each wait for the journal. By the machine alone, by the whole brain with a journal in memory, and
// with the embedded one that syncs every write. The times are those of one operation. The node is one that takes each
// order at once. Below what is expected it fails.
//
//	go test -run '^$' -bench ACD -benchtime 1x ./test/bench/
func BenchmarkACD_Cycles(b *testing.B) {
	run := func(name string, callers int, want float64, open func(b *testing.B) *centre) {
		b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
			for b.Loop() { // takes long enough for one pass
				c := open(b)
				if err := c.fill(b.Context(), 1_000, callers); err != nil {
					b.Fatal(err)
				}
				c.work(b, callers, stateTime/6) // warm
				r, cycles := c.work(b, callers, stateTime)
				c.close()
				b.ReportMetric(cycles, "cycles/s")
				b.ReportMetric(r.perSecond, "ops/s")
				b.ReportMetric(float64(r.p50.Nanoseconds())/1000, "p50-µs")
				b.ReportMetric(float64(r.p99.Nanoseconds())/1000, "p99-µs")
				b.ReportMetric(float64(r.cpu.Nanoseconds())/1000, "cpu-µs/cycle")
				if cycles < want {
					b.Errorf("%.0f cycles a second, %.0f are expected; p50 %v, p99 %v, processor time of a cycle %v", cycles, want, r.p50, r.p99, r.cpu)
				}
			}
		})
	}
	on := func(open func(b *testing.B) shardLogs) func(b *testing.B) *centre {
		return func(b *testing.B) *centre { return newBrainCentre(b, open(b)) }
	}
	run("machine", 1, 0, newMachineCentre)
	for _, callers := range []int{64, actor.MailboxSize} { // more callers than that would be refused
		want := 0.0
		if callers == actor.MailboxSize {
			want = wantCycles
		}
		run("memory", callers, 0, on(func(*testing.B) shardLogs { return inMemory() }))
		run("embedded", callers, want, on(func(b *testing.B) shardLogs { return openBus(b, journal.Config{Dir: b.TempDir()}) }))
	}
}

// BenchmarkACD_Growth measures what one event costs the machine of an account by the number of callers who wait. Rounds of
// the sizes take turns, and medians are told, so that other load falls on all of them. A millisecond passes with each
// cycle; announcements of positions and whatever else is due then are events as well. Beyond the expected growth it fails.
func BenchmarkACD_Growth(b *testing.B) {
	sizes := []int{10, 1_000, 10_000}
	const rounds, turns = 15, 1_000
	for b.Loop() {
		var centres []*centre
		for _, waiting := range sizes {
			c := newMachineCentre(b)
			if err := c.fill(b.Context(), waiting, 1); err != nil {
				b.Fatal(err)
			}
			centres = append(centres, c)
		}
		cost := make([][]float64, len(sizes)) // ns an event
		for range rounds {
			for i, c := range centres {
				m := c.desk.(*machineDesk)
				before, began := m.events, cpuTime(b)
				for range turns {
					if err := c.turn(b.Context(), func() {}); err != nil {
						b.Fatal(err)
					}
				}
				cost[i] = append(cost[i], float64((cpuTime(b)-began).Nanoseconds())/float64(m.events-before))
			}
		}
		for i, waiting := range sizes {
			slices.Sort(cost[i])
			b.ReportMetric(cost[i][rounds/2]/1000, fmt.Sprintf("µs/event-%d-waiting", waiting))
		}
		growth := cost[2][rounds/2] / cost[1][rounds/2]
		if b.ReportMetric(growth, "x-from-1000-to-10000"); growth > wantGrowth {
			b.Errorf("an event costs %.2f times as much with ten times the callers, %.1f are expected", growth, wantGrowth)
		}
	}
}

// Command acd is the second half of `make bench-acd`: how long it takes from an agent who becomes free to the order to ring
// him, written to FreeSWITCH's socket. The real brain, the real node agent and the stand-in for FreeSWITCH with callers who
// wait; and beside it, in the same run, a dispatcher that looks into its tables every 100 ms and gives the same order to
// the same node agent.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/test/edge"
)

// want is what is expected of the 99th percentile, beyond one round trip.
const want = 5 * time.Millisecond

func main() {
	var s size
	flag.IntVar(&s.agents, "agents", 100, "agents")
	flag.IntVar(&s.callers, "callers", 20, "callers who wait")
	flag.IntVar(&s.samples, "samples", 1500, "times that an agent becomes free, for the brain")
	flag.IntVar(&s.polled, "polled", 300, "times that an agent becomes free, for the dispatcher that polls")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench-acd:", err)
		os.Exit(1)
	}
}

type size struct{ agents, callers, samples, polled int }

// figures are what was measured, in the order of time.
type figures struct {
	dispatched []time.Duration // the agent is free → the order to ring is in FreeSWITCH's socket
	answered   []time.Duration // … → the brain has answered the agent
	polled     []time.Duration // the agent is free in the table → the order to ring is in FreeSWITCH's socket
	carried    []time.Duration // the last part of it: the op sent to the node agent → the order is in FreeSWITCH's socket
	emptyOp    []time.Duration // an op that does nothing, there and back
	health     []time.Duration // the node agent's page, there and back
	synced     []time.Duration // a write of the size of a record, with fsync, on the disk that holds the journal
}

func run(ctx context.Context, out io.Writer, s size) error {
	defer edge.RemoveBinaries()
	dir, err := os.MkdirTemp("", "sipio-bench-acd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n, err := newNode(ctx, dir, s)
	if err != nil {
		return err
	}
	defer n.stop()
	p, err := newPoller(ctx, dir, n)
	if err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	defer p.stop()
	before := loadAverage()
	f, err := measure(ctx, n, p, s)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.tails())
	}
	fmt.Fprintf(out, "%d agents, %d callers who wait; load average %s before, %s after\n", s.agents, s.callers, before, loadAverage())
	f.tell(out)
	return nil
}

// measure lets agents become free one at a time, at random moments, for the brain and for the dispatcher by turns.
func measure(ctx context.Context, n *node, p *poller, s size) (f figures, err error) {
	const warm = 20
	turns := max(1, s.samples/max(1, s.polled))
	for i := range s.samples + warm {
		took, answered, err := n.free(ctx, n.agents[i%len(n.agents)])
		if err != nil {
			return f, fmt.Errorf("sample %d: %w", i, err)
		}
		empty, health, err := n.roundTrips(ctx)
		if err != nil {
			return f, err
		}
		synced, err := p.sync()
		if err != nil {
			return f, err
		}
		if i < warm {
			continue
		}
		f.dispatched, f.answered = append(f.dispatched, took), append(f.answered, answered)
		f.emptyOp, f.health, f.synced = append(f.emptyOp, empty), append(f.health, health), append(f.synced, synced)
		if i%turns == 0 && len(f.polled) < s.polled {
			time.Sleep(rand.N(pollEvery)) // sleep: anywhere between two looks
			took, carried, err := p.free(ctx, n.agents[i%len(n.agents)])
			if err != nil {
				return f, fmt.Errorf("sample %d, polled: %w", i, err)
			}
			f.polled, f.carried = append(f.polled, took), append(f.carried, carried)
		}
		time.Sleep(5*time.Millisecond + rand.N(20*time.Millisecond)) // sleep: agents do not become free at a beat
	}
	return f, nil
}

func (f *figures) tell(out io.Writer) {
	line := func(what string, times []time.Duration) {
		fmt.Fprintf(out, "%-64s %5d times: p50 %s, p99 %s, most %s\n", what, len(times), ms(at(times, 50)), ms(at(times, 99)), ms(at(times, 100)))
	}
	line("agent free → order to ring in FreeSWITCH's socket", f.dispatched)
	line("the same, by a dispatcher that polls every 100 ms", f.polled)
	line("… its last part, from the op to that socket", f.carried)
	line("agent free → the agent is answered", f.answered)
	line("round trip of an op that does nothing", f.emptyOp)
	line("round trip of the node agent's health page", f.health)
	line("write of a record with fsync on the journal's disk", f.synced)
	beyond := at(f.dispatched, 99) - at(f.emptyOp, 50)
	fmt.Fprintf(out, "p99 beyond one round trip (p50 of an op that does nothing): %s, %s expected; the polling one %.0f times that at p50, %.0f times at p99\n",
		ms(beyond), ms(want), float64(at(f.polled, 50))/float64(at(f.dispatched, 50)), float64(at(f.polled, 99))/float64(at(f.dispatched, 99)))
}

// at is a percentile.
func at(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

// loadAverage is that of the last minute.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

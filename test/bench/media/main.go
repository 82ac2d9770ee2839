// Command media is the second half of `make bench-media`: what it costs a node to hold calls in a menu. The real node
// agent drives the stand-in for FreeSWITCH for a brain that knows one menu; callers press a key twice a second. The
// same calls are then only answered and left alone, by an agent that does nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sipio/sipio/test/edge"
)

func main() {
	calls := flag.Int("calls", 100, "calls at once")
	seconds := flag.Int("seconds", 20, "how long each half is measured")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *calls, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "bench-media:", err)
		os.Exit(1)
	}
}

// figures of one half.
type figures struct {
	steps            int64
	agentUS, mediaUS float64 // processor time a step; for parked calls a key press
	p50, p99         float64 // ms from the event of a digit to the next command
}

func run(ctx context.Context, out io.Writer, calls int, d time.Duration) error {
	defer edge.RemoveBinaries()
	driven, err := half(ctx, calls, d, true)
	if err != nil {
		return fmt.Errorf("in a menu: %w", err)
	}
	parked, err := half(ctx, calls, d, false)
	if err != nil {
		return fmt.Errorf("parked: %w", err)
	}
	fmt.Fprintf(out, "%d calls, a key each every 500 ms, %v\n", calls, d)
	fmt.Fprintf(out, "in a menu:  %6d steps, agent %.0f µs and media server %.0f µs of processor time a step; digit to next command p50 %.2f ms, p99 %.2f ms\n",
		driven.steps, driven.agentUS, driven.mediaUS, driven.p50, driven.p99)
	fmt.Fprintf(out, "left alone: %6d keys,  media server %.0f µs a key; a step costs the media server %.2f times a key that nobody minds\n",
		parked.steps, parked.mediaUS, driven.mediaUS/parked.mediaUS)
	return nil
}

// half measures calls that are driven by the node agent, or only answered.
func half(ctx context.Context, calls int, d time.Duration, driven bool) (f figures, err error) {
	dir, err := os.MkdirTemp("", "sipio-bench-media-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir)
	n, err := newNode(ctx, dir, driven)
	if err != nil {
		return f, err
	}
	defer n.stop()
	caller, err := n.dial(ctx, calls)
	if err != nil {
		return f, fmt.Errorf("%w\n%s", err, n.tails())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go n.press(ctx, caller)
	if err := wait(ctx, 2*time.Second); err != nil {
		return f, err
	}
	before := n.sample()
	if err := wait(ctx, d); err != nil {
		return f, err
	}
	after := n.sample()
	f.steps = after.steps - before.steps
	if f.steps == 0 {
		return f, fmt.Errorf("no step was made\n%s", n.tails())
	}
	f.agentUS = float64((after.agent - before.agent).Microseconds()) / float64(f.steps)
	f.mediaUS = float64((after.media - before.media).Microseconds()) / float64(f.steps)
	if driven {
		f.p50, f.p99, err = n.digitTimes()
	}
	return f, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/client"
)

// Bounds of a watch.
const (
	watchEvery    = time.Second      // waits are shown to the second
	watchPatience = 30 * time.Second // of a brain that does not answer any more
	watchRows     = 20               // of each table: a screen is not a list
)

func newQueueWatch(s *server) *cobra.Command {
	var account string
	var span time.Duration
	var rows int
	cmd := &cobra.Command{
		Use:   "watch [NAME]",
		Short: "Watch all queues of an account, or the callers and agents of one",
		Long: "Shows how the queues stand, or with NAME who waits in one and who serves it, until Ctrl-C or for as long as --for says.\n" +
			"A terminal is redrawn in place; elsewhere a block is written for each change, where waits that only grow are none. The brain is asked\n" +
			"once a second, so what lasts shorter may not be seen; a brain that answers no more is asked for " + watchPatience.String() + " before the watch fails.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case span < 0:
				return fmt.Errorf("--for %v: give a time from now, or 0 for no end", span)
			case rows < 1:
				return fmt.Errorf("--rows %d: give 1 or more", rows)
			}
			c, id, err := s.account(cmd.Context(), account)
			if err != nil {
				return err
			}
			w := watch{out: cmd.OutOrStdout(), terminal: isTerminal(cmd.OutOrStdout()), every: watchEvery, patience: watchPatience, span: span}
			w.look = func(ctx context.Context) (scene, error) { return queuesScene(ctx, c, id, rows) }
			if len(args) == 1 {
				q, err := queueID(cmd.Context(), c, id, args[0])
				if err != nil {
					return err
				}
				w.look = func(ctx context.Context) (scene, error) { return queueScene(ctx, c, id, q, rows) }
			}
			return w.run(cmd.Context())
		},
	}
	addAccountFlag(cmd, &account)
	addTerm(cmd.Flags(), &span, "for", "end after so long, for example 10m; 0 = at Ctrl-C")
	cmd.Flags().IntVar(&rows, "rows", watchRows, "show at most so many rows of each table; what is below the screen is not seen")
	return cmd
}

// scene is what a watch shows at one moment.
type scene struct {
	atMS int64 // brain's time
	text []byte
	same string // equal while nothing changed but the time
}

// queuesScene looks at all queues.
func queuesScene(ctx context.Context, c *client.Client, accountID string, rows int) (scene, error) {
	list, at, err := c.Queues(ctx, accountID, client.QueueQuery{})
	if err != nil {
		return scene{}, err
	}
	var text bytes.Buffer
	if err := queueTable(list.Queues, rows).write(&text); err != nil {
		return scene{}, err
	}
	leftOut(&text, len(list.Queues), rows)
	timeless := make([]api.QueueState, 0, len(list.Queues))
	for _, q := range list.Queues {
		timeless = append(timeless, withoutTime(q))
	}
	return scene{at.UnixMilli(), text.Bytes(), fmt.Sprintf("%+v", timeless)}, nil
}

// queueScene looks at one queue.
func queueScene(ctx context.Context, c *client.Client, accountID, id string, rows int) (scene, error) {
	view, err := lookAtQueue(ctx, c, accountID, id, client.Period{})
	if err != nil {
		return scene{}, err
	}
	var text bytes.Buffer
	if err := view.write(&text, rows); err != nil {
		return scene{}, err
	}
	at := view.atMS
	view.atMS, view.Queue = 0, withoutTime(view.Queue)
	view.Queue.Figures = api.Figures{} // are not shown
	for i := range view.Agents {
		view.Agents[i].Figures = api.Figures{}
	}
	return scene{at, text.Bytes(), fmt.Sprintf("%+v", view)}, nil
}

// withoutTime is the queue without what changes as time goes by.
func withoutTime(q api.QueueState) api.QueueState {
	q.LongestMS, q.EWTMS = 0, 0
	f := &q.Figures
	f.AbandonRate, f.ASAMS, f.AHTMS, f.ServiceLevel, f.Occupancy, f.Utilization = nil, nil, nil, nil, nil, nil
	return q
}

// watch looks again and again, and shows what it sees.
type watch struct {
	look            func(context.Context) (scene, error)
	out             io.Writer
	terminal        bool
	every, patience time.Duration
	span            time.Duration // 0 = until ctx ends
}

// Sequences of ECMA-48, and of xterm what every terminal knows.
const (
	wrapOff   = "\x1b[?7l" // a long line is cut, so that each has its place
	wrapOn    = "\x1b[?7h"
	eraseAll  = "\x1b[2J"
	eraseLine = "\x1b[K" // from here on
	eraseRest = "\x1b[J"
	lineStart = "\x1b[%d;1H" // of a line of the screen, 1 = the first; of the last one if there are fewer, so that nothing scrolls
)

// run ends without an error when ctx or the span does, once something was seen.
func (w *watch) run(ctx context.Context) error {
	now, err := w.look(ctx)
	if err != nil {
		return err
	}
	if w.span > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.span)
		defer cancel()
	}
	if w.terminal {
		fmt.Fprint(w.out, wrapOff+eraseAll)
		defer fmt.Fprintln(w.out, wrapOn)
	}
	if err := w.show(now, ""); err != nil {
		return err
	}
	return w.follow(ctx, now)
}

// follow shows what comes after the first scene.
func (w *watch) follow(ctx context.Context, now scene) error {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	seen := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		next, err := w.look(ctx)
		remark, show := "", w.terminal
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			seen, show = time.Now(), show || next.same != now.same
			now = next
		case isRefusal(err) || time.Since(seen) > w.patience:
			return err
		default:
			remark = "no answer for " + clock(time.Since(seen).Milliseconds())
		}
		if !show {
			continue
		}
		if err := w.show(now, remark); err != nil {
			return err
		}
	}
}

// show writes one scene, on a terminal over the one before.
func (w *watch) show(now scene, remark string) error {
	head := utc(now.atMS)
	if remark != "" {
		head += "  " + remark
	}
	text := head + "\n" + string(now.text) + "\n"
	if w.terminal {
		var screen strings.Builder
		for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
			fmt.Fprintf(&screen, lineStart+"%s"+eraseLine, i+1, line)
		}
		text = screen.String() + eraseRest
	}
	_, err := io.WriteString(w.out, text)
	return err
}

// isRefusal says whether a brain said no, rather than nothing or not now.
func isRefusal(err error) bool {
	code := brain.CodeOf(err)
	return code != brain.EUnavailable && code != brain.EInternal
}

// isTerminal says whether w is a screen that can be redrawn.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

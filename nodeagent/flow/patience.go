package flow

import (
	"context"
	"log/slog"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// How long a report waits for a brain.
const (
	reportPatience = 70 * time.Minute // one that nobody else can give: brains keep a call without its node for an hour
	retryReport    = 30 * time.Second // the longest pause between two tries of it
	maxWaiting     = 1000             // such reports at once; half as many without a recording
	farewellTime   = 5 * time.Second  // for the last try of an agent that stops
	closeTime      = time.Second      // FreeSWITCH has closed the files of a channel that has gone
)

// patience is how long one question is asked again. It must be closed.
type patience struct {
	of    *Calls
	began time.Time
	wait  time.Duration
	held  bool // it counts as waiting
}

func (c *Calls) newPatience() *patience {
	return &patience{of: c, began: time.Now(), wait: retryFirst}
}

// late says that a caller has waited long enough.
func (p *patience) late() bool { return time.Since(p.began)+p.wait > brainPatience }

// again says how long to wait until the question is asked again, false when it is given up. One that is worth something
// is given up after reportPatience only.
func (p *patience) again(worth worth) (time.Duration, bool) {
	wait := p.wait
	if !p.late() {
		p.wait = min(2*wait, retryMost)
		return wait, true
	}
	if worth == worthNothing || time.Since(p.began)+wait > reportPatience || !p.hold(worth) {
		return 0, false
	}
	p.wait = min(2*wait, retryReport)
	return wait, true
}

// hold counts the question among those that wait, if there is room.
func (p *patience) hold(worth worth) bool {
	if p.held {
		return true
	}
	limit := maxWaiting
	if worth < worthSound {
		limit /= 2
	}
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.of.waiting >= limit {
		return false
	}
	p.of.waiting++
	p.held = true
	return true
}

func (p *patience) close() {
	if p.held {
		p.of.mu.Lock()
		p.of.waiting--
		p.of.mu.Unlock()
	}
}

// worth is what would be lost with a question.
type worth int

const (
	worthNothing worth = iota
	worthEnd           // the end of a call, which the brain would find out by itself, later
	worthSound         // the only word about a message or a recording
)

// worth weighs a question of a call.
func (k *call) worth(req api.FlowRequest) worth {
	k.mu.Lock()
	recorded := k.rec.file != ""
	k.mu.Unlock()
	switch {
	case req.Data["key"] != "" || recorded:
		return worthSound
	case k.gone && req.Outcome != "":
		return worthEnd
	}
	return worthNothing
}

// tell reports the end of a call until a brain has taken it, or it is given up; once more, when ctx has ended.
func (c *Calls) tell(ctx context.Context, req api.FlowRequest, log *slog.Logger) {
	worth := worthEnd
	if req.Data["key"] != "" {
		worth = worthSound
	}
	patience := c.newPatience()
	defer patience.close()
	for {
		asking, cancel := context.WithTimeout(ctx, brainTimeout)
		_, err := c.cfg.Brain.Flow(asking, req)
		cancel()
		if err == nil {
			return
		}
		wait, ok := patience.again(worth)
		if !ok {
			log.Error("no brain takes the end of a call", "key", req.Data["key"], "sha256", req.Data["sha256"], "error", err)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			c.farewell(ctx, req, log)
			return
		}
	}
}

// farewell is the last try of an agent that stops to tell what the next one will not know.
func (c *Calls) farewell(ctx context.Context, req api.FlowRequest, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTime)
	defer cancel()
	if _, err := c.cfg.Brain.Flow(ctx, req); err != nil {
		log.Error("an agent that stops could not tell what it knows of a call", "outcome", req.Outcome, "key", req.Data["key"], "sha256", req.Data["sha256"], "error", err)
	}
}

// partNow ends the service of a call whose agent stops: what a caller who has gone has left is stored and told. All
// other calls are the next agent's.
func (k *call) partNow(ctx context.Context, seq int64, done result) {
	if k.gone {
		k.of.farewell(ctx, k.report(ctx, seq, done), k.log)
	}
}

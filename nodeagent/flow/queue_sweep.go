package flow

import (
	"context"
	"slices"
	"strings"
	"time"
)

// strayAfter is how long an agent's or a supervisor's leg may be nobody's: its caller's call changes hands meanwhile.
const strayAfter = 10 * time.Second

// talks says that a channel is connected to another one by uuid_bridge, past the media server or not.
func (r channelRow) talks() bool {
	return slices.Contains([]string{"CS_SOFT_EXECUTE", "CS_EXCHANGE_MEDIA", "CS_HIBERNATE"}, r.State)
}

// listens says that a supervisor's channel listens to a talk, which it ends with.
func (r channelRow) listens() bool { return r.Application == "eavesdrop" }

// ofOurs says that a channel is the leg of an agent, of a supervisor, or of somebody who is asked to take a caller.
func (r channelRow) ofOurs() bool {
	for _, prefix := range []string{legPrefix, spyPrefix, askedPrefix} {
		if strings.HasPrefix(r.UUID, prefix) {
			return true
		}
	}
	return false
}

// rings says that somebody is rung here to take a caller. c.mu is held.
func (c *Calls) rings(uuid string) bool {
	for _, a := range c.asked {
		if a.out.uuid == uuid {
			return true
		}
	}
	return false
}

// keepAsked looks after who is asked to take a caller without a runner, and after the caller's hold, as the agent did that has
// rung him.
func (c *Calls) keepAsked(ctx context.Context, uuid string, o orphan) {
	if _, err := c.askedBy(ctx, hereWithout(uuid, o.other, o)); err != nil {
		c.log.Warn("nobody looks after who is asked to take a caller", "channel", uuid, "error", err)
	}
}

// list asks FreeSWITCH for its channels. It takes a while when there are many: orders to ring an agent do not wait for it.
func (c *Calls) list(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	return c.cfg.Switch.Job(ctx, "show channels as json")
}

// lookLeg judges the leg of an agent or supervisor: one that neither talks, nor listens, nor is waited for here is hung up
// after strayAfter.
func (c *Calls) lookLeg(ctx context.Context, row channelRow, now time.Time) {
	c.mu.Lock()
	since, known := c.strays[row.UUID]
	switch {
	case c.legs[row.UUID] != nil || c.spies[row.UUID] != nil || c.rings(row.UUID) || row.talks() || row.listens():
		delete(c.strays, row.UUID)
		since = now
	case !known:
		c.strays[row.UUID] = now
		since = now
	}
	c.mu.Unlock()
	if now.Sub(since) < strayAfter {
		return
	}
	c.log.Warn("a leg of nobody is hung up", "channel", row.UUID, "for", now.Sub(since))
	if _, err := c.order(ctx, "uuid_kill "+row.UUID+" NORMAL_CLEARING"); err != nil {
		c.log.Warn("it could not be hung up", "channel", row.UUID, "error", err)
	}
}

// confirmAll tells the desk of the talks that go on without a runner and that it may not have heard of. The first one
// that no brain takes ends it until the next sweep.
func (c *Calls) confirmAll(ctx context.Context) {
	type talk struct {
		channel string
		s       service
	}
	var list []talk
	if c.cfg.Desk == nil {
		return
	}
	c.mu.Lock()
	for uuid, o := range c.orphans {
		if s, ok := parseService(o.acct, o.service); ok && o.alone && !s.confirmed {
			list = append(list, talk{uuid, s})
		}
	}
	c.mu.Unlock()
	for _, t := range list {
		asking, cancel := context.WithTimeout(ctx, deskTimeout)
		ok := c.confirm(asking, t.channel, t.s, c.log)
		cancel()
		if !ok {
			return
		}
		t.s.confirmed = true
		c.mu.Lock()
		if o, still := c.orphans[t.channel]; still {
			o.service = t.s.String()
			c.orphans[t.channel] = o
		}
		c.mu.Unlock()
	}
}

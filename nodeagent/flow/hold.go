package flow

import (
	"context"
	"strconv"
	"time"
)

// displace has a channel hear a sound over and over in place of whom it talks to, and that one silence; "f": so that a recording
// has what is heard.
func (c *Calls) displace(ctx context.Context, channel, sound string, limit time.Duration) error {
	_, err := c.order(ctx, "uuid_displace "+channel+" start "+sound+" "+strconv.Itoa(int(limit/time.Second))+" fl")
	return err
}

// giveOrder gives FreeSWITCH an order: over the inbound connection, or over that of a call.
type giveOrder = func(ctx context.Context, command string) (string, error)

// undisplace ends displace, if it is on. A refusal says that it is not, or that the channel has gone; after an error it may be.
func undisplace(ctx context.Context, order giveOrder, channel, sound string) error {
	_, err := order(ctx, "uuid_displace "+channel+" stop "+sound)
	if isRefusal(err) {
		return nil
	}
	return err
}

// offHold takes a caller off hold and forgets who is asked: the last of all that is done, so that it is done again when it failed.
func offHold(ctx context.Context, order giveOrder, channel string, note consultNote) error {
	if err := undisplace(ctx, order, channel, note.music); err != nil {
		return err
	}
	if _, err := order(ctx, "uuid_setvar "+channel+" "+consultVariable); err != nil && !isRefusal(err) {
		return err
	}
	return nil
}

// insist does something until it is done or FreeSWITCH has refused it, as long as ctx lasts.
func insist(ctx context.Context, do func(ctx context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil || isRefusal(err) {
			return err
		}
		select {
		case <-time.After(killEvery):
		case <-ctx.Done():
			return err
		}
	}
}

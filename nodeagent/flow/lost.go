package flow

import (
	"context"
	"time"
)

// causeLost stands for the hangup cause of a call whose media server died.
const causeLost = "LOST"

const (
	lostPatience = 5 * time.Second // for another agent, or another runner, to have the call
	lostEvery    = 500 * time.Millisecond
)

// lost finds out what a connection's end means that no hang-up went before. False: the call goes on, with
// another runner or without one, and nothing is to be reported. True: it is positively over, FreeSWITCH says so or
// is dead itself; the dialogs of a dead one are ended at the edge, because it sent no BYE.
func (k *call) lost(ctx context.Context) bool {
	end := time.NewTimer(lostPatience)
	defer end.Stop()
	tick := time.NewTicker(lostEvery)
	defer tick.Stop()
	for {
		there, err := k.of.exists(ctx, k.uuid)
		switch {
		case k.of.taken(k):
			return false
		case err == nil && there:
			k.log.Warn("the connection of a call was lost; the call is still there")
			return false
		case err == nil:
			k.end(ctx)
			return true
		}
		select {
		case <-tick.C:
		case <-end.C:
			k.log.Error("the media server does not answer and has closed the connection: the call is lost", "error", err)
			k.end(ctx)
			return true
		case <-ctx.Done():
			k.stopping = true
			return false
		}
	}
}

// end ends the call's dialogs at the edge.
func (k *call) end(ctx context.Context) {
	k.cause = causeLost
	k.mu.Lock()
	dialogs := append([]string{k.callID, k.leg}, k.spied...)
	k.mu.Unlock()
	for _, callID := range dialogs {
		if callID == "" {
			continue
		}
		if err := k.of.cfg.Edge.EndDialog(ctx, callID); err != nil {
			k.log.Warn("a dialog of a lost call could not be ended", "call_id", callID, "error", err)
		}
	}
}

// exists asks FreeSWITCH whether a channel is there.
func (c *Calls) exists(ctx context.Context, uuid string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	body, err := c.cfg.Switch.API(ctx, "uuid_exists "+uuid)
	return body == "true", err
}

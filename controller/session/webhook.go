package session

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/flow"
	"github.com/sipio/sipio/brain/session"
)

// maxWebhooks bounds the servers that are being told at once; beyond it nobody is told, and the log says so.
const maxWebhooks = 512

// webhookPauses are those between the tries; after the last one it is given up.
var webhookPauses = []time.Duration{time.Second, 5 * time.Second, 25 * time.Second}

// webhook tells a server in its own time: the call does not wait for it. An effect that is performed again while it is
// on its way is told once; later again, under the same key.
func (c *Calls) webhook(ctx context.Context, accountID string, reply *session.Reply, e *session.Effect) error {
	if c.HTTP == nil {
		return errNobody
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.telling[e.ID]:
		return nil
	case len(c.telling) >= maxWebhooks:
		return brain.Errorf(brain.EConflict, "%d servers are being told at once", maxWebhooks)
	case c.telling == nil:
		c.telling = map[string]bool{}
	}
	c.telling[e.ID] = true
	go c.tell(context.WithoutCancel(ctx), accountID, reply.CallID, *e)
	return nil
}

// tell posts until it is taken, refused, or tried for long enough.
func (c *Calls) tell(ctx context.Context, accountID, callID string, e session.Effect) {
	defer func() {
		c.mu.Lock()
		delete(c.telling, e.ID)
		c.mu.Unlock()
	}()
	call := &flow.HTTPCall{Method: "POST", URL: e.URL, Headers: map[string]string{"Content-Type": "application/json"}, Body: e.Body}
	for try := 0; ; try++ {
		outcome, data := c.HTTP.Do(ctx, call, accountID, e.ID)
		if outcome == httpSuccess {
			return
		}
		if try >= len(webhookPauses) || !worthAgain(outcome, data["status"]) {
			c.faults.Add(1)
			c.Log.LogAttrs(ctx, slog.LevelWarn, "a server was not told of a key in a queue", slog.String("account", accountID), slog.String("call_id", callID),
				slog.String("id", e.ID), slog.Int("tries", try+1), slog.String("outcome", outcome), slog.String("status", data["status"]), slog.String("reason", data["reason"]))
			return
		}
		<-time.NewTimer(webhookPauses[try]).C
	}
}

// worthAgain tells whether a server may take later what it did not take now.
func worthAgain(outcome, status string) bool {
	code, err := strconv.Atoi(status)
	return outcome == httpTimeout || err != nil || code == 408 || code == 425 || code == 429 || code >= 500
}

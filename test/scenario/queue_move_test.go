package scenario

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// moved is what the account line has beside: a queue with two agents, and a user who serves none.
const moved = `---
kind: sip_user
account: line
name: "3501"
spec: {is_agent: true, auto_ready_on_login: true, auto_queue_login: true}
---
kind: sip_device
account: line
name: 3501@line.test
spec: {user_id: "3501", password: secret-3501}
---
kind: sip_user
account: line
name: "3502"
spec: {is_agent: true, auto_ready_on_login: true, auto_queue_login: true}
---
kind: sip_device
account: line
name: 3502@line.test
spec: {user_id: "3502", password: secret-3502}
---
kind: sip_user
account: line
name: "3503"
spec: {display_name: Uma}
---
kind: sip_device
account: line
name: 3503@line.test
spec: {user_id: "3503", password: secret-3503}
---
kind: queue
account: line
name: crowd
spec: {moh_media_id: music, moh_mode: file, agent_ring_timeout_sec: 15, wrap_up_sec: 60}
---
kind: agent_queue_assignment
account: line
name: crowd/3501
spec: {queue_id: crowd, user_id: "3501"}
---
kind: agent_queue_assignment
account: line
name: crowd/3502
spec: {queue_id: crowd, user_id: "3502"}
---
kind: did
account: line
name: "4930781"
spec: {dest_kind: queue, dest_id: crowd}
`

// Three wait and nobody is there. The third is moved up and is served first, the second is sent to a user and the two hear each
// other; asked for again both are answered alike, and who is with an agent is neither moved nor sent. The agent who is logged out
// while he rings is not rung any more, and the first caller gets the other agent; that one, logged out in the talk, talks on, and is
// out without work after the call.
func TestQueue_ASupervisorMovesAndSendsCallers(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, moved, edge.Options{})
	ctx := within(t, 120*time.Second)
	uma, one := registered(t, n.Edge, "3503", realm("line.test")), registered(t, n.Edge, "3501", realm("line.test"))
	callers := map[string]*phone.Call{}
	for _, from := range []string{"4930595", "4930596", "4930597"} {
		callers[from] = n.caller(t, ctx, from, "4930781")
	}
	entry := n.lineUp(t, ctx, "4930595 4930596 4930597")

	for range 2 {
		var now api.MoveReply
		if err := n.post(ctx, n.path(api.PathQueueMove), api.MoveRequest{EntryID: entry["4930597"], Place: 1}, &now); err != nil || now.Place != 1 {
			t.Fatalf("moved: %+v %v", now, err)
		}
	}
	n.lineUp(t, ctx, "4930597 4930595 4930596")

	send := api.SendRequest{EntryID: entry["4930596"], Target: to("user", "3503")}
	sends := func() {
		t.Helper()
		var gone api.SendReply
		if err := n.post(ctx, n.path(api.PathQueueSend), send, &gone); err != nil || gone.EntryID != send.EntryID || gone.Target.ID != n.users["3503"] {
			t.Fatalf("sent: %+v %v", gone, err)
		}
	}
	other := takes(t, ctx, uma, sends)
	talk(t, ctx, callers["4930596"], other)
	sends()
	talk(t, ctx, callers["4930596"], other)
	done(t, ctx, callers["4930596"], other)
	n.lineUp(t, ctx, "4930597 4930595")

	agent := takes(t, ctx, one, func() { n.agent(t, ctx, "3501", "login") })
	talk(t, ctx, callers["4930597"], agent)
	for path, req := range map[string]any{api.PathQueueMove: api.MoveRequest{EntryID: entry["4930597"], Place: 1},
		api.PathQueueSend: api.SendRequest{EntryID: entry["4930597"], Target: to("user", "3503")}} {
		err := n.post(ctx, n.path(path), req, &struct{}{})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(": %d ", http.StatusConflict)) {
			t.Errorf("%s of a caller who is with an agent: %v", path, err)
		}
	}
	n.forcedOut(t, ctx, callers["4930595"], callers["4930597"], agent)
	n.nothingLeft(t, ctx)
}

// forcedOut logs both agents out: the one who talks, and the one who rings for the caller who waits.
func (n *lineNode) forcedOut(t *testing.T, ctx context.Context, waits, served, agent *phone.Call) {
	t.Helper()
	two := registered(t, n.Edge, "3502", realm("line.test"))
	n.agent(t, ctx, "3502", "login")
	rings := ringsNow(t, ctx, two) // after his state says so
	n.bucket(t, ctx, "3502", acd.BucketRing)
	n.agent(t, ctx, "3502", "logout")
	expectStopped(t, rings.Cancelled())
	n.bucket(t, ctx, "3502", acd.BucketOffline)
	if _, err := waits.HearTone(ctx, musicHz); err != nil {
		t.Fatalf("who waits hears no music any more: %v", err)
	}
	n.agent(t, ctx, "3501", "logout")
	talk(t, ctx, served, agent)
	n.bucket(t, ctx, "3501", acd.BucketInCall)
	done(t, ctx, agent, served)
	n.bucket(t, ctx, "3501", acd.BucketOffline)
	again := takes(t, ctx, two, func() { n.agent(t, ctx, "3502", "login") })
	talk(t, ctx, waits, again)
	n.agent(t, ctx, "3502", "logout")
	done(t, ctx, waits, again)
	n.bucket(t, ctx, "3502", acd.BucketOffline)
}

func (n *lineNode) path(of string) string { return of + "?account_id=" + n.account }

// lineUp waits until these callers stand in the queue crowd, in this order, and gives their places by number.
func (n *lineNode) lineUp(t *testing.T, ctx context.Context, want string) map[string]string {
	t.Helper()
	entry := map[string]string{}
	eventually(t, ctx, want+" to wait", func() error {
		q, err := n.queue(ctx, "crowd")
		var order []string
		for _, e := range q.Entries {
			order = append(order, e.CallerNumber)
			entry[e.CallerNumber] = e.EntryID
		}
		if got := strings.Join(order, " "); err == nil && got != want {
			err = fmt.Errorf("%s wait", got)
		}
		return err
	})
	return entry
}

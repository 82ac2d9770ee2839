package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// supervised is what the account line has beside: a supervisor, who is an agent of another queue, a queue that allows everything, one that allows
// listening only, and the agents of the two.
const supervised = `---
kind: sip_user
account: line
name: "3009"
spec: {display_name: Sue, is_agent: true, auto_ready_on_login: true, auto_queue_login: true}
---
kind: sip_device
account: line
name: 3009@line.test
spec: {user_id: "3009", password: secret-3009}
---
kind: queue
account: line
name: open
spec: {moh_media_id: music, moh_mode: file, agent_ring_timeout_sec: 15, allow_listen: true, allow_whisper: true, allow_barge: true}
---
kind: agent_queue_assignment
account: line
name: open/3001
spec: {queue_id: open, user_id: "3001"}
---
kind: did
account: line
name: "4930771"
spec: {dest_kind: queue, dest_id: open}
---
kind: queue
account: line
name: half
spec: {moh_media_id: music, moh_mode: file, agent_ring_timeout_sec: 15, allow_listen: true}
---
kind: agent_queue_assignment
account: line
name: half/3002
spec: {queue_id: half, user_id: "3002"}
---
kind: agent_queue_assignment
account: line
name: half/3009
spec: {queue_id: half, user_id: "3009"}
---
kind: did
account: line
name: "4930772"
spec: {dest_kind: queue, dest_id: half}
`

// superviseHz is what the supervisor says; the caller says 440, the agent 620.
const superviseHz = 1000

// Three at a talk that ran past the media server: the supervisor hears both and nobody hears him, then the agent alone hears
// him, then both do; when he is let go, and again when he hangs up, the two still hear each other and the media is released
// again. A talk's end is his too. While he listens he is in a call of his own for the queue that he serves.
func TestQueue_SupervisorListensWhispersBarges(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, supervised, edge.Options{})
	ctx := within(t, 120*time.Second)
	sue := n.desk(t, ctx, "3009")
	anna := n.desk(t, ctx, "3001")
	var caller *phone.Call
	agent := takes(t, ctx, anna, func() { caller = n.through(t, ctx, "4930571", "4930771") })
	n.letGo(t, ctx, caller, agent)
	entry := n.served(t, ctx, "open")

	for _, leaves := range []string{"stop", "bye"} {
		ear := takes(t, ctx, sue, func() { n.supervises(t, ctx, entry, api.OpListen, 200) })
		ear.SendTone(superviseHz)
		three := func(byCaller, byAgent bool) {
			t.Helper()
			blend(t, ctx, "the supervisor", ear, map[float64]bool{440: true, 620: true, superviseHz: false})
			blend(t, ctx, "the caller", caller, map[float64]bool{440: false, 620: true, superviseHz: byCaller})
			blend(t, ctx, "the agent", agent, map[float64]bool{440: true, 620: false, superviseHz: byAgent})
		}
		three(false, false)
		n.bucket(t, ctx, "3009", acd.BucketExtCall)
		n.supervises(t, ctx, entry, api.OpListen, 200)
		n.supervises(t, ctx, entry, api.OpWhisper, 200)
		three(false, true)
		n.supervises(t, ctx, entry, api.OpBarge, 200)
		three(true, true)
		n.supervises(t, ctx, entry, api.OpListen, 200)
		three(false, false)
		if leaves == "stop" {
			n.supervises(t, ctx, entry, api.SuperviseStop, 200)
			hungUp(t, ctx, "the supervisor", ear)
		} else {
			leaveAll(t, ctx, ear)
		}
		n.bucket(t, ctx, "3009", acd.BucketReady)
		n.letGo(t, ctx, caller, agent)
	}
	select {
	case <-sue.Incoming():
		t.Error("the supervisor was rung again for another mode")
	default:
	}
	n.supervises(t, ctx, entry, api.SuperviseStop, 409)
	n.bucket(t, ctx, "3001", acd.BucketInCall)

	ear := takes(t, ctx, sue, func() { n.supervises(t, ctx, entry, api.OpBarge, 200) })
	ear.SendTone(superviseHz)
	blend(t, ctx, "the caller", caller, map[float64]bool{440: false, 620: true, superviseHz: true})
	done(t, ctx, caller, agent)
	hungUp(t, ctx, "the supervisor", ear)
	n.bucket(t, ctx, "3001", acd.BucketReady)
	n.supervises(t, ctx, entry, api.OpListen, 404)
	n.nothingLeft(t, ctx)
}

// What a queue does not allow is refused and rings nobody, and so is a caller who still waits; a supervisor who declines leaves the
// talk as it was.
func TestQueue_SupervisorIsRefused(t *testing.T) {
	n := startLineWith(t, supervised, edge.Options{})
	ctx := within(t, 90*time.Second)
	sue := registered(t, n.Edge, "3009", realm("line.test"))
	caller := n.caller(t, ctx, "4930572", "4930772")
	waiting := n.entry(t, ctx, "half")
	n.supervises(t, ctx, waiting, api.OpListen, 409)
	ben := registered(t, n.Edge, "3002", realm("line.test"))
	agent := takes(t, ctx, ben, func() { n.agent(t, ctx, "3002", "login") })
	n.letGo(t, ctx, caller, agent)
	entry := n.served(t, ctx, "half")
	n.supervises(t, ctx, entry, api.OpWhisper, 403)
	n.supervises(t, ctx, entry, api.OpBarge, 403)
	n.supervises(t, ctx, entry, "sing", 400)
	n.supervises(t, ctx, "nobody", api.OpListen, 404)
	n.supervises(t, ctx, entry, api.OpListen, 200)
	select {
	case in := <-sue.Incoming():
		if err := in.Reject(603, "Decline"); err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("the supervisor was not rung")
	}
	n.letGo(t, ctx, caller, agent)
	done(t, ctx, agent, caller)
	n.nothingLeft(t, ctx)
	quiet(t, "the supervisor, for what is not allowed,", sue)
}

// entry is the one caller of a queue.
func (n *lineNode) entry(t *testing.T, ctx context.Context, queue string) string {
	t.Helper()
	q, err := n.queue(ctx, queue)
	if err != nil || len(q.Entries) != 1 {
		t.Fatalf("queue %s: %+v, %v", queue, q, err)
	}
	return q.Entries[0].EntryID
}

// served is the one caller of a queue, once the brain knows of his talk.
func (n *lineNode) served(t *testing.T, ctx context.Context, queue string) string {
	t.Helper()
	eventually(t, ctx, "the talk to be confirmed", func() error {
		q, err := n.queue(ctx, queue)
		if err == nil && (len(q.Entries) != 1 || q.Entries[0].State != "in_call") {
			err = fmt.Errorf("%+v", q)
		}
		return err
	})
	return n.entry(t, ctx, queue)
}

// supervises asks for a mode for Sue and wants a status.
func (n *lineNode) supervises(t *testing.T, ctx context.Context, entry, mode string, want int) {
	t.Helper()
	body, err := json.Marshal(api.SuperviseRequest{EntryID: entry, UserID: "3009", Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Request(ctx, http.MethodPost, api.PathSupervise+"?account_id="+n.account, "application/json", body)
	if want == http.StatusOK && err != nil || want != http.StatusOK && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf(": %d ", want))) {
		t.Fatalf("%s: %v, want status %d", mode, err, want)
	}
}

// blend waits until a phone hears each of some tones or does not, as wanted, all through half a second.
func blend(t *testing.T, ctx context.Context, who string, ear *phone.Call, want map[float64]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	level := map[float64]float64{}
	for {
		samples, err := ear.Listen(ctx, 500*time.Millisecond)
		if err != nil {
			t.Fatalf("%s hears %v dBFS, want %v: %v", who, level, want, err)
		}
		as := true
		for hz, wanted := range want {
			level[hz] = tone.LevelAt(samples, hz)
			as = as && (wanted && level[hz] > there || !wanted && level[hz] < notThere)
		}
		if as {
			return
		}
	}
}

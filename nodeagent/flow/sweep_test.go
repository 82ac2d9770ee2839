package flow

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

type contextOf = context.Context

const oneChannel = `{"row_count":1,"rows":[{"uuid":"chan-9","direction":"inbound","context":"sipio","application":"%s"},{"uuid":"leg","direction":"outbound","application":""}]}`

func TestKeep_OrphansAreEndedAndConversationsAreNot(t *testing.T) {
	// Proves the sweep on one channel that no runner has: idle it is hung up after 30 s and not before; in a conversation or conference it
	// is left alone and told as alive; legs of a dial are never touched.
	for application, killed := range map[string]bool{"socket": true, "playback": true, "bridge": false, "conference": false} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t)
			n.fs.replies["show channels"] = fmt.Sprintf(oneChannel, application)
			n.fs.replies["uuid_getvar chan-9 sip_h_X-Sipio-Call"] = "tok9"
			n.fs.replies["uuid_getvar chan-9 sip_h_X-Sipio-Account"] = "acc9"
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			done := make(chan struct{})
			go func() { defer close(done); n.Keep(ctx) }()
			time.Sleep(29 * time.Second) // the bubble's clock
			synctest.Wait()
			if strings.Contains(n.fs.orders(), "uuid_kill") {
				t.Errorf("%s: ended too early", application)
			}
			all := n.brain.reports()
			if last := all[len(all)-1]; last.Node != "n1" || len(last.Calls) != 1 || last.Calls[0] != (api.AliveCall{AccountID: "acc9", Token: "tok9"}) {
				t.Errorf("%s: alive %+v", application, last)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if got := strings.Contains(n.fs.orders(), "uuid_kill chan-9"); got != killed || strings.Contains(n.fs.orders(), "uuid_kill leg") {
				t.Errorf("%s: hung up %v, want %v", application, got, killed)
			}
			stop()
			<-done
		})
	}
}

func TestKeep_ServedCallsAreNoOrphans(t *testing.T) {
	// Proves that a channel with a runner is never swept, however long it lives, and is told as alive.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a"), Loops: -1}))
		n.fs.replies["show channels"] = strings.ReplaceAll(fmt.Sprintf(oneChannel, "playback"), "chan-9", "chan-1")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Keep(ctx) }()
		during(5*time.Minute, func() { n.fs.hangup("NORMAL_CLEARING") })
		n.run(nil)
		n.wantOutcomes("hangup cause=NORMAL_CLEARING")
		if alive := n.brain.reports(); len(alive) < 29 || len(alive[1].Calls) != 1 {
			t.Errorf("told alive %d times", len(alive))
		}
		stop()
		<-done
	})
}

func TestSweep_ListThatCannotBeReadEndsNothing(t *testing.T) {
	// Proves that a broken or missing list of channels is an error and no judgement.
	n := newNode(t)
	for _, body := range []string{"", "garbage", `{"row_count":0}`, `{"rows":[{"uuid":""}]}`} {
		n.fs.replies["show channels"] = body
		_ = n.sweep(t.Context(), time.Now().Add(time.Hour))
		if strings.Contains(n.fs.orders(), "uuid_kill") || len(n.orphans) != 0 {
			t.Errorf("%q ended a channel", body)
		}
	}
}

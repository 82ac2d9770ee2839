package flow

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
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
	// is left alone and told as alive; recording its caller for nobody it is broken off; legs of a dial are never touched.
	for application, killed := range map[string]bool{"socket": true, "playback": true, "record": true, "bridge": false, "conference": false} {
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
			if got := strings.Contains(n.fs.orders(), "uuid_break chan-9 all"); got != (application == "record") {
				t.Errorf("%s: broken off %v", application, got)
			}
			stop()
			<-done
		})
	}
}

func TestKeep_AConversationThatEndsWithoutARunnerIsTold(t *testing.T) {
	// Proves that a conversation which no runner has, once FreeSWITCH lists it no more and says that the channel is gone, is told as hung
	// up, with its recording stored and measured and the talk's length, also by a brain that was away; that both its dialogs are ended at the edge; and that
	// nothing of it happens while FreeSWITCH is away, or still has the channel.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		file, err := n.newNotedFile("acc9/rec/today/c.wav")
		if err == nil {
			err = os.WriteFile(file, make([]byte, wavHeader+3*2*8000*2), 0o600) // three seconds of both sides
		}
		if err != nil {
			t.Fatal(err)
		}
		n.fs.set("show channels", fmt.Sprintf(oneChannel, "bridge"))
		for name, value := range map[string]string{"sip_h_X-Sipio-Call": "tok9", "sip_h_X-Sipio-Account": "acc9", "sip_call_id": "a@phone",
			lastBridgeTo: "leg-r1-x", recordingVariable: file + "|acc9/rec/today/c.wav",
			serviceVariable: service{seq: 1, claim: api.Claim{ReservationID: "r1", Fence: 7}, leg: "leg-r1-x", sinceMS: time.Now().UnixMilli() - 60_000}.String()} {
			n.fs.set("uuid_getvar chan-9 "+name, value)
		}
		n.fs.set("uuid_getvar leg-r1-x sip_call_id", "b@sipio")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Keep(ctx) }()
		quiet := func(why string) {
			t.Helper()
			time.Sleep(10 * time.Second) // the bubble's clock
			synctest.Wait()
			if len(n.brain.told) != 0 || len(n.edge.ended) != 0 {
				t.Errorf("%s: told %v, ended %v", why, n.brain.told, n.edge.ended)
			}
		}
		quiet("they talk")
		n.fs.set("show channels", "-ERR away")
		quiet("FreeSWITCH is away")
		n.fs.set("uuid_exists chan-9", "true")
		n.fs.set("show channels", `{"row_count":0}`)
		quiet("the channel is there")
		n.fs.set("show channels", fmt.Sprintf(oneChannel, "bridge"))
		quiet("it is listed again")
		n.fs.set("uuid_exists chan-9", "false")
		n.fs.set("show channels", `{"row_count":0}`)
		n.brain.awayFor(12 * time.Second)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		want := map[string]string{"cause": "NORMAL_CLEARING", "key": "acc9/rec/today/c.wav", "sha256": "00", "bytes": "96044", "duration_ms": "3000"}
		if told := n.brain.told; len(told) == 1 {
			if ms, _ := strconv.Atoi(told[0].Data["talk_ms"]); ms < 60_000 || ms > 180_000 {
				t.Errorf("he talked to his agent for %q ms", told[0].Data["talk_ms"])
			}
			delete(told[0].Data, "talk_ms")
		}
		if told := n.brain.told; len(told) != 1 || told[0].Token != "tok9" || told[0].AccountID != "acc9" || told[0].Outcome != api.OutcomeHangup ||
			told[0].Seq != 0 || !maps.Equal(told[0].Data, want) {
			t.Errorf("told %+v", told)
		}
		if got := strings.Join(n.edge.ended, " "); got != "a@phone b@sipio" {
			t.Errorf("ended %q", got)
		}
		stop()
		<-done
	})
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

package flow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func TestBrainAway_WhatACallerHasLeftIsToldLater(t *testing.T) {
	// Proves that a message is told after 40 minutes without a brain, whether its caller hung up or had to be hung up, that the call is
	// named as alive until then, and that brains are not asked all the time.
	for name, end := range map[string]struct {
		at   func(*fakeSwitch)
		want string
	}{
		"he hung up": {func(f *fakeSwitch) { f.hangup("NORMAL_CLEARING") }, "hangup cause=NORMAL_CLEARING ended_by=hangup key=k duration_ms=1000"},
		"he waited": {func(f *fakeSwitch) { f.press("#") },
			"recorded ended_by=digit key=k duration_ms=1000\nhangup cause=NORMAL_TEMPORARY_FAILURE"},
	} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 9000, Terminators: "#"}), command(api.CommandPlay, api.CommandParams{Files: refs("a")}))
			during(time.Second, func() { n.brain.awayFor(40 * time.Minute) })
			during(2*time.Second, func() { end.at(n.fs) })
			during(39*time.Minute, func() {
				if alive := n.Alive(); len(alive) != 1 || alive[0].Token != "tok" {
					t.Errorf("%s: alive %v", name, alive)
				}
			})
			n.run(nil)
			n.wantOutcomes(end.want)
			if n.brain.asked > 130 || n.waiting != 0 || n.Count() != 0 {
				t.Errorf("%s: asked %d times; %d wait, %d live", name, n.brain.asked, n.waiting, n.Count())
			}
		})
	}
}

func TestPatience_IsBounded(t *testing.T) {
	// Proves the bounds of what waits for a brain: in time an hour and a little more, in number first for ends of calls, then for recordings,
	// and that a question which is worth nothing waits no longer than a caller.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		lasts := func(worth worth) time.Duration {
			p, began := n.newPatience(), time.Now()
			defer p.close()
			for {
				wait, ok := p.again(worth)
				if !ok {
					return time.Since(began)
				}
				time.Sleep(wait) // the bubble's clock
			}
		}
		for _, c := range []struct {
			waiting int
			worth   worth
			long    bool
		}{{0, worthNothing, false}, {0, worthEnd, true}, {maxWaiting / 2, worthEnd, false}, {maxWaiting / 2, worthSound, true}, {maxWaiting, worthSound, false}} {
			n.waiting = c.waiting
			got := lasts(c.worth)
			if c.long && (got < time.Hour || got > reportPatience) || !c.long && got > brainPatience {
				t.Errorf("with %d waiting, of worth %d: %v", c.waiting, c.worth, got)
			}
			if n.waiting != c.waiting {
				t.Errorf("%d wait afterwards; want %d", n.waiting, c.waiting)
			}
		}
	})
}

// politeBrain does not answer questions that nobody waits for any more.
type politeBrain struct{ *fakeBrain }

func (b politeBrain) Flow(ctx context.Context, req api.FlowRequest) (api.FlowReply, error) {
	if ctx.Err() != nil {
		return api.FlowReply{}, ctx.Err()
	}
	return b.fakeBrain.Flow(ctx, req)
}

func TestAgentStops_MessageOfACallerWhoHasGoneIsTold(t *testing.T) {
	// Proves that an agent that stops keeps and tells a message whose caller has hung up: while it is on its way to the store, while no
	// brain answered, and also when the hang-up was not heard any more.
	for name, do := range map[string]func(n *node, stop func()){
		"on its way": func(n *node, stop func()) {
			n.media.slow = true
			during(2*time.Second, func() { n.fs.hangup("NORMAL_CLEARING") })
			during(5*time.Second, stop)
		},
		"brain away": func(n *node, stop func()) {
			n.brain.awayFor(9 * time.Second)
			n.fs.hangup("NORMAL_CLEARING")
			during(5*time.Second, func() { n.brain.awayFor(0); stop() })
		},
		"not heard": func(n *node, stop func()) {
			n.fs.mu.Lock()
			n.fs.gone = true
			n.fs.mu.Unlock()
			stop()
		},
	} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 9000}))
			n.cfg.Brain = politeBrain{n.brain}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			during(time.Second, func() { do(n, stop) })
			n.Run(ctx, n.fs, connect(nil))
			if got := n.brain.outcomes(); !strings.HasPrefix(got, "hangup cause=NORMAL_CLEARING") || !strings.Contains(got, "key=k") {
				t.Errorf("%s: the brain was told %q", name, got)
			}
		})
	}
}

func TestKeep_OrphanIsReadAgainAndItsRecordingLeftAlone(t *testing.T) {
	// Proves that an orphan whose first look failed is told as alive after the next one; that the recording which FreeSWITCH still writes is
	// neither stored nor removed meanwhile, however long nothing was written; and that its end is told by a brain that was away for long.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		file, err := n.newNotedFile("acc9/rec/c.wav")
		if err == nil {
			err = os.WriteFile(file, make([]byte, wavHeader+32000), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour) // of the bubble
		if err := errors.Join(os.Chtimes(file, old, old), os.Chtimes(file+keySuffix, old, old)); err != nil {
			t.Fatal(err)
		}
		n.fs.set("show channels", fmt.Sprintf(oneChannel, "bridge"))
		n.fs.set("uuid_getvar chan-9", "-ERR away")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Keep(ctx) }()
		time.Sleep(2 * time.Second) // the bubble's clock
		synctest.Wait()
		n.fs.mu.Lock()
		delete(n.fs.replies, "uuid_getvar chan-9")
		n.fs.mu.Unlock()
		for name, value := range map[string]string{"sip_h_X-Sipio-Call": "tok9", "sip_h_X-Sipio-Account": "acc9", "sip_call_id": "a@phone",
			recordingVariable: file + "|acc9/rec/c.wav"} {
			n.fs.set("uuid_getvar chan-9 "+name, value)
		}
		alive := func(when string) {
			t.Helper()
			synctest.Wait()
			if got := n.Alive(); len(got) != 1 || got[0] != (api.AliveCall{AccountID: "acc9", Token: "tok9"}) {
				t.Errorf("%s: alive %v", when, got)
			}
		}
		time.Sleep(5 * time.Minute)
		alive("they talk")
		if left, _ := filepath.Glob(file + "*"); len(left) != 2 || len(n.media.stored) != 0 {
			t.Errorf("of the recording there is %v, stored %v", left, n.media.stored)
		}
		n.brain.awayFor(40 * time.Minute)
		n.fs.set("uuid_exists chan-9", "false")
		n.fs.set("show channels", `{"row_count":0}`)
		time.Sleep(30 * time.Minute)
		alive("no brain answers")
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if told := n.brain.told; len(told) != 1 || told[0].Data["key"] != "acc9/rec/c.wav" || len(n.Alive()) != 0 {
			t.Errorf("told %+v, alive %v", told, n.Alive())
		}
		stop()
		<-done
	})
}

// silent is a channel that does not answer the first orders to delete the guard, or refuses them.
type silent struct {
	*fakeSwitch
	times *int
	err   error
}

func (s silent) API(ctx context.Context, order string) (string, error) {
	if strings.HasPrefix(order, "sched_del") && *s.times > 0 {
		*s.times--
		s.note("api " + order)
		return "", s.err
	}
	return s.fakeSwitch.API(ctx, order)
}

func TestPrepare_GuardIsDeletedForSure(t *testing.T) {
	// Proves that the order to delete the guard is given again when it is not answered, three times at most, and not when FreeSWITCH says
	// that there is none; the call is served in any case.
	for _, c := range []struct {
		times, want int
		err         error
	}{{2, 3, context.DeadlineExceeded}, {9, 3, context.DeadlineExceeded}, {9, 1, refusal{"no such task"}}} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a")}))
			n.Run(t.Context(), silent{n.fs, &c.times, c.err}, connect(nil))
			if got := countOf(n.fs.orders(), "api sched_del"); got != c.want {
				t.Errorf("%v: given %d times, want %d", c.err, got, c.want)
			}
			n.wantOutcomes("done")
		})
	}
}

package flow

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func countOf(text, part string) int { return strings.Count(text, part) }

func TestBrainAway_CallerWaitsAndGoesOn(t *testing.T) {
	// Proves that five seconds without a brain cost a caller nothing but the pause: the same question is asked again until answered.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a")}), command(api.CommandGather, api.CommandParams{MaxDigits: 1}))
		n.brain.awayFor(5 * time.Second)
		during(8*time.Second, func() { n.fs.press("7") })
		n.run(nil)
		n.wantOutcomes("done\ndigits digits=7")
		if n.brain.asked < 4 || n.brain.asked > 15 {
			t.Errorf("asked %d times", n.brain.asked)
		}
	})
}

func TestBrainAway_ForTooLongEndsTheCall(t *testing.T) {
	// Proves the patience of 30 s: then the caller is hung up with a reason, and not before.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		n.brain.awayFor(time.Hour)
		began := time.Now()
		n.run(nil)
		n.wantOrders("api uuid_kill chan-1 NORMAL_TEMPORARY_FAILURE")
		if took := time.Since(began); took < 25*time.Second || took > brainPatience {
			t.Errorf("after %v", took)
		}
	})
}

func TestAgentStops_CallsAreLeftAlone(t *testing.T) {
	// Proves that an agent that ends hangs nobody up and tells the brain nothing: the next agent takes the calls over.
	for name, c := range map[string]api.FlowReply{
		"play": command(api.CommandPlay, api.CommandParams{Files: refs("a"), Loops: -1}), "gather": command(api.CommandGather, api.CommandParams{TimeoutMS: 1e6}),
		"record": command(api.CommandRecord, api.CommandParams{Key: "k", MaxMS: 1e6}), "dial": command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u"}),
		"conference": command(api.CommandConference, api.CommandParams{Room: "r"}),
	} {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, c)
			ctx, stop := context.WithCancel(t.Context())
			during(10*time.Second, stop)
			n.Run(ctx, n.fs, connect(nil))
			if o := n.fs.orders(); strings.Contains(o, "uuid_kill") || n.brain.outcomes() != "" {
				t.Errorf("%s: told %q, orders\n%s", name, n.brain.outcomes(), o)
			}
		})
	}
}

func TestAgentRestarted_BeginsTheCommandAnew(t *testing.T) {
	// Proves that a second agent asks with outcome "", breaks off what it does not know, and carries the same command out.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandGather, api.CommandParams{Files: refs("menu"), MaxDigits: 1, TimeoutMS: 9000}))
		ctx, stop := context.WithCancel(t.Context())
		during(2*time.Second, stop)
		n.Run(ctx, n.fs, connect(nil))
		n.fs.log = nil
		during(2*time.Second, func() { n.fs.press("3") })
		n.run(map[string]string{"Answer-State": "answered", "variable_sipio_inband": ""})
		n.wantOrders("api sched_del", "api uuid_break chan-1 all", "playback /cache/menu")
		if countOf(n.fs.orders(), "\nanswer") != 0 {
			t.Error("answered twice")
		}
		if told := n.brain.told; len(told) != 3 || told[1].Outcome != "" || told[1].Seq != 0 || told[2].Outcome != "digits" || told[2].Seq != 1 {
			t.Errorf("told %+v", told)
		}
	})
}

func TestFreeSWITCHDies_CallIsLost(t *testing.T) {
	// Proves that the death of FreeSWITCH, which sends no BYE, is told as lost and ends the dialogs of both legs at the edge.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandDial, api.CommandParams{DestKind: "user", DestID: "u"}))
		during(3*time.Second, n.fs.die)
		n.run(nil)
		n.wantOutcomes("lost reason=the media server lost the call")
		if ended := n.edge.ended; len(ended) != 2 || ended[0] != "call@phone" || !strings.HasSuffix(ended[1], "@sipio.invalid") {
			t.Errorf("ended %q", ended)
		}
	})
}

func TestConnectionLost_LivingCallIsLeftAlone(t *testing.T) {
	// Proves that only positive knowledge ends a call: a broken connection of a channel that FreeSWITCH still has changes nothing.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a"), Loops: -1}))
		during(3*time.Second, func() { close(n.fs.closed) })
		n.run(nil)
		if n.brain.outcomes() != "" || len(n.edge.ended) != 0 || strings.Contains(n.fs.orders(), "uuid_kill") {
			t.Errorf("told %q, ended %q", n.brain.outcomes(), n.edge.ended)
		}
	})
}

func TestEventsLost_CommandBeginsAnew(t *testing.T) {
	// Proves that a gap in the events, which may have swallowed the end of a file, does not leave the caller in silence.
	inBubble(t, func(t *testing.T) {
		n := newNode(t, command(api.CommandPlay, api.CommandParams{Files: refs("a")}))
		n.fs.lasts["playback"] = time.Hour
		during(2*time.Second, func() {
			n.fs.mu.Lock()
			n.fs.running, n.fs.lasts["playback"] = nil, time.Second // its end is never told
			n.fs.mu.Unlock()
			n.fs.emit("", map[string]string{"lost": "7", "Unique-ID": ""})
		})
		n.run(nil)
		n.wantOutcomes("done")
		if got := countOf(n.fs.orders(), "\nplayback "); got != 2 {
			t.Errorf("played %d times", got)
		}
	})
}

func TestBrainRepeats_IsBounded(t *testing.T) {
	// Proves that a brain which gives the same command for ever neither spins the node nor holds the caller for ever.
	inBubble(t, func(t *testing.T) {
		n := newNode(t)
		stuck := stuckBrain{n.brain, command("dance", api.CommandParams{})}
		n.cfg.Brain = stuck
		began := time.Now()
		n.run(nil)
		n.wantOrders("api uuid_kill chan-1 NORMAL_TEMPORARY_FAILURE")
		if n.brain.asked > maxRepeats+2 || time.Since(began) > time.Minute {
			t.Errorf("asked %d times in %v", n.brain.asked, time.Since(began))
		}
	})
}

// stuckBrain always gives the same command of the same seq.
type stuckBrain struct {
	*fakeBrain
	reply api.FlowReply
}

func (b stuckBrain) Flow(ctx context.Context, req api.FlowRequest) (api.FlowReply, error) {
	_, _ = b.fakeBrain.Flow(ctx, req)
	b.reply.Seq = 1
	return b.reply, nil
}

func TestRun_FiveHundredCallsAtOnce(t *testing.T) {
	// Proves that calls do not disturb each other, and that beyond the limit a call is refused, by 500 calls of a play and a gather each.
	inBubble(t, func(t *testing.T) {
		const many = 500
		n := newNode(t)
		n.cfg.MaxCalls = many
		brains := perCall{brains: map[string]*fakeBrain{}}
		n.cfg.Brain = &brains
		var all sync.WaitGroup
		for i := range many + 1 {
			fs := newSwitch(t)
			fs.uuid = fmt.Sprint("chan-", i)
			during(1500*ms+time.Duration(i)*ms, func() { fs.press("9") })
			start := connect(map[string]string{"Unique-ID": fs.uuid, "variable_sip_h_X-Sipio-Call": fmt.Sprint("tok", i)})
			all.Go(func() { n.Run(t.Context(), fs, start) })
		}
		all.Wait()
		if len(brains.brains) != many || n.Count() != 0 {
			t.Fatalf("%d calls were served, %d still are", len(brains.brains), n.Count())
		}
		for token, b := range brains.brains {
			if got := b.outcomes(); got != "done\ndigits digits=9" {
				t.Errorf("%s: %q", token, got)
			}
		}
	})
}

// perCall gives each call a brain of its own.
type perCall struct {
	mu     sync.Mutex
	brains map[string]*fakeBrain
}

func (p *perCall) Flow(ctx context.Context, req api.FlowRequest) (api.FlowReply, error) {
	p.mu.Lock()
	b := p.brains[req.Token]
	if b == nil {
		b = &fakeBrain{commands: []api.FlowReply{command(api.CommandPlay, api.CommandParams{Files: refs("a")}), command(api.CommandGather, api.CommandParams{MaxDigits: 1})}}
		p.brains[req.Token] = b
	}
	p.mu.Unlock()
	return b.Flow(ctx, req)
}

func (p *perCall) Alive(context.Context, api.FlowAlive) error { return nil }

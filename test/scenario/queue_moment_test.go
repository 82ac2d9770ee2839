package scenario

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/queue_moment.yaml
var brief string

const (
	carla       = "3201" // the one agent of the queue brief
	briefNumber = "4930720"
)

// A call's way through a queue, by the moments at which something may happen to it.
const (
	whileWaiting  = "waiting"  // nobody is there
	whileRinging  = "rings"    // the agent's phone rings
	whileClaiming = "answers"  // the agent has answered, and the brain has not heard of it
	whileGranted  = "granted"  // the brain has granted him the caller, and the two are not connected
	whileBridged  = "bridged"  // they are connected, and the brain has not heard of it
	whileTalking  = "released" // they talk, past the media server
)

// What becomes of caller and agent after it.
const (
	thenRungAgain = "rung again" // the caller waits on with his age; the agent is rung once more and has him
	thenGoesOn    = "goes on"    // the two talk as if nothing had happened
	thenOver      = "over"       // both are hung up
)

// stage is one call at one of the moments.
type stage struct {
	n      *lineNode
	gate   *gate
	carla  *phone.Phone
	ring   *phone.Incoming // whileRinging, and later
	caller *phone.Call
	agent  *phone.Call // whileClaiming, and later
	behind *phone.Call // whileWaiting: another caller
	line   []place     // as the queue showed it
	served int64       // so many so far, and in all
	came   int64
}

// place is what a caller must not lose.
type place struct {
	entry  string
	since  int64
	served bool
}

type happening struct {
	at   string
	what string
	do   func(t *testing.T, ctx context.Context, s *stage)
	then string
	away bool // the agent's phone is not registered any more
}

// Whatever happens to the agent, to the caller or to a part of the platform, at each moment of a call's way through a
// queue: the caller is served in the end, with the age that he had, or both are told that it is over; the agent is ready
// for the next call; and nothing is left of this one.
func TestQueueMoment_NobodyIsLostAndNobodyIsStuck(t *testing.T) {
	for name, rows := range map[string][]happening{
		"people": {
			{at: whileWaiting, what: "the caller hangs up", do: callerHangsUp, then: thenOver},
			{at: whileRinging, what: "the agent declines", do: declines(603, "Decline"), then: thenRungAgain},
			{at: whileRinging, what: "the agent is busy", do: declines(486, "Busy Here"), then: thenRungAgain},
			{at: whileRinging, what: "the agent does not answer", do: letsItRing, then: thenRungAgain},
			{at: whileRinging, what: "the agent's phone is gone", do: unregisters, then: thenRungAgain, away: true},
			{at: whileRinging, what: "the caller hangs up", do: callerHangsUp, then: thenOver},
			{at: whileClaiming, what: "the agent's phone is gone", do: unregisters, then: thenRungAgain, away: true},
			{at: whileClaiming, what: "the agent hangs up", do: agentHangsUp, then: thenRungAgain},
			{at: whileClaiming, what: "the caller hangs up", do: callerHangsUp, then: thenOver},
			{at: whileGranted, what: "the agent's phone is gone", do: unregisters, then: thenGoesOn, away: true},
			{at: whileGranted, what: "the agent hangs up", do: agentHangsUp, then: thenRungAgain},
			{at: whileGranted, what: "the caller hangs up", do: callerHangsUp, then: thenOver},
			{at: whileBridged, what: "the agent hangs up", do: agentHangsUp, then: thenOver},
			{at: whileBridged, what: "the caller hangs up", do: callerHangsUp, then: thenOver},
			{at: whileTalking, what: "the agent's phone is gone", do: unregisters, then: thenGoesOn, away: true},
			{at: whileTalking, what: "the agent hangs up", do: agentHangsUp, then: thenOver},
			{at: whileTalking, what: "the caller hangs up", do: callerHangsUp, then: thenOver},
		},
		"parts": {
			{at: whileWaiting, what: "the node agent dies", do: nodeDies, then: thenRungAgain},
			{at: whileRinging, what: "the node agent dies", do: nodeDies, then: thenGoesOn},
			{at: whileClaiming, what: "the node agent dies", do: nodeDies, then: thenRungAgain},
			{at: whileGranted, what: "the node agent dies", do: nodeDies, then: thenRungAgain},
			{at: whileBridged, what: "the node agent dies", do: nodeDies, then: thenGoesOn},
			{at: whileTalking, what: "the node agent dies", do: nodeDies, then: thenGoesOn},
			{at: whileWaiting, what: "the brain dies", do: brainDies, then: thenRungAgain},
			{at: whileRinging, what: "the brain dies", do: brainDies, then: thenGoesOn},
			{at: whileRinging, what: "the brain dies, and the agent takes his time", do: brainDiesLongAgo, then: thenGoesOn},
			{at: whileRinging, what: "the agent declines without a brain", do: withoutBrain(declines(603, "Decline")), then: thenRungAgain},
			{at: whileRinging, what: "the caller hangs up without a brain", do: withoutBrain(callerHangsUp), then: thenOver},
			{at: whileClaiming, what: "the brain dies", do: brainDies, then: thenGoesOn},
			{at: whileGranted, what: "the brain dies", do: brainDies, then: thenGoesOn},
			{at: whileBridged, what: "the brain dies", do: brainDies, then: thenGoesOn},
			{at: whileBridged, what: "the caller hangs up without a brain", do: withoutBrain(callerHangsUp), then: thenOver},
			{at: whileTalking, what: "the brain dies", do: brainDies, then: thenGoesOn},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each on its node
			config := brief
			if name == "parts" { // which take a while to start
				config = strings.Replace(config, "agent_ring_timeout_sec: 3", "agent_ring_timeout_sec: 15", 1)
			}
			n, g := startGated(t, config)
			phone := registered(t, n.Edge, carla, realm("line.test"))
			for _, row := range rows {
				if !t.Run(row.at+": "+row.what, func(t *testing.T) {
					began := time.Now()
					ctx := within(t, 60*time.Second)
					s := &stage{n: n, gate: g, carla: phone}
					defer g.lift()
					s.reach(t, ctx, row.at)
					row.do(t, ctx, s)
					g.lift()
					s.end(t, ctx, row)
					t.Logf("took %v", time.Since(began).Round(100*time.Millisecond))
				}) {
					return // what it left would fail the next
				}
			}
		})
	}
}

// reach brings a call to a moment.
func (s *stage) reach(t *testing.T, ctx context.Context, moment string) {
	t.Helper()
	q, err := s.n.queue(ctx, "brief")
	if err != nil {
		t.Fatal(err)
	}
	s.came, s.served = q.Figures.Offered+1, q.Figures.Answered
	s.caller = s.n.caller(t, ctx, "4930555", briefNumber)
	if moment == whileWaiting {
		s.behind = s.n.caller(t, ctx, "4930556", briefNumber)
		s.came++
		s.line = s.places(t, ctx)
		return
	}
	s.line = s.places(t, ctx)
	s.n.agent(t, ctx, carla, "login")
	s.ring = ringsNow(t, ctx, s.carla)
	if moment == whileRinging {
		return
	}
	var k *withheld
	switch moment {
	case whileClaiming, whileGranted:
		k = s.gate.shut(api.PathAgentClaim, moment == whileGranted)
	case whileBridged:
		k = s.gate.shut(api.PathAgentConfirm, false)
	}
	s.agent = s.answered(t, ctx)
	if k != nil {
		select {
		case <-k.came:
		case <-ctx.Done():
			t.Fatal("the node agent does not ask the brain")
		}
		return
	}
	talk(t, ctx, s.caller, s.agent)
	s.n.released(t, ctx)
	s.n.bucket(t, ctx, carla, acd.BucketInCall)
}

// places is the line as the queue shows it.
func (s *stage) places(t *testing.T, ctx context.Context) (line []place) {
	t.Helper()
	q, err := s.n.queue(ctx, "brief")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range q.Entries {
		line = append(line, place{e.EntryID, e.EnqueuedMS, e.State == acd.StateInCall})
	}
	return line
}

// answered has the agent answer the phone that rings.
func (s *stage) answered(t *testing.T, ctx context.Context) *phone.Call {
	t.Helper()
	c, err := s.ring.Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// end is what becomes of it all.
func (s *stage) end(t *testing.T, ctx context.Context, row happening) {
	t.Helper()
	switch row.then {
	case thenRungAgain:
		s.again(t, ctx, row)
	case thenGoesOn:
		if s.agent == nil {
			s.agent = s.answered(t, ctx)
		}
	}
	if row.then != thenOver {
		talk(t, ctx, s.caller, s.agent)
		s.n.bucket(t, ctx, carla, acd.BucketInCall)
		s.kept(t, ctx)
		leaveAll(t, ctx, s.agent)
	}
	s.over(t, ctx)
	if s.behind != nil {
		s.next(t, ctx, row)
	}
	if row.away && row.then == thenGoesOn {
		s.back(t, ctx)
	}
	s.n.bucket(t, ctx, carla, acd.BucketReady)
	s.n.agent(t, ctx, carla, "logout")
	s.n.nothingLeft(t, ctx)
	if row.then != thenOver || row.at == whileTalking || row.at == whileBridged {
		s.served++
	}
	q, err := s.n.queue(ctx, "brief")
	if f := q.Figures; err != nil || q.Waiting+q.Served != 0 || f.Offered != s.came || f.Answered != s.served || f.Answered+f.Abandoned != f.Offered {
		t.Errorf("want %d callers, %d served; the figures are %+v (%v)", s.came, s.served, q, err)
	}
}

// kept says that nobody has lost his place: whoever has an agent counts as the first.
func (s *stage) kept(t *testing.T, ctx context.Context) {
	t.Helper()
	now := s.places(t, ctx)
	if i := slices.IndexFunc(now, func(p place) bool { return p.served }); i > 0 {
		now = slices.Insert(slices.Delete(slices.Clone(now), i, i+1), 0, now[i])
	}
	for i := range now {
		now[i].served = false
	}
	if !slices.Equal(now, s.line) {
		t.Errorf("the line was %v and is %v", s.line, now)
	}
}

// again has the agent be rung once more, and answer.
func (s *stage) again(t *testing.T, ctx context.Context, row happening) {
	t.Helper()
	switch {
	case row.at == whileWaiting:
		s.kept(t, ctx)
		s.n.agent(t, ctx, carla, "login")
	case s.agent != nil:
		hungUp(t, ctx, "the agent", s.agent)
	}
	if row.away {
		s.stopped(t, ctx)
		if _, err := s.caller.HearTone(ctx, musicHz); err != nil {
			t.Errorf("the caller does not hear music again: %v", err)
		}
		s.back(t, ctx)
	}
	s.ring = ringsNow(t, ctx, s.carla)
	s.agent = s.answered(t, ctx)
}

// back has the agent's phone register again.
func (s *stage) back(t *testing.T, ctx context.Context) {
	t.Helper()
	s.n.bucket(t, ctx, carla, acd.BucketUnreachable)
	if err := register200(ctx, s.carla); err != nil {
		t.Fatal(err)
	}
}

// stopped waits until the agent's phone has stopped ringing, or has been hung up.
func (s *stage) stopped(t *testing.T, ctx context.Context) {
	t.Helper()
	if s.agent != nil {
		hungUp(t, ctx, "the agent", s.agent)
		return
	}
	select {
	case <-s.ring.Cancelled():
	case <-ctx.Done():
		t.Fatal("the agent's phone rings on")
	}
}

// over waits until caller and agent are hung up.
func (s *stage) over(t *testing.T, ctx context.Context) {
	t.Helper()
	hungUp(t, ctx, "the caller", s.caller)
	if s.ring != nil {
		s.stopped(t, ctx)
	}
}

// next serves the caller behind, who must be the first of the line now.
func (s *stage) next(t *testing.T, ctx context.Context, row happening) {
	t.Helper()
	eventually(t, ctx, "the line to move up", func() error {
		if now := s.places(t, ctx); !slices.Equal(now, s.line[1:]) {
			return fmt.Errorf("the line was %v and is %v", s.line, now)
		}
		return nil
	})
	if row.then == thenOver {
		s.n.agent(t, ctx, carla, "login")
	}
	s.ring = ringsNow(t, ctx, s.carla)
	s.agent, s.caller = s.answered(t, ctx), s.behind
	talk(t, ctx, s.caller, s.agent)
	leaveAll(t, ctx, s.caller)
	s.over(t, ctx)
	s.served++
}

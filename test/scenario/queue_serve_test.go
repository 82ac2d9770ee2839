package scenario

import (
	"context"
	_ "embed"
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

//go:embed testdata/queue_serve.yaml
var servers string

// What a queue does beside bringing caller and agent together, on one node; each test has its own agents and queues.
func TestQueueServes(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, servers, edge.Options{})
	n.sideBySide(t, 60*time.Second, map[string]func(*testing.T, context.Context, *lineNode){
		"a whisper to the agent, who presses 1": whispers,
		"the agent's phone holds the caller":    holdsTheCaller,
		"skills choose the agent":               chooses,
		"a flow goes on after the timeout":      timesOut,
		"a key leads elsewhere":                 leaves,
		"nobody is there any more":              deserts,
		"the queue is full":                     fills,
		"feature codes":                         codes,
		"a talk is recorded":                    records,
	})
}

// desk registers an agent's phone and logs him in.
func (n *lineNode) desk(t *testing.T, ctx context.Context, user string) *phone.Phone {
	t.Helper()
	p := registered(t, n.Edge, user, realm("line.test"))
	n.agent(t, ctx, user, "login")
	n.bucket(t, ctx, user, acd.BucketReady)
	return p
}

// takes has a phone answer its next call, while do brings that about.
func takes(t *testing.T, ctx context.Context, p *phone.Phone, do func()) *phone.Call {
	t.Helper()
	up := answering(ctx, p)
	do()
	c, ok := <-up
	if !ok {
		t.Fatal("a phone was not rung")
	}
	return c
}

// done ends a talk from one side.
func done(t *testing.T, ctx context.Context, from, other *phone.Call) {
	t.Helper()
	leaveAll(t, ctx, from)
	hungUp(t, ctx, "the other side", other)
}

// The agent hears the whisper, then a tone until he presses 1; another key does nothing. The caller hears his music all
// the while and nothing else.
func whispers(t *testing.T, ctx context.Context, n *lineNode) {
	p := n.desk(t, ctx, "3301")
	n.agent(t, ctx, "3301", "break")
	caller := n.caller(t, ctx, "4930561", "4930731")
	agent := takes(t, ctx, p, func() { n.agent(t, ctx, "3301", "available") })
	heard := make(chan []int16, 1)
	go func() {
		samples, _ := caller.Listen(ctx, 3*time.Second)
		heard <- samples
	}()
	caller.SendTone(440)
	agent.SendTone(620)
	if _, err := agent.HearTone(ctx, whisperHz); err != nil {
		t.Fatalf("the whisper: %v", err)
	}
	if _, err := agent.HearTone(ctx, confirmHz); err != nil {
		t.Fatalf("the tone that asks for a key: %v", err)
	}
	pressKeys(t, agent, "2")
	samples := <-heard
	for hz, level := range map[float64]float64{whisperHz: tone.LevelAt(samples, whisperHz), confirmHz: tone.LevelAt(samples, confirmHz), 620: tone.LevelAt(samples, 620)} {
		if level > notThere {
			t.Errorf("the caller hears %g Hz at %.0f dBFS before the agent takes the call", hz, level)
		}
	}
	if level := tone.LevelAt(samples, musicHz); level < there {
		t.Errorf("the caller hears music at %.0f dBFS", level)
	}
	n.bucket(t, ctx, "3301", acd.BucketRing)
	pressKeys(t, agent, "1")
	talk(t, ctx, caller, agent)
	done(t, ctx, caller, agent)
}

// confirmHz is heard by an agent who is to press 1.
const confirmHz = 800

// While the talk runs past the media server, the agent's phone holds the caller, who hears nothing then, and comes back.
func holdsTheCaller(t *testing.T, ctx context.Context, n *lineNode) {
	p := n.desk(t, ctx, "3302")
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930562", "4930732") })
	n.letGo(t, ctx, caller, agent)
	for range 2 {
		if err := agent.Hold(ctx); err != nil {
			t.Fatal(err)
		}
		if err := caller.HearSilence(ctx, time.Second); err != nil {
			t.Error(err)
		}
		if err := agent.Resume(ctx); err != nil {
			t.Fatal(err)
		}
		talk(t, ctx, caller, agent)
	}
	n.bucket(t, ctx, "3302", acd.BucketInCall)
	done(t, ctx, agent, caller)
	n.bucket(t, ctx, "3302", acd.BucketReady)
}

// through is a caller for whom somebody is there at once.
func (n *lineNode) through(t *testing.T, ctx context.Context, from, number string) *phone.Call {
	t.Helper()
	c, err := trunkPhone(t, n.Edge, from).Call(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	c.SendTone(0)
	return c
}

// letGo waits until two who talk send each other their media past the media server.
func (n *lineNode) letGo(t *testing.T, ctx context.Context, caller, agent *phone.Call) {
	t.Helper()
	talk(t, ctx, caller, agent)
	eventually(t, ctx, "both channels to have no media", func() error {
		for _, c := range []*phone.Call{caller, agent} { // not any two: other stories talk, too
			if state := n.channel(t, ctx, c).State; state != "CS_HIBERNATE" {
				return fmt.Errorf("the channel of %s is in state %q", c.CallID(), state)
			}
		}
		return nil
	})
	talk(t, ctx, caller, agent)
}

// A caller who needs French at level 2 is brought to the agent who has it, though the other one has waited longer; the
// next such caller waits for that agent while the other one is ready.
func chooses(t *testing.T, ctx context.Context, n *lineNode) {
	dutch := n.desk(t, ctx, "3304")
	french := n.desk(t, ctx, "3303")
	var first *phone.Call
	agent := takes(t, ctx, french, func() { first = n.through(t, ctx, "4930563", "4930733") })
	talk(t, ctx, first, agent)
	second := n.caller(t, ctx, "4930564", "4930733")
	n.bucket(t, ctx, "3304", acd.BucketReady)
	again := takes(t, ctx, french, func() { done(t, ctx, agent, first) })
	talk(t, ctx, second, again)
	done(t, ctx, second, again)
	select {
	case <-dutch.Incoming():
		t.Error("an agent was rung who has too little French")
	default:
	}
}

// Nobody serves the caller within the time of the queue: the flow has another phone ring.
func timesOut(t *testing.T, ctx context.Context, n *lineNode) {
	night := registered(t, n.Edge, "3391", realm("line.test"))
	began := time.Now()
	var caller *phone.Call
	other := takes(t, ctx, night, func() { caller = n.caller(t, ctx, "4930565", "4930734") })
	if waited := time.Since(began); waited < 4*time.Second {
		t.Errorf("the caller waited %v, want four seconds", waited)
	}
	talk(t, ctx, caller, other)
	done(t, ctx, other, caller)
	n.left(t, ctx, "patient", 1, func(q *api.Figures) int64 { return q.TimedOut })
}

// The caller presses a key that leads to somebody else; one that leads nowhere does nothing.
func leaves(t *testing.T, ctx context.Context, n *lineNode) {
	elsewhere := registered(t, n.Edge, "3392", realm("line.test"))
	caller := n.caller(t, ctx, "4930566", "4930735")
	pressKeys(t, caller, "4")
	if _, err := caller.HearTone(ctx, musicHz); err != nil {
		t.Fatal(err)
	}
	other := takes(t, ctx, elsewhere, func() { pressKeys(t, caller, "5") })
	talk(t, ctx, caller, other)
	done(t, ctx, caller, other)
	n.left(t, ctx, "keys", 1, func(q *api.Figures) int64 { return q.OptionOut })
}

// The last agent goes while a caller waits, and nobody is there when the next one comes: both go where the queue says.
func deserts(t *testing.T, ctx context.Context, n *lineNode) {
	instead := registered(t, n.Edge, "3393", realm("line.test"))
	n.desk(t, ctx, "3307")
	n.agent(t, ctx, "3307", "break")
	caller := n.caller(t, ctx, "4930567", "4930736")
	other := takes(t, ctx, instead, func() { n.agent(t, ctx, "3307", "logout") })
	talk(t, ctx, caller, other)
	done(t, ctx, caller, other)
	other = takes(t, ctx, instead, func() { caller = n.through(t, ctx, "4930567", "4930736") })
	talk(t, ctx, caller, other)
	done(t, ctx, other, caller)
	n.left(t, ctx, "lonely", 2, func(q *api.Figures) int64 { return q.Overflowed })
}

// One waits; the next one goes where the queue says, and hears no music before.
func fills(t *testing.T, ctx context.Context, n *lineNode) {
	instead := registered(t, n.Edge, "3394", realm("line.test"))
	first := n.caller(t, ctx, "4930568", "4930737")
	var caller *phone.Call
	other := takes(t, ctx, instead, func() { caller = n.through(t, ctx, "4930569", "4930737") })
	talk(t, ctx, caller, other)
	done(t, ctx, caller, other)
	p := registered(t, n.Edge, "3308", realm("line.test"))
	agent := takes(t, ctx, p, func() { n.agent(t, ctx, "3308", "login") })
	talk(t, ctx, first, agent)
	done(t, ctx, agent, first)
	n.left(t, ctx, "narrow", 2, func(q *api.Figures) int64 { return q.Overflowed + q.Answered })
}

// An agent's own phone logs him in, signs him in to the queue that he chooses, takes him off and on, and logs him out; he
// hears each time that it is done.
func codes(t *testing.T, ctx context.Context, n *lineNode) {
	p := registered(t, n.Edge, "3309", realm("line.test"))
	caller := n.caller(t, ctx, "4930570", "4930738")
	dial := func(code string) {
		t.Helper()
		c := dialUp(t, ctx, p, code)
		speech(t, ctx, c, 200*time.Millisecond, "nothing says that "+code+" is done")
		hungUp(t, ctx, "the agent's phone", c)
	}
	dial("*41")
	n.bucket(t, ctx, "3309", acd.BucketIdle)
	dial("*43")
	n.bucket(t, ctx, "3309", acd.BucketPaused)
	dial("*45") // while on a break
	n.bucket(t, ctx, "3309", acd.BucketPaused)
	dial("*44")
	agent, err := ringsNow(t, ctx, p).Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, ctx, caller, agent)
	done(t, ctx, caller, agent)
	n.bucket(t, ctx, "3309", acd.BucketReady)
	dial("*42")
	n.bucket(t, ctx, "3309", acd.BucketOffline)
}

// The talk of a queue that records stays in the media server, and is a file of two channels, the caller on the left.
func records(t *testing.T, ctx context.Context, n *lineNode) {
	p := n.desk(t, ctx, "3002")
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930571", "4930701") })
	before := [2]string{caller.ReceivedSDP(), agent.ReceivedSDP()}
	for range 6 {
		talk(t, ctx, caller, agent)
	}
	key := n.tape(t, ctx, caller)
	both(t, ctx, caller, agent, 2*time.Second)
	if now := [2]string{caller.ReceivedSDP(), agent.ReceivedSDP()}; now != before {
		t.Error("the media was moved")
	}
	done(t, ctx, agent, caller)
	var s sound
	eventually(t, ctx, "the recording", func() error {
		file, err := n.Request(ctx, http.MethodGet, "/v1/objects/"+key+"?account_id="+n.account, "", nil)
		if err == nil {
			s, err = readWAV(file)
		}
		return err
	})
	if s.channels() != 2 {
		t.Fatalf("%d channels", s.channels())
	}
	only(t, "the caller's channel", s[0], 440, 620)
	only(t, "the agent's channel", s[1], 620, 440)
}

// tape is where the recording of a talk is to be that is up.
func (n *lineNode) tape(t *testing.T, ctx context.Context, caller *phone.Call) (key string) {
	t.Helper()
	_, key, _ = strings.Cut(mediaOrder(t, ctx, n.Edge, "uuid_getvar "+n.channel(t, ctx, caller).UUID+" sipio_recording"), "|")
	return key
}

type channelRow struct{ UUID, State string }

// channel is that of a call in the media server. Those of other stories may end while it is looked for.
func (n *lineNode) channel(t *testing.T, ctx context.Context, c *phone.Call) channelRow {
	t.Helper()
	var list struct{ Rows []channelRow }
	if err := json.Unmarshal([]byte(mediaOrder(t, ctx, n.Edge, "show channels as json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, row := range list.Rows {
		if id, err := mediaAnswer(ctx, n.Edge, "uuid_getvar "+row.UUID+" sip_call_id"); err == nil && id == c.CallID() {
			return row
		}
	}
	return channelRow{}
}

// left waits until so many callers have gone a certain way.
func (n *lineNode) left(t *testing.T, ctx context.Context, queue string, want int64, way func(*api.Figures) int64) {
	t.Helper()
	eventually(t, ctx, "the figures of queue "+queue, func() error {
		q, err := n.queue(ctx, queue)
		if err == nil && (way(&q.Figures) != want || q.Figures.Offered != want || q.Waiting != 0) {
			err = fmt.Errorf("want %d: %+v", want, q)
		}
		return err
	})
}

// ringsNow waits until a phone rings, and goes on ringing: a ring that has stopped by the time it is looked at counts for
// nothing.
func ringsNow(t *testing.T, ctx context.Context, p *phone.Phone) *phone.Incoming {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		select {
		case in := <-p.Incoming():
			if err := in.Ring(); err == nil {
				return in
			}
		case <-ctx.Done():
			t.Fatal("the phone does not ring")
		}
	}
}

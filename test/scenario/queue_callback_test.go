package scenario

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/queue_callback.yaml
var laters string

// freeAgain is longer than the platform waits until it calls somebody back who has just hung up.
const freeAgain = 6 * time.Second

// later is the queue whose callers may hang up, with its agent, and a caller of the account.
type later struct {
	*lineNode
	dora, emil *phone.Phone
}

func startLater(t *testing.T) *later {
	t.Helper()
	n := startLineWith(t, laters, edge.Options{})
	return &later{n, registered(t, n.Edge, "3401", realm("line.test")), registered(t, n.Edge, "3402", realm("line.test"))}
}

// hangsUp has Emil wait in the queue, press keys, hear that he is called back and be hung up; another caller comes behind him.
func (n *later) hangsUp(t *testing.T, ctx context.Context, keys ...string) (behind *phone.Call) {
	t.Helper()
	c, err := n.emil.Call(ctx, "3490")
	if err != nil {
		t.Fatal(err)
	}
	c.SendTone(0)
	if _, err := c.HearTone(ctx, musicHz); err != nil {
		t.Fatalf("no music: %v", err)
	}
	for _, key := range keys {
		pressKeys(t, c, key)
	}
	if _, err := c.HearTone(ctx, whisperHz); err != nil {
		t.Fatalf("he does not hear that he is called back: %v", err)
	}
	hungUp(t, ctx, "who is called back", c)
	n.places(t, ctx, "Emil waits as somebody who has hung up", "waiting back")
	behind = n.caller(t, ctx, "4930571", "4930740")
	n.places(t, ctx, "both wait", "waiting back", "waiting")
	if samples, err := behind.Listen(ctx, freeAgain); err != nil {
		t.Fatal(err)
	} else if told, gaps := waited(samples); len(told)+len(gaps) > 0 {
		t.Errorf("the caller behind hears %v, and nothing for %v", told, gaps)
	}
	return behind
}

// places waits until the line is this, each caller by his state, and "back" when he has hung up.
func (n *later) places(t *testing.T, ctx context.Context, what string, want ...string) {
	t.Helper()
	eventually(t, ctx, what, func() error {
		q, err := n.queue(ctx, "later")
		var got []string
		for _, e := range q.Entries {
			state := e.State
			if e.Callback {
				state += " back"
			}
			got = append(got, state)
		}
		if err == nil && strings.Join(got, ", ") != strings.Join(want, ", ") {
			err = fmt.Errorf("the line is %q", got)
		}
		return err
	})
}

// back has Emil's phone rung, which shows the queue.
func (n *later) back(t *testing.T, ctx context.Context) *phone.Incoming {
	t.Helper()
	in := ringsNow(t, ctx, n.emil)
	if in.FromDisplay() != `"later"` && in.FromDisplay() != "later" || !strings.HasPrefix(in.FromURI(), "sip:3490@") {
		t.Errorf("his phone shows %q <%s>", in.FromDisplay(), in.FromURI())
	}
	return in
}

// quiet says that a phone was not rung.
func quiet(t *testing.T, who string, p *phone.Phone) {
	t.Helper()
	select {
	case <-p.Incoming():
		t.Errorf("%s was rung", who)
	default:
	}
}

// takesIt has Emil answer and press 1, and then the agent rung, who has him.
func (n *later) takesIt(t *testing.T, ctx context.Context, in *phone.Incoming) (emil, dora *phone.Call) {
	t.Helper()
	emil, err := in.Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	emil.SendTone(0)
	speech(t, ctx, emil, 300*time.Millisecond, "he is not asked for the key")
	quiet(t, "the agent, before he has pressed 1,", n.dora)
	up := answering(ctx, n.dora)
	pressKeys(t, emil, "1")
	dora, ok := <-up
	if !ok {
		t.Fatal("the agent was not rung")
	}
	talk(t, ctx, emil, dora)
	n.bucket(t, ctx, "3401", acd.BucketInCall)
	return emil, dora
}

// serves has the agent answer for the caller who is next.
func (n *later) serves(t *testing.T, ctx context.Context, caller *phone.Call) *phone.Call {
	t.Helper()
	c, err := ringsNow(t, ctx, n.dora).Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, ctx, caller, c)
	return c
}

// A caller presses a key, hears that he is called back and is hung up. Another one comes after him. When the agent is there
// he is called before the other is served, presses 1, and only then the agent's phone rings; the two talk. After them the
// other caller is served.
func TestCallback_WhoHungUpKeepsHisPlace(t *testing.T) {
	t.Parallel()
	n := startLater(t)
	ctx := within(t, 90*time.Second)
	second := n.hangsUp(t, ctx, "1")
	n.agent(t, ctx, "3401", "login")
	in := n.back(t, ctx)
	n.bucket(t, ctx, "3401", acd.BucketRing)
	n.places(t, ctx, "Emil to be called", "calling back", "waiting")
	emil, dora := n.takesIt(t, ctx, in)
	n.released(t, ctx)
	talk(t, ctx, emil, dora)
	leaveAll(t, ctx, emil)
	hungUp(t, ctx, "the agent", dora)
	dora = n.serves(t, ctx, second)
	done(t, ctx, dora, second)
	n.bucket(t, ctx, "3401", acd.BucketReady)
	n.figures(t, ctx, api.Figures{Offered: 2, Answered: 2})
	n.nothingLeft(t, ctx)
}

// figures waits for those of the queue that count callers, and that nobody is there.
func (n *later) figures(t *testing.T, ctx context.Context, want api.Figures) {
	t.Helper()
	eventually(t, ctx, "the figures", func() error {
		q, err := n.queue(ctx, "later")
		f := q.Figures
		if err == nil && (q.Waiting+q.Served != 0 || f.Offered != want.Offered || f.Answered != want.Answered || f.Abandoned != want.Abandoned ||
			f.Offered != f.Answered+f.Abandoned+f.CallbackFailed || f.Missed != 0) {
			err = fmt.Errorf("%+v", q)
		}
		return err
	})
}

// Whoever is called back and declines keeps nobody waiting: the agent has the next caller at once. He is called once more
// after the time that the queue says, does not press 1, and that was his last try: he counts as called in vain, not as abandoned.
func TestCallback_WhoDoesNotTakeItIsCalledAgain(t *testing.T) {
	t.Parallel()
	n := startLater(t)
	ctx := within(t, 120*time.Second)
	second := n.hangsUp(t, ctx, "2", "1") // the number he calls from
	n.agent(t, ctx, "3401", "login")
	in := n.back(t, ctx)
	declined := time.Now()
	if err := in.Reject(603, "Decline"); err != nil {
		t.Fatal(err)
	}
	dora := n.serves(t, ctx, second)
	n.places(t, ctx, "Emil to wait on", "waiting back", "in_call")
	done(t, ctx, second, dora)
	c, err := n.back(t, ctx).Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(declined); waited < 10*time.Second {
		t.Errorf("he was called again after %v, want 10 s", waited)
	}
	pressKeys(t, c, "2")
	hungUp(t, ctx, "who pressed another key", c)
	n.figures(t, ctx, api.Figures{Offered: 2, Answered: 1})
	n.bucket(t, ctx, "3401", acd.BucketReady)
	quiet(t, "the agent", n.dora)
	n.nothingLeft(t, ctx)
}

// The brain dies while his phone rings: it rings on, once, and he is put through as if nothing had happened.
func TestCallback_GoesOnWhenTheBrainDies(t *testing.T) {
	t.Parallel()
	n := startLater(t)
	ctx := within(t, 120*time.Second)
	second := n.hangsUp(t, ctx, "1")
	n.agent(t, ctx, "3401", "login")
	in := n.back(t, ctx)
	if err := n.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	n.bucket(t, ctx, "3401", acd.BucketRing)
	emil, dora := n.takesIt(t, ctx, in)
	quiet(t, "he who was called", n.emil)
	done(t, ctx, emil, dora)
	dora = n.serves(t, ctx, second)
	done(t, ctx, dora, second)
	n.figures(t, ctx, api.Figures{Offered: 2, Answered: 2})
	n.nothingLeft(t, ctx)
}

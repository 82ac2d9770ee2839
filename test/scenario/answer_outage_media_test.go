package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// The media server is killed with five callers in the menu and one put through: every phone of theirs gets a BYE, and
// nothing of the calls is left. Until it is back calls that the platform would answer get 503 with Retry-After; a
// proxied call that was up is heard all the while, and new ones are made. Back, it answers the next caller.
func TestAnswerOutage_MediaServerKilled(t *testing.T) {
	t.Parallel()
	e := ownShop(t)
	ctx := within(t, 60*time.Second)
	in := realm("shop.test")
	dora, emil := registered(t, e, "2001", in), registered(t, e, "2002", in)
	proxied, other := connect(t, ctx, dora, emil, "2002")
	talk(t, ctx, proxied, other)
	through := inMenu(t, ctx, e)
	up := answering(ctx, dora)
	pressKeys(t, through, "2")
	callee := <-up
	if callee == nil {
		t.Fatal("Dora was not rung")
	}
	calls := []*phone.Call{through, callee}
	for range 5 {
		calls = append(calls, inMenu(t, ctx, e))
	}
	missed := listenOn(ctx, proxied, other, 440)
	if err := e.Media.Kill(); err != nil {
		t.Fatal(err)
	}
	calledInVain(t, ctx, e)
	hungUp(t, ctx, "a caller of the dead media server", calls...)
	for _, c := range calls {
		if why := c.EndReason(); !strings.Contains(why, "cause=41") {
			t.Errorf("a caller of the dead media server is told the reason %q, want cause 41", why)
		}
	}
	talk(t, ctx, proxied, other)
	a, b := connect(t, ctx, dora, emil, "2002")
	talk(t, ctx, a, b)
	leaveAll(t, ctx, a)
	eventually(t, ctx, "six sessions to have ended", func() error {
		if n := logLines(t, e.Brain, "answered call ended", "the media server is gone"); n != 6 {
			return fmt.Errorf("%d have", n)
		}
		return nil
	})
	if err := e.StartMedia(ctx); err != nil {
		t.Fatal(err)
	}
	again := inMenu(t, ctx, e)
	pressKeys(t, again, "1")
	hear(t, ctx, again, "number")
	leaveAll(t, ctx, again)
	if d := missed(); d > 3*time.Second {
		t.Errorf("of the proxied call %v was not heard", d)
	}
	leaveAll(t, ctx, proxied)
	nothingLeft(t, ctx, e)

	// A media server that takes no more calls: the same answer, at once.
	mediaOrder(t, ctx, e, "fsctl pause inbound")
	calledInVain(t, ctx, e)
	mediaOrder(t, ctx, e, "fsctl resume inbound")
	leaveAll(t, ctx, inMenu(t, ctx, e))
}

// calledInVain calls a number that the platform answers, and wants to be told to call again later, within seconds.
func calledInVain(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	began := time.Now()
	status := refused(t, ctx, trunkPhone(t, e, "4930555"), "493012345", 503)
	if status.RetryAfter == 0 {
		t.Error("503 without Retry-After")
	}
	took := time.Since(began)
	if took > 15*time.Second {
		t.Errorf("503 took %v", took)
	}
	t.Logf("503 after %v", took.Round(time.Millisecond))
}

// listenOn listens in the background at the one end of a call for a tone that the other sends; what it returns says how much of it did not come.
func listenOn(ctx context.Context, from, c *phone.Call, hz float64) (missed func() time.Duration) {
	ctx, stop := context.WithCancel(ctx)
	began := from.Stats().PacketsSent
	heard := make(chan time.Duration, 1)
	go func() {
		samples, _ := c.Listen(ctx, time.Minute)
		const frame = tone.Rate / 50
		var sum time.Duration
		for ; len(samples) >= frame; samples = samples[frame:] {
			if tone.LevelAt(samples[:frame], hz) > -20 {
				sum += 20 * time.Millisecond
			}
		}
		heard <- sum
	}()
	return func() time.Duration {
		sent := time.Duration(from.Stats().PacketsSent-began) * 20 * time.Millisecond
		stop()
		return sent - <-heard
	}
}

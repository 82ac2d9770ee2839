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

//go:embed testdata/transfer_refer.yaml
var keyed string

// Whoever talks to a caller by way of the media server sends him elsewhere by the transfer key of his phone, on one node.
func TestTransferKey(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, keyed, edge.Options{})
	for name, test := range map[string]func(*testing.T, context.Context, *lineNode){
		"an agent's caller to a user":          pressesKey,
		"the target does not answer":           keyRecalls,
		"out of a ring group, twice at once":   keyInGroup,
		"the caller's own key, in a ring call": callersKey,
	} {
		t.Run(name, func(t *testing.T) { test(t, within(t, 60*time.Second), n) })
	}
	n.nothingLeft(t, within(t, 30*time.Second))
}

// presses has a phone send a REFER, and fails unless it is answered as it should be.
func presses(t *testing.T, ctx context.Context, c *phone.Call, target string, want int) {
	t.Helper()
	if code, err := c.Refer(ctx, target); err != nil || code != want {
		t.Errorf("REFER to %s: %d %v, want %d", target, code, err, want)
	}
}

// sendsOn has a phone transfer whom it talks to. When nobody can tell in time what became of it (503, docs/transfer.md) the phone
// tries again, and 481 says that it was done: once is the machine, twice is sipio.
func (n *lineNode) sendsOn(t *testing.T, ctx context.Context, c *phone.Call, target string) {
	t.Helper()
	code, err := c.Refer(ctx, target)
	if code == 503 && n.untold.Add(1) == 1 {
		if code, err = c.Refer(ctx, target); code == 481 {
			return
		}
	}
	if err != nil || code != 202 {
		t.Errorf("REFER to %s: %d %v, want 202", target, code, err)
	}
}

// logged waits for the reason of a decision about a REFER.
func (n *lineNode) logged(t *testing.T, ctx context.Context, why string) {
	t.Helper()
	eventually(t, ctx, "the log to say "+why, func() error {
		for line := range strings.Lines(n.Brain.Tail(400)) {
			if strings.Contains(line, `"what":"refer"`) && strings.Contains(line, why) {
				return nil
			}
		}
		return fmt.Errorf("it does not")
	})
}

// An agent's talk, past the media server by then: what leads nowhere and what is attended is declined, and the two go on. To a
// number of the account the key is taken, the agent's phone is hung up, he has his work after the call, and the caller and the target
// hear each other.
func pressesKey(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3501"), registered(t, n.Edge, "3511", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930591", "4930751") })
	n.letGo(t, ctx, caller, agent)
	presses(t, ctx, agent, "sip:4711@line.test", 603)
	n.logged(t, ctx, "may not transfer blindly to numbers outside")
	presses(t, ctx, agent, "sip:3511@elsewhere.test", 603)
	presses(t, ctx, agent, "sip:3501@line.test", 603)
	n.logged(t, ctx, "is who transfers")
	presses(t, ctx, agent, "sip:3511@line.test?Replaces="+agent.Replaces(), 603)
	n.logged(t, ctx, "mode attended")
	presses(t, ctx, caller, "sip:3511@line.test", 603) // a trunk's
	talk(t, ctx, caller, agent)
	other := takes(t, ctx, target, func() { n.sendsOn(t, ctx, agent, "sip:3511@line.test") })
	hungUp(t, ctx, "the agent", agent)
	select {
	case said := <-agent.Notifies():
		t.Errorf("the agent's phone is told %q", said)
	default:
	}
	n.bucket(t, ctx, "3501", acd.BucketWrapUp)
	talk(t, ctx, caller, other)
	n.bucket(t, ctx, "3501", acd.BucketReady)
	done(t, ctx, caller, other)
	n.left(t, ctx, "keyed", 1, func(q *api.Figures) int64 { return q.Answered })
}

// The target does not answer: the agent's phone rings again, and the two hear each other as before.
func keyRecalls(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3502"), registered(t, n.Edge, "3512", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930592", "4930752") })
	talk(t, ctx, caller, agent)
	rang := ringing(target)
	again := takes(t, ctx, p, func() { n.sendsOn(t, ctx, agent, "sip:3512@line.test") })
	hungUp(t, ctx, "the agent's first call", agent)
	expectStopped(t, rang)
	talk(t, ctx, caller, again)
	done(t, ctx, again, caller)
	n.bucket(t, ctx, "3502", acd.BucketReady)
}

// Two phones ring, and the second answers: its user transfers, by an extension, and though his phone asks twice at once the target
// rings once. Who answers there transfers back to him by his own key.
func keyInGroup(t *testing.T, ctx context.Context, n *lineNode) {
	first, second := registered(t, n.Edge, "3513", realm("line.test")), registered(t, n.Edge, "3514", realm("line.test"))
	target := registered(t, n.Edge, "3515", realm("line.test"))
	rings, stopped, answered := make(chan struct{}), make(chan struct{}), make(chan *phone.Call, 1)
	go func() {
		in := <-first.Incoming()
		_ = in.Ring()
		// Kamailio 5.6 may send no CANCEL to a phone whose 180 comes in the same millisecond as another one's 200: it has
		// read this one before it has answered a registration.
		_, _ = first.Register(ctx, time.Minute)
		close(rings)
		<-in.Cancelled()
		close(stopped)
	}()
	go func() {
		in := <-second.Incoming()
		<-rings
		c, _ := in.Answer(ctx)
		answered <- c
	}()
	caller := n.through(t, ctx, "4930593", "4930753")
	up := <-answered
	if up == nil {
		t.Fatal("the second phone did not come to answer")
	}
	expectStopped(t, stopped)
	talk(t, ctx, caller, up)
	codes := make(chan int, 2)
	other := takes(t, ctx, target, func() {
		for range 2 {
			go func() {
				code, _ := up.Refer(ctx, "sip:515@line.test")
				codes <- code
			}()
		}
		// 500: the later one has overtaken it (RFC 3261 section 12.2.2); 503: it could not be said in time what became of it
		known := map[int]bool{202: true, 481: true, 500: true, 503: true}
		a, b := <-codes, <-codes
		if !known[a] || !known[b] || a != 202 && b != 202 && !((a == 503 || b == 503) && n.untold.Add(1) == 1) {
			t.Errorf("REFER twice: %d %d", a, b)
		}
	})
	hungUp(t, ctx, "who transferred", up)
	talk(t, ctx, caller, other)
	select {
	case <-target.Incoming():
		t.Error("the target rings again")
	default:
	}
	back := takes(t, ctx, second, func() { n.sendsOn(t, ctx, other, "sip:3514@line.test") })
	hungUp(t, ctx, "the target", other)
	talk(t, ctx, caller, back)
	done(t, ctx, back, caller)
}

// A phone of the account that has called where the media server answers cannot send away whom it has been connected to.
func callersKey(t *testing.T, ctx context.Context, n *lineNode) {
	caller, callee := registered(t, n.Edge, "3511", realm("line.test")), registered(t, n.Edge, "3514", realm("line.test"))
	up := answering(ctx, callee)
	a, err := caller.Call(ctx, "553")
	if err != nil {
		t.Fatal(err)
	}
	b, ok := <-up
	if !ok {
		t.Fatal("nobody answered")
	}
	talk(t, ctx, a, b)
	presses(t, ctx, a, "sip:3515@line.test", 603)
	n.logged(t, ctx, "only who is on its other side transfers it")
	talk(t, ctx, a, b)
	done(t, ctx, a, b)
}

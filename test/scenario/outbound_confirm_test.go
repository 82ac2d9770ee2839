package scenario

import (
	"context"
	_ "embed"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/confirm.yaml
var confirming string

// askingOffice is an edge with a media server, the account of outbound.yaml and confirm.yaml and one carrier, which answers.
func askingOffice(t *testing.T) *office {
	t.Helper()
	o := &office{alpha: newCarrier(t, "alpha")}
	config := strings.NewReplacer("ALPHA", o.alpha.address(), "BETA", o.alpha.address(), "GAMMA", o.alpha.address(), "SILENT", "127.0.0.1:9",
		"{display_name: Anna}", `{display_name: Anna, out_cid_number: "4930109", fwd_noanswer_dest_kind: forward, fwd_noanswer_dest_id: boxed}`).Replace(outbound)
	o.Edge = start(t, edge.Options{Config: config + "\n" + confirming, LogDecisions: true, Media: true})
	if err := o.WaitTrunk("127.0.0.9", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	return o
}

// asks calls target and returns when the carrier's callee has answered and hears the question, while the caller hears ringing.
func (o *office) asks(t *testing.T, ctx context.Context, p *phone.Phone, target string) (ours, theirs *phone.Call) {
	t.Helper()
	ours, err := p.Dial(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ours.Cancel)
	select {
	case theirs = <-o.alpha.up:
	case <-ctx.Done():
		t.Fatalf("nobody at the carrier was called for %s", target)
	}
	speech(t, ctx, theirs, 800*time.Millisecond, "the question at the carrier")
	if _, err := ours.HearTone(ctx, 425); err != nil {
		t.Errorf("the caller hears no ringing: %v", err)
	}
	return ours, theirs
}

// taken presses 1 at the carrier and has both talk to the end.
func (o *office) taken(t *testing.T, ctx context.Context, ours, theirs *phone.Call) {
	t.Helper()
	pressed(t, theirs, "1")
	if err := ours.Wait(ctx); err != nil {
		t.Fatalf("the caller was not connected: %v", err)
	}
	talk(t, ctx, ours, theirs)
	hangUp(t, ctx, o.Edge, theirs, ours)
}

// Whoever answers where a forward with confirm leads hears a question and is connected when he presses 1, whether the forward is
// what was called, comes behind a phone that nobody answers, or is what a flow calls. Who presses nothing is let go, and the caller
// gets to the mailbox; who hangs up, and another phone rings. Until then the caller is not answered.
func TestOutbound_ForwardAsksWhoAnswers(t *testing.T) {
	t.Parallel()
	o := askingOffice(t)
	anna, bernd := registered(t, o.Edge, "1001", realm("kontor.test")), registered(t, o.Edge, "1002", realm("kontor.test"))
	caller := trunkPhone(t, o.Edge, "4940777888")

	t.Run("taken", func(t *testing.T) {
		ctx := within(t, 25*time.Second)
		o.alpha.now(accept)
		ours, theirs := o.asks(t, ctx, caller, "4930101")
		if from := o.alpha.calls()[0].FromURI(); !strings.HasPrefix(from, "sip:+4930101@") {
			t.Errorf("the carrier is shown %s, want the number called", from)
		}
		o.taken(t, ctx, ours, theirs)
	})
	t.Run("no key, mailbox", func(t *testing.T) {
		ctx := within(t, 40*time.Second)
		ours, theirs := o.asks(t, ctx, caller, "4930101")
		pressed(t, theirs, "2")
		select {
		case <-theirs.Done():
		case <-ctx.Done():
			t.Fatal("the callee was not let go")
		}
		if err := ours.Wait(ctx); err != nil {
			t.Fatalf("no mailbox: %v", err)
		}
		speech(t, ctx, ours, time.Second, "the greeting of the mailbox")
		if err := ours.Bye(ctx); err != nil {
			t.Error(err)
		}
		noMedia(t, ctx, o.Edge)
	})
	t.Run("hung up, another phone", func(t *testing.T) {
		ctx := within(t, 25*time.Second)
		up := answering(ctx, bernd)
		ours, theirs := o.asks(t, ctx, caller, "4930102")
		if from := o.alpha.calls()[2].FromURI(); !strings.HasPrefix(from, "sip:+4940777888@") {
			t.Errorf("the carrier is shown %s, want the caller", from)
		}
		if err := theirs.Bye(ctx); err != nil {
			t.Fatal(err)
		}
		if err := ours.Wait(ctx); err != nil {
			t.Fatalf("the other phone did not take it: %v", err)
		}
		other := <-up
		talk(t, ctx, ours, other)
		hangUp(t, ctx, o.Edge, ours, other)
	})
	t.Run("behind a phone", func(t *testing.T) {
		ctx := within(t, 25*time.Second)
		go func() {
			select {
			case in := <-anna.Incoming():
				_ = in.Reject(480, "Not Here")
			case <-ctx.Done():
			}
		}()
		ours, theirs := o.asks(t, ctx, bernd, "1001")
		o.taken(t, ctx, ours, theirs)
	})
	t.Run("of a flow", func(t *testing.T) {
		ctx := within(t, 25*time.Second)
		ours, theirs := o.asks(t, ctx, anna, "701")
		if from := o.alpha.calls()[4].FromURI(); !strings.HasPrefix(from, "sip:+4930109@") {
			t.Errorf("the carrier is shown %s, want Anna's number", from)
		}
		o.taken(t, ctx, ours, theirs)
	})
	t.Run("given up", func(t *testing.T) {
		ctx := within(t, 25*time.Second)
		ours, theirs := o.asks(t, ctx, caller, "4930101")
		ours.Cancel()
		select {
		case <-theirs.Done():
		case <-ctx.Done():
			t.Fatal("the callee is asked on though nobody calls any more")
		}
		noMedia(t, ctx, o.Edge)
	})
	eventually(t, within(t, 20*time.Second), "no call is left", func() error { return sameCalls(t.Context(), o.Edge, 0) })
}

// A flow that calls outside shows the number of the user who called it, and to a caller from outside who says that he is that user
// the number of the account.
func TestOutbound_FlowShowsWhoReallyCalls(t *testing.T) {
	o := askingOffice(t)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	for _, c := range []struct {
		name   string
		p      *phone.Phone
		target string
		shown  string
	}{
		{"the user", anna, "702", "+4930109"},
		{"somebody outside", trunkPhone(t, o.Edge, "1001"), "4930103", "+4930100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			o.alpha.now(accept)
			ours, theirs := o.answered(t, ctx, c.p, c.target, o.alpha)
			if from := o.alpha.calls()[0].FromURI(); !strings.HasPrefix(from, "sip:"+c.shown+"@") {
				t.Errorf("the carrier is shown %s, want %s", from, c.shown)
			}
			for name := range o.alpha.calls()[0].Headers() {
				if strings.HasPrefix(strings.ToLower(name), "x-sipio") {
					t.Errorf("the carrier is sent %s", name)
				}
			}
			hangUp(t, ctx, o.Edge, ours, theirs)
		})
	}
}

// Both ends hear each other also when a carrier that failed was heard before, whatever the relay had told for that one.
func TestOutbound_EarlyMediaOfATrunkThatFails(t *testing.T) {
	o := newOffice(t)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	ctx := within(t, 20*time.Second)
	heard := make(chan struct{}) // Kamailio's workers may take what comes close together in any order
	o.do(func(ctx context.Context, in *phone.Incoming) (*phone.Call, error) {
		if _, err := in.Progress(ctx); err != nil {
			return nil, err
		}
		select {
		case <-heard:
		case <-ctx.Done():
		}
		return nil, in.Reject(500, "No")
	}, accept, accept)
	ours, err := anna.Dial(ctx, "0305551234")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ours.Ringing():
	case <-ctx.Done():
		t.Fatal("the first carrier was not heard")
	}
	close(heard)
	theirs := outsider(t, ctx, o.beta)
	if err := ours.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(ours.Provisional(), 183) {
		t.Errorf("the first carrier was not heard: %v", ours.Provisional())
	}
	talk(t, ctx, ours, theirs)
	hangUp(t, ctx, o.Edge, theirs, ours)
}

package scenario

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
)

// One extension calls another and both hear the other's tone; the audio passed the relay's ports, not
// phone to phone. On every transport.
func TestCall_ExtensionToExtensionIsHeardBothWays(t *testing.T) {
	tails(t, node)
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			alice, bob := registered(t, node, "1001", over(transport)), registered(t, node, "1002", over(transport))
			a, b := connect(t, ctx, alice, bob, "1002")
			talk(t, ctx, a, b)
			relayed(t, a)
			relayed(t, b)
			eventually(t, ctx, "the brain to see this call, and no other", func() error {
				live, err := node.LiveCalls(ctx)
				if err == nil && !slices.Equal(live, []string{a.CallID()}) {
					err = fmt.Errorf("it sees %v", live)
				}
				return err
			})
			hangUp(t, ctx, node, a, b)
		})
	}
}

// relayed checks that the audio really came from one of rtpengine's ports.
func relayed(t *testing.T, c *phone.Call) {
	t.Helper()
	from := c.Stats().RemoteSource
	addr, err := net.ResolveUDPAddr("udp", from)
	if err != nil || addr.Port < node.RTPMin || addr.Port > node.RTPMax {
		t.Errorf("audio came from %q, want one of rtpengine's ports %d–%d", from, node.RTPMin, node.RTPMax)
	}
}

// The called side may hang up as well; the caller is told, the relay lets go.
func TestCall_EndsByTheCalledSide(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	talk(t, ctx, a, b)
	hangUp(t, ctx, node, b, a)
}

// A busy phone is told to the caller as 486, and nothing of the attempt stays behind.
func TestCall_BusyIs486(t *testing.T) {
	tails(t, node)
	ctx := within(t, 15*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	go func() {
		if in, ok := <-bob.Incoming(); ok {
			_ = in.Reject(486, "Busy Here")
		}
	}()
	refused(t, ctx, alice, "1002", 486)
	noMedia(t, ctx, node)
}

// A phone that rings for ever is given up after the user's ring time: 480, and the phone is told.
func TestCall_NoAnswerIs480AndStopsTheRinging(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	stopped := ringing(bob)
	began := time.Now()
	refused(t, ctx, alice, "1002", 480)
	if rang := time.Since(began); rang < 4*time.Second || rang > 15*time.Second {
		t.Errorf("rang for %v, want the user's 5 s", rang)
	}
	expectStopped(t, stopped)
	noMedia(t, ctx, node)
}

// ringing makes p ring without answering; the channel closes when the call was cancelled.
func ringing(p *phone.Phone) <-chan struct{} {
	stopped := make(chan struct{})
	go func() {
		if in, ok := <-p.Incoming(); ok {
			_ = in.Ring()
			<-in.Cancelled()
			close(stopped)
		}
	}()
	return stopped
}

func expectStopped(t *testing.T, stopped <-chan struct{}) {
	t.Helper()
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("the phone goes on ringing")
	}
}

// A caller who gives up stops the ringing; the call leaves no trace at the relay.
func TestCall_CancelStopsTheRinging(t *testing.T) {
	tails(t, node)
	ctx := within(t, 15*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	stopped := ringing(bob)
	call, err := alice.Dial(ctx, "1002")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-call.Ringing():
	case <-ctx.Done():
		t.Fatal("bob never rang")
	}
	call.Cancel()
	expectStopped(t, stopped)
	noMedia(t, ctx, node)
}

// Nobody is registered: 480 at once; a number that nobody has: 404.
func TestCall_OfflineIs480UnknownIs404(t *testing.T) {
	tails(t, node)
	ctx := within(t, 15*time.Second)
	alice := registered(t, node, "1001")
	refused(t, ctx, alice, "1002", 480)
	refused(t, ctx, alice, "1012", 480)
	refused(t, ctx, alice, "4711", 404)
	refused(t, ctx, alice, "603", 410)
}

// Two devices of a user ring together; the first to answer has the call, the other is told to stop. The answer
// comes when the caller hears the slower one ring.
func TestCall_TwoDevicesForkAndTheSlowerStops(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice := registered(t, node, "1001")
	desk, mobile := registered(t, node, "1003a", as("1003")), registered(t, node, "1003b", as("1003"))
	stopped := ringing(desk)
	a, b := connectWhileRinging(t, ctx, alice, mobile, "1003")
	expectStopped(t, stopped)
	talk(t, ctx, a, b)
	hangUp(t, ctx, node, a, b)
}

// connectWhileRinging has b answer a's call to target when a hears another phone ring, not before: Kamailio's tm
// forgets to cancel a phone whose 180 arrives in the same millisecond as another's 200 (docs/edge.md).
func connectWhileRinging(t *testing.T, ctx context.Context, a, b *phone.Phone, target string) (caller, callee *phone.Call) {
	t.Helper()
	caller, err := a.Dial(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-caller.Ringing():
	case <-ctx.Done():
		t.Fatal("no phone rang")
	}
	select {
	case in := <-b.Incoming():
		callee, err = in.Answer(ctx)
	case <-ctx.Done():
		t.Fatal("the call never came")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return caller, callee
}

// Sequential: the second device rings only after the first was given its time, and is heard.
func TestCall_SequentialReachesTheSecondDevice(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice := registered(t, node, "1001")
	first, second := registered(t, node, "1004a", as("1004")), registered(t, node, "1004b", as("1004"))
	stopped := ringing(first)
	a, b := connect(t, ctx, alice, second, "1004")
	expectStopped(t, stopped)
	talk(t, ctx, a, b)
	hangUp(t, ctx, node, a, b)
}

// ring_on_fork 0: the quiet device does not ring while the user has another.
func TestCall_QuietDeviceDoesNotRingOnFork(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice := registered(t, node, "1001")
	loud, quiet := registered(t, node, "1005a", as("1005")), registered(t, node, "1005b", as("1005"))
	a, b := connect(t, ctx, alice, loud, "1005")
	talk(t, ctx, a, b)
	hangUp(t, ctx, node, a, b)
	select {
	case <-quiet.Incoming():
		t.Error("the quiet device rang")
	default:
	}
}

// DND rings nothing: 486, or the busy forward.
func TestCall_DoNotDisturbIsBusyAndForwards(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	quiet := registered(t, node, "1006")
	refused(t, ctx, alice, "1006", 486)
	select {
	case <-quiet.Incoming():
		t.Error("a phone with DND rang")
	default:
	}
	converse(t, ctx, node, alice, bob, "1007")
}

// Each forward reaches 1002 and is heard there: always, busy, no answer (through an extension), nobody registered.
func TestCall_ForwardsReachTheirTarget(t *testing.T) {
	tails(t, node)
	t.Run("always", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
		converse(t, ctx, node, alice, bob, "1008")
	})
	for _, code := range []int{486, 600, 603} {
		t.Run("busy "+map[int]string{486: "486", 600: "600", 603: "603"}[code], func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			alice, bob, busy := registered(t, node, "1001"), registered(t, node, "1002"), registered(t, node, "1009")
			go func() {
				if in, ok := <-busy.Incoming(); ok {
					_ = in.Reject(code, "Busy")
				}
			}()
			converse(t, ctx, node, alice, bob, "1009")
		})
	}
	t.Run("no answer", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		alice, bob, slow := registered(t, node, "1001"), registered(t, node, "1002"), registered(t, node, "1010")
		stopped := ringing(slow)
		a, b := connect(t, ctx, alice, bob, "1010")
		expectStopped(t, stopped)
		talk(t, ctx, a, b)
		hangUp(t, ctx, node, a, b)
	})
	t.Run("not registered", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
		converse(t, ctx, node, alice, bob, "1010")
	})
}

// A phone whose contact leads nowhere (nobody takes the connection) is as one that does not answer:
// the forward is followed, and without one the caller gets a single clean 480.
func TestCall_UnreachableContactIsNoAnswer(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	for _, user := range []string{"1010", "1009"} {
		w := dialWire(t, node, "udp")
		r := registerOf(user)
		r.contact = "<sip:" + user + "@" + w.local + ";transport=tcp>" // nobody listens there
		r = answered(r, w.challenged(t, r), "secret-"+user, nil)
		expectCode(t, "register", w.exchange(t, w.message(r)), 200)
		t.Cleanup(func() { unregisterAs(t, w, r, "secret-"+user) })
	}
	converse(t, ctx, node, alice, bob, "1010")
	refused(t, ctx, alice, "1009", 480)
	noMedia(t, ctx, node)
}

// A ring group rings its members together, or one after the other.
func TestCall_RingGroups(t *testing.T) {
	tails(t, node)
	for _, group := range []string{"600", "601"} {
		t.Run(group, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			alice, bob, other := registered(t, node, "1001"), registered(t, node, "1002"), registered(t, node, "1009")
			stopped := ringing(other)
			a, b := connectWhileRinging(t, ctx, alice, bob, group)
			expectStopped(t, stopped)
			talk(t, ctx, a, b)
			hangUp(t, ctx, node, a, b)
		})
	}
}

// A number of another account does not exist for the caller, whatever domain it writes.
func TestCall_OtherAccountsAreUnreachable(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice := registered(t, node, "1001")
	mallory := registered(t, node, "2001", realm("other.test"))
	refused(t, ctx, alice, "2001", 404)
	refused(t, ctx, alice, "sip:2001@other.test", 404)
	refused(t, ctx, mallory, "sip:1001@acme.test", 404)
	refused(t, ctx, mallory, "1001", 404)
	select {
	case <-alice.Incoming():
		t.Error("a stranger's call arrived")
	case <-mallory.Incoming():
		t.Error("a stranger's call arrived")
	default:
	}
}

// Whatever a phone writes into From, the called phone sees who authenticated; a name with quotes arrives whole,
// and what phones may not assert of themselves is gone.
func TestCall_SpoofedFromIsCorrected(t *testing.T) {
	tails(t, node)
	ctx := within(t, 20*time.Second)
	alice := registered(t, node, "1001", func(c *phone.Config) { c.DisplayName = "The President" })
	bob := registered(t, node, "1002")
	spoofer := newPhone(t, node, "1002", func(c *phone.Config) { c.User = "1001"; c.DisplayName = "Alice" })

	got := make(chan *phone.Incoming, 1)
	go func() {
		in := <-bob.Incoming()
		got <- in
		_ = in.Reject(486, "Busy Here")
	}()
	refused(t, ctx, alice, "1002", 486)
	if in := <-got; in.FromURI() != "sip:1001@acme.test" || in.FromDisplay() != "Alice" {
		t.Errorf("bob sees %q <%s>, want Alice <1001>", in.FromDisplay(), in.FromURI())
	}

	go func() {
		in := <-alice.Incoming()
		got <- in
		_ = in.Reject(486, "Busy Here")
	}()
	refused(t, ctx, spoofer, "1001", 486)
	in := <-got
	if in.FromURI() != "sip:1002@acme.test" || !strings.Contains(in.FromDisplay(), "O'Neil") {
		t.Errorf("alice sees %q <%s>, want Bob \"Bobby\" O'Neil <1002>", in.FromDisplay(), in.FromURI())
	}
}

// Hold stops the audio, resume brings it back, both ways.
func TestCall_HoldAndResume(t *testing.T) {
	tails(t, node)
	for _, side := range []string{"caller", "callee"} {
		t.Run(side, func(t *testing.T) {
			ctx := within(t, 30*time.Second)
			alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
			a, b := connect(t, ctx, alice, bob, "1002")
			talk(t, ctx, a, b)
			holder, held := a, b
			if side == "callee" {
				holder, held = b, a
			}
			if err := holder.Hold(ctx); err != nil {
				t.Fatalf("hold: %v", err)
			}
			if err := holder.HearSilence(ctx, 500*time.Millisecond); err != nil {
				t.Errorf("on hold: %v", err)
			}
			if err := holder.Resume(ctx); err != nil {
				t.Fatalf("resume: %v", err)
			}
			talk(t, ctx, a, b)
			hangUp(t, ctx, node, held, holder)
		})
	}
}

// A browser and a desk phone hear each other, whoever calls: DTLS-SRTP and ICE on one side, plain RTP on the other.
func TestCall_WebRTCAndPlainPhone(t *testing.T) {
	tails(t, node)
	web := func(c *phone.Config) { c.Transport, c.WebRTC = "wss", true }
	t.Run("browser calls phone", func(t *testing.T) {
		ctx := within(t, 30*time.Second)
		browser, bob := registered(t, node, "1011", web), registered(t, node, "1002")
		converse(t, ctx, node, browser, bob, "1002")
	})
	t.Run("phone calls browser", func(t *testing.T) {
		ctx := within(t, 30*time.Second)
		browser, alice := registered(t, node, "1011", web), registered(t, node, "1001")
		a, b := connect(t, ctx, alice, browser, "1011")
		talk(t, ctx, a, b)
		hangUp(t, ctx, node, b, a)
	})
}

// Thirty calls at once: every one is heard both ways, none is lost, no session stays at the relay.
func TestCall_ThirtyAtOnce(t *testing.T) {
	tails(t, node)
	ctx := within(t, 60*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	type pair struct{ a, b *phone.Call }
	pairs := make(chan pair, 30)
	for range 30 {
		a, b := connect(t, ctx, alice, bob, "1002")
		pairs <- pair{a, b}
	}
	close(pairs)
	var all []pair
	for p := range pairs {
		all = append(all, p)
	}
	if ids, err := node.MediaSessions(); err != nil || len(ids) != 30 {
		t.Errorf("rtpengine relays %d sessions (%v), want 30", len(ids), err)
	}
	t.Run("heard", func(t *testing.T) {
		for _, p := range all {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				talk(t, ctx, p.a, p.b)
			})
		}
	})
	for i, p := range all {
		if i%2 == 1 {
			p.a, p.b = p.b, p.a
		}
		if err := p.a.Bye(ctx); err != nil {
			t.Errorf("BYE: %v", err)
		}
	}
	noMedia(t, ctx, node)
	noCalls(t, ctx, node)
}

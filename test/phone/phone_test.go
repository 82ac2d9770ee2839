package phone

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newTestPhone(t *testing.T, cfg Config) *Phone {
	t.Helper()
	cfg.Domain, cfg.Password, cfg.InsecureTLS = testDomain, testPassword, true
	if cfg.Proxy == "" {
		cfg.Proxy = "127.0.0.1:9"
	}
	p, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// address is host:port where a udp or tcp phone listens.
func address(t *testing.T, p *Phone) string {
	t.Helper()
	var uri sip.Uri
	if err := sip.ParseUri(p.Contact(), &uri); err != nil {
		t.Fatal(err)
	}
	return hostPort(uri)
}

// pair is two phones that talk without a proxy: the first sends everything to the second.
func pair(t *testing.T, transport string, webRTC bool) (alice, bob *Phone) {
	t.Helper()
	bob = newTestPhone(t, Config{AuthUser: "bob", Transport: transport, WebRTC: webRTC})
	alice = newTestPhone(t, Config{AuthUser: "alice", DisplayName: "Alice A", Transport: transport, WebRTC: webRTC, Proxy: address(t, bob)})
	return alice, bob
}

func takeCall(t *testing.T, ctx context.Context, p *Phone) *Incoming {
	t.Helper()
	select {
	case in := <-p.Incoming():
		return in
	case <-ctx.Done():
		t.Fatal("no call came in")
		return nil
	}
}

// connect makes a call from alice to bob and answers it.
func connect(t *testing.T, ctx context.Context, alice, bob *Phone, opts ...CallOption) (a, b *Call) {
	t.Helper()
	a, err := alice.Dial(ctx, "bob", opts...)
	if err != nil {
		t.Fatal(err)
	}
	in := takeCall(t, ctx, bob)
	mustRing(t, ctx, in, a)
	if b, err = in.Answer(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// mustRing sends 180 and waits until the caller has it: sipgo handles each message in its own goroutine, so a 200
// right behind a 180 may overtake it.
func mustRing(t *testing.T, ctx context.Context, in *Incoming, caller *Call) {
	t.Helper()
	if err := in.Ring(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-caller.Ringing():
	case <-ctx.Done():
		t.Fatal("the 180 did not reach the caller")
	}
}

func mustHear(t *testing.T, ctx context.Context, c *Call, hz float64) {
	t.Helper()
	if _, err := c.HearTone(ctx, hz); err != nil {
		t.Fatal(err)
	}
}

func mustBye(t *testing.T, ctx context.Context, from, to *Call) {
	t.Helper()
	if err := from.Bye(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-to.Done():
	case <-ctx.Done():
		t.Fatal("the other side did not notice the BYE")
	}
}

// Proves a call between two phones carries each side's own tone to the other, over both plain transports, that the
// counters and addresses tell where it came from, and that either side can hang up.
func TestCall_TonesBothWaysWithoutProxy(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			ctx := testContext(t)
			alice, bob := pair(t, transport, false)
			a, b := connect(t, ctx, alice, bob)
			a.SendTone(440)
			b.SendTone(600)
			mustHear(t, ctx, a, 600)
			mustHear(t, ctx, b, 440)
			s := a.Stats()
			if s.PacketsReceived < 10 || s.PacketsSent < 5 || s.RemoteSource != s.RemoteSDP || s.RemoteSource == "" || s.Codec != "PCMU" {
				t.Errorf("stats %+v", s)
			}
			if transport == "udp" {
				mustBye(t, ctx, a, b)
			} else {
				mustBye(t, ctx, b, a)
			}
		})
	}
}

// Proves a tone that is not there is not heard, and that the error says what came instead.
func TestCall_HearToneTellsWhatItHeardInstead(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", false)
	a, b := connect(t, ctx, alice, bob)
	b.SendTone(500)
	mustHear(t, ctx, a, 500)
	short, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = a.HearTone(ctx, 500) // as long as that takes there is something to hear
		stop()
	}()
	if _, err := a.HearTone(short, 440); err == nil || !strings.Contains(err.Error(), "loudest 500 Hz") {
		t.Errorf("error is %v", err)
	}
}

// Proves A-law is negotiated where one side has nothing else, and audible.
func TestCall_UsesTheCodecBothHave(t *testing.T) {
	ctx := testContext(t)
	bob := newTestPhone(t, Config{AuthUser: "bob", Codecs: []string{"PCMA"}})
	alice := newTestPhone(t, Config{AuthUser: "alice", Proxy: address(t, bob)})
	a, b := connect(t, ctx, alice, bob)
	b.SendTone(600)
	mustHear(t, ctx, a, 600)
	if a.Stats().Codec != "PCMA" || b.Stats().Codec != "PCMA" {
		t.Errorf("codecs %s and %s, want PCMA", a.Stats().Codec, b.Stats().Codec)
	}
}

// Proves hold stops the audio of both sides by re-INVITE, and resume brings it back; from the caller and the callee,
// for plain RTP and WebRTC.
func TestCall_HoldSilencesAndResumeBringsBack(t *testing.T) {
	for name, webRTC := range map[string]bool{"plain": false, "webrtc": true} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			alice, bob := pair(t, "udp", webRTC)
			a, b := connect(t, ctx, alice, bob)
			a.SendTone(440)
			b.SendTone(600)
			mustHear(t, ctx, a, 600)
			mustHear(t, ctx, b, 440)
			for _, holder := range []*Call{a, b} {
				held := b
				if holder == b {
					held = a
				}
				if err := holder.Hold(ctx); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(holder.ReceivedSDP(), "a=recvonly") || !strings.Contains(held.ReceivedSDP(), "a=sendonly") {
					t.Errorf("hold was not mirrored:\n%s", holder.ReceivedSDP())
				}
				for _, c := range []*Call{a, b} {
					if err := c.HearSilence(ctx, 200*time.Millisecond); err != nil {
						t.Fatal(err)
					}
				}
				if err := holder.Resume(ctx); err != nil {
					t.Fatal(err)
				}
				mustHear(t, ctx, a, 600)
				mustHear(t, ctx, b, 440)
			}
			mustBye(t, ctx, a, b)
		})
	}
}

// Proves a refusal reaches the caller with its code, reason and Retry-After.
func TestCall_RefusalIsAStatusError(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", false)
	c, err := alice.Dial(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := takeCall(t, ctx, bob).Reject(503, "Try Later", "Retry-After", "17 (soon)"); err != nil {
		t.Fatal(err)
	}
	var refused *StatusError
	if err := c.Wait(ctx); !errors.As(err, &refused) || refused.Code != 503 || refused.Reason != "Try Later" || refused.RetryAfter != 17*time.Second {
		t.Errorf("result %v (%+v)", err, refused)
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Error("the refused call is not Done")
	}
}

// Proves the end of the caller's context sends a CANCEL that the callee sees, and that answering then fails.
func TestCall_EndOfContextCancels(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			ctx := testContext(t)
			alice, bob := pair(t, transport, false)
			calling, giveUp := context.WithCancel(ctx)
			result := make(chan error, 1)
			go func() {
				_, err := alice.Call(calling, "bob")
				result <- err
			}()
			in := takeCall(t, ctx, bob)
			if err := in.Ring(); err != nil {
				t.Fatal(err)
			}
			giveUp()
			select {
			case <-in.Cancelled():
			case <-ctx.Done():
				t.Fatal("no CANCEL came")
			}
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("result %v", err)
			}
			if _, err := in.Answer(ctx); !errors.Is(err, ErrCancelled) {
				t.Errorf("answering a cancelled call: %v", err)
			}
		})
	}
}

// Proves what a test can assert about an INVITE: display name, own headers, a false From, provisional codes, SDP.
func TestCall_ShowsWhatWasSentAndReceived(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", false)
	a, b := connect(t, ctx, alice, bob, WithHeader("X-Test", "yes"), WithFrom("mallory", "Mallory"))
	if got := b.RemoteHeaders()["X-Test"]; len(got) != 1 || got[0] != "yes" {
		t.Errorf("X-Test at the callee: %v", got)
	}
	for _, want := range []string{`"Mallory" <sip:mallory@sipio.test>`, "X-Test: yes", "m=audio"} {
		if !strings.Contains(b.InviteRequest(), want) || !strings.Contains(a.InviteRequest(), want) {
			t.Errorf("%q is not in both INVITEs", want)
		}
	}
	if codes := a.Provisional(); !slices.Contains(codes, 180) {
		t.Errorf("provisional responses %v", codes)
	}
	if a.ReceivedSDP() != b.SentSDP() || a.SentSDP() != b.ReceivedSDP() {
		t.Error("the SDP of the two sides differs")
	}
}

// Proves early media is heard before the answer, and the call goes on through it.
func TestIncoming_EarlyMediaIsHeardBeforeTheAnswer(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", false)
	a, err := alice.Dial(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	in := takeCall(t, ctx, bob)
	b, err := in.Progress(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.SendTone(425)
	mustHear(t, ctx, a, 425)
	if answered, err := in.Answer(ctx); err != nil || answered != b {
		t.Fatalf("answer after progress: %v", err)
	}
	if _, err := in.Answer(ctx); err == nil {
		t.Error("the call was answered twice")
	}
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	mustHear(t, ctx, a, 425)
}

// Proves DTMF goes as telephone-events, each digit once, also while a tone is being sent.
func TestCall_DigitsArriveOnceEach(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", false)
	a, b := connect(t, ctx, alice, bob)
	a.SendTone(440)
	if err := a.SendDigits("17#"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.HearDigits(ctx, 3); err != nil || got != "17#" {
		t.Errorf("digits %q, %v", got, err)
	}
	mustHear(t, ctx, b, 440)
	if err := a.SendDigits("x"); err == nil {
		t.Error("x was taken for a digit")
	}
}

// Proves REFER is sent inside the dialog and its target is delivered.
func TestCall_ReferReachesTheOtherSide(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", false)
	a, b := connect(t, ctx, alice, bob)
	code, err := a.Refer(ctx, "carol")
	if err != nil || code != 202 {
		t.Fatalf("REFER: %d, %v", code, err)
	}
	select {
	case target := <-b.Referred():
		if target != "<sip:carol@sipio.test>" {
			t.Errorf("Refer-To %q", target)
		}
	case <-ctx.Done():
		t.Error("no REFER came")
	}
}

// Proves a browser phone negotiates ICE and DTLS-SRTP in one offer and answer, and has audio both ways.
func TestCall_WebRTCTonesBothWays(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", true)
	a, b := connect(t, ctx, alice, bob)
	a.SendTone(440)
	b.SendTone(600)
	mustHear(t, ctx, a, 600)
	mustHear(t, ctx, b, 440)
	if !strings.Contains(a.ReceivedSDP(), "a=fingerprint:") || !strings.Contains(a.SentSDP(), " 127.0.0.1 ") {
		t.Error("the SDP has no fingerprint or no loopback candidate")
	}
	if s := a.Stats(); s.RemoteSource == "" || s.RemoteSource != s.RemoteSDP {
		t.Errorf("stats %+v", s)
	}
	mustBye(t, ctx, b, a)
}

// Proves registration answers the challenge in either algorithm, reports all contacts, that a wrong password is
// asked about once and refused, and that unregistering removes the binding.
func TestRegister_AnswersOneChallenge(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		t.Run(algorithm, func(t *testing.T) {
			ctx := testContext(t)
			proxy := newTestProxy(t, "udp", algorithm)
			alice := newTestPhone(t, Config{AuthUser: "alice", Proxy: proxy.addr})
			res, err := alice.Register(ctx, time.Minute)
			if err != nil || res.Code != 200 {
				t.Fatalf("register: %+v, %v", res, err)
			}
			if len(res.Contacts) != 2 || !strings.Contains(res.Contacts[0], alice.Contact()) || !strings.HasSuffix(res.Contacts[0], ";expires=60") {
				t.Errorf("contacts %v, own %s", res.Contacts, alice.Contact())
			}
			alice.cfg.Password = "wrong"
			if res, err := alice.Register(ctx, time.Minute); err != nil || res.Code != 403 {
				t.Errorf("wrong password: %+v, %v", res, err)
			}
			alice.cfg.Password = testPassword
			if res, err := alice.Unregister(ctx); err != nil || res.Code != 200 || proxy.bindings() != 0 {
				t.Errorf("unregister: %+v, %v, bindings left %d", res, err, proxy.bindings())
			}
		})
	}
}

// Proves a stubborn phone: it refuses a re-INVITE with the code that it was told, or does not answer at all, goes on
// speaking as before, and is as others are when it takes offers again.
func TestCall_StubbornPhoneTakesNoOffer(t *testing.T) {
	ctx := testContext(t)
	alice, bob := pair(t, "udp", false)
	a, b := connect(t, ctx, alice, bob)
	b.SendTone(600)
	b.RefuseOffers(488)
	var refused *StatusError
	if err := a.Resume(ctx); !errors.As(err, &refused) || refused.Code != 488 {
		t.Errorf("re-INVITE: %v, want 488", err)
	}
	mustHear(t, ctx, a, 600)
	b.IgnoreOffers()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := a.Resume(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("re-INVITE: %v, want no answer", err)
	}
	mustHear(t, ctx, a, 600)
	b.TakeOffers()
	if err := a.Resume(ctx); err != nil {
		t.Error(err)
	}
	mustHear(t, ctx, a, 600)
	mustBye(t, ctx, a, b)
}

// Proves the whole path through a record-routing proxy that challenges REGISTER and INVITE, for every transport:
// route set, in-dialog requests of both sides, reuse of the phone's connection, audio. wss phones are browsers.
func TestCall_ThroughProxyOnEveryTransport(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls", "wss"} {
		t.Run(transport, func(t *testing.T) {
			ctx := testContext(t)
			proxy := newTestProxy(t, transport, "MD5")
			phones := map[string]*Phone{}
			for _, user := range []string{"alice", "bob"} {
				p := newTestPhone(t, Config{AuthUser: user, Proxy: proxy.addr, Transport: transport, WebRTC: transport == "wss"})
				if res, err := p.Register(ctx, time.Minute); err != nil || res.Code != 200 {
					t.Fatalf("register %s: %+v, %v", user, res, err)
				}
				phones[user] = p
			}
			a, b := connect(t, ctx, phones["alice"], phones["bob"])
			a.SendTone(440)
			b.SendTone(600)
			mustHear(t, ctx, a, 600)
			mustHear(t, ctx, b, 440)
			if err := b.Hold(ctx); err != nil {
				t.Fatal(err)
			}
			if err := a.Resume(ctx); err != nil {
				t.Fatal(err)
			}
			if code, err := a.Refer(ctx, "carol"); err != nil || code != 202 {
				t.Errorf("REFER: %d, %v", code, err)
			}
			if !strings.Contains(a.InviteRequest(), "Proxy-Authorization: Digest") {
				t.Error("the INVITE was not authenticated")
			}
			mustBye(t, ctx, b, a)
			cancelThroughProxy(t, ctx, phones["alice"], phones["bob"])
		})
	}
}

func cancelThroughProxy(t *testing.T, ctx context.Context, alice, bob *Phone) {
	t.Helper()
	c, err := alice.Dial(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	in := takeCall(t, ctx, bob)
	mustRing(t, ctx, in, c)
	c.Cancel()
	var refused *StatusError
	if err := c.Wait(ctx); !errors.As(err, &refused) || refused.Code != 487 {
		t.Errorf("cancelled call: %v", err)
	}
	select {
	case <-in.Cancelled():
	case <-ctx.Done():
		t.Error("the CANCEL did not reach the callee")
	}
}

// Proves a phone refuses a configuration it cannot work with.
func TestNew_RefusesAnImpossibleConfiguration(t *testing.T) {
	good := Config{AuthUser: "a", Domain: "d", Proxy: "127.0.0.1:5060"}
	for name, spoil := range map[string]func(*Config){
		"no user": func(c *Config) { c.AuthUser = "" }, "proxy without port": func(c *Config) { c.Proxy = "127.0.0.1" },
		"transport": func(c *Config) { c.Transport = "sctp" }, "codec": func(c *Config) { c.Codecs = []string{"G722"} },
		"local address": func(c *Config) { c.LocalIP = "localhost" },
	} {
		cfg := good
		spoil(&cfg)
		if p, err := New(t.Context(), cfg); err == nil {
			p.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

// Proves a phone whose proxy is not there says so at once on a stream transport.
func TestCall_ProxyNotThere(t *testing.T) {
	ctx := testContext(t)
	for _, transport := range []string{"tcp", "tls", "wss"} {
		p := newTestPhone(t, Config{AuthUser: "alice", Transport: transport}) // its proxy is a port that nobody has
		if _, err := p.Call(ctx, "bob"); err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v", transport, err)
		}
	}
}

package scenario

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/outbound.yaml
var outbound string

// carrier is a peer of the telephone network. What it does with calls may change between them.
type carrier struct {
	*phone.Phone
	mu   sync.Mutex
	does func(context.Context, *phone.Incoming) (*phone.Call, error)
	up   chan *phone.Call // calls that it has answered
	got  []*phone.Incoming
}

// newCarrier starts one that answers.
func newCarrier(t *testing.T, name string, opts ...option) *carrier {
	t.Helper()
	cfg := phone.Config{AuthUser: name, Password: "none", Domain: name + ".test", Transport: "udp", LocalIP: "127.0.0.1", Proxy: "127.0.0.1:9"}
	for _, o := range opts {
		o(&cfg)
	}
	p, err := phone.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c := &carrier{Phone: p, does: accept, up: make(chan *phone.Call, 16)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go c.serve(ctx)
	return c
}

func (c *carrier) serve(ctx context.Context) {
	for {
		select {
		case in := <-c.Incoming():
			c.mu.Lock()
			does := c.does
			c.got = append(c.got, in)
			c.mu.Unlock()
			go func() {
				if call, err := does(ctx, in); err == nil && call != nil {
					c.up <- call
				}
			}()
		case <-ctx.Done():
			return
		}
	}
}

// address is where it is called.
func (c *carrier) address() string {
	_, at, _ := strings.Cut(c.Contact(), "@")
	at, _, _ = strings.Cut(at, ";")
	return strings.TrimSuffix(at, ">")
}

// now changes what it does with calls, and forgets those it has had.
func (c *carrier) now(does func(context.Context, *phone.Incoming) (*phone.Call, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.does, c.got = does, nil
}

// calls are the INVITEs it has had since now.
func (c *carrier) calls() []*phone.Incoming {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func accept(ctx context.Context, in *phone.Incoming) (*phone.Call, error) { return in.Answer(ctx) }

// rings rings before it answers, with a tone before the answer.
func rings(ctx context.Context, in *phone.Incoming) (*phone.Call, error) {
	if _, err := in.Progress(ctx); err != nil {
		return nil, err
	}
	return in.Answer(ctx)
}

func refuses(code int) func(context.Context, *phone.Incoming) (*phone.Call, error) {
	return func(_ context.Context, in *phone.Incoming) (*phone.Call, error) { return nil, in.Reject(code, "No") }
}

// challenges asks for a digest of kontor and takes one that it has computed itself, for the request line as it stands.
func challenges(password string, algorithms ...string) func(context.Context, *phone.Incoming) (*phone.Call, error) {
	return func(ctx context.Context, in *phone.Incoming) (*phone.Call, error) {
		value := in.Header("Proxy-Authorization")
		if value == "" {
			var lines []string
			for _, a := range algorithms {
				lines = append(lines, "Proxy-Authenticate", `Digest realm="carrier, inc.", nonce="n-`+a+`", qop="auth,auth-int", algorithm=`+a)
			}
			return nil, in.Reject(407, "Proxy Authentication Required", lines...)
		}
		c, response, err := phone.ParseCredentials(value, "INVITE")
		c.Password = password
		if err != nil || c.User != "kontor" || c.Realm != "carrier, inc." || c.Nonce != "n-"+algorithms[0] || c.URI != in.RequestURI() || response != c.Response() {
			return nil, errors.Join(in.Reject(403, "Wrong"), err)
		}
		return in.Answer(ctx)
	}
}

// office is an edge with the account of outbound.yaml and its carriers.
type office struct {
	*edge.Edge
	alpha, beta, gamma *carrier
	silent             net.PacketConn
}

func newOffice(t *testing.T, change ...func(*edge.Options)) *office {
	t.Helper()
	o := &office{alpha: newCarrier(t, "alpha"), beta: newCarrier(t, "beta"), gamma: newCarrier(t, "gamma")}
	var err error
	if o.silent, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.silent.Close() })
	config := strings.NewReplacer("ALPHA", o.alpha.address(), "BETA", o.beta.address(), "GAMMA", o.gamma.address(), "SILENT", o.silent.LocalAddr().String()).Replace(outbound)
	opt := edge.Options{Config: config, LogDecisions: true}
	for _, f := range change {
		f(&opt)
	}
	o.Edge = start(t, opt)
	return o
}

// answered calls target from p and returns both ends; the carrier that has it must be c.
func (o *office) answered(t *testing.T, ctx context.Context, p *phone.Phone, target string, c *carrier) (ours, theirs *phone.Call) {
	t.Helper()
	ours, err := p.Call(ctx, target)
	if err != nil {
		t.Fatalf("call %s: %v", target, err)
	}
	select {
	case theirs = <-c.up:
	case <-ctx.Done():
		t.Fatalf("call %s was answered by another carrier", target)
	}
	return ours, theirs
}

// seen fails unless each carrier has had so many calls since it was told what to do.
func (o *office) seen(t *testing.T, alpha, beta, gamma int) {
	t.Helper()
	if a, b, g := len(o.alpha.calls()), len(o.beta.calls()), len(o.gamma.calls()); a != alpha || b != beta || g != gamma {
		t.Errorf("the carriers had %d, %d and %d calls, want %d, %d and %d", a, b, g, alpha, beta, gamma)
	}
}

// do tells all carriers what to do.
func (o *office) do(alpha, beta, gamma func(context.Context, *phone.Incoming) (*phone.Call, error)) {
	o.alpha.now(alpha)
	o.beta.now(beta)
	o.gamma.now(gamma)
}

// A call leaves over the trunks of its route in their order, past those that refuse as configured, until one answers; each is called
// in its own spelling and shown the company's number, nothing of the platform's, and both ends hear each other. A refusal that is
// the callee's own ends the call with that code. A carrier that works again is used again.
func TestOutbound_FailoverInOrder(t *testing.T) {
	o := newOffice(t)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))

	t.Run("third answers", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		o.do(refuses(500), refuses(603), rings)
		ours, theirs := o.answered(t, ctx, anna, "030-555.1234", o.gamma)
		o.seen(t, 1, 1, 1)
		for c, number := range map[*carrier]string{o.alpha: "+49305551234", o.beta: "0305551234", o.gamma: "49305551234"} {
			in := c.calls()[0]
			if !strings.HasPrefix(in.RequestURI(), "sip:"+number+"@") {
				t.Errorf("called as %s, want %s", in.RequestURI(), number)
			}
			if from := in.FromURI(); !strings.Contains(from, "30100@") {
				t.Errorf("%s is shown %s", number, from)
			}
			for name := range in.Headers() {
				if strings.HasPrefix(strings.ToLower(name), "x-sipio") || strings.HasPrefix(strings.ToLower(name), "p-k-") {
					t.Errorf("%s is sent %s", number, name)
				}
			}
		}
		talk(t, ctx, ours, theirs)
		hangUp(t, ctx, o.Edge, theirs, ours)
	})
	t.Run("what is no such number, and a redirect", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		account, err := o.AccountID(ctx, "acme")
		if err != nil {
			t.Fatal(err)
		}
		noTrunkTaken(t, ctx, o.Edge, account)
		for code, want := range map[int]int{484: 484, 604: 604, 302: 480} {
			o.do(refuses(code), accept, accept)
			refused(t, ctx, anna, "0305551234", want)
			o.seen(t, 1, 0, 0)
		}
		noTrunkTaken(t, ctx, o.Edge, account)
	})
	t.Run("final codes", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		for _, c := range []struct{ alpha, beta, gamma, want, n int }{{486, 0, 0, 486, 1}, {603, 0, 0, 603, 1}, {404, 0, 0, 404, 1}, {500, 486, 0, 486, 2}, {502, 603, 486, 486, 3}} {
			o.do(refuses(c.alpha), refuses(c.beta), refuses(c.gamma))
			refused(t, ctx, anna, "0305551234", c.want)
			o.seen(t, 1, min(1, c.n-1), max(0, c.n-2))
		}
		o.do(refuses(503), refuses(500), refuses(500))
		refused(t, ctx, anna, "0305551234", 503)
		o.seen(t, 1, 1, 1)
	})
	t.Run("works again", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		o.do(accept, accept, accept)
		// After its 503 it is called last until its pings say that it is there.
		eventually(t, ctx, "the first carrier to be used", func() error {
			ours, err := anna.Call(ctx, "0305551234")
			if err != nil {
				return err
			}
			defer ours.Bye(ctx)
			select {
			case theirs := <-o.alpha.up:
				talk(t, ctx, ours, theirs)
				return nil
			case <-o.beta.up:
			case <-o.gamma.up:
			}
			return errors.New("another carrier has the call")
		})
	})
	eventually(t, within(t, 20*time.Second), "no call is left", func() error { return sameCalls(t.Context(), o.Edge, 0) })
}

// A caller may give up while a trunk says nothing, and then nobody is called. The trunk is left after its silent_ms, not before
// and not long after, and the call goes on over the next.
func TestOutbound_SilentTrunkIsLeft(t *testing.T) {
	const silent = time.Second // silent_ms of the trunk
	o := newOffice(t)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	ctx := within(t, 25*time.Second)
	calling, cancel := context.WithCancel(ctx)
	go func() {
		_, _, _ = o.silent.ReadFrom(make([]byte, 1)) // its INVITE
		cancel()
	}()
	if _, err := anna.Call(calling, "0895551234"); err == nil {
		t.Error("a call that was given up was answered")
	}
	eventually(t, ctx, "no call is left", func() error { return sameCalls(ctx, o.Edge, 0) })
	noMedia(t, ctx, o.Edge)
	o.seen(t, 0, 0, 0)

	began := time.Now()
	ours, theirs := o.answered(t, ctx, anna, "0895551234", o.beta)
	if took := time.Since(began); took < 900*time.Millisecond || took > 3*silent { // Kamailio counts in ticks of 62.5 ms
		t.Errorf("the silent trunk was left after %v, its silent_ms are %v", took, silent)
	}
	buf := make([]byte, 64<<10)
	_ = o.silent.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, _, err := o.silent.ReadFrom(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "INVITE sip:+49895551234@") {
		t.Errorf("the silent trunk got %.60q, %v", buf[:max(n, 0)], err)
	}
	talk(t, ctx, ours, theirs)
	hangUp(t, ctx, o.Edge, ours, theirs)
	eventually(t, ctx, "no call is left", func() error { return sameCalls(ctx, o.Edge, 0) })
}

// A trunk's challenge is answered with the password that the account keeps, with MD5 and with SHA-256, the stronger when there is a
// choice; the carrier computes the same. With a wrong password the next trunk has the call.
func TestOutbound_ChallengeIsAnswered(t *testing.T) {
	o := newOffice(t)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	const password = `geheim & "sicher"`
	for _, algorithms := range [][]string{{"MD5"}, {"SHA-256"}, {"SHA-256", "MD5"}} {
		t.Run(strings.Join(algorithms, ","), func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			o.do(challenges(password, algorithms...), accept, accept)
			ours, theirs := o.answered(t, ctx, anna, "0305551234", o.alpha)
			o.seen(t, 2, 0, 0)
			if got := o.alpha.calls(); cseq(got[1]) != cseq(got[0])+1 {
				t.Errorf("CSeq %d is followed by %d", cseq(got[0]), cseq(got[1]))
			}
			talk(t, ctx, ours, theirs)
			for _, c := range []*phone.Call{ours, theirs} {
				if err := c.Hold(ctx); err != nil {
					t.Errorf("hold: %v", err)
				}
				if err := c.Resume(ctx); err != nil {
					t.Errorf("resume: %v", err)
				}
			}
			talk(t, ctx, ours, theirs)
			hangUp(t, ctx, o.Edge, ours, theirs)
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		ctx := within(t, 20*time.Second)
		again := challenges("other", "MD5")
		o.do(func(ctx context.Context, in *phone.Incoming) (*phone.Call, error) {
			if in.Header("Proxy-Authorization") != "" {
				return nil, in.Reject(407, "Again", "Proxy-Authenticate", `Digest realm="carrier, inc.", nonce="other"`)
			}
			return again(ctx, in)
		}, accept, accept)
		ours, theirs := o.answered(t, ctx, anna, "0305551234", o.beta)
		o.seen(t, 2, 1, 0)
		hangUp(t, ctx, o.Edge, ours, theirs)
	})
}

// A carrier that also challenges the re-INVITEs and the BYE of a call gets the digest of each, with a number that only rises: the call is put
// on hold and taken back, its sound goes both ways as before, the carrier holds and ends calls too, and the phone hears of no challenge.
// One whose password is wrong refuses the hold; the talk goes on.
func TestOutbound_ChallengesInsideACallAreAnswered(t *testing.T) {
	o := newOffice(t)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	const password = `geheim & "sicher"`
	for name, first := range map[string]func(context.Context, *phone.Incoming) (*phone.Call, error){
		"challenged from the beginning": challenges(password, "MD5"), "later only": accept,
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, 30*time.Second)
			o.do(first, accept, accept)
			for _, by := range []string{"the caller", "the carrier"} {
				ours, theirs := o.answered(t, ctx, anna, "0305551234", o.alpha)
				j := judge(theirs, password)
				talk(t, ctx, ours, theirs)
				for _, c := range []*phone.Call{ours, theirs, ours} {
					if err := c.Hold(ctx); err != nil {
						t.Errorf("hold: %v", err)
					}
					if err := c.Resume(ctx); err != nil {
						t.Errorf("resume: %v", err)
					}
					talk(t, ctx, ours, theirs)
				}
				if by == "the caller" {
					hangUp(t, ctx, o.Edge, ours, theirs)
					j.was(t, "INVITE", "INVITE", "INVITE", "INVITE", "BYE")
				} else {
					hangUp(t, ctx, o.Edge, theirs, ours)
					j.was(t, "INVITE", "INVITE", "INVITE", "INVITE")
				}
			}
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		ctx := within(t, 30*time.Second)
		o.do(accept, accept, accept)
		ours, theirs := o.answered(t, ctx, anna, "0305551234", o.alpha)
		j := judge(theirs, "another")
		if err := ours.Hold(ctx); err == nil || !strings.Contains(err.Error(), "488") {
			t.Errorf("hold: %v, want 488", err)
		}
		talk(t, ctx, ours, theirs)
		j.was(t)
		theirs.Judge(nil)
		hangUp(t, ctx, o.Edge, ours, theirs)
	})
	eventually(t, within(t, 10*time.Second), "no call is left", func() error { return sameCalls(t.Context(), o.Edge, 0) })
}

// judged is what a carrier has asked a digest for within a call.
type judged struct {
	mu    sync.Mutex
	last  uint32
	taken []string // methods
	wrong []string
}

// judge has a carrier ask for a digest of each re-INVITE and BYE, with a nonce of its own.
func judge(c *phone.Call, password string) *judged {
	j := &judged{}
	c.Judge(func(a phone.Asked) string {
		j.mu.Lock()
		defer j.mu.Unlock()
		if a.CSeq <= j.last {
			j.wrong = append(j.wrong, fmt.Sprintf("%s has CSeq %d behind %d", a.Method, a.CSeq, j.last))
		}
		j.last = a.CSeq
		nonce := fmt.Sprint(a.Method, len(j.taken))
		got, response, err := phone.ParseCredentials(a.Credentials, a.Method)
		got.Password = password
		if err == nil && got.User == "kontor" && got.Nonce == nonce && got.URI == a.URI && response == got.Response() {
			j.taken = append(j.taken, a.Method)
			return ""
		}
		return `Digest realm="carrier, inc.", nonce="` + nonce + `", qop="auth"`
	})
	return j
}

// was fails unless those requests were taken, in numbers that rise.
func (j *judged) was(t *testing.T, methods ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.taken, methods) || len(j.wrong) > 0 {
		t.Errorf("the carrier took %v, want %v; wrong: %v", j.taken, methods, j.wrong)
	}
}

// cseq is the number of an INVITE.
func cseq(in *phone.Incoming) (n int) {
	_, _ = fmt.Sscan(in.Header("CSeq"), &n)
	return n
}

// Six calls at once to numbers of a trunk with two channels: two leave over it and four over the next. When the account has as many
// calls to outside as it may, no other leaves, but one for help does.
func TestOutbound_ChannelsAndEmergency(t *testing.T) {
	o := newOffice(t)
	phones := []*phone.Phone{registered(t, o.Edge, "1001", realm("kontor.test")), registered(t, o.Edge, "1002", realm("kontor.test"))}
	ctx := within(t, 28*time.Second)
	var mu sync.Mutex
	var ours []*phone.Call
	dial := func(n int, target string) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				call, err := phones[i%2].Call(ctx, target)
				if err != nil {
					t.Errorf("call %d: %v", i, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				ours = append(ours, call)
			})
		}
		wg.Wait()
		if t.Failed() {
			t.FailNow() // nobody would come who is waited for
		}
	}
	dial(6, "0405551234")
	o.seen(t, 2, 4, 0)
	var theirs []*phone.Call
	for range 2 {
		theirs = append(theirs, <-o.alpha.up)
	}
	for range 4 {
		theirs = append(theirs, <-o.beta.up)
	}
	dial(2, "0305551234") // over alpha, which has another trunk for them
	theirs = append(theirs, <-o.alpha.up, <-o.alpha.up)
	refused(t, ctx, phones[0], "0305551234", 480)
	o.seen(t, 4, 4, 0)
	help, helper := o.answered(t, ctx, phones[0], "112", o.gamma)
	if in := o.gamma.calls()[0]; !strings.HasPrefix(in.RequestURI(), "sip:112@") {
		t.Errorf("help is called as %s", in.RequestURI())
	}
	talk(t, ctx, help, helper)
	for _, c := range append(ours, help) {
		if err := c.Bye(ctx); err != nil {
			t.Errorf("BYE: %v", err)
		}
	}
	for _, c := range append(theirs, helper) {
		select {
		case <-c.Done():
		case <-ctx.Done():
			t.Fatal("a carrier was not told that the call is over")
		}
	}
	noMedia(t, ctx, o.Edge)
	eventually(t, ctx, "no call is left", func() error { return sameCalls(ctx, o.Edge, 0) })
	o.do(accept, accept, accept)
	one, other := o.answered(t, ctx, phones[0], "0405551234", o.alpha) // its channels are free again
	hangUp(t, ctx, o.Edge, one, other)
}

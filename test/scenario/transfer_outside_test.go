package scenario

import (
	"context"
	_ "embed"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/outside_leg.yaml
var outsideLegs string

// handingOffice is an edge with a media server, the account of outbound.yaml and outside_leg.yaml and two carriers, which answer.
func handingOffice(t *testing.T) (*office, *lineNode) {
	t.Helper()
	o := &office{alpha: newCarrier(t, "alpha"), beta: newCarrier(t, "beta")}
	config := strings.NewReplacer("ALPHA", o.alpha.address(), "BETA", o.beta.address(), "GAMMA", o.beta.address(), "SILENT", "127.0.0.1:9",
		"{display_name: Bernd}", `{display_name: Bernd, out_cid_number: "4930109", allow_pstn_blind_transfer: true}`).Replace(outbound)
	o.Edge = start(t, edge.Options{Config: config + "\n" + outsideLegs, LogDecisions: true, Media: true})
	if err := o.WaitTrunk("127.0.0.9", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 10*time.Second)
	account, err := o.AccountID(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	n := &lineNode{Edge: o.Edge, account: account, users: map[string]string{}}
	n.list(t, ctx, "sip_users", func(r row) { n.users[r.Username] = r.ID })
	return o, n
}

// outsider is the next call that a carrier answers.
func outsider(t *testing.T, ctx context.Context, c *carrier) *phone.Call {
	t.Helper()
	select {
	case call := <-c.up:
		return call
	case <-ctx.Done():
		t.Fatal("nobody outside was called")
		return nil
	}
}

// showing fails unless the last call of a carrier was for a number, shown so, and says so in its headers; "" = it has none.
func showing(t *testing.T, c *carrier, number, from string, headers map[string]string) {
	t.Helper()
	calls := c.calls()
	if len(calls) == 0 {
		t.Fatal("the carrier was not called")
	}
	in := calls[len(calls)-1]
	if !strings.HasPrefix(in.RequestURI(), "sip:"+number+"@") || !strings.HasPrefix(in.FromURI(), "sip:"+from+"@") {
		t.Errorf("called %s by %s, want %s by %s", in.RequestURI(), in.FromURI(), number, from)
	}
	for name, want := range headers {
		if got := in.Header(name); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range in.Headers() {
		if strings.HasPrefix(strings.ToLower(name), "x-sipio") {
			t.Errorf("the carrier is sent %s", name)
		}
	}
}

// ends hangs up one of two who talk, and returns when nothing is left of their call.
func ends(t *testing.T, ctx context.Context, e *edge.Edge, from, other *phone.Call) {
	t.Helper()
	done(t, ctx, from, other)
	noMedia(t, ctx, e)
	eventually(t, ctx, "no call is left", func() error { return sameCalls(ctx, e, 0) })
}

// Whom a flow has called sends the caller to a number outside, by the API and by the key of his phone: the next trunk takes it when
// the first fails, the caller is shown as he came, with who sent him on, and both hear each other. A number outside that is busy
// brings the recall. Who asks outside first shows his own number. Who may not, and what is no such number, is refused.
func TestTransfer_ToANumberOutside(t *testing.T) {
	o, n := handingOffice(t)
	bernd := registered(t, o.Edge, "1002", realm("kontor.test"))
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	up := func(t *testing.T, ctx context.Context) (caller, served *phone.Call, req api.TransferRequest) {
		o.alpha.now(accept)
		o.beta.now(accept)
		served = takes(t, ctx, bernd, func() { caller = n.through(t, ctx, "4940777888", "4930104") })
		talk(t, ctx, caller, served)
		token, _ := n.token(t, ctx, "+4940777888")
		return caller, served, api.TransferRequest{Token: token, FromUserID: n.users["1002"], Target: to("pstn", "030 5551234")}
	}
	t.Run("blind, by the second trunk", func(t *testing.T) {
		ctx := within(t, 40*time.Second)
		caller, served, req := up(t, ctx)
		for want, target := range map[string]api.TransferTarget{"target.id": to("pstn", "12"), "is an emergency number": to("pstn", "112")} {
			if _, err := n.transfer(ctx, api.TransferRequest{Token: req.Token, FromUserID: req.FromUserID, Target: target}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %s", target, err, want)
			}
		}
		if _, err := n.transfer(ctx, api.TransferRequest{Token: req.Token, FromUserID: n.users["1001"], Target: req.Target}); err == nil || !strings.Contains(err.Error(), "allow_pstn_blind_transfer") {
			t.Errorf("without the right: %v", err)
		}
		o.alpha.now(refuses(500))
		n.gives(t, ctx, req)
		other := outsider(t, ctx, o.beta)
		hungUp(t, ctx, "who transferred", served)
		talk(t, ctx, caller, other)
		showing(t, o.alpha, "+49305551234", "+4940777888", map[string]string{"Diversion": "<sip:+4930109@"})
		showing(t, o.beta, "0305551234", "040777888", map[string]string{"Diversion": "<sip:030109@", "Privacy": ""})
		ends(t, ctx, o.Edge, caller, other)
	})
	t.Run("busy, and recalled", func(t *testing.T) {
		ctx := within(t, 40*time.Second)
		caller, _, req := up(t, ctx)
		o.alpha.now(refuses(486))
		again := takes(t, ctx, bernd, func() { n.gives(t, ctx, req) })
		talk(t, ctx, caller, again)
		if a, b := len(o.alpha.calls()), len(o.beta.calls()); a != 1 || b != 0 {
			t.Errorf("the carriers had %d and %d calls", a, b)
		}
		ends(t, ctx, o.Edge, caller, again)
	})
	t.Run("by the key of the phone", func(t *testing.T) {
		ctx := within(t, 40*time.Second)
		caller, served, _ := up(t, ctx)
		presses(t, ctx, served, "sip:112@kontor.test", 603)
		n.sendsOn(t, ctx, served, "sip:0305551234@kontor.test")
		other := outsider(t, ctx, o.alpha)
		hungUp(t, ctx, "who transferred", served)
		talk(t, ctx, caller, other)
		showing(t, o.alpha, "+49305551234", "+4940777888", map[string]string{"Diversion": "<sip:+4930109@"})
		ends(t, ctx, o.Edge, other, caller)
	})
	t.Run("a phone of the account that withholds its number", func(t *testing.T) {
		ctx := within(t, 40*time.Second)
		o.alpha.now(accept)
		var caller *phone.Call
		served := takes(t, ctx, bernd, func() {
			var err error
			if caller, err = anna.Call(ctx, "704", phone.WithHeader("Privacy", "id")); err != nil {
				t.Fatal(err)
			}
		})
		talk(t, ctx, caller, served)
		n.sendsOn(t, ctx, served, "sip:0305551234@kontor.test")
		other := outsider(t, ctx, o.alpha)
		talk(t, ctx, caller, other)
		showing(t, o.alpha, "+49305551234", "anonymous", map[string]string{"Privacy": "id"})
		ends(t, ctx, o.Edge, other, caller)
	})
	t.Run("asked first", func(t *testing.T) {
		ctx := within(t, 60*time.Second)
		caller, served, req := up(t, ctx)
		n.step(t, ctx, req, api.TransferAttended, api.ConsultRinging)
		other := outsider(t, ctx, o.alpha)
		other.SendTone(askedHz)
		showing(t, o.alpha, "+49305551234", "+4930109", map[string]string{"Diversion": ""})
		blend(t, ctx, "who asks", served, map[float64]bool{440: false, askedHz: true})
		eventually(t, ctx, "the answer to be known", func() error { return n.far(ctx, req, api.TransferAttended, api.ConsultTalking) })
		n.step(t, ctx, req, api.TransferComplete, "")
		hungUp(t, ctx, "who asked", served)
		twosome(t, ctx, caller, other, askedHz)
		ends(t, ctx, o.Edge, caller, other)
	})
}

// Of two phones that talk through the edge the one that sends the REFER is judged, not the one that From names: Anna, who may not
// transfer outside, writes Bernd's name into From and is refused; Bernd, who may, sends her to a number outside.
func TestTransfer_OfTwoPhonesToANumberOutside(t *testing.T) {
	o, n := handingOffice(t)
	bernd := registered(t, o.Edge, "1002", realm("kontor.test"))
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	ctx := within(t, 40*time.Second)
	up := answering(ctx, bernd)
	a, err := anna.Call(ctx, "1002", phone.WithFrom("1002", "Bernd"))
	if err != nil {
		t.Fatal(err)
	}
	b := <-up
	talk(t, ctx, a, b)
	liveToken(t, ctx, o.Edge, a) // the brain knows of the answer
	presses(t, ctx, a, "sip:0305551234@kontor.test", 603)
	o.alpha.now(accept)
	followed := follows(ctx, a)
	n.sendsOn(t, ctx, b, "sip:0305551234@kontor.test")
	next := <-followed
	if next == nil {
		t.Fatal("Anna was not sent on")
	}
	other := outsider(t, ctx, o.alpha)
	talk(t, ctx, next, other)
	hangUpOnly(t, ctx, b, a)
	ends(t, ctx, o.Edge, next, other)
}

package scenario

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/outside.yaml
var outside string

// Everything around trunks that one edge can show: who dials out as a PBX, who is shown to the carriers, where calls go that are sent
// on, calls for help, strangers, and a carrier that falls silent.
func TestOutside(t *testing.T) {
	o := newOutside(t)
	for _, group := range []struct {
		name string
		run  func(*testing.T, *office)
	}{
		{"PBX", pbxCalls}, {"Registered", branchCalls}, {"Identity", callersShown}, {"Withheld", withheldAreFound}, {"Forward", callsSentOn}, {"Loop", sentRoundAndRound},
		{"Help", callsForHelp}, {"Stranger", strangersLearnNothing}, {"Pings", silentCarrierIsPassedOver},
	} {
		t.Run(group.name, func(t *testing.T) {
			group.run(t, o)
			eventually(t, within(t, 10*time.Second), "no call is left", func() error { return sameCalls(t.Context(), o.Edge, 0) })
			noCalls(t, within(t, 10*time.Second), o.Edge)
		})
	}
}

func newOutside(t *testing.T) *office {
	t.Helper()
	o := &office{alpha: newCarrier(t, "alpha"), beta: newCarrier(t, "beta"), gamma: newCarrier(t, "gamma")}
	config := strings.NewReplacer("ALPHA", o.alpha.address(), "BETA", o.beta.address(), "GAMMA", o.gamma.address()).Replace(outside)
	o.Edge = start(t, edge.Options{Config: config, LogDecisions: true, NodeFlags: []string{"--heartbeat-interval=500ms"}})
	for _, source := range []string{"127.0.0.9", "127.0.0.10"} {
		if err := o.WaitTrunk(source, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"alpha", "beta"} { // a first ping that fails has its trunk called last
		eventually(t, within(t, 30*time.Second), name+" to be up", func() error {
			st, err := trunkNamed(t.Context(), o.Edge, "acme", name)
			if err == nil && (len(st.Nodes) != 1 || st.Nodes[0].State != api.TrunkUp) {
				err = fmt.Errorf("%+v", st.Nodes)
			}
			return err
		})
	}
	return o
}

// invited has a carrier refuse the next call as busy and returns the INVITE it got.
func (o *office) invited(t *testing.T, ctx context.Context, by *phone.Phone, target string, c *carrier, opts ...phone.CallOption) *phone.Incoming {
	t.Helper()
	c.now(refuses(486))
	refusedWith(t, ctx, by, target, 486, opts...)
	got := c.calls()
	if len(got) != 1 {
		t.Fatalf("the carrier has had %d calls", len(got))
	}
	return got[0]
}

// login is a phone with a login of kontor.test, a PBX's for example.
func login(user, password string) option {
	return func(c *phone.Config) { c.AuthUser, c.Password, c.Domain = user, password, "kontor.test" }
}

// through has a call of a PBX answered by a phone or carrier, and heard both ways.
func (o *office) through(t *testing.T, ctx context.Context, ours *phone.Call, theirs <-chan *phone.Call) {
	t.Helper()
	select {
	case other, ok := <-theirs:
		if !ok {
			t.Fatal("nobody has answered")
		}
		talk(t, ctx, ours, other)
		hangUp(t, ctx, o.Edge, other, ours)
	case <-ctx.Done():
		t.Fatal("answered, but not by the one who should")
	}
}

// asTrunk has a PBX that is known by its digest call a phone inside: what it says of other calls does not get there, and neither side may
// send the other one elsewhere.
func asTrunk(t *testing.T, ctx context.Context, o *office, pbx, bernd *phone.Phone) {
	t.Helper()
	up := make(chan *phone.Call, 1)
	go func() {
		defer close(up)
		select {
		case in := <-bernd.Incoming():
			if got := in.Header("Replaces") + in.Header("Referred-By"); got != "" {
				t.Errorf("the phone is shown %q", got)
			}
			if c, err := in.Answer(ctx); err == nil {
				up <- c
			}
		case <-ctx.Done():
		}
	}()
	a, err := pbx.Call(ctx, "1002", phone.WithHeader("Replaces", "x@y;to-tag=1;from-tag=2"), phone.WithHeader("Referred-By", "<sip:x@y>"))
	if err != nil {
		t.Fatal(err)
	}
	b, ok := <-up
	if !ok {
		t.Fatal("nobody answered")
	}
	presses(t, ctx, a, "sip:1001@kontor.test", 603)
	presses(t, ctx, b, "sip:1001@kontor.test", 603)
	talk(t, ctx, a, b)
	hangUp(t, ctx, o.Edge, a, b)
}

// A PBX that is known by its digest reaches a number of the account, an extension, and a number outside, where it shows a number of the
// account or is given its trunk's. A wrong password, and a login that nobody has, are answered as any stranger. A carrier that is
// known by a digest reaches numbers of the account and nothing else.
func pbxCalls(t *testing.T, o *office) {
	ctx := within(t, 20*time.Second)
	anna, bernd := registered(t, o.Edge, "1001", realm("kontor.test")), registered(t, o.Edge, "1002", realm("kontor.test"))
	pbx := newPhone(t, o.Edge, "pbx", login("pbx", "secret-pbx"))
	converse(t, ctx, o.Edge, pbx, anna, "030100")
	asTrunk(t, ctx, o, pbx, bernd)
	o.do(accept, accept, accept)
	ours, err := pbx.Call(ctx, "0301234567", phone.WithFrom("7001", "Extension 7001"))
	if err != nil {
		t.Fatal(err)
	}
	o.through(t, ctx, ours, o.alpha.up)
	in := o.alpha.calls()[0]
	if in.RequestURI() != "sip:+49301234567@"+o.alpha.address() || in.FromURI() != "sip:+4930102@127.0.0.1" {
		t.Errorf("%s from %s", in.RequestURI(), in.FromURI())
	}
	if in := o.invited(t, ctx, pbx, "0301234567", o.alpha, phone.WithFrom("030101", "Desk")); in.FromURI() != "sip:+4930101@127.0.0.1" || in.FromDisplay() != "Desk" {
		t.Errorf("a number of the account is shown as %q %s", in.FromDisplay(), in.FromURI())
	}

	foreign := newPhone(t, o.Edge, "foreign", login("foreign", "secret-pbx"))
	converse(t, ctx, o.Edge, foreign, anna, "030100")
	o.do(accept, accept, accept)
	for _, dialed := range []string{"0301234567", "+33142685300", "112", "1002"} {
		refused(t, ctx, foreign, dialed, 404)
	}
	o.seen(t, 0, 0, 0)

	stranger := answerTo(t, ctx, o.Edge, "nobody-at-all", "secret-pbx", "030100")
	if !strings.HasPrefix(stranger, "403 Forbidden") {
		t.Errorf("a stranger is told %s", stranger)
	}
	for _, c := range []struct{ user, password, dialed string }{
		{"pbx", "wrong", "030100"}, {"pbx", "wrong", "0301234567"}, {"nobody", "secret-pbx", "112"}, {"1001", "wrong", "1002"}, {"foreign", "wrong", "999"},
	} {
		if told := answerTo(t, ctx, o.Edge, c.user, c.password, c.dialed); told != stranger {
			t.Errorf("%s with %s is told %s, a stranger %s", c.user, c.password, told, stranger)
		}
	}
}

// answerTo is the refusal of a call as the caller gets it, without what differs in every call.
func answerTo(t *testing.T, ctx context.Context, e *edge.Edge, user, password, dialed string) string {
	t.Helper()
	call, err := newPhone(t, e, user, login(user, password)).Call(ctx, dialed)
	if err == nil {
		_ = call.Bye(ctx)
		t.Fatalf("%s is put through", user)
	}
	return refusalText(t, err)
}

// A PBX registers with its login. A call of a phone to a number that is routed to it goes where it has registered, with that number in
// the request line, and both hear each other. Before it has registered, and with a wrong password, nothing gets there.
func branchCalls(t *testing.T, o *office) {
	ctx := within(t, 20*time.Second)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	refused(t, ctx, anna, "0431234567", 503)
	liar := newPhone(t, o.Edge, "branch", login("branch", "wrong"))
	if resp, err := liar.Register(ctx, time.Minute); err != nil || resp.Code != 403 {
		t.Errorf("registering with a wrong password: %v %v", resp, err)
	}
	refused(t, ctx, anna, "0431234567", 503)
	branch := registered(t, o.Edge, "branch", login("branch", "secret-pbx"))
	up := make(chan *phone.Call, 1)
	seen := make(chan *phone.Incoming, 1)
	go func() {
		in := <-branch.Incoming()
		seen <- in
		if call, err := in.Answer(ctx); err == nil {
			up <- call
		}
	}()
	ours, err := anna.Call(ctx, "0431234567")
	if err != nil {
		t.Fatal(err)
	}
	o.through(t, ctx, ours, up)
	_, host, _ := strings.Cut(branch.Contact(), "@")
	if in := <-seen; !strings.HasPrefix(in.RequestURI(), "sip:+49431234567@"+strings.Split(strings.TrimSuffix(host, ">"), ";")[0]) || in.FromURI() != "sip:+4930100@kontor.test" {
		t.Errorf("called as %s from %s, registered at %s", in.RequestURI(), in.FromURI(), branch.Contact())
	}
	// What it sends itself is asked for its digest all the same.
	converse(t, ctx, o.Edge, branch, anna, "1001")
	if _, err := branch.Unregister(ctx); err != nil {
		t.Fatal(err)
	}
	refused(t, ctx, anna, "0431234567", 503)
}

// While a carrier does not answer OPTIONS it is called last: the first INVITE goes to the next one. When it answers again it is
// the first again.
func silentCarrierIsPassedOver(t *testing.T, o *office) {
	ctx := within(t, 40*time.Second)
	anna := registered(t, o.Edge, "1001", realm("kontor.test"))
	o.do(refuses(486), refuses(486), refuses(486))
	says := func(want string) {
		t.Helper()
		long, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		for {
			st, err := trunkNamed(long, o.Edge, "acme", "alpha")
			if err == nil && len(st.Nodes) == 1 && st.Nodes[0].State == want {
				return
			}
			select {
			case <-long.Done():
				t.Fatalf("waiting for %s: %+v, %v", want, st, err)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	says("up")
	refused(t, ctx, anna, "0301234567", 486)
	o.seen(t, 1, 0, 0)

	o.alpha.Deafen(true)
	says("down")
	o.do(accept, rings, accept)
	before := o.attempts(t, ctx, "alpha")
	ours, theirs := o.answered(t, ctx, anna, "0301234567", o.beta)
	talk(t, ctx, ours, theirs)
	hangUp(t, ctx, o.Edge, ours, theirs)
	o.seen(t, 0, 1, 0)
	if n := o.attempts(t, ctx, "alpha"); n != before {
		t.Errorf("the silent carrier was called %d times", n-before)
	}

	o.alpha.Deafen(false)
	says("up")
	ours, theirs = o.answered(t, ctx, anna, "0301234567", o.alpha)
	hangUp(t, ctx, o.Edge, ours, theirs)
	o.seen(t, 1, 1, 0)
}

// trunkNamed is what the brain says of a trunk.
func trunkNamed(ctx context.Context, e *edge.Edge, account, name string) (api.TrunkState, error) {
	id, err := e.AccountID(ctx, account)
	if err != nil {
		return api.TrunkState{}, err
	}
	raw, err := e.Request(ctx, "GET", api.PathTrunks+"?account_id="+id, "", nil)
	if err != nil {
		return api.TrunkState{}, err
	}
	var list api.TrunkList
	if err := json.Unmarshal(raw, &list); err != nil {
		return api.TrunkState{}, err
	}
	for _, st := range list.Trunks {
		if st.Name == name {
			return st, nil
		}
	}
	return api.TrunkState{}, fmt.Errorf("no trunk %s in %s", name, raw)
}

// attempts is how often a trunk of acme has been called, by what the brain counts.
func (o *office) attempts(t *testing.T, ctx context.Context, name string) int64 {
	t.Helper()
	st, err := trunkNamed(ctx, o.Edge, "acme", name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := o.Request(ctx, "GET", "/health", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var health struct {
		Trunks map[string]struct{ Attempts int64 }
	}
	if err := json.Unmarshal(raw, &health); err != nil || health.Trunks[st.ID].Attempts == 0 {
		t.Fatalf("%v: %s says nothing of %s", err, raw, st.ID)
	}
	return health.Trunks[st.ID].Attempts
}

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

//go:embed testdata/transfer_attended.yaml
var consultations string

// askedHz is what somebody says who is asked to take a caller. The caller says 440, who asks 620.
const askedHz = 1000

// Callers who are transferred after somebody was asked, on one node; each test has its own people.
func TestTransfer_Attended(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, consultations, edge.Options{})
	n.sideBySide(t, 90*time.Second, map[string]func(*testing.T, context.Context, *lineNode){
		"an agent asks and completes":           completes,
		"the caller comes back":                 comesBack,
		"three talk, and who asked hangs up":    threeTalk,
		"out of a flow's dial, and once more":   asksOn,
		"the caller hangs up while he is asked": givesUp,
	})
}

// step does one step of an attended transfer, and wants a state.
func (n *lineNode) step(t *testing.T, ctx context.Context, req api.TransferRequest, mode, state string) {
	t.Helper()
	if err := n.far(ctx, req, mode, state); err != nil {
		t.Fatal(err)
	}
}

// far does one step and tells whether it has come to a state. The target is for the mode attended alone.
func (n *lineNode) far(ctx context.Context, req api.TransferRequest, mode, state string) error {
	if req.Mode = mode; mode != api.TransferAttended {
		req.Target = api.TransferTarget{}
	}
	reply, err := n.transfer(ctx, req)
	if err == nil && (reply.State != state || reply.Mode != mode) {
		err = fmt.Errorf("it says %+v", reply)
	}
	if err != nil {
		return fmt.Errorf("%s, to be %q: %w", mode, state, err)
	}
	return nil
}

// refuses wants a step refused with a text.
func (n *lineNode) refuses(t *testing.T, ctx context.Context, req api.TransferRequest, mode, want string) {
	t.Helper()
	if err := n.far(ctx, req, mode, "refused"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// asks has somebody asked, who answers and speaks, and waits until that is known.
func (n *lineNode) asks(t *testing.T, ctx context.Context, req api.TransferRequest, target *phone.Phone) *phone.Call {
	t.Helper()
	other := takes(t, ctx, target, func() { n.step(t, ctx, req, api.TransferAttended, api.ConsultRinging) })
	other.SendTone(askedHz)
	eventually(t, ctx, "the answer to be known", func() error { return n.far(ctx, req, api.TransferAttended, api.ConsultTalking) })
	return other
}

// consulting wants who asks and whom he asks to hear each other alone, and the caller music.
func consulting(t *testing.T, ctx context.Context, caller, agent, other *phone.Call) {
	t.Helper()
	blend(t, ctx, "the caller", caller, map[float64]bool{musicHz: true, 620: false, askedHz: false})
	blend(t, ctx, "who asks", agent, map[float64]bool{440: false, musicHz: false, askedHz: true})
	blend(t, ctx, "who is asked", other, map[float64]bool{440: false, musicHz: false, 620: true})
}

// twosome wants two to hear each other alone; b says hz.
func twosome(t *testing.T, ctx context.Context, caller, b *phone.Call, hz float64) {
	t.Helper()
	for _, silent := range []float64{620, askedHz} {
		blend(t, ctx, "the caller", caller, map[float64]bool{musicHz: false, silent: silent == hz})
	}
	blend(t, ctx, "the other side", b, map[float64]bool{440: true, musicHz: false, 620: false, askedHz: false})
}

// An agent whose talk has gone past the media server asks a user, whose phone shows who asks: the two hear each other, the
// caller his music. Nobody else can be asked meanwhile, nor anybody in a queue. Then the caller talks to him, the agent has
// hung up and his work after the call. Completed again it is answered alike.
func completes(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3501"), registered(t, n.Edge, "3511", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930591", "4930751") })
	n.letGo(t, ctx, caller, agent)
	token, _ := n.token(t, ctx, "4930591")
	req := api.TransferRequest{Token: token, FromUserID: n.users["3501"], Target: to("user", "3511")}
	for _, mode := range []string{api.TransferComplete, api.TransferThreeWay, api.TransferCancel} {
		n.refuses(t, ctx, req, mode, api.NobodyAsked)
	}
	n.refuses(t, ctx, api.TransferRequest{Token: token, FromUserID: req.FromUserID, Target: to("queue", "asking")}, api.TransferAttended, "nobody can be asked in a queue")
	n.refuses(t, ctx, api.TransferRequest{Token: token, FromUserID: n.users["3511"], Target: to("user", "3512")}, api.TransferAttended, "not on the other side")
	talk(t, ctx, caller, agent)

	n.step(t, ctx, req, api.TransferAttended, api.ConsultRinging)
	in := beckoned(t, ctx, target)
	if !strings.Contains(in.FromURI(), "3501") || in.FromDisplay() != "Ada" {
		t.Errorf("the phone shows %q %s, want who asks", in.FromDisplay(), in.FromURI())
	}
	if err := in.Ring(); err != nil {
		t.Error(err)
	}
	blend(t, ctx, "the caller while it rings", caller, map[float64]bool{musicHz: true, 620: false})
	blend(t, ctx, "the agent while it rings", agent, map[float64]bool{440: false, musicHz: false})
	n.refuses(t, ctx, req, api.TransferComplete, api.NotAnswered)
	n.refuses(t, ctx, req, api.TransferThreeWay, api.NotAnswered)
	other, err := in.Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other.SendTone(askedHz)
	consulting(t, ctx, caller, agent, other)
	n.step(t, ctx, req, api.TransferAttended, api.ConsultTalking)
	n.refuses(t, ctx, api.TransferRequest{Token: token, FromUserID: req.FromUserID, Target: to("user", "3512")}, api.TransferAttended, api.AskedAlready)
	n.bucket(t, ctx, "3501", acd.BucketInCall)

	n.step(t, ctx, req, api.TransferComplete, "")
	hungUp(t, ctx, "the agent", agent)
	n.bucket(t, ctx, "3501", acd.BucketWrapUp)
	twosome(t, ctx, caller, other, askedHz)
	n.step(t, ctx, req, api.TransferComplete, "")
	n.bucket(t, ctx, "3501", acd.BucketReady)
	twosome(t, ctx, caller, other, askedHz)
	done(t, ctx, other, caller)
	n.left(t, ctx, "asking", 1, func(q *api.Figures) int64 { return q.Answered })
}

// However the one who is asked is out of it, cancelled while he talks or rings, declining or hanging up, caller and agent hear
// each other again, and somebody may be asked anew.
func comesBack(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3502"), registered(t, n.Edge, "3512", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930592", "4930752") })
	talk(t, ctx, caller, agent)
	token, _ := n.token(t, ctx, "4930592")
	req := api.TransferRequest{Token: token, FromUserID: n.users["3502"], Target: to("agent", "3512")}

	other := n.asks(t, ctx, req, target)
	consulting(t, ctx, caller, agent, other)
	n.step(t, ctx, req, api.TransferCancel, "")
	hungUp(t, ctx, "who was asked", other)
	twosome(t, ctx, caller, agent, 620)
	n.refuses(t, ctx, req, api.TransferCancel, api.NobodyAsked)

	n.step(t, ctx, req, api.TransferAttended, api.ConsultRinging)
	in := beckoned(t, ctx, target)
	if err := in.Ring(); err != nil {
		t.Error(err)
	}
	blend(t, ctx, "the caller", caller, map[float64]bool{musicHz: true, 620: false})
	n.step(t, ctx, req, api.TransferCancel, "")
	expectStopped(t, in.Cancelled())
	twosome(t, ctx, caller, agent, 620)

	n.step(t, ctx, req, api.TransferAttended, api.ConsultRinging)
	if err := beckoned(t, ctx, target).Reject(603, "Decline"); err != nil {
		t.Error(err)
	}
	twosome(t, ctx, caller, agent, 620)
	n.refuses(t, ctx, req, api.TransferComplete, api.NobodyAsked)
	n.refuses(t, ctx, req, api.TransferAttended, api.AskedGone)

	other = n.asks(t, ctx, req, target)
	consulting(t, ctx, caller, agent, other)
	leaveAll(t, ctx, other)
	twosome(t, ctx, caller, agent, 620)
	n.bucket(t, ctx, "3502", acd.BucketInCall)
	done(t, ctx, caller, agent)
	n.bucket(t, ctx, "3502", acd.BucketReady)
}

// All three hear each other; then the agent hangs up by himself, and the other two talk on.
func threeTalk(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3503"), registered(t, n.Edge, "3513", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930593", "4930753") })
	talk(t, ctx, caller, agent)
	token, _ := n.token(t, ctx, "4930593")
	req := api.TransferRequest{Token: token, FromUserID: n.users["3503"], Target: to("number", "3513")}
	other := n.asks(t, ctx, req, target)
	consulting(t, ctx, caller, agent, other)
	for range 2 {
		n.step(t, ctx, req, api.TransferThreeWay, api.ConsultJoined)
	}
	blend(t, ctx, "the caller", caller, map[float64]bool{musicHz: false, 620: true, askedHz: true})
	blend(t, ctx, "who asked", agent, map[float64]bool{440: true, musicHz: false, askedHz: true})
	blend(t, ctx, "who was asked", other, map[float64]bool{440: true, musicHz: false, 620: true})
	n.step(t, ctx, req, api.TransferAttended, api.ConsultJoined)
	leaveAll(t, ctx, agent)
	twosome(t, ctx, caller, other, askedHz)
	n.bucket(t, ctx, "3503", acd.BucketReady)
	done(t, ctx, caller, other)
}

// Whom a flow has called asks somebody and completes; who got the caller so asks another one, and hangs up himself.
func asksOn(t *testing.T, ctx context.Context, n *lineNode) {
	operator, second, third := registered(t, n.Edge, "3515", realm("line.test")), registered(t, n.Edge, "3514", realm("line.test")), registered(t, n.Edge, "3516", realm("line.test"))
	var caller *phone.Call
	first := takes(t, ctx, operator, func() { caller = n.through(t, ctx, "4930594", "4930755") })
	talk(t, ctx, caller, first)
	token, _ := n.token(t, ctx, "4930594")
	req := api.TransferRequest{Token: token, FromUserID: n.users["3515"], Target: to("user", "3514")}
	musicThere(t, ctx, n.Edge) // the platform's, which he hears who was in no queue
	other := n.asks(t, ctx, req, second)
	blend(t, ctx, "who asks", first, map[float64]bool{440: false, askedHz: true})
	blend(t, ctx, "who is asked", other, map[float64]bool{440: false, 620: true})
	blend(t, ctx, "the caller", caller, map[float64]bool{620: false, askedHz: false})
	n.step(t, ctx, req, api.TransferComplete, "")
	hungUp(t, ctx, "whom the flow has called", first)
	twosome(t, ctx, caller, other, askedHz)

	other.SendTone(620)
	req = api.TransferRequest{Token: token, FromUserID: n.users["3514"], Target: to("number", "516")}
	last := n.asks(t, ctx, req, third)
	blend(t, ctx, "who asks", other, map[float64]bool{440: false, askedHz: true})
	leaveAll(t, ctx, other)
	twosome(t, ctx, caller, last, askedHz)
	done(t, ctx, caller, last)
}

// The caller hangs up in the middle of it: everybody is free.
func givesUp(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3504"), registered(t, n.Edge, "3517", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930595", "4930754") })
	talk(t, ctx, caller, agent)
	token, _ := n.token(t, ctx, "4930595")
	other := n.asks(t, ctx, api.TransferRequest{Token: token, FromUserID: n.users["3504"], Target: to("user", "3517")}, target)
	leaveAll(t, ctx, caller)
	hungUp(t, ctx, "the agent", agent)
	hungUp(t, ctx, "who was asked", other)
	n.bucket(t, ctx, "3504", acd.BucketReady)
}

// beckoned waits for a phone's next call.
func beckoned(t *testing.T, ctx context.Context, p *phone.Phone) *phone.Incoming {
	t.Helper()
	select {
	case in := <-p.Incoming():
		return in
	case <-ctx.Done():
		t.Fatal("a phone was not rung")
		return nil
	}
}

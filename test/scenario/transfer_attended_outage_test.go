package scenario

import (
	"context"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

// The node agent dies while somebody is asked, which nobody hears; the next one takes it up: it can be completed, whoever hangs
// up meanwhile takes nobody's talk with him, and nothing stays behind.
func TestTransfer_TheNodeAgentDiesWhileSomebodyIsAsked(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, consultations, edge.Options{})
	ctx := within(t, 150*time.Second)
	p, target := n.desk(t, ctx, "3504"), registered(t, n.Edge, "3512", realm("line.test"))
	for _, row := range []struct {
		name string
		then func(t *testing.T, req api.TransferRequest, caller, agent, other *phone.Call)
	}{
		{"completed by the next one", func(t *testing.T, req api.TransferRequest, caller, agent, other *phone.Call) {
			n.again(t, ctx)
			eventually(t, ctx, "the next agent to know", func() error { return n.far(ctx, req, api.TransferAttended, api.ConsultTalking) })
			consulting(t, ctx, caller, agent, other)
			n.step(t, ctx, req, api.TransferComplete, "")
			hungUp(t, ctx, "who asked", agent)
			twosome(t, ctx, caller, other, askedHz)
			done(t, ctx, caller, other)
			n.bucket(t, ctx, "3504", acd.BucketReady)
		}},
		{"cancelled by the next one", func(t *testing.T, req api.TransferRequest, caller, agent, other *phone.Call) {
			n.again(t, ctx)
			eventually(t, ctx, "the next agent to let him go", func() error { return n.far(ctx, req, api.TransferCancel, "") })
			hungUp(t, ctx, "who was asked", other)
			twosome(t, ctx, caller, agent, 620)
			done(t, ctx, caller, agent)
			n.bucket(t, ctx, "3504", acd.BucketReady)
		}},
		{"who is asked hangs up meanwhile", func(t *testing.T, _ api.TransferRequest, caller, agent, other *phone.Call) {
			leaveAll(t, ctx, other)
			n.again(t, ctx)
			twosome(t, ctx, caller, agent, 620)
			done(t, ctx, agent, caller)
			n.bucket(t, ctx, "3504", acd.BucketReady)
		}},
		{"who asks hangs up meanwhile", func(t *testing.T, _ api.TransferRequest, caller, agent, other *phone.Call) {
			leaveAll(t, ctx, agent)
			n.again(t, ctx)
			twosome(t, ctx, caller, other, askedHz)
			done(t, ctx, caller, other)
			n.bucket(t, ctx, "3504", acd.BucketReady)
		}},
		{"the caller hangs up meanwhile", func(t *testing.T, _ api.TransferRequest, caller, agent, other *phone.Call) {
			leaveAll(t, ctx, caller)
			n.again(t, ctx)
			hungUp(t, ctx, "who asks", agent)
			hungUp(t, ctx, "who was asked", other) // his queue hears of it when the lease of his session is over
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var caller *phone.Call
			agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930596", "4930754") })
			talk(t, ctx, caller, agent)
			token, _ := n.token(t, ctx, "4930596")
			req := api.TransferRequest{Token: token, FromUserID: n.users["3504"], Target: to("user", "3512")}
			other := n.asks(t, ctx, req, target)
			consulting(t, ctx, caller, agent, other)
			if err := n.Node.Kill(); err != nil {
				t.Fatal(err)
			}
			n.refuses(t, ctx, req, api.TransferCancel, "503")
			consulting(t, ctx, caller, agent, other)
			row.then(t, req, caller, agent, other)
			n.nothingLeft(t, ctx)
		})
	}
}

// again starts another node agent.
func (n *lineNode) again(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := n.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
}

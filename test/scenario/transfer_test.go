package scenario

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/transfer.yaml
var handovers string

// Callers who are transferred by API, on one node; each test has its own agents.
func TestTransfer(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, handovers, edge.Options{})
	n.sideBySide(t, 60*time.Second, map[string]func(*testing.T, context.Context, *lineNode){
		"an agent's caller to a user":   handsOver,
		"the target does not answer":    recalls,
		"into another queue":            requeues,
		"out of a flow's dial, onwards": handsOn,
	})
}

// token is the call of whoever has that number, once GET /calls shows it.
func (n *lineNode) token(t *testing.T, ctx context.Context, number string) (token, callID string) {
	t.Helper()
	eventually(t, ctx, "the call of "+number, func() error {
		var list api.CallList
		body, err := n.Request(ctx, http.MethodGet, api.PathCalls+"?limit=500", "", nil)
		if err == nil {
			err = json.Unmarshal(body, &list)
		}
		if err != nil {
			return err
		}
		for _, c := range list.Calls {
			if c.From == number && len(c.To) == 7 {
				token, callID = c.Token, c.CallID
				return nil
			}
		}
		return fmt.Errorf("there are %s", body)
	})
	return token, callID
}

// transfer asks for a transfer and returns what is said to it; an error is a refusal.
func (n *lineNode) transfer(ctx context.Context, req api.TransferRequest) (api.TransferReply, error) {
	req.Mode = cmp.Or(req.Mode, api.TransferBlind)
	var reply api.TransferReply
	asked, err := json.Marshal(req)
	if err != nil {
		return reply, err
	}
	body, err := n.Request(ctx, http.MethodPost, api.PathTransfer+"?account_id="+n.account, "application/json", asked)
	if err != nil {
		return reply, err
	}
	return reply, json.Unmarshal(body, &reply)
}

// gives transfers, which must be taken.
func (n *lineNode) gives(t *testing.T, ctx context.Context, req api.TransferRequest) {
	t.Helper()
	if reply, err := n.transfer(ctx, req); err != nil || reply.Token == "" {
		t.Fatalf("transfer to %s %s: %+v %v", req.Target.Kind, req.Target.ID, reply, err)
	}
}

func to(kind, id string) api.TransferTarget { return api.TransferTarget{Kind: kind, ID: id} }

// An agent's talk, past the media server by then, is transferred: what may not be is refused and disturbs nobody. The user
// rings and answers, he and the caller hear each other, the agent has his work after the call and gets ready. Asked for again
// it is answered alike, and nobody is rung.
func handsOver(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3401"), registered(t, n.Edge, "3411", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930581", "4930741") })
	n.letGo(t, ctx, caller, agent)
	token, callID := n.token(t, ctx, "4930581")
	from := n.users["3401"]
	for want, req := range map[string]api.TransferRequest{
		"from_user_id":              {Token: token, FromUserID: "us_none", Target: to("user", "3411")},
		"not on the other side":     {Token: token, FromUserID: n.users["3411"], Target: to("user", "3412")},
		"target.id":                 {Token: token, FromUserID: from, Target: to("number", "4711")},
		"allow_pstn_blind_transfer": {Token: token, FromUserID: from, Target: to("pstn", "4930123456")},
		"no such live call":         {Token: "none", FromUserID: from, Target: to("user", "3411")},
	} {
		if _, err := n.transfer(ctx, req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", req, err, want)
		}
	}
	talk(t, ctx, caller, agent)
	other := takes(t, ctx, target, func() {
		n.gives(t, ctx, api.TransferRequest{CallID: callID, FromUserID: from, Target: to("user", "3411")})
	})
	hungUp(t, ctx, "the agent", agent)
	talk(t, ctx, caller, other)
	n.gives(t, ctx, api.TransferRequest{Token: token, FromUserID: from, Target: to("user", "3411")})
	n.bucket(t, ctx, "3401", acd.BucketReady)
	talk(t, ctx, caller, other)
	done(t, ctx, caller, other)
	n.left(t, ctx, "handing", 1, func(q *api.Figures) int64 { return q.Answered })
}

// The user does not answer: the agent's phone rings again, and the two hear each other as before.
func recalls(t *testing.T, ctx context.Context, n *lineNode) {
	p, target := n.desk(t, ctx, "3402"), registered(t, n.Edge, "3412", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930582", "4930742") })
	talk(t, ctx, caller, agent)
	token, _ := n.token(t, ctx, "4930582")
	rang := ringing(target)
	again := takes(t, ctx, p, func() {
		n.gives(t, ctx, api.TransferRequest{Token: token, FromUserID: n.users["3402"], Target: to("number", "3412")})
	})
	expectStopped(t, rang)
	talk(t, ctx, caller, again)
	n.bucket(t, ctx, "3402", acd.BucketExtCall)
	done(t, ctx, again, caller)
	n.bucket(t, ctx, "3402", acd.BucketReady)
}

// Into another queue: the caller waits there, hears its music, and talks to its agent.
func requeues(t *testing.T, ctx context.Context, n *lineNode) {
	first, second := n.desk(t, ctx, "3403"), n.desk(t, ctx, "3404")
	n.agent(t, ctx, "3404", "break")
	var caller *phone.Call
	agent := takes(t, ctx, first, func() { caller = n.through(t, ctx, "4930583", "4930743") })
	talk(t, ctx, caller, agent)
	token, _ := n.token(t, ctx, "4930583")
	n.gives(t, ctx, api.TransferRequest{Token: token, FromUserID: n.users["3403"], Target: to("queue", "back")})
	hungUp(t, ctx, "the first agent", agent)
	n.bucket(t, ctx, "3403", acd.BucketReady)
	if _, err := caller.HearTone(ctx, musicHz); err != nil {
		t.Fatalf("no music in the second queue: %v", err)
	}
	other := takes(t, ctx, second, func() { n.agent(t, ctx, "3404", "available") })
	talk(t, ctx, caller, other)
	done(t, ctx, caller, other)
	n.left(t, ctx, "front", 1, func(q *api.Figures) int64 { return q.Answered })
	n.left(t, ctx, "back", 1, func(q *api.Figures) int64 { return q.Answered })
}

// Whom a flow has called transfers to a number, and who answers there transfers back; the flow has no more say.
func handsOn(t *testing.T, ctx context.Context, n *lineNode) {
	operator, target := registered(t, n.Edge, "3413", realm("line.test")), registered(t, n.Edge, "3414", realm("line.test"))
	var caller *phone.Call
	first := takes(t, ctx, operator, func() { caller = n.through(t, ctx, "4930584", "4930744") })
	talk(t, ctx, caller, first)
	token, _ := n.token(t, ctx, "4930584")
	second := takes(t, ctx, target, func() {
		n.gives(t, ctx, api.TransferRequest{Token: token, FromUserID: n.users["3413"], Target: to("number", "414")})
	})
	hungUp(t, ctx, "whom the flow has called", first)
	talk(t, ctx, caller, second)
	if _, err := n.transfer(ctx, api.TransferRequest{Token: token, FromUserID: n.users["3413"], Target: to("number", "3413")}); err == nil {
		t.Error("who has transferred the caller transfers him once more")
	}
	back := takes(t, ctx, operator, func() {
		n.gives(t, ctx, api.TransferRequest{Token: token, FromUserID: n.users["3414"], Target: to("agent", "3413")})
	})
	talk(t, ctx, caller, back)
	done(t, ctx, back, caller)
}

// A talk that goes on while its node agent is another one by now is transferred like any other.
func TestTransfer_AfterTheNodeAgentDied(t *testing.T) {
	t.Parallel()
	n := startLineWith(t, handovers, edge.Options{})
	ctx := within(t, 60*time.Second)
	p, target := n.desk(t, ctx, "3401"), registered(t, n.Edge, "3411", realm("line.test"))
	var caller *phone.Call
	agent := takes(t, ctx, p, func() { caller = n.through(t, ctx, "4930581", "4930741") })
	n.letGo(t, ctx, caller, agent)
	token, _ := n.token(t, ctx, "4930581")
	if err := n.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	req := api.TransferRequest{Token: token, FromUserID: n.users["3401"], Target: to("user", "3411")}
	if _, err := n.transfer(ctx, req); err == nil {
		t.Error("a node without an agent transfers")
	}
	if err := n.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
	talk(t, ctx, caller, agent)
	other := takes(t, ctx, target, func() {
		eventually(t, ctx, "the transfer", func() error {
			_, err := n.transfer(ctx, req)
			return err
		})
	})
	talk(t, ctx, caller, other)
	done(t, ctx, other, caller)
	n.nothingLeft(t, ctx)
}

// Alice has called Bob, who sends her on to 1009, blindly: she calls there, the two hear each other, Bob hears how it went
// and is out. Then the other way round: who has called sends on whom he has called.
func TestRefer_APhoneSendsTheOtherOneOn(t *testing.T) {
	tails(t, node)
	for name, byCaller := range map[string]bool{"by the called phone": false, "by the calling phone": true} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, 30*time.Second)
			alice, bob, eve := registered(t, node, "1001"), registered(t, node, "1002"), registered(t, node, "1009")
			a, b := connect(t, ctx, alice, bob, "1002")
			sent, sender := a, b
			if byCaller {
				sent, sender = b, a
			}
			followed := follows(ctx, sent)
			up := answering(ctx, eve)
			if code, err := sender.Refer(ctx, "sip:1009@acme.test"); err != nil || code != 202 {
				t.Fatalf("REFER: %d %v", code, err)
			}
			next, ok := <-followed
			e, answered := <-up
			if !ok || !answered {
				t.Fatal("who was sent on does not talk to 1009")
			}
			progress(t, ctx, sender, "100 Trying")
			progress(t, ctx, sender, "200 OK")
			hangUpOnly(t, ctx, sender, sent)
			talk(t, ctx, next, e)
			hangUp(t, ctx, node, next, e)
		})
	}
}

// Bob asks 1009 first, and then sends Alice on to that very call: 1009's phone takes her call in its place.
func TestRefer_Attended(t *testing.T) {
	tails(t, node)
	ctx := within(t, 30*time.Second)
	alice, bob, eve := registered(t, node, "1001"), registered(t, node, "1002"), registered(t, node, "1009")
	a, b := connect(t, ctx, alice, bob, "1002")
	asking, asked := connect(t, ctx, bob, eve, "1009")
	talk(t, ctx, asking, asked)
	followed := follows(ctx, a)
	if code, err := b.Refer(ctx, "sip:1009@acme.test?Replaces="+asking.Replaces()); err != nil || code != 202 {
		t.Fatalf("REFER: %d %v", code, err)
	}
	var in *phone.Incoming
	select {
	case in = <-eve.Incoming():
	case <-ctx.Done():
		t.Fatal("1009 is not called")
	}
	if got := in.Header("Replaces"); !strings.HasPrefix(got, asking.CallID()+";") || in.Header("Referred-By") == "" {
		t.Errorf("Replaces %q, Referred-By %q; the call is %s", got, in.Header("Referred-By"), asking.CallID())
	}
	e, err := in.Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hangUpOnly(t, ctx, asked, asking)
	next, ok := <-followed
	if !ok {
		t.Fatal("Alice does not talk to 1009")
	}
	talk(t, ctx, next, e)
	hangUpOnly(t, ctx, b, a)
	hangUp(t, ctx, node, e, next)
}

// A REFER that leads out of the account is declined, wherever it leads; nobody hears of it, and the call goes on.
func TestRefer_OutOfTheAccountIsDeclined(t *testing.T) {
	tails(t, node)
	ctx := within(t, 30*time.Second)
	alice, bob := registered(t, node, "1001"), registered(t, node, "1002")
	a, b := connect(t, ctx, alice, bob, "1002")
	for _, target := range []string{"sip:1003@elsewhere.example", "sip:2001@other.test", "sip:4711@acme.test", "sip:+4930123456@acme.test", "tel:+4930123456",
		"sip:1009@acme.test;method=BYE", "sip:1009@acme.test?X-Sipio-Call=forged"} {
		for _, sender := range []*phone.Call{a, b} {
			if code, err := sender.Refer(ctx, target); err != nil || code != 603 {
				t.Errorf("REFER to %s: %d %v, want 603", target, code, err)
			}
		}
	}
	for _, c := range []*phone.Call{a, b} {
		select {
		case target := <-c.Referred():
			t.Errorf("a phone was sent to %s", target)
		default:
		}
	}
	talk(t, ctx, a, b)
	hangUp(t, ctx, node, a, b)
}

// follows has a phone obey the REFER that comes in a call, and hands over its new call.
func follows(ctx context.Context, c *phone.Call) <-chan *phone.Call {
	up := make(chan *phone.Call, 1)
	go func() {
		defer close(up)
		if next, err := c.Follow(ctx); err == nil {
			up <- next
		}
	}()
	return up
}

// progress waits for a word on the progress of a transfer.
func progress(t *testing.T, ctx context.Context, c *phone.Call, want string) {
	t.Helper()
	select {
	case got := <-c.Notifies():
		if strings.TrimSpace(got) != "SIP/2.0 "+want {
			t.Errorf("told %q, want %s", got, want)
		}
	case <-ctx.Done():
		t.Errorf("not told %s", want)
	}
}

// hangUpOnly ends one of several calls.
func hangUpOnly(t *testing.T, ctx context.Context, from, other *phone.Call) {
	t.Helper()
	leaveAll(t, ctx, from)
	hungUp(t, ctx, "the other side", other)
}

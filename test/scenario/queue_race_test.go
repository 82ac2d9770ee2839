package scenario

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/queue_race.yaml
var race string

// racers is how many agents ring at once; users 3100 and on.
const racers = 10

// startRace is a node where ten agents have registered and logged in.
func startRace(t *testing.T, ctx context.Context) (*lineNode, []*phone.Phone) {
	t.Helper()
	n := startLineWith(t, race, edge.Options{})
	phones := make([]*phone.Phone, racers)
	for i := range phones {
		user := fmt.Sprint(3100 + i)
		phones[i] = registered(t, n.Edge, user, realm("line.test"))
		n.agent(t, ctx, user, "login")
		n.bucket(t, ctx, user, acd.BucketReady)
	}
	return n, phones
}

// buckets are those of all racers, by user id.
func (n *lineNode) buckets(t *testing.T, ctx context.Context) map[string]string {
	t.Helper()
	var reply api.AgentList
	n.get(t, ctx, api.PathAgents, &reply)
	out := map[string]string{}
	for _, a := range reply.Agents {
		if a.Username >= "3100" {
			out[a.UserID] = a.Bucket
		}
	}
	return out
}

func (n *lineNode) get(t *testing.T, ctx context.Context, path string, into any) {
	t.Helper()
	body, err := n.Request(ctx, http.MethodGet, path+"?account_id="+n.account, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatal(err)
	}
}

func (n *lineNode) post(ctx context.Context, path string, question, into any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if body, err = n.Request(ctx, http.MethodPost, path, "application/json", body); err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// rescinds counts, for a node of the test's own, the orders to let agents go, by why.
type rescinds struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *rescinds) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var op api.Op
	if err := json.NewDecoder(q.Body).Decode(&op); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.count[op.Kind+" "+op.Why]++
	r.mu.Unlock()
	_ = json.NewEncoder(w).Encode(api.OpReply{ID: op.ID, OK: true})
}

func (r *rescinds) of(kind string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[kind]
}

// Ten agents are rung for one caller and answer at the same moment, two hundred times, on a node of the test's own: each
// time one is granted, nine are told that they lost and are free again by then, and their phones are to be let go. Asked
// again each gets the same word.
func TestQueueRace_OneOfTenHasTheCaller(t *testing.T) {
	const times = 200
	ctx := within(t, 90*time.Second)
	n, _ := startRace(t, ctx)
	let := &rescinds{count: map[string]int{}}
	own := httptest.NewServer(let)
	t.Cleanup(own.Close)
	if err := n.Apply(ctx, fmt.Sprintf("- {kind: node, name: own, spec: {agent_url: %q}}", own.URL)); err != nil {
		t.Fatal(err)
	}
	var apart time.Duration // the farthest that the first and the last question of a race were
	for i := range times {
		call := api.FlowRequest{AccountID: n.account, Token: fmt.Sprint("race-", i), CallID: fmt.Sprint("race-", i), Node: "own",
			Start: &api.FlowStart{TargetKind: "queue", TargetID: n.queues["race"], Channel: fmt.Sprint("c", i), Vars: map[string]string{"caller_number": "4930555"}}}
		var command api.FlowReply
		if err := n.post(ctx, api.PathFlow, &call, &command); err != nil {
			t.Fatal(err)
		}
		if command.Command != api.CommandEnqueue || len(command.Params.Dispatches) != racers {
			t.Fatalf("race %d: %s rings %d agents, want %d: were all free? %+v", i, command.Command, len(command.Params.Dispatches), racers, n.buckets(t, ctx))
		}
		winner, took := n.race(t, ctx, command.Params.Dispatches)
		apart = max(apart, took)
		for id, bucket := range n.buckets(t, ctx) {
			if want := map[bool]string{true: acd.BucketRing, false: acd.BucketReady}[id == winner.UserID]; bucket != want {
				t.Errorf("race %d: the agent is %s, want %s", i, bucket, want)
			}
		}
		n.raceAgain(t, ctx, command.Params.Dispatches, winner)
		end := api.FlowRequest{AccountID: call.AccountID, Token: call.Token, CallID: call.CallID, Node: "own", Seq: command.Seq, Outcome: api.OutcomeHangup}
		if err := n.post(ctx, api.PathFlow, &end, &command); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ten questions began within %v at most", apart)
	eventually(t, ctx, "the orders to let phones go", func() error {
		if got := let.of("rescind lost"); got != times*(racers-1) {
			return fmt.Errorf("%d, want %d", got, times*(racers-1))
		}
		return nil
	})
	var q api.QueueState
	eventually(t, ctx, "nobody in the queue", func() (err error) {
		if q, err = n.queue(ctx, "race"); err == nil && (q.Waiting != 0 || q.Served != 0) {
			err = fmt.Errorf("%+v", q)
		}
		return err
	})
	if q.Figures.Offered != times || q.Figures.Answered != times {
		t.Errorf("figures %+v", q.Figures)
	}
}

// race claims all reservations at once and returns the one that was granted; every other one must be lost.
func (n *lineNode) race(t *testing.T, ctx context.Context, rings []api.Dispatch) (winner api.Dispatch, apart time.Duration) {
	t.Helper()
	verdicts, errs, began := make([]api.ClaimReply, len(rings)), make([]error, len(rings)), make([]time.Time, len(rings))
	ready := make(chan struct{})
	var all sync.WaitGroup
	for i := range rings {
		all.Go(func() {
			<-ready
			began[i] = time.Now()
			errs[i] = n.post(ctx, api.PathAgentClaim, n.claimOf(rings[i]), &verdicts[i])
		})
	}
	close(ready)
	all.Wait()
	granted := 0
	for i, v := range verdicts {
		switch {
		case errs[i] != nil:
			t.Fatal(errs[i])
		case v.Granted:
			winner = rings[i]
			granted++
		case v.Why != acd.WhyLost:
			t.Errorf("told %q, want %q", v.Why, acd.WhyLost)
		}
	}
	if granted != 1 {
		t.Fatalf("%d agents may have the caller", granted)
	}
	return winner, slices.MaxFunc(began, time.Time.Compare).Sub(slices.MinFunc(began, time.Time.Compare))
}

// raceAgain asks the same once more, and confirms the talk.
func (n *lineNode) raceAgain(t *testing.T, ctx context.Context, rings []api.Dispatch, winner api.Dispatch) {
	t.Helper()
	for _, path := range []string{api.PathAgentClaim, api.PathAgentConfirm} {
		for _, d := range []api.Dispatch{winner, rings[0], rings[len(rings)-1]} {
			var v api.ClaimReply
			if err := n.post(ctx, path, n.claimOf(d), &v); err != nil {
				t.Fatal(err)
			}
			if v.Granted != (d.ReservationID == winner.ReservationID) {
				t.Errorf("%s again: %+v", path, v)
			}
		}
	}
}

func (n *lineNode) claimOf(d api.Dispatch) api.Claim {
	return api.Claim{AccountID: n.account, ReservationID: d.ReservationID, Fence: d.Fence}
}

// Ten phones ring for one caller and answer all at once: one is put through, the nine others are hung up and free again
// while the one talks. Afterwards all ten ring for the next.
func TestQueueRace_TenPhonesAnswerAtOnce(t *testing.T) {
	ctx := within(t, 90*time.Second)
	n, phones := startRace(t, ctx)
	for range 4 {
		caller, err := trunkPhone(t, n.Edge, "4930555").Call(ctx, "4930710")
		if err != nil {
			t.Fatal(err)
		}
		calls := answerAtOnce(t, ctx, phones)
		winner := talkingTo(t, ctx, caller, calls)
		eventually(t, ctx, "nine agents to be free", func() error {
			count := map[string]int{}
			for _, bucket := range n.buckets(t, ctx) {
				count[bucket]++
			}
			if count[acd.BucketInCall] != 1 || count[acd.BucketReady] != racers-1 {
				return fmt.Errorf("%v", count)
			}
			return nil
		})
		for _, c := range calls {
			if c != winner {
				hungUp(t, ctx, "an agent who was too late", c)
			}
		}
		talk(t, ctx, caller, winner)
		leaveAll(t, ctx, caller)
		hungUp(t, ctx, "the agent", winner)
		n.nothingLeft(t, ctx)
	}
}

// answerAtOnce waits until all phones ring and has them answer. Those whose answer came too late even for that are
// missing in what it returns.
func answerAtOnce(t *testing.T, ctx context.Context, phones []*phone.Phone) (calls []*phone.Call) {
	t.Helper()
	rings := make([]*phone.Incoming, len(phones))
	for i, p := range phones {
		select {
		case rings[i] = <-p.Incoming():
			if err := rings[i].Ring(); err != nil {
				t.Fatal(err)
			}
		case <-ctx.Done():
			t.Fatalf("phone %d does not ring", i)
		}
	}
	up := make(chan *phone.Call, len(phones))
	var all sync.WaitGroup
	for _, in := range rings {
		all.Go(func() {
			if c, err := in.Answer(ctx); err == nil {
				up <- c
			} else {
				t.Logf("an answer too late: %v", err)
			}
		})
	}
	all.Wait()
	close(up)
	for c := range up {
		calls = append(calls, c)
	}
	return calls
}

// talkingTo is the one of the calls whose other end the caller is: it hears his tone.
func talkingTo(t *testing.T, ctx context.Context, caller *phone.Call, calls []*phone.Call) *phone.Call {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	caller.SendTone(440)
	heard := make(chan *phone.Call, len(calls))
	for _, c := range calls {
		c.SendTone(620)
		go func() {
			if _, err := c.HearTone(ctx, 440); err == nil {
				heard <- c
			}
		}()
	}
	select {
	case c := <-heard:
		return c
	case <-ctx.Done():
		t.Fatalf("none of %d who answered hears the caller", len(calls))
		return nil
	}
}

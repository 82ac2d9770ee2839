package contract

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// The same question posted twice, one after the other, at the same time, to the door and to the brain
// itself, also after a restart of the brain, is answered with the same token; another question is not.
func TestDoor_AnswersARepeatedQuestionTheSame(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	ctx := within(t, 2*time.Minute)
	door, a := newAsker(t, "http://"+e.DoorAddr, ""), newAsker(t, e.BrainURL, e.AdminKey)
	question := invitation("once")
	first, _ := door.directive(question)
	if first.Action != api.ActionProxy || first.Call == nil || first.Call.Token == "" {
		t.Fatalf("the first answer: %+v", first)
	}
	token := func(d api.Directive) string {
		if d.Call == nil {
			return fmt.Sprintf("none: %+v", d)
		}
		return d.Call.Token
	}
	var at sync.WaitGroup
	tokens := make([]string, 6)
	for i := range tokens {
		at.Go(func() { d, _ := door.directive(question); tokens[i] = token(d) })
	}
	at.Wait()
	direct, _ := a.directive(question)
	if err := e.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	restarted, _ := a.directive(question)
	for _, got := range append(tokens, token(direct), token(restarted)) {
		if got != token(first) {
			t.Errorf("token %s, first it was %s", got, token(first))
		}
	}
	other, _ := a.directive(invitation("another"))
	if token(other) == token(first) {
		t.Error("another question has the same token")
	}
}

// unanswered is how the door refuses while no brain decides, and returns how long that took.
func unanswered(t *testing.T, door asker, callID string) time.Duration {
	t.Helper()
	d, took := door.directive(invitation(callID))
	if d.Action != api.ActionReject || d.SIPCode != 503 || d.RetryAfterSec == 0 {
		t.Errorf("%s: %s %d with Retry-After %d, want 503", callID, d.Action, d.SIPCode, d.RetryAfterSec)
	}
	r := door.want(200, "POST", api.PathAuth, typeForm, registration(callID).Encode())
	var reply api.AuthReply
	if err := json.Unmarshal(r.body, &reply); err != nil || reply.SIPCode != 503 || reply.RetryAfterSec == 0 {
		t.Errorf("%s: /auth: %s, %v", callID, r.body, err)
	}
	return took
}

// mostWithin wants most of some answers in a time: a slow one may be the machine.
func mostWithin(t *testing.T, atMost time.Duration, what string, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	if took[len(took)/2] > atMost {
		t.Errorf("%s: answers took %v, want most within %v", what, took, atMost)
	}
}

// answered waits until the door passes questions again.
func answered(t *testing.T, door asker, what string) {
	t.Helper()
	n := 0
	eventually(t, within(t, time.Minute), what, func() error {
		n++
		if d, _ := door.directive(invitation(fmt.Sprintf("%s %d", what, n))); d.Action != api.ActionProxy {
			return fmt.Errorf("%s %d %s", d.Action, d.SIPCode, d.Why)
		}
		return nil
	})
}

// A brain that was killed, or is frozen, costs a question less than a second and gets the phone a 503
// with Retry-After; once the door has noticed, the answer comes at once. When the brain is back the door
// asks it again by itself: the node agent is the same process all along.
func TestDoor_BearsABrainThatIsKilledOrFrozen(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two, NodeFlags: []string{"--survival=false", "--stall-after=250ms"}})
	ctx := within(t, 2*time.Minute)
	door, agent := newAsker(t, "http://"+e.DoorAddr, ""), e.Node.PID()
	const atOnce = 150 * time.Millisecond // the door needs a hundredth of it; the rest is for a busy machine
	open := func() error {
		if strings.Contains(string(door.get(200, api.PathHealth).body), `"brain_reachable":true`) {
			return fmt.Errorf("the door still asks the brain")
		}
		return nil
	}
	answered(t, door, "at first")

	if err := e.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	if took := unanswered(t, door, "killed, first"); took > 5*time.Second {
		t.Errorf("the first question to a dead brain took %v", took)
	}
	eventually(t, ctx, "the door to notice that the brain is dead", open)
	took := make([]time.Duration, 5)
	for i := range took {
		took[i] = unanswered(t, door, fmt.Sprintf("killed, %d", i))
	}
	mostWithin(t, atOnce, "killed", took)
	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	answered(t, door, "after the restart")

	if err := e.Brain.Freeze(); err != nil {
		t.Fatal(err)
	}
	var at sync.WaitGroup
	first := make([]time.Duration, 12) // more than the door has in flight
	for i := range first {
		at.Go(func() { first[i] = unanswered(t, door, fmt.Sprintf("frozen, first %d", i)) })
	}
	at.Wait()
	mostWithin(t, time.Second, "frozen, first", first)
	eventually(t, ctx, "the door to notice that the brain is frozen", open)
	for i := range took {
		took[i] = unanswered(t, door, fmt.Sprintf("frozen, %d", i))
	}
	mostWithin(t, atOnce, "frozen", took)
	if err := e.Brain.Thaw(); err != nil {
		t.Fatal(err)
	}
	answered(t, door, "after the thaw")
	if !e.Node.Alive() || e.Node.PID() != agent {
		t.Error("the node agent was restarted")
	}
	noFaults(t, e)
}

// edgeEvents posts events as Kamailio does: in batches, the next when the one before is acknowledged.
type edgeEvents struct {
	door    asker
	account string
	seq     int
	last    string // batch
}

func (k *edgeEvents) post(typ string, callIDs ...string) {
	k.door.t.Helper()
	k.last = "node=node-1&boot=boot-1\n"
	for _, id := range callIDs {
		k.seq++
		k.last += fmt.Sprintf("seq=%d&time_ms=%d&type=%s&account_id=%s&call_id=%s&from=1001&to=1002\n", k.seq, time.Now().UnixMilli()+int64(k.seq), typ, k.account, id)
	}
	k.again()
}

// again posts the last batch once more, as Kamailio does when it has not seen the acknowledgement.
func (k *edgeEvents) again() {
	k.door.t.Helper()
	r := k.door.want(http.StatusOK, "POST", api.PathPresenceEvent, "text/plain", k.last)
	if want := fmt.Sprintf(`{"last_seq":%d}`, k.seq); string(r.body) != want {
		k.door.t.Fatalf("acknowledged %s, want %s", r.body, want)
	}
}

// Events that are posted to the door while the brain is dead are delivered once it is back: each one
// applied once, and in order, which shows in that none is missing, because the brain drops whatever
// comes after a later one. So it is when the node agent, too, is killed and started again in between, and
// when Kamailio posts a batch again because the acknowledgement was lost with the node agent or the brain.
func TestEvents_SurviveTheDeathOfBrainAndNodeAgent(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two})
	ctx := within(t, 2*time.Minute)
	a := newAsker(t, e.BrainURL, e.AdminKey)
	k := &edgeEvents{door: newAsker(t, "http://"+e.DoorAddr, ""), account: a.named(brain.KindAccount, "", "name", "acme")}

	k.post(api.EventDialogStart, "call-0")
	eventually(t, ctx, "the first call", func() error { return isLive(t, e, "call-0") })
	eventually(t, ctx, "its acknowledgement", func() error { // else it is delivered once more, and counted twice
		h, err := nodeHealth(e)
		if err == nil && h.Spool.Events > 0 {
			err = fmt.Errorf("%d events wait for the brain", h.Spool.Events)
		}
		return err
	})

	if err := e.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	live := []string{"call-0"} // in the journal
	for i := range 10 {
		one, other := fmt.Sprintf("call-a%d", i), fmt.Sprintf("call-b%d", i)
		k.post(api.EventDialogStart, one, other)
		k.post(api.EventDialogEnd, other) // a start that came after its end would be seen
		live = append(live, one)
	}
	if err := e.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := e.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
	k.again()
	k.post(api.EventDialogStart, "call-c")
	live = append(live, "call-c")
	delivered := int64(10*3 + 1)

	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "all events at the brain", func() error { return isLive(t, e, live...) })
	eventually(t, ctx, "the count of the events posted while the brain was dead", func() error { return applied(a, delivered) })

	k.again()
	k.post(api.EventDialogEnd, live...)
	k.again()
	eventually(t, ctx, "the end of all calls", func() error { return isLive(t, e) })
	eventually(t, ctx, "the count of the ends", func() error { return applied(a, delivered+int64(len(live))) })
	noFaults(t, e)
}

// applied tells when the brain has applied another number of events than wanted, or lost any. It counts
// an event when its batch is answered, a moment after the event is seen in what is live.
func applied(a asker, want int64) error {
	if c := a.counts(); c["events_applied"] != want || c["events_failed"]+c["events_unknown_account"]+c["events_dropped_bad"] != 0 {
		return fmt.Errorf("want %d events applied, the brain counts %v", want, c)
	}
	return nil
}

// isLive tells when the calls that the brain lists are others than wanted.
func isLive(t *testing.T, e *edge.Edge, want ...string) error {
	t.Helper()
	if got := liveCalls(t, e); !slices.Equal(got, want) {
		return fmt.Errorf("live calls %v, want %v", got, want)
	}
	return nil
}

package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// line is the queues of an account: who has a place, and what was asked.
type line struct {
	mu    sync.Mutex
	log   []string
	rung  []string // by Ring: entry and reservation
	has   map[string]*acd.Join
	exit  string
	fail  error
	joins func() // called in Join, before the place is given
	leave func() // called in Leave, before the place is given back
}

func (l *line) Join(_ context.Context, accountID string, j *acd.Join) (acd.Joined, []api.Dispatch, error) {
	if l.joins != nil {
		l.joins()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, "join "+accountID+" "+j.EntryID)
	switch {
	case l.fail != nil:
		return acd.Joined{}, nil, l.fail
	case l.exit != "":
		exit := l.exit
		l.exit = ""
		return acd.Joined{Outcome: exit}, nil, nil
	}
	l.has[j.EntryID] = j
	return acd.Joined{Position: 1, Offers: []acd.Offer{{ReservationID: "r-" + j.EntryID, Fence: 7, UserID: "us_1"}}}, []api.Dispatch{{ReservationID: "r-" + j.EntryID, Fence: 7, UserID: "us_1"}}, nil
}

func (l *line) Leave(_ context.Context, _, entryID, token, outcome string) error {
	if l.leave != nil {
		l.leave()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if token != "t" && !strings.HasPrefix(entryID, token+"-") {
		l.log = append(l.log, "of "+token)
	}
	l.log = append(l.log, "leave "+entryID+" "+outcome)
	if l.fail != nil {
		return l.fail
	}
	delete(l.has, entryID)
	return nil
}

// Callback refuses with exit, when that is set.
func (l *line) Callback(_ context.Context, _ string, c *acd.Callback) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, "callback "+c.EntryID+" "+c.Number)
	return l.exit, l.fail
}

func (l *line) Miss(_ context.Context, c *api.Claim) (api.ClaimReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, fmt.Sprintf("miss %s %s/%d %s", c.AccountID, c.ReservationID, c.Fence, c.Cause))
	return api.ClaimReply{}, l.fail
}

func (l *line) Ring(_ string, j *acd.Join, offers []acd.Offer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range offers {
		l.rung = append(l.rung, j.EntryID+" "+o.ReservationID)
	}
}

func (l *line) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := strings.Join(l.log, ", ")
	l.log = nil
	return said
}

// newLine is a desk with queues, on what an owner left behind.
func newLine(t *testing.T, o *owner) (*desk, *line) {
	t.Helper()
	d := newDesk(t, o)
	l := &line{has: map[string]*acd.Join{}}
	d.Queues = l
	return d, l
}

func again() *api.FlowRequest { return ended(0, "", nil) }

func TestQueues_TheJoinComesBeforeEveryReply(t *testing.T) {
	// Proves that the node hears the command with the agents who are to be rung, each time it asks, and that there is one place.
	d, l := newLine(t, nil)
	for range 3 {
		r := d.say(t, start("queue", "q_1", nil))
		if r.Command != api.CommandEnqueue || len(r.Params.Dispatches) != 1 || r.Params.Dispatches[0].ReservationID != "r-t-1" || r.Params.EntryID != "t-1" {
			t.Fatalf("it says %+v", r)
		}
		if said := l.said(); said != "join acc_1 t-1" || len(l.has) != 1 {
			t.Errorf("asked %s, places %v", said, l.has)
		}
	}
	if len(d.owner.journal) != 1 {
		t.Errorf("%d records of the session", len(d.owner.journal))
	}
	if r := d.say(t, ended(1, api.OutcomeAnswered, map[string]string{"talk_ms": "900"})); r.Command != api.CommandHangup || l.said() != "leave t-1 answered" {
		t.Errorf("after the talk: %+v", r)
	}
}

func TestQueues_WithoutAPlaceTheCallGoesOnAtOnce(t *testing.T) {
	// Proves that an exit at the join is never heard by the node as a command, that a place which is kept for a talk leaves the command as it
	// is, and what a desk that refuses for good leads to.
	d, l := newLine(t, nil)
	l.exit = acd.ExitQueueFull
	if r := d.say(t, start("queue", "q_1", nil)); r.Command != api.CommandPlay || r.Params.Files[0].Key != "k/vm-greeting" {
		t.Errorf("a full queue: %+v", r)
	}
	if said := l.said(); said != "join acc_1 t-1, leave t-1 queue_full" {
		t.Errorf("asked: %s", said)
	}
	d, l = newLine(t, nil)
	l.exit = acd.LeftAnswered
	if r := d.say(t, start("queue", "q_1", nil)); r.Command != api.CommandEnqueue || len(r.Params.Dispatches) != 0 {
		t.Errorf("a talk that goes on: %+v", r)
	}
	for _, queues := range []Queues{nil, &line{fail: brain.Errorf(brain.EInvalid, "no")}} {
		d, _ = newLine(t, nil)
		d.Queues = queues
		if r := d.say(t, start("queue", "q_1", nil)); r.Command != api.CommandHangup || r.Params.SIPCode != 480 || !strings.Contains(d.log.String(), "no place in his queue") {
			t.Errorf("a desk that refuses: %+v", r)
		}
	}
}

func TestQueues_UnavailableIsAskedAgain(t *testing.T) {
	// Proves that a desk which is away for now keeps the node asking, at the join and at the leave, and that nothing moves meanwhile.
	d, l := newLine(t, nil)
	l.fail = brain.Errorf(brain.EUnavailable, "later")
	for range 2 {
		if _, err := d.Flow(t.Context(), start("queue", "q_1", nil)); brain.CodeOf(err) != brain.EUnavailable {
			t.Fatalf("the join: %v", err)
		}
	}
	l.fail = nil
	if r := d.say(t, start("queue", "q_1", nil)); r.Seq != 1 || len(l.has) != 1 {
		t.Errorf("then it says %+v", r)
	}
	l.fail = brain.Errorf(brain.EUnavailable, "later")
	key := ended(1, api.OutcomeDigit, map[string]string{"digit": "1"})
	if _, err := d.Flow(t.Context(), key); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("the leave: %v", err)
	}
	l.fail = nil
	if r := d.say(t, key); r.Seq != 2 || r.Command != api.CommandPlay || len(l.has) != 0 {
		t.Errorf("then it says %+v, places %v", r, l.has)
	}
}

func TestQueues_AKillBetweenJournalAndLeaveLeavesNobodyInTheQueue(t *testing.T) {
	// Proves that the place is given back by whoever comes after a brain that died once the journal had it: asked again by the node before
	// it hears the next command, by the sweep when the caller has gone, and with a hang-up that overtakes the answer to a key.
	kill := func(q *api.FlowRequest) (*desk, *line) {
		d, l := newLine(t, nil)
		d.say(t, start("queue", "q_1", nil))
		if _, err := d.owner.Step(t.Context(), "acc_1", "t", &session.Request{Flow: q}); err != nil {
			t.Fatal(err)
		}
		next, _ := newLine(t, d.owner.killed(t))
		next.Queues = l
		l.said()
		return next, l
	}
	key := ended(1, api.OutcomeDigit, map[string]string{"digit": "1"})
	d, l := kill(key)
	if r := d.say(t, key); r.Command != api.CommandPlay || l.said() != "leave t-1 option" {
		t.Errorf("asked again: %+v", r)
	}
	d, l = kill(key)
	if r := d.say(t, ended(1, api.OutcomeHangup, nil)); r.Command != api.CommandNoop || l.said() != "leave t-1 option" {
		t.Errorf("hung up: %+v", r)
	}
	d, l = kill(ended(1, api.OutcomeHangup, nil))
	d.owner.nowMS += 20_000
	for range 2 {
		d.Sweep(t.Context())
	}
	if said := l.said(); said != "leave t-1 abandoned" {
		t.Errorf("swept: %s", said)
	}
}

func TestQueues_WhoHangsUpWhileHeJoinsHasNoPlace(t *testing.T) {
	// Proves that a caller who hangs up while his place is being asked for leaves none behind, although he gave it back before he had it.
	d, l := newLine(t, nil)
	l.joins = sync.OnceFunc(func() {
		if r, err := d.Flow(context.WithoutCancel(t.Context()), ended(1, api.OutcomeHangup, nil)); err != nil || r.Command != api.CommandNoop {
			t.Errorf("hung up: %+v, %v", r, err)
		}
	})
	if r := d.say(t, start("queue", "q_1", nil)); r.Command != api.CommandNoop {
		t.Errorf("who joined hears %+v", r)
	}
	if len(l.has) != 0 {
		t.Errorf("places %v after %s", l.has, l.said())
	}
}

func TestQueues_WhoComesBackWhileHeIsGivenUpHasHisPlace(t *testing.T) {
	// Proves that a lapsed call's place is given back by the sweep, that its node's next word brings it again with its age, and that a
	// word which comes while the sweep gives the place back does not end with a caller who waits without one.
	for name, at := range map[string]string{"after": "after", "while": "while"} {
		d, l := newLine(t, nil)
		d.say(t, start("queue", "q_1", nil))
		if at == "while" {
			first := true // of the leaves: the word of the node may lead to another
			l.leave = func() {
				if first {
					first = false
					d.say(t, again())
				}
			}
		}
		d.lapse(t)
		if at == "after" {
			if len(l.has) != 0 {
				t.Errorf("%s: places %v", name, l.has)
			}
			d.say(t, again())
		}
		if want := at == "while"; want != slices.Equal(l.rung, []string{"t-1 r-t-1"}) {
			t.Errorf("%s: rung for whom no reply took along: %v", name, l.rung)
		}
		if j := l.has["t-1"]; j == nil || j.SinceMS == 0 {
			t.Errorf("%s: %+v after %s", name, j, l.said())
		}
	}
}

func TestQueues_AServerIsToldOfAKeyBesideTheCall(t *testing.T) {
	// Proves that the call goes on while a server is told, that it is tried again under the same key while that may help and not else,
	// and that the same effect on its way is not told twice.
	pauses := webhookPauses
	defer func() { webhookPauses = pauses }()
	webhookPauses = []time.Duration{time.Millisecond, time.Millisecond}
	for name, c := range map[string]struct {
		statuses []int
		asked    int
	}{"taken": {[]int{200}, 1}, "later": {[]int{503, 429, 200}, 3}, "never": {[]int{500, 500, 500}, 3}, "refused": {[]int{400}, 1}} {
		var mu sync.Mutex
		var asked []string
		hold := make(chan struct{})
		s, o := server(t, func(w http.ResponseWriter, r *http.Request) {
			<-hold
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.Header.Get("Idempotency-Key"))
			w.WriteHeader(c.statuses[min(len(asked), len(c.statuses))-1])
		})
		d, _ := newLine(t, nil)
		reaching(t, d, s, o)
		d.say(t, start("queue", "q_1", nil))
		key := ended(1, api.OutcomeDigit, map[string]string{"digit": "2"})
		for range 2 { // and the reply is lost
			if r := d.say(t, key); r.Seq != 2 || r.Command != api.CommandEnqueue || r.Params.EntryID != "t-1" {
				t.Errorf("%s: it says %+v", name, r)
			}
		}
		close(hold)
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) { // sleep: between looks
			d.mu.Lock()
			left := len(d.telling)
			d.mu.Unlock()
			if left == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it is told for ever")
			}
		}
		if len(asked) != c.asked || len(slices.Compact(asked)) != 1 || asked[0] != "t-2-0" {
			t.Errorf("%s: asked %v", name, asked)
		}
	}
}

// deskOf does what agents want, as it is told.
type deskOf struct {
	asked []api.AgentRequest
	why   string
	err   error
}

func (a *deskOf) Act(_ context.Context, _ string, req api.AgentRequest) (string, error) {
	a.asked = append(a.asked, req)
	return a.why, a.err
}

func TestAgents_CodesAreCarriedOutAndHeard(t *testing.T) {
	// Proves that a code does to its caller what it says, what is heard of each result, and that a desk which is away is asked again.
	vars := map[string]string{"action": brain.ActionAgentBreak, "caller_user_id": "us_1", "reason": "lunch"}
	for name, c := range map[string]struct {
		agents *deskOf
		heard  string
	}{"done": {&deskOf{}, "k/agent-on-break"}, "refused": {&deskOf{why: "no agent"}, "k/invalid"}, "failed": {&deskOf{err: errors.New("x")}, "k/invalid"},
		"not set up": {nil, "k/invalid"}} {
		d := newDesk(t, nil)
		if c.agents != nil {
			d.Agents = c.agents
		}
		for range 2 {
			if r := d.say(t, start("queue", "", vars)); r.Command != api.CommandPlay || r.Params.Files[0].Key != c.heard {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if want := (api.AgentRequest{UserID: "us_1", Action: "break", Reason: "lunch"}); c.agents != nil && (len(c.agents.asked) != 1 || c.agents.asked[0] != want) {
			t.Errorf("%s: asked %v", name, c.agents.asked)
		}
	}
	d := newDesk(t, nil)
	away := &deskOf{err: brain.Errorf(brain.EUnavailable, "later")}
	d.Agents = away
	if _, err := d.Flow(t.Context(), start("queue", "", vars)); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("a desk that is away: %v", err)
	}
	away.err = nil
	if r := d.say(t, start("queue", "", vars)); r.Params.Files[0].Key != "k/agent-on-break" {
		t.Errorf("then: %+v", fmt.Sprint(r))
	}
}

func TestQueues_WhoHearsAPromptKeepsHisPlace(t *testing.T) {
	// Proves that a slow answer to an older question, whose join comes late, does not take the place from a caller who hears what belongs
	// to a key that keeps it; its node hears what is to be done now.
	d, l := newLine(t, nil)
	d.Directory().ByAccount("acc_1").QueueOptions["q_1"]["2"].PromptMediaID = "mf_1"
	d.say(t, start("queue", "q_1", nil))
	l.joins = sync.OnceFunc(func() {
		if r, err := d.Flow(context.WithoutCancel(t.Context()), ended(1, api.OutcomeDigit, map[string]string{"digit": "2"})); err != nil || r.Command != api.CommandPlay {
			t.Errorf("the key: %+v, %v", r, err)
		}
	})
	r := d.say(t, again())
	if r.Command != api.CommandPlay || len(l.has) != 1 || strings.Contains(l.said(), "leave") {
		t.Errorf("it hears %+v, places %v", r, l.has)
	}
	for entry, want := range map[string]bool{"t-1": true, "t-9": false} {
		if waits, err := d.Waits(t.Context(), "acc_1", "t", entry); err != nil || waits != want {
			t.Errorf("%s waits: %v, %v", entry, waits, err)
		}
	}
	if waits, err := d.Waits(t.Context(), "acc_1", "nobody", "t-1"); err != nil || waits {
		t.Errorf("nobody waits: %v, %v", waits, err)
	}
}

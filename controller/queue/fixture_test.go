package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/presence"
)

// office is the configuration of one account, acc_1: queue q_1, which us_1 and us_2 serve.
type office struct {
	brain.Directory
	acct  *brain.AccountConfig
	nodes map[string]*brain.Node
}

func (o *office) ByAccount(id string) *brain.AccountConfig {
	if id == "acc_1" {
		return o.acct
	}
	return nil
}
func (o *office) NodeByName(name string) *brain.Node { return o.nodes[name] }

func rows() brain.AccountRows {
	agent := func(id string) brain.SIPUser {
		return brain.SIPUser{ID: id, AccountID: "acc_1", Username: "1" + id, DisplayName: "Agent " + id, Status: brain.StatusActive, IsAgent: true,
			AutoReadyOnLogin: true, AutoQueueLogin: true, Skills: brain.Skills{"french": 3, "billing": 1}}
	}
	serves := func(user string, tier int) brain.AgentQueueAssignment {
		return brain.AgentQueueAssignment{ID: "aq_" + user, AccountID: "acc_1", QueueID: "q_1", UserID: user, TierLevel: tier, Mode: "static"}
	}
	return brain.AccountRows{
		Account: brain.Account{ID: "acc_1", Status: brain.StatusActive, Language: "de"},
		Users:   []brain.SIPUser{agent("us_1"), agent("us_2"), {ID: "us_3", Status: brain.StatusActive}},
		Queues: []brain.Queue{{ID: "q_1", AccountID: "acc_1", Name: "sales", Strategy: "longest_idle", AgentRingTimeoutSec: 20, ServiceLevelSec: 20,
			EWTAHTSec: 240, AgentConfirm: true, Record: true, WhisperMediaID: "mf_1"}},
		Assignments: []brain.AgentQueueAssignment{serves("us_1", 1), serves("us_2", 1)},
	}
}

// desk is the live state of acc_1, served in this process. It writes down what it was asked.
type desk struct {
	mu     sync.Mutex
	m      *presence.Machine
	asked  []string
	fail   error
	effect func(accountID string, e presence.Effects)
}

func newDesk() *desk { return &desk{m: presence.New("acc_1")} }

func (d *desk) Do(_ context.Context, _ string, op []byte) ([]byte, error) {
	return d.apply(presence.AppendACD(nil, op), kindOf(op))
}

func (d *desk) apply(op []byte, kind string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, kind)
	if d.fail != nil {
		return nil, d.fail
	}
	reply, _, err := d.m.Apply(time.Now().UnixMilli(), op)
	if d.m.Empty() { // as the owner does with what holds nothing
		d.m = presence.New("acc_1")
	}
	if e := d.m.Effects(); d.effect != nil && !e.Empty() {
		d.effect("acc_1", e)
	}
	return reply, err
}

// kindOf names an op of brain/acd by how its writers begin.
func kindOf(op []byte) string {
	for name, like := range map[string][]byte{"setup": acd.AppendSetup(nil, &acd.Setup{}), "join": acd.AppendJoin(nil, &acd.Join{}, 0), "leave": acd.AppendLeave(nil, "", "", ""),
		"claim": acd.AppendClaim(nil, "", 0), "confirm": acd.AppendConfirm(nil, "", 0), "miss": acd.AppendMiss(nil, "", 0, ""), "agent": acd.AppendAgent(nil, &acd.AgentOp{}, 0), "callback": acd.AppendCallback(nil, &acd.Callback{}),
		"move": acd.AppendMove(nil, "", 0), "send": acd.AppendSend(nil, "")} {
		if op[0] == like[0] {
			return name
		}
	}
	return "?"
}

func (d *desk) Ask(_ context.Context, _ string, q presence.Question) (answer presence.Desk, err error) {
	question, err := json.Marshal(q)
	if err != nil {
		return answer, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out, err := d.m.Query(time.Now().UnixMilli(), question)
	if err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(out, &answer)
}

// register brings the phone of a user up.
func (d *desk) register(t *testing.T, user string) {
	t.Helper()
	ev := presence.Event{UserID: user, Event: api.Event{Type: api.EventContactSaved, TimeMS: time.Now().UnixMilli(), AOR: "sip:" + user, Contact: "sip:a", ExpiresS: 600}}
	if _, err := d.apply(presence.AppendEvents(nil, "node-1", []presence.Event{ev}), "events"); err != nil {
		t.Fatal(err)
	}
}

// was gives what was asked since it was called last.
func (d *desk) was() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := strings.Join(d.asked, " ")
	d.asked = nil
	return asked
}

// sounds finds every sound, by its name, but those that are missing.
type sounds struct{ missing string }

func (s sounds) Resolve(_ context.Context, _ *brain.AccountConfig, of brain.Sound) ([]api.MediaRef, error) {
	name := of.MediaID + of.Prompt
	if of.Text != "" {
		name = "say:" + of.Text
	}
	if s.missing != "" && strings.HasPrefix(name, s.missing) {
		return nil, brain.Errorf(brain.ENotFound, "no %s", name)
	}
	return []api.MediaRef{{Key: name + "/" + of.Language}}, nil
}

// post reaches nodes as controller/node does.
type post struct{}

func (post) Push(ctx context.Context, n *brain.Node, op api.Op) (reply api.OpReply, err error) {
	if n.AgentURL == "" {
		return reply, brain.Errorf(brain.EInvalid, "node %s has no agent_url", n.Name)
	}
	body, err := json.Marshal(op)
	if err != nil {
		return reply, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.AgentURL+api.PathOp, bytes.NewReader(body))
	if err != nil {
		return reply, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply, brain.Errorf(brain.EUnavailable, "%s", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return reply, brain.Errorf(brain.EUnavailable, "answered %d", resp.StatusCode)
	}
	return reply, json.NewDecoder(resp.Body).Decode(&reply)
}

// edge is a node: what it was told, and how it answers. answer returns the HTTP status and the reply's error; nil = 200 and OK.
type edge struct {
	*httptest.Server
	answer func(r *http.Request, op *api.Op, times int) (status int, fault string)

	mu   sync.Mutex
	ops  []api.Op
	came chan string // kind and entry of each op as it comes
}

func newEdge(t *testing.T, answer func(r *http.Request, op *api.Op, times int) (int, string)) *edge {
	t.Helper()
	e := &edge{answer: answer, came: make(chan string, 20_000)}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var op api.Op
	if err := json.NewDecoder(r.Body).Decode(&op); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	e.ops = append(e.ops, op)
	times := 0
	for _, o := range e.ops {
		if o.ID == op.ID {
			times++
		}
	}
	e.mu.Unlock()
	e.came <- op.Kind + " " + op.EntryID
	status, fault := http.StatusOK, ""
	if e.answer != nil {
		status, fault = e.answer(r, &op, times)
	}
	if status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	if err := json.NewEncoder(w).Encode(&api.OpReply{ID: op.ID, OK: fault == "", Error: fault}); err != nil {
		panic(err)
	}
}

// hears waits for the next op.
func (e *edge) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-e.came:
		if got != want {
			t.Fatalf("the node heard %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("the node did not hear %q", want)
	}
}

// silent holds that nothing more has come.
func (e *edge) silent(t *testing.T) {
	t.Helper()
	select {
	case got := <-e.came:
		t.Fatalf("the node heard %q", got)
	default:
	}
}

// newQueues makes the queues of acc_1 with nodes by name.
func newQueues(t *testing.T, edges map[string]*edge) (*Queues, *desk, *office) {
	t.Helper()
	o := &office{acct: brain.NewAccountConfig(7, rows()), nodes: map[string]*brain.Node{"bare": {Name: "bare"}}}
	for name, e := range edges {
		o.nodes[name] = &brain.Node{Name: name, AgentURL: e.URL}
	}
	d := newDesk()
	q := New(d, func() brain.Directory { return o }, post{}, sounds{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(q.Close)
	return q, d, o
}

// until waits for a count.
func until(t *testing.T, q *Queues, name string, want int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); q.Counts()[name] != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d, want %d: %v", name, q.Counts()[name], want, q.Counts())
		}
	}
}

// order is an order about a caller, good for ten seconds.
func order(kind, node, entry string, n int) acd.Order {
	return acd.Order{ID: fmt.Sprintf("%s-%s-%d", kind, entry, n), Kind: kind, EntryID: entry, Token: "tok" + entry, Node: node, QueueID: "q_1", Position: n,
		Offer:   acd.Offer{ReservationID: fmt.Sprintf("r%s%d", entry, n), Fence: int64(n), UserID: "us_1", RingMS: 20_000, UntilMS: time.Now().Add(25 * time.Second).UnixMilli()},
		UntilMS: time.Now().Add(10 * time.Second).UnixMilli()}
}

func orders(list ...acd.Order) presence.Effects { return presence.Effects{Orders: list} }

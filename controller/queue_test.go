package controller

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// post asks a question in JSON that must be answered.
func (r *running) post(t *testing.T, path string, body, out any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if status := r.call(t, "POST", path, "application/json", string(text), out); status != http.StatusOK {
		t.Fatalf("POST %s %s: %d", path, text, status)
	}
}

// callCentre makes a queue with one agent, whose phone is registered, and a node that passes on what it is told.
func (r *running) callCentre(t *testing.T) (account, user, queue string, told chan api.Op) {
	t.Helper()
	told = make(chan api.Op, 16)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var op api.Op
		if err := json.NewDecoder(req.Body).Decode(&op); err != nil {
			t.Errorf("the node was told what is no op: %v", err)
		}
		told <- op
		_ = json.NewEncoder(w).Encode(api.OpReply{ID: op.ID, OK: true})
	}))
	t.Cleanup(node.Close)
	r.create(t, "/v1/nodes", `{"name":"edge1","agent_url":"`+node.URL+`"}`)
	account = r.create(t, "/v1/accounts", `{"name":"one"}`)
	of := "?account_id=" + account
	r.create(t, "/v1/sip_domains"+of, `{"domain":"example.com","is_primary":true}`)
	user = r.create(t, "/v1/sip_users"+of, `{"username":"1001","display_name":"Anna","is_agent":true,"auto_ready_on_login":true,"auto_queue_login":true}`)
	r.create(t, "/v1/sip_devices"+of, `{"user_id":"`+user+`","auth_username":"1001","realm":"example.com","password":"secret-1001"}`)
	queue = r.create(t, "/v1/queues"+of, `{"name":"sales"}`)
	r.create(t, "/v1/agent_queue_assignments"+of, `{"queue_id":"`+queue+`","user_id":"`+user+`"}`)
	r.post(t, api.PathPresenceEvent, api.EventBatch{Node: "edge1", Boot: "1", Events: []api.Event{{Seq: 1, TimeMS: time.Now().UnixMilli(), Type: api.EventContactSaved,
		AccountID: account, AOR: "sip:1001@example.com", Contact: "sip:1001@192.0.2.7", ExpiresS: 3600}}}, nil)
	return account, user, queue, told
}

// A caller of a queue over the network and the real store, from his first question to the figures: the agent who is ready
// comes with the reply; when that fails the node is told to ring the agent again, and again after a restart of the brain,
// under the same id; the claim holds there, and in the end there is a record.
func TestRun_ServesACallerInAQueue(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	account, user, queue, told := r.callCentre(t)
	of := "?account_id=" + account
	var agent api.AgentState
	if r.post(t, api.PathAgent+of, api.AgentRequest{UserID: user, Action: "login"}, &agent); agent.Bucket != "ready" || agent.Name != "Anna" || len(agent.Queues) != 1 {
		t.Fatalf("%+v", agent)
	}
	ask := api.FlowRequest{AccountID: account, Token: "t1", CallID: "c1", Node: "edge1",
		Start: &api.FlowStart{TargetKind: "queue", TargetID: queue, Channel: "ch1", Vars: map[string]string{"caller_number": "4930123"}}}
	var command api.FlowReply
	r.post(t, api.PathFlow, ask, &command)
	if command.Command != api.CommandEnqueue || len(command.Params.Dispatches) != 1 || command.Params.Dispatches[0].UserID != user {
		t.Fatalf("%+v", command)
	}
	offer := command.Params.Dispatches[0]
	of1 := func(cause string) api.Claim {
		return api.Claim{AccountID: account, ReservationID: offer.ReservationID, Fence: offer.Fence, Cause: cause}
	}
	next := func() api.Op {
		t.Helper()
		select {
		case op := <-told:
			return op
		case <-time.After(20 * time.Second):
			t.Fatal("the node was told nothing")
			return api.Op{}
		}
	}
	var verdict api.ClaimReply
	r.post(t, api.PathAgentMiss, of1("failed"), &verdict)
	op := next()
	if op.Kind != api.OpDispatch || op.EntryID != command.Params.EntryID || op.Token != "t1" || op.Dispatch == nil || op.Dispatch.Fence <= offer.Fence || op.Dispatch.CallerNumber != "4930123" {
		t.Fatalf("%+v", op)
	}
	if r.post(t, api.PathAgentClaim, of1(""), &verdict); verdict.Granted {
		t.Error("the claim of a reservation that was missed holds")
	}

	r.stop()
	r.wait(t)
	r = start(t, dir)
	again := next()
	if again.ID != op.ID || again.Dispatch == nil || again.Dispatch.Fence != op.Dispatch.Fence {
		t.Fatalf("after the restart %+v, before %+v", again, op)
	}
	offer = *again.Dispatch
	for _, path := range []string{api.PathAgentClaim, api.PathAgentConfirm} {
		if r.post(t, path, of1(""), &verdict); !verdict.Granted {
			t.Errorf("%s: %+v", path, verdict)
		}
	}
	over := api.FlowRequest{AccountID: account, Token: "t1", CallID: "c1", Node: "edge1", Seq: command.Seq, Outcome: api.OutcomeAnswered, Data: map[string]string{"talk_ms": "5000"}}
	r.post(t, api.PathFlow, over, &command)
	if command.Command != api.CommandHangup {
		t.Errorf("after the talk: %+v", command)
	}
	var queues api.QueueList
	if status := r.call(t, "GET", api.PathQueues+of+"&entries=true", "", "", &queues); status != 200 || len(queues.Queues) != 1 || queues.Queues[0].Figures.Answered != 1 ||
		len(queues.Queues[0].Entries) != 0 {
		t.Errorf("%d %+v", status, queues)
	}
	eventually(t, "the record is in the log", func() bool {
		return contains(r.log.String(), `msg="queue record"`, "caller_number=4930123", "outcome=answered", "user="+user)
	})

	if status := r.call(t, "PATCH", "/v1/sip_users/"+user+of, "application/json", `{"auto_queue_login":false}`, nil); status != 200 {
		t.Fatalf("PATCH: %d", status)
	}
	var agents api.AgentList
	if status := r.call(t, "GET", api.PathAgents+of, "", "", &agents); status != 200 || len(agents.Agents) != 1 || agents.Agents[0].Bucket != "ready" {
		t.Errorf("%d %+v", status, agents)
	}
}

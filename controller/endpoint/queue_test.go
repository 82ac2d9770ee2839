package endpoint

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// lines are queues that write down what they are asked. why refuses what an agent wants, lost what a node claims.
type lines struct {
	asked []string
	why   string
	lost  string
	fail  error
}

func (l *lines) note(format string, args ...any) {
	l.asked = append(l.asked, fmt.Sprintf(format, args...))
}

func (l *lines) claim(what string, c *api.Claim) (api.ClaimReply, error) {
	l.note("%s %s %s %d%s", what, c.AccountID, c.ReservationID, c.Fence, c.Cause)
	return api.ClaimReply{Granted: l.lost == "", Why: l.lost}, l.fail
}

func (l *lines) Claim(_ context.Context, c *api.Claim) (api.ClaimReply, error) {
	return l.claim("claim", c)
}
func (l *lines) Confirm(_ context.Context, c *api.Claim) (api.ClaimReply, error) {
	return l.claim("confirm", c)
}
func (l *lines) Miss(_ context.Context, c *api.Claim) (api.ClaimReply, error) {
	return l.claim("miss", c)
}

func (l *lines) Act(_ context.Context, id string, r api.AgentRequest) (string, error) {
	l.note("%s %s %s %s%s", id, r.UserID, r.Action, r.Reason, r.QueueID)
	return l.why, l.fail
}

func (l *lines) Agents(_ context.Context, id, user string, from, to int64) ([]api.AgentState, error) {
	l.note("agents %s %s %d %d", id, user, from, to)
	if user == "" {
		return nil, l.fail
	}
	return []api.AgentState{{UserID: user, Status: "available", Bucket: "ready"}}, l.fail
}

func (l *lines) States(_ context.Context, id, queue string, from, to int64, entries bool) ([]api.QueueState, error) {
	l.note("queues %s %s %d %d %v", id, queue, from, to, entries)
	return []api.QueueState{{QueueID: "q_1", EWTMS: -1}}, l.fail
}

func (l *lines) Supervise(_ context.Context, id string, r *api.SuperviseRequest) (api.SuperviseReply, error) {
	l.note("supervise %s %s %s %s", id, r.EntryID, r.UserID, r.Mode)
	return api.SuperviseReply{EntryID: r.EntryID, UserID: r.UserID, Mode: r.Mode, Node: "edge1"}, l.fail
}

func (l *lines) Move(_ context.Context, id string, r *api.MoveRequest) (api.MoveReply, error) {
	l.note("move %s %s %s %d", id, r.EntryID, r.Token, r.Place)
	return api.MoveReply{EntryID: r.EntryID, QueueID: "q_1", Place: r.Place}, l.fail
}

func (l *lines) Send(_ context.Context, id string, r *api.SendRequest) (api.SendReply, error) {
	l.note("send %s %s %s %s %s", id, r.EntryID, r.Token, r.Target.Kind, r.Target.ID)
	return api.SendReply{EntryID: r.EntryID, Token: r.Token, Target: r.Target}, l.fail
}

func (l *lines) Counts() map[string]int64 { return map[string]int64{"queue_joins": 4} }

// Each question of an operator about queues and agents, the status it gets, and what is asked of the queues: nothing unless
// the question can be understood.
func TestQueues_QuestionsOfOperators(t *testing.T) {
	rows := []struct {
		method, path, body string
		code               int
		asked              string
	}{
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"login"}`, 200, "acc_1 us_1001 login ;agents acc_1 us_1001 0 0"},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"break","reason":"lunch"}`, 200, "acc_1 us_1001 break lunch;agents acc_1 us_1001 0 0"},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"queue_join","queue_id":"q_1"}`, 200, "acc_1 us_1001 queue_join q_1;agents acc_1 us_1001 0 0"},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"sleep"}`, 400, ""},
		{"POST", api.PathAgent, `{"user_id":"us_9","action":"login"}`, 400, ""},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"login","reason":"lunch"}`, 400, ""},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"login","queue_id":"q_1"}`, 400, ""},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"queue_join"}`, 400, ""},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"queue_leave","queue_id":"q_2"}`, 400, ""},
		{"POST", api.PathAgent, `{"user_id":"us_1001","action":"break","reason":"` + strings.Repeat("x", maxReason+1) + `"}`, 400, ""},
		{"POST", api.PathAgent, `{"user_id":"us_1001","status":"available"}`, 400, ""},
		{"POST", api.PathSupervise, `{"entry_id":"e_1","user_id":"us_1001","mode":"whisper"}`, 200, "supervise acc_1 e_1 us_1001 whisper"},
		{"POST", api.PathSupervise, `{"entry_id":"e_1","user_id":"us_1001","mode":"stop"}`, 200, "supervise acc_1 e_1 us_1001 stop"},
		{"POST", api.PathSupervise, `{"entry_id":"e_1","user_id":"us_1001","mode":"leave"}`, 400, ""},
		{"POST", api.PathSupervise, `{"user_id":"us_1001","mode":"listen"}`, 400, ""},
		{"POST", api.PathSupervise, `{"entry_id":"e_1","mode":"listen"}`, 400, ""},
		{"POST", api.PathSupervise, `{"entry_id":"` + strings.Repeat("x", maxID+1) + `","user_id":"us_1001","mode":"listen"}`, 400, ""},
		{"POST", api.PathQueueMove, `{"entry_id":"e_1","place":1}`, 200, "move acc_1 e_1  1"},
		{"POST", api.PathQueueMove, `{"token":"t_1","place":1000000}`, 200, "move acc_1  t_1 1000000"},
		{"POST", api.PathQueueMove, `{"entry_id":"e_1","token":"t_1","place":1}`, 400, ""},
		{"POST", api.PathQueueMove, `{"place":1}`, 400, ""},
		{"POST", api.PathQueueMove, `{"entry_id":"e_1"}`, 400, ""},
		{"POST", api.PathQueueMove, `{"entry_id":"e_1","place":1000001}`, 400, ""},
		{"POST", api.PathQueueSend, `{"entry_id":"e_1","target":{"kind":"user","id":"us_1"}}`, 200, "send acc_1 e_1  user us_1"},
		{"POST", api.PathQueueSend, `{"token":"t_1","target":{"kind":"user","id":"us_1"}}`, 200, "send acc_1  t_1 user us_1"},
		{"POST", api.PathQueueSend, `{"token":"t/1","target":{"kind":"user","id":"us_1"}}`, 400, ""},
		{"POST", api.PathQueueSend, `{"entry_id":"e/1-1","target":{"kind":"user","id":"us_1"}}`, 400, ""},
		{"POST", api.PathQueueSend, `{"target":{"kind":"user","id":"us_1"}}`, 400, ""},
		{"POST", api.PathQueueSend, `{"entry_id":"e_1","target":{"kind":"user"}}`, 400, ""},
		{"POST", api.PathQueueSend, `{"entry_id":"e_1","target":{"kind":"user","id":"` + strings.Repeat("x", maxID+1) + `"}}`, 400, ""},
		{"GET", api.PathAgents, "", 200, "agents acc_1  0 0"},
		{"GET", api.PathAgents + "?user_id=us_1001&from_ms=5&to_ms=9", "", 200, "agents acc_1 us_1001 5 9"},
		{"GET", api.PathAgents + "?from_ms=yesterday", "", 400, ""},
		{"GET", api.PathAgents + "?from_ms=9&to_ms=5", "", 400, ""},
		{"GET", api.PathAgents + "?account_id=acc_2", "", 403, ""},
		{"GET", api.PathQueues + "?queue_id=q_1&entries=true&from_ms=5", "", 200, "queues acc_1 q_1 5 0 true"},
		{"GET", api.PathQueues + "?entries=perhaps", "", 400, ""},
		{"GET", api.PathQueues + "?to_ms=-1", "", 400, ""},
	}
	for _, row := range rows {
		b := newBench(t)
		token := tokenAccount
		if row.method == "POST" {
			token = tokenWrite
		}
		w := b.ask(row.method, row.path, typeJSON, row.body, withToken(token))
		if got := strings.Join(b.lines.asked, ";"); w.Code != row.code || got != row.asked {
			t.Errorf("%s %s %s: %d %s, asked %q", row.method, row.path, row.body, w.Code, w.Body, got)
		}
	}
}

// An agent hears how it stands, or why nothing changed; lists are lists though nobody is in them.
func TestQueues_AnswersToOperators(t *testing.T) {
	b := newBench(t)
	login := func() (int, string) {
		w := b.ask("POST", api.PathAgent, typeJSON, `{"user_id":"us_1001","action":"login"}`, withToken(tokenWrite))
		return w.Code, w.Body.String()
	}
	if code, body := login(); code != 200 || !strings.Contains(body, `"user_id":"us_1001","status":"available"`) {
		t.Errorf("%d %s", code, body)
	}
	b.lines.why = "no agent"
	if code, body := login(); code != 409 || !strings.Contains(body, "no agent") {
		t.Errorf("refused: %d %s", code, body)
	}
	b.lines.fail = brain.Errorf(brain.EUnavailable, "no owner")
	if code, _ := login(); code != 503 {
		t.Errorf("nobody can be asked: %d", code)
	}
	b.lines.fail = nil
	if got := strings.TrimSpace(b.ask("GET", api.PathAgents, "", "", withToken(tokenAccount)).Body.String()); got != `{"agents":[]}` {
		t.Errorf("%s", got)
	}
	if q := reading[api.QueueList](t, b.ask("GET", api.PathQueues, "", "", withToken(tokenAccount))); len(q.Queues) != 1 || q.Queues[0].EWTMS != -1 {
		t.Errorf("%+v", q)
	}
	if w := b.ask("GET", api.PathHealth, "", "", withToken(tokenPlatform)); !strings.Contains(w.Body.String(), `"queue_joins":4`) || !strings.Contains(w.Body.String(), `"events_applied":3`) {
		t.Errorf("%s", w.Body)
	}
}

// What nodes say of agents goes to the queues when it names a reservation of an account that exists; the answer is whether
// it holds, and why not.
func TestQueues_WhatNodesSayOfAgents(t *testing.T) {
	const claim = `{"account_id":"acc_1","reservation_id":"r1","fence":7}`
	rows := []struct {
		path, body string
		code       int
		asked      string
	}{
		{api.PathAgentClaim, claim, 200, "claim acc_1 r1 7"},
		{api.PathAgentConfirm, claim, 200, "confirm acc_1 r1 7"},
		{api.PathAgentMiss, strings.Replace(claim, "}", `,"cause":"busy"}`, 1), 200, "miss acc_1 r1 7busy"},
		{api.PathAgentMiss, claim, 400, ""},
		{api.PathAgentMiss, strings.Replace(claim, "}", `,"cause":"asleep"}`, 1), 400, ""},
		{api.PathAgentClaim, strings.Replace(claim, "acc_1", "acc_9", 1), 403, ""},
		{api.PathAgentClaim, strings.Replace(claim, "acc_1", "", 1), 400, ""},
		{api.PathAgentClaim, strings.Replace(claim, `"r1"`, `""`, 1), 400, ""},
		{api.PathAgentClaim, strings.Replace(claim, "7", "0", 1), 400, ""},
		{api.PathAgentClaim, strings.Replace(claim, "r1", `\u0007`, 1), 400, ""},
		{api.PathAgentClaim, "", 400, ""},
	}
	for _, row := range rows {
		b := newBench(t)
		w := b.ask("POST", row.path, typeJSON, row.body)
		if got := strings.Join(b.lines.asked, ";"); w.Code != row.code || got != row.asked {
			t.Errorf("%s %s: %d %s, asked %q", row.path, row.body, w.Code, w.Body, got)
		}
	}
	b := newBench(t)
	b.lines.lost = "caller_gone"
	if r := reading[api.ClaimReply](t, b.ask("POST", api.PathAgentClaim, typeJSON, claim)); r.Granted || r.Why != "caller_gone" {
		t.Errorf("%+v", r)
	}
	b.lines.fail = brain.Errorf(brain.EUnavailable, "no owner")
	if w := b.ask("POST", api.PathAgentClaim, typeJSON, claim); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

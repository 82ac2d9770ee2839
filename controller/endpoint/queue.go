package endpoint

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Queues is the queues of the accounts and who serves them. brain.EUnavailable: the same question again later.
type Queues interface {
	// Claim, Confirm and Miss say what became of an agent who was rung. The same one again gets the same answer.
	Claim(ctx context.Context, c *api.Claim) (api.ClaimReply, error)
	Confirm(ctx context.Context, c *api.Claim) (api.ClaimReply, error)
	Miss(ctx context.Context, c *api.Claim) (api.ClaimReply, error)
	// Act changes what an agent wants; why says that it was refused.
	Act(ctx context.Context, accountID string, req api.AgentRequest) (why string, err error)
	// Agents lists the agents of an account, or one of them; times in epoch milliseconds, 0 = the last 24 hours.
	Agents(ctx context.Context, accountID, userID string, fromMS, toMS int64) ([]api.AgentState, error)
	// States lists the queues of an account, or one of them, with their callers when entries is set.
	States(ctx context.Context, accountID, queueID string, fromMS, toMS int64, entries bool) ([]api.QueueState, error)
	// Supervise brings a supervisor into a talk, changes who hears him, or lets him go. A brain.Error says why not.
	Supervise(ctx context.Context, accountID string, req *api.SuperviseRequest) (api.SuperviseReply, error)
	// Move puts a caller who waits at another place, Send has his call go elsewhere. A brain.Error says why not.
	Move(ctx context.Context, accountID string, req *api.MoveRequest) (api.MoveReply, error)
	Send(ctx context.Context, accountID string, req *api.SendRequest) (api.SendReply, error)
	// Counts are totals since the process began, by name, shown in /health.
	Counts() map[string]int64
}

// RegisterQueues puts the endpoints of queues and agents on a mux.
func (s *Server) RegisterQueues(mux Mux, queues Queues) {
	s.queues = queues
	mux.Handle(api.PathAgent, s.gate(http.MethodPost, forCallsWrite, s.agent))
	mux.Handle(api.PathAgents, s.gate(http.MethodGet, forCalls, s.listAgents))
	mux.Handle(api.PathQueues, s.gate(http.MethodGet, forCalls, s.listQueues))
	mux.Handle(api.PathSupervise, s.gate(http.MethodPost, forCallsWrite, s.supervise))
	mux.Handle(api.PathQueueMove, s.gate(http.MethodPost, forCallsWrite, s.moveCaller))
	mux.Handle(api.PathQueueSend, s.gate(http.MethodPost, forCallsWrite, s.sendCaller))
	mux.Handle(api.PathAgentClaim, s.gate(http.MethodPost, forNodes, s.claim(queues.Claim)))
	mux.Handle(api.PathAgentConfirm, s.gate(http.MethodPost, forNodes, s.claim(queues.Confirm)))
	mux.Handle(api.PathAgentMiss, s.gate(http.MethodPost, forNodes, s.claim(func(ctx context.Context, c *api.Claim) (api.ClaimReply, error) {
		if !slices.Contains(missCauses, c.Cause) {
			return api.ClaimReply{}, badField(countBadType, "cause", "must be one of %s", strings.Join(missCauses, ", "))
		}
		return queues.Miss(ctx, c)
	})))
}

// missCauses are why an agent was not reached, or, for a callback, the caller.
var missCauses = []string{"no_answer", "busy", "declined", "unreachable", "caller", "failed"}

// claim answers POST /agent/claim, /agent/confirm and /agent/miss.
func (s *Server) claim(ask func(context.Context, *api.Claim) (api.ClaimReply, error)) answer {
	return func(r *http.Request, _ brain.APIKey) (any, error) {
		var c api.Claim
		if err := readJSON(r, &c); err != nil {
			return nil, err
		}
		if err := s.checkClaim(&c); err != nil {
			return nil, err
		}
		reply, err := ask(r.Context(), &c)
		if err != nil {
			return nil, err
		}
		return &reply, nil
	}
}

// checkClaim refuses what names no reservation of an account that exists. An id with a slash would be another object's.
func (s *Server) checkClaim(c *api.Claim) error {
	for _, f := range [...]struct{ name, value string }{{"account_id", c.AccountID}, {"reservation_id", c.ReservationID}} {
		if f.value == "" {
			return badField(countBadType, f.name, "is missing")
		}
		if err := checkText(f.name, f.value, maxID); err != nil {
			return err
		}
	}
	if c.Fence <= 0 {
		return badField(countBadType, "fence", "is missing")
	}
	if s.Config.Directory().ByAccount(c.AccountID) == nil {
		return badField(countRefusedScope, "account_id", "there is no account %s", quote(c.AccountID)).with(http.StatusForbidden)
	}
	return nil
}

// agentActions are what an agent may want.
var agentActions = []string{"login", "logout", "available", "break", "wrapup_end", "queue_join", "queue_leave"}

// maxReason bounds the reason of a break in bytes.
const maxReason = 64

// agent answers POST /agent with the agent as it is then. What the agent may not want is a conflict: nothing has changed.
func (s *Server) agent(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	var req api.AgentRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if err := checkAgent(s.Config.Directory().ByAccount(id), &req); err != nil {
		return nil, err
	}
	why, err := s.queues.Act(r.Context(), id, req)
	switch {
	case err != nil:
		return nil, err
	case why != "":
		return nil, badBody(http.StatusConflict, countBadType, "user %s, %s: %s", quote(req.UserID), req.Action, why)
	}
	list, err := s.queues.Agents(r.Context(), id, req.UserID, 0, 0)
	if err != nil || len(list) != 1 {
		return &api.AgentState{UserID: req.UserID, Queues: []string{}}, err // deleted meanwhile
	}
	return &list[0], nil
}

func checkAgent(acct *brain.AccountConfig, req *api.AgentRequest) error {
	named := req.Action == "queue_join" || req.Action == "queue_leave"
	switch {
	case !slices.Contains(agentActions, req.Action):
		return badField(countBadType, "action", "must be one of %s", strings.Join(agentActions, ", "))
	case acct == nil || acct.Users[req.UserID] == nil:
		return badField(countBadType, "user_id", "there is no user %s", quote(req.UserID))
	case req.Reason != "" && req.Action != "break":
		return badField(countBadType, "reason", "belongs to break")
	case named && acct.Queues[req.QueueID] == nil:
		return badField(countBadType, "queue_id", "there is no queue %s", quote(req.QueueID))
	case req.QueueID != "" && !named:
		return badField(countBadType, "queue_id", "belongs to queue_join and queue_leave")
	}
	return checkText("reason", req.Reason, maxReason)
}

// listAgents answers GET /agents?user_id=&from_ms=&to_ms=.
func (s *Server) listAgents(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	fromMS, toMS, err := period(r)
	if err != nil {
		return nil, err
	}
	list, err := s.queues.Agents(r.Context(), id, r.URL.Query().Get("user_id"), fromMS, toMS)
	if err != nil {
		return nil, err
	}
	return &api.AgentList{Agents: append([]api.AgentState{}, list...)}, nil
}

// listQueues answers GET /queues?queue_id=&from_ms=&to_ms=&entries=true.
func (s *Server) listQueues(r *http.Request, key brain.APIKey) (any, error) {
	id, err := s.account(r, key)
	if err != nil {
		return nil, err
	}
	fromMS, toMS, err := period(r)
	if err != nil {
		return nil, err
	}
	entries := false
	if text := r.URL.Query().Get("entries"); text != "" {
		if entries, err = strconv.ParseBool(text); err != nil {
			return nil, badField(countBadType, "entries", "is true or false")
		}
	}
	list, err := s.queues.States(r.Context(), id, r.URL.Query().Get("queue_id"), fromMS, toMS, entries)
	if err != nil {
		return nil, err
	}
	return &api.QueueList{Queues: append([]api.QueueState{}, list...)}, nil
}

// period reads whose figures are wanted: from_ms and to_ms, epoch milliseconds.
func period(r *http.Request) (fromMS, toMS int64, err error) {
	for _, f := range [...]struct {
		name string
		into *int64
	}{{"from_ms", &fromMS}, {"to_ms", &toMS}} {
		text := r.URL.Query().Get(f.name)
		if text == "" {
			continue
		}
		if *f.into, err = strconv.ParseInt(text, 10, 64); err != nil || *f.into < 0 {
			return 0, 0, badField(countBadType, f.name, "is a time in epoch milliseconds")
		}
	}
	if toMS != 0 && toMS < fromMS {
		return 0, 0, badField(countBadType, "to_ms", "is before from_ms")
	}
	return fromMS, toMS, nil
}

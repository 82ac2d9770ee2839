package session

import (
	"context"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// nodes is a directory whose account is on one node.
type nodes struct {
	directory
	none bool
}

func (n nodes) NodeByName(name string) *brain.Node {
	if n.none {
		return nil
	}
	return &brain.Node{Name: name, AgentURL: "http://127.0.0.1:1"}
}

// floor is what the transfers of an account ask: agent us_1 serves serves, and the node answers as it is told.
type floor struct {
	*Transfers
	serves string
	live   []api.Call
	says   []any // of the node, one after the other: an error, or the text of a refusal, "" = done
	ops    []api.Op
	desk   *desk
}

func (f *floor) Agents(_ context.Context, _, userID string, _, _ int64) ([]api.AgentState, error) {
	return []api.AgentState{{UserID: userID, EntryID: f.serves, State: acd.StateInCall}}, nil
}

func (f *floor) Calls(context.Context, string) ([]api.Call, error) { return f.live, nil }

func (f *floor) Push(_ context.Context, _ *brain.Node, op api.Op) (api.OpReply, error) {
	f.ops = append(f.ops, op)
	said := f.says[min(len(f.ops), len(f.says))-1]
	if err, ok := said.(error); ok {
		return api.OpReply{}, err
	}
	return api.OpReply{ID: op.ID, OK: said == "", Error: said.(string)}, nil
}

// newFloor has a caller talk to agent us_1 of queue q_1.
func newFloor(t *testing.T, says ...any) *floor {
	t.Helper()
	d, _ := newLine(t, nil)
	d.say(t, start("queue", "q_1", nil))
	f := &floor{serves: "t-1", says: says, desk: d, live: []api.Call{{Token: "t", CallID: "c"}, {Token: "direct", CallID: "d"}}}
	f.Transfers = &Transfers{Owner: d.owner, Directory: func() brain.Directory { return nodes{directory: directory{account: office(t)}} }, Desk: f, Live: f, Nodes: f}
	return f
}

func (f *floor) blind(t *testing.T, req api.TransferRequest) (api.TransferReply, error) {
	t.Helper()
	if req.FromUserID == "" {
		req.FromUserID = "us_1"
	}
	if req.Target.Kind == "" {
		req.Target = api.TransferTarget{Kind: "queue", ID: "other"}
	}
	return f.Blind(t.Context(), "acc_1", &req)
}

// after is what the node is commanded when the talk is over.
func (f *floor) after(t *testing.T) string {
	t.Helper()
	r := f.desk.say(t, ended(1, api.OutcomeAnswered, map[string]string{"talk_ms": "900"}))
	return r.Command
}

func TestTransfers_TheSessionIsToldBeforeTheNode(t *testing.T) {
	// Proves that a transfer by token or Call-ID is journalled and then ordered, under one id when the node does not answer the first time, and
	// under another when it is asked for again, since a node answers an id alike; that a brain which reads the journal after a kill brings the caller to the target; and that it is done once.
	for _, req := range []api.TransferRequest{{Token: "t", LegID: "leg@x"}, {CallID: "c"}} {
		f := newFloor(t, brain.Errorf(brain.EUnavailable, "silent"), "")
		for range 2 {
			reply, err := f.blind(t, req)
			if err != nil || reply.Token != "t" || reply.Target != (api.TransferTarget{Kind: "queue", ID: "q_2"}) {
				t.Fatalf("%+v: %+v %v", req, reply, err)
			}
		}
		for _, op := range f.ops {
			if op.Kind != api.OpTransfer || op.Token != "t" || op.Seq != 1 || op.LegID != req.LegID {
				t.Errorf("ordered %+v", op)
			}
		}
		if len(f.ops) != 3 || f.ops[0].ID != f.ops[1].ID || f.ops[1].ID == f.ops[2].ID {
			t.Errorf("ordered %v, want one order twice, and another one", f.ops)
		}
		killed := f.desk.owner.killed(t)
		next, l := newLine(t, killed)
		if r := next.say(t, ended(1, api.OutcomeAnswered, map[string]string{"talk_ms": "900"})); r.Command != api.CommandEnqueue || !strings.Contains(l.said(), "leave t-1 answered") {
			t.Errorf("after a kill: %+v", r)
		}
		f.Owner, f.ops = killed, nil
		if _, err := f.blind(t, req); err != nil || len(f.ops) != 0 {
			t.Errorf("again when it is done: %v, ordered %v", err, f.ops)
		}
	}
}

func TestTransfers_WhatTheNodeSays(t *testing.T) {
	// Proves that a transfer is forgotten where the node says that nobody was parted, or cannot be asked, and kept where it may have been.
	for name, row := range map[string]struct {
		says []any
		none bool
		code brain.Code
		then string
	}{
		"done":                 {says: []any{""}, then: api.CommandEnqueue},
		"nobody talks":         {says: []any{api.NobodyTalks}, code: brain.EConflict, then: api.CommandHangup},
		"no agent_url":         {says: []any{brain.Errorf(brain.EInvalid, "no agent_url")}, code: brain.EConflict, then: api.CommandHangup},
		"no such node":         {none: true, code: brain.EConflict, then: api.CommandHangup},
		"it does not answer":   {says: []any{brain.Errorf(brain.EUnavailable, "silent")}, code: brain.EUnavailable, then: api.CommandEnqueue},
		"the call is not here": {says: []any{"no such call on this node"}, code: brain.EUnavailable, then: api.CommandEnqueue},
	} {
		f := newFloor(t, row.says...)
		f.Directory = func() brain.Directory { return nodes{directory{account: office(t)}, row.none} }
		if _, err := f.blind(t, api.TransferRequest{Token: "t"}); brain.CodeOf(err) != row.code {
			t.Errorf("%s: %v, want %q", name, err, row.code)
		}
		if got := f.after(t); got != row.then {
			t.Errorf("%s: after the talk %s, want %s", name, got, row.then)
		}
	}
}

func TestTransfers_AreRefused(t *testing.T) {
	// Proves the code of each refusal, and that none of them orders anything or changes the call.
	for name, row := range map[string]struct {
		req    api.TransferRequest
		serves string
		code   brain.Code
		text   string
	}{
		"no such user":        {api.TransferRequest{Token: "t", FromUserID: "us_9"}, "t-1", brain.ENotFound, "from_user_id"},
		"no such target":      {api.TransferRequest{Token: "t", Target: api.TransferTarget{Kind: "queue", ID: "q_9"}}, "t-1", brain.ENotFound, "target.id"},
		"no such token":       {api.TransferRequest{Token: "x"}, "t-1", brain.ENotFound, "no such live call"},
		"no such Call-ID":     {api.TransferRequest{CallID: "x"}, "t-1", brain.ENotFound, "no such live call"},
		"two phones":          {api.TransferRequest{Token: "direct"}, "t-1", brain.EConflict, "transfer by the phone"},
		"two phones, Call-ID": {api.TransferRequest{CallID: "d"}, "t-1", brain.EConflict, "transfer by the phone"},
		"he serves another":   {api.TransferRequest{Token: "t"}, "t-7", brain.EForbidden, "other side"},
	} {
		f := newFloor(t, "")
		f.serves = row.serves
		if _, err := f.blind(t, row.req); brain.CodeOf(err) != row.code || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v, want %s %s", name, err, row.code, row.text)
		}
		if got := f.after(t); len(f.ops) != 0 || got != api.CommandHangup {
			t.Errorf("%s: ordered %v, then %s", name, f.ops, got)
		}
	}
	f := newFloor(t, "")
	if _, err := f.Blind(t.Context(), "acc_9", &api.TransferRequest{Token: "t"}); brain.CodeOf(err) != brain.ENotFound {
		t.Errorf("another account: %v", err)
	}
	if _, err := f.desk.owner.Step(t.Context(), "acc_1", "t", &session.Request{Flow: ended(1, api.OutcomeHangup, nil)}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.blind(t, api.TransferRequest{Token: "t"}); brain.CodeOf(err) != brain.ENotFound {
		t.Errorf("a call that is over: %v", err)
	}
}

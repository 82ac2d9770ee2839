package session

import (
	"context"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// answering is a node that answers with a state where it is told nothing else.
type answering struct {
	*floor
	state string
}

func (a *answering) Push(ctx context.Context, n *brain.Node, op api.Op) (api.OpReply, error) {
	reply, err := a.floor.Push(ctx, n, op)
	if reply.OK {
		reply.State = a.state
	}
	return reply, err
}

// missing has no sound.
type missing struct{}

func (missing) Resolve(context.Context, *brain.AccountConfig, brain.Sound) ([]api.MediaRef, error) {
	return nil, brain.Errorf(brain.ENotFound, "nobody has uploaded it")
}

// playlists has one playlist, of two files.
type playlists struct{}

func (playlists) Resolve(_ context.Context, _ *brain.AccountConfig, s brain.Sound) ([]api.MediaRef, error) {
	if s.PlaylistID != "pl_1" {
		return nil, brain.Errorf(brain.ENotFound, "no playlist %s", s.PlaylistID)
	}
	return []api.MediaRef{{Key: "k/1"}, {Key: "k/2"}}, nil
}

// newAnswering is a newFloor whose account has a second user and music.
func newAnswering(t *testing.T, state string, says ...any) *answering {
	t.Helper()
	a := &answering{newFloor(t, says...), state}
	acct := office(t)
	ann := *acct.Users["us_1"]
	ann.DisplayName = "Ann"
	rows := brain.AccountRows{Account: acct.Account, Users: []brain.SIPUser{ann, {ID: "us_2", AccountID: "acc_1", Username: "102", Status: brain.StatusActive}},
		Queues: []brain.Queue{{ID: "q_1", AccountID: "acc_1", Name: "sales", MOHPlaylistID: "pl_1"}}}
	acct = brain.NewAccountConfig(2, rows)
	a.Directory = func() brain.Directory { return nodes{directory: directory{account: acct}} }
	a.desk.Directory = a.Directory
	a.Nodes, a.Sounds = a, playlists{}
	return a
}

func (a *answering) asks(t *testing.T, mode string) (api.TransferReply, error) {
	t.Helper()
	req := api.TransferRequest{Token: "t", FromUserID: "101", Mode: mode}
	if mode == api.TransferAttended {
		req.Target = api.TransferTarget{Kind: "number", ID: "102"}
	}
	return a.Attended(t.Context(), "acc_1", &req)
}

func TestTransfers_EachStepIsAnOrder(t *testing.T) {
	// Proves what each mode orders, with who asks on the phone of the target and one file of the queue's music; that a node which does not answer is told
	// twice under one id, and another step has another; that the state comes back; and that the session stays as it was.
	a := newAnswering(t, api.ConsultRinging, brain.Errorf(brain.EUnavailable, "silent"), "")
	before := len(a.desk.owner.journal)
	for mode, want := range map[string]api.Op{
		api.TransferAttended: {Kind: api.OpConsult}, api.TransferThreeWay: {Kind: api.OpThreeWay}, api.TransferCancel: {Kind: api.OpReturn},
		api.TransferComplete: {Kind: api.OpComplete},
	} {
		a.ops = nil
		reply, err := a.asks(t, mode)
		if err != nil || reply.Token != "t" || reply.FromUserID != "us_1" || reply.Mode != mode || reply.State != api.ConsultRinging {
			t.Fatalf("%s: %+v %v", mode, reply, err)
		}
		if len(a.ops) != 2 || a.ops[0].ID != a.ops[1].ID || !strings.HasPrefix(a.ops[0].ID, want.Kind+"_") {
			t.Fatalf("%s: ordered %+v", mode, a.ops)
		}
		op := a.ops[1]
		if op.Kind != want.Kind || op.Token != "t" || op.Seq != 1 || (op.Consult != nil) != (mode == api.TransferAttended) {
			t.Errorf("%s: ordered %+v", mode, op)
		}
		if c := op.Consult; c != nil {
			if c.DestKind != "user" || c.DestID != "us_2" || c.UserID != "us_1" || c.Number != "101" || c.Name != "Ann" || len(c.Music) != 1 || c.Music[0].Key != "k/1" {
				t.Errorf("asked %+v", c)
			}
			if reply.Target != (api.TransferTarget{Kind: "user", ID: "us_2"}) {
				t.Errorf("the target is %+v", reply.Target)
			}
		}
	}
	if n := len(a.desk.owner.journal); n != before {
		t.Errorf("%d records were written", n-before)
	}
	if got := a.after(t); got != api.CommandHangup {
		t.Errorf("after the talk %s", got)
	}
}

func TestTransfers_WhatTheNodeSaysOfAStep(t *testing.T) {
	// Proves for each mode that what the node refuses is a conflict which says what to do, and that what it did not say is to be asked again.
	for name, row := range map[string]struct {
		says any
		none bool
		code brain.Code
		text string
	}{
		"nobody talks":   {api.NobodyTalks, false, brain.EConflict, "when somebody has answered"},
		"nobody asked":   {api.NobodyAsked, false, brain.EConflict, "mode attended"},
		"asked already":  {api.AskedAlready, false, brain.EConflict, "cancel that first"},
		"asked has gone": {api.AskedGone, false, brain.EConflict, "once more rings him again"},
		"not answered":   {api.NotAnswered, false, brain.EConflict, "cancel lets him go"},
		"not this call":  {"no such call on this node", false, brain.EUnavailable, "no such call"},
		"unreachable":    {brain.Errorf(brain.EUnavailable, "silent"), false, brain.EUnavailable, "silent"},
		"no agent_url":   {brain.Errorf(brain.EInvalid, "no agent_url"), false, brain.EConflict, "no agent_url"},
		"no such node":   {"", true, brain.EUnavailable, "not registered"},
		"all went right": {"", false, "", ""},
	} {
		for _, mode := range []string{api.TransferAttended, api.TransferComplete, api.TransferCancel, api.TransferThreeWay} {
			a := newAnswering(t, "", row.says)
			d := a.Directory().(nodes)
			a.Directory = func() brain.Directory { return nodes{d.directory, row.none} }
			if _, err := a.asks(t, mode); brain.CodeOf(err) != row.code || err != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("%s, %s: %v, want %q %s", name, mode, err, row.code, row.text)
			}
		}
	}
}

func TestTransfers_AStepThatIsRefusedOrdersNothing(t *testing.T) {
	// Proves the code of each refusal and that the node hears of none; and that a sound which is not there keeps nobody from asking.
	for name, row := range map[string]struct {
		req    api.TransferRequest
		serves string
		code   brain.Code
		text   string
	}{
		"no such user":     {api.TransferRequest{Token: "t", FromUserID: "us_9", Mode: "attended"}, "t-1", brain.ENotFound, "from_user_id"},
		"no such target":   {api.TransferRequest{Token: "t", Mode: "attended", Target: api.TransferTarget{Kind: "user", ID: "us_9"}}, "t-1", brain.ENotFound, "target.id"},
		"a queue":          {api.TransferRequest{Token: "t", Mode: "attended", Target: api.TransferTarget{Kind: "queue", ID: "sales"}}, "t-1", brain.EInvalid, "nobody can be asked in a queue"},
		"outside":          {api.TransferRequest{Token: "t", Mode: "attended", Target: api.TransferTarget{Kind: "pstn", ID: "4930"}}, "t-1", brain.ENotFound, "names no country"},
		"no such call":     {api.TransferRequest{Token: "x", Mode: "cancel"}, "t-1", brain.ENotFound, "GET /calls"},
		"two phones":       {api.TransferRequest{Token: "direct", Mode: "3way"}, "t-1", brain.EConflict, "transfer by the phone"},
		"he serves others": {api.TransferRequest{Token: "t", Mode: "complete"}, "t-7", brain.EForbidden, "other side"},
		"another mode":     {api.TransferRequest{Token: "t", Mode: "warm"}, "t-1", brain.EInvalid, "warm"},
	} {
		a := newAnswering(t, "", "")
		a.serves = row.serves
		if row.req.FromUserID == "" {
			row.req.FromUserID = "us_1"
		}
		if _, err := a.Attended(t.Context(), "acc_1", &row.req); brain.CodeOf(err) != row.code || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v, want %s %s", name, err, row.code, row.text)
		}
		if len(a.ops) != 0 {
			t.Errorf("%s: ordered %+v", name, a.ops)
		}
	}
	a := newAnswering(t, "", "")
	for i, s := range []Sounds{missing{}, nil} {
		a.Sounds = s
		if _, err := a.asks(t, api.TransferAttended); err != nil || len(a.ops) != i+1 || a.ops[i].Consult.Music != nil {
			t.Errorf("without music: %v %+v", err, a.ops)
		}
	}
	if _, err := a.Attended(t.Context(), "acc_9", &api.TransferRequest{Token: "t", Mode: "cancel"}); brain.CodeOf(err) != brain.ENotFound {
		t.Errorf("another account: %v", err)
	}
}

func TestTransfers_CompletedAgainOrdersNothing(t *testing.T) {
	// Proves that a completion whose answer got lost is answered alike when the caller is with the target by then, also by a brain that reads the journal after a kill.
	a := newAnswering(t, "", "")
	if _, err := a.asks(t, api.TransferComplete); err != nil || len(a.ops) != 1 {
		t.Fatalf("%v %+v", err, a.ops)
	}
	r := a.desk.say(t, ended(1, api.OutcomeAnswered, map[string]string{"talk_ms": "900", api.DataConsulted: "con-1", api.DataConsultedKind: "user", api.DataConsultedID: "us_2", api.DataConsultedBy: "us_1"}))
	if r.Command != api.CommandDial || r.Params.Join != "con-1" {
		t.Fatalf("after the talk: %+v", r)
	}
	for range 2 {
		if reply, err := a.asks(t, api.TransferComplete); err != nil || len(a.ops) != 1 || reply.Mode != api.TransferComplete {
			t.Errorf("again: %+v %v, ordered %+v", reply, err, a.ops)
		}
		a.Owner = a.desk.owner.killed(t)
	}
}

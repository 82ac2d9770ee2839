package queue

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Each question of a supervisor, its code, and what the node of the talk hears: nothing unless the queue allows it and the caller is with an agent.
func TestSupervise_AsksTheNodeOfTheTalk(t *testing.T) {
	refuse := false
	n := newEdge(t, func(_ *http.Request, op *api.Op, _ int) (int, string) {
		if op.Token != "toke1" || op.UserID != "us_3" || op.ID == "" {
			t.Errorf("op %+v", op)
		}
		if refuse {
			return http.StatusOK, "the caller is in no talk"
		}
		return http.StatusOK, ""
	})
	q, d, o := newQueues(t, map[string]*edge{"n": n})
	r := rows()
	r.Users[2].Username, r.Users[2].AccountID = "1003", "acc_1"
	r.Users = append(r.Users, brain.SIPUser{ID: "us_4", Username: "1004", Status: brain.StatusDisabled})
	r.Queues[0].AllowListen, r.Queues[0].AllowWhisper = true, true
	o.acct = brain.NewAccountConfig(8, r)
	d.register(t, "us_1")
	mustAct(t, q, "us_1", "login")
	joined, _, err := q.Join(t.Context(), "acc_1", anna("e1"))
	if err != nil || len(joined.Offers) != 1 {
		t.Fatalf("%+v, %v", joined, err)
	}
	offer := joined.Offers[0]
	ask := func(entry, user, mode string) (api.SuperviseReply, string) {
		reply, err := q.Supervise(t.Context(), "acc_1", &api.SuperviseRequest{EntryID: entry, UserID: user, Mode: mode})
		if err != nil {
			return reply, string(brain.CodeOf(err)) + ": " + err.Error()
		}
		return reply, ""
	}
	wants := func(entry, user, mode, want string) {
		t.Helper()
		if _, got := ask(entry, user, mode); !strings.HasPrefix(got, want) || got == "" {
			t.Errorf("%s %s %s: %q, want %q", entry, user, mode, got, want)
		}
		n.silent(t)
	}
	wants("e1", "us_3", "listen", string(brain.EConflict)+": caller e1 is not with an agent, but offering")
	claim := &api.Claim{AccountID: "acc_1", ReservationID: offer.ReservationID, Fence: offer.Fence}
	for _, step := range []func() (api.ClaimReply, error){
		func() (api.ClaimReply, error) { return q.Claim(t.Context(), claim) }, func() (api.ClaimReply, error) { return q.Confirm(t.Context(), claim) },
	} {
		if reply, err := step(); err != nil || !reply.Granted {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
	for mode, kind := range map[string]string{"listen": "listen", "whisper": "whisper", "stop": "leave"} {
		for _, user := range []string{"us_3", "1003"} {
			reply, fault := ask("e1", user, mode)
			if want := (api.SuperviseReply{EntryID: "e1", UserID: "us_3", Mode: mode, Node: "n"}); fault != "" || reply != want {
				t.Errorf("%s %s: %+v, %s", mode, user, reply, fault)
			}
			n.hears(t, kind+" e1")
		}
	}
	wants("e1", "us_3", "barge", string(brain.EForbidden)+": queue sales does not allow supervisors to barge")
	wants("e1", "us_3", "sing", string(brain.EInvalid))
	wants("e2", "us_3", "listen", string(brain.ENotFound)+`: there is no caller "e2"`)
	wants("e1", "us_9", "listen", string(brain.ENotFound)+`: there is no user "us_9"`)
	wants("e1", "1004", "listen", string(brain.ENotFound)+`: there is no user "1004"`)
	wants("e1", "us_1", "listen", string(brain.EConflict)+": user 1us_1 is the agent")
	refuse = true
	if _, fault := ask("e1", "us_3", "listen"); fault != string(brain.EConflict)+": node n: the caller is in no talk" {
		t.Errorf("refused by the node: %q", fault)
	}
	n.hears(t, "listen e1")
	delete(o.nodes, "n")
	wants("e1", "us_3", "listen", string(brain.EConflict)+`: node "n"`)
}

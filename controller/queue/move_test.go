package queue

import (
	"context"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// book is the sessions of callers: it says what they would, and notes what they are asked.
type book struct {
	asked []string
	says  session.Sent
	then  *session.Sent // what it says from the second question on; nil = the same
	none  bool          // there is no session
	fail  error
	hook  func() // what happens when it is asked
}

func (b *book) Step(_ context.Context, _, token string, req *session.Request) (session.Reply, error) {
	what := token + " " + req.Send.EntryID + " " + string(req.Send.Target.Kind) + "/" + req.Send.Target.ID
	if req.Send.Withdraw {
		what += " withdrawn"
	}
	if req.Send.Look {
		what += " looked up"
	}
	b.asked = append(b.asked, what)
	if b.none || b.fail != nil {
		return session.Reply{Unknown: b.none}, b.fail
	}
	if b.hook != nil {
		b.hook()
	}
	said := b.says
	if b.then != nil && len(b.asked) > 1 {
		said = *b.then
	}
	return session.Reply{Sent: &said}, nil
}

func (b *book) was() string {
	asked := strings.Join(b.asked, "; ")
	b.asked = nil
	return asked
}

// code is the beginning of what a refusal says, "" for none.
func code(err error) string {
	if err == nil {
		return ""
	}
	return string(brain.CodeOf(err)) + ": " + err.Error()
}

// crowd is a queue with three callers who wait, e1-1 to e3-1, and nobody to serve them.
func crowd(t *testing.T) (*Queues, *desk, *book, *edge) {
	t.Helper()
	n := newEdge(t, nil)
	q, d, _ := newQueues(t, map[string]*edge{"n": n})
	b := &book{}
	q.Sessions = b
	d.effect = q.Effects
	for _, id := range []string{"e1-1", "e2-1", "e3-1"} {
		if joined, _, err := q.Join(t.Context(), "acc_1", anna(id)); err != nil || joined.Outcome != "" {
			t.Fatalf("%+v %v", joined, err)
		}
	}
	d.was()
	return q, d, b, n
}

// A caller is found by his place or his call, put where the supervisor wants, and what cannot be is said.
func TestMove_PutsTheCallerThere(t *testing.T) {
	q, d, _, _ := crowd(t)
	for _, row := range []struct {
		entry, token string
		place, now   int
		want         string
	}{
		{"e3-1", "", 1, 1, ""}, {"e3-1", "", 1, 1, ""}, {"", "toke1-1", 9, 3, ""}, {"e9-1", "", 1, 0, string(brain.ENotFound)}, {"", "tok9", 1, 0, string(brain.ENotFound)},
	} {
		reply, err := q.Move(t.Context(), "acc_1", &api.MoveRequest{EntryID: row.entry, Token: row.token, Place: row.place})
		if got := code(err); !strings.HasPrefix(got, row.want) || (got == "") != (row.want == "") || reply.Place != row.now {
			t.Errorf("%+v: %+v %s", row, reply, got)
		}
	}
	states, err := q.States(t.Context(), "acc_1", "q_1", 0, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, e := range states[0].Entries {
		order = append(order, e.EntryID)
	}
	if got := strings.Join(order, " "); got != "e3-1 e2-1 e1-1" || d.was() != "move move move" {
		t.Errorf("they stand %s", got)
	}
	d.fail = brain.Errorf(brain.EUnavailable, "no owner")
	if _, err := q.Move(t.Context(), "acc_1", &api.MoveRequest{EntryID: "e3-1", Place: 2}); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("nobody can be asked: %v", err)
	}
}

// Who is sent elsewhere: his session hears where before his queue lets him go, then his node hears the exit; the same again is
// answered alike, also when he has left.
func TestSend_TheSessionIsToldBeforeTheQueue(t *testing.T) {
	q, d, b, n := crowd(t)
	send := func(entry, token, kind, id string) (api.SendReply, string) {
		reply, err := q.Send(t.Context(), "acc_1", &api.SendRequest{EntryID: entry, Token: token, Target: api.TransferTarget{Kind: kind, ID: id}})
		return reply, code(err)
	}
	want := api.SendReply{EntryID: "e2-1", Token: "toke2-1", Target: api.TransferTarget{Kind: "user", ID: "us_3"}}
	for _, token := range []string{"", "toke2-1"} { // the second time he leaves already
		entry := "e2-1"
		if token != "" {
			entry = ""
		}
		if reply, fault := send(entry, token, "user", "us_3"); fault != "" || reply != want || b.was() != "toke2-1 e2-1 user/us_3; toke2-1 e2-1 user/us_3" || d.was() != "send" {
			t.Fatalf("%+v %s", reply, fault)
		}
	}
	n.hears(t, "exit e2-1")
	if err := q.Leave(t.Context(), "acc_1", "e2-1", "toke2-1", "sent"); err != nil {
		t.Fatal(err)
	}
	b.says = session.Sent{EntryID: "e2-1", Done: true}
	if reply, fault := send("e2-1", "", "user", "us_3"); fault != "" || reply != want || b.was() != "toke2-1 e2-1 user/us_3 looked up" {
		t.Errorf("he is there: %+v %s", reply, fault)
	}
	want.EntryID, want.Token = "e9-1", "e9" // the desk knows it no more: a session is named by its places
	b.says.EntryID = "e9-1"
	if reply, fault := send("e9-1", "", "user", "us_3"); fault != "" || reply != want || b.was() != "e9 e9-1 user/us_3 looked up" {
		t.Errorf("he is there for long: %+v %s", reply, fault)
	}
	b.says = session.Sent{Code: brain.ENotFound}
	if _, fault := send("e2-1", "", "user", "us_3"); !strings.HasPrefix(fault, string(brain.ENotFound)+`: there is no caller "e2-1"`) {
		t.Errorf("his call is over: %s", fault)
	}
}

// What cannot be is refused, and what the queue does not allow any more is taken back from the session.
func TestSend_IsRefused(t *testing.T) {
	q, d, b, _ := crowd(t)
	send := func(entry, kind, id string) string {
		_, err := q.Send(t.Context(), "acc_1", &api.SendRequest{EntryID: entry, Target: api.TransferTarget{Kind: kind, ID: id}})
		return code(err)
	}
	for _, row := range [][4]string{{"e1-1", "user", "us_9", string(brain.ENotFound)}, {"e1-1", "pstn", "+49", string(brain.EInvalid)},
		{"e1-1", "queue", "q_1", string(brain.EConflict)}, {"nobody", "user", "us_3", string(brain.ENotFound)}} {
		if got := send(row[0], row[1], row[2]); !strings.HasPrefix(got, row[3]) || b.was() != "" {
			t.Errorf("%v: %s", row, got)
		}
	}
	if d.was() != "send" { // whether nobody has left so, and by which call
		t.Error("what the desk was asked")
	}
	for _, says := range []session.Sent{{Code: brain.ENotFound, Why: "over"}, {Code: brain.EConflict, Why: "elsewhere"}} {
		if b.says = says; send("e1-1", "user", "us_3") != string(says.Code)+": "+says.Why || d.was() != "" {
			t.Errorf("%+v: the queue is asked", says)
		}
	}
	b.says, b.none, b.asked = session.Sent{}, true, nil
	if got := send("e1-1", "user", "us_3"); !strings.HasPrefix(got, string(brain.ENotFound)) {
		t.Errorf("no session: %s", got)
	}
	b.none, b.fail = false, brain.Errorf(brain.EUnavailable, "no owner")
	if got := send("e1-1", "user", "us_3"); !strings.HasPrefix(got, string(brain.EUnavailable)) || d.was() != "" {
		t.Errorf("nobody can be asked: %s", got)
	}
	b.fail, b.asked = nil, nil
	d.register(t, "us_1")
	mustAct(t, q, "us_1", "login")
	states, err := q.States(t.Context(), "acc_1", "q_1", 0, 0, true)
	if err != nil || states[0].Entries[0].State != "offering" {
		t.Fatalf("%+v %v", states, err)
	}
	b.then = &session.Sent{Code: brain.EConflict, Why: "elsewhere"}
	if got := send("e2-1", "user", "us_3"); got != string(brain.EConflict)+": elsewhere" || b.was() != "toke2-1 e2-1 user/us_3; toke2-1 e2-1 user/us_3" {
		t.Errorf("another one sends him meanwhile: %s", got)
	}
	b.then = nil
	b.hook = func() {
		if err := q.Leave(t.Context(), "acc_1", "e3-1", "toke3-1", "abandoned"); err != nil {
			t.Error(err)
		}
	}
	if got := send("e3-1", "user", "us_3"); !strings.HasPrefix(got, string(brain.ENotFound)) || b.was() != "toke3-1 e3-1 user/us_3" {
		t.Errorf("he hangs up meanwhile: %s", got)
	}
	b.hook = nil
	offers, _, err := q.Join(t.Context(), "acc_1", anna("e1-1"))
	if err != nil || len(offers.Offers) != 1 {
		t.Fatalf("%+v %v", offers, err)
	}
	o := offers.Offers[0]
	if v, err := q.Claim(t.Context(), &api.Claim{AccountID: "acc_1", ReservationID: o.ReservationID, Fence: o.Fence}); err != nil || !v.Granted {
		t.Fatalf("%+v %v", v, err)
	}
	if got := send("e1-1", "user", "us_3"); got != string(brain.EConflict)+": caller e1-1 is with an agent" ||
		b.was() != "toke1-1 e1-1 user/us_3; toke1-1 e1-1 user/us_3 withdrawn" {
		t.Errorf("an agent has answered: %s", got)
	}
	if _, err := q.Move(t.Context(), "acc_1", &api.MoveRequest{EntryID: "e1-1", Place: 3}); brain.CodeOf(err) != brain.EConflict {
		t.Errorf("moved then: %v", err)
	}
}

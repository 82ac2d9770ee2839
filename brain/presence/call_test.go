package presence

import (
	"fmt"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// admission is a call of user u1 to user u2 that asked at second 50, with limits of the account and of u1.
func admission(token, callID, node string) Admit {
	return Admit{From: "1001", To: "1002", CallerUser: "u1", CalleeUser: "u2", Call: cac.Call{Token: token, CallID: callID, Node: node, AskedMS: 50_000,
		Takes: []cac.Take{{Kind: cac.Internal, Limit: 10}, {Kind: cac.User, ID: "u1", Limit: 3}, {Kind: cac.Node, ID: node}}}}
}

func ask(t testing.TB, m *Machine, a Admit) (cac.Verdict, bool) {
	t.Helper()
	reply, changed := do(t, m, nowMS, AppendAdmit(nil, &a))
	v, err := ReadVerdict(reply)
	if err != nil {
		t.Fatal(err)
	}
	return v, changed
}

// slots prints the tokens that have a place.
func slots(m *Machine) string {
	out := ""
	for _, s := range m.ledger.Slots() {
		out += s.Token + " "
	}
	return out
}

// event makes a dialog event of a token at a second of the clock.
func event(sec int64, typ, token, callID string) api.Event {
	return api.Event{Type: typ, TimeMS: sec * 1000, AccountID: "acc_1", Token: token, CallID: callID}
}

// Proves how a call's place follows the edge: each row is a story and the places that are left.
func TestMachine_PlacesFollowTheCalls(t *testing.T) {
	start, end, failed := api.EventDialogStart, api.EventDialogEnd, api.EventDialogFailed
	rows := []struct {
		name   string
		asked  []string // tokens, before the events
		events []api.Event
		after  []string // tokens asked after the events
		want   string
	}{
		{"admitted", []string{"t1"}, nil, nil, "t1 "},
		{"asked twice", []string{"t1", "t1"}, nil, nil, "t1 "},
		{"ended", []string{"t1"}, []api.Event{event(51, start, "t1", "c"), event(52, end, "t1", "c")}, nil, ""},
		{"never answered", []string{"t1"}, []api.Event{event(52, failed, "t1", "c")}, nil, ""},
		{"ended without its dialog", []string{"t1"}, []api.Event{event(52, end, "t1", "")}, nil, ""},
		{"ended by call id alone", []string{"t1"}, []api.Event{event(51, start, "t1", "c"), event(52, end, "", "c")}, nil, ""},
		{"failed by call id alone", []string{"t1"}, []api.Event{event(52, failed, "", "c")}, nil, ""},
		{"an older attempt failed", []string{"t1"}, []api.Event{event(49, failed, "", "c")}, nil, "t1 "},
		{"end before the answer", []string{"t1"}, []api.Event{event(52, end, "t1", "c"), event(51, start, "t1", "c")}, nil, ""},
		{"end by a clock that was set back", []string{"t1"}, []api.Event{event(51, start, "t1", "c"), event(40, end, "t1", "c")}, nil, ""},
		{"asked again after its end", []string{"t1"}, []api.Event{event(52, end, "t1", "c")}, []string{"t1"}, ""},
		{"end before the question", nil, []api.Event{event(52, failed, "t1", "c")}, []string{"t1"}, ""},
		{"answered and not known", nil, []api.Event{event(51, start, "t1", "c")}, nil, "t1 "},
		{"answered, then asked late", nil, []api.Event{event(51, start, "t1", "c")}, []string{"t1"}, "t1 "},
		{"second attempt", []string{"t1", "t2"}, []api.Event{event(52, failed, "t1", "c"), event(53, start, "t2", "c")}, nil, "t2 "},
		{"first attempt fails late", []string{"t1", "t2"}, []api.Event{event(53, start, "t2", "c"), event(54, failed, "t1", "c")}, nil, "t2 "},
		{"two attempts are up", []string{"t1", "t2"}, []api.Event{event(53, start, "t1", "c"), event(54, start, "t2", "c")}, nil, "t1 t2 "},
		{"a token of another call", []string{"t1"}, []api.Event{event(53, start, "t1", "other")}, nil, "t1 "},
	}
	for _, row := range rows {
		m := New("acc_1")
		for _, token := range row.asked {
			ask(t, m, admission(token, "c", "n1"))
		}
		for _, ev := range row.events {
			tell(t, m, "n1", ev)
			check(t, m)
		}
		for _, token := range row.after {
			ask(t, m, admission(token, "c", "n1"))
		}
		if got := slots(m); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		check(t, m)
	}
}

// Proves that a refusal names its dimension and takes nothing, and that a release makes room again.
func TestMachine_RefusesAtTheLimit(t *testing.T) {
	m := New("acc_1")
	for i := range 3 {
		if v, changed := ask(t, m, admission(fmt.Sprint("t", i), fmt.Sprint("c", i), "n1")); !v.Admitted || !changed {
			t.Fatalf("call %d: %+v", i, v)
		}
	}
	v, changed := ask(t, m, admission("t3", "c3", "n1"))
	if want := (cac.Verdict{Kind: cac.User, ID: "u1", Limit: 3, Used: 3}); v.Admitted || changed || fmt.Sprint(v) != fmt.Sprint(want) {
		t.Fatalf("%+v, want %+v", v, want)
	}
	reply, changed := do(t, m, nowMS, AppendRelease(nil, []string{"t1", "t1", "nobody"}, WhyReset))
	if n, err := ReadReleased(reply); n != 1 || err != nil || !changed {
		t.Fatalf("released %d: %v", n, err)
	}
	if v, _ := ask(t, m, admission("t3", "c3", "n1")); !v.Admitted {
		t.Fatalf("no room after a release: %+v", v)
	}
	if v, changed := ask(t, m, admission("t1", "c1", "n1")); v.Admitted || changed || v.Kind != 0 {
		t.Fatalf("a released token: %+v", v)
	}
	check(t, m)
}

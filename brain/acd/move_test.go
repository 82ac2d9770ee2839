package acd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// moves puts a caller at a place and gives the place he has then, or why not.
func (o *office) moves(id string, place int) string {
	o.t.Helper()
	now, why, err := ReadMoved(o.apply(AppendMove(nil, id, place)))
	if err != nil {
		o.t.Fatal(err)
	}
	return strings.TrimSpace(fmt.Sprint(now, " ", why))
}

// order is who stands in line in queue q.
func (o *office) order() string {
	var ids []string
	for _, e := range o.d.Queues(o.now, 0, 0, true)[0].Entries {
		if e.Position > 0 {
			ids = append(ids, e.EntryID)
		}
	}
	return strings.Join(ids, " ")
}

// crowd is a queue without agents in which these wait, all since the same moment.
func crowd(t *testing.T, ids ...string) *office {
	t.Helper()
	q := lineup(LongestIdle)
	q.PriorityAgeMS = 10_000
	o := open(t, &Setup{Queues: []Queue{q}})
	for _, id := range ids {
		o.join(id)
	}
	return o
}

// Proves that whoever is moved stands where he was put, and all others as before: from each place to each, though all have come at
// the same moment, again and again, and also in a desk that was restored in between.
func TestMove_FromEachPlaceToEach(t *testing.T) {
	o := crowd(t, "a", "b", "c", "d", "e")
	for range 2 {
		for from := range 5 {
			for to := range 6 {
				line := strings.Fields(o.order())
				id := line[from]
				rest := append(append([]string{}, line[:from]...), line[from+1:]...)
				at := min(to, 4)
				want := strings.Join(append(append(append([]string{}, rest[:at]...), id), rest[at:]...), " ")
				if got := o.moves(id, to+1); got != fmt.Sprint(at+1) || o.order() != want {
					t.Fatalf("%v: %s to %d: told %s, now %s", line, id, to+1, got, o.order())
				}
			}
			again, err := Restore(o.d.AppendSnapshot(nil))
			if err != nil || !bytes.Equal(again.AppendSnapshot(nil), o.d.AppendSnapshot(nil)) {
				t.Fatal("restored: ", err)
			}
			o.d = again
		}
	}
	if _, changed, _ := o.d.Apply(o.now, AppendMove(nil, strings.Fields(o.order())[2], 3)); changed {
		t.Error("a move to where he stands is written down")
	}
}

// Proves that a place keeps what it is worth: who was put before a caller of a high priority stays there while both wait, those of
// a lower one stay behind him, and who comes with a higher one goes before both.
func TestMove_TheRankOfWhoStoodThere(t *testing.T) {
	o := crowd(t, "plain")
	o.pass(1)
	o.join("other")
	o.join("vip", func(j *Join) { j.Priority = 5 })
	if got := o.order(); got != "vip plain other" || o.moves("other", 1) != "1" {
		t.Fatal(got)
	}
	for range 5 {
		o.pass(7)
		if got := o.order(); got != "other vip plain" {
			t.Fatalf("after %d s: %s", (o.now-base)/1000, got)
		}
	}
	o.join("boss", func(j *Join) { j.Priority = 50 })
	if got := o.order(); got != "boss other vip plain" {
		t.Errorf("who comes with a higher priority: %s", got)
	}
	if o.moves("boss", 4); o.order() != "other vip plain boss" {
		t.Errorf("moved down: %s", o.order())
	}
	if q := o.d.Queues(o.now, 0, 0, true)[0]; q.LongestMS != 36_000 || q.Entries[0].Priority != 0 || q.Entries[3].Priority != 50 {
		t.Errorf("what is shown of them: %+v", q)
	}
}

// Proves that a caller whose session lapsed gets the place back to which he was moved, and that nobody is moved who cannot be.
func TestMove_OutlivesALapse(t *testing.T) {
	o := crowd(t, "a", "b", "c")
	o.moves("c", 1)
	o.leave("c", LeftFailed)
	o.pass(5)
	if o.join("c"); o.order() != "c a b" {
		t.Errorf("he comes back: %s", o.order())
	}
	if got := o.moves("nobody", 1); got != "0 unknown" {
		t.Errorf("nobody: %s", got)
	}
	o.verdict(AppendSend(nil, "a"))
	if got := o.moves("a", 1); got != "0 leaving" {
		t.Errorf("who leaves: %s", got)
	}
	for _, op := range [][]byte{AppendMove(nil, "a", 0), AppendMove(nil, "a", -3), AppendMove(nil, strings.Repeat("x", maxText+1), 1)} {
		if _, _, err := o.d.Apply(o.now, op); err == nil {
			t.Errorf("%q is taken", op)
		}
	}
}

// Proves that a send which was granted holds: he cannot keep his place for a callback, and one whose session lapses before he has
// gone is told to go when he comes back, also by a desk that was restored and when his queue is deleted; he counts once, as sent.
func TestSend_OutlivesALapse(t *testing.T) {
	for _, outcome := range []string{LeftFailed, LeftAnswered} {
		o := crowd(t, "a", "b")
		if got := o.verdict(AppendSend(nil, "a")); got != "granted" {
			t.Fatal(got)
		}
		if got := o.keep("a"); got != WhyLeaving {
			t.Errorf("he is to be called back: %s", got)
		}
		o.leave("a", outcome)
		o.leave("b", outcome)
		again, err := Restore(o.d.AppendSnapshot(nil))
		if err != nil || !bytes.Equal(again.AppendSnapshot(nil), o.d.AppendSnapshot(nil)) {
			t.Fatal("restored: ", err)
		}
		o.d = again
		o.pass(5)
		if got := o.join("a"); got != "exit sent" {
			t.Errorf("%s, he comes back: %s", outcome, got)
		}
		if got := o.join("b"); got != "1" {
			t.Errorf("%s, who was not sent comes back: %s", outcome, got)
		}
		if f := o.d.Queues(o.now, 0, 0, false)[0].Figures; f.Sent != 1 || f.Offered != 3 {
			t.Errorf("%+v", f)
		}
		o.apply(AppendSetup(nil, &Setup{Version: 2}))
		if got := o.join("a"); got != "exit sent" {
			t.Errorf("%s, his queue is deleted: %s", outcome, got)
		}
	}
}

// Proves that the desk tells by which call somebody has left who was sent, also after it was restored, that this changes nothing, and
// that to look does not send who waits.
func TestSend_TellsByWhichCall(t *testing.T) {
	o := crowd(t, "a", "b")
	look := func(id string) Verdict {
		t.Helper()
		reply, changed, err := o.d.Apply(o.now, AppendSent(nil, id))
		v, fault := ReadVerdict(reply)
		if err != nil || fault != nil || changed {
			t.Fatal(err, fault, changed)
		}
		return v
	}
	if v := look("a"); v.Granted {
		t.Errorf("he waits: %+v", v)
	}
	o.verdict(AppendSend(nil, "a"))
	if v := look("a"); v.Granted {
		t.Errorf("he is there yet: %+v", v)
	}
	o.d.entries["a"].token = "tback" // as of a call that was made to him
	o.leave("a", LeftSent)
	o.leave("b", LeftAbandoned)
	for range 2 {
		if v := look("a"); v != (Verdict{Granted: true, Token: "tback"}) {
			t.Errorf("he has left: %+v", v)
		}
		if v := look("b"); v.Granted || v.Token != "" {
			t.Errorf("who has hung up: %+v", v)
		}
		again, err := Restore(o.d.AppendSnapshot(nil))
		if err != nil {
			t.Fatal(err)
		}
		o.d = again
	}
}

// Proves what a supervisor's logout of an agent ends, and what not: an answered call becomes a talk, which goes on without work
// after it; work after a call is over at once.
func TestLogout_LeavesNobodyStuck(t *testing.T) {
	for at, row := range map[string]struct{ now, then string }{
		"answered": {"offline offering offline", "offline in_call incall"},
		"wraps up": {"offline waiting offline", "offline waiting offline"},
	} {
		q := lineup(TopDown)
		q.WrapUpMS = 600_000
		o := open(t, &Setup{Queues: []Queue{q}, Agents: staff("q", "anna")})
		o.join("x")
		if at == "answered" {
			o.claim("anna/x")
		} else {
			o.talk("anna/x")
			o.leave("x", LeftAnswered)
		}
		if o.agent("anna", ActionLogout); o.show("anna") != row.now {
			t.Errorf("%s: %s", at, o.show("anna"))
		}
		if at == "answered" && o.confirm("anna/x") != "granted" || o.show("anna") != row.then {
			t.Errorf("%s, then: %s", at, o.show("anna"))
		}
		o.leave("x", LeftAnswered)
		if o.show("anna") != "offline waiting offline" {
			t.Errorf("%s, at last: %s", at, o.show("anna"))
		}
	}
}

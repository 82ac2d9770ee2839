package session

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// sends has a supervisor send the caller of a place elsewhere.
func (s *stage) sends(entryID, target string, withdraw bool) *Sent {
	s.t.Helper()
	kind, id, _ := strings.Cut(target, "/")
	r := s.ask(&Request{Send: &Send{EntryID: entryID, Target: brain.RouteTarget{Kind: brain.DestKind(kind), ID: id}, Withdraw: withdraw}})
	if r.Sent == nil {
		s.t.Fatal("no answer to a send")
	}
	return r.Sent
}

func exited(exit string) map[string]string { return map[string]string{"exit": exit} }

func TestSend_TheCallerGetsThereWhenHisQueueLetsHimGo(t *testing.T) {
	// Proves for each kind of target that he waits on at first, leaves his queue as sent then and nothing else, and that the same send
	// is answered alike before and after, while another one is refused once he is there.
	for target, command := range map[string]string{"user/us_2": api.CommandDial, "queue/q_plain": api.CommandEnqueue, "voicemail/vm_2": api.CommandPlay,
		"flow/flow_2": api.CommandPlay, "conference/conf_open": api.CommandConference} {
		s := waiting(t)
		seq, place := s.last.Seq, s.last.Enqueue.EntryID
		first := s.sends(place, target, false)
		for range 2 { // by two at once: the first word counts, and the other one's is not taken back with it
			if other := s.sends(place, "queue/q_tape", false); other.Code != brain.EConflict || other.Done {
				t.Fatalf("%s: another target: %+v", target, other)
			}
			s.sends(place, "queue/q_tape", true)
		}
		if again := s.sends(place, target, false); *again != *first || first.Code != "" || first.Done || s.last.Seq != seq || s.last.Command != api.CommandEnqueue {
			t.Fatalf("%s: %+v, again %+v, then %s %d", target, first, again, s.last.Command, s.last.Seq)
		}
		r := s.outcome(api.OutcomeExit, exited("sent"))
		if r.Command != command || left(r) != place+":sent " {
			t.Fatalf("%s: %s %+v, left %s", target, r.Command, r.Params, left(r))
		}
		if again := s.sends(place, target, false); !again.Done || again.Code != "" || again.EntryID != place {
			t.Errorf("%s: asked again when he is there: %+v", target, again)
		}
		if again := s.sends("", target, false); !again.Done || again.EntryID != place {
			t.Errorf("%s: asked again without the place: %+v", target, again)
		}
		if again := s.sends(place, "user/us_3", false); again.Code != brain.EConflict {
			t.Errorf("%s: sent elsewhere when he is there: %+v", target, again)
		}
	}
}

func TestSend_WhoIsNotThereEndsTheCall(t *testing.T) {
	// Proves that nobody is called back when the user does not answer: nobody has transferred.
	s := waiting(t)
	s.sends(s.last.Enqueue.EntryID, "user/us_2", false)
	s.outcome(api.OutcomeExit, exited("sent"))
	if r := s.outcome(api.OutcomeNoAnswer, nil); r.Command != api.CommandHangup || r.Params.SIPCode != 480 {
		t.Errorf("not answered: %+v", r)
	}
}

func TestSend_IsNotTaken(t *testing.T) {
	// Proves that a place which is not his (any more) is refused, that a send which is taken back or overtaken by another exit sends
	// him nowhere, and that a word of his queue that he was sent ends the call when nobody has said where.
	s := waiting(t)
	place := s.last.Enqueue.EntryID
	for _, other := range []string{"", "tok9-1"} {
		if said := s.sends(other, "user/us_2", false); said.Code != brain.ENotFound {
			t.Errorf("place %q: %+v", other, said)
		}
	}
	look := Send{EntryID: place, Target: brain.RouteTarget{Kind: brain.DestUser, ID: "us_2"}, Look: true}
	if before := string(s.m.image); s.ask(&Request{Send: &look}).Sent.Code != brain.ENotFound || string(s.m.image) != before {
		t.Error("to look whether he was sent sends him")
	}
	s.sends(place, "user/us_2", false)
	s.sends(place, "user/us_2", true)
	if r := s.outcome(api.OutcomeExit, exited("sent")); r.Command != api.CommandHangup || left(r) != place+":failed " {
		t.Errorf("taken back: %+v", r)
	}
	s = waiting(t)
	s.sends(s.last.Enqueue.EntryID, "user/us_2", false)
	if r := s.outcome(api.OutcomeExit, exited("timeout")); r.Command != api.CommandPlay || s.sends(place, "user/us_2", false).Code != brain.ENotFound {
		t.Errorf("overtaken by a timeout: %+v", r)
	}
	s = waiting(t)
	s.sends(s.last.Enqueue.EntryID, "user/us_2", false)
	if r := s.outcome(api.OutcomeAnswered, talked); r.Command != api.CommandHangup || left(r) != place+":answered " {
		t.Errorf("overtaken by an agent: %+v", r)
	}
}

func TestSend_AndACallback(t *testing.T) {
	// Proves that nobody is sent while he is asked where to be called, nor once he has agreed; and that one who was sent a moment before he
	// pressed the key is not called back but asks for his place again, which tells him to go.
	yes := map[string]string{"digits": "1"}
	s := wishing(t, "1")
	place := s.last.Entry
	if said := s.sends(place, "user/us_2", false); said.Code != brain.EConflict {
		t.Errorf("while he is asked: %+v", said)
	}
	if r := s.outcome(api.OutcomeDigits, yes); r.Command != api.CommandPlay {
		t.Fatalf("he agrees: %+v", r)
	}
	if said := s.sends(place, "user/us_2", false); said.Code != brain.EConflict {
		t.Errorf("once he has agreed: %+v", said)
	}
	if r := s.outcome(api.OutcomeDone, nil); of(r) != "queue_callback 102" {
		t.Errorf("he is called back: %s", of(r))
	}
	for _, key := range []string{"0", "1"} {
		s = newStage(t)
		s.start("queue/q_call", map[string]string{"caller_number": "102", "direction": "internal"})
		place = s.outcome(api.OutcomeDone, nil).Entry
		s.sends(place, "user/us_2", false)
		r := s.outcome(api.OutcomeDigit, map[string]string{"digit": key})
		if key == "1" {
			if said := s.sends(place, "user/us_2", false); said.Code != "" || said.Done {
				t.Errorf("the same while he is asked: %+v", said)
			}
			r = s.outcome(api.OutcomeDigits, yes)
		}
		if r.Enqueue == nil || r.Enqueue.EntryID != place || of(r) != "" {
			t.Fatalf("key %s: he goes on with %s %+v, %s", key, r.Command, r.Enqueue, of(r))
		}
		if r := s.ask(&Request{Result: &Result{Turn: r.Turn, Outcome: api.OutcomeExit, Data: exited("sent")}}); r.Command != api.CommandDial {
			t.Errorf("key %s: his place tells him to go: %+v", key, r)
		}
	}
}

func TestSend_HoldsThroughALapse(t *testing.T) {
	// Proves that a caller who was sent and whose node was cut off goes there when it comes back, since his place tells him to.
	s := waiting(t)
	place, seq := s.last.Enqueue.EntryID, s.last.Seq
	s.sends(place, "user/us_2", false)
	s.lapse()
	s.last.Seq = seq
	q := s.question("", nil)
	q.Start = &api.FlowStart{TargetKind: "queue", TargetID: "q_sales", Channel: "ch-1"}
	if r := s.ask(&Request{Flow: q}); r.Enqueue == nil || r.Enqueue.EntryID != place {
		t.Fatalf("revived: %+v", r)
	}
	if r := s.ask(&Request{Result: &Result{Turn: s.last.Turn, Outcome: api.OutcomeExit, Data: exited("sent")}}); r.Command != api.CommandDial {
		t.Errorf("his place tells him to go: %+v", r)
	}
	if said := s.sends(place, "user/us_2", false); !said.Done {
		t.Errorf("the same again: %+v", said)
	}
}

func TestSendTarget_FindsWhatIsOfTheAccount(t *testing.T) {
	// Proves which targets there are, by id and by name, and that the others are refused with a word that says which field is wrong.
	acct := *newStage(t).env.Account
	acct.Flows = map[string]*brain.CallFlow{"flow_2": {ID: "flow_2", Name: "other", Version: 1}, "flow_3": {ID: "flow_3", Name: "draft"}}
	for want, found := range map[string]string{"queue q_plain": "queue q_plain", "queue plain": "queue q_plain", "user us_2": "user us_2",
		"voicemail vm_2": "voicemail vm_2", "flow flow_2": "flow flow_2", "flow other": "flow flow_2", "conference conf_open": "conference conf_open",
		"queue sales": "target.id", "queue nowhere": "target.id", "user nobody": "target.id", "voicemail none": "target.id", "flow none": "target.id", "flow draft": "target.id",
		"number 00000": "target.id", "pstn +4930": "target.kind", "hangup 486": "target.kind", " x": "target.kind"} {
		kind, id, _ := strings.Cut(want, " ")
		target, err := SendTarget(&acct, "q_sales", api.TransferTarget{Kind: kind, ID: id})
		got := string(target.Kind) + " " + target.ID
		if err != nil {
			got = err.(*brain.Error).Fields[0].Path
		}
		if got != found {
			t.Errorf("%s: %s, want %s", want, got, found)
		}
	}
	for id, token := range map[string]string{"tok-1-17": "tok-1", "tok": "", "": ""} {
		if got := EntryToken(id); got != token {
			t.Errorf("%q is of %q, want %q", id, got, token)
		}
	}
}

package session

import (
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// lapse lets the lease of the call run out, and its end be told.
func (s *stage) lapse() {
	s.t.Helper()
	at, _ := s.m.Deadline()
	s.now = at
	s.apply(s.m.Due(at))
	r := s.ask(&Request{})
	if !r.Over || len(r.Effects) == 0 {
		s.t.Fatalf("lapsed it says %+v", r)
	}
	s.ask(&Request{Done: r.Turn})
	s.now += 30 * 60_000
}

// kinds are the effects of a reply.
func kinds(r Reply) (list string) {
	for _, e := range r.Effects {
		list += e.Kind + " "
	}
	return list
}

func TestSession_LapsedTakesWhatItsNodeBrings(t *testing.T) {
	// Proves that a node which was cut off for longer than the lease loses nothing: the message that its caller spoke meanwhile is stored,
	// whether he has hung up (also when only an orphan's end is told, with seq 0) or goes on; a menu goes on where it was.
	message := map[string]string{"duration_ms": "2000", "bytes": "32000", "sha256": "ab"}
	for name, c := range map[string]struct {
		outcome, command, effects string
		seq                       int64
	}{
		"hung up": {api.OutcomeHangup, api.CommandNoop, "message_stored notify ended ", 2}, "goes on": {api.OutcomeRecorded, api.CommandPlay, "message_stored notify ", 2},
		"an orphan": {api.OutcomeHangup, api.CommandNoop, "message_stored notify ended ", 0},
	} {
		s := newStage(t)
		s.start("voicemail/vm_2", nil)
		message["key"] = s.outcome(api.OutcomeDone, nil).Params.Key
		s.lapse()
		q := s.question(c.outcome, message)
		q.Seq = c.seq
		r := s.ask(&Request{Flow: q})
		if r.Command != c.command || kinds(r) != c.effects || r.Over != (c.command == api.CommandNoop) {
			t.Errorf("%s: it says %s, effects %s, over %v", name, r.Command, kinds(r), r.Over)
		}
		if again := s.ask(&Request{Flow: q}); again.Seq != r.Seq || kinds(again) != c.effects {
			t.Errorf("%s: told again it says %+v", name, again)
		}
	}
	s := menu(t)
	s.lapse()
	if r := s.outcome(api.OutcomeDigits, digit("1")); r.Over || r.Seq != 2 || r.Command != api.CommandPlay {
		t.Errorf("the menu goes on with %+v", r)
	}
}

func TestSession_LapsedIsRevivedByItsChannelOnly(t *testing.T) {
	// Proves what revives: the same channel's question and an old seq of it, with the current command and a lease of its own again; a word
	// of a channel before it does not; another channel begins anew, without a second end. Effects that nobody performed are not lost.
	s := menu(t)
	s.outcome(api.OutcomeDigits, digit("1")) // seq 2
	s.lapse()
	q := s.question(api.OutcomeTimeout, nil)
	q.Seq = 7
	if r := s.ask(&Request{Flow: q}); !r.Over {
		t.Error("a seq that was never given revives it")
	}
	q.Seq = 1
	if r := s.ask(&Request{Flow: q}); r.Over || r.Seq != 2 || r.Command != api.CommandPlay {
		t.Errorf("an old seq: %+v", r)
	}
	if at, ok := s.m.Deadline(); !ok || at != s.now+leaseMS {
		t.Errorf("revived it lives until %d; want %d", at, s.now+leaseMS)
	}
	at, _ := s.m.Deadline()
	s.now = at
	s.apply(s.m.Due(at)) // nobody has performed its effect
	start := s.question("", nil)
	start.Start = &api.FlowStart{TargetKind: "flow", TargetID: "flow_1", Channel: "ch-1"}
	if r := s.ask(&Request{Flow: start}); r.Over || r.Seq != 2 || kinds(r) != "ended " {
		t.Errorf("its channel: %+v", r)
	}
	s.lapse()
	start.Start.Channel = "ch-2"
	if r := s.ask(&Request{Flow: start}); r.Over || r.Seq != 3 || kinds(r) != "" {
		t.Errorf("another channel: %+v", r)
	}
	q.Seq = 2
	before := string(s.m.image)
	if s.ask(&Request{Flow: q}); string(s.m.image) != before {
		t.Error("the first channel still has a say")
	}
}

func TestSession_LapsedIsKeptWhileANodeNamesIt(t *testing.T) {
	// Proves that the hour counts from the node's last word: a conversation that outlasts it brings its recording all the same.
	s := menu(t)
	s.lapse()
	s.m.Renew(s.now)
	if at, _ := s.m.Deadline(); at != s.now+lapsedMS {
		t.Errorf("kept until %d; want %d", at, s.now+lapsedMS)
	}
	s.now += lapsedMS
	if s.m.Due(s.now-1) != nil || s.m.Due(s.now) == nil {
		t.Error("it is not forgotten then")
	}
}

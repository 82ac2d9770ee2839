package session

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// waiting begins a call that waits in a queue.
func waiting(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	if r := s.start("queue/q_sales", map[string]string{"caller_number": "4930333"}); r.Command != api.CommandEnqueue || r.Enqueue == nil {
		t.Fatalf("it begins with %+v", r)
	}
	return s
}

// left lists how places were left.
func left(r Reply) (list string) {
	for _, e := range r.Effects {
		if e.Kind == EffectQueueLeft {
			list += e.EntryID + ":" + e.Outcome + " "
		}
	}
	return list
}

func TestEnqueue_RepeatedQuestionsAskForTheSamePlace(t *testing.T) {
	// Proves that the current command is given with the same place however often it is asked for, and changes nothing.
	s := waiting(t)
	want := s.last.Enqueue
	for range 3 {
		op, r := s.m.Decide(s.now, s.env, &Request{Flow: s.question("", nil)})
		if op != nil || !reflect.DeepEqual(r.Enqueue, want) || want.SinceMS != 0 || want.CallerNumber != "4930333" {
			t.Errorf("asked again: record %v, %+v", op != nil, r.Enqueue)
		}
	}
}

func TestEnqueue_LapsedComesBackToItsPlace(t *testing.T) {
	// Proves that a call whose node was cut off gives its place back, and that the node's next word asks for the very place with its
	// age, without giving it back once more, whether anybody has performed what the lapse left or not; and that a hang-up then leaves it.
	for name, performed := range map[string]bool{"performed": true, "not performed": false} {
		s := waiting(t)
		entry, since := s.last.Enqueue.EntryID, s.now
		at, _ := s.m.Deadline()
		s.now = at
		s.apply(s.m.Due(at))
		r := s.ask(&Request{})
		if r.Enqueue != nil || left(r) != entry+":failed " || kinds(r) != "queue_left ended " {
			t.Fatalf("%s: lapsed it says %+v", name, r)
		}
		if performed {
			s.ask(&Request{Done: r.Turn})
		}
		s.now += 20 * 60_000
		for range 2 {
			r = s.ask(&Request{Flow: s.question("", nil)})
			if r.Enqueue == nil || r.Enqueue.EntryID != entry || r.Enqueue.SinceMS != since || left(r) != "" {
				t.Errorf("%s: revived it says %+v", name, r)
			}
		}
		if r := s.outcome(api.OutcomeHangup, nil); left(r) != entry+":abandoned " {
			t.Errorf("%s: hung up it leaves %s", name, left(r))
		}
	}
}

func TestEnqueue_LapsedMayEndMeanwhile(t *testing.T) {
	// Proves what a node brings that was cut off: the end of the talk, and a hang-up that only an orphan's end tells.
	s := waiting(t)
	s.lapse()
	if r := s.outcome(api.OutcomeAnswered, map[string]string{"talk_ms": "9000"}); left(r) != "tok1-1:answered " || r.Command != api.CommandHangup {
		t.Errorf("a talk: %+v", r)
	}
	s = waiting(t)
	s.lapse()
	q := s.question(api.OutcomeHangup, nil)
	q.Seq = 0
	if r := s.ask(&Request{Flow: q}); left(r) != "tok1-1:abandoned " || !r.Over {
		t.Errorf("an orphan: %+v", r)
	}
}

func TestEnqueue_AnotherChannelGivesThePlaceBack(t *testing.T) {
	// Proves that a call which begins anew leaves the queue it was in, and that its new place is another one.
	s := waiting(t)
	q := s.question("", nil)
	q.Start = &api.FlowStart{TargetKind: "queue", TargetID: "q_plain", Channel: "ch-2"}
	r := s.ask(&Request{Flow: q})
	if left(r) != "tok1-1:failed " || r.Enqueue == nil || r.Enqueue.EntryID != "tok1-2" {
		t.Errorf("the second channel gets %+v", r)
	}
}

func TestEnqueue_HangupBeforeTheReplyKeepsWhatWasToBeDone(t *testing.T) {
	// Proves that the end of a call that is told of an older command, whose reply may never have left, does not lose that the place was
	// given back; told of the current one it does not give it back once more.
	for seq, want := range map[int64]string{0: "tok1-1:option ", 1: "tok1-1:option ", 2: ""} {
		s := waiting(t)
		s.outcome(api.OutcomeDigit, map[string]string{"digit": "1"})
		q := s.question(api.OutcomeHangup, nil)
		q.Seq = seq
		if r := s.ask(&Request{Flow: q}); left(r) != want || !r.Over {
			t.Errorf("seq %d leaves %q, over %v", seq, left(r), r.Over)
		}
	}
}

func TestEnqueue_ARefusalOfAnotherTurnIsNotTaken(t *testing.T) {
	// Proves that a place which was refused too late, or something that is no refusal, moves nothing.
	s := waiting(t)
	turn := s.last.Turn
	for name, result := range map[string]*Result{"another turn": {Turn: turn + 1, Outcome: api.OutcomeExit}, "no refusal": {Turn: turn, Outcome: "success"}} {
		if op, _ := s.m.Decide(s.now, s.env, &Request{Result: result}); op != nil {
			t.Errorf("%s is taken", name)
		}
	}
	s.outcome(api.OutcomeDigit, map[string]string{"digit": "2"}) // a prompt plays
	for _, turn := range []int64{turn, s.last.Turn} {
		if op, _ := s.m.Decide(s.now, s.env, &Request{Result: &Result{Turn: turn, Outcome: api.OutcomeExit}}); op != nil {
			t.Error("a refusal is taken while a prompt plays")
		}
	}
}

func TestEnqueue_GoesOnAsTheConfigurationIsNow(t *testing.T) {
	// Proves that a queue that was deleted ends the waiting, and a key that was deleted does nothing.
	s := waiting(t)
	delete(s.env.Account.QueueOptions["q_sales"], "1")
	if r := s.outcome(api.OutcomeDigit, map[string]string{"digit": "1"}); r.Command != api.CommandEnqueue || strings.Contains(r.Params.BargeIn, "1") || r.Enqueue.EntryID != "tok1-1" {
		t.Errorf("a key that is gone: %+v", r)
	}
	delete(s.env.Account.Queues, "q_sales")
	if r := s.outcome(api.OutcomeExit, map[string]string{"exit": acd.ExitTimeout}); r.Command != api.CommandHangup || left(r) != "tok1-1:failed " {
		t.Errorf("a queue that is gone: %+v", r)
	}
}

func TestEnqueue_AStateThatGrowsTooLargeGivesThePlaceBack(t *testing.T) {
	// Proves that a caller whose state no longer fits, by what a server is to be told of his key, is not left behind in the queue.
	vars := map[string]string{}
	for i := range 23 {
		vars["v"+strconv.Itoa(i)] = strings.Repeat("x", MaxValue)
	}
	s := newStage(t)
	s.start("queue/q_sales", vars)
	vars["last"] = strings.Repeat("x", MaxState-len(s.m.image)-100)
	s.call()
	if r := s.start("queue/q_sales", vars); r.Enqueue == nil {
		t.Fatalf("it begins with %+v", r)
	}
	r := s.outcome(api.OutcomeDigit, map[string]string{"digit": "6"})
	if r.Command != api.CommandHangup || !strings.HasSuffix(left(r), ":failed ") || !strings.Contains(r.Params.Reason, "bytes of state") {
		t.Errorf("it says %s %s, and leaves %q", r.Command, r.Params.Reason, left(r))
	}
}

func TestDial_UnansweredMayGoToAQueue(t *testing.T) {
	// Proves that a dialed user's way out may be a queue.
	s := newStage(t)
	s.env.Account.Users["us_2"].FwdNoanswerDestKind, s.env.Account.Users["us_2"].FwdNoanswerDestID = brain.DestQueue, "q_plain"
	s.start("user/us_2", nil)
	if r := s.outcome(api.OutcomeNoAnswer, nil); r.Enqueue == nil || r.Enqueue.QueueID != "q_plain" {
		t.Errorf("it goes on with %+v", r)
	}
}

func TestEnqueue_SkillsAreBounded(t *testing.T) {
	// Proves that what a route asks for is bounded and in order, and that what is no level asks for nothing.
	vars := map[string]string{"skill:zero": "0", "skill:six": "6", "skill:word": "x", "priority": "-3"}
	for c := 'a'; c <= 'z'; c++ {
		vars["skill:"+string(c)] = "5"
	}
	s := newStage(t)
	j := s.start("queue/q_plain", vars).Enqueue
	sorted := slices.IsSortedFunc(j.Skills, func(a, b acd.Skill) int { return strings.Compare(a.Name, b.Name) })
	if len(j.Skills) != maxNeeded || !sorted || j.Skills[0] != (acd.Skill{Name: "a", Level: 5}) || j.Priority != 0 {
		t.Errorf("it asks for %+v", j)
	}
}

func TestEnqueue_ARecordingIsNoTalk(t *testing.T) {
	// Proves that a caller who gives up while his call is being recorded has abandoned, and that what was recorded is kept; one who has
	// talked is answered however short that was.
	tape := map[string]string{"key": "acc_1/rec/x.wav", "bytes": "80000", "sha256": "ab", "duration_ms": "5000"}
	for talk, want := range map[string]string{"": "tok1-1:abandoned ", "0": "tok1-1:answered ", "900": "tok1-1:answered "} {
		s := waiting(t)
		data := maps.Clone(tape)
		if talk != "" {
			data["talk_ms"] = talk
		}
		if r := s.outcome(api.OutcomeHangup, data); left(r) != want || !strings.Contains(kinds(r), EffectRecordingStored) {
			t.Errorf("talked %q: it leaves %q and %s", talk, left(r), kinds(r))
		}
	}
}

func TestEnqueue_ItsPlaceIsSaidAlsoWhileAPromptPlays(t *testing.T) {
	// Proves that the reply names the place that a caller has: while he waits, and while he hears what belongs to a key that keeps it; not
	// when he has left it, nor while his call has lapsed.
	s := waiting(t)
	if s.last.Entry != "tok1-1" {
		t.Errorf("waiting: %q", s.last.Entry)
	}
	if r := s.outcome(api.OutcomeDigit, map[string]string{"digit": "2"}); r.Command != api.CommandPlay || r.Enqueue != nil || r.Entry != "tok1-1" {
		t.Errorf("a prompt plays: %+v", r)
	}
	s.lapse()
	if r := s.ask(&Request{}); r.Entry != "" {
		t.Errorf("lapsed: %q", r.Entry)
	}
	s = waiting(t)
	if r := s.outcome(api.OutcomeDigit, map[string]string{"digit": "1"}); r.Entry != "" {
		t.Errorf("left: %q", r.Entry)
	}
}

func TestEnqueue_ALookDoesNotKeepTheCall(t *testing.T) {
	// Proves that a question how the session stands does not renew it: a caller of whom only the queue asks is given up.
	s := waiting(t)
	before, _ := s.m.Deadline()
	s.now = before - 1
	s.ask(&Request{})
	if at, _ := s.m.Deadline(); at != before {
		t.Errorf("it lasts %d ms longer", at-before)
	}
}

func TestFew_KeepsWhatGivesPlacesBack(t *testing.T) {
	// Proves that of too many effects those which give places back stay, wherever they stand, and the first others.
	var all []Effect
	for range maxKept + 3 {
		all = append(all, Effect{Kind: EffectTag})
	}
	all = append(all, Effect{Kind: EffectQueueLeft, EntryID: "e1"}, Effect{Kind: EffectTag})
	got := few(all)
	if len(got) != maxKept+1 || got[maxKept].EntryID != "e1" {
		t.Errorf("%+v", got)
	}
}

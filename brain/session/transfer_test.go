package session

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// transfer asks for a transfer of the caller.
func (s *stage) transfer(from, target string, serves bool) *Transferred {
	s.t.Helper()
	kind, id, _ := strings.Cut(target, "/")
	r := s.ask(&Request{Transfer: &Transfer{FromUserID: from, Serves: serves, Target: brain.RouteTarget{Kind: brain.DestKind(kind), ID: id}}})
	if r.Transfer == nil {
		s.t.Fatal("no answer to a transfer")
	}
	return r.Transfer
}

// talked is the end of a talk with an agent.
var talked = map[string]string{"talk_ms": "9000"}

func TestTransfer_TheCallerGetsToTheUserAfterTheTalk(t *testing.T) {
	// Proves the whole way: noted without a new command, the same again when asked again, the place left as answered, the user
	// dialed with who transferred in the variables, and the end of that talk the end of the call.
	s := waiting(t)
	seq := s.last.Seq
	first := s.transfer("us_1", "user/us_2", true)
	if first.Seq != seq || first.Code != "" || s.last.Seq != seq || s.last.Command != api.CommandEnqueue {
		t.Fatalf("asked: %+v, then %s %d", first, s.last.Command, s.last.Seq)
	}
	if again := s.transfer("us_1", "user/us_2", true); *again != *first {
		t.Errorf("asked again: %+v, want %+v", again, first)
	}
	r := s.outcome(api.OutcomeAnswered, talked)
	if r.Command != api.CommandDial || r.Params.DestKind != "user" || r.Params.DestID != "us_2" || left(r) != "tok1-1:answered " {
		t.Fatalf("after the talk: %+v", r)
	}
	if again := s.transfer("us_1", "user/us_2", false); again.Seq != 0 || again.Code != "" {
		t.Errorf("asked again when it is done: %+v", again)
	}
	if r := s.outcome(api.OutcomeAnswered, nil); r.Command != api.CommandHangup {
		t.Errorf("after the second talk: %+v", r)
	}
}

func TestTransfer_WhoTransferredIsCalledBackOnce(t *testing.T) {
	// Proves the recall for each way in which a user is not reached, that it is one, and that a talk with him may be transferred again.
	for _, outcome := range []string{api.OutcomeBusy, api.OutcomeNoAnswer, api.OutcomeFailed} {
		s := waiting(t)
		s.transfer("us_1", "user/us_2", true)
		s.outcome(api.OutcomeAnswered, talked)
		r := s.outcome(outcome, nil)
		if r.Command != api.CommandDial || r.Params.DestID != "us_1" {
			t.Fatalf("%s: %+v", outcome, r)
		}
		if outcome != api.OutcomeBusy {
			if r = s.outcome(outcome, nil); r.Command != api.CommandHangup {
				t.Errorf("%s twice: %+v", outcome, r)
			}
			continue
		}
		if done := s.transfer("us_1", "user/us_2", false); done.Seq == 0 { // at once, and to the same
			t.Errorf("the recall is transferred: %+v", done)
		}
		if r = s.outcome(api.OutcomeAnswered, nil); r.Command != api.CommandDial || r.Params.DestID != "us_2" {
			t.Errorf("after the recall: %+v", r)
		}
	}
}

func TestTransfer_IntoAQueueBeginsTheWaitAnew(t *testing.T) {
	// Proves that no leg is made: the caller has a place of his own in the other queue, as often as he is transferred.
	s := waiting(t)
	places := map[string]bool{s.last.Enqueue.EntryID: true}
	for i, queue := range strings.Fields(strings.Repeat("q_plain q_sales ", MaxHops)) {
		s.transfer("us_1", "queue/"+queue, true)
		r := s.outcome(api.OutcomeAnswered, talked)
		if r.Command != api.CommandEnqueue || r.Enqueue.QueueID != queue || places[r.Enqueue.EntryID] || r.Enqueue.CallerNumber != "4930333" {
			t.Fatalf("transfer %d: %s %+v", i, r.Command, r.Enqueue)
		}
		places[r.Enqueue.EntryID] = true
	}
}

func TestTransfer_GoesBeforeTheFlow(t *testing.T) {
	// Proves that a talk within a flow is transferred too, by an agent as by whom the flow has dialed, and that the flow has no more say.
	s := newStage(t)
	s.start("flow/flow_line", nil)
	s.transfer("us_1", "user/us_2", true)
	if r := s.outcome(api.OutcomeAnswered, talked); r.Command != api.CommandDial || r.Params.DestID != "us_2" {
		t.Errorf("out of the flow's queue: %+v", r)
	}
	s.call()
	s.start("flow/flow_1", nil)
	for r := s.outcome(api.OutcomeDigits, map[string]string{"digits": "3"}); r.Command != api.CommandDial; {
		r = s.outcome(api.OutcomeDone, nil)
	}
	if said := s.transfer("us_1", "user/us_3", false); said.Code != brain.EForbidden {
		t.Errorf("of somebody else: %+v", said)
	}
	s.transfer("us_2", "user/us_3", false)
	r := s.outcome(api.OutcomeAnswered, nil)
	if r.Command != api.CommandDial || r.Params.DestID != "us_3" {
		t.Errorf("out of the flow's dial: %+v", r)
	}
	if r = s.outcome(api.OutcomeAnswered, nil); r.Command != api.CommandHangup {
		t.Errorf("then: %+v", r)
	}
}

func TestTransfer_IsNotTaken(t *testing.T) {
	// Proves every refusal, that none moves the call, and what becomes of a transfer that is withdrawn or too old: the talk ends as it would.
	s := waiting(t)
	if said := s.transfer("us_2", "user/us_3", false); said.Code != brain.EForbidden || said.Seq != 0 {
		t.Errorf("of who does not serve him: %+v", said)
	}
	s.transfer("us_1", "user/us_2", true)
	if said := s.transfer("us_1", "queue/q_plain", true); said.Code != brain.EConflict {
		t.Errorf("another one meanwhile: %+v", said)
	}
	s.ask(&Request{Transfer: &Transfer{FromUserID: "us_1", Target: brain.RouteTarget{Kind: brain.DestUser, ID: "us_2"}, Withdraw: true}})
	if r := s.outcome(api.OutcomeAnswered, talked); r.Command != api.CommandHangup {
		t.Errorf("withdrawn: %+v", r)
	}
	if said := s.transfer("us_1", "user/us_2", true); said.Code != brain.ENotFound {
		t.Errorf("of a call that ends: %+v", said)
	}
	s.call()
	s.start("queue/q_sales", nil)
	s.transfer("us_1", "user/us_2", true)
	s.now += TransferMS
	if r := s.outcome(api.OutcomeAnswered, talked); r.Command != api.CommandHangup {
		t.Errorf("too old: %+v", r)
	}
	s.call()
	s.start("voicemail/vm_1", nil)
	if said := s.transfer("us_1", "user/us_2", true); said.Code != brain.EConflict || said.Why != api.NobodyTalks {
		t.Errorf("of who talks to nobody: %+v", said)
	}
	if op, r := New("acc_1/call/none").Decide(s.now, s.env, &Request{Transfer: &Transfer{FromUserID: "us_1"}}); op != nil || !r.Unknown {
		t.Errorf("of no call: %+v", r)
	}
}

func TestTransfer_BetweenTwoCommandsNobodyTalks(t *testing.T) {
	// Proves that a server which the flow asks after a dial is asked once, though somebody would transfer meanwhile.
	s := newStage(t)
	s.flows["flow_1"] = published(t, "flow_1", 3, strings.ReplaceAll(menuGraph, `{"source":"dial","target":"end"}`, `{"source":"dial","target":"ask"}`))
	s.start("flow/flow_1", nil)
	for r := s.outcome(api.OutcomeDigits, map[string]string{"digits": "3"}); r.Command != api.CommandDial; {
		r = s.outcome(api.OutcomeDone, nil)
	}
	need := s.outcome(api.OutcomeNoAnswer, nil)
	if need.Need == nil || need.Need.HTTP == nil {
		t.Fatalf("after the dial: %+v", need)
	}
	if said := s.transfer("us_2", "user/us_3", false); said.Code != brain.EConflict || s.last.Turn != need.Turn {
		t.Errorf("%+v, turn %d after %d", said, s.last.Turn, need.Turn)
	}
}

func TestTransfer_IsOfOneTalk(t *testing.T) {
	// Proves that a transfer which was asked for before anybody talked does not happen at the end of another talk, and stands in the way of none;
	// and that one whose user was not reached is done anew when it is asked for again.
	s := waiting(t)
	s.transfer("us_1", "user/us_2", true)
	s.outcome(api.OutcomeAnswered, talked) // us_2 rings
	if asked := s.transfer("us_2", "user/us_3", false); asked.Seq == 0 {
		t.Fatalf("while us_2 rings: %+v", asked)
	}
	s.outcome(api.OutcomeNoAnswer, nil) // us_1 is called back
	if again := s.transfer("us_1", "user/us_2", false); again.Seq != s.last.Seq || again.Code != "" {
		t.Fatalf("to us_2 again: %+v in %d", again, s.last.Seq)
	}
	if r := s.outcome(api.OutcomeAnswered, nil); r.Command != api.CommandDial || r.Params.DestID != "us_2" {
		t.Errorf("after the recall: %+v", r)
	}
	for _, other := range []string{"", "user/us_1"} {
		s := newStage(t)
		s.flows["flow_1"] = published(t, "flow_1", 3, strings.ReplaceAll(menuGraph, `{"source":"dial","target":"end"}`, `{"source":"dial","target":"menu"}`))
		s.start("flow/flow_1", nil)
		dials := func() {
			for r := s.outcome(api.OutcomeDigits, map[string]string{"digits": "3"}); r.Command != api.CommandDial; {
				r = s.outcome(api.OutcomeDone, nil)
			}
		}
		dials()
		s.transfer("us_2", "user/us_3", false)
		s.outcome(api.OutcomeNoAnswer, nil)
		dials()
		if other != "" {
			if said := s.transfer("us_2", other, false); said.Code != "" {
				t.Errorf("to another: %+v", said)
			}
		}
		r := s.outcome(api.OutcomeAnswered, nil)
		if got := r.Params.DestID; other == "" && r.Command != api.CommandGather || other != "" && got != "us_1" {
			t.Errorf("%q after the second talk: %s %s", other, r.Command, got)
		}
	}
}

func TestTransfer_OfACallThatHasGone(t *testing.T) {
	// Proves that a caller who hangs up before he is transferred leaves his place as after any talk, and nobody is rung.
	s := waiting(t)
	s.transfer("us_1", "user/us_2", true)
	if r := s.outcome(api.OutcomeHangup, talked); !r.Over || left(r) != "tok1-1:answered " || r.Command != api.CommandNoop {
		t.Errorf("it says %+v", r)
	}
	if said := s.transfer("us_1", "user/us_2", true); said.Code != brain.ENotFound {
		t.Errorf("then: %+v", said)
	}
}

func TestTransfer_KeepsWhatWasToBeDone(t *testing.T) {
	// Proves that effects which may not be performed yet stay with the reply when somebody transfers in that moment.
	s := waiting(t)
	s.outcome(api.OutcomeDigit, map[string]string{"digit": "6"}) // a webhook, and he waits on
	before := asJSON(t, s.last.Effects)
	if before == "null" || s.last.Command != api.CommandEnqueue {
		t.Fatalf("the key does %s, effects %s", s.last.Command, before)
	}
	s.transfer("us_1", "user/us_2", true)
	if after := asJSON(t, s.last.Effects); after != before {
		t.Errorf("effects %s, want %s", after, before)
	}
}

func TestTransferTarget(t *testing.T) {
	// Proves what each kind of target means, by id and by name, and how what there is not, or what may not be, is refused.
	acct := office(t)
	mayOutside := *acct.Users["us_1"]
	mayOutside.AllowPSTNBlindTransfer = true
	ways := map[string]*brain.SIPTrunk{"trk_1": {ID: "trk_1", Status: brain.StatusActive, Direction: brain.TrunkOutbound}}
	for _, row := range []struct {
		from     *brain.SIPUser
		kind, id string
		want     string
		code     brain.Code
		field    string
	}{
		{nil, "user", "us_2", "user/us_2", "", ""}, {nil, "agent", "102", "user/us_2", "", ""}, {nil, "queue", "q_plain", "queue/q_plain", "", ""},
		{nil, "queue", "plain", "queue/q_plain", "", ""}, {nil, "number", "103", "user/us_3", "", ""},
		{nil, "user", "us_9", "", brain.ENotFound, "target.id"}, {nil, "queue", "us_2", "", brain.ENotFound, "target.id"}, {nil, "number", "999", "", brain.ENotFound, "target.id"},
		{nil, "user", "us_1", "", brain.EInvalid, "target.id"}, {nil, "number", "101", "", brain.EInvalid, "target.id"}, {nil, "moon", "1", "", brain.EInvalid, "target.kind"},
		{nil, "pstn", "4930123", "", brain.EForbidden, "target.kind"}, {&mayOutside, "pstn", "+4930123456", "", brain.EConflict, "target.kind"},
		{&mayOutside, "pstn", "4930123", "", brain.ENotFound, "target.id"}, {&mayOutside, "pstn", "112", "", brain.ENotFound, "target.id"},
		{&mayOutside, "pstn", "0049 (30) 123-456", "pstn/+4930123456", "", ""},
	} {
		if acct.Trunks = nil; row.want != "" {
			acct.Trunks = ways
		}
		from := row.from
		if from == nil {
			from = acct.Users["us_1"]
		}
		got, err := TransferTarget(acct, from, api.TransferTarget{Kind: row.kind, ID: row.id})
		if brain.CodeOf(err) != row.code || err == nil && string(got.Kind)+"/"+got.ID != row.want {
			t.Errorf("%s %s: %v %v, want %s %s", row.kind, row.id, got, err, row.want, row.code)
		}
		if err != nil && err.(*brain.Error).Fields[0].Path != row.field {
			t.Errorf("%s %s: %v, want the field %s", row.kind, row.id, err, row.field)
		}
	}
}

func TestTransfer_ToANumberOutside(t *testing.T) {
	// Proves that the leg says who sends the caller there, that his policy has it recorded, and that he is called back when nobody takes it.
	for policy, recorded := range map[brain.RecordPolicy]bool{brain.RecordInbound: false, brain.RecordOutbound: true} {
		s := waiting(t)
		us1 := *s.env.Account.Users["us_1"]
		us1.RecordPolicy = policy
		s.env.Account.Users["us_1"] = &us1
		s.env.Account.Account.RecordConsent = false
		s.transfer("us_1", "pstn/+4930123456", true)
		r := s.outcome(api.OutcomeAnswered, talked)
		if r.Command != api.CommandDial || r.Params.DestKind != api.DestTransfer || r.Params.DestID != "us_1/+4930123456" || (r.Params.Key != "") != recorded {
			t.Fatalf("policy %s: %+v", policy, r)
		}
		if r = s.outcome(api.OutcomeFailed, map[string]string{"sip_code": "404"}); r.Command != api.CommandDial || r.Params.DestKind != "user" || r.Params.DestID != "us_1" {
			t.Errorf("policy %s, then: %+v", policy, r)
		}
	}
}

func TestTransfer_OutsideIsAskedFirst(t *testing.T) {
	// Proves that somebody outside can be asked, that he is connected when he waits, and a number that is none is not.
	s := waiting(t)
	if said := s.consult(api.TransferAttended, "us_1", "pstn/+4930123456", true); said.Code != "" || said.Seq != s.last.Seq {
		t.Fatalf("asked: %+v", said)
	}
	data := asked()
	data[api.DataConsultedKind], data[api.DataConsultedID] = "pstn", "+4930123456"
	if r := s.outcome(api.OutcomeAnswered, data); r.Command != api.CommandDial || r.Params.Join != "con-1" {
		t.Errorf("completed: %+v", r)
	}
	s.call()
	s.start("queue/q_plain", nil)
	data[api.DataConsultedID] = "112"
	if r := s.outcome(api.OutcomeAnswered, data); r.Command == api.CommandDial {
		t.Errorf("a number that is none: %+v", r)
	}
}

func TestDial_ANumberOutside(t *testing.T) {
	// Proves what a recorded call to outside does: it dials the number with a recording, and ends as the number does.
	for outcome, code := range map[string]int{api.OutcomeBusy: 486, api.OutcomeNoAnswer: 480, api.OutcomeFailed: 403} {
		s := newStage(t)
		s.env.Account.Account.RecordConsent = false
		s.start("pstn/+4930123456", map[string]string{"record": "1"})
		if r := s.last; r.Command != api.CommandDial || r.Params.DestKind != "pstn" || r.Params.DestID != "+4930123456" || r.Params.Key == "" {
			t.Fatalf("%+v", r)
		}
		if r := s.outcome(outcome, map[string]string{"sip_code": "403"}); r.Command != api.CommandHangup || r.Params.SIPCode != code {
			t.Errorf("%s: %+v, want %d", outcome, r, code)
		}
	}
	s := newStage(t)
	s.start("pstn/112", nil)
	if s.last.Command != api.CommandHangup || s.last.Params.SIPCode != 404 {
		t.Errorf("no number: %+v", s.last)
	}
}

func TestTransfer_ToAnExtension(t *testing.T) {
	// Proves that a number leads where it leads at that hour: what the platform answers begins in the same call, whoever has a phone is
	// dialed by the number, and one that leads nowhere now brings the caller back.
	for name, row := range map[string]struct {
		ext  brain.Extension
		want string
	}{
		"a queue":         {brain.Extension{DestKind: brain.DestQueue, DestID: "q_plain"}, "enqueue q_plain"},
		"a user":          {brain.Extension{DestKind: brain.DestUser, DestID: "us_2"}, "dial extension/ext_7"},
		"out of hours":    {brain.Extension{DestKind: brain.DestUser, DestID: "us_2", ScheduleID: "sch_shut", ClosedDestKind: brain.DestQueue, ClosedDestID: "q_tape"}, "play "},
		"open":            {brain.Extension{DestKind: brain.DestQueue, DestID: "q_plain", ScheduleID: "sch_open", ClosedDestKind: brain.DestUser, ClosedDestID: "us_2"}, "enqueue q_plain"},
		"a feast":         {brain.Extension{DestKind: brain.DestUser, DestID: "us_2", ScheduleID: "sch_feast", HolidayDestKind: brain.DestQueue, HolidayDestID: "q_plain"}, "enqueue q_plain"},
		"a feast, closed": {brain.Extension{DestKind: brain.DestUser, DestID: "us_2", ScheduleID: "sch_feast", ClosedDestKind: brain.DestQueue, ClosedDestID: "q_plain"}, "enqueue q_plain"},
		"closed":          {brain.Extension{DestKind: brain.DestQueue, DestID: "q_plain", ScheduleID: "sch_shut"}, "dial extension/ext_7"},
	} {
		s := waiting(t)
		row.ext.ID, row.ext.Digits, row.ext.Status = "ext_7", "700", brain.StatusActive
		s.env.Account.Extensions = map[string]*brain.Extension{"700": &row.ext}
		s.env.Account.ExtensionByID = map[string]*brain.Extension{"ext_7": &row.ext}
		target, err := TransferTarget(s.env.Account, s.env.Account.Users["us_1"], api.TransferTarget{Kind: "number", ID: "700"})
		if err != nil || target.ID != "ext_7" {
			t.Fatalf("%s: %v %v", name, target, err)
		}
		s.transfer("us_1", "extension/ext_7", true)
		r := s.outcome(api.OutcomeAnswered, talked)
		got := r.Command + " "
		switch {
		case r.Enqueue != nil:
			got += r.Enqueue.QueueID
		case r.Command == api.CommandDial:
			got += r.Params.DestKind + "/" + r.Params.DestID
		}
		if got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}

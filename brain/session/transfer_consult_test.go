package session

import (
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// consult asks for a step of an attended transfer, which must change nothing.
func (s *stage) consult(mode, from, target string, serves bool) *Transferred {
	s.t.Helper()
	before := string(s.m.image)
	kind, id, _ := strings.Cut(target, "/")
	r := s.ask(&Request{Consult: &Consult{FromUserID: from, Serves: serves, Mode: mode, Target: brain.RouteTarget{Kind: brain.DestKind(kind), ID: id}}})
	if r.Transfer == nil {
		s.t.Fatal("no answer to a consultation")
	}
	if string(s.m.image) != before {
		s.t.Fatalf("mode %s has changed the session", mode)
	}
	return r.Transfer
}

// asked is the end of a talk in which us_2 was asked by us_1 and waits.
func asked() map[string]string {
	return map[string]string{"talk_ms": "9000", "duration_ms": "9000", api.DataConsulted: "con-1", api.DataConsultedKind: "user", api.DataConsultedID: "us_2", api.DataConsultedBy: "us_1"}
}

func TestConsult_IsForWhoIsOnTheOtherSide(t *testing.T) {
	// Proves that each mode gets the command of the talk from who is there, agent or dialed, and is refused to all others, without a talk and after the call.
	for _, mode := range []string{api.TransferAttended, api.TransferComplete, api.TransferCancel, api.TransferThreeWay} {
		s := waiting(t)
		if said := s.consult(mode, "us_1", "user/us_2", true); said.Code != "" || said.Seq != s.last.Seq {
			t.Errorf("%s of the agent: %+v", mode, said)
		}
		if said := s.consult(mode, "us_3", "user/us_2", false); said.Code != brain.EForbidden || !strings.Contains(said.Why, "from_user_id") {
			t.Errorf("%s of somebody else: %+v", mode, said)
		}
		s.outcome(api.OutcomeAnswered, talked)
		if said := s.consult(mode, "us_1", "user/us_2", true); said.Code != brain.ENotFound {
			t.Errorf("%s of a call that ends: %+v", mode, said)
		}
		s.call()
		s.start("voicemail/vm_1", nil)
		if said := s.consult(mode, "us_1", "user/us_2", false); said.Code != brain.EConflict || said.Why != api.NobodyTalks {
			t.Errorf("%s of who talks to nobody: %+v", mode, said)
		}
		s.call()
		s.start("user/us_1", nil)
		if said := s.consult(mode, "us_1", "user/us_2", false); said.Code != "" || said.Seq != s.last.Seq || said.Music != (brain.Sound{}) {
			t.Errorf("%s of who was dialed: %+v", mode, said)
		}
		if op, r := New("acc_1/call/none").Decide(s.now, s.env, &Request{Consult: &Consult{FromUserID: "us_1", Mode: mode}}); op != nil || !r.Unknown {
			t.Errorf("%s of no call: %+v", mode, r)
		}
	}
}

func TestConsult_TheMusicIsTheQueues(t *testing.T) {
	// Proves which sound the caller is to hear meanwhile: that of the queue in which he talks, as he has heard it before.
	s := newStage(t)
	for queue, want := range map[string]brain.Sound{"q_sales": {PlaylistID: "pl_1", Language: "fr"}, "q_plain": {}} {
		s.call()
		s.start("queue/"+queue, nil)
		if said := s.consult(api.TransferAttended, "us_1", "user/us_2", true); said.Music != want {
			t.Errorf("%s: %+v, want %+v", queue, said.Music, want)
		}
	}
}

func TestConsult_OnlyPeopleAreAsked(t *testing.T) {
	// Proves who can be asked: whoever the number reaches at that hour by phone; and that who is not is refused with what to do.
	acct := office(t)
	acct.Trunks = map[string]*brain.SIPTrunk{"trk_1": {ID: "trk_1", Status: brain.StatusActive, Direction: brain.TrunkOutbound}}
	for _, row := range []struct{ kind, id, want, field string }{
		{"user", "102", "user/us_2", ""}, {"agent", "us_2", "user/us_2", ""}, {"number", "103", "user/us_3", ""},
		{"queue", "plain", string(brain.EInvalid), "target.kind"}, {"pstn", "+4930123456", "pstn/+4930123456", ""},
		{"pstn", "+49", string(brain.ENotFound), "target.id"},
		{"user", "us_1", string(brain.EInvalid), "target.id"}, {"number", "999", string(brain.ENotFound), "target.id"}, {"moon", "1", string(brain.EInvalid), "target.kind"},
	} {
		found, err := ConsultTarget(acct, acct.Users["us_1"], api.TransferTarget{Kind: row.kind, ID: row.id})
		got := string(found.Kind) + "/" + found.ID
		if err != nil {
			got = string(brain.CodeOf(err))
			if f := err.(*brain.Error).Fields[0]; f.Path != row.field {
				t.Errorf("%s %s: %+v, want the field %s", row.kind, row.id, f, row.field)
			}
		}
		if got != row.want {
			t.Errorf("%s %s: %s, want %s", row.kind, row.id, got, row.want)
		}
	}
	for name, row := range map[string]struct {
		ext  brain.Extension
		why  string
		seqs bool
	}{
		"a user":       {brain.Extension{DestKind: brain.DestUser, DestID: "us_2"}, "", true},
		"a group":      {brain.Extension{DestKind: brain.DestRingGroup, DestID: "rg_1"}, "", true},
		"himself":      {brain.Extension{DestKind: brain.DestUser, DestID: "us_1"}, "who transfers", false},
		"a queue":      {brain.Extension{DestKind: brain.DestQueue, DestID: "q_plain"}, "mode blind", false},
		"out of hours": {brain.Extension{DestKind: brain.DestUser, DestID: "us_2", ScheduleID: "sch_shut", ClosedDestKind: brain.DestVoicemail, ClosedDestID: "vm_1"}, "mode blind", false},
		"closed":       {brain.Extension{DestKind: brain.DestUser, DestID: "us_2", ScheduleID: "sch_shut"}, "mode blind", false},
	} {
		s := waiting(t)
		row.ext.ID, row.ext.Digits, row.ext.Status = "ext_7", "700", brain.StatusActive
		s.env.Account.ExtensionByID = map[string]*brain.Extension{"ext_7": &row.ext}
		said := s.consult(api.TransferAttended, "us_1", "extension/ext_7", true)
		if row.seqs && (said.Code != "" || said.Seq == 0) || !row.seqs && (said.Code != brain.EInvalid || !strings.Contains(said.Why, row.why)) {
			t.Errorf("%s: %+v", name, said)
		}
	}
}

func TestConsult_ABlindTransferGoesFirst(t *testing.T) {
	// Proves that a blind transfer on its way keeps others from asking, and wins over whom they had asked before; one that is too old does neither.
	s := waiting(t)
	s.transfer("us_1", "queue/q_sales", true)
	for _, mode := range []string{api.TransferAttended, api.TransferComplete, api.TransferCancel, api.TransferThreeWay} {
		if said := s.consult(mode, "us_1", "user/us_2", true); said.Code != brain.EConflict || !strings.Contains(said.Why, "15 s") {
			t.Errorf("%s meanwhile: %+v", mode, said)
		}
	}
	if r := s.outcome(api.OutcomeAnswered, asked()); r.Command != api.CommandEnqueue || r.Enqueue.QueueID != "q_sales" {
		t.Errorf("in time: %+v", r)
	}
	s.call()
	s.start("queue/q_plain", nil)
	s.transfer("us_1", "queue/q_sales", true)
	s.now += TransferMS
	if said := s.consult(api.TransferComplete, "us_1", "", true); said.Code != "" || said.Seq == 0 {
		t.Errorf("too old: %+v", said)
	}
	if r := s.outcome(api.OutcomeAnswered, asked()); r.Command != api.CommandDial || r.Params.Join != "con-1" || r.Params.DestID != "us_2" {
		t.Errorf("too old: %+v", r)
	}
}

func TestConsult_CompletedAgainItIsDone(t *testing.T) {
	// Proves that a completion whose answer got lost may be repeated for a while, by who did it, and that the other modes have nothing to work on then.
	s := waiting(t)
	s.outcome(api.OutcomeAnswered, asked())
	if said := s.consult(api.TransferComplete, "us_1", "", false); *said != (Transferred{}) {
		t.Errorf("again: %+v", said)
	}
	for _, mode := range []string{api.TransferAttended, api.TransferCancel, api.TransferThreeWay} {
		if said := s.consult(mode, "us_1", "user/us_3", false); said.Code != brain.EForbidden {
			t.Errorf("then %s: %+v", mode, said)
		}
	}
	if said := s.consult(api.TransferComplete, "us_3", "", false); said.Code != brain.EForbidden {
		t.Errorf("of somebody else: %+v", said)
	}
	if said := s.consult(api.TransferAttended, "us_2", "user/us_3", false); said.Code != "" || said.Seq != s.last.Seq {
		t.Errorf("who was asked asks another: %+v", said)
	}
	s.now += TransferMS
	if said := s.consult(api.TransferComplete, "us_1", "", false); said.Code != brain.EForbidden {
		t.Errorf("long after: %+v", said)
	}
}

func TestConsult_TheFlowHasNoMoreSay(t *testing.T) {
	// Proves that whom a flow has dialed hands the caller over like an agent, and is called back when it fails.
	s := newStage(t)
	s.start("flow/flow_1", nil)
	for r := s.outcome(api.OutcomeDigits, map[string]string{"digits": "3"}); r.Command != api.CommandDial; {
		r = s.outcome(api.OutcomeDone, nil)
	}
	data := asked()
	data[api.DataConsultedID], data[api.DataConsultedBy] = "us_3", "us_2"
	if r := s.outcome(api.OutcomeAnswered, data); r.Command != api.CommandDial || r.Params.Join != "con-1" || r.Params.DestID != "us_3" {
		t.Fatalf("out of the flow's dial: %+v", r)
	}
	if r := s.outcome(api.OutcomeFailed, nil); r.Command != api.CommandDial || r.Params.Join != "" || r.Params.DestID != "us_2" {
		t.Errorf("he has gone: %+v", r)
	}
	if r := s.outcome(api.OutcomeAnswered, nil); r.Command != api.CommandHangup {
		t.Errorf("then: %+v", r)
	}
}

func TestConsult_TheTalkIsRecordedByPolicy(t *testing.T) {
	// Proves that the policy of who was asked decides whether the talk with him is recorded, and that the leg is joined after the announcement.
	s := waiting(t)
	us2 := *s.env.Account.Users["us_2"]
	us2.RecordPolicy = brain.RecordInbound
	s.env.Account.Users["us_2"] = &us2
	if r := s.outcome(api.OutcomeAnswered, asked()); r.Command != api.CommandPlay {
		t.Fatalf("first %+v", r)
	}
	if r := s.outcome(api.OutcomeDone, nil); r.Command != api.CommandDial || r.Params.Join != "con-1" || r.Params.Key == "" {
		t.Errorf("then %+v", r)
	}
}

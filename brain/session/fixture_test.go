package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// beginMS is when every dialogue begins: Friday, 2026-05-01 10:00 UTC. Each step is a second later.
var beginMS = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC).UnixMilli()

// menuGraph asks for a digit: 1 leaves a message, 2 joins the conference, 3 dials, 4 asks a server, 5 goes to the
// other flow, 6 records. Whoever hangs up is reported to a server.
const menuGraph = `{"start":"in","nodes":[
 {"id":"in","data":{"kind":"entry"}},
 {"id":"menu","data":{"kind":"menu","promptText":"VERSION","maxDigits":1,"maxFailures":2,"maxTimeouts":2}},
 {"id":"vm","data":{"kind":"voicemail","mailboxId":"vm_1"}},
 {"id":"conf","data":{"kind":"conference","conferenceId":"conf_pin"}},
 {"id":"dial","data":{"kind":"dial","destKind":"user","destId":"us_2","timeoutSec":20,"record":true}},
 {"id":"ask","data":{"kind":"http","method":"POST","url":"https://crm.example.com/who","body":"{\"n\":\"{{ caller_number }}\"}","saveAs":{"name":"$.name"}}},
 {"id":"tag","data":{"kind":"tag","label":"who","value":"{{ name }}"}},
 {"id":"go","data":{"kind":"transfer","destKind":"flow","destId":"flow_2"}},
 {"id":"rec","data":{"kind":"record","maxSec":10}},
 {"id":"bye","data":{"kind":"http","method":"POST","url":"https://crm.example.com/bye","body":"{}"}},
 {"id":"end","data":{"kind":"hangup","cause":"NORMAL_CLEARING"}}],
 "edges":[
 {"source":"in","target":"menu"},{"source":"in","target":"bye","sourceHandle":"hangup"},
 {"source":"menu","target":"vm","sourceHandle":"digit:1"},{"source":"menu","target":"conf","sourceHandle":"digit:2"},
 {"source":"menu","target":"dial","sourceHandle":"digit:3"},{"source":"menu","target":"ask","sourceHandle":"digit:4"},
 {"source":"menu","target":"go","sourceHandle":"digit:5"},{"source":"menu","target":"rec","sourceHandle":"digit:6"},
 {"source":"menu","target":"end"},{"source":"vm","target":"menu"},{"source":"conf","target":"menu"},{"source":"dial","target":"end"},
 {"source":"ask","target":"tag","sourceHandle":"success"},{"source":"ask","target":"end","sourceHandle":"error"},
 {"source":"tag","target":"menu"},{"source":"rec","target":"menu"}]}`

// otherGraph says one word and ends.
const otherGraph = `{"start":"in","nodes":[{"id":"in","data":{"kind":"entry"}},{"id":"say","data":{"kind":"say","text":"other"}}],
 "edges":[{"source":"in","target":"say"}]}`

// circleGraph asks a mailbox that does not exist for ever.
const circleGraph = `{"start":"in","nodes":[{"id":"in","data":{"kind":"entry"}},{"id":"vm","data":{"kind":"voicemail","mailboxId":"vm_none"}}],
 "edges":[{"source":"in","target":"vm"},{"source":"vm","target":"vm"}]}`

// lineGraph has callers wait in a queue: two keys, and who hangs up, are the flow's own; who talked hears so.
const lineGraph = `{"start":"in","nodes":[
 {"id":"in","data":{"kind":"entry"}},
 {"id":"q","data":{"kind":"enqueue","queueId":"QUEUE","priority":7,"skills":{"french":3,"english":2},"label":"{{ did_label }}"}},
 {"id":"bye","data":{"kind":"say","text":"bye"}},
 {"id":"one","data":{"kind":"say","text":"one"}},
 {"id":"nobody","data":{"kind":"say","text":"nobody"}},
 {"id":"late","data":{"kind":"say","text":"late"}},
 {"id":"lost","data":{"kind":"tag","label":"lost","value":"yes"}}],
 "edges":[{"source":"in","target":"q"},{"source":"q","target":"bye","sourceHandle":"answered"},{"source":"q","target":"one","sourceHandle":"option:1"},
 {"source":"q","target":"one","sourceHandle":"option:9"},{"source":"q","target":"nobody","sourceHandle":"no_agents"},{"source":"q","target":"late","sourceHandle":"timeout"},
 {"source":"q","target":"q","sourceHandle":"queue_full"},{"source":"q","target":"lost","sourceHandle":"abandoned"}]}`

// queues are those of the office, and their keys.
func queues() (list []brain.Queue, options []brain.InQueueOption) {
	list = []brain.Queue{
		{ID: "q_sales", Name: "sales", MOHPlaylistID: "pl_1", Language: "fr", TimeoutDestKind: brain.DestVoicemail, TimeoutDestID: "vm_2",
			NoAgentsDestKind: brain.DestQueue, NoAgentsDestID: "q_plain", QueueFullDestKind: brain.DestHangup, QueueFullDestID: "486",
			EWTDestKind: brain.DestFlow, EWTDestID: "flow_2"},
		{ID: "q_plain", Name: "plain"},
		{ID: "q_tape", Name: "tape", Record: true, MOHMediaID: "media_2"},
		{ID: "q_shut", Name: "shut", ScheduleID: "sch_shut", ClosedDestKind: brain.DestVoicemail, ClosedDestID: "vm_2"},
		{ID: "q_feast", Name: "feast", ScheduleID: "sch_feast", ClosedDestKind: brain.DestVoicemail, ClosedDestID: "vm_2",
			HolidayDestKind: brain.DestFlow, HolidayDestID: "flow_2"},
		{ID: "q_xmas", Name: "xmas", ScheduleID: "sch_feast", ClosedDestKind: brain.DestVoicemail, ClosedDestID: "vm_2"},
		{ID: "q_night", Name: "night", ScheduleID: "sch_shut"},
		{ID: "q_day", Name: "day", ScheduleID: "sch_open"},
		{ID: "q_call", Name: "call", Language: "fr", Record: true, ScheduleID: "sch_open"},
	}
	key := func(digit, action, prompt string) brain.InQueueOption {
		o := brain.InQueueOption{ID: "opt_" + digit, AccountID: "acc_1", QueueID: "q_sales", Digit: digit, Action: action, PromptMediaID: prompt}
		if action == "webhook" {
			o.WebhookURL, o.Label = "https://crm.example.com/key", "vip"
		}
		return o
	}
	options = []brain.InQueueOption{key("1", "route", "media_1"), key("2", "webhook", "media_1"), key("3", "webhook", ""), key("4", "hangup", "media_1"),
		key("5", "route", ""), key("6", "webhook", ""), key("7", "hangup", "")}
	for _, i := range []int{0, 4} {
		options[i].DestKind, options[i].DestID = brain.DestVoicemail, "vm_2"
	}
	options[1].StayInQueue, options[5].StayInQueue = true, true
	for digit, ask := range []bool{false, true, false} {
		options = append(options, brain.InQueueOption{ID: fmt.Sprint("opt_call_", digit), AccountID: "acc_1", QueueID: "q_call", Digit: fmt.Sprint(digit), Action: "callback",
			CallbackTries: 2, CallbackRetrySec: 60, CallbackWindowSec: 600, CallbackAsk: ask, PromptMediaID: map[int]string{2: "media_1"}[digit]})
	}
	for digit, sound := range []string{"", "media_1"} {
		options = append(options, brain.InQueueOption{ID: fmt.Sprint("opt_deflect_", digit), AccountID: "acc_1", QueueID: "q_call", Digit: fmt.Sprint(digit + 3),
			Action: "deflect", WebhookURL: "https://crm.example.com/chat", PromptMediaID: sound})
	}
	return list, options
}

// published makes a flow of the configuration.
func published(t testing.TB, id string, version int64, source string) *Flow {
	t.Helper()
	var g brain.FlowGraph
	if err := json.Unmarshal([]byte(source), &g); err != nil {
		t.Fatal(err)
	}
	compiled, faults := flow.Compile(g)
	if len(faults) > 0 {
		t.Fatalf("%s: %v", id, faults)
	}
	text, err := json.Marshal(&g)
	if err != nil {
		t.Fatal(err)
	}
	return &Flow{ID: id, Version: version, Graph: compiled, Source: text}
}

// office is an account with everything that answered calls need.
func office(t testing.TB) *brain.AccountConfig {
	t.Helper()
	user := func(id, name, box string) brain.SIPUser {
		return brain.SIPUser{ID: id, AccountID: "acc_1", Username: name, Status: brain.StatusActive, RingTimeoutSec: 20, VoicemailID: box}
	}
	ann, bob, cat := user("us_1", "101", "vm_1"), user("us_2", "102", "vm_2"), user("us_3", "103", "")
	bob.FwdBusyDestKind, bob.FwdBusyDestID = brain.DestVoicemail, "vm_2"
	bob.FwdNoanswerDestKind, bob.FwdNoanswerDestID = brain.DestHangup, "480"
	cat.FwdNoanswerDestKind, cat.FwdNoanswerDestID = brain.DestUser, "us_1"
	message := func(id, box string, ts, bytes int, read bool, caller string) *brain.VoicemailMessage {
		return &brain.VoicemailMessage{ID: id, AccountID: "acc_1", VoicemailID: box, Caller: caller, DurationMS: 4000, CreatedTS: ts,
			ObjectKey: "acc_1/vm/" + box + "/" + id + ".wav", Bytes: bytes, Read: read}
	}
	lines, keys := queues()
	day := int(beginMS/1000) - 3600
	return brain.NewAccountConfig(1, brain.AccountRows{
		Account: brain.Account{ID: "acc_1", Name: "office", Status: brain.StatusActive, RecordConsent: true},
		Users:   []brain.SIPUser{ann, bob, cat},
		Queues:  lines, Options: keys,
		Extensions: []brain.Extension{{ID: "ext_cell", AccountID: "acc_1", Digits: "710", Status: brain.StatusActive, DestKind: brain.DestForward, DestID: "fwd_cell"}},
		Forwards: []brain.Forward{
			{ID: "fwd_cell", AccountID: "acc_1", Name: "cell", Number: "0151", Confirm: true, OverflowDestKind: brain.DestVoicemail, OverflowDestID: "vm_2"},
			{ID: "fwd_ring", AccountID: "acc_1", Name: "ring", Number: "0152", Confirm: true, OverflowDestKind: brain.DestUser, OverflowDestID: "us_3"},
			{ID: "fwd_chain", AccountID: "acc_1", Name: "chain", Number: "0153", OverflowDestKind: brain.DestForward, OverflowDestID: "fwd_ring"},
			{ID: "fwd_first", AccountID: "acc_1", Name: "first", Number: "0154", OverflowDestKind: brain.DestForward, OverflowDestID: "fwd_busy"},
			{ID: "fwd_busy", AccountID: "acc_1", Name: "busy", Number: "0155", Trigger: brain.TriggerBusy, OverflowDestKind: brain.DestVoicemail, OverflowDestID: "vm_2"},
		},
		Voicemails: []brain.Voicemail{
			{ID: "vm_1", AccountID: "acc_1", Name: "one", QuotaMB: 200, MaxMessageSec: 180, PINHash: "hash:1234"},
			{ID: "vm_2", AccountID: "acc_1", Name: "two", QuotaMB: 200, MaxMessageSec: 60, GreetingMediaID: "media_1", SkipInstructions: true},
			{ID: "vm_full", AccountID: "acc_1", Name: "full", QuotaMB: 1, MaxMessageSec: 60},
		},
		Messages: []*brain.VoicemailMessage{
			message("msg_a", "vm_1", day-90000, 9000, true, "4930111"), message("msg_b", "vm_1", day, 9000, false, "4930222"),
			message("msg_c", "vm_1", day+60, 9000, false, ""), message("msg_d", "vm_full", day, 1<<20, false, ""),
		},
		Conferences: []brain.Conference{
			{ID: "conf_open", AccountID: "acc_1", Name: "open", MaxMembers: 5, AnnounceJoinLeave: true},
			{ID: "conf_pin", AccountID: "acc_1", Name: "pin", PINHash: "hash:1111", ModeratorPINHash: "hash:9999", WaitForModerator: true, Record: true},
			{ID: "conf_mod", AccountID: "acc_1", Name: "mod", ModeratorPINHash: "hash:9999"},
		},
	})
}

// stage is a call and what it is played against. Every step is held against what must hold for all of them.
type stage struct {
	t     testing.TB
	env   *Env
	flows map[string]*Flow
	locks *Locks
	m     *Machine
	twin  *Machine // brought along by records alone, as a journal does
	now   int64
	last  Reply
	ids   map[string]bool // of effects
	place map[string]bool // of entries: whether it was joined and not left
	calls int
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{t: t, locks: NewLocks(), now: beginMS, ids: map[string]bool{}}
	s.call()
	s.flows = map[string]*Flow{"flow_1": published(t, "flow_1", 3, strings.ReplaceAll(menuGraph, "VERSION", "three")),
		"flow_2": published(t, "flow_2", 1, otherGraph), "flow_circle": published(t, "flow_circle", 1, circleGraph),
		"flow_line":  published(t, "flow_line", 1, strings.ReplaceAll(lineGraph, "QUEUE", "q_sales")),
		"flow_shut":  published(t, "flow_shut", 1, strings.ReplaceAll(lineGraph, "QUEUE", "q_shut")),
		"flow_night": published(t, "flow_night", 1, strings.ReplaceAll(lineGraph, "QUEUE", "q_night"))}
	s.env = &Env{Account: office(t), Flow: func(id string) *Flow { return s.flows[id] },
		Hours: func(id string, _ int64) string {
			return map[string]string{"sch_shut": flow.OutOfHours, "sch_feast": flow.Holiday, "sch_open": flow.InHours}[id]
		},
		Locked: func(target string) bool { return s.locks.Locked(s.now, target) }}
	return s
}

// call begins another call of the same account.
func (s *stage) call() {
	s.calls++
	id := fmt.Sprintf("acc_1/call/tok%d", s.calls)
	s.m, s.twin, s.last, s.place = New(id), New(id), Reply{}, map[string]bool{}
}

// ask puts a question, applies what it leads to, and answers the PINs that are asked for.
func (s *stage) ask(req *Request) Reply {
	s.t.Helper()
	before := slices.Clone(s.m.image)
	op, reply := s.m.Decide(s.now, s.env, req)
	if replayed, other := s.twin.Decide(s.now, s.env, req); !bytes.Equal(op, replayed) || asJSON(s.t, reply) != asJSON(s.t, other) {
		s.t.Fatalf("the machine that was replayed decides otherwise:\n%s\n%s", op, replayed)
	}
	if string(before) != string(s.m.image) {
		s.t.Fatal("Decide has changed the machine")
	}
	if op != nil {
		s.apply(op)
	}
	if reply.Wrong != "" {
		if _, _, err := s.locks.Apply(s.now, WrongOp(reply.Wrong)); err != nil {
			s.t.Fatal(err)
		}
	}
	if reply.Need != nil && reply.Need.PIN != nil {
		if op != nil {
			s.t.Fatal("a PIN to be checked was written down")
		}
		match := slices.Index(reply.Need.PIN.Hashes, "hash:"+reply.Need.PIN.Digits)
		return s.ask(&Request{Flow: req.Flow, Checked: &Checked{Turn: reply.Turn, Match: match}})
	}
	s.invariants(op, reply)
	s.last = reply
	return reply
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *stage) apply(op []byte) {
	s.t.Helper()
	described, err := Describe(op)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := json.Marshal(described)
	if err != nil {
		s.t.Fatal(err)
	}
	again, err := OpFromJSON(text)
	if err != nil {
		s.t.Fatalf("OpFromJSON(%s): %v", text, err)
	}
	for m, op := range map[*Machine][]byte{s.m: op, s.twin: again} {
		if _, changed, err := m.Apply(s.now, op); err != nil || !changed {
			s.t.Fatalf("Apply: %v, changed %v", err, changed)
		}
	}
}

// invariants hold after every question.
func (s *stage) invariants(op []byte, r Reply) {
	s.t.Helper()
	if len(s.m.image) > MaxState {
		s.t.Fatalf("an image of %d bytes", len(s.m.image))
	}
	if string(s.m.image) != string(s.twin.image) {
		s.t.Fatalf("replayed, the machine is another one:\n%s\n%s", s.m.image, s.twin.image)
	}
	if restored, err := Restore(s.m.id, s.m.AppendSnapshot(nil)); err != nil || string(restored.image) != string(s.m.image) ||
		restored.over != s.m.over || restored.work != s.m.work || restored.endMS != s.m.endMS || len(restored.flows) != len(s.m.flows) {
		s.t.Fatalf("restored, the machine is another one: %v", err)
	}
	if r.Seq != s.last.Seq && r.Seq != s.last.Seq+1 {
		s.t.Fatalf("seq went from %d to %d", s.last.Seq, r.Seq)
	}
	s.places(r)
	if op == nil {
		return
	}
	for _, e := range r.Effects {
		if known := slices.ContainsFunc(s.last.Effects, func(o Effect) bool { return reflect.DeepEqual(o, e) }); s.ids[e.ID] && !known {
			s.t.Fatalf("effect %s a second time", e.ID)
		}
		s.ids[e.ID] = true
	}
}

// places holds that a caller in a queue has one place, which is asked for only while the command is enqueue, that no reply
// gives back the very place it asks for, and that a session which is over has given back all of its places.
func (s *stage) places(r Reply) {
	s.t.Helper()
	if (r.Enqueue != nil) != (r.Command == api.CommandEnqueue && !r.Over) {
		s.t.Fatalf("a %s joins %+v", r.Command, r.Enqueue)
	}
	for _, e := range r.Effects {
		if e.Kind != EffectQueueLeft && e.Kind != EffectQueueCallback {
			continue
		}
		if r.Enqueue != nil && r.Enqueue.EntryID == e.EntryID {
			s.t.Fatalf("%s is left and joined at once", e.EntryID)
		}
		s.place[e.EntryID] = false
	}
	if r.Enqueue != nil {
		if r.Enqueue.EntryID != r.Params.EntryID {
			s.t.Fatalf("%s is joined, the node hears of %s", r.Enqueue.EntryID, r.Params.EntryID)
		}
		s.place[r.Enqueue.EntryID] = r.Enqueue.CallbackFence == 0 // who is called back may not be given it, and then it is not his to give back
	}
	joined := 0
	for entry, is := range s.place {
		if is && r.Over {
			s.t.Fatalf("over, and %s was not left", entry)
		} else if is {
			joined++
		}
	}
	if joined > 1 {
		s.t.Fatalf("%d places at once", joined)
	}
}

// question makes a node agent's question about the current command.
func (s *stage) question(outcome string, data map[string]string) *api.FlowRequest {
	return &api.FlowRequest{AccountID: "acc_1", Token: strings.TrimPrefix(s.m.id, "acc_1/call/"), CallID: "c1@phone", Node: "edge1",
		Seq: s.last.Seq, Outcome: outcome, Data: data}
}

// start begins the call at a target.
func (s *stage) start(target string, vars map[string]string) Reply {
	s.t.Helper()
	kind, id, _ := strings.Cut(target, "/")
	q := s.question("", nil)
	q.Seq, q.Start = 0, &api.FlowStart{TargetKind: kind, TargetID: id, Vars: vars, Channel: "ch-1"}
	return s.ask(&Request{Flow: q})
}

// outcome tells what became of the current command.
func (s *stage) outcome(outcome string, data map[string]string) Reply {
	s.t.Helper()
	s.now += 1000
	if data["bytes"] != "" && data["key"] == "" {
		data["key"] = s.last.Params.Key
	}
	return s.ask(&Request{Flow: s.question(outcome, data)})
}

// answered tells what became of an HTTP call.
func (s *stage) answered(outcome string, data map[string]string) Reply {
	s.t.Helper()
	s.now += 1000
	return s.ask(&Request{Result: &Result{Turn: s.last.Turn, Outcome: outcome, Data: data}})
}

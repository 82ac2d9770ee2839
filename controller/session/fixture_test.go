package session

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/session"
)

// directory is one account.
type directory struct {
	brain.Directory
	account *brain.AccountConfig
}

func (d directory) ByAccount(id string) *brain.AccountConfig {
	if id == d.account.Account.ID {
		return d.account
	}
	return nil
}

// owner runs the real machines, with a journal that a kill leaves behind.
type owner struct {
	env func(string) *session.Env

	mu       sync.Mutex
	machines map[string]*session.Machine
	journal  []entry
	nowMS    int64
	renewed  []api.AliveCall
	asked    int
}

type entry struct {
	id string
	op []byte
}

func newOwner() *owner {
	return &owner{machines: map[string]*session.Machine{}, nowMS: 1_800_000_000_000}
}

func (o *owner) Step(_ context.Context, accountID, token string, req *session.Request) (session.Reply, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	id := brain.CallObject(accountID, token)
	m := o.machines[id]
	if m == nil {
		m = session.New(id)
		o.machines[id] = m
	}
	op, reply := m.Decide(o.nowMS, o.env(accountID), req)
	if op != nil {
		o.journal = append(o.journal, entry{id, op})
		if _, _, err := m.Apply(o.nowMS, op); err != nil {
			return reply, err
		}
	}
	return reply, nil
}

func (o *owner) Renew(_ context.Context, calls []api.AliveCall) error {
	o.renewed = append(o.renewed, calls...)
	return nil
}

func (o *owner) Late(context.Context) (late []api.AliveCall) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, m := range o.machines {
		if accountID, _ := brain.IsCallObject(id); m.Late(o.nowMS) {
			late = append(late, api.AliveCall{AccountID: accountID, Token: id[len(brain.CallObject(accountID, "")):]})
		}
	}
	return late
}

// killed is the owner that reads what this one left in its journal.
func (o *owner) killed(t *testing.T) *owner {
	t.Helper()
	next := newOwner()
	next.env, next.journal, next.nowMS = o.env, slices.Clone(o.journal), o.nowMS
	for _, e := range o.journal {
		if next.machines[e.id] == nil {
			next.machines[e.id] = session.New(e.id)
		}
		if _, _, err := next.machines[e.id].Apply(o.nowMS, e.op); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range next.machines {
		m.Resume(o.nowMS)
	}
	return next
}

// box keeps what calls leave, and fails as it is told.
type box struct {
	mu       sync.Mutex
	fail     error
	asked    int
	messages map[string]*brain.VoicemailMessage
	read     []string
	deleted  []string
	told     []string
	kept     []string
}

func (b *box) Store(_ context.Context, msg *brain.VoicemailMessage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked++; b.fail != nil {
		return b.fail
	}
	if b.messages == nil {
		b.messages = map[string]*brain.VoicemailMessage{}
	}
	b.messages[msg.ID] = msg
	return nil
}

func (b *box) MarkRead(_ context.Context, _, id string) error {
	b.read = append(b.read, id)
	return b.fail
}

func (b *box) Delete(_ context.Context, msg *brain.VoicemailMessage) error {
	b.deleted = append(b.deleted, msg.ID)
	return b.fail
}

func (b *box) Notify(_ context.Context, msg *brain.VoicemailMessage) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, msg.ID)
	return nil
}

// tapes keeps recordings.
type tapes struct{ b *box }

func (t tapes) Store(_ context.Context, _ string, rec *session.Recording) error {
	t.b.kept = append(t.b.kept, rec.Key)
	return nil
}

// sounds has every sound but one.
type sounds struct{}

func (sounds) Resolve(_ context.Context, _ *brain.AccountConfig, s brain.Sound) ([]api.MediaRef, error) {
	if s.Prompt == "vm-beep-instructions" {
		return nil, brain.Errorf(brain.ENotFound, "nobody has spoken it")
	}
	return []api.MediaRef{{Key: "k/" + s.Prompt + s.Text + s.MediaID + s.Key}}, nil
}

// desk is Calls with everything around it.
type desk struct {
	*Calls
	owner *owner
	box   *box
	log   *bytes.Buffer
}

// newDesk sets a desk on what an owner left behind; nil is a new installation.
func newDesk(t testing.TB, o *owner) *desk {
	t.Helper()
	if o == nil {
		o = newOwner()
	}
	d := &desk{owner: o, box: &box{}, log: &bytes.Buffer{}}
	acct := office(t)
	d.Calls = &Calls{Owner: o, Directory: func() brain.Directory { return directory{account: acct} }, Messages: d.box, Notifier: d.box,
		Recordings: tapes{d.box}, Sounds: sounds{}, CheckPIN: func(hash, digits string) bool { return hash == "hash:"+digits },
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	o.env = d.Env
	return d
}

func office(t testing.TB) *brain.AccountConfig {
	t.Helper()
	row := func(id, graph string, version int64) *brain.CallFlow {
		f := &brain.CallFlow{ID: id, AccountID: "acc_1", Name: id, Version: version}
		if err := json.Unmarshal([]byte(graph), &f.LiveGraph); err != nil {
			t.Fatal(err)
		}
		return f
	}
	const ask = `{"start":"in","nodes":[{"id":"in","type":"x","position":{"x":1,"y":2},"data":{"kind":"entry"}},
		{"id":"menu","data":{"kind":"menu","promptText":"press","maxDigits":1}},
		{"id":"ask","data":{"kind":"http","method":"POST","url":"https://crm.example.com/who","body":"{}","saveAs":{"name":"$.name"}}},
		{"id":"say","data":{"kind":"say","text":"hello {{ name }}"}}],
		"edges":[{"source":"in","target":"menu"},{"source":"menu","target":"ask"},{"source":"ask","target":"say"}]}`
	return brain.NewAccountConfig(1, brain.AccountRows{
		Account:    brain.Account{ID: "acc_1", Name: "office"},
		Users:      []brain.SIPUser{{ID: "us_1", AccountID: "acc_1", Username: "101", VoicemailID: "vm_1", Status: brain.StatusActive}},
		Voicemails: []brain.Voicemail{{ID: "vm_1", AccountID: "acc_1", QuotaMB: 10, MaxMessageSec: 60, PINHash: "hash:975310"}},
		Messages:   []*brain.VoicemailMessage{{ID: "msg_1", AccountID: "acc_1", VoicemailID: "vm_1", ObjectKey: "acc_1/vm/vm_1/msg_1.wav", Bytes: 1}},
		Queues: []brain.Queue{{ID: "q_1", AccountID: "acc_1", Name: "sales", QueueFullDestKind: brain.DestVoicemail, QueueFullDestID: "vm_1"},
			{ID: "q_2", AccountID: "acc_1", Name: "other"}},
		Options: []brain.InQueueOption{{ID: "opt_1", AccountID: "acc_1", QueueID: "q_1", Digit: "1", Action: "route", DestKind: brain.DestVoicemail, DestID: "vm_1"},
			{ID: "opt_2", AccountID: "acc_1", QueueID: "q_1", Digit: "2", Action: "webhook", WebhookURL: "https://crm.example.com/key", StayInQueue: true},
			{ID: "opt_3", AccountID: "acc_1", QueueID: "q_1", Digit: "3", Action: "callback", CallbackTries: 2, CallbackRetrySec: 60, CallbackWindowSec: 600}},
		Flows: []*brain.CallFlow{row("flow_1", ask, 2), row("flow_draft", ask, 0), row("flow_broken", `{"start":"none"}`, 1)},
	})
}

func start(target, id string, vars map[string]string) *api.FlowRequest {
	return &api.FlowRequest{AccountID: "acc_1", Token: "t", CallID: "c", Node: "edge1",
		Start: &api.FlowStart{TargetKind: target, TargetID: id, Vars: vars, Channel: "ch"}}
}

func (d *desk) say(t *testing.T, req *api.FlowRequest) api.FlowReply {
	t.Helper()
	reply, err := d.Flow(t.Context(), req)
	if err != nil {
		t.Fatalf("%s: %v\n%s", req.Outcome, err, d.log)
	}
	return reply
}

func ended(seq int64, outcome string, data map[string]string) *api.FlowRequest {
	return &api.FlowRequest{AccountID: "acc_1", Token: "t", CallID: "c", Node: "edge1", Seq: seq, Outcome: outcome, Data: data}
}

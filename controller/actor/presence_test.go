package actor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
	"github.com/sipio/sipio/brain/route"
)

// offices is a configuration of accounts acc_1 … with users 1001 and 1002 each, and a node "small" for two calls.
type offices map[string]*brain.AccountConfig

func newOffices(n int) offices {
	o := offices{}
	for i := 1; i <= n; i++ {
		id := fmt.Sprintf("acc_%d", i)
		rows := brain.AccountRows{Account: brain.Account{ID: id, Status: brain.StatusActive, MaxInternal: 3, AdmissionPolicy: brain.AdmissionLocalShare},
			Domains: []brain.SIPDomain{{Domain: id + ".test", IsPrimary: true}}}
		for _, u := range []string{"1001", "1002"} {
			rows.Users = append(rows.Users, brain.SIPUser{ID: "us_" + u + id, Username: u, Status: brain.StatusActive})
			rows.Devices = append(rows.Devices, brain.SIPDevice{ID: "dev_" + u + id, UserID: "us_" + u + id, AuthUsername: u, Realm: id + ".test"})
		}
		o[id] = brain.NewAccountConfig(1, rows)
	}
	return o
}

func (o offices) ByAccount(id string) *brain.AccountConfig { return o[id] }
func (o offices) ByDomain(d string) *brain.AccountConfig   { return o[strings.TrimSuffix(d, ".test")] }
func (o offices) ActiveNodes() int                         { return 2 }
func (o offices) Version() int64                           { return 1 }
func (o offices) NodeByName(name string) *brain.Node {
	if name == "small" {
		return &brain.Node{Name: name, Capacity: 2}
	}
	return nil
}

// admission is a call of 1001 to 1002 in an account.
func (o offices) admission(id, token, node string) *presence.Admission {
	c := o[id]
	from, to := c.UserByName["1001"], c.UserByName["1002"]
	a := &presence.Admission{AccountID: id, Policy: c.Account.AdmissionPolicy, Nodes: o.ActiveNodes()}
	a.Call = presence.Admit{Call: cac.Call{Token: token, CallID: "call-" + token, Node: node, AskedMS: 1, Takes: route.Takes(&route.Caller{Account: c, User: from}, to, &api.RouteRequest{})},
		From: "1001", To: "1002", CallerUser: from.ID, CalleeUser: to.ID}
	if n := o.NodeByName(node); n != nil {
		a.NodeCapacity = n.Capacity
	}
	return a
}

// newPresence makes the live state of one brain that owns every shard of a store.
func newPresence(t *testing.T, s *store, epoch uint64) *Presence {
	t.Helper()
	h := NewHost(s.open)
	h.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	if epoch > 0 {
		own(t, h, epoch)
	}
	t.Cleanup(func() { closeHost(h) })
	return &Presence{Live: &Live{Host: h}}
}

func (p *Presence) slots(t *testing.T, id string) string {
	t.Helper()
	state, err := p.CAC(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, s := range state.Slots {
		list = append(list, s.Token)
	}
	return strings.Join(list, " ")
}

func (p *Presence) admit(t *testing.T, a *presence.Admission) cac.Verdict {
	t.Helper()
	v, err := p.Admit(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func events(node string, list ...api.Event) api.EventBatch {
	for i := range list {
		list[i].Seq = int64(i + 1)
		if list[i].TimeMS == 0 {
			list[i].TimeMS = time.Now().UnixMilli()
		}
	}
	return api.EventBatch{Node: node, Boot: "b", Events: list}
}

// A call is admitted within its limits, ends with its dialog, and survives a restart of the brain; what was
// delivered twice counts once.
func TestPresence_AdmissionLivesThroughARestart(t *testing.T) {
	s, o := &store{}, newOffices(1)
	p := newPresence(t, s, 1)
	for _, token := range []string{"a", "b", "c", "b"} {
		if v := p.admit(t, o.admission("acc_1", token, "n1")); !v.Admitted {
			t.Fatalf("%s: %+v", token, v)
		}
	}
	if v := p.admit(t, o.admission("acc_1", "d", "n1")); v.Admitted || v.Kind != cac.Internal || v.Limit != 3 || v.Used != 3 {
		t.Errorf("over the limit: %+v", v)
	}
	end := events("n1", api.Event{Type: api.EventDialogEnd, AccountID: "acc_1", CallID: "call-b", Token: "b"})
	for range 2 {
		if reply, err := p.Deliver(t.Context(), o, end); err != nil || reply.LastSeq != 1 {
			t.Fatalf("%+v %v", reply, err)
		}
	}
	again := newPresence(t, s, 2)
	if got := again.slots(t, "acc_1"); got != "a c" {
		t.Errorf("after the restart: %q, want a and c", got)
	}
	if v := again.admit(t, o.admission("acc_1", "d", "n1")); !v.Admitted {
		t.Errorf("one is free: %+v", v)
	}
}

// A node's capacity counts over accounts, and is given back when the account refuses, when a call ends, and when
// the node's reports no longer list it.
func TestPresence_NodeCapacityCountsOverAccounts(t *testing.T) {
	o := newOffices(4)
	o["acc_3"].Account.MaxInternal = 1
	p := newPresence(t, &store{}, 1)
	if v := p.admit(t, o.admission("acc_3", "x", "n1")); !v.Admitted {
		t.Fatalf("%+v", v)
	}
	if v := p.admit(t, o.admission("acc_3", "y", "small")); v.Kind != cac.Internal {
		t.Errorf("refused by the account: %+v", v)
	}
	for i, token := range []string{"a", "b"} {
		if v := p.admit(t, o.admission(fmt.Sprintf("acc_%d", i+1), token, "small")); !v.Admitted {
			t.Fatalf("%s: %+v", token, v)
		}
	}
	if v := p.admit(t, o.admission("acc_4", "c", "small")); v.Kind != cac.Node || v.Limit != 2 {
		t.Errorf("the node is full: %+v", v)
	}
	if _, err := p.Deliver(t.Context(), o, events("small", api.Event{Type: api.EventDialogEnd, AccountID: "acc_1", CallID: "call-a", Token: "a"})); err != nil {
		t.Fatal(err)
	}
	if v := p.admit(t, o.admission("acc_4", "d", "small")); !v.Admitted {
		t.Errorf("one is free: %+v", v)
	}
	report := &api.DialogReport{Node: "small", Boot: "b", BootMS: 1, Seq: 1, TakenMS: 60_000, Count: 1,
		Dialogs: []api.Dialog{{AccountID: "acc_2", Token: "old", CallID: "c-old", From: "1001", To: "1002", SinceMS: 1000}}}
	if err := p.Report(o, report); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); len(strings.Fields(p.slots(t, nodeID("small")))) != 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a call that only the report tells of is not counted: %q", p.slots(t, nodeID("small")))
		}
	}
	if v := p.admit(t, o.admission("acc_1", "e", "small")); v.Kind != cac.Node || v.Used != 3 {
		t.Errorf("beyond the reported: %+v", v)
	}
	if ids, err := p.Accounts(t.Context()); err != nil || strings.Join(ids, " ") != "acc_1 acc_2 acc_3 acc_4" {
		t.Errorf("%v %v", ids, err)
	}
}

// Events of an account that is not configured are counted and dropped, but ends are taken; an event without an
// account is of whose domain it is in.
func TestPresence_WhoseEventItIs(t *testing.T) {
	o := newOffices(1)
	p := newPresence(t, &store{}, 1)
	gone := api.Event{Type: api.EventContactSaved, AccountID: "acc_9", AOR: "sip:1@x", Contact: "sip:1@h", ExpiresS: 60}
	end := api.Event{Type: api.EventDialogEnd, AccountID: "acc_9", CallID: "c"}
	saved := api.Event{Type: api.EventContactSaved, AOR: "sip:1001@acc_1.test", Contact: "sip:1@h", ExpiresS: 60}
	if _, err := p.Deliver(t.Context(), o, events("n1", gone, end, saved)); err != nil {
		t.Fatal(err)
	}
	if c := p.Counts(); c["events_applied"] != 2 || c["events_unknown_account"] != 1 {
		t.Errorf("%v", c)
	}
	state, err := p.State(t.Context(), "acc_1")
	if err != nil || len(state.Devices) != 1 || state.Devices[0].DeviceID != "dev_1001acc_1" || len(state.Users) != 1 || !state.Users[0].Reachable {
		t.Errorf("%+v %v", state, err)
	}
}

// pair makes two brains: the first owns every shard, the second passes everything on to it.
func pair(t *testing.T) (owner, other *Presence) { return pairOn(t, &store{}) }

func pairOn(t *testing.T, s *store) (owner, other *Presence) {
	owner, other = newPresence(t, s, 1), newPresence(t, &store{}, 0)
	other.Live.IsNoOwner = func(err error) bool { return errors.Is(err, errNobody) }
	other.Live.Ask = func(ctx context.Context, shard int, data []byte) ([]byte, error) {
		answer := owner.Live.Answer(ctx, shard, bytes.Clone(data))
		if answer == nil {
			return nil, errNobody
		}
		return answer, nil
	}
	return owner, other
}

var errNobody = errors.New("nobody")

// What one brain does not own it passes on: admissions, events, questions, lists and watching give the same
// there as at the owner, errors included.
func TestPresence_PassesOnToTheOwner(t *testing.T) {
	owner, other := pair(t)
	o := newOffices(2)
	if v := other.admit(t, o.admission("acc_1", "a", "n1")); !v.Admitted {
		t.Fatalf("%+v", v)
	}
	if got := owner.slots(t, "acc_1"); got != "a" || other.slots(t, "acc_1") != got {
		t.Errorf("owner has %q, the other sees %q", got, other.slots(t, "acc_1"))
	}
	if _, err := other.Deliver(t.Context(), o, events("n1", api.Event{Type: api.EventDialogStart, AccountID: "acc_1", CallID: "call-a", Token: "a", From: "1001", To: "1002"})); err != nil {
		t.Fatal(err)
	}
	if calls, err := other.Calls(t.Context(), "acc_1"); err != nil || len(calls) != 1 || calls[0].Token != "a" {
		t.Errorf("%+v %v", calls, err)
	}
	if ids, err := other.Accounts(t.Context()); err != nil || strings.Join(ids, " ") != "acc_1" {
		t.Errorf("%v %v", ids, err)
	}
	if _, err := other.Live.Do(t.Context(), "acc_1", ClassStep, []byte{200}); err == nil {
		t.Error("an operation that cannot be read passed")
	}
	owner.Live.Host.Serving = func(int, uint64) bool { return false }
	if _, err := other.Calls(t.Context(), "acc_1"); !errors.Is(err, ErrNoOwner) {
		t.Errorf("an owner that may not answer: %v", err)
	}
}

// A watcher gets the whole state, then what followed; after a change of owner, or too long away, it begins again
// with the whole state.
func TestPresence_AWatcherMissesNothing(t *testing.T) {
	owner, other := pair(t)
	var published []api.Numbered
	owner.Live.Host.Publish = func(_ string, data []byte) {
		if d, err := ReadDelta(data); err == nil {
			published = append(published, d)
		}
	}
	o := newOffices(1)
	first, err := other.Watch(t.Context(), "acc_1", "")
	if err != nil || first.State == nil {
		t.Fatalf("%+v %v", first, err)
	}
	owner.admit(t, o.admission("acc_1", "a", "n1"))
	owner.admit(t, o.admission("acc_1", "b", "n1"))
	w, err := other.Watch(t.Context(), "acc_1", first.ID)
	if err != nil || w.State != nil || len(w.Deltas) < 2 || w.Deltas[0].ID != api.NextDeltaID(first.ID) {
		t.Fatalf("%+v %v", w, err)
	}
	var d api.Delta
	if err := json.Unmarshal(w.Deltas[0].Data, &d); err != nil || d.Type != api.DeltaCall || d.CallState != "admitted" || d.Token != "a" || d.TimeMS == 0 {
		t.Errorf("%s %v", w.Deltas[0].Data, err)
	}
	if len(published) != len(w.Deltas) || published[0].ID != w.Deltas[0].ID {
		t.Errorf("published %v", published)
	}
	for _, unknown := range []string{"7.1", "1.999", "x", "1.", ".1"} {
		if w, err := other.Watch(t.Context(), "acc_1", unknown); err != nil || w.State == nil {
			t.Errorf("after %q: %+v %v", unknown, w, err)
		}
	}
}

// While a shard has no owner, an account's calls are admitted by its policy: each node its share of the limit,
// counting what the node's last report listed; closed admits none; an emergency call always passes.
func TestPresence_WithoutAnOwnerThePolicyDecides(t *testing.T) {
	o := newOffices(1) // 3 calls, 2 nodes: 2 for each
	p := newPresence(t, &store{}, 0)
	p.Live.Ask = func(context.Context, int, []byte) ([]byte, error) { return nil, errNobody }
	p.Live.IsNoOwner = func(err error) bool { return errors.Is(err, errNobody) }
	report := &api.DialogReport{Node: "n1", Boot: "b", BootMS: 1, Seq: 1, TakenMS: 2, Count: 1,
		Dialogs: []api.Dialog{{AccountID: "acc_1", Token: "old", CallID: "c", From: "1001", To: "1002", SinceMS: 1}}}
	if err := p.Report(o, report); err != nil {
		t.Fatal(err)
	}
	if v := p.admit(t, o.admission("acc_1", "a", "n1")); !v.Admitted {
		t.Errorf("second of the node's two: %+v", v)
	}
	if v := p.admit(t, o.admission("acc_1", "b", "n1")); v.Admitted || v.Kind != cac.Internal || v.Limit != 2 {
		t.Errorf("third of the node's two: %+v", v)
	}
	if v := p.admit(t, o.admission("acc_1", "c", "n2")); !v.Admitted {
		t.Errorf("the other node's share: %+v", v)
	}
	o["acc_1"].Account.AdmissionPolicy = brain.AdmissionClosed
	if _, err := p.Admit(t.Context(), o.admission("acc_1", "d", "n2")); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("closed: %v", err)
	}
	sos := o.admission("acc_1", "e", "n1")
	sos.Call.Emergency = true
	if v := p.admit(t, sos); !v.Admitted {
		t.Errorf("emergency: %+v", v)
	}
	if p.Counts()["admissions_degraded"] != 5 {
		t.Errorf("%v", p.Counts())
	}
}

// A report that another brain has broadcast is taken whole or not at all.
func TestPresence_ReportedChecksTheCount(t *testing.T) {
	p := newPresence(t, &store{}, 1)
	for _, bad := range []string{``, `{`, `{"node":"n","count":2,"dialogs":[{}]}`} {
		if err := p.Reported(newOffices(1), []byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// Hand-made resets release one slot, or all.
func TestPresence_Reset(t *testing.T) {
	o := newOffices(1)
	p := newPresence(t, &store{}, 1)
	for _, token := range []string{"a", "b", "c"} {
		p.admit(t, o.admission("acc_1", token, "n1"))
	}
	if _, err := p.Reset(t.Context(), "acc_1", []string{"b"}); err != nil || p.slots(t, "acc_1") != "a c" {
		t.Errorf("%v %q", err, p.slots(t, "acc_1"))
	}
	if n, err := p.Reset(t.Context(), "acc_1", nil); err != nil || n != 2 || p.slots(t, "acc_1") != "" {
		t.Errorf("%d %v %q", n, err, p.slots(t, "acc_1"))
	}
}

func (offices) ByDID(string) (*brain.AccountConfig, *brain.DID)               { return nil, nil }
func (offices) TrunkBySource(string) (*brain.AccountConfig, *brain.SIPTrunk)  { return nil, nil }
func (offices) TrunkByTLSName(string) (*brain.AccountConfig, *brain.SIPTrunk) { return nil, nil }
func (offices) TrunkSources() []string                                        { return nil }
func (offices) Nodes() []*brain.Node                                          { return nil }

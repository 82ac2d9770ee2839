package actor

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// next is a swap of a call from one trunk to another that has room for limit calls.
func next(token string, attempt int, from, to string, limit int) presence.Swap {
	return presence.Swap{Node: "n1", Nodes: 2, Policy: brain.AdmissionLocalShare, Swap: cac.Swap{Token: token, Attempt: attempt,
		Drop: []cac.Take{{Kind: cac.Trunk, ID: from}}, Add: []cac.Take{{Kind: cac.Trunk, ID: to, Limit: limit}}}}
}

func (p *Presence) swap(t *testing.T, s presence.Swap) cac.Verdict {
	t.Helper()
	v, err := p.Swap(t.Context(), "acc_1", s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// channels tells the trunks that an account's calls hold, by token.
func (p *Presence) channels(t *testing.T) string {
	t.Helper()
	state, err := p.CAC(t.Context(), "acc_1")
	if err != nil {
		t.Fatal(err)
	}
	list := ""
	for _, s := range state.Slots {
		for _, take := range s.Takes {
			if take.Dimension == cac.Trunk.String() {
				list += fmt.Sprintf("%s on %s. ", s.Token, take.ID)
			}
		}
	}
	return list
}

// A swap is decided by the account's owner, wherever it is asked: granted once, refused by a full trunk, nothing for a call
// that is over; and what was granted survives a restart of the brain.
func TestPresence_SwapsAtTheOwner(t *testing.T) {
	s, o := &store{}, newOffices(1)
	owner, other := pairOn(t, s)
	for _, token := range []string{"a", "b"} {
		call := o.admission("acc_1", token, "n1")
		call.Call.Takes = append(call.Call.Takes, cac.Take{Kind: cac.Trunk, ID: "first", Limit: 2})
		other.admit(t, call)
	}
	if v := other.swap(t, next("a", 1, "first", "second", 1)); !v.Admitted || v.Repeated {
		t.Errorf("%+v", v)
	}
	if v := owner.swap(t, next("a", 1, "first", "second", 1)); !v.Repeated {
		t.Errorf("the same once more: %+v", v)
	}
	if v := other.swap(t, next("b", 1, "first", "second", 1)); v.Admitted || v.Kind != cac.Trunk || v.ID != "second" || v.Limit != 1 || v.Used != 1 {
		t.Errorf("no channel is free: %+v", v)
	}
	if v := other.swap(t, next("c", 1, "first", "second", 9)); v.Admitted || v.Kind != 0 || v.Limit != 0 {
		t.Errorf("a call that never was: %+v", v)
	}
	again := newPresence(t, s, 2)
	if got := again.channels(t); got != "a on second. b on first. " {
		t.Errorf("after a restart: %s", got)
	}
}

// While a shard has no owner a swap is decided by the account's policy, within the node's share of each limit: for calls
// admitted here and for those that the owner admitted; the channel that a call leaves is free; closed decides nothing; an
// emergency call always passes.
func TestPresence_SwapsByShareWithoutAnOwner(t *testing.T) {
	p, o := newPresence(t, &store{}, 0), newOffices(1)
	p.Live.Ask = func(context.Context, int, []byte) ([]byte, error) { return nil, errNobody }
	p.Live.IsNoOwner = func(err error) bool { return errors.Is(err, errNobody) }
	report := &api.DialogReport{Node: "n1", Boot: "b", BootMS: 1, Seq: 1, TakenMS: 2, Count: 1,
		Dialogs: []api.Dialog{{AccountID: "acc_1", Token: "old", CallID: "c", From: "1001", To: "1002", SinceMS: 1}}}
	if err := p.Report(o, report); err != nil {
		t.Fatal(err)
	}
	p.admit(t, o.admission("acc_1", "here", "n1"))
	for _, step := range []struct {
		swap     presence.Swap
		admitted bool
	}{
		{next("here", 1, "x", "a", 3), true},     // the first of the node's two of three
		{next("old", 1, "x", "a", 3), true},      // a call that the report told of
		{next("unseen", 33, "x", "a", 3), false}, // one too many
		{next("unseen", 33, "x", "b", 1), true},  // it was the owner that admitted it
		{next("here", 1, "a", "b", 9), true},     // a repetition, and b is not taken by it
		{next("other", 1, "x", "b", 1), false},   // so this is the second
		{next("unseen", 34, "b", "c", 1), true},  // what was left
		{next("other", 1, "x", "b", 1), true},    // is free
		{next("unseen", 34, "c", "d", 1), true},  // a repetition
		{next("another", 1, "x", "c", 1), false}, // c is held
	} {
		if v := p.swap(t, step.swap); v.Admitted != step.admitted || !v.Admitted && v.Kind != cac.Trunk {
			t.Errorf("%+v: %+v", step.swap.Swap, v)
		}
	}
	if p.Counts()["admissions_degraded"] != 11 {
		t.Errorf("%v", p.Counts())
	}
	closed := next("here", 2, "a", "z", 9)
	closed.Policy = brain.AdmissionClosed
	if _, err := p.Swap(t.Context(), "acc_1", closed); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("closed: %v", err)
	}
	if closed.Emergency, closed.Add[0] = true, (cac.Take{Kind: cac.Trunk, ID: "c", Limit: 1}); !p.swap(t, closed).Admitted {
		t.Error("an emergency call was refused")
	}
}

// A brain that neither owns the account nor reaches anybody, for another reason than that there is no owner, says that it
// cannot tell, as for an admission.
func TestPresence_SwapsNothingWhenNobodyCanTell(t *testing.T) {
	p := newPresence(t, &store{}, 0)
	p.Live.Ask = func(context.Context, int, []byte) ([]byte, error) { return nil, errors.New("the bus is down") }
	p.Live.IsNoOwner = func(err error) bool { return errors.Is(err, errNobody) }
	if _, err := p.Swap(t.Context(), "acc_1", next("a", 1, "x", "y", 1)); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("%v", err)
	}
}

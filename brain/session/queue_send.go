package session

import (
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// Send says where the caller goes when his queue tells him to leave by acd.LeftSent. Until then he waits on, and no other word
// is taken.
type Send struct {
	EntryID  string            `json:"entry_id,omitempty"` // his place; "" = whichever he was sent from
	Target   brain.RouteTarget `json:"target"`
	Withdraw bool              `json:"withdraw,omitempty"` // his queue does not let him go: forget it
	Look     bool              `json:"look,omitempty"`     // tell alone whether he is there
}

// Sent is what a Send came to.
type Sent struct {
	EntryID string     `json:"entry_id,omitempty"`
	Done    bool       `json:"done,omitempty"` // he is there
	Code    brain.Code `json:"code,omitempty"` // it was refused: ENotFound or EConflict
	Why     string     `json:"why,omitempty"`
}

// destination is where a caller is sent, and is remembered when he is.
type destination struct {
	EntryID string            `json:"entry_id"`
	Target  brain.RouteTarget `json:"target"`
	Done    bool              `json:"done,omitempty"`
}

// sendAsked takes a Send. It touches no effect and no command: he waits until his queue tells him to leave.
func (t *turn) sendAsked(r *Send) (moved bool) {
	im := &t.im
	was := im.Sent
	if was != nil && r.EntryID != "" && was.EntryID != r.EntryID {
		was = nil // of another place
	}
	waits := im.App != nil && im.App.Enqueue != nil && r.EntryID != "" && im.App.Enqueue.Entry == r.EntryID && im.EndMS == 0 && !im.Gone
	switch {
	case was != nil && was.Done && was.Target == r.Target:
		t.sent = &Sent{EntryID: was.EntryID, Done: true}
	case was != nil && was.Done:
		t.sent = &Sent{Code: brain.EConflict, Why: "the caller was sent elsewhere already: " + string(was.Target.Kind) + " " + was.Target.ID}
	case r.Withdraw:
		t.sent = &Sent{}
		if moved = was != nil && was.Target == r.Target; moved {
			im.Turn++
			im.Sent = nil
		}
	case !waits || r.Look:
		t.sent = &Sent{Code: brain.ENotFound, Why: "the caller does not wait any more"}
	case was != nil && was.Target == r.Target:
		t.sent = &Sent{EntryID: r.EntryID}
	case was != nil:
		t.sent = &Sent{Code: brain.EConflict, Why: "the caller is being sent elsewhere: " + string(was.Target.Kind) + " " + was.Target.ID}
	case im.App.Enqueue.State != stateWaiting:
		t.sent = &Sent{Code: brain.EConflict, Why: "the caller has pressed a key, and hears what belongs to it"}
	default:
		t.sent, moved = &Sent{EntryID: r.EntryID}, true
		im.Turn++
		im.Sent = &destination{EntryID: r.EntryID, Target: r.Target}
	}
	return moved
}

// sends tells whether somebody has said where the caller goes from his place, and he has not gone yet.
func (e *enqueue) sends(t *turn) bool {
	to := t.im.Sent
	return to != nil && !to.Done && to.EntryID == e.Entry
}

// goes brings the caller where he was sent to.
func (e *enqueue) goes(t *turn) {
	im := &t.im
	if !e.sends(t) {
		e.fail(t, "nobody has said where the caller is sent to")
		return
	}
	to := *im.Sent
	to.Done = true
	im.Sent = &to
	e.left(t, acd.LeftSent)
	im.Hops = 0 // somebody has decided it: it goes in no circle
	t.note("queue", "sent to "+string(to.Target.Kind)+"/"+to.Target.ID)
	t.land(to.Target, "", map[string]string{})
}

// EntryToken is the call that asked for a place first.
func EntryToken(entryID string) string {
	return entryID[:max(0, strings.LastIndexByte(entryID, '-'))]
}

// SendTarget finds whom a supervisor sends a caller to who waits in a queue. An error has the code ENotFound, EInvalid or
// EConflict, and names its field. Ids may be names.
func SendTarget(acct *brain.AccountConfig, queueID string, want api.TransferTarget) (found brain.RouteTarget, err error) {
	switch brain.DestKind(want.Kind) {
	case brain.DestVoicemail:
		found = named(acct.Voicemails, brain.DestVoicemail, want.ID, func(v *brain.Voicemail) string { return v.Name })
	case brain.DestConference:
		found = named(acct.Conferences, brain.DestConference, want.ID, func(c *brain.Conference) string { return c.Name })
	case brain.DestFlow:
		found = named(acct.Flows, brain.DestFlow, want.ID, func(f *brain.CallFlow) string { return f.Name })
	case api.TransferUser, api.TransferQueue, api.TransferNumber:
		if found, err = TransferTarget(acct, &brain.SIPUser{}, want); err != nil {
			return found, err
		}
	default:
		return found, field(brain.EInvalid, "target.kind", "must be queue, user, number, voicemail, flow or conference")
	}
	switch {
	case !found.IsSet():
		return found, field(brain.ENotFound, "target.id", "the account has no such "+want.Kind)
	case found.Kind == brain.DestQueue && found.ID == queueID:
		return found, field(brain.EConflict, "target.id", "the caller waits in that queue: move him")
	case found.Kind == brain.DestFlow && acct.Flows[found.ID].Version == 0:
		return found, field(brain.EConflict, "target.id", "the flow was never published")
	}
	return found, nil
}

// named finds a resource by id, else by name.
func named[T any](all map[string]*T, kind brain.DestKind, want string, name func(*T) string) brain.RouteTarget {
	if all[want] != nil {
		return brain.RouteTarget{Kind: kind, ID: want}
	}
	for id, one := range all { // a name is one resource's
		if name(one) == want {
			return brain.RouteTarget{Kind: kind, ID: id}
		}
	}
	return brain.RouteTarget{}
}

package session

import (
	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Consult asks whether the other side of a talk may ask somebody before he transfers the caller, or go on with that. It
// changes nothing: how far it is only the node knows. What comes of it is in the outcome of the talk.
type Consult struct {
	FromUserID string            `json:"from_user_id"`     // who asks
	Serves     bool              `json:"serves,omitempty"` // he talks to the caller as an agent, so his queue says
	Mode       string            `json:"mode"`             // attended, complete, cancel or 3way of api.TransferRequest
	Target     brain.RouteTarget `json:"target,omitzero"`  // [attended]
}

// ConsultTarget is TransferTarget for somebody who is asked first: only people can be.
func ConsultTarget(acct *brain.AccountConfig, from *brain.SIPUser, want api.TransferTarget) (brain.RouteTarget, error) {
	switch want.Kind {
	case api.TransferQueue:
		return brain.RouteTarget{}, field(brain.EInvalid, "target.kind", "nobody can be asked in a queue: transfer the caller there with mode blind")
	case api.TransferPSTN:
		return outside(acct, want.ID)
	}
	return TransferTarget(acct, from, want)
}

// consultAsked takes a Consult. The same completion again within TransferMS is done, and one in a blind transfer's way has to wait.
func (t *turn) consultAsked(r *Consult) *Transferred {
	im := &t.im
	if im.Over || im.Gone || im.Ending {
		return &Transferred{Code: brain.ENotFound, Why: "the call is over"}
	}
	h := im.Transfer
	if h != nil && t.now >= h.AtMS+TransferMS {
		h = nil
	}
	if refused := t.apart(r.FromUserID, r.Serves); refused != nil {
		if r.Mode == api.TransferComplete && h != nil && h.Done && h.FromUserID == r.FromUserID {
			return &Transferred{}
		}
		return refused
	}
	if h != nil && !h.Done && h.Seq == im.Seq {
		return underWay()
	}
	said := &Transferred{Seq: im.Seq}
	if r.Mode != api.TransferAttended {
		return said
	}
	switch at, _ := t.reached(r.Target); {
	case at.Kind == brain.DestUser && at.ID == r.FromUserID:
		return &Transferred{Code: brain.EInvalid, Why: "leads to who transfers"}
	case at.Kind != brain.DestUser && at.Kind != brain.DestRingGroup && at.Kind != destPSTN:
		return &Transferred{Code: brain.EInvalid, Why: "nobody can be asked there, it leads to no phone now: transfer the caller there with mode blind"}
	}
	if a := im.App; a != nil && a.Enqueue != nil {
		if q := t.env.Account.Queues[a.Enqueue.ID]; q != nil {
			said.Music = music(q)
		}
	}
	return said
}

// takenOver connects the caller, at the end of a talk, with whom the other side had asked and who waits for him. False: nobody
// does, or not anybody whom the account knows.
func (t *turn) takenOver(data map[string]string) bool {
	leg := data[api.DataConsulted]
	if leg == "" {
		return false
	}
	target := brain.RouteTarget{Kind: brain.DestKind(data[api.DataConsultedKind]), ID: data[api.DataConsultedID]}
	if KeyPart(leg) != leg || !t.rings(target) {
		t.note("transfer", "whom the other side had asked is not known: "+clip(string(target.Kind))+"/"+clip(target.ID))
		return false
	}
	by := data[api.DataConsultedBy]
	if t.env.Account.Users[by] == nil { // deleted meanwhile: nobody is called back
		by = ""
	}
	vars := t.handed(handover{FromUserID: by, Target: target, AtMS: t.now, Seq: t.im.Seq}, ", whom he has asked")
	t.refers(target, by, vars, leg)
	return true
}

// rings tells whether the account has a target, and it is one of those whose phones ring; those outside are everybody's.
func (t *turn) rings(target brain.RouteTarget) bool {
	switch target.Kind {
	case brain.DestUser, brain.DestExtension, brain.DestRingGroup, destPSTN:
		return (&dial{Kind: target.Kind, ID: target.ID}).known(t)
	}
	return false
}

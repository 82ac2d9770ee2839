package session

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
	telephone "github.com/sipio/sipio/brain/number"
)

// TransferMS is how long a transfer that was asked for is good: the two have to be parted by then. One whose order got lost
// does not happen at the end of a talk that goes on for long.
const TransferMS = 15_000

// Kinds of targets that no resource has: a number of the telephone network as E.164 with +, and one as it would be dialed.
const (
	destPSTN   = brain.DestKind(api.DestPSTN)
	destNumber = brain.DestKind(api.TransferNumber)
)

// varTransferredBy holds the username of who transferred the call.
const varTransferredBy = "transferred_by"

// Transfer asks that the caller of a talk gets elsewhere once the two are parted.
type Transfer struct {
	FromUserID string            `json:"from_user_id"`     // who transfers
	Serves     bool              `json:"serves,omitempty"` // he talks to the caller as an agent, so his queue says
	Target     brain.RouteTarget `json:"target"`
	Withdraw   bool              `json:"withdraw,omitempty"` // nobody was parted: forget it
}

// Transferred is what a Transfer or a Consult came to.
type Transferred struct {
	Seq   int64       `json:"seq,omitempty"`  // of the command that is the talk, in which the two are to be parted; 0 = they are
	Code  brain.Code  `json:"code,omitempty"` // it was refused: ENotFound, EForbidden, EConflict, or EInvalid: the target of a Consult
	Why   string      `json:"why,omitempty"`  // for people
	Music brain.Sound `json:"music,omitzero"` // [attended] the caller hears it meanwhile; none = the platform's
}

// handover is a transfer that was asked for, and is remembered for TransferMS when it is done.
type handover struct {
	FromUserID string            `json:"from_user_id"`
	Target     brain.RouteTarget `json:"target"`
	AtMS       int64             `json:"at_ms"`
	Seq        int64             `json:"seq"` // of the command that is the talk
	Done       bool              `json:"done,omitempty"`
}

// transferAsked takes a Transfer. It touches no effect and no command: the talk goes on until its node parts the two.
func (t *turn) transferAsked(r *Transfer) (moved bool) {
	im := &t.im
	h := im.Transfer
	if h != nil && (t.now >= h.AtMS+TransferMS || !h.Done && h.Seq != im.Seq) {
		h = nil // too old, or its talk is over and took nobody elsewhere
	}
	same := h != nil && h.FromUserID == r.FromUserID && h.Target == r.Target
	switch {
	case im.Over || im.Gone || im.Ending:
		t.said = &Transferred{Code: brain.ENotFound, Why: "the call is over"}
	case r.Withdraw:
		t.said = &Transferred{}
		if moved = same && !h.Done; moved {
			im.Turn++
			im.Transfer = nil
		}
	case same && h.Done:
		t.said = &Transferred{}
	case same:
		t.said = &Transferred{Seq: h.Seq}
	case h != nil && !h.Done:
		t.said = underWay()
	default:
		return t.accept(r)
	}
	return moved
}

// accept keeps a new Transfer when who asks for it is on the other side of a talk.
func (t *turn) accept(r *Transfer) (moved bool) {
	im := &t.im
	if t.said = t.apart(r.FromUserID, r.Serves); t.said != nil {
		return false
	}
	im.Turn++
	im.Transfer = &handover{FromUserID: r.FromUserID, Target: r.Target, AtMS: t.now, Seq: im.Seq}
	t.said = &Transferred{Seq: im.Seq}
	return true
}

// underWay refuses what would get in the way of a transfer.
func underWay() *Transferred {
	return &Transferred{Code: brain.EConflict, Why: "the caller is being transferred already: ask again in 15 s if he is not"}
}

// apart refuses who is not on the other side of the caller's talk; nil: he may be.
func (t *turn) apart(userID string, serves bool) *Transferred {
	im := &t.im
	switch talks, is := t.across(userID, serves); {
	case im.EndMS != 0 || im.waits() || im.Then != nil || !talks: // between two commands nobody talks
		return &Transferred{Code: brain.EConflict, Why: api.NobodyTalks}
	case !is:
		return &Transferred{Code: brain.EForbidden, Why: "the user is not on the other side of this call: from_user_id must be who talks to the caller now"}
	}
	return nil
}

// across tells whether the caller may talk to somebody now, and whether it is that user, who serves him as his queue says.
// Whether a dial was answered only the node knows.
func (t *turn) across(userID string, serves bool) (talks, is bool) {
	im := &t.im
	switch im.Command {
	case api.CommandEnqueue:
		return true, serves
	case api.CommandDial:
		return true, t.reaches(brain.RouteTarget{Kind: brain.DestKind(im.Params.DestKind), ID: im.Params.DestID}, userID)
	}
	return false, false
}

// reaches tells whether who dials a target may get a user, forwards of other users aside.
func (t *turn) reaches(target brain.RouteTarget, userID string) bool {
	acct := t.env.Account
	if target.Kind == destNumber {
		target = acct.Dialed(target.ID)
	}
	target, _ = t.reached(target)
	if g := acct.RingGroups[target.ID]; target.Kind == brain.DestRingGroup && g != nil {
		return slices.ContainsFunc(g.Members, func(m brain.RingGroupMember) bool { return m.UserID == userID })
	}
	return target.Kind == brain.DestUser && target.ID == userID
}

// leads is where an extension leads now, with what it hands on.
func (t *turn) leads(e *brain.Extension) (brain.RouteTarget, brain.Vars) {
	if e.ScheduleID == "" {
		return e.Dest(), e.DestXform
	}
	switch (graphs{t}).Hours(e.ScheduleID) {
	case flow.OutOfHours:
		return e.ClosedDest(), nil
	case flow.Holiday:
		if e.HolidayDestKind != "" {
			return e.HolidayDest(), nil
		}
		return e.ClosedDest(), nil
	}
	return e.Dest(), e.DestXform
}

// TransferTarget finds whom a user transfers to. An error has the code ENotFound, EInvalid, EForbidden or EConflict, and
// names its field.
func TransferTarget(acct *brain.AccountConfig, from *brain.SIPUser, want api.TransferTarget) (brain.RouteTarget, error) {
	var found brain.RouteTarget
	switch want.Kind {
	case api.TransferUser, api.TransferAgent:
		if u := cmp.Or(acct.Users[want.ID], acct.UserByName[want.ID]); u != nil && u.Status == brain.StatusActive {
			found = brain.RouteTarget{Kind: brain.DestUser, ID: u.ID}
		}
	case api.TransferQueue:
		for _, q := range acct.Queues {
			if q.ID == want.ID || q.Name == want.ID && found.ID == "" {
				found = brain.RouteTarget{Kind: brain.DestQueue, ID: q.ID}
			}
		}
	case api.TransferNumber:
		found = acct.Dialed(want.ID)
	case api.TransferPSTN:
		if !from.AllowPSTNBlindTransfer {
			return found, field(brain.EForbidden, "target.kind", "the user may not transfer to numbers outside: allow_pstn_blind_transfer is not set")
		}
		return outside(acct, want.ID)
	default:
		return found, field(brain.EInvalid, "target.kind", "must be user, agent, queue, number or pstn")
	}
	switch {
	case !found.IsSet():
		return found, field(brain.ENotFound, "target.id", "the account has no such "+want.Kind)
	case found.Kind == brain.DestUser && found.ID == from.ID:
		return found, field(brain.EInvalid, "target.id", "is who transfers")
	}
	return found, nil
}

// outside is a number of the telephone network as somebody is transferred there. Calls for help are dialed.
func outside(acct *brain.AccountConfig, dialed string) (found brain.RouteTarget, err error) {
	e164, why := telephone.Normalize(acct.Account.Country, dialed)
	switch {
	case why != "":
		return found, field(brain.ENotFound, "target.id", "as a number outside it "+string(why))
	case !acct.LeadsOutside():
		return found, field(brain.EConflict, "target.kind", "no trunk leads outside")
	}
	return brain.RouteTarget{Kind: destPSTN, ID: "+" + e164}, nil
}

func field(code brain.Code, path, text string) error {
	return &brain.Error{Code: code, Fields: []brain.FieldError{{Path: path, Text: text}}}
}

// passedOn does, at the end of a talk whose outcome had data, the transfer that was asked for in time; else it connects the
// caller with whom the other side had asked. False: he goes nowhere.
func (t *turn) passedOn(data map[string]string) bool {
	h := t.im.Transfer
	if h == nil || h.Done || h.Seq != t.im.Seq || t.now >= h.AtMS+TransferMS {
		return t.takenOver(data)
	}
	t.land(h.Target, h.FromUserID, t.handed(*h, ""))
	return true
}

// handed notes that a transfer is done, and gives the variables that tell of it.
func (t *turn) handed(h handover, how string) map[string]string {
	im := &t.im
	h.Done = true
	im.Transfer = &h
	im.Hops = 0 // people have talked: it goes in no circle
	vars := map[string]string{}
	if u := t.env.Account.Users[h.FromUserID]; u != nil {
		vars[varTransferredBy] = u.Username
	}
	t.note("transfer", "by user "+h.FromUserID+" to "+string(h.Target.Kind)+"/"+h.Target.ID+how)
	return vars
}

// land brings the caller where he was transferred to. What the platform answers begins as for any call; everybody else is
// rung by the application refer.
func (t *turn) land(target brain.RouteTarget, from string, vars map[string]string) {
	at, more := t.reached(target)
	maps.Copy(vars, more)
	switch at.Kind {
	case brain.DestFlow, brain.DestQueue, brain.DestVoicemail, brain.DestConference:
		t.enter(at, vars, false)
		return
	}
	t.refers(target, from, vars, "")
}

// refers begins the application refer, with the leg to join.
func (t *turn) refers(target brain.RouteTarget, from string, vars map[string]string, join string) {
	t.close(acd.LeftFailed)
	t.im.Flow = nil
	t.run(&running{Refer: &refer{Target: target, FromUserID: from}}).Refer.begin(t, t.vars(vars), join)
}

// reached follows extensions to where they lead now, with what they hand on.
func (t *turn) reached(target brain.RouteTarget) (at brain.RouteTarget, vars brain.Vars) {
	at, vars = target, brain.Vars{}
	for range MaxHops {
		e := t.env.Account.ExtensionByID[at.ID]
		if at.Kind != brain.DestExtension || e == nil {
			break
		}
		var more brain.Vars
		at, more = t.leads(e)
		maps.Copy(vars, more)
	}
	return at, vars
}

// refer rings whom a caller was transferred to, or connects him with who was asked before and is there. When he is not there, the one who transferred is rung, once; when he is
// not there either, the call ends.
type refer struct {
	Target     brain.RouteTarget `json:"target"`
	FromUserID string            `json:"from_user_id"`
	Recall     bool              `json:"recall,omitempty"`
}

func (r *refer) begin(t *turn, vars map[string]string, join string) {
	p := api.CommandParams{DestKind: string(r.Target.Kind), DestID: r.Target.ID, Join: join, TimeoutMS: ringMS}
	if r.Target.Kind == destPSTN { // who transfers answers for where the call goes
		p.DestKind, p.DestID = api.DestTransfer, r.FromUserID+"/"+r.Target.ID
	}
	t.dialed(p, vars["record"] == "1")
}

func (r *refer) input(t *turn, in flow.Input) {
	t.recorded(in.Data)
	switch {
	case in.Outcome == api.OutcomeAnswered:
		if !t.passedOn(in.Data) {
			t.finish(in.Outcome, flow.End{Why: "the talk after a transfer is over"})
		}
	case !r.Recall && t.env.Account.Users[r.FromUserID] != nil:
		r.Recall = true
		t.im.Transfer = nil // asked for again it is a new one
		t.note("transfer", in.Outcome+": user "+r.FromUserID+" is called back")
		t.dialed(api.CommandParams{DestKind: string(brain.DestUser), DestID: r.FromUserID, TimeoutMS: ringMS}, false)
	default:
		t.finish(in.Outcome, flow.End{SIPCode: 480, Cause: causeNobody, Why: "nobody takes a call that was transferred"})
	}
}

package route

import (
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// ReferLeg reads a REFER of a call with the media server on one side. From the phone that the media server has called, it asks for
// the blind transfer that is returned: the caller gets to a number of the account, under one of its domains, or, where the user may
// send him there, to one outside. refused is why not.
func ReferLeg(dir brain.Directory, acct *brain.AccountConfig, req *api.ReferRequest) (ask *api.TransferRequest, refused *api.ReferReply) {
	no := func(why string) (*api.TransferRequest, *api.ReferReply) {
		reply := decline(acct, why)
		return nil, &reply
	}
	if acct.Account.Status != brain.StatusActive {
		return no("account " + acct.Account.ID + " is " + string(acct.Account.Status))
	}
	from, why := across(acct, req)
	if why != "" {
		return no(why)
	}
	to, why := readReferTo(req.ReferTo)
	switch {
	case why != "":
		return no(why)
	case to.replaces:
		return no("the media server has this call: an attended transfer of it goes by the API, mode " + api.TransferAttended)
	}
	if why = unreachable(dir, acct, &to, func() *brain.SIPUser { return from }, from.Username); why != "" {
		return no(why)
	}
	ask = &api.TransferRequest{Token: req.Call, LegID: req.CallID, FromUserID: from.ID, Mode: api.TransferBlind,
		Target: api.TransferTarget{Kind: api.TransferNumber, ID: to.user}}
	if outside(acct, &to) {
		ask.Target.Kind = api.TransferPSTN
	}
	return ask, nil
}

// across finds the user who talks to the caller: whom the media server has called, or, where it has called several, whose
// device has answered.
func across(acct *brain.AccountConfig, req *api.ReferRequest) (from *brain.SIPUser, why string) {
	if req.Side != api.ReferCallee {
		return nil, "the media server has answered this call: only who is on its other side transfers it"
	}
	kind, id, _ := strings.Cut(req.Dial, "/")
	switch brain.DestKind(kind) {
	case brain.DestUser, destAgent:
		from = acct.Users[id]
	case brain.DestExtension, brain.DestRingGroup:
		from = owner(acct, req.AOR)
	case destSupervisor:
		return nil, "a supervisor is not on the other side of a call"
	case destNumber:
		return nil, "the platform has called this phone back: it is the caller's"
	}
	switch {
	case from == nil:
		return nil, "nobody of the account has answered a leg to " + strconv.QuoteToASCII(shorten(req.Dial)) + " at " + strconv.QuoteToASCII(shorten(req.AOR))
	case from.Status != brain.StatusActive:
		return nil, "user " + from.Username + " is " + string(from.Status)
	case req.Call == "":
		return nil, "the leg is of no call"
	}
	return from, ""
}

// owner is the user of the device under whose address a phone is registered, nil when the account has none.
func owner(acct *brain.AccountConfig, aor string) *brain.SIPUser {
	name, _ := cutFold(aor, "sip:")
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		return nil
	}
	if d := acct.DeviceByAuth[brain.AuthKey(name[:at], name[at+1:])]; d != nil {
		return acct.Users[d.UserID]
	}
	return nil
}

// Referred says what became of a transfer that a phone has asked for: err is nil, or a brain.Error. What is no fault of the
// request may be asked for again.
func Referred(acct *brain.AccountConfig, err error) api.ReferReply {
	if err == nil {
		return api.ReferReply{Action: api.ActionDone, AccountID: acct.Account.ID}
	}
	switch brain.CodeOf(err) {
	case brain.EInvalid, brain.ENotFound, brain.EForbidden, brain.EConflict:
		return decline(acct, err.Error())
	}
	return api.ReferReply{Action: api.ActionReject, AccountID: acct.Account.ID,
		Refusal: api.Refusal{SIPCode: 503, Reason: Reason(503), RetryAfterSec: 2, Why: err.Error()}}
}

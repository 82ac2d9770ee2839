package route

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/number"
)

// Callee is the user that a call rings by itself, without following any forward of his: whose max_simultaneous counts for
// the call, and who is in a call of his own while it is up unless AgentLeg says otherwise. nil: a group, something that
// the platform answers, or nobody. A recorded call rings him by a leg of its own, which counts then.
func Callee(caller Caller, req *api.RouteRequest) *brain.SIPUser {
	p := plan{acct: caller.Account, caller: caller, req: req}
	u := p.callee(req)
	if p.recorded(u) {
		return nil
	}
	return u
}

// callee is Callee, of a recorded call too.
func (p *plan) callee(req *api.RouteRequest) *brain.SIPUser {
	to := p.destination(nil, req)
	if kind, id, _ := strings.Cut(req.At, "/"); kind != "" {
		to.target = brain.RouteTarget{}
		if f := p.acct.Forwards[id]; kind == string(brain.DestForward) && f != nil {
			to.target = f.Overflow()
		}
	}
	for range brain.MaxHops {
		switch to.target.Kind {
		case brain.DestUser:
			return rings(p.acct.Users[to.target.ID])
		case destAgent, destSupervisor:
			if u := p.acct.Users[to.target.ID]; u != nil && u.Status == brain.StatusActive {
				return u
			}
			return nil
		case brain.DestExtension:
			e := p.acct.ExtensionByID[to.target.ID]
			if e == nil {
				return nil
			}
			to.target = p.extension(e).next
		default:
			return nil
		}
	}
	return nil
}

// AgentLeg says whether the call is the leg to an agent who is rung for a caller in a queue. It takes a line of his,
// and is no call of his own: what he does for queues, the queues know themselves. A supervisor's leg is one: the queues do not
// know that he listens.
func AgentLeg(caller *Caller, req *api.RouteRequest) bool {
	return caller.Media && strings.HasPrefix(req.Dial, string(destAgent)+"/")
}

// callsBack says whether the platform calls somebody of itself: no call has been admitted before.
func callsBack(caller *Caller, req *api.RouteRequest) bool {
	return caller.Media && strings.HasPrefix(req.Dial, string(destNumber)+"/")
}

func rings(u *brain.SIPUser) *brain.SIPUser {
	if u == nil || u.Status != brain.StatusActive || u.DND || u.FwdAlways().IsSet() {
		return nil
	}
	return u
}

// Takes lists what a call takes while it is up, in the order in which admission tests it: one of the account's calls
// of its direction, of the number's and the trunk's, and one of each user's. callee may be nil. The leg of an
// answered call takes a line of its callee only: the call itself has been admitted. One that the platform makes of itself is
// a call of the account.
func Takes(caller *Caller, callee *brain.SIPUser, req *api.RouteRequest) []cac.Take {
	acct, takes := caller.Account, make([]cac.Take, 0, 4)
	switch {
	case callsBack(caller, req):
		takes = append(takes, cac.Take{Kind: cac.Internal, Limit: acct.Account.MaxInternal})
	case caller.Media:
	case caller.Trunk != nil:
		_, did := called(acct, req.RURIUser)
		if did == nil && caller.Trunk.Role == brain.RolePBX {
			takes = append(takes, cac.Take{Kind: cac.Internal, Limit: acct.Account.MaxInternal})
		} else {
			takes = append(takes, cac.Take{Kind: cac.In, Limit: acct.Account.MaxIn})
		}
		if did != nil {
			takes = append(takes, cac.Take{Kind: cac.DID, ID: did.ID, Limit: did.MaxChannels})
		}
		takes = append(takes, cac.Take{Kind: cac.Trunk, ID: caller.Trunk.ID, Limit: caller.Trunk.MaxChannels})
	default:
		takes = append(takes, cac.Take{Kind: cac.Internal, Limit: acct.Account.MaxInternal},
			cac.Take{Kind: cac.User, ID: caller.User.ID, Limit: caller.User.MaxSimultaneous})
	}
	if callee != nil && callee != caller.User {
		takes = append(takes, cac.Take{Kind: cac.User, ID: callee.ID, Limit: callee.MaxSimultaneous})
	}
	return takes
}

// Adopted lists what a call takes that is up at the edge and that nobody remembers admitting, as far as both its
// ends tell: what the directive called from and to, so a number is E.164 already, however it was dialed. trunkID is the trunk
// that it came in by or goes out over, "" when that is not told.
func Adopted(acct *brain.AccountConfig, from, to, trunkID string) []cac.Take {
	takes := adopted(acct, from, to)
	if t := acct.Trunks[trunkID]; t != nil {
		takes = append(takes, cac.Take{Kind: cac.Trunk, ID: t.ID, Limit: t.MaxChannels})
	}
	return takes
}

func adopted(acct *brain.AccountConfig, from, to string) []cac.Take {
	req := api.RouteRequest{RURIUser: to, RURIDomain: acct.PrimaryDomain}
	caller := Caller{Account: acct, User: acct.UserByName[from], Media: true}
	switch {
	case acct.DIDByE164[to] != nil:
		takes := []cac.Take{{Kind: cac.In, Limit: acct.Account.MaxIn}}
		return append(takes, cac.Take{Kind: cac.DID, ID: acct.DIDByE164[to].ID, Limit: acct.DIDByE164[to].MaxChannels})
	case acct.Extensions[to] == nil && acct.UserByName[to] == nil && (number.ValidE164(to) || number.Emergency(acct.Account.Country, to)):
		takes := []cac.Take{{Kind: cac.Out, Limit: acct.Account.MaxOut}}
		if u := caller.User; u != nil {
			takes = append(takes, cac.Take{Kind: cac.User, ID: u.ID, Limit: u.MaxSimultaneous})
		}
		return takes
	case caller.User == nil:
		return Takes(&caller, rings(acct.UserByName[to]), &req)
	}
	caller.Media = false
	return Takes(&caller, Callee(caller, &req), &req)
}

// Windows lists the call_limits that a call counts for; a leg of an answered call counts for none. callee may be nil: a recorded call
// counts for whom its leg will ring.
func Windows(caller *Caller, callee *brain.SIPUser, req *api.RouteRequest) []cac.Window {
	if caller.Media && !callsBack(caller, req) {
		return nil
	}
	if p := (plan{acct: caller.Account, caller: *caller, req: req}); callee == nil && caller.Busy == "" {
		if u := p.callee(req); p.recorded(u) {
			callee = u
		}
	}
	to, number := "", req.RURIUser
	if callee != nil {
		to = callee.ID
	}
	if caller.Trunk != nil {
		number = cmp.Or(Called(caller.Account, number), number)
	}
	windows := limits(caller, req, caller.direction(req), to, number)
	if caller.Trunk != nil {
		windows = append(windows, rateWindow(caller.Trunk)...)
	}
	return windows
}

// limits are the call_limits that a call of a direction to a number counts for. to is the user who is called, "" for none.
func limits(caller *Caller, req *api.RouteRequest, direction, to, number string) []cac.Window {
	from := maker(caller, req)
	var windows []cac.Window
	for _, l := range caller.Account.Limits {
		if l.Matches(direction, from, to, number) {
			windows = append(windows, cac.Window{Kind: cac.Limit, ID: l.ID, Max: l.MaxCount, PeriodMS: int64(l.PeriodSec) * 1000, Hard: l.Hard})
		}
	}
	return windows
}

// maker is the id of the user whose call it is, "" for nobody of the account: of a leg of the media server whoever sends the caller
// there, or who makes the call that the leg belongs to.
func maker(caller *Caller, req *api.RouteRequest) string {
	switch {
	case caller.User != nil:
		return caller.User.ID
	case !caller.Media:
		return ""
	}
	id := req.CallerUserID
	if kind, by, _ := strings.Cut(req.Dial, "/"); kind == string(destTransfer) {
		id, _, _ = strings.Cut(by, "/")
	}
	if caller.Account.Users[id] == nil {
		return ""
	}
	return id
}

// Refused is the directive for a call that admission refused: 486 when a user has no line free, 503 when the
// node is full (another may have room), 480 otherwise, with Retry-After when it is known when there is room.
func Refused(acct *brain.AccountConfig, v cac.Verdict) api.Directive {
	code := 480
	switch v.Kind {
	case cac.User, cac.DID:
		code = 486
	case cac.Node:
		code = 503
	}
	why := "admission: the call is over already"
	if v.Kind != 0 {
		why = "admission: " + strings.TrimRight(v.Kind.String()+" "+v.ID, " ") + " has " + strconv.Itoa(v.Used) + " of " + strconv.Itoa(v.Limit)
	}
	d := reject(acct, code, why)
	d.RetryAfterSec = int((v.RetryMS + 999) / 1000)
	if code == 503 && d.RetryAfterSec == 0 {
		d.RetryAfterSec = 1
	}
	return d
}

// Unavailable is the directive for a call that nobody could admit just now.
func Unavailable(acct *brain.AccountConfig, why string) api.Directive {
	d := reject(acct, 503, "admission: "+why)
	d.RetryAfterSec = 1
	return d
}

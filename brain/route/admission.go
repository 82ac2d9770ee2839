package route

import (
	"strconv"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// Callee is the user that a dialed string rings by itself, without following any forward: whose
// max_simultaneous counts for the call, and who is in a call while it is up. nil: a group, or nobody.
func Callee(acct *brain.AccountConfig, dialed string) *brain.SIPUser {
	if ext := acct.Extensions[dialed]; ext != nil && ext.Status == brain.StatusActive {
		if ext.DestKind != brain.DestUser {
			return nil
		}
		return rings(acct.Users[ext.DestID])
	}
	return rings(acct.UserByName[dialed])
}

func rings(u *brain.SIPUser) *brain.SIPUser {
	if u == nil || u.Status != brain.StatusActive || u.DND || u.FwdAlways().IsSet() {
		return nil
	}
	return u
}

// Takes lists what an internal call takes while it is up: one of the account's internal calls, and one of each
// user's. caller and callee may be nil. The order is the one in which admission tests them.
func Takes(acct *brain.AccountConfig, caller, callee *brain.SIPUser) []cac.Take {
	takes := append(make([]cac.Take, 0, 3), cac.Take{Kind: cac.Internal, Limit: acct.Account.MaxInternal})
	if caller != nil {
		takes = append(takes, cac.Take{Kind: cac.User, ID: caller.ID, Limit: caller.MaxSimultaneous})
	}
	if callee != nil && callee != caller {
		takes = append(takes, cac.Take{Kind: cac.User, ID: callee.ID, Limit: callee.MaxSimultaneous})
	}
	return takes
}

// Windows lists the call_limits that an internal call counts for. callee may be nil.
func Windows(acct *brain.AccountConfig, caller, callee *brain.SIPUser, dialed string) []cac.Window {
	var windows []cac.Window
	to := ""
	if callee != nil {
		to = callee.ID
	}
	for _, l := range acct.Limits {
		if l.Matches(brain.DirectionInternal, caller.ID, to, dialed) {
			windows = append(windows, cac.Window{Kind: cac.Limit, ID: l.ID, Max: l.MaxCount, PeriodMS: int64(l.PeriodSec) * 1000, Hard: l.Hard})
		}
	}
	return windows
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
		why = "admission: " + v.Kind.String() + " " + v.ID + " has " + strconv.Itoa(v.Used) + " of " + strconv.Itoa(v.Limit)
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

package route

import (
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// linesForHelp are the trunks for an emergency number: those of the account's route for it, then of every one that is for
// emergencies and this number, then the wholesale carrier, then whatever trunk some route has. Hours, and prefixes that are
// blocked, do not count.
func (p *plan) linesForHelp(digits string) (list []line, why string) {
	why = "every trunk there is"
	for _, r := range p.acct.OutboundRoutes {
		if r.ID == p.acct.Account.EmergencyRouteID && r.Status != brain.StatusDisabled {
			list, _ = p.linesOf(list, r, "")
			why = "the account's emergency route " + r.Name
		}
	}
	for _, r := range p.acct.OutboundRoutes {
		if r.IsEmergency && r.Status != brain.StatusDisabled && (r.MatchPrefix == "" || r.MatchPrefix == digits) {
			if len(list) == 0 {
				why = "emergency route " + r.Name
			}
			list, _ = p.linesOf(list, r, "")
		}
	}
	list = p.wholesale(list)
	for _, r := range p.acct.OutboundRoutes {
		list, _ = p.linesOf(list, r, "")
	}
	return list, why
}

// forHelp is a call for help.
func (p *plan) forHelp(digits string) destination {
	return destination{number: digits, out: &outward{kind: destEmergency, number: digits}}
}

// Emergency tells whether a call is one for help, which no limit, balance or hour may hold up.
func Emergency(caller *Caller, req *api.RouteRequest) bool {
	if !caller.known() {
		return false
	}
	if req.At != "" {
		kind, id, _ := strings.Cut(req.At, "/")
		return kind == string(destEmergency) && helpAgain(caller.Account, id)
	}
	return emergencyDialed(caller, req) != ""
}

// helpAgain tells whether what an earlier directive has called is a number for help, as that writes it: digits alone.
func helpAgain(acct *brain.AccountConfig, id string) bool {
	return digitsOf(id) == id && number.Emergency(acct.Account.Country, id)
}

// emergencyDialed is the emergency number that a caller has dialed, digits alone, "" when he has dialed none or may not call
// outside. It comes before everything else that the dialed string may mean, and under whatever domain.
func emergencyDialed(caller *Caller, req *api.RouteRequest) string {
	dialed := req.RURIUser
	if api.SOS(req.RURI) {
		dialed = number.Help(caller.Account.Account.Country)
	}
	switch {
	case caller.Media:
		kind, id, _ := strings.Cut(req.Dial, "/")
		if kind != string(destNumber) {
			return ""
		}
		dialed = id
	case caller.Trunk != nil && caller.Trunk.Role != brain.RolePBX:
		return ""
	}
	if len(dialed) > maxDialed || !number.Emergency(caller.Account.Account.Country, dialed) {
		return ""
	}
	return digitsOf(dialed)
}

// helped tells whether a call goes out though its account is suspended.
func helped(caller *Caller, req *api.RouteRequest) bool {
	acct := &caller.Account.Account
	return acct.Status == brain.StatusSuspended && acct.EmergencySuspended && Emergency(caller, req)
}

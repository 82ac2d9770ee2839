package route

import (
	"cmp"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// called finds the number of the account that a trunk's call is for, as E.164 without +. Routing, admission and limits
// all ask here, so that they mean the same number. A number of the account that stands there digit by digit comes
// first, with + or 00 or neither; then what the dialed string may mean by the prefixes of the account's country; the
// whole dial plan, which takes some ten microseconds, is asked about what leads to no number of the account. did is nil
// when the account has no such number, e164 "" when none can be read.
func called(acct *brain.AccountConfig, dialed string) (e164 string, did *brain.DID) {
	e164 = E164(dialed)
	if did = acct.DIDByE164[e164]; did != nil || acct.Account.Country == "" {
		return e164, did
	}
	for _, reading := range number.Readings(make([]string, 0, 4), acct.Account.Country, dialed) {
		if did = acct.DIDByE164[reading]; did != nil {
			return reading, did
		}
	}
	if meant := number.Received(acct.Account.Country, dialed); meant != "" {
		return meant, acct.DIDByE164[meant]
	}
	return e164, nil
}

// Meant puts what a call is for in place of the Contact that we have registered at its trunk: a registrar calls that (RFC 3261 section
// 16.5), and the number stands in P-Called-Party-ID (RFC 7315 section 4.2) or, where nobody writes that, in To. Of the two a number of
// the account is taken, else what was called stays if it is one itself. Every other call stays as it is, and a second time changes nothing.
func Meant(caller *Caller, req *api.RouteRequest) {
	t := caller.Trunk
	if t == nil || !t.DoRegister || req.RURIUser == "" || unescape(req.RURIUser) != t.RegisteredUser() {
		return
	}
	meant := ""
	for _, user := range []string{req.CalledParty, req.ToUser, req.RURIUser} {
		if _, did := called(caller.Account, user); did != nil {
			req.RURIUser = user
			return
		}
		if meant == "" && user != req.RURIUser {
			meant = user
		}
	}
	req.RURIUser = cmp.Or(meant, req.RURIUser)
}

// Called is the number that a trunk's call to an account is for, as E.164 without +, "" when none can be read.
func Called(acct *brain.AccountConfig, dialed string) string {
	e164, _ := called(acct, dialed)
	return e164
}

// E164 is a dialed number without + or 00 in front, "" when it is not 3 to 15 digits.
func E164(s string) string {
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		s = rest
	} else if rest, ok := strings.CutPrefix(s, "00"); ok {
		s = rest
	}
	if len(s) < 3 || len(s) > 15 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// shown is who calls, as phones, flows and lists show him: callerNumber, and for a call from outside as E.164 with +
// when the account's country can make that of it. It is found once a plan.
func (p *plan) shown(req *api.RouteRequest) string {
	if !p.knowsCaller {
		p.knowsCaller, p.callerShown = true, presented(&p.caller, callerNumber(&p.caller, req))
	}
	return p.callerShown
}

// presented writes a number that a trunk sends as E.164 with +, so that it can be called back and is the same over
// every trunk. What is no number in the account's country stands as it came: short codes, extensions of a PBX.
func presented(caller *Caller, s string) string {
	country := caller.Account.Account.Country
	if caller.Trunk == nil || country == "" {
		return s
	}
	e164 := number.Received(country, s)
	if e164 == "" || s[0] == '+' && s[1:] == e164 {
		return s
	}
	return "+" + e164
}

// Package route decides where an INVITE goes: which devices ring, in which steps and how long, and what follows
// when nobody answers; or over which trunk it leaves. The walk over phones is in one Directive. What follows the
// failure of a trunk is asked with another question.
package route

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/number"
)

// MaxDurationSec is how long an internal call may last: four hours, longer than a meeting and short
// enough that a call both phones forgot does not hold its media ports for ever.
const MaxDurationSec = 14400

// maxDialed bounds a dialed string in bytes: twice what an extension or username can have.
const maxDialed = 64

// Caller is who makes the call: a phone, authenticated by its digest (User and Device are set), a trunk, known
// by its address or digest (Trunk is set), or the node's media server for a call of the account (Media). Account is required.
type Caller struct {
	Account *brain.AccountConfig
	User    *brain.SIPUser
	Device  *brain.SIPDevice
	Trunk   *brain.SIPTrunk
	Media   bool
	NowMS   int64  // epoch milliseconds, for business hours
	Busy    string // id of a user without a free line: taken as busy without being rung; "" = nobody

	// Prices gives the price list of that name of an account, nil when it cannot be read now. nil: no price list can be.
	Prices func(accountID, name string) *balance.Plan

	Stay       bool     // the account may make no call to outside now, but for help: what would leave overflows
	Full       []string // ids of trunks that have no channel free, or no call left in this second: not tried
	Unanswered bool     // the challenge of the question cannot be answered after all
	Verstat    string   // what the verification of a trunk's call came to, "" = none (3GPP TS 24.229 section 7.2A.20)
	Attest     string   // attestation that was verified: A, B, C
	StirWhy    string   // why it did not pass, for operators
}

// known tells whether somebody vouches for the caller.
func (c *Caller) known() bool {
	return c.Account != nil && (c.Media || c.Trunk != nil || c.User != nil && c.Device != nil)
}

// Decide says what happens to the call. It always gives an answer: ActionProxy with at least one route,
// or ActionReject with a code. The same question over the same configuration at the same time gets the same
// directive to the last byte. dir tells what the resellers of the account say of its calls, and operators whose a foreign domain is.
func Decide(dir brain.Directory, caller Caller, req api.RouteRequest) api.Directive {
	acct := caller.Account
	if !caller.known() {
		return reject(acct, 403, "the caller is not authenticated")
	}
	if acct.Account.Status != brain.StatusActive && !helped(&caller, &req) {
		return reject(acct, 403, "account "+acct.Account.ID+" is "+string(acct.Account.Status))
	}
	if caller.Trunk == nil { // only networks and PBXs are believed what these say
		req.Asserted, req.Identity, req.Diversion, req.CalledParty = "", "", "", ""
		if !caller.Media {
			req.Diverted = 0
		}
	}
	Meant(&caller, &req)
	p := plan{acct: acct, caller: caller, req: &req, dir: dir}
	if req.At != "" {
		return p.again(dir)
	}
	to := p.destination(dir, &req)
	if to.code != 0 {
		return reject(acct, to.code, to.why)
	}
	code := 0
	switch {
	case to.out != nil && to.out.kind != destEmergency && p.recorded(nil):
		code = p.recordOutside(to.out)
	case to.out != nil:
		code = p.send(to.out)
	default:
		p.headers = p.identity(&req)
		code = p.build(to.number, to.target)
	}
	if code != 0 {
		return reject(acct, code, string(p.why))
	}
	return p.directive(to.number)
}

// directive is the plan as the edge gets it.
func (p *plan) directive(to string) api.Directive {
	p.sayVerstat()
	call := &api.CallInfo{Direction: p.caller.direction(p.req), From: p.from(p.req), To: to,
		MaxDurationSec: MaxDurationSec, Token: p.req.Token(), Verstat: p.caller.Verstat, Attestation: p.caller.Attest}
	if p.caller.Trunk != nil {
		call.Caller, call.Trunk = api.CallerTrunk, p.caller.Trunk.ID
	}
	if p.asked > 0 {
		call.Hops = p.base + p.asked
	}
	if p.out != nil {
		p.out.describe(call, p.routes[0].Trunk.ID)
	}
	d := api.Directive{
		Action: api.ActionProxy, Version: api.Version,
		AccountID: p.acct.Account.ID, ConfigVersion: p.acct.Version,
		Call: call, Routing: "serial", Media: media(), Routes: p.routes,
		Refusal: api.Refusal{Why: string(p.why)},
	}
	if p.steps == 1 {
		d.Routing = "parallel"
	}
	return d
}

// direction of a call that goes to nobody outside, as limits name it. What a PBX says to an extension is internal.
func (c *Caller) direction(req *api.RouteRequest) string {
	if c.Trunk == nil {
		return brain.DirectionInternal
	}
	if c.Trunk.Role == brain.RolePBX {
		if _, did := called(c.Account, req.RURIUser); did == nil {
			return brain.DirectionInternal
		}
	}
	return brain.DirectionIn
}

// destination is what the call is for: the dialed string, a number of the account, whom the leg is for, or a number
// outside. A code refuses the call.
type destination struct {
	number string
	target brain.RouteTarget
	out    *outward
	code   int
	why    string
}

func (p *plan) destination(dir brain.Directory, req *api.RouteRequest) destination {
	if digits := emergencyDialed(&p.caller, req); digits != "" {
		return p.forHelp(digits)
	}
	switch {
	case p.caller.Media:
		return p.leg(req)
	case p.caller.Trunk != nil:
		return p.inbound(req)
	}
	why := unreadable(req.RURIUser)
	if req.RURIDomain != "" { // tel: has none (RFC 3966)
		why = foreign(dir, p.acct, req)
	}
	if why != "" {
		return destination{code: 404, why: why}
	}
	return p.anywhere(req.RURIUser)
}

// anywhere is what a dialed string means to who may also call outside: somebody of the account, else a number.
func (p *plan) anywhere(user string) destination {
	target, why := inside(p.acct, user)
	switch {
	case why == "":
		return destination{number: user, target: target}
	case p.acct.Extensions[user] != nil, p.acct.UserByName[user] != nil, unreadable(user) != "":
		return destination{code: 404, why: why}
	}
	return p.outside(user, why)
}

// destAgent is a user who is rung for a caller in a queue. Only legs of the media server lead to it.
const destAgent brain.DestKind = "agent"

// destSupervisor is a user who is rung to hear the talk of a caller and an agent. Only legs of the media server lead to it.
const destSupervisor brain.DestKind = "supervisor"

// destNumber is a number that the platform calls of itself, for a caller of a queue who wants to be called back. Only the
// media server calls it.
const destNumber brain.DestKind = "number"

// destPSTN is a number outside, as E.164 with +: of a call that is recorded, or whom a user asks to take his caller. Only legs of
// the media server lead to it.
const destPSTN brain.DestKind = api.DestPSTN

// destTransfer is USERID/NUMBER: a number outside to which a user sends the caller he talks to. Only legs of the media server lead
// to it.
const destTransfer brain.DestKind = api.DestTransfer

// leg is whom the media server calls: for a call that it has answered, or to call somebody back.
func (p *plan) leg(req *api.RouteRequest) destination {
	kind, id, _ := strings.Cut(req.Dial, "/")
	target := brain.RouteTarget{Kind: brain.DestKind(kind), ID: id}
	switch target.Kind {
	case brain.DestUser, brain.DestExtension, brain.DestRingGroup, brain.DestForward, brain.DestTrunk, destAgent, destSupervisor:
		_, name := p.name(target)
		return destination{number: name, target: target}
	case destNumber:
		return p.anywhere(id)
	case destPSTN, destTransfer:
		return p.onward(target)
	}
	return destination{code: 404, why: "a leg to " + strconv.QuoteToASCII(req.Dial) + ": only users, extensions, ring groups, forwards, trunks, agents, supervisors and numbers are called"}
}

// onward is a number outside that a leg is for.
func (p *plan) onward(target brain.RouteTarget) destination {
	o := onwardTo(p.acct, target)
	if o == nil {
		return destination{code: 404, why: "a leg to " + strconv.QuoteToASCII(shorten(target.ID)) + ", which is no number outside of a user who is active"}
	}
	return destination{number: o.number, out: o}
}

// onwardTo reads the id of a destPSTN or a destTransfer, nil when it is none.
func onwardTo(acct *brain.AccountConfig, target brain.RouteTarget) *outward {
	o := &outward{kind: destNumber}
	id := target.ID
	if target.Kind == destTransfer {
		from, to, _ := strings.Cut(id, "/")
		if o.by = acct.Users[from]; o.by == nil || o.by.Status != brain.StatusActive {
			return nil
		}
		o.kind, id = destTransfer, to
	}
	if o.number = strings.TrimPrefix(id, "+"); !number.ValidE164(o.number) {
		return nil
	}
	return o
}

// dialed finds what a dialed string means within the account. Everything that means nothing gives a reason, and the phone learns
// nothing of it: a number of another account is as unknown as one that nobody has.
func dialed(dir brain.Directory, acct *brain.AccountConfig, user, domain string) (brain.RouteTarget, string) {
	if why := foreign(dir, acct, &api.RouteRequest{RURIUser: user, RURIDomain: domain}); why != "" {
		return brain.RouteTarget{}, why
	}
	return inside(acct, user)
}

// foreign says why what was dialed is not for the account to look at, "" when it is.
func foreign(dir brain.Directory, acct *brain.AccountConfig, req *api.RouteRequest) string {
	if why := unreadable(req.RURIUser); why != "" {
		return why
	}
	domain := req.RURIDomain
	switch {
	case len(domain) > 255 || !printable(domain):
		return "the dialed domain is too long or not printable UTF-8"
	case acct.Domains[strings.ToLower(domain)] == nil:
		if dir != nil && dir.ByDomain(domain) != nil {
			return "domain " + strconv.Quote(domain) + " belongs to another account"
		}
		return "domain " + strconv.Quote(domain) + " is nobody's"
	}
	return ""
}

// unreadable says why nothing can be made of a dialed string, "" when something can.
func unreadable(user string) string {
	switch {
	case user == "":
		return "nothing was dialed"
	case len(user) > maxDialed:
		return "the dialed string is longer than " + strconv.Itoa(maxDialed) + " bytes"
	case !printable(user):
		return "the dialed string " + strconv.QuoteToASCII(user) + " is not printable UTF-8"
	}
	return ""
}

// inside finds what a dialed string means within the account.
func inside(acct *brain.AccountConfig, user string) (brain.RouteTarget, string) {
	if why := unreadable(user); why != "" {
		return brain.RouteTarget{}, why
	}
	target := acct.Dialed(user)
	switch {
	case target.IsSet():
		return target, ""
	case acct.Extensions[user] != nil:
		return brain.RouteTarget{}, "extension " + user + " is disabled"
	case acct.UserByName[user] != nil:
		return brain.RouteTarget{}, "user " + user + " is disabled"
	}
	return brain.RouteTarget{}, "no extension and no user " + strconv.Quote(user)
}

// printable tells whether s is valid UTF-8 without control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// reject is the directive that answers code. acct may be nil.
func reject(acct *brain.AccountConfig, code int, why string) api.Directive {
	d := api.Directive{Action: api.ActionReject, Version: api.Version,
		Refusal: api.Refusal{SIPCode: code, Reason: Reason(code), Why: why}}
	if acct != nil {
		d.AccountID, d.ConfigVersion = acct.Account.ID, acct.Version
	}
	return d
}

// Reason is the phrase that goes with a SIP final response code (RFC 3261 section 21), for the codes that
// a hangup target is likely to name; the phrase of their class for others.
func Reason(code int) string { return api.Reason(code) }

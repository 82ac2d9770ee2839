package route

import (
	"cmp"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// Attestation of who calls (ATIS-1000074): the number is the account's and the caller is known; the caller is known, or at least
// his account; the call only passes through.
const (
	attestFull    = "A"
	attestPartial = "B"
	attestGateway = "C"
)

// shownID is who calls, as a trunk is told.
type shownID struct {
	number   string // E.164 without +, or as it came when it is no such number; "" = none
	foreign  bool   // as it came
	name     string // sanitized
	withheld bool
	attest   string
	by       string // whose number it is, for operators
}

// spoken is who is shown, for operators.
func (id *shownID) spoken() string {
	switch {
	case id.number == "":
		return "no number"
	case id.withheld:
		return "nobody, withheld " + id.number + " of " + id.by
	}
	return id.number + " of " + id.by
}

// identify chooses the number that a trunk is shown: what the forward says, the caller's own, that of the trunk, that of the
// account; the first that is set and one of the account's numbers. Only a forward with cid_mode passthrough shows a number of
// somebody else.
func (p *plan) identify(o *outward, t *brain.SIPTrunk) shownID {
	id := p.original(o)
	if o.toPBX() {
		id = p.insider()
	} else if id.number == "" {
		id.attest = attestPartial
		for _, c := range []struct{ number, by string }{{p.trunkCID(), "the PBX's trunk"}, {t.CIDNumber, "the trunk"}, {p.acct.Account.DefaultCIDNumber, "the account"}} {
			if owned(p.acct, c.number) {
				id.number, id.by, id.attest = c.number, c.by, p.vouched()
				break
			}
		}
	}
	if !o.toPBX() {
		p.nameOf(&id)
	}
	// Who calls for help is found by his number (RFC 3323 leaves that to the network, and networks do).
	id.withheld = o.kind != destEmergency && withholds(p.req)
	return id
}

// nameOf gives who calls the name of his number, when that is one of the account's and he has no name of his own. A number that only
// passes through gets none: the account does not vouch for it. A name that repeats the number is none.
func (p *plan) nameOf(id *shownID) {
	did := p.acct.DIDByE164[id.number]
	if did == nil || id.foreign || id.attest == attestGateway || id.name != "" && p.read(id.name) != id.number {
		return
	}
	id.name = cmp.Or(sanitize(did.CNAM), id.name)
}

// original is the number of the forward or of the caller himself, "" when neither may be shown.
func (p *plan) original(o *outward) shownID {
	if o.forward != nil {
		if id := p.forwarded(o.forward); id.number != "" {
			return id
		}
	}
	if o.by != nil && p.user() == nil {
		return p.passed()
	}
	switch u := p.user(); {
	case u != nil && owned(p.acct, u.OutCIDNumber):
		return shownID{number: u.OutCIDNumber, name: sanitize(u.OutCIDName), attest: attestFull, by: "user " + u.Username}
	case u != nil:
		return shownID{}
	}
	if p.caller.Trunk != nil && p.caller.Trunk.Role != brain.RolePBX {
		return shownID{}
	}
	if n := p.callerE164(); owned(p.acct, n) {
		attest := attestFull
		if p.caller.Media { // From is what came with the call, or what its flow says
			attest = attestPartial
		}
		return shownID{number: n, name: sanitize(unquote(p.req.FromName)), attest: attest, by: "the caller"}
	}
	return shownID{}
}

// forwarded is the number that a forward shows.
func (p *plan) forwarded(f *brain.Forward) shownID {
	switch f.CIDMode {
	case brain.CIDCustom:
		if owned(p.acct, f.CIDNumber) {
			return shownID{number: f.CIDNumber, attest: p.vouched(), by: "forward " + f.Name}
		}
		return shownID{}
	case brain.CIDOfDID:
		if did := p.did(); did != nil {
			return shownID{number: did.E164, attest: p.vouched(), by: "the number called"}
		}
		return shownID{}
	}
	if p.user() != nil {
		return shownID{} // his own rules hold
	}
	return p.passed()
}

// passed is the caller as he came.
func (p *plan) passed() shownID {
	id := shownID{number: p.callerE164(), name: sanitize(unquote(p.req.FromName)), attest: attestGateway, by: "the caller"}
	switch {
	case owned(p.acct, id.number) && !p.caller.Media && (p.caller.Trunk == nil || p.caller.Trunk.Role == brain.RolePBX):
		id.attest = attestFull
	case id.number == "":
		id.number, id.foreign = p.shown(p.req), true
	}
	return id
}

// trunkCID is the number of the trunk that a PBX calls over.
func (p *plan) trunkCID() string {
	if p.caller.Trunk != nil && p.caller.Trunk.Role == brain.RolePBX {
		return p.caller.Trunk.CIDNumber
	}
	return ""
}

// vouched is the attestation of a number of the account that is shown instead of the caller's own: full for its own phones.
func (p *plan) vouched() string {
	if p.user() != nil {
		return attestFull
	}
	return attestPartial
}

// user is the user of the account who calls: the phone's, or, for a leg of the media server, whose call it belongs to. nil:
// somebody else. What From says of a leg is no proof: it came with the call.
func (p *plan) user() *brain.SIPUser {
	if p.caller.User != nil || !p.caller.Media {
		return p.caller.User
	}
	return p.acct.Users[p.req.CallerUserID]
}

// did is the number of the account that a call from outside is for, nil for other calls.
func (p *plan) did() *brain.DID {
	if p.caller.Media && p.req.CallerUserID == "" {
		return p.acct.DIDByE164[p.req.Called]
	}
	if p.caller.Trunk == nil {
		return nil
	}
	_, did := called(p.acct, p.req.RURIUser)
	return did
}

// callerE164 is the caller's number as it came, also of one who withholds it, "" when it is none.
func (p *plan) callerE164() string {
	for _, s := range []string{p.req.Asserted, p.req.FromUser} {
		if p.caller.Media && s == p.req.Asserted || s == "" {
			continue
		}
		if n := p.read(s); n != "" {
			return n
		}
	}
	return ""
}

// read is a number that somebody else has written, as E.164 without +, "" when it is none.
func (p *plan) read(s string) string {
	if len(s) > maxDialed {
		return ""
	}
	if n := number.Received(p.acct.Account.Country, s); n != "" {
		return n
	}
	if n := E164(s); len(n) >= minInternational && n[0] != '0' {
		return n
	}
	return ""
}

// minInternational is from how many digits a number without a country's plan counts as one with its country code.
const minInternational = 8

// owned tells whether a number is one of the account's, whatever its status. "" is not.
func owned(acct *brain.AccountConfig, e164 string) bool { return acct.DIDByE164[e164] != nil }

// withholds tells whether a caller does not want to be known: he is anonymous in From, or asks for privacy of his identity
// (RFC 3323 sections 4.1.1.3 and 4.2, RFC 3325 section 9.3).
func withholds(req *api.RouteRequest) bool {
	if anonymous(req.FromUser) {
		return true
	}
	for token := range strings.SplitSeq(req.Privacy, ";") {
		switch strings.ToLower(strings.TrimSpace(token)) {
		case "id", "user", "header":
			return true
		}
	}
	return false
}

// written is the number as a trunk is shown it.
func (id *shownID) written(p *plan, t *brain.SIPTrunk) string {
	if id.foreign || id.number == "" {
		return id.number
	}
	return formatted(p.acct.Account.Country, id.number, t.NumberFormat)
}

// domain is what a trunk finds in From.
func (p *plan) domain(t *brain.SIPTrunk) string {
	for _, s := range []string{t.FromDomain, hostOf(t.Proxy), p.acct.PrimaryDomain} {
		if hostport(s) {
			return s
		}
	}
	return noDomain
}

// from is From of the attempt.
func (id *shownID) from(p *plan, t *brain.SIPTrunk) *api.NameAddr {
	number := id.written(p, t)
	user := cmp.Or(t.FromUser, number)
	if id.withheld || user == "" {
		return &api.NameAddr{Display: `"Anonymous"`, URI: "sip:anonymous@anonymous.invalid"}
	}
	return &api.NameAddr{Display: quote(cmp.Or(id.name, number, sanitize(user))), URI: "sip:" + escapeUser(user) + "@" + p.domain(t)}
}

package route

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// maxAt bounds CallInfo.At in bytes, as it comes back.
const maxAt = 128

// again decides what follows a step that asks, or the failure of a trunk.
func (p *plan) again(dir brain.Directory) api.Directive {
	kind, id, _ := strings.Cut(p.req.At, "/")
	if p.req.Tried != "" {
		p.tried = strings.Split(p.req.Tried, ",")
	}
	switch {
	case p.req.Trunk == "":
	case p.req.FailedCode == 0:
		p.say("trunk ", p.trunkName(p.req.Trunk), " was not called")
	default:
		p.say("trunk ", p.trunkName(p.req.Trunk), " answered ", strconv.Itoa(p.req.FailedCode))
	}
	digits := strings.TrimPrefix(id, "+")
	switch {
	case len(p.req.At) > maxAt:
	case brain.DestKind(kind) == brain.DestForward && p.acct.Forwards[id] != nil:
		return p.forwardAgain(dir, p.acct.Forwards[id])
	case brain.DestKind(kind) == brain.DestTrunk && handed(p.acct, p.req.At) != nil:
		return p.numberAgain(p.towards(p.acct.Trunks[id], p.req.Hops))
	case brain.DestKind(kind) == destEmergency && helpAgain(p.acct, id) && p.mayLeave():
		return p.numberAgain(&outward{kind: destEmergency, number: id})
	case brain.DestKind(kind) == destNumber && number.ValidE164(digits) && p.mayLeave():
		return p.numberAgain(&outward{kind: destNumber, number: digits})
	case brain.DestKind(kind) == destTransfer && p.caller.Media:
		if o := onwardTo(p.acct, brain.RouteTarget{Kind: destTransfer, ID: id}); o != nil {
			return p.numberAgain(o)
		}
	}
	return reject(p.acct, 404, "a question about "+strconv.QuoteToASCII(p.req.At[:min(len(p.req.At), maxAt)])+", where no call of this caller can have been")
}

// mayLeave tells whether the caller may dial numbers outside: the account's own phones, PBXs and media server, no carrier.
func (p *plan) mayLeave() bool { return p.caller.Trunk == nil || p.caller.Trunk.Role == brain.RolePBX }

// trunkName is a trunk as an operator knows it.
func (p *plan) trunkName(id string) string {
	if t := p.acct.Trunks[id]; t != nil {
		return t.Name
	}
	return strconv.QuoteToASCII(shorten(id))
}

// numberAgain goes on with a number that was dialed.
func (p *plan) numberAgain(o *outward) api.Directive {
	code := finalCode(p.req.FailedCode)
	if p.goesOn(o) {
		if p.req.Trunk != "" {
			p.say("; ")
		}
		if n := p.send(o); n == 0 {
			return p.directive(o.number)
		} else if n != 503 || p.req.Trunk == "" {
			code = n
		}
	}
	return reject(p.acct, code, string(p.why))
}

// forwardAgain goes on with a forward: over its next trunk, or where it overflows to.
func (p *plan) forwardAgain(dir brain.Directory, f *brain.Forward) api.Directive {
	first := plan{acct: p.acct, caller: p.caller, req: p.req}
	to := first.destination(dir, p.req)
	p.vars, p.headers, p.base = first.vars, p.identity(p.req), max(0, p.req.Hops-1)
	target := brain.RouteTarget{Kind: brain.DestForward, ID: f.ID}
	p.hops, p.routes = append(p.hops, hop{target, "forward", f.Name, noHop}), make([]api.Route, 0, 2)
	if p.req.Trunk != "" {
		p.say("; ")
	}
	var out outcome
	p.cause = causeOf(p.req.FailedCode)
	if p.confirms(f) || f.Waits() && p.req.Trunk == "" {
		p.hops = p.hops[:0]
		p.say("reached")
		out.code = p.lead(target, noHop)
		if out.step = p.steps; out.step == 0 {
			return reject(p.acct, out.code, string(p.why))
		}
		return p.directive(to.number)
	}
	p.say("forward ", f.Name)
	if e164, why := number.Normalize(p.acct.Account.Country, f.Number); why != "" || p.req.Trunk == "" && p.leadsBack(f, e164) != "" {
		out = p.forward(f, 0)
	} else {
		out = p.sendOn(&outward{kind: brain.DestForward, number: e164, forward: f, hops: p.base + 1})
	}
	if out.next.IsSet() {
		p.tried = nil
		p.say(", overflow")
		out.code = p.lead(out.next, 0)
		out.step = p.steps
	}
	if out.step == 0 {
		return reject(p.acct, out.code, string(p.why))
	}
	return p.directive(to.number)
}

// sendOn goes on with the number of a forward.
func (p *plan) sendOn(o *outward) outcome {
	code := finalCode(p.req.FailedCode)
	if code == 600 || code == 603 && p.req.Trunk == "" {
		code = 486
	}
	if p.goesOn(o) {
		p.say(" → ")
		n := p.send(o)
		if n == 0 {
			return outcome{step: p.steps}
		}
		if n != 503 || p.req.Trunk == "" {
			code = n
		}
	}
	return p.overflow(o.forward, "", code)
}

// goesOn tells whether another trunk is tried after what has happened, or the same once more, with a digest. A call for help tries
// them all, whatever the first ones say.
func (p *plan) goesOn(o *outward) bool {
	t := p.acct.Trunks[p.req.Trunk]
	if p.challenged() != nil {
		p.tried = slices.DeleteFunc(p.tried, func(id string) bool { return id == t.ID })
		p.only = t
		return true
	}
	code := p.req.FailedCode
	switch {
	case p.req.Trunk == "", o.kind == destEmergency, code == 408, code == 401, code == 407, code >= 500 && code < 600:
		return true
	}
	return t != nil && slices.Contains(t.FailCodes, code)
}

// Challenged is the trunk whose challenge the question is about and is to be answered: the directive repeats the attempt, and
// wants the digest in it. nil for every other question.
func Challenged(caller Caller, req *api.RouteRequest) *brain.SIPTrunk {
	if !caller.known() {
		return nil
	}
	p := plan{acct: caller.Account, caller: caller, req: req}
	return p.challenged()
}

// challenged is the trunk whose challenge is answered: once, and once more when it says that the nonce was too old.
func (p *plan) challenged() *brain.SIPTrunk {
	t := p.acct.Trunks[p.req.Trunk]
	switch {
	case t == nil || !t.Out() || t.AuthUsername == "" || t.AuthSecretRef == "" || p.caller.Unanswered:
		return nil
	case p.req.FailedCode != 401 && p.req.FailedCode != 407, p.req.Challenge == "":
		return nil
	case p.req.Answered == 0, p.req.Answered == 1 && stale(p.req.Challenge):
		return t
	}
	return nil
}

// stale tells whether a challenge says that the digest was right and its nonce too old (RFC 7616 section 3.3).
func stale(challenge string) bool {
	s := strings.ToLower(strings.NewReplacer(" ", "", "\t", "", `"`, "").Replace(challenge))
	return strings.Contains(s, "stale=true")
}

// finalCode is what the caller is told at last when a trunk answered code: what the network says of the number called. That we
// could not identify ourselves, or that a trunk is broken, is none of his business (RFC 3261 section 16.7, step 6: a 401 or 407 that
// was not answered would have him ask for a password, and a 3xx would have him call past the platform).
func finalCode(code int) int {
	switch {
	case code >= 300 && code < 400:
		return 480
	case code < 400, code == 401, code == 407, code == 408, code >= 500 && code < 600, code > 699:
		return 503
	}
	return code
}

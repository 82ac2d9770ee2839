package route

import (
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/number"
)

// toPBX tells whether a call goes to a PBX because a target says so: it stays a call from outside, or one inside the account, and costs
// nothing.
func (o *outward) toPBX() bool { return o.kind == brain.DestTrunk && o.trunk.Role == brain.RolePBX }

// handOver sends the call to a trunk with the number that was called. Behind phones it is a step that asks, as a forward is.
func (p *plan) handOver(t *brain.SIPTrunk, chain int) outcome {
	target := brain.RouteTarget{Kind: brain.DestTrunk, ID: t.ID}
	switch {
	case p.offline:
		return outcome{code: 503}
	case p.recorded(nil):
		return p.record(target)
	case p.steps > 0:
		return p.askAt(target, chain)
	}
	p.say(" → ")
	if code := p.send(p.towards(t, p.base+p.depth(chain))); code != 0 {
		return outcome{code: code}
	}
	return outcome{step: p.steps, code: 480}
}

// towards is the call to a trunk that a target leads to: for the number of the account that was called, else for what was dialed.
func (p *plan) towards(t *brain.SIPTrunk, hops int) *outward {
	o := &outward{kind: brain.DestTrunk, trunk: t, hops: hops}
	dialed := p.req.RURIUser
	if p.caller.Media {
		dialed = p.req.Called
	}
	if did := p.did(); did != nil {
		o.number = did.E164
	} else if e164, why := number.Normalize(p.acct.Account.Country, dialed); why == "" && !p.acct.Dialed(dialed).IsSet() {
		o.number = e164
	} else {
		o.number, o.dialed = dialed, true
	}
	return o
}

// lineTo is the trunk that a target leads to, or why the call must not go there: back where it comes from, or to a carrier with a number
// that the account may not call.
func (p *plan) lineTo(o *outward) (list []line, code int, why string) {
	t := o.trunk
	switch {
	case !t.Out():
		return nil, 480, "trunk " + t.Name + " carries no calls from here"
	case p.caller.Trunk == t:
		return nil, 482, "trunk " + t.Name + " is where the call comes from"
	case o.number == "" || len(o.number) > maxDialed || !printable(o.number):
		return nil, 404, "there is no number to call at trunk " + t.Name
	case t.Role == brain.RolePBX:
		return []line{{trunk: t}}, 0, "handed over"
	case o.dialed:
		return nil, 404, strconv.QuoteToASCII(o.number) + " is no number that a carrier could be sent"
	}
	if why = p.uncallable(o.number); why != "" {
		return nil, 403, why
	}
	return []line{{trunk: t}}, 0, "handed over"
}

// handed is the trunk that a question is about, nil when it is about something else.
func handed(acct *brain.AccountConfig, at string) *brain.SIPTrunk {
	id, is := strings.CutPrefix(at, string(brain.DestTrunk)+"/")
	if !is {
		return nil
	}
	return acct.Trunks[id]
}

// insider is who calls, as a PBX is shown him: everybody as he came, phones of the account by their extension.
func (p *plan) insider() shownID {
	if u := p.user(); u != nil {
		return shownID{number: u.Username, foreign: true, name: sanitize(u.DisplayName), attest: attestFull, by: "user " + u.Username}
	}
	return p.passed()
}

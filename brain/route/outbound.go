package route

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/number"
)

// destEmergency is a number that calls for help. Only what is dialed leads to it.
const destEmergency brain.DestKind = "emergency"

const (
	// outRingSec is how long a number outside may ring: longer than any mailbox waits, shorter than the 300 s after
	// which the edge ends calls that nobody answers.
	outRingSec = 120
	// Defaults of the resource.
	defaultSilentMS   = 4000
	defaultProgressMS = 15_000
	// helpProgressMS is how long a trunk may take to say that a call for help rings, when there is another one.
	helpProgressMS = 5000
	// maxLines bounds the trunks that are tried for one number.
	maxLines = 16
)

// outward is a call to outside.
type outward struct {
	kind    brain.DestKind  // destNumber, destEmergency, brain.DestForward, destTransfer, brain.DestTrunk
	number  string          // E.164 without +; of an emergency, and to a PBX what is no number, as it was dialed
	forward *brain.Forward  // of a forward
	by      *brain.SIPUser  // who transfers the caller there
	trunk   *brain.SIPTrunk // of a call that a number or an extension leads to a trunk
	dialed  bool            // to a trunk: number is no E.164
	hops    int             // of the call, when it gets here
	attest  string          // of the attempt that was planned last
	shown   string          // who is shown in it, for operators
}

// at is CallInfo.At of the call.
func (o *outward) at() string {
	switch o.kind {
	case brain.DestForward:
		return string(o.kind) + "/" + o.forward.ID
	case destEmergency:
		return string(o.kind) + "/" + o.number
	case destTransfer:
		return string(o.kind) + "/" + o.by.ID + "/+" + o.number
	case brain.DestTrunk:
		return string(o.kind) + "/" + o.trunk.ID
	}
	return string(o.kind) + "/+" + o.number
}

// ringSec is how long it rings.
func (o *outward) ringSec() int {
	if o.forward != nil && o.forward.TimeoutSec > 0 {
		return o.forward.TimeoutSec
	}
	return outRingSec
}

// sentOn tells whether somebody of the account sends the call there who does not make it.
func (o *outward) sentOn() bool { return o.forward != nil || o.by != nil }

// describe writes into what the edge remembers of the call where it goes.
func (o *outward) describe(call *api.CallInfo, trunkID string) {
	call.To, call.At, call.Hops, call.Trunk, call.Attestation = o.number, o.at(), o.hops, trunkID, o.attest
	if !o.toPBX() {
		call.Direction = brain.DirectionOut
	}
}

// outside is a dialed number that nobody in the account has. inside says why it is nobody's.
func (p *plan) outside(user, inside string) destination {
	e164, why := number.Normalize(p.acct.Account.Country, user)
	if why != "" {
		return destination{code: 404, why: inside + ", and as a number it " + string(why)}
	}
	return destination{number: e164, out: &outward{kind: destNumber, number: e164}}
}

// line is a trunk that a call may leave over, and the route that says so; nil for one that needs none.
type line struct {
	trunk *brain.SIPTrunk
	route *brain.OutboundRoute
}

// send adds the step that calls a number over the next trunk that has not been tried. It returns 0, or with what code
// the call ends when there is none.
func (p *plan) send(o *outward) int {
	p.say(o.spoken(), ": ")
	lines, code, why := p.lines(o)
	if code != 0 {
		p.say(why)
		return code
	}
	p.say(why)
	if p.caller.Stay && o.kind != destEmergency {
		p.say(", which is more than the account's limits or money allow now")
		return 503
	}
	for i := range lines {
		t := lines[i].trunk
		p.say(separator(i), "trunk ", t.Name)
		switch {
		case p.out != nil:
			p.say(p.unwell(t))
		case p.only != nil && p.only != t:
			p.say(" waits")
		case slices.Contains(p.tried, t.ID):
			p.say(" tried")
		case slices.Contains(p.caller.Full, t.ID):
			p.say(" full")
		default:
			p.leaveBy(o, lines[i], lines[i+1:])
		}
	}
	switch {
	case p.out == nil:
		p.say(", no trunk is left")
		return 503
	case p.recorded(nil):
		p.say(", not recorded: a call for help goes out at once")
	}
	return 0
}

// spoken is the call as an operator reads it.
func (o *outward) spoken() string {
	switch {
	case o.kind == destEmergency:
		return "emergency " + o.number
	case o.dialed:
		return o.number
	}
	return "+" + o.number
}

func separator(i int) string {
	if i == 0 {
		return ", "
	}
	return ", then "
}

// unwell says that a trunk does not answer the node.
func (p *plan) unwell(t *brain.SIPTrunk) string {
	if listed(p.req.Down, t.ID) {
		return " (down)"
	}
	return ""
}

// leaveBy adds the step over a trunk, unless that cannot carry the number; rest are those that may follow.
func (p *plan) leaveBy(o *outward, l line, rest []line) {
	r, why := p.over(o, l)
	if why != "" {
		p.say(" ", why)
		return
	}
	if o.kind == destEmergency && !slices.ContainsFunc(rest, func(l line) bool { return !slices.Contains(p.tried, l.trunk.ID) }) {
		r.Trunk.ProgressMS = 0 // nobody else could help
	}
	p.steps++
	r.Step = p.steps
	p.routes, p.out = append(p.routes, r), o
	p.say(p.unwell(l.trunk), " as ", r.URI, " showing ", o.shown, ", step ", strconv.Itoa(p.steps))
}

// over is the step over a trunk, or why it cannot carry the number.
func (p *plan) over(o *outward, l line) (r api.Route, why string) {
	t := l.trunk
	sent, shown := o.number, o.number
	switch {
	case o.kind == destEmergency:
	case o.dialed:
		if sent = rewrite(o.number, t.Strip, t.Prefix); sent == "" {
			return r, "has no digit of the number left"
		}
	default:
		if sent = sentNumber(p.acct.Account.Country, o.number, l); sent == "" {
			return r, "has no digit of the number left"
		}
		shown = formatted(p.acct.Account.Country, o.number, t.NumberFormat)
	}
	out := attempt{&api.RouteTrunk{ID: t.ID, FrTimer: t.SilentMS, ToTrunk: flagsToTrunk(t)}}
	if out.FrTimer <= 0 {
		out.FrTimer = defaultSilentMS
	}
	switch {
	case t.InboundAuth == brain.InboundRegister:
		if out.Lookup = p.acct.TrunkAOR(t); out.Lookup == "" {
			return r, "registers here without a name, or without a domain of the account"
		}
		r.URI = "sip:" + escapeUser(sent) + "@" + p.acct.PrimaryDomain
		out.To = "sip:" + escapeUser(shown) + "@" + p.acct.PrimaryDomain
	case !hostport(t.Proxy):
		return r, "has no proxy"
	default:
		targets, told := via(p.req.Via, t.ID)
		if told && len(targets) == 0 {
			return r, "has a name that is not resolved"
		}
		r.URI = "sip:" + escapeUser(sent) + "@" + t.Proxy + transport(t)
		out.To = "sip:" + escapeUser(shown) + "@" + hostOf(t.Proxy)
		out.through(targets, transport(t))
	}
	id := p.identify(o, t)
	o.attest, o.shown = id.attest, id.spoken()
	out.From, out.Headers = id.from(p, t), id.headers(p, o, t)
	r.FrInvTimer, r.Trunk = ringMS(o.ringSec()), out.RouteTrunk
	if out.ProgressMS = progressMS(o, t); out.ProgressMS >= r.FrInvTimer {
		out.ProgressMS = 0
	}
	return r, ""
}

// progressMS is how long a trunk may take to say that it rings.
func progressMS(o *outward, t *brain.SIPTrunk) int {
	ms := cmp.Or(t.ProgressMS, defaultProgressMS)
	if o.kind == destEmergency {
		return min(ms, helpProgressMS)
	}
	return ms
}

// listed tells whether an id is in a list separated by commas.
func listed(list, id string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one == id {
			return true
		}
	}
	return false
}

package route

import (
	"slices"
	"strconv"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Bounds of a directive. A hunt of 16 steps at 25 seconds is longer than any caller waits; 64 routes is
// more phones than one INVITE should ring. What lies beyond is cut and said in Why.
const (
	MaxSteps  = 16
	MaxRoutes = 64
)

// maxWhy is where the explanation stops, in bytes; the sentence begun before it is still finished.
const maxWhy = 2048

// plan is a directive in the making. Targets are followed until something rings; what rings becomes a
// step, and its exits are queued and followed in turn, in the order of their steps. So steps only ever
// point forward, and the early exits, which matter most, are the last to be cut.
type plan struct {
	acct    *brain.AccountConfig
	caller  Caller
	headers *api.RouteHeaders // of every route that rings
	req     *api.RouteRequest // nil in a plan that is offline
	dir     brain.Directory   // of the accounts above; nil in a plan that sends nothing out
	vars    brain.Vars        // what the configuration hands on to what the platform answers
	offline bool              // planned for a node without a brain: nothing that the platform must answer

	knowsCaller bool // callerShown is found
	callerShown string

	out   *outward        // the call leaves over a trunk, by the plan's only step
	tried []string        // ids of the trunks that have been tried for what the question is about
	only  *brain.SIPTrunk // whose challenge is answered: no other is tried; nil = any
	cause brain.Trigger   // what has become of the call so far, "" = nobody has been tried
	base  int             // hops of the call before this question
	asked int             // hops of the longest chain to a step that asks

	routes []api.Route
	steps  int
	exits  []exit
	hops   []hop
	why    []byte

	// Scratch, good until the next target is visited.
	devices []*brain.SIPDevice // the rung set, in order
	ends    []int              // where each step's part of devices ends
}

// hop is one target that a chain went through: an entry in plan.hops. prev is the index of the hop before
// it, or noHop.
type hop struct {
	target brain.RouteTarget
	kind   string // with name, the target as an operator knows it
	name   string
	prev   int
}

const noHop = -1

// exit is an exit of a step that has yet to be followed. When both outcomes lead to the same target they
// are one exit.
type exit struct {
	step           int
	busy, noanswer bool // the outcomes that leave by it
	way
	chain int        // index of the last hop, see hop
	vars  brain.Vars // what the route knew there
}

// outcome is what became of a target: another target to follow, a step that rings, or neither: then code
// says how the call would end here, and hangup that the configuration asks for that very code.
type outcome struct {
	next   brain.RouteTarget
	via    string // the name of the exit that leads to next
	step   int
	code   int
	hangup bool
}

// build follows the dialed target and all exits. It returns 0, or the code to reject the call with when
// nothing at all rings.
func (p *plan) build(dialed string, target brain.RouteTarget) int {
	p.hops, p.routes = make([]hop, 0, 2), make([]api.Route, 0, 2)
	if p.why == nil {
		p.why = make([]byte, 0, 128)
	}
	p.say(dialed)
	return p.lead(target, noHop)
}

// lead follows a target behind a hop, and all exits of what rings.
func (p *plan) lead(target brain.RouteTarget, chain int) int {
	p.devices, p.ends = make([]*brain.SIPDevice, 0, 4), make([]int, 0, 4)
	first := p.follow(target, chain)
	if first.step == 0 {
		return first.code
	}
	for i := 0; i < len(p.exits); i++ { // grows while it is walked, by one or two a ringing step at most
		x := p.exits[i]
		p.say("; step ", strconv.Itoa(x.step), " ", x.outcomes(), ", ", x.name)
		p.vars = x.vars
		out := p.follow(x.target, x.chain)
		if out.hangup {
			out.step = p.answer(out.code)
		}
		if out.step == 0 {
			p.say(", ends the call")
		}
		p.link(x.step, x.busy, x.noanswer, out.step)
	}
	return 0
}

// outcomes says after what the step is left by this exit.
func (x *exit) outcomes() string {
	switch {
	case x.busy && x.noanswer:
		return "failed"
	case x.busy:
		return "busy"
	}
	return "noanswer"
}

// follow walks from a target to the first that rings or ends the chain. chain is the last hop before the
// target. At most MaxHops targets are visited, none of them twice.
func (p *plan) follow(target brain.RouteTarget, chain int) outcome {
	for {
		if target.Kind == brain.DestHangup {
			code := hangupCode(target.ID)
			p.say(" → hangup ", strconv.Itoa(code))
			return outcome{code: code, hangup: true}
		}
		kind, name := p.name(target)
		p.say(" → ", kind, " ", name)
		if why := p.barred(target, chain); why != "" {
			p.say(": ", why)
			return outcome{code: 482}
		}
		p.hops = append(p.hops, hop{target, kind, name, chain})
		chain = len(p.hops) - 1
		out := p.visit(target, chain)
		if !out.next.IsSet() {
			return out
		}
		if out.via != "" {
			p.say(", ", out.via)
		}
		target = out.next
	}
}

// visit applies one target.
func (p *plan) visit(target brain.RouteTarget, chain int) outcome {
	switch target.Kind {
	case brain.DestUser:
		if u := p.acct.Users[target.ID]; u != nil {
			return p.ringUser(u, chain)
		}
	case destAgent, destSupervisor:
		if u := p.acct.Users[target.ID]; u != nil {
			return p.ringAgent(u)
		}
	case brain.DestFlow, brain.DestQueue, brain.DestVoicemail, brain.DestConference:
		return p.answered(target)
	case brain.DestRingGroup:
		if g := p.acct.RingGroups[target.ID]; g != nil {
			return p.ringGroup(g, chain)
		}
	case brain.DestExtension:
		if e := p.acct.ExtensionByID[target.ID]; e != nil {
			return p.extension(e)
		}
	case brain.DestForward:
		if f := p.acct.Forwards[target.ID]; f != nil {
			return p.forward(f, chain)
		}
	case brain.DestTrunk:
		if t := p.acct.Trunks[target.ID]; t != nil {
			return p.handOver(t, chain)
		}
	}
	return p.dead("does not exist")
}

// dead ends a chain at a target that cannot ring.
func (p *plan) dead(why string) outcome {
	p.say(" ", why)
	return outcome{code: 480}
}

// orElse leaves a target that rang nothing by an exit: its target when it is set, else the code.
func (p *plan) orElse(why, via string, target brain.RouteTarget, code int) outcome {
	if why != "" {
		p.say(" ", why)
	}
	if !target.IsSet() {
		return outcome{code: code}
	}
	return outcome{next: target, via: via}
}

// barred says why a chain must not go on to target: it has been there, or it has grown too long.
func (p *plan) barred(target brain.RouteTarget, chain int) string {
	n := 0
	for i := chain; i != noHop; i = p.hops[i].prev {
		if p.hops[i].target == target {
			return "loop, " + p.path(chain) + " → " + p.hops[i].kind + " " + p.hops[i].name
		}
		n++
	}
	if n+p.base >= brain.MaxHops {
		return "more than " + strconv.Itoa(brain.MaxHops) + " hops, " + p.path(chain)
	}
	return ""
}

// path names the hops of a chain from its first.
func (p *plan) path(chain int) string {
	if chain == noHop {
		return "of the call"
	}
	h := &p.hops[chain]
	if h.prev == noHop {
		return h.kind + " " + h.name
	}
	return p.path(h.prev) + " → " + h.kind + " " + h.name
}

// name is a target as an operator knows it: "user", "1002".
func (p *plan) name(t brain.RouteTarget) (kind, name string) {
	switch t.Kind {
	case brain.DestUser, destAgent, destSupervisor:
		if u := p.acct.Users[t.ID]; u != nil {
			return string(t.Kind), u.Username
		}
	case brain.DestRingGroup:
		if g := p.acct.RingGroups[t.ID]; g != nil {
			return "ring group", g.Name
		}
	case brain.DestExtension:
		if e := p.acct.ExtensionByID[t.ID]; e != nil {
			return "extension", e.Digits
		}
	case brain.DestFlow:
		if f := p.acct.Flows[t.ID]; f != nil {
			return "flow", f.Name
		}
	case brain.DestQueue:
		if q := p.acct.Queues[t.ID]; q != nil {
			return "queue", q.Name
		} else if action := p.vars[brain.VarAction]; t.ID == "" && action != "" {
			return "feature code", action
		}
	case brain.DestVoicemail:
		if v := p.acct.Voicemails[t.ID]; v != nil {
			return "voicemail", v.Name
		} else if t.ID == "" {
			return "voicemail", "of the caller"
		}
	case brain.DestConference:
		if c := p.acct.Conferences[t.ID]; c != nil {
			return "conference", c.Name
		}
	case brain.DestForward:
		if f := p.acct.Forwards[t.ID]; f != nil {
			return "forward", f.Name
		}
	case brain.DestTrunk:
		if t := p.acct.Trunks[t.ID]; t != nil {
			return "trunk", t.Name
		}
	}
	return string(t.Kind), t.ID
}

// hangupCode is the final response a hangup target names, 480 when it names none or not a valid one.
func hangupCode(id string) int {
	code, err := strconv.Atoi(id)
	if err != nil || code < 400 || code > 699 {
		return 480
	}
	return code
}

// step adds a step that rings the devices for sec seconds and returns its number, 0 when there is no
// room left. A device that is listed twice rings once.
func (p *plan) step(devices []*brain.SIPDevice, sec int) int {
	if !p.room() {
		return 0
	}
	p.steps++
	from := len(p.routes)
	for i, d := range devices {
		if slices.Contains(devices[:i], d) {
			continue
		}
		if len(p.routes) == MaxRoutes {
			p.say(", cut at ", strconv.Itoa(MaxRoutes), " routes")
			break
		}
		p.routes = append(p.routes, api.Route{Step: p.steps, URI: d.AOR(), FrInvTimer: ringMS(sec), Headers: p.headers})
	}
	p.say(", step ", strconv.Itoa(p.steps), " rings ", strconv.Itoa(len(p.routes)-from))
	return p.steps
}

// room tells whether another step fits.
func (p *plan) room() bool {
	if p.steps < MaxSteps && len(p.routes) < MaxRoutes {
		return true
	}
	p.say(", cut at ", strconv.Itoa(p.steps), " steps and ", strconv.Itoa(len(p.routes)), " routes")
	return false
}

// answer adds a step that answers code and returns its number, 0 when there is no room left.
func (p *plan) answer(code int) int {
	if !p.room() {
		return 0
	}
	p.steps++
	p.routes = append(p.routes, api.Route{Step: p.steps, SIPCode: code})
	p.say(", step ", strconv.Itoa(p.steps))
	return p.steps
}

// link makes the outcomes of a step lead to another one, higher than it; 0 ends the call.
func (p *plan) link(step int, busy, noanswer bool, to int) {
	for i := range p.routes {
		r := &p.routes[i]
		if r.Step != step {
			continue
		}
		if busy {
			r.Busy = to
		}
		if noanswer {
			r.Noanswer = to
		}
	}
}

// way is a way out of a step as the configuration has it; an unset target ends the call.
type way struct {
	name   string
	target brain.RouteTarget
}

// leave queues the ways out of a step. A leg of the media server has none: what follows is the flow's to say.
func (p *plan) leave(step, chain int, busy, noanswer way) {
	switch {
	case p.caller.Media:
		return
	case busy.target == noanswer.target && busy.target.IsSet():
		if busy.name != noanswer.name {
			busy.name += " and " + noanswer.name
		}
		p.exits = append(p.exits, exit{step: step, busy: true, noanswer: true, way: busy, chain: chain, vars: p.vars})
		return
	case busy.target.IsSet():
		p.exits = append(p.exits, exit{step: step, busy: true, way: busy, chain: chain, vars: p.vars})
	}
	if noanswer.target.IsSet() {
		p.exits = append(p.exits, exit{step: step, noanswer: true, way: noanswer, chain: chain, vars: p.vars})
	}
}

// say adds to the explanation, until it has passed maxWhy.
func (p *plan) say(parts ...string) {
	if len(p.why) > maxWhy {
		return
	}
	for _, s := range parts {
		p.why = append(p.why, s...)
	}
}

// ringMS turns a ring time into milliseconds; 0 is the default of the resources.
func ringMS(sec int) int {
	if sec <= 0 {
		sec = 25
	}
	return sec * 1000
}

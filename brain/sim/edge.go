package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// account is an office with narrow limits.
type account struct {
	index   int
	id      string
	inside  int // calls inside the account
	user    int // calls of a user
	windows []cac.Window
	trunks  []trunk
}

// helpDesk is the queue of every office: its agents come and go, and their lines and phones are those of the world. Callers
// in queues have a world of their own.
var helpDesk = &acd.Setup{Version: 1, Queues: []acd.Queue{{ID: "q1", Name: "help", Strategy: acd.LongestIdle, RingMS: 20 * second, MaxQueued: -1}},
	Agents: []acd.Agent{helper("u0"), helper("u1"), helper("u2")}}

func helper(id string) acd.Agent {
	return acd.Agent{UserID: id, AutoReady: true, AutoQueueLogin: true, Memberships: []acd.Membership{{QueueID: "q1", Tier: 1, Mode: acd.ModeStatic}}}
}

func newAccount(i int, rng *rand.Rand) *account {
	return &account{index: i, id: fmt.Sprint("acc_", i), inside: 4 + rng.IntN(12), user: 1 + rng.IntN(3), trunks: newTrunks(i, rng), windows: []cac.Window{
		{Kind: cac.Limit, ID: "lim_hard", Max: 3 + rng.IntN(10), PeriodMS: 30 * second, Hard: true},
		{Kind: cac.Limit, ID: "lim_soft", Max: 2, PeriodMS: 20 * second}}}
}

// call is the truth about a call.
type call struct {
	presence.Admit
	account *account
	node    *node
	told    bool  // its question was answered, or given up
	live    bool  // it is up at the edge, ringing or answered
	listed  bool  // and Kamailio has a dialog of it
	missed  bool  // a report left it out once
	sinceMS int64 // by the node's clock
	lastMS  int64 // the latest time that a brain may take for its beginning
	overAt  int64 // true time when it ended; 0 while it has not
	hunt    *hunt // nil: it stays inside
}

// node is an edge machine: Kamailio with its dialogs, the node agent with its spool and its reports.
type node struct {
	name      string
	skew      int64 // of its clock
	boot      string
	boots     int
	bootMS    int64
	seq       int64 // of reports
	events    int64
	dialogs   []*call
	spool     []spooled
	reachable bool
	phones    []*phone
}

// phone is the truth about a contact.
type phone struct {
	account      *account
	aor, contact string
	toldAt       int64 // true time of the last word of it; 0 while that was in the storm, and may be lost
	expiresMS    int64 // by the node's clock; 0 while it is not registered
}

type spooled struct {
	account *account
	ev      presence.Event
}

func (n *node) clock(w *world) int64 { return w.now + n.skew }

// start begins a new life of Kamailio: it knows no dialog. Calls go on without it.
func (n *node) start(w *world) {
	for _, c := range n.dialogs {
		c.listed = false
	}
	n.boots++
	n.boot, n.bootMS, n.dialogs = fmt.Sprint("boot", n.boots), n.clock(w), nil
}

// traffic makes calls and registrations, for ever.
func (w *world) traffic() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	a := w.accounts[w.rng.IntN(len(w.accounts))]
	switch {
	case w.chance(15):
		w.register(n, a)
	case w.chance(5):
		if o := w.someOwner(); o != nil {
			action := []string{acd.ActionLogout, acd.ActionLogin, acd.ActionAvailable, acd.ActionBreak}[w.rng.IntN(4)]
			o.do(a, presence.AppendACD(nil, acd.AppendSetup(nil, helpDesk)), nil)
			o.do(a, presence.AppendACD(nil, acd.AppendAgent(nil, &acd.AgentOp{UserID: fmt.Sprint("u", w.rng.IntN(3)), Action: action}, helpDesk.Version)), nil)
		}
	case n.reachable && w.stormy:
		w.dial(n, a)
	}
	w.after(w.between(100, 6*second), w.traffic)
}

// register saves or removes a contact of a device.
func (w *world) register(n *node, a *account) {
	user := w.rng.IntN(3)
	ev := api.Event{Type: api.EventContactSaved, AOR: fmt.Sprintf("sip:%d@%s", user, a.id), Contact: fmt.Sprintf("sip:%d@phone%d", user, w.rng.IntN(2)),
		ExpiresS: int(w.between(30, 600))}
	if w.chance(25) {
		ev.Type = api.EventContactRemoved
	}
	w.happened(n, a, presence.Event{Event: ev, UserID: fmt.Sprint("u", user)})
	at := slices.IndexFunc(n.phones, func(p *phone) bool { return p.account == a && p.contact == ev.Contact })
	if at < 0 {
		at = len(n.phones)
		n.phones = append(n.phones, &phone{account: a, aor: ev.AOR, contact: ev.Contact})
	}
	p := n.phones[at]
	if p.toldAt, p.expiresMS = w.now, 0; w.stormy {
		p.toldAt = 0
	}
	if ev.Type == api.EventContactSaved {
		p.expiresMS = n.clock(w) + int64(ev.ExpiresS)*second
	}
}

// dial begins a call: the edge asks, perhaps more than once, and gives up after two seconds.
func (w *world) dial(n *node, a *account) {
	id := len(w.calls)
	from := w.rng.IntN(4)
	caller, callee := fmt.Sprint("u", from), fmt.Sprint("u", (from+1+w.rng.IntN(3))%4)
	c := &call{account: a, node: n}
	c.Token, c.CallID, c.Node, c.AskedMS = fmt.Sprint("tok", id), fmt.Sprint("call", id), n.name, n.clock(w)
	c.CallerUser, c.CalleeUser, c.Emergency = caller, callee, w.chance(3)
	c.Takes = []cac.Take{{Kind: cac.Internal, Limit: a.inside}, {Kind: cac.User, ID: caller, Limit: a.user},
		{Kind: cac.User, ID: callee, Limit: a.user}, {Kind: cac.Node, ID: n.name, Limit: 50}}
	c.Windows = a.windows
	if w.chance(40) {
		w.goOut(c)
	}
	w.calls = append(w.calls, c)
	w.byToken[c.Token] = c
	w.after(w.between(1, 50), func() { w.question(c) })
	if w.chance(25) {
		w.after(w.between(1, 3*second), func() { w.question(c) })
	}
	w.after(2*second, func() { w.giveUp(c) })
}

// question takes a call's question to a brain.
func (w *world) question(c *call) {
	if o := w.someOwner(); o != nil && c.node.reachable {
		o.ask(c)
	}
}

// giveUp ends a question without an answer: the caller was refused. Mostly the edge says so; else reports will tell.
func (w *world) giveUp(c *call) {
	if c.told {
		return
	}
	c.told, c.overAt = true, w.now
	if o := w.someOwner(); o != nil && w.chance(60) {
		o.do(c.account, presence.AppendRelease(nil, []string{c.Token}, presence.WhyAbandoned), nil)
	}
}

// answer takes a verdict to the edge: an admitted call rings, and is answered or not. sure: the journal had it.
func (w *world) answer(c *call, v cac.Verdict, sure bool) {
	if c.told {
		return
	}
	if c.told = true; !v.Admitted {
		c.overAt = w.now
		return
	}
	c.live, c.listed, c.sinceMS, c.lastMS = true, true, c.node.clock(w), c.node.clock(w)
	c.node.dialogs = append(c.node.dialogs, c)
	if c.hunt != nil {
		c.hunt.sure, c.hunt.doubt = sure, !sure
		w.ringOut(c)
		return
	}
	w.after(w.between(second, 20*second), func() {
		if c.live {
			w.ended(c)
		}
	})
}

// ended is what becomes of a call that has rung: nobody answers, or it is up for a while.
func (w *world) ended(c *call) {
	if w.chance(30) {
		w.over(c, api.EventDialogFailed)
		return
	}
	if c.lastMS = c.node.clock(w); c.listed {
		w.tell(c, api.EventDialogStart)
	}
	w.after(w.between(second, 4*minute), func() { w.over(c, api.EventDialogEnd) })
}

// over ends a call at the edge, and queues the word of it.
func (w *world) over(c *call, how string) {
	if c.live {
		w.tell(c, how)
		w.vanish(c)
	}
}

// vanish ends a call and says nothing.
func (w *world) vanish(c *call) {
	c.live, c.listed, c.overAt = false, false, w.now
	c.node.dialogs = slices.DeleteFunc(c.node.dialogs, func(o *call) bool { return o == c })
}

func (w *world) tell(c *call, typ string) {
	ev := api.Event{Type: typ, CallID: c.CallID, Token: c.Token, From: "1", To: "2"}
	if w.chance(5) && c.listed && typ != api.EventDialogStart {
		ev.Token = "" // the edge knows the dialog by its call id
	}
	w.happened(c.node, c.account, presence.Event{Event: ev, Takes: c.known()})
}

// happened puts an event into a node's spool. Some are lost before they are there.
func (w *world) happened(n *node, a *account, ev presence.Event) {
	if w.bad(3) {
		return
	}
	n.events++
	ev.Seq, ev.TimeMS, ev.AccountID = n.events, n.clock(w), a.id
	n.spool = append(n.spool, spooled{a, ev})
	if last := len(n.spool) - 1; last > 0 && w.bad(4) {
		n.spool[last-1], n.spool[last] = n.spool[last], n.spool[last-1]
	}
}

// deliverLoop delivers the head of a node's spool again and again until a brain has taken it.
func (w *world) deliverLoop(n *node) {
	if o := w.someOwner(); o != nil && n.reachable && len(n.spool) > 0 {
		a, batch := n.spool[0].account, []presence.Event(nil)
		for _, s := range n.spool[:min(len(n.spool), 10)] {
			if s.account == a {
				batch = append(batch, s.ev)
			}
		}
		op := presence.AppendEvents(nil, n.name, batch)
		taken := func([]byte) {
			if w.bad(15) {
				return // the answer is lost: all of it once more
			}
			n.spool = slices.DeleteFunc(n.spool, func(s spooled) bool {
				return slices.ContainsFunc(batch, func(ev presence.Event) bool { return ev.Seq == s.ev.Seq })
			})
		}
		o.do(a, op, taken)
		if w.bad(5) {
			w.after(w.between(second, 2*minute), func() { // a copy comes very late
				if o := w.someOwner(); o != nil {
					o.do(a, op, nil)
				}
			})
		}
	}
	pause := w.between(200, 1500)
	if w.bad(10) {
		pause = w.between(second, 20*second)
	}
	w.after(pause, func() { w.deliverLoop(n) })
}

// reportLoop takes the list of a node's dialogs and sends it: some are lost, some come late, or again.
func (w *world) reportLoop(n *node) {
	n.seq++
	r := presence.Report{Node: n.name, Boot: n.boot, Seq: n.seq, BootMS: n.bootMS, TakenMS: n.clock(w)}
	list := slices.Clone(n.dialogs)
	if at := len(list) - 1 - w.rng.IntN(3); at >= 0 && !list[at].missed && w.bad(20) {
		list[at].missed = true // Kamailio was changing its list: never twice for the same call
		list = slices.Delete(list, at, at+1)
	}
	if n.reachable && !w.bad(8) {
		delay := w.between(1, 500)
		if w.bad(15) {
			delay = w.between(5*second, 2*minute)
		}
		w.after(delay, func() { w.report(n, r, list) })
		if w.bad(15) {
			w.after(delay+w.between(1, minute), func() { w.report(n, r, list) })
		}
	}
	w.after(reportPeriod, func() { w.reportLoop(n) })
}

// report takes one report, cut down to each account, to a brain.
func (w *world) report(n *node, r presence.Report, list []*call) {
	o := w.someOwner()
	if o == nil {
		return
	}
	for _, a := range w.accounts {
		part := r
		for _, c := range list {
			if c.account == a {
				part.Dialogs = append(part.Dialogs, presence.Dialog{Token: c.Token, CallID: c.CallID, SinceMS: c.sinceMS, Takes: c.known()})
			}
		}
		o.observe(a, n, &part)
	}
}

// trouble makes something fail every now and then, as long as the storm lasts.
func (w *world) trouble() {
	if !w.stormy {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.rng.IntN(8) {
	case 0: // Kamailio restarts
		n.start(w)
	case 1: // the node is cut off, mostly for less than a lease
		n.reachable = false
		w.after(w.between(second, 8*minute), func() { n.reachable = true })
	case 2: // the node dies with its calls, and with what it had not told
		for _, c := range slices.Clone(n.dialogs) {
			w.vanish(c)
		}
		n.spool = nil
		n.reachable = false
		w.after(w.between(second, 2*minute), func() {
			n.start(w)
			n.reachable = true
		})
	case 3, 4: // the brain dies with what it had not written
		w.crash()
	case 6, 7: // the journal stands still, and perhaps the brain does not outlive it
		w.journal.stalled = w.now + w.between(second, 9*second)
		if w.chance(50) {
			w.after(w.between(second, 8*second), w.crash)
		}
	case 5: // another brain takes over, and the old one does not know
		w.takeOver()
	}
	w.after(w.between(5*second, minute), w.trouble)
}

// Package session is the machine of one call that the platform answers itself: which command the node agent
// carries out next, what happens beside it, and where the call goes when an application is over. It composes
// the interpreter of call flows with the applications voicemail, mailbox, conference, dial and enqueue.
//
// A step is decided once and written down as the image of the state after it. Replaying a journal sets images and
// runs no interpreter: a call goes on with the very command it was given, whatever the configuration is then.
package session

import (
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// Bounds of one session.
const (
	MaxState  = 96 << 10  // bytes of an image: the state of a flow (at most 64 KiB) and what is around it; a call that needs more ends
	MaxVars   = 64        // of a start
	MaxValue  = 4 << 10   // bytes of a variable, or of a datum of an outcome
	MaxFlows  = 16        // flows that one call enters
	MaxGraphs = 512 << 10 // bytes of the graphs of all of them, as JSON
	MaxHops   = brain.MaxHops
)

// How long things are kept, beside api.SessionLeaseSec.
const (
	// overMS is how long a session that is over answers repeated questions: longer than a node agent repeats them.
	overMS = 60_000
	// lapsedMS is how long a session is kept whose lease ran out: a node that was cut off from the brains for so long still
	// has its calls, and brings what they recorded.
	lapsedMS = 3600_000
	// effectsMS is how long effects that nobody performs are kept after the end: a day, in which somebody mends what keeps
	// messages from being stored.
	effectsMS = 24 * 3600_000
	// lateMS is how long after the end the one who decided has for the effects, before they count as left behind.
	lateMS  = 15_000
	leaseMS = api.SessionLeaseSec * 1000
)

// Env is what the configuration says at the moment of a step. Everything in it is immutable or a lookup.
type Env struct {
	Account *brain.AccountConfig
	Flow    func(id string) *Flow                       // the flow as it is published now; nil = none
	Hours   func(scheduleID string, nowMS int64) string // in_hours, out_of_hours, holiday
	Zone    *time.Location                              // of the account; nil = UTC
	Locked  func(target string) bool                    // PINs of this target (Reply.Wrong) are not taken now
}

// Flow is one published version of a call flow.
type Flow struct {
	ID      string
	Version int64
	Graph   *flow.Graph // nil in a machine that was read from a journal, until it is needed
	Source  []byte      // its brain.FlowGraph as JSON: what Graph is made from again
}

// Machine is the state of one call. It is not safe for concurrent use: one actor owns it.
type Machine struct {
	id    string
	image []byte // JSON of an image; nil = no session
	over  bool
	work  bool  // effects wait
	endMS int64 // when it was over, or lapsed
	flows []*Flow

	leaseMS int64   // in memory only
	lateMS  int64   // in memory only: when waiting effects count as left behind
	fresh   []*Flow // of the last Decide: shared with the configuration, so that Apply need not read them again

	decoded *image // what image says, when nobody has changed it since; nil = to be read
	made    []byte // the op that the last Decide made
	next    *image // what it says
}

// New makes the machine of a call, with no session in it yet.
func New(id string) *Machine { return &Machine{id: id} }

// Empty tells whether there is no session.
func (m *Machine) Empty() bool { return m.image == nil }

// Renew says that a node still has the call.
func (m *Machine) Renew(nowMS int64) { m.leaseMS = max(m.leaseMS, nowMS+leaseMS) }

// Resume is to be called after Restore and replay: the lease begins anew, so that nothing ends before the nodes
// could speak.
func (m *Machine) Resume(nowMS int64) {
	m.leaseMS = nowMS + leaseMS
	m.lateMS = nowMS + lateMS
}

// Late tells whether the session is over or lapsed and left effects behind that nobody has confirmed in time.
func (m *Machine) Late(nowMS int64) bool { return m.endMS != 0 && m.work && nowMS >= m.lateMS }

// Deadline is when Due has something to give, in epoch milliseconds; false when never.
func (m *Machine) Deadline() (ms int64, ok bool) {
	switch {
	case m.image == nil:
		return 0, false
	case m.endMS != 0 && m.work:
		return m.endMS + effectsMS, true
	case m.over:
		return m.endMS + overMS, true
	case m.endMS != 0: // from the last word of a node about it
		return max(m.endMS, m.leaseMS-leaseMS) + lapsedMS, true
	}
	return m.leaseMS, true
}

// Due gives the op that lets a session lapse whose lease ran out, or forgets one that is over or has lapsed for long.
// nil when it is not time. A lapsed session is told as ended and keeps all it knows: a word of its channel revives it.
func (m *Machine) Due(nowMS int64) (op []byte) {
	if at, ok := m.Deadline(); !ok || nowMS < at {
		return nil
	}
	if m.endMS != 0 {
		return forget()
	}
	t := &turn{m: m, env: &Env{}, now: nowMS, im: m.read()}
	m.decoded = nil
	t.im.Turn++ // what waits, goes on waiting
	t.im.EndMS = nowMS
	if a := t.im.App; a != nil && a.Enqueue != nil {
		a.Enqueue.lapsed(t)
	}
	t.effect(Effect{Kind: EffectEnded, Why: "lease"})
	m.lateMS = nowMS
	return t.op()
}

// Flows lists the versions that the call keeps.
func (m *Machine) Flows() []*Flow { return m.flows }

// pinned finds a version that the call keeps, nil when it has none; version 0 is any.
func pinned(flows []*Flow, id string, version int64) *Flow {
	for _, f := range flows {
		if f.ID == id && (version == 0 || f.Version == version) {
			return f
		}
	}
	return nil
}

// Package presence is what the brain knows of an account's edge: which contacts are registered where, which
// calls have their place and which are up. It learns it from events that arrive at least once, and sometimes late,
// from nodes that each have their own clock. The account's queues (brain/acd) live in it: who may be offered a call
// depends on what it knows.
package presence

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

// Bounds of one machine. What lies beyond is dropped and counted, see Machine.Dropped.
const (
	MaxContacts       = 100_000
	MaxCalls          = 100_000 // that are up; admissions have the bound of cac.MaxSlots
	MaxContactsPerAOR = 100     // far above what the edge lets a device register

	maxEnded   = 100_000
	maxField   = 1024           // bytes of a URI, call id or token; longer is no real one
	maxText    = 256            // bytes kept of a text that only people read
	maxTimeMS  = int64(1) << 46 // the year 4199: far from any overflow
	maxExpires = 30 * 24 * 3600 // seconds of a registration
)

// Remember is how long something that ended is remembered, so that an event from before the end that comes
// late, or once more, does not bring it back to life. Longer than a node agent retries a delivery.
const Remember = cac.Remember

// MaxCall is when a call is given up whose end nobody told of. The edge itself ends calls after the four hours
// that directives allow (route.MaxDurationSec); this is later, so it never hides a call that is up. A call
// with a place is given up much sooner, with its lease.
const MaxCall = 5 * time.Hour

// slack is how long what is no longer needed may lie before it is swept out, so that sweeping is rare.
const slack = time.Minute

// Machine is the live state of one account. It is not safe for concurrent use: one actor owns it.
//
// What Apply changes is a function of the ops and times it was given, and of nothing else: those that
// changed something, applied again in their order, make the same machine. Leases, absences and report
// sequences are not part of it; Observe and Due turn them into ops.
//
// Contacts are told apart by (AOR, contact, node) and calls by (call id, node): each node's location
// store and dialogs are its own, and what one node says ends nothing at another. For each of them the
// newest event by the node's clock decides, in whatever order events arrive; at the same time an end beats
// a start. So repeated and late events change nothing. A call's token names one attempt for good: its end is final.
type Machine struct {
	account string
	records map[key]*record
	byAOR   map[string][]*record // contacts that are up
	due     dueHeap              // what is up
	past    dueHeap              // memories

	live   map[string]*call // calls with a place, by token
	ledger *cac.Ledger
	users  map[string]*user
	desk   *acd.Desk
	left   []acd.Record      // to be taken by Effects
	words  []Word            // of the last op
	leases map[string]*lease // by trunk

	touched map[string]api.UserPresence // whose signals the op that is being applied has changed; what was shown before, while watched

	contacts, calls int // that are up

	op      Op // the last one read; its room is used again
	dropped int64
	nodes   map[string]*sight
	watched bool
	deltas  []api.Delta
	lost    int64 // deltas
}

// New makes an empty machine for an account.
func New(accountID string) *Machine {
	return &Machine{account: accountID, records: map[key]*record{}, byAOR: map[string][]*record{}, live: map[string]*call{},
		ledger: cac.New(), users: map[string]*user{}, desk: acd.New(), touched: map[string]api.UserPresence{}, nodes: map[string]*sight{}, leases: map[string]*lease{}}
}

// Apply does an op at a time, epoch milliseconds. The reply belongs to the op: a verdict for an admission or a swap, the
// number of the released for a release, the desk's for acd, else nothing. With changed false the op need not be written
// down: without it the machine would be the same. An error means that the op cannot be read; nothing changed.
func (m *Machine) Apply(nowMS int64, op []byte) (reply []byte, changed bool, err error) {
	o := &m.op
	m.words = m.words[:0]
	if err := o.read(op); err != nil {
		return nil, false, err
	}
	switch o.Kind {
	case kindNames[kindAdmit]:
		reply, changed = m.admit(nowMS, o.Admit)
	case kindNames[kindSwap]:
		reply, changed = m.swap(nowMS, o.Swap)
	case kindNames[kindEvents]:
		for i := range o.Events {
			if m.event(nowMS, o.Node, &o.Events[i]) {
				changed = true
			}
		}
		clear(o.Events) // texts of a batch live no longer than the batch
	case kindNames[kindRelease]:
		var n uint64
		for _, token := range o.Tokens {
			freed, new := m.free(nowMS, token, o.Why)
			if changed = changed || new; freed {
				n++
			}
		}
		reply = pack.AppendUint(nil, n)
	case kindNames[kindExpire]:
		m.expire(nowMS, o.Tokens, o.Lapsed)
		changed = true
	case kindNames[kindReport]:
		changed = m.settle(nowMS, o)
	case kindNames[kindLease]:
		reply, changed = m.leaseOp(nowMS, o.Node, o.Leases)
	case kindNames[kindACD]:
		if reply, changed, err = m.desk.Apply(nowMS, o.desk); err != nil {
			return nil, false, fmt.Errorf("read an op acd: %w", err)
		}
	}
	if changed {
		m.tellDesk(nowMS)
		m.toldDesk(nowMS)
		m.forgetPast(nowMS)
	}
	return reply, changed, nil
}

// event takes one event from a node. Events of another account, of an unknown type, or without what they are
// about are ignored; those beyond the bounds are dropped and counted.
func (m *Machine) event(nowMS int64, node string, ev *Event) bool {
	if ev.AccountID != "" && ev.AccountID != m.account {
		return false
	}
	if !texts(node, ev.AOR, ev.Contact, ev.CallID, ev.Token, ev.From, ev.To, ev.UserID, ev.DeviceID) || !inTime(ev.TimeMS) {
		m.dropped++
		return false
	}
	m.tell(ev)
	switch ev.Type {
	case api.EventContactSaved:
		return m.contact(node, ev, ev.ExpiresS > 0) // saved for no time at all is removed
	case api.EventContactRemoved, api.EventContactExpired:
		return m.contact(node, ev, false)
	case api.EventDialogStart:
		return m.answered(nowMS, node, ev)
	case api.EventDialogEnd, api.EventDialogFailed:
		return m.over(nowMS, node, ev)
	}
	return false
}

// Dropped counts the events that were out of bounds since this machine was made or restored.
func (m *Machine) Dropped() int64 { return m.dropped }

// Empty tells whether nothing is worth keeping: no contact, call, place, queue or agent, no memory still in force.
func (m *Machine) Empty() bool {
	return len(m.records) == 0 && len(m.live) == 0 && len(m.users) == 0 && m.ledger.Empty() && m.desk.Empty() && len(m.leases) == 0
}

// Resume is to be called after Restore and replay: leases begin anew, and what was heard of reports is
// forgotten, so that nothing is given up before the nodes could speak. The queues give their outstanding orders again.
func (m *Machine) Resume(nowMS int64) {
	m.ledger.Resume(nowMS)
	m.desk.Resume(nowMS)
	m.resumeLeases(nowMS)
	m.nodes = map[string]*sight{}
}

// cut shortens a text that only people read, and makes it valid UTF-8.
func cut(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

func validText(s string) bool { return len(s) <= maxText && utf8.ValidString(s) }

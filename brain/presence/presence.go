// Package presence is what the brain knows of an account's edge: which contacts are registered where and
// which calls are up. It learns it from events that arrive at least once, sometimes late, from nodes with
// their own boot and clock.
package presence

import (
	"cmp"
	"slices"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of one machine. What lies beyond is dropped and counted, see Machine.Dropped.
const (
	MaxContacts       = 100_000
	MaxCalls          = 100_000
	MaxContactsPerAOR = 100 // far above what the edge lets a device register

	maxField   = 1024                // bytes of a URI, call id or token; longer is no real one
	maxText    = 256                 // bytes kept of a text that only people read
	maxTimeMS  = int64(1) << 46      // the year 4199: far from any overflow
	maxExpires = 30 * 24 * time.Hour // of a registration
)

// Remember is how long something that ended is remembered, so that an event from before the end that comes
// late, or once more, does not bring it back to life. Longer than a node agent's retry.
const Remember = 5 * time.Minute

// Contact is one binding of an address-of-record at one node's location store.
type Contact struct {
	AOR       string `json:"aor"`
	Contact   string `json:"contact"`
	Node      string `json:"node"`
	Source    string `json:"source"` // address the REGISTER came from
	Transport string `json:"transport"`
	UserAgent string `json:"user_agent"`
	SavedMS   int64  `json:"saved_ms"`   // epoch milliseconds of the last refresh
	ExpiresMS int64  `json:"expires_ms"` // epoch milliseconds
}

// Machine is the presence of one account. It is not safe for concurrent use: one actor owns it.
//
// Contacts are told apart by (AOR, contact, node) and calls by (call id, node): each node's location
// store and dialogs are its own, and what one node says ends nothing at another. Of each, the newest event
// by the node's clock decides, whatever the order of arrival; at the same time an end beats a start. So
// repeated and late events change nothing.
type Machine struct {
	account  string
	contacts map[string][]*record // by AOR
	calls    map[callKey]*record
	due      dueHeap // contacts by expiry, ended records by the end of their memory

	live    [2]int // contacts and calls that are up, by kind
	ended   [2]int // and those that are only remembered
	dropped int64
}

type callKey struct{ callID, node string }

// kind tells the two sorts of record.
type kind int

const (
	kindContact kind = iota
	kindCall
)

// record is a contact or a call, up or remembered as ended.
type record struct {
	kind    kind
	contact Contact  // of kindContact
	call    api.Call // of kindCall
	timeMS  int64    // of the event that decided
	gone    bool
	dueMS   int64 // when to expire or to forget it; unused for a call that is up
	index   int   // in the heap, -1 when it is not there
}

// New makes an empty machine for an account.
func New(accountID string) *Machine {
	return &Machine{account: accountID, contacts: map[string][]*record{}, calls: map[callKey]*record{}}
}

// Apply takes one event from a node and tells whether anything changed. Events of another account, of an
// unknown type, or without what they are about are ignored; those out of bounds are dropped and counted.
func (m *Machine) Apply(ev api.Event, node string) bool {
	if ev.AccountID != "" && ev.AccountID != m.account {
		return false
	}
	var isCall bool
	switch ev.Type {
	case api.EventContactSaved, api.EventContactRemoved, api.EventContactExpired:
	case api.EventDialogStart, api.EventDialogEnd, api.EventDialogFailed:
		isCall = true
	default:
		return false
	}
	if !inBounds(&ev, node) {
		m.dropped++
		return false
	}
	if isCall {
		return ev.CallID != "" && m.applyCall(&ev, node)
	}
	return ev.AOR != "" && ev.Contact != "" && m.applyContact(&ev, node)
}

func inBounds(ev *api.Event, node string) bool {
	for _, s := range [...]string{node, ev.AOR, ev.Contact, ev.CallID, ev.Token, ev.From, ev.To} {
		if len(s) > maxField {
			return false
		}
	}
	return ev.TimeMS >= 0 && ev.TimeMS <= maxTimeMS
}

// applyContact takes one contact event. A contact that is saved for no time at all is removed.
func (m *Machine) applyContact(ev *api.Event, node string) bool {
	saved := ev.Type == api.EventContactSaved && ev.ExpiresS > 0
	r := m.contact(ev.AOR, ev.Contact, node)
	if r != nil && !newer(r, ev.TimeMS, !saved) {
		return false
	}
	if !m.room(kindContact, r, !saved) || r == nil && len(m.contacts[ev.AOR]) >= MaxContactsPerAOR {
		m.dropped++
		return false
	}
	if r == nil {
		r = &record{kind: kindContact, index: -1, contact: Contact{AOR: ev.AOR, Contact: ev.Contact, Node: node}}
		m.contacts[ev.AOR] = append(m.contacts[ev.AOR], r)
		m.count(r, 1)
	}
	if saved {
		expires := min(time.Duration(ev.ExpiresS), maxExpires/time.Second) * time.Second
		r.contact.Source, r.contact.Transport, r.contact.UserAgent = cut(ev.SourceIP), cut(ev.Transport), cut(ev.UserAgent)
		r.contact.SavedMS, r.contact.ExpiresMS = ev.TimeMS, ev.TimeMS+expires.Milliseconds()
	}
	return m.decide(r, ev.TimeMS, !saved)
}

// applyCall takes one dialog event. The end of a call that is not known leaves a memory only, which keeps
// its start, should it come late, from bringing it up.
func (m *Machine) applyCall(ev *api.Event, node string) bool {
	start := ev.Type == api.EventDialogStart
	key := callKey{ev.CallID, node}
	r := m.calls[key]
	if r != nil && !newer(r, ev.TimeMS, !start) {
		return false
	}
	if !m.room(kindCall, r, !start) {
		m.dropped++
		return false
	}
	if r == nil {
		r = &record{kind: kindCall, index: -1, call: api.Call{CallID: ev.CallID, AccountID: m.account, Node: node}}
		m.calls[key] = r
		m.count(r, 1)
	}
	if start {
		r.call.From, r.call.To, r.call.Token, r.call.StartedMS = ev.From, ev.To, ev.Token, ev.TimeMS
	}
	return m.decide(r, ev.TimeMS, !start)
}

// newer tells whether an event comes after the one that decided a record.
func newer(r *record, timeMS int64, end bool) bool {
	return timeMS > r.timeMS || timeMS == r.timeMS && end && !r.gone
}

// room tells whether a record that is about to be up, or gone, fits; r is nil when it is new.
func (m *Machine) room(k kind, r *record, gone bool) bool {
	limit := MaxContacts
	if k == kindCall {
		limit = MaxCalls
	}
	if gone {
		return r != nil || m.ended[k] < limit
	}
	return r != nil && !r.gone || m.live[k] < limit
}

// decide writes the outcome of an event into a record that is already counted, and tells whether what
// people see of it changed.
func (m *Machine) decide(r *record, timeMS int64, gone bool) bool {
	changed := !gone || !r.gone && r.timeMS != 0
	...
	return changed
}

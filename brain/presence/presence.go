// Package presence is what the brain knows of an account's edge: which contacts are registered where and
// which calls are up. It learns it from events that arrive at least once, and sometimes late, from nodes
// that each have their own clock.
package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of one machine. What lies beyond is dropped and counted, see Machine.Dropped.
const (
	MaxContacts       = 100_000
	MaxCalls          = 100_000
	MaxContactsPerAOR = 100 // far above what the edge lets a device register

	maxEnded   = 100_000
	maxField   = 1024           // bytes of a URI, call id or token; longer is no real one
	maxText    = 256            // bytes kept of a text that only people read
	maxTimeMS  = int64(1) << 46 // the year 4199: far from any overflow
	maxExpires = 30 * 24 * 3600 // seconds of a registration
)

// Remember is how long something that ended is remembered, so that an event from before the end that comes
// late, or once more, does not bring it back to life. Longer than a node agent retries a delivery.
const Remember = 5 * time.Minute

// MaxCall is when a call is given up whose end nobody told of. The edge itself ends calls after the four hours
// that directives allow (route.MaxDurationSec); this is later, so it never hides a call that is up.
const MaxCall = 5 * time.Hour

// Contact is one binding of an address-of-record in one node's location store.
type Contact struct {
	AOR       string `json:"aor"`
	Contact   string `json:"contact"`
	Node      string `json:"node"`
	Source    string `json:"source,omitempty"` // address the REGISTER came from
	Transport string `json:"transport,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	SavedMS   int64  `json:"saved_ms"`   // epoch milliseconds of the last refresh
	ExpiresMS int64  `json:"expires_ms"` // epoch milliseconds
}

// Machine is the presence of one account. It is not safe for concurrent use: one actor owns it.
//
// Contacts are told apart by (AOR, contact, node) and calls by (call id, node): each node's location
// store and dialogs are its own, and what one node says ends nothing at another. For each of them the
// newest event by the node's clock decides, in whatever order events arrive; at the same time an end beats
// a start. So repeated and late events change nothing.
type Machine struct {
	account string
	records map[key]*record
	byAOR   map[string][]*record // contacts that are up
	due     dueHeap

	contacts, calls int // that are up
	ended           int // that are remembered
	dropped         int64
}

// key names a contact (aor and id, the contact URI) or, with aor "", a call (id, its call id) at a node.
type key struct{ aor, id, node string }

// record is a contact or call that is up, or the memory of one that ended: then both pointers are nil.
type record struct {
	key
	contact *Contact
	call    *api.Call
	timeMS  int64 // of the event that decided
	dueMS   int64 // when a contact expires, a call is given up for lost, or a memory is given up
	index   int   // in the heap; -1 while it is in none
}

func (r *record) up() bool { return r.contact != nil || r.call != nil }

// New makes an empty machine for an account.
func New(accountID string) *Machine {
	return &Machine{account: accountID, records: map[key]*record{}, byAOR: map[string][]*record{}}
}

// Apply takes one event from a node and tells whether a contact or call was changed by it. Events of another
// account, of an unknown type, or without what they are about are ignored; those beyond the bounds are
// dropped and counted.
func (m *Machine) Apply(ev api.Event, node string) bool {
	if ev.AccountID != "" && ev.AccountID != m.account {
		return false
	}
	k, start, isCall := key{ev.AOR, ev.Contact, node}, false, false
	switch ev.Type {
	case api.EventContactSaved:
		start = ev.ExpiresS > 0 // saved for no time at all is removed
	case api.EventContactRemoved, api.EventContactExpired:
	case api.EventDialogStart, api.EventDialogEnd, api.EventDialogFailed:
		k, start, isCall = key{"", ev.CallID, node}, ev.Type == api.EventDialogStart, true
	default:
		return false
	}
	if k.id == "" || k.aor == "" && !isCall {
		return false
	}
	if !inBounds(&ev, node) {
		m.dropped++
		return false
	}
	if k.id == allContacts && !isCall && !start {
		return m.endAll(ev.AOR, node, ev.TimeMS)
	}
	r := m.records[k]
	if r != nil && (ev.TimeMS < r.timeMS || ev.TimeMS == r.timeMS && (start || !r.up())) {
		return false // late, or known already
	}
	if start {
		return m.begin(k, r, &ev)
	}
	m.end(k, r, ev.TimeMS, ev.TimeMS+Remember.Milliseconds())
	return r != nil && r.up()
}

// allContacts is the Contact of a REGISTER that removes every binding of its AOR (RFC 3261 section 10.2.2).
const allContacts = "*"

// endAll takes down every contact of an AOR at a node that was not saved after timeMS.
func (m *Machine) endAll(aor, node string, timeMS int64) (changed bool) {
	for _, r := range slices.Clone(m.byAOR[aor]) {
		if r.node == node && r.timeMS <= timeMS {
			m.end(r.key, r, timeMS, timeMS+Remember.Milliseconds())
			changed = true
		}
	}
	return changed
}

// inBounds tests what becomes a key or is kept as it is. Invalid UTF-8 would not survive a snapshot.
func inBounds(ev *api.Event, node string) bool {
	for _, s := range [...]string{node, ev.AOR, ev.Contact, ev.CallID, ev.Token, ev.From, ev.To} {
		if len(s) > maxField || !utf8.ValidString(s) {
			return false
		}
	}
	return ev.TimeMS >= 0 && ev.TimeMS <= maxTimeMS
}

// begin brings a contact or call up, or refreshes it. r is its record so far, nil when there is none.
func (m *Machine) begin(k key, r *record, ev *api.Event) bool {
	if (r == nil || !r.up()) && m.full(k) {
		m.dropped++
		return false
	}
	m.forget(r)
	if k.aor == "" {
		m.add(&record{key: k, timeMS: ev.TimeMS, dueMS: ev.TimeMS + MaxCall.Milliseconds(), call: &api.Call{CallID: ev.CallID, AccountID: m.account, Node: k.node,
			From: ev.From, To: ev.To, StartedMS: ev.TimeMS, Token: ev.Token}})
		return true
	}
	expires := ev.TimeMS + int64(min(ev.ExpiresS, maxExpires))*1000
	m.add(&record{key: k, timeMS: ev.TimeMS, dueMS: expires, contact: &Contact{AOR: k.aor, Contact: k.id, Node: k.node,
		Source: cut(ev.SourceIP), Transport: cut(ev.Transport), UserAgent: cut(ev.UserAgent), SavedMS: ev.TimeMS, ExpiresMS: expires}})
	return true
}

// end takes a contact or call down and remembers until dueMS that it had ended by timeMS. With too many
// memories it is simply forgotten.
func (m *Machine) end(k key, r *record, timeMS, dueMS int64) {
	m.forget(r)
	if m.ended < maxEnded {
		m.add(&record{key: k, timeMS: timeMS, dueMS: dueMS})
	}
}

// full tells whether there is no room for another contact or call.
func (m *Machine) full(k key) bool {
	if k.aor == "" {
		return m.calls >= MaxCalls
	}
	return m.contacts >= MaxContacts || len(m.byAOR[k.aor]) >= MaxContactsPerAOR
}

// add takes a record in; its key must be free.
func (m *Machine) add(r *record) {
	m.records[r.key], r.index = r, -1
	switch {
	case r.call != nil:
		m.calls++
	case r.contact != nil:
		m.contacts++
		m.byAOR[r.aor] = append(m.byAOR[r.aor], r)
	default:
		m.ended++
	}
	m.due.push(r)
}

// forget takes a record out; nil is none.
func (m *Machine) forget(r *record) {
	if r == nil {
		return
	}
	delete(m.records, r.key)
	m.due.remove(r)
	switch {
	case r.call != nil:
		m.calls--
	case r.contact != nil:
		m.contacts--
		list := m.byAOR[r.aor]
		list = slices.DeleteFunc(list, func(other *record) bool { return other == r })
		if m.byAOR[r.aor] = list; len(list) == 0 {
			delete(m.byAOR, r.aor)
		}
	default:
		m.ended--
	}
}

// cut shortens a text that only people read, and makes it valid UTF-8.
func cut(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

// Calls lists the live calls, oldest first, then by call id and node.
func (m *Machine) Calls() []api.Call {
	list := make([]api.Call, 0, m.calls)
	for _, r := range m.records {
		if r.call != nil {
			list = append(list, *r.call)
		}
	}
	slices.SortFunc(list, func(a, b api.Call) int {
		return cmp.Or(cmp.Compare(a.StartedMS, b.StartedMS), cmp.Compare(a.CallID, b.CallID), cmp.Compare(a.Node, b.Node))
	})
	return list
}

// Contacts lists the contacts of an address-of-record, by contact, then node. A contact that moved from
// one node to another is listed at both until the first gives it up, as both would still ring it.
func (m *Machine) Contacts(aor string) []Contact {
	list := make([]Contact, 0, len(m.byAOR[aor]))
	for _, r := range m.byAOR[aor] {
		list = append(list, *r.contact)
	}
	slices.SortFunc(list, compareContacts)
	return list
}

func compareContacts(a, b Contact) int {
	return cmp.Or(cmp.Compare(a.AOR, b.AOR), cmp.Compare(a.Contact, b.Contact), cmp.Compare(a.Node, b.Node))
}

// Counts tells how many contacts and calls are up.
func (m *Machine) Counts() (contacts, calls int) { return m.contacts, m.calls }

// Dropped counts the events that were out of bounds since the machine began.
func (m *Machine) Dropped() int64 { return m.dropped }

// Deadline is when Expire has something to do next; false when never.
func (m *Machine) Deadline() (time.Time, bool) {
	if len(m.due) == 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(m.due[0].dueMS), true
}

// Expire takes down the contacts and calls whose time is over at now, and forgets what ended long ago. It
// returns how many it took down. A refresh that was only late brings its contact up again.
func (m *Machine) Expire(now time.Time) int {
	n := 0
	for len(m.due) > 0 && m.due[0].dueMS <= now.UnixMilli() {
		r := m.due[0]
		if !r.up() {
			m.forget(r)
			continue
		}
		m.end(r.key, r, r.timeMS, r.dueMS+Remember.Milliseconds())
		n++
	}
	return n
}

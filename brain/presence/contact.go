package presence

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// Contact is one binding of an address-of-record in one node's location store.
type Contact struct {
	AOR, Contact, Node string
	UserID, DeviceID   string // as the configuration had it when the contact was saved
	Source             string // address the REGISTER came from
	Transport          string
	UserAgent          string
	SavedMS, ExpiresMS int64 // epoch milliseconds of the last refresh, and when it ends by itself
}

// key names a contact (aor and id, the contact URI) or, with aor "", a call (id, its call id) at a node.
type key struct{ aor, id, node string }

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.aor, o.aor), cmp.Compare(k.id, o.id), cmp.Compare(k.node, o.node))
}

// record is a contact or call that is up, or the memory of one that ended: then both pointers are nil.
type record struct {
	key
	contact *Contact
	call    *call
	token   string // of a call, also of one that ended; "" when none was said
	timeMS  int64  // of the event that decided
	dueMS   int64  // when a contact expires, a call is given up for lost, or a memory is given up
	index   int    // in its heap; -1 while it is in none
}

func (r *record) up() bool { return r.contact != nil || r.call != nil }

// allContacts is the Contact of a REGISTER that removes every binding of its AOR (RFC 3261 section 10.2.2).
const allContacts = "*"

// contact takes an event about a contact; save tells whether it is up by it.
func (m *Machine) contact(node string, ev *Event, save bool) bool {
	if ev.AOR == "" || ev.Contact == "" {
		return false
	}
	if ev.Contact == allContacts && !save {
		return m.removeAll(ev.AOR, node, ev.TimeMS)
	}
	k := key{ev.AOR, ev.Contact, node}
	r := m.records[k]
	if r != nil && (ev.TimeMS < r.timeMS || ev.TimeMS == r.timeMS && (save || !r.up())) {
		return false // late, or known already
	}
	switch {
	case !save:
		m.end(k, r, "", ev.TimeMS, ev.TimeMS+Remember.Milliseconds())
	case r != nil && r.up():
		m.refresh(r, ev)
	default:
		return m.save(k, r, ev)
	}
	return true
}

// removeAll takes down every contact of an AOR at a node that was not saved after timeMS.
func (m *Machine) removeAll(aor, node string, timeMS int64) (changed bool) {
	for _, r := range slices.Clone(m.byAOR[aor]) {
		if r.node == node && r.timeMS <= timeMS {
			m.end(r.key, r, "", timeMS, timeMS+Remember.Milliseconds())
			changed = true
		}
	}
	return changed
}

// save brings a contact up. r is the memory of it, nil when there is none.
func (m *Machine) save(k key, r *record, ev *Event) bool {
	if m.contacts >= MaxContacts || len(m.byAOR[k.aor]) >= MaxContactsPerAOR {
		m.dropped++
		return false
	}
	m.forget(r)
	c := newContact(k, ev)
	m.add(&record{key: key{c.AOR, c.Contact, c.Node}, contact: c, timeMS: c.SavedMS, dueMS: c.ExpiresMS})
	m.noteDevice(c, ev.TimeMS)
	m.adjust(c.UserID, 1, 0)
	return true
}

// refresh gives a contact that is up its new times and whatever else was said of it.
func (m *Machine) refresh(r *record, ev *Event) {
	old := r.contact
	c := newContact(r.key, ev)
	r.contact, r.timeMS, r.dueMS = c, c.SavedMS, c.ExpiresMS
	m.due.moved(r)
	if old.UserID != c.UserID {
		m.adjust(old.UserID, -1, 0)
		m.adjust(c.UserID, 1, 0)
	}
	if old.UserID != c.UserID || old.DeviceID != c.DeviceID {
		m.noteDevice(c, ev.TimeMS)
	}
}

func newContact(k key, ev *Event) *Contact {
	c := &Contact{AOR: k.aor, Contact: k.id, Node: k.node, UserID: ev.UserID, DeviceID: ev.DeviceID,
		Source: cut(ev.SourceIP), Transport: cut(ev.Transport), UserAgent: cut(ev.UserAgent),
		SavedMS: ev.TimeMS, ExpiresMS: ev.TimeMS + int64(min(ev.ExpiresS, maxExpires))*1000}
	pack.Own(&c.AOR, &c.Contact, &c.Node, &c.UserID, &c.DeviceID, &c.Source, &c.Transport, &c.UserAgent)
	return c
}

// end takes a contact or call down and remembers until dueMS that it had ended by timeMS. With too many
// memories it is simply forgotten.
func (m *Machine) end(k key, r *record, token string, timeMS, dueMS int64) {
	m.forget(r)
	if len(m.past) < maxEnded {
		pack.Own(&k.aor, &k.id, &k.node, &token)
		m.add(&record{key: k, token: token, timeMS: timeMS, dueMS: dueMS})
	}
	if r != nil && r.contact != nil {
		m.noteDevice(r.contact, timeMS)
		m.adjust(r.contact.UserID, -1, 0)
	}
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
		m.past.push(r)
		return
	}
	m.due.push(r)
}

// forget takes a record out; nil is none.
func (m *Machine) forget(r *record) {
	if r == nil {
		return
	}
	delete(m.records, r.key)
	if !r.up() {
		m.past.remove(r)
		return
	}
	m.due.remove(r)
	if r.call != nil {
		m.calls--
		return
	}
	m.contacts--
	list := slices.DeleteFunc(m.byAOR[r.aor], func(other *record) bool { return other == r })
	if m.byAOR[r.aor] = list; len(list) == 0 {
		delete(m.byAOR, r.aor)
	}
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
	return key{a.AOR, a.Contact, a.Node}.compare(key{b.AOR, b.Contact, b.Node})
}

// devices lists what is registered by AOR.
func (m *Machine) devices() []api.DevicePresence {
	list := make([]api.DevicePresence, 0, len(m.byAOR))
	for _, aor := range slices.Sorted(maps.Keys(m.byAOR)) {
		list = append(list, m.device(aor))
	}
	return list
}

func (m *Machine) device(aor string) api.DevicePresence {
	records := m.byAOR[aor]
	newest := slices.MaxFunc(records, func(a, b *record) int { return cmp.Or(cmp.Compare(a.timeMS, b.timeMS), a.compare(b.key)) })
	c := newest.contact
	return api.DevicePresence{AOR: aor, DeviceID: c.DeviceID, UserID: c.UserID, Contacts: len(records), Node: c.Node}
}

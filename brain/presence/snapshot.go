package presence

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain/api"
)

// snapshot is a machine as JSON, every list sorted, so that equal machines have equal snapshots.
type snapshot struct {
	AccountID string     `json:"account_id"`
	Contacts  []Contact  `json:"contacts"`
	Calls     []api.Call `json:"calls"`
	Ended     []ended    `json:"ended"`
	Dropped   int64      `json:"dropped"`
}

// ended is the memory of a contact, or with AOR "" of a call, that ended.
type ended struct {
	AOR    string `json:"aor,omitempty"`
	ID     string `json:"id"`
	Node   string `json:"node"`
	TimeMS int64  `json:"time_ms"`
	DueMS  int64  `json:"due_ms"`
}

// Snapshot writes the machine as JSON.
func (m *Machine) Snapshot() ([]byte, error) {
	s := snapshot{AccountID: m.account, Dropped: m.dropped, Contacts: make([]Contact, 0, m.contacts), Calls: m.Calls(), Ended: make([]ended, 0, m.ended)}
	for k, r := range m.records {
		switch {
		case r.contact != nil:
			s.Contacts = append(s.Contacts, *r.contact)
		case r.call == nil:
			s.Ended = append(s.Ended, ended{k.aor, k.id, k.node, r.timeMS, r.dueMS})
		}
	}
	slices.SortFunc(s.Contacts, compareContacts)
	slices.SortFunc(s.Ended, func(a, b ended) int {
		return cmp.Or(cmp.Compare(a.AOR, b.AOR), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Node, b.Node))
	})
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the snapshot of account %s: %w", m.account, err)
	}
	return data, nil
}

// Restore makes the machine that a Snapshot was taken of. A snapshot that is not JSON, names something
// twice or breaks a bound is refused.
func Restore(data []byte) (*Machine, error) {
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read a presence snapshot: %w", err)
	}
	if len(s.Contacts) > MaxContacts || len(s.Calls) > MaxCalls || len(s.Ended) > maxEnded {
		return nil, fmt.Errorf("read the presence snapshot of account %s: %d contacts, %d calls and %d ended are more than a machine holds",
			s.AccountID, len(s.Contacts), len(s.Calls), len(s.Ended))
	}
	m := New(s.AccountID)
	m.dropped = s.Dropped
	for i := range s.Contacts {
		c := &s.Contacts[i]
		if err := m.restore(&record{key: key{c.AOR, c.Contact, c.Node}, contact: c, timeMS: c.SavedMS, dueMS: c.ExpiresMS}, c.AOR != ""); err != nil {
			return nil, err
		}
	}
	for i := range s.Calls {
		c := &s.Calls[i]
		if err := m.restore(&record{key: key{"", c.CallID, c.Node}, call: c, timeMS: c.StartedMS, dueMS: c.StartedMS + MaxCall.Milliseconds()}, true); err != nil {
			return nil, err
		}
	}
	for _, e := range s.Ended {
		if err := m.restore(&record{key: key{e.AOR, e.ID, e.Node}, timeMS: e.TimeMS, dueMS: e.DueMS}, true); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// restore takes one record of a snapshot in; named tells whether it has the names of its kind.
func (m *Machine) restore(r *record, named bool) error {
	if !named || r.id == "" || m.records[r.key] != nil || len(m.byAOR[r.aor]) >= MaxContactsPerAOR ||
		r.timeMS < 0 || r.timeMS > maxTimeMS || r.dueMS < 0 || r.dueMS > 2*maxTimeMS {
		return fmt.Errorf("read the presence snapshot of account %s: %q %q at node %q is nameless, there twice, or out of bounds", m.account, r.aor, r.id, r.node)
	}
	m.add(r)
	return nil
}

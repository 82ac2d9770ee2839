package presence

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

// Layouts of a snapshot: its first byte. Another layout gets another number.
const (
	snapshotVersion = 3 // what is written; 2 is still read: places do not say at which attempt their call is, and there are no leases of trunks
	snapshotAgents  = 1 // still read: besides, in place of the queues stand users with what they wanted as agents, which nobody asks about now
)

// errSnapshot: a snapshot that no machine wrote.
var errSnapshot = errors.New("not a presence snapshot")

// AppendSnapshot writes everything that Apply changed, places in order of admission, every other list sorted: machines that
// went through the same changes write the same bytes.
func (m *Machine) AppendSnapshot(b []byte) []byte {
	b = slices.Grow(b, 160*(len(m.live)+len(m.records))) // about what it takes
	b = pack.AppendText(append(b, snapshotVersion), m.account)
	b = m.ledger.AppendSnapshot(b)
	return m.appendLeases(pack.AppendNested(m.appendPast(m.appendContacts(m.appendCalls(b))), m.desk.AppendSnapshot))
}

// appendCalls writes the calls with a place, in order of admission, then those that are up without one.
func (m *Machine) appendCalls(b []byte) []byte {
	var one []byte
	for place := range m.ledger.Places() {
		c := m.live[place.Token]
		one = one[:0]
		for _, s := range [...]string{c.from, c.to, c.callerUser, c.calleeUser} {
			one = pack.AppendText(one, s)
		}
		b = pack.AppendBytes(b, pack.AppendInt(one, c.answeredMS))
	}
	var bare []*call
	for _, r := range m.due {
		if r.call != nil && r.call.token == "" {
			bare = append(bare, r.call)
		}
	}
	slices.SortFunc(bare, func(a, b *call) int { return key{"", a.callID, a.node}.compare(key{"", b.callID, b.node}) })
	b = pack.AppendUint(b, uint64(len(bare)))
	for _, c := range bare {
		one = one[:0]
		for _, s := range [...]string{c.callID, c.node, c.from, c.to} {
			one = pack.AppendText(one, s)
		}
		b = pack.AppendBytes(b, pack.AppendInt(pack.AppendInt(one, c.askedMS), c.answeredMS))
	}
	return b
}

func (m *Machine) appendContacts(b []byte) []byte {
	b = pack.AppendUint(b, uint64(m.contacts))
	var one []byte
	for _, aor := range slices.Sorted(maps.Keys(m.byAOR)) {
		for _, c := range m.Contacts(aor) {
			one = one[:0]
			for _, s := range [...]string{c.AOR, c.Contact, c.Node, c.UserID, c.DeviceID, c.Source, c.Transport, c.UserAgent} {
				one = pack.AppendText(one, s)
			}
			b = pack.AppendBytes(b, pack.AppendInt(pack.AppendInt(one, c.SavedMS), c.ExpiresMS))
		}
	}
	return b
}

func (m *Machine) appendPast(b []byte) []byte {
	past := slices.Clone(m.past)
	slices.SortFunc(past, func(a, b *record) int { return a.compare(b.key) })
	b = pack.AppendUint(b, uint64(len(past)))
	var one []byte
	for _, r := range past {
		one = pack.AppendText(pack.AppendText(pack.AppendText(pack.AppendText(one[:0], r.aor), r.id), r.node), r.token)
		b = pack.AppendBytes(b, pack.AppendInt(pack.AppendInt(one, r.timeMS), r.dueMS))
	}
	return b
}

// Restore makes the machine of an account from a snapshot of it. A snapshot that is cut off, of another account or
// version, names something twice or breaks a bound is refused. Before it is used, Resume.
func Restore(accountID string, snapshot []byte) (*Machine, error) {
	m, err := restore(accountID, snapshot)
	if err != nil {
		return nil, fmt.Errorf("restore the presence of account %s: %w", accountID, err)
	}
	return m, nil
}

func restore(accountID string, snapshot []byte) (*Machine, error) {
	r := pack.NewReader(snapshot)
	version := r.Uint()
	if version < snapshotAgents || version > snapshotVersion {
		return nil, fmt.Errorf("version %d, not one of %d to %d: %w", version, snapshotAgents, snapshotVersion, errSnapshot)
	}
	if of := string(r.Bytes()); of != accountID {
		return nil, fmt.Errorf("it is of account %q: %w", of, errSnapshot)
	}
	m := New(accountID)
	last := m.restoreDesk
	if version == snapshotAgents {
		last = m.restoreAgents
	}
	var err error
	if m.ledger, err = cac.Restore(r); err != nil {
		return nil, err
	}
	for _, part := range []func(*pack.Reader) error{m.restoreCalls, m.restoreBare, m.restoreContacts, m.restorePast, last} {
		if err := part(r); err != nil {
			return nil, err
		}
		if r.Err() != nil {
			return nil, r.Err()
		}
	}
	if version >= snapshotVersion {
		if err := m.restoreLeases(r); err != nil {
			return nil, err
		}
	}
	return m, r.End()
}

func (m *Machine) restoreCalls(r *pack.Reader) error {
	m.live, m.records = make(map[string]*call, m.ledger.Len()), make(map[key]*record, m.ledger.Len())
	var one pack.Reader
	for place := range m.ledger.Places() {
		one.Reset(r.Bytes())
		c := &call{token: place.Token, callID: place.CallID, node: place.Node, askedMS: place.AskedMS,
			from: one.Text(), to: one.Text(), callerUser: one.Text(), calleeUser: one.Text(), answeredMS: one.Int()}
		if err := one.End(); err != nil {
			return err
		}
		if !texts(c.token, c.callID, c.node, c.from, c.to, c.callerUser, c.calleeUser) {
			return fmt.Errorf("call %q: %w", c.token, errSnapshot)
		}
		m.live[c.token] = c
		if c.answeredMS == 0 {
			continue
		}
		if err := m.restoreUp(c); err != nil {
			return err
		}
	}
	return nil
}

// restoreUp takes in the record of a call that is up.
func (m *Machine) restoreUp(c *call) error {
	if m.calls >= MaxCalls || c.answeredMS <= 0 {
		return fmt.Errorf("call %q is one of more than %d or was never answered: %w", c.callID, MaxCalls, errSnapshot)
	}
	err := m.restoreRecord(&record{key: key{"", c.callID, c.node}, call: c, token: c.token, timeMS: c.answeredMS, dueMS: c.answeredMS + MaxCall.Milliseconds()})
	m.adjust(c.callerUser, 0, 1)
	m.adjust(c.calleeUser, 0, 1)
	return err
}

func (m *Machine) restoreBare(r *pack.Reader) error {
	var one pack.Reader
	for range r.Count(MaxCalls) {
		one.Reset(r.Bytes())
		c := &call{callID: one.Text(), node: one.Text(), from: one.Text(), to: one.Text(), askedMS: one.Int(), answeredMS: one.Int()}
		if err := one.End(); err != nil {
			return err
		}
		if !texts(c.callID, c.node, c.from, c.to) || !inTime(c.askedMS) {
			return fmt.Errorf("call %q: %w", c.callID, errSnapshot)
		}
		if err := m.restoreUp(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) restoreContacts(r *pack.Reader) error {
	var one pack.Reader
	for range r.Count(MaxContacts) {
		one.Reset(r.Bytes())
		c := &Contact{AOR: one.Text(), Contact: one.Text(), Node: one.Text(), UserID: one.Text(), DeviceID: one.Text(),
			Source: one.Text(), Transport: one.Text(), UserAgent: one.Text(), SavedMS: one.Int(), ExpiresMS: one.Int()}
		if err := one.End(); err != nil {
			return err
		}
		if c.AOR == "" || len(m.byAOR[c.AOR]) >= MaxContactsPerAOR || !texts(c.UserID, c.DeviceID) ||
			!validText(c.Source) || !validText(c.Transport) || !validText(c.UserAgent) {
			return fmt.Errorf("contact %q of %q: %w", c.Contact, c.AOR, errSnapshot)
		}
		if err := m.restoreRecord(&record{key: key{c.AOR, c.Contact, c.Node}, contact: c, timeMS: c.SavedMS, dueMS: c.ExpiresMS}); err != nil {
			return err
		}
		m.adjust(c.UserID, 1, 0)
	}
	return nil
}

func (m *Machine) restorePast(r *pack.Reader) error {
	var one pack.Reader
	for range r.Count(maxEnded) {
		one.Reset(r.Bytes())
		p := &record{key: key{one.Text(), one.Text(), one.Text()}, token: one.Text(), timeMS: one.Int(), dueMS: one.Int()}
		if err := one.End(); err != nil {
			return err
		}
		if err := m.restoreRecord(p); err != nil {
			return err
		}
	}
	return nil
}

// restoreRecord takes one record of a snapshot in.
func (m *Machine) restoreRecord(r *record) error {
	before := len(m.records)
	if m.add(r); r.id == "" || len(m.records) == before || !inTime(r.timeMS) || r.dueMS < 0 || r.dueMS > 2*maxTimeMS || !texts(r.aor, r.id, r.node, r.token) {
		return fmt.Errorf("%q %q at node %q is nameless, there twice, or out of bounds: %w", r.aor, r.id, r.node, errSnapshot)
	}
	return nil
}

// restoreDesk comes last. The queues bring what they were told of their agents with them.
func (m *Machine) restoreDesk(r *pack.Reader) (err error) {
	clear(m.touched)
	m.desk, err = acd.Restore(r.Bytes())
	return err
}

// restoreAgents comes last where there are no queues yet. They begin with what is known of phones and calls.
func (m *Machine) restoreAgents(r *pack.Reader) error {
	for range r.Count(maxAgentsV1) {
		for range 3 { // who, status, reason
			r.Bytes()
		}
		r.Int() // since when, and when it went offline
		r.Int()
		if r.Err() != nil {
			return r.Err()
		}
	}
	m.tellDesk(0) // without agents it only takes note: no time is needed
	clear(m.touched)
	return nil
}

// maxAgentsV1 is how many users a snapshot of layout snapshotAgents may name.
const maxAgentsV1 = 200_000

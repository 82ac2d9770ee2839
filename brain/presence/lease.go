package presence

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// One node registers us at a trunk: the holder of its lease. All its changes are in the journal, renewals too, so that
// a brain that has lost the account can confirm nobody.
const (
	// TrunkLeaseMS is how long a lease lasts that its holder does not renew: he asks once a second.
	TrunkLeaseMS = 3000
	// MaxLeases bounds the trunks of an account that are registered at.
	MaxLeases = 1000
	// maxOld bounds the Contacts that wait to be removed; the oldest are dropped and expire at the registrar.
	maxOld = 8
)

// lease is who registers us at a trunk.
type lease struct {
	node      string // "" = nobody
	fence     int64  // of the last holder
	untilMS   int64
	contact   string   // what the holder registers, or is about to
	old       []string // Contacts that may still be registered besides
	target    string   // that accepted the registration; "" = it is not known to stand
	expiresMS int64
	lastError string
}

// LeaseAsk is what a node asks for a trunk.
type LeaseAsk struct {
	TrunkID   string `json:"trunk_id"`
	Contact   string `json:"contact"`
	Fence     int64  `json:"fence,omitempty"`
	Target    string `json:"target,omitempty"`
	ExpiresMS int64  `json:"expires_ms,omitempty"`
	LastError string `json:"last_error,omitempty"`
	Release   bool   `json:"release,omitempty"`
	Forget    bool   `json:"forget,omitempty"`
}

// AppendLease appends the op by which a node asks for leases, at most MaxLeases; its reply is read by ReadLeases.
func AppendLease(b []byte, node string, asks []LeaseAsk) []byte {
	b = pack.AppendText(append(b, kindLease), node)
	b = pack.AppendUint(b, uint64(len(asks)))
	var one []byte
	for i := range asks {
		a := &asks[i]
		one = pack.AppendText(pack.AppendText(pack.AppendInt(one[:0], a.Fence), a.TrunkID), a.Contact)
		one = pack.AppendInt(pack.AppendText(pack.AppendText(one, a.Target), a.LastError), a.ExpiresMS)
		b = pack.AppendBytes(b, pack.AppendBool(pack.AppendBool(one, a.Release), a.Forget))
	}
	return b
}

func (o *Op) readLease(r *pack.Reader) error {
	o.Node, o.Leases = r.Text(), nil
	var one pack.Reader
	for range r.Count(MaxLeases) {
		one.Reset(r.Bytes())
		a := LeaseAsk{Fence: one.Int(), TrunkID: one.Text(), Contact: one.Text(), Target: one.Text(), LastError: one.Text(),
			ExpiresMS: one.Int(), Release: one.Bool(), Forget: one.Bool()}
		if err := one.End(); err != nil {
			return err
		}
		if a.TrunkID == "" || a.Contact == "" || a.Fence < 0 || !texts(a.TrunkID, a.Contact, a.Target) || !validText(a.LastError) || !inTime(a.ExpiresMS) {
			return errFields
		}
		o.Leases = append(o.Leases, a)
	}
	if o.Node == "" || !texts(o.Node) {
		return errFields
	}
	return nil
}

// leaseOp does an op of AppendLease.
func (m *Machine) leaseOp(nowMS int64, node string, asks []LeaseAsk) (reply []byte, changed bool) {
	reply = pack.AppendUint(nil, uint64(len(asks)))
	for i := range asks {
		if m.lease(nowMS, node, &asks[i]) {
			changed = true
		}
		reply = pack.AppendBytes(reply, m.appendLease(nil, asks[i].TrunkID))
	}
	return reply, changed
}

// lease asks for one lease: its holder renews it, anybody gets one that nobody has or that is over.
func (m *Machine) lease(nowMS int64, node string, a *LeaseAsk) (changed bool) {
	l := m.leases[a.TrunkID]
	mine := l != nil && l.node == node && l.fence == a.Fence
	switch {
	case a.Release:
		return mine && m.giveBack(l, a)
	case mine:
	case l == nil && !m.leaseRoom(nowMS):
		return false
	case l == nil:
		l = &lease{fence: max(nowMS, 1), node: node} // above that of one that was forgotten
		m.leases[a.TrunkID] = l
	case l.node == "", l.node == node, l.untilMS <= nowMS: // the holder himself comes without his fence when he began anew
		l.leave(l.contact)
		l.node, l.contact, l.fence = node, "", l.fence+1
	default:
		return false
	}
	l.renew(nowMS, a, mine)
	return true
}

// leaseRoom tells whether there is room for another lease. When there is none, those go that nobody holds and whose
// registration has run out: their trunks are gone, or a new holder would find nothing to remove.
func (m *Machine) leaseRoom(nowMS int64) bool {
	if len(m.leases) >= MaxLeases {
		maps.DeleteFunc(m.leases, func(_ string, l *lease) bool {
			return (l.node == "" || l.untilMS <= nowMS) && l.expiresMS <= nowMS
		})
	}
	return len(m.leases) < MaxLeases
}

// renew takes what the holder says. Only what he registered under this lease counts.
func (l *lease) renew(nowMS int64, a *LeaseAsk, told bool) {
	if l.contact != "" && l.contact != a.Contact {
		l.leave(l.contact)
	}
	l.contact, l.untilMS = a.Contact, nowMS+TrunkLeaseMS
	l.old = slices.DeleteFunc(l.old, func(c string) bool { return c == a.Contact })
	if !told {
		return
	}
	if a.Target == "" && a.LastError == "" { // he has just begun: what his predecessor registered still stands
		return
	}
	l.target, l.expiresMS, l.lastError = a.Target, a.ExpiresMS, a.LastError
	if a.Target != "" { // one REGISTER has removed the others
		l.old = nil
	}
}

// leave notes a Contact that somebody else has to remove.
func (l *lease) leave(contact string) {
	if contact == "" || slices.Contains(l.old, contact) {
		return
	}
	l.old = append(l.old, contact)
	l.old = l.old[max(0, len(l.old)-maxOld):]
}

// giveBack ends a lease at once. What is registered stays, and calls go there, until the next holder has it. It is
// forgotten only when no Contact of an earlier holder waits to be removed.
func (m *Machine) giveBack(l *lease, a *LeaseAsk) bool {
	if a.Forget && len(l.old) == 0 {
		delete(m.leases, a.TrunkID)
		return true
	}
	l.leave(l.contact)
	l.node, l.contact, l.untilMS = "", "", 0
	return true
}

// appendLease writes what is said of a trunk to whoever asked.
func (m *Machine) appendLease(b []byte, trunk string) []byte {
	l := m.leases[trunk]
	if l == nil {
		l = &lease{}
	}
	b = pack.AppendInt(pack.AppendText(pack.AppendText(b, trunk), l.node), l.fence)
	for _, s := range [...]string{l.contact, l.target, l.lastError} {
		b = pack.AppendText(b, s)
	}
	return appendTokens(pack.AppendInt(b, l.expiresMS), l.old)
}

// ReadLeases reads the reply to an op of AppendLease, in the order of its asks.
func ReadLeases(reply []byte) ([]api.TrunkLease, error) {
	r := pack.NewReader(reply)
	var list []api.TrunkLease
	var one pack.Reader
	for range r.Count(MaxLeases) {
		one.Reset(r.Bytes())
		l := api.TrunkLease{LeaseMS: TrunkLeaseMS, TrunkID: one.Text(), Node: one.Text(), Fence: one.Int(),
			Contact: one.Text(), Target: one.Text(), LastError: one.Text(), ExpiresMS: one.Int()}
		for range one.Count(maxOld) {
			l.Old = append(l.Old, one.Text())
		}
		if err := one.End(); err != nil {
			return nil, fmt.Errorf("read a lease: %w", err)
		}
		list = append(list, l)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	return list, nil
}

// Leases lists who registers us at which trunk, by trunk. LeaseMS is what is left of each lease, 0 when it is over.
func (m *Machine) Leases(nowMS int64) []api.TrunkLease {
	list := make([]api.TrunkLease, 0, len(m.leases))
	for _, id := range slices.Sorted(maps.Keys(m.leases)) {
		l := m.leases[id]
		list = append(list, api.TrunkLease{TrunkID: id, Node: l.node, Fence: l.fence, LeaseMS: l.left(nowMS), Contact: l.contact,
			Old: slices.Clone(l.old), Target: l.target, ExpiresMS: l.expiresMS, LastError: l.lastError})
	}
	return list
}

// left is what is left of a lease, in milliseconds.
func (l *lease) left(nowMS int64) int {
	if l.node == "" {
		return 0
	}
	return int(min(max(l.untilMS-nowMS, 0), TrunkLeaseMS))
}

// resumeLeases gives every holder his whole lease again: the clock of another brain may be ahead of the last one's.
func (m *Machine) resumeLeases(nowMS int64) {
	for _, l := range m.leases {
		if l.node != "" {
			l.untilMS = max(l.untilMS, nowMS+TrunkLeaseMS)
		}
	}
}

// appendLeases writes the leases behind everything else.
func (m *Machine) appendLeases(b []byte) []byte {
	b = pack.AppendUint(b, uint64(len(m.leases)))
	for _, id := range slices.Sorted(maps.Keys(m.leases)) {
		b = pack.AppendInt(pack.AppendBytes(b, m.appendLease(nil, id)), m.leases[id].untilMS)
	}
	return b
}

func (m *Machine) restoreLeases(r *pack.Reader) error {
	var one pack.Reader
	for range r.Count(MaxLeases) {
		one.Reset(r.Bytes())
		id, l := one.Text(), &lease{node: one.Text(), fence: one.Int(), contact: one.Text(), target: one.Text(), lastError: one.Text(), expiresMS: one.Int()}
		for range one.Count(maxOld) {
			l.old = append(l.old, one.Text())
		}
		l.untilMS = r.Int()
		if err := one.End(); err != nil {
			return err
		}
		if id == "" || m.leases[id] != nil || l.fence <= 0 || !texts(id, l.node, l.contact, l.target) || !texts(l.old...) ||
			!validText(l.lastError) || !inTime(l.untilMS) || !inTime(l.expiresMS) {
			return fmt.Errorf("lease of trunk %q: %w", id, errSnapshot)
		}
		m.leases[id] = l
	}
	return r.Err()
}

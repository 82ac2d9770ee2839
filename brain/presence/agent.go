package presence

import (
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
)

// user is somebody with a contact or a call.
type user struct{ contacts, calls int }

// Effects is what the queues of an account want done. It may leave once the journal holds what led to it, and not
// before: an order that nobody remembers would be carried out for a reservation that never was.
type Effects struct {
	Orders  []acd.Order
	Records []acd.Record
}

// maxLeft is how many queue records wait to be taken before further ones are lost.
const maxLeft = 10_000

// Empty tells whether there is nothing to do.
func (e *Effects) Empty() bool { return len(e.Orders) == 0 && len(e.Records) == 0 }

// Effects gives what there is to do since it was asked last, in order.
func (m *Machine) Effects() Effects {
	e := Effects{Orders: m.desk.Orders(), Records: m.left}
	m.left = nil
	return e
}

// show gives the three signals of a user, and the bucket that follows from them. Whoever is no agent is offline,
// or in a call.
func (m *Machine) show(id string) api.UserPresence {
	p := api.UserPresence{UserID: id, Status: acd.StatusOffline, State: acd.StateWaiting, Bucket: acd.BucketOffline}
	p.Reachable, p.Calls = m.signals(id)
	if a, ok := m.desk.Agent(id); ok {
		p.Status, p.Reason, p.State, p.Bucket = a.Status, a.Reason, a.State, a.Bucket
	} else if p.Calls > 0 {
		p.State, p.Bucket = acd.StateInCall, acd.BucketInCall
	}
	return p
}

func (m *Machine) signals(id string) (reachable bool, calls int) {
	if u := m.users[id]; u != nil {
		return u.contacts > 0, u.calls
	}
	return false, 0
}

// adjust counts a contact or call of a user more or less; no id is nobody. The desk hears of it from tellDesk: in the
// middle of an op a user may seem free who is not.
func (m *Machine) adjust(id string, contacts, calls int) {
	if id == "" {
		return
	}
	u := m.users[id]
	if _, touched := m.touched[id]; !touched {
		var before api.UserPresence
		if m.watched {
			before = m.show(id)
		}
		m.touched[id] = before
	}
	if u == nil {
		u = &user{}
		m.users[id] = u
	}
	u.contacts += contacts
	u.calls += calls
}

// tellDesk tells the queues what an op has changed of their agents' signals, by user id. It belongs to the op.
func (m *Machine) tellDesk(nowMS int64) {
	if len(m.touched) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(m.touched)) {
		reachable, calls := m.signals(id)
		m.desk.Signal(nowMS, id, reachable, calls)
	}
}

// toldDesk ends an op: the watchers hear what came of it, and users without a contact or call are forgotten.
func (m *Machine) toldDesk(nowMS int64) {
	for id := range m.touched {
		if u := m.users[id]; u != nil && *u == (user{}) {
			delete(m.users, id)
		}
	}
	changes, records := m.desk.Changes(), m.desk.Records()
	if m.watched {
		m.noteAgents(nowMS, changes)
		m.noteLeft(records)
	}
	if len(m.left) < maxLeft {
		m.left = append(m.left, records...)
	}
	clear(m.touched)
}

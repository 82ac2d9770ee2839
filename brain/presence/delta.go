package presence

import (
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/acd"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// MaxDeltas bounds the deltas that wait to be taken; further ones are lost and counted.
const MaxDeltas = 100_000

// Values of api.Delta.CallState.
const (
	callAdmitted = "admitted"
	callAnswered = "answered"
	callEnded    = "ended"
)

// Watch says whether anybody looks at the deltas. While nobody does none is made.
func (m *Machine) Watch(on bool) {
	if m.watched = on; !on {
		m.deltas = nil
	}
}

// Deltas gives what changed since it was asked last, in order. See LostDeltas for what found no room.
func (m *Machine) Deltas() []api.Delta {
	deltas := m.deltas
	m.deltas = nil
	return deltas
}

// LostDeltas counts the deltas that found no room since this machine was made or restored.
func (m *Machine) LostDeltas() int64 { return m.lost }

func (m *Machine) note(d api.Delta) {
	if len(m.deltas) >= MaxDeltas {
		m.lost++
		return
	}
	m.deltas = append(m.deltas, d)
}

// noteDevice tells that a contact of a device came or went.
func (m *Machine) noteDevice(c *Contact, timeMS int64) {
	if m.watched {
		n := len(m.byAOR[c.AOR])
		m.note(api.Delta{Type: api.DeltaDevice, TimeMS: timeMS, UserID: c.UserID, DeviceID: c.DeviceID, AOR: c.AOR, Reachable: n > 0, Contacts: n, Node: c.Node})
	}
}

func (m *Machine) noteCall(c *call, timeMS int64, state, why string) {
	if m.watched {
		m.note(api.Delta{Type: api.DeltaCall, TimeMS: timeMS, Token: c.token, CallID: c.callID, Node: c.node, From: c.from, To: c.to, CallState: state, Why: why})
	}
}

func (m *Machine) noteLimit(c *call, timeMS int64, w cac.Window) {
	if m.watched {
		m.note(api.Delta{Type: api.DeltaLimit, TimeMS: timeMS, Token: c.token, CallID: c.callID, Node: c.node, LimitID: w.ID})
	}
}

// noteLeft tells who has left a queue.
func (m *Machine) noteLeft(records []acd.Record) {
	for i := range records {
		r := &records[i]
		m.note(api.Delta{Type: api.DeltaQueue, TimeMS: r.EndMS, QueueID: r.QueueID, EntryID: r.EntryID, Token: r.Token, CallID: r.CallID, UserID: r.UserID, Why: r.Outcome})
	}
}

// noteAgents tells each change of an agent, and then of everybody else whose signals the op has changed.
func (m *Machine) noteAgents(nowMS int64, changes []acd.Change) {
	for i := range changes {
		c := &changes[i]
		reachable, _ := m.signals(c.UserID)
		m.note(api.Delta{Type: api.DeltaAgent, TimeMS: c.TimeMS, UserID: c.UserID, Reachable: reachable,
			Status: c.Status, State: c.State, Bucket: c.Bucket, Reason: c.Reason, QueueID: c.QueueID, EntryID: c.EntryID})
		delete(m.touched, c.UserID)
	}
	for _, id := range slices.Sorted(maps.Keys(m.touched)) {
		if now := m.show(id); now != m.touched[id] {
			m.note(api.Delta{Type: api.DeltaAgent, TimeMS: nowMS, UserID: id, Reachable: now.Reachable,
				Status: now.Status, State: now.State, Bucket: now.Bucket, Reason: now.Reason})
		}
	}
}

package presence

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
)

// Counts is how much a machine holds.
type Counts struct {
	Contacts int   `json:"contacts"`
	Calls    int   `json:"calls"` // that are up
	Slots    int   `json:"slots"`
	Users    int   `json:"users"`
	Dropped  int64 `json:"dropped"` // events out of bounds since the machine was made or restored
}

// Counts tells how much there is.
func (m *Machine) Counts() Counts {
	return Counts{Contacts: m.contacts, Calls: m.calls, Slots: m.ledger.Len(), Users: len(m.users), Dropped: m.dropped}
}

// Question is what Query is asked. FromMS and ToMS say whose figures; 0 = the last 24 hours.
type Question struct {
	What    string `json:"what"`
	ID      string `json:"id,omitempty"`      // queues, agents: only that one
	FromMS  int64  `json:"from_ms,omitempty"` // queues, agents
	ToMS    int64  `json:"to_ms,omitempty"`
	Entries bool   `json:"entries,omitempty"` // queues: with the callers
}

// Desk is the answer to what "queues" and "agents": one of the lists, and the version of the setup it was made by.
type Desk struct {
	Version int64            `json:"version"`
	Queues  []api.QueueState `json:"queues,omitempty"`
	Agents  []api.AgentState `json:"agents,omitempty"`
}

// Query answers a Question in JSON, by what it asks for: calls ([]api.Call), cac (api.CACState), presence
// (api.PresenceState), queues, agents, desk (Desk, without a list), leases ([]api.TrunkLease) or counts (Counts). It changes nothing.
func (m *Machine) Query(nowMS int64, question []byte) ([]byte, error) {
	var q Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("read a question to account %s: %w", m.account, err)
	}
	var answer any
	switch q.What {
	case "calls":
		answer = m.Calls()
	case "cac":
		answer = m.CAC()
	case "presence":
		answer = m.Presence(nowMS)
	case "queues":
		list := slices.DeleteFunc(m.desk.Queues(nowMS, q.FromMS, q.ToMS, q.Entries), func(s api.QueueState) bool { return q.ID != "" && s.QueueID != q.ID })
		answer = Desk{Version: m.desk.Version(), Queues: list}
	case "agents":
		list := slices.DeleteFunc(m.desk.Agents(nowMS, q.FromMS, q.ToMS), func(s api.AgentState) bool { return q.ID != "" && s.UserID != q.ID })
		answer = Desk{Version: m.desk.Version(), Agents: list}
	case "desk":
		answer = Desk{Version: m.desk.Version()}
	case "leases":
		answer = m.Leases(nowMS)
	case "counts":
		answer = m.Counts()
	default:
		return nil, fmt.Errorf("a question to account %s: there is no %q", m.account, q.What)
	}
	out, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("answer %s of account %s: %w", q.What, m.account, err)
	}
	return out, nil
}

// Presence lists the devices that are registered, by AOR, and the users with a contact or a call and the agents, by id.
func (m *Machine) Presence(nowMS int64) api.PresenceState {
	ids := slices.Sorted(maps.Keys(m.users))
	for _, a := range m.desk.Agents(nowMS, nowMS, nowMS) {
		ids = append(ids, a.UserID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	p := api.PresenceState{AccountID: m.account, Devices: m.devices(), Users: make([]api.UserPresence, 0, len(ids))}
	for _, id := range ids {
		p.Users = append(p.Users, m.show(id))
	}
	return p
}

// CAC lists what is taken of every dimension, and the slots by token.
func (m *Machine) CAC() api.CACState {
	state := api.CACState{AccountID: m.account, Usage: []api.Usage{}, Slots: make([]api.Slot, 0, m.ledger.Len())}
	for _, u := range m.ledger.Usage() {
		state.Usage = append(state.Usage, api.Usage{Dimension: u.Kind.String(), ID: u.ID, Used: u.Used, Limit: u.Limit})
	}
	for _, s := range m.ledger.Slots() {
		state.Slots = append(state.Slots, api.Slot{Token: s.Token, CallID: s.CallID, Node: s.Node, AdmittedMS: s.AdmittedMS,
			AnsweredMS: m.live[s.Token].answeredMS, LeaseMS: s.LeaseMS, Emergency: s.Emergency, Takes: shown(s.Takes)})
	}
	return state
}

func shown(takes []cac.Take) []api.Take {
	out := make([]api.Take, 0, len(takes))
	for _, t := range takes {
		out = append(out, api.Take{Dimension: t.Kind.String(), ID: t.ID, Limit: t.Limit})
	}
	return out
}

package presence

import (
	"encoding/json"
	"fmt"

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

// Query answers a question in JSON, {"what": …}: calls ([]api.Call), cac (api.CACState), presence
// (api.PresenceState) or counts (Counts). It changes nothing.
func (m *Machine) Query(_ int64, question []byte) ([]byte, error) {
	var q struct {
		What string `json:"what"`
	}
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
		answer = m.Presence()
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

// Presence lists the devices that are registered, by AOR, and the users with a contact, a call or a word as an agent, by id.
func (m *Machine) Presence() api.PresenceState {
	p := api.PresenceState{AccountID: m.account, Devices: m.devices(), Users: make([]api.UserPresence, 0, len(m.users))}
	for _, id := range sorted(m.users) {
		p.Users = append(p.Users, m.users[id].show(id))
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

package presence

import (
	"github.com/sipio/sipio/brain/api"
)

// What people look at, first match wins.
const (
	bucketInCall      = "incall"
	bucketOffline     = "offline"
	bucketUnreachable = "unreachable"
	bucketPaused      = "paused"
	bucketReady       = "ready"

	stateWaiting = "waiting"
	stateInCall  = "in_call"
)

// user is somebody with a contact, a call, or a word as an agent.
type user struct {
	contacts, calls int
	status, reason  string // status "" when it never was an agent
	timeMS          int64  // of the change that made status, by whoever changed it
	goneMS          int64  // when it went offline, by the brain's clock
}

func (u *user) needed() bool { return u.contacts > 0 || u.calls > 0 || u.status != "" }

// show gives the three signals of a user, and the bucket that follows from them.
func (u *user) show(id string) api.UserPresence {
	p := api.UserPresence{UserID: id, Reachable: u.contacts > 0, Calls: u.calls, Status: u.status, State: stateWaiting, Reason: u.reason}
	if p.Status == "" {
		p.Status = StatusOffline
	}
	if u.calls > 0 {
		p.State = stateInCall
	}
	switch {
	case u.calls > 0:
		p.Bucket = bucketInCall
	case p.Status == StatusOffline:
		p.Bucket = bucketOffline
	case u.contacts == 0:
		p.Bucket = bucketUnreachable
	case p.Status == StatusOnBreak:
		p.Bucket = bucketPaused
	default:
		p.Bucket = bucketReady
	}
	return p
}

// adjust counts a contact or call of a user more or less; no id is nobody.
func (m *Machine) adjust(id string, timeMS int64, contacts, calls int) {
	if id == "" {
		return
	}
	u := m.users[id]
	if u == nil {
		u = &user{}
		m.users[id] = u
	}
	if m.watched {
		before := u.show(id)
		defer func() { m.noteUser(before, u.show(id), timeMS) }()
	}
	u.contacts += contacts
	u.calls += calls
	if !u.needed() {
		delete(m.users, id)
	}
}

// agent takes what a user wants as an agent, unless a later word of it is known. Whoever went offline is
// remembered for a while, so that an older word that comes late does not bring it back.
func (m *Machine) agent(nowMS int64, a *AgentChange) bool {
	u := m.users[a.UserID]
	switch {
	case u != nil && u.status != "" && a.TimeMS <= u.timeMS:
		return false
	case u == nil && len(m.users) >= MaxAgents+MaxContacts:
		m.dropped++
		return false
	}
	id, status, reason := a.UserID, a.Status, cut(a.Reason)
	own(&id, &status, &reason)
	if u == nil {
		u = &user{}
		m.users[id] = u
	}
	before := u.show(id)
	if u.status == StatusOffline {
		m.gone--
	}
	u.status, u.reason, u.timeMS, u.goneMS = status, reason, a.TimeMS, 0
	if status == StatusOffline {
		u.reason, u.goneMS = "", nowMS
		m.left(u)
	}
	m.noteUser(before, u.show(id), nowMS)
	return true
}

// left counts a user that went offline.
func (m *Machine) left(u *user) {
	if due := u.goneMS + Remember.Milliseconds(); m.gone == 0 || due < m.goneMS {
		m.goneMS = due
	}
	m.gone++
}

// forgetGone forgets that users went offline long ago.
func (m *Machine) forgetGone(nowMS int64) {
	if m.gone == 0 || m.goneMS > nowMS {
		return
	}
	m.gone = 0
	for id, u := range m.users {
		switch {
		case u.status != StatusOffline:
		case u.goneMS+Remember.Milliseconds() > nowMS:
			m.left(u)
		default:
			u.status, u.timeMS, u.goneMS = "", 0, 0
			if !u.needed() {
				delete(m.users, id)
			}
		}
	}
}

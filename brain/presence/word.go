package presence

import "github.com/sipio/sipio/brain/api"

// Word is what an op told of a call, for whoever charges calls.
type Word struct {
	Token, CallID string
	Type          string // EventDialogStart, EventDialogEnd or EventDialogFailed; TypeGone, TypeLost
	TimeMS        int64  // by the node's clock; of TypeGone and TypeLost when it was last reported to be up, 0 = not known
	Attempt       int    // as in api.Event
}

// Types of a word that no event told.
const (
	TypeGone = ""     // two complete reports of its node do not list it
	TypeLost = "lost" // it has lost its place by silence or by an operator's hand: it may be up
)

// Words lists what the last op told of calls, in order, news or not. It is good until the next Apply.
func (m *Machine) Words() []Word { return m.words }

// tell notes a word of a call that has a token.
func (m *Machine) tell(ev *Event) {
	switch ev.Type {
	case api.EventDialogStart, api.EventDialogEnd, api.EventDialogFailed:
		if ev.Token != "" {
			m.words = append(m.words, Word{ev.Token, ev.CallID, ev.Type, ev.TimeMS, ev.Attempt})
		}
	}
}

// tellGone notes that a call has lost its place without a word of its end.
func (m *Machine) tellGone(c *call, why string) {
	w := Word{Token: c.token, CallID: c.callID, TimeMS: c.seenMS}
	switch why {
	case WhyAbsent:
		m.words = append(m.words, w)
	case WhyLease, WhyReset:
		w.Type = TypeLost
		m.words = append(m.words, w)
	}
}

// Fate is what is known of a call, with a place or without.
type Fate uint8

// Fates of a call.
const (
	Unknown Fate = iota // its node has not told of its calls since
	Up
	Over // two complete reports of its node in a row do not list it
)

// Fate tells what has become of a call that its node asked about at a time of its clock. seenMS is when a call without a place was last reported
// to be up, 0 = not known. It goes by what has been reported since this machine was made or resumed.
func (m *Machine) Fate(token, node string, askedMS int64) (f Fate, seenMS int64) {
	s, young := m.nodes[node], askedMS+Margin.Milliseconds()
	switch {
	case m.live[token] != nil:
		return Up, 0
	case s == nil:
		return Unknown, 0
	case s.strays[token]:
		return Up, s.takenMS
	case s.beforeMS <= young || s.takenMS <= young || s.before[token]:
		return Unknown, 0
	}
	return Over, 0
}

package presence

import "github.com/sipio/sipio/brain/api"

// Word is what an op told of a call, for whoever charges calls.
type Word struct {
	Token, CallID string
	Type          string // EventDialogStart, EventDialogEnd or EventDialogFailed; "" = nobody told of its end, and it is not there any more
	TimeMS        int64  // by the node's clock; of Type "" when it was last reported to be up, 0 = not known
}

// Words lists what the last op told of calls, in order, news or not. It is good until the next Apply.
func (m *Machine) Words() []Word { return m.words }

// tell notes a word of a call that has a token.
func (m *Machine) tell(ev *Event) {
	switch ev.Type {
	case api.EventDialogStart, api.EventDialogEnd, api.EventDialogFailed:
		if ev.Token != "" {
			m.words = append(m.words, Word{ev.Token, ev.CallID, ev.Type, ev.TimeMS})
		}
	}
}

// tellGone notes that a call has lost its place without a word of its end. An operator's hand is no such word: the call may be up.
func (m *Machine) tellGone(c *call, why string) {
	if why == WhyAbsent || why == WhyLease {
		m.words = append(m.words, Word{Token: c.token, CallID: c.callID, TimeMS: c.seenMS})
	}
}

// Has tells whether a call has a place.
func (m *Machine) Has(token string) bool { return m.live[token] != nil }

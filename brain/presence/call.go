package presence

import (
	"cmp"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/pack"
)

// call is a call that has its place, is up, or both.
type call struct {
	token, callID, node    string
	from, to               string
	callerUser, calleeUser string
	askedMS                int64 // by its node's clock, as the next
	answeredMS             int64 // 0 while it is not
	seenMS                 int64 // in the newest report that lists it; volatile, 0 = in none
}

// admit asks the ledger for a call's place. Nobody asks again for a call that is up: that would be another one under its name, and has
// none.
func (m *Machine) admit(nowMS int64, a *Admit) (reply []byte, changed bool) {
	if up := m.live[a.Token]; up != nil && up.answeredMS != 0 && !a.Emergency {
		return appendVerdict(nil, &cac.Verdict{}), false
	}
	c := &call{token: a.Token, callID: a.CallID, node: a.Node, from: a.From, to: a.To, callerUser: a.CallerUser, calleeUser: a.CalleeUser,
		askedMS: a.AskedMS}
	pack.Own(&c.token, &c.callID, &c.node, &c.from, &c.to, &c.callerUser, &c.calleeUser)
	a.Token, a.CallID, a.Node = c.token, c.callID, c.node
	v := m.ledger.Admit(nowMS, a.Call)
	if changed = v.Admitted && !v.Repeated; changed {
		m.live[c.token] = c
		m.noteCall(c, nowMS, callAdmitted, "")
		for _, w := range v.Soft {
			m.noteLimit(c, nowMS, w)
		}
	}
	return appendVerdict(nil, &v), changed
}

// answered takes dialog.start. A call whose admission is not known is adopted.
func (m *Machine) answered(nowMS int64, node string, ev *Event) bool {
	if ev.CallID == "" {
		return false
	}
	if ev.TimeMS == 0 {
		m.dropped++ // never is no time of an answer
		return false
	}
	k := key{"", ev.CallID, node}
	r := m.records[k]
	again := sameAttempt(r, ev.Token)
	if r != nil && (again || r.up()) && ev.TimeMS <= r.timeMS {
		return false // late, or known already
	}
	c := m.live[ev.Token]
	if c != nil && (c.callID != ev.CallID || c.node != node) {
		m.dropped++
		return false // its token names another call
	}
	if m.calls >= MaxCalls && (r == nil || !r.up()) {
		m.dropped++
		return false
	}
	if c == nil {
		if c = m.arrive(nowMS, k, ev); c == nil {
			return false
		}
	}
	if r != nil && r.call == c {
		r.timeMS, r.dueMS, c.answeredMS = ev.TimeMS, ev.TimeMS+MaxCall.Milliseconds(), ev.TimeMS
		m.due.moved(r)
		return true
	}
	if r != nil && r.up() {
		m.supersede(nowMS, r)
	} else {
		m.forget(r)
	}
	c.answeredMS = ev.TimeMS
	if c.from == "" && c.to == "" {
		c.from, c.to = ev.From, ev.To
		pack.Own(&c.from, &c.to)
	}
	m.add(&record{key: key{"", c.callID, c.node}, call: c, token: c.token, timeMS: ev.TimeMS, dueMS: ev.TimeMS + MaxCall.Milliseconds()})
	m.noteCall(c, nowMS, callAnswered, "")
	m.adjust(c.callerUser, 0, 1)
	m.adjust(c.calleeUser, 0, 1)
	return true
}

// arrive makes the call of a dialog.start without a place; nil when it must not come up.
func (m *Machine) arrive(nowMS int64, k key, ev *Event) *call {
	if ev.Token == "" {
		if r := m.records[k]; r != nil && r.call != nil {
			return r.call
		}
		c := &call{callID: k.id, node: k.node, from: ev.From, to: ev.To, askedMS: ev.TimeMS}
		pack.Own(&c.callID, &c.node, &c.from, &c.to)
		return c
	}
	if !m.ledger.Adoptable(nowMS, ev.Token) {
		if m.ledger.Len() >= cac.MaxSlots {
			m.dropped++
		}
		return nil
	}
	return m.adopt(nowMS, k.node, &Dialog{Token: ev.Token, CallID: k.id, From: ev.From, To: ev.To, SinceMS: ev.TimeMS, Takes: ev.Takes})
}

// adopt gives a call its place that is known to be up; nil when the ledger does not take it. Its users are those it takes.
func (m *Machine) adopt(nowMS int64, node string, d *Dialog) *call {
	c := &call{token: d.Token, callID: d.CallID, node: node, from: d.From, to: d.To, askedMS: d.SinceMS}
	for _, t := range d.Takes {
		switch {
		case t.Kind != cac.User:
		case c.callerUser == "":
			c.callerUser = t.ID
		case c.calleeUser == "":
			c.calleeUser = t.ID
		}
	}
	pack.Own(&c.token, &c.callID, &c.node, &c.from, &c.to, &c.callerUser, &c.calleeUser)
	if !m.ledger.Adopt(nowMS, cac.Call{Token: c.token, CallID: c.callID, Node: c.node, AskedMS: c.askedMS, Takes: d.Takes}) {
		return nil
	}
	m.live[c.token] = c
	m.noteCall(c, nowMS, callAdmitted, "")
	return c
}

// sameAttempt tells whether an event with a token is about the attempt of a record: an event or a record
// without a token is taken to be.
func sameAttempt(r *record, token string) bool {
	return r != nil && (r.token == "" || token == "" || r.token == token)
}

// over takes dialog.end and dialog.failed.
func (m *Machine) over(nowMS int64, node string, ev *Event) bool {
	if ev.Token == "" {
		return ev.CallID != "" && m.overByID(nowMS, node, ev)
	}
	k := key{"", ev.CallID, node}
	r, timeMS := m.records[k], ev.TimeMS
	mine := r != nil && r.up() && (r.token == ev.Token || r.token == "" && ev.TimeMS >= r.timeMS)
	if mine {
		timeMS = max(timeMS, r.timeMS)
	}
	_, changed := m.free(nowMS, ev.Token, ev.Type)
	switch {
	case ev.CallID == "":
		return changed
	case mine && r.call != nil && m.records[k] == r:
		m.hangUp(nowMS, r, ev.Type) // it was up without a place
	case mine:
	case r != nil && (r.up() || ev.TimeMS <= r.timeMS):
		return changed // another attempt is up, or it is known already
	}
	m.end(k, m.records[k], ev.Token, timeMS, timeMS+Remember.Milliseconds())
	return true
}

// overByID takes the end of a call that is told by its call id and node alone.
func (m *Machine) overByID(nowMS int64, node string, ev *Event) bool {
	k := key{"", ev.CallID, node}
	r := m.records[k]
	if r != nil && (ev.TimeMS < r.timeMS || ev.TimeMS == r.timeMS && !r.up()) {
		return false // late, or known already
	}
	if r != nil && r.up() {
		m.hangUp(nowMS, r, ev.Type)
	} else {
		m.freeUnanswered(nowMS, k, ev)
	}
	m.end(k, m.records[k], "", ev.TimeMS, ev.TimeMS+Remember.Milliseconds())
	return true
}

// freeUnanswered gives back the places of the attempts of a call that were never answered.
func (m *Machine) freeUnanswered(nowMS int64, k key, ev *Event) {
	var tokens []string
	for token, c := range m.live {
		if c.callID == k.id && c.node == k.node && c.answeredMS == 0 && c.askedMS <= ev.TimeMS {
			tokens = append(tokens, token)
		}
	}
	slices.Sort(tokens)
	for _, token := range tokens {
		m.free(nowMS, token, ev.Type)
	}
}

// free gives back the place of a token. freed tells whether it had one, changed whether the machine is another.
func (m *Machine) free(nowMS int64, token, why string) (freed, changed bool) {
	c := m.live[token]
	over, lapsed := false, false
	if c == nil {
		over, lapsed = m.ledger.Over(nowMS, token)
	}
	if why == WhyLease {
		freed = m.ledger.Lapse(nowMS, token)
	} else {
		freed = m.ledger.Release(nowMS, token)
	}
	if c != nil {
		delete(m.live, token)
		m.tellGone(c, why)
		m.wentDown(c, nowMS, why)
		k := key{"", c.callID, c.node}
		if r := m.records[k]; r != nil && r.call == c {
			m.end(k, r, token, r.timeMS, m.until(nowMS))
		}
	}
	return freed, freed || !over || lapsed && why != WhyLease
}

// hangUp takes down a call that is up, with its place.
func (m *Machine) hangUp(nowMS int64, r *record, why string) {
	if c := r.call; c.token == "" {
		m.wentDown(c, nowMS, why)
		m.end(r.key, r, "", r.timeMS, m.until(nowMS))
	} else {
		m.free(nowMS, c.token, why)
	}
}

// supersede takes a call down for another attempt of it. Its place is its own: it goes with its own end.
func (m *Machine) supersede(nowMS int64, r *record) {
	c := r.call
	m.forget(r)
	m.wentDown(c, nowMS, "")
	c.answeredMS = 0
}

// until is how long an end without an event of its own is remembered.
func (m *Machine) until(nowMS int64) int64 {
	return min(max(0, nowMS), maxTimeMS) + Remember.Milliseconds()
}

// wentDown tells the users of a call and the watchers that it is over.
func (m *Machine) wentDown(c *call, nowMS int64, why string) {
	m.noteCall(c, nowMS, callEnded, why)
	if c.answeredMS != 0 {
		m.adjust(c.callerUser, 0, -1)
		m.adjust(c.calleeUser, 0, -1)
	}
}

// Calls lists the calls that are up, oldest first, then by call id and node.
func (m *Machine) Calls() []api.Call {
	list := make([]api.Call, 0, m.calls)
	for _, r := range m.records {
		if c := r.call; c != nil {
			list = append(list, api.Call{CallID: c.callID, AccountID: m.account, Node: c.node, From: c.from, To: c.to, StartedMS: c.answeredMS, Token: c.token})
		}
	}
	slices.SortFunc(list, func(a, b api.Call) int {
		return cmp.Or(cmp.Compare(a.StartedMS, b.StartedMS), cmp.Compare(a.CallID, b.CallID), cmp.Compare(a.Node, b.Node))
	})
	return list
}

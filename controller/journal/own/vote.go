package own

import (
	"time"

	"github.com/nats-io/nats.go"
)

// silent says whether nothing of an incarnation was acknowledged here for Suspect. A member that has just started may
// have acknowledged something before, in its former life: it counts from its start. Under mu.
func (m *Member) silent(inc string) bool {
	if m.dead[inc] {
		return true
	}
	var heard time.Duration
	if s := m.seen[inc]; s != nil {
		heard = s.heard
	}
	return inc != m.inc && m.now()-heard >= Suspect
}

// suspects are the silent incarnations that own shards and are not yet known to be dead. Under mu.
func (m *Member) suspects() []string {
	var out []string
	for i := range m.shards {
		r := m.shards[i].record
		if r.seq > 0 && !r.Released && !m.dead[r.Inc] && !m.voting[r.Inc] && m.silent(r.Inc) {
			m.voting[r.Inc] = true
			out = append(out, r.Inc)
		}
	}
	return out
}

// vote asks all brains whether an incarnation is silent. With a majority of yes within voteWindow it is dead: at the
// moment of asking each of them had acknowledged nothing for Suspect less voteWindow, which is longer than Trust.
func (m *Member) vote(inc string) {
	asked := time.Now()
	m.mu.Lock()
	yes := 0
	still := m.silent(inc) // this member's own vote, cast after the moment of asking
	m.mu.Unlock()
	if still {
		yes = m.ask(inc, asked.Add(voteWindow))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.voting, inc)
	if yes >= m.need && !m.dead[inc] {
		m.cfg.Log.Warn("a brain is silent; its shards are free", "incarnation", inc, "votes", yes, "of", len(m.cfg.Peers))
		m.bury(inc)
	}
}

// ask counts the votes that arrive before a moment, this member's own included. It returns as soon as they are enough.
func (m *Member) ask(inc string, end time.Time) int {
	yes := map[string]bool{m.cfg.Name: true}
	if len(yes) >= m.need {
		return len(yes)
	}
	inbox := nats.NewInbox()
	sub, err := m.cfg.NC.SubscribeSync(inbox)
	if err != nil {
		return 0 // no connection: no vote
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	m.say(subjectAsk, inbox, notice{Name: m.cfg.Name, Inc: inc})
	for len(yes) < m.need {
		msg, err := sub.NextMsg(time.Until(end))
		if err != nil || time.Now().After(end) {
			break
		}
		if n, err := parseNotice(msg.Data); err == nil && n.Inc == inc && n.Yes && m.peer(n.Name) {
			yes[n.Name] = true
		}
	}
	return len(yes)
}

// hearAsk votes on another brain's suspicion.
func (m *Member) hearAsk(msg *nats.Msg) {
	n, err := parseNotice(msg.Data)
	if err != nil {
		m.complain("a question about a silent brain cannot be read", err)
		return
	}
	if msg.Reply == "" || n.Name == m.cfg.Name {
		return // its own vote it counts itself
	}
	m.mu.Lock()
	yes := !m.closed && m.silent(n.Inc)
	m.mu.Unlock()
	m.say(msg.Reply, "", notice{Name: m.cfg.Name, Inc: n.Inc, Yes: yes})
}

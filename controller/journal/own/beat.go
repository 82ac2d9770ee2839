package own

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	subjectBeat = "live.beat" // a heartbeat; its reply subject takes the acknowledgements
	subjectBye  = "live.bye"  // an incarnation is over, and served nothing before it said so
	subjectAsk  = "live.ask"  // is this incarnation silent? Its reply subject takes the votes

	maxPeers  = 99
	maxName   = 64
	maxNotice = 512
	maxSeen   = 1000 // incarnations remembered
)

// A notice is what brains tell each other: a heartbeat and its acknowledgement, a good-bye, a question and a vote.
type notice struct {
	Name string `json:"name"`          // of the speaker
	Inc  string `json:"inc"`           // the incarnation spoken of
	Seq  uint64 `json:"seq,omitempty"` // of the heartbeat
	Able bool   `json:"able,omitempty"`
	Yes  bool   `json:"yes,omitempty"`
}

func parseNotice(data []byte) (notice, error) {
	var n notice
	if len(data) > maxNotice {
		return notice{}, fmt.Errorf("%d bytes, at most %d", len(data), maxNotice)
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return notice{}, err
	}
	if n.Name == "" || n.Inc == "" || len(n.Name) > maxName || len(n.Inc) > maxName {
		return notice{}, errors.New("name and incarnation are needed, each of at most 64 bytes")
	}
	return n, nil
}

// A sighting is what is known of another incarnation.
type sighting struct {
	name  string
	heard time.Duration // when its last heartbeat was acknowledged
	able  time.Duration // since when it can own shards; 0: it cannot
}

// say publishes a notice. While the connection is down nothing is said: a heartbeat delivered late is worth nothing.
func (m *Member) say(subject, reply string, n notice) {
	if !m.cfg.NC.IsConnected() {
		return
	}
	data, err := json.Marshal(n)
	if err == nil {
		err = m.cfg.NC.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: data})
	}
	if err != nil && !m.cfg.NC.IsClosed() {
		m.complain("a notice to the other brains was not sent", err)
	}
}

// beatLoop sends the heartbeats.
func (m *Member) beatLoop() {
	if m.solo() {
		return
	}
	timer := time.NewTicker(Beat)
	defer timer.Stop()
	for {
		m.mu.Lock()
		now := m.now()
		n := notice{Name: m.cfg.Name, Inc: m.inc, Seq: m.lease.beat(now), Able: m.phase == up && m.Serving()}
		m.mu.Unlock()
		m.say(subjectBeat, m.inbox, n)
		select {
		case <-m.ctx.Done():
			return
		case <-timer.C:
		case <-m.pulse:
		}
	}
}

// hearBeat takes another brain's heartbeat and acknowledges it.
func (m *Member) hearBeat(msg *nats.Msg) {
	n, err := parseNotice(msg.Data)
	if err != nil {
		m.complain("a heartbeat cannot be read", err)
		return
	}
	m.mu.Lock()
	ok := m.sight(n)
	m.mu.Unlock()
	if ok && msg.Reply != "" {
		m.say(msg.Reply, "", notice{Name: m.cfg.Name, Inc: n.Inc, Seq: n.Seq})
	}
}

// sight notes a heartbeat and says whether to acknowledge it. Not those of a stranger, of a process with this brain's
// own name, or of an incarnation that is over. Under mu.
func (m *Member) sight(n notice) bool {
	switch {
	case n.Inc == m.inc || m.dead[n.Inc] || m.closed:
		return false
	case n.Name == m.cfg.Name || !m.peer(n.Name):
		if !m.strange[n.Name] && len(m.strange) < maxPeers {
			m.strange[n.Name] = true
			m.cfg.Log.Error("heartbeats of a brain that cannot be: its name is not listed here, or is this one's own", "name", n.Name)
		}
		return false
	}
	s := m.seen[n.Inc]
	if s == nil {
		if len(m.seen) >= maxSeen {
			m.forget()
		}
		s = &sighting{name: n.Name}
		m.seen[n.Inc] = s
	}
	s.heard = m.now()
	switch {
	case !n.Able:
		s.able = 0
	case s.able == 0:
		s.able = s.heard
		nudge(m.wake)
	}
	return true
}

// forget drops the incarnations that have been silent for long. Under mu.
func (m *Member) forget() {
	for inc, s := range m.seen {
		if m.now()-s.heard > time.Minute {
			delete(m.seen, inc)
		}
	}
}

// hearAck takes a peer's acknowledgement of a heartbeat of this member.
func (m *Member) hearAck(msg *nats.Msg) {
	n, err := parseNotice(msg.Data)
	if err != nil {
		m.complain("an acknowledgement cannot be read", err)
		return
	}
	if n.Name == m.cfg.Name || !m.peer(n.Name) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checkLease()
	if n.Inc != m.inc || m.closed || m.phase == lapsed || (m.phase == leaving && m.until.Load() == 0) {
		return
	}
	m.lease.ack(n.Name, n.Seq)
	now, until := m.now(), m.lease.until(m.need)
	if until <= now {
		return
	}
	if m.until.Swap(int64(until)) == 0 {
		m.cfg.Log.Info("a majority of the brains is behind this one", "brain", m.cfg.Name, "incarnation", m.inc)
		nudge(m.pulse)
		nudge(m.resweep)
		nudge(m.wake)
	}
}

// checkLease ends this incarnation when its majority has lapsed: another brain may be about to take its shards. Under mu.
func (m *Member) checkLease() {
	until := m.until.Load()
	if until == 0 || int64(m.now()) < until {
		return
	}
	m.until.Store(0)
	m.cfg.Log.Warn("no majority of the brains is behind this one; it serves nothing until it has one again",
		"brain", m.cfg.Name, "incarnation", m.inc, "late", m.now()-time.Duration(until))
	m.lapse()
	if m.phase == up {
		m.phase = lapsed
	}
	for i := range m.shards {
		if m.shards[i].step == owned {
			m.begin(i, releasing, m.drop)
		}
	}
}

// bear begins a new incarnation, once nothing of the lapsed one is served any more. Under mu.
func (m *Member) bear() {
	m.bury(m.inc)
	m.inc, m.lease, m.phase = rand.Text(), lease{}, up
	m.newTerm()
	nudge(m.pulse)
}

// hearBye takes a good-bye: the incarnation's shards are free at once.
func (m *Member) hearBye(msg *nats.Msg) {
	n, err := parseNotice(msg.Data)
	if err != nil {
		m.complain("a good-bye cannot be read", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.Inc != m.inc {
		m.bury(n.Inc)
	}
}

// bury notes that an incarnation can never serve again. Under mu.
func (m *Member) bury(inc string) {
	if len(m.dead) >= maxSeen { // only those that a record names matter
		named := map[string]bool{}
		for i := range m.shards {
			named[m.shards[i].record.Inc] = true
		}
		for old := range m.dead {
			if !named[old] {
				delete(m.dead, old)
			}
		}
	}
	m.dead[inc] = true
	delete(m.seen, inc)
	nudge(m.wake)
}

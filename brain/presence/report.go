package presence

import (
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/cac"
)

const (
	// Margin is how much older than a report a call must be to be judged by it: the brain admits a call before
	// the edge has a dialog of it.
	Margin = 10 * time.Second
	// apart is how far two reports must lie apart to be two.
	apart = time.Second
	// maxNodes bounds the nodes whose reports an account remembers.
	maxNodes = 4096
)

// sight is what the last reports of a node said. It is volatile.
type sight struct {
	boot        string
	bootMS, seq int64
	takenMS     int64            // of the last report that was taken, by the node's clock
	heardMS     int64            // when it was, by the brain's
	absent      map[string]int64 // tokens that it should have listed and did not, and since which report
	strays      map[string]bool  // tokens that it listed and that had no place
	beforeMS    int64            // of the last report that lies apart from that one; 0 = there is none
	before      map[string]bool  // its strays
}

// Observe takes a node's report: it renews the leases of the calls that it lists. It returns the op that gives
// back the places of calls that were absent twice and adopts calls that are not known; nil when there is neither.
// The op is to be written down and applied. A report that is late, or was taken before, says nothing.
func (m *Machine) Observe(nowMS int64, r *Report) (op []byte) {
	s := m.nodes[r.Node]
	if s == nil {
		if m.forgetSights(nowMS); len(m.nodes) >= maxNodes || !texts(r.Node) {
			return nil
		}
		s = &sight{bootMS: r.BootMS, boot: r.Boot, seq: r.Seq - 1}
		m.nodes[r.Node] = s
	} else if !s.takes(nowMS, r) {
		return nil
	}
	if s.takenMS > 0 && r.TakenMS-s.takenMS >= apart.Milliseconds() {
		s.beforeMS, s.before = s.takenMS, s.strays
	}
	s.strays = nil
	before := s.absent
	if s.boot != r.Boot {
		before = nil
	}
	s.boot, s.bootMS, s.seq, s.takenMS, s.heardMS = r.Boot, r.BootMS, r.Seq, r.TakenMS, nowMS
	listed := make(map[string]bool, len(r.Dialogs))
	var adopt []Dialog
	room := MaxOp * 5 / 6 // the rest is for what is released
	for i := range r.Dialogs {
		d := &r.Dialogs[i]
		if !d.check() || listed[d.Token] {
			continue
		}
		listed[d.Token] = true
		if c := m.live[d.Token]; c != nil {
			c.seenMS = max(c.seenMS, r.TakenMS)
		} else {
			s.stray(d.Token)
		}
		if m.ledger.Renew(d.Token, nowMS+cac.Lease.Milliseconds()) || d.SinceMS >= r.TakenMS-Margin.Milliseconds() || !m.ledger.Adoptable(nowMS, d.Token) {
			continue
		}
		if size := len(appendDialog(nil, d)); size+8 < room && len(d.Takes) <= cac.MaxTakes && checkTakes(d.Takes) == nil {
			room -= size + 8
			adopt = append(adopt, *d)
		}
	}
	gone := m.judge(s, r, before, listed)
	if len(gone) == 0 && len(adopt) == 0 {
		return nil
	}
	return appendReport(nil, r.Node, gone, adopt)
}

// stray notes a call that is listed and has no place.
func (s *sight) stray(token string) {
	if s.strays == nil {
		s.strays = map[string]bool{}
	}
	s.strays[strings.Clone(token)] = true
}

// takes tells whether a report is newer than the last. After a long silence any report is: the node's clock may have
// been set back, and a sequence must not keep it from ever being heard again.
func (s *sight) takes(nowMS int64, r *Report) bool {
	if nowMS-s.heardMS > cac.Lease.Milliseconds()/2 {
		return true
	}
	if r.Boot == s.boot {
		return r.Seq > s.seq
	}
	return r.BootMS > s.bootMS && r.Seq > s.seq
}

// judge notes which calls of the node a report should have listed and did not, and gives those that an earlier
// report did not list either, sorted.
func (m *Machine) judge(s *sight, r *Report, before map[string]int64, listed map[string]bool) []string {
	s.absent = map[string]int64{}
	var gone []string
	for token, c := range m.live {
		if c.node != r.Node || listed[token] || c.askedMS < r.BootMS || c.askedMS >= r.TakenMS-Margin.Milliseconds() {
			continue
		}
		since, twice := before[token]
		if !twice || since > r.TakenMS {
			since = r.TakenMS
		}
		s.absent[token] = since
		if twice && r.TakenMS-since >= apart.Milliseconds() {
			gone = append(gone, token)
		}
	}
	slices.Sort(gone)
	return fit(gone)
}

// fit cuts a list of tokens to what goes into one op.
func fit(tokens []string) []string {
	size := 0
	for i, token := range tokens {
		if size += len(token) + 2; size > MaxOp/2 || i == MaxTokens {
			return tokens[:i]
		}
	}
	return tokens
}

// forgetSights forgets the nodes that were not heard of for long, once there are many.
func (m *Machine) forgetSights(nowMS int64) {
	if len(m.nodes) < maxNodes {
		return
	}
	for node, s := range m.nodes {
		if nowMS-s.heardMS > cac.Lease.Milliseconds() {
			delete(m.nodes, node)
		}
	}
}

// settle does the op of Observe.
func (m *Machine) settle(nowMS int64, o *Op) (changed bool) {
	for _, token := range o.Tokens {
		if _, new := m.free(nowMS, token, WhyAbsent); new {
			changed = true
		}
	}
	for i := range o.Adopt {
		if m.adopt(nowMS, o.Node, &o.Adopt[i]) != nil {
			changed = true
		}
	}
	return changed
}

package own

import (
	"slices"
	"time"
)

// MemberState is what this member knows of one brain of the cluster, for `sipio cluster status`.
type MemberState struct {
	Name   string
	Self   bool
	Live   bool          // heard of within Suspect; for this brain: it is Serving
	Able   bool          // has a majority behind it, and is not leaving
	Silent time.Duration // since its last heartbeat; 0 for this brain, and for one never heard of
	Shards int           // owned according to the last known records
}

// Serving says whether this member may answer for the shards it has acquired: a majority of the brains acknowledged a
// heartbeat that it sent less than Trust ago. It looks at the clock at each call, so that a process that was stopped
// knows at once. False also from the loss of the majority until every shard is released.
func (m *Member) Serving() bool { return int64(m.now()) < m.until.Load() }

// Serves says whether this member may answer for a shard under an epoch: it acquired it, and is Serving.
func (m *Member) Serves(shard int, epoch uint64) bool {
	return epoch > 0 && m.Epoch(shard) == epoch && m.Serving()
}

// Epoch is the epoch under which this member owns a shard; 0 when it does not.
func (m *Member) Epoch(shard int) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := &m.shards[shard]; s.step == owned {
		return s.epoch
	}
	return 0
}

// Owner is who owns a shard by this member's best knowledge, and the epoch; "" when nobody does.
func (m *Member) Owner(shard int) (name string, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.shards[shard].record
	if m.ownerless(r) {
		return "", r.seq
	}
	return r.Name, r.seq
}

// Moving says whether a shard is, by this member's best knowledge, on its way from one brain to another: its record changed
// less than Move ago.
func (m *Member) Moving(shard int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.shards[shard]
	return s.record.seq > 0 && m.now()-s.heard < Move
}

// Owned are the shards that this member has acquired, in order.
func (m *Member) Owned() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []int
	for i := range m.shards {
		if m.shards[i].step == owned {
			out = append(out, i)
		}
	}
	return out
}

// Members is what is known of every brain of the cluster, by name.
func (m *Member) Members() []MemberState {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	out := make([]MemberState, 0, len(m.cfg.Peers))
	for _, name := range m.cfg.Peers {
		st := MemberState{Name: name, Self: name == m.cfg.Name}
		if st.Self {
			st.Live = m.Serving()
			st.Able = st.Live && m.phase == up
		}
		for inc, s := range m.seen {
			if silent := now - s.heard; s.name == name && !m.dead[inc] && (st.Silent == 0 || silent < st.Silent) {
				st.Silent, st.Live = silent, silent < Suspect
				st.Able = st.Live && s.able > 0
			}
		}
		for i := range m.shards {
			if r := m.shards[i].record; r.Name == name && !m.ownerless(r) {
				st.Shards++
			}
		}
		out = append(out, st)
	}
	return out
}

// Lost tells the member that the journal of a shard refused a write under an epoch: another owner wrote there. The shard
// is released, and claimed anew under a new epoch when it is still this member's by the record.
func (m *Member) Lost(shard int, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := &m.shards[shard]; s.step == owned && s.epoch == epoch {
		m.begin(shard, releasing, m.handOver)
	}
}

// peer says whether a name is that of a brain of the cluster.
func (m *Member) peer(name string) bool { return slices.Contains(m.cfg.Peers, name) }

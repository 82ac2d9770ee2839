package api

import "encoding/json"

// Paths of the state of the installation, for keys of the platform.
const (
	PathCluster     = "/cluster"      // GET: brains, who owns which shard, whose configuration stands where
	PathJournal     = "/journal"      // GET: what each shard's journal holds
	PathJournalDump = "/journal/dump" // GET: every record of a shard, one JSON document a line
)

// ClusterState is the answer of GET /cluster: what the brain that was asked knows.
type ClusterState struct {
	Name          string      `json:"name"` // of the brain that answers
	ConfigVersion int64       `json:"config_version"`
	ConfigDigest  string      `json:"config_digest"` // SHA-256 over the whole configuration; equal at equal versions
	Brains        []BrainSeen `json:"brains"`
	Shards        []ShardSeen `json:"shards"`
}

// BrainSeen is one brain of the cluster.
type BrainSeen struct {
	Name     string `json:"name"`
	Live     bool   `json:"live"` // its heartbeats are heard; of the answering brain: a majority stands behind it
	SilentMS int64  `json:"silent_ms,omitempty"`
	Shards   int    `json:"shards"` // that it owns
}

// ShardSeen is who owns a shard.
type ShardSeen struct {
	Shard int    `json:"shard"`
	Owner string `json:"owner"` // "" = nobody
	Epoch uint64 `json:"epoch"` // fencing token of the ownership
}

// JournalState is the answer of GET /journal.
type JournalState struct {
	Shards []ShardJournal `json:"shards"`
}

// ShardJournal is what the journal of one shard holds.
type ShardJournal struct {
	Shard    int    `json:"shard"`
	First    uint64 `json:"first"` // sequence of its first message; 0 = empty
	Last     uint64 `json:"last"`
	Messages int    `json:"messages"`
	Bytes    int64  `json:"bytes"`
	Epoch    uint64 `json:"epoch"`            // of the last message
	Snapshot uint64 `json:"snapshot"`         // sequence of the newest snapshot's last part; 0 = none
	Damage   string `json:"damage,omitempty"` // what is missing or altered, in words
}

// JournalRecord is one line of a dump: an operation, or with Snapshot the state of an object before those that follow.
type JournalRecord struct {
	Shard    int             `json:"shard"`
	Seq      uint64          `json:"seq"`
	Epoch    uint64          `json:"epoch"`
	ID       string          `json:"id,omitempty"` // of the live object: an account, or node/NAME
	TimeMS   int64           `json:"time_ms,omitempty"`
	Op       json.RawMessage `json:"op,omitempty"`
	Snapshot []byte          `json:"snapshot,omitempty"`
	Damage   string          `json:"damage,omitempty"`
}

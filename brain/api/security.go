package api

// Paths of the guard.
const (
	PathSecurityReport = "/security/report" // POST, node agents: offences and bans of this node; the reply is what it is to do
	PathSecurityBans   = "/security/bans"   // platform: GET ?addr= ?node= ?after= ?limit= ?offenders=true, POST BanRequest, DELETE ?addr=
	PathSecurityAllow  = "/security/allow"  // platform: GET, POST AllowRequest, DELETE ?net=
)

// Bounds of the guard at the door of the brain.
const (
	MaxGuardOffences   = 1000     // of one report; the node agent sends the rest with the next
	MaxGuardActive     = 131072   // bans of one report: both sets of a node, full
	MaxGuardReport     = 24 << 20 // bytes of a report: so many active bans at 160 bytes each, and the offences
	MaxGuardOrders     = 1000     // of one reply; the next report gets the rest
	MaxGuardProtected  = 20000    // prefixes of a policy
	MaxGuardSignatures = 500      // of a policy
	MaxEvidence        = 256      // bytes of an offence's Evidence and of a ban's Why
	MaxBanPage         = 1000     // bans or offenders of one answer of GET PathSecurityBans; 100 when limit is absent
)

// Tiers: who caught an address.
const (
	TierNft      = "nft"      // a packet flood, in the kernel
	TierPike     = "pike"     // a flood of SIP requests
	TierUA       = "ua"       // a scanner's signature
	TierScore    = "score"    // failed authentications, unanswered challenges, unknown numbers, calls of unlisted sources
	TierOperator = "operator" // sipio ban add
)

// Kinds of an offence.
const (
	OffenceFlood     = "flood"     // packets (nft)
	OffenceRequests  = "requests"  // SIP requests (pike)
	OffenceScanner   = "scanner"   // a signature (ua)
	OffenceAuthFail  = "authfail"  // wrong digests (score)
	OffenceChallenge = "challenge" // challenges without an answer (score)
	OffenceUnknown   = "unknown"   // unknown numbers (score)
	OffenceSource    = "source"    // calls of an address that is no trunk and no device (score)
	OffenceSpray     = "spray"     // wrong digests of a known address for account names that are not its own (score)
)

// GuardReport is what a node tells of its guard: offences at once, and every 30 s everything that it enforces (Complete).
type GuardReport struct {
	Node          string      `json:"node"`
	PolicyVersion int64       `json:"policy_version"`     // that the node enforces; 0 = it has none
	Complete      bool        `json:"complete,omitempty"` // Active is all that the node enforces; else Active says nothing
	Offences      []Offence   `json:"offences,omitempty"`
	Active        []ActiveBan `json:"active,omitempty"`
}

// Offence is what an address did at a node. An offence of one address and kind is told once per crossing of its limit.
type Offence struct {
	Addr     string `json:"addr"` // IPv4 or IPv6, without a port
	Tier     string `json:"tier"` // TierNft, TierPike, TierUA, TierScore
	Kind     string `json:"kind"` // an Offence constant
	Count    int    `json:"count"`
	TimeMS   int64  `json:"time_ms"`            // epoch milliseconds at the node
	Evidence string `json:"evidence,omitempty"` // of the packet that crossed the limit; at most MaxEvidence bytes
	Known    bool   `json:"known,omitempty"`    // a device has authenticated from there in the last hour: never banned
	UntilMS  int64  `json:"until_ms,omitempty"` // how long the node has banned it by itself; 0 = not
	Proven   bool   `json:"proven,omitempty"`   // it came over TCP, TLS or WebSocket: nobody has forged the address
}

// ActiveBan is a ban that a node enforces. Addr of an IPv6 ban is its /64, written as a prefix.
type ActiveBan struct {
	Addr    string `json:"addr"`
	Tier    string `json:"tier"`
	UntilMS int64  `json:"until_ms"`
	Packets int64  `json:"packets,omitempty"` // dropped in the kernel since the ban began; 0 also when it is not counted
}

// Actions of a GuardOrder.
const (
	GuardBan  = "ban"
	GuardLift = "lift"
)

// GuardOrder is what a node is to do about an address, in the kernel and in Kamailio, whatever the tier.
type GuardOrder struct {
	Addr     string `json:"addr"`   // one IPv4 address, or an IPv6 /64 as a prefix
	Action   string `json:"action"` // GuardBan, GuardLift
	Tier     string `json:"tier,omitempty"`
	UntilMS  int64  `json:"until_ms,omitempty"`  // ban: epoch milliseconds; it replaces an earlier end, also a later one
	GraceSec int    `json:"grace_sec,omitempty"` // lift: so long the node bans it not again by itself; 0 = no grace
	Why      string `json:"why,omitempty"`
}

// GuardReply answers GuardReport.
type GuardReply struct {
	Policy *GuardPolicy `json:"policy,omitempty"` // absent: it is as PolicyVersion said
	Orders []GuardOrder `json:"orders,omitempty"` // to be carried out in their order
}

// GuardPolicy is by what a node counts, and whom it never bans.
type GuardPolicy struct {
	Version    int64    `json:"version"`    // another one = another content; never 0
	Protected  []string `json:"protected"`  // prefixes of trunks, nodes, operators and the allow list, sorted; loopback goes without saying
	Signatures []string `json:"signatures"` // lower case substrings of User-Agent; with "call-id:" or "from:" before it, of that header

	ScoreWindowSec int `json:"score_window_sec"` // in which the Max fields count; never 0
	AuthFailMax    int `json:"auth_fail_max"`    // wrong digests of one address
	ChallengeMax   int `json:"challenge_max"`    // challenges that one address left unanswered
	UnknownMax     int `json:"unknown_max"`      // unknown numbers that one address called
	SourceMax      int `json:"source_max"`       // calls of one address that is no trunk and no device
	AORFailMax     int `json:"aor_fail_max"`     // wrong digests of one account name in a minute; beyond it, it is slowed

	// Absent = the node's own.
	AuthFailHourMax int `json:"auth_fail_hour_max,omitempty"` // wrong digests of one address in an hour; of a known one, for names not its own
	SprayMax        int `json:"spray_max,omitempty"`          // wrong digests of a known address for names not its own; beyond it, these are slowed

	// Open TCP, TLS and WebSocket connections to the SIP ports beyond which the node refuses new ones; absent = the node's own.
	ConnMax         int `json:"conn_max,omitempty"`          // of one address
	StrangerConnMax int `json:"stranger_conn_max,omitempty"` // of all addresses together that are neither known nor protected

	// First terms, in seconds and never 0, of a ban that the node begins by itself.
	UATermSec    int `json:"ua_term_sec"`
	PikeTermSec  int `json:"pike_term_sec"`
	ScoreTermSec int `json:"score_term_sec"`
	NftTermSec   int `json:"nft_term_sec"`
}

// OpBan is the kind of an Op: carry out Guard. Its reply is OK when the kernel and Kamailio both have done it.
const OpBan = "ban"

// Ban is one ban as the brain holds it.
type Ban struct {
	Addr     string    `json:"addr"` // one IPv4 address, or an IPv6 /64 as a prefix
	Tier     string    `json:"tier"`
	Kind     string    `json:"kind,omitempty"` // an Offence constant; "" for TierOperator
	Why      string    `json:"why"`            // in words: which term and why
	Evidence string    `json:"evidence,omitempty"`
	FromMS   int64     `json:"from_ms"`
	UntilMS  int64     `json:"until_ms"`
	Node     string    `json:"node"`            // that caught it; "" for TierOperator
	Shared   bool      `json:"shared"`          // every node enforces it; else Node alone
	Count    int       `json:"count"`           // how often before, as it has decayed
	Actor    string    `json:"actor,omitempty"` // who added it; TierOperator
	Nodes    []BanNode `json:"nodes,omitempty"` // that said in their last complete report that they enforce it, by name
}

// BanNode is one node's part in a ban or a lift. OK false with Error: the node has not confirmed; its next complete report is corrected.
type BanNode struct {
	Node    string `json:"node"`
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
	Packets int64  `json:"packets,omitempty"` // dropped there, in a list
}

// BanList is the answer of GET PathSecurityBans, by address.
type BanList struct {
	Bans  []Ban     `json:"bans"`
	Total int       `json:"total"`           // bans there are, of all addresses and nodes
	Next  string    `json:"next,omitempty"`  // for ?after= of the next page; "" = this is the last
	About *BanAbout `json:"about,omitempty"` // with ?addr=: what else is known of it

	Offenders []BanAbout `json:"offenders,omitempty"` // with ?offenders=true, in the place of Bans: who has offended, banned or not
}

// BanAbout is what the guard knows of an address beside its ban.
type BanAbout struct {
	Addr          string `json:"addr"`                      // as it would be banned
	Protected     string `json:"protected,omitempty"`       // why it is never banned; "" = it may be
	Count         int    `json:"count,omitempty"`           // bans before, as they have decayed
	LastKind      string `json:"last_kind,omitempty"`       // of the last offence
	LastCount     int    `json:"last_count,omitempty"`      // how often it was done then
	LastEvidence  string `json:"last_evidence,omitempty"`   // its beginning, at most MaxKeptEvidence bytes
	LastOffenceMS int64  `json:"last_offence_ms,omitempty"` // 0 = none is remembered
	LastEndMS     int64  `json:"last_end_ms,omitempty"`     // when the last ban ended
	LastTier      string `json:"last_tier,omitempty"`       // of the last ban that the guard made; "" = none is remembered
	LastNode      string `json:"last_node,omitempty"`       // that caught it
	GraceUntilMS  int64  `json:"grace_until_ms,omitempty"`  // after a lift: not banned again before
}

// BanRequest bans an address by hand. A ban of the address that is there already is replaced.
type BanRequest struct {
	Addr   string `json:"addr"`    // one address; IPv6 means its /64
	ForSec int    `json:"for_sec"` // 1 to MaxBanForSec
	Why    string `json:"why"`     // required; at most MaxEvidence bytes
}

// MaxKeptEvidence bounds what is remembered of an offence that led to no ban, in bytes.
const MaxKeptEvidence = 128

// MaxBanForSec bounds a ban by hand: 30 days.
const MaxBanForSec = 30 * 24 * 3600

// BanReply says what became of a ban or a lift, and which nodes have confirmed it.
type BanReply struct {
	Addr  string    `json:"addr"`
	Ban   *Ban      `json:"ban,omitempty"` // added; or lifted: absent when there was none
	Nodes []BanNode `json:"nodes"`         // all that the brain knows, by name
}

// AllowRequest lists a network that is never banned. One that is listed already is replaced.
type AllowRequest struct {
	Net    string `json:"net"` // prefix or one address; not wider than /8 (IPv4) or /16 (IPv6)
	Note   string `json:"note,omitempty"`
	ForSec int    `json:"for_sec,omitempty"` // 0 = for good
}

// Allowed is one entry of the allow list.
type Allowed struct {
	Net     string `json:"net"`
	Who     string `json:"who,omitempty"`
	Note    string `json:"note,omitempty"`
	SinceMS int64  `json:"since_ms"`
	UntilMS int64  `json:"until_ms,omitempty"` // 0 = for good
}

// AllowList is the answer of PathSecurityAllow, by network; null after a change that is done while nobody can list it. After a change Lifted are the addresses whose bans it ended, at most MaxBanPage.
type AllowList struct {
	Allowed []Allowed `json:"allowed"`
	Lifted  []string  `json:"lifted,omitempty"`
}

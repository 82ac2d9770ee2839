package brain

// Kind names a configuration resource: its SQL table, its kind in YAML, and (in the plural) its
// collection under /v1.
type Kind string

const (
	KindAccount   Kind = "account"
	KindSIPDomain Kind = "sip_domain"
	KindSIPUser   Kind = "sip_user"
	KindSIPDevice Kind = "sip_device"
	KindExtension Kind = "extension"
	KindRingGroup Kind = "ring_group"
	KindNode      Kind = "node"
	KindAPIKey    Kind = "api_key"
	KindCallLimit Kind = "call_limit"

	KindTimeSchedule     Kind = "time_schedule"
	KindMediaFile        Kind = "media_file"
	KindMediaPlaylist    Kind = "media_playlist"
	KindVoicemail        Kind = "voicemail"
	KindConference       Kind = "conference"
	KindCallFlow         Kind = "call_flow"
	KindDID              Kind = "did"
	KindSIPTrunk         Kind = "sip_trunk"
	KindVoicemailMessage Kind = "voicemail_message"
)

// Kinds lists every kind in the order in which references allow them to be created.
var Kinds = []Kind{KindAccount, KindSIPDomain, KindNode, KindRatePlan, KindAPIKey, KindConsoleUser, KindTimeSchedule, KindMediaFile, KindMediaPlaylist, KindVoicemail, KindConference,
	KindSIPUser, KindSIPDevice, KindRingGroup, KindQueue, KindAgentQueueAssignment, KindInQueueOption, KindCallFlow, KindExtension, KindDID, KindSecret, KindSIPTrunk, KindOutboundRoute, KindForward,
	KindCallLimit, KindVoicemailMessage}

// IDPrefix is what an id of the kind begins with, before "_" and a lower-case ULID.
func (k Kind) IDPrefix() string {
	return map[Kind]string{KindAccount: "acc", KindSIPDomain: "dom", KindSIPUser: "us", KindSIPDevice: "dev",
		KindExtension: "ext", KindRingGroup: "rg", KindNode: "node", KindAPIKey: "key", KindConsoleUser: "cu", KindRatePlan: "rate", KindCallLimit: "lim",
		KindTimeSchedule: "sch", KindMediaFile: "media", KindMediaPlaylist: "pl", KindVoicemail: "vm", KindConference: "conf",
		KindCallFlow: "flow", KindDID: "did", KindSIPTrunk: "tr", KindOutboundRoute: "route", KindForward: "fwd", KindSecret: "sec", KindVoicemailMessage: "msg",
		KindQueue: "q", KindAgentQueueAssignment: "aq", KindInQueueOption: "opt"}[k]
}

// DestKind is where a route target points.
type DestKind string

const (
	DestNone      DestKind = ""
	DestUser      DestKind = "user"
	DestExtension DestKind = "extension"
	DestRingGroup DestKind = "ring_group"
	DestHangup    DestKind = "hangup"
)

// Status of a user, device or extension. A disabled one neither registers nor is rung nor dialed.
type Status string

const (
	StatusActive    Status = "active"
	StatusDisabled  Status = "disabled"
	StatusSuspended Status = "suspended" // accounts only: nothing registers, nothing is routed
	StatusClosed    Status = "closed"    // accounts only: as suspended, and for ever
)

// RingStrategy says how the devices of a user, or the members of a ring group, are rung.
type RingStrategy string

const (
	RingSimultaneous RingStrategy = "simultaneous" // all at once, first to answer wins
	RingSequential   RingStrategy = "sequential"   // one after the other by order, each for the ring timeout
	RingSpecific     RingStrategy = "specific"     // users only: the device with the lowest ring_order, no other
)

// Transport of a device's registration. Informational: any transport of the node is accepted.
type Transport string

// Resource is what every configuration type (by pointer) offers to code that handles all of them alike.
type Resource interface {
	ResourceKind() Kind
	ResourceID() string
	OwnerID() string // account id; "" for what belongs to the platform
}

func (r *Account) ResourceKind() Kind   { return KindAccount }
func (r *SIPDomain) ResourceKind() Kind { return KindSIPDomain }
func (r *SIPUser) ResourceKind() Kind   { return KindSIPUser }
func (r *SIPDevice) ResourceKind() Kind { return KindSIPDevice }
func (r *Extension) ResourceKind() Kind { return KindExtension }
func (r *RingGroup) ResourceKind() Kind { return KindRingGroup }
func (r *Node) ResourceKind() Kind      { return KindNode }
func (r *APIKey) ResourceKind() Kind    { return KindAPIKey }
func (r *CallLimit) ResourceKind() Kind { return KindCallLimit }

func (r *Account) ResourceID() string   { return r.ID }
func (r *SIPDomain) ResourceID() string { return r.ID }
func (r *SIPUser) ResourceID() string   { return r.ID }
func (r *SIPDevice) ResourceID() string { return r.ID }
func (r *Extension) ResourceID() string { return r.ID }
func (r *RingGroup) ResourceID() string { return r.ID }
func (r *Node) ResourceID() string      { return r.ID }
func (r *APIKey) ResourceID() string    { return r.ID }
func (r *CallLimit) ResourceID() string { return r.ID }

func (r *Account) OwnerID() string   { return r.ID }
func (r *SIPDomain) OwnerID() string { return r.AccountID }
func (r *SIPUser) OwnerID() string   { return r.AccountID }
func (r *SIPDevice) OwnerID() string { return r.AccountID }
func (r *Extension) OwnerID() string { return r.AccountID }
func (r *RingGroup) OwnerID() string { return r.AccountID }
func (r *Node) OwnerID() string      { return "" }
func (r *APIKey) OwnerID() string    { return r.AccountID }
func (r *CallLimit) OwnerID() string { return r.AccountID }

// ChangeOp is what happens to a resource in a change set.
type ChangeOp string

const (
	OpCreate ChangeOp = "create"
	OpUpdate ChangeOp = "update"
	OpDelete ChangeOp = "delete"
)

// Change is one row of a change set: the whole resource after the change, or (for delete) its last state.
// Before, when it is set, is what an update was made from: if the resource is not that any more, the
// change set is refused with EConflict, so that nobody overwrites what he has not seen.
type Change struct {
	Op       ChangeOp
	Resource Resource
	Before   Resource
}

// RouteTarget is the one way to say "send the call there next". Kind "" means unset. For hangup ID
// is a SIP final response code 400–699 as digits, "" for 480.
type RouteTarget struct {
	Kind DestKind
	ID   string
}

// IsSet reports whether the target names anything.
func (t RouteTarget) IsSet() bool { return t.Kind != DestNone }

// Account is a tenant. The account of a call comes from its credential only.
type Account struct {
	ID       string  `json:"id" readOnly:"true"`
	ParentID *string `json:"parent_id,omitempty" doc:"reseller account above this one; absent = the platform"`
	Name     string  `json:"name" doc:"unique platform-wide"`
	Status   Status  `json:"status,omitempty" default:"active" enum:"active,suspended,closed"`
	Timezone string  `json:"timezone,omitempty" default:"UTC" doc:"IANA zone name"`
	Language string  `json:"language,omitempty" default:"en-US" doc:"BCP 47 tag"`
	Country  string  `json:"country,omitempty" doc:"ISO 3166 alpha-2 code such as DE, whose dial plan national numbers are read by; absent: numbers are international"`

	OutboundCountries []string `json:"outbound_countries,omitempty" maxItems:"300" doc:"ISO 3166 codes of the countries whose numbers may be called; \"*\" = all of them; 001 = satellites and networks of no country, which * does not mean; absent: the account's own country alone, without one none. Emergency numbers may always be called"`

	MaxIn           int             `json:"max_in,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls from outside; 0 = no limit"`
	MaxOut          int             `json:"max_out,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls to outside; 0 = no limit"`
	MaxInternal     int             `json:"max_internal,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls inside the account; 0 = no limit"`
	MaxDialer       int             `json:"max_dialer,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls that a dialer makes; 0 = no limit"`
	AdmissionPolicy AdmissionPolicy `json:"admission_policy,omitempty" default:"local_share" enum:"local_share,closed" doc:"what happens to new calls while nobody owns the account's live state: local_share = each brain admits its share of the limits, closed = refused"`

	VoiceGender        string   `json:"voice_gender,omitempty" default:"male" enum:"male,female" doc:"of the platform's prompts and of spoken text"`
	DefaultCIDNumber   string   `json:"default_cid_number,omitempty" doc:"E.164 without +, one of the account's numbers: shown in calls to outside for who has no number of his own"`
	EmergencyRouteID   string   `json:"emergency_route_id,omitempty" doc:"the outbound_route of emergency calls; absent: every one with is_emergency, then the other routes"`
	EmergencySuspended bool     `json:"emergency_when_suspended" default:"true" doc:"emergency calls go out while the account is suspended"`
	StirSecretRef      string   `json:"stir_secret_ref,omitempty" doc:"name of the secret with the private key (PEM, P-256) that signs the account's calls; absent: the platform's key"`
	StirX5U            string   `json:"stir_x5u,omitempty" doc:"https address of its certificate"`
	DIDDefaultDestKind DestKind `json:"did_default_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup" doc:"where numbers lead that name no target; absent: refused"`
	DIDDefaultDestID   string   `json:"did_default_dest_id,omitempty"`
	Currency           string   `json:"currency,omitempty" doc:"ISO 4217 code such as EUR, of the account's wallet; needed for a rate_plan, and the same as that one's"`
	RatePlan           string   `json:"rate_plan,omitempty" doc:"name of the rate plan by which calls to outside are charged: one of the reseller's (parent_id), without a reseller the platform's; absent: free of charge"`
	HoldSec            int      `json:"hold_sec,omitempty" default:"600" minimum:"10" maximum:"14400" doc:"seconds of talk that money is held for at a time; smaller values share little money among more calls"`
	RecordConsent      bool     `json:"record_consent,omitempty" doc:"calls that are recorded are announced to the caller first"`
	RecRetentionDays   int      `json:"rec_retention_days,omitempty" minimum:"0" maximum:"36500" doc:"recordings of calls are deleted after so many days; 0 = kept"`
}

// What Account.OutboundCountries may name beside countries: every country, and what is of none, satellites and networks that span the
// world (number.International).
const (
	AnyCountry = "*"
	NoCountry  = "001"
)

// DIDDefault is where the account's numbers lead that name no target of their own.
func (a *Account) DIDDefault() RouteTarget {
	return RouteTarget{a.DIDDefaultDestKind, a.DIDDefaultDestID}
}

// AdmissionPolicy says what happens to new calls of an account while no brain owns its live state.
type AdmissionPolicy string

const (
	AdmissionLocalShare AdmissionPolicy = "local_share" // each brain admits its share of the limits by itself
	AdmissionClosed     AdmissionPolicy = "closed"      // refused until somebody owns the account again
)

// SIPDomain is a domain whose identities belong to the account, and the digest realm of its devices.
type SIPDomain struct {
	ID        string `json:"id" readOnly:"true"`
	AccountID string `json:"account_id" readOnly:"true"`
	Domain    string `json:"domain" doc:"DNS name or IP address, unique platform-wide, lower case"`
	IsPrimary bool   `json:"is_primary,omitempty" doc:"the domain caller identities are written in; exactly one an account"`
}

// SIPUser is a person or a place that can be called: username is its extension number.
type SIPUser struct {
	ID              string       `json:"id" readOnly:"true"`
	AccountID       string       `json:"account_id" readOnly:"true"`
	Username        string       `json:"username" doc:"extension number, unique in the account"`
	DisplayName     string       `json:"display_name,omitempty" doc:"caller name on internal calls; at most 64 characters, no control characters"`
	RingTimeoutSec  int          `json:"ring_timeout_sec,omitempty" default:"25" minimum:"1" maximum:"300"`
	RingStrategy    RingStrategy `json:"ring_strategy,omitempty" default:"simultaneous" enum:"simultaneous,sequential,specific"`
	Status          Status       `json:"status,omitempty" default:"active" enum:"active,disabled"`
	DND             bool         `json:"dnd,omitempty" doc:"do not disturb: no device is rung, the call goes to fwd_busy or gets 486"`
	MaxSimultaneous int          `json:"max_simultaneous,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls, made and received together; 0 = no limit"`

	FwdAlwaysDestKind   DestKind `json:"fwd_always_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	FwdAlwaysDestID     string   `json:"fwd_always_dest_id,omitempty"`
	FwdBusyDestKind     DestKind `json:"fwd_busy_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	FwdBusyDestID       string   `json:"fwd_busy_dest_id,omitempty"`
	FwdNoanswerDestKind DestKind `json:"fwd_noanswer_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	FwdNoanswerDestID   string   `json:"fwd_noanswer_dest_id,omitempty"`

	OutCIDNumber string       `json:"out_cid_number,omitempty" doc:"E.164 without +, one of the account's numbers: shown in calls to outside"`
	OutCIDName   string       `json:"out_cid_name,omitempty" doc:"shown with it; at most 64 characters, no control characters"`
	VoicemailID  string       `json:"voicemail_id,omitempty" doc:"the user's own mailbox: what it listens to, and whose lamp its devices show"`
	RecordPolicy RecordPolicy `json:"record_policy,omitempty" default:"none" enum:"none,inbound,outbound,all" doc:"which of the user's calls are recorded"`

	IsAgent                bool   `json:"is_agent,omitempty" doc:"may serve queues"`
	AutoReadyOnLogin       bool   `json:"auto_ready_on_login,omitempty" doc:"a login makes the agent available; else it begins on a break"`
	AutoQueueLogin         bool   `json:"auto_queue_login,omitempty" doc:"a login signs the agent in to its static and mandatory queues"`
	AllowPSTNBlindTransfer bool   `json:"allow_pstn_blind_transfer,omitempty" doc:"may transfer calls to numbers outside the platform without having talked to them"`
	Skills                 Skills `json:"skills,omitempty" doc:"of an agent: at most 20 names (A-Z a-z 0-9 _ . -, a letter or _ first), each with a level from 1 to 5"`
}

// FwdAlways, FwdBusy and FwdNoanswer are the user's exits as route targets.
func (u *SIPUser) FwdAlways() RouteTarget { return RouteTarget{u.FwdAlwaysDestKind, u.FwdAlwaysDestID} }
func (u *SIPUser) FwdBusy() RouteTarget   { return RouteTarget{u.FwdBusyDestKind, u.FwdBusyDestID} }
func (u *SIPUser) FwdNoanswer() RouteTarget {
	return RouteTarget{u.FwdNoanswerDestKind, u.FwdNoanswerDestID}
}

// SIPDevice is one phone of a user: a digest identity and, at the edge, one AOR.
type SIPDevice struct {
	ID           string    `json:"id" readOnly:"true"`
	AccountID    string    `json:"account_id" readOnly:"true"`
	UserID       string    `json:"user_id"`
	AuthUsername string    `json:"auth_username" doc:"digest username, unique with realm platform-wide"`
	Realm        string    `json:"realm" doc:"digest realm: one of the account's domains"`
	Password     string    `json:"password,omitempty" writeOnly:"true" doc:"input only: turned into both HA1 digests at once and never kept"`
	HA1MD5       string    `json:"ha1_md5,omitempty" writeOnly:"true" doc:"MD5(auth_username:realm:password), 32 hex digits; never returned"`
	HA1SHA256    string    `json:"ha1_sha256,omitempty" writeOnly:"true" doc:"SHA-256 of the same (RFC 8760), 64 hex digits; never returned"`
	Transport    Transport `json:"transport,omitempty" default:"udp" enum:"udp,tcp,tls,wss"`
	IsWebRTC     bool      `json:"is_webrtc,omitempty" doc:"the phone speaks DTLS-SRTP with ICE; rtpengine bridges it to plain RTP"`
	RingOrder    int       `json:"ring_order,omitempty" minimum:"0" maximum:"1000" doc:"lower rings first in sequential"`
	RingOnFork   bool      `json:"ring_on_fork" default:"true" doc:"false: rung only when it is the user's only device"`
	Status       Status    `json:"status,omitempty" default:"active" enum:"active,disabled"`
}

// Extension is a number that authenticated callers of the account can dial. It is looked at before
// the users' own usernames.
type Extension struct {
	ID        string   `json:"id" readOnly:"true"`
	AccountID string   `json:"account_id" readOnly:"true"`
	Digits    string   `json:"digits" doc:"1 to 32 of 0-9 * #, unique in the account"`
	DestKind  DestKind `json:"dest_kind" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	DestID    string   `json:"dest_id,omitempty" doc:"empty for hangup without a code, for the caller's own mailbox (dest_kind voicemail with action=retrieve in dest_xform), and for the caller as an agent (dest_kind queue with action=agent_login, agent_logout, agent_available or agent_break)"`
	DestXform Vars     `json:"dest_xform,omitempty" doc:"variables for what comes next"`
	Status    Status   `json:"status,omitempty" default:"active" enum:"active,disabled"`

	ScheduleID      string   `json:"schedule_id,omitempty" doc:"absent: always open"`
	ClosedDestKind  DestKind `json:"closed_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	ClosedDestID    string   `json:"closed_dest_id,omitempty"`
	HolidayDestKind DestKind `json:"holiday_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup" doc:"absent: as closed"`
	HolidayDestID   string   `json:"holiday_dest_id,omitempty"`
}

// Dest is where the extension leads, ClosedDest and HolidayDest where it does outside its hours.
func (e *Extension) Dest() RouteTarget        { return RouteTarget{e.DestKind, e.DestID} }
func (e *Extension) ClosedDest() RouteTarget  { return RouteTarget{e.ClosedDestKind, e.ClosedDestID} }
func (e *Extension) HolidayDest() RouteTarget { return RouteTarget{e.HolidayDestKind, e.HolidayDestID} }

// RingGroup rings several users under one number. Members' own forwards are not followed; their DND is respected.
type RingGroup struct {
	ID               string            `json:"id" readOnly:"true"`
	AccountID        string            `json:"account_id" readOnly:"true"`
	Name             string            `json:"name" doc:"unique in the account"`
	Strategy         RingStrategy      `json:"strategy,omitempty" default:"simultaneous" enum:"simultaneous,sequential"`
	RingTimeoutSec   int               `json:"ring_timeout_sec,omitempty" default:"25" minimum:"1" maximum:"300" doc:"for sequential: of each member"`
	Members          []RingGroupMember `json:"members" maxItems:"50"`
	OverflowDestKind DestKind          `json:"overflow_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	OverflowDestID   string            `json:"overflow_dest_id,omitempty"`
	ScheduleID       string            `json:"schedule_id,omitempty" doc:"while it is closed nobody is rung and calls go to the overflow; absent: always open"`
}

// Overflow is where an unanswered call goes.
func (g *RingGroup) Overflow() RouteTarget { return RouteTarget{g.OverflowDestKind, g.OverflowDestID} }

// RingGroupMember is one user of a ring group. Lower order rings first in sequential; equal orders keep the list's order.
type RingGroupMember struct {
	UserID string `json:"user_id"`
	Order  int    `json:"order,omitempty" minimum:"0" maximum:"1000"`
}

// Node is an edge machine: Kamailio, rtpengine and the node agent. Nodes belong to the platform.
type Node struct {
	ID           string   `json:"id" readOnly:"true"`
	Name         string   `json:"name" doc:"unique platform-wide; what the node agent calls itself"`
	Region       string   `json:"region,omitempty"`
	AgentURL     string   `json:"agent_url,omitempty" doc:"where the node agent answers /op, for example http://127.0.0.1:8481"`
	SIPAddresses []string `json:"sip_addresses,omitempty" doc:"public addresses of its SIP listeners"`
	State        string   `json:"state,omitempty" default:"active" enum:"active,draining,drained,lost"`
	Weight       int      `json:"weight" default:"100" minimum:"0" maximum:"1000"`
	Capacity     int      `json:"capacity,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls it bears; 0 = no limit"`

	Reach              Reach  `json:"reach,omitempty" default:"direct" enum:"direct,bus,cloudflared" doc:"how orders get to the node: direct = to agent_url, by http on this machine, or by https with certificates of the platform's authority; bus = over the connection that the node keeps to the brain (its bus-urls), without an agent_url; cloudflared = to agent_url, by https through a tunnel that wants an access token"`
	AgentToken         string `json:"agent_token,omitempty" writeOnly:"true" doc:"what this node alone wants with orders (its op-key-file), 16 to 256 characters; absent: the key of all nodes; none takes it away; never returned"`
	AgentTokenSealed   string `json:"agent_token_sealed,omitempty" writeOnly:"true" doc:"never returned"`
	AccessClientID     string `json:"access_client_id,omitempty" doc:"of the access service token, sent as CF-Access-Client-Id; needed with cloudflared"`
	AccessClientSecret string `json:"access_client_secret,omitempty" writeOnly:"true" doc:"its secret, sent as CF-Access-Client-Secret; none takes it away; never returned"`
	AccessSecretSealed string `json:"access_secret_sealed,omitempty" writeOnly:"true" doc:"never returned"`
}

// Reach is how the brain's orders get to a node.
type Reach string

const (
	ReachDirect      Reach = "direct"
	ReachBus         Reach = "bus"
	ReachCloudflared Reach = "cloudflared"
)

// TakesOrders tells whether the brain has a way to the node at all.
func (r *Node) TakesOrders() bool { return r.AgentURL != "" || r.Reach == ReachBus }

// APIKey is a credential for /v1 and for node agents. Only a hash is kept; the key itself is shown once, when it is made.
type APIKey struct {
	ID        string  `json:"id" readOnly:"true"`
	AccountID string  `json:"account_id,omitempty" readOnly:"true" doc:"empty: a key of the platform itself"`
	Name      string  `json:"name" doc:"unique in the account"`
	Scopes    []Scope `json:"scopes" minItems:"1"`
	Hash      string  `json:"-"` // SHA-256 of the key, 64 hex digits; keys are 256 random bits, so no salt
	Node      string  `json:"node,omitempty" readOnly:"true" doc:"name of the only node that the key speaks for; the key has the scope node and no other; absent: for any"`
}

// Scope is a right of an API key.
type Scope string

const (
	ScopeConfigRead  Scope = "config:read"
	ScopeConfigWrite Scope = "config:write"
	ScopeCallsRead   Scope = "calls:read"
	ScopeCallsWrite  Scope = "calls:write" // release slots, set an agent's status
	ScopeKeys        Scope = "keys"        // make and delete keys, never one with more rights than its maker's
	ScopeAuditRead   Scope = "audit:read"  // read the audit log of the own account; a key with platform reads all of it
	ScopeNode        Scope = "node"        // platform keys only: /auth, /route, /presence/event, heartbeat
	ScopePlatform    Scope = "platform"    // platform keys only: accounts, nodes, and every account's resources
)

// Scopes lists every scope.
var Scopes = []Scope{ScopeConfigRead, ScopeConfigWrite, ScopeCallsRead, ScopeCallsWrite, ScopeKeys, ScopeAuditRead, ScopeNode, ScopePlatform}

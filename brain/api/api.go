// Package api holds the JSON of every endpoint that the node agent and the brain speak to each other:
// /auth, /route, /presence/event, /node/heartbeat, /calls. Requests are also taken as forms
// (application/x-www-form-urlencoded) with the same field names, because that is what Kamailio can
// build safely in one interpolation. docs/protocol.md is generated from these types.
package api

// Version of the protocol. A reply carries it; a node agent that meets a higher major refuses to start.
const Version = "1.0"

// Paths of the decision endpoints, the same on the node agent's door and on the brain.
const (
	PathAuth          = "/auth"
	PathRoute         = "/route"
	PathPresenceEvent = "/presence/event"
	PathHeartbeat     = "/node/heartbeat"
	PathCalls         = "/calls"
	PathHealth        = "/health"
)

// MaxBody bounds a decision request in bytes; longer is refused with 413 unread.
const MaxBody = 64 << 10

// Origin is what every question says about the SIP request it stands for. CallID, CSeq and Branch
// together are the idempotence key: the same question may be delivered twice.
type Origin struct {
	CallID     string `json:"call_id"`
	CSeq       string `json:"cseq"`
	Branch     string `json:"branch"` // branch parameter of the topmost Via
	Method     string `json:"method"`
	SourceIP   string `json:"source_ip"`
	SourcePort int    `json:"source_port"`
	Transport  string `json:"transport"` // udp, tcp, tls, ws, wss
	Node       string `json:"node,omitempty"`
	UserAgent  string `json:"user_agent,omitempty"`
	TimeMS     int64  `json:"time_ms,omitempty"` // epoch milliseconds at the edge when it asked, by the clock of its events and reports; 0 when it does not say
}

// Digest is the Authorization or Proxy-Authorization header of a request (RFC 8760, RFC 7616). The
// edge has already judged the nonce: it is of this node, fresh and not replayed.
type Digest struct {
	Username  string `json:"auth_username"`
	Realm     string `json:"auth_realm"`
	Nonce     string `json:"auth_nonce"`
	URI       string `json:"auth_uri"`
	Response  string `json:"auth_response"`
	Algorithm string `json:"auth_algorithm,omitempty"` // "" and MD5 mean MD5; SHA-256
	CNonce    string `json:"auth_cnonce,omitempty"`
	NC        string `json:"auth_nc,omitempty"`
	QOP       string `json:"auth_qop,omitempty"`
}

// AuthRequest asks whether a REGISTER comes from the device it names.
type AuthRequest struct {
	Origin
	Digest
	ToUser     string `json:"to_user"` // the address-of-record being registered
	ToDomain   string `json:"to_domain"`
	FromUser   string `json:"from_user"`
	FromDomain string `json:"from_domain"`
}

// Actions of a reply.
const (
	ActionAccept = "accept" // /auth: save the contact
	ActionProxy  = "proxy"  // /route: ring the routes
	ActionReject = "reject" // both: answer sip_code
	ActionDone   = "done"   // /refer: carried out here, answer 202
)

// AuthReply is the answer to AuthRequest: ActionAccept with the context the edge stores, or ActionReject.
type AuthReply struct {
	Action        string `json:"action"`
	AccountID     string `json:"account_id,omitempty"`
	UserID        string `json:"user_id,omitempty"`
	DeviceID      string `json:"device_id,omitempty"`
	AOR           string `json:"aor,omitempty"` // sip:… under which the contact is stored
	MaxContacts   int    `json:"max_contacts,omitempty"`
	ConfigVersion int64  `json:"config_version,omitempty"`
	Survival      bool   `json:"survival,omitempty"` // the door decided, from what it last heard of a brain
	Refusal
}

// Refusal is how a request is turned down. Why is for operators and never sent to the phone.
type Refusal struct {
	SIPCode       int    `json:"sip_code,omitempty"`
	Reason        string `json:"reason,omitempty"`
	RetryAfterSec int    `json:"retry_after_sec,omitempty"`
	Why           string `json:"why,omitempty"`
	Guard         string `json:"guard,omitempty"` // what the edge's guard counts against the sender: OffenceAuthFail when his credentials were not believed; "" = nothing
}

// RouteRequest asks where an INVITE outside a dialog goes. It carries the digest, so one question
// both authenticates the caller and routes the call.
type RouteRequest struct {
	Origin
	Digest
	FromUser   string `json:"from_user"`
	FromDomain string `json:"from_domain"`
	FromName   string `json:"from_name,omitempty"`
	ToUser     string `json:"to_user"`
	ToDomain   string `json:"to_domain"`
	RURI       string `json:"ruri"`
	RURIUser   string `json:"ruri_user"` // what was dialed
	RURIDomain string `json:"ruri_domain"`

	// Transaction is the edge's own name of the INVITE's transaction; no two that live have the same. "" when it does not say. A phone may
	// repeat all else of a question but this and TimeMS.
	Transaction string `json:"transaction,omitempty"`

	Peer        string `json:"peer,omitempty"`         // by the source address or the certificate: "" = a phone, which carries a digest; the Peer constants
	TLSName     string `json:"tls_name,omitempty"`     // trunk_tls: the name in its certificate
	Asserted    string `json:"asserted,omitempty"`     // trunk: user part of P-Asserted-Identity (RFC 3325), "" = none
	CalledParty string `json:"called_party,omitempty"` // trunk: user part of P-Called-Party-ID (RFC 7315 section 4.2), "" = none
	AccountID   string `json:"account_id,omitempty"`   // media: the account of the call that this leg belongs to
	Dial        string `json:"dial,omitempty"`         // media: KIND/ID of whom the leg is for

	CallerUserID string `json:"caller_user_id,omitempty"` // media: id of the user whose call the leg belongs to, "" = somebody else's
	Called       string `json:"called,omitempty"`         // media: the number that call was for

	Privacy   string `json:"privacy,omitempty"`   // Privacy header (RFC 3323), "" = none
	Diversion string `json:"diversion,omitempty"` // trunk: Diversion headers (RFC 5806), the newest first, "" = none or too long
	Diverted  int    `json:"diverted,omitempty"`  // trunk: how many Diversion and History-Info entries it came with; media: how often that call had been sent on
	Identity  string `json:"identity,omitempty"`  // trunk: topmost Identity header (RFC 8224), "" = none
	Down      string `json:"down,omitempty"`      // ids of trunks that do not answer this node, separated by commas; the door adds it
	Via       string `json:"via,omitempty"`       // ID=HOST:PORT|HOST:PORT… of trunks: where the registration went, or the targets of the proxy's name in the order to try them; separated by commas; the door adds it

	// What an earlier directive of the same call led to; all "" in its first question.
	At         string `json:"at,omitempty"`          // Route.Ask of the step that was reached, or CallInfo.At when a trunk failed
	FailedCode int    `json:"failed_code,omitempty"` // final response of the trunk's attempt, 408 when it said nothing; 401 and 407 with Challenge. Without Trunk that of the phones, 430 when none said anything
	Trunk      string `json:"trunk,omitempty"`       // id of the trunk of that attempt
	Targets    string `json:"targets,omitempty"`     // URI=CODE of the targets of that trunk which the edge has tried, separated by commas, when it had several
	Tried      string `json:"tried,omitempty"`       // ids of the trunks tried at At, that one included, separated by commas
	Challenge  string `json:"challenge,omitempty"`   // WWW- or Proxy-Authenticate headers of 401 and 407, separated by line feeds
	Answered   int    `json:"answered,omitempty"`    // how many challenges of that trunk have been answered
	Hops       int    `json:"hops,omitempty"`        // CallInfo.Hops of the last directive
}

// Peers that the edge knows by their source address, or by their certificate, and does not challenge before it has asked.
const (
	PeerTrunk    = "trunk"     // an address of some trunk's inbound_acl
	PeerTrunkTLS = "trunk_tls" // whoever has a certificate that the node's TLS_CA has signed; when it is no trunk's, the refusal is 407, and the edge challenges
	PeerMedia    = "media"     // the node's own media server
)

// RouteReply wraps the directive under the key Kamailio's rtjson module uses.
type RouteReply struct {
	RTJSON Directive `json:"rtjson"`
}

// Directive is what the edge does with a call. For ActionProxy the routes are walked step by step.
type Directive struct {
	Action        string    `json:"action"`
	Version       string    `json:"version,omitempty"`
	AccountID     string    `json:"account_id,omitempty"`
	ConfigVersion int64     `json:"config_version,omitempty"`
	Call          *CallInfo `json:"call,omitempty"`
	Routing       string    `json:"routing,omitempty"` // serial: steps one after the other; parallel: one step only
	Media         *Media    `json:"media,omitempty"`
	Routes        []Route   `json:"routes,omitempty"`
	Survival      bool      `json:"survival,omitempty"` // the door decided, from what it last heard of a brain
	Refusal
}

// CallInfo is what the edge remembers of the call as a whole.
type CallInfo struct {
	Direction      string `json:"direction"`        // internal, in, out
	Caller         string `json:"caller,omitempty"` // CallerTrunk: a trunk, whatever the direction; "" = a phone or the media server
	From           string `json:"from"`
	To             string `json:"to"`
	MaxDurationSec int    `json:"max_duration_sec"`
	Token          string `json:"token"`                 // [A-Za-z0-9]: written into Record-Route, names the call in every later message
	At             string `json:"at,omitempty"`          // asked with when a trunk of this directive fails: KIND/ID, [A-Za-z0-9_/+*#.-]
	Hops           int    `json:"hops,omitempty"`        // how many targets the call has been through
	Attempt        int    `json:"attempt,omitempty"`     // numbers the directives of a call, rising; 0 = the first. Its events say it again, see Event.Attempt
	Trunk          string `json:"trunk,omitempty"`       // id of the trunk that it goes out over, or came in by
	Verstat        string `json:"verstat,omitempty"`     // of a caller from outside (3GPP TS 24.229 section 7.2A.20)
	Attestation    string `json:"attestation,omitempty"` // A, B, C: what was signed, or verified
}

// CallerTrunk is CallInfo.Caller of a call that a trunk makes.
const CallerTrunk = "trunk"

// Media holds rtpengine's flag strings by what the receiver of an SDP speaks, and by who has sent it. The edge knows which
// branch is WebRTC by its transport (ws, wss) and passes the strings on without reading them.
type Media struct {
	ToRTP          string `json:"to_rtp"`           // offer or answer towards a plain RTP phone
	ToWebRTCOffer  string `json:"to_webrtc_offer"`  // offer towards a WebRTC phone
	ToWebRTCAnswer string `json:"to_webrtc_answer"` // answer towards a WebRTC phone

	// What is added to them by whose the SDP is: which RTP counts as his.
	FromPhone string `json:"from_phone"` // a phone's
	FromNAT   string `json:"from_nat"`   // a phone's that is behind NAT: its SDP has a private address, its packets come from a public one
	FromTrunk string `json:"from_trunk"` // a trunk's
	FromMedia string `json:"from_media"` // the media server's, with its own address
}

// Route is one branch. URI is an AOR that the edge looks up in its own location store. Routes with
// the same Step ring together; the step's timer and exits are those of its first route. A step that
// fails goes on at Busy or Noanswer, always a higher step; 0 ends the call with 486 or 480. A step with Ask, or with
// Trunk, has one route and no exits: what follows is asked with another question, see RouteRequest.At.
type Route struct {
	Step       int           `json:"step"`                   // from 1, rising
	URI        string        `json:"uri"`                    // "" with App and SIPCode
	App        string        `json:"app,omitempty"`          // instead of URI: the node's media server answers; KIND/ID for HeaderApp
	Vars       string        `json:"vars,omitempty"`         // with App: for HeaderVars
	FrInvTimer int           `json:"fr_inv_timer,omitempty"` // ring time in milliseconds
	Busy       int           `json:"busy,omitempty"`         // next step after 486, 600 or 603
	Noanswer   int           `json:"noanswer,omitempty"`     // next step after the timer, no contact, or any other failure
	SIPCode    int           `json:"sip_code,omitempty"`     // a step of one route without URI: answer this code instead of ringing
	Ask        string        `json:"ask,omitempty"`          // instead of URI: ask again with this At, then obey that directive
	Trunk      *RouteTrunk   `json:"trunk,omitempty"`        // URI is final and goes to a trunk
	Headers    *RouteHeaders `json:"headers,omitempty"`
}

// RouteTrunk is how a call goes out. A final response other than 2xx is told in another question.
type RouteTrunk struct {
	ID         string    `json:"id"`
	DstURI     string    `json:"dst_uri,omitempty"`     // next hop; "" = by URI
	Next       string    `json:"next,omitempty"`        // further next hops, separated by |: each is tried when the one before is silent, cannot be sent to or says 503
	Lookup     string    `json:"lookup,omitempty"`      // instead: AOR of a peer that registers here; URI's user is then what it is called with
	FrTimer    int       `json:"fr_timer"`              // milliseconds without any response, of each next hop
	ProgressMS int       `json:"progress_ms,omitempty"` // milliseconds until it rings (180 to 199); 0 = as long as it may ring
	ToTrunk    string    `json:"to_trunk"`              // rtpengine's flags of an offer to it
	Headers    string    `json:"headers,omitempty"`     // whole header lines for this attempt alone, each ended by CRLF
	From       *NameAddr `json:"from,omitempty"`        // From of this attempt
	To         string    `json:"to,omitempty"`          // To of this attempt, a URI
	Answer     string    `json:"answer,omitempty"`      // Authorization or Proxy-Authorization line of this attempt, ended by CRLF: the request repeats one that was challenged
}

// RouteHeaders are changes to the request, as in Kamailio's rtjson.
type RouteHeaders struct {
	From  *NameAddr `json:"from,omitempty"`
	Extra string    `json:"extra,omitempty"` // whole header lines, each ended by CRLF
}

// NameAddr is a display name and a URI. Display is already quoted and safe to write as it stands.
type NameAddr struct {
	Display string `json:"display"`
	URI     string `json:"uri"`
}

// Event types of /presence/event.
const (
	EventContactSaved   = "contact.saved"   // registered or refreshed
	EventContactRemoved = "contact.removed" // unregistered
	EventContactExpired = "contact.expired"
	EventDialogStart    = "dialog.start"  // answered and confirmed
	EventDialogEnd      = "dialog.end"    // ended after an answer
	EventDialogFailed   = "dialog.failed" // ended without an answer
)

// Event is one thing that happened at the edge. Seq rises by one within (node, boot).
type Event struct {
	Seq       int64  `json:"seq"`
	TimeMS    int64  `json:"time_ms"` // epoch milliseconds at the edge
	Type      string `json:"type"`
	AccountID string `json:"account_id,omitempty"`
	AOR       string `json:"aor,omitempty"`
	Contact   string `json:"contact,omitempty"`
	ExpiresS  int    `json:"expires_sec,omitempty"`
	SourceIP  string `json:"source_ip,omitempty"`
	Transport string `json:"transport,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	CallID    string `json:"call_id,omitempty"`
	Token     string `json:"token,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	SIPCode   int    `json:"sip_code,omitempty"`
	Trunk     string `json:"trunk,omitempty"`   // dialog events: id of the trunk that the call goes out over, or came in by
	Attempt   int    `json:"attempt,omitempty"` // dialog events: CallInfo.Attempt of the directive that the call went by, 0 = the first, or not known
	Targets   string `json:"targets,omitempty"` // dialog events: RouteRequest.Targets of the last attempt: what was tried before the trunk answered
	Count     int    `json:"count,omitempty"`   // events that this one stands for; 0 means 1
}

// EventBatch delivers events at least once and in order. Boot is a new value each time the edge
// loses its memory (Kamailio's start), after which Seq begins again.
type EventBatch struct {
	Node   string  `json:"node"`
	Boot   string  `json:"boot"`
	Events []Event `json:"events"`
}

// EventReply says up to which sequence number the brain has taken events of that boot.
type EventReply struct {
	LastSeq int64 `json:"last_seq"`
}

// Heartbeat is what a node agent says of its node every few seconds.
type Heartbeat struct {
	Node               string            `json:"node"`
	Protocol           string            `json:"protocol"`
	Versions           map[string]string `json:"versions,omitempty"` // kamailio, rtpengine, sipio-node
	Healthy            map[string]bool   `json:"healthy,omitempty"`  // kamailio, rtpengine answered their probe
	Dialogs            int               `json:"dialogs"`
	Contacts           int               `json:"contacts"`
	MediaSessions      int               `json:"media_sessions"`
	KernelForwarding   bool              `json:"kernel_forwarding"`
	SpooledEvents      int               `json:"spooled_events"`
	QueuedEvents       int               `json:"queued_events"` // in Kamailio's memory, not yet with the node agent; at 20,000 the oldest are being lost
	BreakerOpenedTotal int64             `json:"breaker_opened_total"`
	SurvivalAnswers    int64             `json:"survival_answers,omitempty"` // decisions of the door itself since its start
}

// HeartbeatReply tells a node agent which protocol the brain speaks, and what its edge must know by itself.
type HeartbeatReply struct {
	Version      string   `json:"version"`
	TrunkSources []string `json:"trunk_sources"` // addresses and networks whose calls are not challenged, sorted; null: not said, nothing changes
}

// Call is a live call in GET /calls.
type Call struct {
	CallID    string `json:"call_id"`
	AccountID string `json:"account_id"`
	Node      string `json:"node"`
	From      string `json:"from"`
	To        string `json:"to"`
	StartedMS int64  `json:"started_ms"` // epoch milliseconds of the answer
	Token     string `json:"token"`
}

// CallList is one page of live calls; Next is the cursor of the next page, "" on the last.
type CallList struct {
	Calls []Call `json:"calls"`
	Next  string `json:"next,omitempty"`
}

package api

// Paths of trunks.
const (
	PathNodeTrunks  = "/node/trunks"      // POST, node agents: what they found; the reply says which trunks to look after
	PathTrunkLease  = "/trunk/lease"      // POST, node agents: who registers us at which trunk
	PathTrunkAnswer = "/trunk/answer"     // POST, node agents: answer the challenge of a registrar
	PathTrunks      = "/trunks"           // GET: state of an account's trunks
	PathTrunkPing   = "/trunks/{id}/ping" // POST: every node pings it now
	PathChallenge   = "/challenge"        // POST, node agents: answer the challenge of a trunk inside a call that goes out over it
)

// Bounds of trunks at a node.
const (
	MaxNodeTrunks = 1000    // looked after by one node; the platform says so when there are more
	MaxNodeBody   = 1 << 20 // bytes of PathNodeTrunks and PathTrunkLease, question and reply
)

// States of a trunk as one node finds it.
const (
	TrunkUp      = "up"
	TrunkDown    = "down"
	TrunkUnknown = "unknown" // nothing was heard yet, or it is not pinged
)

// TrunkWatch is a trunk that a node looks after.
type TrunkWatch struct {
	ID        string `json:"id"`
	AccountID string `json:"account_id"`
	Name      string `json:"name"`
	URI       string `json:"uri"`                  // Request-URI of OPTIONS and REGISTER
	Proxy     string `json:"proxy"`                // host or host:port; without a port SRV records are followed
	Transport string `json:"transport"`            // udp, tcp, tls
	PingSec   int    `json:"ping_sec,omitempty"`   // 0 = it is not pinged
	AOR       string `json:"aor,omitempty"`        // to be registered: SIP URI of To and From; "" = not
	User      string `json:"user,omitempty"`       // user part of the Contact then
	ExpireSec int    `json:"expire_sec,omitempty"` // asked for
	Auth      bool   `json:"auth,omitempty"`       // challenges can be answered
}

// TrunkSeen is what a node says of a trunk.
type TrunkSeen struct {
	ID        string `json:"id"`
	State     string `json:"state"`                // TrunkUp, TrunkDown, TrunkUnknown
	SinceMS   int64  `json:"since_ms,omitempty"`   // epoch milliseconds at the node
	Code      int    `json:"code,omitempty"`       // of the last answer; 408 when there was none
	RTTMS     int    `json:"rtt_ms,omitempty"`     // of the last answered ping
	Target    string `json:"target,omitempty"`     // host:port that answered it
	Pings     int64  `json:"pings,omitempty"`      // since the node agent began
	Failed    int64  `json:"failed,omitempty"`     // of them, and of calls
	LastError string `json:"last_error,omitempty"` // of the last failed ping
}

// NodeTrunks is what a node tells every few seconds. Digest is of the list that it has.
type NodeTrunks struct {
	Node   string      `json:"node"`
	Digest string      `json:"digest,omitempty"`
	Trunks []TrunkSeen `json:"trunks"`
}

// NodeTrunksReply is the list of trunks to look after. Same: it is as Digest said, and not repeated.
type NodeTrunksReply struct {
	Digest string       `json:"digest"`
	Same   bool         `json:"same,omitempty"`
	Trunks []TrunkWatch `json:"trunks,omitempty"`
	SIP    string       `json:"sip,omitempty"` // the node's own SIP address, host or host:port: of the Contacts it registers
}

// TrunkAsk asks for, or renews, the right to register us at a trunk.
type TrunkAsk struct {
	TrunkID   string `json:"trunk_id"`
	AccountID string `json:"account_id"`
	Contact   string `json:"contact"`              // SIP URI that this node registers, or would
	Fence     int64  `json:"fence,omitempty"`      // of the lease that it has; 0 = it has none
	Target    string `json:"target,omitempty"`     // host:port that accepted the registration; "" = it is not registered
	ExpiresMS int64  `json:"expires_ms,omitempty"` // epoch milliseconds at the node
	LastError string `json:"last_error,omitempty"`
	Release   bool   `json:"release,omitempty"` // it gives the lease back
	Forget    bool   `json:"forget,omitempty"`  // with Release: nothing is registered there any more
}

// TrunkLeaseRequest is what a node asks once a second.
type TrunkLeaseRequest struct {
	Node string     `json:"node"`
	Asks []TrunkAsk `json:"asks"`
}

// TrunkLease says who registers us at a trunk.
type TrunkLease struct {
	TrunkID   string   `json:"trunk_id"`
	Node      string   `json:"node"`              // the holder; "" = nobody, or the trunk is not registered at
	Fence     int64    `json:"fence"`             // rises with each new holder
	LeaseMS   int      `json:"lease_ms"`          // how long it is the holder's, from when he asked
	Contact   string   `json:"contact,omitempty"` // the holder's
	Old       []string `json:"old,omitempty"`     // Contacts of earlier holders, to be removed by the next REGISTER
	Target    string   `json:"target,omitempty"`  // host:port where the registration stands: calls go there
	ExpiresMS int64    `json:"expires_ms,omitempty"`
	LastError string   `json:"last_error,omitempty"`
}

// TrunkLeaseReply answers TrunkLeaseRequest, in its order. Trunks whose account cannot be asked now are left out.
type TrunkLeaseReply struct {
	Leases []TrunkLease `json:"leases"`
}

// TrunkAnswerRequest wants a registrar's challenge answered. Only the holder of the lease gets an answer.
type TrunkAnswerRequest struct {
	Node       string   `json:"node"`
	TrunkID    string   `json:"trunk_id"`
	AccountID  string   `json:"account_id"`
	Fence      int64    `json:"fence"`
	Method     string   `json:"method"` // REGISTER
	URI        string   `json:"uri"`
	Challenges []string `json:"challenges"` // whole WWW- and Proxy-Authenticate headers, with their names
}

// TrunkAnswerReply holds the header line that answers, ended by CRLF.
type TrunkAnswerReply struct {
	Line string `json:"line"`
}

// ChallengeRequest wants a trunk's challenge answered to a request inside a call, a re-INVITE or a BYE for example. Of a call that begins
// RouteRequest asks it.
type ChallengeRequest struct {
	Origin
	FromUser   string `json:"from_user"`
	FromDomain string `json:"from_domain"`
	ToUser     string `json:"to_user"`
	ToDomain   string `json:"to_domain"`
	AccountID  string `json:"account_id"` // as the edge has signed it
	Trunk      string `json:"trunk"`      // id of the trunk that the call goes out over
	URI        string `json:"uri"`        // request URI as the trunk gets it
	Challenge  string `json:"challenge"`  // WWW- and Proxy-Authenticate headers, separated by line feeds
	Answered   int    `json:"answered,omitempty"`
}

// ChallengeReply is ActionAccept with the line that answers, or ActionReject: there is no password for it, or the last answer did not help.
type ChallengeReply struct {
	Action    string `json:"action"`
	AccountID string `json:"account_id,omitempty"`
	Answer    string `json:"answer,omitempty"` // Authorization or Proxy-Authorization line, ended by CRLF
	Refusal
}

// TrunkList is the answer of GET /trunks, by name.
type TrunkList struct {
	AccountID string       `json:"account_id"`
	Trunks    []TrunkState `json:"trunks"`
}

// TrunkState is what is known of a trunk now.
type TrunkState struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	Status       string      `json:"status"` // of the configuration
	Direction    string      `json:"direction"`
	Proxy        string      `json:"proxy,omitempty"`
	Register     bool        `json:"register,omitempty"`
	Registration *TrunkLease `json:"registration,omitempty"` // absent: nobody has registered yet
	Nodes        []TrunkNode `json:"nodes"`                  // that have told of it to this brain, by name

	InboundAuth string          `json:"inbound_auth,omitempty"` // of the configuration
	Peer        *DevicePresence `json:"peer,omitempty"`         // inbound_auth register: where it has registered here; absent: it has not
}

// TrunkNode is what one node says of a trunk.
type TrunkNode struct {
	Node  string `json:"node"`
	AgeMS int64  `json:"age_ms"` // how long ago
	TrunkSeen
}

// TrunkPinged is the answer of POST /trunks/{id}/ping.
type TrunkPinged struct {
	TrunkID string        `json:"trunk_id"`
	Nodes   []TrunkPonged `json:"nodes"`
}

// TrunkPonged is what one node's ping found. Error: the node could not be asked, or could not ping.
type TrunkPonged struct {
	Node  string     `json:"node"`
	Error string     `json:"error,omitempty"`
	Seen  *TrunkSeen `json:"seen,omitempty"`
}

// OpTrunkPing is the kind of an Op: ping TrunkID now.
const OpTrunkPing = "trunk_ping"

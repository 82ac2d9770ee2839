package api

// Paths of transfers.
const (
	PathTransfer = "/transfer" // POST TransferRequest: send the caller of a talk elsewhere
	PathRefer    = "/refer"    // POST ReferRequest, node agents: may a phone send the other one elsewhere?
)

// TransferBlind is the mode of a transfer in which nobody is asked first whether he takes the call.
const TransferBlind = "blind"

// Kinds of a TransferTarget. An id of users and queues may be their name.
const (
	TransferUser   = "user"
	TransferAgent  = "agent"  // as user
	TransferQueue  = "queue"  // it waits there as any caller
	TransferNumber = "number" // as it would be dialed inside the account
	TransferPSTN   = "pstn"   // a number outside
)

// TransferRequest sends the caller of a talk elsewhere. The media server must have the call: somebody of a queue, or of
// a flow's dial, is on the other side. The same request again within 15 seconds is answered alike and done once.
type TransferRequest struct {
	Token      string         `json:"token,omitempty"`   // of the caller's call, as GET /calls and GET /queues have it; or
	CallID     string         `json:"call_id,omitempty"` // of it
	FromUserID string         `json:"from_user_id"`      // who transfers: the user on the other side; his phone is hung up
	Target     TransferTarget `json:"target"`
	Mode       string         `json:"mode"` // blind
}

// TransferTarget is whom the caller gets.
type TransferTarget struct {
	Kind string `json:"kind"` // user, agent, queue, number, pstn
	ID   string `json:"id"`
}

// TransferReply says that the caller is on his way. One whose new side does not answer gets back to FromUserID once.
type TransferReply struct {
	Token      string         `json:"token"`
	FromUserID string         `json:"from_user_id"`
	Target     TransferTarget `json:"target"` // where he gets: kind and id of the resource
}

// NobodyTalks is what a node refuses an OpTransfer with when the caller talks to nobody (yet).
const NobodyTalks = "the caller talks to nobody"

// ReferRequest asks whether a phone may send the other phone of its call elsewhere (REFER, RFC 3515). Both are phones of the
// account: the edge declines all others by itself.
type ReferRequest struct {
	Origin
	FromUser   string `json:"from_user"` // user part of From: who sends the REFER
	FromDomain string `json:"from_domain"`
	ToUser     string `json:"to_user"`
	ToDomain   string `json:"to_domain"`
	AccountID  string `json:"account_id"` // as the edge has signed it, with the next
	Token      string `json:"token"`
	ReferTo    string `json:"refer_to"` // URI of Refer-To, with what is escaped in it
}

// ReferReply is ActionAccept, the REFER passes, or ActionReject.
type ReferReply struct {
	Action    string `json:"action"`
	AccountID string `json:"account_id,omitempty"`
	Refusal
}

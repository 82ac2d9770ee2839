package api

// Paths of transfers.
const (
	PathTransfer = "/transfer" // POST TransferRequest: send the caller of a talk elsewhere
	PathRefer    = "/refer"    // POST ReferRequest, node agents: may a phone send the other one elsewhere?
)

// Modes of a TransferRequest. In an attended transfer whoever transfers talks to the target first, while the caller hears
// music; it ends by one of the last three, or when one of them hangs up.
const (
	TransferBlind    = "blind"    // nobody is asked first whether he takes the call
	TransferAttended = "attended" // ring the target; again: how far that is
	TransferComplete = "complete" // the caller and the target talk, who transfers is let go
	TransferCancel   = "cancel"   // the target is let go, the caller is back
	TransferThreeWay = "3way"     // all three hear each other
)

// States of a TransferReply in the modes attended and 3way.
const (
	ConsultRinging = "ringing" // the target's phone
	ConsultTalking = "talking" // who transfers and the target; the caller hears music
	ConsultJoined  = "joined"  // all three
)

// Kinds of a TransferTarget. An id of users and queues may be their name.
const (
	TransferUser   = "user"
	TransferAgent  = "agent"  // as user
	TransferQueue  = "queue"  // it waits there as any caller
	TransferNumber = "number" // as it would be dialed inside the account
	TransferPSTN   = "pstn"   // a number outside
)

// Kinds of what the media server dials that no resource has, see CommandParams.DestKind. The number is E.164 with +.
const (
	DestPSTN     = TransferPSTN // NUMBER, for whoever the call belongs to
	DestTransfer = "transfer"   // USERID/NUMBER: the user sends the caller there
)

// TransferRequest sends the caller of a talk elsewhere. The media server must have the call: somebody of a queue, or of
// a flow's dial, is on the other side. The same blind request again within 15 seconds is answered alike and done once.
type TransferRequest struct {
	Token      string         `json:"token,omitempty"`   // of the caller's call, as GET /calls and GET /queues have it; or
	CallID     string         `json:"call_id,omitempty"` // of it
	FromUserID string         `json:"from_user_id"`      // who transfers: the user on the other side; his phone is hung up
	Target     TransferTarget `json:"target"`            // [blind, attended]
	Mode       string         `json:"mode"`              // blind, attended, complete, cancel, 3way

	LegID string `json:"-"` // Call-ID of the phone that transfers by its own key: nothing is done unless the caller talks to that one
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
	Target     TransferTarget `json:"target"`          // [blind, attended] where he gets: kind and id of the resource
	Mode       string         `json:"mode"`            // as asked
	State      string         `json:"state,omitempty"` // [attended, 3way] ringing, talking, joined
}

// Refusals of a node that are conflicts (409) for whoever asked.
const (
	NobodyTalks  = "the caller talks to nobody"
	NobodyAsked  = "nobody is asked to take the caller"
	AskedAlready = "somebody else is asked to take the caller already: cancel that first"
	NotAnswered  = "whom you asked to take the caller has not answered yet"
	AskedGone    = "whom you asked to take the caller has declined, did not answer or has gone"
)

// Sides of a ReferRequest.
const (
	ReferCallee = "callee" // the phone that the media server has called
	ReferCaller = "caller" // the phone whose call the media server has answered
)

// ReferRequest asks whether a phone may send the other side of its call elsewhere (REFER, RFC 3515): the other phone of the
// account, or the caller to whom the media server has connected it. The edge declines all others by itself.
type ReferRequest struct {
	Origin
	FromUser   string `json:"from_user"` // user part of From: who sends the REFER, by his own word
	FromDomain string `json:"from_domain"`
	ToUser     string `json:"to_user"`
	ToDomain   string `json:"to_domain"`
	AccountID  string `json:"account_id"` // as the edge has signed it, with the next
	Token      string `json:"token"`
	ReferTo    string `json:"refer_to"`         // URI of Refer-To, with what is escaped in it
	Side       string `json:"side,omitempty"`   // callee, caller: the media server is on the other side; "" = two phones
	Sender     string `json:"sender,omitempty"` // of two phones: caller or callee, by its tag; "" = the edge does not know
	Call       string `json:"call,omitempty"`   // [callee] token of the caller's call
	Dial       string `json:"dial,omitempty"`   // [callee] KIND/ID that the media server has called
	AOR        string `json:"aor,omitempty"`    // [callee] of the device that has answered; "" = the edge does not know
}

// ReferReply is ActionAccept, the REFER passes; ActionDone, the caller is on his way and the phone that sent it is hung up;
// or ActionReject.
type ReferReply struct {
	Action    string `json:"action"`
	AccountID string `json:"account_id,omitempty"`
	Refusal
}

package api

// Paths of calls that the platform answers itself.
const (
	PathFlow      = "/flow"       // POST, node agents: what shall I do with this call next?
	PathFlowAlive = "/flow/alive" // POST, node agents: the calls that a node's media server has
	PathMedia     = "/media/"     // GET, HEAD, PUT, node agents: one object, its key follows
	PathOp        = "/op"         // POST, on the node agent: do this now
)

// Headers by which Kamailio tells the node's media server, and so the node agent, what a call is about. No
// phone can set them: the edge removes X-Sipio-* from all that it relays.
const (
	HeaderCall    = "X-Sipio-Call"    // token of the call
	HeaderAccount = "X-Sipio-Account" // account id
	HeaderApp     = "X-Sipio-App"     // route target: KIND/ID, ID may be empty
	HeaderVars    = "X-Sipio-Vars"    // what the route knows: a form (application/x-www-form-urlencoded) in base64url without padding, at most MaxVars bytes; FreeSWITCH hands a value on decoded that looks URL-encoded, so a form as it stands would let a caller's name bring in variables
	HeaderDial    = "X-Sipio-Dial"    // on a leg that the media server makes: KIND/ID that it is for
	HeaderCaller  = "X-Sipio-Caller"  // on such a leg: id of the user whose call it belongs to, absent for others
	HeaderCalled  = "X-Sipio-Called"  // on such a leg: the number that call was for
	HeaderSentOn  = "X-Sipio-Sent-On" // on such a leg: how often that call had been sent on before it came here, absent for never
)

// HeaderSHA256 is the sum of an object's content in a reply or a request of /media/, as 64 hex digits.
const HeaderSHA256 = "X-Sipio-Sha256"

// MaxVars bounds HeaderVars in bytes.
const MaxVars = 2048

// FlowRequest reports what became of a command, or, with Outcome "", asks for the current one: at the
// start of a call, and after the node agent lost what it knew.
type FlowRequest struct {
	AccountID string            `json:"account_id"`
	Token     string            `json:"token"`
	CallID    string            `json:"call_id,omitempty"`
	Node      string            `json:"node"`
	Seq       int64             `json:"seq"`               // of the command that ended; 0 with Outcome ""
	Outcome   string            `json:"outcome,omitempty"` // see the Outcome constants
	Data      map[string]string `json:"data,omitempty"`
	Start     *FlowStart        `json:"start,omitempty"` // with Outcome "": makes the session if there is none
}

// FlowStart is what a call begins with.
type FlowStart struct {
	TargetKind string            `json:"target_kind"` // as in a route target: flow, voicemail, conference, user …
	TargetID   string            `json:"target_id,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`
	Channel    string            `json:"channel"` // FreeSWITCH's Unique-ID
}

// FlowReply is the one command to carry out now. The same step sent again gets the same reply.
type FlowReply struct {
	Seq     int64         `json:"seq"`
	Command string        `json:"command"`
	Params  CommandParams `json:"params"`
}

// Commands of a FlowReply.
const (
	CommandPlay       = "play"
	CommandGather     = "gather"
	CommandDial       = "dial"
	CommandRecord     = "record"
	CommandConference = "conference"
	CommandEnqueue    = "enqueue"
	CommandHangup     = "hangup"
	CommandNoop       = "noop" // nothing more: the caller has gone
)

// Outcomes of a FlowRequest, by command. Data in brackets.
const (
	OutcomeDone     = "done"      // play: heard to its end
	OutcomeDigit    = "digit"     // play: a digit of BargeIn [digit]
	OutcomeDigits   = "digits"    // gather [digits, terminator]: MinDigits or more
	OutcomeTimeout  = "timeout"   // gather [digits]: fewer than MinDigits in time
	OutcomeAnswered = "answered"  // dial [duration_ms]: and the other side has hung up since
	OutcomeBusy     = "busy"      // dial
	OutcomeNoAnswer = "no_answer" // dial: TimeoutMS passed, or nobody was there
	OutcomeFailed   = "failed"    // dial [sip_code]; any command that could not be carried out [reason]
	OutcomeRecorded = "recorded"  // record [key, duration_ms, bytes, sha256, ended_by: silence digit max hangup]: the object is stored
	OutcomeLeft     = "left"      // conference: the caller left by himself or was kicked [reason]
	OutcomeEnded    = "ended"     // conference: it was ended
	OutcomeDenied   = "denied"    // conference [reason: locked full]
	OutcomeExit     = "exit"      // enqueue [exit]: an op told so; answered [talk_ms]: he and an agent have talked; digit: a key of BargeIn
	OutcomeHangup   = "hangup"    // any: the caller hung up [cause, talk_ms: he and an agent of a queue have talked, and what recorded has]
	OutcomeLost     = "lost"      // any: the media server is gone [reason]
)

// Data of an answered dial and of the exit "answered" of enqueue when whom OpConsult rang is there and waits for the caller:
// his leg, and of the Consult the target and who asked.
const (
	DataConsulted     = "consulted"
	DataConsultedKind = "consulted_kind"
	DataConsultedID   = "consulted_id"
	DataConsultedBy   = "consulted_by"
)

// MediaRef names an object of the media store.
type MediaRef struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256"` // 64 hex digits: what the node's copy is held against
	Bytes  int64  `json:"bytes"`
}

// CommandParams are plain values; which of them a command has is said in brackets.
type CommandParams struct {
	Files        []MediaRef `json:"files,omitempty"`          // [play gather] one after the other
	Loops        int        `json:"loops,omitempty"`          // [play] 0 and 1 = once, -1 = until something else comes
	BargeIn      string     `json:"barge_in,omitempty"`       // [play gather] digits that stop the files
	MinDigits    int        `json:"min_digits,omitempty"`     // [gather]
	MaxDigits    int        `json:"max_digits,omitempty"`     // [gather]
	Terminators  string     `json:"terminators,omitempty"`    // [gather record]
	TimeoutMS    int        `json:"timeout_ms,omitempty"`     // [gather] for the first digit, from the end of the files; [dial] how long it rings
	InterDigitMS int        `json:"inter_digit_ms,omitempty"` // [gather]
	Secret       bool       `json:"secret,omitempty"`         // [gather] the digits are never logged

	DestKind     string `json:"dest_kind,omitempty"` // [dial] user, extension, ring_group, forward, number, DestPSTN, DestTransfer
	DestID       string `json:"dest_id,omitempty"`
	ConfirmKey   string `json:"confirm_key,omitempty"`   // [dial] who answers hears Files and is connected when he presses it; "" = at once
	Join         string `json:"join,omitempty"`          // [dial] the leg DataConsulted: it is connected, nobody is called
	CallerNumber string `json:"caller_number,omitempty"` // [dial] "" = the caller's own
	CallerName   string `json:"caller_name,omitempty"`

	Key       string `json:"key,omitempty"`        // [record] where it is stored; [dial conference] where the recording is, "" = none
	MaxMS     int    `json:"max_ms,omitempty"`     // [record]
	SilenceMS int    `json:"silence_ms,omitempty"` // [record] ends it; 0 = no
	Beep      bool   `json:"beep,omitempty"`       // [record] before it

	Room           string     `json:"room,omitempty"` // [conference] unique platform-wide: ACCOUNT-CONFERENCE
	Moderator      bool       `json:"moderator,omitempty"`
	MaxMembers     int        `json:"max_members,omitempty"`     // 0 = no limit
	WaitModerator  bool       `json:"wait_moderator,omitempty"`  // members hear music until a moderator is there
	AnnounceMember bool       `json:"announce_member,omitempty"` // a tone when somebody joins or leaves
	MusicKey       string     `json:"music_key,omitempty"`       // [dial conference] what is heard while waiting; "" = ringback, or the platform's music
	SIPCode        int        `json:"sip_code,omitempty"`        // [hangup] of a call not answered yet; 0 = by Cause
	Cause          string     `json:"cause,omitempty"`           // [hangup] FreeSWITCH's name, NORMAL_CLEARING when ""
	Reason         string     `json:"reason,omitempty"`          // [hangup] for operators
	EntryID        string     `json:"entry_id,omitempty"`        // [enqueue] the caller's place; MusicKey, Files (a playlist) and Loops say what he hears, BargeIn which keys end it
	Dispatches     []Dispatch `json:"dispatches,omitempty"`      // [enqueue] agents to be rung at once
	NoAnswer       bool       `json:"no_answer,omitempty"`       // [play gather dial] do not answer the caller for it: early media
}

// FlowAlive lists the calls of a node's media server. Sessions that no node has named for SessionLeaseSec end.
type FlowAlive struct {
	Node  string      `json:"node"`
	Calls []AliveCall `json:"calls"`
}

// AliveCall is one of them.
type AliveCall struct {
	AccountID string `json:"account_id"`
	Token     string `json:"token"`
}

// SessionLeaseSec is how long a session lives without a word of its node. Then it lapses; a report of the same channel
// within an hour revives it.
const SessionLeaseSec = 60

// Op is something that a node shall do now. The same id is done once and answered alike, whenever it was sent. What was sent longer
// than OpWindowMS ago, or before what the node has forgotten, is not done: it is somebody's copy of an old one.
type Op struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	TimeMS int64  `json:"time_ms"`          // when it was sent, epoch milliseconds of the brain; another try has another
	Token  string `json:"token,omitempty"`  // recording, hangup: the call
	Action string `json:"action,omitempty"` // recording: start stop pause resume; conference: list mute unmute kick lock unlock
	Room   string `json:"room,omitempty"`   // conference
	Member string `json:"member,omitempty"` // conference: member id; "" = all of them (mute, unmute, kick)
	AOR    string `json:"aor,omitempty"`    // mwi: the device's
	New    int    `json:"new,omitempty"`    // mwi: messages not heard yet
	Old    int    `json:"old,omitempty"`    // mwi: messages heard
	Key    string `json:"key,omitempty"`    // recording start

	EntryID  string     `json:"entry_id,omitempty"` // dispatch, rescind, position, exit: the caller's place; Token is his call
	Dispatch *Dispatch  `json:"dispatch,omitempty"` // dispatch; rescind: its ReservationID and Fence
	Why      string     `json:"why,omitempty"`      // rescind: caller_gone, lost, agent_gone, lease
	Files    []MediaRef `json:"files,omitempty"`    // position: what he hears
	Outcome  string     `json:"outcome,omitempty"`  // exit: of the command enqueue
	UserID   string     `json:"user_id,omitempty"`  // listen, whisper, barge, leave: the supervisor
	Seq      int64      `json:"seq,omitempty"`      // transfer, consult, 3way, return, complete: of the command in which the caller talks
	LegID    string     `json:"leg_id,omitempty"`   // transfer: Call-ID of the leg that is to be hung up; "" = whichever he talks to
	Consult  *Consult   `json:"consult,omitempty"`  // consult

	Callback *CallbackCall `json:"callback,omitempty"` // callback; Token is of the call to be made, EntryID the place
	CallID   string        `json:"call_id,omitempty"`  // end: of the dialog
	TrunkID  string        `json:"trunk_id,omitempty"` // trunk_ping
	Guard    *GuardOrder   `json:"guard,omitempty"`    // ban
}

// OpWindowMS is how far the clocks of brain and node, and the time on the way, may put an op's time from the node's, in milliseconds.
const OpWindowMS = 120_000

// Headers of the access token that the edge of a tunnel, or a node behind one, wants with each op.
const (
	HeaderAccessID     = "CF-Access-Client-Id"
	HeaderAccessSecret = "CF-Access-Client-Secret"
)

// OpSubject is where a node hears orders on the bus: the body and the headers of PathOp. Its reply has the status in HeaderOpStatus.
func OpSubject(node string) string { return "node." + node + ".op" }

// HeaderOpStatus is the status of a reply on the bus, as HTTP has it.
const HeaderOpStatus = "Sipio-Status"

// Kinds of an Op.
const (
	OpMWI        = "mwi"
	OpConference = "conference"
	OpRecording  = "recording"
	OpHangup     = "hangup"
	OpEnd        = "end" // a call that the edge proxies: both ends get a BYE
)

// OpReply says what happened. OK false with an Error that operators can read means that nothing changed.
type OpReply struct {
	ID      string             `json:"id"`
	OK      bool               `json:"ok"`
	Error   string             `json:"error,omitempty"`
	State   string             `json:"state,omitempty"`   // consult, 3way: a Consult constant
	Members []ConferenceMember `json:"members,omitempty"` // conference list
	Locked  bool               `json:"locked,omitempty"`  // conference list
	Trunk   *TrunkSeen         `json:"trunk,omitempty"`   // trunk_ping
}

// Consult is whom the other side of a caller's talk is to talk to before he gets the caller.
type Consult struct {
	DestKind string     `json:"dest_kind"` // as CommandParams has it
	DestID   string     `json:"dest_id"`
	UserID   string     `json:"user_id"` // who asks him
	Number   string     `json:"number"`  // what the phone shows
	Name     string     `json:"name,omitempty"`
	Music    []MediaRef `json:"music,omitempty"` // what the caller hears meanwhile, one file over and over; none = the platform's
}

// ConferenceMember is one party of a conference.
type ConferenceMember struct {
	ID        string `json:"id"`
	Token     string `json:"token,omitempty"`
	Number    string `json:"number,omitempty"`
	Name      string `json:"name,omitempty"`
	Muted     bool   `json:"muted"`
	Moderator bool   `json:"moderator"`
	JoinedMS  int64  `json:"joined_ms,omitempty"`
}

// Paths on which operators reach calls that the platform answers.
const (
	PathConference = "/conference" // GET: who is in a room; POST ConferenceRequest
	PathRecording  = "/recording"  // POST RecordingRequest
)

// ConferenceState is a room as its node sees it. Node is "" when nobody is in it.
type ConferenceState struct {
	ConferenceID string             `json:"conference_id"`
	Name         string             `json:"name"`
	Node         string             `json:"node,omitempty"`
	Locked       bool               `json:"locked"`
	Members      []ConferenceMember `json:"members"`
}

// ConferenceRequest changes a room.
type ConferenceRequest struct {
	ConferenceID string `json:"conference_id"`
	Action       string `json:"action"`           // mute, unmute, kick, lock, unlock
	Member       string `json:"member,omitempty"` // "" = everybody (mute, unmute, kick)
}

// RecordingRequest changes the recording of a call.
type RecordingRequest struct {
	Token  string `json:"token"`  // of the call, as GET /calls has it
	Action string `json:"action"` // start, stop, pause, resume
}

// RecordingReply says where the recording will be.
type RecordingReply struct {
	Key string `json:"key,omitempty"` // of the media store; "" when it was known before
}

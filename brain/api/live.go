package api

// Paths of live state.
const (
	PathDialogs        = "/node/dialogs"    // POST, node agents: the complete list of a node's live dialogs
	PathSurvival       = "/survival"        // POST, node agents: what the door needs to answer without a brain
	PathCAC            = "/cac"             // GET: slots and usage
	PathCACReset       = "/cac/reset"       // POST: release slots by hand
	PathPresence       = "/presence"        // GET: devices, users, calls of an account
	PathPresenceStream = "/presence/stream" // GET: server-sent events, resumable by Last-Event-ID
	PathAgent          = "/agent"           // POST: what an agent wants
)

// MaxReport bounds the body of a dialog report in bytes: 100,000 dialogs with room to spare.
const MaxReport = 32 << 20

// DialogReport is the complete list of live dialogs of a node, in light form. A report that is not
// complete is never sent, and one whose Count differs from its list is refused: what a report does not
// list is taken as absent.
type DialogReport struct {
	Node    string   `json:"node"`
	Boot    string   `json:"boot"`     // of Kamailio, as in EventBatch
	BootMS  int64    `json:"boot_ms"`  // epoch milliseconds at the node, the end of the second in which that life began: what was asked earlier may be unknown to Kamailio
	Seq     int64    `json:"seq"`      // rises by one within (node, boot of the node agent); begins at the agent's start time in milliseconds
	TakenMS int64    `json:"taken_ms"` // epoch milliseconds at the node when the list was begun
	Count   int      `json:"count"`    // of Dialogs
	Dialogs []Dialog `json:"dialogs"`  // Kamailio's, and calls of its earlier lives whose media sessions live
}

// Dialog is a live dialog in light form.
type Dialog struct {
	AccountID string `json:"account_id"`
	Token     string `json:"token"`
	CallID    string `json:"call_id"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	SinceMS   int64  `json:"since_ms"` // epoch milliseconds at the node when it began, to the second
}

// DialogReportReply says that a report was taken.
type DialogReportReply struct {
	Seq int64 `json:"seq"`
}

// EventSurvival is a decision that the door gave by itself while no brain could be asked.
const EventSurvival = "decision.survival"

// Delta types of /presence/stream.
const (
	DeltaDevice = "device" // a device's registration changed
	DeltaCall   = "call"   // a call began, was answered or ended
	DeltaAgent  = "agent"  // one of an agent's signals changed
	DeltaQueue  = "queue"  // a caller has left a queue
	DeltaLimit  = "limit"  // a soft call_limit was passed
)

// Delta is one change of an account's live state. Fields that do not belong to the type are empty.
type Delta struct {
	Type      string `json:"type"`
	TimeMS    int64  `json:"time_ms"` // epoch milliseconds of the brain
	UserID    string `json:"user_id,omitempty"`
	DeviceID  string `json:"device_id,omitempty"`
	AOR       string `json:"aor,omitempty"`
	Reachable bool   `json:"reachable"`          // device, agent: a live registration
	Contacts  int    `json:"contacts,omitempty"` // device
	Token     string `json:"token,omitempty"`    // call
	CallID    string `json:"call_id,omitempty"`
	Node      string `json:"node,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	CallState string `json:"call_state,omitempty"` // admitted, answered, ended
	Why       string `json:"why,omitempty"`        // of an end: dialog.end, dialog.failed, absent, lease, reset, abandoned; queue: how the caller left it
	Status    string `json:"status,omitempty"`     // agent: offline, available, on_break
	State     string `json:"state,omitempty"`      // agent: waiting, offering, in_call, wrap_up
	Bucket    string `json:"bucket,omitempty"`     // agent: extcall, incall, offline, unreachable, ring, paused, wrapup, idle, ready
	Reason    string `json:"reason,omitempty"`     // agent: of a break
	LimitID   string `json:"limit_id,omitempty"`
	QueueID   string `json:"queue_id,omitempty"` // queue; agent: whose caller it is rung for, serves or has served
	EntryID   string `json:"entry_id,omitempty"` // queue; agent: that caller
}

// Slot is one admitted call in GET /cac.
type Slot struct {
	Token      string `json:"token"`
	CallID     string `json:"call_id"`
	Node       string `json:"node"`
	AdmittedMS int64  `json:"admitted_ms"`
	AnsweredMS int64  `json:"answered_ms,omitempty"`
	LeaseMS    int64  `json:"lease_ms"` // epoch milliseconds when it runs out unless renewed
	Emergency  bool   `json:"emergency,omitempty"`
	Takes      []Take `json:"takes"`
}

// Take names one dimension and its limit; 0 = counted only.
type Take struct {
	Dimension string `json:"dimension"` // in, out, internal, dialer, user, did, trunk, node, limit, trunk_rate
	ID        string `json:"id,omitempty"`
	Limit     int    `json:"limit,omitempty"`
}

// Usage is how much of a dimension is taken.
type Usage struct {
	Dimension string `json:"dimension"`
	ID        string `json:"id,omitempty"`
	Used      int    `json:"used"`
	Limit     int    `json:"limit,omitempty"` // as of the last admission that took it
}

// CACState is the answer of GET /cac.
type CACState struct {
	AccountID string  `json:"account_id"`
	Usage     []Usage `json:"usage"`
	Slots     []Slot  `json:"slots"`
}

// PresenceState is the answer of GET /presence.
type PresenceState struct {
	AccountID string           `json:"account_id"`
	Devices   []DevicePresence `json:"devices"`
	Users     []UserPresence   `json:"users"`
}

// DevicePresence is one device with a live registration.
type DevicePresence struct {
	AOR      string `json:"aor"`
	DeviceID string `json:"device_id,omitempty"`
	UserID   string `json:"user_id,omitempty"`
	Contacts int    `json:"contacts"`
	Node     string `json:"node,omitempty"` // of the newest contact
}

// UserPresence is what is known of one user: the three agent signals and the bucket people look at.
type UserPresence struct {
	UserID    string `json:"user_id"`
	Reachable bool   `json:"reachable"`
	Calls     int    `json:"calls"`
	Status    string `json:"status"`
	State     string `json:"state"`
	Reason    string `json:"reason,omitempty"`
	Bucket    string `json:"bucket"`
}

package api

// Paths of queues and agents, beside PathAgent.
const (
	PathAgents       = "/agents"        // GET: the agents of an account
	PathQueues       = "/queues"        // GET: the queues of an account, who waits, figures
	PathAgentClaim   = "/agent/claim"   // POST Claim, node agents: the agent has answered, may the two talk?
	PathAgentConfirm = "/agent/confirm" // POST Claim, node agents: they talk
	PathAgentMiss    = "/agent/miss"    // POST Claim, node agents: the agent was not reached
)

// Kinds of an Op about a caller in a queue.
const (
	OpDispatch = "dispatch" // ring an agent for him
	OpRescind  = "rescind"  // stop ringing
	OpPosition = "position" // tell him his place
	OpExit     = "exit"     // end his waiting, with an outcome
	OpCallback = "callback" // call somebody who keeps his place; when he takes the call, it is a call in the queue
	OpTransfer = "transfer" // end his talk on the other side: he goes where his session says
	OpConsult  = "consult"  // ring somebody who then talks to the other side, while he hears music
	OpThreeWay = "3way"     // let the three of them hear each other
	OpReturn   = "return"   // let go who was rung: the two talk as before
	OpComplete = "complete" // as transfer, but only if whom consult rang has answered: he waits for the caller then

	// A supervisor, UserID, is rung and then hears a talk: only that; and the agent hears him; and both hear him.
	OpListen  = "listen"
	OpWhisper = "whisper"
	OpBarge   = "barge"
	OpLeave   = "leave" // the supervisor is let go
)

// NoSuchCaller is what a node refuses such an Op with when it does not have its caller: he has gone, or is not there yet.
const NoSuchCaller = "no such caller"

// Dispatch is an agent to be rung for a caller who waits.
type Dispatch struct {
	ReservationID string     `json:"reservation_id"`
	Fence         int64      `json:"fence"`
	UserID        string     `json:"user_id"`
	RingMS        int64      `json:"ring_ms"`  // 0 = until the lease ends
	LeaseMS       int64      `json:"lease_ms"` // from now: the claim is lost later; 0 = it is too late, nobody is rung
	Confirm       bool       `json:"confirm,omitempty"`
	Whisper       []MediaRef `json:"whisper,omitempty"` // the agent hears it before the claim
	CallerNumber  string     `json:"caller_number,omitempty"`
	CallerName    string     `json:"caller_name,omitempty"`
	Release       bool       `json:"release,omitempty"` // the talk may leave the media server
	RecordKey     string     `json:"record_key,omitempty"`
}

// Claim names a reservation. Cause is for PathAgentMiss: no_answer, busy, declined, unreachable, failed; caller: he did not take a callback.
type Claim struct {
	AccountID     string `json:"account_id"`
	ReservationID string `json:"reservation_id"`
	Fence         int64  `json:"fence"`
	Cause         string `json:"cause,omitempty"`
}

// ClaimReply says whether the reservation holds; Why when it does not: unknown, fence, lease, caller_gone, lost, agent_gone.
type ClaimReply struct {
	Granted bool   `json:"granted"`
	Why     string `json:"why,omitempty"`
}

// CallbackCall is a call to be made to somebody who keeps his place.
type CallbackCall struct {
	AccountID     string `json:"account_id"`
	ReservationID string `json:"reservation_id"` // of the agent who is there for him
	Fence         int64  `json:"fence"`
	QueueID       string `json:"queue_id"`
	Number        string `json:"number"`    // as it would be dialed inside the account
	RingMS        int64  `json:"ring_ms"`   // his phone
	AcceptMS      int64  `json:"accept_ms"` // from the answer until he has taken the call
	Label         string `json:"label,omitempty"`
	CallerName    string `json:"caller_name,omitempty"`
	FromNumber    string `json:"from_number,omitempty"` // his phone shows it; "" = withheld
	FromName      string `json:"from_name,omitempty"`
}

// AgentRequest changes what an agent wants.
type AgentRequest struct {
	UserID  string `json:"user_id"`
	Action  string `json:"action"`             // login, logout, available, break, wrapup_end, queue_join, queue_leave
	Reason  string `json:"reason,omitempty"`   // break
	QueueID string `json:"queue_id,omitempty"` // queue_join, queue_leave
}

// AgentState is one agent as people look at it.
type AgentState struct {
	UserID    string   `json:"user_id"`
	Username  string   `json:"username,omitempty"`
	Name      string   `json:"name,omitempty"`
	Status    string   `json:"status"`
	Reason    string   `json:"reason,omitempty"`
	State     string   `json:"state"`
	Reachable bool     `json:"reachable"`
	Bucket    string   `json:"bucket"`
	SinceMS   int64    `json:"since_ms"` // of the bucket, epoch milliseconds
	Queues    []string `json:"queues"`   // ids of those it is signed in to
	QueueID   string   `json:"queue_id,omitempty"`
	EntryID   string   `json:"entry_id,omitempty"` // that it serves or is rung for
	Figures   Figures  `json:"figures"`            // today's intervals, see QueueState
}

// QueueState is one queue as people look at it.
type QueueState struct {
	QueueID      string        `json:"queue_id"`
	Name         string        `json:"name"`
	Waiting      int           `json:"waiting"`
	Served       int           `json:"served"`
	LongestMS    int64         `json:"longest_ms"` // wait of the first now
	EWTMS        int64         `json:"ewt_ms"`     // of one who would join now; -1 = unknown
	AgentsSigned int           `json:"agents_signed"`
	AgentsReady  int           `json:"agents_ready"`
	Entries      []QueueCaller `json:"entries,omitempty"`
	Figures      Figures       `json:"figures"`
}

// QueueCaller is one caller in a queue, in the order in which they would be served.
type QueueCaller struct {
	EntryID      string `json:"entry_id"`
	Token        string `json:"token"`
	Node         string `json:"node"` // that has the call
	CallerNumber string `json:"caller_number,omitempty"`
	CallerName   string `json:"caller_name,omitempty"`
	State        string `json:"state"`              // waiting, offering, in_call, leaving, calling: a callback that is being made
	Callback     bool   `json:"callback,omitempty"` // he has hung up, and is called when it is his turn
	Priority     int    `json:"priority"`
	Position     int    `json:"position,omitempty"`
	EnqueuedMS   int64  `json:"enqueued_ms"`
	UserID       string `json:"user_id,omitempty"`
}

// Figures are those of a period: the quarter hours that FromMS and ToMS of the question touch, the last 24 hours by
// default. Means are in milliseconds, ratios from 0 to 1; absent when nothing is known.
type Figures struct {
	Offered        int64    `json:"offered"`
	Answered       int64    `json:"answered"`
	Abandoned      int64    `json:"abandoned"`
	ShortAbandon   int64    `json:"short_abandoned"`
	TimedOut       int64    `json:"timed_out"`
	Overflowed     int64    `json:"overflowed"`
	OptionOut      int64    `json:"option"`
	Sent           int64    `json:"sent"`            // elsewhere, by a supervisor
	CallbackFailed int64    `json:"callback_failed"` // who kept their place and could not be served: called in vain, or their window was over
	Missed         int64    `json:"missed"`
	AbandonRate    *float64 `json:"abandon_rate,omitempty"`  // abandoned ÷ offered
	ASAMS          *float64 `json:"asa_ms,omitempty"`        // mean wait of the answered
	AHTMS          *float64 `json:"aht_ms,omitempty"`        // mean of talk and wrap-up of the answered
	ServiceLevel   *float64 `json:"service_level,omitempty"` // answered in time ÷ offered
	Occupancy      *float64 `json:"occupancy,omitempty"`     // (talk + wrap-up) ÷ (talk + wrap-up + ready)
	Utilization    *float64 `json:"utilization,omitempty"`   // (talk + wrap-up) ÷ signed in
}

// QueueList is the answer of GET PathQueues, AgentList that of GET PathAgents.
type QueueList struct {
	Queues []QueueState `json:"queues"`
}

// AgentList lists agents by username.
type AgentList struct {
	Agents []AgentState `json:"agents"`
}

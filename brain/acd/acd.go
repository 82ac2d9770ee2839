// Package acd is the queues of one account: who waits, who serves, who rings for whom. It is part of the live
// state of an account (brain/presence), so that eligibility is tested in the step that reserves.
//
// A caller's place in a queue is an entry. An eligible agent and a waiting entry become a reservation, with a
// fence that only rises. Whatever follows from it carries both: the dispatch that has a node ring the agent, the
// claim of the agent who answered, the confirm once the two are bridged. An old fence changes nothing.
package acd

// Strategies of a queue: which of the agents of the open tiers is next.
const (
	LongestIdle   = "longest_idle"
	RoundRobin    = "round_robin"
	RingAll       = "ring_all"
	TopDown       = "top_down"
	FewestCalls   = "fewest_calls"
	LeastTalkTime = "least_talk_time"
	Random        = "random"
)

// What an agent wants (status), and does (state).
const (
	StatusOffline   = "offline"
	StatusAvailable = "available"
	StatusOnBreak   = "on_break"

	StateWaiting  = "waiting"
	StateOffering = "offering"
	StateInCall   = "in_call"
	StateWrapUp   = "wrap_up"
)

// What people look at, the first that holds.
const (
	BucketExtCall     = "extcall"
	BucketInCall      = "incall"
	BucketOffline     = "offline"
	BucketUnreachable = "unreachable"
	BucketRing        = "ring"
	BucketPaused      = "paused"
	BucketWrapUp      = "wrapup"
	BucketIdle        = "idle"  // available, and signed in to no queue
	BucketReady       = "ready" // waits for a call
)

// Reasons of a break that the platform gives.
const (
	ReasonLogin       = "login"        // signed in and not yet available
	ReasonMissedCalls = "missed_calls" // max_no_answer misses in a row
)

// Setup is what the configuration says of the account's queues and agents. It is journalled, so that a replay
// decides as the owner did.
type Setup struct {
	Version int64 // of the configuration; an older one than the desk has changes nothing
	Queues  []Queue
	Agents  []Agent
}

// Queue is a queue as the desk needs it. Times in milliseconds; 0 = none unless said otherwise.
type Queue struct {
	ID, Name         string
	Strategy         string
	RingMS           int64 // agent_ring_timeout
	MaxWaitMS        int64
	WrapUpMS         int64
	MaxNoAnswer      int // 0 = off
	MaxQueued        int // -1 = no limit
	EWTThresholdMS   int64
	EWTAHTMS         int64 // floor of the mean handling time
	TierEscalationMS int64 // 0 = the next tier only when no agent of the lower ones is signed in
	PriorityAgeMS    int64 // waiting so long is worth one level of priority; 0 = nothing
	StickyMS         int64
	ServiceLevelMS   int64
	SkillRelax       []Relax
	Announce         bool  // the position, as it changes
	AnnounceEWT      bool  // with the expected wait
	AnnounceFirstMS  int64 // after joining
	AnnounceEveryMS  int64 // 0 = once
	ExitNoAgents     bool  // callers leave when nobody is signed in and reachable at all
}

// Relax is one step in which the demand for skills falls: after so long, Skill ("" = all) is needed LowerBy
// levels less, or not at all.
type Relax struct {
	AfterMS int64
	Skill   string
	LowerBy int
	Drop    bool
}

// Agent is a user who serves queues.
type Agent struct {
	UserID         string
	Skills         []Skill
	Memberships    []Membership
	AutoReady      bool // login makes it available
	AutoQueueLogin bool // login signs it in to its static and mandatory queues
}

// Skill is a skill at a level from 1 to 5: had by an agent, or needed at least by a caller.
type Skill struct {
	Name  string
	Level int
}

// Membership says that an agent may serve a queue.
type Membership struct {
	QueueID  string
	Tier     int // 1 rings first
	Position int
	Mode     string // one of the Mode values
}

// Modes of a membership.
const (
	ModeStatic     = "static"
	ModeMandatory  = "mandatory"
	ModeSelf       = "self"
	ModeSupervised = "supervised"
)

// Join asks for a place. The same EntryID again is answered with how the entry stands.
type Join struct {
	EntryID                  string // unique for good
	Token, CallID, Node      string // of the call
	QueueID                  string
	Priority                 int // 0 to 100
	Skills                   []Skill
	CallerNumber, CallerName string
	Label                    string
	ExitNoAgents             bool  // beside the queue's own
	SinceMS                  int64 // of an entry that keeps its place; 0 = now
	CallbackFence            int64 // of the callback that this call is, see Order; 0 = it is none
}

// Callback makes a place of a caller who waits one that he keeps while he hangs up. When it is his turn and an agent is
// reserved for him, a node is ordered to call Number (OrderCallback); a Join of that call with the order's fence makes it his call.
type Callback struct {
	EntryID  string
	Token    string // of the call that asks: once the place is another call's nothing changes; "" = whichever has it
	Number   string
	Tries    int   // so often he is called
	DelayMS  int64 // not before: the line he calls from is not free yet
	RetryMS  int64 // from one try that failed to the next
	WindowMS int64 // from now; later he is not called any more
}

// Joined is the reply to a Join: how the entry stands.
type Joined struct {
	Outcome  string // ExitX, "" while it waits or is served
	Position int    // 1 = next
	EWTMS    int64  // -1 = unknown
	Offers   []Offer
}

// How an entry leaves its queue. Exits are the queue's doing; the rest is told by Leave.
const (
	ExitQueueFull = "queue_full"
	ExitEWT       = "ewt"
	ExitTimeout   = "timeout"
	ExitNoAgents  = "no_agents"

	LeftAnswered  = "answered"
	LeftAbandoned = "abandoned"
	LeftOption    = "option"
	LeftFailed    = "failed" // the call was lost, or its node
	LeftSent      = "sent"   // a supervisor has sent him elsewhere

	LeftCallbackFailed  = "callback_failed"  // he was called as often as he was to be, or could not be called MostFaults times in a row
	LeftCallbackExpired = "callback_expired" // its window is over
)

// Offer is an agent who is to be rung for an entry.
type Offer struct {
	ReservationID string
	Fence         int64
	UserID        string
	RingMS        int64
	UntilMS       int64 // the lease: nobody rings longer
}

// Orders tell a node what to do; kinds are those of api.Op.
type Order struct {
	ID       string // the same each time the order is given; an exit that is given again is another, since it may have been refused
	Kind     string // OrderX
	EntryID  string
	Token    string
	Node     string
	QueueID  string
	Offer    Offer  // dispatch, rescind
	Why      string // rescind: caller_gone, lost, agent_gone, lease
	Outcome  string // exit
	Position int    // position
	EWTMS    int64  // position; -1 = unknown or not to be said
	UntilMS  int64  // nobody needs it later

	CallerNumber, CallerName, Label string // dispatch: of the entry, for the agent's display
}

// Kinds of an Order.
const (
	OrderDispatch = "dispatch"
	OrderRescind  = "rescind"
	OrderPosition = "position"
	OrderExit     = "exit"
	OrderCallback = "callback" // Token is that of the call to be made, Offer the reservation: its agent is rung when that call has joined
)

// Verdict is the reply to a claim, confirm, miss, callback or send.
type Verdict struct {
	Granted bool
	Why     string // when not: one of the Why values
	Token   string // of a send that is over: the call that has left by it; "" = not known
}

// Why a reservation does not hold (any more).
const (
	WhyUnknown    = "unknown"     // never given out, or long forgotten
	WhyFence      = "fence"       // another fence
	WhyLease      = "lease"       // it ran out
	WhyCallerGone = "caller_gone" // hung up, or left the queue
	WhyLost       = "lost"        // another agent was first
	WhyAgentGone  = "agent_gone"  // logged out, unreachable
	WhyLeaving    = "leaving"     // of a move or send: he was told to leave already
	WhyHungUp     = "hung_up"     // of a send: he has, and keeps his place
	WhyCallback   = "callback"    // of a callback: the queue calls that number back already, for another place
)

// Causes of a miss. Only the first three count against the agent.
const (
	MissNoAnswer    = "no_answer"
	MissBusy        = "busy"
	MissDeclined    = "declined"
	MissUnreachable = "unreachable" // no device took the call
	MissCaller      = "caller"      // of a callback: whom the agent waited for did not take the call; nothing of the agent's
	MissFailed      = "failed"      // the platform's own fault: the agent is free again at once, the entry waits a moment
)

// Times of the contract.
const (
	GraceMS      = 5_000   // beyond the ring time, until a lease runs out
	ConfirmMS    = 15_000  // from claim to confirm
	ShortAbandon = 5_000   // an abandon before that is marked short
	ExitAgainMS  = 2_000   // an exit is ordered again until the entry has left
	HoldFirstMS  = 500     // an entry whose dispatch failed waits so long, then twice that …
	HoldMostMS   = 8_000   // … and at most so long; a callback at most the time between its tries, if that is longer
	MostFaults   = 20      // so often in a row the platform may fail to call somebody back
	CallbackMS   = 30_000  // a callback rings so long
	AcceptMS     = 20_000  // from its answer until it has joined
	RememberMS   = 300_000 // reservations and entries that are over are known so long
	IntervalMS   = 900_000 // figures are kept by quarter hours …
	Intervals    = 192     // … two days of them
	MaxEntries   = 50_000
	MaxAgents    = 10_000
	MaxQueues    = 1_000
)

// Change is one agent event: what an agent is, from TimeMS on.
type Change struct {
	TimeMS         int64
	UserID         string
	Status, Reason string
	State, Bucket  string
	QueueID        string // offering, in_call, wrap_up
	EntryID        string
}

// Record is one queue record, when the entry is over.
type Record struct {
	EntryID, QueueID, Token, CallID string
	CallerNumber, CallerName, Label string
	Outcome                         string
	Short                           bool   // abandoned within ShortAbandon
	EnqueuedMS, ConnectedMS, EndMS  int64  // ConnectedMS 0 = never
	UserID                          string // who served it
	WrapUpMS                        int64  // that the queue gave
	Priority                        int
	Misses                          int
	Callback                        bool // he kept his place and was to be called
}

// Figures are sums of one queue or agent over an interval. Times in milliseconds.
type Figures struct {
	Offered, Answered, Abandoned, ShortAbandoned, TimedOut, Overflowed, OptionOut int64
	CallbackFailed                                                                int64 // called in vain, or not any more
	Sent                                                                          int64 // elsewhere, by a supervisor
	InLevel                                                                       int64 // answered within the service level
	WaitMS                                                                        int64 // of the answered
	TalkMS                                                                        int64
	WrapMS                                                                        int64
	LongestWaitMS                                                                 int64
	Missed                                                                        int64 // agents: offers not taken
	SignedMS, ReadyMS, BreakMS                                                    int64 // agents: logged in; waiting for calls; on break
}

package brain

// DestQueue leads to a queue. With VarAction in the DestXform it is a feature code of agents instead.
const DestQueue DestKind = "queue"

// Kinds of queues, of who serves them, and of the keys that callers press in them.
const (
	KindQueue                Kind = "queue"
	KindAgentQueueAssignment Kind = "agent_queue_assignment"
	KindInQueueOption        Kind = "in_queue_option"
)

// Values of VarAction for DestQueue: what a phone of an agent does to its user. ActionQueueJoin and ActionQueueLeave
// need the queue as DestID.
const (
	ActionAgentLogin     = "agent_login"
	ActionAgentLogout    = "agent_logout"
	ActionAgentAvailable = "agent_available"
	ActionAgentBreak     = "agent_break"
	ActionQueueJoin      = "queue_join"
	ActionQueueLeave     = "queue_leave"
)

// Queue is where callers wait for agents.
type Queue struct {
	ID        string `json:"id" readOnly:"true"`
	AccountID string `json:"account_id" readOnly:"true"`
	Name      string `json:"name" doc:"unique in the account"`

	Strategy            string `json:"strategy,omitempty" default:"longest_idle" enum:"longest_idle,round_robin,ring_all,top_down,fewest_calls,least_talk_time,random" doc:"which agent of the open tiers is next"`
	AgentRingTimeoutSec int    `json:"agent_ring_timeout_sec,omitempty" default:"20" minimum:"3" maximum:"300"`
	MaxWaitSec          int    `json:"max_wait_sec,omitempty" minimum:"0" maximum:"86400" doc:"then the caller leaves by timeout; 0 = no limit"`
	WrapUpSec           int    `json:"wrap_up_sec,omitempty" minimum:"0" maximum:"3600" doc:"after a call of this queue its agent gets none for so long"`
	MaxNoAnswer         int    `json:"max_no_answer,omitempty" minimum:"0" maximum:"100" doc:"misses in a row that put an agent on a break; 0 = never"`
	MaxQueued           *int   `json:"max_queued,omitempty" minimum:"0" maximum:"10000" doc:"further callers leave by queue_full; absent = no limit"`
	TierEscalationSec   int    `json:"tier_escalation_sec,omitempty" minimum:"0" maximum:"3600" doc:"a caller's wait that opens the next tier; 0 = only when no agent of the lower ones is signed in"`
	PriorityAgeSec      int    `json:"priority_age_sec,omitempty" minimum:"0" maximum:"86400" doc:"a wait that is worth one level of priority; 0 = nothing"`
	StickySec           int    `json:"sticky_sec,omitempty" minimum:"0" maximum:"31536000" doc:"so long the agent who served a caller's number last is preferred; 0 = never"`
	ServiceLevelSec     int    `json:"service_level_sec,omitempty" default:"20" minimum:"1" maximum:"3600"`
	AgentConfirm        bool   `json:"agent_confirm,omitempty" doc:"the agent presses 1 to take the call"`
	Record              bool   `json:"record,omitempty" doc:"talks are recorded"`

	SkillRelax []SkillRelax `json:"skill_relax,omitempty" maxItems:"20"`

	AnnouncePosition    bool   `json:"announce_position,omitempty" doc:"callers hear their place when it has changed"`
	AnnounceEWT         bool   `json:"announce_ewt,omitempty" doc:"with the expected wait"`
	AnnounceFirstSec    int    `json:"announce_first_sec,omitempty" default:"15" minimum:"1" maximum:"3600"`
	AnnounceIntervalSec int    `json:"announce_interval_sec" default:"30" minimum:"0" maximum:"3600" doc:"0 = once"`
	EWTThresholdSec     *int   `json:"ewt_threshold_sec,omitempty" minimum:"1" maximum:"86400" doc:"callers who would wait longer leave by ewt; absent = nobody"`
	EWTAHTSec           int    `json:"ewt_aht_sec,omitempty" default:"240" minimum:"1" maximum:"86400" doc:"handling time until there is history"`
	Language            string `json:"language,omitempty" doc:"of announcements, BCP 47; absent = the account's"`
	MOHMode             string `json:"moh_mode,omitempty" default:"stream" enum:"stream,file" doc:"stream: one source for everybody; file: from its beginning for each caller"`
	MOHMediaID          string `json:"moh_media_id,omitempty" doc:"absent, with no playlist: the platform's music"`
	MOHPlaylistID       string `json:"moh_playlist_id,omitempty"`
	WhisperMediaID      string `json:"whisper_media_id,omitempty" doc:"the agent hears it before the caller is there"`
	AllowListen         bool   `json:"allow_listen,omitempty" doc:"supervisors may listen to talks"`
	AllowWhisper        bool   `json:"allow_whisper,omitempty" doc:"supervisors may speak to the agent alone"`
	AllowBarge          bool   `json:"allow_barge,omitempty" doc:"supervisors may join talks"`

	ScheduleID        string   `json:"schedule_id,omitempty" doc:"absent: always open"`
	ClosedDestKind    DestKind `json:"closed_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	ClosedDestID      string   `json:"closed_dest_id,omitempty"`
	HolidayDestKind   DestKind `json:"holiday_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup" doc:"absent: as closed"`
	HolidayDestID     string   `json:"holiday_dest_id,omitempty"`
	TimeoutDestKind   DestKind `json:"timeout_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	TimeoutDestID     string   `json:"timeout_dest_id,omitempty"`
	NoAgentsDestKind  DestKind `json:"no_agents_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup" doc:"when nobody is signed in and reachable; absent: callers wait"`
	NoAgentsDestID    string   `json:"no_agents_dest_id,omitempty"`
	QueueFullDestKind DestKind `json:"queue_full_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	QueueFullDestID   string   `json:"queue_full_dest_id,omitempty"`
	EWTDestKind       DestKind `json:"ewt_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	EWTDestID         string   `json:"ewt_dest_id,omitempty"`
}

// SkillRelax lowers what a caller needs after a wait.
type SkillRelax struct {
	AfterSec int    `json:"after_sec" minimum:"1" maximum:"86400"`
	Skill    string `json:"skill,omitempty" doc:"absent: every skill"`
	LowerBy  int    `json:"lower_by,omitempty" minimum:"0" maximum:"5"`
	Drop     bool   `json:"drop,omitempty" doc:"the skill is not needed any more"`
}

// Closed, Holiday, Timeout, NoAgents, QueueFull and EWT are the queue's exits as route targets.
func (q *Queue) Closed() RouteTarget    { return RouteTarget{q.ClosedDestKind, q.ClosedDestID} }
func (q *Queue) Holiday() RouteTarget   { return RouteTarget{q.HolidayDestKind, q.HolidayDestID} }
func (q *Queue) Timeout() RouteTarget   { return RouteTarget{q.TimeoutDestKind, q.TimeoutDestID} }
func (q *Queue) NoAgents() RouteTarget  { return RouteTarget{q.NoAgentsDestKind, q.NoAgentsDestID} }
func (q *Queue) QueueFull() RouteTarget { return RouteTarget{q.QueueFullDestKind, q.QueueFullDestID} }
func (q *Queue) EWT() RouteTarget       { return RouteTarget{q.EWTDestKind, q.EWTDestID} }

// AgentQueueAssignment says that a user serves a queue.
type AgentQueueAssignment struct {
	ID        string `json:"id" readOnly:"true"`
	AccountID string `json:"account_id" readOnly:"true"`
	QueueID   string `json:"queue_id"`
	UserID    string `json:"user_id" doc:"an agent (is_agent); with queue_id unique"`
	TierLevel int    `json:"tier_level,omitempty" default:"1" minimum:"1" maximum:"100" doc:"lower rings first"`
	Position  int    `json:"position,omitempty" minimum:"0" maximum:"100000" doc:"breaks ties inside a tier"`
	Mode      string `json:"mode,omitempty" default:"static" enum:"static,mandatory,self,supervised" doc:"static and mandatory ones are signed in by login when the user has auto_queue_login; mandatory ones cannot be left"`
}

// InQueueOption is what a key does that a caller presses while he waits.
type InQueueOption struct {
	ID            string   `json:"id" readOnly:"true"`
	AccountID     string   `json:"account_id" readOnly:"true"`
	QueueID       string   `json:"queue_id"`
	Digit         string   `json:"digit" doc:"one of 0-9 * #, unique in the queue"`
	Action        string   `json:"action" enum:"route,webhook,deflect,callback,hangup" doc:"route: the call goes to the target, and counts as handled; webhook: a server is told; deflect: a server is told that it is to serve the caller another way, and the call ends; callback: the caller hangs up, keeps his place and is called when it is his turn; hangup: the call ends"`
	DestKind      DestKind `json:"dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup" doc:"route"`
	DestID        string   `json:"dest_id,omitempty"`
	WebhookURL    string   `json:"webhook_url,omitempty" doc:"webhook, deflect: https"`
	StayInQueue   bool     `json:"stay_in_queue,omitempty" doc:"webhook: the caller keeps his place; else the call ends after it"`
	PromptMediaID string   `json:"prompt_media_id,omitempty" doc:"heard first"`

	CallbackTries     int  `json:"callback_tries,omitempty" default:"3" minimum:"1" maximum:"10" doc:"callback: so often the number is called"`
	CallbackRetrySec  int  `json:"callback_retry_sec,omitempty" default:"300" minimum:"10" maximum:"86400" doc:"callback: from one try to the next"`
	CallbackWindowSec int  `json:"callback_window_sec,omitempty" default:"14400" minimum:"60" maximum:"86400" doc:"callback: after that nobody is called any more"`
	CallbackAsk       bool `json:"callback_ask,omitempty" doc:"callback: the caller may give another number than the one he calls from"`

	Label string `json:"label,omitempty" doc:"for records, at most 64 characters"`
}

// Dest is where the option routes.
func (o *InQueueOption) Dest() RouteTarget { return RouteTarget{o.DestKind, o.DestID} }

// Skills is what a user can, by name, at levels from 1 to 5.
type Skills map[string]int

// IsAgentAction says whether a value of VarAction is what an agent does to himself: DestQueue needs no queue then.
func IsAgentAction(action string) bool {
	switch action {
	case ActionAgentLogin, ActionAgentLogout, ActionAgentAvailable, ActionAgentBreak:
		return true
	}
	return false
}

// IsQueueAction says whether a value of VarAction makes DestQueue a feature code of agents.
func IsQueueAction(action string) bool {
	return action == ActionQueueJoin || action == ActionQueueLeave || IsAgentAction(action)
}

func (r *Queue) ResourceKind() Kind                { return KindQueue }
func (r *AgentQueueAssignment) ResourceKind() Kind { return KindAgentQueueAssignment }
func (r *InQueueOption) ResourceKind() Kind        { return KindInQueueOption }

func (r *Queue) ResourceID() string                { return r.ID }
func (r *AgentQueueAssignment) ResourceID() string { return r.ID }
func (r *InQueueOption) ResourceID() string        { return r.ID }

func (r *Queue) OwnerID() string                { return r.AccountID }
func (r *AgentQueueAssignment) OwnerID() string { return r.AccountID }
func (r *InQueueOption) OwnerID() string        { return r.AccountID }

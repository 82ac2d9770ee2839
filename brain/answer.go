package brain

import "encoding/json"

// Kinds of destinations that the platform answers itself. A call to one of them goes to the node's media server.
const (
	DestFlow       DestKind = "flow"
	DestVoicemail  DestKind = "voicemail"
	DestConference DestKind = "conference"
)

// Vars is what a route hands to what comes next: names and values, at most 32 of them and 1024 bytes together.
type Vars map[string]string

// VarWithheld is a variable of an answered call whose caller withholds his number: "1" keeps it from trunks to which it is sent on.
const VarWithheld = "caller_withheld"

// VarAction in a DestXform says what voicemail does with the call. ActionRetrieve listens to a mailbox, the
// caller's own when none is named; anything else leaves a message.
const (
	VarAction      = "action"
	ActionRetrieve = "retrieve"
)

// DID is a number of the telephone network that leads to the account.
type DID struct {
	ID              string   `json:"id" readOnly:"true"`
	AccountID       string   `json:"account_id" readOnly:"true"`
	E164            string   `json:"e164" doc:"the number without +, unique platform-wide"`
	Label           string   `json:"label,omitempty" doc:"for flows and agents, at most 64 characters"`
	CNAM            string   `json:"cnam,omitempty" doc:"name shown to trunks with this number, of callers without a name of their own; at most 64 characters, no control characters"`
	Status          Status   `json:"status,omitempty" default:"active" enum:"active,disabled,virtual" doc:"disabled: calls are refused; virtual: known as ours, never called from outside"`
	DestKind        DestKind `json:"dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup" doc:"absent: the account's did_default"`
	DestID          string   `json:"dest_id,omitempty"`
	DestXform       Vars     `json:"dest_xform,omitempty"`
	MaxChannels     int      `json:"max_channels,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls to it; 0 = no limit"`
	AllowAnonymous  bool     `json:"allow_anonymous" default:"true" doc:"false: a caller without a number is refused with 433"`
	ScheduleID      string   `json:"schedule_id,omitempty" doc:"absent: always open"`
	ClosedDestKind  DestKind `json:"closed_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	ClosedDestID    string   `json:"closed_dest_id,omitempty"`
	HolidayDestKind DestKind `json:"holiday_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup" doc:"absent: as closed"`
	HolidayDestID   string   `json:"holiday_dest_id,omitempty"`
}

// TimeSchedule says when a place is open. date and date_range rules beat weekly ones; is_closed beats hours; a
// schedule that is missing or cannot be read is open.
type TimeSchedule struct {
	ID        string         `json:"id" readOnly:"true"`
	AccountID string         `json:"account_id" readOnly:"true"`
	Name      string         `json:"name" doc:"unique in the account"`
	Timezone  string         `json:"timezone,omitempty" doc:"IANA zone name; absent = the account's"`
	Rules     []ScheduleRule `json:"rules" maxItems:"400"`
}

// ScheduleRule is one line of a schedule. Local times are those of the wall clock; an end at or before the start
// is that of the next day.
type ScheduleRule struct {
	Kind      string `json:"kind" enum:"weekly,date,date_range"`
	DOW       int    `json:"dow,omitempty" minimum:"0" maximum:"6" doc:"weekly: 0 = Sunday"`
	StartTime string `json:"start_time,omitempty" doc:"HH:MM; absent = 00:00"`
	EndTime   string `json:"end_time,omitempty" doc:"HH:MM; absent = 24:00"`
	StartDate string `json:"start_date,omitempty" doc:"date, date_range: YYYY-MM-DD"`
	EndDate   string `json:"end_date,omitempty" doc:"date_range: last day"`
	IsClosed  bool   `json:"is_closed,omitempty" doc:"closed all day (date, date_range: a holiday)"`
}

// CallFlow is a call flow. What calls run is LiveGraph, the graph as it was last published; Version counts those.
type CallFlow struct {
	ID        string    `json:"id" readOnly:"true"`
	AccountID string    `json:"account_id" readOnly:"true"`
	Name      string    `json:"name" doc:"unique in the account"`
	Status    Status    `json:"status,omitempty" default:"published" enum:"draft,published" doc:"draft: the graph is kept and not run; calls go on with the one published before"`
	Version   int64     `json:"version,omitempty" readOnly:"true" doc:"rises by one each time another graph is published; a live call keeps the version it began with"`
	Graph     FlowGraph `json:"graph"`
	LiveGraph FlowGraph `json:"live_graph,omitzero" readOnly:"true"`
}

// Statuses of a call flow.
const (
	StatusDraft     Status = "draft"
	StatusPublished Status = "published"
	StatusVirtual   Status = "virtual" // numbers only
)

// FlowGraph is the graph as visual editors draw it: brain/flow reads it.
type FlowGraph struct {
	Start string     `json:"start,omitempty" doc:"id of the entry step"`
	Nodes []FlowStep `json:"nodes,omitempty" maxItems:"500"`
	Edges []FlowEdge `json:"edges,omitempty" maxItems:"2000"`
}

// FlowStep is a vertex. Data has its kind and parameters.
type FlowStep struct {
	ID       string          `json:"id"`
	Type     string          `json:"type,omitempty" doc:"of the editor"`
	Position json.RawMessage `json:"position,omitempty" doc:"of the editor"`
	Data     json.RawMessage `json:"data"`
}

// FlowEdge leads from an outcome of a step to the next.
type FlowEdge struct {
	ID           string `json:"id,omitempty"`
	Source       string `json:"source"`
	Target       string `json:"target"`
	SourceHandle string `json:"sourceHandle,omitempty" doc:"the outcome; absent: any that has no edge of its own"`
}

// Voicemail is a mailbox.
type Voicemail struct {
	ID               string `json:"id" readOnly:"true"`
	AccountID        string `json:"account_id" readOnly:"true"`
	Name             string `json:"name" doc:"unique in the account"`
	GreetingMediaID  string `json:"greeting_media_id,omitempty" doc:"absent: the platform's own greeting"`
	SkipInstructions bool   `json:"skip_instructions,omitempty"`
	QuotaMB          int    `json:"quota_mb,omitempty" default:"200" minimum:"1" maximum:"10000"`
	MaxMessageSec    int    `json:"max_message_sec,omitempty" default:"180" minimum:"5" maximum:"3600"`
	NotifyEmail      string `json:"notify_email,omitempty"`
	NotifyURL        string `json:"notify_url,omitempty" doc:"https: gets a POST for each new message"`
	AttachRecording  bool   `json:"attach_recording,omitempty" doc:"of the e-mail"`
	PIN              string `json:"pin,omitempty" writeOnly:"true" doc:"4 to 12 digits, or none to take it away; input only, kept as an argon2id hash; absent: stays"`
	PINHash          string `json:"pin_hash,omitempty" writeOnly:"true" doc:"never returned"`
}

// VoicemailMessage is one message of a mailbox. The platform makes it; whether it was read is all that others change.
type VoicemailMessage struct {
	ID          string `json:"id" readOnly:"true"`
	AccountID   string `json:"account_id" readOnly:"true"`
	VoicemailID string `json:"voicemail_id" readOnly:"true"`
	Caller      string `json:"caller,omitempty" readOnly:"true" doc:"number of the caller; empty: withheld"`
	CallerName  string `json:"caller_name,omitempty" readOnly:"true"`
	DurationMS  int    `json:"duration_ms" readOnly:"true"`
	CreatedTS   int    `json:"created_ts" readOnly:"true" doc:"epoch seconds"`
	ObjectKey   string `json:"object_key" readOnly:"true" doc:"GET /v1/objects/KEY reads it"`
	Bytes       int    `json:"bytes" readOnly:"true"`
	SHA256      string `json:"sha256" readOnly:"true"`
	Read        bool   `json:"read,omitempty" doc:"heard: the lamps no longer tell of it"`
}

// Conference is a room that several callers share.
type Conference struct {
	ID                string `json:"id" readOnly:"true"`
	AccountID         string `json:"account_id" readOnly:"true"`
	Name              string `json:"name" doc:"unique in the account"`
	PIN               string `json:"pin,omitempty" writeOnly:"true" doc:"4 to 12 digits, or none to take it away; input only, kept as an argon2id hash; absent: stays. Without one nobody is asked"`
	PINHash           string `json:"pin_hash,omitempty" writeOnly:"true" doc:"never returned"`
	ModeratorPIN      string `json:"moderator_pin,omitempty" writeOnly:"true" doc:"as pin; who gives it is a moderator"`
	ModeratorPINHash  string `json:"moderator_pin_hash,omitempty" writeOnly:"true" doc:"never returned"`
	MaxMembers        int    `json:"max_members,omitempty" minimum:"0" maximum:"1000" doc:"0 = no limit"`
	Record            bool   `json:"record,omitempty"`
	WaitForModerator  bool   `json:"wait_for_moderator,omitempty"`
	AnnounceJoinLeave bool   `json:"announce_join_leave,omitempty"`
}

// MediaFile is a sound of the account in the media store.
type MediaFile struct {
	ID         string `json:"id" readOnly:"true"`
	AccountID  string `json:"account_id" readOnly:"true"`
	Name       string `json:"name" doc:"unique in the account"`
	Kind       string `json:"kind,omitempty" default:"prompt" enum:"prompt,moh,greeting,announcement,recording"`
	Text       string `json:"text,omitempty" doc:"spoken by the speech engine instead of an uploaded file"`
	Language   string `json:"language,omitempty" doc:"of text; absent = the account's"`
	ObjectKey  string `json:"object_key,omitempty" readOnly:"true" doc:"set by the upload"`
	Format     string `json:"format,omitempty" readOnly:"true" enum:",wav"`
	DurationMS int    `json:"duration_ms,omitempty" readOnly:"true"`
	Bytes      int    `json:"bytes,omitempty" readOnly:"true"`
	SHA256     string `json:"sha256,omitempty" readOnly:"true"`
}

// MediaPlaylist plays files one after the other.
type MediaPlaylist struct {
	ID        string   `json:"id" readOnly:"true"`
	AccountID string   `json:"account_id" readOnly:"true"`
	Name      string   `json:"name" doc:"unique in the account"`
	MediaIDs  []string `json:"media_ids" maxItems:"200"`
}

// Room is what nodes call the conference; unique platform-wide.
func (c *Conference) Room() string { return c.AccountID + "-" + c.ID }

// RecordPolicy says which calls of a user are recorded, seen from the user.
type RecordPolicy string

const (
	RecordNone     RecordPolicy = "none"
	RecordInbound  RecordPolicy = "inbound"  // calls to the user
	RecordOutbound RecordPolicy = "outbound" // calls of the user
	RecordAll      RecordPolicy = "all"
)

// Inbound and Outbound say whether calls to the user, and calls of the user, are recorded.
func (p RecordPolicy) Inbound() bool  { return p == RecordInbound || p == RecordAll }
func (p RecordPolicy) Outbound() bool { return p == RecordOutbound || p == RecordAll }

// Sound is something to be heard, before it is known which object of the media store that is. One of MediaID,
// PlaylistID, Prompt, Text and Key is set.
type Sound struct {
	MediaID    string `json:"media_id,omitempty"`
	PlaylistID string `json:"playlist_id,omitempty"`
	Prompt     string `json:"prompt,omitempty"` // id of a prompt of the platform: welcome, invalid, vm-greeting …
	Text       string `json:"text,omitempty"`   // spoken by the speech engine
	Key        string `json:"key,omitempty"`    // an object as it stands: a message of a mailbox
	Language   string `json:"language,omitempty"`
	Gender     string `json:"gender,omitempty"` // male, female; "" = the account's
	Voice      string `json:"voice,omitempty"`  // of the engine; "" = by language and gender
}

func (r *TimeSchedule) ResourceKind() Kind     { return KindTimeSchedule }
func (r *MediaFile) ResourceKind() Kind        { return KindMediaFile }
func (r *MediaPlaylist) ResourceKind() Kind    { return KindMediaPlaylist }
func (r *Voicemail) ResourceKind() Kind        { return KindVoicemail }
func (r *Conference) ResourceKind() Kind       { return KindConference }
func (r *CallFlow) ResourceKind() Kind         { return KindCallFlow }
func (r *DID) ResourceKind() Kind              { return KindDID }
func (r *VoicemailMessage) ResourceKind() Kind { return KindVoicemailMessage }

func (r *TimeSchedule) ResourceID() string     { return r.ID }
func (r *MediaFile) ResourceID() string        { return r.ID }
func (r *MediaPlaylist) ResourceID() string    { return r.ID }
func (r *Voicemail) ResourceID() string        { return r.ID }
func (r *Conference) ResourceID() string       { return r.ID }
func (r *CallFlow) ResourceID() string         { return r.ID }
func (r *DID) ResourceID() string              { return r.ID }
func (r *VoicemailMessage) ResourceID() string { return r.ID }

func (r *TimeSchedule) OwnerID() string     { return r.AccountID }
func (r *MediaFile) OwnerID() string        { return r.AccountID }
func (r *MediaPlaylist) OwnerID() string    { return r.AccountID }
func (r *Voicemail) OwnerID() string        { return r.AccountID }
func (r *Conference) OwnerID() string       { return r.AccountID }
func (r *CallFlow) OwnerID() string         { return r.AccountID }
func (r *DID) OwnerID() string              { return r.AccountID }
func (r *VoicemailMessage) OwnerID() string { return r.AccountID }

// Dest is where the number leads ("" = the account's DIDDefault), ClosedDest and HolidayDest where it does
// outside its hours.
func (d *DID) Dest() RouteTarget        { return RouteTarget{d.DestKind, d.DestID} }
func (d *DID) ClosedDest() RouteTarget  { return RouteTarget{d.ClosedDestKind, d.ClosedDestID} }
func (d *DID) HolidayDest() RouteTarget { return RouteTarget{d.HolidayDestKind, d.HolidayDestID} }

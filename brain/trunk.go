package brain

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// SIPTrunk is a way to the telephone network or to a PBX, and from it.
type SIPTrunk struct {
	ID        string         `json:"id" readOnly:"true"`
	AccountID string         `json:"account_id" readOnly:"true"`
	Name      string         `json:"name" doc:"unique in the account"`
	Status    Status         `json:"status,omitempty" default:"active" enum:"active,disabled"`
	Direction TrunkDirection `json:"direction,omitempty" default:"inbound" enum:"inbound,outbound,both"`
	Role      TrunkRole      `json:"role,omitempty" default:"carrier" enum:"carrier,pbx" doc:"carrier: its calls are for numbers of the account; pbx: they may also be for extensions, and for numbers outside"`
	Provider  string         `json:"provider,omitempty" default:"generic" enum:"generic,carrier" doc:"carrier: the wholesale carrier, which takes every number that no outbound_route takes"`

	InboundAuth InboundAuth `json:"inbound_auth,omitempty" default:"ip" enum:"ip,digest,register,tls" doc:"how its calls are known: by inbound_acl; by a digest of auth_username in a domain of the account; register: as digest, and calls to it go where it has registered; tls: by the certificate that it shows over TLS, see tls_name"`
	InboundACL  []string    `json:"inbound_acl,omitempty" maxItems:"100" doc:"addresses and networks (CIDR) its calls come from; no two trunks share one, but that trunks with provider carrier of several accounts may name the same network: a call is for the account that has its number"`

	TLSName string `json:"tls_name,omitempty" doc:"inbound_auth tls: name in its certificate, which the nodes' TLS_CA has signed: the first DNS name of subjectAltName, or the common name when there is none; no two trunks share one"`

	Proxy         string    `json:"proxy,omitempty" doc:"host or host:port that calls go to; without a port SRV records are followed"`
	Transport     Transport `json:"transport,omitempty" default:"udp" enum:"udp,tcp,tls"`
	DoRegister    bool      `json:"do_register,omitempty" doc:"one node registers us there"`
	ExpireSec     int       `json:"expire_sec,omitempty" default:"3600" minimum:"60" maximum:"86400" doc:"of that registration"`
	AuthUsername  string    `json:"auth_username,omitempty" doc:"of digests, ours at the proxy as well as the peer's here"`
	AuthSecretRef string    `json:"auth_secret_ref,omitempty" doc:"name of the secret that holds the password"`
	Realm         string    `json:"realm,omitempty" doc:"the only realm whose challenges are answered; absent: any"`
	FromDomain    string    `json:"from_domain,omitempty" doc:"domain of From; absent: the host of proxy"`
	FromUser      string    `json:"from_user,omitempty" doc:"user of From in every call, the caller's number is in P-Asserted-Identity then; absent: the caller's number"`
	Subaccount    string    `json:"subaccount,omitempty" doc:"what the wholesale carrier calls this account: sent in P-Charge-Info (RFC 8496)"`

	CIDNumber    string       `json:"cid_number,omitempty" doc:"E.164 without +: shown for callers who may not show their own number"`
	SendsPAI     bool         `json:"sends_pai,omitempty" doc:"it is trusted with P-Asserted-Identity, also of callers who withhold their number"`
	NumberFormat NumberFormat `json:"number_format,omitempty" default:"plus" enum:"plus,e164,national" doc:"of the numbers that it is sent"`
	Strip        int          `json:"strip,omitempty" minimum:"0" maximum:"15" doc:"digits taken off the front of the formatted number that is called"`
	Prefix       string       `json:"prefix,omitempty" doc:"put before it then: digits, * and #"`

	MaxChannels    int      `json:"max_channels,omitempty" minimum:"0" maximum:"100000" doc:"simultaneous calls over it; 0 = no limit"`
	MaxCPS         int      `json:"max_cps,omitempty" minimum:"0" maximum:"10000" doc:"calls begun in any second; 0 = no limit"`
	Codecs         []string `json:"codecs,omitempty" maxItems:"16" doc:"RTP names such as PCMA, in order: only these are offered; absent: what the caller offers"`
	SRTP           SRTP     `json:"srtp,omitempty" default:"off" enum:"off,optional,required" doc:"SDES towards it"`
	CostPlan       string   `json:"cost_plan,omitempty" doc:"name of a rate_plan of the account, in its currency: what calls over the trunk cost. Routes by least_cost go by its price of the number instead of their cost_micros"`
	OptionsPingSec int      `json:"options_ping_sec" default:"30" minimum:"0" maximum:"3600" doc:"seconds between two OPTIONS of each node; 0 = none"`
	SilentMS       int      `json:"silent_ms,omitempty" default:"4000" minimum:"500" maximum:"32000" doc:"how long it may say nothing at all before the next trunk is tried"`
	ProgressMS     int      `json:"progress_ms,omitempty" default:"15000" minimum:"1000" maximum:"120000" doc:"how long it may take, from when it is called, to say that it rings (180 to 199) before the next trunk is tried; calls for help: 5000 at most"`
	Stir           string   `json:"stir,omitempty" default:"off" enum:"off,verify,require" doc:"of calls from it: verify their Identity (RFC 8224) and say so; require: also refuse those that do not pass"`
	SignCalls      bool     `json:"sign_calls,omitempty" doc:"calls to it carry an Identity header when there is a key"`
	FailCodes      []int    `json:"fail_codes,omitempty" maxItems:"32" doc:"final answers, besides 408 and 5xx, after which the next trunk is tried; for example 603"`
}

// TrunkDirection says which calls a trunk carries.
type TrunkDirection string

const (
	TrunkInbound  TrunkDirection = "inbound"
	TrunkOutbound TrunkDirection = "outbound"
	TrunkBoth     TrunkDirection = "both"
)

// In and Out tell whether a trunk in use carries calls to the account, and from it.
func (t *SIPTrunk) In() bool  { return t.Status == StatusActive && t.Direction != TrunkOutbound }
func (t *SIPTrunk) Out() bool { return t.Status == StatusActive && t.Direction != TrunkInbound }

// TrunkAOR is the address-of-record of a trunk that registers here: its auth_username in the account's primary domain,
// whichever domain its digest is of. "" when it does not register, or the account has no domain.
func (c *AccountConfig) TrunkAOR(t *SIPTrunk) string {
	if t.InboundAuth != InboundRegister || t.AuthUsername == "" || c.PrimaryDomain == "" {
		return ""
	}
	return "sip:" + t.AuthUsername + "@" + c.PrimaryDomain
}

// Wholesale tells whether the trunk is one of a wholesale carrier that is known by its addresses: such trunks of several accounts may
// name the same network.
func (t *SIPTrunk) Wholesale() bool {
	return t.Provider == ProviderCarrier && t.Role != RolePBX && (t.InboundAuth == InboundIP || t.InboundAuth == "")
}

// Names tells whether an address is in the trunk's inbound_acl.
func (t *SIPTrunk) Names(addr netip.Addr) bool {
	return slices.ContainsFunc(t.InboundACL, func(text string) bool {
		if one, err := netip.ParseAddr(text); err == nil {
			return one == addr
		}
		network, err := netip.ParsePrefix(text)
		return err == nil && network.Contains(addr)
	})
}

// RegisteredUser is the user part of the AOR and the Contact that we register at a trunk: from_user, else the login without its domain.
func (t *SIPTrunk) RegisteredUser() string {
	user, _, _ := strings.Cut(t.AuthUsername, "@")
	return cmp.Or(t.FromUser, user)
}

// TrunkRole says who is at the other end.
type TrunkRole string

const (
	RoleCarrier TrunkRole = "carrier"
	RolePBX     TrunkRole = "pbx"
)

// ProviderCarrier is the provider of a wholesale carrier's trunk.
const ProviderCarrier = "carrier"

// InboundAuth says how calls of a trunk are known to be its.
type InboundAuth string

const (
	InboundIP       InboundAuth = "ip"
	InboundDigest   InboundAuth = "digest"
	InboundRegister InboundAuth = "register"
	InboundTLS      InboundAuth = "tls"
)

// NumberFormat is how a trunk wants numbers written: +4930…, 4930…, 030….
type NumberFormat string

const (
	FormatPlus     NumberFormat = "plus"
	FormatE164     NumberFormat = "e164"
	FormatNational NumberFormat = "national" // of the account's country; other numbers as 00…
)

// SRTP says whether media to a trunk is encrypted.
type SRTP string

const (
	SRTPOff      SRTP = "off"
	SRTPOptional SRTP = "optional" // offered as RTP/AVP with keys
	SRTPRequired SRTP = "required"
)

// OutboundRoute says over which trunks numbers leave. Among the routes of an account the longest match_prefix decides;
// of routes with the same prefix the first by name whose schedule is open.
type OutboundRoute struct {
	ID            string           `json:"id" readOnly:"true"`
	AccountID     string           `json:"account_id" readOnly:"true"`
	Name          string           `json:"name" doc:"unique in the account"`
	Status        Status           `json:"status,omitempty" default:"active" enum:"active,disabled"`
	MatchPrefix   string           `json:"match_prefix,omitempty" doc:"first digits of the E.164 number without +; absent: every number. With is_emergency the emergency number itself; absent: every one"`
	Blocked       bool             `json:"blocked,omitempty" doc:"numbers with this prefix are refused"`
	CallerAccount string           `json:"caller_account,omitempty" doc:"whose calls the route is for; absent: the account's own. A subaccount of it: then the route is blocked, for subaccounts call over trunks of their own"`
	IsEmergency   bool             `json:"is_emergency,omitempty" doc:"for emergency numbers, and for nothing else"`
	Strategy      string           `json:"strategy,omitempty" default:"priority" enum:"priority,weight,least_cost" doc:"order of the trunks: by priority, equal ones sharing by weight; all sharing by weight; the cheapest first"`
	Trunks        []OutboundChoice `json:"trunks,omitempty" maxItems:"16"`
	ScheduleID    string           `json:"schedule_id,omitempty" doc:"outside its hours the route is not there; absent: always. Emergency routes have none"`
	Strip         int              `json:"strip,omitempty" minimum:"0" maximum:"15" doc:"digits taken off the front of the E.164 number, before the trunk's own rules"`
	Prefix        string           `json:"prefix,omitempty" doc:"digits put before it then; with it, or strip, the trunk's number_format is not applied"`
}

// OutboundChoice is one trunk of a route.
type OutboundChoice struct {
	TrunkID    string `json:"trunk_id"`
	Priority   int    `json:"priority,omitempty" minimum:"0" maximum:"1000" doc:"lower is first"`
	Weight     int    `json:"weight,omitempty" minimum:"0" maximum:"1000" doc:"share of the calls among its equals"`
	CostMicros int64  `json:"cost_micros,omitempty" minimum:"0" doc:"of a minute, in micro-units of the account's currency"`
}

// Forward sends calls on to a number outside.
type Forward struct {
	ID               string   `json:"id" readOnly:"true"`
	AccountID        string   `json:"account_id" readOnly:"true"`
	Name             string   `json:"name" doc:"unique in the account"`
	Number           string   `json:"number" doc:"as the account's people would dial it"`
	Trigger          Trigger  `json:"trigger,omitempty" default:"always" enum:"always,busy,no_answer,unreachable" doc:"what must have become of the call before for it to be sent on there: the phones were busy, rang, or said nothing. After anything else it goes to the overflow; always: whatever became of it"`
	TimeoutSec       int      `json:"timeout_sec,omitempty" default:"30" minimum:"5" maximum:"300" doc:"how long it rings"`
	CIDMode          string   `json:"cid_mode,omitempty" default:"passthrough" enum:"passthrough,did,custom" doc:"who is shown: the caller (with Diversion), the number that was called, or cid_number"`
	CIDNumber        string   `json:"cid_number,omitempty" doc:"custom: E.164 without +"`
	Confirm          bool     `json:"confirm,omitempty" doc:"who answers must press 1 to take the call, so that no mailbox does"`
	OverflowDestKind DestKind `json:"overflow_dest_kind,omitempty" enum:"flow,user,extension,ring_group,queue,voicemail,conference,forward,trunk,hangup"`
	OverflowDestID   string   `json:"overflow_dest_id,omitempty"`
}

// Trigger is what must have become of a call before for a forward to take it.
type Trigger string

const (
	TriggerAlways      Trigger = "always"
	TriggerBusy        Trigger = "busy"
	TriggerNoAnswer    Trigger = "no_answer"
	TriggerUnreachable Trigger = "unreachable"
)

// Takes tells whether the forward takes a call of which this has become; "" = nobody has been tried.
func (f *Forward) Takes(cause Trigger) bool { return !f.Waits() || f.Trigger == cause }

// Waits tells whether the forward takes only what has been tried elsewhere before.
func (f *Forward) Waits() bool { return f.Trigger != "" && f.Trigger != TriggerAlways }

// Values of Forward.CIDMode.
const (
	CIDPassthrough = "passthrough"
	CIDOfDID       = "did"
	CIDCustom      = "custom"
)

// DestTrunk leads to what is behind a trunk, a PBX as a rule, with the number that was called.
const DestTrunk DestKind = "trunk"

// DestForward leads to a Forward.
const DestForward DestKind = "forward"

// Overflow is where a call goes that the number does not take.
func (f *Forward) Overflow() RouteTarget { return RouteTarget{f.OverflowDestKind, f.OverflowDestID} }

// Secret is a password or key that others name. Its value is encrypted at rest and never returned.
type Secret struct {
	ID        string `json:"id" readOnly:"true"`
	AccountID string `json:"account_id" readOnly:"true"`
	Name      string `json:"name" doc:"unique in the account: what *_secret_ref fields name"`
	Value     string `json:"value,omitempty" writeOnly:"true" doc:"1 to 16384 bytes; input only; absent: stays"`
	Sealed    string `json:"sealed,omitempty" writeOnly:"true" doc:"never returned"`
}

const (
	KindOutboundRoute Kind = "outbound_route"
	KindForward       Kind = "forward"
	KindSecret        Kind = "secret"
)

func (r *SIPTrunk) ResourceKind() Kind      { return KindSIPTrunk }
func (r *OutboundRoute) ResourceKind() Kind { return KindOutboundRoute }
func (r *Forward) ResourceKind() Kind       { return KindForward }
func (r *Secret) ResourceKind() Kind        { return KindSecret }

func (r *SIPTrunk) ResourceID() string      { return r.ID }
func (r *OutboundRoute) ResourceID() string { return r.ID }
func (r *Forward) ResourceID() string       { return r.ID }
func (r *Secret) ResourceID() string        { return r.ID }

func (r *SIPTrunk) OwnerID() string      { return r.AccountID }
func (r *OutboundRoute) OwnerID() string { return r.AccountID }
func (r *Forward) OwnerID() string       { return r.AccountID }
func (r *Secret) OwnerID() string        { return r.AccountID }

package brain

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Defaults that hold where a resource says nothing.
const (
	defaultTimezone       = "UTC"
	defaultLanguage       = "en-US"
	defaultRingTimeoutSec = 25
	defaultTransport      = Transport("udp")
	defaultNodeState      = "active"
	defaultNodeWeight     = 100
	defaultVoiceGender    = "male"
	defaultQuotaMB        = 200
	defaultMaxMessageSec  = 180
	defaultMediaKind      = "prompt"

	defaultStrategy            = "longest_idle"
	defaultAgentRingTimeoutSec = 20
	defaultServiceLevelSec     = 20
	defaultAnnounceFirstSec    = 15
	defaultAnnounceIntervalSec = 30
	defaultEWTAHTSec           = 240
	defaultMOHMode             = "stream"
	defaultCallbackTries       = 3
	defaultCallbackRetrySec    = 300
	defaultCallbackWindowSec   = 4 * 3600
	defaultTierLevel           = 1
	defaultMode                = "static"

	defaultExpireSec         = 3600
	defaultOptionsPingSec    = 30
	defaultSilentMS          = 4000
	defaultProgressMS        = 15_000
	defaultStir              = "off"
	defaultProvider          = "generic"
	defaultOutboundStrategy  = "priority"
	defaultForwardTimeoutSec = 30
)

// NewResource returns a resource of the kind with every field at its default, nil for an unknown
// kind. Decoders fill it, so that a field the input leaves out has its default and an explicit
// false or 0 stays what it is.
func NewResource(k Kind) Resource {
	var r Resource
	switch k {
	case KindAccount:
		r = &Account{EmergencySuspended: true}
	case KindSIPDomain:
		r = &SIPDomain{}
	case KindSIPUser:
		r = &SIPUser{}
	case KindSIPDevice:
		r = &SIPDevice{RingOnFork: true}
	case KindExtension:
		r = &Extension{}
	case KindRingGroup:
		r = &RingGroup{}
	case KindNode:
		r = &Node{Weight: defaultNodeWeight}
	case KindRatePlan:
		r = &RatePlan{}
	case KindConsoleUser:
		r = &ConsoleUser{}
	case KindAPIKey:
		r = &APIKey{}
	case KindCallLimit:
		r = &CallLimit{Hard: true}
	case KindDID:
		r = &DID{AllowAnonymous: true}
	case KindTimeSchedule:
		r = &TimeSchedule{}
	case KindCallFlow:
		r = &CallFlow{}
	case KindSIPTrunk:
		r = &SIPTrunk{OptionsPingSec: defaultOptionsPingSec}
	case KindOutboundRoute:
		r = &OutboundRoute{}
	case KindForward:
		r = &Forward{}
	case KindSecret:
		r = &Secret{}
	case KindVoicemail:
		r = &Voicemail{}
	case KindVoicemailMessage:
		r = &VoicemailMessage{}
	case KindConference:
		r = &Conference{}
	case KindMediaFile:
		r = &MediaFile{}
	case KindMediaPlaylist:
		r = &MediaPlaylist{}
	case KindQueue:
		r = &Queue{AnnounceIntervalSec: defaultAnnounceIntervalSec}
	case KindAgentQueueAssignment:
		r = &AgentQueueAssignment{}
	case KindInQueueOption:
		r = &InQueueOption{}
	default:
		return nil
	}
	ApplyDefaults(r)
	return r
}

// upper spells a list in capitals; one that is already it leaves alone, as others may read it. An empty list is nil.
func upper(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	if !slices.ContainsFunc(list, func(s string) bool { return s != strings.ToUpper(s) }) {
		return list
	}
	list = slices.Clone(list)
	for i, s := range list {
		list[i] = strings.ToUpper(s)
	}
	return list
}

// ApplyDefaults fills the fields whose zero value is not legal, and gives domains, countries and empty lists their
// one spelling, so that equal resources compare equal. It leaves RingOnFork, Weight, Hard, AllowAnonymous,
// AnnounceIntervalSec, EmergencySuspended and OptionsPingSec alone: false and 0 mean something there, their defaults
// come from NewResource only.
func ApplyDefaults(r Resource) {
	switch r := r.(type) {
	case *Account:
		fill(&r.Status, StatusActive)
		fill(&r.Timezone, defaultTimezone)
		fill(&r.Language, defaultLanguage)
		r.Country = strings.ToUpper(r.Country)
		r.OutboundCountries = upper(r.OutboundCountries)
		fill(&r.AdmissionPolicy, AdmissionLocalShare)
		fill(&r.VoiceGender, defaultVoiceGender)
		fill(&r.HoldSec, DefaultHoldSec)
	case *SIPDomain:
		r.Domain = strings.ToLower(r.Domain)
	case *SIPUser:
		fill(&r.RingTimeoutSec, defaultRingTimeoutSec)
		fill(&r.RingStrategy, RingSimultaneous)
		fill(&r.Status, StatusActive)
		fill(&r.RecordPolicy, RecordNone)
		if len(r.Skills) == 0 {
			r.Skills = nil // as it is read back
		}
	case *SIPDevice:
		if r.HA1MD5 == "" && r.HA1SHA256 == "" || r.Password != "" {
			r.Realm = strings.ToLower(r.Realm) // given digests were made of the realm as it is written
		}
		fill(&r.Transport, defaultTransport)
		fill(&r.Status, StatusActive)
	case *Extension:
		fill(&r.Status, StatusActive)
		r.DestXform = orNil(r.DestXform)
	case *RingGroup:
		fill(&r.Strategy, RingSimultaneous)
		fill(&r.RingTimeoutSec, defaultRingTimeoutSec)
		if r.Members == nil {
			r.Members = []RingGroupMember{} // [] in JSON, not null
		}
	case *Node:
		fill(&r.State, defaultNodeState)
		fill(&r.Reach, ReachDirect)
		if len(r.SIPAddresses) == 0 {
			r.SIPAddresses = nil // as it is read back
		}
	case *CallLimit:
		fill(&r.Direction, DirectionAny)
	case *ConsoleUser:
		userDefaults(r)
	case *Queue:
		queueDefaults(r)
	case *AgentQueueAssignment:
		fill(&r.TierLevel, defaultTierLevel)
		fill(&r.Mode, defaultMode)
	case *InQueueOption:
		fill(&r.CallbackTries, defaultCallbackTries)
		fill(&r.CallbackRetrySec, defaultCallbackRetrySec)
		fill(&r.CallbackWindowSec, defaultCallbackWindowSec)
	default:
		answeredDefaults(r)
	}
}

// answeredDefaults are those of what calls need that the platform answers.
func answeredDefaults(r Resource) {
	switch r := r.(type) {
	case *DID:
		fill(&r.Status, StatusActive)
		r.DestXform = orNil(r.DestXform)
	case *TimeSchedule:
		if r.Rules == nil {
			r.Rules = []ScheduleRule{}
		}
	case *CallFlow:
		fill(&r.Status, StatusPublished)
		r.Graph.normalize()
		r.LiveGraph.normalize()
	case *SIPTrunk:
		trunkDefaults(r)
	case *OutboundRoute:
		fill(&r.Status, StatusActive)
		fill(&r.Strategy, defaultOutboundStrategy)
		r.Trunks = noneOrSome(r.Trunks)
	case *Forward:
		fill(&r.TimeoutSec, defaultForwardTimeoutSec)
		fill(&r.CIDMode, CIDPassthrough)
		fill(&r.Trigger, TriggerAlways)
	case *Voicemail:
		fill(&r.QuotaMB, defaultQuotaMB)
		fill(&r.MaxMessageSec, defaultMaxMessageSec)
	case *MediaFile:
		fill(&r.Kind, defaultMediaKind)
	case *MediaPlaylist:
		if r.MediaIDs == nil {
			r.MediaIDs = []string{}
		}
	}
}

func trunkDefaults(t *SIPTrunk) {
	fill(&t.Status, StatusActive)
	fill(&t.Direction, TrunkInbound)
	fill(&t.Role, RoleCarrier)
	fill(&t.Provider, defaultProvider)
	fill(&t.InboundAuth, InboundIP)
	fill(&t.Transport, defaultTransport)
	fill(&t.ExpireSec, defaultExpireSec)
	fill(&t.NumberFormat, FormatPlus)
	fill(&t.SRTP, SRTPOff)
	fill(&t.SilentMS, defaultSilentMS)
	fill(&t.ProgressMS, defaultProgressMS)
	fill(&t.Stir, defaultStir)
	t.Proxy, t.FromDomain, t.TLSName = strings.ToLower(t.Proxy), strings.ToLower(t.FromDomain), strings.ToLower(t.TLSName)
	t.InboundACL, t.Codecs, t.FailCodes = noneOrSome(t.InboundACL), noneOrSome(t.Codecs), noneOrSome(t.FailCodes)
}

// noneOrSome makes nil of an empty list, as it is read back.
func noneOrSome[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

func queueDefaults(q *Queue) {
	fill(&q.Strategy, defaultStrategy)
	fill(&q.AgentRingTimeoutSec, defaultAgentRingTimeoutSec)
	fill(&q.ServiceLevelSec, defaultServiceLevelSec)
	fill(&q.AnnounceFirstSec, defaultAnnounceFirstSec)
	fill(&q.EWTAHTSec, defaultEWTAHTSec)
	fill(&q.MOHMode, defaultMOHMode)
	if len(q.SkillRelax) == 0 {
		q.SkillRelax = nil
	}
}

func orNil(v Vars) Vars {
	if len(v) == 0 {
		return nil // as it is read back
	}
	return v
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// SealPassword turns a password into both HA1 digests (RFC 7616 section 3.4.2, RFC 8760) and forgets
// it. The digests are made of the lower-case realm, which is the one a challenge carries. Without a
// password it changes nothing.
func (d *SIPDevice) SealPassword() {
	if d.Password == "" {
		return
	}
	secret := []byte(d.AuthUsername + ":" + strings.ToLower(d.Realm) + ":" + d.Password)
	m, s := md5.Sum(secret), sha256.Sum256(secret)
	d.HA1MD5, d.HA1SHA256, d.Password = hex.EncodeToString(m[:]), hex.EncodeToString(s[:]), ""
}

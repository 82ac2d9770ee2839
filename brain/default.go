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
)

// NewResource returns a resource of the kind with every field at its default, nil for an unknown
// kind. Decoders fill it, so that a field the input leaves out has its default and an explicit
// false or 0 stays what it is.
func NewResource(k Kind) Resource {
	var r Resource
	switch k {
	case KindAccount:
		r = &Account{}
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
	case KindAPIKey:
		r = &APIKey{}
	case KindCallLimit:
		r = &CallLimit{Hard: true}
	default:
		return nil
	}
	ApplyDefaults(r)
	return r
}

// ApplyDefaults fills the fields whose zero value is not legal, and gives domains and empty lists their
// one spelling, so that equal resources compare equal. It leaves RingOnFork, Weight and Hard alone: false
// and 0 mean something there, their defaults come from NewResource only.
func ApplyDefaults(r Resource) {
	switch r := r.(type) {
	case *Account:
		fill(&r.Status, StatusActive)
		fill(&r.Timezone, defaultTimezone)
		fill(&r.Language, defaultLanguage)
		fill(&r.AdmissionPolicy, AdmissionLocalShare)
	case *SIPDomain:
		r.Domain = strings.ToLower(r.Domain)
	case *SIPUser:
		fill(&r.RingTimeoutSec, defaultRingTimeoutSec)
		fill(&r.RingStrategy, RingSimultaneous)
		fill(&r.Status, StatusActive)
	case *SIPDevice:
		if r.HA1MD5 == "" && r.HA1SHA256 == "" || r.Password != "" {
			r.Realm = strings.ToLower(r.Realm) // given digests were made of the realm as it is written
		}
		fill(&r.Transport, defaultTransport)
		fill(&r.Status, StatusActive)
	case *Extension:
		fill(&r.Status, StatusActive)
	case *RingGroup:
		fill(&r.Strategy, RingSimultaneous)
		fill(&r.RingTimeoutSec, defaultRingTimeoutSec)
		if r.Members == nil {
			r.Members = []RingGroupMember{} // [] in JSON, not null
		}
	case *Node:
		fill(&r.State, defaultNodeState)
		if len(r.SIPAddresses) == 0 {
			r.SIPAddresses = nil // as it is read back
		}
	case *CallLimit:
		fill(&r.Direction, DirectionAny)
	}
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

// Clone returns a deep copy of a resource, which its holder may change.
func Clone(r Resource) Resource {
	switch r := r.(type) {
	case *Account:
		c := *r
		if r.ParentID != nil {
			parent := *r.ParentID
			c.ParentID = &parent
		}
		return &c
	case *SIPDomain:
		c := *r
		return &c
	case *SIPUser:
		c := *r
		return &c
	case *SIPDevice:
		c := *r
		return &c
	case *Extension:
		c := *r
		return &c
	case *RingGroup:
		c := *r
		c.Members = slices.Clone(r.Members)
		return &c
	case *Node:
		c := *r
		c.SIPAddresses = slices.Clone(r.SIPAddresses)
		return &c
	case *APIKey:
		c := *r
		c.Scopes = slices.Clone(r.Scopes)
		return &c
	case *CallLimit:
		c := *r
		return &c
	}
	return nil
}

// Package brain holds the nouns of sipio: the configuration resources, the immutable view of them
// that decisions read, and the error codes. Everything under brain/ is pure: no network, no files,
// no clock, no goroutine, no lock. The packages below it decide; controller carries, nodeagent executes.
package brain

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// MaxHops bounds a chain of route targets (forward to ring group to user …). A longer chain, or one
// that comes back to itself, is refused with a reason and never followed.
const MaxHops = 8

// Directory is one immutable view of the whole configuration. A decision takes it once and reads
// only it, so a change made meanwhile holds from the next decision on.
type Directory interface {
	// ByDomain returns the account that owns a SIP domain (case-insensitive), nil when nobody does.
	ByDomain(domain string) *AccountConfig
	// ByAccount returns an account by its id, nil when it is unknown.
	ByAccount(id string) *AccountConfig
	// ByDID returns the account that owns a number (E.164 without +), and the number, whatever its status;
	// nil, nil when nobody does.
	ByDID(e164 string) (*AccountConfig, *DID)
	// TrunkBySource returns the active trunk whose calls come from an IP address (without port), and its
	// account; nil, nil when there is none or the text is no address.
	TrunkBySource(ip string) (*AccountConfig, *SIPTrunk)
	// TrunkByTLSName returns the active trunk whose calls are known by a name in a certificate (case-insensitive), and its
	// account; nil, nil when there is none.
	TrunkByTLSName(name string) (*AccountConfig, *SIPTrunk)
	// TrunkSources lists the networks of all active trunks in CIDR notation, sorted as text, each once; a single
	// address is a /32 or /128.
	TrunkSources() []string
	// NodeByName returns a node of the platform by its name, nil when it is not registered.
	NodeByName(name string) *Node
	// Nodes lists every node of the platform, sorted by name.
	Nodes() []*Node
	// ActiveNodes counts the registered nodes that take new calls.
	ActiveNodes() int
	// Version is the revision of the configuration this view was made from.
	Version() int64
}

// AccountConfig is everything the call path needs of one account: immutable once built, indexed for
// the questions that `/auth` and `/route` ask. Build it with NewAccountConfig.
type AccountConfig struct {
	Version       int64 // revision of the newest change that touched this account
	Account       Account
	PrimaryDomain string // the domain identities are written in; "" when the account has none

	Users         map[string]*SIPUser     // by id
	UserByName    map[string]*SIPUser     // by username
	Devices       map[string]*SIPDevice   // by id
	DeviceByAuth  map[string]*SIPDevice   // by AuthKey(auth_username, realm)
	DevicesByUser map[string][]*SIPDevice // by user id, sorted by ring_order, then id
	Extensions    map[string]*Extension   // by digits
	ExtensionByID map[string]*Extension   // by id, as route targets name it
	RingGroups    map[string]*RingGroup   // by id
	Domains       map[string]*SIPDomain   // by lower-case domain
	Limits        []*CallLimit            // sorted by id

	DIDs                map[string]*DID                // by id
	DIDByE164           map[string]*DID                // by number without +
	Schedules           map[string]*TimeSchedule       // by id
	Flows               map[string]*CallFlow           // by id; the pointer stays the same until the flow is changed
	Trunks              map[string]*SIPTrunk           // by id
	Forwards            map[string]*Forward            // by id
	OutboundRoutes      []*OutboundRoute               // sorted by name; every one, whatever its status
	RoutesByPrefix      map[string][]*OutboundRoute    // by match_prefix, sorted by name: those for its own calls that are not for emergency numbers
	RoutesByCaller      map[string][]*OutboundRoute    // by caller_account, sorted by name: what the calls of its subaccounts may not
	Secrets             map[string]*Secret             // by name
	TrunkByLogin        map[string]*SIPTrunk           // by auth_username: trunks whose calls are known by a digest
	Voicemails          map[string]*Voicemail          // by id
	MessagesByVoicemail map[string][]*VoicemailMessage // by voicemail id, sorted by created_ts, then id
	Conferences         map[string]*Conference         // by id
	MediaFiles          map[string]*MediaFile          // by id
	Playlists           map[string]*MediaPlaylist      // by id

	Queues       map[string]*Queue                    // by id
	QueueAgents  map[string][]*AgentQueueAssignment   // by queue id, sorted by tier_level, then position, then user id
	QueueOptions map[string]map[string]*InQueueOption // by queue id, then digit

	// Zones holds the time zone of the account and those of its schedules, by IANA name. NewAccountConfig
	// leaves it nil: zones are read from files, so whoever builds the view for calls loads them.
	Zones map[string]*time.Location
}

// AccountRows is the unindexed content of one account, as the store or a YAML file gives it.
type AccountRows struct {
	Account    Account
	Domains    []SIPDomain
	Users      []SIPUser
	Devices    []SIPDevice
	Extensions []Extension
	RingGroups []RingGroup
	Limits     []CallLimit

	DIDs        []DID
	Schedules   []TimeSchedule
	Flows       []*CallFlow // by pointer, so that what is compiled of one can be kept as long as it stays
	Trunks      []SIPTrunk
	Routes      []OutboundRoute
	Forwards    []Forward
	Secrets     []Secret
	Voicemails  []Voicemail
	Messages    []*VoicemailMessage // by pointer: there may be many
	Conferences []Conference
	MediaFiles  []MediaFile
	Playlists   []MediaPlaylist

	Queues      []Queue
	Assignments []AgentQueueAssignment
	Options     []InQueueOption
}

// NewAccountConfig indexes the rows of one account. The rows must have been validated; the result
// keeps pointers into the slices, which must not change afterwards.
func NewAccountConfig(version int64, rows AccountRows) *AccountConfig {
	c := &AccountConfig{
		Version: version, Account: rows.Account,
		Users:         make(map[string]*SIPUser, len(rows.Users)),
		UserByName:    make(map[string]*SIPUser, len(rows.Users)),
		Devices:       make(map[string]*SIPDevice, len(rows.Devices)),
		DeviceByAuth:  make(map[string]*SIPDevice, len(rows.Devices)),
		DevicesByUser: make(map[string][]*SIPDevice, len(rows.Users)),
		Extensions:    make(map[string]*Extension, len(rows.Extensions)),
		ExtensionByID: make(map[string]*Extension, len(rows.Extensions)),
		RingGroups:    make(map[string]*RingGroup, len(rows.RingGroups)),
		Domains:       make(map[string]*SIPDomain, len(rows.Domains)),
	}
	for i := range rows.Domains {
		d := &rows.Domains[i]
		c.Domains[strings.ToLower(d.Domain)] = d
		if d.IsPrimary || c.PrimaryDomain == "" {
			c.PrimaryDomain = strings.ToLower(d.Domain)
		}
	}
	for i := range rows.Users {
		u := &rows.Users[i]
		c.Users[u.ID], c.UserByName[u.Username] = u, u
	}
	for i := range rows.Devices {
		d := &rows.Devices[i]
		c.Devices[d.ID] = d
		c.DeviceByAuth[AuthKey(d.AuthUsername, d.Realm)] = d
		c.DevicesByUser[d.UserID] = append(c.DevicesByUser[d.UserID], d)
	}
	for _, list := range c.DevicesByUser {
		slices.SortFunc(list, func(a, b *SIPDevice) int {
			return cmp.Or(cmp.Compare(a.RingOrder, b.RingOrder), cmp.Compare(a.ID, b.ID))
		})
	}
	for i := range rows.Extensions {
		e := &rows.Extensions[i]
		c.Extensions[e.Digits], c.ExtensionByID[e.ID] = e, e
	}
	for i := range rows.RingGroups {
		c.RingGroups[rows.RingGroups[i].ID] = &rows.RingGroups[i]
	}
	for i := range rows.Limits {
		c.Limits = append(c.Limits, &rows.Limits[i])
	}
	slices.SortFunc(c.Limits, func(a, b *CallLimit) int { return cmp.Compare(a.ID, b.ID) })
	c.indexAnswered(rows)
	c.indexQueues(rows)
	return c
}

// indexAnswered indexes what calls need that the platform answers.
func (c *AccountConfig) indexAnswered(rows AccountRows) {
	c.DIDs, c.DIDByE164 = make(map[string]*DID, len(rows.DIDs)), make(map[string]*DID, len(rows.DIDs))
	for i := range rows.DIDs {
		d := &rows.DIDs[i]
		c.DIDs[d.ID], c.DIDByE164[d.E164] = d, d
	}
	c.Schedules = byID(rows.Schedules)
	c.Trunks = byID(rows.Trunks)
	c.Forwards = byID(rows.Forwards)
	c.indexOutbound(rows)
	c.Voicemails = byID(rows.Voicemails)
	c.Conferences = byID(rows.Conferences)
	c.MediaFiles = byID(rows.MediaFiles)
	c.Playlists = byID(rows.Playlists)
	c.Flows = make(map[string]*CallFlow, len(rows.Flows))
	for _, f := range rows.Flows {
		c.Flows[f.ID] = f
	}
	c.MessagesByVoicemail = make(map[string][]*VoicemailMessage)
	for _, m := range rows.Messages {
		c.MessagesByVoicemail[m.VoicemailID] = append(c.MessagesByVoicemail[m.VoicemailID], m)
	}
	for _, list := range c.MessagesByVoicemail {
		slices.SortFunc(list, func(a, b *VoicemailMessage) int {
			return cmp.Or(cmp.Compare(a.CreatedTS, b.CreatedTS), cmp.Compare(a.ID, b.ID))
		})
	}
}

// indexOutbound indexes what calls to outside need.
func (c *AccountConfig) indexOutbound(rows AccountRows) {
	for i := range rows.Routes {
		c.OutboundRoutes = append(c.OutboundRoutes, &rows.Routes[i])
	}
	slices.SortFunc(c.OutboundRoutes, func(a, b *OutboundRoute) int { return cmp.Compare(a.Name, b.Name) })
	c.RoutesByPrefix = make(map[string][]*OutboundRoute, len(c.OutboundRoutes))
	c.RoutesByCaller = make(map[string][]*OutboundRoute)
	for _, r := range c.OutboundRoutes {
		switch {
		case r.CallerAccount != "":
			c.RoutesByCaller[r.CallerAccount] = append(c.RoutesByCaller[r.CallerAccount], r)
		case !r.IsEmergency:
			c.RoutesByPrefix[r.MatchPrefix] = append(c.RoutesByPrefix[r.MatchPrefix], r)
		}
	}
	c.TrunkByLogin = make(map[string]*SIPTrunk)
	for _, t := range c.Trunks {
		if t.InboundAuth == InboundDigest || t.InboundAuth == InboundRegister {
			c.TrunkByLogin[t.AuthUsername] = t
		}
	}
	c.Secrets = make(map[string]*Secret, len(rows.Secrets))
	for i := range rows.Secrets {
		c.Secrets[rows.Secrets[i].Name] = &rows.Secrets[i]
	}
}

func (c *AccountConfig) indexQueues(rows AccountRows) {
	c.Queues = byID(rows.Queues)
	c.QueueAgents = make(map[string][]*AgentQueueAssignment, len(rows.Queues))
	for i := range rows.Assignments {
		a := &rows.Assignments[i]
		c.QueueAgents[a.QueueID] = append(c.QueueAgents[a.QueueID], a)
	}
	for _, list := range c.QueueAgents {
		slices.SortFunc(list, func(a, b *AgentQueueAssignment) int {
			return cmp.Or(cmp.Compare(a.TierLevel, b.TierLevel), cmp.Compare(a.Position, b.Position), cmp.Compare(a.UserID, b.UserID))
		})
	}
	c.QueueOptions = make(map[string]map[string]*InQueueOption)
	for i := range rows.Options {
		o := &rows.Options[i]
		if c.QueueOptions[o.QueueID] == nil {
			c.QueueOptions[o.QueueID] = make(map[string]*InQueueOption)
		}
		c.QueueOptions[o.QueueID][o.Digit] = o
	}
}

func byID[T any, P interface {
	*T
	Resource
}](rows []T) map[string]*T {
	m := make(map[string]*T, len(rows))
	for i := range rows {
		m[P(&rows[i]).ResourceID()] = &rows[i]
	}
	return m
}

// Zone is the time zone of a schedule: its own, else the account's; UTC when it is not loaded.
func (c *AccountConfig) Zone(scheduleID string) *time.Location {
	name := c.Account.Timezone
	if s := c.Schedules[scheduleID]; s != nil && s.Timezone != "" {
		name = s.Timezone
	}
	if zone := c.Zones[name]; zone != nil {
		return zone
	}
	return time.UTC
}

// AuthKey is the index key of a device's digest identity. The user part is compared exactly, as
// RFC 3261 section 19.1.4 wants; the realm is a domain and compared without case.
func AuthKey(authUsername, realm string) string {
	return authUsername + "@" + strings.ToLower(realm)
}

// AOR is the address-of-record under which the contacts of a device are stored at the edge:
// one AOR a device, so that a directive can name the devices of a user one by one.
func (d *SIPDevice) AOR() string {
	return "sip:" + d.AuthUsername + "@" + strings.ToLower(d.Realm)
}

// LeadsOutside tells whether some trunk of the account leads outside. Over which one a call goes, and whether, the call asks.
func (a *AccountConfig) LeadsOutside() bool {
	for _, t := range a.Trunks {
		if t.Out() {
			return true
		}
	}
	return false
}

// Dialed is what a dialed string means within the account: an active extension, else an active user; unset when nobody has it.
func (a *AccountConfig) Dialed(number string) RouteTarget {
	if e := a.Extensions[number]; e != nil && e.Status == StatusActive {
		return RouteTarget{Kind: DestExtension, ID: e.ID}
	}
	if u := a.UserByName[number]; u != nil && u.Status == StatusActive {
		return RouteTarget{Kind: DestUser, ID: u.ID}
	}
	return RouteTarget{}
}

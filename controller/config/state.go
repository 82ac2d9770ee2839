package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
)

// state is the whole configuration, immutable. It is the brain.Directory that decisions read.
type state struct {
	version   int64
	tenants   map[string]*tenant // by account id; "" holds what belongs to the platform
	domains   map[string]*brain.AccountConfig
	keyByHash map[string]*brain.APIKey
	users     map[string]*brain.ConsoleUser // by email and by id
	nodes     map[string]*brain.Node        // by name
	active    int                           // of nodes
	numbers   map[string]string             // account id by E.164 number
	trunks    sources
	tlsNames  map[string]source // by name in a certificate
}

// tenant is everything of one account, or of the platform.
type tenant struct {
	config *brain.AccountConfig            // nil for the platform
	rows   map[brain.Kind][]brain.Resource // sorted by id
}

func newState() *state {
	return &state{tenants: map[string]*tenant{"": {rows: map[brain.Kind][]brain.Resource{}}}}
}

func (s *state) ByDomain(domain string) *brain.AccountConfig {
	if c := s.domains[domain]; c != nil {
		return c
	}
	return s.domains[strings.ToLower(domain)]
}

func (s *state) ByAccount(id string) *brain.AccountConfig {
	if t := s.tenants[id]; t != nil {
		return t.config
	}
	return nil
}

func (s *state) Version() int64 { return s.version }

func (s *state) ByDID(e164 string) (*brain.AccountConfig, *brain.DID) {
	c := s.ByAccount(s.numbers[e164])
	if c == nil {
		return nil, nil
	}
	return c, c.DIDByE164[e164]
}

func (s *state) TrunkBySource(ip string) (*brain.AccountConfig, *brain.SIPTrunk) {
	found := s.trunks.find(ip)
	c := s.ByAccount(found.owner)
	if c == nil {
		return nil, nil
	}
	return c, c.Trunks[found.trunk]
}

func (s *state) TrunkByTLSName(name string) (*brain.AccountConfig, *brain.SIPTrunk) {
	found := s.tlsNames[strings.ToLower(name)]
	c := s.ByAccount(found.owner)
	if c == nil {
		return nil, nil
	}
	return c, c.Trunks[found.trunk]
}

func (s *state) TrunkSources() []string { return slices.Clone(s.trunks.texts) }

func (s *state) NodeByName(name string) *brain.Node { return s.nodes[name] }

func (s *state) Nodes() []*brain.Node {
	return slices.SortedFunc(maps.Values(s.nodes), func(a, b *brain.Node) int { return strings.Compare(a.Name, b.Name) })
}

func (s *state) ActiveNodes() int { return s.active }

func (s *state) get(k brain.Kind, owner, id string) brain.Resource {
	t := s.tenants[owner]
	if t == nil {
		return nil
	}
	list := t.rows[k]
	if i, found := slices.BinarySearchFunc(list, id, compareID); found {
		return list[i]
	}
	return nil
}

// find looks in every account.
func (s *state) find(k brain.Kind, id string) brain.Resource {
	for owner := range s.tenants {
		if r := s.get(k, owner, id); r != nil {
			return r
		}
	}
	return nil
}

// page returns up to limit resources with ids above after, of one account or ("") of all.
func (s *state) page(k brain.Kind, owner, after string, limit int) []brain.Resource {
	var out []brain.Resource
	for id, t := range s.tenants {
		if owner != "" && owner != id {
			continue
		}
		list := t.rows[k]
		i, found := slices.BinarySearchFunc(list, after, compareID)
		if found {
			i++
		}
		out = append(out, list[i:min(i+limit, len(list))]...)
	}
	slices.SortFunc(out, func(a, b brain.Resource) int { return cmp.Compare(a.ResourceID(), b.ResourceID()) })
	return out[:min(limit, len(out))]
}

func compareID(r brain.Resource, id string) int { return cmp.Compare(r.ResourceID(), id) }

// emptyResource returns a resource with no default in it: for rows that say everything.
func emptyResource(k brain.Kind) brain.Resource {
	r := brain.NewResource(k)
	switch r := r.(type) {
	case *brain.Account:
		r.EmergencySuspended = false
	case *brain.SIPTrunk:
		r.OptionsPingSec = 0
	case *brain.SIPDevice:
		r.RingOnFork = false
	case *brain.Node:
		r.Weight = 0
	case *brain.CallLimit:
		r.Hard = false
	case *brain.DID:
		r.AllowAnonymous = false
	case *brain.Queue:
		r.AnnounceIntervalSec = 0
	}
	return r
}

// draft is a state in the making: the base, with copies of what changes.
type draft struct {
	base    *state
	touched map[string]map[brain.Kind]*rowSet // by owner
}

// rowSet is the rows of one owner and kind: those of the base until the first change.
type rowSet struct {
	list []brain.Resource          // sorted by id; nil while byID is ahead of it
	byID map[string]brain.Resource // nil until the first change
}

func newDraft(base *state) *draft {
	return &draft{base: base, touched: make(map[string]map[brain.Kind]*rowSet)}
}

// open returns the rows of an owner for changing.
func (d *draft) open(owner string) map[brain.Kind]*rowSet {
	sets := d.touched[owner]
	if sets == nil {
		sets = make(map[brain.Kind]*rowSet, len(brain.Kinds))
		for _, k := range brain.Kinds {
			sets[k] = &rowSet{list: d.baseRows(owner, k)}
		}
		d.touched[owner] = sets
	}
	return sets
}

// baseRows is never nil, so that it is told from a list that has to be sorted anew.
func (d *draft) baseRows(owner string, k brain.Kind) []brain.Resource {
	if t := d.base.tenants[owner]; t != nil && t.rows[k] != nil {
		return t.rows[k]
	}
	return []brain.Resource{}
}

func (s *rowSet) forWriting() map[string]brain.Resource {
	if s.byID == nil {
		s.byID = make(map[string]brain.Resource, len(s.list))
		for _, r := range s.list {
			s.byID[r.ResourceID()] = r
		}
	}
	s.list = nil
	return s.byID
}

func (s *rowSet) sorted() []brain.Resource {
	if s.list == nil {
		s.list = make([]brain.Resource, 0, len(s.byID))
		for _, r := range s.byID {
			s.list = append(s.list, r)
		}
		slices.SortFunc(s.list, func(a, b brain.Resource) int { return cmp.Compare(a.ResourceID(), b.ResourceID()) })
	}
	return s.list
}

func (d *draft) put(r brain.Resource) {
	d.open(r.OwnerID())[r.ResourceKind()].forWriting()[r.ResourceID()] = r
}

func (d *draft) remove(r brain.Resource) {
	delete(d.open(r.OwnerID())[r.ResourceKind()].forWriting(), r.ResourceID())
}

func (d *draft) get(k brain.Kind, owner, id string) brain.Resource {
	if sets := d.touched[owner]; sets != nil && sets[k].byID != nil {
		return sets[k].byID[id]
	}
	return d.base.get(k, owner, id)
}

// rows returns the rows of one owner and kind, sorted by id.
func (d *draft) rows(k brain.Kind, owner string) []brain.Resource {
	if sets := d.touched[owner]; sets != nil {
		return sets[k].sorted()
	}
	return d.baseRows(owner, k)
}

// owners lists every owner there is after the change, sorted.
func (d *draft) owners() []string {
	all := make(map[string]bool, len(d.base.tenants)+len(d.touched))
	for id := range d.base.tenants {
		all[id] = true
	}
	for id := range d.touched {
		all[id] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// each calls visit for every resource of a kind, in the order of owners and ids.
func (d *draft) each(k brain.Kind, visit func(r brain.Resource)) {
	for _, owner := range d.owners() {
		for _, r := range d.rows(k, owner) {
			visit(r)
		}
	}
}

// accountRows gathers the rows of one account, sorted by id; false when the account does not exist.
func (d *draft) accountRows(owner string) (brain.AccountRows, bool) {
	account, ok := d.get(brain.KindAccount, owner, owner).(*brain.Account)
	if !ok {
		return brain.AccountRows{}, false
	}
	return brain.AccountRows{
		Account:    *account,
		Domains:    values[brain.SIPDomain](d.rows(brain.KindSIPDomain, owner)),
		Users:      values[brain.SIPUser](d.rows(brain.KindSIPUser, owner)),
		Devices:    values[brain.SIPDevice](d.rows(brain.KindSIPDevice, owner)),
		Extensions: values[brain.Extension](d.rows(brain.KindExtension, owner)),
		RingGroups: values[brain.RingGroup](d.rows(brain.KindRingGroup, owner)),
		Limits:     values[brain.CallLimit](d.rows(brain.KindCallLimit, owner)),

		DIDs:        values[brain.DID](d.rows(brain.KindDID, owner)),
		Schedules:   values[brain.TimeSchedule](d.rows(brain.KindTimeSchedule, owner)),
		Flows:       pointers[brain.CallFlow](d.rows(brain.KindCallFlow, owner)),
		Trunks:      values[brain.SIPTrunk](d.rows(brain.KindSIPTrunk, owner)),
		Routes:      values[brain.OutboundRoute](d.rows(brain.KindOutboundRoute, owner)),
		Forwards:    values[brain.Forward](d.rows(brain.KindForward, owner)),
		Secrets:     values[brain.Secret](d.rows(brain.KindSecret, owner)),
		Voicemails:  values[brain.Voicemail](d.rows(brain.KindVoicemail, owner)),
		Messages:    pointers[brain.VoicemailMessage](d.rows(brain.KindVoicemailMessage, owner)),
		Conferences: values[brain.Conference](d.rows(brain.KindConference, owner)),
		MediaFiles:  values[brain.MediaFile](d.rows(brain.KindMediaFile, owner)),
		Playlists:   values[brain.MediaPlaylist](d.rows(brain.KindMediaPlaylist, owner)),

		Queues:      values[brain.Queue](d.rows(brain.KindQueue, owner)),
		Assignments: values[brain.AgentQueueAssignment](d.rows(brain.KindAgentQueueAssignment, owner)),
		Options:     values[brain.InQueueOption](d.rows(brain.KindInQueueOption, owner)),
	}, true
}

func values[T any](rows []brain.Resource) []T {
	list := make([]T, len(rows))
	for i, r := range rows {
		list[i] = *any(r).(*T)
	}
	return list
}

// pointers hands out the rows themselves: nobody may change them.
func pointers[T any](rows []brain.Resource) []*T {
	list := make([]*T, len(rows))
	for i, r := range rows {
		list[i] = any(r).(*T)
	}
	return list
}

// build makes the new state. Only touched tenants are made anew; versions gives theirs, the new
// version where it says nothing.
func (d *draft) build(version int64, versions map[string]int64) *state {
	next := &state{version: version, tenants: maps.Clone(d.base.tenants)}
	for owner := range d.touched {
		t := &tenant{rows: make(map[brain.Kind][]brain.Resource)}
		for _, k := range brain.Kinds {
			if list := d.rows(k, owner); len(list) > 0 {
				t.rows[k] = list
			}
		}
		if owner != "" {
			account, exists := d.accountRows(owner)
			if !exists {
				delete(next.tenants, owner)
				continue
			}
			v, known := versions[owner]
			if !known {
				v = version
			}
			t.config = brain.NewAccountConfig(v, account)
			t.config.Zones = zonesOf(&account)
		}
		next.tenants[owner] = t
	}
	next.index()
	next.numbers, next.trunks = d.base.numbers, d.base.trunks
	if d.writes(brain.KindDID) {
		next.indexNumbers()
	}
	if d.writes(brain.KindSIPTrunk) {
		next.trunks, next.tlsNames = sourcesOf(next), tlsNamesOf(next)
	}
	return next
}

// writes says whether any resource of the kind changes.
func (d *draft) writes(k brain.Kind) bool {
	for _, sets := range d.touched {
		if sets[k].byID != nil {
			return true
		}
	}
	return false
}

func (s *state) index() {
	s.domains = make(map[string]*brain.AccountConfig, len(s.tenants))
	s.keyByHash = make(map[string]*brain.APIKey)
	s.users = make(map[string]*brain.ConsoleUser)
	s.indexNodes()
	for _, t := range s.tenants {
		if t.config != nil {
			for domain := range t.config.Domains {
				s.domains[domain] = t.config
			}
		}
		for _, r := range t.rows[brain.KindAPIKey] {
			k := r.(*brain.APIKey)
			s.keyByHash[k.Hash] = k
		}
		for _, r := range t.rows[brain.KindConsoleUser] {
			u := r.(*brain.ConsoleUser)
			s.users[u.Email], s.users[u.ID] = u, u // an address of mail has an @, an id has none
		}
	}
}

func (s *state) indexNumbers() {
	s.numbers = make(map[string]string)
	for owner, t := range s.tenants {
		for _, r := range t.rows[brain.KindDID] {
			s.numbers[r.(*brain.DID).E164] = owner
		}
	}
}

func (s *state) indexNodes() {
	rows := s.tenants[""].rows[brain.KindNode]
	s.nodes, s.active = make(map[string]*brain.Node, len(rows)), 0
	for _, r := range rows {
		n := r.(*brain.Node)
		s.nodes[n.Name] = n
		if n.State == "active" {
			s.active++
		}
	}
}

package guard

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/pack"
)

// Questions.
const (
	AskBans  = "bans"  // Page
	AskAllow = "allow" // Allowances
)

// Question is one to the guard, as JSON.
type Question struct {
	What  string `json:"what"`
	Addr  string `json:"addr,omitempty"`  // bans: of this address alone, as KeyOf reads it, with what else is known of it
	Node  string `json:"node,omitempty"`  // bans: that this node enforces
	After string `json:"after,omitempty"` // bans: behind this address

	Offenders bool `json:"offenders,omitempty"` // bans: in their place who is remembered, banned or not

	Limit int `json:"limit,omitempty"` // bans: at most MaxBanPage
}

// Allowances answers AskAllow.
type Allowances struct {
	Version int64         `json:"version"` // rises with each change
	Allowed []api.Allowed `json:"allowed"` // by network
}

// Query answers a *Question, or what AppendListed makes. It changes nothing.
func (m *Machine) Query(nowMS int64, question []byte) ([]byte, error) {
	if len(question) > 0 && question[0] == listedMark {
		return m.compare(nowMS, question[1:])
	}
	var q Question
	if err := json.Unmarshal(question, &q); err != nil {
		return nil, fmt.Errorf("read a question to the guard: %w", err)
	}
	switch q.What {
	case AskBans:
		list, err := m.page(nowMS, &q)
		if err != nil {
			return nil, err
		}
		return json.Marshal(list)
	case AskAllow:
		return json.Marshal(m.allowances(nowMS))
	}
	return nil, fmt.Errorf("the guard does not know what %q is", q.What)
}

// page lists bans in the order of lists.
func (m *Machine) page(nowMS int64, q *Question) (*api.BanList, error) {
	list := &api.BanList{Bans: []api.Ban{}}
	for _, e := range m.bans.byKey {
		if e.endMS > nowMS {
			list.Total++
		}
	}
	if q.Addr != "" {
		key, err := KeyOf(q.Addr)
		if err != nil {
			return nil, err
		}
		if e := m.bans.get(key); e != nil && e.endMS > nowMS {
			list.Bans = append(list.Bans, m.view(e))
		}
		list.About = m.about(nowMS, key)
		return list, nil
	}
	var after netip.Prefix
	if q.After != "" {
		var err error
		if after, err = KeyOf(q.After); err != nil {
			return nil, err
		}
	}
	limit := max(1, min(q.Limit, api.MaxBanPage))
	if q.Offenders {
		var keys []netip.Prefix
		keys, list.Next = pageOf(&m.offenders, limit, func(e *entry[*offender]) bool {
			return e.endMS > nowMS && e.of.lastMS > 0 && (q.After == "" || compareKeys(e.key, after) > 0)
		})
		for _, key := range keys {
			list.Offenders = append(list.Offenders, *m.about(nowMS, key))
		}
		return list, nil
	}
	var keys []netip.Prefix
	keys, list.Next = pageOf(&m.bans, limit, func(e *entry[*ban]) bool {
		return e.endMS > nowMS && (q.After == "" || compareKeys(e.key, after) > 0) && (q.Node == "" || e.of.at(q.Node))
	})
	for _, key := range keys {
		list.Bans = append(list.Bans, m.view(m.bans.get(key)))
	}
	return list, nil
}

// pageOf is the first so many keys of a book for which want holds, in the order of lists; next is the last of them when there are more.
func pageOf[T any](of *book[T], limit int, want func(*entry[T]) bool) (keys []netip.Prefix, next string) {
	for key, e := range of.byKey {
		if want(e) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	if len(keys) > limit {
		keys = keys[:limit]
		next = Name(keys[limit-1])
	}
	return keys, next
}

func (m *Machine) about(nowMS int64, key netip.Prefix) *api.BanAbout {
	a := &api.BanAbout{Addr: Name(key), Protected: m.listed(key)}
	if k := m.known.get(key); k != nil && k.endMS > nowMS && a.Protected == "" {
		a.Protected = whyKnown
	}
	e := m.offenders.get(key)
	if e == nil || e.endMS <= nowMS {
		return a
	}
	o := e.of
	a.Count = decayed(o.count, ms(nowMS-o.anchorMS))
	a.LastKind, a.LastCount, a.LastEvidence, a.LastOffenceMS = o.lastKind, o.lastCount, o.evidence, o.lastMS
	a.LastTier, a.LastNode = o.tier, o.node
	if o.endMS <= nowMS {
		a.LastEndMS = o.endMS
	}
	if o.graceMS > nowMS {
		a.GraceUntilMS = o.graceMS
	}
	return a
}

func (m *Machine) allowances(nowMS int64) *Allowances {
	list := &Allowances{Version: m.allowVersion, Allowed: []api.Allowed{}}
	for _, key := range m.allowed.keys() {
		e := m.allowed.get(key)
		if e.endMS <= nowMS {
			continue
		}
		a := api.Allowed{Net: Net{Prefix: key}.String(), Who: e.of.who, Note: e.of.note, SinceMS: e.of.sinceMS}
		if e.endMS < MaxTimeMS {
			a.UntilMS = e.endMS
		}
		list.Allowed = append(list.Allowed, a)
	}
	return list
}

// listedMark begins the question that compares what a node enforces with what it is to enforce. No JSON begins so.
const listedMark = 'L'

// AppendListed makes that question.
func AppendListed(b []byte, node string, active []api.ActiveBan) []byte {
	b = pack.AppendUint(pack.AppendText(append(b, listedMark), node), uint64(len(active)))
	for i := range active {
		a := &active[i]
		b = pack.AppendText(b, a.Addr)
		b = pack.AppendInt(pack.AppendUint(b, uint64(max(0, slices.Index(tiers[:], a.Tier)))), a.UntilMS)
	}
	return b
}

// Compared is what is wrong at a node, at most api.MaxGuardOrders of each.
type Compared struct {
	AllowVersion int64
	Orders       []api.GuardOrder // bans it misses, or that are to end at another time
	Unknown      []api.ActiveBan  // bans it has that nobody here knows, and that would be recorded: see Offence.Listed
	Policy       int64            // version that was given out last; 0 = none
}

// compare answers what AppendListed asks.
func (m *Machine) compare(nowMS int64, question []byte) ([]byte, error) {
	r := pack.NewReader(question)
	node := r.Text()
	var c Compared
	has := map[netip.Prefix]int64{}
	for range r.Count(api.MaxGuardActive) {
		a := api.ActiveBan{Addr: r.Text(), Tier: readName(r, tiers[:]), UntilMS: r.Int()}
		key, err := KeyOf(a.Addr)
		if err != nil || r.Err() != nil || !inTime(a.UntilMS) {
			continue
		}
		has[key] = a.UntilMS
		e := m.bans.get(key)
		known := e != nil && e.endMS > nowMS && e.of.at(node) || e == nil && m.offenders.get(key) == nil && !m.records(key, &Offence{Offence: api.Offence{Tier: a.Tier}, Listed: true}, false)
		if !known && a.UntilMS > nowMS+Slack.Milliseconds() && len(c.Unknown) < api.MaxGuardOffences {
			c.Unknown = append(c.Unknown, a)
		}
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("read what a node enforces: %w", err)
	}
	c.AllowVersion, c.Policy = m.allowVersion, m.policyVersion
	var wrong []netip.Prefix
	for key, e := range m.bans.byKey {
		if e.endMS <= nowMS+Slack.Milliseconds() || !e.of.at(node) {
			continue
		}
		if until, ok := has[key]; !ok || ms(until-e.endMS).Abs() > Slack {
			wrong = append(wrong, key)
		}
	}
	slices.SortFunc(wrong, compareKeys)
	for _, key := range wrong[:min(len(wrong), api.MaxGuardOrders)] {
		e := m.bans.get(key)
		d := m.order(e, e.of.why)
		c.Orders = append(c.Orders, d.Order())
	}
	return json.Marshal(&c)
}

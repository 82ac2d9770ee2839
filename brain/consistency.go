package brain

import (
	"fmt"
	"strings"
)

// RowError is a mistake that shows only beside the other resources of the account.
type RowError struct {
	Resource Resource // the row at fault: a pointer into the rows given
	Taken    bool     // a name that another row has already, not a wrong value
	FieldError

	// What the field names and the account does not have: its kind, and its id, or its name where names are what is referred to.
	MissingKind Kind
	Missing     string
}

// ValidateAccount checks the rows of one account against each other: names used once, every
// reference to a row of this very account, the realm of a device one of the account's domains,
// exactly one primary domain when there is any. A row of another account does not exist here. The
// result is in the order of the rows.
func ValidateAccount(rows AccountRows) []RowError {
	v := &accountChecker{domains: make(map[string]bool), ids: make(map[Kind]map[string]bool)}
	v.index(rows)
	v.target(&rows.Account, "did_default_dest_id", rows.Account.DIDDefault())
	v.first(&rows.Account, "did_default_dest_id", rows.Account.DIDDefault())
	v.checkDomains(rows.Domains)
	names := newNames(v)
	for i := range rows.Users {
		u := &rows.Users[i]
		names.once(u, "username", u.Username)
		v.target(u, "fwd_always_dest_id", u.FwdAlways())
		v.first(u, "fwd_always_dest_id", u.FwdAlways())
		v.target(u, "fwd_busy_dest_id", u.FwdBusy())
		v.target(u, "fwd_noanswer_dest_id", u.FwdNoanswer())
		v.refer(u, "voicemail_id", KindVoicemail, u.VoicemailID)
	}
	for i := range rows.Devices {
		d := &rows.Devices[i]
		v.refer(d, "user_id", KindSIPUser, d.UserID)
		if !v.domains[strings.ToLower(d.Realm)] {
			v.add(d, "realm", "%s is not one of the account's domains", quote(d.Realm))
			v.names(KindSIPDomain, d.Realm)
		}
		names.once(d, "auth_username", AuthKey(d.AuthUsername, d.Realm))
	}
	for i := range rows.RingGroups {
		g := &rows.RingGroups[i]
		names.once(g, "name", g.Name)
		for n, m := range g.Members {
			v.refer(g, fmt.Sprintf("members[%d].user_id", n), KindSIPUser, m.UserID)
		}
		v.target(g, "overflow_dest_id", g.Overflow())
		v.refer(g, "schedule_id", KindTimeSchedule, g.ScheduleID)
	}
	for i := range rows.Extensions {
		e := &rows.Extensions[i]
		names.once(e, "digits", e.Digits)
		v.target(e, "dest_id", e.Dest())
		v.hours(e, e.ScheduleID, e.ClosedDest(), e.HolidayDest())
	}
	v.checkAnswered(rows, names)
	v.checkQueues(rows, names)
	v.checkOutbound(rows, names)
	v.checkLimits(rows, names)
	return v.errs
}

// accountChecker knows what exists in the account.
type accountChecker struct {
	domains map[string]bool // in lower case
	ids     map[Kind]map[string]bool
	inbound map[string]bool    // trunks that carry no calls from here, by id
	waiting map[string]Trigger // forwards that take only what has been tried elsewhere before, by id
	errs    []RowError
}

func (v *accountChecker) index(rows AccountRows) {
	for i := range rows.Domains {
		v.domains[strings.ToLower(rows.Domains[i].Domain)] = true
	}
	known(v, rows.Users)
	known(v, rows.Extensions)
	known(v, rows.RingGroups)
	known(v, rows.Schedules)
	known(v, rows.MediaFiles)
	known(v, rows.Playlists)
	known(v, rows.Voicemails)
	known(v, rows.Conferences)
	known(v, rows.Queues)
	known(v, rows.Routes)
	known(v, rows.Forwards)
	known(v, rows.Trunks)
	v.waiting = make(map[string]Trigger)
	for i := range rows.Forwards {
		if f := &rows.Forwards[i]; f.Waits() {
			v.waiting[f.ID] = f.Trigger
		}
	}
	v.inbound = make(map[string]bool)
	for i := range rows.Trunks {
		v.inbound[rows.Trunks[i].ID] = rows.Trunks[i].Direction == TrunkInbound
	}
	v.ids[KindCallFlow] = make(map[string]bool, len(rows.Flows))
	for _, f := range rows.Flows {
		v.ids[KindCallFlow][f.ID] = true
	}
}

func known[T any, P interface {
	*T
	Resource
}](v *accountChecker, rows []T) {
	set := make(map[string]bool, len(rows))
	for i := range rows {
		set[P(&rows[i]).ResourceID()] = true
	}
	v.ids[P(new(T)).ResourceKind()] = set
}

func (v *accountChecker) checkDomains(domains []SIPDomain) {
	names := newNames(v)
	primary := ""
	for i := range domains {
		d := &domains[i]
		names.once(d, "domain", strings.ToLower(d.Domain))
		switch {
		case d.IsPrimary && primary != "":
			v.add(d, "is_primary", "%s is the account's primary domain already", quote(primary))
		case d.IsPrimary:
			primary = d.Domain
		}
	}
	if len(domains) > 0 && primary == "" {
		v.add(&domains[len(domains)-1], "is_primary", "one domain of the account must be the primary one")
	}
}

// checkLimits wants a limit to be about this account, or a user of it.
func (v *accountChecker) checkLimits(rows AccountRows, names *nameSet) {
	for i := range rows.Limits {
		l := &rows.Limits[i]
		names.once(l, "name", l.Name)
		switch {
		case i == maxLimits:
			v.add(l, "name", "the account has more than %d call limits", maxLimits)
		case l.ScopeKind == LimitUser && !v.ids[KindSIPUser][l.ScopeID]:
			v.missing(l, "scope_id", KindSIPUser, l.ScopeID)
		case l.ScopeKind == LimitAccount && l.ScopeID != "" && l.ScopeID != rows.Account.ID:
			v.add(l, "scope_id", "%s is not this account: name the limit's own, or leave it empty", quote(l.ScopeID))
		}
	}
}

// destKindOf says which resources a route target of a kind names; hangup names none.
var destKindOf = map[DestKind]Kind{DestUser: KindSIPUser, DestExtension: KindExtension, DestRingGroup: KindRingGroup,
	DestFlow: KindCallFlow, DestQueue: KindQueue, DestVoicemail: KindVoicemail, DestConference: KindConference, DestForward: KindForward, DestTrunk: KindSIPTrunk}

// ResourceKind is the kind of resource that a target of this kind names, "" for hangup and for none.
func (k DestKind) ResourceKind() Kind { return destKindOf[k] }

func (v *accountChecker) target(r Resource, path string, t RouteTarget) {
	if kind := t.Kind.ResourceKind(); kind != "" && (t.ID != "" || t.Kind != DestVoicemail && t.Kind != DestQueue) {
		if t.Kind == DestTrunk && v.inbound[t.ID] {
			v.add(r, path, "the trunk carries no calls from here: its direction is inbound")
		}
		v.find(r, path, kind, t.ID) // without an id: the caller's own mailbox, or the caller as an agent, as Validate allows it
	}
}

// first looks at a target that calls come to before anybody has been tried.
func (v *accountChecker) first(r Resource, path string, t RouteTarget) {
	if trigger := v.waiting[t.ID]; t.Kind == DestForward && trigger != "" {
		v.add(r, path, "the forward takes a call only after %s (trigger), and nobody has been tried before", trigger)
	}
}

// refer wants a row that is named to be there; an empty id names none.
func (v *accountChecker) refer(r Resource, path string, kind Kind, id string) {
	if id != "" {
		v.find(r, path, kind, id)
	}
}

func (v *accountChecker) find(r Resource, path string, kind Kind, id string) {
	if !v.ids[kind][id] {
		v.missing(r, path, kind, id)
	}
}

func (v *accountChecker) hours(r Resource, scheduleID string, closed, holiday RouteTarget) {
	v.refer(r, "schedule_id", KindTimeSchedule, scheduleID)
	v.target(r, "closed_dest_id", closed)
	v.target(r, "holiday_dest_id", holiday)
}

// checkAnswered looks at what calls need that the platform answers. The references inside the graphs of
// flows are checked by those who can read them.
func (v *accountChecker) checkAnswered(rows AccountRows, names *nameSet) {
	for i := range rows.Schedules {
		names.once(&rows.Schedules[i], "name", rows.Schedules[i].Name)
	}
	for i := range rows.MediaFiles {
		names.once(&rows.MediaFiles[i], "name", rows.MediaFiles[i].Name)
	}
	for i := range rows.Playlists {
		p := &rows.Playlists[i]
		names.once(p, "name", p.Name)
		for n, id := range p.MediaIDs {
			v.find(p, fmt.Sprintf("media_ids[%d]", n), KindMediaFile, id)
		}
	}
	for i := range rows.Voicemails {
		m := &rows.Voicemails[i]
		names.once(m, "name", m.Name)
		v.refer(m, "greeting_media_id", KindMediaFile, m.GreetingMediaID)
	}
	for i := range rows.Conferences {
		names.once(&rows.Conferences[i], "name", rows.Conferences[i].Name)
	}
	for _, f := range rows.Flows {
		names.once(f, "name", f.Name)
	}
	for i := range rows.DIDs {
		d := &rows.DIDs[i]
		names.once(d, "e164", d.E164)
		v.target(d, "dest_id", d.Dest())
		v.first(d, "dest_id", d.Dest())
		v.first(d, "closed_dest_id", d.ClosedDest())
		v.first(d, "holiday_dest_id", d.HolidayDest())
		v.hours(d, d.ScheduleID, d.ClosedDest(), d.HolidayDest())
	}
	for _, m := range rows.Messages {
		v.find(m, "voicemail_id", KindVoicemail, m.VoicemailID)
	}
}

func (v *accountChecker) missing(r Resource, path string, kind Kind, id string) {
	v.add(r, path, "no %s %s in the account", kind, quote(id))
	v.names(kind, id)
}

// names notes of the mistake told last what is missing.
func (v *accountChecker) names(kind Kind, id string) {
	last := &v.errs[len(v.errs)-1]
	last.MissingKind, last.Missing = kind, id
}

func (v *accountChecker) add(r Resource, path, format string, args ...any) {
	v.errs = append(v.errs, RowError{Resource: r, FieldError: FieldError{Path: path, Text: fmt.Sprintf(format, args...)}})
}

// nameSet finds names used twice, per field.
type nameSet struct {
	v    *accountChecker
	seen map[string]bool
}

func newNames(v *accountChecker) *nameSet { return &nameSet{v: v, seen: make(map[string]bool)} }

func (n *nameSet) once(r Resource, path, name string) {
	key := string(r.ResourceKind()) + "\x00" + name
	if n.seen[key] {
		n.v.errs = append(n.v.errs, RowError{Resource: r, Taken: true, FieldError: FieldError{Path: path, Text: quote(name) + " is taken already"}})
	}
	n.seen[key] = true
}

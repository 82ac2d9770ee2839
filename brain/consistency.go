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
}

// ValidateAccount checks the rows of one account against each other: names used once, every
// reference to a row of this very account, the realm of a device one of the account's domains,
// exactly one primary domain when there is any. A row of another account does not exist here. The
// result is in the order of the rows.
func ValidateAccount(rows AccountRows) []RowError {
	v := &accountChecker{
		domains: make(map[string]bool), users: make(map[string]bool, len(rows.Users)),
		extensions: make(map[string]bool), groups: make(map[string]bool),
	}
	v.index(rows)
	v.checkDomains(rows.Domains)
	names := newNames(v)
	for i := range rows.Users {
		u := &rows.Users[i]
		names.once(u, "username", u.Username)
		v.target(u, "fwd_always_dest_id", u.FwdAlways())
		v.target(u, "fwd_busy_dest_id", u.FwdBusy())
		v.target(u, "fwd_noanswer_dest_id", u.FwdNoanswer())
	}
	for i := range rows.Devices {
		d := &rows.Devices[i]
		if !v.users[d.UserID] {
			v.missing(d, "user_id", KindSIPUser, d.UserID)
		}
		if !v.domains[strings.ToLower(d.Realm)] {
			v.add(d, "realm", "%s is not one of the account's domains", quote(d.Realm))
		}
		names.once(d, "auth_username", AuthKey(d.AuthUsername, d.Realm))
	}
	for i := range rows.RingGroups {
		g := &rows.RingGroups[i]
		names.once(g, "name", g.Name)
		for n, m := range g.Members {
			if !v.users[m.UserID] {
				v.missing(g, fmt.Sprintf("members[%d].user_id", n), KindSIPUser, m.UserID)
			}
		}
		v.target(g, "overflow_dest_id", g.Overflow())
	}
	for i := range rows.Extensions {
		e := &rows.Extensions[i]
		names.once(e, "digits", e.Digits)
		v.target(e, "dest_id", e.Dest())
	}
	v.checkLimits(rows, names)
	return v.errs
}

// accountChecker knows what exists in the account.
type accountChecker struct {
	domains, users, extensions, groups map[string]bool // by lower-case domain, by id
	errs                               []RowError
}

func (v *accountChecker) index(rows AccountRows) {
	for i := range rows.Domains {
		v.domains[strings.ToLower(rows.Domains[i].Domain)] = true
	}
	for i := range rows.Users {
		v.users[rows.Users[i].ID] = true
	}
	for i := range rows.Extensions {
		v.extensions[rows.Extensions[i].ID] = true
	}
	for i := range rows.RingGroups {
		v.groups[rows.RingGroups[i].ID] = true
	}
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
		case l.ScopeKind == LimitUser && !v.users[l.ScopeID]:
			v.missing(l, "scope_id", KindSIPUser, l.ScopeID)
		case l.ScopeKind == LimitAccount && l.ScopeID != "" && l.ScopeID != rows.Account.ID:
			v.add(l, "scope_id", "%s is not this account: name the limit's own, or leave it empty", quote(l.ScopeID))
		}
	}
}

func (v *accountChecker) target(r Resource, path string, t RouteTarget) {
	switch {
	case t.Kind == DestUser && !v.users[t.ID]:
		v.missing(r, path, KindSIPUser, t.ID)
	case t.Kind == DestExtension && !v.extensions[t.ID]:
		v.missing(r, path, KindExtension, t.ID)
	case t.Kind == DestRingGroup && !v.groups[t.ID]:
		v.missing(r, path, KindRingGroup, t.ID)
	}
}

func (v *accountChecker) missing(r Resource, path string, kind Kind, id string) {
	v.add(r, path, "no %s %s in the account", kind, quote(id))
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

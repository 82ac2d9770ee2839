package config

import (
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/brain/number"
)

// check looks at a draft with the ops applied: the fields of every resource that changes, the references
// inside every account that does, and the names that are unique platform-wide.
func check(d *draft, ops []op) []brain.RowError {
	var faults []brain.RowError
	platform, numbers, trunks, plans, callers := false, false, false, false, false
	for _, o := range ops {
		if o.after != nil {
			faults = append(faults, checkFields(o.after)...)
		}
		switch o.resource().ResourceKind() {
		case brain.KindAccount, brain.KindSIPDomain, brain.KindNode, brain.KindAPIKey:
			platform = true
		case brain.KindDID:
			numbers = true
		case brain.KindSIPTrunk:
			trunks = true
		case brain.KindOutboundRoute:
			callers = true
		}
		if k := o.resource().ResourceKind(); k == brain.KindAccount || k == brain.KindRatePlan || k == brain.KindSIPTrunk {
			plans = true
		}
	}
	for _, owner := range d.owners() {
		if owner == "" || d.touched[owner] == nil {
			continue
		}
		if rows, exists := d.accountRows(owner); exists {
			faults = append(faults, brain.ValidateAccount(rows)...)
			faults = append(faults, checkFlows(d, ops, owner)...)
		} else {
			faults = append(faults, leftBehind(d, owner)...)
		}
	}
	if platform {
		faults = append(faults, checkPlatform(d)...)
	}
	if numbers {
		faults = append(faults, checkUnique(d, brain.KindDID, "e164", brain.NameOf)...)
	}
	if trunks {
		faults = append(faults, checkSources(d)...)
		faults = append(faults, checkTLSNames(d)...)
	}
	if callers || platform {
		faults = append(faults, checkCallers(d)...)
	}
	if plans {
		faults = append(faults, checkPlans(d)...)
	}
	return faults
}

// checkFields is brain.Validate, and what takes a table of time zones or dial plans or the language of flows: all of it at once, one
// mistake of a field.
func checkFields(r brain.Resource) []brain.RowError {
	var faults []brain.RowError
	for _, m := range brain.Validate(r) {
		faults = append(faults, brain.RowError{Resource: r, FieldError: m})
	}
	if flow, ok := r.(*brain.CallFlow); ok && len(faults) == 0 {
		return checkGraph(flow)
	}
	for _, f := range slices.Concat(checkZone(r), checkCountry(r), checkScanner(r)) {
		if !slices.ContainsFunc(faults, func(told brain.RowError) bool { return told.Path == f.Path }) {
			faults = append(faults, f)
		}
	}
	return faults
}

// scanners are the guard's own signatures.
var scanners = guard.Signatures(nil)

// checkScanner refuses the name of a phone that the guard's own signatures take for a scanner: nodes would ban it with its first packet.
func checkScanner(r brain.Resource) []brain.RowError {
	field, from := "", ""
	switch r := r.(type) {
	case *brain.SIPUser:
		field, from = "username", "sip:"+r.Username+"@"
	case *brain.SIPDevice:
		field, from = "auth_username", "sip:"+r.AuthUsername+"@"+r.Realm
	default:
		return nil
	}
	if mark := guard.Scanner(scanners, "", from, ""); mark != "" {
		return []brain.RowError{{Resource: r, FieldError: brain.FieldError{Path: field, Text: fmt.Sprintf("is what scanners call themselves: nodes ban whoever does, by the signature %q", mark)}}}
	}
	return nil
}

// checkCountry finds out whether the countries that an account names have a dial plan.
func checkCountry(r brain.Resource) []brain.RowError {
	a, ok := r.(*brain.Account)
	if !ok {
		return nil
	}
	var faults []brain.RowError
	look := func(path, country string) {
		if country != "" && country != brain.AnyCountry && country != brain.NoCountry && !number.Known(country) {
			faults = append(faults, brain.RowError{Resource: r, FieldError: brain.FieldError{Path: path, Text: fmt.Sprintf("no dial plan is known for %q", country)}})
		}
	}
	look("country", a.Country)
	for i, country := range a.OutboundCountries {
		look(fmt.Sprintf("outbound_countries[%d]", i), country)
	}
	return faults
}

// leftBehind finds the resources of an account that is gone.
func leftBehind(d *draft, owner string) []brain.RowError {
	account := d.base.get(brain.KindAccount, owner, owner)
	if account == nil {
		return nil // was never there: the caller has found that out
	}
	var faults []brain.RowError
	for _, k := range brain.Kinds {
		if n := len(d.rows(k, owner)); n > 0 {
			faults = append(faults, brain.RowError{Resource: account, Taken: true,
				FieldError: brain.FieldError{Path: string(k), Text: fmt.Sprintf("the account still has %d", n)}})
		}
	}
	return faults
}

// checkPlatform checks what no account can see by itself.
func checkPlatform(d *draft) []brain.RowError {
	faults := checkUnique(d, brain.KindAccount, "name", brain.NameOf)
	faults = append(faults, checkUnique(d, brain.KindSIPDomain, "domain", brain.NameOf)...)
	faults = append(faults, checkUnique(d, brain.KindNode, "name", brain.NameOf)...)
	faults = append(faults, checkUnique(d, brain.KindAPIKey, "name", func(r brain.Resource) string { return r.OwnerID() + "\x00" + brain.NameOf(r) })...)
	faults = append(faults, checkUnique(d, brain.KindConsoleUser, "email", brain.NameOf)...)
	faults = append(faults, checkKeys(d)...)
	return append(faults, checkParents(d)...)
}

// maxKeys bounds the API keys of an account. The platform's are not bounded: each node may have its own.
const maxKeys = 100

// checkKeys lets no account have more keys than it may. One that has more already may have fewer, not more.
func checkKeys(d *draft) []brain.RowError {
	var faults []brain.RowError
	for _, owner := range d.owners() {
		keys, before := d.rows(brain.KindAPIKey, owner), d.baseRows(owner, brain.KindAPIKey)
		if owner == "" || len(keys) <= maxKeys || len(keys) <= len(before) {
			continue
		}
		for _, r := range keys {
			if d.base.get(brain.KindAPIKey, owner, r.ResourceID()) == nil {
				faults = append(faults, brain.RowError{Resource: r, Taken: true,
					FieldError: brain.FieldError{Path: "account_id", Text: fmt.Sprintf("the account has %d keys, at most %d: delete one first", len(before), maxKeys)}})
			}
		}
	}
	return faults
}

// checkUnique wants no two resources of a kind to have one key, whoever owns them. The fault is told of the
// one that changes.
func checkUnique(d *draft, k brain.Kind, path string, key func(r brain.Resource) string) []brain.RowError {
	var faults []brain.RowError
	holder := make(map[string]brain.Resource)
	d.each(k, func(r brain.Resource) {
		name := key(r)
		other := holder[name]
		if other == nil {
			holder[name] = r
			return
		}
		if (k == brain.KindSIPDomain || k == brain.KindDID) && other.OwnerID() == r.OwnerID() {
			return // told by brain.ValidateAccount
		}
		if d.base.get(k, r.OwnerID(), r.ResourceID()) == r {
			r = other
		}
		faults = append(faults, brain.RowError{Resource: r, Taken: true,
			FieldError: brain.FieldError{Path: path, Text: fmt.Sprintf("%q is taken already", brain.NameOf(r))}})
	})
	return faults
}

// checkParents wants every parent to exist, and no account to be its own ancestor.
func checkParents(d *draft) []brain.RowError {
	accounts := make(map[string]*brain.Account)
	d.each(brain.KindAccount, func(r brain.Resource) { accounts[r.ResourceID()] = r.(*brain.Account) })
	var faults []brain.RowError
	d.each(brain.KindAccount, func(r brain.Resource) {
		text := ""
		a := r.(*brain.Account)
		for steps := 0; a.ParentID != nil && text == ""; steps++ {
			parent := accounts[*a.ParentID]
			switch {
			case parent == nil && steps == 0:
				text = fmt.Sprintf("no account %q", *a.ParentID)
			case parent == nil:
				return // told of the account whose parent it is
			case steps == maxParents || parent.ID == r.ResourceID():
				text = fmt.Sprintf("the chain of parents comes back to itself or is longer than %d", maxParents)
			default:
				a = parent
			}
		}
		if text != "" {
			faults = append(faults, brain.RowError{Resource: r, FieldError: brain.FieldError{Path: "parent_id", Text: text}})
		}
	})
	return faults
}

// checkCallers wants the account whose calls a route is for to be one below the route's own, however many resellers are between. One
// that is not there is told like one that is somebody else's.
func checkCallers(d *draft) []brain.RowError {
	parents := make(map[string]*string)
	d.each(brain.KindAccount, func(r brain.Resource) { parents[r.ResourceID()] = r.(*brain.Account).ParentID })
	var faults []brain.RowError
	d.each(brain.KindOutboundRoute, func(r brain.Resource) {
		id := r.(*brain.OutboundRoute).CallerAccount
		if id == "" || id == r.OwnerID() || descends(id, r.OwnerID(), func(id string) *string { return parents[id] }) {
			return // the account itself is told by brain.Validate
		}
		faults = append(faults, brain.RowError{Resource: r, FieldError: brain.FieldError{Path: "caller_account", Text: "is no subaccount of the route's account"}})
	})
	return faults
}

// descends tells whether an account has another one among its parents.
func descends(id, above string, parentOf func(id string) *string) bool {
	for range maxParents {
		parent := parentOf(id)
		if parent == nil {
			return false
		}
		if id = *parent; id == above {
			return true
		}
	}
	return false
}

// parentOf is the account above one, nil when there is none.
func (s *state) parentOf(id string) *string {
	if c := s.ByAccount(id); c != nil {
		return c.Account.ParentID
	}
	return nil
}

// maxParents bounds the depth of resellers.
const maxParents = 8

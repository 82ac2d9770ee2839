package config

import (
	"fmt"
	"time"
	_ "time/tzdata" // the zones that exist do not depend on the machine

	"github.com/sipio/sipio/brain"
)

// check looks at a draft with the ops applied: the fields of every resource that changes, the references
// inside every account that does, and the names that are unique platform-wide.
func check(d *draft, ops []op) []brain.RowError {
	var faults []brain.RowError
	platform := false
	for _, o := range ops {
		if o.after != nil {
			faults = append(faults, checkFields(o.after)...)
		}
		switch o.resource().ResourceKind() {
		case brain.KindAccount, brain.KindSIPDomain, brain.KindNode, brain.KindAPIKey:
			platform = true
		}
	}
	for _, owner := range d.owners() {
		if owner == "" || d.touched[owner] == nil {
			continue
		}
		if rows, exists := d.accountRows(owner); exists {
			faults = append(faults, brain.ValidateAccount(rows)...)
		} else {
			faults = append(faults, leftBehind(d, owner)...)
		}
	}
	if platform {
		faults = append(faults, checkPlatform(d)...)
	}
	return faults
}

// checkFields is brain.Validate, and what takes a table of time zones.
func checkFields(r brain.Resource) []brain.RowError {
	var faults []brain.RowError
	for _, m := range brain.Validate(r) {
		faults = append(faults, brain.RowError{Resource: r, FieldError: m})
	}
	if a, ok := r.(*brain.Account); ok && len(faults) == 0 {
		if _, err := time.LoadLocation(a.Timezone); err != nil || a.Timezone == "Local" {
			text := fmt.Sprintf("no time zone is called %q", a.Timezone)
			faults = append(faults, brain.RowError{Resource: r, FieldError: brain.FieldError{Path: "timezone", Text: text}})
		}
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

// checkPlatform checks what no account can see by itself. Of two resources with one name the fault is
// told of the one that changes.
func checkPlatform(d *draft) []brain.RowError {
	var faults []brain.RowError
	unique := func(k brain.Kind, path string, key func(r brain.Resource) string) {
		holder := make(map[string]brain.Resource)
		d.each(k, func(r brain.Resource) {
			name := key(r)
			other := holder[name]
			if other == nil {
				holder[name] = r
				return
			}
			if k == brain.KindSIPDomain && other.OwnerID() == r.OwnerID() {
				return // told by brain.ValidateAccount
			}
			if d.base.get(k, r.OwnerID(), r.ResourceID()) == r {
				r = other
			}
			faults = append(faults, brain.RowError{Resource: r, Taken: true,
				FieldError: brain.FieldError{Path: path, Text: fmt.Sprintf("%q is taken already", nameOf(r))}})
		})
	}
	unique(brain.KindAccount, "name", nameOf)
	unique(brain.KindSIPDomain, "domain", nameOf)
	unique(brain.KindNode, "name", nameOf)
	unique(brain.KindAPIKey, "name", func(r brain.Resource) string { return r.OwnerID() + "\x00" + nameOf(r) })
	return append(faults, checkParents(d)...)
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

// maxParents bounds the depth of resellers.
const maxParents = 8

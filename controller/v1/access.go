package v1

import (
	"context"
	"slices"

	"github.com/sipio/sipio/brain"
)

type callerKey struct{}

// caller is the credential behind a request. Its account is the only source of the account of
// whatever it touches; a key of the platform may name one.
type caller struct{ key brain.APIKey }

// callerOf is set for every request that reached an operation; the zero caller has no right at all.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// actor is how revisions name the caller.
func (c caller) actor() string { return c.key.ID }

func (c caller) has(scope brain.Scope) bool { return slices.Contains(c.key.Scopes, scope) }

// isPlatform reports whether the caller may reach every account: to do there what its other scopes say. A key that belongs to an
// account never may, whatever scopes it carries; a console user of the platform may, which is all that its viewers have of it.
func (c caller) isPlatform() bool {
	return c.key.AccountID == "" && (c.has(brain.ScopePlatform) || c.key.IsUser())
}

// need refuses, naming the scope that is missing.
func (c caller) need(scope brain.Scope) error {
	switch {
	case scope == brain.ScopePlatform && c.isPlatform():
		return nil
	case scope == brain.ScopePlatform:
		return brain.Errorf(brain.EForbidden, "this needs a key of the platform with the scope %s", scope)
	case !c.has(scope):
		return brain.Errorf(brain.EForbidden, "the key lacks the scope %s", scope)
	}
	return nil
}

// account resolves which account a request is about: the credential's own, or for the platform the
// one asked for, "" meaning all of them.
func (c caller) account(asked string) (string, error) {
	switch {
	case c.key.AccountID == "":
		return asked, c.need(brain.ScopePlatform)
	case asked != "" && asked != c.key.AccountID:
		return "", brain.Errorf(brain.EForbidden, "account_id names another account: this needs a key of the platform with the scope %s", brain.ScopePlatform)
	}
	return c.key.AccountID, nil
}

// rights says who may use a collection.
type rights struct {
	read, write                   brain.Scope
	platformReads, platformWrites bool // only for keys of the platform
}

// enter checks a caller's right to read or write a collection and resolves the account.
func (r rights) enter(ctx context.Context, asked string, writes bool) (caller, string, error) {
	c := callerOf(ctx)
	scope, platformOnly := r.read, r.platformReads
	if writes {
		scope, platformOnly = r.write, r.platformWrites
	}
	if err := c.need(scope); err != nil {
		return c, "", err
	}
	if platformOnly {
		if err := c.need(brain.ScopePlatform); err != nil {
			return c, "", err
		}
	}
	accountID, err := c.account(asked)
	return c, accountID, err
}

// grant refuses scopes that the maker of a key does not hold, and those of the platform on the key
// of an account. Scopes the key already had may stay.
func (c caller) grant(accountID string, had, want []brain.Scope) []brain.FieldError {
	var wrong []brain.FieldError
	add := func(i int, text string) {
		wrong = append(wrong, brain.FieldError{Path: index("scopes", i), Text: text})
	}
	for i, scope := range want {
		switch {
		case !slices.Contains(brain.Scopes, scope):
			add(i, "no such scope: "+string(scope))
		case accountID != "" && (scope == brain.ScopePlatform || scope == brain.ScopeNode):
			add(i, string(scope)+" is for keys of the platform only")
		case scope == brain.ScopeAuditRead && c.isPlatform(): // reads all of it
		case !c.has(scope) && !slices.Contains(had, scope):
			add(i, "a key cannot be given the scope "+string(scope)+", which its maker lacks")
		}
	}
	return wrong
}

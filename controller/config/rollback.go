package config

import (
	"context"
	"fmt"
	"slices"

	"github.com/sipio/sipio/brain"
)

// Rollback returns the configuration to what it was after revision rev, as a revision of its own. API
// keys and console users are left as they are: a key that was revoked stays revoked; only those of accounts that did not
// exist then go with them. So are the passwords of devices that still have their identity: a password that was
// changed because it had leaked does not come back. PINs, the values of secrets and the secrets of nodes stay likewise, and so do messages of mailboxes, which are no
// configuration, and what is known of uploaded files. It returns what changes and the version after it; with dryRun nothing is
// changed. ENotFound: no such revision.
func (s *Store) Rollback(ctx context.Context, actor string, rev int64, dryRun bool) (brain.Plan, int64, error) {
	var plan brain.Plan
	version, err := s.write(ctx, actor, func(base *state) (proposal, error) {
		if rev < 1 || rev > base.version {
			return proposal{}, brain.Errorf(brain.ENotFound, "no revision %d: there are 1 to %d", rev, base.version)
		}
		past, err := rowsAfter(ctx, s.db, rev)
		if err != nil {
			return proposal{}, fmt.Errorf("read revisions after %d: %w", rev, err)
		}
		ops := opsBack(base, past)
		d := newDraft(base)
		for _, o := range ops {
			o.apply(d)
		}
		plan = planOf(d, ops)
		p := proposal{draft: d, ops: ops, why: fmt.Sprintf("rollback to %d: ", rev), only: dryRun}
		return p, (&preparation{base: base}).verdict(check(d, ops))
	})
	if err != nil {
		return brain.Plan{}, 0, err
	}
	return plan, version, nil
}

// keep returns the past row with what does not go back: credentials, PINs, values of secrets, and what the platform writes. The
// graph that calls run does go back, as a new version of the flow.
func keep(now, past brain.Resource) brain.Resource {
	if now == nil || past == nil {
		return past
	}
	kept := brain.Clone(past)
	keepReadOnly(now, kept)
	switch kept := kept.(type) {
	case *brain.SIPDevice:
		if is := now.(*brain.SIPDevice); brain.AuthKey(is.AuthUsername, is.Realm) == brain.AuthKey(kept.AuthUsername, kept.Realm) {
			kept.HA1MD5, kept.HA1SHA256 = is.HA1MD5, is.HA1SHA256
		}
	case *brain.Voicemail:
		kept.PINHash = now.(*brain.Voicemail).PINHash
	case *brain.Conference:
		is := now.(*brain.Conference)
		kept.PINHash, kept.ModeratorPINHash = is.PINHash, is.ModeratorPINHash
	case *brain.Secret:
		if is := now.(*brain.Secret); is.Name == kept.Name {
			kept.Sealed = is.Sealed // it is sealed under the name
		}
	case *brain.Node:
		is := now.(*brain.Node)
		kept.AgentTokenSealed, kept.AccessSecretSealed = is.AgentTokenSealed, is.AccessSecretSealed
	case *brain.CallFlow:
		if was := past.(*brain.CallFlow).LiveGraph; !was.Equal(kept.LiveGraph) {
			kept.LiveGraph = was.Clone()
			kept.Version++
		}
	}
	return kept
}

// opsBack lists what has to change for every row to be as it was: creates and updates in the order of
// kinds, then deletes in the opposite order.
func opsBack(base *state, past []pastRow) []op {
	var writes, deletes []op
	for _, p := range past {
		now := base.get(p.kind, p.owner, p.id)
		p.row = keep(now, p.row)
		switch {
		case now == nil && p.row == nil || now != nil && p.row != nil && same(now, p.row):
		case p.row != nil:
			writes = append(writes, opOf(now, p.row))
		default:
			deletes = append(deletes, opOf(now, nil))
			if p.kind == brain.KindAccount {
				for _, gone := range slices.Concat(base.tenants[p.id].rows[brain.KindAPIKey], base.tenants[p.id].rows[brain.KindConsoleUser]) {
					deletes = append(deletes, opOf(gone, nil))
				}
			}
		}
	}
	rank := func(o op) int { return slices.Index(brain.Kinds, o.resource().ResourceKind()) }
	slices.SortStableFunc(writes, func(a, b op) int { return rank(a) - rank(b) })
	slices.SortStableFunc(deletes, func(a, b op) int { return rank(b) - rank(a) })
	return append(writes, deletes...)
}

package config

import (
	"context"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// rows is dump without versions: what the configuration is, whichever revision it has.
func rows(t testing.TB, s *Store) string {
	t.Helper()
	var keep []string
	for _, line := range strings.Split(dump(t, s), "\n") {
		if !strings.Contains(line, "version") && !strings.HasPrefix(line, "api_key") {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "\n")
}

// Proves that going back to a revision restores every row as it was, ids and digests included, over
// creates, updates, deletes and prunes; that it is a revision itself and can be taken back; and that a
// dry run only tells.
func TestRollback_RestoresTheStateAfterARevision(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	states := []string{"", rows(t, s)}
	note := func() { states = append(states, rows(t, s)) }
	c := account(t, s, "acme.test")
	d := c.DeviceByAuth["1001@acme.test"].Redacted()
	d.Password = "changed"
	mustChange(t, s, brain.OpUpdate, d)
	note()
	mustApply(t, s, []byte("{kind: account, name: acme}"), brain.ApplyOptions{Prune: true})
	note()
	b := account(t, s, "beta.test")
	mustChange(t, s, brain.OpDelete, &b.Account, b.Domains["beta.test"], b.UserByName["1001"], b.DeviceByAuth["1001@beta.test"])
	note()
	for _, rev := range []int64{1, 3, 2, 4, 1} {
		before, newest := rows(t, s), s.Directory().Version()
		dry, version, err := s.Rollback(ctx, "test", rev, true)
		if err != nil || version != newest || rows(t, s) != before {
			t.Fatalf("dry run of %d: version %d, %v", rev, version, err)
		}
		plan, version, err := s.Rollback(ctx, "test", rev, false)
		if err != nil || version != newest+1 || plan.String() != dry.String() || len(plan.Items) == 0 {
			t.Fatalf("rollback to %d: version %d, %v\n%s", rev, version, err, plan)
		}
		if got := rows(t, s); got != states[rev] {
			t.Errorf("after rollback to %d:\n%s\nwant:\n%s", rev, got, states[rev])
		}
		if err := s.reload(ctx); err != nil {
			t.Fatal(err)
		}
		if got := rows(t, s); got != states[rev] {
			t.Errorf("in the file, after rollback to %d:\n%s", rev, got)
		}
	}
	list, err := s.Revisions(ctx, 2)
	if err != nil || len(list) != 2 || list[0].Version != s.Directory().Version() || !strings.HasPrefix(list[0].Summary, "rollback to 1: ") || list[0].Actor != "test" || list[0].TimeMS == 0 {
		t.Errorf("revisions: %+v, %v", list, err)
	}
}

// Proves that a password changed since then stays changed, while the rest of its device goes back.
func TestRollback_DoesNotReviveAChangedPassword(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	rev := s.Directory().Version()
	d := account(t, s, "acme.test").DeviceByAuth["1001@acme.test"].Redacted()
	d.Password, d.RingOrder = "changed", 7
	mustChange(t, s, brain.OpUpdate, d)
	changed := account(t, s, "acme.test").DeviceByAuth["1001@acme.test"].HA1MD5
	if _, _, err := s.Rollback(ctx, "test", rev, false); err != nil {
		t.Fatal(err)
	}
	got := account(t, s, "acme.test").DeviceByAuth["1001@acme.test"]
	if got.HA1MD5 != changed || got.RingOrder == 7 {
		t.Errorf("after the rollback: digest kept %v, ring_order %d", got.HA1MD5 == changed, got.RingOrder)
	}
}

// Proves that rollback neither revives a revoked key nor takes a living one, except with its account.
func TestRollback_LeavesKeysAloneExceptOfAccountsThatGo(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	owner := account(t, s, "acme.test").Account.ID
	scopes := []brain.Scope{brain.ScopeConfigRead}
	revoked, key, err := s.NewKey(ctx, "test", owner, "revoked", scopes)
	if err != nil {
		t.Fatal(err)
	}
	rev := s.Directory().Version()
	mustChange(t, s, brain.OpDelete, &key)
	living, _, err := s.NewKey(ctx, "test", owner, "living", scopes)
	if err != nil {
		t.Fatal(err)
	}
	late := &brain.Account{Name: "late"}
	mustChange(t, s, brain.OpCreate, late)
	gone, _, err := s.NewKey(ctx, "test", late.ID, "gone", scopes)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Rollback(ctx, "test", rev, false); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]bool{revoked: false, living: true, gone: false} {
		if _, ok := s.KeyByToken(token); ok != want {
			t.Errorf("a key is taken: %v, want %v", ok, want)
		}
	}
}

// Proves that a revision that never was is not found, and that going back to the newest changes nothing.
func TestRollback_RefusesUnknownRevisions(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	for _, rev := range []int64{-1, 0, 2} {
		_, _, err := s.Rollback(ctx, "test", rev, false)
		wantCode(t, err, brain.ENotFound, "no revision")
	}
	if plan, version, err := s.Rollback(ctx, "test", 1, false); err != nil || version != 1 || len(plan.Items) != 0 {
		t.Errorf("version %d, %v\n%s", version, err, plan)
	}
}

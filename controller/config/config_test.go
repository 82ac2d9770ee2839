package config

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// openStore makes an empty store that is closed with the test.
func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(context.Background(), filepath.Join(t.TempDir(), "config.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Secrets = plainSealer()
	return s
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// acmeStore is a store with testdata/acme.yaml in it.
func acmeStore(t testing.TB) *Store {
	t.Helper()
	s := openStore(t)
	mustApply(t, s, readFile(t, "acme.yaml"), brain.ApplyOptions{})
	return s
}

func mustApply(t testing.TB, s *Store, doc []byte, opt brain.ApplyOptions) brain.Plan {
	t.Helper()
	plan, _, err := s.Apply(context.Background(), "test", doc, opt)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func mustChange(t testing.TB, s *Store, op brain.ChangeOp, resources ...brain.Resource) int64 {
	t.Helper()
	v, err := change(s, op, resources...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func change(s *Store, op brain.ChangeOp, resources ...brain.Resource) (int64, error) {
	var changes []brain.Change
	for _, r := range resources {
		changes = append(changes, brain.Change{Op: op, Resource: r})
	}
	return s.Change(context.Background(), "test", changes...)
}

func wantCode(t *testing.T, err error, code brain.Code, part string) {
	t.Helper()
	if brain.CodeOf(err) != code || !strings.Contains(err.Error(), part) {
		t.Errorf("got %q %v, want %q with %q", brain.CodeOf(err), err, code, part)
	}
}

// account returns the configuration of an account by one of its domains.
func account(t testing.TB, s *Store, domain string) *brain.AccountConfig {
	t.Helper()
	c := s.Directory().ByDomain(domain)
	if c == nil {
		t.Fatalf("no account has the domain %s", domain)
	}
	return c
}

// Proves that the file holds what the snapshot showed: a store opened anew has equal rows and versions.
func TestOpen_ReadsBackWhatWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?#%.db") // a name that a DSN could take for something else
	s, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	s.Secrets = plainSealer()
	mustApply(t, s, readFile(t, "acme.yaml"), brain.ApplyOptions{})
	token, _, err := s.NewKey(context.Background(), "test", "", "root", []brain.Scope{brain.ScopePlatform, brain.ScopeNode})
	if err != nil {
		t.Fatal(err)
	}
	before := dump(t, s)
	s.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; digests want 0600", info, err)
	}
	s, err = Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if after := dump(t, s); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if key, ok := s.KeyByToken(token); !ok || key.Name != "root" || key.AccountID != "" {
		t.Errorf("the key is %+v, %v", key, ok)
	}
}

// dump writes every row, with digests, and every version.
func dump(t testing.TB, s *Store) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "version %d\n", s.Directory().Version())
	for _, k := range brain.Kinds {
		list, err := s.List(context.Background(), k, "", "", MaxList)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			text, _ := image(r)
			fmt.Fprintln(&b, k, text)
			if k == brain.KindAccount {
				fmt.Fprintln(&b, "account version", s.Directory().ByAccount(r.ResourceID()).Version)
			}
		}
	}
	return b.String()
}

// Proves that a view taken before a change stays what it was, and that what List returns is the caller's.
func TestDirectory_IsImmutable(t *testing.T) {
	s := acmeStore(t)
	view := account(t, s, "acme.test")
	list, err := s.List(context.Background(), brain.KindRingGroup, "", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	list[0].(*brain.RingGroup).Members[0].UserID = "us_changed"
	g := *view.RingGroups[list[0].ResourceID()]
	if g.Members[0].UserID == "us_changed" {
		t.Error("List handed out the snapshot itself")
	}
	g.Members = []brain.RingGroupMember{}
	mustChange(t, s, brain.OpUpdate, &g)
	if len(view.RingGroups[g.ID].Members) != 2 {
		t.Error("the old view changed")
	}
}

// Proves that pages follow each other without gap or repetition, for one account and for all.
func TestList_PagesByID(t *testing.T) {
	s := acmeStore(t)
	for _, owner := range []string{"", account(t, s, "acme.test").Account.ID} {
		var ids []string
		for after := ""; ; after = ids[len(ids)-1] {
			page, err := s.List(context.Background(), brain.KindSIPUser, owner, after, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			ids = append(ids, page[0].ResourceID())
		}
		want := map[bool]int{true: 3, false: 2}[owner == ""]
		if len(ids) != want || !slices.IsSorted(ids) || len(slices.Compact(ids)) != want {
			t.Errorf("owner %q: %v, want %d", owner, ids, want)
		}
	}
	for _, limit := range []int{0, -1, MaxList + 1} {
		_, err := s.List(context.Background(), brain.KindSIPUser, "", "", limit)
		wantCode(t, err, brain.EInvalid, "limit")
	}
}

// Proves that a key is found by its token, by nothing else, and no more once it is deleted; and that
// rights of the platform cannot be given to an account's key.
func TestKeyByToken_FindsOnlyLiveKeys(t *testing.T) {
	s := acmeStore(t)
	ctx, owner := context.Background(), account(t, s, "acme.test").Account.ID
	token, key, err := s.NewKey(ctx, "test", owner, "ci", []brain.Scope{brain.ScopeConfigRead})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := s.KeyByToken(token); !ok || got.ID != key.ID || got.AccountID != owner {
		t.Errorf("got %+v, %v", got, ok)
	}
	for _, wrong := range []string{"", token[:len(token)-1], token + "0", key.Hash, key.ID, strings.Repeat("x", 10_000)} {
		if _, ok := s.KeyByToken(wrong); ok {
			t.Errorf("%.80q is taken for a key", wrong)
		}
	}
	_, _, err = s.NewKey(ctx, "test", owner, "root", []brain.Scope{brain.ScopePlatform})
	wantCode(t, err, brain.EInvalid, "scopes[0]")
	_, _, err = s.NewKey(ctx, "test", owner, "ci", []brain.Scope{brain.ScopeConfigRead})
	wantCode(t, err, brain.EConflict, "taken")
	_, _, err = s.NewKey(ctx, "test", "acc_nobody", "x", []brain.Scope{brain.ScopeConfigRead})
	wantCode(t, err, brain.ENotFound, "acc_nobody")
	mustChange(t, s, brain.OpDelete, &key)
	if _, ok := s.KeyByToken(token); ok {
		t.Error("a deleted key is still taken")
	}
}

// Proves that the constraints of the tables hold by themselves, should a check above them ever miss:
// rows are written past the checks and the file refuses them.
func TestSQLite_RefusesWhatTheChecksWouldMiss(t *testing.T) {
	s := acmeStore(t)
	acme, beta := account(t, s, "acme.test"), account(t, s, "beta.test")
	for name, r := range map[string]brain.Resource{
		"device of another account's user":  &brain.SIPDevice{ID: "dev_x", AccountID: acme.Account.ID, UserID: beta.UserByName["1001"].ID, AuthUsername: "x", Realm: "acme.test", HA1MD5: strings.Repeat("0", 32), Transport: "udp", Status: "active"},
		"device in another account's realm": &brain.SIPDevice{ID: "dev_x", AccountID: acme.Account.ID, UserID: acme.UserByName["1001"].ID, AuthUsername: "x", Realm: "beta.test", HA1MD5: strings.Repeat("0", 32), Transport: "udp", Status: "active"},
		"second primary domain":             &brain.SIPDomain{ID: "dom_x", AccountID: acme.Account.ID, Domain: "x.test", IsPrimary: true},
		"domain taken":                      &brain.SIPDomain{ID: "dom_x", AccountID: acme.Account.ID, Domain: "beta.test"},
		"bad enum":                          &brain.Extension{ID: "ext_x", AccountID: acme.Account.ID, Digits: "1", DestKind: "moon", Status: "active"},
		"unknown account":                   &brain.Extension{ID: "ext_x", AccountID: "acc_x", Digits: "1", DestKind: "hangup", Status: "active"},
		"member of another account":         &brain.RingGroup{ID: "rg_x", AccountID: acme.Account.ID, Name: "x", Strategy: "sequential", RingTimeoutSec: 1, Members: []brain.RingGroupMember{{UserID: beta.UserByName["1001"].ID}}},
		"two platform keys of one name":     &brain.APIKey{ID: "key_x", Name: "root", Scopes: []brain.Scope{"node"}, Hash: strings.Repeat("1", 64)},
	} {
		if name == "two platform keys of one name" {
			if _, _, err := s.NewKey(context.Background(), "test", "", "root", []brain.Scope{brain.ScopeNode}); err != nil {
				t.Fatal(err)
			}
		}
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 99}, []op{opOf(nil, r)}, nil)
		if brain.CodeOf(classify(err)) != brain.EConflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Proves that a file of a newer schema is refused instead of being half understood.
func TestOpen_RefusesANewerFile(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "config.db")
	s, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(ctx, path); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}

// Proves that tens of thousands of users are applied, changed and loaded in the time of a restart. The
// bounds are far above what is measured and only find an algorithm gone quadratic.
func TestOpen_LoadsTensOfThousandsOfUsersFast(t *testing.T) {
	var doc strings.Builder
	doc.WriteString("- {kind: account, name: big}\n- {kind: sip_domain, account: big, name: big.test, spec: {is_primary: true}}\n")
	const users = 20_000
	for i := range users {
		fmt.Fprintf(&doc, "- {kind: sip_user, account: big, name: \"%d\"}\n", i)
		if i%10 == 0 {
			fmt.Fprintf(&doc, "- {kind: sip_device, account: big, name: %d@big.test, spec: {user_id: \"%d\", password: p%d}}\n", i, i, i)
		}
	}
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "config.db")
	s, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	step := func(name string, bound time.Duration, run func()) {
		start := time.Now()
		run()
		took := time.Since(start)
		t.Logf("%s: %v", name, took)
		if took > bound {
			t.Errorf("%s took %v, more than %v", name, took, bound)
		}
	}
	step("apply", time.Minute, func() { mustApply(t, s, []byte(doc.String()), brain.ApplyOptions{}) })
	step("one change", 5*time.Second, func() {
		u := *account(t, s, "big.test").UserByName["777"]
		u.DND = true
		mustChange(t, s, brain.OpUpdate, &u)
	})
	s.Close()
	step("open", 10*time.Second, func() {
		if s, err = Open(ctx, path); err != nil {
			t.Fatal(err)
		}
	})
	defer s.Close()
	if c := account(t, s, "big.test"); len(c.Users) != users || len(c.Devices) != users/10 || !c.UserByName["777"].DND {
		t.Errorf("%d users, %d devices", len(c.Users), len(c.Devices))
	}
}

package config

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// plainHashes stands for argon2id: another text each time.
func plainHashes() PINs {
	made := 0
	return PINs{
		Seal: func(p string) string {
			made++
			return "$argon2id$v=19$m=1,t=1,p=1$" + strings.Repeat("s", made) + "$" + strings.ReplaceAll(p, " ", "")
		},
		Check: func(hash, p string) bool {
			return hash[strings.LastIndexByte(hash, '$')+1:] == strings.ReplaceAll(p, " ", "")
		},
	}
}

const ann = `{kind: console_user, account: acme, name: Ann@Acme.test, spec: {role: admin, password: correct horse battery}}`

func userStore(t testing.TB) *Store {
	s := acmeStore(t)
	s.PINs = plainHashes()
	mustApply(t, s, []byte(ann), brain.ApplyOptions{})
	return s
}

// Proves that a password is kept as a hash and nowhere else, in no spelling of the address twice, that what says nothing of it
// keeps it, the same one changes nothing, export and prune lose nothing, and that a file reads back whole.
func TestConsoleUsers_KeepTheirHash(t *testing.T) {
	ctx, s := context.Background(), userStore(t)
	first := *s.UserByEmail("ANN@acme.test ")
	if first.Password != "" || !strings.Contains(first.PasswordHash, "correcthorsebattery") || first.Email != "ann@acme.test" {
		t.Fatalf("kept as %+v", first)
	}
	doc, err := s.Export(ctx, "")
	if err != nil || !bytes.Contains(doc, []byte("name: ann@acme.test")) || bytes.Contains(doc, []byte("argon2id")) || bytes.Contains(doc, []byte("horse")) {
		t.Errorf("exported, %v:\n%s", err, doc)
	}
	for _, again := range []string{ann, string(doc), `{kind: console_user, account: acme, name: ann@acme.test, spec: {role: admin}}`} {
		if plan := mustApply(t, s, []byte(again), brain.ApplyOptions{}); len(plan.Items) != 0 || s.UserByEmail("ann@acme.test").PasswordHash != first.PasswordHash {
			t.Errorf("applied again: %s", plan)
		}
	}
	mustApply(t, s, []byte(`{kind: account, name: acme}`), brain.ApplyOptions{Prune: true, DryRun: true})
	plan := mustApply(t, s, []byte(strings.Replace(ann, "battery", "staple", 1)), brain.ApplyOptions{})
	if !strings.Contains(plan.String(), "password: (secret) → (changed)") || strings.Contains(plan.String(), "horse") {
		t.Errorf("another password: %s", plan)
	}
	mustChange(t, s, brain.OpUpdate, &brain.ConsoleUser{ID: first.ID, AccountID: first.AccountID, Email: "ann@acme.test", Role: brain.RoleViewer})
	if u := s.UserByEmail("ann@acme.test"); u.Role != brain.RoleViewer || !strings.Contains(u.PasswordHash, "staple") {
		t.Errorf("after an update without a password: %+v", u)
	}
	before := dump(t, s)
	if err := s.reload(ctx); err != nil || dump(t, s) != before || s.UserByEmail("ann@acme.test") == nil {
		t.Errorf("the file holds something else: %v", err)
	}
}

// Proves that what cannot be a console user is refused with its field, and changes nothing.
func TestConsoleUsers_AreChecked(t *testing.T) {
	s := userStore(t)
	owner := account(t, s, "acme.test").Account.ID
	const pw = "correct horse battery"
	for _, c := range []struct {
		u    brain.ConsoleUser
		code brain.Code
		part string
	}{
		{brain.ConsoleUser{Email: "", Role: "admin", Password: pw}, brain.EInvalid, "email: is required"},
		{brain.ConsoleUser{Email: "no address", Role: "admin", Password: pw}, brain.EInvalid, "email: must be"},
		{brain.ConsoleUser{Email: "b@acme.test", Role: "root", Password: pw}, brain.EInvalid, "role: "},
		{brain.ConsoleUser{Email: "b@acme.test", Role: "admin"}, brain.EInvalid, "password: is required"},
		{brain.ConsoleUser{Email: "b@acme.test", Role: "admin", Password: "too short"}, brain.EInvalid, "password: must be 12 to 128"},
		{brain.ConsoleUser{Email: "b@acme.test", Role: "admin", Password: strings.Repeat("x", 129)}, brain.EInvalid, "password: must be 12 to 128"},
		{brain.ConsoleUser{Email: "b@acme.test", Role: "admin", PasswordHash: "plain"}, brain.EInvalid, "password_hash: "},
		{brain.ConsoleUser{Email: "b@acme.test", Role: "admin", Password: pw, Status: "suspended"}, brain.EInvalid, "status: "},
		{brain.ConsoleUser{Email: "ANN@acme.test", Role: "admin", Password: pw}, brain.EConflict, "taken"}, // the platform's, of the same address
	} {
		before := s.Directory().Version()
		_, err := change(s, brain.OpCreate, &c.u)
		wantCode(t, err, c.code, c.part)
		if s.Directory().Version() != before || strings.Contains(err.Error(), "horse") || strings.Contains(err.Error(), "too short") {
			t.Errorf("%+v: version %d, %v", c.u, s.Directory().Version(), err)
		}
	}
	s.PINs = PINs{}
	_, err := change(s, brain.OpCreate, &brain.ConsoleUser{AccountID: owner, Email: "b@acme.test", Role: "admin", Password: pw})
	wantCode(t, err, brain.EInvalid, "cannot be kept")
}

// Proves that a document gives nobody a role beyond that of whoever applies it, takes over no stronger user, tries no password
// without the scope keys, and that a mere mention of a user is free.
func TestApply_BoundsConsoleUsers(t *testing.T) {
	s := userStore(t)
	acme := account(t, s, "acme.test").Account.ID
	writer := &brain.UserGrant{AccountID: acme, Scopes: []brain.Scope{brain.ScopeConfigRead, brain.ScopeConfigWrite}}
	keeper := &brain.UserGrant{AccountID: acme, Scopes: append([]brain.Scope{brain.ScopeKeys, brain.ScopeCallsRead, brain.ScopeAuditRead}, writer.Scopes...)}
	full := &brain.UserGrant{AccountID: acme, Scopes: brain.RoleAdmin.Scopes(acme)}
	platform := &brain.UserGrant{Scopes: brain.RoleAdmin.Scopes("")}
	const bob = `{kind: console_user, account: acme, name: bob@acme.test, spec: {role: viewer, password: correct horse battery}}`
	const pat = `{kind: console_user, name: pat@sipio.test, spec: {role: admin, password: correct horse battery}}`
	for _, c := range []struct {
		doc  string
		who  *brain.UserGrant
		part string // of the refusal, "" = applied
	}{
		{bob, writer, "need the scope keys"}, {bob, keeper, ""},
		{strings.Replace(ann, "admin", "viewer", 1), keeper, "role admin has the scope calls:write"},
		{ann, keeper, "role admin has the scope"}, {ann, writer, "need the scope keys"}, // a try of the password
		{strings.Replace(bob, "viewer", "operator", 1), keeper, "role operator has the scope calls:write"},
		{`{kind: console_user, account: acme, name: ann@acme.test, spec: {role: admin}}`, writer, ""},
		{strings.Replace(ann, "battery", "staple", 1), full, ""}, {pat, full, "declared with a key of the platform"}, {pat, platform, ""},
	} {
		opt := brain.ApplyOptions{Users: c.who, AccountID: c.who.AccountID}
		_, _, err := s.Apply(t.Context(), "test", []byte(c.doc), opt)
		if c.part == "" && err != nil {
			t.Errorf("%s: %v", c.doc, err)
		} else if c.part != "" {
			wantCode(t, err, brain.EInvalid, c.part)
		}
	}
}

// Proves that going back brings no console user to life and no old password back, and that those of an account that goes, go.
func TestRollback_LeavesConsoleUsersAlone(t *testing.T) {
	s := userStore(t)
	version := s.Directory().Version()
	u := *s.UserByEmail("ann@acme.test")
	mustApply(t, s, []byte(strings.Replace(ann, "battery", "staple", 1)), brain.ApplyOptions{})
	hash := s.UserByEmail("ann@acme.test").PasswordHash
	mustApply(t, s, []byte(`{kind: sip_user, account: acme, name: "1077"}`), brain.ApplyOptions{})
	if _, _, err := s.Rollback(t.Context(), "test", version, false); err != nil || s.UserByEmail("ann@acme.test").PasswordHash != hash {
		t.Errorf("after going back: %v, %+v", err, s.UserByEmail("ann@acme.test"))
	}
	mustChange(t, s, brain.OpDelete, &u)
	if _, _, err := s.Rollback(t.Context(), "test", version, false); err != nil || s.UserByEmail("ann@acme.test") != nil {
		t.Errorf("a user that was deleted: %v, %+v", err, s.UserByEmail("ann@acme.test"))
	}
}

// Proves that a token is worth what its user may do now, and nothing from the moment on at which its password is another, or the user
// is disabled or gone: also on a brain that only follows the change.
func TestKeyByToken_OfAConsoleUser(t *testing.T) {
	log := newMemLog()
	one, two := joined(t, log), joined(t, log)
	mark := ""
	for _, s := range []*Store{one, two} {
		s.PINs = plainHashes()
		s.Bearer = func(token string) (string, string, bool) {
			id, ok := strings.CutPrefix(token, "a.b.")
			return id, mark, ok
		}
	}
	u := &brain.ConsoleUser{Email: "olga@sipio.test", Role: brain.RoleOperator, Password: "correct horse battery"}
	mustChange(t, one, brain.OpCreate, u)
	level(t, two)
	mark = PasswordMark(one.UserByEmail("olga@sipio.test"))
	good := func() bool {
		t.Helper()
		level(t, two)
		key, ok := two.KeyByToken("a.b." + u.ID)
		if ok && key.ID != u.ID {
			t.Errorf("the key is %+v", key)
		}
		return ok
	}
	if key, ok := two.KeyByToken("a.b." + u.ID); !ok || key.AccountID != "" || len(key.Scopes) != len(brain.RoleOperator.Scopes("")) {
		t.Fatalf("found %v %+v", ok, key)
	}
	for token, what := range map[string]string{"a.b.olga@sipio.test": "an address for an id", "x.y.z": "a forged one", "a.b.cu_other": "nobody's", "a.b." + strings.Repeat("x", 4096): "a long one"} {
		if _, ok := two.KeyByToken(token); ok {
			t.Errorf("%s is taken", what)
		}
	}
	u.Role = brain.RoleViewer
	mustChange(t, one, brain.OpUpdate, u)
	if !good() {
		t.Error("another role ended the token")
	}
	if key, _ := two.KeyByToken("a.b." + u.ID); len(key.Scopes) != len(brain.RoleViewer.Scopes("")) {
		t.Errorf("the token of a viewer is worth %v", key.Scopes)
	}
	u.Status = brain.StatusDisabled
	mustChange(t, one, brain.OpUpdate, u)
	if good() {
		t.Error("the token of a disabled user is good")
	}
	u.Status, u.Password = brain.StatusActive, "correct horse battery" // the same one
	mustChange(t, one, brain.OpUpdate, u)
	if !good() {
		t.Error("the same password ended the token")
	}
	u.PasswordHash, u.Password = "", "another horse battery"
	mustChange(t, one, brain.OpUpdate, u)
	if good() {
		t.Error("a token of the old password is good")
	}
	mark = PasswordMark(one.UserByEmail("olga@sipio.test"))
	if !good() {
		t.Error("a token of the new password is not")
	}
	mustChange(t, one, brain.OpDelete, u)
	if good() {
		t.Error("the token of a user that is gone is good")
	}
	one.Bearer = nil
	if _, ok := one.KeyByToken("a.b." + u.ID); ok {
		t.Error("a token without anybody who knows tokens")
	}
}

// Proves that a database of before there were console users and an audit log is brought up to date, and has both.
func TestMigrate_AddsUsersAndAudit(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "config.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, table := range []string{"console_user", "audit", "audit_position"} {
		var n int
		if err := s.db.QueryRow("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", table).Scan(&n); err != nil || n != 1 {
			t.Errorf("table %s: %d, %v", table, n, err)
		}
	}
	bad := []string{
		"INSERT INTO console_user VALUES ('cu_1', NULL, 'A@b.c', 'admin', 'active', '')",
		"INSERT INTO console_user VALUES ('cu_1', NULL, 'a@b.c', 'root', 'active', '')",
		"INSERT INTO console_user VALUES ('cu_1', NULL, 'a@b.c', 'admin', 'active', 'plain')",
		"INSERT INTO console_user VALUES ('us_1', NULL, 'a@b.c', 'admin', 'active', '')",
		"INSERT INTO audit VALUES ('x_1', 0, '', '', 'a', '', '', '')", "INSERT INTO audit VALUES ('aud_1', 0, '', '', '', '', '', '')",
		"INSERT INTO audit_position VALUES (2, 0)",
	}
	for _, statement := range bad {
		if _, err := s.db.Exec(statement); err == nil {
			t.Errorf("%s is taken", statement)
		}
	}
}

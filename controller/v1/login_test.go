package v1_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

// people is the console users of a bench. It counts what a login costs.
type people struct {
	b      *bench
	hashed int // passwords
}

func (p *people) UserByEmail(email string) *brain.ConsoleUser {
	for _, r := range p.b.rows {
		if u, ok := r.(*brain.ConsoleUser); ok && u.Email == email {
			return u
		}
	}
	return nil
}

func (p *people) Matches(hash, password string) bool {
	p.hashed++
	return hash == "hash-of-"+password
}

func (p *people) Token(u *brain.ConsoleUser) (string, time.Time, error) {
	p.b.tokens["token-of-"+u.ID] = u.Key()
	return "token-of-" + u.ID, time.Unix(1_700_000_000, 0), nil
}

const annsPassword = "correct horse battery"

// newLogins has ann, an admin of acme, olga, an operator of the platform, victor, its viewer, and dora, who is disabled.
func newLogins(t *testing.T) (*bench, *people) {
	b := newBench(t)
	p := &people{b: b}
	b.api.Logins = p
	for id, u := range map[string]brain.ConsoleUser{
		"cu_ann":    {AccountID: "acc_acme", Email: "ann@acme.test", Role: brain.RoleAdmin},
		"cu_olga":   {Email: "olga@sipio.test", Role: brain.RoleOperator},
		"cu_victor": {Email: "victor@sipio.test", Role: brain.RoleViewer},
		"cu_dora":   {Email: "dora@acme.test", AccountID: "acc_acme", Role: brain.RoleAdmin, Status: brain.StatusDisabled},
	} {
		u.ID, u.PasswordHash = id, "hash-of-"+annsPassword
		brain.ApplyDefaults(&u)
		b.rows[id] = &u
	}
	return b, p
}

func credentials(email, password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
}

// from does a login from an address.
func (b *bench) from(address, email, password string) reply {
	b.t.Helper()
	r := httptest.NewRequest("POST", "/v1/login", strings.NewReader(credentials(email, password)))
	r.RemoteAddr = address
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	return reply{status: w.Code, header: w.Result().Header, text: w.Body.String()}
}

// Proves that a login in any spelling of the address answers a token that opens what the role says, and that the audit log has it.
func TestLogin_GivesATokenOfTheRole(t *testing.T) {
	b, _ := newLogins(t)
	got := b.want(200, "", "POST", "/v1/login", credentials(" Ann@ACME.test", annsPassword))
	token, _ := got.body["token"].(string)
	if token == "" || got.body["expires_ts"] != 1.7e9 || strings.Contains(got.text, "hash") || strings.Contains(got.text, annsPassword) {
		t.Fatalf("answered %s", got.text)
	}
	b.want(201, token, "POST", "/v1/sip_users", `{"username":"1001"}`)
	b.want(403, token, "GET", "/v1/nodes", "")
	if b.actor != "cu_ann" || len(b.audit) != 1 || b.audit[0].Action != brain.AuditLogin || b.audit[0].Actor != "cu_ann" || b.audit[0].AccountID != "acc_acme" {
		t.Errorf("actor %s, audit %+v", b.actor, b.audit)
	}
}

// Proves that an unknown user, a wrong password and a disabled user cannot be told from each other: not by the answer, not by
// the work done for it.
func TestLogin_TellsNothingOfUsers(t *testing.T) {
	b, p := newLogins(t)
	var answers []string
	for _, c := range []string{credentials("nobody@acme.test", annsPassword), credentials("ann@acme.test", "wrong horse battery"), credentials("dora@acme.test", annsPassword)} {
		before := p.hashed
		got := b.want(401, "", "POST", "/v1/login", c)
		if p.hashed != before+1 {
			t.Errorf("%s: %d passwords hashed, want 1", c, p.hashed-before)
		}
		answers = append(answers, got.text+fmt.Sprint(got.header))
	}
	if answers[0] != answers[1] || answers[1] != answers[2] {
		t.Errorf("answers differ: %q", answers)
	}
}

// Proves that bad forms of a login are refused before any work, and quote nothing.
func TestLogin_RefusesBadForms(t *testing.T) {
	b, p := newLogins(t)
	for _, body := range []string{`{}`, `{"email":"a@b.test"}`, `{"email":"a@b.test","password":""}`, `{"email":"a@b.test","password":"secret-canary","x":1}`,
		credentials("a@b.test", strings.Repeat("secret-canary", 20)), `{"email":{"a":"secret-canary"},"password":"x"}`} {
		if got := b.want(422, "", "POST", "/v1/login", body); strings.Contains(got.text, "secret-canary") {
			t.Errorf("quoted: %s", got.text)
		}
	}
	b.want(413, "", "POST", "/v1/login", credentials("a@b.test", strings.Repeat("x", 8<<10)))
	b.want(405, tokenAcme, "GET", "/v1/login", "")
	if p.hashed != 0 {
		t.Errorf("%d passwords were hashed", p.hashed)
	}
	b.api.Logins = nil
	b.want(503, "", "POST", "/v1/login", credentials("ann@acme.test", annsPassword))
}

// Proves that failures are slowed by address and by email, whether there is such a user or not and whatever the password is, that
// another address with another email is not, and that whoever logged in from an address is not kept out by what others try.
func TestLogin_IsSlowedByAddressAndEmail(t *testing.T) {
	tries := func(b *bench, email string, address func(i int) string) (n int) {
		for n < 100 {
			got := b.from(address(n), email, "wrong horse battery")
			if got.status == 429 {
				if got.header.Get("Retry-After") == "" {
					t.Error("429 without Retry-After")
				}
				return n
			}
			n++
		}
		return n
	}
	spread := func(i int) string { return fmt.Sprintf("192.0.2.%d:1000", i+1) }
	b, p := newLogins(t)
	if got := b.from("198.51.100.9:1", "ann@acme.test", annsPassword).status; got != 200 {
		t.Fatalf("the first login: %d", got)
	}
	known, unknown := tries(b, "ann@acme.test", spread), tries(b, "nobody@acme.test", spread)
	if known >= 100 || known+1 != unknown { // ann has logged in once
		t.Errorf("%d tries for a user, %d for none", known, unknown)
	}
	before := p.hashed
	if got := b.from("203.0.113.1:1", "ann@acme.test", annsPassword).status; got != 429 || p.hashed != before {
		t.Errorf("the right password among the slowed: %d, %d hashed", got, p.hashed-before)
	}
	if got := b.from("198.51.100.9:2", "ann@acme.test", annsPassword).status; got != 200 {
		t.Errorf("from where ann logged in before: %d", got)
	}
	if got := b.from("203.0.113.2:1", "olga@sipio.test", annsPassword).status; got != 200 {
		t.Errorf("another user from another address: %d", got)
	}
	b, _ = newLogins(t)
	n := 0
	same := func(int) string { return fmt.Sprintf("[2001:db8::%x]:9", n) } // one customer's addresses
	for ; n < 100 && b.from(same(n), fmt.Sprintf("user%d@acme.test", n), "wrong horse battery").status == 401; n++ {
	}
	if n >= 100 || n < 15 {
		t.Errorf("%d tries for many emails from one network", n)
	}
}

// Proves that a flood of failures leaves one entry an address in a minute, with nothing in it of what was typed, and that the log's
// absence keeps nobody out.
func TestLogin_FailuresAreOneEntryAnAddress(t *testing.T) {
	b, _ := newLogins(t)
	for i := range 5 {
		b.from("192.0.2.1:5", fmt.Sprintf("typed-canary%d@acme.test", i), "typed-canary")
	}
	b.from("192.0.2.2:5", "ann@acme.test", "typed-canary")
	if len(b.audit) != 2 || b.audit[0].Action != brain.AuditLoginFailed || b.audit[1].Object != "ann@acme.test" || b.audit[1].AccountID != "acc_acme" {
		t.Errorf("audit: %+v", b.audit)
	}
	if text := fmt.Sprint(b.audit); strings.Contains(text, "canary") {
		t.Errorf("typed words in %s", text)
	}
	for i := range 200 {
		b.from(fmt.Sprintf("10.0.%d.%d:1", i/250, i%250), "ann@acme.test", "wrong horse battery")
	}
	if n := len(b.audit); n > 70 {
		t.Errorf("a flood from many addresses left %d entries", n)
	}
	b.auditOff = true
	if got := b.from("192.0.2.3:5", "olga@sipio.test", annsPassword).status; got != 200 {
		t.Errorf("without an audit log: %d", got)
	}
}

// Proves that a viewer of the platform reads every account and changes none, and that an operator makes no keys and no users.
func TestRoles_OfThePlatform(t *testing.T) {
	b, _ := newLogins(t)
	login := func(email string) string {
		return b.want(200, "", "POST", "/v1/login", credentials(email, annsPassword)).body["token"].(string)
	}
	viewer, operator := login("victor@sipio.test"), login("olga@sipio.test")
	for _, path := range []string{"/v1/accounts", "/v1/nodes", "/v1/revisions", "/v1/sip_users?account_id=acc_acme", "/v1/export", "/v1/audit"} {
		b.want(200, viewer, "GET", path, "")
		b.want(200, operator, "GET", path, "")
	}
	b.want(403, viewer, "GET", "/v1/api_keys", "")
	for path, body := range map[string]string{"/v1/accounts": `{"name":"n"}`, "/v1/nodes": `{"name":"n"}`, "/v1/apply": "a: b", "/v1/rollback": `{"version":1}`, "/v1/sip_users?account_id=acc_acme": `{"username":"1"}`} {
		if got := b.want(403, viewer, "POST", path, body); !strings.Contains(got.text, "config:write") {
			t.Errorf("POST %s: %s does not name the scope", path, got.text)
		}
	}
	b.want(201, operator, "POST", "/v1/nodes", `{"name":"n"}`)
	for path, body := range map[string]string{"/v1/api_keys": `{"name":"k","scopes":["config:read"]}`, "/v1/console_users": `{"email":"x@y.test","role":"viewer","password":"` + annsPassword + `"}`} {
		if got := b.want(403, operator, "POST", path, body); !strings.Contains(got.text, "scope keys") {
			t.Errorf("POST %s: %s does not name the scope", path, got.text)
		}
	}
}

// Proves that nobody makes, changes, takes over or deletes a console user who may do more than he may, nor one of another
// account; that the password is never shown, and stays when a change says nothing of it.
func TestConsoleUsers_NeverGetMoreThanTheirMakerHas(t *testing.T) {
	b, _ := newLogins(t)
	b.tokens["sk_keys"] = brain.APIKey{ID: "key_keys", AccountID: "acc_acme", Scopes: []brain.Scope{brain.ScopeKeys, brain.ScopeConfigRead, brain.ScopeCallsRead, brain.ScopeAuditRead}}
	const users, pw = "/v1/console_users", `,"password":"` + annsPassword + `"}`
	one := b.want(201, "sk_keys", "POST", users, `{"email":"Eve@acme.test","role":"viewer"`+pw).header.Get("Location")
	for _, c := range []struct{ method, path, body string }{
		{"POST", users, `{"email":"mal@acme.test","role":"admin"` + pw}, {"POST", users, `{"email":"mal@acme.test","role":"operator"` + pw},
		{"PATCH", one, `{"role":"admin"}`}, {"PATCH", users + "/cu_ann", `{"password":"another password"}`}, {"PATCH", users + "/cu_ann", `{"role":"viewer"}`},
		{"PUT", users + "/cu_ann", `{"email":"ann@acme.test","role":"viewer"` + pw}, {"DELETE", users + "/cu_ann", ""},
	} {
		got := b.want(422, "sk_keys", c.method, c.path, c.body)
		if len(got.mistakes()) != 1 || !strings.HasPrefix(got.mistakes()[0], "role: role ") {
			t.Errorf("%s %s %s: %v", c.method, c.path, c.body, got.mistakes())
		}
	}
	b.want(404, "sk_keys", "PATCH", users+"/cu_olga", `{"password":"another password"}`)
	b.want(403, tokenReader, "PATCH", one, `{"role":"viewer"}`)
	texts := b.want(200, "sk_keys", "PATCH", one, `{"status":"disabled"}`).text + b.want(200, "sk_keys", "PUT", one, `{"email":"eve@acme.test","role":"viewer"}`).text +
		b.want(200, tokenReader, "GET", users, "").text + b.want(200, tokenReader, "GET", one, "").text
	if strings.Contains(texts, "hash") || strings.Contains(texts, "horse") || strings.Contains(texts, "olga") {
		t.Errorf("shown: %s", texts)
	}
	if u := b.rows[one[strings.LastIndex(one, "/")+1:]].(*brain.ConsoleUser); u.PasswordHash != "hash-of-"+annsPassword || u.Email != "eve@acme.test" {
		t.Errorf("kept: %+v", u)
	}
	b.want(204, "sk_keys", "DELETE", one, "")
	if u := b.want(201, tokenPlatform, "POST", users, `{"email":"p@sipio.test","role":"admin"`+pw).body; u["account_id"] != nil {
		t.Errorf("a user of the platform got an account: %v", u)
	}
}

// Proves that a key with audit:read reads the matters of its account alone, that others are told which scope they lack, that
// the platform reads all with any filter, and that pages join without a gap.
func TestAudit_IsReadByItsOwners(t *testing.T) {
	b, _ := newLogins(t)
	b.tokens["sk_auditor"] = brain.APIKey{ID: "key_auditor", AccountID: "acc_acme", Scopes: []brain.Scope{brain.ScopeAuditRead}}
	for i, owner := range []string{"acc_acme", "", "acc_other", "acc_acme", "acc_acme"} {
		if err := b.Audit(t.Context(), brain.AuditEntry{TimeMS: int64(i), Actor: "key_1", Action: "config.change", AccountID: owner}); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.want(403, tokenReader, "GET", "/v1/audit", ""); !strings.Contains(got.text, "audit:read") {
		t.Errorf("403 says %s", got.text)
	}
	b.want(403, "sk_auditor", "GET", "/v1/audit?account_id=acc_other", "")
	for _, c := range []struct{ token, query, want string }{
		{"sk_auditor", "", "aud_000005 aud_000004 aud_000001"}, {tokenPlatform, "", "aud_000005 aud_000004 aud_000003 aud_000002 aud_000001"},
		{tokenPlatform, "&account_id=acc_other", "aud_000003"},
	} {
		var ids []string
		after := ""
		for range 10 {
			got := b.want(200, c.token, "GET", "/v1/audit?limit=2&after="+after+c.query, "")
			for _, item := range got.body["items"].([]any) {
				ids = append(ids, item.(map[string]any)["id"].(string))
			}
			if after, _ = got.body["next"].(string); after == "" {
				break
			}
		}
		if strings.Join(ids, " ") != c.want {
			t.Errorf("%s %s: %v", c.token, c.query, ids)
		}
	}
	b.want(200, tokenPlatform, "GET", "/v1/audit?actor=key_1&action=ban&object=x&since_ms=5", "")
	if b.asked != (brain.AuditQuery{Actor: "key_1", Action: "ban", Object: "x", SinceMS: 5}) {
		t.Errorf("asked %+v", b.asked)
	}
	b.want(422, tokenPlatform, "GET", "/v1/audit?limit=501", "")
	b.want(422, tokenPlatform, "GET", "/v1/audit?since_ms=yesterday", "")
}

// Proves that who shows no known key is limited by address, however many addresses there are, and that a known key from there is not.
func TestServe_LimitsStrangersByAddress(t *testing.T) {
	b := newBench(t)
	b.api.Rate, b.api.Burst = 0.01, 3
	ask := func(address, token string) int {
		r := httptest.NewRequest("GET", "/v1/sip_users", nil)
		r.RemoteAddr = address
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		b.api.ServeHTTP(w, r)
		return w.Code
	}
	for i, want := range []int{401, 401, 401, 429, 429} {
		if got := ask("192.0.2.1:1", "sk_guess"); got != want {
			t.Errorf("try %d: %d, want %d", i, got, want)
		}
	}
	if got := ask("192.0.2.1:2", tokenAcme); got != 200 {
		t.Errorf("a known key from there: %d", got)
	}
	if got := ask("192.0.2.2:2", "sk_guess"); got != 401 {
		t.Errorf("another address: %d", got)
	}
	refused := 0
	for i := range 11_000 {
		if ask(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), "sk_guess") == 429 {
			refused++
		}
	}
	if refused < 200 {
		t.Errorf("of 11000 addresses %d were refused: the table has no bound", refused)
	}
}

package controller

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/pin"
	"github.com/sipio/sipio/controller/secret"
)

const (
	loginPassword = "Canary horse battery 5d41402a"
	wrongPassword = "Canary horse battery 7d793037"
)

// as sends a request with a token and decodes the answer.
func (r *running) as(t *testing.T, token, method, path, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addrs.Plain+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	raw, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(raw)
}

func (r *running) login(t *testing.T, email string) string {
	t.Helper()
	status, text := r.as(t, "", "POST", "/v1/login", fmt.Sprintf(`{"email":%q,"password":%q}`, email, loginPassword))
	var got struct{ Token string }
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || strings.Count(got.Token, ".") != 2 {
		t.Fatalf("login of %s: %d %s", email, status, text)
	}
	return got.Token
}

func (r *running) wantStatus(t *testing.T, want int, token, method, path, body string) string {
	t.Helper()
	status, text := r.as(t, token, method, path, body)
	if status != want {
		t.Errorf("%s %s: %d, want %d: %s", method, path, status, want, text)
	}
	return text
}

// Proves the life of a login on a real brain: the token opens /v1 and the operators' endpoints as far as its role goes, outlives a restart
// and another secret key, and ends with its key, its password and its user; the audit log tells who did it and from where; and neither
// the log, nor the audit log, nor a file of the data folder has a password or a token.
func TestLogin_OpensWhatTheRoleSays(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	account := r.create(t, "/v1/accounts", `{"name":"one"}`)
	user := func(of, email, role string) string {
		return r.create(t, "/v1/console_users"+of, fmt.Sprintf(`{"email":%q,"role":%q,"password":%q}`, email, role, loginPassword))
	}
	ann := user("?account_id="+account, "ann@one.test", "admin")
	user("", "olga@sipio.test", "operator")
	user("", "victor@sipio.test", "viewer")
	tokens := map[string]string{"ann": r.login(t, "ann@one.test"), "olga": r.login(t, "olga@sipio.test"), "victor": r.login(t, "victor@sipio.test")}
	if status, _ := r.as(t, "", "POST", "/v1/login", fmt.Sprintf(`{"email":"ann@one.test","password":%q}`, wrongPassword)); status != 401 {
		t.Errorf("a wrong password: %d", status)
	}

	r.wantStatus(t, 201, tokens["ann"], "POST", "/v1/sip_users", `{"username":"1001"}`)
	r.wantStatus(t, 403, tokens["ann"], "GET", "/v1/nodes", "")
	r.wantStatus(t, 200, tokens["olga"], "GET", "/node", "")
	r.wantStatus(t, 200, tokens["olga"], "GET", "/calls", "")
	r.wantStatus(t, 200, tokens["victor"], "GET", "/calls", "")
	r.wantStatus(t, 200, tokens["victor"], "GET", "/v1/nodes", "")
	r.wantStatus(t, 403, tokens["victor"], "GET", "/node", "")
	r.wantStatus(t, 403, tokens["victor"], "POST", "/cac/reset?account_id="+account, "")
	r.wantStatus(t, 401, tokens["ann"]+"x", "GET", "/v1/sip_users", "")

	own := r.wantStatus(t, 200, tokens["ann"], "GET", "/v1/audit", "")
	all := r.wantStatus(t, 200, r.admin, "GET", "/v1/audit", "")
	for _, want := range []string{`"action":"login.ok"`, `"action":"login.fail"`, `"actor":"` + ann + `"`, `"peer":"127.0.0.1"`, `"object":"sip_user 1001"`} {
		if !strings.Contains(own, want) {
			t.Errorf("the account's audit log has no %s: %s", want, own)
		}
	}
	if strings.Contains(own, "olga") || !strings.Contains(all, "olga") || !strings.Contains(all, `"object":"api_key admin"`) {
		t.Errorf("the account sees %s, the platform %s", own, all)
	}

	r.stop()
	r.wait(t)
	canaries := []string{loginPassword, wrongPassword, tokens["ann"], tokens["olga"], tokens["victor"]}
	searchFor(t, "the log", []byte(r.log.String()), canaries)
	searchFor(t, "the audit log", []byte(own+all), canaries)
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		searchFor(t, path, raw, canaries)
		found += strings.Count(string(raw), "ann@one.test")
		return err
	})
	if err != nil || found == 0 {
		t.Fatalf("the search would find nothing: %v", err)
	}

	r = start(t, dir)
	r.wantStatus(t, 200, tokens["ann"], "GET", "/v1/sip_users", "")
	if again := r.wantStatus(t, 200, r.admin, "GET", "/v1/audit", ""); !strings.Contains(again, `"action":"login.fail"`) || !strings.Contains(again, `"object":"sip_user 1001"`) {
		t.Errorf("after a restart the audit log is %s", again)
	}
	rotateFile(t, r, tokens)
	r.wantStatus(t, 200, r.admin, "PATCH", "/v1/console_users/"+ann, `{"password":"another long password"}`)
	r.wantStatus(t, 401, tokens["ann"], "GET", "/v1/sip_users", "")
}

// rotateFile changes the secret key under a brain: tokens live on until theirs is gone.
func rotateFile(t *testing.T, r *running, tokens map[string]string) {
	t.Helper()
	path := filepath.Join(r.DataDir, secretKeyFile)
	old, err := secret.Keys(path)
	if err != nil {
		t.Fatal(err)
	}
	added, err := secret.AddKey(path)
	if err == nil {
		err = secret.UseKey(path, added)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.wantStatus(t, 200, tokens["olga"], "GET", "/v1/nodes", "")
	fresh := r.login(t, "ann@one.test")
	if err := secret.RemoveKey(path, old[0]); err != nil {
		t.Fatal(err)
	}
	r.wantStatus(t, 401, tokens["olga"], "GET", "/v1/nodes", "")
	r.wantStatus(t, 200, fresh, "GET", "/v1/sip_users", "")
	tokens["ann"] = fresh
}

func searchFor(t *testing.T, where string, in []byte, canaries []string) {
	t.Helper()
	for _, c := range canaries {
		if strings.Contains(string(in), c) {
			t.Errorf("%s has %.20s…", where, c)
		}
	}
}

// Proves that what an unknown user costs is what a known one costs: one hash of the same parameters.
func TestLogins_DecoyCostsWhatAPasswordCosts(t *testing.T) {
	store := newStore(t)
	box, err := secret.Open(filepath.Join(t.TempDir(), "secret.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	l := openLogins(store, box)
	hash := pin.Seal(loginPassword)
	cost := func(h string) string { return h[:strings.LastIndex(h[:strings.LastIndex(h, "$")], "$")] }
	if cost(l.decoy) != cost(hash) {
		t.Errorf("the decoy costs %s, a password %s", cost(l.decoy), cost(hash))
	}
	if l.Matches("", loginPassword) || !l.Matches(hash, loginPassword) || l.Matches(hash, wrongPassword) {
		t.Error("the wrong passwords match")
	}
	none, err := secret.Open(filepath.Join(t.TempDir(), "none"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := openLogins(store, none).Token(&brain.ConsoleUser{ID: "cu_1"}); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("a token without a key to sign it: %v", err)
	}
}

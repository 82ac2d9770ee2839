package controller

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/auth"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/secret"
)

// The canaries: values of a secret, one after the other. None may ever be seen anywhere.
const (
	canary       = "Canary-8f14e45fceea167a"
	canaryAgain  = "Canary-c9f0f895fb98ab91"
	canaryWrong  = "Canary-45c48cce2e2d7fbd" // given where it is refused
	canaryBeacon = "beacon-d3d9446802a44259" // the name of the secret, which is no secret: what finds it would find a canary
)

// fetch is the body of an answer, whatever its status.
func (r *running) fetch(t *testing.T, method, path, contentType, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addrs.Plain+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.admin)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// clean fails the test when a canary can be read in some bytes, as it is or as base64 or hex.
func clean(t *testing.T, where string, data []byte) {
	t.Helper()
	for _, value := range []string{canary, canaryAgain, canaryWrong} {
		forms := []string{value, hex.EncodeToString([]byte(value)), url.QueryEscape(value)}
		for shift := range 3 { // base64 of something around it, at each of its three phases
			coded := base64.StdEncoding.EncodeToString([]byte("xxx"[:shift] + value))
			forms = append(forms, coded[4:len(coded)-4])
		}
		for _, form := range forms {
			if bytes.Contains(data, []byte(form)) {
				t.Errorf("%s holds the secret, as %s", where, form)
			}
		}
	}
}

// plant makes a trunk that registers with a secret's value, the secret's value having been changed once, and returns the account and
// the secret.
func (r *running) plant(t *testing.T) (account, id string) {
	t.Helper()
	account, _ = r.furnish(t)
	of := "?account_id=" + account
	id = r.create(t, "/v1/secrets"+of, `{"name":"`+canaryBeacon+`","value":"`+canary+`"}`)
	r.create(t, "/v1/sip_trunks"+of, `{"name":"pbx","direction":"both","inbound_auth":"register","auth_username":"pbx","auth_secret_ref":"`+canaryBeacon+`"}`)
	if got := r.registers(t, canary); got.Action != api.ActionAccept {
		t.Fatalf("a trunk with the password of its secret: %+v", got)
	}
	if status := r.call(t, "PATCH", "/v1/secrets/"+id, "application/json", `{"value":"`+canaryAgain+`"}`, nil); status != 200 {
		t.Fatalf("PATCH: %d", status)
	}
	return account, id
}

// registers has the trunk register with a password.
func (r *running) registers(t *testing.T, password string) api.AuthReply {
	t.Helper()
	const nonce = "n"
	line, err := auth.Answer([]string{`WWW-Authenticate: Digest realm="example.com", nonce="n", qop="auth"`}, "REGISTER", "sip:example.com", "pbx", password, "", "c")
	if err != nil {
		t.Fatal(err)
	}
	_, response, _ := strings.Cut(line, `response="`)
	v := digest("REGISTER", "pbx", "")
	v.Set("auth_nonce", nonce)
	v.Set("auth_response", response[:32])
	var reply api.AuthReply
	r.ask(t, api.PathAuth, v, &reply)
	return reply
}

// Proves that a secret's value is nowhere to be read that it could leave by: answers, also to mistakes, lists, export, revisions, the
// journal's dump, the log, and every file of the brain, with the change log and the database. The secret's name is found in
// those that must hold it, so the search finds what is there.
func TestSecrets_AreNowhereInPlainText(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	account, id := r.plant(t)
	of := "?account_id=" + account
	yaml := "kind: secret\naccount: one\nname: %s\nvalue: " + canaryWrong + "\n%s"
	answers := map[string][]byte{
		"list":            r.fetch(t, "GET", "/v1/secrets"+of, "", ""),
		"one":             r.fetch(t, "GET", "/v1/secrets/"+id, "", ""),
		"trunks":          r.fetch(t, "GET", "/v1/sip_trunks"+of, "", ""),
		"export":          r.fetch(t, "GET", "/v1/export", "", ""),
		"export, account": r.fetch(t, "GET", "/v1/export"+of, "", ""),
		"revisions":       r.fetch(t, "GET", "/v1/revisions?limit=100", "", ""),
		"changed":         r.fetch(t, "PATCH", "/v1/secrets/"+id, "application/json", `{"value":"`+canaryAgain+`"}`),
		"taken":           r.fetch(t, "POST", "/v1/secrets"+of, "application/json", `{"name":"`+canaryBeacon+`","value":"`+canaryWrong+`"}`),
		"both":            r.fetch(t, "POST", "/v1/secrets"+of, "application/json", `{"name":"b","value":"`+canaryWrong+`","sealed":"`+canaryWrong+`"}`),
		"sealed":          r.fetch(t, "POST", "/v1/secrets"+of, "application/json", `{"name":"b","sealed":"`+canaryWrong+`"}`),
		"too long":        r.fetch(t, "POST", "/v1/secrets"+of, "application/json", `{"name":"b","value":"`+strings.Repeat(canaryWrong, 1000)+`"}`),
		"not text":        r.fetch(t, "POST", "/v1/secrets"+of, "application/json", `{"name":"b","value":["`+canaryWrong+`"]}`),
		"no JSON":         r.fetch(t, "POST", "/v1/secrets"+of, "application/json", `{"name":"b","value":`+canaryWrong+`}`),
		"mistake":         r.fetch(t, "POST", "/v1/apply", "application/yaml", fmt.Sprintf(yaml, "b", "unknown: 1\n")),
		"name":            r.fetch(t, "POST", "/v1/apply", "application/yaml", fmt.Sprintf(yaml, "'a b/c'", "")),
		"plan":            r.fetch(t, "POST", "/v1/apply?dry_run=true", "application/yaml", fmt.Sprintf(yaml, canaryBeacon, "")),
		"rotate":          r.fetch(t, "POST", api.PathSecretRotate, "", ""),
		"dump":            r.dump(t),
	}
	for where, body := range answers {
		clean(t, where, body)
	}
	for _, where := range []string{"list", "one", "trunks", "export", "revisions"} {
		if !bytes.Contains(answers[where], []byte(canaryBeacon)) {
			t.Errorf("%s does not have the secret's name: %.300s", where, answers[where])
		}
	}
	if got := r.registers(t, canaryAgain); got.Action != api.ActionAccept || got.AOR != "sip:pbx@example.com" || got.MaxContacts != 1 {
		t.Errorf("the trunk with its new password: %+v", got)
	}
	if got := r.registers(t, canary); got.Action != api.ActionReject {
		t.Errorf("the trunk with its old password: %+v", got)
	}
	r.stop()
	r.wait(t)
	clean(t, "the log", []byte(r.log.String()))
	found := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		clean(t, path, raw)
		if bytes.Contains(raw, []byte(canaryBeacon)) {
			found++
		}
		return err
	})
	if err != nil || found < 2 {
		t.Errorf("%d files hold the secret's name, the database and the change log must: %v", found, err)
	}
}

// dump is every record of every shard's journal.
func (r *running) dump(t *testing.T) []byte {
	t.Helper()
	var state api.JournalState
	if err := json.Unmarshal(r.fetch(t, "GET", api.PathJournal, "", ""), &state); err != nil || len(state.Shards) == 0 {
		t.Fatalf("the journal: %+v, %v", state, err)
	}
	var all []byte
	for i := range state.Shards {
		all = append(all, r.fetch(t, "GET", api.PathJournalDump+"?shard="+strconv.Itoa(state.Shards[i].Shard), "", "")...)
	}
	return all
}

// Proves that the wrong key costs nothing but what needs it: the brain starts, says which secrets cannot be opened and which key they
// want, answers, and loses nothing; with the right key beside the wrong one they open again without a restart, and the rotation
// seals them with the key that is first, so that the old one can go.
func TestSecrets_OutliveAWrongKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, secretKeyFile)
	r := start(t, dir)
	account, id := r.plant(t)
	r.stop()
	r.wait(t)
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := secret.Keys(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := secret.AddKey(path)
	if err != nil {
		t.Fatal(err)
	}

	r = start(t, dir)
	if log := r.log.String(); !strings.Contains(log, "secrets cannot be opened") || !strings.Contains(log, account+"/"+canaryBeacon) || !strings.Contains(log, old[0]) {
		t.Errorf("the log does not say which secret wants which key:\n%s", log)
	}
	if got := r.registers(t, canaryAgain); got.Action != api.ActionReject || got.Why != auth.WhyNoPassword {
		t.Errorf("without the key: %+v", got)
	}
	rotated := func() (done api.SecretRotation) {
		if status := r.call(t, "POST", api.PathSecretRotate, "", "", &done); status != 200 {
			t.Errorf("rotate: %d", status)
		}
		return done
	}
	if done := rotated(); done.Key != wrong || done.Failed != 1 || done.Resealed != 0 || len(done.Which) != 1 || !strings.Contains(done.Which[0].Why, old[0]) {
		t.Errorf("rotation without the key: %+v", done)
	}
	mine, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(mine, right...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := r.registers(t, canaryAgain); got.Action != api.ActionAccept {
		t.Errorf("with both keys: %+v", got)
	}
	if done := rotated(); done.Resealed != 1 || done.Failed != 0 {
		t.Errorf("rotation: %+v", done)
	}
	if done := rotated(); done.Resealed != 0 || done.Already != 1 {
		t.Errorf("once more: %+v", done)
	}
	if err := secret.RemoveKey(path, old[0]); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r.wait(t)
	r = start(t, dir)
	if got := r.registers(t, canaryAgain); got.Action != api.ActionAccept {
		t.Errorf("with the new key alone: %+v", got)
	}
	if status := r.call(t, "GET", "/v1/secrets/"+id, "", "", nil); status != 200 || strings.Contains(r.log.String(), "secrets cannot be opened") {
		t.Errorf("the secret: %d\n%s", status, r.log.String())
	}
}

// Proves where the key file is, that only a brain that is alone makes one and only in its own folder, and that a file that is named
// and is not there, or is bad, is told at the start.
func TestOpenSecrets_FindsItsKeyFile(t *testing.T) {
	folder := t.TempDir()
	keyAt := func(name string) string {
		path := filepath.Join(folder, name)
		if _, err := secret.AddKey(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	named, credential := keyAt("named.key"), keyAt(secretKeyCredential)
	bad := filepath.Join(folder, "bad.key")
	if err := os.WriteFile(bad, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, row := range []struct {
		name, setting, credentials string
		cluster                    bool
		want                       string // the file; "" = the brain's own
		key                        bool
		says                       string
	}{
		{"named", named, folder, false, named, true, ""},
		{"credential", "", folder, false, credential, true, ""},
		{"credential in a cluster", "", folder, true, credential, true, ""},
		{"no such credential", "", empty, false, "", true, ""},
		{"alone", "", "", false, "", true, ""},
		{"in a cluster", "", "", true, "", false, ""},
		{"named, not there", filepath.Join(folder, "none"), "", false, "", false, "no such file"},
		{"bad", bad, "", false, "", false, "line 1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", row.credentials)
			log := &safeBuffer{}
			cfg := Config{DataDir: t.TempDir(), SecretKeyFile: row.setting}
			if row.cluster {
				cfg.BusURLs = []string{"nats://127.0.0.1:1"}
			}
			s, err := openSecrets(t.Context(), cfg, newStore(t), textLog(log))
			if row.says != "" {
				if err == nil || !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := row.want
			if want == "" {
				want = filepath.Join(cfg.DataDir, secretKeyFile)
			}
			if s.box.Path() != want || (s.box.KeyID() != "") != row.key || strings.Contains(log.String(), "no secret key") == row.key {
				t.Errorf("%s, key %q:\n%s", s.box.Path(), s.box.KeyID(), log)
			}
			if _, err := os.Stat(want); (err == nil) != row.key {
				t.Errorf("the file: %v", err)
			}
		})
	}
}

// Proves that many secrets are rotated, page after page, with those that are changed meanwhile, and that the count is of each once.
func TestRotate_TakesEveryPage(t *testing.T) {
	const many = 2*rotateAtOnce + 7
	store, log := newStore(t), &safeBuffer{}
	cfg := Config{DataDir: t.TempDir()}
	s, err := openSecrets(t.Context(), cfg, store, textLog(log))
	if err != nil {
		t.Fatal(err)
	}
	acct := &brain.Account{Name: "one"}
	if _, err := store.Change(t.Context(), "t", brain.Change{Op: brain.OpCreate, Resource: acct}); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		row := &brain.Secret{AccountID: acct.ID, Name: "s" + strconv.Itoa(i), Value: "value-" + strconv.Itoa(i)}
		if _, err := store.Change(t.Context(), "t", brain.Change{Op: brain.OpCreate, Resource: row}); err != nil {
			t.Fatal(err)
		}
	}
	id, err := secret.AddKey(s.box.Path())
	if err == nil {
		err = secret.UseKey(s.box.Path(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.store = &meddling{Store: store, secret: store.Directory().ByAccount(acct.ID).Secrets["s1"]}
	done, err := s.Rotate(t.Context(), "rotation")
	if err != nil || done.Resealed != many-1 || done.Already != 1 || done.Failed != 0 || done.Key != id {
		t.Fatalf("%+v, %v", done, err)
	}
	dir := store.Directory().ByAccount(acct.ID)
	for i := range many {
		name, want := "s"+strconv.Itoa(i), "value-"+strconv.Itoa(i)
		if i == 1 {
			want = meddled
		}
		if value, err := s.password(dir, name); value != want || err != nil || secret.SealedWith(dir.Secrets[name].Sealed) != id {
			t.Fatalf("%s: %q, %v, sealed with %s", name, value, err, secret.SealedWith(dir.Secrets[name].Sealed))
		}
	}
	if _, err := s.password(dir, "none"); err == nil {
		t.Error("a secret that is not there has a value")
	}
	if _, err := s.forFlow("acc_none", "s1"); err == nil {
		t.Error("an account that is not there has secrets")
	}
}

// A flow can be made to send a secret anywhere, so the passwords of trunks and the keys of calls are not for flows.
func TestSecrets_OfTrunksAreNotForFlows(t *testing.T) {
	store := newStore(t)
	s, err := openSecrets(t.Context(), Config{DataDir: t.TempDir()}, store, textLog(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	acct := &brain.Account{Name: "one", StirSecretRef: "signer", StirX5U: "https://cert.example/a.pem"}
	create := func(r brain.Resource) brain.Change { return brain.Change{Op: brain.OpCreate, Resource: r} }
	if _, err := store.Change(t.Context(), "t", create(&brain.Account{Name: "one"})); err != nil {
		t.Fatal(err)
	}
	var all []brain.Resource
	if all, err = store.List(t.Context(), brain.KindAccount, "", "", 1); err != nil {
		t.Fatal(err)
	}
	acct.ID = all[0].ResourceID()
	for _, name := range []string{"signer", "trunk", "server"} {
		if _, err := store.Change(t.Context(), "t", create(&brain.Secret{AccountID: acct.ID, Name: name, Value: "value"})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Change(t.Context(), "t", brain.Change{Op: brain.OpUpdate, Resource: acct}, create(&brain.SIPTrunk{AccountID: acct.ID, Name: "pbx",
		InboundAuth: brain.InboundDigest, AuthUsername: "pbx", AuthSecretRef: "trunk", Status: brain.StatusDisabled})); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"signer": "", "trunk": "", "none": "", "server": "value"} {
		if value, err := s.forFlow(acct.ID, name); value != want || (err == nil) != (want != "") {
			t.Errorf("%s for a flow: %q, %v", name, value, err)
		}
	}
}

const meddled = "given meanwhile"

// meddling is a store in which somebody else gives a secret a value just before the first change.
type meddling struct {
	*config.Store
	secret *brain.Secret
}

func (m *meddling) Change(ctx context.Context, actor string, changes ...brain.Change) (int64, error) {
	if row := m.secret; row != nil {
		m.secret = nil
		other := *row
		other.Value, other.Sealed = meddled, ""
		if _, err := m.Store.Change(ctx, "somebody else", brain.Change{Op: brain.OpUpdate, Resource: &other}); err != nil {
			return 0, err
		}
	}
	return m.Store.Change(ctx, actor, changes...)
}

func newStore(t *testing.T) *config.Store {
	t.Helper()
	store, err := config.Open(t.Context(), filepath.Join(t.TempDir(), databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

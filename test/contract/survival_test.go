package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent"
	"github.com/sipio/sipio/test/edge"
)

// quick makes a node agent ask every moment for what it needs to answer by itself.
var quick = []string{"--survival-refresh=100ms", "--log-level=debug"}

// nodeHealth is what the node agent says of itself.
func nodeHealth(e *edge.Edge) (h nodeagent.Health, err error) {
	resp, err := client.Get(e.NodeHealth)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	return h, json.NewDecoder(resp.Body).Decode(&h)
}

// ready waits until the node agent can answer for n accounts, confirmed after a moment.
func ready(t *testing.T, e *edge.Edge, n int, after time.Time) {
	t.Helper()
	eventually(t, within(t, time.Minute), "the node agent to know its accounts", func() error {
		h, err := nodeHealth(e)
		if err == nil && (h.Door.Survival == nil || h.Door.Survival.Accounts != n || h.Door.Survival.ConfirmedMS <= after.UnixMilli()) {
			err = fmt.Errorf("it has %+v", h.Door.Survival)
		}
		return err
	})
}

// survivalQuestions are registrations and calls of every outcome, by name.
func survivalQuestions() (register, call map[string]url.Values) {
	changed := func(q url.Values, change ...string) url.Values {
		for i := 0; i < len(change); i += 2 {
			q.Set(change[i], change[i+1])
		}
		return q
	}
	spoilt := strings.Repeat("0", 32)
	register = map[string]url.Values{
		"registers":               registration("r1"),
		"in capitals":             changed(registration("r2"), "to_domain", "ACME.test"),
		"wrong password":          changed(registration("r3"), "auth_response", spoilt),
		"unknown user":            changed(registration("r4"), "auth_username", "1999"),
		"somebody else's address": changed(registration("r5"), "to_user", "1002"),
		"without qop":             changed(registration("r6"), "auth_qop", ""),
		"auth-int":                changed(registration("r7"), "auth_qop", "auth-int"),
		"no nonce":                changed(registration("r8"), "auth_nonce", ""),
		"odd nonce count":         changed(registration("r9"), "auth_nc", "x0000001"),
		"SHA-256 by name":         changed(registration("r10"), "auth_algorithm", "SHA-256"),
		"another method":          changed(registration("r11"), "method", "INVITE"),
	}
	call = map[string]url.Values{
		"calls a user":          invitation("c1"),
		"calls a group":         changed(invitation("c2"), "ruri_user", "600"),
		"calls oneself":         changed(invitation("c3"), "ruri_user", "1001"),
		"says another name":     changed(invitation("c4"), "from_user", "1002", "from_name", "Bob"),
		"calls, wrong password": changed(invitation("c5"), "auth_response", spoilt),
		"calls, capitals":       changed(invitation("c6"), "ruri_domain", "Acme.Test"),
	}
	return register, call
}

// What the node agent answers by itself, after a restart of its own, is what the brain answered to the same
// questions, but for the mark; what it cannot know gets 503; and when the brain is back it hears of it all.
func TestSurvival_AnswersAsTheBrainDid(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two, NodeFlags: quick})
	ctx := within(t, 2*time.Minute)
	door, a := newAsker(t, "http://"+e.DoorAddr, ""), newAsker(t, e.BrainURL, e.AdminKey)
	register, call := survivalQuestions()
	registered := func(q url.Values) (r api.AuthReply) {
		if err := json.Unmarshal(door.want(200, "POST", api.PathAuth, typeForm, q.Encode()).body, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	brainAuth, brainRoute := map[string]api.AuthReply{}, map[string]api.Directive{}
	for name, q := range register {
		brainAuth[name] = registered(q)
	}
	for name, q := range call {
		brainRoute[name], _ = door.directive(q)
	}
	ready(t, e, 1, time.Now())
	if err := errors.Join(e.Brain.Kill(), e.Node.Kill()); err != nil {
		t.Fatal(err)
	}
	if err := e.StartNode(ctx); err != nil {
		t.Fatal(err)
	}
	for name, q := range register {
		got, want := registered(q), brainAuth[name]
		if !got.Survival || want.Survival {
			t.Errorf("%s: marked %v, the brain's %v", name, got.Survival, want.Survival)
		}
		got.Survival, got.Why, want.Why, got.ConfigVersion, want.ConfigVersion = false, "", "", 0, 0
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for name, q := range call {
		got, _ := door.directive(q)
		want := brainRoute[name]
		if !got.Survival || want.Survival {
			t.Errorf("%s: marked %v, the brain's %v", name, got.Survival, want.Survival)
		}
		got.Survival, got.Why, want.Why, got.ConfigVersion, want.ConfigVersion = false, "", "", 0, 0
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for _, dialed := range []string{"1999", "2001"} {
		q := invitation("unknown " + dialed)
		q.Set("ruri_user", dialed)
		if d, took := door.directive(q); d.SIPCode != http.StatusServiceUnavailable || d.RetryAfterSec == 0 || d.Survival || took > 5*time.Second {
			t.Errorf("dialed %s: %+v after %v, want 503 at once", dialed, d, took)
		}
	}
	if err := e.StartBrain(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the brain to be told", func() error {
		c := a.counts()
		if c["survival_accepted"] < 5 || c["survival_refused"] < 3 { // repeated ones of an address come later, as a count
			return fmt.Errorf("accepted %d, refused %d", c["survival_accepted"], c["survival_refused"])
		}
		return nil
	})
	eventually(t, ctx, "the brain to decide again", func() error {
		if d, _ := door.directive(invitation(fmt.Sprint("back", time.Now().UnixNano()))); d.Survival || d.Action != api.ActionProxy {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}

// What survival keeps on a node's disk shows neither digest nor password, nor is any of it in a log or on the
// health page; a device that was disabled is not let in after the next refresh.
func TestSurvival_KeepsItsSecrets(t *testing.T) {
	t.Parallel()
	e := start(t, edge.Options{Config: two, NodeFlags: quick, LogDecisions: true, BrainFlags: []string{"--log-level=debug"}})
	door := newAsker(t, "http://"+e.DoorAddr, "")
	door.want(200, "POST", api.PathAuth, typeForm, registration("s1").Encode())
	ready(t, e, 1, time.Now())
	if err := e.Apply(within(t, 10*time.Second), "kind: sip_device\naccount: acme\nname: 1001@acme.test\nspec: {user_id: \"1001\", password: "+password+", status: disabled}\n"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first may answer a question of before the change
		ready(t, e, 1, time.Now())
	}
	if err := e.Brain.Kill(); err != nil {
		t.Fatal(err)
	}
	if r := door.want(200, "POST", api.PathAuth, typeForm, registration("s2").Encode()); !bytes.Contains(r.body, []byte(`"survival":true`)) || !bytes.Contains(r.body, []byte("403")) {
		t.Errorf("a device that was disabled: %s", r.body)
	}
	health := newAsker(t, strings.TrimSuffix(e.NodeHealth, "/health"), "")
	health.get(200, "/health")
	secrets := append(digests("1001@acme.test"), digests("1002@acme.test")...)
	secrets = append(secrets, password)
	door.told.search(t, secrets...)
	health.told.search(t, secrets...)
	seen := false
	err := filepath.WalkDir(e.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, filepath.Join(e.Dir, "brain")+"/") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen = seen || d.Name() == "survival.bin" && len(text) > 500
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s holds the secret %s", path, s)
			}
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s may be read by others: %v, %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil || !seen {
		t.Errorf("%v, file of survival answers seen: %v", err, seen)
	}
}

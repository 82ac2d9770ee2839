package config

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// plainSealer stands for the encryption of secrets: another text each time, bound to account and name.
func plainSealer() Sealer {
	made := 0
	return Sealer{
		Seal: func(accountID, name string, value []byte) (string, error) {
			made++
			return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s/%s/%s#%d", accountID, name, value, made)), nil
		},
		Open: func(accountID, name, sealed string) ([]byte, error) {
			raw, err := base64.StdEncoding.DecodeString(sealed)
			value, found := strings.CutPrefix(string(raw), accountID+"/"+name+"/")
			at := strings.LastIndexByte(value, '#')
			if err != nil || !found || at < 0 {
				return nil, errors.New("does not open")
			}
			return []byte(value[:at]), nil
		},
	}
}

// valueOf opens a secret of an account.
func valueOf(t testing.TB, s *Store, owner, name string) string {
	t.Helper()
	kept := only[*brain.Secret](t, s, owner, brain.KindSecret, name)
	value, err := s.Secrets.Open(owner, name, kept.Sealed)
	if err != nil || kept.Value != "" {
		t.Fatalf("%q: kept as %+v: %v", name, kept, err)
	}
	return string(value)
}

// Proves that a value is sealed and kept nowhere else, that what says nothing of it keeps it, that giving it once more
// changes nothing, that another name wants it again, and that neither plan, export nor the history of changes tells it.
func TestApply_SealsTheValuesOfSecrets(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	id := account(t, s, "acme.test").Account.ID
	apply := func(doc string) string { return mustApply(t, s, []byte(doc), brain.ApplyOptions{}).String() }
	kept := func() *brain.Secret { return only[*brain.Secret](t, s, id, brain.KindSecret, "api") }
	const with = `{kind: secret, account: acme, name: api, spec: {value: hush-4711}}`
	told := apply(with)
	first := kept()
	if got := valueOf(t, s, id, "api"); got != "hush-4711" {
		t.Fatalf("kept as %q", got)
	}
	for _, doc := range []string{with, `{kind: secret, account: acme, name: api}`, `{kind: secret, account: acme, name: api, spec: {value: ""}}`} {
		if plan := apply(doc); plan != "no changes\n" || kept().Sealed != first.Sealed {
			t.Errorf("%s: %s", doc, plan)
		}
	}
	plan := apply(strings.Replace(with, "4711", "0815", 1))
	if !strings.Contains(plan, "value: (secret) → (changed)") || valueOf(t, s, id, "api") != "hush-0815" {
		t.Errorf("another value: %s", plan)
	}
	mustChange(t, s, brain.OpUpdate, &brain.Secret{ID: first.ID, AccountID: id, Name: "api"})
	if got := valueOf(t, s, id, "api"); got != "hush-0815" {
		t.Errorf("after an update without a value: %q", got)
	}
	_, err := change(s, brain.OpUpdate, &brain.Secret{ID: first.ID, AccountID: id, Name: "new"})
	wantCode(t, err, brain.EInvalid, "value: is required when the name changes")
	renamed := &brain.Secret{ID: first.ID, AccountID: id, Name: "new", Value: "hush-0815"}
	if mustChange(t, s, brain.OpUpdate, renamed); valueOf(t, s, id, "new") != "hush-0815" {
		t.Error("renamed to another value")
	}
	moved := &brain.Secret{AccountID: id, Name: "moved", Sealed: renamed.Sealed}
	_, err = change(s, brain.OpCreate, moved)
	wantCode(t, err, brain.EInvalid, "sealed: was not sealed for this account and name")
	doc, err := s.Export(ctx, "")
	if err != nil || bytes.Contains(doc, []byte("sealed")) || bytes.Contains(doc, []byte("value:")) || !bytes.Contains(doc, []byte("kind: secret\naccount: acme\nname: new\n---")) {
		t.Errorf("exported: %v\n%s", err, doc)
	}
	if again := mustApply(t, s, doc, brain.ApplyOptions{Prune: true}); len(again.Items) != 0 {
		t.Errorf("the export changes: %s", again)
	}
	_, _, err = openStore(t).Apply(ctx, "test", doc, brain.ApplyOptions{})
	wantCode(t, err, brain.EInvalid, `secret "new": spec.value: is required for a new secret`)
	if text := told + plan + string(doc) + dump(t, s) + history(t, s); strings.Contains(text, "hush-") {
		t.Errorf("a value is told:\n%s", text)
	}
	s.Secrets = Sealer{}
	_, err = change(s, brain.OpUpdate, &brain.Secret{ID: first.ID, AccountID: id, Name: "new", Value: "x"})
	wantCode(t, err, brain.EInvalid, "value: cannot be kept by this program")
	s.Secrets.Seal = func(string, string, []byte) (string, error) { return "", errors.New("no key at /path") }
	_, err = change(s, brain.OpUpdate, &brain.Secret{ID: first.ID, AccountID: id, Name: "new", Value: "x"})
	wantCode(t, err, brain.EInvalid, "value: cannot be sealed by this brain now")
	if strings.Contains(err.Error(), "/path") {
		t.Errorf("tells where the key is: %v", err)
	}
}

// history is what the file keeps of past changes, and of the revisions that list them.
func history(t testing.TB, s *Store) string {
	t.Helper()
	rows, err := s.db.Query("SELECT ifnull(before, '') || ifnull(after, '') FROM change_row UNION ALL SELECT summary FROM change_set")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, text)
	}
	if all.Len() == 0 || rows.Err() != nil {
		t.Fatalf("no history: %v", rows.Err())
	}
	return all.String()
}

// Proves that a value that was changed since then stays changed when the rest goes back, and that a secret which went
// comes back with the value that it had.
func TestRollback_DoesNotReviveAChangedValue(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	id := account(t, s, "acme.test").Account.ID
	spare := &brain.Secret{AccountID: id, Name: "spare", Value: "old"}
	mustChange(t, s, brain.OpCreate, spare)
	rev := s.Directory().Version()
	mustApply(t, s, []byte(`{kind: secret, account: acme, name: gateway password, spec: {value: changed}}`), brain.ApplyOptions{})
	mustChange(t, s, brain.OpDelete, spare)
	if _, _, err := s.Rollback(ctx, "test", rev, false); err != nil {
		t.Fatal(err)
	}
	if now, back := valueOf(t, s, id, "gateway password"), valueOf(t, s, id, "spare"); now != "changed" || back != "old" {
		t.Errorf("after the rollback: %q and %q", now, back)
	}
}

// Proves that who may only plan cannot try secrets: a document that gives one, right or wrong, is refused alike, and one that
// gives none, as an export, is planned.
func TestApply_BlindTellsNothingOfSecrets(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	blind := brain.ApplyOptions{DryRun: true, Blind: true}
	doc, err := s.Export(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if plan := mustApply(t, s, doc, blind); len(plan.Items) != 0 {
		t.Errorf("the export changes: %s", plan)
	}
	for _, given := range []string{
		"{kind: secret, account: acme, name: gateway password, spec: {value: GUESS}}",
		"{kind: secret, account: acme, name: gateway password, spec: {sealed: GUESS}}",
		"{kind: sip_device, account: acme, name: 1001-desk, spec: {password: GUESS}}",
		"{kind: sip_device, account: acme, name: 1001-desk, spec: {ha1_md5: GUESS}}",
		"{kind: voicemail, account: acme, name: box, spec: {pin: '4711'}}",
		"{kind: conference, account: acme, name: room, spec: {pin: '4711'}}",
		"{kind: conference, account: acme, name: room, spec: {moderator_pin: '4711'}}",
	} {
		_, _, err := s.Apply(ctx, "test", append(doc, "---\n"+given...), blind)
		wantCode(t, err, brain.EForbidden, "needs the scope config:write")
		if strings.Contains(err.Error(), "GUESS") {
			t.Errorf("tells the secret: %v", err)
		}
	}
}

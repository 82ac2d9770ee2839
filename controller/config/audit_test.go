package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain"
)

// memAudit is an audit log in memory that keeps the contract of AuditLog.
type memAudit struct {
	mu      sync.Mutex
	list    [][]byte
	dropped int64
	down    bool
	twice   bool // each message is stored twice, as one whose answer was lost
}

func (l *memAudit) Append(_ context.Context, data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errLog
	}
	l.list = append(l.list, data)
	if l.twice {
		l.list = append(l.list, data)
	}
	return nil
}

func (l *memAudit) Last(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, errLog
	}
	return int64(len(l.list)), nil
}

func (l *memAudit) Read(_ context.Context, after int64, fn func(int64, []byte) error) error {
	l.mu.Lock()
	list, dropped := l.list, l.dropped
	l.mu.Unlock()
	for i := max(after, dropped); i < int64(len(list)); i++ {
		if err := fn(i+1, list[i]); err != nil {
			return err
		}
	}
	return nil
}

func mustAudit(t testing.TB, s *Store, e brain.AuditEntry) {
	t.Helper()
	if err := s.Audit(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// entries reads the whole audit log of a brain, newest first, page after page.
func entries(t testing.TB, s *Store, q brain.AuditQuery) []brain.AuditRow {
	t.Helper()
	var all []brain.AuditRow
	for after := ""; ; {
		page, err := s.AuditPage(t.Context(), q, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); len(page) < 3 {
			return all
		}
		after = page[len(page)-1].ID
	}
}

// Proves that each change set is an entry for each account that it touches and one for the platform, with who asked for it and from
// where, that a change that changes nothing is none, and that no secret stands in any.
func TestAudit_HasEveryChangeOfTheConfiguration(t *testing.T) {
	s := acmeStore(t)
	s.PINs = PINs{Seal: func(p string) string { return "$argon2id$v=19$m=1,t=1,p=1$" + strings.Repeat("a", len(p)) + "$b" }, Check: func(string, string) bool { return false }}
	acme := account(t, s, "acme.test").Account.ID
	begun := len(entries(t, s, brain.AuditQuery{}))
	ctx := WithPeer(t.Context(), "192.0.2.7")
	const doc = `{kind: node, name: edge9}
---
{kind: sip_user, account: acme, name: "1077"}
---
{kind: secret, account: acme, name: api, spec: {value: canary-value}}
---
{kind: console_user, account: acme, name: Ann@acme.test, spec: {role: admin, password: canary-password}}
`
	for range 2 { // the second time changes the secrets only, which the fakes make anew
		if _, _, err := s.Apply(ctx, "key_1", []byte(doc), brain.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	token, key, err := s.NewKey(ctx, "cu_1", acme, "ci", []brain.Scope{brain.ScopeConfigRead})
	if err != nil {
		t.Fatal(err)
	}
	all := entries(t, s, brain.AuditQuery{})
	if text := fmt.Sprint(all); strings.Contains(text, "canary") || strings.Contains(text, token) || strings.Contains(text, key.Hash) || strings.Contains(text, "argon2id") {
		t.Errorf("a secret in %s", text)
	}
	made := entries(t, s, brain.AuditQuery{Actor: "cu_1"})
	if len(made) != 1 || made[0].Object != "api_key ci" || made[0].AccountID != acme || made[0].Action != brain.AuditConfigChange || made[0].Peer != "192.0.2.7" {
		t.Errorf("the key: %+v", made)
	}
	platform := entries(t, s, brain.AuditQuery{Actor: "key_1", Object: "node"})
	if len(platform) != 1 || platform[0].AccountID != "" || platform[0].Object != "node edge9" {
		t.Errorf("the platform's: %+v", platform)
	}
	own := entries(t, s, brain.AuditQuery{AccountID: acme, Actor: "key_1"})
	if len(own) == 0 || own[len(own)-1].Object != "3 resources" || !strings.Contains(own[len(own)-1].Detail, "create console_user ann@acme.test, create sip_user 1077, create secret api") {
		t.Errorf("the account's: %+v", own)
	}
	if n := len(all); n != begun+len(own)+2 {
		t.Errorf("%d entries after %d, of the account %d", n, begun, len(own))
	}
	if _, err := s.Change(ctx, "key_1"); err != nil || len(entries(t, s, brain.AuditQuery{})) != len(all) {
		t.Errorf("a change of nothing: %v", err)
	}
}

// Proves that every brain of a cluster has the same entries, of changes and of all else, each once: written by any, taken over from
// the logs, in a snapshot that a new brain began with, and when a message was stored twice.
func TestAudit_IsTheSameOnEveryBrain(t *testing.T) {
	log, audit := newMemLog(), &memAudit{twice: true}
	join := func() *Store {
		s := joined(t, log)
		s.Audited = audit
		return s
	}
	one, two := join(), join()
	for i := range 5 {
		mustAudit(t, []*Store{one, two}[i%2], brain.AuditEntry{Actor: "cu_1", Action: brain.AuditBanLift, Object: fmt.Sprintf("192.0.2.%d", i)})
		if _, err := []*Store{two, one}[i%2].Change(WithPeer(t.Context(), "192.0.2.9"), "key_1", brain.Change{Op: brain.OpCreate, Resource: &brain.Account{Name: fmt.Sprintf("a%d", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	level(t, one, two)
	want := entries(t, one, brain.AuditQuery{})
	changes := entries(t, one, brain.AuditQuery{Action: "config.change"})
	lifts := entries(t, one, brain.AuditQuery{Action: "ban"})
	if len(want) != 10 || len(changes) != 5 || len(lifts) != 5 || changes[0].Peer != "192.0.2.9" || lifts[0].Peer != "" {
		t.Fatalf("%d entries: %+v", len(want), want)
	}
	path := filepath.Join(t.TempDir(), "config.db")
	loadSnapshot(t, path, two)
	mustAudit(t, one, brain.AuditEntry{Actor: "cu_1", Action: brain.AuditBanAdd, Object: "after the snapshot"})
	three, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { three.Close() })
	if err := three.Replicate(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	three.Audited = audit
	want = entries(t, one, brain.AuditQuery{})
	for i, s := range []*Store{two, three} {
		if got := entries(t, s, brain.AuditQuery{}); !reflect.DeepEqual(got, want) {
			t.Errorf("brain %d has\n%+v\nwant\n%+v", i+2, got, want)
		}
	}
	four := join() // from nothing
	if got := entries(t, four, brain.AuditQuery{}); !reflect.DeepEqual(got, want) {
		t.Errorf("a new brain has\n%+v\nwant\n%+v", got, want)
	}
}

// Proves that an entry that was acknowledged is there after the log is gone, that one that was not is an error, that nothing can be
// read while the log is away, and that a log that begins anew or has dropped messages is gone on with.
func TestAudit_OutlivesItsLog(t *testing.T) {
	s, audit := openStore(t), &memAudit{}
	s.Audited = audit
	for i := range 3 {
		mustAudit(t, s, brain.AuditEntry{Actor: "cu_1", Action: "ban.add", Object: fmt.Sprint(i)})
	}
	if n := len(entries(t, s, brain.AuditQuery{})); n != 3 {
		t.Fatalf("%d entries", n)
	}
	audit.down = true
	if err := s.Audit(t.Context(), brain.AuditEntry{Actor: "cu_1", Action: "ban.add"}); brain.CodeOf(err) != brain.EUnavailable || !errors.Is(err, errLog) {
		t.Errorf("while the log is away: %v", err)
	}
	if _, err := s.AuditPage(t.Context(), brain.AuditQuery{}, "", 10); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("reading while the log is away: %v", err)
	}
	audit.down = false
	for i := range 3 {
		mustAudit(t, s, brain.AuditEntry{Actor: "cu_1", Action: "ban.add", Object: fmt.Sprint(3 + i)})
	}
	audit.dropped = 5 // two that were not taken over
	audit.list = append(audit.list, []byte("no entry"))
	if n := len(entries(t, s, brain.AuditQuery{})); n != 4 {
		t.Errorf("%d entries with two dropped", n)
	}
	fresh := &memAudit{}
	s.Audited = fresh
	mustAudit(t, s, brain.AuditEntry{Actor: "cu_1", Action: "ban.add", Object: "of a new log"})
	if got := entries(t, s, brain.AuditQuery{}); len(got) != 5 || got[0].Object != "of a new log" {
		t.Errorf("with a new log: %+v", got)
	}
	if err := s.Audit(t.Context(), brain.AuditEntry{Actor: "cu_1"}); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("an entry without an action: %v", err)
	}
}

// Proves that the oldest entries go, and that failed logins, which anybody can cause, take the place of no other entry.
func TestAudit_KeepsTheNewest(t *testing.T) {
	s := openStore(t)
	for i := range 10 {
		mustAudit(t, s, brain.AuditEntry{TimeMS: int64(1000 + i), Actor: "cu_1", Action: brain.AuditLogin})
		mustAudit(t, s, brain.AuditEntry{TimeMS: int64(2000 + i), Actor: "nobody", Action: brain.AuditLoginFailed})
	}
	if err := s.pruneAudit(t.Context(), 10, 2, 3); err != nil {
		t.Fatal(err)
	}
	if ok, failed := entries(t, s, brain.AuditQuery{Action: brain.AuditLogin}), entries(t, s, brain.AuditQuery{Action: brain.AuditLoginFailed}); len(ok) != 10 || len(failed) != 3 || failed[2].TimeMS != 2007 {
		t.Errorf("%d of the others, failed: %+v", len(ok), failed)
	}
	if err := s.pruneAudit(t.Context(), 4, 2, 3); err != nil {
		t.Fatal(err)
	}
	if ok := entries(t, s, brain.AuditQuery{Action: "login.ok"}); len(ok) != 4 || ok[3].TimeMS != 1006 {
		t.Errorf("kept %+v", ok)
	}
	if late := entries(t, s, brain.AuditQuery{SinceMS: 2008}); len(late) != 2 {
		t.Errorf("since 2008: %+v", late)
	}
}

// Proves that an account's entries take the place of its own alone, and that a page of it looks at so many of them and no more.
func TestAudit_AccountsKeepTheirOwn(t *testing.T) {
	s := openStore(t)
	for i := range 10 {
		for _, owner := range []string{"", "acc_quiet", "acc_loud", "acc_loud"} {
			if owner == "acc_loud" || i < 2 {
				mustAudit(t, s, brain.AuditEntry{TimeMS: int64(1000 + i), Actor: "cu_1", Action: brain.AuditLogin, AccountID: owner})
			}
		}
	}
	if err := s.pruneAudit(t.Context(), 4, 3, 3); err != nil {
		t.Fatal(err)
	}
	of := map[string]int{}
	for _, row := range entries(t, s, brain.AuditQuery{}) {
		of[row.AccountID]++
	}
	if of[""] != 2 || of["acc_quiet"] != 2 || of["acc_loud"] != 3 {
		t.Errorf("kept %v", of)
	}
}

// Proves that a page of an account looks at so many of its entries and no more, whatever it asks for.
func TestAudit_APageOfAnAccountLooksAtTheNewest(t *testing.T) {
	s := openStore(t)
	list := make([]auditMessage, 0, maxAuditLooked+2)
	for i := range cap(list) {
		e := brain.AuditEntry{TimeMS: 1, Actor: "cu_1", Action: brain.AuditLogin, Object: "much", AccountID: "acc_1"}
		if i < 2 {
			e.Object = fmt.Sprintf("old %d", i)
		}
		list = append(list, auditMessage{fmt.Sprintf("aud_%08d", i), e})
	}
	if err := s.writeAudit(t.Context(), list, 0); err != nil {
		t.Fatal(err)
	}
	if old := entries(t, s, brain.AuditQuery{AccountID: "acc_1", Object: "old"}); len(old) != 0 {
		t.Errorf("behind the bound: %+v", old)
	}
	if old := entries(t, s, brain.AuditQuery{Object: "old"}); len(old) != 2 {
		t.Errorf("the platform finds %+v", old)
	}
	if page, err := s.AuditPage(t.Context(), brain.AuditQuery{AccountID: "acc_1", Object: "old"}, "aud_00000010", 3); err != nil || len(page) != 2 {
		t.Errorf("further back: %+v %v", page, err)
	}
}

// Proves that an entry is one line of bounded length, whatever is put into it.
func TestAudit_BoundsItsTexts(t *testing.T) {
	s := openStore(t)
	mustAudit(t, s, brain.AuditEntry{Actor: "a\nb\x1b[2J", Action: "x.y", Object: strings.Repeat("ü", 1000), Detail: "\xff" + strings.Repeat("z", 5000)})
	got := entries(t, s, brain.AuditQuery{})[0]
	if got.Actor != "a b [2J" || len(got.Object) > 256 || !strings.HasSuffix(got.Object, "ü") || len(got.Detail) != 2048 || got.TimeMS == 0 {
		t.Errorf("%q %q %d", got.Actor, got.Object, len(got.Detail))
	}
	var raw bytes.Buffer
	if _, err := s.WriteSnapshot(t.Context(), &raw); err != nil || !bytes.Contains(raw.Bytes(), []byte("a b [2J")) {
		t.Errorf("the snapshot has no entry: %v", err)
	}
}

package config

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

// Proves that brains that write at once end equal and lose nothing: four writers on two stores make 200
// changes each, creates and updates of one row that all of them change, while both stores follow the log.
// Every acknowledged change is there, every version was given once, and none is missing.
func TestReplicate_ConcurrentWritersEndEqual(t *testing.T) {
	const writers, each = 4, 100
	log := newMemLog()
	stores := []*Store{joined(t, log), joined(t, log)}
	for _, s := range stores {
		if _, err := s.db.Exec("PRAGMA synchronous = OFF"); err != nil { // this is not about power cuts
			t.Fatal(err)
		}
	}
	owner := &brain.Account{Name: "acme"}
	mustChange(t, stores[0], brain.OpCreate, owner)
	shared := &brain.SIPUser{AccountID: owner.ID, Username: "shared"}
	mustChange(t, stores[1], brain.OpCreate, shared)

	ctx, stop := context.WithCancel(context.Background())
	var followers, work sync.WaitGroup
	for _, s := range stores {
		followers.Go(func() {
			if err := s.Follow(ctx); err != nil {
				t.Error("follow:", err)
			}
		})
	}
	acknowledged := make([][]int64, writers)
	for w := range writers {
		s := stores[w%len(stores)]
		work.Go(func() {
			for i := range each {
				user := &brain.SIPUser{AccountID: owner.ID, Username: fmt.Sprintf("%d-%d", w, i)}
				all := *shared
				all.DisplayName, all.MaxSimultaneous = user.Username, w*each+i+1
				v, err := s.Change(ctx, "test", brain.Change{Op: brain.OpCreate, Resource: user}, brain.Change{Op: brain.OpUpdate, Resource: &all})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				acknowledged[w] = append(acknowledged[w], v)
			}
		})
	}
	work.Wait()
	stop()
	followers.Wait()
	wantSameDigest(t, stores)
	c := stores[1].Directory().ByAccount(owner.ID)
	all := slices.Concat(acknowledged...)
	slices.Sort(all)
	for i, v := range all {
		if v != int64(i+3) {
			t.Fatalf("version %d was given in the place of %d", v, i+3)
		}
	}
	for w := range writers {
		for i := range each {
			if c.UserByName[fmt.Sprintf("%d-%d", w, i)] == nil {
				t.Errorf("change %d of writer %d is lost", i, w)
			}
		}
	}
	if len(all) != writers*each || len(c.Users) != writers*each+1 {
		t.Errorf("%d acknowledged, %d users", len(all), len(c.Users))
	}
	t.Logf("%d of %d appends were refused as stale", log.stale, writers*each+log.stale)
}

// wantSameDigest compares digests only, of stores that have more rows than a dump shows.
func wantSameDigest(t *testing.T, stores []*Store) {
	t.Helper()
	level(t, stores...)
	v0, sum0, _ := stores[0].Digest(context.Background())
	for _, s := range stores {
		for range 2 { // in memory, then as the file has it
			if v, sum, err := s.Digest(context.Background()); v != v0 || sum != sum0 || err != nil {
				t.Errorf("version %d digest %s, %v; want %d %s", v, sum, err, v0, sum0)
			}
			if err := s.reload(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Proves that Apply, Rollback and Change of one store are those of the other, history and digests of
// passwords included, and that each may go on where the other stopped.
func TestReplicate_ApplyAndRollbackAcrossStores(t *testing.T) {
	ctx, log := context.Background(), newMemLog()
	one, two := joined(t, log), joined(t, log)
	mustApply(t, one, readFile(t, "acme.yaml"), brain.ApplyOptions{})
	wantEqual(t, one, two)
	mustApply(t, two, []byte("{kind: account, name: acme}"), brain.ApplyOptions{Prune: true})
	if _, version, err := one.Rollback(ctx, "test", 1, false); err != nil || version != 3 {
		t.Fatalf("rollback: version %d, %v", version, err)
	}
	wantEqual(t, one, two)
	if d := account(t, two, "acme.test").DeviceByAuth["1001@acme.test"]; d == nil || d.HA1SHA256 == "" {
		t.Errorf("the device did not come back: %+v", d)
	}
	c := account(t, two, "acme.test")
	a, b := *c.UserByName["1001"], *c.UserByName["1002"]
	a.Username, b.Username = b.Username, a.Username // the follower's tables must not see the state in between
	mustChange(t, two, brain.OpUpdate, &a, &b)
	if _, _, err := two.Rollback(ctx, "test", 3, false); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, one, two)
	history := func(s *Store) []brain.Revision {
		list, err := s.Revisions(ctx, MaxList)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if h1, h2 := history(one), history(two); !slices.Equal(h1, h2) || len(h1) != 5 {
		t.Errorf("histories differ:\n%v\n%v", h1, h2)
	}
	wantEqual(t, one, two, joined(t, log)) // a new brain reads it all
}

// Proves that a store that lags behind answers changes from the newest state: a name that was taken
// elsewhere is taken, a resource made elsewhere is there, and a change that another brain has just undone
// is made again and not passed over as no difference.
func TestReplicate_ALaggingWriterSeesWhatOthersDid(t *testing.T) {
	log := newMemLog()
	one, two := joined(t, log), joined(t, log)
	owner := &brain.Account{Name: "acme"}
	mustChange(t, one, brain.OpCreate, owner)
	user := &brain.SIPUser{AccountID: owner.ID, Username: "1001"}
	mustChange(t, two, brain.OpCreate, user)
	_, err := change(one, brain.OpCreate, &brain.SIPUser{AccountID: owner.ID, Username: "1001"})
	wantCode(t, err, brain.EConflict, "taken")

	busy, free := *user, *user
	busy.DND = true
	mustChange(t, one, brain.OpUpdate, &busy)
	if v := mustChange(t, two, brain.OpUpdate, &free); v != 4 {
		t.Errorf("the change was passed over: version %d", v)
	}
	_, err = one.Change(context.Background(), "test", brain.Change{Op: brain.OpUpdate, Resource: &busy, Before: &busy})
	wantCode(t, err, brain.EConflict, "meanwhile")
	wantEqual(t, one, two)
}

// Proves that an append is fenced: when the log moves on between the look at its end and the append,
// the change is prepared anew from the newer state; when that goes on for ever, it is given up.
func TestChange_IsPreparedAnewWhenOvertaken(t *testing.T) {
	log := newMemLog()
	one, two := joined(t, log), joined(t, log)
	owner := &brain.Account{Name: "acme"}
	mustChange(t, one, brain.OpCreate, owner)
	level(t, two)
	overtake, made := 1, 0
	race := &racingLog{memLog: log, race: func() {
		if overtake--; overtake >= 0 {
			made++
			mustChange(t, one, brain.OpCreate, &brain.SIPUser{AccountID: owner.ID, Username: fmt.Sprint(made)})
		}
	}}
	two.log = race
	if v := mustChange(t, two, brain.OpCreate, &brain.SIPUser{AccountID: owner.ID, Username: "2000"}); v != 3 {
		t.Errorf("version %d, want 3", v)
	}
	overtake = 1
	doc := []byte("{kind: sip_user, account: acme, name: \"3000\", spec: {fwd_busy_dest_kind: user, fwd_busy_dest_id: \"2000\"}}")
	if plan := mustApply(t, two, doc, brain.ApplyOptions{}); len(plan.Items) != 1 { // names are resolved anew
		t.Errorf("plan:\n%s", plan)
	}
	wantEqual(t, one, two)
	overtake = maxAttempts
	_, err := change(two, brain.OpCreate, &brain.SIPUser{AccountID: owner.ID, Username: "4000"})
	wantCode(t, err, brain.EConflict, "try again")
	two.log = log
	wantEqual(t, one, two)
}

// racingLog lets another brain be faster: race runs before each append.
type racingLog struct {
	*memLog
	race func()
}

func (l *racingLog) Append(ctx context.Context, after int64, data []byte) error {
	l.race()
	return l.memLog.Append(ctx, after, data)
}

// Proves what an append means that fails: a message that is in the log all the same is a change made; one
// that is not is no change, here and in the file; one that arrives later takes effect then.
func TestChange_AppendsWhoseOutcomeIsUnknown(t *testing.T) {
	log := newMemLog()
	one, two := joined(t, log), joined(t, log)
	create := func(name string) error {
		_, err := change(one, brain.OpCreate, &brain.Account{Name: name})
		return err
	}
	log.onAppend = func(int64, []byte) (bool, error) { return true, errLog }
	if err := create("kept"); err != nil {
		t.Errorf("the message was kept, the change said %v", err)
	}
	var late []byte
	log.onAppend = func(_ int64, data []byte) (bool, error) { late = data; return false, errLog }
	before := dump(t, one)
	wantCode(t, create("late"), brain.EUnavailable, "did not confirm")
	if got := dump(t, one); got != before {
		t.Errorf("something was changed:\n%s", got)
	}
	wantEqual(t, one, two)
	log.onAppend = nil
	log.mu.Lock()
	log.keep(late)
	log.mu.Unlock()
	wantCode(t, create("late"), brain.EConflict, "taken")
	log.down = true
	wantCode(t, create("x"), brain.EUnavailable, "change log")
	if account := one.Directory(); account.Version() != 2 {
		t.Errorf("version %d: decisions must not need the log", account.Version())
	}
	log.down = false
	if err := create("again"); err != nil {
		t.Error(err)
	}
	wantEqual(t, one, two)
}

// Proves that Follow applies what is there and what comes, in order, that it passes over what the store
// has, and that a key made or deleted on one store is so on the other.
func TestFollow_AppliesTheOthersChanges(t *testing.T) {
	log := newMemLog()
	one, two := joined(t, log), joined(t, log)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	token, key, err := one.NewKey(ctx, "test", "", "root", []brain.Scope{brain.ScopePlatform})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := two.KeyByToken(token); ok {
		t.Fatal("the other store knows the key before it could")
	}
	done := make(chan error, 1)
	go func() { done <- two.Follow(ctx) }()
	known := func() bool { _, ok := two.KeyByToken(token); return ok }
	wait := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); known() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the key is known: %v, want %v", known(), want)
			}
		}
	}
	wait(true)
	mustChange(t, two, brain.OpCreate, &brain.Account{Name: "acme"}) // its own change comes back and is passed over
	mustChange(t, one, brain.OpDelete, &key)
	wait(false)
	stop()
	if err := <-done; err != nil {
		t.Errorf("follow ended with %v", err)
	}
	wantEqual(t, one, two)
	if got, want := two.Directory().Version(), int64(3); got != want {
		t.Errorf("version %d, want %d", got, want)
	}
	if err := openStore(t).Follow(context.Background()); err == nil {
		t.Error("a store without a log followed it")
	}
}

// Proves that a file of its own begins a log, that an equal file joins, and that every file that does not
// belong to the log is refused and left alone: another history, another content of the same version, a
// file ahead of the log, and a log that has lost its end.
func TestReplicate_RefusesAFileOfAnotherConfiguration(t *testing.T) {
	ctx := context.Background()
	one := acmeStore(t)
	log := newMemLog()
	log.before = one.Directory().Version()
	if err := one.Replicate(ctx, log); err != nil {
		t.Fatal(err)
	}
	if v := one.Directory().Version(); v != 2 || log.last() != 2 {
		t.Errorf("version %d, the log ends at %d", v, log.last())
	}
	equal := snapshotOf(t, one)
	if err := equal.Replicate(ctx, log); err != nil {
		t.Errorf("an equal file: %v", err)
	}
	wantEqual(t, one, equal)
	if err := one.Replicate(ctx, log); err == nil {
		t.Error("a second log was attached")
	}

	sameVersion := acmeStore(t) // other ids
	mustChange(t, one, brain.OpCreate, &brain.Account{Name: "new"})
	otherHistory := snapshotOf(t, sameVersion)
	mustChange(t, otherHistory, brain.OpCreate, &brain.Account{Name: "other"})
	ahead := snapshotOf(t, one)
	mustChange(t, ahead, brain.OpCreate, &brain.Account{Name: "ahead"})
	for name, c := range map[string]struct {
		s    *Store
		part string
	}{"same version": {sameVersion, "began with"}, "other history": {otherHistory, "revision 2"}, "ahead": {ahead, "ends at 3"}} {
		before := dump(t, c.s)
		err := c.s.Replicate(ctx, log)
		if !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), c.part) || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%s: got %v, want %q", name, err, c.part)
		}
		if after := dump(t, c.s); after != before {
			t.Errorf("%s: the file was changed", name)
		}
	}
	log.list = log.list[:len(log.list)-1]
	if err := one.Level(ctx); !errors.Is(err, ErrDiffers) {
		t.Errorf("a log that has lost its end: %v", err)
	}
}

// Proves that a message that does not fit the file, or that the tables refuse, stops the store where it is.
func TestFollow_StopsAtWhatItCannotApply(t *testing.T) {
	ctx := context.Background()
	acme := &brain.Account{ID: "acc_1", Name: "acme", Status: "active", Timezone: "UTC", Language: "en", AdmissionPolicy: "closed"}
	orphan := &brain.SIPUser{ID: "us_1", AccountID: "acc_1", Username: "1", RingTimeoutSec: 1, RingStrategy: "simultaneous", Status: "active"}
	for name, ops := range map[string][]op{
		"update of nothing": {opOf(acme, acme)}, "delete of nothing": {opOf(acme, nil)},
		"created twice": {opOf(nil, acme), opOf(nil, acme)}, "refused by the table": {opOf(nil, &brain.Extension{ID: "ext_1", AccountID: "acc_9", Digits: "1", DestKind: "hangup", Status: "active"})},
		"without its account": {opOf(nil, orphan)},
	} {
		log := newMemLog()
		s := joined(t, log)
		data, err := writeEntry(newEntry(brain.Revision{Version: 1, TimeMS: 1, Actor: "x", Summary: "x"}, ops, ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Append(ctx, 0, data); err != nil {
			t.Fatal(err)
		}
		if err := s.Level(ctx); err == nil || s.Directory().Version() != 0 {
			t.Errorf("%s: version %d, %v", name, s.Directory().Version(), err)
		}
		if err := s.reload(ctx); err != nil || s.Directory().Version() != 0 {
			t.Errorf("%s: the file has version %d, %v", name, s.Directory().Version(), err)
		}
	}
}

// snapshotOf is a store of its own with what another one has.
func snapshotOf(t testing.TB, from *Store) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.db")
	loadSnapshot(t, path, from)
	s, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

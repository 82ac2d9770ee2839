package config

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a created resource gets an id of its kind, defaults and digests, that the password is
// gone, and that the directory shows it when Change returns.
func TestChange_CreatesWithIDDefaultsAndDigestsAndShowsItAtOnce(t *testing.T) {
	s := openStore(t)
	acc := &brain.Account{Name: "acme"}
	mustChange(t, s, brain.OpCreate, acc)
	mustChange(t, s, brain.OpCreate, &brain.SIPDomain{AccountID: acc.ID, Domain: "ACME.test", IsPrimary: true})
	user := &brain.SIPUser{AccountID: acc.ID, Username: "1001"}
	mustChange(t, s, brain.OpCreate, user)
	device := &brain.SIPDevice{AccountID: acc.ID, UserID: user.ID, AuthUsername: "1001", Realm: "Acme.TEST", Password: "Circle of Life"}
	version := mustChange(t, s, brain.OpCreate, device)

	if !strings.HasPrefix(device.ID, "dev_") || len(device.ID) != 30 || device.ID != strings.ToLower(device.ID) {
		t.Errorf("id %q is not dev_ and a lower-case ULID", device.ID)
	}
	if device.Password != "" || device.HA1MD5 != "06c18093043df86ebb4f11d86d793603" || device.HA1SHA256 != "eca9821e2cc56b05c8e5c540a16a3b32bd85a9de5e898c50eb1211e6a19adf26" {
		t.Errorf("not sealed: %+v", device)
	}
	if user.RingTimeoutSec != 25 || user.RingStrategy != brain.RingSimultaneous || user.Status != brain.StatusActive {
		t.Errorf("defaults are missing: %+v", user)
	}
	c := account(t, s, "acme.TEST")
	if s.Directory().Version() != version || version != 4 || c.Version != 4 || c.PrimaryDomain != "acme.test" {
		t.Errorf("version %d, account %d, primary %q", s.Directory().Version(), c.Version, c.PrimaryDomain)
	}
	if got := c.DeviceByAuth["1001@acme.test"]; got == nil || got.HA1MD5 != device.HA1MD5 {
		t.Errorf("the directory has %+v", got)
	}
}

// Proves that a mistake names its field with the path of the resource, and that several come together.
func TestChange_TellsAllMistakesWithTheirPaths(t *testing.T) {
	s := acmeStore(t)
	c := account(t, s, "acme.test")
	beta := account(t, s, "beta.test").UserByName["1001"]
	before := dump(t, s)
	_, err := change(s, brain.OpCreate, &brain.RingGroup{AccountID: c.Account.ID, Name: "x\n", RingTimeoutSec: 900,
		Members:          []brain.RingGroupMember{{UserID: c.UserByName["1001"].ID}, {UserID: "us_nobody"}, {UserID: beta.ID}},
		OverflowDestKind: "user"})
	e, ok := err.(*brain.Error)
	if !ok || e.Code != brain.EInvalid {
		t.Fatalf("got %v", err)
	}
	var paths []string
	for _, f := range e.Fields {
		paths = append(paths, f.Path)
	}
	want := []string{"name", "ring_timeout_sec", "overflow_dest_id", "members[1].user_id", "members[2].user_id"}
	if !slices.Equal(paths, want) {
		t.Errorf("got %v, want %v", paths, want)
	}
	if dump(t, s) != before {
		t.Error("something was written")
	}
}

// Proves that a resource of another account does not exist for reading, changing and deleting.
func TestChange_DoesNotSeeAnotherAccount(t *testing.T) {
	s := acmeStore(t)
	acme, beta := account(t, s, "acme.test").Account.ID, account(t, s, "beta.test")
	stolen := *beta.UserByName["1001"]
	stolen.AccountID = acme
	_, err := change(s, brain.OpUpdate, &stolen)
	wantCode(t, err, brain.ENotFound, stolen.ID)
	_, err = change(s, brain.OpDelete, &stolen)
	wantCode(t, err, brain.ENotFound, stolen.ID)
	_, err = s.Get(context.Background(), brain.KindSIPUser, acme, stolen.ID)
	wantCode(t, err, brain.ENotFound, stolen.ID)
	if r, err := s.Get(context.Background(), brain.KindSIPUser, "", stolen.ID); err != nil || r.OwnerID() != beta.Account.ID {
		t.Errorf("the platform gets %v, %v", r, err)
	}
}

// Proves that names are unique where they must be, and that what is still in use stays.
func TestChange_RefusesTakenNamesAndDeletesInUse(t *testing.T) {
	s := acmeStore(t)
	acme, beta := account(t, s, "acme.test"), account(t, s, "beta.test")
	for _, c := range []struct {
		op   brain.ChangeOp
		r    brain.Resource
		part string
	}{
		{brain.OpCreate, &brain.Account{Name: "acme"}, `"acme" is taken`},
		{brain.OpCreate, &brain.SIPDomain{AccountID: beta.Account.ID, Domain: "ACME.test"}, `"acme.test" is taken`},
		{brain.OpCreate, &brain.SIPUser{AccountID: acme.Account.ID, Username: "1001"}, `"1001" is taken`},
		{brain.OpCreate, &brain.SIPDevice{AccountID: acme.Account.ID, UserID: acme.UserByName["1001"].ID, AuthUsername: "1001", Realm: "acme.test", Password: "x"}, "taken"},
		{brain.OpCreate, &brain.Extension{AccountID: acme.Account.ID, Digits: "600", DestKind: "hangup"}, `"600" is taken`},
		{brain.OpCreate, &brain.RingGroup{AccountID: acme.Account.ID, Name: "sales"}, `"sales" is taken`},
		{brain.OpCreate, &brain.Node{Name: "edge-1"}, `"edge-1" is taken`},
		{brain.OpDelete, acme.UserByName["1002"], `sip_user "1002" is still named by sip_user "1001" (fwd_noanswer_dest_id)`},
		{brain.OpDelete, acme.Domains["acme.test"], `sip_domain "acme.test" is still named by sip_device "1001@acme.test" (realm)`},
		{brain.OpDelete, acme.Extensions["*98"], `extension "*98" is still named by ring_group "sales" (overflow_dest_id)`},
		{brain.OpDelete, &acme.Account, "the account still has 2"},
	} {
		_, err := change(s, c.op, c.r)
		wantCode(t, err, brain.EConflict, c.part)
	}
}

// Proves that two users may swap their usernames in one change set: the unique index must not see the
// state in between.
func TestChange_SwapsNamesInOneChangeSet(t *testing.T) {
	s := acmeStore(t)
	c := account(t, s, "acme.test")
	a, b := *c.UserByName["1001"], *c.UserByName["1002"]
	a.Username, b.Username = b.Username, a.Username
	mustChange(t, s, brain.OpUpdate, &a, &b)
	if got := account(t, s, "acme.test").UserByName["1002"].ID; got != a.ID {
		t.Errorf("1002 is %s, want %s", got, a.ID)
	}
	if err := s.reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := account(t, s, "acme.test").UserByName["1002"].ID; got != a.ID {
		t.Errorf("in the file 1002 is %s, want %s", got, a.ID)
	}
}

// Proves that making a domain primary takes it from the old one, and that the last one cannot be lost.
func TestChange_MovesThePrimaryDomain(t *testing.T) {
	s := acmeStore(t)
	second := *account(t, s, "acme.test").Domains["phones.acme.test"]
	second.IsPrimary = true
	mustChange(t, s, brain.OpUpdate, &second)
	c := account(t, s, "acme.test")
	if c.PrimaryDomain != "phones.acme.test" || c.Domains["acme.test"].IsPrimary {
		t.Errorf("primary is %q, the old one says %v", c.PrimaryDomain, c.Domains["acme.test"].IsPrimary)
	}
	second.IsPrimary = false
	_, err := change(s, brain.OpUpdate, &second)
	if brain.CodeOf(err) == "" {
		t.Error("the account was left without a primary domain")
	}
}

// Proves that an update without a password keeps the digests, and that a new realm wants a password.
func TestChange_KeepsDigestsUntilTheyNoLongerFit(t *testing.T) {
	s := acmeStore(t)
	old := account(t, s, "acme.test").DeviceByAuth["1001@acme.test"]
	d := old.Redacted()
	d.RingOrder = 7
	mustChange(t, s, brain.OpUpdate, d)
	if d.HA1MD5 != old.HA1MD5 || d.HA1SHA256 != old.HA1SHA256 || d.HA1MD5 == "" {
		t.Error("the digests were lost")
	}
	d.Realm = "phones.acme.test"
	_, err := change(s, brain.OpUpdate, d)
	wantCode(t, err, brain.EInvalid, "password")
	d.Password = "new"
	mustChange(t, s, brain.OpUpdate, d)
	if d.HA1MD5 == old.HA1MD5 || d.Password != "" {
		t.Error("the new password was not sealed")
	}
}

// Proves that a change that changes nothing makes no revision.
func TestChange_WithoutDifferenceMakesNoRevision(t *testing.T) {
	s := acmeStore(t)
	u := *account(t, s, "acme.test").UserByName["1001"]
	if v := mustChange(t, s, brain.OpUpdate, &u); v != 1 {
		t.Errorf("version is %d, want 1", v)
	}
}

// Proves that a change of one account leaves the bundle of another as it is, pointer and version.
func TestChange_RebuildsOnlyTheTouchedAccount(t *testing.T) {
	s := acmeStore(t)
	beta := account(t, s, "beta.test")
	u := *account(t, s, "acme.test").UserByName["1001"]
	u.DND = true
	version := mustChange(t, s, brain.OpUpdate, &u)
	if account(t, s, "beta.test") != beta {
		t.Error("beta was rebuilt")
	}
	if got := account(t, s, "acme.test").Version; got != version || beta.Version != 1 {
		t.Errorf("acme has version %d, beta %d", got, beta.Version)
	}
}

// Proves that a store that another process has overtaken refuses to write, learns the newer state, and
// then goes on.
func TestChange_RefusesAfterAnotherProcessWrote(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "config.db")
	one, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	mustChange(t, one, brain.OpCreate, &brain.Account{Name: "one"})
	_, err = change(two, brain.OpCreate, &brain.Account{Name: "two"})
	wantCode(t, err, brain.EConflict, "meanwhile")
	if v := mustChange(t, two, brain.OpCreate, &brain.Account{Name: "two"}); v != 2 {
		t.Errorf("version is %d, want 2", v)
	}
}

// Proves that readers are never in the way of a writer nor see a half-made view: while users are created
// one by one, readers take views that have as many users as revisions were made, and whose versions
// never fall. Run it with -race.
func TestDirectory_IsReadWhileItIsChanged(t *testing.T) {
	s := acmeStore(t)
	owner := account(t, s, "beta.test").Account.ID
	const users = 50
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := int64(0)
			for {
				dir := s.Directory()
				c := dir.ByAccount(owner)
				if dir.Version() < last || len(c.Users) != len(c.UserByName) || int64(len(c.Users)) != dir.Version() {
					t.Errorf("version %d after %d with %d users", dir.Version(), last, len(c.Users))
					return
				}
				last = dir.Version()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range users {
		mustChange(t, s, brain.OpCreate, &brain.SIPUser{AccountID: owner, Username: strconv.Itoa(2000 + i)})
	}
	close(done)
	readers.Wait()
}

package kam

import (
	"maps"
	"path/filepath"
	"testing"
	"time"
)

func TestTable_KeepsWhatIsSetForItsTime(t *testing.T) {
	// Proves setting, replacing, deleting, listing and the end of an entry, against a real Kamailio; a key or table that is not
	// there is told apart from a fault.
	socket, _ := startKamailio(t)
	c, err := Open(socket, filepath.Join(filepath.Dir(socket), "c.sock"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.TableSet(ctx, "shared", "192.0.2.7", "ua", time.Hour))
	must(c.TableSet(ctx, "shared", "192.0.2.7", "nft", 2*time.Hour))
	must(c.TableSet(ctx, "shared", "7", "from:sip:nm@nm", 0))
	must(c.TableSetInt(ctx, "shared", "limit", 0))
	must(c.TableDelete(ctx, "shared", "nobody"))
	got, err := c.TableDump(ctx, "shared")
	if want := map[string]string{"192.0.2.7": "nft", "7": "from:sip:nm@nm", "limit": "0"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("the table is %v, %v, want %v", got, err, want)
	}
	must(c.TableDelete(ctx, "shared", "192.0.2.7"))
	for key, want := range map[string]bool{"192.0.2.7": false, "7": true} {
		if has, err := c.TableHas(ctx, "shared", key); has != want || err != nil {
			t.Errorf("%s is there: %t, %v", key, has, err)
		}
	}
	if _, err := c.TableHas(ctx, "none", "7"); err == nil {
		t.Error("a table that is not there is no fault")
	}
	must(c.TableSet(ctx, "shared", "short", "x", 200*time.Millisecond)) // a second
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		has, err := c.TableHas(ctx, "shared", "short")
		must(err)
		if !has {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("an entry outlives its time")
		}
	}
}

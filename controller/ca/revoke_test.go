package ca

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

func TestRevoke_NeedsNoFile(t *testing.T) {
	// Proves that a certificate whose files are gone is taken back by the name of its holder, with all before it, or by its serial number,
	// alone; that lists show it until then; and that a name of two kinds, and what was never signed, are refused and revoke nothing.
	a, dir := opened(t)
	first := issue(t, a, api.IdentityNode, "edge-1")
	held := map[string][]*x509.Certificate{"edge-1, the first": chain(t, dir, "node-edge-1.pem")}
	if _, err := a.Renew("node-edge-1.pem", LeafLife); err != nil {
		t.Fatal(err)
	}
	held["edge-1, renewed"] = chain(t, dir, "node-edge-1.pem")
	for _, name := range []string{"edge-2", "both"} {
		issue(t, a, api.IdentityNode, name)
		held[name] = chain(t, dir, "node-"+name+".pem")
	}
	issue(t, a, api.IdentityBrain, "both")
	files, _ := filepath.Glob(filepath.Join(dir, "node-*"))
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	good := func(want ...string) {
		t.Helper()
		now := trusted(t, dir)
		for who, certs := range held {
			_, err := now.Verify(certs, x509.ExtKeyUsageClientAuth, noon)
			if wanted := strings.Contains(strings.Join(want, "; "), who); (err == nil) != wanted {
				t.Errorf("%s: %v, want it good: %t", who, err, wanted)
			}
		}
	}
	leaves, err := a.List()
	if err != nil || len(leaves) != 5 || leaves[0].File == "" || leaves[1].File != "" || leaves[1].Serial != first.Serial {
		t.Fatalf("%+v %v", leaves, err)
	}
	for word, want := range map[string]string{"both": "of a node", "edge-9": "has signed nothing for edge-9", "0": "signed nothing", "": "signed nothing", "node-edge-9.pem": "signed nothing"} {
		if _, err := a.Revoke(word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", word, err, want)
		}
	}
	good("edge-1, the first", "edge-1, renewed", "edge-2", "both")
	if leaf, err := a.Revoke(strings.ToUpper(first.Serial)); err != nil || leaf.Name != "edge-1" || !leaf.Revoked {
		t.Errorf("%+v %v", leaf, err)
	}
	good("edge-1, renewed", "edge-2", "both")
	if leaf, err := a.Revoke("edge-1"); err != nil || leaf.Serial == "" {
		t.Errorf("%+v %v", leaf, err)
	}
	good("edge-2", "both")
	if _, err := a.Revoke("node-both.pem"); err != nil {
		t.Error(err)
	}
	good("edge-2")
	if leaves, err = a.List(); err != nil || !leaves[1].Revoked || leaves[3].Revoked {
		t.Errorf("%+v %v", leaves, err)
	}
	late, err := Open(dir, noon.Add(LeafLife+time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if leaves, err = late.List(); err != nil || len(leaves) != 1 {
		t.Errorf("what has ended is listed: %+v %v", leaves, err)
	}
}

func TestIssued_LosesNothing(t *testing.T) {
	// Proves that what several processes sign at once is all noted, and that a line that was cut off costs no other one.
	a, dir := opened(t)
	if err := os.WriteFile(filepath.Join(dir, logFile), []byte("4fffe sipio://no"), 0o600); err != nil {
		t.Fatal(err)
	}
	var at sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		other, err := Open(dir, noon)
		if err != nil {
			t.Fatal(err)
		}
		at.Go(func() {
			if _, err := other.Issue(api.Identity{Kind: api.IdentityNode, Name: name}, nil, LeafLife); err != nil {
				t.Error(err)
			}
		})
	}
	at.Wait()
	if issued, err := a.issued(); err != nil || len(issued) != 8 {
		t.Errorf("%d are noted, %v", len(issued), err)
	}
}

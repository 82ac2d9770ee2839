package ca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

var noon = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

// opened makes an authority in a new folder, and opens it.
func opened(t *testing.T) (*Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := Init(dir, Life, noon); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir, noon)
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

func issue(t *testing.T, a *Authority, kind, name string, hosts ...string) Leaf {
	t.Helper()
	leaf, err := a.Issue(api.Identity{Kind: kind, Name: name}, hosts, LeafLife)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// trusted is what others make of the folder's ca.pem.
func trusted(t *testing.T, dir string) *api.Authority {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.ParseAuthority(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// chain loads a certificate with its key, as a holder does.
func chain(t *testing.T, dir, file string) []*x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, file), filepath.Join(dir, keyOf(file)))
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{pair.Leaf}
}

func TestAuthority_SignsWhoSomebodyIs(t *testing.T) {
	// Proves, for each kind, that what is signed loads with its key, says who its holder is for the uses of its kind and no other,
	// and is good in its time only.
	a, dir := opened(t)
	good := trusted(t, dir)
	for _, row := range []struct {
		kind, name string
		server     bool
	}{{api.IdentityNode, "edge-1", true}, {api.IdentityBrain, "brain-1", true}, {api.IdentityOperator, "anna", false}} {
		leaf := issue(t, a, row.kind, row.name, "192.0.2.1", "2001:db8::1", "brain.example.com")
		certs := chain(t, dir, leaf.File)
		id, err := good.Verify(certs, x509.ExtKeyUsageClientAuth, noon.Add(time.Hour))
		if err != nil || id != (api.Identity{Kind: row.kind, Name: row.name}) {
			t.Errorf("%s: %+v %v", row.kind, id, err)
		}
		if _, err := good.Verify(certs, x509.ExtKeyUsageServerAuth, noon); (err == nil) != row.server {
			t.Errorf("%s as a server: %v", row.kind, err)
		}
		for _, at := range []time.Time{noon.Add(-time.Hour), noon.Add(LeafLife + time.Second)} {
			if _, err := good.Verify(certs, x509.ExtKeyUsageClientAuth, at); err == nil {
				t.Errorf("%s is good at %s", row.kind, at)
			}
		}
		for _, host := range []string{"192.0.2.1", "2001:db8::1", "brain.example.com"} {
			if err := certs[0].VerifyHostname(host); err != nil {
				t.Errorf("%s: %v", row.kind, err)
			}
		}
	}
	_, other := opened(t)
	if _, err := trusted(t, other).Verify(chain(t, dir, "node-edge-1.pem"), x509.ExtKeyUsageClientAuth, noon); err == nil {
		t.Error("another authority knows it")
	}
	if _, err := good.Verify(nil, x509.ExtKeyUsageClientAuth, noon); err == nil {
		t.Error("no certificate is somebody")
	}
}

func TestAuthority_OverwritesNothing(t *testing.T) {
	// Proves that neither an authority nor a certificate nor a key that is there is lost to another of its name, and that keys are
	// for their owner's eyes.
	a, dir := opened(t)
	issue(t, a, api.IdentityNode, "edge-1")
	before := map[string]string{}
	for _, file := range []string{certFile, keyFile, "node-edge-1.pem", "node-edge-1.key"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		before[file] = string(text)
		if info, _ := os.Stat(filepath.Join(dir, file)); filepath.Ext(file) == ".key" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", file, info.Mode().Perm())
		}
	}
	if err := Init(dir, Life, noon); !errors.Is(err, ErrExists) {
		t.Errorf("another authority: %v", err)
	}
	if _, err := a.Issue(api.Identity{Kind: api.IdentityNode, Name: "edge-1"}, nil, LeafLife); !errors.Is(err, ErrExists) {
		t.Errorf("another certificate: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "node-edge-1.key")); err != nil { // the certificate alone is there
		t.Fatal(err)
	}
	if _, err := a.Issue(api.Identity{Kind: api.IdentityNode, Name: "edge-1"}, nil, LeafLife); !errors.Is(err, ErrExists) {
		t.Errorf("beside a certificate: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node-edge-1.key")); err == nil {
		t.Error("a key was left behind for a certificate that was not made")
	}
	for _, file := range []string{certFile, keyFile, "node-edge-1.pem"} {
		if text, _ := os.ReadFile(filepath.Join(dir, file)); string(text) != before[file] {
			t.Errorf("%s has changed", file)
		}
	}
}

func TestAuthority_RefusesWhatItCannotSign(t *testing.T) {
	// Proves that names that are no part of a path or a URI, hosts that are none, and ends that are past are refused, and leave no file.
	a, dir := opened(t)
	for _, name := range []string{"", "..", "a/b", "a b", "a%2fb", "é", "a\nb", string(make([]byte, 65))} {
		if _, err := a.Issue(api.Identity{Kind: api.IdentityNode, Name: name}, nil, LeafLife); err == nil {
			t.Errorf("name %q was signed", name)
		}
	}
	for _, host := range []string{"", "a b", "https://x", "x:8443", "*.example.com", "a..b"} {
		if _, err := a.Issue(api.Identity{Kind: api.IdentityBrain, Name: "b"}, []string{host}, LeafLife); err == nil {
			t.Errorf("host %q was signed", host)
		}
	}
	if _, err := a.Issue(api.Identity{Kind: "king", Name: "x"}, nil, LeafLife); err == nil {
		t.Error("an unknown kind was signed")
	}
	if _, err := a.Issue(api.Identity{Kind: api.IdentityNode, Name: "x"}, nil, -time.Hour); err == nil {
		t.Error("one that is past was signed")
	}
	leaf, err := a.Issue(api.Identity{Kind: api.IdentityNode, Name: "long"}, nil, 2*Life)
	if err != nil || !leaf.Until.Equal(a.Until()) {
		t.Errorf("it outlives its authority: %v %v", leaf.Until, err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 5 { // the log too
		t.Errorf("files: %q", files)
	}
	for _, mode := range []os.FileMode{0o604, 0o640, 0o620} {
		if err := os.Chmod(filepath.Join(dir, keyFile), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, noon); err == nil {
			t.Errorf("a key of mode %o was taken", mode)
		}
	}
	if _, err := Open(t.TempDir(), noon); err == nil {
		t.Error("an empty folder is an authority")
	}
}

func TestAuthority_RenewsAndRevokes(t *testing.T) {
	// Proves that renewing keeps the key and the hosts and moves the end, that a revoked certificate is nobody's for whoever has the
	// new ca.pem and the others stay good, that it is not renewed, and that a list of a foreign authority is an error.
	a, dir := opened(t)
	issue(t, a, api.IdentityNode, "edge-1", "192.0.2.1")
	issue(t, a, api.IdentityNode, "edge-2")
	before := chain(t, dir, "node-edge-1.pem")[0]
	later, err := Open(dir, noon.Add(LeafLife-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := later.Renew("node-edge-1.pem", LeafLife)
	if err != nil {
		t.Fatal(err)
	}
	after := chain(t, dir, "node-edge-1.pem")[0]
	if !after.NotAfter.After(before.NotAfter) || after.SerialNumber.Cmp(before.SerialNumber) == 0 || len(leaf.Hosts) != 1 {
		t.Errorf("renewed to %+v", leaf)
	}
	for range 2 { // once more changes nothing
		if leaf, err = later.Revoke("node-edge-1.pem"); err != nil || !leaf.Revoked {
			t.Fatalf("%+v %v", leaf, err)
		}
	}
	if _, err := later.Revoke("node-edge-2.pem"); err != nil {
		t.Fatal(err)
	}
	issue(t, later, api.IdentityNode, "edge-3")
	now := trusted(t, dir)
	for file, good := range map[string]bool{"node-edge-1.pem": false, "node-edge-2.pem": false, "node-edge-3.pem": true} {
		if _, err := now.Verify(chain(t, dir, file), x509.ExtKeyUsageClientAuth, noon.Add(LeafLife-time.Hour)); (err == nil) != good {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := later.Renew("node-edge-1.pem", LeafLife); err == nil {
		t.Error("a revoked certificate was renewed")
	}
	if _, err := later.Renew("node-edge-9.pem", LeafLife); err == nil {
		t.Error("what is not there was renewed")
	}
	leaves, err := later.List()
	if err != nil || len(leaves) != 3 || !leaves[0].Revoked || leaves[2].Revoked {
		t.Errorf("%+v %v", leaves, err)
	}
	if _, err := now.Verify([]*x509.Certificate{before}, x509.ExtKeyUsageClientAuth, noon); err == nil {
		t.Error("the certificate before the one that was revoked, of the same key, is good")
	}
	other, foreign := opened(t)
	issue(t, other, api.IdentityNode, "x")
	if _, err := other.Revoke("node-x.pem"); err != nil {
		t.Fatal(err)
	}
	mine, _ := os.ReadFile(filepath.Join(dir, "node-edge-3.pem")) // any certificate but the list's signer
	theirs, _ := os.ReadFile(filepath.Join(foreign, certFile))
	list := theirs[bytes.LastIndex(theirs, []byte("-----BEGIN")):]
	if _, err := api.ParseAuthority(append(mine, list...)); err == nil {
		t.Error("a list that nobody beside it has signed was taken")
	}
}

func FuzzParseAuthority(f *testing.F) {
	// Proves that no file makes the reader of an authority panic, and that what it takes has an authority in it.
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, err := api.ParseAuthority(text); (a == nil) == (err == nil) {
			t.Errorf("%v %v", a, err)
		}
	})
}

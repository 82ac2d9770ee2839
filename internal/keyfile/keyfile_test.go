package keyfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

func TestRead_TakesSecretsFromFilesOfTheirOwner(t *testing.T) {
	// Proves that the rule of brain.KeyFile is asked about the file that is read, a link's target and a pipe among them, that a
	// file is taken up to its limit, and that no error shows what stands in one.
	dir := t.TempDir()
	path, link, pipe := filepath.Join(dir, "key"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		readers    brain.KeyReaders
		says       string
	}{
		{"mine", "Plan7ed\n", 0o600, brain.OwnerReads, ""},
		{"at the limit", strings.Repeat("x", Limit), 0o600, brain.OwnerReads, ""},
		{"above it", "Plan7ed" + strings.Repeat("x", Limit), 0o600, brain.OwnerReads, "longer than 4096 bytes"},
		{"empty", " \n", 0o600, brain.OwnerReads, "is empty"},
		{"of a group", "Plan7ed", 0o640, brain.GroupReads, ""},
		{"of a group, for its owner", "Plan7ed", 0o640, brain.OwnerReads, "open to its group: mode 0640: chmod 600"},
		{"of everybody", "Plan7ed", 0o644, brain.GroupReads, "open to every user: mode 0644: chmod o="},
		{"no secret", "Plan7ed", 0o644, brain.EverybodyReads, ""},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{path, link} {
			got, err := Text(from, c.readers)
			if c.says == "" && (err != nil || got != strings.TrimSpace(c.text)) {
				t.Errorf("%s: %q, %v", c.name, got, err)
			}
			if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), from) || strings.Contains(err.Error(), "Plan7ed")) {
				t.Errorf("%s: %v, want %q", c.name, err, c.says)
			}
		}
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, []byte("piped"), 0o600) }()
	if got, err := Text(pipe, brain.OwnerReads); err != nil || got != "piped" || <-wrote != nil {
		t.Errorf("from a pipe: %q, %v", got, err)
	}
	for _, none := range []string{filepath.Join(dir, "none"), dir} {
		if _, err := Text(none, brain.OwnerReads); err == nil {
			t.Errorf("%s was taken", none)
		}
	}
}

func TestOf_KnowsTheOwner(t *testing.T) {
	// Proves that the owner of a file is looked at.
	info, err := os.Stat(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if f := Of("x", info); f.Owner != uint32(os.Geteuid()) || f.Path != "x" || f.Mode != info.Mode() {
		t.Errorf("%+v", f)
	}
	root, err := os.Stat("/")
	if err != nil {
		t.Fatal(err)
	}
	if f := Of("/", root); f.Owner != root.Sys().(*syscall.Stat_t).Uid {
		t.Errorf("%+v", f)
	}
}

func TestCredential_IsOneOfThisProcess(t *testing.T) {
	// Proves that a credential is found by its name in the folder that systemd names, and that without it there is none.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node-key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if got := Credential("node-key"); got != filepath.Join(dir, "node-key") {
		t.Errorf("%q", got)
	}
	if got := Credential("other"); got != "" {
		t.Errorf("one that was not given: %q", got)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if got := Credential("node-key"); got != "" {
		t.Errorf("without systemd: %q", got)
	}
}

// writePair writes a certificate, signed by itself, and its key.
func writePair(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		path, at := filepath.Join(dir, file), time.Now().Add(time.Duration(serial)*time.Second) // whatever the file system's clock can tell apart
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPair_IsReadAgainWhenItIsRenewed(t *testing.T) {
	// Proves that a certificate is the one in the files, each time that one is read its owner hears of it, that nothing is read
	// before it is time or without a change, and that files which do not fit together, or stand open, change nothing.
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writePair(t, dir, 1)
	var heard []int64
	p, err := OpenPair(cert, key, slog.New(slog.DiscardHandler), func(c *x509.Certificate) { heard = append(heard, c.SerialNumber.Int64()) })
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, serial int64, reads int) {
		t.Helper()
		if got := p.Get().Leaf.SerialNumber.Int64(); got != serial || len(heard) != reads {
			t.Errorf("%s: certificate %d, %d were read", what, got, len(heard))
		}
	}
	later := func() { p.last = time.Now().Add(-looked) }
	want("at first", 1, 1)
	later()
	want("without a change", 1, 1)
	writePair(t, dir, 2)
	want("before it is time", 1, 1)
	later()
	want("renewed", 2, 2)
	for serial, spoil := range map[int64]func() error{
		3: func() error { return os.WriteFile(key, []byte("half of it"), 0o600) },
		4: func() error { return os.Chmod(key, 0o644) },
		5: func() error { return os.Remove(cert) },
	} {
		writePair(t, dir, serial)
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(serial) * time.Minute)
		if err := os.Chtimes(key, at, at); err != nil {
			t.Fatal(err)
		}
		later()
		want("spoilt", 2, 2)
		if _, err := OpenPair(cert, key, slog.New(slog.DiscardHandler), nil); err == nil {
			t.Errorf("spoilt files %d are a pair", serial)
		}
		_ = os.Remove(key)
	}
}

package ca

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// lock keeps other processes from changing the folder until unlock is called.
func (a *Authority) lock() (unlock func(), err error) {
	dir, err := os.Open(a.dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", a.dir, err), dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

// note writes down what is about to be signed. The file is replaced as a whole: a line is there or it is not.
func (a *Authority) note(serial *big.Int, id api.Identity, until time.Time) error {
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()
	text, err := read(a.path(logFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = fmt.Appendf(text, "%s %s %s\n", serial.Text(16), id.URI(), until.UTC().Format(time.RFC3339))
	if len(text) > maxFile {
		return fmt.Errorf("%s has %d bytes, and takes no more", a.path(logFile), len(text))
	}
	return replace(a.path(logFile), text)
}

// issued reads what note has written: everything that was ever signed, without the files. A line that is none is left out.
func (a *Authority) issued() ([]Leaf, error) {
	text, err := read(a.path(logFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	revoked, err := a.revoked()
	if err != nil {
		return nil, err
	}
	var leaves []Leaf
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		id, ok := api.ParseIdentity(fields[1])
		serial, hex := new(big.Int).SetString(fields[0], 16)
		until, err := time.Parse(time.RFC3339, fields[2])
		if ok && hex && err == nil {
			leaves = append(leaves, Leaf{Identity: id, Serial: serial.Text(16), Until: until, Revoked: revoked[serial.Text(16)]})
		}
	}
	return leaves, nil
}

// Revoke takes back what was signed, by one of three words, whether its file is here or not: a file or the name of its holder, with which
// everything goes that was ever signed for him, or a serial number in hex, with which that one certificate goes. From then on ca.pem lists them,
// and whoever has been given that file refuses them. What was revoked once stays so. A name that a node, a brain or an operator share is refused.
func (a *Authority) Revoke(word string) (Leaf, error) {
	unlock, err := a.lock()
	if err != nil {
		return Leaf{}, err
	}
	defer unlock()
	issued, err := a.issued()
	if err != nil {
		return Leaf{}, err
	}
	here, err := a.files()
	if err != nil {
		return Leaf{}, err
	}
	of := slices.Concat(here, issued) // a file that nobody noted, too
	one := strings.TrimLeft(strings.ToLower(word), "0")
	if i := slices.IndexFunc(of, func(l Leaf) bool { return l.Serial == one }); i >= 0 {
		of = of[i : i+1]
	} else {
		of = slices.DeleteFunc(of, func(l Leaf) bool { return fileOf(l.Identity) != word && l.Name != word })
	}
	if len(of) == 0 {
		return Leaf{}, fmt.Errorf("%s has signed nothing for %s: sipio ca list shows names and serial numbers", a.dir, strings.TrimSuffix(word, ".pem"))
	}
	if i := slices.IndexFunc(of, func(l Leaf) bool { return l.Identity != of[0].Identity }); i >= 0 {
		return Leaf{}, fmt.Errorf("%s is the name of a %s and of a %s: say which", word, of[0].Kind, of[i].Kind)
	}
	if err := a.revoke(of); err != nil {
		return Leaf{}, err
	}
	of[0].Revoked = true
	return of[0], nil
}

// revoke adds to the list those that it lacks.
func (a *Authority) revoke(leaves []Leaf) error {
	old, err := a.list()
	if err != nil {
		return err
	}
	next := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: a.now, NextUpdate: a.cert.NotAfter}
	listed := map[string]bool{}
	if old != nil {
		next.Number.Add(old.Number, next.Number)
		next.RevokedCertificateEntries = old.RevokedCertificateEntries
		for _, entry := range old.RevokedCertificateEntries {
			listed[entry.SerialNumber.Text(16)] = true
		}
	}
	added := false
	for _, leaf := range leaves {
		serial, ok := new(big.Int).SetString(leaf.Serial, 16)
		if !ok || listed[leaf.Serial] {
			continue
		}
		listed[leaf.Serial], added = true, true
		next.RevokedCertificateEntries = append(next.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: a.now})
	}
	if !added {
		return nil
	}
	der, err := x509.CreateRevocationList(rand.Reader, next, a.cert, a.key)
	if err != nil {
		return fmt.Errorf("sign the list of revoked certificates: %w", err)
	}
	return replace(a.path(certFile), append(encode(typeCert, a.cert.Raw), encode(typeList, der)...))
}

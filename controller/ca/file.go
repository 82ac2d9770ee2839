package ca

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// note writes down what is about to be signed.
func (a *Authority) note(serial *big.Int, id api.Identity, until time.Time) error {
	f, err := os.OpenFile(a.path(logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s %s\n", serial.Text(16), id.URI(), until.UTC().Format(time.RFC3339))
	return errors.Join(err, f.Sync(), f.Close())
}

// serials are those of everything that was ever signed for an identity.
func (a *Authority) serials(id api.Identity) ([]*big.Int, error) {
	text, err := read(a.path(logFile))
	if err != nil {
		return nil, err
	}
	var list []*big.Int
	for line := range strings.Lines(string(text)) {
		number, rest, _ := strings.Cut(line, " ")
		if serial, ok := new(big.Int).SetString(number, 16); ok && strings.HasPrefix(rest, id.URI()+" ") {
			list = append(list, serial)
		}
	}
	return list, nil
}

// Revoke takes a certificate of the folder back, and all that were signed for its holder before: from then on ca.pem lists
// them, and whoever has been given that file refuses him. What was revoked once stays so.
func (a *Authority) Revoke(file string) (Leaf, error) {
	leaf, err := a.find(file)
	if err != nil {
		return Leaf{}, err
	}
	old, err := a.list()
	if err != nil {
		return Leaf{}, err
	}
	number := big.NewInt(1)
	var entries []x509.RevocationListEntry
	if old != nil {
		number.Add(old.Number, number)
		entries = old.RevokedCertificateEntries
	}
	if leaf.Revoked {
		return leaf, nil
	}
	serials, err := a.serials(leaf.Identity)
	if err != nil {
		return Leaf{}, err
	}
	for _, serial := range serials {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: a.now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: number, ThisUpdate: a.now, NextUpdate: a.cert.NotAfter,
		RevokedCertificateEntries: entries}, a.cert, a.key)
	if err != nil {
		return Leaf{}, fmt.Errorf("sign the list of revoked certificates: %w", err)
	}
	leaf.Revoked = true
	return leaf, replace(a.path(certFile), append(encode(typeCert, a.cert.Raw), encode(typeList, der)...))
}

// revoked are the serial numbers of revoked certificates, in hex.
func (a *Authority) revoked() (map[string]bool, error) {
	list, err := a.list()
	serials := map[string]bool{}
	if list != nil {
		for _, entry := range list.RevokedCertificateEntries {
			serials[entry.SerialNumber.Text(16)] = true
		}
	}
	return serials, err
}

// list is the list of revoked certificates; nil when there is none yet.
func (a *Authority) list() (*x509.RevocationList, error) {
	rest, err := read(a.path(certFile))
	if err != nil {
		return nil, err
	}
	var block *pem.Block
	for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != typeList {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err == nil {
			err = list.CheckSignatureFrom(a.cert)
		}
		if err != nil {
			return nil, fmt.Errorf("list of revoked certificates in %s: %w", certFile, err)
		}
		return list, nil
	}
	return nil, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return text, err
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != typeCert {
		return nil, errors.New("does not begin with a certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// readKey reads a private key. A file that others can read is refused: whoever has it is its holder.
func readKey(path string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to other users: chmod 600 it", path)
	}
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != typeKey {
		return nil, fmt.Errorf("%s holds no private key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is no ECDSA key", path)
	}
	return key, nil
}

// writePair writes a certificate and its key, which must both not be there. When one cannot be written neither is.
func writePair(certPath string, der []byte, keyPath string, key *ecdsa.PrivateKey) error {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	if err := create(keyPath, encode(typeKey, pkcs8), 0o600); err != nil {
		return err
	}
	if err := create(certPath, encode(typeCert, der), 0o644); err != nil {
		return errors.Join(err, os.Remove(keyPath))
	}
	return nil
}

// create writes a file that must not be there.
func create(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s %w", path, ErrExists)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// replace writes a file in the place of another: a reader finds the old one or the new one, whole.
func replace(path string, text []byte) error {
	fresh := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+time.Now().UTC().Format("20060102T150405.000000000"))
	if err := create(fresh, text, 0o644); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(fmt.Errorf("replace %s: %w", path, err), os.Remove(fresh))
	}
	return nil
}

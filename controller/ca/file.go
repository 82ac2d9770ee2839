package ca

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/internal/keyfile"
)

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

func read(path string) ([]byte, error) { return keyfile.Read(path, maxFile, brain.EverybodyReads) }

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != typeCert {
		return nil, errors.New("does not begin with a certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// readKey reads a private key, which nobody but its owner may read: whoever has it is its holder.
func readKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := keyfile.Read(path, maxFile, brain.OwnerReads)
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

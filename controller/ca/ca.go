// Package ca is the platform's own small certificate authority: files in a folder, used offline. It signs who nodes, brains
// and operators are.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Usual lifetimes.
const (
	Life     = 10 * 365 * 24 * time.Hour // of the authority
	LeafLife = 365 * 24 * time.Hour      // of what it signs
)

const (
	certFile  = "ca.pem" // the certificate, and behind it the list of revoked ones
	keyFile   = "ca.key"
	logFile   = "issued" // a line for everything that was signed: serial number, identity, end
	typeCert  = "CERTIFICATE"
	typeKey   = "PRIVATE KEY"
	typeList  = "X509 CRL"
	backdated = 5 * time.Minute // for clocks that are behind
	maxFile   = 4 << 20         // bytes of a file that is read
)

// ErrExists says that a file is there, which is never overwritten.
var ErrExists = errors.New("is there already and is not overwritten")

// Authority is an authority's folder, opened.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
}

// Leaf is a certificate that the authority has signed.
type Leaf struct {
	api.Identity
	File    string    `json:"file"`   // of the certificate, in the folder; its key is beside it with the ending .key. "" = it is not here
	Serial  string    `json:"serial"` // hex
	Hosts   []string  `json:"hosts,omitempty"`
	Until   time.Time `json:"until"`
	Revoked bool      `json:"revoked,omitempty"`
}

// Init makes an authority in a folder, which is made when it is not there. ErrExists: there is one.
func Init(dir string, life time.Duration, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder of the authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "sipio authority " + serial.Text(16)[:8]},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(life), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make the authority: %w", err)
	}
	return writePair(filepath.Join(dir, certFile), der, filepath.Join(dir, keyFile), key)
}

// Open reads the authority of a folder.
func Open(dir string, now time.Time) (*Authority, error) {
	text, err := read(filepath.Join(dir, certFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no authority in %s: name its folder with --dir, or make one with sipio ca init", dir)
	}
	if err != nil {
		return nil, err
	}
	cert, err := parseCert(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, certFile), err)
	}
	key, err := readKey(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	return &Authority{dir: dir, cert: cert, key: key, now: now}, nil
}

// Until is when the authority, and all that it has signed, ends.
func (a *Authority) Until() time.Time { return a.cert.NotAfter }

// Issue signs a certificate with a key of its own. Hosts are names and addresses by which others reach the holder. ErrExists:
// there is one of that name. It ends with the authority at the latest.
func (a *Authority) Issue(id api.Identity, hosts []string, life time.Duration) (Leaf, error) {
	if _, ok := api.ParseIdentity(id.URI()); !ok || !fileName(id.Name) {
		return Leaf{}, fmt.Errorf("%s: a name has 1 to 64 of A-Z a-z 0-9 . _ + -", id.Name)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Leaf{}, fmt.Errorf("make a key: %w", err)
	}
	der, leaf, err := a.sign(id, hosts, life, &key.PublicKey)
	if err != nil {
		return Leaf{}, err
	}
	return leaf, writePair(a.path(leaf.File), der, a.path(keyOf(leaf.File)), key)
}

// Renew signs anew what a certificate of the folder says, for the same key, and puts it in the certificate's place: whole or
// not at all. One that was revoked is not renewed.
func (a *Authority) Renew(file string, life time.Duration) (Leaf, error) {
	old, err := a.find(file)
	if err != nil {
		return Leaf{}, err
	}
	if old.Revoked {
		return Leaf{}, fmt.Errorf("%s is revoked: make one of another name, or remove its files first", old.URI())
	}
	key, err := readKey(a.path(keyOf(file)))
	if err != nil {
		return Leaf{}, err
	}
	der, leaf, err := a.sign(old.Identity, old.Hosts, life, &key.PublicKey)
	if err != nil {
		return Leaf{}, err
	}
	return leaf, replace(a.path(file), encode(typeCert, der))
}

func (a *Authority) sign(id api.Identity, hosts []string, life time.Duration, key *ecdsa.PublicKey) ([]byte, Leaf, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, Leaf{}, err
	}
	until := a.now.Add(life)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	if !until.After(a.now) {
		return nil, Leaf{}, fmt.Errorf("it would end on %s, which is past", until.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: id.Kind + " " + id.Name}, NotBefore: a.now.Add(-backdated), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
		URIs: []*url.URL{{Scheme: "sipio", Host: id.Kind, Path: "/" + id.Name}},
	}
	if id.Kind != api.IdentityOperator { // nodes and brains are asked too
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if hostName(host) {
			template.DNSNames = append(template.DNSNames, host)
		} else {
			return nil, Leaf{}, fmt.Errorf("%q is neither an address nor the name of a host", host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err == nil {
		err = a.note(serial, id, until) // first: what nobody noted cannot be revoked
	}
	if err != nil {
		return nil, Leaf{}, fmt.Errorf("sign: %w", err)
	}
	return der, Leaf{Identity: id, File: fileOf(id), Serial: serial.Text(16), Hosts: hosts, Until: until}, nil
}

// List is every certificate of the folder that the authority has signed, sorted by file, and behind them what it has signed for holders of whom
// there is no file, as long as it is good.
func (a *Authority) List() ([]Leaf, error) {
	leaves, err := a.files()
	if err != nil {
		return nil, err
	}
	issued, err := a.issued()
	if err != nil {
		return nil, err
	}
	here := map[api.Identity]bool{}
	for _, leaf := range leaves {
		here[leaf.Identity] = true
	}
	for _, leaf := range issued {
		if !here[leaf.Identity] && leaf.Until.After(a.now) {
			leaves = append(leaves, leaf)
		}
	}
	return leaves, nil
}

// files reads the certificates of the folder.
func (a *Authority) files() ([]Leaf, error) {
	revoked, err := a.revoked()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(a.dir, "*.pem"))
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	slices.Sort(files)
	var leaves []Leaf
	for _, path := range files {
		if filepath.Base(path) == certFile {
			continue
		}
		text, err := read(path)
		if err != nil {
			return nil, err
		}
		cert, err := parseCert(text)
		if err != nil || cert.CheckSignatureFrom(a.cert) != nil || len(cert.URIs) != 1 {
			continue // somebody else's
		}
		id, ok := api.ParseIdentity(cert.URIs[0].String())
		if !ok {
			continue
		}
		serial := cert.SerialNumber.Text(16)
		leaves = append(leaves, Leaf{Identity: id, File: filepath.Base(path), Serial: serial, Hosts: hostsOf(cert), Until: cert.NotAfter, Revoked: revoked[serial]})
	}
	return leaves, nil
}

func (a *Authority) find(file string) (Leaf, error) {
	leaves, err := a.files()
	if err != nil {
		return Leaf{}, err
	}
	for _, leaf := range leaves {
		if leaf.File == file {
			return leaf, nil
		}
	}
	return Leaf{}, fmt.Errorf("%s has no certificate %s of this authority", a.dir, strings.TrimSuffix(file, ".pem"))
}

func hostsOf(cert *x509.Certificate) []string {
	hosts := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

func (a *Authority) path(file string) string { return filepath.Join(a.dir, file) }

func fileOf(id api.Identity) string { return id.Kind + "-" + id.Name + ".pem" }

func keyOf(file string) string { return strings.TrimSuffix(file, ".pem") + ".key" }

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return serial.SetBit(serial, 126, 1), nil // never short, never 0
}

// fileName: what may be a part of a file's name and of a URI as it stands. Nodes are called so too.
func fileName(s string) bool {
	return len(s) <= 64 && strings.Trim(s, ".") != "" && !strings.ContainsFunc(s, func(r rune) bool { return !nameRune(r) && r != '+' && r != '_' && r != '.' })
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-'
}

func hostName(s string) bool {
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return !nameRune(r) }) {
			return false
		}
	}
	return len(s) <= 253
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Identity is whom a certificate is of, written into it as the URI sipio://KIND/NAME (RFC 5280 section 4.2.1.6).
type Identity struct {
	Kind string `json:"kind"` // IdentityNode, IdentityBrain, IdentityOperator
	Name string `json:"name"` // of a node, as the node registry has it
}

// Kinds of an Identity.
const (
	IdentityNode     = "node"     // speaks for that node and no other; also where its node agent answers orders
	IdentityBrain    = "brain"    // gives orders to nodes
	IdentityOperator = "operator" // may do what the scope platform may
)

// identityScheme begins every URI of an Identity.
const identityScheme = "sipio://"

// URI is the identity as it stands in a certificate.
func (i Identity) URI() string { return identityScheme + i.Kind + "/" + i.Name }

// ParseIdentity reads such a URI; false for any other.
func ParseIdentity(uri string) (Identity, bool) {
	rest, ours := strings.CutPrefix(uri, identityScheme)
	kind, name, named := strings.Cut(rest, "/")
	known := kind == IdentityNode || kind == IdentityBrain || kind == IdentityOperator
	if !ours || !named || !known || name == "" || strings.ContainsAny(name, "/?#%@") {
		return Identity{}, false
	}
	return Identity{kind, name}, true
}

// Authority is who signs the certificates of nodes, brains and operators, and which of them it has taken back.
type Authority struct {
	roots   *x509.CertPool
	revoked map[string]bool // by issuer and serial number
}

// ParseAuthority reads the authority's certificates from PEM, with its lists of revoked ones (X509 CRL, RFC 5280 section 5)
// when there are any. A list that none of them has signed is an error: else a damaged file would let a revoked one in.
func ParseAuthority(text []byte) (*Authority, error) {
	a := &Authority{roots: x509.NewCertPool(), revoked: map[string]bool{}}
	var certs []*x509.Certificate
	var lists []*x509.RevocationList
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate of an authority: %w", err)
			}
			a.roots.AddCert(cert)
			certs = append(certs, cert)
		case "X509 CRL":
			list, err := x509.ParseRevocationList(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("list of revoked certificates: %w", err)
			}
			lists = append(lists, list)
		}
	}
	if len(certs) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	for _, list := range lists {
		if err := a.take(list, certs); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Authority) take(list *x509.RevocationList, certs []*x509.Certificate) error {
	for _, cert := range certs {
		if list.CheckSignatureFrom(cert) != nil {
			continue
		}
		for _, entry := range list.RevokedCertificateEntries {
			a.revoked[serialOf(cert.RawSubject, entry.SerialNumber)] = true
		}
		return nil
	}
	return errors.New("a list of revoked certificates is signed by none of the authorities beside it")
}

func serialOf(issuer []byte, serial *big.Int) string { return string(issuer) + serial.Text(16) }

// Verify says whom a chain, as a peer presents it, is of at a time. An error: it is of nobody, because it is not this
// authority's, not of this time, revoked, for another use (x509.ExtKeyUsageClientAuth, …ServerAuth), or names not exactly one.
// The authority signs by itself, and P-256 keys alone: what a stranger puts between costs no signature to be refused.
func (a *Authority) Verify(chain []*x509.Certificate, use x509.ExtKeyUsage, now time.Time) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, errors.New("no certificate")
	}
	leaf := chain[0]
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return Identity{}, errors.New("its key is not ECDSA P-256")
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: a.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	if err != nil {
		return Identity{}, err
	}
	for _, path := range paths {
		for _, cert := range path {
			if a.revoked[serialOf(cert.RawIssuer, cert.SerialNumber)] {
				return Identity{}, errors.New("it is revoked")
			}
		}
	}
	if len(leaf.URIs) != 1 {
		return Identity{}, fmt.Errorf("it names %d URIs, not one", len(leaf.URIs))
	}
	id, ok := ParseIdentity(leaf.URIs[0].String())
	if !ok {
		return Identity{}, errors.New("its URI names neither node, brain nor operator")
	}
	return id, nil
}

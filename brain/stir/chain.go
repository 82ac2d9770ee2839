package stir

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	maxChain = 8   // certificates of one chain
	maxRoots = 512 // certificates of a list of roots
)

// ParseChain reads certificates as x5u gives them: PEM, or DER, the signer's own first.
func ParseChain(body []byte) ([]*x509.Certificate, error) { return certificates(body, maxChain) }

// ParseRoots reads the certificates in PEM that are trusted by themselves.
func ParseRoots(body []byte) (*x509.CertPool, error) {
	certs, err := certificates(body, maxRoots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool, nil
}

func certificates(body []byte, limit int) ([]*x509.Certificate, error) {
	if len(body) > 0 && body[0] == 0x30 { // a SEQUENCE: no PEM begins so
		certs, err := x509.ParseCertificates(body)
		if err == nil && len(certs) > limit {
			err = fmt.Errorf("more than %d certificates", limit)
		}
		return certs, err
	}
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(body)
		if block == nil {
			break
		}
		body = rest
		if block.Type != "CERTIFICATE" || len(certs) == limit {
			return nil, fmt.Errorf("a %q, or more than %d certificates", block.Type, limit)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 || len(bytes.TrimSpace(body)) > 0 {
		return nil, errors.New("not certificates in PEM or DER")
	}
	return certs, nil
}

// ParseKey reads a private key in PEM, PKCS #8 or SEC 1, which must be on P-256.
func ParseKey(body []byte) (*ecdsa.PrivateKey, error) {
	for block, rest := pem.Decode(body); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "EC PARAMETERS": // openssl writes it before the key
			continue
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			return nil, fmt.Errorf("a %q is not a private key in the clear", block.Type)
		}
		if err != nil {
			return nil, err
		}
		if ec, ok := key.(*ecdsa.PrivateKey); ok && ec.Curve == elliptic.P256() {
			return ec, nil
		}
		return nil, errors.New("not an ECDSA key on P-256, which ES256 needs")
	}
	return nil, errors.New("no private key in PEM")
}

// credential is a signer's certificate that a trusted root stands for.
type credential struct {
	key *ecdsa.PublicKey
	spc []string
}

// trust follows a chain to a root at a time, and asks each certificate below the root for which numbers it stands: the
// signer's must say so, and none that does may leave orig out (RFC 8226, RFC 9060 section 4).
// Lists of revoked certificates are not asked.
func trust(chain []*x509.Certificate, roots *x509.CertPool, at time.Time, orig Party) (*credential, *Refusal) {
	if len(chain) == 0 || len(chain) > maxChain || roots == nil || at.IsZero() {
		return nil, refuse(CertUntrusted, "no chain of 1 to %d certificates, or no roots", maxChain)
	}
	leaf := known(chain[0])
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || leaf.IsCA || leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, refuse(CertUnsuitable, "the certificate of %s does not hold a key on P-256 that is there to sign", leaf.Subject)
	}
	middle := x509.NewCertPool()
	for _, cert := range chain[1:] {
		middle.AddCert(known(cert))
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return nil, refuse(CertExpired, "%v", err)
	}
	if err != nil {
		return nil, refuse(CertUntrusted, "%v", err)
	}
	var first *Refusal
	for _, path := range paths {
		spc, refusal := standsFor(path[:max(1, len(path)-1)], orig)
		if refusal == nil {
			return &credential{key: key, spc: spc}, nil
		}
		if first == nil {
			first = refusal
		}
	}
	return nil, first
}

// standsFor asks the certificates of a path, the signer's first, whether they stand for a caller. A caller with a URI is
// in no list of numbers: only a provider can stand for it.
func standsFor(path []*x509.Certificate, orig Party) (spc []string, refusal *Refusal) {
	for i, cert := range path {
		list, err := tnAuthListOf(cert)
		switch {
		case err != nil:
			return nil, refuse(TNAuthListBroken, "certificate of %s: %v", cert.Subject, err)
		case list == nil && i == 0:
			return nil, refuse(TNAuthListMissing, "certificate of %s", cert.Subject)
		case list == nil:
		case list.Lists() && !list.Covers(orig.TN):
			return nil, refuse(TNAuthListMismatch, "certificate of %s does not list %s", cert.Subject, orig)
		case i == 0:
			spc = list.SPC
		}
	}
	return spc, nil
}

// known is a copy of a certificate in which TNAuthList counts as understood, for it may be marked critical. A copy, since
// whoever keeps the certificate may share it.
func known(cert *x509.Certificate) *x509.Certificate {
	c := *cert
	c.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(c.UnhandledCriticalExtensions), func(id asn1.ObjectIdentifier) bool { return id.Equal(oidTNAuthList) })
	return &c
}

package keyfile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
)

const (
	maxPEM = 1 << 20 // bytes of a file of certificates or of a key
	looked = 5 * time.Second
)

// LoadPair reads a certificate with its chain, and its key, a secret that a group may be handed.
func LoadPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := Read(certFile, maxPEM, brain.EverybodyReads)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := Read(keyFile, maxPEM, brain.GroupReads)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s with %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// Pair is a certificate with its key, in two files that are read again within 5 s of a change. While they do not fit
// together, as in the midst of a renewal, what was read last counts.
type Pair struct {
	certFile, keyFile string
	read              func(*x509.Certificate)
	log               *slog.Logger

	mu   sync.Mutex
	pair *tls.Certificate
	seen [2]time.Time // when the files were written
	last time.Time    // look at them
}

// OpenPair reads the two files. Each certificate that is read, the first one too, is shown to read, which may be nil.
func OpenPair(certFile, keyFile string, log *slog.Logger, read func(*x509.Certificate)) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, read: read, log: log, last: time.Now()}
	return p, p.load()
}

func (p *Pair) load() error {
	var now [2]time.Time
	for i, path := range []string{p.certFile, p.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		now[i] = info.ModTime()
	}
	if p.pair != nil && now == p.seen {
		return nil
	}
	pair, err := LoadPair(p.certFile, p.keyFile)
	if err != nil {
		return err
	}
	p.pair, p.seen = &pair, now
	if p.read != nil {
		p.read(pair.Leaf)
	}
	return nil
}

// Get is the certificate as it is now.
func (p *Pair) Get() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.last) >= looked {
		p.last = now
		if err := p.load(); err != nil {
			p.log.Error("a certificate cannot be read again: what was read last is used", "file", p.certFile, "until", p.pair.Leaf.NotAfter, "err", err)
		}
	}
	return p.pair
}

package controller

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/endpoint"
	"github.com/sipio/sipio/controller/node"
)

// certificateLooked is the pause between two looks at a certificate's file.
const certificateLooked = 5 * time.Second

// keyPair is a certificate with its key, in two files that are read again when one changes. While they do not fit together,
// as in the midst of a renewal, the one that was read last counts.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]time.Time // when the files were written
	looked time.Time
}

func openCertificate(certFile, keyFile string, log *slog.Logger) (*keyPair, error) {
	c := &keyPair{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	return c, c.read()
}

func (c *keyPair) read() error {
	var now [2]time.Time
	for i, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		now[i] = info.ModTime()
	}
	if c.pair != nil && now == c.seen {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.pair, c.seen = &pair, now
	return nil
}

// get is the certificate as it is now.
func (c *keyPair) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= certificateLooked {
		c.looked = now
		if err := c.read(); err != nil {
			c.log.Error("a certificate cannot be read again: what was read last is used", "file", c.certFile, "until", c.pair.Leaf.NotAfter, "err", err)
		}
	}
	return c.pair, nil
}

// serverTLS is how the brain answers over TLS; nil when it does not. A client's certificate is asked for when an authority says
// whose it is, and never wanted: whoever has none, or a bad one, hears from the gate what everybody hears who may not ask.
func serverTLS(cfg Config, log *slog.Logger) (*tls.Config, error) {
	if cfg.TLSListen == "" {
		return nil, nil
	}
	own, err := openCertificate(cfg.TLSCertFile, cfg.TLSKeyFile, log)
	if err != nil {
		return nil, fmt.Errorf("tls-cert-file and tls-key-file: %w", err)
	}
	secured := &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.get() },
		NextProtos:     []string{"h2", "http/1.1"}, // said here, because the plain listener of the same server would leave h2 out
	}
	if cfg.NodeCAFile != "" {
		secured.ClientAuth = tls.RequestClientCert
	}
	return secured, nil
}

// identities is who signs certificates of nodes and operators, and the brain's own towards nodes. Both may be missing.
type identities struct {
	of  *endpoint.Certificates
	own *keyPair
}

func openIdentities(cfg Config, log *slog.Logger) (identities, error) {
	var ids identities
	var err error
	if cfg.NodeCAFile == "" {
		return ids, nil
	}
	if ids.of, err = endpoint.OpenCertificates(cfg.NodeCAFile, log); err != nil {
		return ids, fmt.Errorf("node-ca-file: %w", err)
	}
	certFile, keyFile := cfg.NodeCertFile, cfg.NodeCertKey
	if certFile == "" {
		certFile, keyFile = cfg.TLSCertFile, cfg.TLSKeyFile
	}
	if certFile == "" {
		return ids, nil
	}
	if ids.own, err = openCertificate(certFile, keyFile, log); err != nil {
		return ids, fmt.Errorf("node-cert-file and node-cert-key-file: %w", err)
	}
	return ids, nil
}

// nodeTLS is what nodes are held to, and what they are shown.
func (ids identities) nodeTLS() (t node.TLS) {
	if ids.of != nil {
		t.Authority = func() *api.Authority { return ids.of.Authority() }
	}
	if ids.own != nil {
		t.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return ids.own.get() }
	}
	return t
}

// doors is a mux that knows every pattern it was given: nobody who checks them all can forget one.
type doors struct {
	*http.ServeMux
	patterns []string
}

// Handle is http.ServeMux.Handle.
func (d *doors) Handle(pattern string, h http.Handler) {
	d.patterns = append(d.patterns, pattern)
	d.ServeMux.Handle(pattern, h)
}

// HandleFunc is http.ServeMux.HandleFunc.
func (d *doors) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	d.Handle(pattern, http.HandlerFunc(h))
}

package controller

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/endpoint"
	"github.com/sipio/sipio/controller/node"
	"github.com/sipio/sipio/internal/keyfile"
)

// serverTLS is how the brain answers over TLS; nil when it does not. A client's certificate is asked for when an authority says
// whose it is, and never wanted: whoever has none, or a bad one, hears from the gate what everybody hears who may not ask.
func serverTLS(cfg Config, log *slog.Logger) (*tls.Config, error) {
	if cfg.TLSListen == "" {
		return nil, nil
	}
	own, err := keyfile.OpenPair(cfg.TLSCertFile, cfg.TLSKeyFile, log, nil)
	if err != nil {
		return nil, fmt.Errorf("tls-cert-file and tls-key-file: %w", err)
	}
	secured := &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.Get(), nil },
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
	own *keyfile.Pair
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
	if ids.own, err = keyfile.OpenPair(certFile, keyFile, log, nil); err != nil {
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
		t.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return ids.own.Get(), nil }
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

package nodeagent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/internal/keyfile"
	"github.com/sipio/sipio/nodeagent/op"
)

// Bounds of the files that say who somebody is.
const (
	identityLooked = 5 * time.Second     // between two looks at a file
	endsSoon       = 30 * 24 * time.Hour // before the end of the certificate, from when on it is told
	maxAuthority   = 4 << 20             // bytes
)

// openCertificate reads the node's certificate, which is read again when its files change; nil when it has none.
func openCertificate(cfg Config, log *slog.Logger) (*keyfile.Pair, error) {
	if cfg.CertFile == "" {
		return nil, nil
	}
	own, err := keyfile.OpenPair(cfg.CertFile, cfg.CertKeyFile, log, func(leaf *x509.Certificate) {
		if time.Until(leaf.NotAfter) < endsSoon {
			log.Warn("the certificate of this node ends soon: sipio ca renew", "file", cfg.CertFile, "until", leaf.NotAfter)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("cert-file and cert-key-file: %w", err)
	}
	if !isOf(own.Get().Leaf, cfg.Name) {
		log.Warn("the certificate is not of this node: brains refuse what it says", "node", cfg.Name, "file", cfg.CertFile)
	}
	return own, nil
}

// isOf tells whether a certificate is of a node.
func isOf(cert *x509.Certificate, name string) bool {
	return len(cert.URIs) == 1 && cert.URIs[0].String() == api.Identity{Kind: api.IdentityNode, Name: name}.URI()
}

// brainTLS returns the TLS settings towards https brains: whom to trust, nil for the system's authorities, and the certificate
// of this node, which is shown to a brain that asks for it.
func brainTLS(caFile string, own *keyfile.Pair) (*tls.Config, error) {
	if caFile == "" && own == nil {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if own != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.Get(), nil }
	}
	if caFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("brain-ca-file: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("brain-ca-file %s holds no certificate", caFile)
	}
	return cfg, nil
}

// authority is who signs the certificates of brains that give orders, read again when its file changes.
type authority struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	now    *api.Authority
	seen   time.Time
	looked time.Time
}

func (a *authority) read() error {
	info, err := os.Stat(a.path)
	switch {
	case err != nil:
		return err
	case a.now != nil && info.ModTime().Equal(a.seen):
		return nil
	case info.Size() > maxAuthority:
		return fmt.Errorf("%s has more than %d bytes", a.path, maxAuthority)
	}
	text, err := os.ReadFile(a.path)
	if err != nil {
		return err
	}
	now, err := api.ParseAuthority(text)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path, err)
	}
	a.now, a.seen = now, info.ModTime()
	return nil
}

func (a *authority) get() *api.Authority {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.looked) >= identityLooked {
		a.looked = now
		if err := a.read(); err != nil {
			a.log.Error("the authority of brains cannot be read again: what was read last counts", "file", a.path, "error", err)
		}
	}
	return a.now
}

// opTLS is how orders are taken over TLS: from who shows the certificate of a brain, by the certificate of this node. Anybody
// else gets no connection.
func opTLS(cfg Config, own *keyfile.Pair, log *slog.Logger) (*tls.Config, error) {
	brains := &authority{path: cfg.OpCAFile, log: log, looked: time.Now()}
	if err := brains.read(); err != nil {
		return nil, fmt.Errorf("op-ca-file: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, // VerifyConnection judges it
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.Get(), nil },
		VerifyConnection: func(conn tls.ConnectionState) error {
			id, err := brains.get().Verify(conn.PeerCertificates, x509.ExtKeyUsageClientAuth, time.Now())
			if err == nil && id.Kind != api.IdentityBrain {
				err = errors.New("it is the certificate of " + id.URI())
			}
			return err
		},
	}, nil
}

// listenOp opens the listener of orders over TLS; nil when there is none.
func listenOp(cfg Config, own *keyfile.Pair, log *slog.Logger) (net.Listener, error) {
	if cfg.OpTLSListen == "" {
		return nil, nil
	}
	secured, err := opTLS(cfg, own, log)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.OpTLSListen)
	if err != nil {
		return nil, fmt.Errorf("op-tls-listen: %w", err)
	}
	return tls.NewListener(ln, secured), nil
}

func closeListener(ln net.Listener) error {
	if ln == nil {
		return nil
	}
	return ln.Close()
}

// serveOrders takes orders from a listener until ctx ends. Nothing else is answered there.
func (a *agent) serveOrders(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle(api.PathOp, a.ops)
	return a.serveUntil(ctx, ln, mux)
}

// readAccess reads the access service token of the tunnel in front of this node, one line the id, one the secret; none when path
// is "".
func readAccess(path string) (op.Access, error) {
	text, err := readKey("op access token", path, "")
	if err != nil || text == "" {
		return op.Access{}, err
	}
	lines := strings.Fields(text)
	if len(lines) != 2 {
		return op.Access{}, fmt.Errorf("op-access-file %s has two lines: the id of the access token, and its secret", path)
	}
	return op.Access{ID: lines[0], Secret: lines[1]}, nil
}

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
	"github.com/sipio/sipio/nodeagent/op"
)

// Bounds of the files that say who somebody is.
const (
	identityLooked = 5 * time.Second     // between two looks at a file
	endsSoon       = 30 * 24 * time.Hour // before the end of the certificate, from when on it is told
	maxAuthority   = 4 << 20             // bytes
)

// certificate is the node's certificate with its key, read again when a file changes. While the two do not fit together, as in the
// midst of a renewal, what was read last counts.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]time.Time // when the files were written
	looked time.Time
}

// openCertificate reads the node's certificate; nil when it has none.
func openCertificate(cfg Config, log *slog.Logger) (*certificate, error) {
	if cfg.CertFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: cfg.CertFile, keyFile: cfg.CertKeyFile, log: log, looked: time.Now()}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("cert-file and cert-key-file: %w", err)
	}
	if !isOf(c.pair.Leaf, cfg.Name) {
		log.Warn("the certificate is not of this node: brains refuse what it says", "node", cfg.Name, "file", cfg.CertFile)
	}
	return c, nil
}

// isOf tells whether a certificate is of a node.
func isOf(cert *x509.Certificate, name string) bool {
	return len(cert.URIs) == 1 && cert.URIs[0].String() == api.Identity{Kind: api.IdentityNode, Name: name}.URI()
}

func (c *certificate) read() error {
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
	if left := time.Until(pair.Leaf.NotAfter); left < endsSoon {
		c.log.Warn("the certificate of this node ends soon: sipio ca renew", "file", c.certFile, "until", pair.Leaf.NotAfter)
	}
	return nil
}

// get is the certificate as it is now.
func (c *certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= identityLooked {
		c.looked = now
		if err := c.read(); err != nil {
			c.log.Error("the certificate of this node cannot be read again: what was read last is used", "file", c.certFile, "error", err)
		}
	}
	return c.pair, nil
}

// brainTLS returns the TLS settings towards https brains: whom to trust, nil for the system's authorities, and the certificate
// of this node, which is shown to a brain that asks for it.
func brainTLS(caFile string, own *certificate) (*tls.Config, error) {
	if caFile == "" && own == nil {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if own != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.get() }
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
func opTLS(cfg Config, own *certificate, log *slog.Logger) (*tls.Config, error) {
	brains := &authority{path: cfg.OpCAFile, log: log, looked: time.Now()}
	if err := brains.read(); err != nil {
		return nil, fmt.Errorf("op-ca-file: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, // VerifyConnection judges it
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.get() },
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
func listenOp(cfg Config, own *certificate, log *slog.Logger) (net.Listener, error) {
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

package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// TLS is how https addresses of nodes are known, and how the brain shows them who it is. Each may be nil.
type TLS struct {
	// Authority is the platform's own, as it is now: a node reached directly shows a certificate of it, with the node's name.
	Authority func() *api.Authority
	// Certificate is the brain's own (see tls.Config.GetClientCertificate).
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
}

// client is what carries ops to a node. In clear they go no farther than this machine.
func (o *Ops) client(n *brain.Node) (*http.Client, error) {
	secure := strings.HasPrefix(n.AgentURL, "https://")
	switch {
	case !secure && (n.Reach == brain.ReachCloudflared || !brain.OnThisMachine(n.AgentURL)):
		return nil, brain.Errorf(brain.EInvalid, "agent_url of node %s: http is for loopback addresses alone, and not for a tunnel", n.Name)
	case o.Client != nil:
		return o.Client, nil
	case secure && n.Reach != brain.ReachCloudflared && (o.TLS.Authority != nil || o.TLS.Certificate != nil):
		return o.known(n.Name), nil
	}
	return noRedirects, nil
}

// maxClients bounds the clients that are kept.
const maxClients = 4096

// known is the client for one node by TLS. A connection of one node's is never used for another.
func (o *Ops) known(name string) *http.Client {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.clients[name]; c != nil {
		return c
	}
	if o.clients == nil || len(o.clients) >= maxClients {
		o.clients = make(map[string]*http.Client)
	}
	c := newClient(o.TLS.config(name))
	o.clients[name] = c
	return c
}

// config holds a connection to a node's name, in the place of a host's.
func (t TLS) config(name string) *tls.Config {
	cfg := &tls.Config{GetClientCertificate: t.Certificate}
	if t.Authority == nil {
		return cfg
	}
	cfg.InsecureSkipVerify = true // VerifyConnection does: the name is the node's, and the authority may have revoked it
	cfg.VerifyConnection = func(conn tls.ConnectionState) error {
		id, err := t.Authority().Verify(conn.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now())
		if err == nil && id != (api.Identity{Kind: api.IdentityNode, Name: name}) {
			err = fmt.Errorf("it is the certificate of %s", id.URI())
		}
		if err != nil {
			return fmt.Errorf("certificate of node %s: %w", name, err)
		}
		return nil
	}
	return cfg
}

// newClient makes a client. An op goes where the configuration says and nowhere else.
func newClient(cfg *tls.Config) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, TLSClientConfig: cfg},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// noRedirects is the usual client.
var noRedirects = newClient(nil)

package endpoint

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Bounds of Certificates.
const (
	maxIdentities   = 4096 // remembered; nodes and operators of one brain
	maxAuthority    = 4 << 20
	authorityLooked = 5 * time.Second // between two looks at the file
)

// Certificates says whom a client's certificate is of. A connection is not refused for a bad one: the gate answers it as it answers
// nobody's, and a certificate that ends, or is revoked, stops being good on connections that stand.
type Certificates struct {
	Path string // PEM of the authority, with its list of revoked certificates
	Log  *slog.Logger

	mu        sync.Mutex
	authority *api.Authority
	seen      fileState
	lookedAt  time.Time
	known     map[[sha256.Size]byte]knownIdentity // by certificate, as long as the file is the same
}

// fileState tells one content of a file from the next.
type fileState struct {
	size int64
	at   time.Time
}

type knownIdentity struct {
	api.Identity
	from, until time.Time
}

// OpenCertificates reads the authority. The file is read again when it changes; one that cannot be read changes nothing.
func OpenCertificates(path string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{Path: path, Log: log}
	return c, c.read()
}

func (c *Certificates) read() error {
	info, err := os.Stat(c.Path)
	if err != nil {
		return err
	}
	now := fileState{info.Size(), info.ModTime()}
	if c.authority != nil && now == c.seen {
		return nil
	}
	if now.size > maxAuthority {
		return fmt.Errorf("%s has more than %d bytes", c.Path, maxAuthority)
	}
	text, err := os.ReadFile(c.Path)
	if err != nil {
		return err
	}
	authority, err := api.ParseAuthority(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	c.authority, c.seen, c.known = authority, now, make(map[[sha256.Size]byte]knownIdentity)
	return nil
}

// Authority is the authority as it is now.
func (c *Certificates) Authority() *api.Authority {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh(time.Now())
	return c.authority
}

// refresh looks at the file when it is time. With c.mu.
func (c *Certificates) refresh(now time.Time) {
	if now.Sub(c.lookedAt).Abs() < authorityLooked {
		return
	}
	c.lookedAt = now
	if err := c.read(); err != nil {
		c.Log.Error("the authority of nodes cannot be read again: what was read last counts", "file", c.Path, "err", err)
	}
}

// Of says whom the certificate of a connection is of at a time; false: it has none, or a bad one.
func (c *Certificates) Of(conn *tls.ConnectionState, now time.Time) (api.Identity, bool) {
	if conn == nil || len(conn.PeerCertificates) == 0 {
		return api.Identity{}, false
	}
	leaf := conn.PeerCertificates[0]
	sum := sha256.Sum256(leaf.Raw)
	authority, held := c.recall(sum, now)
	if !now.Before(held.from) && !now.After(held.until) {
		return held.Identity, true
	}
	id, err := authority.Verify(conn.PeerCertificates, x509.ExtKeyUsageClientAuth, now) // without c.mu: a stranger's work is nobody else's wait
	if err != nil {
		return api.Identity{}, false
	}
	c.remember(authority, sum, knownIdentity{id, leaf.NotBefore, leaf.NotAfter})
	return id, true
}

// recall is the authority as it is now, and what is known of a certificate.
func (c *Certificates) recall(sum [sha256.Size]byte, now time.Time) (*api.Authority, knownIdentity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh(now)
	return c.authority, c.known[sum]
}

// remember keeps what an authority has said, unless its file was read again meanwhile: it may be revoked there.
func (c *Certificates) remember(by *api.Authority, sum [sha256.Size]byte, id knownIdentity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authority != by {
		return
	}
	if len(c.known) >= maxIdentities {
		clear(c.known)
	}
	c.known[sum] = id
}

// operatorScopes are what an operator's certificate may: a person is no node.
var operatorScopes = slices.DeleteFunc(slices.Clone(brain.Scopes), func(s brain.Scope) bool { return s == brain.ScopeNode })

// Credential is who asks: the key that the question carries, or whom the certificate of its connection is of, as the key that
// this is as good as. A key that is given counts, and a wrong one is not made good by a certificate; a node's certificate binds
// it to that node.
func (s *Server) Credential(r *http.Request) (brain.APIKey, bool) {
	if r.Header.Get("Authorization") == "" {
		return s.certified(r)
	}
	key, ok := s.key(r)
	if !ok { // and no certificate is judged
		return key, false
	}
	held, certified := s.certified(r)
	switch {
	case !certified || held.Node == "":
		return key, true
	case key.Node != "" && key.Node != held.Node:
		return brain.APIKey{}, false
	}
	key.Node = held.Node
	return key, true
}

// certified is the certificate's holder. A node that the registry does not have (any more) is nobody.
func (s *Server) certified(r *http.Request) (brain.APIKey, bool) {
	if s.Identities == nil {
		return brain.APIKey{}, false
	}
	id, ok := s.Identities.Of(r.TLS, s.Now())
	switch {
	case !ok:
		return brain.APIKey{}, false
	case id.Kind == api.IdentityOperator:
		return brain.APIKey{ID: id.URI(), Name: id.Name, Scopes: operatorScopes}, true
	case id.Kind == api.IdentityNode && s.Config.Directory().NodeByName(id.Name) != nil:
		return brain.APIKey{ID: id.URI(), Name: id.Name, Scopes: []brain.Scope{brain.ScopeNode}, Node: id.Name}, true
	}
	return brain.APIKey{}, false
}

// key returns the key whose token a question carries.
func (s *Server) key(r *http.Request) (brain.APIKey, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return brain.APIKey{}, false
	}
	return s.Config.KeyByToken(strings.TrimSpace(token))
}

// speaksFor refuses a node that a question names, when its credential is bound to another. A question that names none is of the
// node that its credential is bound to.
func (s *Server) speaksFor(r *http.Request, key brain.APIKey, node *string) error {
	switch {
	case key.Node == "" || *node == key.Node:
		return nil
	case *node == "":
		*node = key.Node
		return nil
	}
	s.logRefusal(r.Context(), peer(r), r.URL.Path, "speaks for another node than its own")
	return badBody(http.StatusForbidden, countRefusedNode, "this credential speaks for node %s alone", key.Node)
}

// Package config keeps the configuration: a SQLite file with one table a resource and the history of
// every change, the immutable snapshot that decisions read, and the declarative form (YAML) of it all.
// It is the only package that knows SQLite, goose and YAML.
package config

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sipio/sipio/brain"
)

// MaxList is the largest page of List and Revisions.
const MaxList = 500

// maxToken bounds what is hashed in the search for an API key, in bytes.
const maxToken = 256

// Store is the configuration of one brain. Reading never waits for a writer, nor for the file.
type Store struct {
	PINs    PINs   // set before the first change
	Secrets Sealer // likewise

	// Changed is told of what this brain has just changed, when that is durable and Directory shows it: each change with
	// the resource as it was (Before, nil for a created one) and as it is (Resource, nil for a deleted one). It holds up
	// further changes: it must not wait. nil = nobody is told. Set before the first change.
	Changed func(actor string, changes []brain.Change)

	// Bearer reads a token of a console user that is neither forged nor over: whose it is, and his PasswordMark when it was made. nil =
	// there are no such tokens. Set before the first question.
	Bearer func(token string) (userID, mark string, ok bool)

	// Audited is the audit log of all brains; nil = this brain keeps its own. Set before the first entry.
	Audited  AuditLog
	auditing sync.Mutex // one who takes over entries at a time

	path  string
	db    *sql.DB
	turn  pause      // before mu
	mu    sync.Mutex // one change at a time, from its reading to its snapshot
	log   Log        // nil without one; set once, under mu
	state atomic.Pointer[state]
	now   func() time.Time
}

// Open opens the SQLite file at path, makes it (mode 0600) when there is none, brings its tables up to
// date and reads it whole. A file of a newer sipio is refused.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := openDB(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open configuration %s: %w", path, err)
	}
	s := &Store{path: path, db: db, now: time.Now}
	if err := s.reload(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("load configuration %s: %w", path, err)
	}
	return s, nil
}

func (s *Store) reload(ctx context.Context) error {
	loaded, err := load(ctx, s.db)
	if err != nil {
		return err
	}
	s.state.Store(loaded)
	return nil
}

// Close closes the file once the change under way is done. Views handed out stay readable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.db.Close()
}

// Directory returns the newest view of the configuration. It never changes: take it once a decision.
func (s *Store) Directory() brain.Directory { return s.state.Load() }

// KeyByToken finds the API key that a bearer token is, of which only the SHA-256 is compared, or the console user that a token of a
// login is of, as the key that it is as good as.
func (s *Store) KeyByToken(token string) (brain.APIKey, bool) {
	if strings.Count(token, ".") == 2 { // three parts, see RFC 7515; no key has a dot
		return s.userByBearer(token)
	}
	if token == "" || len(token) > maxToken {
		return brain.APIKey{}, false
	}
	key := s.state.Load().keyByHash[hashToken(token)]
	if key == nil {
		return brain.APIKey{}, false
	}
	return *brain.Clone(key).(*brain.APIKey), true
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// NewKey makes an API key of an account, of the platform when accountID is "". The token is told here
// and nowhere else: only its hash is kept.
func (s *Store) NewKey(ctx context.Context, actor, accountID, name string, scopes []brain.Scope) (string, brain.APIKey, error) {
	return s.newKey(ctx, actor, &brain.APIKey{AccountID: accountID, Name: name, Scopes: scopes})
}

// NewNodeKey is NewKey for a key that speaks for one node and no other.
func (s *Store) NewNodeKey(ctx context.Context, actor, name, node string) (string, brain.APIKey, error) {
	return s.newKey(ctx, actor, &brain.APIKey{Name: name, Scopes: []brain.Scope{brain.ScopeNode}, Node: node})
}

func (s *Store) newKey(ctx context.Context, actor string, key *brain.APIKey) (string, brain.APIKey, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", brain.APIKey{}, fmt.Errorf("make API key: %w", err)
	}
	token := "sk_" + hex.EncodeToString(random)
	key.Hash = hashToken(token)
	if _, err := s.Change(ctx, actor, brain.Change{Op: brain.OpCreate, Resource: key}); err != nil {
		return "", brain.APIKey{}, err
	}
	return token, *key, nil
}

// List returns up to limit (1 to MaxList) resources of a kind with ids above after, in the order of
// their ids: of one account, or of all when accountID is "". The caller may change them. Devices come
// with their digests: Redact before showing.
func (s *Store) List(ctx context.Context, kind brain.Kind, accountID, after string, limit int) ([]brain.Resource, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if fields[kind] == nil {
		return nil, brain.Errorf(brain.ENotFound, "no resource is called %q", string(kind))
	}
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	page := s.state.Load().page(kind, accountID, after, limit)
	list := make([]brain.Resource, len(page))
	for i, r := range page {
		list[i] = brain.Clone(r)
	}
	return list, nil
}

func checkLimit(limit int) error {
	if limit >= 1 && limit <= MaxList {
		return nil
	}
	text := fmt.Sprintf("must be from 1 to %d, not %d", MaxList, limit)
	return &brain.Error{Code: brain.EInvalid, Fields: []brain.FieldError{{Path: "limit", Text: text}}}
}

// Get returns one resource, for the caller to keep. What belongs to another account is ENotFound, as if
// it were not there; accountID "" looks in all of them.
func (s *Store) Get(ctx context.Context, kind brain.Kind, accountID, id string) (brain.Resource, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var r brain.Resource
	if accountID == "" {
		r = s.state.Load().find(kind, id)
	} else {
		r = s.state.Load().get(kind, accountID, id)
	}
	if r == nil {
		return nil, notFound(kind, id)
	}
	return brain.Clone(r), nil
}

func notFound(kind brain.Kind, id string) error {
	return brain.Errorf(brain.ENotFound, "no %s %q", kind, id)
}

// Revisions returns up to limit (1 to MaxList) revisions, newest first.
func (s *Store) Revisions(ctx context.Context, limit int) ([]brain.Revision, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	list, err := revisions(ctx, s.db, limit)
	if err != nil {
		return nil, fmt.Errorf("read revisions: %w", err)
	}
	return list, nil
}

// newID makes an id of a kind: ids rise with the time of creation.
func newID(k brain.Kind) string { return k.IDPrefix() + "_" + strings.ToLower(ulid.Make().String()) }

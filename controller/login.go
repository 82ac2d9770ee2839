package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/journal"
	"github.com/sipio/sipio/controller/pin"
	"github.com/sipio/sipio/controller/secret"
	"github.com/sipio/sipio/controller/token"
	"github.com/sipio/sipio/controller/v1"
)

// auditEvery is how often a brain takes over entries of the audit log; who reads it has them at once.
const auditEvery = 10 * time.Second

// tokenPurpose names the key of tokens among those that are made of the secret keys.
const tokenPurpose = "v1 token"

// openAudit has the configuration write its audit log into that of all brains.
func openAudit(ctx context.Context, bus *journal.Bus, store *config.Store) error {
	entries, err := bus.AuditLog(ctx)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	store.Audited = entries
	return nil
}

// logins knows console users: their passwords by hash, their tokens by a key that is made of the first secret key. A token that
// is signed with one of the others is good as long as that one is in the file.
type logins struct {
	*config.Store
	box   *secret.Box
	decoy string // hash of a password that nobody has
}

// openLogins also has the store know tokens.
func openLogins(store *config.Store, box *secret.Box) *logins {
	l := &logins{store, box, pin.Decoy()}
	store.Bearer = func(text string) (userID, mark string, ok bool) {
		c, err := token.Read(l.key, text, time.Now())
		return c.Subject, c.Mark, err == nil
	}
	return l
}

func (l *logins) key(id string) ([]byte, string, error) { return l.box.Derive(tokenPurpose, id) }

// Matches says whether a password is that of a hash. Without a hash it does the same work and says no.
func (l *logins) Matches(hash, password string) bool {
	if hash == "" {
		_ = pin.Check(l.decoy, password)
		return false
	}
	return pin.Check(hash, password)
}

// Token makes a token for a console user, good for token.Life.
func (l *logins) Token(u *brain.ConsoleUser) (string, time.Time, error) {
	c := &token.Claims{Subject: u.ID, Account: u.AccountID, Role: string(u.Role), Mark: config.PasswordMark(u)}
	text, err := token.Make(l.key, c, time.Now())
	if errors.Is(err, secret.ErrNoKey) {
		err = brain.Errorf(brain.EUnavailable, "this brain has no secret key to sign tokens with: see secret-key-file")
	}
	return text, c.Expires, err
}

// newV1 makes /v1 of a store.
func newV1(cfg Config, store *config.Store, box *secret.Box, credential func(*http.Request) (brain.APIKey, bool)) *v1.API {
	a := v1.New(store)
	a.Credential = credential
	a.Limit(cfg.V1Rate)
	a.Logins = openLogins(store, box)
	return a
}

// withPeer tells the configuration where a change was asked for from, for the audit log.
func withPeer(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			r = r.WithContext(config.WithPeer(r.Context(), ap.Addr().Unmap().String()))
		}
		h.ServeHTTP(w, r)
	})
}

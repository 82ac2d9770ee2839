package endpoint

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipio/sipio/brain"
)

// right is what a key needs for an endpoint: any one of these scopes.
type right []brain.Scope

var (
	forNodes    = right{brain.ScopeNode, brain.ScopePlatform}
	forPlatform = right{brain.ScopePlatform}
	forCalls    = right{brain.ScopeCallsRead, brain.ScopePlatform}

	forCallsWrite = right{brain.ScopeCallsWrite, brain.ScopePlatform}
)

// has reports whether a key has the right. The scopes node and platform are worth nothing in a key
// that belongs to an account, however it came by them; the others are worth nothing in one that belongs to none, which
// reaches every account by platform alone. A console user of the platform without it reads them all, as in /v1.
func (need right) has(key brain.APIKey) bool {
	return slices.ContainsFunc(need, func(s brain.Scope) bool {
		ofPlatform := s == brain.ScopeNode || s == brain.ScopePlatform
		return slices.Contains(key.Scopes, s) && (ofPlatform == (key.AccountID == "") || !ofPlatform && key.IsUser())
	})
}

func (need right) String() string {
	names := make([]string, len(need))
	for i, s := range need {
		names[i] = string(s)
	}
	return strings.Join(names, " or ")
}

// answer is an endpoint behind the gate: it returns what to encode, or why not.
type answer func(r *http.Request, key brain.APIKey) (any, error)

// gate lets only a known address with a sufficient key or certificate through to an endpoint, and encodes what
// comes back. The address is the real peer's: X-Forwarded-For is anybody's word, see Unproxied.
func (s *Server) gate(method string, need right, ask answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.survive(w, r)
		key, err := s.admit(r, need)
		if err == nil && r.Method != method {
			w.Header().Set("Allow", method)
			err = badBody(http.StatusMethodNotAllowed, countBadMethod, "use %s", method)
		}
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		reply, err := ask(r, key)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		write(w, http.StatusOK, typeJSON, reply)
	})
}

// survive ends a panic of one question: it is logged, counted and answered with 500.
func (s *Server) survive(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	s.Log.Error("endpoint panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	s.refuse(w, r, badBody(http.StatusInternalServerError, countFaults, "internal error"))
}

// admit checks address and credential of a question.
func (s *Server) admit(r *http.Request, need right) (brain.APIKey, error) {
	addr := peer(r)
	if !s.allowed(addr) {
		s.logRefusal(r.Context(), addr, r.URL.Path, "address not allowed")
		return brain.APIKey{}, badBody(http.StatusForbidden, countRefusedAddress, "this address may not ask here")
	}
	key, ok := s.Credential(r)
	if !ok {
		s.logRefusal(r.Context(), addr, r.URL.Path, "neither a known key nor a good certificate")
		return key, badBody(http.StatusUnauthorized, countRefusedNoKey, "an API key is needed: Authorization: Bearer sk_…")
	}
	if !need.has(key) {
		s.logRefusal(r.Context(), addr, r.URL.Path, "key lacks scope")
		return key, badBody(http.StatusForbidden, countRefusedScope, "the key lacks the scope %s", need)
	}
	return key, nil
}

const (
	refusalEvery = time.Minute // how often one address is logged
	maxRefusals  = 1024        // addresses remembered; while full, further ones are counted only
)

// refusals remembers when an address was last logged as refused.
type refusals struct {
	mu   sync.Mutex // guards last; taken on refusals only
	last map[netip.Addr]time.Time
}

// due reports whether a refusal of addr is to be logged now.
func (l *refusals) due(addr netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.last[addr]; ok && now.Sub(t) < refusalEvery {
		return false
	}
	if len(l.last) >= maxRefusals {
		for a, t := range l.last {
			if now.Sub(t) >= refusalEvery {
				delete(l.last, a)
			}
		}
	}
	if len(l.last) >= maxRefusals {
		return false
	}
	if l.last == nil {
		l.last = make(map[netip.Addr]time.Time)
	}
	l.last[addr] = now
	return true
}

func (s *Server) logRefusal(ctx context.Context, addr netip.Addr, path, why string) {
	if s.refusals.due(addr, s.Now()) {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "question refused",
			slog.String("peer", addr.String()), slog.String("path", path), slog.String("why", why))
	}
}

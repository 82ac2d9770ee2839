// Package endpoint is the brain's HTTP side of the decisions: what a node agent asks on behalf of
// Kamailio, and what an operator asks of live state. Each endpoint is a translation: decode, one
// call, encode. Whoever is refused by a decision gets a directive with HTTP 200; an HTTP error is a
// fault or a question that cannot be understood.
package endpoint

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Config is what the endpoints read of the configuration. Directory is one atomic load.
type Config interface {
	Directory() brain.Directory
	KeyByToken(token string) (brain.APIKey, bool)
}

// Presence is the live state of the accounts.
type Presence interface {
	// Deliver applies a node's events, each at most once, and returns when they are applied.
	Deliver(ctx context.Context, dir brain.Directory, batch api.EventBatch) (api.EventReply, error)
	// Accounts lists the accounts with live state, sorted by id.
	Accounts() []string
	// Calls lists the live calls of one account, nil when it has none.
	Calls(ctx context.Context, accountID string) ([]api.Call, error)
	// Counts are totals of what became of events, by name, shown in /health.
	Counts() map[string]int64
}

// Server answers the decision endpoints. Set the exported fields before Register.
type Server struct {
	Config   Config
	Presence Presence

	Allow        []netip.Prefix // peers that may ask at all; nobody else, whatever their credential
	Version      string         // of this build, shown by /health
	LogDecisions bool           // decisions are logged at info instead of debug
	Log          *slog.Logger
	Now          func() time.Time

	counts   counts
	refusals refusals
	nodes    nodes
}

// Loopback is the default of Server.Allow: this machine only.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// New makes a Server that answers peers on loopback and logs decisions at debug level.
func New(config Config, presence Presence) *Server {
	return &Server{Config: config, Presence: presence, Allow: Loopback(), Version: "dev",
		Log: slog.Default(), Now: time.Now}
}

// Register puts the endpoints on a mux.
func (s *Server) Register(mux *http.ServeMux) {
	mux.Handle(api.PathAuth, s.gate(http.MethodPost, forNodes, s.auth))
	mux.Handle(api.PathRoute, s.gate(http.MethodPost, forNodes, s.route))
	mux.Handle(api.PathPresenceEvent, s.gate(http.MethodPost, forNodes, s.presenceEvent))
	mux.Handle(api.PathHeartbeat, s.gate(http.MethodPost, forNodes, s.heartbeat))
	mux.Handle(PathNodes, s.gate(http.MethodGet, forPlatform, s.listNodes))
	mux.Handle(api.PathCalls, s.gate(http.MethodGet, forCalls, s.calls))
	mux.HandleFunc(api.PathHealth, s.health)
}

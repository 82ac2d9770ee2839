// Package endpoint is the brain's HTTP side of the decisions: what a node agent asks on behalf of
// Kamailio, and what an operator asks of live state. Each endpoint is a translation: decode, one
// call, encode. Whoever is refused by a decision gets a directive with HTTP 200; an HTTP error is a
// fault or a question that cannot be understood.
package endpoint

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/balance"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

// Config is what the endpoints read of the configuration. Directory is one atomic load.
type Config interface {
	Directory() brain.Directory
	KeyByToken(token string) (brain.APIKey, bool)
}

// Presence is the live state of the accounts.
type Presence interface {
	// Admit tests and takes everything a call needs, or nothing. brain.EUnavailable: nobody can tell now.
	Admit(ctx context.Context, a *presence.Admission) (cac.Verdict, error)
	// Swap changes the places of a call in one step, or nothing. The zero Verdict: the call is over.
	// brain.EUnavailable: nobody can tell now.
	Swap(ctx context.Context, accountID string, s presence.Swap) (cac.Verdict, error)
	// Deliver applies a node's events and returns when they are in the journal.
	Deliver(ctx context.Context, dir brain.Directory, batch api.EventBatch) (api.EventReply, error)
	// Report shows a node's complete dialog report to the live state of every account.
	Report(dir brain.Directory, r *api.DialogReport) error
	// Accounts lists the accounts with live state, sorted by id.
	Accounts(ctx context.Context) ([]string, error)
	// Calls lists the answered calls of one account.
	Calls(ctx context.Context, accountID string) ([]api.Call, error)
	// CAC returns the slots and the usage of one account.
	CAC(ctx context.Context, accountID string) (api.CACState, error)
	// Reset releases slots by hand, all of them when tokens is empty, and says how many it asked for.
	Reset(ctx context.Context, accountID string, tokens []string) (int, error)
	// State returns the devices and users of one account.
	State(ctx context.Context, accountID string) (api.PresenceState, error)
	// Watch keeps the feed of an account going and returns what followed a delta.
	Watch(ctx context.Context, accountID, after string) (api.Watched, error)
	// Subscribe delivers the deltas of an account as they come, best effort. fn must not block.
	Subscribe(accountID string, fn func(api.Numbered)) (stop func(), err error)
	// Counts are totals of what became of events and admissions, by name, shown in /health.
	Counts() map[string]int64
}

// Operator answers what operators ask of the installation.
type Operator interface {
	// Cluster is what this brain knows of the others and of who owns what.
	Cluster(ctx context.Context) (api.ClusterState, error)
	// Journal says what each shard's journal holds.
	Journal(ctx context.Context) (api.JournalState, error)
	// Dump gives fn every record of a shard, from its newest snapshot on.
	Dump(ctx context.Context, shard int, fn func(api.JournalRecord) error) error
}

// Identities says whom the certificate of a connection is of at a time; false when it is nobody's.
type Identities interface {
	Of(conn *tls.ConnectionState, now time.Time) (api.Identity, bool)
}

// Server answers the decision endpoints. Set the exported fields before Register.
type Server struct {
	Config   Config
	Presence Presence
	Operator Operator // nil: those questions are not answered
	Nodes    Nodes    // nil: conferences and recordings cannot be changed
	Stir     Stir     // nil: no call is signed, and no caller is verified
	Wallet   Wallet   // nil until RegisterBalance: all calls are free of charge
	Audit    Audit    // nil: what is done to balances by hand is in no audit log

	// Password opens a secret of an account by its name; nil: no trunk is known by a digest, and no challenge is answered.
	Password func(acct *brain.AccountConfig, ref string) (string, error)

	// Prices gives a price list of an account by its name, nil while it cannot be read; it must not wait. nil: no trunk has one.
	Prices func(accountID, name string) *balance.Plan

	// Delivered is shown each batch of events once it is in the journal; it must not wait. nil = nobody.
	Delivered func(*api.EventBatch)

	// Believed is told each address from which a device, or a trunk, has shown its password to register; it must not wait. nil = nobody.
	Believed func(addr string)

	Allow        []netip.Prefix // peers that may ask at all; nobody else, whatever their credential
	Identities   Identities     // nil: a certificate says nothing
	Version      string         // of this build, shown by /health
	LogDecisions bool           // decisions are logged at info instead of debug
	Log          *slog.Logger
	Now          func() time.Time
	Done         <-chan struct{} // closed when the process ends: streams end then; nil = never

	queues    Queues // nil until RegisterQueues
	counts    counts
	refusals  refusals
	nodes     nodes
	streams   atomic.Int64
	survived  survivalSeen
	helplines helplines
	attempts  attempts
	trunks    trunks // of is nil until RegisterTrunks
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

// Mux is where endpoints are registered: http.ServeMux, or who wants to know all there are.
type Mux interface {
	Handle(pattern string, h http.Handler)
	HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request))
}

// Register puts the endpoints on a mux.
func (s *Server) Register(mux Mux) {
	mux.Handle(api.PathAuth, s.gate(http.MethodPost, forNodes, s.auth))
	mux.Handle(api.PathRoute, s.gate(http.MethodPost, forNodes, s.route))
	mux.Handle(api.PathChallenge, s.gate(http.MethodPost, forNodes, s.challenge))
	mux.Handle(api.PathPresenceEvent, s.gate(http.MethodPost, forNodes, s.presenceEvent))
	mux.Handle(api.PathHeartbeat, s.gate(http.MethodPost, forNodes, s.heartbeat))
	mux.Handle(api.PathSurvival, s.gate(http.MethodPost, forNodes, s.survival))
	mux.Handle(api.PathDialogs, s.gate(http.MethodPost, forNodes, s.dialogs))
	mux.Handle(api.PathCAC, s.gate(http.MethodGet, forCalls, s.cac))
	mux.Handle(api.PathCACReset, s.gate(http.MethodPost, forCallsWrite, s.cacReset))
	mux.Handle(api.PathPresence, s.gate(http.MethodGet, forCalls, s.presenceState))
	mux.HandleFunc(api.PathPresenceStream, s.stream)
	if s.Operator != nil {
		mux.Handle(api.PathCluster, s.gate(http.MethodGet, forPlatform, s.cluster))
		mux.Handle(api.PathJournal, s.gate(http.MethodGet, forPlatform, s.journal))
		mux.HandleFunc(api.PathJournalDump, s.dump)
	}
	if s.Nodes != nil {
		mux.Handle("GET "+api.PathConference, s.gate(http.MethodGet, forCalls, s.conference))
		mux.Handle(api.PathConference, s.gate(http.MethodPost, forCallsWrite, s.changeConference))
		mux.Handle(api.PathRecording, s.gate(http.MethodPost, forCallsWrite, s.recording))
	}
	mux.Handle(PathNodes, s.gate(http.MethodGet, forPlatform, s.listNodes))
	mux.Handle(api.PathCalls, s.gate(http.MethodGet, forCalls, s.calls))
	mux.HandleFunc(api.PathHealth, s.health)
}

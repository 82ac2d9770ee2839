// Package v1 is the REST API of the configuration: one collection a kind of resource, and the
// declarative document as a whole. It decides nothing: it finds out who asks, checks the form of what
// is asked, and hands it to the store, which owns every rule of content.
package v1

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"github.com/sipio/sipio/brain"
)

// Prefix is where the API is mounted; ServeHTTP expects whole paths, beginning with it.
const Prefix = "/v1"

// VersionHeader carries the configuration version that a write made.
const VersionHeader = "X-Sipio-Config-Version"

// Default limits of one API key, and of one address without a key, in requests a second.
const (
	DefaultRate  = 50
	DefaultBurst = 100
)

// Bounds of a request body in bytes; longer is refused with 413.
const (
	MaxBody     = 1 << 20
	MaxDocument = 8 << 20 // of POST /v1/apply
)

// Keys tells who holds a token, and makes new credentials.
type Keys interface {
	KeyByToken(token string) (brain.APIKey, bool)
	NewKey(ctx context.Context, actor, accountID, name string, scopes []brain.Scope) (token string, key brain.APIKey, err error)
	NewNodeKey(ctx context.Context, actor, name, node string) (token string, key brain.APIKey, err error)
}

// Resources reads and changes single resources. An empty accountID means every account. List goes
// by rising id, beginning after the one given. Change gives a created resource its id, in place.
//
// Level brings the store up to what any brain has acknowledged; a change made of a Before that is not the
// resource any more is EConflict.
type Resources interface {
	Level(ctx context.Context) error
	List(ctx context.Context, kind brain.Kind, accountID, after string, limit int) ([]brain.Resource, error)
	Get(ctx context.Context, kind brain.Kind, accountID, id string) (brain.Resource, error)
	Change(ctx context.Context, actor string, changes ...brain.Change) (version int64, err error)
}

// Documents reads and changes the configuration as a whole.
type Documents interface {
	Apply(ctx context.Context, actor string, doc []byte, opt brain.ApplyOptions) (brain.Plan, int64, error)
	Export(ctx context.Context, accountID string) ([]byte, error)
	Revisions(ctx context.Context, limit int) ([]brain.Revision, error)
	Rollback(ctx context.Context, actor string, rev int64, dryRun bool) (brain.Plan, int64, error)
}

// Store is all that the API needs of the configuration.
type Store interface {
	Keys
	Resources
	Documents
	Audits
}

// API serves /v1. Rate and Burst bound each key, and each address that shows none; set them, and Logins, before the first request.
type API struct {
	Rate   rate.Limit
	Burst  int
	Logins Logins // nil: nobody logs in
	// Credential says who asks; nil = whose key, or login, the request carries.
	Credential func(*http.Request) (brain.APIKey, bool)

	store   Store
	mux     *http.ServeMux
	huma    huma.API
	limit   limiters // by key
	account limiters
	unknown limiters // by address
	login   loginGate
	write   sync.Mutex // held from reading a resource to changing it, so that no write is lost between the two
}

// New makes the API of a store. The OpenAPI document is made from the Go types once, here.
func New(store Store) *API {
	a := &API{Rate: DefaultRate, Burst: DefaultBurst, store: store, mux: http.NewServeMux(), login: loginGate{place: make(chan struct{}, 1), turn: make(chan struct{}, 1)}}
	config := huma.DefaultConfig("sipio", "1.0")
	config.Info.Description = "Configuration of sipio. Every request but the login and the one for this document needs a bearer token: an API key, or the token of a login."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no $schema member in bodies
	config.Formats = map[string]huma.Format{"application/json": strictJSON, "json": strictJSON}
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"key": {}}}
	a.huma = humago.New(a.mux, config)

	a.registerResources()
	a.registerKeyCreation()
	a.registerDocuments()
	a.registerLogin()
	a.registerAudit()
	a.serveOpenAPI()
	a.mux.HandleFunc("/", a.notFound)
	return a
}

// Limit sets Rate, and Burst to what comes in two seconds of it.
func (a *API) Limit(perSecond int) { a.Rate, a.Burst = rate.Limit(perSecond), 2*perSecond }

// registerResources says who may read and write which kind.
func (a *API) registerResources() {
	tenant := rights{read: brain.ScopeConfigRead, write: brain.ScopeConfigWrite}
	// Numbers and addresses are unique platform-wide, and what comes from an address is not challenged: who has them is
	// for the platform to say.
	given := rights{read: tenant.read, write: tenant.write, platformWrites: true}
	registerCollection[brain.Account](a, brain.KindAccount, rights{read: tenant.read, write: tenant.write, platformWrites: true})
	registerCollection[brain.SIPDomain](a, brain.KindSIPDomain, tenant)
	registerCollection[brain.SIPUser](a, brain.KindSIPUser, tenant)
	registerCollection[brain.SIPDevice](a, brain.KindSIPDevice, tenant)
	registerCollection[brain.Extension](a, brain.KindExtension, tenant)
	registerCollection[brain.RingGroup](a, brain.KindRingGroup, tenant)
	registerCollection[brain.CallLimit](a, brain.KindCallLimit, tenant)
	registerCollection[brain.Queue](a, brain.KindQueue, tenant)
	registerCollection[brain.AgentQueueAssignment](a, brain.KindAgentQueueAssignment, tenant)
	registerCollection[brain.InQueueOption](a, brain.KindInQueueOption, tenant)
	registerCollection[brain.TimeSchedule](a, brain.KindTimeSchedule, tenant)
	registerCollection[brain.MediaFile](a, brain.KindMediaFile, tenant)
	registerCollection[brain.MediaPlaylist](a, brain.KindMediaPlaylist, tenant)
	registerCollection[brain.Voicemail](a, brain.KindVoicemail, tenant)
	registerCollection[brain.Conference](a, brain.KindConference, tenant)
	registerPublish(registerCollection[brain.CallFlow](a, brain.KindCallFlow, tenant))
	registerCollection[brain.DID](a, brain.KindDID, given)
	registerCollection[brain.SIPTrunk](a, brain.KindSIPTrunk, given)
	registerCollection[brain.OutboundRoute](a, brain.KindOutboundRoute, tenant)
	registerCollection[brain.Forward](a, brain.KindForward, tenant)
	registerCollection[brain.Secret](a, brain.KindSecret, tenant)
	registerMessages(a, rights{read: brain.ScopeCallsRead, write: brain.ScopeCallsWrite})
	registerCollection[brain.Node](a, brain.KindNode, rights{read: tenant.read, write: tenant.write, platformReads: true, platformWrites: true})
	registerCollection[brain.RatePlan](a, brain.KindRatePlan, tenant)
	registerCollection[brain.ConsoleUser](a, brain.KindConsoleUser, rights{read: tenant.read, write: brain.ScopeKeys})
	registerCollection[brain.APIKey](a, brain.KindAPIKey, rights{read: brain.ScopeKeys, write: brain.ScopeKeys})
}

// ServeHTTP lets a request through that has a known key within its rate, and what has none within the rate of its address, which
// holds a certificate too.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if strings.HasPrefix(r.URL.Path, Prefix+"/openapi.") || r.URL.Path == loginPath {
		if a.within(w, &a.unknown, source(r), "from this address") {
			a.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sourceKey{}, source(r))))
		}
		return
	}
	bare := r.Header.Get("Authorization") == ""
	if bare && !a.within(w, &a.unknown, source(r), "without a known key") {
		return // before its certificate is judged, which is work
	}
	key, ok := a.authenticate(r)
	switch {
	case !ok && (bare || a.within(w, &a.unknown, source(r), "without a known key")):
		w.Header().Set("WWW-Authenticate", `Bearer realm="sipio"`)
		writeProblem(w, http.StatusUnauthorized, "no API key, or an unknown one, or a login that is over: send it as Authorization: Bearer sk_…")
	case ok && a.within(w, &a.limit, key.ID, "with this key") && a.withinAccount(w, key.AccountID):
		a.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller{key})))
	}
}

// accountTimes is how many keys' rates all keys and logins of an account have together.
const accountTimes = 10

// withinAccount is within for all credentials of an account together; the platform's have their own rates alone.
func (a *API) withinAccount(w http.ResponseWriter, id string) bool {
	return id == "" || told(w, a.account.take(id, a.Rate*accountTimes, a.Burst*accountTimes), "with the keys of this account")
}

// within says whether a request is within the rate of whoever asks; it answers one that is not.
func (a *API) within(w http.ResponseWriter, of *limiters, who, by string) bool {
	return told(w, of.take(who, a.Rate, a.Burst), by)
}

// told answers a request that has to wait, and says whether it need not.
func told(w http.ResponseWriter, wait time.Duration, by string) bool {
	if wait > 0 {
		w.Header().Set("Retry-After", seconds(wait))
		writeProblem(w, http.StatusTooManyRequests, "too many requests "+by)
	}
	return wait == 0
}

func (a *API) authenticate(r *http.Request) (brain.APIKey, bool) {
	if a.Credential != nil {
		return a.Credential(r)
	}
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return brain.APIKey{}, false
	}
	return a.store.KeyByToken(strings.TrimSpace(token))
}

// notFound answers what no operation matches: 405 with Allow when the path exists with other methods.
func (a *API) notFound(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/" {
			allow = append(allow, method)
		}
	}
	if len(allow) == 0 {
		writeProblem(w, http.StatusNotFound, "no such path: "+Prefix+"/openapi.json lists them")
		return
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	writeProblem(w, http.StatusMethodNotAllowed, "this path takes "+strings.Join(allow, ", "))
}

// serveOpenAPI answers the description of the API, written once.
func (a *API) serveOpenAPI() {
	json, errJSON := a.huma.OpenAPI().MarshalJSON()
	yaml, errYAML := a.huma.OpenAPI().YAML()
	if errJSON != nil || errYAML != nil {
		slog.Error("describe the API as OpenAPI", "json", errJSON, "yaml", errYAML)
	}
	serve := func(path, contentType string, body []byte) {
		a.mux.HandleFunc("GET "+Prefix+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body) // the client is gone: nobody to tell
		})
	}
	serve("/openapi.json", "application/openapi+json", json)
	serve("/openapi.yaml", "application/openapi+yaml", yaml)
}

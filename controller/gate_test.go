package controller

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/ca"
	"github.com/sipio/sipio/controller/endpoint"
	"github.com/sipio/sipio/controller/secret"
	"github.com/sipio/sipio/controller/token"
)

// gated is one way to an endpoint: whom it is for, and a question that gets as far as the gate and no farther than harmless.
type gated struct {
	need  brain.Scope // besides the scope platform; "" = the platform alone
	path  string      // "" = the pattern's
	named string      // the body of a question that names the node edge-1; "" = it names none
	open  bool        // needs no credential
	v1    bool        // of /v1: keys alone, from anywhere
}

// gates are all there are. A pattern that is not here fails the test: say who may ask it.
func gates(account string) map[string]gated {
	calls, write, nodes := gated{need: brain.ScopeCallsRead}, gated{need: brain.ScopeCallsWrite}, gated{need: brain.ScopeNode}
	conf, platform := gated{need: brain.ScopeConfigWrite}, gated{}
	naming := func(body string) gated { return gated{need: brain.ScopeNode, named: body} }
	return map[string]gated{
		api.PathAuth: naming("node=edge-1"), api.PathRoute: naming("node=edge-1"), api.PathRefer: naming("node=edge-1"), api.PathChallenge: naming("node=edge-1"),
		api.PathPresenceEvent: naming(`{"node":"edge-1","boot":"b","events":[]}`), api.PathHeartbeat: naming(`{"node":"edge-1","protocol":"1.0"}`),
		api.PathSurvival:   naming(`{"node":"edge-1","realms":[]}`),
		api.PathDialogs:    naming(`{"node":"edge-1","boot":"b","boot_ms":1,"seq":1,"taken_ms":2,"count":0,"dialogs":[]}`),
		api.PathNodeTrunks: naming(`{"node":"edge-1","trunks":[]}`), api.PathTrunkLease: naming(`{"node":"edge-1","asks":[]}`),
		api.PathTrunkAnswer:    naming(`{"node":"edge-1","trunk_id":"tr_1","account_id":"` + account + `"}`),
		api.PathFlow:           naming(`{"account_id":"` + account + `","token":"t","call_id":"c","node":"edge-1","seq":4,"outcome":"digits"}`),
		api.PathFlowAlive:      naming(`{"node":"edge-1","calls":[]}`),
		api.PathSecurityReport: naming(`{"node":"edge-1"}`),
		api.PathMedia:          {need: brain.ScopeNode, path: api.PathMedia + "x/y"}, api.PathAgentClaim: nodes, api.PathAgentConfirm: nodes, api.PathAgentMiss: nodes,
		api.PathCAC: calls, api.PathCACReset: write, api.PathPresence: calls, api.PathPresenceStream: calls, api.PathCalls: calls,
		"GET " + api.PathConference: calls, api.PathConference: write, api.PathRecording: write, api.PathTransfer: write, api.PathSupervise: write,
		api.PathAgent: write, api.PathAgents: calls, api.PathQueues: calls, api.PathQueueMove: write, api.PathQueueSend: write,
		api.PathTrunks: calls, api.PathTrunkPing: {need: brain.ScopeCallsWrite, path: "/trunks/tr_1/ping"},
		api.PathBalance: calls, api.PathBalanceStatement: calls, api.PathBalanceTopUp: conf, api.PathBalanceAdjust: conf, api.PathBalanceLimit: conf,
		api.PathRateImport: conf, api.PathRates: {need: brain.ScopeConfigRead},
		"PUT /v1/media_files/{id}/content": {need: brain.ScopeConfigWrite, path: "/v1/media_files/none/content"},
		"GET /v1/objects/{key...}":         {need: brain.ScopeCallsRead, path: "/v1/objects/none"},
		"POST " + api.PathSecretRotate:     platform, api.PathCluster: platform, api.PathJournal: platform, api.PathJournalDump: platform, endpoint.PathNodes: platform,
		"GET " + api.PathSecurityBans: platform, "DELETE " + api.PathSecurityBans: platform, api.PathSecurityBans: platform,
		"GET " + api.PathSecurityAllow: platform, "DELETE " + api.PathSecurityAllow: platform, api.PathSecurityAllow: platform,
		api.PathHealth: {open: true}, "/v1/": {need: brain.ScopeConfigRead, path: "/v1/accounts", v1: true},
	}
}

// asking is one kind of credential: what a question carries, what it may, and for which node alone it speaks.
type asking struct {
	name   string
	key    string
	cert   string // a pair of files of the authority, or of another
	scopes []brain.Scope
	node   string
	owned  bool // by an account
}

// may is what a credential gets: 200 stands for whatever the endpoint says to somebody whom the gate has let in.
func (a asking) may(g gated) int {
	all := slices.Contains(a.scopes, brain.ScopePlatform) && !a.owned
	need := g.need
	switch {
	case g.open:
		return 200
	case a.scopes == nil:
		return 401
	case g.v1 && slices.Contains(a.scopes, need) && (a.owned || all):
		return 200
	case g.v1:
		return 403
	case !all && !a.owned && need != brain.ScopeNode: // reaches every account, or none
		return 403
	case !all && (need == "" || !slices.Contains(a.scopes, need)):
		return 403
	case g.named != "" && a.node != "" && a.node != "edge-1":
		return 403
	}
	return 200
}

// place is where a question comes from.
type place struct {
	peer, forwarded string
	allowed         bool
}

var places = []place{
	{"192.0.2.7:1", "", true}, {"[2001:db8::7]:1", "", true}, {"[::ffff:192.0.2.7]:1", "", true}, {"[fe80::7%eth0]:1", "", true},
	{"198.51.100.7:1", "", false}, {"[2001:db9::7]:1", "", false}, {"[::ffff:198.51.100.7]:1", "", false}, {"[fec0::7%eth0]:1", "", false}, {"@", "", false},
	{"198.51.100.7:1", "192.0.2.7", false},              // nobody believes it
	{"203.0.113.9:1", "", false},                        // the proxy itself
	{"192.0.2.99:1", "", false},                         // one whose address may ask: nobody knows who asks
	{"192.0.2.99:1", "192.0.2.7", true},                 //
	{"203.0.113.9:1", "192.0.2.7", true},                // it says who asks
	{"203.0.113.9:1", "[::ffff:192.0.2.7]:5000", true},  // with a port
	{"203.0.113.9:1", "192.0.2.7, 198.51.100.7", false}, // what stands left is the asker's word
	{"203.0.113.9:1", "198.51.100.7, 192.0.2.7", true},  //
	{"203.0.113.9:1", "192.0.2.7, 203.0.113.10", true},  // two proxies
	{"203.0.113.9:1", "192.0.2.7, unknown", false},      //
	{"192.0.2.7:1", "198.51.100.7", true},               // no proxy of ours: not read
	{"[::ffff:203.0.113.9]:1", "198.51.100.7", false},   //
	{"203.0.113.9:1", strings.Repeat("203.0.113.9,", 20) + "192.0.2.7", true},
	{"203.0.113.9:1", "192.0.2.7" + strings.Repeat(",203.0.113.9", 20), false}, // a list without end
}

func TestGate_EveryEndpointFromEverywhereByEverybody(t *testing.T) {
	// Proves, at a real TLS server with the handler of a running brain, that each endpoint there is answers exactly those who may ask
	// it: every place × every credential × every pattern that was registered. Whoever may not hears 403 for his address, the same
	// 401 for no credential and any bad one, or 403 for what his lacks; and nothing else.
	b := newGateBench(t)
	doors, said := gates(b.account), map[string]bool{}
	for _, pattern := range b.patterns {
		if _, ok := doors[pattern]; !ok {
			t.Errorf("%s: nobody has said who may ask it", pattern)
		}
	}
	for pattern := range doors {
		if !slices.Contains(b.patterns, pattern) {
			t.Errorf("%s is not registered", pattern)
		}
	}
	asked := 0
	for _, from := range places {
		url := b.listen(t, from.peer)
		for _, who := range b.asking {
			client := b.client(t, who)
			for pattern, g := range doors {
				asked++
				want := who.may(g)
				if behindProxy(from) && who.cert != "" && who.key == "" && !g.open {
					want = 401 // the certificate is the proxy's
				}
				if !from.allowed && !g.open && !g.v1 {
					want = 403
				}
				status, words := b.ask(t, client, url, pattern, g, who, from)
				if got := gateStatus(status, words); got != want {
					t.Errorf("%s, %s, from %s (%s): %d %s, want %d", pattern, who.name, from.peer, from.forwarded, status, words, want)
				}
				if status == 401 && !g.v1 {
					said[words] = true
				}
			}
			client.CloseIdleConnections()
		}
	}
	if len(said) != 1 {
		t.Errorf("who has no credential hears different words: %v", said)
	}
	t.Logf("%d questions to %d patterns", asked, len(doors))
	if asked < len(places)*len(b.asking)*40 {
		t.Errorf("only %d questions", asked)
	}
}

func behindProxy(p place) bool {
	return strings.HasPrefix(p.peer, "203.0.113.9") || strings.HasPrefix(p.peer, "[::ffff:203.0.113.9]") || strings.HasPrefix(p.peer, "192.0.2.99")
}

// gateStatus is what the gate made of a question: 401, 403 in the gate's words, or 200 for whatever came from behind it.
func gateStatus(status int, words string) int {
	gate := []string{"this address may not ask here", "the key lacks the scope", "this credential speaks for node", "this needs a key of the platform"}
	switch {
	case status == 401:
		return 401
	case status == 403 && slices.ContainsFunc(gate, func(s string) bool { return strings.Contains(words, s) }):
		return 403
	}
	return 200
}

// gateBench is a running brain, the handler of which also listens where the test says.
type gateBench struct {
	*running
	patterns []string
	handler  http.Handler
	account  string
	dir      string // of the authority
	roots    *x509.CertPool
	asking   []asking
}

func newGateBench(t *testing.T) *gateBench {
	t.Helper()
	b := &gateBench{dir: filepath.Join(t.TempDir(), "ca")}
	b.makeCertificates(t)
	b.running = start(t, t.TempDir(), func(c *Config) {
		c.TLSListen, c.TLSCertFile, c.TLSKeyFile = "127.0.0.1:0", filepath.Join(b.dir, "brain-brain-1.pem"), filepath.Join(b.dir, "brain-brain-1.key")
		c.NodeCAFile, c.V1Rate, c.PromptLanguages = filepath.Join(b.dir, "ca.pem"), 1_000_000, nil
		c.AllowPeers = prefixes("192.0.2.0/24", "2001:db8::/32", "fe80::/10")
		c.TrustedProxies = prefixes("203.0.113.0/24", "192.0.2.99/32")
		c.Log = slog.New(slog.DiscardHandler)
		c.registered = func(patterns []string, h http.Handler) { b.patterns, b.handler = slices.Clone(patterns), h }
	})
	b.account = b.create(t, "/v1/accounts", `{"name":"acme"}`)
	for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
		b.create(t, "/v1/nodes", `{"name":"`+name+`"}`)
	}
	b.makeAsking(t)
	return b
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// makeCertificates makes an authority with good certificates, one that is over, one that is revoked, and another authority.
func (b *gateBench) makeCertificates(t *testing.T) {
	now := time.Now()
	authority := func(dir string, at time.Time) *ca.Authority {
		a, err := ca.Open(dir, at)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	issue := func(a *ca.Authority, kind, name string, life time.Duration) {
		if _, err := a.Issue(api.Identity{Kind: kind, Name: name}, []string{"127.0.0.1"}, life); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(b.dir, "other")
	for _, dir := range []string{b.dir, other} {
		if err := ca.Init(dir, ca.Life, now.Add(-2*ca.LeafLife)); err != nil {
			t.Fatal(err)
		}
	}
	a := authority(b.dir, now)
	for kind, names := range map[string][]string{api.IdentityNode: {"edge-1", "edge-2", "edge-3", "edge-9"}, api.IdentityOperator: {"anna"}, api.IdentityBrain: {"brain-1"}} {
		for _, name := range names {
			issue(a, kind, name, ca.LeafLife)
		}
	}
	issue(authority(b.dir, now.Add(-ca.LeafLife)), api.IdentityOperator, "over", time.Hour)
	issue(authority(other, now), api.IdentityNode, "edge-1", ca.LeafLife)
	issue(authority(other, now), api.IdentityOperator, "anna", ca.LeafLife)
	if _, err := a.Revoke("node-edge-3.pem"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b.dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	b.roots = x509.NewCertPool()
	b.roots.AppendCertsFromPEM(text)
}

func (b *gateBench) makeAsking(t *testing.T) {
	key := func(query, body string) string {
		var made struct{ Key string }
		if status := b.call(t, "POST", "/v1/api_keys"+query, "application/json", body, &made); status != http.StatusCreated {
			t.Fatalf("key %s: %d", body, status)
		}
		return made.Key
	}
	of := "?account_id=" + b.account
	node := key("", `{"name":"node","scopes":["node"]}`)
	own, others := key("", `{"name":"edge-1","scopes":["node"],"node":"edge-1"}`), key("", `{"name":"edge-2","scopes":["node"],"node":"edge-2"}`)
	loose := []brain.Scope{brain.ScopeConfigRead, brain.ScopeConfigWrite, brain.ScopeCallsRead, brain.ScopeCallsWrite}
	nodes, operator := []brain.Scope{brain.ScopeNode}, slices.DeleteFunc(slices.Clone(brain.Scopes), func(s brain.Scope) bool { return s == brain.ScopeNode })
	b.asking = []asking{
		{name: "nobody"},
		{name: "wrong key", key: "sk_wrong"},
		{name: "key of an account", key: key(of, `{"name":"a","scopes":["calls:read","config:read"]}`), scopes: []brain.Scope{brain.ScopeCallsRead, brain.ScopeConfigRead}, owned: true},
		{name: "key without the scope", key: key("", `{"name":"k","scopes":["keys"]}`), scopes: []brain.Scope{brain.ScopeKeys}},
		{name: "key of no account without platform", key: key("", `{"name":"l","scopes":["config:read","config:write","calls:read","calls:write"]}`), scopes: loose},
		{name: "node key", key: node, scopes: nodes},
		{name: "key of the node", key: own, scopes: nodes, node: "edge-1"},
		{name: "key of another node", key: others, scopes: nodes, node: "edge-2"},
		{name: "platform key", key: b.admin, scopes: brain.Scopes},
		{name: "certificate of the node", cert: "node-edge-1", scopes: nodes, node: "edge-1"},
		{name: "certificate of another node", cert: "node-edge-2", scopes: nodes, node: "edge-2"},
		{name: "certificate of an operator", cert: "operator-anna", scopes: operator},
		{name: "certificate of a brain", cert: "brain-brain-1"},
		{name: "certificate of a node that is not registered", cert: "node-edge-9"},
		{name: "revoked certificate", cert: "node-edge-3"},
		{name: "expired certificate", cert: "operator-over"},
		{name: "certificate of another authority", cert: "other/node-edge-1"},
		{name: "operator of another authority", cert: "other/operator-anna"},
		{name: "wrong key, good certificate", key: "sk_wrong", cert: "node-edge-1"},
		{name: "good key, expired certificate", key: node, cert: "operator-over", scopes: nodes},
	}
	b.asking = append(b.asking, b.logins(t)...)
}

// logins are tokens of console users: a good one, one that is over, and one of before the password was changed.
func (b *gateBench) logins(t *testing.T) []asking {
	for _, name := range []string{"olga", "otto"} {
		b.create(t, "/v1/console_users", fmt.Sprintf(`{"email":"%s@sipio.test","role":"operator","password":%q}`, name, loginPassword))
	}
	good, old := b.login(t, "olga@sipio.test"), b.login(t, "otto@sipio.test")
	box, err := secret.Open(filepath.Join(b.DataDir, secretKeyFile), false)
	if err != nil {
		t.Fatal(err)
	}
	keys := (&logins{box: box}).key
	claims, err := token.Read(keys, old, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.wantStatus(t, 200, b.admin, "PATCH", "/v1/console_users/"+claims.Subject, `{"password":"another long password"}`)
	if claims, err = token.Read(keys, good, time.Now()); err != nil {
		t.Fatal(err)
	}
	over, err := token.Make(keys, &claims, time.Now().Add(-token.Life-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return []asking{
		{name: "login of an operator", key: good, scopes: brain.RoleOperator.Scopes("")},
		{name: "login that is over", key: over},
		{name: "login with a password that is no more", key: old},
	}
}

// ask asks one question. What could do anything behind the gate is asked by a method that nothing has.
func (b *gateBench) ask(t *testing.T, client *http.Client, url, pattern string, g gated, who asking, from place) (int, string) {
	t.Helper()
	method, path, found := strings.Cut(pattern, " ")
	if !found {
		method, path = "BREW", pattern
	}
	if g.path != "" {
		path = g.path
	}
	kind := "application/json"
	switch {
	case g.named != "":
		if method = http.MethodPost; !json.Valid([]byte(g.named)) {
			kind = "application/x-www-form-urlencoded"
		}
	case g.v1 || g.open:
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(g.named))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if who.key != "" {
		req.Header.Set("Authorization", "Bearer "+who.key)
	}
	if from.forwarded != "" {
		req.Header.Set("X-Forwarded-For", from.forwarded)
		req.Header.Set("Forwarded", "for=192.0.2.7")
		req.Header.Set("X-Real-Ip", "192.0.2.7")
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s, %s: %v", pattern, who.name, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(bytes.TrimSpace(text))
}

// client is one that shows its certificate whatever the server asks for.
func (b *gateBench) client(t *testing.T, who asking) *http.Client {
	t.Helper()
	cfg := &tls.Config{RootCAs: b.roots, ServerName: "127.0.0.1"}
	if who.cert != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(b.dir, who.cert+".pem"), filepath.Join(b.dir, who.cert+".key"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}}
}

// listen starts a TLS server of the brain's handler whose connections all come from one address.
func (b *gateBench) listen(t *testing.T, peer string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured, err := serverTLS(b.Config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: b.handler, TLSConfig: secured, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.ServeTLS(from{ln, peer}, "", "")
	}()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return fmt.Sprintf("https://%s", ln.Addr())
}

// from is a listener to which everybody comes from one address.
type from struct {
	net.Listener
	peer string
}

func (f from) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return elsewhere{c, f.peer}, nil
}

type elsewhere struct {
	net.Conn
	peer string
}

func (e elsewhere) RemoteAddr() net.Addr { return written(e.peer) }

type written string

func (written) Network() string  { return "tcp" }
func (w written) String() string { return string(w) }

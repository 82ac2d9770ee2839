package endpoint

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/cac"
	"github.com/sipio/sipio/brain/presence"
)

const (
	tokenNode     = "sk_node"
	tokenPlatform = "sk_platform"
	tokenAccount  = "sk_account"      // calls:read of acc_1
	tokenCalls    = "sk_calls"        // calls:read of the platform
	tokenConfig   = "sk_config"       // config:read of the platform
	tokenViewer   = "sk_viewer"       // console user of the platform who reads
	tokenForged   = "sk_account_node" // an account's key that claims node and platform
	tokenWrite    = "sk_account_write"
)

// configuration is a fixed Config: one account with two users and a phone each.
type configuration struct{ account *brain.AccountConfig }

func newConfiguration() *configuration {
	user := func(n string) brain.SIPUser {
		return brain.SIPUser{ID: "us_" + n, AccountID: "acc_1", Username: n, Status: brain.StatusActive,
			RingTimeoutSec: 25, RingStrategy: brain.RingSimultaneous}
	}
	device := func(n string) brain.SIPDevice {
		return brain.SIPDevice{ID: "dev_" + n, AccountID: "acc_1", UserID: "us_" + n, AuthUsername: n, Realm: "example.com",
			HA1MD5: md5hex(n + ":example.com:secret" + n), RingOnFork: true, Status: brain.StatusActive}
	}
	return &configuration{brain.NewAccountConfig(7, brain.AccountRows{
		Account: brain.Account{ID: "acc_1", Name: "one", Status: brain.StatusActive},
		Domains: []brain.SIPDomain{{ID: "dom_1", AccountID: "acc_1", Domain: "example.com", IsPrimary: true}},
		Users:   []brain.SIPUser{user("1001"), user("1002")},
		Devices: []brain.SIPDevice{device("1001"), device("1002")},
		Queues:  []brain.Queue{{ID: "q_1", AccountID: "acc_1", Name: "sales"}},
	})}
}

func (c *configuration) Directory() brain.Directory { return c }
func (c *configuration) Version() int64             { return 7 }
func (c *configuration) ActiveNodes() int           { return 1 }

func (c *configuration) NodeByName(name string) *brain.Node {
	if name == "small" {
		return &brain.Node{Name: name, Capacity: 1}
	}
	return nil
}

func (c *configuration) ByDomain(d string) *brain.AccountConfig {
	if strings.EqualFold(d, "example.com") {
		return c.account
	}
	return nil
}

func (c *configuration) ByAccount(id string) *brain.AccountConfig {
	if id == "acc_1" {
		return c.account
	}
	return nil
}

func (c *configuration) KeyByToken(token string) (brain.APIKey, bool) {
	key, ok := keys[token]
	return key, ok
}

var keys = map[string]brain.APIKey{
	tokenNode:     {ID: "key_1", Scopes: []brain.Scope{brain.ScopeNode}},
	tokenPlatform: {ID: "key_2", Scopes: []brain.Scope{brain.ScopePlatform}},
	tokenAccount:  {ID: "key_3", AccountID: "acc_1", Scopes: []brain.Scope{brain.ScopeCallsRead}},
	tokenCalls:    {ID: "key_4", Scopes: []brain.Scope{brain.ScopeCallsRead}},
	tokenConfig:   {ID: "key_5", Scopes: []brain.Scope{brain.ScopeConfigRead}},
	tokenViewer:   {ID: "cu_1", Scopes: brain.RoleViewer.Scopes("")},
	tokenWrite:    {ID: "key_7", AccountID: "acc_1", Scopes: []brain.Scope{brain.ScopeCallsWrite}},
	tokenForged:   {ID: "key_6", AccountID: "acc_1", Scopes: []brain.Scope{brain.ScopeNode, brain.ScopePlatform}},
}

// state records what it is given, lists fixed calls, and admits what fits.
type state struct {
	ledger   *cac.Ledger
	reports  []api.DialogReport
	resets   [][]string
	watched  api.Watched
	listener func(api.Numbered)

	mu    sync.Mutex
	got   []api.EventBatch
	fail  error
	calls []api.Call

	devices []api.DevicePresence
}

func (p *state) Deliver(_ context.Context, _ brain.Directory, b api.EventBatch) (api.EventReply, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return api.EventReply{}, p.fail
	}
	b.Events = slices.Clone(b.Events)
	p.got = append(p.got, b)
	last := int64(0)
	for _, ev := range b.Events {
		last = max(last, ev.Seq)
	}
	return api.EventReply{LastSeq: last}, nil
}

func (p *state) Admit(_ context.Context, a *presence.Admission) (cac.Verdict, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return cac.Verdict{}, p.fail
	}
	if a.NodeCapacity > 0 {
		a.Call.Takes = append(a.Call.Takes, cac.Take{Kind: cac.Node, ID: a.Call.Node, Limit: a.NodeCapacity})
	}
	return p.ledger.Admit(1000, a.Call.Call), nil
}

func (p *state) Swap(_ context.Context, _ string, s presence.Swap) (cac.Verdict, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return cac.Verdict{}, p.fail
	}
	return p.ledger.Swap(1000, s.Swap), nil
}

func (p *state) Report(_ brain.Directory, r *api.DialogReport) error {
	p.reports = append(p.reports, *r)
	return p.fail
}

func (p *state) CAC(_ context.Context, id string) (api.CACState, error) {
	return api.CACState{AccountID: id, Usage: []api.Usage{{Dimension: "internal", Used: 1}}}, p.fail
}

func (p *state) Reset(_ context.Context, _ string, tokens []string) (int, error) {
	p.resets = append(p.resets, tokens)
	return max(len(tokens), 1), p.fail
}

func (p *state) State(_ context.Context, id string) (api.PresenceState, error) {
	return api.PresenceState{AccountID: id, Devices: p.devices}, p.fail
}

func (p *state) Watch(_ context.Context, _, after string) (api.Watched, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if after != "" {
		return api.Watched{ID: p.watched.ID, Deltas: p.watched.Deltas}, p.fail
	}
	return api.Watched{ID: p.watched.ID, State: []byte(`{"account_id":"acc_1"}`)}, p.fail
}

func (p *state) Subscribe(_ string, fn func(api.Numbered)) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = fn
	return func() {}, nil
}

func (p *state) Accounts(context.Context) ([]string, error) {
	var ids []string
	for _, c := range p.calls {
		ids = append(ids, c.AccountID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), p.fail
}

func (p *state) Calls(_ context.Context, id string) ([]api.Call, error) {
	var list []api.Call
	for _, c := range p.calls {
		if c.AccountID == id {
			list = append(list, c)
		}
	}
	return list, nil
}

func (p *state) Counts() map[string]int64 { return map[string]int64{"events_applied": 3} }

// bench is a Server with fakes around it and the log it writes.
type bench struct {
	*Server
	mux      *http.ServeMux
	presence *state
	lines    *lines
	log      *bytes.Buffer
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{presence: &state{ledger: cac.New()}, lines: &lines{}, log: &bytes.Buffer{}, mux: http.NewServeMux()}
	b.Server = New(newConfiguration(), b.presence)
	b.Log = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	b.Register(b.mux)
	b.RegisterQueues(b.mux, b.lines)
	return b
}

// ask sends one question as Kamailio's door would: from loopback, with the node's key.
func (b *bench) ask(method, path, contentType, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:40000"
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+tokenNode)
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	b.mux.ServeHTTP(w, r)
	return w
}

func (b *bench) form(path string, v url.Values) *httptest.ResponseRecorder {
	return b.ask("POST", path, typeForm, v.Encode())
}

func withToken(token string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Del("Authorization")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	}
}

func md5hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// digest answers a challenge as a phone would (RFC 7616 section 3.4.1).
func digest(method, user, password string) url.Values {
	const nonce, cnonce, nc, uri = "n0nce", "c", "00000001", "sip:example.com"
	ha1, ha2 := md5hex(user+":example.com:"+password), md5hex(method+":"+uri)
	return url.Values{
		"auth_username": {user}, "auth_realm": {"example.com"}, "auth_nonce": {nonce}, "auth_uri": {uri},
		"auth_algorithm": {"MD5"}, "auth_cnonce": {cnonce}, "auth_nc": {nc}, "auth_qop": {"auth"},
		"auth_response": {md5hex(strings.Join([]string{ha1, nonce, nc, cnonce, "auth", ha2}, ":"))},
		"method":        {method}, "call_id": {"c1@phone"}, "cseq": {"1"}, "branch": {"z9hG4bK1"},
		"source_ip": {"192.0.2.1"}, "source_port": {"5060"}, "transport": {"udp"}, "node": {"edge1"},
		"from_user": {user}, "from_domain": {"example.com"},
	}
}

func registerQuestion(user, password string) url.Values {
	v := digest("REGISTER", user, password)
	v.Set("to_user", user)
	v.Set("to_domain", "example.com")
	return v
}

func inviteQuestion(user, password, dialed string) url.Values {
	v := digest("INVITE", user, password)
	v.Set("from_name", "Ann \"A\" & Bö")
	v.Set("to_user", dialed)
	v.Set("to_domain", "example.com")
	v.Set("ruri", "sip:"+dialed+"@example.com")
	v.Set("ruri_user", dialed)
	v.Set("ruri_domain", "example.com")
	return v
}

func reading[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return v
}

func (*configuration) ByDID(string) (*brain.AccountConfig, *brain.DID) { return nil, nil }

func (c *configuration) TrunkBySource(ip string) (*brain.AccountConfig, *brain.SIPTrunk) {
	for _, t := range c.account.Trunks {
		if slices.Contains(t.InboundACL, ip) {
			return c.account, t
		}
	}
	return nil, nil
}

func (c *configuration) TrunkByTLSName(name string) (*brain.AccountConfig, *brain.SIPTrunk) {
	for _, t := range c.account.Trunks {
		if t.TLSName != "" && t.TLSName == name {
			return c.account, t
		}
	}
	return nil, nil
}

func (*configuration) TrunkSources() []string { return nil }
func (*configuration) Nodes() []*brain.Node   { return nil }

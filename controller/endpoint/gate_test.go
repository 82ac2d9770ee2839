package endpoint

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Every endpoint against every kind of credential, from an allowed address: what a key may not do is
// 403, no key or an unknown one is 401, the forged scopes of an account's key are worth nothing, and so are those of an
// account in a key of none; a viewer of the platform reads.
func TestGate_CredentialTable(t *testing.T) {
	const of = "?account_id=acc_1" // what a key of the platform must say; a key of that account may
	good := map[string]struct{ method, kind, body string }{
		api.PathAuth:          {"POST", typeForm, registerQuestion("1001", "secret1001").Encode()},
		api.PathRoute:         {"POST", typeForm, inviteQuestion("1001", "secret1001", "1002").Encode()},
		api.PathPresenceEvent: {"POST", typeJSON, `{"node":"edge1","boot":"b1","events":[]}`},
		api.PathHeartbeat:     {"POST", typeJSON, `{"node":"edge1","protocol":"1.0"}`},
		api.PathDialogs:       {"POST", typeJSON, `{"node":"edge1","boot":"b1","boot_ms":1,"seq":1,"taken_ms":2,"count":0,"dialogs":[]}`},
		PathNodes:             {"GET", "", ""},
		api.PathCalls:         {"GET", "", ""},
		api.PathCAC + of:      {"GET", "", ""},
		api.PathPresence + of: {"GET", "", ""},
		api.PathCACReset + of: {"POST", typeJSON, `{"all":true}`},
		api.PathAgent + of:    {"POST", typeJSON, `{"user_id":"us_1001","action":"login"}`},
		api.PathAgents + of:   {"GET", "", ""},
		api.PathQueues + of:   {"GET", "", ""},
		api.PathAgentClaim:    {"POST", typeJSON, `{"account_id":"acc_1","reservation_id":"r1","fence":1}`},
		api.PathAgentConfirm:  {"POST", typeJSON, `{"account_id":"acc_1","reservation_id":"r1","fence":1}`},
		api.PathAgentMiss:     {"POST", typeJSON, `{"account_id":"acc_1","reservation_id":"r1","fence":1,"cause":"busy"}`},
		api.PathHealth:        {"GET", "", ""},
	}
	tokens := []string{"", "sk_unknown", tokenNode, tokenPlatform, tokenAccount, tokenCalls, tokenConfig, tokenForged, tokenWrite, tokenViewer}
	want := map[string][]int{
		api.PathAuth:          {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		api.PathRoute:         {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		api.PathPresenceEvent: {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		api.PathHeartbeat:     {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		api.PathDialogs:       {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		api.PathCAC + of:      {401, 401, 403, 200, 200, 403, 403, 403, 403, 200},
		api.PathPresence + of: {401, 401, 403, 200, 200, 403, 403, 403, 403, 200},
		api.PathCACReset + of: {401, 401, 403, 200, 403, 403, 403, 403, 200, 403},
		api.PathAgent + of:    {401, 401, 403, 200, 403, 403, 403, 403, 200, 403},
		api.PathAgents + of:   {401, 401, 403, 200, 200, 403, 403, 403, 403, 200},
		api.PathQueues + of:   {401, 401, 403, 200, 200, 403, 403, 403, 403, 200},
		api.PathAgentClaim:    {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		api.PathAgentConfirm:  {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		api.PathAgentMiss:     {401, 401, 200, 200, 403, 403, 403, 403, 403, 403},
		PathNodes:             {401, 401, 403, 200, 403, 403, 403, 403, 403, 403},
		api.PathCalls:         {401, 401, 403, 200, 200, 403, 403, 403, 403, 200},
		api.PathHealth:        {200, 200, 200, 200, 200, 200, 200, 200, 200, 200},
	}
	for path, q := range good {
		for i, token := range tokens {
			b := newBench(t)
			w := b.ask(q.method, path, q.kind, q.body, withToken(token))
			if w.Code != want[path][i] {
				t.Errorf("%s with %q: %d %s, want %d", path, token, w.Code, w.Body, want[path][i])
			}
			if w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s: 401 without a challenge", path)
			}
		}
		for _, peer := range []string{"192.0.2.7:1234", "[2001:db8::7]:1234", "[::ffff:192.0.2.7]:1234", "@", ""} {
			b := newBench(t)
			w := b.ask(q.method, path, q.kind, q.body, withToken(tokenPlatform), func(r *http.Request) {
				r.RemoteAddr = peer
				r.Header.Set("X-Forwarded-For", "127.0.0.1")
				r.Header.Set("Forwarded", "for=127.0.0.1")
			})
			if path == api.PathHealth {
				if w.Code != 200 || strings.Contains(w.Body.String(), "counts") {
					t.Errorf("/health from %s: %d %s", peer, w.Code, w.Body)
				}
			} else if w.Code != 403 || b.counts[countRefusedAddress].Load() != 1 {
				t.Errorf("%s from %s: %d %s", path, peer, w.Code, w.Body)
			}
		}
	}
}

// The gate goes by the configured networks: what is inside may ask, IPv4 written as IPv6 too.
func TestGate_AllowsConfiguredNetworks(t *testing.T) {
	b := newBench(t)
	b.Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	for peer, want := range map[string]int{"192.0.2.7:1": 200, "[::ffff:192.0.2.7]:1": 200, "[2001:db8::1]:1": 200,
		"127.0.0.1:1": 403, "192.0.3.1:1": 403, "[2001:db9::1]:1": 403} {
		w := b.ask("GET", PathNodes, "", "", withToken(tokenPlatform), func(r *http.Request) { r.RemoteAddr = peer })
		if w.Code != want {
			t.Errorf("from %s: %d, want %d", peer, w.Code, want)
		}
	}
}

// A wrong method is 405 and names the right one, on every endpoint.
func TestGate_WrongMethodIs405(t *testing.T) {
	for path, right := range map[string]string{api.PathAuth: "POST", api.PathRoute: "POST", api.PathPresenceEvent: "POST",
		api.PathHeartbeat: "POST", PathNodes: "GET", api.PathCalls: "GET", api.PathHealth: "GET, HEAD"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if strings.Contains(right, method) {
				continue
			}
			b := newBench(t)
			w := b.ask(method, path, typeForm, "", withToken(tokenPlatform))
			if w.Code != 405 || w.Header().Get("Allow") != right {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
			onlyCounted(t, b, "bad_input_method")
		}
	}
}

// A flood of refusals is counted in full but logged once a minute an address, in bounded memory, and
// no credential appears in the log.
func TestGate_LogsARefusalOnceAMinuteAnAddress(t *testing.T) {
	b := newBench(t)
	now := time.Unix(1000, 0)
	b.Now = func() time.Time { return now }
	ask := func(host string) {
		b.ask("POST", api.PathAuth, typeForm, "", withToken("sk_secret"), func(r *http.Request) { r.RemoteAddr = host + ":1" })
	}
	lines := func() int { return strings.Count(b.log.String(), "\n") }
	for range 50 {
		ask("192.0.2.1")
		ask("127.0.0.1") // allowed, but with an unknown key
	}
	if lines() != 2 {
		t.Errorf("%d lines for two addresses:\n%s", lines(), b.log)
	}
	now = now.Add(refusalEvery)
	ask("192.0.2.1")
	if lines() != 3 {
		t.Errorf("%d lines a minute later", lines())
	}
	for i := range 3 * maxRefusals {
		ask(fmt.Sprintf("198.51.%d.%d", i/250, i%250))
	}
	if n := len(b.refusals.last); n > maxRefusals {
		t.Errorf("%d addresses remembered", n)
	}
	if got := b.counts[countRefusedAddress].Load(); got != 51+3*maxRefusals {
		t.Errorf("%d counted", got)
	}
	if strings.Contains(b.log.String(), "sk_secret") {
		t.Error("the log holds a key")
	}
}

// panicking is a configuration that fails.
type panicking struct{ *configuration }

func (panicking) Directory() brain.Directory { panic("no directory") }

// A panic in one question is answered with 500, counted and logged; the next question is answered.
func TestGate_SurvivesAPanic(t *testing.T) {
	b := newBench(t)
	b.Config = &panicking{configuration: newConfiguration()}
	if w := b.ask("POST", api.PathAuth, typeForm, registerQuestion("1001", "secret1001").Encode()); w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(b.log.String(), "endpoint panicked") {
		t.Errorf("not logged: %s", b.log)
	}
	onlyCounted(t, b, "faults")
	b.Config = newConfiguration()
	if w := b.ask("POST", api.PathAuth, typeForm, registerQuestion("1001", "secret1001").Encode()); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

package door

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// acme is an account of two phones, 1001 and 1002, that can dial each other, and 1006, who is busy.
func acme(tag string) api.SurvivalAccount {
	a := api.SurvivalAccount{Tag: tag, AccountID: "acc_1", ConfigVersion: 7, Domains: []string{"acme.test", "old.acme.test"},
		Media: &api.Media{ToRTP: "RTP/AVP"}, MaxDurationSec: 14400, MaxContacts: 10}
	for _, user := range []string{"1001", "1002"} {
		credentials := "phone-" + user + ":acme.test:secret-" + user
		a.Callers = append(a.Callers, api.SurvivalCaller{AuthUsername: "phone-" + user, Realm: "acme.test", HA1MD5: sumMD5(credentials),
			HA1SHA256: sumSHA256(credentials), UserID: "us_" + user, DeviceID: "dev_" + user, Username: user, AOR: "sip:phone-" + user + "@acme.test",
			Name: "User " + user, From: api.NameAddr{Display: `"User ` + user + `"`, URI: "sip:" + user + "@acme.test"}})
		a.Numbers = append(a.Numbers, api.SurvivalNumber{Number: user, SurvivalPlan: api.SurvivalPlan{
			Routes: []api.Route{{Step: 1, URI: "sip:phone-" + user + "@acme.test", FrInvTimer: 25000}}}})
	}
	a.Numbers = append(a.Numbers, api.SurvivalNumber{Number: "1006", SurvivalPlan: api.SurvivalPlan{SIPCode: 486}})
	return a
}

// store is a brain's POST /survival: it gives what it holds, as a brain would.
type store struct {
	mu       sync.Mutex
	accounts []api.SurvivalAccount
	page     int // accounts a reply; 0 = all
	fail     error
	raw      string // answered instead, whatever was asked
	asked    []api.SurvivalRequest
}

func (s *store) fetch(_ context.Context, body []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var req api.SurvivalRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	s.asked = append(s.asked, req)
	if s.fail != nil {
		return nil, s.fail
	}
	if s.raw != "" {
		return []byte(s.raw), nil
	}
	var reply api.SurvivalReply
	for _, a := range s.accounts {
		wanted, have := false, false
		for _, r := range req.Realms {
			wanted = wanted || r == a.Domains[0]
		}
		for _, tag := range req.Have {
			have = have || tag == a.Tag
		}
		switch {
		case !wanted:
		case have:
			reply.Kept = append(reply.Kept, a.Tag)
		case s.page > 0 && len(reply.Accounts) == s.page:
			reply.More = true
		default:
			reply.Accounts = append(reply.Accounts, a)
		}
	}
	return json.Marshal(&reply)
}

func (s *store) change(f func(*store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *store) questions() []api.SurvivalRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// memorySpool takes events, or fails.
type memorySpool struct {
	mu     sync.Mutex
	events []api.Event
	fail   error
}

func (m *memorySpool) Append(_, boot string, events []api.Event) (int64, []api.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, nil, m.fail
	}
	if !strings.HasPrefix(boot, "survival-") {
		return 0, nil, fmt.Errorf("boot %q", boot)
	}
	m.events = append(m.events, events...)
	return events[len(events)-1].Seq, events, nil
}

// surviving is a door with survival whose brain is a fake.
type surviving struct {
	*Door
	brain *fakeBrain
	spool *memorySpool
	stop  func()
}

// startSurviving makes a door for a synctest bubble; change may alter its configuration.
func startSurviving(t *testing.T, from *store, change func(*Config)) *surviving {
	t.Helper()
	s := &surviving{brain: &fakeBrain{}, spool: &memorySpool{}}
	cfg := DefaultConfig()
	cfg.Log, cfg.Key, cfg.Brains, cfg.Spool = slog.New(slog.DiscardHandler), "sk_node", []string{"brain"}, s.spool
	cfg.Survival = Survival{Fetch: from.fetch, Node: "edge-1", Refresh: time.Minute, MaxAge: 24 * time.Hour}
	if change != nil {
		change(&cfg)
	}
	d, err := newDoor(cfg, []client{s.brain})
	if err != nil {
		t.Fatal(err)
	}
	s.Door = d
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.watch(ctx) })
	if d.survival != nil {
		running.Go(func() { d.survival.run(ctx) })
	}
	s.stop = sync.OnceFunc(func() { cancel(); running.Wait(); d.stop() })
	t.Cleanup(s.stop)
	synctest.Wait() // the first look at what is to be asked: nothing yet
	return s
}

// away takes the brain away.
func (s *surviving) away() {
	s.brain.set(func(f *fakeBrain) { f.err = fmt.Errorf("%w: connection refused", errUnreachable) })
}

var questions int

// asking is a question as Kamailio writes it; change may spoil it before the digest is computed.
func asking(method, user, password, dialed string, change func(url.Values)) string {
	questions++
	v := url.Values{"call_id": {fmt.Sprintf("c%d@phone", questions)}, "cseq": {"2"}, "branch": {"z9hG4bK1"}, "method": {method},
		"source_ip": {"192.0.2.1"}, "source_port": {"5060"}, "transport": {"udp"}, "node": {"edge-1"}, "user_agent": {"x"},
		"auth_username": {"phone-" + user}, "auth_realm": {"acme.test"}, "auth_nonce": {"n0nce"}, "auth_uri": {"sip:acme.test"},
		"auth_algorithm": {"MD5"}, "auth_cnonce": {"c"}, "auth_nc": {"00000001"}, "auth_qop": {`"auth"`},
		"from_user": {user}, "from_domain": {"acme.test"}, "from_name": {"User " + user}, "to_user": {user}, "to_domain": {"acme.test"}}
	if dialed != "" {
		v.Set("ruri_user", dialed)
		v.Set("ruri_domain", "acme.test")
	}
	if change != nil {
		change(v)
	}
	if v.Get("auth_response") == "" {
		sum := sumMD5
		if v.Get("auth_algorithm") == "SHA-256" {
			sum = sumSHA256
		}
		ha1 := sum(v.Get("auth_username") + ":acme.test:" + password)
		v.Set("auth_response", sum(ha1+":n0nce:00000001:c:auth:"+sum(method+":sip:acme.test")))
	}
	return v.Encode()
}

func set(name, value string) func(url.Values) { return func(v url.Values) { v.Set(name, value) } }

// decideForm puts a question as Kamailio does and returns its answer.
func (s *surviving) decideForm(t *testing.T, path, body string) api.Directive {
	t.Helper()
	rep := s.decision(&request{received: time.Now(), path: path, contentType: []byte("application/x-www-form-urlencoded"), body: []byte(body)})
	var route api.RouteReply
	var auth api.AuthReply
	if path == api.PathRoute {
		if err := json.Unmarshal(rep.body, &route); err != nil || rep.status != 200 {
			t.Fatalf("%d %s: %v", rep.status, rep.body, err)
		}
		if route.RTJSON.Action == "" { // of the fake brain, which knows one answer only
			route.RTJSON.Action = api.ActionAccept
		}
		return route.RTJSON
	}
	if err := json.Unmarshal(rep.body, &auth); err != nil || rep.status != 200 {
		t.Fatalf("%d %s: %v", rep.status, rep.body, err)
	}
	d := api.Directive{Action: auth.Action, AccountID: auth.AccountID, Survival: auth.Survival, Refusal: auth.Refusal}
	if auth.Action == api.ActionAccept && auth.Survival {
		d.Routes = []api.Route{{URI: auth.AOR, Step: auth.MaxContacts}}
	}
	return d
}

// prepared is a door that has heard of acme, and whose brain is then gone.
func prepared(t *testing.T, change func(*Config)) (*surviving, *store) {
	t.Helper()
	from := &store{accounts: []api.SurvivalAccount{acme("t1")}}
	s := startSurviving(t, from, change)
	if d := s.decideForm(t, api.PathAuth, asking("REGISTER", "1001", "secret-1001", "", nil)); d.Action != api.ActionAccept || d.Survival {
		t.Fatalf("the brain's answer: %+v", d)
	}
	time.Sleep(2 * firstRefresh)
	s.away()
	return s, from
}

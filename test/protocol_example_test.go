package test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/controller/actor"
	"github.com/sipio/sipio/controller/endpoint"
	"github.com/sipio/sipio/controller/journal"
	"github.com/sipio/sipio/controller/queue"
	"github.com/sipio/sipio/nodeagent/door"
)

const exampleDomain = "sip.acme.example"

// exampleBrain is the configuration that the examples ask: a directory of one account, and one key.
type exampleBrain struct{ account *brain.AccountConfig }

func (b exampleBrain) Directory() brain.Directory { return b }
func (b exampleBrain) Version() int64             { return b.account.Version }
func (b exampleBrain) ByAccount(id string) *brain.AccountConfig {
	if id == b.account.Account.ID {
		return b.account
	}
	return nil
}
func (b exampleBrain) ByDomain(domain string) *brain.AccountConfig {
	if b.account.Domains[strings.ToLower(domain)] != nil {
		return b.account
	}
	return nil
}
func (b exampleBrain) KeyByToken(string) (brain.APIKey, bool) {
	return brain.APIKey{Scopes: brain.Scopes}, true
}

// acme has Alice with one phone, and Bob with two that ring one after the other and a busy forward to Alice's number.
func acme() exampleBrain {
	device := func(id, user, name string, order int) brain.SIPDevice {
		d := brain.SIPDevice{ID: id, UserID: user, AuthUsername: name, Realm: exampleDomain, Password: "secret-" + name,
			RingOrder: order, RingOnFork: true, Status: brain.StatusActive}
		d.SealPassword()
		return d
	}
	return exampleBrain{brain.NewAccountConfig(42, brain.AccountRows{
		Account: brain.Account{ID: "acc_acme", Name: "acme", Status: brain.StatusActive},
		Domains: []brain.SIPDomain{{ID: "dom_1", Domain: exampleDomain, IsPrimary: true}},
		Users: []brain.SIPUser{
			{ID: "us_1", Username: "1001", DisplayName: "Alice", Status: brain.StatusActive, IsAgent: true},
			{ID: "us_2", Username: "1002", DisplayName: "Bob", Status: brain.StatusActive, RingStrategy: brain.RingSequential, RingTimeoutSec: 15,
				FwdBusyDestKind: brain.DestHangup, FwdBusyDestID: "486", FwdNoanswerDestKind: brain.DestUser, FwdNoanswerDestID: "us_3"},
			{ID: "us_3", Username: "1003", DisplayName: "Desk", Status: brain.StatusActive},
		},
		Queues:      []brain.Queue{{ID: "q_1", Name: "sales", Strategy: "longest_idle", AgentRingTimeoutSec: 20, EWTAHTSec: 240, ServiceLevelSec: 20}},
		Assignments: []brain.AgentQueueAssignment{{ID: "aq_1", QueueID: "q_1", UserID: "us_1", TierLevel: 1, Mode: "static"}},
		Devices: []brain.SIPDevice{device("dev_1", "us_1", "1001", 0), device("dev_2", "us_2", "1002-desk", 1),
			device("dev_3", "us_2", "1002-mobile", 2), device("dev_4", "us_3", "1003", 0)},
	})}
}

// protocolExamples has the exchanges that docs/protocol.md shows, by name.
func protocolExamples(t *testing.T) map[string]string {
	t.Helper()
	mux := http.NewServeMux()
	live := examplePresence(t)
	ask := endpoint.New(acme(), live)
	ask.Register(mux)
	ask.RegisterQueues(mux, exampleQueues(t, live))
	brainAt := httptest.NewServer(mux)
	t.Cleanup(brainAt.Close)

	ex := map[string]string{}
	say := func(name, base, method, path, contentType, body string) {
		ex[name] = exchange(t, base, method, path, contentType, body)
	}
	const form = "application/x-www-form-urlencoded"
	say("auth", brainAt.URL, "POST", api.PathAuth, form, kamailioForm(t, "REGISTER", "secret-1001"))
	say("auth refused", brainAt.URL, "POST", api.PathAuth, form, kamailioForm(t, "REGISTER", "wrong"))
	say("route", brainAt.URL, "POST", api.PathRoute, form, kamailioForm(t, "INVITE", "secret-1001"))
	say("malformed", brainAt.URL, "POST", api.PathAuth, form, "call_id=1&colour=red")

	kept := &exampleSpool{}
	doorAt := startDoor(t, kept)
	exchange(t, doorAt, "POST", api.PathRoute, form, kamailioForm(t, "INVITE", "secret-1001")) // finds out that there is no brain
	say("fallback", doorAt, "POST", api.PathRoute, form, kamailioForm(t, "INVITE", "secret-1001"))
	say("events", doorAt, "POST", api.PathPresenceEvent, "text/plain", exampleEvents)
	if len(kept.batch.Events) != strings.Count(exampleEvents, "seq=") {
		t.Fatalf("the door took %d events of\n%s", len(kept.batch.Events), exampleEvents)
	}
	batch, err := json.Marshal(kept.batch)
	if err != nil {
		t.Fatal(err)
	}
	say("events of the door", brainAt.URL, "POST", api.PathPresenceEvent, "application/json", string(batch))
	say("calls", brainAt.URL, "GET", api.PathCalls, "", "")
	const of = "?account_id=acc_acme"
	say("dialogs", brainAt.URL, "POST", api.PathDialogs, "application/json", exampleReport)
	say("cac", brainAt.URL, "GET", api.PathCAC+of, "", "")
	say("presence", brainAt.URL, "GET", api.PathPresence+of, "", "")
	say("agent", brainAt.URL, "POST", api.PathAgent+of, "application/json", `{"user_id":"us_1","action":"break","reason":"lunch"}`)
	say("queues", brainAt.URL, "GET", api.PathQueues+of+"&queue_id=q_1&entries=true", "", "")
	say("claim", brainAt.URL, "POST", api.PathAgentClaim, "application/json", `{"account_id":"acc_acme","reservation_id":"cfs8l8v4n4","fence":459598684672001}`)
	say("cac reset", brainAt.URL, "POST", api.PathCACReset+of, "application/json", `{"all":true}`)
	return ex
}

// exampleReport lists the call that the example events tell of.
const exampleReport = `{"node":"node-1","boot":"1795307327","boot_ms":1795307327000,"seq":1795307320001,"taken_ms":1795307365000,"count":1,
"dialogs":[{"account_id":"acc_acme","token":"b2jk7zqy4xnd5tvw6msa","call_id":"3848276298220188511@192.0.2.10","from":"1001","to":"1002","since_ms":1795307361022}]}`

// examplePresence is the live state of one brain, with its journal in memory and its clock at the time of the examples.
func examplePresence(t *testing.T) *actor.Presence {
	t.Helper()
	memory := journal.NewMemory()
	host := actor.NewHost(func(ctx context.Context, shard int, epoch uint64, snapshot func([]byte, bool) error, record func([]byte) error) (actor.Log, error) {
		return memory.Shard(ctx, shard, epoch, journal.Loader{Snapshot: snapshot, Record: func(_ uint64, data []byte) error { return record(data) }})
	})
	host.Now = func() time.Time { return time.UnixMilli(1795307362000) }
	if err := host.Acquire(t.Context(), brain.ShardOf("acc_acme"), 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close(context.Background()) })
	return &actor.Presence{Live: &actor.Live{Host: host}}
}

// exampleQueues are the queues of the examples. No node is told anything.
func exampleQueues(t *testing.T, live *actor.Presence) *queue.Queues {
	t.Helper()
	q := queue.New(&actor.Desks{Live: live.Live}, func() brain.Directory { return acme() }, nil, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(q.Close)
	return q
}

// exchange asks and writes question and answer as they are; JSON is laid out for reading.
func exchange(t *testing.T, base, method, path, contentType, body string) string {
	t.Helper()
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	head := method + " " + path + "\n"
	req.Header.Set("Authorization", "Bearer sk_example")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
		head += "Content-Type: " + contentType + "\n"
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(head+"\n"+layOut(t, contentType, body)) + "\n\n→ " + resp.Status + "\n\n" + layOut(t, resp.Header.Get("Content-Type"), string(answer))
}

// layOut makes a body readable: JSON indented, a form with a line for each field.
func layOut(t *testing.T, contentType, body string) string {
	t.Helper()
	switch {
	case strings.Contains(contentType, "json"):
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(body), "", "  "); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		return strings.TrimSpace(b.String())
	case strings.Contains(contentType, "urlencoded"):
		return strings.ReplaceAll(body, "&", "\n&")
	}
	return strings.TrimSpace(body)
}

var (
	questionOfAll  = regexp.MustCompile(`(?s)route\[QUESTION\].*?\$_s\((.*?)\);\s`)
	questionOfCall = regexp.MustCompile(`\$var\(q\) = \$_s\(\$var\(q\)(.*?)\);\s`)
	formField      = regexp.MustCompile(`(?:^|&)([a-z_]+)=`)
)

// kamailioForm is a question of 1001 as the edge writes it: the fields, and their order, are read from kamailio-cfg.
func kamailioForm(t *testing.T, method, password string) string {
	t.Helper()
	template := cut(t, "auth.cfg", questionOfAll)
	uri, to := "sip:"+exampleDomain, "1001"
	if method == "INVITE" {
		template += cut(t, "call.cfg", questionOfCall)
		uri, to = "sip:1002@"+exampleDomain, "1002"
	}
	const nonce, cnonce, nc = "awI4imsCN16tsPzOQ9SCRc4M4NfZD9lbWTPivMA=", "26f5b120", "00000001"
	ha1 := md5Hex("1001:" + exampleDomain + ":" + password)
	values := map[string]string{
		"call_id": "3848276298220188511@192.0.2.10", "cseq": "2", "branch": "z9hG4bK776asdhds", "method": method,
		"source_ip": "192.0.2.10", "source_port": "5060", "transport": "udp", "node": "node-1", "user_agent": "Phone/4.2", "time_ms": "1795307358790", "transaction": "4821.1367098213",
		"auth_username": "1001", "auth_realm": exampleDomain, "auth_nonce": nonce, "auth_uri": uri,
		"auth_response":  md5Hex(strings.Join([]string{ha1, nonce, nc, cnonce, "auth", md5Hex(method + ":" + uri)}, ":")),
		"auth_algorithm": "MD5", "auth_cnonce": cnonce, "auth_nc": nc, "auth_qop": "auth",
		"from_user": "1001", "from_domain": exampleDomain, "from_name": "Anonymous", "to_user": to, "to_domain": exampleDomain,
		"ruri": "sip:1002@" + exampleDomain, "ruri_user": "1002", "ruri_domain": exampleDomain,
	}
	var pairs []string
	for _, field := range formField.FindAllStringSubmatch(template, -1) {
		value, known := values[field[1]]
		if !known {
			t.Fatalf("the edge sends %s: give it a value in the example", field[1])
		}
		pairs = append(pairs, field[1]+"="+urlencodeParam(value))
	}
	return strings.Join(pairs, "&")
}

func cut(t *testing.T, file string, re *regexp.Regexp) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(testFolder(t)), "kamailio-cfg", "route", file))
	if err != nil {
		t.Fatal(err)
	}
	found := re.FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s does not match %s any more", file, re)
	}
	return string(found[1])
}

func md5Hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

// urlencodeParam is Kamailio's {s.urlencode.param}.
func urlencodeParam(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c == '-' || c == '_' || c == '.' || c == '~' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// exampleEvents is a batch as kamailio-cfg/route/events.cfg posts it: 1001 registers and calls 1002.
const exampleEvents = `node=node-1&boot=1795307327
seq=1&time_ms=1795307358790&account_id=acc_acme&aor=sip%3a1001%40sip.acme.example&contact=sip%3a1001%40192.0.2.10%3a5060&source_ip=192.0.2.10&transport=udp&user_agent=Phone%2f4.2&call_id=4769-26088%40192.0.2.10&type=contact.saved&expires_sec=600
seq=2&time_ms=1795307361022&type=dialog.start&call_id=3848276298220188511%40192.0.2.10&account_id=acc_acme&token=b2jk7zqy4xnd5tvw6msa&from=1001&to=1002
`

// exampleSpool keeps the last batch.
type exampleSpool struct{ batch api.EventBatch }

func (s *exampleSpool) Append(node, boot string, events []api.Event) (int64, []api.Event, error) {
	s.batch = api.EventBatch{Node: node, Boot: boot, Events: events}
	return events[len(events)-1].Seq, events, nil
}

// startDoor starts a door whose brain is away.
func startDoor(t *testing.T, kept door.Spool) string {
	t.Helper()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := door.DefaultConfig()
	cfg.Brains, cfg.Spool, cfg.Log = []string{"http://" + nobody.Addr().String()}, kept, slog.New(slog.DiscardHandler)
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := door.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- d.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the door does not stop")
		}
	})
	return "http://" + ln.Addr().String()
}

func (b exampleBrain) NodeByName(string) *brain.Node { return nil }
func (b exampleBrain) ActiveNodes() int              { return 0 }

func (exampleBrain) ByDID(string) (*brain.AccountConfig, *brain.DID)               { return nil, nil }
func (exampleBrain) TrunkBySource(string) (*brain.AccountConfig, *brain.SIPTrunk)  { return nil, nil }
func (exampleBrain) TrunkByTLSName(string) (*brain.AccountConfig, *brain.SIPTrunk) { return nil, nil }
func (exampleBrain) TrunkSources() []string                                        { return nil }
func (exampleBrain) Nodes() []*brain.Node                                          { return nil }

package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
	"github.com/sipio/sipio/brain/session"
)

// server is an HTTPS server on loopback, and the options of a client that may ask it.
func server(t *testing.T, answer http.HandlerFunc) (*httptest.Server, ClientOptions) {
	t.Helper()
	s := httptest.NewTLSServer(answer)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, ClientOptions{CAFile: file, AllowNets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func newClient(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// reaching makes a desk whose flows' requests all end at the server.
func reaching(t *testing.T, d *desk, s *httptest.Server, o ClientOptions) {
	t.Helper()
	d.HTTP = newClient(t, o)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	d.HTTP.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"},
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "example.com"}}).DialContext(ctx, network, s.Listener.Addr().String())
		}}
}

func TestCalls_TheSameReportAtOnceIsCarriedOutOnce(t *testing.T) {
	// Proves that three equal reports at the same time lead to one request at the flow's server and to the same command, and that
	// the report again, later, does not ask the server any more.
	var asked atomic.Int64
	var keys sync.Map
	release := make(chan struct{})
	answer := sync.OnceFunc(func() { close(release) })
	s, o := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		keys.Store(r.Header.Get("Idempotency-Key"), true)
		<-release
		fmt.Fprint(w, `{"name":"Eve"}`)
	})
	defer answer()
	d := newDesk(t, nil)
	reaching(t, d, s, o)
	d.say(t, start("flow", "flow_1", nil))
	replies, errs := make([]api.FlowReply, 3), make([]error, 3)
	var all sync.WaitGroup
	for i := range replies {
		all.Go(func() {
			replies[i], errs[i] = d.Flow(t.Context(), ended(1, api.OutcomeDigits, map[string]string{"digits": "1"}))
		})
	}
	for deadline := time.Now().Add(5 * time.Second); d.repeated.Load() < 2 || asked.Load() < 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d joined, %d requests", d.repeated.Load(), asked.Load())
		}
	}
	answer()
	all.Wait()
	for i, r := range replies {
		if errs[i] != nil || r.Seq != 2 || len(r.Params.Files) != 1 || r.Params.Files[0].Key != "k/hello Eve" {
			t.Errorf("%d: %v %+v", i, errs[i], r)
		}
	}
	d.say(t, ended(1, api.OutcomeDigits, map[string]string{"digits": "1"}))
	if _, ok := keys.Load("t-2"); asked.Load() != 1 || !ok {
		t.Errorf("%d requests; want one with key t-2", asked.Load())
	}
}

func TestCalls_EffectsComeBeforeTheReply(t *testing.T) {
	// Proves that a message is kept and told of before the node hears the next command, that a box which is away for now makes the
	// question fail until it is back, and that one which refuses for good does not hold the call up.
	d := newDesk(t, nil)
	d.say(t, start("voicemail", "vm_1", nil))
	key := d.say(t, ended(1, api.OutcomeDone, nil)).Params.Key
	said := ended(2, api.OutcomeRecorded, map[string]string{"key": key, "duration_ms": "5000", "bytes": "80000", "sha256": "ab"})
	d.box.fail = brain.Errorf(brain.EUnavailable, "later")
	for range 2 {
		if _, err := d.Flow(t.Context(), said); brain.CodeOf(err) != brain.EUnavailable {
			t.Fatalf("while the box is away: %v", err)
		}
	}
	d.box.fail = nil
	if r := d.say(t, said); r.Seq != 3 || len(d.box.messages) != 1 || len(d.box.told) != 1 || d.box.messages[d.box.told[0]].ObjectKey != key {
		t.Errorf("seq %d, kept %v, told %v", r.Seq, d.box.messages, d.box.told)
	}
	d.box.fail = errors.New("a fault of the moment")
	if _, err := d.Flow(t.Context(), said); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("with a fault that may pass: %v", err)
	}
	d.box.fail = brain.Errorf(brain.EInvalid, "no such mailbox")
	if r := d.say(t, said); r.Seq != 3 || !strings.Contains(d.log.String(), "no such mailbox") {
		t.Errorf("a box that refuses: seq %d\n%s", r.Seq, d.log)
	}
}

func TestCalls_AKillBetweenJournalAndEffectLosesNoMessage(t *testing.T) {
	// Proves at-least-once with one id: the brain dies after the journal took the message and before the box did. Asked again, the
	// next brain stores it; with nobody to ask again its sweep does. Both store it under the same id, and are then done.
	d := newDesk(t, nil)
	d.say(t, start("voicemail", "vm_1", nil))
	key := d.say(t, ended(1, api.OutcomeDone, nil)).Params.Key
	hangup := ended(2, api.OutcomeHangup, map[string]string{"key": key, "duration_ms": "5000", "bytes": "80000", "sha256": "ab"})
	if _, err := d.owner.Step(t.Context(), "acc_1", "t", &session.Request{Flow: hangup}); err != nil {
		t.Fatal(err)
	}
	again, swept := newDesk(t, d.owner.killed(t)), newDesk(t, d.owner.killed(t))
	if r := again.say(t, hangup); r.Command != api.CommandNoop || len(again.box.messages) != 1 {
		t.Errorf("asked again: %s, %v", r.Command, again.box.messages)
	}
	swept.Sweep(t.Context())
	if len(swept.box.messages) != 0 {
		t.Error("swept while the node may still ask")
	}
	swept.owner.nowMS += 20_000
	swept.box.fail = brain.Errorf(brain.EUnavailable, "later")
	swept.Sweep(t.Context())
	swept.box.fail = nil
	for range 2 {
		swept.Sweep(t.Context())
	}
	if len(swept.box.messages) != 1 || swept.box.asked != 2 {
		t.Errorf("swept: %v, asked %d times", swept.box.messages, swept.box.asked)
	}
	for id := range again.box.messages {
		if swept.box.messages[id] == nil {
			t.Errorf("message %s has another id after the sweep", id)
		}
	}
	if late := again.owner.Late(t.Context()); len(late) > 0 {
		t.Errorf("still late: %v", late)
	}
}

func TestCalls_MenuGoesOnAfterAKill(t *testing.T) {
	// Proves that the node gets the very command again from the brain that read the journal, with its files.
	d := newDesk(t, nil)
	want := d.say(t, start("flow", "flow_1", nil))
	next := newDesk(t, d.owner.killed(t))
	for _, q := range []*api.FlowRequest{start("flow", "flow_1", nil), ended(0, "", nil)} {
		if got := next.say(t, q); fmt.Sprint(got) != fmt.Sprint(want) || got.Command != api.CommandGather || len(got.Params.Files) != 1 {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestCalls_PINsAreCheckedAndStandInNoRecord(t *testing.T) {
	// Proves that the right PIN opens the box and that neither journal nor log holds its digits, right or wrong; and that marks and
	// deletions reach the box.
	d := newDesk(t, nil)
	d.say(t, start("voicemail", "", map[string]string{"action": "retrieve", "caller_user_id": "us_1"}))
	d.say(t, ended(1, api.OutcomeDigits, map[string]string{"digits": "777888"}))
	d.say(t, ended(2, api.OutcomeDigits, map[string]string{"digits": "975310"}))
	if r := d.say(t, ended(3, api.OutcomeDone, nil)); r.Command != api.CommandGather || len(r.Params.Files) != 5 {
		t.Fatalf("behind the PIN: %+v", r)
	}
	d.say(t, ended(4, api.OutcomeDigits, map[string]string{"digits": "2"}))
	if len(d.box.read) != 1 || d.box.read[0] != "msg_1" {
		t.Errorf("marked: %v", d.box.read)
	}
	for _, e := range d.owner.journal {
		if strings.Contains(string(e.op), "975310") || strings.Contains(string(e.op), "777888") {
			t.Errorf("the journal holds a PIN: %s", e.op)
		}
	}
	if strings.Contains(d.log.String(), "777888") || strings.Contains(d.log.String(), "975310") {
		t.Errorf("the log holds a PIN:\n%s", d.log)
	}
}

func TestCalls_AnswerWhatCannotBeAnsweredByCode(t *testing.T) {
	// Proves the codes that the endpoint turns into statuses.
	d := newDesk(t, nil)
	if _, err := d.Flow(t.Context(), ended(3, api.OutcomeDone, nil)); brain.CodeOf(err) != brain.ENotFound {
		t.Errorf("an unknown session: %v", err)
	}
	if _, err := d.Flow(t.Context(), start("flow", "flow_1", map[string]string{"a": strings.Repeat("a", session.MaxValue+1)})); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("too long a variable: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Flow(gone, start("flow", "flow_1", nil)); err != nil && brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("an asker who has gone: %v", err)
	}
	if err := d.Alive(t.Context(), &api.FlowAlive{Node: "n", Calls: []api.AliveCall{{AccountID: "acc_1", Token: "t"}}}); err != nil || len(d.owner.renewed) != 1 {
		t.Errorf("alive: %v, renewed %v", err, d.owner.renewed)
	}
}

func TestCalls_ASoundThatIsMissingIsLeftOut(t *testing.T) {
	// Proves that a prompt nobody has does not keep the call from the rest of the announcement.
	d := newDesk(t, nil)
	r := d.say(t, start("voicemail", "vm_1", nil))
	if len(r.Params.Files) != 1 || r.Params.Files[0].Key != "k/vm-greeting" || !strings.Contains(d.log.String(), "a sound is left out") {
		t.Errorf("files %v\n%s", r.Params.Files, d.log)
	}
}

func TestEnv_PublishedFlowsAreCompiledOnceAndWithoutTheEditor(t *testing.T) {
	// Proves that a row is compiled once, a draft and a broken graph are no flow, an unknown account has no environment, and that
	// what an editor draws is not in the source that rides in a journal.
	d := newDesk(t, nil)
	env := d.Env("acc_1")
	f := env.Flow("flow_1")
	if f == nil || f.Version != 2 || f != d.Env("acc_1").Flow("flow_1") || strings.Contains(string(f.Source), "position") {
		t.Errorf("flow_1 is %+v", f)
	}
	if env.Flow("flow_draft") != nil || env.Flow("flow_broken") != nil || env.Flow("none") != nil || d.Env("acc_2") != nil {
		t.Error("what is no flow, or no account, is one")
	}
	if got := env.Hours("none", 0); got != "in_hours" {
		t.Errorf("a schedule that is not there is %s", got)
	}
}

func TestClient_ReachesOnlyWhatFlowsMay(t *testing.T) {
	// Proves the guard on addresses: names that lead inside and every kind of special address are refused unless allowed.
	for _, address := range []string{"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
		"::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::"} {
		if err := mayReach(netip.AddrPortFrom(netip.MustParseAddr(address), 443).String(), nil); !errors.Is(err, errAddress) {
			t.Errorf("%s may be reached", address)
		}
		allowed := []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(address).Unmap(), netip.MustParseAddr(address).Unmap().BitLen())}
		if err := mayReach(netip.AddrPortFrom(netip.MustParseAddr(address), 443).String(), allowed); err != nil {
			t.Errorf("%s is allowed: %v", address, err)
		}
	}
	for _, address := range []string{"192.0.2.1:443", "8.8.8.8:443", "[2606:4700::1]:443"} {
		if err := mayReach(address, nil); err != nil {
			t.Error(err)
		}
	}
	s, o := server(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
	o.AllowNets = nil
	if outcome, data := newClient(t, o).Do(t.Context(), &flow.HTTPCall{Method: "GET", URL: s.URL}, "acc_1", "k"); outcome != flow.HTTPError || !strings.Contains(data["reason"], "may reach") {
		t.Errorf("loopback: %s %v", outcome, data)
	}
}

func TestClient_IsBounded(t *testing.T) {
	// Proves each bound and rule of a request against a real HTTPS server: status, size, encoding, time, redirects, scheme, secrets.
	done := make(chan struct{})
	s, o := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"))
		case "/500":
			http.Error(w, "no", http.StatusInternalServerError)
		case "/long":
			fmt.Fprint(w, strings.Repeat("a", maxAnswer+1))
		case "/full":
			fmt.Fprint(w, strings.Repeat("a", maxAnswer))
		case "/bytes":
			_, _ = w.Write([]byte{0xff, 0xfe})
		case "/slow":
			<-done
		case "/here":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "https://192.0.2.1/", http.StatusFound)
		case "/plain":
			http.Redirect(w, r, "http://"+r.Host+"/ok", http.StatusFound)
		case "/ring":
			http.Redirect(w, r, "/ring", http.StatusFound)
		}
	})
	defer close(done)
	o.Secret = func(account, ref string) (string, error) {
		switch ref {
		case "crm":
			return account + "/" + ref, nil
		case "lines":
			return "s3cret\r\nX: y", nil
		case "long":
			return strings.Repeat("s3cret", 1000), nil
		}
		return "", errors.New("/etc/key is missing")
	}
	c := newClient(t, o)
	for _, row := range []struct{ path, secret, outcome, part string }{
		{"/ok", "", flow.HTTPSuccess, "GET  key"}, {"/ok", "crm", flow.HTTPSuccess, "GET Bearer acc_1/crm key"}, {"/ok", "none", flow.HTTPError, "no secret"},
		{"/ok", "lines", flow.HTTPError, "is no token"}, {"/ok", "long", flow.HTTPError, "is no token"},
		{"/500", "", flow.HTTPError, "500"}, {"/long", "", flow.HTTPError, "longer than"}, {"/full", "", flow.HTTPSuccess, "200"}, {"/bytes", "", flow.HTTPError, "UTF-8"},
		{"/slow", "", flow.HTTPTimeout, ""}, {"/here", "", flow.HTTPSuccess, "GET"}, {"/away", "", flow.HTTPError, "redirected"}, {"/plain", "", flow.HTTPError, "redirected"},
		{"/ring", "", flow.HTTPError, "redirected"},
	} {
		timeoutMS := 0 // as long as there is
		if row.path == "/slow" {
			timeoutMS = 300
		}
		outcome, data := c.Do(t.Context(), &flow.HTTPCall{Method: "GET", URL: s.URL + row.path, TimeoutMS: timeoutMS, SecretRef: row.secret}, "acc_1", "key")
		if outcome != row.outcome || !strings.Contains(data["status"]+data["reason"]+data["body"], row.part) {
			t.Errorf("%s %s: %s %.100v; want %s %s", row.path, row.secret, outcome, data, row.outcome, row.part)
		}
		if text := fmt.Sprint(data); strings.Contains(text, "s3cret") || strings.Contains(text, "/etc/key") {
			t.Errorf("%s %s shows too much: %.100s", row.path, row.secret, text)
		}
	}
	for _, url := range []string{"http" + strings.TrimPrefix(s.URL, "https"), "https://", "file:///etc/passwd", "https://user:pw@example.com/", "%"} {
		if outcome, data := c.Do(t.Context(), &flow.HTTPCall{Method: "GET", URL: url}, "acc_1", "k"); outcome != flow.HTTPError || !strings.Contains(data["reason"], "https://host") {
			t.Errorf("%s: %s %v", url, outcome, data)
		}
	}
	o.CAFile = filepath.Join(t.TempDir(), "none")
	if _, err := NewClient(o); err == nil {
		t.Error("certificates that are not there are no error")
	}
}

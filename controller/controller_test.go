package controller

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// running is a brain started by Run on ports that the system chose.
type running struct {
	Config
	addrs  Addrs
	admin  string // the first key
	log    *safeBuffer
	stop   func()
	ended  chan error
	states *safeBuffer // what the service manager was told
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a brain in a data folder until the test ends.
func start(t *testing.T, dir string, change ...func(*Config)) *running {
	t.Helper()
	r := &running{log: &safeBuffer{}, states: &safeBuffer{}, ended: make(chan error, 1)}
	ready := make(chan Addrs, 1)
	r.Config = DefaultConfig()
	r.DataDir, r.Listen, r.LogDecisions = dir, "127.0.0.1:0", true
	r.Log = slog.New(slog.NewTextHandler(r.log, nil))
	r.Ready = func(a Addrs) { ready <- a }
	r.Notify = func(state string) error { _, err := fmt.Fprintln(r.states, state); return err }
	for _, f := range change {
		f(&r.Config)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.ended <- Run(ctx, r.Config) }()
	select {
	case r.addrs = <-ready:
	case err := <-r.ended:
		t.Fatalf("the brain did not start: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the brain is not ready")
	}
	t.Cleanup(func() { cancel(); r.wait(t) })
	if key, err := os.ReadFile(filepath.Join(dir, adminKeyFile)); err == nil {
		r.admin = strings.TrimSpace(string(key))
	}
	return r
}

// wait waits for the end of Run, which must be without an error.
func (r *running) wait(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("Run ended with %v", err)
		}
		r.ended <- nil // for the next to wait
	case <-time.After(drainTime + 5*time.Second):
		t.Fatal("Run does not end")
	}
}

// call sends a request with the admin key and decodes the JSON of the answer into out, if that is set.
func (r *running) call(t *testing.T, method, path, contentType, body string, out any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addrs.Plain+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.admin)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s %s: %d %s: %v", method, path, res.StatusCode, text, err)
		}
	}
	if res.StatusCode >= 400 {
		t.Logf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	return res.StatusCode
}

// create makes a resource through /v1 and returns its id.
func (r *running) create(t *testing.T, path, body string) string {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	if status := r.call(t, "POST", path, "application/json", body, &made); status != http.StatusCreated || made.ID == "" {
		t.Fatalf("POST %s: %d", path, status)
	}
	return made.ID
}

func (r *running) ask(t *testing.T, path string, v url.Values, out any) {
	t.Helper()
	if status := r.call(t, "POST", path, "application/x-www-form-urlencoded", v.Encode(), out); status != 200 {
		t.Fatalf("POST %s: %d", path, status)
	}
}

func digest(method, user, password string) url.Values {
	sum := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	ha1, ha2 := sum(user+":example.com:"+password), sum(method+":sip:example.com")
	return url.Values{"method": {method}, "call_id": {"c1"}, "cseq": {"1"}, "branch": {"z9hG4bK1"}, "transport": {"udp"},
		"auth_username": {user}, "auth_realm": {"example.com"}, "auth_nonce": {"n"}, "auth_uri": {"sip:example.com"},
		"auth_nc": {"00000001"}, "auth_cnonce": {"c"}, "auth_qop": {"auth"},
		"auth_response": {sum(ha1 + ":n:00000001:c:auth:" + ha2)}, "to_user": {user}, "to_domain": {"example.com"}}
}

// One account with a user 1001 and 1002 and a phone each; returns the device id of 1001's.
func (r *running) furnish(t *testing.T) (account, device string) {
	t.Helper()
	account = r.create(t, "/v1/accounts", `{"name":"one"}`)
	of := "?account_id=" + account
	r.create(t, "/v1/sip_domains"+of, `{"domain":"example.com","is_primary":true}`)
	for _, n := range []string{"1002", "1001"} {
		user := r.create(t, "/v1/sip_users"+of, `{"username":"`+n+`"}`)
		device = r.create(t, "/v1/sip_devices"+of, `{"user_id":"`+user+`","auth_username":"`+n+`","realm":"example.com","password":"secret-`+n+`"}`)
	}
	return account, device
}

// From nothing to decisions, over the network and the real store: the first key makes an account through
// /v1, its phone registers and calls, a changed password holds from the next question on without a
// restart, and a second start finds everything, the key too.
func TestRun_AnswersFromWhatTheAPIWrote(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	account, device := r.furnish(t)

	var auth api.AuthReply
	r.ask(t, api.PathAuth, digest("REGISTER", "1001", "secret-1001"), &auth)
	if auth.Action != api.ActionAccept || auth.AccountID != account || auth.DeviceID != device || auth.AOR != "sip:1001@example.com" {
		t.Errorf("the right password got %+v", auth)
	}
	auth = api.AuthReply{}
	r.ask(t, api.PathAuth, digest("REGISTER", "1001", "guess"), &auth)
	if auth.Action != api.ActionReject || auth.SIPCode != 403 {
		t.Errorf("a wrong password got %+v", auth)
	}

	call := digest("INVITE", "1001", "secret-1001")
	call.Set("ruri_user", "1002")
	call.Set("ruri_domain", "example.com")
	var route api.RouteReply
	r.ask(t, api.PathRoute, call, &route)
	if d := route.RTJSON; d.Action != api.ActionProxy || len(d.Routes) == 0 || d.Routes[0].URI != "sip:1002@example.com" {
		t.Errorf("1002 was dialed, got %+v", d)
	}

	if status := r.call(t, "PATCH", "/v1/sip_devices/"+device+"?account_id="+account, "application/json", `{"password":"changed"}`, nil); status != 200 {
		t.Fatalf("PATCH: %d", status)
	}
	auth = api.AuthReply{}
	r.ask(t, api.PathAuth, digest("REGISTER", "1001", "secret-1001"), &auth)
	if auth.Action != api.ActionReject {
		t.Errorf("the old password got %+v", auth)
	}
	r.ask(t, api.PathAuth, digest("REGISTER", "1001", "changed"), &auth)
	if auth.Action != api.ActionAccept {
		t.Errorf("the new password got %+v", auth)
	}

	r.stop()
	r.wait(t)
	again := start(t, dir)
	if again.admin != r.admin {
		t.Error("the second start made another key")
	}
	auth = api.AuthReply{}
	again.ask(t, api.PathAuth, digest("REGISTER", "1001", "changed"), &auth)
	if auth.Action != api.ActionAccept {
		t.Errorf("after a restart: %+v", auth)
	}
}

// Events become live calls that GET /calls shows, through the real actors.
func TestRun_ShowsTheCallsThatEventsTold(t *testing.T) {
	r := start(t, t.TempDir())
	account, _ := r.furnish(t)
	now := time.Now().UnixMilli()
	batch := api.EventBatch{Node: "edge1", Boot: "1", Events: []api.Event{
		{Seq: 1, TimeMS: now, Type: api.EventDialogStart, AccountID: account, CallID: "c1", Token: "t1", From: "sip:1001@example.com", To: "sip:1002@example.com"},
		{Seq: 2, TimeMS: now + 1, Type: api.EventDialogStart, AccountID: account, CallID: "c2", Token: "t2"},
		{Seq: 3, TimeMS: now + 2, Type: api.EventDialogEnd, AccountID: account, CallID: "c2", Token: "t2"}}}
	body, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more is harmless
		var reply api.EventReply
		if status := r.call(t, "POST", api.PathPresenceEvent, "application/json", string(body), &reply); status != 200 || reply.LastSeq != 3 {
			t.Fatalf("%d %+v", status, reply)
		}
	}
	var list api.CallList
	if status := r.call(t, "GET", api.PathCalls, "", "", &list); status != 200 || len(list.Calls) != 1 || list.Calls[0].CallID != "c1" || list.Calls[0].AccountID != account {
		t.Errorf("%d %+v", status, list)
	}
}

// The first key lies in a file of the process's own, and neither it nor any digest is in the log; a
// decision's line is.
func TestRun_KeepsSecretsOutOfTheLog(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	info, err := os.Stat(filepath.Join(dir, adminKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	v := digest("REGISTER", "1001", "x")
	var auth api.AuthReply
	r.ask(t, api.PathAuth, v, &auth)
	log := r.log.String()
	if !strings.Contains(log, adminKeyFile) || !strings.Contains(log, "what=auth") {
		t.Errorf("the log misses something:\n%s", log)
	}
	for _, secret := range []string{r.admin, strings.TrimPrefix(r.admin, "sk_"), v.Get("auth_response")} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// A question that is being answered when the process is told to end still gets its answer; then Run
// returns nil, and the service manager has heard of both.
func TestRun_EndsGracefully(t *testing.T) {
	r := start(t, t.TempDir(), func(c *Config) { c.WatchdogEvery = 200 * time.Millisecond })
	conn, err := net.Dial("tcp", r.addrs.Plain)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := digest("REGISTER", "1001", "x").Encode()
	fmt.Fprintf(conn, "POST /auth HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		r.admin, len(body), body[:10])
	fed := strings.Count(r.states.String(), "WATCHDOG=1") // by now; each time behind the question, which the brain has then
	eventually(t, "the watchdog is fed twice more", func() bool { return strings.Count(r.states.String(), "WATCHDOG=1") >= fed+2 })
	r.stop()
	eventually(t, "no new questions are taken", func() bool {
		c, err := net.Dial("tcp", r.addrs.Plain)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(conn, body[10:]); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), "403") || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("the question in flight got %q, %v", answer, err)
	}
	r.wait(t)
	if s := r.states.String(); strings.ReplaceAll(s, "WATCHDOG=1\n", "") != "READY=1\nSTOPPING=1\n" {
		t.Errorf("the service manager heard %q", s)
	}
}

// eventually waits for something that shows itself to nobody else, with a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	// sleep: between two looks at what only the network shows
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// With a certificate the same endpoints answer on HTTPS with HTTP/2.
func TestRun_AnswersHTTP2OverTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := certificate(t, dir)
	r := start(t, dir, func(c *Config) {
		c.Listen, c.TLSListen, c.TLSCertFile, c.TLSKeyFile = "", "127.0.0.1:0", cert, key
		c.WatchdogEvery = time.Minute
	})
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	res, err := client.Get("https://" + r.addrs.TLS + api.PathHealth)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 || r.addrs.Plain != "" {
		t.Errorf("%s %s, plain on %q", res.Proto, res.Status, r.addrs.Plain)
	}
	eventually(t, "the watchdog is fed over TLS", func() bool { return strings.Contains(r.states.String(), "WATCHDOG=1") })
	client.CloseIdleConnections()
}

func certificate(t *testing.T, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, pool
}

// What keeps a brain from answering is an error of the start that names its setting.
func TestRun_SaysWhatKeepsItFromStarting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"listen: ":       func(c *Config) { c.Listen = taken.Addr().String() },
		"data-dir: ":     func(c *Config) { c.DataDir = file },
		"tls-cert-file ": func(c *Config) { c.TLSListen, c.TLSCertFile, c.TLSKeyFile = "127.0.0.1:0", file, file },
		"settings: ":     func(c *Config) { c.Listen = "0.0.0.0:0" },
	} {
		c := DefaultConfig()
		c.DataDir, c.Listen, c.Log = t.TempDir(), "127.0.0.1:0", slog.New(slog.DiscardHandler)
		c.Ready = func(Addrs) { t.Errorf("%s: it started", want) }
		change(&c)
		if err := Run(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
}

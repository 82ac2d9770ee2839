package scenario

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/canary.yaml
var vault string

// echoServer wants tokens, and answers with all that it was sent: the worst neighbour that a secret can be shown to.
type echoServer struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]http.Header // the last request of each path
}

func newEchoServer(t *testing.T) *echoServer {
	s := &echoServer{seen: map[string]http.Header{}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *echoServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	s.seen[r.URL.Path] = r.Header.Clone()
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/speech" && !strings.Contains(r.URL.RawQuery, "Broken"):
		_, _ = io.WriteString(w, wav(440, 300*time.Millisecond))
		return
	case r.URL.Path != "/customer":
		w.WriteHeader(http.StatusForbidden)
	}
	_ = json.NewEncoder(w).Encode(struct {
		Secret, Token, Tier, Body string
	}{r.Header.Get("CF-Access-Client-Secret"), r.Header.Get("Authorization"), "gold", string(text)})
}

// had is a header of the last request of a path.
func (s *echoServer) had(path, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[path].Get(name)
}

// secretsHeld is a running edge that holds a canary wherever a secret can be, with all that it has ever answered.
type secretsHeld struct {
	*edge.Edge
	canaries
	t       *testing.T
	own     canaries // what the platform made of secrets: it may be in the database, and nowhere else
	account string
	alpha   *carrier
	echo    *echoServer

	beacons map[string]string // what must be found in a file, by how its name begins

	mu      sync.Mutex
	answers map[string][]byte
}

// fresh is a new secret in two parts; some of what is between them is written differently in every language.
func fresh() string { return strings.ToUpper(hexOf(8)) + `&` + hexOf(8) }

func hexOf(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// freshPIN is a new PIN of twelve digits.
func freshPIN() string {
	n, _ := rand.Int(rand.Reader, big.NewInt(9e11))
	return fmt.Sprint(n.Int64() + 1e11)
}

// newSecretsHeld starts an edge whose daemons log all they can, and plants the canaries.
func newSecretsHeld(t *testing.T) *secretsHeld {
	t.Helper()
	h := &secretsHeld{t: t, own: canaries{}, answers: map[string][]byte{}, alpha: newCarrier(t, "alpha"), echo: newEchoServer(t)}
	h.canaries = canaries{"SIPPASSWORD": fresh(), "SECONDPASSWORD": fresh(), "TRUNKPASSWORD": fresh(), "HOOKTOKEN": fresh(),
		"BOXPIN": freshPIN(), "ROOMPIN": freshPIN(), "CHAIRPIN": freshPIN(),
		"speech key": fresh(), "agent token": fresh(), "far token": fresh(), "access secret": fresh(), "user password": fresh(), "wrong password": fresh(), "wrong PIN": freshPIN()}
	var places []string
	for name, secret := range h.canaries {
		places = append(places, name, secret)
	}
	places = append(places, "ALPHA", h.alpha.address(), "HOOK", strings.TrimPrefix(h.echo.URL, "https://"))
	keys := t.TempDir() // as systemd's credentials: beside the folder that is searched
	file := func(name, text string) string {
		path := filepath.Join(keys, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.echo.Certificate().Raw})))
	t.Setenv("SSL_CERT_FILE", ca) // the speech server and the tunnel are known by the system's authorities
	h.Edge = start(t, edge.Options{Dir: t.TempDir(), Config: strings.NewReplacer(places...).Replace(vault), LogDecisions: true, Media: true, Debug: true, Children: 8,
		NodeFlags: []string{"--survival-refresh=500ms", "--heartbeat-interval=500ms", "--op-key-file=" + file("agent.token", h.canaries["agent token"])},
		BrainFlags: []string{"--flow-ca-file=" + ca, "--flow-allow-nets=127.0.0.0/8", "--speech-languages=en,en-us", "--speech-key-file=" + file("speech.key", h.canaries["speech key"]),
			"--speech-url=" + h.echo.URL + "/speech?text={{query .Text}}"}})
	ctx := within(t, 60*time.Second)
	var err error
	if h.account, err = h.AccountID(ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	h.plantMore(ctx)
	return h
}

// plantMore plants what is not in the document: keys, console users and the secrets of nodes.
func (h *secretsHeld) plantMore(ctx context.Context) {
	h.t.Helper()
	var made struct{ Key, Token string }
	h.must(ctx, 201, "POST", "/v1/api_keys?account_id="+h.account, map[string]any{"name": "canary", "scopes": []string{"config:read", "calls:read"}}, &made)
	h.canaries["API key"] = made.Key
	user := map[string]any{"email": "beacon@beacon.test", "role": "admin", "password": h.canaries["user password"]}
	h.must(ctx, 201, "POST", "/v1/console_users", user, nil)
	login := map[string]any{"email": "beacon@beacon.test", "password": h.canaries["wrong password"]}
	h.must(ctx, 401, "POST", "/v1/login", login, nil)
	login["password"] = h.canaries["user password"]
	h.must(ctx, 200, "POST", "/v1/login", login, &made)
	h.canaries["JWT"] = made.Token[strings.LastIndexByte(made.Token, '.')+1:]
	h.must(ctx, 201, "POST", "/v1/nodes", map[string]any{"name": "far", "reach": "cloudflared", "agent_url": h.echo.URL, "access_client_id": "far.access",
		"access_client_secret": h.canaries["access secret"], "agent_token": h.canaries["far token"]}, nil)
	for _, row := range h.list(ctx, "/v1/nodes?limit=500") {
		if row["name"] == "node-1" {
			h.must(ctx, 200, "PATCH", "/v1/nodes/"+row["id"].(string), map[string]any{"agent_token": h.canaries["agent token"]}, nil)
		}
	}
	ha1 := "7001:beacon.test:" + h.canaries["SIPPASSWORD"]
	short, long := md5.Sum([]byte(ha1)), sha256.Sum256([]byte(ha1))
	h.own["HA1, MD5"], h.own["HA1, SHA-256"] = hex.EncodeToString(short[:]), hex.EncodeToString(long[:])
	h.readAll(ctx, "the JWT", made.Token)
	h.readAll(ctx, "the API key", h.canaries["API key"])
}

// Proves that no secret can be read anywhere but where it belongs. Canaries are planted in every place that takes one and used on the
// real edge, right and wrong: phones register, a carrier challenges, PINs are pressed, a flow shows its token to a server that answers
// with it, so does the server of speech and the tunnel of a node, a user logs in. Meanwhile everything is asked, also wrongly; then
// the processes are killed as they are, and every byte that they have answered, logged and written is searched, as it is and encoded.
// In each place something that must be there is found in the same way.
func TestCanary_SecretsAreNowhereInPlainText(t *testing.T) {
	h := newSecretsHeld(t)
	ctx := within(t, 180*time.Second)
	unwatch := h.watch(ctx)
	live, other := h.useSIP(ctx)
	h.useMedia(ctx)
	h.useNodes(ctx)
	h.mistakes(ctx)
	h.readAll(ctx, "the platform's key", h.AdminKey)
	h.commands(ctx)
	unwatch()
	eventually(t, ctx, "the survival file", func() error { _, err := os.Stat(h.survivalFile()); return err })
	h.processes()
	if err := h.Brain.Kill(); err != nil { // what is in the write-ahead log stays there
		t.Fatal(err)
	}
	_ = live.Bye(ctx) // and the spool has something in it
	<-other.Done()
	if err := h.Node.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*edge.Proc{h.Kamailio, h.Media, h.RTPEngine} {
		p.Stop()
	}
	h.searchAnswers()
	h.searchFiles()
	h.settings()
}

// useSIP registers both phones, one with a wrong password first, calls over the trunk, which challenges, and leaves a call up.
func (h *secretsHeld) useSIP(ctx context.Context) (live, other *phone.Call) {
	h.t.Helper()
	caller := h.phone("7001", "SIPPASSWORD")
	wrong := h.phone("7001", "wrong password")
	if resp, err := wrong.Register(ctx, time.Minute); err == nil && resp.Code == 200 {
		h.t.Fatal("a phone with a wrong password is registered")
	}
	for _, p := range []*phone.Phone{caller, h.phone("7002", "SECONDPASSWORD")} {
		if resp, err := p.Register(ctx, 10*time.Minute); err != nil || resp.Code != 200 {
			h.t.Fatalf("register: %v %v", resp, err)
		}
	}
	h.alpha.now(challenges("wrong", "MD5"))
	refused(h.t, ctx, caller, "0305551234", 403, 480, 500, 502, 503)
	h.alpha.now(challenges(h.canaries["TRUNKPASSWORD"], "SHA-256"))
	live, err := caller.Call(ctx, "0305551234")
	if err != nil {
		h.t.Fatalf("over the trunk: %v", err)
	}
	for _, in := range h.alpha.calls() {
		h.keep("what the carrier was sent", []byte(in.InviteRequest()))
	}
	var ids []string
	eventually(h.t, ctx, "the call at the brain", func() (err error) {
		if ids, err = h.LiveCalls(ctx); err == nil && len(ids) != 1 {
			err = fmt.Errorf("there are %v", ids)
		}
		return err
	})
	h.beacons = map[string]string{"brain.log": beacon, "node.log": "node agent answers", "kamailio.log": beacon, "rtpengine.log": ids[0], "media.log": "fsim ready",
		"database": beacon, "brain/config.db-wal": beacon, "location.db": beacon, "spool/0000000000000001.seg": beacon,
		stream("AUDIT"): "beacon@beacon.test", stream("CONFIG"): "hook-token", stream("JOURNAL_"): beacon}
	return live, <-h.alpha.up
}

// stream is where a stream of the brain's journal is.
func stream(name string) string { return "brain/journal/jetstream/$G/streams/" + name }

// phone is a phone of the account.
func (h *secretsHeld) phone(user, password string) *phone.Phone {
	return newPhone(h.t, h.Edge, user, func(c *phone.Config) { c.Password, c.Domain = h.canaries[password], "beacon.test" })
}

// useMedia opens mailbox and conference by their PINs, one wrong PIN before, and has flows speak and show their token.
func (h *secretsHeld) useMedia(ctx context.Context) {
	t := h.t
	t.Helper()
	caller, owner := h.phone("7001", "SIPPASSWORD"), h.phone("7002", "SECONDPASSWORD")
	c := dialUp(t, ctx, caller, "750")
	speak(t, ctx, c, 3*time.Second)
	_ = c.Bye(ctx)
	arrived(t, ctx, h.Edge, "box", 1)

	c = dialUp(t, ctx, owner, "*97")
	speech(t, ctx, c, 200*time.Millisecond, "the question for the PIN")
	pressed(t, c, h.canaries["wrong PIN"]+"#")
	speech(t, ctx, c, 200*time.Millisecond, "that the PIN is wrong")
	if err := c.HearSilence(ctx, time.Second); err != nil {
		t.Fatal(err)
	}
	pressed(t, c, h.canaries["BOXPIN"]+"#")
	speech(t, ctx, c, 500*time.Millisecond, "the message")
	_ = c.Bye(ctx)

	c = dialUp(t, ctx, caller, "751")
	speech(t, ctx, c, 200*time.Millisecond, "the question for the PIN")
	presser(t, ctx, c, "info")(h.canaries["ROOMPIN"] + "#")
	chair := dialUp(t, ctx, owner, "751")
	speech(t, ctx, chair, 200*time.Millisecond, "the question for the PIN")
	presser(t, ctx, chair, "events")(h.canaries["CHAIRPIN"] + "#")
	gathered(t, ctx, h.Edge, "meeting", 2)
	h.readAll(ctx, "with a conference, the platform's key", h.AdminKey)
	_, _ = c.Bye(ctx), chair.Bye(ctx)

	for _, number := range []string{"701", "702"} {
		c = dialUp(t, ctx, caller, number)
		h.readAll(ctx, "in flow "+number+", the platform's key", h.AdminKey)
		ended(t, ctx, c)
	}
	for path, secret := range map[string]string{"/customer": "HOOKTOKEN", "/broken": "HOOKTOKEN", "/speech": "speech key"} {
		if got := h.echo.had(path, "Authorization"); got != "Bearer "+h.canaries[secret] {
			t.Errorf("%s was shown %q", path, got)
		}
	}
}

// useNodes has an order pushed to every node: the one beside us carries it out, the tunnel of the other answers with its tokens.
func (h *secretsHeld) useNodes(ctx context.Context) {
	h.t.Helper()
	var reply struct {
		Nodes []struct {
			Node string
			OK   bool
		}
	}
	h.must(ctx, 200, "POST", "/security/bans", map[string]any{"addr": "203.0.113.7", "for_sec": 600, "why": "canary"}, &reply)
	if got := fmt.Sprint(reply.Nodes); !strings.Contains(got, "{node-1 true}") || !strings.Contains(got, "{far false}") {
		h.t.Errorf("the order was carried out by %s", got)
	}
	if auth, access := h.echo.had("/op", "Authorization"), h.echo.had("/op", "Cf-Access-Client-Secret"); auth != "Bearer "+h.canaries["far token"] || access != h.canaries["access secret"] {
		h.t.Errorf("the tunnel was shown %q and %q", auth, access)
	}
}

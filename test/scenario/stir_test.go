package scenario

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/controller"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/stir.yaml
var stirConfig string

const (
	stirServer = "127.77.3.2"
	ownX5U     = "https://cr.example.org:8443/own.pem"
	nextX5U    = "https://cr.example.org:8443/next.pem"
	theirX5U   = "https://cr.example.org:8443/sp.pem"
)

// record is a log that a test reads.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

// decision is the line of the last decision about a call from a number, "" when there is none.
func (r *record) decision(from string) (line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range strings.Lines(r.b.String()) {
		if strings.Contains(l, " what=route ") && strings.Contains(l, " from="+from+"@") {
			line = l
		}
	}
	return line
}

// stirNode is an edge whose brain runs in this process, so that its names lead to the certificates of the test.
type stirNode struct {
	*edge.Edge
	log            *record
	keyFile        string
	own, next      *ecdsa.PrivateKey // the platform's
	their, foreign *ecdsa.PrivateKey // of a provider that is trusted, and of nobody
	carrier        *phone.Phone
}

func startStir(t *testing.T) *stirNode {
	t.Helper()
	n := &stirNode{log: &record{}, own: newStirKey(t), next: newStirKey(t), their: newStirKey(t), foreign: newStirKey(t)}
	roots, others := newStirAuthority(t), newStirAuthority(t)
	web := certificateServer(t, stirServer, map[string]*x509.Certificate{
		"/sp.pem":      roots.issue(t, &n.their.PublicKey, isProvider),
		"/foreign.pem": others.issue(t, &n.foreign.PublicKey, isProvider),
		"/old.pem":     roots.issue(t, &n.their.PublicKey, func(c *x509.Certificate) { isProvider(c); c.NotAfter = time.Now().Add(-time.Minute) }),
	})
	dir := t.TempDir()
	place := func(name string, body []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	n.keyFile = place("key.pem", keyPEM(t, n.own))
	cfg := controller.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.LogDecisions, cfg.PromptLanguages = filepath.Join(dir, "brain"), "127.0.0.1:0", true, nil
	cfg.StirKeyFile, cfg.StirX5U, cfg.StirHosts = n.keyFile, ownX5U, []string{".example.org"}
	cfg.StirRootsFile, cfg.FlowCAFile = place("roots.pem", pemOf(roots.cert)), place("web.pem", pemOf(web))
	cfg.FlowAllowNets = []netip.Prefix{netip.MustParsePrefix(stirServer + "/32")}
	cfg.Log = slog.New(slog.NewTextHandler(n.log, nil))
	url := runBrain(t, cfg)
	key, err := os.ReadFile(filepath.Join(cfg.DataDir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	n.Edge = start(t, edge.Options{BrainURLs: []string{url}, BrainKey: strings.TrimSpace(string(key)), NodeFlags: []string{"--heartbeat-interval=500ms"}})
	n.carrier = trunkPhone(t, n.Edge, "4930777888")
	port := n.carrier.Contact()[strings.LastIndex(n.carrier.Contact(), ":")+1:]
	if err := n.Apply(within(t, 10*time.Second), strings.ReplaceAll(stirConfig, "PORT", regexp.MustCompile(`^\d+`).FindString(port))); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"127.0.0.9", "127.0.0.8"} {
		if err := n.WaitTrunk(source, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// runBrain runs a brain in this process until the test ends, and returns where it answers.
func runBrain(t *testing.T, cfg controller.Config) (url string) {
	t.Helper()
	ready, ended := make(chan controller.Addrs, 1), make(chan error, 1)
	cfg.Ready = func(a controller.Addrs) { ready <- a }
	ctx, stop := context.WithCancel(context.Background())
	go func() { ended <- controller.Run(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the brain ended with %v", err)
		}
	})
	select {
	case addrs := <-ready:
		return "http://" + addrs.Plain
	case err := <-ended:
		ended <- nil
		t.Fatalf("the brain did not start: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("the brain is not ready")
	}
	return ""
}

// atCarrier answers the next call at the carrier and hands over its Identity headers.
func (n *stirNode) atCarrier(ctx context.Context) <-chan []string {
	got := make(chan []string, 1)
	go func() {
		select {
		case in := <-n.carrier.Incoming():
			got <- in.Headers()["Identity"]
			_ = in.Reject(486, "Busy Here")
		case <-ctx.Done():
			got <- nil
		}
	}()
	return got
}

// A call to outside carries an Identity that a stranger's implementation verifies, with the number that the carrier is shown and A;
// what is signed over a key that has been changed meanwhile is verified with that one. A call from outside that is sent on is C.
func TestStir_CarrierVerifiesWhatWeSign(t *testing.T) {
	n := startStir(t)
	tails(t, n.Edge)
	heike := registered(t, n.Edge, "3001", realm("hafen.test"))
	for _, c := range []struct {
		name               string
		before             func()
		by                 *phone.Phone
		dial               string
		key                *ecdsa.PrivateKey
		x5u                string
		attest, orig, dest string
	}{
		{"phone", nil, heike, "0301234567", n.own, ownX5U, "A", "4940123450", "49301234567"},
		{"phone, to another country", nil, heike, "0033142685300", n.own, ownX5U, "A", "4940123450", "33142685300"},
		{"phone, behind a rotation", func() { n.rotate(t) }, heike, "0301234567", n.next, nextX5U, "A", "4940123450", "49301234567"},
		{"sent on", nil, n.carrier, "+4940123451", n.next, nextX5U, "C", "4930777888", "491711234567"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			if c.before != nil {
				c.before()
			}
			got := n.atCarrier(ctx)
			refused(t, ctx, c.by, c.dial, 486)
			headers := <-got
			if len(headers) != 1 {
				t.Fatalf("%d Identity headers: %q", len(headers), headers)
			}
			claims, err := openIdentity(&c.key.PublicKey, c.x5u, headers[0])
			if err != nil {
				t.Fatalf("%v in %s", err, headers[0])
			}
			if age := time.Now().Unix() - claims.IAT; claims.Attest != c.attest || claims.Orig.TN != c.orig || fmt.Sprint(claims.Dest.TN) != "["+c.dest+"]" || age < 0 || age > 20 {
				t.Errorf("%+v, want %s from %s to %s", claims, c.attest, c.orig, c.dest)
			}
			if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(claims.OrigID) {
				t.Errorf("origid %q", claims.OrigID)
			}
		})
	}
}

// rotate puts another key with its address in the place of the platform's.
func (n *stirNode) rotate(t *testing.T) {
	t.Helper()
	body := append([]byte("x5u: "+nextX5U+"\n"), keyPEM(t, n.next)...)
	if err := os.WriteFile(n.keyFile+".new", body, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(n.keyFile+".new", n.keyFile); err != nil {
		t.Fatal(err)
	}
}

// What a stranger's implementation signs is verified on the way in: who passes, and why each of the others does not. A trunk that
// verifies lets them in all the same, one that requires it refuses them with the code of the reason.
func TestStir_CallersFromOutsideAreJudged(t *testing.T) {
	n := startStir(t)
	tails(t, n.Edge)
	heike := registered(t, n.Edge, "3001", realm("hafen.test"))
	const to = "4940123450"
	strict := func(number string) *phone.Phone {
		return trunkPhone(t, n.Edge, number, func(c *phone.Config) { c.LocalIP = "127.0.0.8" })
	}
	go func() {
		for in := range heike.Incoming() {
			_ = in.Reject(486, "Busy Here") // the call has come through
		}
	}()
	// A slow machine may not have a certificate in time for the first call that needs it.
	for i, x5u := range []string{theirX5U, "https://cr.example.org:8443/foreign.pem", "https://cr.example.org:8443/old.pem"} {
		from := fmt.Sprint("493077700", i)
		p := trunkPhone(t, n.Edge, from)
		eventually(t, within(t, 20*time.Second), "the certificate at "+x5u, func() error {
			refusedWith(t, within(t, 10*time.Second), p, to, 486, phone.WithHeader("Identity", signPASSporT(t, n.their, x5u, from, to, time.Now())))
			if line := n.log.decision(from); line == "" || strings.Contains(line, "x5u_failed") {
				return fmt.Errorf("decided: %q", line)
			}
			return nil
		})
	}
	used := ""
	for i, c := range []struct {
		name, why string
		code      int // of a trunk that requires it
		identity  func(from string) string
	}{
		{"passes", "caller TN-Validation-Passed, B", 486, func(from string) string {
			used = signPASSporT(t, n.their, theirX5U, from, to, time.Now())
			return used
		}},
		{"replayed", "TN-Validation-Failed, replayed", 438, nil},
		{"none", "No-TN-Validation, no_identity", 428, func(string) string { return "" }},
		{"old", "TN-Validation-Failed, iat_stale", 403, func(from string) string {
			return signPASSporT(t, n.their, theirX5U, from, to, time.Now().Add(-2*time.Minute))
		}},
		{"for another caller", "TN-Validation-Failed, orig_mismatch", 438, func(string) string {
			return signPASSporT(t, n.their, theirX5U, "4930111", to, time.Now())
		}},
		{"for another called party", "TN-Validation-Failed, dest_mismatch", 438, func(from string) string {
			return signPASSporT(t, n.their, theirX5U, from, "4940123451", time.Now())
		}},
		{"with another key", "TN-Validation-Failed, signature_wrong", 438, func(from string) string {
			return signPASSporT(t, n.foreign, theirX5U, from, to, time.Now())
		}},
		{"of a root that is not trusted", "TN-Validation-Failed, cert_untrusted", 437, func(from string) string {
			return signPASSporT(t, n.foreign, "https://cr.example.org:8443/foreign.pem", from, to, time.Now())
		}},
		{"with an expired certificate", "TN-Validation-Failed, cert_expired", 437, func(from string) string {
			return signPASSporT(t, n.their, "https://cr.example.org:8443/old.pem", from, to, time.Now())
		}},
		{"from an address inside", "No-TN-Validation, x5u_refused", 436, func(from string) string {
			return signPASSporT(t, n.their, "https://inside.example.org/sp.pem", from, to, time.Now())
		}},
		{"from a place that is not listed", "No-TN-Validation, x5u_refused", 436, func(from string) string {
			return signPASSporT(t, n.their, "https://cr.example.net/sp.pem", from, to, time.Now())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := within(t, 20*time.Second)
			from := fmt.Sprint("493077710", i)
			call := func(p *phone.Phone, code int, identity string) string {
				var with []phone.CallOption
				if identity != "" {
					with = append(with, phone.WithHeader("Identity", identity))
				}
				refusedWith(t, ctx, p, to, code, with...)
				return n.log.decision(from)
			}
			if c.identity == nil { // the token of the call before, and its number
				from = "4930777100"
				c.identity = func(string) string { return used }
			}
			identity := c.identity(from)
			if line := call(trunkPhone(t, n.Edge, from), 486, identity); !strings.Contains(line, c.why) {
				t.Errorf("%s: want %s", line, c.why)
			}
			if c.code == 486 { // another call has another token
				identity = signPASSporT(t, n.their, theirX5U, from, to, time.Now().Add(-time.Second))
			}
			call(strict(from), c.code, identity)
		})
	}
}

// refusedWith calls target and expects a final code.
func refusedWith(t *testing.T, ctx context.Context, p *phone.Phone, target string, code int, opts ...phone.CallOption) {
	t.Helper()
	call, err := p.Call(ctx, target, opts...)
	if err == nil {
		_ = call.Bye(ctx)
	}
	if status, ok := errors.AsType[*phone.StatusError](err); !ok || status.Code != code {
		t.Fatalf("call %s: %v, want %d", target, err, code)
	}
}

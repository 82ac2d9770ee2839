package stir

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/stir"
)

// repository is a server of certificates, which a fetcher reaches under every name.
type repository struct {
	*Fetcher
	asked atomic.Int32
	clock time.Time
}

const (
	place = "https://example.com/sp.pem"
)

// testKey leads to the end of the test in the context of a request.
type testKey struct{}

// hang keeps a request until the test is over, longer than any fetch waits.
func hang(q *http.Request) { <-q.Context().Value(testKey{}).(<-chan struct{}) }

func open(syscall.RawConn) error { return nil }

func newRepository(t *testing.T, serve http.HandlerFunc) *repository {
	t.Helper()
	r := &repository{clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		serve(w, q)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.BaseContext = func(net.Listener) context.Context {
		return context.WithValue(t.Context(), testKey{}, t.Context().Done())
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	f, err := NewFetcher(Options{
		Hosts: []string{"Example.com", ".example.org"}, RootCAs: roots, Now: func() time.Time { return r.clock },
		Guard: func(_, _ string, c syscall.RawConn) error { return open(c) },
	})
	if err != nil {
		t.Fatal(err)
	}
	transport := f.http.Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	t.Cleanup(transport.CloseIdleConnections)
	r.Fetcher, f.limit = f, time.Minute // a slow machine is not what is tried
	return r
}

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(709)}, &x509.Certificate{SerialNumber: big.NewInt(709)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (r *repository) want(t *testing.T, url string, reason stir.Reason, asked int32) string {
	t.Helper()
	chain, refusal := r.Fetch(t.Context(), url)
	switch {
	case reason == "" && (refusal != nil || len(chain) != 1 || chain[0].SerialNumber.Int64() != 709):
		t.Errorf("%.80s: %v, %d certificates", url, refusal, len(chain))
	case reason != "" && (refusal == nil || refusal.Reason != reason || chain != nil):
		t.Errorf("%.80s: %v, want %s", url, refusal, reason)
	}
	if got := r.asked.Load(); got != asked {
		t.Errorf("%.80s: asked %d times, want %d", url, got, asked)
	}
	if refusal != nil {
		return refusal.Text
	}
	return ""
}

func TestFetch_AsksOnlyWhatIsAllowed(t *testing.T) {
	// Proves that whom a caller names is not asked unless it is https, on a port of the web, at a listed name: each row is one way
	// round the list. Names in capitals and below a listed one pass.
	body := certificate(t)
	r := newRepository(t, func(w http.ResponseWriter, q *http.Request) { w.Write(body) })
	for _, url := range []string{
		"", "http://example.com/sp.pem", "ftp://example.com/sp.pem", "https:example.com", "//example.com/x", "https://", "https:///x", "https://%zz/",
		"https://example.com:80/x", "https://example.com:22/x", "https://example.com:443443/x", "https://user@example.com/x", "https://example.com@127.0.0.1/x", "https://example.com/x#y",
		"https://127.0.0.1/x", "https://[::1]/x", "https://[fe80::1%25eth0]/x", "https://10.0.0.1:8443/x", "https://2130706433/x", "https://0x7f.1/x", "https://localhost/x",
		"https://www.example.com/x", "https://example.com.evil.net/x", "https://evilexample.com/x", "https://evilexample.org/x", "https://example.org/x", "https://example.com./x", "https://.example.org/x",
		"https://exаmple.com/x", "https://example.com\\@evil.net/x", "https://example.com\r\nHost:x/", "https://example.com/" + strings.Repeat("a", maxURL),
	} {
		r.want(t, url, stir.X5URefused, 0)
	}
	r.want(t, "https://EXAMPLE.com:443/sp.pem", "", 1)
	r.want(t, place, "", 1) // the same place
	r.want(t, "https://example.com:8443/sp.pem", "", 2)
	if _, err := r.allowed("https://a.b.example.org/x"); err != nil {
		t.Error(err)
	}
}

func TestNewFetcher_NeedsAGuardAndNames(t *testing.T) {
	// Proves that nobody forgets the guard of addresses, and that a list cannot hold addresses or everything.
	if _, err := NewFetcher(Options{}); err == nil {
		t.Error("no guard")
	}
	for _, host := range []string{"", ".", "10.0.0.1", "::1", "com", ".com", "*.example.com", "https://example.com", "example.com:443"} {
		if _, err := NewFetcher(Options{Hosts: []string{host}, Guard: func(_, _ string, c syscall.RawConn) error { return open(c) }}); err == nil {
			t.Errorf("%q is a host", host)
		}
	}
}

func TestFetch_RefusesAnAddressThatTheGuardRefuses(t *testing.T) {
	// Proves that the guard sees the address when the connection is made, whatever the name was: with the fetcher's own dialer
	// the fetch ends before a byte leaves.
	saw := make(chan string, 8)
	f, err := NewFetcher(Options{Hosts: []string{"rebound.example.org"}, Guard: func(_, address string, _ syscall.RawConn) error {
		saw <- address
		return errors.New("inside")
	}})
	if err != nil {
		t.Fatal(err)
	}
	transport := f.http.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { // what a resolver does that lies
		return dial(ctx, network, "127.0.0.1:443")
	}
	_, refusal := f.Fetch(t.Context(), "https://rebound.example.org/x")
	if refusal == nil || refusal.Reason != stir.X5URefused || !strings.Contains(refusal.Text, "inside") || <-saw != "127.0.0.1:443" {
		t.Errorf("%v", refusal)
	}
}

func TestFetch_RefusesWhatIsNoCertificateInTimeAndBounds(t *testing.T) {
	// Proves each way in which a repository fails, and that each failure is kept for 30 s, then asked again.
	body := certificate(t)
	for _, row := range []struct {
		name   string
		serve  http.HandlerFunc
		reason stir.Reason
		asked  int32
		text   string
	}{
		{"404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, stir.X5UFailed, 1, "404"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, stir.X5UFailed, 1, "not certificates"},
		{"too large", func(w http.ResponseWriter, _ *http.Request) { w.Write(append(body, make([]byte, maxBody)...)) }, stir.X5UFailed, 1, "65536"},
		{"slow", func(_ http.ResponseWriter, q *http.Request) { hang(q) }, stir.X5UFailed, 1, "deadline"},
		{"slow body", func(w http.ResponseWriter, q *http.Request) {
			w.Write(body[:100])
			w.(http.Flusher).Flush()
			hang(q)
		}, stir.X5UFailed, 1, "deadline"},
		{"redirect to another host", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "https://a.example.org/", 302) }, stir.X5URefused, 1, "another place"},
		{"redirect to http", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "http://example.com/", 302) }, stir.X5URefused, 1, "another place"},
		{"redirect to another port", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "https://example.com:8443/", 302) }, stir.X5URefused, 1, "another place"},
		{"redirect in a circle", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, place, 302) }, stir.X5URefused, 4, "another place"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRepository(t, row.serve)
			if strings.HasPrefix(row.name, "slow") {
				r.limit = time.Second // enough for the question to come to the server
			}
			if text := r.want(t, place, row.reason, row.asked); !strings.Contains(text, row.text) {
				t.Errorf("%q does not say %q", text, row.text)
			}
			r.clock = r.clock.Add(failureTTL - time.Second)
			r.want(t, place, row.reason, row.asked)
			r.clock = r.clock.Add(time.Second)
			r.want(t, place, row.reason, 2*row.asked)
		})
	}
	r := newRepository(t, func(http.ResponseWriter, *http.Request) {})
	r.http.Transport.(*http.Transport).TLSClientConfig.RootCAs = x509.NewCertPool()
	r.want(t, place, stir.X5UFailed, 0)
}

func TestFetch_KeepsForAsLongAsTheServerSays(t *testing.T) {
	// Proves the life of a certificate in the cache by Cache-Control: what the server says, at most a day, 5 minutes when it says
	// nothing, not at all when it forbids it. A redirect on the same host is followed.
	body := certificate(t)
	for header, life := range map[string]time.Duration{
		"": defaultTTL, "public": defaultTTL, "max-age=60": time.Minute, `Public, Max-Age="60"`: time.Minute, "max-age=864000": maxTTL, "max-age=4294967295": maxTTL,
		"no-store": 0, "max-age=60, no-cache": 0, "max-age=0": 0, "max-age=-1": 0, "max-age=99999999999999999999": 0, "max-age=x": 0,
	} {
		r := newRepository(t, func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/sp.pem" {
				http.Redirect(w, q, "/v2/sp.pem", 301)
				return
			}
			w.Header().Set("Cache-Control", header)
			w.Write(body)
		})
		r.want(t, place, "", 2)
		if life == 0 {
			r.want(t, place, "", 4)
			continue
		}
		r.clock = r.clock.Add(life - time.Second)
		r.want(t, place, "", 2)
		r.clock = r.clock.Add(time.Second)
		r.want(t, place, "", 4)
	}
}

func TestFetch_IsOneForAllWhoWait(t *testing.T) {
	// Proves single flight: while the first fetch is at the server another one starts none, whoever gives up ends nobody else's, and
	// the certificate is there afterwards.
	body := certificate(t)
	asked, release := make(chan bool), make(chan bool)
	r := newRepository(t, func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-release
		w.Write(body)
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan *stir.Refusal)
	go func() {
		_, refusal := r.Fetch(ctx, place)
		left <- refusal
	}()
	<-asked
	second, stop := context.WithCancel(t.Context())
	stop()
	if _, refusal := r.Fetch(second, place); refusal == nil || refusal.Reason != stir.X5UFailed {
		t.Errorf("gave up: %v", refusal)
	}
	leave()
	if refusal := <-left; refusal == nil || refusal.Reason != stir.X5UFailed {
		t.Errorf("the first gave up: %v", refusal)
	}
	e, mine := r.cache.get(place)
	if mine {
		t.Fatal("the fetch was forgotten with the first who waited")
	}
	close(release)
	<-e.done
	r.want(t, place, "", 1)
}

func TestFetch_IsBounded(t *testing.T) {
	// Proves the bounds: one fetch more than maxAtOnce is refused and not remembered; the cache holds maxEntries, and what goes
	// first is what would have gone first.
	body := certificate(t)
	r := newRepository(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
	for range maxAtOnce {
		r.places <- struct{}{}
	}
	r.want(t, place, stir.X5UFailed, 0)
	<-r.places
	r.want(t, place, "", 1)

	c := newCache(func() time.Time { return r.clock })
	for i := range maxEntries {
		e, mine := c.get(strconv.Itoa(i))
		if !mine {
			t.Fatal(i)
		}
		c.settle(strconv.Itoa(i), e, time.Hour-time.Duration(i%500)*time.Second)
	}
	waiting, _ := c.get("waiting")
	for i := range 3 * maxEntries {
		e, _ := c.get(fmt.Sprint("new", i))
		c.settle(fmt.Sprint("new", i), e, failureTTL)
	}
	if len(c.entries) != maxEntries || c.entries["waiting"] != waiting || c.entries["0"] == nil || c.entries["499"] != nil {
		t.Errorf("%d entries", len(c.entries))
	}
	c.settle("waiting", waiting, 0)
	if c.entries["waiting"] != nil {
		t.Error("kept what was not to be kept")
	}
}

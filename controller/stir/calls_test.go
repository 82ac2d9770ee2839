package stir

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/stir"
)

// provider is a signer with a certificate that a root of the test stands for.
type provider struct {
	key         *ecdsa.PrivateKey
	keyPEM      []byte
	certs, root []byte // PEM
}

// newProvider makes a provider with the code 709J; change sees the template of its certificate first.
func newProvider(t *testing.T, at time.Time, change func(*x509.Certificate)) *provider {
	t.Helper()
	p := &provider{key: ecKey(t)}
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	p.keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	rootKey := ecKey(t)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	// TNAuthorizationList ::= SEQUENCE OF { [0] IA5String "709J" } (RFC 8226 section 9)
	list := append([]byte{0x30, 8, 0xA0, 6, 0x16, 4}, "709J"...)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "709J"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 26}, Value: list}}}
	if change != nil {
		change(leaf)
	}
	p.root = issue(t, root, root, &rootKey.PublicKey, rootKey)
	p.certs = issue(t, leaf, root, &p.key.PublicKey, rootKey)
	return p
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t *testing.T, template, parent *x509.Certificate, public *ecdsa.PublicKey, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// bench is Calls with a provider whose certificate is at place, and what the log says.
type bench struct {
	*Calls
	*provider
	r   *repository
	dir string
	log *bytes.Buffer
}

func newBench(t *testing.T, serve http.HandlerFunc, change func(*x509.Certificate)) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), log: &bytes.Buffer{}}
	b.r = newRepository(t, func(w http.ResponseWriter, q *http.Request) {
		if serve != nil {
			serve(w, q)
		}
		w.Write(b.certs)
	})
	b.provider = newProvider(t, b.r.clock, change)
	b.write(t, "roots.pem", b.root)
	b.write(t, "key.pem", b.keyPEM)
	var err error
	b.Calls, err = Open(Settings{KeyFile: b.path("key.pem"), X5U: place, RootsFile: b.path("roots.pem")}, b.r.Fetcher, slog.New(slog.NewTextHandler(b.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	b.Now = func() time.Time { return b.r.clock }
	b.budget = 5 * time.Second // a slow machine is not what is tried
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// write puts a file in its place at once, as operators should.
func (b *bench) write(t *testing.T, name string, body []byte) {
	t.Helper()
	if err := os.WriteFile(b.path(name+".new"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b.path(name+".new"), b.path(name)); err != nil {
		t.Fatal(err)
	}
}

const (
	caller = "493012345678"
	called = "4989555111"
)

func account(change func(*brain.Account)) *brain.AccountConfig {
	a := brain.Account{ID: "acc_1"}
	if change != nil {
		change(&a)
	}
	return &brain.AccountConfig{Account: a}
}

func (b *bench) sign(t *testing.T, acct *brain.AccountConfig) string {
	t.Helper()
	identity, err := b.Sign(acct, caller, called, stir.Full, "token1")
	if err != nil || identity == "" {
		t.Fatalf("%q, %v", identity, err)
	}
	return identity
}

// judge expects a reason, "" for a caller who passes.
func (b *bench) judge(t *testing.T, identity, callID string, reason stir.Reason) stir.Result {
	t.Helper()
	return b.expect(t, b.Verify(t.Context(), identity, "+"+caller, called, callID, false), callID, reason)
}

// judgeLater is judge for a later question of a call.
func (b *bench) judgeLater(t *testing.T, identity, callID string, reason stir.Reason) {
	t.Helper()
	b.expect(t, b.Verify(t.Context(), identity, "+"+caller, called, callID, true), callID, reason)
}

func (b *bench) expect(t *testing.T, result stir.Result, callID string, reason stir.Reason) stir.Result {
	t.Helper()
	if result.Reason != reason || (result.Verstat == stir.Passed) != (reason == "") {
		t.Errorf("call %s: %+v, want %q", callID, result, reason)
	}
	return result
}

func TestCalls_VerifyWhatTheySign(t *testing.T) {
	// Proves the way of a call between two providers, and that the same call may ask again, also when its token has become old, while
	// another one may not come with it: nor the whole request as it was heard on the wire.
	b := newBench(t, nil, nil)
	identity := b.sign(t, account(nil))
	if got := b.judge(t, identity, "c1", ""); got.Attest != stir.Full || got.OrigID != OrigID("acc_1", "token1") || strings.Join(got.SPC, ",") != "709J" {
		t.Errorf("%+v", got)
	}
	b.judge(t, identity, "c1", "")
	b.judge(t, identity, "c2", stir.Replayed)
	b.judgeLater(t, identity, "c1", "")
	b.r.clock = b.r.clock.Add(61 * time.Second)
	b.judgeLater(t, identity, "c1", "")
	b.judge(t, identity, "c1", stir.Stale)
	b.judgeLater(t, identity, "c3", stir.Stale)
	b.r.clock = b.r.clock.Add(keepPassed)
	b.judgeLater(t, identity, "c1", stir.Stale)
	if got := b.r.asked.Load(); got != 2 { // the certificate was kept for 5 minutes
		t.Errorf("asked %d times", got)
	}
}

func TestCalls_SayWhyACallerIsNotVerified(t *testing.T) {
	// Proves the reasons that come up on the way to a certificate; those of the token are brain/stir's.
	good := newBench(t, nil, nil)
	identity := good.sign(t, account(nil))
	good.judge(t, "", "c", stir.NoIdentity)
	good.judge(t, "rubbish", "c", stir.Malformed)
	good.judge(t, strings.Replace(identity, "ES256", "none", 1), "c", stir.AlgUnsupported)
	if got := good.Verify(t.Context(), identity, "4930999", called, "c", false); got.Reason != stir.OrigMismatch {
		t.Errorf("%+v", got)
	}
	if got := good.Verify(t.Context(), identity, caller, "4989555112", "c", false); got.Reason != stir.DestMismatch {
		t.Errorf("%+v", got)
	}

	expired := newBench(t, nil, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) })
	expired.judge(t, expired.sign(t, account(nil)), "c", stir.CertExpired)
	bare := newBench(t, nil, func(c *x509.Certificate) { c.ExtraExtensions = nil })
	bare.judge(t, bare.sign(t, account(nil)), "c", stir.TNAuthListMissing)
	other := newBench(t, nil, nil)
	other.write(t, "roots.pem", good.root) // read again: the signer's root is gone
	other.judge(t, other.sign(t, account(nil)), "c", stir.CertUntrusted)
	gone := newBench(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, nil)
	gone.judge(t, gone.sign(t, account(nil)), "c", stir.X5UFailed)
	far := newBench(t, nil, nil)
	text, err := far.Sign(account(func(a *brain.Account) { a.StirSecretRef, a.StirX5U = "k", "https://elsewhere.test/sp.pem" }), caller, called, stir.Full, "t")
	if err == nil {
		t.Errorf("%q was signed with a secret that nobody opens", text)
	}
	far.Password = func(*brain.AccountConfig, string) (string, error) { return string(far.keyPEM), nil }
	far.judge(t, far.sign(t, account(func(a *brain.Account) { a.StirSecretRef, a.StirX5U = "k", "https://elsewhere.test/sp.pem" })), "c", stir.X5URefused)

	for _, s := range []Settings{{}, {RootsFile: good.path("roots.pem")}} { // not set up
		c, err := Open(s, nil, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Verify(t.Context(), identity, caller, called, "c", false); got.Verstat != stir.None || got.Reason != stir.X5URefused || got.Text == "" {
			t.Errorf("%+v", got)
		}
		if got, err := c.Sign(account(nil), caller, called, stir.Full, "t"); got != "" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestCalls_NoneWaitsForASlowRepository(t *testing.T) {
	// Proves that a call goes on without its certificate when that is not there within the budget, that no more than maxWaiting wait
	// at once, and that the fetch serves the next call.
	release := make(chan bool)
	b := newBench(t, func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-release:
		case <-q.Context().Done():
		}
	}, nil)
	identity := b.sign(t, account(nil))
	b.budget = 20 * time.Millisecond
	b.judge(t, identity, "c1", stir.X5UFailed)
	b.budget = time.Hour
	for range maxWaiting {
		b.waiting <- struct{}{}
	}
	b.judge(t, identity, "c2", stir.X5UFailed)
	e, mine := b.fetcher.cache.get(place)
	if mine {
		t.Fatal("the fetch has ended with the call")
	}
	close(release)
	<-e.done
	b.judge(t, identity, "c3", "") // there now, so it waits for nothing
}

func TestCalls_AnOldCertificateServesWhileItIsFetchedAgain(t *testing.T) {
	// Proves that a certificate which has to be fetched again after 5 minutes makes no call wait for it, for an hour.
	release := make(chan bool, 1)
	release <- true
	b := newBench(t, func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-release:
		case <-q.Context().Done():
		}
	}, nil)
	b.judge(t, b.sign(t, account(nil)), "c1", "")
	b.budget = 20 * time.Millisecond
	b.r.clock = b.r.clock.Add(defaultTTL)
	b.judge(t, b.sign(t, account(nil)), "c2", "")
	if got := b.r.asked.Load(); got > 2 {
		t.Errorf("asked %d times", got)
	}
	c := newCache(b.Now)
	e, _ := c.get(place)
	e.chain = make([]*x509.Certificate, 1)
	c.settle(place, e, time.Minute)
	b.r.clock = b.r.clock.Add(time.Minute + staleTTL)
	if e, mine := c.get(place); !mine || e.before != nil {
		t.Error("a certificate of long ago is still there")
	}
}

func TestSign_TakesTheAccountsKeyThenThePlatforms(t *testing.T) {
	// Proves whose key signs: the account's when it has one, and then nobody else's, however bad it is.
	b := newBench(t, nil, nil)
	own := newProvider(t, b.r.clock, nil)
	secrets := map[string]string{"own": string(own.keyPEM), "bad": "not a key"}
	opened := 0
	b.Password = func(_ *brain.AccountConfig, ref string) (string, error) {
		opened++
		if s, ok := secrets[ref]; ok {
			return s, nil
		}
		return "", errors.New("no such secret")
	}
	at := func(ref, x5u string) *brain.AccountConfig {
		return account(func(a *brain.Account) { a.StirSecretRef, a.StirX5U = ref, x5u })
	}
	const mine = "https://example.com/own.pem"
	for range 2 {
		if got := b.sign(t, at("own", mine)); !strings.Contains(got, ";info=<"+mine+">") {
			t.Errorf("%s", got)
		}
	}
	if opened != 2 || len(b.keys.byContent) != 1 {
		t.Errorf("opened %d times, %d keys are kept", opened, len(b.keys.byContent))
	}
	secrets["own"] = string(newProvider(t, b.r.clock, nil).keyPEM) // rotation
	if b.sign(t, at("own", mine)); len(b.keys.byContent) != 2 {
		t.Error("the old key signs on")
	}
	for _, acct := range []*brain.AccountConfig{at("bad", mine), at("gone", mine), at("own", ""), at("own", "http://example.com/x")} {
		if got, err := b.Sign(acct, caller, called, stir.Full, "t"); got != "" || err == nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got := b.sign(t, account(nil)); !strings.Contains(got, ";info=<"+place+">") {
		t.Errorf("%s", got)
	}
	for _, to := range []string{"", "+", "12345678901234567"} {
		if got, err := b.Sign(account(nil), caller, to, stir.Full, "t"); got != "" || err == nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	for i := range maxKeys + 2 {
		_, _ = b.keys.parse(string(own.keyPEM), "https://example.com/"+strings.Repeat("a", i%1000)+strings.Repeat("b", i/1000))
	}
	if len(b.keys.byContent) > maxKeys {
		t.Errorf("%d keys", len(b.keys.byContent))
	}
}

func TestSign_FollowsTheKeyFile(t *testing.T) {
	// Proves rotation without restart: a new file with its address signs the next call; one that is no good, open to everybody or
	// gone changes nothing and is told once.
	b := newBench(t, nil, nil)
	next := newProvider(t, b.r.clock, nil)
	b.write(t, "key.pem", append([]byte("x5u: https://example.com/next.pem\n"), next.keyPEM...))
	rotated := b.sign(t, account(nil))
	if !strings.Contains(rotated, "next.pem") {
		t.Error(rotated)
	}
	for _, spoil := range []func(){
		func() { b.write(t, "key.pem", []byte("half a key")) },
		func() { b.write(t, "key.pem", bytes.Repeat([]byte("a"), maxFile+1)) },
		func() { b.write(t, "key.pem", append([]byte("x5u: http://example.com/\n"), next.keyPEM...)) },
		func() { b.write(t, "key.pem", b.keyPEM); _ = os.Chmod(b.path("key.pem"), 0o604) },
		func() { _ = os.Remove(b.path("key.pem")) },
	} {
		b.log.Reset()
		spoil()
		for range 3 {
			if got := b.sign(t, account(nil)); got != rotated { // RFC 6979: the same call has the same signature
				t.Error(got)
			}
		}
		if n := strings.Count(b.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("told %d times: %s", n, b.log)
		}
	}
	b.write(t, "key.pem", b.keyPEM)
	if got := b.sign(t, account(nil)); !strings.Contains(got, place) {
		t.Error(got)
	}
}

func TestSign_AFileThatIsOpenedToUsIsReadAgain(t *testing.T) {
	// Proves that a file which was refused is tried again without being changed, after a pause, and that its fault is told once
	// however often it is tried.
	b := newBench(t, nil, nil)
	old := b.sign(t, account(nil))
	b.write(t, "key.pem", append([]byte("x5u: https://example.com/next.pem\n"), b.keyPEM...))
	mode := func(m os.FileMode) {
		if err := os.Chmod(b.path("key.pem"), m); err != nil {
			t.Fatal(err)
		}
	}
	mode(0o644)
	for range 3 {
		b.platform.tried = time.Time{} // the pause is over
		if got := b.sign(t, account(nil)); got != old {
			t.Errorf("signed with a key that is open to everybody: %s", got)
		}
	}
	mode(0o600)
	b.platform.tried = time.Now().Add(time.Hour)
	if got := b.sign(t, account(nil)); got != old {
		t.Error("tried again within the pause")
	}
	b.platform.tried = time.Time{}
	if got := b.sign(t, account(nil)); !strings.Contains(got, "next.pem") {
		t.Errorf("the key is not read again: %s", got)
	}
	if n := strings.Count(b.log.String(), "level=ERROR"); n != 1 {
		t.Errorf("told %d times: %s", n, b.log)
	}
}

func TestOpen_SaysWhichFileIsNoGood(t *testing.T) {
	// Proves that a brain does not start with a key or roots that it cannot read.
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pem")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]Settings{"stir-key-file": {KeyFile: bad}, "stir-roots-file": {RootsFile: bad}, "no such file": {KeyFile: filepath.Join(dir, "none")}} {
		if _, err := Open(s, nil, slog.Default()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}

func TestVerify_OfMany(t *testing.T) {
	// Proves that calls at the same time share the memory: of 32 with one token one passes.
	b := newBench(t, nil, nil)
	identity := b.sign(t, account(nil))
	b.judge(t, "", "first", stir.NoIdentity)
	if _, refusal := b.fetcher.Fetch(t.Context(), place); refusal != nil {
		t.Fatal(refusal)
	}
	var wg sync.WaitGroup
	results := make(chan stir.Result, 32)
	for i := range 32 {
		wg.Go(func() {
			results <- b.Verify(context.Background(), identity, caller, called, strings.Repeat("c", i+1), false)
		})
	}
	wg.Wait()
	close(results)
	n := 0
	for r := range results {
		if r.Verstat == stir.Passed {
			n++
		} else if r.Reason != stir.Replayed {
			t.Errorf("%+v", r)
		}
	}
	if n != 1 {
		t.Errorf("%d passed", n)
	}
	p := newPassed(2)
	for i := range 3 {
		p.add([32]byte{byte(i)}, stir.Result{}, b.r.clock)
	}
	if _, ok := p.get([32]byte{}, b.r.clock); ok || len(p.results) != 2 {
		t.Errorf("%d are remembered", len(p.results))
	}
}

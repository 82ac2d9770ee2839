// Package stir fetches the certificates of those who sign calls (RFC 8224 section 7.2): from an allow list of places only,
// within bounds, and once for all calls that need one at the same time.
package stir

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/sipio/sipio/brain/stir"
)

// Bounds of a fetch.
const (
	maxBody      = 64 << 10 // bytes
	maxTime      = 2 * time.Second
	maxRedirects = 3
	maxAtOnce    = 32 // fetches; one more is refused
	maxURL       = 1024
)

// Options says what may be fetched.
type Options struct {
	// Hosts are the repositories of the certification authorities: a name is that host alone, one with a dot before it
	// every host below. Empty = nothing may be fetched.
	Hosts []string
	// Guard judges the address that a name has led to, when the connection is made, so that no name leads inside. It is
	// the guard of the requests that flows make.
	Guard func(network, address string, c syscall.RawConn) error
	// RootCAs are trusted for TLS, not for signatures; nil = those of the system.
	RootCAs *x509.CertPool
	Now     func() time.Time // nil = time.Now
}

// Fetcher gets certificates and keeps them for as long as their server says, at most a day.
type Fetcher struct {
	hosts  []string
	http   *http.Client
	cache  *cache
	places chan struct{}
	limit  time.Duration // of one fetch
}

// NewFetcher makes one. It fails without a guard, and on a host that is no name.
func NewFetcher(o Options) (*Fetcher, error) {
	if o.Guard == nil {
		return nil, errors.New("fetching certificates needs a guard of addresses")
	}
	f := &Fetcher{cache: newCache(o.Now), places: make(chan struct{}, maxAtOnce), limit: maxTime}
	for _, host := range o.Hosts {
		host = strings.ToLower(host)
		if !isName(strings.TrimPrefix(host, ".")) {
			return nil, fmt.Errorf("%q is not the name of a host", host)
		}
		f.hosts = append(f.hosts, host)
	}
	guard := func(network, address string, c syscall.RawConn) error {
		if err := o.Guard(network, address, c); err != nil {
			return fmt.Errorf("%w: %w", errAddress, err)
		}
		return nil
	}
	dialer := &net.Dialer{Timeout: maxTime, Control: guard}
	f.http = &http.Client{
		// No Proxy: it would be the proxy that resolves names.
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			MaxIdleConns: 16, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || r.URL.Scheme != "https" || r.URL.Host != via[0].URL.Host || r.URL.User != nil {
				return errRedirect
			}
			return nil
		},
	}
	return f, nil
}

var (
	errRedirect = errors.New("redirected to another place")
	errAddress  = errors.New("the name leads to an address that is not asked")
)

// Fetch returns the certificates at an x5u, the signer's first. They are shared: whoever gets them changes nothing in
// them. ctx ends the waiting of its caller alone; the fetch goes on for the others, at most maxTime. Certificates that
// held until not long ago serve who cannot wait any longer for new ones (RFC 5861 section 3).
// Without certificates there is a refusal: X5URefused for a place that may not be asked, X5UFailed for everything else.
func (f *Fetcher) Fetch(ctx context.Context, x5u string) ([]*x509.Certificate, *stir.Refusal) {
	u, err := f.allowed(x5u)
	if err != nil {
		return nil, &stir.Refusal{Reason: stir.X5URefused, Text: err.Error()}
	}
	key := u.String()
	e, mine := f.cache.get(key)
	if mine {
		go f.fill(context.WithoutCancel(ctx), key, e)
	}
	select {
	case <-e.done:
		return e.chain, e.refusal
	default:
	}
	select {
	case <-e.done:
		return e.chain, e.refusal
	case <-ctx.Done():
	}
	if e.before != nil {
		return e.before, nil
	}
	return nil, &stir.Refusal{Reason: stir.X5UFailed, Text: "the certificate was not there in time"}
}

// fill fetches for an entry and tells all who wait for it.
func (f *Fetcher) fill(ctx context.Context, key string, e *entry) {
	keep := failureTTL
	select {
	case f.places <- struct{}{}:
		e.chain, keep, e.refusal = f.ask(ctx, key)
		<-f.places
	default:
		keep = 0 // nothing is wrong with this place
		e.refusal = &stir.Refusal{Reason: stir.X5UFailed, Text: "too many fetches at once"}
	}
	f.cache.settle(key, e, keep)
}

// ask fetches once. keep is for how long the outcome holds.
func (f *Fetcher) ask(ctx context.Context, url string) (chain []*x509.Certificate, keep time.Duration, refusal *stir.Refusal) {
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	body, header, err := f.load(ctx, url)
	if err == nil {
		chain, err = stir.ParseChain(body)
	}
	switch {
	case errors.Is(err, errRedirect), errors.Is(err, errAddress):
		return nil, failureTTL, &stir.Refusal{Reason: stir.X5URefused, Text: reason(err)}
	case err != nil:
		return nil, failureTTL, &stir.Refusal{Reason: stir.X5UFailed, Text: reason(err)}
	}
	return chain, lifetime(header), nil
}

func (f *Fetcher) load(ctx context.Context, url string) ([]byte, http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "application/pem-certificate-chain, application/pkix-cert, */*;q=0.1")
	w, err := f.http.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the server answered %d", w.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(w.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("more than %d bytes", maxBody)
	}
	return body, w.Header, err
}

// reason says why a fetch failed, without the URL, which is in the record of the call already.
func reason(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return err.Error()
}

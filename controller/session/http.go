package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/flow"
)

// Bounds of the requests that flows make.
const (
	maxAnswer    = 64 << 10        // bytes of a body that is looked at; a longer one is an error
	maxHTTPTime  = 5 * time.Second // of one request, whatever the flow says
	maxRedirects = 3
	maxAtOnce    = 256
	maxToken     = 4096 // bytes of a bearer token
)

// ClientOptions says what the requests of flows may reach.
type ClientOptions struct {
	CAFile    string         // PEM; certificates trusted beside those of the system, "" = none
	AllowNets []netip.Prefix // networks that may be reached although they are private, loopback or link-local
	// Secret opens what a flow's secretRef names, sent as a bearer token; nil = there are no secrets.
	Secret func(accountID, ref string) (string, error)
}

// Client makes the requests of flows: https only, to public addresses only, bounded in size, time and number.
type Client struct {
	http   *http.Client
	secret func(accountID, ref string) (string, error)
	places chan struct{}
}

// NewClient makes one. It fails when the file of certificates cannot be read.
func NewClient(o ClientOptions) (*Client, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any: CAFile alone counts
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificates for flows: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates for flows: %s holds none", o.CAFile)
		}
	}
	dialer := &net.Dialer{Timeout: maxHTTPTime, Control: Guard(o.AllowNets)}
	return &Client{
		secret: o.Secret,
		places: make(chan struct{}, maxAtOnce),
		http: &http.Client{
			Transport: &http.Transport{
				DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
				MaxIdleConns: 64, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			},
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				if len(via) > maxRedirects || r.URL.Scheme != "https" || r.URL.Host != via[0].URL.Host {
					return errRedirect
				}
				return nil
			},
		},
	}, nil
}

var (
	errRedirect = errors.New("redirected to another place")
	errAddress  = errors.New("not an address that the brain may reach")

	errNoSecrets = errors.New("there are no secrets")
)

// special are networks that are not reached although netip calls them neither private nor local.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

// Guard is the control of a net.Dialer that lets it reach public addresses and those allowed, nothing inside. Whatever fetches
// what others name has it.
func Guard(allowed []netip.Prefix) func(network, address string, c syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error { return mayReach(address, allowed) }
}

// mayReach looks at the address that a name has led to, so that no name leads inside.
func mayReach(address string, allowed []netip.Prefix) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, errAddress)
	}
	addr := ap.Addr().Unmap().WithZone("")
	holds := func(p netip.Prefix) bool { return p.Contains(addr) }
	switch {
	case slices.ContainsFunc(allowed, holds):
		return nil
	case !addr.IsGlobalUnicast(), addr.IsPrivate(), addr.IsLoopback(), addr.IsLinkLocalUnicast(), slices.ContainsFunc(special, holds):
		return fmt.Errorf("%s: %w", addr, errAddress)
	}
	return nil
}

// Outcomes of an http step.
const (
	httpSuccess = "success"
	httpError   = "error"
	httpTimeout = "timeout"
)

// Do makes one request of a flow. key is the same when the request is made again. success: a status of 2xx and a
// body within bounds, which are in data; error: another status, which is in data too, or none at all.
func (c *Client) Do(ctx context.Context, call *flow.HTTPCall, accountID, key string) (outcome string, data map[string]string) {
	failed := func(why string) (string, map[string]string) { return httpError, map[string]string{"reason": why} }
	if c == nil {
		return failed("requests of flows are not set up")
	}
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	default:
		return failed("too many requests at once")
	}
	timeout := maxHTTPTime
	if ms := time.Duration(call.TimeoutMS) * time.Millisecond; ms > 0 && ms < timeout {
		timeout = ms
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := c.request(ctx, call, accountID, key)
	if err != nil {
		return failed(err.Error())
	}
	status, body, err := c.send(r)
	switch {
	case err != nil && (errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err)):
		return httpTimeout, nil
	case err != nil:
		return failed(reason(err))
	}
	data = map[string]string{"status": strconv.Itoa(status), "body": body}
	if status < 200 || status > 299 {
		return httpError, data
	}
	return httpSuccess, data
}

func (c *Client) request(ctx context.Context, call *flow.HTTPCall, accountID, key string) (*http.Request, error) {
	u, err := url.Parse(call.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("the url is not https://host/…")
	}
	r, err := http.NewRequestWithContext(ctx, call.Method, call.URL, strings.NewReader(call.Body))
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	for name, value := range call.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection": // the client's own
		default:
			r.Header.Set(name, value)
		}
	}
	r.Header.Set("Idempotency-Key", key)
	if call.SecretRef == "" {
		return r, nil
	}
	token, err := c.token(accountID, call.SecretRef)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r, nil
}

// token opens a secret that is sent in a header. The error is for the account's people: it does not say why.
func (c *Client) token(accountID, ref string) (string, error) {
	err, token := errNoSecrets, ""
	if c.secret != nil {
		token, err = c.secret(accountID, ref)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("there is no secret %q that can be opened", ref)
	case len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("the secret %q is no token: it is longer than %d bytes, or has characters that no header can hold", ref, maxToken)
	}
	return token, nil
}

func (c *Client) send(r *http.Request) (status int, body string, err error) {
	w, err := c.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(io.LimitReader(w.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, "", err
	case len(text) > maxAnswer:
		return 0, "", fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	case !utf8.Valid(text):
		return 0, "", errors.New("the answer is not UTF-8")
	}
	return w.StatusCode, string(text), nil
}

// reason says why a request failed without its URL, which may hold what callers typed.
func reason(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return err.Error()
}

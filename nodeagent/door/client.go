package door

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// maxReply bounds a brain's answer in bytes.
const maxReply = 64 << 10

// newClient picks the carrier for a brain's URL: the lean one for plain http on loopback, net/http
// for https. Plain http to another machine is refused: the node key would travel in clear.
func newClient(rawURL, key string, tlsConfig *tls.Config, maxIdle int, dialTimeout time.Duration) (client, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("brain URL: %w", err)
	}
	if u.Host == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("brain URL %q: want scheme://host:port alone", u.Redacted())
	}
	switch {
	case u.Scheme == "https":
		return newStdClient(u, key, tlsConfig, maxIdle), nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return newLeanClient(u, key, maxIdle, dialTimeout), nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("brain URL %q: http is for loopback only, use https", rawURL)
	}
	return nil, fmt.Errorf("brain URL %q: want http or https", rawURL)
}

// isLoopback reports whether a host can only be this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// leanClient speaks HTTP/1.1 over kept connections, one exchange a connection at a time, on the
// goroutine that asks. It costs less than half of net/http's CPU (see BenchmarkDoor).
type leanClient struct {
	addr        string
	head        string // every header line that never changes
	maxIdle     int
	dialTimeout time.Duration
	prober      *stdClient // health goes its own way: it must not disturb kept connections

	mu     sync.Mutex
	idle   []*leanConn
	closed bool
}

func newLeanClient(u *url.URL, key string, maxIdle int, dialTimeout time.Duration) *leanClient {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	head := " HTTP/1.1\r\nHost: " + u.Host + "\r\n"
	if key != "" {
		head += "Authorization: Bearer " + key + "\r\n"
	}
	return &leanClient{
		addr: net.JoinHostPort(u.Hostname(), port), head: head,
		maxIdle: maxIdle, dialTimeout: dialTimeout,
		prober: newStdClient(u, key, nil, 1),
	}
}

// leanConn is one kept connection. cut may be called from another goroutine.
type leanConn struct {
	conn net.Conn
	br   *bufio.Reader
	out  []byte
}

// past is a deadline that has gone by: it ends a blocked read or write at once.
var past = time.Unix(1, 0)

func (c *leanConn) cut() { _ = c.conn.SetDeadline(past) }

// errStale is a kept connection that the brain had closed before it took the question: the one
// fault after which the question is asked again, on a new connection.
var errStale = errors.New("kept connection was closed")

func (l *leanClient) ask(x *exchange) (answer, error) {
	for c := l.take(); c != nil; c = l.take() {
		got, err := l.exchange(c, x)
		if !errors.Is(err, errStale) {
			return got, err
		}
	}
	c, err := l.dial(x)
	if err != nil {
		return answer{}, err
	}
	return l.exchange(c, x)
}

// exchange writes the question and reads the answer on c, and keeps or closes c.
func (l *leanClient) exchange(c *leanConn, x *exchange) (answer, error) {
	if err := x.attach(c); err != nil {
		l.put(c)
		return answer{}, err
	}
	got, keep, err := c.roundTrip(l.head, x)
	if cut := x.attach(nil); cut != nil || err != nil || !keep {
		_ = c.conn.Close()
	} else {
		l.put(c)
	}
	return got, err
}

func (l *leanClient) take() *leanConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle)
	if n == 0 {
		return nil
	}
	c := l.idle[n-1]
	l.idle[n-1] = nil
	l.idle = l.idle[:n-1]
	return c
}

func (l *leanClient) put(c *leanConn) {
	l.mu.Lock()
	keep := !l.closed && len(l.idle) < l.maxIdle
	if keep {
		l.idle = append(l.idle, c)
	}
	l.mu.Unlock()
	if !keep {
		_ = c.conn.Close()
	}
}

type cancelCutter context.CancelFunc

func (c cancelCutter) cut() { c() }

func (l *leanClient) dial(x *exchange) (*leanConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.dialTimeout)
	defer cancel()
	if err := x.attach(cancelCutter(cancel)); err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return &leanConn{conn: conn, br: bufio.NewReaderSize(conn, maxHeadBytes)}, nil
}

func (l *leanClient) health(ctx context.Context) error { return l.prober.health(ctx) }

func (l *leanClient) close() {
	l.mu.Lock()
	idle := l.idle
	l.idle, l.closed = nil, true
	l.mu.Unlock()
	for _, c := range idle {
		_ = c.conn.Close()
	}
	l.prober.close()
}

// roundTrip asks on this connection. keep says whether the connection may carry another question.
func (c *leanConn) roundTrip(head string, x *exchange) (got answer, keep bool, err error) {
	out := append(append(append(c.out[:0], "POST "...), x.path...), head...)
	out = append(append(out, "Content-Type: "...), x.contentType...)
	out = strconv.AppendInt(append(out, "\r\nContent-Length: "...), int64(len(x.body)), 10)
	out = append(append(out, "\r\n\r\n"...), x.body...)
	c.out = out
	if _, err := c.conn.Write(out); err != nil {
		return answer{}, false, fmt.Errorf("%w: %w", errStale, err)
	}
	if _, err := c.br.Peek(1); err != nil { // closed without a byte of answer
		if x.reached != nil { // or taken by a brain that died over it
			x.reached.Store(true)
		}
		return answer{}, false, fmt.Errorf("%w: %w", errStale, err)
	}
	return readAnswer(c.br)
}

// readAnswer reads one HTTP/1.1 response within limits.
func readAnswer(br *bufio.Reader) (got answer, keep bool, err error) {
	budget := maxHeadBytes
	line, err := readLine(br, &budget)
	if err != nil {
		return answer{}, false, fmt.Errorf("read status line: %w", err)
	}
	status, err := parseStatus(line)
	if err != nil {
		return answer{}, false, err
	}
	frame := framing{length: -1}
	err = readHeaders(br, &budget, func(name, value []byte) error {
		_, err := frame.take(name, value)
		return err
	})
	if err != nil {
		return answer{}, false, fmt.Errorf("read response head: %w", err)
	}
	body, err := readAnswerBody(br, &budget, status, frame)
	return answer{status, body}, !frame.close, err
}

func parseStatus(line []byte) (int, error) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 || (len(rest) > 3 && rest[3] != ' ') {
		return 0, fmt.Errorf("%w: bad status line", errHead)
	}
	status, err := parseLength(rest[:3])
	if err != nil || status < 200 || status > 599 { // 1xx is never asked for
		return 0, fmt.Errorf("%w: status %.3q", errHead, rest)
	}
	return status, nil
}

func readAnswerBody(br *bufio.Reader, budget *int, status int, frame framing) ([]byte, error) {
	switch {
	case frame.chunked && frame.length >= 0:
		return nil, fmt.Errorf("%w: both lengths given", errHead)
	case frame.chunked:
		return readChunks(br, budget)
	case frame.length > maxReply:
		return nil, fmt.Errorf("%w: answer of %d bytes, limit %d", errHead, frame.length, maxReply)
	case status == http.StatusNoContent || status == http.StatusNotModified:
		return nil, nil
	case frame.length < 0:
		return nil, fmt.Errorf("%w: answer without a length", errHead)
	}
	body := make([]byte, frame.length)
	if _, err := io.ReadFull(br, body); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return body, nil
}

// readChunks reads a chunked body and its trailers, which are dropped.
func readChunks(br *bufio.Reader, budget *int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(httputil.NewChunkedReader(br), maxReply+1))
	if err != nil {
		return nil, fmt.Errorf("read chunked answer: %w", err)
	}
	if len(body) > maxReply {
		return nil, fmt.Errorf("%w: answer longer than %d bytes", errHead, maxReply)
	}
	err = readHeaders(br, budget, func(_, _ []byte) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("read trailers: %w", err)
	}
	return body, nil
}

// stdClient carries questions over net/http: HTTP/2 where the brain offers it.
type stdClient struct {
	base string
	key  string
	http *http.Client
}

func newStdClient(u *url.URL, key string, tlsConfig *tls.Config, maxIdle int) *stdClient {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: time.Second}).DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   2 * time.Second,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true,
		MaxIdleConns:          maxIdle,
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &stdClient{
		base: u.Scheme + "://" + u.Host, key: key,
		http: &http.Client{Transport: t, CheckRedirect: noRedirect},
	}
}

func (t *stdClient) ask(x *exchange) (answer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := x.attach(cancelCutter(cancel)); err != nil {
		return answer{}, err
	}
	defer func() { _ = x.attach(nil) }()
	// The transport may read the body after it has returned; the question's bytes are reused then.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+x.path, bytes.NewReader(bytes.Clone(x.body)))
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", x.contentType)
	return t.do(req)
}

func (t *stdClient) do(req *http.Request) (answer, error) {
	if t.key != "" {
		req.Header.Set("Authorization", "Bearer "+t.key)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return answer{}, fmt.Errorf("%w: %w", errUnreachable, err)
		}
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > maxReply {
		return answer{}, fmt.Errorf("answer longer than %d bytes", maxReply)
	}
	return answer{resp.StatusCode, body}, nil
}

func (t *stdClient) health(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.base+"/health", nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	got, err := t.do(req)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return fmt.Errorf("health answered %d", got.status)
	}
	return nil
}

func (t *stdClient) close() { t.http.CloseIdleConnections() }

package door

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The door's server speaks a small, strict part of HTTP/1.1: Content-Length bodies, kept
// connections, no chunked requests. net/http serves the same in about three times the CPU
// (see BenchmarkDoor), and this is paid for every REGISTER and INVITE.

const (
	maxConns        = 1024            // connections at once; Kamailio keeps one a worker process
	requestTimeout  = 2 * time.Second // a request that has begun must be complete by then
	writeTimeout    = 2 * time.Second // a reply must be taken by then
	maxKeptBuffer   = 64 << 10        // larger body buffers are given back after the request
	maxContentType  = 128
	statusJSON      = "application/json"
	continueMessage = "HTTP/1.1 100 Continue\r\n\r\n"
)

// request is one HTTP request; its bytes are valid until the reply is written.
type request struct {
	received    time.Time
	method      string
	path        string
	contentType []byte
	body        []byte
}

// reply is what a route answers: always JSON.
type reply struct {
	status int
	body   []byte
}

// handlerFunc answers one request. It runs on the connection's goroutine and may block until the
// decision's deadline, no longer.
type handlerFunc func(*request) reply

// endpoint is one path the server knows.
type endpoint struct {
	path    string
	method  string
	maxBody int
	handle  handlerFunc
}

type server struct {
	endpoints map[string]endpoint
	log       *slog.Logger
	refused   logLimit

	mu      sync.Mutex
	conns   map[*serverConn]struct{}
	closing bool
	wg      sync.WaitGroup
}

func newServer(log *slog.Logger, endpoints ...endpoint) *server {
	s := &server{endpoints: map[string]endpoint{}, log: log, conns: map[*serverConn]struct{}{}}
	for _, ep := range endpoints {
		s.endpoints[ep.path] = ep
	}
	return s
}

// serve accepts until ctx ends, then lets requests under way finish for grace and returns.
func (s *server) serve(ctx context.Context, ln net.Listener, grace time.Duration) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			s.shutdown(grace)
			return nil
		case errors.Is(err, net.ErrClosed):
			s.shutdown(grace)
			return fmt.Errorf("accept for the door: %w", err)
		case err != nil: // out of descriptors, connection gone already: it passes
			s.refused.warn(s.log, "door cannot accept", "error", err)
			pause(ctx, 50*time.Millisecond)
		default:
			s.admit(conn)
		}
	}
}

func (s *server) admit(conn net.Conn) {
	c := &serverConn{server: s, conn: conn}
	c.br = bufio.NewReaderSize(c, maxHeadBytes)
	s.mu.Lock()
	full := len(s.conns) >= maxConns || s.closing
	if !full {
		s.conns[c] = struct{}{}
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if full {
		_ = conn.Close()
		s.refused.warn(s.log, "door has too many connections", "limit", maxConns)
		return
	}
	go c.run()
}

// shutdown closes idle connections at once and the others after their reply, or after grace.
func (s *server) shutdown(grace time.Duration) {
	s.mu.Lock()
	s.closing = true
	for c := range s.conns {
		if !c.busy.Load() {
			_ = c.conn.Close()
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(grace):
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.conn.Close()
	}
	s.mu.Unlock()
	<-done
}

func (s *server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// serverConn is one kept connection and its buffers.
type serverConn struct {
	server *server
	conn   net.Conn
	br     *bufio.Reader
	ctype  []byte
	body   []byte
	out    []byte
	busy   atomic.Bool // a request has begun and is not answered yet
	timed  bool        // a read deadline is set
}

// Read feeds the buffered reader. A wait for the next request has no deadline; a second read inside
// a request has: so the common request, complete in one segment, costs no timer.
func (c *serverConn) Read(p []byte) (int, error) {
	if c.busy.Load() && !c.timed {
		c.timed = true
		if err := c.conn.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
			return 0, fmt.Errorf("set read deadline: %w", err)
		}
	}
	n, err := c.conn.Read(p)
	c.busy.Store(true)
	return n, err
}

func (c *serverConn) run() {
	s := c.server
	defer s.wg.Done()
	defer func() {
		_ = c.conn.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	for c.serveOne() {
		if c.br.Buffered() == 0 {
			c.busy.Store(false)
		}
		if c.timed {
			c.timed = false
			if c.conn.SetReadDeadline(time.Time{}) != nil {
				return
			}
		}
		if s.isClosing() {
			return
		}
	}
}

// refusal is a request turned down by the server itself; the connection ends with it.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// serveOne answers one request and reports whether the connection may carry another.
func (c *serverConn) serveOne() bool {
	req, ep, keep, err := c.readRequest()
	if refused, ok := errors.AsType[*refusal](err); ok {
		body := fmt.Appendf(nil, `{"error":%q}`, refused.text)
		_ = c.write(reply{refused.status, body}, false)
		c.drain()
		return false
	}
	if err != nil { // the client left, or was cut for being slow
		return false
	}
	if err := c.write(ep.handle(req), keep); err != nil {
		return false
	}
	if cap(c.body) > maxKeptBuffer {
		c.body = nil
	}
	return keep
}

// readRequest reads head and body. A *refusal is to be answered; any other error is not.
func (c *serverConn) readRequest() (*request, endpoint, bool, error) {
	budget := maxHeadBytes
	line, err := readLine(c.br, &budget)
	if err != nil {
		return nil, endpoint{}, false, badRequest(err)
	}
	req := &request{received: time.Now()}
	ep, err := c.route(req, line)
	if err != nil {
		return nil, ep, false, err
	}
	frame, expect := framing{length: -1}, false
	err = readHeaders(c.br, &budget, func(name, value []byte) error {
		if own, err := frame.take(name, value); own {
			return err
		}
		switch {
		case bytes.EqualFold(name, hdrContentType):
			if len(value) > maxContentType {
				return fmt.Errorf("%w: Content-Type too long", errHead)
			}
			c.ctype = append(c.ctype[:0], value...)
			req.contentType = c.ctype
		case bytes.EqualFold(name, hdrExpect):
			expect = true
		}
		return nil
	})
	if err != nil {
		return nil, ep, false, badRequest(err)
	}
	err = c.readBody(req, ep, frame, expect)
	return req, ep, !frame.close, err
}

// route reads the request line and finds its endpoint.
func (c *serverConn) route(req *request, line []byte) (endpoint, error) {
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !isToken(method) || !bytes.HasPrefix(version, []byte("HTTP/")) {
		return endpoint{}, &refusal{http.StatusBadRequest, "malformed request line"}
	}
	if string(version) != "HTTP/1.1" {
		return endpoint{}, &refusal{http.StatusHTTPVersionNotSupported, "only HTTP/1.1 is spoken here"}
	}
	ep, found := c.server.endpoints[string(target)]
	if !found {
		return ep, &refusal{http.StatusNotFound, "no such path"}
	}
	if string(method) != ep.method {
		return ep, &refusal{http.StatusMethodNotAllowed, "use " + ep.method}
	}
	req.method, req.path = ep.method, ep.path
	return ep, nil
}

// readBody fills req.body within the endpoint's limit.
func (c *serverConn) readBody(req *request, ep endpoint, frame framing, expect bool) error {
	switch {
	case frame.chunked:
		return &refusal{http.StatusLengthRequired, "send a Content-Length, not chunks"}
	case frame.length < 0 && ep.method == http.MethodPost:
		return &refusal{http.StatusLengthRequired, "Content-Length missing"}
	case frame.length > ep.maxBody:
		return &refusal{http.StatusRequestEntityTooLarge, "body longer than " + strconv.Itoa(ep.maxBody) + " bytes"}
	}
	if expect {
		if _, err := io.WriteString(c.conn, continueMessage); err != nil {
			return fmt.Errorf("write 100 Continue: %w", err)
		}
	}
	n := max(frame.length, 0)
	c.body = slices.Grow(c.body[:0], n)[:n]
	if _, err := io.ReadFull(c.br, c.body); err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	req.body = c.body
	return nil
}

// write sends a reply in one segment. The deadline is armed only where a write could block: a long
// reply, or a client that sends on without reading.
func (c *serverConn) write(r reply, keep bool) error {
	out := append(c.out[:0], "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(r.status), 10)
	out = append(append(out, ' '), http.StatusText(r.status)...)
	out = append(out, "\r\nContent-Type: "+statusJSON+"\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(r.body)), 10)
	if !keep {
		out = append(out, "\r\nConnection: close"...)
	}
	out = append(append(out, "\r\n\r\n"...), r.body...)
	c.out = out
	if len(out) > 32<<10 || c.br.Buffered() > 0 || !keep {
		if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return fmt.Errorf("set write deadline: %w", err)
		}
		defer func() { _ = c.conn.SetWriteDeadline(time.Time{}) }()
	}
	_, err := c.conn.Write(out)
	return err
}

// drain reads what a refused client is still sending, so that closing does not reset the connection
// before the client has read why.
func (c *serverConn) drain() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.CopyN(io.Discard, c.conn, 1<<20)
}

// badRequest makes a refusal of a malformed head and passes anything else on.
func badRequest(err error) error {
	if errors.Is(err, errHead) {
		return &refusal{http.StatusBadRequest, err.Error()}
	}
	return err
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

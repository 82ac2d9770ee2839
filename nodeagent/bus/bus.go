// Package bus takes orders over a connection that this node keeps to its brain, where no brain can connect to the node. It is the
// node agent's only door of NATS.
package bus

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sipio/sipio/brain/api"
)

// Times and bounds of the connection.
const (
	connectTimeout = 5 * time.Second
	reconnectWait  = time.Second // and up to as much again, so that not all nodes come at once
	pingEvery      = 10 * time.Second
	maxUnanswered  = 2 // pings; then the connection is made anew
	maxAtOnce      = 128
	orderTimeout   = 10 * time.Second // of who waits for the answer to an order; the order itself is not cut short
	drainTimeout   = time.Second      // for orders under way at the end
	failuresTold   = time.Minute      // between two lines about connecting in vain
)

// Config is what Run needs. Log may be left out.
type Config struct {
	URLs    []string     // tls://host:port of the brain's node-bus-listen
	Node    string       // name of this node
	Key     string       // its node key
	TLS     *tls.Config  // whom to trust; nil: the system's authorities
	Handler http.Handler // of api.PathOp
	Log     *slog.Logger
}

// server hands orders to the handler.
type server struct {
	cfg     Config
	ctx     context.Context // ends with Run
	slots   chan struct{}
	running sync.WaitGroup
}

// Run keeps the connection, and makes it anew for ever when it is lost, until ctx ends. No brain need be there yet. Its error is one of the settings.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	nc, err := nats.Connect(strings.Join(cfg.URLs, ","), options(cfg)...)
	if err != nil {
		return fmt.Errorf("bus-urls: %w", err)
	}
	defer nc.Close()
	s := &server{cfg: cfg, ctx: ctx, slots: make(chan struct{}, maxAtOnce)}
	sub, err := nc.Subscribe(api.OpSubject(cfg.Node), s.take)
	if err != nil {
		return fmt.Errorf("take orders over the bus: %w", err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // fails only when the connection is gone
	s.drain()
	_ = nc.FlushTimeout(drainTimeout) // likewise
	return nil
}

func options(cfg Config) []nats.Option {
	secured := cfg.TLS
	if secured == nil {
		secured = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	var told time.Time // the handlers run one after the other
	return []nats.Option{
		nats.Name("sipio-node"), nats.UserInfo(cfg.Node, cfg.Key), nats.Secure(secured), nats.Timeout(connectTimeout),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.IgnoreAuthErrorAbort(), nats.IgnoreDiscoveredServers(),
		nats.ReconnectBufSize(-1), // an answer that cannot be sent now is asked for again
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(maxUnanswered),
		nats.ConnectHandler(func(nc *nats.Conn) { cfg.Log.Info("connected to the bus of the brain", "address", nc.ConnectedAddr()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			cfg.Log.Info("connected to the bus of the brain again", "address", nc.ConnectedAddr())
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				cfg.Log.Warn("the connection to the bus of the brain is lost", "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if now := time.Now(); now.Sub(told) >= failuresTold {
				told = now
				cfg.Log.Warn("no connection to the bus of the brain", "addresses", cfg.URLs, "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { cfg.Log.Warn("bus of the brain", "error", err) }),
	}
}

// take hands an order on, and goes back to the connection at once.
func (s *server) take(m *nats.Msg) {
	select {
	case s.slots <- struct{}{}:
		s.running.Go(func() {
			defer func() { <-s.slots }()
			s.answer(m)
		})
	default:
		s.respond(m, http.StatusServiceUnavailable, []byte("too much to do\n"))
	}
}

// answer has an order carried out as HTTP would.
func (s *server) answer(m *nats.Msg) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), orderTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, api.PathOp, bytes.NewReader(m.Data))
	if err != nil {
		panic(err) // the method and the path are good
	}
	r.Header = http.Header(m.Header)
	w := &reply{head: http.Header{}, status: http.StatusOK}
	defer func() {
		if why := recover(); why != nil { // as a server of HTTP does
			s.cfg.Log.Error("an order over the bus panicked", "why", why)
			s.respond(m, http.StatusInternalServerError, nil)
		}
	}()
	s.cfg.Handler.ServeHTTP(w, r)
	s.respond(m, w.status, w.body.Bytes())
}

func (s *server) respond(m *nats.Msg, status int, body []byte) {
	answer := &nats.Msg{Header: nats.Header{api.HeaderOpStatus: {strconv.Itoa(status)}}, Data: body}
	if err := m.RespondMsg(answer); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.cfg.Log.Warn("the answer to an order was not sent over the bus", "error", err)
	}
}

// drain waits for orders under way, but not for long.
func (s *server) drain() {
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(drainTimeout):
	}
}

// reply is what a handler answers, kept until it has ended.
type reply struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

// Header is part of http.ResponseWriter. Nothing of it goes over the bus.
func (r *reply) Header() http.Header { return r.head }

// WriteHeader is part of http.ResponseWriter.
func (r *reply) WriteHeader(status int) { r.status = status }

// Write is part of http.ResponseWriter.
func (r *reply) Write(p []byte) (int, error) { return r.body.Write(p) }

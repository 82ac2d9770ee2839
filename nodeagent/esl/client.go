package esl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Pauses between two attempts to connect: doubled from the first to the longest, each shortened by up
// to a half at random. A connection that stood for settled begins anew.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	settled      = 10 * time.Second
)

// Client keeps an inbound connection to one FreeSWITCH.
type Client struct {
	addr, password string
	o              Options

	mu      sync.Mutex
	conn    *Conn         // the latest, which may have ended
	changed chan struct{} // closed, and made anew, when there is a new one
}

// NewClient makes a Client; Run connects it. With each new connection FreeSWITCH has forgotten all
// subscriptions and this side all events between: o.OnConnect is where both are made good.
func NewClient(addr, password string, o Options) *Client {
	return &Client{addr: addr, password: password, o: o.withDefaults(), changed: make(chan struct{})}
}

// Run connects, and connects again whenever the connection ends, until ctx does.
func (c *Client) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		connected, err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= settled {
			failures = 0
		}
		if connected || failures == 0 { // said once for each outage
			c.o.Log.Warn("FreeSWITCH's event socket is away", "addr", c.addr, "err", err)
		}
		idle(ctx, pauseAfter(failures, err))
		failures++
	}
}

// pauseAfter is the pause after so many failures in a row. A refusal does not pass soon.
func pauseAfter(failures int, err error) time.Duration {
	d := min(firstPause<<min(failures, 16), longestPause)
	if errors.Is(err, ErrAuth) || errors.Is(err, ErrRejected) {
		d = longestPause
	}
	return d - rand.N(d/2+1)
}

// session is one connection, from dialing to its end. The error says why it ended, or why there was none.
func (c *Client) session(ctx context.Context) (connected bool, err error) {
	conn, err := Dial(ctx, c.addr, c.password, c.o)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	if c.o.OnConnect != nil {
		if err := c.o.OnConnect(ctx, conn); err != nil {
			return false, fmt.Errorf("prepare the new connection: %w", err)
		}
	}
	c.set(conn)
	c.o.Log.Info("FreeSWITCH's event socket is connected", "addr", c.addr)
	select {
	case <-conn.Done():
		return true, conn.Err()
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

func (c *Client) set(conn *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	close(c.changed)
	c.changed = make(chan struct{})
}

// Conn returns the connection there is now, false while there is none. It may end at any time; then
// what is done with it fails with ErrClosed.
func (c *Client) Conn() (*Conn, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.conn.Err() != nil {
		return nil, false
	}
	return c.conn, true
}

// Wait returns the connection as soon as there is one, or the error of ctx.
func (c *Client) Wait(ctx context.Context) (*Conn, error) {
	for {
		c.mu.Lock()
		conn, changed := c.conn, c.changed
		c.mu.Unlock()
		if conn != nil && conn.Err() == nil {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

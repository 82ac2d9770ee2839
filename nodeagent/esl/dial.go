package esl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// keepAlive makes the kernel notice a host that is gone, also on connections that nobody probes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Dial connects to FreeSWITCH's event socket and logs in. The error is ErrAuth, ErrRejected, or says
// what did not come in time. While it is silent the connection is probed, so it ends soon after its
// FreeSWITCH.
func Dial(ctx context.Context, addr, password string, o Options) (*Conn, error) {
	o = o.withDefaults()
	d := net.Dialer{Timeout: o.DialTimeout, KeepAliveConfig: keepAlive}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial event socket: %w", err)
	}
	c, err := login(ctx, nc, password, o)
	if err != nil {
		return nil, fmt.Errorf("log in to event socket %s: %w", addr, err)
	}
	return c, nil
}

// login takes the connection through the greeting and the password. o has its defaults.
func login(ctx context.Context, nc net.Conn, password string, o Options) (*Conn, error) {
	c := start(nc, o)
	ctx, cancel := context.WithTimeout(ctx, o.AuthTimeout)
	defer cancel()
	if err := c.authenticate(ctx, password); err != nil {
		_ = c.Close() // says nothing new
		return nil, err
	}
	if o.KeepAlive > 0 {
		go c.watch()
	}
	return c, nil
}

func (c *Conn) authenticate(ctx context.Context, password string) error {
	select {
	case <-c.greeted:
	case <-ctx.Done():
		return fmt.Errorf("no greeting: %w", ctx.Err())
	case <-c.done:
		return c.Err()
	}
	_, err := c.Send(ctx, "auth "+password)
	if _, refused := errors.AsType[*CommandError](err); refused {
		return ErrAuth
	}
	return err
}

// watch probes the connection when it has been silent for KeepAlive, and ends it when the probe is
// not answered within ProbeTimeout and nothing else came either.
func (c *Conn) watch() {
	t := time.NewTimer(c.o.KeepAlive)
	defer t.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-t.C:
		}
		wait := c.quietFor()
		if wait > 0 {
			t.Reset(wait)
			continue
		}
		if err := c.probe(); err != nil {
			c.end(err)
			return
		}
		t.Reset(c.o.KeepAlive)
	}
}

// quietFor is how long silence may still last: KeepAlive from the last bytes, and as long as the
// oldest command may take, because FreeSWITCH sends nothing while it works on one.
func (c *Conn) quietFor() time.Duration {
	wait := c.o.KeepAlive - time.Since(c.born.Add(time.Duration(c.heard.Load())))
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 {
		wait = max(wait, time.Until(c.pending[0].expires))
	}
	return wait
}

func (c *Conn) probe() error {
	before := c.heard.Load()
	ctx, cancel := context.WithTimeout(context.Background(), c.o.ProbeTimeout)
	defer cancel()
	_, err := c.API(ctx, "status")
	// A long command may have gone out just before the probe: then its time counts.
	if err == nil || c.heard.Load() != before || c.quietFor() > 0 {
		return nil
	}
	return fmt.Errorf("%w: nothing for %v after a probe", ErrSilent, c.o.ProbeTimeout)
}

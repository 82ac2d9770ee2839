package esl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	maxRefusing   = 64 // calls over MaxConns that are being refused; beyond, they are only closed
	maxAcceptWait = time.Second
)

// Serve takes outbound connections: FreeSWITCH's `socket` application brings a call to each. It sends
// connect first thing, since FreeSWITCH leaves a call parked for ever whose application says nothing,
// and gives the connection with the channel's data to handle, in a goroutine of its own. The connection
// is closed when handle returns; handle must return when ctx ends. A peer that does not answer connect
// within AuthTimeout is closed. A call beyond MaxConns is hung up with SWITCH_CONGESTION.
//
// Serve closes l when ctx ends, waits for the handles and returns nil; another end of l is an error.
func Serve(ctx context.Context, l net.Listener, o Options, handle func(ctx context.Context, c *Conn, channel *Event)) error {
	o = o.withDefaults()
	s := &server{o: o, places: make(chan struct{}, o.MaxConns), refusing: make(chan struct{}, maxRefusing)}
	defer s.calls.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer func() { _ = l.Close() }()
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept event socket connections: %w", err)
		case err != nil: // out of files, say: it passes
			pause = min(max(2*pause, 5*time.Millisecond), maxAcceptWait)
			o.Log.Warn("event socket: accept", "err", err, "again_in", pause)
			idle(ctx, pause)
			continue
		}
		pause = 0
		s.place(ctx, nc, handle)
	}
}

// idle waits for d, or for the end of ctx.
func idle(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

type server struct {
	o                Options
	places, refusing chan struct{}
	calls            sync.WaitGroup
}

// place finds room for a connection: to be handled, to be refused, or none.
func (s *server) place(ctx context.Context, nc net.Conn, handle func(context.Context, *Conn, *Event)) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive) // without it a lost host is noticed later
	}
	select {
	case s.places <- struct{}{}:
		s.calls.Go(func() {
			defer func() { <-s.places }()
			s.call(ctx, nc, handle)
		})
		return
	default:
	}
	s.o.Log.Warn("event socket: call over the limit", "limit", s.o.MaxConns)
	select {
	case s.refusing <- struct{}{}:
		s.calls.Go(func() {
			defer func() { <-s.refusing }()
			s.call(ctx, nc, s.refuse)
		})
	default:
		_ = nc.Close()
	}
}

func (s *server) call(ctx context.Context, nc net.Conn, handle func(context.Context, *Conn, *Event)) {
	c := start(nc, s.o)
	defer func() { _ = c.Close() }()
	channel, err := c.connect(ctx)
	if err != nil {
		s.o.Log.Warn("event socket: connection without a call", "peer", nc.RemoteAddr().String(), "err", err)
		return
	}
	handle(ctx, c, channel)
}

// connect asks for the channel's data.
func (c *Conn) connect(ctx context.Context) (*Event, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.AuthTimeout)
	defer cancel()
	r, err := c.Send(ctx, "connect")
	if err != nil {
		return nil, err
	}
	if r.Event == nil {
		return nil, fmt.Errorf("%w: connect answered %q, without a channel", ErrProtocol, clip(r.Text))
	}
	return r.Event, nil
}

func (s *server) refuse(ctx context.Context, c *Conn, _ *Event) {
	ctx, cancel := context.WithTimeout(ctx, s.o.AuthTimeout)
	defer cancel()
	_, err := c.Send(ctx, "sendmsg", Header{"call-command", "hangup"}, Header{"hangup-cause", "SWITCH_CONGESTION"})
	if err != nil && ctx.Err() == nil {
		s.o.Log.Warn("event socket: refuse a call", "err", err)
	}
}

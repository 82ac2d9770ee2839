// Package scenario holds the calls that sipio must carry, each a named test against the real daemons:
// phones register, ring, talk and listen; what counts is the tone heard at the other end.
package scenario

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/acme.yaml
var acme string

// node is the edge that most scenarios share; those that kill or freeze something start their own.
var node *edge.Edge

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if netns.Inside() { // one test, with nodes of its own
		return m.Run()
	}
	var err error
	if node, err = edge.Start(context.Background(), edge.Options{Config: acme, LogDecisions: true}); err != nil {
		fmt.Fprintln(os.Stderr, "start the edge:", err)
		return 1
	}
	defer func() {
		for _, e := range []*edge.Edge{node, shortNonce, sha256Edge, shopEdge} {
			if e != nil {
				e.Stop()
			}
		}
		stopBoxes()
		edge.RemoveBinaries()
	}()
	return m.Run()
}

// within bounds one scenario.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// tails prints what the daemons said when the test failed.
func tails(t *testing.T, e *edge.Edge) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last lines of the daemons:\n%s", e.Tails(25))
		}
	})
}

// option changes the phone's configuration before it is made.
type option func(*phone.Config)

func over(transport string) option {
	return func(c *phone.Config) { c.Transport = transport }
}

func realm(domain string) option { return func(c *phone.Config) { c.Domain = domain } }

// inside has a phone live at an address of another network namespace.
func inside(ns *netns.NS, ip string) option {
	return func(c *phone.Config) {
		c.LocalIP, c.Control = ip, ns.Control
		c.ListenUDP = func(at *net.UDPAddr) (conn *net.UDPConn, err error) {
			err = ns.Do(func() error { conn, err = net.ListenUDP("udp", at); return err })
			return conn, err
		}
	}
}

func as(user string) option { return func(c *phone.Config) { c.User = user } }

// newPhone makes a phone of the account acme on e; it is closed with the test.
func newPhone(t *testing.T, e *edge.Edge, authUser string, opts ...option) *phone.Phone {
	t.Helper()
	cfg := phone.Config{AuthUser: authUser, Password: "secret-" + authUser, Domain: "acme.test",
		Transport: "udp", LocalIP: e.IP, InsecureTLS: true}
	for _, o := range opts {
		o(&cfg)
	}
	cfg.Proxy = map[string]string{"udp": e.SIP, "tcp": e.SIP, "tls": e.TLS, "wss": e.WSS}[cfg.Transport]
	p, err := phone.New(context.Background(), cfg)
	if err != nil {
		t.Fatalf("phone %s: %v", authUser, err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// registered makes a phone and registers it; it is unregistered with the test.
func registered(t *testing.T, e *edge.Edge, authUser string, opts ...option) *phone.Phone {
	t.Helper()
	p := newPhone(t, e, authUser, opts...)
	ctx := within(t, 20*time.Second)
	resp, err := p.Register(ctx, 10*time.Minute)
	if err != nil || resp.Code != 200 {
		t.Fatalf("register %s: %v %v\n%s", authUser, resp, err, e.Tails(10))
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = p.Unregister(ctx)
	})
	return p
}

// answering makes p answer its next call and hands over the call once it is up.
func answering(ctx context.Context, p *phone.Phone) <-chan *phone.Call {
	up := make(chan *phone.Call, 1)
	go func() {
		defer close(up)
		select {
		case in := <-p.Incoming():
			_ = in.Ring()
			if c, err := in.Answer(ctx); err == nil {
				up <- c
			}
		case <-ctx.Done():
		}
	}()
	return up
}

// connect has a call b at target and returns both ends.
func connect(t *testing.T, ctx context.Context, a, b *phone.Phone, target string, opts ...phone.CallOption) (caller, callee *phone.Call) {
	t.Helper()
	up := answering(ctx, b)
	caller, err := a.Call(ctx, target, opts...)
	if err != nil {
		t.Fatalf("call %s: %v", target, err)
	}
	callee, ok := <-up
	if !ok {
		t.Fatalf("call %s: answered, but not by the phone that should", target)
	}
	return caller, callee
}

// talk sends a tone each way and listens for it at the other end.
func talk(t *testing.T, ctx context.Context, a, b *phone.Call) {
	t.Helper()
	a.SendTone(440)
	b.SendTone(620)
	if _, err := b.HearTone(ctx, 440); err != nil {
		t.Errorf("the callee does not hear the caller: %v", err)
	}
	if _, err := a.HearTone(ctx, 620); err != nil {
		t.Errorf("the caller does not hear the callee: %v", err)
	}
}

// converse is a whole call: b, ringing for target, answers a, both are heard, a hangs up.
func converse(t *testing.T, ctx context.Context, e *edge.Edge, a, b *phone.Phone, target string) {
	t.Helper()
	caller, callee := connect(t, ctx, a, b, target)
	talk(t, ctx, caller, callee)
	hangUp(t, ctx, e, caller, callee)
}

// hangUp ends the call from one side and waits until the other knows and the relay has let go.
func hangUp(t *testing.T, ctx context.Context, e *edge.Edge, from, other *phone.Call) {
	t.Helper()
	if err := from.Bye(ctx); err != nil {
		t.Errorf("BYE: %v", err)
	}
	select {
	case <-other.Done():
	case <-ctx.Done():
		t.Error("the other end was not told that the call is over")
	}
	noMedia(t, ctx, e)
}

// noMedia waits until rtpengine relays nothing.
func noMedia(t *testing.T, ctx context.Context, e *edge.Edge) {
	t.Helper()
	eventually(t, ctx, "rtpengine to let go of every session", func() error {
		ids, err := e.MediaSessions()
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("still relaying %d: %v", len(ids), ids[:min(3, len(ids))])
		}
		return err
	})
}

// eventually waits for a condition that has no event of its own.
func eventually(t *testing.T, ctx context.Context, what string, ready func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// refused calls target and expects one of the final codes.
func refused(t *testing.T, ctx context.Context, p *phone.Phone, target string, codes ...int) *phone.StatusError {
	t.Helper()
	call, err := p.Call(ctx, target)
	if err == nil {
		_ = call.Bye(ctx)
		t.Fatalf("call %s was answered, want %v", target, codes)
	}
	var status *phone.StatusError
	if !errors.As(err, &status) || !slices.Contains(codes, status.Code) {
		t.Fatalf("call %s: %v, want %v", target, err, codes)
	}
	return status
}

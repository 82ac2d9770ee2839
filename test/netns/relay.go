package netns

import (
	"context"
	"io"
	"net"
	"testing"
)

// Relay has a loopback address of one namespace lead to the same address of another, for TCP, as a tunnel does. nil is
// the namespace that the test runs in. It ends with the test.
func Relay(t testing.TB, from, to *NS, addr string) {
	t.Helper()
	listen, dial := net.Listen, (&net.Dialer{}).DialContext
	if from != nil {
		listen = func(_, addr string) (net.Listener, error) { return from.Listen(addr) }
	}
	if to != nil {
		dial = to.DialContext
	}
	ln, err := listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = ln.Close() })
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			go relay(ctx, near, dial, addr)
		}
	}()
}

func relay(ctx context.Context, near net.Conn, dial func(context.Context, string, string) (net.Conn, error), addr string) {
	defer near.Close()
	far, err := dial(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { _ = near.Close(); _ = far.Close() })
	defer stop()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(way[1], way[0])
			_ = way[1].(*net.TCPConn).CloseWrite()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

// Package netns gives a test addresses of its own: it runs the test in a new network namespace, and makes further
// namespaces that are joined to it by a bridge, for attackers, phones and nodes. None of them has a name: the kernel
// takes them away, with their links and rules, when the test's process ends in whatever way.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// NS is a network namespace.
type NS struct {
	file *os.File
}

// New makes a namespace in which only loopback is up. It ends with the test.
func New(t testing.TB) *NS {
	t.Helper()
	ns, err := unshared()
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = ns.file.Close() })
	ns.ip(t, "link", "set", "lo", "up")
	return ns
}

// unshared makes a namespace on a thread that goes back to its own afterwards.
func unshared() (ns *NS, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		f, err := current()
		ns = &NS{f}
		return err
	})
	return ns, err
}

// current opens the namespace of the calling thread.
func current() (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
}

// onThread runs f on a thread that nothing else runs on meanwhile, and puts that back into the namespace where it was.
// A thread that cannot go back is given up.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := current()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = home.Close() }()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, fmt.Errorf("leave the namespace: %w", back))
			return // still locked: the thread ends with this goroutine
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// Do runs f inside the namespace: sockets that f itself opens and processes that it starts are there for good. What f
// has other goroutines do is not.
func (n *NS) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace: %w", err)
		}
		return f()
	})
}

// ListenUDP opens a UDP socket inside on host:port; port 0 is a free one.
func (n *NS) ListenUDP(addr string) (conn *net.UDPConn, err error) {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	err = n.Do(func() (err error) { conn, err = net.ListenUDP("udp", at); return err })
	return conn, err
}

// Listen opens a TCP listener inside.
func (n *NS) Listen(addr string) (ln net.Listener, err error) {
	err = n.Do(func() (err error) { ln, err = net.Listen("tcp", addr); return err })
	return ln, err
}

// DialContext connects from inside to a numeric address; it fits http.Transport.
func (n *NS) DialContext(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = n.Do(func() (err error) { conn, err = (&net.Dialer{}).DialContext(ctx, network, addr); return err })
	return conn, err
}

// Control has a socket that is about to be bound or connected be one of the inside; it fits net.Dialer and net.ListenConfig.
func (n *NS) Control(network, _ string, c syscall.RawConn) error {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if strings.HasSuffix(network, "6") {
		family = unix.AF_INET6
	}
	if strings.HasPrefix(network, "udp") {
		kind = unix.SOCK_DGRAM
	}
	return n.Do(func() error {
		inside, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		defer func() { _ = unix.Close(inside) }()
		var moved error
		if err := c.Control(func(fd uintptr) { moved = unix.Dup3(inside, int(fd), unix.O_CLOEXEC) }); err != nil {
			return err
		}
		return moved
	})
}

// Start starts a command inside.
func (n *NS) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Output runs a command inside to its end and returns what it printed, on both of its outputs.
func (n *NS) Output(ctx context.Context, name string, args ...string) (out []byte, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	err = n.Do(func() (err error) { out, err = cmd.CombinedOutput(); return err })
	return out, err
}

// ip runs ip(8) inside; its failure is the test's.
func (n *NS) ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := n.Output(context.Background(), "ip", args...); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// path names the namespace for ip(8).
func (n *NS) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"sync"
	"time"
)

// relay is a socket between the node agent and FreeSWITCH. It notes when orders to ring agents, and to let them go, come by.
type relay struct {
	ln net.Listener

	mu    sync.Mutex
	to    string                    // FreeSWITCH; "" = not there yet
	users map[string]string         // by channel
	waits map[string]chan time.Time // by what is waited for
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

// Orders that matter.
var (
	ringOrder = regexp.MustCompile(`^bgapi originate .*origination_uuid=(leg-[^;]+);.*='agent/([^']+)'`)
	killOrder = regexp.MustCompile(`^api uuid_kill (leg-\S+)`)
)

// orderTime bounds the wait for an order.
const orderTime = 5 * time.Second

func newRelay() (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{ln: ln, users: map[string]string{}, waits: map[string]chan time.Time{}, conns: map[net.Conn]bool{}}
	r.all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			r.all.Go(func() { r.carry(conn) })
		}
	})
	return r, nil
}

// carry passes one connection on, as long as both ends want it.
func (r *relay) carry(from net.Conn) {
	defer from.Close()
	r.mu.Lock()
	addr := r.to
	r.mu.Unlock()
	to, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return // the node agent comes again
	}
	defer to.Close()
	r.mu.Lock()
	r.conns[from], r.conns[to] = true, true
	r.mu.Unlock()
	r.all.Go(func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
	buf, line := make([]byte, 64<<10), []byte(nil)
	for {
		n, err := from.Read(buf)
		now := time.Now()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			line = append(line, buf[:n]...)
			for i := bytes.IndexByte(line, '\n'); i >= 0; i = bytes.IndexByte(line, '\n') {
				r.note(line[:i], now)
				line = line[i+1:]
			}
		}
		if err != nil {
			return
		}
	}
}

// lead says where FreeSWITCH is.
func (r *relay) lead(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = addr
}

func (r *relay) note(order []byte, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what := ""
	if m := ringOrder.FindSubmatch(order); m != nil {
		r.users[string(m[1])] = string(m[2])
		what = "ring " + string(m[2])
	} else if m := killOrder.FindSubmatch(order); m != nil {
		what = "kill " + r.users[string(m[1])]
	}
	if c := r.waits[what]; c != nil {
		delete(r.waits, what)
		c <- now
	}
}

// expect begins to wait for an order about a user: ring or kill.
func (r *relay) expect(order, user string) <-chan time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := make(chan time.Time, 1)
	r.waits[order+" "+user] = c
	return c
}

// await returns when what was expected came by.
func await(ctx context.Context, c <-chan time.Time, what string) (time.Time, error) {
	limit := time.NewTimer(orderTime)
	defer limit.Stop()
	select {
	case t := <-c:
		return t, nil
	case <-limit.C:
		return time.Time{}, fmt.Errorf("no order to %s within %v", what, orderTime)
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

func (r *relay) close() {
	_ = r.ln.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.all.Wait()
}

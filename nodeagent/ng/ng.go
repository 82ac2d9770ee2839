// Package ng asks rtpengine over its ng control protocol (bencode over UDP, each request named by a
// cookie) and ends media sessions whose call is over.
package ng

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Retransmission of a request. rtpengine remembers cookies and repeats its answer for one it has
// seen, so a repeated request is carried out once.
const (
	resendAfter = 250 * time.Millisecond
	maxDatagram = 64 << 10
)

// ErrUnknownCall is rtpengine's answer about a Call-ID that has no media session.
var ErrUnknownCall = errors.New("rtpengine knows no such call")

// Error is a refusal by rtpengine, in its words.
type Error struct {
	Command string
	Reason  string
}

func (e *Error) Error() string { return fmt.Sprintf("rtpengine refused %s: %s", e.Command, e.Reason) }

// Client speaks to one rtpengine. One request is under way at a time.
type Client struct {
	timeout time.Duration

	mu     sync.Mutex
	conn   net.Conn
	prefix string // makes cookies differ from those of any earlier process
	next   uint64
	buf    []byte
}

// Dial makes a Client for the ng address of an rtpengine. UDP connects to nothing, so an rtpengine
// that is away shows only at the first request. timeout bounds each request with all its repeats.
func Dial(addr string, timeout time.Duration) (*Client, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("open ng socket to %s: %w", addr, err)
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return &Client{timeout: timeout, conn: conn, prefix: hex.EncodeToString(random[:]), buf: make([]byte, maxDatagram)}, nil
}

// Close lets go of the socket.
func (c *Client) Close() error { return c.conn.Close() }

// Call sends a command with its arguments and returns the answer's dictionary. An answer other than
// ok or pong is an *Error, or ErrUnknownCall.
func (c *Client) Call(ctx context.Context, command string, args map[string]any) (map[string]any, error) {
	dict := map[string]any{"command": command}
	for k, v := range args {
		dict[k] = v
	}
	answer, err := c.exchange(ctx, dict)
	if err != nil {
		return nil, fmt.Errorf("ng %s: %w", command, err)
	}
	switch result, _ := answer["result"].(string); result {
	case "ok", "pong":
		return answer, nil
	}
	reason, _ := answer["error-reason"].(string)
	if strings.EqualFold(reason, "Unknown call-id") {
		return nil, fmt.Errorf("ng %s: %w", command, ErrUnknownCall)
	}
	return nil, &Error{command, reason}
}

func (c *Client) exchange(ctx context.Context, dict map[string]any) (map[string]any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	cookie := c.prefix + "_" + strconv.FormatUint(c.next, 10)
	out, err := encode([]byte(cookie+" "), dict)
	if err != nil {
		return nil, err
	}
	if len(out) > maxDatagram {
		return nil, fmt.Errorf("request of %d bytes, limit %d", len(out), maxDatagram)
	}
	end := time.Now().Add(c.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for time.Now().Before(end) && ctx.Err() == nil {
		if _, err = c.conn.Write(out); err != nil { // the port was closed a moment ago: send again
			if err := c.wait(ctx, end); err != nil {
				return nil, err
			}
			continue
		}
		resend := time.Now().Add(resendAfter)
		if resend.After(end) {
			resend = end
		}
		answer, got, err := c.read(cookie, resend)
		if got {
			return answer, err
		}
		if err != nil && !isTimeout(err) {
			if err := c.wait(ctx, end); err != nil {
				return nil, err
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, errors.New("no answer in time")
}

// wait holds back a repeat after the kernel reported a closed port.
func (c *Client) wait(ctx context.Context, end time.Time) error {
	t := time.NewTimer(min(resendAfter, max(time.Until(end), 0)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// read takes datagrams until the one with the cookie comes or the deadline passes. Answers to
// earlier requests and foreign bytes are skipped.
func (c *Client) read(cookie string, deadline time.Time) (answer map[string]any, got bool, err error) {
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return nil, true, fmt.Errorf("set ng deadline: %w", err)
	}
	for {
		n, err := c.conn.Read(c.buf)
		if err != nil {
			return nil, false, err
		}
		body, ours := bytes.CutPrefix(c.buf[:n], []byte(cookie+" "))
		if !ours {
			continue
		}
		v, err := decode(body)
		if err != nil {
			return nil, true, fmt.Errorf("read answer: %w", err)
		}
		dict, ok := v.(map[string]any)
		if !ok {
			return nil, true, errors.New("answer is no dictionary")
		}
		return dict, true, nil
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// Ping reports whether rtpengine answers.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.Call(ctx, "ping", nil)
	return err
}

// Session is what a query says of one media session.
type Session struct {
	Created time.Time // to the second
}

// Query asks about one call; ErrUnknownCall when it has no media session. rtpengine goes on listing
// a deleted session for its delete-delay (30 s unless configured).
func (c *Client) Query(ctx context.Context, callID string) (Session, error) {
	answer, err := c.Call(ctx, "query", map[string]any{"call-id": callID})
	if err != nil {
		return Session{}, err
	}
	created, _ := answer["created"].(int64)
	return Session{Created: time.Unix(created, 0)}, nil
}

// List returns the Call-IDs of at most limit media sessions, in no order.
func (c *Client) List(ctx context.Context, limit int) ([]string, error) {
	answer, err := c.Call(ctx, "list", map[string]any{"limit": limit})
	if err != nil {
		return nil, err
	}
	calls, _ := answer["calls"].([]any)
	ids := make([]string, 0, len(calls))
	for _, v := range calls {
		if id, ok := v.(string); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Delete ends the whole media session of a call at once; ErrUnknownCall when there is none.
func (c *Client) Delete(ctx context.Context, callID string) error {
	_, err := c.Call(ctx, "delete", map[string]any{"call-id": callID, "delete-delay": 0})
	return err
}

// Statistics are the counters the node agent reports.
type Statistics struct {
	Sessions      int   // media sessions now
	KernelPackets int64 // packets a second relayed in the kernel
	UserPackets   int64 // packets a second relayed in userspace
	KernelMedia   int   // media streams now relayed in the kernel, wholly or in part
	RelayedKernel int64 // packets relayed in the kernel since start
}

// KernelForwarding reports whether the kernel module has relayed anything: never with table=-1.
func (s Statistics) KernelForwarding() bool { return s.KernelMedia > 0 || s.RelayedKernel > 0 }

// Statistics asks for the counters.
func (c *Client) Statistics(ctx context.Context) (Statistics, error) {
	answer, err := c.Call(ctx, "statistics", nil)
	if err != nil {
		return Statistics{}, err
	}
	all, _ := answer["statistics"].(map[string]any)
	now, ok := all["currentstatistics"].(map[string]any)
	if !ok {
		return Statistics{}, errors.New("ng statistics: no current statistics in the answer")
	}
	total, _ := all["totalstatistics"].(map[string]any)
	return Statistics{
		Sessions:      int(number(now["sessionstotal"])),
		KernelPackets: number(now["packetrate_kernel"]),
		UserPackets:   number(now["packetrate_user"]),
		KernelMedia:   int(number(now["media_kernel"]) + number(now["media_mixed"])),
		RelayedKernel: number(total["relayedpackets_kernel"]),
	}, nil
}

// number reads a counter, which rtpengine gives as an integer or as decimal text.
func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

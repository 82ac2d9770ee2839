// Package esl speaks FreeSWITCH's event socket: inbound, where we dial and log in, and outbound, where
// FreeSWITCH brings us a call. It drives calls command by command and hands on events in order.
//
// One goroutine reads each connection and never waits for anybody: replies go to the commands that
// asked, in the order they asked, and events into a bounded queue. When that is full the oldest events
// are dropped and a gap marker says how many (Event.Lost).
//
// Event-Sequence is not used to find gaps. FreeSWITCH counts every event of the process there, also
// those that this connection has not subscribed to, so numbers are missing all the time. It drops
// events by itself only for a client that does not read, and then ends the connection.
package esl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors by which a connection ends or a command fails. Test with errors.Is.
var (
	// ErrClosed is in every error of a connection that has ended, wrapping the reason.
	ErrClosed = errors.New("event socket closed")
	// ErrAuth is FreeSWITCH's refusal of the password.
	ErrAuth = errors.New("event socket password refused")
	// ErrRejected is FreeSWITCH's refusal of our address (its ACL), before any password.
	ErrRejected = errors.New("event socket refuses this address")
	// ErrDisconnected is the notice by which FreeSWITCH ends a connection: after exit, a wrong password,
	// the end of an outbound call, or its own shutdown. The notice is in the error's text.
	ErrDisconnected = errors.New("FreeSWITCH ended the connection")
	// ErrSilent is a peer that did not answer a probe in time.
	ErrSilent = errors.New("FreeSWITCH does not answer")
	// ErrBusy is too many commands or jobs waiting for an answer on one connection.
	ErrBusy = errors.New("too many commands wait on the event socket")
	// ErrInvalid is a command that must not be sent. Nothing of it was written.
	ErrInvalid = errors.New("event socket command is invalid")
)

// Options of connections. The zero value of a field means its default.
type Options struct {
	QueueSize      int           // events that wait for Next; default 4096
	QueueBytes     int           // memory they may hold, in bytes, roughly; default 64 MiB
	Log            *slog.Logger  // default: nothing is logged
	JSON           bool          // format that Subscribe and BgAPI ask events in; read are both
	DialTimeout    time.Duration // TCP connect; default 5 s
	AuthTimeout    time.Duration // from the first byte until the peer has logged us in, or has sent its call; default 10 s
	CommandTimeout time.Duration // a command whose context has no deadline, and each write; default 15 s, above the 10.2 s that FreeSWITCH may need for uuid_media
	JobTimeout     time.Duration // BgAPI whose context has no deadline; default 3 min
	KeepAlive      time.Duration // inbound: silence after which a probe is sent; default 5 s, below 0 never
	ProbeTimeout   time.Duration // then without an answer the connection is closed; default 5 s
	MaxConns       int           // outbound: calls at a time; default 4096
	// OnConnect is called by Client for each new connection before anybody else sees it: subscribe and
	// take a snapshot there. After an error the connection is closed and dialed anew.
	OnConnect func(context.Context, *Conn) error
}

func (o Options) withDefaults() Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	last := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.QueueSize, 4096)
	set(&o.QueueBytes, 64<<20)
	set(&o.MaxConns, 4096)
	last(&o.DialTimeout, 5*time.Second)
	last(&o.AuthTimeout, 10*time.Second)
	last(&o.CommandTimeout, 15*time.Second)
	last(&o.JobTimeout, 3*time.Minute)
	last(&o.KeepAlive, 5*time.Second)
	last(&o.ProbeTimeout, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Conn is one event socket connection. Any number of goroutines may send commands; events are taken
// by one.
type Conn struct {
	o      Options
	nc     net.Conn
	events *queue

	writing chan struct{} // held by the one that writes
	greeted chan struct{} // closed when the peer asked for the password
	done    chan struct{}
	read    chan struct{} // closed when the reader is gone
	heard   atomic.Int64  // when the last bytes came, by the monotonic clock since born
	born    time.Time

	jobsAsked  atomic.Bool // BACKGROUND_JOB is subscribed to
	complained bool        // of bytes that cannot be used; the reader's own

	mu      sync.Mutex
	pending []*waiter              // commands without a reply yet, oldest first
	jobs    map[string]chan string // results that BgAPI waits for, by Job-UUID
	reason  error                  // why the connection ended
}

// waiter is a command that was written. It stays in the queue when its sender has stopped waiting, and
// then its reply goes nowhere: otherwise every later command would get the reply of the one before.
type waiter struct {
	verb    string
	reply   chan Reply // has room for the one reply
	expires time.Time  // until then silence of the peer is not strange: it is at work
}

// start begins to read a connection.
func start(nc net.Conn, o Options) *Conn {
	c := &Conn{
		o: o, nc: nc, events: newQueue(o.QueueSize, o.QueueBytes), born: time.Now(),
		writing: make(chan struct{}, 1), greeted: make(chan struct{}), done: make(chan struct{}), read: make(chan struct{}),
		jobs: map[string]chan string{},
	}
	go c.readAll()
	return c
}

// Next returns the next event, or a gap marker (Event.Lost). What had arrived before the connection
// ended is still returned; then the error is ErrClosed wrapping the reason. One goroutine at a time
// should call it, for the sake of order.
func (c *Conn) Next(ctx context.Context) (*Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if e := c.events.take(); e != nil {
			return e, nil
		}
		select {
		case <-c.events.more:
		case <-ctx.Done():
		case <-c.read:
			if e := c.events.take(); e != nil {
				return e, nil
			}
			return nil, c.Err()
		}
	}
}

// Done is closed when the connection has ended, by whichever side.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns nil while the connection lives, then ErrClosed wrapping the reason.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// Close ends the connection; commands that wait get ErrClosed. It never waits for the peer. Closing
// twice does nothing.
func (c *Conn) Close() error {
	c.end(nil)
	<-c.read
	return nil
}

// end closes the connection for a reason; the first one counts.
func (c *Conn) end(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != nil {
		return
	}
	c.reason = ErrClosed
	if reason != nil {
		c.reason = fmt.Errorf("%w: %w", ErrClosed, reason)
	}
	_ = c.nc.Close() // the reason is known already
	close(c.done)
}

// readAll is the reader: it takes frames until the connection ends.
func (c *Conn) readAll() {
	defer close(c.read)
	in := newFrames(hearing{c})
	for {
		f, err := in.next()
		if err == nil {
			err = c.handle(&f)
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// hearing notes when bytes come.
type hearing struct{ c *Conn }

func (h hearing) Read(p []byte) (int, error) {
	n, err := h.c.nc.Read(p)
	if n > 0 {
		h.c.heard.Store(int64(time.Since(h.c.born)))
	}
	return n, err
}

// handle puts a frame where it belongs. An error ends the connection.
func (c *Conn) handle(f *frame) error {
	switch f.contentType {
	case "text/event-plain":
		e, err := parsePlain(string(f.body))
		c.event(e, err)
	case "text/event-json":
		e, err := parseJSON(f.body)
		c.event(e, err)
	case "command/reply", "api/response":
		return c.answer(f)
	case "auth/request":
		select {
		case <-c.greeted:
		default:
			close(c.greeted)
		}
	case "text/disconnect-notice":
		// With linger the call is over, but its last events still come, and a second notice.
		if f.get("Content-Disposition") != "linger" {
			return fmt.Errorf("%w: %s", ErrDisconnected, firstLine(f.body))
		}
	case "text/rude-rejection":
		return fmt.Errorf("%w: %s", ErrRejected, firstLine(f.body))
	case "log/data": // nobody here asks for FreeSWITCH's log
	default:
		c.complain("event socket: frame of unknown kind passed over", "content_type", clip(f.contentType), "bytes", len(f.body))
	}
	return nil
}

// complain logs the first oddity of a connection as a warning, what follows for those who look.
func (c *Conn) complain(msg string, args ...any) {
	level := slog.LevelWarn
	if c.complained {
		level = slog.LevelDebug
	}
	c.complained = true
	c.o.Log.Log(context.Background(), level, msg, args...)
}

func firstLine(body []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return clip(line)
}

// event hands on an event: to the BgAPI that waits for it, else to Next. One that cannot be read is a
// gap, since it may have told of a call's end.
func (c *Conn) event(e *Event, err error) {
	if err != nil {
		c.complain("event socket: event that cannot be read", "err", err)
		c.events.put(&Event{lost: 1})
		return
	}
	if e.Name() == "BACKGROUND_JOB" && c.finishJob(e) {
		return
	}
	c.events.put(e)
}

func (c *Conn) finishJob(e *Event) bool {
	id := e.Get("Job-UUID")
	c.mu.Lock()
	defer c.mu.Unlock()
	result, ours := c.jobs[id]
	if ours {
		delete(c.jobs, id)
		result <- e.body // has room
	}
	return ours
}

// answer gives a reply to the oldest command without one.
func (c *Conn) answer(f *frame) error {
	c.mu.Lock()
	if len(c.pending) == 0 {
		c.mu.Unlock()
		return fmt.Errorf("%w: %s that no command asked for", ErrProtocol, f.contentType)
	}
	w := c.pending[0]
	c.pending[0] = nil
	c.pending = c.pending[1:]
	c.mu.Unlock()
	if f.contentType == "api/response" && !strings.HasPrefix(w.verb, "api") {
		return fmt.Errorf("%w: api/response to %s", ErrProtocol, w.verb)
	}
	r, err := readReply(f, w.verb == "connect")
	if err != nil {
		return err
	}
	w.reply <- r // has room
	return nil
}

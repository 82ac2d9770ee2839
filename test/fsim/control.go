package fsim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// mostQueued is how many events wait for a client that does not read; mostLost how many it may lose on top
	// before it is cut (mod_event_socket.c).
	mostQueued, mostLost = 100_000, 500
	// maxCommand bounds a command with its headers, maxBody its body.
	maxCommand, maxBody = 64 << 10, 8 << 20
)

const goodbye = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"

// control is one connection of the event socket, of a client that came in or of an application that a call is given to.
type control struct {
	s    *Server
	conn net.Conn
	c    *channel // the call of an outbound connection, nil inbound

	commands chan *command
	bell     chan struct{}
	ended    chan struct{} // closed when nobody is there any more
	begun    chan struct{} // closed when `connect` was said, or never will be

	beginning sync.Once

	mu        sync.Mutex
	queue     []*event
	lost      int
	format    string // plain, json; "" before the first subscription
	all       bool
	names     map[string]bool
	mine      string // myevents: only this channel
	filters   [][2]string
	authed    bool
	connected bool // `connect` was said
	linger    time.Duration
	resume    bool
	callOver  bool
	killed    bool
}

// command is a line, its headers, its body.
type command struct {
	line    string
	headers map[string]string
	body    string
}

func (s *Server) newControl(conn net.Conn, c *channel) *control {
	l := &control{s: s, conn: conn, c: c, commands: make(chan *command), bell: make(chan struct{}, 1), ended: make(chan struct{}), begun: make(chan struct{}), names: map[string]bool{}}
	l.authed = c != nil
	return l
}

// accept takes clients until the listener is closed.
func (s *Server) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.serve(conn)
	}
}

// serve talks to one client.
func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	l := s.newControl(conn, nil)
	if !s.admitted(conn.RemoteAddr()) {
		const text = "Access Denied, go away.\n"
		l.write(fmt.Sprintf("Content-Type: text/rude-rejection\nContent-Length: %d\n\n%s", len(text), text))
		l.disconnect("")
		return
	}
	l.write("Content-Type: auth/request\n\n")
	l.run(s.opt.AuthTimeout)
}

func (s *Server) admitted(from net.Addr) bool {
	if len(s.opt.ACL) == 0 {
		return true
	}
	addr, ok := from.(*net.TCPAddr)
	return ok && slices.ContainsFunc(s.opt.ACL, func(cidr string) bool {
		_, network, err := net.ParseCIDR(cidr)
		return err == nil && network.Contains(addr.IP)
	})
}

// run is the thread of a connection: one command after the other, and between them the events. first bounds the
// wait for the first command.
func (l *control) run(first time.Duration) {
	l.s.enlist(l)
	defer l.s.delist(l)
	stop := make(chan struct{})
	defer close(stop)
	go l.read(stop)
	silent := time.NewTimer(first)
	defer silent.Stop()
	var lingering <-chan time.Time
	for {
		select {
		case cmd := <-l.commands:
			if cmd == nil {
				return
			}
			if done := l.handle(cmd); done {
				l.disconnect("")
				return
			}
			if l.ready() {
				silent.Stop()
			}
		case <-l.bell:
		case <-silent.C:
			l.disconnect("")
			return
		case <-lingering:
			l.disconnect("disconnect")
			return
		case <-l.s.stopping:
			l.drain()
			l.disconnect("The system is being shut down.\n")
			return
		}
		if !l.drain() {
			return
		}
		if over, d := l.finishing(); over && lingering == nil {
			if d <= 0 {
				l.disconnect("disconnect")
				return
			}
			l.write(fmt.Sprintf("Content-Type: text/disconnect-notice\nControlled-Session-UUID: %s\nContent-Disposition: linger\nChannel-Name: %s\nLinger-Time: %d\nContent-Length: 0\n\n",
				l.c.id, l.c.profile.channelName, int(d.Seconds())))
			lingering = time.After(d)
		}
	}
}

// ready says that the peer has said what it must say first.
func (l *control) ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.authed && (l.c == nil || l.connected)
}

// finishing says that the call of this connection is over, and how long it lingers on.
func (l *control) finishing() (bool, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.callOver || len(l.queue) > 0 {
		return false, 0
	}
	return true, l.linger
}

// over tells the connection that its call has ended.
func (l *control) over() {
	l.mu.Lock()
	l.callOver = true
	l.mu.Unlock()
	l.wake()
}

func (l *control) wake() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// read reads commands until the peer closes or the connection is done with.
func (l *control) read(stop <-chan struct{}) {
	defer close(l.commands)
	r := bufio.NewReaderSize(l.conn, 4096)
	for {
		cmd, err := readCommand(r)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.s.log.Debug("event socket", "peer", l.conn.RemoteAddr().String(), "error", err)
			}
			return
		}
		if cmd == nil {
			continue
		}
		select {
		case l.commands <- cmd:
		case <-stop:
			return
		}
	}
}

// readCommand reads up to an empty line, and the body that Content-Length announces. Nil: only an empty line.
func readCommand(r *bufio.Reader) (*command, error) {
	var lines []string
	size := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if size += len(line); size > maxCommand {
			return nil, fmt.Errorf("command of more than %d bytes", maxCommand)
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return nil, nil
	}
	cmd := &command{line: lines[0], headers: map[string]string{}}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		cmd.headers[strings.ToLower(strings.TrimSpace(name))] = strings.TrimLeft(value, " ")
	}
	if text := cmd.headers["content-length"]; text != "" {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 || n > maxBody {
			return nil, fmt.Errorf("Content-Length %q", text)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil, err
		}
		cmd.body = string(body)
	}
	return cmd, nil
}

func (l *control) write(text string) bool {
	if _, err := io.WriteString(l.conn, text); err != nil {
		l.s.log.Debug("event socket", "peer", l.conn.RemoteAddr().String(), "error", err)
		return false
	}
	return true
}

func (l *control) reply(text string) {
	l.write("Content-Type: command/reply\nReply-Text: " + text + "\n\n")
}

// disconnect says goodbye; what is "disconnect" for a call, or the text of a shutdown.
func (l *control) disconnect(what string) {
	head, text := "", goodbye
	switch {
	case l.c != nil:
		head = fmt.Sprintf("Controlled-Session-UUID: %s\nContent-Disposition: disconnect\n", l.c.id)
	case what != "" && what != "disconnect":
		text = what + text
	}
	l.write(fmt.Sprintf("Content-Type: text/disconnect-notice\n%sContent-Length: %d\n\n%s", head, len(text), text))
}

// take queues an event for this connection if it asked for it.
func (l *control) take(e *event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.wants(e) {
		return
	}
	if len(l.queue) >= mostQueued {
		if l.lost++; l.lost > mostLost && !l.killed {
			l.killed = true
			l.s.log.Warn("killed listener because of lost events", "peer", l.conn.RemoteAddr().String())
			l.conn.Close()
		}
		return
	}
	l.queue = append(l.queue, e)
	l.wake()
}

// drain writes the events that wait; false when the peer has gone. It takes few at a time: what is not written yet
// counts as waiting.
func (l *control) drain() bool {
	for {
		l.mu.Lock()
		n := min(len(l.queue), 64)
		queue, format := l.queue[:n:n], l.format
		if l.queue = l.queue[n:]; len(l.queue) == 0 {
			l.queue = nil
		}
		l.mu.Unlock()
		if len(queue) == 0 {
			return true
		}
		for _, e := range queue {
			kind, body := "text/event-plain", []byte(nil)
			if format == "json" {
				kind, body = "text/event-json", e.json()
			} else {
				body = e.plain()
			}
			if !l.write(fmt.Sprintf("Content-Length: %d\nContent-Type: %s\n\n%s", len(body), kind, body)) {
				return false
			}
		}
	}
}

package fsim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/phone"
	"github.com/sipio/sipio/test/phone/tone"
)

// patience bounds every wait of these tests.
const patience = 15 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(stop)
	return ctx
}

// app is a node agent played by a test: it takes calls that the switch hands over.
type app struct {
	listener net.Listener
	calls    chan *client
}

func newApp(t *testing.T) *app {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{listener: l, calls: make(chan *client, 200)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			a.calls <- newClient(t, conn)
		}
	}()
	return a
}

func (a *app) addr() string { return a.listener.Addr().String() }

// take waits for the next call and says what an agent says first: connect, no guard, linger, events.
func (a *app) take(t *testing.T) *client {
	t.Helper()
	c := a.bare(t)
	c.connect(t)
	c.must(t, "api sched_del "+c.uuid, "+OK Deleted")
	c.must(t, "linger 5", "+OK will linger 5 seconds")
	c.must(t, "myevents", "+OK Events Enabled")
	c.must(t, "event plain PLAYBACK_START PLAYBACK_STOP RECORD_START RECORD_STOP CHANNEL_HOLD CHANNEL_UNHOLD CUSTOM conference::maintenance", "+OK event listener enabled plain")
	return c
}

func (a *app) bare(t *testing.T) *client {
	t.Helper()
	select {
	case c := <-a.calls:
		return c
	case <-time.After(patience):
		t.Fatal("no call was handed to the application")
		return nil
	}
}

// client is one connection of the event socket, read by a few lines of our own.
type client struct {
	conn    net.Conn
	uuid    string
	data    map[string]string // of the connect reply
	replies chan string       // Reply-Text, or the body of an api response
	events  chan map[string]string
	notices chan string
	once    sync.Once
}

func newClient(t *testing.T, conn net.Conn) *client {
	c := &client{conn: conn, replies: make(chan string, 100), events: make(chan map[string]string, 10000), notices: make(chan string, 10)}
	t.Cleanup(func() { conn.Close() })
	go c.read()
	return c
}

func (c *client) read() {
	defer close(c.notices)
	r := textproto.NewReader(bufio.NewReader(c.conn))
	for {
		h, err := r.ReadMIMEHeader()
		if err != nil {
			return
		}
		body := make([]byte, 0)
		if n, _ := strconv.Atoi(h.Get("Content-Length")); n > 0 && h.Get("Event-Name") == "" {
			body = make([]byte, n)
			if _, err := io.ReadFull(r.R, body); err != nil {
				return
			}
		}
		switch h.Get("Content-Type") {
		case "auth/request":
		case "command/reply":
			if h.Get("Event-Name") != "" {
				c.data = map[string]string{}
				for name := range h {
					c.data[name], _ = url.PathUnescape(h.Get(name))
				}
				c.uuid = c.data["Unique-Id"]
			}
			c.replies <- h.Get("Reply-Text")
		case "api/response":
			c.replies <- string(body)
		case "text/event-plain":
			c.events <- parsePlain(string(body))
		case "text/event-json":
			var all map[string]any
			json.Unmarshal(body, &all)
			e := map[string]string{}
			for k, v := range all {
				e[k] = fmt.Sprint(v)
			}
			c.events <- e
		case "text/disconnect-notice", "text/rude-rejection":
			c.notices <- h.Get("Content-Disposition") + string(body)
		}
	}
}

func parsePlain(text string) map[string]string {
	e := map[string]string{}
	head, body, _ := strings.Cut(text, "\n\n")
	for _, line := range strings.Split(head, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		e[name], _ = url.PathUnescape(value)
	}
	e["_body"] = body
	return e
}

// send writes one command and returns the reply.
func (c *client) send(t *testing.T, command string) string {
	t.Helper()
	if _, err := io.WriteString(c.conn, command+"\n\n"); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	select {
	case r := <-c.replies:
		return r
	case <-time.After(patience):
		t.Fatalf("%s: no reply", command)
		return ""
	}
}

func (c *client) must(t *testing.T, command, want string) string {
	t.Helper()
	got := c.send(t, command)
	if !strings.HasPrefix(got, want) {
		t.Fatalf("%s: answered %q, want %q", command, got, want)
	}
	return got
}

func (c *client) connect(t *testing.T) {
	t.Helper()
	c.send(t, "connect")
	if c.uuid == "" {
		t.Fatalf("the reply to connect has no Unique-ID: %v", c.data)
	}
}

// execute asks for an application and does not wait for it.
func (c *client) execute(t *testing.T, app, arg string, more ...string) {
	t.Helper()
	c.must(t, strings.Join(append([]string{"sendmsg", "call-command: execute", "execute-app-name: " + app, "execute-app-arg: " + arg}, more...), "\n"), "+OK")
}

// perform asks for an application and waits for its end, which it returns.
func (c *client) perform(t *testing.T, app, arg string) map[string]string {
	t.Helper()
	id := newUUID()
	c.execute(t, app, arg, "Event-UUID: "+id)
	return c.event(t, "CHANNEL_EXECUTE_COMPLETE", "Application-UUID", id)
}

// event waits for an event with the given headers (pairs of name and value).
func (c *client) event(t *testing.T, name string, headers ...string) map[string]string {
	t.Helper()
	deadline := time.After(patience)
	var seen []string
next:
	for {
		select {
		case e := <-c.events:
			seen = append(seen, e["Event-Name"]+" "+e["Application"]+e["Action"])
			if e["Event-Name"] != name {
				continue
			}
			for i := 0; i+1 < len(headers); i += 2 {
				if e[headers[i]] != headers[i+1] {
					continue next
				}
			}
			return e
		case <-deadline:
			t.Fatalf("no %s %v; came: %v", name, headers, seen)
		}
	}
}

// dialIn is an inbound client with its password said.
func dialIn(t *testing.T, s *Server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.ESL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	c.must(t, "auth "+s.Password, "+OK accepted")
	return c
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Records == "" {
		o.Records = t.TempDir()
	}
	s, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func newPhone(t *testing.T, proxy, user string) *phone.Phone {
	t.Helper()
	p, err := phone.New(context.Background(), phone.Config{AuthUser: user, Domain: "127.0.0.1", Proxy: proxy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// address is host:port at which a phone takes calls.
func address(p *phone.Phone) string {
	_, at, _ := strings.Cut(p.Contact(), "@")
	at, _, _ = strings.Cut(at, ">")
	at, _, _ = strings.Cut(at, ";")
	return at
}

// toneFile writes a sound of one frequency.
func toneFile(t *testing.T, hz float64, length time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("%g.wav", hz))
	w, err := createWAV(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	g := tone.NewGenerator(hz)
	for range int(length / frame) {
		var b block
		copy(b[:], g.Next(frameSamples))
		w.write(&b)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// hears fails the test when a call does not hear a tone.
func hears(ctx context.Context, t *testing.T, c *phone.Call, hz float64) {
	t.Helper()
	limit, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if _, err := c.HearTone(limit, hz); err != nil {
		t.Fatal(err)
	}
}

// wavTones says which of the given frequencies each channel of a file holds somewhere for 200 ms.
func wavChannels(t *testing.T, path string) [][]int16 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	channels := int(raw[22])
	out := make([][]int16, channels)
	for at := 44; at+2*channels <= len(raw); at += 2 * channels {
		for ch := range channels {
			out[ch] = append(out[ch], int16(uint16(raw[at+2*ch])|uint16(raw[at+2*ch+1])<<8))
		}
	}
	return out
}

func holds(samples []int16, hz float64) bool {
	var d tone.Detector
	for at := 0; at+frameSamples <= len(samples); at += frameSamples {
		d.Push(samples[at : at+frameSamples])
		if _, ok := d.Heard(hz); ok {
			return true
		}
	}
	return false
}

package freeswitch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/edge"
)

// agents is where FreeSWITCH brings its calls to: the node agent's place. It gives each call to the test whose token
// the caller sent.
type agents struct {
	refusing string // an address where nobody listens, tried first: so each call proves the failover
	address  string // where this one listens
	leave    func() // stops listening and closes all connections, as the death of the node agent would

	mu      sync.Mutex
	waiting map[string]chan *agent
}

// agent drives one call over its outbound event socket.
type agent struct {
	*esl.Conn
	start *esl.Event // the channel's data
	uuid  string
	seen  []string // events passed over, for telling what came instead
	jobs  int
}

// newAgents chooses the addresses of a site. Nobody listens there yet.
func newAgents() *agents {
	return &agents{refusing: "127.0.0.1:9", address: net.JoinHostPort("127.0.0.1", freePort()), waiting: map[string]chan *agent{}, leave: func() {}}
}

// addresses is what FreeSWITCH is told.
func (a *agents) addresses() string { return a.refusing + "|" + a.address }

// come begins to take calls, and again after leave.
func (a *agents) come(ctx context.Context) error {
	l, err := edge.Listen(a.address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = esl.Serve(ctx, l, esl.Options{}, a.take)
	}()
	a.leave = func() {
		cancel()
		<-served
	}
	return nil
}

// take hands one connection to its test, and keeps it until either side closes it.
func (a *agents) take(ctx context.Context, c *esl.Conn, channel *esl.Event) {
	select {
	case a.of(channel.Variable("sip_h_X-Sipio-Call")) <- &agent{Conn: c, start: channel, uuid: channel.UUID()}:
	case <-ctx.Done():
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
	}
}

// of is where the connections of a token are delivered.
func (a *agents) of(token string) chan *agent {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[token] == nil {
		a.waiting[token] = make(chan *agent, 4)
	}
	return a.waiting[token]
}

// wait is the next connection of a token.
func (a *agents) wait(t *testing.T, token string) *agent {
	t.Helper()
	select {
	case c := <-a.of(token):
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(patience):
		t.Fatalf("no event socket came for call %s", token)
		return nil
	}
}

// send sends a command that must succeed.
func (a *agent) send(t *testing.T, command string, headers ...esl.Header) esl.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := a.Send(ctx, command, headers...)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return r
}

// api runs an api command that must succeed.
func (a *agent) api(t *testing.T, command string) string {
	t.Helper()
	return apiOf(t, a.Conn, command)
}

func apiOf(t *testing.T, c *esl.Conn, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := c.API(ctx, command)
	if err != nil {
		t.Fatalf("api %s: %v", command, err)
	}
	return out
}

// variable is a variable of the channel, "" when it is not set.
func (a *agent) variable(t *testing.T, name string) string {
	t.Helper()
	if v := a.api(t, "uuid_getvar "+a.uuid+" "+name); v != "_undef_" {
		return v
	}
	return ""
}

// begin does what the node agent does first with a call.
func (a *agent) begin(t *testing.T) {
	t.Helper()
	a.api(t, "sched_del "+a.uuid)
	a.send(t, "linger 5")
	a.send(t, "myevents")
	a.send(t, "event plain DTMF PLAYBACK_START PLAYBACK_STOP RECORD_START RECORD_STOP CUSTOM conference::maintenance")
}

// next is the next event that fits. Those before it are passed over.
func (a *agent) next(t *testing.T, what string, fits func(*esl.Event) bool) *esl.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		e, err := a.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v; events so far:\n%s", what, err, strings.Join(a.seen, "\n"))
		}
		a.seen = append(a.seen, fmt.Sprintf("  %s %s %s %s", e.Name(), e.Get("Application"), e.Get("Action"), e.Get("Application-Response")))
		if fits(e) {
			return e
		}
	}
}

// named is the next event of that name.
func (a *agent) named(t *testing.T, name string) *esl.Event {
	t.Helper()
	return a.next(t, name, func(e *esl.Event) bool { return e.Name() == name })
}

// start begins an application and returns the id its events carry.
func (a *agent) begins(t *testing.T, app, arg string, lock bool) string {
	t.Helper()
	a.jobs++
	id := fmt.Sprintf("%s-%d", app, a.jobs)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Execute(ctx, "", app, arg, esl.Execute{EventUUID: id, Lock: lock}); err != nil {
		t.Fatalf("%s %s: %v", app, arg, err)
	}
	return id
}

// completed waits until the application of that id has ended.
func (a *agent) completed(t *testing.T, id string) *esl.Event {
	t.Helper()
	return a.next(t, "the end of "+id, func(e *esl.Event) bool {
		return e.Name() == "CHANNEL_EXECUTE_COMPLETE" && e.Get("Application-UUID") == id
	})
}

// runs executes an application to its end.
func (a *agent) runs(t *testing.T, app, arg string) *esl.Event {
	t.Helper()
	return a.completed(t, a.begins(t, app, arg, false))
}

// hangup ends the call.
func (a *agent) hangup(t *testing.T, cause string) {
	t.Helper()
	a.send(t, "sendmsg", esl.Header{Name: "call-command", Value: "hangup"}, esl.Header{Name: "hangup-cause", Value: cause})
}

// ended reads on until the connection has ended and returns the last event of each name and the reason.
func (a *agent) ended(t *testing.T) (map[string]*esl.Event, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	events := map[string]*esl.Event{}
	for {
		e, err := a.Next(ctx)
		if err != nil {
			if !errors.Is(err, esl.ErrClosed) {
				t.Fatalf("the connection did not end: %v", err)
			}
			return events, err
		}
		events[e.Name()] = e
	}
}

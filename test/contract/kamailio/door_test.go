package kamailio

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// door answers Kamailio's questions as each test says, and keeps what it was asked and told.
type door struct {
	addr string
	srv  *http.Server

	mu        sync.Mutex
	auth      map[string]http.HandlerFunc // by to_user; without one the REGISTER is accepted
	route     map[string]http.HandlerFunc // by from_user; without one the call is refused
	refer     map[string]http.HandlerFunc // by from_user; without one the REFER passes
	challenge map[string]http.HandlerFunc // by from_user; without one nothing is answered
	questions []question
	events    []event
	guard     []url.Values // lines of the guard
	away      bool         // events are refused
	guardHung bool         // the guard's lines are not taken, nor refused
}

// question is one POST to /auth, /route, /refer or /challenge.
type question struct {
	path, body, remote string
	header             http.Header
	form               url.Values
}

// event is one line of a batch, with the boot it belongs to.
type event struct {
	node, boot string
	url.Values
}

func openDoor() (*door, error) {
	d := &door{auth: map[string]http.HandlerFunc{}, route: map[string]http.HandlerFunc{}, refer: map[string]http.HandlerFunc{},
		challenge: map[string]http.HandlerFunc{}}
	at, err := edge.Addresses(1) // nobody takes its port while it is closed
	if err != nil {
		return nil, err
	}
	return d, d.open(at[0])
}

// open listens on addr; a door that was closed opens again where it was.
func (d *door) open(addr string) error {
	l, err := edge.Listen(addr)
	if err != nil {
		return fmt.Errorf("open the door: %w", err)
	}
	d.addr = l.Addr().String()
	d.srv = &http.Server{Handler: d, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = d.srv.Serve(l) }()
	return nil
}

func (d *door) close() error { return d.srv.Close() }

// ServeHTTP is the door: it notes what comes and answers as the test said for that user.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.URL.Path == api.PathPresenceEvent {
		d.take(w, string(body))
		return
	}
	if r.URL.Path == "/guard" {
		d.takeGuard(w, r, string(body))
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q := question{r.URL.Path, string(body), r.RemoteAddr, r.Header, form}
	d.mu.Lock()
	d.questions = append(d.questions, q)
	answer := d.auth[form.Get("to_user")]
	switch q.path {
	case api.PathRoute:
		answer = d.route[form.Get("from_user")]
	case api.PathRefer:
		answer = d.refer[form.Get("from_user")]
	case api.PathChallenge:
		if answer = d.challenge[form.Get("from_user")]; answer == nil {
			answer = says(api.ChallengeReply{Action: api.ActionReject})
		}
	}
	d.mu.Unlock()
	if answer == nil {
		answer = accepted(form)
	}
	answer(w, r)
}

// accepted saves a REGISTER's contact under its own AOR; a call without a directive gets this too, and fails.
func accepted(form url.Values) http.HandlerFunc {
	return says(api.AuthReply{Action: api.ActionAccept, AccountID: "acme", MaxContacts: 10,
		AOR: "sip:" + form.Get("to_user") + "@" + form.Get("to_domain")})
}

// take is /presence/event: a first line of node and boot, then an event a line.
func (d *door) take(w http.ResponseWriter, batch string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	lines := strings.Split(strings.TrimSuffix(batch, "\n"), "\n")
	head, err := url.ParseQuery(lines[0])
	for _, line := range lines[1:] {
		values, lineErr := url.ParseQuery(line)
		if lineErr != nil {
			err = lineErr
			break
		}
		d.events = append(d.events, event{head.Get("node"), head.Get("boot"), values})
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
	}
}

// takeGuard is /guard: a first line that names the node, then a line an offence or a known address.
func (d *door) takeGuard(w http.ResponseWriter, r *http.Request, batch string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.guardHung {
		d.mu.Unlock()
		<-r.Context().Done() // Kamailio does not wait long
		d.mu.Lock()
		return
	}
	lines := strings.Split(strings.TrimSuffix(batch, "\n"), "\n")
	if d.away || lines[0] != "node=node-1" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for _, line := range lines[1:] {
		values, err := url.ParseQuery(line)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		d.guard = append(d.guard, values)
	}
}

// says answers with v as JSON.
func says(v any) http.HandlerFunc {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a mistake in the test
	}
	return saysBody(http.StatusOK, string(b))
}

func saysBody(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// slowly answers after a while, or never when the asker goes first.
func slowly(wait time.Duration, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		<-ctx.Done()
		if r.Context().Err() == nil {
			then(w, r)
		}
	}
}

// onAuth and onRoute say how the questions of one user are answered.
func (d *door) onAuth(user string, answer http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.auth[user] = answer
}

func (d *door) onRoute(user string, answer http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.route[user] = answer
}

// obey makes the calls of user follow a directive.
func (d *door) obey(user string, directive api.Directive) {
	d.onRoute(user, says(api.RouteReply{RTJSON: directive}))
}

// setAway makes the door refuse events, and nothing else.
func (d *door) setAway(away bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = away
}

// hangGuard makes the door hold what the guard says, and nothing else.
func (d *door) hangGuard(hung bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guardHung = hung
}

// asked returns what was asked by or for a user.
func (d *door) asked(path, user string) []question {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []question
	for _, q := range d.questions {
		if q.path == path && (q.form.Get("from_user") == user || q.form.Get("to_user") == user) {
			out = append(out, q)
		}
	}
	return out
}

// told returns the events for which match holds.
func (d *door) told(match func(event) bool) []event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.events), func(e event) bool { return !match(e) })
}

// expectEvent waits for the event of that type whose field has that value.
func (d *door) expectEvent(t *testing.T, kind, field, value string) event {
	t.Helper()
	var got []event
	eventually(t, fmt.Sprintf("%s with %s=%s", kind, field, value), func() error {
		got = d.told(func(e event) bool { return e.Get("type") == kind && e.Get(field) == value })
		if len(got) == 0 {
			return fmt.Errorf("not among %v", d.told(func(e event) bool { return e.Get(field) == value }))
		}
		return nil
	})
	return got[0]
}

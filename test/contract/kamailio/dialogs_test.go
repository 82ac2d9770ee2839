package kamailio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/nodeagent/dialogs"
	"github.com/sipio/sipio/nodeagent/kam"
	"github.com/sipio/sipio/nodeagent/ng"
	"github.com/sipio/sipio/test/edge"
)

// lister makes the node agent's lists of a site's dialogs.
func lister(t *testing.T, s *site) *kam.Lister {
	t.Helper()
	return impatient(t, s, 30*time.Second)
}

// impatient does the same, and waits so long for each answer.
func impatient(t *testing.T, s *site, timeout time.Duration) *kam.Lister {
	t.Helper()
	dir, err := os.MkdirTemp("", "list") // t.TempDir is too long for a socket path
	if err != nil {
		t.Fatal(err)
	}
	client, err := kam.Open(s.KamailioSocket, filepath.Join(dir, "client"), timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(client.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return kam.NewLister(client, filepath.Join(dir, "dialogs"))
}

// counted makes every call of user ring target with a token of its own.
func counted(d *door, user, target string) {
	var n atomic.Int64
	d.onRoute(user, func(w http.ResponseWriter, r *http.Request) {
		directive := ring(to(1, target))
		directive.Call.From, directive.Call.To = "sip:"+user+"@acme.test", "sip:o'neil&%20@acme.test"
		directive.Call.Token = fmt.Sprintf("%sx%d", user, n.Add(1))
		says(api.RouteReply{RTJSON: directive})(w, r)
	})
}

// byCallID is a list by Call-ID; a Call-ID or a token that comes twice fails the test.
func byCallID(t *testing.T, list []api.Dialog) map[string]api.Dialog {
	t.Helper()
	out, tokens := map[string]api.Dialog{}, map[string]bool{}
	for _, d := range list {
		if _, twice := out[d.CallID]; twice || tokens[d.Token] {
			t.Errorf("listed twice: %+v", d)
		}
		out[d.CallID], tokens[d.Token] = d, true
	}
	return out
}

// Five thousand calls stand, far more than an answer of Kamailio's RPC holds, and others come and go: every list
// has every call that stands, with its account, token, From and To, and the life of Kamailio that its events
// name; when calls have ended they are listed no more.
func TestDialogs_EveryListIsComplete(t *testing.T) {
	started := time.Now().Add(-2 * time.Second) // Kamailio's seconds are whole ones, and a little behind
	s := startSite(t, edge.Options{Children: 8}, nil)
	const phones, each = 16, 320
	standing := make([][]*leg, phones)
	began := time.Now()
	t.Run("calls", func(t *testing.T) {
		for i := range phones {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				a, b := newSet(t, s, "udp", user("a")), registered(t, s, "udp", user("b"))
				counted(s.door, a.user, b.user)
				for range each {
					caller, _, _ := talk(a.newCall(b.user), b)
					standing[i] = append(standing[i], caller)
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Logf("%d calls in %v", phones*each, time.Since(began))
	l := lister(t, s)
	a, b := newSet(t, s, "udp", user("a")), registered(t, s, "udp", user("b"))
	counted(s.door, a.user, b.user)
	churn := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(churn)
		for ctx := t.Context(); ctx.Err() == nil; {
			select {
			case <-stop:
				return
			default:
			}
			call := a.newCall(b.user).dial()
			b.reject(b.request("INVITE"), 486)
			call.result()
		}
	}()
	for range 5 {
		asked := time.Now()
		list, err := l.Dialogs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d dialogs listed in %v", len(list), time.Since(asked))
		got := byCallID(t, list)
		for i := range standing {
			for n, caller := range standing[i] {
				d := got[caller.callID]
				if want := fmt.Sprintf("%sx%d", caller.user, n+1); d.Token != want || d.AccountID != "acme" ||
					d.From != "sip:"+caller.user+"@acme.test" || d.To != "sip:o'neil&%20@acme.test" || time.UnixMilli(d.SinceMS).Before(started) || time.Until(time.UnixMilli(d.SinceMS)) > time.Second {
					t.Fatalf("call %s of token %s is listed as %+v", caller.callID, want, d)
				}
			}
		}
	}
	close(stop)
	<-churn
	caller, callee, _ := talk(a.newCall(b.user), b)
	if list, err := l.Dialogs(t.Context()); err != nil || byCallID(t, list)[caller.callID].Token == "" {
		t.Errorf("a call that stands is not listed (%v)", err)
	}
	hangUp(t, caller, callee)
	end := s.door.expectEvent(t, api.EventDialogEnd, "call_id", caller.callID)
	if boot, sec, err := l.Boot(t.Context()); err != nil || boot != end.boot || time.Unix(sec, 0).Before(started) {
		t.Errorf("this life of Kamailio is %q from %d (%v), its events say %q", boot, sec, err, end.boot)
	}
	list, err := l.Dialogs(t.Context())
	if _, there := byCallID(t, list)[caller.callID]; err != nil || there || l.Nameless() != 0 {
		t.Errorf("after its end the call is listed: %t, %v; %d nameless", there, err, l.Nameless())
	}
}

// Kamailio is killed and started again with a call up: the reports go on, with the call, which Kamailio no longer
// knows, as long as rtpengine relays it; after its BYE it is gone. While Kamailio is away there is no report.
func TestDialogs_CallOutlivesKamailioInTheReports(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 4}, nil)
	media, err := ng.Dial(s.NG, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = media.Close() })
	reports := make(chan api.DialogReport, 1000)
	r := dialogs.New(dialogs.Config{
		// What is asked when Kamailio dies is not answered, and the next report comes after five times as long.
		Node: "node-1", Interval: 100 * time.Millisecond, Kamailio: impatient(t, s, time.Second), Media: sessions{media}, Log: slog.New(slog.DiscardHandler),
		Post: func(_ context.Context, report api.DialogReport) error { reports <- report; return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	a, b := registered(t, s, "udp", user("a")), registered(t, s, "udp", user("b"))
	counted(s.door, a.user, b.user)
	call := a.newCall(b.user)
	call.body = sdp(30000)
	call.dial()
	callee := b.answer(b.request("INVITE"), sdp(30002))
	caller := call.up()
	b.request("ACK")

	before := awaitReport(t, reports, "the call", func(r api.DialogReport) bool { return len(r.Dialogs) == 1 })
	if err := s.Kamailio.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now().UnixMilli()
	if err := s.StartKamailio(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := awaitReport(t, reports, "a report of the new Kamailio", func(r api.DialogReport) bool { return r.Boot != before.Boot })
	if after.TakenMS < killed || after.BootMS < before.BootMS || after.Seq <= before.Seq || after.Count != 1 || len(after.Dialogs) != 1 || after.Dialogs[0] != before.Dialogs[0] {
		t.Errorf("before %+v\nafter %+v, want the same call", before, after)
	}
	for range 5 {
		awaitReport(t, reports, "the call again", func(r api.DialogReport) bool { return len(r.Dialogs) == 1 })
	}
	hangUp(t, caller, callee)
	awaitReport(t, reports, "the end of the call", func(r api.DialogReport) bool { return r.Count == 0 })
}

// While the door takes no events, how many of them wait in Kamailio can be asked; when it takes them again, none do.
func TestEvents_ThatWaitAreCounted(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 2}, nil)
	client, err := kam.Open(s.KamailioSocket, filepath.Join(s.Dir, "queue.sock"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	s.door.setAway(true)
	p := newSet(t, s, "udp", user("many"))
	eventually(t, "events to wait", func() error { // the first ones are in the batch that is under way
		if m := p.register(registration{}); m.Code != 200 {
			return errors.New(m.StartLine)
		}
		n, err := client.Queued(t.Context())
		if err == nil && n < 3 {
			err = fmt.Errorf("%d wait", n)
		}
		return err
	})
	s.door.setAway(false)
	eventually(t, "none to wait", func() error {
		n, err := client.Queued(t.Context())
		if err == nil && n > 0 {
			err = fmt.Errorf("%d wait", n)
		}
		return err
	})
}

// sessions asks rtpengine as the node agent does.
type sessions struct{ *ng.Client }

func (s sessions) HasSession(ctx context.Context, callID string) (bool, error) {
	_, err := s.Query(ctx, callID)
	if errors.Is(err, ng.ErrUnknownCall) {
		return false, nil
	}
	return err == nil, err
}

// awaitReport waits for the first report for which match holds.
func awaitReport(t *testing.T, reports <-chan api.DialogReport, what string, match func(api.DialogReport) bool) api.DialogReport {
	t.Helper()
	timeout := time.After(time.Minute)
	var seen []string
	for {
		select {
		case r := <-reports:
			if match(r) {
				return r
			}
			seen = append(seen, fmt.Sprintf("%s:%d", r.Boot, r.Count))
		case <-timeout:
			t.Fatalf("no report of %s among %s", what, strings.Join(seen, " "))
		}
	}
}

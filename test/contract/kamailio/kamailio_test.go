// Package kamailio holds the contract of the real Kamailio with kamailio-cfg: what it asks, and that it does
// what it is told. The test itself is the door and says what to do; phones are sockets that send and read
// exact messages. No brain and no node agent takes part.
package kamailio

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/netns"
)

// silentMS is the SILENT_MS that test/edge writes into node.cfg, in milliseconds.
const silentMS = 2000

// shared is the edge of most tests, which run side by side; those that stop something start their own.
var shared *site

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Most tests wait for timers of Kamailio: they may wait together, whatever the machine has of cores.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if netns.Inside() {
		return m.Run() // one test, with a Kamailio of its own
	}
	var err error
	if shared, err = newSite(edge.Options{Children: 32}, nil); err != nil {
		fmt.Fprintln(os.Stderr, "start Kamailio:", err)
		return 1
	}
	defer shared.stop()
	return m.Run()
}

// site is one Kamailio with rtpengine and the door that it asks.
type site struct {
	*edge.Edge
	door  *door
	marks int // offences that linesOf has made
}

func newSite(opt edge.Options, edit func(path, content string) string) (*site, error) {
	d, err := openDoor()
	if err != nil {
		return nil, err
	}
	var e *edge.Edge
	for range 3 { // a port that was free a moment ago may be somebody's by now
		if e, err = edge.StartKamailioOnly(context.Background(), opt, d.addr, patient(edit)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return &site{Edge: e, door: d}, nil
}

// patient has Kamailio wait for the door 3 s instead of 1: the door is the test, which may be late where the real one is not.
func patient(edit func(path, content string) string) func(path, content string) string {
	return func(path, content string) string {
		content = strings.Replace(content, `modparam("http_client", "connection_timeout", 1)`, `modparam("http_client", "connection_timeout", 3)`, 1)
		if edit != nil {
			content = edit(path, content)
		}
		return content
	}
}

func (s *site) stop() {
	s.Stop()
	_ = s.door.close()
}

// startSite starts a site for one test.
func startSite(t *testing.T, opt edge.Options, edit func(path, content string) string) *site {
	t.Helper()
	s, err := newSite(opt, edit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	tails(t, s)
	return s
}

// tails prints what Kamailio said when the test failed.
func tails(t *testing.T, s *site) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last lines of Kamailio:\n%s", s.Kamailio.Tail(25))
		}
	})
}

var users atomic.Int64

// user is a name that no other test uses; the door tells the tests' questions apart by it.
func user(role string) string { return fmt.Sprintf("%s%d", role, users.Add(1)) }

// ring is a directive that walks routes; what is missing of the call is filled in.
func ring(routes ...api.Route) api.Directive {
	return api.Directive{
		Action: api.ActionProxy, Version: api.Version, AccountID: "acme", ConfigVersion: 7, Routing: "serial",
		Call: &api.CallInfo{Direction: "internal", From: "sip:a@acme.test", To: "sip:b@acme.test", MaxDurationSec: 600, Token: "Tok42"},
		Media: &api.Media{
			ToRTP:          "replace-origin replace-session-connection RTP/AVP ICE=remove",
			ToWebRTCOffer:  "replace-origin replace-session-connection RTP/SAVPF ICE=force DTLS=passive SDES-off",
			ToWebRTCAnswer: "replace-origin replace-session-connection RTP/SAVPF ICE=force DTLS=passive SDES-off",
		},
		Routes: routes,
	}
}

// to is a route to a user's phones in the given step, rung for a minute unless the test says otherwise.
func to(step int, user string) api.Route {
	return api.Route{Step: step, URI: "sip:" + user + "@acme.test", FrInvTimer: 60000}
}

// eventually waits for a condition that has no event of its own.
func eventually(t *testing.T, what string, ready func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ready(); err == nil {
			return
		}
	}
	t.Fatalf("waiting for %s: %v", what, err)
}

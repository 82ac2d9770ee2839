package kamailio

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// Several trunks that say nothing are asked about side by side, not one after the other in the one process that has the timers of
// all calls: each question is answered only when another one is there.
func TestOutTimer_SilentTrunksAreAskedAboutSideBySide(t *testing.T) {
	t.Parallel()
	s := startSite(t, edge.Options{Children: 8}, nil)
	var met sync.WaitGroup
	met.Add(2)
	together := make(chan struct{})
	go func() { met.Wait(); close(together) }()
	var calls []*outgoing
	var next []*set
	for range 2 {
		a, trunk, second := newSet(t, s, "udp", user("caller")), newSet(t, s, "udp", "ta"), newSet(t, s, "udp", "tb")
		r := over(trunk, "ta")
		r.Trunk.FrTimer = 500
		then := says(api.RouteReply{RTJSON: outward(over(second, "tb"))})
		s.door.script(a.user, says(api.RouteReply{RTJSON: outward(r)}), func(w http.ResponseWriter, q *http.Request) {
			met.Done()
			select {
			case <-together:
				then(w, q)
			case <-q.Context().Done(): // the edge has given up
			}
		})
		call := a.newCall("+4930123")
		call.prepare()
		calls, next = append(calls, call), append(next, second)
	}
	for _, call := range calls {
		call.send(call.invite)
	}
	for i, call := range calls {
		hangUp(t, next[i].answer(next[i].request("INVITE"), ""), call.up())
	}
}

// script answers the questions of a user's call by one handler after the other; a question too many finds none.
func (d *door) script(user string, answers ...http.HandlerFunc) {
	n := 0
	d.onRoute(user, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		i := n
		n++
		d.mu.Unlock()
		if i >= len(answers) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answers[i](w, r)
	})
}

// While a call waits for somebody free to ask what follows its silent trunk, the caller may hang up, and hears 487 with nothing asked;
// a late answer of that trunk is nobody's; when the door says nothing it is 503. None leaves a dialog, media or a transaction behind.
func TestOutTimer_WhatHappensBeforeTheQuestion(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"cancel", "late 200", "no brain"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := startSite(t, edge.Options{Children: 8}, func(path, c string) string {
				return strings.Replace(c, "async_workers=8", "async_workers=1", 1)
			})
			asked := make(chan struct{})
			var before []silent
			for range 4 { // each keeps the one who asks for a second, which is as long as he waits
				busy := silentCall(t, s, func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-asked:
						says(api.RouteReply{RTJSON: reject(404, "Not Found", 0)})(w, r)
					case <-r.Context().Done():
					}
				})
				busy.send(busy.invite)
				before = append(before, busy)
			}
			next := newSet(t, s, "udp", "tb")
			then := says(api.RouteReply{RTJSON: outward(over(next, "tb"))})
			if what == "no brain" {
				then = saysBody(503, "")
			}
			call := silentCall(t, s, then)
			call.send(call.invite)
			invite := call.trunk.request("INVITE")
			timePasses(t, s)
			switch what {
			case "cancel":
				call.cancel()
				call.ended(487)
				close(asked)
				behind := silentCall(t, s, says(api.RouteReply{RTJSON: reject(404, "Not Found", 0)})) // its turn comes last
				behind.send(behind.invite)
				behind.refused(404)
				laterThan(t, s, call.user, 0)
			case "late 200":
				call.trunk.send(call.trunk.response(invite.RawMessage, 200, "OK", "", ""))
				close(asked)
				hangUp(t, next.answer(next.request("INVITE"), sdp(40002)), call.up())
				noMedia(t, s, call.callID)
			case "no brain":
				close(asked)
				call.ended(503)
			}
			noDialog(t, s, call.callID)
			for _, busy := range before {
				busy.result()
			}
		})
	}
}

// timePasses waits until the times of calls that were sent before are over: those of one that comes later are.
func timePasses(t *testing.T, s *site) {
	t.Helper()
	a, trunk := newSet(t, s, "udp", user("caller")), newSet(t, s, "udp", "ta")
	r := over(trunk, "ta")
	r.FrInvTimer = 600
	s.door.plan(a.user, outward(r))
	a.newCall("+4930123").dial()
	invite := trunk.request("INVITE")
	trunk.reply(invite, 180, "Ringing")
	trunk.reply(trunk.request("CANCEL"), 200, "OK")
	trunk.send(trunk.response(invite.RawMessage, 487, "Request Terminated", "", ""))
}

// silent is a call to a trunk that says nothing.
type silent struct {
	*outgoing
	trunk *set
}

// silentCall prepares one; then answers its second question.
func silentCall(t *testing.T, s *site, then http.HandlerFunc) silent {
	t.Helper()
	a, trunk := newSet(t, s, "udp", user("caller")), newSet(t, s, "udp", "ta")
	r := over(trunk, "ta")
	r.Trunk.FrTimer = 300
	s.door.script(a.user, says(api.RouteReply{RTJSON: outward(r)}), then)
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.prepare()
	return silent{call, trunk}
}

// What a call may take until it is answered is said in three places, of which each outlives the one before: the ring time of one step
// (300 s, brain/validate.go), the INVITE as a whole, the dialog, the relay's session.
func TestOutTimer_LifetimesAreInOrder(t *testing.T) {
	t.Parallel()
	read := func(file, pattern string) int {
		t.Helper()
		content, err := os.ReadFile(filepath.Join(edge.Root(), file))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(pattern).FindSubmatch(content)
		if m == nil {
			t.Fatalf("%s has no %s", file, pattern)
		}
		n, _ := strconv.Atoi(string(m[1]))
		return n
	}
	invite := read("kamailio-cfg/kamailio.cfg", `modparam\("tm", "max_inv_lifetime", (\d+)\)`) / 1000
	dialog := read("kamailio-cfg/kamailio.cfg", `modparam\("dialog", "early_timeout", (\d+)\)`)
	relay := read("rtpengine-cfg/rtpengine.conf", `(?m)^offer-timeout = (\d+)$`)
	if invite < 5*300 || dialog <= invite || relay <= dialog {
		t.Errorf("an INVITE may take %d s, its dialog %d s, its media %d s", invite, dialog, relay)
	}
}

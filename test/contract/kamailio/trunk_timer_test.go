package kamailio

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
			for range 4 { // each keeps the one who asks for three seconds, which is as long as he waits
				busy := silentCall(t, s, func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-asked:
						says(api.RouteReply{RTJSON: reject(404, "Not Found", 0)})(w, r)
					case <-r.Context().Done():
					}
				})
				before = append(before, busy)
			}
			next := newSet(t, s, "udp", "tb")
			then := says(api.RouteReply{RTJSON: outward(over(next, "tb"))})
			if what == "no brain" {
				then = saysBody(503, "")
			}
			call := silentCall(t, s, then)
			for _, busy := range before {
				busy.send(busy.invite)
			}
			for _, busy := range before { // which worker is the first to send, nobody knows
				busy.waits(t, s)
			}
			call.send(call.invite)
			invite := call.waits(t, s)
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

// silent is a call to a trunk that says nothing.
type silent struct {
	*outgoing
	trunk *set
}

// waits returns the trunk's INVITE when its time is over: the process that has the timers of all calls lets go of the media before it hands
// the call on, and comes to no other call in between.
func (c silent) waits(t *testing.T, s *site) *message {
	t.Helper()
	invite := c.trunk.request("INVITE")
	noMedia(t, s, c.callID)
	return invite
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

// The relay is half a second late when the time of a silent trunk is over: it is not taken for gone, so that it lets go of that attempt, and the
// next trunk gets the relay's SDP.
func TestOutTimer_LateRelayIsNotGone(t *testing.T) {
	t.Parallel()
	s, _ := lateRelay(t)
	a, trunk, next := newSet(t, s, "udp", user("caller")), newSet(t, s, "udp", "ta"), newSet(t, s, "udp", "tb")
	r := over(trunk, "ta")
	r.Trunk.FrTimer = 300
	s.door.plan(a.user, outward(r), outward(over(next, "tb")))
	call := a.newCall("+4930123")
	call.body = sdp(40000)
	call.dial()
	relayed(t, s, trunk.request("INVITE"))
	invite := next.request("INVITE")
	relayed(t, s, invite)
	hangUp(t, next.answer(invite, sdp(40002)), call.up())
	noMedia(t, s, call.callID)
}

// A caller who hangs up while the relay is slow to let go of a silent trunk, or of a phone that was heard before it refused, hears 487, and
// nothing is asked or rung.
func TestOutTimer_CanceledWhileTheRelayIsLate(t *testing.T) {
	t.Parallel()
	s, late := lateRelay(t)
	atIt := func(callID string) {
		t.Helper()
		for timeout := time.After(patience); ; {
			select {
			case command := <-late:
				if strings.Contains(command, callID) {
					return
				}
			case <-timeout:
				t.Fatal("the relay is not told to let go")
			}
		}
	}
	trunks := silentCall(t, s, says(api.RouteReply{RTJSON: reject(404, "Not Found", 0)}))
	trunks.send(trunks.invite)
	trunks.trunk.request("INVITE")
	atIt(trunks.callID)
	trunks.cancel()
	trunks.ended(487)
	laterThan(t, s, trunks.user, 0)

	a, b, next := newSet(t, s, "udp", user("caller")), registered(t, s, "udp", user("b")), registered(t, s, "udp", user("b"))
	one := to(1, b.user)
	one.Busy = 2
	s.door.obey(a.user, ring(one, to(2, next.user)))
	call := a.newCall(b.user)
	call.body = sdp(40000)
	call.dial()
	invite := b.request("INVITE")
	b.send(b.response(invite.RawMessage, 183, "Session Progress", "Content-Type: application/sdp\r\n", sdp(40002)))
	a.expect("183", func(m *message) bool { return m.Code == 183 })
	b.reject(invite, 486)
	atIt(call.callID)
	call.cancel()
	call.ended(487)
	next.quiet()
}

// lateRelay starts a site whose relay is late with each delete: it hears the eighth copy. The process of the timers sends 16 a second. The
// first copy of each is told.
func lateRelay(t *testing.T) (s *site, late <-chan string) {
	t.Helper()
	first := make(chan string, 100)
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	var relay atomic.Value
	go func() {
		copies := map[string]int{}
		for buf := make([]byte, 64<<10); ; {
			n, from, err := front.ReadFrom(buf)
			if err != nil {
				return
			}
			command := string(buf[:n])
			deletes := strings.Contains(command, "7:command6:delete")
			if copies[command]++; deletes && copies[command] == 1 {
				first <- command
			}
			if copies[command] >= 8 || !deletes {
				go ask(relay.Load().(string), command, func(answer []byte) { _, _ = front.WriteTo(answer, from) })
			}
		}
	}()
	own := regexp.MustCompile(`(RTPENGINE_SOCK!udp:)([0-9.:]+)`)
	return startSite(t, edge.Options{Children: 4}, func(path, c string) string {
		if m := own.FindStringSubmatch(c); path == "node.cfg" && m != nil {
			relay.Store(m[2])
			c = own.ReplaceAllString(c, "${1}"+front.LocalAddr().String())
		}
		return c
	}), first
}

// ask sends a command to the relay and hands its answer on; when there is none, it is asked again anyway.
func ask(relay, command string, then func(answer []byte)) {
	c, err := net.Dial("udp", relay)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	if _, err = io.WriteString(c, command); err != nil {
		return
	}
	if n, err := c.Read(buf); err == nil {
		then(buf[:n])
	}
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

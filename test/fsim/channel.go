package fsim

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// channel is one leg with its session: a goroutine that executes one application after the other, as the thread of
// FreeSWITCH's session does. Messages of the event socket are executed inside whatever it waits in.
type channel struct {
	s        *Server
	id       string
	number   int // session_id
	inbound  bool
	leg      *leg
	track    *track
	created  time.Time
	profile  profile
	hangup   chan struct{} // closed when the channel ends
	bell     chan struct{} // rung when something waits to be looked at
	finished chan struct{} // closed when its last event is out
	settled  chan struct{} // of a leg of ours: closed when it is answered, or early where that counts
	talking  chan struct{} // of a leg of ours: closed when it is answered
	settle   sync.Once

	idleNoise atomic.Bool // send_silence_when_idle: read by the studio, which must not wait for c.mu

	mu        sync.Mutex
	vars      variables
	state     string // CS_…
	callState string
	answered  time.Time
	early     time.Time
	bridged   time.Time
	hungUp    time.Time
	ringing   bool
	cause     string // why it ended, "" while it is up
	remoteEnd bool   // the other side said BYE or CANCEL
	byMessage bool   // it was ended by sendmsg
	locked    int    // event-lock: messages wait
	messages  []*message
	pressed   []press
	cut       chan struct{} // closed when the running application is to be left
	next      func()        // what the session does after that
	execs     []execution   // what runs, the innermost last
	rest      []Action      // of the dialplan, behind what runs
	paired    bool          // it is the first side of a uuid_bridge
	breaks    int           // uuid_break: counts, so that waits see it
	socket    *control      // the application that controls it
	partner   *channel      // the other leg
	partnerTo string        // what it had dialed when the two were joined: its own may change since
	timers    map[*time.Timer]bool
	recorders map[string]*recorder
	displaced map[string]*displacer // by path
	inband    *earDTMF
	held      bool
	music     *player // what the partner hears while this phone holds
	inSocket  int     // how many sockets, one inside the other, it is in
	resumed   bool    // the cut is the death of an application: the dialplan goes on
	earlyWins bool    // early media settles an originate
	room      *member
}

// profile is the caller profile.
type profile struct {
	name, number, username    string
	calleeName, calleeNumber  string
	destination, networkAddr  string
	context, dialplan, source string
	channelName, ani          string
	index                     int
	created                   time.Time
}

// press is one digit that was received.
type press struct {
	digit    byte
	duration int // in samples
	source   string
}

// execution is an application that runs.
type execution struct{ app, data, id string }

func (s *Server) newChannel(id string, inbound bool) *channel {
	now := time.Now()
	c := &channel{
		s: s, id: id, number: int(s.sessions.Add(1)), inbound: inbound, created: now, track: &track{},
		hangup: make(chan struct{}), bell: make(chan struct{}, 1), finished: make(chan struct{}), cut: make(chan struct{}),
		settled: make(chan struct{}), talking: make(chan struct{}),
		state: "CS_NEW", callState: "DOWN", timers: map[*time.Timer]bool{}, recorders: map[string]*recorder{},
		profile: profile{index: 1, created: now, context: "sipio", dialplan: "XML", source: "mod_sofia"},
	}
	direction := "outbound"
	if inbound {
		direction = "inbound"
	}
	c.vars.set("direction", direction)
	if !inbound {
		c.vars.set("is_outbound", "true")
	}
	c.vars.set("uuid", id)
	c.vars.set("session_id", strconv.Itoa(c.number))
	return c
}

func (c *channel) direction() string {
	if c.inbound {
		return "inbound"
	}
	return "outbound"
}

// get reads a variable. The fields of the caller profile are readable as if they were some.
func (c *channel) get(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookup(name)
}

func (c *channel) lookup(name string) string {
	if v := c.vars.get(name); v != "" {
		return v
	}
	switch name {
	case "caller_id_name":
		return c.profile.name
	case "caller_id_number":
		return c.profile.number
	case "destination_number":
		return c.profile.destination
	case "channel_name":
		return c.profile.channelName
	case "context":
		return c.profile.context
	case "network_addr":
		return c.profile.networkAddr
	}
	return ""
}

func (c *channel) set(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vars.set(name, value)
	if name == "send_silence_when_idle" {
		c.idleNoise.Store(value != "" && value != "0")
	}
}

func (c *channel) expand(text string) string {
	if !strings.Contains(text, "${") {
		return text
	}
	return expand(text, func(name string) string {
		if global, ok := c.s.globals()[name]; ok {
			return global
		}
		return c.get(name)
	})
}

// up says that the channel has not ended.
func (c *channel) up() bool {
	select {
	case <-c.hangup:
		return false
	default:
		return true
	}
}

// ready says that the running application may go on: the channel is up, and nobody takes it elsewhere.
func (c *channel) ready() bool {
	select {
	case <-c.cutting():
		return false
	default:
		return c.up()
	}
}

func (c *channel) cutting() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// divert leaves the running application; the session goes on with next.
func (c *channel) divert(next func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != "" {
		return false
	}
	c.next = next
	select {
	case <-c.cut:
	default:
		close(c.cut)
	}
	return true
}

func (c *channel) ring() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// end hangs the channel up, once; later causes are not heard. remote: the other side has done it already.
func (c *channel) end(why string, remote bool) bool {
	c.mu.Lock()
	if c.cause != "" {
		c.mu.Unlock()
		return false
	}
	c.cause, c.remoteEnd, c.hungUp = causeNamed(why).name, remote, time.Now()
	for t := range c.timers {
		t.Stop()
	}
	clear(c.timers)
	c.mu.Unlock()
	c.fire("CHANNEL_HANGUP")
	close(c.hangup)
	return true
}

// enter changes the state and tells it.
func (c *channel) enter(state string) {
	c.mu.Lock()
	c.state = state
	c.mu.Unlock()
	c.fire("CHANNEL_STATE")
}

func (c *channel) call(state string) {
	c.mu.Lock()
	was := c.callState
	c.callState = state
	c.mu.Unlock()
	if was != state {
		c.s.fire(c.event("CHANNEL_CALLSTATE").add("Original-Channel-Call-State", was))
	}
}

// run is the session: first, then whatever it is diverted to, until nothing is left to do; then its end.
func (c *channel) run(first func()) {
	c.mu.Lock()
	c.next = first
	c.mu.Unlock()
	for c.up() {
		c.mu.Lock()
		task := c.next
		c.next, c.cut = nil, make(chan struct{})
		c.mu.Unlock()
		if task == nil {
			c.end(normalClearing, false)
			break
		}
		task()
	}
	c.finish()
}

// finish says what the end of a channel says, and lets go of all it had.
func (c *channel) finish() {
	defer close(c.finished)
	c.stopRecorders()
	c.enter("CS_HANGUP")
	if c.leg != nil {
		c.leg.end()
	}
	c.call("HANGUP")
	c.s.studio.mu.Lock()
	delete(c.s.studio.tracks, c.track)
	p := c.track.port
	c.s.studio.mu.Unlock()
	if p != nil {
		p.close()
	}
	c.enter("CS_REPORTING")
	c.mu.Lock()
	c.vars.set("hangup_cause", c.cause)
	c.vars.set("hangup_cause_q850", strconv.Itoa(causeNamed(c.cause).q850))
	c.durations()
	control := c.socket
	c.mu.Unlock()
	c.fire("CHANNEL_HANGUP_COMPLETE")
	if control != nil {
		control.over()
	}
	c.s.forget(c)
	c.fire("CHANNEL_DESTROY")
	c.enter("CS_DESTROY")
}

// durations sets the variables of a call record. c.mu is held.
func (c *channel) durations() {
	billed := time.Duration(0)
	if !c.answered.IsZero() {
		billed = c.hungUp.Sub(c.answered)
	}
	c.vars.set("duration", strconv.Itoa(int(c.hungUp.Sub(c.created).Seconds())))
	c.vars.set("billsec", strconv.Itoa(int(billed.Seconds())))
	c.vars.set("billmsec", strconv.FormatInt(billed.Milliseconds(), 10))
}

// later runs f after d unless the channel ends before; it counts for sched_del.
func (c *channel) later(d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != "" {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		c.mu.Lock()
		armed := c.timers[t]
		delete(c.timers, t)
		c.mu.Unlock()
		if armed {
			f()
		}
	})
	c.timers[t] = true
}

// unschedule disarms what later armed and says how many that were.
func (c *channel) unschedule() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.timers)
	for t := range c.timers {
		t.Stop()
	}
	clear(c.timers)
	return n
}

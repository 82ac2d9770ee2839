package fsim

import (
	"strconv"
	"strings"
	"time"
)

// maxMessages bounds what may wait for a session, and maxPressed the digits nobody takes.
const maxMessages, maxPressed = 1000, 128

// message is what `sendmsg`, uuid_broadcast and the like ask a session to do.
type message struct {
	hangup string // cause; else the application
	app    string
	data   string
	id     string // Event-UUID
	lock   bool
	loops  int
}

// send queues a message; false when the channel has ended or too many wait.
func (c *channel) send(m *message) bool {
	c.mu.Lock()
	ok := c.cause == "" && len(c.messages) < maxMessages
	if ok {
		c.messages = append(c.messages, m)
	}
	c.mu.Unlock()
	c.ring()
	return ok
}

func (c *channel) message() *message {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.locked > 0 || len(c.messages) == 0 {
		return nil
	}
	m := c.messages[0]
	c.messages = c.messages[1:]
	return m
}

func (c *channel) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = nil
}

// press queues a digit that was received.
func (c *channel) press(p press) {
	c.mu.Lock()
	if len(c.pressed) < maxPressed {
		c.pressed = append(c.pressed, p)
	}
	c.mu.Unlock()
	c.ring()
}

// digit takes the first digit that waits. The event is told here, as on the real one: when it is taken.
func (c *channel) digit() (press, bool) {
	c.mu.Lock()
	if len(c.pressed) == 0 {
		c.mu.Unlock()
		return press{}, false
	}
	p := c.pressed[0]
	c.pressed = c.pressed[1:]
	c.mu.Unlock()
	c.s.fire(c.event("DTMF").add("DTMF-Digit", string(p.digit)).add("DTMF-Duration", strconv.Itoa(p.duration)).add("DTMF-Source", p.source))
	return p, true
}

// ending is how a wait ended.
type ending int

const (
	done     ending = iota // what was waited for has come
	timedOut               // the time is over
	stopped                // by a digit
	broken                 // by uuid_break
	left                   // the channel ended, or goes elsewhere
)

// wait is what an application waits in.
type wait struct {
	done    <-chan struct{}
	timeout time.Duration    // 0 = none
	digit   func(press) bool // true ends the wait; nil leaves digits where they are
	deaf    bool             // messages are not looked at
}

// wait waits, and executes meanwhile what messages ask for.
func (c *channel) wait(w wait) ending {
	var timeout <-chan time.Time
	if w.timeout > 0 {
		timer := time.NewTimer(w.timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	cut, breaks := c.cutting(), c.broken()
	for {
		if !c.ready() {
			return left
		}
		if c.broken() != breaks {
			return broken
		}
		if w.digit != nil {
			if p, ok := c.digit(); ok {
				if w.digit(p) {
					return stopped
				}
				continue
			}
		}
		if !w.deaf {
			if m := c.message(); m != nil {
				c.perform(m)
				continue
			}
		}
		select {
		case <-c.hangup:
		case <-cut:
		case <-c.bell:
		case <-w.done:
			return done
		case <-timeout:
			return timedOut
		}
	}
}

func (c *channel) broken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breaks
}

// perform does what a message asks for.
func (c *channel) perform(m *message) {
	if m.hangup != "" {
		c.mu.Lock()
		c.byMessage = true
		c.mu.Unlock()
		c.end(m.hangup, false)
		return
	}
	if m.lock {
		c.mu.Lock()
		c.locked++
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			c.locked--
			c.mu.Unlock()
		}()
	}
	for range max(m.loops, 1) {
		began, breaks := time.Now(), c.broken()
		c.execute(m.app, m.data, m.id)
		// The real one ends loops of an application that took less than half a second.
		if !c.ready() || c.broken() != breaks || time.Since(began) < 500*time.Millisecond {
			return
		}
	}
}

// execute runs an application with its two events.
func (c *channel) execute(app, data, id string) bool {
	data = c.expand(data)
	if id == "" {
		id = newUUID()
	}
	run, known := applications[app]
	if !known {
		c.s.log.Warn("invalid application", "channel", c.id, "app", app)
		c.end("DESTINATION_OUT_OF_ORDER", false)
		return false
	}
	if run.media && !c.hasMedia() {
		if !c.preAnswer() {
			return false
		}
	}
	x := execution{app, data, id}
	c.mu.Lock()
	c.execs = append(c.execs, x)
	c.vars.set("current_application", app)
	c.vars.set("current_application_data", data)
	c.vars.set("current_application_response", "")
	c.mu.Unlock()
	c.fireExecution("CHANNEL_EXECUTE", x)
	if run.media {
		defer c.takeMedia()()
	}
	run.do(c, data)
	c.fireExecution("CHANNEL_EXECUTE_COMPLETE", x)
	c.mu.Lock()
	c.execs = c.execs[:len(c.execs)-1]
	if n := len(c.execs); n > 0 {
		c.vars.set("current_application", c.execs[n-1].app)
		c.vars.set("current_application_data", c.execs[n-1].data)
	}
	c.mu.Unlock()
	return true
}

func (c *channel) fireExecution(name string, x execution) {
	e := c.event(name)
	e.add("Application", x.app)
	if x.data != "" {
		e.add("Application-Data", x.data)
	}
	if name == "CHANNEL_EXECUTE_COMPLETE" {
		response := c.get("current_application_response")
		if response == "" {
			response = "_none_"
		}
		e.add("Application-Response", response)
	}
	c.s.fire(e.add("Application-UUID", x.id))
}

// actions executes a dialplan to its end, or until the channel goes elsewhere.
func (c *channel) actions(list []Action) {
	c.enter("CS_EXECUTE")
	for i, a := range list {
		if !c.ready() {
			return
		}
		c.mu.Lock()
		c.rest = list[i+1:]
		c.mu.Unlock()
		if !c.execute(a.App, a.Data, "") {
			return
		}
	}
}

// goOn executes what is left of the dialplan, after something else took the channel out of it.
func (c *channel) goOn() {
	c.mu.Lock()
	rest := c.rest
	c.mu.Unlock()
	c.actions(rest)
}

// halt is uuid_break: what plays ends, all of it.
func (c *channel) halt() {
	c.mu.Lock()
	if len(c.execs) > 0 {
		c.breaks++
	}
	c.mu.Unlock()
	c.ring()
}

// words splits at spaces, at most n of them.
func words(text string, n int) []string {
	var list []string
	for len(list) < n-1 {
		text = strings.TrimLeft(text, " ")
		word, rest, more := strings.Cut(text, " ")
		if word == "" {
			return list
		}
		list = append(list, word)
		if !more {
			return list
		}
		text = rest
	}
	if text = strings.TrimSpace(text); text != "" {
		list = append(list, text)
	}
	return list
}

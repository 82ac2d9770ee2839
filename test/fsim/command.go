package fsim

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const unknownCommand = "-ERR command not found"

// handle does one command and replies; true ends the connection.
func (l *control) handle(cmd *command) (done bool) {
	word, args, _ := strings.Cut(cmd.line, " ")
	args = strings.TrimSpace(args)
	if !l.authed {
		return l.authenticate(word, args)
	}
	word = verb(word)
	switch word {
	case "connect":
		if l.c == nil {
			l.reply("-ERR not controlling a session")
			return false
		}
		l.mu.Lock()
		l.connected = true
		l.mu.Unlock()
		l.write(string(l.c.connectReply().plain()))
		l.beginning.Do(func() { close(l.begun) })
	case "exit":
		l.reply("+OK bye")
		return true
	case "api":
		l.api(args)
	case "bgapi":
		l.bgapi(cmd, args)
	case "sendmsg":
		l.reply(l.sendmsg(cmd, args))
	case "sendevent":
		l.sendevent(cmd, args)
	case "getvar":
		l.getvar(args)
	case "linger", "nolinger", "resume", "myevents":
		l.reply(l.session(word, args))
	default:
		l.reply(l.listening(word, args))
	}
	return false
}

// verbs are the commands; the real one compares only so many letters, so that `events` is `event` as well.
var verbs = []string{"connect", "exit", "sendmsg", "sendevent", "getvar", "linger", "nolinger", "resume", "myevents", "event", "nixevent",
	"noevents", "filter", "log", "nolog", "divert_events"}

func verb(word string) string {
	word = strings.ToLower(word)
	for _, v := range verbs {
		if strings.HasPrefix(word, v) {
			return v
		}
	}
	return word
}

// authenticate takes `auth PASSWORD`. Anything else is an error and may be followed by it.
func (l *control) authenticate(word, args string) (done bool) {
	if word != "auth" {
		l.reply(unknownCommand)
		return false
	}
	if args != l.s.opt.Password {
		l.reply("-ERR invalid")
		return true
	}
	l.mu.Lock()
	l.authed = true
	l.mu.Unlock()
	l.reply("+OK accepted")
	return false
}

// session are the commands about the call of an outbound connection.
func (l *control) session(word, args string) string {
	if word == "myevents" {
		return l.mineOnly(args)
	}
	if l.c == nil && word == "resume" {
		return unknownCommand
	}
	if l.c == nil {
		return "-ERR not controlling a session"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch word {
	case "resume":
		l.resume = true
		return "+OK"
	case "nolinger":
		l.linger = 0
		return "+OK will not linger"
	}
	if n, err := strconv.Atoi(args); err == nil && n > 0 {
		l.linger = time.Duration(n) * time.Second
		return fmt.Sprintf("+OK will linger %d seconds", n)
	}
	l.linger = 1000 * time.Hour
	return "+OK will linger"
}

// listening are the commands about what is delivered.
func (l *control) listening(word, args string) string {
	switch word {
	case "event":
		return l.subscribe(args)
	case "nixevent":
		return l.unsubscribe(args)
	case "noevents":
		return l.noEvents()
	case "filter":
		return l.filter(args)
	case "log":
		if !strings.Contains(" 0 1 2 3 4 5 6 7 console alert crit err warning notice info debug ", " "+strings.ToLower(args)+" ") {
			return "-ERR invalid log level"
		}
		return "+OK log level " + args + " [" + args + "]"
	case "nolog":
		return "-ERR not loging"
	case "divert_events":
		return "-ERR not controlling a session."
	}
	return unknownCommand
}

// getvar answers an unset variable with an error, because an empty reply is turned into one.
func (l *control) getvar(name string) {
	if l.c == nil {
		l.reply(unknownCommand)
		return
	}
	value := l.c.get(name)
	if value == "" {
		value = unknownCommand
	}
	if len(value) > 500 {
		value = value[:500]
	}
	l.reply(value)
}

// sendmsg queues what is to be done for a session: its own on an outbound connection, else the named one.
func (l *control) sendmsg(cmd *command, id string) string {
	c := l.c
	if id != "" {
		c = l.s.channel(id)
	}
	if c == nil {
		return "-ERR invalid session id [" + id + "]"
	}
	m := &message{id: cmd.headers["event-uuid"], lock: truth(strings.TrimSpace(cmd.headers["event-lock"])), loops: number(cmd.headers["loops"])}
	switch cmd.headers["call-command"] {
	case "hangup":
		if m.hangup = strings.TrimSpace(cmd.headers["hangup-cause"]); m.hangup == "" {
			m.hangup = normalClearing
		}
	case "execute":
		m.app, m.data = strings.TrimSpace(cmd.headers["execute-app-name"]), cmd.headers["execute-app-arg"]
		if m.data == "" {
			m.data = cmd.body
		}
	default:
		return "+OK" // queued, and nothing comes of it, as on the real one
	}
	if !c.send(m) {
		return "-ERR memory error"
	}
	return "+OK"
}

// sendevent fires an event with the headers and the body of the command.
func (l *control) sendevent(cmd *command, name string) {
	if name == "" {
		l.reply("-ERR missing event name")
		return
	}
	e := l.s.newEvent(strings.ToUpper(name))
	for key, value := range cmd.headers {
		switch key {
		case "event-subclass":
			e.subclass = value
			e.add("Event-Subclass", value)
		case "content-length":
		default:
			e.add(key, value)
		}
	}
	e.body = cmd.body
	id := newUUID()
	e.add("Event-UUID", id)
	l.reply("+OK " + id)
	l.s.fire(e)
}

// api answers with what the command prints. The connection does nothing else meanwhile, as on the real one.
func (l *control) api(line string) {
	if line == "" {
		l.reply(unknownCommand)
		return
	}
	text := l.s.command(line)
	if text == "" {
		text = "-ERR no reply\n"
	}
	l.write(fmt.Sprintf("Content-Type: api/response\nContent-Length: %d\n\n%s", len(text), text))
}

// bgapi answers at once; what the command prints comes as BACKGROUND_JOB, never before the answer.
func (l *control) bgapi(cmd *command, line string) {
	id := cmd.headers["job-uuid"]
	if id == "" {
		id = newUUID()
	}
	if line == "" {
		l.reply(unknownCommand)
		return
	}
	l.write(fmt.Sprintf("Content-Type: command/reply\nReply-Text: +OK Job-UUID: %s\nJob-UUID: %s\n\n", id, id))
	name, args, _ := strings.Cut(line, " ")
	go func() {
		text := l.s.command(line)
		e := l.s.newEvent("BACKGROUND_JOB").add("Job-UUID", id)
		if l.c != nil {
			e.owner = l.c.id
			e.add("Job-Owner-UUID", l.c.id)
		}
		e.add("Job-Command", name)
		if args != "" {
			e.add("Job-Command-Arg", args)
		}
		e.body = text
		l.s.fire(e)
	}()
}

// appSocket hands the call to an application: HOST:PORT[|HOST:PORT…] async full. It returns when the application is
// gone, or when the call was taken elsewhere.
func appSocket(c *channel, data string) {
	fields := strings.Fields(data)
	if len(fields) == 0 {
		return
	}
	var conn net.Conn
	for _, host := range strings.Split(fields[0], "|") {
		at, _, _ := net.SplitHostPort(host)
		c.set("socket_host", at)
		made, err := (&net.Dialer{Timeout: 135 * time.Second}).DialContext(c.s.ctx, "tcp", host)
		if err == nil {
			conn = made
			break
		}
		c.s.log.Info("no application", "channel", c.id, "at", host, "error", err)
	}
	if conn == nil {
		return
	}
	l := c.s.newControl(conn, c)
	c.mu.Lock()
	c.socket = l
	c.mu.Unlock()
	go func() {
		l.run(c.s.opt.Zombie)
		conn.Close()
		l.gone()
	}()
	c.hold(l)
}

// gone is the death of the application. With socket_resume what runs is left at once; else it goes on to its end.
func (l *control) gone() {
	c := l.c
	c.mu.Lock()
	mine := c.socket == l
	if mine {
		c.socket = nil
	}
	resume := l.resume || truth(c.vars.get("socket_resume"))
	// Only what runs inside this socket is cut; a call that was taken elsewhere does not notice. A caller whose words
	// are being recorded is hung up: FreeSWITCH's record ends a call when it is cut.
	recording := false
	if mine && resume && c.cause == "" && c.next == nil && c.paired && !c.isFreed() { // a talk of uuid_bridge is cut, a released one is not
		c.next = c.goOn
		select {
		case <-c.cut:
		default:
			close(c.cut)
		}
	}
	if mine && resume && c.cause == "" && c.next == nil && c.inSocket > 0 {
		c.messages = nil
		recording = len(c.execs) > 0 && c.execs[len(c.execs)-1].app == "record"
		select {
		case <-c.cut:
		default:
			if !recording {
				close(c.cut)
				c.resumed = true
			}
		}
	}
	c.mu.Unlock()
	if recording {
		c.end("DESTINATION_OUT_OF_ORDER", false)
	}
	l.beginning.Do(func() { close(l.begun) })
	close(l.ended)
}

// hold keeps the call while the application has it.
func (c *channel) hold(l *control) {
	c.mu.Lock()
	c.inSocket++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.inSocket--
		if c.resumed { // the dialplan goes on behind the socket
			c.resumed, c.cut = false, make(chan struct{})
		}
		c.mu.Unlock()
	}()
	for how := broken; how != done; { // nothing is executed before `connect`
		if how = c.wait(wait{done: l.begun, deaf: true}); how == left {
			return
		}
	}
	if l.ready() {
		c.park(l.ended)
		return
	}
	// The application closed, or stayed silent, before it said `connect`: without socket_resume nobody ever looks
	// after this call again.
	if !l.resume && !truth(c.get("socket_resume")) {
		c.park(nil)
	}
}

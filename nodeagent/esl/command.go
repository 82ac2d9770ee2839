package esl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	maxCommandBytes = 64 << 10
	maxPending      = 1024 // commands without a reply, and jobs without a result
)

// Reply is FreeSWITCH's reply to a command.
type Reply struct {
	Text    string // Reply-Text, trimmed: "+OK accepted"; "" for api. FreeSWITCH cuts it at about 500 bytes
	Body    string // of an api command, as it came
	Event   *Event // the channel's data, for the command connect only
	headers []Header
}

// Get returns a header of the reply, such as Job-UUID; "" when there is none.
func (r Reply) Get(name string) string { return first(r.headers, name) }

// CommandError is FreeSWITCH's own refusal of a command: -ERR, -ERROR or -USAGE.
type CommandError struct {
	Command string // its first words, without arguments
	Text    string // all that FreeSWITCH said, trimmed: "-ERR USER_BUSY"
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("FreeSWITCH refused %s: %s", e.Command, clip(e.Text))
}

// Reason is the text without FreeSWITCH's mark: "USER_BUSY", "No such channel!".
func (e *CommandError) Reason() string {
	_, reason, _ := strings.Cut(e.Text, " ")
	return strings.TrimSpace(reason)
}

// Send sends any command with its headers and returns the reply. A refusal by FreeSWITCH is a
// *CommandError (with the Reply beside it), a carriage return, line feed or zero byte in anything is
// ErrInvalid before a byte is written, no reply in time is the context's error, and the command may
// then be carried out all the same.
//
// A +OK is not always the truth; the events tell what happened.
func (c *Conn) Send(ctx context.Context, command string, headers ...Header) (Reply, error) {
	raw, err := compose(command, headers)
	if err != nil {
		return Reply{}, err
	}
	verb := verbOf(command)
	r, err := c.exchange(ctx, verb, raw)
	if err != nil {
		return Reply{}, fmt.Errorf("event socket: %s: %w", verb, err)
	}
	if verb == "noevents" || verb == "nixevent" {
		c.jobsAsked.Store(false)
	}
	if r.Body != "" {
		return r, refusal(verb, r.Body)
	}
	return r, refusal(verb, r.Text)
}

// API runs an api command and returns its result, trimmed; errors are those of Send. FreeSWITCH does
// nothing else for this connection meanwhile, not even send events: what may take long is for BgAPI.
func (c *Conn) API(ctx context.Context, command string) (string, error) {
	command, err := apiCommand(command)
	if err != nil {
		return "", err
	}
	r, err := c.Send(ctx, "api "+command)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(r.Body), nil
}

// BgAPI runs an api command in the background of FreeSWITCH, waits for its BACKGROUND_JOB and returns
// the result, trimmed; errors are those of Send. It subscribes to BACKGROUND_JOB by itself, which then
// also brings other clients' jobs to Next; filters must let that event pass. The result of a job that
// nobody waits for any more goes to Next, too: it may be a call that stands.
func (c *Conn) BgAPI(ctx context.Context, command string) (string, error) {
	command, err := apiCommand(command)
	if err != nil {
		return "", err
	}
	ctx, cancel := bounded(ctx, c.o.JobTimeout)
	defer cancel()
	id, result := newUUID(), make(chan string, 1)
	if err := c.expectJob(id, result); err != nil {
		return "", err
	}
	verb := verbOf("bgapi " + command)
	if err = c.startJob(ctx, id, command); err == nil {
		select {
		case body := <-result:
			return jobResult(verb, body)
		case <-ctx.Done():
			err = fmt.Errorf("event socket: %s: no result: %w", verb, ctx.Err())
		case <-c.read:
			err = fmt.Errorf("event socket: %s: no result: %w", verb, c.Err())
		}
	}
	c.forgetJob(id)
	select {
	case body := <-result: // came in the same moment
		return jobResult(verb, body)
	default:
		return "", err
	}
}

// startJob subscribes to results, unless that is done, and starts a job. Both are quick for FreeSWITCH,
// so they have the time of a command, whatever the job has.
func (c *Conn) startJob(ctx context.Context, id, command string) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.CommandTimeout)
	defer cancel()
	if !c.jobsAsked.Load() {
		if err := c.Subscribe(ctx, "BACKGROUND_JOB"); err != nil {
			return err
		}
		c.jobsAsked.Store(true)
	}
	_, err := c.Send(ctx, "bgapi "+command, Header{"Job-UUID", id})
	return err
}

// apiCommand checks what API and BgAPI send, before anything is.
func apiCommand(command string) (string, error) {
	command = strings.Trim(command, " ")
	if command == "" {
		return "", fmt.Errorf("%w: empty api command", ErrInvalid)
	}
	return command, oneLine("api command", command)
}

func jobResult(verb, body string) (string, error) {
	if err := refusal(verb, body); err != nil {
		return "", err
	}
	return strings.TrimSpace(body), nil
}

func (c *Conn) expectJob(id string, result chan string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.jobs) >= maxPending {
		return fmt.Errorf("%w: %d jobs", ErrBusy, len(c.jobs))
	}
	c.jobs[id] = result
	return nil
}

func (c *Conn) forgetJob(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.jobs, id)
}

// Subscribe asks for events by name, in the format of Options.JSON; `CUSTOM conference::maintenance`
// is two names, subclasses last. FreeSWITCH passes over names it does not know.
func (c *Conn) Subscribe(ctx context.Context, names ...string) error {
	format := "plain"
	if c.o.JSON {
		format = "json"
	}
	_, err := c.Send(ctx, "event "+format+" "+strings.Join(names, " "))
	return err
}

// Execute are the settings of one application.
type Execute struct {
	EventUUID string // comes back as Application-UUID in CHANNEL_EXECUTE and CHANNEL_EXECUTE_COMPLETE
	Lock      bool   // begins when what runs has ended; false interrupts it, and it goes on afterwards
	Loops     int    // times it runs; 0 and 1 are once
}

// Execute starts an application on a channel; uuid "" is the channel of an outbound connection. The
// reply says that the order was taken, CHANNEL_EXECUTE_COMPLETE that it was carried out.
func (c *Conn) Execute(ctx context.Context, uuid, app, arg string, o Execute) error {
	if app == "" || o.Loops < 0 {
		return fmt.Errorf("%w: execute %q, %d times", ErrInvalid, app, o.Loops)
	}
	headers := []Header{{"call-command", "execute"}, {"execute-app-name", app}, {"execute-app-arg", arg}}
	if o.Loops > 1 {
		headers = append(headers, Header{"loops", strconv.Itoa(o.Loops)})
	}
	if o.Lock {
		headers = append(headers, Header{"event-lock", "true"})
	}
	if o.EventUUID != "" {
		headers = append(headers, Header{"Event-UUID", o.EventUUID})
	}
	command, err := aboutChannel("sendmsg", uuid)
	if err != nil {
		return err
	}
	_, err = c.Send(ctx, command, headers...)
	return err
}

// Hangup ends a channel at once, whatever it plays or has queued. cause is a name such as USER_BUSY;
// "" is NORMAL_CLEARING. A channel that is gone already is a *CommandError.
func (c *Conn) Hangup(ctx context.Context, uuid, cause string) error {
	command, err := aboutChannel("uuid_kill", uuid)
	if err != nil {
		return err
	}
	if uuid == "" {
		return fmt.Errorf("%w: hangup of no channel", ErrInvalid)
	}
	if strings.ContainsAny(cause, notInWords) {
		return fmt.Errorf("%w: hangup cause %q", ErrInvalid, clip(cause))
	}
	_, err = c.API(ctx, command+" "+cause)
	return err
}

const notInWords = " \t\r\n\x00"

func aboutChannel(command, uuid string) (string, error) {
	if uuid == "" {
		return command, nil
	}
	if strings.ContainsAny(uuid, notInWords) {
		return "", fmt.Errorf("%w: channel %q", ErrInvalid, clip(uuid))
	}
	return command + " " + uuid, nil
}

// compose writes a command as it goes over the wire, or ErrInvalid.
func compose(command string, headers []Header) ([]byte, error) {
	if strings.TrimSpace(command) == "" {
		return nil, fmt.Errorf("%w: empty", ErrInvalid)
	}
	if err := oneLine("command", command); err != nil {
		return nil, err
	}
	raw := append([]byte(command), '\n')
	for _, h := range headers {
		// A Content-Length would make FreeSWITCH take the commands that follow for a body.
		if h.Name == "" || strings.ContainsAny(h.Name, ": \t") || strings.EqualFold(h.Name, "Content-Length") {
			return nil, fmt.Errorf("%w: header name %q", ErrInvalid, clip(h.Name))
		}
		if err := errors.Join(oneLine("header name", h.Name), oneLine("header "+h.Name, h.Value)); err != nil {
			return nil, err
		}
		raw = append(raw, h.Name+": "+h.Value+"\n"...)
	}
	if raw = append(raw, '\n'); len(raw) > maxCommandBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrInvalid, len(raw), maxCommandBytes)
	}
	return raw, nil
}

func oneLine(what, text string) error {
	if strings.ContainsAny(text, "\r\n\x00") {
		return fmt.Errorf("%w: line break or zero byte in %s", ErrInvalid, what)
	}
	return nil
}

// verbOf is what may be said of a command in errors: its first word, two for api and bgapi. The rest
// can be a password or somebody's number.
func verbOf(command string) string {
	words := strings.Fields(command)
	verb := strings.ToLower(words[0])
	if (verb == "api" || verb == "bgapi") && len(words) > 1 {
		return verb + " " + words[1]
	}
	return verb
}

// exchange writes a command and waits for its reply.
func (c *Conn) exchange(ctx context.Context, verb string, raw []byte) (Reply, error) {
	ctx, cancel := bounded(ctx, c.o.CommandTimeout)
	defer cancel()
	w, err := c.write(ctx, verb, raw)
	if err != nil {
		return Reply{}, err
	}
	err = nil
	select {
	case r := <-w.reply:
		return r, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-c.read:
		err = c.Err()
	}
	select {
	case r := <-w.reply: // came in the same moment
		return r, nil
	default:
		return Reply{}, fmt.Errorf("no reply: %w", err)
	}
}

// bounded gives a context without a deadline one.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// write queues the waiter and writes the command, both under one hold, so that replies and waiters
// are in the same order.
func (c *Conn) write(ctx context.Context, verb string, raw []byte) (*waiter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, c.Err()
	}
	expires, _ := ctx.Deadline()
	w := &waiter{verb: verb, reply: make(chan Reply, 1), expires: expires}
	if err := c.expectReply(w); err != nil {
		return nil, err
	}
	// A new deadline for each write: one that is left over would fail a later command.
	err := c.nc.SetWriteDeadline(time.Now().Add(c.o.CommandTimeout))
	if err == nil {
		_, err = c.nc.Write(raw)
	}
	if err != nil { // perhaps half a command is out: nothing can follow it
		c.end(fmt.Errorf("write: %w", err))
		return nil, c.Err()
	}
	return w, nil
}

func (c *Conn) expectReply(w *waiter) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != nil {
		return c.reason
	}
	if len(c.pending) >= maxPending {
		return fmt.Errorf("%w: %d commands", ErrBusy, len(c.pending))
	}
	c.pending = append(c.pending, w)
	return nil
}

// readReply reads a reply. That to connect is the channel's data as a flat event, with values in URL
// encoding, which those of other replies are not.
func readReply(f *frame, toConnect bool) (Reply, error) {
	r := Reply{Body: string(f.body), headers: append([]Header(nil), f.headers...)}
	if toConnect && f.get("Event-Name") != "" {
		headers, err := decodeHeaders(r.headers)
		if err != nil {
			return r, fmt.Errorf("%w: reply to connect: %w", ErrProtocol, err)
		}
		r.headers, r.Event = headers, &Event{headers: headers}
	}
	r.Text = strings.TrimSpace(r.Get("Reply-Text"))
	return r, nil
}

// refusal is the *CommandError in FreeSWITCH's text, if it is one.
func refusal(verb, text string) error {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-ERR") || strings.HasPrefix(text, "-USAGE") {
		return &CommandError{Command: verb, Text: text}
	}
	return nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

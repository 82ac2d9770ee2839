package freeswitch

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fiorix/go-eventsocket/eventsocket"
	"github.com/percipia/eslgo/command"
	built "github.com/percipia/eslgo/command/call"

	"github.com/sipio/sipio/nodeagent/esl"
)

// wire is a bare connection to the event socket.
type wire struct {
	net.Conn
	in *textproto.Reader
}

func (s *site) wire(t *testing.T) wire {
	t.Helper()
	c, err := net.Dial("tcp", s.esl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(40 * time.Second))
	w := wire{Conn: c, in: textproto.NewReader(bufio.NewReader(c))}
	if got := w.read(t).Get("Content-Type"); got != "auth/request" {
		t.Fatalf("greeting is %q", got)
	}
	return w
}

// read reads the headers of one frame.
func (w wire) read(t *testing.T) textproto.MIMEHeader {
	t.Helper()
	h, err := w.in.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// reply is the Reply-Text of the next command/reply. Events before it are passed over: jobs of other tests are told to
// whoever subscribed.
func (w wire) reply(t *testing.T) string {
	t.Helper()
	h := w.read(t)
	for strings.HasPrefix(h.Get("Content-Type"), "text/event-") {
		w.body(t, h)
		h = w.read(t)
	}
	return h.Get("Reply-Text")
}

// body is what follows the headers of a frame.
func (w wire) body(t *testing.T, h textproto.MIMEHeader) string {
	t.Helper()
	n, err := strconv.Atoi(h.Get("Content-Length"))
	if err != nil {
		t.Fatalf("Content-Length of %v: %v", h, err)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(w.in.R, body); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (w wire) write(t *testing.T, text string) {
	t.Helper()
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// Proves that the password decides: right is let in, wrong is told so and cut off, and a command before it is refused
// without harm to the login after it.
func TestWire_PasswordDecides(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.dialESL(t, esl.Options{})
		if _, err := esl.Dial(t.Context(), s.esl, "wrong", esl.Options{}); !errors.Is(err, esl.ErrAuth) {
			t.Errorf("wrong password: %v", err)
		}
		w := s.wire(t)
		w.write(t, "api status\n\n")
		if got := w.reply(t); got != "-ERR command not found" {
			t.Errorf("command before login: %q", got)
		}
		w.write(t, "auth "+s.password+"\n\n")
		if got := w.reply(t); got != "+OK accepted" {
			t.Errorf("login after it: %q", got)
		}
	})
}

// Proves that a connection which never logs in is closed after about 25 s: a leak of the other side is bounded.
func TestWire_SilentLoginIsCutOff(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		w, from := s.wire(t), time.Now()
		for {
			if _, err := w.in.ReadLine(); err != nil {
				break
			}
		}
		if took := time.Since(from); took < 20*time.Second || took > 40*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

// Proves which words a refused command gets, those that say nothing and those that lie among them. The node agent
// must not take "+OK" of these for the truth.
func TestWire_RefusalsInTheirOwnWords(t *testing.T) {
	const nobody = "00000000-0000-4000-8000-000000000000"
	each(t, func(t *testing.T, s *site) {
		c := s.dialESL(t, esl.Options{})
		for _, row := range []struct{ command, refusal string }{
			{"nosuchcommand", "-ERR nosuchcommand Command not found!"},
			{"uuid_kill " + nobody, "-ERR No such channel!"},
			{"uuid_getvar " + nobody + " x", "-ERR No such channel!"},
			{"uuid_setvar " + nobody + " x y", "-ERR No such channel!"},
			{"uuid_break " + nobody + " all", "-ERR No such channel!"},
			{"uuid_transfer " + nobody + " x", "-ERR No such channel!"},
			{"uuid_bridge " + nobody + " " + nobody, "-ERR Invalid uuid"},
			{"uuid_answer " + nobody, "-ERROR"},
			{"uuid_record " + nobody + " start /dev/null", "-ERR Cannot locate session!"},
			{"uuid_bridge", "-USAGE: <uuid> <other_uuid>"},
			{"conference nosuch list", "-ERR Conference nosuch not found"},
			{"originate sofia/nosuch/sip:1@127.0.0.1 &park", "-ERR INVALID_PROFILE"},
		} {
			_, err := c.API(t.Context(), row.command)
			var refused *esl.CommandError
			if !errors.As(err, &refused) || strings.TrimSpace(refused.Text) != row.refusal {
				t.Errorf("%s: %v, want %s", row.command, err, row.refusal)
			}
		}
		for _, row := range []struct{ command, answer string }{
			{"uuid_exists " + nobody, "false"}, {"uuid_hold " + nobody, "+OK Success"}, {"echo hello", "hello"}, {"sched_del " + nobody, "+OK Deleted: 0"},
		} {
			if got := apiOf(t, c, row.command); got != row.answer {
				t.Errorf("%s: %q, want %q", row.command, got, row.answer)
			}
		}
	})
}

// Proves that a background job answers at once with the id that was given, that its result comes as an event with that
// id behind that answer, and that other commands of the connection do not wait for it, by a job that takes four seconds.
func TestWire_BackgroundJobKeepsOurID(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		w := s.wire(t)
		w.write(t, "auth "+s.password+"\n\nevent plain BACKGROUND_JOB\n\nbgapi msleep 4000\nJob-UUID: our-job\n\napi echo meanwhile\n\n")
		for _, want := range []string{"+OK accepted", "+OK event listener enabled plain", "+OK Job-UUID: our-job"} {
			if got := w.reply(t); got != want {
				t.Errorf("reply %q, want %q", got, want)
			}
		}
		h := w.read(t)
		for ; strings.HasPrefix(h.Get("Content-Type"), "text/event-"); h = w.read(t) {
			if strings.Contains(w.body(t, h), "our-job") { // jobs of other tests may come
				t.Error("the command behind a job waited for it")
			}
		}
		if got := h.Get("Content-Type"); got != "api/response" {
			t.Errorf("after the job's reply comes %q, want api/response", got)
		}
		if got := w.body(t, h); got != "meanwhile" {
			t.Errorf("body %q", got)
		}
		c := s.dialESL(t, esl.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if out, err := c.BgAPI(ctx, "echo from the background"); err != nil || out != "from the background" {
			t.Errorf("bgapi: %q, %v", out, err)
		}
		if _, err := c.BgAPI(ctx, "uuid_kill nobody"); err == nil {
			t.Error("a refused job is no error")
		}
	})
}

// Proves that a slow api command holds up its own connection only, by a second connection that is answered meanwhile.
func TestWire_SlowCommandHoldsUpItsOwnConnectionOnly(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		slow, other := s.wire(t), s.dialESL(t, esl.Options{})
		from := time.Now()
		slow.write(t, "auth "+s.password+"\n\napi msleep 4000\n\napi echo behind\n\n")
		slow.reply(t)
		apiOf(t, other, "echo quick")
		if took := time.Since(from); took > 3900*time.Millisecond {
			t.Errorf("the other connection was answered after %v, behind the slow one", took)
		}
		slow.body(t, slow.read(t))
		if took := time.Since(from); took < 3900*time.Millisecond {
			t.Errorf("msleep 4000, or the command behind it, was answered after %v", took)
		}
		if got := slow.body(t, slow.read(t)); got != "behind" {
			t.Errorf("behind it comes %q", got)
		}
	})
}

// Proves that events come in JSON when asked for, with arrays and with names that stand twice, by a channel with a
// variable of two values.
func TestWire_JSONHasArrays(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.ring(t)
		c.api(t, "sched_del "+c.uuid)
		c.send(t, "myevents json")
		c.runs(t, "push", "colours=red")
		c.runs(t, "push", "colours=green")
		c.hangup(t, "USER_BUSY")
		e := c.named(t, "CHANNEL_HANGUP_COMPLETE")
		if got := fmt.Sprint(e.Values("variable_colours")); got != "[red green]" {
			t.Errorf("array: %s", got)
		}
		if got := e.Values("Hangup-Cause"); len(got) != 2 || got[0] != "USER_BUSY" || got[1] != "USER_BUSY" {
			t.Errorf("Hangup-Cause: %v, want it twice", got)
		}
	})
}

// Proves that filters are OR-ed and can be taken back, by three jobs of which two are asked for.
func TestWire_FiltersAreORed(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		a := &agent{Conn: s.dialESL(t, esl.Options{})}
		id := rand.Text()
		for _, wanted := range []string{"1", "2"} {
			a.send(t, "filter Job-UUID "+id+wanted)
		}
		a.send(t, "event plain BACKGROUND_JOB")
		job := func(name string) {
			t.Helper()
			a.send(t, "bgapi echo "+name, esl.Header{Name: "Job-UUID", Value: id + name})
		}
		next := func() string { return strings.TrimPrefix(a.named(t, "BACKGROUND_JOB").Get("Job-UUID"), id) }
		job("1")
		if got := next(); got != "1" {
			t.Errorf("job %s came, want 1", got)
		}
		job("3")
		job("2")
		if got := next(); got != "2" {
			t.Errorf("job %s came, want 2", got)
		}
		a.send(t, "filter delete all")
		job("4")
		a.next(t, "the job that was not asked for", func(e *esl.Event) bool { return e.Get("Job-UUID") == id+"4" })
	})
}

// Proves that what is sent is an event socket to others too, by a client that is not ours: replies, a job's event.
func TestWire_AnIndependentReaderUnderstands(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c, err := eventsocket.Dial(s.esl, s.password)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if ev, err := c.Send("api echo one two"); err != nil || strings.TrimSpace(ev.Body) != "one two" {
			t.Errorf("api: %v, %v", ev, err)
		}
		if _, err := c.Send("events plain BACKGROUND_JOB"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send("bgapi echo three"); err != nil {
			t.Fatal(err)
		}
		for heard := false; !heard; { // jobs of other tests are told too
			ev, err := c.ReadEvent()
			if err != nil || ev.Get("Event-Name") != "BACKGROUND_JOB" {
				t.Fatalf("event: %v, %v", ev, err)
			}
			heard = strings.TrimSpace(ev.Body) == "three"
		}
	})
}

// Proves that commands are understood as others build them, by the builders of a library that is not ours: login,
// subscription, an application on a live channel, hangup.
func TestWire_AnIndependentBuilderIsUnderstood(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		c := s.answered(t)
		w := s.wire(t)
		for _, message := range []command.Command{
			command.Auth{Password: s.password}, command.Event{Format: "plain", Listen: []string{"BACKGROUND_JOB"}},
			&built.Execute{UUID: c.uuid, AppName: "set", AppArgs: "built_by=another", Loops: 1}, built.Set{UUID: c.uuid, Key: "and_so", Value: "is this"},
		} {
			w.write(t, message.BuildMessage()+"\r\n\r\n")
			if got := w.reply(t); !strings.HasPrefix(got, "+OK") {
				t.Errorf("%T: %q", message, got)
			}
		}
		c.next(t, "the second set", func(e *esl.Event) bool {
			return e.Name() == "CHANNEL_EXECUTE_COMPLETE" && e.Get("Application-Data") == "and_so=is this"
		})
		if got := c.variable(t, "built_by"); got != "another" {
			t.Errorf("variable is %q", got)
		}
		w.write(t, built.Hangup{UUID: c.uuid, Cause: "NORMAL_CLEARING"}.BuildMessage()+"\r\n\r\n")
		over(t, c.ear, patience)
	})
}

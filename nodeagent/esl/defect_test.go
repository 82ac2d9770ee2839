package esl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Each test of this file is a defect that was reproduced in one of the two public Go clients (percipia/eslgo
// v1.4.1, fiorix/go-eventsocket of 2018) and must not be ours.

func TestDefect_ResultForWaiterThatLeftDoesNotPanic(t *testing.T) {
	// eslgo sends on a closed channel when what it waited for comes late. Proves that a job's late result goes to Next.
	synctest.Test(t, func(t *testing.T) {
		c := connected(t, quick(), func(f *fakeSwitch) {
			f.answer(func(command string) string {
				_, id, isJob := strings.Cut(command, "Job-UUID: ")
				if !isJob {
					return replyFrame("+OK")
				}
				f.say(replyFrame("+OK Job-UUID: " + id))
				<-time.After(10 * time.Second)
				return plainFrame("Event-Name: BACKGROUND_JOB\nJob-UUID: " + id + "\nContent-Length: 7\n\n+OK leg")
			})
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := c.BgAPI(ctx, "originate x &park"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waited 5 s: %v", err)
		}
		if e, err := c.Next(t.Context()); err != nil || string(e.Body()) != "+OK leg" {
			t.Errorf("late result: %v %v", e, err)
		}
	})
}

func TestDefect_EventsStayInOrder(t *testing.T) {
	// eslgo starts a goroutine for each event: 9,185 of 20,000 came out of order. Proves that none does here.
	const n = 20_000
	c := connected(t, Options{KeepAlive: -1, QueueSize: n}, func(f *fakeSwitch) {
		for i := range n {
			f.say(numbered(i))
		}
	})
	for i := range n {
		e, err := c.Next(soon(t))
		if err != nil || e.Get("N") != fmt.Sprint(i) {
			t.Fatalf("event %d is %v, %v", i, e, err)
		}
	}
}

func TestDefect_LateReplyIsNotTheNextCommandsReply(t *testing.T) {
	// eslgo gave the late reply of a command that had timed out to the next one, and its late reply stalled the reader for
	// 5 s; go-eventsocket's blocks it for ever. Proves that ours is swallowed: the next replies and an event behind it are right.
	synctest.Test(t, func(t *testing.T) {
		c := connected(t, quick(), func(f *fakeSwitch) {
			f.answer(func(command string) string {
				if command == "api echo slow" {
					<-time.After(3 * time.Second)
				}
				return usual(command) + numbered(1)
			})
		})
		for _, ask := range []struct {
			text string
			wait time.Duration
		}{{"slow", time.Second}, {"second", 10 * time.Second}, {"third", 10 * time.Second}} {
			ctx, cancel := context.WithTimeout(t.Context(), ask.wait)
			got, err := c.API(ctx, "echo "+ask.text)
			cancel()
			if ask.text == "slow" && !errors.Is(err, context.DeadlineExceeded) || ask.text != "slow" && got != ask.text {
				t.Errorf("asked %s, got %q, %v", ask.text, got, err)
			}
		}
		began := time.Now()
		for range 3 {
			if e, err := c.Next(t.Context()); err != nil || e.Get("N") != "1" {
				t.Errorf("event %v %v", e, err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the events took %v", took)
		}
	})
}

func TestDefect_CloseDoesNotWaitForCommands(t *testing.T) {
	// eslgo's Close deadlocks while a command waits. Proves that ours returns and every waiting command gets ErrClosed.
	asked := make(chan struct{}, 10)
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.answer(func(string) string { asked <- struct{}{}; return "" })
	})
	failed := make(chan error, 4)
	for range cap(failed) {
		go func() {
			_, err := c.API(context.Background(), "status")
			failed <- err
		}()
	}
	for range cap(failed) {
		<-asked
	}
	_ = c.Close()
	for range cap(failed) {
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Errorf("a waiting command got %v", err)
		}
	}
	if err := c.Err(); !errors.Is(err, ErrClosed) {
		t.Errorf("Err = %v", err)
	}
	if _, err := c.API(context.Background(), "status"); !errors.Is(err, ErrClosed) {
		t.Errorf("a command after Close got %v", err)
	}
}

func TestDefect_EndOfTheConnectionIsTold(t *testing.T) {
	// eslgo tells nobody of EOF or RST. Proves that both end Done, Next and waiting commands, with the reason.
	for _, how := range []string{"EOF", "RST"} {
		addr := listening(t, func(f *fakeSwitch) {
			if f.accept() != nil {
				return
			}
			_, _ = f.command()
			if tcp, ok := f.Conn.(*net.TCPConn); ok && how == "RST" {
				_ = tcp.SetLinger(0)
			}
		})
		c, err := Dial(soon(t), addr, "ClueCon", quick())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.API(soon(t), "status"); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: the waiting command got %v", how, err)
		}
		<-c.Done()
		if _, err := c.Next(soon(t)); !errors.Is(err, ErrClosed) || how == "EOF" && !errors.Is(err, io.EOF) {
			t.Errorf("%s: Next says %v", how, err)
		}
		_ = c.Close()
	}
}

func TestDefect_DialIsBounded(t *testing.T) {
	// eslgo's Dial hangs for ever on an ACL's rude-rejection; neither bounds the log-in. Proves an error for each way not to
	// be let in, by the recorded bytes, and for a peer that says nothing, or nothing after the password.
	for _, c := range []struct {
		name, says string
		want       error
	}{
		{"rude-rejection", recording(t, "in-rude-rejection.fs-to-app.txt"), ErrRejected},
		{"wrong password", recording(t, "in-auth-bad.fs-to-app.txt"), ErrAuth},
		{"too late", recording(t, "in-auth-timeout.fs-to-app.txt"), ErrDisconnected},
		{"silence", "", context.DeadlineExceeded},
		{"silence after the password", "Content-Type: auth/request\n\n", context.DeadlineExceeded},
		{"another protocol", "SSH-2.0-OpenSSH\r\n\r\n", ErrProtocol},
	} {
		addr := listening(t, func(f *fakeSwitch) {
			greeting, rest, _ := strings.Cut(c.says, "auth/request\n\n")
			if rest != "" {
				f.say(greeting + "auth/request\n\n")
				if c.want == ErrAuth {
					_, _ = f.command()
				}
				f.say(rest)
			} else {
				f.say(c.says)
			}
			_, _ = io.Copy(io.Discard, f)
		})
		o := quick()
		if c.want == context.DeadlineExceeded {
			o.AuthTimeout = 50 * time.Millisecond
		}
		if conn, err := Dial(soon(t), addr, "ClueCon", o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, conn, err, c.want)
		}
	}
}

func TestDefect_JSONEventsAreNotEmpty(t *testing.T) {
	// eslgo parses JSON events to nothing. Proves that one arrives with its headers, an array included.
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.say(jsonFrame(`{"Event-Name":"DTMF","DTMF-Digit":"4","variable_DP_MATCH":["8084","8085"]}`))
	})
	e, err := c.Next(soon(t))
	if err != nil || e.Name() != "DTMF" || e.Get("DTMF-Digit") != "4" || strings.Join(e.Values("variable_DP_MATCH"), " ") != "8084 8085" {
		t.Errorf("%v %v", e, err)
	}
}

func TestDefect_WriteDeadlineIsRenewed(t *testing.T) {
	// eslgo leaves the deadline of one command on the socket, and later ones fail. Proves that a command works after the
	// time of the first has run out.
	synctest.Test(t, func(t *testing.T) {
		o := quick()
		c := connected(t, o, func(f *fakeSwitch) { f.answer(usual) })
		for range 3 {
			if _, err := c.API(t.Context(), "status"); err != nil {
				t.Error(err)
			}
			<-time.After(2 * o.CommandTimeout)
		}
	})
}

func TestDefect_UnknownFramesArePassedOver(t *testing.T) {
	// go-eventsocket calls log.Fatal on a frame of unknown kind. Proves that such frames, and those of a log that
	// another command asked for, change nothing for the reply behind them.
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.answer(func(command string) string {
			return "Content-Type: text/novelty\nContent-Length: 3\n\nnewContent-Type: log/data\nContent-Length: 4\nLog-Level: 4\n\nlog\n" + usual(command)
		})
	})
	for range 2 {
		if got, err := c.API(soon(t), "echo still here"); got != "still here" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestDefect_ShortRefusalIsARefusal(t *testing.T) {
	// go-eventsocket cuts `-ERR` behind its end and panics. Proves that the shortest refusals are *CommandError, in
	// either kind of reply, and that they go to the command: go-eventsocket's ReadEvent took them.
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.answer(func(command string) string {
			text := command[strings.LastIndex(command, " ")+1:]
			if strings.HasPrefix(command, "api") {
				return apiFrame(text)
			}
			return replyFrame(text)
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read := make(chan error, 1)
	go func() { _, err := c.Next(ctx); read <- err }()
	for _, text := range []string{"-ERR", "-ERROR", "-USAGE"} {
		_, errAPI := c.API(soon(t), "fails "+text)
		_, errSend := c.Send(soon(t), "fails "+text)
		for _, err := range []error{errAPI, errSend} {
			if refused, ok := errors.AsType[*CommandError](err); !ok || refused.Text != text || refused.Reason() != "" {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("Next took %v", err)
	}
}

func TestDefect_UnreadEventsDoNotBlockCommands(t *testing.T) {
	// go-eventsocket blocks every command behind more than 16 unread events. Proves that commands are answered behind
	// 10,000 that nobody reads.
	c := connected(t, Options{KeepAlive: -1, QueueSize: 100}, func(f *fakeSwitch) {
		for i := range 10_000 {
			f.say(numbered(i))
		}
		f.answer(usual)
	})
	if got, err := c.API(soon(t), "echo here"); got != "here" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDefect_ConcurrentCommandsGetTheirOwnReplies(t *testing.T) {
	// go-eventsocket has no lock around concurrent commands. Proves that 50 goroutines with 40 commands each all get the reply
	// to what they asked.
	c := connected(t, quick(), func(f *fakeSwitch) { f.answer(usual) })
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range 40 {
				ask := fmt.Sprintf("%d-%d", g, i)
				if got, err := c.API(soon(t), "echo "+ask); got != ask {
					t.Errorf("asked %s, got %q, %v", ask, got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestDefect_NothingSmugglesASecondCommand(t *testing.T) {
	// Neither library checks for line breaks. Proves that they, zero bytes and a Content-Length (which would swallow the next
	// commands) are refused in every place, and that not a byte was written: the switch sees only the command after them.
	seen := make(chan string, 100)
	c := connected(t, quick(), func(f *fakeSwitch) {
		f.answer(func(command string) string { seen <- command; return usual(command) })
	})
	ctx := soon(t)
	for _, bad := range []string{"a\nb", "a\rb", "a\x00b", "\n", "a\n", "a\r\n\r\nexit"} {
		_, err1 := c.Send(ctx, bad)
		_, err2 := c.Send(ctx, "sendmsg", Header{"Name", bad})
		_, err3 := c.Send(ctx, "sendmsg", Header{bad, "value"})
		_, err4 := c.API(ctx, bad)
		_, err5 := c.BgAPI(ctx, "originate "+bad+" &park")
		errs := []error{err1, err2, err3, err4, err5, c.Execute(ctx, bad, "answer", "", Execute{}), c.Execute(ctx, "u", bad, "", Execute{}),
			c.Execute(ctx, "u", "playback", bad, Execute{}), c.Execute(ctx, "u", "playback", "", Execute{EventUUID: bad}),
			c.Hangup(ctx, bad, ""), c.Hangup(ctx, "u", bad), c.Subscribe(ctx, bad)}
		for i, err := range errs {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%q in place %d: %v", bad, i+1, err)
			}
		}
	}
	_, noName := c.Send(ctx, "x", Header{"", "v"})
	_, colon := c.Send(ctx, "x", Header{"a:b", "v"})
	_, length := c.Send(ctx, "x", Header{"content-length", "5"})
	_, large := c.Send(ctx, strings.Repeat("x", maxCommandBytes))
	_, empty := c.API(ctx, " ")
	for i, err := range []error{noName, colon, length, large, empty, c.Execute(ctx, "u u", "answer", "", Execute{}), c.Execute(ctx, "u", "", "", Execute{}),
		c.Hangup(ctx, "", "X"), c.Hangup(ctx, "u", "TWO WORDS")} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("case %d: %v", i, err)
		}
	}
	if _, err := c.API(ctx, "echo last"); err != nil {
		t.Error(err)
	}
	for command := range drain(seen) {
		if command != "api echo last" {
			t.Errorf("the switch saw %q", command)
		}
	}
}

// drain yields what is in a channel now.
func drain(seen chan string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for len(seen) > 0 && yield(<-seen) {
		}
	}
}

func TestDefect_AbsentHeadersAreEmpty(t *testing.T) {
	// go-eventsocket panics on a header that is not there. Proves that every accessor answers for an event without any.
	e := NewEvent("")
	if e.Name()+e.Subclass()+e.UUID()+e.Get("x")+e.Variable("x")+string(e.Body()) != "" || e.Values("x") != nil || e.Lost() != 0 {
		t.Errorf("%+v", e)
	}
}

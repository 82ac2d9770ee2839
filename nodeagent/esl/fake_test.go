package esl

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const goodbye = "Content-Type: text/disconnect-notice\nContent-Length: 67\n\nDisconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"

// fakeSwitch is the FreeSWITCH's side of a connection, driven by a test.
type fakeSwitch struct {
	net.Conn
	r *bufio.Reader
}

func newFakeSwitch(nc net.Conn) *fakeSwitch { return &fakeSwitch{nc, bufio.NewReader(nc)} }

// command reads one command with its headers, without the empty line.
func (f *fakeSwitch) command() (string, error) {
	var lines []string
	for {
		line, err := f.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return strings.Join(lines, "\n"), nil
		}
		lines = append(lines, line)
	}
}

// say writes bytes; a peer that is gone is seen by the next read.
func (f *fakeSwitch) say(text string) {
	if text != "" { // a pipe passes on an empty write
		_, _ = io.WriteString(f, text)
	}
}

// accept greets and takes any password.
func (f *fakeSwitch) accept() error {
	f.say("Content-Type: auth/request\n\n")
	if _, err := f.command(); err != nil {
		return err
	}
	f.say(replyFrame("+OK accepted"))
	return nil
}

// answer gives to each command what the function returns, until the peer closes.
func (f *fakeSwitch) answer(reply func(command string) string) {
	for {
		command, err := f.command()
		if err != nil {
			return
		}
		f.say(reply(command))
	}
}

// usual answers as a FreeSWITCH does where nothing matters: api echo echoes, all else is +OK.
func usual(command string) string {
	if text, ok := strings.CutPrefix(command, "api echo "); ok {
		return apiFrame(text)
	}
	if strings.HasPrefix(command, "api ") {
		return apiFrame("+OK\n")
	}
	return replyFrame("+OK")
}

func replyFrame(text string) string {
	return "Content-Type: command/reply\nReply-Text: " + text + "\n\n"
}

func apiFrame(body string) string {
	return fmt.Sprintf("Content-Type: api/response\nContent-Length: %d\n\n%s", len(body), body)
}

func plainFrame(body string) string {
	return fmt.Sprintf("Content-Length: %d\nContent-Type: text/event-plain\n\n%s", len(body), body)
}

func jsonFrame(body string) string {
	return fmt.Sprintf("Content-Length: %d\nContent-Type: text/event-json\n\n%s", len(body), body)
}

// numbered is an event that names its place in a sequence.
func numbered(n int) string {
	return plainFrame(fmt.Sprintf("Event-Name: HEARTBEAT\nN: %d\n\n", n))
}

// quick are options for tests on the real clock: no probes, short limits.
func quick() Options { return Options{KeepAlive: -1, CommandTimeout: 20 * time.Second} }

// connected returns a Conn that has logged in to a switch played by drive.
func connected(t testing.TB, o Options, drive func(f *fakeSwitch)) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer theirs.Close()
		f := newFakeSwitch(theirs)
		if f.accept() == nil {
			drive(f)
		}
	}()
	c, err := login(t.Context(), ours, "ClueCon", o.withDefaults())
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	t.Cleanup(func() { _ = c.Close(); <-gone })
	return c
}

// listening runs drive for each connection to a loopback address and returns the address.
func listening(t testing.TB, drive func(f *fakeSwitch)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				drive(newFakeSwitch(nc))
			}()
		}
	}()
	return l.Addr().String()
}

// soon is a context for what must not hang.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func recording(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

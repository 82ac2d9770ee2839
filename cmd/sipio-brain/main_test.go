package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The program starts by its flags alone, tells systemd READY and, told to end, STOPPING, and exits 0.
// The notify socket is a real one, as systemd would listen on it.
func TestRun_StartsAndEndsUnderAServiceManager(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("SIPIO_BRAIN_LISTEN", "192.0.2.1:1") // the flag wins
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reader, stderr := io.Pipe()
	log := make(chan string, 1)
	go func() { log <- drainLog(reader) }()
	exit := make(chan int, 1)
	go func() {
		exit <- run(ctx, []string{"--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--log-decisions"}, io.Discard, stderr)
		stderr.Close()
	}()
	expect(t, conn, "READY=1")
	stop()
	expect(t, conn, "STOPPING=1")
	if code := <-exit; code != 0 {
		t.Errorf("exit %d: %s", code, <-log)
	}
}

func drainLog(r io.Reader) string {
	var b strings.Builder
	for s := bufio.NewScanner(r); s.Scan(); {
		b.WriteString(s.Text() + "\n")
	}
	return b.String()
}

func expect(t *testing.T, conn *net.UnixConn, want string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	n, err := conn.Read(buf)
	if got := string(buf[:n]); err != nil || got != want {
		t.Fatalf("the service manager heard %q, %v; want %s", got, err, want)
	}
}

// A mistake in flags or variables is exit 1 and one line that names it; nothing starts.
func TestRun_NamesAMistakeAndExits1(t *testing.T) {
	for _, c := range []struct{ env, value, flag, want string }{
		{"", "", "--listen=0.0.0.0:80", "loopback"},
		{"", "", "--log-level=loud", "log-level"},
		{"", "", "--no-such-flag", "no-such-flag"},
		{"", "", "stray", "stray"},
		{"SIPIO_BRAIN_ALLOW_PEERS", "everybody", "", "SIPIO_BRAIN_ALLOW_PEERS"},
	} {
		t.Run(c.want, func(t *testing.T) {
			if c.env != "" {
				t.Setenv(c.env, c.value)
			}
			args := []string{"--data-dir", t.TempDir()}
			if c.flag != "" {
				args = append(args, c.flag)
			}
			var out bytes.Buffer
			if code := run(t.Context(), args, io.Discard, &out); code != 1 || !strings.Contains(out.String(), c.want) || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("exit %d: %s", code, out.String())
			}
		})
	}
}

// --help names every setting with its variable.
func TestRun_HelpNamesEverySetting(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &out, io.Discard); code != 0 {
		t.Fatalf("exit %d", code)
	}
	for _, want := range []string{"--data-dir", "$SIPIO_BRAIN_DATA_DIR", "--tls-listen", "$SIPIO_BRAIN_LOG_DECISIONS"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help misses %s:\n%s", want, out.String())
		}
	}
}

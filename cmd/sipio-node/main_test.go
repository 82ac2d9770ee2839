package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent"
)

// Every setting is a flag, and its help names the variable that sets the same.
func TestRun_HelpNamesEverySetting(t *testing.T) {
	var out bytes.Buffer
	if status := run(t.Context(), []string{"--help"}, &out, &out); status != 0 {
		t.Fatalf("status %d: %s", status, &out)
	}
	cfg := nodeagent.DefaultConfig()
	for _, s := range cfg.Settings() {
		if !strings.Contains(out.String(), "--"+s.Name+" ") || !strings.Contains(out.String(), "[$"+s.Env()+"]") {
			t.Errorf("help does not show --%s and %s", s.Name, s.Env())
		}
	}
}

// A setting that cannot be read, from a flag or a variable, ends the program with status 1 and a
// message that names it.
func TestRun_RefusesBadSettings(t *testing.T) {
	var out bytes.Buffer
	if status := run(t.Context(), []string{"--deadline=soon"}, &out, &out); status != 1 || !strings.Contains(out.String(), "--deadline") {
		t.Errorf("flag: status %d, said %q", status, &out)
	}
	out.Reset()
	t.Setenv("SIPIO_NODE_MAX_IN_FLIGHT", "many")
	if status := run(t.Context(), nil, &out, &out); status != 1 || !strings.Contains(out.String(), "SIPIO_NODE_MAX_IN_FLIGHT") {
		t.Errorf("variable: status %d, said %q", status, &out)
	}
}

// The program runs with its flags until it is told to stop, and then ends with status 0.
func TestRun_StopsGracefully(t *testing.T) {
	dir, err := os.MkdirTemp("", "node") // t.TempDir is too long for a socket path
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{
			"--brain-urls=http://127.0.0.1:9", "--brain-key-file=" + key, "--door-listen=127.0.0.1:0", "--op-listen=127.0.0.1:0",
			"--kamailio-socket=" + dir + "/k", "--kamailio-client=" + dir + "/c", "--rtpengine-ng=127.0.0.1:9", "--spool-dir=" + dir + "/spool",
		}, &out, &out)
	}()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), "node agent answers"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never answered: %s", out.String())
		}
	}
	cancel()
	if status := <-done; status != 0 {
		t.Errorf("status %d: %s", status, out.String())
	}
	if strings.Contains(out.String(), "secret") {
		t.Error("the key is in the log")
	}
}

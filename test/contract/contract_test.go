// Package contract proves what holds between the parts: the real brain, node agent and command line as
// processes, with the real database, over loopback. No phone and no Kamailio takes part.
package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
)

func TestMain(m *testing.M) {
	code := m.Run()
	edge.RemoveBinaries()
	os.Exit(code)
}

// password is what the devices of two have; no reply, no log and no file may show it.
const password = "Unmistakable-7f3a9c"

// two is a configuration of two accounts with the same numbers in them.
const two = `- {kind: account, name: acme}
- {kind: sip_domain, account: acme, name: acme.test, spec: {is_primary: true}}
- {kind: sip_user, account: acme, name: "1001", spec: {display_name: Ann}}
- {kind: sip_user, account: acme, name: "1002", spec: {display_name: Bob, fwd_noanswer_dest_kind: ring_group, fwd_noanswer_dest_id: sales}}
- {kind: sip_device, account: acme, name: 1001@acme.test, spec: {user_id: "1001", password: ` + password + `}}
- {kind: sip_device, account: acme, name: 1002@acme.test, spec: {user_id: "1002", password: ` + password + `}}
- {kind: ring_group, account: acme, name: sales, spec: {members: [{user_id: "1001"}, {user_id: "1002"}]}}
- {kind: extension, account: acme, name: "600", spec: {dest_kind: ring_group, dest_id: sales}}
- {kind: account, name: globex}
- {kind: sip_domain, account: globex, name: globex.test, spec: {is_primary: true}}
- {kind: sip_user, account: globex, name: "1001"}
- {kind: sip_user, account: globex, name: "2001"}
- {kind: sip_device, account: globex, name: 1001@globex.test, spec: {user_id: "1001", password: ` + password + `}}
`

// start starts a brain and a node agent that end with the test; their last words are told when it fails.
func start(t *testing.T, opt edge.Options) *edge.Edge {
	t.Helper()
	opt.NoPhones = true
	opt.Dir = t.TempDir()
	e, err := edge.Start(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("last lines:\n" + e.Tails(15))
		}
		e.Stop()
	})
	return e
}

// within is the time a test may take.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until it hears nil or ctx ends.
func eventually(t *testing.T, ctx context.Context, what string, ask func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// said is what a run of the command line wrote, and its exit status.
type said struct {
	out, err string
	code     int
}

func (s said) String() string {
	return fmt.Sprintf("exit status %d\n--- stdout\n%s--- stderr\n%s", s.code, s.out, s.err)
}

// sipio runs the command line against the brain of e.
func sipio(t *testing.T, e *edge.Edge, args ...string) said {
	t.Helper()
	return sipioAs(t, e, e.AdminKey, args...)
}

func sipioAs(t *testing.T, e *edge.Edge, key string, args ...string) said {
	t.Helper()
	bin, err := edge.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(within(t, time.Minute), filepath.Join(bin, "sipio"), args...)
	cmd.Env = append(os.Environ(), "SIPIO_SERVER="+e.BrainURL, "SIPIO_KEY="+key)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			t.Fatalf("run sipio %v: %v", args, err)
		}
	}
	return said{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must runs the command line and fails the test unless it exits with code.
func must(t *testing.T, e *edge.Edge, code int, args ...string) said {
	t.Helper()
	s := sipio(t, e, args...)
	if s.code != code {
		t.Fatalf("sipio %s: want exit status %d\n%v", strings.Join(args, " "), code, s)
	}
	return s
}

// write makes a file in the folder of e and returns its path.
func write(t *testing.T, e *edge.Edge, name, text string) string {
	t.Helper()
	path := filepath.Join(e.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var faultLine = regexp.MustCompile(`"level":"ERROR"|level=ERROR|\bpanic\b`)

// noFaults fails the test when a process has logged a fault of its own.
func noFaults(t *testing.T, e *edge.Edge) {
	t.Helper()
	for _, log := range []string{e.Brain.Log, e.Node.Log} {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if faultLine.MatchString(line) {
				t.Errorf("%s: %s", filepath.Base(log), line)
			}
		}
	}
}

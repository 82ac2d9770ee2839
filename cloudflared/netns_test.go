package cloudflared

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programs names the folder of the built programs to the process that runs the test in a network of its own.
const programs = "SIPIO_TUNNEL_PROGRAMS"

// alone runs the calling test in a network namespace that has nothing but loopback: cloudflared asks the Internet's DNS for its
// features, and for updates. The programs are built first, here, where the go command reaches its module proxy. It returns
// their folder there; here it returns "", and the test is over. Without root the test is skipped, it alone.
func alone(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv(programs); bin != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("loopback: %v\n%s", err, out)
		}
		return bin
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make a network namespace, so that cloudflared reaches nobody: run this test as root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.count=1"}
	env := append(os.Environ(), programs+"="+build(t, t.TempDir()))
	if end, ok := t.Deadline(); ok {
		args = append(args, fmt.Sprintf("-test.timeout=%v", max(time.Second, time.Until(end)-5*time.Second)))
	}
	var out bytes.Buffer
	cmd := exec.Command(self, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = env, &out, &out, askTimeout
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	switch {
	case err != nil:
		t.Fatalf("in its own network: %v\n%s", err, &out)
	case !strings.Contains(out.String(), "--- PASS: "+t.Name()+" "):
		t.Fatalf("it did not run in its own network:\n%s", &out)
	}
	t.Log(out.String())
	return ""
}

// noNetwork wants that nothing but loopback can be reached from here.
func noNetwork(t *testing.T) {
	t.Helper()
	links, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(links)) {
		if name, _, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) != "lo" {
			t.Fatalf("there is a network, %s", strings.TrimSpace(name))
		}
	}
}

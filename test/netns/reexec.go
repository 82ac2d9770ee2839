package netns

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// variable marks the process that runs a test in a namespace of its own.
const variable = "SIPIO_TEST_NETNS"

// Inside tells whether this process runs one test in a namespace of its own. A TestMain that starts what other tests
// share can leave that out then.
func Inside() bool { return os.Getenv(variable) != "" }

// init has loopback up before anything of the test runs, its TestMain included.
func init() {
	if !Inside() {
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "loopback in the new namespace: %v\n%s", err, out)
		os.Exit(1)
	}
}

// Reexec runs the calling test in a network namespace of its own, by starting this program again for that test alone.
// There it returns false, and the test goes on. Here it returns true when that has ended: its output, failure or
// skip has become this test's, which has nothing left to do:
//
//	if netns.Reexec(t) {
//		return
//	}
//
// Without root, or where the kernel does not let us, the test is skipped.
func Reexec(t *testing.T) bool {
	t.Helper()
	if Inside() {
		return false
	}
	able(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, arguments(t)...)
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second // for daemons that hold our pipe
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
	}
	report(t, out.String(), err)
	return true
}

// able skips the test where no namespace can be made.
func able(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make network namespaces: run this test as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip(8): run deploy/install-packages.sh")
	}
	ns, err := unshared()
	if err != nil {
		t.Skipf("this machine makes no network namespaces: %v", err)
	}
	_ = ns.file.Close()
}

// arguments are those of a run of this test alone, which ends before this one's time is over.
func arguments(t *testing.T) []string {
	var names []string
	for _, part := range strings.Split(t.Name(), "/") {
		names = append(names, "^"+regexp.QuoteMeta(part)+"$")
	}
	args := []string{"-test.run=" + strings.Join(names, "/"), "-test.v", "-test.count=1", "-test.paniconexit0"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	if end, ok := t.Deadline(); ok {
		args = append(args, fmt.Sprintf("-test.timeout=%s", max(time.Second, time.Until(end)-5*time.Second)))
	}
	return args
}

// report makes the end of the other process this test's.
func report(t *testing.T, out string, err error) {
	t.Helper()
	out = strings.TrimSpace(out)
	switch {
	case err != nil:
		t.Fatalf("in its own namespace: %v\n%s", err, out)
	case strings.Contains(out, "--- SKIP: "+t.Name()+" "):
		t.Skip(out)
	case !strings.Contains(out, "--- PASS: "+t.Name()+" "):
		t.Fatalf("it did not run in its own namespace:\n%s", out)
	default:
		t.Log(out)
	}
}

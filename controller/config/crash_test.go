package config

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
)

// crashFile names the file that a child of this test binary writes until it is killed.
const crashFile = "SIPIO_TEST_CRASH_FILE"

// crashDoc declares an account with many users; which says how each of them rings.
func crashDoc(which int) []byte {
	var b strings.Builder
	b.WriteString("- {kind: account, name: acme}\n- {kind: sip_domain, account: acme, name: acme.test, spec: {is_primary: true}}\n")
	for i := range 300 {
		fmt.Fprintf(&b, "- {kind: sip_user, account: acme, name: \"%d%d\", spec: {ring_timeout_sec: %d}}\n", which, 1000+i, 10+which)
	}
	return []byte(b.String())
}

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		writeUntilKilled(path)
		os.Exit(1)
	}
	if path := os.Getenv(killFile); path != "" {
		dieInTheMiddle(path)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled applies two documents in turn and prints each version that was acknowledged. A
// minute bounds it, should nobody kill it.
func writeUntilKilled(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Open(ctx, path)
	for err == nil {
		var version int64
		which := int(s.Directory().Version()+1) % 2
		if _, version, err = s.Apply(ctx, "crash", crashDoc(which), brain.ApplyOptions{Prune: true}); err == nil {
			fmt.Println(version)
		}
	}
	fmt.Fprintln(os.Stderr, err)
}

// Proves that a kill at any moment of Apply leaves the old or the new configuration and nothing
// between, and loses nothing acknowledged. A child applies two documents in turn, by prune and create,
// and is killed at a random moment; the file is opened and looked at. 20 kills.
func TestApply_KilledInTheMiddleLeavesOldOrNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.db")
	var versions []int64
	for range 20 {
		acknowledged := runAndKill(t, path)
		s, err := Open(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		version := s.Directory().Version()
		if version < acknowledged {
			t.Errorf("version %d after %d was acknowledged", version, acknowledged)
		}
		c := account(t, s, "acme.test")
		which := int(version % 2)
		for name, u := range c.UserByName {
			if u.RingTimeoutSec != 10+which || !strings.HasPrefix(name, fmt.Sprint(which)) {
				t.Fatalf("version %d has user %s with %d s", version, name, u.RingTimeoutSec)
			}
		}
		if len(c.Users) != 300 || c.Version != version {
			t.Errorf("version %d: %d users, account version %d", version, len(c.Users), c.Version)
		}
		versions = append(versions, version)
		s.Close()
	}
	t.Logf("versions found after the kills: %v", versions)
}

// runAndKill starts the child, waits for its first answer, kills it up to 120 ms later, and returns the
// last version it had acknowledged.
func runAndKill(t *testing.T, path string) int64 {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashFile+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var last int64
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if last == 0 {
			time.AfterFunc(rand.N(120*time.Millisecond), func() { child.Process.Kill() })
		}
		if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if err := child.Wait(); err == nil || last == 0 {
		t.Fatalf("the child ended by itself: %v, last version %d", err, last)
	}
	return last
}

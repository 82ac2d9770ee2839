package config

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sipio/sipio/brain"
)

// killFile names the file of a child of this test binary that kills itself between log and file.
const killFile = "SIPIO_TEST_KILL_FILE"

// fileLog reads a log from a file with a message a line.
func fileLog(path string) (*memLog, error) {
	log := newMemLog()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return log, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		data, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			return nil, err
		}
		log.keep(data)
	}
	return log, lines.Err()
}

// dieInTheMiddle makes three changes and kills its own process in the append of the third: once the
// message is in the log, while the transaction of the file is open.
func dieInTheMiddle(path string) {
	ctx := context.Background()
	log, err := fileLog(path + ".log")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	appends := 0
	log.onAppend = func(_ int64, data []byte) (bool, error) {
		f, err := os.OpenFile(path+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if _, err := fmt.Fprintln(f, base64.StdEncoding.EncodeToString(data)); err != nil {
			return false, err
		}
		if appends++; appends == 3 {
			return true, syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return true, nil
	}
	s, err := Open(ctx, path)
	if err == nil {
		err = s.Replicate(ctx, log)
	}
	for n := 0; err == nil && n < 3; n++ {
		name := fmt.Sprintf("account %d of %d", n, s.Directory().Version())
		_, err = s.Change(ctx, "crash", brain.Change{Op: brain.OpCreate, Resource: &brain.Account{Name: name}})
	}
	fmt.Fprintln(os.Stderr, "still alive:", err)
}

// Proves that a change which a crash left in the log, but not in the file, takes effect at the next
// start. A child kills itself between the two, five times over; each time the file is one version
// behind the log, and level with it, and equal to a store that reads the whole log, once it has joined.
func TestReplicate_AKillBetweenLogAndFileIsMadeGood(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "config.db")
	for round := range int64(5) {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), killFile+"="+path)
		if text, err := child.CombinedOutput(); err == nil || len(text) > 0 {
			t.Fatalf("the child ended by itself: %v %s", err, text)
		}
		log, err := fileLog(path + ".log")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		last := (round + 1) * 3
		if log.last() != last || s.Directory().Version() != last-1 {
			t.Fatalf("the log ends at %d, the file has %d; want %d and one less", log.last(), s.Directory().Version(), last)
		}
		if err := s.Replicate(ctx, log); err != nil {
			t.Fatal(err)
		}
		if s.Directory().Version() != last {
			t.Errorf("version %d after joining, want %d", s.Directory().Version(), last)
		}
		wantEqual(t, s, joined(t, log))
		s.Close()
	}
}

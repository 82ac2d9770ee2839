package own

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// report is what a brain that is a process says on a line when asked.
type report struct {
	Serving bool
	Owned   []int
	Fenced  int
	Spans   []span
}

// playBrain is a brain until its standard input ends; each line there asks for a report.
func playBrain() int {
	name, user := os.Getenv("OWN_TEST_NAME"), os.Getenv("OWN_TEST_USER")
	nc, js, err := dial(user, strings.Split(os.Getenv("OWN_TEST_URLS"), ",")...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer nc.Close()
	d := newDesk(name)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m, err := Join(ctx, Config{NC: nc, JS: js, Name: name, Peers: peers, Replicas: 3, Log: quiet(), Acquire: d.acquire, Release: d.release})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	d.mu.Lock()
	d.m = m
	d.mu.Unlock()
	go d.probe(context.Background())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		r := report{Serving: m.Serving(), Owned: m.Owned()}
		r.Spans, r.Fenced = d.log()
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return 1
		}
	}
	return 0
}

type brainProcess struct {
	t     testing.TB
	child *exec.Cmd
	in    io.Writer
	out   *bufio.Reader
}

func startBrain(t testing.TB, name, user string, urls []string) *brainProcess {
	t.Helper()
	p := &brainProcess{t: t, child: exec.Command(os.Args[0])}
	p.child.Env = append(os.Environ(), "OWN_TEST_ROLE=brain", "OWN_TEST_NAME="+name, "OWN_TEST_USER="+user, "OWN_TEST_URLS="+strings.Join(urls, ","))
	p.child.Stderr = os.Stderr
	in, err := p.child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.child.Process.Kill(); _ = p.child.Wait() })
	return p
}

func (p *brainProcess) report() (r report) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *brainProcess) signal(s syscall.Signal) {
	if err := p.child.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// serving waits until the brains serve all shards together.
func serving(t testing.TB, limit time.Duration, brains ...*brainProcess) {
	t.Helper()
	eventually(t, limit, "all shards are served", func() error {
		var all []int
		for _, b := range brains {
			if r := b.report(); r.Serving && len(r.Owned) > 0 {
				all = append(all, r.Owned...)
			}
		}
		slices.Sort(all)
		if n := len(slices.Compact(all)); n != shards || len(all) != shards {
			return fmt.Errorf("%d shards by %d ownerships", n, len(all))
		}
		return nil
	})
}

func TestCluster_ZombieAnswersNothingStale(t *testing.T) {
	// Proves that a brain that was stopped for 5 s and wakes up answers for no shard that was taken meanwhile, though the
	// heartbeats and acknowledgements of that time wait in its sockets. Three brains are processes; each looks every
	// millisecond whether it may answer; the looks of all are laid side by side.
	t.Parallel()
	user, urls := shared.newAccount(t)
	var brains []*brainProcess
	for i, name := range peers {
		brains = append(brains, startBrain(t, name, user, slices.Concat(urls[i:], urls[:i])))
	}
	serving(t, 30*time.Second, brains...)
	zombie := brains[0]
	// What waits in its sockets may tell it all before its first look: then it is stopped once more.
	for round := 0; round < 4 && zombie.report().Fenced == 0; round++ {
		stopFor(t, 5*time.Second, zombie, brains)
	}

	var spans []span
	for _, b := range brains {
		r := b.report()
		spans = append(spans, r.Spans...)
		if b == zombie && r.Fenced == 0 {
			t.Error("the zombie never found itself with a shard it must not answer for: the test proves nothing")
		}
	}
	checkOneOwner(t, spans)
}

// stopFor stops a brain that has its share of the shards until the others have taken it over, and for d at least.
func stopFor(t *testing.T, d time.Duration, zombie *brainProcess, brains []*brainProcess) {
	t.Helper()
	eventually(t, 30*time.Second, "it has its share", func() error {
		if n := len(zombie.report().Owned); n < 10 {
			return fmt.Errorf("it has %d shards", n)
		}
		return nil
	})
	others := slices.DeleteFunc(slices.Clone(brains), func(b *brainProcess) bool { return b == zombie })
	zombie.signal(syscall.SIGSTOP)
	stopped := time.Now()
	serving(t, 5*time.Second, others...)
	t.Logf("taken over after %v", time.Since(stopped).Round(time.Millisecond))
	for deadline := stopped.Add(d); time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	zombie.signal(syscall.SIGCONT)
	serving(t, 30*time.Second, brains...) // it has shards of its own again
}

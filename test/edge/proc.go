package edge

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Proc is one daemon of the edge, started by the harness, its output kept in a file and in memory.
type Proc struct {
	Name string
	Log  string // path of the file with everything it printed

	argv []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	lines []string // last lines, for messages of failure
}

// maxLines bounds what is kept in memory of a daemon's output.
const maxLines = 400

func newProc(dir, name string, env []string, argv ...string) *Proc {
	return &Proc{Name: name, Log: filepath.Join(dir, name+".log"), argv: argv, env: env}
}

// NewProc prepares a process that is no part of an Edge; what it prints goes to name.log in dir too.
func NewProc(dir, name string, argv ...string) *Proc { return newProc(dir, name, nil, argv...) }

// Start starts the process, or starts it again after it ended. tee, when set, sees each line as it comes.
func (p *Proc) Start(tee func(line string)) error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	// A group of its own: Kamailio's workers are signalled together with it, and an interrupt at the
	// terminal reaches the harness only. Death of the harness takes the daemon with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), log.Close(), r.Close(), w.Close())
	}
	_ = w.Close()
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		p.read(r, log, tee)
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
	return nil
}

func (p *Proc) read(r, log *os.File, tee func(string)) {
	defer r.Close()
	defer log.Close()
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), 1<<20)
	for sc.Scan() {
		line := sc.Text()
		fmt.Fprintln(log, line)
		p.mu.Lock()
		p.lines = append(p.lines, line)
		if len(p.lines) > maxLines {
			p.lines = p.lines[len(p.lines)-maxLines:]
		}
		p.mu.Unlock()
		if tee != nil {
			tee(line)
		}
	}
}

// Signal sends a signal to the process and all its children.
func (p *Proc) Signal(sig syscall.Signal) error {
	if p.cmd == nil || p.cmd.Process == nil {
		return fmt.Errorf("%s was not started", p.Name)
	}
	return syscall.Kill(-p.cmd.Process.Pid, sig)
}

// Kill ends the process at once (SIGKILL) and waits until it is gone.
func (p *Proc) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Freeze and Thaw stop the process without its knowledge (SIGSTOP) and let it go on. When Freeze returns none of its
// threads runs: the signal reaches one on another processor a moment later than the sender hears.
func (p *Proc) Freeze() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(5 * time.Second); !p.stopped(); {
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("%s does not stop", p.Name)
		}
	}
	return nil
}

// Thaw is the end of Freeze.
func (p *Proc) Thaw() error { return p.Signal(syscall.SIGCONT) }

// stopped tells whether every thread is, as the kernel tells behind the last bracket of its name: R running, S sleeping …
func (p *Proc) stopped() bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
	if err != nil || len(tasks) == 0 {
		return false
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'T' {
			return false
		}
	}
	return true
}

// Stop ends the process in its own way, and by SIGKILL when it has not ended after five seconds.
func (p *Proc) Stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.Thaw()
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
	}
	// Kamailio's children outlive a parent that was killed: end the whole group.
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Alive reports whether the process runs.
func (p *Proc) Alive() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID of the running process.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Tail returns the last n lines the process printed.
func (p *Proc) Tail(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := p.lines[max(0, len(p.lines)-n):]
	var b bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&b, "  %s| %s\n", p.Name, l)
	}
	return b.String()
}

// WaitFor polls ready until it is nil, the process ends, or ctx does; then the error says what was printed.
func (p *Proc) WaitFor(ctx context.Context, what string, ready func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if last = ready(); last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended while waiting for %s:\n%s", p.Name, what, p.Tail(30))
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s of %s: %w (%v)\n%s", what, p.Name, ctx.Err(), last, p.Tail(30))
		case <-tick.C:
		}
	}
}

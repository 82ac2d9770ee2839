package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 20 * time.Second // ready after about one second
	stopTimeout  = 15 * time.Second // an orderly end takes about six
	pollEvery    = 50 * time.Millisecond
	lastLog      = 4000 // bytes of the log that an error shows
)

// Options say which FreeSWITCH is started and with which values. All are required but Vars.
type Options struct {
	Binary string            // path of the program
	Config string            // folder of the configuration, this repository's freeswitch-cfg
	Dir    string            // folder for all that it writes; made if need be
	Vars   map[string]string // values for vars.xml by name; those not named stay as they are
}

// Daemon is a running FreeSWITCH.
type Daemon struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process has ended
}

// Start renders the configuration and runs FreeSWITCH until ctx ends, then kills it. It returns when the event socket
// accepts connections. The error of a process that ends at once shows the end of its log.
func Start(ctx context.Context, o Options) (*Daemon, error) {
	args, err := Arguments(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start FreeSWITCH: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(o.Dir, "conf")); err != nil { // of an earlier start
		return nil, fmt.Errorf("start FreeSWITCH: %w", err)
	}
	if err := Render(o.Config, filepath.Join(o.Dir, "conf"), o.Vars); err != nil {
		return nil, fmt.Errorf("start FreeSWITCH: %w", err)
	}
	d := &Daemon{log: filepath.Join(o.Dir, "log", "freeswitch.log"), done: make(chan struct{})}
	out, err := os.Create(d.log)
	if err != nil {
		return nil, fmt.Errorf("start FreeSWITCH: %w", err)
	}
	defer out.Close()
	d.cmd = exec.CommandContext(ctx, o.Binary, args...)
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.Dir = out, out, o.Dir
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start FreeSWITCH: %w", err)
	}
	go func() {
		_ = d.cmd.Wait() // how it ended is in the log
		close(d.done)
	}()
	if err := d.ready(ctx, net.JoinHostPort(o.Vars["esl_ip"], o.Vars["esl_port"])); err != nil {
		d.Kill()
		return nil, fmt.Errorf("start FreeSWITCH: %w; its log ends:\n%s", err, d.logEnd())
	}
	return d, nil
}

// Arguments are those of a FreeSWITCH whose configuration is in DIR/conf and that writes into DIR only; its folders are
// made if need be.
func Arguments(dir string) ([]string, error) {
	args := []string{"-nonat", "-nf", "-conf", filepath.Join(dir, "conf")}
	for _, name := range []string{"log", "db", "run", "scripts", "htdocs", "storage", "cache", "recordings", "temp"} {
		folder := filepath.Join(dir, name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		args = append(args, "-"+name, folder)
	}
	return args, nil
}

// ready waits until the event socket says something, since it is opened before it is served.
func (d *Daemon) ready(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if greets(addr) {
			return nil
		}
		select {
		case <-d.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("no event socket on %s: %w", addr, ctx.Err())
		case <-tick.C:
		}
	}
}

func greets(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	greeting := make([]byte, len("Content-Type: auth/request\n\n"))
	n, _ := c.Read(greeting)
	if n == 0 {
		return false
	}
	_, _ = c.Write([]byte("exit\n\n"))
	return strings.HasPrefix(string(greeting[:n]), "Content-Type: auth")
}

// Stop asks FreeSWITCH to end in order (SIGTERM: calls get BYE) and kills it when it takes too long.
func (d *Daemon) Stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop FreeSWITCH: %w", err)
	}
	t := time.NewTimer(stopTimeout)
	defer t.Stop()
	select {
	case <-d.done:
		return nil
	case <-t.C:
		d.Kill()
		return fmt.Errorf("stop FreeSWITCH: it did not end within %v", stopTimeout)
	}
}

// Kill ends FreeSWITCH as a crash would (SIGKILL): nobody is told anything. It returns when the process is gone.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill() // fails only when it is gone
	<-d.done
}

// Done is closed when the process has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// Log is the path of the log.
func (d *Daemon) Log() string { return d.log }

func (d *Daemon) logEnd() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-lastLog):])
}

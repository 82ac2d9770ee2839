// Command demo is what `make run` runs: one node on this machine, two phones, one call. It prints each
// decision of the brain as it happens and the tone measured at both ends, then stays up for real phones.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed demo.yaml
var config string

const (
	domain = "demo.test"
	// The tones of the two phones, in Hz; far enough apart to be told apart in 200 ms of G.711.
	callerTone, calleeTone = 440, 620
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(errs)
	once := flags.Bool("once", false, "end after the demo call")
	ip := flags.String("ip", "127.0.0.1", "address for SIP and RTP; phones elsewhere need one they can reach")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := demo(ctx, *once, *ip, out); err != nil {
		fmt.Fprintln(errs, "demo failed:", err)
		return 1
	}
	return 0
}

func demo(ctx context.Context, once bool, ip string, out io.Writer) error {
	began := time.Now()
	dir, err := dataDir(once)
	if err != nil {
		return err
	}
	opt := edge.Options{Dir: dir, IP: ip, Config: config, ContactTimer: 20, LogDecisions: true, Tee: func(proc, line string) { decision(out, proc, line) }}
	if !once {
		opt.SIPPort, opt.WSSPort, opt.BrainPort = 5060, 8443, 8080
		if err := portsFree(ip, 5060, 5061, 8443); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "building, then starting brain, node agent, Kamailio and rtpengine …")
	e, err := edge.Start(ctx, opt)
	if err != nil {
		return err
	}
	defer e.Stop()
	fmt.Fprintf(out, "one node is up after %.1f s; account \"demo\" with the phones 1001 and 1002 is applied\n\n", time.Since(began).Seconds())
	callCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := call(callCtx, e, out); err != nil {
		return fmt.Errorf("%w\n%s", err, e.Tails(8))
	}
	if once {
		return os.RemoveAll(dir)
	}
	stay(out, e)
	<-ctx.Done()
	fmt.Fprintln(out, "\nstopping")
	return nil
}

// dataDir is run/ in the repository, kept between runs, or a temporary folder for a single run.
func dataDir(once bool) (string, error) {
	if once {
		return os.MkdirTemp("", "sipio-demo-")
	}
	return filepath.Join(edge.Root(), "run"), nil
}

func portsFree(ip string, ports ...int) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, p))
		if err != nil {
			return fmt.Errorf("port %d is taken (%w): stop what uses it (a Kamailio started by its package?), or run `make run ONCE=1`, which takes free ports", p, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// decision prints the brain's decision lines for people.
func decision(out io.Writer, proc, line string) {
	if proc != "brain" {
		return
	}
	if text, ok := decisionText(line); ok {
		fmt.Fprintln(out, "  brain:", text)
	}
}

// call has 1001 call 1002 and measures the tone at both ends.
func call(ctx context.Context, e *edge.Edge, out io.Writer) error {
	var phones [2]*phone.Phone
	for i, user := range []string{"1001", "1002"} {
		p, err := phone.New(ctx, phone.Config{AuthUser: user, Password: "demo-" + user, Domain: domain, Proxy: e.SIP, Transport: "udp", LocalIP: e.IP})
		if err != nil {
			return err
		}
		defer p.Close()
		resp, err := p.Register(ctx, 5*time.Minute)
		if err != nil {
			return fmt.Errorf("register %s: %w", user, err)
		}
		if resp.Code != 200 {
			return fmt.Errorf("register %s: %d %s", user, resp.Code, resp.Reason)
		}
		fmt.Fprintf(out, "phone %s registered\n", user)
		phones[i] = p
	}
	answered := make(chan *phone.Call, 1)
	go func() {
		if in, ok := <-phones[1].Incoming(); ok {
			fmt.Fprintf(out, "phone 1002 rings: %q <%s>\n", in.FromDisplay(), in.FromURI())
			if c, err := in.Answer(ctx); err == nil {
				answered <- c
			}
		}
	}()
	a, err := phones[0].Call(ctx, "1002")
	if err != nil {
		return fmt.Errorf("call 1002: %w", err)
	}
	var b *phone.Call
	select {
	case b = <-answered:
	case <-ctx.Done():
		return errors.New("1002 never answered")
	}
	a.SendTone(callerTone)
	b.SendTone(calleeTone)
	if err := listen(ctx, out, "1002", b, callerTone); err != nil {
		return err
	}
	if err := listen(ctx, out, "1001", a, calleeTone); err != nil {
		return err
	}
	if err := a.Bye(ctx); err != nil {
		return err
	}
	fmt.Fprintln(out, "phone 1001 hung up: the call worked, both ends heard the other through rtpengine")
	for _, p := range phones {
		if _, err := p.Unregister(ctx); err != nil {
			return err
		}
	}
	return nil
}

func listen(ctx context.Context, out io.Writer, name string, c *phone.Call, hz float64) error {
	level, err := c.HearTone(ctx, hz)
	if err != nil {
		return fmt.Errorf("phone %s does not hear %.0f Hz: %w", name, hz, err)
	}
	fmt.Fprintf(out, "phone %s hears %.0f Hz, level %.2f, from %s\n", name, hz, level, c.Stats().RemoteSource)
	return nil
}

func stay(out io.Writer, e *edge.Edge) {
	ip, _, _ := strings.Cut(e.SIP, ":")
	fmt.Fprintf(out, `
The node stays up. To register a phone of your own (any softphone):
  user 1001 (or 1002), password demo-1001 (demo-1002), domain %s
  outbound proxy %s over UDP or TCP, %s over TLS, wss://%s for WebRTC
  (on another machine: stop this and run  make run IP=<this machine's address>)%s
Call 1001 or 1002 from it, or 600 for both at once.
The brain answers at %s; its key is in %s:
  export SIPIO_SERVER=%s SIPIO_KEY_FILE=%s
  bin/sipio get sip_user        bin/sipio call list        make build makes bin/sipio
Logs: %s/*.log     Stop: Ctrl-C
`, domain, e.SIP, e.TLS, e.WSS, loopbackNote(ip), e.BrainURL, filepath.Join(e.Dir, "brain", "admin.key"),
		e.BrainURL, filepath.Join(e.Dir, "brain", "admin.key"), e.Dir)
}

func loopbackNote(ip string) string {
	if net.ParseIP(ip).IsLoopback() {
		return "\n  This node listens on loopback: only phones on this machine reach it."
	}
	return ""
}

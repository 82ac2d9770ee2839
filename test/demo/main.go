// Command demo is what `make run` runs: one node on this machine, two phones, one call between them, and one from outside
// that a menu answers. It prints each decision of the brain as it happens and what was heard, then stays up for real phones.
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

	"github.com/sipio/sipio/test/cluster"
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
	several := flags.Bool("cluster", false, "three buses and three brains instead of one brain")
	ip := flags.String("ip", "127.0.0.1", "address for SIP and RTP; phones elsewhere need one they can reach")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := demo(ctx, *once, *several, *ip, out); err != nil {
		fmt.Fprintln(errs, "demo failed:", err)
		return 1
	}
	return 0
}

func demo(ctx context.Context, once, several bool, ip string, out io.Writer) error {
	began := time.Now()
	dir, err := dataDir(once, several)
	if err != nil {
		return err
	}
	defer edge.RemoveBinaries()
	opt := edge.Options{Dir: dir, IP: ip, Config: config, ContactTimer: 20, LogDecisions: true, Tee: func(proc, line string) { decision(out, proc, line) }}
	if !once {
		opt.SIPPort, opt.WSSPort, opt.BrainPort, opt.DoorPort, opt.OpPort = 5060, 8443, 8080, 8480, 8481
		if err := portsFree(ip, 5060, 5061, 8443); err != nil {
			return err
		}
		if err := portsFree("127.0.0.1", 8080, 8480, 8481); err != nil {
			return err
		}
	}
	var c *cluster.Cluster
	if several {
		if c, err = startCluster(ctx, &opt, out); err != nil {
			return err
		}
		defer c.Stop()
	} else {
		opt.Media = true
		fmt.Fprintln(out, "calls that the platform answers go to", mediaServer())
	}
	fmt.Fprintln(out, "building, then starting brain, node agent, Kamailio, rtpengine and what answers …")
	e, err := edge.Start(ctx, opt)
	if err != nil {
		return err
	}
	defer e.Stop()
	fmt.Fprintf(out, "one node is up after %.1f s; test/demo/demo.yaml (account \"demo\", phones 1001 and 1002) is applied\n\n", time.Since(began).Seconds())
	bob, err := call(ctx, e, out)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, e.Tails(8))
	}
	defer bob.Close()
	if opt.Media {
		if err := answered(ctx, e, out, bob); err != nil {
			return fmt.Errorf("%w\n%s", err, e.Tails(8))
		}
	}
	if once {
		return os.RemoveAll(dir)
	}
	stay(out, e, opt.Media)
	if several {
		stayCluster(out, c)
	}
	answerAll(ctx, bob)
	fmt.Fprintln(out, "\nstopping")
	return nil
}

// dataDir is run/ or run-cluster/ in the repository, kept between runs, or a temporary folder for a single run.
func dataDir(once, several bool) (string, error) {
	switch {
	case once:
		return os.MkdirTemp("", "sipio-demo-")
	case several:
		dir := filepath.Join(edge.Root(), "run-cluster")
		return dir, os.MkdirAll(dir, 0o700)
	}
	return filepath.Join(edge.Root(), "run"), nil
}

func portsFree(ip string, ports ...int) error {
	for _, p := range ports {
		at := fmt.Sprintf("%s:%d", ip, p)
		l, err := net.Listen("tcp", at)
		if err == nil {
			_ = l.Close()
			var u net.PacketConn
			if u, err = net.ListenPacket("udp", at); err == nil {
				_ = u.Close()
			}
		}
		if err != nil {
			return fmt.Errorf("port %d is taken (%w): `ss -lntup | grep :%d` says by whom; stop that (another make run? a daemon of Debian's package: systemctl disable --now kamailio), or run `make run ONCE=1`, which takes free ports", p, err, p)
		}
	}
	return nil
}

// decision prints the brain's decision lines for people.
func decision(out io.Writer, proc, line string) {
	if !strings.HasPrefix(proc, "brain") {
		return
	}
	if text, ok := decisionText(line); ok {
		fmt.Fprintf(out, "  %s: %s\n", proc, text)
	}
}

// call has 1001 call 1002, measures the tone at both ends, and returns 1002's phone, still registered.
func call(ctx context.Context, e *edge.Edge, out io.Writer) (*phone.Phone, error) {
	alice, err := register(ctx, e, out, "1001")
	if err != nil {
		return nil, err
	}
	defer alice.Close()
	bob, err := register(ctx, e, out, "1002")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	up := answer(ctx, out, bob)
	a, err := alice.Call(ctx, "1002")
	if err != nil {
		return nil, fmt.Errorf("call 1002: %w", err)
	}
	b, err := taken(ctx, up)
	if err != nil {
		return nil, err
	}
	a.SendTone(callerTone)
	b.SendTone(calleeTone)
	if err := errors.Join(listen(ctx, out, "phone 1002", b, callerTone), listen(ctx, out, "phone 1001", a, calleeTone)); err != nil {
		return nil, err
	}
	if err := a.Bye(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintln(out, "phone 1001 hung up: the call worked, both ends heard the other through rtpengine")
	_, err = alice.Unregister(ctx)
	return bob, err
}

func register(ctx context.Context, e *edge.Edge, out io.Writer, user string) (*phone.Phone, error) {
	p, err := phone.New(ctx, phone.Config{AuthUser: user, Password: "demo-" + user, Domain: domain, Proxy: e.SIP, Transport: "udp", LocalIP: e.IP})
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := p.Register(waiting, 2*time.Hour)
	if err == nil && resp.Code != 200 {
		err = fmt.Errorf("%d %s", resp.Code, resp.Reason)
	}
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", user, err)
	}
	fmt.Fprintf(out, "phone %s registered\n", user)
	return p, nil
}

// answerAll answers every call to p with a tone until ctx ends.
func answerAll(ctx context.Context, p *phone.Phone) {
	for {
		select {
		case in := <-p.Incoming():
			go func() {
				if c, err := in.Answer(ctx); err == nil {
					c.SendTone(calleeTone)
				}
			}()
		case <-ctx.Done():
			return
		}
	}
}

func listen(ctx context.Context, out io.Writer, name string, c *phone.Call, hz float64) error {
	level, err := c.HearTone(ctx, hz)
	if err != nil {
		return fmt.Errorf("%s does not hear %.0f Hz: %w", name, hz, err)
	}
	fmt.Fprintf(out, "%s hears %.0f Hz, level %.2f, from %s\n", name, hz, level, c.Stats().RemoteSource)
	return nil
}

func stay(out io.Writer, e *edge.Edge, media bool) {
	ip, _, _ := strings.Cut(e.SIP, ":")
	key := filepath.Join(e.Dir, "admin.key") // the platform's first key, which a single brain has left in its own folder too
	menu := ""
	if media {
		menu = menuNote(e)
	}
	fmt.Fprintf(out, `
The node stays up, and phone 1002 stays with it: it answers every call with a tone of %d Hz.
To register a phone of your own as 1001 (any softphone):
  user 1001, password demo-1001, domain %s
  outbound proxy %s over UDP or TCP, %s over TLS, wss://%s for WebRTC (self-signed certificate: accept it)%s
Then call 1002 from it. Without a softphone:
  go run ./test/phone/cmd/testphone call 1002 --user 1001 --password demo-1001 --domain %s --proxy %s --local %s --hear %d
%s
The brain answers at %s, the door at http://%s/health, the node agent at %s:
  export SIPIO_SERVER=%s SIPIO_KEY_FILE=%s
  make build; bin/sipio get sip_user; bin/sipio call list; bin/sipio export

Logs: %s/*.log. Data stays in that folder; the next run applies test/demo/demo.yaml over it, and leaves other accounts and the node's settings; make clean removes it.
docs/operating.md is where to go on. Stop: Ctrl-C, or kill %d
`, calleeTone, domain, e.SIP, e.TLS, e.WSS, loopbackNote(ip), domain, e.SIP, ip, calleeTone,
		menu, e.BrainURL, e.DoorAddr, e.NodeHealth, e.BrainURL, key, e.Dir, os.Getpid())
}

func loopbackNote(ip string) string {
	if net.ParseIP(ip).IsLoopback() {
		return "\n  This node listens on loopback: only phones on this machine reach it."
	}
	return ""
}

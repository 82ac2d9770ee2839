// Command testphone is one test phone on the command line: for the demo, and for tests inside network namespaces.
//
//	testphone register --user alice --password s --domain sipio.test --proxy 10.0.0.1:5060
//	testphone listen   ... --answer --tone 600 --hear 440 --for 10s
//	testphone call 1002 ... --tone 440 --hear 600 --for 5s
//
// Each prints one line of JSON. The exit status is 0 only if what was asked for happened: registered, or the tone heard.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sipio/sipio/test/phone"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the flags of all three commands.
type options struct {
	phone.Config
	tone, hear float64
	duration   time.Duration
	wait       time.Duration
	expires    time.Duration
	answer     bool
	noRegister bool
	verbose    bool
}

// result is the line of JSON.
type result struct {
	OK       bool         `json:"ok"`
	Command  string       `json:"command"`
	AOR      string       `json:"aor"`
	Contact  string       `json:"contact,omitempty"`
	Code     int          `json:"code,omitempty"`   // last final response
	Reason   string       `json:"reason,omitempty"` // of that response
	From     string       `json:"from,omitempty"`   // listen: URI of the caller
	HeardHz  float64      `json:"heard_hz,omitempty"`
	LevelDB  float64      `json:"level_dbfs,omitempty"`
	SetupMS  int64        `json:"setup_ms,omitempty"` // call: from INVITE to 200
	Contacts []string     `json:"contacts,omitempty"`
	Stats    *phone.Stats `json:"stats,omitempty"`
	Error    string       `json:"error,omitempty"`
}

const usage = "usage: testphone register|listen|call [TARGET] [flags]; testphone call -h lists the flags"

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(stderr, usage)
		return 2
	}
	command, o := args[0], &options{}
	flags := o.flags(command, stderr)
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	target := flags.Arg(0)
	if flags.NArg() > 1 { // flags after the target
		if err := flags.Parse(flags.Args()[1:]); err != nil {
			return 2
		}
	}
	act := map[string]func(context.Context, *phone.Phone, *result) error{
		"register": func(context.Context, *phone.Phone, *result) error { return nil },
		"listen":   func(ctx context.Context, p *phone.Phone, r *result) error { return o.listen(ctx, p, r, stderr) },
		"call":     func(ctx context.Context, p *phone.Phone, r *result) error { return o.call(ctx, p, r, target) },
	}[command]
	if act == nil || (command == "call") != (target != "") || flags.NArg() > 0 && command != "call" {
		fmt.Fprintln(stderr, usage)
		return 2
	}
	if o.verbose {
		o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r := result{Command: command}
	if err := o.live(ctx, command, &r, act); err != nil {
		r.Error = err.Error()
		if refused := (*phone.StatusError)(nil); errors.As(err, &refused) {
			r.Code, r.Reason = refused.Code, refused.Reason
		}
	}
	r.OK = r.Error == ""
	if err := json.NewEncoder(stdout).Encode(r); err != nil || !r.OK {
		return 1
	}
	return 0
}

func (o *options) flags(command string, stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("testphone "+command, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.AuthUser, "user", "", "digest user and user part of the AOR")
	f.StringVar(&o.User, "aor-user", "", "user part of the AOR where it differs from -user")
	f.StringVar(&o.Password, "password", "", "password")
	f.StringVar(&o.Domain, "domain", "", "SIP domain")
	f.StringVar(&o.DisplayName, "display", "", "display name in From")
	f.StringVar(&o.Proxy, "proxy", "", "host:port requests are sent to")
	f.StringVar(&o.Transport, "transport", "udp", "udp, tcp, tls or wss")
	f.StringVar(&o.WSPath, "ws-path", "/", "path of the WebSocket URL")
	f.StringVar(&o.LocalIP, "local", "127.0.0.1", "own IP address")
	f.BoolVar(&o.InsecureTLS, "insecure", false, "accept any certificate")
	f.BoolVar(&o.WebRTC, "webrtc", false, "media as a browser: ICE and DTLS-SRTP")
	f.DurationVar(&o.expires, "expires", 5*time.Minute, "registration time asked for")
	f.BoolVar(&o.noRegister, "no-register", false, "do not register first")
	f.BoolVar(&o.answer, "answer", true, "listen: answer the call; false rejects it with 486")
	f.Float64Var(&o.tone, "tone", 0, "frequency to send in Hz; 0 sends silence")
	f.Float64Var(&o.hear, "hear", 0, "frequency to wait for in Hz; 0 waits for none")
	f.DurationVar(&o.duration, "for", 5*time.Second, "length of the call, which is also the time to hear the tone in")
	f.DurationVar(&o.wait, "wait", 30*time.Second, "time to wait for the call to come or to be answered")
	f.BoolVar(&o.verbose, "v", false, "log to standard error")
	return f
}

// live makes the phone, registers where the command wants it, acts, and takes the binding back.
func (o *options) live(ctx context.Context, command string, r *result, act func(context.Context, *phone.Phone, *result) error) error {
	p, err := phone.New(ctx, o.Config)
	if err != nil {
		return err
	}
	defer p.Close()
	r.AOR = p.AOR()
	if !o.noRegister && command != "call" {
		res, err := p.Register(ctx, o.expires)
		if err != nil {
			return err
		}
		r.Code, r.Reason, r.Contacts = res.Code, res.Reason, res.Contacts
		if res.Code != 200 {
			return fmt.Errorf("registration refused: %d %s", res.Code, res.Reason)
		}
		if command != "register" {
			defer leave(ctx, p)
		}
	}
	r.Contact = p.Contact()
	return act(ctx, p, r)
}

// leave unregisters, also when a signal ended the command.
func leave(ctx context.Context, p *phone.Phone) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer stop()
	p.Unregister(ctx)
}

func (o *options) listen(ctx context.Context, p *phone.Phone, r *result, stderr io.Writer) error {
	fmt.Fprintln(stderr, "listening at", p.Contact())
	waiting, stop := context.WithTimeout(ctx, o.wait)
	defer stop()
	var in *phone.Incoming
	select {
	case in = <-p.Incoming():
	case <-waiting.Done():
		return fmt.Errorf("no call came in %v", o.wait)
	}
	r.From = in.FromURI()
	if !o.answer {
		r.Code, r.Reason = 486, "Busy Here"
		return in.Reject(r.Code, r.Reason)
	}
	if err := in.Ring(); err != nil {
		return err
	}
	c, err := in.Answer(waiting)
	if err != nil {
		return err
	}
	r.Code, r.Reason = 200, "OK"
	return o.talk(ctx, c, r)
}

func (o *options) call(ctx context.Context, p *phone.Phone, r *result, target string) error {
	waiting, stop := context.WithTimeout(ctx, o.wait)
	defer stop()
	start := time.Now()
	c, err := p.Call(waiting, target)
	if err != nil {
		return err
	}
	r.SetupMS = time.Since(start).Milliseconds()
	r.Code, r.Reason = 200, "OK"
	return o.talk(ctx, c, r)
}

// talk sends its tone for the length of the call and listens for the other; then the call is hung up, unless the other
// side did so first.
func (o *options) talk(ctx context.Context, c *phone.Call, r *result) error {
	length, stop := context.WithTimeout(ctx, o.duration)
	defer stop()
	c.SendTone(o.tone)
	var err error
	if o.hear != 0 {
		var level float64
		if level, err = c.HearTone(length, o.hear); err == nil {
			r.HeardHz, r.LevelDB = o.hear, level
		}
	}
	select {
	case <-length.Done():
	case <-c.Done():
	}
	s := c.Stats()
	r.Stats = &s
	select {
	case <-c.Done():
		return err
	default:
	}
	ending, stopEnding := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stopEnding()
	if bye := c.Bye(ending); bye != nil && err == nil {
		select {
		case <-c.Done(): // a BYE of the other side crossed ours
		default:
			err = fmt.Errorf("hang up: %w", bye)
		}
	}
	return err
}

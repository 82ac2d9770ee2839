package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

const (
	number      = "493012345"             // of demo.yaml
	trunkIP     = "127.0.0.9"             // where calls to it come from
	outsideTone = 810                     // Hz; of the caller from outside
	speech      = 1500 * time.Millisecond // heard, to count as a greeting
	menuTime    = 60 * time.Second
	mediaEnv    = "SIPIO_TEST_FREESWITCH" // as test/edge reads it
	mediaBinary = "freeswitch"
)

// mediaServer says who answers calls: FreeSWITCH where one is named or installed, else the stand-in.
func mediaServer() string {
	if edge.FreeSWITCH() == "" {
		path, err := exec.LookPath(mediaBinary)
		if err != nil {
			return "test/fsim, the stand-in for FreeSWITCH (none is on the PATH, and " + mediaEnv + " names none)"
		}
		if err := os.Setenv(mediaEnv, path); err != nil {
			return "test/fsim, the stand-in for FreeSWITCH: " + err.Error()
		}
	}
	return "FreeSWITCH, " + edge.FreeSWITCH()
}

// answered has a caller from outside dial the number, hear speech, press 1, and talk to 1002.
func answered(ctx context.Context, e *edge.Edge, out io.Writer, bob *phone.Phone) error {
	if err := e.WaitTrunk(trunkIP, menuTime); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, menuTime)
	defer cancel()
	caller, err := phone.New(ctx, phone.Config{AuthUser: "4930555", Password: "none", Domain: "carrier.test", Proxy: e.SIP, Transport: "udp", LocalIP: trunkIP})
	if err != nil {
		return err
	}
	defer caller.Close()
	up := answer(ctx, out, bob)
	fmt.Fprintf(out, "a caller from the telephone network dials %s\n", number)
	a, err := caller.Call(ctx, number)
	if err != nil {
		return fmt.Errorf("call %s: %w", number, err)
	}
	a.SendTone(0)
	if err := a.HearSound(ctx, speech); err != nil {
		return fmt.Errorf("the caller hears no greeting (is espeak-ng installed?): %w", err)
	}
	fmt.Fprintln(out, "the caller hears the menu speak, and presses 1")
	if err := a.SendDigits("1"); err != nil {
		return err
	}
	b, err := taken(ctx, up)
	if err != nil {
		return err
	}
	a.SendTone(outsideTone)
	b.SendTone(calleeTone)
	if err := errors.Join(listen(ctx, out, "phone 1002", b, outsideTone), listen(ctx, out, "the caller", a, calleeTone)); err != nil {
		return err
	}
	if err := a.Bye(ctx); err != nil {
		return err
	}
	select {
	case <-b.Done():
	case <-ctx.Done():
		return errors.New("1002 was not told that the caller hung up")
	}
	fmt.Fprintln(out, "the caller hung up: the menu led him to 1002, and both heard the other")
	return nil
}

// answer takes the next call to a phone.
func answer(ctx context.Context, out io.Writer, p *phone.Phone) <-chan *phone.Call {
	up := make(chan *phone.Call, 1)
	go func() {
		select {
		case in, ok := <-p.Incoming():
			if !ok {
				return
			}
			fmt.Fprintf(out, "phone 1002 rings: %q <%s>\n", in.FromDisplay(), in.FromURI())
			if c, err := in.Answer(ctx); err == nil {
				up <- c
			}
		case <-ctx.Done():
		}
	}()
	return up
}

// taken waits for the call that answer takes.
func taken(ctx context.Context, up <-chan *phone.Call) (*phone.Call, error) {
	select {
	case c := <-up:
		return c, nil
	case <-ctx.Done():
		return nil, errors.New("1002 never answered")
	}
}

// menuNote says how a phone of one's own reaches the menu.
func menuNote(e *edge.Edge) string {
	who := "the stand-in for FreeSWITCH answers"
	if edge.FreeSWITCH() != "" {
		who = "FreeSWITCH answers"
	}
	ip, _, _ := strings.Cut(e.SIP, ":")
	note := fmt.Sprintf(`
Dial 801 from it for the menu (%s): 1 puts you through to 1002, 2 takes a message for him.
Dial *97 to listen to what was left (PIN 4711)`, who)
	if ip != "127.0.0.1" {
		return note + ".\n"
	}
	return note + fmt.Sprintf(`. A caller from the telephone network:
  go run ./test/phone/cmd/testphone call %s --user 4930555 --password none --domain carrier.test --proxy %s --local %s
`, number, e.SIP, trunkIP)
}

// Command fsim runs the stand-in for FreeSWITCH as a process of its own: SIP, RTP and an event socket, until SIGTERM.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sipio/sipio/test/fsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// shutdownTime bounds the orderly end: BYEs and goodbyes.
const shutdownTime = 6 * time.Second

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if err != nil {
		return 2
	}
	s, err := fsim.Start(context.WithoutCancel(ctx), o)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintf(stdout, "fsim ready: SIP %s, event socket %s\n", s.SIP, s.ESL)
	select {
	case <-ctx.Done():
	case <-s.Done(): // fsctl shutdown
		return 0
	}
	ending, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer stop()
	if err := s.Shutdown(ending); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// parse reads the flags; each is an option of the package.
func parse(args []string, stderr io.Writer) (fsim.Options, error) {
	var o fsim.Options
	f := flag.NewFlagSet("fsim", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.SIP, "sip", "127.0.0.1:5090", "host:port of SIP")
	f.StringVar(&o.ESL, "esl", "127.0.0.1:8021", "host:port of the event socket")
	f.StringVar(&o.Password, "password", "", "of the event socket (default ClueCon)")
	passwordFile := f.String("password-file", "", "file that holds it")
	agents := f.String("agents", "127.0.0.1:8484", "host:port|host:port of the node agents, as in vars.xml")
	f.StringVar(&o.RTPIP, "rtp-ip", "", "address of RTP (default: that of SIP)")
	f.IntVar(&o.RTPMin, "rtp-min", 20000, "first RTP port")
	f.IntVar(&o.RTPMax, "rtp-max", 29998, "last RTP port")
	f.StringVar(&o.Sounds, "sounds", "", "folder of relative sound names")
	f.StringVar(&o.Records, "records", "", "folder of relative recording names")
	music := f.String("music", "", "folder of the stream moh (default: a tone)")
	f.StringVar(&o.StreamDir, "streams", "", "folder of *.xml with more streams")
	peers := f.String("peers", "", "IPs that may send SIP, separated by commas (default: all)")
	verbose := f.Bool("v", false, "log what happens")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	o.Outbound = split(*agents, "|")
	o.Peers = split(*peers, ",")
	if *music != "" {
		o.Streams = map[string]string{"moh": *music}
	}
	if *passwordFile != "" {
		raw, err := os.ReadFile(*passwordFile)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return o, err
		}
		o.Password = strings.TrimSpace(string(raw))
	}
	return o, nil
}

func split(list, separator string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, separator)
}

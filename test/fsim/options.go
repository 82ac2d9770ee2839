// Package fsim stands in for FreeSWITCH where the real one is absent: real SIP and RTP on one side, a real event
// socket on the other, and in between the applications, commands and event orders that sipio uses, with the
// misbehaviours that were measured on the real one. It is for tests and the demo; it never decides anything.
package fsim

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Options are the values of one node, the same that freeswitch-cfg takes from vars.xml. The zero value listens on
// free ports of the loopback.
type Options struct {
	SIP      string            // host:port of the SIP profile; default 127.0.0.1:0
	ESL      string            // host:port of the event socket; default 127.0.0.1:0
	Password string            // of the event socket; default ClueCon
	ACL      []string          // networks that may use the event socket, as CIDR; empty = everybody
	Peers    []string          // IPs that may send SIP, Kamailio's; empty = everybody
	Outbound []string          // host:port of the node agents that calls are handed to, tried in order
	Profile  string            // name of the SIP profile; default sipio
	RTPIP    string            // address of RTP; default that of SIP
	RTPMin   int               // first RTP port; default 16384
	RTPMax   int               // last RTP port; default 32768
	Sounds   string            // folder that relative names of sounds are below
	Records  string            // folder that relative names of recordings are below
	Streams  map[string]string // name of a local_stream → folder of its WAV files; moh is a tone without one
	// StreamDir holds *.xml files with <directory name="…" path="…"/>, read at start and by local_stream start and reload.
	StreamDir string
	Hostname  string // default fsim

	Guard        time.Duration // ends a call whose agent never speaks; default 8 s, negative: none
	ResumeGuard  time.Duration // ends an answered call that no agent takes back; default 25 s
	ResumePause  time.Duration // between two tries to give an answered call back; default 500 ms
	Zombie       time.Duration // an agent that accepts and stays silent is given up after it; default 24.3 s
	AuthTimeout  time.Duration // of the event socket; default 24.5 s
	ReleaseStall time.Duration // uuid_media when the caller refuses the offer; default 10.2 s
	// Dialplan is what a call executes instead of sipio's dialplan; nil = that one.
	Dialplan []Action
	Log      *slog.Logger
}

// Action is one application of the dialplan.
type Action struct{ App, Data string }

func (o Options) withDefaults() (Options, error) {
	text := func(at *string, otherwise string) {
		if *at == "" {
			*at = otherwise
		}
	}
	span := func(at *time.Duration, otherwise time.Duration) {
		if *at == 0 {
			*at = otherwise
		}
	}
	text(&o.SIP, "127.0.0.1:0")
	text(&o.ESL, "127.0.0.1:0")
	text(&o.Password, "ClueCon")
	text(&o.Profile, "sipio")
	text(&o.Hostname, "fsim")
	span(&o.Guard, 8*time.Second)
	span(&o.ResumeGuard, 25*time.Second)
	span(&o.ResumePause, 500*time.Millisecond)
	span(&o.Zombie, 24300*time.Millisecond)
	span(&o.AuthTimeout, 24500*time.Millisecond)
	span(&o.ReleaseStall, 10200*time.Millisecond)
	if o.RTPMin == 0 {
		o.RTPMin = 16384
	}
	if o.RTPMax == 0 {
		o.RTPMax = 32768
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	host, _, err := net.SplitHostPort(o.SIP)
	if err != nil {
		return o, fmt.Errorf("SIP address: %w", err)
	}
	text(&o.RTPIP, host)
	if net.ParseIP(o.RTPIP) == nil {
		return o, fmt.Errorf("RTP address %q is not an IP", o.RTPIP)
	}
	if o.RTPMin < 1024 || o.RTPMax > 65535 || o.RTPMin+2 > o.RTPMax {
		return o, errors.New("RTP ports: want 1024 ≤ first < last ≤ 65535")
	}
	for _, dir := range []string{o.Sounds, o.Records} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return o, fmt.Errorf("folder of sounds and recordings: %w", err)
		}
	}
	return o, nil
}

// within makes a name absolute that is relative to a folder.
func within(folder, name string) string {
	if filepath.IsAbs(name) || folder == "" {
		return name
	}
	return filepath.Join(folder, name)
}

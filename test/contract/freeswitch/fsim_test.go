package freeswitch

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sipio/sipio/test/fsim"
)

// startFsim runs our stand-in in this process, with the values that freeswitch-cfg would have.
func startFsim(ctx context.Context, s *site, firstRTP int) error {
	server, err := fsim.Start(ctx, fsim.Options{
		SIP: s.sip, ESL: s.esl, Password: s.password, Peers: []string{"127.0.0.1"}, ACL: []string{"127.0.0.0/8"},
		Outbound: strings.Split(s.agents.addresses(), "|"), RTPMin: firstRTP, RTPMax: firstRTP + 598,
		Streams: map[string]string{"moh": filepath.Join(s.dir, "music")}, StreamDir: filepath.Join(s.dir, "streams"),
	})
	if err != nil {
		return err
	}
	gone, once := make(chan struct{}), sync.Once{}
	ended := func() { once.Do(func() { close(gone) }) }
	s.gone = gone
	s.kill = func() {
		server.Close()
		ended()
	}
	s.term = func() error {
		defer ended()
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return server.Shutdown(ctx)
	}
	return nil
}

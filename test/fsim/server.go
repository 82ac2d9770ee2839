package fsim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// Server is one running stand-in. SIP, ESL and Password are how to reach it.
type Server struct {
	SIP, ESL, Password string

	opt      Options
	log      *slog.Logger
	ctx      context.Context
	cancel   context.CancelFunc
	coreUUID string
	started  time.Time
	ua       *sipgo.UserAgent
	client   *sipgo.Client
	sipConn  net.PacketConn
	sipAddr  sip.Addr
	esl      net.Listener
	studio   *studio
	streams  *streams
	sessions atomic.Int64
	nextPort atomic.Uint64
	paused   atomic.Bool
	stopping chan struct{} // closed by Shutdown: clients are told
	stopOnce sync.Once

	mu       sync.Mutex
	channels map[string]*channel
	order    []*channel
	legs     map[string]*leg
	acks     map[string]chan string
	rooms    map[string]*conference
	memberID int
	peak     int

	fireMu    sync.Mutex
	sequence  int64
	listeners map[*control]struct{}
	clients   sync.WaitGroup
	byes      sync.WaitGroup // that are not answered yet
}

// Start opens all sockets and serves until ctx ends or Close. An error says which address or folder is at fault.
func Start(ctx context.Context, o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("fsim: %w", err)
	}
	s := &Server{
		opt: o, log: o.Log, Password: o.Password, coreUUID: newUUID(), started: time.Now(), studio: newStudio(), stopping: make(chan struct{}),
		channels: map[string]*channel{}, legs: map[string]*leg{}, acks: map[string]chan string{}, rooms: map[string]*conference{},
		listeners: map[*control]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if s.streams, err = newStreams(o); err == nil {
		err = s.openSIP()
	}
	if err == nil {
		s.esl, err = net.Listen("tcp", o.ESL)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("fsim: %w", err)
	}
	s.ESL = s.esl.Addr().String()
	go s.accept(s.esl)
	go s.studio.run(s.ctx)
	context.AfterFunc(ctx, s.Close)
	return s, nil
}

// Close ends it as SIGKILL would: no BYE, no goodbye, all sockets gone.
func (s *Server) Close() {
	s.cancel()
	s.fireMu.Lock()
	for l := range s.listeners {
		l.conn.Close()
	}
	s.fireMu.Unlock()
	for _, c := range s.all() { // so that no goroutine is left; nothing of it is sent
		c.end("CRASH", false)
	}
	if s.ua != nil {
		s.ua.Close()
	}
	if s.sipConn != nil {
		s.sipConn.Close()
	}
	if s.esl != nil {
		s.esl.Close()
	}
}

// Shutdown ends it in order, as SIGTERM and `fsctl shutdown` do: clients hear SHUTDOWN, calls get BYE, then Close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.paused.Store(true)
	var failed error
	s.stopOnce.Do(func() {
		s.fire(s.newEvent("SHUTDOWN").add("Event-Info", "System Shutting Down"))
		all := s.all()
		for _, c := range all {
			c.end("SYSTEM_SHUTDOWN", false)
		}
		for _, c := range all {
			select {
			case <-c.finished:
			case <-ctx.Done():
				failed = errors.Join(failed, fmt.Errorf("channel %s is still up: %w", c.id, ctx.Err()))
			}
		}
		close(s.stopping)
		told := make(chan struct{})
		go func() {
			s.byes.Wait()
			s.clients.Wait()
			close(told)
		}()
		select {
		case <-told:
		case <-ctx.Done():
		}
		s.Close()
	})
	return failed
}

func (s *Server) enlist(l *control) {
	s.clients.Add(1)
	s.fireMu.Lock()
	defer s.fireMu.Unlock()
	s.listeners[l] = struct{}{}
}

func (s *Server) delist(l *control) {
	s.fireMu.Lock()
	delete(s.listeners, l)
	s.fireMu.Unlock()
	s.clients.Done()
}

func (s *Server) add(c *channel, l *leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[c.id] = c
	s.order = append(s.order, c)
	s.peak = max(s.peak, len(s.order))
	s.legs[l.dialog.key()] = l
}

func (s *Server) forget(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, c.id)
	for i, one := range s.order {
		if one == c {
			s.order = append(s.order[:i:i], s.order[i+1:]...)
			break
		}
	}
}

func (s *Server) dropLeg(l *leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.legs, l.dialog.key())
}

// channel finds one that is up, by its Unique-ID.
func (s *Server) channel(id string) *channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channels[id]
}

// all are the channels in the order they began.
func (s *Server) all() []*channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*channel(nil), s.order...)
}

// globals are the global variables that are read.
func (s *Server) globals() map[string]string {
	return map[string]string{
		"hostname": s.opt.Hostname, "local_ip_v4": s.opt.RTPIP, "core_uuid": s.coreUUID, "sounds_dir": s.opt.Sounds,
		"recordings_dir": s.opt.Records, "agents": strings.Join(s.opt.Outbound, "|"),
	}
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Done is closed when the server has ended, by Close, Shutdown or `fsctl shutdown`.
func (s *Server) Done() <-chan struct{} { return s.ctx.Done() }

// Package freeswitch holds the contract between sipio and FreeSWITCH: what the node agent relies on, one test a fact.
// The suite runs against test/fsim, and also against a real FreeSWITCH when SIPIO_TEST_FREESWITCH names its binary.
// Where the two differ, fsim is wrong.
package freeswitch

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipio/sipio/nodeagent/esl"
	"github.com/sipio/sipio/test/contract/freeswitch/daemon"
	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

const (
	realBinary = "SIPIO_TEST_FREESWITCH" // environment: the binary to test beside fsim
	patience   = 15 * time.Second        // for what should take less than one
	musicHz    = 350                     // the platform's music in these tests
)

// site is one FreeSWITCH-like thing with its configuration rendered, and the node agent's side of it.
type site struct {
	kind               string // fsim or real
	sip, esl, password string
	dir                string
	agents             *agents
	term               func() error    // ends it in order
	kill               func()          // ends it as a crash would
	gone               <-chan struct{} // closed when it has ended
}

// starters make a site of each kind listen. dir, agents, sip, esl and password are set already.
var starters = map[string]func(ctx context.Context, s *site, firstRTP int) error{"fsim": startFsim, "real": startReal}

// kinds are what the suite runs against here.
func kinds() []string {
	if os.Getenv(realBinary) == "" {
		return []string{"fsim"}
	}
	return []string{"fsim", "real"}
}

var (
	shared  = map[string]func() (*site, error){} // by kind; started once
	running context.Context                      // ends after the last test
	folder  string                               // of the whole run
	blocks  atomic.Int32                         // RTP port ranges given out
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // the tests mostly wait
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var stop context.CancelFunc
	running, stop = context.WithCancel(context.Background())
	defer stop()
	var err error
	if folder, err = os.MkdirTemp("", "sipio-contract-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	for _, kind := range kinds() {
		shared[kind] = sync.OnceValues(func() (*site, error) { return startSite(running, kind, filepath.Join(folder, kind)) })
	}
	code := m.Run()
	for _, kind := range kinds() {
		if s, err := shared[kind](); err == nil {
			s.kill()
		}
	}
	return code
}

// each runs a test against every kind, on the instance that all tests share.
func each(t *testing.T, test func(t *testing.T, s *site)) {
	t.Parallel()
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, err := shared[kind]()
			if err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// alone runs a test against every kind, on an instance of its own: for tests that end it, refuse calls, or leave its
// agents' place.
func alone(t *testing.T, test func(t *testing.T, s *site)) {
	t.Parallel()
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, err := startSite(t.Context(), kind, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.kill)
			test(t, s)
		})
	}
}

func startSite(ctx context.Context, kind, dir string) (*site, error) {
	s := &site{kind: kind, dir: dir, password: rand.Text()}
	for _, name := range []string{"music", "streams", "records"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	if err := writeTone(filepath.Join(dir, "music", "music.wav"), musicHz, 20*time.Second); err != nil {
		return nil, err
	}
	s.agents = newAgents()
	if err := s.agents.come(ctx); err != nil {
		return nil, err
	}
	s.sip, s.esl = net.JoinHostPort("127.0.0.1", freePort()), net.JoinHostPort("127.0.0.1", freePort())
	return s, starters[kind](ctx, s, 12000+int(blocks.Add(1))*600)
}

// freePort is a port that is free, and nobody else's while this program runs.
func freePort() string {
	ports, err := edge.FreePorts(1)
	if err != nil {
		panic(err)
	}
	return strconv.Itoa(ports[0])
}

func startReal(ctx context.Context, s *site, firstRTP int) error {
	host, sipPort, _ := net.SplitHostPort(s.sip)
	_, eslPort, _ := net.SplitHostPort(s.esl)
	d, err := daemon.Start(ctx, daemon.Options{
		Binary: os.Getenv(realBinary), Config: configFolder, Dir: s.dir,
		Vars: map[string]string{
			"sip_ip": host, "sip_port": sipPort, "rtp_ip": host, "rtp_start": strconv.Itoa(firstRTP), "rtp_end": strconv.Itoa(firstRTP + 598),
			"esl_ip": host, "esl_port": eslPort, "esl_password": s.password, "agents": s.agents.addresses(),
			"music_dir": filepath.Join(s.dir, "music"), "streams_dir": filepath.Join(s.dir, "streams"), "log_level": "info",
		},
	})
	if err != nil {
		return err
	}
	s.term, s.kill, s.gone = d.Stop, d.Kill, d.Done()
	return nil
}

// dialESL is an inbound event socket, logged in.
func (s *site) dialESL(t *testing.T, o esl.Options) *esl.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := esl.Dial(ctx, s.esl, s.password, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// newPhone is a phone that sends its calls to the site, as Kamailio would.
func (s *site) newPhone(t *testing.T, name string) *phone.Phone {
	t.Helper()
	p, err := phone.New(t.Context(), phone.Config{AuthUser: name, DisplayName: "Phone " + name, Domain: "acme.test", Proxy: s.sip, Codecs: []string{"PCMA"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

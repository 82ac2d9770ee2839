// Package edge starts a whole sipio node on this machine for tests and the demo: the real brain, node
// agent, Kamailio and rtpengine as processes, in a folder of their own, on addresses of their own.
package edge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sipio/sipio/test/netns"
)

// Options of Start; the zero value is a node on free loopback ports.
type Options struct {
	Dir              string                  // folder for data and logs; "" = a new temporary one
	IP               string                  // address of SIP and RTP; "" = 127.0.0.1
	Name             string                  // of the node; "" = node-1
	SIPPort          int                     // UDP and TCP; TLS is the next port; 0 = free ports
	WSSPort          int                     // 0 = free
	BrainPort        int                     // 0 = free
	DoorPort, OpPort int                     // of the node agent; 0 = free
	Children         int                     // Kamailio's UDP workers; 0 = 16
	NonceExpire      int                     // seconds; 0 = 300
	ContactTimer     int                     // seconds between sweeps of expired contacts; 0 = 1
	TLSCA            string                  // file of authorities whose certificates trunks show; "" = none
	SHA256           bool                    // challenge with SHA-256 instead of MD5
	Config           string                  // YAML to apply before the first call
	NodeFlags        []string                // more flags for sipio-node
	BrainFlags       []string                // more flags for sipio-brain
	BrainURLs        []string                // brains that run already, for the node to ask; none is started then
	BrainKey         string                  // platform key of those
	LogDecisions     bool                    // the brain writes a line for each decision
	Media            bool                    // a media server answers: FreeSWITCH where SIPIO_TEST_FREESWITCH names one, else the stand-in
	NetNS            *netns.NS               // where Kamailio, rtpengine and the node agent run; nil = beside the test
	Debug            bool                    // every daemon logs all that it can
	NoPhones         bool                    // brain and node agent only: neither Kamailio nor rtpengine is started
	Tee              func(proc, line string) // sees every line of every daemon
}

// Edge is a running node.
type Edge struct {
	Dir                 string
	IP                  string
	SIP, TLS, WSS       string // host:port
	MediaSIP            string // host:port of the media server's SIP, whether one runs or not
	MediaESL            string // host:port of its event socket
	MediaListen         string // host:port where the node agent takes its calls
	BrainURL            string
	AdminKey            string // platform key with every scope
	DoorAddr            string // where Kamailio asks
	NodeHealth          string // URL of the node agent's health page
	NG                  string // host:port of rtpengine's ng
	RTPMin, RTPMax      int
	KamailioSocket      string
	Brain, Node         *Proc
	Kamailio, RTPEngine *Proc
	Media               *Proc // the media server; nil = none

	opt      Options
	orders   string                            // key of the brain's orders
	mediaRTP int                               // first of 500 ports of the media server
	held     *os.File                          // keeps the RTP ports
	edit     func(path, content string) string // of Kamailio's configuration; nil = none
}

// Start starts everything and returns when a call could be made. The caller must Stop.
func Start(ctx context.Context, opt Options) (_ *Edge, err error) {
	if err := Missing(); err != nil && !opt.NoPhones {
		return nil, err
	}
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	e := &Edge{opt: opt, Dir: opt.Dir, IP: opt.IP}
	if err := e.inside(e.prepare); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.Stop()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	steps := []func(context.Context, string) error{e.startRTPEngine, e.startBrain, e.startMedia, e.startNode, e.startKamailio}
	if opt.NoPhones {
		steps = []func(context.Context, string) error{e.startBrain, e.startNode}
	}
	for _, step := range steps {
		if err := e.inside(func() error { return step(ctx, bin) }); err != nil {
			return nil, err
		}
	}
	if opt.Media {
		row, err := e.nodeRow(ctx)
		if err != nil {
			return nil, err
		}
		opt.Config += row
	}
	if opt.Config != "" {
		if err := e.Apply(ctx, opt.Config); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// StartKamailioOnly starts Kamailio and rtpengine with the door at doorAddr, where the test itself answers:
// neither brain nor node agent runs. edit, when set, may change each file of Kamailio's configuration on its
// way, node.cfg among them. The caller must Stop.
func StartKamailioOnly(ctx context.Context, opt Options, doorAddr string, edit func(path, content string) string) (_ *Edge, err error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	e := &Edge{opt: opt, Dir: opt.Dir, IP: opt.IP}
	if err := e.prepare(); err != nil {
		return nil, err
	}
	e.DoorAddr, e.edit = doorAddr, edit
	defer func() {
		if err != nil {
			e.Stop()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := e.startRTPEngine(ctx, ""); err != nil {
		return nil, err
	}
	if err := e.startKamailio(ctx, ""); err != nil {
		return nil, err
	}
	return e, nil
}

// Missing names what this machine lacks to run a node, nil when nothing.
func Missing() error {
	var missing []string
	for _, name := range []string{"kamailio", "rtpengine", "openssl", "sqlite3"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("not installed: %s; run deploy/install-packages.sh", strings.Join(missing, ", "))
	}
	return nil
}

func (e *Edge) prepare() (err error) {
	if e.Dir == "" {
		if e.Dir, err = os.MkdirTemp("", "sipio-edge-"); err != nil {
			return err
		}
	}
	if e.IP == "" {
		e.IP = "127.0.0.1"
	}
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return err
	}
	ports, err := freePorts(e.IP, 5)
	if err != nil {
		return err
	}
	sip := cmpOr(e.opt.SIPPort, ports[0])
	e.SIP = fmt.Sprintf("%s:%d", e.IP, sip)
	e.TLS = fmt.Sprintf("%s:%d", e.IP, cmpOr(portAfter(e.opt.SIPPort), ports[1]))
	e.WSS = fmt.Sprintf("%s:%d", e.IP, cmpOr(e.opt.WSSPort, ports[2]))
	e.BrainURL = fmt.Sprintf("http://127.0.0.1:%d", cmpOr(e.opt.BrainPort, ports[3]))
	e.NG = fmt.Sprintf("127.0.0.1:%d", ports[4])
	more, err := freePorts("127.0.0.1", 5)
	if err != nil {
		return err
	}
	e.DoorAddr = fmt.Sprintf("127.0.0.1:%d", cmpOr(e.opt.DoorPort, more[0]))
	e.NodeHealth = fmt.Sprintf("http://127.0.0.1:%d/health", cmpOr(e.opt.OpPort, more[1]))
	e.MediaSIP, e.MediaESL = fmt.Sprintf("127.0.0.1:%d", more[2]), fmt.Sprintf("127.0.0.1:%d", more[3])
	e.MediaListen = fmt.Sprintf("127.0.0.1:%d", more[4])
	e.KamailioSocket = filepath.Join(e.Dir, "kamailio.sock")
	e.RTPMin, e.RTPMax, e.mediaRTP, e.held, err = rtpRanges(2 * time.Minute)
	return err
}

func cmpOr(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

func (e *Edge) tee(proc string) func(string) {
	if e.opt.Tee == nil {
		return nil
	}
	return func(line string) { e.opt.Tee(proc, line) }
}

func (e *Edge) startRTPEngine(ctx context.Context, _ string) error {
	bin, err := binaries()
	if err != nil {
		return err
	}
	e.RTPEngine = newProc(e.Dir, "rtpengine", []string{"LD_PRELOAD=" + filepath.Join(bin, rtpengineMend)}, "rtpengine",
		"--config-file="+filepath.Join(Root(), "rtpengine-cfg", "rtpengine.conf"),
		"--interface="+e.IP, "--listen-ng="+e.NG, "--listen-cli=127.0.0.1:"+freePortString(),
		fmt.Sprintf("--port-min=%d", e.RTPMin), fmt.Sprintf("--port-max=%d", e.RTPMax),
		"--foreground", "--log-stderr", "--pidfile="+filepath.Join(e.Dir, "rtpengine.pid"))
	e.RTPEngine.argv = append(e.RTPEngine.argv, e.verbose("--log-level=7")...)
	if err := e.RTPEngine.Start(e.tee("rtpengine")); err != nil {
		return err
	}
	return e.RTPEngine.WaitFor(ctx, "its ng socket", func() error {
		_, err := e.NGCommand("d7:command4:pinge")
		return err
	})
}

func (e *Edge) startBrain(ctx context.Context, bin string) error {
	if len(e.opt.BrainURLs) > 0 {
		e.BrainURL, e.AdminKey = e.opt.BrainURLs[0], e.opt.BrainKey
		return nil
	}
	data := filepath.Join(e.Dir, "brain")
	args := append([]string{bin + "/sipio-brain", "--data-dir=" + data,
		"--listen=" + strings.TrimPrefix(e.BrainURL, "http://"), fmt.Sprintf("--log-decisions=%t", e.opt.LogDecisions), "--prompt-languages=", "--v1-rate=10000"}, e.mediaBrainFlags()...)
	args = append(append(args, e.verbose("--log-level=debug")...), e.opt.BrainFlags...)
	e.Brain = newProc(e.Dir, "brain", nil, args...)
	if err := e.StartBrain(ctx); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(data, "admin.key"))
	if err != nil {
		return fmt.Errorf("read the first key of the brain: %w", err)
	}
	e.AdminKey = strings.TrimSpace(string(key))
	return nil
}

// StartBrain starts the brain (again) and waits until it answers.
func (e *Edge) StartBrain(ctx context.Context) error {
	if err := e.Brain.Start(e.tee("brain")); err != nil {
		return err
	}
	return e.Brain.WaitFor(ctx, "its health page", func() error { return e.getOK(e.BrainURL + "/health") })
}

func (e *Edge) startNode(ctx context.Context, bin string) error {
	keyFile := filepath.Join(e.Dir, "admin.key") // it has every right; nodes of one's own get keys of theirs
	if err := os.WriteFile(keyFile, []byte(e.AdminKey), 0o600); err != nil {
		return err
	}
	brains := e.BrainURL
	if len(e.opt.BrainURLs) > 0 {
		brains = strings.Join(e.opt.BrainURLs, ",")
	}
	args := append([]string{bin + "/sipio-node", "--name=" + e.name(), "--brain-urls=" + brains,
		"--brain-key-file=" + keyFile, "--door-listen=" + e.DoorAddr,
		"--op-listen=" + strings.TrimSuffix(strings.TrimPrefix(e.NodeHealth, "http://"), "/health"),
		"--kamailio-socket=" + e.KamailioSocket, "--kamailio-client=" + filepath.Join(e.Dir, "sipio-node.sock"),
		"--stall-after=750ms", // nodes have 250 ms: a brain whose machine is busy is not frozen
		"--rtpengine-ng=" + e.NG, fmt.Sprintf("--ban-rtp-ports=%d-%d", e.RTPMin, e.RTPMax),
		"--spool-dir=" + filepath.Join(e.Dir, "spool"), "--trunk-file=" + e.trunkFile()}, e.mediaNodeFlags()...)
	args = append(append(args, e.verbose("--log-level=debug")...), e.opt.NodeFlags...)
	e.Node = newProc(e.Dir, "node", nil, args...)
	return e.StartNode(ctx)
}

// StartNode starts the node agent (again) and waits until its door answers.
func (e *Edge) StartNode(ctx context.Context) error {
	if err := e.inside(func() error { return e.Node.Start(e.tee("node")) }); err != nil {
		return err
	}
	return e.Node.WaitFor(ctx, "its door", func() error { return e.getOK("http://" + e.DoorAddr + "/health") })
}

// verbose are arguments by which a daemon logs all that it can, none when the options do not ask for that.
func (e *Edge) verbose(args ...string) []string {
	if e.opt.Debug {
		return args
	}
	return nil
}

// inside runs f where the node is: see netns.NS.Do.
func (e *Edge) inside(f func() error) error {
	if e.opt.NetNS == nil {
		return f()
	}
	return e.opt.NetNS.Do(f)
}

func (e *Edge) getOK(url string) error {
	c := http.Client{Timeout: time.Second}
	if e.opt.NetNS != nil {
		c.Transport = &http.Transport{DialContext: e.opt.NetNS.DialContext, DisableKeepAlives: true}
	}
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// Stop ends all daemons and, when the folder was a temporary one, removes it.
func (e *Edge) Stop() {
	for _, p := range []*Proc{e.Kamailio, e.Node, e.Media, e.Brain, e.RTPEngine} {
		if p != nil {
			p.Stop()
		}
	}
	if e.held != nil {
		_ = e.held.Close()
	}
	if e.opt.Dir == "" {
		_ = os.RemoveAll(e.Dir)
	}
}

// Tails returns the last lines of every daemon, for the message of a failed test.
func (e *Edge) Tails(n int) string {
	var b strings.Builder
	for _, p := range []*Proc{e.Brain, e.Node, e.Media, e.Kamailio, e.RTPEngine} {
		if p != nil {
			b.WriteString(p.Tail(n))
		}
	}
	return b.String()
}

// name is what the node calls itself.
func (e *Edge) name() string {
	if e.opt.Name == "" {
		return "node-1"
	}
	return e.opt.Name
}

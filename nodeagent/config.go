package nodeagent

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/internal/keyfile"
	"github.com/sipio/sipio/internal/setting"
	"github.com/sipio/sipio/nodeagent/ban"
	"github.com/sipio/sipio/nodeagent/keepalive"
)

// Config is everything an operator can set of sipio-node, and the hooks of the program around it.
// Each setting is one flag and one variable: --brain-urls is SIPIO_NODE_BRAIN_URLS.
type Config struct {
	Name              string        // of this node, as the brain knows it
	BrainURLs         []string      // the preferred first: http on loopback, https elsewhere
	BrainKeyFile      string        // holds the node key; "" = systemd credential CredentialKey
	BrainCAFile       string        // PEM of the authority of https brains; "" = the system's
	CertFile          string        // PEM of this node's certificate (sipio ca node), shown to brains and on OpTLSListen; "" = it has none
	CertKeyFile       string        // PEM of its key
	DoorListen        string        // loopback address for Kamailio's questions
	OpListen          string        // loopback address of health and of orders
	OpTLSListen       string        // address where brains give orders over TLS, by their certificate; "" = nowhere
	OpCAFile          string        // PEM of the authority of those certificates
	OpAccessFile      string        // holds the access token that a tunnel hands on with orders; "" = none is wanted
	BusURLs           []string      // of brains that give orders over a connection which this node keeps: tls://host:port; none: no such connection
	KamailioSocket    string        // unix datagram socket of Kamailio's JSON-RPC
	KamailioClient    string        // our own socket, where Kamailio's answers arrive
	RTPEngineNG       string        // UDP address of rtpengine's ng protocol
	TrunkFile         string        // where Kamailio reads the addresses of trunks; "" = calls of trunks are challenged
	BanTable          string        // nftables table of the guard, of family inet; "" = no bans in the kernel
	BanPorts          []uint16      // that it guards
	BanRTPPorts       ban.PortRange // at which it bounds bursts
	OpKeyFile         string        // holds the key by which the brain gives orders; "" = systemd credential CredentialOp, or nobody does
	MediaKeyFile      string        // holds the password of FreeSWITCH's event socket; "" = this node answers no calls
	MediaESL          string        // FreeSWITCH's event socket
	MediaListen       string        // loopback address where FreeSWITCH brings its calls
	MediaProxy        string        // Kamailio, as FreeSWITCH calls phones through it
	MediaDir          string        // sounds, and recordings until the brain has them; FreeSWITCH reads and writes there
	MediaCacheMB      int           // MiB of sounds kept there
	SpoolDir          string        // keeps events while the brain is away; made when missing
	SpoolMaxMB        int           // MiB; past it the oldest events are dropped
	Deadline          time.Duration // a decision is answered by then; Kamailio gives up after 1 s
	StallAfter        time.Duration // silence after which a brain counts as frozen
	MaxInFlight       int           // decisions under way at once; half as many wait: Kamailio must have more workers than both
	HedgeAfter        time.Duration // silence after which the next brain is asked too
	RetryAfterSec     int           // Retry-After of calls refused because no brain answers, seconds
	HeartbeatInterval time.Duration
	ReportInterval    time.Duration // between complete lists of live dialogs to the brain
	CallerGoneAfter   time.Duration // without RTP of a caller and without an answer inside the call; his call is ended then; 0 = never
	Survival          bool          // phones of this node register and call each other while no brain answers
	SurvivalRefresh   time.Duration // between questions for what that needs
	SurvivalMaxAge    time.Duration // since a brain last confirmed it; older answers are not given
	LogLevel          slog.Level

	// Hooks, not settings: each may be nil.
	Version       string                   // of the build, for heartbeat and health
	Log           *slog.Logger             // nil: slog.Default
	Ready         func(Addrs)              // called once everything listens
	Notify        func(state string) error // tells the service manager, see sd_notify(3)
	WatchdogEvery time.Duration            // how often the service manager wants to hear from us; 0 = never
}

// Addrs are the addresses that Run listens on. With port 0 in the configuration they hold the port
// that the system chose.
type Addrs struct {
	Door, Op string
	OpTLS    string // "" = orders are taken on Op alone
}

// CredentialKey is the systemd credential that holds the node key when BrainKeyFile is empty.
const CredentialKey = "node-key"

// CredentialOp is the systemd credential that holds the brain's key when OpKeyFile is empty.
const CredentialOp = "op-key"

// DefaultConfig is a node on one machine with its brain, Kamailio and rtpengine.
func DefaultConfig() Config {
	return Config{
		Name:              "node-1",
		BrainURLs:         []string{"http://127.0.0.1:8080"},
		DoorListen:        "127.0.0.1:8480",
		OpListen:          "127.0.0.1:8481",
		KamailioSocket:    "/run/sipio/kamailio.sock",
		KamailioClient:    "/run/sipio/sipio-node.sock",
		RTPEngineNG:       "127.0.0.1:2223",
		TrunkFile:         "/var/lib/sipio/kamailio/trunks",
		BanPorts:          []uint16{5060, 5061, 8443},
		BanRTPPorts:       ban.PortRange{First: 30000, Last: 39999},
		MediaESL:          "127.0.0.1:8021",
		MediaListen:       "127.0.0.1:8484",
		MediaProxy:        "127.0.0.1:5060",
		MediaDir:          "/var/lib/sipio/media",
		MediaCacheMB:      2048,
		SpoolDir:          "/var/lib/sipio/spool",
		SpoolMaxMB:        256,
		Deadline:          800 * time.Millisecond,
		StallAfter:        250 * time.Millisecond,
		MaxInFlight:       8,
		HedgeAfter:        100 * time.Millisecond,
		RetryAfterSec:     2,
		HeartbeatInterval: 5 * time.Second,
		ReportInterval:    5 * time.Second,
		CallerGoneAfter:   5 * time.Minute,
		Survival:          true,
		SurvivalRefresh:   time.Minute,
		SurvivalMaxAge:    24 * time.Hour,
		LogLevel:          slog.LevelInfo,
		Version:           "dev",
	}
}

// Settings lists every setting of c, in the order of the sample file.
func (c *Config) Settings() setting.List {
	return setting.Of("SIPIO_NODE_",
		setting.Text("name", "name of this node, as the brain knows it", &c.Name),
		setting.Words("brain-urls", "brains to ask, the preferred first, comma between: http on loopback, https elsewhere", &c.BrainURLs),
		setting.Text("brain-key-file", "file that holds the node key; empty for the systemd credential "+CredentialKey, &c.BrainKeyFile),
		setting.Text("brain-ca-file", "PEM file of the authority that signs https brains; empty for the system's", &c.BrainCAFile),
		setting.Text("cert-file", "PEM file of this node's certificate (sipio ca node), which says to https brains who it is; read again when it changes; empty for none: the node key says it", &c.CertFile),
		setting.Text("cert-key-file", "PEM file of its key", &c.CertKeyFile),
		setting.Text("door-listen", "loopback address where Kamailio asks", &c.DoorListen),
		setting.Text("op-listen", "loopback address of /health, and of /op, where the brain gives orders", &c.OpListen),
		setting.Text("op-tls-listen", "private address where brains on other machines give orders over TLS, by their certificate; empty for none; needs cert-file and op-ca-file", &c.OpTLSListen),
		setting.Text("op-ca-file", "PEM file of the authority of brains' certificates (ca.pem of sipio ca); read again when it changes", &c.OpCAFile),
		setting.Text("op-access-file", "file of the access service token that a tunnel hands on and each order has to bring: the id in its first line, the secret in its second; empty: none is wanted", &c.OpAccessFile),
		setting.Words("bus-urls", "addresses of the brain's node-bus-listen (tls://host:port), comma between, where this node keeps a connection for orders, for who has reach bus; needs a node key of its own; empty for none", &c.BusURLs),
		setting.Text("kamailio-socket", "unix datagram socket of Kamailio's JSON-RPC", &c.KamailioSocket),
		setting.Text("kamailio-client", "our own socket, where Kamailio's answers arrive", &c.KamailioClient),
		setting.Text("rtpengine-ng", "UDP address of rtpengine's ng protocol", &c.RTPEngineNG),
		setting.Text("trunk-file", "file from which Kamailio knows the addresses of trunks; empty: trunks are challenged as phones are", &c.TrunkFile),
		setting.Text("ban-table", "nftables table (family inet) in which the guard bans before any socket; needs CAP_NET_ADMIN; empty: only Kamailio bans", &c.BanTable),
		setting.Func("ban-ports", "TCP and UDP ports that the table guards, comma between: those of SIP, no others", "string",
			func() string { return joinPorts(c.BanPorts) }, func(s string) (err error) { c.BanPorts, err = splitPorts(s); return err }),
		setting.Func("ban-rtp-ports", "UDP ports of rtpengine, first-last, at which the table bounds bursts; empty: at none", "string",
			func() string { return c.BanRTPPorts.String() }, func(s string) (err error) { c.BanRTPPorts, err = ban.ParsePortRange(s); return err }),
		setting.Text("op-key-file", "file that holds the key by which the brain gives orders (/op); empty for the systemd credential "+CredentialOp+", without which nobody does", &c.OpKeyFile),
		setting.Text("media-key-file", "file that holds the password of FreeSWITCH's event socket; empty on a node that answers no calls itself", &c.MediaKeyFile),
		setting.Text("media-esl", "address of FreeSWITCH's event socket", &c.MediaESL),
		setting.Text("media-listen", "loopback address where FreeSWITCH brings its calls", &c.MediaListen),
		setting.Text("media-proxy", "address of Kamailio, as FreeSWITCH calls phones through it", &c.MediaProxy),
		setting.Text("media-dir", "folder of sounds, and of recordings until the brain has them; FreeSWITCH must be able to read and write there", &c.MediaDir),
		setting.Number("media-cache-mb", "bound of the sounds in that folder in MiB", &c.MediaCacheMB),
		setting.Text("spool-dir", "folder that keeps events while the brain is away", &c.SpoolDir),
		setting.Number("spool-max-mb", "bound of that folder in MiB; past it the oldest events are dropped", &c.SpoolMaxMB),
		setting.Duration("deadline", "a decision is answered by then, below Kamailio's 1 s", &c.Deadline),
		setting.Duration("stall-after", "silence after which a brain counts as frozen", &c.StallAfter),
		setting.Number("max-in-flight", "decisions under way at once; half as many wait: Kamailio must have more workers than both", &c.MaxInFlight),
		setting.Duration("hedge-after", "silence after which the next brain is asked too", &c.HedgeAfter),
		setting.Number("retry-after-sec", "Retry-After in seconds of requests refused because no brain answers", &c.RetryAfterSec),
		setting.Duration("heartbeat-interval", "time between heartbeats to the brain", &c.HeartbeatInterval),
		setting.Duration("report-interval", "time between complete lists of live dialogs to the brain; longer by itself when a list takes long", &c.ReportInterval),
		setting.Duration("caller-gone-after", "the call of a caller who sends no RTP and answers no OPTIONS inside it for so long is ended; 0: never", &c.CallerGoneAfter),
		setting.Toggle("survival", "registered phones of this node register and call each other while no brain answers", &c.Survival),
		setting.Duration("survival-refresh", "time between questions to the brain for what survival answers need", &c.SurvivalRefresh),
		setting.Duration("survival-max-age", "survival answers that no brain has confirmed for so long are not given", &c.SurvivalMaxAge),
		setting.LogLevel(&c.LogLevel),
	)
}

// SetFromEnv takes every setting whose variable is set, through lookup (os.LookupEnv).
func (c *Config) SetFromEnv(lookup func(string) (string, bool)) error {
	return c.Settings().SetFromEnv(lookup)
}

// Check says what is wrong with the settings taken together.
func (c *Config) Check() error {
	switch {
	case c.Name == "":
		return errors.New("name is empty")
	case len(c.BrainURLs) == 0:
		return errors.New("brain-urls is empty: nobody could decide")
	case c.SpoolDir == "" || c.KamailioSocket == "" || c.KamailioClient == "" || c.RTPEngineNG == "":
		return errors.New("spool-dir, kamailio-socket, kamailio-client and rtpengine-ng must be set")
	case c.SpoolMaxMB < 1:
		return fmt.Errorf("spool-max-mb is %d, want at least 1", c.SpoolMaxMB)
	case c.MediaCacheMB < 1:
		return fmt.Errorf("media-cache-mb is %d, want at least 1", c.MediaCacheMB)
	case c.BanTable != "" && len(c.BanPorts) == 0:
		return errors.New("ban-ports is empty: ban-table would guard nothing")
	case (c.CertFile == "") != (c.CertKeyFile == ""):
		return errors.New("cert-file and cert-key-file need each other")
	case c.OpTLSListen != "" && (c.CertFile == "" || c.OpCAFile == ""):
		return errors.New("op-tls-listen needs cert-file, cert-key-file and op-ca-file")
	case slices.ContainsFunc(c.BusURLs, func(u string) bool { return !strings.HasPrefix(u, "tls://") }):
		return fmt.Errorf("bus-urls is %s: each begins with tls://", strings.Join(c.BusURLs, ","))
	case c.Deadline >= time.Second:
		return fmt.Errorf("deadline is %v: Kamailio gives up after 1s", c.Deadline)
	case c.StallAfter >= c.Deadline:
		return fmt.Errorf("stall-after is %v, want less than the deadline %v", c.StallAfter, c.Deadline)
	case c.RetryAfterSec < 0 || c.RetryAfterSec > 3600:
		return fmt.Errorf("retry-after-sec is %d, want 0 to 3600", c.RetryAfterSec)
	case c.HeartbeatInterval < 100*time.Millisecond || c.ReportInterval < 100*time.Millisecond:
		return fmt.Errorf("heartbeat-interval is %v and report-interval %v, want at least 100ms", c.HeartbeatInterval, c.ReportInterval)
	case c.CallerGoneAfter != 0 && c.CallerGoneAfter < keepalive.Least:
		return fmt.Errorf("caller-gone-after is %v, want at least %v, or 0 for never", c.CallerGoneAfter, keepalive.Least)
	case c.SurvivalRefresh < 100*time.Millisecond || c.SurvivalMaxAge < c.SurvivalRefresh:
		return fmt.Errorf("survival-refresh is %v and survival-max-age %v, want at least 100ms and no less than that", c.SurvivalRefresh, c.SurvivalMaxAge)
	}
	for name, addr := range map[string]string{"door-listen": c.DoorListen, "op-listen": c.OpListen, "media-listen": c.MediaListen} {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Unmap().IsLoopback() {
			return fmt.Errorf("%s: %q is not a loopback address", name, host)
		}
	}
	return nil
}

// key reads the node key; "" when a certificate says who the node is.
func (c *Config) key() (string, error) {
	key, err := readKey("node key", c.BrainKeyFile, CredentialKey)
	if err == nil && key == "" && c.CertFile == "" {
		err = fmt.Errorf("no node key: set brain-key-file, or give the unit the credential %s; or set cert-file", CredentialKey)
	}
	if err == nil && key == "" && len(c.BusURLs) > 0 {
		err = errors.New("bus-urls needs a node key: the bus knows no certificates")
	}
	return key, err
}

// readKey reads a secret from a file, or with path "" from a systemd credential; "" when there is neither.
func readKey(what, path, credential string) (string, error) {
	if path == "" && credential != "" {
		path = keyfile.Credential(credential)
	}
	if path == "" {
		return "", nil
	}
	key, err := keyfile.Text(path, brain.GroupReads)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return key, nil
}

// SampleEnv is the sample of an environment file: every variable with its default.
func SampleEnv() string {
	c := DefaultConfig()
	return c.Settings().Sample("sipio-node")
}

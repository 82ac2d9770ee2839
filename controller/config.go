package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/guard"
	"github.com/sipio/sipio/controller/endpoint"
	"github.com/sipio/sipio/controller/v1"
	"github.com/sipio/sipio/internal/setting"
)

// Config is everything an operator can set of sipio-brain, and the hooks of the program around it.
// Each setting is one flag and one variable: --allow-peers is SIPIO_BRAIN_ALLOW_PEERS.
type Config struct {
	DataDir     string         // holds the configuration database and admin.key; made when missing
	Listen      string         // plain HTTP, a loopback address only; "" = none
	TLSListen   string         // HTTPS with HTTP/2; "" = none
	TLSCertFile string         // PEM, the certificate with its chain
	TLSKeyFile  string         // PEM
	AllowPeers  []netip.Prefix // addresses that may ask the decision endpoints; /v1 is guarded by its keys alone

	TrustedProxies []netip.Prefix // whose X-Forwarded-For says where a question comes from; none: nobody's
	NodeCAFile     string         // PEM of the authority of nodes' and operators' certificates (sipio ca); "" = they say nothing
	NodeCertFile   string         // PEM of this brain's certificate towards nodes; "" = that of tls-cert-file
	NodeCertKey    string         // PEM of its key

	Name         string   // of this brain in its cluster; stable over restarts
	Peers        []string // the names of all brains of the cluster, this one included; empty = this one alone
	BusURLs      []string // of the NATS cluster that holds the journal; empty = the journal is inside this process
	BusCredsFile string   // credentials for it; "" = none
	BusCAFile    string   // PEM of the authority of its certificates; "" = the system's
	NodeListen   string   // host:port where nodes keep a connection for orders, over TLS; "" = nowhere
	AcceptLoss   bool     // start although the journal has lost acknowledged messages; says which in the log

	MediaStore      string         // folder, or s3://bucket?…, of prompts, messages and recordings; "" = media in DataDir
	PromptLanguages []string       // whose prompts are spoken at the start; "all" = every language of the engine; none = when first heard
	SpeechURL       string         // template of the URL of a speech server; "" = espeak-ng of this machine
	SpeechBody      string         // template of what is posted to it; "" = GET
	SpeechLanguages []string       // that it speaks, as lower-case tags; none = those of the prompts
	SpeechKeyFile   string         // holds its bearer token; "" = none
	FlowCAFile      string         // PEM; trusted beside the system's by http steps, notifications and fetches of certificates
	FlowAllowNets   []netip.Prefix // private networks that those may reach
	OpKeyFile       string         // holds the key that node agents want with orders; "" = none is given
	V1Rate          int            // requests a second of one API key on /v1, and of one address without one; twice as many at once
	SecretKeyFile   string         // holds the keys that secrets are sealed with; "" = see openSecrets
	MailServer      string         // relay for mail of new messages, host:port; "" = no mail
	MailFrom        string         // its sender

	StirKeyFile   string   // the platform's key that signs calls to outside; "" = none
	StirX5U       string   // https address of its certificate
	StirHosts     []string // where certificates of others may be fetched; none = no caller is verified
	StirRootsFile string   // PEM of the authorities that signers are trusted by; "" = no caller is verified

	OperatorNets        []netip.Prefix // networks of operators: never banned at the edge
	GuardShare          string         // which nodes enforce a ban: a Share constant of brain/guard
	GuardSignaturesFile string         // signatures of scanners besides the built-in ones; "" = none

	LogLevel     slog.Level
	LogDecisions bool // a line for every decision at info; otherwise they are debug

	// Hooks, not settings: each may be nil.
	Version       string                   // of the build, for /health
	Log           *slog.Logger             // nil: slog.Default
	Ready         func(addrs Addrs)        // called once everything listens
	Notify        func(state string) error // tells the service manager, see sd_notify(3)
	WatchdogEvery time.Duration            // how often the service manager wants to hear from us; 0 = never

	nodeBus    string                                  // where the bus listens for nodes, for Ready
	registered func(patterns []string, h http.Handler) // shown all that is answered, before it listens
}

// Addrs are the addresses that Run listens on, "" for what it does not. With port 0 in the
// configuration they hold the port that the system chose.
type Addrs struct {
	Plain, TLS string
	NodeBus    string
}

// DefaultConfig is a brain for one machine: plain HTTP on loopback, asked by the node agent beside it.
func DefaultConfig() Config {
	return Config{
		DataDir:    "/var/lib/sipio/brain",
		Listen:     "127.0.0.1:8080",
		AllowPeers: endpoint.Loopback(),
		Name:       "brain-1",
		MailFrom:   "sipio@localhost",

		PromptLanguages: []string{"en"},
		V1Rate:          v1.DefaultRate,
		GuardShare:      guard.ShareAll,

		LogLevel: slog.LevelInfo,
		Version:  "dev",
	}
}

// Settings lists every setting of c, in the order of the sample file.
func (c *Config) Settings() setting.List {
	return setting.Of("SIPIO_BRAIN_",
		setting.Text("data-dir", "folder of the configuration database and of admin.key", &c.DataDir),
		setting.Text("listen", "loopback address of plain HTTP; empty for none", &c.Listen),
		setting.Text("tls-listen", "address of HTTPS (HTTP/2), for example :8443; empty for none", &c.TLSListen),
		setting.Text("tls-cert-file", "PEM file of the certificate and its chain, with tls-listen", &c.TLSCertFile),
		setting.Text("tls-key-file", "PEM file of the certificate's key, with tls-listen", &c.TLSKeyFile),
		networks("allow-peers", "addresses of node agents and operators that may ask the decision endpoints: CIDRs, comma between", &c.AllowPeers),
		networks("trusted-proxies", "proxies whose X-Forwarded-For says where a question comes from: CIDRs, comma between; empty: the header is not read", &c.TrustedProxies),
		setting.Text("node-ca-file", "PEM file of the authority of nodes' and operators' certificates (ca.pem of sipio ca); empty: certificates say nothing; read again when it changes", &c.NodeCAFile),
		setting.Text("node-cert-file", "PEM file of the certificate by which nodes know this brain; empty for tls-cert-file; read again when it changes", &c.NodeCertFile),
		setting.Text("node-cert-key-file", "PEM file of its key", &c.NodeCertKey),
		setting.Text("name", "name of this brain in its cluster", &c.Name),
		setting.Words("peers", "names of all brains of the cluster, this one included, comma between; empty for one brain alone", &c.Peers),
		setting.Words("bus-urls", "NATS cluster that holds the journal, for example tls://10.0.0.1:4222, comma between; empty for a journal inside this process", &c.BusURLs),
		setting.Text("bus-creds-file", "file of the credentials for that cluster", &c.BusCredsFile),
		setting.Text("bus-ca-file", "PEM file of the authority of that cluster's certificates; empty for the system's", &c.BusCAFile),
		setting.Text("node-bus-listen", "host:port where nodes of reach bus keep a connection for orders (their bus-urls), over TLS by tls-cert-file; empty for none; not with bus-urls", &c.NodeListen),
		setting.Toggle("accept-journal-loss", "start although acknowledged messages of the journal are lost; the log says which", &c.AcceptLoss),
		setting.Text("media-store", "folder of prompts, messages and recordings, or s3://bucket?region=…&endpoint=…; empty for media in the data-dir", &c.MediaStore),
		setting.Words("prompt-languages", "languages whose prompts are spoken at the start, comma between; all for every one that the engine has, empty for none: then when first heard", &c.PromptLanguages),
		setting.Text("speech-url", "URL of a speech server, a template over .Text, .Language, .Gender and .Voice; empty for espeak-ng on this machine", &c.SpeechURL),
		setting.Text("speech-body", "template of what is posted to it; empty for GET", &c.SpeechBody),
		setting.Words("speech-languages", "languages that it speaks, as lower-case tags (en, pt-br), comma between; empty for those that there are prompts in", &c.SpeechLanguages),
		setting.Text("speech-key-file", "file of its bearer token", &c.SpeechKeyFile),
		setting.Text("flow-ca-file", "PEM file of authorities that http steps, notifications and fetches of certificates trust beside the system's", &c.FlowCAFile),
		networks("flow-allow-nets", "private networks that http steps, notifications and fetches of certificates may reach: CIDRs, comma between", &c.FlowAllowNets),
		setting.Text("op-key-file", "file of the key that node agents want with orders (their op-key-file)", &c.OpKeyFile),
		setting.Text("secret-key-file", "file of the keys that the secrets of accounts are sealed with, the same for every brain of a cluster; empty for the systemd credential sipio-secret-key, and without that for secret.key in the data-dir, which a brain that is alone makes", &c.SecretKeyFile),
		setting.Number("v1-rate", "requests a second that one API key may make on /v1, and one address without a key; twice as many at once", &c.V1Rate),
		setting.Text("mail-server", "relay that takes mail about new voice messages without a password, host:port; empty for no mail", &c.MailServer),
		setting.Text("mail-from", "sender of that mail", &c.MailFrom),
		setting.Text("stir-key-file", "file of the key (PEM, ECDSA on P-256) that signs calls to outside of accounts without a key of their own; read again when it changes", &c.StirKeyFile),
		setting.Text("stir-x5u", "https address of its certificate, where a line x5u: in that file does not say it", &c.StirX5U),
		setting.Words("stir-hosts", "hosts that certificates of callers may be fetched from, comma between, .example.org for all below it; empty: no caller is verified", &c.StirHosts),
		setting.Text("stir-roots-file", "PEM file of the authorities that callers' certificates must lead to; read again when it changes", &c.StirRootsFile),
		networks("operator-nets", "networks of operators, which the guard never bans: CIDRs, comma between", &c.OperatorNets),
		setting.Text("guard-share", "which nodes enforce a ban: all, repeat (all of them once the address was banned before) or none (those that caught it)", &c.GuardShare),
		setting.Text("guard-signatures-file", "file of signatures of scanners besides the built-in ones, one a line; read at the start", &c.GuardSignaturesFile),
		setting.LogLevel(&c.LogLevel),
		setting.Toggle("log-decisions", "log every decision at level info", &c.LogDecisions),
	)
}

// networks is a setting of networks: CIDRs or addresses, comma between.
func networks(name, doc string, at *[]netip.Prefix) setting.Setting {
	return setting.Func(name, doc, "string", func() string { return joinPrefixes(*at) }, func(s string) (err error) { *at, err = parsePrefixes(s); return err })
}

// peers are the brains of the cluster; alone it is this one.
func (c *Config) peers() []string {
	if len(c.Peers) == 0 {
		return []string{c.Name}
	}
	return c.Peers
}

// SetFromEnv takes every setting whose variable is set, through lookup (os.LookupEnv).
func (c *Config) SetFromEnv(lookup func(string) (string, bool)) error {
	return c.Settings().SetFromEnv(lookup)
}

// Check says what is wrong with the settings taken together.
func (c *Config) Check() error {
	switch {
	case c.DataDir == "":
		return errors.New("data-dir is empty")
	case c.Listen == "" && c.TLSListen == "":
		return errors.New("neither listen nor tls-listen is set: nobody could ask")
	case c.TLSListen != "" && (c.TLSCertFile == "" || c.TLSKeyFile == ""):
		return errors.New("tls-listen needs tls-cert-file and tls-key-file")
	case c.NodeListen != "" && (c.TLSCertFile == "" || c.TLSKeyFile == ""):
		return errors.New("node-bus-listen needs tls-cert-file and tls-key-file")
	case c.NodeListen != "" && len(c.BusURLs) > 0:
		return errors.New("node-bus-listen needs a journal inside this process, without bus-urls")
	case (c.NodeCertFile == "") != (c.NodeCertKey == ""):
		return errors.New("node-cert-file and node-cert-key-file need each other")
	case c.Name == "":
		return errors.New("name is empty")
	case len(c.Peers) > 1 && len(c.BusURLs) == 0:
		return errors.New("peers need bus-urls: a journal inside one process cannot be shared")
	case len(c.Peers) > 0 && !slices.Contains(c.Peers, c.Name):
		return fmt.Errorf("name %q is not among the peers %q", c.Name, c.Peers)
	case c.V1Rate < 1:
		return errors.New("v1-rate must be at least 1")
	case !slices.Contains(guard.Shares, c.GuardShare):
		return fmt.Errorf("guard-share is %q, not one of %s", c.GuardShare, strings.Join(guard.Shares, ", "))
	case len(c.AllowPeers) == 0:
		return errors.New("allow-peers is empty: nobody could ask")
	}
	for _, p := range c.OperatorNets {
		if _, err := guard.AllowedNet(p.String()); err != nil {
			return fmt.Errorf("operator-nets: %w", err)
		}
	}
	if c.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if addr, err := netip.ParseAddr(host); err != nil || !addr.Unmap().IsLoopback() {
		return fmt.Errorf("listen: %q is not a loopback address: credentials would cross the network in clear; use tls-listen", host)
	}
	return nil
}

// parsePrefixes reads CIDRs with commas or spaces between; a bare address is that one host.
func parsePrefixes(s string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, item := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		if addr, err := netip.ParseAddr(item); err == nil {
			list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a CIDR", item)
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

func joinPrefixes(list []netip.Prefix) string {
	items := make([]string, len(list))
	for i, p := range list {
		items[i] = p.String()
	}
	return strings.Join(items, ",")
}

// SampleEnv is the sample of an environment file: every variable with its default.
func SampleEnv() string {
	c := DefaultConfig()
	return c.Settings().Sample("sipio-brain")
}

// Package tunnel renders the configuration of cloudflared, by which a brain reaches a node that has no address it could
// be called at. Only orders (/op) and /health are led to the node agent; everything else is answered 404.
package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DefaultCredentials is where the product's unit (deploy/sipio-cloudflared.service) has systemd put the credentials of the tunnel.
const DefaultCredentials = "/run/credentials/sipio-cloudflared.service/tunnel.json"

// DefaultMetrics is where cloudflared tells how it is: /ready and /metrics.
const DefaultMetrics = "127.0.0.1:8482"

// Config is what differs from node to node.
type Config struct {
	Hostname    string // public name of the node's door, in lower case: node-1.op.example.org
	Tunnel      string // id of the tunnel: a UUID in lower case. A name would need an account's certificate on the node
	Credentials string // absolute path of the tunnel's credentials file, as cloudflared sees it; it is not read here
	OpListen    string // op-listen of the node agent: a loopback address and a port
	Metrics     string // a loopback address and a port for cloudflared's own pages
}

var (
	label  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	letter = regexp.MustCompile(`[a-z]`)
	uuid   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	plain  = regexp.MustCompile(`^/[A-Za-z0-9._/@+-]*[A-Za-z0-9._@+-]$`)
)

// Bounds in bytes: a name by RFC 1035, a path by Linux.
const (
	maxHostname = 253
	maxPath     = 4095
)

// Check says everything that is wrong with c, nil when nothing is.
func (c Config) Check() error {
	return errors.Join(checkHostname(c.Hostname), checkTunnel(c.Tunnel), checkCredentials(c.Credentials),
		checkLoopback("op-listen", c.OpListen), checkLoopback("metrics", c.Metrics))
}

// checkHostname wants one full name: a wildcard would lead the names of other nodes here.
func checkHostname(name string) error {
	labels := strings.Split(name, ".")
	bad := len(name) > maxHostname || len(labels) < 2 || !letter.MatchString(labels[len(labels)-1])
	for _, l := range labels {
		bad = bad || !label.MatchString(l)
	}
	if bad {
		return fmt.Errorf("hostname %q: want one full name in lower case letters, digits and hyphens, such as node-1.op.example.org; no wildcard, address or port", name)
	}
	return nil
}

func checkTunnel(id string) error {
	if !uuid.MatchString(id) || strings.Trim(id, "0-") == "" {
		return fmt.Errorf("tunnel %q: want the tunnel's id, a UUID in lower case, as cloudflared tunnel list shows it", id)
	}
	return nil
}

func checkCredentials(file string) error {
	if len(file) > maxPath || !plain.MatchString(file) || path.Clean(file) != file {
		return fmt.Errorf("credentials-file %q: want an absolute path of letters, digits and ._@+- without detours", file)
	}
	return nil
}

// checkLoopback wants an address that the network cannot reach, and a port that is not to be chosen by the system.
func checkLoopback(what, addr string) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().Unmap().IsLoopback() || ap.Addr().Zone() != "" || ap.Port() == 0 {
		return fmt.Errorf("%s %q: want a loopback address and a port, such as 127.0.0.1:8481", what, addr)
	}
	return nil
}

// configFile is the part of cloudflared's configuration file that is used here, in the order of its lines. What would
// be false cannot be said in the file (cloudflared passes such values over): the unit says it by environment.
type configFile struct {
	Tunnel      string `yaml:"tunnel"`
	Credentials string `yaml:"credentials-file"`
	NoUpdate    bool   `yaml:"no-autoupdate"`
	Metrics     string `yaml:"metrics"`
	Ingress     []rule `yaml:"ingress"`
}

type rule struct {
	Hostname string `yaml:"hostname,omitempty"`
	Path     string `yaml:"path,omitempty"` // a regular expression
	Service  string `yaml:"service"`
}

const head = `# cloudflared leads the brain's orders to this node's agent; whatever else is asked for, it answers 404.
# Written by sipio tunnel render: change its arguments, not this file.
`

// Render returns the configuration file, or everything that is wrong with c. The same c gives the same bytes.
func (c Config) Render() ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(head)
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(configFile{
		Tunnel: c.Tunnel, Credentials: c.Credentials, NoUpdate: true, Metrics: c.Metrics,
		Ingress: []rule{
			{Hostname: c.Hostname, Path: "^/(op|health)$", Service: "http://" + c.OpListen},
			{Service: "http_status:404"},
		},
	})
	if err := errors.Join(err, enc.Close()); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return b.Bytes(), nil
}

// Package cloudflared judges the tunnel configuration of a node with cloudflared's own code. It is a module of its own:
// what cloudflared depends on does not build together with what sipio depends on.
package cloudflared

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/cloudflare/cloudflared/config"
	"github.com/cloudflare/cloudflared/ingress"
	"gopkg.in/yaml.v3"
)

// Paths are what a tunnel may lead to the node agent, each exactly as it stands.
var Paths = []string{"/op", "/health"}

// onlyPaths is the one pattern that leads to Paths and to nothing else.
const onlyPaths = "^/(op|health)$"

const closed = "http_status:404"

// Door is what a configuration opens.
type Door struct {
	Hostname string // the only one
	Service  string // the node agent, on loopback
}

// Check reads a configuration file as cloudflared does and says what it opens, or why it is not one that a node may
// run: it must lead Paths of one hostname to one address on loopback, and answer 404 to everything else.
func Check(file []byte) (Door, error) {
	rules, err := parse(file)
	if err != nil {
		return Door{}, err
	}
	if len(rules.Rules) != 2 {
		return Door{}, fmt.Errorf("%d rules: want one for the node agent and one that answers 404 to everything else", len(rules.Rules))
	}
	open, rest := rules.Rules[0], rules.CatchAll()
	if rest.Service.String() != closed {
		return Door{}, fmt.Errorf("what no rule names goes to %s: want %s", rest.Service, closed)
	}
	if open.Hostname == "" || open.Hostname[0] == '*' {
		return Door{}, fmt.Errorf("hostname %q: want one name", open.Hostname)
	}
	if open.Path == nil || open.Path.Regexp.String() != onlyPaths {
		return Door{}, fmt.Errorf("path of %s: want %s", open.Hostname, onlyPaths)
	}
	door := Door{Hostname: open.Hostname, Service: open.Service.String()}
	if err := loopback(door.Service); err != nil {
		return Door{}, err
	}
	for _, path := range Paths {
		if rule, at := rules.FindMatchingRule(door.Hostname, path); at != 0 {
			return Door{}, fmt.Errorf("%s of %s goes to %s", path, door.Hostname, rule.Service)
		}
	}
	return door, nil
}

// parse is what cloudflared does with the file before it serves.
func parse(file []byte) (ingress.Ingress, error) {
	// The settings beside the rules are read by cloudflared's command line; the map keeps them from being mistakes.
	var settings struct {
		config.Configuration `yaml:",inline"`
		Others               map[string]any `yaml:",inline"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(file)).Decode(&settings); err != nil {
		return ingress.Ingress{}, fmt.Errorf("read the file: %w", err)
	}
	if settings.TunnelID == "" {
		return ingress.Ingress{}, errors.New("no tunnel is named")
	}
	rules, err := ingress.ParseIngress(&settings.Configuration)
	if err != nil {
		return ingress.Ingress{}, fmt.Errorf("ingress: %w", err)
	}
	return rules, nil
}

// loopback wants plain HTTP to an address that the network cannot reach.
func loopback(service string) error {
	u, err := url.Parse(service)
	if err != nil {
		return fmt.Errorf("service: %w", err)
	}
	at, err := netip.ParseAddrPort(u.Host)
	if u.Scheme != "http" || err != nil || !at.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("service %s: want http:// and a loopback address with its port", service)
	}
	return nil
}

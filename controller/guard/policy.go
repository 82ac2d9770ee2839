package guard

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/guard"
)

// What is protected by the configuration, in the order in which it finds room in a policy.
const (
	whatOperator = "network of operators"
	whatNode     = "node"
	whatTrunk    = "trunk"
)

var whats = [...]string{whatOperator, whatNode, whatTrunk}

// configured is what the configuration protects, of one version of it.
type configured struct {
	version int64
	nets    []guard.Net
	all     map[netip.Prefix]string
	index   *guard.Nets
}

// protected is what the configuration protects now. It is the same value until that changes.
func (g *Guard) protected() *configured {
	dir := g.Directory()
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.configured; c != nil && c.version == dir.Version() {
		return c
	}
	c := &configured{version: dir.Version(), all: map[netip.Prefix]string{}}
	add := func(p netip.Prefix, what string) {
		if p.IsValid() && !p.Addr().IsUnspecified() && c.all[p] == "" && len(c.nets) < api.MaxGuardProtected/2 {
			c.all[p] = what
			c.nets = append(c.nets, guard.Net{Prefix: p, What: what})
		}
	}
	for _, p := range g.Operators {
		add(p, whatOperator)
	}
	for _, n := range dir.Nodes() {
		for _, text := range n.SIPAddresses {
			add(hostOf(text), whatNode)
		}
	}
	for _, text := range dir.TrunkSources() {
		if p, err := netip.ParsePrefix(text); err == nil {
			add(p, whatTrunk)
		}
	}
	for _, t := range g.Trunks(dir) {
		add(hostOf(t.Proxy), whatTrunk)
	}
	if len(c.nets) >= api.MaxGuardProtected/2 {
		g.Log.Error("more networks are to be protected than nodes are told: the rest may be banned", "most", api.MaxGuardProtected/2)
	}
	c.index = guard.NewNets(c.nets)
	g.configured = c
	return c
}

// hostOf is the address in a host, host:port or [host]:port; the zero Prefix when there is a name or nothing.
func hostOf(text string) netip.Prefix {
	text = strings.TrimPrefix(text, "sip:")
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen())
}

// current is the policy of now; allowVersion is that of the allow list as it was just heard.
func (g *Guard) current(ctx context.Context, allowVersion int64) (*api.GuardPolicy, error) {
	c := g.protected()
	g.mu.Lock()
	p, same := g.policy, g.policy != nil && g.ofConfig == c.version && g.allowed == allowVersion
	digest := g.digest
	g.mu.Unlock()
	if same {
		return p, nil
	}
	list, err := g.Bans.Allowed(ctx)
	if err != nil {
		return nil, err
	}
	nets := c.nets
	for _, a := range list.Allowed {
		if net, err := guard.AllowedNet(a.Net); err == nil {
			nets = append(nets[:len(nets):len(nets)], guard.Net{Prefix: net})
		}
	}
	fresh := guard.NewPolicy(nets, guard.Signatures(g.Signatures))
	if now := guard.Digest(fresh); p == nil || now != digest {
		said, err := g.Bans.Do(ctx, &guard.Op{Kind: guard.Policy, Digest: now})
		if err != nil {
			return nil, err
		}
		fresh.Version, digest, p = said.Version, now, fresh
		g.Log.Info("policy of the guard", "version", p.Version, "protected", len(p.Protected), "signatures", len(p.Signatures))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.policy, g.digest, g.allowed, g.ofConfig = p, digest, list.Version, c.version
	return p, nil
}

// nodes are those of the platform, by name.
func (g *Guard) nodes() []*brain.Node { return g.Directory().Nodes() }

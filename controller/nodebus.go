package controller

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/config"
	"github.com/sipio/sipio/controller/journal"
	"github.com/sipio/sipio/controller/node"
	"github.com/sipio/sipio/internal/keyfile"
)

// nodeBusTLS is how the bus answers nodes; nil when it does not.
func nodeBusTLS(cfg Config, log *slog.Logger) (*tls.Config, error) {
	if cfg.NodeListen == "" {
		return nil, nil
	}
	own, err := keyfile.OpenPair(cfg.TLSCertFile, cfg.TLSKeyFile, log, nil)
	if err != nil {
		return nil, fmt.Errorf("tls-cert-file and tls-key-file: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.Get(), nil }}, nil
}

// openNodeBus lets nodes keep a connection for orders, each by a key that is bound to it, from the addresses that may ask. A node
// whose key is taken away loses its connection.
func openNodeBus(cfg Config, store *config.Store, bus *journal.Bus, ops *node.Ops, log *slog.Logger) {
	if cfg.NodeListen == "" {
		return
	}
	ops.Bus = bus
	before := store.Changed
	store.Changed = func(actor string, changes []brain.Change) {
		before(actor, changes)
		for _, c := range changes {
			if name := judgedAnew(c); name != "" {
				if err := bus.Dismiss(name); err != nil {
					log.Error("a node whose key was taken away may still hear orders", "node", name, "err", err)
				}
			}
		}
	}
	bus.AdmitNodes(func(from netip.Addr, name, token string) bool {
		from = from.Unmap().WithZone("")
		if !slices.ContainsFunc(cfg.AllowPeers, func(p netip.Prefix) bool { return p.Contains(from) }) {
			return false
		}
		key, ok := store.KeyByToken(token)
		return ok && key.Node != "" && key.Node == name && slices.Contains(key.Scopes, brain.ScopeNode) && store.Directory().NodeByName(name) != nil
	})
}

// judgedAnew names the node that a change takes something away from that its connection was let in by; "" when it takes nothing away.
func judgedAnew(c brain.Change) string {
	switch was := c.Before.(type) {
	case *brain.APIKey:
		return was.Node
	case *brain.Node:
		if now, ok := c.Resource.(*brain.Node); !ok || now.Name != was.Name {
			return was.Name
		}
	}
	return ""
}
